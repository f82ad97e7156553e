//! Fuzzes `csv` of `tests/decoders`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vivat_decoders::check("csv", bytes));
