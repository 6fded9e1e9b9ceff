//! The numbers of Centrifugo's client protocol: errors in replies, reasons to unsubscribe, reasons
//! to disconnect. The SDKs act on the number; the words are for people and logs.
//!
//! Values and words are those of Centrifugo, so that an application's handling keeps its meaning.

/// Why a command failed; the connection goes on (after a failed `connect` the client closes it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Error {
    /// Our fault; the client may try again.
    Internal = 100,
    /// No user where one is needed.
    Unauthorized = 101,
    /// No namespace is configured for the hunt's name.
    UnknownChannel = 102,
    /// The rules of the namespace or the token do not allow it.
    PermissionDenied = 103,
    /// No such RPC method.
    MethodNotFound = 104,
    /// This connection is subscribed already.
    AlreadySubscribed = 105,
    /// More than this connection may have.
    LimitExceeded = 106,
    /// Well-formed, but not something that can be done.
    BadRequest = 107,
    /// Switched off, or not supported.
    NotAvailable = 108,
    /// The SDK fetches a new token and tries again.
    TokenExpired = 109,
    /// The new expiry lies in the past.
    Expired = 110,
    /// Too much at once; the client may try again.
    TooManyRequests = 111,
    /// The history does not reach back to the position, or its epoch is another.
    UnrecoverablePosition = 112,
    /// The pages of one listing were asked for at once; the client may try again.
    ConcurrentPagination = 113,
}

impl Error {
    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The words on the wire.
    pub const fn message(self) -> &'static str {
        match self {
            Error::Internal => "internal server error",
            Error::Unauthorized => "unauthorized",
            Error::UnknownChannel => "unknown channel",
            Error::PermissionDenied => "permission denied",
            Error::MethodNotFound => "method not found",
            Error::AlreadySubscribed => "already subscribed",
            Error::LimitExceeded => "limit exceeded",
            Error::BadRequest => "bad request",
            Error::NotAvailable => "not available",
            Error::TokenExpired => "token expired",
            Error::Expired => "expired",
            Error::TooManyRequests => "too many requests",
            Error::UnrecoverablePosition => "unrecoverable position",
            Error::ConcurrentPagination => "concurrent pagination",
        }
    }

    /// Whether the same command may succeed later; the SDKs then retry with backoff.
    pub const fn is_temporary(self) -> bool {
        matches!(
            self,
            Error::Internal | Error::TooManyRequests | Error::ConcurrentPagination
        )
    }
}

/// Why we end one subscription of a connection (unsubscribe push).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Unsubscribe {
    /// An operator's wish; final.
    Server = 2000,
    /// The position is out of step; the SDK subscribes again and recovers.
    InsufficientState = 2500,
    /// The subscription's token expired; the SDK fetches another.
    Expired = 2501,
    /// The SDK forgets token and position and subscribes anew.
    StateInvalidated = 2502,
}

impl Unsubscribe {
    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The words on the wire.
    pub const fn reason(self) -> &'static str {
        match self {
            Unsubscribe::Server => "server unsubscribe",
            Unsubscribe::InsufficientState => "insufficient state",
            Unsubscribe::Expired => "subscription expired",
            Unsubscribe::StateInvalidated => "state invalidated",
        }
    }

    /// Whether the SDKs stay away until the application subscribes again.
    pub const fn is_terminal(self) -> bool {
        self.code() < 2500
    }
}

/// Why we end a connection (code and reason of the close frame).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Disconnect {
    /// Nothing is wrong.
    ConnectionClosed = 3000,
    /// The appliance stops.
    Shutdown = 3001,
    /// Our fault.
    Internal = 3004,
    /// The connection's token expired and was not refreshed.
    ConnectionExpired = 3005,
    /// The token of a server-side subscription expired.
    SubscriptionExpired = 3006,
    /// Too far behind.
    Slow = 3008,
    /// Bytes could not be sent in time.
    WriteError = 3009,
    /// A server-side subscription is out of step; the SDK reconnects and recovers.
    InsufficientState = 3010,
    /// An operator's wish.
    ForceReconnect = 3011,
    /// A ping was not answered in time.
    NoPong = 3012,
    /// Too much at once.
    TooManyRequests = 3013,
    /// The SDK forgets its positions and reconnects.
    StateInvalidated = 3014,
    /// The token does not verify, or is not for this.
    InvalidToken = 3500,
    /// The client does not speak the protocol.
    BadRequest = 3501,
    /// No connect command in time.
    Stale = 3502,
    /// An operator's wish; final.
    ForceNoReconnect = 3503,
    /// More connections than allowed.
    ConnectionLimit = 3504,
    /// More server-side subscriptions than allowed.
    ChannelLimit = 3505,
    /// Bytes of the other format.
    InappropriateProtocol = 3506,
    /// Not allowed here at all.
    PermissionDenied = 3507,
    /// Nothing here takes such a message.
    NotAvailable = 3508,
    /// Too many commands failed.
    TooManyErrors = 3509,
}

impl Disconnect {
    /// The close code on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The close reason on the wire.
    pub const fn reason(self) -> &'static str {
        match self {
            Disconnect::ConnectionClosed => "connection closed",
            Disconnect::Shutdown => "shutdown",
            Disconnect::Internal => "internal server error",
            Disconnect::ConnectionExpired => "connection expired",
            Disconnect::SubscriptionExpired => "subscription expired",
            Disconnect::Slow => "slow",
            Disconnect::WriteError => "write error",
            Disconnect::InsufficientState => "insufficient state",
            Disconnect::ForceReconnect => "force reconnect",
            Disconnect::NoPong => "no pong",
            Disconnect::TooManyRequests => "too many requests",
            Disconnect::StateInvalidated => "state invalidated",
            Disconnect::InvalidToken => "invalid token",
            Disconnect::BadRequest => "bad request",
            Disconnect::Stale => "stale",
            Disconnect::ForceNoReconnect => "force disconnect",
            Disconnect::ConnectionLimit => "connection limit",
            Disconnect::ChannelLimit => "channel limit",
            Disconnect::InappropriateProtocol => "inappropriate protocol",
            Disconnect::PermissionDenied => "permission denied",
            Disconnect::NotAvailable => "not available",
            Disconnect::TooManyErrors => "too many errors",
        }
    }

    /// Whether the SDKs give up instead of reconnecting.
    pub const fn is_terminal(self) -> bool {
        is_terminal(self.code())
    }
}

/// The rule that every SDK follows for close codes; ours and those an operator makes up.
pub const fn is_terminal(close_code: u16) -> bool {
    matches!(close_code, 3500..=3999 | 4500..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::close;

    #[test]
    fn the_sdks_rule() {
        assert!(!Disconnect::StateInvalidated.is_terminal());
        assert!(Disconnect::InvalidToken.is_terminal());
        let terminal = [3499, 3500, 3999, 4000, 4499, 4500, 4999, 5000].map(is_terminal);
        assert_eq!(
            terminal,
            [false, true, true, false, false, true, true, false]
        );
        assert!(Unsubscribe::Server.is_terminal());
        assert!(!Unsubscribe::InsufficientState.is_terminal());
    }

    #[test]
    fn every_disconnect_fits_a_close_frame() {
        for disconnect in [Disconnect::ConnectionClosed, Disconnect::TooManyErrors] {
            assert!(close::is_sendable(disconnect.code()));
            assert!(disconnect.reason().len() <= close::REASON_BYTES_MAX);
        }
    }

    #[test]
    fn the_temporary_errors() {
        let codes = [
            Error::Internal,
            Error::TooManyRequests,
            Error::ConcurrentPagination,
        ];
        assert_eq!(codes.map(Error::code), [100, 111, 113]);
        assert!(codes.into_iter().all(Error::is_temporary));
        assert!(!Error::TokenExpired.is_temporary());
        assert_eq!(Error::PermissionDenied.message(), "permission denied");
    }
}
