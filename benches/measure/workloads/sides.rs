//! The sides of a workload: ours, the limit, tools of the system, peers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::rows::{DISTRIBUTED, PEERS, Row};
use crate::harness::{Cluster, describe, parse};
use crate::memory;

/// What a peer's script prints before the seconds that it took.
const SECONDS: &str = "seconds ";
/// Where the scripts are.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");
/// The subcommand of this binary that is the limit.
pub const LIMIT: &str = "limit";

/// Of the threads that run our attempts.
const NICENESS: &str = "10";

/// A peer that can be used here.
#[derive(Debug, Clone)]
pub struct Peer {
    name: &'static str,
    version: String,
    python: PathBuf,
}

/// What is run.
#[derive(Debug, Clone)]
enum Kind {
    Ours,
    Limit,
    Tool(&'static str),
    Peer(PathBuf, PathBuf),
    /// It is not here, for this reason.
    Absent(String),
}

/// A side of a workload.
#[derive(Debug, Clone)]
pub struct Side {
    /// As the table calls it.
    pub name: String,
    kind: Kind,
}

/// What a side did.
pub struct Ran {
    /// By which it is compared; none of one that is not here.
    pub took: Option<Duration>,
    /// Of all its processes together; 0 of ours, whose workers are asked later.
    pub peak_kib: u64,
    /// Of ours: the job.
    pub job: Option<Job>,
}

/// A job of ours.
pub struct Job {
    /// As `job show` has it.
    pub view: Value,
    /// When the command was started.
    pub started_at: Timestamp,
    /// When it had ended.
    pub ended_at: Timestamp,
}

/// Those of the peers that this Python has; says what it has not.
pub fn peers(python: Option<&Path>) -> Vec<Peer> {
    let Some(python) = python else {
        println!("peers: no Python given (--python, see benches/peers/setup): not installed\n");
        return Vec::new();
    };
    let version = |name: &&'static str| {
        let line = format!("import {name}; print({name}.__version__)");
        let asked = Command::new(python).args(["-c", &line]).output();
        let asked = asked.unwrap_or_else(|error| panic!("{}: {error}", python.display()));
        let version = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
        let has_java = *name != "pyspark" || has("java");
        (asked.status.success() && has_java).then(|| Peer {
            name,
            version,
            python: python.to_owned(),
        })
    };
    let found: Vec<Peer> = PEERS.iter().filter_map(version).collect();
    for peer in &found {
        println!("peer: {} {}", peer.name, peer.version);
    }
    println!(
        "java, which pyspark needs: {}",
        if has("java") { "yes" } else { "no" }
    );
    println!();
    found
}

/// All sides of a row; the limit is the first.
pub fn of(row: &Row, peers: &[Peer]) -> Vec<Side> {
    let side = |name: &str, kind| Side {
        name: name.to_owned(),
        kind,
    };
    let absent = || Kind::Absent("not installed".to_owned());
    let mut sides = vec![side(LIMIT, Kind::Limit), side("vivat", Kind::Ours)];
    for tool in row.tools {
        let kind = match has(tool.name) {
            true => Kind::Tool(tool.line),
            false => absent(),
        };
        sides.push(side(tool.name, kind));
    }
    for name in PEERS {
        let script = format!("{name}_{}.py", row.name.replace('-', "_"));
        let script = Path::new(SCRIPTS).join(script);
        if !script.exists() {
            continue;
        }
        let kind = match peers.iter().find(|peer| peer.name == name) {
            Some(peer) => Kind::Peer(peer.python.clone(), script),
            None => absent(),
        };
        sides.push(side(name, kind));
    }
    sides
}

fn has(binary: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(binary).is_file())
}

impl Side {
    /// What the others are compared with.
    pub fn is_limit(&self) -> bool {
        matches!(self.kind, Kind::Limit)
    }

    /// The product.
    pub fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Ours)
    }

    /// Why it is not here.
    pub fn absence(&self) -> Option<&str> {
        match &self.kind {
            Kind::Absent(reason) => Some(reason),
            Kind::Ours | Kind::Limit | Kind::Tool(_) | Kind::Peer(..) => None,
        }
    }

    /// Whether it runs on more than one machine.
    pub fn is_distributed(&self) -> bool {
        DISTRIBUTED.contains(&self.name.as_str())
    }

    /// One process that survives nothing, and is no tool.
    pub fn is_single(&self) -> bool {
        PEERS.contains(&self.name.as_str()) && !self.is_distributed()
    }

    /// Runs it once.
    pub fn run(&self, row: &Row, cluster: &Cluster, inputs: &[PathBuf], output: &Path) -> Ran {
        match &self.kind {
            Kind::Ours => ours(row, cluster, inputs, output),
            Kind::Limit => {
                let this = std::env::current_exe().expect("this binary has a path");
                let mut command = nice(&this);
                command.args([LIMIT, row.name]).arg(output).args(inputs);
                ran(memory::run(command.current_dir(cluster.dir())))
            }
            Kind::Tool(line) => {
                let input = inputs.iter().map(|input| text(input)).collect::<Vec<_>>();
                let line = line.replace("{in}", &input.join(" "));
                let line = line.replace("{out}", text(output));
                let mut command = nice(Path::new("bash"));
                command.args(["-o", "pipefail", "-c", &line]);
                ran(memory::run(command.current_dir(cluster.dir())))
            }
            Kind::Peer(python, script) => peer(python, script, cluster, inputs, output),
            Kind::Absent(_) => Ran {
                took: None,
                peak_kib: 0,
                job: None,
            },
        }
    }
}

/// A command as nice as our slots are: a busy machine treats all alike.
fn nice(program: &Path) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", NICENESS]).arg(program);
    command
}

fn ran(ended: memory::Ended) -> Ran {
    Ran {
        took: Some(ended.took),
        peak_kib: ended.peak_kib,
        job: None,
    }
}

fn ours(row: &Row, cluster: &Cluster, inputs: &[PathBuf], output: &Path) -> Ran {
    let inputs = inputs.iter().map(|input| text(input));
    let mut args = vec!["submit", row.program];
    args.extend(inputs);
    args.extend(row.args);
    args.extend(["--output", text(output), "--wait", "-o", "json"]);
    let started_at = Timestamp::now();
    let started = Instant::now();
    let result = cluster.vivat(&args);
    let took = started.elapsed();
    assert!(result.status.success(), "{}", describe(&result));
    Ran {
        took: Some(took),
        peak_kib: 0,
        job: Some(Job {
            view: parse(&result),
            started_at,
            ended_at: Timestamp::now(),
        }),
    }
}

fn peer(python: &Path, script: &Path, cluster: &Cluster, inputs: &[PathBuf], output: &Path) -> Ran {
    let said = cluster.path("said.txt");
    let mut command = nice(python);
    command.arg(script).arg(output).args(inputs);
    command.current_dir(cluster.dir()).stdin(Stdio::null());
    command.stdout(File::create(&said).expect("a file can be made"));
    let errors = File::create(cluster.path("errors.txt")).expect("a file can be made");
    let ended = memory::run(command.stderr(errors));
    let said = std::fs::read_to_string(said).expect("it was written");
    let seconds = said.lines().find_map(|line| line.strip_prefix(SECONDS));
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    let seconds = seconds.unwrap_or_else(|| panic!("{}: {said}", script.display()));
    Ran {
        took: Some(Duration::from_secs_f64(seconds)),
        ..ran(ended)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of benchmarks are text")
}
