//! The end of a job as mrjob tells it.

use std::collections::BTreeMap;

use vivat_shared::attempt::Counters;
use vivat_shared::cause::JobFailure;
use vivat_shared::view::JobView;

use crate::failure::Failure;

/// What a line on standard error begins with that is meant for the runner.
const REPORTER: &str = "reporter:";
/// What `sh -x` puts in front of a command.
const TRACE: &str = "+ ";

/// The counters that tasks made, by group; none when they made none.
pub fn counters(all: &Counters) -> Option<String> {
    let mut groups: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for (name, sum) in all {
        if let Some((group, counter)) = grouped(name) {
            groups.entry(group).or_default().insert(counter, *sum);
        }
    }
    let number: usize = groups.values().map(BTreeMap::len).sum();
    if number == 0 {
        return None;
    }
    let mut text = format!("\nCounters: {number}\n");
    for (group, counters) in groups {
        text.push_str(&format!("\t{group}\n"));
        for (counter, sum) in counters {
            text.push_str(&format!("\t\t{counter}={sum}\n"));
        }
    }
    Some(text)
}

/// What the names of our own counters begin with.
const OWN: [&str; 3] = ["map.", "shuffle.", "reduce."];

/// Group and name, of a counter that a command made.
fn grouped(name: &str) -> Option<(&str, &str)> {
    if OWN.iter().any(|own| name.starts_with(own)) {
        return None;
    }
    name.split_once('.')
}

/// Why a job failed: what the task said last, which is a traceback when it is
/// Python, then what it read, then which step failed on what.
pub fn failure(job: &JobView, failure: &JobFailure, steps: usize) -> Failure {
    let plain = Failure::job(job.job_id, Some(failure), &job.reason);
    let said = last_words(&failure.output_tail);
    let Some(attempt) = failure.attempt.filter(|_| !said.is_empty()) else {
        return plain;
    };
    let mut message = format!("probable cause of failure:\n\n{said}\n\n");
    if let Some(input) = &failure.input {
        message.push_str(&format!("while reading input from {input}\n\n"));
    }
    message.push_str(&format!(
        "Step {} of {steps} failed: {}",
        attempt.task.round.step + 1,
        failure.describe(job.job_id)
    ));
    Failure { message, ..plain }
}

/// What was said behind the last command that a shell traced, without what was
/// said to the runner.
fn last_words(said: &str) -> String {
    let mut lines = Vec::new();
    for line in said.lines() {
        if line.starts_with(REPORTER) {
            continue;
        }
        if line.starts_with(TRACE) {
            lines.clear();
        }
        lines.push(line);
    }
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_listed_by_group_as_hadoop_lists_them() {
        let all = [
            ("map.input.bytes", 9),
            ("words.all", 3),
            ("lines.b", 1),
            ("lines.a c. d", 2),
        ];
        let all = all.map(|(name, sum)| (name.to_owned(), sum)).into();
        assert_eq!(
            counters(&all).unwrap(),
            "\nCounters: 3\n\tlines\n\t\ta c. d=2\n\t\tb=1\n\twords\n\t\tall=3\n"
        );
        assert_eq!(counters(&Counters::default()), None);
    }

    #[test]
    fn traceback_is_told_without_what_was_for_the_runner_or_before_the_last_command() {
        let said = "+ cd /tmp\nnoise\n+ python s.py\nreporter:counter:a,b,1\n\
            Traceback (most recent call last):\n  File \"s.py\"\nValueError: x\n";
        let expected = "+ python s.py\nTraceback (most recent call last):\n  \
            File \"s.py\"\nValueError: x";
        assert_eq!(last_words(said), expected);
        assert_eq!(last_words("reporter:status:fine\n"), "");
    }
}
