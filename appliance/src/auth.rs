//! Checks the tokens that players bring: JSON Web Tokens (RFC 7519) signed with HS256.
//!
//! Called by a data core's session for each connect and refresh command. Keeps the
//! crypto library out of the engine. Pure: the time is an argument, and there is no leeway (both
//! clocks are the operator's). What a failure does to the connection is the session's business.
//!
//! Invariants: nothing of a token is believed before its signature was verified; with no secret
//! configured every token is invalid; other algorithms ("none" included) are refused.

use base64::Engine;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::config::Secret;
use crate::control::json;

#[cfg(test)]
mod tests;

/// Longest token looked at, in bytes: a longer one costs no hashing.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Verifies tokens with one secret. Clone it into each data core.
#[derive(Clone)]
pub struct Tokens {
    /// None when no secret is configured.
    key: Option<DecodingKey>,
    validation: Validation,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("configured", &self.key.is_some())
            .finish_non_exhaustive()
    }
}

/// What a connection token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The player's user; empty is anonymous.
    pub user: String,
    /// Second (Unix time) at which the connection expires; none never.
    pub expire_at: Option<u64>,
    /// `conn_info` for others to see: compact JSON.
    pub info: Option<String>,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// Good once, or good later (`exp`, `nbf`): the client may fetch another (error 109).
    Expired,
    /// Not ours, damaged, or of the other kind.
    Invalid,
}

/// Claims as they are written. Unknown ones are ignored (RFC 7519 4).
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    sub: String,
    exp: Option<f64>,
    nbf: Option<f64>,
    expire_at: Option<u64>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    channel: Option<IgnoredAny>,
}

impl Tokens {
    /// For tokens signed with `secret`; an empty one accepts none.
    pub fn new(secret: &Secret) -> Tokens {
        let mut validation = Validation::new(Algorithm::HS256);
        // Times are compared with the caller's clock in `check_times`; `aud` and `iss` are not
        // configured, so anyone's are accepted.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let key =
            (!secret.is_empty()).then(|| DecodingKey::from_secret(secret.expose().as_bytes()));
        Tokens { key, validation }
    }

    /// Checks a connection token at second `now_s` (Unix time).
    pub fn verify_connection(&self, token: &str, now_s: u64) -> Result<Claims, TokenError> {
        let written = self.decode(token)?;
        // A subscription token must not open a connection.
        if written.channel.is_some() {
            return Err(TokenError::Invalid);
        }
        written.check_times(now_s)?;
        Ok(Claims {
            expire_at: written.lifetime(),
            info: written.info()?,
            user: written.sub,
        })
    }

    fn decode(&self, token: &str) -> Result<Written, TokenError> {
        let key = self.key.as_ref().ok_or(TokenError::Invalid)?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        jsonwebtoken::decode::<Written>(token, key, &self.validation)
            .map(|data| data.claims)
            .map_err(|_| TokenError::Invalid)
    }
}

impl Written {
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

    /// `expire_at` overrides `exp` as the end of the connection; 0 means never.
    fn lifetime(&self) -> Option<u64> {
        match self.expire_at {
            Some(0) => None,
            Some(second) => Some(second),
            None => self.exp.map(whole_seconds),
        }
    }

    /// `b64info` (for what is not JSON in other servers) or `info`; ours must be JSON.
    fn info(&self) -> Result<Option<String>, TokenError> {
        if let Some(encoded) = self.b64info.as_deref().filter(|text| !text.is_empty()) {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(encoded)
                .map_err(|_| TokenError::Invalid)?;
            return json::compact(&bytes)
                .map(Some)
                .map_err(|_| TokenError::Invalid);
        }
        let Some(raw) = &self.info else {
            return Ok(None);
        };
        json::compact(raw.get().as_bytes())
            .map(Some)
            .map_err(|_| TokenError::Invalid)
    }
}

/// Seconds of a date that may have a fraction (RFC 7519 2, NumericDate), rounded down.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float casts saturate; only dates after now, hence positive, get here"
)]
fn whole_seconds(date: f64) -> u64 {
    date as u64
}
