//! The client protocol's messages as another implementation has them (prost's derive), from the table in
//! `docs/protocol.md`: what our own codec is held against.

#![allow(missing_docs, dead_code, unreachable_pub, reason = "tests")]

use std::collections::BTreeMap;

macro_rules! message {
    ($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct $name { $($(#[$attribute])* pub $field: $type,)* }
    };
}

message! { Command {
    #[prost(uint32, tag = 1)] id: u32,
    #[prost(message, optional, tag = 4)] connect: Option<ConnectRequest>,
    #[prost(message, optional, tag = 5)] subscribe: Option<SubscribeRequest>,
    #[prost(message, optional, tag = 6)] unsubscribe: Option<ChannelRequest>,
    #[prost(message, optional, tag = 7)] publish: Option<PublishRequest>,
    #[prost(message, optional, tag = 8)] presence: Option<ChannelRequest>,
    #[prost(message, optional, tag = 9)] presence_stats: Option<ChannelRequest>,
    #[prost(message, optional, tag = 10)] history: Option<HistoryRequest>,
    #[prost(message, optional, tag = 11)] ping: Option<Empty>,
    #[prost(message, optional, tag = 12)] send: Option<SendRequest>,
    #[prost(message, optional, tag = 13)] rpc: Option<RpcRequest>,
    #[prost(message, optional, tag = 14)] refresh: Option<RefreshRequest>,
    #[prost(message, optional, tag = 15)] sub_refresh: Option<SubRefreshRequest>,
} }
message! { Empty {} }
message! { ConnectRequest {
    #[prost(string, tag = 1)] token: String,
    #[prost(bytes = "vec", tag = 2)] data: Vec<u8>,
    #[prost(btree_map = "string, message", tag = 3)] subs: BTreeMap<String, SubscribeRequest>,
    #[prost(string, tag = 4)] name: String,
    #[prost(string, tag = 5)] version: String,
    #[prost(btree_map = "string, string", tag = 6)] headers: BTreeMap<String, String>,
    #[prost(int64, tag = 7)] flag: i64,
} }
message! { SubscribeRequest {
    #[prost(string, tag = 1)] channel: String,
    #[prost(string, tag = 2)] token: String,
    #[prost(bool, tag = 3)] recover: bool,
    #[prost(string, tag = 6)] epoch: String,
    #[prost(uint64, tag = 7)] offset: u64,
    #[prost(bytes = "vec", tag = 8)] data: Vec<u8>,
    #[prost(bool, tag = 9)] positioned: bool,
    #[prost(bool, tag = 10)] recoverable: bool,
    #[prost(bool, tag = 11)] join_leave: bool,
    #[prost(string, tag = 12)] delta: String,
    #[prost(message, optional, tag = 13)] tf: Option<Empty>,
    #[prost(uint64, tag = 14)] flag: u64,
    #[prost(int32, tag = 15)] kind: i32,
} }
message! { ChannelRequest { #[prost(string, tag = 1)] channel: String, } }
message! { PublishRequest {
    #[prost(string, tag = 1)] channel: String,
    #[prost(bytes = "vec", tag = 2)] data: Vec<u8>,
} }
message! { HistoryRequest {
    #[prost(string, tag = 1)] channel: String,
    #[prost(int32, tag = 7)] limit: i32,
    #[prost(message, optional, tag = 8)] since: Option<StreamPosition>,
    #[prost(bool, tag = 9)] reverse: bool,
} }
message! { StreamPosition {
    #[prost(uint64, tag = 1)] offset: u64,
    #[prost(string, tag = 2)] epoch: String,
} }
message! { SendRequest { #[prost(bytes = "vec", tag = 1)] data: Vec<u8>, } }
message! { RpcRequest {
    #[prost(bytes = "vec", tag = 1)] data: Vec<u8>,
    #[prost(string, tag = 2)] method: String,
} }
message! { RefreshRequest { #[prost(string, tag = 1)] token: String, } }
message! { SubRefreshRequest {
    #[prost(string, tag = 1)] channel: String,
    #[prost(string, tag = 2)] token: String,
} }

message! { Reply {
    #[prost(uint32, tag = 1)] id: u32,
    #[prost(message, optional, tag = 2)] error: Option<Error>,
    #[prost(message, optional, tag = 4)] push: Option<Push>,
    #[prost(message, optional, tag = 5)] connect: Option<ConnectResult>,
    #[prost(message, optional, tag = 6)] subscribe: Option<SubscribeResult>,
    #[prost(message, optional, tag = 7)] unsubscribe: Option<Empty>,
    #[prost(message, optional, tag = 8)] publish: Option<Empty>,
    #[prost(message, optional, tag = 9)] presence: Option<PresenceResult>,
    #[prost(message, optional, tag = 10)] presence_stats: Option<PresenceStatsResult>,
    #[prost(message, optional, tag = 11)] history: Option<HistoryResult>,
    #[prost(message, optional, tag = 12)] ping: Option<Empty>,
    #[prost(message, optional, tag = 13)] rpc: Option<RpcResult>,
    #[prost(message, optional, tag = 14)] refresh: Option<RefreshResult>,
    #[prost(message, optional, tag = 15)] sub_refresh: Option<Expiry>,
} }
message! { Error {
    #[prost(uint32, tag = 1)] code: u32,
    #[prost(string, tag = 2)] message: String,
    #[prost(bool, tag = 3)] temporary: bool,
} }
message! { ConnectResult {
    #[prost(string, tag = 1)] client: String,
    #[prost(string, tag = 2)] version: String,
    #[prost(bool, tag = 3)] expires: bool,
    #[prost(uint32, tag = 4)] ttl: u32,
    #[prost(bytes = "vec", tag = 5)] data: Vec<u8>,
    #[prost(btree_map = "string, message", tag = 6)] subs: BTreeMap<String, SubscribeResult>,
    #[prost(uint32, tag = 7)] ping: u32,
    #[prost(bool, tag = 8)] pong: bool,
    #[prost(string, tag = 9)] session: String,
    #[prost(string, tag = 10)] node: String,
    #[prost(int64, tag = 11)] time: i64,
} }
message! { SubscribeResult {
    #[prost(bool, tag = 1)] expires: bool,
    #[prost(uint32, tag = 2)] ttl: u32,
    #[prost(bool, tag = 3)] recoverable: bool,
    #[prost(string, tag = 6)] epoch: String,
    #[prost(message, repeated, tag = 7)] publications: Vec<Publication>,
    #[prost(bool, tag = 8)] recovered: bool,
    #[prost(uint64, tag = 9)] offset: u64,
    #[prost(bool, tag = 10)] positioned: bool,
    #[prost(bytes = "vec", tag = 11)] data: Vec<u8>,
    #[prost(bool, tag = 12)] was_recovering: bool,
    #[prost(bool, tag = 13)] delta: bool,
    #[prost(int64, tag = 14)] id: i64,
} }
message! { PresenceResult {
    #[prost(btree_map = "string, message", tag = 1)] presence: BTreeMap<String, ClientInfo>,
} }
message! { PresenceStatsResult {
    #[prost(uint32, tag = 1)] num_clients: u32,
    #[prost(uint32, tag = 2)] num_users: u32,
} }
message! { HistoryResult {
    #[prost(message, repeated, tag = 1)] publications: Vec<Publication>,
    #[prost(string, tag = 2)] epoch: String,
    #[prost(uint64, tag = 3)] offset: u64,
} }
message! { RpcResult { #[prost(bytes = "vec", tag = 1)] data: Vec<u8>, } }
message! { RefreshResult {
    #[prost(string, tag = 1)] client: String,
    #[prost(string, tag = 2)] version: String,
    #[prost(bool, tag = 3)] expires: bool,
    #[prost(uint32, tag = 4)] ttl: u32,
} }
message! { Expiry {
    #[prost(bool, tag = 1)] expires: bool,
    #[prost(uint32, tag = 2)] ttl: u32,
} }

message! { Publication {
    #[prost(bytes = "vec", tag = 4)] data: Vec<u8>,
    #[prost(message, optional, tag = 5)] info: Option<ClientInfo>,
    #[prost(uint64, tag = 6)] offset: u64,
    #[prost(btree_map = "string, string", tag = 7)] tags: BTreeMap<String, String>,
} }
message! { ClientInfo {
    #[prost(string, tag = 1)] user: String,
    #[prost(string, tag = 2)] client: String,
    #[prost(bytes = "vec", tag = 3)] conn_info: Vec<u8>,
    #[prost(bytes = "vec", tag = 4)] chan_info: Vec<u8>,
} }

message! { Push {
    #[prost(int64, tag = 1)] id: i64,
    #[prost(string, tag = 2)] channel: String,
    #[prost(message, optional, tag = 4)] publication: Option<Publication>,
    #[prost(message, optional, tag = 5)] join: Option<About>,
    #[prost(message, optional, tag = 6)] leave: Option<About>,
    #[prost(message, optional, tag = 7)] unsubscribe: Option<Unsubscribe>,
    #[prost(message, optional, tag = 8)] message: Option<RpcResult>,
    #[prost(message, optional, tag = 9)] subscribe: Option<Subscribe>,
    #[prost(message, optional, tag = 10)] connect: Option<ConnectResult>,
    #[prost(message, optional, tag = 11)] disconnect: Option<Disconnect>,
    #[prost(message, optional, tag = 12)] refresh: Option<Expiry>,
} }
message! { About { #[prost(message, optional, tag = 1)] info: Option<ClientInfo>, } }
message! { Unsubscribe {
    #[prost(uint32, tag = 2)] code: u32,
    #[prost(string, tag = 3)] reason: String,
} }
message! { Subscribe {
    #[prost(bool, tag = 1)] recoverable: bool,
    #[prost(string, tag = 4)] epoch: String,
    #[prost(uint64, tag = 5)] offset: u64,
    #[prost(bool, tag = 6)] positioned: bool,
    #[prost(bytes = "vec", tag = 7)] data: Vec<u8>,
} }
message! { Disconnect {
    #[prost(uint32, tag = 1)] code: u32,
    #[prost(string, tag = 2)] reason: String,
    #[prost(bool, tag = 3)] reconnect: bool,
} }
