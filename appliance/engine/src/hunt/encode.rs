//! An event's bytes: whole WebSocket frames, made once a core for everybody who takes the same
//! [`Variant`].
//!
//! Servers do not mask, so every player of a variant gets the same bytes and the stream's log is ready
//! to send. A frame is made of three parts: what stands before the payload, the payload, what stands
//! after it. All variants share the payload, compressed ones too: the journal core deflates it once
//! (`ws::deflate`), and the parts around it go into the compressed message uncompressed.
//!
//! Field names, numbers and what is left out are Centrifugo's (`docs/protocol.md`).

use prost::encoding::encoded_len_varint;

use crate::hunt::publication::{Publication, append_decimal, append_info_json, append_json_text};
use crate::protobuf;
use crate::ring::broadcast::{HuntNumber, Movement};
use crate::ws::deflate;
use crate::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, emit_header};

/// Field numbers of `Reply` and `Push`.
mod tag {
    pub(super) const REPLY_PUSH: u32 = 4;
    pub(super) const PUSH_ID: u32 = 1;
    pub(super) const PUSH_CHANNEL: u32 = 2;
    pub(super) const PUSH_PUB: u32 = 4;
    pub(super) const PUSH_JOIN: u32 = 5;
    pub(super) const PUSH_LEAVE: u32 = 6;
    pub(super) const JOIN_INFO: u32 = 1;
}

/// Which bytes of a hunt's events a subscription takes: a set of properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Variant(u8);

impl Variant {
    /// JSON with the hunt's name, uncompressed.
    pub const PLAIN: Variant = Variant(0);
    /// Protocol Buffers in binary frames instead of JSON in text frames.
    pub const PROTOBUF: Variant = Variant(1);
    /// The hunt's number instead of its name (channel compaction).
    pub const NUMBERED: Variant = Variant(2);
    /// Compressed payloads (RFC 7692), where the hunt has them.
    pub const DEFLATE: Variant = Variant(4);
    /// With others' joins and leaves.
    pub const JOINS: Variant = Variant(8);
    /// Bare pushes, for unidirectional connections.
    pub const UNIDIRECTIONAL: Variant = Variant(16);

    /// Both sets of properties.
    pub const fn and(self, other: Variant) -> Variant {
        Variant(self.0 | other.0)
    }

    /// `self`, with `other` too if `given`.
    pub const fn and_if(self, given: bool, other: Variant) -> Variant {
        if given { self.and(other) } else { self }
    }

    /// Whether it has all properties of `other`.
    pub const fn has(self, other: Variant) -> bool {
        self.0 & other.0 == other.0
    }

    const fn opcode(self) -> Opcode {
        match self.has(Variant::PROTOBUF) {
            true => Opcode::Binary,
            false => Opcode::Text,
        }
    }
}

/// The hunt that a frame is about.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    /// Its name.
    pub name: &'a str,
    /// The journal's number for it.
    pub number: HuntNumber,
}

impl Address<'_> {
    /// The number that stands for the name in frames: from 1, because 0 means none.
    pub fn id(&self) -> u64 {
        channel_id(self.number)
    }
}

/// See [`Address::id`].
pub fn channel_id(number: HuntNumber) -> u64 {
    u64::from(number) + 1
}

/// Makes frames. Keeps its buffers, so it allocates only for a frame longer than any before.
#[derive(Debug)]
pub struct Encoder {
    before: Vec<u8>,
    after: Vec<u8>,
    frame: Vec<u8>,
}

impl Encoder {
    /// With room for frames of `frame_bytes`.
    pub fn new(frame_bytes: usize) -> Encoder {
        Encoder {
            before: Vec::with_capacity(2048),
            after: Vec::with_capacity(2048),
            frame: Vec::with_capacity(frame_bytes),
        }
    }

    /// The frame of an event. `deflated` is its payload as `ws::deflate` makes it, or empty.
    pub fn event(
        &mut self,
        variant: Variant,
        to: Address<'_>,
        publication: &Publication<'_>,
        deflated: &[u8],
    ) -> &[u8] {
        self.before.clear();
        self.after.clear();
        match variant.has(Variant::PROTOBUF) {
            true => self.event_protobuf(variant, to, publication),
            false => self.event_json(variant, to, publication),
        }
        self.frame.clear();
        if variant.has(Variant::DEFLATE) && !deflated.is_empty() {
            let Encoder {
                before,
                after,
                frame,
            } = self;
            deflate::append_frame(frame, variant.opcode(), before, deflated, after);
        } else {
            self.emit(variant.opcode(), publication.data);
        }
        &self.frame
    }

    fn event_json(&mut self, variant: Variant, to: Address<'_>, publication: &Publication<'_>) {
        begin_json(&mut self.before, variant, to);
        self.before.extend_from_slice(b",\"pub\":{\"data\":");
        publication.append_json_after_data(&mut self.after);
        end_json(&mut self.after, variant);
    }

    fn event_protobuf(&mut self, variant: Variant, to: Address<'_>, publication: &Publication<'_>) {
        publication.append_after_data(&mut self.after);
        // From the inside out: each message's length stands before it.
        let inner = &mut self.frame;
        inner.clear();
        publication.append_before_data(inner);
        let length = inner.len() + publication.data.len() + self.after.len();
        begin_protobuf(&mut self.before, variant, to, tag::PUSH_PUB, length);
        self.before.extend_from_slice(inner);
    }

    /// The frame that tells of `who`, an encoded `ClientInfo`.
    pub fn movement(
        &mut self,
        variant: Variant,
        to: Address<'_>,
        movement: Movement,
        who: &[u8],
    ) -> &[u8] {
        let Encoder { before, after, .. } = self;
        before.clear();
        after.clear();
        if variant.has(Variant::PROTOBUF) {
            protobuf::append_bytes_always(after, tag::JOIN_INFO, who);
            let push = match movement {
                Movement::Join => tag::PUSH_JOIN,
                Movement::Leave => tag::PUSH_LEAVE,
            };
            begin_protobuf(before, variant, to, push, after.len());
        } else {
            begin_json(before, variant, to);
            before.extend_from_slice(match movement {
                Movement::Join => b",\"join\":{\"info\":",
                Movement::Leave => b",\"leave\":{\"info\":",
            });
            append_info_json(before, who);
            before.push(b'}');
            end_json(before, variant);
        }
        self.frame.clear();
        self.emit(variant.opcode(), &[]);
        &self.frame
    }

    /// Puts header, both parts and the payload between them together.
    fn emit(&mut self, opcode: Opcode, payload: &[u8]) {
        let parts = [&self.before, payload, &self.after];
        let mut header = [0; SERVER_HEADER_BYTES_MAX];
        let length = parts.iter().map(|part| part.len()).sum();
        let header_len = emit_header(opcode, length, &mut header);
        self.frame.extend(header.iter().take(header_len));
        for part in parts {
            self.frame.extend_from_slice(part);
        }
    }
}

/// `{"push":{"channel":"…"` or what the variant has instead.
fn begin_json(out: &mut Vec<u8>, variant: Variant, to: Address<'_>) {
    if !variant.has(Variant::UNIDIRECTIONAL) {
        out.extend_from_slice(b"{\"push\":");
    }
    if variant.has(Variant::NUMBERED) {
        out.extend_from_slice(b"{\"id\":");
        append_decimal(out, to.id());
    } else {
        out.extend_from_slice(b"{\"channel\":");
        append_json_text(out, to.name);
    }
}

fn end_json(out: &mut Vec<u8>, variant: Variant) {
    out.push(b'}');
    if !variant.has(Variant::UNIDIRECTIONAL) {
        out.push(b'}');
    }
}

/// Everything of the message before field `push` of `Push`, and that field's header; `length` bytes
/// follow.
fn begin_protobuf(out: &mut Vec<u8>, variant: Variant, to: Address<'_>, push: u32, length: usize) {
    const KEY: usize = 1;
    let delimited = |length: usize| KEY + encoded_len_varint(length as u64) + length;
    let channel = match variant.has(Variant::NUMBERED) {
        true => KEY + encoded_len_varint(to.id()),
        false => delimited(to.name.len()),
    };
    let push_len = channel + delimited(length);
    // A bare push is alone in its frame, and has no length before it.
    if !variant.has(Variant::UNIDIRECTIONAL) {
        prost::encoding::encode_varint(delimited(push_len) as u64, out);
        protobuf::append_header(out, tag::REPLY_PUSH, push_len);
    }
    match variant.has(Variant::NUMBERED) {
        true => protobuf::append_number(out, tag::PUSH_ID, to.id()),
        false => protobuf::append_bytes_always(out, tag::PUSH_CHANNEL, to.name.as_bytes()),
    }
    protobuf::append_header(out, push, length);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hunt::publication::{ClientInfo, append_tag};
    use oracle::Message;
    use proptest::prelude::*;

    const TO: Address<'_> = Address {
        name: "hunt:4\"2",
        number: 299,
    };

    fn payload(frame: &[u8]) -> (Opcode, &[u8]) {
        let opcode = if frame[0] & 15 == 1 {
            Opcode::Text
        } else {
            Opcode::Binary
        };
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, &byte| n << 8 | usize::from(byte));
        let (length, start) = match frame[1] {
            126 => (number(&frame[2..4]), 4),
            127 => (number(&frame[2..10]), 10),
            short => (usize::from(short), 2),
        };
        assert_eq!(length, frame.len() - start, "one whole frame");
        (opcode, &frame[start..])
    }

    fn event_json(variant: Variant, data: &str) -> String {
        let publication = Publication {
            data: data.as_bytes(),
            offset: 19,
            ..Publication::default()
        };
        let mut encoder = Encoder::new(10);
        let (opcode, text) = payload(encoder.event(variant, TO, &publication, &[]));
        assert_eq!(opcode, Opcode::Text);
        String::from_utf8(text.to_vec()).unwrap()
    }

    #[test]
    fn json_variants_differ_around_the_payload_only() {
        assert_eq!(
            event_json(Variant::PLAIN, "{}"),
            r#"{"push":{"channel":"hunt:4\"2","pub":{"data":{},"offset":19}}}"#
        );
        assert_eq!(
            event_json(Variant::NUMBERED, "{}"),
            r#"{"push":{"id":300,"pub":{"data":{},"offset":19}}}"#
        );
        assert_eq!(
            event_json(Variant::UNIDIRECTIONAL, "1"),
            r#"{"channel":"hunt:4\"2","pub":{"data":1,"offset":19}}"#
        );
    }

    #[test]
    fn a_compressed_payload_is_shared_by_all_variants() {
        let data = format!("[{}]", "\"clue\",".repeat(100));
        let publication = Publication {
            data: data.as_bytes(),
            offset: 19,
            ..Publication::default()
        };
        let mut deflated = Vec::with_capacity(data.len());
        assert!(deflate::Deflater::new(15).data(data.as_bytes(), &mut deflated));
        for variant in [Variant::PLAIN, Variant::NUMBERED, Variant::PROTOBUF] {
            let mut encoder = Encoder::new(10);
            let plain = payload(encoder.event(variant, TO, &publication, &deflated))
                .1
                .to_vec();
            let compressed = variant.and(Variant::DEFLATE);
            let frame = encoder
                .event(compressed, TO, &publication, &deflated)
                .to_vec();
            assert_eq!(frame[0] & 0x40, 0x40, "RFC 7692 6: RSV1");
            let shorter = payload(&frame).1;
            assert!(shorter.len() < plain.len() / 2);
            let mut inflater = deflate::Inflater::new(70_000);
            assert_eq!(inflater.receive(shorter, 70_000).unwrap(), &plain[..]);
            let frame = encoder.event(compressed, TO, &publication, &[]);
            assert_eq!(
                payload(frame).1,
                &plain[..],
                "what is not compressed goes as it is"
            );
        }
    }

    #[test]
    fn a_frame_is_whole_at_each_length_of_header() {
        for length in [10, 125, 60_000, 70_000] {
            let data = format!("\"{}\"", "x".repeat(length));
            let text = event_json(Variant::PLAIN, &data);
            assert!(text.contains(&data));
        }
    }

    #[test]
    fn movements_tell_who() {
        let mut who = Vec::new();
        ClientInfo {
            user: "7",
            client: "c",
            ..ClientInfo::default()
        }
        .append(&mut who);
        let mut encoder = Encoder::new(10);
        let (_, text) = payload(encoder.movement(Variant::JOINS, TO, Movement::Leave, &who));
        assert_eq!(
            std::str::from_utf8(text).unwrap(),
            r#"{"push":{"channel":"hunt:4\"2","leave":{"info":{"user":"7","client":"c"}}}}"#
        );
    }

    /// The schema's part that is used here, read by a library that knows nothing of us.
    mod oracle {
        pub(super) use prost::Message;

        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Reply {
            #[prost(message, optional, tag = "4")]
            pub(super) push: Option<Push>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Push {
            #[prost(int64, tag = "1")]
            pub(super) id: i64,
            #[prost(string, tag = "2")]
            pub(super) channel: String,
            #[prost(message, optional, tag = "4")]
            pub(super) publication: Option<Publication>,
            #[prost(message, optional, tag = "5")]
            pub(super) join: Option<Join>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Join {
            #[prost(message, optional, tag = "1")]
            pub(super) info: Option<Info>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Publication {
            #[prost(bytes = "vec", tag = "4")]
            pub(super) data: Vec<u8>,
            #[prost(message, optional, tag = "5")]
            pub(super) info: Option<Info>,
            #[prost(uint64, tag = "6")]
            pub(super) offset: u64,
            #[prost(btree_map = "string, string", tag = "7")]
            pub(super) tags: std::collections::BTreeMap<String, String>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Info {
            #[prost(string, tag = "1")]
            pub(super) user: String,
            #[prost(string, tag = "2")]
            pub(super) client: String,
        }
    }

    fn push(variant: Variant, bytes: &[u8]) -> oracle::Push {
        if variant.has(Variant::UNIDIRECTIONAL) {
            return oracle::Push::decode(bytes).unwrap();
        }
        oracle::Reply::decode_length_delimited(bytes)
            .unwrap()
            .push
            .unwrap()
    }

    proptest! {
        #[test]
        fn protobuf_reads_as_written(
            data: Vec<u8>, offset: u64, numbered: bool, bare: bool, number in 0u32..1_000_000,
            user: String, key: String, value: String,
        ) {
            let (mut info, mut tags) = (Vec::new(), Vec::new());
            ClientInfo { user: &user, client: "c", ..ClientInfo::default() }.append(&mut info);
            append_tag(&mut tags, &key, &value);
            let publication = Publication { data: &data, info: &info, offset, tags: &tags };
            let variant = Variant::PROTOBUF.and_if(numbered, Variant::NUMBERED)
                .and_if(bare, Variant::UNIDIRECTIONAL);
            let to = Address { name: "hunt", number };
            let mut encoder = Encoder::new(10);
            let (opcode, bytes) = payload(encoder.event(variant, to, &publication, &[]));
            prop_assert_eq!(opcode, Opcode::Binary);
            let who = oracle::Info { user, client: "c".into() };
            let mut expected = oracle::Push::default();
            match numbered {
                true => expected.id = i64::from(number) + 1,
                false => expected.channel = "hunt".into(),
            }
            let mut joined = expected.clone();
            expected.publication = Some(oracle::Publication {
                data: data.clone(), info: Some(who.clone()), offset, tags: [(key, value)].into(),
            });
            prop_assert_eq!(push(variant, bytes), expected);
            let (_, bytes) = payload(encoder.movement(variant, to, Movement::Join, &info));
            joined.join = Some(oracle::Join { info: Some(who) });
            prop_assert_eq!(push(variant, bytes), joined);
        }
    }
}
