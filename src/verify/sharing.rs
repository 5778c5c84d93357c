//! Whom damage affects: an inode that several environments share is damaged in all of them, whichever it was changed
//! through.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Damage, Subject, Verifier, VerifyError, composition};
use crate::env::bytecode::bytecode_name;
use crate::env::tree::Tree;
use crate::store::Shelf;

/// The same path below the prefix for whatever Python `lib_folder` is of.
pub(super) fn for_python(path: &str, lib_folder: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["lib", folder, "site-packages", ..] if folder.starts_with("python3") => parts[1] = lib_folder,
        ["include", "site", folder, ..] if folder.starts_with("python3") => parts[2] = lib_folder,
        _ => {}
    }
    parts.join("/")
}

/// An environment, as far as sharing goes.
struct Neighbour {
    name: String,
    lib_folder: Option<String>,
    trees: Vec<String>,
}

/// Device and inode of what stands at a path, or of what a link there leads to.
fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path)
        .or_else(|_| std::fs::symlink_metadata(path))
        .ok()
        .map(|meta| (meta.dev(), meta.ino()))
}

impl Verifier<'_> {
    fn neighbours(&self) -> Result<Vec<Neighbour>, VerifyError> {
        let mut neighbours = Vec::new();
        for name in self.store.names(Shelf::Envs)? {
            let composition = composition(self.store, &name)?;
            neighbours.push(Neighbour {
                lib_folder: composition.as_ref().map(|it| it.state.target.python.lib_folder()),
                trees: composition.map(|it| it.trees).unwrap_or_default(),
                name,
            });
        }
        Ok(neighbours)
    }

    /// Fills in, for every finding, the package it belongs to and the environments that have the file.
    pub(super) fn name_all(&self, damaged: &mut [Damage]) -> Result<(), VerifyError> {
        if damaged.is_empty() {
            return Ok(());
        }
        let neighbours = self.neighbours()?;
        for damage in damaged {
            let mut names = BTreeSet::new();
            match &damage.subject {
                Subject::Wheel(_) => continue,
                Subject::Environment(name) => {
                    names.insert(name.clone());
                    self.sharers(&damage.inside, inode(&damage.path), None, &neighbours, &mut names);
                }
                Subject::Bytecode(name) => {
                    let made_of = |tree: &&String| bytecode_name(tree) == name && *tree != name;
                    for neighbour in &neighbours {
                        if let Some(tree) = neighbour.trees.iter().find(made_of) {
                            names.insert(neighbour.name.clone());
                            damage.package = self.package_of(tree);
                        }
                    }
                }
                Subject::Tree(name) => {
                    damage.package = self.package_of(name);
                    match damage.inside.strip_prefix("root/") {
                        Some(inside) => {
                            self.sharers(inside, inode(&damage.path), Some(name), &neighbours, &mut names);
                        }
                        // The folder itself or a document: whoever is made of it.
                        None => names.extend(
                            neighbours
                                .iter()
                                .filter(|neighbour| neighbour.trees.contains(name))
                                .map(|neighbour| neighbour.name.clone()),
                        ),
                    }
                }
            }
            damage.environments = names.into_iter().collect();
        }
        Ok(())
    }

    /// `torch==2.7.0+cu118`, of a tree.
    fn package_of(&self, tree: &str) -> Option<String> {
        let tree = Tree::open(self.store, tree).ok()?;
        Some(format!("{}=={}", tree.facts.name, tree.facts.version))
    }

    /// The environments in which `inside` is this very inode; where there is none any more, those made of `tree` that
    /// lack it too.
    fn sharers(
        &self,
        inside: &str,
        inode_there: Option<(u64, u64)>,
        tree: Option<&String>,
        neighbours: &[Neighbour],
        names: &mut BTreeSet<String>,
    ) {
        for neighbour in neighbours {
            let place = match &neighbour.lib_folder {
                Some(lib_folder) => for_python(inside, lib_folder),
                None => inside.to_owned(),
            };
            let here = inode(&self.store.path(Shelf::Envs, &neighbour.name).join(&place));
            let shares = match (inode_there, here) {
                (Some(there), Some(here)) => there == here,
                (None, None) => tree.is_some_and(|tree| neighbour.trees.contains(tree)),
                _ => false,
            };
            if shares {
                names.insert(neighbour.name.clone());
            }
        }
    }
}
