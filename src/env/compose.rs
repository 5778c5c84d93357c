//! Composition: wheel trees laid over each other into one virtual environment.
//!
//! The rule ([`crate::wheel::manifest::Rule`]). A folder of headers inside a package, to which only one tree
//! contributes, is one symlink to the tree. Every other folder is real, so that the real path of every module lies in the
//! environment's own site-packages: tools compare it with that, and shared objects find each other by
//! `$ORIGIN/../../nvidia/…`, which the kernel resolves physically. Files are hard-linked, or reflinked or copied where
//! that is refused.
//! A `__pycache__` is one symlink to the bytecode of the tree whose modules stand beside it, laid whether that is there
//! yet or not: one that leads nowhere costs an import its compiling, makes no error, and cannot be written through. Where
//! the modules of one folder are of several trees it is a real folder with a symlink for each module.
//! Two trees with one path and the same bytes are fine; with different bytes the later package name wins, and the
//! conflict is reported.
//! Refuses: a tree that brings a file of flambeau's own.
//!
//! The layout is computed first and laid afterwards, so that a verification can compare what is on disk with exactly
//! what composing would have written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::bytecode::{BytecodeManifest, Modules};
use super::lay::{File, Linker, Sketch, files, link_text};
use super::overlay::Overlay;
use super::tree::{Tree, TreeError};
use super::{cuda, runtime};
use crate::digest::TreeDigest;
use crate::fsx::PathError;
use crate::store::{Shelf, Store};
use crate::wheel::manifest::{FileFact, Folder};

/// How the files of an environment relate to the trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkMode {
    /// The rule above: folders of headers are symlinks, files of the store hard links, files of lower stores symlinks.
    /// Records of the first form call theirs `symlink`.
    #[default]
    #[serde(alias = "symlink")]
    Rule,
    /// As by the rule, but every file is a symlink.
    #[serde(rename = "symlinks")]
    Symlink,
    /// Every folder is real, every file a hard link; bytecode and lower stores as by the rule.
    Hardlink,
    /// Every folder is real, every file shares its blocks copy-on-write; bytecode and lower stores as by the rule.
    Reflink,
    /// Every folder is real, every file a copy, bytecode too: nothing in the environment depends on the store.
    Copy,
}

/// Why composing failed.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Reading a tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A wheel brings a file that is flambeau's.
    #[error("{package} brings `{path}`, which belongs to the environment itself")]
    Reserved {
        /// The package.
        package: String,
        /// The path below the prefix.
        path: String,
    },
    /// A package brings what is to be written for the project's own package.
    #[error("a package brings `{0}`, which belongs to the project's own package")]
    Own(String),
    /// One path is a file in one tree and a folder in another.
    #[error("`{path}` is a file in {file} and a folder in {folder}")]
    Kinds {
        /// The path below the prefix.
        path: String,
        /// The package that has a file there.
        file: String,
        /// The package that has a folder there.
        folder: String,
    },
}

/// Two packages that bring different files for one path.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Conflict {
    /// The path below the prefix.
    pub path: String,
    /// The package whose file is in the environment.
    pub winner: String,
    /// The package whose file is not.
    pub loser: String,
}

/// What stands at one path of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A real folder.
    Folder,
    /// A symlink to the same path of a tree or of its bytecode, with its target's text.
    Link(PathBuf),
    /// A file of a tree's bytecode, where that has it, or has none of any module yet, when the environment is composed.
    Bytecode {
        /// The tree, as an index into those that were given.
        tree: usize,
        /// The text of a symlink to it; a copy where there is none.
        link: Option<PathBuf>,
    },
    /// A file of a tree.
    File {
        /// The tree, as an index into those that were given.
        tree: usize,
        /// What is known of the file.
        fact: FileFact,
    },
}

/// Everything that trees contribute to one environment.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Path below the prefix and what stands there, every folder before what it holds.
    pub places: Vec<(String, Place)>,
    /// Digest of the logical tree.
    pub digest: TreeDigest,
    /// Bytes of all files, shared or not.
    pub bytes: u64,
    /// Sorted by path.
    pub conflicts: Vec<Conflict>,
}

/// Computes what composing `trees` gives. The links it names hold two levels below the store (in `envs/<name>` and in
/// `tmp/<x>` alike).
pub fn layout(store: &Store, trees: &[Tree], mode: LinkMode) -> Result<Layout, ComposeError> {
    let mut order: Vec<usize> = (0..trees.len()).collect();
    order.sort_by(|left, right| trees[*left].facts.name.cmp(&trees[*right].facts.name));
    let mut composer = Composer {
        store,
        trees,
        mode,
        places: Vec::new(),
        conflicts: Vec::new(),
    };
    // A real tree needs every file's name, so nothing stays folded.
    let unfolded: Vec<Folder> = if mode.folds() {
        Vec::new()
    } else {
        order
            .iter()
            .map(|tree| composer.unfolded(*tree, ""))
            .collect::<Result<_, _>>()?
    };
    let contributors: Vec<(usize, &Folder)> = order
        .iter()
        .enumerate()
        .map(|(at, tree)| (*tree, unfolded.get(at).unwrap_or(&trees[*tree].facts.root)))
        .collect();
    let (digest, bytes) = composer.real_folder("", &contributors)?;
    let toolkit = composer.toolkit()?;
    composer.places.extend(toolkit);
    let mut conflicts = composer.conflicts;
    conflicts.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(Layout {
        places: composer.places,
        digest: digest.unwrap_or(TreeDigest::of(b"")),
        bytes,
        conflicts,
    })
}

/// Lays `trees` over each other below `prefix`, an empty folder two levels below the store. What is made is read-only,
/// but for `prefix` itself and its `bin`, which are bound to an interpreter next. Returns too what was used in place of
/// the first choice, in one sentence.
pub fn compose(
    store: &Store,
    trees: &[Tree],
    prefix: &Path,
    mode: LinkMode,
) -> Result<(Layout, Option<String>), ComposeError> {
    let layout = layout(store, trees, mode)?;
    let overlay = Overlay::of(store.root()).filter(|_| mode == LinkMode::Rule);
    // A hard link to a file of a lower layer copies it up.
    let is_below = |tree: &Tree| {
        let object = Path::new(Shelf::Wheels.folder()).join(&tree.name).join("manifest.json");
        let overlay = overlay.as_ref().filter(|_| tree.lower(store).is_none());
        overlay.is_some_and(|overlay| !overlay.has_in_upper(store.root(), &object))
    };
    let below: Vec<bool> = trees.iter().map(is_below).collect();
    let mut symlinked = 0_u64;
    let mut sketch = Sketch::default();
    for (path, place) in &layout.places {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = sketch.folder_mut(parent);
        let file = |executable| File {
            name: name.to_owned(),
            executable,
        };
        match place {
            Place::Folder => drop(folder.folders.entry(name.to_owned()).or_default()),
            Place::Link(text) => folder.symlinks.push((name.to_owned(), text.clone())),
            Place::Bytecode { tree, link } => {
                let Some(bytecode) = trees[*tree].bytecode.as_deref() else {
                    continue;
                };
                let source = bytecode.join("root").join(parent);
                let is_there = source.join(name).is_file();
                match link {
                    Some(link) if is_there || !has_bytecode(bytecode) => {
                        folder.symlinks.push((name.to_owned(), link.clone()));
                    }
                    None if is_there => folder.files.entry(source).or_default().push(file(false)),
                    _ => {}
                }
            }
            Place::File { tree, .. } if below[*tree] => {
                symlinked += 1;
                let text = link_into(store, &trees[*tree], path);
                folder.symlinks.push((name.to_owned(), text));
            }
            Place::File { tree, fact } => {
                let source = folder.files.entry(trees[*tree].folder.join("root").join(parent));
                source.or_default().push(file(fact.executable));
            }
        }
    }
    let linker = Linker::new(store.root(), mode);
    sketch.lay(prefix, &linker)?;
    let told = linker.told().or_else(|| {
        let why = "symlinks into the store: a hard link to a lower layer of this overlay would copy the file";
        (symlinked > 0).then(|| format!("{} are {why}", files(symlinked)))
    });
    Ok((layout, told))
}

struct Composer<'a> {
    store: &'a Store,
    trees: &'a [Tree],
    mode: LinkMode,
    places: Vec<(String, Place)>,
    conflicts: Vec<Conflict>,
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// Whether any module was to be compiled for the object in a folder.
fn has_bytecode(folder: &Path) -> bool {
    BytecodeManifest::read(folder).is_ok_and(|manifest| manifest.modules != Modules::None)
}

/// The longest name of a file, in bytes, on all file systems that are used.
const NAME_MAX: usize = 255;

/// The folder of bytecode beside modules (PEP 3147).
const CACHE: &str = "__pycache__";

/// The folders of every environment that are real whatever they hold.
fn is_skeleton(path: &str) -> bool {
    matches!(path, "bin" | "lib")
        || (path.starts_with("lib/python") && path.matches('/').count() <= 2 && {
            let mut parts = path.split('/').skip(2);
            parts.next().is_none_or(|name| name == "site-packages")
        })
}

impl Composer<'_> {
    fn package(&self, tree: usize) -> String {
        self.trees[tree].facts.name.clone()
    }

    /// The folder at `path` of a tree with all its content, from the full manifest.
    fn unfolded(&self, tree: usize, path: &str) -> Result<Folder, ComposeError> {
        let manifest = self.trees[tree].manifest()?;
        let mut folder = Folder::of_files(&manifest.files);
        for part in path.split('/').filter(|part| !part.is_empty()) {
            folder = folder.folders.remove(part).unwrap_or_default();
        }
        Ok(folder)
    }

    /// The links to a CUDA toolkit, where the trees bring one.
    fn toolkit(&self) -> Result<Vec<(String, Place)>, ComposeError> {
        let has_compiler = |(path, _): &(String, Place)| path.ends_with("/bin/nvcc");
        if !self.places.iter().any(has_compiler) {
            return Ok(Vec::new());
        }
        // Of folders that are links only the manifests tell what is in them.
        let manifests = self.trees.iter().map(Tree::manifest);
        let manifests = manifests.collect::<Result<Vec<_>, _>>()?;
        let rows = manifests.iter().flat_map(|manifest| &manifest.files);
        Ok(cuda::places(rows.map(|row| row.path.as_str())))
    }

    /// Notes what the real folder at `path` holds; returns its digest and bytes.
    fn real_folder(
        &mut self,
        path: &str,
        contributors: &[(usize, &Folder)],
    ) -> Result<(Option<TreeDigest>, u64), ComposeError> {
        let mut files: BTreeMap<&str, (usize, &FileFact)> = BTreeMap::new();
        let mut folders: BTreeMap<&str, Vec<(usize, &Folder)>> = BTreeMap::new();
        for (tree, folder) in contributors {
            for (name, file) in &folder.files {
                self.place_file(path, name, *tree, file, &mut files)?;
            }
            for (name, child) in &folder.folders {
                folders.entry(name).or_default().push((*tree, child));
            }
        }
        self.place_bytecode(path, &files, &folders);
        let mut merged = Folder::default();
        for (name, (tree, fact)) in &files {
            if let Some(contributors) = folders.get(name) {
                let folder = self.package(contributors[0].0);
                return Err(ComposeError::Kinds {
                    path: join(path, name),
                    file: self.package(*tree),
                    folder,
                });
            }
            let at = join(path, name);
            let place = if self.mode.symlinks_files_of(&self.trees[*tree], self.store) {
                Place::Link(link_into(self.store, &self.trees[*tree], &at))
            } else {
                Place::File {
                    tree: *tree,
                    fact: (*fact).clone(),
                }
            };
            self.places.push((at, place));
            merged.bytes += fact.size;
            merged.files.insert((*name).to_owned(), (*fact).clone());
        }
        for (name, contributors) in folders {
            let (digest, bytes) = self.folder(&join(path, name), &contributors)?;
            merged.bytes += bytes;
            merged.folders.insert(
                name.to_owned(),
                Folder {
                    digest,
                    ..Folder::default()
                },
            );
        }
        Ok((merged.content_digest(), merged.bytes))
    }

    /// Notes where the bytecode of the modules among `files` lies. Trees may have files of their own in a `__pycache__`.
    fn place_bytecode(
        &mut self,
        path: &str,
        files: &BTreeMap<&str, (usize, &FileFact)>,
        folders: &BTreeMap<&str, Vec<(usize, &Folder)>>,
    ) {
        if path.split('/').nth(2) != Some("site-packages") {
            return;
        }
        let modules: Vec<(&str, usize)> = files
            .iter()
            .filter(|(_, (tree, _))| self.trees[*tree].bytecode.is_some())
            .filter_map(|(name, (tree, _))| Some((name.strip_suffix(".py")?, *tree)))
            .collect();
        let Some((_, first)) = modules.first() else { return };
        let cache = join(path, CACHE);
        let shared = folders.contains_key(CACHE) || modules.iter().any(|(_, tree)| tree != first);
        if !shared && self.mode != LinkMode::Copy {
            let link = self.link_bytecode(*first, &cache);
            self.places.push((cache, Place::Link(link)));
            return;
        }
        self.places.push((cache.clone(), Place::Folder));
        for (module, tree) in modules {
            let tag = self.trees[tree].facts.cache_tag.as_deref().unwrap_or_default();
            let file = format!("{cache}/{module}.{tag}.pyc");
            // Python would not find it by a name that no file system takes.
            if module.len() + tag.len() + "..pyc".len() > NAME_MAX {
                continue;
            }
            let link = (self.mode != LinkMode::Copy).then(|| self.link_bytecode(tree, &file));
            self.places.push((file, Place::Bytecode { tree, link }));
        }
    }

    fn place_file<'f>(
        &mut self,
        path: &str,
        name: &'f str,
        tree: usize,
        fact: &'f FileFact,
        files: &mut BTreeMap<&'f str, (usize, &'f FileFact)>,
    ) -> Result<(), ComposeError> {
        let place = join(path, name);
        if runtime::owns(&place) && !runtime::is_own(&self.trees[tree].facts.name) {
            return Err(ComposeError::Reserved {
                package: self.package(tree),
                path: place,
            });
        }
        if let Some((other, existing)) = files.insert(name, (tree, fact)) {
            // Contributors come in the order of their names, so the later one wins by taking the place.
            if existing.digest != fact.digest || existing.executable != fact.executable {
                let (winner, loser) = (self.package(tree), self.package(other));
                self.conflicts.push(Conflict {
                    path: place,
                    winner,
                    loser,
                });
            }
        }
        Ok(())
    }

    fn folder(
        &mut self,
        path: &str,
        contributors: &[(usize, &Folder)],
    ) -> Result<(Option<TreeDigest>, u64), ComposeError> {
        for (tree, _) in contributors {
            if runtime::owns(path) && !runtime::is_own(&self.trees[*tree].facts.name) {
                return Err(ComposeError::Reserved {
                    package: self.package(*tree),
                    path: path.to_owned(),
                });
            }
        }
        if let [(tree, folder)] = contributors
            && self.mode.folds()
            && !folder.real
            && !is_skeleton(path)
        {
            let link = link_into(self.store, &self.trees[*tree], path);
            self.places.push((path.to_owned(), Place::Link(link)));
            return Ok((folder.digest, folder.bytes));
        }
        self.places.push((path.to_owned(), Place::Folder));
        // Folders that were folded for lack of a second contributor show their content now.
        let mut opened: Vec<Option<Folder>> = Vec::with_capacity(contributors.len());
        for (tree, folder) in contributors {
            opened.push(if folder.folded {
                Some(self.unfolded(*tree, path)?)
            } else {
                None
            });
        }
        let contributors: Vec<(usize, &Folder)> = contributors
            .iter()
            .zip(&opened)
            .map(|((tree, folder), opened)| (*tree, opened.as_ref().unwrap_or(folder)))
            .collect();
        self.real_folder(path, &contributors)
    }

    /// The text of a symlink at a path into the bytecode of a tree.
    fn link_bytecode(&self, tree: usize, path: &str) -> PathBuf {
        let bytecode = self.trees[tree].bytecode.as_deref().unwrap_or(Path::new(""));
        link_text(self.store.root(), &bytecode.join("root").join(path), path)
    }
}

/// The text of a symlink at a path of an environment to the same path of a tree.
pub(crate) fn link_into(store: &Store, tree: &Tree, path: &str) -> PathBuf {
    link_text(store.root(), &tree.folder.join("root").join(path), path)
}

impl LinkMode {
    /// Whether folders may be one symlink.
    const fn folds(self) -> bool {
        matches!(self, Self::Rule | Self::Symlink)
    }

    /// Whether the files of a tree are symlinks, each by itself: nothing is ever copied because a tree is in a lower
    /// store, and a hard link would fail there or, on an overlay, copy the file up.
    fn symlinks_files_of(self, tree: &Tree, store: &Store) -> bool {
        self == Self::Symlink || (self != Self::Copy && tree.lower(store).is_some())
    }
}
