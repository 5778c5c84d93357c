//! The document of a bundle: `flambeau-bundle.json`.
//!
//! Its rows stand in the order in which an archive has the files. Refuses: paths that are unsafe or named twice, rows
//! whose kind and path do not belong together, wheels whose name is none.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::BundleError;
use crate::backend::{Backend, Channel};
use crate::digest::{EnvironmentKey, FileDigest, WheelDigest};
use crate::document::DocumentError;
use crate::pep::WheelFilename;
use crate::relpath::RelPath;
use crate::target::Target;

/// The document's name.
pub const DOCUMENT: &str = "flambeau-bundle.json";
/// The form of the document. One without bytecode has the first, which older programs read too.
pub(super) const SCHEMA: u32 = 2;
/// No real document comes near; larger ones are not read.
pub(super) const LARGEST: u64 = 64 << 20;

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    schema: u32,
    /// The environments that can be built from it.
    pub environments: Vec<BundledEnvironment>,
    /// Its files.
    pub files: Vec<FileEntry>,
}

/// One environment that a bundle is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundledEnvironment {
    /// The `<name>` of `lockfiles/pylock.<name>.toml`.
    pub lockfile: String,
    /// The lockfile's channel.
    pub channel: Channel,
    /// The backend.
    pub backend: Backend,
    /// The target.
    pub target: Target,
    /// The key.
    pub key: EnvironmentKey,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A lockfile.
    Lockfile,
    /// `keys.json`.
    Keys,
    /// The program.
    Program,
    /// A wheel.
    Wheel,
    /// The manifest or the facts of a wheel tree.
    Tree,
    /// The manifest of a wheel tree's bytecode.
    Bytecode,
    /// A page of a package index, or the METADATA of a wheel.
    Page,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// What it is for.
    pub kind: FileKind,
    /// Where it is.
    pub path: RelPath,
    /// Bytes.
    pub size: u64,
    /// Content.
    pub sha256: FileDigest,
}

impl FileEntry {
    /// The digest of a wheel, in its role.
    #[must_use]
    pub fn wheel_digest(&self) -> WheelDigest {
        WheelDigest::from_bytes(*self.sha256.as_bytes())
    }

    /// The tree that a row of kind [`FileKind::Tree`] belongs to, and the file's name in it.
    #[must_use]
    pub fn of_tree(&self) -> Option<(&str, &str)> {
        let parts: Vec<&str> = self.path.components().collect();
        match parts.as_slice() {
            ["trees", tree, file] if self.kind == FileKind::Tree => Some((tree, file)),
            _ => None,
        }
    }

    /// The bytecode whose manifest a row of kind [`FileKind::Bytecode`] is.
    #[must_use]
    pub fn of_bytecode(&self) -> Option<&str> {
        let parts: Vec<&str> = self.path.components().collect();
        match parts.as_slice() {
            ["bytecode", name, "manifest.json"] if self.kind == FileKind::Bytecode => Some(name),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Head {
    schema: u32,
}

impl Document {
    /// A document of what will be written.
    #[must_use]
    pub fn new(environments: Vec<BundledEnvironment>, files: Vec<FileEntry>) -> Self {
        let plain = files.iter().all(|row| row.kind != FileKind::Bytecode);
        Self {
            schema: if plain { 1 } else { SCHEMA },
            environments,
            files,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Text and numbers: serialising never fails.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads a document of `bundle`, the path for messages.
    pub fn parse(bytes: &[u8], bundle: &Path) -> Result<Self, BundleError> {
        let document = |error| BundleError::Document {
            bundle: bundle.to_owned(),
            source: DocumentError::json(bytes, &error),
        };
        // The schema first: what else a newer document holds is not known.
        let Head { schema } = serde_json::from_slice(bytes).map_err(document)?;
        if !(1..=SCHEMA).contains(&schema) {
            return Err(BundleError::Newer {
                bundle: bundle.to_owned(),
                found: schema,
            });
        }
        let read: Self = serde_json::from_slice(bytes).map_err(document)?;
        read.check().map_err(|reason| BundleError::Contradiction {
            bundle: bundle.to_owned(),
            reason,
        })?;
        Ok(read)
    }

    fn check(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let mut kind = FileKind::Lockfile;
        for row in &self.files {
            if row.path.as_str() == DOCUMENT || !seen.insert(&row.path) {
                return Err(format!("it names {} twice", row.path));
            }
            if row.kind < kind {
                return Err(format!("{} is out of order", row.path));
            }
            kind = row.kind;
            let fits = match row.kind {
                FileKind::Lockfile => row.lockfile_name().is_some(),
                FileKind::Keys => row.path.as_str() == "lockfiles/keys.json",
                FileKind::Program => row.path.as_str() == "bin/flambeau",
                FileKind::Wheel => row.path.file_name().parse::<WheelFilename>().is_ok(),
                FileKind::Tree => matches!(row.of_tree(), Some((_, "manifest.json" | "facts.json"))),
                FileKind::Bytecode => row.of_bytecode().is_some(),
                FileKind::Page => true,
            };
            if !fits {
                return Err(format!("{} is not what its row says", row.path));
            }
        }
        let trees: Vec<(&str, &str)> = self.files.iter().filter_map(FileEntry::of_tree).collect();
        let paired =
            |pair: &[(&str, &str)]| matches!(pair, [(one, "manifest.json"), (other, "facts.json")] if one == other);
        if !trees.chunks(2).all(paired) {
            return Err("a tree lacks its manifest or its facts".to_owned());
        }
        let named = |name: &str| self.files.iter().any(|row| row.lockfile_name() == Some(name));
        match self.environments.iter().find(|one| !named(&one.lockfile)) {
            Some(lost) => Err(format!("it has no lockfile `{}`", lost.lockfile)),
            None => Ok(()),
        }
    }
}

impl FileEntry {
    /// The `<name>` of a lockfile's row.
    #[must_use]
    pub fn lockfile_name(&self) -> Option<&str> {
        let name = self
            .path
            .as_str()
            .strip_prefix("lockfiles/pylock.")?
            .strip_suffix(".toml")?;
        let plain = !name.is_empty() && !name.contains(['.', '/']);
        (self.kind == FileKind::Lockfile && plain).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: FileKind, path: &str) -> FileEntry {
        FileEntry {
            kind,
            path: RelPath::new(path).expect("safe"),
            size: 1,
            sha256: FileDigest::of(b"x"),
        }
    }

    fn said(files: Vec<FileEntry>) -> String {
        let bytes = Document::new(Vec::new(), files).to_bytes();
        match Document::parse(&bytes, Path::new("b")) {
            Ok(_) => "fine".to_owned(),
            Err(BundleError::Contradiction { reason, .. }) => reason,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn rows_must_fit_together() {
        use FileKind::{Bytecode, Lockfile, Page, Program, Tree, Wheel};
        let wheel = "a-1-py3-none-any.whl";
        for (rows, expected) in [
            (
                vec![row(Lockfile, "lockfiles/pylock.cpu.toml"), row(Wheel, wheel)],
                "fine",
            ),
            (
                vec![row(Wheel, wheel), row(Wheel, wheel)],
                "it names a-1-py3-none-any.whl twice",
            ),
            (vec![row(Page, DOCUMENT)], "it names flambeau-bundle.json twice"),
            (
                vec![row(Wheel, wheel), row(Lockfile, "lockfiles/pylock.cpu.toml")],
                "lockfiles/pylock.cpu.toml is out of order",
            ),
            (vec![row(Program, "bin/sh")], "bin/sh is not what its row says"),
            (vec![row(Wheel, "setup.py")], "setup.py is not what its row says"),
            (
                vec![row(Tree, "trees/a/root/x")],
                "trees/a/root/x is not what its row says",
            ),
            (vec![row(Bytecode, "bytecode/a/manifest.json")], "fine"),
            (
                vec![row(Bytecode, "bytecode/a/root/x.pyc")],
                "bytecode/a/root/x.pyc is not what its row says",
            ),
            (
                vec![row(Tree, "trees/a/facts.json"), row(Tree, "trees/a/manifest.json")],
                "a tree lacks its manifest or its facts",
            ),
            (
                vec![row(Lockfile, "lockfiles/pylock.a.b.toml")],
                "lockfiles/pylock.a.b.toml is not what its row says",
            ),
        ] {
            assert_eq!(said(rows), expected);
        }
    }

    #[test]
    fn unsafe_paths_and_newer_schemas_are_refused() {
        let text =
            String::from_utf8(Document::new(Vec::new(), vec![row(FileKind::Page, "x")]).to_bytes()).expect("text");
        let parse = |text: &str| Document::parse(text.as_bytes(), Path::new("b"));
        assert!(matches!(
            parse(&text.replace("\"x\"", "\"../x\"")),
            Err(BundleError::Document { .. })
        ));
        assert!(matches!(
            parse("{\"schema\": 3, \"new\": 1}"),
            Err(BundleError::Newer { found: 3, .. })
        ));
    }
}
