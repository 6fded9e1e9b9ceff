//! What xsk-rs leaves to its user.

pub(crate) mod options;
