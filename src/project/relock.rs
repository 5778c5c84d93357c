//! Locking: requirements × targets → a lockfile and its keys.
//!
//! Nothing from a package is executed: metadata is read, and the backend of a torch wheel that no channel tells is
//! read from its `torch/version.py` as text.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::direct::{DirectError, Directs};
use super::held::Held;
use super::lockfiles::{LockfileError, ReadLockfile, requirement};
use super::network::{Network, NetworkError};
use super::targets::Asked;
use super::{Project, hashing, torch_backend};
use crate::backend::{Backend, Channel, is_family};
use crate::config::ListError;
use crate::env::tree::TreeError;
use crate::fetch;
use crate::index::{self, CoreMetadata, IndexFile, Place, ProjectPage};
use crate::lockfile::text::ReadWarning;
use crate::lockfile::{Lockfile, Origin, Settings};
use crate::pep::{ExtraName, GroupName, PackageName, Requirement};
use crate::policy::{Cutoff, PreReleases, Versions};
use crate::progress::{Event, Reporter};
use crate::python::{Interpreter, RequiredPython, is_same};
use crate::resolve::{
    self, BoxError, MergeError, Merged, PackageSource, Preferences, Resolution, ResolveError, Upgrade, Wanted,
};
use crate::target::{Platform, PythonMinor, Target};

/// Why there is no new lockfile.
#[derive(Debug, thiserror::Error)]
pub enum RelockError {
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The existing lockfile, a requirement, or writing.
    #[error(transparent)]
    Lockfile(#[from] LockfileError),
    /// The requirements have no solution, or an index did not answer.
    #[error("cannot lock {} for the channel {channel}", requirements.join(", "))]
    Resolve {
        /// The channel.
        channel: Channel,
        /// What was asked for.
        requirements: Vec<String>,
        /// Why not.
        #[source]
        source: Box<ResolveError>,
    },
    /// The targets do not fit into one file.
    #[error("cannot write one lockfile for all targets")]
    Merge(#[source] Box<MergeError>),
    /// Wheels whose digests nobody states could not be downloaded.
    #[error("cannot compute the digests that the index does not state")]
    Unstated(#[source] Box<fetch::Error>),
    /// A wheel that was downloaded for its digest is refused.
    #[error("cannot lock a wheel that no build would take")]
    Refused(#[source] Box<TreeError>),
    /// No default target has wheels.
    #[error("{name} {specifiers} has no wheel on the channel {channel} for any of {targets}")]
    NoTarget {
        /// The package that was looked at.
        name: PackageName,
        /// What is asked of it.
        specifiers: String,
        /// The channel.
        channel: Channel,
        /// The Pythons and platforms that were looked at.
        targets: String,
    },
    /// The project allows none of the Pythons.
    #[error("{0} allows no CPython 3.9 to 3.13")]
    NoPython(RequiredPython),
    /// The project excludes a Python that somebody names.
    #[error("Python {python} is asked for, and {required} excludes it")]
    Excluded {
        /// As it was asked for.
        python: String,
        /// What excludes it.
        required: RequiredPython,
    },
    /// An index did not answer.
    #[error("cannot ask for {name}")]
    Index {
        /// The package.
        name: PackageName,
        /// Why.
        #[source]
        source: Box<crate::index::Error>,
    },
    /// One of the project's lists of requirements.
    #[error(transparent)]
    List(#[from] ListError),
    /// A wheel that a requirement names by URL or path.
    #[error("cannot lock {} for the channel {channel}", requirements.join(", "))]
    Direct {
        /// The channel.
        channel: Channel,
        /// What was asked for.
        requirements: Vec<String>,
        /// Why not.
        #[source]
        source: Box<DirectError>,
    },
}

/// What to lock.
#[derive(Debug, Clone, Default)]
pub struct LockRequest {
    /// Requirements given as arguments; empty means those that hold already.
    pub requirements: Vec<String>,
    /// Pythons given as arguments.
    pub pythons: Vec<PythonMinor>,
    /// Platforms given as arguments.
    pub platforms: Vec<Platform>,
    /// Which pins to let go.
    pub upgrade: Upgrade,
    /// The project's extras and groups to include; none keeps those that hold.
    pub lists: Option<(BTreeSet<ExtraName>, BTreeSet<GroupName>)>,
    /// Newest or lowest; none keeps what holds.
    pub versions: Option<Versions>,
    /// Pre-releases; none keeps what holds.
    pub pre_releases: Option<PreReleases>,
    /// From when on uploads do not count: none keeps what holds, `Some(None)` ends it.
    pub exclude_newer: Option<Option<Cutoff>>,
    /// Whether wheels of the package index carry complete URLs; none keeps what the existing file has.
    pub urls: Option<bool>,
}

/// A lockfile that was resolved and not written.
#[derive(Debug, Clone)]
pub struct ResolvedLock {
    /// The lockfile.
    pub lockfile: Lockfile,
    /// What should be said.
    pub warnings: Vec<String>,
}

/// A lockfile that was resolved.
#[derive(Debug, Clone)]
pub struct Relocked {
    /// The file as it is on disk now.
    pub read: ReadLockfile,
    /// Whether its bytes changed.
    pub changed: bool,
    /// What should be said.
    pub warnings: Vec<String>,
}

/// An index as the resolver sees it.
struct Indexes<'a> {
    network: &'a Network,
    directs: &'a Directs,
    reporter: &'a dyn Reporter,
}

impl PackageSource for Indexes<'_> {
    fn page(&self, name: &PackageName) -> Result<Option<Arc<ProjectPage>>, BoxError> {
        self.reporter.event(Event::Resolving { package: name.as_str() });
        Ok(self.network.sources.page(name)?)
    }

    fn metadata(&self, file: &IndexFile) -> Result<Arc<CoreMetadata>, BoxError> {
        match self.directs.metadata(file) {
            Some(metadata) => Ok(metadata),
            None => Ok(self.network.sources.metadata(file, self.reporter)?),
        }
    }

    fn is_unsound(&self, error: &BoxError) -> Option<String> {
        match error.downcast_ref::<index::Error>()? {
            index::Error::Unusable(error) => {
                let mut text = error.to_string();
                if let Some(why) = std::error::Error::source(error) {
                    text = format!("{text}: {}", why.to_string().lines().next().unwrap_or_default());
                }
                Some(text)
            }
            _ => None,
        }
    }

    fn has_release_times(&self, name: &PackageName) -> bool {
        !matches!(self.network.sources.place(name), Ok(Place::Channel(_)))
    }

    fn place(&self, name: &PackageName) -> String {
        self.network
            .sources
            .place(name)
            .map_or_else(|_| "the package index".to_owned(), |place| place.to_string())
    }
}

impl Project<'_> {
    /// Writes a resolved lockfile and its keys. The old file stays as it is unless everything succeeded.
    pub fn write_lock(&self, resolved: ResolvedLock) -> Result<Relocked, RelockError> {
        let channel = &resolved.lockfile.channel;
        let (read, changed) = self.save_lockfile(channel, &resolved.lockfile)?;
        Ok(Relocked {
            read,
            changed,
            warnings: resolved.warnings,
        })
    }

    /// Resolves the lockfile of `channel` and writes nothing.
    pub fn resolve_lock(
        &self,
        channel: &Channel,
        request: &LockRequest,
        interpreter: Option<&Interpreter>,
    ) -> Result<ResolvedLock, RelockError> {
        // A file that cannot be read is replaced; only what it would have kept is lost, and that is said.
        let (existing, mut warnings) = match self.read_lockfile(channel) {
            Ok(existing) => {
                let newer = existing.iter().flat_map(|existing| &existing.warnings);
                let newer = newer.filter(|warning| matches!(warning, ReadWarning::NewerMinor(_)));
                let newer = newer
                    .map(|warning| format!("{warning}, and is not written again"))
                    .collect();
                (existing.map(|existing| existing.lockfile), newer)
            }
            Err(error @ LockfileError::Path(_)) => return Err(error.into()),
            // What a newer program wrote is not for this one to replace.
            Err(error) if error.is_newer() => return Err(error.into()),
            Err(error) => (None, vec![format!("{error}; it is made anew")]),
        };
        let held = self.held(existing.as_ref(), request)?;
        if request.requirements.is_empty() {
            let doubt = self.doubt(&held.requirements);
            warnings.extend(doubt.or_else(|| self.defaulted(existing.as_ref(), &held.requirements)));
        }
        let mut requirements = requirements(&held.requirements)?;
        let network = self.network(channel, interpreter)?;
        let directs = self
            .direct_wheels(
                (channel, &network),
                &mut requirements,
                existing.as_ref(),
                (&request.upgrade, &self.possible_targets(request, existing.as_ref())?),
            )
            .map_err(|source| RelockError::Direct {
                channel: channel.clone(),
                requirements: held.shown(),
                source: Box::new(source),
            })?;
        let asked = Asked {
            requirements: &requirements,
            network: &network,
            directs: &directs,
        };
        let candidates = self.candidates(channel, request, existing.as_ref(), &asked)?;
        let wanted = candidates.targets.iter().filter_map(|target| {
            Some(Wanted {
                target: *target,
                python_full_version: self.full_version(target.python, interpreter)?,
                optional: candidates.optional,
            })
        });
        let resolve_request = resolve::Request {
            direct: directs.wheels.clone(),
            requirements,
            constraints: self::requirements(&held.settings.constraints)?,
            overrides: self::requirements(&held.settings.overrides)?,
            targets: wanted.collect(),
            preferences: existing
                .as_ref()
                .map(|existing| Preferences::from_lockfile(existing, &request.upgrade))
                .unwrap_or_default(),
            pre_releases: held.settings.pre_releases,
            versions: held.settings.versions,
            exclude_newer: held.settings.exclude_newer,
        };
        let indexes = Indexes {
            network: &network,
            directs: &directs,
            reporter: self.reporter,
        };
        let failed = |source| RelockError::Resolve {
            channel: channel.clone(),
            requirements: held.shown(),
            source: Box::new(source),
        };
        let resolutions = resolve::resolve(&resolve_request, &indexes).map_err(failed)?;
        let left_out = candidates
            .judge(&resolutions.targets, resolutions.left_out)
            .map_err(failed)?;
        warnings.extend(left_out.warnings);
        let merged = self.merged(
            &resolutions.targets,
            channel,
            &held,
            request,
            existing.as_ref(),
            (&network, &directs),
        )?;
        warnings.extend(said(&resolutions.targets, &merged, &directs));
        let mut lockfile = merged.lockfile;
        lockfile.settings.hashed_by_download.extend(directs.hashed);
        let python_is_stated = self.state_python(&mut lockfile);
        for locked in &mut lockfile.targets {
            locked.python_pinned = self.pinned_python(locked.target.python).is_some();
        }
        lockfile.settings = Settings {
            python_is_stated,
            optional_targets: candidates.optional,
            left_out: left_out.targets,
            hashed_by_download: lockfile.settings.hashed_by_download,
            ..held.settings
        };
        lockfile.head = existing.map(|existing| existing.head).unwrap_or_default();
        Ok(ResolvedLock { lockfile, warnings })
    }

    /// Writes the project's `requires-python` into a lockfile; whether that says no more than its targets do.
    fn state_python(&self, lockfile: &mut Lockfile) -> bool {
        let Some(required) = &self.config.requires_python else {
            return false;
        };
        let oldest = lockfile.oldest_python();
        lockfile.requires_python = Some(required.specifiers.clone());
        oldest.is_some_and(|oldest| is_same(&oldest, &required.specifiers))
    }

    /// The resolutions of all targets as one lockfile, what the index does not say found out from the wheels.
    fn merged(
        &self,
        resolutions: &[Resolution],
        channel: &Channel,
        held: &Held,
        request: &LockRequest,
        existing: Option<&Lockfile>,
        (network, directs): (&Network, &Directs),
    ) -> Result<Merged, RelockError> {
        let urls = request.urls.unwrap_or_else(|| existing.is_some_and(Lockfile::has_urls));
        let origin = |name: &PackageName, file: &IndexFile| {
            if let Some(origin) = directs.origin(name, file) {
                origin
            } else if is_family(name) && !channel.is_pip() {
                Origin::Url(network.sources.canonical_url(&file.url))
            } else if urls && file.url.scheme() != "file" {
                Origin::Url(file.url.clone())
            } else {
                Origin::Index
            }
        };
        let known = |file: &IndexFile| existing.and_then(|existing| hashing::known(existing, file, &request.upgrade));
        self.download_unstated(network, resolutions, &known)?;
        let digest = |file: &IndexFile| match known(file) {
            Some(known) => Ok(known),
            // It has just arrived.
            None => Ok(network
                .sources
                .whole()
                .one(file, self.reporter)
                .map(|wheel| (*wheel.digest(), wheel.size()))?),
        };
        let told = self.config.channel_backend(channel);
        if told.is_none() {
            torch_backend::ask_early(network, resolutions);
        }
        let backend = |target: &Target, torch: Option<&IndexFile>| match (told, torch) {
            (Some(backend), _) => Ok(backend),
            (None, Some(torch)) => Ok(torch_backend::of_wheel(network, target, torch)?),
            (None, None) => Ok(Backend::Cpu),
        };
        let hooks = resolve::Hooks {
            origin: &origin,
            digest: &digest,
            backend: &backend,
        };
        resolve::merge(resolutions, channel.clone(), held.requirements.clone(), &hooks)
            .map_err(|source| RelockError::Merge(Box::new(source)))
    }
}

/// What should be said about an answer.
fn said(resolutions: &[Resolution], merged: &Merged, directs: &Directs) -> Vec<String> {
    let warnings = resolutions.iter().flat_map(|resolution| &resolution.warnings);
    let mut said: BTreeSet<String> = warnings.map(ToString::to_string).collect();
    let downloaded = "the lockfile has that of a download";
    let of_index = merged.missing_digest.iter();
    said.extend(of_index.map(|file| format!("the index states no digest of {file}; {downloaded}")));
    let of_urls = directs.hashed.iter();
    said.extend(of_urls.map(|file| format!("the URL of {file} states no digest; {downloaded}")));
    said.extend(directs.mixed(resolutions));
    said.into_iter().collect()
}

fn requirements(texts: &[String]) -> Result<Vec<Requirement>, LockfileError> {
    texts.iter().map(|text| requirement(text)).collect()
}
