//! The journal between its rings, over the memory store.

mod backend;
mod conserve;
mod fail;
mod order;
mod positions;
mod presence;
mod recover;
mod retain;

use std::sync::atomic::{AtomicU64, Ordering};

use super::memory_store::MemoryStore;
use super::*;
use crate::hunt::publication::ClientInfo;
use crate::hunt::publication::Publication;
use crate::path::{Place, Point};
use crate::protobuf;
use crate::ring::broadcast::{Movement, RECORD_BYTES_MAX, Record};
use crate::ring::bytes::ring;
use crate::ring::submit::{History, Publish, SUBMISSION_BYTES_MAX, Subscribe};

/// A record, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Event {
        hunt: u32,
        offset: u64,
        publication: String,
    },
    Published {
        token: u64,
        offset: u64,
        epoch: String,
    },
    Subscribed {
        token: u64,
        hunt: u32,
        top: u64,
        recoverable: bool,
        epoch: String,
    },
    History {
        token: u64,
        top: u64,
        epoch: String,
        page: String,
    },
    Presence {
        token: u64,
        clients: Vec<String>,
        num_clients: u32,
        num_users: u32,
        more: bool,
    },
    Moved {
        hunt: u32,
        movement: Movement,
        client: String,
    },
    Told {
        token: u64,
        user: String,
        top: Option<u64>,
    },
    Done(u64),
    Channels {
        hunts: Vec<(String, u32)>,
        next: Option<u32>,
    },
    /// Time and latitude of each point.
    Path {
        token: u64,
        points: Vec<(u64, i32)>,
        next: Option<Place>,
    },
    Refused {
        token: u64,
        refusal: Refusal,
    },
}

/// A journal with two data cores and a control core, and the clock.
struct Rig {
    store: MemoryStore,
    core: JournalCore<MemoryStore>,
    submit: Vec<Writer>,
    sinks: Vec<Reader>,
    counters: Counters,
    now: Micros,
    wall_ms: u64,
}

/// Every process has its own seed.
static SEED: AtomicU64 = AtomicU64::new(1);

const CONTROL: usize = 2;
const DAY_MS: u64 = 86_400_000;

fn config(history_size: u32, history_ttl_ms: u64) -> Config {
    let default = Rule {
        history_size,
        history_ttl_ms,
        compress_from: None,
    };
    let retention = Retention {
        default,
        namespaces: vec![],
        paths: PathRule::default(),
    };
    Config {
        durability: Durability::Fsync,
        hunts_max: 8,
        retention,
    }
}

impl Rig {
    fn new() -> Rig {
        Rig::with(MemoryStore::default(), config(1000, DAY_MS), 4 << 20)
    }

    fn with(store: MemoryStore, config: Config, ring_bytes: usize) -> Rig {
        let (submit, sources) = (0..3).map(|_| ring(1 << 20, SUBMISSION_BYTES_MAX)).unzip();
        let (writers, sinks) = (0..3)
            .map(|_| ring(ring_bytes, RECORD_BYTES_MAX.min(ring_bytes - 4)))
            .unzip();
        let counters = Counters::default();
        let seed = SEED.fetch_add(1, Ordering::Relaxed);
        let core = JournalCore::open(
            store.clone(),
            config,
            sources,
            writers,
            2,
            counters.clone(),
            seed,
        )
        .unwrap();
        Rig {
            store,
            core,
            submit,
            sinks,
            counters,
            now: Micros(1_000_000),
            wall_ms: 1_700_000_000_000,
        }
    }

    /// The process ends; another one starts on what the store has.
    fn restart(self) -> Rig {
        let (store, config) = (self.store.clone(), self.core.config.clone());
        let mut next = Rig::with(store, config, 4 << 20);
        (next.now, next.wall_ms) = (Micros(50), self.wall_ms);
        next
    }

    fn submit(&mut self, source: usize, submission: Submission<'_>) {
        let mut bytes = Vec::new();
        emit(&submission, &mut bytes);
        self.submit[source].push(&bytes).unwrap();
    }

    fn publish(&mut self, source: usize, token: u64, hunt: &str, data: &str) {
        self.publish_keyed(source, token, hunt, data, "");
    }

    fn publish_keyed(&mut self, source: usize, token: u64, hunt: &str, data: &str, key: &str) {
        let publish = Publish {
            token,
            hunt,
            data: data.as_bytes(),
            idempotency_key: key,
            ..Publish::default()
        };
        self.submit(source, Submission::Publish(publish));
    }

    fn subscribe(&mut self, source: usize, token: u64, hunt: &str) {
        self.submit(
            source,
            Submission::Subscribe(Subscribe {
                token,
                hunt,
                ..Subscribe::default()
            }),
        );
    }

    /// What a data core makes of it: the journal's word, and the page behind `offset` when there is one.
    fn recover(&mut self, hunt: &str, epoch: &str, offset: u64) -> (bool, u64, String) {
        let ask = Subscribe {
            token: 9,
            hunt,
            recover: true,
            epoch,
            offset,
        };
        self.submit(0, Submission::Subscribe(ask));
        let (recoverable, top) = match self.run(0).pop() {
            Some(Got::Subscribed {
                recoverable, top, ..
            }) => (recoverable, top),
            other => panic!("{other:?}"),
        };
        if !recoverable || offset == top {
            return (recoverable, top, String::new());
        }
        match self.history_of(hunt, -1, Some((epoch, offset)), false) {
            Got::History { page, .. } => {
                let is_whole = offsets(&page).first() == Some(&(offset + 1));
                let page = if is_whole { page } else { String::new() };
                (is_whole, top, page)
            }
            other => panic!("{other:?}"),
        }
    }

    fn history(&mut self, limit: i64, since: Option<(&str, u64)>, reverse: bool) -> Got {
        self.history_of("h", limit, since, reverse)
    }

    fn history_of(
        &mut self,
        hunt: &str,
        limit: i64,
        since: Option<(&str, u64)>,
        reverse: bool,
    ) -> Got {
        let ask = History {
            token: 9,
            hunt,
            limit,
            since,
            reverse,
            ..History::default()
        };
        self.submit(CONTROL, Submission::History(ask));
        self.run(CONTROL).pop().unwrap()
    }

    fn turn(&mut self) -> Turn {
        self.now = self.now + Micros(10);
        self.core.turn(self.now, self.wall_ms)
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now = self.now + Micros::from_millis(milliseconds);
        self.wall_ms += milliseconds;
    }

    /// Turns until there is nothing to do; what `sink` got.
    fn run(&mut self, sink: usize) -> Vec<Got> {
        while self.turn().busy {}
        self.take(sink)
    }

    fn take(&mut self, sink: usize) -> Vec<Got> {
        let mut got = Vec::new();
        while let Some(bytes) = self.sinks[sink].pop() {
            got.push(owned(bytes));
        }
        got
    }

    fn epoch(&mut self, hunt: &str) -> String {
        self.subscribe(0, 1, hunt);
        match self.run(0).pop() {
            Some(Got::Subscribed { epoch, .. }) => epoch,
            other => panic!("{other:?}"),
        }
    }

    fn count(&self, metric: Metric) -> u64 {
        self.counters.get(metric)
    }
}

fn owned(bytes: &[u8]) -> Got {
    match postcard::from_bytes(bytes).unwrap() {
        Record::Event(e) => {
            let publication = Publication::parse(e.publication).unwrap();
            Got::Event {
                hunt: e.hunt,
                offset: publication.offset,
                publication: json(e.publication),
            }
        }
        Record::Published(p) => Got::Published {
            token: p.token,
            offset: p.offset,
            epoch: p.epoch.to_owned(),
        },
        Record::Subscribed(s) => Got::Subscribed {
            token: s.token,
            hunt: s.hunt,
            top: s.top,
            recoverable: s.recoverable,
            epoch: s.epoch.to_owned(),
        },
        Record::History(h) => Got::History {
            token: h.token,
            top: h.top,
            epoch: h.epoch.to_owned(),
            page: page(h.publications),
        },
        Record::Presence(p) => Got::Presence {
            token: p.token,
            clients: protobuf::delimited(p.entries).map(client).collect(),
            num_clients: p.num_clients,
            num_users: p.num_users,
            more: p.more,
        },
        Record::Movement(m) => Got::Moved {
            hunt: m.hunt,
            movement: m.movement,
            client: client(m.who),
        },
        Record::Tell(relay) => Got::Told {
            token: relay.tell.token,
            user: relay.tell.user.to_owned(),
            top: relay.stand.map(|stand| stand.top),
        },
        Record::Done { token } => Got::Done(token),
        Record::Channels(page) => Got::Channels {
            hunts: page.hunts().map(|(name, n)| (name.to_owned(), n)).collect(),
            next: page.next,
        },
        Record::Path(page) => Got::Path {
            token: page.token,
            points: Point::list(page.points)
                .map(|point| (point.time_ms, point.lat_e7))
                .collect(),
            next: page.next,
        },
        Record::Refused { token, refusal } => Got::Refused { token, refusal },
    }
}

/// The client id of an encoded `ClientInfo`.
fn client(info: &[u8]) -> String {
    ClientInfo::parse(info).unwrap().client.to_owned()
}

/// A publication as JSON.
fn json(publication: &[u8]) -> String {
    let mut out = Vec::new();
    Publication::parse(publication)
        .unwrap()
        .append_json(&mut out);
    String::from_utf8(out).unwrap()
}

/// A list of publications as JSON objects joined by commas.
fn page(list: &[u8]) -> String {
    let objects: Vec<String> = protobuf::delimited(list).map(json).collect();
    objects.join(",")
}

/// Offsets of the events among `got`.
fn events(got: &[Got]) -> Vec<u64> {
    let offset = |got: &Got| {
        if let Got::Event { offset, .. } = got {
            Some(*offset)
        } else {
            None
        }
    };
    got.iter().filter_map(offset).collect()
}

/// Offsets in a page.
fn offsets(page: &str) -> Vec<u64> {
    let list: Vec<serde_json::Value> = serde_json::from_str(&format!("[{page}]")).unwrap();
    list.iter().map(|p| p["offset"].as_u64().unwrap()).collect()
}
