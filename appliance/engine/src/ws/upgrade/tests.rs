//! The sample of RFC 6455 1.2, then each rule broken alone, then noise.

use super::*;
use proptest::prelude::*;

const PATH: &str = "/connection/websocket";

/// The request of RFC 6455 1.2 without its origin and subprotocols, one header a line.
const LINES: &[&str] = &[
    "GET /connection/websocket HTTP/1.1",
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

fn request(lines: &[&str]) -> String {
    lines
        .iter()
        .map(|line| format!("{line}\r\n"))
        .collect::<String>()
        + "\r\n"
}

/// The sample with the lines that begin like `start` replaced.
fn with(start: &str, lines: &[&str]) -> String {
    let kept = LINES
        .iter()
        .filter(|line| !line.starts_with(start))
        .copied();
    let added = lines.iter().copied();
    // The request line stays first.
    let all: Vec<&str> = match start {
        "GET" => added.chain(kept).collect(),
        _ => kept.chain(added).collect(),
    };
    request(&all)
}

fn ask(request: &str, allowed_origins: &[&str]) -> (Upgrade, String) {
    let allowed_origins: Vec<String> = allowed_origins
        .iter()
        .map(|glob| glob.to_string())
        .collect();
    let mut response = Vec::with_capacity(RESPONSE_BYTES_MAX);
    let policy = Policy {
        path: PATH,
        echo: false,
        allowed_origins: &allowed_origins,
        compression: false,
    };
    let upgrade = receive(request.as_bytes(), &policy, &mut response);
    assert_eq!(
        response.capacity(),
        RESPONSE_BYTES_MAX,
        "the response fits its buffer"
    );
    (upgrade, String::from_utf8(response).unwrap())
}

fn status(request: &str) -> u16 {
    match ask(request, &[]).0 {
        Upgrade::Refused { status } => status,
        Upgrade::Accepted { .. } => 101,
        Upgrade::Incomplete => 0,
    }
}

#[test]
fn the_sample_of_the_rfc() {
    let sample = request(LINES);
    let (upgrade, response) = ask(&(sample.clone() + "\u{1}frames"), &[]);
    let accepted = Upgrade::Accepted {
        consumed: sample.len(),
        endpoint: Endpoint::Players,
        protocol: Protocol::Json,
        frame_pings: false,
        subprotocol: None,
        deflate: Agreed::No,
    };
    assert_eq!(upgrade, accepted);
    assert_eq!(
        response,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

#[test]
fn any_beginning_is_incomplete() {
    let sample = request(LINES);
    for end in 0..sample.len() {
        assert_eq!(
            ask(&sample[..end], &[]),
            (Upgrade::Incomplete, String::new()),
            "at {end}"
        );
    }
}

#[test]
fn spelling_that_does_not_matter() {
    let sample = request(&[
        "GET /connection/websocket?cf_protocol_version=v2&format=json HTTP/1.1",
        "HOST: server.example.com",
        "upgrade: h2c, WebSocket",
        "connection: keep-alive, UPGRADE",
        "sec-websocket-key:dGhlIHNhbXBsZSBub25jZQ==  ",
        "sec-websocket-version: 13",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "Cookie: a=b",
    ]);
    let (upgrade, response) = ask(&sample, &[]);
    assert!(matches!(upgrade, Upgrade::Accepted { .. }));
    assert!(!response.contains("Extensions"));
}

/// Each rule of RFC 6455 4.2.1 and RFC 9112 broken alone.
#[test]
fn each_broken_rule_has_its_status() {
    let path = PATH;
    for (wanted, request) in [
        (404, with("GET", &["GET / HTTP/1.1"])),
        (404, with("GET", &["GET /connection/websocket/ HTTP/1.1"])),
        (404, with("GET", &["POST /connection/sse HTTP/1.1"])),
        (405, with("GET", &["POST /connection/websocket HTTP/1.1"])),
        (400, with("GET", &["GET /connection/websocket HTTP/1.0"])),
        (400, with("GET", &["GET /connection/websocket HTTP/2.0"])),
        (400, with("Host", &[])),
        (400, with("Host", &["Host: a", "Host: b"])),
        (400, with("none", &["Content-Length: 5"])),
        (400, with("none", &["Transfer-Encoding: chunked"])),
        (400, with("none", &["no colon"])),
        (426, with("Upgrade", &[])),
        (426, with("Upgrade", &["Upgrade: websockets"])),
        (426, with("Connection", &[])),
        (426, with("Connection", &["Connection: close"])),
        (426, with("Sec-WebSocket-V", &[])),
        (426, with("Sec-WebSocket-V", &["Sec-WebSocket-Version: 8"])),
        (
            426,
            with("Sec-WebSocket-V", &["Sec-WebSocket-Version: 13, 8"]),
        ),
        (400, with("Sec-WebSocket-K", &[])),
        (400, with("Sec-WebSocket-K", &["Sec-WebSocket-Key: "])),
        (
            400,
            with(
                "Sec-WebSocket-K",
                &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"],
            ),
        ),
        (
            400,
            with(
                "Sec-WebSocket-K",
                &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZUE="],
            ),
        ),
        (
            400,
            with("none", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]),
        ),
        (101, with("none", &["Content-Length: 0"])),
        (101, with("GET", &[&format!("GET {path}? HTTP/1.1")])),
    ] {
        assert_eq!(status(&request), wanted, "{request}");
    }
}

#[test]
fn a_refusal_closes_and_says_why() {
    let (_, response) = ask(&with("Sec-WebSocket-V", &["Sec-WebSocket-Version: 7"]), &[]);
    assert_eq!(
        response,
        "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: 25\r\n\r\nWebSocket version 13 only"
    );
    for status in [400, 403, 404, 405, 426, 431, 503] {
        let mut out = Vec::with_capacity(RESPONSE_BYTES_MAX);
        refuse(status, &"ä".repeat(200), &mut out);
        assert_eq!(out.capacity(), RESPONSE_BYTES_MAX);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert!(
            text.contains("close\r\n") && text.contains("Content-Length: 98\r\n"),
            "{text}"
        );
    }
}

#[test]
fn too_long_is_431() {
    let cookie = |len: usize| with("none", &[&format!("Cookie: {}", "c".repeat(len))]);
    let room = REQUEST_BYTES_MAX - cookie(0).len();
    assert_eq!(status(&cookie(room)), 101);
    assert_eq!(status(&cookie(room + 1)), 431);
    assert_eq!(status(&cookie(100_000)), 431);
    assert_eq!(
        status(&("GET /".to_string() + &"a".repeat(REQUEST_BYTES_MAX))),
        431
    );
    assert_eq!(status(&with("none", &["a: b"; HEADERS_MAX])), 431);
}

#[test]
fn origins() {
    let from = |origin: &str| with("none", &[&format!("Origin: {origin}")]);
    let allowed = |request: &str, globs: &[&str]| match ask(request, globs).0 {
        Upgrade::Accepted { .. } => true,
        Upgrade::Refused { status: 403 } => false,
        other => panic!("{other:?}"),
    };
    assert!(
        allowed(&request(LINES), &["https://only.example"]),
        "no origin: no browser"
    );
    // An empty list: the origin's host is the request's host.
    assert!(allowed(&from("https://SERVER.example.com"), &[]));
    for origin in [
        "https://server.example.com:8443",
        "https://example.com",
        "null",
        "",
        "://",
    ] {
        assert!(!allowed(&from(origin), &[]), "{origin}");
    }
    assert!(allowed(&from("null"), &["*"]));
    let globs = &["https://*.example.com", "http://localhost:?000"];
    assert!(allowed(&from("https://a.b.Example.com"), globs));
    assert!(allowed(&from("http://localhost:3000"), globs));
    for origin in [
        "https://example.com",
        "https://x.example.com.evil",
        "http://localhost:13000",
        "null",
    ] {
        assert!(!allowed(&from(origin), globs), "{origin}");
    }
    let two = with(
        "none",
        &[
            "Origin: https://a.example.com",
            "Origin: https://b.example.com",
        ],
    );
    assert!(!allowed(&two, globs));
}

#[test]
fn a_glob_that_backtracks_stays_cheap() {
    let text = "a".repeat(4000);
    assert!(!matches_glob(b"*a*a*a*a*a*a*a*a*b", text.as_bytes()));
    assert!(matches_glob(b"*a*a*a*a*a*a*a*a*", text.as_bytes()));
}

/// Protocol, named subprotocol and frame pings of the accepted request with these lines.
fn accepted(lines: &[&str], query: &str) -> (Protocol, Option<&'static str>, bool) {
    let line = format!("GET {PATH}{query} HTTP/1.1");
    let request = with("GET", &[&[line.as_str()][..], lines].concat());
    let (upgrade, response) = ask(&request, &[]);
    let Upgrade::Accepted {
        protocol,
        subprotocol,
        frame_pings,
        ..
    } = upgrade
    else {
        panic!("{lines:?}: {upgrade:?}")
    };
    let named = response
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
    assert_eq!(named, subprotocol, "{response}");
    (protocol, subprotocol, frame_pings)
}

#[test]
fn the_first_known_subprotocol_is_spoken_and_named() {
    let json = (Protocol::Json, Some("centrifuge-json"), false);
    let protobuf = (Protocol::Protobuf, Some("centrifuge-protobuf"), false);
    let none = (Protocol::Json, None, false);
    for (lines, chosen) in [
        (&[][..], none),
        (&["Sec-WebSocket-Protocol: centrifuge-json"], json),
        (&["Sec-WebSocket-Protocol: centrifuge-protobuf"], protobuf),
        (
            &["Sec-WebSocket-Protocol: centrifuge-protobuf,centrifuge-json"],
            protobuf,
        ),
        (
            &["Sec-WebSocket-Protocol: centrifuge-json, centrifuge-protobuf"],
            json,
        ),
        (
            &[
                "Sec-WebSocket-Protocol: chat",
                "Sec-WebSocket-Protocol: x, centrifuge-protobuf",
            ],
            protobuf,
        ),
        (&["Sec-WebSocket-Protocol: chat"], none),
        (&["Sec-WebSocket-Protocol:"], none),
    ] {
        assert_eq!(accepted(lines, ""), chosen, "{lines:?}");
    }
}

#[test]
fn the_query_may_ask_for_protobuf_and_frame_pings() {
    for (query, chosen) in [
        ("?format=protobuf", (Protocol::Protobuf, None, false)),
        (
            "?a=b&cf_protocol=protobuf",
            (Protocol::Protobuf, None, false),
        ),
        (
            "?cf_protocol_version=v2&format=json",
            (Protocol::Json, None, false),
        ),
        ("?cf_ws_frame_ping_pong=true", (Protocol::Json, None, true)),
        (
            "?cf_ws_frame_ping_pong=false&xformat=protobuf",
            (Protocol::Json, None, false),
        ),
    ] {
        assert_eq!(accepted(&[], query), chosen, "{query}");
    }
    let both = accepted(
        &["Sec-WebSocket-Protocol: centrifuge-protobuf"],
        "?format=protobuf",
    );
    assert_eq!(
        both,
        (Protocol::Protobuf, Some("centrifuge-protobuf"), false)
    );
}

#[test]
fn compression_is_agreed_to_only_when_switched_on() {
    let request = with(
        "none",
        &[
            "Sec-WebSocket-Protocol: centrifuge-json",
            "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=15; client_max_window_bits",
        ],
    );
    for compression in [true, false] {
        let policy = Policy {
            path: PATH,
            echo: false,
            allowed_origins: &[],
            compression,
        };
        let mut response = Vec::with_capacity(RESPONSE_BYTES_MAX);
        let Upgrade::Accepted { deflate, .. } = receive(request.as_bytes(), &policy, &mut response)
        else {
            panic!("refused")
        };
        assert_eq!(response.capacity(), RESPONSE_BYTES_MAX);
        let response = String::from_utf8(response).unwrap();
        let answer = "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                      client_no_context_takeover; server_max_window_bits=15\r\n\r\n";
        match compression {
            true => assert_eq!(deflate, Agreed::Shared),
            false => assert_eq!(deflate, Agreed::No),
        }
        assert_eq!(response.ends_with(answer), compression, "{response}");
        assert_eq!(response.contains("deflate"), compression, "{response}");
    }
}

#[test]
fn the_echo_endpoint_is_there_only_when_switched_on() {
    let request = request(LINES).replace(PATH, ECHO_PATH);
    for (echo, accepted) in [(true, true), (false, false)] {
        let policy = Policy {
            path: PATH,
            echo,
            allowed_origins: &[],
            compression: false,
        };
        let upgrade = receive(request.as_bytes(), &policy, &mut Vec::new());
        let endpoint = match upgrade {
            Upgrade::Accepted { endpoint, .. } => Some(endpoint),
            Upgrade::Refused { status: 404 } => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(endpoint, accepted.then_some(Endpoint::Echo));
    }
}

#[test]
fn a_tls_hello_is_refused_at_once() {
    let mut response = Vec::new();
    let policy = Policy {
        path: PATH,
        echo: false,
        allowed_origins: &[],
        compression: false,
    };
    let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc];
    assert_eq!(
        receive(&hello, &policy, &mut response),
        Upgrade::Refused { status: 400 }
    );
}

proptest! {
    /// Noise, bare or inside the sample, is answered without a panic and within the bounds.
    #[test]
    fn noise_is_answered(
        noise in prop::collection::vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(),
        cut in 0usize..40, bare: bool,
    ) {
        let mut bytes = if bare { Vec::new() } else { request(LINES).into_bytes() };
        let at = at.index(bytes.len() + 1);
        bytes.splice(at..(at + cut).min(bytes.len()), noise);
        let mut response = Vec::with_capacity(RESPONSE_BYTES_MAX);
        let policy = Policy { path: PATH, echo: false, allowed_origins: &[], compression: true };
        match receive(&bytes, &policy, &mut response) {
            Upgrade::Incomplete => prop_assert!(response.is_empty()),
            Upgrade::Accepted { consumed, .. } => prop_assert!(consumed <= bytes.len()),
            Upgrade::Refused { .. } => prop_assert!(response.starts_with(b"HTTP/1.1 4")),
        }
        prop_assert!(response.len() <= RESPONSE_BYTES_MAX);
    }
}
