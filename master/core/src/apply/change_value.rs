//! `PutValue` and `RemoveValue`: compare-and-set by version; whoever repeats a
//! write gets the answer of the first (S5).

use vivat_shared::dataset::check_name;
use vivat_shared::limits::VALUE_BYTES_MAX;

use super::Context;
use super::open_dataset::check_key;
use crate::command::{Rejection, Reply};
use crate::limits::{VALUES_BYTES_MAX, VALUES_MAX};
use crate::state::{Values, charge};

pub(super) fn put(
    context: &mut Context<'_>,
    key: &str,
    name: &str,
    value: &[u8],
    expect_version: Option<u64>,
) -> Result<Reply, Rejection> {
    let now_ms = context.state.now_ms;
    let values = &mut context.state.values;
    if let Some(version) = values.answer(key) {
        return Ok(Reply::Version(version));
    }
    check_key(key)?;
    check_name("name", name).map_err(Rejection::InvalidSpec)?;
    expect(values, name, expect_version)?;
    let limit = |limit: String| Err(Rejection::Limit { limit });
    if value.len() > VALUE_BYTES_MAX {
        return limit(format!(
            "{VALUE_BYTES_MAX} bytes of one value; what is larger is a dataset"
        ));
    }
    let former = values
        .get(name)
        .map(|former| charge(name, former.bytes.len()));
    if former.is_none() && values.len() >= VALUES_MAX {
        return limit(format!("{VALUES_MAX} values"));
    }
    let bytes = values.bytes() - former.unwrap_or(0) + charge(name, value.len());
    if bytes > VALUES_BYTES_MAX {
        return limit(format!("{VALUES_BYTES_MAX} bytes of all values"));
    }
    Ok(Reply::Version(values.put(key, name, value, now_ms)))
}

pub(super) fn remove(
    context: &mut Context<'_>,
    key: &str,
    name: &str,
    expect_version: Option<u64>,
) -> Result<Reply, Rejection> {
    let values = &mut context.state.values;
    if values.answer(key).is_some() {
        return Ok(Reply::Done);
    }
    check_key(key)?;
    if values.get(name).is_none() {
        return Err(Rejection::UnknownValue(name.to_owned()));
    }
    expect(values, name, expect_version)?;
    values.remove(key, name);
    Ok(Reply::Done)
}

fn expect(values: &Values, name: &str, expected: Option<u64>) -> Result<(), Rejection> {
    let version = values.get(name).map_or(0, |value| value.version);
    if expected.is_none_or(|expected| expected == version) {
        return Ok(());
    }
    Err(Rejection::VersionConflict {
        name: name.to_owned(),
        version,
    })
}
