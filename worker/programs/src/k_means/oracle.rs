//! What clustering must give: all rows in memory, one after the other, sums in
//! whole numbers of any length.

use std::io::{self, Write};

use crate::catalogue::OracleInput;
use crate::group_by::oracle::big::Big;
use crate::parameters::Parameters;

/// A sample is no end in itself: the oracle of clustering draws its own.
pub(super) fn no_sample(
    _: &Parameters,
    _: &[OracleInput],
    _: u32,
    _: &mut dyn Write,
) -> io::Result<()> {
    Ok(())
}

/// Writes the centroids at the end of all rounds.
pub(super) fn k_means(
    parameters: &Parameters,
    inputs: &[OracleInput],
    _: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let seed = u64::try_from(parameters.integer("seed")).unwrap_or(0);
    let k = usize::try_from(parameters.integer("k")).unwrap_or(1);
    let ranked = rows(inputs, parameters.is_true("labelled"), seed)?;
    let mut sample = ranked.clone();
    sample.sort_by_key(|(place, _)| *place);
    sample.truncate((64 * k).max(4_096));
    let sample: Vec<Vec<f64>> = sample.into_iter().map(|(_, row)| row).collect();
    if sample.is_empty() {
        return Err(io::Error::other("the input has no rows to cluster"));
    }
    let mut centroids = first(&sample, k, seed);
    let mut round = 0;
    loop {
        round += 1;
        let columns = centroids[0].len();
        let mut members: Vec<Vec<(&[f64], f64)>> = vec![Vec::new(); centroids.len()];
        for (_, row) in &ranked {
            let distances = centroids.iter().map(|centroid| distance(row, centroid));
            let distances: Vec<f64> = distances.collect();
            let mut best = 0;
            for number in 0..distances.len() {
                if distances[number] < distances[best] {
                    best = number;
                }
            }
            members[best].push((row, distances[best]));
        }
        let mut moved: f64 = 0.0;
        let mut text = "centroid,rows,inertia".to_owned();
        for number in 1..=columns {
            text += &format!(",x{number}");
        }
        text += "\n";
        for (number, members) in members.iter().enumerate() {
            let inertia = exactly(members.iter().map(|(_, distance)| *distance));
            text += &format!("{number},{},{inertia}", members.len());
            let before = centroids[number].clone();
            for column in 0..columns {
                if !members.is_empty() {
                    let sum = exactly(members.iter().map(|(row, _)| row[column]));
                    centroids[number][column] = sum / real(members.len());
                }
                text += &format!(",{}", centroids[number][column]);
            }
            text += "\n";
            moved = moved.max(distance(&before, &centroids[number]).sqrt());
        }
        if moved <= parameters.number("tolerance") || round >= parameters.integer("rounds") {
            return out.write_all(text.as_bytes());
        }
    }
}

type Ranked = ((u64, u64, u64), Vec<f64>);

fn rows(inputs: &[OracleInput], is_labelled: bool, seed: u64) -> io::Result<Vec<Ranked>> {
    let mut rows = Vec::new();
    for (file, input) in (0_u64..).zip(inputs) {
        let mut offset = 0_u64;
        for line in std::fs::read_to_string(&input.path)?.split_inclusive('\n') {
            let fields = line
                .split(|letter: char| letter == ',' || letter.is_ascii_whitespace())
                .filter(|field| !field.is_empty());
            let numbers: Result<Vec<f64>, _> = fields.map(str::parse).collect();
            let mut numbers = numbers.map_err(io::Error::other)?;
            if is_labelled {
                numbers.pop();
            }
            if !numbers.is_empty() {
                let rank = hash(hash(hash(seed) ^ file) ^ offset);
                rows.push(((rank, file, offset), numbers));
            }
            offset += line.len() as u64;
        }
    }
    Ok(rows)
}

fn hash(number: u64) -> u64 {
    let z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn real(count: usize) -> f64 {
    count as f64
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
    squares.fold(0.0, |sum, square| sum + square)
}

/// k-means++ over the sample.
fn first(sample: &[Vec<f64>], k: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut centroids = vec![sample[0].clone()];
    let mut state = hash(seed);
    while centroids.len() < k {
        let weights: Vec<f64> = sample
            .iter()
            .map(|row| {
                let distances = centroids.iter().map(|centroid| distance(row, centroid));
                distances.fold(f64::INFINITY, f64::min)
            })
            .collect();
        let sum = weights.iter().fold(0.0, |sum, weight| sum + weight);
        if sum == 0.0 {
            break;
        }
        state = hash(state);
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let mut left = (state >> 11) as f64 / 9_007_199_254_740_992.0 * sum;
        let mut next = 0;
        for (place, weight) in weights.iter().enumerate() {
            if *weight > 0.0 {
                next = place;
                left -= weight;
                if left < 0.0 {
                    break;
                }
            }
        }
        centroids.push(sample[next].clone());
    }
    centroids
}

/// The nearest double to the true sum; what is next to nothing is left out.
fn exactly(numbers: impl Iterator<Item = f64>) -> f64 {
    let one = Big::of(1.0);
    let mut sum = Big::of(0.0).times(&one);
    for number in numbers.filter(|number| number.abs() >= 1e-100) {
        sum = sum.plus(&Big::of(number).times(&one));
    }
    sum.rounded()
}
