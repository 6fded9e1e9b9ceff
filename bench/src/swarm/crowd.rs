//! All players on one thread: one edge-triggered epoll, one read buffer.
//!
//! Opens players a bounded number at a time, so that neither the accept queue of the appliance nor
//! the players' own SYN retransmissions decide the connect time, then only reads until told to
//! stop. Per delivery it does one `read` and one comparison of bytes; it allocates only when an
//! event is seen for the first time.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeValLike;

use super::clock::now_ns;
use super::judge::Judge;
use super::options::{Dialect, Options, hunt_name};
use super::plan::Plan;
use super::player::{Player, State};
use super::wire;

/// Holds any frame of an appliance and many small ones; one for the whole crowd, so it stays in
/// the cache.
const READ_BYTES: usize = 256 * 1_024;
/// Readiness taken from the kernel at once.
const EVENTS: usize = 1_024;
/// How late a phase change may be noticed, in milliseconds; the plan is given out well before its
/// first event.
const WAIT_MS: u8 = 20;

/// What the crowd tells the other threads while it runs, and they it.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Players subscribed now.
    pub(crate) live: AtomicUsize,
    /// Players whose connection is over.
    pub(crate) gone: AtomicUsize,
    /// Deliveries so far.
    pub(crate) delivered: AtomicU64,
    /// What to expect; set once, when all have joined.
    pub(crate) plan: OnceLock<Arc<Plan>>,
    /// Whether to end.
    pub(crate) stop: AtomicBool,
}

/// What a crowd leaves behind.
#[derive(Debug)]
pub(crate) struct Result {
    pub(crate) judge: Judge,
    /// First SYN to last subscribe reply.
    pub(crate) connect_ns: u64,
    /// Players of each hunt that subscribed.
    pub(crate) joined: Vec<usize>,
    /// Events jumped over, over all players.
    pub(crate) gaps: u64,
    /// CPU time of this thread between the first event and the end, user and system.
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
}

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Crowd {
    options: Options,
    shared: Arc<Shared>,
    epoll: Epoll,
    players: Vec<Player>,
    judge: Judge,
    joins: Vec<Vec<u8>>,
    /// The upgrade request of each hunt's players.
    requests: Vec<Vec<u8>>,
    joined: Vec<usize>,
    waiting: usize,
    last_joined_ns: u64,
}

impl Crowd {
    /// A crowd that has connected nobody yet.
    pub(crate) fn new(options: &Options, shared: Arc<Shared>) -> anyhow::Result<Crowd> {
        Ok(Crowd {
            shared,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll_create1")?,
            players: Vec::with_capacity(options.players),
            judge: Judge::new(
                (0..options.hunts)
                    .map(|hunt| hunt_name(options, hunt))
                    .collect(),
            ),
            joins: (0..options.players)
                .map(|player| join_commands(options, player))
                .collect::<anyhow::Result<_>>()?,
            requests: (0..options.hunts)
                .map(|hunt| upgrade(options, hunt))
                .collect(),
            joined: vec![0; options.hunts],
            waiting: 0,
            last_joined_ns: 0,
            options: options.clone(),
        })
    }

    /// Connects everyone and reads until told to stop.
    pub(crate) fn run(mut self) -> anyhow::Result<Result> {
        let mut buffer = vec![0; READ_BYTES];
        let mut events = vec![EpollEvent::empty(); EVENTS];
        let started_ns = now_ns();
        let mut cpu_before = (0, 0);
        while !self.shared.stop.load(Relaxed) {
            self.open_some()?;
            let ready = match self.epoll.wait(&mut events, EpollTimeout::from(WAIT_MS)) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error).context("epoll_wait"),
            };
            if !self.judge.has_plan()
                && let Some(plan) = self.shared.plan.get()
            {
                self.judge.begin(Arc::clone(plan));
                cpu_before = thread_cpu_us()?;
            }
            for event in &events[..ready] {
                self.on_ready(event, &mut buffer)?;
            }
            self.shared
                .delivered
                .store(self.judge.tally.delivered, Relaxed);
        }
        let (user_us, system_us) = thread_cpu_us()?;
        Ok(Result {
            connect_ns: self.last_joined_ns.saturating_sub(started_ns),
            gaps: self
                .players
                .iter()
                .map(|player| player.missing() as u64)
                .sum(),
            user_us: user_us.saturating_sub(cpu_before.0),
            system_us: system_us.saturating_sub(cpu_before.1),
            judge: self.judge,
            joined: self.joined,
        })
    }

    /// Starts connections while there are players left and handshakes allowed.
    fn open_some(&mut self) -> anyhow::Result<()> {
        while self.players.len() < self.options.players
            && self.waiting < self.options.connect_parallel
        {
            let index = self.players.len();
            let stream = connect_to(self.options.game)?;
            let flags = EpollFlags::EPOLLIN
                | EpollFlags::EPOLLOUT
                | EpollFlags::EPOLLRDHUP
                | EpollFlags::EPOLLET;
            self.epoll
                .add(&stream, EpollEvent::new(flags, index as u64))
                .with_context(|| format!("epoll_ctl of fd {}", stream.as_raw_fd()))?;
            let mask = u32::try_from(index).unwrap_or(0) ^ 0x5eed_cafe;
            self.players
                .push(Player::new(stream, index % self.options.hunts, mask));
            self.waiting += 1;
        }
        Ok(())
    }

    fn on_ready(&mut self, event: &EpollEvent, buffer: &mut [u8]) -> anyhow::Result<()> {
        let index = usize::try_from(event.data())?;
        let player = &mut self.players[index];
        let before = player.state();
        let judge = &mut self.judge;
        if before == State::Connecting {
            player.on_connected(&self.requests[player.hunt()], judge);
        }
        let readable = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLHUP
            | EpollFlags::EPOLLERR;
        if event.events().intersects(readable) {
            player.receive(buffer, &self.joins[index], judge);
        }
        let (after, hunt) = (player.state(), player.hunt());
        if before != after {
            self.on_change(before, after, hunt, index);
        }
        Ok(())
    }

    fn on_change(&mut self, before: State, after: State, hunt: usize, index: usize) {
        if after == State::Live {
            self.joined[hunt] += 1;
            self.last_joined_ns = now_ns();
            self.joins[index] = Vec::new();
            self.shared.live.fetch_add(1, Relaxed);
        }
        if after == State::Gone {
            self.shared.gone.fetch_add(1, Relaxed);
        }
        if before == State::Live {
            self.shared.live.fetch_sub(1, Relaxed);
        } else if matches!(after, State::Live | State::Gone) {
            self.waiting -= 1;
        }
    }
}

/// The upgrade request of a player of `hunt`.
fn upgrade(options: &Options, hunt: usize) -> Vec<u8> {
    let path = match options.dialect {
        Dialect::Centrifugo => wire::PATH,
        Dialect::Nchan => &format!("/subscribe/{}", hunt_name(options, hunt)),
    };
    wire::upgrade_request(&options.game.to_string(), path)
}

/// The connect and subscribe commands of one player, in one message as SDKs send them; none where the URL
/// says it all.
pub(crate) fn join_commands(options: &Options, player: usize) -> anyhow::Result<Vec<u8>> {
    if options.dialect == Dialect::Nchan {
        return Ok(Vec::new());
    }
    let mut connect = serde_json::json!({ "name": "swarm" });
    if let Some(secret) = &options.token_secret {
        let expires = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs();
        let claims = serde_json::json!({ "sub": format!("p{player}"), "exp": expires + 86_400 });
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        connect["token"] = jsonwebtoken::encode(&header, &claims, &key)?.into();
    }
    let connect = serde_json::json!({ "id": 1, "connect": connect });
    let channel = hunt_name(options, player % options.hunts);
    let subscribe = serde_json::json!({
        "id": 2, "subscribe": { "channel": channel, "positioned": true, "recoverable": true }
    });
    Ok(format!("{connect}\n{subscribe}").into_bytes())
}

/// A socket whose SYN is out.
pub(crate) fn connect_to(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(family, SockType::Stream, flags, None).context("socket")?;
    // Pongs are tiny and alone: never hold them back.
    setsockopt(&fd, sockopt::TcpNoDelay, &true).context("TCP_NODELAY")?;
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from(fd)),
        Err(error) => Err(error).with_context(|| format!("connect to {address}")),
    }
}

/// User and system time of the calling thread.
fn thread_cpu_us() -> anyhow::Result<(u64, u64)> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let user_us = u64::try_from(usage.user_time().num_microseconds())?;
    let system_us = u64::try_from(usage.system_time().num_microseconds())?;
    Ok((user_us, system_us))
}
