//! Runs a program on one thread and prints its output, to compare by hand with
//! the tools that everybody has:
//!
//! ```text
//! cargo run -p vivat-programs --example local -- grep pattern=whale -- *.txt
//! ```
//!
//! Before `--` stand the program and its parameters, `split=BYTES` and
//! `reducers=N`; behind it the files.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use vivat_engine::SegmentCompression;
use vivat_engine::local::{self, LocalOptions};
use vivat_programs::{find, validate_parameters};
use vivat_shared::job::{InputFormat, REDUCERS_DEFAULT, SPLIT_BYTES_DEFAULT};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let entry = arguments
        .next()
        .and_then(|name| find(&name))
        .ok_or("no such program")?;
    let mut given: BTreeMap<String, String> = arguments
        .by_ref()
        .take_while(|argument| argument != "--")
        .filter_map(|text| {
            let (name, value) = text.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect();
    let mut number = |name: &str, default: u64| match given.remove(name) {
        Some(text) => text.parse(),
        None => Ok(default),
    };
    let split_bytes = number("split", SPLIT_BYTES_DEFAULT)?;
    let reducers = u32::try_from(number("reducers", u64::from(REDUCERS_DEFAULT))?)?;
    let parameters = validate_parameters(entry, &given)?;
    let inputs: Vec<(PathBuf, String)> =
        arguments.map(|path| (PathBuf::from(&path), path)).collect();
    let options = LocalOptions {
        side_files: vivat_mapreduce::SideFiles::default(),
        format: InputFormat::Text,
        split_bytes,
        reducers,
        memory_bytes: 64 << 20,
        compression: SegmentCompression::default(),
        skipped_max: 0,
        parameters: parameters.to_map(),
    };
    let program = (entry.build)(&parameters)?;
    let scratch = tempfile::TempDir::new()?;
    let mut out = io::stdout().lock();
    let counters = local::run(
        program.as_ref(),
        &inputs,
        &options,
        scratch.path(),
        &mut out,
    )?;
    writeln!(io::stderr(), "{counters:#?}")?;
    Ok(())
}
