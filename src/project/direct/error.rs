//! Why a wheel that a requirement names cannot be locked.

use std::path::PathBuf;

use crate::backend::Channel;
use crate::digest::WheelDigest;
use crate::fsx::PathError;
use crate::index;
use crate::pep::PackageName;
use crate::requirement::ReferenceError;
use crate::resolve::BoxError;

/// Why a wheel that a requirement names cannot be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectError {
    /// The requirement.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A path outside the project.
    #[error("`{requirement}` is outside the project's folder")]
    Outside {
        /// As written.
        requirement: String,
    },
    /// There is no such file.
    #[error("`{requirement}`: there is no file {}", path.display())]
    Missing {
        /// As written.
        requirement: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The wheel cannot be fetched.
    #[error("cannot fetch `{requirement}`")]
    Fetch {
        /// As written.
        requirement: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The bytes are not those that the requirement (or the channel's page) names.
    #[error("{file} has the SHA-256 {actual}, and {stated} is stated for `{requirement}`")]
    Digest {
        /// The wheel.
        file: String,
        /// As written.
        requirement: String,
        /// What is stated.
        stated: WheelDigest,
        /// What arrived, or what the channel's page lists.
        actual: WheelDigest,
    },
    /// It is no wheel, or not the one that its name says.
    #[error("`{requirement}` cannot be used")]
    Unusable {
        /// As written.
        requirement: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// Its metadata, or the channel's page, cannot be had.
    #[error("cannot look at `{requirement}`")]
    Index {
        /// As written.
        requirement: String,
        /// Why.
        #[source]
        source: Box<index::Error>,
    },
    /// Two different files of one name.
    #[error("two requirements name different files called {file}")]
    TwoFiles {
        /// The file name.
        file: String,
    },
    /// A wheel of the PyTorch family from elsewhere.
    #[error("`{requirement}`: {name} comes from the channel {channel}, whose index does not list that file")]
    Family {
        /// As written.
        requirement: String,
        /// The package.
        name: PackageName,
        /// The channel.
        channel: Channel,
    },
    /// On the channel `pip`, a wheel of the PyTorch family that another channel offers.
    #[error("`{requirement}` is of the channel {found}, and the channel {wanted} is locked")]
    OtherChannel {
        /// As written.
        requirement: String,
        /// Whose wheel it is.
        found: Channel,
        /// What is locked.
        wanted: Channel,
    },
}
