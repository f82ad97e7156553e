//! Lines of numbers, between commas or white space.

use vivat_mapreduce::Record;

/// Numbers of this magnitude and beyond are refused: their products must not
/// leave the range of a double.
pub(crate) const LARGEST: f64 = 1e100;
/// Characters of a field that a message repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// Appends the numbers of a line; how many there were.
///
/// # Errors
///
/// Says which column is not a finite number.
pub(crate) fn read(line: &[u8], numbers: &mut Vec<f64>) -> Result<usize, String> {
    let text = str::from_utf8(line).map_err(|_| "it is not text".to_owned())?;
    let before = numbers.len();
    if text.contains(',') {
        for field in text.split(',') {
            numbers.push(number(field.trim_ascii(), numbers.len() - before)?);
        }
    } else {
        for field in text.split_ascii_whitespace() {
            numbers.push(number(field, numbers.len() - before)?);
        }
    }
    Ok(numbers.len() - before)
}

fn number(field: &str, before: usize) -> Result<f64, String> {
    let column = before + 1;
    let shown: String = field.chars().take(SHOWN_CHARS_MAX).collect();
    match field.parse::<f64>() {
        Ok(number) if !number.is_finite() => Err(format!(
            "column {column} is `{shown}`, and only finite numbers can be reckoned with"
        )),
        Ok(number) if number.abs() >= LARGEST => {
            Err(format!("column {column} is `{shown}`, which is too large"))
        }
        Ok(number) => Ok(number),
        Err(_) => Err(format!("column {column} is `{shown}`, which is no number")),
    }
}

/// Which line of its file a record is, as far as that is known: a split that does
/// not begin its file, and one with records left out, does not know.
#[derive(Debug)]
pub(crate) struct Lines {
    line: Option<u64>,
    expected: u64,
}

impl Lines {
    /// Before the first record of a split.
    pub(crate) fn new(split_offset: u64) -> Self {
        Self {
            line: (split_offset == 0).then_some(0),
            expected: 0,
        }
    }

    /// Notes the next record.
    pub(crate) fn pass(&mut self, record: Record<'_>) {
        // A line may end with two characters.
        let follows = (0..=1).contains(&(record.offset.wrapping_sub(self.expected)));
        self.line = self.line.filter(|_| follows).map(|line| line + 1);
        self.expected = record.offset + record.bytes.len() as u64 + 1;
    }

    /// `FILE line N`, of the record that was noted last; or the file alone.
    pub(crate) fn place(&self, display: &str) -> String {
        match self.line {
            Some(line) => format!("{display} line {line}"),
            None => display.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_between_commas_or_white_space() {
        for line in ["1,-2.5,3e2", " 1 , -2.5 ,\t3e2 ", "1 -2.5\t 3e2 "] {
            let mut numbers = vec![9.0];
            assert_eq!(read(line.as_bytes(), &mut numbers), Ok(3));
            assert_eq!(numbers, [9.0, 1.0, -2.5, 300.0]);
        }
        for (line, said) in [
            ("1,x,3", "column 2 is `x`, which is no number"),
            ("1,,3", "column 2 is ``, which is no number"),
            ("1 NaN 3", "column 2 is `NaN`"),
            ("inf", "column 1 is `inf`"),
            ("1e300", "column 1 is `1e300`, which is too large"),
        ] {
            let refused = read(line.as_bytes(), &mut Vec::new()).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }

    #[test]
    fn line_is_known_as_long_as_none_was_left_out() {
        let mut lines = Lines::new(0);
        for (offset, bytes, place) in [
            (0, "1,2", "f line 1"),
            (4, "3,4", "f line 2"),
            (9, "5", "f line 3"),
            (20, "6", "f"),
            (22, "6", "f"),
        ] {
            let bytes = bytes.as_bytes();
            lines.pass(Record { bytes, offset });
            assert_eq!(lines.place("f"), place);
        }
        assert_eq!(Lines::new(7).place("f"), "f");
    }
}
