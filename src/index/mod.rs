//! Package indexes: project pages (PEP 503 HTML, PEP 691 JSON) and core metadata.
//!
//! Owns: what an index says about a project's wheels, and which index a name may come from. Refuses: files that are
//! not wheels (they are counted, never run), names from a place they do not belong to.

use crate::digest::WheelDigest;
use crate::pep::{PackageName, Requirement, Version, VersionSpecifiers, WheelFilename};

pub mod client;
mod error;
mod html;
mod json;
pub mod links;
pub mod metadata;
pub mod mirror;
pub mod page;
mod pattern;
pub mod pip;
pub mod remote;
pub mod sources;
pub mod store;
mod tail;
pub mod whole;

pub use client::{Index, IndexKind};
pub use error::Error;
pub use metadata::MetadataStore;
pub use mirror::Mirror;
pub use pattern::{InvalidPattern, NamePattern};
pub use sources::{Place, PrivateIndex, Sources, SourcesOptions};
pub use store::{Freshness, PageStore};
pub(crate) use tail::read_metadata;
pub use whole::WholeWheels;

/// One wheel as a project page lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// The parsed file name.
    pub filename: WheelFilename,
    /// The file name as written, with `+` and not `%2B`.
    pub file: String,
    /// Where to fetch it: absolute, without fragment. Credentials of the index are never part of it.
    pub url: url::Url,
    /// The SHA-256 that the page states; some rows have none.
    pub digest: Option<WheelDigest>,
    /// Size in bytes, where stated.
    pub size: Option<u64>,
    /// `data-requires-python`, where stated and parsable.
    pub requires_python: Option<VersionSpecifiers>,
    /// The reason (possibly empty) where the file was yanked (PEP 592).
    pub yanked: Option<String>,
    /// Whether the page advertises `<url>.metadata` (PEP 658/714), and its SHA-256 where stated.
    pub metadata: Option<Option<WheelDigest>>,
    /// `upload-time` as written (RFC 3339), where stated.
    pub upload_time: Option<String>,
}

/// A project's page: its wheels, and the files that flambeau cannot use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectPage {
    /// The wheels, in page order.
    pub wheels: Vec<IndexFile>,
    /// Source distributions and other files that are no wheels.
    pub not_wheels: Vec<String>,
    /// Wheels whose file name or digest cannot be understood, each with why.
    pub skipped: Vec<String>,
}

/// The part of a wheel's METADATA that resolution needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreMetadata {
    /// `Name`, normalised.
    pub name: PackageName,
    /// `Version`.
    pub version: Version,
    /// `Requires-Dist`, parsed.
    pub requires_dist: Vec<Requirement>,
    /// `Requires-Python`.
    pub requires_python: Option<VersionSpecifiers>,
    /// `Provides-Extra`, normalised.
    pub provides_extra: Vec<crate::pep::ExtraName>,
}
