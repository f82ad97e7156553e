//! Messages between clients, masters and workers, and what they become.
//!
//! The first byte of an input says which message it is.

use std::fmt::Debug;

use prost::Message;
use vivat_core::{LivenessView, assignment, view};
use vivat_proto::convert::attempt::{
    assignments_from_wire, assignments_to_wire, chunk_from_wire, chunk_to_wire,
};
use vivat_proto::convert::dataset::{open_from_wire, open_to_wire};
use vivat_proto::convert::outcome::{
    report_from_wire, report_to_wire, sizes_from_wire, sizes_to_wire,
};
use vivat_proto::convert::view::worker_to_wire;
use vivat_proto::error::kind_of;
use vivat_proto::{raft::v1 as raft, v1};
use vivat_shared::attempt::{AttemptFailure, CommittedPart, FetchFailure, SegmentLocation};
use vivat_shared::cause::{FailureCause, JobFailure};
use vivat_shared::dataset::{
    BlockSummary, DatasetFile, LocatedBlock, ReplicatedBlock, is_contained,
};
use vivat_shared::ids::AttemptId;
use vivat_shared::job::JobSpec;
use vivat_shared::logs::LogEntry;
use vivat_shared::timeline::AttemptSpan;
use vivat_shared::view::{JobView, WorkerView};

use crate::{Target, assert_same, history};

/// Every message that a process decodes.
pub const CONVERSIONS: Target = Target::new("messages", conversions, values);
/// The typed detail of a refusal.
pub const DETAILS: Target = Target::new("error_details", details, detail_values);

type Check = fn(&[u8]);

/// Those with a domain type, then those that are read field by field.
const CHECKS: [Check; 107] = [
    |bytes| both::<v1::JobSpec, JobSpec>(bytes),
    |bytes| both::<v1::Job, JobView>(bytes),
    |bytes| both::<v1::JobFailure, JobFailure>(bytes),
    |bytes| both::<v1::FailureCause, FailureCause>(bytes),
    |bytes| both::<v1::FailedOutcome, AttemptFailure>(bytes),
    |bytes| both::<v1::AttemptId, AttemptId>(bytes),
    assignments,
    |bytes| both::<v1::CommittedPart, CommittedPart>(bytes),
    |bytes| both::<v1::SegmentLocation, SegmentLocation>(bytes),
    worker,
    report,
    fetch_failure,
    append_plan,
    restore_segments,
    message::<v1::SubmitJobRequest>,
    message::<v1::SubmitJobResponse>,
    message::<v1::GetJobResponse>,
    message::<v1::ListJobsRequest>,
    message::<v1::ListJobsResponse>,
    message::<v1::WatchJobRequest>,
    message::<v1::WatchJobResponse>,
    message::<v1::CancelJobRequest>,
    message::<v1::ExplainJobResponse>,
    message::<v1::GetClusterStatusResponse>,
    message::<v1::ListWorkersResponse>,
    message::<v1::TransferLeaderRequest>,
    message::<v1::TransferLeaderResponse>,
    message::<v1::CommitNoopResponse>,
    message::<v1::RegisterWorkerRequest>,
    message::<v1::RegisterWorkerResponse>,
    message::<v1::HeartbeatRequest>,
    message::<v1::HeartbeatResponse>,
    message::<v1::PullAttemptsRequest>,
    message::<v1::PullAttemptsResponse>,
    message::<v1::ReportOutcomesRequest>,
    message::<v1::ReportOutcomesResponse>,
    message::<v1::WatchSegmentsRequest>,
    message::<v1::WatchSegmentsResponse>,
    message::<v1::FetchSegmentsRequest>,
    message::<v1::FetchSegmentsResponse>,
    message::<v1::ProbeSegmentsRequest>,
    message::<v1::ProbeSegmentsResponse>,
    message::<raft::AppendEntriesRequest>,
    message::<raft::StreamAppendRequest>,
    message::<raft::InstallSnapshotRequest>,
    message::<raft::WrongTarget>,
    message::<raft::DescribeMasterResponse>,
    message::<raft::AdoptClusterRequest>,
    |bytes| both::<v1::BlockSummary, BlockSummary>(bytes),
    |bytes| both::<v1::AppendedBlock, ReplicatedBlock>(bytes),
    |bytes| both::<v1::DatasetBlock, LocatedBlock>(bytes),
    |bytes| both::<v1::DatasetFile, DatasetFile>(bytes),
    open_dataset,
    dataset_files,
    message::<v1::Dataset>,
    message::<v1::OpenDatasetResponse>,
    message::<v1::PlaceBlocksRequest>,
    message::<v1::PlaceBlocksResponse>,
    message::<v1::AppendBlocksRequest>,
    message::<v1::SealDatasetRequest>,
    message::<v1::SealDatasetResponse>,
    message::<v1::AbandonDatasetRequest>,
    message::<v1::GetDatasetRequest>,
    message::<v1::GetDatasetResponse>,
    message::<v1::ListDatasetsRequest>,
    message::<v1::ListDatasetsResponse>,
    message::<v1::ListBlocksRequest>,
    message::<v1::ListBlocksResponse>,
    message::<v1::RemoveDatasetRequest>,
    message::<v1::ReportBlocksRequest>,
    message::<v1::ReportBlocksResponse>,
    message::<v1::ReportLostBlocksRequest>,
    message::<v1::PutValueRequest>,
    message::<v1::PutValueResponse>,
    message::<v1::GetValueResponse>,
    message::<v1::ListValuesResponse>,
    message::<v1::WriteBlockRequest>,
    message::<v1::WriteBlockResponse>,
    message::<v1::ReadBlockRequest>,
    message::<v1::ReadBlockResponse>,
    message::<v1::CopyBlockRequest>,
    message::<v1::ListHeldBlocksResponse>,
    |bytes| both::<v1::AttemptSpan, AttemptSpan>(bytes),
    |bytes| both::<v1::LogEntry, LogEntry>(bytes),
    message::<v1::GetTimelineRequest>,
    message::<v1::GetTimelineResponse>,
    message::<v1::RetryJobRequest>,
    message::<v1::RetryJobResponse>,
    message::<v1::ListLogsRequest>,
    message::<v1::ListLogsResponse>,
    message::<v1::GetJobRequest>,
    message::<v1::ExplainJobRequest>,
    message::<v1::DrainWorkerRequest>,
    message::<v1::AppendBlocksResponse>,
    message::<v1::VerifyBlocksRequest>,
    message::<v1::VerifyBlocksResponse>,
    message::<v1::ListHeldBlocksRequest>,
    message::<v1::GetValueRequest>,
    message::<v1::RemoveValueRequest>,
    message::<v1::ListValuesRequest>,
    message::<raft::AppendEntriesResponse>,
    message::<raft::StreamAppendResponse>,
    message::<raft::RequestVoteRequest>,
    message::<raft::RequestVoteResponse>,
    message::<raft::RequestPreVoteRequest>,
    message::<raft::RequestPreVoteResponse>,
    message::<raft::InstallSnapshotResponse>,
];

fn conversions(bytes: &[u8]) {
    if let Some((first, rest)) = bytes.split_first() {
        CHECKS[usize::from(*first) % CHECKS.len()](rest);
    }
}

/// Decodes; what decodes says the same after it was encoded again.
fn decoded<M: Message + Default + PartialEq>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = M::decode(&message.encode_to_vec()[..]).expect("what was encoded decodes");
    // By value: maps of a message print in any order.
    assert!(message == again, "another message after encoding");
    Some(message)
}

fn message<M: Message + Default + PartialEq>(bytes: &[u8]) {
    decoded::<M>(bytes);
}

/// The same for a message and what it becomes.
fn both<M, D>(bytes: &[u8])
where
    M: Message + Default + PartialEq + From<D>,
    D: TryFrom<M> + Clone + Debug,
    D::Error: Debug,
{
    let Some(Ok(value)) = decoded::<M>(bytes).map(D::try_from) else {
        return;
    };
    let again = D::try_from(M::from(value.clone())).expect("our own message");
    assert_same(&value, &again);
}

fn worker(bytes: &[u8]) {
    let Some(Ok(value)) = decoded::<v1::Worker>(bytes).map(WorkerView::try_from) else {
        return;
    };
    let message = worker_to_wire(value.clone(), "h".to_owned());
    let again = WorkerView::try_from(message).expect("our own message");
    assert_same(&value, &again);
}

fn report(bytes: &[u8]) {
    let Some(Ok(value)) = decoded::<v1::Report>(bytes).map(report_from_wire) else {
        return;
    };
    let message = report_to_wire(value.0, value.1.clone());
    let again = report_from_wire(message).expect("our own message");
    assert_same(&value, &again);
}

fn fetch_failure(bytes: &[u8]) {
    if let Some(request) = decoded::<v1::ReportFetchFailureRequest>(bytes) {
        let _value = FetchFailure::try_from(request);
    }
}

fn append_plan(bytes: &[u8]) {
    let Some(request) = decoded::<v1::AppendPlanRequest>(bytes) else {
        return;
    };
    let Ok(chunk) = chunk_from_wire(request.files, request.splits) else {
        return;
    };
    let (files, splits) = chunk_to_wire(chunk.clone());
    let again = chunk_from_wire(files, splits).expect("our own message");
    assert_same(&again, &chunk);
}

fn open_dataset(bytes: &[u8]) {
    let Some(Ok((key, spec))) = decoded::<v1::OpenDatasetRequest>(bytes).map(open_from_wire) else {
        return;
    };
    let message = open_to_wire(key.clone(), spec.clone());
    let again = open_from_wire(message).expect("our own message");
    assert_same(&(key, &spec), &(again.0, &again.1));
    if spec.validate().is_ok() {
        assert!(!spec.name.contains('/'), "a name that is a path");
    }
}

/// A long list of a dataset's files: written by a client, read by everybody.
fn dataset_files(bytes: &[u8]) {
    let Some(list) = decoded::<v1::DatasetFiles>(bytes) else {
        return;
    };
    for file in list.files.into_iter().map(DatasetFile::from) {
        if is_contained(&file.name) {
            let below = std::path::Path::new("/below").join(&file.name);
            assert!(below.starts_with("/below"), "{file:?}");
            let up = |part| part == std::path::Component::ParentDir;
            assert!(!below.components().any(up), "{file:?}");
        }
    }
}

fn restore_segments(bytes: &[u8]) {
    let Some(request) = decoded::<v1::RestoreSegmentsRequest>(bytes) else {
        return;
    };
    for held in request.held {
        let sizes = sizes_from_wire(&held.sizes);
        assert_eq!(sizes_to_wire(&sizes), held.sizes);
        for size in sizes {
            let _bytes = size.bytes();
        }
    }
}

/// Assignments with what their rounds read come back the same, once they could
/// be read at all.
fn assignments(bytes: &[u8]) {
    let Ok(pulled) = v1::PullAttemptsResponse::decode(bytes) else {
        return;
    };
    let Ok(read) = assignments_from_wire(pulled.assignments, pulled.rounds) else {
        return;
    };
    let (assignments, rounds) = assignments_to_wire(read.clone());
    let again = assignments_from_wire(assignments, rounds);
    assert_same(&again, &Ok(read));
}

fn details(bytes: &[u8]) {
    if let Some(kind) = kind_of(bytes) {
        let detail = v1::ErrorDetail { kind: Some(kind) };
        let again = kind_of(&detail.encode_to_vec());
        assert_same(&again, &detail.kind);
    }
}

fn of(check: u8, message: &impl Message) -> Vec<u8> {
    let mut bytes = vec![check];
    message.encode(&mut bytes).expect("a vector grows");
    bytes
}

fn values() -> Vec<Vec<u8>> {
    let mut values = vec![of(0, &v1::JobSpec::from(history::spec()))];
    for state in history::values_of_states() {
        let liveness = LivenessView::default();
        let jobs = view::newest_jobs(&state, &liveness, 1);
        values.extend(jobs.into_iter().map(|job| of(1, &v1::Job::from(job))));
        let workers = view::workers(&state).into_iter().take(1);
        values.extend(workers.map(|worker| of(9, &worker_to_wire(worker, "h".to_owned()))));
        let active = state.jobs().filter_map(|job| job.active());
        for (attempt, _) in active.flat_map(|active| active.live()) {
            if let Some(found) = assignment(&state, attempt) {
                let (assignments, rounds) = assignments_to_wire(vec![found]);
                let pulled = v1::PullAttemptsResponse {
                    assignments,
                    rounds,
                    ..v1::PullAttemptsResponse::default()
                };
                values.push(of(6, &pulled));
            }
        }
    }
    values.push(of(
        52,
        &open_to_wire("put".to_owned(), history::dataset_spec("words")),
    ));
    let files = ["a", "b/../c", "ü ö"].map(|name| v1::DatasetFile {
        name: name.to_owned(),
        bytes: 9,
        crc32c: 1,
    });
    let files = v1::DatasetFiles {
        files: files.to_vec(),
    };
    values.push(of(53, &files));
    for proposal in history::values_of_proposals() {
        for command in proposal.commands {
            if let vivat_core::command::Command::FinishAttempt {
                attempt, outcome, ..
            } = command
            {
                values.push(of(10, &report_to_wire(attempt, outcome)));
            }
        }
    }
    values
}

fn detail_values() -> Vec<Vec<u8>> {
    use v1::error_detail::Kind;
    [
        Kind::StaleEpoch(v1::StaleEpoch {}),
        Kind::NotLeader(v1::NotLeader::default()),
        Kind::UnknownJob(v1::UnknownJob { job: 300 }),
        Kind::InvalidSpec(v1::InvalidSpec::default()),
    ]
    .map(|kind| v1::ErrorDetail { kind: Some(kind) }.encode_to_vec())
    .to_vec()
}
