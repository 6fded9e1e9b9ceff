//! Segments that have no connection to wait in: SYN-ACKs, RSTs to segments of connections that do not
//! exist, and RSTs for connections we abort. They wait here; a full queue drops them, which costs
//! whoever waits for one another try.

use std::collections::VecDeque;

use crate::metrics::catalog::Metric;
use crate::metrics::counters::Counters;
use crate::port::Port;
use crate::tcp::Tcp;
use crate::wire::emit::{Header, emit};
use crate::wire::segment::{Flags, Flow, Link, Options, Segment};
use crate::wire::seq::Seq;

/// Replies that wait at once: a few receive batches.
const REPLIES_MAX: usize = 512;

/// The queue of one core.
#[derive(Debug)]
pub(super) struct Replies {
    queue: VecDeque<Header>,
}

impl Replies {
    pub(super) fn new() -> Replies {
        Replies {
            queue: VecDeque::with_capacity(REPLIES_MAX),
        }
    }

    pub(super) fn push(&mut self, reply: Header, counters: &Counters) {
        if self.queue.len() == REPLIES_MAX {
            return counters.inc(Metric::TcpRepliesDropped);
        }
        self.queue.push_back(reply);
    }
}

/// A RST of `flow` with this sequence number, and this acknowledgment number if any.
pub(super) fn reset(flow: Flow, link: Link, seq: Seq, ack: Option<Seq>) -> Header {
    Header {
        link,
        flow,
        seq,
        ack: ack.unwrap_or_default(),
        flags: Flags {
            rst: true,
            ack: ack.is_some(),
            ..Flags::default()
        },
        window: 0,
        options: Options::default(),
    }
}

impl Tcp {
    /// Answers a segment of no connection with a RST (RFC 9293 section 3.10.7.1).
    pub fn refuse(&mut self, segment: &Segment) {
        let flags = segment.flags;
        if flags.rst {
            return;
        }
        let reset = if flags.ack {
            reset(segment.flow, segment.link, segment.ack, None)
        } else {
            let ack = segment.seq + segment.sequence_length();
            reset(segment.flow, segment.link, Seq(0), Some(ack))
        };
        self.counters.inc(Metric::TcpRstOut);
        self.replies.push(reset, &self.counters);
    }

    /// Whether `send_replies` has something to send.
    pub(super) fn has_replies(&self) -> bool {
        !self.replies.queue.is_empty()
    }

    /// Replies that can still wait.
    pub fn reply_room(&self) -> usize {
        REPLIES_MAX - self.replies.queue.len()
    }

    /// Sends the replies that wait, as far as there is room.
    pub fn send_replies(&mut self, port: &mut impl Port) {
        while let Some(reply) = self.replies.queue.front() {
            if !port.send(|buffer| emit(buffer, reply, 0, |_| true)) {
                return;
            }
            self.counters.inc(Metric::TcpSegmentsOut);
            self.replies.queue.pop_front();
        }
    }
}
