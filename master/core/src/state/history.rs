//! The rounds of a job that are over: what people follow a training by.
//!
//! Ended jobs keep theirs, and there are many of those: the names of metrics stand
//! once, and the oldest rounds go when there is no room.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use vivat_shared::attempt::{Metric, Metrics};
use vivat_shared::ids::RoundId;
use vivat_shared::limits::ROUNDS_SHOWN_MAX;
use vivat_shared::view::RoundView;

use crate::limits::{METRIC_NAMES_MAX, METRICS_KEPT_MAX};

/// One round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    step: u16,
    round: u32,
    elapsed_ms: u64,
    /// By the position of their names.
    metrics: Vec<(u16, Metric)>,
}

/// Rounds in order, the last ones.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    names: Vec<String>,
    rows: VecDeque<Row>,
    metrics: usize,
}

impl History {
    /// A round is over. Metrics with names beyond the bound are dropped.
    pub(crate) fn push(&mut self, id: RoundId, elapsed_ms: u64, metrics: &Metrics) {
        let metrics: Vec<(u16, Metric)> = metrics
            .iter()
            .filter_map(|(name, metric)| Some((self.name(name)?, *metric)))
            .collect();
        self.metrics += metrics.len();
        self.rows.push_back(Row {
            step: id.step,
            round: id.round,
            elapsed_ms,
            metrics,
        });
        while self.rows.len() > ROUNDS_SHOWN_MAX || self.metrics > METRICS_KEPT_MAX {
            let oldest = self.rows.pop_front();
            self.metrics -= oldest.map_or(0, |oldest| oldest.metrics.len());
        }
    }

    /// A round, and those after it, are done once more.
    pub(crate) fn forget_from(&mut self, id: RoundId) {
        let before = |row: &Row| (row.step, row.round) < (id.step, id.round);
        self.rows.retain(before);
        self.metrics = self.rows.iter().map(|row| row.metrics.len()).sum();
    }

    fn name(&mut self, name: &str) -> Option<u16> {
        let known = self.names.iter().position(|known| known == name);
        let at = known.unwrap_or(self.names.len());
        if known.is_none() {
            if at >= METRIC_NAMES_MAX {
                return None;
            }
            self.names.push(name.to_owned());
        }
        u16::try_from(at).ok()
    }

    /// Step and number of each round that is remembered, in order.
    pub fn rounds(&self) -> impl DoubleEndedIterator<Item = (u16, u32)> + '_ {
        self.rows.iter().map(|row| (row.step, row.round))
    }

    /// For people.
    #[must_use]
    pub fn view(&self) -> Vec<RoundView> {
        let metric = |(name, metric): &(u16, Metric)| {
            let name = self.names.get(usize::from(*name))?;
            Some((name.clone(), *metric))
        };
        let rows = self.rows.iter().map(|row| RoundView {
            step: row.step,
            round: row.round,
            elapsed_ms: row.elapsed_ms,
            metrics: row.metrics.iter().filter_map(metric).collect(),
        });
        rows.collect()
    }

    /// Whether it is within its bounds, and counts what it has.
    pub(crate) fn is_consistent(&self) -> bool {
        let metrics: usize = self.rows.iter().map(|row| row.metrics.len()).sum();
        metrics == self.metrics
            && metrics <= METRICS_KEPT_MAX
            && self.rows.len() <= ROUNDS_SHOWN_MAX
            && self.names.len() <= METRIC_NAMES_MAX
    }
}

#[cfg(test)]
mod tests {
    use vivat_shared::ids::JobId;

    use super::*;

    #[expect(clippy::disallowed_types, reason = "a metric is made of one")]
    fn push(history: &mut History, round: u32, names: std::ops::Range<usize>) {
        let id = RoundId {
            job: JobId(1),
            step: 0,
            round,
        };
        let metric = |number: usize| (format!("m{number}"), Metric::from(number as f64));
        history.push(id, 7, &names.map(metric).collect());
    }

    #[test]
    fn oldest_rounds_go_when_there_are_too_many_or_too_many_metrics() {
        let mut history = History::default();
        let rounds = u32::try_from(ROUNDS_SHOWN_MAX).unwrap() + 5;
        for round in 0..rounds {
            push(&mut history, round, 0..1);
        }
        assert!(history.is_consistent());
        assert_eq!(history.rounds().next(), Some((0, 5)));
        for round in rounds..rounds + 600 {
            push(&mut history, round, 0..64);
        }
        assert!(history.is_consistent());
        let view = history.view();
        assert_eq!(view.len(), METRICS_KEPT_MAX / 64);
        assert_eq!(view.last().map(|row| row.round), Some(rounds + 599));
        assert_eq!(view[0].metrics["m63"].value(), 63.0);
    }

    #[test]
    fn metrics_with_ever_new_names_do_not_grow_it_without_end() {
        let mut history = History::default();
        for round in 0..100_u32 {
            let first = round as usize * 10;
            push(&mut history, round, first..first + 10);
        }
        assert!(history.is_consistent());
        assert!(history.view()[99].metrics.is_empty());
        assert_eq!(history.view()[0].metrics.len(), 10);
    }
}
