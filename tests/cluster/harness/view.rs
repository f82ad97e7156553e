//! The JSON of the command line, read by the field names that scripts rely on.
//!
//! A field that is missing or of another type fails the test and prints the
//! whole object: these names are an interface.

use serde_json::Value;

/// Entries that a follower may be behind under a constant stream of writes.
const CAUGHT_UP_WITHIN: u64 = 2_000;

/// `cluster status -o json`.
#[derive(Debug, Clone)]
pub struct Status(pub Value);

/// `job show -o json`.
#[derive(Debug, Clone)]
pub struct JobView(pub Value);

impl Status {
    /// The leader's seat.
    pub fn leader(&self) -> Option<usize> {
        let seat = at(&self.0, "/leader_id");
        (!seat.is_null()).then(|| {
            let seat = seat
                .as_u64()
                .unwrap_or_else(|| panic!("leader_id in {}", self.0));
            usize::try_from(seat).expect("a seat is small")
        })
    }

    /// Raft's term.
    pub fn term(&self) -> u64 {
        number(&self.0, "/term")
    }

    /// Whether the master that answered says that it leads, and serves.
    pub fn is_serving(&self) -> bool {
        at(&self.0, "/serving") == &Value::Bool(true)
    }

    /// Workers that are believed.
    pub fn workers_live(&self) -> u64 {
        number(&self.0, "/workers/live")
    }

    /// Workers that were expired.
    pub fn workers_lost(&self) -> u64 {
        number(&self.0, "/workers/lost")
    }

    /// Masters that answered.
    pub fn masters_reachable(&self) -> usize {
        let masters = at(&self.0, "/masters")
            .as_array()
            .unwrap_or_else(|| panic!("masters in {}", self.0));
        masters
            .iter()
            .filter(|master| master["reachable"] == Value::Bool(true))
            .count()
    }
}

impl Status {
    /// Whether every master answers and none is behind by more than a few entries.
    pub fn is_caught_up(&self) -> bool {
        let newest = self.applied_max();
        self.leader().is_some()
            && self
                .applied_min()
                .is_some_and(|index| index + CAUGHT_UP_WITHIN >= newest)
    }

    /// The last entry that some master applied.
    pub fn applied_max(&self) -> u64 {
        self.applied()
            .into_iter()
            .flatten()
            .max()
            .unwrap_or_default()
    }

    /// The last entry that every master applied; none while one does not answer.
    pub fn applied_min(&self) -> Option<u64> {
        let applied: Option<Vec<u64>> = self.applied().into_iter().collect();
        applied?.into_iter().min()
    }

    /// The last entry that every master which answers has dropped from its log.
    pub fn purged_min(&self) -> u64 {
        let masters = at(&self.0, "/masters").as_array().expect("a list");
        let living = masters
            .iter()
            .filter(|master| master["reachable"] == Value::Bool(true));
        living
            .map(|master| number(master, "/purged_index"))
            .min()
            .unwrap_or_default()
    }

    /// By master; none for one that does not answer.
    fn applied(&self) -> Vec<Option<u64>> {
        let masters = at(&self.0, "/masters").as_array().expect("a list");
        let applied = masters.iter().map(|master| {
            let answered = master["reachable"] == Value::Bool(true);
            answered.then(|| number(master, "/applied_index"))
        });
        applied.collect()
    }
}

impl JobView {
    /// `queued`, `running`, `succeeded`, `failed`, `cancelled`.
    pub fn state(&self) -> &str {
        text(&self.0, "/state")
    }

    /// Whether it will not change any more.
    pub fn is_final(&self) -> bool {
        matches!(self.state(), "succeeded" | "failed" | "cancelled")
    }

    /// `plan`, `map`, `reduce`, `commit`; empty when it does not run.
    pub fn phase(&self) -> &str {
        text(&self.0, "/phase")
    }

    /// When it ended.
    pub fn finished_at(&self) -> jiff::Timestamp {
        let text = text(&self.0, "/finished_at");
        text.parse()
            .unwrap_or_else(|error| panic!("finished_at {text}: {error}"))
    }

    /// A field of `map`: `total`, `idle`, `running`, `completed`.
    pub fn map(&self, field: &str) -> u64 {
        number(&self.0, &format!("/map/{field}"))
    }

    /// A field of `reduce`.
    pub fn reduce(&self, field: &str) -> u64 {
        number(&self.0, &format!("/reduce/{field}"))
    }

    /// A field of `attempts`.
    pub fn attempts(&self, field: &str) -> u64 {
        number(&self.0, &format!("/attempts/{field}"))
    }

    /// Whether some maps are done and some are not.
    pub fn is_amid_maps(&self) -> bool {
        self.map("completed") > 0 && self.map("completed") < self.map("total")
    }

    /// Whether some reduces are done and some are not.
    pub fn is_amid_reduces(&self) -> bool {
        self.reduce("completed") > 0 && self.reduce("completed") < self.reduce("total")
    }
}

/// The value at a JSON pointer.
pub fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value
        .pointer(pointer)
        .unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

fn number(value: &Value, pointer: &str) -> u64 {
    at(value, pointer)
        .as_u64()
        .unwrap_or_else(|| panic!("{pointer} is not a number in {value}"))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer)
        .as_str()
        .unwrap_or_else(|| panic!("{pointer} is not a text in {value}"))
}
