//! The publisher: sends each event of the plan when it is due, through the admin API.
//!
//! Open loop: many keep-alive connections, so that a slow acknowledgement never holds the next
//! event back. If all connections wait for an answer, what is due is sent as soon as one is free,
//! in order, and its lateness is in its latency, because the stamp is the due time.
//!
//! Two events of one hunt may be under way on two connections and may then be taken in either
//! order; the offset that the appliance acknowledged is kept for every event and compared later
//! with what players saw.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use nix::libc::linger;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeSpec;

use super::clock::now_ns;
use super::judge::histogram;
use super::options::{Dialect, Options, hunt_name};
use super::plan::Plan;

/// An answer that takes longer than this counts as refused.
const ANSWER_NS_MAX: u64 = 10_000_000_000;

/// Counters for the progress bar.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) sent: AtomicU64,
    pub(crate) acked: AtomicU64,
}

/// What a publisher leaves behind.
#[derive(Debug)]
pub(crate) struct Result {
    /// Offset of each event, 0 where the answer had none; `None` where it was not acknowledged.
    pub(crate) acked: Vec<Option<u64>>,
    /// Answers that were not an acknowledgement, by text.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Due time to acknowledgement.
    pub(crate) ack: Histogram<u64>,
    /// The most that an event was sent after it was due.
    pub(crate) late_ns_max: u64,
}

/// A keep-alive connection to the admin API.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// The event whose answer is awaited, and since when.
    busy: Option<(usize, u64)>,
    answer: Vec<u8>,
}

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Publisher {
    admin: SocketAddr,
    heads: Vec<String>,
    dialect: Dialect,
    /// Events sent to each hunt.
    offsets: Vec<u64>,
    connections: Vec<Connection>,
    request: Vec<u8>,
    result: Result,
    shared: Arc<Shared>,
}

impl Publisher {
    /// Connects to the admin API.
    pub(crate) fn open(options: &Options, shared: Arc<Shared>) -> anyhow::Result<Publisher> {
        let admin = options.admin;
        let heads = (0..options.hunts).map(|hunt| head(options, hunt)).collect();
        let connections = (0..options.publishers)
            .map(|_| open(admin))
            .collect::<anyhow::Result<_>>()?;
        let result = Result {
            acked: Vec::new(),
            refused: BTreeMap::new(),
            ack: histogram(ANSWER_NS_MAX),
            late_ns_max: 0,
        };
        Ok(Publisher {
            admin,
            heads,
            dialect: options.dialect,
            offsets: vec![0; options.hunts],
            connections,
            request: Vec::new(),
            result,
            shared,
        })
    }

    /// Publishes the whole plan and waits for the last answer.
    pub(crate) fn run(mut self, plan: &Plan) -> anyhow::Result<Result> {
        self.result.acked = vec![None; plan.len()];
        let mut next = 0;
        loop {
            let now = now_ns();
            while next < plan.len() && plan.due_ns(next) <= now {
                let Some(free) = self.connections.iter().position(|one| one.busy.is_none()) else {
                    break;
                };
                self.send(free, next, plan)?;
                next += 1;
            }
            let busy = self.connections.iter().any(|one| one.busy.is_some());
            if next == plan.len() && !busy {
                return Ok(self.result);
            }
            let all_busy = self.connections.iter().all(|one| one.busy.is_some());
            let until = match plan.len() {
                len if next < len && !all_busy => plan.due_ns(next),
                _ => now + 100_000_000,
            };
            self.wait(until.saturating_sub(now_ns()))?;
            self.receive_all(plan)?;
        }
    }

    fn send(&mut self, index: usize, event: usize, plan: &Plan) -> anyhow::Result<()> {
        self.request.clear();
        self.request
            .extend_from_slice(self.heads[plan.hunt(event)].as_bytes());
        self.request.extend_from_slice(plan.payload(event));
        self.offsets[plan.hunt(event)] += 1;
        self.request
            .extend_from_slice(&tail(self.dialect, self.offsets[plan.hunt(event)]));
        let now = now_ns();
        let late_ns = now.saturating_sub(plan.due_ns(event));
        self.result.late_ns_max = self.result.late_ns_max.max(late_ns);
        let connection = &mut self.connections[index];
        // One small request on an idle connection always fits into its socket buffer.
        if let Err(error) = connection.stream.write_all(&self.request) {
            self.refuse(format!("write: {error}"));
            self.connections[index] = open(self.admin)?;
            return Ok(());
        }
        connection.busy = Some((event, now));
        self.shared.sent.fetch_add(1, Relaxed);
        Ok(())
    }

    fn wait(&self, timeout_ns: u64) -> anyhow::Result<()> {
        let mut fds: Vec<_> = self
            .connections
            .iter()
            .filter(|one| one.busy.is_some())
            .map(|one| PollFd::new(one.stream.as_fd(), PollFlags::POLLIN))
            .collect();
        let timeout = TimeSpec::from_duration(Duration::from_nanos(timeout_ns));
        match ppoll(&mut fds, Some(timeout), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("ppoll"),
        }
    }

    fn receive_all(&mut self, plan: &Plan) -> anyhow::Result<()> {
        for index in 0..self.connections.len() {
            let Some((event, since_ns)) = self.connections[index].busy else {
                continue;
            };
            let outcome = self.connections[index].receive(self.dialect);
            match outcome {
                Ok(None) if now_ns().saturating_sub(since_ns) < ANSWER_NS_MAX => {}
                Ok(None) => {
                    self.refuse("no answer in 10 s".into());
                    self.connections[index] = open(self.admin)?;
                }
                Ok(Some(Ok(offset))) => {
                    self.connections[index].busy = None;
                    self.result.acked[event] = Some(offset);
                    self.result
                        .ack
                        .saturating_record(now_ns() - plan.due_ns(event));
                    self.shared.acked.fetch_add(1, Relaxed);
                }
                Ok(Some(Err(refusal))) => {
                    self.connections[index].busy = None;
                    self.refuse(refusal);
                }
                Err(error) => {
                    self.refuse(format!("{error:#}"));
                    self.connections[index] = open(self.admin)?;
                }
            }
        }
        Ok(())
    }

    fn refuse(&mut self, why: String) {
        *self.result.refused.entry(why).or_default() += 1;
    }
}

impl Connection {
    /// A connection that waits for answers.
    pub(crate) fn open_blocking(admin: SocketAddr) -> anyhow::Result<Connection> {
        let connection = open(admin)?;
        connection.stream.set_nonblocking(false)?;
        Ok(connection)
    }

    /// The answer once it is complete: the acknowledged offset, or the text of a refusal.
    pub(crate) fn receive(
        &mut self,
        dialect: Dialect,
    ) -> anyhow::Result<Option<std::result::Result<u64, String>>> {
        let mut bytes = [0; 4_096];
        match self.stream.read(&mut bytes) {
            Ok(0) => anyhow::bail!("the admin API closed the connection"),
            Ok(read) => self.answer.extend_from_slice(&bytes[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error).context("read"),
        }
        let Some((code, body)) = parse_answer(&self.answer)? else {
            return Ok(None);
        };
        let outcome = judge_answer(dialect, code, body);
        self.answer.clear();
        Ok(Some(outcome))
    }
}

/// Status and body of a complete answer. Only bodies with a length are understood.
fn parse_answer(bytes: &[u8]) -> anyhow::Result<Option<(u16, &[u8])>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(body_at) = response.parse(bytes)? else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .context("an answer without Content-Length")?;
    let length: usize = std::str::from_utf8(length.value)?.trim().parse()?;
    let code = response.code.unwrap_or(0);
    Ok(bytes
        .get(body_at..body_at + length)
        .map(|body| (code, body)))
}

fn judge_answer(dialect: Dialect, code: u16, body: &[u8]) -> std::result::Result<u64, String> {
    if dialect == Dialect::Nchan && (200..300).contains(&code) {
        return Ok(0);
    }
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    if code == 200 && value["result"].is_object() {
        return Ok(value["result"]["offset"].as_u64().unwrap_or(0));
    }
    let body = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    Err(format!("status {code}: {body}"))
}

/// The request of `hunt` up to the payload.
fn head(options: &Options, hunt: usize) -> String {
    let name = hunt_name(options, hunt);
    let channel = serde_json::Value::from(&*name);
    let (path, begin) = match options.dialect {
        Dialect::Centrifugo => ("/api/publish", format!(r#"{{"channel":{channel},"data":"#)),
        Dialect::Nchan => (
            &*format!("/publish/{name}"),
            format!(r#"{{"push":{{"channel":{channel},"pub":{{"data":"#),
        ),
    };
    let length = begin.len() + options.bytes + tail(options.dialect, 0).len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nX-API-Key: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{begin}",
        options.admin, options.api_key
    )
}

/// What follows the payload, of the same length for every offset.
fn tail(dialect: Dialect, offset: u64) -> Vec<u8> {
    match dialect {
        Dialect::Centrifugo => b"}".to_vec(),
        Dialect::Nchan => format!(r#","offset":{offset:<10}}}}}}}"#).into_bytes(),
    }
}

/// A connection that ends with a RST. Ended with a FIN, it is the server's last to acknowledge: on a busy
/// host its FIN goes out twice, and the second acknowledgement finds no connection and is refused. The
/// demo would take that for a game segment that reached the appliance's kernel.
fn open(admin: SocketAddr) -> anyhow::Result<Connection> {
    let stream = TcpStream::connect_timeout(&admin, Duration::from_secs(5))
        .with_context(|| format!("connect to the admin API at {admin}"))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let at_once = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&stream, sockopt::Linger, &at_once)?;
    Ok(Connection {
        stream,
        busy: None,
        answer: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_whole_and_cut() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 24\r\n\r\n{\"result\":{\"offset\":17}}";
        for cut in 0..answer.len() {
            assert!(
                parse_answer(&answer[..cut]).unwrap().is_none(),
                "cut at {cut}"
            );
        }
        let (code, body) = parse_answer(answer).unwrap().unwrap();
        assert_eq!(judge_answer(Dialect::Centrifugo, code, body), Ok(17));
    }

    #[test]
    fn refusals_are_told() {
        let judge = |code, body: &[u8]| judge_answer(Dialect::Centrifugo, code, body);
        assert_eq!(judge(200, br#"{"result":{}}"#), Ok(0));
        assert!(judge(200, br#"{"error":{"code":100}}"#).is_err());
        assert!(judge(401, b"").is_err());
        assert_eq!(judge_answer(Dialect::Nchan, 202, b"queued"), Ok(0));
        assert!(judge_answer(Dialect::Nchan, 403, b"").is_err());
    }
}
