//! A `vivat` with a program of its own: `cargo run -- run line-lengths FILE...`.

use vivat::{ProgramEntry, built, with_programs};
use vivat_mapreduce::prelude::*;

type Done = Result<(), ProgramError>;
struct LineLengths;
impl Program for LineLengths {
    type Key = u64;
    type Value = u64;
    type Mapper<'t> = Self;
    type Reducer<'t> = Self;

    fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<Self, ProgramError> {
        Ok(Self)
    }
    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Self, ProgramError> {
        Ok(Self)
    }
}

impl Mapper<u64, u64> for LineLengths {
    fn map<E: Emit<u64, u64>>(&mut self, line: Record<'_>, emit: &mut E) -> Done {
        emit.emit(line.bytes.len() as u64, 1);
        Ok(())
    }
}

impl Reducer<u64, u64> for LineLengths {
    fn reduce<V: Values<u64>>(&mut self, key: u64, ones: &mut V, out: &mut Output<'_>) -> Done {
        let sum: u64 = std::iter::from_fn(|| ones.next()).sum();
        out.pair(key.to_string().as_bytes(), sum);
        Ok(())
    }
}

fn main() -> std::process::ExitCode {
    let (name, summary) = ("line-lengths", "counts the lines of each length");
    with_programs([ProgramEntry::new(name, summary, |_| built(LineLengths))]).run()
}
