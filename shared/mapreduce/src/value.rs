//! Values: what a record carries beside its key.
//!
//! A value is emitted as a view (a slice for bytes and strings), kept owned
//! where a program merges values, and handed to reducers as a view again. Its
//! encoding need not keep any order, so integers are short when they are small.
//!
//! | Type | Bytes |
//! |---|---|
//! | `()` | none |
//! | `u64` | LEB128 |
//! | `i64` | LEB128 of its zigzag form |
//! | `f64` | its bits, little-endian |
//! | `Vec<u8>`, `String` | themselves |
//! | tuple | each component but the last behind its length in LEB128 |

use crate::key::DecodeError;

/// A type of values.
pub trait Value: Sized + 'static {
    /// What a mapper emits and a reducer is given.
    type View<'a>: Copy;

    /// Appends the encoding of `view` to `out`.
    fn encode(view: Self::View<'_>, out: &mut Vec<u8>);

    /// Reads a value back from all of `bytes`.
    ///
    /// # Errors
    ///
    /// When no value encodes to these bytes.
    fn decode(bytes: &[u8]) -> Result<Self::View<'_>, DecodeError>;

    /// An owned copy: the accumulator into which later values are merged.
    fn own(view: Self::View<'_>) -> Self;

    /// The view of an owned value.
    fn view(&self) -> Self::View<'_>;

    /// Bytes that the owned value holds outside itself, for the memory budget.
    #[inline]
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Value for () {
    type View<'a> = ();

    fn encode((): (), _: &mut Vec<u8>) {}

    fn decode(bytes: &[u8]) -> Result<(), DecodeError> {
        if bytes.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::new("empty value", bytes))
        }
    }

    fn own((): ()) -> Self {}

    fn view(&self) {}
}

impl Value for u64 {
    type View<'a> = u64;

    #[inline]
    fn encode(view: u64, out: &mut Vec<u8>) {
        push_varint(view, out);
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<u64, DecodeError> {
        let mut rest = bytes;
        let value = take_varint(&mut rest).filter(|_| rest.is_empty());
        value.ok_or_else(|| DecodeError::new("u64 value", bytes))
    }

    #[inline]
    fn own(view: u64) -> Self {
        view
    }

    #[inline]
    fn view(&self) -> u64 {
        *self
    }
}

impl Value for i64 {
    type View<'a> = i64;

    fn encode(view: i64, out: &mut Vec<u8>) {
        let zigzag = (view << 1) ^ (view >> 63);
        push_varint(zigzag.cast_unsigned(), out);
    }

    fn decode(bytes: &[u8]) -> Result<i64, DecodeError> {
        let zigzag = <u64 as Value>::decode(bytes)?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    fn own(view: i64) -> Self {
        view
    }

    fn view(&self) -> i64 {
        *self
    }
}

impl Value for f64 {
    type View<'a> = f64;

    fn encode(view: f64, out: &mut Vec<u8>) {
        out.extend_from_slice(&view.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<f64, DecodeError> {
        let bits = bytes
            .try_into()
            .map_err(|_| DecodeError::new("f64 value", bytes))?;
        Ok(f64::from_le_bytes(bits))
    }

    fn own(view: f64) -> Self {
        view
    }

    fn view(&self) -> f64 {
        *self
    }
}

impl Value for Vec<u8> {
    type View<'a> = &'a [u8];

    #[inline]
    fn encode(view: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(view);
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<&[u8], DecodeError> {
        Ok(bytes)
    }

    fn own(view: &[u8]) -> Self {
        view.to_vec()
    }

    fn view(&self) -> &[u8] {
        self
    }

    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl Value for String {
    type View<'a> = &'a str;

    fn encode(view: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(view.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<&str, DecodeError> {
        std::str::from_utf8(bytes).map_err(|_| DecodeError::new("string value", bytes))
    }

    fn own(view: &str) -> Self {
        view.to_owned()
    }

    fn view(&self) -> &str {
        self
    }

    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl<A: Value, B: Value> Value for (A, B) {
    type View<'a> = (A::View<'a>, B::View<'a>);

    fn encode(view: Self::View<'_>, out: &mut Vec<u8>) {
        push_prefixed::<A>(view.0, out);
        B::encode(view.1, out);
    }

    fn decode(bytes: &[u8]) -> Result<Self::View<'_>, DecodeError> {
        let mut rest = bytes;
        let first = take_prefixed(&mut rest)?;
        Ok((A::decode(first)?, B::decode(rest)?))
    }

    fn own(view: Self::View<'_>) -> Self {
        (A::own(view.0), B::own(view.1))
    }

    fn view(&self) -> Self::View<'_> {
        (self.0.view(), self.1.view())
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes() + self.1.heap_bytes()
    }
}

impl<A: Value, B: Value, C: Value> Value for (A, B, C) {
    type View<'a> = (A::View<'a>, B::View<'a>, C::View<'a>);

    fn encode(view: Self::View<'_>, out: &mut Vec<u8>) {
        push_prefixed::<A>(view.0, out);
        push_prefixed::<B>(view.1, out);
        C::encode(view.2, out);
    }

    fn decode(bytes: &[u8]) -> Result<Self::View<'_>, DecodeError> {
        let mut rest = bytes;
        let first = take_prefixed(&mut rest)?;
        let second = take_prefixed(&mut rest)?;
        Ok((A::decode(first)?, B::decode(second)?, C::decode(rest)?))
    }

    fn own(view: Self::View<'_>) -> Self {
        (A::own(view.0), B::own(view.1), C::own(view.2))
    }

    fn view(&self) -> Self::View<'_> {
        (self.0.view(), self.1.view(), self.2.view())
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes() + self.1.heap_bytes() + self.2.heap_bytes()
    }
}

fn push_prefixed<V: Value>(view: V::View<'_>, out: &mut Vec<u8>) {
    // Most components are shorter than 128 bytes: one byte for their length.
    let at = out.len();
    out.push(0);
    V::encode(view, out);
    let bytes = out.len() - at - 1;
    match u8::try_from(bytes) {
        Ok(short) if short < 0x80 => out[at] = short,
        Ok(_) | Err(_) => {
            let mut length = Vec::new();
            push_varint(bytes as u64, &mut length);
            out.splice(at..=at, length);
        }
    }
}

fn take_prefixed<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let whole = *input;
    let fail = || DecodeError::new("tuple value", whole);
    let length = take_varint(input).ok_or_else(fail)?;
    let length = usize::try_from(length).map_err(|_| fail())?;
    let (front, rest) = input.split_at_checked(length).ok_or_else(fail)?;
    *input = rest;
    Ok(front)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "each byte takes seven bits by its mask"
)]
fn push_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        if shift == 63 && byte > 1 {
            return None;
        }
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}
