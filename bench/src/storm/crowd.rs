//! Players of one hunt on one thread: one edge-triggered epoll, one read buffer, a heap of attempts.
//!
//! Does what the orders say and reports on the board, both once a turn. Joining goes on a bounded number
//! at a time; returning is not bounded, that is the storm.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::options::Options;
use super::player::{Player, State, Tally};
use crate::dice::Dice;
use crate::swarm::{connect_to, now_ns, wire};

/// Holds any reply; one for the whole crowd, so it stays in the cache.
const READ_BYTES: usize = 256 * 1_024;
/// Readiness taken from the kernel at once.
const EVENTS: usize = 1_024;
/// How late an order may be noticed, in milliseconds.
const WAIT_MS: u8 = 5;
/// Handshakes under way at once while the crowd joins for the first time.
const JOINS_PARALLEL: usize = 128;
/// What SDKs wait before they try again: this, doubled with every attempt, at random, up to the other.
const RETRY_MS_MIN: u64 = 500;
const RETRY_MS_MAX: u64 = 20_000;

/// What a crowd has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// Connect and stay.
    #[default]
    Join,
    /// Cut every connection.
    Cut,
    /// Connect again, all at once.
    Return,
    /// End.
    Stop,
}

/// Orders and what became of them.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) phase: Phase,
    /// The offset every player has to reach.
    pub(super) target: u64,
    /// Players subscribed.
    pub(super) live: usize,
    /// Players that have reached `target`, as it was when this was written; when the last did.
    pub(super) reached: usize,
    pub(super) reached_target: u64,
    pub(super) reached_ns: u64,
    /// When the first SYN of the return went out.
    pub(super) returned_ns: u64,
}

/// A board that two threads share.
pub(super) type Shared = Arc<Mutex<Board>>;

/// The board; a thread that died with it in its hands left it whole.
pub(super) fn look(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the file's header.
#[derive(Debug)]
pub(super) struct Crowd {
    options: Options,
    channel: String,
    board: Shared,
    epoll: Epoll,
    players: Vec<Player>,
    /// Who tries what comes next for it, and when.
    attempts: BinaryHeap<Reverse<(u64, usize)>>,
    request: Vec<u8>,
    dice: Dice,
    tally: Tally,
    phase: Phase,
    target: u64,
    reached: usize,
    reached_ns: u64,
}

impl Crowd {
    /// `count` players of `channel`, none connected yet. `keeps_latencies` for the crowd that is measured.
    pub(super) fn new(
        options: &Options,
        channel: &str,
        count: usize,
        keeps_latencies: bool,
        board: Shared,
    ) -> anyhow::Result<Crowd> {
        let masks = 1_u32..;
        Ok(Crowd {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll_create1")?,
            players: masks.take(count).map(Player::new).collect(),
            attempts: (0..count).map(|index| Reverse((0, index))).collect(),
            request: wire::upgrade_request(&options.game.to_string(), wire::PATH),
            dice: Dice::new(0x5707),
            tally: Tally {
                latencies: keeps_latencies.then(Vec::new),
                ..Tally::default()
            },
            phase: Phase::Join,
            target: 0,
            reached: 0,
            reached_ns: 0,
            channel: channel.to_owned(),
            options: options.clone(),
            board,
        })
    }

    /// Follows the orders until they are to stop.
    pub(super) fn run(mut self) -> anyhow::Result<Tally> {
        if self.tally.latencies.is_some() {
            raise_priority();
        }
        let mut buffer = vec![0; READ_BYTES];
        let mut events = vec![EpollEvent::empty(); EVENTS];
        loop {
            self.obey()?;
            if self.phase == Phase::Stop {
                return Ok(self.tally);
            }
            self.attempt()?;
            let ready = match self.epoll.wait(&mut events, EpollTimeout::from(WAIT_MS)) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error).context("epoll_wait"),
            };
            for event in &events[..ready] {
                self.on_ready(event, &mut buffer)?;
            }
        }
    }

    /// Takes new orders, and says how far the crowd is.
    fn obey(&mut self) -> anyhow::Result<()> {
        let board = Arc::clone(&self.board);
        let mut board = look(&board);
        if board.target != self.target {
            self.target = board.target;
            self.reached = self.count(|player| player.next > self.target);
            self.reached_ns = now_ns();
        }
        if board.phase != self.phase {
            self.phase = board.phase;
            match self.phase {
                Phase::Cut => {
                    self.attempts.clear();
                    self.players.iter_mut().try_for_each(Player::cut)?;
                }
                Phase::Return => {
                    board.returned_ns = now_ns();
                    self.attempts = (0..self.players.len())
                        .map(|index| Reverse((0, index)))
                        .collect();
                }
                Phase::Join | Phase::Stop => {}
            }
        }
        board.live = self.count(|player| player.state == State::Live);
        board.reached = self.reached;
        board.reached_target = self.target;
        board.reached_ns = self.reached_ns;
        Ok(())
    }

    fn count(&self, holds: impl Fn(&Player) -> bool) -> usize {
        self.players.iter().filter(|player| holds(player)).count()
    }

    /// Lets everyone act whose time has come.
    fn attempt(&mut self) -> anyhow::Result<()> {
        let mut room = match self.phase {
            Phase::Join => JOINS_PARALLEL.saturating_sub(self.count(|player| {
                matches!(
                    player.state,
                    State::Connecting | State::Upgrading | State::Joining
                )
            })),
            _ => usize::MAX,
        };
        let now = now_ns();
        while room > 0
            && let Some(Reverse((due_ns, index))) = self.attempts.peek().copied()
            && due_ns <= now
        {
            self.attempts.pop();
            room -= 1;
            let player = &mut self.players[index];
            if player.state == State::Refused {
                player.subscribe(&self.channel, &mut self.tally);
                continue;
            }
            let stream = connect_to(self.options.game)?;
            let flags = EpollFlags::EPOLLIN
                | EpollFlags::EPOLLOUT
                | EpollFlags::EPOLLRDHUP
                | EpollFlags::EPOLLET;
            self.epoll
                .add(&stream, EpollEvent::new(flags, index as u64))
                .context("epoll_ctl")?;
            player.connect(stream);
        }
        Ok(())
    }

    fn on_ready(&mut self, event: &EpollEvent, buffer: &mut [u8]) -> anyhow::Result<()> {
        let index = usize::try_from(event.data())?;
        let player = &mut self.players[index];
        let had_reached = player.next > self.target;
        let before = player.state;
        if before == State::Connecting {
            player.on_connected(&self.request, &mut self.tally);
        }
        player.receive(buffer, &self.channel, &mut self.tally);
        if !had_reached && player.next > self.target {
            self.reached += 1;
            self.reached_ns = now_ns();
        }
        let failed = matches!(player.state, State::Away | State::Refused);
        if failed && before != player.state {
            let delay_ns = self.dice.delay_ns(player.attempts);
            player.attempts += 1;
            self.attempts.push(Reverse((now_ns() + delay_ns, index)));
        }
        Ok(())
    }
}

/// The players that are measured do not wait for the CPU behind those of the storm, which in truth are on
/// ten thousand other machines. Where it is not allowed, they wait.
fn raise_priority() {
    let thread = nix::unistd::gettid().to_string();
    let _ = Command::new("renice")
        .args(["-n", "-20", "-p", &thread])
        .output();
}

impl Dice {
    /// How long a player waits that failed `attempts` times before.
    fn delay_ns(&mut self, attempts: u32) -> u64 {
        let most = (RETRY_MS_MIN << attempts.min(6)).min(RETRY_MS_MAX);
        let delay_ms = RETRY_MS_MIN + self.below(most);
        delay_ms.min(RETRY_MS_MAX) * 1_000_000
    }
}
