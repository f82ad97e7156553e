//! Keys and the bytes that order them.
//!
//! The engine sorts, merges and partitions encoded bytes and knows no types,
//! so an encoding must keep the order: `a < b` exactly when `encode(a)` is
//! less than `encode(b)` as bytes, and equal keys have equal bytes.
//!
//! | Type | Bytes |
//! |---|---|
//! | `Vec<u8>`, `String` | themselves |
//! | `u32`, `u64` | big-endian |
//! | `i64` | big-endian with the sign bit turned over |
//! | tuple | its components one after another |
//!
//! Bytes and strings within a tuple have each `00` written `00 FF` and end in `00 01`.

use std::borrow::Cow;

use memchr::memchr;

/// Bytes that no value of the type encodes to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} encoded bytes are not a {wanted}")]
pub struct DecodeError {
    /// The type that was expected.
    pub wanted: &'static str,
    /// How many bytes there were.
    pub bytes: usize,
}

impl DecodeError {
    pub(crate) fn new(wanted: &'static str, bytes: &[u8]) -> Self {
        Self {
            wanted,
            bytes: bytes.len(),
        }
    }
}

/// A type of keys with an encoding that keeps their order.
pub trait Key: 'static {
    /// What a mapper emits: a slice for bytes and strings, else the key itself.
    type View<'a>: Copy;
    /// What a reducer is given; differs from the view only in tuples, where
    /// bytes that hold a `00` must be copied.
    type Decoded<'a>;

    /// Appends the encoding of `view` to `out`.
    fn encode(view: Self::View<'_>, out: &mut Vec<u8>);

    /// The encoding itself where the view is it already, which saves a copy.
    #[must_use]
    fn encoded<'a>(_view: Self::View<'a>) -> Option<&'a [u8]> {
        None
    }

    /// Reads a key back from all of `bytes`.
    ///
    /// # Errors
    ///
    /// When no key encodes to these bytes.
    fn decode(bytes: &[u8]) -> Result<Self::Decoded<'_>, DecodeError>;
}

/// A type of keys for slices of a text, which are their own encoding wherever
/// [`Key::encoded`] says that there is one.
pub trait TextKey: Key {
    /// The key for a slice.
    fn of_text(text: &[u8]) -> Self::View<'_>;
}

impl TextKey for Vec<u8> {
    #[inline]
    fn of_text(text: &[u8]) -> &[u8] {
        text
    }
}

/// A type that may stand in a tuple key: its encoding shows where it ends.
pub trait Component: 'static {
    /// What a mapper emits.
    type View<'a>: Copy;
    /// What a reducer is given.
    type Decoded<'a>;

    /// Appends the encoding of `view` to `out`.
    fn encode_component(view: Self::View<'_>, out: &mut Vec<u8>);

    /// Takes one component off the front of `input`.
    ///
    /// # Errors
    ///
    /// When `input` does not begin with the encoding of a component.
    fn decode_component<'a>(input: &mut &'a [u8]) -> Result<Self::Decoded<'a>, DecodeError>;
}

/// Raw bytes, in byte order.
impl Key for Vec<u8> {
    type View<'a> = &'a [u8];
    type Decoded<'a> = &'a [u8];

    fn encode(view: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(view);
    }

    #[inline]
    fn encoded<'a>(view: Self::View<'a>) -> Option<&'a [u8]> {
        Some(view)
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<&[u8], DecodeError> {
        Ok(bytes)
    }
}

/// UTF-8 text, in the order of its code points.
impl Key for String {
    type View<'a> = &'a str;
    type Decoded<'a> = &'a str;

    fn encode(view: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(view.as_bytes());
    }

    #[inline]
    fn encoded<'a>(view: Self::View<'a>) -> Option<&'a [u8]> {
        Some(view.as_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<&str, DecodeError> {
        std::str::from_utf8(bytes).map_err(|_| DecodeError::new("string key", bytes))
    }
}

impl Key for u32 {
    type View<'a> = u32;
    type Decoded<'a> = u32;

    fn encode(view: u32, out: &mut Vec<u8>) {
        u32::encode_component(view, out);
    }

    fn decode(bytes: &[u8]) -> Result<u32, DecodeError> {
        whole::<u32>(bytes)
    }
}

impl Key for u64 {
    type View<'a> = u64;
    type Decoded<'a> = u64;

    fn encode(view: u64, out: &mut Vec<u8>) {
        u64::encode_component(view, out);
    }

    fn decode(bytes: &[u8]) -> Result<u64, DecodeError> {
        whole::<u64>(bytes)
    }
}

impl Key for i64 {
    type View<'a> = i64;
    type Decoded<'a> = i64;

    fn encode(view: i64, out: &mut Vec<u8>) {
        i64::encode_component(view, out);
    }

    fn decode(bytes: &[u8]) -> Result<i64, DecodeError> {
        whole::<i64>(bytes)
    }
}

/// Ordered by the first component, then the second.
impl<A: Component, B: Component> Key for (A, B) {
    type View<'a> = (A::View<'a>, B::View<'a>);
    type Decoded<'a> = (A::Decoded<'a>, B::Decoded<'a>);

    fn encode(view: Self::View<'_>, out: &mut Vec<u8>) {
        A::encode_component(view.0, out);
        B::encode_component(view.1, out);
    }

    fn decode(bytes: &[u8]) -> Result<Self::Decoded<'_>, DecodeError> {
        let mut rest = bytes;
        let key = (
            A::decode_component(&mut rest)?,
            B::decode_component(&mut rest)?,
        );
        ended(rest, key)
    }
}

/// Ordered by the first component, then the second, then the third.
impl<A: Component, B: Component, C: Component> Key for (A, B, C) {
    type View<'a> = (A::View<'a>, B::View<'a>, C::View<'a>);
    type Decoded<'a> = (A::Decoded<'a>, B::Decoded<'a>, C::Decoded<'a>);

    fn encode(view: Self::View<'_>, out: &mut Vec<u8>) {
        A::encode_component(view.0, out);
        B::encode_component(view.1, out);
        C::encode_component(view.2, out);
    }

    fn decode(bytes: &[u8]) -> Result<Self::Decoded<'_>, DecodeError> {
        let mut rest = bytes;
        let key = (
            A::decode_component(&mut rest)?,
            B::decode_component(&mut rest)?,
            C::decode_component(&mut rest)?,
        );
        ended(rest, key)
    }
}

impl Component for u32 {
    type View<'a> = u32;
    type Decoded<'a> = u32;

    fn encode_component(view: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&view.to_be_bytes());
    }

    fn decode_component(input: &mut &[u8]) -> Result<u32, DecodeError> {
        take(input, "u32 key").map(u32::from_be_bytes)
    }
}

impl Component for u64 {
    type View<'a> = u64;
    type Decoded<'a> = u64;

    fn encode_component(view: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&view.to_be_bytes());
    }

    fn decode_component(input: &mut &[u8]) -> Result<u64, DecodeError> {
        take(input, "u64 key").map(u64::from_be_bytes)
    }
}

const SIGN: u64 = 1 << 63;

impl Component for i64 {
    type View<'a> = i64;
    type Decoded<'a> = i64;

    fn encode_component(view: i64, out: &mut Vec<u8>) {
        u64::encode_component(view.cast_unsigned() ^ SIGN, out);
    }

    fn decode_component(input: &mut &[u8]) -> Result<i64, DecodeError> {
        u64::decode_component(input).map(|bits| (bits ^ SIGN).cast_signed())
    }
}

// The end sorts below an escaped 00, and both below every other byte, so a
// shorter string sorts before its extensions whatever follows it in the tuple.
const ESCAPED_ZERO: [u8; 2] = [0x00, 0xFF];
const END: [u8; 2] = [0x00, 0x01];

impl Component for Vec<u8> {
    type View<'a> = &'a [u8];
    type Decoded<'a> = Cow<'a, [u8]>;

    fn encode_component(view: &[u8], out: &mut Vec<u8>) {
        let mut rest = view;
        while let Some(zero) = memchr(0, rest) {
            out.extend_from_slice(&rest[..zero]);
            out.extend_from_slice(&ESCAPED_ZERO);
            rest = &rest[zero + 1..];
        }
        out.extend_from_slice(rest);
        out.extend_from_slice(&END);
    }

    fn decode_component<'a>(input: &mut &'a [u8]) -> Result<Cow<'a, [u8]>, DecodeError> {
        let whole = *input;
        let fail = || DecodeError::new("bytes in a tuple key", whole);
        let mut owned: Option<Vec<u8>> = None;
        loop {
            let zero = memchr(0, input).ok_or_else(fail)?;
            let piece = &input[..zero];
            let mark = input.get(zero..zero + 2).ok_or_else(fail)?;
            *input = &input[zero + 2..];
            if mark == END {
                return Ok(match owned {
                    None => Cow::Borrowed(piece),
                    Some(mut bytes) => {
                        bytes.extend_from_slice(piece);
                        Cow::Owned(bytes)
                    }
                });
            }
            if mark != ESCAPED_ZERO {
                return Err(fail());
            }
            let bytes = owned.get_or_insert_with(Vec::new);
            bytes.extend_from_slice(piece);
            bytes.push(0);
        }
    }
}

impl Component for String {
    type View<'a> = &'a str;
    type Decoded<'a> = Cow<'a, str>;

    fn encode_component(view: &str, out: &mut Vec<u8>) {
        Vec::<u8>::encode_component(view.as_bytes(), out);
    }

    fn decode_component<'a>(input: &mut &'a [u8]) -> Result<Cow<'a, str>, DecodeError> {
        let wanted = "string in a tuple key";
        match Vec::<u8>::decode_component(input)? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes)
                .map(Cow::Borrowed)
                .map_err(|_| DecodeError::new(wanted, bytes)),
            Cow::Owned(bytes) => String::from_utf8(bytes)
                .map(Cow::Owned)
                .map_err(|error| DecodeError::new(wanted, error.as_bytes())),
        }
    }
}

fn take<const N: usize>(input: &mut &[u8], wanted: &'static str) -> Result<[u8; N], DecodeError> {
    let (front, rest) = input
        .split_first_chunk::<N>()
        .ok_or_else(|| DecodeError::new(wanted, input))?;
    *input = rest;
    Ok(*front)
}

fn whole<C: Component>(bytes: &[u8]) -> Result<C::Decoded<'_>, DecodeError> {
    let mut rest = bytes;
    let key = C::decode_component(&mut rest)?;
    ended(rest, key)
}

fn ended<T>(rest: &[u8], key: T) -> Result<T, DecodeError> {
    if rest.is_empty() {
        Ok(key)
    } else {
        Err(DecodeError::new("key without bytes after it", rest))
    }
}
