//! Three rounds of federated averaging over shards: one thread, plain loops over
//! rows, from the same first weights. Compilers make of them what they can.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::Task;

const FEATURES: usize = 16;
const HIDDEN: usize = 24;
const CLASSES: usize = 26;
const ROUNDS: usize = 3;
const EPOCHS: usize = 75;
const ETA: f64 = 1e-4;
const MIN_CHANGE: f64 = 0.2;
/// What the program takes for its seed when none is given.
const SEED: u64 = 1;

#[derive(Clone)]
struct Net {
    w: [[f64; HIDDEN]; FEATURES + 1],
    v: [[f64; CLASSES]; HIDDEN + 1],
}

type Row = ([f64; FEATURES], usize);

/// Trains, and writes the weights behind an empty header.
pub fn run(task: &Task) -> io::Result<()> {
    let shards = task.inputs.iter().map(|path| read(path));
    let shards: Vec<Vec<Row>> = shards.collect::<io::Result<_>>()?;
    let all: usize = shards.iter().map(Vec::len).sum();
    let mut net = Net::drawn();
    for _ in 0..ROUNDS {
        let mut sum = Net::zero();
        for rows in &shards {
            let mut learnt = net.clone();
            learn(&mut learnt, rows);
            for (sum, (after, before)) in sum.all_mut().zip(learnt.all().zip(net.all())) {
                *sum += rows.len() as f64 * (after - before);
            }
        }
        for (weight, sum) in net.all_mut().zip(sum.all()) {
            *weight += sum / all as f64;
        }
    }
    let mut out = BufWriter::new(File::create(&task.output)?);
    out.write_all(&0_u64.to_le_bytes())?;
    for weight in net.v.as_flattened().iter().chain(net.w.as_flattened()) {
        out.write_all(&weight.to_le_bytes())?;
    }
    out.flush()
}

fn read(path: &Path) -> io::Result<Vec<Row>> {
    let text = fs::read_to_string(path)?;
    let broken = || io::Error::other("a row is not of 17 numbers");
    text.lines()
        .map(|line| {
            let mut fields = line.split(',').map(|field| field.parse::<u32>());
            let mut next = || fields.next().and_then(Result::ok).ok_or_else(broken);
            let mut x = [0.0; FEATURES];
            for number in &mut x {
                *number = f64::from(next()?);
            }
            Ok((x, next()? as usize))
        })
        .collect()
}

impl Net {
    fn zero() -> Self {
        Self {
            w: [[0.0; HIDDEN]; FEATURES + 1],
            v: [[0.0; CLASSES]; HIDDEN + 1],
        }
    }

    fn drawn() -> Self {
        let mut state = SEED;
        let mut draw = |limit: f64| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
            limit * (2.0 * unit - 1.0)
        };
        let mut net = Self::zero();
        let first = (6.0 / FEATURES as f64).sqrt();
        net.w[1..].as_flattened_mut().fill_with(|| draw(first));
        let second = (6.0 / (HIDDEN + CLASSES) as f64).sqrt();
        net.v[1..].as_flattened_mut().fill_with(|| draw(second));
        net
    }

    fn all(&self) -> impl Iterator<Item = f64> + '_ {
        self.w
            .as_flattened()
            .iter()
            .chain(self.v.as_flattened())
            .copied()
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.w
            .as_flattened_mut()
            .iter_mut()
            .chain(self.v.as_flattened_mut())
    }
}

fn learn(net: &mut Net, rows: &[Row]) {
    let mut before = f64::INFINITY;
    for _ in 0..EPOCHS {
        let mut slope = Net::zero();
        let loss: f64 = rows.iter().map(|row| descend(net, row, &mut slope)).sum();
        if (before - loss).abs() <= MIN_CHANGE {
            return;
        }
        before = loss;
        for (weight, slope) in net.all_mut().zip(slope.all()) {
            *weight -= ETA * slope;
        }
    }
}

/// Adds a row's gradient; its loss.
fn descend(net: &Net, (x, class): &Row, slope: &mut Net) -> f64 {
    let mut hidden = net.w[0];
    for (x, weights) in x.iter().zip(&net.w[1..]) {
        for (sum, weight) in hidden.iter_mut().zip(weights) {
            *sum += x * weight;
        }
    }
    let hidden = hidden.map(|unit| unit.max(0.0));
    let mut scores = net.v[0];
    for (unit, weights) in hidden.iter().zip(&net.v[1..]) {
        for (sum, weight) in scores.iter_mut().zip(weights) {
            *sum += unit * weight;
        }
    }
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut out = scores.map(|score| (score - top).exp());
    let sum: f64 = out.iter().sum();
    for number in &mut out {
        *number /= sum;
    }
    let loss = sum.ln() - (scores[*class] - top);
    out[*class] -= 1.0;
    add(&mut slope.v[0], &out, 1.0);
    let mut back = [0.0; HIDDEN];
    let layers = net.v[1..].iter().zip(&mut slope.v[1..]);
    for ((unit, back), (weights, slopes)) in hidden.iter().zip(&mut back).zip(layers) {
        if *unit > 0.0 {
            *back = weights
                .iter()
                .zip(&out)
                .map(|(weight, out)| weight * out)
                .sum();
            add(slopes, &out, *unit);
        }
    }
    add(&mut slope.w[0], &back, 1.0);
    for (x, slopes) in x.iter().zip(&mut slope.w[1..]) {
        add(slopes, &back, *x);
    }
    loss
}

fn add<const N: usize>(sums: &mut [f64; N], numbers: &[f64; N], factor: f64) {
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += factor * number;
    }
}
