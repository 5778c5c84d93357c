//! Locking: requirements × targets → a lockfile and its keys.
//!
//! Nothing from a package is executed: metadata is read, and the backend of a torch wheel that no channel tells is
//! read from its `torch/version.py` as text.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Project;
use super::lockfiles::{LockfileError, ReadLockfile, requirement};
use super::network::{Network, NetworkError};
use super::torch_backend;
use crate::backend::{Backend, Channel, is_family};
use crate::digest::{Hasher, WheelDigest};
use crate::http::Http;
use crate::index::{CoreMetadata, IndexFile, ProjectPage};
use crate::lockfile::{Lockfile, Origin};
use crate::pep::{PackageName, Requirement, Version};
use crate::progress::{Event, Reporter};
use crate::python::Interpreter;
use crate::resolve::{self, BoxError, MergeError, PackageSource, Preferences, ResolveError, Upgrade, Wanted};
use crate::target::{Machine, Platform, PythonMinor, Target};

/// The CPython minor versions that a project locks for where it names none.
const DEFAULT_PYTHONS: [u8; 5] = [9, 10, 11, 12, 13];

/// The full version that markers of a minor version are evaluated with. A fixed table, so that a lockfile does not
/// depend on the machine that wrote it; hosts on the other side of a marker's boundary are refused with a hint.
const FULL_VERSIONS: [(u8, &str); 6] = [
    (9, "3.9.25"),
    (10, "3.10.19"),
    (11, "3.11.14"),
    (12, "3.12.12"),
    (13, "3.13.9"),
    (14, "3.14.0"),
];

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
    /// No default target has wheels.
    #[error("{name} {specifiers} has no wheel on the channel {channel} for any CPython 3.9 to 3.13 on {platform}")]
    NoTarget {
        /// The package that was looked at.
        name: PackageName,
        /// What is asked of it.
        specifiers: String,
        /// The channel.
        channel: Channel,
        /// The platform.
        platform: Platform,
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
    /// Something that is configured and not understood yet.
    #[error("`[tool.flambeau] overrides` is not supported yet")]
    Overrides,
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
    /// Whether wheels of the package index carry complete URLs; none keeps what the existing file has.
    pub urls: Option<bool>,
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

/// The platform that a project locks for where it names none: Linux with the floor of PyTorch's wheels, on this
/// machine's architecture.
fn default_platform() -> Platform {
    if cfg!(target_arch = "aarch64") {
        Platform::Manylinux(2, 28, Machine::Aarch64)
    } else {
        Platform::LINUX_X86_64
    }
}

/// The full version for a minor version: what the interpreter of this machine has where the table knows nothing.
pub(super) fn full_version(python: PythonMinor, interpreter: Option<&Interpreter>) -> Version {
    let known = FULL_VERSIONS
        .iter()
        .find(|(minor, _)| *minor == python.minor)
        .and_then(|(_, full)| full.parse().ok());
    let own = || {
        interpreter
            .filter(|own| own.python.minor == python.minor)
            .map(|own| own.version.clone())
    };
    known
        .or_else(own)
        .unwrap_or_else(|| Version::new([3, u64::from(python.minor), 0]))
}

/// An index as the resolver sees it.
struct Indexes<'a> {
    network: &'a Network,
    reporter: &'a dyn Reporter,
}

impl PackageSource for Indexes<'_> {
    fn page(&self, name: &PackageName) -> Result<Option<Arc<ProjectPage>>, BoxError> {
        self.reporter.event(Event::Resolving { package: name.as_str() });
        Ok(self.network.sources.page(name)?)
    }

    fn metadata(&self, file: &IndexFile) -> Result<Arc<CoreMetadata>, BoxError> {
        Ok(self.network.sources.metadata(file)?)
    }

    fn place(&self, name: &PackageName) -> String {
        self.network
            .sources
            .place(name)
            .map_or_else(|_| "the package index".to_owned(), |place| place.to_string())
    }
}

impl Project<'_> {
    /// Resolves and writes the lockfile of `channel` and its keys. The old file stays as it is unless everything
    /// succeeded.
    pub fn relock(
        &self,
        channel: &Channel,
        request: &LockRequest,
        interpreter: Option<&Interpreter>,
    ) -> Result<Relocked, RelockError> {
        if !self.config.overrides.is_empty() {
            return Err(RelockError::Overrides);
        }
        // A file that cannot be read is replaced; only what it would have kept is lost, and that is said.
        let (existing, mut warnings) = match self.read_lockfile(channel) {
            Ok(existing) => (existing.map(|existing| existing.lockfile), Vec::new()),
            Err(error @ LockfileError::Path(_)) => return Err(error.into()),
            // What a newer program wrote is not for this one to replace.
            Err(error) if error.is_newer() => return Err(error.into()),
            Err(error) => (None, vec![format!("{error}; it is made anew")]),
        };
        let texts = self.requirements_for(existing.as_ref(), &request.requirements);
        let requirements = texts
            .iter()
            .map(|text| requirement(text))
            .collect::<Result<Vec<_>, _>>()?;
        let constraints = self
            .config
            .constraints
            .iter()
            .map(|text| requirement(text))
            .collect::<Result<Vec<_>, _>>()?;
        let network = self.network(channel, interpreter)?;
        let targets = self.targets(channel, request, existing.as_ref(), &requirements, &network)?;
        let resolutions = resolve::resolve(
            &resolve::Request {
                requirements,
                constraints,
                targets: targets
                    .iter()
                    .map(|target| Wanted {
                        target: *target,
                        python_full_version: self
                            .pinned_python(target.python)
                            .unwrap_or_else(|| full_version(target.python, interpreter)),
                    })
                    .collect(),
                preferences: existing
                    .as_ref()
                    .map(|existing| Preferences::from_lockfile(existing, &request.upgrade))
                    .unwrap_or_default(),
                ..resolve::Request::default()
            },
            &Indexes {
                network: &network,
                reporter: self.reporter,
            },
        )
        .map_err(|source| RelockError::Resolve {
            channel: channel.clone(),
            requirements: texts.clone(),
            source: Box::new(source),
        })?;
        let said: BTreeSet<String> = resolutions
            .iter()
            .flat_map(|resolution| &resolution.warnings)
            .map(ToString::to_string)
            .collect();
        warnings.extend(said);
        let urls = request
            .urls
            .unwrap_or_else(|| existing.as_ref().is_some_and(Lockfile::has_urls));
        let origin = |name: &PackageName, file: &IndexFile| {
            if is_family(name) && !channel.is_pip() {
                Origin::Url(network.sources.canonical_url(&file.url))
            } else if urls && file.url.scheme() != "file" {
                Origin::Url(file.url.clone())
            } else {
                Origin::Index
            }
        };
        let digest = |file: &IndexFile| hash_remote(&network.http, file);
        let backend = |_: &Target, torch: Option<&IndexFile>| match (self.config.channel_backend(channel), torch) {
            (Some(backend), _) => Ok(backend),
            (None, Some(torch)) => Ok(torch_backend::of_wheel(&network, torch)?),
            (None, None) => Ok(Backend::Cpu),
        };
        let hooks = resolve::Hooks {
            origin: &origin,
            digest: &digest,
            backend: &backend,
        };
        let merged = resolve::merge(&resolutions, channel.clone(), texts, &hooks)
            .map_err(|source| RelockError::Merge(Box::new(source)))?;
        for file in &merged.missing_digest {
            warnings.push(format!(
                "the index states no digest of {file}; it was downloaded and hashed"
            ));
        }
        let mut lockfile = merged.lockfile;
        for locked in &mut lockfile.targets {
            locked.python_pinned = self.pinned_python(locked.target.python).is_some();
        }
        lockfile.head = existing.map(|existing| existing.head).unwrap_or_default();
        let (read, changed) = self.save_lockfile(channel, &lockfile)?;
        Ok(Relocked {
            read,
            changed,
            warnings,
        })
    }

    /// The targets to lock for: given, configured, those of the existing file, or every default Python that the
    /// channel has wheels for.
    fn targets(
        &self,
        channel: &Channel,
        request: &LockRequest,
        existing: Option<&Lockfile>,
        requirements: &[Requirement],
        network: &Network,
    ) -> Result<Vec<Target>, RelockError> {
        let pick = |given: &[PythonMinor]| {
            if given.is_empty() {
                self.config.python_versions.clone()
            } else {
                given.to_vec()
            }
        };
        let pythons = pick(&request.pythons);
        let platforms = if request.platforms.is_empty() {
            self.config.platforms.clone()
        } else {
            request.platforms.clone()
        };
        let locked = existing.map(|existing| existing.targets.as_slice()).unwrap_or_default();
        if pythons.is_empty() && platforms.is_empty() && !locked.is_empty() {
            return Ok(locked.iter().map(|locked| locked.target).collect());
        }
        let mut known: Vec<PythonMinor> = locked.iter().map(|locked| locked.target.python).collect();
        let mut stored: Vec<Platform> = locked.iter().map(|locked| locked.target.platform).collect();
        stored.sort();
        stored.dedup();
        let explicit = !pythons.is_empty();
        if explicit {
            known = pythons;
        } else if known.is_empty() {
            known = DEFAULT_PYTHONS.map(PythonMinor::new).to_vec();
        }
        let platforms = match (platforms.is_empty(), stored.is_empty()) {
            (false, _) => platforms,
            (true, false) => stored,
            (true, true) => vec![default_platform()],
        };
        let mut targets: Vec<Target> = platforms
            .iter()
            .flat_map(|platform| {
                known.iter().map(|python| Target {
                    python: *python,
                    platform: *platform,
                })
            })
            .filter(|target| explicit || self.allows(target.python))
            .collect();
        targets.sort();
        targets.dedup();
        if explicit {
            return Ok(targets);
        }
        available(channel, targets, platforms[0], requirements, network)
    }

    /// Whether the project's `requires-python` allows some patch level of a minor version.
    fn allows(&self, python: PythonMinor) -> bool {
        let full = full_version(python, None);
        self.config
            .requires_python
            .as_ref()
            .is_none_or(|specifiers| specifiers.contains(&full))
    }
}

/// Keeps the targets for which the family packages that are asked for have a wheel.
fn available(
    channel: &Channel,
    mut targets: Vec<Target>,
    platform: Platform,
    requirements: &[Requirement],
    network: &Network,
) -> Result<Vec<Target>, RelockError> {
    for wanted in requirements.iter().filter(|wanted| is_family(&wanted.name)) {
        let index = |source| RelockError::Index {
            name: wanted.name.clone(),
            source: Box::new(source),
        };
        // A project that the index does not know is the resolver's to explain.
        let Some(page) = network.sources.page(&wanted.name).map_err(index)? else {
            return Ok(targets);
        };
        let fits = |version: &Version| match &wanted.version_or_url {
            Some(crate::pep::VersionOrUrl::VersionSpecifier(specifiers)) => {
                specifiers.contains(version) || specifiers.contains(&crate::pep::public_version(version))
            }
            _ => true,
        };
        let files: Vec<&IndexFile> = page.wheels.iter().filter(|file| fits(&file.filename.version)).collect();
        if files.is_empty() {
            return Ok(targets);
        }
        targets.retain(|target| {
            let tags = target.tags();
            files.iter().any(|file| file.filename.is_compatible(&tags))
        });
        if targets.is_empty() {
            let specifiers = wanted
                .version_or_url
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            let (name, channel) = (wanted.name.clone(), channel.clone());
            return Err(RelockError::NoTarget {
                name,
                specifiers,
                channel,
                platform,
            });
        }
    }
    Ok(targets)
}

/// Downloads a wheel for which the index states no digest, only to hash it.
fn hash_remote(http: &Http, file: &IndexFile) -> Result<(WheelDigest, u64), BoxError> {
    let mut response = http.get(&file.url).bulk().send()?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 17];
    let mut size = 0;
    loop {
        match response.read(&mut buffer)? {
            0 => return Ok((WheelDigest::from_bytes(hasher.finish()), size)),
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_versions_are_of_their_minor() {
        for (minor, full) in FULL_VERSIONS {
            let full: Version = full.parse().expect("a version");
            assert_eq!(full.release()[..2], [3, u64::from(minor)]);
        }
    }
}
