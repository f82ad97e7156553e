//! Replicas in one process, over real sockets and real disks.
//!
//! Every wait is for a condition, with a deadline that only a failure reaches.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vivat_core::command::{Command, Reply};
use vivat_ground::Ground;
use vivat_master::raft::{
    Handle, Node, NodeConfig, ProposeError, RaftLimits, RaftStatus, StartError, Timing,
};
use vivat_shared::ids::{JobId, Seat};

/// For anything to happen at all.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Addresses and directories of a cluster's masters, and those that run.
pub struct Cluster {
    folder: TempDir,
    pub addresses: BTreeMap<Seat, String>,
    pub listeners: Mutex<BTreeMap<Seat, TcpListener>>,
    pub nodes: BTreeMap<Seat, Node>,
    pub limits: RaftLimits,
    pub timing: Timing,
}

impl Cluster {
    pub fn new(masters: u32) -> Self {
        let listeners: BTreeMap<Seat, TcpListener> = (0..masters)
            .map(|seat| (Seat(seat), TcpListener::bind("127.0.0.1:0").unwrap()))
            .collect();
        let addresses = listeners
            .iter()
            .map(|(seat, listener)| (*seat, listener.local_addr().unwrap().to_string()))
            .collect();
        Self {
            folder: tempfile::tempdir().unwrap(),
            addresses,
            listeners: Mutex::new(listeners),
            nodes: BTreeMap::new(),
            limits: RaftLimits::default(),
            timing: Timing::fast(),
        }
    }

    pub fn config(&self, seat: Seat) -> NodeConfig {
        let listener = self.listeners.lock().unwrap().remove(&seat);
        let raft_listener = listener.unwrap_or_else(|| self.bind(seat));
        NodeConfig {
            seat,
            dir: self.dir(seat),
            raft_listener: raft_listener.into(),
            peers: self.addresses.clone(),
            client_address: format!("client-{}:1", seat.0),
            http_address: Some(format!("http-{}:1", seat.0)),
            timing: self.timing,
            limits: self.limits,
            disk: None,
            ground: Ground::default(),
        }
    }

    /// A master that was cut off lets go of its port a moment later.
    fn bind(&self, seat: Seat) -> TcpListener {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match TcpListener::bind(&self.addresses[&seat]) {
                Ok(listener) => return listener,
                Err(error) if Instant::now() > deadline => panic!("{seat}: {error}"),
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    pub fn dir(&self, seat: Seat) -> std::path::PathBuf {
        self.folder.path().join(seat.to_string())
    }

    pub fn seats(&self) -> Vec<Seat> {
        self.addresses.keys().copied().collect()
    }

    /// Starts the masters that do not run, all at the same moment.
    pub async fn start_all(&mut self) {
        for (seat, outcome) in self.try_start_all().await {
            outcome.unwrap_or_else(|error| panic!("{seat}: {error}"));
        }
    }

    /// Lets masters start for a while, then cuts them off.
    pub async fn cut_off(&mut self, seats: &[Seat], after: Duration) {
        let configs: Vec<_> = seats.iter().map(|seat| self.config(*seat)).collect();
        let starting = futures_util::future::join_all(configs.into_iter().map(Node::start));
        // Whether they were done by then or not, they are dropped.
        drop(tokio::time::timeout(after, starting).await);
    }

    pub async fn try_start_all(&mut self) -> Vec<(Seat, Result<(), StartError>)> {
        let missing: Vec<Seat> = self
            .seats()
            .into_iter()
            .filter(|seat| !self.nodes.contains_key(seat))
            .collect();
        self.try_start(&missing).await
    }

    pub async fn try_start(&mut self, seats: &[Seat]) -> Vec<(Seat, Result<(), StartError>)> {
        let this = &*self;
        let starting = seats.iter().map(|seat| async move {
            let deadline = Instant::now() + PATIENCE;
            loop {
                match Node::start(this.config(*seat)).await {
                    // A master that was cut off lets go a moment later.
                    Err(StartError::DirInUse { .. }) if Instant::now() < deadline => {}
                    outcome => return (*seat, outcome),
                }
            }
        });
        let outcomes = futures_util::future::join_all(starting).await;
        let mut told = Vec::new();
        for (seat, outcome) in outcomes {
            told.push((
                seat,
                outcome.map(|node| {
                    self.nodes.insert(seat, node);
                }),
            ));
        }
        told
    }

    pub async fn start(&mut self, seat: Seat) {
        for (seat, outcome) in self.try_start(&[seat]).await {
            outcome.unwrap_or_else(|error| panic!("{seat}: {error}"));
        }
    }

    pub async fn kill(&mut self, seat: Seat) {
        let node = self.nodes.remove(&seat).expect("it runs");
        node.kill().await;
    }

    pub async fn kill_all(&mut self) {
        for seat in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.kill(seat).await;
        }
    }

    pub fn handle(&self, seat: Seat) -> Handle {
        self.nodes[&seat].handle()
    }

    pub fn status(&self, seat: Seat) -> RaftStatus {
        self.handle(seat).status()
    }

    /// Waits until somebody leads and a majority has confirmed it.
    pub async fn leader(&self) -> Seat {
        self.until("a leader", || {
            let leads = |seat: &Seat| {
                let handle = self.handle(*seat);
                handle.leadership().borrow().is_leader && handle.quorum_acked_ago().is_some()
            };
            self.nodes.keys().copied().find(leads)
        })
        .await
    }

    /// Proposes through whoever leads, as a client does.
    pub async fn propose(&self, command: Command) -> (u64, Vec<Reply>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leader = self.leader().await;
            let outcome = self
                .handle(leader)
                .propose(None, vec![command.clone()])
                .await;
            match outcome {
                Ok(committed) => return (committed.index, committed.replies),
                Err(ProposeError::NotLeader { .. } | ProposeError::Unknown)
                    if Instant::now() < deadline =>
                {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("cannot propose: {error}"),
            }
        }
    }

    pub async fn propose_many(&self, count: u64) -> u64 {
        let mut last = 0;
        for _ in 0..count {
            last = self.propose(command()).await.0;
        }
        last
    }

    /// Waits until every running master has applied an index.
    pub async fn applied_everywhere(&self, index: u64) {
        self.until("all to apply", || {
            let behind = |seat: &Seat| self.status(*seat).applied_index < index;
            (!self.nodes.keys().any(behind)).then_some(())
        })
        .await;
    }

    pub async fn until<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found() {
                return found;
            }
            if Instant::now() > deadline {
                let statuses: Vec<_> = self.nodes.keys().map(|seat| self.status(*seat)).collect();
                panic!("waited in vain for {what}: {statuses:#?}");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A command that is answered without an effect.
pub fn command() -> Command {
    Command::CancelJob { job: JobId(77) }
}
