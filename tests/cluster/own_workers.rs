//! Workers that a test starts itself: on a disk of its choice, with orders for
//! their failpoints.

use std::path::{Path, PathBuf};

use crate::harness::{Cluster, Process, command};

/// Where worker processes look for orders, see `vivat_engine::failpoint`.
const ORDERS: &str = "VIVAT_WORKER_FAILPOINTS";

/// How a worker is started.
pub struct Start {
    pub name: &'static str,
    pub dir: PathBuf,
    /// Further arguments.
    pub args: &'static [&'static str],
    /// The directory of orders.
    pub orders: Option<PathBuf>,
    /// Variables beside those that every worker has.
    pub environment: Vec<(&'static str, String)>,
}

impl Start {
    /// A worker with one slot and its directory there.
    pub fn at(name: &'static str, dir: PathBuf) -> Self {
        Self {
            name,
            dir,
            args: &[],
            orders: None,
            environment: Vec::new(),
        }
    }

    /// Starts it, or starts it again on its directory.
    pub fn spawn(&self, cluster: &Cluster) -> Process {
        let mut command = command(cluster.dir());
        let parent = std::process::id().to_string();
        let addresses = cluster.addresses();
        command
            .args(["worker", "--slots", "1", "--parent", &parent])
            .args(["--cluster", &addresses, "--dir"])
            .arg(&self.dir)
            .args(self.args)
            .envs(self.environment.iter().cloned());
        if let Some(orders) = &self.orders {
            command.env(ORDERS, orders);
        }
        let log = cluster.path(&format!("{}.log", self.name));
        Process::spawn(self.name, command, &log)
    }
}

/// The names in a directory, sorted; none when it is not there.
pub fn listing(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| {
            let name = entry.expect("it can be listed").file_name();
            name.to_string_lossy().into_owned()
        })
        .collect();
    names.sort();
    names
}
