//! Every hunt's last offset and the queue of its encoded events.
//!
//! A hunt's lock covers "take the next offset and send" and "read the last offset and begin to
//! receive", so that a player sees every event behind the offset it was told, once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// See the file's header.
#[derive(Debug)]
pub(super) struct Hunts {
    lag_events_max: usize,
    hunts: Mutex<HashMap<String, Arc<Hunt>>>,
}

#[derive(Debug)]
struct Hunt {
    name: String,
    top: Mutex<u64>,
    events: Sender<Utf8Bytes>,
}

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hunts {
    /// None yet.
    pub(super) fn new(lag_events_max: usize) -> Hunts {
        let hunts = Mutex::default();
        Hunts {
            lag_events_max,
            hunts,
        }
    }

    fn hunt(&self, name: &str) -> Arc<Hunt> {
        let mut hunts = lock(&self.hunts);
        if let Some(hunt) = hunts.get(name) {
            return Arc::clone(hunt);
        }
        let hunt = Arc::new(Hunt {
            name: serde_json::Value::from(name).to_string(),
            top: Mutex::new(0),
            events: channel(self.lag_events_max).0,
        });
        hunts.insert(name.to_owned(), Arc::clone(&hunt));
        hunt
    }

    /// Gives the event its offset and every player its bytes.
    pub(super) fn publish(&self, name: &str, data: &RawValue) -> u64 {
        let hunt = self.hunt(name);
        let mut top = lock(&hunt.top);
        *top += 1;
        let (name, offset) = (&hunt.name, *top);
        let event =
            format!(r#"{{"push":{{"channel":{name},"pub":{{"data":{data},"offset":{offset}}}}}}}"#);
        // An error means that nobody listens.
        let _ = hunt.events.send(event.into());
        offset
    }

    /// The last offset, and every event behind it.
    pub(super) fn subscribe(&self, name: &str) -> (u64, Receiver<Utf8Bytes>) {
        let hunt = self.hunt(name);
        let top = lock(&hunt.top);
        (*top, hunt.events.subscribe())
    }
}
