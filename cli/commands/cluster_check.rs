//! `vivat cluster check`: whether all masters made the same of the same log.
//!
//! Every master chains a hash over what it applied and keeps it at the recent
//! multiples of 64 entries. Masters are not equally far, so they are compared at
//! the highest index that all who answered still know. One that answered and
//! shares no index with the others (it is far behind, or just came) leaves
//! nothing to say yet: exit 5, as when fewer than two answered. Before entry 64
//! they are compared at 0, where every log begins.

use serde_json::{Value, json};
use vivat_client::{ClusterView, MasterView};

use crate::app::App;
use crate::args::Print;
use crate::failure::{Failure, exit};
use crate::table::{Sheet, number, state, text};

/// With fewer there is nothing to compare.
const COMPARED_MIN: usize = 2;

/// What the masters' hashes say.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// All who answered have the same hash at this index.
    Equal(u64),
    /// Not all have.
    Different(u64),
    /// So many answered.
    TooFew(usize),
    /// They answered, and share no index.
    Apart,
}

/// Runs it on what one master says of all.
pub fn check(app: &App, view: &ClusterView) -> Result<(), Failure> {
    let verdict = judge(&view.masters);
    let (index, equal) = match verdict {
        Verdict::Equal(index) => (index, true),
        Verdict::Different(index) => (index, false),
        Verdict::TooFew(count) => return Err(too_few(count, view.masters.len())),
        Verdict::Apart => return Err(apart()),
    };
    print(app, view, index, equal)?;
    if equal {
        for master in view.masters.iter().filter(|master| !master.reachable) {
            app.note(&format!(
                "seat {} was not compared: it did not answer",
                master.seat.0
            ));
        }
        return Ok(());
    }
    Err(different(index))
}

fn judge(masters: &[MasterView]) -> Verdict {
    let answered: Vec<&MasterView> = masters.iter().filter(|master| master.reachable).collect();
    if answered.len() < COMPARED_MIN {
        return Verdict::TooFew(answered.len());
    }
    if answered.iter().all(|master| master.hash_points.is_empty()) {
        return Verdict::Equal(0);
    }
    let common = answered[0].hash_points.keys().rev().find(|index| {
        let mut others = answered[1..].iter();
        others.all(|master| master.hash_points.contains_key(index))
    });
    let Some(&index) = common else {
        return Verdict::Apart;
    };
    let first = answered[0].hash_points[&index];
    if answered
        .iter()
        .all(|master| master.hash_points[&index] == first)
    {
        Verdict::Equal(index)
    } else {
        Verdict::Different(index)
    }
}

fn print(app: &App, view: &ClusterView, index: u64, equal: bool) -> Result<(), Failure> {
    match app.print {
        Print::Json | Print::Ndjson => app.json(&form(view, index, equal)),
        Print::Name => app.data(if equal { "equal\n" } else { "different\n" }),
        Print::Table | Print::Wide => {
            let mut sheet = Sheet::new(app, &["SEAT", "ROLE", "APPLIED", "HASH AT", "HASH"]);
            for master in &view.masters {
                sheet.row([
                    number(master.seat.0),
                    state(&master.role),
                    number(master.applied_index),
                    number(index),
                    text(hash_at(master, index).unwrap_or_else(|| "-".to_owned())),
                ]);
            }
            sheet.print(app, "no masters")
        }
    }
}

fn form(view: &ClusterView, index: u64, equal: bool) -> Value {
    let masters = view.masters.iter().map(|master| {
        json!({
            "id": master.seat.0,
            "reachable": master.reachable,
            "applied_index": master.applied_index,
            "state_hash": hash_at(master, index),
        })
    });
    json!({
        "cluster_id": view.cluster_id,
        "equal": equal,
        "hash_index": index,
        "masters": masters.collect::<Vec<_>>(),
    })
}

fn hash_at(master: &MasterView, index: u64) -> Option<String> {
    let hash = master.hash_points.get(&index)?;
    Some(format!("{hash:016x}"))
}

fn too_few(answered: usize, of: usize) -> Failure {
    Failure::new(
        "too-few-masters",
        exit::TEMPORARY,
        format!("{answered} of {of} masters answered; two are needed to compare"),
    )
    .hint("try again when more masters run: `vivat cluster members`")
}

fn apart() -> Failure {
    Failure::new(
        "masters-apart",
        exit::TEMPORARY,
        "the masters that answered are too far apart to be compared at one index",
    )
    .hint("try again when the last one has caught up: `vivat cluster members`")
}

fn different(index: u64) -> Failure {
    Failure::new(
        "states-differ",
        exit::FAILED,
        format!("the masters' states differ at entry {index}"),
    )
    .hint("keep the directories of all masters, and report it: this must never happen")
}

#[cfg(test)]
mod tests {
    use vivat_shared::ids::{NodeId, Seat};

    use super::*;

    fn master(seat: u32, points: &[(u64, u64)]) -> MasterView {
        MasterView {
            seat: Seat(seat),
            node_id: NodeId(u64::from(seat) + 1),
            role: "follower".to_owned(),
            client_address: String::new(),
            raft_address: String::new(),
            http_address: String::new(),
            pid: 1,
            reachable: true,
            last_log_index: 0,
            applied_index: 0,
            purged_index: 0,
            hash_index: 0,
            state_hash: String::new(),
            hash_points: points.iter().copied().collect(),
        }
    }

    fn silent(seat: u32) -> MasterView {
        MasterView {
            reachable: false,
            ..master(seat, &[])
        }
    }

    #[test]
    fn masters_are_compared_at_the_highest_index_that_all_know() {
        let first = master(0, &[(64, 1), (128, 2), (192, 3)]);
        let second = master(1, &[(64, 1), (128, 2)]);
        let all = [first, second, master(2, &[(128, 2), (192, 9)])];
        assert_eq!(judge(&all), Verdict::Equal(128));
    }

    #[test]
    fn one_other_hash_at_the_common_index_is_a_difference() {
        let all = [
            master(0, &[(64, 1)]),
            master(1, &[(64, 1)]),
            master(2, &[(64, 7)]),
        ];
        assert_eq!(judge(&all), Verdict::Different(64));
    }

    #[test]
    fn a_silent_master_is_left_out_and_one_alone_cannot_be_compared() {
        let (first, second) = (master(0, &[(64, 1)]), master(1, &[(64, 1)]));
        let two = [first.clone(), second, silent(2)];
        assert_eq!(judge(&two), Verdict::Equal(64));
        assert_eq!(judge(&[first, silent(1), silent(2)]), Verdict::TooFew(1));
    }

    #[test]
    fn masters_without_a_common_index_are_apart_and_young_ones_are_equal() {
        let far = [master(0, &[(640, 1)]), master(1, &[(64, 2)])];
        assert_eq!(judge(&far), Verdict::Apart);
        let fresh = [master(0, &[(64, 1)]), master(1, &[])];
        assert_eq!(judge(&fresh), Verdict::Apart);
        assert_eq!(judge(&[master(0, &[]), master(1, &[])]), Verdict::Equal(0));
    }
}
