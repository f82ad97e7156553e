//! Who a master is: the file that its disk carries from formation on.
//!
//! A seat is configured; a node id is minted once for a disk and never used
//! again after that disk is lost. The file is small text, so that an operator
//! can read it, and ends with a checksum. It is replaced as a whole, durably.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use vivat_shared::ids::{ClusterId, NodeId, Seat};

use crate::failpoints::IDENTITY;
use crate::storage::{StorageError, durable_file};

const FILE: &str = "identity";
const TITLE: &str = "vivat-identity";
const FORMAT: u32 = 1;

/// How far a master is in joining its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The founder has minted the cluster, and is telling its peers.
    Forming,
    /// The founder has told all its peers, and may initialize Raft.
    Formed,
    /// The founder told this peer.
    Adopted,
    /// Raft was seen initialized: an empty log is from now on a lost disk.
    Member,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Forming, Self::Formed, Self::Adopted, Self::Member];

    fn word(self) -> &'static str {
        match self {
            Self::Forming => "forming",
            Self::Formed => "formed",
            Self::Adopted => "adopted",
            Self::Member => "member",
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The Raft member.
    pub node_id: NodeId,
    /// The seat that it was minted for.
    pub seat: Seat,
    /// How far it is.
    pub stage: Stage,
}

impl Identity {
    /// Reads the identity of a directory; `None` when it has none.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`] when the file is not what was written.
    pub fn load(directory: &Path) -> Result<Option<Self>, StorageError> {
        let path = path(directory);
        let Some(bytes) = durable_file::read(&path)? else {
            return Ok(None);
        };
        parse(&path, &bytes).map(Some)
    }

    /// Keeps it, durably. Blocks.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn save(&self, directory: &Path) -> Result<(), StorageError> {
        let body = self.body();
        let checksum = format!("checksum {:08x}\n", crc32c::crc32c(body.as_bytes()));
        let parts = [body.as_bytes(), checksum.as_bytes()];
        durable_file::replace(&path(directory), &parts, IDENTITY)
    }

    fn body(&self) -> String {
        format!(
            "{TITLE} {FORMAT}\ncluster {}\nnode {}\nseat {}\nstage {}\n",
            self.cluster_id,
            self.node_id.0,
            self.seat.0,
            self.stage.word()
        )
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Identity, StorageError> {
    let damaged = |problem: &str| StorageError::Damaged {
        what: "identity",
        path: path.to_owned(),
        problem: problem.to_owned(),
    };
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
    let format: u32 = field(text, TITLE).ok_or_else(|| damaged("it has no format version"))?;
    if format != FORMAT {
        return Err(StorageError::Format {
            path: path.to_owned(),
            found: format,
            supported: FORMAT,
        });
    }
    let read = || {
        let stage = field::<String>(text, "stage")?;
        Some(Identity {
            cluster_id: field(text, "cluster")?,
            node_id: NodeId(field(text, "node")?),
            seat: Seat(field(text, "seat")?),
            stage: Stage::ALL.into_iter().find(|known| known.word() == stage)?,
        })
    };
    let identity = read().ok_or_else(|| damaged("a line is missing or wrong"))?;
    let checksum = format!(
        "checksum {:08x}\n",
        crc32c::crc32c(identity.body().as_bytes())
    );
    if !text.ends_with(&checksum) || text.len() != identity.body().len() + checksum.len() {
        return Err(damaged("its checksum differs"));
    }
    Ok(identity)
}

fn field<T: FromStr>(text: &str, name: &str) -> Option<T> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            cluster_id: ClusterId(0xabc),
            node_id: NodeId(2),
            seat: Seat(1),
            stage: Stage::Adopted,
        }
    }

    #[test]
    fn identity_reads_back_as_saved() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), None);
        identity().save(dir.path()).unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), Some(identity()));
    }

    #[test]
    fn edited_identity_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        identity().save(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("node 2", "node 3")).unwrap();
        assert!(Identity::load(dir.path()).is_err_and(|error| error.is_damage()));
    }

    #[test]
    fn first_version_of_the_file_stays_readable() {
        let bytes = b"vivat-identity 1\ncluster 00000000000000000000000000000abc\n\
            node 2\nseat 1\nstage adopted\nchecksum d957266c\n";
        assert_eq!(parse(Path::new("identity"), bytes).unwrap(), identity());
    }
}
