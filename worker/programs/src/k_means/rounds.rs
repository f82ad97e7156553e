//! The rounds: rows to their nearest centroids, centroids to the means of their
//! rows.

use std::io::Read;

use serde::{Deserialize, Serialize};
use vivat_mapreduce::{
    CloseContext, Closed, Emit, MapContext, Mapper, Output, Parts, Program, ProgramError, Record,
    ReduceContext, Reducer, Values,
};

use super::{PointReader, decode, encode, squared_distance};
use crate::catalogue::{Built, built};
use crate::parameters::Parameters;
use crate::table::exact::{Exact, SMALLEST};

pub(super) fn build(parameters: &Parameters) -> Built {
    built(KMeans {
        is_labelled: parameters.is_true("labelled"),
        tolerance: parameters.number("tolerance"),
    })
}

struct KMeans {
    is_labelled: bool,
    tolerance: f64,
}

/// The rows of one centroid.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Cluster {
    rows: u64,
    sums: Vec<Exact>,
    /// The sum of the squared distances of its rows.
    inertia: Exact,
}

impl Cluster {
    fn new(columns: usize) -> Self {
        Self {
            rows: 0,
            sums: vec![Exact::default(); columns],
            inertia: Exact::default(),
        }
    }

    fn add(&mut self, row: &[f64], distance: f64) {
        self.rows += 1;
        for (sum, number) in self.sums.iter_mut().zip(row) {
            add(sum, *number);
        }
        add(&mut self.inertia, distance);
    }

    fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            sum.merge(more);
        }
        self.inertia.merge(&other.inertia);
    }
}

/// Exact sums know no smaller numbers.
fn add(sum: &mut Exact, number: f64) {
    if number.abs() >= SMALLEST {
        sum.add(number);
    }
}

impl Program for KMeans {
    /// The centroid's number.
    type Key = u64;
    /// A [`Cluster`].
    type Value = Vec<u8>;
    type Mapper<'t> = Split<'t>;
    type Reducer<'t> = Move;
    const CLOSES: bool = true;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Split<'t>, ProgramError> {
        let centroids = decode(context.broadcast)?;
        let columns = centroids[0].len();
        Ok(Split {
            reader: PointReader::new(context.display, self.is_labelled, context.split_offset),
            clusters: vec![Cluster::new(columns); centroids.len()],
            centroids,
        })
    }

    fn reducer<'t>(&'t self, context: &'t ReduceContext<'t>) -> Result<Move, ProgramError> {
        let before = decode(context.broadcast)?;
        let columns = before[0].len();
        Ok(Move {
            clusters: vec![Cluster::new(columns); before.len()],
            before,
        })
    }

    fn close(
        &self,
        context: &CloseContext<'_>,
        parts: &mut Parts<'_>,
    ) -> Result<Closed, ProgramError> {
        let mut text = String::new();
        while let Some(mut part) = parts.next()? {
            part.read_to_string(&mut text).map_err(ProgramError::part)?;
        }
        let broken = || ProgramError::new("what the round wrote are no centroids");
        let before = decode(context.broadcast)?;
        let mut centroids = Vec::new();
        let (mut rows, mut inertia) = (0_u64, 0.0);
        for line in text.lines().skip(1) {
            let mut fields = line.split(',').skip(1);
            let mut field = || fields.next().ok_or_else(broken);
            rows += field()?.parse::<u64>().map_err(|_| broken())?;
            inertia += field()?.parse::<f64>().map_err(|_| broken())?;
            let centroid: Result<Vec<f64>, _> = fields.map(str::parse).collect();
            centroids.push(centroid.map_err(|_| broken())?);
        }
        if centroids.len() != before.len() {
            return Err(broken());
        }
        let moved = before
            .iter()
            .zip(&centroids)
            .map(|(before, after)| squared_distance(before, after).sqrt());
        let movement = moved.fold(0.0, f64::max);
        #[expect(clippy::cast_precision_loss, reason = "no job has 2^53 rows")]
        let metrics = [
            ("inertia", inertia),
            ("movement", movement),
            ("rows", rows as f64),
        ];
        Ok(Closed {
            broadcast: encode(&centroids)?,
            metrics: metrics.map(|(name, it)| (name.to_owned(), it)).into(),
            again: movement > self.tolerance,
        })
    }
}

struct Split<'t> {
    reader: PointReader<'t>,
    centroids: Vec<Vec<f64>>,
    clusters: Vec<Cluster>,
}

impl Mapper<u64, Vec<u8>> for Split<'_> {
    fn map<E: Emit<u64, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        _: &mut E,
    ) -> Result<(), ProgramError> {
        let columns = self.centroids[0].len();
        let Some(row) = self.reader.read(record, Some(columns))? else {
            return Ok(());
        };
        let mut best = (0, f64::INFINITY);
        for (number, centroid) in self.centroids.iter().enumerate() {
            let distance = squared_distance(row, centroid);
            if distance < best.1 {
                best = (number, distance);
            }
        }
        self.clusters[best.0].add(row, best.1);
        Ok(())
    }

    fn finish<E: Emit<u64, Vec<u8>>>(self, emit: &mut E) -> Result<(), ProgramError> {
        for (number, cluster) in (0..).zip(&self.clusters) {
            if cluster.rows > 0 {
                let bytes = postcard::to_stdvec(cluster).map_err(|error| {
                    ProgramError::new(format!("a cluster cannot be told: {error}"))
                })?;
                emit.emit(number, &bytes);
            }
        }
        Ok(())
    }
}

/// Moves centroids, and writes them: one line each, those without rows too.
struct Move {
    before: Vec<Vec<f64>>,
    clusters: Vec<Cluster>,
}

impl Reducer<u64, Vec<u8>> for Move {
    fn reduce<S: Values<Vec<u8>>>(
        &mut self,
        number: u64,
        values: &mut S,
        _: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        let broken = |detail: String| ProgramError::new(format!("what a map told: {detail}"));
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        let cluster = self.clusters.get_mut(place);
        let cluster = cluster.ok_or_else(|| broken(format!("there is no centroid {number}")))?;
        while let Some(value) = values.next() {
            let some: Cluster =
                postcard::from_bytes(value).map_err(|error| broken(error.to_string()))?;
            cluster.merge(&some);
        }
        Ok(())
    }

    fn finish(self, out: &mut Output<'_>) -> Result<(), ProgramError> {
        let columns = self.before[0].len();
        let names: String = (1..=columns).map(|number| format!(",x{number}")).collect();
        out.line(format!("centroid,rows,inertia{names}").as_bytes());
        for (number, (before, cluster)) in self.before.iter().zip(&self.clusters).enumerate() {
            let mut line = format!("{number},{},{}", cluster.rows, cluster.inertia.round());
            for (before, sum) in before.iter().zip(&cluster.sums) {
                #[expect(clippy::cast_precision_loss, reason = "no job has 2^53 rows")]
                let mean = match cluster.rows {
                    0 => *before,
                    rows => sum.round() / rows as f64,
                };
                line += &format!(",{mean}");
            }
            out.line(line.as_bytes());
        }
        Ok(())
    }
}
