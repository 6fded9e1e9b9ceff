//! What all players together saw: the tally, the latencies, and whether a push is what was
//! published.
//!
//! One for the whole crowd, used by one player at a time. Owns the ledger and a scratch buffer for
//! frames that players send.

use std::collections::BTreeMap;
use std::sync::Arc;

use hdrhistogram::Histogram;
use memchr::memmem;

use super::ledger::Ledger;
use super::plan::Plan;

/// Longest latency that is told apart: one minute, in nanoseconds. Longer ones count as this.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Events that reached a player which did not have them yet.
    pub(crate) delivered: u64,
    /// Of these, events that came after a later one.
    pub(crate) out_of_order: u64,
    /// Events that a player already had.
    pub(crate) duplicates: u64,
    /// Messages that are not what was published, or not what another player got.
    pub(crate) corrupt: u64,
    /// The first of them.
    pub(crate) first_corrupt: Option<String>,
    /// Players lost after they had subscribed.
    pub(crate) disconnects: u64,
    /// Players that never got that far.
    pub(crate) not_joined: u64,
    /// Why players left.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Close frames by code.
    pub(crate) close_codes: BTreeMap<u16, u64>,
    /// Server pings answered.
    pub(crate) pings: u64,
    /// Reads that returned bytes.
    pub(crate) reads: u64,
}

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Judge {
    plan: Option<Arc<Plan>>,
    pub(crate) ledger: Ledger,
    pub(crate) tally: Tally,
    pub(crate) steady: Histogram<u64>,
    pub(crate) spike: Histogram<u64>,
    /// When each event reached the last of its players so far.
    pub(crate) last_ns: Vec<u64>,
    pub(crate) frame: Vec<u8>,
    channels: Vec<Vec<u8>>,
}

impl Judge {
    /// A judge of the hunts called `channels`.
    pub(crate) fn new(channels: Vec<String>) -> Judge {
        Judge {
            plan: None,
            ledger: Ledger::new(channels.len()),
            tally: Tally::default(),
            steady: histogram(LATENCY_NS_MAX),
            spike: histogram(LATENCY_NS_MAX),
            last_ns: Vec::new(),
            frame: Vec::with_capacity(4_096),
            channels: channels
                .into_iter()
                .map(|name| format!(r#""channel":{}"#, serde_json::Value::from(name)).into_bytes())
                .collect(),
        }
    }

    /// Whether the plan is known.
    pub(crate) fn has_plan(&self) -> bool {
        self.plan.is_some()
    }

    /// From now on events are expected.
    pub(crate) fn begin(&mut self, plan: Arc<Plan>) {
        self.ledger.reserve(plan.len(), plan.payload_bytes() + 128);
        self.last_ns = vec![0; plan.len()];
        self.plan = Some(plan);
    }

    /// One event reached one player.
    #[inline]
    pub(crate) fn deliver(&mut self, event: usize, now_ns: u64) {
        self.tally.delivered += 1;
        if let Some(plan) = &self.plan {
            let latency_ns = now_ns.saturating_sub(plan.due_ns(event));
            let histogram = if plan.is_spike(event) {
                &mut self.spike
            } else {
                &mut self.steady
            };
            histogram.saturating_record(latency_ns);
            self.last_ns[event] = now_ns;
        }
    }

    /// From due to the last player, of each event outside the spike that reached anyone.
    pub(crate) fn last_players(&self) -> Histogram<u64> {
        let mut last = histogram(LATENCY_NS_MAX);
        if let Some(plan) = &self.plan {
            for (event, &at_ns) in self.last_ns.iter().enumerate() {
                if at_ns > 0 && !plan.is_spike(event) {
                    last.saturating_record(at_ns.saturating_sub(plan.due_ns(event)));
                }
            }
        }
        last
    }

    /// Offset and event of a push, if it is a publication to `hunt` with the payload of an event
    /// that was published there. Read by position: the data is looked up by its key, and what lies
    /// inside it is never searched.
    pub(crate) fn parse_push(&self, hunt: usize, message: &[u8]) -> Option<(u64, usize)> {
        const DATA: &[u8] = br#""data":"#;
        const OFFSET: &[u8] = br#""offset":"#;
        let plan = self.plan.as_ref()?;
        let data_at = memmem::find(message, DATA)? + DATA.len();
        let event = plan.recognise(&message[data_at..])?;
        let (before, after) = (
            &message[..data_at],
            &message[data_at + plan.payload_bytes()..],
        );
        let outside = |key: &[u8]| {
            let find = |part: &'_ [u8]| memmem::find(part, key).map(|at| at + key.len());
            find(after)
                .map(|at| (after, at))
                .or_else(|| find(before).map(|at| (before, at)))
        };
        outside(&self.channels[hunt])?;
        let (part, at) = outside(OFFSET)?;
        let digits = part[at..].iter().take_while(|byte| byte.is_ascii_digit());
        let offset = digits.fold(0_u64, |offset, digit| {
            offset
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        });
        (offset > 0 && plan.hunt(event) == hunt).then_some((offset, event))
    }

    /// Counts a message that should not have come.
    pub(crate) fn on_corrupt(&mut self, message: &[u8]) {
        self.tally.corrupt += 1;
        self.tally.first_corrupt.get_or_insert_with(|| {
            String::from_utf8_lossy(&message[..message.len().min(400)]).into_owned()
        });
    }

    /// Counts a player that is gone.
    pub(crate) fn on_leave(&mut self, was_live: bool, why: &str) {
        if was_live {
            self.tally.disconnects += 1;
        } else {
            self.tally.not_joined += 1;
        }
        // Bounded: reasons are few, but texts from the wire are not ours.
        if self.tally.reasons.len() < 16 || self.tally.reasons.contains_key(why) {
            *self.tally.reasons.entry(why.to_owned()).or_default() += 1;
        }
    }
}

/// Three significant digits up to `max`.
pub(crate) fn histogram(max: u64) -> Histogram<u64> {
    // Bounds and precision are constants that the library takes.
    Histogram::new_with_bounds(1, max, 3).unwrap_or_else(|error| unreachable!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::plan::Due;

    fn judge() -> Judge {
        let mut judge = Judge::new(vec!["hunt:0".into(), "hunt:1".into()]);
        let due = vec![
            Due {
                after_ns: 0,
                spike: false,
            },
            Due {
                after_ns: 9,
                spike: true,
            },
        ];
        judge.begin(Arc::new(Plan::new(due, 1_000, 2, 120)));
        judge
    }

    fn push(judge: &Judge, channel: &str, event: usize, offset: u64) -> String {
        let data = String::from_utf8(judge.plan.as_ref().unwrap().payload(event).to_vec()).unwrap();
        format!(r#"{{"push":{{"channel":"{channel}","pub":{{"data":{data},"offset":{offset}}}}}}}"#)
    }

    #[test]
    fn push_is_offset_and_event() {
        let judge = judge();
        assert_eq!(
            judge.parse_push(0, push(&judge, "hunt:0", 0, 18).as_bytes()),
            Some((18, 0))
        );
        assert_eq!(
            judge.parse_push(1, push(&judge, "hunt:1", 1, 7).as_bytes()),
            Some((7, 1))
        );
    }

    #[test]
    fn other_order_of_keys_is_the_same_push() {
        let judge = judge();
        let data = String::from_utf8(judge.plan.as_ref().unwrap().payload(0).to_vec()).unwrap();
        let text =
            format!(r#"{{"push":{{"pub":{{"offset":3,"data":{data}}},"channel":"hunt:0"}}}}"#);
        assert_eq!(judge.parse_push(0, text.as_bytes()), Some((3, 0)));
    }

    #[test]
    fn wrong_hunt_payload_or_offset_is_none() {
        let judge = judge();
        let good = push(&judge, "hunt:0", 0, 18);
        assert_eq!(
            judge.parse_push(1, good.as_bytes()),
            None,
            "another hunt's channel"
        );
        assert_eq!(
            judge.parse_push(0, push(&judge, "hunt:0", 1, 18).as_bytes()),
            None
        );
        assert_eq!(
            judge.parse_push(0, good.replace("18", "0").as_bytes()),
            None
        );
        assert_eq!(
            judge.parse_push(0, good.replace("fill", "fall").as_bytes()),
            None
        );
        assert_eq!(
            judge.parse_push(0, br#"{"push":{"channel":"hunt:0","unsubscribe":{}}}"#),
            None
        );
    }

    #[test]
    fn spike_is_told_apart_by_due_time() {
        let mut judge = judge();
        judge.deliver(0, 2_000);
        judge.deliver(1, 2_000);
        judge.deliver(1, 5_000);
        assert_eq!(
            (judge.steady.len(), judge.spike.len(), judge.tally.delivered),
            (1, 2, 3)
        );
        assert_eq!(judge.steady.max(), 1_000);
        judge.deliver(0, 2_500);
        let last = judge.last_players();
        assert_eq!((last.len(), last.max()), (1, 1_500), "the last one counts");
    }
}
