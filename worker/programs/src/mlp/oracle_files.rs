//! Files of tensors for the oracle, put together by hand.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

pub(super) type Matrix = Vec<Vec<f64>>;

/// A file of tensors, put together by hand: a header's length, the header as JSON
/// padded with blanks, the numbers.
pub(super) fn write_tensors(
    facts: &BTreeMap<&'static str, String>,
    tensors: &[(&str, Matrix)],
    is_flat: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let facts = serde_json::to_string(facts)?;
    let facts = serde_json::to_string(&facts)?;
    let mut header = format!("{{\"__metadata__\":{{\"vivat\":{facts}}}");
    let mut at = 0;
    for (name, rows) in tensors {
        let (height, width) = (rows.len(), rows[0].len());
        let shape = if is_flat {
            format!("{width}")
        } else {
            format!("{height},{width}")
        };
        let end = at + 8 * height * width;
        header += &format!(
            ",\"{name}\":{{\"dtype\":\"F64\",\"shape\":[{shape}],\"data_offsets\":[{at},{end}]}}"
        );
        at = end;
    }
    header += "}";
    while header.len() % 8 != 0 {
        header.push(' ');
    }
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    for number in tensors.iter().flat_map(|(_, rows)| rows).flatten() {
        out.write_all(&number.to_le_bytes())?;
    }
    Ok(())
}

/// `W` and `V` of such a file.
pub(super) fn read_layers(path: &Path) -> io::Result<(Matrix, Matrix)> {
    let bytes = std::fs::read(path)?;
    let broken = || io::Error::other(format!("{} is no model", path.display()));
    let length = bytes.first_chunk::<8>().ok_or_else(broken)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(io::Error::other)?;
    let header = bytes.get(8..8 + length).ok_or_else(broken)?;
    let header: serde_json::Value = serde_json::from_slice(header)?;
    let matrix = |name: &str| -> Option<Matrix> {
        let place =
            |field: &str, index: usize| usize::try_from(header[name][field][index].as_u64()?).ok();
        let (start, end) = (place("data_offsets", 0)?, place("data_offsets", 1)?);
        let data = bytes.get(8 + length..)?.get(start..end)?;
        let numbers: Vec<f64> = data
            .chunks_exact(8)
            .filter_map(|bytes| Some(f64::from_le_bytes(bytes.try_into().ok()?)))
            .collect();
        let rows = numbers.chunks(place("shape", 1)?);
        Some(rows.map(<[f64]>::to_vec).collect())
    };
    Ok((
        matrix("W").ok_or_else(broken)?,
        matrix("V").ok_or_else(broken)?,
    ))
}
