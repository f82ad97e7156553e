//! Three replicas in one process: formation, loss of a leader, restarts,
//! compaction, hand-over.

use std::time::{Duration, Instant};

use vivat_core::State;
use vivat_core::snapshot;
use vivat_master::raft::{ProposeError, RaftLimits, Role, StartError, Timing, TransferError};
use vivat_shared::ids::Seat;

use crate::cluster::{Cluster, PATIENCE, command};

/// So small that a few dozen entries make a snapshot and a purge.
fn small_limits() -> RaftLimits {
    RaftLimits {
        in_flight_max: 8,
        snapshot_interval_entries: 40,
        log_margin_entries: 20,
        ..RaftLimits::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_empty_masters_that_start_together_elect_a_leader() {
    let mut cluster = Cluster::new(3);
    let began = Instant::now();
    cluster.start_all().await;
    let leader = cluster.leader().await;
    eprintln!("a leader after {:?}", began.elapsed());
    let (index, replies) = cluster.propose(command()).await;
    assert_eq!(replies.len(), 1);
    cluster.applied_everywhere(index).await;
    let members = cluster.handle(leader).members();
    assert_eq!(members.len(), 3);
    assert!(members.iter().all(|member| member.voter));
    let peers = cluster.handle(leader).describe_peers(PATIENCE).await;
    for (member, description) in peers {
        let description = description.expect("all of them run");
        assert_eq!(
            description.client_address,
            format!("client-{}:1", member.seat.0)
        );
        assert!(description.raft.is_some());
    }
    assert_eq!(cluster.status(leader).role, Role::Leader);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_master_alone_is_a_cluster() {
    let mut cluster = Cluster::new(1);
    cluster.start_all().await;
    let index = cluster.propose_many(3).await;
    let handle = cluster.handle(Seat(0));
    handle.ensure_linearizable().await.unwrap();
    assert!(handle.read(State::applied_index) >= index);
    cluster.kill(Seat(0)).await;
    cluster.start_all().await;
    assert!(cluster.propose(command()).await.0 > index);
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_goes_on_when_its_leader_is_killed_and_takes_it_back() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    let before = cluster.propose_many(5).await;
    let old = cluster.leader().await;
    let term = cluster.status(old).term;
    cluster.kill(old).await;
    let after = cluster.propose_many(5).await;
    assert!(after > before);
    let new = cluster.leader().await;
    assert_ne!(new, old);
    assert!(cluster.status(new).term > term);
    cluster.start(old).await;
    cluster.applied_everywhere(after).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_intact_after_all_masters_were_killed() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    let index = cluster.propose_many(70).await;
    cluster.applied_everywhere(index).await;
    let hashes: Vec<u64> = cluster
        .seats()
        .into_iter()
        .map(|seat| cluster.status(seat).state_hash)
        .collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:x?}");
    assert_eq!(cluster.status(Seat(0)).hash_index, 64);
    cluster.kill_all().await;
    cluster.start_all().await;
    cluster.leader().await;
    cluster.applied_everywhere(index).await;
    for seat in cluster.seats() {
        assert_eq!(cluster.status(seat).state_hash, hashes[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_after_compaction_loses_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.limits = small_limits();
    cluster.start_all().await;
    for _ in 0..3 {
        let index = cluster.propose_many(100).await;
        cluster.applied_everywhere(index).await;
        let purged = |cluster: &Cluster| {
            let status = cluster.status(Seat(0));
            (status.purged_index + 80 >= index).then_some(status)
        };
        let status = cluster.until("a purge", || purged(&cluster)).await;
        assert!(status.snapshot_index >= status.purged_index);
        assert!(status.last_log_index - status.purged_index >= 20);
        let of = |cluster: &Cluster, seat| cluster.handle(seat).read(snapshot::encode);
        let before = of(&cluster, Seat(0));
        let applied = cluster.status(Seat(0)).applied_index;
        assert_eq!(applied, index);
        cluster.kill_all().await;
        cluster.start_all().await;
        let again = cluster
            .until("the same state", || {
                let now = cluster.handle(Seat(0)).read(State::applied_index);
                (now >= applied).then(|| of(&cluster, Seat(0)))
            })
            .await;
        // A new leader's blank entry may already be in it.
        let (before, again) = (
            snapshot::decode(&before).unwrap(),
            snapshot::decode(&again).unwrap(),
        );
        assert_eq!(before.now_ms(), again.now_ms());
        assert!(again.applied_index() >= before.applied_index());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn follower_behind_a_purged_log_catches_up_by_snapshot() {
    let mut cluster = Cluster::new(3);
    cluster.limits = small_limits();
    cluster.start_all().await;
    let leader = cluster.leader().await;
    let absent = cluster
        .seats()
        .into_iter()
        .find(|seat| *seat != leader)
        .unwrap();
    let seen = cluster.status(absent).last_log_index;
    cluster.kill(absent).await;
    let index = cluster.propose_many(200).await;
    let leader = cluster.leader().await;
    cluster
        .until("a purge past the absent follower", || {
            (cluster.status(leader).purged_index > seen + 40).then_some(())
        })
        .await;
    cluster.start(absent).await;
    cluster.applied_everywhere(index).await;
    let status = cluster.status(absent);
    assert!(status.snapshot_index > seen, "{status:?}");
    let index = cluster.propose_many(70).await;
    cluster.applied_everywhere(index).await;
    let hashes: Vec<_> = cluster
        .seats()
        .into_iter()
        .map(|seat| {
            (
                cluster.status(seat).hash_index,
                cluster.status(seat).state_hash,
            )
        })
        .collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:x?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn proposal_for_an_old_term_is_not_written() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    let handle = cluster.handle(leader);
    let term = handle.leadership().borrow().term;
    handle.propose(Some(term), vec![command()]).await.unwrap();
    let before = handle.status().last_log_index;
    let refused = handle.propose(Some(term - 1), vec![command()]).await;
    assert!(
        matches!(refused, Err(ProposeError::NotLeader { term: now, .. }) if now == term),
        "{refused:?}"
    );
    assert_eq!(handle.status().last_log_index, before);
    let follower = cluster
        .seats()
        .into_iter()
        .find(|seat| *seat != leader)
        .unwrap();
    let refused = cluster
        .handle(follower)
        .propose(None, vec![command()])
        .await;
    let leader_id = handle.status().node_id;
    assert!(
        matches!(refused, Err(ProposeError::NotLeader { leader: Some(id), .. }) if id == leader_id),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_without_a_quorum_neither_writes_nor_reads() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    for seat in cluster.seats() {
        if seat != leader {
            cluster.kill(seat).await;
        }
    }
    let handle = cluster.handle(leader);
    cluster
        .until("the lease to run out", || {
            (handle.quorum_acked_ago()? > handle.lease()).then_some(())
        })
        .await;
    assert!(matches!(
        handle.propose(None, vec![command()]).await,
        Err(ProposeError::NotLeader { leader: None, .. })
    ));
    assert!(handle.ensure_linearizable().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_without_an_election_timeout() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    let index = cluster.propose_many(3).await;
    cluster.applied_everywhere(index).await;
    let leader = cluster.leader().await;
    let target = cluster
        .seats()
        .into_iter()
        .find(|seat| *seat != leader)
        .unwrap();
    let began = Instant::now();
    let took = cluster.handle(leader).transfer_leader(Some(target)).await;
    assert_eq!(took, Ok(target));
    eprintln!("handed over in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(matches!(
        cluster.handle(leader).transfer_leader(None).await,
        Err(TransferError::NotLeader { .. })
    ));
    assert!(cluster.propose(command()).await.0 > index);
}

/// The next leader may be elected without regard to the lease of this one (S10).
#[tokio::test(flavor = "multi_thread")]
async fn leader_that_gives_its_place_away_is_not_confirmed_any_more() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    let leader = cluster.leader().await;
    let target = cluster
        .seats()
        .into_iter()
        .find(|seat| *seat != leader)
        .unwrap();
    // Nobody takes over at once, so that there is time to look.
    cluster.kill(target).await;
    let handle = cluster.handle(leader);
    let confirmed = || {
        handle
            .quorum_acked_ago()
            .is_some_and(|ago| ago < handle.lease())
    };
    cluster
        .until("a confirmed leader of two", || confirmed().then_some(()))
        .await;
    let term = handle.status().term;
    let giving = tokio::spawn({
        let handle = handle.clone();
        async move { handle.transfer_leader(Some(target)).await }
    });
    cluster
        .until("it to begin", || {
            (giving.is_finished() || !confirmed()).then_some(())
        })
        .await;
    let ago = handle.quorum_acked_ago();
    assert_eq!(
        ago,
        None,
        "led on in the term: {}",
        handle.status().term == term
    );
    // Somebody leads again, and is confirmed.
    assert!(cluster.propose(command()).await.0 > 0);
    let _gave_up_or_taken_by_another = giving.await.unwrap();
}

/// The kernel of a killed process refuses connections, which a slow leader's
/// does not: followers wait for the lease, and not for the election timeout too.
#[tokio::test(flavor = "multi_thread")]
async fn followers_of_a_process_that_ended_wait_for_its_lease_alone() {
    let mut cluster = Cluster::new(3);
    cluster.timing = Timing {
        heartbeat_ms: 100,
        election_min_ms: 2_999,
        election_max_ms: 3_000,
        ..Timing::default()
    };
    cluster.start_all().await;
    let leader = cluster.leader().await;
    cluster.applied_everywhere(1).await;
    let term = cluster.status(leader).term;
    let killed_at = Instant::now();
    cluster.kill(leader).await;
    let next = cluster.leader().await;
    let took = killed_at.elapsed();
    eprintln!("another leader after {took:?}");
    assert!(cluster.status(next).term > term);
    // The lease, less what had passed of it; the timeout would double it.
    assert!(took > Duration::from_millis(2_500), "{took:?}");
    assert!(took < Duration::from_millis(5_500), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_proposals_than_the_bound_are_refused_before_raft_sees_them() {
    let mut cluster = Cluster::new(3);
    cluster.limits = small_limits();
    cluster.start_all().await;
    let handle = cluster.handle(cluster.leader().await);
    let calls = (0..200).map(|_| handle.propose(None, vec![command()]));
    let outcomes = futures_util::future::join_all(calls).await;
    let refused = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(ProposeError::Overloaded { in_flight: 8 })))
        .count();
    let written = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(refused + written, 200);
    assert!(written >= 8);
    assert!(refused > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn second_process_on_a_directory_is_told_so() {
    let mut cluster = Cluster::new(1);
    cluster.start_all().await;
    // It would also meet the port, which is not the question here.
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    cluster.listeners.lock().unwrap().insert(Seat(0), elsewhere);
    let config = cluster.config(Seat(0));
    let refused = vivat_master::raft::Node::start(config).await.map(|_| ());
    assert!(
        matches!(refused, Err(StartError::DirInUse { .. })),
        "{refused:?}"
    );
}
