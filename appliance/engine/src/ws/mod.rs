//! WebSocket, server side (RFC 6455, RFC 7692): between `tcp` below and `session` above.
//!
//! Up: bytes of a stream -> [`upgrade`] (once) -> [`message`] (whole messages and control frames).
//! Down: [`frame`], [`close`] and [`deflate`] write the bytes of frames into a buffer of the caller.
//! Everything here is a function of its arguments: no clock, no queue, no reply is sent from here.
//!
//! Memory: the only state of a connection is [`message::Decoder`], plain data in its record; bytes of
//! unfinished messages wait in the core's chunk pool, and what inflates and deflates is one for a core. No
//! call allocates as long as the caller's
//! buffers have the capacity that the called function names.
//!
//! Invariants: no input panics (slices are never indexed here, see the lint below); after a message
//! was refused nothing more is read from that peer; a decoder that was cleared holds no chunk.
//!
//! Not here: subprotocol meaning, deadlines and the closing handshake's waiting (`session`).
#![deny(clippy::indexing_slicing)]

pub mod upgrade;
pub mod message;
pub mod frame;
pub mod mask;
pub mod utf8;
pub mod close;
pub mod deflate;
