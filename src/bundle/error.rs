//! What can be wrong with a bundle.

use std::path::PathBuf;

use crate::digest::FileDigest;
use crate::document::DocumentError;
use crate::fsx::PathError;
use crate::relpath::UnsafePath;
use crate::space::Shortage;
use crate::store::StoreError;

/// A bundle that cannot be written, or is refused.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no document where one should be.
    #[error("{} is no bundle: it does not begin with {}", .0.display(), super::DOCUMENT)]
    NoBundle(PathBuf),
    /// There is neither a folder, nor a file, nor its first part.
    #[error("there is no bundle {}", .0.display())]
    Missing(PathBuf),
    /// The document cannot be understood.
    #[error("the bundle {} has a document that cannot be used", bundle.display())]
    Document {
        /// The bundle.
        bundle: PathBuf,
        /// Why.
        #[source]
        source: DocumentError,
    },
    /// The document says what cannot be.
    #[error("the bundle {} contradicts itself: {reason}", bundle.display())]
    Contradiction {
        /// The bundle.
        bundle: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Written by a newer flambeau.
    #[error("the bundle {} has schema {found}; this flambeau reads schema {}", bundle.display(), super::document::SCHEMA)]
    Newer {
        /// The bundle.
        bundle: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// Another bundle than the one that was asked for.
    #[error("the bundle {} has the digest {actual}; {expected} was expected", bundle.display())]
    Unexpected {
        /// The bundle.
        bundle: PathBuf,
        /// What was asked for.
        expected: FileDigest,
        /// What it is.
        actual: FileDigest,
    },
    /// A file is not what the document says.
    #[error("{file} has the SHA-256 {actual}; the bundle's document says {expected}")]
    Digest {
        /// The file, seen from the bundle.
        file: String,
        /// As the document has it.
        expected: FileDigest,
        /// As it is.
        actual: FileDigest,
    },
    /// A file has another size than the document says.
    #[error("{file} has {actual} bytes; the bundle's document says {expected}")]
    Size {
        /// The file, seen from the bundle.
        file: String,
        /// As the document has it.
        expected: u64,
        /// As it is.
        actual: u64,
    },
    /// An archive's entry that a bundle does not have there.
    #[error("the bundle {} has {found} where {expected} should be", bundle.display())]
    Order {
        /// The bundle.
        bundle: PathBuf,
        /// What is there.
        found: String,
        /// What the document wants there.
        expected: String,
    },
    /// An archive's entry that no bundle has.
    #[error("the bundle {} has an entry that is refused: {reason}", bundle.display())]
    Entry {
        /// The bundle.
        bundle: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A path that is refused.
    #[error("the bundle has a file that is refused")]
    Unsafe(#[from] UnsafePath),
    /// It ends too early.
    #[error(
        "the bundle {} ends too early{}", bundle.display(),
        next.as_ref().map(|next| format!(": there is no {}", next.display())).unwrap_or_default()
    )]
    Truncated {
        /// The bundle, or its last part that is there.
        bundle: PathBuf,
        /// The part that would follow.
        next: Option<PathBuf>,
    },
    /// Reading it failed.
    #[error("cannot read the bundle {}", bundle.display())]
    Read {
        /// The bundle.
        bundle: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A tree that is refused.
    #[error("the tree {tree} of the bundle is refused: {reason}")]
    Tree {
        /// The tree.
        tree: String,
        /// Why.
        reason: String,
    },
    /// What was to be written is damaged here.
    #[error("{} has the SHA-256 {actual}, expected {expected}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// As it should be.
        expected: FileDigest,
        /// As it is.
        actual: FileDigest,
    },
    /// A folder that holds something else.
    #[error("{} exists, is not empty, and is no bundle", .0.display())]
    InTheWay(PathBuf),
    /// Another process writes to the same place.
    #[error("another process is writing {}", .0.display())]
    Busy(PathBuf),
    /// Too little space.
    #[error("the contents of the bundle do not fit")]
    NoSpace(#[source] Shortage),
}
