//! Raft: the replicated log, and the state that it leads to.
//!
//! [`Node`] owns everything that runs: a tokio runtime of its own, on which
//! openraft, its transport and its server live undisturbed by what the rest of
//! the process does. [`Handle`] is what the rest of the process holds. openraft
//! is not named outside this folder.
//!
//! A replica fails stop: a storage error, a dead core, a state that differs
//! from two others' all end in [`Handle::fatal`], which the process awaits and
//! then ends. It restarts, and recovers from its disk or from its peers.

mod age;
pub mod api;
mod duties;
mod early;
mod formats;
mod handle;
mod log;
mod machine;
mod network;
mod node;
mod pace;
pub(crate) mod peers;
mod server;
mod settings;
#[cfg(test)]
mod suite;
mod types;
pub(crate) mod wire;

pub use api::{
    AppliedEvents, Committed, FatalReason, Formation, Leadership, Member, PeerDescription,
    PeerRaft, ProposeError, RaftStatus, Role, StartError, TransferError,
};
pub use formats::Format;
pub use handle::Handle;
pub use node::{Node, NodeConfig};
pub use pace::Longest;
pub use settings::{ConfigError, RaftLimits, Timing, validate};
