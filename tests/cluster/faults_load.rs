//! Both cores busy with tasks, programs that poison, clocks that lie.
//! F20, F26, F31; S8, L5, L7, L9.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::faults::{SHAPE, assert_agree, await_true, leader_of};
use crate::harness::{
    Cluster, Job, JobView, Process, assert_same_as_oracle, command, describe, parse,
};
use crate::lab_cluster::{FILES, Lab};
use crate::lab_program::BURN;

const LOOK_INTERVAL: Duration = Duration::from_millis(200);

fn small_job(output: &str) -> Job {
    Job {
        input: "words.txt".to_owned(),
        output: output.to_owned(),
        split_bytes: 64 * 1024,
        reducers: 3,
        key: None,
    }
}

/// Whether a slot's thread wants a core now, and how nice it is; one for each.
fn slots_of(pid: u32) -> Vec<(bool, i32)> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let stats = threads.map(|thread| {
        let path = thread.expect("it can be listed").path().join("stat");
        fs::read_to_string(path).unwrap_or_default()
    });
    stats
        .filter(|stat| stat.contains("(slot-"))
        .map(|stat| {
            // Behind the name: the state, and 16 fields on the niceness.
            let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
            let fields: Vec<&str> = fields.split_whitespace().collect();
            (fields[0] == "R", fields[16].parse().expect("a number"))
        })
        .collect()
}

#[test]
fn cores_that_are_full_of_tasks_cost_no_election_and_no_worker() {
    let slots = u32::try_from(FILES / 2).expect("few");
    let mut lab = Lab::with_slots(slots);
    let (_, term) = leader_of(&lab.cluster);
    let id = lab.submit("maps-burn");
    await_true("a map computes", || !lab.marks("map-").is_empty());
    // It ends first, and the others start when they get a core.
    let began = Instant::now();
    await_true("all maps compute at once", || {
        lab.marks("map-").len() == FILES
    });
    lab.cluster.write_words("words.txt", 256 * 1024, 81);
    let job = small_job("small");
    let small = lab.cluster.submit(&job);
    let mut looks = 0;
    while began.elapsed() < BURN * 3 / 4 {
        let slots: Vec<_> = lab.worker_pids().into_iter().flat_map(slots_of).collect();
        assert_eq!(slots.len(), FILES, "{slots:?}");
        let running = slots.iter().filter(|(runs, _)| *runs).count();
        assert!(running > FILES / 2, "{running} slots want a core: no load");
        let nice = slots.iter().all(|&(_, niceness)| niceness > 0);
        assert!(nice, "tasks come before heartbeats: {slots:?}");
        let status = lab.cluster.status().expect("the leader answers under load");
        assert_eq!(status.term(), term, "an election: {}", status.0);
        assert_eq!(status.workers_lost(), 0, "{}", status.0);
        looks += 1;
        // Between two looks, not instead of a look.
        std::thread::sleep(LOOK_INTERVAL);
    }
    assert!(looks >= 5, "{looks} looks in {BURN:?}");

    let view = lab.cluster.await_success(&id);
    for field in ["failed", "lost", "killed", "reruns_of_completed"] {
        assert_eq!(view.attempts(field), 0, "{field}: {}", view.0);
    }
    lab.assert_output();
    lab.cluster.await_success(&small);
    assert_same_as_oracle(&lab.cluster, &job);
    let status = lab.cluster.status().expect("the leader answers");
    assert_eq!((status.term(), status.workers_lost()), (term, 0));
    lab.assert_workers_live();
    lab.cluster.assert_serves_another_job();
}

/// How a job of the lab failed.
fn await_failure(lab: &Lab, id: &str, code: &str) -> JobView {
    let view = lab.cluster.await_job(id, "its end", JobView::is_final);
    assert_eq!(view.state(), "failed", "{}", view.0);
    assert_eq!(view.0["failure"]["code"], code, "{}", view.0);
    assert!(!lab.cluster.path("out").exists(), "an output of {id}");
    view
}

#[test]
fn a_program_that_always_panics_fails_its_job_and_no_worker() {
    let mut lab = Lab::start();
    for conduct in ["panics", "floods"] {
        let id = lab.submit(conduct);
        let view = await_failure(&lab, &id, "program-panicked");
        assert_eq!(view.attempts("failed"), 4, "{conduct}: {}", view.0);
        let said = view.0.to_string();
        assert!(said.contains("poison"), "{conduct}: {said}");
        assert!(said.len() < 64 * 1024, "{conduct}: {} bytes", said.len());
    }
    lab.assert_workers_live();
    let id = lab.submit("plain");
    lab.cluster.await_success(&id);
    lab.assert_output();
}

#[test]
fn a_program_that_always_ends_its_process_fails_its_job_with_that_reason() {
    let mut lab = Lab::start();
    let id = lab.submit("exits");
    let (view, ends) = lab.restart_workers_until_the_end(&id);
    assert_eq!(view.state(), "failed", "{}", view.0);
    assert_eq!(view.0["failure"]["code"], "worker-crashed", "{}", view.0);
    let failures = view.0["failure"]["failures"].as_u64().expect("a number");
    let ends = u64::try_from(ends).expect("few");
    assert!(failures > 1, "{}", view.0);
    assert_eq!(ends, failures, "a process for each attempt: {}", view.0);
    let id = lab.submit("plain");
    let (view, _) = lab.restart_workers_until_the_end(&id);
    assert_eq!(view.state(), "succeeded", "{}", view.0);
    lab.assert_output();
}

#[test]
fn a_program_that_never_ends_is_given_up_and_its_slots_work_again() {
    let mut lab = Lab::start();
    let id = lab.submit_within("hangs", Some(2_000));
    await_true("both workers hang", || lab.marks("map-").len() == 2);
    await_failure(&lab, &id, "job-timeout");
    let id = lab.submit("plain");
    lab.cluster.await_success(&id);
    lab.assert_output();
    lab.assert_workers_live();
}

const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Starts a process of the cluster again with a clock that a file rules.
fn with_clock_of(cluster: &Cluster, name: &str, args: &[String], clock: &Path) -> Process {
    let mut command: Command = command(cluster.dir());
    command
        .args(args)
        .env("LD_PRELOAD", FAKETIME)
        .env("FAKETIME_TIMESTAMP_FILE", clock)
        .env("FAKETIME_CACHE_DURATION", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Process::spawn(name, command, &cluster.path(&format!("{name}.log")))
}

/// The command line that a master was started with.
fn args_of(cluster: &Cluster, seat: usize) -> Vec<String> {
    let status = cluster.await_status("all masters", |status| status.masters_reachable() == 3);
    let pid = status.0["masters"][seat]["pid"].as_u64().expect("a pid");
    let line = fs::read(format!("/proc/{pid}/cmdline")).expect("it runs");
    let line = String::from_utf8(line).expect("the test wrote it");
    let args = line.split_terminator('\0').skip(1);
    args.map(str::to_owned).collect()
}

#[test]
fn clocks_that_jump_by_hours_and_years_change_no_leader_and_no_lease() {
    if !Path::new(FAKETIME).exists() {
        eprintln!("SKIPPED: the Debian package faketime is not installed");
        return;
    }
    let mut cluster = Cluster::start(SHAPE);
    let clocks: Vec<_> = (0..SHAPE.masters)
        .map(|seat| cluster.path(&format!("clock-{seat}")))
        .collect();
    let set = |seat: usize, offset: &str| {
        fs::write(&clocks[seat], offset).expect("the directory is the test's");
    };
    let mut masters = Vec::new();
    for (seat, clock) in clocks.iter().enumerate() {
        set(seat, ["+0", "+3h", "-3h"][seat]);
        let args = args_of(&cluster, seat);
        cluster.kill_master(seat);
        let name = format!("master-{seat}-with-clock");
        masters.push(with_clock_of(&cluster, &name, &args, clock));
        cluster.await_status("all masters, caught up", |status| status.is_caught_up());
    }
    let (leader, term) = leader_of(&cluster);
    cluster.write_words("words.txt", 2 * 1024 * 1024, 91);
    let jumps = ["+3652d", "-1h", "-3652d"];
    for (number, jump) in jumps.into_iter().enumerate() {
        let job = Job {
            split_bytes: 16 * 1024,
            ..small_job(&format!("out-{number}"))
        };
        let id = cluster.submit(&job);
        cluster.await_job(&id, "some maps done, some not", JobView::is_amid_maps);
        // The leader's, and those of the others the other way.
        for seat in 0..SHAPE.masters {
            let others = jumps[(number + seat) % jumps.len()];
            set(seat, if seat == leader { jump } else { others });
        }
        let view = cluster.await_success(&id);
        for field in ["failed", "lost", "reruns_of_completed"] {
            assert_eq!(view.attempts(field), 0, "{jump}: {field}: {}", view.0);
        }
        assert_same_as_oracle(&cluster, &job);
        if number == 0 {
            assert_clock_jumped(&cluster);
        }
        let status = cluster.status().expect("the leader answers");
        assert_eq!(status.term(), term, "{jump}: an election: {}", status.0);
        assert_eq!(status.workers_lost(), 0, "{jump}: {}", status.0);
    }
    assert_agree(&cluster);
    masters[leader].kill();
    cluster.await_status("another leader", |status| {
        status.leader().is_some_and(|seat| seat != leader) && status.term() > term
    });
    let status = cluster.await_status("all workers", |status| status.workers_live() == 3);
    assert_eq!(status.workers_lost(), 0, "L5: {}", status.0);
    cluster.assert_serves_another_job();
}

/// Ten years on, by what the leader stamps on a new job.
fn assert_clock_jumped(cluster: &Cluster) {
    let ahead = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 365 * 9);
    await_true("the leader stamps another decade", || {
        let job = small_job(&format!("stamp-{}", cluster.jobs().len()));
        let id = cluster.submit(&job);
        let shown = cluster.vivat(&["job", "show", &id, "-o", "json"]);
        assert!(shown.status.success(), "{}", describe(&shown));
        let at = parse(&shown)["submitted_at"].as_str().map(str::to_owned);
        let at: jiff::Timestamp = at.expect("a time").parse().expect("a time");
        cluster.await_success(&id);
        at > ahead
    });
}
