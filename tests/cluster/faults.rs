//! What the tests of faults share: the shape, the jobs, and what must be true
//! of a cluster after every fault.
//!
//! [`assert_sound`] brings the promises together: all masters answer and have
//! the same chained hash at one index (S8), and another job runs.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Cluster, DEADLINE, Job, JobView, Shape, describe, parse};

const POLL_INTERVAL: Duration = Duration::from_millis(10);
const INPUT_BYTES: usize = 2 * 1024 * 1024;
/// `cluster check` when the masters' states differ.
const EXIT_DIFFERENT: i32 = 1;

/// Three masters, so that one may go; three workers, so that one may go.
pub const SHAPE: Shape = Shape {
    masters: 3,
    workers: 3,
    slots: 1,
};

/// Far more maps than the workers hold at once: a leader is needed in between.
pub fn many_maps(output: &str) -> Job {
    Job {
        input: "words.txt".to_owned(),
        output: output.to_owned(),
        split_bytes: 2 * 1024,
        reducers: 4,
        key: None,
    }
}

/// The same for partitions.
pub fn many_reduces(output: &str) -> Job {
    Job {
        split_bytes: 128 * 1024,
        reducers: 600,
        ..many_maps(output)
    }
}

/// Looks until it is so; fails at the deadline.
pub fn await_true(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !look() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        // Between two looks, not instead of a look.
        thread::sleep(POLL_INTERVAL);
    }
}

/// The leader's seat, with its term.
pub fn leader_of(cluster: &Cluster) -> (usize, u64) {
    let status = cluster.await_status("a leader", |status| status.leader().is_some());
    (status.leader().expect("awaited just now"), status.term())
}

/// Writes the input, submits, and waits until the job is amid its maps.
pub fn begin(cluster: &Cluster, job: &Job, seed: u64) -> String {
    cluster.write_words(&job.input, INPUT_BYTES, seed);
    let id = cluster.submit(job);
    cluster.await_job(&id, "some maps done, some not", JobView::is_amid_maps);
    id
}

/// The same, amid its reduces.
pub fn begin_reduces(cluster: &Cluster, job: &Job, seed: u64) -> String {
    cluster.write_words(&job.input, INPUT_BYTES, seed);
    let id = cluster.submit(job);
    cluster.await_job(&id, "some reduces done, some not", JobView::is_amid_reduces);
    id
}

/// The other seats of the shape.
pub fn others(seat: usize) -> Vec<usize> {
    (0..SHAPE.masters).filter(|other| *other != seat).collect()
}

/// No completed task again, nothing lost, nothing failed; and the job had not
/// ended when the fault came.
pub fn assert_nothing_again(view: &JobView, fault_at: jiff::Timestamp) {
    assert_ended_after(view, fault_at);
    for field in ["reruns_of_completed", "lost", "failed"] {
        assert_eq!(view.attempts(field), 0, "{field}: {}", view.0);
    }
    assert_accounted(view);
}

/// A fault after the job's end would prove nothing.
pub fn assert_ended_after(view: &JobView, fault_at: jiff::Timestamp) {
    assert!(
        view.finished_at() > fault_at,
        "the job had ended before the fault: {}",
        view.0
    );
}

/// Every attempt that was started ended in one way, and every task was accepted
/// once, and once more for each loss of what it had made (S2, S4).
pub fn assert_accounted(view: &JobView) {
    let of = |field| view.attempts(field);
    let tasks = 2 + view.map("total") + view.reduce("total");
    let wanted = tasks + of("reruns_of_completed");
    // The end of a job stops what ran again for nobody any more.
    let stopped = wanted.checked_sub(of("succeeded"));
    assert!(
        stopped.is_some_and(|stopped| stopped <= of("killed")),
        "{}",
        view.0
    );
    let ended = of("succeeded") + of("failed") + of("lost") + of("killed");
    assert_eq!(of("started"), ended, "{}", view.0);
}

/// All masters are there and agree, and the cluster serves.
pub fn assert_sound(cluster: &Cluster) {
    assert_agree(cluster);
    cluster.assert_serves_another_job();
}

/// All masters answer, and made the same of the same log (S8, L3).
pub fn assert_agree(cluster: &Cluster) {
    await_true("all masters compared by `cluster check`", || {
        let output = cluster.vivat(&["cluster", "check", "-o", "json"]);
        let code = output.status.code();
        assert_ne!(code, Some(EXIT_DIFFERENT), "S8: {}", describe(&output));
        if code != Some(0) {
            return false;
        }
        let said = parse(&output);
        assert_eq!(said["equal"], true, "{said}");
        let masters = said["masters"].as_array().expect("a list");
        // Index 0 would be a comparison of nothing.
        said["hash_index"].as_u64().is_some_and(|index| index > 0)
            && masters.iter().all(|master| master["reachable"] == true)
    });
}
