//! Who may do what: rules and tokens in, a grant or the protocol's refusal out.
//!
//! Pure functions that the session calls for each command, before it does anything; they hold nothing,
//! ask nothing and allocate nothing (but the name of a personal hunt). The order of the checks is
//! Centrifugo's, because SDKs act on the number of the refusal: an error leaves the connection as it is,
//! a disconnect ends it, and with a code from 3500 on for good.
//!
//! Deliberately stricter than Centrifugo in two places: an anonymous player is nobody's user, so it is
//! in no list behind a `#`; and an expired token does not prolong a subscription.
//!
//! Not here: whether a token's signature and times are right ([`super::rules::Verify`]), how many
//! subscriptions a player may have, whether it is subscribed already.

use crate::ring::submit::PRIVATE_PREFIX;
use crate::session::codes::{Disconnect, Error};
use crate::session::rules::{
    ChannelRules, Claims, NameError, Overrides, Rules, ServerSubscription, SubscriptionClaims,
    TokenError,
};

/// Stands before the users that a hunt is for, at the end of its name.
const USER_BOUNDARY: char = '#';

/// Stands between them.
const USER_SEPARATOR: char = ',';

/// What a player asks when it subscribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish<'a> {
    /// The hunt's name, not empty (that is disconnect 3501, for the session to say).
    pub channel: &'a str,
    /// The player's user id; empty means anonymous.
    pub user: &'a str,
    /// The player's client id, as it was told in the connect reply.
    pub client: &'a str,
    /// The subscribe command asks for recovery (`recoverable`).
    pub recoverable: bool,
    /// It asks for a position (`positioned`).
    pub positioned: bool,
    /// It asks to be told who comes and goes (`join_leave`).
    pub join_leave: bool,
}

/// A subscription that may be, and what it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Granted<'t> {
    /// Seconds until it expires; none when it does not.
    pub ttl_s: Option<u32>,
    /// The player may recover what it misses; never without `positioned`.
    pub recoverable: bool,
    /// The player is told its position, and resubscribed when events were lost on the way to it.
    pub positioned: bool,
    /// The player is listed in the hunt's presence.
    pub presence: bool,
    /// Its coming and going is announced to those who are told.
    pub join_leave: bool,
    /// It is told of others' coming and going.
    pub push_join_leave: bool,
    /// `chan_info`: compact JSON that others see about it, or empty.
    pub info: &'t [u8],
    /// Compact JSON for the reply, or empty.
    pub data: &'t [u8],
}

/// How a command is turned down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// By an error reply.
    Error(Error),
    /// By ending the connection.
    Disconnect(Disconnect),
}

impl From<Error> for Denied {
    fn from(error: Error) -> Denied {
        Denied::Error(error)
    }
}

impl From<Disconnect> for Denied {
    fn from(disconnect: Disconnect) -> Denied {
        Denied::Disconnect(disconnect)
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Error {
        match error {
            NameError::Malformed => Error::BadRequest,
            NameError::UnknownNamespace => Error::UnknownChannel,
        }
    }
}

/// Whether a connect command is accepted; `token` is none when the command has none.
///
/// No token where one is needed: 3501. Expired: error 109; lapsed: error 110; anything else that does
/// not verify: 3500. A token without a user where that is not allowed: 3507.
pub fn may_connect(
    rules: &Rules,
    token: Option<&Result<Claims, TokenError>>,
) -> Result<(), Denied> {
    match token {
        None if rules.anonymous => Ok(()),
        None => Err(Disconnect::BadRequest.into()),
        Some(Err(TokenError::Expired)) => Err(Error::TokenExpired.into()),
        Some(Err(TokenError::Lapsed)) => Err(Error::Expired.into()),
        Some(Err(TokenError::Invalid)) => Err(Disconnect::InvalidToken.into()),
        Some(Ok(claims)) => {
            if claims.user.is_empty() && rules.disallow_anonymous_connection_tokens {
                return Err(Disconnect::PermissionDenied.into());
            }
            Ok(())
        }
    }
}

/// Whether a refresh command with `token` prolongs the connection of `user`.
///
/// Expired: 3005 (the SDK reconnects with a new token); lapsed: error 110; anything else that does not
/// verify, and another's token: 3500. What server-side subscriptions the token brings is to be compared
/// by the session (changed: 3010).
pub fn may_refresh<'t>(
    user: &str,
    token: &'t Result<Claims, TokenError>,
) -> Result<&'t Claims, Denied> {
    match token {
        Err(TokenError::Expired) => Err(Disconnect::ConnectionExpired.into()),
        Err(TokenError::Lapsed) => Err(Error::Expired.into()),
        Err(TokenError::Invalid) => Err(Disconnect::InvalidToken.into()),
        Ok(claims) if claims.user != user => Err(Disconnect::InvalidToken.into()),
        Ok(claims) => Ok(claims),
    }
}

/// Whether a player may subscribe; `token` is none when the command has none, else what
/// [`super::rules::Verify::subscription`] said.
///
/// In this order: unknown namespace, error 102; a name that cannot be, 107; a `$` name without a token,
/// 103. With a token, the token alone decides: expired, 109; lapsed, 110; does not verify, 103; for
/// another hunt, user or client, disconnect 3500. Without one: a user-limited name is for the users it
/// names, any other for those the namespace lets subscribe; the rest, 103.
pub fn may_subscribe<'t>(
    rules: &Rules,
    wish: &Wish<'_>,
    token: Option<&'t Result<SubscriptionClaims, TokenError>>,
) -> Result<Granted<'t>, Denied> {
    let channel = rules.channel(wish.channel).map_err(Error::from)?;
    let claims = match token {
        None if is_open_to(channel, wish.channel, wish.user) => return Ok(granted(channel, wish)),
        None => return Err(Error::PermissionDenied.into()),
        Some(Err(TokenError::Expired)) => return Err(Error::TokenExpired.into()),
        Some(Err(TokenError::Lapsed)) => return Err(Error::Expired.into()),
        Some(Err(TokenError::Invalid)) => return Err(Error::PermissionDenied.into()),
        Some(Ok(claims)) => claims,
    };
    if !is_for(claims, wish.channel, wish.user, wish.client) {
        return Err(Disconnect::InvalidToken.into());
    }
    let overridden = overridden(channel, &claims.overrides);
    Ok(Granted {
        ttl_s: claims.ttl_s,
        info: &claims.info,
        data: &claims.data,
        ..granted(&overridden, wish)
    })
}

/// Whether a `sub_refresh` command prolongs a subscription; gives its new seconds to live (none: it no
/// longer expires) and its new `chan_info` in the claims. `token` is none when the command has none.
///
/// Not subscribed: error 103; no token: 107; does not verify, or is for another hunt, user or client:
/// disconnect 3500; expired or lapsed: 110.
pub fn may_refresh_subscription<'t>(
    wish: &Wish<'_>,
    subscribed: bool,
    token: Option<&'t Result<SubscriptionClaims, TokenError>>,
) -> Result<&'t SubscriptionClaims, Denied> {
    if !subscribed {
        return Err(Error::PermissionDenied.into());
    }
    match token {
        None => Err(Error::BadRequest.into()),
        Some(Err(TokenError::Expired | TokenError::Lapsed)) => Err(Error::Expired.into()),
        Some(Err(TokenError::Invalid)) => Err(Disconnect::InvalidToken.into()),
        Some(Ok(claims)) if is_for(claims, wish.channel, wish.user, wish.client) => Ok(claims),
        Some(Ok(_)) => Err(Disconnect::InvalidToken.into()),
    }
}

/// What a server-side subscription comes to (one of [`Claims::subscriptions`], [`personal`], or an
/// operator's). It needs no permission, but a hunt: unknown namespace, error 102; a name that cannot
/// be, 107.
pub fn by_server<'t>(
    rules: &Rules,
    subscription: &'t ServerSubscription,
) -> Result<Granted<'t>, Error> {
    let channel = rules.channel(&subscription.channel)?;
    let overridden = overridden(channel, &subscription.overrides);
    Ok(Granted {
        info: &subscription.info,
        data: &subscription.data,
        ..granted(&overridden, &Wish::default())
    })
}

/// The hunt of `user` alone, to which a connect subscribes it if the operator wants so; the anonymous
/// have none.
pub fn personal(rules: &Rules, user: &str) -> Option<ServerSubscription> {
    let prefix = rules
        .personal_channel
        .as_ref()
        .filter(|_| !user.is_empty())?;
    Some(ServerSubscription {
        channel: format!("{prefix}{user}"),
        ..ServerSubscription::default()
    })
}

/// A server-side subscription that the connect command names in `subs` and no token brings: granted
/// when the player could subscribe by itself without a token, left out (none) when not. Unknown
/// namespace: disconnect 3501.
pub fn wished_at_connect(
    rules: &Rules,
    name: &str,
    user: &str,
) -> Result<Option<Granted<'static>>, Disconnect> {
    match rules.channel(name) {
        Ok(channel) => {
            Ok(is_open_to(channel, name, user).then(|| granted(channel, &Wish::default())))
        }
        Err(NameError::UnknownNamespace) => Err(Disconnect::BadRequest),
        Err(NameError::Malformed) => Ok(None),
    }
}

/// Whether a player may publish; else error 102, 107 or 103.
pub fn may_publish(rules: &Rules, name: &str, user: &str, subscribed: bool) -> Result<(), Error> {
    let channel = rules.channel(name)?;
    let allowed =
        channel.allow_publish_for_client || channel.allow_publish_for_subscriber && subscribed;
    allow(allowed && is_known(user, channel.allow_publish_for_anonymous))
}

/// Whether a player may read the history; else error 102, 107, 108 (there is none) or 103.
pub fn may_history(rules: &Rules, name: &str, user: &str, subscribed: bool) -> Result<(), Error> {
    let channel = rules.channel(name)?;
    if !channel.history {
        return Err(Error::NotAvailable);
    }
    allow(reads_history(channel, user, subscribed))
}

/// Whether a player may ask who is present, or how many are; else error 102, 107, 108 (nobody knows)
/// or 103.
pub fn may_presence(rules: &Rules, name: &str, user: &str, subscribed: bool) -> Result<(), Error> {
    let channel = rules.channel(name)?;
    if !channel.presence {
        return Err(Error::NotAvailable);
    }
    allow(reads_presence(channel, user, subscribed))
}

fn allow(allowed: bool) -> Result<(), Error> {
    if allowed {
        Ok(())
    } else {
        Err(Error::PermissionDenied)
    }
}

fn is_known(user: &str, anonymous_too: bool) -> bool {
    !user.is_empty() || anonymous_too
}

fn reads_history(channel: &ChannelRules, user: &str, subscribed: bool) -> bool {
    let allowed =
        channel.allow_history_for_client || channel.allow_history_for_subscriber && subscribed;
    allowed && is_known(user, channel.allow_history_for_anonymous)
}

fn reads_presence(channel: &ChannelRules, user: &str, subscribed: bool) -> bool {
    let allowed =
        channel.allow_presence_for_client || channel.allow_presence_for_subscriber && subscribed;
    allowed && is_known(user, channel.allow_presence_for_anonymous)
}

/// Whether the hunt may be subscribed to without a token.
fn is_open_to(channel: &ChannelRules, name: &str, user: &str) -> bool {
    if name.starts_with(PRIVATE_PREFIX) {
        return false;
    }
    let users = name.rsplit_once(USER_BOUNDARY).map(|(_, users)| users);
    match users.filter(|_| channel.allow_user_limited_channels) {
        Some(users) => !user.is_empty() && users.split(USER_SEPARATOR).any(|named| named == user),
        None => {
            channel.allow_subscribe_for_client
                && is_known(user, channel.allow_subscribe_for_anonymous)
        }
    }
}

fn is_for(claims: &SubscriptionClaims, name: &str, user: &str, client: &str) -> bool {
    claims.channel == name
        && claims.user == user
        && (claims.client.is_empty() || claims.client == client)
}

/// The rules as one token changes them.
fn overridden(channel: &ChannelRules, token: &Overrides) -> ChannelRules {
    let push = token.force_push_join_leave;
    ChannelRules {
        presence: token.presence.unwrap_or(channel.presence),
        join_leave: token.join_leave.unwrap_or(channel.join_leave),
        force_push_join_leave: push.unwrap_or(channel.force_push_join_leave),
        force_recovery: token.force_recovery.unwrap_or(channel.force_recovery),
        force_positioning: token.force_positioning.unwrap_or(channel.force_positioning),
        ..channel.clone()
    }
}

/// What the rules and the wish come to together. Asking for more than the rules allow is no error: the
/// reply says what was granted.
fn granted(channel: &ChannelRules, wish: &Wish<'_>) -> Granted<'static> {
    let history = reads_history(channel, wish.user, true);
    let presence = reads_presence(channel, wish.user, true);
    let recoverable =
        channel.force_recovery || wish.recoverable && (channel.allow_recovery || history);
    let positioned =
        channel.force_positioning || wish.positioned && (channel.allow_positioning || history);
    Granted {
        ttl_s: None,
        recoverable: channel.history && recoverable,
        // Who recovers needs a position to recover from.
        positioned: channel.history && (positioned || recoverable),
        presence: channel.presence,
        join_leave: channel.join_leave,
        push_join_leave: channel.force_push_join_leave
            || wish.join_leave && channel.join_leave && presence,
        info: &[],
        data: &[],
    }
}

#[cfg(test)]
mod tests;
