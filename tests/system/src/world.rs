//! Runs one seed: builds the hosts, drives time, faults and looks.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use turmoil::Sim;
use vivat_testkit::dice::Dice;

use crate::client::{self, Client};
use crate::disk::{Honesty, SimulatedDisk};
use crate::evidence::Evidence;
use crate::faults::Faults;
use crate::hosts::{self, MASTERS, master_name, worker_name};
use crate::jobs;
use crate::links::LATENCY_MS;
use crate::observer::Observer;
use crate::town::{Phase, Town};
use crate::{Run, Violation};

/// A step of all hosts' clocks.
const TICK: Duration = Duration::from_millis(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// After the last fault, for every job to end.
const ENDS_WITHIN: Duration = Duration::from_secs(120);
/// L3: for every master to have caught up.
const AGREES_WITHIN: Duration = Duration::from_secs(30);

/// The first panic of any task: tokio keeps them to itself.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Runs a seed in the present directory, which must be empty.
///
/// # Errors
///
/// When the directory cannot be used.
pub fn run(seed: u64, honesty: Honesty) -> std::io::Result<Run> {
    note_panics();
    let mut dice = Dice::new(seed);
    let town = Town::new();
    let expected = jobs::write_inputs(&mut dice)?;
    let mut world = World::new(seed, &mut dice, honesty, town.clone());
    world.drive(&expected);
    if let Some(message) = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take() {
        town.violate("panic", message);
    }
    let (evidence, trace) = town.results();
    Ok(Run {
        violation: town.violation(),
        evidence,
        trace,
    })
}

fn note_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let mut first = PANIC.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| info.to_string());
        before(info);
    }));
}

struct World<'a> {
    sim: Sim<'a>,
    town: Town,
    faults: Faults,
    observer: Observer,
    clients: usize,
    faults_until: Duration,
    looked: Duration,
}

impl World<'_> {
    fn new(seed: u64, dice: &mut Dice, honesty: Honesty, town: Town) -> Self {
        let mut sim = turmoil::Builder::new()
            .epoch(SystemTime::UNIX_EPOCH)
            .simulation_duration(Duration::from_secs(3_600))
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(LATENCY_MS.0))
            .max_message_latency(Duration::from_millis(LATENCY_MS.1))
            .repair_rate(0.7)
            .ephemeral_ports(10_000..=u16::MAX)
            .tcp_capacity(65_536)
            .enable_random_order()
            .rng_seed(seed)
            .build();
        let workers = u32::try_from(dice.between(2, 3)).unwrap_or(2);
        let clients = dice.between(2, 4);
        let mut disks = Vec::new();
        for seat in 0..MASTERS {
            let disk = SimulatedDisk::new(dice.split(), honesty, town.clone());
            disks.push(disk.clone());
            let town = town.clone();
            sim.host(master_name(seat), move || {
                hosts::master(seat, disk.clone(), town.clone())
            });
        }
        for number in 0..workers {
            let town = town.clone();
            sim.host(worker_name(number), move || {
                hosts::worker(number, town.clone())
            });
        }
        for number in 0..clients {
            let client = Client::new(number, dice.split(), town.clone());
            sim.client(client::name(number), client.run());
        }
        let faults = Faults::new(dice.split(), town.clone(), disks, workers, clients);
        Self {
            sim,
            observer: Observer::new(town.clone()),
            town,
            faults,
            clients: usize::try_from(clients).unwrap_or(2),
            faults_until: Duration::from_millis(dice.between(15_000, 25_000)),
            looked: Duration::ZERO,
        }
    }

    fn drive(&mut self, expected: &BTreeMap<String, u64>) {
        while self.town.now() < self.faults_until && self.step() {
            self.faults.step(&mut self.sim);
        }
        self.faults.heal(&mut self.sim);
        self.town.enter(Phase::Healed);
        let deadline = self.town.now() + ENDS_WITHIN;
        while self.town.waiting_clients() < self.clients {
            if !self.step() {
                return;
            }
            if self.town.now() > deadline {
                self.observer.judge(expected);
                self.town.violate("L1", "clients still wait for their jobs");
                return;
            }
        }
        self.town.enter(Phase::Fresh);
        while !self.finished() {
            if self.town.violation().is_some() {
                return;
            }
        }
        let deadline = self.town.now() + AGREES_WITHIN;
        while !self.observer.masters_agree() {
            if !self.step() {
                return;
            }
            if self.town.now() > deadline {
                self.town.violate("L3", self.observer.describe_masters());
                return;
            }
        }
        self.observer.look();
        self.observer.judge(expected);
    }

    /// False when there is no use in going on.
    fn step(&mut self) -> bool {
        self.advance();
        self.town.violation().is_none()
    }

    fn finished(&mut self) -> bool {
        self.advance()
    }

    fn advance(&mut self) -> bool {
        let stepped = self.sim.step();
        self.town.set_now(self.sim.elapsed());
        if self.town.now() >= self.looked + LOOK {
            self.looked = self.town.now();
            self.observer.look();
        }
        let panicked = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(message) = panicked {
            self.town.violate("panic", message);
        }
        stepped.unwrap_or_else(|error| {
            self.town.violate("host", error);
            true
        })
    }
}

/// Says which run this was, in lines that [`parse`] reads.
#[must_use]
pub fn report(run: &Run) -> String {
    let mut lines = String::new();
    for fact in crate::evidence::FACTS {
        let count = run.evidence.count(fact);
        if count > 0 {
            lines.push_str(&format!("fact {fact:?} {count}\n"));
        }
    }
    lines.push_str(&format!("trace {:016x}\n", run.trace_hash()));
    match &run.violation {
        None => lines.push_str("passed\n"),
        Some(violation) => {
            lines.push_str(&format!("failed {} {}\n", violation.id, violation.detail));
        }
    }
    lines
}

/// What another process reported of a run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What happened.
    pub evidence: Evidence,
    /// Tells two runs apart.
    pub trace: String,
    /// What was wrong; none when it ended without a word too.
    pub violation: Option<Violation>,
}

/// Reads a report. One that breaks off is a violation.
#[must_use]
pub fn parse(text: &str, errors: &str) -> Report {
    let mut report = Report::default();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("fact"), Some(fact), Some(count)) => {
                if let (Ok(fact), Ok(count)) = (fact.parse(), count.parse()) {
                    report.evidence.note(fact, count);
                }
            }
            (Some("trace"), Some(hash), None) => report.trace = hash.to_owned(),
            (Some("passed"), None, None) => return report,
            (Some("failed"), Some(id), detail) => {
                let rest: Vec<&str> = detail.into_iter().chain(lines).collect();
                report.violation = Some(Violation {
                    id: id.to_owned(),
                    detail: rest.join("\n"),
                });
                return report;
            }
            (_, _, _) => {}
        }
    }
    report.violation = Some(Violation {
        id: "process".to_owned(),
        detail: format!("it ended without a result\n{errors}"),
    });
    report
}
