use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::wire::parse::{Drop, parse};
use crate::wire::segment::Segment;

fn options() -> impl Strategy<Value = Options> {
    let sack = prop::option::of((any::<u32>(), any::<u32>()));
    (
        prop::option::of(any::<u16>()),
        prop::option::of(0u8..=14),
        any::<bool>(),
        prop::option::of(any::<(u32, u32)>()),
        (any::<bool>(), sack.clone(), sack),
    )
        .prop_map(
            |(mss, window_scale, sack_permitted, timestamps, (syn, one, two))| {
                // What goes on a SYN and SACK blocks never meet.
                let block =
                    |block: Option<(u32, u32)>| block.map(|(from, to)| (Seq(from), Seq(to)));
                let sacks = if one.is_some() {
                    [block(one), block(two), None]
                } else {
                    [None; 3]
                };
                if syn {
                    Options {
                        mss,
                        window_scale,
                        sack_permitted,
                        timestamps,
                        sacks: [None; 3],
                    }
                } else {
                    Options {
                        timestamps,
                        sacks,
                        ..Options::default()
                    }
                }
            },
        )
}

fn header() -> impl Strategy<Value = Header> {
    let link = (
        any::<[u8; 6]>(),
        any::<[u8; 6]>(),
        prop::option::of(any::<u16>()),
    )
        .prop_map(|(mut peer_mac, mut local_mac, vlan)| {
            // Stations, not groups.
            peer_mac[0] &= !1;
            local_mac[0] &= !1;
            Link {
                peer_mac,
                local_mac,
                vlan,
            }
        });
    let flow = (any::<bool>(), 1u16.., 1u16..).prop_map(|(v4, local, remote)| {
        let (ours, theirs): (IpAddr, IpAddr) = if v4 {
            (
                Ipv4Addr::new(10, 0, 0, 1).into(),
                Ipv4Addr::new(192, 0, 2, 77).into(),
            )
        } else {
            let ours = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
            (
                ours.into(),
                Ipv6Addr::new(0x2001, 0xdb8, 9, 8, 7, 6, 5, 4).into(),
            )
        };
        Flow {
            local: SocketAddr::new(ours, local).into(),
            remote: SocketAddr::new(theirs, remote).into(),
        }
    });
    let bits = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    let flags = bits.prop_map(|(ack, syn, fin, rst, psh)| Flags {
        ack,
        syn,
        fin: fin && !syn,
        rst,
        psh,
        ..Flags::default()
    });
    (
        link,
        flow,
        any::<u32>(),
        any::<u32>(),
        flags,
        any::<u16>(),
        options(),
    )
        .prop_map(|(link, flow, seq, ack, flags, window, options)| Header {
            link,
            flow,
            seq: Seq(seq),
            ack: if flags.ack { Seq(ack) } else { Seq(0) },
            flags,
            window,
            options,
        })
}

/// The frame as its receiver sees it: ends exchanged.
fn received(header: &Header, payload_at: std::ops::Range<usize>) -> Segment {
    let Header {
        link,
        flow,
        seq,
        ack,
        flags,
        window,
        options,
    } = *header;
    Segment {
        link: Link {
            peer_mac: link.local_mac,
            local_mac: link.peer_mac,
            vlan: link.vlan,
        },
        flow: Flow {
            local: flow.remote,
            remote: flow.local,
        },
        seq,
        ack,
        flags,
        window,
        options,
        payload_at,
    }
}

fn frame(header: &Header, payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0xaa; 1600];
    let length = emit(&mut buffer, header, payload.len(), |out| {
        out.copy_from_slice(payload);
        true
    });
    buffer.truncate(length);
    buffer
}

proptest! {
    #[test]
    fn what_is_emitted_parses_back(header in header(), payload in prop::collection::vec(any::<u8>(), 0..1400)) {
        let frame = frame(&header, &payload);
        let segment = parse(&frame).unwrap();
        prop_assert_eq!(&frame[segment.payload_at.clone()], &payload[..]);
        let expected = received(&header, frame.len() - payload.len()..frame.len());
        prop_assert_eq!(segment, expected);
    }

    /// Padding behind the packet is not payload.
    #[test]
    fn padding_is_cut(header in header(), padding in 0usize..40) {
        let mut frame = frame(&header, b"x");
        frame.resize(frame.len() + padding, 0x55);
        let segment = parse(&frame).unwrap();
        prop_assert_eq!(&frame[segment.payload_at], b"x");
    }

    #[test]
    fn a_flipped_bit_behind_the_addresses_is_noticed(header in header(), at in 0usize..1000, bit in 0u8..8) {
        let mut frame = frame(&header, b"some payload");
        let ip_at = if header.link.vlan.is_some() { 18 } else { 14 };
        let segment_at = ip_at + ip_header_bytes(header.flow.local.is_ipv4());
        let at = segment_at + at % (frame.len() - segment_at);
        frame[at] ^= 1 << bit;
        prop_assert!(parse(&frame).is_err());
    }

    #[test]
    fn cut_frames_are_refused(header in header(), cut in 1usize..60) {
        let frame = frame(&header, b"some payload");
        let cut = cut.min(frame.len());
        prop_assert!(parse(&frame[..frame.len() - cut]).is_err());
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), tag in 0u8..4) {
        let mut frame = bytes;
        if frame.len() > 18 {
            frame[12..14].copy_from_slice(match tag { 0 => &[8, 0], 1 => &[0x86, 0xdd], _ => &[0x81, 0] });
            if tag == 2 {
                frame[16..18].copy_from_slice(&[8, 0]);
            }
        }
        let _ = parse(&frame);
    }
}

fn plain() -> Header {
    Header {
        link: Link {
            peer_mac: [2; 6],
            local_mac: [4; 6],
            vlan: None,
        },
        flow: Flow {
            local: "192.0.2.7:1000".parse().unwrap(),
            remote: "10.0.0.1:8000".parse().unwrap(),
        },
        seq: Seq(1),
        ack: Seq(2),
        flags: Flags {
            ack: true,
            ..Flags::default()
        },
        window: 100,
        options: Options::default(),
    }
}

/// Writes the IPv4 checksum anew after a test has changed the header.
fn mend(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let checksum = !checksum::fold(checksum::sum(&frame[14..34]));
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
}

#[test]
fn each_reason_has_its_own_name() {
    let good = frame(&plain(), b"hello");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good.clone();
        change(&mut frame);
        parse(&frame).map(|_| ())
    };
    assert_eq!(changed(&|_| ()), Ok(()));
    assert_eq!(changed(&|f| f.truncate(13)), Err(Drop::Short));
    assert_eq!(changed(&|f| f.truncate(40)), Err(Drop::Short));
    assert_eq!(changed(&|f| f[13] = 6), Err(Drop::NotTcp));
    assert_eq!(changed(&|f| f[22] = 1), Err(Drop::IpChecksum));
    assert_eq!(changed(&|f| (f[23] = 17, mend(f)).1), Err(Drop::NotTcp));
    assert_eq!(changed(&|f| (f[20] = 0x20, mend(f)).1), Err(Drop::Fragment));
    assert_eq!(changed(&|f| (f[21] = 1, mend(f)).1), Err(Drop::Fragment));
    assert_eq!(changed(&|f| (f[26] = 127, mend(f)).1), Err(Drop::BadSource));
    assert_eq!(changed(&|f| (f[30] = 224, mend(f)).1), Err(Drop::BadHeader));
    assert_eq!(changed(&|f| (f[26] = 0, mend(f)).1), Err(Drop::BadSource));
    // RFC 1122 section 3.3.6: sent to all stations, or from all of them.
    assert_eq!(changed(&|f| f[..6].fill(0xff)), Err(Drop::BadSource));
    assert_eq!(changed(&|f| f[6] |= 1), Err(Drop::BadSource));
    // LAND: from our own address.
    assert_eq!(
        changed(&|f| (f.copy_within(30..34, 26), mend(f)).1),
        Err(Drop::BadSource)
    );
    assert_eq!(changed(&|f| f[50] ^= 1), Err(Drop::TcpChecksum));
    assert_eq!(
        changed(&|f| (f[16..18].copy_from_slice(&[0, 30]), mend(f)).1),
        Err(Drop::Short)
    );
}

/// RFC 4291 section 2.5.5.2: to this program an IPv4-mapped address is an IPv4 host, so one that
/// comes from the wire would be taken for somebody else.
#[test]
fn mapped_addresses_do_not_come_from_the_wire() {
    let mut header = plain();
    header.flow = Flow {
        local: "[2001:db8::7]:1000".parse().unwrap(),
        remote: "[2001:db8::1]:8000".parse().unwrap(),
    };
    let good = frame(&header, b"hello");
    assert!(parse(&good).is_ok());
    // Changing the source from 2001:db8::7 to ::ffff:0:7 and the like is noticed before the checksum.
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    let mut frame = good.clone();
    frame[22..34].copy_from_slice(&mapped);
    assert_eq!(parse(&frame).map(|_| ()), Err(Drop::BadSource));
    let mut frame = good.clone();
    frame[38..50].copy_from_slice(&mapped);
    assert_eq!(parse(&frame).map(|_| ()), Err(Drop::BadHeader));
}

#[test]
fn nothing_is_sent_when_the_payload_is_gone_or_too_long() {
    assert_eq!(emit(&mut [0; 1518], &plain(), 10, |_| false), 0);
    assert_eq!(emit(&mut [0; 60], &plain(), 10, |_| true), 0);
}
