//! Our checker and stateright's agree on short random histories.
//!
//! Two implementations that share nothing but the definition: stateright's
//! takes events in order and has no bound, ours takes intervals.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use stateright::semantics::register::{Register as TheirRegister, RegisterOp as Op, RegisterRet};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};
use vivat_testkit::dice::Dice;
use vivat_testkit::linearize::{
    CallId, History, NotProven, Register, RegisterAnswer, RegisterOp, STEPS_MAX, check,
};

const THREADS: usize = 4;
const EVENTS: u64 = 14;

/// One random history, and what each checker says of it: (ours, theirs).
fn judged_by_both(seed: u64) -> (bool, bool) {
    let mut dice = Dice::new(seed);
    let mut ours: History<RegisterOp, RegisterAnswer> = History::new();
    let mut theirs = LinearizabilityTester::new(TheirRegister(0_u64));
    let mut under_way: Vec<Option<(CallId, bool)>> = vec![None; THREADS];
    let mut value = 0;
    for now in 0..EVENTS {
        let thread = dice.up_to(THREADS as u64 - 1);
        let slot = &mut under_way[usize::try_from(thread).unwrap()];
        match slot.take() {
            Some((call, true)) => {
                // Mostly a value that was written lately, so that both verdicts are common.
                let seen = dice.between(value - value.min(2), value);
                ours.complete(call, RegisterAnswer::Value(seen), now);
                theirs.on_return(thread, RegisterRet::ReadOk(seen)).unwrap();
            }
            Some((call, false)) => {
                ours.complete(call, RegisterAnswer::Written, now);
                theirs.on_return(thread, RegisterRet::WriteOk).unwrap();
            }
            None => {
                let is_read = dice.chance(60);
                let name = "x".to_owned();
                let call = if is_read {
                    theirs.on_invoke(thread, Op::Read).unwrap();
                    ours.invoke(thread, RegisterOp::Read { name }, now)
                } else {
                    value += 1;
                    theirs.on_invoke(thread, Op::Write(value)).unwrap();
                    ours.invoke(thread, RegisterOp::Write { name, value }, now)
                };
                *slot = Some((call, is_read));
            }
        }
    }
    let ours = match check(&Register, &ours, STEPS_MAX) {
        Ok(_) => true,
        Err(NotProven::Violation(_)) => false,
        Err(unknown @ NotProven::Unknown { .. }) => panic!("seed {seed}: {unknown}"),
    };
    (ours, theirs.is_consistent())
}

#[test]
fn both_checkers_give_the_same_verdict() {
    let mut accepted = 0;
    let mut refused = 0;
    for seed in 0..5_000 {
        let (ours, theirs) = judged_by_both(seed);
        assert_eq!(ours, theirs, "seed {seed}: ours says {ours}");
        if ours {
            accepted += 1;
        } else {
            refused += 1;
        }
    }
    // A generator that makes only one kind would compare nothing.
    assert!(accepted > 500 && refused > 500, "{accepted} and {refused}");
}
