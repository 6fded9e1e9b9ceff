//! What can be asked of an attacker on the command line.

use std::net::SocketAddrV4;

/// Which segments to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Kind {
    /// SYNs of new connections, each from a random address and port.
    Syn,
    /// RSTs into the connections seen, at sequence numbers that do not match.
    Rst,
    /// SYNs into the connections seen, at any sequence number.
    SynInside,
    /// Data into the connections seen, with acknowledgements that cannot be right.
    Data,
}

/// Attacks an appliance from the players' network: floods and blind injection. Needs root.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "flood", version)]
pub struct Options {
    /// The interface to send on.
    pub interface: String,
    /// Address and port of the appliance.
    #[arg(long)]
    pub to: SocketAddrV4,
    /// MAC address of the appliance, aa:bb:cc:dd:ee:ff.
    #[arg(long, value_parser = mac)]
    pub mac: [u8; 6],
    /// What to send; several kinds take turns.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "syn")]
    pub kind: Vec<Kind>,
    /// Segments a second.
    #[arg(long, default_value_t = 200_000.0)]
    pub rate: f64,
    /// How long.
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,
    /// All chance comes from here.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes: Vec<u8> = bytes
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    bytes.try_into().map_err(|_| "six bytes are needed".into())
}
