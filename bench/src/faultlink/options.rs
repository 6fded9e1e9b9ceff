//! What can be asked of a bad wire on the command line.

/// A bad wire between two interfaces: loss, delay, damage. Statistics of each direction, one line of
/// JSON each, go to standard output at the end (SIGINT, SIGTERM or --seconds).
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "faultlink", version, after_help = SPEC_HELP)]
pub struct Options {
    /// One end.
    pub a: String,
    /// The other end.
    pub b: String,
    /// Faults of both directions.
    #[arg(long, value_name = "SPEC", default_value = "")]
    pub both: String,
    /// Faults from A to B, on top of those of both.
    #[arg(long, value_name = "SPEC", default_value = "")]
    pub ab: String,
    /// Faults from B to A, on top of those of both.
    #[arg(long, value_name = "SPEC", default_value = "")]
    pub ba: String,
    /// All chance comes from here.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// End after this many seconds; without it, on a signal.
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Write statistics every so many seconds, too.
    #[arg(long)]
    pub every: Option<f64>,
}

const SPEC_HELP: &str = "\
SPEC is a list with commas; percentages may be fractions (loss=0.1):
  loss=PCT            each frame is lost with this chance
  burst=PCT:PCT       Gilbert's bursts: chance to enter and to leave the state in which all is lost
  dup=PCT             the frame is sent twice
  corrupt=PCT         one bit behind the Ethernet header is flipped
  cut=PCT             the frame ends early, behind the Ethernet header
  reorder=PCT[:MS]    the frame is held back this much longer and overtaken (default 2)
  delay=MS[:MS]       delay, and how far it varies up and down; a flow keeps its order
  rate=MBIT           serialised at this rate, behind a queue
  queue=FRAMES        length of that queue; what finds it full is lost (default 1000)
  flap=MS:MS          the link works so long, then loses all for so long, and so on
  ce=PCT              ECN-capable IPv4 packets are marked \"congestion experienced\"
  mtu=BYTES           longer IP packets are lost without a word (a path-MTU black hole)
  syn=COUNT           the first so many TCP segments with SYN are lost (IPv4)";
