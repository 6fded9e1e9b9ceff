//! Any bytes as an HTTP upgrade request: one judgement, a response that is bounded and there exactly
//! when it should be, and the same judgement whatever follows the request.

use engine::ws::upgrade::{Policy, RESPONSE_BYTES_MAX, Upgrade, receive};

/// Judges `data`; the first byte says which origins are allowed and whether compression is.
pub fn run(data: &[u8]) {
    let (first, bytes) = data.split_first().unwrap_or((&0, data));
    let origins: Vec<String> = match first % 3 {
        0 => Vec::new(),
        1 => vec!["*".to_owned()],
        _ => vec!["https://*.example.com".to_owned(), "h?tp*://a*".to_owned()],
    };
    let policy = Policy {
        echo: false,
        compression: first % 2 == 1,
        path: "/connection/websocket",
        allowed_origins: &origins,
    };
    let mut response = Vec::new();
    let upgrade = receive(bytes, &policy, &mut response);
    assert!(response.len() <= RESPONSE_BYTES_MAX);
    match upgrade {
        Upgrade::Incomplete => assert!(response.is_empty()),
        Upgrade::Accepted { consumed, .. } => {
            assert!(response.starts_with(b"HTTP/1.1 101 ") && response.ends_with(b"\r\n\r\n"));
            let mut again = Vec::new();
            let alone = receive(&bytes[..consumed], &policy, &mut again);
            assert_eq!((alone, &again), (upgrade, &response));
        }
        Upgrade::Refused { status } => {
            assert!(response.starts_with(format!("HTTP/1.1 {status} ").as_bytes()));
        }
    }
}
