//! Frames to segments and back: Ethernet, one VLAN tag, IPv4 or IPv6, TCP with its options; and the
//! ICMP that concerns our segments.
//!
//! Below stands the port (bytes), above TCP (plain data). [`parse`] verifies both checksums, because
//! no NIC may be trusted to have done it; [`emit`] writes a whole frame in place, once.

pub mod segment;
pub mod seq;
pub mod checksum;
pub mod parse;
pub mod icmp;
pub mod emit;
