//! Who is in a dev cluster and where each listens: fixed at the first start,
//! remembered in the directory, held for as long as the cluster runs.
//!
//! A port is held by a socket that is bound and never listens. The kernel gives
//! such a port to nobody who asks for a free one, while a child that asks for
//! exactly this port gets it.

use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::net::TcpSocket;

use crate::args::process::DevArgs;
use crate::failure::Failure;

use super::child::Role;

const MEMORY: &str = "dev.json";
const LOCK: &str = "dev.lock";
/// Ports of a master: clients, Raft, HTTP.
const MASTER_PORTS: usize = 3;

/// The layout, with its ports and its directory held.
#[derive(Debug)]
pub struct Layout {
    /// Where everything is.
    pub directory: PathBuf,
    /// Masters, then workers.
    pub members: Vec<Member>,
    _lock: File,
    _held: Vec<TcpSocket>,
}

/// One member.
#[derive(Debug, Clone)]
pub struct Member {
    /// What it is.
    pub role: Role,
    /// Its number among its kind.
    pub id: usize,
    /// `master-0`.
    pub name: String,
    /// Where it listens.
    pub addresses: Vec<String>,
}

/// What is remembered of a layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    version: u32,
    masters: Vec<Vec<u16>>,
    workers: Vec<u16>,
}

impl Layout {
    /// Takes the directory and the ports.
    ///
    /// # Errors
    ///
    /// Exit 4 when the directory or a port is taken, or holds a cluster with
    /// another number of masters.
    pub fn open(directory: &Path, args: &DevArgs) -> Result<Self, Failure> {
        fs::create_dir_all(directory).map_err(|error| Failure::file("make", directory, &error))?;
        let directory = fs::canonicalize(directory)
            .map_err(|error| Failure::file("find", directory, &error))?;
        let lock = lock(&directory)?;
        let known = load(&directory)?;
        let masters = usize::try_from(args.masters).unwrap_or(usize::MAX);
        let workers = usize::try_from(args.workers).unwrap_or(usize::MAX);
        if let Some(known) = &known
            && known.masters.len() != masters
        {
            return Err(Failure::conflict(format!(
                "{} holds a cluster of {} masters, not {masters}",
                directory.display(),
                known.masters.len()
            ))
            .hint("choose another --dir, or the same --masters"));
        }
        let mut ports = Ports {
            next: (args.port != 0).then_some(args.port),
            held: Vec::new(),
        };
        let memory = ports.take(known, masters, workers)?;
        save(&directory, &memory)?;
        Ok(Self {
            members: members(&memory, workers),
            directory,
            _lock: lock,
            _held: ports.held,
        })
    }

    /// Where clients reach the masters.
    pub fn endpoints(&self) -> Vec<String> {
        self.masters()
            .map(|member| member.addresses[0].clone())
            .collect()
    }

    /// The masters' `--peers`.
    pub fn peers(&self) -> String {
        self.masters()
            .map(|member| format!("{}={}", member.id, member.addresses[1]))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Where the children's logs are.
    pub fn logs(&self) -> PathBuf {
        self.directory.join("logs")
    }

    fn masters(&self) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(|member| member.role == Role::Master)
    }
}

fn members(memory: &Memory, workers: usize) -> Vec<Member> {
    let member = |role: Role, id: usize, ports: &[u16]| Member {
        role,
        id,
        name: format!("{}-{id}", role.word()),
        addresses: ports
            .iter()
            .map(|port| address(*port).to_string())
            .collect(),
    };
    let masters = memory.masters.iter().enumerate();
    let workers = memory.workers.iter().take(workers).enumerate();
    masters
        .map(|(id, ports)| member(Role::Master, id, ports))
        .chain(workers.map(|(id, port)| member(Role::Worker, id, &[*port])))
        .collect()
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Ports being taken.
struct Ports {
    /// The next one in order; none when any will do.
    next: Option<u16>,
    held: Vec<TcpSocket>,
}

impl Ports {
    fn take(
        &mut self,
        known: Option<Memory>,
        masters: usize,
        workers: usize,
    ) -> Result<Memory, Failure> {
        let mut memory = known.unwrap_or(Memory {
            version: 1,
            masters: Vec::new(),
            workers: Vec::new(),
        });
        for port in memory.masters.iter().flatten() {
            self.hold(*port)?;
        }
        for port in memory.workers.iter().take(workers) {
            self.hold(*port)?;
        }
        let taken = memory.masters.len() * MASTER_PORTS + memory.workers.len();
        self.next = match self.next {
            Some(next) => Some(
                u16::try_from(taken)
                    .ok()
                    .and_then(|taken| next.checked_add(taken))
                    .ok_or_else(|| Failure::usage("--port is too high for so many members"))?,
            ),
            None => None,
        };
        while memory.masters.len() < masters {
            let ports = (0..MASTER_PORTS)
                .map(|_| self.fresh())
                .collect::<Result<_, _>>()?;
            memory.masters.push(ports);
        }
        while memory.workers.len() < workers {
            memory.workers.push(self.fresh()?);
        }
        Ok(memory)
    }

    fn fresh(&mut self) -> Result<u16, Failure> {
        let Some(port) = self.next else {
            return self.hold(0);
        };
        self.next = port.checked_add(1);
        self.hold(port)
    }

    fn hold(&mut self, port: u16) -> Result<u16, Failure> {
        let bound = || {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(address(port))?;
            let port = socket.local_addr()?.port();
            Ok((socket, port))
        };
        let (socket, port) = bound().map_err(|error: std::io::Error| {
            if error.kind() == std::io::ErrorKind::AddrInUse {
                Failure::conflict(format!("port {port} is taken"))
                    .hint("choose another --port; 0 takes free ones")
            } else {
                Failure::failed(format!("cannot take port {port}: {error}"))
            }
        })?;
        self.held.push(socket);
        Ok(port)
    }
}

fn lock(directory: &Path) -> Result<File, Failure> {
    let path = directory.join(LOCK);
    let file = File::create(&path).map_err(|error| Failure::file("write", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::conflict(format!(
            "another `vivat dev` runs in {}",
            directory.display()
        ))
        .hint("choose another --dir")),
        Err(TryLockError::Error(error)) => Err(Failure::file("lock", &path, &error)),
    }
}

fn load(directory: &Path) -> Result<Option<Memory>, Failure> {
    let path = directory.join(MEMORY);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file("read", &path, &error)),
    };
    let memory: Memory = serde_json::from_str(&text)
        .map_err(|error| Failure::failed(format!("{} is damaged: {error}", path.display())))?;
    if memory.version != 1 {
        return Err(Failure::failed(format!(
            "{} has format {}, this program reads 1",
            path.display(),
            memory.version
        )));
    }
    Ok(Some(memory))
}

fn save(directory: &Path, memory: &Memory) -> Result<(), Failure> {
    let path = directory.join(MEMORY);
    let new = directory.join(format!("{MEMORY}.new"));
    let text = serde_json::to_string_pretty(memory)
        .map_err(|error| Failure::failed(format!("cannot write {MEMORY}: {error}")))?;
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, &path))
        .map_err(|error| Failure::file("write", &path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(masters: u32, workers: u32) -> DevArgs {
        DevArgs {
            masters,
            workers,
            slots: 1,
            dir: None,
            port: 0,
            no_restart: false,
        }
    }

    #[test]
    fn second_cluster_in_a_directory_is_a_conflict_and_a_later_one_finds_its_ports() {
        let directory = tempfile::tempdir().unwrap();
        let first = Layout::open(directory.path(), &args(3, 2)).unwrap();
        let second = Layout::open(directory.path(), &args(3, 2)).unwrap_err();
        assert_eq!(second.exit, 4);
        let (peers, endpoints) = (first.peers(), first.endpoints());
        drop(first);
        let again = Layout::open(directory.path(), &args(3, 1)).unwrap();
        assert_eq!((again.peers(), again.endpoints()), (peers, endpoints));
        assert_eq!(again.members.len(), 4);
        drop(again);
        let other = Layout::open(directory.path(), &args(1, 1)).unwrap_err();
        assert_eq!(other.exit, 4);
    }

    #[test]
    fn taken_port_is_a_conflict() {
        let taken = std::net::TcpListener::bind(address(0)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut args = args(1, 0);
        args.port = taken.local_addr().unwrap().port();
        let failure = Layout::open(directory.path(), &args).unwrap_err();
        assert_eq!(failure.exit, 4);
        assert!(failure.message.contains("is taken"), "{}", failure.message);
    }
}
