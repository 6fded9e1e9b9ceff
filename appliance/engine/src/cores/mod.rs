//! The loop bodies: what a core does in one turn, without the thread around it.

pub mod data;
pub mod mailbox;
