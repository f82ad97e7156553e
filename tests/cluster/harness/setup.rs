//! What a cluster is started with: addresses and command lines.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::network::{HOST, Network, Seat};
use super::{Shape, free_address, master_name, worker_name};

const TRIES_MAX: u32 = 100;

/// What processes are given beyond what every one needs.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    /// Arguments of every master.
    pub master_args: Vec<String>,
    /// Arguments of every worker.
    pub worker_args: Vec<String>,
    /// What workers log, as `VIVAT_LOG` has it.
    pub worker_log: Option<String>,
    /// Where each seat has its disk; the cluster's directory for the others.
    pub master_disks: Vec<Option<PathBuf>>,
    /// Threads of Raft's runtime in every master.
    pub raft_threads: Option<u32>,
}

/// More than a [`Shape`]: how the processes are started.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// How many of which role.
    pub shape: Shape,
    /// More than every process needs.
    pub extras: Extras,
    /// Whether every link goes through a proxy.
    pub proxied: bool,
}

/// Addresses are chosen, nothing runs but proxies.
pub struct Plan {
    /// Where each listens, and its command line.
    pub masters: Vec<(Seat, Vec<String>)>,
    /// Command lines.
    pub workers: Vec<Vec<String>>,
    /// The proxies between them.
    pub network: Option<Network>,
}

impl Setup {
    /// None when a port was taken meanwhile.
    pub(super) fn plan(&self) -> Option<Plan> {
        let seats: Vec<Seat> = (0..self.shape.masters).map(|_| self.seat()).collect();
        let listens: Vec<String> = (0..self.shape.workers).map(|_| self.free()).collect();
        let network = match self.proxied {
            true => Some(Network::start(&seats, &listens)?),
            false => None,
        };
        let masters = (0..seats.len())
            .map(|seat| self.master_args(seat, &seats, network.as_ref()))
            .collect::<Vec<_>>();
        let direct: Vec<&str> = seats.iter().map(|seat| seat.listen.as_str()).collect();
        let workers = listens
            .iter()
            .enumerate()
            .map(|(index, listen)| match &network {
                None => self.worker_args(&worker_name(index), &direct.join(",")),
                Some(network) => {
                    let masters = network.masters_of(index, seats.len());
                    let mut args = self.worker_args(&worker_name(index), &masters);
                    args.extend(owned(&["--listen", listen, "--advertise", HOST]));
                    args
                }
            })
            .collect();
        Some(Plan {
            masters: seats.into_iter().zip(masters).collect(),
            workers,
            network,
        })
    }

    fn master_args(&self, seat: usize, seats: &[Seat], network: Option<&Network>) -> Vec<String> {
        let peers = match network {
            Some(network) => network.peers_of(seat, seats),
            None => {
                let peers = seats.iter().enumerate();
                let peers: Vec<_> = peers
                    .map(|(seat, it)| format!("{seat}={}", it.raft))
                    .collect();
                peers.join(",")
            }
        };
        let Seat { listen, raft, http } = &seats[seat];
        let (id, dir) = (seat.to_string(), self.master_dir(seat));
        let mut args = owned(&[
            "master", "--id", &id, "--dir", &dir, "--peers", &peers, "--listen", listen, "--raft",
            raft, "--http", http,
        ]);
        if network.is_some() {
            args.extend(owned(&["--advertise", HOST]));
        }
        args.extend(self.extras.master_args.iter().cloned());
        args
    }

    /// Another one for each start: a master that met a taken port has left a
    /// cluster of its own on its disk.
    fn master_dir(&self, seat: usize) -> String {
        static STARTS: AtomicU64 = AtomicU64::new(0);
        let name = master_name(seat);
        match self.extras.master_disks.get(seat) {
            Some(Some(disk)) => {
                let start = STARTS.fetch_add(1, Ordering::Relaxed);
                let dir = disk.join(format!("start-{start}")).join(name);
                dir.to_str().expect("test paths are text").to_owned()
            }
            Some(None) | None => name,
        }
    }

    /// Of a worker whose directory has that name.
    pub(super) fn worker_args(&self, name: &str, masters: &str) -> Vec<String> {
        let slots = self.shape.slots.to_string();
        let mut args = owned(&[
            "worker",
            "--dir",
            name,
            "--cluster",
            masters,
            "--slots",
            &slots,
        ]);
        args.extend(self.extras.worker_args.iter().cloned());
        args
    }

    fn seat(&self) -> Seat {
        Seat {
            listen: self.free(),
            raft: free_address(),
            http: free_address(),
        }
    }

    /// A free address, whose port is free on [`HOST`] too if that is needed.
    fn free(&self) -> String {
        for _ in 0..TRIES_MAX {
            let address = free_address();
            let (_, port) = address.split_once(':').expect("HOST:PORT");
            if !self.proxied || TcpListener::bind(format!("{HOST}:{port}")).is_ok() {
                return address;
            }
        }
        panic!("no port that is free on 127.0.0.1 and on {HOST}");
    }
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|&arg| arg.to_owned()).collect()
}

/// Reads `/metrics` at an address and picks one number; none while the master
/// joins its peers.
pub(super) fn metric(address: &str, name: &str) -> Option<u64> {
    let mut stream = TcpStream::connect(address).expect("the master serves metrics");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    if answer.starts_with("HTTP/1.1 503") {
        return None;
    }
    let name = format!("vivat_master_{name} ");
    let value = answer.lines().find_map(|line| line.strip_prefix(&name));
    let value = value.unwrap_or_else(|| panic!("no {name}in {answer}"));
    let number = value.parse();
    Some(number.unwrap_or_else(|error| panic!("{name}{value}: {error}")))
}
