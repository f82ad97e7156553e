//! openraft's state machine: the pure core behind a lock.
//!
//! `apply` takes the lock for a batch of entries and never over an await.
//! Readers see the state between entries. What an entry made true goes to
//! whoever listens, in order, after the lock is released.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use vivat_core::command::Applied;
use vivat_core::{HashPoint, State};
use vivat_ground::Threads;

use super::api::AppliedEvents;
use super::pace::Pace;
use super::types::{
    ApplyReply, Entry, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig,
};
use crate::failpoints::{Point, pass};
use crate::storage::{SnapshotStore, StoredSnapshot};

/// Entries applied under one hold of the lock.
const BATCH_ENTRIES_MAX: usize = 64;
/// Entries' events that a slow listener may be behind; then it rebuilds.
const EVENT_BACKLOG: usize = 4_096;
/// Hash points kept for comparison: replicas this far apart can compare.
const HASH_POINTS_MAX: usize = 64;

/// What the state machine shares with handles.
pub struct Shared {
    state: RwLock<State>,
    position: Mutex<Position>,
    hash_points: Mutex<VecDeque<HashPoint>>,
    events: broadcast::Sender<Arc<AppliedEvents>>,
    panicked: watch::Sender<bool>,
    pace: Pace,
}

/// Raft's own part of what was applied.
#[derive(Debug, Clone, Default)]
struct Position {
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl Shared {
    /// A new state machine's.
    pub fn new() -> Self {
        Self {
            state: RwLock::new(State::new()),
            position: Mutex::default(),
            hash_points: Mutex::default(),
            events: broadcast::channel(EVENT_BACKLOG).0,
            panicked: watch::channel(false).0,
            pace: Pace::default(),
        }
    }

    /// How long things took.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Whether `apply` has panicked. Raft itself learns of it with the next entry,
    /// which on an idle follower may be never.
    pub fn panicked(&self) -> watch::Receiver<bool> {
        self.panicked.subscribe()
    }

    // A panic in `apply` poisons the lock and ends the process through the
    // core's death; until then a reader may see what stood there.
    /// The state, locked against `apply`.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn position(&self) -> MutexGuard<'_, Position> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What later entries make true.
    pub fn events(&self) -> broadcast::Receiver<Arc<AppliedEvents>> {
        self.events.subscribe()
    }

    /// The recent hash points, by index.
    pub fn hash_points(&self) -> Vec<HashPoint> {
        let points = self.points();
        points.iter().copied().collect()
    }

    fn points(&self) -> MutexGuard<'_, VecDeque<HashPoint>> {
        self.hash_points
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn note_hash_point(&self, point: HashPoint) {
        let mut points = self.points();
        if point.index == 0 || points.back().is_some_and(|last| last.index >= point.index) {
            return;
        }
        if points.len() == HASH_POINTS_MAX {
            points.pop_front();
        }
        points.push_back(point);
    }
}

/// Tells of a panic while it stands.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked.send_replace(true);
        }
    }
}

/// See the module.
pub struct Machine {
    shared: Arc<Shared>,
    snapshots: Arc<dyn SnapshotStore>,
    threads: Threads,
}

impl Machine {
    /// A state machine that keeps its snapshots there.
    pub fn new(shared: Arc<Shared>, snapshots: Arc<dyn SnapshotStore>, threads: Threads) -> Self {
        Self {
            shared,
            snapshots,
            threads,
        }
    }

    fn apply_batch(&self, batch: Vec<EntryResponder<TypeConfig>>) -> Result<(), io::Error> {
        let _alarm = Alarm(&self.shared);
        pass(Point::ApplyBegin).map_err(io::Error::other)?;
        let mut happened = Vec::new();
        let mut state = self.shared.state_mut();
        for (entry, responder) in batch {
            let index = entry.log_id.index;
            let applied = apply_entry(&mut state, &entry)?;
            self.shared.note_hash_point(state.hash_point());
            {
                let mut position = self.shared.position();
                position.applied = Some(entry.log_id);
                if let Some(membership) = entry.get_membership() {
                    position.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
            if let Some(responder) = responder {
                responder.send(ApplyReply {
                    replies: applied.replies,
                });
            }
            if !applied.events.is_empty() {
                happened.push(AppliedEvents {
                    index,
                    events: applied.events,
                });
            }
        }
        drop(state);
        for events in happened {
            // Nobody listens on a follower.
            let _ = self.shared.events.send(Arc::new(events));
        }
        pass(Point::ApplyDone).map_err(io::Error::other)
    }
}

fn apply_entry(state: &mut State, entry: &Entry) -> Result<Applied, io::Error> {
    let index = entry.log_id.index;
    match &entry.payload {
        EntryPayload::Normal(payload) => {
            // Never skipped: the other replicas apply it.
            let proposal = payload.decode().map_err(|error| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("entry {index}: {error}"),
                )
            })?;
            Ok(vivat_core::apply(state, index, &proposal))
        }
        EntryPayload::Blank | EntryPayload::Membership(_) => {
            // openraft counts from 0, which is always the first membership;
            // the core's 0 is the state before the first entry.
            if index > 0 {
                state.note_index(index);
            }
            Ok(Applied::default())
        }
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let position = self.shared.position().clone();
        Ok((position.applied, position.membership))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(BATCH_ENTRIES_MAX);
        while let Some(batch) = batches.next().await {
            let batch: Vec<_> = batch.into_iter().collect::<Result<_, _>>()?;
            self.apply_batch(batch)?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        // No entry is applied meanwhile: this runs in the same task as `apply`.
        let began = Instant::now();
        let state = Arc::new(self.shared.state().clone());
        self.shared.pace().copied(began.elapsed());
        let position = self.shared.position().clone();
        Builder {
            state,
            position,
            shared: Arc::clone(&self.shared),
            snapshots: Arc::clone(&self.snapshots),
            threads: self.threads,
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        content: Bytes,
    ) -> Result<(), io::Error> {
        let stored = stored(meta, content);
        let snapshots = Arc::clone(&self.snapshots);
        let work = move || -> Result<State, io::Error> {
            let state = vivat_core::snapshot::decode(&stored.content)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            pass(Point::InstallBegin).map_err(io::Error::other)?;
            // openraft restores from our own file at each start: leave it.
            let have = snapshots.newest().map_err(io::Error::other)?;
            if have.is_none_or(|have| have.index < stored.index) {
                snapshots.save(&stored).map_err(io::Error::other)?;
                tracing::info!(index = stored.index, "snapshot of another master installed");
            }
            pass(Point::InstallSaved).map_err(io::Error::other)?;
            Ok(state)
        };
        let state = self.threads.run(work).await??;
        *self.shared.position() = Position {
            applied: meta.last_log_id,
            membership: meta.last_membership.clone(),
        };
        self.shared.points().clear();
        self.shared.note_hash_point(state.hash_point());
        *self.shared.state_mut() = state;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let snapshots = Arc::clone(&self.snapshots);
        let newest = self.threads.run(move || snapshots.newest()).await?;
        let newest = newest.map_err(io::Error::other)?;
        newest.map(snapshot).transpose()
    }
}

/// Writes one snapshot.
pub struct Builder {
    state: Arc<State>,
    position: Position,
    shared: Arc<Shared>,
    snapshots: Arc<dyn SnapshotStore>,
    threads: Threads,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let meta = SnapshotMeta {
            last_log_id: self.position.applied,
            last_membership: self.position.membership.clone(),
        };
        let (state, snapshots) = (Arc::clone(&self.state), Arc::clone(&self.snapshots));
        let (of_file, shared) = (meta.clone(), Arc::clone(&self.shared));
        let work = move || -> Result<Bytes, io::Error> {
            pass(Point::BuildBegin).map_err(io::Error::other)?;
            let began = Instant::now();
            let stored = stored(&of_file, vivat_core::snapshot::encode(&state).into());
            snapshots.save(&stored).map_err(io::Error::other)?;
            let (took, bytes) = (began.elapsed(), stored.content.len());
            shared.pace().written(took);
            tracing::debug!(index = stored.index, bytes, ?took, "snapshot written");
            pass(Point::BuildSaved).map_err(io::Error::other)?;
            Ok(stored.content)
        };
        let content = self.threads.run(work).await??;
        Ok(Snapshot {
            meta,
            snapshot: content,
        })
    }
}

fn stored(meta: &SnapshotMeta, content: Bytes) -> StoredSnapshot {
    let bytes = postcard::to_stdvec(meta)
        .expect("raft's types are plain data of known lengths, which postcard always encodes");
    StoredSnapshot {
        index: meta.last_log_id.map_or(0, |last| last.index),
        meta: bytes.into(),
        content,
    }
}

fn snapshot(stored: StoredSnapshot) -> Result<Snapshot, io::Error> {
    let meta = postcard::from_bytes(&stored.meta)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Snapshot {
        meta,
        snapshot: stored.content,
    })
}
