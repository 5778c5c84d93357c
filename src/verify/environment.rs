//! One environment: what it is made of, and whether its folder is exactly what composing that gives.

use super::inspect::{Entries, Expected, look};
use super::{Depth, Examined, Kind, Subject, Verifier, VerifyError};
use crate::digest::{FileDigest, WheelDigest};
use crate::env::build::{Composition, binding_links, config_text, planned};
use crate::env::compose::{LinkMode, Place, layout, link_into};
use crate::env::editable::Editables;
use crate::env::runtime;
use crate::env::state::{self, EnvironmentState};
use crate::env::tree::Tree;
use crate::key;
use crate::store::{Shelf, Store};

/// At most so many choices of trees are tried where no record says which an environment is made of.
const CHOICES_MAX: usize = 256;

/// What an environment is made of: as its commit record says, or where that is lost, found out from its state and the
/// trees that are there. None where neither tells.
pub fn composition(store: &Store, name: &str) -> Result<Option<Composition>, VerifyError> {
    let recorded = store
        .contents(Shelf::Envs, name)?
        .and_then(|contents| serde_json::from_value::<Composition>(contents).ok());
    // A record of another environment under this name says nothing.
    let recorded = recorded.filter(|it| name.starts_with(&it.state.environment_key.short()));
    Ok(match recorded {
        Some(composition) => Some(composition),
        None => guess(store, name)?,
    })
}

/// Chooses, for every package of the state, a tree of that name, version and Python, so that together they have the
/// state's tree digest.
fn guess(store: &Store, name: &str) -> Result<Option<Composition>, VerifyError> {
    let folder = store.path(Shelf::Envs, name);
    let Ok(state) = EnvironmentState::read(&folder) else {
        return Ok(None);
    };
    // Only the record has the texts of the project's own packages.
    if !state.editables.is_empty() {
        return Ok(None);
    }
    let shelf = store.names(Shelf::Wheels)?;
    let tag = format!("-cpython-{}", state.target.python.version().replace('.', ""));
    let candidates = |package: &str, version: Option<&str>| -> Vec<Tree> {
        let stem = package.replace(['-', '.'], "_");
        let fits = |name: &&String| name.contains(&format!("-{stem}-")) && name.contains(&tag);
        let trees = shelf
            .iter()
            .filter(fits)
            .filter_map(|name| Tree::open(store, name).ok());
        trees
            .filter(|tree| tree.facts.name == package && version.is_none_or(|version| tree.facts.version == version))
            .collect()
    };
    let mut choices: Vec<Vec<Tree>> = vec![Vec::new()];
    let packages = state
        .installed_packages
        .iter()
        .filter_map(|package| package.split_once("=="));
    let own = runtime::Own::ALL.map(|own| (own.name(), None));
    let wanted = packages.map(|(name, version)| (name, Some(version))).chain(own);
    for (package, version) in wanted {
        let found = candidates(package, version);
        // Not every environment has all of flambeau's own trees.
        if found.is_empty() && runtime::is_own(package) {
            continue;
        }
        choices = choices
            .iter()
            .flat_map(|chosen| {
                found
                    .iter()
                    .map(|tree| [chosen.as_slice(), std::slice::from_ref(tree)].concat())
            })
            .take(CHOICES_MAX)
            .collect();
    }
    let right = choices
        .into_iter()
        .find(|trees| layout(store, trees, LinkMode::Rule).is_ok_and(|layout| layout.digest == state.tree_digest));
    Ok(right.map(|trees| {
        let linked = layout(store, &trees, LinkMode::Rule).is_ok_and(|layout| {
            layout
                .places
                .iter()
                .any(|(path, place)| matches!(place, Place::Link(_)) && folder.join(path).is_symlink())
        });
        Composition {
            trees: trees.into_iter().map(|tree| tree.name).collect(),
            link_mode: if linked { LinkMode::Rule } else { LinkMode::Hardlink },
            bytecode_here: Vec::new(),
            state,
            editables: Editables::default(),
        }
    }))
}

/// The trees of a composition; none where one is not there or cannot be read.
pub(super) fn trees(store: &Store, composition: &Composition) -> Option<Vec<Tree>> {
    composition
        .trees
        .iter()
        .map(|name| {
            let mut tree = Tree::open(&home(store, composition, name), name).ok()?;
            if composition.bytecode_here.contains(name) {
                tree.take_bytecode_from(store);
            }
            Some(tree)
        })
        .collect()
}

/// The lower stores that an environment has trees of.
pub(super) fn lower_stores(composition: &Composition) -> Vec<Store> {
    let lower = composition.state.lower_stores.iter().cloned();
    lower.map(Store::new).collect()
}

/// The store that a tree of an environment is in: a lower one that the environment has trees of comes first, as when it
/// was composed.
fn home(store: &Store, composition: &Composition, tree: &str) -> Store {
    lower_stores(composition)
        .into_iter()
        .find(|lower| lower.has(Shelf::Wheels, tree))
        .unwrap_or_else(|| store.clone())
}

/// What binds an environment to its interpreter and to the project's own folders, and tells what it is.
fn own_entries(Composition { state, editables, .. }: &Composition) -> Entries {
    let text = |text: &[u8], executable| Expected::File {
        size: text.len() as u64,
        digest: FileDigest::of(text),
        executable,
        or_link: None,
    };
    let mut entries = Entries::new();
    entries.insert(state::FILE_NAME.to_owned(), text(&state.to_bytes(), false));
    if let Some(config) = config_text(state) {
        entries.insert("pyvenv.cfg".to_owned(), text(config.as_bytes(), false));
    }
    for folder in editables.folders() {
        entries.insert(folder.to_owned(), Expected::Folder);
    }
    for file in &editables.files {
        entries.insert(file.path.to_string(), text(file.text.as_bytes(), file.executable));
    }
    let links = binding_links(state).map(|(path, target)| (path, Expected::Link(target)));
    entries.extend(links);
    entries
}

impl Verifier<'_> {
    pub(super) fn environment(&self, number: usize, name: &str, depth: Depth) -> Examined {
        let subject = Subject::Environment(name.to_owned());
        let folder = self.store.path(Shelf::Envs, name);
        let mut examined = Examined::default();
        if let Some(kind) = self.absent(Shelf::Envs, name) {
            examined.tell(&subject, &folder, "", kind);
            return examined;
        }
        let Ok(Some(composition)) = composition(self.store, name) else {
            // Neither a record nor a state with trees that fit it.
            let kind = match EnvironmentState::read(&folder) {
                Err(state::StateError::Missing(_)) => Kind::Missing,
                Err(_) => Kind::Changed,
                Ok(_) => Kind::Inconsistent,
            };
            examined.tell(&subject, &folder, state::FILE_NAME, kind);
            return examined;
        };
        let Some(trees) = trees(self.store, &composition) else {
            // The tree's own damage is told with it; without it nothing can be said of what it contributes.
            let missing = |name: &&String| Tree::open(&home(self.store, &composition, name), name).is_err();
            for tree in composition.trees.iter().filter(missing) {
                if !self.store.has(Shelf::Wheels, tree) {
                    let tree_folder = self.store.path(Shelf::Wheels, tree);
                    examined.tell(&Subject::Tree(tree.clone()), &tree_folder, "", Kind::Missing);
                }
            }
            return examined;
        };
        let laid = composition.editables.without_replaced(&trees);
        let Ok(layout) = planned(self.store, &composition, (&trees, &laid)) else {
            examined.tell(&subject, &folder, "", Kind::Inconsistent);
            return examined;
        };
        let own = own_entries(&composition);
        let mut entries = Entries::new();
        for (path, place) in layout.places {
            let expected = match place {
                Place::Folder => Expected::Folder,
                Place::Link(target) => Expected::Link(target),
                Place::Bytecode { link: None, .. } => Expected::Bytecode,
                Place::Bytecode { link: Some(link), .. } => Expected::MaybeLink(link),
                Place::File { tree, fact } => {
                    // A link to the tree's file is as good: hard links may have been refused or too dear.
                    let link = link_into(self.store, &laid[tree], &path);
                    Expected::File {
                        size: fact.size,
                        digest: fact.digest,
                        executable: fact.executable,
                        or_link: Some(link),
                    }
                }
            };
            entries.insert(path, expected);
        }
        // A script of the project's own stands where a package brings one too.
        entries.extend(own);
        let seen = look(number, &folder, &entries, depth);
        examined.take(&subject, &folder, seen);
        // A quick look goes by size and time, which an edit may leave as they are; the state is small and decides much.
        let edited = EnvironmentState::read(&folder).is_err_and(|error| error.is_damage());
        if depth == Depth::Quick && edited && !examined.tells(state::FILE_NAME) {
            examined.tell(&subject, &folder, state::FILE_NAME, Kind::Changed);
        }
        let consistent = layout.digest == composition.state.tree_digest && fits_key(&composition.state, &trees);
        if !consistent {
            examined.tell(&subject, &folder, "", Kind::Inconsistent);
        }
        examined
    }
}

/// Whether the wheels that the trees were made of are those that the environment's key names.
fn fits_key(state: &EnvironmentState, trees: &[Tree]) -> bool {
    let versions: std::collections::BTreeMap<&str, &str> = state
        .installed_packages
        .iter()
        .filter_map(|package| package.split_once("=="))
        .collect();
    let members: Vec<(&str, &str, WheelDigest)> = trees
        .iter()
        .filter(|tree| !runtime::is_own(&tree.facts.name))
        .map(|tree| {
            let name = tree.facts.name.as_str();
            // As the lockfile wrote the version, which is what the key covers.
            (
                name,
                versions.get(name).copied().unwrap_or(&tree.facts.version),
                tree.facts.wheel,
            )
        })
        .collect();
    key::possible_keys(state, &members).contains(&state.environment_key)
}
