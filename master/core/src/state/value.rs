//! Named values, and what the last writers were answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::VALUE_ANSWERS_MAX;

/// A named value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// Never given twice, not even to values of other names: what was removed
    /// and written again is told from what was there before.
    pub version: u64,
    /// When it was written, in milliseconds since 1970.
    pub written_at_ms: u64,
}

/// All named values.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Values {
    named: BTreeMap<Arc<str>, Value>,
    last_version: u64,
    bytes: u64,
    /// What the keys of the last writes were answered; 0: removed. A writer that
    /// lost its answer asks again within the time of so many writes (S5).
    answers: BTreeMap<Arc<str>, u64>,
    /// An index: those keys, oldest first.
    answered: VecDeque<Arc<str>>,
}

impl Values {
    /// A value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.named.get(name)
    }

    /// Values by name, after the one given.
    pub fn after<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.named
            .range::<str, _>((Excluded(name), Unbounded))
            .map(|(name, value)| (name.as_ref(), value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.named.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// Bytes of all values and their names.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What a write under this key was answered, if it is remembered.
    pub(crate) fn answer(&self, key: &str) -> Option<u64> {
        self.answers.get(key).copied()
    }

    pub(crate) fn put(&mut self, key: &str, name: &str, bytes: &[u8], now_ms: u64) -> u64 {
        self.last_version += 1;
        let value = Value {
            bytes: Arc::from(bytes),
            version: self.last_version,
            written_at_ms: now_ms,
        };
        self.bytes += charge(name, bytes.len());
        if let Some(former) = self.named.insert(Arc::from(name), value) {
            self.bytes -= charge(name, former.bytes.len());
        }
        self.remember(key, self.last_version);
        self.last_version
    }

    pub(crate) fn remove(&mut self, key: &str, name: &str) {
        if let Some(former) = self.named.remove(name) {
            self.bytes -= charge(name, former.bytes.len());
        }
        self.remember(key, 0);
    }

    fn remember(&mut self, key: &str, version: u64) {
        let key: Arc<str> = Arc::from(key);
        self.answers.insert(Arc::clone(&key), version);
        self.answered.push_back(key);
        if self.answered.len() > VALUE_ANSWERS_MAX
            && let Some(oldest) = self.answered.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }

    /// What the indexes should be, for the invariants.
    pub(crate) fn is_consistent(&self) -> bool {
        let bytes = |(name, value): (&Arc<str>, &Value)| charge(name, value.bytes.len());
        self.bytes == self.named.iter().map(bytes).sum::<u64>()
            && self.answers.len() == self.answered.len()
            && self
                .answered
                .iter()
                .all(|key| self.answers.contains_key(key))
            && self
                .named
                .values()
                .all(|value| value.version <= self.last_version)
    }
}

/// What a value costs.
pub(crate) fn charge(name: &str, bytes: usize) -> u64 {
    (name.len() + bytes) as u64
}
