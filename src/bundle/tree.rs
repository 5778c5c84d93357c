//! Taking a wheel tree of a bundle, or its bytecode, into a store.
//!
//! The manifest and the facts were compared with the document; here every file is compared with the manifest while it
//! is written to a staging folder, and the facts with what follows from the manifest. Only then the object is committed,
//! as one that was built here would be.

use std::io::{self, Write as _};

use super::BundleError;
use super::document::FileEntry;
use super::read::Source;
use crate::document::DocumentError;
use crate::env::bytecode::{BytecodeManifest, bytecode_name};
use crate::env::tree::python_of;
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

/// A tree of a bundle, or the bytecode of one, its documents read.
pub(super) struct BundledTree {
    shelf: Shelf,
    name: String,
    /// The folder in the bundle that has its files.
    root: String,
    files: Vec<FileRow>,
    /// Its folders without a file.
    empty: Vec<RelPath>,
    /// Its documents: name and bytes.
    documents: Vec<(&'static str, Vec<u8>)>,
    /// What its commit record says of it.
    contents: Option<serde_json::Value>,
}

/// Reads a document of an object.
fn document<T: serde::de::DeserializeOwned>(
    source: &mut Source,
    entry: &FileEntry,
    refuse: &dyn Fn(String) -> BundleError,
) -> Result<(Vec<u8>, T), BundleError> {
    let bytes = source.read(&entry.path, entry.size, entry.sha256)?;
    let read =
        serde_json::from_slice(&bytes).map_err(|error| refuse(DocumentError::json(&bytes, &error).to_string()))?;
    Ok((bytes, read))
}

const OTHER_VERSION: &str = "it was made by another version of flambeau";

impl BundledTree {
    /// Reads and checks the documents of a tree.
    pub(super) fn read(source: &mut Source, manifest: &FileEntry, facts: &FileEntry) -> Result<Self, BundleError> {
        let name = manifest.of_tree().map(|(name, _)| name).unwrap_or_default().to_owned();
        let refuse = |reason: String| BundleError::Tree {
            tree: name.clone(),
            reason,
        };
        let (bytes, read): (_, Manifest) = document(source, manifest, &refuse)?;
        let (fact_bytes, stated): (_, Facts) = document(source, facts, &refuse)?;
        if (read.schema, stated.schema) != (SCHEMA, SCHEMA) {
            return Err(refuse(OTHER_VERSION.to_owned()));
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
        // It becomes a part of file names.
        let fits = |tag: &String| {
            python_of(&name).is_some_and(|(_, of_name)| of_name.trim_end_matches('t') == tag.trim_end_matches('t'))
        };
        if !stated.cache_tag.as_ref().is_none_or(fits) {
            return Err(refuse("its cache tag is not that of its name".to_owned()));
        }
        Ok(Self {
            shelf: Shelf::Wheels,
            root: format!("trees/{name}/root"),
            name,
            files: read.files,
            empty: Vec::new(),
            documents: vec![("manifest.json", bytes), ("facts.json", fact_bytes)],
            contents: None,
        })
    }

    /// Reads and checks the document of a tree's bytecode.
    pub(super) fn read_bytecode(source: &mut Source, manifest: &FileEntry) -> Result<Self, BundleError> {
        let name = manifest.of_bytecode().unwrap_or_default().to_owned();
        let refuse = |reason: String| BundleError::Tree {
            tree: name.clone(),
            reason,
        };
        let (bytes, read): (_, BytecodeManifest) = document(source, manifest, &refuse)?;
        if read.schema != SCHEMA || bytecode_name(&read.tree) != name {
            return Err(refuse(OTHER_VERSION.to_owned()));
        }
        let is_right = |row: &FileRow| row.is_bytecode() && !row.executable;
        let is_cache = |folder: &RelPath| folder.file_name() == "__pycache__";
        if !read.empty.iter().all(is_cache)
            || !read.files.iter().all(is_right)
            || !read.files.is_sorted_by(|one, other| one.path < other.path)
        {
            return Err(refuse("its files are not sorted bytecode".to_owned()));
        }
        Ok(Self {
            shelf: Shelf::Bytecode,
            root: format!("bytecode/{name}/root"),
            name,
            contents: Some(read.contents()),
            files: read.files,
            empty: read.empty,
            documents: vec![("manifest.json", bytes)],
        })
    }

    fn path(&self, row: &FileRow) -> Result<RelPath, BundleError> {
        Ok(RelPath::new(&format!("{}/{}", self.root, row.path))?)
    }

    /// Leaves its files out.
    fn skip(&self, source: &mut Source) -> Result<(), BundleError> {
        let mut files = self.files.iter();
        files.try_for_each(|row| source.skip(&self.path(row)?, row.size))
    }

    /// Compares its files and keeps nothing.
    pub(super) fn check(&self, source: &mut Source) -> Result<(), BundleError> {
        for row in &self.files {
            let path = self.path(row)?;
            let nowhere = std::path::Path::new("/dev/null");
            source.copy((&path, row.size, row.digest), io::sink(), nowhere, |_| {})?;
        }
        Ok(())
    }

    /// Makes it visible in the store. Returns whether this call did; one that is there already stays.
    pub(super) fn import(&self, source: &mut Source, shelves: &Shelves<'_>) -> Result<bool, BundleError> {
        let (store, name) = (shelves.store, self.name.as_str());
        let is_there = || store.layers().any(|layer| layer.has(self.shelf, name));
        shelves.claim.hold(self.shelf, name)?;
        if is_there() {
            self.skip(source)?;
            return Ok(false);
        }
        let _guard = store.guard(&Store::guard_name(self.shelf, name), shelves.reporter)?;
        // Another process may have brought it while this one waited.
        if is_there() {
            self.skip(source)?;
            return Ok(false);
        }
        let needed = self.files.iter().map(|row| row.size).sum();
        let free = fsx::free_bytes(store.root())?;
        if free < needed {
            return Err(BundleError::NoSpace(Shortage::expected(store.root(), needed, free)));
        }
        let mut staging = store.stage()?;
        self.contents
            .iter()
            .for_each(|contents| staging.describe(contents.clone()));
        let root = staging.path().join("root");
        fsx::create_dir_all(&root)?;
        for folder in &self.empty {
            fsx::create_dir_all(&root.join(folder))?;
        }
        for row in &self.files {
            let target = root.join(&row.path);
            if let Some(folder) = target.parent() {
                fsx::create_dir_all(folder)?;
            }
            let mut file = fsx::create_store_file(&target, row.executable)?;
            source.copy((&self.path(row)?, row.size, row.digest), &mut file, &target, |_| {})?;
            fsx::stamp(&file).at("set the time of", &target)?;
        }
        for (document, bytes) in &self.documents {
            let path = staging.path().join(document);
            let mut file = fsx::create_store_file(&path, false)?;
            file.write_all(bytes).at("write", &path)?;
            fsx::stamp(&file).at("set the time of", &path)?;
        }
        crate::checkpoint::reach("import.tree");
        Ok(store.commit(staging, self.shelf, name, shelves.sync)?)
    }
}
