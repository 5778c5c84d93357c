//! Making an environment active in this project, by plan or by what the user names.

use std::path::{Path, PathBuf};

use super::Project;
use super::choice::Chosen;
use super::realise::Realised;
use crate::backend::Preference;
use crate::config::ConfigError;
use crate::env::state::{EnvironmentState, StateError};
use crate::profile::{Cause, Choice, Generation, Profile, ProfileError};
use crate::progress::Event;
use crate::store::{Shelf, Store, StoreError};

/// Why nothing was activated.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// The profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing built fits the name.
    #[error("nothing that is built fits `{0}`")]
    NothingFits(String),
    /// More than one environment fits a key's beginning.
    #[error("`{text}` is the beginning of {} keys: {}", keys.len(), keys.join(", "))]
    Ambiguous {
        /// What was given.
        text: String,
        /// The keys.
        keys: Vec<String>,
    },
    /// The environment's interpreter is gone or another one by now.
    #[error("{} is bound to {}, {what}", path.display(), interpreter.display())]
    Interpreter {
        /// The environment.
        path: PathBuf,
        /// The interpreter it is bound to.
        interpreter: PathBuf,
        /// What is wrong with that.
        what: String,
    },
}

/// What was activated.
#[derive(Debug, Clone)]
pub struct Activated {
    /// The environment.
    pub path: PathBuf,
    /// Its state.
    pub state: EnvironmentState,
    /// Its generation.
    pub generation: Generation,
    /// Whether `.venv` led elsewhere before.
    pub switched: bool,
    /// Where somebody else's `.venv` and state file are now, if they were in the way.
    pub moved_aside: Vec<PathBuf>,
}

/// What to do about a `.venv` that flambeau did not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InTheWay {
    /// Refuse, and change nothing.
    Refuse,
    /// Move it aside, once nothing else can fail but the flip.
    MoveAside,
}

/// An environment of the store.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The folder's name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its state, or why it cannot be read.
    pub state: Result<EnvironmentState, String>,
}

fn make_way(profile: &Profile, in_the_way: InTheWay) -> Result<Vec<PathBuf>, ProfileError> {
    match in_the_way {
        InTheWay::Refuse => Ok(Vec::new()),
        InTheWay::MoveAside => Ok(profile.move_aside()?),
    }
}

impl Project<'_> {
    /// Activates what was realised for a plan.
    pub fn activate_realised(
        &self,
        realised: &Realised,
        chosen: &Chosen,
        in_the_way: InTheWay,
    ) -> Result<Activated, ActivateError> {
        let choice = (chosen.cause, chosen.choice.clone());
        if let Some(decision) = &chosen.decision {
            self.remember_gpu_env(&realised.state.channel, decision)
                .map_err(ProfileError::from)?;
        }
        self.flip(&realised.path, &realised.state, choice, in_the_way)
    }

    /// Activates what `name` means: a generation's number, a backend (the newest environment of it that this project
    /// used), a channel, or a key or its beginning.
    pub fn activate_named(
        &self,
        name: &str,
        configured: String,
        in_the_way: InTheWay,
    ) -> Result<Activated, ActivateError> {
        if let Ok(number) = name.parse::<u64>()
            && name.len() < 12
        {
            let (profile, store) = (self.profile(), self.writable_store()?);
            if in_the_way == InTheWay::Refuse {
                profile.check_links()?;
            }
            let _guard = profile.guard(|| self.waiting())?;
            let before = profile.active_path()?;
            let record = profile
                .generations()?
                .into_iter()
                .find(|generation| generation.number == number);
            let record = record.ok_or(ProfileError::NoGeneration(number))?;
            let state = self.usable_state(&record.path).map_err(|error| match error {
                ActivateError::Profile(ProfileError::State(StateError::Missing(_))) => ProfileError::Vanished {
                    number,
                    path: record.path.clone(),
                }
                .into(),
                other => other,
            })?;
            let moved_aside = make_way(&profile, in_the_way)?;
            let choice = Choice {
                explicit: Some(state.channel.clone()),
                configured,
            };
            let generation = profile.reactivate(&store, number, choice)?;
            self.settle_gpu_env(&state.channel).map_err(ProfileError::from)?;
            let switched = before.as_deref() != Some(&generation.path);
            return Ok(Activated {
                path: generation.path.clone(),
                state,
                generation,
                switched,
                moved_aside,
            });
        }
        let path = self.named_environment(name)?;
        let state = self.usable_state(&path)?;
        let choice = Choice {
            explicit: Some(state.channel.clone()),
            configured,
        };
        self.flip(&path, &state, (Cause::Activate, choice), in_the_way)
    }

    /// The store, to be registered with: one of a newer version is left alone.
    fn writable_store(&self) -> Result<Store, ActivateError> {
        let store = self.store()?;
        store.check_version()?;
        Ok(store)
    }

    fn waiting(&self) {
        self.reporter.event(Event::Waiting {
            what: "this project's profile",
        });
    }

    fn flip(
        &self,
        path: &Path,
        state: &EnvironmentState,
        (cause, choice): (Cause, Choice),
        in_the_way: InTheWay,
    ) -> Result<Activated, ActivateError> {
        let (profile, store) = (self.profile(), self.writable_store()?);
        if in_the_way == InTheWay::Refuse {
            profile.check_links()?;
        }
        let _guard = profile.guard(|| self.waiting())?;
        let before = profile.active_path()?;
        let moved_aside = make_way(&profile, in_the_way)?;
        let (generation, _) = profile.activate(&store, path, state, cause, choice)?;
        profile.write_overlay(&self.overlay_folders())?;
        self.settle_gpu_env(&state.channel).map_err(ProfileError::from)?;
        Ok(Activated {
            path: path.to_owned(),
            state: state.clone(),
            generation,
            switched: before.as_deref() != Some(path),
            moved_aside,
        })
    }

    /// The folders that `[tool.flambeau] editable` puts on the path. A folder with a `src` layout contributes `src`
    /// too, before itself.
    #[must_use]
    pub fn overlay_folders(&self) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for folder in &self.config.editable {
            let source = folder.join("src");
            if source.is_dir() && !source.join("__init__.py").exists() {
                folders.push(source);
            }
            folders.push(folder.clone());
        }
        folders
    }

    /// The state of an environment whose interpreter is still the one it is bound to.
    pub fn usable_state(&self, path: &Path) -> Result<EnvironmentState, ActivateError> {
        let state = EnvironmentState::read(path).map_err(ProfileError::from)?;
        match self.interpreter_problem(&state) {
            Some(what) => Err(ActivateError::Interpreter {
                path: path.to_owned(),
                interpreter: state.interpreter.clone(),
                what,
            }),
            None => Ok(state),
        }
    }

    /// What is wrong with the interpreter that an environment is bound to; its facts are asked anew only where its
    /// file changed.
    #[must_use]
    pub fn interpreter_problem(&self, state: &EnvironmentState) -> Option<String> {
        match self.finder().at(&state.interpreter) {
            Ok(found) if found.version.to_string() == state.python_version => None,
            Ok(found) => Some(format!(
                "which is Python {} by now; it was {}",
                found.version, state.python_version
            )),
            Err(_) if !state.interpreter.exists() => Some("which is gone".to_owned()),
            Err(error) => Some(format!("which cannot be used: {error}")),
        }
    }

    /// Every environment of the store, sorted by name.
    pub fn environments(&self) -> Result<Vec<Listed>, ActivateError> {
        let store = self.store()?;
        store.check_version()?;
        let names = store.names(Shelf::Envs)?;
        Ok(names
            .into_iter()
            .map(|name| {
                let path = store.path(Shelf::Envs, &name);
                let state = EnvironmentState::read(&path).map_err(|error| error.to_string());
                Listed { name, path, state }
            })
            .collect())
    }

    /// The environment that a backend, a channel or a key names. This project's own history comes first.
    fn named_environment(&self, name: &str) -> Result<PathBuf, ActivateError> {
        let nothing = || ActivateError::NothingFits(name.to_owned());
        let backend = match name.parse::<Preference>() {
            Ok(Preference::Backend(backend)) => Some(backend),
            _ => None,
        };
        // The configured channels of a backend come before others that happen to be newer.
        let channels = backend.map(|backend| self.config.channels(backend)).unwrap_or_default();
        let fits = |state: &EnvironmentState| match backend {
            Some(backend) => state.installed_backend == backend,
            None => state.channel.as_str() == name,
        };
        let mut own: Vec<Generation> = self.profile().generations()?;
        own.reverse();
        own.sort_by_key(|generation| !channels.contains(&generation.channel));
        for generation in own {
            if EnvironmentState::read(&generation.path).is_ok_and(|state| fits(&state)) {
                return Ok(generation.path);
            }
        }
        let is_key = name.len() >= 6 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let all = self.environments()?;
        if is_key {
            let short = &name[..name.len().min(40)].to_ascii_lowercase();
            let found: Vec<&Listed> = all
                .iter()
                .filter(|listed| listed.name.starts_with(short))
                .filter(|listed| {
                    name.len() <= 40
                        || listed
                            .state
                            .as_ref()
                            .is_ok_and(|state| state.environment_key.to_string() == name)
                })
                .collect();
            return self.one_of(name, &found)?.ok_or_else(nothing);
        }
        // What this project's lockfiles would build comes before what other projects left in the store.
        let keys: Vec<String> = self
            .all_lockfiles()
            .unwrap_or_default()
            .iter()
            .filter_map(|(_, read)| super::lockfiles::keys_of(read).ok())
            .flatten()
            .map(|(_, key)| key.to_string())
            .collect();
        let mut found: Vec<(&Listed, &EnvironmentState)> = all
            .iter()
            .filter_map(|listed| Some((listed, listed.state.as_ref().ok()?)))
            .filter(|(_, state)| fits(state) && keys.contains(&state.environment_key.to_string()))
            .filter(|(_, state)| self.interpreter_problem(state).is_none())
            .collect();
        found.sort_by(|(_, left), (_, right)| {
            let rank = |state: &EnvironmentState| !channels.contains(&state.channel);
            rank(left)
                .cmp(&rank(right))
                .then_with(|| right.created_at.cmp(&left.created_at))
        });
        found.first().map(|(listed, _)| listed.path.clone()).ok_or_else(nothing)
    }

    /// One of the environments of one key: several differ only in their interpreter, and the active one's comes first.
    fn one_of(&self, name: &str, found: &[&Listed]) -> Result<Option<PathBuf>, ActivateError> {
        let mut keys: Vec<String> = found
            .iter()
            .filter_map(|listed| listed.name.get(..40).map(str::to_owned))
            .collect();
        keys.dedup();
        if keys.len() > 1 {
            return Err(ActivateError::Ambiguous {
                text: name.to_owned(),
                keys,
            });
        }
        let usable = |listed: &&&Listed| {
            listed
                .state
                .as_ref()
                .is_ok_and(|state| self.interpreter_problem(state).is_none())
        };
        let active = self.profile().active_path()?;
        let same = found.iter().find(|listed| Some(&listed.path) == active.as_ref());
        let first = same.or_else(|| found.iter().find(usable)).or_else(|| found.first());
        Ok(first.map(|listed| listed.path.clone()))
    }
}
