//! What mappers printed, before it is combined.
//!
//! A combiner is a command over many keys, so it cannot run over the values of one key,
//! where the engine combines. It runs here, before the engine: over what gathered up to
//! a fixed size, sorted by key, which depends on the split alone.

use super::key;

/// Bytes that gather before the combiner runs over them.
const GATHERED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Lines that gather.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    bytes: Vec<u8>,
    /// Begin, end of the key, end.
    lines: Vec<(usize, usize, usize)>,
}

impl Gathered {
    pub fn push(&mut self, line: &[u8], key_fields: usize) {
        let begin = self.bytes.len();
        let (key, _) = key::split(line, key_fields);
        self.bytes.extend_from_slice(line);
        self.lines
            .push((begin, begin + key.len(), self.bytes.len()));
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() >= GATHERED_BYTES_MAX
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Hands out the lines with their ends, sorted by key, then by value if
    /// `by_value`, else as they came, in pieces of about `piece_bytes`; forgets them.
    pub fn sorted<E>(
        &mut self,
        by_value: bool,
        piece_bytes: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut lines = std::mem::take(&mut self.lines);
        let bytes = std::mem::take(&mut self.bytes);
        let key = |&(begin, end, _): &(usize, usize, usize)| &bytes[begin..end];
        let value = |&(_, begin, end): &(usize, usize, usize)| &bytes[begin..end];
        lines.sort_by(|a, b| {
            let by_key = key(a).cmp(key(b));
            by_key.then_with(|| match by_value {
                true => value(a).cmp(value(b)),
                false => std::cmp::Ordering::Equal,
            })
        });
        let mut piece = Vec::with_capacity(piece_bytes);
        for line in &lines {
            piece.extend_from_slice(key(line));
            // Behind a key without a value stands a tab too, as reducers have it.
            match value(line) {
                [] => piece.push(b'\t'),
                value => piece.extend_from_slice(value),
            }
            piece.push(b'\n');
            if piece.len() >= piece_bytes {
                take(&piece)?;
                piece.clear();
            }
        }
        take(&piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed_out(by_value: bool) -> String {
        let mut gathered = Gathered::default();
        for line in ["b\t2", "a\t9", "b\t1", "a", "ab\t0", "a\t1"] {
            gathered.push(line.as_bytes(), 1);
        }
        let mut all = Vec::new();
        let taken: Result<(), ()> = gathered.sorted(by_value, 4, |piece| {
            all.extend_from_slice(piece);
            Ok(())
        });
        taken.unwrap();
        assert!(gathered.is_empty());
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn lines_come_sorted_by_key_and_by_value_only_when_that_is_wanted() {
        let by_key = "a\t9\na\t\na\t1\nab\t0\nb\t2\nb\t1\n";
        assert_eq!(handed_out(false), by_key);
        let by_both = "a\t\na\t1\na\t9\nab\t0\nb\t1\nb\t2\n";
        assert_eq!(handed_out(true), by_both);
    }
}
