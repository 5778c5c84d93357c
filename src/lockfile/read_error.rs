//! What can be wrong, or odd, with the text of a lockfile.

use std::fmt;

use super::text::{LOCK_VERSION, SCHEMA};
use crate::document::DocumentError;
use crate::pep::{PackageName, Version};

/// Why a value cannot be used.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Something odd in a lockfile that does not keep it from being used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadWarning {
    /// The file follows a newer minor version of the standard.
    NewerMinor(String),
    /// The requirements in the file are not those that it was resolved for.
    RequirementsEdited,
}

impl fmt::Display for ReadWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerMinor(version) => write!(
                formatter,
                "lock-version is {version}, newer than {LOCK_VERSION}; what is new in it is passed over"
            ),
            Self::RequirementsEdited => {
                formatter.write_str("the requirements in the lockfile were changed after it was resolved")
            }
        }
    }
}

/// Text that is no lockfile, or one that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Not TOML, or not of the shape of PEP 751.
    #[error("not a lockfile in the sense of PEP 751")]
    Syntax(#[source] DocumentError),
    /// A major version of the standard that is not known.
    #[error("lock-version is {0}; only 1.x can be read")]
    LockVersion(String),
    /// `[tool.flambeau]` of a newer flambeau.
    #[error("[tool.flambeau] has schema {0}; this flambeau reads schema {SCHEMA}")]
    Schema(u32),
    /// A value that does not mean what its key says.
    #[error("{place}: `{value}` cannot be used as {key}")]
    Value {
        /// The package, file or table.
        place: Place,
        /// The key.
        key: &'static str,
        /// The value as written.
        value: String,
        /// Why not.
        #[source]
        source: Cause,
    },
    /// A name in another spelling than the normalised one.
    #[error("{written} is not a normalised name; PEP 751 requires `{name}`")]
    NotNormalised {
        /// As written.
        written: String,
        /// As it must be.
        name: PackageName,
    },
    /// A package that does not say what is installed for it.
    #[error("{0} has no wheels and no other source")]
    NoSource(String),
    /// A package with sources that exclude each other.
    #[error("{name} has several sources ({}), of which PEP 751 allows one", keys.join(", "))]
    Sources {
        /// The package.
        name: String,
        /// The keys that name them.
        keys: Vec<&'static str>,
    },
    /// A file without `hashes`.
    #[error("{name}: {file} has no hashes, which PEP 751 requires")]
    NoHash {
        /// The package.
        name: PackageName,
        /// The file, or what it is.
        file: String,
    },
    /// A package of another kind than wheels.
    #[error("{name} is locked as {kind}; only packages with wheels can be installed")]
    NotWheels {
        /// The package.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// A package without a version.
    #[error("{name} has no version")]
    NoVersion {
        /// The package.
        name: String,
    },
    /// A wheel that does not say where it comes from.
    #[error("{name}: {file} has neither url nor path")]
    NoOrigin {
        /// The package.
        name: PackageName,
        /// The file, or its number in the list.
        file: String,
    },
    /// A wheel without a digest that can be checked.
    #[error("{name}: {file} has no sha256, so it cannot be verified")]
    NoDigest {
        /// The package.
        name: PackageName,
        /// The file.
        file: String,
    },
    /// A wheel of another package or version.
    #[error("{file} is listed under {name} {version}, which it is no wheel of")]
    OtherWheel {
        /// The package.
        name: PackageName,
        /// Its version.
        version: Version,
        /// The file.
        file: String,
    },
    /// A path that contradicts the wheel's digest or name, or that has a drive letter.
    #[error("{name}: {file} has the path `{path}`, where it cannot be")]
    Path {
        /// The package.
        name: PackageName,
        /// The file.
        file: String,
        /// The path as written.
        path: String,
    },
}

/// Where in a lockfile something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At the top.
    Top,
    /// In `[tool.flambeau]`.
    Tool,
    /// In an entry of `[[packages]]`, of this name.
    Package(String),
    /// In a wheel of the package of this name.
    Wheel(String, String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => formatter.write_str("the lockfile"),
            Self::Tool => formatter.write_str("[tool.flambeau]"),
            Self::Package(name) => formatter.write_str(name),
            Self::Wheel(name, file) => write!(formatter, "{name}: {file}"),
        }
    }
}
