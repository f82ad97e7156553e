//! Fields and numbers as they are written.

/// Appends a field, quoted if it must be.
pub(crate) fn field(text: &[u8], line: &mut Vec<u8>) {
    if memchr::memchr3(b',', b'"', b'\n', text).is_none() && !text.contains(&b'\r') {
        line.extend_from_slice(text);
        return;
    }
    line.push(b'"');
    for byte in text {
        if *byte == b'"' {
            line.push(b'"');
        }
        line.push(*byte);
    }
    line.push(b'"');
}

/// Appends fields with commas between.
pub(crate) fn fields<'f>(texts: impl IntoIterator<Item = &'f [u8]>, line: &mut Vec<u8>) {
    for (index, text) in texts.into_iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        field(text, line);
    }
}

/// The shortest text that is this number again.
pub(crate) fn shown(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-7..1e21).contains(&size) {
        number.to_string()
    } else {
        format!("{number:e}")
    }
}
