//! What a project's user can ask to be verified, and where mending gets what is lost: interpreters and the network.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::Project;
use super::activate::ActivateError;
use super::realise::fetch_wheels;
use crate::backend::Channel;
use crate::cache::Cache;
use crate::config::ConfigError;
use crate::digest::{WheelDigest, hash_reader};
use crate::env::Python;
use crate::env::state::EnvironmentState;
use crate::error::one_line;
use crate::fetch::{FetchOptions, Fetcher, Wanted};
use crate::lockfile::Selected;
use crate::pep::WheelFilename;
use crate::profile::ProfileError;
use crate::store::{Shelf, Store, StoreError};
use crate::target::PythonMinor;
use crate::verify::{Damage, Depth, Lost, MendError, Mender, Report, Subject, Verifier, VerifyError};

/// Why nothing was verified or mended.
#[derive(Debug, thiserror::Error)]
pub enum VerifyingError {
    /// What a name means.
    #[error(transparent)]
    Activate(#[from] ActivateError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Verifying.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Mending.
    #[error(transparent)]
    Mend(#[from] MendError),
    /// There is no active environment, and nothing else was named.
    #[error("no environment is active in {}", .0.display())]
    NothingActive(PathBuf),
}

impl From<ProfileError> for VerifyingError {
    fn from(error: ProfileError) -> Self {
        ActivateError::from(error).into()
    }
}

/// What is to be verified, where it is.
pub struct Scope {
    store: Store,
    cache: Option<Cache>,
    subjects: Vec<Subject>,
    /// Whether the subjects are just what was there, so that one that is gone by now is no damage.
    listed: bool,
}

/// What mending came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is still damaged.
    pub remaining: Vec<Damage>,
    /// What could not be mended, and why.
    pub failures: Vec<(Subject, MendError)>,
}

impl Scope {
    /// What verifies it.
    #[must_use]
    pub fn verifier<'a>(&'a self, project: &Project<'a>) -> Verifier<'a> {
        Verifier {
            store: &self.store,
            cache: self.cache.as_ref(),
            reporter: project.reporter,
        }
    }
}

impl Project<'_> {
    fn scope(&self) -> Result<Scope, VerifyingError> {
        let store = self.store()?;
        store.check_version()?;
        Ok(Scope {
            store,
            cache: self.cache().ok(),
            subjects: Vec::new(),
            listed: false,
        })
    }

    /// Writes the store's VERSION again where it is garbled and everything else is of this version; the file, where it
    /// did.
    pub fn restore_store_version(&self) -> Result<Option<PathBuf>, VerifyingError> {
        let store = self.store()?;
        Ok(store.restore_version()?.then(|| store.root().join("VERSION")))
    }

    /// The active environment, which may be one of another store than the configured one.
    pub fn active_scope(&self) -> Result<Scope, VerifyingError> {
        let mut scope = self.scope()?;
        let profile = self.profile();
        profile.check_links()?;
        let active = profile.active_path()?;
        let active = active.ok_or_else(|| VerifyingError::NothingActive(self.config.project.clone()))?;
        let name = active.file_name().and_then(|name| name.to_str());
        if let (Some(name), Some(root)) = (name, active.parent().and_then(Path::parent)) {
            scope.subjects.push(Subject::Environment(name.to_owned()));
            if root != scope.store.root() {
                scope.store = Store::new(root.to_owned());
                scope.store.check_version()?;
            }
        }
        Ok(scope)
    }

    /// Everything in the store and the cache.
    pub fn whole_scope(&self) -> Result<Scope, VerifyingError> {
        let mut scope = self.scope()?;
        scope.subjects = scope.verifier(self).everything()?;
        scope.listed = true;
        Ok(scope)
    }

    /// What was named: the path, the folder name or the key (or its beginning) of an environment, a generation, a
    /// backend or channel; the path or folder name of a tree; the path, file name or digest of a cached wheel.
    pub fn named_scope(&self, names: &[String]) -> Result<Scope, VerifyingError> {
        let mut scope = self.scope()?;
        for name in names {
            let subject = match self.stored(&scope, name)? {
                Some(subject) => subject,
                None => self.environment_subject(name)?,
            };
            scope.subjects.push(subject);
        }
        Ok(scope)
    }

    fn environment_subject(&self, name: &str) -> Result<Subject, VerifyingError> {
        let path = match name.parse::<u64>() {
            Ok(number) if name.len() < 12 => {
                let generations = self.profile().generations()?;
                let generation = generations.into_iter().find(|it| it.number == number);
                generation.ok_or(ProfileError::NoGeneration(number))?.path
            }
            _ => self.named_environment(name)?.0,
        };
        let folder = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Subject::Environment(folder))
    }

    /// An object of the store or the cache, named by path, folder name, file name or digest.
    fn stored(&self, scope: &Scope, name: &str) -> Result<Option<Subject>, VerifyingError> {
        let verifier = scope.verifier(self);
        let everything = verifier.everything()?;
        let by_path = name.contains('/') || name == ".venv";
        let path = if by_path {
            std::fs::canonicalize(self.config.project.join(name)).ok()
        } else {
            None
        };
        let is_below = |folder: &Path| {
            let folder = folder.canonicalize();
            matches!((&path, folder), (Some(path), Ok(folder)) if path.starts_with(&folder))
        };
        let fits = |subject: &&Subject| match subject {
            Subject::Environment(folder) => folder == name || is_below(&scope.store.path(Shelf::Envs, folder)),
            Subject::Bytecode(folder) => is_below(&scope.store.path(Shelf::Bytecode, folder)),
            Subject::Tree(folder) => folder == name || is_below(&scope.store.path(Shelf::Wheels, folder)),
            Subject::Wheel(digest) => scope.cache.as_ref().is_some_and(|cache| {
                let folder = cache.wheel_folder(digest);
                digest.to_string() == name
                    || (name.ends_with(".whl") && !by_path && folder.join(name).exists())
                    || is_below(&folder)
            }),
        };
        let found = everything.iter().find(fits).cloned();
        // A path that leads nowhere means nothing; a key may also be the beginning of a tree's name.
        Ok(match found {
            None if by_path => return Err(ActivateError::NothingFits(name.to_owned()).into()),
            found => found,
        })
    }

    /// Verifies a scope. What was found damaged is looked at once more, because others may have been building, mending
    /// or collecting it just then.
    pub fn verify(&self, scope: &Scope, depth: Depth) -> Result<Report, VerifyingError> {
        let verifier = scope.verifier(self);
        let mut report = verifier.verify(&scope.subjects, depth)?;
        if report.damaged.is_empty() {
            return Ok(report);
        }
        let mut subjects: Vec<Subject> = report.damaged.iter().map(|damage| damage.subject.clone()).collect();
        subjects.sort();
        subjects.dedup();
        let again = verifier.verify(&subjects, depth)?.damaged;
        let gone = |damage: &Damage| damage.inside.is_empty() && damage.kind == crate::verify::Kind::Missing;
        let wanted = |damage: &Damage| match &damage.subject {
            // An environment that is gone is missed by whoever named it, a tree by the environments made of it.
            Subject::Environment(_) => !scope.listed,
            Subject::Tree(_) => !scope.listed || !damage.environments.is_empty(),
            // Nothing needs it.
            Subject::Bytecode(_) => false,
            Subject::Wheel(_) => true,
        };
        report.damaged = again
            .into_iter()
            .filter(|damage| subjects.contains(&damage.subject) && (!gone(damage) || wanted(damage)))
            .collect();
        Ok(report)
    }

    /// What a look at the active environment's own folder finds; nothing where none is active.
    pub fn glance(&self) -> Result<Vec<Damage>, VerifyingError> {
        let scope = self.active_scope()?;
        let [Subject::Environment(name)] = scope.subjects.as_slice() else {
            return Ok(Vec::new());
        };
        Ok(scope.verifier(self).glance(name)?)
    }

    /// Mends what a verification of this scope found, and verifies what was mended.
    pub fn mend(&self, scope: &Scope, damaged: &[Damage]) -> Result<Outcome, VerifyingError> {
        let verifier = scope.verifier(self);
        scope.store.prepare()?;
        let python = |minor: PythonMinor| self.compiling_python(&scope.store, minor);
        let bring = |lost: &Lost| self.bring(&scope.store, lost);
        let mender = Mender {
            verifier,
            python: &python,
            bring: &bring,
        };
        // A quick look does not know of all that is wrong with what it found damaged.
        let mut subjects: Vec<Subject> = damaged.iter().map(|damage| damage.subject.clone()).collect();
        subjects.sort();
        subjects.dedup();
        let damaged = verifier.verify(&subjects, Depth::Full)?.damaged;
        let mended = mender.mend(&damaged)?;
        subjects.extend(mended.subjects);
        subjects.sort();
        subjects.dedup();
        Ok(Outcome {
            remaining: verifier.verify(&subjects, Depth::Full)?.damaged,
            failures: mended.failures,
        })
    }

    /// An interpreter of a minor version: best the one of an environment.
    fn compiling_python(&self, store: &Store, minor: PythonMinor) -> Option<Python> {
        let finder = self.finder();
        let names = store.names(Shelf::Envs).unwrap_or_default();
        let states = names
            .iter()
            .filter_map(|name| EnvironmentState::read(&store.path(Shelf::Envs, name)).ok());
        let mut of_environments = states
            .filter(|state| state.target.python == minor && self.interpreter_problem(state).is_none())
            .filter_map(|state| finder.at(&state.interpreter).ok());
        let found = of_environments.next().or_else(|| {
            finder
                .list()
                .into_iter()
                .find(|interpreter| interpreter.python == minor)
        })?;
        Some(Python {
            program: found.real_path,
            version: found.version.to_string(),
            minor: found.python,
            cache_tag: found.cache_tag,
        })
    }

    /// Fetches a wheel that is lost: from where a lockfile of this project has it, else from where its name leads.
    fn bring(&self, store: &Store, lost: &Lost) -> Result<PathBuf, String> {
        if self.config.offline {
            return Err("the network may not be used (offline)".to_owned());
        }
        let cache = self.cache().map_err(|error| error.to_string())?;
        let aside = lost
            .file
            .as_ref()
            .and_then(|file| Aside::put(&cache, &lost.digest?, file));
        let brought = self.bring_locked(lost).or_else(|error| match error {
            Some(error) => Err(error),
            None => self.bring_by_name(store, lost),
        });
        match (&brought, aside) {
            (Ok(_), Some(aside)) => aside.forget(),
            (Err(_), Some(aside)) => aside.put_back(),
            (_, None) => {}
        }
        brought
    }

    /// `Err(None)` where no lockfile of this project has it.
    fn bring_locked(&self, lost: &Lost) -> Result<PathBuf, Option<String>> {
        let wanted = |digest: &WheelDigest| match lost.digest {
            Some(wanted) => *digest == wanted,
            None => digest.short() == lost.short,
        };
        for (_, read) in self.all_lockfiles().unwrap_or_default() {
            let packages = read.lockfile.packages.iter();
            let mut pairs = packages.flat_map(|package| package.wheels.iter().map(move |wheel| (package, wheel)));
            if let Some((package, wheel)) = pairs.find(|(_, wheel)| wanted(&wheel.digest)) {
                let tell = |error: &(dyn std::error::Error + 'static)| Some(one_line(error));
                let network = self
                    .network(&read.lockfile.channel, None)
                    .map_err(|error| tell(&error))?;
                let selected = [Selected { package, wheel }];
                let fetched = fetch_wheels(&network, (&selected, &self.homes(&read)), &|_, _| {}, self.reporter);
                let fetched = fetched.map_err(|error| tell(&error))?;
                return fetched.first().map(|wheel| wheel.path().to_owned()).ok_or(None);
            }
        }
        Err(None)
    }

    fn bring_by_name(&self, store: &Store, lost: &Lost) -> Result<PathBuf, String> {
        let unknown = || "neither a lockfile nor the store tells where it comes from".to_owned();
        let (Some(digest), Some(file)) = (lost.digest, &lost.file) else {
            return Err(unknown());
        };
        let filename: WheelFilename = file.parse().map_err(|_| unknown())?;
        let names = store.names(Shelf::Envs).unwrap_or_default();
        let states = names
            .iter()
            .filter_map(|name| EnvironmentState::read(&store.path(Shelf::Envs, name)).ok());
        let mut channels: Vec<Channel> = states.map(|state| state.channel).collect();
        channels.sort();
        channels.dedup();
        let mut last = unknown();
        for channel in channels {
            let network = self.network(&channel, None).map_err(|error| one_line(&error))?;
            let wanted = Wanted {
                file: file.clone(),
                digest: Some(digest),
                size: None,
                urls: Vec::new(),
            };
            let locate = |_: &Wanted| {
                let found = network.sources.locate(&filename.name, file, &digest)?;
                Ok(found.into_iter().map(|file| file.url).collect())
            };
            let options = FetchOptions {
                locate: &locate,
                ..FetchOptions::default()
            };
            match Fetcher::new(&network.http, &network.cache).fetch_all(&[wanted], &options, self.reporter) {
                Ok(fetched) => return fetched.first().map(|wheel| wheel.path().to_owned()).ok_or(last),
                Err(error) => last = one_line(&error),
            }
        }
        Err(last)
    }
}

/// A damaged wheel that was moved out of the way of a good one.
struct Aside {
    path: PathBuf,
    aside: PathBuf,
}

impl Aside {
    /// None where nothing is in the way, or what is there is right.
    fn put(cache: &Cache, digest: &WheelDigest, file: &str) -> Option<Self> {
        let path = cache.wheel_path(digest, file);
        let meta = std::fs::symlink_metadata(&path).ok()?;
        let intact = meta.is_file()
            && File::open(&path)
                .and_then(hash_reader)
                .is_ok_and(|(bytes, _)| WheelDigest::from_bytes(bytes) == *digest);
        let aside = cache.root().join("partial").join(format!("{digest}.damaged"));
        if intact {
            return None;
        }
        crate::fsx::create_dir_all(&cache.root().join("partial")).ok()?;
        std::fs::rename(&path, &aside).ok()?;
        Some(Self { path, aside })
    }

    fn forget(self) {
        // What is left is debris of the cache, which is deleted with it.
        std::fs::remove_file(&self.aside).ok();
    }

    fn put_back(self) {
        if !self.path.exists() {
            std::fs::rename(&self.aside, &self.path).ok();
        }
    }
}
