//! The process between a worker and a command: the command's parent, which leaves
//! nothing of it behind.
//!
//! A command may start others, in sessions of their own if it likes, and end before
//! them. Whatever it started and nobody waits for becomes this process' child, so it
//! can be found and killed. That happens when the command ends, and when the worker
//! closes its end of the socket: because the attempt ended, or because the worker is
//! dead, whatever it died of.
//!
//! One process and one thread for each command, which sleeps until something ends.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitOptions, getpid, getrlimit, kill_process,
    kill_process_group, pidfd_open, prlimit, set_child_subreaper, setrlimit, wait,
};

use super::processes;
use super::wire::{DESCRIPTORS, Limits, Order, Report, receive_order, send_report};

/// How often the memory of a command is looked at, if it has a limit.
const LOOK_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// What is killed and does not go within this time stays behind: it waits for a
/// device, and nobody can do more.
const KILL_BUDGET: Duration = Duration::from_secs(5);
/// Between two looks at what has been killed and has not gone yet.
const KILL_INTERVAL: Duration = Duration::from_millis(2);
/// Half of the machine's memory more than what a process has by itself.
const OOM_SCORE: &str = "500";
/// Seconds between the signal that tells a process of its CPU limit and the one that
/// nobody survives.
const CPU_GRACE_SECONDS: u64 = 5;

/// Runs the one command that comes over standard input, which is a socket, and ends.
#[must_use]
pub fn supervise() -> ExitCode {
    match supervised() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn supervised() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    set_child_subreaper(Some(getpid()))?;
    // When memory runs out, what was started goes before workers and masters do. A
    // system that does not let us say so does as it does.
    let _refused = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    let (order, descriptors) = receive_order(&socket)?;
    let limits = order.limits;
    // A child has them from its first moment on; what it cannot raise comes right after.
    let own = lower(&limits);
    let started = start(order, descriptors);
    for (resource, before) in own {
        let _raised = setrlimit(resource, before);
    }
    let report = match started {
        Ok(child) => {
            limit(&child, &limits)?;
            watch(child, &socket, &limits)?
        }
        Err(error) => Report::NotStarted {
            is_missing: matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::NotADirectory
            ),
            detail: error.to_string(),
        },
    };
    send_report(&socket, &report)
}

/// Starts the command in a process group of its own. Its descriptors are closed here,
/// so that whoever has the other ends sees when it closes them.
fn start(order: Order, descriptors: Vec<OwnedFd>) -> io::Result<Child> {
    let descriptors: Result<[OwnedFd; DESCRIPTORS], _> = descriptors.try_into();
    let [input, output, errors] =
        descriptors.map_err(|_| io::Error::other("an order came without its descriptors"))?;
    let mut words = order.words.into_iter().map(OsString::from_vec);
    let program = words
        .next()
        .ok_or_else(|| io::Error::other("an order came without a command"))?;
    let environment = order.environment.into_iter();
    let environment =
        environment.map(|(name, value)| (OsString::from_vec(name), OsString::from_vec(value)));
    Command::new(program)
        .args(words)
        .env_clear()
        .envs(environment)
        .current_dir(OsString::from_vec(order.directory))
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .stderr(Stdio::from(errors))
        .process_group(0)
        .spawn()
}

/// Lowers this process' own limits to the command's, as far as it can live with them:
/// it writes no files and takes little time, but has more files open than a command may
/// be allowed. Returns what they were.
fn lower(limits: &Limits) -> Vec<(Resource, Rlimit)> {
    let wanted = [
        (Resource::Core, Some(0)),
        (Resource::Cpu, limits.cpu_seconds),
        (Resource::Fsize, limits.file_bytes),
    ];
    let mut lowered = Vec::new();
    for (resource, current) in wanted {
        let before = getrlimit(resource);
        let fits = current.is_some_and(|wanted| before.current.is_none_or(|now| wanted < now));
        let after = Rlimit { current, ..before };
        if fits && setrlimit(resource, after).is_ok() {
            lowered.push((resource, before));
        }
    }
    lowered
}

fn limit(child: &Child, limits: &Limits) -> io::Result<()> {
    let cpu = limits.cpu_seconds.map(|soft| Rlimit {
        current: Some(soft),
        maximum: Some(soft.saturating_add(CPU_GRACE_SECONDS)),
    });
    let both = |value: u64| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    let no_core = Some(both(0));
    for (resource, wanted) in [
        (Resource::Core, no_core),
        (Resource::Cpu, cpu),
        (Resource::Nofile, limits.open_files.map(both)),
        (Resource::Fsize, limits.file_bytes.map(both)),
    ] {
        let Some(wanted) = wanted else { continue };
        match prlimit(pid_of(child), resource, wanted) {
            // It has ended already, or has less than that by itself.
            Ok(_) | Err(Errno::SRCH | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Waits for the end of the command, of the worker's patience or of the memory.
fn watch(mut child: Child, socket: &UnixStream, limits: &Limits) -> io::Result<Report> {
    let pid = pid_of(&child).ok_or_else(|| io::Error::other("a command without a number"))?;
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let mut memory_bytes = None;
    loop {
        let mut fds = [
            PollFd::new(&ended, PollFlags::IN),
            // Nothing is sent after the order: what comes is the end.
            PollFd::new(socket, PollFlags::IN),
        ];
        let timeout = limits.memory_bytes.map(|_| LOOK_INTERVAL);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => break,
            Err(error) => return Err(error.into()),
        }
        let used = limits
            .memory_bytes
            .map(|most| (processes::memory_bytes(), most));
        if let Some((used, most)) = used
            && used > most
        {
            memory_bytes = Some(used);
            break;
        }
    }
    // Before it is waited for: until then no other group has its number.
    let killed = kill_process_group(pid, Signal::KILL);
    let status = match killed {
        Ok(()) | Err(Errno::SRCH | Errno::PERM) => waited(&mut child)?,
        Err(error) => return Err(error.into()),
    };
    kill_the_rest();
    Ok(Report::Ended {
        code: status.and_then(|status| status.code()),
        signal: status.and_then(|status| status.signal()),
        memory_bytes,
    })
}

/// The end of the command itself, which ended or was killed just now.
fn waited(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + KILL_BUDGET;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            return Ok(None);
        }
        std::thread::sleep(KILL_INTERVAL);
    }
}

/// Kills what is left of all that the command started. Children alone are killed:
/// their numbers are theirs until they are waited for, and what they leave become
/// children.
fn kill_the_rest() {
    let deadline = Instant::now() + KILL_BUDGET;
    while Instant::now() < deadline {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => {
                for pid in processes::children() {
                    // It may have ended, or be somebody else's by its user.
                    let _gone = kill_process(pid, Signal::KILL);
                }
                std::thread::sleep(KILL_INTERVAL);
            }
            // No children are left.
            Err(_) => return,
        }
    }
}
