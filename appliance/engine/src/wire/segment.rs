//! A TCP segment as plain data: what [`super::parse`] gives and [`super::emit`] takes.

use std::net::SocketAddr;
use std::ops::Range;

use crate::wire::seq::Seq;

/// How a frame reached us, so that the answer goes back the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Their MAC address: the frame's source.
    pub peer_mac: [u8; 6],
    /// Our MAC address: the frame's destination.
    pub local_mac: [u8; 6],
    /// The 802.1Q tag control field (priority and VLAN id), if there was a tag.
    pub vlan: Option<u16>,
}

/// Both ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Our address and port.
    pub local: SocketAddr,
    /// Theirs.
    pub remote: SocketAddr,
}

/// The control bits this engine knows (RFC 9293 section 3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are bits of one header field"
)]
pub struct Flags {
    /// The acknowledgment field counts.
    pub ack: bool,
    /// Synchronize.
    pub syn: bool,
    /// No more data.
    pub fin: bool,
    /// Reset.
    pub rst: bool,
    /// Push.
    pub psh: bool,
}

/// SACK blocks an ACK carries at most beside timestamps (RFC 2018 section 3).
pub const SACKS_MAX: usize = 3;

/// TCP options that were present and well formed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size (on SYN).
    pub mss: Option<u16>,
    /// Window scale shift (on SYN), already cut to 14 (RFC 7323 section 2.3).
    pub window_scale: Option<u8>,
    /// SACK permitted (on SYN).
    pub sack_permitted: bool,
    /// SACK blocks: first sequence number, and the one after the last.
    pub sacks: [Option<(Seq, Seq)>; SACKS_MAX],
    /// Timestamps: TSval and TSecr (RFC 7323 section 3).
    pub timestamps: Option<(u32, u32)>,
}

/// A segment. Received: `local` is the destination. Sent: `local` is the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Way back.
    pub link: Link,
    /// Connection it belongs to.
    pub flow: Flow,
    /// Sequence number of the first byte (or of SYN).
    pub seq: Seq,
    /// Acknowledgment number; counts only with `flags.ack`.
    pub ack: Seq,
    /// Control bits.
    pub flags: Flags,
    /// Window field, unscaled.
    pub window: u16,
    /// Options.
    pub options: Options,
    /// Where the payload lies in the frame.
    pub payload_at: Range<usize>,
}

impl Segment {
    /// Sequence numbers the segment takes: payload, SYN and FIN (RFC 9293 section 3.4, SEG.LEN).
    #[inline]
    pub fn sequence_length(&self) -> u32 {
        // A frame's payload fits 16 bits.
        let payload = u32::try_from(self.payload_at.len()).unwrap_or(0);
        payload + u32::from(self.flags.syn) + u32::from(self.flags.fin)
    }
}
