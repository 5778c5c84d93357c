//! Wheels that requirements name by URL or path: found, checked and hashed when a lockfile is made.
//!
//! Each is taken for what it says of itself: name and version of its METADATA are those of its file name, and the
//! requirement's. Its bytes go into the cache under their digest, so that a later build needs neither path nor URL.
//!
//! ```text
//! a path                     read, hashed, copied into the cache
//! a URL, up to 64 MiB        downloaded, hashed; the digest that the requirement states must be it
//! a larger URL with #sha256  its METADATA is read by range requests; the build checks the digest
//! ```
//!
//! Refuses: paths outside the project's folder without `--allow-path`; a wheel of the PyTorch family that the channel's
//! own index does not list (`pip`: one that is of another channel), so that torch never comes from two channels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::Project;
use super::network::Network;
use crate::backend::{Channel, is_family};
use crate::cache::Cache;
use crate::digest::{WheelDigest, hash_reader};
use crate::fsx::PathContext as _;
use crate::index::remote::RemoteFile;
use crate::index::{self, CoreMetadata, IndexFile};
use crate::lockfile::foreign::inside;
use crate::lockfile::text::local_path;
use crate::lockfile::{Lockfile, Origin};
use crate::pep::{MarkerTree, PackageName, Requirement, VersionOrUrl, VersionSpecifier, VersionSpecifiers};
use crate::progress::Silent;
use crate::requirement::{self, Location, Reference};
use crate::resolve::{BoxError, Direct, DirectWheels, Resolution, Upgrade};
use crate::target::Target;
use crate::wheel::archive::ReadAt as _;

/// A larger wheel whose digest is stated is not downloaded to lock it.
const WHOLE_MAX: u64 = 64 << 20;

mod error;
mod whole;

pub use error::DirectError;

/// The direct wheels of a lock.
#[derive(Debug, Default)]
pub(super) struct Directs {
    /// For the resolver.
    pub(super) wheels: DirectWheels,
    metadata: BTreeMap<Url, Arc<CoreMetadata>>,
    origins: BTreeMap<Url, Origin>,
    /// Files whose URL states no digest.
    pub(super) hashed: BTreeSet<String>,
}

/// What is needed to look at one wheel.
struct Look<'a> {
    project: &'a Project<'a>,
    channel: &'a Channel,
    network: &'a Network,
    existing: Option<&'a Lockfile>,
    upgrade: &'a Upgrade,
    /// What may be locked for.
    targets: &'a [Target],
    marker: MarkerTree,
    written: String,
    name: PackageName,
}

impl Directs {
    /// The metadata of a direct wheel.
    pub(super) fn metadata(&self, file: &IndexFile) -> Option<Arc<CoreMetadata>> {
        self.metadata.get(&file.url).cloned()
    }

    /// Where a direct wheel is said to come from.
    pub(super) fn origin(&self, name: &PackageName, file: &IndexFile) -> Option<Origin> {
        self.wheels.get(name)?;
        self.origins.get(&file.url).cloned()
    }

    /// On the channel `pip`, that a package was built against another torch than the one it gets.
    pub(super) fn mixed(&self, resolutions: &[Resolution]) -> Vec<String> {
        let Ok(torch) = "torch".parse::<PackageName>() else {
            return Vec::new();
        };
        let packages = resolutions.iter().flat_map(|resolution| &resolution.packages);
        let strangers: BTreeSet<&PackageName> = packages
            .filter(|package| is_family(&package.name) && package.dependencies.contains(&torch))
            .map(|package| &package.name)
            .filter(|name| self.wheels.contains_key(*name) != self.wheels.contains_key(&torch))
            .collect();
        let said = |name: &PackageName| {
            let (own, other) = if self.wheels.contains_key(name) {
                (name, &torch)
            } else {
                (&torch, name)
            };
            format!(
                "{own} is a file that a requirement names, and {other} is not: nobody may have built one for the other"
            )
        };
        strangers.into_iter().map(said).collect()
    }
}

impl Project<'_> {
    /// Looks at every wheel that one of `requirements` names, and puts its version in the place of its URL.
    pub(super) fn direct_wheels(
        &self,
        (channel, network): (&Channel, &Network),
        requirements: &mut [Requirement],
        existing: Option<&Lockfile>,
        (upgrade, targets): (&Upgrade, &[Target]),
    ) -> Result<Directs, DirectError> {
        let mut found = Directs::default();
        for requirement in requirements {
            let Some(reference) = requirement::wheel_of(requirement)? else {
                continue;
            };
            let look = Look {
                project: self,
                channel,
                network,
                existing,
                upgrade,
                targets,
                marker: requirement.marker,
                written: requirement::text(requirement),
                name: requirement.name.clone(),
            };
            look.at(&reference, requirement, &mut found)?;
            let version = VersionSpecifier::equals_version(reference.filename.version.clone());
            requirement.version_or_url = Some(VersionOrUrl::VersionSpecifier(VersionSpecifiers::from(version)));
        }
        Ok(found)
    }
}

impl Look<'_> {
    fn at(&self, reference: &Reference, requirement: &Requirement, found: &mut Directs) -> Result<(), DirectError> {
        let (file, origin, metadata) = match &reference.location {
            Location::Url(url) => self.remote(reference, url, found)?,
            Location::Project(path) => self.local(reference, &self.project.config.project.join(path), Some(path))?,
            Location::Absolute(path) => self.local(reference, path, None)?,
        };
        let file = IndexFile {
            requires_python: metadata.requires_python.clone(),
            ..file
        };
        let known = found.wheels.entry(self.name.clone()).or_default();
        if let Some(other) = known.iter().find(|other| other.file.file == file.file)
            && other.file.digest != file.digest
        {
            return Err(DirectError::TwoFiles { file: file.file });
        }
        found.metadata.insert(file.url.clone(), metadata);
        found.origins.insert(file.url.clone(), origin);
        known.push(Direct {
            marker: requirement.marker,
            requirement: self.written.clone(),
            url: match &reference.location {
                Location::Url(url) => url.clone(),
                _ => file.url.clone(),
            },
            file,
        });
        Ok(())
    }

    /// A file on this machine; `relative` is its path as the project has it.
    fn local(
        &self,
        reference: &Reference,
        path: &Path,
        relative: Option<&str>,
    ) -> Result<(IndexFile, Origin, Arc<CoreMetadata>), DirectError> {
        let requirement = || self.written.clone();
        let path = std::path::absolute(path).at("make absolute", path)?;
        if !self.project.config.allow_path && !inside(&self.project.config.project, &path) {
            return Err(DirectError::Outside {
                requirement: requirement(),
            });
        }
        self.check_family(reference, None)?;
        match std::fs::metadata(&path) {
            Ok(meta) if meta.is_file() => {}
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).at("look at", &path)?,
            _ => {
                let requirement = requirement();
                return Err(DirectError::Missing { requirement, path });
            }
        }
        let (digest, size) = std::fs::File::open(&path).and_then(hash_reader).at("read", &path)?;
        let digest = WheelDigest::from_bytes(digest);
        self.check_digest(reference.digest, digest, &reference.file)?;
        let url = Url::from_file_path(&path).map_err(|()| DirectError::Missing {
            requirement: requirement(),
            path: path.clone(),
        })?;
        let file = listed(reference, url, Some(digest), Some(size));
        let metadata = self.whole(&file, &path)?;
        // The cache saves the build from looking for the path; one that cannot be written must not stop a lock. What has
        // changed since it was hashed is no wheel of the cache.
        self.network.sources.whole().one(&file, &Silent).ok();
        let text = match relative {
            Some(relative) => local_path(&format!("../{}", relative.trim_start_matches("./"))),
            None => path.to_string_lossy().into_owned(),
        };
        Ok((file, Origin::Path(text), metadata))
    }

    fn remote(
        &self,
        reference: &Reference,
        url: &Url,
        found: &mut Directs,
    ) -> Result<(IndexFile, Origin, Arc<CoreMetadata>), DirectError> {
        let sources = &self.network.sources;
        let listed_digest = self.check_family(reference, Some(url))?;
        let canonical = if is_family(&self.name) {
            sources.canonical_url(url)
        } else {
            url.clone()
        };
        let fetched_from = sources.fetch_url(&canonical);
        let origin = Origin::Url(canonical.clone());
        if let Some(listed) = listed_digest {
            self.check_digest(reference.digest, listed, &reference.file)?;
        }
        let expected = reference.digest.or(listed_digest);
        let mut stated = expected;
        let before = self.locked_before(&reference.file, &canonical);
        if stated.is_none() {
            // What an earlier lock hashed need not be downloaded again.
            found.hashed.insert(reference.file.clone());
            stated = before.filter(|(_, hashed)| *hashed).map(|((digest, _), _)| digest);
        }
        if let Some(digest) = stated {
            if let Some((path, size)) = self.intact(&digest, &reference.file)? {
                let file = listed(reference, fetched_from, Some(digest), Some(size));
                let metadata = self.whole(&file, &path)?;
                return Ok((file, origin, metadata));
            }
            let locked = before.filter(|((known, _), _)| *known == digest);
            let size = locked.and_then(|((_, size), _)| size);
            let file = listed(reference, fetched_from.clone(), Some(digest), size);
            if size.is_some() {
                let kept = sources.kept_metadata(&file).map_err(|error| self.unusable(error))?;
                let kept = match kept {
                    Some(metadata) => Some(metadata),
                    None => self.read_before(&file),
                };
                if let Some(metadata) = kept {
                    return Ok((file, origin, metadata));
                }
            }
        }
        if let Some(digest) = stated {
            let remote = RemoteFile::open(&self.network.http, &fetched_from);
            let remote = remote.map_err(|error| self.not_fetched(error.into()))?;
            if let Some(remote) = remote.filter(|remote| remote.len() > WHOLE_MAX) {
                let file = listed(reference, fetched_from, Some(digest), Some(remote.len()));
                let bytes = index::metadata::of_archive(&remote, &file).map_err(|error| self.unusable(error))?;
                let metadata = index::metadata::read(&bytes, &file).map_err(|error| self.unusable(error))?;
                // As with pages: a cache that cannot be written must not stop a resolution.
                self.network.cache.write(&self.answer(&file), &bytes).ok();
                return Ok((file, origin, Arc::new(metadata)));
            }
        }
        let (file, metadata) = self.download(&listed(reference, fetched_from, expected, None))?;
        Ok((file, origin, metadata))
    }

    /// Digest and size of the wheel at `url` in the existing lockfile, and whether they are of a download; none where
    /// its package is to be chosen anew.
    fn locked_before(&self, file: &str, url: &Url) -> Option<((WheelDigest, Option<u64>), bool)> {
        let existing = self.existing?;
        let anew = match self.upgrade {
            Upgrade::None => false,
            Upgrade::All => true,
            Upgrade::Packages(names) => names.contains(&self.name),
        };
        let wheels = existing
            .packages
            .iter()
            .filter(|package| package.name == self.name && !anew);
        let wheel = wheels
            .flat_map(|package| &package.wheels)
            .find(|wheel| wheel.file == file && matches!(&wheel.origin, Origin::Url(known) if known == url))?;
        let hashed = existing.settings.hashed_by_download.contains(file);
        Some(((wheel.digest, wheel.size), hashed))
    }

    /// Where METADATA stands that was read by range requests. Nobody has checked that it belongs to the digest, so it is
    /// kept for this URL alone, and not where every wheel with that digest is looked for.
    fn answer(&self, file: &IndexFile) -> PathBuf {
        let digest = file.digest.map(|digest| digest.to_string()).unwrap_or_default();
        self.network
            .cache
            .answer_path(&format!("the METADATA at {} of the wheel {digest}", file.url))
    }

    fn read_before(&self, file: &IndexFile) -> Option<Arc<CoreMetadata>> {
        let bytes = Cache::read(&self.answer(file)).ok().flatten()?;
        index::metadata::read(&bytes, file).ok().map(Arc::new)
    }

    fn unusable(&self, source: index::Error) -> DirectError {
        match source {
            // No index is to blame for what is in a file that somebody named.
            index::Error::Unusable(error) => self.refused(error.into()),
            index::Error::Archive { source, .. } => self.refused(source),
            other => DirectError::Index {
                requirement: self.written.clone(),
                source: Box::new(other),
            },
        }
    }

    fn refused(&self, source: BoxError) -> DirectError {
        DirectError::Unusable {
            requirement: self.written.clone(),
            source,
        }
    }

    fn check_digest(&self, stated: Option<WheelDigest>, actual: WheelDigest, file: &str) -> Result<(), DirectError> {
        match stated {
            Some(stated) if stated != actual => Err(self.other_digest(file, stated, actual)),
            _ => Ok(()),
        }
    }

    fn other_digest(&self, file: &str, stated: WheelDigest, actual: WheelDigest) -> DirectError {
        DirectError::Digest {
            file: file.to_owned(),
            stated,
            requirement: self.written.clone(),
            actual,
        }
    }

    fn not_fetched(&self, source: BoxError) -> DirectError {
        DirectError::Fetch {
            requirement: self.written.clone(),
            source,
        }
    }

    /// The channel rule. On a channel, the digest that its index states.
    fn check_family(&self, reference: &Reference, url: Option<&Url>) -> Result<Option<WheelDigest>, DirectError> {
        if !is_family(&self.name) {
            return Ok(None);
        }
        let requirement = self.written.clone();
        if self.channel.is_pip() {
            return match super::from::channel_of_wheel(&reference.filename.version, url) {
                Some(found) => Err(DirectError::OtherChannel {
                    requirement,
                    found,
                    wanted: self.channel.clone(),
                }),
                None => Ok(None),
            };
        }
        let sources = &self.network.sources;
        let page = url.map(|_| sources.page(&self.name)).transpose();
        let page = page.map_err(|error| self.unusable(error))?.flatten();
        let wanted = url.map(|url| sources.canonical_url(url));
        let rows = page.iter().flat_map(|page| &page.wheels);
        let mut same = rows.filter(|row| Some(sources.canonical_url(&row.url)) == wanted);
        match same.next() {
            Some(row) => Ok(row.digest),
            None => Err(DirectError::Family {
                requirement,
                name: self.name.clone(),
                channel: self.channel.clone(),
            }),
        }
    }
}

fn listed(reference: &Reference, url: Url, digest: Option<WheelDigest>, size: Option<u64>) -> IndexFile {
    IndexFile {
        filename: reference.filename.clone(),
        file: reference.file.clone(),
        url,
        digest,
        size,
        requires_python: None,
        yanked: None,
        metadata: None,
        upload_time: None,
    }
}
