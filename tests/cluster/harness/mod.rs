//! A cluster of real processes on loopback, and what a test does to it.
//!
//! Any number of clusters run at once: each has a temporary directory, free
//! ports and its own children, and leaves nothing behind. Nothing here sleeps
//! until something has surely happened: [`Cluster::await_status`] and
//! [`Cluster::await_job`] poll a condition until a deadline, then fail with the
//! ends of all logs. A failed test prints those too.

mod job;
pub mod network;
mod ports;
mod process;
mod setup;
mod view;
pub mod words;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use network::{Network, Seat};
use vivat_testkit::failpoints::{Orders, VARIABLE};

pub use job::{Job, assert_same_as_oracle, output_bytes};
pub use ports::free_address;
pub use process::Process;
pub use setup::{Extras, Setup};
pub use view::{JobView, Status};

/// Far longer than anything takes on a busy machine of two cores.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// One command of a client, which itself gives up after 10 s without a leader.
const COMMAND_DEADLINE: Duration = Duration::from_secs(120);
/// A look is a process: what does not come soon is looked for less often, or
/// the looks would take the time of what they look at.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
const POLL_INTERVAL_LATER: Duration = Duration::from_millis(100);
const POLL_SOON: Duration = Duration::from_secs(1);
/// Starts of a cluster before taken ports are somebody else's fault.
const STARTS_MAX: u32 = 5;
/// The exit code of a server whose port is taken.
const EXIT_CONFLICT: i32 = 4;

/// How many of which role.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Seats.
    pub masters: usize,
    /// Worker processes.
    pub workers: usize,
    /// Attempts at once on each worker.
    pub slots: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            masters: 3,
            workers: 2,
            slots: 1,
        }
    }
}

/// A master's process and where it listens.
struct Master {
    process: Process,
    seat: Seat,
    args: Vec<String>,
}

/// A worker's process and how it was started.
struct Worker {
    process: Process,
    args: Vec<String>,
}

/// Masters and workers, and the directory that all their files are in.
pub struct Cluster {
    setup: Setup,
    masters: Vec<Master>,
    workers: Vec<Worker>,
    network: Option<Network>,
    // Last, so that it goes after the processes that write into it.
    dir: TempDir,
}

/// A leader that was killed: what it was.
#[derive(Debug, Clone, Copy)]
pub struct LeaderKill {
    /// Its seat.
    pub seat: usize,
    /// The term that it led.
    pub term: u64,
    /// A moment before the kill.
    pub at: jiff::Timestamp,
}

impl Cluster {
    /// Starts it and waits until there is a leader and every worker is known.
    pub fn start(shape: Shape) -> Self {
        Self::start_with(shape, &Extras::default())
    }

    /// The same of processes that are given more.
    pub fn start_with(shape: Shape, extras: &Extras) -> Self {
        Self::start_as(&Setup {
            shape,
            extras: extras.clone(),
            proxied: false,
        })
    }

    /// The same with a proxy in every link.
    pub fn start_proxied(shape: Shape) -> Self {
        Self::start_as(&Setup {
            shape,
            extras: Extras::default(),
            proxied: true,
        })
    }

    /// Whatever it is to be.
    pub fn start_as(setup: &Setup) -> Self {
        for _ in 0..STARTS_MAX {
            if let Some(mut cluster) = Self::spawn(setup)
                && cluster.is_up()
            {
                return cluster;
            }
        }
        panic!("{STARTS_MAX} starts, and each time a port was taken");
    }

    /// The directory of everything, also the current one of every command.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path in the cluster's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A client of this cluster.
    pub fn vivat(&self, args: &[&str]) -> Output {
        vivat(self.dir.path(), Some(&self.addresses()), args)
    }

    /// The masters' addresses, as `--cluster` takes them.
    pub fn addresses(&self) -> String {
        let masters = self.masters.iter();
        let addresses: Vec<&str> = masters.map(|it| it.seat.listen.as_str()).collect();
        addresses.join(",")
    }

    /// Where one master serves clients.
    pub fn address_of(&self, seat: usize) -> &str {
        &self.masters[seat].seat.listen
    }

    /// The links of a cluster that was started with proxies.
    pub fn network(&self) -> &Network {
        let network = self.network.as_ref();
        network.expect("this cluster has no proxies: start it with `start_proxied`")
    }

    /// A client that is told one master's address alone.
    pub fn ask(&self, seat: usize, args: &[&str]) -> Output {
        vivat(self.dir.path(), Some(self.address_of(seat)), args)
    }

    /// What one master says of the cluster; none when it does not answer.
    pub fn status_of(&self, seat: usize) -> Option<Status> {
        let output = self.ask(seat, &["cluster", "status", "-o", "json"]);
        output.status.success().then(|| Status(parse(&output)))
    }

    /// Polls until what one master says is as wanted.
    pub fn await_status_of(
        &self,
        seat: usize,
        what: &str,
        wanted: impl Fn(&Status) -> bool,
    ) -> Status {
        self.poll(what, || self.status_of(seat), wanted)
    }

    /// A number of one master's `/metrics`, by its name without the prefix and
    /// with its labels; none while the master joins its peers.
    pub fn metric(&self, seat: usize, name: &str) -> Option<u64> {
        setup::metric(&self.masters[seat].seat.http, name)
    }

    /// What any master says; none when no one answers.
    pub fn status(&self) -> Option<Status> {
        let output = self.vivat(&["cluster", "status", "-o", "json"]);
        output.status.success().then(|| Status(parse(&output)))
    }

    /// Polls until the status is as wanted.
    pub fn await_status(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        self.poll(what, || self.status(), wanted)
    }

    /// A worker's process.
    pub fn worker(&mut self, index: usize) -> &mut Process {
        &mut self.workers[index].process
    }

    /// A master's process.
    pub fn master(&mut self, seat: usize) -> &mut Process {
        &mut self.masters[seat].process
    }

    /// SIGKILL to the leader, proved: its pid is gone when this returns.
    pub fn kill_leader(&mut self) -> LeaderKill {
        let status = self.await_status("a leader", |status| status.leader().is_some());
        let seat = status.leader().expect("awaited just now");
        let kill = LeaderKill {
            seat,
            term: status.term(),
            at: jiff::Timestamp::now(),
        };
        self.kill_master(seat);
        kill
    }

    /// SIGKILL to a master, proved.
    pub fn kill_master(&mut self, seat: usize) {
        let process = &mut self.masters[seat].process;
        assert!(
            process.exit_status().is_none(),
            "seat {seat} ended before the kill"
        );
        process.kill();
        assert!(process.is_gone(), "seat {seat} outlived SIGKILL");
    }

    /// Starts a master that was killed again, on its directory and addresses.
    pub fn restart_master(&mut self, seat: usize) {
        let args = &self.masters[seat].args;
        let process = run_master(&self.setup, self.dir.path(), seat, args);
        self.masters[seat].process = process;
    }

    /// What a master does at its failpoints, from now on.
    pub fn orders(&self, seat: usize) -> Orders {
        Orders::at(&self.path(&orders_name(&master_name(seat))))
    }

    /// The directory that a master keeps its disk in.
    pub fn master_dir(&self, seat: usize) -> PathBuf {
        let args = &self.masters[seat].args;
        let flag = args.iter().position(|arg| arg == "--dir");
        let dir = &args[flag.expect("every master has one") + 1];
        self.dir.path().join(dir)
    }

    /// Starts a worker that was killed again, on its directory.
    pub fn restart_worker(&mut self, index: usize) {
        let process = self.run_worker(index, &self.workers[index].args);
        self.workers[index].process = process;
    }

    /// SIGKILL to a worker, proved.
    pub fn kill_worker(&mut self, index: usize) {
        let process = &mut self.workers[index].process;
        assert!(
            process.exit_status().is_none(),
            "worker {index} ended before the kill"
        );
        process.kill();
        assert!(process.is_gone(), "worker {index} outlived SIGKILL");
    }

    /// Waits until another master leads, in a later term.
    pub fn await_other_leader(&self, kill: LeaderKill) -> Status {
        self.await_status("another leader in a later term", |status| {
            status.leader().is_some_and(|seat| seat != kill.seat) && status.term() > kill.term
        })
    }

    /// None when a port was taken before anything ran.
    fn spawn(setup: &Setup) -> Option<Self> {
        let dir = tempfile::Builder::new()
            .prefix("vivat-test-")
            .tempdir()
            .expect("a temporary directory can be made");
        let plan = setup.plan()?;
        let masters = plan.masters.into_iter().enumerate();
        let masters = masters
            .map(|(number, (seat, args))| Master {
                process: run_master(setup, dir.path(), number, &args),
                seat,
                args,
            })
            .collect();
        let mut cluster = Self {
            setup: setup.clone(),
            masters,
            workers: Vec::new(),
            network: plan.network,
            dir,
        };
        for args in plan.workers {
            cluster.push_worker(args);
        }
        Some(cluster)
    }

    /// Starts one more worker, without proxies, and returns its index.
    pub fn add_worker(&mut self) -> usize {
        let name = worker_name(self.workers.len());
        let args = self.setup.worker_args(&name, &self.addresses());
        self.push_worker(args)
    }

    fn push_worker(&mut self, args: Vec<String>) -> usize {
        let index = self.workers.len();
        let process = self.run_worker(index, &args);
        self.workers.push(Worker { process, args });
        index
    }

    fn run_worker(&self, index: usize, args: &[String]) -> Process {
        let log = self.setup.extras.worker_log.clone();
        let log = log.map(|log| ("VIVAT_LOG", log));
        spawn(self.dir.path(), &worker_name(index), args, log)
    }

    /// Whether it came up; not when a port was taken. Fails on all else.
    fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + DEADLINE;
        let shape = self.setup.shape;
        let workers = u64::try_from(shape.workers).expect("few");
        while Instant::now() < deadline {
            let masters = self.masters.iter_mut().map(|it| &mut it.process);
            let mut all = masters.chain(self.workers.iter_mut().map(|it| &mut it.process));
            if let Some(status) = all.find_map(Process::exit_status) {
                let conflict = status.code() == Some(EXIT_CONFLICT);
                assert!(conflict, "{status}\n{}", self.log_tails());
                return false;
            }
            let up = self.status().is_some_and(|status| {
                status.leader().is_some()
                    && status.workers_live() == workers
                    && status.masters_reachable() == shape.masters
            });
            if up {
                return true;
            }
            thread::sleep(POLL_INTERVAL);
        }
        panic!("the cluster did not come up\n{}", self.log_tails());
    }

    pub fn poll<T: std::fmt::Debug>(
        &self,
        what: &str,
        look: impl Fn() -> Option<T>,
        wanted: impl Fn(&T) -> bool,
    ) -> T {
        let began = Instant::now();
        let mut last = None;
        while began.elapsed() < DEADLINE {
            if let Some(seen) = look() {
                if wanted(&seen) {
                    return seen;
                }
                last = Some(seen);
            }
            // Between two looks, not instead of a look.
            thread::sleep(match began.elapsed() < POLL_SOON {
                true => POLL_INTERVAL,
                false => POLL_INTERVAL_LATER,
            });
        }
        panic!("{what}: not within {DEADLINE:?}; last seen: {last:?}");
    }

    fn log_tails(&self) -> String {
        let masters = self.masters.iter().map(|master| master.process.log_tail());
        masters
            .chain(self.workers.iter().map(|it| it.process.log_tail()))
            .collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.log_tails());
        }
    }
}

/// Runs the binary once in a directory, as a user would, without a terminal.
pub fn vivat(dir: &Path, cluster: Option<&str>, args: &[&str]) -> Output {
    let mut command = assert_cmd::Command::from_std(command(dir));
    if let Some(addresses) = cluster {
        command.env("VIVAT_CLUSTER", addresses);
    }
    command.args(args).timeout(COMMAND_DEADLINE);
    command
        .output()
        .unwrap_or_else(|error| panic!("vivat {args:?}: {error}"))
}

/// The binary, with nothing of the caller's environment that could change it.
pub fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vivat"));
    command.current_dir(dir);
    let foreign = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        name.starts_with("VIVAT_") || name == "CLICOLOR_FORCE"
    });
    for (name, _) in foreign {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", dir.join("no-config"));
    command
}

/// The JSON on stdout.
pub fn parse(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("not JSON ({error}): {}", describe(output)))
}

/// All that a command said.
pub fn describe(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn run_master(setup: &Setup, dir: &Path, seat: usize, args: &[String]) -> Process {
    let threads = setup.extras.raft_threads;
    let threads = threads.map(|threads| ("VIVAT_RAFT_THREADS", threads.to_string()));
    // Its symbols take a debug build seconds, in which it must have ended.
    let backtrace = ("RUST_BACKTRACE", "0".to_owned());
    let variables = std::iter::once(backtrace).chain(threads);
    spawn(dir, &master_name(seat), args, variables)
}

fn spawn(
    dir: &Path,
    name: &str,
    args: &[String],
    variables: impl IntoIterator<Item = (&'static str, String)>,
) -> Process {
    let mut command = command(dir);
    command.env(VARIABLE, dir.join(orders_name(name)));
    command.envs(variables);
    // Should this process be killed, its clusters end by themselves.
    let parent = std::process::id().to_string();
    command.args(args).args(["--parent", &parent]);
    Process::spawn(name, command, &dir.join(format!("{name}.log")))
}

fn master_name(seat: usize) -> String {
    format!("master-{seat}")
}

/// Beside its log; without such a file a process has no orders.
fn orders_name(name: &str) -> String {
    format!("{name}.failpoints")
}

fn worker_name(index: usize) -> String {
    format!("worker-{index}")
}
