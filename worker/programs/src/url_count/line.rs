//! One line of an access log, as slices of it.

use memchr::{memchr, memchr2};

/// A field that can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// The second word of the request.
    Url,
    /// Who asked.
    Host,
    /// The three digits of the answer.
    Status,
    /// The last quoted text.
    UserAgent,
    /// The first word of the request.
    Method,
}

/// What stands for a field that a line does not have.
const NOTHING: &[u8] = b"-";

/// A line that is one of an access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogLine<'l> {
    host: &'l [u8],
    request: &'l [u8],
    status: &'l [u8],
    /// Digits or `-`.
    size: &'l [u8],
    /// What follows, with the space before it.
    rest: &'l [u8],
}

impl<'l> LogLine<'l> {
    /// Takes a line apart, if it is one of an access log.
    #[inline]
    pub(super) fn parse(line: &'l [u8]) -> Option<Self> {
        let (host, rest) = word(line)?;
        let (_ident, rest) = word(rest)?;
        let date_at = memchr(b'[', rest)?;
        // The user, which is not empty, and the space behind it.
        if date_at < 2 || rest[date_at - 1] != b' ' {
            return None;
        }
        let rest = &rest[date_at..];
        let rest = &rest[memchr(b']', rest)?..];
        let rest = rest.strip_prefix(b"] \"")?;
        let end = quote_end(rest)?;
        let (request, rest) = (&rest[..end], &rest[end + 1..]);
        let [b' ', status @ .., b' '] = rest.get(..5)? else {
            return None;
        };
        let size_end = memchr(b' ', &rest[5..]).map_or(rest.len(), |end| end + 5);
        let (size, rest) = (&rest[5..size_end], &rest[size_end..]);
        let is_size = size == NOTHING || (!size.is_empty() && size.iter().all(u8::is_ascii_digit));
        let is_line = is_size && status.iter().all(u8::is_ascii_digit);
        is_line.then_some(Self {
            host,
            request,
            status,
            size,
            rest,
        })
    }

    /// A field, `-` if the line does not have it.
    #[inline]
    pub(super) fn field(&self, field: Field) -> &'l [u8] {
        match field {
            Field::Url => self.url(),
            Field::Host => self.host,
            Field::Status => self.status,
            Field::UserAgent => self.user_agent().unwrap_or(NOTHING),
            Field::Method => word(self.request).map_or(NOTHING, |(method, _)| method),
        }
    }

    #[inline]
    fn url(&self) -> &'l [u8] {
        let Some((_, rest)) = word(self.request) else {
            return NOTHING;
        };
        let url = &rest[..memchr(b' ', rest).unwrap_or(rest.len())];
        if url.is_empty() { NOTHING } else { url }
    }

    fn user_agent(&self) -> Option<&'l [u8]> {
        let referer = self.rest.strip_prefix(b" \"")?;
        let agent = referer[quote_end(referer)? + 1..].strip_prefix(b" \"")?;
        Some(&agent[..quote_end(agent)?])
    }

    /// Bytes of the answer; 0 where the log says `-`.
    #[inline]
    pub(super) fn bytes(&self) -> u64 {
        let digits = self.size.iter().filter(|byte| byte.is_ascii_digit());
        digits.fold(0_u64, |sum, digit| {
            sum.saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        })
    }
}

/// What stands before the first space, which is not nothing, and what behind it.
#[inline]
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b' ', text).filter(|end| *end > 0)?;
    Some((&text[..end], &text[end + 1..]))
}

/// Where a quoted text ends that has begun.
#[inline]
fn quote_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = at + memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[found] == b'"' {
            return Some(found);
        }
        at = found + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMBINED: &[u8] = concat!(
        r#"10.0.0.7 - anna b [21/Nov/2026:16:48:21 +0000] "GET /a\"b?x=[1] HTTP/1.1" "#,
        r#"200 512 "https://example.org/" "Mozilla/5.0 (\"x\")""#
    )
    .as_bytes();

    fn fields(line: &[u8]) -> Option<Vec<String>> {
        let line = LogLine::parse(line)?;
        let all = [
            Field::Url,
            Field::Host,
            Field::Status,
            Field::UserAgent,
            Field::Method,
        ];
        let texts = all.map(|field| String::from_utf8_lossy(line.field(field)).into_owned());
        Some(texts.to_vec())
    }

    #[test]
    fn fields_of_a_combined_line_are_found_behind_escaped_quotes_and_brackets() {
        let found = fields(COMBINED).unwrap();
        let agent = r#"Mozilla/5.0 (\"x\")"#;
        let expected = [r#"/a\"b?x=[1]"#, "10.0.0.7", "200", agent, "GET"];
        assert_eq!(found, expected);
        assert_eq!(LogLine::parse(COMBINED).unwrap().bytes(), 512);
    }

    #[test]
    fn a_common_line_has_no_user_agent_and_a_broken_request_no_url() {
        let found = fields(br#"h - - [d] "\x16\x03" 400 -"#).unwrap();
        assert_eq!(found, ["-", "h", "400", "-", "-"]);
        let found = fields(br#"h - - [d] "GET  HTTP/1.0" 400 99999999999999999999"#).unwrap();
        assert_eq!(found, ["-", "h", "400", "-", "GET"]);
    }

    #[test]
    fn lines_of_another_shape_are_none_of_an_access_log() {
        for line in [
            &b""[..],
            b"hello",
            b"h - - [d] GET / 200 5",
            br#"h - - [d] "GET /" 20 5"#,
            br#"h - - [d] "GET /" 200 5x"#,
            br#"h - - [d] "GET /" 200 "#,
            br#"h - - [d] "GET /" 200"#,
            br#"h - [d] "GET /" 200 5"#,
            br#"h - - [d "GET /" 200 5"#,
            br#"h - - [d] "GET /\" 200 5"#,
            br#" - - [d] "GET /" 200 5"#,
        ] {
            let shown = String::from_utf8_lossy(line);
            assert_eq!(LogLine::parse(line), None, "{shown}");
        }
    }
}
