//! The two listeners: players, and backends that publish.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use nix::sys::socket::{setsockopt, sockopt};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::hunts::Hunts;
use super::options::Options;
use super::player;

#[derive(Debug, Deserialize)]
struct Publish {
    channel: String,
    data: Box<RawValue>,
}

/// Serves until it fails or the process is ended.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let hunts = Arc::new(Hunts::new(options.lag_events_max));
    let routes = Router::new()
        .route("/health", get(async || "ok"))
        .route("/api/publish", post(publish))
        .with_state(Arc::clone(&hunts));
    let players = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("listen on {}", options.listen))?;
    if let Some(control) = &options.congestion {
        // Connections inherit it from the socket that listens.
        setsockopt(&players, sockopt::TcpCongestion, &OsString::from(control))
            .with_context(|| format!("no congestion control {control}"))?;
    }
    let admin = TcpListener::bind(options.admin)
        .await
        .with_context(|| format!("listen on {}", options.admin))?
        // An error would be a peer's that is gone already.
        .tap_io(|stream| _ = stream.set_nodelay(true));
    let ping_every = Duration::from_secs(options.ping_interval_s);
    tokio::spawn(async move {
        loop {
            match players.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(player::serve(stream, Arc::clone(&hunts), ping_every));
                }
                // Out of descriptors, or the player has gone: the next one may fare better.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    axum::serve(admin, routes).await.context("serve the API")
}

async fn publish(State(hunts): State<Arc<Hunts>>, Json(event): Json<Publish>) -> Json<Value> {
    let offset = hunts.publish(&event.channel, &event.data);
    Json(json!({"result": {"offset": offset, "epoch": "kernel"}}))
}
