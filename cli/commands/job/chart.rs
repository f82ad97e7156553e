//! A timeline as a drawing: a band for each worker, a bar for each attempt.
//!
//! Plain SVG, without scripts and fonts of its own. Bars begin when an attempt was
//! granted, so what a worker held ahead of need lies in lanes one below the other.
//! A bar's title says what it is when the pointer rests on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use vivat_shared::ids::{TaskKind, WorkerId};
use vivat_shared::timeline::{AttemptEnd, AttemptSpan};

const WIDTH: u32 = 1_200;
const LEFT: u32 = 110;
const RIGHT: u32 = 20;
const TOP: u32 = 70;
const LANE: u32 = 9;
const GAP: u32 = 8;
/// Marks on the axis of time, about so many.
const MARKS: u32 = 10;
/// Steps have colours of their own, as far apart as this on the circle of hues.
const STEP_HUE: u32 = 30;

/// Draws it.
pub fn svg(title: &str, spans: &[AttemptSpan]) -> String {
    let last = |span: &AttemptSpan| span.ended_ms.unwrap_or(span.began_ms);
    let end_ms = spans.iter().map(last).max().unwrap_or(0).max(1);
    let scale = Scale { end_ms };
    let mut bars = String::new();
    let mut top = TOP;
    for (worker, spans) in by_worker(spans) {
        let lanes = lanes(&spans, end_ms);
        let height = u32::try_from(lanes.len()).unwrap_or(u32::MAX).max(1) * LANE;
        let middle = top + height / 2 + 4;
        line(
            &mut bars,
            &format!("<text x='8' y='{middle}'>{worker}</text>"),
        );
        for (lane, spans) in (0_u32..).zip(&lanes) {
            for span in spans {
                line(&mut bars, &bar(&scale, span, top + lane * LANE));
            }
        }
        top += height + GAP;
    }
    let mut text = String::new();
    let height = top + 30;
    line(
        &mut text,
        &format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' \
             viewBox='0 0 {WIDTH} {height}' font-family='sans-serif' font-size='11'>"
        ),
    );
    line(&mut text, "<rect width='100%' height='100%' fill='white'/>");
    line(
        &mut text,
        &format!("<text x='8' y='20' font-size='15'>{title}: attempts by worker</text>"),
    );
    legend(&mut text, spans);
    axis(&mut text, &scale, top);
    text.push_str(&bars);
    line(&mut text, "</svg>");
    text
}

fn line(text: &mut String, content: &str) {
    text.push_str(content);
    text.push('\n');
}

/// From milliseconds to places.
struct Scale {
    end_ms: u32,
}

impl Scale {
    fn x(&self, at_ms: u32) -> u32 {
        let room = u64::from(WIDTH - LEFT - RIGHT);
        let x = u64::from(at_ms) * room / u64::from(self.end_ms);
        LEFT + u32::try_from(x).unwrap_or(u32::MAX)
    }
}

fn by_worker(spans: &[AttemptSpan]) -> BTreeMap<WorkerId, Vec<AttemptSpan>> {
    let mut workers: BTreeMap<WorkerId, Vec<AttemptSpan>> = BTreeMap::new();
    for span in spans {
        workers.entry(span.worker).or_default().push(*span);
    }
    workers
}

/// Lays spans out so that those of one lane do not overlap.
fn lanes(spans: &[AttemptSpan], end_ms: u32) -> Vec<Vec<AttemptSpan>> {
    let mut spans = spans.to_vec();
    spans.sort_by_key(|span| (span.began_ms, span.ended_ms.unwrap_or(end_ms)));
    let mut lanes: Vec<Vec<AttemptSpan>> = Vec::new();
    for span in spans {
        let is_free = |lane: &&mut Vec<AttemptSpan>| {
            let last = lane.last().and_then(|last| last.ended_ms);
            last.is_some_and(|ended_ms| ended_ms <= span.began_ms)
        };
        match lanes.iter_mut().find(is_free) {
            Some(lane) => lane.push(span),
            None => lanes.push(vec![span]),
        }
    }
    lanes
}

fn bar(scale: &Scale, span: &AttemptSpan, y: u32) -> String {
    let ended_ms = span.ended_ms.unwrap_or(scale.end_ms);
    let x = scale.x(span.began_ms);
    let width = scale.x(ended_ms).saturating_sub(x).max(1);
    let height = LANE - 1;
    let round = span.attempt.task.round;
    let fill = colour(round.step, round.round, span.attempt.task.kind);
    let look = look(span.end);
    let end = span.end.map_or("running", AttemptEnd::word);
    let (attempt, began_ms) = (span.attempt, span.began_ms);
    format!(
        "<rect x='{x}' y='{y}' width='{width}' height='{height}' fill='{fill}' {look}>\
         <title>{attempt}: {end}, {began_ms} to {ended_ms} ms</title></rect>"
    )
}

/// How bars differ by the end of their attempts.
fn look(end: Option<AttemptEnd>) -> &'static str {
    match end {
        Some(AttemptEnd::Accepted) => "",
        None => "opacity='0.7'",
        Some(AttemptEnd::Failed) => "stroke='#c00' stroke-width='2'",
        Some(AttemptEnd::Killed) => "opacity='0.35'",
        Some(AttemptEnd::Lost) => "opacity='0.6' stroke='black' stroke-dasharray='3 2'",
    }
}

/// A hue for each kind, moved on by the step; every second round is lighter.
fn colour(step: u16, round: u32, kind: TaskKind) -> String {
    let hue = match kind {
        TaskKind::Plan => 0,
        TaskKind::Map => 210,
        TaskKind::Reduce => 130,
        TaskKind::Close => 285,
        TaskKind::Commit | TaskKind::Notify => 40,
    };
    let hue = (hue + u32::from(step) * STEP_HUE) % 360;
    let light = if round.is_multiple_of(2) { 45 } else { 62 };
    format!("hsl({hue},60%,{light}%)")
}

fn legend(text: &mut String, spans: &[AttemptSpan]) {
    let tasks = spans.iter().map(|span| span.attempt.task);
    let shown: BTreeSet<(u16, TaskKind)> = tasks.map(|it| (it.round.step, it.kind)).collect();
    let several = shown.iter().any(|(step, _)| *step > 0);
    let mut x = 8;
    for (step, kind) in shown {
        let label = if several {
            format!("step {step} {}", kind.word())
        } else {
            kind.word().to_owned()
        };
        legend_entry(text, &mut x, &colour(step, 0, kind), "", &label);
    }
    let ends: BTreeSet<&str> = spans
        .iter()
        .filter_map(|it| it.end.map(|end| end.word()))
        .collect();
    for end in [AttemptEnd::Failed, AttemptEnd::Killed, AttemptEnd::Lost] {
        if ends.contains(end.word()) {
            legend_entry(text, &mut x, "hsl(0,0%,55%)", look(Some(end)), end.word());
        }
    }
    if spans.iter().any(|span| span.attempt.task.round.round > 0) {
        let words = "every second round is lighter";
        line(text, &format!("<text x='{x}' y='42'>{words}</text>"));
    }
}

fn legend_entry(text: &mut String, x: &mut u32, fill: &str, look: &str, label: &str) {
    let place = *x + 14;
    line(
        text,
        &format!(
            "<rect x='{x}' y='33' width='10' height='10' fill='{fill}' {look}/>\
             <text x='{place}' y='42'>{label}</text>"
        ),
    );
    let letters = u32::try_from(label.len()).unwrap_or(0);
    *x += 30 + letters * 7;
}

fn axis(text: &mut String, scale: &Scale, bottom: u32) {
    let between_ms = nice(scale.end_ms.div_ceil(MARKS));
    let mut at_ms = 0;
    while at_ms <= scale.end_ms {
        let x = scale.x(at_ms);
        let mut label = String::new();
        let (whole, rest) = (at_ms / 1_000, at_ms % 1_000);
        let written = if between_ms.is_multiple_of(1_000) {
            write!(label, "{whole} s")
        } else {
            write!(label, "{whole}.{rest:03} s")
        };
        debug_assert!(written.is_ok(), "a string takes what is written");
        let (from, below) = (TOP - 10, bottom + 14);
        line(
            text,
            &format!(
                "<line x1='{x}' y1='{from}' x2='{x}' y2='{bottom}' stroke='#ddd'/>\
                 <text x='{x}' y='{below}' text-anchor='middle'>{label}</text>"
            ),
        );
        at_ms = at_ms.saturating_add(between_ms);
        if at_ms == u32::MAX {
            break;
        }
    }
}

/// The next number that is 1, 2 or 5 with zeros.
fn nice(number: u32) -> u32 {
    let mut power = 1_u32;
    loop {
        for factor in [1, 2, 5] {
            if let Some(found) = power.checked_mul(factor).filter(|it| *it >= number) {
                return found;
            }
        }
        match power.checked_mul(10) {
            Some(next) => power = next,
            None => return u32::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(attempt: &str, worker: u32, began_ms: u32, ended_ms: Option<u32>) -> AttemptSpan {
        AttemptSpan {
            attempt: attempt.parse().expect("an attempt's id"),
            worker: WorkerId(worker),
            began_ms,
            ended_ms,
            end: ended_ms.map(|_| AttemptEnd::Accepted),
        }
    }

    #[test]
    fn attempts_that_overlap_lie_in_lanes_of_their_own() {
        let spans = [
            span("job-1.0.0.map-0.1", 1, 0, Some(10)),
            span("job-1.0.0.map-1.1", 1, 0, Some(20)),
            span("job-1.0.0.map-2.1", 1, 10, None),
            span("job-1.0.0.map-3.1", 1, 20, Some(30)),
        ];
        let lanes = lanes(&spans, 30);
        let numbers = |lane: &Vec<AttemptSpan>| -> Vec<u32> {
            lane.iter().map(|span| span.attempt.task.index).collect()
        };
        let numbers: Vec<Vec<u32>> = lanes.iter().map(numbers).collect();
        assert_eq!(numbers, [vec![0, 2], vec![1, 3]]);
    }

    #[test]
    fn drawing_names_every_worker_and_every_attempt_and_is_closed() {
        let mut failed = span("job-1.1.1.reduce-0.1", 2, 5, Some(9));
        failed.end = Some(AttemptEnd::Failed);
        let spans = [span("job-1.0.0.map-0.1", 1, 0, Some(10)), failed];
        let drawing = svg("job-1", &spans);
        for expected in [
            ">worker-1<",
            ">worker-2<",
            "job-1.0.0.map-0.1: accepted, 0 to 10 ms",
            "job-1.1.1.reduce-0.1: failed, 5 to 9 ms",
            ">step 1 reduce<",
            ">failed<",
            "every second round is lighter",
        ] {
            assert!(drawing.contains(expected), "no {expected} in {drawing}");
        }
        assert!(drawing.ends_with("</svg>\n"));
        let (open, closed) = (
            drawing.matches("<text").count(),
            drawing.matches("</text").count(),
        );
        assert_eq!(open, closed);
    }

    #[test]
    fn drawing_of_nothing_is_a_drawing() {
        assert!(svg("job-1", &[]).contains("attempts by worker"));
    }

    #[test]
    fn marks_stand_at_round_numbers() {
        assert_eq!(
            [1, 2, 3, 6, 11, 250, 1_001].map(nice),
            [1, 2, 5, 10, 20, 500, 2_000]
        );
    }
}
