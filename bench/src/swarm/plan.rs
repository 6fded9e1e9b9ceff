//! What will be published and when: due times, hunts and rendered payloads of the whole run.
//!
//! Made once all players are subscribed, then only read, by the publisher (what to send) and by the
//! crowd (what to expect). Owns all payload bytes in one buffer; an event is an index.
//!
//! A payload is a JSON object of fixed width, so that it is parsed by position:
//! `{"seq":"0000002a","stamp":"00000a3b5c6d7e8f","fill":"..."}`, numbers in hexadecimal, the filler
//! derived from seq, so that bytes of one event under the number of another are noticed.

use super::Options;
use super::clock::seconds_to_ns;

const SEQ_AT: usize = br#"{"seq":""#.len();
const SEQ_DIGITS: usize = 8;

/// Everything of a payload but the filler.
pub(crate) const PAYLOAD_BYTES_MIN: usize =
    r#"{"seq":"00000000","stamp":"0000000000000000","fill":""}"#.len();

/// When one event is due, relative to the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) after_ns: u64,
    pub(crate) spike: bool,
}

/// The due times: an even rate, multiplied inside the window in the middle.
pub(crate) fn schedule(options: &Options) -> Vec<Due> {
    let run_ns = seconds_to_ns(options.seconds);
    let spike_ns = options.spike_ms * 1_000_000;
    let spike_from = run_ns.saturating_sub(spike_ns) / 2;
    let spike = spike_from..(spike_from + spike_ns).min(run_ns);
    let step_ns = seconds_to_ns(1.0 / options.rate).max(1);
    let spike_step_ns = seconds_to_ns(1.0 / (options.rate * options.spike_factor)).max(1);
    let mut due = Vec::new();
    let mut after_ns = 0;
    while after_ns < run_ns {
        let inside = spike.contains(&after_ns);
        due.push(Due {
            after_ns,
            spike: inside,
        });
        after_ns += if inside { spike_step_ns } else { step_ns };
    }
    due
}

/// The whole run, rendered.
#[derive(Debug)]
pub(crate) struct Plan {
    start_ns: u64,
    hunts: usize,
    payload_bytes: usize,
    due: Vec<Due>,
    payloads: Vec<u8>,
}

impl Plan {
    /// Renders every payload of `due` for a run that starts at `start_ns`.
    pub(crate) fn new(due: Vec<Due>, start_ns: u64, hunts: usize, payload_bytes: usize) -> Plan {
        let mut payloads = Vec::with_capacity(due.len() * payload_bytes);
        for (event, due) in due.iter().enumerate() {
            render(event, start_ns + due.after_ns, payload_bytes, &mut payloads);
        }
        Plan {
            start_ns,
            hunts,
            payload_bytes,
            due,
            payloads,
        }
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }

    /// How many events go to `hunt`.
    #[cfg(test)]
    pub(crate) fn len_of(&self, hunt: usize) -> usize {
        (0..self.len())
            .filter(|event| self.hunt(*event) == hunt)
            .count()
    }

    /// The hunt that `event` goes to.
    pub(crate) fn hunt(&self, event: usize) -> usize {
        event % self.hunts
    }

    /// When `event` is due; its stamp.
    pub(crate) fn due_ns(&self, event: usize) -> u64 {
        self.start_ns + self.due[event].after_ns
    }

    /// Whether `event` is due inside the spike.
    pub(crate) fn is_spike(&self, event: usize) -> bool {
        self.due[event].spike
    }

    /// The payload of `event`.
    pub(crate) fn payload(&self, event: usize) -> &[u8] {
        &self.payloads[event * self.payload_bytes..][..self.payload_bytes]
    }

    /// The event whose payload `bytes` begins with, compared to the last byte; `None` if it is the
    /// payload of none.
    pub(crate) fn recognise(&self, bytes: &[u8]) -> Option<usize> {
        let digits = bytes.get(SEQ_AT..SEQ_AT + SEQ_DIGITS)?;
        let event = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        let data = bytes.get(..self.payload_bytes)?;
        (event < self.len() && data == self.payload(event)).then_some(event)
    }

    /// Size of every payload.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }
}

fn render(event: usize, stamp_ns: u64, bytes: usize, out: &mut Vec<u8>) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let head = format!(r#"{{"seq":"{event:08x}","stamp":"{stamp_ns:016x}","fill":""#);
    out.extend_from_slice(head.as_bytes());
    let mut state = (event as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    for _ in PAYLOAD_BYTES_MIN..bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.push(LETTERS[usize::from(state.to_be_bytes()[0] & 63)]);
    }
    out.extend_from_slice(b"\"}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn options(arguments: &[&str]) -> Options {
        Options::parse_from(["swarm"].iter().chain(arguments))
    }

    #[test]
    fn spike_multiplies_the_rate_in_the_middle() {
        let due = schedule(&options(&["--rate", "20", "--seconds", "10"]));
        let spike: Vec<_> = due.iter().filter(|due| due.spike).collect();
        assert_eq!(spike.len(), 100);
        assert_eq!(due.len(), 290);
        assert_eq!(spike[0].after_ns, 4_750_000_000);
        assert!(spike[99].after_ns < 5_250_000_000);
        assert!(
            due.windows(2)
                .all(|pair| pair[0].after_ns < pair[1].after_ns)
        );
    }

    #[test]
    fn no_spike_is_an_even_rate() {
        let due = schedule(&options(&[
            "--rate",
            "100",
            "--seconds",
            "1",
            "--spike-ms",
            "0",
        ]));
        assert_eq!(due.len(), 100);
        assert!(due.iter().all(|due| !due.spike));
    }

    #[test]
    fn payload_has_its_size_and_is_recognised() {
        let due = schedule(&options(&["--rate", "100", "--seconds", "1"]));
        let plan = Plan::new(due, 123_456_789, 3, 200);
        for event in 0..plan.len() {
            let payload = plan.payload(event);
            assert_eq!(payload.len(), 200);
            serde_json::from_slice::<serde_json::Value>(payload).unwrap();
            assert_eq!(plan.recognise(payload), Some(event));
        }
        assert_eq!(plan.len_of(0) + plan.len_of(1) + plan.len_of(2), plan.len());
    }

    #[test]
    fn one_changed_byte_is_not_recognised() {
        let plan = Plan::new(
            vec![
                Due {
                    after_ns: 0,
                    spike: false
                };
                2
            ],
            1,
            1,
            80,
        );
        for at in 0..80 {
            let mut payload = plan.payload(1).to_vec();
            payload[at] ^= 1;
            assert_eq!(plan.recognise(&payload), None, "byte {at}");
        }
    }

    #[test]
    fn smallest_payload_has_no_filler() {
        let plan = Plan::new(
            vec![Due {
                after_ns: 0,
                spike: false,
            }],
            1,
            1,
            PAYLOAD_BYTES_MIN,
        );
        assert_eq!(plan.recognise(plan.payload(0)), Some(0));
    }
}
