//! The one list of everything that is counted: name, kind, unit, meaning. Exporters and docs are
//! made from it; a metric that is not here does not exist.
//!
//! Names: `<layer>_<what>_<unit or total>`, lower case, no unit guessed. A counter only rises; a
//! gauge is the value now.

/// Counter or gauge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// The value now.
    Gauge,
}

/// One line of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// Name without prefix.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// What it means, for people.
    pub meaning: &'static str,
}

macro_rules! catalog {
    ($($variant:ident $name:literal $kind:ident $meaning:literal;)*) => {
        /// Every metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Metric { $(#[doc = $meaning] $variant,)* }

        /// The catalogue in the order of [`Metric`].
        pub const METRICS: &[Description] = &[
            $(Description { name: $name, kind: Kind::$kind, meaning: $meaning },)*
        ];

        /// Every metric in the order of [`METRICS`].
        pub const ALL: &[Metric] = &[$(Metric::$variant,)*];
    };
}

catalog! {
    // port
    PortRxFrames "port_rx_frames" Counter "Frames received from the port";
    PortTxFrames "port_tx_frames" Counter "Frames handed to the port";
    PortRxDropped "port_rx_dropped" Counter "Frames the kernel or NIC dropped before the core saw them";
    PortTxInvalid "port_tx_invalid" Counter "TX descriptors the kernel refused";
    PortTxFull "port_tx_full" Counter "Times a send had to wait for a free TX frame";
    PortKicks "port_kicks" Counter "System calls made to start sending or receiving";
    PortZerocopy "port_zerocopy" Gauge "1 when the AF_XDP socket is bound in zero-copy mode, read back from the socket";
    PortNative "port_native" Gauge "1 when the XDP program runs in native (driver) mode";

    // wire: frames dropped, one counter a reason
    WireShort "wire_drop_short" Counter "Frames shorter than their headers say";
    WireNotTcp "wire_drop_not_tcp" Counter "Frames that are neither TCP over IPv4 or IPv6 nor ICMP about it";
    WireFragment "wire_drop_fragment" Counter "IP fragments";
    WireIpChecksum "wire_drop_ip_checksum" Counter "IPv4 headers with a wrong checksum";
    WireTcpChecksum "wire_drop_tcp_checksum" Counter "TCP segments with a wrong checksum";
    WireIcmpChecksum "wire_drop_icmp_checksum" Counter "ICMP messages with a wrong checksum";
    WireBadHeader "wire_drop_bad_header" Counter "IP or TCP headers with impossible fields";
    WireBadSource "wire_drop_bad_source" Counter "Frames from broadcast, multicast, loopback or our own address, or to all stations";
    WireNotOurs "wire_drop_not_ours" Counter "Segments to an address or port that is not configured";

    // tcp
    TcpConnections "tcp_connections" Gauge "TCP connections, half-open ones included";
    TcpTimeWait "tcp_time_wait" Gauge "Records kept in TIME-WAIT, beside the connections";
    TcpHalfOpen "tcp_half_open" Gauge "Handshakes that have a record and wait for the last ACK";
    TcpSynReceived "tcp_syn_received" Counter "SYNs taken";
    TcpSynDropped "tcp_syn_dropped" Counter "SYNs and last ACKs of handshakes refused because no connection record was free";
    TcpSynAckRepeats "tcp_syn_ack_repeats" Counter "SYN-ACKs sent again";
    TcpSynTimedOut "tcp_syn_timed_out" Counter "Handshakes given up because the last ACK did not come";
    TcpCookiesSent "tcp_syn_cookies_sent" Counter "SYNs answered with a cookie because the table of handshakes was full";
    TcpCookiesAccepted "tcp_syn_cookies_accepted" Counter "Connections opened by the ACK of a cookie";
    TcpOpened "tcp_opened" Counter "Handshakes completed";
    TcpClosed "tcp_closed" Counter "Connections closed in order";
    TcpReset "tcp_reset" Counter "Connections ended by a RST from the peer";
    TcpTimedOut "tcp_timed_out" Counter "Connections ended because the peer stopped acknowledging";
    TcpPersistTimedOut "tcp_persist_timed_out" Counter "Connections cut because the peer kept its window closed for too long";
    TcpClosingTimedOut "tcp_closing_timed_out" Counter "Connections cut because closing took too long";
    TcpAborted "tcp_aborted" Counter "Connections ended by a RST from us";
    TcpSegmentsIn "tcp_segments_in" Counter "Valid TCP segments received";
    TcpSegmentsOut "tcp_segments_out" Counter "TCP segments sent";
    TcpBytesOut "tcp_bytes_out" Counter "Payload bytes sent, retransmissions included";
    TcpRetransmits "tcp_retransmits" Counter "Segments sent again";
    TcpFastRetransmits "tcp_fast_retransmits" Counter "Losses found by what arrived later (RACK, duplicate acknowledgements)";
    TcpBytesLost "tcp_bytes_lost" Counter "Payload bytes found lost that way";
    TcpTailProbes "tcp_tail_probes" Counter "Tail loss probes that repeated what had been sent (RFC 8985)";
    TcpTailProbesNeedless "tcp_tail_probes_needless" Counter "Tail loss probes for what had arrived, as the peer's DSACK says";
    TcpBundles "tcp_bundles" Counter "Segments of new data that took along what was unacknowledged before it";
    TcpUndone "tcp_recoveries_undone" Counter "Repairs that were needless and taken back (RFC 3522, RFC 3708)";
    TcpDsacksIn "tcp_dsacks_in" Counter "Duplicates the peers reported (RFC 2883), bundles not counted";
    TcpEcnMarks "tcp_ecn_marks_in" Counter "Segments received with a mark of congestion (RFC 3168)";
    TcpEcnReductions "tcp_ecn_reductions" Counter "Windows reduced for a mark that the peer echoed";
    TcpFlightPoolFull "tcp_flight_pool_full" Counter "Segments sent without a record of their own, because a core's pool was empty";
    TcpTimeouts "tcp_rto_timeouts" Counter "Retransmission timeouts";
    TcpProbes "tcp_zero_window_probes" Counter "Zero-window probes sent";
    TcpOutOfOrder "tcp_out_of_order" Counter "Segments queued out of order";
    TcpOutOfOrderDropped "tcp_out_of_order_dropped" Counter "Out-of-order segments dropped because the bounded queue was full";
    TcpDuplicates "tcp_duplicates_in" Counter "Segments that held nothing new";
    TcpPathMtuLowered "tcp_path_mtu_lowered" Counter "ICMP reports of a smaller path MTU that were believed";
    TcpPathMtuIgnored "tcp_path_mtu_ignored" Counter "ICMP reports of a path MTU that were not: no such connection, nothing like it in flight, no smaller";
    TcpBlackHoles "tcp_black_holes" Counter "Connections whose full segments only arrived after they were made smaller";
    TcpChallengeAcks "tcp_challenge_acks" Counter "Challenge ACKs sent (RFC 5961)";
    TcpRstOut "tcp_rst_out" Counter "RSTs sent to flows that do not exist";
    TcpRepliesDropped "tcp_replies_dropped" Counter "SYN-ACKs, RSTs and challenge ACKs of handshakes not sent because the bounded reply queue was full";
    TcpHandedOver "tcp_handed_over" Counter "Frames of unknown flows passed to the next core";
    TcpHandOverDropped "tcp_hand_over_dropped" Counter "Frames of unknown flows dropped because the next core's mailbox was full";

    // ws
    WsUpgrades "ws_upgrades" Counter "WebSocket upgrades accepted";
    WsUpgradeRefused "ws_upgrade_refused" Counter "Upgrade requests answered with an HTTP error";
    WsHandshakeTimeouts "ws_handshake_timeouts" Counter "Connections cut because no complete upgrade request came in time";
    WsHeaderTooLong "ws_header_too_long" Counter "Upgrade requests over the header limit";
    WsMessagesIn "ws_messages_in" Counter "Complete messages received";
    WsProtocolErrors "ws_protocol_errors" Counter "Frames that break RFC 6455 (close 1002): unmasked, reserved bits, bad fragments";
    WsBadUtf8 "ws_bad_utf8" Counter "Text that is not UTF-8 (close 1007)";
    WsTooBig "ws_message_too_big" Counter "Messages over the limit (close 1009)";
    WsDeflateAgreed "ws_deflate_agreed" Counter "Upgrades that agreed to permessage-deflate";
    WsInflated "ws_inflated" Counter "Compressed messages received";
    WsInflatedBytesIn "ws_inflated_bytes_in" Counter "Bytes of them as they came";
    WsInflatedBytesOut "ws_inflated_bytes_out" Counter "Bytes of them when inflated";
    WsInflateBombs "ws_inflate_bombs" Counter "Compressed messages that would pass the limit (close 1009)";
    WsInflateCorrupt "ws_inflate_corrupt" Counter "Compressed messages that are no deflate stream (close 1007)";
    WsDeflated "ws_deflated" Counter "Messages compressed, each once however many it is sent to";
    WsDeflatedBytesIn "ws_deflated_bytes_in" Counter "Bytes of them before";
    WsDeflatedBytesOut "ws_deflated_bytes_out" Counter "Bytes of them after";

    // session
    SessionPlayers "session_players" Gauge "Players connected (connect command accepted)";
    SessionUsers "session_users" Gauge "Users with a name that have a connection on this core";
    SessionSubscriptions "session_subscriptions" Gauge "Subscriptions held";
    SessionHunts "session_hunts" Gauge "Hunts with a subscriber on this core";
    SessionCommands "session_commands" Counter "Client commands taken";
    SessionErrors "session_error_replies" Counter "Commands answered with an error";
    SessionBadCommands "session_bad_commands" Counter "Connections closed with 3501: unknown or malformed command";
    SessionBadTokens "session_bad_tokens" Counter "Connections closed with 3500: a token that did not verify";
    SessionStale "session_stale" Counter "Connections closed with 3502: no connect command in time";
    SessionNoPong "session_no_pong" Counter "Connections closed with 3012: no pong in time";
    SessionSlow "session_slow" Counter "Connections closed with 3008: too far behind";
    SessionDrained "session_drained" Counter "Connections closed with 3001: the appliance is stopping";
    SessionRecovered "session_recovered" Counter "Subscriptions recovered without a gap";
    SessionRecoveredFromLog "session_recovered_from_log" Counter "Of these, those that got what they missed from the hunt's log";
    SessionNotRecovered "session_not_recovered" Counter "Recoveries that were asked for and not possible";
    SessionRecoveryPages "session_recovery_pages" Counter "Pages of missed events sent behind a subscribe reply that could not hold them all";
    SessionRecoveryPutOff "session_recovery_put_off" Counter "Times such a page had to wait for room in the private chunk pool or for the journal";
    SessionSubscriptionsExpired "session_subscriptions_expired" Counter "Subscriptions ended because their token expired and was not refreshed";
    SessionTold "session_told" Counter "Connections that a backend subscribed, unsubscribed, disconnected or refreshed";
    SessionToldInVain "session_told_in_vain" Counter "Subscriptions a backend wanted that could not be made: no room, or too many of that player";
    SessionChunksFull "session_chunks_full" Counter "Connections closed because the private chunk pool was empty";
    SessionLeavesWaited "session_leaves_waited" Counter "Times a core could not tell of a leave at once because its submit ring was full";

    // ring
    RingSubmitFull "ring_submit_full" Counter "Submissions refused because the submit ring was full";
    RingSubmitFill "ring_submit_fill_percent" Gauge "How full the submit ring is";
    RingBroadcastFill "ring_broadcast_fill_percent" Gauge "How full the fullest broadcast ring is";
    RingBroadcastStalls "ring_broadcast_stalls" Counter "Times the journal had to stop and wait for a core to read its broadcast ring";

    // hunt
    HuntEvents "hunt_events" Counter "Events appended to hunt logs on this core";
    HuntEventsKept "hunt_events_kept" Counter "Events appended to hunt logs for players who may come back, while nobody was subscribed";
    HuntDeliveries "hunt_deliveries" Counter "Events placed into players' streams";
    HuntLogBlocks "hunt_log_blocks" Gauge "Blocks of the hunt log in use";
    MemoryChunks "memory_chunks" Gauge "Private chunks in use";

    // journal
    JournalEvents "journal_events" Counter "Events appended and acknowledged";
    JournalBatches "journal_batches" Counter "Batches written";
    JournalSyncs "journal_wal_syncs" Counter "WAL syncs";
    JournalCommitUs "journal_commit_us" Counter "Microseconds spent writing batches";
    JournalReads "journal_reads" Counter "Recovery and history reads";
    JournalRefused "journal_refused" Counter "Submissions refused";
    JournalStoreErrors "journal_store_errors" Counter "Store operations that failed";
    JournalDuplicates "journal_idempotent_repeats" Counter "Publishes answered from their idempotency key";
    JournalKeysForgotten "journal_idempotency_keys_forgotten" Counter "Idempotency keys forgotten before their five minutes because the bounded table was full";
    JournalTrimmed "journal_trimmed" Counter "Events removed by retention";
    JournalHunts "journal_hunts" Gauge "Hunts known";
    JournalHealthy "journal_healthy" Gauge "1 while the store accepts writes";

    // path
    PathPoints "path_points" Counter "Points of players' paths written";
    PathPointsInvalid "path_points_invalid" Counter "Points refused because their time or user could not be";
    PathPointsLost "path_points_lost" Counter "Points not written that no player waited for: the submit ring was full, or the store failed";
    PathPointsTooFast "path_points_too_fast" Counter "Points refused because their player sent too many";
    PathMessagesInvalid "path_messages_invalid" Counter "Messages with positions refused because they could not be understood";
    PathMessagesAnonymous "path_messages_anonymous" Counter "Messages with positions refused because their player has no user id";
    PathBlocks "path_blocks" Counter "Blocks of points made of tails of paths";
    PathBlockPoints "path_block_points" Counter "Points in them";
    PathBytesRaw "path_bytes_raw" Counter "Bytes of those points in their tails";
    PathBytesPacked "path_bytes_packed" Counter "Bytes of the blocks made of them; path_bytes_raw over this is the compression ratio";
    PathBlocksDamaged "path_blocks_damaged" Counter "Blocks that a page of a path should have had and that could not be read";
    PathPlayers "path_players" Gauge "Players whose tails' lengths are known";
    PathTailsWaiting "path_tails_waiting" Gauge "Tails of paths that wait to be read";
    PathsTrimmed "paths_trimmed" Counter "Times old blocks, or an old row of a tail, of a path were removed";

    // presence
    PresenceEntries "presence_entries" Gauge "Subscriptions whose presence is known, or whose player is told of others";
    PresenceJoins "presence_joins" Counter "Entries made";
    PresenceLeaves "presence_leaves" Counter "Entries removed";
    PresencePushesDropped "presence_pushes_dropped" Counter "Joins and leaves not announced because their hunt has announced as much as it may";

    // control
    ApiRequests "api_requests" Counter "Admin API requests";
    ApiErrors "api_errors" Counter "Admin API requests answered with an error";
    AuthKeysReloads "auth_keys_reloads" Counter "Times client.token_jwks_file had changed and was taken over";
    AuthKeysErrors "auth_keys_errors" Counter "Times client.token_jwks_file had changed and was broken or gone: the keys read before stay";
    ApiUnauthorized "api_unauthorized" Counter "Admin API requests without the right key";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_plain() {
        let mut names: Vec<_> = METRICS.iter().map(|m| m.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
        assert!(names.iter().all(|n| {
            n.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        }));
    }
}
