//! Finds lines that may match without looking at each of them.
//!
//! A whole block is searched at once, by an expression that finds something in every
//! line that matches by itself, and perhaps in others; what it finds is then matched
//! line by line. So a search whose matches are rare runs at the speed of the search.
//!
//! That nothing is missed: what an expression matches depends on nothing around the
//! match, but for anchors and word boundaries. A boundary sees a line's end as it sees
//! the end of the text. `^` and `$` are made to match at `\n`; a `$` before `\r\n` is
//! no such place, so blocks that hold a `\r` are then looked at line by line, and so
//! is everything when the expression asks for the ends of the text itself, or may
//! match a line's end: what it found would go over several lines.

use memchr::{memchr, memrchr};
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use super::COMPILED_BYTES_MAX;

/// Looks for lines that may match, for expressions that allow it.
#[derive(Debug)]
pub(super) struct Candidates {
    regex: Regex,
    /// Whether it matches at the end of a line only.
    has_line_end: bool,
}

impl Candidates {
    /// Nothing when each line must be looked at by itself.
    pub(super) fn of(pattern: &str, fold_case: bool) -> Option<Self> {
        let parsed = ParserBuilder::new()
            .utf8(false)
            .multi_line(true)
            .case_insensitive(fold_case)
            .build()
            .parse(pattern)
            .ok()?;
        let looks = parsed.properties().look_set();
        let is_at_ends_of_text = [Look::Start, Look::End, Look::StartCRLF, Look::EndCRLF]
            .into_iter()
            .any(|look| looks.contains(look));
        if is_at_ends_of_text || matches_line_end(&parsed) {
            return None;
        }
        let regex = RegexBuilder::new(pattern)
            .multi_line(true)
            .case_insensitive(fold_case)
            .size_limit(COMPILED_BYTES_MAX)
            .build()
            .ok()?;
        Some(Self {
            regex,
            has_line_end: looks.contains(Look::EndLF),
        })
    }

    /// Whether a block may be searched as a whole.
    pub(super) fn fit(&self, lines: &[u8]) -> bool {
        !self.has_line_end || memchr(b'\r', lines).is_none()
    }

    /// The first line that begins at or behind `from`, which begins one, and may match:
    /// where it begins and where the next one does.
    pub(super) fn next(&self, lines: &[u8], from: usize) -> Option<(usize, usize)> {
        if from >= lines.len() {
            return None;
        }
        // No match begins before, so lines that end before hold none.
        let found = self.regex.find_at(lines, from)?.start();
        let start = memrchr(b'\n', &lines[from..found]).map_or(from, |at| from + at + 1);
        // Behind the last line end there is no line.
        if start >= lines.len() {
            return None;
        }
        let next = memchr(b'\n', &lines[found..]).map_or(lines.len(), |at| found + at + 1);
        Some((start, next))
    }
}

/// Whether some match may hold a line's end. An expression is nested as deeply as its
/// parser allows, 250 levels.
fn matches_line_end(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(literal) => literal.0.contains(&b'\n'),
        HirKind::Class(Class::Unicode(class)) => class
            .ranges()
            .iter()
            .any(|range| range.start() <= '\n' && '\n' <= range.end()),
        HirKind::Class(Class::Bytes(class)) => class
            .ranges()
            .iter()
            .any(|range| range.start() <= b'\n' && b'\n' <= range.end()),
        HirKind::Repetition(repetition) => matches_line_end(&repetition.sub),
        HirKind::Capture(capture) => matches_line_end(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(matches_line_end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &[u8] = b"sea whale\n\nwhales\xFF\r\nx whale \xE2\x80\nend whale";

    fn lines(pattern: &str) -> Option<Vec<usize>> {
        let candidates = Candidates::of(pattern, false)?;
        assert!(candidates.fit(b"a line\n"));
        let mut found = Vec::new();
        let mut from = 0;
        while let Some((start, next)) = candidates.next(LINES, from) {
            found.push(start);
            assert!(next > from);
            from = next;
        }
        Some(found)
    }

    #[test]
    fn every_line_that_matches_by_itself_is_a_candidate() {
        let isolated = |regex: &Regex| {
            let mut at = 0;
            let mut found = Vec::new();
            for line in LINES.split_inclusive(|byte| *byte == b'\n') {
                let text = line.strip_suffix(b"\n").unwrap_or(line);
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                if regex.is_match(text) {
                    found.push(at);
                }
                at += line.len();
            }
            found
        };
        for pattern in [
            "whale",
            r"\bwhale\b",
            r"whale\B",
            "^x|end",
            "",
            "^",
            "a*",
            "[a-z]+ whale",
            "(?-u:\\xFF)",
            "s.",
            r"\w\b.\b\w",
            "(?i)WHALE",
        ] {
            let regex = Regex::new(pattern).unwrap();
            let candidates = lines(pattern).unwrap();
            for line in isolated(&regex) {
                assert!(candidates.contains(&line), "{pattern}: line at {line}");
            }
        }
    }

    #[test]
    fn expressions_that_ask_for_more_than_a_line_are_matched_line_by_line() {
        for pattern in [
            r"\Awhale", r"sea\z", r"a\s", "[^a]", "(?s).", "(?-m)^a", "(?Rm)a$",
        ] {
            assert!(Candidates::of(pattern, false).is_none(), "{pattern}");
        }
        let at_line_end = Candidates::of("whale$", false).unwrap();
        assert!(at_line_end.fit(b"whale\n") && !at_line_end.fit(b"whale\r\n"));
    }
}
