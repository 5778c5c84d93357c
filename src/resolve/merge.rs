//! The resolutions of all targets as one lockfile.
//!
//! A package that differs between targets becomes several entries whose markers tell the targets apart. The result is
//! checked: for every target, the lockfile selects exactly what its resolution chose.

use std::collections::{BTreeMap, BTreeSet};

use super::{BoxError, Resolution, Resolved};
use crate::backend::{Backend, Channel};
use crate::digest::WheelDigest;
use crate::index::IndexFile;
use crate::lockfile::{LockedPackage, LockedTarget, LockedWheel, Lockfile, Origin, SelectError, Settings, markers};
use crate::pep::{PackageName, Version, VersionSpecifiers};
use crate::target::Target;

/// Where a wheel comes from.
pub type OriginHook<'a> = dyn Fn(&PackageName, &IndexFile) -> Origin + 'a;

/// Digest and size of a wheel, from its bytes.
pub type DigestHook<'a> = dyn Fn(&IndexFile) -> Result<(WheelDigest, u64), BoxError> + 'a;

/// The backend of a target with this torch wheel, or with none.
pub type BackendHook<'a> = dyn Fn(&Target, Option<&IndexFile>) -> Result<Backend, BoxError> + 'a;

/// What the lockfile needs from the world outside.
pub struct Hooks<'a> {
    /// Where a wheel is said to come from: the canonical URL of a channel's wheel, [`Origin::Index`] for others.
    pub origin: &'a OriginHook<'a>,
    /// Downloads a wheel for which the index states no digest; its digest and size.
    pub digest: &'a DigestHook<'a>,
    /// The backend of a target, given the torch wheel that it installs, if it installs one.
    pub backend: &'a BackendHook<'a>,
}

/// A lockfile, and what is worth saying about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The lockfile, without head comments.
    pub lockfile: Lockfile,
    /// Names of the files for which the index states no digest, so that they were downloaded and hashed; sorted.
    pub missing_digest: Vec<String>,
}

/// Resolutions that do not make one lockfile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// Two targets that markers cannot tell apart need different versions.
    #[error(
        "{first} and {second} need different versions of {name}, and the markers of a lockfile cannot tell them \
         apart; lock them into two files"
    )]
    SameMarkers {
        /// One target.
        first: Target,
        /// The other.
        second: Target,
        /// The package.
        name: PackageName,
    },
    /// An index lists one file with two digests.
    #[error("the index lists {file} twice, with the digests {first} and {second}")]
    TwoDigests {
        /// The file name.
        file: String,
        /// One digest.
        first: WheelDigest,
        /// The other.
        second: WheelDigest,
    },
    /// A wheel without a stated digest could not be downloaded and hashed.
    #[error("the index states no digest of {file}, and it could not be computed")]
    Digest {
        /// The file name.
        file: String,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// The backend of a target could not be found out.
    #[error("could not find out the backend of torch for {target}")]
    Backend {
        /// The target.
        target: Target,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// The lockfile selects nothing for a target: a defect.
    #[error("the merged lockfile does not install")]
    Select(#[from] SelectError),
    /// The lockfile selects something else than the resolution did.
    #[error("{target} would install {selected} instead of {chosen}, because the page of the project is inconsistent")]
    OtherWheel {
        /// The target.
        target: Target,
        /// What the lockfile selects.
        selected: String,
        /// What the resolution chose.
        chosen: String,
    },
}

/// What all targets say about one version of one package.
#[derive(Default)]
struct Entry<'a> {
    targets: Vec<Target>,
    requires_python: Option<&'a VersionSpecifiers>,
    dependencies: BTreeSet<&'a PackageName>,
    wheels: BTreeMap<&'a str, &'a IndexFile>,
}

/// Merges `resolutions` into a lockfile. `requirements` are kept as written.
pub fn merge(
    resolutions: &[Resolution],
    channel: Channel,
    requirements: Vec<String>,
    hooks: &Hooks<'_>,
) -> Result<Merged, MergeError> {
    let mut resolutions: Vec<&Resolution> = resolutions.iter().collect();
    resolutions.sort_by_key(|resolution| resolution.target);
    let mut entries: BTreeMap<(&PackageName, &Version), Entry<'_>> = BTreeMap::new();
    for resolution in &resolutions {
        for package in &resolution.packages {
            let entry = entries.entry((&package.name, &package.version)).or_default();
            entry.targets.push(resolution.target);
            add(entry, package)?;
        }
    }
    let mut missing_digest = BTreeSet::new();
    let mut packages = Vec::new();
    for ((name, version), entry) in entries {
        packages.push(LockedPackage {
            name: name.clone(),
            version: version.clone(),
            marker: marker(name, &entry.targets, &resolutions)?,
            requires_python: entry.requires_python.cloned(),
            dependencies: entry.dependencies.into_iter().cloned().collect(),
            wheels: wheels(name, &entry.wheels, hooks, &mut missing_digest)?,
        });
    }
    let mut lockfile = Lockfile {
        head: String::new(),
        channel,
        requirements,
        targets: targets(&resolutions, hooks)?,
        packages,
        requires_python: None,
        settings: Settings {
            hashed_by_download: missing_digest.clone(),
            ..Settings::default()
        },
    };
    lockfile.requires_python = lockfile.oldest_python();
    check(&lockfile, &resolutions)?;
    Ok(Merged {
        lockfile,
        missing_digest: missing_digest.into_iter().collect(),
    })
}

fn add<'a>(entry: &mut Entry<'a>, package: &'a Resolved) -> Result<(), MergeError> {
    entry.requires_python = entry.requires_python.or(package.requires_python.as_ref());
    entry.dependencies.extend(&package.dependencies);
    for wheel in &package.wheels {
        let known = entry.wheels.entry(&wheel.file).or_insert(wheel);
        match (known.digest, wheel.digest) {
            (Some(first), Some(second)) if first != second => {
                return Err(MergeError::TwoDigests {
                    file: wheel.file.clone(),
                    first,
                    second,
                });
            }
            (None, Some(_)) => *known = wheel,
            _ => {}
        }
    }
    Ok(())
}

fn marker(
    name: &PackageName,
    here: &[Target],
    resolutions: &[&Resolution],
) -> Result<crate::pep::MarkerTree, MergeError> {
    let all: Vec<Target> = resolutions.iter().map(|resolution| resolution.target).collect();
    let same = |left: &Target, right: &Target| markers::environment(left) == markers::environment(right);
    let elsewhere = all.iter().filter(|target| !here.contains(target));
    for second in elsewhere {
        if let Some(first) = here.iter().find(|first| same(first, second)) {
            return Err(MergeError::SameMarkers {
                first: *first,
                second: *second,
                name: name.clone(),
            });
        }
    }
    Ok(markers::covering(here, &all))
}

fn wheels(
    name: &PackageName,
    files: &BTreeMap<&str, &IndexFile>,
    hooks: &Hooks<'_>,
    missing_digest: &mut BTreeSet<String>,
) -> Result<Vec<LockedWheel>, MergeError> {
    files
        .values()
        .map(|file| {
            let (digest, size) = if let Some(digest) = file.digest {
                (digest, file.size)
            } else {
                let computed = (hooks.digest)(file).map_err(|source| MergeError::Digest {
                    file: file.file.clone(),
                    source,
                })?;
                missing_digest.insert(file.file.clone());
                (computed.0, Some(computed.1))
            };
            Ok(LockedWheel {
                filename: file.filename.clone(),
                file: file.file.clone(),
                origin: (hooks.origin)(name, file),
                size,
                digest,
            })
        })
        .collect()
}

fn targets(resolutions: &[&Resolution], hooks: &Hooks<'_>) -> Result<Vec<LockedTarget>, MergeError> {
    resolutions
        .iter()
        .map(|resolution| {
            let torch = resolution
                .packages
                .iter()
                .find(|package| package.name.as_str() == "torch");
            let wheel = torch.and_then(|package| package.wheels.first());
            let backend = (hooks.backend)(&resolution.target, wheel).map_err(|source| MergeError::Backend {
                target: resolution.target,
                source,
            })?;
            Ok(LockedTarget {
                target: resolution.target,
                python_full_version: resolution.python_full_version.clone(),
                python_boundaries: resolution.python_boundaries.clone(),
                backend,
                python_pinned: false,
            })
        })
        .collect()
}

fn check(lockfile: &Lockfile, resolutions: &[&Resolution]) -> Result<(), MergeError> {
    for resolution in resolutions {
        let selected: Vec<&str> = lockfile
            .select(&resolution.target)?
            .iter()
            .map(|selected| selected.wheel.file.as_str())
            .collect();
        let chosen: Vec<&str> = resolution
            .packages
            .iter()
            .filter_map(|package| Some(package.wheels.first()?.file.as_str()))
            .collect();
        if selected != chosen {
            let (selected, chosen): (Vec<&str>, Vec<&str>) = (
                selected.iter().filter(|file| !chosen.contains(file)).copied().collect(),
                chosen.iter().filter(|file| !selected.contains(file)).copied().collect(),
            );
            return Err(MergeError::OtherWheel {
                target: resolution.target,
                selected: selected.join(", "),
                chosen: chosen.join(", "),
            });
        }
    }
    Ok(())
}
