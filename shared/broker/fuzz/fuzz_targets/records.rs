//! Whatever a producer may send instead of a record batch.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidings_broker::fuzzing::records(bytes));
