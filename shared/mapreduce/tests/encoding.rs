//! Encodings keep the order of keys, and give back what went in.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fmt::Debug;

use vivat_mapreduce::{Block, CounterError, CounterSet, Framing, Key, Value, partition_of};

fn encoded<K: Key>(view: K::View<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    K::encode(view, &mut out);
    if let Some(same) = K::encoded(view) {
        assert_eq!(same, out);
    }
    out
}

/// Checks that bytes are ordered as the keys are, for every pair.
fn keeps_order<K: Key>(views: &[K::View<'_>])
where
    for<'a> K::View<'a>: Ord + Debug,
{
    for a in views {
        for b in views {
            let bytes = encoded::<K>(*a).cmp(&encoded::<K>(*b));
            assert_eq!(bytes, a.cmp(b), "{a:?} and {b:?}");
        }
    }
}

const TEXTS: [&str; 12] = [
    "",
    "\0",
    "\0\0",
    "\0\u{1}",
    "\u{1}",
    "a",
    "a\0",
    "a\0b",
    "a\u{1}",
    "ab",
    "ß",
    "\u{10FFFF}",
];
const BYTES: [&[u8]; 9] = [
    b"", b"\0", b"\0\x01", b"\0\xFF", b"\x01", b"a", b"a\0", b"\xFF", b"\xFF\0",
];

#[test]
fn bytes_are_ordered_as_keys_are() {
    keeps_order::<String>(&TEXTS);
    keeps_order::<Vec<u8>>(&BYTES);
    keeps_order::<u32>(&[0, 1, 255, 256, u32::MAX]);
    keeps_order::<u64>(&[0, 1, 255, 256, 1 << 40, u64::MAX]);
    keeps_order::<i64>(&[i64::MIN, -256, -1, 0, 1, 255, i64::MAX]);
    let mut pairs = Vec::new();
    let mut triples = Vec::new();
    for text in TEXTS {
        for bytes in BYTES {
            pairs.push((text, bytes));
            triples.extend([(bytes, -1, text), (bytes, 0, text)]);
        }
    }
    keeps_order::<(String, Vec<u8>)>(&pairs);
    keeps_order::<(Vec<u8>, i64, String)>(&triples);
}

#[test]
fn keys_decode_to_what_was_encoded() {
    for text in TEXTS {
        assert_eq!(<String as Key>::decode(&encoded::<String>(text)), Ok(text));
        for bytes in BYTES {
            let key = encoded::<(String, Vec<u8>)>((text, bytes));
            let (text_again, bytes_again) = <(String, Vec<u8>) as Key>::decode(&key).unwrap();
            assert_eq!((&*text_again, &*bytes_again), (text, bytes));
        }
    }
    for number in [i64::MIN, -1, 0, 1, i64::MAX] {
        let key = encoded::<(u32, i64, u64)>((7, number, u64::MAX));
        assert_eq!(
            <(u32, i64, u64) as Key>::decode(&key),
            Ok((7, number, u64::MAX))
        );
    }
}

#[test]
fn bytes_that_are_no_key_do_not_decode() {
    assert!(<String as Key>::decode(b"\xFF").is_err());
    assert!(<u64 as Key>::decode(b"1234567").is_err());
    assert!(<u64 as Key>::decode(b"123456789").is_err());
    for bytes in [
        &b""[..],
        b"a",
        b"a\0",
        b"a\0\x02",
        b"a\0\x01",
        b"a\0\x01b\0\x01x",
    ] {
        assert!(
            <(String, Vec<u8>) as Key>::decode(bytes).is_err(),
            "{bytes:?}"
        );
    }
}

fn value_returns<V: Value>(view: V::View<'_>)
where
    for<'a> V::View<'a>: Debug,
{
    let mut out = Vec::new();
    V::encode(view, &mut out);
    let shown = format!("{view:?}");
    assert_eq!(format!("{:?}", V::decode(&out).unwrap()), shown);
    assert_eq!(format!("{:?}", V::own(view).view()), shown);
}

#[test]
fn values_decode_to_what_was_encoded() {
    for number in [0, 1, 127, 128, 16_383, 16_384, u64::MAX] {
        value_returns::<u64>(number);
        value_returns::<(u64, Vec<u8>)>((number, &[b'x'; 300]));
        value_returns::<(String, u64, i64)>(("name", number, i64::MIN));
    }
    for number in [i64::MIN, -65, -64, 0, 63, 64, i64::MAX] {
        value_returns::<i64>(number);
    }
    value_returns::<f64>(-0.1);
    value_returns::<()>(());
    let long = "y".repeat(200);
    value_returns::<(String, String)>((&long, ""));
}

#[test]
fn bytes_that_are_no_value_do_not_decode() {
    for bytes in [&b""[..], b"\x80", b"\x01\x00", &[0xFF; 10], &[0x80; 11]] {
        assert!(<u64 as Value>::decode(bytes).is_err(), "{bytes:?}");
    }
    assert!(<(String, u64) as Value>::decode(b"\x05ab").is_err());
    assert!(<() as Value>::decode(b"x").is_err());
}

#[test]
fn partitions_stay_what_they_were_in_the_first_version() {
    let partitions = |partitions| {
        ["", "a", "the", "whale", "a key of more than sixteen bytes"]
            .map(|key| partition_of(key.as_bytes(), partitions))
    };
    assert_eq!(partitions(1), [0; 5]);
    assert_eq!(partitions(4), PARTITIONS_OF_4);
    assert_eq!(partitions(1000), PARTITIONS_OF_1000);
}

// The first is known from the reference: xxh3_64 of nothing is 0x2D06800538D394C2.
const PARTITIONS_OF_4: [u32; 5] = [2, 3, 1, 3, 2];
const PARTITIONS_OF_1000: [u32; 5] = [138, 719, 813, 915, 266];

#[test]
fn lines_lose_their_ends_and_keep_their_offsets() {
    let block = Block {
        bytes: b"a\r\n\n\r\nb\rc\nlast\r",
        offset: 100,
        framing: Framing::Lines,
    };
    let records: Vec<_> = block.records().map(|r| (r.bytes, r.offset)).collect();
    let expected: [(&[u8], u64); 5] = [
        (b"a", 100),
        (b"", 103),
        (b"", 104),
        (b"b\rc", 106),
        (b"last\r", 110),
    ];
    assert_eq!(records, expected);
}

#[test]
fn a_counter_past_the_bound_is_refused_and_an_old_one_is_not() {
    let set = CounterSet::default();
    let mut made = 0;
    let refused = loop {
        match set.counter(&format!("counter-{made}")) {
            Ok(counter) => counter.add(made),
            Err(error) => break error,
        }
        made += 1;
    };
    assert!(matches!(refused, CounterError::TooMany { .. }), "{refused}");
    set.counter("counter-3").unwrap().add(1);
    assert_eq!(set.sums()["counter-3"], 4);
    assert!(set.counter("").is_err());
    assert!(set.counter(&"x".repeat(129)).is_err());
}
