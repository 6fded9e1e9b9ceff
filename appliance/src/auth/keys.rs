//! The keys that tokens are verified with, and which of them a token may be verified with.
//!
//! A key is made with the algorithms it may be used for; the token's `alg` only chooses among them. So
//! an RSA public key never serves as an HMAC secret, a P-256 key never verifies ES384, and "none" is no
//! algorithm. A token that names a `kid` is verified with that key of the set alone, if a set is
//! configured; any other with the one fixed key of its family.
//!
//! Made at start and whenever the set is read anew, off the data plane; then only read. Each key is
//! parsed and tried when it is made, so that the operator hears of a bad one, not the players.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rsa::RsaPublicKey;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::traits::PublicKeyParts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::config::Client;

/// RFC 7518 3.3.
const RSA_BITS_MIN: usize = 2048;

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: &[Algorithm] = &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];

/// One key with what it may be used for.
#[derive(Debug, Clone)]
struct Key {
    decoding: DecodingKey,
    /// Its algorithms; the claims are not looked at by the library.
    validation: Validation,
}

/// The keys of the configuration file.
#[derive(Debug, Clone, Default)]
pub struct Static {
    hmac: Option<Key>,
    rsa: Option<Key>,
    ecdsa: Option<Key>,
    ed25519: Option<Key>,
}

/// All keys there are.
#[derive(Debug)]
pub struct Keys {
    fixed: Static,
    /// None when no set is configured.
    set: Option<KeySet>,
}

/// The keys of a JSON Web Key Set (RFC 7517), by `kid`.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: HashMap<String, Key>,
    /// Keys that are for something else: another use, type, curve or algorithm (RFC 7517 5).
    pub skipped: usize,
}

/// What is wrong with a key set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// No JSON of the shape `{"keys": [...]}`.
    #[error("is not a JSON Web Key Set: {0}")]
    Shape(String),
    /// A key that would be used cannot be.
    #[error("key {kid:?} {why}")]
    Key {
        /// Which.
        kid: String,
        /// Why.
        why: &'static str,
    },
    /// Nothing could be verified.
    #[error("holds no key that can be used")]
    Empty,
}

impl Key {
    /// A key for `algorithms`, all of one family, the first of which is tried.
    fn new(decoding: DecodingKey, algorithms: &[Algorithm]) -> Option<Key> {
        let first = *algorithms.first()?;
        let mut validation = Validation::new(first);
        validation.algorithms = algorithms.to_vec();
        // Times are compared with the caller's clock and `aud` and `iss` with the configuration in
        // `claims`.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        // A point that is not on the curve is an error, a signature that is wrong is not.
        jsonwebtoken::crypto::verify("", b"", &decoding, first).ok()?;
        Some(Key {
            decoding,
            validation,
        })
    }

    fn hmac(secret: &[u8]) -> Option<Key> {
        // Nobody's secret is empty: everybody would know it.
        (!secret.is_empty()).then_some(())?;
        Key::new(DecodingKey::from_secret(secret), HMAC)
    }

    fn rsa(key: &RsaPublicKey) -> Result<Key, &'static str> {
        if key.n().bits() < RSA_BITS_MIN {
            return Err("has less than 2048 bits; make a longer one");
        }
        let (n, e) = (key.n().to_bytes_be(), key.e().to_bytes_be());
        let decoding = DecodingKey::from_rsa_raw_components(&n, &e);
        Key::new(decoding, RSA).ok_or("is not an RSA public key")
    }

    /// From a point in SEC 1 form: the first byte says uncompressed, the length says the curve.
    fn ecdsa(point: &[u8]) -> Option<Key> {
        let algorithm = match point.len() {
            65 => Algorithm::ES256,
            97 => Algorithm::ES384,
            _ => return None,
        };
        Key::new(DecodingKey::from_ec_der(point), &[algorithm])
    }

    fn ed25519(key: &[u8]) -> Option<Key> {
        // The library takes the first 32 bytes without looking whether they are there.
        (key.len() == 32).then_some(())?;
        Key::new(DecodingKey::from_ed_der(key), &[Algorithm::EdDSA])
    }

    /// From one key of a set; none when it is for something else.
    fn from_jwk(jwk: &Jwk) -> Result<Option<Key>, &'static str> {
        if matches!(&jwk.common.public_key_use, Some(other) if *other != PublicKeyUse::Signature) {
            return Ok(None);
        }
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| "is not base64url");
        let key = match &jwk.algorithm {
            AlgorithmParameters::OctetKey(secret) => {
                Key::hmac(&decode(&secret.value)?).ok_or("is an empty secret")?
            }
            AlgorithmParameters::RSA(rsa) => {
                let number = |text: &str| decode(text).map(|n| rsa::BigUint::from_bytes_be(&n));
                let key = RsaPublicKey::new(number(&rsa.n)?, number(&rsa.e)?);
                Key::rsa(&key.map_err(|_| "is not an RSA public key of at most 4096 bits")?)?
            }
            AlgorithmParameters::EllipticCurve(point) => {
                let length = match point.curve {
                    EllipticCurve::P256 => 65,
                    EllipticCurve::P384 => 97,
                    EllipticCurve::P521 | EllipticCurve::Ed25519 => return Ok(None),
                };
                let point = [vec![4], decode(&point.x)?, decode(&point.y)?].concat();
                let key = Some(point).filter(|point| point.len() == length);
                key.and_then(|point| Key::ecdsa(&point))
                    .ok_or("is not a point on its curve")?
            }
            AlgorithmParameters::OctetKeyPair(pair) => {
                if pair.curve != EllipticCurve::Ed25519 {
                    return Ok(None);
                }
                Key::ed25519(&decode(&pair.x)?).ok_or("is not an Ed25519 public key")?
            }
        };
        Ok(key.narrowed(jwk))
    }

    /// The key for the one algorithm that the set names, if it names one; none when that is not ours.
    fn narrowed(mut self, jwk: &Jwk) -> Option<Key> {
        let Some(named) = jwk.common.key_algorithm else {
            return Some(self);
        };
        let name = named.to_string();
        let is_named = |algorithm: &Algorithm| format!("{algorithm:?}") == name;
        self.validation.algorithms.retain(is_named);
        (!self.validation.algorithms.is_empty()).then_some(self)
    }
}

impl Static {
    /// Reads the keys of `client`; what is wrong with any, by configuration key.
    pub fn parse(client: &Client) -> Result<Static, Vec<(&'static str, &'static str)>> {
        let mut faults = Vec::new();
        let mut read = |name, pem: &str, key: fn(&[u8]) -> Result<Key, &'static str>| {
            let read = (!pem.is_empty()).then(|| key(pem.as_bytes()))?;
            read.map_err(|why| faults.push((name, why))).ok()
        };
        let fixed = Static {
            hmac: Key::hmac(client.token_hmac_secret.expose().as_bytes()),
            rsa: read(
                "client.token_rsa_public_key",
                &client.token_rsa_public_key,
                rsa_from_pem,
            ),
            ecdsa: read(
                "client.token_ecdsa_public_key",
                &client.token_ecdsa_public_key,
                ecdsa_from_pem,
            ),
            ed25519: read(
                "client.token_ed25519_public_key",
                &client.token_ed25519_public_key,
                ed25519_from_pem,
            ),
        };
        if faults.is_empty() {
            Ok(fixed)
        } else {
            Err(faults)
        }
    }

    /// The key that may have signed with `algorithm`.
    fn key(&self, algorithm: Algorithm) -> Option<&Key> {
        match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => self.hmac.as_ref(),
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => self.rsa.as_ref(),
            Algorithm::ES256 | Algorithm::ES384 => self.ecdsa.as_ref(),
            Algorithm::EdDSA => self.ed25519.as_ref(),
            // Not Centrifugo's, so nobody asks for it.
            Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512 => None,
        }
    }
}

fn rsa_from_pem(pem: &[u8]) -> Result<Key, &'static str> {
    DecodingKey::from_rsa_pem(pem)
        .ok()
        .and_then(|key| RsaPublicKey::from_pkcs1_der(key.as_bytes()).ok())
        .ok_or("is not an RSA public key in PEM; paste the whole \"BEGIN PUBLIC KEY\" text")
        .and_then(|key| Key::rsa(&key))
}

fn ecdsa_from_pem(pem: &[u8]) -> Result<Key, &'static str> {
    DecodingKey::from_ec_pem(pem)
        .ok()
        .and_then(|key| Key::ecdsa(key.as_bytes()))
        .ok_or(
            "is not a P-256 or P-384 public key in PEM; paste the whole \"BEGIN PUBLIC KEY\" text",
        )
}

fn ed25519_from_pem(pem: &[u8]) -> Result<Key, &'static str> {
    DecodingKey::from_ed_pem(pem)
        .ok()
        .and_then(|key| Key::ed25519(key.as_bytes()))
        .ok_or("is not an Ed25519 public key in PEM; paste the whole \"BEGIN PUBLIC KEY\" text")
}

/// A set before its keys are looked at, so that one that we do not know spoils no other.
#[derive(Deserialize)]
struct RawSet {
    keys: Vec<Box<RawValue>>,
}

/// What every key of a set has.
#[derive(Deserialize)]
struct Name {
    kid: Option<String>,
}

impl KeySet {
    /// Reads a set. A key of ours that cannot be used, or that has no or another's `kid`, refuses all.
    pub fn parse(text: &str) -> Result<KeySet, KeySetError> {
        let shape = |error: serde_json::Error| KeySetError::Shape(error.to_string());
        let raw: RawSet = serde_json::from_str(text).map_err(shape)?;
        let mut set = KeySet::default();
        for raw in &raw.keys {
            let name: Name = serde_json::from_str(raw.get()).map_err(shape)?;
            let kid = name.kid.unwrap_or_default();
            let refused = |why| KeySetError::Key {
                kid: kid.clone(),
                why,
            };
            // A type that the library does not know does not parse.
            let jwk: Option<Jwk> = serde_json::from_str(raw.get()).ok();
            let key = jwk.map_or(Ok(None), |jwk| Key::from_jwk(&jwk));
            let Some(key) = key.map_err(refused)? else {
                set.skipped += 1;
                continue;
            };
            if kid.is_empty() {
                return Err(refused("has no \"kid\"; tokens find their key by it"));
            }
            if set.keys.insert(kid.clone(), key).is_some() {
                return Err(refused("is there twice; give each its own \"kid\""));
            }
        }
        if set.keys.is_empty() {
            return Err(KeySetError::Empty);
        }
        Ok(set)
    }

    /// Keys in it.
    pub fn len(&self) -> usize {
        self.keys.len()
    }
}

impl Keys {
    /// Puts the two sources together.
    pub fn new(fixed: Static, set: Option<KeySet>) -> Keys {
        Keys { fixed, set }
    }

    /// The claims of `token`, if one of the keys signed it and they have the shape of a `T`.
    pub fn verify<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        // RFC 7515 4.1.11: what is critical and not understood invalidates; we understand none.
        if header.crit.is_some() {
            return None;
        }
        let key = match (&self.set, &header.kid) {
            (Some(set), Some(kid)) => set.keys.get(kid),
            _ => self.fixed.key(header.alg),
        }?;
        let token = jsonwebtoken::decode(token, &key.decoding, &key.validation).ok()?;
        Some(token.claims)
    }
}
