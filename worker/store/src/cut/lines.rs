//! Lines end with LF. A CR before it is the line's own, so CRLF stays together.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use memchr::{memchr, memrchr};

/// What is known of line ends.
#[derive(Debug, Default)]
pub(super) struct LineEnds {
    /// From the start of the block to here there is none, so that a long line is
    /// searched once and not with every piece of it.
    none_before: u64,
}

impl LineEnds {
    /// The last end at or before the target, else the first one behind it. The
    /// pieces are those of the held range, which reaches beyond the target.
    pub(super) fn find(
        &mut self,
        pieces: &VecDeque<Bytes>,
        held: Range<u64>,
        target_end: u64,
    ) -> Option<u64> {
        let start = held.start;
        let mut piece_end = held.end;
        if self.none_before.max(start) < target_end {
            for piece in pieces.iter().rev() {
                let piece_start = piece_end - piece.len() as u64;
                piece_end = piece_start;
                let part = &piece[..within(piece, piece_start, target_end)];
                if let Some(at) = memrchr(b'\n', part) {
                    return Some(piece_start + at as u64 + 1);
                }
            }
            self.none_before = target_end;
        }
        let mut piece_start = start;
        for piece in pieces {
            let part = &piece[within(piece, piece_start, self.none_before)..];
            if let Some(at) = memchr(b'\n', part) {
                let skipped = piece.len() - part.len();
                return Some(piece_start + (skipped + at) as u64 + 1);
            }
            piece_start += piece.len() as u64;
        }
        self.none_before = held.end;
        None
    }
}

/// How much of a piece lies before a place.
pub(super) fn within(piece: &Bytes, piece_start: u64, place: u64) -> usize {
    let before = place.saturating_sub(piece_start);
    usize::try_from(before).map_or(piece.len(), |before| before.min(piece.len()))
}
