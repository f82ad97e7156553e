//! Where the last round of a step that closes puts its output: every round writes
//! a dataset, and the commit copies the last one's parts to a directory or to an
//! object store, whoever dies meanwhile (S2, F21).

use std::fs;
use std::path::PathBuf;

use vivat_client::{ClientOptions, LeaderClient};
use vivat_programs::{OracleInput, expand, find, validate_parameters};
use vivat_shared::job::{
    ATTEMPTS_DEFAULT, InputFormat, InputPattern, JobSpec, OutputLocation, PRIORITY_DEFAULT, Policy,
    StepSpec, Visibility,
};
use vivat_testkit::moto::{Moto, create_bucket};

use crate::harness::{Cluster, Process, Shape, command, describe, output_bytes};
use crate::own_workers::{Start, listing};

const BUCKET: &str = "rounds";

/// One master, two workers that obey orders and know an object store.
struct Bench {
    cluster: Cluster,
    orders: PathBuf,
    starts: Vec<Start>,
    workers: Vec<Process>,
    environment: Vec<(&'static str, String)>,
}

impl Bench {
    fn start(environment: Vec<(&'static str, String)>) -> Self {
        let cluster = Cluster::start(Shape {
            masters: 1,
            workers: 0,
            slots: 1,
        });
        let orders = cluster.path("orders");
        fs::create_dir(&orders).expect("the directory is the test's");
        let start = |name| Start {
            orders: Some(orders.clone()),
            environment: environment.clone(),
            ..Start::at(name, cluster.path(name))
        };
        let starts: Vec<Start> = ["worker-a", "worker-b"].map(start).into();
        let workers = starts.iter().map(|start| start.spawn(&cluster)).collect();
        cluster.await_status("both workers", |status| status.workers_live() == 2);
        cluster.write_words("words.txt", 512 * 1024, 17);
        Self {
            cluster,
            orders,
            starts,
            workers,
            environment,
        }
    }

    /// Submits a sample of the words as a job of its own: one step, which closes.
    fn submit(&self, key: &str, output: OutputLocation) -> String {
        let path = self.cluster.path("words.txt");
        let spec = JobSpec {
            name: key.to_owned(),
            comment: String::new(),
            inputs: vec![InputPattern {
                path: path.to_string_lossy().into_owned(),
                display: "words.txt".to_owned(),
                visibility: Visibility::Everyone,
            }],
            format: InputFormat::Text,
            split_bytes: 64 * 1024,
            steps: vec![sample_step()],
            output,
            overwrite: false,
            priority: PRIORITY_DEFAULT,
            policy: Policy::Locality,
            attempts_max: ATTEMPTS_DEFAULT,
            timeout_ms: None,
            speculation: true,
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
            client.submit_job(key, &spec).await
        });
        submitted.expect("the cluster takes it").job.to_string()
    }

    fn directory(&self, name: &str) -> OutputLocation {
        OutputLocation::Directory {
            path: self.cluster.path(name).to_string_lossy().into_owned(),
            display: name.to_owned(),
            visibility: Visibility::Everyone,
        }
    }

    /// One worker dies at the point and is started again.
    fn kill_one_at(&mut self, point: &str, submit: impl FnOnce(&Self) -> String) -> String {
        let order = self.orders.join(format!("{point}.1"));
        fs::write(order, "kill").expect("the directory is the test's");
        let id = submit(self);
        let mut dead = None;
        crate::faults::await_true("a worker's death", || {
            let mut all = self.workers.iter_mut();
            dead = all.position(|worker| worker.exit_status().is_some());
            dead.is_some()
        });
        let dead = dead.expect("awaited just now");
        self.workers[dead] = self.starts[dead].spawn(&self.cluster);
        let struck = format!("{point}.1.struck");
        assert!(listing(&self.orders).contains(&struck), "nobody died there");
        id
    }

    /// What the sample must be, by its oracle.
    fn expected(&self) -> Vec<u8> {
        let step = sample_step();
        let entry = find(&step.program).expect("it is built in");
        let parameters = validate_parameters(entry, &step.parameters).expect("they are its own");
        let input = OracleInput {
            path: self.cluster.path("words.txt"),
            display: "words.txt".to_owned(),
        };
        let mut out = Vec::new();
        (entry.oracle)(&parameters, &[input], step.reducers, &mut out).expect("it is there");
        assert!(!out.is_empty(), "a sample of nothing proves nothing");
        out
    }

    /// The parts in order, as a client reads them.
    fn printed(&self, id: &str) -> Vec<u8> {
        let output = command(self.cluster.dir())
            .args(["job", "output", id])
            .env("VIVAT_CLUSTER", self.cluster.addresses())
            .envs(self.environment.iter().cloned())
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{}", describe(&output));
        output.stdout
    }
}

/// The first step of a sort into four parts.
fn sample_step() -> StepSpec {
    let sort = StepSpec::once("sort", 4);
    let steps = expand(&sort, InputFormat::Text).expect("a sort of lines");
    assert!(steps[0].closes, "{steps:?}");
    steps[0].clone()
}

#[test]
fn output_of_a_closing_step_is_copied_to_a_directory_though_workers_die() {
    let mut bench = Bench::start(Vec::new());
    let expected = bench.expected();
    for point in ["close-done", "part-create", "part-write", "output-show"] {
        let output = bench.directory(&format!("out-{point}"));
        let id = bench.kill_one_at(point, |bench| bench.submit(point, output));
        let view = bench.cluster.await_success(&id);
        assert!(view.attempts("lost") > 0, "{point}: {}", view.0);
        let found = output_bytes(&bench.cluster.path(&format!("out-{point}")));
        assert!(found == expected, "{point}: other bytes");
        assert!(bench.printed(&id) == expected, "{point}: other bytes shown");
    }
    bench.cluster.assert_serves_another_job();
}

#[test]
fn output_of_a_closing_step_is_copied_to_an_object_store_though_a_worker_dies() {
    let Some(moto) = Moto::start() else {
        return;
    };
    create_bucket(moto.port(), BUCKET);
    let environment = Moto::environment(moto.port(), "a secret of the test");
    let mut bench = Bench::start(environment.to_vec());
    let expected = bench.expected();
    let to = |name: &str| OutputLocation::Objects {
        url: format!("s3://{BUCKET}/{name}"),
    };
    let id = bench.submit("undisturbed", to("undisturbed"));
    bench.cluster.await_success(&id);
    assert!(bench.printed(&id) == expected, "other bytes");

    let id = bench.kill_one_at("close-done", |bench| {
        bench.submit("disturbed", to("disturbed"))
    });
    let view = bench.cluster.await_success(&id);
    assert!(view.attempts("lost") > 0, "{}", view.0);
    assert!(bench.printed(&id) == expected, "other bytes");
    bench.cluster.assert_serves_another_job();
}
