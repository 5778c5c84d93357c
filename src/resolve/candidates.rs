//! Which versions of a project one target can install, and why it cannot install the others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use pubgrub::Ranges;

use super::memo::Catalog;
use super::versions::is_pin;
use crate::fit::Available;
use crate::index::IndexFile;
use crate::lockfile::rank;
use crate::pep::{Tags, Version, VersionSpecifiers, public_version};
use crate::target::Target;

/// What of a target decides which wheels it can install.
pub(super) struct Floor {
    pub(super) target: Target,
    pub(super) tags: Tags,
    /// The full Python version without pre-release parts: a release candidate counts as its release.
    pub(super) python: Version,
}

impl Floor {
    pub(super) fn new(target: Target, full: &Version) -> Self {
        Self {
            target,
            tags: target.tags(),
            python: full.only_release(),
        }
    }
}

/// A version with wheels that the target can install.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Positions on the page, the wheel that the target installs first.
    wheels: Vec<usize>,
    /// Why it was yanked, where every such wheel was.
    pub(super) yanked: Option<String>,
}

/// Why a target cannot install a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exclusion {
    /// No wheel fits its tags.
    NoWheel(Available),
    /// Its Python is outside `Requires-Python`.
    RequiresPython(VersionSpecifiers),
    /// It was yanked, and nothing pins it.
    Yanked(String),
    /// It is a pre-release, and nobody asked for one.
    PreRelease,
    /// It was uploaded at this time, which is too late.
    TooNew(String),
    /// Its metadata cannot be understood; what is wrong with it.
    BadMetadata(String),
    /// It needs something by URL or path; the requirement as written.
    DirectUrl(String),
    /// Its metadata is that of another package or version, which it names.
    OtherMetadata(String),
}

impl fmt::Display for Exclusion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWheel(available) => write!(formatter, "has no wheel for {available}"),
            Self::RequiresPython(specifiers) => write!(formatter, "requires Python {specifiers}"),
            Self::Yanked(reason) if reason.is_empty() => formatter.write_str("was yanked"),
            Self::Yanked(reason) => write!(formatter, "was yanked ({reason})"),
            Self::PreRelease => formatter.write_str("is a pre-release, which your requirements do not ask for"),
            Self::TooNew(time) => write!(formatter, "was uploaded at {time}, which exclude-newer leaves out"),
            Self::BadMetadata(why) => write!(formatter, "has metadata that cannot be understood ({why})"),
            Self::DirectUrl(requirement) => {
                write!(
                    formatter,
                    "needs `{requirement}`, and only your own requirements may name a wheel by URL or path"
                )
            }
            Self::OtherMetadata(other) => write!(formatter, "has metadata that calls itself {other}"),
        }
    }
}

/// The versions of one project as one target sees them.
#[derive(Debug)]
pub(super) struct Candidates {
    pub(super) catalog: Arc<Catalog>,
    usable: BTreeMap<Version, Candidate>,
    excluded: BTreeMap<Version, Refusal>,
    lowest: bool,
}

/// An [`Exclusion`] before anyone asked for its details.
#[derive(Debug)]
enum Refusal {
    NoWheel,
    RequiresPython(VersionSpecifiers),
    PreRelease,
}

impl Candidates {
    /// `pre_releases`: whether pre-releases may be chosen although stable versions exist; `lowest`: whether the lowest
    /// version is wanted.
    pub(super) fn new(catalog: Arc<Catalog>, floor: &Floor, pre_releases: bool, lowest: bool) -> Self {
        let mut usable = BTreeMap::new();
        let mut excluded = BTreeMap::new();
        for (version, positions) in &catalog.versions {
            let verdict = if version.any_prerelease() && !pre_releases {
                Err(Refusal::PreRelease)
            } else {
                examine(&catalog, positions, floor)
            };
            match verdict {
                Ok(candidate) => {
                    usable.insert(version.clone(), candidate);
                }
                Err(exclusion) => {
                    excluded.insert(version.clone(), exclusion);
                }
            }
        }
        Self {
            catalog,
            usable,
            excluded,
            lowest,
        }
    }

    /// The version to try: a preferred one where it fits (earlier sets of `preferred` count more), else the newest (or
    /// the lowest).
    /// A yanked version is taken only where `set` pins it or it is preferred.
    pub(super) fn choose(&self, set: &Ranges<Version>, preferred: &[BTreeSet<Version>]) -> Option<&Version> {
        let wanted = preferred.iter().find_map(|versions| {
            self.usable
                .keys()
                .rev()
                .find(|v| versions.contains(*v) && set.contains(*v))
        });
        wanted.or_else(|| {
            let pinned = is_pin(set);
            let fits = |(version, candidate): &(&Version, &Candidate)| {
                set.contains(*version) && (candidate.yanked.is_none() || pinned)
            };
            let found = if self.lowest {
                self.lowest_of(fits)
            } else {
                self.usable.iter().rev().find(fits)
            };
            found.map(|(version, _)| version)
        })
    }

    /// The lowest public version that `fits`, with the highest of its local labels: `==2.7.0` means `2.7.0+cu118` on a
    /// page that has both, whichever end of the list is wanted.
    fn lowest_of(&self, fits: impl Fn(&(&Version, &Candidate)) -> bool) -> Option<(&Version, &Candidate)> {
        let public = public_version(self.usable.iter().find(&fits)?.0);
        let labels = self.usable.iter().filter(&fits);
        labels
            .take_while(|(version, _)| public_version(version) == public)
            .last()
    }

    pub(super) fn get(&self, version: &Version) -> Option<&Candidate> {
        self.usable.get(version)
    }

    /// The wheels of `version` that the target can install, the one it does install first.
    pub(super) fn wheels(&self, version: &Version) -> impl Iterator<Item = &IndexFile> {
        let positions = self.usable.get(version).map_or(&[][..], |candidate| &candidate.wheels);
        positions.iter().map(|position| &self.catalog.page.wheels[*position])
    }

    /// Why the newest version of `set` that the page lists cannot be chosen; none where the page lists none.
    pub(super) fn why_not(&self, set: &Ranges<Version>, floor: &Floor) -> Option<(&Version, Exclusion)> {
        let within = |version: &&Version| set.contains(*version);
        let Some(version) = self.catalog.versions.keys().rev().find(within) else {
            let (version, time) = self
                .catalog
                .too_new
                .iter()
                .rev()
                .find(|(version, _)| set.contains(*version))?;
            return Some((version, Exclusion::TooNew(time.clone())));
        };
        let positions = &self.catalog.versions[version];
        let exclusion = match (self.excluded.get(version), self.usable.get(version)) {
            (Some(Refusal::NoWheel), _) => {
                let wheels = positions
                    .iter()
                    .map(|position| &self.catalog.page.wheels[*position].filename);
                Exclusion::NoWheel(Available::of(wheels, &floor.target))
            }
            (Some(Refusal::RequiresPython(python)), _) => Exclusion::RequiresPython(python.clone()),
            (Some(Refusal::PreRelease), _) => Exclusion::PreRelease,
            (None, Some(candidate)) => Exclusion::Yanked(candidate.yanked.clone()?),
            (None, None) => return None,
        };
        Some((version, exclusion))
    }
}

/// The wheel that a target would install of one version.
pub(super) fn first_wheel<'c>(catalog: &'c Catalog, version: &Version, floor: &Floor) -> Option<&'c IndexFile> {
    let candidate = examine(catalog, catalog.versions.get(version)?, floor).ok()?;
    candidate.wheels.first().map(|position| &catalog.page.wheels[*position])
}

fn examine(catalog: &Catalog, positions: &[usize], floor: &Floor) -> Result<Candidate, Refusal> {
    let wheel = |position: usize| &catalog.page.wheels[position];
    let mut fitting = positions.to_vec();
    fitting.retain(|position| wheel(*position).filename.is_compatible(&floor.tags));
    if fitting.is_empty() {
        return Err(Refusal::NoWheel);
    }
    let asked = |position: &usize| wheel(*position).requires_python.as_ref();
    let refused = fitting.iter().find_map(asked).cloned();
    fitting.retain(|position| asked(position).is_none_or(|python| python.contains(&floor.python)));
    if fitting.is_empty() {
        return Err(Refusal::RequiresPython(
            refused.unwrap_or_else(VersionSpecifiers::empty),
        ));
    }
    let reasons: Option<Vec<&String>> = fitting
        .iter()
        .map(|position| wheel(*position).yanked.as_ref())
        .collect();
    let yanked = reasons.and_then(|reasons| reasons.first().map(|reason| (*reason).clone()));
    if yanked.is_none() {
        fitting.retain(|position| wheel(*position).yanked.is_none());
    }
    fitting.sort_by_key(|position| Reverse(rank(&wheel(*position).filename, &wheel(*position).file, &floor.tags)));
    // One file may be listed twice, by two links; whether the two agree is checked when digests are written down.
    fitting.dedup_by_key(|position| (wheel(*position).file.as_str(), wheel(*position).digest));
    Ok(Candidate {
        wheels: fitting,
        yanked,
    })
}
