//! Jobs: submitting, watching, and comparing what came out with the oracle.

use std::fs;
use std::path::Path;

use super::words;
use super::{Cluster, JobView, describe, parse, vivat};

/// A word count over one file.
#[derive(Debug, Clone)]
pub struct Job {
    /// File in the cluster's directory.
    pub input: String,
    /// Directory in the cluster's directory.
    pub output: String,
    /// Bytes of a split.
    pub split_bytes: usize,
    /// Partitions.
    pub reducers: usize,
    /// Idempotency key.
    pub key: Option<String>,
}

impl Job {
    /// The command line of its submission.
    pub fn submit_args(&self) -> Vec<String> {
        let mut args = vec![
            "submit".to_owned(),
            "word-count".to_owned(),
            self.input.clone(),
        ];
        args.extend(["--output".to_owned(), self.output.clone()]);
        args.extend(["--split-size".to_owned(), self.split_bytes.to_string()]);
        args.extend(["--reducers".to_owned(), self.reducers.to_string()]);
        if let Some(key) = &self.key {
            args.extend(["--key".to_owned(), key.clone()]);
        }
        args
    }
}

impl Cluster {
    /// Writes a file of words into the cluster's directory.
    pub fn write_words(&self, name: &str, bytes: usize, seed: u64) {
        let path = self.path(name);
        fs::write(&path, words::generate(bytes, seed))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Submits and returns the job's id, which is all that is on stdout.
    pub fn submit(&self, job: &Job) -> String {
        self.submit_with(job, &[])
    }

    /// The same with more flags.
    pub fn submit_with(&self, job: &Job, flags: &[&str]) -> String {
        let args = job.submit_args();
        let args = args.iter().map(String::as_str);
        let args: Vec<&str> = args.chain(flags.iter().copied()).collect();
        let output = self.vivat(&args);
        assert!(output.status.success(), "submit: {}", describe(&output));
        let id = String::from_utf8(output.stdout).expect("ids are text");
        let id = id.trim_end_matches('\n');
        assert!(
            id.starts_with("job-") && !id.contains('\n'),
            "not a job id: {id:?}"
        );
        id.to_owned()
    }

    /// The job as it is now; none while nobody can answer.
    pub fn show(&self, job: &str) -> Option<JobView> {
        let output = self.vivat(&["job", "show", job, "-o", "json"]);
        output.status.success().then(|| JobView(parse(&output)))
    }

    /// The ids of all jobs.
    pub fn jobs(&self) -> Vec<String> {
        let output = self.vivat(&["job", "list", "-o", "json"]);
        assert!(output.status.success(), "job list: {}", describe(&output));
        let list = parse(&output);
        let jobs = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
        jobs.iter()
            .map(|job| job["job_id"].as_str().expect("ids are text").to_owned())
            .collect()
    }

    /// Polls until the job is as wanted; fails when it ends in another way first.
    pub fn await_job(&self, job: &str, what: &str, wanted: impl Fn(&JobView) -> bool) -> JobView {
        let seen = self.poll(
            what,
            || self.show(job),
            |view| wanted(view) || view.is_final(),
        );
        assert!(wanted(&seen), "{job} ended before {what}: {}", seen.0);
        seen
    }

    /// Waits for the job's success.
    pub fn await_success(&self, job: &str) -> JobView {
        self.await_job(job, "success", |view| view.state() == "succeeded")
    }

    /// A small job from submission to compared output: the cluster serves on.
    pub fn assert_serves_another_job(&self) {
        self.write_words("another.txt", 64 * 1024, 99);
        let job = Job {
            input: "another.txt".to_owned(),
            output: "another-out".to_owned(),
            split_bytes: 16 * 1024,
            reducers: 2,
            key: None,
        };
        let id = self.submit(&job);
        self.await_success(&id);
        assert_same_as_oracle(self, &job);
    }
}

/// The parts of an output directory, one after the other in their order.
pub fn output_bytes(dir: &Path) -> Vec<u8> {
    assert!(
        dir.join("_SUCCESS").exists(),
        "no _SUCCESS in {}",
        dir.display()
    );
    let mut parts: Vec<_> = fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.expect("an output can be listed").path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("part-"))
        })
        .collect();
    parts.sort();
    parts
        .iter()
        .flat_map(|part| fs::read(part).expect("a part can be read"))
        .collect()
}

/// Byte for byte what one thread without a cluster makes of the input, and word
/// for word what a count of this test's own makes of it.
pub fn assert_same_as_oracle(cluster: &Cluster, job: &Job) {
    let reducers = job.reducers.to_string();
    let args = [
        "run",
        "--sequential",
        "word-count",
        &job.input,
        "--reducers",
        &reducers,
    ];
    let oracle = vivat(cluster.dir(), None, &args);
    assert!(oracle.status.success(), "the oracle: {}", describe(&oracle));
    let output = output_bytes(&cluster.path(&job.output));
    assert!(
        output == oracle.stdout,
        "{} differs from the oracle's",
        job.output
    );

    let input = fs::read_to_string(cluster.path(&job.input)).expect("the test wrote it");
    let text = String::from_utf8(output).expect("words are UTF-8");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert!(
        lines == words::count(&input),
        "{} counts other words",
        job.output
    );
}
