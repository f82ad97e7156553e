//! What training and prediction must give, by loops over one row at a time.
//!
//! Nothing here is shared with the programs: matrices are lists of rows, and what
//! is written is put together by hand. The order of every sum is the one that the
//! program promises, so the bits are the same.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use super::oracle_files::{Matrix, read_layers, write_tensors};
use crate::catalogue::OracleInput;
use crate::parameters::Parameters;

/// Weights of both layers, biases first.
#[derive(Clone)]
struct Layers {
    w: Matrix,
    v: Matrix,
}

/// Rows and their classes.
#[derive(Clone, Default)]
struct Table {
    x: Matrix,
    classes: Vec<usize>,
}

/// A table; with `classes` the last column is a class, if the row is long enough.
fn read(path: &Path, features: Option<usize>) -> io::Result<Table> {
    let mut table = Table::default();
    for line in std::fs::read_to_string(path)?.lines() {
        let numbers: Result<Vec<f64>, _> = line
            .split(|letter: char| letter == ',' || letter.is_ascii_whitespace())
            .filter(|field| !field.is_empty())
            .map(str::parse)
            .collect();
        let mut numbers = numbers.map_err(io::Error::other)?;
        if numbers.is_empty() {
            continue;
        }
        let mut class = usize::MAX;
        if features.is_none_or(|features| numbers.len() > features) {
            let last = numbers.pop().unwrap_or(-1.0);
            class = format!("{last}").parse().map_err(io::Error::other)?;
        }
        table.x.push(numbers);
        table.classes.push(class);
    }
    Ok(table)
}

/// Steele, Lea and Flood's generator.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn real(count: usize) -> f64 {
    count as f64
}

fn drawn(features: usize, hidden: usize, classes: usize, seed: u64) -> Layers {
    let mut state = seed;
    let mut layer = |rows: usize, columns: usize, limit: f64| -> Matrix {
        let mut layer = vec![vec![0.0; columns]];
        for _ in 0..rows {
            let row = (0..columns).map(|_| {
                #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
                let unit = (draw(&mut state) >> 11) as f64 / 9_007_199_254_740_992.0;
                limit * (2.0 * unit - 1.0)
            });
            layer.push(row.collect());
        }
        layer
    };
    let w = layer(features, hidden, (6.0 / real(features)).sqrt());
    let v = layer(hidden, classes, (6.0 / real(hidden + classes)).sqrt());
    Layers { w, v }
}

fn exponential(x: f64) -> f64 {
    if x <= -708.0 {
        return 0.0;
    }
    let shifted = x.mul_add(std::f64::consts::LOG2_E, 6_755_399_441_055_744.0);
    let power = shifted - 6_755_399_441_055_744.0;
    let rest = power.mul_add(-6.931_471_803_691_238e-1, x);
    let rest = power.mul_add(-1.908_214_929_270_587_7e-10, rest);
    let mut factorial = 479_001_600.0;
    let mut sum = 1.0 / factorial;
    for degree in (0..12_u32).rev() {
        factorial /= f64::from(degree + 1);
        sum = rest.mul_add(sum, 1.0 / factorial);
    }
    sum * 2.0_f64.powi(format!("{power}").parse().unwrap_or(0))
}

/// One row through the network.
struct Seen {
    hidden: Vec<f64>,
    /// Probabilities, not yet divided by `sum`.
    raised: Vec<f64>,
    sum: f64,
    best: usize,
    /// Scores less the highest of them.
    scores: Vec<f64>,
}

impl Layers {
    fn read(path: &str) -> io::Result<Self> {
        let (w, v) = read_layers(Path::new(path))?;
        Ok(Self { w, v })
    }

    fn see(&self, x: &[f64]) -> Seen {
        let layer = |weights: &Matrix, input: &[f64]| -> Vec<f64> {
            let mut out = weights[0].clone();
            for (column, sum) in out.iter_mut().enumerate() {
                for (number, row) in input.iter().zip(&weights[1..]) {
                    *sum = number.mul_add(row[column], *sum);
                }
            }
            out
        };
        let mut hidden = layer(&self.w, x);
        for unit in &mut hidden {
            if *unit <= 0.0 {
                *unit = 0.0;
            }
        }
        let scores = layer(&self.v, &hidden);
        let mut best = 0;
        for class in 0..scores.len() {
            if scores[class] > scores[best] {
                best = class;
            }
        }
        let top = scores[best];
        let scores: Vec<f64> = scores.iter().map(|score| score - top).collect();
        let raised: Vec<f64> = scores.iter().map(|score| exponential(*score)).collect();
        let mut strands = [0.0; 8];
        for (class, number) in raised.iter().enumerate() {
            strands[class % 8] += number;
        }
        let sum = strands.iter().fold(0.0, |sum, strand| sum + strand);
        Seen {
            hidden,
            raised,
            sum,
            best,
            scores,
        }
    }

    fn loss(&self, x: &[f64], class: usize) -> (f64, bool) {
        let seen = self.see(x);
        (libm::log(seen.sum) - seen.scores[class], seen.best != class)
    }

    fn judge(&self, table: &Table) -> (f64, u64) {
        let (mut sum, mut errors) = (0.0, 0);
        for (x, class) in table.x.iter().zip(&table.classes) {
            let (loss, wrong) = self.loss(x, *class);
            sum += loss;
            errors += u64::from(wrong);
        }
        (sum, errors)
    }

    /// Errors on rows that none was trained with; adds what is told of them.
    fn try_on(&self, table: &Table, facts: &mut BTreeMap<&'static str, String>) -> u64 {
        let (loss, errors) = self.judge(table);
        let rows = real(table.x.len());
        let share = real(usize::try_from(errors).unwrap_or(0)) / rows;
        facts.insert("validation_error", share.to_string());
        facts.insert("validation_loss", (loss / rows).to_string());
        errors
    }

    /// Adds a row's gradient; its loss.
    fn slope(&self, x: &[f64], class: usize, gradient: &mut Self) -> f64 {
        let seen = self.see(x);
        let inverse = 1.0 / seen.sum;
        let mut out: Vec<f64> = seen.raised.iter().map(|it| it * inverse).collect();
        out[class] -= 1.0;
        let mut back = vec![0.0; seen.hidden.len()];
        for (unit, sum) in back.iter_mut().enumerate() {
            for (class, change) in out.iter().enumerate() {
                *sum = change.mul_add(self.v[unit + 1][class], *sum);
            }
            if seen.hidden[unit] <= 0.0 {
                *sum = 0.0;
            }
        }
        for (layer, inputs, changes) in [
            (&mut gradient.v, &seen.hidden[..], &out),
            (&mut gradient.w, x, &back),
        ] {
            for (column, change) in changes.iter().enumerate() {
                layer[0][column] += change;
                for (row, input) in inputs.iter().enumerate() {
                    layer[row + 1][column] = input.mul_add(*change, layer[row + 1][column]);
                }
            }
        }
        libm::log(seen.sum) - seen.scores[class]
    }

    fn zeros(&self) -> Self {
        let zeros = |layer: &Matrix| layer.iter().map(|row| vec![0.0; row.len()]).collect();
        Self {
            w: zeros(&self.w),
            v: zeros(&self.v),
        }
    }

    fn numbers(&self) -> Vec<f64> {
        self.w.iter().chain(&self.v).flatten().copied().collect()
    }

    fn set(&mut self, numbers: &[f64]) {
        let all = self.w.iter_mut().chain(&mut self.v).flatten();
        for (weight, number) in all.zip(numbers) {
            *weight = *number;
        }
    }
}

/// How a shard learns.
struct Plan {
    epochs: i64,
    eta: f64,
    min_change: f64,
    batch: usize,
    adam: bool,
}

impl Plan {
    fn of(parameters: &Parameters, eta: f64) -> Self {
        Self {
            epochs: parameters.integer("epochs"),
            eta,
            min_change: parameters.number("min-change"),
            batch: usize::try_from(parameters.integer("batch")).unwrap_or(0),
            adam: parameters.text("optimizer") == "adam",
        }
    }
}

/// Moments of Adam and the powers of its constants.
#[derive(Clone)]
struct Moments {
    means: Vec<f64>,
    squares: Vec<f64>,
    powers: (f64, f64),
    steps: u64,
}

impl Moments {
    fn new(count: usize) -> Self {
        Self {
            means: vec![0.0; count],
            squares: vec![0.0; count],
            powers: (1.0, 1.0),
            steps: 0,
        }
    }

    fn pass(&mut self) {
        self.powers = (self.powers.0 * 0.9, self.powers.1 * 0.999);
        self.steps += 1;
    }
}

fn step(layers: &mut Layers, gradient: &Layers, plan: &Plan, moments: &mut Moments) {
    let mut numbers = layers.numbers();
    moments.pass();
    for (at, slope) in gradient.numbers().into_iter().enumerate() {
        if !plan.adam {
            numbers[at] -= plan.eta * slope;
            continue;
        }
        let (mean, square) = (&mut moments.means[at], &mut moments.squares[at]);
        *mean = 0.9 * *mean + (1.0 - 0.9) * slope;
        *square = 0.999 * *square + (1.0 - 0.999) * (slope * slope);
        let root = (*square / (1.0 - moments.powers.1)).sqrt() + 1e-8;
        numbers[at] -= plan.eta * (*mean / (1.0 - moments.powers.0)) / root;
    }
    layers.set(&numbers);
}

/// Epochs taken; the layers are what was learnt.
fn learn(
    layers: &mut Layers,
    table: &Table,
    plan: &Plan,
    (seed, moments): (u64, &mut Moments),
) -> i64 {
    let mut order: Vec<usize> = (0..table.x.len()).collect();
    let mut state = seed;
    let mut before = f64::INFINITY;
    for epoch in 0..plan.epochs {
        let mut loss = 0.0;
        let whole = plan.batch == 0;
        if !whole {
            for last in (1..order.len()).rev() {
                let product = u128::from(draw(&mut state)) * (last as u128 + 1);
                order.swap(last, usize::try_from(product >> 64).unwrap_or(0));
            }
        }
        let batch = if whole { order.len() } else { plan.batch };
        for rows in order.chunks(batch) {
            let mut gradient = layers.zeros();
            let mut sum = 0.0;
            for &row in rows {
                sum += layers.slope(&table.x[row], table.classes[row], &mut gradient);
            }
            loss += sum;
            if whole && (before - loss).abs() <= plan.min_change {
                return epoch;
            }
            step(layers, &gradient, plan, moments);
        }
        if !whole && (before - loss).abs() <= plan.min_change {
            return epoch + 1;
        }
        before = loss;
    }
    plan.epochs
}

/// Means and deviations of columns, by sums of whole numbers where they are: tests
/// give no others.
fn lie(shards: &[Table]) -> (Vec<f64>, Vec<f64>) {
    let rows: Vec<&Vec<f64>> = shards.iter().flat_map(|table| &table.x).collect();
    let count = real(rows.len());
    let columns = rows.first().map_or(0, |row| row.len());
    let mut lie = (Vec::new(), Vec::new());
    for column in 0..columns {
        let (mut sum, mut squares) = (0.0, 0.0);
        for row in &rows {
            sum += row[column];
            squares += row[column] * row[column];
        }
        let variance = (count * squares - sum * sum) / (count * count);
        lie.0.push(sum / count);
        let deviation = variance.sqrt();
        lie.1.push(if deviation > 0.0 { deviation } else { 1.0 });
    }
    lie
}

/// Writes where columns lie.
pub(super) fn scale(
    _: &Parameters,
    inputs: &[OracleInput],
    _: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let shards: io::Result<Vec<Table>> =
        inputs.iter().map(|input| read(&input.path, None)).collect();
    let (means, deviations) = lie(&shards?);
    let tensors = [("deviation", vec![deviations]), ("mean", vec![means])];
    write_tensors(&BTreeMap::new(), &tensors, true, out)
}

/// Writes what all rounds come to.
pub(super) fn train(
    parameters: &Parameters,
    inputs: &[OracleInput],
    _: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let whole = |name| usize::try_from(parameters.integer(name)).unwrap_or(0);
    let shards: io::Result<Vec<Table>> =
        inputs.iter().map(|input| read(&input.path, None)).collect();
    let mut shards = shards?;
    let features = shards
        .iter()
        .flat_map(|table| &table.x)
        .map(Vec::len)
        .next();
    let features = features.ok_or_else(|| io::Error::other("the input has no rows"))?;
    let is_scaled = parameters.is_true("scale");
    let seed = u64::try_from(parameters.integer("seed")).unwrap_or(0);
    let mut layers = match parameters.text("init") {
        "" => drawn(features, whole("hidden"), whole("classes"), seed),
        path => Layers::read(path)?,
    };
    let (means, deviations) = lie(&shards);
    if is_scaled {
        if !parameters.text("init").is_empty() {
            move_layers(&mut layers, (&means, &deviations), true);
        }
        for row in shards.iter_mut().flat_map(|table| &mut table.x) {
            for (column, number) in row.iter_mut().enumerate() {
                *number = (*number - means[column]) / deviations[column];
            }
        }
    }
    let validation = match parameters.text("validate") {
        "" => None,
        path => Some(read(Path::new(path), None)?),
    };
    let mut best: Option<(u64, i64, Layers)> = None;
    let mut moments = Moments::new(layers.numbers().len());
    let mut eta = parameters.number("eta");
    for round in 1.. {
        let asked = (parameters, eta, seed, round);
        let mut facts = train_round(&mut layers, &mut moments, &shards, asked);
        let mut plain = layers.clone();
        if is_scaled {
            move_layers(&mut plain, (&means, &deviations), false);
        }
        let mut stops = false;
        if let Some(table) = &validation {
            let errors = plain.try_on(table, &mut facts);
            let patience = parameters.integer("patience");
            if patience > 0 && best.as_ref().is_none_or(|(least, _, _)| errors < *least) {
                best = Some((errors, round, plain.clone()));
            }
            if let Some((errors, of, _)) = &best {
                facts.insert("best_errors", errors.to_string());
                facts.insert("best_round", of.to_string());
                stops = round - of >= patience;
            }
        }
        if stops || round >= parameters.integer("rounds") {
            facts.insert("again", false.to_string());
            let result = best.map_or(plain, |(_, _, layers)| layers);
            let tensors = [("V", result.v), ("W", result.w)];
            return write_tensors(&facts, &tensors, false, out);
        }
        eta *= parameters.number("decay");
    }
    Ok(())
}

/// One round; what is told of it.
fn train_round(
    layers: &mut Layers,
    moments: &mut Moments,
    shards: &[Table],
    (parameters, eta, seed, round): (&Parameters, f64, u64, i64),
) -> BTreeMap<&'static str, String> {
    let plan = Plan::of(parameters, eta);
    let before = layers.numbers();
    let mut sums = vec![0.0; before.len()];
    let mut mean = Moments::new(before.len());
    mean.steps = u64::MAX;
    let (mut rows, mut shard_count, mut epochs) = (0, 0, 0);
    let (mut loss, mut errors) = (0.0, 0);
    for (number, table) in shards
        .iter()
        .enumerate()
        .filter(|(_, table)| !table.x.is_empty())
    {
        let mut state = seed;
        state = draw(&mut state) ^ u64::try_from(round - 1).unwrap_or(0);
        state = draw(&mut state) ^ number as u64;
        let mut learnt = layers.clone();
        let mut own = moments.clone();
        epochs += learn(&mut learnt, table, &plan, (draw(&mut state), &mut own));
        for (sums, numbers) in [
            (&mut mean.means, &own.means),
            (&mut mean.squares, &own.squares),
        ] {
            for (sum, number) in sums.iter_mut().zip(numbers) {
                *sum += real(table.x.len()) * number;
            }
        }
        mean.steps = mean.steps.min(own.steps);
        let (of_shard, wrong) = learnt.judge(table);
        loss += of_shard;
        errors += wrong;
        rows += table.x.len();
        shard_count += 1;
        for (sum, (after, before)) in sums.iter_mut().zip(learnt.numbers().iter().zip(&before)) {
            *sum += real(table.x.len()) * (after - before);
        }
    }
    let moved = before
        .iter()
        .zip(&sums)
        .map(|(before, sum)| before + sum / real(rows));
    let moved: Vec<f64> = moved.collect();
    layers.set(&moved);
    *moments = Moments::new(before.len());
    for _ in 0..mean.steps {
        moments.pass();
    }
    moments.means = mean.means.iter().map(|sum| sum / real(rows)).collect();
    moments.squares = mean.squares.iter().map(|sum| sum / real(rows)).collect();
    let errors = real(usize::try_from(errors).unwrap_or(0));
    BTreeMap::from([
        ("again", true.to_string()),
        ("round", round.to_string()),
        ("rows", rows.to_string()),
        ("shards", shard_count.to_string()),
        ("epochs", epochs.to_string()),
        ("eta", eta.to_string()),
        ("train_error", (errors / real(rows)).to_string()),
        ("train_loss", (loss / real(rows)).to_string()),
    ])
}

/// Weights for standardised rows of those for plain ones, or the other way.
fn move_layers(layers: &mut Layers, lie: (&[f64], &[f64]), forth: bool) {
    for (column, (mean, deviation)) in lie.0.iter().zip(lie.1).enumerate() {
        for unit in 0..layers.w[0].len() {
            let weight = layers.w[column + 1][unit];
            if forth {
                layers.w[0][unit] += mean * weight;
                layers.w[column + 1][unit] = weight * deviation;
            } else {
                layers.w[0][unit] -= mean * (weight / deviation);
                layers.w[column + 1][unit] = weight / deviation;
            }
        }
    }
}

/// Prints classes and probabilities.
pub(super) fn predict(
    parameters: &Parameters,
    inputs: &[OracleInput],
    _: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let layers = Layers::read(parameters.text("model"))?;
    for input in inputs {
        for x in read(&input.path, Some(layers.w.len() - 1))?.x {
            let seen = layers.see(&x);
            let probability = seen.raised[seen.best] * (1.0 / seen.sum);
            writeln!(out, "{}\t{probability:.6}", seen.best)?;
        }
    }
    Ok(())
}
