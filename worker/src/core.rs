//! The held set, shared between the threads that run attempts and the tasks
//! that talk to the leader.
//!
//! One lock, held for the length of a decision and never across a wait. Who
//! changes the set wakes whom it concerns: slots by condition variables, since
//! they are threads, loops by notifications, since they are tasks.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::held::{Held, Room, SlotKind, Taken};

/// The shared set.
#[derive(Debug)]
pub(crate) struct Core {
    slots: u32,
    held: Mutex<State>,
    task_ready: Condvar,
    control_ready: Condvar,
    changed: Notify,
    reports_ready: Notify,
}

#[derive(Debug)]
struct State {
    held: Held,
    /// Slots go home.
    ended: bool,
}

impl Core {
    pub(crate) fn new(slots: u32) -> Self {
        Self {
            slots,
            held: Mutex::new(State {
                held: Held::new(slots),
                ended: false,
            }),
            task_ready: Condvar::new(),
            control_ready: Condvar::new(),
            changed: Notify::new(),
            reports_ready: Notify::new(),
        }
    }

    /// Looks at the set.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Held) -> T) -> T {
        look(&self.lock().held)
    }

    /// Changes the set and wakes everybody whom that may concern.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        let result = change(&mut self.lock().held);
        self.task_ready.notify_all();
        self.control_ready.notify_all();
        self.changed.notify_waiters();
        self.reports_ready.notify_one();
        result
    }

    /// Blocks a slot's thread until there is an attempt for it; none when the
    /// worker ends. `before_wait` runs once, if there is nothing yet.
    pub(crate) fn next(&self, kind: SlotKind, before_wait: impl FnOnce()) -> Option<Taken> {
        let mut before_wait = Some(before_wait);
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            if let Some(taken) = state.held.next(kind) {
                drop(state);
                self.changed.notify_waiters();
                return Some(taken);
            }
            if let Some(before_wait) = before_wait.take() {
                drop(state);
                before_wait();
                state = self.lock();
                continue;
            }
            let ready = match kind {
                SlotKind::Control => &self.control_ready,
                SlotKind::Task => &self.task_ready,
            };
            state = ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next attempt for a slot that is a task; none when the worker ends.
    pub(crate) async fn taken(&self, kind: SlotKind) -> Option<Taken> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change in between is missed.
            changed.as_mut().enable();
            if let Some(over) = self.try_next(kind) {
                return over;
            }
            changed.await;
        }
    }

    /// None when there is nothing yet.
    fn try_next(&self, kind: SlotKind) -> Option<Option<Taken>> {
        let mut state = self.lock();
        if state.ended {
            return Some(None);
        }
        let taken = state.held.next(kind)?;
        drop(state);
        self.changed.notify_waiters();
        Some(Some(taken))
    }

    /// Waits until a pull that asked for `asked` would miss work.
    pub(crate) async fn outgrown(&self, asked: Room) {
        self.until(|held| asked.is_outgrown_by(held.room(), self.slots))
            .await;
    }

    /// Waits until the set is in a state.
    pub(crate) async fn until(&self, reached: impl Fn(&Held) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change in between is missed.
            changed.as_mut().enable();
            if self.look(&reached) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until somebody finished an attempt; may return without.
    pub(crate) async fn report_added(&self) {
        self.reports_ready.notified().await;
    }

    /// Sends the slots home once they are done with what they run.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.task_ready.notify_all();
        self.control_ready.notify_all();
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Attempts' panics are caught outside the lock; nothing under it panics.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
