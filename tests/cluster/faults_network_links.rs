//! Each kind of link in turn is stalled, half-open and reset, while a job needs
//! it; all are slow; and a reply is lost. Deadlines fire, and nothing hangs.
//! F11, F12; S1, S5, L1, L5, mistakes 13 and 16.

use std::thread;
use std::time::{Duration, Instant};

use vivat_testkit::proxy::Rule;

use crate::faults::{
    SHAPE, assert_accounted, assert_ended_after, assert_nothing_again, assert_sound, leader_of,
    many_maps, many_reduces, others,
};
use crate::harness::network::{Link, between};
use crate::harness::{
    Cluster, Extras, Job, JobView, Setup, assert_same_as_oracle, describe, parse, vivat,
};

/// How long a rule is in force. A stall outlasts every deadline of the product
/// but the long poll's; half-open connections stay so when the rule is gone.
const RULES: [(&str, Rule, Duration); 3] = [
    ("stalled", Rule::Stall, Duration::from_secs(6)),
    ("half-open", Rule::HalfOpen, Duration::from_millis(300)),
    ("reset", Rule::Reset, Duration::from_secs(2)),
];
const INPUT_BYTES: usize = 2 * 1024 * 1024;
/// From the end of a job to a client's word of it, once its link is whole.
const TOLD_WITHIN: Duration = Duration::from_secs(15);
/// Above the question for workers, which goes before a submission, and below
/// the submission that is made long for this.
const SUBMISSION_BYTES_MIN: u64 = 700;

/// For each rule: a job, in the middle of which the links suffer.
fn suffer(
    cluster: &Cluster,
    job: &Job,
    is_amid: fn(&JobView) -> bool,
    links: impl Fn(&Cluster) -> Vec<Link>,
    judge: fn(&JobView, jiff::Timestamp),
) {
    cluster.write_words(&job.input, INPUT_BYTES, 91);
    for (name, rule, lasts) in RULES {
        let job = Job {
            output: format!("{}-{name}", job.output),
            ..job.clone()
        };
        let id = cluster.submit(&job);
        cluster.await_job(&id, "the work that needs the link", is_amid);
        let links = links(cluster);
        let fault_at = jiff::Timestamp::now();
        let fault = cluster.network().set(&links, rule);
        fault.await_somewhere();
        // For so long the fault lasts.
        thread::sleep(lasts);
        cluster.network().heal(&links);
        let view = cluster.await_success(&id);
        judge(&view, fault_at);
        assert_same_as_oracle(cluster, &job);
    }
    assert_sound(cluster);
}

#[test]
fn a_job_outlives_bad_links_between_masters() {
    let cluster = Cluster::start_proxied(SHAPE);
    let of_the_leader = |cluster: &Cluster| {
        let (leader, _) = leader_of(cluster);
        let links = others(leader).into_iter();
        links.flat_map(|other| between(leader, other)).collect()
    };
    suffer(
        &cluster,
        &many_maps("out"),
        JobView::is_amid_maps,
        of_the_leader,
        assert_nothing_again,
    );
}

#[test]
fn a_job_outlives_bad_links_from_workers_to_masters() {
    let cluster = Cluster::start_proxied(SHAPE);
    let all = |cluster: &Cluster| {
        let network = cluster.network();
        network.links(|link| matches!(link, Link::Work { .. }))
    };
    suffer(
        &cluster,
        &many_maps("out"),
        JobView::is_amid_maps,
        all,
        assert_nothing_again,
    );
    let status = cluster.await_status("a leader", |status| status.leader().is_some());
    assert_eq!(status.workers_lost(), 0, "L5: {}", status.0);
}

#[test]
fn a_job_outlives_bad_links_between_workers() {
    let cluster = Cluster::start_proxied(SHAPE);
    let all = |cluster: &Cluster| {
        let network = cluster.network();
        network.links(|link| matches!(link, Link::Segments { .. }))
    };
    let job = Job {
        split_bytes: 32 * 1024,
        reducers: 150,
        ..many_reduces("out")
    };
    // A holder that nobody reaches has lost its maps: they may run again.
    let judge = |view: &JobView, fault_at| {
        assert_ended_after(view, fault_at);
        assert_accounted(view);
        assert_eq!(view.attempts("failed"), 0, "{}", view.0);
    };
    suffer(&cluster, &job, JobView::is_amid_reduces, all, judge);
}

#[test]
fn a_client_that_waits_over_a_bad_link_is_told_of_the_end() {
    let cluster = Cluster::start_proxied(SHAPE);
    cluster.write_words("words.txt", INPUT_BYTES, 92);
    let links = cluster
        .network()
        .links(|link| matches!(link, Link::Client { .. }));
    let addresses = cluster.network().client_addresses();
    for (name, rule, lasts) in RULES {
        let job = many_maps(name);
        let id = cluster.submit(&job);
        let untouched = cluster.network().set(&links, Rule::Pass);
        let waited = thread::scope(|scope| {
            let client = scope.spawn(|| {
                let args = ["job", "wait", id.as_str()];
                let output = vivat(cluster.dir(), Some(&addresses), &args);
                (output, Instant::now())
            });
            untouched.await_passed();
            let fault = cluster.network().set(&links, rule);
            fault.await_somewhere();
            // For so long the fault lasts.
            thread::sleep(lasts);
            cluster.network().heal(&links);
            cluster.await_success(&id);
            let ended_at = Instant::now();
            let (output, told_at) = client.join().expect("the client's thread ends");
            assert!(output.status.success(), "{name}: {}", describe(&output));
            told_at.saturating_duration_since(ended_at)
        });
        assert!(waited < TOLD_WITHIN, "{name}: told after {waited:?}");
        assert_same_as_oracle(&cluster, &job);
    }
    assert_sound(&cluster);
}

#[test]
fn a_submission_whose_reply_is_lost_after_its_commit_is_one_job() {
    let cluster = Cluster::start_proxied(SHAPE);
    cluster.write_words("words.txt", INPUT_BYTES, 93);
    let (leader, _) = leader_of(&cluster);
    let addresses = cluster.network().client_addresses();
    // Long names make the submission larger than what goes before it.
    let job = Job {
        key: Some("k".repeat(128)),
        ..many_maps(&"o".repeat(200))
    };
    let mut args = job.submit_args();
    args.extend(["--name".to_owned(), "n".repeat(128)]);
    args.extend(["-o".to_owned(), "json".to_owned()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();

    let link = Link::Client { master: leader };
    let fault = cluster
        .network()
        .lose_next_response(link, SUBMISSION_BYTES_MIN);
    let output = vivat(cluster.dir(), Some(&addresses), &args);
    assert!(output.status.success(), "{}", describe(&output));
    fault.await_somewhere();
    let first = parse(&output);
    // The reply that came is of the second try: the first had made the job.
    assert_eq!(first["created"], false, "S5: {}", describe(&output));
    let again = parse(&cluster.vivat(&args));
    assert_eq!(again["job_id"], first["job_id"], "S5");
    let jobs = cluster.jobs();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    let view = cluster.await_success(&jobs[0]);
    assert_accounted(&view);
    assert_same_as_oracle(&cluster, &job);
    assert_sound(&cluster);
}

#[test]
fn with_every_link_slow_a_job_is_slow_and_correct() {
    // As the reference says for slow links: an answer must fit in a heartbeat.
    let flags = [
        "--heartbeat-ms",
        "700",
        "--election-min-ms",
        "2000",
        "--election-max-ms",
        "4000",
    ];
    let cluster = Cluster::start_as(&Setup {
        shape: SHAPE,
        extras: Extras {
            master_args: flags.map(str::to_owned).to_vec(),
            ..Extras::default()
        },
        proxied: true,
    });
    cluster.write_words("words.txt", INPUT_BYTES, 94);
    let (leader, term) = leader_of(&cluster);
    let slow = Rule::Delay {
        fixed: Duration::from_millis(50),
        jitter: Duration::from_millis(250),
        seed: 94,
    };
    // But the doors that hints lead to, which are closed.
    let all = cluster
        .network()
        .links(|link| !matches!(link, Link::Hint { .. }));
    let fault = cluster.network().set(&all, slow);
    let job = Job {
        split_bytes: 8 * 1024,
        reducers: 24,
        ..many_maps("out")
    };
    let addresses = cluster.network().client_addresses();
    let args = job.submit_args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let begun_at = jiff::Timestamp::now();
    let output = vivat(cluster.dir(), Some(&addresses), &args);
    assert!(output.status.success(), "{}", describe(&output));
    let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let view = cluster.await_success(&id);
    for other in others(leader) {
        fault.await_both(between(leader, other)[0]);
    }
    for worker in 0..SHAPE.workers {
        fault.await_both(Link::Work {
            worker,
            master: leader,
        });
        fault.await_both(Link::Segments { worker });
    }
    fault.await_both(Link::Client { master: leader });
    assert_nothing_again(&view, begun_at);
    assert_same_as_oracle(&cluster, &job);
    assert_eq!(leader_of(&cluster), (leader, term), "no election");
    cluster.network().heal(&all);
    assert_sound(&cluster);
}
