//! S6, for segments: while a reduce needs them, the segments of a completed map
//! are at a worker whose epoch is current, unless it wrote none; a suspicion is about
//! such a one.

use super::{Violation, ensure};
use crate::state::{Job, Round, Running, State};

pub(super) fn check(state: &State) -> Vec<Violation> {
    state
        .jobs()
        .filter_map(Job::active)
        .map(crate::state::Active::round)
        .filter(|round| round.needs_segments())
        .flat_map(|round| check_round(state, round))
        .collect()
}

fn check_round(state: &State, round: &Round) -> Vec<Violation> {
    let holders = (0..round.maps.len()).filter_map(|map| {
        let there = round.maps.accepted(map)?;
        if !round.has_segments(map) {
            return None;
        }
        ensure(state.check_worker(there.worker).is_ok(), "S6", || {
            format!(
                "map {map} of {} is at {}, which is not current",
                round.id, there.worker
            )
        })
    });
    let suspicions = round.suspicions.iter().filter_map(|(map, suspicion)| {
        let there = Running {
            number: suspicion.number,
            worker: suspicion.holder,
        };
        let founded = round.maps.accepted(*map) == Some(there) && !suspicion.readers.is_empty();
        ensure(founded, "S6", || {
            format!("map {map} of {} is suspected without ground", round.id)
        })
    });
    holders.chain(suspicions).collect()
}
