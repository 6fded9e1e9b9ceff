//! What can be asked of a swarm on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

/// What the server under test speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// The Centrifugo client protocol and its server API.
    Centrifugo,
    /// nchan's: a hunt is a URL for subscribers and one for publishers, a message is what was posted. The
    /// posted message is a whole push, with offsets counted here, so that it is judged like any other.
    Nchan,
}

/// A crowd of WebSocket players that checks every event, and an open-loop publisher.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "swarm", version, args_override_self = true)]
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
    /// What the server speaks.
    #[arg(long, value_enum, default_value = "centrifugo")]
    pub dialect: Dialect,
    /// HS256 secret; each player then connects with its own token, else anonymously.
    #[arg(long)]
    pub token_secret: Option<String>,
    /// How many players.
    #[arg(long, default_value_t = 2_500)]
    pub players: usize,
    /// Further players that subscribe first and then read nothing; with --check, all of them have to be
    /// cut off by the end, with 3008 or a RST.
    #[arg(long, default_value_t = 0)]
    pub stalled: usize,
    /// How many hunts the players are spread over; events go to the hunts in turn.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub hunts: usize,
    /// Hunts are called this and a number.
    #[arg(long, default_value = "hunt:")]
    pub hunt_prefix: String,
    /// Handshakes under way at once.
    #[arg(long, default_value_t = 128, value_parser = at_least_one)]
    pub connect_parallel: usize,
    /// Give up on players that are not subscribed after this many seconds.
    #[arg(long, default_value_t = 30.0)]
    pub connect_timeout_s: f64,
    /// Events a second, over all hunts together.
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// Size of an event's data in bytes.
    #[arg(long, default_value_t = 200, value_parser = payload_bytes)]
    pub bytes: usize,
    /// How long to publish.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// The rate is multiplied by this during the spike.
    #[arg(long, default_value_t = 10.0)]
    pub spike_factor: f64,
    /// Length of the spike in the middle of the run; 0 for none.
    #[arg(long, default_value_t = 500)]
    pub spike_ms: u64,
    /// Connections to the admin API; bounds the publishes that wait for an answer at once.
    #[arg(long, default_value_t = 64, value_parser = at_least_one)]
    pub publishers: usize,
    /// After the last publish: stop when nothing was delivered for this many seconds.
    #[arg(long, default_value_t = 5.0)]
    pub drain_s: f64,
    /// Process id of the appliance, for CPU and memory.
    #[arg(long)]
    pub pid: Option<u32>,
    /// With --pid: the CPU that the server has to itself; what it was busy is reported too.
    #[arg(long, requires = "pid")]
    pub server_cpu: Option<usize>,
    /// Write the report here as JSON too.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write every steady latency here, one line a value: nanoseconds and how often. What several
    /// runs wrote can be added up, which percentiles cannot.
    #[arg(long)]
    pub latencies: Option<PathBuf>,
    /// No progress bar.
    #[arg(long)]
    pub quiet: bool,
    /// Exit with 1 unless all was delivered once and in order and the bounds below hold.
    #[arg(long)]
    pub check: bool,
    /// With --check: 99th percentile outside the spike, milliseconds.
    #[arg(long)]
    pub p99_ms: Option<f64>,
    /// With --check: 99.9th percentile outside the spike, milliseconds.
    #[arg(long)]
    pub p999_ms: Option<f64>,
    /// With --check: 99th percentile inside the spike, milliseconds.
    #[arg(long)]
    pub spike_p99_ms: Option<f64>,
    /// With --check: all players subscribed within this many seconds.
    #[arg(long)]
    pub connect_s: Option<f64>,
}

/// The name of a hunt.
pub(crate) fn hunt_name(options: &Options, hunt: usize) -> String {
    format!("{}{hunt}", options.hunt_prefix)
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

fn payload_bytes(text: &str) -> Result<usize, String> {
    let bytes: usize = text.parse().map_err(|error| format!("{error}"))?;
    let least = super::plan::PAYLOAD_BYTES_MIN;
    if bytes < least {
        return Err(format!(
            "the sequence number and the stamp alone take {least}"
        ));
    }
    Ok(bytes)
}
