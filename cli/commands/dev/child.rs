//! One child of `vivat dev`.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::args::process::DevArgs;
use crate::failure::Failure;

use super::layout::Layout;

/// What a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A master.
    Master,
    /// A worker.
    Worker,
}

impl Role {
    /// The word in tables and names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Worker => "worker",
        }
    }
}

/// A child, running or not.
#[derive(Debug)]
pub struct Child {
    /// What it is.
    pub role: Role,
    /// Its number among its kind.
    pub id: usize,
    /// `master-0`.
    pub name: String,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// Where it listens: the first is for clients or for other workers.
    pub addresses: Vec<String>,
    /// Its standard error and output.
    pub log: PathBuf,
    arguments: Vec<String>,
}

impl Child {
    /// The child at an index of the layout; not started yet.
    pub fn new(layout: &Layout, index: usize, args: &DevArgs) -> Result<Self, Failure> {
        let member = &layout.members[index];
        let directory = layout.directory.join(&member.name);
        let shown = directory.to_string_lossy().into_owned();
        let mut arguments = vec![member.role.word().to_owned(), "--dir".to_owned(), shown];
        match member.role {
            Role::Master => {
                arguments.extend([
                    format!("--id={}", member.id),
                    format!("--listen={}", member.addresses[0]),
                    format!("--raft={}", member.addresses[1]),
                    format!("--http={}", member.addresses[2]),
                    format!("--peers={}", layout.peers()),
                ]);
            }
            Role::Worker => arguments.extend([
                format!("--cluster={}", layout.endpoints().join(",")),
                format!("--slots={}", args.slots),
                format!("--listen={}", member.addresses[0]),
            ]),
        }
        arguments.push(format!("--parent={}", std::process::id()));
        let log = layout.logs().join(format!("{}.log", member.name));
        fs::create_dir_all(layout.logs())
            .map_err(|error| Failure::file("make", &layout.logs(), &error))?;
        Ok(Self {
            role: member.role,
            id: member.id,
            name: member.name.clone(),
            pid: None,
            addresses: member.addresses.clone(),
            log,
            arguments,
        })
    }

    /// Starts it; its death is told by its index. Only the main thread may call
    /// this, see the module above.
    pub fn start(
        &mut self,
        index: usize,
        deaths: &mpsc::Sender<(usize, ExitStatus)>,
    ) -> Result<(), Failure> {
        let failed =
            |error: std::io::Error| Failure::failed(format!("cannot start {}: {error}", self.name));
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(|error| Failure::file("write", &self.log, &error))?;
        let mut command = Command::new(executable().map_err(failed)?);
        command
            .arg0("vivat")
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .process_group(0);
        // What the user's shell says to a master or worker of a real cluster is
        // not meant for these; the config file is.
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            let meant = ["VIVAT_LOG", "VIVAT_CONFIG"].contains(&name_text.as_ref());
            if name_text.starts_with("VIVAT_") && !meant {
                command.env_remove(&name);
            }
        }
        let mut process = command.spawn().map_err(failed)?;
        self.pid = process.id();
        let deaths = deaths.clone();
        tokio::spawn(async move {
            if let Ok(status) = process.wait().await {
                // Nobody listens once the cluster has ended.
                let _unheard = deaths.send((index, status)).await;
            }
        });
        Ok(())
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// What it said last, for a message.
    pub fn last_words(&self) -> String {
        super::log_tail(&self.log)
    }

    fn signal(&self, signal: Signal) {
        let pid = self
            .pid
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may be gone already; its death is on the way then.
            let _gone = kill_process(pid, signal);
        }
    }
}

/// This executable: by its name, so that process lists show it, or, when it was
/// replaced since this process began, as the kernel still has it.
fn executable() -> std::io::Result<PathBuf> {
    let named = std::env::current_exe()?;
    if named.exists() {
        Ok(named)
    } else {
        Ok(PathBuf::from("/proc/self/exe"))
    }
}

/// How a process ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
