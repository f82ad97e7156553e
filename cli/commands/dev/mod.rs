//! `vivat dev`: a real cluster of child processes on this machine.
//!
//! The children are this same executable. Each has a process group of its own,
//! so that Ctrl-C reaches this process alone and the children end in order; and
//! each asks the kernel to end with its parent, so that not even SIGKILL of
//! this process leaves one behind. That request is bound to the *thread* that
//! starts the child: children are started by the main task only, which runs on
//! the main thread.

mod child;
mod layout;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use vivat_client::{ClientOptions, LeaderClient};
use vivat_shared::view::WorkerState;

use crate::app::{App, note};
use crate::args::process::DevArgs;
use crate::failure::{Failure, exit};
use crate::signals::Interrupt;
use crate::table::{Sheet, number, text};

use child::{Child, Role};
use layout::Layout;

/// A child that died is started again after so long.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// Between two looks whether the cluster is ready.
const READY_POLL: Duration = Duration::from_millis(50);
/// After so long without being ready, where to look is said.
const READY_SLOW: Duration = Duration::from_secs(10);
/// Children may end by themselves for so long.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Runs it until Ctrl-C or SIGTERM.
pub async fn dev(app: &App, args: DevArgs) -> Result<(), Failure> {
    let mut interrupt = Interrupt::new()?;
    let scratch = match &args.dir {
        Some(_) => None,
        None => Some(scratch()?),
    };
    let directory = match (&args.dir, &scratch) {
        (Some(directory), _) => directory.clone(),
        (None, Some(scratch)) => scratch.path().to_owned(),
        (None, None) => PathBuf::new(),
    };
    let layout = Layout::open(&directory, &args)?;
    let (deaths, died) = mpsc::channel(layout.members.len() * 2);
    let mut cluster = DevCluster {
        app,
        restart: !args.no_restart,
        children: Vec::new(),
        deaths,
        died,
        due: Vec::new(),
    };
    let outcome = match cluster.start_all(&layout, &args) {
        Ok(()) => cluster.run(&layout, &mut interrupt).await,
        Err(failure) => Err(failure),
    };
    cluster.end().await;
    outcome
}

fn scratch() -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("vivat-dev-")
        .tempdir()
        .map_err(|error| Failure::failed(format!("cannot make a temporary directory: {error}")))
}

struct DevCluster<'a> {
    app: &'a App,
    restart: bool,
    children: Vec<Child>,
    deaths: mpsc::Sender<(usize, ExitStatus)>,
    died: mpsc::Receiver<(usize, ExitStatus)>,
    /// Children to start again, and when.
    due: Vec<(Instant, usize)>,
}

impl DevCluster<'_> {
    fn start_all(&mut self, layout: &Layout, args: &DevArgs) -> Result<(), Failure> {
        for index in 0..layout.members.len() {
            let mut child = Child::new(layout, index, args)?;
            child.start(index, &self.deaths)?;
            self.children.push(child);
        }
        Ok(())
    }

    async fn run(&mut self, layout: &Layout, interrupt: &mut Interrupt) -> Result<(), Failure> {
        let client = LeaderClient::new(layout.endpoints(), ClientOptions::default());
        let slow = tokio::time::sleep(READY_SLOW);
        tokio::pin!(slow);
        let mut told_slow = false;
        let mut ready = false;
        let mut polls = tokio::time::interval(READY_POLL);
        polls.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let next_start = self.due.iter().map(|(at, _)| *at).min();
            tokio::select! {
                () = interrupt.wait() => return Ok(()),
                Some((index, status)) = self.died.recv() => {
                    self.buried(index, status, ready)?;
                }
                () = until(next_start) => self.start_due(),
                _ = polls.tick(), if !ready => {
                    ready = self.is_ready(&client).await;
                    if ready {
                        self.announce(layout)?;
                    }
                }
                () = &mut slow, if !ready && !told_slow => {
                    told_slow = true;
                    self.app.note(&format!(
                        "still no leader with all workers; logs are in {}",
                        layout.logs().display()
                    ));
                }
            }
        }
    }

    /// A child ended without having been asked to.
    fn buried(&mut self, index: usize, status: ExitStatus, ready: bool) -> Result<(), Failure> {
        let child = &mut self.children[index];
        let pid = child.pid.take().unwrap_or(0);
        let how = child::describe(status);
        // What is wrong with the command or in the way now will be next time.
        let hopeless = [
            Some(i32::from(exit::USAGE)),
            Some(i32::from(exit::CONFLICT)),
        ];
        if !ready && hopeless.contains(&status.code()) {
            return Err(Failure::conflict(format!(
                "{} could not start: {}",
                child.name,
                child.last_words()
            )));
        }
        if self.restart {
            note(&format!(
                "{} (pid {pid}) {how}; it is started again in 0.5 s",
                child.name
            ));
            self.due.push((Instant::now() + RESTART_PAUSE, index));
        } else {
            note(&format!("{} (pid {pid}) {how}; it stays dead", child.name));
        }
        Ok(())
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) = self.due.drain(..).partition(|(at, _)| *at <= now);
        self.due = later;
        for (_, index) in due {
            let child = &mut self.children[index];
            match child.start(index, &self.deaths) {
                Ok(()) => note(&format!(
                    "{} is started again: pid {}",
                    child.name,
                    child.pid.unwrap_or(0)
                )),
                // The others go on; what is in the way may go.
                Err(failure) => {
                    note(&failure.message);
                    self.due.push((now + RESTART_PAUSE, index));
                }
            }
        }
    }

    /// Whether there is a leader that has heard of every worker that runs now.
    async fn is_ready(&self, client: &LeaderClient) -> bool {
        let budget = Duration::from_millis(500);
        let workers = tokio::time::timeout(budget, client.list_workers()).await;
        let Ok(Ok(workers)) = workers else {
            return false;
        };
        let live = |pid: u32| {
            workers
                .iter()
                .any(|node| node.worker.pid == pid && node.worker.state == WorkerState::Live)
        };
        self.children
            .iter()
            .filter(|child| child.role == Role::Worker)
            .all(|child| child.pid.is_some_and(live))
    }

    fn announce(&self, layout: &Layout) -> Result<(), Failure> {
        let cluster = layout.endpoints().join(",");
        if self.app.print.is_json() {
            let members: Vec<_> = self
                .children
                .iter()
                .map(|child| {
                    json!({
                        "role": child.role.word(),
                        "id": child.id,
                        "pid": child.pid,
                        "address": child.addresses[0],
                        "raft_address": child.addresses.get(1),
                        "http_address": child.addresses.get(2),
                        "log": child.log,
                    })
                })
                .collect();
            return self.app.json(&json!({
                "cluster": cluster,
                "dir": layout.directory,
                "members": members,
            }));
        }
        let mut sheet = Sheet::new(self.app, &["ROLE", "ID", "PID", "ADDRESSES"]);
        for child in &self.children {
            let addresses = match child.addresses.as_slice() {
                [client, raft, http] => format!("{client}  raft {raft}  http {http}"),
                others => others.join("  "),
            };
            sheet.row([
                text(child.role.word()),
                number(child.id),
                number(child.pid.unwrap_or(0)),
                text(addresses),
            ]);
        }
        sheet.print(self.app, "no members")?;
        self.app
            .data(&format!("\nexport VIVAT_CLUSTER={cluster}\n"))?;
        self.app.note(&format!(
            "\nlogs are in {}; Ctrl-C ends the cluster",
            layout.logs().display()
        ));
        Ok(())
    }

    /// Ends all children, and waits until they are gone.
    async fn end(&mut self) {
        for child in &self.children {
            child.terminate();
        }
        let patience = tokio::time::sleep(END_PATIENCE);
        tokio::pin!(patience);
        let mut patient = true;
        while self.children.iter().any(|child| child.pid.is_some()) {
            tokio::select! {
                died = self.died.recv() => {
                    let Some((index, _)) = died else { return };
                    self.children[index].pid = None;
                }
                () = &mut patience, if patient => {
                    patient = false;
                    self.children.iter().for_each(Child::kill);
                }
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The end of a log, for people.
fn log_tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(5);
    lines[start..].join("\n")
}
