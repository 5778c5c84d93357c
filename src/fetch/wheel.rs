//! What is wanted, and what is had: wheels before and after they are in the cache.

use std::path::{Path, PathBuf};

use url::Url;

use crate::digest::WheelDigest;

/// A wheel to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its file name, with `+` and not `%2B`.
    pub file: String,
    /// Its digest.
    pub digest: WheelDigest,
    /// Its size, where known.
    pub size: Option<u64>,
    /// Where it may be, best first. May be empty: then [`super::FetchOptions::locate`] is asked.
    pub urls: Vec<Url>,
}

/// How much is known of the bytes of a [`VerifiedWheel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// It stood in the cache under its digest with the right size. Its bytes were hashed when they arrived, but not by
    /// this run: whoever unpacks it hashes it.
    Cached,
    /// This run hashed every byte while it arrived.
    Downloaded,
}

/// A wheel in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedWheel {
    file: String,
    digest: WheelDigest,
    path: PathBuf,
    size: u64,
    evidence: Evidence,
}

impl VerifiedWheel {
    /// A wheel that stands in the cache under its digest.
    pub(super) fn cached(wanted: &Wanted, path: PathBuf, size: u64) -> Self {
        Self {
            file: wanted.file.clone(),
            digest: wanted.digest,
            path,
            size,
            evidence: Evidence::Cached,
        }
    }

    /// A wheel that was hashed while it arrived.
    pub(super) fn downloaded(wanted: &Wanted, path: PathBuf, size: u64) -> Self {
        Self {
            evidence: Evidence::Downloaded,
            ..Self::cached(wanted, path, size)
        }
    }

    /// Its file name.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> &WheelDigest {
        &self.digest
    }

    /// Where it stands in the cache.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How much is known of its bytes.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        self.evidence
    }
}
