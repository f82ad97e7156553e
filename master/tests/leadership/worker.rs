//! A worker that is played: it holds what it is given and reports what the test
//! tells it to.

use std::collections::{BTreeMap, BTreeSet};

use tonic::Status;
use tonic::transport::Channel;
use vivat_proto::convert::attempt::{assignments_from_wire, chunk_to_wire};
use vivat_proto::convert::outcome::report_to_wire;
use vivat_proto::error::detail_of;
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;
use vivat_proto::v1::worker_service_client::WorkerServiceClient;
use vivat_shared::attempt::{
    Assignment, InputFile, InputOrigin, Outcome, PartOutput, PlanChunk, SplitRange, Work,
};
use vivat_shared::ids::{AttemptId, WorkerEpoch};
use vivat_shared::plan::checksum;
use vivat_shared::size_code::SizeCode;

use crate::cluster::{Cluster, HOST, eventually};

/// Reducers of the jobs that played workers run.
pub const REDUCERS: u32 = 2;

/// See the module.
pub struct Worker {
    pub epoch: WorkerEpoch,
    pub held: BTreeSet<AttemptId>,
    assignments: BTreeMap<AttemptId, Assignment>,
}

/// What a pull was answered, in domain types.
#[derive(Debug, Default, PartialEq)]
pub struct Pulled {
    pub granted: Vec<AttemptId>,
    pub kill: Vec<AttemptId>,
    pub take_back: Vec<AttemptId>,
}

impl Pulled {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

pub fn client(channel: Channel) -> WorkerServiceClient<Channel> {
    WorkerServiceClient::new(channel)
}

/// Whether a status says that another master is to be asked.
pub fn is_not_leader(status: &Status) -> bool {
    matches!(detail_of(status), Some(Kind::NotLeader(_)))
}

impl Worker {
    /// Registers with the leader.
    pub async fn register(cluster: &Cluster, uid: &str) -> Self {
        let request = v1::RegisterWorkerRequest {
            uid: uid.to_owned(),
            // Nobody listens there.
            address: "127.0.0.1:1".to_owned(),
            pid: 1,
            slots: 4,
            host: HOST.to_owned(),
            ..v1::RegisterWorkerRequest::default()
        };
        let response = client(cluster.leader_channel().await)
            .register_worker(request)
            .await
            .unwrap();
        Self {
            epoch: response.into_inner().worker.unwrap().into(),
            held: BTreeSet::new(),
            assignments: BTreeMap::new(),
        }
    }

    /// A pull that says what is held.
    pub fn request(&self, want: u32, wait_ms: u32) -> v1::PullAttemptsRequest {
        v1::PullAttemptsRequest {
            worker: Some(self.epoch.into()),
            held: self.held.iter().map(|&attempt| attempt.into()).collect(),
            want,
            control_free: true,
            wait_ms,
        }
    }

    /// Pulls, and holds what it gets.
    pub async fn pull(&mut self, channel: Channel, want: u32) -> Result<Pulled, Status> {
        let request = self.request(want, 500);
        let response = client(channel).pull_attempts(request).await?.into_inner();
        Ok(self.take(response))
    }

    /// Holds what an answer gives, and drops what it orders killed.
    pub fn take(&mut self, response: v1::PullAttemptsResponse) -> Pulled {
        let ids = |attempts: Vec<v1::AttemptId>| -> Vec<AttemptId> {
            attempts
                .into_iter()
                .map(|attempt| attempt.try_into().unwrap())
                .collect()
        };
        let mut pulled = Pulled {
            granted: Vec::new(),
            kill: ids(response.kill),
            take_back: ids(response.take_back),
        };
        for assignment in assignments_from_wire(response.assignments, response.rounds).unwrap() {
            assert!(
                response.specs.contains_key(&assignment.attempt.job().0),
                "an assignment comes with its job's specification"
            );
            pulled.granted.push(assignment.attempt);
            self.held.insert(assignment.attempt);
            self.assignments.insert(assignment.attempt, assignment);
        }
        for attempt in &pulled.kill {
            self.held.remove(attempt);
        }
        pulled
    }

    /// Pulls until it holds so many attempts.
    pub async fn pull_until(&mut self, cluster: &Cluster, count: usize) {
        let what = format!("{count} attempts are held");
        eventually(&what, async || {
            let channel = cluster.leader_channel().await;
            let want = u32::try_from(count.saturating_sub(self.held.len())).unwrap();
            if let Err(status) = self.pull(channel, want).await {
                assert!(is_not_leader(&status), "{status}");
            }
            (self.held.len() >= count).then_some(())
        })
        .await;
    }

    /// A heartbeat that says what is held and which of it has begun.
    pub async fn heartbeat(
        &self,
        channel: Channel,
        begun: &[AttemptId],
    ) -> Result<v1::HeartbeatResponse, Status> {
        let progress = begun.iter().map(|&attempt| v1::AttemptProgress {
            attempt: Some(attempt.into()),
            bytes_done: 10,
            records_done: 1,
        });
        let request = v1::HeartbeatRequest {
            worker: Some(self.epoch.into()),
            held: self.held.iter().map(|&attempt| attempt.into()).collect(),
            progress: progress.collect(),
            jobs: self.held.iter().map(|attempt| attempt.job().0).collect(),
            ..v1::HeartbeatRequest::default()
        };
        let response = client(channel).heartbeat(request).await?;
        Ok(response.into_inner())
    }

    /// Reports an outcome; it stays held.
    pub async fn report(
        &self,
        channel: Channel,
        attempt: AttemptId,
        outcome: Outcome,
    ) -> Result<bool, Status> {
        let request = v1::ReportOutcomesRequest {
            worker: Some(self.epoch.into()),
            reports: vec![report_to_wire(attempt, outcome)],
        };
        let response = client(channel).report_outcomes(request).await?.into_inner();
        let [verdict] = response.verdicts.try_into().expect("one verdict a report");
        assert_eq!(verdict.attempt, Some(attempt.into()));
        Ok(verdict.accepted)
    }

    /// Does what it holds as a good worker would, with so many map tasks.
    pub async fn finish(&mut self, cluster: &Cluster, attempt: AttemptId, maps: u32) -> bool {
        let assignment = self.assignments[&attempt].clone();
        let outcome = match assignment.work {
            Work::Plan { .. } => self.plan(cluster, attempt, maps).await,
            Work::Map { .. } => Outcome::Mapped {
                log: None,
                segments: vec![SizeCode::of(100); REDUCERS as usize],
                counters: BTreeMap::new(),
                skipped: Vec::new(),
            },
            Work::Reduce { .. } => Outcome::Reduced {
                log: None,
                output: PartOutput::default(),
                blocks: Vec::new(),
                counters: BTreeMap::new(),
                skipped: Vec::new(),
            },
            Work::Close { .. } => panic!("no job of these tests has rounds"),
            Work::Commit { .. } => Outcome::Committed,
            Work::Notify { .. } => Outcome::Notified,
        };
        let channel = cluster.leader_channel().await;
        let accepted = self.report(channel, attempt, outcome).await.unwrap();
        self.held.remove(&attempt);
        accepted
    }

    async fn plan(&self, cluster: &Cluster, attempt: AttemptId, maps: u32) -> Outcome {
        let chunk = PlanChunk {
            files: vec![InputFile {
                header: Vec::new(),
                path: "/data/input.txt".to_owned(),
                display: "input.txt".to_owned(),
                bytes: u64::from(maps) * 10,
                origin: InputOrigin::FileSystem { modified_ns: 0 },
            }],
            splits: (0..maps)
                .map(|map| SplitRange {
                    file: 0,
                    offset: u64::from(map) * 10,
                    bytes: 10,
                })
                .collect(),
        };
        let mut crc32c = 0;
        checksum(&mut crc32c, &chunk);
        let (files, splits) = chunk_to_wire(chunk);
        let request = v1::AppendPlanRequest {
            worker: Some(self.epoch.into()),
            attempt: Some(attempt.into()),
            chunk: 0,
            files,
            splits,
            seal: None,
        };
        let mut client = client(cluster.leader_channel().await);
        client.append_plan(request).await.unwrap();
        Outcome::Planned {
            chunks: 1,
            files: 1,
            splits: maps,
            crc32c,
            replaces: None,
        }
    }

    /// Finishes the plan of the only job, so that its maps can be granted.
    pub async fn finish_plan(&mut self, cluster: &Cluster, maps: u32) {
        self.pull_until(cluster, 1).await;
        let plan = *self.held.first().expect("just pulled");
        assert!(self.finish(cluster, plan, maps).await);
    }

    /// Runs whatever it is given until the job has ended.
    pub async fn run_to_the_end(&mut self, cluster: &Cluster, job: vivat_shared::ids::JobId) {
        eventually("the job ends", async || {
            let held: Vec<AttemptId> = self.held.iter().copied().collect();
            for attempt in held {
                self.finish(cluster, attempt, 1).await;
            }
            let channel = cluster.leader_channel().await;
            if let Err(status) = self.pull(channel, 4).await {
                assert!(is_not_leader(&status), "{status}");
            }
            let state = cluster.job(job).await.state();
            (state == v1::JobState::Succeeded).then_some(())
        })
        .await;
    }
}
