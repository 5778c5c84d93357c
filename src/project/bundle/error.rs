//! Why a bundle cannot be written or taken in.

use std::path::PathBuf;

use crate::bundle::BundleError;
use crate::config::ConfigError;
use crate::env::tree::TreeError;
use crate::fsx::PathError;
use crate::project::lockfiles::LockfileError;
use crate::project::plan::PlanError;
use crate::project::realise::RealiseError;
use crate::python;
use crate::relpath::UnsafePath;
use crate::target::Target;
use crate::wheel::archive::ArchiveError;
use crate::wheel::metadata::MetadataError;

/// Why a bundle cannot be written or taken in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle itself.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A lockfile.
    #[error(transparent)]
    Lockfile(#[from] LockfileError),
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Wheels could not be fetched, or trees not be made.
    #[error(transparent)]
    Realise(#[from] RealiseError),
    /// A path that no bundle has.
    #[error(transparent)]
    Unsafe(#[from] UnsafePath),
    /// No Python of this machine makes trees for a target.
    #[error("no Python of this machine can make trees for {target}")]
    NoPython {
        /// The target.
        target: Target,
        /// Why.
        #[source]
        source: Option<python::Error>,
    },
    /// A tree that was just made is not there.
    #[error("the tree {0} has gone away")]
    NoTree(String),
    /// A tree's manifest.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A wheel cannot be opened for its METADATA.
    #[error("cannot read the METADATA of {file}")]
    Archive {
        /// The wheel.
        file: String,
        /// Why.
        #[source]
        source: ArchiveError,
    },
    /// A wheel's METADATA is none.
    #[error("cannot understand the METADATA of {file}")]
    Metadata {
        /// The wheel.
        file: String,
        /// Why.
        #[source]
        source: MetadataError,
    },
    /// The project has another lockfile of that name.
    #[error("the project has another {} than the bundle", .0.display())]
    OtherLockfile(PathBuf),
}
