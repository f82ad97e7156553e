//! The faults of a run: which, when, and for how long, by the seed.

use std::time::Duration;

use turmoil::Sim;
use vivat_testkit::dice::Dice;

use crate::disk::SimulatedDisk;
use crate::evidence::Fact;
use crate::hosts::{MASTERS, master_name, worker_name};
use crate::links::{Links, Wrong};
use crate::town::Town;

/// What ends a fault.
#[derive(Debug, Clone)]
enum Undo {
    Mend(String, String, Wrong),
    StartMaster(u32),
    StartWorker(u32),
    Unstall(u32),
    /// A flapping link changes, so many more times.
    Flap(u32, u32),
    /// Whoever leads by then crashes too.
    CrashLeaderAgain,
    /// A master whose disk is behind loses its power.
    PowerOff(u32),
}

impl Undo {
    /// Whether it makes things worse first.
    fn is_another_fault(&self) -> bool {
        match self {
            Self::Flap(..) | Self::CrashLeaderAgain | Self::PowerOff(_) => true,
            Self::Mend(..) | Self::StartMaster(_) | Self::StartWorker(_) | Self::Unstall(_) => {
                false
            }
        }
    }
}

/// Does faults and undoes them.
pub struct Faults {
    dice: Dice,
    town: Town,
    links: Links,
    disks: Vec<SimulatedDisk>,
    workers: u32,
    clients: u64,
    pending: Vec<(Duration, Undo)>,
    masters_down: Vec<u32>,
    workers_down: Vec<u32>,
    next: Duration,
}

impl Faults {
    /// Nothing is wrong yet.
    pub fn new(
        dice: Dice,
        town: Town,
        disks: Vec<SimulatedDisk>,
        workers: u32,
        clients: u64,
    ) -> Self {
        Self {
            dice,
            links: Links::new(town.clone()),
            town,
            disks,
            workers,
            clients,
            pending: Vec::new(),
            masters_down: Vec::new(),
            workers_down: Vec::new(),
            next: Duration::from_millis(2_000),
        }
    }

    /// Does what is due.
    pub fn step(&mut self, sim: &mut Sim<'_>) {
        let now = self.town.now();
        self.undo_until(sim, now);
        if now >= self.next {
            let pause = self.dice.between(150, 2_200);
            self.next = now + Duration::from_millis(pause);
            self.strike(sim);
        }
    }

    /// Undoes everything.
    pub fn heal(&mut self, sim: &mut Sim<'_>) {
        while !self.pending.is_empty() {
            self.pending.retain(|(_, undo)| !undo.is_another_fault());
            self.undo_until(sim, Duration::MAX);
        }
        let names = self.all_names();
        for a in &names {
            for b in names.iter().filter(|b| a < *b) {
                // A lossy link may have been left broken.
                sim.repair(a.as_str(), b.as_str());
            }
        }
    }

    fn undo_until(&mut self, sim: &mut Sim<'_>, until: Duration) {
        while let Some(position) = self.pending.iter().position(|(at, _)| *at <= until) {
            let (_, undo) = self.pending.swap_remove(position);
            match undo {
                Undo::Mend(a, b, wrong) => self.links.mend(sim, &a, &b, wrong),
                Undo::StartMaster(seat) => {
                    self.masters_down.retain(|down| *down != seat);
                    sim.bounce(master_name(seat).as_str());
                }
                Undo::StartWorker(number) => {
                    self.workers_down.retain(|down| *down != number);
                    sim.bounce(worker_name(number).as_str());
                }
                Undo::Unstall(seat) => self.disks[seat as usize].stall(Duration::ZERO),
                Undo::Flap(seat, left) => self.flap(sim, seat, left),
                Undo::CrashLeaderAgain => {
                    if let Some(leader) = self.leader() {
                        self.town.note(Fact::LeadersCrashedTwice);
                        self.crash_master(sim, leader, true);
                    }
                }
                Undo::PowerOff(seat) => self.end_master(sim, seat, true, true),
            }
        }
    }

    fn after(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        let ms = self.dice.between(least_ms, most_ms);
        self.town.now() + Duration::from_millis(ms)
    }

    /// Who leads, by its own word.
    fn leader(&self) -> Option<u32> {
        let leads = |(seat, raft): (u32, vivat_master::raft::Handle)| {
            let leads = raft.leadership().borrow().is_leader;
            leads.then(|| (raft.leadership().borrow().term, seat))
        };
        let leaders = self.town.masters().into_iter().filter_map(leads);
        leaders.max().map(|(_, seat)| seat)
    }

    fn some_master(&mut self) -> u32 {
        u32::try_from(self.dice.up_to(u64::from(MASTERS - 1))).unwrap_or(0)
    }

    /// The leader in two of three cases.
    fn leader_rather(&mut self) -> (u32, bool) {
        let some = self.some_master();
        match self.leader() {
            Some(leader) if self.dice.chance(66) => (leader, true),
            leader => (some, leader == Some(some)),
        }
    }

    fn some_worker(&mut self) -> u32 {
        u32::try_from(self.dice.up_to(u64::from(self.workers - 1))).unwrap_or(0)
    }

    fn all_names(&self) -> Vec<String> {
        let masters = (0..MASTERS).map(master_name);
        let workers = (0..self.workers).map(worker_name);
        let clients = (0..self.clients).map(crate::client::name);
        masters.chain(workers).chain(clients).collect()
    }

    fn wrong(&mut self, sim: &mut Sim<'_>, a: &str, b: &str, wrong: Wrong, until: Duration) {
        self.links.break_link(sim, a, b, wrong);
        let undo = Undo::Mend(a.to_owned(), b.to_owned(), wrong);
        self.pending.push((until, undo));
    }

    fn cut(&mut self, sim: &mut Sim<'_>, a: &str, b: &str, until: Duration) {
        self.wrong(sim, a, b, Wrong::Forth, until);
        self.wrong(sim, a, b, Wrong::Back, until);
    }

    fn strike(&mut self, sim: &mut Sim<'_>) {
        match self.dice.up_to(19) {
            0..=2 => {
                let (seat, _) = self.leader_rather();
                self.crash_master(sim, seat, false);
            }
            3 => self.crash_leaders(sim),
            4 => self.crash_all_masters(sim),
            5..=6 => self.crash_worker(sim),
            7 => self.crash_all_workers(sim),
            8..=9 => self.cut_master(sim),
            10 => self.cut_one_way(sim),
            11 => self.bridge(sim),
            12 => self.cut_from_workers(sim),
            13 => self.cut_worker(sim),
            14 => self.silence_client(sim),
            15 => {
                let seat = self.some_master();
                self.town.note(Fact::LinkFlapped);
                let times = u32::try_from(self.dice.between(6, 16)).unwrap_or(6);
                self.flap(sim, seat, times);
            }
            16 => self.hold(sim),
            17 => self.slow(sim),
            18 => self.stall_disk(),
            _ => self.jump(),
        }
    }

    fn crash_master(&mut self, sim: &mut Sim<'_>, seat: u32, soon_back: bool) {
        let power_lost = self.dice.chance(70);
        self.end_master(sim, seat, power_lost, soon_back);
    }

    fn end_master(&mut self, sim: &mut Sim<'_>, seat: u32, power_lost: bool, soon_back: bool) {
        if self.masters_down.contains(&seat) {
            return;
        }
        let leads = self.leader() == Some(seat);
        let name = master_name(seat);
        self.town
            .tell(format_args!("crash {name}, power lost: {power_lost}"));
        self.town.note(Fact::MasterCrashed);
        if leads {
            self.town.note(Fact::LeaderCrashed);
        }
        if power_lost {
            self.town.note(Fact::PowerLost);
        }
        sim.crash(name.as_str());
        self.disks[seat as usize].crash(power_lost);
        self.town.ended(seat);
        self.masters_down.push(seat);
        let back = if soon_back {
            self.after(50, 2_000)
        } else {
            self.after(50, 6_000)
        };
        self.pending.push((back, Undo::StartMaster(seat)));
    }

    fn crash_leaders(&mut self, sim: &mut Sim<'_>) {
        if let Some(leader) = self.leader() {
            self.crash_master(sim, leader, true);
            let again = self.after(700, 1_800);
            self.pending.push((again, Undo::CrashLeaderAgain));
        }
    }

    fn crash_all_masters(&mut self, sim: &mut Sim<'_>) {
        self.town.note(Fact::AllMastersCrashed);
        for seat in 0..MASTERS {
            self.crash_master(sim, seat, true);
        }
    }

    fn crash_worker(&mut self, sim: &mut Sim<'_>) {
        let number = self.some_worker();
        let wiped = self.dice.chance(30);
        self.end_worker(sim, number, wiped);
    }

    fn end_worker(&mut self, sim: &mut Sim<'_>, number: u32, wiped: bool) {
        if self.workers_down.contains(&number) {
            return;
        }
        let name = worker_name(number);
        self.town.tell(format_args!("crash {name}, wiped: {wiped}"));
        self.town.note(Fact::WorkerCrashed);
        sim.crash(name.as_str());
        if wiped {
            self.town.note(Fact::WorkerLostItsDisk);
            if let Err(error) = std::fs::remove_dir_all(&name) {
                self.town
                    .tell(format_args!("{name}: nothing to wipe: {error}"));
            }
        }
        self.workers_down.push(number);
        let back = self.after(100, 7_000);
        self.pending.push((back, Undo::StartWorker(number)));
    }

    fn crash_all_workers(&mut self, sim: &mut Sim<'_>) {
        self.town.note(Fact::AllWorkersCrashed);
        for number in 0..self.workers {
            self.end_worker(sim, number, false);
        }
    }

    fn cut_master(&mut self, sim: &mut Sim<'_>) {
        let (seat, leads) = self.leader_rather();
        self.town.note(Fact::MasterCut);
        if leads {
            self.town.note(Fact::LeaderCut);
        }
        let (name, until) = (master_name(seat), self.after(500, 6_000));
        // Clients and workers stand on one side or on both.
        let from_all = self.dice.chance(50);
        self.town
            .tell(format_args!("cut {name}, from all: {from_all}"));
        for other in self.all_names() {
            if other != name && (from_all || other.starts_with('m')) {
                self.cut(sim, &name, &other, until);
            }
        }
    }

    fn cut_one_way(&mut self, sim: &mut Sim<'_>) {
        let Some(leader) = self.leader() else { return };
        let mute = self.dice.chance(50);
        let (fact, wrong) = if mute {
            (Fact::LeaderMute, Wrong::Forth)
        } else {
            (Fact::LeaderDeaf, Wrong::Back)
        };
        self.town.note(fact);
        let (name, until) = (master_name(leader), self.after(800, 6_000));
        self.town.tell(format_args!("{name} is {fact:?}"));
        for other in (0..MASTERS).filter(|seat| *seat != leader) {
            self.wrong(sim, &name, &master_name(other), wrong, until);
        }
    }

    fn bridge(&mut self, sim: &mut Sim<'_>) {
        self.town.note(Fact::Bridge);
        let (one, until) = (self.some_master(), self.after(1_000, 7_000));
        let other = (one + 1) % MASTERS;
        self.town
            .tell(format_args!("m{one} and m{other} reach a third alone"));
        self.cut(sim, &master_name(one), &master_name(other), until);
    }

    fn cut_from_workers(&mut self, sim: &mut Sim<'_>) {
        let Some(leader) = self.leader() else { return };
        self.town.note(Fact::LeaderCutFromWorkers);
        let until = self.after(2_000, 8_000);
        self.town.tell(format_args!("no worker reaches m{leader}"));
        for number in 0..self.workers {
            self.cut(sim, &master_name(leader), &worker_name(number), until);
        }
    }

    fn cut_worker(&mut self, sim: &mut Sim<'_>) {
        self.town.note(Fact::WorkerCut);
        let (number, until) = (self.some_worker(), self.after(1_000, 9_000));
        self.town.tell(format_args!("w{number} reaches no master"));
        for seat in 0..MASTERS {
            self.cut(sim, &worker_name(number), &master_name(seat), until);
        }
    }

    /// Its calls arrive; the answers do not.
    fn silence_client(&mut self, sim: &mut Sim<'_>) {
        let Some(leader) = self.leader() else { return };
        self.town.note(Fact::ClientUnanswered);
        let until = self.after(500, 5_000);
        let number = self.dice.up_to(self.clients - 1);
        self.town
            .tell(format_args!("answers of m{leader} to c{number} get lost"));
        let (from, to) = (master_name(leader), crate::client::name(number));
        self.wrong(sim, &from, &to, Wrong::Forth, until);
    }

    fn flap(&mut self, sim: &mut Sim<'_>, seat: u32, left: u32) {
        let until = self.town.now() + Duration::from_millis(200);
        let name = master_name(seat);
        for other in (0..MASTERS).filter(|other| *other != seat) {
            self.cut(sim, &name, &master_name(other), until);
        }
        if left > 0 {
            let again = until + Duration::from_millis(200);
            self.pending.push((again, Undo::Flap(seat, left - 1)));
        }
    }

    fn hold(&mut self, sim: &mut Sim<'_>) {
        let names = self.all_names();
        let (seat, until) = (self.some_master(), self.after(200, 4_000));
        let name = master_name(seat);
        let others: Vec<String> = names.into_iter().filter(|other| *other != name).collect();
        let Some(other) = self.dice.pick(&others).cloned() else {
            return;
        };
        if self.links.is_open(&name, &other) {
            self.town.note(Fact::LinkHeld);
            self.town
                .tell(format_args!("packets between {name} and {other} wait"));
            self.wrong(sim, &name, &other, Wrong::Held, until);
        }
    }

    fn slow(&mut self, sim: &mut Sim<'_>) {
        let lossy = self.dice.chance(50);
        let until = self.after(1_000, 6_000);
        let most_ms = self.dice.between(50, 300);
        let (fact, wrong) = if lossy {
            (Fact::PacketsLost, Wrong::Lossy)
        } else {
            (Fact::LinkSlow, Wrong::Slow(most_ms))
        };
        self.town.note(fact);
        self.town.tell(format_args!("{wrong:?} everywhere"));
        let names = self.all_names();
        for a in &names {
            for b in names.iter().filter(|b| a < *b) {
                self.wrong(sim, a, b, wrong, until);
            }
        }
    }

    fn stall_disk(&mut self) {
        let seat = self.some_master();
        let by = Duration::from_millis(self.dice.between(300, 6_000));
        self.town
            .tell(format_args!("syncs of m{seat} take {by:?} more"));
        self.disks[seat as usize].stall(by);
        let until = self.after(500, 5_000);
        self.pending.push((until, Undo::Unstall(seat)));
        if self.dice.chance(60) {
            let end = self.after(200, 3_000);
            self.pending.push((end, Undo::PowerOff(seat)));
        }
    }

    fn jump(&mut self) {
        const HOUR_MS: i64 = 3_600_000;
        let jumps = [-HOUR_MS, HOUR_MS, -87_600 * HOUR_MS, 87_600 * HOUR_MS, 700];
        let seat = self.some_master();
        let by = *self.dice.pick(&jumps).unwrap_or(&HOUR_MS);
        self.town.note(Fact::ClockJumped);
        self.town
            .tell(format_args!("the clock of m{seat} jumps by {by} ms"));
        self.town.jump(seat, by);
    }
}
