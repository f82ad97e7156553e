//! What comes over a line, and where it lands, from a server on loopback.

use std::path::PathBuf;

use super::*;
use crate::dir::WorkerDir;
use crate::shuffle::SegmentServer;
use crate::shuffle::fetched::Piece;
use crate::shuffle::gather::{Batch, MapOutput};
use crate::shuffle::landing::{Landing, check};
use crate::shuffle::memory::Pool;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use vivat_engine::SegmentWriter;
use vivat_ground::Transport;
use vivat_proto::v1::segment_service_server::SegmentServiceServer;
use vivat_shared::ids::{AttemptId, Epoch, JobId, RoundId, WorkerId};

/// Serves map outputs 0 and 1 of job 1, each with two partitions.
async fn served() -> (tempfile::TempDir, String) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Arc::new(WorkerDir::open(temp.path()).unwrap());
    for map in 0..2 {
        let attempt: AttemptId = format!("job-1.0.0.map-{map}.1").parse().unwrap();
        let path = dir.new_segment_path(attempt).unwrap();
        let mut writer = SegmentWriter::create(&path, 2).unwrap();
        for partition in 0..2 {
            for key in 0..1_000 {
                let key = format!("key-{map}-{key:04}");
                writer.push(partition, key.as_bytes(), b"value").unwrap();
            }
        }
        writer.finish().unwrap();
    }
    let (_registered, watched) = tokio::sync::watch::channel(None);
    (temp, serve(SegmentServer::new(dir, watched)).await)
}

async fn serve(server: SegmentServer) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = SegmentServiceServer::new(server);
    let incoming = TcpIncoming::from(listener);
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    address.to_string()
}

type Arriving = mpsc::UnboundedReceiver<(WorkerEpoch, Arrival)>;

/// An order for three map outputs, of which the last one does not exist.
fn order(partition: u32, scratch: PathBuf, memory_bytes: u64) -> (Order, Arriving) {
    let (arrivals, arriving) = mpsc::unbounded_channel();
    let batch = Batch {
        holder: WorkerEpoch {
            worker: WorkerId(1),
            epoch: Epoch(1),
        },
        outputs: (0..3).map(|map| MapOutput { map, attempt: 1 }).collect(),
        bytes: 1,
    };
    let round = RoundId {
        job: JobId(1),
        step: 0,
        round: 0,
    };
    let memory = Pool::new(memory_bytes).share();
    let landing = Landing { scratch, memory };
    let order = Order::new((round, partition), batch, landing, arrivals);
    (order, arriving)
}

async fn all(mut arriving: Arriving) -> Vec<Arrival> {
    let mut all = Vec::new();
    while let Some((_, arrival)) = arriving.recv().await {
        all.push(arrival);
    }
    all
}

async fn fetch(scratch: PathBuf, memory_bytes: u64, address: &str) -> Vec<Arrival> {
    let lines = Lines::new(Holders::new(Transport::default()));
    let (order, arriving) = order(1, scratch, memory_bytes);
    let line = lines.order(order, address).unwrap();
    tokio::spawn(line.run());
    all(arriving).await
}

#[tokio::test]
async fn what_does_not_fit_in_memory_lands_in_files_and_what_is_missing_is_gone() {
    let (temp, address) = served().await;
    let scratch = temp.path().join("landing");
    let arrivals = fetch(scratch.clone(), 1 << 20, &address).await;
    assert!(
        matches!(
            arrivals[..],
            [
                Arrival::Got(_, Piece::Memory(_)),
                Arrival::Got(_, Piece::Memory(_)),
                Arrival::Failed(MapOutput { map: 2, .. }, Failure::Gone)
            ]
        ),
        "{arrivals:?}"
    );
    assert!(!scratch.exists());

    let Arrival::Got(_, Piece::Memory(first)) = &arrivals[0] else {
        panic!("just looked at");
    };
    // Room for one of two.
    let arrivals = fetch(scratch.clone(), first.len() as u64, &address).await;
    let Arrival::Got(_, piece @ Piece::Scratch { path, .. }) = &arrivals[1] else {
        panic!("{arrivals:?}");
    };
    assert_eq!(path.parent(), Some(scratch.as_path()));
    assert!(check(piece, 1).is_ok() && check(piece, 0).is_err());
}

#[tokio::test]
async fn holder_whose_streams_are_all_taken_says_so_and_is_not_taken_for_dead() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Arc::new(WorkerDir::open(temp.path()).unwrap());
    let address = serve(SegmentServer::busy(dir)).await;
    let all = fetch(temp.path().join("scratch"), 1 << 20, &address).await;
    assert!(
        matches!(
            all[..],
            [
                Arrival::Failed(_, Failure::Busy),
                Arrival::NotAsked(_),
                Arrival::NotAsked(_)
            ]
        ),
        "{all:?}"
    );
}

#[tokio::test]
async fn order_that_nobody_waits_for_any_more_holds_up_none_behind_it() {
    let (temp, address) = served().await;
    let lines = Lines::new(Holders::new(Transport::default()));
    let (given_up, arriving) = order(0, temp.path().join("0"), 1 << 20);
    drop(arriving);
    let (wanted, arriving) = order(1, temp.path().join("1"), 1 << 20);
    let line = lines.order(given_up, &address).unwrap();
    assert!(lines.order(wanted, &address).is_none());
    tokio::spawn(line.run());
    let arrivals = all(arriving).await;
    assert!(
        matches!(
            arrivals[..],
            [Arrival::Got(..), Arrival::Got(..), Arrival::Failed(..)]
        ),
        "{arrivals:?}"
    );
}

#[tokio::test]
async fn line_that_is_dropped_with_its_orders_leaves_no_reduce_waiting() {
    let temp = tempfile::tempdir().unwrap();
    let lines = Lines::new(Holders::new(Transport::default()));
    let (order, arriving) = order(1, temp.path().join("scratch"), 1 << 20);
    drop(lines.order(order, "127.0.0.1:1"));
    let arrivals = all(arriving).await;
    assert!(
        matches!(
            arrivals[..],
            [
                Arrival::Failed(_, Failure::Unreachable),
                Arrival::NotAsked(_),
                Arrival::NotAsked(_)
            ]
        ),
        "{arrivals:?}"
    );
}
