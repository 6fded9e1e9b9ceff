//! What holds when a key is not written. A test keeps these equal to `default.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{
    Admin, Client, Congestion, Debugging, Durability, Game, Journal, Level, Log, Poll, Secret,
    Statsd, TcpSettings, XdpMode, ZeroCopy,
};

impl Default for Game {
    fn default() -> Game {
        Game {
            interface: String::new(),
            listen: Vec::new(),
            queues: 0,
            poll: Poll::Adaptive,
            cpus: Vec::new(),
            xdp_mode: XdpMode::Auto,
            zero_copy: ZeroCopy::Auto,
            frames: 4096,
            players_max: 20_000,
            half_open_max: 4096,
            hunt_log_mib: 64,
            private_chunks: 16_384,
            hunts_max: 10_000,
        }
    }
}

impl Default for TcpSettings {
    fn default() -> TcpSettings {
        TcpSettings {
            congestion: Congestion::Cubic,
            mss_max: 1460,
            persist_timeout_s: 60,
        }
    }
}

impl Default for Client {
    fn default() -> Client {
        Client {
            anonymous: false,
            disallow_anonymous_connection_tokens: false,
            token_hmac_secret: Secret::default(),
            token_rsa_public_key: String::new(),
            token_ecdsa_public_key: String::new(),
            token_ed25519_public_key: String::new(),
            token_jwks_file: None,
            token_audience: String::new(),
            token_issuer: String::new(),
            user_personal_channel: false,
            user_personal_channel_namespace: String::new(),
            allowed_origins: Vec::new(),
            ping_interval_s: 25,
            pong_timeout_s: 8,
            handshake_timeout_s: 10,
            connect_timeout_s: 10,
            message_bytes_max: 65_536,
            channels_max: 128,
            lag_bytes_max: 1_048_576,
            compression: false,
            compression_bytes_min: 256,
            positions_per_s: 10,
        }
    }
}

impl Default for Journal {
    fn default() -> Journal {
        Journal {
            path: PathBuf::from("/var/lib/cluecast/journal"),
            durability: Durability::Fsync,
            cpu: None,
            hunts_max: 200_000,
            path_ttl_s: 604_800,
            path_points_max: 100_000,
        }
    }
}

impl Default for Admin {
    fn default() -> Admin {
        Admin {
            listen: SocketAddr::from(([127, 0, 0, 1], 9000)),
            api_key: Secret::default(),
            insecure: false,
        }
    }
}

impl Default for Statsd {
    fn default() -> Statsd {
        Statsd {
            address: SocketAddr::from(([127, 0, 0, 1], 8125)),
            interval_ms: 1000,
            prefix: "cluecast.".to_owned(),
            tags: Vec::new(),
            dogstatsd: true,
        }
    }
}

impl Default for Debugging {
    fn default() -> Debugging {
        Debugging {
            echo: false,
            echo_message_bytes_max: 65_536,
            demo: false,
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { level: Level::Info }
    }
}
