//! Bytes of a connection's stream: the upgrade request first, WebSocket frames after it.

use crate::metrics::catalog::Metric;
use crate::session::codec::Protocol;
use crate::session::player::{Flags, Phase};
use crate::session::{Road, Sessions};
use crate::units::{ConnId, Micros};
use crate::ws::deflate::{Agreed, Inflater};
use crate::ws::frame::{self, Opcode};
use crate::ws::message::{Failure, Received};
use crate::ws::upgrade::{self, Endpoint, Policy, REQUEST_BYTES_MAX, Upgrade};

impl Sessions {
    /// New bytes of the stream, in order. Writable, because they are unmasked in place.
    pub fn on_data(&mut self, road: &mut Road<'_>, id: ConnId, bytes: &mut [u8]) {
        let Some(player) = self.player(id) else {
            return;
        };
        match player.phase {
            Phase::Request => self.on_request(road, id, bytes),
            Phase::Upgraded | Phase::Connecting | Phase::Refused | Phase::Connected => {
                _ = self.on_frames(road, id, bytes)
            }
            Phase::Echo => self.on_echo_data(road, id, bytes),
            Phase::Closing => {}
        }
    }

    /// Bytes of the upgrade request. In the common case it is one segment and nothing is kept.
    fn on_request(&mut self, road: &mut Road<'_>, id: ConnId, bytes: &mut [u8]) {
        let Some(Some(player)) = self.players.get_mut(id.slot as usize) else {
            return;
        };
        let kept = player.held.len();
        if kept == 0 {
            let used = self.on_request_bytes(road, id, bytes);
            if let Some(rest) = bytes.get_mut(used..)
                && !rest.is_empty()
            {
                self.on_data(road, id, rest);
            }
            return;
        }
        let mut request = std::mem::take(&mut self.scratch);
        self.chunks.take_all(&mut player.held, &mut request);
        request.extend_from_slice(bytes);
        let used = self.on_request_bytes(road, id, &request);
        self.scratch = request;
        // What follows the request came with this segment: the earlier bytes were not a request.
        if let Some(rest) = bytes.get_mut(used.saturating_sub(kept)..)
            && used > 0
            && !rest.is_empty()
        {
            self.on_data(road, id, rest);
        }
    }

    /// Judges what has come of the request; gives the bytes it used, all of them when incomplete.
    fn on_request_bytes(&mut self, road: &mut Road<'_>, id: ConnId, request: &[u8]) -> usize {
        let policy = Policy {
            path: &self.rules.path,
            echo: self.rules.echo,
            allowed_origins: &self.rules.allowed_origins,
            compression: self.rules.compression,
        };
        self.framed.clear();
        match upgrade::receive(request, &policy, &mut self.framed) {
            Upgrade::Incomplete if request.len() < REQUEST_BYTES_MAX => {
                let Some(Some(player)) = self.players.get_mut(id.slot as usize) else {
                    return 0;
                };
                if self.chunks.gather(&mut player.held, request).is_err() {
                    self.counters.inc(Metric::SessionChunksFull);
                    self.cut(road, id);
                }
                request.len()
            }
            Upgrade::Accepted {
                consumed,
                endpoint,
                protocol,
                frame_pings,
                deflate,
                ..
            } if !self.draining => {
                self.counters.inc(Metric::WsUpgrades);
                if deflate != Agreed::No {
                    self.counters.inc(Metric::WsDeflateAgreed);
                }
                let (phase, deadline) = match endpoint {
                    Endpoint::Players | Endpoint::Unidirectional => {
                        (Phase::Upgraded, road.now + self.rules.connect_timeout)
                    }
                    Endpoint::Echo => (Phase::Echo, Micros::NEVER),
                };
                if let Some(player) = self.player(id) {
                    player.phase = phase;
                    let is_protobuf = protocol == Protocol::Protobuf;
                    player.flags.set(Flags::PROTOBUF, is_protobuf);
                    player.flags.set(Flags::FRAME_PINGS, frame_pings);
                    player.flags.set(Flags::DEFLATE, deflate != Agreed::No);
                    player
                        .flags
                        .set(Flags::DEFLATE_NARROW, deflate == Agreed::Narrow);
                    let is_uni = endpoint == Endpoint::Unidirectional;
                    player.flags.set(Flags::UNIDIRECTIONAL, is_uni);
                    player.deadline = deadline.into();
                }
                self.wheel.schedule(id.slot, deadline);
                self.queue_framed(road, id);
                if endpoint == Endpoint::Unidirectional
                    && let Some(connect) = upgrade::connect_of(request)
                {
                    self.on_uni_connect(road, id, Protocol::Json, &connect);
                }
                consumed
            }
            Upgrade::Accepted { .. } => {
                upgrade::refuse(503, "stopping, connect elsewhere", &mut self.framed);
                self.turn_away(road, id, 503)
            }
            Upgrade::Refused { status } => self.turn_away(road, id, status),
            Upgrade::Incomplete => {
                upgrade::refuse(431, "request too long", &mut self.framed);
                self.turn_away(road, id, 431)
            }
        }
    }

    /// Sends the refusal in `framed` and closes; gives 0 bytes used: nothing follows.
    fn turn_away(&mut self, road: &mut Road<'_>, id: ConnId, status: u16) -> usize {
        self.counters.inc(Metric::WsUpgradeRefused);
        if status == 431 {
            self.counters.inc(Metric::WsHeaderTooLong);
        }
        self.begin_closing(road, id);
        self.queue_framed(road, id);
        0
    }

    /// WebSocket frames, cut anywhere; gives the bytes used, fewer than all when no more is read
    /// now.
    pub(super) fn on_frames(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        mut bytes: &mut [u8],
    ) -> usize {
        let count = bytes.len();
        let Some(player) = self.player(id) else {
            return count;
        };
        let echoes = player.phase == Phase::Echo;
        let deflate = player.deflate();
        let mut decoder = std::mem::take(&mut player.decoder);
        let mut whole = std::mem::take(&mut self.scratch);
        let mut inflater = self.inflater.take();
        let message_bytes_max = match echoes {
            true => self.rules.echo_message_bytes_max,
            false => self.rules.message_bytes_max,
        };
        loop {
            let lent = inflater.as_mut().filter(|_| deflate != Agreed::No);
            let (chunks, most) = (&mut self.chunks, message_bytes_max);
            match decoder.receive(&mut bytes, chunks, most, &mut whole, lent) {
                Received::NeedMore => break,
                Received::Text(text) if echoes => self.echo(road, id, Opcode::Text, text),
                Received::Binary(bytes) if echoes => self.echo(road, id, Opcode::Binary, bytes),
                // What was agreed at the upgrade says how to read it, not the opcode.
                Received::Text(message) | Received::Binary(message) => {
                    self.on_message(road, id, message);
                }
                Received::Ping(payload) => {
                    self.framed.clear();
                    frame::append_frame(&mut self.framed, Opcode::Pong, payload);
                    self.queue_framed(road, id);
                }
                Received::Pong(_) => self.on_frame_pong(road, id),
                Received::Close { code, .. } => self.close(road, id, code.unwrap_or(1000), ""),
                Received::Failed(failure) => self.on_failure(road, id, failure),
            }
            match self.player(id) {
                Some(player) if player.reads() => {}
                _ => break,
            }
        }
        self.scratch = whole;
        self.count_inflated(inflater.as_mut());
        self.inflater = inflater;
        match self.player(id) {
            Some(player) if player.phase != Phase::Closing => player.decoder = decoder,
            _ => decoder.clear(&mut self.chunks),
        }
        count - bytes.len()
    }

    fn count_inflated(&mut self, inflater: Option<&mut Inflater>) {
        let totals = inflater.map(Inflater::take_totals).unwrap_or_default();
        if totals.messages > 0 {
            self.counters.add(Metric::WsInflated, totals.messages);
            self.counters
                .add(Metric::WsInflatedBytesIn, totals.bytes_in);
            self.counters
                .add(Metric::WsInflatedBytesOut, totals.bytes_out);
        }
    }

    fn on_failure(&mut self, road: &mut Road<'_>, id: ConnId, failure: Failure) {
        let (metric, reason) = match failure {
            Failure::Protocol => (Metric::WsProtocolErrors, "protocol error"),
            Failure::Utf8 => (Metric::WsBadUtf8, "invalid UTF-8"),
            Failure::TooBig => (Metric::WsTooBig, "message too big"),
            Failure::Bomb => (Metric::WsInflateBombs, "message too big"),
            Failure::Corrupt => (Metric::WsInflateCorrupt, "bad compressed data"),
            Failure::NoMemory => (Metric::SessionChunksFull, "out of memory"),
        };
        self.counters.inc(metric);
        self.close(road, id, failure.code(), reason);
    }
}
