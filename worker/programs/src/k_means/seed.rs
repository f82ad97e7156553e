//! The first centroids: chosen among a sample of the rows.
//!
//! Every row has a rank, a hash of the seed, of its file's place and of where it
//! begins; the rows of the lowest ranks are the sample. It depends on the input and
//! the seed alone, and what travels of it is bounded. Among the sample centroids are
//! chosen as k-means++ does: each next one with a probability that grows with the
//! square of its distance from those before it (D. Arthur and S. Vassilvitskii,
//! k-means++: The Advantages of Careful Seeding, 2007).

use std::collections::BTreeMap;
use std::io::Read;

use vivat_mapreduce::{
    CloseContext, Closed, Emit, MapContext, Mapper, Output, Parts, Program, ProgramError, Record,
    ReduceContext, Reducer, Values,
};

use super::{PointReader, encode, squared_distance};
use crate::catalogue::{Built, Format, ProgramEntry, built};
use crate::parameters::Parameters;

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    parameters: &[super::K, super::SEED, super::LABELLED],
    formats: &[Format::Text],
    example: "vivat run k-means-seed data/input/letters/train-1.txt",
    oracle: super::oracle::no_sample,
    ..ProgramEntry::new(
        "k-means-seed",
        "chooses the first centroids of k-means",
        build,
    )
};

/// Sampled rows for each centroid, and in any case.
const ROWS_PER_CENTROID: usize = 64;
const ROWS_MIN: usize = 4_096;

fn build(parameters: &Parameters) -> Built {
    let k = usize::try_from(parameters.integer("k")).unwrap_or(1);
    built(Choose {
        k,
        seed: u64::try_from(parameters.integer("seed")).unwrap_or(0),
        is_labelled: parameters.is_true("labelled"),
        rows_max: (k * ROWS_PER_CENTROID).max(ROWS_MIN),
    })
}

struct Choose {
    k: usize,
    seed: u64,
    is_labelled: bool,
    rows_max: usize,
}

/// The hash of a row's place.
fn rank(seed: u64, file: u64, offset: u64) -> u64 {
    mixed(mixed(mixed(seed) ^ file) ^ offset)
}

/// Steele, Lea and Flood's finalizer.
fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// Rank, file, offset: no two rows have the same.
type Place = (u64, u64, u64);

impl Program for Choose {
    type Key = Place;
    /// The row's numbers, encoded.
    type Value = Vec<u8>;
    type Mapper<'t> = Draw<'t>;
    type Reducer<'t> = Keep;
    const CLOSES: bool = true;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Draw<'t>, ProgramError> {
        Ok(Draw {
            choose: self,
            file: u64::from(context.file_index),
            reader: PointReader::new(context.display, self.is_labelled, context.split_offset),
            columns: None,
            rows: BTreeMap::new(),
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Keep, ProgramError> {
        Ok(Keep {
            left: self.rows_max,
        })
    }

    fn close(&self, _: &CloseContext<'_>, parts: &mut Parts<'_>) -> Result<Closed, ProgramError> {
        let mut text = Vec::new();
        while let Some(mut part) = parts.next()? {
            part.read_to_end(&mut text).map_err(ProgramError::part)?;
        }
        let mut rows: Vec<Vec<f64>> = Vec::new();
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let (row, after) = postcard::take_from_bytes(rest)
                .map_err(|error| ProgramError::new(format!("a sampled row: {error}")))?;
            rows.push(row);
            rest = after;
        }
        let columns = rows.first().map_or(0, Vec::len);
        if let Some(other) = rows.iter().find(|row| row.len() != columns) {
            return Err(ProgramError::new(format!(
                "some rows have {columns} numbers, others {}",
                other.len()
            )));
        }
        if rows.is_empty() {
            return Err(ProgramError::new("the input has no rows to cluster"));
        }
        let sampled = rows.len();
        let centroids = choose(&rows, self.k, self.seed);
        #[expect(clippy::cast_precision_loss, reason = "samples are small")]
        let metrics = [
            ("sampled_rows", sampled as f64),
            ("centroids", centroids.len() as f64),
        ];
        Ok(Closed {
            broadcast: encode(&centroids)?,
            metrics: metrics.map(|(name, it)| (name.to_owned(), it)).into(),
            again: false,
        })
    }
}

/// Chooses at most `k` different rows.
fn choose(rows: &[Vec<f64>], k: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut state = mixed(seed);
    // The rows are in the order of their ranks, so the first is a fair draw.
    let mut chosen = vec![rows[0].clone()];
    let mut nearest: Vec<f64> = vec![f64::INFINITY; rows.len()];
    while chosen.len() < k {
        let last = &chosen[chosen.len() - 1];
        let mut sum = 0.0;
        for (row, nearest) in rows.iter().zip(&mut nearest) {
            *nearest = nearest.min(squared_distance(row, last));
            sum += *nearest;
        }
        if sum <= 0.0 {
            // There are no more different rows.
            break;
        }
        state = mixed(state);
        #[expect(clippy::cast_precision_loss, reason = "53 bits are an f64 exactly")]
        let mut left = (state >> 11) as f64 / (1_u64 << 53) as f64 * sum;
        let mut drawn = None;
        for (place, nearest) in nearest.iter().enumerate().filter(|(_, it)| **it > 0.0) {
            drawn = Some(place);
            left -= nearest;
            if left < 0.0 {
                break;
            }
        }
        match drawn {
            Some(place) => chosen.push(rows[place].clone()),
            None => break,
        }
    }
    chosen
}

struct Draw<'t> {
    choose: &'t Choose,
    file: u64,
    reader: PointReader<'t>,
    columns: Option<usize>,
    /// Of the lowest ranks.
    rows: BTreeMap<Place, Vec<f64>>,
}

impl Mapper<Place, Vec<u8>> for Draw<'_> {
    fn map<E: Emit<Place, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        _: &mut E,
    ) -> Result<(), ProgramError> {
        let Some(row) = self.reader.read(record, self.columns)? else {
            return Ok(());
        };
        self.columns = Some(row.len());
        let rank = rank(self.choose.seed, self.file, record.offset);
        let place = (rank, self.file, record.offset);
        if self.rows.len() >= self.choose.rows_max {
            match self.rows.last_entry() {
                Some(last) if *last.key() > place => {
                    last.remove();
                }
                Some(_) | None => return Ok(()),
            }
        }
        self.rows.insert(place, row.to_vec());
        Ok(())
    }

    fn finish<E: Emit<Place, Vec<u8>>>(self, emit: &mut E) -> Result<(), ProgramError> {
        for (place, row) in self.rows {
            let bytes = postcard::to_stdvec(&row)
                .map_err(|error| ProgramError::new(format!("a row cannot be told: {error}")))?;
            emit.emit(place, &bytes);
        }
        Ok(())
    }
}

/// Writes the rows of the lowest ranks.
struct Keep {
    left: usize,
}

impl Reducer<Place, Vec<u8>> for Keep {
    fn reduce<S: Values<Vec<u8>>>(
        &mut self,
        _: Place,
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        while self.left > 0
            && let Some(row) = values.next()
        {
            self.left -= 1;
            out.record(row);
        }
        Ok(())
    }
}
