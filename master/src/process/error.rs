//! Why a master did not start, or must end. The command line maps these to exit
//! codes; see [`crate::process`].

use std::io;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::raft::{self, FatalReason};

/// Why a master did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings contradict one another.
    #[error("settings of the master are wrong")]
    Config(#[source] ConfigError),
    /// Another process listens there.
    #[error("{address} is in use by another process")]
    PortInUse {
        /// As configured.
        address: String,
    },
    /// The operating system refuses to listen there.
    #[error("cannot listen on {address}")]
    Listen {
        /// As configured.
        address: String,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// Another process serves the directory.
    #[error("{dir} is in use by another process")]
    DirInUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The disk is empty, or was, while the peers have a cluster. The message
    /// says what to type.
    #[error(transparent)]
    DiskLost(raft::StartError),
    /// Raft did not start.
    #[error("the master did not start")]
    Raft(#[source] raft::StartError),
}

impl From<raft::StartError> for StartError {
    fn from(error: raft::StartError) -> Self {
        match error {
            raft::StartError::DirInUse { dir } => Self::DirInUse { dir },
            lost @ (raft::StartError::DiskLost { .. } | raft::StartError::DiskDamaged { .. }) => {
                Self::DiskLost(lost)
            }
            other @ (raft::StartError::Config(_)
            | raft::StartError::OtherSeat { .. }
            | raft::StartError::WrongPeer { .. }
            | raft::StartError::Io { .. }
            | raft::StartError::Storage(_)
            | raft::StartError::Raft { .. }) => Self::Raft(other),
        }
    }
}

/// Why a running master must end its process.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// Raft has stopped.
    #[error("this master's Raft has stopped")]
    Raft(#[source] FatalReason),
    /// The services ended by themselves.
    #[error("this master's services have stopped")]
    Services,
    /// What follows Raft's leadership, or a loop of the leader, ended by itself:
    /// this master could lead and do nothing.
    #[error("a part of this master's leadership has stopped")]
    Leadership,
}
