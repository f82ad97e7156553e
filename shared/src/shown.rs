//! Names as people are shown them.
//!
//! A file may have a line end or an escape sequence in its name. In a message
//! it must neither end the line nor paint the terminal.

use std::borrow::Cow;

/// The text with control characters written as Rust writes them.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if character.is_control() {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out_and_all_else_stays() {
        assert_eq!(shown("a b\\ \u{17d}\u{96ea}"), "a b\\ \u{17d}\u{96ea}");
        assert_eq!(shown("a\nb\r\t\u{1b}[31m"), "a\\nb\\r\\t\\u{1b}[31m");
    }
}
