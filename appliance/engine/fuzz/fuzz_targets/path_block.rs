//! See `engine_fuzz::path_block`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine_fuzz::path_block::run(data));
