//! The bytecode of one wheel tree as an object of the store.
//!
//! `bytecode/<sha256[..40]>-<name>-<version>-<cache tag>/` holds `root/`, in the shape of the tree's and with nothing in
//! it but `__pycache__` folders, and `manifest.json`. Neither a key nor a tree digest depends on it: a tree is complete
//! without, and one object serves every environment that has the tree.
//! There is a folder for the modules of every folder, be it empty, and an object without any bytecode where none is
//! wanted: a dangling link in an environment breaks tools that copy or pack a package.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::super::FORM;
use super::super::tree::{Tree, TreeError, Trees, damaged_files, read_document, write_document};
use super::imports;
use crate::checkpoint;
use crate::fsx::{self, PathContext as _};
use crate::progress::Event;
use crate::relpath::RelPath;
use crate::store::{Shelf, Staging, Store, Trust};
use crate::wheel::layout::Layout;
use crate::wheel::manifest::{FileRow, SCHEMA};
use crate::wheel::unpack::sources;

/// Which modules of wheels are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modules {
    /// None.
    None,
    /// All but whole folders of tests that no other module of the wheel imports.
    #[default]
    Imported,
    /// All.
    All,
}

/// What an object holds: its `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BytecodeManifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The folder name of the tree whose modules these are.
    pub tree: String,
    /// Which modules were to be compiled.
    pub modules: Modules,
    /// Full version of the Python that compiled them.
    pub compiled_by: String,
    /// Folders of tests that were left out, relative to site-packages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<RelPath>,
    /// The `__pycache__` folders without a file, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub empty: Vec<RelPath>,
    /// The files, sorted by path.
    pub files: Vec<FileRow>,
}

/// The name of the object for a tree of this name: without the form, which changes how trees are laid out and never a
/// module.
#[must_use]
pub fn bytecode_name(tree: &str) -> &str {
    tree.strip_suffix(&format!(".{FORM}")).unwrap_or(tree)
}

/// Whether a store has the object with all that is wanted, as far as can be told without reading it.
pub(crate) fn is_there(store: &Store, name: &str, wanted: Modules) -> bool {
    let has_enough = || {
        let contents = store.contents(Shelf::Bytecode, name).ok().flatten();
        let modules = contents.and_then(|contents| serde_json::from_value(contents.get(MODULES)?.clone()).ok());
        modules.unwrap_or(Modules::Imported) >= wanted
    };
    store.has(Shelf::Bytecode, name) && (wanted == Modules::None || has_enough())
}

/// The key under which the commit record has which modules were to be compiled.
const MODULES: &str = "modules";

impl BytecodeManifest {
    /// What the commit record of the object says of it.
    pub(crate) fn contents(&self) -> serde_json::Value {
        serde_json::json!({ MODULES: self.modules })
    }

    /// Reads what the object in a folder says of itself.
    pub fn read(folder: &std::path::Path) -> Result<Self, TreeError> {
        read_document(&folder.join("manifest.json"))
    }
}

/// The folder for the bytecode of a module.
fn cache_of(source: &RelPath) -> Option<RelPath> {
    let (folder, _) = source.as_str().rsplit_once('/')?;
    RelPath::new(&format!("{folder}/__pycache__")).ok()
}

impl Trees<'_> {
    /// Makes the bytecode of a tree where it is not there, or only in part. A tree of a lower store whose bytecode is
    /// there too needs none here.
    pub fn compile(&self, tree: &Tree) -> Result<(), TreeError> {
        let name = bytecode_name(&tree.name);
        let own = self.store.path(Shelf::Bytecode, name);
        if tree.bytecode.as_ref() != Some(&own) {
            return Ok(());
        }
        // Before the look, as for trees: what is seen afterwards stays.
        self.claim.hold(Shelf::Bytecode, name)?;
        let is_trusted = self.store.trust(Shelf::Bytecode, name)? != Trust::Unknown;
        if is_trusted && is_there(self.store, name, self.modules) {
            return Ok(());
        }
        let _guard = self
            .store
            .guard(&Store::guard_name(Shelf::Bytecode, name), self.reporter)?;
        // Another process may have made it while this one waited.
        if self.has_bytecode(name)? {
            return Ok(());
        }
        let file = &tree.facts.file;
        if self.modules != Modules::None {
            self.reporter.event(Event::CompileStarted { file });
        }
        let staging = self.stage_bytecode(tree, self.modules)?;
        checkpoint::reach("bytecode.compiled");
        self.store.publish(staging, Shelf::Bytecode, name, self.sync)?;
        if self.modules != Modules::None {
            self.reporter.event(Event::Compiled { file });
        }
        Ok(())
    }

    /// Whether the object is there, can be trusted and holds all that is wanted. One that a crash may have damaged is
    /// verified, and taken away if it is: the caller holds its guard.
    fn has_bytecode(&self, name: &str) -> Result<bool, TreeError> {
        if !self.store.has(Shelf::Bytecode, name) {
            return Ok(false);
        }
        let folder = self.store.path(Shelf::Bytecode, name);
        if self.store.trust(Shelf::Bytecode, name)? == Trust::Unknown {
            let intact = |manifest: BytecodeManifest| damaged_files(&folder.join("root"), &manifest.files).is_empty();
            if !BytecodeManifest::read(&folder).is_ok_and(intact) {
                self.store.discard(Shelf::Bytecode, name)?;
                return Ok(false);
            }
            self.store.mark_synced(Shelf::Bytecode, name)?;
        }
        Ok(is_there(self.store, name, self.modules))
    }

    /// Compiles the modules of a tree into a staging folder.
    pub(crate) fn stage_bytecode(&self, tree: &Tree, modules: Modules) -> Result<Staging, TreeError> {
        let root = tree.folder.join("root");
        let mut sources = sources(&tree.manifest()?.files, Layout::new(self.python.minor));
        let caches: BTreeSet<RelPath> = sources.iter().filter_map(|(path, _)| cache_of(path)).collect();
        let mut left_out = Vec::new();
        if modules == Modules::None {
            sources.clear();
        } else if modules == Modules::Imported {
            for folder in imports::unimported(&root, &sources) {
                let inside = format!("{folder}/");
                sources.retain(|(_, module)| !module.starts_with(&inside));
                // A folder of the tree, whose paths are safe.
                left_out.extend(RelPath::new(&folder));
            }
        }
        let mut staging = self.store.stage()?;
        let target = staging.path().join("root");
        std::fs::create_dir(&target).at("create the folder", &target)?;
        for cache in &caches {
            fsx::create_dir_all(&target.join(cache))?;
        }
        let compiled = self.compilers.compile(&root, &target, sources);
        let compiled = compiled.map_err(|source| TreeError::Bytecode {
            file: tree.facts.file.clone(),
            source,
        })?;
        for (path, why) in &compiled.uncompiled {
            let message = format!("`{path}` of {} has no bytecode: {why}", tree.facts.file);
            self.reporter.event(Event::Warning { message: &message });
        }
        let parent = |row: &FileRow| row.path.as_str().rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let filled: BTreeSet<String> = compiled.files.iter().filter_map(parent).collect();
        let manifest = BytecodeManifest {
            schema: SCHEMA,
            tree: tree.name.clone(),
            modules,
            empty: caches
                .into_iter()
                .filter(|cache| !filled.contains(cache.as_str()))
                .collect(),
            compiled_by: self.python.version.clone(),
            left_out,
            files: compiled.files,
        };
        staging.describe(manifest.contents());
        write_document(staging.path(), "manifest.json", &manifest)?;
        Ok(staging)
    }
}
