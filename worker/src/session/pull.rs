//! The long poll: one at a time, with all that is held in it.
//!
//! A pull is composed when the answer to the one before has been taken in, so
//! the leader can tell what got lost on the way and deliver it again. It is
//! given up for a new one when it asks for less than there is room for by now;
//! an answer that was on its way is then one that got lost.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vivat_engine::{CancelFlag, Progress};
use vivat_proto::convert::attempt::{assignment_from_wire, rounds_from_wire};
use vivat_proto::v1;
use vivat_shared::attempt::Broadcast;
use vivat_shared::ids::{DatasetId, RoundId};
use vivat_shared::job::JobSpec;

use super::beat::attempts;
use super::{Registration, Session, SessionEnd, after_error};
use crate::held::{Grant, Room};

/// How long the leader may keep a pull that it has no work for.
const WAIT_MS: u32 = 10_000;
const PULL_TIMEOUT: Duration = Duration::from_secs(15);

impl Session {
    pub(super) async fn pull(&self, registration: Registration) -> Result<Infallible, SessionEnd> {
        loop {
            let (held, room) = self.core.look(|held| (held.ids(), held.room()));
            let request = v1::PullAttemptsRequest {
                worker: Some(registration.worker.into()),
                held: held.into_iter().map(Into::into).collect(),
                want: room.want,
                control_free: room.control_free,
                wait_ms: WAIT_MS,
            };
            match self.pull_once(&request, room).await {
                Some(Ok(answer)) => self.take_in(registration, answer),
                Some(Err(error)) => after_error("pull", error).await?,
                None => {}
            }
        }
    }

    /// None when the pull was outgrown.
    async fn pull_once(
        &self,
        request: &v1::PullAttemptsRequest,
        room: Room,
    ) -> Option<Result<v1::PullAttemptsResponse, vivat_client::ClientError>> {
        let call = self.call(
            PULL_TIMEOUT,
            PULL_TIMEOUT,
            request,
            |mut client, request| async move { client.pull_attempts(request).await },
        );
        tokio::select! {
            biased;
            answer = call => Some(answer),
            () = self.core.outgrown(room) => None,
        }
    }

    fn take_in(&self, registration: Registration, answer: v1::PullAttemptsResponse) {
        let mut side_datasets = answer.side_datasets;
        let told = answer.specs.into_iter().filter_map(|(job, spec)| {
            let datasets = side_datasets.remove(&job).unwrap_or_default().datasets;
            let dataset = |id| (id != 0).then_some(DatasetId(id));
            let told = Told {
                spec: Arc::new(spec.try_into().ok()?),
                side_datasets: datasets.into_iter().map(dataset).collect(),
            };
            Some((job, told))
        });
        let told: HashMap<u64, Told> = told.collect();
        let grants = match rounds_from_wire(answer.rounds) {
            Ok(rounds) => answer
                .assignments
                .into_iter()
                .filter_map(|assignment| grant(registration, assignment, &rounds, &told))
                .collect(),
            // Without what their rounds read, none of them is what was granted.
            Err(error) => {
                tracing::error!(error = %error, "cannot read what rounds read");
                Vec::new()
            }
        };
        let (kill, mut take_back) = (attempts(answer.kill), attempts(answer.take_back));
        let load = self.runner.load;
        let refused = |grant: &&Arc<Grant>| load.hands_back(grant.attempt, grant.spec.policy);
        let refused = grants.iter().filter(refused);
        take_back.extend(refused.map(|grant| grant.attempt));
        tracing::debug!(
            granted = grants.len(),
            killed = kill.len(),
            taken_back = take_back.len(),
            "pull answered"
        );
        let to_fetch = self.core.change(|held| {
            held.kill(&kill);
            let to_fetch = held.take_in(grants);
            held.hand_back(&take_back);
            to_fetch
        });
        for grant in to_fetch {
            self.shuffle.fetch(grant, None);
        }
    }
}

/// What a pull tells of a job.
struct Told {
    spec: Arc<JobSpec>,
    side_datasets: Arc<[Option<DatasetId>]>,
}

/// An assignment that cannot be read is granted again at the next pull; to
/// refuse the rest for it would help nobody.
fn grant(
    registration: Registration,
    assignment: v1::Assignment,
    rounds: &BTreeMap<RoundId, Broadcast>,
    told: &HashMap<u64, Told>,
) -> Option<Arc<Grant>> {
    let assignment = match assignment_from_wire(assignment, rounds) {
        Ok(assignment) => assignment,
        Err(error) => {
            tracing::error!(error = %error, "cannot read an assignment");
            return None;
        }
    };
    let attempt = assignment.attempt;
    let Some(told) = told.get(&attempt.job().0) else {
        tracing::error!(%attempt, "an assignment came without its specification");
        return None;
    };
    Some(Arc::new(Grant {
        attempt,
        work: assignment.work,
        spec: told.spec.clone(),
        side_datasets: told.side_datasets.clone(),
        worker: registration.worker,
        cluster: registration.cluster,
        progress: Progress::default(),
        cancel: CancelFlag::default(),
        stopped: CancellationToken::new(),
    }))
}
