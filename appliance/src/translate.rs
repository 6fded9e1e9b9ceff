//! The configuration in the words of the engine and of `xdp-prog`.

use engine::journal::{self, PathRule, Retention, Rule};
use engine::session::rules::{ChannelRules, Rules};
use engine::tcp;
use engine::units::Micros;
use xdp_prog::port::{self, PortConfig};
use xdp_prog::steering::Mode;

use crate::config::{self, Config};
use crate::store;

/// Bytes a player may send ahead of us. Players send little; 64 KiB needs no window scaling.
const RECEIVE_WINDOW: u32 = 65_535;

/// Buffers of 1460 bytes a data core has for segments out of order.
const PIECES: u32 = 2_048;

/// Path of the WebSocket endpoint, as in Centrifugo.
const PATH: &str = "/connection/websocket";

/// What players are told about us in the connect reply.
const VERSION: &str = concat!("cluecast ", env!("CARGO_PKG_VERSION"));

/// For each data core's TCP.
pub fn tcp(config: &Config, secret: [u64; 2]) -> tcp::Config {
    tcp::Config {
        listen: config.game.listen.clone(),
        connections_max: config.game.players_max,
        half_open_max: config.game.half_open_max,
        time_wait_max: (config.game.players_max / 4).max(1),
        receive_window: RECEIVE_WINDOW,
        pieces: PIECES,
        secret,
        mss_max: config.tcp.mss_max,
        persist_timeout: Micros::from_secs(config.tcp.persist_timeout_s.into()),
        congestion: match config.tcp.congestion {
            config::Congestion::Cubic => tcp::Algorithm::Cubic,
            config::Congestion::NewReno => tcp::Algorithm::NewReno,
        },
        ..tcp::Config::default()
    }
}

/// For each data core's sessions.
pub fn rules(config: &Config) -> Rules {
    let client = &config.client;
    let seconds = |seconds: u32| Micros::from_secs(seconds.into());
    let namespaces = config.namespace.iter().map(|namespace| {
        (
            namespace.name.clone(),
            channel_rules(namespace.rules(config.channel)),
        )
    });
    Rules {
        version: VERSION,
        path: PATH.to_owned(),
        echo: config.debug.echo,
        compression: client.compression,
        compression_bytes_min: client.compression_bytes_min,
        allowed_origins: client.allowed_origins.clone(),
        anonymous: client.anonymous,
        disallow_anonymous_connection_tokens: client.disallow_anonymous_connection_tokens,
        personal_channel: personal_channel(client),
        ping_interval: seconds(client.ping_interval_s),
        pong_timeout: seconds(client.pong_timeout_s),
        handshake_timeout: seconds(client.handshake_timeout_s),
        connect_timeout: seconds(client.connect_timeout_s),
        message_bytes_max: client.message_bytes_max,
        echo_message_bytes_max: config.debug.echo_message_bytes_max,
        channels_max: client.channels_max,
        lag_bytes_max: client.lag_bytes_max as u64,
        positions_per_s: client.positions_per_s,
        default: channel_rules(config.channel),
        namespaces: namespaces.collect(),
    }
}

fn channel_rules(rules: config::ChannelRules) -> ChannelRules {
    ChannelRules {
        history: rules.keeps_history(),
        force_recovery: rules.force_recovery,
        allow_recovery: rules.allow_recovery,
        force_positioning: rules.force_positioning,
        allow_positioning: rules.allow_positioning,
        presence: rules.presence,
        join_leave: rules.join_leave,
        force_push_join_leave: rules.force_push_join_leave,
        allow_subscribe_for_client: rules.allow_subscribe_for_client,
        allow_subscribe_for_anonymous: rules.allow_subscribe_for_anonymous,
        allow_user_limited_channels: rules.allow_user_limited_channels,
        allow_publish_for_client: rules.allow_publish_for_client,
        allow_publish_for_subscriber: rules.allow_publish_for_subscriber,
        allow_publish_for_anonymous: rules.allow_publish_for_anonymous,
        allow_history_for_client: rules.allow_history_for_client,
        allow_history_for_subscriber: rules.allow_history_for_subscriber,
        allow_history_for_anonymous: rules.allow_history_for_anonymous,
        allow_presence_for_client: rules.allow_presence_for_client,
        allow_presence_for_subscriber: rules.allow_presence_for_subscriber,
        allow_presence_for_anonymous: rules.allow_presence_for_anonymous,
        compression: rules.compression,
    }
}

/// The name of a user's own hunt, up to the user's id.
fn personal_channel(client: &config::Client) -> Option<String> {
    let prefix = match client.user_personal_channel_namespace.as_str() {
        "" => "#".to_owned(),
        namespace => format!("{namespace}:#"),
    };
    client.user_personal_channel.then_some(prefix)
}

/// For the journal core.
pub fn journal(config: &Config) -> journal::Config {
    let rule = |rules: config::ChannelRules| Rule {
        history_size: rules.history_size,
        history_ttl_ms: rules.history_ttl_s.saturating_mul(1_000),
        compress_from: (rules.compression && config.client.compression)
            .then_some(config.client.compression_bytes_min),
    };
    let namespaces = config.namespace.iter().map(|namespace| {
        (
            namespace.name.as_str().into(),
            rule(namespace.rules(config.channel)),
        )
    });
    journal::Config {
        durability: durability(config),
        hunts_max: config.journal.hunts_max,
        retention: Retention {
            default: rule(config.channel),
            namespaces: namespaces.collect(),
            paths: PathRule {
                ttl_ms: config.journal.path_ttl_s.saturating_mul(1_000),
                points_max: config.journal.path_points_max,
            },
        },
    }
}

/// For the store.
pub fn store(config: &Config) -> store::Options {
    store::Options {
        durability: durability(config),
        memtable_huge_pages: false,
    }
}

fn durability(config: &Config) -> journal::Durability {
    match config.journal.durability {
        config::Durability::Fsync => journal::Durability::Fsync,
        config::Durability::Wal => journal::Durability::Wal,
    }
}

/// For each port.
pub fn port(config: &Config) -> PortConfig {
    PortConfig {
        frames: config.game.frames,
        zero_copy: match config.game.zero_copy {
            config::ZeroCopy::Auto => port::ZeroCopy::Auto,
            config::ZeroCopy::Require => port::ZeroCopy::Require,
            config::ZeroCopy::Off => port::ZeroCopy::Off,
        },
        busy_poll: config.game.poll == config::Poll::Busy,
    }
}

/// For the steering program.
pub fn mode(config: &Config) -> Mode {
    match config.game.xdp_mode {
        config::XdpMode::Auto => Mode::Auto,
        config::XdpMode::Native => Mode::Native,
        config::XdpMode::Generic => Mode::Generic,
    }
}
