//! What the file system is at a moment: its tree, its handles, its power.
//!
//! Every call comes through [`State::admit`], which knows whether the power is
//! on and whether the moment of an armed cut has come. The cut happens there,
//! before the call, under the lock: so it lies between two operations, always
//! the same two.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::backing;
use super::power::{self, Counters, Cut, CutReport, Fault};
use super::tree::{Kind, Tree};

/// What a call wants, as far as faults and counters care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Looks at names or attributes.
    Look,
    Read,
    Write,
    /// Makes a name.
    Create,
    /// Changes names or attributes otherwise.
    Change,
    Sync,
}

impl Call {
    /// Whether a cut can be armed at it.
    fn is_counted(self) -> bool {
        match self {
            Self::Look | Self::Read => false,
            Self::Write | Self::Create | Self::Change | Self::Sync => true,
        }
    }
}

/// One entry of a listing.
pub(super) struct Listed {
    pub inode: u64,
    pub is_folder: bool,
    pub name: OsString,
}

/// What an open handle means.
enum Open {
    File {
        inode: u64,
        /// A sync through another handle failed: the next one through this one
        /// is told so, once, as Linux does since 4.13.
        owes_error: bool,
    },
    /// The names as they were when the folder was opened, so that removing some
    /// while reading skips none.
    Folder { inode: u64, names: Vec<Listed> },
}

impl Open {
    fn inode(&self) -> u64 {
        match self {
            Self::File { inode, .. } | Self::Folder { inode, .. } => *inode,
        }
    }
}

/// A cut to come.
struct Armed {
    operations_left: u64,
    /// Waits for a sync from then on.
    at_sync: bool,
    cut: Cut,
}

pub(super) struct State {
    pub tree: Tree,
    backing: PathBuf,
    handles: BTreeMap<u64, Open>,
    next_handle: u64,
    /// Set while the power is off.
    report: Option<CutReport>,
    armed: Option<Armed>,
    fault: Option<Fault>,
    counters: Counters,
}

impl State {
    /// Whether a call may go on, and the delay that a fault asks of it.
    pub fn admit(&mut self, call: Call) -> Result<Option<Duration>, Errno> {
        if self.report.is_none() && call.is_counted() {
            self.count_down(call)?;
        }
        if self.report.is_some() {
            self.counters.refused += 1;
            return Err(Errno::IO);
        }
        let refusal = match (self.fault, call) {
            (Some(Fault::SyncFails), Call::Sync)
            | (Some(Fault::WriteFails), Call::Write)
            | (Some(Fault::ReadFails), Call::Read) => Errno::IO,
            (Some(Fault::Full), Call::Create) => Errno::NOSPC,
            (Some(Fault::SyncTakes(time)), Call::Sync) => {
                self.counters.faults += 1;
                return Ok(Some(time));
            }
            (Some(_) | None, _) => return Ok(None),
        };
        self.counters.faults += 1;
        Err(refusal)
    }

    fn count_down(&mut self, call: Call) -> Result<(), Errno> {
        if let Some(armed) = &mut self.armed {
            if armed.operations_left == 0 && (call == Call::Sync || !armed.at_sync) {
                let cut = armed.cut;
                // A backing folder that cannot be written shows at the remount.
                return self.power_cut(cut).map(drop).map_err(|_| Errno::IO);
            }
            armed.operations_left = armed.operations_left.saturating_sub(1);
        }
        self.counters.operations += 1;
        Ok(())
    }

    pub fn power_cut(&mut self, cut: Cut) -> io::Result<CutReport> {
        if self.report.is_some() {
            return Err(io::Error::other("the power is off already"));
        }
        let report = power::cut(&mut self.tree, cut);
        self.report = Some(report);
        self.armed = None;
        self.handles.clear();
        self.counters.cuts += 1;
        self.counters.lost_bytes += report.lost_bytes;
        self.counters.lost_names += report.lost_names;
        backing::store(&self.tree, &self.backing)?;
        Ok(report)
    }

    pub fn arm(&mut self, operations: u64, at_sync: bool, cut: Cut) {
        self.armed = Some(Armed {
            operations_left: operations,
            at_sync,
            cut,
        });
    }

    pub fn remount(&mut self) -> io::Result<()> {
        if self.report.is_none() {
            return Err(io::Error::other("the power is on"));
        }
        let mut tree = Tree::new(self.tree.capacity_bytes(), self.tree.next_inode());
        backing::load(&mut tree, &self.backing)?;
        self.tree = tree;
        self.report = None;
        self.armed = None;
        Ok(())
    }

    pub fn sync_everything(&mut self) -> io::Result<()> {
        if self.report.is_none() {
            self.tree.settle_names(|_| true);
            for file in self.tree.files_mut() {
                file.sync();
            }
            backing::store(&self.tree, &self.backing)?;
        }
        Ok(())
    }

    pub fn set_fault(&mut self, fault: Option<Fault>) {
        self.fault = fault;
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub fn unsynced_bytes(&self) -> u64 {
        self.tree.unsynced_bytes()
    }

    pub fn open_file(&mut self, inode: u64) -> Result<u64, Errno> {
        self.tree.file(inode)?;
        Ok(self.keep(Open::File {
            inode,
            owes_error: false,
        }))
    }

    pub fn open_folder(&mut self, inode: u64) -> Result<u64, Errno> {
        let mut names = Vec::new();
        for (name, &child) in &self.tree.folder(inode)?.names {
            let is_folder = match &self.tree.node(child)?.kind {
                Kind::Folder(_) => true,
                Kind::File(_) => false,
            };
            names.push(Listed {
                inode: child,
                is_folder,
                name: name.clone(),
            });
        }
        Ok(self.keep(Open::Folder { inode, names }))
    }

    fn keep(&mut self, open: Open) -> u64 {
        self.next_handle += 1;
        self.handles.insert(self.next_handle, open);
        self.next_handle
    }

    /// The file of a handle; EIO for one from before a cut.
    pub fn file_of(&mut self, handle: u64) -> Result<u64, Errno> {
        match self.handles.get(&handle) {
            Some(Open::File { inode, .. }) => Ok(*inode),
            Some(Open::Folder { .. }) => Err(Errno::ISDIR),
            None => {
                self.counters.refused += 1;
                Err(Errno::IO)
            }
        }
    }

    /// The folder of a handle and its names; EIO for one from before a cut.
    pub fn folder_of(&mut self, handle: u64) -> Result<(u64, &[Listed]), Errno> {
        match self.handles.get(&handle) {
            Some(Open::Folder { inode, names }) => Ok((*inode, names)),
            Some(Open::File { .. }) => Err(Errno::NOTDIR),
            None => {
                self.counters.refused += 1;
                Err(Errno::IO)
            }
        }
    }

    /// Closes a handle, and frees its file if that was all that held it.
    pub fn close(&mut self, handle: u64) {
        self.handles.remove(&handle);
        self.sweep();
    }

    fn sweep(&mut self) {
        let open: BTreeSet<u64> = self.handles.values().map(Open::inode).collect();
        self.tree.sweep(&open);
    }

    pub fn read(&mut self, handle: u64, offset: usize, bytes: usize) -> Result<&[u8], Errno> {
        let inode = self.file_of(handle)?;
        self.counters.reads += 1;
        Ok(self.tree.file(inode)?.read(offset, bytes))
    }

    pub fn write(&mut self, handle: u64, offset: usize, data: &[u8]) -> Result<(), Errno> {
        let inode = self.file_of(handle)?;
        let end = offset.checked_add(data.len()).ok_or(Errno::FBIG)?;
        self.reserve(inode, end)?;
        self.tree.write(inode, offset, data)?;
        self.counters.writes += 1;
        self.counters.written_bytes += data.len() as u64;
        Ok(())
    }

    pub fn resize(&mut self, inode: u64, bytes: usize) -> Result<(), Errno> {
        self.reserve(inode, bytes)?;
        self.tree.resize(inode, bytes)
    }

    /// A full disk has room for what replaces old bytes, and for nothing else.
    fn reserve(&mut self, inode: u64, end: usize) -> Result<(), Errno> {
        let grows = end > self.tree.file(inode)?.content().len();
        if grows && self.fault == Some(Fault::Full) {
            self.counters.faults += 1;
            return Err(Errno::NOSPC);
        }
        Ok(())
    }

    pub fn sync_file(&mut self, handle: u64) -> Result<(), Errno> {
        let inode = self.file_of(handle)?;
        if let Some(Open::File { owes_error, .. }) = self.handles.get_mut(&handle)
            && std::mem::take(owes_error)
        {
            self.tree.file_mut(inode)?.forget_unsynced();
            return Err(Errno::IO);
        }
        self.counters.synced_bytes += self.tree.file_mut(inode)?.sync();
        self.counters.file_syncs += 1;
        Ok(())
    }

    /// What a sync that failed does to the file's pages, and to its other
    /// handles. With the power off there is no handle any more, and nothing to do.
    pub fn fail_sync_of_file(&mut self, handle: u64) -> Result<(), Errno> {
        let Some(failed) = self.handles.get(&handle).map(Open::inode) else {
            return Ok(());
        };
        for (other, open) in &mut self.handles {
            if let Open::File { inode, owes_error } = open
                && *inode == failed
                && *other != handle
            {
                *owes_error = true;
            }
        }
        self.tree.file_mut(failed)?.forget_unsynced();
        Ok(())
    }

    pub fn sync_folder(&mut self, handle: u64) -> Result<(), Errno> {
        let (inode, _) = self.folder_of(handle)?;
        self.tree.sync_folder(inode)?;
        self.counters.folder_syncs += 1;
        self.sweep();
        Ok(())
    }
}

/// The state, shared by the kernel's calls and the test's.
pub(super) struct Shared {
    state: Mutex<State>,
    cut: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub fn new(backing: &Path, capacity_bytes: u64) -> io::Result<Self> {
        let mut tree = Tree::new(capacity_bytes, 0);
        backing::load(&mut tree, backing)?;
        Ok(Self {
            state: Mutex::new(State {
                tree,
                backing: backing.to_owned(),
                handles: BTreeMap::new(),
                next_handle: 0,
                report: None,
                armed: None,
                fault: None,
                counters: Counters::default(),
            }),
            cut: Condvar::new(),
        })
    }

    /// The state; whoever waits for a cut looks again when it is released.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called after anything that may have cut the power.
    pub fn announce(&self) {
        self.cut.notify_all();
    }

    pub fn wait_for_cut(&self, deadline: Duration) -> Option<CutReport> {
        let end = Instant::now() + deadline;
        let mut state = self.lock();
        while state.report.is_none() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.cut.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.report
    }
}
