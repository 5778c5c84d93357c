//! Whether a lockfile still answers what is asked, decided offline.
//!
//! A lockfile is stale when its requirements, its channel, its targets or its `requires-python` differ from what is wanted. What the index
//! offers by now does not matter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Lockfile, Settings};
use crate::backend::Channel;
use crate::digest::{Hasher, RequirementsDigest};
use crate::pep::{PackageName, Requirement, Version, VersionOrUrl, VersionSpecifiers};
use crate::python::is_same;
use crate::requirement;
use crate::target::Target;

/// Something that makes a lockfile stale.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// The file is for another channel.
    Channel {
        /// The file's.
        locked: Channel,
        /// The wanted one.
        wanted: Channel,
    },
    /// This requirement is wanted, and the file was not resolved for it.
    RequirementMissing(String),
    /// The file was resolved for this requirement and has no package for it: it was cut or edited.
    Unpinned(String),
    /// The file was resolved for this requirement, which is no longer wanted.
    RequirementSurplus(String),
    /// This target is wanted, and the file has nothing for it.
    TargetMissing(Target),
    /// The file has this target, which is no longer wanted.
    TargetSurplus(Target),
    /// How versions are chosen has changed.
    Setting {
        /// The key of `[tool.flambeau]`.
        key: &'static str,
        /// What the file was made with; empty for nothing.
        locked: String,
        /// What is wanted; empty for nothing.
        wanted: String,
    },
    /// The project pins (or no longer pins) the patch level of Python that the file was made for.
    PythonPin {
        /// The target.
        target: Target,
        /// The pinned version, where one is pinned.
        wanted: Option<Version>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel { locked, wanted } => {
                write!(formatter, "it is for the channel {locked}, and {wanted} is wanted")
            }
            Self::RequirementMissing(text) => write!(formatter, "`{text}` is required, and not in it"),
            Self::Unpinned(text) => write!(formatter, "`{text}` is required, and no package in it is for that"),
            Self::RequirementSurplus(text) => write!(formatter, "`{text}` is in it, and no longer required"),
            Self::TargetMissing(target) => write!(formatter, "{target} is wanted, and not in it"),
            Self::TargetSurplus(target) => write!(formatter, "{target} is in it, and no longer wanted"),
            Self::Setting { key, locked, wanted } => {
                let said = |text: &String| {
                    if text.is_empty() {
                        "none".to_owned()
                    } else {
                        text.clone()
                    }
                };
                write!(
                    formatter,
                    "`{key}` is {} in it, and {} is wanted",
                    said(locked),
                    said(wanted)
                )
            }
            Self::PythonPin {
                target,
                wanted: Some(wanted),
            } => {
                write!(
                    formatter,
                    "Python {wanted} is pinned, and {target} was locked for another"
                )
            }
            Self::PythonPin { target, wanted: None } => {
                write!(
                    formatter,
                    "{target} was locked for one patch level of Python, and none is pinned"
                )
            }
        }
    }
}

/// What is wanted of a lockfile.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The requirements, in any order.
    pub requirements: &'a [Requirement],
    /// The channel; none where any will do.
    pub channel: Option<&'a Channel>,
    /// The targets, in any order; none where the file's own will do.
    pub targets: Option<&'a [Target]>,
    /// The project's `requires-python`; none where it has none, and then that of the targets counts.
    pub requires_python: Option<&'a VersionSpecifiers>,
    /// How versions are to be chosen; none where any way will do. What only a resolution tells does not count.
    pub settings: Option<&'a Settings>,
}

impl Lockfile {
    /// What makes this lockfile stale, sorted; nothing where it is current. Spelling and order do not matter.
    #[must_use]
    pub fn staleness(&self, wanted: &Wanted<'_>) -> Vec<Difference> {
        let mut differences = BTreeSet::new();
        if let Some(channel) = wanted.channel.filter(|channel| **channel != self.channel) {
            differences.insert(Difference::Channel {
                locked: self.channel.clone(),
                wanted: channel.clone(),
            });
        }
        // Compared in canonical form, shown as written.
        let locked: BTreeMap<String, &String> = self
            .requirements
            .iter()
            .map(|text| (canonical_text(text), text))
            .collect();
        let asked: BTreeMap<String, String> = wanted
            .requirements
            .iter()
            .map(|requirement| (canonical(requirement), requirement::text(requirement)))
            .collect();
        for (key, text) in &asked {
            if !locked.contains_key(key) {
                differences.insert(Difference::RequirementMissing(text.clone()));
            }
        }
        let pinned: BTreeSet<&PackageName> = self.packages.iter().map(|package| &package.name).collect();
        for requirement in wanted.requirements {
            let applies = self.targets.iter().any(|locked| {
                let markers = locked.target.markers(&locked.python_full_version);
                requirement.marker.evaluate(&markers, &[])
            });
            if applies && !pinned.contains(&requirement.name) && locked.contains_key(&canonical(requirement)) {
                differences.insert(Difference::Unpinned(requirement::text(requirement)));
            }
        }
        for (key, text) in &locked {
            if !asked.contains_key(key) {
                differences.insert(Difference::RequirementSurplus((*text).clone()));
            }
        }
        if let Some(targets) = wanted.targets {
            let locked: BTreeSet<Target> = self.targets.iter().map(|locked| locked.target).collect();
            let asked: BTreeSet<Target> = targets.iter().copied().collect();
            differences.extend(asked.difference(&locked).copied().map(Difference::TargetMissing));
            differences.extend(locked.difference(&asked).copied().map(Difference::TargetSurplus));
        }
        let oldest = self.oldest_python();
        let (locked, asked) = (
            self.requires_python.as_ref(),
            wanted.requires_python.or(oldest.as_ref()),
        );
        let same = match (locked, asked) {
            (Some(locked), Some(asked)) => is_same(locked, asked),
            // A file that says nothing suits a project that says nothing.
            _ => wanted.requires_python.is_none(),
        };
        let same = same && !self.lost_requires_python(wanted.requires_python);
        if !same {
            let text = |specifiers: Option<&VersionSpecifiers>| specifiers.map(ToString::to_string).unwrap_or_default();
            differences.insert(Difference::Setting {
                key: "requires-python",
                locked: text(locked),
                // Where the project says nothing, that of the targets is compared; nobody wants it.
                wanted: text(wanted.requires_python),
            });
        }
        if let Some(settings) = wanted.settings {
            differences.extend(self.settings.differences(settings));
        }
        differences.into_iter().collect()
    }
}

impl Lockfile {
    /// Whether the file was made for a `requires-python` of the project, and the project has none now.
    #[must_use]
    pub fn lost_requires_python(&self, wanted: Option<&VersionSpecifiers>) -> bool {
        self.settings.python_is_stated && wanted.is_none()
    }
}

/// The digest of requirements whatever their order and spelling: SHA-256 over their canonical forms, sorted, each
/// once, each followed by a line feed.
#[must_use]
pub fn requirements_digest(requirements: &[String]) -> RequirementsDigest {
    let canonical: BTreeSet<String> = requirements.iter().map(|text| canonical_text(text)).collect();
    let mut hasher = Hasher::new();
    for line in canonical {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    RequirementsDigest::from_bytes(hasher.finish())
}

/// The canonical form of a requirement; text that is none stands for itself.
pub(super) fn canonical_text(text: &str) -> String {
    requirement::parse(text).map_or_else(|_| text.to_owned(), |requirement| canonical(&requirement))
}

/// `name[extra,extra]==1,>0 ; marker`, with normalised names and everything sorted.
fn canonical(requirement: &Requirement) -> String {
    let mut text = requirement.name.to_string();
    let extras: BTreeSet<String> = requirement.extras.iter().map(ToString::to_string).collect();
    if !extras.is_empty() {
        text.push('[');
        text.push_str(&extras.into_iter().collect::<Vec<_>>().join(","));
        text.push(']');
    }
    match &requirement.version_or_url {
        None => {}
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => {
            let specifiers: BTreeSet<String> = specifiers.iter().map(ToString::to_string).collect();
            text.push_str(&specifiers.into_iter().collect::<Vec<_>>().join(","));
        }
        Some(VersionOrUrl::Url(_)) => {
            text.push_str(" @ ");
            text.push_str(&requirement::place_text(requirement).unwrap_or_default());
        }
    }
    if let Some(marker) = requirement.marker.try_to_string() {
        text.push_str(" ; ");
        text.push_str(&marker);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lockfile(requirements: &[&str], targets: &[&str]) -> Lockfile {
        let text = format!(
            "lock-version = \"1.0\"\ncreated-by = \"x\"\npackages = []\n[tool.flambeau]\nschema = 1\nchannel = \"cu118\"\n\
             requirements = {requirements:?}\n"
        );
        let mut lockfile = crate::lockfile::text::parse(&text, &Channel::pip())
            .expect("a lockfile")
            .lockfile;
        for text in requirements {
            let requirement: Requirement = text.parse().expect("a requirement");
            lockfile.packages.push(crate::lockfile::LockedPackage {
                name: requirement.name,
                version: "1".parse().expect("a version"),
                marker: crate::pep::MarkerTree::TRUE,
                requires_python: None,
                dependencies: Vec::new(),
                wheels: Vec::new(),
            });
        }
        for target in targets {
            lockfile.targets.push(crate::lockfile::LockedTarget {
                target: target.parse().expect("a target"),
                python_full_version: "3.11.7".parse().expect("a version"),
                python_boundaries: Vec::new(),
                backend: crate::backend::Backend::Cuda,
                python_pinned: false,
            });
        }
        lockfile
    }

    #[test]
    fn only_differences_in_meaning_count() {
        let lockfile = lockfile(
            &["torch==2.7.0", "A_b [y,x] >=1, <2 ; python_version<'3.12'"],
            &["cp311-linux_x86_64", "cp312-linux_x86_64"],
        );
        let said = |requirements: &[&str], channel: &str, targets: &[&str]| -> Vec<String> {
            let requirements: Vec<Requirement> = requirements
                .iter()
                .map(|text| text.parse().expect("a requirement"))
                .collect();
            let targets: Vec<Target> = targets.iter().map(|text| text.parse().expect("a target")).collect();
            let wanted = Wanted {
                requirements: &requirements,
                channel: Some(&channel.parse().expect("a channel")),
                targets: (!targets.is_empty()).then_some(&targets),
                requires_python: None,
                settings: None,
            };
            lockfile.staleness(&wanted).iter().map(ToString::to_string).collect()
        };
        let mut cut = lockfile.clone();
        cut.packages.remove(0);
        let (all, channel) = (
            ["torch==2.7.0".parse().expect("a requirement")],
            "cu118".parse().expect("a channel"),
        );
        let wanted = Wanted {
            requirements: &all,
            channel: Some(&channel),
            targets: None,
            requires_python: None,
            settings: None,
        };
        assert_eq!(
            cut.staleness(&wanted)[0],
            Difference::Unpinned("torch==2.7.0".to_owned())
        );
        let same = [
            "a-B[x, y]<2,>=1; python_full_version < '3.12'",
            "torch == 2.7.0",
            "torch==2.7.0",
        ];
        assert_eq!(said(&same, "cu118", &[]), [""; 0]);
        assert_eq!(
            said(&same, "cu118", &["cp312-linux_x86_64", "cp311-linux_x86_64"]),
            [""; 0]
        );
        assert_eq!(
            said(
                &["torch==2.7.1", same[0]],
                "cpu",
                &["cp312-linux_x86_64", "cp313-linux_x86_64"]
            ),
            [
                "it is for the channel cu118, and cpu is wanted",
                "`torch==2.7.1` is required, and not in it",
                "`torch==2.7.0` is in it, and no longer required",
                "cp313-manylinux_2_28_x86_64 is wanted, and not in it",
                "cp311-manylinux_2_28_x86_64 is in it, and no longer wanted",
            ]
        );
    }

    #[test]
    fn another_way_to_choose_versions_counts() {
        let mut lockfile = lockfile(&[], &[]);
        lockfile.settings = Settings {
            constraints: vec!["numpy<2".to_owned(), "a".to_owned()],
            exclude_newer: "2025-05-01".parse().ok(),
            // What a resolution found out is nobody's wish.
            optional_targets: true,
            hashed_by_download: ["x".to_owned()].into(),
            ..Settings::default()
        };
        let said = |settings: &Settings| -> Vec<String> {
            let wanted = Wanted {
                requirements: &[],
                channel: None,
                targets: None,
                requires_python: None,
                settings: Some(settings),
            };
            lockfile.staleness(&wanted).iter().map(ToString::to_string).collect()
        };
        let same = Settings {
            constraints: vec!["a".to_owned(), "NumPy < 2".to_owned()],
            exclude_newer: "2025-05-02T00:00:00Z".parse().ok(),
            ..Settings::default()
        };
        assert_eq!(said(&same), [""; 0]);
        let other = Settings {
            overrides: vec!["b==1".to_owned()],
            versions: crate::policy::Versions::LowestDirect,
            ..Settings::default()
        };
        assert_eq!(
            said(&other),
            [
                "`constraints` is a, numpy<2 in it, and none is wanted",
                "`exclude-newer` is 2025-05-02T00:00:00Z in it, and none is wanted",
                "`overrides` is none in it, and b==1 is wanted",
                "`resolution` is highest in it, and lowest-direct is wanted",
            ]
        );
    }

    #[test]
    fn another_requires_python_counts() {
        let mut lockfile = lockfile(&[], &["cp311-linux_x86_64", "cp312-linux_x86_64"]);
        let said = |lockfile: &Lockfile, wanted: Option<&str>| -> Vec<String> {
            let specifiers: Option<VersionSpecifiers> = wanted.map(|text| text.parse().expect("specifiers"));
            let wanted = Wanted {
                requirements: &[],
                channel: None,
                targets: None,
                requires_python: specifiers.as_ref(),
                settings: None,
            };
            lockfile.staleness(&wanted).iter().map(ToString::to_string).collect()
        };
        assert_eq!(said(&lockfile, None), [""; 0]);
        let none = "`requires-python` is none in it, and <3.13, >=3.11 is wanted";
        assert_eq!(
            said(&lockfile, Some(">=3.11,<3.13"))[0].replace(">=3.11, <3.13", "<3.13, >=3.11"),
            none
        );
        lockfile.requires_python = lockfile.oldest_python();
        assert_eq!(said(&lockfile, None), [""; 0]);
        assert_eq!(said(&lockfile, Some(">=3.11")), [""; 0]);
        assert_eq!(
            said(&lockfile, Some("<3.12")),
            ["`requires-python` is >=3.11 in it, and <3.12 is wanted"]
        );
        lockfile.requires_python = "<3.13,>=3.11".parse().ok();
        assert_eq!(said(&lockfile, Some(">=3.11, <3.13")), [""; 0]);
        assert_eq!(said(&lockfile, None).len(), 1);
    }

    #[test]
    fn digest_of_requirements_is_fixed() {
        let digest = |requirements: &[&str]| {
            requirements_digest(&requirements.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            digest(&["torch==2.7.0", "numpy"]),
            RequirementsDigest::of(b"numpy\ntorch==2.7.0\n")
        );
        assert_eq!(
            digest(&["NumPy", "torch == 2.7.0", "numpy"]),
            digest(&["torch==2.7.0", "numpy"])
        );
        assert_ne!(digest(&["torch==2.7.0"]), digest(&["torch==2.7.1"]));
    }
}
