//! Who links to a page: the links of a graph turned around.
//!
//! In format text a line is a source and the pages it links to, separated by
//! tabs; lines without a tab are counted in the counter `reverse-links.not-links`
//! and passed over. In format whole-file a file is an HTML page whose name is the
//! source, and its links are the `href`s of its `a` and `area` elements, resolved
//! against that name, or the page's `base` element, see [`resolve`]; those that stay
//! within the page and those to no page (`mailto:`) are no links.
//!
//! The key is (target, source), so a link that is there twice is one record, and
//! the sources of a target reach its reducer in order, whatever their number.

mod html;
mod oracle;
mod resolve;

use std::borrow::Cow;

use memchr::memchr;
use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Block, Combiner, Counter, Emit, EncodedKey, Framing, MapContext, Mapper, Output, Program,
    ProgramError, Record, ReduceContext, Reducer, Values,
};

use crate::catalogue::{Format, ProgramEntry};
use crate::parameters::{ParameterError, Parameters};
use crate::tuple::first_partition;

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "reverse-links",
    summary: "lists for each page the pages that link to it, of link lists or HTML files",
    parameters: &[],
    formats: &[Format::Text, Format::WholeFile],
    example: "vivat run reverse-links data/input/links.tsv",
    build,
    oracle: oracle::oracle,
};

/// Lines that were passed over.
const NOT_LINKS: &str = "reverse-links.not-links";

fn build(_: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    Ok(Box::new(Runner::new(ReverseLinks)))
}

struct ReverseLinks;

/// Target, source.
type Link = (Vec<u8>, Vec<u8>);

impl Program for ReverseLinks {
    type Key = Link;
    type Value = ();
    type Mapper<'t> = FindLinks<'t>;
    type Reducer<'t> = PrintSources;
    const COMBINER: Combiner = Combiner::Merge;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<FindLinks<'t>, ProgramError> {
        Ok(FindLinks {
            source: context.display,
            not_links: context.counter(NOT_LINKS)?,
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<PrintSources, ProgramError> {
        Ok(PrintSources { target: None })
    }

    fn partition(&self, key: EncodedKey<'_>, context: &MapContext<'_>) -> u32 {
        first_partition(key.bytes(), context.partitions)
    }
}

struct FindLinks<'t> {
    source: &'t str,
    not_links: Counter,
}

impl FindLinks<'_> {
    fn line<E: Emit<Link, ()>>(&mut self, line: &[u8], emit: &mut E) {
        let Some(tab) = memchr(b'\t', line) else {
            self.not_links.add(1);
            return;
        };
        let (source, targets) = (&line[..tab], &line[tab + 1..]);
        for target in targets.split(|byte| *byte == b'\t') {
            if !target.is_empty() {
                emit.emit((target, source), ());
            }
        }
    }
}

impl FindLinks<'_> {
    fn page<E: Emit<Link, ()>>(&mut self, page: &[u8], emit: &mut E) {
        let html::Links { base, hrefs } = html::links(page);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut page = resolve::Page::of(self.source);
        if let Some(base) = base {
            page = page.with_base(&text(&base));
        }
        for href in hrefs {
            if let Some(target) = page.target(&text(&href)) {
                emit.emit((target.as_bytes(), self.source.as_bytes()), ());
            }
        }
    }
}

impl Mapper<Link, ()> for FindLinks<'_> {
    fn map<E: Emit<Link, ()>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        self.line(record.bytes, emit);
        Ok(())
    }

    fn map_block<E: Emit<Link, ()>>(
        &mut self,
        block: &Block<'_>,
        emit: &mut E,
    ) -> Result<u64, ProgramError> {
        if block.framing == Framing::Whole {
            self.page(block.bytes, emit);
            return Ok(1);
        }
        let mut records = 0;
        for record in block.records() {
            self.line(record.bytes, emit);
            records += 1;
        }
        Ok(records)
    }
}

struct PrintSources {
    /// Whose line is being written.
    target: Option<Vec<u8>>,
}

impl Reducer<Link, ()> for PrintSources {
    fn reduce<S: Values<()>>(
        &mut self,
        (target, source): (Cow<'_, [u8]>, Cow<'_, [u8]>),
        _: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        if self.target.as_deref() != Some(&*target) {
            if self.target.is_some() {
                out.end_record();
            }
            out.raw(&target);
            self.target = Some(target.into_owned());
        }
        out.raw(b"\t");
        out.raw(&source);
        Ok(())
    }

    fn finish(self, out: &mut Output<'_>) -> Result<(), ProgramError> {
        if self.target.is_some() {
            out.end_record();
        }
        Ok(())
    }
}
