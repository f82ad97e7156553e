//! Where fetched bytes land, from a server on loopback.

use super::*;
use crate::dir::WorkerDir;
use crate::shuffle::SegmentServer;
use crate::shuffle::memory::Pool;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use vivat_engine::SegmentWriter;
use vivat_proto::v1::segment_service_server::SegmentServiceServer;
use vivat_shared::ids::{AttemptId, Epoch, JobId, WorkerId};

/// Serves map outputs 0 and 1 of job 1, each with two partitions.
async fn served() -> (tempfile::TempDir, Channel) {
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

async fn serve(server: SegmentServer) -> Channel {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = SegmentServiceServer::new(server);
    let incoming = TcpIncoming::from(listener);
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    channel.connect_lazy()
}

async fn fetch(scratch: PathBuf, memory_bytes: u64, channel: Channel) -> Vec<Arrival> {
    let (arrivals, mut arrived) = mpsc::channel(64);
    let flight = Flight {
        holder: WorkerEpoch {
            worker: WorkerId(1),
            epoch: Epoch(1),
        },
        round: RoundId {
            job: JobId(1),
            step: 0,
            round: 0,
        },
        partition: 1,
        outputs: (0..3).map(|map| MapOutput { map, attempt: 1 }).collect(),
        landing: Landing {
            scratch,
            memory: Pool::new(memory_bytes).share(),
        },
        arrivals,
    };
    assert!(flight.fly(channel).await, "the holder answered");
    let mut all = Vec::new();
    while let Some((_, arrival)) = arrived.recv().await {
        all.push(arrival);
    }
    all
}

#[tokio::test]
async fn what_does_not_fit_in_memory_lands_in_files_and_what_is_missing_is_gone() {
    let (temp, channel) = served().await;
    let scratch = temp.path().join("landing");
    let arrivals = fetch(scratch.clone(), 1 << 20, channel.clone()).await;
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
    let arrivals = fetch(scratch.clone(), first.len() as u64, channel).await;
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
    let channel = serve(SegmentServer::busy(dir)).await;
    let all = fetch(temp.path().join("scratch"), 1 << 20, channel).await;
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
