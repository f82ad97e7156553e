//! The held set, shared between the threads that run attempts and the tasks
//! that talk to the leader.
//!
//! One lock, held for the length of a decision and never across a wait. Who
//! changes the set wakes whom it concerns: slots by condition variables, since
//! they are threads, loops by notifications, since they are tasks. Nobody else is
//! woken: of attempts that take no time, thousands begin and end in a second, and
//! to wake a thread costs as much as one of them.

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
    outgrown: Notify,
    gathered: Notify,
    reports_ready: Notify,
}

#[derive(Debug)]
struct State {
    held: Held,
    /// Slots go home.
    ended: bool,
    /// Slots that wait for an attempt.
    tasks_idle: usize,
    control_idle: usize,
    /// What the pull that waits has asked for.
    asked: Option<Room>,
    /// Reports wait for one another.
    gathering: bool,
}

/// Whom a change concerns.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Wake {
    tasks: bool,
    control: bool,
    outgrown: bool,
    gathered: bool,
}

impl State {
    /// Whom the set as it is now concerns; of those who wait for a state of it,
    /// each is named once.
    fn wake(&mut self, slots: u32) -> Wake {
        let held = &self.held;
        let asked = self.asked;
        let outgrown = asked.is_some_and(|asked| asked.is_outgrown_by(held.room(), slots));
        let gathered = self.gathering && !held.gathers();
        let wake = Wake {
            tasks: self.tasks_idle > 0 && held.has_ready(SlotKind::Task),
            control: self.control_idle > 0 && held.has_ready(SlotKind::Control),
            outgrown,
            gathered,
        };
        self.gathering &= !gathered;
        self.asked = asked.filter(|_| !outgrown);
        wake
    }

    fn idle(&mut self, kind: SlotKind) -> &mut usize {
        match kind {
            SlotKind::Control => &mut self.control_idle,
            SlotKind::Task => &mut self.tasks_idle,
        }
    }
}

impl Core {
    pub(crate) fn new(slots: u32) -> Self {
        Self {
            slots,
            held: Mutex::new(State {
                held: Held::new(slots),
                ended: false,
                tasks_idle: 0,
                control_idle: 0,
                asked: None,
                gathering: false,
            }),
            task_ready: Condvar::new(),
            control_ready: Condvar::new(),
            changed: Notify::new(),
            outgrown: Notify::new(),
            gathered: Notify::new(),
            reports_ready: Notify::new(),
        }
    }

    /// Looks at the set.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Held) -> T) -> T {
        look(&self.lock().held)
    }

    /// Changes the set and wakes everybody whom that may concern.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state.held);
        let wake = state.wake(self.slots);
        drop(state);
        self.wake(wake);
        self.reports_ready.notify_one();
        result
    }

    fn wake(&self, wake: Wake) {
        if wake.tasks {
            self.task_ready.notify_all();
        }
        if wake.control {
            self.control_ready.notify_all();
        }
        if wake.outgrown {
            self.outgrown.notify_waiters();
        }
        if wake.gathered {
            self.gathered.notify_waiters();
        }
        self.changed.notify_waiters();
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
                let wake = state.wake(self.slots);
                drop(state);
                self.wake(wake);
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
            *state.idle(kind) += 1;
            state = ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            *state.idle(kind) -= 1;
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
        let wake = state.wake(self.slots);
        drop(state);
        self.wake(wake);
        Some(Some(taken))
    }

    /// Waits until a pull that asked for `asked` would miss work.
    pub(crate) async fn outgrown(&self, asked: Room) {
        loop {
            let outgrown = self.outgrown.notified();
            tokio::pin!(outgrown);
            // Registered before looking, so that no change in between is missed.
            outgrown.as_mut().enable();
            let is_outgrown = {
                let mut state = self.lock();
                state.asked = Some(asked);
                asked.is_outgrown_by(state.held.room(), self.slots)
            };
            if is_outgrown {
                return;
            }
            outgrown.await;
        }
    }

    /// Waits while reports are to wait for more of them.
    pub(crate) async fn gathered(&self) {
        loop {
            let gathered = self.gathered.notified();
            tokio::pin!(gathered);
            gathered.as_mut().enable();
            let gathers = {
                let mut state = self.lock();
                state.gathering = state.held.gathers();
                state.gathering
            };
            if !gathers {
                return;
            }
            gathered.await;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn state(slots: u32) -> State {
        State {
            held: Held::new(slots),
            ended: false,
            tasks_idle: 1,
            control_idle: 1,
            asked: None,
            gathering: false,
        }
    }

    #[test]
    fn change_wakes_nobody_for_whom_there_is_nothing() {
        assert_eq!(state(1).wake(1), Wake::default());
    }

    #[test]
    fn pull_that_was_outgrown_is_told_once() {
        let mut state = state(1);
        state.asked = Some(Room {
            want: 0,
            control_free: true,
        });
        assert!(state.wake(1).outgrown);
        assert!(!state.wake(1).outgrown);
    }

    #[test]
    fn reports_that_wait_for_others_are_sent_when_there_is_nothing_more_to_run() {
        let mut state = state(1);
        state.gathering = true;
        assert!(state.wake(1).gathered);
        assert!(!state.wake(1).gathered);
    }

    #[tokio::test]
    async fn pull_is_given_up_when_room_grows_while_it_waits() {
        let core = Core::new(1);
        let asked = core.look(Held::room);
        let wait = core.outgrown(asked);
        tokio::pin!(wait);
        assert!(futures_util::poll!(wait.as_mut()).is_pending());
        core.change(|held| held.measure(std::time::Duration::from_micros(100)));
        wait.await;
    }
}
