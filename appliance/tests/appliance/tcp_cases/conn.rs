//! A connection of a raw peer: the client's side of TCP, as well-behaved as the case wants it. It
//! retransmits nothing by itself (the wire loses nothing) and acknowledges each segment unless told
//! not to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::net::Net;
use super::peer::{Offer, Peer};
use super::segment::{ACK, FIN, Opt, PSH, RST, SYN, Seg};
use super::ws;

/// How long an answer may take that is expected.
pub const PATIENCE: Duration = Duration::from_secs(5);

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub struct Conn<'n> {
    pub peer: Peer<'n>,
    /// Next sequence number to send.
    pub nxt: u32,
    /// Highest acknowledgment that came.
    pub una: u32,
    /// Initial sequence numbers.
    pub iss: u32,
    pub irs: u32,
    /// Next sequence number expected.
    pub rcv: u32,
    /// Window field of segments sent.
    pub window: u16,
    /// The server's SYN+ACK.
    pub syn_ack: Seg,
    /// Timestamps are on: our clock's zero, and the value to echo.
    ts_base: u32,
    pub ts_recent: Option<u32>,
    started: Instant,
    pub sack: bool,
    /// Segments with data or FIN are acknowledged as they come.
    pub acks: bool,
    /// The stream received in order, and what came beyond.
    pub stream: Vec<u8>,
    beyond: BTreeMap<u32, Vec<u8>>,
    /// Bytes of the stream that were used.
    used: usize,
    /// The server's FIN came, in order.
    pub finished: bool,
    pub reset: bool,
    /// Where the server's FIN is.
    fin_at: Option<u32>,
}

impl<'n> Conn<'n> {
    /// Makes the handshake.
    pub fn open(net: &'n Net, offer: &Offer) -> Result<Conn<'n>, String> {
        Conn::open_from(Peer::new(net), offer)
    }

    pub fn open_from(peer: Peer<'n>, offer: &Offer) -> Result<Conn<'n>, String> {
        let mut conn = Conn::half_open(peer, offer)?;
        conn.window = offer.window;
        conn.ack();
        Ok(conn)
    }

    /// SYN and SYN+ACK; the last ACK is not sent.
    pub fn half_open(peer: Peer<'n>, offer: &Offer) -> Result<Conn<'n>, String> {
        let iss = 0x1000_0000_u32.wrapping_mul(u32::from(peer.address.1)) ^ 0x00c1_0ec5;
        let ts_base = 0x7000_0000;
        let mut syn = peer.seg(SYN, iss, 0);
        syn.window = offer.window;
        syn.options = offer.options(ts_base);
        peer.send(&syn);
        let syn_ack = peer.expect("SYN+ACK", PATIENCE)?;
        if !syn_ack.is(SYN | ACK) || syn_ack.ack != iss.wrapping_add(1) {
            return Err(format!("not the SYN+ACK: {syn_ack}"));
        }
        Ok(Conn {
            nxt: iss.wrapping_add(1),
            una: iss.wrapping_add(1),
            iss,
            irs: syn_ack.seq,
            rcv: syn_ack.seq.wrapping_add(1),
            window: offer.window,
            ts_base,
            ts_recent: syn_ack.ts().map(|(value, _)| value),
            started: Instant::now(),
            sack: offer.sack && syn_ack.sack_ok(),
            acks: true,
            stream: Vec::new(),
            beyond: BTreeMap::new(),
            used: 0,
            finished: false,
            reset: false,
            fin_at: None,
            syn_ack,
            peer,
        })
    }

    /// Handshake and upgrade to the echo endpoint.
    pub fn echo(net: &'n Net, offer: &Offer) -> Result<Conn<'n>, String> {
        let mut conn = Conn::open(net, offer)?;
        conn.upgrade()?;
        Ok(conn)
    }

    /// Sends the request and takes the answer.
    pub fn upgrade(&mut self) -> Result<(), String> {
        self.put(ws::REQUEST);
        self.upgraded()
    }

    /// Takes the answer to the request.
    pub fn upgraded(&mut self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let unread = &self.stream[self.used..];
            if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
                if !unread.starts_with(b"HTTP/1.1 101") {
                    let answer = String::from_utf8_lossy(unread);
                    return Err(format!("not upgraded: {answer}"));
                }
                self.used += end + 4;
                return Ok(());
            }
            self.pump_until(until, "the answer to the upgrade")?;
        }
    }

    /// The value of our timestamp clock, in milliseconds.
    pub fn ts_now(&self) -> u32 {
        let elapsed = self.started.elapsed().as_millis() as u32;
        self.ts_base.wrapping_add(1).wrapping_add(elapsed)
    }

    /// The timestamp option to send now, if they are on.
    pub fn ts_options(&self) -> Vec<Opt> {
        match self.ts_recent {
            Some(recent) => vec![Opt::Nop, Opt::Nop, Opt::Ts(self.ts_now(), recent)],
            None => Vec::new(),
        }
    }

    /// A segment at our place in the stream.
    pub fn seg(&self, flags: u16) -> Seg {
        let mut seg = self.peer.seg(flags, self.nxt, self.rcv);
        seg.window = self.window;
        seg.options = self.ts_options();
        seg
    }

    /// A segment with data, at `offset` from our place in the stream.
    pub fn data(&self, offset: u32, payload: &[u8]) -> Seg {
        let mut seg = self.seg(ACK | PSH);
        seg.seq = self.nxt.wrapping_add(offset);
        seg.payload = payload.to_vec();
        seg
    }

    pub fn send(&self, seg: &Seg) {
        self.peer.send(seg);
    }

    /// Sends data in full-sized segments and moves on.
    pub fn put(&mut self, bytes: &[u8]) {
        let mss = usize::from(self.syn_ack.mss().unwrap_or(536));
        let room = mss - if self.ts_recent.is_some() { 12 } else { 0 };
        for piece in bytes.chunks(room) {
            self.send(&self.data(0, piece));
            self.nxt = self.nxt.wrapping_add(piece.len() as u32);
        }
    }

    /// Sends FIN and moves on.
    pub fn fin(&mut self) {
        self.send(&self.seg(ACK | FIN));
        self.nxt = self.nxt.wrapping_add(1);
    }

    /// Acknowledges what came, with SACK blocks if that is on.
    pub fn ack(&self) {
        let mut seg = self.seg(ACK);
        if self.sack && !self.beyond.is_empty() {
            let most = if self.ts_recent.is_some() { 3 } else { 4 };
            let blocks = self.blocks().into_iter().take(most).collect();
            seg.options.extend([Opt::Nop, Opt::Nop, Opt::Sack(blocks)]);
        }
        self.send(&seg);
    }

    /// An ACK of `ack` with these SACK blocks.
    pub fn ack_with(&self, ack: u32, blocks: &[(u32, u32)]) {
        let mut seg = self.seg(ACK);
        seg.ack = ack;
        if !blocks.is_empty() {
            seg.options
                .extend([Opt::Nop, Opt::Nop, Opt::Sack(blocks.to_vec())]);
        }
        self.send(&seg);
    }

    /// What came beyond a hole, joined.
    fn blocks(&self) -> Vec<(u32, u32)> {
        let mut blocks: Vec<(u32, u32)> = Vec::new();
        let mut pieces: Vec<(u32, u32)> = self
            .beyond
            .iter()
            .map(|(start, bytes)| (*start, start.wrapping_add(bytes.len() as u32)))
            .collect();
        pieces.sort_by_key(|(start, _)| start.wrapping_sub(self.rcv));
        for (start, end) in pieces {
            match blocks.last_mut() {
                Some(last) if start.wrapping_sub(self.rcv) <= last.1.wrapping_sub(self.rcv) => {
                    last.1 = end;
                }
                _ => blocks.push((start, end)),
            }
        }
        blocks
    }

    /// The next segment, without taking it.
    pub fn peek(&self, within: Duration) -> Result<Option<Seg>, String> {
        self.peer.receive(within)
    }

    /// Takes the next segment; none within the time.
    pub fn pump(&mut self, within: Duration) -> Result<Option<Seg>, String> {
        let Some(seg) = self.peer.receive(within)? else {
            return Ok(None);
        };
        self.take(&seg);
        Ok(Some(seg))
    }

    fn pump_until(&mut self, until: Instant, what: &str) -> Result<Seg, String> {
        let left = until.saturating_duration_since(Instant::now());
        if self.reset || self.finished {
            return Err(format!("the connection ended, expected {what}"));
        }
        let seg = self.pump(left)?;
        seg.ok_or_else(|| format!("nothing came in time, expected {what}"))
    }

    /// Takes everything until nothing comes for `quiet`.
    pub fn drain(&mut self, quiet: Duration) -> Result<Vec<Seg>, String> {
        let mut all = Vec::new();
        while let Some(seg) = self.pump(quiet)? {
            all.push(seg);
        }
        Ok(all)
    }

    /// What a segment changes.
    pub fn take(&mut self, seg: &Seg) {
        if seg.has(RST) {
            self.reset = true;
            return;
        }
        let acked = seg.ack.wrapping_sub(self.una);
        if seg.has(ACK) && acked <= self.nxt.wrapping_sub(self.una) {
            self.una = seg.ack;
        }
        let ahead = seg.seq.wrapping_sub(self.rcv).cast_signed();
        if let (Some(recent), Some((value, _))) = (&mut self.ts_recent, seg.ts())
            && ahead <= 0
            && value.wrapping_sub(*recent).cast_signed() > 0
        {
            *recent = value;
        }
        if seg.has(FIN) {
            self.fin_at = Some(seg.end());
        }
        if !seg.payload.is_empty() {
            self.beyond.insert(seg.seq, seg.payload.clone());
        }
        self.advance();
        if self.fin_at == Some(self.rcv) && !self.finished {
            self.finished = true;
            self.rcv = self.rcv.wrapping_add(1);
        }
        if self.acks && (seg.has(FIN) || !seg.payload.is_empty()) {
            self.ack();
        }
    }

    /// Moves what is in order to the stream.
    fn advance(&mut self) {
        let rcv = self.rcv;
        let due = |(start, _): &(&u32, &Vec<u8>)| start.wrapping_sub(rcv).cast_signed() <= 0;
        while let Some((&start, _)) = self.beyond.iter().find(due) {
            let bytes = self.beyond.remove(&start).unwrap_or_default();
            let known = self.rcv.wrapping_sub(start) as usize;
            if let Some(new) = bytes.get(known..)
                && !new.is_empty()
            {
                self.stream.extend(new);
                self.rcv = self.rcv.wrapping_add(new.len() as u32);
                return self.advance();
            }
        }
    }

    /// The next WebSocket frame of the stream, if it is whole.
    pub fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, payload, length) = ws::parse(&self.stream[self.used..])?;
        self.used += length;
        Some((first, payload))
    }

    /// Waits for the next frame.
    pub fn frame(&mut self, within: Duration) -> Result<(u8, Vec<u8>), String> {
        let until = Instant::now() + within;
        loop {
            if let Some(frame) = self.next_frame() {
                return Ok(frame);
            }
            self.pump_until(until, "a WebSocket frame")?;
        }
    }

    /// Waits for the echo of `payload`.
    pub fn echoed(&mut self, payload: &[u8], within: Duration) -> Result<(), String> {
        let (first, echo) = self.frame(within)?;
        if first == 0x82 && echo == payload {
            return Ok(());
        }
        let same = echo.iter().zip(payload).take_while(|(a, b)| a == b).count();
        Err(format!(
            "wrong echo: first byte {first:x}, {} bytes instead of {}, the first {same} right",
            echo.len(),
            payload.len()
        ))
    }

    /// Sends a message and waits for its echo.
    pub fn ask(&mut self, payload: &[u8]) -> Result<(), String> {
        self.put(&ws::message(payload));
        self.echoed(payload, PATIENCE)
    }

    /// The connection still echoes.
    pub fn lives(&mut self, after: &str) -> Result<(), String> {
        if self.reset {
            return Err(format!("reset after {after}"));
        }
        self.ask(b"still there?")
            .map_err(|error| format!("after {after}: {error}"))
    }

    /// Waits until everything sent is acknowledged.
    pub fn all_acked(&mut self, within: Duration) -> Result<(), String> {
        let until = Instant::now() + within;
        while self.una != self.nxt {
            self.pump_until(until, "an ACK of everything")?;
        }
        Ok(())
    }

    /// The server finished: waits for its FIN.
    pub fn wait_fin(&mut self, within: Duration) -> Result<(), String> {
        let until = Instant::now() + within;
        while !self.finished {
            let left = until.saturating_duration_since(Instant::now());
            if self.reset {
                return Err("reset, expected FIN".to_owned());
            }
            if self.pump(left)?.is_none() {
                return Err("no FIN came".to_owned());
            }
        }
        Ok(())
    }

    /// Ends it with a RST, so that the server need not keep it.
    pub fn abort(self) {
        self.send(&self.seg(RST));
    }
}
