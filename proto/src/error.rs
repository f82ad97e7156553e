//! Typed details of a gRPC status.
//!
//! Whoever answers puts an [`v1::ErrorDetail`] into the status; whoever asks
//! acts on the detail and never on the message's text.

use prost::Message;
use tonic::{Code, Status};

use crate::v1;
use crate::v1::error_detail::Kind;

/// A status with a typed detail.
#[must_use]
pub fn status(code: Code, message: impl Into<String>, kind: Kind) -> Status {
    let detail = v1::ErrorDetail { kind: Some(kind) };
    Status::with_details(code, message, detail.encode_to_vec().into())
}

/// The typed detail of a status; none when it has none or it does not decode
/// (a proxy's answer, a newer peer's kind).
#[must_use]
pub fn detail_of(status: &Status) -> Option<Kind> {
    kind_of(status.details())
}

/// The same, from a status's details alone.
#[must_use]
pub fn kind_of(details: &[u8]) -> Option<Kind> {
    if details.is_empty() {
        return None;
    }
    v1::ErrorDetail::decode(details).ok()?.kind
}

/// A message that is not what its sender should have sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field that must be there is not.
    #[error("field `{field}` is missing")]
    Missing {
        /// Name in the proto file.
        field: &'static str,
    },
    /// A value out of its bounds.
    #[error("field `{field}` is out of bounds: {value}")]
    OutOfBounds {
        /// Name in the proto file.
        field: &'static str,
        /// What was sent.
        value: u64,
    },
    /// An enum without a meaning here.
    #[error("field `{field}` has no such value: {value}")]
    UnknownValue {
        /// Name in the proto file.
        field: &'static str,
        /// What was sent.
        value: i32,
    },
}

impl From<WireError> for Status {
    fn from(error: WireError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// Takes a field that must be there.
///
/// # Errors
///
/// [`WireError::Missing`] with the field's name.
pub fn required<T>(value: Option<T>, field: &'static str) -> Result<T, WireError> {
    value.ok_or(WireError::Missing { field })
}

/// Narrows a number.
///
/// # Errors
///
/// [`WireError::OutOfBounds`] with the field's name and the value.
pub fn narrow<N: TryFrom<u32>>(value: u32, field: &'static str) -> Result<N, WireError> {
    N::try_from(value).map_err(|_| WireError::OutOfBounds {
        field,
        value: u64::from(value),
    })
}

/// Converts every element.
///
/// # Errors
///
/// The first that cannot be converted.
pub fn collect<T, D>(values: Vec<T>) -> Result<Vec<D>, WireError>
where
    D: TryFrom<T, Error = WireError>,
{
    values.into_iter().map(D::try_from).collect()
}
