//! Asking the journal core and waiting for its answer.
//!
//! A request goes into the submit ring with a token; the answer comes back through the control
//! core's broadcast ring with the same token and wakes whoever waits. Bounds: the ring, and
//! [`WAITING_MAX`] requests at once; past either a request is refused at once and may be repeated.
//! An answer that comes after [`ANSWER_TIMEOUT`] is dropped: the publish may have happened, which is
//! what idempotency keys are for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::metrics::catalog::Metric;
use engine::metrics::counters::Counters;
use engine::path;
use engine::ring::broadcast::{Record, Refusal};
use engine::ring::bytes::{Reader, Writer};
use engine::ring::submit::{
    History, Path, Presence, Publish, SUBMISSION_BYTES_MAX, Submission, Tell, Want,
};
use engine::session::codes::Error;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::clock;
use crate::doorbell::Doorbell;

/// Requests that may wait for the journal at once.
const WAITING_MAX: usize = 4_096;

/// How long a request waits: a journal that takes longer is as good as gone for its caller.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Where an event stands in its hunt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Its number.
    pub offset: u64,
    /// The hunt's epoch.
    pub epoch: String,
}

/// Events of a hunt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The hunt's last event.
    pub top: Position,
    /// A list of publications (`engine::hunt::publication`).
    pub publications: Vec<u8>,
}

/// An event to append.
#[derive(Debug, Clone, Copy, Default)]
pub struct Event<'a> {
    /// Name of the hunt.
    pub hunt: &'a str,
    /// Compact JSON.
    pub data: &'a str,
    /// See [`Publish::tags`].
    pub tags: &'a [u8],
    /// See [`Publish::skip_history`].
    pub skip_history: bool,
    /// See [`Publish::idempotency_key`].
    pub idempotency_key: &'a str,
}

/// Who is in a hunt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Present {
    /// Encoded `ClientInfo`s, each behind its length (`engine::protobuf::append_delimited`); empty when
    /// only numbers were asked.
    pub entries: Vec<u8>,
    /// Connections.
    pub num_clients: u32,
    /// Users among them.
    pub num_users: u32,
}

/// Some of the hunts that have subscribers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listened {
    /// Name and subscribers.
    pub hunts: Vec<(String, u32)>,
    /// Where to go on; none when that was all.
    pub next: Option<u32>,
}

/// A page of a player's path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Walked {
    /// A list of points (`engine::path::Point::list`).
    pub points: Vec<u8>,
    /// Where to go on; none when that was all.
    pub next: Option<path::Place>,
}

#[derive(Debug)]
enum Answer {
    Published(Position),
    Page(Page),
    Present(Present),
    Done,
    Listened(Listened),
    Walked(Walked),
    Refused(Error),
}

/// The way to the journal core. Clones share it.
#[derive(Debug, Clone)]
pub struct JournalClient {
    shared: Arc<Mutex<Shared>>,
    journal: Doorbell,
    counters: Counters,
}

#[derive(Debug)]
struct Shared {
    writer: Writer,
    scratch: Vec<u8>,
    waiting: HashMap<u64, Waiting>,
    next_token: u64,
}

/// Who waits for an answer.
#[derive(Debug)]
struct Waiting {
    sender: oneshot::Sender<Answer>,
    /// What came so far of an answer in several records.
    present: Vec<u8>,
}

/// A request's place among those that wait: given back however the waiting ends, also when the
/// backend hangs up.
struct Place<'a> {
    client: &'a JournalClient,
    token: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.client.lock().waiting.remove(&self.token);
    }
}

impl JournalClient {
    /// Takes the writing end of the control core's submit ring; `journal` is rung after writing.
    pub fn new(writer: Writer, journal: Doorbell, counters: Counters) -> JournalClient {
        let shared = Shared {
            writer,
            scratch: vec![0; SUBMISSION_BYTES_MAX],
            waiting: HashMap::new(),
            next_token: 1,
        };
        JournalClient {
            shared: Arc::new(Mutex::new(shared)),
            journal,
            counters,
        }
    }

    /// Appends an event; answers when it is as durable as configured.
    pub async fn publish(&self, event: Event<'_>) -> Result<Position, Error> {
        let stamp_us = clock::now().0;
        let answer = self.ask(|token| {
            Submission::Publish(Publish {
                token,
                hunt: event.hunt,
                data: event.data.as_bytes(),
                tags: event.tags,
                info: b"",
                idempotency_key: event.idempotency_key,
                skip_history: event.skip_history,
                stamp_us,
            })
        });
        match answer.await? {
            Answer::Published(position) => Ok(position),
            Answer::Refused(error) => Err(error),
            _ => Err(Error::Internal),
        }
    }

    /// Who is in `hunt`: everybody, or with `Want::Numbers` how many.
    pub async fn presence(&self, hunt: &str, want: Want) -> Result<Present, Error> {
        let answer = self.ask(|token| Submission::Presence(Presence { token, hunt, want }));
        match answer.await? {
            Answer::Present(present) => Ok(present),
            Answer::Refused(error) => Err(error),
            _ => Err(Error::Internal),
        }
    }

    /// Reads a page of history; see [`History`] for the arguments.
    pub async fn history(
        &self,
        hunt: &str,
        limit: i64,
        since: Option<(&str, u64)>,
        reverse: bool,
    ) -> Result<Page, Error> {
        let answer = self.ask(|token| {
            Submission::History(History {
                token,
                hunt,
                limit,
                since,
                reverse,
                ..History::default()
            })
        });
        match answer.await? {
            Answer::Page(page) => Ok(page),
            Answer::Refused(error) => Err(error),
            _ => Err(Error::Internal),
        }
    }

    /// Has something done to a user's connections; `tell.token` is of no matter. Answers when every data
    /// core is about to do it, before any event that is published from now on.
    pub async fn tell(&self, tell: Tell<'_>) -> Result<(), Error> {
        self.order(|token| Submission::Tell(Tell { token, ..tell }))
            .await
    }

    /// Drops a hunt's history; answers when that is as durable as configured.
    pub async fn remove_history(&self, hunt: &str) -> Result<(), Error> {
        self.order(|token| Submission::RemoveHistory { token, hunt })
            .await
    }

    /// Some of the hunts that have subscribers; `from` is 0, then what the last answer said.
    pub async fn listened(&self, from: u32) -> Result<Listened, Error> {
        match self
            .ask(|token| Submission::Channels { token, from })
            .await?
        {
            Answer::Listened(listened) => Ok(listened),
            Answer::Refused(error) => Err(error),
            _ => Err(Error::Internal),
        }
    }

    /// A page of `user`'s path from the place `from` on up to `end`, which is not part of it.
    pub async fn path(
        &self,
        user: &str,
        from: path::Place,
        end: path::Place,
        limit: usize,
    ) -> Result<Walked, Error> {
        let answer = self.ask(|token| {
            Submission::Path(Path {
                token,
                user,
                from,
                end,
                limit,
            })
        });
        match answer.await? {
            Answer::Walked(walked) => Ok(walked),
            Answer::Refused(error) => Err(error),
            _ => Err(Error::Internal),
        }
    }

    /// Asks for something that is only to be done.
    async fn order<'a>(&self, submission: impl FnOnce(u64) -> Submission<'a>) -> Result<(), Error> {
        match self.ask(submission).await? {
            Answer::Done => Ok(()),
            Answer::Refused(error) => Err(error),
            _ => Err(Error::Internal),
        }
    }

    /// Hands answers to those who wait, for as long as the process lives. `bell` is ours.
    pub async fn pump(self, mut answers: Reader, bell: Doorbell) -> std::io::Result<()> {
        // JUSTIFICATION: tokio cannot know that a descriptor stays open.
        // SAFETY: the clone keeps the bell's descriptor open for as long as `wakeup` lives.
        let wakeup = unsafe { AsyncFd::register(bell.clone()) }?;
        loop {
            bell.lie_down();
            if self.take_answers(&mut answers) == 0 {
                wakeup.readable().await?.clear_ready();
            }
            bell.get_up();
            // Others of this thread get their turn between two batches.
            tokio::task::yield_now().await;
        }
    }

    async fn ask<'a>(
        &self,
        submission: impl FnOnce(u64) -> Submission<'a>,
    ) -> Result<Answer, Error> {
        let (sender, receiver) = oneshot::channel();
        let token = self.submit(submission, sender)?;
        self.journal.ring();
        let _place = Place {
            client: self,
            token,
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(Error::Internal),
        }
    }

    fn submit<'a>(
        &self,
        submission: impl FnOnce(u64) -> Submission<'a>,
        sender: oneshot::Sender<Answer>,
    ) -> Result<u64, Error> {
        let mut guard = self.lock();
        let Shared {
            writer,
            scratch,
            waiting,
            next_token,
        } = &mut *guard;
        if waiting.len() >= WAITING_MAX {
            self.counters.inc(Metric::RingSubmitFull);
            return Err(Error::TooManyRequests);
        }
        if writer.is_abandoned() {
            // The journal has ended; so will we, in a moment.
            return Err(Error::Internal);
        }
        let token = *next_token;
        // What does not fit the scratch is longer than any submission may be.
        let record =
            postcard::to_slice(&submission(token), scratch).map_err(|_| Error::BadRequest)?;
        let done = writer.push(record);
        self.counters
            .set(Metric::RingSubmitFill, writer.fill_percent());
        if done.is_err() {
            self.counters.inc(Metric::RingSubmitFull);
            return Err(Error::TooManyRequests);
        }
        *next_token += 1;
        let present = Vec::new();
        waiting.insert(token, Waiting { sender, present });
        Ok(token)
    }

    fn take_answers(&self, answers: &mut Reader) -> usize {
        let mut count = 0;
        let mut shared = self.lock();
        self.counters
            .set(Metric::RingSubmitFill, shared.writer.fill_percent());
        while let Some(bytes) = answers.pop() {
            count += 1;
            let Ok(record) = postcard::from_bytes::<Record<'_>>(bytes) else {
                continue;
            };
            let Some((token, mut answer)) = answer(&record) else {
                continue;
            };
            let Some(mut waiting) = shared.waiting.remove(&token) else {
                // Whoever waited has given up.
                continue;
            };
            if let Record::Presence(page) = &record {
                waiting.present.extend_from_slice(page.entries);
                if page.more {
                    shared.waiting.insert(token, waiting);
                    continue;
                }
            }
            if let Answer::Present(present) = &mut answer {
                present.entries = waiting.present;
            }
            // Whoever waited may be giving up.
            let _ = waiting.sender.send(answer);
        }
        count
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic ends the process; the lock cannot be poisoned.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(record: &Record<'_>) -> Option<(u64, Answer)> {
    Some(match record {
        Record::Published(published) => {
            let position = Position {
                offset: published.offset,
                epoch: published.epoch.to_owned(),
            };
            (published.token, Answer::Published(position))
        }
        Record::History(page) => {
            let top = Position {
                offset: page.top,
                epoch: page.epoch.to_owned(),
            };
            let publications = page.publications.to_vec();
            (page.token, Answer::Page(Page { top, publications }))
        }
        // The list comes together in whoever waits.
        Record::Presence(page) => {
            let present = Present {
                entries: Vec::new(),
                num_clients: page.num_clients,
                num_users: page.num_users,
            };
            (page.token, Answer::Present(present))
        }
        Record::Done { token } => (*token, Answer::Done),
        Record::Channels(page) => {
            let hunts = page.hunts().map(|(name, count)| (name.to_owned(), count));
            let listened = Listened {
                hunts: hunts.collect(),
                next: page.next,
            };
            (page.token, Answer::Listened(listened))
        }
        Record::Path(page) => {
            let walked = Walked {
                points: page.points.to_vec(),
                next: page.next,
            };
            (page.token, Answer::Walked(walked))
        }
        Record::Refused { token, refusal } => (*token, Answer::Refused(error_of(*refusal))),
        Record::Event(_) | Record::Subscribed(_) | Record::Movement(_) | Record::Tell(_) => {
            return None;
        }
    })
}

fn error_of(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Unavailable => Error::Internal,
        Refusal::BadRequest => Error::BadRequest,
        Refusal::UnrecoverablePosition => Error::UnrecoverablePosition,
        Refusal::LimitExceeded => Error::LimitExceeded,
        Refusal::Busy => Error::TooManyRequests,
    }
}
