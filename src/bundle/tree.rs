//! Taking a wheel tree of a bundle into a store.
//!
//! The manifest and the facts were compared with the document; here every file is compared with the manifest while it
//! is written to a staging folder, and the facts with what follows from the manifest. Only then the tree is committed,
//! as one that was built here would be.

use std::io::{self, Write as _};

use super::BundleError;
use super::document::FileEntry;
use super::read::Source;
use crate::document::DocumentError;
use crate::fsx::{self, PathContext as _};
use crate::pep::PackageName;
use crate::progress::Reporter;
use crate::relpath::RelPath;
use crate::space::Shortage;
use crate::store::{Claim, Shelf, Store, Sync};
use crate::wheel::manifest::{Facts, FileRow, Manifest, SCHEMA};

/// Where trees go.
pub(super) struct Shelves<'a> {
    pub(super) store: &'a Store,
    pub(super) claim: &'a Claim,
    pub(super) sync: Sync,
    pub(super) reporter: &'a dyn Reporter,
}

/// A tree of a bundle, its documents read.
pub(super) struct BundledTree {
    name: String,
    manifest: (Vec<u8>, Manifest),
    facts: Vec<u8>,
}

impl BundledTree {
    /// Reads and checks the documents.
    pub(super) fn read(source: &mut Source, manifest: &FileEntry, facts: &FileEntry) -> Result<Self, BundleError> {
        let name = manifest.of_tree().map(|(name, _)| name).unwrap_or_default().to_owned();
        let refuse = |reason: String| BundleError::Tree {
            tree: name.clone(),
            reason,
        };
        let bytes = source.read(&manifest.path, manifest.size, manifest.sha256)?;
        let read: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| refuse(DocumentError::json(&bytes, &error).to_string()))?;
        let fact_bytes = source.read(&facts.path, facts.size, facts.sha256)?;
        let stated: Facts = serde_json::from_slice(&fact_bytes)
            .map_err(|error| refuse(DocumentError::json(&fact_bytes, &error).to_string()))?;
        if (read.schema, stated.schema) != (SCHEMA, SCHEMA) {
            return Err(refuse("it was made by another version of flambeau".to_owned()));
        }
        if !read.files.is_sorted_by(|one, other| one.path < other.path) {
            return Err(refuse("its files are not sorted".to_owned()));
        }
        if !stated.root.is_folded_of(&read.files) {
            return Err(refuse("its facts are not those of its files".to_owned()));
        }
        let package: Result<PackageName, _> = stated.name.parse();
        let stem = package.map(|package| {
            let (digest, version) = (stated.wheel.short(), &stated.version);
            format!("{digest}-{}-{version}-", package.as_dist_info_name())
        });
        if !stem.is_ok_and(|stem| name.starts_with(&stem) && name.len() > stem.len()) {
            return Err(refuse("its name is not that of its wheel".to_owned()));
        }
        Ok(Self {
            name,
            manifest: (bytes, read),
            facts: fact_bytes,
        })
    }

    fn path(&self, row: &FileRow) -> Result<RelPath, BundleError> {
        Ok(RelPath::new(&format!("trees/{}/root/{}", self.name, row.path))?)
    }

    /// Leaves its files out.
    fn skip(&self, source: &mut Source) -> Result<(), BundleError> {
        let mut files = self.manifest.1.files.iter();
        files.try_for_each(|row| source.skip(&self.path(row)?, row.size))
    }

    /// Compares its files and keeps nothing.
    pub(super) fn check(&self, source: &mut Source) -> Result<(), BundleError> {
        for row in &self.manifest.1.files {
            let path = self.path(row)?;
            let nowhere = std::path::Path::new("/dev/null");
            source.copy((&path, row.size, row.digest), io::sink(), nowhere, |_| {})?;
        }
        Ok(())
    }

    /// Makes it visible in the store. Returns whether this call did; a tree that is there already stays.
    pub(super) fn import(&self, source: &mut Source, shelves: &Shelves<'_>) -> Result<bool, BundleError> {
        let (store, name) = (shelves.store, self.name.as_str());
        let is_there = || store.layers().any(|layer| layer.has(Shelf::Wheels, name));
        shelves.claim.hold(Shelf::Wheels, name)?;
        if is_there() {
            self.skip(source)?;
            return Ok(false);
        }
        let _guard = store.guard(name, shelves.reporter)?;
        // Another process may have brought it while this one waited.
        if is_there() {
            self.skip(source)?;
            return Ok(false);
        }
        let needed = self.manifest.1.files.iter().map(|row| row.size).sum();
        let free = fsx::free_bytes(store.root())?;
        if free < needed {
            return Err(BundleError::NoSpace(Shortage::expected(store.root(), needed, free)));
        }
        let staging = store.stage()?;
        let root = staging.path().join("root");
        fsx::create_dir_all(&root)?;
        for row in &self.manifest.1.files {
            let target = root.join(&row.path);
            if let Some(folder) = target.parent() {
                fsx::create_dir_all(folder)?;
            }
            let mut file = fsx::create_store_file(&target, row.executable)?;
            source.copy((&self.path(row)?, row.size, row.digest), &mut file, &target, |_| {})?;
            fsx::stamp(&file).at("set the time of", &target)?;
        }
        for (document, bytes) in [("manifest.json", &self.manifest.0), ("facts.json", &self.facts)] {
            let path = staging.path().join(document);
            let mut file = fsx::create_store_file(&path, false)?;
            file.write_all(bytes).at("write", &path)?;
            fsx::stamp(&file).at("set the time of", &path)?;
        }
        crate::checkpoint::reach("import.tree");
        Ok(store.commit(staging, Shelf::Wheels, name, shelves.sync)?)
    }
}
