//! The upgrade: one HTTP/1.1 request, answered once (RFC 6455 4.2, RFC 9112, RFC 9110 7.8).
//!
//! Called with everything a new connection has sent so far, again each time more comes, until the
//! answer is not [`Upgrade::Incomplete`]. Bytes behind the request belong to the WebSocket stream.
//! The whole response lies in the caller's buffer, which needs [`RESPONSE_BYTES_MAX`] of room.
//!
//! Invariants: at most [`REQUEST_BYTES_MAX`] bytes are looked at; a refusal says in its text what
//! was wrong and closes the connection; a request with a body is refused, so nothing of it can be
//! taken for frames; the only extension ever accepted is permessage-deflate ([`extensions`]).
//!
//! Not here: the deadline, and whether there is room for one more player (the caller answers that
//! with [`refuse`] and 503 before it calls `receive`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::ws::deflate::Agreed;

mod extensions;
#[cfg(test)]
mod tests;

/// Longest request: browsers send 500 to 1,000 bytes, more with cookies of the page's domain. Every
/// connecting player may have this much waiting, so larger costs memory in a reconnect storm;
/// smaller turns players with many cookies away (431).
pub const REQUEST_BYTES_MAX: usize = 4096;

/// Longest response.
pub const RESPONSE_BYTES_MAX: usize = 512;

/// Headers looked at in one request; more are refused with 431. Browsers send 15 to 20.
const HEADERS_MAX: usize = 64;

/// Path of the endpoint that sends every message back (`[debug] echo`).
pub const ECHO_PATH: &str = "/debug/echo";

/// Path of the endpoint that only sends, for clients without an SDK, as in Centrifugo.
pub const UNIDIRECTIONAL_PATH: &str = "/connection/uni_websocket";

/// What is hashed behind the client's key (RFC 6455 1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a deployment allows.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// The path of the players, `/connection/websocket`.
    pub path: &'a str,
    /// [`ECHO_PATH`] is there too; otherwise it is as unknown as any other.
    pub echo: bool,
    /// Origins that may connect, as globs in lower case: `*` is any run of characters, `?` any
    /// one. When empty, an origin must name the host that the request is for. Requests without
    /// an `Origin` do not come from a browser's page and are always allowed.
    pub allowed_origins: &'a [String],
    /// permessage-deflate is agreed to when it is offered.
    pub compression: bool,
}

/// How commands and replies are written in this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// JSON, in text frames.
    Json,
    /// Protocol Buffers, in binary frames.
    Protobuf,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// The client protocol.
    Players,
    /// The client protocol without commands and replies: a connect request, then pushes.
    Unidirectional,
    /// Every message comes back.
    Echo,
}

/// What became of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// More bytes are needed; no response yet.
    Incomplete,
    /// Send the response; then frames follow.
    Accepted {
        /// Bytes of the request. What lies behind them is the beginning of the WebSocket stream.
        consumed: usize,
        /// Which path was asked for.
        endpoint: Endpoint,
        /// How messages are written.
        protocol: Protocol,
        /// The client wants pings as WebSocket's, not as messages.
        frame_pings: bool,
        /// The subprotocol named in the response, if the client offered one that we know.
        subprotocol: Option<&'static str>,
        /// What of permessage-deflate the response agrees to.
        deflate: Agreed,
    },
    /// Send the response, then close.
    Refused {
        /// 400, 403, 404, 405, 426 or 431.
        status: u16,
    },
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusal {
    status: u16,
    text: &'static str,
}

const fn refusal(status: u16, text: &'static str) -> Refusal {
    Refusal { status, text }
}

/// Judges the request at the front of `bytes` and writes the response into `response` (cleared
/// first).
pub fn receive(bytes: &[u8], policy: &Policy<'_>, response: &mut Vec<u8>) -> Upgrade {
    response.clear();
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let looked_at = bytes.get(..REQUEST_BYTES_MAX).unwrap_or(bytes);
    let judged = match request.parse(looked_at) {
        Ok(httparse::Status::Partial) if bytes.len() < REQUEST_BYTES_MAX => {
            return Upgrade::Incomplete;
        }
        Ok(httparse::Status::Partial) => Err(refusal(431, "request header too long")),
        Err(httparse::Error::TooManyHeaders) => Err(refusal(431, "too many header fields")),
        Err(_) => Err(refusal(400, "not an HTTP/1.1 request")),
        Ok(httparse::Status::Complete(consumed)) => {
            judge(&request, policy).map(|(key, offer)| (consumed, key, offer))
        }
    };
    match judged {
        Ok((consumed, key, offer)) => {
            let offered = policy
                .compression
                .then(|| extensions::choose(request.headers));
            let deflate = offered.flatten();
            emit_accepted(key, offer.subprotocol, deflate, response);
            let Offer {
                endpoint,
                protocol,
                frame_pings,
                subprotocol,
            } = offer;
            Upgrade::Accepted {
                consumed,
                endpoint,
                protocol,
                frame_pings,
                subprotocol,
                deflate: deflate.map_or(Agreed::No, extensions::Deflate::agreed),
            }
        }
        Err(Refusal { status, text }) => {
            refuse(status, text, response);
            Upgrade::Refused { status }
        }
    }
}

/// What the client asks for and offers to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offer {
    endpoint: Endpoint,
    protocol: Protocol,
    frame_pings: bool,
    subprotocol: Option<&'static str>,
}

/// The client's key and the chosen protocol, or why not.
fn judge<'a>(
    request: &httparse::Request<'_, 'a>,
    policy: &Policy<'_>,
) -> Result<(&'a [u8], Offer), Refusal> {
    let headers: &[httparse::Header<'a>] = request.headers;
    let target = request.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let endpoint = match path {
        path if path == policy.path => Endpoint::Players,
        UNIDIRECTIONAL_PATH => Endpoint::Unidirectional,
        ECHO_PATH if policy.echo => Endpoint::Echo,
        _ => return Err(refusal(404, "not found")),
    };
    if request.method != Some("GET") {
        return Err(refusal(405, "GET only"));
    }
    if request.version != Some(1) {
        return Err(refusal(400, "HTTP/1.1 only"));
    }
    // RFC 9112 3.2: one Host, always.
    let Some(host) = one(headers, "host") else {
        return Err(refusal(400, "no Host, or more than one"));
    };
    // RFC 9112 6: either of these announces a body.
    let announces_body = all(headers, "content-length").any(|value| value != b"0")
        || all(headers, "transfer-encoding").next().is_some();
    if announces_body {
        return Err(refusal(400, "a body is not allowed here"));
    }
    // RFC 6455 4.2.1, 3 and 4.
    if !has_token(headers, "upgrade", b"websocket") || !has_token(headers, "connection", b"upgrade")
    {
        return Err(refusal(426, "WebSocket only"));
    }
    // RFC 6455 4.4: another version is answered with the one we speak.
    if one(headers, "sec-websocket-version") != Some(b"13") {
        return Err(refusal(426, "WebSocket version 13 only"));
    }
    let Some(key) = one(headers, "sec-websocket-key").filter(|key| is_key(key)) else {
        return Err(refusal(400, "bad Sec-WebSocket-Key"));
    };
    if !origin_allowed(headers, host, policy.allowed_origins) {
        return Err(refusal(403, "origin not allowed"));
    }
    Ok((key, choose(headers, query, endpoint)))
}

/// The protocol: the first in the client's list of subprotocols that we speak, or what the query says.
///
/// RFC 6455 4.2.2: none is named when none was offered; browsers fail on one they did not ask for.
fn choose(headers: &[httparse::Header<'_>], query: &str, endpoint: Endpoint) -> Offer {
    let asks = |pairs: &[&str]| query.split('&').any(|pair| pairs.contains(&pair));
    let mut offer = Offer {
        endpoint,
        protocol: Protocol::Json,
        frame_pings: false,
        subprotocol: None,
    };
    if endpoint == Endpoint::Echo {
        return offer;
    }
    let first_known = tokens(headers, "sec-websocket-protocol").find_map(|token| match token {
        b"centrifuge-json" => Some(("centrifuge-json", Protocol::Json)),
        b"centrifuge-protobuf" => Some(("centrifuge-protobuf", Protocol::Protobuf)),
        _ => None,
    });
    if let Some((name, protocol)) = first_known {
        offer.subprotocol = Some(name);
        offer.protocol = protocol;
    }
    // For clients that cannot name a subprotocol.
    if asks(&["format=protobuf", "cf_protocol=protobuf"]) {
        offer.protocol = Protocol::Protobuf;
    }
    offer.frame_pings = asks(&["cf_ws_frame_ping_pong=true"]);
    offer
}

/// The connect request in the query of `request` (`cf_connect`), for clients that cannot send one.
pub fn connect_of(request: &[u8]) -> Option<Vec<u8>> {
    let line = request.split(|byte| *byte == b'\r').next()?;
    let target = line.split(|byte| *byte == b' ').nth(1)?;
    let mut parts = target.splitn(2, |byte| *byte == b'?');
    let query = parts.nth(1)?;
    let mut pairs = query.split(|byte| *byte == b'&');
    pairs
        .find_map(|pair| pair.strip_prefix(b"cf_connect="))
        .map(decode)
}

/// A value of a query as it was before it was encoded for one; what is no code stays.
fn decode(value: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = behind
            .get(..2)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = behind;
        decoded.push(match (byte, code) {
            (b'%', Some(code)) => {
                rest = behind.get(2..).unwrap_or_default();
                code
            }
            (b'+', _) => b' ',
            _ => byte,
        });
    }
    decoded
}

/// Values of all headers called `name` (lower case).
fn all<'h, 'a>(
    headers: &'h [httparse::Header<'a>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> + 'h {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

/// The value of the header called `name` if there is exactly one.
fn one<'a>(headers: &[httparse::Header<'a>], name: &'static str) -> Option<&'a [u8]> {
    let mut values = all(headers, name);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// The comma-separated elements of all headers called `name` (RFC 9110 5.6.1).
fn tokens<'h, 'a>(
    headers: &'h [httparse::Header<'a>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> + 'h {
    all(headers, name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

fn has_token(headers: &[httparse::Header<'_>], name: &'static str, wanted: &[u8]) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// RFC 6455 4.1: sixteen bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let mut nonce = [0; 18];
    key.len() == 24 && STANDARD.decode_slice(key, &mut nonce) == Ok(16)
}

fn origin_allowed(headers: &[httparse::Header<'_>], host: &[u8], globs: &[String]) -> bool {
    let mut origins = all(headers, "origin");
    let Some(origin) = origins.next() else {
        return true;
    };
    if origins.next().is_some() {
        return false;
    }
    if !globs.is_empty() {
        return globs
            .iter()
            .any(|glob| matches_glob(glob.as_bytes(), origin));
    }
    // RFC 6454 7: scheme, "://", host and port.
    let authority = origin
        .windows(3)
        .position(|window| window == b"://")
        .and_then(|at| origin.get(at + 3..))
        .unwrap_or_default();
    !authority.is_empty() && authority.eq_ignore_ascii_case(host)
}

/// Whether `text`, in lower case, fits `glob`. Takes at most their lengths multiplied: after a
/// mismatch only the last `*` is tried again, one character further.
fn matches_glob(glob: &[u8], text: &[u8]) -> bool {
    let (mut at_glob, mut at_text) = (0, 0);
    let mut last_star = None;
    while let Some(byte) = text.get(at_text) {
        match glob.get(at_glob) {
            Some(b'*') => {
                last_star = Some((at_glob + 1, at_text));
                at_glob += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == byte.to_ascii_lowercase() => {
                at_glob += 1;
                at_text += 1;
            }
            _ => {
                let Some((behind_star, tried)) = last_star else {
                    return false;
                };
                last_star = Some((behind_star, tried + 1));
                (at_glob, at_text) = (behind_star, tried + 1);
            }
        }
    }
    glob.iter().skip(at_glob).all(|byte| *byte == b'*')
}

/// RFC 6455 4.2.2, 5.
fn emit_accepted(
    key: &[u8],
    subprotocol: Option<&str>,
    deflate: Option<extensions::Deflate>,
    response: &mut Vec<u8>,
) {
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update(KEY_SUFFIX)
        .finalize();
    let mut accept = [0; 28];
    // Twenty bytes make exactly twenty-eight characters.
    let _ = STANDARD.encode_slice(digest, &mut accept);
    response.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\n\
          Upgrade: websocket\r\n\
          Connection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    response.extend_from_slice(&accept);
    if let Some(subprotocol) = subprotocol {
        response.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        response.extend_from_slice(subprotocol.as_bytes());
    }
    if let Some(deflate) = deflate {
        deflate.emit(response);
    }
    response.extend_from_slice(b"\r\n\r\n");
}

/// Writes a refusal into `response` (cleared first): status line, what the status demands, a text
/// of at most 99 bytes.
pub fn refuse(status: u16, text: &str, response: &mut Vec<u8>) {
    response.clear();
    let (line, demanded) = match status {
        403 => ("403 Forbidden", ""),
        404 => ("404 Not Found", ""),
        // RFC 9110 15.5.6.
        405 => ("405 Method Not Allowed", "Allow: GET\r\n"),
        // RFC 9110 15.5.22, RFC 6455 4.4.
        426 => (
            "426 Upgrade Required",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        ),
        431 => ("431 Request Header Fields Too Large", ""),
        503 => ("503 Service Unavailable", ""),
        _ => ("400 Bad Request", ""),
    };
    // RFC 9110 7.8: a sender of Upgrade names it in Connection as well.
    let connection = if status == 426 {
        "Upgrade, close"
    } else {
        "close"
    };
    let text = text.get(..text.floor_char_boundary(99)).unwrap_or_default();
    let digit = |n: usize| b'0' + u8::try_from(n % 10).unwrap_or(0);
    let len = [digit(text.len() / 10), digit(text.len())];
    for part in [
        b"HTTP/1.1 ",
        line.as_bytes(),
        b"\r\nConnection: ",
        connection.as_bytes(),
        b"\r\n",
        demanded.as_bytes(),
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: ",
        &len,
        b"\r\n\r\n",
        text.as_bytes(),
    ] {
        response.extend_from_slice(part);
    }
}
