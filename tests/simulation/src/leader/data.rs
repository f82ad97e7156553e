//! What a leader does about datasets, modelled after `vivat_master::leader::data`.

use std::collections::BTreeMap;

use vivat_core::State;
use vivat_core::command::{Command, DataCommand};
use vivat_core::placement::{self, CopyBounds, CopyOrder, DiskView, Report, Wish};
use vivat_shared::dataset::BlockSummary;
use vivat_shared::ids::{BlockId, DatasetId, WorkerEpoch, WorkerId};

use super::{Purpose, Question};
use crate::event::{CallId, Caller, LeaderTimer, MasterAt, Request, Response};
use crate::evidence::Fact;
use crate::jobs::SPLIT_BYTES;
use crate::world::World;

/// After which a dataset that nobody writes is given up.
const OPEN_IDLE_MS: u64 = 8_000;
const BOUNDS: CopyBounds = CopyBounds {
    orders_max: 4,
    to_one_max: 2,
};
/// Room on every disk.
const DISK_FREE: u64 = 1_000_000;

/// Soft state.
#[derive(Debug, Default)]
pub(super) struct Desk {
    touched: BTreeMap<DatasetId, u64>,
    pub(super) copying: BTreeMap<BlockId, WorkerId>,
    turn: u64,
}

impl World {
    /// Answers where a block should go.
    pub(super) fn place_block(&mut self, at: MasterAt, call: CallId, to: Caller, body: &Request) {
        let Request::PlaceBlock { dataset, avoid } = body else {
            return;
        };
        self.touch(at, *dataset);
        let master = &mut self.masters[at];
        let Some(leader) = master.leader.as_mut() else {
            return;
        };
        leader.data.turn += 1;
        let wish = Wish {
            count: 1,
            replicas: 2,
            block_bytes: SPLIT_BYTES,
            avoid,
            near_host: None,
            turn: leader.data.turn,
        };
        let hops = placement::place(&master.state, &view(&master.state), &wish);
        self.answer(call, to, Response::Place(hops.concat()));
    }

    pub(super) fn touch(&mut self, at: MasterAt, dataset: DatasetId) {
        let now_ms = self.ground.now_ms;
        if let Some(leader) = self.masters[at].leader.as_mut() {
            leader.data.touched.insert(dataset, now_ms);
        }
    }

    /// Gives up what nobody writes, and orders copies.
    pub(super) fn do_data(&mut self, at: MasterAt) {
        let now_ms = self.ground.now_ms;
        let master = &mut self.masters[at];
        let Some(leader) = master.leader.as_mut() else {
            return;
        };
        let (term, opening) = (leader.term, leader.opening);
        let mut idle = Vec::new();
        for dataset in master.state.directory().open() {
            let since_ms = leader.data.touched.entry(dataset).or_insert(now_ms);
            if now_ms - *since_ms >= OPEN_IDLE_MS {
                *since_ms = now_ms;
                idle.push(DataCommand::AbandonDataset { dataset, term }.into());
            }
        }
        let copying = &mut leader.data.copying;
        let room = BOUNDS.orders_max.saturating_sub(copying.len());
        let bounds = CopyBounds {
            orders_max: room,
            ..BOUNDS
        };
        let orders = placement::replication(&master.state, &view(&master.state), copying, bounds);
        for order in &orders {
            copying.insert(order.block.id, order.to);
        }
        let epochs: Vec<_> = orders
            .iter()
            .map(|order| master.state.current_epoch(order.to))
            .collect();
        for (order, epoch) in orders.into_iter().zip(epochs) {
            let delay_ms = self.ground.dice.within(10..=400);
            if let Some(epoch) = epoch {
                let worker = WorkerEpoch {
                    worker: order.to,
                    epoch,
                };
                let timer = LeaderTimer::Copied { order, worker };
                self.leader_timer(delay_ms, at, opening, timer);
            }
        }
        if !idle.is_empty() {
            self.ground.note(Fact::UploadGivenUp);
            self.submit(at, Purpose::Abandon, idle);
        }
    }

    /// A copy is made, if both ends still answer.
    pub(super) fn copied(&mut self, at: MasterAt, order: CopyOrder, worker: WorkerEpoch) {
        let id = order.block.id;
        let from = self.machine_of(order.from).filter(|on| self.answers(*on));
        let to = self.machine_of(order.to).filter(|on| self.answers(*on));
        let found = from.and_then(|from| self.machines[from].blocks.get(&id).copied());
        if let (Some(to), Some(found)) = (to, found) {
            self.ground.note(Fact::BlockCopied);
            self.machines[to].blocks.insert(id, found);
            let blocks = vec![found];
            let add = DataCommand::AddReplicas { worker, blocks };
            self.submit(at, Purpose::Copy(id), vec![add.into()]);
        } else if let Some(leader) = self.masters[at].leader.as_mut() {
            leader.data.copying.remove(&id);
        }
    }

    /// A page of what a worker has on its disk.
    pub(super) fn blocks_reported(
        &mut self,
        at: MasterAt,
        (call, to): (CallId, Caller),
        worker: WorkerEpoch,
        (after, blocks, last): (Option<BlockId>, Vec<BlockSummary>, bool),
    ) {
        let state = &self.masters[at].state;
        let report = placement::compare_report(state, worker.worker, after, &blocks, last);
        let Report {
            add,
            drop,
            surplus,
            gone,
            unknown: _,
        } = report;
        let mut commands: Vec<Command> = Vec::new();
        if !add.is_empty() {
            commands.push(
                DataCommand::AddReplicas {
                    worker,
                    blocks: add,
                }
                .into(),
            );
        }
        for (blocks, surplus) in [(drop, false), (surplus.clone(), true)] {
            if !blocks.is_empty() {
                let drop = DataCommand::DropReplicas {
                    worker,
                    blocks,
                    surplus,
                };
                commands.push(drop.into());
            }
        }
        let remove = gone.into_iter().chain(surplus).collect();
        let to_what = Question::Blocks { worker, remove };
        if commands.is_empty() {
            let Question::Blocks { worker, remove } = to_what else {
                return;
            };
            let body = self.block_orders(at, worker, remove);
            self.answer(call, to, body);
            return;
        }
        let purpose = Purpose::Answer { call, to, to_what };
        self.submit(at, purpose, commands);
    }

    /// Which of these a worker may delete: only who leads now says so, from all
    /// that is decided.
    pub(super) fn block_orders(
        &self,
        at: MasterAt,
        worker: WorkerEpoch,
        remove: Vec<BlockId>,
    ) -> Response {
        let state = &self.masters[at].state;
        let behind = state.applied_index() < self.raft.log.len() as u64;
        if !remove.is_empty() && (behind || !self.is_confirmed(at)) {
            return Response::NotLeader { hint: None };
        }
        let may_go = |block: &BlockId| {
            state.is_gone(block.dataset)
                || (state.directory().get(block.dataset).is_some()
                    && !placement::is_listed(state, *block, worker.worker))
        };
        Response::BlockOrders(remove.into_iter().filter(may_go).collect())
    }
}

fn view(state: &State) -> DiskView {
    DiskView {
        free: state
            .workers()
            .map(|worker| (worker.id, DISK_FREE))
            .collect(),
    }
}
