//! Where frames enter and leave a data core: one queue of a NIC.
//!
//! Below stands an AF_XDP socket (`xdp-prog`) or the in-memory NIC ([`memory`]); above stands
//! `core::data`. The port owns the frame memory. A received frame belongs to the caller from
//! `receive` to `release`; a sent frame is written in place by the caller, once.
//!
//! Invariants: `rx(i)` is valid for `i < receive()` until `release`. Nothing here blocks. A port
//! never reorders.
//!
//! Faults, tracing and capture are wrappers that implement the same trait.

pub mod memory;

/// Frames moved between two looks at the rest of the core: large enough to amortise ring costs and
/// kicks, small enough that timers and broadcasts are not late (64 frames are about 10 us of work).
pub const RECEIVE_BATCH: usize = 64;

/// Longest frame the engine writes: 1500 bytes of IP, Ethernet header and one VLAN tag.
pub const FRAME_BYTES_MAX: usize = 1518;

/// What a port has counted since it was opened. Numbers only rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames handed up by `receive`.
    pub rx_frames: u64,
    /// Frames accepted by `send`.
    pub tx_frames: u64,
    /// Frames the kernel or the NIC dropped before `receive` (ring full, no buffer, invalid).
    pub rx_dropped: u64,
    /// Descriptors that the kernel refused to send.
    pub tx_invalid: u64,
    /// System calls made to start sending or receiving.
    pub kicks: u64,
}

/// One NIC queue, both directions.
pub trait Port {
    /// Takes up to [`RECEIVE_BATCH`] received frames; returns how many `rx` may name. Fewer than a
    /// batch: that was all that had arrived. Call `release` before the next `receive`.
    fn receive(&mut self) -> usize;

    /// The `index`th frame of the last `receive`, from the Ethernet header on. Writable: the
    /// WebSocket layer unmasks in place.
    fn rx(&mut self, index: usize) -> &mut [u8];

    /// Gives the frames of the last `receive` back to the NIC.
    fn release(&mut self);

    /// Frames that `send` will accept before it answers false.
    fn tx_room(&self) -> usize;

    /// Writes one frame: `fill` gets a buffer of at least [`FRAME_BYTES_MAX`] bytes and returns the
    /// frame's length; 0 gives the buffer back unsent. Answers false, without calling `fill`, when
    /// there is no room.
    fn send(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> bool;

    /// Hands all frames sent since the last flush to the NIC, with one kick if it needs one.
    fn flush(&mut self);

    /// Whether frames wait that the last flush could not hand over; nothing but another flush will.
    fn has_unsent(&self) -> bool;

    /// Takes back the buffers of frames that have left.
    fn complete(&mut self);

    /// What was counted so far.
    fn stats(&mut self) -> PortStats;
}
