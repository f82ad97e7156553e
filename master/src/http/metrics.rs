//! Counters and gauges, in Prometheus' text form.
//!
//! Counters are bumped where things happen; gauges are read from the state and
//! from Raft when somebody asks. Names end in their unit, counters in `_total`.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::raft::Longest;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

/// What is read when somebody asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Snapshot {
    /// Raft term.
    pub(crate) term: u64,
    /// Whether this replica leads and its services are open.
    pub(crate) leads: bool,
    /// Last applied entry.
    pub(crate) applied_index: u64,
    /// Last entry known to be committed.
    pub(crate) committed_index: u64,
    /// Requests that wait for an entry.
    pub(crate) proposals_waiting: u64,
    /// Pulls that wait for work.
    pub(crate) pulls_waiting: u64,
    /// What must not take long.
    pub(crate) longest: Longest,
    /// Workers by state.
    pub(crate) workers: Vec<(&'static str, u64)>,
    /// Jobs by state.
    pub(crate) jobs: Vec<(&'static str, u64)>,
}

/// A gauge of an unsigned number.
type Level = Gauge<u64, AtomicU64>;

/// Every metric of a master process.
pub struct Metrics {
    registry: Registry,
    term: Level,
    leads: Level,
    applied_index: Level,
    committed_index: Level,
    proposals_waiting: Level,
    pulls_waiting: Level,
    leader_silence: Level,
    snapshots: Level,
    snapshot_copied: Level,
    snapshot_written: Level,
    workers: Family<StateLabel, Level>,
    jobs: Family<StateLabel, Level>,
    finished: Family<VerdictLabel, Counter>,
    /// Commands proposed by this replica as leader.
    pub(crate) commands: Counter,
    /// Attempts granted while this replica led.
    pub(crate) attempts_granted: Counter,
    /// Granted attempts that were taken away again.
    pub(crate) attempts_revoked: Counter,
    /// Grants that `apply` refused: wasted by a stale view.
    pub(crate) grants_refused: Counter,
    /// Attempts asked back from workers with a queue.
    pub(crate) taken_back: Counter,
    /// Second attempts proposed for stragglers.
    pub(crate) backups: Counter,
    /// Workers that were expired while this replica led.
    pub(crate) workers_expired: Counter,
    /// Terms that this replica saw begin.
    pub(crate) elections: Counter,
    /// Calls of workers that were told to look for the leader.
    pub(crate) workers_sent_on: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("vivat_master"),
            term: Level::default(),
            leads: Level::default(),
            applied_index: Level::default(),
            committed_index: Level::default(),
            proposals_waiting: Level::default(),
            pulls_waiting: Level::default(),
            leader_silence: Level::default(),
            snapshots: Level::default(),
            snapshot_copied: Level::default(),
            snapshot_written: Level::default(),
            workers: Family::default(),
            jobs: Family::default(),
            finished: Family::default(),
            commands: Counter::default(),
            attempts_granted: Counter::default(),
            attempts_revoked: Counter::default(),
            grants_refused: Counter::default(),
            taken_back: Counter::default(),
            backups: Counter::default(),
            workers_expired: Counter::default(),
            elections: Counter::default(),
            workers_sent_on: Counter::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let levels = self
            .levels()
            .map(|(name, help, level)| (name, help, level.clone()));
        let registry = &mut self.registry;
        for (name, help, level) in levels {
            registry.register(name, help, level);
        }
        registry.register("workers", "Workers by state", self.workers.clone());
        registry.register("jobs", "Jobs by state", self.jobs.clone());
        let finished = self.finished.clone();
        registry.register("attempts_finished", "Outcomes taken, by verdict", finished);
        let counters = [
            ("commands", "Commands proposed", &self.commands),
            (
                "attempts_granted",
                "Attempts granted",
                &self.attempts_granted,
            ),
            (
                "attempts_revoked",
                "Granted attempts taken away",
                &self.attempts_revoked,
            ),
            ("grants_refused", "Grants refused", &self.grants_refused),
            (
                "attempts_taken_back",
                "Attempts asked back",
                &self.taken_back,
            ),
            ("backups", "Backups proposed", &self.backups),
            ("workers_expired", "Workers expired", &self.workers_expired),
            ("elections", "Terms seen to begin", &self.elections),
            (
                "workers_sent_on",
                "Worker calls answered with not leader",
                &self.workers_sent_on,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        self
    }

    fn levels(&self) -> [(&'static str, &'static str, &Level); 10] {
        [
            ("term", "Raft term", &self.term),
            (
                "leads",
                "1 while this replica's leader services are open",
                &self.leads,
            ),
            (
                "applied_index",
                "Last applied log entry",
                &self.applied_index,
            ),
            (
                "committed_index",
                "Last log entry known to be committed",
                &self.committed_index,
            ),
            (
                "proposals_waiting",
                "Requests that wait for an entry",
                &self.proposals_waiting,
            ),
            (
                "pulls_waiting",
                "Pulls of workers that wait for work",
                &self.pulls_waiting,
            ),
            (
                "leader_silence_longest_us",
                "Longest time between two words of one leader in one term",
                &self.leader_silence,
            ),
            (
                "snapshots_written",
                "Snapshots written by this process",
                &self.snapshots,
            ),
            (
                "snapshot_copied_longest_us",
                "Longest time that nothing was applied because the state was copied",
                &self.snapshot_copied,
            ),
            (
                "snapshot_written_longest_us",
                "Longest time to encode a snapshot and to have it on the disk",
                &self.snapshot_written,
            ),
        ]
    }

    /// The counter of outcomes with that verdict.
    pub(crate) fn attempts_finished(&self, accepted: bool) -> Counter {
        let verdict = if accepted { "accepted" } else { "refused" };
        self.finished
            .get_or_create(&VerdictLabel { verdict })
            .clone()
    }

    /// Everything, as text.
    pub(crate) fn render(&self, snapshot: &Snapshot) -> Result<String, fmt::Error> {
        self.term.set(snapshot.term);
        self.leads.set(u64::from(snapshot.leads));
        self.applied_index.set(snapshot.applied_index);
        self.committed_index.set(snapshot.committed_index);
        self.proposals_waiting.set(snapshot.proposals_waiting);
        self.pulls_waiting.set(snapshot.pulls_waiting);
        let longest = snapshot.longest;
        self.leader_silence.set(longest.silence_us);
        self.snapshots.set(longest.snapshots);
        self.snapshot_copied.set(longest.snapshot_copied_us);
        self.snapshot_written.set(longest.snapshot_written_us);
        for (family, levels) in [
            (&self.workers, &snapshot.workers),
            (&self.jobs, &snapshot.jobs),
        ] {
            for &(state, count) in levels {
                family.get_or_create(&StateLabel { state }).set(count);
            }
        }
        let mut body = String::new();
        text::encode(&mut body, &self.registry)?;
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_the_prefix_and_the_levels_of_the_moment() {
        let metrics = Metrics::default();
        metrics.attempts_finished(true).inc();
        let snapshot = Snapshot {
            term: 7,
            jobs: vec![("running", 2)],
            ..Snapshot::default()
        };
        let body = metrics.render(&snapshot).unwrap();
        assert!(body.contains("vivat_master_term 7"), "{body}");
        assert!(
            body.contains(r#"vivat_master_jobs{state="running"} 2"#),
            "{body}"
        );
        assert!(
            body.contains(r#"vivat_master_attempts_finished_total{verdict="accepted"} 1"#),
            "{body}"
        );
    }
}
