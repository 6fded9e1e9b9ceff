//! Which offer of `Sec-WebSocket-Extensions` is taken (RFC 6455 9.1, RFC 7692 5 and 7.1).
//!
//! The first offer of permessage-deflate that can be kept to is; one with a parameter that is unknown,
//! there twice or without a right value is passed over, as is every other extension (RFC 7692 5.1).
//! What is answered always says that neither side keeps its context, because no memory is kept for a
//! connection: a client has to heed that whether it offered it or not (RFC 7692 7.1.1.2). A client's
//! window is never limited: what it sends is inflated with the largest.

use crate::ws::deflate::{Agreed, SHARED_WINDOW_BITS, WINDOW_BITS_MAX, WINDOW_BITS_MIN};

/// An offer that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deflate {
    /// The window that the client asks the server to keep to, as a power of two.
    server_max_window_bits: Option<u8>,
}

impl Deflate {
    /// What it means for the connection.
    pub(super) fn agreed(self) -> Agreed {
        match self.server_max_window_bits {
            Some(bits) if bits < SHARED_WINDOW_BITS => Agreed::Narrow,
            _ => Agreed::Shared,
        }
    }

    /// Appends the response's header, the line's end before it.
    pub(super) fn emit(self, response: &mut Vec<u8>) {
        response.extend_from_slice(
            b"\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
              client_no_context_takeover",
        );
        // RFC 7692 7.1.2.1: an offer that has it is accepted by an answer that has it.
        if let Some(bits) = self.server_max_window_bits {
            response.extend_from_slice(b"; server_max_window_bits=");
            if bits >= 10 {
                response.push(b'1');
            }
            response.push(b'0' + bits % 10);
        }
    }
}

/// The first offer that can be kept to.
pub(super) fn choose(headers: &[httparse::Header<'_>]) -> Option<Deflate> {
    super::all(headers, "sec-websocket-extensions")
        .flat_map(|value| Parts::new(value, b','))
        .find_map(parse_offer)
}

/// An offer of permessage-deflate whose every parameter is known and right.
fn parse_offer(offer: &[u8]) -> Option<Deflate> {
    let mut parts = Parts::new(offer, b';');
    if !parts.next()?.eq_ignore_ascii_case(b"permessage-deflate") {
        return None;
    }
    let mut server_max_window_bits = None;
    let mut seen = [false; 4];
    for part in parts {
        let mut pair = part.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
        let (name, value) = (pair.next()?, pair.next());
        let known = [
            &b"server_no_context_takeover"[..],
            b"client_no_context_takeover",
            b"server_max_window_bits",
            b"client_max_window_bits",
        ];
        let place = known
            .iter()
            .position(|known| name.eq_ignore_ascii_case(known))?;
        if std::mem::replace(seen.get_mut(place)?, true) {
            return None;
        }
        match (place, value) {
            (0 | 1, None) => {}
            // RFC 7692 7.1.2.1: never without a value.
            (2, Some(value)) => {
                server_max_window_bits = Some(parse_window_bits(value)?);
            }
            // RFC 7692 7.1.2.2: without one the client says only that it knows the parameter.
            (3, None) => {}
            (3, Some(value)) => _ = parse_window_bits(value)?,
            _ => return None,
        }
    }
    // Legal, but nothing that we have keeps to it.
    if server_max_window_bits.is_some_and(|bits| bits < WINDOW_BITS_MIN) {
        return None;
    }
    Some(Deflate {
        server_max_window_bits,
    })
}

/// RFC 7692 7.1.2: 8 to 15 without leading zeros, as a token or in quotes.
fn parse_window_bits(value: &[u8]) -> Option<u8> {
    let unquoted = value
        .strip_prefix(b"\"")
        .map_or(Some(value), |rest| rest.strip_suffix(b"\""))?;
    let bits = match *unquoted {
        [digit @ b'8'..=b'9'] => digit - b'0',
        [b'1', digit @ b'0'..=b'5'] => 10 + (digit - b'0'),
        _ => return None,
    };
    (bits <= WINDOW_BITS_MAX).then_some(bits)
}

/// What stands between separators outside of quoted strings (RFC 9110 5.6.4), trimmed; empty parts
/// too.
struct Parts<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Parts<'a> {
    fn new(bytes: &'a [u8], separator: u8) -> Parts<'a> {
        Parts {
            rest: Some(bytes),
            separator,
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = rest.iter().position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => return !quoted && *byte == self.separator,
            }
            false
        });
        let end = end.unwrap_or(rest.len());
        self.rest = rest.get(end + 1..);
        Some(rest.get(..end).unwrap_or_default().trim_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is agreed to when these headers are sent, and the window in the answer.
    fn ask(values: &[&str]) -> Option<(Agreed, Option<u8>)> {
        let other = httparse::Header {
            name: "Sec-WebSocket-Protocol",
            value: b"permessage-deflate",
        };
        let headers = values.iter().map(|value| httparse::Header {
            name: "sec-websocket-EXTENSIONS",
            value: value.as_bytes(),
        });
        let headers: Vec<_> = std::iter::once(other).chain(headers).collect();
        choose(&headers).map(|deflate| (deflate.agreed(), deflate.server_max_window_bits))
    }

    const SHARED: Option<(Agreed, Option<u8>)> = Some((Agreed::Shared, None));

    fn narrow(bits: u8) -> Option<(Agreed, Option<u8>)> {
        Some((Agreed::Narrow, Some(bits)))
    }

    /// RFC 7692 7.1: each parameter alone, right and wrong.
    #[test]
    fn parameters() {
        for (parameters, wanted) in [
            ("", SHARED),
            ("; server_no_context_takeover", SHARED),
            ("; client_no_context_takeover", SHARED),
            ("; client_max_window_bits", SHARED),
            ("; client_max_window_bits=8", SHARED),
            (";Client_Max_Window_Bits = \"15\" ", SHARED),
            (
                "; server_max_window_bits=15",
                Some((Agreed::Shared, Some(15))),
            ),
            (
                "; server_max_window_bits=\"12\"",
                Some((Agreed::Shared, Some(12))),
            ),
            ("; server_max_window_bits=11", narrow(11)),
            ("; server_max_window_bits=9", narrow(9)),
            ("; server_max_window_bits=8", None),
            ("; server_max_window_bits=16", None),
            ("; server_max_window_bits=7", None),
            ("; server_max_window_bits=09", None),
            ("; server_max_window_bits=+9", None),
            ("; server_max_window_bits=\"9", None),
            ("; server_max_window_bits=", None),
            ("; server_max_window_bits", None),
            ("; client_max_window_bits=16", None),
            ("; client_max_window_bits=010", None),
            ("; client_max_window_bits=", None),
            ("; server_no_context_takeover=1", None),
            ("; client_no_context_takeover=\"\"", None),
            ("; client_max_window_bits; client_max_window_bits=10", None),
            (
                "; server_no_context_takeover; server_no_context_takeover",
                None,
            ),
            ("; memory_level=9", None),
            ("; ", None),
            (";;client_max_window_bits", None),
        ] {
            let offer = format!("permessage-deflate{parameters}");
            assert_eq!(ask(&[&offer]), wanted, "{offer}");
        }
    }

    /// RFC 7692 5.1: one after another, the first that can be kept to.
    #[test]
    fn offers() {
        for (values, wanted) in [
            (&[][..], None),
            (&[""], None),
            (&[",", "x-webkit-deflate-frame"], None),
            (&["foo, Permessage-Deflate"], SHARED),
            (&["foo; a=\"1, permessage-deflate\""], None),
            (
                &["foo; a=\"\\\", permessage-deflate\", permessage-deflate"],
                SHARED,
            ),
            (&["permessage-deflate-2"], None),
            (&["foo", "permessage-bzip2", "permessage-deflate"], SHARED),
            (
                &[
                    "permessage-deflate; server_max_window_bits=8, permessage-deflate; x, \
                   permessage-deflate; server_max_window_bits=10, permessage-deflate",
                ],
                narrow(10),
            ),
            (
                // Python's `websockets`.
                &["permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"],
                Some((Agreed::Shared, Some(12))),
            ),
        ] {
            assert_eq!(ask(values), wanted, "{values:?}");
        }
    }

    #[test]
    fn the_answer_repeats_the_window() {
        for bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX {
            let mut response = Vec::new();
            let server_max_window_bits = Some(bits);
            Deflate {
                server_max_window_bits,
            }
            .emit(&mut response);
            let response = String::from_utf8(response).unwrap();
            assert!(
                response.ends_with(&format!("; server_max_window_bits={bits}")),
                "{response}"
            );
        }
    }
}
