//! All memory of a data core, taken at start and carved here.
//!
//! [`chunk`] holds private bytes of connections; [`slab`] holds fixed-size records, [`index`] finds
//! them by key and [`queue`] lines them up. What a connection costs in all is in `docs/memory.md`.

pub mod chunk;
pub mod slab;
pub mod index;
pub mod queue;
