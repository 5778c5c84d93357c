//! How the versions of a lockfile were chosen, beyond its requirements: keys of `[tool.flambeau]`.
//!
//! A key that says nothing out of the ordinary is left out, so that plain lockfiles stay plain.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::staleness::{Difference, canonical_text};
use super::text::{array, line, quoted};
use crate::pep::{ExtraName, GroupName};
use crate::policy::{Cutoff, PreReleases, Versions};
use crate::target::Target;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Settings {
    /// The project's extras whose requirements are among those of the file.
    pub extras: BTreeSet<ExtraName>,
    /// The project's dependency groups (PEP 735) whose requirements are among those of the file.
    pub groups: BTreeSet<GroupName>,
    /// Limits on versions that do not make a package wanted, as PEP 508 text in the order of the project.
    pub constraints: Vec<String>,
    /// What replaces that which packages say about a name, as PEP 508 text in the order of the project.
    pub overrides: Vec<String>,
    /// Newest or lowest.
    #[serde(rename = "resolution")]
    pub versions: Versions,
    /// Whether pre-releases may be chosen.
    pub pre_releases: PreReleases,
    /// From when on uploads do not count.
    pub exclude_newer: Option<Cutoff>,
    /// Whether the file's `requires-python` is the project's although it says no more than the targets do, so that it is
    /// noticed when the project's goes.
    #[serde(rename = "requires-python-is-stated")]
    pub python_is_stated: bool,
    /// Whether a target for which something has no wheel is left out: nobody named both its Python and its platform.
    pub optional_targets: bool,
    /// The targets that were left out so.
    pub left_out: BTreeSet<Target>,
    /// Files for which the index stated no digest: theirs is that of what was downloaded when the file was locked.
    pub hashed_by_download: BTreeSet<String>,
}

impl Settings {
    /// Where `wanted` asks for another way to choose versions than this one.
    pub(super) fn differences(&self, wanted: &Self) -> Vec<Difference> {
        let said = |settings: &Self| {
            let canonical = |texts: &[String]| {
                let texts: BTreeSet<String> = texts.iter().map(|text| canonical_text(text)).collect();
                joined(texts.iter())
            };
            [
                ("extras", joined(settings.extras.iter())),
                ("groups", joined(settings.groups.iter())),
                ("constraints", canonical(&settings.constraints)),
                ("overrides", canonical(&settings.overrides)),
                ("resolution", settings.versions.as_str().to_owned()),
                ("pre-releases", settings.pre_releases.as_str().to_owned()),
                ("exclude-newer", joined(settings.exclude_newer.iter())),
            ]
        };
        let pairs = said(self).into_iter().zip(said(wanted));
        pairs
            .filter(|((_, locked), (_, wanted))| locked != wanted)
            .map(|((key, locked), (_, wanted))| Difference::Setting { key, locked, wanted })
            .collect()
    }

    pub(super) fn write(&self, text: &mut String) {
        let strings = |text: &mut String, key, items: Vec<String>| {
            if !items.is_empty() {
                line(
                    text,
                    key,
                    &array(&items.iter().map(|item| quoted(item)).collect::<Vec<_>>()),
                );
            }
        };
        strings(text, "extras", self.extras.iter().map(ToString::to_string).collect());
        strings(text, "groups", self.groups.iter().map(ToString::to_string).collect());
        strings(text, "constraints", self.constraints.clone());
        strings(text, "overrides", self.overrides.clone());
        if self.versions != Versions::default() {
            line(text, "resolution", &quoted(self.versions.as_str()));
        }
        if self.pre_releases != PreReleases::default() {
            line(text, "pre-releases", &quoted(self.pre_releases.as_str()));
        }
        if let Some(cutoff) = self.exclude_newer {
            line(text, "exclude-newer", &quoted(&cutoff.to_string()));
        }
        if self.python_is_stated {
            line(text, "requires-python-is-stated", "true");
        }
        if self.optional_targets {
            line(text, "optional-targets", "true");
        }
        strings(
            text,
            "left-out",
            self.left_out.iter().map(ToString::to_string).collect(),
        );
        strings(
            text,
            "hashed-by-download",
            self.hashed_by_download.iter().cloned().collect(),
        );
    }
}

fn joined(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
