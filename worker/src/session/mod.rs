//! The worker's side of its registration: one epoch after the other.
//!
//! Register, offer the segments that are still on the disk, then pull, report
//! and beat side by side until the leader says that the epoch is stale; beside
//! them, tell of the blocks that are here and of those that got lost. Losing
//! the leader ends nothing here: every call looks for the next one by itself,
//! while slots and fetches go on with what is held.

mod beat;
mod blocks;
mod pull;
mod report;
mod restore;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Request, Status};
use vivat_client::{ClientError, LeaderClient};
use vivat_ground::Threads;
use vivat_proto::error::WireError;
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;
use vivat_proto::v1::worker_service_client::WorkerServiceClient;
use vivat_shared::ids::{AttemptId, ClusterId, WorkerEpoch};
use vivat_shared::job::HostIdentity;

use crate::blocks::Blocks;
use crate::core::Core;
use crate::dir::{DirError, WorkerDir};
use crate::runner::Runner;
use crate::shuffle::Shuffle;

/// For every call but the pull and the heartbeat.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one call looks for a leader before its loop looks around again.
const SEARCH_BUDGET: Duration = Duration::from_secs(30);
/// Between tries after an answer that nobody expects, so that a defect on the
/// other side is no spin on this one.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// What the worker says of itself when it registers.
#[derive(Debug, Clone)]
pub(crate) struct Introduction {
    pub(crate) uid: String,
    pub(crate) address: String,
    pub(crate) slots: u32,
    pub(crate) host: HostIdentity,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) worker: WorkerEpoch,
    pub(crate) cluster: ClusterId,
    pub(crate) heartbeat: Duration,
}

/// Why a session's loop ended.
#[derive(Debug)]
pub(crate) enum SessionEnd {
    /// The leader knows another epoch of this worker, or none.
    Stale,
}

/// Everything that the loops of a session work with.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) core: Arc<Core>,
    pub(crate) dir: Arc<WorkerDir>,
    pub(crate) leader: LeaderClient,
    pub(crate) runner: Arc<Runner>,
    pub(crate) shuffle: Arc<Shuffle>,
    pub(crate) blocks: Blocks,
    /// Between two reports of all blocks.
    pub(crate) block_report_interval: Duration,
    pub(crate) introduction: Introduction,
    pub(crate) registered: watch::Sender<Option<WorkerEpoch>>,
}

impl Session {
    /// Runs one epoch after the other; ends when the directory is not for this
    /// cluster or cannot be used.
    pub(crate) async fn run(&self, mut crashed: Vec<AttemptId>) -> DirError {
        loop {
            let registration = self.register(&crashed).await;
            self.runner.forget_crashes(&mut crashed);
            if let Err(error) = self.adopt(registration).await {
                return error;
            }
            let worker = registration.worker.worker;
            self.blocks.identify(worker, registration.cluster);
            self.registered.send_replace(Some(registration.worker));
            let end = self.serve(registration).await;
            self.registered.send_replace(None);
            match end {
                SessionEnd::Stale => {
                    // What nobody took any more: it runs again elsewhere.
                    let unreported = self.core.look(|held| held.reports(usize::MAX).len());
                    let worker = registration.worker;
                    tracing::warn!(%worker, unreported, "registration is stale");
                    self.core.change(crate::held::Held::abandon);
                }
            }
        }
    }

    async fn serve(&self, registration: Registration) -> SessionEnd {
        let pull = async {
            self.restore(registration).await?;
            self.pull(registration).await
        };
        // Whichever learns first that the epoch is stale ends the others.
        tokio::select! {
            Err(end) = pull => end,
            Err(end) = self.report(registration) => end,
            Err(end) = self.beat(registration) => end,
            Err(end) = self.report_blocks(registration) => end,
            Err(end) = self.report_lost_blocks(registration) => end,
            never = self.watch_leader() => match never {},
        }
    }

    async fn register(&self, crashed: &[AttemptId]) -> Registration {
        let introduction = &self.introduction;
        let request = v1::RegisterWorkerRequest {
            uid: introduction.uid.clone(),
            address: introduction.address.clone(),
            pid: std::process::id(),
            slots: introduction.slots,
            host: introduction.host.0.clone(),
            labels: introduction.labels.clone().into_iter().collect(),
            crashed: crashed.iter().copied().map(Into::into).collect(),
        };
        loop {
            let answer = self
                .call(
                    SEARCH_BUDGET,
                    CALL_TIMEOUT,
                    &request,
                    |mut client, request| async move { client.register_worker(request).await },
                )
                .await;
            let problem = match answer.map(registration) {
                Ok(Ok(registration)) => {
                    let Registration {
                        worker, cluster, ..
                    } = registration;
                    tracing::info!(%worker, %cluster, "registered");
                    return registration;
                }
                Ok(Err(error)) => error.to_string(),
                Err(ClientError::NoLeader { waited, .. }) => {
                    tracing::warn!(waited_s = waited.as_secs(), "no leader to register with");
                    continue;
                }
                Err(error @ (ClientError::Refused(_) | ClientError::BadAnswer { .. })) => {
                    error.to_string()
                }
            };
            tracing::error!(problem, "cannot register");
            tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
        }
    }

    /// Job numbers of another cluster mean other jobs: nothing is begun for it.
    async fn adopt(&self, registration: Registration) -> Result<(), DirError> {
        let dir = self.dir.clone();
        let adopt = move || dir.adopt_cluster(registration.cluster);
        let adopted = blocking(self.dir.threads(), adopt).await;
        adopted.unwrap_or(Ok(()))
    }

    /// A call to the leader, with the deadline both here and on the wire.
    async fn call<R, T, F, Fut>(
        &self,
        budget: Duration,
        per_try: Duration,
        request: &R,
        call: F,
    ) -> Result<T, ClientError>
    where
        R: Clone,
        F: Fn(WorkerServiceClient<Channel>, Request<R>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        self.call_over(budget, per_try, request, |channel, request| {
            call(vivat_client::worker_service(channel), request)
        })
        .await
    }

    /// The same, to any of the leader's services.
    async fn call_over<R, T, F, Fut>(
        &self,
        budget: Duration,
        per_try: Duration,
        request: &R,
        call: F,
    ) -> Result<T, ClientError>
    where
        R: Clone,
        F: Fn(Channel, Request<R>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        loop {
            tokio::select! {
                biased;
                answer = ask_leader(&self.leader, budget, per_try, request, &call) => {
                    return answer;
                }
                // A leader that was stopped or cut off answers nothing, and
                // need not be waited for once another call has found the next.
                () = another_leader(&self.leader) => {}
            }
        }
    }

    /// Tells the operator what he would want to know; ends never.
    async fn watch_leader(&self) -> Infallible {
        let mut leadership = self.leader.leadership();
        let mut leaderless = false;
        loop {
            let view = leadership.borrow_and_update().clone();
            match (leaderless, view.none_since, view.endpoint) {
                (false, Some(_), _) => {
                    leaderless = true;
                    tracing::warn!("no leader; what is held goes on");
                }
                (true, None, Some(leader)) => {
                    leaderless = false;
                    tracing::info!(leader, "leader found");
                }
                (false | true, _, _) => {}
            }
            if leadership.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Returns when another master leads than when it was called.
pub(crate) async fn another_leader(leader: &LeaderClient) {
    let mut leadership = leader.leadership();
    let before = leadership.borrow().endpoint.clone();
    let another = leadership
        .wait_for(|view| view.endpoint.is_some() && view.endpoint != before)
        .await
        .is_ok();
    if !another {
        std::future::pending::<()>().await;
    }
}

/// See [`Session::call`]; for those who are no session.
pub(crate) async fn call_leader<R, T, F, Fut>(
    leader: &LeaderClient,
    budget: Duration,
    per_try: Duration,
    request: &R,
    call: F,
) -> Result<T, ClientError>
where
    R: Clone,
    F: Fn(WorkerServiceClient<Channel>, Request<R>) -> Fut,
    Fut: Future<Output = Result<tonic::Response<T>, Status>>,
{
    ask_leader(leader, budget, per_try, request, |channel, request| {
        call(vivat_client::worker_service(channel), request)
    })
    .await
}

/// One call to any of the leader's services, with its deadline on the wire.
async fn ask_leader<R, T, F, Fut>(
    leader: &LeaderClient,
    budget: Duration,
    per_try: Duration,
    request: &R,
    call: F,
) -> Result<T, ClientError>
where
    R: Clone,
    F: Fn(Channel, Request<R>) -> Fut,
    Fut: Future<Output = Result<tonic::Response<T>, Status>>,
{
    let call = &call;
    let answer = leader
        .call(budget, per_try, |channel| {
            let mut request = Request::new(request.clone());
            request.set_timeout(per_try);
            call(channel, request)
        })
        .await?;
    Ok(answer.into_inner())
}

/// Whether an error says that the epoch is over.
pub(crate) fn is_stale(error: &ClientError) -> bool {
    matches!(
        error.detail(),
        Some(Kind::StaleEpoch(_) | Kind::UnknownWorker(_))
    )
}

fn registration(answer: v1::RegisterWorkerResponse) -> Result<Registration, WireError> {
    let worker = vivat_proto::error::required(answer.worker, "worker")?;
    let cluster = answer.cluster_id.parse();
    Ok(Registration {
        worker: worker.into(),
        cluster: cluster.map_err(|_| WireError::Missing {
            field: "cluster_id",
        })?,
        // At least once a millisecond, so that a zero is no spin.
        heartbeat: Duration::from_millis(answer.heartbeat_ms.max(1)),
    })
}

/// Runs file work off the async threads; none when it panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    threads: Threads,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    threads.run(work).await.ok()
}

/// What to do about an error of a session's call that is no answer.
async fn after_error(call: &'static str, error: ClientError) -> Result<(), SessionEnd> {
    if is_stale(&error) {
        return Err(SessionEnd::Stale);
    }
    match error {
        ClientError::NoLeader { waited, .. } => {
            tracing::debug!(
                call,
                waited_ms = waited.as_millis(),
                "no leader; work goes on"
            );
        }
        ClientError::Refused(_) | ClientError::BadAnswer { .. } => {
            tracing::warn!(call, error = %error, "call refused");
            tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
        }
    }
    Ok(())
}
