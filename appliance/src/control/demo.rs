//! The demo page: a hunt on a map in a browser, served from the admin socket when `[debug] demo` is on.
//!
//! Everything it needs is in the program, so it works without a network. The page plays through the
//! npm client like any other player, publishing included (the namespace `demo` has to allow it): the
//! API's key never gets near a browser. What it is given by `POST /demo/player` is the game's
//! addresses and a token for a new user. Whoever reaches the admin socket can have one without a key;
//! hence the flag, which is off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::clock;
use crate::config::{Client, Config};

/// The namespace the page publishes in.
pub const NAMESPACE: &str = "demo";

/// Seconds a player's token holds; the page then asks for another. Long enough for a presentation,
/// short enough that a copied one is worth nothing the next day.
const TOKEN_S: u64 = 3600;

/// What the page may load and reach: its own files and the game. A game's address is on another port,
/// which 'self' does not cover.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self' ws: wss:; img-src data:; base-uri 'none'; form-action 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, type and bytes of each file. The client is npm's `centrifuge` 5.8.0, unchanged; a test of the
/// whole appliance compares it with what npm has.
const FILES: [(&str, &str, &str); 5] = [
    (
        "/demo",
        "text/html; charset=utf-8",
        include_str!("demo/index.html"),
    ),
    (
        "/demo/demo.css",
        "text/css; charset=utf-8",
        include_str!("demo/demo.css"),
    ),
    ("/demo/demo.js", SCRIPT, include_str!("demo/demo.js")),
    (
        "/demo/centrifuge.js",
        SCRIPT,
        include_str!("demo/centrifuge-5.8.0.js"),
    ),
    (
        "/demo/centrifuge-LICENSE.txt",
        "text/plain; charset=utf-8",
        include_str!("demo/centrifuge-LICENSE.txt"),
    ),
];

/// What players of the page are made from.
struct Demo {
    listen: Vec<SocketAddr>,
    /// What their tokens are verified with.
    client: Client,
    /// Random name of this run, so that users of two runs differ.
    node: String,
    players: AtomicU64,
}

/// The page, its files, and `POST /demo/player`.
pub fn routes(config: &Config, node: &str) -> Router {
    let demo = Arc::new(Demo {
        listen: config.game.listen.clone(),
        client: config.client.clone(),
        node: node.to_owned(),
        players: AtomicU64::new(0),
    });
    let files = FILES
        .iter()
        .fold(Router::new(), |router, (path, kind, text)| {
            router.route(path, get(|| async { file(kind, text) }))
        });
    files.route("/demo/player", post(player)).with_state(demo)
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The next version of the program has another page at the same address.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

async fn player(State(demo): State<Arc<Demo>>) -> Response {
    let Ok(token) = demo.token(clock::wall_ms() / 1000) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let no_store = [(CACHE_CONTROL, "no-store")];
    (no_store, Json(demo.player(&token))).into_response()
}

impl Demo {
    fn player(&self, token: &str) -> Value {
        let url = |address| format!("ws://{address}/connection/websocket");
        let urls: Vec<String> = self.listen.iter().map(url).collect();
        json!({"urls": urls, "token": token})
    }

    /// A token for a user that nobody else has.
    fn token(&self, now_s: u64) -> jsonwebtoken::errors::Result<String> {
        let number = self.players.fetch_add(1, Ordering::Relaxed);
        let user = format!("demo-{}-{number}", self.node);
        let mut claims = json!({"sub": user, "exp": now_s + TOKEN_S});
        let Client {
            token_audience,
            token_issuer,
            token_hmac_secret,
            ..
        } = &self.client;
        for (claim, value) in [("aud", token_audience), ("iss", token_issuer)] {
            if !value.is_empty() {
                claims[claim] = json!(value);
            }
        }
        let key = EncodingKey::from_secret(token_hmac_secret.expose().as_bytes());
        encode(&Header::default(), &claims, &key)
    }
}
