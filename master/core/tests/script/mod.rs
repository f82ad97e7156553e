//! The language of the scripts: one line, one log entry or one question.
//!
//! A script that cannot be read panics and names its line.

mod build;
mod data;
mod render;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use vivat_core::command::{Command, Grant, HeldSegments, LeaderRecord, Proposal};
use vivat_core::{AttemptLiveness, LivenessView, State, WorkerLiveness};
use vivat_shared::attempt::{FetchFailure, Outcome, PlanChunk, SkippedRecord, counters};
use vivat_shared::ids::{
    AttemptId, ClusterId, Epoch, JobId, NodeId, Seat, SegmentId, TaskId, WorkerEpoch, WorkerId,
};
use vivat_shared::logs::AttemptLog;
use vivat_shared::plan::checksum;
use vivat_shared::size_code::SizeCode;

/// The state that a script works on, and the chunks that its workers sent.
#[derive(Default)]
pub struct Runner {
    state: State,
    now_ms: u64,
    age_ms: u64,
    chunks: BTreeMap<AttemptId, Vec<PlanChunk>>,
}

/// The words of a line: positional ones and `name=value` options.
struct Words<'a> {
    line: &'a str,
    positional: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Self {
        let (options, positional): (Vec<&str>, Vec<&str>) =
            line.split_whitespace().partition(|word| word.contains('='));
        Self {
            line,
            positional,
            options: options
                .into_iter()
                .filter_map(|word| word.split_once('='))
                .collect(),
        }
    }

    fn at(&self, position: usize) -> &'a str {
        self.positional
            .get(position)
            .unwrap_or_else(|| panic!("a word is missing: {}", self.line))
    }

    fn parse<T: std::str::FromStr>(&self, position: usize) -> T {
        self.value(self.at(position))
    }

    fn value<T: std::str::FromStr>(&self, text: &str) -> T {
        text.parse()
            .unwrap_or_else(|_| panic!("cannot read `{text}` in: {}", self.line))
    }

    fn option<T: std::str::FromStr>(&self, name: &str, default: T) -> T {
        self.options
            .get(name)
            .map_or(default, |text| self.value(text))
    }

    fn has(&self, word: &str) -> bool {
        self.positional.contains(&word)
    }
}

fn task(text: &str) -> TaskId {
    let attempt: AttemptId = format!("{text}.1").parse().unwrap();
    attempt.task
}

fn sizes(text: &str) -> Vec<SizeCode> {
    text.split(',')
        .map(|size| SizeCode::of(size.parse().unwrap()))
        .collect()
}

fn mapped(words: &Words<'_>) -> Outcome {
    let mut counters = build::counters(words.option("records", 1));
    let skipped = words.option("skipped", 0);
    if skipped > 0 {
        counters.insert(counters::MAP_RECORDS_SKIPPED.to_owned(), skipped);
    }
    Outcome::Mapped {
        log: log_of(words.parse(2), &words.options),
        segments: sizes(words.at(3)),
        counters,
        skipped: (0..skipped).map(record_skipped).collect(),
    }
}

impl Runner {
    /// The state after the lines so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Runs one line and returns its output.
    pub fn run(&mut self, line: &str) -> String {
        let words = Words::of(line);
        if let Some(answer) = self.answer(&words) {
            return answer;
        }
        let command = self
            .data_command(&words)
            .unwrap_or_else(|| self.command(&words));
        let output = self.apply(command.clone());
        if let Command::AppendPlan {
            attempt,
            chunk,
            content,
            ..
        } = command
        {
            let sent = self.chunks.entry(attempt).or_default();
            if output.contains(": done") && chunk as usize == sent.len() {
                sent.push(content);
            }
        }
        output
    }

    fn apply(&mut self, command: Command) -> String {
        let before = self.state.clone();
        let index = self.state.applied_index() + 1;
        let proposal = Proposal {
            proposed_at_ms: self.now_ms,
            term: self.state.term(),
            age_ms: self.age_ms,
            commands: vec![command],
        };
        let applied = vivat_core::apply(&mut self.state, index, &proposal);
        let mut violations = vivat_core::invariants::check(&self.state);
        violations.extend(vivat_core::invariants::check_step(&before, &self.state));
        assert!(violations.is_empty(), "{violations:#?}");
        let mut output = String::new();
        for reply in &applied.replies {
            writeln!(output, "{index}: {}", render::reply(reply)).unwrap();
        }
        for event in &applied.events {
            writeln!(output, "  {}", render::event(event)).unwrap();
        }
        output
    }

    /// `worker-1` at its last epoch, or `worker-1@7`.
    fn worker(&self, text: &str) -> WorkerEpoch {
        let (worker, epoch) = text.split_once('@').unwrap_or((text, ""));
        let worker: WorkerId = worker.parse().unwrap();
        let epoch = if epoch.is_empty() {
            self.state
                .worker(worker)
                .map_or(Epoch(0), |known| known.epoch)
        } else {
            Epoch(epoch.parse().unwrap())
        };
        WorkerEpoch { worker, epoch }
    }

    fn command(&self, words: &Words<'_>) -> Command {
        let term = words.option("term", self.state.term());
        match words.at(0) {
            "open" => Command::OpenTerm {
                term: words.parse(1),
                cluster: ClusterId(words.option("cluster", 7)),
                leader: LeaderRecord {
                    node_id: NodeId(1),
                    seat: Seat(0),
                    client_address: "127.0.0.1:1".to_owned(),
                },
            },
            "submit" => Command::SubmitJob {
                key: words.at(1).to_owned(),
                spec: build::spec(&words.options),
            },
            "cancel" => Command::CancelJob {
                job: words.parse(1),
            },
            "time-out" => Command::TimeOutJob {
                job: words.parse(1),
            },
            "forget" => Command::ForgetJob {
                job: words.parse(1),
            },
            "retry" => Command::RetryJob {
                key: words.at(1).to_owned(),
                job: words.parse(2),
            },
            "give-up" => Command::GiveUpNotice {
                job: words.parse(1),
            },
            "register" => Command::RegisterWorker {
                info: build::info(words.at(1), &words.options),
                crashed: words
                    .options
                    .get("crashed")
                    .into_iter()
                    .flat_map(|list| list.split(','))
                    .map(|text| words.value(text))
                    .collect(),
            },
            "expire" => Command::ExpireWorker {
                worker: self.worker(words.at(1)),
                term,
                reason: "silent".to_owned(),
            },
            "drain" => Command::DrainWorker {
                worker: words.parse(1),
                draining: words.at(2) == "on",
                deadline_ms: None,
            },
            "assign" | "back-up" => Command::AssignAttempts {
                term,
                grants: words.positional[2..]
                    .iter()
                    .map(|text| Grant {
                        task: task(text),
                        worker: self.worker(words.at(1)),
                        backup: words.at(0) == "back-up",
                    })
                    .collect(),
            },
            _ => self.report(words, term),
        }
    }

    /// What workers tell, and what the leader finds out about segments.
    fn report(&self, words: &Words<'_>, term: u64) -> Command {
        let worker = self.worker(words.at(1));
        let attempt: AttemptId = words.parse(2);
        let finish = |outcome| Command::FinishAttempt {
            attempt,
            worker,
            outcome,
        };
        match words.at(0) {
            "chunk" => Command::AppendPlan {
                attempt,
                worker,
                chunk: words.parse(3),
                content: self.chunk(words),
            },
            "planned" => finish(self.seal(attempt, words.has("wrong"))),
            "mapped" => finish(mapped(words)),
            "reduced" => finish(build::reduced(
                words.option("bytes", 10),
                self.output_blocks(attempt, words),
            )),
            "closed" => finish(build::closed(
                self.closed_broadcast(attempt, words),
                words.has("again"),
                words.options.get("error"),
            )),
            "committed" => finish(Outcome::Committed),
            "failed" => finish(build::failed(words.at(3), log_of(attempt, &words.options))),
            "told" => finish(Outcome::Notified),
            "killed" => finish(Outcome::Killed),
            "handed-back" => finish(Outcome::HandedBack),
            "restore" => Command::RestoreSegments {
                worker,
                held: vec![HeldSegments {
                    attempt,
                    segments: sizes(words.at(3)),
                }],
            },
            "unreachable" => Command::ReportFetchFailure {
                worker,
                failure: FetchFailure {
                    reducer: attempt,
                    segment: SegmentId {
                        attempt: words.parse(3),
                        partition: words.option("partition", attempt.task.index),
                    },
                    holder: self.worker(words.at(4)),
                    gone: words.has("gone"),
                },
            },
            "judge" => Command::JudgeSegment {
                term,
                map: attempt,
                holder: worker,
                healthy: words.at(3) == "healthy",
            },
            _ => panic!("unknown command: {}", words.line),
        }
    }

    fn seal(&self, attempt: AttemptId, wrong: bool) -> Outcome {
        let chunks = self.chunks.get(&attempt).map_or(&[][..], Vec::as_slice);
        let mut crc32c = 0;
        for chunk in chunks {
            checksum(&mut crc32c, chunk);
        }
        let count = |len: fn(&PlanChunk) -> usize| {
            u32::try_from(chunks.iter().map(len).sum::<usize>()).unwrap()
        };
        Outcome::Planned {
            chunks: count(|_| 1),
            files: count(|chunk| chunk.files.len()),
            splits: count(|chunk| chunk.splits.len()),
            crc32c: crc32c ^ u32::from(wrong),
            replaces: None,
        }
    }

    /// Lines that ask and change nothing.
    fn answer(&mut self, words: &Words<'_>) -> Option<String> {
        let state = &self.state;
        let text = match words.at(0) {
            "now" => {
                self.now_ms = words.parse(1);
                self.age_ms = self.now_ms;
                String::new()
            }
            "clock" => {
                self.now_ms = words.parse(1);
                String::new()
            }
            "restart" => {
                let bytes = vivat_core::snapshot::encode(&self.state);
                let decoded = vivat_core::snapshot::decode(&bytes).unwrap();
                assert_eq!(decoded, self.state);
                self.state = decoded;
                String::new()
            }
            "show" => render::job(&vivat_core::view::job(
                state,
                words.parse(1),
                &self.liveness(words),
            )?),
            "why" => {
                let job: JobId = words.parse(1);
                let lines = vivat_core::view::explain(state, job, &self.liveness(words));
                lines.join("\n")
            }
            "schedule" => {
                let limit = words.option("limit", 100);
                let grants = vivat_core::schedule(state, &self.liveness(words), self.age_ms, limit);
                render::grants(&grants)
            }
            "backups" | "timeline" | "scores" => self.history(words),
            "duties" => render::duties(&vivat_core::duties::due(state, self.age_ms)),
            "reconcile" => {
                let held: Vec<AttemptId> = words.positional[2..]
                    .iter()
                    .map(|text| words.value(text))
                    .collect();
                let worker = self.worker(words.at(1));
                render::reconciliation(&vivat_core::reconcile(state, worker, &held))
            }
            "locations" => {
                let round = task(words.at(1)).round;
                render::locations(&vivat_core::locations(state, round, words.parse(2)))
            }
            "datasets" => render::datasets(state),
            "logs" => render::logs(&vivat_core::query::logs(state, words.parse(1), 0, 100)?.0),
            "values" => render::values(state),
            "work" => format!(
                "{:?}",
                vivat_core::assignment(state, words.parse(1)).map(|given| given.work)
            ),
            _ => return None,
        };
        let text = text.trim_end();
        Some(if text.is_empty() {
            String::new()
        } else {
            format!("{text}\n")
        })
    }

    /// What comes of the times that the log has.
    fn history(&self, words: &Words<'_>) -> String {
        let state = &self.state;
        match words.at(0) {
            "backups" => {
                let seen = self.liveness(words);
                render::grants(&vivat_core::backups(state, &seen, self.age_ms))
            }
            "timeline" => {
                let from = words.option("from", 0);
                let limit = words.option("limit", 100);
                let page = vivat_core::view::timeline(state, words.parse(1), from, limit);
                page.map_or_else(String::new, |(spans, more)| render::spans(&spans, more))
            }
            _ => render::scores(state),
        }
    }

    /// `worker-1=2` wants two; `worker-1=2c` has its control slot free, too;
    /// `worker-1=new` has not pulled yet. `job-1.0.0.map-0.1=SINCE:FIRST:BYTES:MOVED`
    /// runs. `watched=AGE`: the leader looks since then.
    fn liveness(&self, words: &Words<'_>) -> LivenessView {
        let of = |start: &'static str| {
            let options = words.options.iter();
            options.filter(move |(name, _)| name.starts_with(start))
        };
        LivenessView {
            workers: of("worker-")
                .map(|(name, value)| {
                    let worker = self.worker(name);
                    let pulled = **value != *"new";
                    let seen = WorkerLiveness {
                        epoch: worker.epoch,
                        want: if pulled {
                            words.value(value.trim_end_matches('c'))
                        } else {
                            0
                        },
                        control_free: value.ends_with('c'),
                        pulled,
                    };
                    (worker.worker, seen)
                })
                .collect(),
            attempts: of("job-")
                .map(|(name, value)| {
                    let numbers: Vec<u64> =
                        value.split(':').map(|part| words.value(part)).collect();
                    let [since_age_ms, bytes_at_first, bytes, moved_age_ms] = numbers[..] else {
                        panic!("four numbers are needed: {value}");
                    };
                    let seen = AttemptLiveness {
                        since_age_ms,
                        bytes_at_first,
                        bytes,
                        moved_age_ms,
                    };
                    (words.value(name), seen)
                })
                .collect(),
            since_age_ms: words.option("watched", 0),
        }
    }
}

/// A record that was skipped.
fn record_skipped(offset: u64) -> SkippedRecord {
    SkippedRecord {
        display: "in".to_owned(),
        offset,
        bytes: b"bad".to_vec(),
        problem: "not a number".to_owned(),
    }
}

/// `log=BYTES:WORKERS`, if it is there.
fn log_of(attempt: AttemptId, options: &BTreeMap<&str, &str>) -> Option<AttemptLog> {
    let (bytes, workers) = options.get("log")?.split_once(':')?;
    let workers: Vec<u32> = workers
        .split(',')
        .map(|worker| worker.parse().unwrap())
        .collect();
    Some(build::log(attempt, bytes.parse().unwrap(), &workers))
}
