//! The server of comparison: a WebSocket echo on the kernel's TCP, a thread a connection, in the
//! namespace of the thread that starts it. Proper in what the cases look at: it answers a bad request
//! before it closes, closes TCP first after a close frame, and never closes on unread bytes (which
//! would make a RST of it).

use std::env;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};

use super::net::Net;
use super::ws;
use crate::world::{World, shell};

/// Longest request, as the appliance has it.
const REQUEST_BYTES_MAX: usize = 4096;

/// Serves until the process ends; gives the count of open connections.
pub fn serve(address: &str) -> Arc<AtomicU64> {
    let listener = TcpListener::bind(address).unwrap();
    // The library's 128 are too few when hundreds connect at once.
    listen(&listener, Backlog::new(4096).unwrap()).unwrap();
    let open = Arc::new(AtomicU64::new(0));
    let count = open.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A peer that was reset before it was accepted.
            let Ok(stream) = stream else { continue };
            let count = count.clone();
            count.fetch_add(1, Ordering::Relaxed);
            let serve = move || {
                let _ = talk(stream);
                count.fetch_sub(1, Ordering::Relaxed);
            };
            let small = thread::Builder::new().stack_size(128 << 10);
            small.spawn(serve).unwrap();
        }
    });
    open
}

fn talk(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // Urgent bytes stay in the stream (RFC 9293 3.8.5).
    setsockopt(&stream, sockopt::OobInline, &true)?;
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if bytes.len() > REQUEST_BYTES_MAX || !read(&mut stream, &mut bytes)? {
            return refuse(&mut stream);
        }
    };
    if bytes[..end] != *ws::REQUEST {
        return refuse(&mut stream);
    }
    bytes.drain(..end);
    stream.write_all(ws::ANSWER)?;
    loop {
        while let Some((first, payload, length)) = ws::parse(&bytes) {
            bytes.drain(..length);
            match first & 0x0f {
                8 => {
                    stream.write_all(&ws::unmasked(0x88, &payload))?;
                    return finish(&mut stream);
                }
                9 => stream.write_all(&ws::unmasked(0x8a, &payload))?,
                10 => {}
                _ => stream.write_all(&ws::unmasked(first, &payload))?,
            }
        }
        if !read(&mut stream, &mut bytes)? {
            return finish(&mut stream);
        }
    }
}

/// Reads some more; false at the end.
fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut piece = [0; 16_384];
    let count = stream.read(&mut piece)?;
    bytes.extend(&piece[..count]);
    Ok(count > 0)
}

fn refuse(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
    finish(stream)
}

/// FIN, then whatever the peer still sends (RFC 9112 9.6).
fn finish(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    io::copy(stream, &mut io::sink())?;
    Ok(())
}

/// Starts the server in the calling thread's namespace, which is the appliance's side of `world`, and
/// opens the wire to it. `TCP_SYSCTL` ("net.ipv4.tcp_sack=0 ...") spoils the kernel on purpose, to see
/// that cases fail.
pub fn open(world: &World) -> Net {
    // Segments leave as they are counted, with their checksums.
    let name = &world.appliance;
    shell(&format!(
        "ip netns exec {name} ethtool -K game tx off tso off gso off gro off"
    ));
    for one in env::var("TCP_SYSCTL")
        .unwrap_or_default()
        .split_whitespace()
    {
        shell(&format!("ip netns exec {name} sysctl -qw {one}"));
    }
    let count = serve("10.9.0.1:8000");
    let census = move || count.load(Ordering::Relaxed);
    Net::open(world, Some(Box::new(census)))
}
