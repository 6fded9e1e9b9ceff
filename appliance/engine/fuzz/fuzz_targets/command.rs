//! See `engine_fuzz::command`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine_fuzz::command::run(data));
