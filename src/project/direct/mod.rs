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
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::network::Network;
use super::relock::full_version;
use super::{Project, hashing};
use crate::backend::{Channel, is_family};
use crate::cache::Cache;
use crate::digest::{Hasher, WheelDigest, hash_reader};
use crate::env::tree::TreeError;
use crate::fsx::{PathContext as _, PathError};
use crate::http;
use crate::index::remote::RemoteFile;
use crate::index::{self, CoreMetadata, IndexFile};
use crate::lockfile::foreign::inside;
use crate::lockfile::text::local_path;
use crate::lockfile::{Lockfile, Origin};
use crate::pep::{MarkerTree, PackageName, Requirement, VersionOrUrl, VersionSpecifier, VersionSpecifiers};
use crate::requirement::{self, Location, Reference};
use crate::resolve::{BoxError, Direct, DirectWheels, Resolution, Upgrade};
use crate::target::{PythonMinor, Target};
use crate::wheel::archive::{LocalFile, ReadAt as _};

/// A larger wheel whose digest is stated is not downloaded to lock it.
const WHOLE_MAX: u64 = 64 << 20;

mod error;

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
        if self
            .network
            .cache
            .find_wheel(&digest, &file.file, Some(size))?
            .is_none()
        {
            // The cache saves the build from looking for the path; one that cannot be written must not stop a lock.
            copy_into_cache(self.network, &path, &digest, &file.file).ok();
        }
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
        let failed = |source: BoxError| DirectError::Fetch {
            file: reference.file.clone(),
            url: url.into(),
            source,
        };
        let remote =
            RemoteFile::open(&self.network.http, &fetched_from).map_err(|error: http::Error| failed(error.into()))?;
        if let (Some(digest), Some(remote)) = (stated, &remote)
            && remote.len() > WHOLE_MAX
        {
            let file = listed(reference, fetched_from, Some(digest), Some(remote.len()));
            let bytes = index::metadata::of_archive(remote, &file).map_err(|error| self.unusable(error))?;
            let metadata = index::metadata::read(&bytes, &file).map_err(|error| self.unusable(error))?;
            // As with pages: a cache that cannot be written must not stop a resolution.
            self.network.cache.write(&self.answer(&file), &bytes).ok();
            return Ok((file, origin, Arc::new(metadata)));
        }
        let file = listed(reference, fetched_from, None, None);
        let (digest, size) = hashing::download(self.network, &file).map_err(failed)?;
        self.check_digest(expected, digest, &file.file)?;
        let file = IndexFile {
            digest: Some(digest),
            size: Some(size),
            ..file
        };
        let path = self.network.cache.wheel_path(&digest, &file.file);
        let metadata = self.whole(&file, &path)?;
        Ok((file, origin, metadata))
    }

    /// A wheel that stands in the cache with the bytes of its digest. One that rotted there is fetched again.
    fn intact(&self, digest: &WheelDigest, file: &str) -> Result<Option<(PathBuf, u64)>, DirectError> {
        let Some((path, size)) = self.network.cache.find_wheel(digest, file, None)? else {
            return Ok(None);
        };
        let (actual, _) = std::fs::File::open(&path).and_then(hash_reader).at("read", &path)?;
        if WheelDigest::from_bytes(actual) == *digest {
            return Ok(Some((path, size)));
        }
        if !self.network.http.is_offline() {
            std::fs::remove_file(&path).at("remove", &path)?;
        }
        Ok(None)
    }

    /// A wheel whose bytes are all at hand, and have its digest: refused as unpacking it would, before it is locked.
    fn whole(&self, file: &IndexFile, path: &Path) -> Result<Arc<CoreMetadata>, DirectError> {
        let bytes = std::fs::File::open(path).and_then(LocalFile::new).at("open", path)?;
        let bytes = index::metadata::of_archive(&bytes, file);
        let metadata = bytes.and_then(|bytes| Ok((index::metadata::read(&bytes, file)?, bytes)));
        let pythons = self.pythons(file, metadata.as_ref().ok().map(|(metadata, _)| metadata));
        // Its reasons are a build's, so they are told before those of its METADATA alone.
        let checked = self.project.check_whole(file, path, pythons);
        checked.map_err(|error| match error {
            TreeError::Path(error) => DirectError::Path(error),
            error => self.refused(error.into()),
        })?;
        let (metadata, bytes) = metadata.map_err(|error| self.unusable(error))?;
        if let Some(digest) = &file.digest {
            // As with pages: a cache that cannot be written must not stop a resolution.
            self.network
                .cache
                .write(&self.network.cache.metadata_path(digest), &bytes)
                .ok();
        }
        Ok(Arc::new(metadata))
    }

    /// The Pythons that may get this wheel. What does not fit is the resolver's to explain.
    fn pythons(&self, file: &IndexFile, metadata: Option<&CoreMetadata>) -> BTreeSet<PythonMinor> {
        let required = metadata.and_then(|metadata| metadata.requires_python.as_ref());
        let gets = |target: &&Target| {
            let pinned = self.project.pinned_python(target.python);
            let full = pinned.unwrap_or_else(|| full_version(target.python, None));
            file.filename.is_compatible(&target.tags())
                && required.is_none_or(|required| required.contains(&full.only_release()))
                && self.marker.evaluate(&target.markers(&full), &[])
        };
        self.targets.iter().filter(gets).map(|target| target.python).collect()
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
            Some(stated) if stated != actual => Err(DirectError::Digest {
                file: file.to_owned(),
                stated,
                requirement: self.written.clone(),
                actual,
            }),
            _ => Ok(()),
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

/// Copies a local wheel under its digest; what changed while it was copied is not kept.
fn copy_into_cache(network: &Network, path: &Path, digest: &WheelDigest, file: &str) -> Result<(), PathError> {
    let folder = network.cache.partial_folder()?;
    let mut temporary = tempfile::Builder::new()
        .prefix("local-")
        .suffix(".part")
        .tempfile_in(&folder)
        .at("create a file in", &folder)?;
    let mut source = std::fs::File::open(path).at("open", path)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = source.read(&mut buffer).at("read", path)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        temporary.write_all(&buffer[..count]).at("write", temporary.path())?;
    }
    if WheelDigest::from_bytes(hasher.finish()) == *digest {
        let path = temporary.into_temp_path();
        network.cache.admit_wheel(&path, digest, file)?;
        // Renamed away: nothing is left to delete.
        path.keep().ok();
    }
    Ok(())
}
