//! The blocks of datasets on this worker: kept, passed on, served, fetched from
//! others, and reported.
//!
//! [`Blocks`] is the handle for all of it; clones are the same one. For other
//! parts of the worker:
//!
//! - [`Blocks::read`] gives the bytes of a block, from the own disk or else from
//!   its other holders in turn, going on in the middle where one broke off. What
//!   it hands out was checked; what cannot be had is an error that names the
//!   block and what each holder said.
//! - [`Blocks::write`] writes a block here and to other workers at the same time,
//!   and tells who has it durably.
//!
//! Both are async. A thread that runs an attempt calls them by [`Blocks::wait`].
//!
//! The leader decides what is kept: it is told by the session what is here and what
//! got lost, and its orders to delete come in the same way. A block that the leader
//! does not know stays. Nothing here knows what a dataset is for.

mod error;
mod fetch;
mod hop;
mod input;
mod output;
mod pipeline;
mod server;
mod upkeep;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use vivat_ground::{Threads, Transport};
use vivat_shared::ids::{ClusterId, WorkerId};
use vivat_store::{Opened, Store, StoreError};

use crate::shuffle::Holders;

pub use error::{BlockReadError, BlockWriteError, FailedHop, FetchError, KeepError, Refusal};
pub use input::BlockInput;
pub use output::{BlockOutput, WrittenBlock};
pub(crate) use server::BlockServer;
use upkeep::Upkeep;

/// Of the disk's free space at the start, and of what blocks have taken of it
/// before, the part that blocks may take when nothing is said: a fifth is left
/// to segments, spills and the rest of the machine.
const BUDGET_PERCENT: u64 = 80;
/// A message of these services: well above [`vivat_shared::limits::STREAM_CHUNK_BYTES`],
/// well below what many streams at once would fill the memory with.
pub(crate) const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Who this worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) worker: WorkerId,
    pub(crate) cluster: ClusterId,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Blocks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    threads: Threads,
    runtime: Handle,
    peers: Holders,
    /// Who it was at its last registration; none before the first.
    identity: Mutex<Option<Identity>>,
    upkeep: Upkeep,
}

/// What blocks stand on.
#[derive(Debug, Clone)]
pub(crate) struct Footing {
    pub(crate) threads: Threads,
    pub(crate) runtime: Handle,
    pub(crate) transport: Transport,
}

impl Blocks {
    /// Opens the store in that directory. Without a budget it gets a part of what
    /// is free, so that a restart gives it about the same again.
    pub(crate) fn open(
        root: &Path,
        budget_bytes: Option<u64>,
        footing: Footing,
    ) -> Result<Self, StoreError> {
        let Opened {
            store,
            damaged,
            strangers,
        } = Store::open(root, budget_bytes.unwrap_or(0))?;
        if budget_bytes.is_none() {
            let all_bytes = store.free_bytes()?.saturating_add(store.usage().used);
            store.set_budget(all_bytes / 100 * BUDGET_PERCENT);
        }
        if strangers > 0 {
            tracing::warn!(files = strangers, "files among the blocks are not ours");
        }
        Ok(Self {
            inner: Arc::new(Inner {
                upkeep: Upkeep::new(damaged),
                store,
                threads: footing.threads,
                runtime: footing.runtime,
                peers: Holders::new(footing.transport),
                identity: Mutex::new(None),
            }),
        })
    }

    /// The own disk's: for listing and for pins. Its calls block.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Waits on a thread of its own, as attempts have, for what is async; none
    /// when it was stopped meanwhile.
    ///
    /// # Panics
    ///
    /// On a thread of the runtime.
    pub fn wait<T>(&self, work: impl Future<Output = T>, stopped: &CancellationToken) -> Option<T> {
        self.inner.runtime.block_on(async {
            tokio::select! {
                biased;
                () = stopped.cancelled() => None,
                done = work => Some(done),
            }
        })
    }

    /// The worker registered: whom it serves as until the next time.
    pub(crate) fn identify(&self, worker: WorkerId, cluster: ClusterId) {
        *self.lock_identity() = Some(Identity { worker, cluster });
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        *self.lock_identity()
    }

    fn threads(&self) -> Threads {
        self.inner.threads
    }

    fn runtime(&self) -> &Handle {
        &self.inner.runtime
    }

    fn peers(&self) -> &Holders {
        &self.inner.peers
    }

    fn upkeep(&self) -> &Upkeep {
        &self.inner.upkeep
    }

    fn lock_identity(&self) -> MutexGuard<'_, Option<Identity>> {
        // Whole at every moment.
        self.inner
            .identity
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
