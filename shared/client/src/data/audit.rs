//! Whether the directory and the disks agree, both ways.
//!
//! Every block is looked for on every worker that the directory names, every
//! block on a disk is looked for in the directory, and every copy is read whole.
//! The two are asked one after the other while others go on writing, so a
//! difference counts only when a second look finds it again; damage counts at
//! once, because the worker drops what it finds damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use vivat_proto::v1::error_detail::Kind;
use vivat_shared::dataset::{BlockSummary, Holder};
use vivat_shared::ids::{BlockId, DatasetId, WorkerId};
use vivat_shared::view::WorkerState;

use super::directory::DatasetView;
use super::error::{BlockProblem, DataError};
use super::workers::Workers;
use crate::error::ClientError;
use crate::leader::LeaderClient;

/// Before the second look: what was under way is done by then, mostly.
const LOOK_PAUSE: Duration = Duration::from_secs(2);
/// What a worker reads in one call, so that each call has an end.
const VERIFIED_BYTES: u64 = 256 * 1024 * 1024;
const VERIFIED_BLOCKS: usize = 256;

/// In what way directory and disks do not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// The directory names a copy that is not there.
    Missing,
    /// A copy whose bytes are not what they were.
    Damaged,
    /// Another block under the same name.
    Differing,
    /// A copy that the directory does not know of.
    Unknown,
    /// Fewer copies than wanted.
    Short,
    /// No copy on any worker that is there.
    Lost,
    /// A worker that could not be asked.
    Unreachable,
}

impl DifferenceKind {
    /// One word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Differing => "differing",
            Self::Unknown => "unknown",
            Self::Short => "short",
            Self::Lost => "lost",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Something on which directory and disks do not agree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// In what way.
    pub kind: DifferenceKind,
    /// Name of the dataset, where one is known.
    pub dataset: Option<String>,
    /// The block, but for a worker that could not be asked.
    pub block: Option<BlockId>,
    /// The worker, where one is to blame.
    pub worker: Option<WorkerId>,
    /// More on it.
    pub problem: String,
}

/// What was compared, and what did not agree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Datasets in the directory.
    pub datasets: u64,
    /// Their blocks.
    pub blocks: u64,
    /// Copies that were read whole.
    pub copies: u64,
    /// Their bytes.
    pub bytes: u64,
    /// In the order of kinds.
    pub differences: Vec<Difference>,
}

/// A block as the directory has it.
struct Expected {
    dataset: String,
    replicas: usize,
    summary: BlockSummary,
    holders: Vec<Holder>,
    lost_holders: Vec<WorkerId>,
}

type Directory = BTreeMap<BlockId, Expected>;
type Disk = BTreeMap<BlockId, BlockSummary>;

/// One look at both sides.
struct Look {
    datasets: u64,
    directory: Directory,
    differences: BTreeSet<Difference>,
}

/// Compares the directory with the disks: all datasets, or one.
///
/// # Errors
///
/// The leader's. A worker that cannot be asked is a difference.
pub async fn audit(
    client: &LeaderClient,
    workers: &Workers,
    only: Option<&str>,
) -> Result<Audit, DataError> {
    let auditor = Auditor {
        client,
        workers,
        only,
    };
    let first = auditor.look().await?;
    let (mut audit, mut differences) = auditor.verify(&first.directory).await;
    audit.datasets = first.datasets;
    audit.blocks = first.directory.len() as u64;
    if !first.differences.is_empty() {
        tokio::time::sleep(LOOK_PAUSE).await;
        let second = auditor.look().await?;
        let both = first.differences.intersection(&second.differences);
        differences.extend(both.cloned());
    }
    audit.differences = differences.into_iter().collect();
    Ok(audit)
}

struct Auditor<'a> {
    client: &'a LeaderClient,
    workers: &'a Workers,
    only: Option<&'a str>,
}

impl Auditor<'_> {
    async fn look(&self) -> Result<Look, DataError> {
        let datasets = match self.only {
            Some(name) => vec![self.client.get_dataset(name).await?.0],
            None => self.client.list_datasets().await?,
        };
        let directory = self.directory(&datasets).await?;
        let mut differences = BTreeSet::new();
        let mut disks: BTreeMap<WorkerId, Disk> = BTreeMap::new();
        let holders = self.registered().await?;
        let listed = join_all(holders.iter().map(|holder| self.disk(holder, &datasets))).await;
        for (holder, disk) in holders.iter().zip(listed) {
            match disk {
                Ok(disk) => {
                    disks.insert(holder.worker, disk);
                }
                Err(problem) => {
                    differences.insert(unreachable(holder.worker, &problem));
                }
            }
        }
        for expected in directory.values() {
            compare(expected, &disks, &mut differences);
        }
        self.find_unknown(&directory, &disks, &mut differences)
            .await?;
        Ok(Look {
            datasets: datasets.len() as u64,
            directory,
            differences,
        })
    }

    async fn directory(&self, datasets: &[DatasetView]) -> Result<Directory, DataError> {
        let mut directory = Directory::new();
        for dataset in datasets {
            let blocks = match self.client.list_all_blocks(dataset.id).await {
                Ok(blocks) => blocks,
                // Removed since it was listed.
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            directory.extend(blocks.into_iter().map(|block| {
                let expected = Expected {
                    dataset: dataset.name.clone(),
                    replicas: dataset.replicas as usize,
                    summary: block.summary,
                    holders: block.holders,
                    lost_holders: block.lost_holders,
                };
                (block.summary.id, expected)
            }));
        }
        Ok(directory)
    }

    async fn registered(&self) -> Result<Vec<Holder>, ClientError> {
        let nodes = self.client.list_workers().await?;
        let there = nodes.into_iter().filter(|node| match node.worker.state {
            WorkerState::Live | WorkerState::Draining => true,
            WorkerState::Lost => false,
        });
        let holder = |node: crate::cluster::NodeView| Holder {
            worker: node.worker.worker_id,
            address: node.worker.address,
        };
        Ok(there.map(holder).collect())
    }

    /// What a worker has on its disk; of one dataset when one is meant.
    async fn disk(&self, holder: &Holder, datasets: &[DatasetView]) -> Result<Disk, BlockProblem> {
        let only = self.only.and_then(|_| datasets.first()).map(|one| one.id);
        let mut after = only.and_then(before);
        let mut disk = Disk::new();
        loop {
            let (page, more) = self.workers.list_held(holder, after).await?;
            let ends = !more || page.is_empty();
            for block in page {
                after = Some(block.id);
                if only.is_some_and(|only| block.id.dataset > only) {
                    return Ok(disk);
                }
                if only.is_none_or(|only| block.id.dataset == only) {
                    disk.insert(block.id, block);
                }
            }
            if ends {
                return Ok(disk);
            }
        }
    }

    /// Copies that the directory does not know of, but for those of datasets that
    /// are being written.
    async fn find_unknown(
        &self,
        directory: &Directory,
        disks: &BTreeMap<WorkerId, Disk>,
        differences: &mut BTreeSet<Difference>,
    ) -> Result<(), DataError> {
        let mut being_written: BTreeMap<DatasetId, bool> = BTreeMap::new();
        for (worker, disk) in disks {
            for id in disk.keys() {
                let expected = directory.get(id);
                let is_known = expected.is_some_and(|expected| {
                    let mut holders = expected.holders.iter();
                    holders.any(|holder| holder.worker == *worker)
                });
                if is_known {
                    continue;
                }
                let is_written = match being_written.get(&id.dataset) {
                    Some(known) => *known,
                    None => {
                        let is_written = self.is_being_written(id.dataset).await?;
                        being_written.insert(id.dataset, is_written);
                        is_written
                    }
                };
                if !is_written {
                    differences.insert(Difference {
                        kind: DifferenceKind::Unknown,
                        dataset: expected.map(|expected| expected.dataset.clone()),
                        block: Some(*id),
                        worker: Some(*worker),
                        problem: "the directory does not know of this copy".to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    async fn is_being_written(&self, dataset: DatasetId) -> Result<bool, DataError> {
        match self.client.get_dataset_by_id(dataset).await {
            Ok((view, _)) => Ok(!view.sealed),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Has every worker read its copies.
    async fn verify(&self, directory: &Directory) -> (Audit, BTreeSet<Difference>) {
        let mut by_holder: BTreeMap<WorkerId, (Holder, Vec<&Expected>)> = BTreeMap::new();
        for expected in directory.values() {
            for holder in &expected.holders {
                let entry = by_holder.entry(holder.worker);
                let (_, blocks) = entry.or_insert_with(|| (holder.clone(), Vec::new()));
                blocks.push(expected);
            }
        }
        let verified = by_holder
            .values()
            .map(|(holder, blocks)| self.verify_on(holder, blocks));
        let mut audit = Audit::default();
        let mut differences = BTreeSet::new();
        for (copies, bytes, found) in join_all(verified).await {
            audit.copies += copies;
            audit.bytes += bytes;
            differences.extend(found);
        }
        (audit, differences)
    }

    async fn verify_on(
        &self,
        holder: &Holder,
        blocks: &[&Expected],
    ) -> (u64, u64, Vec<Difference>) {
        let (mut copies, mut bytes) = (0, 0);
        let mut found = Vec::new();
        for batch in batches(blocks) {
            let ids: Vec<BlockId> = batch.iter().map(|block| block.summary.id).collect();
            let answer = match self.workers.verify(holder, &ids).await {
                Ok(answer) => answer,
                Err(problem) => {
                    found.push(unreachable(holder.worker, &problem));
                    break;
                }
            };
            let by_id: BTreeMap<BlockId, _> = answer
                .into_iter()
                .filter_map(|one| Some((BlockId::from(one.block?), (one.summary, one.problem))))
                .collect();
            for expected in batch {
                let Some((summary, problem)) = by_id.get(&expected.summary.id) else {
                    continue;
                };
                let summary = summary.and_then(|summary| BlockSummary::try_from(summary).ok());
                match summary {
                    Some(summary) if summary == expected.summary => {
                        copies += 1;
                        bytes += summary.bytes;
                    }
                    // That it has another one is found by its list.
                    Some(_) => {}
                    None => found.push(Difference {
                        kind: DifferenceKind::Damaged,
                        dataset: Some(expected.dataset.clone()),
                        block: Some(expected.summary.id),
                        worker: Some(holder.worker),
                        problem: problem.clone(),
                    }),
                }
            }
        }
        (copies, bytes, found)
    }
}

/// One block against the disks.
fn compare(
    expected: &Expected,
    disks: &BTreeMap<WorkerId, Disk>,
    differences: &mut BTreeSet<Difference>,
) {
    let id = expected.summary.id;
    let mut add = |kind, worker, problem| {
        differences.insert(Difference {
            kind,
            dataset: Some(expected.dataset.clone()),
            block: Some(id),
            worker,
            problem,
        });
    };
    for holder in &expected.holders {
        let Some(disk) = disks.get(&holder.worker) else {
            continue;
        };
        match disk.get(&id) {
            None => add(
                DifferenceKind::Missing,
                Some(holder.worker),
                "the directory names this copy, and it is not there".to_owned(),
            ),
            Some(found) if *found != expected.summary => add(
                DifferenceKind::Differing,
                Some(holder.worker),
                format!(
                    "it has {} bytes with checksum {:08x}, and should have {} with {:08x}",
                    found.bytes, found.crc32c, expected.summary.bytes, expected.summary.crc32c
                ),
            ),
            Some(_) => {}
        }
    }
    let lost: Vec<String> = expected
        .lost_holders
        .iter()
        .map(ToString::to_string)
        .collect();
    let lost = match lost.as_slice() {
        [] => String::new(),
        lost => format!("; {} had it and is lost", lost.join(", ")),
    };
    match expected.holders.len() {
        0 => add(
            DifferenceKind::Lost,
            None,
            format!("no worker that is there has it{lost}"),
        ),
        some if some < expected.replicas => add(
            DifferenceKind::Short,
            None,
            format!("{some} of {} copies{lost}", expected.replicas),
        ),
        _ => {}
    }
}

fn unreachable(worker: WorkerId, problem: &BlockProblem) -> Difference {
    Difference {
        kind: DifferenceKind::Unreachable,
        dataset: None,
        block: None,
        worker: Some(worker),
        problem: problem.to_string(),
    }
}

/// Blocks in groups that each take a bounded time.
fn batches<'a, 'b>(blocks: &'b [&'a Expected]) -> Vec<&'b [&'a Expected]> {
    let mut groups = Vec::new();
    let mut rest = blocks;
    while !rest.is_empty() {
        let mut bytes = 0;
        let mut count = 0;
        while count < rest.len().min(VERIFIED_BLOCKS) {
            bytes += rest[count].summary.bytes;
            if count > 0 && bytes > VERIFIED_BYTES {
                break;
            }
            count += 1;
        }
        let (group, later) = rest.split_at(count);
        groups.push(group);
        rest = later;
    }
    groups
}

/// The last possible block before a dataset's first.
fn before(dataset: DatasetId) -> Option<BlockId> {
    let dataset = DatasetId(dataset.0.checked_sub(1)?);
    Some(BlockId {
        dataset,
        index: u64::MAX,
    })
}

fn is_gone(error: &ClientError) -> bool {
    matches!(error.detail(), Some(Kind::UnknownDataset(_)))
}
