//! What a log should hold: the first so many of the operations, done to what
//! was there before.

use std::collections::BTreeMap;

/// What the writer does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Records from `first` on, all of one write.
    Append {
        /// Index of the first.
        first: u64,
        /// How many.
        count: u64,
        /// Number of the write, in the whole life.
        write: u64,
    },
    /// A vote.
    Vote(u64),
    /// Records behind this one go.
    Truncate(u64),
    /// Records up to and with this one go.
    Purge(u64),
}

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Of each index, the write that put its record there.
    pub records: BTreeMap<u64, u64>,
    /// The last vote.
    pub vote: Option<u64>,
    /// The last purge.
    pub purged: Option<u64>,
}

impl State {
    /// Where the next record goes.
    pub fn next(&self) -> u64 {
        let last = self.records.keys().next_back().copied();
        last.max(self.purged).map_or(1, |last| last + 1)
    }

    /// Does an operation.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Append {
                first,
                count,
                write,
            } => {
                let indexes = *first..first + count;
                self.records.extend(indexes.map(|index| (index, *write)));
            }
            Operation::Vote(vote) => self.vote = Some(*vote),
            Operation::Truncate(last) => {
                self.records.split_off(&(last + 1));
            }
            Operation::Purge(upto) => {
                self.records = self.records.split_off(&(upto + 1));
                self.purged = Some(*upto);
            }
        }
    }

    /// Whether it is this state with some of the records that an operation
    /// removes gone: the last ones, because they are removed from the end.
    fn is_partly_truncated(&self, found: &Self, next: Option<&Operation>) -> bool {
        let Some(Operation::Truncate(last)) = next else {
            return false;
        };
        let mut cut = self.clone();
        let end = found.next().max(last + 1);
        cut.records.split_off(&end);
        cut == *found
    }
}

/// How many of the operations the found state includes, if there is a number of
/// them, at least all that were acknowledged.
pub fn operations_included(
    before: &State,
    operations: &[Operation],
    acknowledged: usize,
    found: &State,
) -> Option<usize> {
    let mut state = before.clone();
    for done in 0..=operations.len() {
        let next = operations.get(done);
        let fits = state == *found || state.is_partly_truncated(found, next);
        if done >= acknowledged && fits {
            return Some(done);
        }
        if let Some(operation) = next {
            state.apply(operation);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations() -> Vec<Operation> {
        let append = |first, write| Operation::Append {
            first,
            count: 2,
            write,
        };
        vec![
            append(1, 1),
            Operation::Vote(7),
            append(3, 2),
            Operation::Truncate(2),
            append(3, 3),
            Operation::Purge(1),
        ]
    }

    fn after(count: usize) -> State {
        let mut state = State::default();
        for operation in &operations()[..count] {
            state.apply(operation);
        }
        state
    }

    #[test]
    fn state_after_any_number_of_operations_fits_if_it_has_the_acknowledged() {
        let before = State::default();
        for count in 0..=6 {
            let found = operations_included(&before, &operations(), 0, &after(count));
            // Appended and truncated again is what it was.
            let expected = if count == 4 { 2 } else { count };
            assert_eq!(found, Some(expected));
        }
        let missing = operations_included(&before, &operations(), 3, &after(2));
        assert_eq!(missing, Some(3), "a truncation that was begun explains it");
        assert_eq!(
            operations_included(&before, &operations(), 5, &after(2)),
            None
        );
    }

    #[test]
    fn hole_or_lost_vote_never_fits() {
        let mut found = after(6);
        found.vote = None;
        assert_eq!(
            operations_included(&State::default(), &operations(), 0, &found),
            None
        );
        let mut found = after(3);
        found.records.remove(&2);
        assert_eq!(
            operations_included(&State::default(), &operations(), 0, &found),
            None
        );
    }

    #[test]
    fn truncation_may_have_begun() {
        let mut found = after(3);
        found.records.remove(&4);
        assert_eq!(
            operations_included(&State::default(), &operations(), 3, &found),
            Some(3)
        );
    }
}
