//! Tokens: RFC 7519 and the meanings that Centrifugo gives to claims.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;

const NOW_S: u64 = 1_800_000_000;

fn secret(text: &str) -> Secret {
    serde_json::from_value(json!(text)).unwrap()
}

fn tokens() -> Tokens {
    Tokens::new(&secret("secret"))
}

fn signed_with(algorithm: Algorithm, key: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(key.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}

fn signed(claims: &Value) -> String {
    signed_with(Algorithm::HS256, "secret", claims)
}

fn connection(claims: &Value) -> Result<Claims, TokenError> {
    tokens().verify_connection(&signed(claims), NOW_S)
}

#[test]
fn a_connection_token_names_the_user() {
    let claims = connection(&json!({"sub": "42", "jti": "x", "aud": "y", "iss": "z"})).unwrap();
    assert_eq!(
        claims,
        Claims {
            user: "42".to_owned(),
            expire_at: None,
            info: None
        }
    );
    assert_eq!(connection(&json!({})).unwrap().user, "");
}

/// Made by hand with the secret "secret", not by the library under test: header and claims
/// {"alg":"HS256","typ":"JWT"} {"sub":"42"}.
#[test]
fn a_token_made_elsewhere_verifies() {
    let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9.79CVgMIG_JB921dVUeJDWNJubJojFodH3-XtC_1C408";
    assert_eq!(tokens().verify_connection(token, NOW_S).unwrap().user, "42");
}

#[test]
fn a_token_expires_at_its_second() {
    let at = |exp: Value| connection(&json!({"sub": "42", "exp": exp}));
    assert_eq!(at(json!(NOW_S)), Err(TokenError::Expired));
    assert_eq!(at(json!(NOW_S - 1)), Err(TokenError::Expired));
    assert_eq!(at(json!(NOW_S + 1)).unwrap().expire_at, Some(NOW_S + 1));
    let fraction = json!(1_800_000_000.5);
    assert_eq!(at(fraction).unwrap().expire_at, Some(NOW_S));
    assert_eq!(at(json!("soon")), Err(TokenError::Invalid));
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
        connection(&json!({"exp": NOW_S + 5, "expire_at": expire_at}))
            .unwrap()
            .expire_at
    };
    assert_eq!(at(NOW_S + 900), Some(NOW_S + 900));
    assert_eq!(at(0), None);
    let expired = connection(&json!({"exp": NOW_S - 5, "expire_at": NOW_S + 900}));
    assert_eq!(expired, Err(TokenError::Expired));
}

#[test]
fn a_wrong_signature_is_invalid() {
    for claims in [json!({"sub": "42"}), json!({"sub": "42", "exp": NOW_S - 1})] {
        let token = signed_with(Algorithm::HS256, "other", &claims);
        assert_eq!(
            tokens().verify_connection(&token, NOW_S),
            Err(TokenError::Invalid)
        );
    }
}

#[test]
fn other_algorithms_are_invalid() {
    let claims = json!({"sub": "42"});
    let hs512 = signed_with(Algorithm::HS512, "secret", &claims);
    let b64 = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let unsigned = format!("{}.{}.", b64(r#"{"alg":"none"}"#), b64(r#"{"sub":"42"}"#));
    for token in [hs512, unsigned] {
        assert_eq!(
            tokens().verify_connection(&token, NOW_S),
            Err(TokenError::Invalid)
        );
    }
}

#[test]
fn damaged_tokens_are_invalid() {
    let good = signed(&json!({"sub": "42"}));
    for cut in 0..good.len() {
        let result = tokens().verify_connection(&good[..cut], NOW_S);
        assert_eq!(result, Err(TokenError::Invalid), "{cut} bytes");
    }
    let long = signed(&json!({"sub": "x".repeat(TOKEN_BYTES_MAX)}));
    assert_eq!(
        tokens().verify_connection(&long, NOW_S),
        Err(TokenError::Invalid)
    );
    let shape = signed(&json!(["sub"]));
    assert_eq!(
        tokens().verify_connection(&shape, NOW_S),
        Err(TokenError::Invalid)
    );
}

#[test]
fn without_a_secret_every_token_is_invalid() {
    let token = signed_with(Algorithm::HS256, "", &json!({"sub": "42"}));
    let tokens = Tokens::new(&secret(""));
    assert_eq!(
        tokens.verify_connection(&token, NOW_S),
        Err(TokenError::Invalid)
    );
}

#[test]
fn info_is_compact_json() {
    let claims = connection(&json!({"info": {"name": "A \n b"}})).unwrap();
    assert_eq!(claims.info.as_deref(), Some(r#"{"name":"A \n b"}"#));
    let b64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let claims = connection(&json!({"b64info": b64("{ \"n\" : 1 }\n")})).unwrap();
    assert_eq!(claims.info.as_deref(), Some(r#"{"n":1}"#));
    for bad in [b64("not json"), "***".to_owned()] {
        assert_eq!(
            connection(&json!({"b64info": bad})),
            Err(TokenError::Invalid)
        );
    }
}

#[test]
fn a_subscription_token_opens_no_connection() {
    let subscription = json!({"sub": "42", "channel": "hunt"});
    assert_eq!(connection(&subscription), Err(TokenError::Invalid));
}

#[test]
fn the_secret_does_not_show() {
    assert!(!format!("{:?}", tokens()).contains("secret"));
}
