//! The project's own packages (`[tool.flambeau] editable`): from folders to what an environment has of them.
//!
//! A folder whose `pyproject.toml` has a `[project]` with a name gets what `pip install -e` gives it; any other one is
//! put on the path and that is all. Nothing is executed: what only a build backend knows is left out, and told.
//! Refuses: projects with extension modules, two folders of one name or with one script, names and lines that are none
//! (the `manifest` module).
//!
//! An environment with such packages is bound to their folders and tables. Whatever makes one active asks first whether
//! it is bound as it should be now, and composes its sibling otherwise: the same trees, other files ([`crate::env::editable`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Project;
use super::plan::Plan;
use super::realise::{RealiseError, Realised};
use crate::config::ConfigError;
use crate::document::DocumentError;
use crate::env::build::{BuildError, Composition, rebind};
use crate::env::bytecode::bytecode_name;
use crate::env::editable::{Editable, Editables};
use crate::env::state::EnvironmentState;
use crate::env::tree::Tree;
use crate::fsx::PathError;
use crate::pep::Version;
use crate::progress::Event;
use crate::store::{Claim, Shelf, Store, StoreError, Trust};
use crate::target::PythonMinor;
use crate::verify::{VerifyError, composition};
use crate::wheel::layout::Layout;

mod compiled;
mod manifest;
mod metadata;
mod roots;

use compiled::{extension_modules, not_run};
use manifest::{Manifest, ProjectTable};
use metadata::Package;
use roots::{Roots, roots};

/// The version of a package whose backend would have to be executed to know it.
const UNKNOWN_VERSION: &str = "0+editable";

/// Why a folder cannot be a package of an environment.
#[derive(Debug, thiserror::Error)]
pub enum EditableError {
    /// A file cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// `pyproject.toml` is no UTF-8 text.
    #[error("{} is not UTF-8 text", .0.display())]
    Encoding(PathBuf),
    /// `pyproject.toml` cannot be used.
    #[error("{}:{}: {}", path.display(), problem.line(), problem.reason())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: DocumentError,
    },
    /// What it says cannot become files of an environment.
    #[error("{}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The project has to be built.
    #[error("{} cannot be editable: {how}, which compiles extension modules", folder.display())]
    Compiled {
        /// The project's folder.
        folder: PathBuf,
        /// How it declares them.
        how: String,
    },
    /// A folder that is not there.
    #[error("{} of `[tool.flambeau] editable` is no folder", .0.display())]
    Missing(PathBuf),
    /// Two folders of one name.
    #[error("{} and {} are both the package `{name}`", first.display(), second.display())]
    Twice {
        /// The name.
        name: String,
        /// One folder.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Two folders with one script.
    #[error("`{first}` and `{second}` both have the script `{script}`")]
    Script {
        /// The script.
        script: String,
        /// One package.
        first: String,
        /// The other.
        second: String,
    },
    /// The folder's path.
    #[error(
        "the path {} cannot stand in a .pth file: it is not UTF-8, or has control characters or spaces at its end",
        .0.display()
    )]
    Folder(PathBuf),
}

/// Why an environment could not be bound to the project's own packages.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The packages.
    #[error(transparent)]
    Editable(#[from] EditableError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Finding out what the environment is made of.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Composing it.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// What it is made of is not known, or not there.
    #[error("{} cannot be bound to the project's own packages: its trees are not all there", .0.display())]
    Incomplete(PathBuf),
}

/// What the project's own folders contribute.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// What an environment has of them.
    pub editables: Editables,
    /// What is worth a word: what nobody executes, for example.
    pub notes: Vec<String>,
}

impl Project<'_> {
    /// Reads the folders of `[tool.flambeau] editable` for environments of one Python.
    pub fn own(&self, python: PythonMinor) -> Result<Own, EditableError> {
        let mut own = Own::default();
        let mut scripts: BTreeMap<String, String> = BTreeMap::new();
        for folder in self.editable_folders() {
            if !folder.is_dir() {
                return Err(EditableError::Missing(folder));
            }
            let manifest = Manifest::read(&folder)?;
            if let Some(how) = extension_modules(&folder, &manifest)? {
                return Err(EditableError::Compiled { folder, how });
            }
            let before = own.editables.files.len();
            own.add(&folder, &manifest, Layout::new(python))?;
            for file in &own.editables.files[before..] {
                let Some(script) = file.path.as_str().strip_prefix("bin/") else {
                    continue;
                };
                if let Some(first) = scripts.insert(script.to_owned(), file.package.clone()) {
                    return Err(EditableError::Script {
                        script: script.to_owned(),
                        first,
                        second: file.package.clone(),
                    });
                }
            }
        }
        Ok(own)
    }

    /// The folders, each once and by its real path.
    fn editable_folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = Vec::new();
        for configured in &self.config.editable {
            let folder = configured.canonicalize().unwrap_or_else(|_| configured.clone());
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders
    }

    /// The folders that `[tool.flambeau] editable` puts on the path, before the environment's packages: each project's
    /// import roots, then `src` where it has one, then itself.
    #[must_use]
    pub fn overlay_folders(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = Vec::new();
        for folder in self.editable_folders() {
            // One that cannot be read keeps an environment from being bound, where it is said.
            let manifest = Manifest::read(&folder).unwrap_or_default();
            for root in on_path(&folder, &roots(&folder, &manifest, manifest.module().as_deref())) {
                if !all.contains(&root) {
                    all.push(root);
                }
            }
        }
        all
    }

    /// Brings an environment that is about to become active to what the project's own packages are now: itself, or its
    /// sibling with other files, which is composed where it is not there. The claim keeps that one until it is active.
    pub fn bound(
        &self,
        path: &Path,
        state: &EnvironmentState,
    ) -> Result<(PathBuf, EnvironmentState, Option<Arc<Claim>>), BindError> {
        let as_it_is = || (path.to_owned(), state.clone(), None);
        let own = self.own(state.target.python)?;
        let (Some(name), Some(home)) = (name_of(path), path.parent().and_then(Path::parent)) else {
            return Ok(as_it_is());
        };
        let wanted = wanted_name(name, state, &own.editables);
        if wanted == name {
            return Ok(as_it_is());
        }
        // Beside the environment, but for one in a store that only others write.
        let (configured, home) = (self.store()?, Store::new(home.to_owned()));
        let is_ours = configured.layers().any(|layer| layer.root() == home.root());
        let store = if is_ours { configured } else { home.clone() };
        // A store that cannot be written takes no claims, and has nothing collected.
        let claim = store
            .claim()
            .ok()
            .filter(|claim| claim.hold(Shelf::Envs, &wanted).is_ok());
        if let Some((path, state)) = usable(&store, &wanted, state)? {
            return Ok((path, state, claim.map(Arc::new)));
        }
        store.prepare()?;
        let claim = store.claim()?;
        claim.hold(Shelf::Envs, &wanted)?;
        let _guard = store.guard(&wanted, self.reporter)?;
        if let Some((path, state)) = usable(&store, &wanted, state)? {
            return Ok((path, state, Some(Arc::new(claim))));
        }
        let incomplete = || BindError::Incomplete(path.to_owned());
        let composition = composition(&home, name)?.ok_or_else(incomplete)?;
        let names = || composition.trees.iter().map(String::as_str);
        claim.hold_all(Shelf::Wheels, names())?;
        let separate = names().filter(|name| bytecode_name(name) != *name);
        claim.hold_all(Shelf::Bytecode, separate.map(bytecode_name))?;
        let trees = trees(&store, &home, &composition).ok_or_else(incomplete)?;
        let state = rebind(&store, &wanted, (&composition, &trees), &own.editables)?;
        self.tell_own(&own, &state);
        Ok((store.path(Shelf::Envs, &wanted), state, Some(Arc::new(claim))))
    }

    /// The environment of a plan, bound anew from one that differs in the project's own packages alone; none where there
    /// is none.
    pub fn rebound(&self, plan: &Plan) -> Result<Option<Realised>, RealiseError> {
        let store = self.store()?;
        let base = plan.identity()?.folder(&plan.python());
        for layer in store.layers() {
            let names = layer.names(Shelf::Envs)?;
            let is_sibling = |name: &&String| {
                name.strip_prefix(&base)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            };
            for name in names.iter().filter(is_sibling) {
                let path = layer.path(Shelf::Envs, name);
                let trusted = layer.trust(Shelf::Envs, name)? != Trust::Unknown;
                let Some(state) = EnvironmentState::read(&path).ok().filter(|_| trusted) else {
                    continue;
                };
                if state.environment_key != plan.key {
                    continue;
                }
                let (path, state, claim) = self.bound(&path, &state)?;
                return Ok(Some(Realised {
                    path,
                    state,
                    reused: true,
                    downloaded: 0,
                    conflicts: Vec::new(),
                    claim,
                }));
            }
        }
        Ok(None)
    }

    /// What is said of an active environment that is bound to other packages of the project's own than there are now.
    #[must_use]
    pub fn bound_otherwise(&self, path: &Path, state: &EnvironmentState) -> Option<String> {
        let name = name_of(path)?;
        match self.own(state.target.python) {
            Ok(own) if wanted_name(name, state, &own.editables) == name => None,
            Ok(_) => Some(
                "the project's own packages changed since it was built; `flambeau build` binds the environment to them"
                    .to_owned(),
            ),
            Err(error) => Some(format!("the project's own packages cannot be read: {error}")),
        }
    }

    /// Says what is worth a word of the packages of an environment that was just made.
    pub(super) fn tell_own(&self, own: &Own, state: &EnvironmentState) {
        for message in &own.notes {
            self.reporter.event(Event::Warning { message });
        }
        for Editable { name, path, .. } in &own.editables.packages {
            let replaced = super::changes::pins(state).find(|(package, _)| package == name);
            if let Some((_, version)) = replaced {
                let message = format!(
                    "{name} {version} of the lockfile is left out: {} takes its place",
                    path.display()
                );
                self.reporter.event(Event::Warning { message: &message });
            }
        }
    }
}

impl Own {
    fn add(&mut self, folder: &Path, manifest: &Manifest, layout: Layout) -> Result<(), EditableError> {
        let table = manifest.project.as_ref();
        let Some((table, name)) = table.and_then(|table| Some((table, table.name.as_ref()?))) else {
            return Ok(());
        };
        let found = roots(folder, manifest, manifest.module().as_deref());
        let normal = name.normal.to_string();
        if let Some(first) = self.editables.packages.iter().find(|package| package.name == normal) {
            return Err(EditableError::Twice {
                name: normal,
                first: first.path.clone(),
                second: folder.to_owned(),
            });
        }
        let unknown = || UNKNOWN_VERSION.parse::<Version>();
        let version = match &table.version {
            Some(version) => version.clone(),
            None => unknown().map_err(|error| EditableError::Value {
                path: folder.join("pyproject.toml"),
                reason: error.to_string(),
            })?,
        };
        let package = Package {
            name,
            version: &version,
            folder,
            roots: &found.folders,
            table,
        };
        self.editables.files.extend(package.files(layout)?);
        self.editables.packages.push(Editable {
            name: normal,
            version: version.to_string(),
            path: folder.to_owned(),
        });
        self.note(folder, table, manifest, &found);
        Ok(())
    }

    /// Notes what an installer would have executed, or done in another way.
    fn note(&mut self, folder: &Path, table: &ProjectTable, manifest: &Manifest, found: &Roots) {
        let place = folder.join("pyproject.toml");
        let place = place.display();
        let is_dynamic = |key: &str| table.dynamic.iter().any(|dynamic| dynamic == key);
        if table.version.is_none() {
            let why = if is_dynamic("version") {
                "is dynamic"
            } else {
                "is not stated"
            };
            self.notes.push(format!(
                "{place}: the version {why} and nothing is executed to find it, so it is {UNKNOWN_VERSION}"
            ));
        }
        let kept = [
            "dependencies",
            "optional-dependencies",
            "scripts",
            "gui-scripts",
            "entry-points",
        ];
        let kept: Vec<&str> = kept.into_iter().filter(|key| is_dynamic(key)).collect();
        if !kept.is_empty() {
            self.notes.push(format!(
                "{place}: {} are dynamic and nothing is executed to find them, so the environment has none of them",
                kept.join(", ")
            ));
        }
        let left = not_run(manifest);
        if !left.is_empty() {
            self.notes.push(format!(
                "{place}: nothing is executed, so this is left out: {}",
                left.join(", ")
            ));
        }
        if !found.lost.is_empty() {
            let lost = found.lost.join(", ");
            self.notes
                .push(format!("{place}: no folder on the path expresses {lost}"));
        }
        for root in on_path(folder, found) {
            let stale = manifest.module().map(|module| root.join(format!("{module}.egg-info")));
            if let Some(stale) = stale.filter(|stale| stale.exists()) {
                self.notes.push(format!(
                    "{} is metadata of an earlier installation, which Python finds first; delete it",
                    stale.display()
                ));
            }
        }
    }
}

/// The folders that go on the path for one project.
fn on_path(folder: &Path, found: &Roots) -> Vec<PathBuf> {
    let source = folder.join("src");
    let has_source = source.is_dir() && !source.join("__init__.py").exists();
    let usual = has_source.then_some(source).into_iter().chain([folder.to_owned()]);
    let mut all: Vec<PathBuf> = Vec::new();
    for root in found.folders.iter().cloned().chain(usual) {
        if !all.contains(&root) {
            all.push(root);
        }
    }
    all
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name().and_then(std::ffi::OsStr::to_str)
}

/// The name of the environment that differs from this one in the project's own packages alone.
fn wanted_name(name: &str, state: &EnvironmentState, editables: &Editables) -> String {
    let base = match name.rsplit_once('-') {
        Some((base, _)) if !state.editables.is_empty() => base,
        _ => name,
    };
    format!("{base}{}", editables.suffix())
}

/// The environment of this name, where it is there and what is looked for.
fn usable(
    store: &Store,
    name: &str,
    like: &EnvironmentState,
) -> Result<Option<(PathBuf, EnvironmentState)>, StoreError> {
    for layer in store.layers() {
        if layer.has(Shelf::Envs, name) && layer.trust(Shelf::Envs, name)? != Trust::Unknown {
            let path = layer.path(Shelf::Envs, name);
            let state = EnvironmentState::read(&path).ok();
            if let Some(state) = state.filter(|state| state.environment_key == like.environment_key) {
                return Ok(Some((path, state)));
            }
        }
    }
    Ok(None)
}

/// The trees of a composition, wherever they are.
fn trees(store: &Store, home: &Store, composition: &Composition) -> Option<Vec<Tree>> {
    let lower = composition.state.lower_stores.iter().cloned().map(Store::new);
    let places: Vec<Store> = lower.chain(store.layers()).chain([home.clone()]).collect();
    let open = |name: &String| {
        let place = places.iter().find(|place| place.has(Shelf::Wheels, name))?;
        let mut tree = Tree::open(place, name).ok()?;
        // A lower store may have the wheel's tree alone.
        if tree.bytecode.as_ref().is_some_and(|bytecode| !bytecode.exists()) {
            tree.take_bytecode_from(store);
        }
        Some(tree)
    };
    composition.trees.iter().map(open).collect()
}
