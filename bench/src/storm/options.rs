//! What can be asked of a storm on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Cuts a crowd of players off, lets them all return at once and checks what each recovers.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "storm", version, args_override_self = true)]
pub struct Options {
    /// Where players connect.
    #[arg(long, default_value = "10.77.0.1:8000")]
    pub game: SocketAddr,
    /// The admin API.
    #[arg(long, default_value = "10.77.0.1:9000")]
    pub admin: SocketAddr,
    /// Key for the admin API.
    #[arg(long, default_value = "")]
    pub api_key: String,
    /// The hunts are called this and "storm" or "others"; they must be new.
    #[arg(long, default_value = "hunt:")]
    pub hunt_prefix: String,
    /// Players that are cut off and return; anonymous ones, like the others.
    #[arg(long, default_value_t = 10_000)]
    pub players: usize,
    /// Events they miss.
    #[arg(long, default_value_t = 50)]
    pub missed: u64,
    /// Events a second that their hunt gets while they return.
    #[arg(long, default_value_t = 2.0)]
    pub rate: f64,
    /// Players of the other hunt, which stay.
    #[arg(long, default_value_t = 500)]
    pub others: usize,
    /// Events a second for those.
    #[arg(long, default_value_t = 50.0)]
    pub others_rate: f64,
    /// Bytes of padding in an event.
    #[arg(long, default_value_t = 100)]
    pub bytes: usize,
    /// How long the calm before the storm is measured, in seconds.
    #[arg(long, default_value_t = 5.0)]
    pub calm_s: f64,
    /// Seconds until all have joined, and until all have recovered.
    #[arg(long, default_value_t = 60.0)]
    pub patience_s: f64,
    /// The appliance's process, to tell its CPU time.
    #[arg(long)]
    pub pid: Option<u32>,
    /// Write the report here as JSON too.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Exit with 1 also when the others' p99 in the storm is more than so many times that before it.
    #[arg(long)]
    pub ratio_max: Option<f64>,
}
