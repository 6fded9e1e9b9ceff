//! The client protocol's bytes: what players ask ([`json::commands`]) and what they are told
//! (`json::*_reply`).
//!
//! Stands between `ws` (whole messages) and the session, which judges what is asked. A codec knows
//! the wire and nothing else: it reads borrowed from the message and appends to a buffer of the
//! caller. Names, numbers and what may be left out are Centrifugo's (`docs/protocol.md`), so that
//! its SDKs work unmodified.
//!
//! Publications are not made here: the journal core makes each one once for everybody
//! (`hunt::encode`).
#![deny(clippy::indexing_slicing)]

pub mod json;
