//! `/livez`, `/readyz` and `/metrics`: for kubelets, load balancers and
//! Prometheus.
//!
//! Live means that the process and its Raft core run: a master without a quorum
//! is alive, and restarting it would help nobody. Ready means that it knows a
//! leader and is not far behind; it need not lead.

pub mod metrics;

use std::net::TcpListener as StdListener;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vivat_core::State;
use vivat_shared::view::{JobState, WorkerState};

use self::metrics::{Metrics, Snapshot};
use crate::leader::Gate;
use crate::raft::{Handle, Role};

/// Committed entries that a ready replica may still have to apply.
const BEHIND_ENTRIES_MAX: u64 = 1_000;
/// The text form that Prometheus asks for.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the endpoints look at.
#[derive(Clone)]
pub(crate) struct Probe {
    /// Set once Raft runs; before that the master waits for its peers.
    pub(crate) running: Arc<OnceLock<Running>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Cancelled as soon as the process is asked to end.
    pub(crate) draining: CancellationToken,
}

/// A master whose Raft runs.
pub(crate) struct Running {
    pub(crate) raft: Handle,
    pub(crate) gate: Gate,
}

/// Serves until shutdown.
///
/// # Errors
///
/// The listener's.
pub(crate) async fn serve(
    probe: Probe,
    listener: StdListener,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state(probe);
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { shutdown.cancelled().await })
        .await
}

async fn livez(Shared(probe): Shared<Probe>) -> Response {
    let role = probe
        .running
        .get()
        .map(|running| running.raft.status().role);
    match role {
        Some(Role::Stopped) => refuse("raft core stopped\n"),
        None | Some(Role::Learner | Role::Follower | Role::Candidate | Role::Leader) => {
            "ok\n".into_response()
        }
    }
}

fn refuse(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

async fn readyz(Shared(probe): Shared<Probe>) -> Response {
    if probe.draining.is_cancelled() {
        return refuse("shutting down\n");
    }
    let Some(running) = probe.running.get() else {
        return refuse("waiting for peers\n");
    };
    let status = running.raft.status();
    if status.leader.is_none() {
        return refuse("no leader known\n");
    }
    if status.committed > status.applied_index + BEHIND_ENTRIES_MAX {
        return refuse("behind\n");
    }
    "ok\n".into_response()
}

async fn render(Shared(probe): Shared<Probe>) -> Response {
    let Some(running) = probe.running.get() else {
        return refuse("waiting for peers\n");
    };
    let status = running.raft.status();
    let leader = running.gate.current().ok();
    let depths = leader.as_ref().map(|leader| leader.depths());
    let depths = depths.unwrap_or_default();
    let (workers, jobs) = running.raft.read(|state| (workers(state), jobs(state)));
    let snapshot = Snapshot {
        term: status.term,
        leads: leader.is_some(),
        applied_index: status.applied_index,
        committed_index: status.committed,
        proposals_waiting: depths.proposals as u64,
        pulls_waiting: depths.pulls as u64,
        longest: running.raft.longest(),
        workers,
        jobs,
    };
    match probe.metrics.render(&snapshot) {
        Ok(body) => ([(header::CONTENT_TYPE, OPENMETRICS)], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn workers(state: &State) -> Vec<(&'static str, u64)> {
    let states = [WorkerState::Live, WorkerState::Draining, WorkerState::Lost];
    let counts = worker_counts(state);
    states
        .map(WorkerState::word)
        .into_iter()
        .zip(counts)
        .collect()
}

/// Live, draining, lost.
pub(crate) fn worker_counts(state: &State) -> [u64; 3] {
    let mut counts = [0; 3];
    for worker in state.workers() {
        let position = match (worker.is_registered(), worker.accepts_work()) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        };
        counts[position] += 1;
    }
    counts
}

const JOB_STATES: [JobState; 5] = [
    JobState::Queued,
    JobState::Running,
    JobState::Succeeded,
    JobState::Failed,
    JobState::Cancelled,
];

fn jobs(state: &State) -> Vec<(&'static str, u64)> {
    let counts = job_counts(state);
    JOB_STATES
        .map(JobState::word)
        .into_iter()
        .zip(counts)
        .collect()
}

/// Queued, running, succeeded, failed, cancelled.
pub(crate) fn job_counts(state: &State) -> [u64; 5] {
    let mut counts = [0; 5];
    for job in state.jobs() {
        let position = match job.state() {
            JobState::Queued => 0,
            JobState::Running => 1,
            JobState::Succeeded => 2,
            JobState::Failed => 3,
            JobState::Cancelled => 4,
        };
        counts[position] += 1;
    }
    counts
}
