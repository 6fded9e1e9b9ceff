//! What a whole run says, for drivers that are not here: every command of every profile, against
//! golden/<driver>.txt. `UPDATE_GOLDEN=1` writes them.

use super::*;

fn options(words: &[&str]) -> Options {
    Options::parse_from([&["nic-setup", "eth1"], words].concat())
}

#[test]
fn the_commands_for_each_driver_are_the_golden_ones() {
    for driver in [
        "bnxt_en",
        "ena",
        "gve",
        "i40e",
        "ice",
        "igb",
        "igc",
        "ixgbe",
        "mlx5_core",
        "veth",
        "virtio_net",
    ] {
        let mut text = String::new();
        let words = ["--dry-run", "--driver", driver, "--cpus", "2,3"];
        let good = run(&options(&words), &mut |line| {
            text.push_str(line);
            text.push('\n');
        });
        assert!(good.unwrap());
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
        let file = directory.join(format!("{driver}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            text == golden,
            "{} is stale; look at what UPDATE_GOLDEN=1 cargo test -p nic-configs changes",
            file.display()
        );
    }
}

#[test]
fn lists_of_cpus() {
    assert_eq!(cpus("2").unwrap().0, [2]);
    assert_eq!(cpus("2,4-6").unwrap().0, [2, 4, 5, 6]);
    for wrong in ["", "a", "3-2", "1-", "0-99999"] {
        assert!(cpus(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_driver_is_only_named_to_show_its_commands() {
    let parse = |words: &[&str]| Options::command().try_get_matches_from(words).is_ok();
    assert!(!parse(&["nic-setup", "eth1", "--driver", "ixgbe"]));
    assert!(!parse(&["nic-setup", "eth1", "--check", "--undo"]));
    assert!(!parse(&["nic-setup", "--undo"]));
    assert!(parse(&["nic-setup", "eth1", "--undo"]));
    assert!(parse(&["nic-setup", "--man"]));
}
