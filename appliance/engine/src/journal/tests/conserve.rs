//! Conservation: whatever is published, fails and stalls, every acknowledged publish is in every sink
//! and in the history exactly once, in offset order, and nothing else is.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::journal::memory_store::Fault;

#[derive(Debug, Clone)]
enum Step {
    Publish { source: usize, hunt: u8, key: u8 },
    Turn,
    Read { sink: usize },
    Fault(Fault),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..3, 0u8..3, 0u8..30).prop_map(|(source, hunt, key)| Step::Publish { source, hunt, key }),
        6 => Just(Step::Turn),
        3 => (0usize..3).prop_map(|sink| Step::Read { sink }),
        1 => prop_oneof![Just(Fault::None), Just(Fault::Commit), Just(Fault::CommitAfterWrite)]
            .prop_map(Step::Fault),
        1 => Just(Step::Wait),
    ]
}

fn name(hunt: u8) -> String {
    format!("hunt{hunt}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn acknowledged_is_delivered_once_and_kept(steps in prop::collection::vec(step(), 1..300)) {
        let mut rig = Rig::with(MemoryStore::default(), config(10_000, DAY_MS), 700);
        let mut got: [Vec<Got>; 3] = Default::default();
        let mut sent = Vec::new();
        for step in steps {
            match step {
                Step::Publish { source, hunt, key } => {
                    let token = sent.len() as u64;
                    let key = if key < 10 { format!("k{key}") } else { String::new() };
                    rig.publish_keyed(source, token, &name(hunt), &token.to_string(), &key);
                    sent.push((source, hunt));
                }
                Step::Turn => { rig.turn(); }
                Step::Read { sink } => { let more = rig.take(sink); got[sink].extend(more); }
                Step::Fault(fault) => rig.store.set_fault(fault),
                Step::Wait => rig.wait(1_100),
            }
        }
        rig.store.set_fault(Fault::None);
        rig.wait(1_100);
        loop {
            let busy = rig.turn().busy;
            for (sink, got) in got.iter_mut().enumerate() {
                got.extend(rig.take(sink));
            }
            if !busy { break }
        }
        check(rig.restart(), &sent, &got)?;
    }
}

fn check(mut rig: Rig, sent: &[(usize, u8)], got: &[Vec<Got>; 3]) -> Result<(), TestCaseError> {
    // The order of all events is the same in both data cores, gapless in each hunt.
    let events: Vec<_> = got[0]
        .iter()
        .filter(|g| matches!(g, Got::Event { .. }))
        .collect();
    let others: Vec<_> = got[1]
        .iter()
        .filter(|g| matches!(g, Got::Event { .. }))
        .collect();
    prop_assert_eq!(&events, &others);
    let mut tops: BTreeMap<u32, u64> = BTreeMap::new();
    for event in &events {
        let Got::Event { hunt, offset, .. } = event else {
            unreachable!()
        };
        let top = tops.entry(*hunt).or_default();
        prop_assert_eq!(*offset, *top + 1);
        *top = *offset;
    }
    // Every submission is answered once, in the order of its source.
    let mut acked: BTreeMap<(String, u64), Vec<u64>> = BTreeMap::new();
    for (source, got) in got.iter().enumerate() {
        let mut answered = Vec::new();
        for record in got {
            match record {
                Got::Published { token, offset, .. } => {
                    answered.push(*token);
                    let (_, hunt) = sent[usize::try_from(*token).unwrap()];
                    acked.entry((name(hunt), *offset)).or_default().push(*token);
                }
                Got::Refused { token, .. } => answered.push(*token),
                _ => {}
            }
        }
        let asked = (0..)
            .zip(sent)
            .filter(|(_, (s, _))| *s == source)
            .map(|(token, _)| token);
        prop_assert_eq!(answered, asked.collect::<Vec<u64>>());
    }
    // What was acknowledged was broadcast, and is in the history of the next process.
    prop_assert_eq!(acked.len(), events.len());
    for hunt in 0..3 {
        let top = acked
            .keys()
            .filter(|(h, _)| *h == name(hunt))
            .map(|(_, o)| *o)
            .max()
            .unwrap_or(0);
        let (recovered, stored, _) = rig.recover(&name(hunt), "", 0);
        prop_assert_eq!((recovered, stored), (true, top));
        let Got::History { page, .. } = rig.history_of(&name(hunt), -1, None, false) else {
            unreachable!()
        };
        prop_assert_eq!(offsets(&page), (1..=top).collect::<Vec<_>>());
        let list: Vec<serde_json::Value> = serde_json::from_str(&format!("[{page}]")).unwrap();
        for (offset, publication) in (1..).zip(&list) {
            let first = acked[&(name(hunt), offset)][0];
            let token = publication["data"].as_u64().unwrap();
            prop_assert!(
                acked[&(name(hunt), offset)].contains(&token),
                "{first}: {publication}"
            );
        }
    }
    Ok(())
}
