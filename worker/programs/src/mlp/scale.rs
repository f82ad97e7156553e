//! Where the columns of all shards lie: means and deviations, exactly summed, so
//! that they do not depend on who added what first.

use std::io::Read;

use serde::{Deserialize, Serialize};
use vivat_mapreduce::{
    CloseContext, Closed, Emit, MapContext, Mapper, Output, Parts, Program, ProgramError, Record,
    ReduceContext, Reducer, Values,
};

use super::model::Model;
use super::net::Scale;
use super::shard::RowReader;
use crate::catalogue::{Built, Format, ProgramEntry, built};
use crate::parameters::Parameters;
use crate::table::exact::{Exact, SMALLEST, spread};

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    parameters: &[super::whole(
        "classes",
        "26",
        (2, 65_536),
        "classes, numbered from 0",
    )],
    formats: &[Format::Text],
    example: "vivat run mlp-scale data/input/letters/train-1.txt",
    oracle: super::oracle::scale,
    ..ProgramEntry::new("mlp-scale", "says where the columns of rows lie", build)
};

fn build(parameters: &Parameters) -> Built {
    built(Look {
        classes: usize::try_from(parameters.integer("classes")).unwrap_or(0),
    })
}

struct Look {
    classes: usize,
}

/// Sums of a column.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Column {
    sum: Exact,
    squares: Exact,
}

/// Sums of some rows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sums {
    rows: u64,
    columns: Vec<Column>,
}

impl Program for Look {
    type Key = u64;
    /// [`Sums`].
    type Value = Vec<u8>;
    type Mapper<'t> = Split<'t>;
    type Reducer<'t> = Whole;
    const CLOSES: bool = true;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Split<'t>, ProgramError> {
        Ok(Split {
            reader: RowReader::new(context.display, self.classes, context.split_offset),
            sums: Sums::default(),
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Whole, ProgramError> {
        Ok(Whole {
            sums: Sums::default(),
        })
    }

    fn close(&self, _: &CloseContext<'_>, parts: &mut Parts<'_>) -> Result<Closed, ProgramError> {
        let mut broadcast = Vec::new();
        while let Some(mut part) = parts.next()? {
            part.read_to_end(&mut broadcast)
                .map_err(ProgramError::part)?;
        }
        Ok(Closed {
            broadcast,
            ..Closed::default()
        })
    }
}

struct Split<'t> {
    reader: RowReader<'t>,
    sums: Sums,
}

impl Mapper<u64, Vec<u8>> for Split<'_> {
    fn map<E: Emit<u64, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        _: &mut E,
    ) -> Result<(), ProgramError> {
        let Some(row) = self.reader.read(record)? else {
            return Ok(());
        };
        self.sums.columns.resize_with(row.x.len(), Column::default);
        self.sums.rows += 1;
        for (column, number) in self.sums.columns.iter_mut().zip(row.x) {
            // Exact sums know no smaller numbers, and no table has them.
            if number.abs() >= SMALLEST {
                column.sum.add(*number);
                column.squares.add_product(*number, *number);
            }
        }
        Ok(())
    }

    fn finish<E: Emit<u64, Vec<u8>>>(self, emit: &mut E) -> Result<(), ProgramError> {
        if self.sums.rows > 0 {
            let bytes = postcard::to_stdvec(&self.sums)
                .map_err(|error| ProgramError::new(format!("sums cannot be told: {error}")))?;
            emit.emit(0, &bytes);
        }
        Ok(())
    }
}

struct Whole {
    sums: Sums,
}

impl Reducer<u64, Vec<u8>> for Whole {
    fn reduce<S: Values<Vec<u8>>>(
        &mut self,
        _: u64,
        values: &mut S,
        _: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        while let Some(value) = values.next() {
            let some: Sums = postcard::from_bytes(value)
                .map_err(|error| ProgramError::new(format!("sums that a map told: {error}")))?;
            let columns = &mut self.sums.columns;
            if columns.is_empty() {
                columns.resize_with(some.columns.len(), Column::default);
            }
            if columns.len() != some.columns.len() {
                return Err(ProgramError::new(format!(
                    "some files have rows of {} columns, others of {}",
                    columns.len() + 1,
                    some.columns.len() + 1
                )));
            }
            self.sums.rows += some.rows;
            for (column, more) in columns.iter_mut().zip(&some.columns) {
                column.sum.merge(&more.sum);
                column.squares.merge(&more.squares);
            }
        }
        Ok(())
    }

    fn finish(self, out: &mut Output<'_>) -> Result<(), ProgramError> {
        if self.sums.rows == 0 {
            return Err(ProgramError::new("the input has no rows to learn from"));
        }
        let mut scale = Scale {
            means: Vec::new(),
            deviations: Vec::new(),
        };
        #[expect(clippy::cast_precision_loss, reason = "no job has 2^53 rows")]
        let rows = self.sums.rows as f64;
        for column in &self.sums.columns {
            let variance = spread(self.sums.rows, &column.sum, &column.squares) / (rows * rows);
            let deviation = variance.sqrt();
            scale.means.push(column.sum.round() / rows);
            // A column of equal numbers says nothing, and must not divide by zero.
            scale
                .deviations
                .push(if deviation > 0.0 { deviation } else { 1.0 });
        }
        let mut model = Model::default();
        model.put_scale(&scale);
        let bytes = model
            .write()
            .map_err(|error| ProgramError::new(format!("the scale cannot be written: {error}")))?;
        out.record(&bytes);
        Ok(())
    }
}
