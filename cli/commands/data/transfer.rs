//! What a person sees while bytes go to or come from the cluster: a bar on a
//! terminal, elsewhere one line a change; nothing when quiet or when a program
//! reads.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::app::{App, note};
use crate::progress::{BAR_LENGTH, Rate, bar};
use crate::quantity::{ByteSize, TimeSpan};

/// Lines for those who keep them come at most so often.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// A leader that is missing for less is not worth a word.
const GAP_SHOWN: Duration = Duration::from_millis(150);

#[derive(Debug)]
enum Form {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Bytes done.
    pub bytes: u64,
    /// Of so many, where that is known.
    pub total: Option<u64>,
    /// Blocks done.
    pub blocks: u64,
}

/// The progress of one transfer.
#[derive(Debug)]
pub struct Transfer {
    form: Form,
    name: String,
    rate: Rate,
    told: Option<(Instant, Standing)>,
    gap_told: bool,
}

impl Transfer {
    /// Of a dataset, for a command that was called like this.
    pub fn new(app: &App, name: &str) -> Self {
        let form = if app.quiet || app.print.is_json() {
            Form::Nothing
        } else if io::stderr().is_terminal() {
            Form::Bar(bar(app.paint_err))
        } else {
            Form::Lines
        };
        Self {
            form,
            name: name.to_owned(),
            rate: Rate::default(),
            told: None,
            gap_told: false,
        }
    }

    /// Time passes; so far it is, and for so long there has been no leader.
    pub fn tick(&mut self, standing: Standing, gap: Option<Duration>) {
        self.rate.add(standing.bytes, Instant::now());
        let gap = gap.filter(|gap| *gap >= GAP_SHOWN);
        let mut text = self.describe(standing);
        if let Some(gap) = gap {
            text.push_str(&format!(", no leader for {:.1} s", gap.as_secs_f64()));
        }
        match &self.form {
            Form::Nothing => {}
            Form::Bar(bar) => {
                bar.set_position(position(standing));
                bar.set_prefix(self.name.clone());
                bar.set_message(text);
                bar.tick();
            }
            Form::Lines => {
                let due = match &self.told {
                    None => standing.bytes > 0,
                    Some((at, told)) => at.elapsed() >= LINE_INTERVAL && *told != standing,
                };
                if due || gap.is_some() != self.gap_told {
                    note(&format!("{}: {text}", self.name));
                    self.told = Some((Instant::now(), standing));
                }
            }
        }
        self.gap_told = gap.is_some();
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }

    fn describe(&self, standing: Standing) -> String {
        let mut text = ByteSize(standing.bytes).to_string();
        if let Some(total) = standing.total {
            text.push_str(&format!(" of {}", ByteSize(total)));
        }
        if standing.blocks > 0 {
            text.push_str(&format!(", {} blocks", standing.blocks));
        }
        if let Some(rate) = self.rate.bytes_per_second() {
            text.push_str(&format!(", {}/s", ByteSize(rate)));
            let left = standing.total.map(|all| all.saturating_sub(standing.bytes));
            if let Some(seconds) = left.map(|left| left / rate).filter(|seconds| *seconds > 0) {
                let left = TimeSpan(Duration::from_secs(seconds));
                text.push_str(&format!(", about {} left", left.coarse()));
            }
        }
        text
    }
}

fn position(standing: Standing) -> u64 {
    match standing.total {
        None | Some(0) => 0,
        Some(total) => {
            let share = u128::from(standing.bytes.min(total)) * u128::from(BAR_LENGTH);
            u64::try_from(share / u128::from(total)).unwrap_or(BAR_LENGTH)
        }
    }
}
