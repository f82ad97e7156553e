//! Takes comments and literals out of Rust text, so that rules about names see
//! names only: a doc comment may explain sled, and an error may print it.
//!
//! Not a parser. It knows line and block comments, strings, raw strings and
//! character literals, and keeps line breaks, so that line numbers stay true.

/// The text with comments and the insides of literals blanked.
pub fn strip(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if next_is(&chars, at, '/') => line_end(&chars, at),
            '/' if next_is(&chars, at, '*') => block_end(&chars, at),
            '"' => string_end(&chars, at),
            'r' if starts_raw(&chars, at) => raw_end(&chars, at),
            '\'' => char_end(&chars, at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(
                chars[at..end]
                    .iter()
                    .map(|&c| if c == '\n' { c } else { ' ' }),
            );
            at = end;
        }
    }
    out
}

/// Whether the word stands in the text, not as a part of a longer name.
pub fn has_word(text: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

/// The `use` statements that begin with this crate, each up to its semicolon.
pub fn uses_of<'a>(stripped: &'a str, krate: &str) -> Vec<&'a str> {
    let start = format!("use {krate}::");
    stripped
        .match_indices(&start)
        .map(|(at, _)| {
            let rest = &stripped[at..];
            &rest[..rest.find(';').unwrap_or(rest.len())]
        })
        .collect()
}

fn next_is(chars: &[char], at: usize, wanted: char) -> bool {
    chars.get(at + 1) == Some(&wanted)
}

fn line_end(chars: &[char], at: usize) -> usize {
    (at..chars.len())
        .find(|&i| chars[i] == '\n')
        .unwrap_or(chars.len())
}

fn block_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0_u32;
    let mut i = at;
    while i < chars.len() {
        if chars[i] == '/' && next_is(chars, i, '*') {
            depth += 1;
            i += 2;
        } else if chars[i] == '*' && next_is(chars, i, '/') {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

fn starts_raw(chars: &[char], at: usize) -> bool {
    let in_name = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    let byte_string = at > 0 && chars[at - 1] == 'b';
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    (!in_name || byte_string) && chars.get(at + 1 + hashes) == Some(&'"')
}

fn raw_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    let mut i = at + 2 + hashes;
    while i < chars.len() {
        let closing = chars[i + 1..].iter().take_while(|&&c| c == '#').count();
        if chars[i] == '"' && closing >= hashes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    chars.len()
}

/// The end of a character literal; `at` itself for a lifetime.
fn char_end(chars: &[char], at: usize) -> usize {
    if next_is(chars, at, '\\') {
        let closing = (at + 3..chars.len().min(at + 14)).find(|&i| chars[i] == '\'');
        return closing.map_or(at, |i| i + 1);
    }
    if chars.get(at + 2) == Some(&'\'') {
        at + 3
    } else {
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_comments_and_literals_are_not_seen() {
        let text = r###"
            // sled
            /* sled /* sled */ sled */
            let a = "sled \" sled"; let b = r#"sled " sled"#; let c = '"'; let d = '\'';
            let e = br"sled";
            fn f<'a>(x: &'a str) { sled::open(x) }
        "###;
        let stripped = strip(text);
        assert_eq!(stripped.matches("sled").count(), 1, "{stripped}");
        assert_eq!(stripped.lines().count(), text.lines().count());
    }

    #[test]
    fn a_word_is_not_found_inside_a_longer_name() {
        assert!(has_word("use sled::Db;", "sled"));
        assert!(!has_word("use sled_store::Db; unsled(1)", "sled"));
    }

    #[test]
    fn use_statements_are_found_up_to_their_semicolon() {
        let text = "use tonic::{\n    Request, Status,\n};\nuse tonic_health::Status;\n";
        assert_eq!(
            uses_of(text, "tonic"),
            ["use tonic::{\n    Request, Status,\n}"]
        );
    }
}
