//! Clients that put datasets: each opens one under a key, writes its blocks to
//! the workers that it is told, records each, and seals it. What is not answered
//! is asked again; some break off, and some remove what they sealed.

use std::collections::BTreeSet;

use vivat_core::command::{DatasetSeal, Rejection};
use vivat_shared::dataset::{
    BlockSummary, DatasetFile, DatasetSpec, REPLICAS_DEFAULT, ReplicatedBlock, Shape,
};
use vivat_shared::ids::{BlockId, DatasetId, WorkerId};
use vivat_shared::job::InputFormat;

use crate::event::{CallId, Caller, Event, MasterAt, Message, Request, Response, UploadTimer};
use crate::evidence::Fact;
use crate::jobs::{DATASET_BLOCKS, SPLIT_BYTES};
use crate::oracle::Violation;
use crate::world::World;

const CALL_TIMEOUT_MS: u64 = 1_500;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Writing,
    Sealed,
    Removing,
    Over,
}

/// One dataset, as its client sees it.
#[derive(Debug)]
pub struct Upload {
    number: usize,
    /// Begun anew so often.
    tries: u32,
    dataset: Option<DatasetId>,
    /// Recorded.
    blocks: Vec<BlockSummary>,
    /// Written, and not recorded.
    written: Option<ReplicatedBlock>,
    avoid: BTreeSet<WorkerId>,
    /// After so many blocks the client dies.
    breaks_off_after: Option<usize>,
    removes: bool,
    progress: Progress,
    call: Option<CallId>,
    target: MasterAt,
}

impl Upload {
    pub fn is_settled(&self) -> bool {
        matches!(self.progress, Progress::Sealed | Progress::Over)
    }

    fn name(&self) -> String {
        format!("data-{}", self.number)
    }

    /// What it asks next.
    fn request(&self) -> Request {
        let Some(dataset) = self.dataset else {
            return Request::OpenDataset {
                key: format!("put-{}-{}", self.number, self.tries),
                spec: DatasetSpec {
                    name: self.name(),
                    format: InputFormat::Text,
                    shape: Shape::File,
                    replicas: REPLICAS_DEFAULT,
                },
            };
        };
        if self.progress == Progress::Removing {
            return Request::RemoveDataset {
                name: self.name(),
                dataset,
            };
        }
        let first = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        if let Some(block) = &self.written {
            let block = block.clone();
            return Request::AppendBlock {
                dataset,
                first,
                block,
            };
        }
        if u64::from(first) < DATASET_BLOCKS {
            let avoid = self.avoid.clone();
            return Request::PlaceBlock { dataset, avoid };
        }
        let bytes = u64::from(first) * SPLIT_BYTES;
        let seal = DatasetSeal {
            blocks: first,
            list_blocks: 0,
            files: vec![DatasetFile {
                name: "file".to_owned(),
                bytes,
                crc32c: 0,
            }],
            file_count: 1,
            bytes,
        };
        Request::SealDataset { dataset, seal }
    }

    fn begin_anew(&mut self) {
        self.tries += 1;
        self.dataset = None;
        self.blocks.clear();
        self.written = None;
        self.avoid.clear();
    }
}

impl World {
    /// Lets a client put a dataset after a while. The first is for jobs to read:
    /// it is put until it is there, and stays.
    pub fn add_upload(&mut self, delay_ms: u64) {
        let number = self.uploads.len();
        let dice = &mut self.ground.dice;
        let may_vanish = number > 0;
        let blocks = usize::try_from(DATASET_BLOCKS).unwrap_or(0);
        let upload = Upload {
            number,
            tries: 0,
            dataset: None,
            blocks: Vec::new(),
            written: None,
            avoid: BTreeSet::new(),
            breaks_off_after: (may_vanish && dice.chance(300)).then(|| dice.index(blocks + 1)),
            removes: may_vanish && dice.chance(400),
            progress: Progress::Writing,
            call: None,
            target: dice.index(self.masters.len()),
        };
        self.uploads.push(upload);
        self.upload_timer(delay_ms, number, UploadTimer::Next);
    }

    fn upload_timer(&mut self, delay_ms: u64, upload: usize, timer: UploadTimer) {
        self.ground.after(delay_ms, Event::Upload { upload, timer });
    }

    pub fn on_upload_timer(&mut self, at: usize, timer: UploadTimer) {
        let upload = &mut self.uploads[at];
        match timer {
            UploadTimer::Next if upload.call.is_some() || upload.is_settled() => return,
            UploadTimer::Next => {}
            UploadTimer::Timeout { call } if upload.call == Some(call) => {
                upload.target = (upload.target + 1) % self.masters.len();
            }
            UploadTimer::Timeout { .. } => return,
        }
        let upload = &mut self.uploads[at];
        if upload.breaks_off_after == Some(upload.blocks.len()) && upload.dataset.is_some() {
            upload.progress = Progress::Over;
            upload.call = None;
            self.ground.note(Fact::UploadBrokenOff);
            return;
        }
        self.calls += 1;
        let call = CallId(self.calls);
        upload.call = Some(call);
        let (body, master) = (upload.request(), upload.target);
        self.upload_timer(CALL_TIMEOUT_MS, at, UploadTimer::Timeout { call });
        let from = Caller::Upload(at);
        self.ground.send(Message::Request {
            call,
            from,
            master,
            body,
        });
    }

    pub fn on_upload_response(&mut self, at: usize, call: CallId, body: Response) {
        let masters = self.masters.len();
        let upload = &mut self.uploads[at];
        if upload.call != Some(call) {
            return;
        }
        upload.call = None;
        let mut pause_ms = self.ground.dice.within(1..=60);
        match body {
            Response::Dataset {
                dataset, sealed, ..
            } => self.upload_went_on(at, dataset, sealed),
            Response::Place(hops) if hops.is_empty() => {
                upload.avoid.clear();
                pause_ms = 300;
            }
            Response::Place(hops) => self.write_block(at, &hops),
            Response::Done => upload.progress = Progress::Over,
            Response::Refused(rejection) => self.upload_refused(at, &rejection),
            Response::NotLeader { hint } => {
                upload.target = hint.unwrap_or((upload.target + 1) % masters);
            }
            Response::Unknown => pause_ms = 100,
            Response::Stale
            | Response::Registered(_)
            | Response::Beat { .. }
            | Response::Delivery(_)
            | Response::Verdicts(_)
            | Response::Located { .. }
            | Response::BlockOrders(_)
            | Response::Job { .. }
            | Response::View => {}
        }
        self.upload_timer(pause_ms, at, UploadTimer::Next);
    }

    fn upload_went_on(&mut self, at: usize, dataset: DatasetId, sealed: bool) {
        let upload = &mut self.uploads[at];
        if upload.dataset.is_none() {
            upload.dataset = Some(dataset);
        } else if let Some(block) = upload.written.take() {
            upload.blocks.push(block.summary);
        }
        if !sealed {
            return;
        }
        upload.progress = if upload.removes {
            Progress::Removing
        } else {
            Progress::Sealed
        };
        self.ground.note(Fact::DatasetSealed);
        let (blocks, stays) = (upload.blocks.clone(), !upload.removes);
        self.oracle.sealed(dataset, &blocks, stays);
        if !stays {
            let delay_ms = self.ground.dice.within(1_000..=20_000);
            self.upload_timer(delay_ms, at, UploadTimer::Next);
        }
    }

    fn upload_refused(&mut self, at: usize, rejection: &Rejection) {
        let upload = &mut self.uploads[at];
        let removing = upload.progress == Progress::Removing;
        let is_gone = matches!(rejection, Rejection::UnknownDatasetName(_));
        let is_taken = matches!(rejection, Rejection::DatasetExists { .. });
        let is_over = matches!(
            rejection,
            Rejection::UnknownDataset(_) | Rejection::InvalidBlocks { .. }
        );
        if (removing && is_gone) || is_taken {
            // Removed, maybe by the call that was not answered; or a former try,
            // late on its way, was sealed after all.
            upload.progress = Progress::Over;
        } else if is_over {
            // Given up in its absence, or a block lost every copy before the seal.
            self.ground.note(Fact::UploadBegunAnew);
            upload.begin_anew();
        } else if !removing || !matches!(rejection, Rejection::DatasetInUse { .. }) {
            let detail = format!("upload {at} was refused: {rejection}");
            self.oracle.report(Violation::new("S5", detail));
        }
    }

    /// Writes the next block along a pipeline; a hop may be dead, or die.
    fn write_block(&mut self, at: usize, hops: &[WorkerId]) {
        let upload = &self.uploads[at];
        let Some(dataset) = upload.dataset else {
            return;
        };
        let index = upload.blocks.len() as u64;
        let summary = block(BlockId { dataset, index });
        let mut workers = Vec::new();
        for hop in hops {
            let breaks = self.faulty && self.ground.dice.chance(100);
            let machine = self.machine_of(*hop).filter(|on| self.answers(*on));
            match machine.filter(|_| !breaks) {
                Some(machine) => {
                    self.machines[machine].blocks.insert(summary.id, summary);
                    workers.push(*hop);
                }
                None => {
                    self.uploads[at].avoid.insert(*hop);
                }
            }
        }
        if workers.is_empty() {
            self.ground.note(Fact::PipelineDied);
            return;
        }
        self.uploads[at].written = Some(ReplicatedBlock { summary, workers });
    }
}

/// A block is known by its id.
pub fn block(id: BlockId) -> BlockSummary {
    BlockSummary {
        id,
        bytes: SPLIT_BYTES,
        crc32c: u32::try_from(id.index % 1_000).unwrap_or(0) + 1,
    }
}
