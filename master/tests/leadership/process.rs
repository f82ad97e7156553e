//! The process around it: endpoints, status, what is in use.

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use vivat_master::config::{Listen, MasterConfig};
use vivat_master::process::{Master, StartError};
use vivat_proto::v1;
use vivat_proto::v1::cluster_service_client::ClusterServiceClient;
use vivat_shared::ids::Seat;

use crate::cluster::{Cluster, eventually, get};
use crate::worker::Worker;

#[tokio::test(flavor = "multi_thread")]
async fn every_master_is_live_and_ready_and_only_the_leader_leads() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    for seat in 0..3 {
        let http = cluster.master(seat).addresses().http.clone().unwrap();
        assert_eq!(get(&http, "/livez").await.0, 200);
        eventually("the master is ready", async || {
            (get(&http, "/readyz").await.0 == 200).then_some(())
        })
        .await;
        let (status, body) = get(&http, "/metrics").await;
        assert_eq!(status, 200);
        let expected = format!("vivat_master_leads {}", u32::from(seat == leader));
        assert!(body.contains(&expected), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_master_tells_of_all_and_of_one_that_is_gone() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let gone = cluster.follower().await;
    cluster.kill(gone);
    let asked = (0..3)
        .find(|seat| *seat != leader && *seat != gone)
        .unwrap();
    let mut client = ClusterServiceClient::new(cluster.channel(asked));
    let request = v1::GetClusterStatusRequest {};
    let status = client
        .get_cluster_status(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(status.answered_by, asked);
    assert_eq!(status.leader_seat, Some(leader));
    assert!(!status.serving);
    let roles: Vec<(u32, &str, bool)> = status
        .masters
        .iter()
        .map(|master| (master.seat, master.role.as_str(), master.reachable))
        .collect();
    for (seat, role, reachable) in roles {
        let expected = match seat {
            seat if seat == leader => ("leader", true),
            seat if seat == gone => ("unreachable", false),
            _ => ("follower", true),
        };
        assert_eq!((role, reachable), expected, "seat {seat}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_op_is_committed_at_a_growing_index() {
    let cluster = Cluster::start().await;
    let mut client = ClusterServiceClient::new(cluster.leader_channel().await);
    let mut last = 0;
    for _ in 0..3 {
        let response = client.commit_noop(v1::CommitNoopRequest {}).await.unwrap();
        let index = response.into_inner().index;
        assert!(index > last);
        last = index;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_no_ops_keeps_no_worker_from_registering() {
    let cluster = Cluster::start_with(|config| config.raft_limits.in_flight_max = 16).await;
    let channel = cluster.leader_channel().await;
    let flood = (0..200).map(|_| {
        let mut client = ClusterServiceClient::new(channel.clone());
        async move {
            let mut refused = 0;
            for _ in 0..5 {
                let answer = client.commit_noop(v1::CommitNoopRequest {}).await;
                refused += u32::from(answer.is_err());
            }
            refused
        }
    });
    let workers = async {
        for number in 0..20 {
            // Panics when it is refused.
            Worker::register(&cluster, &format!("w{number}")).await;
        }
    };
    let (refused, ()) = tokio::join!(futures_util::future::join_all(flood), workers);
    let refused: u32 = refused.into_iter().sum();
    assert!(refused > 0, "it was no flood");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_of_worker_services_is_that_of_leadership() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    for seat in 0..3 {
        let mut client = HealthClient::new(cluster.channel(seat));
        let expected = if seat == leader {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        eventually("health follows the gate", async || {
            let service = "vivat.v1.WorkerService".to_owned();
            let response = client.check(HealthCheckRequest { service }).await;
            (response.unwrap().into_inner().status() == expected).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn second_master_on_a_directory_and_on_a_port_is_refused_by_type() {
    let cluster = Cluster::start().await;
    let taken = cluster.master(0).addresses().clone();
    let dir = tempfile::tempdir().unwrap();
    let peers = [(Seat(0), taken.raft.clone())].into();
    let mut config = MasterConfig::new(Seat(0), dir.path().join("other"), peers);
    config.listen = Listen::Address(taken.client.clone());
    let refused = Master::start(config).await.err();
    assert!(
        matches!(&refused, Some(StartError::PortInUse { address }) if *address == taken.client),
        "{refused:?}"
    );
    let peers = [(Seat(0), taken.raft.clone())].into();
    let config = MasterConfig::new(Seat(0), cluster.dir_of(0), peers);
    let refused = Master::start(config).await.err();
    assert!(
        matches!(refused, Some(StartError::DirInUse { .. })),
        "{refused:?}"
    );
}
