//! Direct wheels whose bytes are all at hand: brought there, and refused as a build would refuse them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DirectError, Look};
use crate::digest::{WheelDigest, hash_reader};
use crate::env::tree::TreeError;
use crate::fetch;
use crate::fsx::PathContext as _;
use crate::index::{self, CoreMetadata, IndexFile};
use crate::target::{PythonMinor, Target};
use crate::wheel::archive::LocalFile;

impl Look<'_> {
    /// Brings a wheel into the cache, where its digest is what is stated if anything is, and takes it from there.
    pub(super) fn download(&self, file: &IndexFile) -> Result<(IndexFile, Arc<CoreMetadata>), DirectError> {
        let whole = self.network.sources.whole();
        let wheel = whole.one(file, self.project.reporter).map_err(|error| match error {
            fetch::Error::Digest {
                file, expected, actual, ..
            } => self.other_digest(&file, expected, actual),
            fetch::Error::Path(error) => DirectError::Path(error),
            error => self.not_fetched(error.into()),
        })?;
        let arrived = IndexFile {
            digest: Some(*wheel.digest()),
            size: Some(wheel.size()),
            ..file.clone()
        };
        let metadata = self.whole(&arrived, wheel.path()).inspect_err(|_| whole.forget(file))?;
        Ok((arrived, metadata))
    }

    /// A wheel that stands in the cache with the bytes of its digest. One that rotted there is fetched again.
    pub(super) fn intact(&self, digest: &WheelDigest, file: &str) -> Result<Option<(PathBuf, u64)>, DirectError> {
        let Some((path, size)) = self.network.cache.find_wheel(digest, file, None)? else {
            return Ok(None);
        };
        let (actual, _) = std::fs::File::open(&path).and_then(hash_reader).at("read", &path)?;
        if WheelDigest::from_bytes(actual) == *digest {
            return Ok(Some((path, size)));
        }
        if !self.network.http.is_offline() {
            self.network.cache.forget(&path)?;
        }
        Ok(None)
    }

    /// A wheel whose bytes are all at hand, and have its digest: refused as unpacking it would, before it is locked.
    pub(super) fn whole(&self, file: &IndexFile, path: &Path) -> Result<Arc<CoreMetadata>, DirectError> {
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
            let Some(full) = self.project.full_version(target.python, None) else {
                return false;
            };
            file.filename.is_compatible(&target.tags())
                && required.is_none_or(|required| required.contains(&full.only_release()))
                && self.marker.evaluate(&target.markers(&full), &[])
        };
        self.targets.iter().filter(gets).map(|target| target.python).collect()
    }
}
