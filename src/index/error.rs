//! What can go wrong when an index is asked.

use std::path::PathBuf;

use super::page::PageError;
use crate::digest::WheelDigest;
use crate::fetch;
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
    /// `no-index` of pip's configuration, and nothing beside it.
    #[error("{name} comes from the package index, and `no-index` of pip's configuration forbids to use one")]
    NoIndexAllowed {
        /// The package that was looked for.
        name: PackageName,
    },
    /// Nobody names a package index, and offline the interpreter's own is not found out.
    #[error("{name} comes from the package index, which is needed, but the network may not be used (offline)")]
    Offline {
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
    /// A wheel of another size than the page states.
    #[error("{file} has {actual} bytes, but the index page states {expected}")]
    WheelSize {
        /// The wheel's file name.
        file: String,
        /// As the page states it.
        expected: u64,
        /// As the server states it, or sent.
        actual: u64,
    },
    /// The wheel itself cannot be fetched, which is needed for its metadata.
    #[error("cannot fetch the metadata of {file}")]
    Wheel {
        /// The wheel's file name.
        file: String,
        /// Why.
        #[source]
        source: Box<fetch::Error>,
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
    /// A whole wheel that did not arrive, in terms of the page that lists it.
    pub(super) fn of_wheel(wheel: &str, error: fetch::Error) -> Self {
        match error {
            fetch::Error::Digest {
                file, expected, actual, ..
            } => Self::WheelDigest { file, expected, actual },
            fetch::Error::Size {
                file, expected, actual, ..
            } => Self::WheelSize { file, expected, actual },
            fetch::Error::Path(error) => Self::Path(error),
            error => Self::Wheel {
                file: wheel.to_owned(),
                source: Box::new(error),
            },
        }
    }

    /// The HTTP failure behind it, where there is one.
    #[must_use]
    pub fn http(&self) -> Option<&http::Error> {
        match self {
            Self::Fetch { source, .. } | Self::Metadata { source, .. } => Some(source),
            Self::Wheel { source, .. } => match &**source {
                fetch::Error::Http { source, .. } => Some(source),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it failed because the network may not be used.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        matches!(self.http(), Some(http::Error::Offline { .. }))
    }
}
