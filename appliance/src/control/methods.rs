//! What a backend can ask: Centrifugo's server API, (`docs/api.md`).
//!
//! A method takes the request's JSON and gives the JSON of its result, or an error of the protocol. Here
//! are those about events and presence, [`players`] has those that are done to connections, [`channels`] the one that lists.

mod channels;
mod players;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use engine::hunt::publication::{ClientInfo, append_json_text, append_list_json, append_tag};
use engine::protobuf::delimited;
use engine::ring::submit::{EVENT_BYTES_MAX, Want};
use engine::session::codec::append_line;
use engine::session::codes::Error;
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::control::api::Api;
use crate::control::client::{Event, Position, Present};

/// Hunts of a broadcast, and commands of a parallel batch, that are on their way to the journal at once: they
/// share a sync, and leave others room in the ring.
const AT_ONCE: usize = 8;

/// The body is not what the method takes: HTTP 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadBody(pub String);

/// Why a method gave no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// See [`BadBody`].
    Body(BadBody),
    /// An error of the protocol, in an HTTP 200.
    Protocol(Error),
}

impl Failure {
    /// The error of the protocol that says it.
    fn error(self) -> Error {
        match self {
            Failure::Body(_) => Error::BadRequest,
            Failure::Protocol(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Protocol(error)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PublishOptions {
    data: Option<Box<RawValue>>,
    b64data: String,
    skip_history: bool,
    version: u64,
    tags: BTreeMap<String, String>,
    idempotency_key: String,
}

#[derive(Debug, Deserialize)]
struct Channel {
    #[serde(default)]
    channel: String,
}

#[derive(Debug, Deserialize)]
struct Channels {
    #[serde(default)]
    channels: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct HistoryRequest {
    #[serde(default)]
    channel: String,
    #[serde(default)]
    limit: i64,
    since: Option<Since>,
    #[serde(default)]
    reverse: bool,
}

#[derive(Debug, Deserialize)]
struct Since {
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    epoch: String,
}

#[derive(Debug, Deserialize)]
struct Batch {
    #[serde(default)]
    commands: Vec<Command>,
    /// In no particular order.
    #[serde(default)]
    parallel: bool,
}

/// A method and its body.
type Command = BTreeMap<String, Box<RawValue>>;

/// Calls `method` with the JSON `body`; gives the JSON of the result.
pub async fn call(api: &Api, method: &str, body: &[u8]) -> Result<String, Failure> {
    match method {
        "publish" => publish(api, body).await,
        "broadcast" => broadcast(api, body).await,
        "history" => history(api, body).await,
        "info" => Ok(info(api)),
        "batch" => batch(api, body).await,
        "presence" => presence(api, body).await,
        "presence_stats" => presence_stats(api, body).await,
        "history_remove" => history_remove(api, body).await,
        "channels" => channels::channels(api, body).await,
        "subscribe" => players::subscribe(api, body).await,
        "unsubscribe" => players::unsubscribe(api, body).await,
        "disconnect" => players::disconnect(api, body).await,
        "refresh" => players::refresh(api, body).await,
        // The appliance calls no backend that could answer.
        "rpc" => Err(Error::NotAvailable.into()),
        _ => Err(Error::MethodNotFound.into()),
    }
}

async fn publish(api: &Api, body: &[u8]) -> Result<String, Failure> {
    let Channel { channel } = parse(body)?;
    let options: PublishOptions = parse(body)?;
    let position = publish_one(api, &channel, &payload(options)?).await?;
    Ok(position_json(&position))
}

async fn broadcast(api: &Api, body: &[u8]) -> Result<String, Failure> {
    let Channels { channels } = parse(body)?;
    if channels.is_empty() {
        return Err(Error::BadRequest.into());
    }
    let payload = payload(parse(body)?)?;
    let mut responses = Vec::with_capacity(channels.len());
    for channels in channels.chunks(AT_ONCE) {
        let publishes = channels
            .iter()
            .map(|channel| publish_one(api, channel, &payload));
        for done in join_all(publishes).await {
            responses.push(match done {
                Ok(position) => format!(r#"{{"result":{}}}"#, position_json(&position)),
                Err(error) => format!(r#"{{"error":{}}}"#, error_json(error)),
            });
        }
    }
    Ok(format!(r#"{{"responses":[{}]}}"#, responses.join(",")))
}

/// An event without its hunt.
struct Payload {
    data: String,
    /// As `append_tag` writes them.
    tags: Vec<u8>,
    skip_history: bool,
    idempotency_key: String,
}

/// Checks everything about an event but its hunt.
fn payload(options: PublishOptions) -> Result<Payload, Failure> {
    // Events never grow stale here: saying so beats ignoring what was asked. `delta` is only a wish about the
    // way to subscribers that want it, and there are none.
    if options.version != 0 {
        return Err(Error::NotAvailable.into());
    }
    let data = json_of(options.data.as_deref(), &options.b64data, EVENT_BYTES_MAX)?;
    if data.is_empty() {
        return Err(Error::BadRequest.into());
    }
    let mut tags = Vec::new();
    for (key, value) in &options.tags {
        append_tag(&mut tags, key, value);
    }
    Ok(Payload {
        data,
        tags,
        skip_history: options.skip_history,
        idempotency_key: options.idempotency_key,
    })
}

/// JSON in one line of at most `bytes_max` bytes, written plainly or in base64 (for what is not JSON in other
/// servers; here it has to be); empty when there is none.
fn json_of(plain: Option<&RawValue>, base64: &str, bytes_max: usize) -> Result<String, Error> {
    let mut line = Vec::new();
    let done = match plain {
        Some(plain) => append_line(&mut line, plain.get().as_bytes()),
        None if base64.is_empty() => return Ok(String::new()),
        None => append_line(
            &mut line,
            &STANDARD.decode(base64).map_err(|_| Error::BadRequest)?,
        ),
    };
    done.map_err(|_| Error::BadRequest)?;
    match String::from_utf8(line) {
        Ok(line) if line.len() <= bytes_max => Ok(line),
        _ => Err(Error::BadRequest),
    }
}

async fn publish_one(api: &Api, channel: &str, payload: &Payload) -> Result<Position, Error> {
    known(api, channel)?;
    let event = Event {
        hunt: channel,
        data: &payload.data,
        tags: &payload.tags,
        skip_history: payload.skip_history,
        idempotency_key: &payload.idempotency_key,
    };
    api.journal.publish(event).await
}

async fn history(api: &Api, body: &[u8]) -> Result<String, Failure> {
    let request: HistoryRequest = parse(body)?;
    keeps_history(api, &request.channel)?;
    let since = request
        .since
        .as_ref()
        .map(|since| (since.epoch.as_str(), since.offset));
    let page = api
        .journal
        .history(&request.channel, request.limit, since, request.reverse)
        .await?;
    let mut publications = Vec::new();
    append_list_json(&mut publications, &page.publications);
    Ok(format!(
        r#"{{"publications":{},"offset":{},"epoch":{}}}"#,
        String::from_utf8_lossy(&publications),
        page.top.offset,
        json!(page.top.epoch)
    ))
}

async fn history_remove(api: &Api, body: &[u8]) -> Result<String, Failure> {
    let Channel { channel } = parse(body)?;
    keeps_history(api, &channel)?;
    api.journal.remove_history(&channel).await?;
    Ok(nothing())
}

async fn presence(api: &Api, body: &[u8]) -> Result<String, Failure> {
    let present = present(api, body, Want::Everybody).await?;
    let mut clients = Vec::with_capacity(present.entries.len() * 2);
    for entry in delimited(&present.entries) {
        let info = ClientInfo::parse(entry).map_err(|_| Error::Internal)?;
        clients.extend_from_slice(if clients.is_empty() { b"" } else { b"," });
        append_json_text(&mut clients, info.client);
        clients.push(b':');
        info.append_json(&mut clients);
    }
    let clients = String::from_utf8_lossy(&clients);
    Ok(format!(r#"{{"presence":{{{clients}}}}}"#))
}

async fn presence_stats(api: &Api, body: &[u8]) -> Result<String, Failure> {
    let present = present(api, body, Want::Numbers).await?;
    let (num_clients, num_users) = (present.num_clients, present.num_users);
    Ok(json!({"num_clients": num_clients, "num_users": num_users}).to_string())
}

async fn present(api: &Api, body: &[u8], want: Want) -> Result<Present, Failure> {
    let Channel { channel } = parse(body)?;
    known(api, &channel)?;
    let rules = api.config.channel_rules(&channel);
    if !rules.is_some_and(|rules| rules.presence) {
        return Err(Error::NotAvailable.into());
    }
    Ok(api.journal.presence(&channel, want).await?)
}

/// The commands one after another, so that a later one sees what an earlier one did, or some at once. One
/// that cannot be read is an error among the replies: the caller must hear that those before it are done.
async fn batch(api: &Api, body: &[u8]) -> Result<String, Failure> {
    let Batch { commands, parallel } = parse(body)?;
    let at_once = if parallel { AT_ONCE } else { 1 };
    let mut replies = Vec::with_capacity(commands.len());
    for commands in commands.chunks(at_once) {
        let calls = commands.iter().map(|command| one_of_batch(api, command));
        for done in join_all(calls).await {
            replies.push(match done {
                Ok(reply) => reply,
                Err(failure) => format!(r#"{{"error":{}}}"#, error_json(failure.error())),
            });
        }
    }
    Ok(format!(r#"{{"replies":[{}]}}"#, replies.join(",")))
}

async fn one_of_batch(api: &Api, command: &Command) -> Result<String, Failure> {
    let (method, body) = command.iter().next().ok_or(Error::BadRequest)?;
    if method == "batch" {
        // A batch in a batch would have no end.
        return Err(Error::MethodNotFound.into());
    }
    let result = Box::pin(call(api, method, body.get().as_bytes())).await?;
    Ok(format!("{{{}:{result}}}", json!(method)))
}

fn info(api: &Api) -> String {
    let totals = api.totals();
    json!({"nodes": [{
        "uid": api.node,
        "name": "cluecast",
        "version": env!("CARGO_PKG_VERSION"),
        "num_clients": totals.players,
        "num_users": totals.users,
        "num_channels": totals.hunts,
        "num_subs": totals.subscriptions,
        "uptime": api.started.elapsed().as_secs(),
    }]})
    .to_string()
}

/// Whether a hunt may exist and has a history.
fn keeps_history(api: &Api, channel: &str) -> Result<(), Error> {
    known(api, channel)?;
    let rules = api.config.channel_rules(channel);
    match rules.is_some_and(|rules| rules.keeps_history()) {
        true => Ok(()),
        false => Err(Error::NotAvailable),
    }
}

/// What a method gives that has nothing to say.
fn nothing() -> String {
    "{}".to_owned()
}

/// Whether a hunt may exist.
fn known(api: &Api, channel: &str) -> Result<(), Error> {
    if channel.is_empty() {
        return Err(Error::BadRequest);
    }
    api.config
        .channel_rules(channel)
        .map(|_| ())
        .ok_or(Error::UnknownChannel)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    // serde would take an array for an object whose keys are left out.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Failure::Body(BadBody("not a JSON object".to_owned())));
    }
    serde_json::from_slice(body).map_err(|error| Failure::Body(BadBody(error.to_string())))
}

/// An event that went into no history has no position.
fn position_json(position: &Position) -> String {
    if position.offset == 0 {
        return "{}".to_owned();
    }
    json!({"offset": position.offset, "epoch": position.epoch}).to_string()
}

/// The protocol's error object.
pub fn error_json(error: Error) -> String {
    json!({"code": error.code(), "message": error.message()}).to_string()
}
