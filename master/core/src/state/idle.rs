//! Which tasks of a table are idle, found in index order without a scan.
//!
//! Tasks are granted nearly in order, so all from `fresh` on were never
//! granted, and only those that came back to idle (or were stepped over) need
//! an entry each.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The idle indexes of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IdleSet {
    /// Idle indexes below `fresh`.
    returned: BTreeSet<u32>,
    /// Every index from here to `end` is idle.
    fresh: u32,
    end: u32,
}

impl IdleSet {
    pub(crate) fn all(end: u32) -> Self {
        Self {
            returned: BTreeSet::new(),
            fresh: 0,
            end,
        }
    }

    pub(crate) fn len(&self) -> u32 {
        // Entries are distinct indexes below `fresh`, so they fit.
        u32::try_from(self.returned.len()).unwrap_or(u32::MAX) + (self.end - self.fresh)
    }

    /// The lowest idle index that is not below `from`.
    pub(crate) fn next(&self, from: u32) -> Option<u32> {
        let returned = self.returned.range(from..).next().copied();
        let fresh = self.fresh.max(from);
        returned.or((fresh < self.end).then_some(fresh))
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, index: u32) -> bool {
        self.next(index) == Some(index)
    }

    pub(crate) fn remove(&mut self, index: u32) {
        if index < self.fresh {
            self.returned.remove(&index);
        } else if index < self.end {
            self.returned.extend(self.fresh..index);
            self.fresh = index + 1;
        }
    }

    pub(crate) fn insert(&mut self, index: u32) {
        if index < self.fresh {
            self.returned.insert(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_come_in_order_whether_fresh_or_returned() {
        let mut idle = IdleSet::all(5);
        idle.remove(0);
        idle.remove(3);
        assert_eq!((idle.len(), idle.next(0)), (3, Some(1)));
        idle.insert(0);
        idle.remove(1);
        assert_eq!(idle.next(0), Some(0));
        assert_eq!(idle.next(1), Some(2));
        assert_eq!(idle.next(3), Some(4));
        assert!(!idle.contains(3));
        for index in [0, 2, 4] {
            idle.remove(index);
        }
        assert_eq!((idle.len(), idle.next(0)), (0, None));
    }
}
