//! The side of the reduces: pairs as lines to the reducer's command, and what it prints
//! to the output.

use vivat_mapreduce::{Output, ProgramError, ReduceContext, Reducer, Values};

use super::child::{Child, Start};
use super::environment;
use super::key::{Shape, unsorted};
use super::mapper::PIECE_BYTES;
use super::settings::{Role, Settings};
use super::workdir::WorkDir;

/// One reduce task.
pub(super) struct ReduceSide<'t> {
    /// First, so that it is dead before its directory goes.
    command: Option<Child<'t>>,
    shape: Shape,
    /// For the command to read.
    piece: Vec<u8>,
    _directory: Option<WorkDir>,
}

impl<'t> ReduceSide<'t> {
    pub fn start(
        settings: &'t Settings,
        shape: Shape,
        context: &'t ReduceContext<'t>,
    ) -> Result<Self, ProgramError> {
        let mut side = Self {
            command: None,
            shape,
            piece: Vec::with_capacity(PIECE_BYTES),
            _directory: None,
        };
        if shape != Shape::InOrder {
            let directory = WorkDir::create(context.attempt.scratch, context.side_files)?;
            side.command = Some(Child::start(Start {
                settings,
                role: Role::Reducer,
                more_arguments: Vec::new(),
                environment: environment::of_reduce(settings, context, &directory),
                directory: &directory,
                attempt: context.attempt,
                counters: context.counters,
            })?);
            side._directory = Some(directory);
        }
        Ok(side)
    }

    fn pair(&mut self, key: &[u8], value: &[u8], out: &mut Output<'_>) -> Result<(), ProgramError> {
        self.piece.extend_from_slice(key);
        self.piece.push(b'\t');
        self.piece.extend_from_slice(value);
        self.piece.push(b'\n');
        if self.piece.len() >= PIECE_BYTES {
            self.feed(out)?;
        }
        Ok(())
    }

    fn feed(&mut self, out: &mut Output<'_>) -> Result<(), ProgramError> {
        if let Some(command) = &mut self.command {
            command.feed(&self.piece, &mut |line| print(line, out))?;
        }
        self.piece.clear();
        Ok(())
    }
}

fn print(line: &[u8], out: &mut Output<'_>) -> Result<(), ProgramError> {
    out.line(line);
    if out.has_failed() {
        // The engine knows better why.
        return Err(ProgramError::new(
            "what the reducer printed cannot be written",
        ));
    }
    Ok(())
}

impl Reducer<Vec<u8>, Vec<u8>> for ReduceSide<'_> {
    fn reduce<S: Values<Vec<u8>>>(
        &mut self,
        key: &[u8],
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        match self.shape {
            Shape::Keyed => {
                while let Some(value) = values.next() {
                    self.pair(key, value, out)?;
                }
            }
            Shape::Sorted => {
                let (key, value) = unsorted(key)
                    .ok_or_else(|| ProgramError::new("a key is not one of sorted values"))?;
                while values.next().is_some() {
                    self.pair(&key, value, out)?;
                }
            }
            Shape::InOrder => {
                while let Some(line) = values.next() {
                    out.line(line);
                }
            }
        }
        Ok(())
    }

    fn finish(mut self, out: &mut Output<'_>) -> Result<(), ProgramError> {
        self.feed(out)?;
        match self.command.take() {
            Some(command) => command.finish(&mut |line| print(line, out)),
            None => Ok(()),
        }
    }
}
