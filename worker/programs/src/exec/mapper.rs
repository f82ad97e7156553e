//! The side of the maps: the mapper's command, or none, and behind it the combiner's.

use std::io;
use std::os::unix::ffi::OsStringExt;

use vivat_mapreduce::{Block, Emit, Framing, MapContext, Mapper, ProgramError, Record};

use super::child::{Child, Start};
use super::combine::Gathered;
use super::environment;
use super::key::{self, Shape};
use super::settings::{Role, Settings};
use super::workdir::WorkDir;

/// Handed to a command at once.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// One map task.
pub(super) struct MapSide<'t> {
    /// First, so that it is dead before its directory goes.
    command: Option<Child<'t>>,
    settings: &'t Settings,
    context: &'t MapContext<'t>,
    /// For the command to read.
    piece: Vec<u8>,
    printed: Printed<'t>,
}

/// What becomes of the lines of a mapper.
struct Printed<'t> {
    settings: &'t Settings,
    context: &'t MapContext<'t>,
    shape: Shape,
    gathered: Gathered,
    key: Vec<u8>,
    /// Lines that keep their place.
    place: u64,
    directory: WorkDir,
}

impl<'t> MapSide<'t> {
    pub fn start(
        settings: &'t Settings,
        shape: Shape,
        context: &'t MapContext<'t>,
    ) -> Result<Self, ProgramError> {
        let directory = WorkDir::create(context.attempt.scratch, context.side_files)?;
        let mut side = Self {
            command: None,
            settings,
            context,
            piece: Vec::new(),
            printed: Printed {
                settings,
                context,
                shape,
                gathered: Gathered::default(),
                key: Vec::new(),
                place: 0,
                directory,
            },
        };
        if settings.has(Role::Mapper) && !settings.raw {
            side.command = Some(side.printed.command(Role::Mapper, Vec::new())?);
        }
        Ok(side)
    }

    /// Gives the mapper what gathered for it.
    fn feed<E: Emit<Vec<u8>, Vec<u8>>>(&mut self, emit: &mut E) -> Result<(), ProgramError> {
        let piece = std::mem::take(&mut self.piece);
        let fed = self.give(&piece, emit);
        self.piece = piece;
        self.piece.clear();
        fed
    }

    fn give<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        bytes: &[u8],
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        let Some(command) = &mut self.command else {
            return Ok(());
        };
        let printed = &mut self.printed;
        command.feed(bytes, &mut |line| printed.line(line, emit))
    }

    /// A mapper that is given the file itself: a process for each.
    fn raw<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        file: &[u8],
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        let display = self.context.display;
        let failed = |error: io::Error| {
            ProgramError::new(format!("cannot copy {display} for the mapper: {error}"))
        };
        let copy = self.printed.directory.write(display, file);
        let copy = copy.map_err(failed)?.into_os_string().into_vec();
        let arguments = vec![copy, display.as_bytes().to_vec()];
        let command = self.printed.command(Role::Mapper, arguments)?;
        let printed = &mut self.printed;
        command.finish(&mut |line| printed.line(line, emit))
    }

    fn lines<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        block: &Block<'_>,
        emit: &mut E,
    ) -> Result<u64, ProgramError> {
        let mut records = 0;
        if self.command.is_none() {
            for record in block.records() {
                self.printed.line(record.bytes, emit)?;
                records += 1;
            }
            return Ok(records);
        }
        // Lines that end in `\n` alone are what the command is to read.
        let is_plain = memchr::memchr(b'\r', block.bytes).is_none();
        if is_plain {
            records = memchr::memchr_iter(b'\n', block.bytes).count() as u64;
            self.give(block.bytes, emit)?;
            if !block.bytes.is_empty() && block.bytes.last() != Some(&b'\n') {
                records += 1;
                self.give(b"\n", emit)?;
            }
            return Ok(records);
        }
        for record in block.records() {
            self.record(record.bytes, b"\n", emit)?;
            records += 1;
        }
        self.feed(emit)?;
        Ok(records)
    }

    fn record<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        bytes: &[u8],
        end: &[u8],
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        if self.piece.len() + bytes.len() > PIECE_BYTES {
            self.feed(emit)?;
        }
        if bytes.len() > PIECE_BYTES {
            self.give(bytes, emit)?;
        } else {
            self.piece.extend_from_slice(bytes);
        }
        self.piece.extend_from_slice(end);
        Ok(())
    }

    /// A file as one record: its bytes as they are.
    fn whole<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        file: &[u8],
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        if self.settings.raw {
            return self.raw(file, emit);
        }
        if self.command.is_some() {
            return self.give(file, emit);
        }
        let lines = Block {
            bytes: file,
            offset: 0,
            framing: Framing::Lines,
        };
        for record in lines.records() {
            self.printed.line(record.bytes, emit)?;
        }
        Ok(())
    }
}

impl<'t> Printed<'t> {
    fn command(&self, role: Role, arguments: Vec<Vec<u8>>) -> Result<Child<'t>, ProgramError> {
        Child::start(Start {
            settings: self.settings,
            role,
            more_arguments: arguments,
            environment: environment::of_map(self.settings, self.context, &self.directory),
            directory: &self.directory,
            attempt: self.context.attempt,
            counters: self.context.counters,
        })
    }

    /// A line of the mapper.
    fn line<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        line: &[u8],
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        // Without a reducer nobody would miss what a combiner leaves out.
        if self.settings.has(Role::Combiner) && self.shape != Shape::InOrder {
            self.gathered.push(line, self.settings.key_fields);
            if self.gathered.is_full() {
                self.combine(emit)?;
            }
            return Ok(());
        }
        self.emit(line, emit)
    }

    fn emit<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        line: &[u8],
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        let fields = self.settings.key_fields;
        match self.shape {
            Shape::Keyed => {
                let (key, value) = key::split(line, fields);
                emit.emit(key, value);
            }
            Shape::Sorted => {
                let (key, value) = key::split(line, fields);
                key::sorted(key, value, &mut self.key);
                emit.emit(&self.key, &[]);
            }
            Shape::InOrder => {
                key::in_order(self.context, self.place, &mut self.key);
                self.place += 1;
                emit.emit(&self.key, line);
            }
        }
        if emit.has_failed() {
            // The engine knows better why.
            return Err(ProgramError::new("what the mapper printed cannot be kept"));
        }
        Ok(())
    }

    /// Runs the combiner over what gathered.
    fn combine<E: Emit<Vec<u8>, Vec<u8>>>(&mut self, emit: &mut E) -> Result<(), ProgramError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        let mut combiner = self.command(Role::Combiner, Vec::new())?;
        gathered.sorted(self.settings.sort_values, PIECE_BYTES, |piece| {
            combiner.feed(piece, &mut |line| self.emit(line, emit))
        })?;
        combiner.finish(&mut |line| self.emit(line, emit))
    }
}

impl Mapper<Vec<u8>, Vec<u8>> for MapSide<'_> {
    fn map<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        self.record(record.bytes, b"\n", emit)
    }

    fn map_block<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        block: &Block<'_>,
        emit: &mut E,
    ) -> Result<u64, ProgramError> {
        // The last record's error is not that record's: none is to blame.
        match block.framing {
            Framing::Lines => self.lines(block, emit),
            Framing::Whole => {
                self.whole(block.bytes, emit)?;
                Ok(1)
            }
            Framing::Csv | Framing::Fixed(_) => {
                let is_csv = block.framing == Framing::Csv;
                let end: &[u8] = if is_csv { b"\n" } else { b"" };
                let mut records = 0;
                for record in block.records() {
                    match self.command {
                        Some(_) => self.record(record.bytes, end, emit)?,
                        None => self.printed.line(record.bytes, emit)?,
                    }
                    records += 1;
                }
                self.feed(emit)?;
                Ok(records)
            }
        }
    }

    fn finish<E: Emit<Vec<u8>, Vec<u8>>>(mut self, emit: &mut E) -> Result<(), ProgramError> {
        self.feed(emit)?;
        let printed = &mut self.printed;
        if let Some(command) = self.command.take() {
            command.finish(&mut |line| printed.line(line, emit))?;
        }
        printed.combine(emit)
    }
}
