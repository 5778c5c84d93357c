//! What an environment key covers, as people see it: to say what differs between two keys.
//!
//! A key is a digest and tells nothing. What it was made from is known from a lockfile, from the state of a built
//! environment, and in short from `keys.json`, which keeps the first digits of every wheel's digest.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Lockfile, SelectError};
use crate::env::state::EnvironmentState;
use crate::target::Target;

/// Digits of a wheel's digest that `keys.json` keeps: enough to tell wheels apart, too few to vouch for one.
pub const SHORT: usize = 16;

/// What one key covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// `CUDA`, `ROCm` or `CPU`.
    pub backend: String,
    /// The channel.
    pub channel: String,
    /// The platform with its floor.
    pub platform: String,
    /// `3.11`, or the full version where it is pinned.
    pub python: String,
    /// By normalised name.
    pub packages: BTreeMap<String, Pin>,
}

/// One package of [`Inputs`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Its version, local label included.
    pub version: String,
    /// The wheel's SHA-256, or its first digits.
    pub sha256: String,
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputChange {
    /// `backend`, `channel`, `platform`, `python`, `version` or `sha256`.
    pub what: &'static str,
    /// The package, where it is one's version or wheel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// As the expected key has it; none where it has no such package.
    pub expected: Option<String>,
    /// As it is; none where there is no such package.
    pub found: Option<String>,
}

impl std::fmt::Display for InputChange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let none = || "none".to_owned();
        let (expected, found) = (self.expected.clone(), self.found.clone());
        match (&self.package, self.what) {
            (Some(package), "sha256") => write!(formatter, "sha256 of {package}")?,
            (Some(package), _) => formatter.write_str(package)?,
            (None, what) => formatter.write_str(what)?,
        }
        write!(
            formatter,
            " {} -> {}",
            expected.unwrap_or_else(none),
            found.unwrap_or_else(none)
        )
    }
}

impl Inputs {
    /// What the key of a lockfile's target covers.
    pub fn of_lockfile(lockfile: &Lockfile, target: &Target) -> Result<Self, SelectError> {
        let locked = lockfile.locked_target(target)?;
        let packages = lockfile.select(target)?.into_iter().map(|selected| {
            let pin = Pin {
                version: selected.package.version.to_string(),
                sha256: selected.wheel.digest.to_string(),
            };
            (selected.package.name.to_string(), pin)
        });
        Ok(Self {
            backend: locked.backend.to_string(),
            channel: lockfile.channel.to_string(),
            platform: target.platform.to_string(),
            python: if locked.python_pinned {
                locked.python_full_version.to_string()
            } else {
                target.python.to_string()
            },
            packages: packages.collect(),
        })
    }

    /// What the key of a built environment covers. The names of its trees begin with the wheels' digests; an
    /// environment of an older flambeau does not name them.
    #[must_use]
    pub fn of_state(state: &EnvironmentState) -> Self {
        let pins = state.installed_packages.iter().filter_map(|pin| pin.split_once("=="));
        let digest = |name: &str, version: &str| {
            let end = format!("-{}-{version}-", name.replace('-', "_"));
            let tree = state
                .trees
                .iter()
                .find(|tree| tree.get(40..).is_some_and(|rest| rest.starts_with(&end)));
            tree.map(|tree| tree[..40].to_owned()).unwrap_or_default()
        };
        let packages = pins.map(|(name, version)| {
            let (version, sha256) = (version.to_owned(), digest(name, version));
            (name.to_owned(), Pin { version, sha256 })
        });
        Self {
            backend: state.installed_backend.to_string(),
            channel: state.channel.to_string(),
            platform: state.target.platform.to_string(),
            python: state.target.python.to_string(),
            packages: packages.collect(),
        }
    }

    /// What turns the expected inputs into `found`. Other wheels of the same versions are named only where Python and
    /// platform are the same: where they are not, most wheels are others.
    #[must_use]
    pub fn changes(&self, found: &Self) -> Vec<InputChange> {
        let mut changes = Vec::new();
        for (what, one, other) in [
            ("backend", &self.backend, &found.backend),
            ("channel", &self.channel, &found.channel),
            ("platform", &self.platform, &found.platform),
            ("python", &self.python, &found.python),
        ] {
            if one != other {
                changes.push(InputChange {
                    what,
                    package: None,
                    expected: Some(one.clone()),
                    found: Some(other.clone()),
                });
            }
        }
        let same_place = (&self.platform, &self.python) == (&found.platform, &found.python);
        let mut names: Vec<&String> = self.packages.keys().chain(found.packages.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let (one, other) = (self.packages.get(name), found.packages.get(name));
            let version = |pin: Option<&Pin>| pin.map(|pin| pin.version.clone());
            let (before, after) = (version(one), version(other));
            if before != after {
                changes.push(InputChange {
                    what: "version",
                    package: Some(name.clone()),
                    expected: before,
                    found: after,
                });
            } else if let (Some(one), Some(other)) = (one, other)
                && same_place
                && !same_digest(&one.sha256, &other.sha256)
            {
                changes.push(InputChange {
                    what: "sha256",
                    package: Some(name.clone()),
                    expected: Some(one.sha256.clone()),
                    found: Some(other.sha256.clone()),
                });
            }
        }
        changes
    }
}

/// Compares as many digits as both have.
fn same_digest(one: &str, other: &str) -> bool {
    let digits = one.len().min(other.len());
    one.get(..digits) == other.get(..digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(python: &str, packages: &[(&str, &str, &str)]) -> Inputs {
        let pin = |(name, version, sha256): &(&str, &str, &str)| {
            let (version, sha256) = ((*version).to_owned(), (*sha256).to_owned());
            ((*name).to_owned(), Pin { version, sha256 })
        };
        Inputs {
            backend: "CUDA".to_owned(),
            channel: "cu118".to_owned(),
            platform: "manylinux_2_28_x86_64".to_owned(),
            python: python.to_owned(),
            packages: packages.iter().map(pin).collect(),
        }
    }

    #[test]
    fn everything_that_a_key_covers_can_differ() {
        let expected = inputs("3.11", &[("a", "1", "aa"), ("b", "1", "bbbb"), ("gone", "1", "cc")]);
        let mut found = inputs("3.11", &[("a", "1", "ad"), ("b", "1", "bb"), ("new", "2", "dd")]);
        let said = |found: &Inputs| {
            expected
                .changes(found)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            said(&found),
            ["sha256 of a aa -> ad", "gone 1 -> none", "new none -> 2"]
        );
        found.python = "3.12".to_owned();
        found.channel = "cpu".to_owned();
        found.backend = "CPU".to_owned();
        assert_eq!(
            said(&found),
            [
                "backend CUDA -> CPU",
                "channel cu118 -> cpu",
                "python 3.11 -> 3.12",
                "gone 1 -> none",
                "new none -> 2"
            ]
        );
        assert!(expected.changes(&expected).is_empty());
    }
}
