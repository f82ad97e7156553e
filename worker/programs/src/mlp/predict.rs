//! What a trained network makes of rows, in the order of the input.
//!
//! The order comes from the keys: (partition, split, place in the split), and the
//! partition grows with the split.

use vivat_mapreduce::{
    Counter, Emit, EncodedKey, MapContext, Mapper, Output, Program, ProgramError, Record,
    ReduceContext, Reducer, Values,
};

use super::kernel;
use super::model::Model;
use super::net::{Net, Rows};
use super::shard::{Row, label};
use crate::catalogue::{Built, Format, ProgramEntry, built};
use crate::numbers::{self, Lines};
use crate::parameters::{ParameterKind, ParameterSpec, Parameters};

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    parameters: &[ParameterSpec {
        name: "model",
        kind: ParameterKind::Path,
        default: None,
        help: "the .safetensors file that mlp-train wrote, or one with `W` and `V`",
    }],
    formats: &[Format::Text],
    example: "vivat run mlp-predict data/input/letters/validate.txt \
              -p model=data/input/letters/model.safetensors",
    oracle: super::oracle::predict,
    ..ProgramEntry::new(
        "mlp-predict",
        "prints the likeliest class of each row and its probability",
        build,
    )
};

/// Rows that are reckoned at a time.
const BATCH_ROWS: usize = 256;
/// Counts all rows, those that say their class, and those where that is another.
const ROWS: &str = "mlp.rows";
const LABELLED: &str = "mlp.labelled";
const ERRORS: &str = "mlp.errors";

fn build(parameters: &Parameters) -> Built {
    built(Predict {
        model: parameters.text("model").to_owned(),
    })
}

struct Predict {
    /// Name of the side file.
    model: String,
}

/// Partition, split, place in the split.
type Place = (u32, u32, u64);

impl Program for Predict {
    type Key = Place;
    type Value = Vec<u8>;
    type Mapper<'t> = Split<'t>;
    type Reducer<'t> = Print;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Split<'t>, ProgramError> {
        let name = &self.model;
        let failed = |detail: String| ProgramError::new(format!("model={name}: {detail}"));
        let path = context.side_file(name);
        let path = path.ok_or_else(|| failed("the job did not bring that file".to_owned()))?;
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let weights = Model::read(&bytes).and_then(|model| model.weights(""));
        let splits = u64::from(context.splits.max(1));
        let partition = u64::from(context.split) * u64::from(context.partitions) / splits;
        Ok(Split {
            context,
            net: Net::of(&weights.map_err(failed)?),
            partition: u32::try_from(partition).unwrap_or(0),
            lines: Lines::new(context.split_offset),
            numbers: Vec::new(),
            rows: Rows::default(),
            places: Vec::new(),
            counters: [
                context.counter(ROWS)?,
                context.counter(LABELLED)?,
                context.counter(ERRORS)?,
            ],
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Print, ProgramError> {
        Ok(Print)
    }

    fn partition(&self, key: EncodedKey<'_>, _: &MapContext<'_>) -> u32 {
        // The first component, big-endian.
        key.bytes()
            .first_chunk::<4>()
            .map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }
}

struct Split<'t> {
    context: &'t MapContext<'t>,
    net: Net,
    partition: u32,
    lines: Lines,
    numbers: Vec<f64>,
    /// Rows that wait; a row without a class has one that is none.
    rows: Rows,
    places: Vec<u64>,
    counters: [Counter; 3],
}

/// The class of rows that do not say one.
const UNKNOWN: u32 = u32::MAX;

impl Split<'_> {
    fn parse(&mut self, line: &[u8]) -> Result<(), String> {
        let shape = self.net.shape;
        self.numbers.clear();
        let columns = numbers::read(line, &mut self.numbers)?;
        let label = match columns {
            _ if columns == shape.features => UNKNOWN,
            _ if columns == shape.features + 1 => {
                label(self.numbers[shape.features], shape.classes)?
            }
            _ => {
                return Err(format!(
                    "it has {columns} columns: the model wants {}, and its class perhaps",
                    shape.features
                ));
            }
        };
        let x = &self.numbers[..shape.features];
        self.rows.push(Row { x, label })
    }

    fn flush<E: Emit<Place, Vec<u8>>>(&mut self, emit: &mut E) -> Result<(), ProgramError> {
        let found = kernel::classify(&self.net, &self.rows);
        let (mut labelled, mut errors) = (0, 0);
        let rows = self.rows.labels.iter().zip(&self.places);
        for ((class, probability), (label, place)) in found.iter().zip(rows) {
            let line = format!("{class}\t{probability:.6}");
            let key = (self.partition, self.context.split, *place);
            emit.emit(key, line.as_bytes());
            labelled += u64::from(*label != UNKNOWN);
            errors += u64::from(*label != UNKNOWN && *label as usize != *class);
        }
        let sums = [found.len() as u64, labelled, errors];
        for (counter, sum) in self.counters.iter().zip(sums) {
            counter.add(sum);
        }
        self.rows = Rows::default();
        self.places.clear();
        Ok(())
    }
}

impl Mapper<Place, Vec<u8>> for Split<'_> {
    fn map<E: Emit<Place, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        self.lines.pass(record);
        if record.bytes.trim_ascii().is_empty() {
            return Ok(());
        }
        if let Err(detail) = self.parse(record.bytes) {
            let place = self.lines.place(self.context.display);
            return Err(ProgramError::at(
                record.offset,
                format!("{place}: {detail}"),
            ));
        }
        self.places.push(record.offset);
        if self.places.len() >= BATCH_ROWS {
            self.flush(emit)?;
        }
        Ok(())
    }

    fn finish<E: Emit<Place, Vec<u8>>>(mut self, emit: &mut E) -> Result<(), ProgramError> {
        self.flush(emit)
    }
}

struct Print;

impl Reducer<Place, Vec<u8>> for Print {
    fn reduce<S: Values<Vec<u8>>>(
        &mut self,
        _: Place,
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        while let Some(line) = values.next() {
            out.line(line);
        }
        Ok(())
    }
}
