//! Ends of CSV records: a line end within quotes is none.
//!
//! A quote opens a field only where a field begins; in the middle of one that
//! has none it is a character like any other (`5" pipe`), as the usual readers
//! take it. Within quotes, two are one. Fields are separated by commas.

use std::collections::VecDeque;

use bytes::Bytes;
use memchr::{memchr, memrchr};

use super::lines::within;

/// What some programs put before a text: a field begins behind it.
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between fields, or in one without quotes.
    Plain,
    Quoted,
    /// Behind a quote that ended the quoted part, unless another one follows.
    QuoteSeen,
}

/// A reader of quotes that goes over every byte once.
#[derive(Debug)]
pub(super) struct CsvEnds {
    state: State,
    /// Everything before this was read.
    scanned: u64,
    /// The byte before that.
    previous: u8,
    /// The last end that was found.
    last_end: u64,
    /// The stream begins with the mark.
    has_mark: bool,
}

impl CsvEnds {
    pub(super) fn new() -> Self {
        Self {
            state: State::Plain,
            scanned: 0,
            previous: b'\n',
            last_end: 0,
            has_mark: false,
        }
    }

    /// The last end at or before the target, else the first one behind it. The
    /// pieces begin at `start` and reach beyond the target.
    pub(super) fn find(
        &mut self,
        pieces: &VecDeque<Bytes>,
        start: u64,
        target_end: u64,
    ) -> Option<u64> {
        self.scan(pieces, start, target_end, false);
        if self.last_end <= start {
            self.scan(pieces, start, u64::MAX, true);
        }
        (self.last_end > start).then_some(self.last_end)
    }

    /// Where the first record ends that is more than line ends.
    pub(super) fn find_header(&mut self, pieces: &VecDeque<Bytes>, most: u64) -> Option<u64> {
        let beginning = pieces.iter().flatten().take(BYTE_ORDER_MARK.len());
        self.has_mark = beginning.eq(BYTE_ORDER_MARK.iter());
        loop {
            let before = self.last_end;
            self.scan(pieces, 0, most, true);
            if self.last_end == before {
                return None;
            }
            let has_content = pieces
                .iter()
                .flatten()
                .take(usize::try_from(self.last_end).unwrap_or(usize::MAX))
                .any(|byte| !matches!(byte, b'\r' | b'\n'));
            if has_content {
                return Some(self.last_end);
            }
        }
    }

    /// Reads on, up to a place or to the first end.
    fn scan(&mut self, pieces: &VecDeque<Bytes>, start: u64, until: u64, first: bool) {
        let mut piece_start = start;
        for piece in pieces {
            let from = within(piece, piece_start, self.scanned);
            let to = within(piece, piece_start, until);
            if from < to {
                let ended = self.scan_part(&piece[from..to], first);
                if ended && first {
                    return;
                }
            }
            piece_start += piece.len() as u64;
        }
    }

    /// Reads a part; whether a record ended in it. It is read to its first end
    /// only, if that is what is wanted.
    fn scan_part(&mut self, part: &[u8], first: bool) -> bool {
        let base = self.scanned;
        let mut has_ended = false;
        let mut at = 0;
        while at < part.len() {
            match self.state {
                State::Plain => {
                    let quote = memchr(b'"', &part[at..]).map(|found| at + found);
                    let plain = &part[at..quote.unwrap_or(part.len())];
                    let end = if first {
                        memchr(b'\n', plain)
                    } else {
                        memrchr(b'\n', plain)
                    };
                    if let Some(end) = end {
                        self.last_end = base + (at + end) as u64 + 1;
                        has_ended = true;
                        if first {
                            at += end + 1;
                            break;
                        }
                    }
                    at += plain.len();
                    if quote.is_some() {
                        if self.opens_at(part, at) {
                            self.state = State::Quoted;
                        }
                        at += 1;
                    }
                }
                State::Quoted => match memchr(b'"', &part[at..]) {
                    Some(found) => {
                        self.state = State::QuoteSeen;
                        at += found + 1;
                    }
                    None => at = part.len(),
                },
                State::QuoteSeen if part[at] == b'"' => {
                    self.state = State::Quoted;
                    at += 1;
                }
                State::QuoteSeen => self.state = State::Plain,
            }
        }
        self.advance(&part[..at]);
        has_ended
    }

    /// Whether a field begins at that place of the part, which is read from
    /// `self.scanned` on.
    fn opens_at(&self, part: &[u8], at: usize) -> bool {
        let previous = match at.checked_sub(1) {
            Some(before) => part[before],
            None => self.previous,
        };
        let place = self.scanned + at as u64;
        let behind_mark = self.has_mark && place == BYTE_ORDER_MARK.len() as u64;
        behind_mark || matches!(previous, b',' | b'\n' | b'\r')
    }

    fn advance(&mut self, read: &[u8]) {
        if let Some(last) = read.last() {
            self.previous = *last;
        }
        self.scanned += read.len() as u64;
    }
}
