//! The table against a plain list of who is there.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use proptest::prelude::*;

const ALL: Part = Part {
    listed: true,
    announced: true,
    told: true,
};

fn client(conn: u64) -> Client {
    Client { source: 0, conn }
}

fn info(user: &str, conn: u64) -> Vec<u8> {
    let mut info = Vec::new();
    ClientInfo {
        user,
        client: &format!("c{conn}"),
        ..ClientInfo::default()
    }
    .append(&mut info);
    info
}

/// Everybody of all pages: client to user. And how many pages there were.
fn listed(presence: &Presence, hunt: HuntNumber) -> (BTreeMap<String, String>, usize) {
    let mut all = BTreeMap::new();
    let (mut skip, mut pages) = (Some(0), 0);
    while let Some(behind) = skip {
        let mut page = Vec::new();
        skip = presence.page(hunt, behind, &mut page);
        assert!(page.len() <= PAGE_BYTES_MAX);
        pages += 1;
        for entry in protobuf::delimited(&page) {
            let info = ClientInfo::parse(entry).unwrap();
            let before = all.insert(info.client.to_owned(), info.user.to_owned());
            assert_eq!(before, None, "listed twice");
        }
    }
    (all, pages)
}

proptest! {
    #[test]
    fn lists_who_entered_and_has_not_left(
        steps in prop::collection::vec((any::<bool>(), 0u32..3, 0usize..2, 0u64..6, any::<bool>()), 0..200),
    ) {
        let mut presence = Presence::new(1);
        let mut model = BTreeMap::new();
        for (enters, hunt, source, conn, listed) in steps {
            let client = Client { source, conn };
            let key = (hunt, source, conn);
            if enters && !model.contains_key(&key) {
                let part = Part { listed, ..ALL };
                presence.enter(hunt, client, part, &info(&format!("u{}", conn / 2), conn), Micros(0));
                model.insert(key, listed);
            } else if !enters {
                let left = presence.leave(hunt, client, Micros(0));
                prop_assert_eq!(left.is_some(), model.remove(&key).is_some());
            }
            prop_assert_eq!(presence.count(), model.len() as u64);
        }
        for hunt in 0..3 {
            let there = model.iter().filter(|((at, ..), listed)| *at == hunt && **listed);
            let conns: Vec<u64> = there.map(|((_, _, conn), _)| *conn).collect();
            let users: BTreeSet<u64> = conns.iter().map(|conn| conn / 2).collect();
            prop_assert_eq!(presence.stats(hunt), (conns.len() as u32, users.len() as u32));
            let mut page = Vec::new();
            prop_assert_eq!(presence.page(hunt, 0, &mut page), None);
            let mut found: Vec<Vec<u8>> = protobuf::delimited(&page).map(<[u8]>::to_vec).collect();
            let mut wanted: Vec<Vec<u8>> =
                conns.iter().map(|conn| info(&format!("u{}", conn / 2), *conn)).collect();
            found.sort();
            wanted.sort();
            prop_assert_eq!(found, wanted);
        }
        let empty = presence.hunts.values().any(|table| table.clients.is_empty());
        prop_assert!(!empty, "a hunt nobody is in costs nothing");
    }
}

#[test]
fn a_long_list_comes_in_pages() {
    let mut presence = Presence::new(1);
    let long = "u".repeat(10_000);
    for conn in 0..300 {
        presence.enter(7, client(conn), ALL, &info(&long, conn), Micros(0));
    }
    let (all, pages) = listed(&presence, 7);
    assert_eq!((all.len(), pages), (300, 3));
    assert_eq!(presence.stats(7), (300, 1), "many clients, one user");
}

#[test]
fn announcements_that_cost_too_many_pushes_are_dropped_and_the_list_stays_exact() {
    let mut presence = Presence::new(1);
    let told = Part {
        announced: false,
        ..ALL
    };
    for conn in 0..10_000 {
        let verdict = presence.enter(1, client(conn), told, &info("u", conn), Micros(0));
        assert_eq!(verdict, Verdict::Silent);
    }
    // 1,000 joins and 1,000 leaves a second for ten seconds, among 10,000 who are told.
    let shown = Part { told: false, ..ALL };
    let mut announced = 0;
    for step in 0..10_000 {
        let now = Micros(step * 1000);
        let client = client(20_000 + step);
        let joined = presence.enter(1, client, shown, &info("v", step), now);
        assert_eq!(presence.stats(1), (10_001, 2));
        let (left, _) = presence.leave(1, client, now).unwrap();
        announced += u64::from(joined == Verdict::Announce) + u64::from(left == Verdict::Announce);
    }
    let most = (10 + 1) * PUSHES_PER_S / 10_000;
    assert!((most - 2..=most).contains(&announced), "{announced}");
    assert_eq!(presence.stats(1), (10_000, 1));
}

#[test]
fn nobody_is_told_where_nobody_listens() {
    let mut presence = Presence::new(1);
    let shown = Part { told: false, ..ALL };
    let enter = |presence: &mut Presence, conn, part| {
        presence.enter(1, client(conn), part, &info("u", conn), Micros(0))
    };
    assert_eq!(enter(&mut presence, 1, shown), Verdict::Silent);
    assert_eq!(
        enter(&mut presence, 2, ALL),
        Verdict::Announce,
        "it is told of itself"
    );
    assert_eq!(
        presence.leave(1, client(1), Micros(0)).unwrap().0,
        Verdict::Announce
    );
    let (verdict, who) = presence.leave(1, client(2), Micros(0)).unwrap();
    assert_eq!((verdict, &*who), (Verdict::Silent, &*info("u", 2)));
    assert!(presence.leave(1, client(2), Micros(0)).is_none());
}
