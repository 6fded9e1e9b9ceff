//! Between the wire and a data core: the XDP program that steers game traffic, its loader, and the
//! AF_XDP socket behind the engine's `Port`.
//!
//! [`steering`] attaches `bpf/steer.bpf.c` and tells it which socket serves which queue; [`port`] is
//! one such socket; [`error`] says what is wrong and what helps, [`diagnose`] what an interface can do before any
//! of it is tried.

pub mod diagnose;
pub mod error;
pub mod port;
mod queues;
pub mod steering;
pub mod verdict;
mod xsk;
