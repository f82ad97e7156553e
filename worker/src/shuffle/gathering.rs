//! Drives the gathering of one reduce: the leader's locations in, streams to
//! holders out, until every map's segment is here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use vivat_engine::{SegmentError, SegmentFile};
use vivat_proto::v1;
use vivat_shared::attempt::{AttemptFailure, Outcome, SegmentLocation, Work};
use vivat_shared::ids::{AttemptId, Epoch, RoundId, TaskId, TaskKind, WorkerEpoch, WorkerId};

use super::fetched::{Fetched, Piece, Scratch};
use super::gather::{Batch, Complaint, Failure, Gather, MapOutput};
use super::landing::{Landing, check};
use super::order::{Arrival, Arrivals, Order};
use super::{Shuffle, locations};
use crate::dir::WorkerDir;
use crate::held::Grant;
use crate::session::{blocking, call_leader};

const COMPLAINT_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages of the leader that wait to be read.
const QUEUE_MAX: usize = 64;

/// The state of one gathering.
struct Gathering {
    shuffle: Arc<Shuffle>,
    grant: Arc<Grant>,
    gather: Gather,
    addresses: HashMap<WorkerEpoch, String>,
    landing: Landing,
    /// Segments that were asked for and have not come, by holder.
    asked: HashMap<WorkerEpoch, usize>,
    arrivals: Arrivals,
    /// Segments of this worker that are being looked up.
    lookups: JoinSet<()>,
    complaints: JoinSet<()>,
}

impl Shuffle {
    /// Gathers, and hands the reduce to the slots or reports why it cannot be.
    pub(super) async fn gather(self: &Arc<Self>, grant: &Arc<Grant>, fetched: Option<Fetched>) {
        let Work::Reduce { maps, .. } = grant.work else {
            return;
        };
        let mut fetched = fetched.unwrap_or_else(|| Fetched::none_of(maps));
        if fetched.turn.is_none() {
            // The semaphore is never closed.
            fetched.turn = self.turns.clone().acquire_owned().await.ok();
        }
        let attempt = grant.attempt;
        let started = Instant::now();
        let scratch = self.dir.scratch_path(attempt);
        fetched.scratch.get_or_insert_with(|| Scratch {
            path: scratch.clone(),
            runtime: self.runtime.clone(),
            threads: self.dir.threads(),
        });
        let share = || self.memory.share();
        let memory = fetched.memory.get_or_insert_with(share).clone();
        let (arrivals, arriving) = mpsc::unbounded_channel();
        let gathering = Gathering {
            shuffle: self.clone(),
            grant: grant.clone(),
            gather: Gather::new(fetched),
            addresses: HashMap::new(),
            landing: Landing { scratch, memory },
            asked: HashMap::new(),
            arrivals,
            lookups: JoinSet::new(),
            complaints: JoinSet::new(),
        };
        match gathering.run(arriving).await {
            Ok(mut fetched) => {
                fetched.elapsed += started.elapsed();
                tracing::debug!(%attempt, bytes = fetched.bytes(), "segments gathered");
                self.core.change(|held| held.fetched(attempt, fetched));
            }
            Err(error) => {
                let cause = self.dir.cause("fetched segments", &error);
                tracing::warn!(%attempt, cause = %cause, "cannot gather segments");
                let outcome = Outcome::Failed(AttemptFailure {
                    log: None,
                    cause,
                    input: None,
                    output_tail: String::new(),
                });
                self.core
                    .change(|held| held.fail_fetching(attempt, outcome));
            }
        }
    }
}

impl Gathering {
    async fn run(
        mut self,
        mut arriving: mpsc::UnboundedReceiver<(WorkerEpoch, Arrival)>,
    ) -> std::io::Result<Fetched> {
        let (updates, mut updated) = mpsc::channel(QUEUE_MAX);
        let request = v1::WatchSegmentsRequest {
            worker: Some(self.grant.worker.into()),
            reducer: Some(self.grant.attempt.into()),
        };
        let follow = locations::follow(self.shuffle.leader.clone(), request, updates);
        let _subscription = AbortOnDropHandle::new(tokio::spawn(follow));
        while !self.gather.is_complete() {
            self.gather.wake(Instant::now());
            while let Some(batch) = self.next_batch() {
                self.ask(batch);
            }
            let wake = self.gather.next_wake();
            tokio::select! {
                Some(update) = updated.recv() => self.learn(update),
                Some((holder, arrival)) = arriving.recv() => self.arrived(holder, arrival)?,
                Some(looked) = self.lookups.join_next() => {
                    looked.map_err(std::io::Error::other)?;
                }
                Some(_) = self.complaints.join_next() => {}
                () = sleep_until(wake), if wake.is_some() => {}
            }
        }
        Ok(self.gather.into_fetched())
    }

    fn learn(&mut self, update: v1::WatchSegmentsResponse) {
        for address in update.addresses {
            let holder = WorkerEpoch {
                worker: WorkerId(address.worker),
                epoch: Epoch(address.epoch),
            };
            self.addresses.insert(holder, address.address);
        }
        for lost in update.lost {
            if let Ok(attempt) = u16::try_from(lost.attempt) {
                let map = lost.map;
                self.gather.lost(MapOutput { map, attempt });
            }
        }
        for located in update.located {
            match SegmentLocation::try_from(located) {
                Ok(location) => self.gather.located(location),
                Err(error) => tracing::error!(error = %error, "cannot read a location"),
            }
        }
    }

    fn next_batch(&mut self) -> Option<Batch> {
        let asked = &self.asked;
        self.gather.next_batch(|holder| asked.contains_key(&holder))
    }

    fn ask(&mut self, batch: Batch) {
        let holder = batch.holder;
        self.asked.insert(holder, batch.outputs.len());
        let arrivals = self.arrivals.clone();
        let (round, partition) = (self.grant.attempt.task.round, self.partition());
        let shuffle = &self.shuffle;
        if holder.worker == self.grant.worker.worker {
            let doubt = |output| (output, self.gather.is_doubted(output));
            let outputs = batch.outputs.into_iter().map(doubt).collect();
            let dir = shuffle.dir.clone();
            self.lookups.spawn(async move {
                for arrival in look_up(dir, round, partition, outputs).await {
                    // Nobody wants them any more when it fails.
                    let _unwanted = arrivals.send((holder, arrival));
                }
            });
            return;
        }
        let address = self.addresses.get(&holder).map_or("", String::as_str);
        let landing = self.landing.clone();
        let order = Order::new((round, partition), batch, landing, arrivals);
        if let Some(line) = shuffle.lines.order(order, address) {
            shuffle.tasks.spawn_on(line.run(), &shuffle.runtime);
        }
    }

    fn arrived(&mut self, holder: WorkerEpoch, arrival: Arrival) -> std::io::Result<()> {
        let now = Instant::now();
        if let Some(left) = self.asked.get_mut(&holder) {
            *left -= 1;
            if *left == 0 {
                self.asked.remove(&holder);
            }
        }
        let complaint = match arrival {
            Arrival::Got(output, piece) => {
                self.gather.got(output, piece);
                None
            }
            Arrival::Bad(output) => self.gather.got_bad(output, holder, now),
            Arrival::Failed(output, failure) => self.gather.failed(output, holder, failure, now),
            Arrival::NotAsked(output) => {
                self.gather.not_asked(output);
                None
            }
            Arrival::Storage(error) => return Err(error),
        };
        if let Some(complaint) = complaint {
            self.complain(complaint);
        }
        Ok(())
    }

    fn complain(&mut self, complaint: Complaint) {
        let Complaint {
            output,
            holder,
            gone,
        } = complaint;
        let map = map_attempt(self.grant.attempt.task.round, output);
        tracing::warn!(reducer = %self.grant.attempt, %map, %holder, gone, "cannot fetch");
        let request = v1::ReportFetchFailureRequest {
            worker: Some(self.grant.worker.into()),
            reducer: Some(self.grant.attempt.into()),
            map: Some(map.into()),
            holder: Some(holder.into()),
            gone,
        };
        let leader = self.shuffle.leader.clone();
        self.complaints.spawn(async move {
            let told = call_leader(
                &leader,
                COMPLAINT_TIMEOUT,
                COMPLAINT_TIMEOUT,
                &request,
                |mut client, request| async move { client.report_fetch_failure(request).await },
            )
            .await;
            // It is told again for as long as it is true.
            if let Err(error) = told {
                tracing::debug!(%map, error = %error, "cannot report a failed fetch");
            }
        });
    }

    fn partition(&self) -> u32 {
        self.grant.attempt.task.index
    }
}

fn map_attempt(round: RoundId, output: MapOutput) -> AttemptId {
    AttemptId {
        task: TaskId {
            round,
            kind: TaskKind::Map,
            index: output.map,
        },
        number: output.attempt,
    }
}

/// Segments of this very worker. The reduce proves them as it reads them; those
/// that it found bad before, in doubt, are proved here.
async fn look_up(
    dir: Arc<WorkerDir>,
    round: RoundId,
    partition: u32,
    outputs: Vec<(MapOutput, bool)>,
) -> Vec<Arrival> {
    let threads = dir.threads();
    let look = move || {
        let one = |(output, in_doubt)| match local(&dir, map_attempt(round, output), partition) {
            Ok(piece) if in_doubt && check(&piece, partition).is_err() => Arrival::Bad(output),
            Ok(piece) => Arrival::Got(output, piece),
            Err(failure) => Arrival::Failed(output, failure),
        };
        outputs.into_iter().map(one).collect()
    };
    blocking(threads, look).await.unwrap_or_else(|| {
        let error = std::io::Error::other("looking up segments panicked");
        vec![Arrival::Storage(error)]
    })
}

fn local(dir: &WorkerDir, map: AttemptId, partition: u32) -> Result<Piece, Failure> {
    let path = dir.segment_path(map);
    let error = match SegmentFile::open(&path) {
        // The location said that there is something for the partition.
        Ok(file) => {
            let range = file.partition_range(partition);
            let (offset, bytes) = range.ok_or(Failure::Gone)?;
            return Ok(Piece::Local {
                path,
                offset,
                bytes,
            });
        }
        Err(error) => error,
    };
    tracing::warn!(%map, error = %error, "cannot open a segment of this worker");
    Err(match error {
        // Too many open files, perhaps: the leader has it looked at.
        SegmentError::Io { source } if source.kind() != std::io::ErrorKind::NotFound => {
            Failure::Unreachable
        }
        SegmentError::Io { .. }
        | SegmentError::Damaged { .. }
        | SegmentError::UnknownVersion { .. } => Failure::Gone,
    })
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}
