//! The index with positions: every occurrence is a record.
//!
//! They reach the reducer in the order of files and places. When names are
//! sorted as files are, which is so for one glob, each word is written as it is
//! read; else the text of one word is gathered and put in order.

use vivat_mapreduce::{
    Block, Emit, EncodedKey, MapContext, Mapper, Output, Program, ProgramError, Record,
    ReduceContext, Reducer, Values,
};

use super::Reading;
use super::key::{self, IndexKey, Names, View};
use crate::decimal::Decimal;
use crate::words::{records_of, scan_folded};

/// File, and byte in it.
type Place = (u64, u64);

pub(super) struct PositionIndex {
    pub(super) how: Reading,
}

impl Program for PositionIndex {
    type Key = IndexKey;
    type Value = Place;
    type Mapper<'t> = PlaceWords<'t>;
    type Reducer<'t> = PrintPlaces;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<PlaceWords<'t>, ProgramError> {
        Ok(PlaceWords {
            how: self.how,
            context,
            folded: Vec::new(),
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<PrintPlaces, ProgramError> {
        Ok(PrintPlaces {
            names: Names::default(),
            places: Vec::new(),
        })
    }

    #[inline]
    fn partition(&self, key: EncodedKey<'_>, context: &MapContext<'_>) -> u32 {
        key::partition(key, context.partitions)
    }
}

pub(super) struct PlaceWords<'t> {
    how: Reading,
    context: &'t MapContext<'t>,
    folded: Vec<u8>,
}

impl PlaceWords<'_> {
    fn text<E: Emit<IndexKey, Place>>(&mut self, text: &[u8], offset: u64, emit: &mut E) {
        let file = u64::from(self.context.file_index);
        let how = (self.how.words, self.how.fold_case);
        scan_folded(how, text, &mut self.folded, |word| {
            emit.emit(View::Word(word.bytes()), (file, offset + word.at as u64));
        });
    }
}

impl Mapper<IndexKey, Place> for PlaceWords<'_> {
    fn map<E: Emit<IndexKey, Place>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        self.text(record.bytes, record.offset, emit);
        Ok(())
    }

    fn map_block<E: Emit<IndexKey, Place>>(
        &mut self,
        block: &Block<'_>,
        emit: &mut E,
    ) -> Result<u64, ProgramError> {
        self.text(block.bytes, block.offset, emit);
        Ok(records_of(block))
    }

    fn finish<E: Emit<IndexKey, Place>>(self, emit: &mut E) -> Result<(), ProgramError> {
        let file = u64::from(self.context.file_index);
        key::tell_name(self.context, |key| emit.emit(key, (file, 0)));
        Ok(())
    }
}

pub(super) struct PrintPlaces {
    names: Names,
    /// Rank of the name, and byte.
    places: Vec<(u32, u64)>,
}

impl Reducer<IndexKey, Place> for PrintPlaces {
    fn reduce<S: Values<Place>>(
        &mut self,
        key: View<'_>,
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        let word = match key {
            View::File { file, name, .. } => return self.names.learn(file, name),
            View::Word(word) => word,
        };
        self.names.rank();
        let is_sorted = self.names.is_sorted();
        let mut writer = Writer {
            names: &self.names,
            rank: None,
        };
        self.places.clear();
        out.raw(word);
        while let Some((file, at)) = values.next() {
            let rank = self
                .names
                .rank_of(u32::try_from(file).unwrap_or(u32::MAX))?;
            if is_sorted {
                writer.write(rank, at, out);
            } else {
                self.places.push((rank, at));
            }
        }
        self.places.sort_unstable();
        for (rank, at) in &self.places {
            writer.write(*rank, *at, out);
        }
        out.end_record();
        Ok(())
    }
}

struct Writer<'r> {
    names: &'r Names,
    /// Of the document that is being written.
    rank: Option<u32>,
}

impl Writer<'_> {
    fn write(&mut self, rank: u32, at: u64, out: &mut Output<'_>) {
        if self.rank == Some(rank) {
            out.raw(b",");
        } else {
            self.rank = Some(rank);
            out.raw(b"\t");
            out.raw(self.names.name(rank));
            out.raw(b":");
        }
        out.raw(Decimal::new(at).as_bytes());
    }
}
