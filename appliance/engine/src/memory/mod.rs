//! All memory of a data core, taken at start and carved here.
//!
//! [`chunk`] holds private bytes of connections; [`slab`] holds fixed-size records.

pub mod chunk;
pub mod slab;
