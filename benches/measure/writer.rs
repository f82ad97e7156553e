//! One client that writes without pause, and what it saw.
//!
//! It commits no-ops in a loop, each durable on a majority before it is
//! acknowledged, and finds the next leader as every client does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Cluster, DEADLINE};
use vivat_client::{ClientOptions, LeaderClient};

/// Writes before and after an interruption, so that the client is in its stride.
const WRITES_AROUND: usize = 100;
/// What an acknowledgement may be late for reasons of its own: this long after
/// the interruption began, the next one shows that it is over.
const AFTER: Duration = Duration::from_millis(100);

/// When writes were acknowledged.
type Acks = Arc<Mutex<Vec<Instant>>>;

/// The client, in a thread of its own.
pub struct Writer {
    acks: Acks,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// Begins to write.
    pub fn start(cluster: &Cluster) -> Self {
        let endpoints: Vec<String> = cluster.addresses().split(',').map(str::to_owned).collect();
        let (acks, stop) = (Acks::default(), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (acks, stop) = (Arc::clone(&acks), Arc::clone(&stop));
            move || write(endpoints, &acks, &stop)
        });
        Self {
            acks,
            stop,
            thread: Some(thread),
        }
    }

    /// Waits until writes flow, and forgets all but the last.
    pub fn settle(&self) {
        let from = self.acks().len();
        self.await_count(from + WRITES_AROUND);
        let mut acks = self.acks();
        let last = acks.pop();
        acks.clear();
        acks.extend(last);
    }

    /// From the last write acknowledged before an interruption to the first
    /// after it: the longest pause since [`Writer::settle`], once writes flow.
    pub fn stall(&self, began: Instant) -> Duration {
        let over = || {
            let acks = self.acks();
            let after = acks.iter().filter(|at| **at > began + AFTER);
            after.count() > WRITES_AROUND
        };
        await_true("writes after an interruption", over);
        let acks = self.acks();
        let pauses = acks.windows(2).map(|pair| pair[1] - pair[0]);
        pauses.max().unwrap_or_default()
    }

    /// Ends it. Fails when a write was lost: its place in the log would have
    /// been given to a later one.
    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !thread::panicking() {
                ended.expect("the writer saw no write lost");
            }
        }
    }

    fn await_count(&self, count: usize) {
        await_true("writes", || self.acks().len() >= count);
    }

    fn acks(&self) -> MutexGuard<'_, Vec<Instant>> {
        lock(&self.acks)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

fn write(endpoints: Vec<String>, acks: &Acks, stop: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let client = LeaderClient::new(endpoints, ClientOptions::default());
        let mut newest = 0;
        while !stop.load(Ordering::Relaxed) {
            let Ok(commit) = client.commit_noop().await else {
                continue;
            };
            assert!(
                commit.index > newest,
                "entry {newest} was acknowledged, and then {} of term {}",
                commit.index,
                commit.term
            );
            newest = commit.index;
            lock(acks).push(Instant::now());
        }
    });
}

fn await_true(what: &str, is_true: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_true() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn lock(acks: &Acks) -> MutexGuard<'_, Vec<Instant>> {
    acks.lock().unwrap_or_else(PoisonError::into_inner)
}
