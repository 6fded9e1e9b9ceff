//! What a driver's profile says: for each setting a value and why.
//!
//! `profiles/common.toml` holds for every driver; what `profiles/<driver>.toml` says about the same key
//! takes its place, and the value "leave" means that the setting is not touched with this driver.
//! Within a stage the order is that of the alphabet, which puts `adaptive-rx` before `rx-usecs`: the
//! times are refused while the driver chooses them itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;

/// The profiles there are, with the drivers that go by them.
const PROFILES: &[(&str, &str)] = &[
    ("bnxt_en", include_str!("../profiles/bnxt.toml")),
    ("ena", include_str!("../profiles/ena.toml")),
    ("gve", include_str!("../profiles/gve.toml")),
    ("i40e", include_str!("../profiles/i40e.toml")),
    ("ice", include_str!("../profiles/ice.toml")),
    ("igb", include_str!("../profiles/igb.toml")),
    ("igc", include_str!("../profiles/igc.toml")),
    ("ixgbe", include_str!("../profiles/ixgbe.toml")),
    ("mlx5_core", include_str!("../profiles/mlx5.toml")),
    ("veth", include_str!("../profiles/veth.toml")),
    ("virtio_net", include_str!("../profiles/virtio_net.toml")),
];

const COMMON: &str = include_str!("../profiles/common.toml");

/// The value that takes a line of the common profile away.
const LEAVE: &str = "leave";

/// The lines of one stage by key.
pub(crate) type Section = BTreeMap<String, Line>;

/// See the file's comment. One field a stage; see `stages` for what the keys are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// The driver's name as `ethtool -i` prints it.
    pub(crate) driver: String,
    /// Where this profile was tried; every profile has to say.
    pub(crate) tried: String,
    /// What cannot be set from here but should be known.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
    #[serde(default)]
    pub(crate) host: Section,
    #[serde(default)]
    pub(crate) private: Section,
    #[serde(default)]
    pub(crate) channels: Section,
    #[serde(default)]
    pub(crate) rings: Section,
    #[serde(default)]
    pub(crate) features: Section,
    #[serde(default)]
    pub(crate) pause: Section,
    #[serde(default)]
    pub(crate) hash: Section,
    #[serde(default)]
    pub(crate) rss: Section,
    #[serde(default)]
    pub(crate) coalesce: Section,
    #[serde(default)]
    pub(crate) napi: Section,
    #[serde(default)]
    pub(crate) cpus: Section,
}

/// One setting.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// What it should be.
    pub(crate) value: Value,
    /// Why.
    pub(crate) why: String,
    /// Of channels: "half", where XDP needs as many send queues again.
    pub(crate) limit: Option<String>,
    /// Of interrupts: how the driver names them, with `{queue}`.
    pub(crate) pattern: Option<String>,
}

/// A number or a word.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Value {
    /// 2048
    Number(u64),
    /// "off"
    Word(String),
}

impl Value {
    pub(crate) fn text(&self) -> String {
        match self {
            Value::Number(number) => number.to_string(),
            Value::Word(word) => word.clone(),
        }
    }
}

impl Value {
    /// The number, if it is one.
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Word(_) => None,
        }
    }
}

impl Profile {
    /// The profile of `driver`.
    pub(crate) fn of(driver: &str) -> anyhow::Result<Profile> {
        let Some((_, text)) = PROFILES.iter().find(|(name, _)| *name == driver) else {
            let names: Vec<&str> = PROFILES.iter().map(|(name, _)| *name).collect();
            bail!(
                "there is no profile for the driver {driver}; there are: {}. Write one and give it with \
                 --profile",
                names.join(", ")
            );
        };
        Profile::parse(text).with_context(|| format!("the profile of {driver}"))
    }

    /// The profile in `file`.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Profile> {
        let text = fs::read_to_string(file);
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        Profile::parse(&text).with_context(|| file.display().to_string())
    }

    /// `text` over what holds for every driver.
    fn parse(text: &str) -> anyhow::Result<Profile> {
        let mut profile: Profile = toml::from_str(text)?;
        let mut common: Profile = toml::from_str(COMMON)?;
        for (own, common) in profile.sections().into_iter().zip(common.sections()) {
            for (key, line) in std::mem::take(common) {
                own.entry(key).or_insert(line);
            }
            own.retain(|_, line| line.value.text() != LEAVE);
        }
        Ok(profile)
    }

    fn sections(&mut self) -> [&mut Section; 11] {
        [
            &mut self.host,
            &mut self.private,
            &mut self.channels,
            &mut self.rings,
            &mut self.features,
            &mut self.pause,
            &mut self.hash,
            &mut self.rss,
            &mut self.coalesce,
            &mut self.napi,
            &mut self.cpus,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_can_be_read_and_every_line_says_why() {
        for (driver, _) in PROFILES {
            let mut profile = Profile::of(driver).unwrap();
            assert_eq!(profile.driver, *driver);
            assert!(!profile.tried.is_empty(), "{driver}");
            for section in profile.sections() {
                for (key, line) in section {
                    assert!(line.why.len() > 20, "{driver}: {key}: {}", line.why);
                }
            }
        }
    }

    #[test]
    fn a_driver_changes_what_holds_for_all_and_takes_it_away() {
        let text = "driver = \"x\"\ntried = \"no\"\n[rings]\nrx = { value = 7, why = \"\" }\n\
                    tx = { value = \"leave\", why = \"\" }";
        let profile = Profile::parse(text).unwrap();
        let rings: Vec<_> = profile
            .rings
            .iter()
            .map(|(k, line)| (&**k, line.value.text()))
            .collect();
        assert_eq!(rings, [("rx", "7".to_owned())]);
        assert!(profile.features.contains_key("large-receive-offload"));
    }

    #[test]
    fn what_a_profile_says_wrong_is_named() {
        for (text, part) in [
            ("driver = \"x\"", "tried"),
            ("driver = \"x\"\ntried = \"no\"\n[ring]", "ring"),
            (
                "driver = \"x\"\ntried = \"no\"\n[rings]\nrx = { value = 1 }",
                "why",
            ),
        ] {
            let error = format!("{:#}", Profile::parse(text).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
        let error = Profile::of("tg3").unwrap_err().to_string();
        assert!(error.contains("tg3") && error.contains("ixgbe"), "{error}");
    }
}
