//! Players behind a link that loses 3 % and delays by 20 +- 5 ms each way: they get everything, once
//! and in order. The same crowd at the same service on the kernel's TCP is printed beside it; `make
//! bench-lossy` is where the two are judged.
//!
//! ```text
//!   player 10.9.0.2 ==== left  faultlink  right ==== game 10.9.0.1    appliance, or kernel TCP
//!   backend 10.9.1.2 ========================== admin 10.9.1.1        clean
//! ```

use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use clap::Parser;

use crate::crowd::{Crowd, EVERYWHERE, swarm};
use crate::running::{Appliance, PATIENCE, SETTINGS, Settings, directory};
use crate::world::{LISTEN, enter, shell};

const ADMIN: &str = "10.9.1.1:9000";

/// Three namespaces; the thread that makes it is moved into the server's.
struct Link {
    server: String,
    wire: String,
    player: String,
}

impl Link {
    fn new() -> Link {
        let name = |side| format!("cluecast-test-{}-{side}", process::id());
        let link = Link {
            server: name("server"),
            wire: name("wire"),
            player: name("player"),
        };
        let (s, w, p) = (&link.server, &link.wire, &link.player);
        for namespace in [s, w, p] {
            shell(&format!("ip netns add {namespace}"));
            shell(&format!("ip -n {namespace} link set lo up"));
        }
        for line in [
            format!("ip -n {p} link add player type veth peer name left netns {w}"),
            format!(
                "ip -n {s} link add game numrxqueues 2 numtxqueues 2 type veth \
                 peer name right numrxqueues 2 numtxqueues 2 netns {w}"
            ),
            format!("ip -n {p} link add backend type veth peer name admin netns {s}"),
            format!("ip -n {s} address add 10.9.0.1/24 dev game"),
            format!("ip -n {p} address add 10.9.0.2/24 dev player"),
            format!("ip -n {s} address add 10.9.1.1/24 dev admin"),
            format!("ip -n {p} address add 10.9.1.2/24 dev backend"),
            format!("ip -n {s} address add fd00:9::1/64 dev game nodad"),
        ] {
            shell(&line);
        }
        let ends = [
            (p, "player"),
            (p, "backend"),
            (w, "left"),
            (w, "right"),
            (s, "game"),
            (s, "admin"),
        ];
        for (namespace, interface) in ends {
            // Frames as they would be on a wire: whole checksums, none larger than the MTU.
            shell(&format!(
                "ip netns exec {namespace} ethtool -K {interface} tx off tso off gso off gro off"
            ));
            shell(&format!("ip -n {namespace} link set {interface} up"));
        }
        enter(s);
        link
    }

    /// The wire; it ends with the test's process.
    fn open(&self, faults: &str) {
        let line = format!("faultlink left right --both {faults} --seed 3");
        let options = bench::faultlink::Options::parse_from(line.split(' '));
        let wire = self.wire.clone();
        thread::spawn(move || {
            enter(&wire);
            bench::faultlink::run(&options, &mut std::io::sink())
        });
    }

    fn crowd(&self) -> Crowd {
        let arguments = "--players 50 --connect-timeout-s 40 --drain-s 20 --rate 20 --seconds 5";
        swarm(&self.player, ADMIN, arguments).join().unwrap()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for name in [&self.server, &self.wire, &self.player] {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

/// The same service on kernel TCP, in the caller's namespace, until the test's process ends.
fn start_kernel_server() {
    let line = format!("tokio-fanout --listen {LISTEN} --admin {ADMIN}");
    let options = bench::fanout::Options::parse_from(line.split(' '));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(bench::fanout::run(options)).unwrap();
    });
    let start = std::time::Instant::now();
    while ureq::get(format!("http://{ADMIN}/health")).call().is_err() {
        assert!(start.elapsed() < PATIENCE, "it does not start");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn everything_arrives_in_order_over_a_lossy_link() {
    let (link, directory) = (Link::new(), directory());
    link.open("loss=3,delay=20:5");
    let settings = Settings {
        tables: EVERYWHERE,
        ..SETTINGS
    };
    let appliance = Appliance::start(&directory, settings);
    let ours = link.crowd();
    assert!(ours.held, "{}", ours.table);
    drop(appliance);
    start_kernel_server();
    let kernel = link.crowd();
    assert!(kernel.held, "{}", kernel.table);
    for percentile in ["p50_ms", "p99_ms", "p999_ms"] {
        let value = |crowd: &Crowd| crowd.report["steady"][percentile].as_f64().unwrap();
        let (ours, kernel) = (value(&ours), value(&kernel));
        println!(
            "{percentile}: {ours:.1}, kernel {kernel:.1}, ratio {:.3}",
            ours / kernel
        );
        // Two losses can never be made up for in less time than the way takes.
        assert!(ours >= 15.0 && kernel >= 15.0, "the wire does not delay");
    }
}
