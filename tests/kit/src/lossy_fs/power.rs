//! What a cut does, and what it did.

use std::time::Duration;

use crate::dice::Dice;

use super::file::Tearable;
use super::tree::Tree;

/// What survives of the changes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    Drop,
    /// Some, in no order: each page as after some of its writes, each size as
    /// after some of its changes, each change of names or not.
    Reorder {
        /// Which.
        seed: u64,
    },
    /// All up to a write, of which only the first sectors survive; nothing after
    /// it. Where no write is pending, the names up to some change.
    Torn {
        /// Which write, and how much of it.
        seed: u64,
    },
}

/// What a cut took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutReport {
    /// How it was done.
    pub cut: Cut,
    /// Bytes that were written, not synced, and did not survive.
    pub lost_bytes: u64,
    /// Writes and changes of size that did not survive whole.
    pub lost_changes: u64,
    /// Names that appeared, vanished or moved, and did not survive.
    pub lost_names: u64,
    /// Bytes that were written, not synced, and at risk.
    pub risked_bytes: u64,
    /// Of the torn write: bytes that survived, and bytes in all of its sectors
    /// that could have.
    pub torn_kept_bytes: Option<u64>,
}

impl CutReport {
    /// Whether the cut changed anything: a test whose cuts all took nothing has
    /// proved nothing.
    #[must_use]
    pub fn took_something(&self) -> bool {
        self.lost_changes > 0 || self.lost_names > 0
    }
}

/// Calls that fail or take long, until told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Syncs fail with EIO. What was pending then is lost for the disk: no later
    /// sync writes it, though programs still read it (S13). Every other handle of
    /// the file is told once, at its next sync.
    SyncFails,
    /// Writes fail with EIO.
    WriteFails,
    /// Reads fail with EIO.
    ReadFails,
    /// New files, new folders and writes that make a file longer fail with ENOSPC.
    Full,
    /// Every sync takes so long, and every other call waits meanwhile.
    SyncTakes(Duration),
}

/// What happened since the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Calls that change or sync something: the unit in which a cut is armed.
    pub operations: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes of them.
    pub written_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Syncs of files that succeeded.
    pub file_syncs: u64,
    /// Syncs of folders that succeeded.
    pub folder_syncs: u64,
    /// Written bytes that a sync made durable.
    pub synced_bytes: u64,
    /// Times that the power went.
    pub cuts: u64,
    /// Bytes that all cuts took.
    pub lost_bytes: u64,
    /// Names that all cuts took.
    pub lost_names: u64,
    /// Calls that found the power off, or their handle dead.
    pub refused: u64,
    /// Calls that a fault hit.
    pub faults: u64,
}

/// Lets the tree be what it is after the cut.
pub(super) fn cut(tree: &mut Tree, cut: Cut) -> CutReport {
    let mut report = CutReport {
        cut,
        lost_bytes: 0,
        lost_changes: 0,
        lost_names: 0,
        risked_bytes: tree.unsynced_bytes(),
        torn_kept_bytes: None,
    };
    match cut {
        Cut::Drop => stop_at(tree, 0, 0, &mut report),
        Cut::Reorder { seed } => reorder(tree, &mut Dice::new(seed), &mut report),
        Cut::Torn { seed } => tear(tree, &mut Dice::new(seed), &mut report),
    }
    report
}

/// Everything before a place survives, and some bytes of the write there.
fn stop_at(tree: &mut Tree, sequence: u64, kept_bytes: usize, report: &mut CutReport) {
    report.lost_names = tree.settle_names(|place| place < sequence);
    for file in tree.files_mut() {
        let loss = file.cut_at(sequence, kept_bytes);
        report.lost_bytes += loss.bytes;
        report.lost_changes += loss.changes;
    }
}

fn reorder(tree: &mut Tree, dice: &mut Dice, report: &mut CutReport) {
    let mut names = dice.split();
    report.lost_names = tree.settle_names(|_| names.chance(50));
    for file in tree.files_mut() {
        let loss = file.cut_reordered(dice);
        report.lost_bytes += loss.bytes;
        report.lost_changes += loss.changes;
    }
}

fn tear(tree: &mut Tree, dice: &mut Dice, report: &mut CutReport) {
    let mut writes: Vec<Tearable> = tree.files().flat_map(|file| file.tearable()).collect();
    writes.sort_by_key(|write| write.sequence);
    // A write within one sector cannot be torn, only lost; both are wanted.
    if dice.chance(75) && writes.iter().any(|write| write.kept_bytes.len() > 1) {
        writes.retain(|write| write.kept_bytes.len() > 1);
    }
    if let Some(write) = dice.pick(&writes) {
        let kept = dice.pick(&write.kept_bytes).copied().unwrap_or_default();
        report.torn_kept_bytes = Some(kept as u64);
        stop_at(tree, write.sequence, kept, report);
        return;
    }
    let names: Vec<u64> = tree.pending_names().chain([u64::MAX]).collect();
    let end = dice.pick(&names).copied().unwrap_or_default();
    stop_at(tree, end, 0, report);
}
