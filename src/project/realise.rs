//! From a plan to a visible environment: what is in the store is used, the rest is fetched, unpacked and composed.
//!
//! A wheel is unpacked and compiled as soon as it is there, while others still arrive. Order of preference for each
//! tree: the store; the tree of another Python version; the cached wheel; the network.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::editable::{BindError, EditableError};
use super::homes::{Homes, wanted};
use super::network::{Network, NetworkError};
use super::pipeline::{Pipeline, drop_wheel};
use super::plan::{Plan, PlanError};
use super::{Project, blame};
use crate::config::{self, ConfigError};
use crate::env::Python;
use crate::env::build::{BuildError, Built, build};
use crate::env::bytecode::{Compiler, Compilers, Modules, bytecode_name, is_there};
use crate::env::compose::{Conflict, LinkMode};
use crate::env::foreign;
use crate::env::state::{EnvironmentState, StateError};
use crate::env::tree::{Tree, TreeError, Trees, WheelId};
use crate::error::one_line;
use crate::fetch::{self, Evidence, FetchOptions, Fetcher, VerifiedWheel};
use crate::http::Cause;
use crate::lockfile::{Origin, Selected};
use crate::progress::{Event, Reporter, Silent};
use crate::space::Shortage;
use crate::store::{Claim, Shelf, Store, StoreError, Sync, Trust};
use crate::threads;
use crate::verify::{Damage, Verifier};

/// Why there is no environment.
#[derive(Debug, thiserror::Error)]
pub enum RealiseError {
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network could not be set up.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Wheels could not be fetched.
    #[error("cannot fetch the wheels")]
    Fetch(#[source] Box<fetch::Error>),
    /// A local wheel that may not be opened.
    #[error("{file} is to be read from {}, which is outside {}", path.display(), root.display())]
    Outside {
        /// The wheel.
        file: String,
        /// Where the lockfile says it is.
        path: PathBuf,
        /// Where it would have to be.
        root: PathBuf,
    },
    /// A tree could not be made.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The environment could not be composed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The project's own packages.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store's file system is full.
    #[error("the environment does not fit into the store")]
    Full(#[source] Shortage),
    /// A visible environment cannot be read.
    #[error("the environment {} cannot be used", path.display())]
    State {
        /// The environment.
        path: PathBuf,
        /// Why.
        #[source]
        source: StateError,
    },
}

/// A visible environment.
#[derive(Debug, Clone)]
pub struct Realised {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub state: EnvironmentState,
    /// Whether it was there already.
    pub reused: bool,
    /// Bytes that came over the network in this run.
    pub downloaded: u64,
    /// Paths that two packages wanted.
    pub conflicts: Vec<Conflict>,
    /// Keeps it from being collected until it is registered elsewhere, or dropped.
    pub claim: Option<Arc<Claim>>,
}

/// So many more wheels are unpacked at a time than there are processors: a wheel with one large member keeps one thread
/// busy, which waits for the disk a good part of the time.
const WAITING: usize = 2;

pub(super) fn wheel_id<'a>(selected: &Selected<'a>) -> WheelId<'a> {
    let wheel = selected.wheel;
    WheelId {
        filename: &wheel.filename,
        file: &wheel.file,
        digest: wheel.digest,
    }
}

/// Fetches wheels of a lockfile; those of the package index are found there by name and digest.
pub(super) fn fetch_wheels(
    network: &Network,
    (selected, homes): (&[Selected<'_>], &Homes),
    ready: &(dyn Fn(usize, &VerifiedWheel) + std::marker::Sync),
    reporter: &dyn Reporter,
) -> Result<Vec<VerifiedWheel>, fetch::Error> {
    let wanted: Vec<fetch::Wanted> = selected
        .iter()
        .map(|selected| wanted(selected, network, homes))
        .collect();
    let locate = |wanted: &fetch::Wanted| -> Result<Vec<url::Url>, Cause> {
        let package = selected
            .iter()
            .find(|selected| Some(selected.wheel.digest) == wanted.digest);
        let on_index = |selected: &&Selected<'_>| {
            !matches!(selected.wheel.origin, Origin::Path(_)) && !homes.direct.contains(&selected.package.name)
        };
        let Some(package) = package.filter(on_index) else {
            return Ok(Vec::new());
        };
        let wheel = package.wheel;
        let found = network
            .sources
            .locate(&package.package.name, &wheel.file, &wheel.digest)?;
        Ok(found.into_iter().map(|file| file.url).collect())
    };
    let options = FetchOptions {
        locate: &locate,
        ready,
        ..FetchOptions::default()
    };
    Fetcher::new(&network.http, &network.cache)
        .fetch_all(&wanted, &options, reporter)
        .map_err(|error| blame::judged(error, network, (selected, &homes.direct)))
}

impl From<EditableError> for RealiseError {
    fn from(error: EditableError) -> Self {
        Self::Bind(error.into())
    }
}

impl Project<'_> {
    /// Where the environment of a plan is or would be.
    pub fn environment_path(&self, plan: &Plan) -> Result<PathBuf, RealiseError> {
        let suffix = self.own(plan.interpreter.python)?.editables.suffix();
        let (store, name) = (self.store()?, plan.identity()?.folder(&plan.python()) + &suffix);
        let lower = store.find_lower(Shelf::Envs, &name)?;
        Ok(lower.as_ref().unwrap_or(&store).path(Shelf::Envs, &name))
    }

    /// The environment of a plan where it is visible and can be trusted; touches neither network nor interpreter.
    pub fn find_environment(&self, plan: &Plan) -> Result<Option<Realised>, RealiseError> {
        let store = self.store()?;
        store.check_version()?;
        let (identity, python) = (plan.identity()?, plan.python());
        let suffix = self.own(python.minor)?.editables.suffix();
        let name = identity.folder(&python) + &suffix;
        let mut found: Vec<Store> = store.find_lower(Shelf::Envs, &name)?.into_iter().collect();
        if store.has(Shelf::Envs, &name) && store.trust(Shelf::Envs, &name)? != Trust::Unknown {
            found.push(store.clone());
        }
        for store in found {
            let path = store.path(Shelf::Envs, &name);
            match EnvironmentState::read(&path) {
                // The folder's name has only the key's beginning.
                Ok(state) if state.environment_key != plan.key => {}
                Ok(state) => {
                    return Ok(Some(Realised {
                        path,
                        state,
                        reused: true,
                        downloaded: 0,
                        conflicts: Vec::new(),
                        claim: None,
                    }));
                }
                // It says nothing that building again would not say.
                Err(error) if error.is_damage() || matches!(error, StateError::Missing(_)) => {}
                Err(source) => return Err(RealiseError::State { path, source }),
            }
        }
        Ok(None)
    }

    /// Marks what an earlier command of this boot wrote as being on disk, where that is due; see [`crate::store`].
    pub fn settle(&self, environment: &std::path::Path) {
        let (Ok(store), Some(name)) = (self.store(), environment.file_name().and_then(|name| name.to_str())) else {
            return;
        };
        if store.wants_settling(Shelf::Envs, name) {
            // Without the mark the environment is verified after a reboot, that is all.
            store.settle().ok();
        }
    }

    /// Says that an environment that was there already is composed in another way than is asked for.
    #[must_use]
    pub fn other_link_mode(&self, realised: &Realised) -> Option<String> {
        let asked = self.config.link_mode.filter(|_| realised.reused)?;
        let name = realised.path.file_name()?.to_str()?;
        let store = Store::new(realised.path.parent()?.parent()?.to_owned());
        let contents = store.contents(Shelf::Envs, name).ok().flatten()?;
        let has: LinkMode = serde_json::from_value(contents.get("link_mode")?.clone()).ok()?;
        let had = match has {
            LinkMode::Rule => "without a link mode",
            LinkMode::Symlink => "with the link mode `symlink`",
            LinkMode::Hardlink => "with the link mode `hardlink`",
            LinkMode::Reflink => "with the link mode `reflink`",
            LinkMode::Copy => "with the link mode `copy`",
        };
        (has != link_mode(asked)).then(|| {
            format!(
                "the environment was built {had} and stays so; `{}` counts for environments that are built with it",
                asked.as_str()
            )
        })
    }

    /// Says, for an active environment of the same key, that its interpreter is gone or another one by now.
    #[must_use]
    pub fn rebinding(&self, plan: &Plan) -> Option<String> {
        let (_, active) = self.profile().active().ok().flatten()?;
        let bound = (active.interpreter.as_path(), active.python_version.as_str());
        let version = plan.interpreter.version.to_string();
        if active.environment_key != plan.key || bound == (plan.interpreter.real_path.as_path(), version.as_str()) {
            return None;
        }
        let what = self.interpreter_problem(&active)?;
        let (old, new) = (active.interpreter.display(), plan.interpreter.real_path.display());
        Some(format!(
            "the active environment is bound to {old}, {what}; binding it to {new} (Python {version})"
        ))
    }

    /// Finds the environment of a plan and keeps it from being collected. A store that cannot be written takes no
    /// claims; activation then finds out whether the environment is still there.
    fn find_and_claim(&self, store: &Store, plan: &Plan) -> Result<Option<Realised>, RealiseError> {
        let Some(found) = self.find_environment(plan)? else {
            return Ok(None);
        };
        let name = found
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let claim = store.claim().ok();
        let claim = claim
            .filter(|claim| claim.hold(Shelf::Envs, &name).is_ok())
            .map(Arc::new);
        crate::checkpoint::reach("build.hit");
        Ok(self.find_environment(plan)?.map(|found| Realised { claim, ..found }))
    }

    /// Makes the environment of a plan visible. One that is there already was let in before, whatever is allowed now.
    pub fn realise(&self, plan: &Plan) -> Result<Realised, RealiseError> {
        self.realise_here(plan)
            .map_err(|error| super::space::explain_full(self, plan, error))
    }

    fn realise_here(&self, plan: &Plan) -> Result<Realised, RealiseError> {
        let store = self.store()?;
        if let Some(found) = self.find_and_claim(&store, plan)? {
            if let Some(claim) = &found.claim {
                self.complete_bytecode(&store, plan, &found, claim);
            }
            self.tell_foreign(&found);
            return Ok(found);
        }
        store.prepare()?;
        crate::collect::sweep(&store);
        let identity = plan.identity()?;
        let python = plan.python();
        let own = self.own(python.minor)?;
        let name = identity.folder(&python) + &own.editables.suffix();
        let claim = Arc::new(store.claim()?);
        claim.hold(Shelf::Envs, &name)?;
        let _guard = store.guard(&name, self.reporter)?;
        // Another process may have built it while this one waited, and without its bytecode.
        if let Some(found) = self.find_environment(plan)? {
            self.complete_bytecode(&store, plan, &found, &claim);
            return Ok(Realised {
                claim: Some(claim),
                ..found
            });
        }
        if store.has(Shelf::Envs, &name) {
            let message = if store.trust(Shelf::Envs, &name)? == Trust::Unknown {
                "the environment was not on disk for certain when this machine went down; verifying it"
            } else {
                "the environment's state is damaged; making the environment again"
            };
            self.reporter.event(Event::Warning { message });
        }
        let workers = threads::processors();
        let compilers = Compilers::new(&Compiler::of(&python), workers);
        let trees = self.trees_of((&store, &claim), &python, &compilers, plan.modules);
        let sync = trees.sync;
        let (mut members, downloaded) = self.trees(plan, &trees, workers)?;
        let names: Vec<&str> = identity.packages.iter().map(|(name, _)| name.as_str()).collect();
        members.extend(trees.own_trees(&names)?);
        crate::checkpoint::reach("build.trees");
        drop(compilers);
        let mode = self.config.link_mode.map_or(LinkMode::Rule, link_mode);
        self.reporter.event(Event::ComposeStarted);
        let Built {
            state,
            conflicts,
            linked,
        } = build(&store, &identity, &python, (&members, &own.editables), (mode, sync))?;
        self.reporter.event(Event::Composed);
        if let Some(message) = &linked {
            self.reporter.event(Event::Warning { message });
        }
        self.tell_own(&own, &state);
        crate::checkpoint::reach("build.committed");
        if !self.config.keep_wheels {
            self.drop_wheels(plan)?;
        }
        Ok(Realised {
            path: store.path(Shelf::Envs, &name),
            state,
            reused: false,
            downloaded,
            conflicts,
            claim: Some(claim),
        })
    }

    /// Makes and finds trees in a store.
    fn trees_of<'t>(
        &'t self,
        (store, claim): (&'t Store, &'t Claim),
        python: &'t Python,
        compilers: &'t Compilers,
        modules: Modules,
    ) -> Trees<'t> {
        Trees {
            store,
            python,
            compilers,
            modules,
            reporter: self.reporter,
            sync: match self.config.sync {
                config::Sync::Deferred => Sync::Lazy,
                config::Sync::Full => Sync::Full,
            },
            claim,
            allow_unrecorded: self.config.allow_unrecorded,
        }
    }

    /// Makes what is wanted of the bytecode of an environment that is there already, and is not there: it was built
    /// without, or with less of it. It works without, so a failure is only told.
    fn complete_bytecode(&self, store: &Store, plan: &Plan, found: &Realised, claim: &Claim) {
        if let Err(error) = self.make_missing_bytecode(store, plan, found, claim) {
            let message = format!(
                "the environment stays without some of its bytecode: {}",
                one_line(&error)
            );
            self.reporter.event(Event::Warning { message: &message });
        }
    }

    /// Touches nothing where nothing is missing.
    fn make_missing_bytecode(
        &self,
        store: &Store,
        plan: &Plan,
        found: &Realised,
        claim: &Claim,
    ) -> Result<(), RealiseError> {
        if found.path.parent().and_then(Path::parent) != Some(store.root()) {
            return Ok(());
        }
        let is_missing = |tree: &&String| {
            let name = bytecode_name(tree);
            name != *tree && store.layers().all(|layer| !is_there(&layer, name, plan.modules))
        };
        let missing: Vec<&String> = found.state.trees.iter().filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        store.prepare()?;
        let python = plan.python();
        let compilers = Compilers::new(&Compiler::of(&python), threads::processors());
        let trees = self.trees_of((store, claim), &python, &compilers, plan.modules);
        for name in missing {
            let tree = trees.find_named(name.clone())?;
            tree.iter().try_for_each(|tree| trees.compile(tree))?;
        }
        Ok(())
    }

    /// Says that something was put into an environment that is there already.
    fn tell_foreign(&self, found: &Realised) {
        if !foreign::is_suspect(&found.path) {
            return;
        }
        let (store, name) = (found.path.parent().and_then(Path::parent), found.path.file_name());
        let (Some(store), Some(name)) = (store, name.and_then(|name| name.to_str())) else {
            return;
        };
        let verifier = Verifier {
            store: &Store::new(store.to_owned()),
            cache: None,
            reporter: &Silent,
        };
        for message in told_changes(&verifier.glance(name).unwrap_or_default()) {
            self.reporter.event(Event::Warning { message: &message });
        }
    }

    /// The trees of all wheels with their bytecode, and the bytes that were downloaded for them.
    pub(super) fn trees(
        &self,
        plan: &Plan,
        trees: &Trees<'_>,
        workers: usize,
    ) -> Result<(Vec<Tree>, u64), RealiseError> {
        let selected = plan.selected()?;
        trees.claim_all(selected.iter().map(wheel_id))?;
        let found = selected.iter().map(|selected| trees.find(&wheel_id(selected)));
        let mut found = found.collect::<Result<Vec<Option<Tree>>, _>>()?;
        let absent = found.iter().filter(|tree| tree.is_none()).count();
        if absent > 0 {
            self.reporter.event(Event::UnpackPlanned { files: absent });
        }
        for (tree, selected) in found.iter_mut().zip(&selected) {
            if tree.is_none() {
                *tree = trees.adopt(&wheel_id(selected))?;
            }
        }
        let missing: Vec<usize> = (0..selected.len()).filter(|at| found[*at].is_none()).collect();
        found.iter().flatten().try_for_each(|tree| trees.compile(tree))?;
        if missing.is_empty() {
            return Ok((found.into_iter().flatten().collect(), 0));
        }
        let wheels: Vec<Selected<'_>> = missing.iter().map(|at| selected[*at]).collect();
        let network = self.network(&plan.chosen.channel, Some(&plan.interpreter))?;
        let homes = self.homes(&plan.lockfile);
        wheels.iter().try_for_each(|wheel| homes.check(wheel, &network.cache))?;
        let (made, downloaded) = unpack_as_they_come(&Pipeline {
            network: &network,
            wheels: &wheels,
            homes: &homes,
            trees,
            workers: workers + WAITING,
            keep_wheels: self.config.keep_wheels,
        })?;
        for (at, tree) in missing.into_iter().zip(made) {
            found[at] = Some(tree);
        }
        Ok((found.into_iter().flatten().collect(), downloaded))
    }

    /// `keep-wheels = false`: removes the wheels of a plan from the cache, now that their trees are in the store.
    fn drop_wheels(&self, plan: &Plan) -> Result<(), RealiseError> {
        let cache = self.cache()?;
        for selected in plan.selected()? {
            drop_wheel(&cache, &selected);
        }
        Ok(())
    }
}

/// What is said of findings in an environment: foreign files, and what else is not as it was built.
#[must_use]
pub fn told_changes(damaged: &[Damage]) -> Vec<String> {
    let foreign = told_foreign(damaged);
    // A folder that had to make way for a foreign file is no finding of its own.
    let is_folder = |damage: &Damage| damage.path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    let of_writing = |damage: &Damage| {
        is_foreign(damage) || (foreign.is_some() && damage.kind == crate::verify::Kind::Mode && is_folder(damage))
    };
    let others: Vec<&Damage> = damaged.iter().filter(|damage| !of_writing(damage)).collect();
    let other = others.first().map(|first| {
        format!(
            "the environment is not as it was built: {} change{}, the first is {} ({}); `flambeau verify` lists them, \
             `flambeau verify --repair` mends them",
            others.len(),
            if others.len() == 1 { "" } else { "s" },
            first.path.display(),
            first.kind.as_str(),
        )
    });
    foreign.into_iter().chain(other).collect()
}

/// Whether something is no file of a wheel.
fn is_foreign(damage: &Damage) -> bool {
    use crate::verify::Kind;
    match damage.kind {
        Kind::Added => true,
        Kind::Changed | Kind::Truncated | Kind::Mode | Kind::Replaced => damage
            .path
            .symlink_metadata()
            .is_ok_and(|meta| meta.is_file() && meta.nlink() == 1),
        _ => false,
    }
}

/// The sentence about what was put into an environment; none where nothing was.
fn told_foreign(damaged: &[Damage]) -> Option<String> {
    let foreign = || damaged.iter().filter(|damage| is_foreign(damage));
    let first = foreign().next()?;
    let count: usize = foreign().map(|damage| files_at(&damage.path)).sum();
    Some(format!(
        "{count} foreign file{} in the environment, the first is {}; `flambeau verify --repair` makes it as it was built",
        if count == 1 { "" } else { "s" },
        first.path.display()
    ))
}

/// How many files a path is, or holds.
fn files_at(path: &Path) -> usize {
    if path.is_symlink() || !path.is_dir() {
        return 1;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| files_at(&entry.path())).sum()
}

/// The word of the configuration as composing knows it.
const fn link_mode(asked: config::LinkMode) -> LinkMode {
    match asked {
        config::LinkMode::Symlink => LinkMode::Symlink,
        config::LinkMode::Hardlink => LinkMode::Hardlink,
        config::LinkMode::Reflink => LinkMode::Reflink,
        config::LinkMode::Copy => LinkMode::Copy,
    }
}

/// Fetches wheels and makes a tree of each as soon as it is there. Returns the bytes that were downloaded too.
fn unpack_as_they_come(pipeline: &Pipeline<'_>) -> Result<(Vec<Tree>, u64), RealiseError> {
    let (fetched, made) = pipeline.run();
    let fetched = fetched.map_err(|error| RealiseError::Fetch(Box::new(error)))?;
    let downloaded = fetched
        .iter()
        .filter(|wheel| wheel.evidence() == Evidence::Downloaded)
        .map(VerifiedWheel::size)
        .sum();
    let trees = made.into_iter().flatten().collect::<Result<_, _>>()?;
    Ok((trees, downloaded))
}
