//! What tests of datasets do to a cluster: puts that stop half-way, copies on
//! disks, and whether the directory agrees with them.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Cluster, DEADLINE, Shape, command, describe, parse};

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Three workers, so that one can go and every block still has two places.
pub fn three_workers() -> Shape {
    Shape {
        workers: 3,
        ..Shape::default()
    }
}

/// A client that talks through pipes.
pub struct Piped {
    child: Option<Child>,
}

impl Drop for Piped {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Refused only when it has ended already, which is what is wanted.
            let _ended = child.kill();
            child.wait().expect("an own child can be waited for");
        }
    }
}

impl Piped {
    /// Starts it.
    pub fn start(cluster: &Cluster, args: &[&str]) -> Self {
        let child = command(cluster.dir())
            .env("VIVAT_CLUSTER", cluster.addresses())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        Self { child: Some(child) }
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("only its end takes it away")
    }

    /// Writes to its standard input.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child().stdin.as_mut().expect("it is piped");
        stdin.write_all(bytes).expect("it reads on");
    }

    /// Reads so many bytes of its standard output.
    pub fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let stdout = self.child().stdout.as_mut().expect("it is piped");
        stdout.read_exact(&mut bytes).expect("it prints as much");
        bytes
    }

    /// SIGINT.
    pub fn interrupt(&mut self) {
        let pid = rustix::process::Pid::from_child(self.child());
        let sent = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        sent.expect("it runs");
    }

    /// Ends its input and waits for it.
    pub fn end(mut self) -> Output {
        let mut child = self.child.take().expect("it has not ended yet");
        drop(child.stdin.take());
        child.wait_with_output().expect("it can be waited for")
    }
}

/// A command that must succeed; what it printed.
pub fn vivat(cluster: &Cluster, args: &[&str]) -> Vec<u8> {
    let output = cluster.vivat(args);
    assert!(output.status.success(), "{args:?}: {}", describe(&output));
    output.stdout
}

/// A command that must fail with this code; what it said.
pub fn refused(cluster: &Cluster, exit: i32, args: &[&str]) -> String {
    let output = cluster.vivat(args);
    let code = output.status.code();
    assert_eq!(code, Some(exit), "{args:?}: {}", describe(&output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Puts a text that comes by a pipe, and stops in the middle of it, when workers
/// have blocks of it, for something to happen.
pub fn put_with_a_break(
    cluster: &mut Cluster,
    name: &str,
    text: &str,
    amid: impl FnOnce(&mut Cluster),
) {
    let block_size = (text.len() / 40).to_string();
    let before = blocks_on_disks(cluster);
    let args = ["data", "put", name, "-", "--block-size", &block_size];
    let mut put = Piped::start(cluster, &args);
    let (first, second) = text.as_bytes().split_at(text.len() / 2);
    put.write(first);
    await_that("blocks of the first half", || {
        blocks_on_disks(cluster) >= before + 10
    });
    amid(cluster);
    put.write(second);
    let output = put.end();
    assert!(output.status.success(), "{}", describe(&output));
}

/// Polls until it is so.
pub fn await_that(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// What the directory says of a dataset's blocks.
pub fn places(cluster: &Cluster, name: &str) -> Vec<Value> {
    let output = cluster.vivat(&["data", "where", name, "-o", "json"]);
    assert!(output.status.success(), "{}", describe(&output));
    let list = parse(&output);
    list.as_array().expect("a list").clone()
}

/// How many workers that are there have each block.
pub fn copies(cluster: &Cluster, name: &str) -> Vec<usize> {
    let blocks = places(cluster, name);
    let count = |block: &Value| block["workers"].as_array().map_or(0, Vec::len);
    blocks.iter().map(count).collect()
}

/// Waits until directory and disks agree, every block with its copies.
pub fn await_agreement(cluster: &Cluster) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let output = cluster.vivat(&["data", "check", "-o", "json"]);
        if output.status.success() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "directory and disks differ to the end: {}",
            describe(&output)
        );
    }
}

/// What `data check` finds now, by kind.
pub fn differences(cluster: &Cluster) -> Vec<String> {
    let output = cluster.vivat(&["data", "check", "-o", "json"]);
    let found = parse(&output);
    let list = found["differences"].as_array().expect("a list").clone();
    let code = output.status.code();
    assert_eq!(code, Some(i32::from(!list.is_empty())), "{found}");
    let kind = |one: &Value| one["kind"].as_str().expect("a word").to_owned();
    list.iter().map(kind).collect()
}

/// The number that the masters gave a worker, in text.
pub fn worker_id(cluster: &mut Cluster, index: usize) -> String {
    let pid = u64::from(cluster.worker(index).id());
    let nodes = parse(&cluster.vivat(&["node", "list", "-o", "json"]));
    let nodes = nodes.as_array().expect("a list");
    let node = nodes.iter().find(|node| node["pid"] == pid);
    let node = node.expect("every worker is listed");
    node["worker_id"].as_str().expect("an id").to_owned()
}

/// The files of blocks that a worker has.
pub fn block_files(cluster: &Cluster, worker: usize) -> Vec<PathBuf> {
    let root = cluster
        .path(&format!("worker-{worker}"))
        .join("store/blocks");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    files
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    // What goes while it is looked at is not there.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn blocks_on_disks(cluster: &Cluster) -> usize {
    (0..3)
        .map(|worker| block_files(cluster, worker).len())
        .sum()
}
