//! What the author of a program sees: mappers, combiners, partitioners,
//! reducers, records, counters.
//!
//! A [`Program`] names the types of its keys and values and makes one
//! [`Mapper`] per map task and one [`Reducer`] per reduce task. The engine is
//! compiled for each program, so a record costs no dynamic call and, where keys
//! and values are slices, no allocation: a [`Record`] is a slice of the read
//! buffer, a [`Key`] that is bytes already is looked up as it stands.
//!
//! [`guide`] goes through all of it by examples that run; [`Rehearsal`] tries a program
//! in a test of its author's.
//!
//! This crate knows neither files nor the network. It says what a program may
//! rely on; `vivat-engine` keeps the promise.
//!
//! Counting the lines of each length:
//!
//! ```
//! use vivat_mapreduce::{
//!     Combiner, Emit, MapContext, Mapper, Output, Program, ProgramError, Record,
//!     ReduceContext, Reducer, Values,
//! };
//!
//! struct LineLengths;
//! struct MapLengths;
//! struct SumLengths;
//!
//! impl Program for LineLengths {
//!     type Key = u64;
//!     type Value = u64;
//!     type Mapper<'t> = MapLengths;
//!     type Reducer<'t> = SumLengths;
//!     const COMBINER: Combiner = Combiner::Merge;
//!
//!     fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<MapLengths, ProgramError> {
//!         Ok(MapLengths)
//!     }
//!
//!     fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<SumLengths, ProgramError> {
//!         Ok(SumLengths)
//!     }
//!
//!     fn merge(&self, accumulator: &mut u64, value: u64) {
//!         *accumulator += value;
//!     }
//! }
//!
//! impl Mapper<u64, u64> for MapLengths {
//!     fn map<E: Emit<u64, u64>>(
//!         &mut self,
//!         record: Record<'_>,
//!         emit: &mut E,
//!     ) -> Result<(), ProgramError> {
//!         emit.emit(record.bytes.len() as u64, 1);
//!         Ok(())
//!     }
//! }
//!
//! impl Reducer<u64, u64> for SumLengths {
//!     fn reduce<V: Values<u64>>(
//!         &mut self,
//!         key: u64,
//!         values: &mut V,
//!         out: &mut Output<'_>,
//!     ) -> Result<(), ProgramError> {
//!         let mut sum = 0;
//!         while let Some(value) = values.next() {
//!             sum += value;
//!         }
//!         out.pair(key.to_string().as_bytes(), sum);
//!         Ok(())
//!     }
//! }
//! ```

mod attempt;
mod close;
mod context;
mod counter;
mod csv;
pub mod guide;
mod key;
mod output;
mod partition;
mod program;
mod ranges;
mod record;
mod rehearsal;
mod value;

pub use attempt::{Attempt, Host, NO_HOST, StopSignal};
pub use close::{CloseContext, Closed, Part, PartSource, Parts};
pub use context::{MapContext, NO_SIDE_FILES, ReduceContext, SideFiles};
pub use counter::{Counter, CounterError, CounterSet};
pub use csv::{BYTE_ORDER_MARK, CsvFields, CsvHeader, CsvRow, CsvScanner, CsvSlice};
pub use key::{Component, DecodeError, Key, TextKey};
pub use output::Output;
pub use partition::{EncodedKey, partition_of};
pub use program::{Combiner, Emit, EmitValue, Mapper, Program, ProgramError, Reducer, Values};
pub use ranges::Ranges;
pub use record::{Block, Framing, Record, Records};
pub use rehearsal::{Rehearsal, Rehearsed};
pub use value::Value;

/// All that the author of a program writes down, for `use vivat_mapreduce::prelude::*`.
pub mod prelude {
    pub use crate::{
        Block, CloseContext, Closed, Combiner, Counter, CsvFields, CsvHeader, CsvRow, Emit,
        EmitValue, EncodedKey, Key, MapContext, Mapper, Output, Parts, Program, ProgramError,
        Record, ReduceContext, Reducer, Value, Values,
    };
}
