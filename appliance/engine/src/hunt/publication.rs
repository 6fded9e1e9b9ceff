//! The one form that an event has between its publisher and its frames: in the submit ring, in the
//! store, in the broadcast ring, in a page of history. It is the body of Centrifugo's `Publication`
//! message in Protocol Buffers, fields in the order `data`, `info`, `offset`, `tags`: players of the
//! protobuf protocol get it as it is, and JSON is written from it.
//!
//! A list of publications is `varint length, body` one after another ([`crate::protobuf::delimited`]).
//!
//! Field numbers: `/connection/websocket`'s schema (`docs/protocol.md`).

use crate::protobuf::{self, Fields, Malformed, Value};

mod tag {
    pub(super) const DATA: u32 = 4;
    pub(super) const INFO: u32 = 5;
    pub(super) const OFFSET: u32 = 6;
    pub(super) const TAGS: u32 = 7;
}

/// An event's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Publication<'a> {
    /// The payload: valid, compact JSON (no newline in it: newlines separate JSON messages).
    pub data: &'a [u8],
    /// The player who published: a [`ClientInfo`], or empty when it was a backend.
    pub info: &'a [u8],
    /// Its number in the hunt; 0 when it is in no history.
    pub offset: u64,
    /// Tags as [`append_tag`] writes them, or empty.
    pub tags: &'a [u8],
}

impl<'a> Publication<'a> {
    /// Reads what [`append`](Publication::append) wrote.
    pub fn parse(body: &'a [u8]) -> Result<Publication<'a>, Malformed> {
        let mut publication = Publication::default();
        let mut fields = Fields::new(body);
        loop {
            let rest = fields.rest();
            match fields.next().transpose()? {
                None => return Ok(publication),
                Some((tag::DATA, value)) => publication.data = value.bytes()?,
                Some((tag::INFO, value)) => publication.info = value.bytes()?,
                Some((tag::OFFSET, value)) => publication.offset = value.number()?,
                Some((tag::TAGS, _)) => {
                    // They come last.
                    publication.tags = rest;
                    return Ok(publication);
                }
                Some(_) => {}
            }
        }
    }

    /// Appends the body.
    pub fn append(&self, out: &mut Vec<u8>) {
        protobuf::append_bytes(out, tag::DATA, self.data);
        self.append_after_data(out);
    }

    /// Appends what comes before the bytes of the payload.
    pub(super) fn append_before_data(&self, out: &mut Vec<u8>) {
        if !self.data.is_empty() {
            protobuf::append_header(out, tag::DATA, self.data.len());
        }
    }

    /// Appends what comes after the payload.
    pub(super) fn append_after_data(&self, out: &mut Vec<u8>) {
        protobuf::append_bytes(out, tag::INFO, self.info);
        protobuf::append_number(out, tag::OFFSET, self.offset);
        out.extend_from_slice(self.tags);
    }

    /// Appends it as a JSON object; what is empty is left out, as in Centrifugo.
    pub fn append_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"data\":");
        out.extend_from_slice(self.data);
        self.append_json_after_data(out);
    }

    /// Appends the JSON object from behind the payload on.
    pub(super) fn append_json_after_data(&self, out: &mut Vec<u8>) {
        if !self.info.is_empty() {
            out.extend_from_slice(b",\"info\":");
            append_info_json(out, self.info);
        }
        if self.offset != 0 {
            out.extend_from_slice(b",\"offset\":");
            append_decimal(out, self.offset);
        }
        if !self.tags.is_empty() {
            out.extend_from_slice(b",\"tags\":{");
            for (index, (key, value)) in tags(self.tags).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                append_json_text(out, key);
                out.push(b':');
                append_json_text(out, value);
            }
            out.push(b'}');
        }
        out.push(b'}');
    }
}

/// Appends a list of publications as a JSON array.
pub fn append_list_json(out: &mut Vec<u8>, list: &[u8]) {
    out.push(b'[');
    for (index, body) in protobuf::delimited(list).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let publication = Publication::parse(body);
        debug_assert!(publication.is_ok(), "publications are written by us");
        publication.unwrap_or_default().append_json(out);
    }
    out.push(b']');
}

/// Who a player is, for others to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientInfo<'a> {
    /// The user's id; empty means anonymous.
    pub user: &'a str,
    /// The connection's id.
    pub client: &'a str,
    /// JSON of the connection's token, or empty.
    pub conn_info: &'a [u8],
    /// JSON of the subscription's token, or empty.
    pub chan_info: &'a [u8],
}

impl<'a> ClientInfo<'a> {
    /// Reads what [`append`](ClientInfo::append) wrote.
    pub fn parse(body: &'a [u8]) -> Result<ClientInfo<'a>, Malformed> {
        let mut info = ClientInfo::default();
        for field in Fields::new(body) {
            match field? {
                (1, value) => info.user = value.text()?,
                (2, value) => info.client = value.text()?,
                (3, value) => info.conn_info = value.bytes()?,
                (4, value) => info.chan_info = value.bytes()?,
                _ => {}
            }
        }
        Ok(info)
    }

    /// Appends the body of a `ClientInfo` message.
    pub fn append(&self, out: &mut Vec<u8>) {
        protobuf::append_bytes(out, 1, self.user.as_bytes());
        protobuf::append_bytes(out, 2, self.client.as_bytes());
        protobuf::append_bytes(out, 3, self.conn_info);
        protobuf::append_bytes(out, 4, self.chan_info);
    }

    /// Appends it as a JSON object; `user` and `client` are there also when empty, as in Centrifugo.
    pub fn append_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"user\":");
        append_json_text(out, self.user);
        out.extend_from_slice(b",\"client\":");
        append_json_text(out, self.client);
        for (name, info) in [
            (&b",\"conn_info\":"[..], self.conn_info),
            (b",\"chan_info\":", self.chan_info),
        ] {
            if !info.is_empty() {
                out.extend_from_slice(name);
                out.extend_from_slice(info);
            }
        }
        out.push(b'}');
    }
}

/// Appends the JSON of an encoded [`ClientInfo`]; of one that does not parse, the JSON of nobody.
pub fn append_info_json(out: &mut Vec<u8>, info: &[u8]) {
    let info = ClientInfo::parse(info);
    debug_assert!(info.is_ok(), "client infos are written by us");
    info.unwrap_or_default().append_json(out);
}

/// Appends one tag.
pub fn append_tag(out: &mut Vec<u8>, key: &str, value: &str) {
    protobuf::append_message(out, tag::TAGS, |entry| {
        protobuf::append_bytes(entry, 1, key.as_bytes());
        protobuf::append_bytes(entry, 2, value.as_bytes());
    });
}

/// Tags that [`append_tag`] wrote: keys and values.
pub fn tags(tags: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let entries = Fields::new(tags).map_while(|field| match field {
        Ok((tag::TAGS, Value::Bytes(entry))) => Some(entry),
        _ => None,
    });
    entries.map(|entry| {
        let mut tag = ("", "");
        for field in Fields::new(entry).map_while(Result::ok) {
            match field {
                (1, value) => tag.0 = value.text().unwrap_or(""),
                (2, value) => tag.1 = value.text().unwrap_or(""),
                _ => {}
            }
        }
        tag
    })
}

/// Appends a JSON string.
pub fn append_json_text(out: &mut Vec<u8>, text: &str) {
    // Writing text to a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Appends a number as JSON has it.
pub fn append_decimal(out: &mut Vec<u8>, number: u64) {
    // Writing a number to a vector cannot fail.
    let _ = serde_json::to_writer(out, &number);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    fn json(publication: &Publication<'_>) -> String {
        String::from_utf8(encoded(|out| publication.append_json(out))).unwrap()
    }

    #[test]
    fn json_leaves_out_what_is_empty() {
        let info = encoded(|out| ClientInfo::default().append(out));
        assert!(info.is_empty(), "nobody in particular is not told");
        let info = encoded(|out| {
            let info = ClientInfo {
                user: "é\"",
                client: "c",
                conn_info: b"{}",
                chan_info: b"1",
            };
            info.append(out);
        });
        let tags = encoded(|out| {
            append_tag(out, "a", "b\n");
            append_tag(out, "", "");
        });
        let bare = Publication {
            data: br#"{"n":18}"#,
            offset: 18,
            ..Publication::default()
        };
        assert_eq!(json(&bare), r#"{"data":{"n":18},"offset":18}"#);
        let full = Publication {
            data: b"null",
            info: &info,
            offset: u64::MAX,
            tags: &tags,
        };
        assert_eq!(
            json(&full),
            concat!(
                r#"{"data":null,"info":{"user":"é\"","client":"c","conn_info":{},"chan_info":1},"#,
                r#""offset":18446744073709551615,"tags":{"a":"b\n","":""}}"#
            )
        );
        let unnumbered = Publication {
            data: b"1",
            ..Publication::default()
        };
        assert_eq!(json(&unnumbered), r#"{"data":1}"#);
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(
            data: Vec<u8>, user: String, offset: u64, pairs: Vec<(String, String)>, conn_info: Vec<u8>,
        ) {
            let info = encoded(|out| {
                let info = ClientInfo { user: &user, client: "c", conn_info: &conn_info, chan_info: b"" };
                info.append(out);
                assert_eq!(ClientInfo::parse(out), Ok(info));
            });
            let written = encoded(|out| for (key, value) in &pairs { append_tag(out, key, value) });
            prop_assert_eq!(
                tags(&written).collect::<Vec<_>>(),
                pairs.iter().map(|(key, value)| (&**key, &**value)).collect::<Vec<_>>()
            );
            let publication = Publication { data: &data, info: &info, offset, tags: &written };
            let body = encoded(|out| publication.append(out));
            prop_assert_eq!(Publication::parse(&body), Ok(publication));
        }

        #[test]
        fn survives_a_strangers_bytes(bytes: Vec<u8>) {
            if let Ok(publication) = Publication::parse(&bytes) {
                for tag in tags(publication.tags) { let _ = tag; }
                let _ = ClientInfo::parse(publication.info);
            }
        }
    }
}
