//! What can go wrong when an index is asked.

use std::path::PathBuf;

use super::page::PageError;
use crate::digest::WheelDigest;
use crate::fsx::PathError;
use crate::http::{self, ShownUrl};
use crate::pep::PackageName;
use crate::wheel::metadata::MetadataError;

/// An index that did not tell what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No package index is configured and none can be found out.
    #[error("{name} comes from the package index, and no package index is configured")]
    NoIndex {
        /// The package that was looked for.
        name: PackageName,
    },
    /// Several private indexes claim one name.
    #[error("{name} is claimed by several indexes: {}", indexes.join(", "))]
    Ambiguous {
        /// The package.
        name: PackageName,
        /// The names of the indexes.
        indexes: Vec<String>,
    },
    /// A page cannot be fetched.
    #[error("cannot fetch the index page {url}")]
    Fetch {
        /// The page.
        url: ShownUrl,
        /// Why.
        #[source]
        source: http::Error,
    },
    /// A page cannot be understood.
    #[error("cannot read the index page {url}")]
    Page {
        /// The page.
        url: ShownUrl,
        /// Why.
        #[source]
        source: PageError,
    },
    /// A folder or page of pip's `find-links` cannot be used.
    #[error("cannot use the find-links location {location}")]
    Links {
        /// The location as configured, without credentials.
        location: String,
        /// Why.
        #[source]
        source: PathError,
    },
    /// A wheel's metadata cannot be fetched.
    #[error("cannot fetch the metadata of {file}")]
    Metadata {
        /// The wheel's file name.
        file: String,
        /// Why.
        #[source]
        source: http::Error,
    },
    /// A metadata file is not the one that the page promised.
    #[error("the metadata of {file} has the SHA-256 {actual}, but the index page states {expected}")]
    MetadataDigest {
        /// The wheel's file name.
        file: String,
        /// As the page states it.
        expected: WheelDigest,
        /// As it arrived.
        actual: WheelDigest,
    },
    /// A wheel that was downloaded for its metadata is not the one that the page promised.
    #[error("{file} has the SHA-256 {actual}, but the index page states {expected}")]
    WheelDigest {
        /// The wheel's file name.
        file: String,
        /// As the page states it.
        expected: WheelDigest,
        /// As it arrived.
        actual: WheelDigest,
    },
    /// A wheel's archive does not yield its metadata.
    #[error("cannot read the metadata inside {file}")]
    Archive {
        /// The wheel's file name.
        file: String,
        /// Why.
        #[source]
        source: http::Cause,
    },
    /// The metadata itself cannot be used.
    #[error(transparent)]
    Unusable(#[from] MetadataError),
    /// A file on this machine cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A `file:` URL that names nothing on this machine.
    #[error("{0} names no file on this machine")]
    NotLocal(ShownUrl),
    /// A local path that has no URL form.
    #[error("{} cannot be written as a URL", .0.display())]
    NoUrl(PathBuf),
}

impl Error {
    /// The HTTP failure behind it, where there is one.
    #[must_use]
    pub fn http(&self) -> Option<&http::Error> {
        match self {
            Self::Fetch { source, .. } | Self::Metadata { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Whether it failed because the network may not be used.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        matches!(self.http(), Some(http::Error::Offline { .. }))
    }
}
