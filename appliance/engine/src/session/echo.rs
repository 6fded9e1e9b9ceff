//! The echo endpoint: every message goes back as it came, compressed anew if that was agreed to, for
//! tests of TCP and WebSocket from outside. It exists only with `[debug] echo = true`.
//!
//! Same road as a player's: the decoder above TCP, the private chain down. A peer that sends more
//! than it reads is not cut: once [`ECHO_BYTES_MAX`](crate::session::player::ECHO_BYTES_MAX) bytes
//! wait for its acknowledgement, further bytes are kept undecoded in `held` and the TCP window
//! shrinks by as many, so `held` never passes one window. A peer that sends FIN gets what was echoed
//! until then; what is held is dropped.
//!
//! There is no deadline: a connection lasts as long as its peer.

use crate::metrics::catalog::Metric;
use crate::session::player::Phase;
use crate::session::{Road, Sessions};
use crate::units::ConnId;
use crate::ws::deflate::{self, Agreed};
use crate::ws::frame::{self, Opcode};

impl Sessions {
    /// New bytes of the stream: decoded now, or kept until there is room for their echo.
    pub(super) fn on_echo_data(&mut self, road: &mut Road<'_>, id: ConnId, bytes: &mut [u8]) {
        let Some(player) = self.player(id) else {
            return;
        };
        let used = match player.held.is_empty() && player.reads() {
            true => self.on_frames(road, id, bytes),
            false => 0,
        };
        let rest = bytes.get(used..).unwrap_or_default();
        self.hold_echo(road, id, rest);
    }

    /// Keeps bytes undecoded.
    fn hold_echo(&mut self, road: &mut Road<'_>, id: ConnId, bytes: &[u8]) {
        let Some(Some(player)) = self.players.get_mut(id.slot as usize) else {
            return;
        };
        if player.generation != id.generation || player.phase != Phase::Echo {
            return;
        }
        if self.chunks.gather(&mut player.held, bytes).is_err() {
            self.counters.inc(Metric::SessionChunksFull);
            return self.cut(road, id);
        }
        let held = u32::try_from(player.held.len()).unwrap_or(u32::MAX);
        road.tcp.set_backlog(id, held);
    }

    /// Queues a message that goes back, compressed when that was agreed to and makes it shorter.
    pub(super) fn echo(&mut self, road: &mut Road<'_>, id: ConnId, opcode: Opcode, message: &[u8]) {
        self.counters.inc(Metric::WsMessagesIn);
        let agreed = self
            .player(id)
            .map_or(Agreed::No, |player| player.deflate());
        let is_long = message.len() >= self.rules.compression_bytes_min;
        let deflater = match (agreed, &mut self.deflaters) {
            (Agreed::Shared, Some([shared, _])) if is_long => Some(shared),
            (Agreed::Narrow, Some([_, narrow])) if is_long => Some(narrow),
            _ => None,
        };
        self.framed.clear();
        self.out.clear();
        if deflater.is_some_and(|deflater| deflater.data(message, &mut self.out)) {
            deflate::append_frame(&mut self.framed, opcode, &[], &self.out, &[]);
            let (bytes_in, bytes_out) = (message.len() as u64, self.out.len() as u64);
            self.counters.inc(Metric::WsDeflated);
            self.counters.add(Metric::WsDeflatedBytesIn, bytes_in);
            self.counters.add(Metric::WsDeflatedBytesOut, bytes_out);
        } else {
            frame::append_frame(&mut self.framed, opcode, message);
        }
        self.queue_framed(road, id);
    }

    /// Acknowledgements made room: decodes what was held.
    pub(super) fn resume_echo(&mut self, road: &mut Road<'_>, id: ConnId) {
        let Some(Some(player)) = self.players.get_mut(id.slot as usize) else {
            return;
        };
        let waits = player.generation == id.generation && player.phase == Phase::Echo;
        if !waits || player.held.is_empty() || !player.reads() {
            return;
        }
        // Allocates: no player is ever served from here.
        let mut bytes = Vec::new();
        self.chunks.take_all(&mut player.held, &mut bytes);
        let used = self.on_frames(road, id, &mut bytes);
        self.hold_echo(road, id, bytes.get(used..).unwrap_or_default());
    }
}
