//! The wiring on one page: which cores exist, on which CPU, which rings join them, what memory each
//! takes. Everything here is arithmetic on the configuration; `start` acts on it.

use engine::ring::broadcast::RECORD_BYTES_MAX;
use engine::ring::submit::SUBMISSION_BYTES_MAX;

use crate::config::Config;
use crate::region::HUGE_PAGE_BYTES;

/// Bytes of a submit ring: room for ten of the largest submissions, thousands of ordinary ones.
/// Smaller refuses publishers sooner in a burst, larger hides a journal that cannot keep up.
pub const SUBMIT_RING_BYTES: usize = 1 << 20;

/// Bytes of a broadcast ring: some 30,000 events of 200 bytes, so that a core busy with a walk of
/// 100,000 players does not stall the journal.
pub const BROADCAST_RING_BYTES: usize = 8 << 20;

/// Subscriptions a core holds, per player it holds.
const SUBSCRIPTIONS_PER_PLAYER: u32 = 4;

const _: () = assert!(
    SUBMIT_RING_BYTES > 8 * SUBMISSION_BYTES_MAX,
    "several must fit"
);
const _: () = assert!(
    BROADCAST_RING_BYTES > 4 * RECORD_BYTES_MAX,
    "several must fit"
);

/// One data core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataPlan {
    /// For logs and metrics: `data-0`.
    pub name: String,
    /// NIC queue.
    pub queue: u32,
    /// CPU to run on.
    pub cpu: Option<usize>,
}

/// Every core and its sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Data cores, one a queue. The journal and the control core follow them in every list of rings.
    pub data: Vec<DataPlan>,
    /// CPU of the journal core.
    pub journal_cpu: Option<usize>,
    /// Bytes of hunt log a data core.
    pub hunt_log_bytes: usize,
    /// Subscriptions a data core.
    pub subscriptions_max: u32,
}

impl Plan {
    /// The plan for an interface with `queues` RX queues.
    pub fn new(config: &Config, queues: u32) -> Plan {
        let wanted = u32::from(config.game.queues);
        let count = if wanted == 0 {
            queues
        } else {
            wanted.min(queues)
        };
        let data = (0..count).map(|queue| DataPlan {
            name: format!("data-{queue}"),
            queue,
            cpu: config.game.cpus.get(queue as usize).copied(),
        });
        Plan {
            data: data.collect(),
            journal_cpu: config.journal.cpu,
            hunt_log_bytes: config.game.hunt_log_mib as usize * (1 << 20),
            subscriptions_max: config
                .game
                .players_max
                .saturating_mul(SUBSCRIPTIONS_PER_PLAYER),
        }
    }

    /// Huge pages of 2 MiB that all data cores map: hunt logs, and frames where they fill whole pages
    /// (fewer lie on ordinary ones).
    pub fn huge_pages(&self, config: &Config) -> u64 {
        let frames = config.game.frames as usize * 4096;
        let pages = self.hunt_log_bytes.div_ceil(HUGE_PAGE_BYTES).max(1) + frames / HUGE_PAGE_BYTES;
        (self.data.len() * pages) as u64
    }

    /// Bytes taken at start for rings, logs, frames and chunks of all data cores; records come on
    /// top as they are used.
    pub fn memory_bytes(&self, config: &Config) -> usize {
        let frames = config.game.frames as usize * 4096;
        let chunks = config.game.private_chunks as usize * 1024;
        let rings = SUBMIT_RING_BYTES + BROADCAST_RING_BYTES;
        self.data.len() * (self.hunt_log_bytes + frames + chunks + rings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_counted_by_core() {
        let mut config = Config::default();
        config.game.hunt_log_mib = 7;
        config.game.frames = 1024;
        assert_eq!(Plan::new(&config, 3).huge_pages(&config), 3 * (4 + 2));
        config.game.frames = 256;
        assert_eq!(Plan::new(&config, 3).huge_pages(&config), 3 * 4);
    }

    #[test]
    fn a_core_for_each_queue_that_exists() {
        let mut config = Config::default();
        config.game.cpus = vec![3];
        assert_eq!(Plan::new(&config, 2).data.len(), 2);
        assert_eq!(Plan::new(&config, 2).data[0].cpu, Some(3));
        assert_eq!(Plan::new(&config, 2).data[1].cpu, None);
        config.game.queues = 4;
        assert_eq!(Plan::new(&config, 2).data.len(), 2);
        config.game.queues = 1;
        assert_eq!(Plan::new(&config, 2).data.len(), 1);
    }
}
