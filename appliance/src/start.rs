//! The order of start-up: what has to exist before what, and what is undone when a step fails.
//!
//! 1. the store is opened (a second appliance on the same directory stops here);
//! 2. rings, logs and records take their memory;
//! 3. the sockets are opened and filled, and only then
//! 4. the XDP program is attached and told of them: no frame is steered to a socket that is not ready;
//! 5. the threads start: journal, data cores, control.
//!
//! Whatever was made is owned by [`Appliance`]; dropping it detaches the program.

use std::thread::JoinHandle;

use anyhow::Context;
use engine::cores::data::{DataCore, Parts};
use engine::cores::mailbox;
use engine::hunt::Hunts;
use engine::hunt::log::Logs;
use engine::journal::JournalCore;
use engine::metrics::catalog::Metric;
use engine::metrics::counters::Counters;
use engine::metrics::histogram::{self, Collector, Recorder};
use engine::ring::broadcast::RECORD_BYTES_MAX;
use engine::ring::bytes::{Reader, Writer, ring};
use engine::ring::submit::SUBMISSION_BYTES_MAX;
use engine::session::rules::{ChannelRules, Claims, Rules, TokenError, Verify};
use engine::session::{Sessions, Submit};
use engine::tcp::{self, Tcp};
use engine::units::Micros;
use xdp_prog::port::{self, PortConfig, XskPort};
use xdp_prog::steering::Steering;

use crate::config::{self, Config};
use crate::cores::{Life, data, journal};
use crate::doorbell::Doorbell;
use crate::plan::{BROADCAST_RING_BYTES, DataPlan, Plan, SUBMIT_RING_BYTES};
use crate::region;
