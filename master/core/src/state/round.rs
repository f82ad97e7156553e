//! One map-shuffle-reduce pass: its plan, its tasks, and what is suspected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vivat_shared::attempt::{InputFile, PartOutput, SplitRange};
use vivat_shared::cause::InputRange;
use vivat_shared::ids::{RoundId, WorkerEpoch, WorkerId};
use vivat_shared::size_code::SizeCode;

use super::column::ByteColumn;
use super::tasks::TaskTable;

/// A sealed plan. Never changes (S14), so clones of the state share it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// The input files.
    pub files: Vec<InputFile>,
    /// One for each map task.
    pub splits: Vec<SplitRange>,
    /// Bytes of all splits.
    pub input_bytes: u64,
}

/// The chunks that a plan attempt has sent so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlanDraft {
    /// Checksum of each chunk, to know a repeated one.
    pub chunks: Vec<u32>,
    /// Checksum of all chunks.
    pub crc32c: u32,
    /// Files so far.
    pub files: Vec<InputFile>,
    /// Splits so far.
    pub splits: Vec<SplitRange>,
    /// Bytes of all splits so far.
    pub input_bytes: u64,
    /// Bytes of all paths so far.
    pub name_bytes: u64,
}

/// A segment that a reducer could not have. While `probe_due`, the leader owes
/// a probe of the holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// The map attempt.
    pub number: u16,
    /// Who should have its segments.
    pub holder: WorkerEpoch,
    /// Workers that reported it.
    pub reporters: BTreeSet<WorkerId>,
    /// Partition and attempt of the reduces that wait for it.
    pub readers: BTreeMap<u32, u16>,
    /// Probes that found the segment whole since the second worker reported it.
    pub healthy: u8,
    /// A report was not yet answered by enough probes.
    pub probe_due: bool,
}

/// One round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Which.
    pub id: RoundId,
    /// Partitions.
    pub reducers: u32,
    /// The plan task.
    pub planning: TaskTable,
    /// Unsealed plans by attempt.
    pub drafts: BTreeMap<u16, PlanDraft>,
    /// The plan, once sealed.
    pub plan: Option<Arc<Plan>>,
    /// Map tasks; none before the plan.
    pub maps: TaskTable,
    /// Sizes of segments, `reducers` for each map task.
    pub sizes: ByteColumn,
    /// Reduce tasks; none before the plan.
    pub reduces: TaskTable,
    /// The close task; never granted in a step that does not close.
    pub close: TaskTable,
    /// The cluster's age when it began.
    pub began_age_ms: u64,
    /// What the accepted reduce attempts wrote.
    pub outputs: Vec<PartOutput>,
    /// By map task.
    pub suspicions: BTreeMap<u32, Suspicion>,
    /// Where a reduce would best run, because a segment is known to be there.
    pub preferred: BTreeMap<u32, WorkerId>,
    /// The number after which attempts are counted.
    pub numbers_from: u16,
}

impl Round {
    pub(crate) fn new(id: RoundId, reducers: u32, age_ms: u64, numbers_from: u16) -> Self {
        Self {
            id,
            reducers,
            planning: TaskTable::new(1, numbers_from),
            drafts: BTreeMap::new(),
            plan: None,
            maps: TaskTable::default(),
            sizes: ByteColumn::default(),
            reduces: TaskTable::default(),
            close: TaskTable::new(1, numbers_from),
            began_age_ms: age_ms,
            outputs: Vec::new(),
            suspicions: BTreeMap::new(),
            preferred: BTreeMap::new(),
            numbers_from,
        }
    }

    /// Makes the sealed plan the round's, and its tasks with it.
    pub(crate) fn start(&mut self, plan: Arc<Plan>) {
        let splits = u32::try_from(plan.splits.len()).unwrap_or(u32::MAX);
        self.maps = TaskTable::new(splits, self.numbers_from);
        self.sizes = ByteColumn::zeros(plan.splits.len() * self.reducers as usize);
        self.reduces = TaskTable::new(self.reducers, self.numbers_from);
        self.outputs = vec![PartOutput::default(); self.reducers as usize];
        self.plan = Some(plan);
        self.drafts.clear();
    }

    /// The round after it in its step: the same plan, nothing done.
    pub(crate) fn next(&self, age_ms: u64) -> Self {
        let number = self.id.round;
        let id = RoundId {
            // A round that is committed is done once more.
            round: if cfg!(vivat_seeded_bug = "repeated-round") {
                number
            } else {
                number + 1
            },
            ..self.id
        };
        let mut next = Self::new(id, self.reducers, age_ms, self.numbers_from);
        if let Some(plan) = &self.plan {
            next.start(Arc::clone(plan));
        }
        next
    }

    /// Whether the segments of completed maps are still wanted by some reduce.
    #[must_use]
    pub fn needs_segments(&self) -> bool {
        self.plan.is_some() && !self.reduces.all_completed()
    }

    /// Whether a reduce may be granted: something can be fetched, or will be soon,
    /// because no map waits for a worker any more.
    #[must_use]
    pub fn may_fetch(&self) -> bool {
        let maps = self.maps.counts();
        maps.completed > 0 || maps.idle == 0
    }

    /// Whether a map wrote anything for some reduce. One that did not is done wherever
    /// its worker is.
    pub(crate) fn has_segments(&self, map: u32) -> bool {
        self.sizes_of(map).iter().any(|size| *size != 0)
    }

    /// Where the sizes of a map task's segments are.
    fn size_range(&self, map: u32) -> std::ops::Range<usize> {
        let start = map as usize * self.reducers as usize;
        start..start + self.reducers as usize
    }

    /// Recorded sizes of a map task's segments.
    pub(crate) fn sizes_of(&self, map: u32) -> &[u8] {
        self.sizes.get(self.size_range(map)).unwrap_or(&[])
    }

    pub(crate) fn set_sizes(&mut self, map: u32, segments: &[SizeCode]) {
        let range = self.size_range(map);
        for (size, segment) in self.sizes[range].iter_mut().zip(segments) {
            *size = segment.0;
        }
    }

    /// What a map task reads.
    #[must_use]
    pub fn input_range(&self, map: u32) -> Option<InputRange> {
        let plan = self.plan.as_ref()?;
        let split = plan.splits.get(map as usize)?;
        let file = plan.files.get(split.file as usize)?;
        Some(InputRange {
            path: file.display.clone(),
            offset: split.offset,
            bytes: split.bytes,
        })
    }
}
