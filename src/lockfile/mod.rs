//! The lockfile: PEP 751 `pylock.<name>.toml`, its model and the choice of wheels for one target.
//!
//! Owns: what a lockfile says, as types; which wheel of it a target installs. Its text form is in [`text`].
//! Refuses: wheels without a SHA-256, packages without a version, anything that is not a wheel.
//!
//! Goals, in this order: complete (every wheel a declared target could use, each with its digest), checkable without
//! network, the same behind every mirror, small differences between versions, byte-reproducible.

use std::collections::{BTreeMap, BTreeSet};

use crate::backend::{Backend, Channel, is_family};
use crate::digest::WheelDigest;
use crate::fit::Available;
use crate::pep::{
    BuildTag, MarkerTree, PackageName, TagCompatibility, TagPriority, Tags, Version, VersionSpecifier,
    VersionSpecifiers, WheelFilename,
};
use crate::requirement;
use crate::target::Target;

pub mod foreign;
pub mod inputs;
pub mod keys;
pub(crate) mod markers;
mod raw;
mod read;
mod read_error;
mod settings;
pub mod staleness;
pub mod text;

pub use settings::Settings;

/// A parsed lockfile. Packages are sorted by name, then version; targets as [`Target`] orders them.
#[derive(Debug, Clone, PartialEq)]
pub struct Lockfile {
    /// Comment lines at the head of the file, verbatim, `#` included.
    pub head: String,
    /// The channel that the PyTorch family comes from.
    pub channel: Channel,
    /// What was asked for, as PEP 508 text in the order of asking; empty in lockfiles that other tools made.
    pub requirements: Vec<String>,
    /// The targets that this file was resolved for.
    pub targets: Vec<LockedTarget>,
    /// The pinned packages.
    pub packages: Vec<LockedPackage>,
    /// The `requires-python` of the whole file.
    pub requires_python: Option<VersionSpecifiers>,
    /// How versions were chosen.
    pub settings: Settings,
}

/// One target of a lockfile.
#[derive(Debug, Clone, PartialEq)]
pub struct LockedTarget {
    /// The target.
    pub target: Target,
    /// The full Python version that markers were evaluated with, e.g. `3.11.14`.
    pub python_full_version: Version,
    /// Patch levels of this minor version at which a marker of the resolution changes its value. A host whose patch
    /// level lies on the other side of one of them than `python_full_version` would need other packages.
    pub python_boundaries: Vec<Version>,
    /// The backend of the torch that this target installs.
    pub backend: Backend,
    /// Whether the project pins the patch level: then the key covers `python_full_version`, and only that Python fits.
    pub python_pinned: bool,
}

/// One pinned package.
#[derive(Debug, Clone, PartialEq)]
pub struct LockedPackage {
    /// Normalised name.
    pub name: PackageName,
    /// The one version chosen, local label included.
    pub version: Version,
    /// Where it applies; true everywhere where all targets have it.
    pub marker: MarkerTree,
    /// The package's own `Requires-Python`.
    pub requires_python: Option<VersionSpecifiers>,
    /// Normalised names of the packages it needs on some target, sorted (PEP 751 `dependencies`).
    pub dependencies: Vec<PackageName>,
    /// Every wheel of this version that a declared target could use, sorted by file name.
    pub wheels: Vec<LockedWheel>,
}

/// One wheel of a pinned package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedWheel {
    /// The file name, with `+` and not `%2B`.
    pub filename: WheelFilename,
    /// The file name as the index wrote it; [`WheelFilename`] normalises.
    pub file: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Size in bytes, where the index or a response told it.
    pub size: Option<u64>,
    /// SHA-256 of the file.
    pub digest: WheelDigest,
}

/// Where a wheel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The package index of the machine that fetches, whichever that is: found there by name and digest. Written as
    /// `path = "../cache/wheels/<sha256>/<file>"`, which is never opened.
    Index,
    /// A URL: a channel's canonical one, or what another tool wrote.
    Url(url::Url),
    /// A file on this machine: absolute, or relative to the lockfile's folder.
    Path(String),
}

/// The wheel that a target installs for one package.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selected<'a> {
    /// The package.
    pub package: &'a LockedPackage,
    /// The wheel.
    pub wheel: &'a LockedWheel,
}

/// A target that this lockfile cannot install.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The target is not among those the file was resolved for.
    #[error("the lockfile has nothing for {target}; {}", resolved_for(.have))]
    UnknownTarget {
        /// The wanted target.
        target: Target,
        /// The targets it has.
        have: Vec<Target>,
    },
    /// A package has no wheel for the target.
    #[error("{name} {version} cannot be installed for {target}: it has no wheel for {available}")]
    NoWheel {
        /// The package.
        name: PackageName,
        /// Its version.
        version: Version,
        /// The wanted target.
        target: Target,
        /// The wheels that it has, for Pythons of the file's targets or other tags.
        available: Available,
    },
    /// Two versions of one package apply.
    #[error("the lockfile pins both {name} {first} and {name} {second} for {target}")]
    TwoVersions {
        /// The package.
        name: PackageName,
        /// One version.
        first: Version,
        /// The other.
        second: Version,
        /// The wanted target.
        target: Target,
    },
}

/// How much a target with these tags likes a wheel, the greatest most; none where it cannot install it.
///
/// The build tag breaks ties (PEP 427), then the file name, so that the order of a page or a file never decides.
pub(crate) fn rank<'a>(filename: &'a WheelFilename, file: &'a str, tags: &Tags) -> Option<WheelRank<'a>> {
    match filename.compatibility(tags) {
        TagCompatibility::Compatible(priority) => Some((priority, filename.build_tag(), file)),
        TagCompatibility::Incompatible(_) => None,
    }
}

/// What [`rank`] orders wheels by.
pub(crate) type WheelRank<'a> = (TagPriority, Option<&'a BuildTag>, &'a str);

fn resolved_for(targets: &[Target]) -> String {
    if targets.is_empty() {
        return "it does not say for which targets it was resolved".to_owned();
    }
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    format!("it was resolved for {}", targets.join(", "))
}

impl Lockfile {
    /// Whether it was written with complete URLs for wheels of the package index too (`lock --urls`), so that other
    /// tools can install from it: some wheel of a package that no channel offers has one, and none lacks it.
    #[must_use]
    pub fn has_urls(&self) -> bool {
        let direct = self.direct();
        let from_index = |package: &&LockedPackage| {
            (self.channel.is_pip() || !is_family(&package.name)) && !direct.contains(&package.name)
        };
        let mut wheels = self
            .packages
            .iter()
            .filter(from_index)
            .flat_map(|package| &package.wheels)
            .peekable();
        wheels.peek().is_some() && wheels.all(|wheel| matches!(wheel.origin, Origin::Url(_)))
    }

    /// The packages of which a requirement names a wheel by URL or path.
    #[must_use]
    pub fn direct(&self) -> BTreeSet<PackageName> {
        let read = self
            .requirements
            .iter()
            .filter_map(|text| requirement::parse(text).ok());
        read.filter(requirement::is_direct).map(|found| found.name).collect()
    }

    /// `>=3.9`: the oldest Python of its targets, which is its `requires-python` where the project has none.
    #[must_use]
    pub fn oldest_python(&self) -> Option<VersionSpecifiers> {
        let minor = self.targets.iter().map(|locked| locked.target.python.minor).min()?;
        let version = Version::new([3, u64::from(minor)]);
        Some(VersionSpecifier::greater_than_equal_version(version).into())
    }

    /// The entry of `target`, where the file was resolved for it.
    #[must_use]
    pub fn target(&self, target: &Target) -> Option<&LockedTarget> {
        self.targets.iter().find(|locked| locked.target == *target)
    }

    /// The entry of `target`, or an error that lists the targets there are.
    pub fn locked_target(&self, target: &Target) -> Result<&LockedTarget, SelectError> {
        self.target(target).ok_or_else(|| SelectError::UnknownTarget {
            target: *target,
            have: self.targets.iter().map(|locked| locked.target).collect(),
        })
    }

    /// The wheels that `target` installs, one a package, sorted by package name.
    pub fn select(&self, target: &Target) -> Result<Vec<Selected<'_>>, SelectError> {
        let locked = self.locked_target(target)?;
        let environment = target.markers(&locked.python_full_version);
        let tags = target.tags();
        let mut chosen: BTreeMap<&PackageName, Selected<'_>> = BTreeMap::new();
        for package in self
            .packages
            .iter()
            .filter(|package| package.marker.evaluate(&environment, &[]))
        {
            let wheel = package
                .wheels
                .iter()
                .filter_map(|wheel| Some((rank(&wheel.filename, &wheel.file, &tags)?, wheel)))
                .max_by_key(|(rank, _)| *rank)
                .map(|(_, wheel)| wheel)
                .ok_or_else(|| self.no_wheel(package, target))?;
            if let Some(other) = chosen.insert(&package.name, Selected { package, wheel }) {
                return Err(SelectError::TwoVersions {
                    name: package.name.clone(),
                    first: other.package.version.clone(),
                    second: package.version.clone(),
                    target: *target,
                });
            }
        }
        Ok(chosen.into_values().collect())
    }

    fn no_wheel(&self, package: &LockedPackage, target: &Target) -> SelectError {
        let wheels = package.wheels.iter().map(|wheel| &wheel.filename);
        let pythons = self.targets.iter().map(|locked| locked.target.python);
        SelectError::NoWheel {
            name: package.name.clone(),
            version: package.version.clone(),
            target: *target,
            available: Available::among(wheels, target, pythons),
        }
    }
}
