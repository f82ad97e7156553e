//! The network between masters breaks: partitions of both directions and of
//! one, a bridge, a link that flaps. F6, F7, F8, F10; S1, S5, S8, S10, L2, L3,
//! L5, mistakes 14 and 15.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use vivat_testkit::proxy::{Direction, Rule};

use crate::faults::{
    SHAPE, assert_nothing_again, assert_sound, await_true, begin, leader_of, many_maps, others,
};
use crate::harness::network::{Link, between, way};
use crate::harness::{Cluster, Job, assert_same_as_oracle, describe, vivat};

const EXIT_TEMPORARY: i32 = 5;
/// Twice the goal for a leader that cannot lead, for a busy machine.
const REPLACED_WITHIN: Duration = Duration::from_secs(10);
/// How long a bridge stands, and how long a link flaps.
const BRIDGED: Duration = Duration::from_secs(8);
const FLAPPING: Duration = Duration::from_secs(12);
const FLAP: Duration = Duration::from_millis(200);
const ELECTIONS_MAX: u64 = 3;
/// Connections that a master may have opened meanwhile for good reasons.
const MORE_FILES_MAX: usize = 24;

#[test]
fn a_leader_cut_off_from_both_others_answers_nothing_while_they_serve() {
    let cluster = Cluster::start_proxied(SHAPE);
    let job = many_maps("out");
    let id = begin(&cluster, &job, 61);

    let (old, term) = leader_of(&cluster);
    let cut: Vec<Link> = others(old)
        .into_iter()
        .flat_map(|other| between(old, other))
        .collect();
    let cut_at = jiff::Timestamp::now();
    let fault = cluster.network().set(&cut, Rule::Drop);
    let calls = others(old)
        .into_iter()
        .map(|to| (Link::Raft { from: old, to }, Direction::ToTarget));
    fault.await_at(&calls.collect::<Vec<_>>());
    for seat in others(old) {
        cluster.await_status_of(seat, "another leader in a later term", |status| {
            status.leader().is_some_and(|leader| leader != old) && status.term() > term
        });
    }
    // A job that the one cut off cannot know: "not found" is an answer of old.
    let second = Job {
        split_bytes: 64 * 1024,
        ..many_maps("second")
    };
    let unknown = cluster.submit(&second);
    assert_refuses(&cluster, old, &unknown);

    let view = cluster.await_success(&id);
    assert_nothing_again(&view, cut_at);
    cluster.await_success(&unknown);
    cluster.network().heal(&cut);
    cluster.await_status_of(old, "the old leader follows", |status| {
        status.leader().is_some_and(|leader| leader != old) && !status.is_serving()
    });
    assert_same_as_oracle(&cluster, &job);
    assert_same_as_oracle(&cluster, &second);
    // S5: what the minority refused never happened.
    assert_eq!(cluster.jobs().len(), 2, "{:?}", cluster.jobs());
    assert_sound(&cluster);
}

/// Neither reads nor writes are answered by a master that has no majority.
fn assert_refuses(cluster: &Cluster, seat: usize, unknown: &str) {
    let late = Job {
        key: Some("late".to_owned()),
        ..many_maps("late")
    };
    let (dir, address) = (cluster.dir(), cluster.address_of(seat));
    let show = ["job", "show", unknown, "-o", "json"].map(str::to_owned);
    thread::scope(|scope| {
        let clients = [show.to_vec(), late.submit_args()].map(|args| {
            scope.spawn(move || {
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                vivat(dir, Some(address), &args)
            })
        });
        for client in clients {
            let answer = client.join().expect("a client's thread ends");
            let code = answer.status.code();
            assert_eq!(code, Some(EXIT_TEMPORARY), "S10: {}", describe(&answer));
        }
    });
}

#[test]
fn a_leader_that_only_speaks_or_only_hears_is_replaced_and_never_one_of_two() {
    let cluster = Cluster::start_proxied(SHAPE);
    let job = many_maps("out");
    let id = begin(&cluster, &job, 62);

    let cut_at = jiff::Timestamp::now();
    cut_one_way(&cluster, |leader, other| way(other, leader));
    cut_one_way(&cluster, way);
    let view = cluster.await_success(&id);
    assert_nothing_again(&view, cut_at);
    assert_same_as_oracle(&cluster, &job);
    assert_sound(&cluster);
}

/// Loses one direction between the leader and each other master, until somebody
/// leads who can; then heals.
fn cut_one_way(cluster: &Cluster, of: impl Fn(usize, usize) -> [(Link, Direction); 2]) {
    let (old, term) = leader_of(cluster);
    let ways: Vec<_> = others(old)
        .into_iter()
        .flat_map(|other| of(old, other))
        .collect();
    let fault = cluster.network().set_ways(&ways, Rule::Drop);
    let cut_at = Instant::now();
    fault.await_somewhere();
    await_true("another leader in a later term", || {
        assert_one_leader(cluster);
        let seen = cluster.status_of(others(old)[0]);
        seen.is_some_and(|status| {
            status.leader().is_some_and(|leader| leader != old) && status.term() > term
        })
    });
    let took = cut_at.elapsed();
    assert!(took < REPLACED_WITHIN, "{took:?} without a leader who can");
    // Hit bytes: those of the heartbeats, or of their answers.
    assert!(fault.hit_bytes() > 0);
    let links: Vec<Link> = ways.into_iter().map(|(link, _)| link).collect();
    cluster.network().heal(&links);
    cluster.await_status("all masters, caught up", |status| status.is_caught_up());
}

/// No two masters say at the same time that they serve. Asking takes time, so
/// who said it first is asked again after the second did.
fn assert_one_leader(cluster: &Cluster) {
    let serves = |seat: &usize| cluster.status_of(*seat).is_some_and(|it| it.is_serving());
    let first: Vec<usize> = (0..SHAPE.masters).filter(serves).collect();
    let Some((last, earlier)) = first.split_last() else {
        return;
    };
    let still: Vec<usize> = earlier
        .iter()
        .copied()
        .filter(|seat| serves(seat))
        .collect();
    assert!(still.is_empty(), "{still:?} and {last} serve at once");
}

#[test]
fn a_follower_that_reaches_the_leader_by_nobody_disturbs_no_term() {
    let cluster = Cluster::start_proxied(SHAPE);
    let job = many_maps("out");
    let id = begin(&cluster, &job, 63);

    let (leader, term) = leader_of(&cluster);
    let follower = others(leader)[0];
    let cut = between(leader, follower);
    let cut_at = jiff::Timestamp::now();
    let until = Instant::now() + BRIDGED;
    let fault = cluster.network().set(&cut, Rule::Drop);
    let [call, _] = way(leader, follower);
    fault.await_at(&[call]);
    let view = cluster.await_success(&id);
    assert_nothing_again(&view, cut_at);
    // Until the time is over, not for a thing to happen in it.
    thread::sleep(until.saturating_duration_since(Instant::now()));
    let bridge = others(leader)[1];
    let seen = cluster.await_status_of(bridge, "a leader", |status| status.leader().is_some());
    assert!(
        seen.term() <= term + ELECTIONS_MAX,
        "{} after {term} in {BRIDGED:?}",
        seen.term()
    );
    cluster.network().heal(&cut);
    cluster.await_status("all masters, caught up", |status| status.is_caught_up());
    assert_same_as_oracle(&cluster, &job);
    assert_sound(&cluster);
}

#[test]
fn a_leader_on_a_flapping_link_causes_few_elections_and_leaks_no_connection() {
    let mut cluster = Cluster::start_proxied(SHAPE);
    let job = many_maps("out");
    let id = begin(&cluster, &job, 64);

    let (leader, term) = leader_of(&cluster);
    let pids: Vec<u32> = (0..SHAPE.masters)
        .map(|it| cluster.master(it).id())
        .collect();
    let files_before: Vec<usize> = pids.iter().map(|pid| open_files(*pid)).collect();
    let links: Vec<Link> = others(leader)
        .into_iter()
        .flat_map(|other| between(leader, other))
        .collect();
    let flapping_at = jiff::Timestamp::now();
    let (mut hits, until) = (0, Instant::now() + FLAPPING);
    while Instant::now() < until {
        let fault = cluster.network().set(&links, Rule::Drop);
        // The rhythm is the fault.
        thread::sleep(FLAP);
        hits += u64::from(fault.hit_bytes() > 0);
        cluster.network().heal(&links);
        thread::sleep(FLAP);
    }
    assert!(hits > 10, "only {hits} times something was lost");
    let seen = cluster.await_status("a leader", |status| status.leader().is_some());
    let elections = seen.term() - term;
    assert!(elections <= ELECTIONS_MAX, "{elections} in {FLAPPING:?}");
    let view = cluster.await_success(&id);
    assert_nothing_again(&view, flapping_at);
    assert_same_as_oracle(&cluster, &job);
    for (pid, before) in pids.into_iter().zip(files_before) {
        await_true("connections that broke are closed", || {
            open_files(pid) <= before + MORE_FILES_MAX
        });
    }
    assert_sound(&cluster);
}

/// Files and sockets that a process has open.
fn open_files(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives");
    files.count()
}
