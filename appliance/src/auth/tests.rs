//! Tokens: which key verifies which, and what claims mean (RFC 7519, Centrifugo).
//!
//! The keys in `test-keys` were made with openssl for these tests and are used nowhere else.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use engine::metrics::catalog::Metric;
use engine::metrics::counters::Counters;
use engine::session::rules::{Overrides, ServerSubscription, TTL_S_MAX};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::config::Secret;

const NOW_S: u64 = 1_800_000_000;

const RSA: &str = include_str!("test-keys/rsa.pem");
const RSA_PUBLIC: &str = include_str!("test-keys/rsa.pub.pem");
const RSA_1024_PUBLIC: &str = include_str!("test-keys/rsa1024.pub.pem");
const P256: &str = include_str!("test-keys/p256.pem");
const P256_PUBLIC: &str = include_str!("test-keys/p256.pub.pem");
const P384: &str = include_str!("test-keys/p384.pem");
const P384_PUBLIC: &str = include_str!("test-keys/p384.pub.pem");
const ED25519: &str = include_str!("test-keys/ed25519.pem");
const ED25519_PUBLIC: &str = include_str!("test-keys/ed25519.pub.pem");

/// All that are accepted.
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

fn hmac(text: &str) -> Client {
    Client {
        token_hmac_secret: serde_json::from_value(json!(text)).unwrap(),
        ..Client::default()
    }
}

fn tokens(client: &Client) -> Tokens {
    Tokens::open(client).unwrap().0
}

/// Every kind of fixed key at once; the curve is that of `ecdsa`.
fn all_keys(ecdsa: &str) -> Client {
    Client {
        token_rsa_public_key: RSA_PUBLIC.to_owned(),
        token_ecdsa_public_key: ecdsa.to_owned(),
        token_ed25519_public_key: ED25519_PUBLIC.to_owned(),
        ..hmac("secret")
    }
}

/// The private key for `algorithm`.
fn private(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
            EncodingKey::from_secret(b"secret")
        }
        Algorithm::ES256 => EncodingKey::from_ec_pem(P256.as_bytes()).unwrap(),
        Algorithm::ES384 => EncodingKey::from_ec_pem(P384.as_bytes()).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(ED25519.as_bytes()).unwrap(),
        _ => EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap(),
    }
}

fn sign(header: &Header, key: &EncodingKey, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, key).unwrap()
}

fn signed_by(algorithm: Algorithm, claims: &Value) -> String {
    sign(&Header::new(algorithm), &private(algorithm), claims)
}

fn named(algorithm: Algorithm, kid: &str, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = Some(kid.to_owned());
    sign(&header, &private(algorithm), claims)
}

fn connection(claims: &Value) -> Result<Claims, TokenError> {
    tokens(&hmac("secret")).connection(&signed_by(Algorithm::HS256, claims), NOW_S)
}

fn subscription(claims: &Value) -> Result<SubscriptionClaims, TokenError> {
    tokens(&hmac("secret")).subscription(&signed_by(Algorithm::HS256, claims), NOW_S)
}

/// The user that `tokens` take the bearer of `token` for.
fn user(tokens: &Tokens, token: &str) -> Result<String, TokenError> {
    tokens.connection(token, NOW_S).map(|claims| claims.user)
}

fn good() -> Result<String, TokenError> {
    Ok("42".to_owned())
}

const BAD: Result<String, TokenError> = Err(TokenError::Invalid);

mod signatures {
    use super::*;

    #[test]
    fn each_algorithm_verifies_with_its_key_and_no_other() {
        let claims = json!({"sub": "42"});
        let hmac_only = tokens(&hmac("secret"));
        let p256 = tokens(&all_keys(P256_PUBLIC));
        let p384 = tokens(&all_keys(P384_PUBLIC));
        let nothing = tokens(&Client::default());
        for &algorithm in ALGORITHMS {
            let token = signed_by(algorithm, &claims);
            let is = |tokens: &Tokens| user(tokens, &token) == good();
            let is_hmac = format!("{algorithm:?}").starts_with("HS");
            assert_eq!(is(&p256), algorithm != Algorithm::ES384, "{algorithm:?}");
            assert_eq!(is(&p384), algorithm != Algorithm::ES256, "{algorithm:?}");
            assert_eq!(is(&hmac_only), is_hmac, "{algorithm:?}");
            assert!(!is(&nothing), "{algorithm:?}");
        }
        for pss in [Algorithm::PS256, Algorithm::PS384, Algorithm::PS512] {
            assert_eq!(user(&p256, &signed_by(pss, &claims)), BAD);
        }
    }

    /// Not by the library under test: HS256 by hand with the secret "secret", the others by openssl.
    #[test]
    fn tokens_made_elsewhere_verify() {
        let by_hand = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9.79CVgMIG_JB921dVUeJDWNJubJojFodH3-XtC_1C408";
        assert_eq!(user(&tokens(&hmac("secret")), by_hand), good());
        let (p256, p384) = (
            tokens(&all_keys(P256_PUBLIC)),
            tokens(&all_keys(P384_PUBLIC)),
        );
        let by_openssl = include_str!("test-keys/made-by-openssl.txt");
        assert_eq!(by_openssl.lines().count(), 5);
        for line in by_openssl.lines() {
            let (algorithm, token) = line.split_once(' ').unwrap();
            let tokens = if algorithm == "ES384" { &p384 } else { &p256 };
            assert_eq!(user(tokens, token), good(), "{algorithm}");
        }
    }

    #[test]
    fn a_wrong_signature_is_invalid() {
        let p256 = tokens(&all_keys(P256_PUBLIC));
        for &algorithm in ALGORITHMS {
            // A good signature of other claims.
            let one = signed_by(algorithm, &json!({"sub": "42"}));
            let two = signed_by(algorithm, &json!({"sub": "43", "exp": NOW_S - 1}));
            let (claims, _) = two.rsplit_once('.').unwrap();
            let (_, signature) = one.rsplit_once('.').unwrap();
            assert_eq!(
                user(&p256, &format!("{claims}.{signature}")),
                BAD,
                "{algorithm:?}"
            );
            assert_eq!(user(&p256, &format!("{claims}.")), BAD, "{algorithm:?}");
        }
        let other = EncodingKey::from_secret(b"other");
        let token = sign(
            &Header::new(Algorithm::HS256),
            &other,
            &json!({"sub": "42"}),
        );
        assert_eq!(user(&p256, &token), BAD);
    }

    #[test]
    fn no_algorithm_is_no_signature() {
        let all = tokens(&all_keys(P256_PUBLIC));
        let b64 = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for algorithm in ["none", "None", "NONE", "", "HS1", "ES512"] {
            let header = b64(&json!({"alg": algorithm}).to_string());
            let unsigned = format!("{header}.{}.", b64(r#"{"sub":"42"}"#));
            assert_eq!(user(&all, &unsigned), BAD, "{algorithm}");
        }
        let critical = b64(r#"{"alg":"HS256","crit":["exp"]}"#);
        let message = format!("{critical}.{}", b64(r#"{"sub":"42"}"#));
        let key = private(Algorithm::HS256);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
        assert_eq!(
            user(&all, &format!("{message}.{}", signature.unwrap())),
            BAD
        );
    }

    /// Everybody has the public key: it must not pass for a secret.
    #[test]
    fn a_public_key_is_no_secret() {
        let without_hmac = Client {
            token_hmac_secret: Secret::default(),
            ..all_keys(P256_PUBLIC)
        };
        let set = key_set(&[("a", Algorithm::RS256), ("b", Algorithm::ES256)]);
        let (file, with_set) = with_file(&set, without_hmac.clone());
        let publics = [RSA_PUBLIC, P256_PUBLIC, ED25519_PUBLIC];
        let der = |pem: &str| {
            STANDARD.decode(
                pem.lines()
                    .filter(|l| !l.starts_with('-'))
                    .collect::<String>(),
            )
        };
        for public in publics {
            for secret in [public.as_bytes().to_vec(), der(public).unwrap()] {
                for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                    for kid in [None, Some("a"), Some("b")] {
                        let mut header = Header::new(algorithm);
                        header.kid = kid.map(str::to_owned);
                        let key = EncodingKey::from_secret(&secret);
                        let token = sign(&header, &key, &json!({"sub": "42"}));
                        for keys in [&without_hmac, &all_keys(P256_PUBLIC), &with_set] {
                            assert_eq!(user(&tokens(keys), &token), BAD);
                        }
                    }
                }
            }
        }
        drop(file);
    }

    #[test]
    fn damaged_tokens_are_invalid() {
        let tokens = tokens(&hmac("secret"));
        let good = signed_by(Algorithm::HS256, &json!({"sub": "42"}));
        for cut in 0..good.len() {
            assert_eq!(user(&tokens, &good[..cut]), BAD, "{cut} bytes");
        }
        let long = signed_by(
            Algorithm::HS256,
            &json!({"sub": "x".repeat(TOKEN_BYTES_MAX)}),
        );
        assert_eq!(user(&tokens, &long), BAD);
        for shape in [
            json!(["sub"]),
            json!("42"),
            json!({"sub": 42}),
            json!({"exp": "soon"}),
        ] {
            assert_eq!(
                user(&tokens, &signed_by(Algorithm::HS256, &shape)),
                BAD,
                "{shape}"
            );
        }
    }

    #[test]
    fn without_a_secret_every_token_is_invalid() {
        let empty = EncodingKey::from_secret(b"");
        let token = sign(
            &Header::new(Algorithm::HS256),
            &empty,
            &json!({"sub": "42"}),
        );
        assert_eq!(user(&tokens(&hmac("")), &token), BAD);
    }

    #[test]
    fn keys_that_cannot_be_used_are_refused() {
        let faults = |client: &Client| {
            let faults = keys::Static::parse(client).unwrap_err();
            faults.iter().map(|(key, _)| *key).collect::<Vec<_>>()
        };
        let rsa = "client.token_rsa_public_key";
        for text in ["x", RSA, P256_PUBLIC, ED25519_PUBLIC, RSA_1024_PUBLIC] {
            let client = Client {
                token_rsa_public_key: text.to_owned(),
                ..Client::default()
            };
            assert_eq!(faults(&client), [rsa], "{text}");
        }
        for text in ["x", P256, RSA_PUBLIC, ED25519_PUBLIC] {
            let client = Client {
                token_ecdsa_public_key: text.to_owned(),
                ..Client::default()
            };
            assert_eq!(faults(&client), ["client.token_ecdsa_public_key"], "{text}");
        }
        for text in ["x", ED25519, RSA_PUBLIC, P256_PUBLIC] {
            let client = Client {
                token_ed25519_public_key: text.to_owned(),
                ..Client::default()
            };
            assert_eq!(
                faults(&client),
                ["client.token_ed25519_public_key"],
                "{text}"
            );
        }
    }

    #[test]
    fn the_secret_does_not_show() {
        assert!(!format!("{:?}", tokens(&hmac("hush-hush"))).contains("hush"));
        let bytes = format!("{:?}", b"hush-hush");
        let bytes = bytes.trim_matches(['[', ']']);
        assert!(!format!("{:?}", tokens(&hmac("hush-hush"))).contains(bytes));
    }
}

/// A set with a key for each: the public keys as another library writes them.
fn key_set(keys: &[(&str, Algorithm)]) -> Value {
    let public: Value = serde_json::from_str(include_str!("test-keys/jwk-by-node.json")).unwrap();
    let jwk = |(kid, algorithm): &(&str, Algorithm)| {
        let name = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => "secret",
            Algorithm::ES256 => "p256",
            Algorithm::ES384 => "p384",
            Algorithm::EdDSA => "ed25519",
            _ => "rsa",
        };
        let mut jwk = public[name].clone();
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(format!("{algorithm:?}"));
        jwk
    };
    json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()})
}

/// `client` with a file that holds `set`; the file lives as long as the first of both.
fn with_file(set: &Value, client: Client) -> (tempfile::NamedTempFile, Client) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set.to_string()).unwrap();
    let client = Client {
        token_jwks_file: Some(file.path().to_owned()),
        ..client
    };
    (file, client)
}

mod sets {
    use super::*;
    use crate::auth::keys::{KeySet, KeySetError};

    #[test]
    fn a_token_is_verified_with_the_key_it_names() {
        let names: Vec<String> = ALGORITHMS.iter().map(|a| format!("{a:?}")).collect();
        let keys: Vec<_> = names
            .iter()
            .map(String::as_str)
            .zip(ALGORITHMS.iter().copied())
            .collect();
        let (_file, client) = with_file(&key_set(&keys), Client::default());
        let tokens = tokens(&client);
        let claims = json!({"sub": "42"});
        for &algorithm in ALGORITHMS {
            for (kid, of) in &keys {
                let expected = if *of == algorithm { good() } else { BAD };
                let token = named(algorithm, kid, &claims);
                assert_eq!(
                    user(&tokens, &token),
                    expected,
                    "{algorithm:?} with the key {kid}"
                );
            }
            assert_eq!(user(&tokens, &named(algorithm, "unknown", &claims)), BAD);
            assert_eq!(user(&tokens, &signed_by(algorithm, &claims)), BAD);
        }
    }

    /// While tokens of both kinds are about: those without a name use the fixed keys.
    #[test]
    fn fixed_keys_and_a_set_go_together() {
        let claims = json!({"sub": "42"});
        let (_file, client) = with_file(&key_set(&[("a", Algorithm::EdDSA)]), hmac("secret"));
        let both = tokens(&client);
        assert_eq!(user(&both, &signed_by(Algorithm::HS256, &claims)), good());
        assert_eq!(user(&both, &named(Algorithm::EdDSA, "a", &claims)), good());
        assert_eq!(user(&both, &named(Algorithm::HS256, "a", &claims)), BAD);
        assert_eq!(user(&both, &named(Algorithm::HS256, "b", &claims)), BAD);
        // Without a set a name means nothing.
        let fixed = tokens(&hmac("secret"));
        assert_eq!(user(&fixed, &named(Algorithm::HS256, "a", &claims)), good());
    }

    /// RFC 7517 5: what is for something else is left out.
    #[test]
    fn a_set_holds_what_is_ours() {
        let mut set = key_set(&[("a", Algorithm::RS256), ("b", Algorithm::ES256)]);
        let keys = set["keys"].as_array_mut().unwrap();
        keys[0].as_object_mut().unwrap().remove("alg");
        let mut encrypts = keys[0].clone();
        encrypts["use"] = json!("enc");
        keys.push(encrypts);
        let mut pss = keys[0].clone();
        pss["alg"] = json!("PS256");
        keys.push(pss);
        keys.push(json!({"kty": "AKP", "kid": "d", "alg": "ML-DSA-44", "pub": "AA"}));
        keys.push(json!({"kty": "EC", "kid": "e", "crv": "P-521", "x": "AA", "y": "AA"}));
        let read = KeySet::parse(&set.to_string()).unwrap();
        assert_eq!((read.len(), read.skipped), (2, 4));
        // Without "alg" a key serves its whole family, but only that.
        let (_file, client) = with_file(&set, Client::default());
        let tokens = tokens(&client);
        for algorithm in [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512] {
            assert_eq!(
                user(&tokens, &named(algorithm, "a", &json!({"sub": "42"}))),
                good()
            );
        }
        assert_eq!(
            user(&tokens, &named(Algorithm::PS256, "a", &json!({}))),
            BAD
        );
    }

    #[test]
    fn a_broken_set_is_refused_as_a_whole() {
        let good = key_set(&[
            ("a", Algorithm::HS256),
            ("b", Algorithm::ES256),
            ("c", Algorithm::EdDSA),
        ]);
        let broken = |index: usize, key: &str, value: Value| {
            let mut set = good.clone();
            set["keys"][index][key] = value;
            KeySet::parse(&set.to_string()).unwrap_err()
        };
        let about = |error: KeySetError| match error {
            KeySetError::Key { kid, .. } => kid,
            other => other.to_string(),
        };
        assert_eq!(about(broken(0, "k", json!(""))), "a");
        assert_eq!(about(broken(0, "k", json!("*"))), "a");
        assert_eq!(about(broken(0, "kid", json!(null))), "");
        assert_eq!(about(broken(0, "kid", json!("b"))), "b");
        assert_eq!(about(broken(1, "x", json!("AA"))), "b");
        let zeros = URL_SAFE_NO_PAD.encode([0; 32]);
        assert_eq!(about(broken(1, "x", json!(zeros))), "b");
        assert_eq!(about(broken(2, "x", json!("AAAA"))), "c");
        for text in ["", "{", "[]", "{}", r#"{"keys":{}}"#] {
            assert!(
                matches!(KeySet::parse(text), Err(KeySetError::Shape(_))),
                "{text}"
            );
        }
        assert_eq!(
            KeySet::parse(r#"{"keys":[]}"#).unwrap_err(),
            KeySetError::Empty
        );
    }

    #[test]
    fn a_file_is_read_again_when_it_changes() {
        let (file, client) = with_file(&key_set(&[("old", Algorithm::EdDSA)]), Client::default());
        let (tokens, key_file) = Tokens::open(&client).unwrap();
        let (mut key_file, counters) = (key_file.unwrap(), Counters::default());
        let verify = tokens.verify();
        let old = named(Algorithm::EdDSA, "old", &json!({"sub": "42"}));
        let new = named(Algorithm::ES256, "new", &json!({"sub": "42"}));
        // What is on disk; whether the old and the new token verify afterwards; reloads and errors.
        let both = key_set(&[("old", Algorithm::EdDSA), ("new", Algorithm::ES256)]).to_string();
        let only_new = key_set(&[("new", Algorithm::ES256)]).to_string();
        let steps = [
            (None, (true, false), (0, 0)),
            (Some(both.as_str()), (true, true), (1, 0)),
            (None, (true, true), (1, 0)),
            (Some(&only_new[..20]), (true, true), (1, 1)),
            (None, (true, true), (1, 1)),
            (Some(only_new.as_str()), (false, true), (2, 1)),
            (Some(r#"{"keys":[]}"#), (false, true), (2, 2)),
        ];
        for (step, (text, verifies, counted)) in steps.into_iter().enumerate() {
            if let Some(text) = text {
                std::fs::write(file.path(), text).unwrap();
            }
            key_file.look(&counters);
            let found = [&old, &new].map(|token| (verify.connection)(token).is_ok());
            assert_eq!(found, [verifies.0, verifies.1], "step {step}");
            let get = |metric| counters.get(metric);
            let found = (get(Metric::AuthKeysReloads), get(Metric::AuthKeysErrors));
            assert_eq!(found, counted, "step {step}");
        }
        let path = file.path().to_owned();
        drop(file);
        key_file.look(&counters);
        key_file.look(&counters);
        assert!((verify.connection)(&new).is_ok());
        assert_eq!(counters.get(Metric::AuthKeysErrors), 3);
        assert!(
            format!("{:#}", Tokens::open(&client).unwrap_err())
                .contains(&path.display().to_string())
        );
    }
}

/// The control core's loop takes a new file over without being told.
#[test]
fn the_file_is_followed() {
    let (file, client) = with_file(&key_set(&[("a", Algorithm::EdDSA)]), Client::default());
    let (_tokens, key_file) = Tokens::open(&client).unwrap();
    let counters = Counters::default();
    std::fs::write(file.path(), key_set(&[("b", Algorithm::EdDSA)]).to_string()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let taken_over = async {
        while counters.get(Metric::AuthKeysReloads) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    runtime.block_on(async {
        tokio::select! {
            () = key_file.unwrap().follow(counters.clone()) => panic!("it ended"),
            () = taken_over => {}
            () = tokio::time::sleep(jwks::PERIOD * 3) => panic!("it was not read again"),
        }
    });
}

mod meanings {
    use super::*;

    #[test]
    fn a_connection_token_names_the_user() {
        let claims =
            json!({"sub": "42", "jti": "x", "aud": "y", "iss": "z", "iat": 1, "meta": {"a": [1]}});
        let expected = Claims {
            user: "42".to_owned(),
            ..Claims::default()
        };
        assert_eq!(connection(&claims), Ok(expected));
        assert_eq!(connection(&json!({})).unwrap().user, "");
        // As if they were not written.
        let claims = json!({"sub": null, "channels": null, "subs": null, "info": null});
        assert_eq!(connection(&claims), Ok(Claims::default()));
        let claims = subscription(&json!({"channel": "a", "override": null, "client": null}));
        assert_eq!(claims.unwrap().overrides, Overrides::default());
    }

    #[test]
    fn a_token_expires_at_its_second() {
        for verify in [
            |exp: &Value| connection(&json!({"exp": exp})).map(|claims| claims.ttl_s),
            |exp: &Value| {
                subscription(&json!({"channel": "a", "exp": exp})).map(|claims| claims.ttl_s)
            },
        ] {
            assert_eq!(verify(&json!(NOW_S)), Err(TokenError::Expired));
            assert_eq!(verify(&json!(NOW_S - 1)), Err(TokenError::Expired));
            assert_eq!(verify(&json!(NOW_S + 1)), Ok(Some(1)));
            assert_eq!(verify(&json!(1_800_000_000.5)), Ok(Some(1)));
            assert_eq!(verify(&json!(4e9)), Ok(Some(TTL_S_MAX)));
            assert_eq!(verify(&json!(1e300)), Ok(Some(TTL_S_MAX)));
            assert_eq!(verify(&json!(null)), Ok(None));
            assert_eq!(verify(&json!("soon")), Err(TokenError::Invalid));
        }
    }

    #[test]
    fn a_token_is_not_good_before_its_time() {
        let at = |nbf: u64| connection(&json!({"sub": "42", "nbf": nbf}));
        assert_eq!(at(NOW_S + 1), Err(TokenError::Expired));
        assert!(at(NOW_S).is_ok());
    }

    #[test]
    fn expire_at_overrides_exp() {
        let at = |expire_at: u64| {
            let claims = connection(&json!({"exp": NOW_S + 5, "expire_at": expire_at}));
            claims.map(|claims| claims.ttl_s)
        };
        assert_eq!(at(NOW_S + 900), Ok(Some(900)));
        assert_eq!(at(0), Ok(None));
        assert_eq!(at(NOW_S), Err(TokenError::Lapsed));
        let expired = connection(&json!({"exp": NOW_S - 5, "expire_at": NOW_S + 900}));
        assert_eq!(expired, Err(TokenError::Expired));
    }

    #[test]
    fn audience_and_issuer_have_to_match() {
        let client = Client {
            token_audience: "game".to_owned(),
            token_issuer: "us".to_owned(),
            ..hmac("secret")
        };
        let tokens = tokens(&client);
        let table = [
            (json!({"sub": "42", "aud": "game", "iss": "us"}), good()),
            (
                json!({"sub": "42", "aud": ["shop", "game"], "iss": "us"}),
                good(),
            ),
            (json!({"sub": "42", "aud": "shop", "iss": "us"}), BAD),
            (json!({"sub": "42", "aud": ["shop"], "iss": "us"}), BAD),
            (json!({"sub": "42", "aud": [], "iss": "us"}), BAD),
            (json!({"sub": "42", "iss": "us"}), BAD),
            (json!({"sub": "42", "aud": "game", "iss": "them"}), BAD),
            (json!({"sub": "42", "aud": "game"}), BAD),
            // Somebody else's token is not worth asking again for.
            (
                json!({"sub": "42", "aud": "shop", "iss": "us", "exp": NOW_S - 1}),
                BAD,
            ),
        ];
        for (claims, expected) in table {
            let token = signed_by(Algorithm::HS256, &claims);
            assert_eq!(user(&tokens, &token), expected, "{claims}");
        }
    }

    #[test]
    fn one_kind_of_token_is_not_the_other() {
        assert_eq!(
            connection(&json!({"sub": "42", "channel": "hunt"})),
            Err(TokenError::Invalid)
        );
        assert_eq!(
            connection(&json!({"sub": "42", "channel": ""})),
            Err(TokenError::Invalid)
        );
        assert_eq!(
            subscription(&json!({"sub": "42"})),
            Err(TokenError::Invalid)
        );
        assert_eq!(
            subscription(&json!({"sub": "42", "channel": ""})),
            Err(TokenError::Invalid)
        );
    }

    #[test]
    fn payloads_are_compact_json() {
        let claims = connection(&json!({"info": {"name": "A \n b"}})).unwrap();
        assert_eq!(claims.info, br#"{"name":"A \n b"}"#);
        let b64 = |text: &str| STANDARD.encode(text);
        let claims = connection(&json!({"b64info": b64("{ \"n\" : 1 }\n"), "info": 2})).unwrap();
        assert_eq!(claims.info, br#"{"n":1}"#);
        assert_eq!(
            connection(&json!({"b64info": "", "info": 2})).unwrap().info,
            b"2"
        );
        for bad in [b64("not json"), "***".to_owned()] {
            let claims = json!({"channel": "a", "b64info": bad});
            assert_eq!(subscription(&claims), Err(TokenError::Invalid));
            let claims = json!({"channel": "a", "b64data": bad});
            assert_eq!(subscription(&claims), Err(TokenError::Invalid));
        }
    }

    #[test]
    fn a_subscription_token_says_everything() {
        let claims = subscription(&json!({
            "sub": "42", "channel": "hunt:1", "client": "c", "exp": NOW_S + 60,
            "info": {"a": 1}, "b64data": STANDARD.encode("[1, 2]"),
            "override": {
                "presence": {"value": true}, "join_leave": {"value": false},
                "force_recovery": {}, "force_push_join_leave": null, "other": {"value": true},
            },
        }));
        let expected = SubscriptionClaims {
            user: "42".to_owned(),
            channel: "hunt:1".to_owned(),
            client: "c".to_owned(),
            ttl_s: Some(60),
            info: br#"{"a":1}"#.to_vec(),
            data: b"[1, 2]".to_vec(),
            overrides: Overrides {
                presence: Some(true),
                join_leave: Some(false),
                force_recovery: Some(false),
                ..Overrides::default()
            },
        };
        assert_eq!(claims, Ok(expected));
    }

    #[test]
    fn a_connection_token_subscribes() {
        let subscription = |channel: &str| ServerSubscription {
            channel: channel.to_owned(),
            ..ServerSubscription::default()
        };
        let claims = connection(&json!({"channels": ["b", "a", "b"]})).unwrap();
        assert_eq!(claims.subscriptions, [subscription("a"), subscription("b")]);
        let claims = connection(&json!({
            "channels": ["ignored"],
            "subs": {
                "b": {"info": {"i": 1}, "data": [ 2 ], "override": {"force_positioning": {"value": true}}},
                "a": {},
            },
        }));
        let b = ServerSubscription {
            info: br#"{"i":1}"#.to_vec(),
            data: b"[2]".to_vec(),
            overrides: Overrides {
                force_positioning: Some(true),
                ..Overrides::default()
            },
            ..subscription("b")
        };
        assert_eq!(claims.unwrap().subscriptions, [subscription("a"), b]);
        let bad = json!({"subs": {"a": {"b64info": "***"}}});
        assert_eq!(connection(&bad), Err(TokenError::Invalid));
        let bad = json!({"channels": "a"});
        assert_eq!(connection(&bad), Err(TokenError::Invalid));
    }
}

/// Prints what one check costs; run with `--release -- --ignored --nocapture cost`.
#[test]
#[ignore = "measures; the figures are in docs/auth.md"]
fn the_cost_of_a_check() {
    let claims = json!({
        "sub": "player-1234567", "exp": NOW_S + 3600, "iat": NOW_S,
        "info": {"name": "Ann", "team": "red"},
    });
    let p256 = tokens(&all_keys(P256_PUBLIC));
    let p384 = tokens(&all_keys(P384_PUBLIC));
    for &algorithm in ALGORITHMS {
        let tokens = if algorithm == Algorithm::ES384 {
            &p384
        } else {
            &p256
        };
        let token = signed_by(algorithm, &claims);
        let check = || assert!(tokens.connection(&token, NOW_S).is_ok());
        let mut fastest_us = f64::MAX;
        for _ in 0..20 {
            let start = std::time::Instant::now();
            (0..50).for_each(|_| check());
            fastest_us = fastest_us.min(start.elapsed().as_secs_f64() * 1e6 / 50.0);
        }
        println!("{algorithm:?}: {fastest_us:.1} us, {} bytes", token.len());
    }
}
