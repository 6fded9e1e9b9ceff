//! HTTP on the admin socket: the server API for backends, `/health` for load balancers, `/metrics`
//! for Prometheus, and the demo page where it is on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use engine::metrics::catalog::Metric;
use engine::metrics::counters::Counters;
use engine::session::codes::Error;
use serde::Deserialize;
use serde_json::value::RawValue;
use subtle::ConstantTimeEq;

use crate::config::Config;
use crate::control::client::JournalClient;
use crate::control::demo;
use crate::control::methods::{self, BadBody, Failure, error_json};
use crate::control::path;
use crate::cores::{Life, Stage};
use crate::export::{Sources, prometheus};

/// Longest request body: a broadcast of the largest event to some thousand hunts.
const BODY_BYTES_MAX: usize = 1 << 20;

/// How long a body may take to come, and then how long a method may take; slow ones give their
/// place back. More than one wait for the journal, so that its own error is the one that is seen.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// With the value `transport` errors of the protocol become HTTP statuses; those inside a batch or a
/// broadcast stay where they are.
const ERROR_MODE: &str = "x-centrifugo-error-mode";

/// What the handlers share.
#[derive(Debug)]
pub struct Api {
    /// The way to the journal core.
    pub journal: JournalClient,
    /// What holds.
    pub config: Config,
    /// What is measured.
    pub sources: Arc<Sources>,
    /// The control core's own counters.
    pub counters: Counters,
    /// Draining or not.
    pub life: Life,
    /// When the appliance started.
    pub started: Instant,
    /// Random name of this run.
    pub node: String,
}

/// Sums over data cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Players connected.
    pub players: u64,
    /// Users among them, without the anonymous; one on two cores counts twice.
    pub users: u64,
    /// Hunts with a subscriber.
    pub hunts: u64,
    /// Subscriptions.
    pub subscriptions: u64,
}

impl Api {
    /// Sums over data cores; a hunt counts once for each core that serves it.
    pub fn totals(&self) -> Totals {
        let sum = |metric| {
            self.sources
                .cores()
                .iter()
                .map(|(_, cells)| cells.get(metric))
                .sum()
        };
        Totals {
            players: sum(Metric::SessionPlayers),
            users: sum(Metric::SessionUsers),
            hunts: sum(Metric::SessionHunts),
            subscriptions: sum(Metric::SessionSubscriptions),
        }
    }

    /// Why we should get no players, if there is a reason.
    fn illness(&self) -> Option<&'static str> {
        if self.life.stage() != Stage::Run {
            return Some("draining");
        }
        let healthy = |(_, cells): &(String, Counters)| cells.get(Metric::JournalHealthy) == 1;
        let well = self.sources.cores().iter().any(healthy);
        (!well).then_some("the journal takes no writes")
    }
}

/// All routes.
pub fn router(api: Arc<Api>) -> Router {
    let demo = match api.config.debug.demo {
        true => demo::routes(&api.config, &api.node),
        false => Router::new(),
    };
    Router::new()
        .route("/api", post(legacy))
        .route("/api/{method}", post(method))
        .route("/api/players/{id}/path", get(player_path))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
        .merge(demo)
}

/// The query of a request, unescaped.
type Arguments = HashMap<String, String>;

/// A body that came within [`REQUEST_TIMEOUT`]; one that is announced as too long is not waited for.
struct InTime(Bytes);

impl FromRequest<Arc<Api>> for InTime {
    type Rejection = Response;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<InTime, Response> {
        if request.body().size_hint().lower() > BODY_BYTES_MAX as u64 {
            return Err(StatusCode::PAYLOAD_TOO_LARGE.into_response());
        }
        let body = Bytes::from_request(request, api);
        match tokio::time::timeout(REQUEST_TIMEOUT, body).await {
            Ok(body) => body.map(InTime).map_err(IntoResponse::into_response),
            Err(_) => Err(StatusCode::REQUEST_TIMEOUT.into_response()),
        }
    }
}

async fn health(State(api): State<Arc<Api>>) -> Response {
    match api.illness() {
        None => (StatusCode::OK, "{}").into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let text = prometheus::text(&api.sources);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn method(
    State(api): State<Arc<Api>>,
    Path(method): Path<String>,
    Query(query): Query<Arguments>,
    headers: HeaderMap,
    InTime(body): InTime,
) -> Response {
    serve(&api, &headers, &query, &method, &body).await
}

/// `POST /api` with the method in the body, as older backends do it.
async fn legacy(
    State(api): State<Arc<Api>>,
    Query(query): Query<Arguments>,
    headers: HeaderMap,
    InTime(body): InTime,
) -> Response {
    #[derive(Deserialize)]
    struct Call<'a> {
        method: String,
        #[serde(borrow)]
        params: Option<&'a RawValue>,
    }
    let error = match serde_json::from_slice::<Call<'_>>(&body) {
        Ok(call) => {
            let params = call.params.map_or("{}", RawValue::get).as_bytes();
            return serve(&api, &headers, &query, &call.method, params).await;
        }
        Err(error) => error,
    };
    api.counters.inc(Metric::ApiRequests);
    // Strangers are told nothing.
    if !is_allowed(&api, &headers, &query) {
        return unauthorized(&api);
    }
    bad_body(&api, &BadBody(error.to_string()))
}

async fn player_path(
    State(api): State<Arc<Api>>,
    Path(player): Path<String>,
    Query(query): Query<Arguments>,
    headers: HeaderMap,
) -> Response {
    api.counters.inc(Metric::ApiRequests);
    if !is_allowed(&api, &headers, &query) {
        return unauthorized(&api);
    }
    let asked = match path::Query::parse(&query) {
        Ok(asked) => asked,
        Err(bad) => return bad_body(&api, &bad),
    };
    let page = api
        .journal
        .path(&player, asked.from, asked.end, asked.limit);
    let body = page.await.and_then(|page| {
        let body = path::body(&player, &page, asked.format);
        body.map_err(|_| Error::Internal)
    });
    match body {
        Ok(body) => ([(CONTENT_TYPE, asked.format.content_type())], body).into_response(),
        Err(error) => {
            api.counters.inc(Metric::ApiErrors);
            (status_of(error), answer(&error_json(error))).into_response()
        }
    }
}

async fn serve(
    api: &Api,
    headers: &HeaderMap,
    query: &Arguments,
    method: &str,
    body: &[u8],
) -> Response {
    api.counters.inc(Metric::ApiRequests);
    if !is_allowed(api, headers, query) {
        return unauthorized(api);
    }
    let body = if body.is_empty() { b"{}" } else { body };
    let done = tokio::time::timeout(REQUEST_TIMEOUT, methods::call(api, method, body)).await;
    match done.unwrap_or(Err(Failure::Protocol(Error::Internal))) {
        // As in Centrifugo, its replies stand alone.
        Ok(replies) if method == "batch" => answer(&replies),
        Ok(result) => answer(&format!(r#"{{"result":{result}}}"#)),
        Err(Failure::Protocol(error)) => {
            api.counters.inc(Metric::ApiErrors);
            let json = error_json(error);
            match headers.get(ERROR_MODE) {
                Some(mode) if mode == "transport" => {
                    (status_of(error), answer(&json)).into_response()
                }
                _ => answer(&format!(r#"{{"error":{json}}}"#)),
            }
        }
        Err(Failure::Body(bad)) => bad_body(api, &bad),
    }
}

/// What HTTP calls an error, where a backend wants to hear of it that way. The numbers are Centrifugo's; it
/// has none for 111.
fn status_of(error: Error) -> StatusCode {
    match error {
        Error::UnknownChannel | Error::MethodNotFound => StatusCode::NOT_FOUND,
        Error::BadRequest | Error::NotAvailable => StatusCode::BAD_REQUEST,
        Error::UnrecoverablePosition => StatusCode::RANGE_NOT_SATISFIABLE,
        Error::ConcurrentPagination => StatusCode::CONFLICT,
        Error::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn answer(json: &str) -> Response {
    ([(CONTENT_TYPE, "application/json")], json.to_owned()).into_response()
}

fn unauthorized(api: &Api) -> Response {
    api.counters.inc(Metric::ApiUnauthorized);
    (StatusCode::UNAUTHORIZED, "unauthorized").into_response()
}

fn bad_body(api: &Api, bad: &BadBody) -> Response {
    api.counters.inc(Metric::ApiErrors);
    (StatusCode::BAD_REQUEST, format!("bad request: {}", bad.0)).into_response()
}

/// Whether the request carries the key, in any of the three places Centrifugo looks.
fn is_allowed(api: &Api, headers: &HeaderMap, query: &Arguments) -> bool {
    let admin = &api.config.admin;
    if admin.insecure {
        return true;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("apikey").then_some(key)
    });
    let in_query = || query.get("api_key").map(String::as_str);
    let given = text("x-api-key")
        .or(bearer)
        .or_else(in_query)
        .unwrap_or_default();
    // In constant time: how long a refusal takes must not tell how much of the key was right.
    let key = admin.api_key.expose().as_bytes();
    !key.is_empty() && bool::from(given.as_bytes().ct_eq(key))
}
