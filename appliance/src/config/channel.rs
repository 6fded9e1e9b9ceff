//! `[channel]` and `[[namespace]]`: the same keys in both, so one list makes both shapes.
//!
//! The names are Centrifugo's, so that its operators find them; `default.toml` says what they do, and
//! `check` which of them go together.

use serde::Deserialize;

/// From one list: the rules, the optional form of them, and how the two are joined.
macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr,)*) => {
        /// `[channel]`, and what a namespace's rules come to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct ChannelRules {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl Default for ChannelRules {
            fn default() -> ChannelRules {
                ChannelRules { $($name: $default,)* }
            }
        }

        /// One `[[namespace]]`: see [`ChannelRules`].
        #[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Namespace {
            /// The hunts' names up to the first colon.
            pub name: String,
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        impl Namespace {
            /// What this namespace says, and `otherwise` where it says nothing.
            pub fn rules(&self, otherwise: ChannelRules) -> ChannelRules {
                ChannelRules { $($name: self.$name.unwrap_or(otherwise.$name),)* }
            }
        }
    };
}

rules! {
    /// Events kept; 0 keeps none.
    history_size: u32 = 1000,
    /// Seconds an event is kept; 0 keeps none.
    history_ttl_s: u64 = 86_400,
    /// Recover also those who did not ask.
    force_recovery: bool = true,
    /// Recover those who ask.
    allow_recovery: bool = false,
    /// Watch the position also of those who did not ask.
    force_positioning: bool = false,
    /// Watch the position of those who ask.
    allow_positioning: bool = false,
    /// Know who is subscribed.
    presence: bool = false,
    /// Announce who comes and goes.
    join_leave: bool = false,
    /// To every subscriber.
    force_push_join_leave: bool = false,
    /// Subscribe without a subscription token.
    allow_subscribe_for_client: bool = true,
    /// The anonymous too.
    allow_subscribe_for_anonymous: bool = true,
    /// `name#user,user` is for these users alone.
    allow_user_limited_channels: bool = false,
    /// Publish by any player.
    allow_publish_for_client: bool = false,
    /// Publish by subscribers.
    allow_publish_for_subscriber: bool = false,
    /// The anonymous too.
    allow_publish_for_anonymous: bool = false,
    /// History for any player.
    allow_history_for_client: bool = false,
    /// History for subscribers.
    allow_history_for_subscriber: bool = false,
    /// The anonymous too.
    allow_history_for_anonymous: bool = false,
    /// Presence for any player.
    allow_presence_for_client: bool = false,
    /// Presence for subscribers.
    allow_presence_for_subscriber: bool = false,
    /// The anonymous too.
    allow_presence_for_anonymous: bool = false,
    /// Compress events.
    compression: bool = false,
}

impl ChannelRules {
    /// Whether events are kept.
    pub fn keeps_history(&self) -> bool {
        self.history_size > 0 && self.history_ttl_s > 0
    }
}
