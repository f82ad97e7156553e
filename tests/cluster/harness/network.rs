//! Every link of a cluster, through a proxy of the test.
//!
//! Each process is told addresses of its own for the others, so a rule meets one
//! caller and one target: masters by `--peers`, workers by `--cluster`. Two kinds
//! of address are told to everybody, in answers: a master's for clients, which
//! comes as a hint at the leader, and a worker's for its segments. These
//! processes advertise [`HOST`], where a proxy listens on the port that the
//! process has on 127.0.0.1. The doors that hints lead to are closed until a test
//! opens them: a hint is then a try that fails at once, and everybody stays on
//! its own links.
//!
//! Clients of the test reach the masters directly, so that what it sees does not
//! depend on what it breaks; [`Network::client_addresses`] are for those that
//! are to suffer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use vivat_testkit::proxy::{Direction, Evidence, Proxy, Rule};

/// What proxied processes advertise; all of 127/8 is loopback.
pub const HOST: &str = "127.0.0.2";
/// By then a fault has met some traffic: heartbeats alone see to that.
const EVIDENCE_DEADLINE: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Who calls whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// A master another one's Raft.
    Raft {
        /// Who calls.
        from: usize,
        /// Who is called.
        to: usize,
    },
    /// A worker a master.
    Work {
        /// Who calls.
        worker: usize,
        /// Who is called.
        master: usize,
    },
    /// A client of [`Network::client_addresses`] a master.
    Client {
        /// Who is called.
        master: usize,
    },
    /// Whoever follows a hint; masters too, when they ask whom workers reach.
    Hint {
        /// Who is called.
        master: usize,
    },
    /// Other workers, and masters that look after a segment.
    Segments {
        /// Who is called.
        worker: usize,
    },
}

/// Where a master really listens, on 127.0.0.1.
#[derive(Debug, Clone)]
pub struct Seat {
    /// For clients and workers.
    pub listen: String,
    /// For masters.
    pub raft: String,
    /// Probes and metrics.
    pub http: String,
}

/// The proxies of one cluster.
pub struct Network {
    proxies: BTreeMap<Link, Proxy>,
    // After the proxies, whose tasks it runs.
    _runtime: Runtime,
}

/// Rules in force, and what they did.
pub struct Fault {
    parts: Vec<(Link, Direction, Evidence)>,
}

impl Network {
    /// Proxies for all links; none when a port of [`HOST`] is taken.
    pub fn start(seats: &[Seat], workers: &[String]) -> Option<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("proxies")
            .enable_all()
            .build()
            .expect("a runtime");
        let mut proxies = BTreeMap::new();
        let mut add = |link, listen: String, target: &str| {
            let (listen, target) = (address(&listen), address(target));
            let proxy = runtime.block_on(Proxy::start(listen, target)).ok()?;
            proxies.insert(link, proxy);
            Some(())
        };
        let any_port = || "127.0.0.1:0".to_owned();
        for (master, seat) in seats.iter().enumerate() {
            for from in (0..seats.len()).filter(|from| *from != master) {
                add(Link::Raft { from, to: master }, any_port(), &seat.raft)?;
            }
            for worker in 0..workers.len() {
                add(Link::Work { worker, master }, any_port(), &seat.listen)?;
            }
            add(Link::Client { master }, any_port(), &seat.listen)?;
            add(Link::Hint { master }, door_of(&seat.listen), &seat.listen)?;
        }
        for (worker, listen) in workers.iter().enumerate() {
            add(Link::Segments { worker }, door_of(listen), listen)?;
        }
        let network = Self {
            proxies,
            _runtime: runtime,
        };
        network.set(&network.doors(), Rule::Reset);
        Some(network)
    }

    /// `--peers` of a master: itself as it is, the others through proxies.
    pub fn peers_of(&self, from: usize, seats: &[Seat]) -> String {
        let peer = |(to, seat): (usize, &Seat)| match from == to {
            true => format!("{to}={}", seat.raft),
            false => format!("{to}={}", self.address(Link::Raft { from, to })),
        };
        let peers: Vec<String> = seats.iter().enumerate().map(peer).collect();
        peers.join(",")
    }

    /// `--cluster` of a worker.
    pub fn masters_of(&self, worker: usize, masters: usize) -> String {
        let link = |master| self.address(Link::Work { worker, master });
        let addresses: Vec<String> = (0..masters).map(link).collect();
        addresses.join(",")
    }

    /// `--cluster` of a client that is to feel what is done to its links.
    pub fn client_addresses(&self) -> String {
        let clients = self.links(|link| matches!(link, Link::Client { .. }));
        let addresses: Vec<String> = clients.into_iter().map(|link| self.address(link)).collect();
        addresses.join(",")
    }

    /// The links that are wanted.
    pub fn links(&self, wanted: impl Fn(Link) -> bool) -> Vec<Link> {
        let links = self.proxies.keys().copied();
        links.filter(|link| wanted(*link)).collect()
    }

    /// Lets hints lead somewhere.
    pub fn open_doors(&self) {
        self.set(&self.doors(), Rule::Pass);
    }

    /// The same rule for both directions of links.
    pub fn set(&self, links: &[Link], rule: Rule) -> Fault {
        let ways: Vec<_> = links
            .iter()
            .flat_map(|link| [(*link, Direction::ToTarget), (*link, Direction::ToCaller)])
            .collect();
        self.set_ways(&ways, rule)
    }

    /// The same rule for directions of links.
    pub fn set_ways(&self, ways: &[(Link, Direction)], rule: Rule) -> Fault {
        let part = |&(link, direction): &(Link, Direction)| {
            let evidence = self.proxy(link).set(direction, rule);
            (link, direction, evidence)
        };
        Fault {
            parts: ways.iter().map(part).collect(),
        }
    }

    /// See [`Proxy::lose_next_response`].
    pub fn lose_next_response(&self, link: Link, request_bytes_min: u64) -> Fault {
        let evidence = self.proxy(link).lose_next_response(request_bytes_min);
        Fault {
            parts: vec![(link, Direction::ToCaller, evidence)],
        }
    }

    /// Everything passes on these links.
    pub fn heal(&self, links: &[Link]) {
        for link in links {
            self.proxy(*link).heal();
        }
    }

    fn doors(&self) -> Vec<Link> {
        self.links(|link| matches!(link, Link::Hint { .. }))
    }

    fn proxy(&self, link: Link) -> &Proxy {
        let proxy = self.proxies.get(&link);
        proxy.unwrap_or_else(|| panic!("no {link:?} in this cluster"))
    }

    fn address(&self, link: Link) -> String {
        self.proxy(link).address().to_string()
    }
}

impl Fault {
    /// Waits until the fault met traffic in each of these parts of it.
    pub fn await_at(&self, ways: &[(Link, Direction)]) {
        let wanted = |link, direction| ways.contains(&(link, direction));
        assert!(!ways.is_empty(), "to wait for nothing proves nothing");
        self.await_in(&format!("{ways:?}"), |parts| {
            let mut parts = parts.iter().filter(|part| wanted(part.0, part.1));
            parts.all(happened)
        });
    }

    /// Waits until the fault met traffic both ways on a link.
    pub fn await_both(&self, link: Link) {
        self.await_at(&[(link, Direction::ToTarget), (link, Direction::ToCaller)]);
    }

    /// Waits until something came through under it.
    pub fn await_passed(&self) {
        self.await_in("bytes that pass", |parts| {
            parts
                .iter()
                .any(|(_, _, evidence)| evidence.passed_bytes() > 0)
        });
    }

    /// Waits until the fault met traffic somewhere.
    pub fn await_somewhere(&self) {
        self.await_in("any part", |parts| parts.iter().any(happened));
    }

    /// Bytes that it hit so far.
    pub fn hit_bytes(&self) -> u64 {
        let hits = self.parts.iter();
        hits.map(|(_, _, evidence)| evidence.hit_bytes()).sum()
    }

    /// Bytes that came through under it.
    pub fn passed_bytes(&self) -> u64 {
        let parts = self.parts.iter();
        parts.map(|(_, _, evidence)| evidence.passed_bytes()).sum()
    }

    fn await_in(&self, what: &str, is_so: impl Fn(&[(Link, Direction, Evidence)]) -> bool) {
        let deadline = Instant::now() + EVIDENCE_DEADLINE;
        while !is_so(&self.parts) {
            let ways = self.parts.iter().filter(|part| !happened(part));
            let missed: Vec<_> = ways.map(|(link, way, _)| (link, way)).collect();
            assert!(
                Instant::now() < deadline,
                "the fault did not take effect in {what}; nothing at {missed:?}"
            );
            // Between two looks, not instead of a look.
            thread::sleep(LOOK_INTERVAL);
        }
    }
}

fn happened((_, _, evidence): &(Link, Direction, Evidence)) -> bool {
    evidence.happened()
}

/// All that one master sends another on the way, requests and answers: to lose
/// it is a partition of one direction.
pub fn way(from: usize, to: usize) -> [(Link, Direction); 2] {
    [
        (Link::Raft { from, to }, Direction::ToTarget),
        (Link::Raft { from: to, to: from }, Direction::ToCaller),
    ]
}

/// Both links between two masters.
pub fn between(one: usize, other: usize) -> [Link; 2] {
    [
        Link::Raft {
            from: one,
            to: other,
        },
        Link::Raft {
            from: other,
            to: one,
        },
    ]
}

fn door_of(listen: &str) -> String {
    let port = address(listen).port();
    format!("{HOST}:{port}")
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("the harness made it")
}
