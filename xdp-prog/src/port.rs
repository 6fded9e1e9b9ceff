//! One NIC queue as an AF_XDP socket: the engine's `Port` on real hardware.
//!
//! Owns the UMEM: one half of the frames goes round between the fill and the receive ring, the other
//! between the send and the completion ring, so neither direction can starve the other. The kernel
//! owns a frame from `produce` until it comes out of the matching ring; in between nobody here has
//! its descriptor. That is what the `unsafe` below rests on.
//!
//! No system call per frame: one `sendto` starts a whole batch, and only if the driver asks for it
//! (need-wakeup). Linux: Documentation/networking/af_xdp.rst.

use std::io;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use engine::port::{FRAME_BYTES_MAX, Port, PortStats, RECEIVE_BATCH};
use nix::sys::socket::{MsgFlags, recv};
use xsk_rs::config::{
    BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig,
};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem};

use crate::error::{BIND_ZERO_COPY, Error, remedy};
use crate::queues::rx_queues;
use crate::xsk::options;

/// Bytes of a UMEM frame: a huge page holds 512.
const FRAME_SIZE: u32 = 4096;
const HUGE_PAGE_SIZE: u32 = 2 << 20;

/// Frames: one batch in our hands and one with the kernel each way at least, 1 GiB at most.
const FRAMES: RangeInclusive<u32> = 256..=1 << 18;

/// How long a predecessor that is still going may hold the queue.
const BUSY_MAX: Duration = Duration::from_secs(2);

/// Kicks of one flush at most: the kernel sends a bounded number of frames a kick.
const KICKS_MAX: u32 = 16;

/// Whether frames are shared with the NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroCopy {
    /// If the driver can; copy mode with a warning otherwise.
    Auto,
    /// Or not at all.
    Require,
    /// Never.
    Off,
}

/// How to open a port.
#[derive(Debug, Clone, Copy)]
pub struct PortConfig {
    /// UMEM frames of 4 KiB, a power of two from 256 to 262,144; half for each direction.
    pub frames: u32,
    /// Bind mode.
    pub zero_copy: ZeroCopy,
    /// Drive the NIC from this thread's system calls instead of from interrupts.
    pub busy_poll: bool,
}

/// An AF_XDP socket.
pub struct XskPort {
    umem: Umem,
    fill: FillQueue,
    completion: CompQueue,
    rx: RxQueue,
    tx: TxQueue,
    /// Frames of the last `receive`; the first `held` count.
    received: Vec<FrameDesc>,
    held: usize,
    /// Frames released that the fill ring has not taken.
    refill: Vec<FrameDesc>,
    /// Receive frames in the fill ring, with the kernel or in the receive ring.
    receiving: usize,
    /// Frames that may be written.
    free: Vec<FrameDesc>,
    /// Frames written since the last flush.
    written: Vec<FrameDesc>,
    /// Frames in the send ring, with the kernel or in the completion ring.
    sending: usize,
    /// Scratch for the completion ring.
    completed: Vec<FrameDesc>,
    /// Entries of the send ring.
    tx_entries: u32,
    busy_poll: bool,
    zero_copy: bool,
    /// Frames the last flush left in the send ring.
    left: u32,
    stats: PortStats,
}

impl std::fmt::Debug for XskPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (zero_copy, stats) = (self.zero_copy, self.stats);
        f.debug_struct("XskPort")
            .field("zero_copy", &zero_copy)
            .field("stats", &stats)
            .finish()
    }
}

impl XskPort {
    /// Opens a socket on `queue` of `interface` and gives the NIC all its receive buffers.
    pub fn open(interface: &str, queue: u32, config: &PortConfig) -> Result<XskPort, Error> {
        let queues = rx_queues(interface)?;
        if queue >= queues {
            return Err(Error::NoQueue {
                interface: interface.to_owned(),
                queue,
                queues,
            });
        }
        if config.zero_copy != ZeroCopy::Off {
            match open_with(interface, queue, config, BindFlags::XDP_ZEROCOPY) {
                Ok(port) => return Ok(port),
                Err(error) if config.zero_copy == ZeroCopy::Require => return Err(error),
                // Without rights, or while another has the queue, copy mode fares no better.
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!("{error}");
                    tracing::warn!("{interface} queue {queue}: copy mode instead of zero-copy");
                }
            }
        }
        open_with(interface, queue, config, BindFlags::XDP_COPY)
    }

    /// Whether the kernel says that the socket is in zero-copy mode.
    pub fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Frames accounted for, receiving and sending: half of all each, at any time. For tests.
    pub fn frames(&self) -> (usize, usize) {
        let receiving = self.receiving + self.held + self.refill.len();
        (
            receiving,
            self.sending + self.written.len() + self.free.len(),
        )
    }

    /// One system call that lets the kernel receive.
    fn wake_receive(&mut self) {
        self.stats.kicks += 1;
        // recvfrom and not poll: only it polls the NIC when busy polling. Nothing to do about a
        // failure: the next turn tries again.
        let _ = recv(self.rx.fd().as_raw_fd(), &mut [], MsgFlags::MSG_DONTWAIT);
    }

    /// Takes what has been received.
    fn consume(&mut self) -> usize {
        // SAFETY: descriptors come from the ring of this socket, whose UMEM is ours.
        self.held = unsafe { self.rx.consume(&mut self.received) };
        if (1..RECEIVE_BATCH).contains(&self.held) {
            // It looks at what the kernel has added only once it has given all it knew of.
            let rest = &mut self.received[self.held..];
            // SAFETY: as above.
            self.held += unsafe { self.rx.consume(rest) };
        }
        self.receiving -= self.held;
        self.held
    }

    /// Gives the kernel all released frames to receive into, or none: it publishes late what it has
    /// taken out of the fill ring. What stays here is tried again with the next release.
    fn fill(&mut self) {
        // SAFETY: these frames came out of the receive ring and nobody reads them any more.
        let given = unsafe { self.fill.produce(&self.refill) };
        if given > 0 {
            self.receiving += given;
            self.refill.clear();
        }
    }

    /// Entries of the send ring that the kernel has not taken.
    fn unsent(&mut self) -> u32 {
        self.tx_entries - self.tx.nb_free_exact().min(self.tx_entries)
    }
}

impl AsFd for XskPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // JUSTIFICATION: the crate gives its descriptor as a number only.
        // SAFETY: the socket lives as long as the queues, which `self` owns.
        unsafe { BorrowedFd::borrow_raw(self.tx.fd().as_raw_fd()) }
    }
}

impl Port for XskPort {
    fn receive(&mut self) -> usize {
        // A caller that forgets must not leak frames.
        self.release();
        // A driver that found the fill ring empty waits to be told that it no longer is.
        if self.consume() == 0 && (self.busy_poll || self.fill.needs_wakeup()) {
            self.wake_receive();
            self.consume();
        }
        self.stats.rx_frames += self.held as u64;
        self.held
    }

    fn rx(&mut self, index: usize) -> &mut [u8] {
        debug_assert!(index < self.held, "only frames of the last receive");
        let frame = &mut self.received[index];
        let length = frame.lengths().data();
        // JUSTIFICATION: the frames lie in memory shared with the kernel.
        // SAFETY: the frame came out of the receive ring and has not been given back, so the kernel
        // does not touch it; `&mut self` keeps it from being lent twice.
        let mut data = unsafe { self.umem.data_mut(frame) };
        data.cursor().set_pos(length);
        // The slice lives in the UMEM, not in `data`; it is bounded by the borrow of `self`.
        let bytes: *mut [u8] = data.contents_mut();
        // SAFETY: the UMEM outlives `&mut self`, and nobody else has this frame.
        unsafe { &mut *bytes }
    }

    fn release(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.refill.extend_from_slice(&self.received[..held]);
        if self.refill.is_empty() {
            return;
        }
        self.fill();
        if self.fill.needs_wakeup() {
            self.wake_receive();
        }
    }

    fn tx_room(&self) -> usize {
        self.free.len()
    }

    fn send(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let Some(mut frame) = self.free.pop() else {
            return false;
        };
        // SAFETY: the frame is on our free list, so the kernel does not have it.
        let mut data = unsafe { self.umem.data_mut(&mut frame) };
        data.cursor().set_pos(FRAME_BYTES_MAX);
        let length = fill(data.contents_mut()).min(FRAME_BYTES_MAX);
        data.cursor().set_pos(length);
        if length == 0 {
            self.free.push(frame);
        } else {
            self.written.push(frame);
            self.stats.tx_frames += 1;
        }
        true
    }

    fn has_unsent(&self) -> bool {
        // With zero-copy the NIC takes what lies in the ring by itself.
        !self.written.is_empty() || (self.left > 0 && !self.zero_copy)
    }

    fn flush(&mut self) {
        self.left = 0;
        if !self.written.is_empty() {
            // SAFETY: these frames are in nobody's hands but ours. All of them go or none, as in
            // `fill`; none stay here until the next flush.
            let given = unsafe { self.tx.produce(&self.written) };
            if given > 0 {
                self.sending += given;
                self.written.clear();
            }
        }
        if self.sending == 0 {
            return;
        }
        self.left = self.unsent();
        for _ in 0..KICKS_MAX {
            if self.left == 0 || !self.tx.needs_wakeup() {
                return;
            }
            self.stats.kicks += 1;
            // Errors (a full driver queue, an interface that is down) leave the frames in the ring.
            let _ = self.tx.wakeup();
            let before = self.left;
            self.left = self.unsent();
            // In zero-copy mode the NIC goes on by itself.
            if before == self.left || self.zero_copy {
                return;
            }
        }
    }

    fn complete(&mut self) {
        // SAFETY: descriptors come from the completion ring of this socket.
        let count = unsafe { self.completion.consume(&mut self.completed) };
        self.sending -= count;
        self.free.extend_from_slice(&self.completed[..count]);
    }

    fn stats(&mut self) -> PortStats {
        if let Ok(statistics) = self.tx.fd().xdp_statistics() {
            // An empty fill ring counts tries, not frames, and in copy mode is `rx_dropped` again.
            self.stats.rx_dropped = statistics.rx_dropped() + statistics.rx_ring_full();
            self.stats.tx_invalid = statistics.tx_invalid_descs();
        }
        self.stats
    }
}

/// Opens with one bind mode, waiting for a predecessor that is still going.
fn open_with(
    interface: &str,
    queue: u32,
    config: &PortConfig,
    mode: BindFlags,
) -> Result<XskPort, Error> {
    let until = Instant::now() + BUSY_MAX;
    loop {
        match try_open(interface, queue, config, mode) {
            Err(Error::Port { source, .. })
                if source.raw_os_error() == Some(libc::EBUSY) && Instant::now() < until =>
            {
                sleep(Duration::from_millis(50));
            }
            done => return done,
        }
    }
}

fn try_open(
    interface: &str,
    queue: u32,
    config: &PortConfig,
    mode: BindFlags,
) -> Result<XskPort, Error> {
    let fail = |step, source: io::Error| Error::Port {
        interface: interface.to_owned(),
        queue,
        step,
        remedy: remedy(step, &source),
        source,
    };
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    if !config.frames.is_power_of_two() || !FRAMES.contains(&config.frames) {
        let what = format!("{} is no power of two from 256 to 262144", config.frames);
        return Err(fail("use game.frames", invalid(what)));
    }
    // One half of the frames each way; twice the room in each ring, because the kernel publishes late
    // what it has taken out.
    let entries = QueueSize::new(config.frames)
        .map_err(|error| fail("use game.frames", invalid(error.to_string())))?;
    let (umem, mut frames) =
        map_umem(interface, config.frames, entries).map_err(|source| fail("map frames", source))?;
    let socket_config = SocketConfig::builder()
        .rx_queue_size(entries)
        .tx_queue_size(entries)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(mode | BindFlags::XDP_USE_NEED_WAKEUP)
        .build();
    let name: Interface = interface
        .parse()
        .map_err(|_| Error::NoInterface(interface.to_owned()))?;
    // JUSTIFICATION: the crate marks opening unsafe for shared UMEMs.
    // SAFETY: the UMEM is not shared and libxdp loads no program.
    let opened = unsafe { Socket::new(socket_config, &umem, &name, queue) };
    let step = if mode.contains(BindFlags::XDP_ZEROCOPY) {
        BIND_ZERO_COPY
    } else {
        "bind"
    };
    let (tx, rx, rings) = opened.map_err(|error| fail(step, cause(&error)))?;
    let (fill, completion) = rings.ok_or_else(|| {
        fail(
            step,
            invalid("no fill ring came with the socket".to_owned()),
        )
    })?;

    let free = frames.split_off(frames.len() / 2);
    let blank = free[0];
    let mut port = XskPort {
        umem,
        fill,
        completion,
        rx,
        tx,
        received: vec![blank; RECEIVE_BATCH],
        held: 0,
        refill: frames,
        receiving: 0,
        sending: 0,
        written: Vec::with_capacity(free.len()),
        completed: vec![blank; free.len()],
        free,
        tx_entries: config.frames,
        busy_poll: false,
        zero_copy: false,
        left: 0,
        stats: PortStats::default(),
    };
    port.zero_copy =
        options::zerocopy(port.as_fd()).map_err(|source| fail("read back the mode", source))?;
    set_options(
        &mut port,
        &format!("{interface} queue {queue}"),
        config.busy_poll,
    );
    port.fill();
    Ok(port)
}

/// Frames on huge pages, or on ordinary ones with a warning.
fn map_umem(
    interface: &str,
    frames: u32,
    entries: QueueSize,
) -> io::Result<(Umem, Vec<FrameDesc>)> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    let count = NonZeroU32::new(frames).ok_or_else(|| invalid("no frames".to_owned()))?;
    let size = FrameSize::new(FRAME_SIZE).map_err(|error| invalid(error.to_string()))?;
    let config = UmemConfig::builder()
        .frame_size(size)
        .fill_queue_size(entries)
        .comp_queue_size(entries)
        .build()
        .map_err(|error| invalid(error.to_string()))?;
    // A mapping of huge pages must be whole pages long, or it cannot be unmapped.
    if !(frames * FRAME_SIZE).is_multiple_of(HUGE_PAGE_SIZE) {
        return Umem::new(config, count, false).map_err(|error| cause(&error));
    }
    match Umem::new(config, count, true) {
        Ok(done) => Ok(done),
        Err(error) => {
            let pages = (u64::from(frames) * u64::from(FRAME_SIZE)).div_ceil(2 << 20);
            tracing::warn!(
                "{interface}: no huge pages for the frames of a queue ({}): ordinary pages instead, \
                 slower. Reserve {pages} more of 2 MiB: hugepage-setup --pages N",
                cause(&error)
            );
            Umem::new(config, count, false).map_err(|error| cause(&error))
        }
    }
}

/// The operating system's error behind one of the crate's.
fn cause(error: &dyn std::error::Error) -> io::Error {
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    match source.and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(error.to_string()),
    }
}

/// Whether the error stands in the way of copy mode too.
fn is_final(error: &Error) -> bool {
    let Error::Port { source, .. } = error else {
        return true;
    };
    matches!(
        source.raw_os_error(),
        Some(libc::EPERM | libc::EACCES | libc::EBUSY | libc::ENODEV)
    )
}

/// Options that make it faster where the kernel has them; none of them is needed.
fn set_options(port: &mut XskPort, name: &str, busy_poll: bool) {
    let budget = port.tx_entries / 2;
    if let Err(error) = options::tx_budget(port.as_fd(), budget) {
        tracing::info!("{name}: 32 frames a system call ({error}); Linux 6.17 takes {budget}");
    }
    if busy_poll {
        match options::prefer_busy_poll(port.as_fd()) {
            Ok(()) => port.busy_poll = true,
            Err(error) => tracing::warn!("{name}: no busy polling ({error}), interrupts instead"),
        }
    }
}
