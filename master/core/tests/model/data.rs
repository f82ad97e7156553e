//! Steps about datasets and values.

use std::collections::BTreeMap;

use vivat_core::command::{Command, DataCommand, Event, Rejection, Reply};
use vivat_core::placement::{self, DiskView, Wish};
use vivat_core::state::{Dataset, HandedOn, Job};
use vivat_shared::attempt::{ClosedBroadcast, Outcome, PlanChunk};
use vivat_shared::dataset::{BlockSummary, ReplicatedBlock, output_block};
use vivat_shared::ids::{AttemptId, BlockId, DatasetId, JobId, TaskKind, WorkerEpoch, WorkerId};

use crate::build;
use crate::world::{World, pick};

/// Names that datasets have, and outputs are given.
const NAMES: [&str; 4] = ["set-0", "set-1", "set-2", "set-3"];
/// Bytes of every block.
const BLOCK_BYTES: u64 = 10;

impl World {
    /// What a job reads and writes, besides paths.
    pub fn data_options(dice: [u16; 4]) -> BTreeMap<&'static str, &'static str> {
        let mut options = BTreeMap::new();
        let inputs = [
            "vivat://set-0",
            "vivat://set-1,/in,vivat://set-1",
            "vivat://set-2",
        ];
        if dice[3].is_multiple_of(2) {
            options.insert("inputs", inputs[usize::from(dice[1] % 3)]);
        }
        let outputs = ["-", "set-0", "set-3", "set-1"];
        if dice[2].is_multiple_of(2) {
            options.insert("dataset", outputs[usize::from(dice[3] / 2 % 4)]);
            if !dice[3].is_multiple_of(3) {
                options.insert("overwrite", "");
            }
        }
        options
    }

    /// The steps of a job: a third of them have several, or some that repeat.
    pub fn step_options(options: &mut BTreeMap<&str, &str>, dice: [u16; 4]) {
        if !dice[3].is_multiple_of(3) {
            return;
        }
        let steps = ["1", "2", "3"];
        let rounds = ["3", "-,2,1", "2,-,3", "1,3", "-,-,2"];
        let reads = ["job,previous,job", "job,job,previous"];
        options.insert("steps", steps[usize::from(dice[3] / 3 % 3)]);
        options.insert("rounds", rounds[usize::from(dice[3] / 9 % 5)]);
        options.insert("reads", reads[usize::from(dice[3] / 45 % 2)]);
    }

    fn some_open(&self, dice: u16) -> Option<DatasetId> {
        let open: Vec<DatasetId> = self.state().directory().open().collect();
        pick(&open, dice).copied()
    }

    /// Opens a dataset, and mostly writes and seals it at once.
    pub fn put(&mut self, dice: [u16; 4]) {
        let key = format!("put-{}", dice[0] % 8);
        let name = NAMES[usize::from(dice[1]) % NAMES.len()];
        let spec = build::dataset(name, u8::try_from(dice[2] % 3 + 1).unwrap());
        let open = Command::from(DataCommand::OpenDataset { key, spec });
        let reply = self.one(open.clone());
        assert_eq!(self.one(open), reply, "S5");
        let Reply::Dataset { dataset, .. } = reply else {
            return;
        };
        self.append(dataset, dice);
        if !dice[3].is_multiple_of(4) {
            self.seal(dataset);
        }
    }

    /// Goes on with a dataset that is open.
    pub fn go_on_putting(&mut self, dice: [u16; 4]) {
        let Some(dataset) = self.some_open(dice[0]) else {
            return;
        };
        if dice[1].is_multiple_of(2) {
            self.append(dataset, dice);
        } else {
            self.seal(dataset);
        }
    }

    fn append(&mut self, dataset: DatasetId, dice: [u16; 4]) {
        let there = self
            .state()
            .directory()
            .get(dataset)
            .map_or(0, |known| known.blocks.len());
        // Some are there already, and rarely some are missing before them.
        let first = (there + u32::from(dice[0] % 4 == 1)).saturating_sub(u32::from(dice[1] % 2));
        let blocks: Vec<ReplicatedBlock> = (first..first + u32::from(dice[2] % 4))
            .map(|index| {
                let index = u64::from(index);
                let workers = [u32::from(dice[3] % 6), u32::from(dice[1] % 5)];
                build::block(BlockId { dataset, index }, BLOCK_BYTES, &workers)
            })
            .collect();
        let append = Command::from(DataCommand::AppendBlocks {
            dataset,
            first,
            blocks,
        });
        let replies = self.propose(vec![append.clone(), append]).replies;
        assert_eq!(replies[0], replies[1], "S5");
    }

    fn seal(&mut self, dataset: DatasetId) {
        let Some(known) = self.state().directory().get(dataset) else {
            return;
        };
        let (blocks, bytes) = (known.blocks.len(), known.blocks.bytes_before(u32::MAX));
        let seal = build::seal(blocks, bytes);
        let seal = Command::from(DataCommand::SealDataset { dataset, seal });
        let replies = self.propose(vec![seal.clone(), seal]).replies;
        assert_eq!(replies[0], replies[1], "S5");
        if matches!(replies[0], Reply::Dataset { .. }) {
            self.seen.insert("dataset sealed");
        }
    }

    pub fn remove_dataset(&mut self, dice: [u16; 4], term: u64) {
        if dice[0].is_multiple_of(2) {
            let dataset = self.some_open(dice[1]);
            let dataset = dataset.unwrap_or(DatasetId(u64::from(dice[2] % 9)));
            self.one(DataCommand::AbandonDataset { dataset, term }.into());
            return;
        }
        let name = NAMES[usize::from(dice[1]) % NAMES.len()].to_owned();
        let named = self.state().directory().named(&name);
        let dataset = named.map_or(DatasetId(u64::from(dice[2] % 9)), |named| named.id);
        let when_unread = dice[3].is_multiple_of(3);
        let remove = DataCommand::RemoveDataset {
            name,
            dataset,
            when_unread,
        };
        let reply = self.one(remove.into());
        if matches!(reply, Reply::Rejected(Rejection::DatasetInUse { .. })) {
            self.seen.insert("dataset in use");
        }
    }

    /// A page of a worker's report: some blocks of what there is.
    pub fn report_blocks(&mut self, dice: [u16; 4]) {
        let worker = self.some_worker(dice);
        let every = usize::from(dice[2] % 3 + 1);
        let blocks: Vec<BlockSummary> = self
            .state()
            .directory()
            .iter()
            .flat_map(|known| {
                (0..known.blocks.len()).filter_map(|at| known.blocks.summary(known.id, at))
            })
            .step_by(every)
            .map(|mut block| {
                block.crc32c += u32::from(dice[3].is_multiple_of(16));
                block
            })
            .collect();
        let report = placement::compare_report(self.state(), worker.worker, None, &blocks, true);
        let drop = |blocks, surplus| {
            Command::from(DataCommand::DropReplicas {
                worker,
                blocks,
                surplus,
            })
        };
        let before = self.counted_on();
        let commands = vec![drop(report.surplus, true)];
        self.propose(commands);
        assert!(
            self.counted_on() >= before,
            "S15: a copy that counts was given up"
        );
        let add = DataCommand::AddReplicas {
            worker,
            blocks: report.add,
        };
        self.propose(vec![add.into(), drop(report.drop, false)]);
    }

    /// For each block of a sealed dataset, lasting holders up to those wanted.
    fn counted_on(&self) -> usize {
        let state = self.state();
        let sealed = state
            .directory()
            .iter()
            .filter(|known| known.sealed.is_some());
        sealed
            .flat_map(|known| {
                let wanted = usize::from(known.spec.replicas);
                let lasting = move |workers: &[WorkerId]| {
                    vivat_core::query::lasting_holders(state, workers).min(wanted)
                };
                known
                    .blocks
                    .rows()
                    .iter()
                    .map(move |row| lasting(&row.workers))
            })
            .sum()
    }

    /// Copies that a worker lost, of datasets and of outputs.
    pub fn lose_blocks(&mut self, dice: [u16; 4]) {
        let worker = self.some_worker(dice);
        let outputs = self.state().jobs().filter_map(Job::active);
        let outputs = outputs
            .filter_map(|active| active.output.as_ref())
            .flat_map(|output| output.parts.values().flatten())
            .map(|block| block.summary.id);
        let datasets = self.state().directory().iter().flat_map(|known| {
            (0..known.blocks.len()).filter_map(|at| known.blocks.summary(known.id, at))
        });
        let blocks: Vec<BlockId> = datasets
            .map(|block| block.id)
            .chain(outputs)
            .skip(usize::from(dice[2] % 3))
            .step_by(usize::from(dice[3] % 3 + 1))
            .collect();
        let surplus = dice[0].is_multiple_of(4);
        let applied = self.propose(vec![
            DataCommand::DropReplicas {
                worker,
                blocks,
                surplus,
            }
            .into(),
        ]);
        let idle = |event: &Event| matches!(event, Event::TaskIdle { .. });
        if applied.events.iter().any(idle) {
            self.seen.insert("output lost");
        }
    }

    pub fn write_value(&mut self, dice: [u16; 4]) {
        let (key, name) = (format!("value-{}", dice[0]), format!("v{}", dice[1] % 3));
        let expect_version = (!dice[2].is_multiple_of(3)).then(|| {
            let there = self.state().values().get(&name);
            there.map_or(0, |value| value.version) + u64::from(dice[2] % 3 == 1)
        });
        let command = if dice[3].is_multiple_of(3) {
            DataCommand::RemoveValue {
                key,
                name,
                expect_version,
            }
        } else {
            DataCommand::PutValue {
                key,
                name,
                value: vec![1; usize::from(dice[3] % 9)],
                expect_version,
            }
        };
        let first = self.one(command.clone().into());
        let again = self.one(command.into());
        if !matches!(first, Reply::Rejected(_)) {
            assert_eq!(again, first, "S5");
        }
    }

    /// Where the leader would put blocks: lasting workers, each once in a pipeline.
    pub fn place(&mut self, dice: [u16; 4]) {
        let free = self
            .state()
            .workers()
            .map(|worker| (worker.id, u64::from(dice[worker.id.0 as usize % 4] % 50)))
            .collect();
        let view = DiskView { free };
        let avoid = [WorkerId(u32::from(dice[0] % 5))].into();
        let wish = Wish {
            count: usize::from(dice[1] % 6),
            replicas: usize::from(dice[2] % 4),
            block_bytes: BLOCK_BYTES,
            avoid: &avoid,
            near_host: Some("here"),
            turn: u64::from(dice[3]),
        };
        for hops in placement::place(self.state(), &view, &wish) {
            let known = |hop: &WorkerId| self.state().worker(*hop).unwrap().accepts_work();
            let mut once = hops.clone();
            once.sort_unstable();
            once.dedup();
            assert!(!hops.is_empty() && hops.iter().all(known) && once.len() == hops.len());
            assert!(hops.len() <= wish.replicas && !hops.iter().any(|hop| avoid.contains(hop)));
        }
        let bounds = placement::CopyBounds {
            orders_max: 5,
            to_one_max: 2,
        };
        let orders = placement::replication(self.state(), &view, &BTreeMap::new(), bounds);
        assert!(orders.len() <= bounds.orders_max);
        for order in orders {
            let worker = |id| self.state().worker(id).unwrap();
            assert!(worker(order.to).accepts_work() && worker(order.from).is_registered());
            assert!(placement::is_listed(
                self.state(),
                order.block.id,
                order.from
            ));
            assert!(!placement::is_listed(
                self.state(),
                order.block.id,
                order.to
            ));
        }
    }

    /// What a plan attempt finds: the job's datasets, each as one file, then paths.
    pub fn plan_chunks(&self, job: JobId, count: u16) -> Vec<PlanChunk> {
        let datasets = self.state().job(job).map_or(&[][..], |job| &job.datasets);
        (0..u32::from(count))
            .map(|file| {
                let read = datasets.get(file as usize).copied();
                let known = read.and_then(|read| self.state().directory().get(read));
                known.map_or_else(
                    || build::chunk(file % 3, file),
                    |known| build::dataset_chunk(known.id, 0, known.blocks.len(), file),
                )
            })
            .collect()
    }

    /// What a reduce attempt wrote; with blocks if it wrote into a dataset.
    pub fn reduced(&self, attempt: AttemptId, worker: WorkerEpoch, size: u16) -> Outcome {
        let active = self.state().job(attempt.job()).and_then(Job::active);
        let Some(output) = active.and_then(|active| active.output.as_ref()) else {
            return build::reduced(u64::from(size), Vec::new());
        };
        let others = [worker.worker.0, u32::from(size) + 1];
        let block = |number| {
            let id = output_block(output.dataset, attempt.task.index, attempt.number, number);
            build::block(id, BLOCK_BYTES, &others[..usize::from(size % 2) + 1])
        };
        let blocks: Vec<ReplicatedBlock> = (0..size % 3).map(block).collect();
        build::reduced(blocks.len() as u64 * BLOCK_BYTES, blocks)
    }

    /// What a close attempt says: nothing, a little, or so much that it is stored.
    pub fn closed(&self, attempt: AttemptId, worker: WorkerEpoch, size: u16) -> Outcome {
        let again = !size.is_multiple_of(3);
        let active = self.state().job(attempt.job()).and_then(Job::active);
        let place = active.and_then(|active| Some((active.close_output?, active.round().reducers)));
        let broadcast = match place {
            Some((dataset, partition)) if size.is_multiple_of(2) => {
                let holders = [worker.worker.0, u32::from(size) + 1];
                let block = |number| {
                    let id = output_block(dataset, partition, attempt.number, number);
                    build::block(id, BLOCK_BYTES, &holders)
                };
                ClosedBroadcast::Stored((0..=size / 4).map(block).collect())
            }
            Some(_) | None => ClosedBroadcast::Inline(vec![7; usize::from(size / 3)]),
        };
        build::closed(broadcast, again, Some(&"0.5"))
    }

    /// Notes what became of a job's rounds after an attempt ended.
    pub fn note_rounds(&mut self, attempt: AttemptId) {
        let ended = attempt.task.round;
        let Some(job) = self.state().job(attempt.job()) else {
            return;
        };
        let closed = job
            .history
            .rounds()
            .any(|round| round == (ended.step, ended.round));
        let mut reached = Vec::new();
        if attempt.task.kind == TaskKind::Close && closed {
            reached.push("round closed");
        }
        if let Some(active) = job.active() {
            let now = active.round().id;
            if now.step > ended.step {
                reached.push("step passed");
            }
            if now.step == ended.step && now.round > ended.round {
                reached.push("round repeated");
            }
            if let HandedOn::Stored(_) = active.handed_on {
                reached.push("broadcast stored");
            }
        }
        self.seen.extend(reached);
    }

    /// Notes what became of outputs.
    pub fn note_outputs(&mut self, events: &[Event]) {
        for event in events {
            let Event::DatasetChanged { dataset } = event else {
                continue;
            };
            let known = self.state().directory().get(*dataset);
            let reached = match known.map(|known| (known.job, &known.sealed)) {
                None => "dataset gone",
                Some((Some(_), Some(_))) => "output visible",
                Some(_) => "dataset changed",
            };
            self.seen.insert(reached);
        }
        let replaced = |known: &Dataset| known.sealed.as_ref().is_some_and(|seal| !seal.named);
        if self.state().directory().iter().any(replaced) {
            self.seen.insert("read dataset replaced");
        }
    }
}
