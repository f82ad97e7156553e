//! What the rounds of a job came to: as a table, and as a drawing.
//!
//! Plain SVG, without scripts and fonts of its own. Metrics that are fractions, such
//! as errors, share one field; every other metric has a field of its own, because
//! nobody knows what they have in common.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use vivat_shared::shown::shown;
use vivat_shared::view::{JobView, RoundView};

use crate::app::App;
use crate::args::Print;
use crate::failure::Failure;
use crate::quantity::TimeSpan;
use crate::table::{Sheet, number, text};

/// Prints it, or draws it into a file.
pub fn curve(app: &App, job: &JobView, svg: Option<PathBuf>) -> Result<(), Failure> {
    if let Some(path) = svg {
        return draw(app, job, &path);
    }
    match app.print {
        Print::Json | Print::Ndjson => {
            let rows: Vec<Value> = job.rounds.iter().map(row).collect();
            app.json_list(&rows)
        }
        Print::Name => {
            let names: String = names(&job.rounds)
                .iter()
                .map(|name| format!("{name}\n"))
                .collect();
            app.data(&names)
        }
        Print::Table | Print::Wide => table(app, job),
    }
}

fn row(round: &RoundView) -> Value {
    let metrics = round.metrics.iter();
    let metrics = metrics.map(|(name, metric)| (name.clone(), json!(metric.value())));
    json!({
        "step": round.step,
        "round": round.round,
        "seconds": Duration::from_millis(round.elapsed_ms).as_secs_f64(),
        "metrics": metrics.collect::<serde_json::Map<_, _>>(),
    })
}

/// Prints the rounds with what they told.
///
/// # Errors
///
/// Standard output cannot be written.
pub fn table(app: &App, job: &JobView) -> Result<(), Failure> {
    let names = names(&job.rounds);
    let heads: Vec<String> = ["STEP", "ROUND", "TOOK"]
        .into_iter()
        .map(str::to_owned)
        .chain(names.iter().map(|name| shown(name).to_uppercase()))
        .collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let mut sheet = Sheet::new(app, &heads);
    for round in &job.rounds {
        let took = TimeSpan(Duration::from_millis(round.elapsed_ms));
        let metric = |name: &&str| {
            let metric = round.metrics.get(*name);
            number(metric.map_or_else(|| "-".to_owned(), |it| readable(it.value())))
        };
        let front = [number(round.step), number(round.round), text(took)];
        sheet.row(front.into_iter().chain(names.iter().map(metric)));
    }
    sheet.print(app, "no round is over yet")
}

fn names(rounds: &[RoundView]) -> Vec<&str> {
    let names = rounds.iter().flat_map(|round| round.metrics.keys());
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    names.into_iter().collect()
}

/// Six digits are enough to look at.
fn readable(value: f64) -> String {
    let rounded = format!("{value:.6}");
    match rounded.parse::<f64>() {
        Ok(near) if value == near => value.to_string(),
        Ok(0.0) | Err(_) => format!("{value:e}"),
        Ok(_) => rounded,
    }
}

fn draw(app: &App, job: &JobView, path: &Path) -> Result<(), Failure> {
    let drawing = svg(&job.job_id.to_string(), &job.rounds);
    std::fs::write(path, drawing).map_err(|error| Failure::file("write", path, &error))?;
    let (count, path) = (job.rounds.len(), path.display());
    app.note(&format!("{count} rounds drawn into {path}"));
    Ok(())
}

const WIDTH: u32 = 900;
const LEFT: u32 = 90;
const RIGHT: u32 = 20;
const TOP: u32 = 40;
/// A field, and what is below it: the axis and the next one's names.
const FIELD: u32 = 200;
const BELOW: u32 = 60;
/// Metrics that are fractions end so.
const FRACTION: &str = "error";
const COLOURS: [&str; 6] = [
    "#1f6fb4", "#d1495b", "#3a8f5c", "#8a5fb0", "#c98a1b", "#4d4d4d",
];

/// Draws it: the rounds of the last step that has some.
fn svg(title: &str, rounds: &[RoundView]) -> String {
    let last = rounds.last().map_or(0, |round| round.step);
    let rounds: Vec<&RoundView> = rounds.iter().filter(|round| round.step == last).collect();
    let owned: Vec<RoundView> = rounds.iter().map(|round| (*round).clone()).collect();
    let names = names(&owned);
    let (fractions, others): (Vec<&str>, Vec<&str>) =
        names.into_iter().partition(|name| name.ends_with(FRACTION));
    let alone = others.into_iter().map(|name| vec![name]);
    let fields: Vec<Vec<&str>> = std::iter::once(fractions)
        .filter(|field| !field.is_empty())
        .chain(alone)
        .collect();
    let count = u32::try_from(fields.len()).unwrap_or(u32::MAX);
    let height = TOP + count.saturating_mul(FIELD + BELOW) + 10;
    let mut text = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' \
         viewBox='0 0 {WIDTH} {height}' font-family='sans-serif' font-size='11'>\n\
         <rect width='100%' height='100%' fill='white'/>\n\
         <text x='8' y='20' font-size='15'>{title}: metrics by round</text>\n"
    );
    for (place, field) in (0_u32..).zip(&fields) {
        let top = TOP + place * (FIELD + BELOW) + 20;
        draw_field(&mut text, &owned, field, top);
    }
    text.push_str("</svg>\n");
    text
}

/// Where a field's values lie.
struct Field {
    top: u32,
    low: f64,
    reach: f64,
    steps: f64,
}

impl Field {
    fn y(&self, value: f64) -> f64 {
        let height = (value - self.low) / self.reach * f64::from(FIELD);
        f64::from(self.top + FIELD) - height
    }

    fn x(&self, place: usize) -> f64 {
        let share = u32::try_from(place).map_or(0.0, f64::from) / self.steps;
        f64::from(LEFT) + share * f64::from(WIDTH - LEFT - RIGHT)
    }
}

fn value(round: &RoundView, name: &str) -> Option<f64> {
    let metric = round.metrics.get(name).map(|metric| metric.value());
    metric.filter(|value| value.is_finite())
}

/// One field with its axes and a line for each metric.
fn draw_field(text: &mut String, rounds: &[RoundView], names: &[&str], top: u32) {
    let all = rounds
        .iter()
        .flat_map(|round| names.iter().filter_map(|name| value(round, name)));
    let (low, high) = all.fold((0.0_f64, 0.0_f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let steps = rounds.len().saturating_sub(1).max(1);
    let field = Field {
        top,
        low,
        reach: if high > low { high - low } else { 1.0 },
        steps: u32::try_from(steps).map_or(1.0, f64::from),
    };
    draw_axes(text, rounds, &field);
    for (number, name) in names.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        draw_line(text, rounds, &field, (name, colour));
        let _infallible = writeln!(
            text,
            "<text x='{}' y='{}' fill='{colour}'>{}</text>",
            LEFT + 160 * u32::try_from(number).unwrap_or(0),
            top - 6,
            escape(&shown(name))
        );
    }
}

fn draw_axes(text: &mut String, rounds: &[RoundView], field: &Field) {
    for mark in 0..=4_u32 {
        let value = field.low + field.reach * f64::from(mark) / 4.0;
        let (at, right) = (field.y(value), WIDTH - RIGHT);
        let label = readable((value * 1e4).round() / 1e4);
        let _infallible = writeln!(
            text,
            "<path d='M{LEFT} {at:.1}H{right}' stroke='#ddd'/>\
             <text x='{}' y='{:.1}' text-anchor='end'>{label}</text>",
            LEFT - 6,
            at + 4.0
        );
    }
    let first = rounds.first().map_or(0, |round| round.round);
    let last = rounds.last().map_or(0, |round| round.round);
    let below = field.top + FIELD + 16;
    let _infallible = writeln!(
        text,
        "<text x='{LEFT}' y='{below}'>round {first}</text>\
         <text x='{}' y='{below}' text-anchor='end'>round {last}</text>",
        WIDTH - RIGHT
    );
}

fn draw_line(text: &mut String, rounds: &[RoundView], field: &Field, (name, colour): (&str, &str)) {
    let points: Vec<(f64, f64)> = rounds
        .iter()
        .enumerate()
        .filter_map(|(place, round)| Some((field.x(place), field.y(value(round, name)?))))
        .collect();
    let path: Vec<String> = points
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    let _infallible = writeln!(
        text,
        "<polyline points='{}' fill='none' stroke='{colour}' stroke-width='1.5'/>",
        path.join(" ")
    );
    if let [(x, y)] = points[..] {
        let _infallible = writeln!(
            text,
            "<circle cx='{x:.1}' cy='{y:.1}' r='2.5' fill='{colour}'/>"
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use vivat_shared::attempt::Metric;

    use super::*;

    fn round(number: u32, metrics: &[(&str, f64)]) -> RoundView {
        let metrics = metrics.iter();
        RoundView {
            step: 1,
            round: number,
            elapsed_ms: 40,
            metrics: metrics
                .map(|(name, value)| ((*name).to_owned(), Metric::from(*value)))
                .collect(),
        }
    }

    #[test]
    fn errors_share_a_field_and_every_other_metric_has_its_own() {
        let rounds = [
            round(
                0,
                &[
                    ("train_error", 0.5),
                    ("validation_error", 0.6),
                    ("loss<1", 3.0),
                ],
            ),
            round(
                1,
                &[
                    ("train_error", 0.25),
                    ("validation_error", f64::NAN),
                    ("loss<1", 1.5),
                ],
            ),
        ];
        let drawing = svg("job-1", &rounds);
        assert_eq!(drawing.matches("<polyline").count(), 3);
        assert_eq!(drawing.matches("round 0").count(), 2, "{drawing}");
        assert_eq!(
            drawing.matches("<circle").count(),
            1,
            "one point is no line"
        );
        assert!(
            drawing.contains("loss&lt;1") && !drawing.contains("NaN"),
            "{drawing}"
        );
        let half = f64::from(TOP + 20 + FIELD) - 0.5 / 0.6 * f64::from(FIELD);
        assert!(drawing.contains(&format!("90.0,{half:.1}")), "{drawing}");
        assert!(svg("job-1", &[]).ends_with("</svg>\n"));
    }

    #[test]
    fn numbers_are_short_enough_to_read() {
        for (value, said) in [
            (3.0, "3"),
            (0.25, "0.25"),
            (1.0 / 3.0, "0.333333"),
            (0.0, "0"),
        ] {
            assert_eq!(readable(value), said);
        }
        assert_eq!(readable(1e-9), "1e-9");
    }
}
