//! What is wanted, and what is had: wheels before and after they are in the cache.

use std::path::{Path, PathBuf};

use url::Url;

use crate::digest::{FileDigest, WheelDigest};
use crate::http::bare;

/// A wheel to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its file name, with `+` and not `%2B`.
    pub file: String,
    /// Its digest, where anybody states one. Without, the wheel is what its one URL has now.
    pub digest: Option<WheelDigest>,
    /// Its size, where known.
    pub size: Option<u64>,
    /// Where it may be, best first. May be empty: then [`super::FetchOptions::locate`] is asked.
    pub urls: Vec<Url>,
}

impl Wanted {
    /// The name of its partial files, without ending: its digest, else its place. It has neither `-` nor `.`, which stand
    /// behind it.
    pub(super) fn stem(&self) -> String {
        match &self.digest {
            Some(digest) => digest.to_string(),
            None => format!("url_{}", FileDigest::of(self.place().as_bytes())),
        }
    }

    /// Where a wheel comes from whose digest nobody states. Without query: it may hold a signature that is short-lived.
    pub(super) fn place(&self) -> String {
        let url = self.urls.first().map(|url| bare(url).to_string());
        format!("{} at {}", self.file, url.unwrap_or_default())
    }
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
    pub(super) fn cached(wanted: &Wanted, digest: WheelDigest, (path, size): (PathBuf, u64)) -> Self {
        Self {
            file: wanted.file.clone(),
            digest,
            path,
            size,
            evidence: Evidence::Cached,
        }
    }

    /// A wheel that was hashed while it arrived.
    pub(super) fn downloaded(wanted: &Wanted, digest: WheelDigest, found: (PathBuf, u64)) -> Self {
        Self {
            evidence: Evidence::Downloaded,
            ..Self::cached(wanted, digest, found)
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
