//! One run of the scheduler: what is still free, and what was placed already.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use vivat_shared::ids::{JobId, TaskId, TaskKind, WorkerEpoch, WorkerId};
use vivat_shared::job::Policy;
use xxhash_rust::xxh3::xxh3_64;

use super::LivenessView;
use super::locality::{PassedOver, has_waited, holders};
use crate::command::Grant;
use crate::limits::{EARLY_REDUCES_PER_SLOT, RESTORE_GRACE_MS};
use crate::state::{Active, Job, Lane, Phase, State, TaskTable, Turn, Worker};

/// Idle tasks that must wait or have a history and are stepped over in one turn of a job.
const STEPS_OVER_MAX: u32 = 64;

/// A live worker, and what it can still take.
struct Room<'a> {
    worker: &'a Worker,
    want: u32,
    control_free: bool,
    /// Reduces that it holds in rounds whose maps are not done.
    early_reduces: u32,
    /// Placed here in this run, for the share of a round.
    placed: BTreeMap<(JobId, TaskKind), u32>,
    /// Attempts granted before and in this run.
    held: u32,
}

/// How far this run is in the tasks of one job.
#[derive(Default)]
struct Progress {
    next_map: u32,
    passed_over: PassedOver,
    next_reduce: u32,
    /// The most that one pull may take of the round's maps and reduces.
    maps_share: u32,
    reduces_share: u32,
}

/// A task that wants a worker.
struct Want<'a> {
    job: &'a Job,
    task: TaskId,
    /// Workers it should not go to, while there is another.
    avoided: Vec<WorkerId>,
    preferred: Option<WorkerId>,
    /// The most that one pull may take; none for control tasks.
    share: Option<u32>,
    /// A reduce whose maps are not done.
    early: bool,
}

pub(super) struct Desk<'a> {
    state: &'a State,
    liveness: &'a LivenessView,
    rooms: Vec<Room<'a>>,
    progress: BTreeMap<JobId, Progress>,
    grants: Vec<Grant>,
    /// What a worker is taken to do of which nothing is known: it must get work to
    /// be known.
    usual_score: u64,
    age_ms: u64,
    limit: usize,
}

impl<'a> Desk<'a> {
    pub(super) fn open(
        state: &'a State,
        liveness: &'a LivenessView,
        age_ms: u64,
        limit: usize,
    ) -> Self {
        let rooms: Vec<Room<'_>> = state
            .workers()
            .filter(|worker| worker.accepts_work())
            .filter_map(|worker| {
                let seen = liveness.of(worker)?;
                Some(Room {
                    worker,
                    want: seen.want,
                    control_free: seen.control_free,
                    early_reduces: if seen.want > 0 {
                        early_reduces(state, worker)
                    } else {
                        0
                    },
                    placed: BTreeMap::new(),
                    held: worker.held(),
                })
            })
            .collect();
        Self {
            state,
            liveness,
            usual_score: usual_score(&rooms),
            rooms,
            progress: BTreeMap::new(),
            grants: Vec::new(),
            age_ms: age_ms.max(state.age_ms),
            limit,
        }
    }

    pub(super) fn into_grants(self) -> Vec<Grant> {
        self.grants
    }

    /// Lets the jobs of a lane take turns until nothing more can be placed.
    pub(super) fn fill(&mut self, lane: Lane) {
        let first = Turn {
            lane,
            urgency: Reverse(u8::MAX),
            running: 0,
            job: JobId(0),
        };
        let mut waiting = self
            .state
            .turns
            .range(first..)
            .take_while(|turn| turn.lane == lane)
            .copied()
            .peekable();
        let mut again: BTreeSet<Turn> = BTreeSet::new();
        while self.grants.len() < self.limit && self.has_room(lane) {
            let from_again = match (waiting.peek(), again.first()) {
                (None, None) => return,
                (Some(new), Some(old)) => old < new,
                (None, Some(_)) => true,
                (Some(_), None) => false,
            };
            let next = if from_again {
                again.pop_first()
            } else {
                waiting.next()
            };
            let Some(turn) = next else {
                return;
            };
            if self.place_one(turn.job) {
                let running = turn.running + 1;
                again.insert(Turn { running, ..turn });
            }
        }
    }

    /// Lets workers tell of jobs' ends, if their control slots are free: after what
    /// jobs that run want of them.
    pub(super) fn tell(&mut self) {
        for id in &self.state.owed {
            let due = self.state.job(*id).and_then(|job| {
                let notice = job.notice.as_ref()?;
                notice.is_due(self.age_ms).then_some((job, notice))
            });
            let Some((job, notice)) = due else {
                continue;
            };
            if self.grants.len() >= self.limit || !self.has_room(Lane::Control) {
                return;
            }
            self.place(&Want {
                job,
                task: notice.task(*id),
                avoided: Vec::new(),
                preferred: None,
                share: None,
                early: false,
            });
        }
    }

    fn has_room(&self, lane: Lane) -> bool {
        self.rooms.iter().any(|room| match lane {
            Lane::Control => room.control_free,
            Lane::Work => room.want > 0,
        })
    }

    /// Places the next task of a job; false when none can be placed.
    fn place_one(&mut self, id: JobId) -> bool {
        let Some((job, active)) = self
            .state
            .job(id)
            .and_then(|job| Some((job, job.active()?)))
        else {
            return false;
        };
        match active.phase {
            Phase::Plan => self.place_control(job, active, TaskKind::Plan),
            Phase::Close => self.place_control(job, active, TaskKind::Close),
            Phase::Commit => self.place_control(job, active, TaskKind::Commit),
            Phase::Work => {
                self.place_map(job, active)
                    || (self.may_fetch(job, active) && self.place_reduce(job, active))
            }
        }
    }

    fn place_control(&mut self, job: &'a Job, active: &'a Active, kind: TaskKind) -> bool {
        let task = TaskId {
            round: active.round().id,
            kind,
            index: 0,
        };
        // A job has one control task at a time: its second turn finds it placed.
        if self.grants.iter().rev().any(|grant| grant.task == task) {
            return false;
        }
        let avoided = active
            .table(task)
            .map_or_else(Vec::new, |table| table.avoided(0).collect());
        self.place(&Want {
            job,
            task,
            avoided,
            preferred: None,
            share: None,
            early: false,
        })
    }

    /// Places a map at a worker that has its block; else one that waited for such
    /// a worker long enough, or has none to wait for.
    fn place_map(&mut self, job: &'a Job, active: &'a Active) -> bool {
        let mut progress = self.take_progress(job, active);
        let placed = self.place_next_map(job, active, &mut progress)
            || self.place_passed_over(job, active, &mut progress);
        self.progress.insert(job.id, progress);
        placed
    }

    fn place_next_map(
        &mut self,
        job: &'a Job,
        active: &'a Active,
        progress: &mut Progress,
    ) -> bool {
        let maps = &active.round().maps;
        let mut steps = 0;
        while steps < STEPS_OVER_MAX && !progress.passed_over.is_full() {
            let Some(index) = maps.next_idle(progress.next_map) else {
                break;
            };
            if self.may_be_restored(maps, index) {
                steps += 1;
                progress.next_map = index + 1;
                continue;
            }
            let want = want_map(job, active, index, progress.maps_share);
            let holders = self.live_holders(&want);
            if !holders.is_empty() {
                progress.next_map = index + 1;
                if self.place_among(&want, &holders) {
                    return true;
                }
                progress.passed_over.push(index);
                continue;
            }
            let placed = self.place(&want);
            // Where a task without a history finds no room, no other will.
            if !placed && want.avoided.is_empty() {
                break;
            }
            steps += 1;
            progress.next_map = index + 1;
            if placed {
                return true;
            }
        }
        false
    }

    /// The first map that was passed over, at any worker, if their time is over.
    fn place_passed_over(
        &mut self,
        job: &'a Job,
        active: &'a Active,
        progress: &mut Progress,
    ) -> bool {
        let Some(first) = progress.passed_over.first() else {
            return false;
        };
        let want = want_map(job, active, first, progress.maps_share);
        let placed = has_waited(active, self.age_ms) && self.place(&want);
        if placed {
            progress.passed_over.pop();
        }
        placed
    }

    /// Rooms of workers, busy or not, that have a map's block and could run it.
    fn live_holders(&self, want: &Want<'_>) -> Vec<usize> {
        holders(self.state, want.job, want.task.index)
            .iter()
            .filter(|holder| !want.avoided.contains(holder))
            .filter_map(|holder| {
                let found = self
                    .rooms
                    .binary_search_by_key(holder, |room| room.worker.id);
                found.ok()
            })
            .filter(|&at| self.rooms[at].worker.sees_paths_of(want.job))
            .collect()
    }

    /// Whether the round's reduces may be granted, behind what this run placed.
    fn may_fetch(&self, job: &Job, active: &Active) -> bool {
        let round = active.round();
        let placed = |room: &Room<'_>| room.placed.get(&(job.id, TaskKind::Map)).copied();
        let placed: u32 = self.rooms.iter().filter_map(placed).sum();
        round.may_fetch() || round.maps.counts().idle == placed
    }

    fn place_reduce(&mut self, job: &'a Job, active: &'a Active) -> bool {
        let mut progress = self.take_progress(job, active);
        let round = active.round();
        let mut placed = false;
        for _ in 0..STEPS_OVER_MAX {
            let Some(index) = round.reduces.next_idle(progress.next_reduce) else {
                break;
            };
            let want = Want {
                job,
                task: TaskId {
                    round: round.id,
                    kind: TaskKind::Reduce,
                    index,
                },
                avoided: round.reduces.avoided(index).collect(),
                preferred: round.preferred.get(&index).copied(),
                share: Some(progress.reduces_share),
                early: !round.maps.all_completed(),
            };
            placed = self.place(&want);
            // Where a task without a history finds no room, no other will.
            if !placed && want.avoided.is_empty() {
                break;
            }
            progress.next_reduce = index + 1;
            if placed {
                break;
            }
        }
        self.progress.insert(job.id, progress);
        placed
    }

    /// Whether the worker that wrote a lost map's segments came back and may be
    /// about to say that it still has them: it has not pulled yet, and it is not
    /// long ago.
    fn may_be_restored(&self, maps: &TaskTable, index: u32) -> bool {
        maps.may_return_with(index)
            .and_then(|worker| self.state.worker(worker))
            .is_some_and(|worker| {
                let waited_ms = self.age_ms.saturating_sub(worker.registered_age_ms);
                let told = self.liveness.of(worker).is_some_and(|seen| seen.pulled);
                worker.is_registered() && !told && waited_ms < RESTORE_GRACE_MS
            })
    }

    /// Takes it out; whoever does puts it back.
    fn take_progress(&mut self, job: &Job, active: &Active) -> Progress {
        if let Some(progress) = self.progress.remove(&job.id) {
            return progress;
        }
        let workers = self
            .rooms
            .iter()
            .filter(|room| room.worker.sees_paths_of(job))
            .count();
        let pulls = u32::try_from(workers).unwrap_or(u32::MAX).max(1) * 2;
        let share = |table: &TaskTable| table.counts().idle.div_ceil(pulls).max(1);
        Progress {
            maps_share: share(&active.round().maps),
            reduces_share: share(&active.round().reduces),
            ..Progress::default()
        }
    }

    /// Places a task where it fits best.
    fn place(&mut self, want: &Want<'_>) -> bool {
        let chosen = self.choose(want);
        chosen.is_some_and(|at| self.grant(want, at))
    }

    /// Places a task at one of these, the one with the most room.
    fn place_among(&mut self, want: &Want<'_>, rooms: &[usize]) -> bool {
        let fits = |at: &usize| has_place(&self.rooms[*at], want);
        let fitting: Vec<usize> = rooms.iter().copied().filter(fits).collect();
        let chosen = self.by_policy(want, &fitting);
        chosen.is_some_and(|at| self.grant(want, at))
    }

    fn grant(&mut self, want: &Want<'_>, at: usize) -> bool {
        let Some(room) = self.rooms.get_mut(at) else {
            return false;
        };
        let kind = want.task.kind;
        if kind.is_control() {
            room.control_free = false;
        } else {
            room.want -= 1;
            room.early_reduces += u32::from(want.early);
            *room.placed.entry((want.job.id, kind)).or_insert(0) += 1;
        }
        room.held += 1;
        let worker = WorkerEpoch {
            worker: room.worker.id,
            epoch: room.worker.epoch,
        };
        self.grants.push(Grant {
            task: want.task,
            worker,
            backup: false,
        });
        true
    }

    fn choose(&self, want: &Want<'_>) -> Option<usize> {
        let eligible = |room: &&Room<'_>| match want.task.kind {
            TaskKind::Notify => room.worker.may_tell_of(want.job),
            TaskKind::Plan
            | TaskKind::Map
            | TaskKind::Reduce
            | TaskKind::Close
            | TaskKind::Commit => room.worker.sees_paths_of(want.job),
        };
        let is_avoided = |room: &Room<'_>| want.avoided.contains(&room.worker.id);
        let spare = self.rooms.iter().filter(eligible).any(|r| !is_avoided(r));
        let fits: Vec<usize> = (0..self.rooms.len())
            .filter(|&at| {
                let room = &self.rooms[at];
                eligible(&room) && has_place(room, want) && !(spare && is_avoided(room))
            })
            .collect();
        let preferred = fits
            .iter()
            .copied()
            .find(|&at| Some(self.rooms[at].worker.id) == want.preferred);
        preferred.or_else(|| self.by_policy(want, &fits))
    }

    fn by_policy(&self, want: &Want<'_>, fits: &[usize]) -> Option<usize> {
        let room = |at: usize| &self.rooms[at];
        let in_turn = |number: u64| {
            let count = fits.len() as u64;
            let at = number.checked_rem(count)?;
            fits.get(usize::try_from(at).ok()?).copied()
        };
        match want.job.spec.policy {
            // Whoever has the data was asked before: the most room, so that no worker
            // gets all of a short round.
            Policy::Locality => fits
                .iter()
                .copied()
                .max_by_key(|&at| (room(at).want, Reverse(room(at).held), Reverse(at))),
            Policy::Score => {
                let score = |at: usize| match room(at).worker.pace.score() {
                    0 => self.usual_score,
                    known => known,
                };
                fits.iter()
                    .copied()
                    .max_by_key(|&at| (score(at), room(at).want, Reverse(at)))
            }
            Policy::LeastLoaded => fits.iter().copied().min_by_key(|&at| {
                let load = u64::from(room(at).held) * 1_000;
                (load / u64::from(room(at).worker.info.slots.max(1)), at)
            }),
            Policy::RoundRobin => in_turn(u64::from(want.task.index)),
            Policy::Random => in_turn(xxh3_64(want.task.to_string().as_bytes())),
        }
    }
}

/// The mean of the known scores.
fn usual_score(rooms: &[Room<'_>]) -> u64 {
    let scores = rooms.iter().map(|room| room.worker.pace.score());
    let known: Vec<u64> = scores.filter(|score| *score > 0).collect();
    let sum = known.iter().fold(0_u64, |sum, it| sum.saturating_add(*it));
    sum.checked_div(known.len() as u64).unwrap_or(0)
}

fn want_map<'a>(job: &'a Job, active: &Active, index: u32, share: u32) -> Want<'a> {
    let round = active.round();
    Want {
        job,
        task: TaskId {
            round: round.id,
            kind: TaskKind::Map,
            index,
        },
        avoided: round.maps.avoided(index).collect(),
        preferred: None,
        share: Some(share),
        early: false,
    }
}

fn has_place(room: &Room<'_>, want: &Want<'_>) -> bool {
    let Some(share) = want.share else {
        return room.control_free && room.held < room.worker.held_max();
    };
    let key = (want.job.id, want.task.kind);
    let placed = room.placed.get(&key).copied().unwrap_or(0);
    let early_max = room.worker.info.slots * EARLY_REDUCES_PER_SLOT;
    let held_max = match want.task.kind {
        TaskKind::Reduce => room.worker.reduces_held_max(),
        TaskKind::Plan | TaskKind::Map | TaskKind::Close | TaskKind::Commit | TaskKind::Notify => {
            room.worker.held_max()
        }
    };
    room.want > 0
        && room.held < held_max
        && placed < share
        && !(want.early && room.early_reduces >= early_max)
}

/// Reduces that a worker holds in rounds whose maps are not done.
fn early_reduces(state: &State, worker: &Worker) -> u32 {
    let early = worker.running.iter().filter(|attempt| {
        attempt.task.kind == TaskKind::Reduce
            && state
                .job(attempt.job())
                .and_then(Job::active)
                .is_some_and(|active| !active.round().maps.all_completed())
    });
    u32::try_from(early.count()).unwrap_or(u32::MAX)
}
