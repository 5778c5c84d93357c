//! Bundles: lockfiles, wheels or built trees, and what else a machine without a network needs, as a folder or a file.
//!
//! ```text
//! flambeau-bundle.json           the document: what is in here, every file with its size and SHA-256
//! lockfiles/pylock.<name>.toml   the lockfiles, byte for byte
//! lockfiles/keys.json            their environment keys
//! bin/flambeau                   the program (`--with-program`)
//! <file>.whl                     the wheels: the folder is a wheelhouse, as `--find-links` wants it
//! same-name/<sha256>/<file>.whl  a wheel with the name, but not the bytes, of one above
//! trees/<tree>/                  wheel trees (`--trees`): manifest.json, facts.json, root/…
//! bytecode/<name>/               their bytecode: manifest.json, root/…
//! simple/, whl/<channel>/        pages of a package index and of the channels (`--simple-index`)
//! ```
//!
//! A file (`.tar`, `.tar.zst`) holds the same in the order of the document, the document first, so that it is read in
//! one pass and nothing is believed before it was compared. The files below the `root/` of a tree and of bytecode are not
//! in the document: the manifest beside it, which is, has their digests. So the digest of the document, *the bundle's digest*, stands
//! for every byte. Equal inputs give equal bytes: fixed order, modes 0644 and 0755, no owner, and one time for all
//! (`SOURCE_DATE_EPOCH`, else 1980).
//! `--split` cuts the file into `<file>.001`, `<file>.002`, … which `cat` joins again.
//!
//! Refuses, when reading: a file that is not in the document, out of its order, of another size or digest; anything but
//! regular files; unsafe paths; a document of a newer schema; trees whose facts are not those of their manifest.
//! Nothing becomes visible in cache or store that was not compared with its digest first.

mod document;
mod error;
mod import;
pub mod pages;
mod parts;
mod read;
mod tree;
mod write;

pub use document::{BundledEnvironment, DOCUMENT, Document, FileEntry, FileKind};
pub use error::BundleError;
pub use import::{Imported, Importer, Opened};
pub use write::{Content, Item, Options, Output, Written, write};

/// The time of every file in a bundle where `SOURCE_DATE_EPOCH` names none: 1 January 1980, in seconds.
pub const EPOCH: u64 = 315_532_800;
