//! The checker accepts what a sequential object did, and refuses what none does.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use vivat_testkit::dice::Dice;
use vivat_testkit::linearize::{
    History, JobAnswer, JobOp, JobQueue, Model, NotProven, Recorder, Register, RegisterAnswer,
    RegisterOp, STEPS_MAX, Seen, check,
};

type Registers = History<RegisterOp, RegisterAnswer>;
type Jobs = History<JobOp, JobAnswer>;

fn read() -> RegisterOp {
    RegisterOp::Read { name: "x".into() }
}

fn write(value: u64) -> RegisterOp {
    RegisterOp::Write {
        name: "x".into(),
        value,
    }
}

fn submit(key: &str) -> JobOp {
    JobOp::Submit { key: key.into() }
}

fn violation<M: Model>(model: &M, history: &History<M::Op, M::Output>) -> String {
    match check(model, history, STEPS_MAX) {
        Err(violation @ NotProven::Violation(_)) => violation.to_string(),
        Err(unknown @ NotProven::Unknown { .. }) => panic!("{unknown}"),
        Ok(checked) => panic!("accepted: {checked:?}"),
    }
}

#[test]
fn a_read_concurrent_with_a_write_may_see_either_value() {
    for seen in [0, 1] {
        let mut history = Registers::new();
        history.push(1, write(1), (0, 10), RegisterAnswer::Written);
        history.push(2, read(), (5, 15), RegisterAnswer::Value(seen));
        check(&Register, &history, STEPS_MAX).unwrap();
    }
}

#[test]
fn a_read_after_a_write_returned_must_see_it() {
    let mut history = Registers::new();
    history.push(1, write(1), (0, 10), RegisterAnswer::Written);
    history.push(2, read(), (11, 15), RegisterAnswer::Value(0));
    let report = violation(&Register, &history);
    assert!(
        report.contains("no order explains the answer to 1"),
        "{report}"
    );
}

#[test]
fn two_reads_may_not_see_a_write_appear_and_vanish() {
    let mut history = Registers::new();
    history.push(1, write(1), (0, 100), RegisterAnswer::Written);
    history.push(2, read(), (10, 20), RegisterAnswer::Value(1));
    history.push(3, read(), (30, 40), RegisterAnswer::Value(0));
    violation(&Register, &history);
}

#[test]
fn an_unanswered_write_may_happen_late_or_never_but_not_twice() {
    let mut late = Registers::new();
    late.invoke(1, write(1), 0);
    late.push(2, read(), (10, 20), RegisterAnswer::Value(0));
    late.push(2, read(), (30, 40), RegisterAnswer::Value(1));
    check(&Register, &late, STEPS_MAX).unwrap();

    let mut never = Registers::new();
    never.invoke(1, write(1), 0);
    never.push(2, read(), (10, 20), RegisterAnswer::Value(0));
    let checked = check(&Register, &never, STEPS_MAX).unwrap();
    assert_eq!((checked.operations, checked.unknown), (2, 1));
    assert!((never.answered_share() - 0.5).abs() < 1e-9);

    let mut twice = late;
    twice.push(3, write(2), (50, 60), RegisterAnswer::Written);
    twice.push(2, read(), (70, 80), RegisterAnswer::Value(1));
    violation(&Register, &twice);
}

#[test]
fn the_counterexample_ends_with_the_first_answer_that_nothing_explains() {
    let mut history = Registers::new();
    for step in 0..50 {
        let value = RegisterAnswer::Value(if step == 20 { 7 } else { 0 });
        history.push(1, read(), (step * 10, step * 10 + 5), value);
    }
    match check(&Register, &history, STEPS_MAX) {
        Err(NotProven::Violation(found)) => {
            assert_eq!(found.culprit, 20);
            assert_eq!(found.operations.len(), 21);
            assert!(found.is_shortest);
            assert_eq!(found.attempted.order, (0..20).collect::<Vec<_>>());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_search_that_reaches_its_bound_says_unknown() {
    let mut history = Registers::new();
    for client in 0..20 {
        history.push(client, write(client + 1), (0, 100), RegisterAnswer::Written);
    }
    history.push(99, read(), (200, 300), RegisterAnswer::Value(77));
    let given_up = check(&Register, &history, 1_000).unwrap_err();
    assert_eq!(
        given_up.to_string(),
        "unknown: 21 operations not decided within 1000 steps"
    );
}

#[test]
fn registers_of_different_names_are_searched_alone() {
    let mut history = Registers::new();
    for client in 0..200 {
        let name = format!("r{}", client % 100);
        let op = RegisterOp::Write {
            name,
            value: client,
        };
        history.push(client, op, (0, 100), RegisterAnswer::Written);
    }
    let checked = check(&Register, &history, STEPS_MAX).unwrap();
    assert_eq!(checked.parts, 100);
    assert!(checked.steps < 1_000, "{checked:?}");
}

#[test]
fn a_recorder_keeps_the_order_of_concurrent_clients() {
    let recorder = Recorder::new();
    std::thread::scope(|scope| {
        for client in 0..4 {
            let recorder = &recorder;
            scope.spawn(move || {
                for _ in 0..50 {
                    let call = recorder.invoke(client, read());
                    recorder.complete(call, RegisterAnswer::Value(0));
                }
            });
        }
    });
    let history = recorder.take();
    assert_eq!(history.operations().len(), 200);
    assert!(history.operations().is_sorted_by_key(|it| it.invoked_at));
    check(&Register, &history, STEPS_MAX).unwrap();
    assert!(recorder.take().operations().is_empty());
}

#[test]
fn the_same_key_creates_one_job_also_when_the_first_answer_is_lost() {
    let mut history = Jobs::new();
    history.invoke(1, submit("a"), 0);
    history.push(1, submit("a"), (10, 20), JobAnswer::Existing(7));
    history.push(
        2,
        JobOp::Get { id: 7 },
        (30, 40),
        JobAnswer::State(Seen::Queued),
    );
    check(&JobQueue, &history, STEPS_MAX).unwrap();

    let mut doubled = Jobs::new();
    doubled.push(1, submit("a"), (0, 5), JobAnswer::Created(7));
    doubled.push(1, submit("a"), (10, 20), JobAnswer::Created(8));
    violation(&JobQueue, &doubled);

    let mut invented = Jobs::new();
    invented.push(1, submit("a"), (10, 20), JobAnswer::Existing(7));
    violation(&JobQueue, &invented);
}

#[test]
fn an_acknowledged_submission_may_not_be_forgotten() {
    let mut history = Jobs::new();
    history.push(1, submit("a"), (0, 5), JobAnswer::Created(7));
    history.push(2, JobOp::Get { id: 7 }, (10, 20), JobAnswer::NotFound);
    let report = violation(&JobQueue, &history);
    assert!(report.contains("Get { id: 7 } -> NotFound"), "{report}");
}

#[test]
fn one_id_for_two_keys_is_refused() {
    let mut history = Jobs::new();
    history.push(1, submit("a"), (0, 5), JobAnswer::Created(7));
    history.push(2, submit("b"), (0, 5), JobAnswer::Created(7));
    violation(&JobQueue, &history);
}

#[test]
fn states_never_go_back() {
    let order = [Seen::Queued, Seen::Running, Seen::Succeeded];
    for (first, earlier) in order.iter().enumerate() {
        for (second, later) in order.iter().enumerate() {
            let mut history = Jobs::new();
            history.push(1, submit("a"), (0, 5), JobAnswer::Created(7));
            let get = JobOp::Get { id: 7 };
            history.push(2, get.clone(), (10, 20), JobAnswer::State(*earlier));
            history.push(2, get, (30, 40), JobAnswer::State(*later));
            let accepted = check(&JobQueue, &history, STEPS_MAX).is_ok();
            assert_eq!(accepted, first <= second, "{earlier:?} then {later:?}");
        }
    }
}

#[test]
fn cancel_and_completion_have_one_winner() {
    let after = |cancel: JobAnswer, seen: Seen| {
        let mut history = Jobs::new();
        history.push(1, submit("a"), (0, 5), JobAnswer::Created(7));
        history.push(1, JobOp::Cancel { id: 7 }, (10, 20), cancel);
        history.push(2, JobOp::Get { id: 7 }, (30, 40), JobAnswer::State(seen));
        check(&JobQueue, &history, STEPS_MAX).is_ok()
    };
    assert!(after(JobAnswer::Cancelled, Seen::Cancelled));
    assert!(!after(JobAnswer::Cancelled, Seen::Succeeded));
    assert!(!after(JobAnswer::Cancelled, Seen::Running));
    // It is committing: seen as running, not to be stopped any more.
    assert!(after(JobAnswer::TooLate, Seen::Running));
    assert!(after(JobAnswer::TooLate, Seen::Succeeded));
    assert!(!after(JobAnswer::TooLate, Seen::Queued));
    assert!(!after(JobAnswer::TooLate, Seen::Cancelled));
}

#[test]
fn an_unanswered_cancel_leaves_both_ends_possible_until_one_is_seen() {
    for (seen, later, fits) in [
        (Seen::Cancelled, Seen::Cancelled, true),
        (Seen::Succeeded, Seen::Succeeded, true),
        (Seen::Running, Seen::Cancelled, true),
        (Seen::Succeeded, Seen::Cancelled, false),
        (Seen::Cancelled, Seen::Succeeded, false),
    ] {
        let mut history = Jobs::new();
        history.push(1, submit("a"), (0, 5), JobAnswer::Created(7));
        history.invoke(1, JobOp::Cancel { id: 7 }, 10);
        let get = JobOp::Get { id: 7 };
        history.push(2, get.clone(), (30, 40), JobAnswer::State(seen));
        history.push(3, get, (50, 60), JobAnswer::State(later));
        let accepted = check(&JobQueue, &history, STEPS_MAX).is_ok();
        assert_eq!(accepted, fits, "{seen:?} then {later:?}");
    }
}

/// Clients of a real job queue: every operation takes effect at a moment of its
/// own within its interval; some answers are lost, some calls never arrive.
fn played_job_history(dice: &mut Dice) -> Jobs {
    let mut effects: Vec<(u64, u64, u64, JobOp)> = (0..60)
        .map(|_| {
            let began = dice.up_to(1_000);
            let effect = began + dice.up_to(60);
            let ended = effect + dice.up_to(60);
            let id = dice.between(1, 4);
            let op = match dice.up_to(5) {
                0 | 1 => submit(&format!("k{}", dice.up_to(3))),
                2 => JobOp::Cancel { id },
                _ => JobOp::Get { id },
            };
            (effect, began, ended, op)
        })
        .collect();
    effects.sort_by_key(|it| it.0);
    let mut jobs: Vec<(String, Seen)> = Vec::new();
    let mut history = Jobs::new();
    for (client, (_, began, ended, op)) in (0..).zip(effects) {
        for (_, state) in &mut jobs {
            *state = match (*state, dice.up_to(9)) {
                (Seen::Queued, 0) => Seen::Running,
                (Seen::Running, 0) => Seen::Succeeded,
                (Seen::Running, 1) => Seen::Failed,
                (same, _) => same,
            };
        }
        let call = history.invoke(client, op.clone(), began);
        if dice.chance(5) {
            continue; // The request was lost.
        }
        let answer = answer(&mut jobs, &op);
        if !dice.chance(10) {
            history.complete(call, answer, ended);
        }
    }
    history
}

fn answer(jobs: &mut Vec<(String, Seen)>, op: &JobOp) -> JobAnswer {
    let job = |id: u64| usize::try_from(id - 1).unwrap();
    match op {
        JobOp::Submit { key } => match jobs.iter().position(|(known, _)| known == key) {
            Some(position) => JobAnswer::Existing(position as u64 + 1),
            None => {
                jobs.push((key.clone(), Seen::Queued));
                JobAnswer::Created(jobs.len() as u64)
            }
        },
        JobOp::Cancel { id } => match jobs.get_mut(job(*id)) {
            None => JobAnswer::NotFound,
            Some((_, Seen::Succeeded | Seen::Failed)) => JobAnswer::TooLate,
            Some((_, state)) => {
                *state = Seen::Cancelled;
                JobAnswer::Cancelled
            }
        },
        JobOp::Get { id } => match jobs.get(job(*id)) {
            None => JobAnswer::NotFound,
            Some((_, state)) => JobAnswer::State(*state),
        },
    }
}

/// Whether some submission of the history told this id.
fn is_told(history: &Jobs, id: u64) -> bool {
    history.operations().iter().any(|it| {
        matches!(it.output(), Some(JobAnswer::Created(told) | JobAnswer::Existing(told))
            if *told == id)
    })
}

#[test]
fn what_a_real_queue_answered_is_accepted_and_what_it_cannot_answer_is_refused() {
    let mut damaged = 0;
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let mut history = played_job_history(&mut dice);
        let told = |history: &Jobs, op: &JobOp| match op {
            JobOp::Submit { .. } => true,
            JobOp::Cancel { id } | JobOp::Get { id } => is_told(history, *id),
        };
        // Ids come from answers: whoever guesses one is not part of the model.
        let guessed: Vec<bool> = history
            .operations()
            .iter()
            .map(|it| !told(&history, &it.op))
            .collect();
        let mut kept = Jobs::new();
        for (it, guessed) in history.operations().iter().zip(guessed) {
            if guessed {
                continue;
            }
            match (it.output(), it.returned_at()) {
                (Some(output), Some(at)) => {
                    kept.push(it.client, it.op.clone(), (it.invoked_at, at), *output);
                }
                _ => {
                    kept.invoke(it.client, it.op.clone(), it.invoked_at);
                }
            }
        }
        history = kept;
        if let Err(refused) = check(&JobQueue, &history, STEPS_MAX) {
            panic!("seed {seed}: {refused}");
        }
        let submissions: Vec<usize> = (0..history.operations().len())
            .filter(|&position| {
                let it = &history.operations()[position];
                matches!(it.output(), Some(JobAnswer::Created(_)))
            })
            .collect();
        let Some(&victim) = dice.pick(&submissions) else {
            continue;
        };
        // A second leader that knows nothing of the first creates the job anew.
        let it = history.operations()[victim].clone();
        let end = it.returned_at().unwrap();
        history.push(99, it.op, (end + 1, end + 2), JobAnswer::Created(1_000));
        violation(&JobQueue, &history);
        damaged += 1;
    }
    assert!(damaged > 250, "only {damaged} histories were damaged");
}
