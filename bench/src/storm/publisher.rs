//! A backend that publishes one event after the other to one hunt.
//!
//! One connection, so that the events get their offsets in the order of their numbers. An event that
//! has to wait for the answer to the one before goes out late; its stamp says when it was due.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::options::Options;
use crate::swarm::{Connection, Dialect, now_ns, seconds_to_ns};

/// See the file's header.
#[derive(Debug)]
pub(super) struct Publisher {
    connection: Connection,
    channel: String,
    admin: String,
    api_key: String,
    pad: String,
    /// Events published so far, which is the offset of the last.
    pub(super) published: u64,
    /// Due time and time to the acknowledgement of every event, in nanoseconds.
    pub(super) acks: Vec<(u64, u64)>,
}

impl Publisher {
    /// Connects to the admin API.
    pub(super) fn open(options: &Options, channel: &str) -> anyhow::Result<Publisher> {
        let connection = Connection::open_blocking(options.admin)?;
        Ok(Publisher {
            connection,
            channel: channel.to_owned(),
            admin: options.admin.to_string(),
            api_key: options.api_key.clone(),
            pad: "x".repeat(options.bytes),
            published: 0,
            acks: Vec::new(),
        })
    }

    /// Publishes the next event, which was due at `due_ns`, and waits for its acknowledgement.
    pub(super) fn publish(&mut self, due_ns: u64) -> anyhow::Result<()> {
        let number = self.published + 1;
        let data = serde_json::json!({ "n": number, "due": due_ns, "pad": self.pad });
        let body = serde_json::json!({ "channel": self.channel, "data": data }).to_string();
        let request = format!(
            "POST /api/publish HTTP/1.1\r\nHost: {}\r\nX-API-Key: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.admin,
            self.api_key,
            body.len()
        );
        self.connection.stream.write_all(request.as_bytes())?;
        let offset = loop {
            if let Some(answer) = self.connection.receive(Dialect::Centrifugo)? {
                break answer.map_err(|refusal| anyhow::anyhow!("refused: {refusal}"))?;
            }
        };
        anyhow::ensure!(
            offset == number,
            "event {number} got offset {offset}: the hunt {} is not new or not ours alone",
            self.channel
        );
        self.published = number;
        self.acks.push((due_ns, now_ns().saturating_sub(due_ns)));
        Ok(())
    }

    /// Publishes `rate` events a second until told to stop.
    pub(super) fn run(mut self, rate: f64, stop: &AtomicBool) -> anyhow::Result<Publisher> {
        let gap_ns = seconds_to_ns(1.0 / rate);
        let mut due_ns = now_ns();
        while !stop.load(Relaxed) {
            thread::sleep(Duration::from_nanos(due_ns.saturating_sub(now_ns())));
            self.publish(due_ns)?;
            due_ns += gap_ns;
        }
        Ok(self)
    }
}
