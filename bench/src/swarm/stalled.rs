//! Players that subscribe and then read nothing: their receive windows close and stay closed.
//!
//! They join one after the other on plain blocking sockets before the crowd does, and take no part in
//! what is expected. When the run is over they read what is left, and each is asked what became of
//! it: closed with the code for the slow, reset, or still there.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::Context;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt,
};
use serde::Serialize;

use super::options::Options;
use super::wire::{self, Frame, Upgrade};

/// Asks for the smallest receive buffer there is, so that the window closes within a few events.
const RECEIVE_BUFFER_BYTES: usize = 1;
/// How long an answer to the handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a stalled player can have in its receive buffer, generously.
const LEFT_BYTES_MAX: usize = 1 << 20;

/// What became of the stalled players.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Fates {
    /// How many were asked for.
    pub(crate) asked: usize,
    /// How many subscribed before they stalled.
    pub(crate) subscribed: usize,
    /// Still connected at the end.
    pub(crate) alive: u64,
    /// Cut off with a RST, behind a window that never opened.
    pub(crate) reset: u64,
    /// Close frames by code.
    pub(crate) close_codes: BTreeMap<u16, u64>,
    /// Ended in another way.
    pub(crate) other: u64,
}

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Stalled {
    asked: usize,
    streams: Vec<TcpStream>,
}

enum Fate {
    Alive,
    Reset,
    Closed(u16),
    Other,
}

impl Stalled {
    /// Lets all of them join; who is refused is missing from `subscribed`.
    pub(crate) fn join(options: &Options) -> anyhow::Result<Stalled> {
        let mut streams = Vec::with_capacity(options.stalled);
        for index in 0..options.stalled {
            let command = super::crowd::join_commands(options, index)?;
            match join(options, &command) {
                Ok(stream) => streams.push(stream),
                Err(error) => eprintln!("stalled player {index}: {error:#}"),
            }
        }
        Ok(Stalled {
            asked: options.stalled,
            streams,
        })
    }

    /// Reads what each has left and closes it.
    pub(crate) fn finish(self) -> Fates {
        let mut fates = Fates {
            asked: self.asked,
            subscribed: self.streams.len(),
            ..Fates::default()
        };
        for stream in self.streams {
            match fate(stream) {
                Fate::Alive => fates.alive += 1,
                Fate::Reset => fates.reset += 1,
                Fate::Closed(code) => *fates.close_codes.entry(code).or_default() += 1,
                Fate::Other => fates.other += 1,
            }
        }
        fates
    }
}

impl Fates {
    /// All had joined, and none was left alone or ended in a way that is no policy.
    pub(crate) fn are_just(&self) -> bool {
        let cut = self.reset + self.close_codes.get(&3008).copied().unwrap_or(0);
        self.subscribed == self.asked && cut == self.asked as u64
    }
}

fn join(options: &Options, command: &[u8]) -> anyhow::Result<TcpStream> {
    let family = if options.game.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).context("socket")?;
    setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES).context("SO_RCVBUF")?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(options.game)).context("connect")?;
    let mut stream = TcpStream::from(fd);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&wire::upgrade_request(
        &options.game.to_string(),
        wire::PATH,
    ))?;
    let mut bytes = Vec::new();
    let upgraded = loop {
        match wire::parse_upgrade(&bytes) {
            Upgrade::Accepted(length) => break length,
            Upgrade::Refused => anyhow::bail!("the upgrade was refused"),
            Upgrade::Wait => read_more(&mut stream, &mut bytes)?,
        }
    };
    bytes.drain(..upgraded);
    let mut frame = Vec::new();
    wire::emit(1, command, [1, 2, 3, 4], &mut frame);
    stream.write_all(&frame)?;
    // The subscribe reply is the last thing it reads.
    while memchr::memmem::find(&bytes, br#""subscribe""#).is_none() {
        read_more(&mut stream, &mut bytes)?;
    }
    Ok(stream)
}

fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut part = [0; 1_024];
    let read = stream.read(&mut part).context("read")?;
    anyhow::ensure!(read > 0, "closed in the handshake");
    bytes.extend_from_slice(&part[..read]);
    Ok(())
}

fn fate(mut stream: TcpStream) -> Fate {
    if stream.set_nonblocking(true).is_err() {
        return Fate::Other;
    }
    let (mut bytes, mut part) = (Vec::new(), [0; 4_096]);
    while bytes.len() < LEFT_BYTES_MAX {
        match stream.read(&mut part) {
            Ok(0) => return last_close(&bytes).map_or(Fate::Other, Fate::Closed),
            Ok(read) => bytes.extend_from_slice(&part[..read]),
            Err(error) => {
                return match (last_close(&bytes), error.kind()) {
                    (Some(code), _) => Fate::Closed(code),
                    (None, ErrorKind::WouldBlock) => Fate::Alive,
                    (None, ErrorKind::ConnectionReset) => Fate::Reset,
                    (None, _) => Fate::Other,
                };
            }
        }
    }
    Fate::Other
}

/// The code of a close frame among whole frames.
fn last_close(mut bytes: &[u8]) -> Option<u16> {
    while let Ok(Some((frame, length))) = wire::parse(bytes) {
        if let Frame::Close(code) = frame {
            return Some(code);
        }
        bytes = &bytes[length..];
    }
    None
}
