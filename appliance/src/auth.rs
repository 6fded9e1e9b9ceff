//! Checks the tokens that players bring: JSON Web Tokens (RFC 7519) for a connection or for one
//! subscription.
//!
//! Called by a data core's session for each command with a token; keeps the crypto library out of the
//! engine. The road of a token: [`keys`] finds the one key that may have signed it and verifies it,
//! [`claims`] reads what it says in the engine's words. [`jwks`] reads keys anew while all this goes on:
//! whoever verifies takes the keys that are there, without waiting.
//!
//! Invariants: nothing of a token is believed before its signature was verified, but which key to try; a
//! key verifies only its own family of algorithms, so no public key is ever taken for a secret; with no
//! key every token is invalid. There is no leeway in time: both clocks are the operator's. What a
//! failure does to the connection is the session's business (`engine::session::permission`).

pub mod claims;
pub mod jwks;
pub mod keys;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use engine::session::rules::{Claims, SubscriptionClaims, TokenError, Verify};

use crate::auth::claims::Written;
use crate::auth::jwks::KeyFile;
use crate::auth::keys::{Keys, Static};
use crate::clock;
use crate::config::Client;

/// Longest token looked at, in bytes: a longer one costs no hashing.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// What is true of tokens beside their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// One of `aud` has to be this; empty takes any.
    pub audience: String,
    /// `iss` has to be this; empty takes any.
    pub issuer: String,
}

/// Verifies tokens. Clones share their keys.
#[derive(Debug, Clone)]
pub struct Tokens {
    keys: Arc<ArcSwap<Keys>>,
    expected: Expected,
}

impl Tokens {
    /// For the keys that `client` names, and the file to read them anew from, if there is one. The
    /// error says which key cannot be used, and why.
    pub fn open(client: &Client) -> anyhow::Result<(Tokens, Option<KeyFile>)> {
        // The check of the configuration has refused bad ones already.
        let fixed = Static::parse(client).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
        let (keys, file) = match &client.token_jwks_file {
            None => (
                Arc::new(ArcSwap::from_pointee(Keys::new(fixed, None))),
                None,
            ),
            Some(path) => {
                let (keys, file) = KeyFile::open(path, fixed)?;
                (keys, Some(file))
            }
        };
        let expected = Expected {
            audience: client.token_audience.clone(),
            issuer: client.token_issuer.clone(),
        };
        Ok((Tokens { keys, expected }, file))
    }

    /// The checks that a data core's sessions are handed.
    pub fn verify(&self) -> Verify {
        let (connection, subscription) = (self.clone(), self.clone());
        let now_s = || clock::wall_ms() / 1_000;
        Verify {
            connection: Box::new(move |token| connection.connection(token, now_s())),
            subscription: Box::new(move |token| subscription.subscription(token, now_s())),
        }
    }

    /// Checks a connection token at second `now_s` (Unix time).
    pub fn connection(&self, token: &str, now_s: u64) -> Result<Claims, TokenError> {
        self.read(token, now_s)?.connection(now_s)
    }

    /// Checks a subscription token at second `now_s` (Unix time).
    pub fn subscription(&self, token: &str, now_s: u64) -> Result<SubscriptionClaims, TokenError> {
        self.read(token, now_s)?.subscription(now_s)
    }

    fn read(&self, token: &str, now_s: u64) -> Result<Written, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let written: Written = self.keys.load().verify(token).ok_or(TokenError::Invalid)?;
        written.check(&self.expected, now_s)?;
        Ok(written)
    }
}
