//! What a backend does to a user's connections: subscribe, unsubscribe, disconnect, refresh.
//!
//! All go the same way: checked here, passed on by the journal to every data core, and answered when they
//! are on their way there (`Submission::Tell`). Users that are not connected are no error.

use engine::protobuf::append_delimited;
use engine::ring::submit::{ByServer, EVENT_BYTES_MAX, INFO_BYTES_MAX, Tell, Told};
use engine::session::codes::{Disconnect, Error};
use engine::session::rules::TTL_S_MAX;
use engine::ws::close::REASON_BYTES_MAX;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::auth::claims::{WrittenOverrides, overrides};
use crate::clock;
use crate::control::api::Api;
use crate::control::methods::{Channel, Failure, Since, json_of, known, nothing, parse};

/// Whose connections; of those only the ones named, if any are.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Whom {
    user: String,
    client: String,
    session: String,
}

impl Whom {
    /// The anonymous are nobody in particular, so nothing can be done to them.
    fn parse(body: &[u8]) -> Result<Whom, Failure> {
        let whom: Whom = parse(body)?;
        match whom.user.is_empty() {
            true => Err(Error::BadRequest.into()),
            false => Ok(whom),
        }
    }

    async fn tell(&self, api: &Api, what: Told<'_>) -> Result<String, Failure> {
        let tell = Tell {
            token: 0,
            user: &self.user,
            client: &self.client,
            session: &self.session,
            what,
        };
        api.journal.tell(tell).await?;
        Ok(nothing())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Subscription {
    channel: String,
    info: Option<Box<RawValue>>,
    b64info: String,
    data: Option<Box<RawValue>>,
    b64data: String,
    recover_since: Option<Since>,
    expire_at: i64,
    #[serde(rename = "override")]
    overrides: Option<WrittenOverrides>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Closing {
    whitelist: Vec<String>,
    disconnect: Option<Reason>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reason {
    code: u16,
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Expiry {
    expired: bool,
    expire_at: i64,
    info: Option<Box<RawValue>>,
}

pub(super) async fn subscribe(api: &Api, body: &[u8]) -> Result<String, Failure> {
    let whom = Whom::parse(body)?;
    let asked: Subscription = parse(body)?;
    known(api, &asked.channel)?;
    let info = json_of(asked.info.as_deref(), &asked.b64info, INFO_BYTES_MAX)?;
    let data = json_of(asked.data.as_deref(), &asked.b64data, EVENT_BYTES_MAX)?;
    let ttl_s = ttl_s(asked.expire_at);
    if ttl_s == Some(0) {
        return Err(Error::BadRequest.into());
    }
    let since = asked.recover_since.as_ref();
    let by_server = ByServer {
        hunt: &asked.channel,
        info: info.as_bytes(),
        data: data.as_bytes(),
        ttl_s,
        since: since.map(|since| (since.epoch.as_str(), since.offset)),
        overrides: overrides(asked.overrides),
    };
    whom.tell(api, Told::Subscribe(by_server)).await
}

pub(super) async fn unsubscribe(api: &Api, body: &[u8]) -> Result<String, Failure> {
    let whom = Whom::parse(body)?;
    let Channel { channel: hunt } = &parse(body)?;
    known(api, hunt)?;
    whom.tell(api, Told::Unsubscribe { hunt }).await
}

pub(super) async fn disconnect(api: &Api, body: &[u8]) -> Result<String, Failure> {
    let whom = Whom::parse(body)?;
    let Closing {
        whitelist,
        disconnect,
    } = parse(body)?;
    let asked = disconnect.unwrap_or_default();
    let default = Disconnect::ForceNoReconnect;
    let (code, reason) = match asked.code {
        0 => (default.code(), default.reason()),
        // Those of the protocol and those of applications.
        3000..=4999 => (asked.code, asked.reason.as_str()),
        _ => return Err(Error::BadRequest.into()),
    };
    if reason.len() > REASON_BYTES_MAX {
        return Err(Error::BadRequest.into());
    }
    let mut spared = Vec::new();
    for client in &whitelist {
        append_delimited(&mut spared, client.as_bytes());
    }
    let spared = &spared;
    whom.tell(
        api,
        Told::Disconnect {
            code,
            reason,
            spared,
        },
    )
    .await
}

pub(super) async fn refresh(api: &Api, body: &[u8]) -> Result<String, Failure> {
    let whom = Whom::parse(body)?;
    let asked: Expiry = parse(body)?;
    let info = json_of(asked.info.as_deref(), "", INFO_BYTES_MAX)?;
    let ttl_s = match asked.expired {
        true => Some(0),
        false => ttl_s(asked.expire_at),
    };
    let info = info.as_bytes();
    whom.tell(api, Told::Refresh { ttl_s, info }).await
}

/// Seconds from now to a time in seconds since 1970; none when it is 0, which means never.
fn ttl_s(expire_at: i64) -> Option<u32> {
    let at = match expire_at {
        0 => return None,
        at => u64::try_from(at).unwrap_or(0),
    };
    let left = at.saturating_sub(clock::wall_ms() / 1000);
    Some(u32::try_from(left).unwrap_or(TTL_S_MAX).min(TTL_S_MAX))
}
