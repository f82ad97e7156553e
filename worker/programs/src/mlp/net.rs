//! A network with one hidden layer, and how it learns from rows.
//!
//! Rectified linear units, then a softmax over the classes; the loss is the summed
//! cross-entropy. Row 0 of a layer's weights are its biases.

use super::kernel::{self, Scratch, Tally, padded};

/// Sizes of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Numbers of a row, at least 1.
    pub(super) features: usize,
    /// Units of the hidden layer, at least 1.
    pub(super) hidden: usize,
    /// At least 2.
    pub(super) classes: usize,
}

/// Labelled rows, one after the other.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rows {
    /// Numbers of a row.
    pub(super) features: usize,
    /// As long as all rows.
    pub(super) x: Vec<f64>,
    /// A class for each row.
    pub(super) labels: Vec<u32>,
}

impl Rows {
    fn of_width(features: usize) -> Self {
        Self {
            features,
            ..Self::default()
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.labels.len()
    }

    /// Takes a mean from every number of a column and divides by a deviation.
    pub(super) fn standardise(&mut self, scale: &Scale) {
        for row in self.x.chunks_exact_mut(self.features.max(1)) {
            for (column, number) in row.iter_mut().enumerate() {
                *number = (*number - scale.means[column]) / scale.deviations[column];
            }
        }
    }
}

/// Where the columns of all shards lie.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    pub(super) means: Vec<f64>,
    /// None is zero.
    pub(super) deviations: Vec<f64>,
}

/// Weights without padding: `W` [features + 1, hidden] and `V` [hidden + 1,
/// classes], row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    pub(super) shape: Shape,
    pub(super) w: Vec<f64>,
    pub(super) v: Vec<f64>,
}

impl Weights {
    /// Weights to begin with: zeros as biases, the others drawn evenly from
    /// intervals that depend on how many numbers a unit adds up (K. He and others,
    /// Delving Deep into Rectifiers, 2015; X. Glorot and Y. Bengio, Understanding
    /// the Difficulty of Training Deep Feedforward Neural Networks, 2010).
    pub(super) fn drawn(shape: Shape, seed: u64) -> Self {
        let Shape {
            features,
            hidden,
            classes,
        } = shape;
        let mut random = Random(seed);
        let mut layer = |inputs: usize, outputs: usize, limit: f64| -> Vec<f64> {
            let draws = (0..inputs * outputs).map(|_| limit * random.even());
            std::iter::repeat_n(0.0, outputs).chain(draws).collect()
        };
        let first = (6.0 / real(features)).sqrt();
        let second = (6.0 / real(hidden + classes)).sqrt();
        Self {
            shape,
            w: layer(features, hidden, first),
            v: layer(hidden, classes, second),
        }
    }

    /// The same network for rows as they are, of one for standardised rows.
    pub(super) fn unscaled(&self, scale: &Scale) -> Self {
        let hidden = self.shape.hidden;
        let mut unscaled = self.clone();
        let (bias, weights) = unscaled.w.split_at_mut(hidden);
        for (column, row) in weights.chunks_exact_mut(hidden).enumerate() {
            for (bias, weight) in bias.iter_mut().zip(row) {
                *weight /= scale.deviations[column];
                *bias -= scale.means[column] * *weight;
            }
        }
        unscaled
    }

    /// The same network for standardised rows, of one for rows as they are.
    pub(super) fn scaled(&self, scale: &Scale) -> Self {
        let hidden = self.shape.hidden;
        let mut scaled = self.clone();
        let (bias, weights) = scaled.w.split_at_mut(hidden);
        for (column, row) in weights.chunks_exact_mut(hidden).enumerate() {
            for (bias, weight) in bias.iter_mut().zip(row) {
                *bias += scale.means[column] * *weight;
                *weight *= scale.deviations[column];
            }
        }
        scaled
    }

    /// All of them, first `W`.
    pub(super) fn all(&self) -> impl Iterator<Item = f64> + '_ {
        self.w.iter().chain(&self.v).copied()
    }

    /// Whether all are finite.
    pub(super) fn are_finite(&self) -> bool {
        self.all().all(f64::is_finite)
    }
}

/// Weights as the arithmetic wants them: rows padded.
#[derive(Debug, Clone)]
pub(super) struct Net {
    pub(super) shape: Shape,
    pub(super) w: Vec<f64>,
    pub(super) v: Vec<f64>,
}

/// What the loss changes by with each weight, padded as they are.
#[derive(Debug)]
pub(super) struct Gradient {
    pub(super) w: Vec<f64>,
    pub(super) v: Vec<f64>,
}

impl Net {
    pub(super) fn of(weights: &Weights) -> Self {
        let shape = weights.shape;
        let mut v = pad(&weights.v, shape.classes);
        v[shape.classes..padded(shape.classes)].fill(f64::NEG_INFINITY);
        Self {
            shape,
            w: pad(&weights.w, shape.hidden),
            v,
        }
    }

    pub(super) fn weights(&self) -> Weights {
        Weights {
            shape: self.shape,
            w: unpad(&self.w, self.shape.hidden),
            v: unpad(&self.v, self.shape.classes),
        }
    }

    pub(super) fn hidden_padded(&self) -> usize {
        padded(self.shape.hidden)
    }

    pub(super) fn classes_padded(&self) -> usize {
        padded(self.shape.classes)
    }
}

fn pad(rows: &[f64], length: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(rows.len() / length * padded(length));
    for row in rows.chunks_exact(length) {
        out.extend_from_slice(row);
        out.extend(std::iter::repeat_n(0.0, padded(length) - length));
    }
    out
}

fn unpad(rows: &[f64], length: usize) -> Vec<f64> {
    let rows = rows.chunks_exact(padded(length));
    rows.flat_map(|row| row[..length].iter().copied()).collect()
}

/// How a shard learns in one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Course {
    /// Passes over the rows, at least 1.
    pub(super) epochs: u32,
    /// The step.
    pub(super) eta: f64,
    /// An epoch whose loss is at most so far from that of the one before it is the
    /// last, and takes no step.
    pub(super) min_change: f64,
    /// Rows of a step; none: all of them.
    pub(super) batch: Option<usize>,
    /// Whether steps are those of Adam.
    pub(super) adam: bool,
}

/// What Adam has learnt of the slopes: without padding, `W` first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Moments {
    /// Running means of slopes.
    pub(super) means: Vec<f64>,
    /// And of their squares.
    pub(super) squares: Vec<f64>,
    /// Steps that are in them.
    pub(super) steps: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fit {
    /// Of Adam, at the end.
    pub(super) moments: Option<Moments>,
    /// Epochs that took steps.
    pub(super) epochs: u32,
    /// Of the weights at the end, over all rows.
    pub(super) tally: Tally,
}

/// Learns from rows. `seed` orders them where steps take some of them; `moments` are
/// those that Adam goes on with, if any.
pub(super) fn fit(
    net: &mut Net,
    rows: &Rows,
    course: &Course,
    (seed, moments): (u64, Option<&Moments>),
) -> Fit {
    let mut scratch = Scratch::default();
    let mut steps = Steps::new(net, course, moments);
    let mut order: Vec<usize> = (0..rows.count()).collect();
    let mut random = Random(seed);
    let mut before: Option<f64> = None;
    let mut epochs = 0;
    while epochs < course.epochs {
        let loss = match course.batch {
            None => {
                let loss = steps.gradient_of(net, rows, &mut scratch);
                if is_near(before, loss, course.min_change) {
                    break;
                }
                steps.take(net);
                loss
            }
            Some(batch) => {
                let loss = steps.batches(net, (rows, &mut order), batch, &mut random, &mut scratch);
                if is_near(before, loss, course.min_change) {
                    epochs += 1;
                    break;
                }
                loss
            }
        };
        before = Some(loss);
        epochs += 1;
    }
    Fit {
        moments: steps.moments(net.shape),
        epochs,
        tally: kernel::judge(net, rows, &mut scratch),
    }
}

fn is_near(before: Option<f64>, loss: f64, min_change: f64) -> bool {
    before.is_some_and(|before| (before - loss).abs() <= min_change)
}

/// Adam's constants (D. Kingma and J. Ba, Adam: A Method for Stochastic
/// Optimization, 2015).
const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Steps downhill.
struct Steps {
    eta: f64,
    gradient: Gradient,
    adam: Option<Adam>,
}

struct Adam {
    means: Gradient,
    squares: Gradient,
    /// The powers of the constants at the step.
    power_1: f64,
    power_2: f64,
    steps: u64,
}

impl Adam {
    fn new(net: &Net, before: Option<&Moments>) -> Self {
        let mut adam = Self {
            means: zeros(net),
            squares: zeros(net),
            power_1: 1.0,
            power_2: 1.0,
            steps: 0,
        };
        if let Some(before) = before {
            let first = (net.shape.features + 1) * net.shape.hidden;
            let padded = |numbers: &[f64]| Gradient {
                w: pad(&numbers[..first], net.shape.hidden),
                v: pad(&numbers[first..], net.shape.classes),
            };
            adam.means = padded(&before.means);
            adam.squares = padded(&before.squares);
            for _ in 0..before.steps {
                adam.pass();
            }
        }
        adam
    }

    fn pass(&mut self) {
        self.power_1 *= BETA_1;
        self.power_2 *= BETA_2;
        self.steps += 1;
    }
}

fn zeros(net: &Net) -> Gradient {
    Gradient {
        w: vec![0.0; net.w.len()],
        v: vec![0.0; net.v.len()],
    }
}

impl Steps {
    fn new(net: &Net, course: &Course, moments: Option<&Moments>) -> Self {
        Self {
            eta: course.eta,
            gradient: zeros(net),
            adam: course.adam.then(|| Adam::new(net, moments)),
        }
    }

    fn moments(&self, shape: Shape) -> Option<Moments> {
        let adam = self.adam.as_ref()?;
        let dense = |padded: &Gradient| {
            let mut all = unpad(&padded.w, shape.hidden);
            all.extend(unpad(&padded.v, shape.classes));
            all
        };
        Some(Moments {
            means: dense(&adam.means),
            squares: dense(&adam.squares),
            steps: adam.steps,
        })
    }

    /// Fills the gradient; the loss.
    fn gradient_of(&mut self, net: &Net, rows: &Rows, scratch: &mut Scratch) -> f64 {
        self.gradient.w.fill(0.0);
        self.gradient.v.fill(0.0);
        kernel::descend(net, rows, &mut self.gradient, scratch).loss
    }

    /// One epoch in batches of rows that were shuffled; the sum of their losses.
    fn batches(
        &mut self,
        net: &mut Net,
        (rows, order): (&Rows, &mut [usize]),
        batch: usize,
        random: &mut Random,
        scratch: &mut Scratch,
    ) -> f64 {
        random.shuffle(order);
        let mut some = Rows::of_width(rows.features);
        let mut loss = 0.0;
        for numbers in order.chunks(batch) {
            some.x.clear();
            some.labels.clear();
            for &row in numbers {
                let x = &rows.x[row * rows.features..][..rows.features];
                some.x.extend_from_slice(x);
                some.labels.push(rows.labels[row]);
            }
            loss += self.gradient_of(net, &some, scratch);
            self.take(net);
        }
        loss
    }

    fn take(&mut self, net: &mut Net) {
        let Some(adam) = &mut self.adam else {
            for (weights, slopes) in [
                (&mut net.w, &self.gradient.w),
                (&mut net.v, &self.gradient.v),
            ] {
                for (weight, slope) in weights.iter_mut().zip(slopes) {
                    *weight -= self.eta * slope;
                }
            }
            return;
        };
        adam.pass();
        let (rest_1, rest_2) = (1.0 - adam.power_1, 1.0 - adam.power_2);
        let layers = [
            (
                &mut net.w,
                &self.gradient.w,
                &mut adam.means.w,
                &mut adam.squares.w,
            ),
            (
                &mut net.v,
                &self.gradient.v,
                &mut adam.means.v,
                &mut adam.squares.v,
            ),
        ];
        for (weights, slopes, means, squares) in layers {
            let moments = means.iter_mut().zip(squares);
            for ((weight, slope), (mean, square)) in weights.iter_mut().zip(slopes).zip(moments) {
                *mean = BETA_1 * *mean + (1.0 - BETA_1) * slope;
                *square = BETA_2 * *square + (1.0 - BETA_2) * (slope * slope);
                *weight -= self.eta * (*mean / rest_1) / ((*square / rest_2).sqrt() + EPSILON);
            }
        }
    }
}

/// Steele, Lea and Flood's generator: the same draws on every machine.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number from -1 up to 1, a multiple of 2^-52.
    fn even(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are an f64 exactly")]
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        2.0 * unit - 1.0
    }

    /// Fisher and Yates's shuffle.
    fn shuffle(&mut self, order: &mut [usize]) {
        for last in (1..order.len()).rev() {
            let bound = last as u128 + 1;
            let drawn = (u128::from(self.next()) * bound) >> 64;
            order.swap(last, usize::try_from(drawn).unwrap_or(last));
        }
    }
}

/// The seed of one shard's order in one round.
pub(super) fn seed_of(seed: u64, round: u32, shard: u64) -> u64 {
    let mut random = Random(seed);
    random.0 = random.next() ^ u64::from(round);
    random.0 = random.next() ^ shard;
    random.next()
}

/// A count as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "no job has 2^53 of anything")]
pub(super) fn real(count: usize) -> f64 {
    count as f64
}
