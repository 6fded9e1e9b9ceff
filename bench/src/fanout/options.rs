//! What can be asked of the server on the command line.

use std::net::SocketAddr;

/// WebSocket fan-out on kernel TCP with tokio and tungstenite, to compare the appliance with.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "tokio-fanout", version)]
pub struct Options {
    /// Where players connect.
    #[arg(long, default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// Where backends publish.
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub admin: SocketAddr,
    /// Events a player may fall behind before it is closed with 3008.
    #[arg(long, default_value_t = 4_096)]
    pub lag_events_max: usize,
    /// Congestion control of the players' connections; the kernel's default if not given.
    #[arg(long)]
    pub congestion: Option<String>,
    /// Seconds between two pings to a player.
    #[arg(long, default_value_t = 25)]
    pub ping_interval_s: u64,
}
