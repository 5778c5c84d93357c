//! Resolution: requirements × targets → pins (`PubGrub`), and the pins of all targets as the packages of a lockfile.
//!
//! Owns: which version of which package each target gets, which of its wheels, and why there is no answer.
//! Refuses: anything but wheels, requirements by URL or path whose wheel the caller has not looked at, a source that fails (it aborts the resolution; a failure
//! never looks like "no versions").
//!
//! Each target is resolved on its own, the newest Python first; a later target prefers what earlier ones chose, so
//! that versions differ between targets only where they must. The result depends on the requirements as a set, on what
//! the index says and on the preferences; never on the order of requirements, of rows on a page, or on timing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::index::{CoreMetadata, IndexFile, ProjectPage};
use crate::lockfile::Lockfile;
use crate::pep::{ExtraName, MarkerTree, PackageName, Requirement, Version, VersionSpecifiers};
use crate::target::Target;

mod boundaries;
mod candidates;
#[cfg(test)]
mod choosing_tests;
mod demands;
mod error;
mod explain;
mod memo;
pub mod merge;
#[cfg(test)]
mod properties;
mod provider;
#[cfg(test)]
mod replica;
mod solve;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod versions;

pub use crate::policy::{Cutoff, PreReleases, Versions};
pub use candidates::Exclusion;
pub use error::ResolveError;
pub use memo::NoUploadTimes;
pub use merge::{Hooks, MergeError, Merged, merge};
pub use solve::resolve;

/// An error of something that this module only calls.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where project pages and metadata come from. Calls may come from several threads at once.
pub trait PackageSource: Sync {
    /// The page of a project; none where the index does not know it.
    fn page(&self, name: &PackageName) -> Result<Option<Arc<ProjectPage>>, BoxError>;

    /// The core metadata of one wheel of a page.
    fn metadata(&self, file: &IndexFile) -> Result<Arc<CoreMetadata>, BoxError>;

    /// Where `name` is looked for, for messages: `the package index`, `the channel cu118`.
    fn place(&self, name: &PackageName) -> String {
        let _ = name;
        "the package index".to_owned()
    }

    /// What is wrong with metadata that arrived and cannot be understood; none where the error is another one.
    /// Versions with such metadata are passed over.
    fn is_unsound(&self, error: &BoxError) -> Option<String> {
        let _ = error;
        None
    }

    /// Whether the upload times of `name`'s files say when they were released. A channel's do not: its files are
    /// uploaded anew at will.
    fn has_release_times(&self, name: &PackageName) -> bool {
        let _ = name;
        true
    }
}

/// A wheel that a requirement names by URL or path.
#[derive(Debug, Clone)]
pub struct Direct {
    /// Where that requirement counts: on targets that it fits, the name has these wheels and no others.
    pub marker: MarkerTree,
    /// The wheel.
    pub file: IndexFile,
    /// The requirement, for messages.
    pub requirement: String,
    /// Its URL as written, without fragment: a package may ask for the very same.
    pub url: url::Url,
}

/// Direct wheels by name.
pub type DirectWheels = BTreeMap<PackageName, Vec<Direct>>;

/// What to resolve.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The wheels of packages that no index is asked for. Their requirements are among `requirements` by version.
    pub direct: DirectWheels,
    /// What is asked for; an entry counts only for targets that its marker fits.
    pub requirements: Vec<Requirement>,
    /// Limits on packages that something else asks for. Extras in them count for nothing.
    pub constraints: Vec<Requirement>,
    /// What is asked of these packages in place of what other packages ask of them; one whose marker does not fit
    /// takes the demand away. Direct requirements stay as they are.
    pub overrides: Vec<Requirement>,
    /// For which targets.
    pub targets: Vec<Wanted>,
    /// Which versions to prefer over the newest.
    pub preferences: Preferences,
    /// When a pre-release may be chosen.
    pub pre_releases: PreReleases,
    /// Whether direct requirements get the newest or the lowest version.
    pub versions: Versions,
    /// From when on uploads do not count, where the source has release times.
    pub exclude_newer: Option<Cutoff>,
}

/// A target to resolve for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The target.
    pub target: Target,
    /// The full Python version that markers and `Requires-Python` are evaluated with.
    pub python_full_version: Version,
    /// Whether the target may be left out where it has no answer.
    pub optional: bool,
}

/// Which pins of an existing lockfile to let go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Upgrade {
    /// Keep every pin that still fits.
    #[default]
    None,
    /// Choose everything anew.
    All,
    /// Choose these packages anew.
    Packages(BTreeSet<PackageName>),
}

/// Versions to take where they fit, although newer ones exist.
#[derive(Debug, Clone, Default)]
pub struct Preferences {
    pins: BTreeMap<PackageName, Vec<(Version, MarkerTree)>>,
    /// What each package needed when the lockfile was made: what will be asked for, most likely.
    needs: BTreeMap<PackageName, BTreeSet<PackageName>>,
}

impl Preferences {
    /// The pins of `lockfile` but for those that `upgrade` lets go.
    #[must_use]
    pub fn from_lockfile(lockfile: &Lockfile, upgrade: &Upgrade) -> Self {
        let mut pins: BTreeMap<PackageName, Vec<(Version, MarkerTree)>> = BTreeMap::new();
        for package in &lockfile.packages {
            let keep = match upgrade {
                Upgrade::None => true,
                Upgrade::All => false,
                Upgrade::Packages(names) => !names.contains(&package.name),
            };
            if keep {
                pins.entry(package.name.clone())
                    .or_default()
                    .push((package.version.clone(), package.marker));
            }
        }
        let mut needs: BTreeMap<PackageName, BTreeSet<PackageName>> = BTreeMap::new();
        for package in &lockfile.packages {
            let known = needs.entry(package.name.clone()).or_default();
            known.extend(package.dependencies.iter().cloned());
        }
        Self { pins, needs }
    }

    /// The packages of the lockfile that `requirements` needed, themselves included.
    fn closure(&self, requirements: &[Requirement]) -> BTreeSet<&PackageName> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&PackageName> = requirements.iter().map(|requirement| &requirement.name).collect();
        while let Some(name) = open.pop() {
            if let Some((name, needs)) = self.needs.get_key_value(name)
                && found.insert(name)
            {
                open.extend(needs);
            }
        }
        found
    }
}

/// What all targets get.
#[derive(Debug)]
pub struct Resolutions {
    /// One for each target that has an answer, sorted by target.
    pub targets: Vec<Resolution>,
    /// The optional targets that have none, sorted, each with why.
    pub left_out: Vec<(Target, ResolveError)>,
}

/// What one target gets.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// The target.
    pub target: Target,
    /// The full Python version that markers were evaluated with.
    pub python_full_version: Version,
    /// Patch levels of the target's Python at which a marker that was looked at changes its value, or a chosen package
    /// starts or ceases to allow it, sorted: at `3.11.3`, 3.11.2 and 3.11.3 disagree.
    pub python_boundaries: Vec<Version>,
    /// The chosen packages, sorted by name.
    pub packages: Vec<Resolved>,
    /// What the user should hear, though it does not prevent anything.
    pub warnings: Vec<Warning>,
}

/// One chosen package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Its name.
    pub name: PackageName,
    /// Its version, local label included.
    pub version: Version,
    /// Its extras that something asks for, sorted.
    pub extras: Vec<ExtraName>,
    /// Its `Requires-Python`, as its metadata states it.
    pub requires_python: Option<VersionSpecifiers>,
    /// The packages that it needs on this target, sorted.
    pub dependencies: Vec<PackageName>,
    /// Its wheels that the target can install; the first is the one that it does install.
    pub wheels: Vec<IndexFile>,
}

/// Something worth saying about a resolution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// An extra was asked for that the chosen version does not have.
    UnknownExtra {
        /// The package.
        name: PackageName,
        /// Its version.
        version: Version,
        /// The extra.
        extra: ExtraName,
    },
    /// No release times are known of a package, so `exclude-newer` did not count for it.
    NoReleaseTimes {
        /// The package.
        name: PackageName,
        /// Where it comes from.
        place: String,
    },
    /// A newer version was passed over because its metadata cannot be understood.
    PassedOver {
        /// The package.
        name: PackageName,
        /// The version passed over.
        version: Version,
        /// What is wrong with it.
        why: String,
    },
    /// The chosen version was yanked.
    Yanked {
        /// The package.
        name: PackageName,
        /// Its version.
        version: Version,
        /// The reason given, possibly empty.
        reason: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownExtra { name, version, extra } => {
                write!(formatter, "{name} {version} has no extra `{extra}`")
            }
            Self::NoReleaseTimes { name, place } => write!(
                formatter,
                "exclude-newer does not count for {name}: the upload times of {place} are no release times"
            ),
            Self::PassedOver { name, version, why } => {
                write!(formatter, "{name} {version} was passed over: it {why}")
            }
            Self::Yanked { name, version, reason } if reason.is_empty() => {
                write!(formatter, "{name} {version} was yanked by its authors")
            }
            Self::Yanked { name, version, reason } => {
                write!(formatter, "{name} {version} was yanked by its authors: {reason}")
            }
        }
    }
}
