//! Clients that submit while disks die, and remember what was acknowledged.
//!
//! A submission whose outcome is unknown is forgotten: it may have happened. One
//! that was acknowledged must be there for ever, under the same id for the same
//! key (S1, S5).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use vivat_client::{ClientOptions, LeaderClient};
use vivat_shared::ids::JobId;
use vivat_shared::job::{
    InputFormat, InputPattern, JobSpec, OutputLocation, Policy, StepSpec, Visibility,
};

use crate::faults::await_true;
use crate::harness::Cluster;

/// Clients at once.
const CLIENTS: u64 = 4;
/// Keys that are submitted again.
const KEYS_AGAIN: usize = 4;
/// Jobs asked for at once.
const QUESTIONS: usize = 32;
/// For one submission, however many masters it must ask.
const BUDGET: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(5);

/// Keys and the ids that they were acknowledged with.
pub type Acknowledged = BTreeMap<String, JobId>;

/// The clients.
pub struct Load {
    runtime: Runtime,
    client: LeaderClient,
    acknowledged: Arc<Mutex<Acknowledged>>,
    tasks: Vec<JoinHandle<()>>,
    rounds: u64,
}

impl Load {
    /// Clients of a cluster that do nothing yet.
    pub fn new(cluster: &Cluster) -> Self {
        let masters = cluster.addresses();
        let masters = masters.split(',').map(str::to_owned).collect();
        let options = ClientOptions {
            call_budget: BUDGET,
            ..ClientOptions::default()
        };
        Self {
            runtime: Runtime::new().expect("a runtime"),
            client: LeaderClient::new(masters, options),
            acknowledged: Arc::default(),
            tasks: Vec::new(),
            rounds: 0,
        }
    }

    /// Lets them submit until told otherwise.
    pub fn begin(&mut self) {
        self.rounds += 1;
        for number in 0..CLIENTS {
            let prefix = format!("load-{}-{number}", self.rounds);
            let clients = submit_for_ever(self.client.clone(), prefix, self.acknowledged.clone());
            self.tasks.push(self.runtime.spawn(clients));
        }
    }

    /// Lets them submit until so many more are acknowledged.
    pub fn await_more(&self, jobs: usize) {
        let wanted = self.acknowledged().len() + jobs;
        await_true("acknowledged submissions", || {
            self.acknowledged().len() >= wanted
        });
    }

    /// Begins, awaits and ends.
    pub fn submit(&mut self, jobs: usize) {
        self.begin();
        self.await_more(jobs);
        self.end();
    }

    /// Lets them submit no more, whatever is under way.
    pub fn end(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // Cancelled is how it ends.
            self.runtime.block_on(task).ok();
        }
    }

    /// What was acknowledged so far.
    pub fn acknowledged(&self) -> Acknowledged {
        let acknowledged = self.acknowledged.lock();
        acknowledged.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every acknowledged job is there, under its id; and the newest keys give
    /// their jobs again.
    pub fn assert_nothing_missing(&self) {
        let acknowledged = self.acknowledged();
        let ids: Vec<JobId> = acknowledged.values().copied().collect();
        self.runtime.block_on(async {
            for ids in ids.chunks(QUESTIONS) {
                let views = ids.iter().map(|id| self.client.get_job(*id));
                for (id, view) in ids.iter().zip(futures_util::future::join_all(views).await) {
                    let view = view.unwrap_or_else(|error| panic!("S1: {id} is gone: {error}"));
                    assert_eq!(view.job_id, *id);
                }
            }
            for (key, id) in acknowledged.iter().rev().take(KEYS_AGAIN) {
                let again = self.client.submit_job(key, &spec()).await;
                let again = again.expect("the cluster has a leader");
                assert_eq!((again.job, again.created), (*id, false), "S5: {key}");
            }
        });
    }
}

async fn submit_for_ever(client: LeaderClient, prefix: String, to: Arc<Mutex<Acknowledged>>) {
    for number in 0_u64.. {
        let key = format!("{prefix}-{number}");
        match client.submit_job(&key, &spec()).await {
            Ok(submitted) => {
                let mut acknowledged = to.lock().unwrap_or_else(PoisonError::into_inner);
                acknowledged.insert(key, submitted.job);
            }
            // Unknown; the next one has a key of its own.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// A job that waits for a worker for ever, or fails with its first attempt: its
/// input is no file.
fn spec() -> JobSpec {
    let path = |path: &str| (path.to_owned(), path.to_owned());
    let (input, input_display) = path("/dev/null");
    let (output, output_display) = path("/nonexistent/vivat-out");
    JobSpec {
        name: "load".to_owned(),
        comment: String::new(),
        inputs: vec![InputPattern {
            path: input,
            display: input_display,
            visibility: Visibility::Everyone,
        }],
        format: InputFormat::Text,
        split_bytes: 1024 * 1024,
        steps: vec![StepSpec::once("word-count", 1)],
        output: OutputLocation::Directory {
            path: output,
            display: output_display,
            visibility: Visibility::Everyone,
        },
        overwrite: false,
        priority: 0,
        policy: Policy::Locality,
        attempts_max: 1,
        timeout_ms: None,
        speculation: true,
        skipped_max: 0,
        side_files: Vec::new(),
        notify: None,
        source: String::new(),
        size_hint_bytes: None,
    }
}
