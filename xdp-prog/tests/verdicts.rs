//! Named frames and what the steering program does with them, run in the kernel by
//! BPF_PROG_TEST_RUN: no traffic, no NIC.
//!
//! Each test has a network namespace of its own (its thread leaves the machine's) and attaches the
//! program to the loopback interface there, because that is how the loader gives it out. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a test may panic; tables are long"
)]

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libbpf_rs::libbpf_sys;
use nix::sched::{CloneFlags, unshare};
use xdp_prog::steering::{Mode, Steering};
use xdp_prog::verdict::{VERDICTS, index};

const DROP: u32 = 1;
const PASS: u32 = 2;
const REDIRECT: u32 = 4;

const PORT: u16 = 8000;
const OTHER_PORT: u16 = 22;
const IP4: [u8; 4] = [10, 0, 0, 1];
const OTHER_IP4: [u8; 4] = [10, 0, 0, 2];
const IP6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const OTHER_IP6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const ESP: u8 = 50;

/// A frame with a name, what happens to it and how it is counted.
type Case = (&'static str, Vec<u8>, u32, &'static str);

fn ethernet(protocol: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(protocol.to_be_bytes());
    frame.extend(packet);
    frame
}

fn vlan(tag: u16, protocol: u16, packet: &[u8]) -> Vec<u8> {
    let tag_and_type = [tag.to_be_bytes(), protocol.to_be_bytes()].concat();
    ethernet(0x8100, &[&tag_and_type, packet].concat())
}

fn tcp(port: u16) -> Vec<u8> {
    let mut header = vec![0; 20];
    header[..2].copy_from_slice(&40_000_u16.to_be_bytes());
    header[2..4].copy_from_slice(&port.to_be_bytes());
    header[12] = 5 << 4;
    header[13] = 2;
    header
}

struct Ip4 {
    to: [u8; 4],
    protocol: u8,
    options: usize,
    /// Flags and offset.
    fragment: u16,
}

impl Ip4 {
    fn to(to: [u8; 4], protocol: u8) -> Ip4 {
        Ip4 {
            to,
            protocol,
            options: 0,
            fragment: 0x4000,
        }
    }

    fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let header = 20 + self.options;
        let mut packet = vec![0; header];
        packet[0] = 0x40 | u8::try_from(header / 4).unwrap();
        packet[2..4].copy_from_slice(&u16::try_from(header + payload.len()).unwrap().to_be_bytes());
        packet[6..8].copy_from_slice(&self.fragment.to_be_bytes());
        packet[8] = 64;
        packet[9] = self.protocol;
        packet[12..16].copy_from_slice(&[10, 0, 0, 9]);
        packet[16..20].copy_from_slice(&self.to);
        packet[20..].fill(1);
        packet.extend(payload);
        packet
    }

    fn frame(&self, payload: &[u8]) -> Vec<u8> {
        ethernet(0x0800, &self.packet(payload))
    }
}

fn ip6(to: [u8; 16], next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet.extend([next, 64]);
    packet.extend([0xfe; 16]);
    packet.extend(to);
    packet.extend(payload);
    ethernet(0x86dd, &packet)
}

/// An extension header of `units` times 8 bytes beyond the first 8.
fn extension(next: u8, units: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 8 + usize::from(units) * 8];
    header[0] = next;
    header[1] = units;
    header.extend(payload);
    header
}

fn fragment6(next: u8, offset: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![next, 0];
    header.extend((offset << 3 | 1).to_be_bytes());
    header.extend([0, 0, 0, 7]);
    header.extend(payload);
    header
}

fn to_ours() -> Vec<Case> {
    let ip4 = Ip4::to(IP4, TCP);
    let options = |options| Ip4 {
        options,
        ..Ip4::to(IP4, TCP)
    };
    let plain = ip4.packet(&tcp(PORT));
    let mut padded = ip4.frame(&tcp(PORT));
    padded.resize(60, 0);
    vec![
        ("ipv4", ip4.frame(&tcp(PORT)), REDIRECT, "steered"),
        (
            "ipv4, second listener",
            Ip4::to(OTHER_IP4, TCP).frame(&tcp(443)),
            REDIRECT,
            "steered",
        ),
        ("ipv4, padded to 60 bytes", padded, REDIRECT, "steered"),
        (
            "ipv4, one word of options",
            options(4).frame(&tcp(PORT)),
            REDIRECT,
            "steered",
        ),
        (
            "ipv4, ten words of options",
            options(40).frame(&tcp(PORT)),
            REDIRECT,
            "steered",
        ),
        ("ipv4, tagged", vlan(7, 0x0800, &plain), REDIRECT, "steered"),
        (
            "ipv4, priority tag",
            vlan(0xe000, 0x0800, &plain),
            REDIRECT,
            "steered",
        ),
        ("ipv6", ip6(IP6, TCP, &tcp(PORT)), REDIRECT, "steered"),
        (
            "ipv6, tagged",
            vlan(7, 0x86dd, &ip6(IP6, TCP, &tcp(PORT))[14..]),
            REDIRECT,
            "steered",
        ),
    ]
}

fn to_others() -> Vec<Case> {
    let plain = Ip4::to(IP4, TCP).packet(&tcp(PORT));
    let twice = [&[0, 8, 8, 0][..], &plain].concat();
    vec![
        ("arp", ethernet(0x0806, &[0; 28]), PASS, "pass_not_ip"),
        ("lldp", ethernet(0x88cc, &[0; 46]), PASS, "pass_not_ip"),
        ("two tags", vlan(7, 0x8100, &twice), PASS, "pass_not_ip"),
        ("tagged arp", vlan(7, 0x0806, &[0; 28]), PASS, "pass_not_ip"),
        (
            "icmp",
            Ip4::to(IP4, ICMP).frame(&[8; 64]),
            PASS,
            "pass_not_tcp",
        ),
        (
            "udp to our port",
            Ip4::to(IP4, UDP).frame(&tcp(PORT)),
            PASS,
            "pass_not_tcp",
        ),
        ("icmpv6", ip6(IP6, ICMPV6, &[135; 32]), PASS, "pass_not_tcp"),
        (
            "esp over ipv6",
            ip6(IP6, ESP, &tcp(PORT)),
            PASS,
            "pass_not_tcp",
        ),
        (
            "ssh",
            Ip4::to(IP4, TCP).frame(&tcp(OTHER_PORT)),
            PASS,
            "pass_not_ours",
        ),
        (
            "our port elsewhere",
            Ip4::to(OTHER_IP4, TCP).frame(&tcp(PORT)),
            PASS,
            "pass_not_ours",
        ),
        (
            "ssh over ipv6",
            ip6(IP6, TCP, &tcp(OTHER_PORT)),
            PASS,
            "pass_not_ours",
        ),
        (
            "our port elsewhere, ipv6",
            ip6(OTHER_IP6, TCP, &tcp(PORT)),
            PASS,
            "pass_not_ours",
        ),
        (
            "ssh behind a header",
            ip6(IP6, HOP_BY_HOP, &extension(TCP, 0, &tcp(OTHER_PORT))),
            PASS,
            "pass_not_ours",
        ),
        (
            "udp behind a header",
            ip6(IP6, HOP_BY_HOP, &extension(UDP, 0, &tcp(PORT))),
            PASS,
            "pass_not_tcp",
        ),
    ]
}

/// An ICMP message of type and code about a packet.
fn icmp(kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0, 0, 0, 5, 0x78];
    message.extend(quoted);
    message
}

/// The first 8 bytes of a TCP header of a segment from `port`: what a report is sure to quote.
fn sent_from(port: u16) -> Vec<u8> {
    let mut header = tcp(40_000)[..8].to_vec();
    header[..2].copy_from_slice(&port.to_be_bytes());
    header
}

/// An IPv4 packet from `source` to a player.
fn quoted(source: [u8; 4], protocol: u8, options: usize, payload: &[u8]) -> Vec<u8> {
    let ip4 = Ip4 {
        options,
        ..Ip4::to([192, 0, 2, 7], protocol)
    };
    let mut packet = ip4.packet(payload);
    packet[12..16].copy_from_slice(&source);
    packet
}

fn quoted6(source: [u8; 16], next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = ip6([0x77; 16], next, payload)[14..].to_vec();
    packet[8..24].copy_from_slice(&source);
    packet
}

/// Reports of packets too big that concern us.
fn reports() -> Vec<Case> {
    let about = |quoted: &[u8]| Ip4::to(IP4, ICMP).frame(&icmp(3, 4, quoted));
    let about6 = |quoted: &[u8]| ip6(IP6, ICMPV6, &icmp(2, 0, quoted));
    let plain = quoted(IP4, TCP, 0, &sent_from(PORT));
    let tagged = vlan(7, 0x0800, &about(&plain)[14..]);
    let options = Ip4 {
        options: 12,
        ..Ip4::to(IP4, ICMP)
    };
    let plain6 = quoted6(IP6, TCP, &sent_from(PORT));
    let ours = |name, frame| (name, frame, REDIRECT, "steered_icmp");
    vec![
        ours("report", about(&plain)),
        ours(
            "report, second listener",
            about(&quoted(OTHER_IP4, TCP, 0, &sent_from(443))),
        ),
        ours(
            "report, quoted with options",
            about(&quoted(IP4, TCP, 40, &sent_from(PORT))),
        ),
        ours("report, with options", options.frame(&icmp(3, 4, &plain))),
        ours("report, tagged", tagged),
        ours("report, ipv6", about6(&plain6)),
        ours(
            "report, ipv6, tagged",
            vlan(7, 0x86dd, &about6(&plain6)[14..]),
        ),
    ]
}

/// ICMP that looks like it and is the kernel's.
fn other_icmp() -> Vec<Case> {
    let plain = quoted(IP4, TCP, 0, &sent_from(PORT));
    let plain6 = quoted6(IP6, TCP, &sent_from(PORT));
    let about = |kind, code, quoted: &[u8]| Ip4::to(IP4, ICMP).frame(&icmp(kind, code, quoted));
    let about6 = |kind, quoted: &[u8]| ip6(IP6, ICMPV6, &icmp(kind, 0, quoted));
    let mut later = plain.clone();
    later[7] = 9;
    let mut no_words = plain.clone();
    no_words[0] = 0x44;
    let mut long_header = plain.clone();
    long_header[0] = 0x4f;
    let part = Ip4 {
        fragment: 0x2000,
        ..Ip4::to(IP4, ICMP)
    };
    let kernels = |name, frame| (name, frame, PASS, "pass_not_tcp");
    vec![
        kernels("port unreachable", about(3, 3, &plain)),
        kernels("host unreachable", about(3, 1, &plain)),
        kernels("time exceeded", about(11, 0, &plain)),
        kernels("source quench", about(4, 4, &plain)),
        kernels("echo", about(8, 4, &plain)),
        kernels(
            "about ssh",
            about(3, 4, &quoted(IP4, TCP, 0, &sent_from(OTHER_PORT))),
        ),
        kernels(
            "about our port elsewhere",
            about(3, 4, &quoted(OTHER_IP4, TCP, 0, &sent_from(PORT))),
        ),
        kernels(
            "about udp",
            about(3, 4, &quoted(IP4, UDP, 0, &sent_from(PORT))),
        ),
        // What a player sent to us is not ours to make smaller.
        kernels(
            "about a segment to us",
            about(3, 4, &Ip4::to(IP4, TCP).packet(&tcp(PORT)[..8])),
        ),
        kernels("about a later fragment", about(3, 4, &later)),
        kernels("quoted header of 4 words", about(3, 4, &no_words)),
        kernels("quoted header that is cut", about(3, 4, &long_header)),
        kernels("quoted header alone", about(3, 4, &plain[..20])),
        kernels("half a quoted port", about(3, 4, &plain[..23])),
        kernels("nothing quoted", about(3, 4, &[])),
        kernels("half a report", part.frame(&icmp(3, 4, &plain))),
        kernels("unreachable, ipv6", about6(1, &plain6)),
        kernels(
            "about ssh, ipv6",
            about6(2, &quoted6(IP6, TCP, &sent_from(OTHER_PORT))),
        ),
        kernels(
            "about our port elsewhere, ipv6",
            about6(2, &quoted6(OTHER_IP6, TCP, &sent_from(PORT))),
        ),
        kernels(
            "about udp, ipv6",
            about6(2, &quoted6(IP6, UDP, &sent_from(PORT))),
        ),
        kernels("quoted header alone, ipv6", about6(2, &plain6[..40])),
        kernels("half a quoted header, ipv6", about6(2, &plain6[..39])),
    ]
}

fn fragments() -> Vec<Case> {
    let part = |to, protocol, fragment| Ip4 {
        to,
        protocol,
        options: 0,
        fragment,
    };
    // No listener has this address.
    let nobody = [10, 0, 0, 3];
    vec![
        (
            "first",
            part(IP4, TCP, 0x2000).frame(&tcp(PORT)),
            DROP,
            "drop_fragment",
        ),
        (
            "later",
            part(IP4, TCP, 0x2001).frame(&[0xff; 64]),
            DROP,
            "drop_fragment",
        ),
        (
            "last",
            part(IP4, TCP, 185).frame(&[0xff; 64]),
            DROP,
            "drop_fragment",
        ),
        (
            "first of 8 bytes",
            part(IP4, TCP, 0x2000).frame(&tcp(PORT)[..8]),
            DROP,
            "drop_fragment",
        ),
        (
            "first, elsewhere",
            part(nobody, TCP, 0x2000).frame(&tcp(PORT)),
            PASS,
            "pass_fragment",
        ),
        (
            "last, elsewhere",
            part(nobody, TCP, 185).frame(&[0; 64]),
            PASS,
            "pass_fragment",
        ),
        (
            "of udp",
            part(IP4, UDP, 0x2000).frame(&tcp(PORT)),
            PASS,
            "pass_not_tcp",
        ),
        (
            "later, of udp",
            part(IP4, UDP, 185).frame(&tcp(PORT)),
            PASS,
            "pass_not_tcp",
        ),
        (
            "ipv6, first",
            ip6(IP6, FRAGMENT, &fragment6(TCP, 0, &tcp(PORT))),
            DROP,
            "drop_fragment",
        ),
        (
            "ipv6, later",
            ip6(IP6, FRAGMENT, &fragment6(TCP, 185, &[0xff; 64])),
            DROP,
            "drop_fragment",
        ),
        (
            "ipv6, behind a header",
            ip6(
                IP6,
                HOP_BY_HOP,
                &extension(FRAGMENT, 0, &fragment6(TCP, 185, &[0xff; 64])),
            ),
            DROP,
            "drop_fragment",
        ),
        (
            "ipv6, elsewhere",
            ip6(OTHER_IP6, FRAGMENT, &fragment6(TCP, 0, &tcp(PORT))),
            PASS,
            "pass_fragment",
        ),
        (
            "ipv6, of udp",
            ip6(IP6, FRAGMENT, &fragment6(UDP, 0, &tcp(PORT))),
            PASS,
            "pass_not_tcp",
        ),
    ]
}

fn extensions() -> Vec<Case> {
    let behind = |count: usize| {
        let headers = [HOP_BY_HOP, ROUTING, DESTINATION, DESTINATION, DESTINATION];
        let mut payload = tcp(PORT);
        let mut next = TCP;
        for header in headers[..count].iter().rev() {
            payload = extension(next, 1, &payload);
            next = *header;
        }
        ip6(IP6, next, &payload)
    };
    vec![
        ("one header", behind(1), DROP, "drop_extension"),
        ("four headers", behind(4), DROP, "drop_extension"),
        // The kernel's; nobody sends that many.
        ("five headers", behind(5), PASS, "pass_not_tcp"),
        (
            "a long header",
            ip6(IP6, HOP_BY_HOP, &extension(TCP, 20, &tcp(PORT))),
            DROP,
            "drop_extension",
        ),
    ]
}

/// Everything that stops inside its headers or says impossible things about them.
fn malformed() -> Vec<Case> {
    let ip4 = Ip4::to(IP4, TCP).frame(&tcp(PORT));
    let mut no_words = ip4.clone();
    no_words[14] = 0x40;
    let mut four_words = ip4.clone();
    four_words[14] = 0x44;
    let mut long_header = ip4.clone();
    long_header[14] = 0x4f;
    let long_extension = extension(TCP, 255, &tcp(PORT))[..40].to_vec();
    vec![
        (
            "nothing after ethernet",
            ethernet(0x0800, &[]),
            PASS,
            "pass_short",
        ),
        (
            "nothing after ethernet, ipv6",
            ethernet(0x86dd, &[]),
            PASS,
            "pass_short",
        ),
        ("half a tag", ethernet(0x8100, &[0, 7]), PASS, "pass_short"),
        (
            "a tag and nothing",
            vlan(7, 0x0800, &[]),
            PASS,
            "pass_short",
        ),
        ("19 bytes of ipv4", ip4[..33].to_vec(), PASS, "pass_short"),
        ("ipv4 without tcp", ip4[..34].to_vec(), PASS, "pass_short"),
        ("half a port", ip4[..37].to_vec(), PASS, "pass_short"),
        ("ipv4 header of 0 words", no_words, PASS, "pass_short"),
        ("ipv4 header of 4 words", four_words, PASS, "pass_short"),
        (
            "ipv4 header longer than the frame",
            long_header,
            PASS,
            "pass_short",
        ),
        (
            "39 bytes of ipv6",
            ip6(IP6, TCP, &[])[..53].to_vec(),
            PASS,
            "pass_short",
        ),
        ("ipv6 without tcp", ip6(IP6, TCP, &[]), PASS, "pass_short"),
        (
            "half an extension",
            ip6(IP6, HOP_BY_HOP, &[6]),
            PASS,
            "pass_short",
        ),
        (
            "an extension and nothing",
            ip6(IP6, HOP_BY_HOP, &extension(TCP, 0, &[])),
            PASS,
            "pass_short",
        ),
        (
            "an extension longer than the frame",
            ip6(IP6, ROUTING, &long_extension),
            PASS,
            "pass_short",
        ),
        (
            "half a fragment header",
            ip6(IP6, FRAGMENT, &[6, 0, 0, 0]),
            PASS,
            "pass_short",
        ),
    ]
}

/// The program on the loopback interface of a namespace that only this thread is in.
fn attach() -> Steering {
    unshare(CloneFlags::CLONE_NEWNET).expect("needs root");
    let listen: Vec<SocketAddr> = ["10.0.0.1:8000", "10.0.0.2:443", "[2001:db8::1]:8000"]
        .iter()
        .map(|address| address.parse().unwrap())
        .collect();
    Steering::attach("lo", &listen, Mode::Generic).unwrap()
}

/// A socket that the map takes; nothing is received through it.
fn socket() -> OwnedFd {
    // SAFETY: no pointer is passed.
    let descriptor = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(descriptor >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just made it for us.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// As `attach`, with a socket in the slot of the only queue until it is dropped.
fn attach_with_socket() -> (Steering, OwnedFd) {
    let (steering, socket) = (attach(), socket());
    steering.register(0, &socket).unwrap();
    (steering, socket)
}

/// Runs the program on `frame` and gives its action, or what the kernel said.
fn run(steering: &Steering, frame: &[u8]) -> Result<u32, i32> {
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as u64,
        data_in: frame.as_ptr().cast(),
        data_size_in: u32::try_from(frame.len()).unwrap(),
        repeat: 1,
        ..Default::default()
    };
    let program = steering.program().as_raw_fd();
    // SAFETY: the frame outlives the call, which only reads it.
    let code = unsafe { libbpf_sys::bpf_prog_test_run_opts(program, &raw mut options) };
    if code < 0 {
        Err(-code)
    } else {
        Ok(options.retval)
    }
}

/// What `run` added to each verdict.
fn verdict_of(steering: &Steering, frame: &[u8]) -> (u32, &'static str) {
    let before = steering.verdicts();
    let action = run(steering, frame).unwrap();
    let after = steering.verdicts();
    let added: Vec<u64> = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before)
        .collect();
    assert_eq!(added.iter().sum::<u64>(), 1, "exactly one verdict a frame");
    let which = added.iter().position(|added| *added == 1).unwrap();
    (action, VERDICTS[which].0)
}

fn check(steering: &Steering, cases: &[Case]) {
    for (name, frame, action, verdict) in cases {
        assert_eq!(verdict_of(steering, frame), (*action, *verdict), "{name}");
    }
}

#[test]
fn what_is_ours_is_steered() {
    let (steering, _socket) = attach_with_socket();
    check(&steering, &to_ours());
}

#[test]
fn without_a_socket_what_is_ours_is_dropped() {
    let steering = attach();
    let cases = to_ours()
        .into_iter()
        .map(|(name, frame, ..)| (name, frame, DROP, "drop_no_socket"));
    check(&steering, &cases.collect::<Vec<_>>());
}

#[test]
fn a_slot_is_empty_again_when_its_socket_is_closed() {
    let steering = attach();
    let frame = Ip4::to(IP4, TCP).frame(&tcp(PORT));
    let socket = socket();
    steering.register(0, &socket).unwrap();
    assert_eq!(verdict_of(&steering, &frame), (REDIRECT, "steered"));
    drop(socket);
    assert_eq!(verdict_of(&steering, &frame), (DROP, "drop_no_socket"));
}

#[test]
fn what_is_not_ours_is_passed() {
    let (steering, _socket) = attach_with_socket();
    check(&steering, &to_others());
}

#[test]
fn reports_about_our_segments_are_steered_and_no_other_icmp() {
    let (steering, _socket) = attach_with_socket();
    check(&steering, &reports());
    check(&steering, &other_icmp());
}

#[test]
fn without_a_socket_reports_are_the_kernels() {
    let steering = attach();
    let cases = reports()
        .into_iter()
        .map(|(name, frame, ..)| (name, frame, PASS, "pass_not_tcp"));
    check(&steering, &cases.collect::<Vec<_>>());
}

#[test]
fn fragments_to_our_addresses_are_dropped() {
    let (steering, _socket) = attach_with_socket();
    check(&steering, &fragments());
}

#[test]
fn extension_headers_do_not_get_round_us() {
    let (steering, _socket) = attach_with_socket();
    check(&steering, &extensions());
}

#[test]
fn malformed_frames_are_passed_and_counted() {
    let (steering, _socket) = attach_with_socket();
    check(&steering, &malformed());
}

/// Why the program's first length check has no case above.
#[test]
fn the_kernel_itself_keeps_frames_without_an_ethernet_header_away() {
    let (steering, _socket) = attach_with_socket();
    let frame = Ip4::to(IP4, TCP).frame(&tcp(PORT));
    assert_eq!(run(&steering, &frame[..13]), Err(libc::EINVAL));
    assert_eq!(run(&steering, &frame[..14]), Ok(PASS));
}

#[test]
fn every_prefix_of_a_good_frame_has_a_verdict() {
    let (steering, _socket) = attach_with_socket();
    for (name, frame, ..) in to_ours()
        .iter()
        .chain(&extensions())
        .chain(&fragments())
        .chain(&reports())
    {
        for length in 14..frame.len() {
            let (action, verdict) = verdict_of(&steering, &frame[..length]);
            let fits = match verdict {
                "steered" | "steered_icmp" => action == REDIRECT,
                "drop_fragment" | "drop_extension" => action == DROP,
                _ => action == PASS,
            };
            assert!(fits, "{name}, {length} bytes: {action}, {verdict}");
        }
    }
}

#[test]
fn every_verdict_is_reached() {
    let steering = attach();
    for frame in to_ours() {
        run(&steering, &frame.1).unwrap();
    }
    let socket = socket();
    steering.register(0, &socket).unwrap();
    for cases in [
        to_ours(),
        to_others(),
        reports(),
        fragments(),
        extensions(),
        malformed(),
    ] {
        for (_, frame, ..) in cases {
            run(&steering, &frame).unwrap();
        }
    }
    let counts = steering.reader().unwrap().read();
    for (name, count) in &counts {
        assert!(*count > 0, "{name} is never reached");
    }
    assert_eq!(
        index("steered"),
        counts.iter().position(|(name, _)| *name == "steered")
    );
}
