//! What the appliance counts: one catalogue ([`catalog`]), one set of cells a core ([`counters`]),
//! one latency histogram a core ([`histogram`]).

pub mod catalog;
pub mod counters;
pub mod histogram;
