//! The formats that ethtool 6.1 prints. Those of veth and virtio were recorded; of the others the
//! layout is ethtool's and the numbers are made up.

use super::*;

const CHANNELS: &str = "Channel parameters for eth1:\nPre-set maximums:\nRX:\t\tn/a\nTX:\t\tn/a\n\
    Other:\t\t1\nCombined:\t63\nCurrent hardware settings:\nRX:\t\tn/a\nTX:\t\tn/a\nOther:\t\t1\n\
    Combined:\t16\n";

const COALESCE: &str = "Coalesce parameters for eth0:\nAdaptive RX: on  TX: n/a\n\
    stats-block-usecs: n/a\n\nrx-usecs: 50\nrx-frames: 1\nrx-usecs-irq: n/a\n";

const HASH: &str = "RX flow hash indirection table for eth1 with 4 RX ring(s):\n    0:      0     1     2     \
    3     0     1     2     3\n    8:      0     1     2     3     0     1     2     3\nRSS hash key:\n\
    6d:5a:01\nRSS hash function:\n    toeplitz: on\n    xor: off\n";

#[test]
fn channels_and_their_limits() {
    let current = second_block(CHANNELS).unwrap();
    assert_eq!(value(current, "combined").as_deref(), Some("16"));
    assert_eq!(value(current, "rx"), None);
    assert_eq!(value(CHANNELS, "combined").as_deref(), Some("63"));
}

#[test]
fn coalescing() {
    assert_eq!(adaptive(COALESCE, 0).as_deref(), Some("on"));
    assert_eq!(adaptive(COALESCE, 1), None);
    assert_eq!(value(COALESCE, "rx-usecs").as_deref(), Some("50"));
    assert_eq!(value(COALESCE, "rx-usecs-irq"), None);
}

#[test]
fn flow_control() {
    let text = "Pause parameters for eth1:\nAutonegotiate:\ton\nRX:\t\toff\nTX:\t\ton\n";
    assert_eq!(pause(text, "autoneg rx tx").as_deref(), Some("on off on"));
    assert_eq!(pause(text, "rx tx").as_deref(), Some("off on"));
    assert_eq!(pause(text, "rx other"), None);
    let done = actions("-A", "eth1", "autoneg rx tx", "off off off");
    assert_eq!(
        done[0].to_string(),
        "ethtool -A eth1 autoneg off rx off tx off"
    );
}

#[test]
fn private_flags() {
    let text =
        "Private flags for eth1:\nlegacy-rx              : on\nflow-director-atr      : off\n";
    assert_eq!(value(text, "legacy-rx").as_deref(), Some("on"));
    assert_eq!(value(text, "flow-director-atr").as_deref(), Some("off"));
    assert_eq!(value(text, "vf-ipsec"), None);
}

#[test]
fn hash_fields_are_the_letters_that_set_them() {
    let text = "TCP over IPV4 flows use these fields for computing Hash flow key:\nIP SA\nIP DA\n\
        L4 bytes 0 & 1 [TCP/UDP src port]\nL4 bytes 2 & 3 [TCP/UDP dst port]\n\n";
    assert_eq!(fields(text).as_deref(), Some("sdfn"));
    assert_eq!(
        fields("TCP over IPV4 flows use these fields:\nNone\n"),
        None
    );
}

#[test]
fn hash_tables_are_the_argument_that_makes_them() {
    assert_eq!(table(HASH).as_deref(), Some("equal 4"));
    let with = |row: &str| {
        table(&format!(
            "    0:  {row}\nRSS hash key:\nOperation not supported\n"
        ))
    };
    assert_eq!(with("0 0 0 1 2 2").as_deref(), Some("weight 3 1 2"));
    assert_eq!(with("0 0 2 2").as_deref(), Some("weight 2 0 2"));
    assert_eq!(with("1 0 2 2").as_deref(), Some("default"));
    assert_eq!(with("0 0 0 0").as_deref(), Some("equal 1"));
    assert_eq!(
        table(
            "RX flow hash indirection table for eth0 with 1 RX ring(s):\nOperation not supported\n"
        ),
        None
    );
}

#[test]
fn hash_keys() {
    assert_eq!(hash_key(HASH).as_deref(), Some("6d:5a:01"));
    assert_eq!(hash_key("RSS hash key:\nOperation not supported\n"), None);
}

#[test]
fn an_interface_that_is_not_there_has_nothing() {
    assert!(driver("cluecast-none").is_err());
    assert!(matches!(
        read("-K", "cluecast-none", "large-receive-offload"),
        Now::Missing(_)
    ));
}
