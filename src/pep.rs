//! The one door to the crates that know Python's packaging standards (PEP 440, 503, 425, 427, 508).
//!
//! Everything else in flambeau names these types through this module, because the crates behind it are pinned to one
//! exact version and move their interfaces between releases.

pub use uv_distribution_filename::{BuildTag, WheelFilename};
pub use uv_normalize::{ExtraName, GroupName, PackageName};
pub use uv_pep440::{
    Operator, Version, VersionSpecifier, VersionSpecifiers, canonicalize_version_ranges, release_specifiers_to_ranges,
};
pub use uv_pep508::{
    CanonicalMarkerValueVersion, MarkerEnvironment, MarkerEnvironmentBuilder, MarkerTree, MarkerTreeKind, VerbatimUrl,
    VersionOrUrl,
};
pub use uv_platform_tags::{Arch, Os, Platform as TagPlatform, TagCompatibility, TagPriority, Tags, TagsOptions};

/// A PEP 508 requirement: name, extras, version specifiers or URL, marker.
pub type Requirement = uv_pep508::Requirement<VerbatimUrl>;

/// The version without its local label: `2.7.0` of `2.7.0+cu118`.
#[must_use]
pub fn public_version(version: &Version) -> Version {
    version.clone().without_local()
}
