//! What a verified token says, in the engine's words.
//!
//! Claims have Centrifugo's names and meanings (RFC 7519 for the registered ones); unknown ones are
//! ignored, `jti`, `iat` and `meta` among them. JSON for other players or for the bearer is made compact
//! here, once, because the client protocol separates messages by newlines.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use engine::session::rules::{
    Claims, Overrides, ServerSubscription, SubscriptionClaims, TTL_S_MAX, TokenError,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::auth::Expected;
use engine::session::codec::append_line;

/// The claims of either kind of token, as they are written.
#[derive(Debug, Deserialize)]
pub struct Written {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    aud: Option<Audience>,
    iss: Option<String>,
    expire_at: Option<u64>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    // Of connection tokens.
    channels: Option<Vec<String>>,
    subs: Option<BTreeMap<String, Subscription>>,
    // Of subscription tokens.
    channel: Option<String>,
    client: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    #[serde(rename = "override")]
    overrides: Option<WrittenOverrides>,
}

/// RFC 7519 4.1.3: one name, or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Any(Vec<String>),
}

/// What `subs` says of one hunt.
#[derive(Debug, Deserialize)]
struct Subscription {
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    #[serde(rename = "override")]
    overrides: Option<WrittenOverrides>,
}

/// `{"presence": {"value": true}, ...}`
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
pub struct WrittenOverrides {
    presence: Option<Switch>,
    join_leave: Option<Switch>,
    force_push_join_leave: Option<Switch>,
    force_recovery: Option<Switch>,
    force_positioning: Option<Switch>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Switch {
    #[serde(default)]
    value: bool,
}

impl Written {
    /// Whether the token is for us, and for now.
    pub fn check(&self, expected: &Expected, now_s: u64) -> Result<(), TokenError> {
        let audience = &expected.audience;
        let for_us = match &self.aud {
            _ if audience.is_empty() => true,
            None => false,
            Some(Audience::One(one)) => one == audience,
            Some(Audience::Any(any)) => any.contains(audience),
        };
        let issuer = &expected.issuer;
        let from_them = issuer.is_empty() || self.iss.as_ref() == Some(issuer);
        if !for_us || !from_them {
            return Err(TokenError::Invalid);
        }
        self.check_times(now_s)
    }

    /// RFC 7519 4.1.4: not accepted on or after `exp`. 4.1.5: not accepted before `nbf`; a token from
    /// a fast clock is worth asking again, so that too is "expired".
    fn check_times(&self, now_s: u64) -> Result<(), TokenError> {
        #[allow(
            clippy::cast_precision_loss,
            reason = "seconds fit a double for 285 million years"
        )]
        let now = now_s as f64;
        let expired = self.exp.is_some_and(|exp| exp <= now);
        let early = self.nbf.is_some_and(|nbf| nbf > now);
        if expired || early {
            Err(TokenError::Expired)
        } else {
            Ok(())
        }
    }

    /// Reads it as a connection token; one with a `channel` is none.
    pub fn connection(self, now_s: u64) -> Result<Claims, TokenError> {
        if self.channel.is_some() {
            return Err(TokenError::Invalid);
        }
        Ok(Claims {
            ttl_s: self.ttl_s(now_s)?,
            info: payload(self.info.as_deref(), self.b64info.as_deref())?,
            subscriptions: subscriptions(self.subs.unwrap_or_default(), self.channels)?,
            user: self.sub.unwrap_or_default(),
        })
    }

    /// Reads it as a subscription token; one without a `channel` is none.
    pub fn subscription(self, now_s: u64) -> Result<SubscriptionClaims, TokenError> {
        Ok(SubscriptionClaims {
            ttl_s: self.ttl_s(now_s)?,
            info: payload(self.info.as_deref(), self.b64info.as_deref())?,
            data: payload(self.data.as_deref(), self.b64data.as_deref())?,
            overrides: overrides(self.overrides),
            channel: self
                .channel
                .filter(|channel| !channel.is_empty())
                .ok_or(TokenError::Invalid)?,
            client: self.client.unwrap_or_default(),
            user: self.sub.unwrap_or_default(),
        })
    }

    /// Seconds from `now_s` to the end of what is granted. `expire_at` overrides `exp`; 0 is never.
    fn ttl_s(&self, now_s: u64) -> Result<Option<u32>, TokenError> {
        let end = match (self.expire_at, self.exp) {
            (Some(0), _) | (None, None) => return Ok(None),
            (Some(end), _) => end,
            (None, Some(exp)) => whole_seconds(exp),
        };
        match end.saturating_sub(now_s) {
            0 => Err(TokenError::Lapsed),
            left => Ok(Some(
                u32::try_from(left).unwrap_or(TTL_S_MAX).min(TTL_S_MAX),
            )),
        }
    }
}

/// The same in the engine's words.
pub fn overrides(written: Option<WrittenOverrides>) -> Overrides {
    let written = written.unwrap_or_default();
    let value = |switch: Option<Switch>| switch.map(|switch| switch.value);
    Overrides {
        presence: value(written.presence),
        join_leave: value(written.join_leave),
        force_push_join_leave: value(written.force_push_join_leave),
        force_recovery: value(written.force_recovery),
        force_positioning: value(written.force_positioning),
    }
}

/// The server-side subscriptions, by name: those of `subs`, or where it is empty those of `channels`.
fn subscriptions(
    subs: BTreeMap<String, Subscription>,
    channels: Option<Vec<String>>,
) -> Result<Vec<ServerSubscription>, TokenError> {
    if subs.is_empty() {
        let names: BTreeSet<String> = channels.into_iter().flatten().collect();
        return Ok(names
            .into_iter()
            .map(|channel| ServerSubscription {
                channel,
                ..ServerSubscription::default()
            })
            .collect());
    }
    subs.into_iter()
        .map(|(channel, said)| {
            Ok(ServerSubscription {
                channel,
                info: payload(said.info.as_deref(), said.b64info.as_deref())?,
                data: payload(said.data.as_deref(), said.b64data.as_deref())?,
                overrides: overrides(said.overrides),
            })
        })
        .collect()
}

/// Compact JSON of a claim that may be written in base64 (for what is not JSON in other servers; here
/// it has to be); empty when there is none.
fn payload(plain: Option<&RawValue>, base64: Option<&str>) -> Result<Vec<u8>, TokenError> {
    let decoded;
    let text = match (base64.filter(|text| !text.is_empty()), plain) {
        (Some(text), _) => {
            decoded = base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|_| TokenError::Invalid)?;
            decoded.as_slice()
        }
        (None, Some(raw)) => raw.get().as_bytes(),
        (None, None) => return Ok(Vec::new()),
    };
    let mut line = Vec::new();
    append_line(&mut line, text).map_err(|_| TokenError::Invalid)?;
    Ok(line)
}

/// Seconds of a date that may have a fraction (RFC 7519 2, NumericDate), rounded up: a token that is
/// good has at least one left.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float casts saturate; only dates after now, hence positive, get here"
)]
fn whole_seconds(date: f64) -> u64 {
    date.ceil() as u64
}
