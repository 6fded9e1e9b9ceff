//! The control core: everything that is not a game frame, on ordinary kernel sockets.
//!
//! [`api`] takes what backends and operators ask over HTTP, [`client`] carries publishes and history
//! requests to the journal core and their answers back, [`json`] makes a backend's JSON fit for the
//! wire, `path` writes players' paths, [`demo`] serves the demo page. The thread is `cores::control`; metrics leave through `export`.
//!
//! Here, and only here, waiting, locking and allocating are fine.

pub mod api;
pub mod client;
pub mod demo;
pub mod methods;
mod path;

#[cfg(test)]
mod tests;
