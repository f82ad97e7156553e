//! Domain values as JSON, by the field names of the contract, and as words.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use vivat_client::{ClusterView, JobChange, MasterView, NodeView};
use vivat_shared::attempt::SkippedRecord;
use vivat_shared::notify::NotifyState;
use vivat_shared::view::{JobView, RoundView, TaskCounts};

use crate::failure::cause_code;
use crate::quantity::TimeSpan;

/// A time in RFC 3339, in UTC.
pub fn time(at_ms: u64) -> String {
    i64::try_from(at_ms)
        .ok()
        .and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok())
        .map_or_else(|| "-".to_owned(), |at| at.to_string())
}

/// How long ago a time was, for people.
pub fn age(at_ms: u64) -> String {
    let now_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
    let elapsed = Duration::from_millis(now_ms.saturating_sub(at_ms));
    TimeSpan(Duration::from_secs(elapsed.as_secs().max(1))).coarse()
}

/// From submission to the end, or until now.
pub fn took(job: &JobView) -> Option<Duration> {
    let end = job.finished_at_ms?;
    Some(Duration::from_millis(
        end.saturating_sub(job.submitted_at_ms),
    ))
}

/// `job show`.
pub fn job(job: &JobView) -> Value {
    let failure = job.failure.as_ref().map(|failure| {
        let (code, exit) = cause_code(&failure.cause);
        json!({
            "code": code,
            "message": failure.describe(job.job_id),
            "hint": failure.cause.hint(),
            "exit": exit,
            "cause": failure.cause,
            "attempt": failure.attempt.map(|attempt| attempt.to_string()),
            "worker_id": failure.worker.map(|worker| worker.to_string()),
            "input": failure.input,
            "failures": failure.failures,
            "output_tail": failure.output_tail,
        })
    });
    json!({
        "job_id": job.job_id.to_string(),
        "name": job.name,
        "programs": job.programs,
        "state": job.state.word(),
        "reason": job.reason,
        "failure": failure,
        "submitted_at": time(job.submitted_at_ms),
        "started_at": job.started_at_ms.map(time),
        "finished_at": job.finished_at_ms.map(time),
        "step": job.step,
        "round": job.round,
        "phase": job.phase,
        "map": counts(&job.map),
        "reduce": counts(&job.reduce),
        "attempts": job.attempts,
        "rounds": job.rounds.iter().map(round).collect::<Vec<_>>(),
        "skipped": job.skipped.iter().map(skipped).collect::<Vec<_>>(),
        "counters": job.counters,
        "input_bytes": job.input_bytes,
        "output": job.output,
        "output_path": job.output_path,
        "priority": job.priority,
        "retries": job.retries,
        "notify": job.notify.as_ref().map(notify),
    })
}

/// How far the telling of its end is.
fn notify(state: &NotifyState) -> Value {
    let (word, tries, problem) = match state {
        NotifyState::Pending { tries, problem } => ("pending", tries, problem.as_str()),
        NotifyState::Delivered { tries } => ("delivered", tries, ""),
        NotifyState::GivenUp { tries, problem } => ("given-up", tries, problem.as_str()),
    };
    json!({"state": word, "tries": tries, "problem": problem})
}

/// A round that is over. A metric that is not a number is null.
fn round(round: &RoundView) -> Value {
    let metrics = round.metrics.iter();
    let metrics: serde_json::Map<String, Value> = metrics
        .map(|(name, metric)| (name.clone(), json!(metric.value())))
        .collect();
    json!({
        "step": round.step,
        "round": round.round,
        "seconds": Duration::from_millis(round.elapsed_ms).as_secs_f64(),
        "metrics": metrics,
    })
}

/// A bad record that was skipped; what is no text in it is shown as such.
fn skipped(record: &SkippedRecord) -> Value {
    json!({
        "input": record.display,
        "offset": record.offset,
        "bytes": String::from_utf8_lossy(&record.bytes),
        "problem": record.problem,
    })
}

/// One object of `job watch -o ndjson`.
pub fn change(change: &JobChange) -> Value {
    json!({
        "at": Timestamp::now().to_string(),
        "job_id": change.job.job_id.to_string(),
        "state": change.job.state.word(),
        "reason": change.job.reason,
        "phase": change.job.phase,
        "step": change.job.step,
        "round": change.job.round,
        "map": counts(&change.job.map),
        "reduce": counts(&change.job.reduce),
        "counters": change.job.counters,
        "leader_id": change.leader_seat,
        "term": change.term,
    })
}

fn counts(counts: &TaskCounts) -> Value {
    json!({
        "total": counts.total,
        "idle": counts.idle,
        "running": counts.running,
        "completed": counts.completed,
    })
}

/// `cluster status`.
pub fn cluster(cluster: &ClusterView) -> Value {
    json!({
        "cluster_id": cluster.cluster_id,
        "leader_id": cluster.leader_seat.map(|seat| seat.0),
        "leader_node_id": cluster.leader_node_id.map(|node| node.0),
        "term": cluster.term,
        "masters": cluster.masters.iter().map(master).collect::<Vec<_>>(),
        "workers": {
            "live": cluster.workers_live,
            "lost": cluster.workers_lost,
            "draining": cluster.workers_draining,
        },
        "jobs": {
            "queued": cluster.jobs_queued,
            "running": cluster.jobs_running,
            "finished": cluster.jobs_finished,
        },
        "answered_by": cluster.answered_by.0,
        "serving": cluster.serving,
    })
}

/// One of the masters.
pub fn master(master: &MasterView) -> Value {
    json!({
        "id": master.seat.0,
        "node_id": master.node_id.0,
        "role": master.role,
        "address": master.client_address,
        "raft_address": master.raft_address,
        "http_address": master.http_address,
        "pid": master.pid,
        "reachable": master.reachable,
        "last_log_index": master.last_log_index,
        "applied_index": master.applied_index,
        "purged_index": master.purged_index,
        "hash_index": master.hash_index,
        "state_hash": master.state_hash,
    })
}

/// One of `node list`.
pub fn node(node: &NodeView) -> Value {
    let worker = &node.worker;
    json!({
        "worker_id": worker.worker_id.to_string(),
        "epoch": worker.epoch.0,
        "state": worker.state.word(),
        "address": worker.address,
        "pid": worker.pid,
        "slots": worker.slots,
        "busy": worker.busy,
        "last_heartbeat_ms": worker.last_heartbeat_ms,
        "score": worker.score,
        "labels": worker.labels,
        "reason": worker.reason,
        "host": node.host.0,
        "attempts_held": node.drain.attempts_held,
        "blocks_only_here": node.drain.blocks_only_here,
        "segments_needed": node.drain.segments_needed,
        "may_go": node.drain.may_go,
        "disk_bytes": node.drain.disk_bytes,
        "disk_used_bytes": node.drain.disk_used_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(1_795_000_000_123), "2026-11-18T11:06:40.123Z");
    }
}
