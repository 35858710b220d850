//! Whatever a connection may bring instead of a request.

#![no_main]

libfuzzer_sys::fuzz_target!(|frame: &[u8]| tidings_broker::fuzzing::request(frame));
