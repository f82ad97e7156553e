//! What commands must give, by running each once over all that it reads: a mapper over
//! every file, a reducer over every part, all in memory. No engine, no supervisor, no
//! limits, no combiner: it must not change the result.
//!
//! A mapper that prints something of its whole input, as `wc` does, prints it once for
//! each split on a cluster and once for each file here.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use vivat_shared::job::InputFormat;

use super::settings::{PATH_DEFAULT, Role, Settings};
use crate::catalogue::OracleInput;
use crate::oracles;
use crate::parameters::Parameters;

pub(super) fn oracle(
    parameters: &Parameters,
    inputs: &[OracleInput],
    reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let settings = Settings::of(parameters).map_err(io::Error::other)?;
    let format: InputFormat = parameters
        .text("format")
        .parse()
        .map_err(io::Error::other)?;
    let runner = Commands::new(&settings)?;
    let mut mapped = Vec::new();
    for input in inputs {
        let bytes = std::fs::read(&input.path)?;
        mapped.extend(runner.map(input, &bytes, format)?);
    }
    if !settings.has(Role::Reducer) {
        for line in mapped {
            out.write_all(&line)?;
            out.write_all(b"\n")?;
        }
        return Ok(());
    }
    let mut parts: Vec<Vec<(Vec<u8>, Vec<u8>)>> = vec![Vec::new(); reducers.max(1) as usize];
    for line in mapped {
        let (key, value) = pair(&line, settings.key_fields);
        let deciding = match settings.partition_fields {
            Some(fields) => pair(&key, fields).0,
            None => key.clone(),
        };
        parts[oracles::part_of(&deciding, reducers)].push((key, value));
    }
    for (number, mut part) in parts.into_iter().enumerate() {
        if settings.sort_values {
            part.sort();
        } else {
            part.sort_by(|a, b| a.0.cmp(&b.0));
        }
        let mut text = Vec::new();
        for (key, value) in part {
            text.extend([key.as_slice(), b"\t", &value, b"\n"].concat());
        }
        let printed = runner.run(Role::Reducer, &[], &text, (false, number, ""))?;
        out.write_all(&printed)?;
        if printed.last().is_some_and(|last| *last != b'\n') {
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// The first fields of a line, and what is behind them.
fn pair(line: &[u8], fields: usize) -> (Vec<u8>, Vec<u8>) {
    let mut parts: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
    if parts.len() <= fields {
        return (line.to_vec(), Vec::new());
    }
    let value = parts.split_off(fields);
    (parts.join(&b'\t'), value.join(&b'\t'))
}

/// Runs commands in a directory of their own.
struct Commands<'s> {
    settings: &'s Settings,
    directory: PathBuf,
}

impl<'s> Commands<'s> {
    fn new(settings: &'s Settings) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("vivat-oracle-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory)?;
        Ok(Self {
            settings,
            directory,
        })
    }

    fn map(
        &self,
        input: &OracleInput,
        bytes: &[u8],
        format: InputFormat,
    ) -> io::Result<Vec<Vec<u8>>> {
        let place = (true, 0, input.display.as_str());
        if self.settings.raw {
            let name = input.path.file_name().unwrap_or_default();
            let copy = self.directory.join(name);
            std::fs::write(&copy, bytes)?;
            let arguments = [copy.as_path(), Path::new(&input.display)];
            return Ok(printed_lines(&self.run(
                Role::Mapper,
                &arguments,
                &[],
                place,
            )?));
        }
        let records = match format {
            InputFormat::Text => oracles::lines(bytes),
            InputFormat::Csv => csv_records(bytes),
            InputFormat::WholeFile if self.settings.has(Role::Mapper) => vec![bytes.to_vec()],
            InputFormat::WholeFile => oracles::lines(bytes),
            InputFormat::Fixed(length) => bytes
                .chunks(length.max(1) as usize)
                .map(<[u8]>::to_vec)
                .collect(),
        };
        if !self.settings.has(Role::Mapper) {
            return Ok(records);
        }
        let end: &[u8] = match format {
            InputFormat::Text | InputFormat::Csv => b"\n",
            InputFormat::WholeFile | InputFormat::Fixed(_) => b"",
        };
        let mut text = Vec::new();
        for record in records {
            text.extend([record.as_slice(), end].concat());
        }
        Ok(printed_lines(&self.run(Role::Mapper, &[], &text, place)?))
    }

    /// What a command prints that reads `text`.
    fn run(
        &self,
        role: Role,
        more: &[&Path],
        text: &[u8],
        (is_map, number, display): (bool, usize, &str),
    ) -> io::Result<Vec<u8>> {
        let inherited = |name: &str, default: &str| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            value.unwrap_or_else(|| default.into())
        };
        let words = self.settings.words(role);
        let mut command = Command::new(self.settings.program(role));
        command
            .args(words.iter().skip(1))
            .args(more)
            .env_clear()
            .env("PATH", inherited("PATH", PATH_DEFAULT))
            .env("LANG", inherited("LANG", "C.UTF-8"))
            .env("HOME", &self.directory)
            .env("TMPDIR", &self.directory)
            .env("mapreduce_task_ismap", is_map.to_string())
            .env("mapreduce_task_partition", number.to_string())
            .env("mapreduce_map_input_file", display)
            .envs(&self.settings.environment)
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let shown = self.settings.shown(role);
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{role} `{shown}`: {error}"));
        let mut child = command.spawn().map_err(named)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut printed = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // It need not read all.
                let _unread = input.map(|mut input| input.write_all(text));
            });
            output.map_or(Ok(0), |mut output| output.read_to_end(&mut printed))
        })?;
        let status = child.wait()?;
        match status.success() {
            true => Ok(printed),
            false => Err(named(io::Error::other(status.to_string()))),
        }
    }
}

impl Drop for Commands<'_> {
    fn drop(&mut self) {
        let _kept = std::fs::remove_dir_all(&self.directory);
    }
}

/// What a command printed, in lines that end in `\n` alone.
fn printed_lines(printed: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = printed
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    if lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    lines
}

/// The records of a table as they are written, without the first: lines, joined while
/// a quote is open; empty ones are none.
fn csv_records(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records: Vec<Vec<u8>> = Vec::new();
    let mut record = Vec::new();
    let mut quoted = false;
    for &byte in bytes {
        if byte == b'"' {
            quoted = !quoted;
        }
        if byte == b'\n' && !quoted {
            records.push(std::mem::take(&mut record));
        } else {
            record.push(byte);
        }
    }
    records.push(record);
    for record in &mut records {
        if record.last() == Some(&b'\r') {
            record.pop();
        }
    }
    records.retain(|record| !record.is_empty());
    records.into_iter().skip(1).collect()
}
