//! Bounds that take more submissions than a script can hold (L8, L9).

use vivat_core::command::{Command, Proposal, Rejection, Reply};
use vivat_core::limits::SPEC_BYTES_MAX;
use vivat_core::{State, apply, invariants};
use vivat_shared::ids::JobId;
use vivat_shared::job::JobSpec;

#[expect(
    clippy::unwrap_used,
    dead_code,
    reason = "shared with the scripts, which use all of it and panic where it cannot be read"
)]
#[path = "script/build.rs"]
mod build;

/// Of the largest specification that is accepted, about: twelve long paths.
const PATHS: usize = 12;
const PATH_BYTES: usize = 4_000;

fn largest() -> JobSpec {
    let mut spec = build::spec(&[].into());
    for input in &mut spec.inputs {
        input.path = format!("/{}", "x".repeat(PATH_BYTES));
    }
    spec.inputs = vec![spec.inputs[0].clone(); PATHS];
    spec
}

fn one(state: &mut State, command: Command) -> Reply {
    let proposal = Proposal {
        proposed_at_ms: 1,
        term: 0,
        age_ms: 1,
        commands: vec![command],
    };
    let index = state.applied_index() + 1;
    let mut applied = apply(state, index, &proposal);
    applied.replies.pop().unwrap_or(Reply::Done)
}

fn submit(state: &mut State, number: u64) -> Reply {
    let submit = Command::SubmitJob {
        key: format!("key-{number}"),
        spec: largest(),
    };
    one(state, submit)
}

#[test]
fn submissions_are_refused_when_specifications_fill_their_part_of_the_state() {
    let mut state = State::new();
    let fit = SPEC_BYTES_MAX / (PATHS * PATH_BYTES) as u64;
    let mut accepted = 0;
    while let Reply::Job { created: true, .. } = submit(&mut state, accepted) {
        accepted += 1;
        assert!(accepted <= fit, "{accepted} large jobs were accepted");
    }
    assert!(accepted > fit * 9 / 10, "only {accepted} were accepted");
    let refused = submit(&mut state, accepted);
    assert!(
        matches!(refused, Reply::Rejected(Rejection::Limit { .. })),
        "{refused:?}"
    );
    // What was answered once is answered again, full or not (S5).
    let again = submit(&mut state, 0);
    assert!(
        matches!(again, Reply::Job { created: false, .. }),
        "{again:?}"
    );
    // The end of a job gives no room; that it is forgotten does.
    one(&mut state, Command::CancelJob { job: JobId(1) });
    assert!(matches!(submit(&mut state, accepted), Reply::Rejected(_)));
    one(&mut state, Command::ForgetJob { job: JobId(1) });
    let room = submit(&mut state, accepted);
    assert!(matches!(room, Reply::Job { created: true, .. }), "{room:?}");
    assert_eq!(invariants::check(&state), []);
}
