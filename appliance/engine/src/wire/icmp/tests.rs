//! Reports as routers send them, and everything that is none.

use proptest::prelude::*;

use super::*;
use crate::wire::checksum;

const OURS: [u8; 4] = [10, 0, 0, 1];
const PLAYER: [u8; 4] = [192, 0, 2, 7];
const ROUTER: [u8; 4] = [198, 51, 100, 1];
const OURS_V6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const PLAYER_V6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
const ROUTER_V6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// The TCP header in the quoted packet: ports 8000 and 40000, sequence number 0x01020304.
const TCP: [u8; 8] = [0x1f, 0x40, 0x9c, 0x40, 1, 2, 3, 4];

/// Checksum of `bytes`, in their bytes 2 and 3.
fn seal(bytes: &mut [u8], pseudo: u64) {
    bytes[2..4].fill(0);
    let sum = !checksum::fold(checksum::add(pseudo, checksum::sum(bytes)));
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
}

fn ip4(source: [u8; 4], destination: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![
        0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0,
    ];
    packet.extend(source);
    packet.extend(destination);
    let sum = !checksum::fold(checksum::sum(&packet));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

fn ip6(source: [u8; 16], destination: [u8; 16], next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    packet.extend(source);
    packet.extend(destination);
    packet.extend(payload);
    packet
}

fn ethernet(protocol: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(protocol.to_be_bytes());
    frame.extend(packet);
    frame
}

/// A report of type and code about `quoted`.
fn report_v4(kind: [u8; 2], mtu: u16, quoted: &[u8]) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    let mut message = vec![kind[0], kind[1], 0, 0, 0, 0, high, low];
    message.extend(quoted);
    seal(&mut message, 0);
    ethernet(0x0800, &ip4(ROUTER, OURS, 1, &message))
}

fn report_v6(kind: u8, mtu: u32, quoted: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(quoted);
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let addresses = checksum::sum(&[ROUTER_V6, OURS_V6].concat());
    let pseudo = checksum::add(
        addresses,
        checksum::sum(&[&length[..], &[0, 0, 0, 58]].concat()),
    );
    seal(&mut message, pseudo);
    ethernet(0x86dd, &ip6(ROUTER_V6, OURS_V6, 58, &message))
}

fn good_v4() -> Vec<u8> {
    report_v4([3, 4], 1400, &ip4(OURS, PLAYER, 6, &TCP))
}

fn good_v6() -> Vec<u8> {
    report_v6(
        2,
        1300,
        &ip6(OURS_V6, PLAYER_V6, 6, &[&TCP[..], &[0; 500]].concat()),
    )
}

#[test]
fn a_report_names_flow_sequence_number_and_mtu() {
    let expected = TooBig {
        flow: Flow {
            local: "10.0.0.1:8000".parse().unwrap(),
            remote: "192.0.2.7:40000".parse().unwrap(),
        },
        seq: Seq(0x0102_0304),
        mtu: 1400,
    };
    assert_eq!(parse(&good_v4()), Ok(expected));
    // Quoted with IP options, changed by routers on its way, and cut.
    let mut quoted = ip4(OURS, PLAYER, 6, &[&[1, 1, 1, 0][..], &TCP].concat());
    quoted[0] = 0x46;
    quoted[8] = 3;
    assert_eq!(parse(&report_v4([3, 4], 1400, &quoted)), Ok(expected));
    let expected = TooBig {
        flow: Flow {
            local: "[2001:db8::1]:8000".parse().unwrap(),
            remote: "[2001:db8:9::7]:40000".parse().unwrap(),
        },
        seq: Seq(0x0102_0304),
        mtu: 1300,
    };
    assert_eq!(parse(&good_v6()), Ok(expected));
}

#[test]
fn each_reason_has_its_own_name() {
    let quoted = ip4(OURS, PLAYER, 6, &TCP);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut quoted = quoted.clone();
        change(&mut quoted);
        parse(&report_v4([3, 4], 1400, &quoted)).map(|_| ())
    };
    assert_eq!(changed(&|_| ()), Ok(()));
    assert_eq!(changed(&|q| q[9] = 17), Err(Drop::NotTcp));
    assert_eq!(changed(&|q| q[0] = 0x65), Err(Drop::BadHeader));
    assert_eq!(changed(&|q| q[0] = 0x44), Err(Drop::BadHeader));
    // A later fragment has no port.
    assert_eq!(changed(&|q| q[7] = 9), Err(Drop::BadHeader));
    assert_eq!(changed(&|q| q[15] ^= 1), Err(Drop::BadHeader));
    assert_eq!(changed(&|q| q[0] = 0x4f), Err(Drop::Short));
    assert_eq!(changed(&|q| q.truncate(27)), Err(Drop::Short));
    assert_eq!(changed(&|q| q.truncate(19)), Err(Drop::Short));
    // Other ICMP: port unreachable, an echo, source quench.
    for kind in [[3, 3], [8, 0], [4, 0]] {
        assert_eq!(parse(&report_v4(kind, 1400, &quoted)), Err(Drop::NotTcp));
    }
    let quoted = ip6(OURS_V6, PLAYER_V6, 6, &TCP);
    assert_eq!(parse(&report_v6(1, 0, &quoted)), Err(Drop::NotTcp));
    assert_eq!(parse(&report_v6(2, 1300, &quoted[..39])), Err(Drop::Short));
    let udp = ip6(OURS_V6, PLAYER_V6, 17, &TCP);
    assert_eq!(parse(&report_v6(2, 1300, &udp)), Err(Drop::NotTcp));
}

proptest! {
    #[test]
    fn a_flipped_bit_is_noticed(v6 in any::<bool>(), at in 0usize..1000, bit in 0u8..8) {
        let mut frame = if v6 { good_v6() } else { good_v4() };
        let message_at = if v6 { 54 } else { 34 };
        let at = message_at + at % (frame.len() - message_at);
        frame[at] ^= 1 << bit;
        prop_assert!(parse(&frame).is_err());
    }

    #[test]
    fn cut_and_random_frames_do_not_panic(
        v6 in any::<bool>(), cut in 0usize..100, bytes in prop::collection::vec(any::<u8>(), 0..120)
    ) {
        let good = if v6 { good_v6() } else { good_v4() };
        prop_assert!(parse(&good[..good.len() - 1 - cut.min(good.len() - 1)]).is_err());
        let quoted = if v6 { report_v6(2, 1300, &bytes) } else { report_v4([3, 4], 1300, &bytes) };
        let _ = parse(&quoted);
    }
}
