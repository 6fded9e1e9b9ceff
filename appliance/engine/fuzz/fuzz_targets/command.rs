//! See `engine_fuzz::command`.
#![no_main]

use engine::session::codec::Protocol;

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine_fuzz::command::run(Protocol::Json, data));
