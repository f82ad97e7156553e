//! The end of a round: what a program reads, and what it may answer.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::io::Read;

use vivat_engine::{
    CancelFlag, ClosePart, CloseReport, CloseTask, EngineError, Executable, InputError,
    InputReader, Progress, Runner,
};
use vivat_mapreduce::{
    CloseContext, Closed, Emit, MapContext, Mapper, NO_SIDE_FILES, Output, Parts, Program,
    ProgramError, Record, ReduceContext, Reducer, Values,
};
use vivat_shared::attempt::PartOutput;
use vivat_shared::limits::METRICS_MAX;

/// Does what its first byte of parameters says.
struct Closing;
struct Nothing;

impl Program for Closing {
    type Key = u64;
    type Value = u64;
    type Mapper<'t> = Nothing;
    type Reducer<'t> = Nothing;

    fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<Nothing, ProgramError> {
        Ok(Nothing)
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Nothing, ProgramError> {
        Ok(Nothing)
    }

    fn close(
        &self,
        context: &CloseContext<'_>,
        parts: &mut Parts<'_>,
    ) -> Result<Closed, ProgramError> {
        let mut text = context.broadcast.to_vec();
        while let Some(mut part) = parts.next()? {
            if context.parameters.contains_key("skip") && part.partition() == 0 {
                continue;
            }
            // Whoever makes nothing of an error is not believed.
            let _ignored = part.read_to_end(&mut text);
        }
        let mut metrics = BTreeMap::new();
        match context.parameters.get("metrics").map(String::as_str) {
            Some("many") => {
                metrics.extend((0..=METRICS_MAX).map(|number| (format!("m{number}"), 1.0)));
            }
            Some(name) => {
                metrics.insert(name.to_owned(), f64::NAN);
            }
            None => {}
        }
        context.counter("closes")?.add(1);
        Ok(Closed {
            broadcast: text,
            metrics,
            again: context.round + 1 < context.rounds_max,
        })
    }
}

impl Mapper<u64, u64> for Nothing {
    fn map<E: Emit<u64, u64>>(&mut self, _: Record<'_>, _: &mut E) -> Result<(), ProgramError> {
        Ok(())
    }
}

impl Reducer<u64, u64> for Nothing {
    fn reduce<S: Values<u64>>(
        &mut self,
        _: u64,
        _: &mut S,
        _: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        Ok(())
    }
}

#[derive(Debug)]
struct Slow(&'static [u8]);

impl InputReader for Slow {
    fn length(&self) -> Option<u64> {
        None
    }

    fn check(&mut self) -> Result<(), InputError> {
        Ok(())
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, InputError> {
        let rest = &self.0[usize::try_from(offset).unwrap().min(self.0.len())..];
        let taken = rest.len().min(buffer.len()).min(2);
        buffer[..taken].copy_from_slice(&rest[..taken]);
        Ok(taken)
    }
}

fn part(bytes: &'static [u8]) -> ClosePart<'static> {
    ClosePart {
        output: PartOutput {
            bytes: bytes.len() as u64,
            records: 1,
            crc32c: crc32c::crc32c(bytes),
        },
        open: Box::new(move || Ok(Box::new(Slow(bytes)))),
    }
}

fn close(
    parts: Vec<ClosePart<'_>>,
    parameters: &[(&str, &str)],
) -> Result<CloseReport, EngineError> {
    let parameters = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let (progress, cancel) = (Progress::default(), CancelFlag::default());
    if parts.is_empty() {
        cancel.cancel();
    }
    Runner::new(Closing).close(&mut CloseTask {
        round: 1,
        rounds_max: 3,
        parts,
        parameters: &parameters,
        broadcast: b"given ",
        side_files: NO_SIDE_FILES,
        progress: &progress,
        cancel: &cancel,
    })
}

#[test]
fn parts_are_read_in_order_and_one_that_is_not_wanted_is_left_out() {
    let report = close(vec![part(b"one "), part(b""), part(b"three")], &[]).unwrap();
    assert_eq!(report.closed.broadcast, b"given one three");
    assert!(report.closed.again);
    assert_eq!(report.counters["closes"], 1);
    let report = close(vec![part(b"one "), part(b"two")], &[("skip", "")]).unwrap();
    assert_eq!(report.closed.broadcast, b"given two");
}

#[test]
fn part_that_is_not_what_its_reduce_wrote_fails_the_task_whatever_the_program_says() {
    let mut short = part(b"one");
    short.output.bytes = 4;
    let mut other = part(b"one");
    other.output.crc32c ^= 1;
    let gone = ClosePart {
        open: Box::new(|| {
            let detail = "nobody has it".to_owned();
            Err(InputError::Unreachable { detail })
        }),
        ..part(b"one")
    };
    for (bad, says) in [(short, "3 bytes"), (other, "checksum"), (gone, "nobody")] {
        let error = close(vec![part(b"zero"), bad], &[]).unwrap_err();
        let EngineError::InputUnreachable { display, detail } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(display, "part 1 of the round");
        assert!(detail.contains(says), "{detail}");
    }
}

#[test]
fn answer_out_of_its_bounds_fails_the_task_with_words_for_its_author() {
    let long = "x".repeat(200);
    for (metrics, says) in [
        ("many", "65 metrics"),
        (&long, "128 bytes"),
        ("a\nb", "a\\nb"),
    ] {
        let error = close(vec![part(b"")], &[("metrics", metrics)]).unwrap_err();
        let cause = error.cause().to_string();
        assert!(cause.contains(says), "{cause}");
    }
    let fine = close(vec![part(b"")], &[("metrics", "error")]).unwrap();
    assert!(fine.closed.metrics["error"].is_nan());
}

#[test]
fn cancelled_task_closes_nothing() {
    assert!(matches!(
        close(Vec::new(), &[]),
        Err(EngineError::Cancelled)
    ));
}
