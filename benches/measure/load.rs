//! Work that keeps every slot busy: word counts over many names of one file.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Cluster, JobView, describe};

/// Bytes of a task: some tens of milliseconds, so that what a worker holds
/// ahead lasts for seconds.
const TASK_BYTES: usize = 4 * 1024 * 1024;
const REDUCERS: &str = "2";
/// Tasks of a job of the chain.
const CHAIN_TASKS: usize = 500;
/// With so few left, the next job must wait behind it.
const LEFT_MIN: u64 = 200;

/// Gives a file of words so many names in `dir/`.
pub fn write_inputs(cluster: &Cluster, dir: &str, tasks: usize) {
    let file = cluster.path("words.txt");
    if !file.exists() {
        cluster.write_words("words.txt", TASK_BYTES, 1);
    }
    let folder = cluster.path(dir);
    fs::create_dir(&folder).expect("a folder can be made");
    for task in 0..tasks {
        let name = folder.join(format!("{task:05}.txt"));
        fs::hard_link(&file, name).expect("a file can have many names");
    }
}

/// Submits a count over all names in `dir/`.
pub fn submit(cluster: &Cluster, dir: &str, output: &str) -> String {
    let inputs = format!("{dir}/*.txt");
    let args = ["submit", "word-count", &inputs, "--output", output];
    // More than a file has, so that each is one task.
    let args = [&args[..], &["--split-size", "1GiB", "--reducers", REDUCERS]].concat();
    let submitted = cluster.vivat(&args);
    assert!(submitted.status.success(), "{}", describe(&submitted));
    let id = String::from_utf8(submitted.stdout).expect("ids are text");
    id.trim_end().to_owned()
}

const END_DEADLINE: Duration = Duration::from_secs(600);
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Jobs that follow one another without a gap.
#[derive(Debug, Default)]
pub struct Chain {
    jobs: Vec<String>,
}

impl Chain {
    /// Sees to it that there is work for the next seconds.
    pub fn feed(&mut self, cluster: &Cluster) {
        if self.jobs.is_empty() {
            write_inputs(cluster, "load", CHAIN_TASKS);
            self.add(cluster);
        }
        let newest = self.jobs.last().expect("one was submitted");
        let seen = cluster.await_job(newest, "the newest job", |_| true);
        if seen.map("completed") + LEFT_MIN > seen.map("total") && seen.map("total") > 0 {
            self.add(cluster);
        }
        // The oldest that has not ended works.
        let newest = self.jobs.last().expect("one was submitted");
        if self.jobs.len() == 1 {
            cluster.await_job(newest, "some maps done", |job| job.map("completed") > 20);
        }
    }

    fn add(&mut self, cluster: &Cluster) {
        let output = format!("load-{}", self.jobs.len());
        self.jobs.push(submit(cluster, "load", &output));
    }

    /// Waits for all, and fails when anything was done twice or lost.
    pub fn finish(self, cluster: &Cluster) {
        for job in self.jobs {
            assert_undisturbed(&await_end(cluster, &job));
        }
        assert_no_worker_lost(cluster);
    }
}

/// The job when it has succeeded, however busy the machine is.
pub fn await_end(cluster: &Cluster, job: &str) -> JobView {
    let deadline = Instant::now() + END_DEADLINE;
    loop {
        let view = cluster.await_job(job, "an answer", |_| true);
        if view.is_final() {
            return cluster.await_success(job);
        }
        assert!(Instant::now() < deadline, "{job} does not end: {}", view.0);
        // Each look is a process; more would slow the job.
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Completed tasks re-run, attempts restarted: 0, 0.
pub fn assert_undisturbed(job: &JobView) {
    for what in ["reruns_of_completed", "lost", "failed", "killed"] {
        assert_eq!(job.attempts(what), 0, "{what}: {}", job.0);
    }
    assert_eq!(
        job.attempts("started"),
        job.attempts("succeeded"),
        "{}",
        job.0
    );
}

/// Workers declared lost: 0.
pub fn assert_no_worker_lost(cluster: &Cluster) {
    let status = cluster.await_status("a status", |_| true);
    assert_eq!(status.workers_lost(), 0, "{}", status.0);
}
