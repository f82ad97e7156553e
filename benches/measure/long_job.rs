//! What leaders' deaths cost a job: a kill every ten seconds against none.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Cluster, Shape};
use crate::load;

const KILL_EVERY: Duration = Duration::from_secs(10);
/// Tasks from which the rate of the machine is taken.
const TRIAL_TASKS: usize = 300;
const TOLERATED: f64 = 0.03;

/// A job of about so many seconds, in turn undisturbed and disturbed.
pub fn run(seconds: usize) {
    let mut cluster = Cluster::start(Shape::default());
    load::write_inputs(&cluster, "trial", TRIAL_TASKS);
    let trial = time_job(&mut cluster, "trial", "trial-out", false).0;
    let trial_ms = Duration::from_secs_f64(trial).as_millis().max(1);
    let trial_ms = usize::try_from(trial_ms).expect("a trial is short");
    let tasks = TRIAL_TASKS * seconds * 1_000 / trial_ms;
    load::write_inputs(&cluster, "input", tasks);
    println!("job of {tasks} tasks, a busy slot per core, default profile");
    let mut took = [Vec::new(), Vec::new()];
    for (number, disturbed) in [false, true, false, true].into_iter().enumerate() {
        let output = format!("out-{number}");
        let (seconds, kills) = time_job(&mut cluster, "input", &output, disturbed);
        println!("  {kills} leaders killed: {seconds:.2} s");
        took[usize::from(disturbed)].push(seconds);
    }
    let [undisturbed, disturbed] = took.map(|took| took.iter().sum::<f64>() / took.len() as f64);
    let more = disturbed / undisturbed - 1.0;
    let verdict = if more <= TOLERATED { "met" } else { "MISSED" };
    println!(
        "  means {undisturbed:.2} and {disturbed:.2} s: {:+.1} %; goal: within {:.0} %: {verdict}",
        more * 100.0,
        TOLERATED * 100.0
    );
    load::assert_no_worker_lost(&cluster);
    println!("  tasks re-run 0, attempts restarted 0, workers lost 0");
}

/// Seconds from submission to the end, by the leaders' clocks, and the kills.
fn time_job(cluster: &mut Cluster, dir: &str, output: &str, disturbed: bool) -> (f64, usize) {
    let submitted = jiff::Timestamp::now();
    let job = load::submit(cluster, dir, output);
    let mut next_kill = Instant::now() + KILL_EVERY;
    let mut kills = 0;
    loop {
        let view = cluster.await_job(&job, "an answer", |_| true);
        if view.is_final() {
            let view = cluster.await_success(&job);
            load::assert_undisturbed(&view);
            let took = view.finished_at().duration_since(submitted);
            return (took.as_secs_f64(), kills);
        }
        if disturbed && Instant::now() >= next_kill {
            let kill = cluster.kill_leader();
            cluster.await_other_leader(kill);
            cluster.restart_master(kill.seat);
            next_kill += KILL_EVERY;
            kills += 1;
        }
        // Each look is a process; more would slow the job.
        thread::sleep(Duration::from_millis(500));
    }
}
