//! How empty disks become one cluster, whatever interrupts them, and what is
//! refused: lost disks, other clusters, other nodes.

use std::time::Duration;

use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use vivat_master::identity::{Identity, Stage};
use vivat_master::raft::StartError;
use vivat_proto::raft::v1 as proto;
use vivat_proto::raft::v1::peer_service_client::PeerServiceClient;
use vivat_proto::raft::v1::raft_service_client::RaftServiceClient;
use vivat_shared::ids::{ClusterId, NodeId, Seat};

use crate::cluster::{Cluster, command};

const CLUSTER: ClusterId = ClusterId(0x1234_5678_9abc);

fn write_identity(cluster: &Cluster, seat: u32, stage: Stage) {
    let dir = cluster.dir(Seat(seat));
    std::fs::create_dir_all(&dir).unwrap();
    let identity = Identity {
        cluster_id: CLUSTER,
        node_id: NodeId(u64::from(seat) + 1),
        seat: Seat(seat),
        stage,
    };
    identity.save(&dir).unwrap();
}

/// All start, one cluster with the id on the disks comes of it, and it works.
async fn forms_that_cluster(mut cluster: Cluster) {
    cluster.start_all().await;
    let (index, _) = cluster.propose(command()).await;
    cluster.applied_everywhere(index).await;
    for seat in cluster.seats() {
        let status = cluster.status(seat);
        assert_eq!(status.cluster_id, CLUSTER);
        assert_eq!(status.node_id, NodeId(u64::from(seat.0) + 1));
    }
    assert_eq!(cluster.handle(Seat(0)).members().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn founder_that_died_before_it_told_anyone_goes_on_with_the_same_cluster() {
    let cluster = Cluster::new(3);
    write_identity(&cluster, 0, Stage::Forming);
    forms_that_cluster(cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn founder_that_died_between_two_adoptions_goes_on_with_the_same_cluster() {
    let cluster = Cluster::new(3);
    write_identity(&cluster, 0, Stage::Forming);
    write_identity(&cluster, 2, Stage::Adopted);
    forms_that_cluster(cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn founder_that_died_before_it_initialized_raft_does_so_when_it_is_back() {
    let cluster = Cluster::new(3);
    write_identity(&cluster, 0, Stage::Formed);
    write_identity(&cluster, 1, Stage::Adopted);
    write_identity(&cluster, 2, Stage::Adopted);
    forms_that_cluster(cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn founder_that_lost_its_disk_before_raft_began_takes_its_cluster_over() {
    let cluster = Cluster::new(3);
    write_identity(&cluster, 1, Stage::Adopted);
    forms_that_cluster(cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn formation_cut_off_at_any_moment_ends_as_one_cluster() {
    for after_ms in [1, 5, 10, 20, 30, 40, 60, 80] {
        let mut cluster = Cluster::new(3);
        let seats = cluster.seats();
        let after = Duration::from_millis(after_ms);
        cluster.cut_off(&seats, after).await;
        cluster.start_all().await;
        let (index, _) = cluster.propose(command()).await;
        cluster.applied_everywhere(index).await;
        let ids = cluster
            .seats()
            .into_iter()
            .map(|seat| cluster.status(seat).cluster_id);
        assert_eq!(ids.collect::<std::collections::BTreeSet<_>>().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seat_with_a_lost_disk_does_not_start_and_says_what_to_do() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    let index = cluster.propose_many(2).await;
    cluster.applied_everywhere(index).await;
    let seat = Seat(2);
    cluster.kill(seat).await;
    std::fs::remove_dir_all(cluster.dir(seat)).unwrap();
    let outcomes = cluster.try_start(&[seat]).await;
    let Err(error) = &outcomes[0].1 else {
        panic!("it started")
    };
    assert!(matches!(error, StartError::DiskLost { .. }), "{error:?}");
    assert!(
        error.to_string().contains("vivat cluster replace 2"),
        "{error}"
    );
    // The id is gone with the disk, and none was made up.
    assert!(Identity::load(&cluster.dir(seat)).unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn founder_with_a_lost_disk_does_not_found_a_second_cluster() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    let index = cluster.propose_many(2).await;
    cluster.applied_everywhere(index).await;
    cluster.kill(Seat(0)).await;
    std::fs::remove_dir_all(cluster.dir(Seat(0))).unwrap();
    let outcomes = cluster.try_start(&[Seat(0)]).await;
    assert!(
        matches!(outcomes[0].1, Err(StartError::DiskLost { seat: Seat(0) })),
        "{outcomes:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn log_that_is_gone_beside_an_identity_is_a_lost_disk() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    let index = cluster.propose_many(2).await;
    cluster.applied_everywhere(index).await;
    let stage = |cluster: &Cluster| {
        Identity::load(&cluster.dir(Seat(1)))
            .unwrap()
            .unwrap()
            .stage
    };
    cluster
        .until("membership to be noted", || {
            (stage(&cluster) == Stage::Member).then_some(())
        })
        .await;
    cluster.kill(Seat(1)).await;
    std::fs::remove_dir_all(cluster.dir(Seat(1)).join("log")).unwrap();
    let outcomes = cluster.try_start(&[Seat(1)]).await;
    assert!(
        matches!(outcomes[0].1, Err(StartError::DiskLost { .. })),
        "{outcomes:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_that_are_gone_behind_a_purged_log_are_a_damaged_disk() {
    let mut cluster = Cluster::new(1);
    cluster.limits.in_flight_max = 4;
    cluster.limits.snapshot_interval_entries = 20;
    cluster.limits.log_margin_entries = 10;
    cluster.start_all().await;
    cluster.propose_many(100).await;
    cluster
        .until("a purge", || {
            (cluster.status(Seat(0)).purged_index > 0).then_some(())
        })
        .await;
    let node = cluster.nodes.remove(&Seat(0)).unwrap();
    node.stop().await;
    std::fs::remove_dir_all(cluster.dir(Seat(0)).join("snapshots")).unwrap();
    let outcomes = cluster.try_start(&[Seat(0)]).await;
    assert!(
        matches!(outcomes[0].1, Err(StartError::DiskDamaged { .. })),
        "{outcomes:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_of_another_seat_is_refused() {
    let mut cluster = Cluster::new(3);
    write_identity(&cluster, 1, Stage::Adopted);
    std::fs::rename(cluster.dir(Seat(1)), cluster.dir(Seat(2))).unwrap();
    let outcomes = cluster.try_start(&[Seat(2)]).await;
    assert!(
        matches!(
            outcomes[0].1,
            Err(StartError::OtherSeat { found: Seat(1), .. })
        ),
        "{outcomes:?}"
    );
}

async fn channel(cluster: &Cluster, seat: Seat) -> Channel {
    let address = format!("http://{}", cluster.addresses[&seat]);
    Channel::from_shared(address)
        .unwrap()
        .connect()
        .await
        .unwrap()
}

async fn vote_for(
    channel: Channel,
    cluster_id: Option<String>,
    node_id: Option<String>,
) -> Result<(), Status> {
    let mut request = Request::new(proto::RequestVoteRequest {
        payload: Vec::new().into(),
    });
    if let Some(cluster_id) = cluster_id {
        let value = cluster_id.parse().unwrap();
        request.metadata_mut().insert("vivat-cluster", value);
    }
    if let Some(node_id) = node_id {
        let value = node_id.parse().unwrap();
        request.metadata_mut().insert("vivat-target", value);
    }
    let mut client = RaftServiceClient::new(channel);
    client.request_vote(request).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn call_for_another_cluster_or_node_is_refused_with_its_own_name() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    let ours = cluster.status(Seat(1));
    let channel = channel(&cluster, Seat(1)).await;
    let cluster_id = Some(ours.cluster_id.to_string());
    let node_id = Some(ours.node_id.0.to_string());
    let wrong = [
        (Some(CLUSTER.to_string()), node_id.clone()),
        (cluster_id.clone(), Some("1".to_owned())),
        (cluster_id.clone(), None),
        (None, None),
    ];
    for (cluster_id, node_id) in wrong {
        let status = vote_for(channel.clone(), cluster_id, node_id)
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        let details = proto::WrongTarget::decode(status.details()).unwrap();
        assert_eq!(details.node_id, ours.node_id.0);
        assert_eq!(details.cluster_id, ours.cluster_id.to_string());
    }
    // The right name comes as far as the payload.
    let status = vote_for(channel, cluster_id, node_id).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn member_is_not_adopted_by_another_cluster() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    let ours = cluster.status(Seat(1));
    let mut client = PeerServiceClient::new(channel(&cluster, Seat(1)).await);
    let mut adopt = async |cluster_id: ClusterId, seat, node_id| {
        let request = proto::AdoptClusterRequest {
            cluster_id: cluster_id.to_string(),
            seat,
            node_id,
        };
        let outcome = client.adopt_cluster(request).await;
        outcome.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(adopt(CLUSTER, 1, 2).await, Code::FailedPrecondition);
    assert_eq!(adopt(ours.cluster_id, 1, 7).await, Code::FailedPrecondition);
    assert_eq!(adopt(ours.cluster_id, 2, 3).await, Code::FailedPrecondition);
    // The founder may repeat itself.
    assert_eq!(adopt(ours.cluster_id, 1, 2).await, Code::Ok);
}
