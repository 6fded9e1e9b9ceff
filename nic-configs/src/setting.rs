//! One thing of the NIC or the host that can be read and changed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::{ethtool, host};

/// What a setting is at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Now {
    /// It can be changed.
    Value(String),
    /// It cannot be changed.
    Fixed(String),
    /// This driver, kernel or host does not have it; why.
    Missing(String),
    /// Nobody was asked.
    Unknown,
}

/// What reads and changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// A word of `ethtool`: `ethtool -K eth1 lro` is followed by the value.
    Ethtool {
        /// "-K".
        option: String,
        /// The interface.
        interface: String,
        /// "lro".
        key: String,
    },
    /// A file of the kernel that holds the value.
    File(PathBuf),
    /// A file of the kernel that holds a mask of CPUs; the value is without leading zeros.
    Mask(PathBuf),
    /// The MTU of an interface.
    Mtu(String),
    /// A unit of systemd; "active" or "inactive".
    Unit(String),
}

/// See the file's comment.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// For people: "features lro".
    pub(crate) name: String,
    /// From the profile.
    pub(crate) why: String,
    /// What it should be; `None` only remembers what it was.
    pub(crate) wanted: Option<String>,
    /// What it is.
    pub(crate) now: Now,
    /// What changes it.
    pub(crate) place: Place,
}

impl Setting {
    /// Whether it differs and can be changed.
    pub(crate) fn is_pending(&self) -> bool {
        match (&self.now, &self.wanted) {
            (Now::Value(now), Some(wanted)) => now != wanted,
            (Now::Unknown, wanted) => wanted.is_some(),
            _ => false,
        }
    }

    /// What is not as it should be, in words.
    pub(crate) fn difference(&self) -> Option<String> {
        let (name, why) = (&self.name, &self.why);
        let wanted = self.wanted.as_ref()?;
        match &self.now {
            Now::Value(now) if now != wanted => {
                Some(format!("{name}: is {now}, should be {wanted} (why: {why})"))
            }
            Now::Fixed(now) if now != wanted => Some(format!(
                "{name}: is {now} and cannot be changed, should be {wanted} (why: {why})"
            )),
            Now::Missing(reason) => Some(format!("{name}: not here: {reason}")),
            _ => None,
        }
    }

    /// What makes it `value`.
    pub(crate) fn actions(&self, value: &str) -> Vec<Action> {
        self.place.actions(value)
    }
}

impl Place {
    /// What makes it `value`.
    pub(crate) fn actions(&self, value: &str) -> Vec<Action> {
        match self {
            Place::Ethtool {
                option,
                interface,
                key,
            } => ethtool::actions(option, interface, key, value),
            Place::File(file) | Place::Mask(file) => vec![Action::Write {
                file: file.clone(),
                text: value.to_owned(),
            }],
            Place::Mtu(interface) => vec![Action::command(&format!(
                "ip link set {interface} mtu {value}"
            ))],
            Place::Unit(unit) => {
                let verb = if value == "active" { "start" } else { "stop" };
                vec![Action::command(&format!("systemctl {verb} {unit}"))]
            }
        }
    }

    /// What it is at the moment.
    pub(crate) fn read(&self) -> Now {
        match self {
            Place::Ethtool {
                option,
                interface,
                key,
            } => ethtool::read(option, interface, key),
            Place::File(file) => host::file(file),
            Place::Mask(file) => host::mask(file),
            Place::Mtu(interface) => {
                host::file(&PathBuf::from(format!("/sys/class/net/{interface}/mtu")))
            }
            Place::Unit(unit) => host::unit(unit),
        }
    }
}
