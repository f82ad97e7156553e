//! What a person sees while a job runs: a bar on a terminal, elsewhere one
//! line a change; nothing when quiet or when a program reads.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use vivat_client::{JobChange, LeaderView};
use vivat_shared::attempt::counters::{self, MAP_INPUT_BYTES};
use vivat_shared::shown::shown;
use vivat_shared::view::JobView;

use crate::app::{App, note};
use crate::quantity::{ByteSize, TimeSpan};

/// Lines for those who keep them come at most so often.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// Rates are over about so much of the past.
const RATE_WINDOW: Duration = Duration::from_secs(3);
/// A leader that is missing for less is not worth a word.
const GAP_SHOWN: Duration = Duration::from_millis(150);
/// Every job waits for a moment at first; after so long it is worth a word.
const WAIT_SHOWN: Duration = Duration::from_secs(1);
/// Steps of the bar: tasks and bytes are scaled to it.
pub const BAR_LENGTH: u64 = 1_000;

/// Counters below a bar, and behind a line.
const COUNTER_LINES_MAX: usize = 12;
const OWN_COUNTERS_ON_A_LINE: usize = 4;
/// Counters that every job has begin so...
const BUILT_IN: [&str; 3] = ["map.", "shuffle.", "reduce."];
/// ...and of these people want to see some, once they are there.
const ALWAYS_SHOWN: [&str; 6] = [
    counters::MAP_INPUT_RECORDS,
    counters::MAP_OUTPUT_RECORDS,
    counters::MAP_SPILLED_BYTES,
    counters::SHUFFLE_BYTES,
    counters::REDUCE_OUTPUT_RECORDS,
    counters::MAP_RECORDS_SKIPPED,
];
const PAINTED: &str = "{prefix} {bar:16.cyan/dim} {wide_msg}";
const PLAIN: &str = "{prefix} {bar:16} {wide_msg}";

/// How progress is shown.
#[derive(Debug)]
enum Form {
    /// With what stands below it.
    Bar(ProgressBar, Below),
    Lines,
    Nothing,
}

/// The progress of one job.
#[derive(Debug)]
pub struct Progress {
    form: Form,
    began: Instant,
    latest: Option<JobChange>,
    rate: Rate,
    last_line: Option<Instant>,
    last_text: String,
    gap_told: Option<Instant>,
    counters: bool,
}

/// Lines below a bar.
type Below = Arc<Mutex<String>>;

impl Progress {
    /// For a command that was called like this.
    pub fn new(app: &App) -> Self {
        let form = if app.quiet || app.print.is_json() {
            Form::Nothing
        } else if io::stderr().is_terminal() {
            Form::Bar(bar(app.paint_err), Below::default())
        } else {
            Form::Lines
        };
        Self {
            counters: false,
            form,
            began: Instant::now(),
            latest: None,
            rate: Rate::default(),
            last_line: None,
            last_text: String::new(),
            gap_told: None,
        }
    }

    /// The same with the job's counters.
    pub fn with_counters(app: &App) -> Self {
        let progress = Self::new(app);
        if let Form::Bar(bar, below) = &progress.form {
            stand_over(bar, below, app.paint_err);
        }
        Self {
            counters: true,
            ..progress
        }
    }

    /// The job changed.
    pub fn change(&mut self, change: &JobChange) {
        self.rate.add(bytes_done(change), Instant::now());
        self.latest = Some(change.clone());
        self.gap_over();
        self.draw();
    }

    /// Time passes, and the leader may have gone.
    pub fn tick(&mut self, leader: &LeaderView) {
        let Some(latest) = &self.latest else { return };
        let Some(gap) = leader.gone_for().filter(|gap| *gap >= GAP_SHOWN) else {
            match &self.form {
                Form::Bar(bar, _) => bar.tick(),
                Form::Lines if self.gap_told.is_none() => self.draw_line(),
                Form::Lines | Form::Nothing => {}
            }
            return;
        };
        let text = format!("no leader for {:.1} s, tasks go on", gap.as_secs_f64());
        match &self.form {
            Form::Bar(bar, _) => bar.set_message(text),
            Form::Lines if self.gap_told.is_none() => {
                note(&format!("{}: {text}", latest.job.job_id));
            }
            Form::Lines | Form::Nothing => {}
        }
        self.gap_told = self.gap_told.or(leader.none_since.map(Into::into));
    }

    /// A leader has spoken: tells of the gap before it, if one was told of.
    fn gap_over(&mut self) {
        let (Some(since), Some(change)) = (self.gap_told.take(), &self.latest) else {
            return;
        };
        if matches!(self.form, Form::Lines) {
            note(&format!(
                "{}: seat {} leads (term {}), after {:.1} s without a leader",
                change.job.job_id,
                change.leader_seat,
                change.term,
                since.elapsed().as_secs_f64()
            ));
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Form::Bar(bar, _) = &self.form {
            bar.finish_and_clear();
        }
    }

    fn draw(&mut self) {
        let Some(change) = &self.latest else { return };
        match &self.form {
            Form::Nothing => {}
            Form::Bar(bar, below) => {
                if self.counters {
                    let table = counter_table(&change.job);
                    // Nothing panics under this lock.
                    *below.lock().unwrap_or_else(PoisonError::into_inner) = table;
                }
                bar.set_position(position(change));
                bar.set_prefix(change.job.job_id.to_string());
                bar.set_message(self.describe(change));
            }
            Form::Lines => self.draw_line(),
        }
    }

    fn draw_line(&mut self) {
        let Some(change) = &self.latest else { return };
        let job = &change.job;
        let text = format!("{} {}", tasks(job), job.reason);
        let due = self
            .last_line
            .is_none_or(|last| last.elapsed() >= LINE_INTERVAL);
        if text == self.last_text || !due || job.state.is_final() {
            return;
        }
        note(&format!("{}: {}", job.job_id, self.describe(change)));
        self.last_text = text;
        self.last_line = Some(Instant::now());
    }

    fn describe(&self, change: &JobChange) -> String {
        let mut text = tasks(&change.job);
        let waits = !change.job.reason.is_empty() && !change.job.state.is_final();
        if waits && self.began.elapsed() >= WAIT_SHOWN {
            text.push_str(&format!(", {}", change.job.reason));
        }
        if let Some(rate) = self.rate.bytes_per_second() {
            text.push_str(&format!(", {}/s", ByteSize(rate)));
            if let Some(left) = time_left(change, rate) {
                text.push_str(&format!(", about {} left", TimeSpan(left).coarse()));
            }
        }
        text.push_str(&format!(", seat {} leads", change.leader_seat));
        if self.counters && matches!(self.form, Form::Lines) {
            for (name, sum) in own_counters(&change.job).take(OWN_COUNTERS_ON_A_LINE) {
                text.push_str(&format!(", {} {sum}", shown(name)));
            }
        }
        text
    }
}

/// A bar of [`BAR_LENGTH`] on standard error, with a prefix and a message.
pub fn bar(painted: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(BAR_LENGTH), ProgressDrawTarget::stderr());
    let template = if painted { PAINTED } else { PLAIN };
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ");
    bar.set_style(style);
    bar
}

/// Draws lines below a bar, whatever they are at the time.
fn stand_over(bar: &ProgressBar, below: &Below, painted: bool) {
    let below = Arc::clone(below);
    let write = move |_: &ProgressState, out: &mut dyn fmt::Write| {
        let lines = below.lock().unwrap_or_else(PoisonError::into_inner);
        // A string takes what is written.
        let _infallible = out.write_str(&lines);
    };
    let style = bar.style().with_key("below", write);
    let template = if painted { PAINTED } else { PLAIN };
    if let Ok(style) = style.template(&format!("{template}\n{{below}}")) {
        bar.set_style(style);
    }
}

/// Counters of the job's own programs.
fn own_counters(job: &JobView) -> impl Iterator<Item = (&String, &u64)> {
    let counters = job.counters.iter();
    counters.filter(|(name, _)| !BUILT_IN.iter().any(|phase| name.starts_with(phase)))
}

/// What tells how far the job is and what its programs count, a line for each.
fn counter_table(job: &JobView) -> String {
    let known = ALWAYS_SHOWN.iter().filter_map(|name| {
        let sum = job.counters.get(*name)?;
        Some((*name, *sum))
    });
    let own = own_counters(job).map(|(name, sum)| (name.as_str(), *sum));
    let line = |(name, sum)| format!("  {:<32}{sum:>16}", shown(name));
    let lines: Vec<String> = known.chain(own).take(COUNTER_LINES_MAX).map(line).collect();
    lines.join("\n")
}

/// The phase, and tasks done, running and failed.
fn tasks(job: &JobView) -> String {
    let word = if job.phase.is_empty() {
        job.state.word()
    } else {
        job.phase.as_str()
    };
    let mut text = match word {
        "map" => format!("map {}/{}", job.map.completed, job.map.total),
        "reduce" => format!("reduce {}/{}", job.reduce.completed, job.reduce.total),
        other => other.to_owned(),
    };
    if !job.state.is_final() {
        text.insert_str(0, &place(job));
    }
    let running = match word {
        "map" => job.map.running,
        "reduce" => job.reduce.running + job.map.running,
        _ => 0,
    };
    if running > 0 {
        text.push_str(&format!(", {running} running"));
    }
    if job.attempts.failed > 0 {
        text.push_str(&format!(", {} failed", job.attempts.failed));
    }
    if job.attempts.lost > 0 {
        text.push_str(&format!(", {} lost", job.attempts.lost));
    }
    text
}

/// Step and round, where there are several; people count from 1.
fn place(job: &JobView) -> String {
    let mut place = String::new();
    if job.programs.len() > 1 {
        place = format!("step {}/{}, ", job.step + 1, job.programs.len());
    }
    let repeats = job.round > 0 || job.rounds.iter().any(|round| round.round > 0);
    if repeats {
        place.push_str(&format!("round {}, ", job.round + 1));
    }
    place
}

fn bytes_done(change: &JobChange) -> u64 {
    let completed = change.job.counters.get(MAP_INPUT_BYTES).copied();
    completed.unwrap_or(0).saturating_add(change.running_bytes)
}

/// Place on the bar: the maps are its first two thirds.
fn position(change: &JobChange) -> u64 {
    let job = &change.job;
    let share = |done: u64, all: u64| match all {
        0 => 0,
        all => done.min(all) * BAR_LENGTH / all,
    };
    let by_tasks = share(u64::from(job.map.completed), u64::from(job.map.total));
    let by_bytes = share(bytes_done(change), job.input_bytes);
    let maps = if job.map.total > 0 && job.map.completed == job.map.total {
        BAR_LENGTH
    } else {
        by_tasks.max(by_bytes.min(BAR_LENGTH - 1))
    };
    let reduces = share(u64::from(job.reduce.completed), u64::from(job.reduce.total));
    (maps * 2 + reduces) / 3
}

fn time_left(change: &JobChange, rate: u64) -> Option<Duration> {
    let left = change.job.input_bytes.checked_sub(bytes_done(change))?;
    let seconds = left.checked_div(rate)?;
    (change.job.phase == "map" && seconds > 0).then(|| Duration::from_secs(seconds))
}

/// Bytes per second over a window of the past.
#[derive(Debug, Default)]
pub struct Rate {
    marks: std::collections::VecDeque<(Instant, u64)>,
}

impl Rate {
    /// So many bytes were done by then.
    pub fn add(&mut self, bytes: u64, now: Instant) {
        // A new leader begins the running bytes at 0 again: so does the rate.
        if self.marks.back().is_some_and(|(_, last)| *last > bytes) {
            self.marks.clear();
        }
        self.marks.push_back((now, bytes));
        while self.marks.len() > 2 && now - self.marks[1].0 > RATE_WINDOW {
            self.marks.pop_front();
        }
    }

    /// None before there is enough to tell.
    pub fn bytes_per_second(&self) -> Option<u64> {
        let (began, first) = self.marks.front()?;
        let (ended, last) = self.marks.back()?;
        let millis = u64::try_from((*ended - *began).as_millis()).ok()?;
        let bytes = last - first;
        (millis >= 200 && bytes > 0).then(|| bytes.saturating_mul(1_000) / millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_bytes_over_time_and_begins_anew_after_a_fall() {
        let start = Instant::now();
        let mut rate = Rate::default();
        rate.add(0, start);
        assert_eq!(rate.bytes_per_second(), None);
        rate.add(5_000, start + Duration::from_secs(1));
        assert_eq!(rate.bytes_per_second(), Some(5_000));
        rate.add(100, start + Duration::from_secs(2));
        assert_eq!(rate.bytes_per_second(), None);
    }
}
