//! What goes wrong, and when it stops.

use crate::event::Event;
use crate::evidence::Fact;
use crate::ground::Weather;
use crate::leader::LEASE_MS;
use crate::master::Condition;
use crate::world::World;

/// Milliseconds between two faults, on average half of the largest.
const GAP_MS: std::ops::RangeInclusive<u64> = 50..=1_300;

impl World {
    pub fn on_fault(&mut self) {
        if !self.faulty {
            return;
        }
        let gap_ms = self.ground.dice.within(GAP_MS);
        self.ground.after(gap_ms, Event::Fault);
        let machine = self.ground.dice.index(self.machines.len());
        let master = self.ground.dice.index(self.masters.len());
        match self.ground.dice.below(24) {
            0 | 1 => self.depose(),
            2 => {
                if let Some(leader) = self.raft.leader {
                    let return_ms = self.ground.dice.within(300..=4_000);
                    self.kill_master(leader, return_ms);
                }
            }
            3 => {
                if let Some(leader) = self.raft.leader {
                    let for_ms = self.ground.dice.within(200..=14_000);
                    self.freeze_master(leader, for_ms);
                }
            }
            4 => {
                let for_ms = self.ground.dice.within(100..=3_000);
                self.silence_quorum(for_ms);
            }
            5 => self.kill_follower(master),
            6 | 7 => self.take_snapshot(master),
            8 => {
                let other = (master + 1) % self.masters.len();
                self.install_snapshot(other, master);
            }
            9 => self.jump_clock(master),
            10 | 11 => {
                let return_ms = self.pause_ms();
                self.kill_machine(machine, return_ms);
            }
            12 => {
                let return_ms = self.pause_ms();
                self.kill_machine(machine, return_ms);
                self.wipe_machine(machine);
            }
            13 => {
                let for_ms = self.ground.dice.within(500..=6_000);
                self.stall_machine(machine, for_ms);
            }
            14 => {
                let for_ms = self.ground.dice.within(LEASE_MS..=LEASE_MS + 8_000);
                self.stall_machine(machine, for_ms);
            }
            15 => {
                let other = self.ground.dice.index(self.machines.len());
                if other != machine && !self.machines[machine].cut_from.remove(&other) {
                    self.machines[machine].cut_from.insert(other);
                }
            }
            16 => self.machines[machine].lies = !self.machines[machine].lies,
            17 => self.machines[machine].sick = !self.machines[machine].sick,
            18 | 19 => self.damage_segment(machine),
            20 => self.drain_one(machine),
            21 => self.recover(machine),
            22 => self.kill_all_machines(),
            _ => self.change_weather(),
        }
    }

    /// Short mostly, sometimes beyond the lease.
    fn pause_ms(&mut self) -> u64 {
        if self.ground.dice.chance(250) {
            self.ground.dice.within(LEASE_MS..=LEASE_MS + 6_000)
        } else {
            self.ground.dice.within(100..=3_000)
        }
    }

    fn kill_follower(&mut self, master: usize) {
        if self.raft.leader != Some(master) {
            let return_ms = self.ground.dice.within(200..=5_000);
            self.kill_master(master, return_ms);
        }
    }

    fn jump_clock(&mut self, master: usize) {
        self.ground.note(Fact::ClockJumped);
        let hour = 3_600_000;
        let off_ms = match self.ground.dice.below(5) {
            0 => -hour,
            1 => hour,
            2 => 10 * 365 * 24 * hour,
            3 => -2_000,
            _ => 2_000,
        };
        self.ground
            .say(|| format!("seat {master}: clock is off by {off_ms}"));
        self.masters[master].clock_off_ms = off_ms;
    }

    /// A file on a disk goes bad: a map's segments, or a block.
    fn damage_segment(&mut self, machine: usize) {
        let blocks: Vec<_> = self.machines[machine].blocks.keys().copied().collect();
        if !blocks.is_empty() && self.ground.dice.chance(500) {
            let damaged = blocks[self.ground.dice.index(blocks.len())];
            self.ground.note(Fact::BlockDamaged);
            self.ground
                .say(|| format!("machine {machine} loses {damaged}"));
            self.machines[machine].blocks.remove(&damaged);
            return;
        }
        let segments: Vec<_> = self.machines[machine].disk.keys().copied().collect();
        if segments.is_empty() {
            return;
        }
        let damaged = segments[self.ground.dice.index(segments.len())];
        self.ground.note(Fact::SegmentDamaged);
        self.ground
            .say(|| format!("machine {machine} loses {damaged}"));
        self.machines[machine].disk.remove(&damaged);
    }

    fn drain_one(&mut self, machine: usize) {
        if let Some(worker) = self.worker_on(machine) {
            self.ground.note(Fact::WorkerDrained);
            self.drain(worker, true);
        }
    }

    fn recover(&mut self, machine: usize) {
        let recovering = &mut self.machines[machine];
        recovering.lies = false;
        recovering.sick = false;
        recovering.cut_from.clear();
        if let Some(worker) = self.worker_on(machine) {
            self.drain(worker, false);
        }
    }

    fn kill_all_machines(&mut self) {
        for machine in 0..self.machines.len() {
            let return_ms = self.ground.dice.within(2_000..=16_000);
            self.kill_machine(machine, return_ms);
        }
    }

    fn change_weather(&mut self) {
        self.ground.weather = self.draw_weather();
        let weather = self.ground.weather;
        self.ground.say(|| format!("{weather:?}"));
    }

    pub fn draw_weather(&mut self) -> Weather {
        let dice = &mut self.ground.dice;
        let mut some = |most: u64| {
            if dice.chance(600) {
                dice.below(most)
            } else {
                0
            }
        };
        Weather {
            loss: some(120),
            doubling: some(120),
            slowness: some(60),
            log: some(120),
        }
    }

    /// All faults go off. From here on every job must come to its end.
    pub fn on_heal(&mut self) {
        self.ground.say(|| "all faults off".to_owned());
        self.faulty = false;
        self.healed_at_ms = self.ground.now_ms;
        self.ground.weather = Weather::default();
        for master in 0..self.masters.len() {
            self.masters[master].clock_off_ms = 0;
            match self.masters[master].condition {
                Condition::Up => {}
                Condition::Frozen { .. } => {
                    self.masters[master].condition = Condition::Frozen { until_ms: 0 };
                    self.ground.after(1, Event::MasterReturns { master });
                }
                Condition::Down => self.ground.after(1, Event::MasterReturns { master }),
            }
            self.apply_soon(master);
        }
        for machine in 0..self.machines.len() {
            self.recover(machine);
            self.shorten_stall(machine);
            self.ground.after(500, Event::MachineReturns { machine });
        }
    }
}
