//! t
pub mod json;
