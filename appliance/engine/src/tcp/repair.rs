//! What a connection remembers of losses: kept only while there is something to remember.
//!
//! Most connections at most times have lost nothing lately, and an idle one shall be small. So the
//! state of RACK, of a recovery and of CUBIC's last loss is a record of its own, in a slab beside the
//! connections, with a place for each of them. It is made by the first SACK or loss and given back when
//! a path has lost nothing for a minute and nothing is in flight.

use crate::memory::slab::{NONE, Slab};
use crate::tcp::congestion::Cubic;
use crate::tcp::conn::Conn;
use crate::tcp::moment::StampMs;
use crate::tcp::rack::Rack;
use crate::tcp::recovery::Reduction;
use crate::units::Micros;
use crate::wire::seq::Seq;

/// How long after a loss a path is taken for one that loses, and after anything out of order for one
/// that reorders.
const LOSSY_MS: u32 = 60_000;

/// See the file's header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repair {
    pub(super) rack: Rack,
    pub(super) reduction: Reduction,
    pub(super) cubic: Cubic,
    /// When a loss was last found.
    pub(super) lossy_at: Option<StampMs>,
    /// When something was last reported out of order or twice.
    pub(super) disordered_at: Option<StampMs>,
    /// Up to here bytes have been sent twice on purpose: a DSACK below says nothing.
    pub(super) bundled: Option<Seq>,
}

impl Repair {
    /// Nothing is known of losses before `una`.
    pub(super) fn new(una: Seq) -> Repair {
        Repair {
            rack: Rack::new(una),
            reduction: Reduction::new(una),
            cubic: Cubic::default(),
            lossy_at: None,
            disordered_at: None,
            bundled: None,
        }
    }

    /// Whether the path has lost something lately.
    pub(super) fn is_lossy(&self, now: Micros) -> bool {
        is_recent(self.lossy_at, now)
    }

    /// Whether the path has lost or reordered something lately.
    fn is_recent(&self, now: Micros) -> bool {
        self.is_lossy(now) || is_recent(self.disordered_at, now)
    }

    /// Whether it says anything that a new record would not.
    fn matters(&self, now: Micros, conn: &Conn) -> bool {
        !conn.recovery.is_open()
            || self.is_recent(now)
            || conn.flight.count() > 0 && self.cubic.has_epoch()
    }
}

fn is_recent(at: Option<StampMs>, now: Micros) -> bool {
    at.is_some_and(|at| at.age_ms(now) < LOSSY_MS)
}

/// Calls `act` with the connection and its record, or a new one that is kept if it then matters.
pub(super) fn with<R>(
    now: Micros,
    repairs: &mut Slab<Repair>,
    conn: &mut Conn,
    act: impl FnOnce(&mut Conn, &mut Repair) -> R,
) -> R {
    if let Some((id, repair)) = repairs.at(conn.repair) {
        if conn.recovery.is_open() && !repair.is_recent(now) {
            // Its moments may be older than they can tell.
            repair.rack = Rack::new(conn.snd_una);
        }
        let result = act(conn, repair);
        if !repair.matters(now, conn) {
            repairs.remove(id);
            conn.repair = NONE;
        }
        return result;
    }
    let mut repair = Repair::new(conn.snd_una);
    let result = act(conn, &mut repair);
    if repair.matters(now, conn) {
        // There is a place for each connection.
        conn.repair = repairs.insert(repair).map_or(NONE, |id| id.slot);
    }
    result
}

/// Each connection may come to have one.
const _: () = assert!(
    size_of::<Repair>() <= 92,
    "the record has outgrown its budget"
);
