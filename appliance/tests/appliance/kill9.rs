//! Killed in the middle of publishing, twenty times: every publish that was acknowledged is in the
//! history exactly once, at the offset that was told, and the hunts go on in the same epoch.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::running::{Appliance, SETTINGS, Settings, api, directory, history};
use crate::world::World;

const ROUNDS: u64 = 20;
const PUBLISHERS: u64 = 4;
const HUNTS: [&str; 3] = ["one", "two", "three"];

/// An acknowledged publish.
#[derive(Debug)]
struct Acknowledged {
    hunt: usize,
    offset: u64,
    data: Value,
}

#[test]
fn fsync() {
    killed_while_publishing("fsync");
}

#[test]
fn wal() {
    killed_while_publishing("wal");
}

fn killed_while_publishing(durability: &'static str) {
    let (_world, directory) = (World::new(), directory());
    let settings = Settings {
        durability,
        ..SETTINGS
    };
    let mut all = Vec::new();
    let mut epochs = [const { None }; HUNTS.len()];
    for round in 0..ROUNDS {
        let appliance = Appliance::start(&directory, settings);
        check(&all, &mut epochs);
        let before = all.len();
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|id| thread::spawn(move || publish_until_cut(round, id)))
            .collect();
        // Different points of the journal's turns, from the first batch on.
        thread::sleep(Duration::from_millis(20 + round * 7 % 60));
        appliance.kill9();
        all.extend(
            publishers
                .into_iter()
                .flat_map(|publisher| publisher.join().unwrap()),
        );
        assert!(all.len() > before, "round {round}: some were acknowledged");
    }
    let _appliance = Appliance::start(&directory, settings);
    check(&all, &mut epochs);
}

fn publish_until_cut(round: u64, publisher: u64) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let hunt = usize::try_from(number).unwrap() % HUNTS.len();
        let data = json!(format!("{round}/{publisher}/{number}"));
        let body = json!({"channel": HUNTS[hunt], "data": data});
        let Ok(answer) = api("publish", &body) else {
            break;
        };
        let offset = answer["result"]["offset"]
            .as_u64()
            .unwrap_or_else(|| panic!("{answer}"));
        acknowledged.push(Acknowledged { hunt, offset, data });
    }
    acknowledged
}

fn check(all: &[Acknowledged], epochs: &mut [Option<String>; HUNTS.len()]) {
    for (index, hunt) in HUNTS.iter().enumerate() {
        let (epoch, events) = history(hunt);
        // A hunt gets its epoch when it is first written to.
        if !events.is_empty() {
            assert_eq!(
                epochs[index].get_or_insert_with(|| epoch.clone()),
                &epoch,
                "{hunt}"
            );
        }
        assert!(
            (1..).zip(&events).all(|(offset, event)| event.0 == offset),
            "{hunt}: a gap"
        );
        let distinct: HashSet<&str> = events
            .iter()
            .map(|event| event.1.as_str().unwrap())
            .collect();
        assert_eq!(
            distinct.len(),
            events.len(),
            "{hunt}: something is there twice"
        );
        for told in all.iter().filter(|told| told.hunt == index) {
            let place = usize::try_from(told.offset).unwrap() - 1;
            let found = events.get(place).map(|event| &event.1);
            assert_eq!(found, Some(&told.data), "{hunt} {}", told.offset);
        }
    }
}
