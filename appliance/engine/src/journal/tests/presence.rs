//! Who is there, through the rings: in the order of everything else, and to everyone it concerns.

use super::*;
use crate::ring::broadcast::PAGE_BYTES_MAX;
use crate::ring::submit::{Enter, Part, Presence, Want};

const ALL: Part = Part {
    listed: true,
    announced: true,
    told: true,
};

impl Rig {
    fn enter(&mut self, source: usize, conn: u64, user: &str) {
        let mut info = Vec::new();
        ClientInfo {
            user,
            client: &name(source, conn),
            ..ClientInfo::default()
        }
        .append(&mut info);
        self.submit(
            source,
            Submission::Enter(Enter {
                hunt: 0,
                conn,
                part: ALL,
                info: &info,
            }),
        );
    }

    fn leave(&mut self, source: usize, conn: u64) {
        self.submit(source, Submission::Leave { hunt: 0, conn });
    }

    fn ask(&mut self, source: usize, token: u64, hunt: &str, want: Want) {
        self.submit(source, Submission::Presence(Presence { token, hunt, want }));
    }
}

fn name(source: usize, conn: u64) -> String {
    format!("{source}-{conn}")
}

fn moved(movement: Movement, source: usize, conn: u64) -> Got {
    Got::Moved {
        hunt: 0,
        movement,
        client: name(source, conn),
    }
}

fn present(token: u64, clients: &[(usize, u64)], num_users: u32) -> Got {
    let mut clients: Vec<_> = clients
        .iter()
        .map(|&(source, conn)| name(source, conn))
        .collect();
    clients.sort();
    Got::Presence {
        token,
        num_clients: clients.len() as u32,
        clients,
        num_users,
        more: false,
    }
}

/// With the clients of an answer in the order of their names.
fn sorted(mut got: Got) -> Got {
    if let Got::Presence { clients, .. } = &mut got {
        clients.sort();
    }
    got
}

#[test]
fn movements_reach_every_data_core_in_order_and_the_same_conn_of_two_cores_is_two_clients() {
    let mut rig = Rig::new();
    rig.subscribe(0, 1, "h");
    rig.run(0);
    rig.enter(0, 5, "ann");
    rig.run(0);
    rig.enter(1, 5, "ann");
    rig.publish(1, 7, "h", "1");
    rig.ask(1, 8, "h", Want::Page);
    rig.leave(1, 5);
    rig.ask(1, 9, "h", Want::Page);
    let got: Vec<Got> = rig.run(1).into_iter().map(sorted).collect();
    assert_eq!(got[0], moved(Movement::Join, 0, 5));
    assert_eq!(got[1], moved(Movement::Join, 1, 5));
    assert_eq!(events(&got[2..3]), [1]);
    assert!(matches!(got[3], Got::Published { token: 7, .. }));
    assert_eq!(got[4], present(8, &[(0, 5), (1, 5)], 1));
    assert_eq!(got[5], moved(Movement::Leave, 1, 5));
    assert_eq!(got[6..], [present(9, &[(0, 5)], 1)]);
    let elsewhere = rig.take(0);
    assert_eq!(elsewhere.last(), Some(&moved(Movement::Leave, 1, 5)));
    assert_eq!(events(&elsewhere), [1]);
    assert!(
        rig.take(CONTROL).is_empty(),
        "movements are for data cores alone"
    );
    assert_eq!(rig.count(Metric::PresenceJoins), 2);
    assert_eq!(rig.count(Metric::PresenceLeaves), 1);
}

#[test]
fn a_question_makes_no_hunt_and_a_number_is_only_a_number() {
    let mut rig = Rig::new();
    rig.ask(CONTROL, 1, "nobody", Want::Everybody);
    assert_eq!(rig.run(CONTROL), [present(1, &[], 0)]);
    rig.wait(200);
    rig.turn();
    assert_eq!(rig.count(Metric::JournalHunts), 0);
    rig.subscribe(0, 1, "h");
    rig.run(0);
    rig.enter(0, 5, "ann");
    rig.run(0);
    rig.ask(CONTROL, 2, "h", Want::Numbers);
    let stats = Got::Presence {
        token: 2,
        clients: vec![],
        num_clients: 1,
        num_users: 1,
        more: false,
    };
    assert_eq!(rig.run(CONTROL), [stats]);
    rig.wait(200);
    rig.turn();
    assert_eq!(rig.count(Metric::PresenceEntries), 1);
}

#[test]
fn a_long_answer_stays_one_snapshot_while_its_ring_is_full() {
    let ring_bytes = PAGE_BYTES_MAX + 8192;
    let mut rig = Rig::with(MemoryStore::default(), config(10, DAY_MS), ring_bytes);
    rig.subscribe(0, 1, "h");
    rig.run(0);
    let user = "u".repeat(10_000);
    for conn in 0..250 {
        if conn % 50 == 0 {
            rig.run(0);
            rig.take(1);
        }
        rig.enter(0, conn, &user);
    }
    rig.run(0);
    rig.take(1);
    rig.ask(1, 2, "h", Want::Page);
    let too_long = Got::Refused {
        token: 2,
        refusal: Refusal::LimitExceeded,
    };
    assert_eq!(rig.run(1), [too_long]);
    rig.ask(CONTROL, 3, "h", Want::Everybody);
    for conn in 0..50 {
        rig.leave(0, conn);
    }
    let (mut all, mut pages, mut going) = (Vec::new(), 0, true);
    while going {
        rig.turn();
        rig.turn();
        for got in rig.take(CONTROL) {
            let Got::Presence {
                token: 3,
                clients,
                num_clients: 250,
                more,
                ..
            } = got
            else {
                panic!("{got:?}");
            };
            all.extend(clients);
            pages += 1;
            going = more;
        }
    }
    all.sort();
    all.dedup();
    assert_eq!((all.len(), pages), (250, 3));
    assert!(rig.count(Metric::RingBroadcastStalls) > 0);
    rig.run(0);
    rig.take(1);
    rig.ask(CONTROL, 4, "h", Want::Numbers);
    let got = rig.run(CONTROL);
    assert!(
        matches!(
            got[..],
            [Got::Presence {
                num_clients: 200,
                ..
            }]
        ),
        "{got:?}"
    );
}

#[test]
fn an_asker_that_does_not_read_gets_no_more_lists() {
    let ring_bytes = 2 * PAGE_BYTES_MAX;
    let mut rig = Rig::with(MemoryStore::default(), config(10, DAY_MS), ring_bytes);
    rig.subscribe(0, 1, "h");
    rig.run(0);
    let user = "u".repeat(10_000);
    for conn in 0..40 {
        rig.enter(0, conn, &user);
    }
    rig.run(0);
    rig.take(1);
    for token in 10..14 {
        rig.ask(1, token, "h", Want::Page);
    }
    rig.ask(1, 14, "h", Want::Numbers);
    let got = rig.run(1);
    let busy = |token| Got::Refused {
        token,
        refusal: Refusal::Busy,
    };
    assert_eq!(got[2..4], [busy(12), busy(13)]);
    assert!(matches!(got[1], Got::Presence { token: 11, .. }));
    assert!(
        matches!(got[4], Got::Presence { token: 14, .. }),
        "numbers are short"
    );
}
