//! Everything that the log decided.

use serde::{Deserialize, Serialize};
use vivat_shared::ids::ClusterId;

use crate::command::{Applied, LeaderRecord};

/// The chained hash at an index that is a multiple of 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HashPoint {
    /// Log index.
    pub index: u64,
    /// Hash of everything applied up to it.
    pub hash: u64,
}

/// The replicated state. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    applied_index: u64,
    now_ms: u64,
    term: u64,
    cluster: Option<ClusterId>,
    leader: Option<LeaderRecord>,
    chain: u64,
    hash_point: HashPoint,
}

impl State {
    /// The state before the first entry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Index of the last entry that was applied or noted.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.applied_index
    }
    /// The latest time that a leader stamped, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }
    /// Term of the last barrier.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }
    /// The cluster, once named.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }
    /// Who opened the term.
    #[must_use]
    pub fn leader(&self) -> Option<&LeaderRecord> {
        self.leader.as_ref()
    }
    /// Takes note of an entry without commands.
    pub fn note_index(&mut self, index: u64) {
        self.seal(index, &Applied::default());
    }
    pub(crate) fn seal(&mut self, index: u64, _applied: &Applied) {
        self.applied_index = index;
    }
    /// The chained hash at the last multiple of 64.
    #[must_use]
    pub fn hash_point(&self) -> HashPoint {
        self.hash_point
    }
    /// The chained hash at the applied index.
    #[must_use]
    pub fn chained_hash(&self) -> u64 {
        self.chain
    }
    /// Hash of the whole state.
    #[must_use]
    pub fn whole_hash(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&crate::snapshot::encode(self))
    }
}
