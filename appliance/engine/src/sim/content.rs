//! What the streams say: each byte follows from its connection, direction and position, so that any
//! piece of a stream can be written and checked without keeping it.

/// One stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content(u64);

impl Content {
    /// From the server to `client`.
    pub(super) fn down(client: u32) -> Content {
        Content(u64::from(client) * 2)
    }

    /// From `client` to the server.
    pub(super) fn up(client: u32) -> Content {
        Content(u64::from(client) * 2 + 1)
    }

    fn byte(self, position: u64) -> u8 {
        let mixed = (position ^ (self.0 << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed.to_le_bytes()[6]
    }

    /// Writes the bytes from `position` on.
    pub(super) fn fill(self, position: u64, out: &mut [u8]) {
        for (position, byte) in (position..).zip(out) {
            *byte = self.byte(position);
        }
    }

    /// The first position from `position` on where `bytes` are not what the stream says.
    pub(super) fn difference(self, position: u64, bytes: &[u8]) -> Option<u64> {
        (position..)
            .zip(bytes)
            .find(|&(position, &byte)| byte != self.byte(position))
            .map(|(position, _)| position)
    }
}
