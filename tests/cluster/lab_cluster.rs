//! Masters of the product, workers of the lab: processes that know one more
//! program than `vivat worker` does.
//!
//! Such a worker is this test binary, started anew with an environment that
//! tells the one test that is asked for to be a worker.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};
use vivat_client::{ClientOptions, LeaderClient};
use vivat_programs::OracleInput;
use vivat_shared::job::{
    InputFormat, InputPattern, JobSpec, OutputLocation, Policy, StepSpec, Visibility,
};
use vivat_worker::{Worker, WorkerConfig};

use crate::harness::{Cluster, DEADLINE, JobView, Process, Shape, output_bytes, words};
use crate::lab_program::{EXIT_BY_PROGRAM, catalogue, expected};

const CLUSTER_VARIABLE: &str = "VIVAT_LAB_CLUSTER";
const DIR_VARIABLE: &str = "VIVAT_LAB_DIR";
const SLOTS_VARIABLE: &str = "VIVAT_LAB_SLOTS";
const WORKER_TEST: &str = "lab_cluster::a_process_of_the_lab_is_a_worker_when_told_so";
const WORKERS: u64 = 2;
pub const FILES: usize = 8;
pub const REDUCERS: u32 = 6;
const FILE_BYTES: usize = 20 * 1024;

#[test]
fn a_process_of_the_lab_is_a_worker_when_told_so() {
    let (Ok(cluster), Ok(dir)) = (env::var(CLUSTER_VARIABLE), env::var(DIR_VARIABLE)) else {
        return;
    };
    set_parent_process_death_signal(Some(Signal::KILL)).expect("the kernel can do that");
    let masters = cluster.split(',').map(str::to_owned).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut config = WorkerConfig::new(PathBuf::from(dir), masters);
        config.catalogue = catalogue();
        if let Ok(slots) = env::var(SLOTS_VARIABLE) {
            config.slots = slots.parse().expect("a number of slots");
        }
        let mut worker = Worker::start(config).expect("the directory is its own");
        worker.join().await;
    });
    panic!("the worker ended by itself");
}

/// A cluster with an index to make.
pub struct Lab {
    pub cluster: Cluster,
    workers: Vec<Process>,
    slots: u32,
}

impl Lab {
    /// Three masters, two workers, some files of words and no mark yet.
    pub fn start() -> Self {
        Self::with_slots(1)
    }

    /// The same with so many slots on each worker.
    pub fn with_slots(slots: u32) -> Self {
        let cluster = Cluster::start(Shape {
            workers: 0,
            ..Shape::default()
        });
        for index in 0..FILES {
            let seed = u64::try_from(index).expect("few");
            let text = words::generate(FILE_BYTES, seed);
            fs::write(cluster.path(&name(index)), text).expect("the directory is the test's");
        }
        fs::create_dir(cluster.path("marks")).expect("the directory is the test's");
        let workers = (0..WORKERS)
            .map(|index| spawn_worker(&cluster, index, slots))
            .collect();
        cluster.await_status("all workers of the lab", |status| {
            status.workers_live() == WORKERS
        });
        Self {
            cluster,
            workers,
            slots,
        }
    }

    /// Submits an index whose tasks behave as told; its output is `out`.
    pub fn submit(&self, conduct: &str) -> String {
        self.submit_within(conduct, None)
    }

    /// The same, with a limit on the job's time.
    pub fn submit_within(&self, conduct: &str, timeout_ms: Option<u64>) -> String {
        self.submit_spec(conduct, timeout_ms, true)
    }

    /// The same without backups of slow tasks.
    pub fn submit_without_backups(&self, conduct: &str) -> String {
        self.submit_spec(conduct, None, false)
    }

    fn submit_spec(&self, conduct: &str, timeout_ms: Option<u64>, speculation: bool) -> String {
        let path = |name: &str| self.cluster.path(name).to_string_lossy().into_owned();
        let parameters = [("marks", path("marks")), ("conduct", conduct.to_owned())];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value));
        let spec = JobSpec {
            name: conduct.to_owned(),
            comment: String::new(),
            inputs: vec![InputPattern {
                path: path("doc-*.txt"),
                display: "doc-*.txt".to_owned(),
                visibility: Visibility::Everyone,
            }],
            format: InputFormat::WholeFile,
            split_bytes: 1024 * 1024,
            steps: vec![StepSpec {
                parameters: BTreeMap::from(parameters),
                ..StepSpec::once("lab-indexer", REDUCERS)
            }],
            output: OutputLocation::Directory {
                path: path("out"),
                display: "out".to_owned(),
                visibility: Visibility::Everyone,
            },
            overwrite: false,
            priority: 50,
            policy: Policy::Locality,
            attempts_max: 4,
            timeout_ms,
            speculation,
            skipped_max: 0,
            side_files: Vec::new(),
            notify: None,
            source: String::new(),
            size_hint_bytes: None,
        };
        let masters = self.cluster.addresses();
        let masters = masters.split(',').map(str::to_owned).collect();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let submitted = runtime.block_on(async {
            let client = LeaderClient::new(masters, ClientOptions::default());
            client.submit_job(conduct, &spec).await
        });
        submitted.expect("the cluster takes it").job.to_string()
    }

    /// The ids of the workers' processes.
    pub fn worker_pids(&self) -> Vec<u32> {
        self.workers.iter().map(Process::id).collect()
    }

    /// No worker has ended.
    pub fn assert_workers_live(&mut self) {
        for worker in &mut self.workers {
            let ended = worker.exit_status();
            assert!(ended.is_none(), "{ended:?}\n{}", worker.log_tail());
        }
    }

    /// The output's bytes are the oracle's.
    pub fn assert_output(&self) {
        let inputs: Vec<OracleInput> = (0..FILES)
            .map(|index| OracleInput {
                path: self.cluster.path(&name(index)),
                display: name(index),
            })
            .collect();
        let expected = expected(&inputs, REDUCERS);
        assert!(!expected.is_empty(), "an index of nothing proves nothing");
        let output = output_bytes(&self.cluster.path("out"));
        assert!(output == expected, "the index differs from the oracle's");
    }

    /// Starts again each worker that its program ended, until the job is over;
    /// returns the job and how often that was.
    pub fn restart_workers_until_the_end(&mut self, job: &str) -> (JobView, usize) {
        let deadline = Instant::now() + DEADLINE;
        let mut ends = 0;
        loop {
            for (index, worker) in (0..WORKERS).zip(&mut self.workers) {
                let Some(status) = worker.exit_status() else {
                    continue;
                };
                let log = worker.log_tail();
                assert_eq!(status.code(), Some(EXIT_BY_PROGRAM), "{log}");
                ends += 1;
                *worker = spawn_worker(&self.cluster, index, self.slots);
            }
            let view = self.cluster.show(job);
            if let Some(view) = view.filter(JobView::is_final) {
                return (view, ends);
            }
            assert!(
                Instant::now() < deadline,
                "not within {DEADLINE:?}: {:?}",
                self.cluster.show(job)
            );
            // Between two looks, not instead of a look.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The names of the marks that begin so, sorted.
    pub fn marks(&self, prefix: &str) -> Vec<String> {
        let entries = fs::read_dir(self.cluster.path("marks")).expect("it is there");
        let mut marks: Vec<String> = entries
            .map(|entry| {
                let name = entry.expect("it can be listed").file_name();
                name.to_string_lossy().into_owned()
            })
            .filter(|name| name.starts_with(prefix))
            .collect();
        marks.sort();
        marks
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for worker in &self.workers {
                eprintln!("{}", worker.log_tail());
            }
        }
    }
}

fn name(index: usize) -> String {
    format!("doc-{index}.txt")
}

fn spawn_worker(cluster: &Cluster, index: u64, slots: u32) -> Process {
    let name = format!("lab-worker-{index}");
    let mut command = Command::new(env::current_exe().expect("this binary has a path"));
    command
        .current_dir(cluster.dir())
        .args([WORKER_TEST, "--exact", "--nocapture"])
        .env(CLUSTER_VARIABLE, cluster.addresses())
        .env(SLOTS_VARIABLE, slots.to_string())
        .env(DIR_VARIABLE, cluster.path(&name));
    Process::spawn(&name, command, &cluster.path(&format!("{name}.log")))
}
