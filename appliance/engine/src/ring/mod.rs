//! The two kinds of ring that join the cores, and what travels on them.
//!
//! [`submit`]: one ring from each data core and one from the control core to the journal core.
//! [`broadcast`]: the journal core's answer to all of them; every core reads its own copy, in the
//! journal's order, so that a reply's place among the events says exactly which events it covers.
//!
//! Each ring has one writer and one reader, is bounded in bytes, and never blocks: a writer that
//! finds it full is told so. Records are only ever read by the process that wrote them.

pub mod bytes;
pub mod submit;
pub mod broadcast;
