//! A job of one record on a warm cluster, from its submission to its result.
//!
//! By the client's library within this process. Every step of it is durable on
//! a majority: the job, its plan, each grant, each outcome. The result is a
//! dataset, which is what a job writes unless told otherwise, or a directory.

use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use vivat_client::{ClientOptions, LeaderClient, host};
use vivat_shared::job::{
    ATTEMPTS_DEFAULT, InputFormat, InputPattern, JobSpec, OutputLocation, PRIORITY_DEFAULT, Policy,
    SPLIT_BYTES_DEFAULT, StepSpec, Visibility,
};
use vivat_shared::view::JobState;

use super::cluster;
use crate::figures::Times;
use crate::harness::Cluster;
use crate::options::Options;

const TIMES: usize = 50;
/// Not counted: the cluster is warm then.
const WARM_UP: usize = 10;
const GOAL: Duration = Duration::from_millis(15);
const BIN: Duration = Duration::from_millis(1);

/// Measures both kinds of result, and what a single commit takes.
pub fn run(_options: &Options) {
    println!("a job of one record, submission to result, 3 masters, 2 workers of 1 slot");
    let cluster = cluster();
    let input = cluster.path("one.txt");
    std::fs::write(&input, "hello\n").expect("a file can be written");
    let endpoints = cluster.addresses().split(',').map(str::to_owned).collect();
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let client = LeaderClient::new(endpoints, ClientOptions::default());
        commits(&client).await;
        let dataset = |_| OutputLocation::Dataset { name: None };
        let times = jobs(&client, &cluster, dataset).await;
        times.print("into a dataset", BIN);
        times.goal(50, GOAL);
        let directory = |number| OutputLocation::Directory {
            path: text(&cluster, &format!("out-{number}")),
            display: format!("out-{number}"),
            visibility: Visibility::Host(host::identity()),
        };
        let times = jobs(&client, &cluster, directory).await;
        times.print("into a directory", BIN);
    });
}

/// An empty entry, one after another: what each of a job's steps costs at least.
async fn commits(client: &LeaderClient) {
    let mut times = Vec::new();
    for _ in 0..TIMES + WARM_UP {
        let began = Instant::now();
        client.commit_noop().await.expect("a leader commits it");
        times.push(began.elapsed());
    }
    let times = Times::new(times.split_off(WARM_UP));
    times.print("one commit", Duration::from_micros(250));
}

async fn jobs(
    client: &LeaderClient,
    cluster: &Cluster,
    output: impl Fn(usize) -> OutputLocation,
) -> Times {
    let mut times = Vec::new();
    for number in 0..TIMES + WARM_UP {
        let spec = spec(cluster, output(number));
        let key = format!("{}-{number}", spec.output.path().is_some());
        let began = Instant::now();
        one(client, &key, &spec).await;
        times.push(began.elapsed());
    }
    Times::new(times.split_off(WARM_UP))
}

async fn one(client: &LeaderClient, key: &str, spec: &JobSpec) {
    let submitted = client.submit_job(key, spec).await.expect("it is accepted");
    let mut changes = client.watch_job(submitted.job);
    let mut state = JobState::Queued;
    while let Some(change) = changes.next().await.expect("there is a leader") {
        state = change.job.state;
    }
    assert_eq!(state, JobState::Succeeded, "{}", submitted.job);
}

fn spec(cluster: &Cluster, output: OutputLocation) -> JobSpec {
    JobSpec {
        name: "one".to_owned(),
        comment: String::new(),
        inputs: vec![InputPattern {
            path: text(cluster, "one.txt"),
            display: "one.txt".to_owned(),
            visibility: Visibility::Host(host::identity()),
        }],
        format: InputFormat::Text,
        split_bytes: SPLIT_BYTES_DEFAULT,
        steps: vec![StepSpec::once("word-count", 1)],
        output,
        overwrite: false,
        priority: PRIORITY_DEFAULT,
        policy: Policy::default(),
        attempts_max: ATTEMPTS_DEFAULT,
        timeout_ms: None,
        speculation: true,
        skipped_max: 0,
        side_files: Vec::new(),
        notify: None,
        source: String::new(),
        size_hint_bytes: None,
    }
}

fn text(cluster: &Cluster, name: &str) -> String {
    let path = cluster.path(name);
    path.to_str()
        .expect("paths of benchmarks are text")
        .to_owned()
}
