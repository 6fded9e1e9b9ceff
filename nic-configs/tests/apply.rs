//! The command on interfaces in namespaces of the test: a veth as the kernel has it, and a veth whose
//! ethtool is a fake NIC (fake-ethtool), for what no veth has. Every setting is compared before, during
//! and after. Needs root.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};
use tempfile::TempDir;

/// A namespace with the interface `game` of four queues; its other end is `player`.
struct Host {
    name: String,
    files: TempDir,
}

impl Host {
    fn new() -> Host {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let host = Host {
            name: format!("cluecast-nic-{}-{count}", std::process::id()),
            files: TempDir::new().unwrap(),
        };
        host.prepare();
        let output = Command::new("ip")
            .args(["netns", "add", &host.name])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?} (needs root)");
        host.shell(
            "ip link add game numrxqueues 4 numtxqueues 4 type veth peer name player
             ip address add 10.9.1.1/24 dev game
             ip link set game up; ip link set player up; ip link set lo up",
        );
        host
    }

    /// What is the whole machine's, and no test may touch: systemd and the CPUs' frequencies.
    fn prepare(&self) {
        let files = self.files.path();
        fs::create_dir(files.join("bin")).unwrap();
        fs::create_dir(files.join("state")).unwrap();
        self.install("systemctl");
        fs::write(files.join("state/irqbalance"), "active").unwrap();
        for cpu in ["cpu0", "cpu1", "cpu2"] {
            let directory = files.join("cpu").join(cpu).join("cpufreq");
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("scaling_governor"), "schedutil\n").unwrap();
        }
    }

    fn install(&self, program: &str) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fake-{program}"));
        fs::copy(source, self.files.path().join("bin").join(program)).unwrap();
    }

    /// One whose ethtool has a NIC of `driver` that is as such NICs come.
    fn fake(driver: &str) -> Host {
        let host = Host::new();
        host.install("ethtool");
        let state = host.files.path().join("state");
        for (key, value) in [
            ("driver", driver),
            ("L.combined", "8"),
            ("X.equal", "8"),
            ("X.hkey", "6d:5a:6d:5a:6d:5a:6d:5a:6d:5a"),
            ("G.rx", "512"),
            ("G.tx", "512"),
            ("C.adaptive-rx", "on"),
            ("C.rx-usecs", "50"),
            ("C.tx-usecs", "50"),
            ("A.rx", "on"),
            ("A.tx", "on"),
            ("N.tcp4", "sd"),
            ("N.tcp6", "sd"),
            ("P.legacy-rx", "on"),
            ("P.flow-director-atr", "on"),
            ("K.large-receive-offload", "on"),
            ("K.generic-receive-offload", "on"),
            ("K.rx-gro-list", "off"),
            ("K.rx-udp-gro-forwarding", "on"),
            ("K.rx-vlan-offload", "on"),
            ("K.ntuple-filters", "on"),
        ] {
            fs::write(state.join(key), value).unwrap();
        }
        host
    }

    fn output(&self, program: &str, arguments: &[&str]) -> Output {
        // `ip netns exec` makes a mount namespace too, so this one ends with the command.
        let script = "mount --bind \"$0\" /sys/devices/system/cpu && exec \"$@\"";
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name, "sh", "-c", script])
            .arg(self.files.path().join("cpu"))
            .arg(program)
            .args(arguments);
        let own = self.files.path().join("bin");
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", own.display()));
        command.env("FAKE", self.files.path().join("state"));
        command.env_remove("SSH_CONNECTION").output().unwrap()
    }

    fn shell(&self, script: &str) -> String {
        let output = self.output("sh", &["-ec", script]);
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the command with these words; whether it was content, and all it printed.
    fn setup(&self, words: &[&str]) -> (bool, String) {
        let record = self.files.path().join("record");
        let fixed = ["game", "--record", record.to_str().unwrap()];
        let words = [&fixed, words].concat();
        let output = self.output(env!("CARGO_BIN_EXE_nic-setup"), &words);
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    /// Everything that can be seen of the interface, line by line.
    fn seen(&self) -> BTreeMap<String, String> {
        let text = self.shell(
            "ethtool -l game | sed 's/^/-l /'; ethtool -k game | sed 's/^/-k /'
             cd /sys/class/net/game; for file in mtu gro_flush_timeout napi_defer_hard_irqs \
             queues/tx-*/xps_cpus /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do
             echo $file: $(cat $file); done; echo irqbalance: $(cat $FAKE/irqbalance)",
        );
        let mut seen = BTreeMap::new();
        let mut block = 0;
        for line in text.lines() {
            block += usize::from(line.ends_with(':'));
            let (key, value) = line.split_once(':').unwrap();
            seen.insert(format!("{block} {key}"), value.trim().to_owned());
        }
        seen
    }

    /// The state of the fake NIC.
    fn state(&self) -> BTreeMap<String, String> {
        let files = fs::read_dir(self.files.path().join("state")).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let kept = files.filter(|file| !file.ends_with("log") && !file.ends_with("X.asked"));
        kept.map(|file| {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(file).unwrap().trim().to_owned())
        })
        .collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .status();
    }
}

/// What differs, as "key: before -> after".
fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let get =
        |map: &BTreeMap<String, String>, key: &str| map.get(key).cloned().unwrap_or("-".to_owned());
    let line = |key: &String| format!("{key}: {} -> {}", get(before, key), get(after, key));
    let differ = |key: &&String| get(before, key) != get(after, key);
    keys.into_iter().filter(differ).map(line).collect()
}

/// As far from the profile as a veth can be.
fn untuned() -> Host {
    let host = Host::new();
    host.shell(
        "ip link set game mtu 3000
         ethtool -K game generic-receive-offload on rx-gro-list on rx-udp-gro-forwarding on
         ethtool -K game rx-vlan-offload on
         for queue in 0 1 2 3; do echo 3 >/sys/class/net/game/queues/tx-$queue/xps_cpus; done
         echo 7 >/sys/class/net/game/napi_defer_hard_irqs",
    );
    host
}

#[test]
fn a_veth_is_really_changed_and_really_restored() {
    let host = untuned();
    let before = host.seen();
    let (good, text) = host.setup(&["--check", "--cpus", "0,1"]);
    assert!(
        !good && text.contains("channels rx: is 4, should be 2"),
        "{text}"
    );

    let (good, text) = host.setup(&["--cpus", "0,1"]);
    assert!(good, "{text}");
    let during = host.seen();
    let wanted = [
        "3 -l RX: 4 -> 2",
        "3 -l TX: 4 -> 2",
        "4 -k generic-receive-offload: on -> off",
        "4 -k rx-gro-list: on -> off",
        "4 -k rx-udp-gro-forwarding: on -> off",
        "4 -k rx-vlan-offload: on -> off",
        "4 /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor: schedutil -> performance",
        "4 /sys/devices/system/cpu/cpu1/cpufreq/scaling_governor: schedutil -> performance",
        "4 gro_flush_timeout: 0 -> 200000",
        "4 irqbalance: active -> inactive",
        "4 mtu: 3000 -> 1500",
        "4 napi_defer_hard_irqs: 7 -> 2",
        "4 queues/tx-0/xps_cpus: 3 -> 1",
        "4 queues/tx-1/xps_cpus: 3 -> 2",
        "4 queues/tx-2/xps_cpus: 3 -> -",
        "4 queues/tx-3/xps_cpus: 3 -> -",
    ];
    assert_eq!(changes(&before, &during), wanted);
    assert!(host.setup(&["--check", "--cpus", "0,1"]).0);
    // A second run finds nothing to do, and must not take our values for what was there before.
    let (good, text) = host.setup(&["--cpus", "0,1"]);
    assert!(good && !text.contains("ethtool -"), "{text}");
    assert_eq!(changes(&during, &host.seen()), [""; 0]);

    let (good, text) = host.setup(&["--undo"]);
    assert!(good, "{text}");
    assert_eq!(changes(&before, &host.seen()), [""; 0]);
    let (good, text) = host.setup(&["--undo"]);
    assert!(good && text == "nothing to undo\n", "{text}");
}

#[test]
fn what_a_dry_run_prints_does_the_same_when_a_shell_runs_it() {
    let (one, two) = (untuned(), untuned());
    assert!(one.setup(&["--cpus", "0,1"]).0);
    let before = two.seen();
    let (good, script) = two.setup(&["--dry-run", "--cpus", "0,1"]);
    assert!(good);
    assert_eq!(
        changes(&before, &two.seen()),
        [""; 0],
        "a dry run changes nothing"
    );
    // The queues beyond the second lose their file when they go, and the loop that runs the lines is
    // the shell's own: it stops at the first line that fails.
    two.shell(&script);
    assert_eq!(changes(&one.seen(), &two.seen()), [""; 0]);
}

#[test]
fn without_cpus_queues_and_send_queues_stay() {
    let host = untuned();
    let before = host.seen();
    assert!(host.setup(&[]).0);
    let changed = changes(&before, &host.seen());
    assert!(
        !changed
            .iter()
            .any(|line| line.contains("xps") || line.contains(" -l ")),
        "{changed:?}"
    );
    assert!(
        changed.iter().any(|line| line.contains("mtu")),
        "{changed:?}"
    );
}

#[test]
fn a_smaller_mtu_stays() {
    let host = untuned();
    host.shell("ip link set game mtu 1400");
    assert!(host.setup(&[]).0);
    assert_eq!(host.shell("cat /sys/class/net/game/mtu"), "1400\n");
}

#[test]
fn more_queues_than_there_are_are_refused() {
    let host = untuned();
    let (good, text) = host.setup(&["--queues", "9"]);
    assert!(
        !good && text.contains("9 queues are asked for, and game has 4"),
        "{text}"
    );
}

#[test]
fn the_interface_of_the_default_route_is_not_touched() {
    for route in [
        "ip route add default via 10.9.1.2 dev game",
        "ip route add default via 10.9.1.2 dev game table 77",
        "ip -6 address add fd00:1::1/64 dev game nodad; ip -6 route add default via fd00:1::2 dev game",
        "ip link add bridge type bridge; ip link set bridge up; ip link set game master bridge
         ip address add 10.9.5.1/24 dev bridge; ip route add default via 10.9.5.2 dev bridge",
    ] {
        let host = untuned();
        host.shell(route);
        let before = host.seen();
        let (good, text) = host.setup(&["--cpus", "0,1"]);
        assert!(
            !good && text.contains("carries the default route"),
            "{route}: {text}"
        );
        assert_eq!(changes(&before, &host.seen()), [""; 0]);
        assert!(host.setup(&["--cpus", "0,1", "--dry-run"]).0);
        let (good, text) = host.setup(&["--cpus", "0,1", "--force"]);
        assert!(good, "{route}: {text}");
        let (good, text) = host.setup(&["--undo"]);
        assert!(!good && text.contains("--force"), "{text}");
    }
}

#[test]
fn the_interface_of_an_ssh_session_is_not_touched() {
    let host = untuned();
    let name = host.name.clone();
    let session = thread::spawn(move || {
        let file = fs::File::open(format!("/run/netns/{name}")).unwrap();
        setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        let listener = TcpListener::bind("10.9.1.1:22").unwrap();
        let client = TcpStream::connect("10.9.1.1:22").unwrap();
        (client, listener.accept().unwrap().0, listener)
    });
    let session = session.join().unwrap();
    let (good, text) = host.setup(&["--cpus", "0,1"]);
    assert!(
        !good && text.contains("carries an ssh session (to 10.9.1.1 on game)"),
        "{text}"
    );
    drop(session);
}

#[test]
fn a_nic_with_everything_is_changed_and_restored() {
    for driver in ["i40e", "ice"] {
        let host = Host::fake(driver);
        // Somebody asked for the table that the driver has anyway: it does not follow the queues then.
        fs::write(host.files.path().join("state/X.asked"), "").unwrap();
        let before = host.state();
        let (good, text) = host.setup(&["--cpus", "0,1"]);
        assert!(good, "{text}");
        let during = changes(&before, &host.state());
        let mut wanted = vec![
            "A.rx: on -> off",
            "A.tx: on -> off",
            "C.adaptive-rx: on -> off",
            "C.rx-usecs: 50 -> 0",
            "C.tx-usecs: 50 -> 0",
            "G.rx: 512 -> 2048",
            // As many as it takes.
            "G.tx: 512 -> 1024",
            "K.generic-receive-offload: on -> off",
            "K.large-receive-offload: on -> off",
            "K.rx-udp-gro-forwarding: on -> off",
            "K.rx-vlan-offload: on -> off",
            "L.combined: 8 -> 2",
            "N.tcp4: sd -> sdfn",
            "N.tcp6: sd -> sdfn",
            "X.equal: 8 -> 2",
            "irqbalance: active -> inactive",
        ];
        let own: &[&str] = match driver {
            "i40e" => &["P.flow-director-atr: on -> off", "P.legacy-rx: on -> off"],
            _ => &["K.ntuple-filters: on -> off"],
        };
        wanted.extend(own);
        wanted.sort_unstable();
        let (keys, rest): (Vec<String>, Vec<String>) = during
            .into_iter()
            .partition(|line| line.starts_with("X.hkey"));
        assert_eq!(rest, wanted, "{text}");
        assert!(
            keys[0].split(" -> ").nth(1).unwrap().len() == 29,
            "as long as before: {keys:?}"
        );

        let (good, text) = host.setup(&["--undo"]);
        assert!(good, "{text}");
        assert_eq!(changes(&before, &host.state()), [""; 0]);
    }
}

#[test]
fn what_a_driver_refuses_is_said_and_the_rest_is_done() {
    let host = Host::fake("ice");
    fs::write(
        host.files.path().join("state/K.rx-vlan-offload"),
        "on [fixed]",
    )
    .unwrap();
    let (good, text) = host.setup(&["--cpus", "0,1"]);
    let said = "features rx-vlan-offload: is on and cannot be changed, should be off";
    assert!(good && text.contains(said), "{text}");
    assert_eq!(host.state()["L.combined"], "2");
    assert_eq!(host.state()["K.rx-vlan-offload"], "on [fixed]");
}

#[test]
fn half_of_the_queues_are_left_to_xdp() {
    let host = Host::fake("ena");
    let (good, text) = host.setup(&["--queues", "5"]);
    assert!(
        !good && text.contains("has 4 once XDP has its own half"),
        "{text}"
    );
    assert_eq!(host.state()["L.combined"], "8");
}

#[test]
fn a_driver_without_a_profile_is_named() {
    let host = Host::fake("tg3");
    let (good, text) = host.setup(&[]);
    assert!(
        !good && text.contains("no profile for the driver tg3"),
        "{text}"
    );
}
