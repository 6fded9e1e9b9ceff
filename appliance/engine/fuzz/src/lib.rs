//! What the fuzz targets do, each a function of bytes that panics when something is wrong. The fuzzer
//! calls it (`make fuzz`), and the test `corpus` of the engine calls it with every file of `corpus/`.

pub mod command;
pub mod frame;
pub mod inflate;
pub mod input;
pub mod path_block;
pub mod segments;
pub mod session;
pub mod upgrade;
pub mod ws_frame;
