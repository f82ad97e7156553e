//! Fuzzes `block_file` of `tests/decoders`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vivat_decoders::check("block_file", bytes));
