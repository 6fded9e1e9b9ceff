//! What is wrong with one direction; parsed from the command line, then only read.

use anyhow::Context;

const NS_PER_MS: f64 = 1e6;

/// See [`super::Options`] for the meaning of each; zero is off.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Faults {
    pub(super) loss_percent: f64,
    pub(super) burst_enter_percent: f64,
    pub(super) burst_leave_percent: f64,
    pub(super) duplicate_percent: f64,
    pub(super) corrupt_percent: f64,
    pub(super) cut_percent: f64,
    pub(super) reorder_percent: f64,
    pub(super) reorder_ns: u64,
    pub(super) delay_ns: u64,
    pub(super) jitter_ns: u64,
    pub(super) rate_mbit: f64,
    pub(super) queue_frames: usize,
    pub(super) flap_up_ns: u64,
    pub(super) flap_down_ns: u64,
    pub(super) mark_ce_percent: f64,
    pub(super) mtu_bytes: usize,
    pub(super) syns_lost: u64,
}

impl Faults {
    /// Those of `both`, and on top of them those of `own`.
    pub(super) fn parse(both: &str, own: &str) -> anyhow::Result<Faults> {
        let mut faults = Faults {
            queue_frames: 1_000,
            ..Faults::default()
        };
        let items = both.split(',').chain(own.split(','));
        for item in items.filter(|item| !item.is_empty()) {
            faults.set(item).with_context(|| format!("in \"{item}\""))?;
        }
        anyhow::ensure!(
            faults.jitter_ns <= faults.delay_ns,
            "a delay that varies by more than itself"
        );
        Ok(faults)
    }

    fn set(&mut self, item: &str) -> anyhow::Result<()> {
        let (key, value) = item.split_once('=').context("no \"=\"")?;
        let (first, second) = match value.split_once(':') {
            Some((first, second)) => (number(first)?, Some(number(second)?)),
            None => (number(value)?, None),
        };
        let both = || second.context("two numbers with a colon are needed");
        match key {
            "loss" => self.loss_percent = first,
            "burst" => (self.burst_enter_percent, self.burst_leave_percent) = (first, both()?),
            "dup" => self.duplicate_percent = first,
            "corrupt" => self.corrupt_percent = first,
            "cut" => self.cut_percent = first,
            "reorder" => {
                self.reorder_percent = first;
                self.reorder_ns = nanoseconds(second.unwrap_or(2.0));
            }
            "delay" => {
                self.delay_ns = nanoseconds(first);
                self.jitter_ns = nanoseconds(second.unwrap_or(0.0));
            }
            "rate" => self.rate_mbit = first,
            "queue" => self.queue_frames = value.parse()?,
            "flap" => {
                (self.flap_up_ns, self.flap_down_ns) = (nanoseconds(first), nanoseconds(both()?));
            }
            "ce" => self.mark_ce_percent = first,
            "mtu" => self.mtu_bytes = value.parse()?,
            "syn" => self.syns_lost = value.parse()?,
            _ => anyhow::bail!("no such fault"),
        }
        Ok(())
    }
}

fn number(text: &str) -> anyhow::Result<f64> {
    let number: f64 = text.parse()?;
    anyhow::ensure!(
        number.is_finite() && number >= 0.0,
        "a number from 0 up is needed"
    );
    Ok(number)
}

fn nanoseconds(milliseconds: f64) -> u64 {
    crate::swarm::seconds_to_ns(milliseconds * NS_PER_MS / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_and_what_comes_on_top() {
        let faults = Faults::parse("loss=3,delay=20:5", "loss=0.5,burst=1:40,queue=7").unwrap();
        let expected = Faults {
            loss_percent: 0.5,
            burst_enter_percent: 1.0,
            burst_leave_percent: 40.0,
            delay_ns: 20_000_000,
            jitter_ns: 5_000_000,
            queue_frames: 7,
            ..Faults::default()
        };
        assert_eq!(faults, expected);
    }

    #[test]
    fn mistakes_are_refused() {
        for bad in [
            "loss",
            "loss=x",
            "loss=-1",
            "lost=1",
            "flap=5",
            "delay=5:6",
            "mtu=1.5",
        ] {
            assert!(Faults::parse(bad, "").is_err(), "{bad}");
        }
    }
}
