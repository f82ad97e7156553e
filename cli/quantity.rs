//! Numbers with units, as people write and read them: bytes and times.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const UNITS: [(&str, u64); 6] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
];

/// A text that is not the quantity it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{expected}")]
pub struct ParseQuantityError {
    expected: &'static str,
}

/// A number of bytes: `1000`, `64KiB`, `32MiB`, `1.5GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = ParseQuantityError {
            expected: "a number of bytes is needed, like 1000, 64KiB, 32MiB or 1.5GiB",
        };
        let text = text.trim();
        let digits = text
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim();
        let factor = UNITS
            .iter()
            .find(|(name, _)| unit.eq_ignore_ascii_case(name) || (unit.is_empty() && *name == "B"))
            .map(|(_, factor)| *factor)
            .ok_or(error.clone())?;
        scale(number, factor).map(Self).ok_or(error)
    }
}

/// `number` times `factor`, exactly for whole numbers; none when it is no
/// number or too large.
fn scale(number: &str, factor: u64) -> Option<u64> {
    let Some((whole, fraction)) = number.split_once('.') else {
        return number.parse::<u64>().ok()?.checked_mul(factor);
    };
    if fraction.is_empty() || fraction.len() > 6 {
        return None;
    }
    let parts = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let rest = fraction.parse::<u64>().ok()?.checked_mul(factor)? / parts;
    whole.checked_add(rest)
}

impl fmt::Display for ByteSize {
    /// At most four significant digits, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS
            .into_iter()
            .rev()
            .find(|(_, factor)| self.0 >= *factor)
            .unwrap_or(UNITS[0]);
        if factor == 1 || self.0.is_multiple_of(factor) {
            return write!(f, "{}{unit}", self.0 / factor);
        }
        #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
        let value = self.0 as f64 / factor as f64;
        write!(f, "{value:.1}{unit}")
    }
}

/// A length of time: `500ms`, `10s`, `1m30s`, `2h`; a bare number is seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan(pub Duration);

impl FromStr for TimeSpan {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = ParseQuantityError {
            expected: "a time is needed, like 500ms, 10s, 1m30s or 2h",
        };
        let text = text.trim();
        if let Ok(seconds) = text.parse::<f64>() {
            return Duration::try_from_secs_f64(seconds)
                .map(Self)
                .map_err(|_| error);
        }
        let span: jiff::SignedDuration = text.parse().map_err(|_| error.clone())?;
        Duration::try_from(span).map(Self).map_err(|_| error)
    }
}

impl TimeSpan {
    /// The largest unit alone, for ages: `5s`, `3m`, `2h`, `4d`.
    pub fn coarse(self) -> String {
        let seconds = self.0.as_secs();
        match seconds {
            0..60 => format!("{seconds}s"),
            60..3_600 => format!("{}m", seconds / 60),
            3_600..86_400 => format!("{}h", seconds / 3_600),
            _ => format!("{}d", seconds / 86_400),
        }
    }
}

impl fmt::Display for TimeSpan {
    /// The two largest units, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 if self.0.as_millis() < 100 => write!(f, "{}ms", self.0.as_millis()),
            0..10 => write!(f, "{:.1}s", self.0.as_secs_f64()),
            10..60 => write!(f, "{seconds}s"),
            60..3_600 => write!(f, "{}m{:02}s", seconds / 60, seconds % 60),
            3_600..86_400 => write!(f, "{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
            _ => write!(f, "{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1_000),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("1.5GiB", 1_610_612_736),
            ("16777216TiB", 0),
        ] {
            let read = text.parse::<ByteSize>();
            if text.starts_with("16777216") {
                assert!(read.is_err(), "{text} overflows");
            } else {
                assert_eq!(read, Ok(ByteSize(bytes)), "{text}");
            }
        }
        for text in ["", "x", "1 parsec", "-1", "1.", ".5MiB", "1e3"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_printed_for_people() {
        assert_eq!(ByteSize(0).to_string(), "0B");
        assert_eq!(ByteSize(1_023).to_string(), "1023B");
        assert_eq!(ByteSize(32 << 20).to_string(), "32MiB");
        assert_eq!(ByteSize(1_610_612_736).to_string(), "1.5GiB");
    }

    #[test]
    fn times_are_read_with_units_and_as_seconds() {
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("3", 3_000),
            ("0.25", 250),
        ] {
            let read = text.parse::<TimeSpan>();
            assert_eq!(read, Ok(TimeSpan(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "soon", "-1s", "-1"] {
            assert!(text.parse::<TimeSpan>().is_err(), "{text}");
        }
    }
}
