//! Our codec of Protocol Buffers against another one ([`schema`]): what it writes we read ([`commands`]) and
//! what we write it reads ([`messages`]), field by field; and any bytes at all are commands or a refusal.

#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "tests; every message there is makes a long table"
)]

mod commands;
mod messages;
#[path = "../schema/mod.rs"]
mod schema;

use proptest::prelude::*;

/// One value for every kind of field; each message takes those it has.
#[derive(Debug, Clone)]
struct Parts {
    id: u32,
    text: [String; 3],
    data: Vec<u8>,
    number: u64,
    signed: i32,
    flags: [bool; 4],
    /// Fields of no number of ours, by an encoder of a later version.
    unknown: Vec<u8>,
}

fn unknown() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        (100u32..1 << 29, any::<u64>()).prop_map(|(number, value)| {
            let mut out = Vec::new();
            prost::encoding::uint64::encode(number, &value, &mut out);
            out
        }),
        (100u32..1 << 29, any::<Vec<u8>>()).prop_map(|(number, value)| {
            let mut out = Vec::new();
            prost::encoding::bytes::encode(number, &value, &mut out);
            out
        }),
        any::<(u64, u32)>().prop_map(|(eight, four)| {
            let mut out = Vec::new();
            prost::encoding::fixed64::encode(101, &eight, &mut out);
            prost::encoding::fixed32::encode(102, &four, &mut out);
            out
        }),
    ];
    prop::collection::vec(field, 0..3).prop_map(|fields| fields.concat())
}

fn parts() -> impl Strategy<Value = Parts> {
    (
        1u32..,
        any::<[String; 3]>(),
        any::<(Vec<u8>, u64, i32)>(),
        any::<[bool; 4]>(),
        unknown(),
    )
        .prop_map(|(id, text, (data, number, signed), flags, unknown)| Parts {
            id,
            text,
            data,
            number,
            signed,
            flags,
            unknown,
        })
}
