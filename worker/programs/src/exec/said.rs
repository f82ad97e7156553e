//! What a command says on standard error: counters, its status, and all the rest,
//! which is the attempt's log.

use std::fmt;

use vivat_mapreduce::{CounterSet, Host};

const COUNTER: &[u8] = b"reporter:counter:";
const STATUS: &[u8] = b"reporter:status:";
/// Of a line without an end, before it is taken for text.
const PARTIAL_BYTES_MAX: usize = 64 * 1024;
/// Of the last line, in errors.
const LAST_BYTES_MAX: usize = 512;

/// Reads it as it comes.
pub(super) struct Said<'t> {
    host: &'t dyn Host,
    counters: &'t CounterSet,
    partial: Vec<u8>,
    last: Vec<u8>,
}

impl fmt::Debug for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Said")
            .field("last", &self.last_line())
            .finish_non_exhaustive()
    }
}

impl<'t> Said<'t> {
    pub fn new(host: &'t dyn Host, counters: &'t CounterSet) -> Self {
        Self {
            host,
            counters,
            partial: Vec::new(),
            last: Vec::new(),
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let partial = std::mem::take(&mut self.partial);
        let mut rest = partial.as_slice();
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.line(&rest[..end], b"\n");
            rest = &rest[end + 1..];
        }
        if rest.len() > PARTIAL_BYTES_MAX {
            self.text(rest, b"");
            rest = &[];
        }
        self.partial.extend_from_slice(rest);
    }

    /// Nothing more comes.
    pub fn finish(&mut self) {
        let partial = std::mem::take(&mut self.partial);
        if !partial.is_empty() {
            self.line(&partial, b"\n");
        }
    }

    /// The last line that was no report, cut to some hundred bytes.
    pub fn last_line(&self) -> Option<String> {
        let last = self.last.trim_ascii();
        let last = &last[..last.len().min(LAST_BYTES_MAX)];
        (!last.is_empty()).then(|| String::from_utf8_lossy(last).into_owned())
    }

    fn line(&mut self, line: &[u8], end: &[u8]) {
        if let Some(counter) = line.strip_prefix(COUNTER) {
            if let Some(problem) = self.count(counter) {
                self.text(line, end);
                let note = format!("(this counter is not kept: {problem})\n");
                self.host.log(note.as_bytes());
            }
        } else if let Some(status) = line.strip_prefix(STATUS) {
            self.host.status(&String::from_utf8_lossy(status));
        } else {
            self.text(line, end);
        }
    }

    fn text(&mut self, line: &[u8], end: &[u8]) {
        if !line.trim_ascii().is_empty() {
            self.last.clear();
            self.last
                .extend_from_slice(&line[..line.len().min(LAST_BYTES_MAX)]);
        }
        self.host.log(line);
        self.host.log(end);
    }

    /// `GROUP,NAME,AMOUNT`; why it cannot be counted, if it cannot. The name may hold
    /// commas.
    fn count(&self, text: &[u8]) -> Option<String> {
        let Ok(text) = str::from_utf8(text) else {
            return Some("its name is not UTF-8".to_owned());
        };
        let parts = text
            .split_once(',')
            .and_then(|(group, rest)| Some((group, rest.rsplit_once(',')?)));
        let Some((group, (name, amount))) = parts else {
            return Some("it is GROUP,NAME,AMOUNT".to_owned());
        };
        let Ok(amount) = amount.trim().parse::<u64>() else {
            return Some("its amount is no whole number from 0".to_owned());
        };
        match self.counters.counter(&format!("{group}.{name}")) {
            Ok(counter) => {
                counter.add(amount);
                None
            }
            Err(error) => Some(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use vivat_shared::ids::AttemptId;

    use super::*;

    #[derive(Debug, Default)]
    struct Kept {
        log: RefCell<Vec<u8>>,
        status: RefCell<String>,
    }

    impl Host for Kept {
        fn attempt(&self) -> Option<AttemptId> {
            None
        }

        fn log(&self, bytes: &[u8]) {
            self.log.borrow_mut().extend_from_slice(bytes);
        }

        fn status(&self, text: &str) {
            text.clone_into(&mut self.status.borrow_mut());
        }
    }

    #[test]
    fn reports_are_taken_out_and_the_rest_is_the_log() {
        let kept = Kept::default();
        let counters = CounterSet::default();
        let mut said = Said::new(&kept, &counters);
        let text = b"starting\nreporter:counter:words,long, very,3\nreporter:status:half\n\
            reporter:counter:words,long, very,4\nreporter:counter:bad\n\xFFend";
        for piece in text.chunks(7) {
            said.push(piece);
        }
        said.finish();
        assert_eq!(counters.sums()["words.long, very"], 7);
        assert_eq!(kept.status.borrow().as_str(), "half");
        let log = kept.log.borrow();
        let expected = b"starting\nreporter:counter:bad\n\
            (this counter is not kept: it is GROUP,NAME,AMOUNT)\n\xFFend\n";
        assert!(
            log.as_slice() == expected,
            "{}",
            String::from_utf8_lossy(&log)
        );
        assert_eq!(said.last_line().unwrap(), "\u{FFFD}end");
    }

    #[test]
    fn a_line_that_never_ends_does_not_gather() {
        let kept = Kept::default();
        let counters = CounterSet::default();
        let mut said = Said::new(&kept, &counters);
        for _ in 0..100 {
            said.push(&[b'x'; 10_000]);
        }
        assert!(said.partial.len() <= PARTIAL_BYTES_MAX);
        said.finish();
        assert!(kept.log.borrow().len() >= 1_000_000);
    }
}
