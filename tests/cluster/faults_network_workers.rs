//! The network between workers and masters breaks: a leader that no worker
//! reaches, a worker that nobody leads, replies that are lost while the leader
//! dies. F9, F12, F24; S4, S5, L1, L5, mistakes 8, 9 and 14.

use vivat_testkit::proxy::{Direction, Rule};

use crate::faults::{
    SHAPE, assert_accounted, assert_ended_after, assert_nothing_again, assert_sound, await_true,
    begin, begin_reduces, leader_of, many_maps, many_reduces,
};
use crate::harness::network::Link;
use crate::harness::{Cluster, Job, assert_same_as_oracle, parse};
use crate::zombie::{assert_files_gone, assert_refused, epoch_of, map_on_disk};

/// Each loses a reply to every worker.
const ROUNDS: usize = 12;
/// A ping has 17 bytes; every request has more.
const REQUEST_BYTES_MIN: u64 = 18;

#[test]
fn a_leader_whom_no_worker_reaches_hands_over_and_loses_no_worker() {
    let mut cluster = Cluster::start_proxied(SHAPE);
    // Masters ask one another there whom workers come to.
    cluster.network().open_doors();
    let job = many_maps("out");
    let id = begin(&cluster, &job, 71);

    let (old, term) = leader_of(&cluster);
    let cut = cluster.network().links(|link| match link {
        Link::Work { master, .. } | Link::Hint { master } => master == old,
        Link::Raft { .. } | Link::Client { .. } | Link::Segments { .. } => false,
    });
    let cut_at = jiff::Timestamp::now();
    let fault = cluster.network().set(&cut, Rule::Drop);
    fault.await_somewhere();
    cluster.await_status("another leader in a later term", |status| {
        status.leader().is_some_and(|leader| leader != old) && status.term() > term
    });
    let log = cluster.master(old).log();
    assert!(log.contains("handing over"), "not by its own will: {log}");
    let view = cluster.await_success(&id);
    assert_nothing_again(&view, cut_at);
    let status = cluster.await_status("a leader", |status| status.leader().is_some());
    assert_eq!(status.workers_lost(), 0, "L5: {}", status.0);
    cluster.network().heal(&cut);
    assert_same_as_oracle(&cluster, &job);
    assert_sound(&cluster);
}

#[test]
fn a_worker_that_nobody_leads_serves_on_and_its_late_report_is_refused() {
    let mut cluster = Cluster::start_proxied(SHAPE);
    let job = many_reduces("out");
    let id = begin_reduces(&cluster, &job, 72);
    let zombie = epoch_of(&mut cluster, 0);
    let map = map_on_disk(&cluster, &id);

    let cut = cluster
        .network()
        .links(|link| matches!(link, Link::Work { worker: 0, .. }));
    let cut_at = jiff::Timestamp::now();
    let fault = cluster.network().set(&cut, Rule::Drop);
    let segments = Link::Segments { worker: 0 };
    let served = cluster.network().set(&[segments], Rule::Pass);
    fault.await_somewhere();
    cluster.await_status("one worker lost", |status| {
        status.workers_lost() == 1 && status.workers_live() == 2
    });
    assert!(served.passed_bytes() > 0, "nobody fetched from the zombie");
    cluster.network().heal(&cut);
    // S4: it has outcomes to tell of, and none of them is taken.
    await_true("the zombie is told that its registration is stale", || {
        let log = cluster.worker(0).log();
        let refused = log
            .lines()
            .find(|line| line.contains("registration is stale"));
        refused.is_some_and(|line| unreported(line) > 0)
    });
    assert_refused(&cluster, zombie, map);
    cluster.await_status("it is back under another epoch", |status| {
        status.workers_live() == 3
    });
    assert!(epoch_of(&mut cluster, 0).epoch > zombie.epoch);
    let view = cluster.await_success(&id);
    assert_ended_after(&view, cut_at);
    assert_accounted(&view);
    assert!(view.attempts("lost") > 0, "it held nothing: {}", view.0);
    assert_eq!(
        view.attempts("failed"),
        0,
        "a loss is no failure: {}",
        view.0
    );
    assert_same_as_oracle(&cluster, &job);
    assert_files_gone(&cluster, &id);
    assert_sound(&cluster);
}

/// Outcomes that a worker had to throw away, by a line of its log.
fn unreported(line: &str) -> u32 {
    let field = line.split_whitespace();
    let mut counts = field.filter_map(|field| field.strip_prefix("unreported="));
    let count = counts
        .next()
        .unwrap_or_else(|| panic!("no count in {line}"));
    count
        .parse()
        .unwrap_or_else(|error| panic!("{count}: {error}"))
}

#[test]
fn replies_that_workers_never_get_leak_no_slot_though_the_leader_dies_over_them() {
    let mut cluster = Cluster::start_proxied(SHAPE);
    let job = Job {
        split_bytes: 1024,
        ..many_maps("out")
    };
    let id = begin(&cluster, &job, 73);

    let (leader, _) = leader_of(&cluster);
    let lose = |cluster: &Cluster| {
        (0..SHAPE.workers)
            .map(|worker| {
                let link = Link::Work {
                    worker,
                    master: leader,
                };
                let fault = cluster
                    .network()
                    .lose_next_response(link, REQUEST_BYTES_MIN);
                (link, fault)
            })
            .collect::<Vec<_>>()
    };
    let began_at = jiff::Timestamp::now();
    for _ in 0..ROUNDS {
        for (link, fault) in lose(&cluster) {
            fault.await_at(&[(link, Direction::ToCaller)]);
        }
    }
    let running = cluster.show(&id).expect("the leader is well");
    assert!(
        !running.is_final(),
        "the job had ended before: {}",
        running.0
    );
    let last = lose(&cluster);
    last[0].1.await_somewhere();
    let kill = cluster.kill_leader();
    assert_eq!(
        kill.seat, leader,
        "its replies were lost, so it is the one to die"
    );
    cluster.await_other_leader(kill);
    let view = cluster.await_success(&id);
    // Mistake 8: all that was granted ran once and came back.
    assert_nothing_again(&view, began_at);
    assert_ended_after(&view, kill.at);
    assert_same_as_oracle(&cluster, &job);
    await_true("every slot is free", || {
        let nodes = parse(&cluster.vivat(&["node", "list", "-o", "json"]));
        let nodes = nodes.as_array().expect("a list").clone();
        nodes.len() == SHAPE.workers && nodes.iter().all(|node| node["busy"] == 0)
    });
    let (next, _) = leader_of(&cluster);
    await_true("every worker asks for work", || {
        cluster.metric(next, "pulls_waiting") == Some(3)
    });
    cluster.restart_master(kill.seat);
    assert_sound(&cluster);
}
