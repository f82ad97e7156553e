//! One process of the product, with its log in a file.
//!
//! A process is ended by its own pid and reaped at once, so that after `kill`
//! the pid is gone and not merely asked to go. Dropping one kills it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Lines of a log that a failed test prints.
const TAIL_LINES: usize = 30;
const TAIL_LINE_CHARS: usize = 240;

/// A child of the test.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it without stdin; what it prints goes to `log`, after what is there.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let again = file.try_clone().expect("a log file can be shared");
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(again)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        }
    }

    /// SIGKILL, then reaped.
    pub fn kill(&mut self) {
        // Refused only when it has ended already, which is what is wanted.
        let _ended = self.child.kill();
        self.child.wait().expect("an own child can be waited for");
    }

    /// SIGSTOP: it lives, and does nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM: it is asked to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// How it ended; none while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("an own child can be asked")
    }

    /// Whether the operating system has no process under its pid any more.
    pub fn is_gone(&self) -> bool {
        test_kill_process(self.raw_pid()).is_err()
    }

    /// The end of its log, for people.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.chars().take(TAIL_LINE_CHARS).collect())
            .collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        format!("--- {} ---\n{}\n", self.name, lines[from..].join("\n"))
    }

    /// All of its log.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn raw_pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.raw_pid(), signal)
            .unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
