//! A raw peer: an address of its own, what it sends and what comes for it. Everything is noted, so
//! that a case that fails shows what went over the wire.

use std::cell::RefCell;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::net::{Arrival, Net, PORT, SERVER};
use super::segment::{Opt, Seg};

thread_local! {
    /// What this thread's peers sent and received.
    static TRACE: RefCell<(Option<Instant>, Vec<String>)> = const { RefCell::new((None, Vec::new())) };
}

/// Notes a line of the trace.
pub fn note(line: &str) {
    TRACE.with_borrow_mut(|(start, lines)| {
        let start = start.get_or_insert_with(Instant::now);
        lines.push(format!("{:9.3} {line}", start.elapsed().as_secs_f64()));
    });
}

/// Takes the trace's last `count` lines.
pub fn take_trace(count: usize) -> Vec<String> {
    TRACE.with_borrow_mut(|(_, lines)| {
        let lines = std::mem::take(lines);
        lines[lines.len().saturating_sub(count)..].to_vec()
    })
}

/// One address and port.
pub struct Peer<'n> {
    pub net: &'n Net,
    pub address: ([u8; 4], u16),
    arrivals: Receiver<Arrival>,
    routed: Vec<[u8; 4]>,
}

impl<'n> Peer<'n> {
    pub fn new(net: &'n Net) -> Peer<'n> {
        Peer::at(net, net.fresh(), &[])
    }

    /// At `address`; what is sent to `others` comes here too.
    pub fn at(net: &'n Net, address: ([u8; 4], u16), others: &[[u8; 4]]) -> Peer<'n> {
        let routed = [&[address.0], others].concat();
        Peer {
            net,
            address,
            arrivals: net.route(&routed),
            routed,
        }
    }

    /// A segment to the server: no data, no options, a full window.
    pub fn seg(&self, flags: u16, seq: u32, ack: u32) -> Seg {
        Seg {
            from: self.address,
            to: (SERVER, PORT),
            seq,
            ack,
            flags,
            window: 65_535,
            urgent: 0,
            options: Vec::new(),
            payload: Vec::new(),
            dont_fragment: true,
        }
    }

    pub fn send(&self, seg: &Seg) {
        note(&format!("> {seg}"));
        self.net.send(&seg.packet());
    }

    /// Sends a packet as it is.
    pub fn send_packet(&self, packet: &[u8], what: &str) {
        note(&format!("> {what} ({} bytes)", packet.len()));
        self.net.send(packet);
    }

    /// The next packet, whatever it is.
    pub fn receive_packet(&self, within: Duration) -> Option<Arrival> {
        self.arrivals.recv_timeout(within).ok()
    }

    /// The next TCP segment and when it came.
    pub fn receive_at(&self, within: Duration) -> Result<Option<(Instant, Seg)>, String> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Some((at, packet)) = self.receive_packet(left) else {
                return Ok(None);
            };
            if packet[9] != 6 {
                note(&format!("< protocol {}", packet[9]));
                continue;
            }
            let seg = Seg::parse(&packet)?;
            if seg.to.1 == self.address.1 {
                note(&format!("< {seg}"));
                return Ok(Some((at, seg)));
            }
        }
    }

    pub fn receive(&self, within: Duration) -> Result<Option<Seg>, String> {
        Ok(self.receive_at(within)?.map(|(_, seg)| seg))
    }

    /// The next segment, or an error that says what was waited for.
    pub fn expect(&self, what: &str, within: Duration) -> Result<Seg, String> {
        let seg = self.receive(within)?;
        seg.ok_or_else(|| format!("nothing came within {within:?}, expected {what}"))
    }

    /// Nothing comes for `span`.
    pub fn silence(&self, span: Duration, after: &str) -> Result<(), String> {
        match self.receive(span)? {
            None => Ok(()),
            Some(seg) => Err(format!("{after} was answered: {seg}")),
        }
    }

    /// Sends a segment and expects a RST for it from a server that knows no connection: its sequence
    /// number is the segment's acknowledgment number (RFC 9293 3.10.7.1).
    pub fn expect_reset(&self, seg: &Seg, within: Duration) -> Result<(), String> {
        self.send(seg);
        let answer = self.expect("RST", within)?;
        if answer.has(super::segment::RST) && answer.seq == seg.ack {
            Ok(())
        } else {
            Err(format!("not a RST with SEQ={}: {answer}", seg.ack))
        }
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        self.net.unroute(&self.routed);
    }
}

/// What a client offers in its SYN.
#[derive(Debug, Clone)]
pub struct Offer {
    pub mss: Option<u16>,
    pub scale: Option<u8>,
    pub sack: bool,
    pub ts: bool,
    /// Window field of every segment, unless changed later.
    pub window: u16,
    pub extra: Vec<Opt>,
}

/// What a phone offers.
pub const FULL: Offer = Offer {
    mss: Some(1460),
    scale: Some(7),
    sack: true,
    ts: true,
    window: 64_000,
    extra: Vec::new(),
};

/// An MSS and nothing else.
pub const PLAIN: Offer = Offer {
    mss: Some(1460),
    scale: None,
    sack: false,
    ts: false,
    window: 65_535,
    extra: Vec::new(),
};

/// SACK, but no timestamps and no window scale: every byte of a segment is payload.
pub const SACK: Offer = Offer {
    mss: Some(1460),
    scale: None,
    sack: true,
    ts: false,
    window: 65_535,
    extra: Vec::new(),
};

impl Offer {
    pub fn options(&self, ts: u32) -> Vec<Opt> {
        let mut options = Vec::new();
        options.extend(self.mss.map(Opt::Mss));
        if self.sack {
            options.push(Opt::SackOk);
        }
        if self.ts {
            options.push(Opt::Ts(ts, 0));
        }
        options.extend(self.scale.map(Opt::Scale));
        options.extend(self.extra.iter().cloned());
        options
    }
}
