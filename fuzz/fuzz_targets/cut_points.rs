//! Fuzzes `cut_points` of `tests/decoders`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vivat_decoders::check("cut_points", bytes));
