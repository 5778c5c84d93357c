//! The project's history of active environments, and the flip that makes one active.
//!
//! ```text
//! .venv                    -> <store>/envs/<name>            the symlink that flips
//! environment_state.json   -> .venv/environment_state.json   so that one flip moves both
//! .flambeau/generations/<n>.json                             one record a generation
//! .flambeau/links/<n>      -> <store>/envs/<name>            which outlives a record that is lost
//! .flambeau/current                                          the number that was activated last, and the greatest
//! .flambeau/overlay.pth                                      the project's own folders, for the start-up hook
//! .flambeau/guard
//! ```
//!
//! What is active is what `.venv` leads to; the records only tell its history, and one that is lost or garbled costs
//! words, never the environment. Activating writes the record first and flips last.
//! Refuses: replacing a `.venv` or `environment_state.json` that is not flambeau's; records of a newer flambeau.

use std::path::{Path, PathBuf};

use crate::checkpoint;
use crate::env::state::{self, EnvironmentState, StateError};
use crate::fsx::{self, PathContext as _, PathError};
use crate::store::{Guard, Store};

mod delete;
mod links;
mod overlay;
mod record;
mod user;

use links::{Occupant, occupant_of_state};

pub use delete::{ParseSelectionError, Selection, plan};
pub use record::{Activation, Cause, Choice, Generation};
pub use user::user;

/// Why the profile cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The environment's state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// Somebody else's file is in the way.
    #[error("{} is {what}, which flambeau did not make", path.display())]
    InTheWay {
        /// The path.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// There is no such generation.
    #[error("there is no generation {0}")]
    NoGeneration(u64),
    /// A generation's environment is gone.
    #[error("the environment of generation {number} is gone: {}", path.display())]
    Vanished {
        /// The generation.
        number: u64,
        /// Where it was.
        path: PathBuf,
    },
    /// Nothing to go back to.
    #[error("there is no generation older than {}", .0.map_or("the active environment".to_owned(), |number| format!("the current one ({number})")))]
    NoOlder(Option<u64>),
    /// Nothing to go back from.
    #[error("no environment is active in {}", .0.display())]
    NothingActive(PathBuf),
    /// The current generation is never deleted.
    #[error("generation {0} is the current one, which cannot be deleted")]
    DeletesCurrent(u64),
    /// A record of a newer flambeau.
    #[error("{} has schema {found}; this flambeau understands {}", path.display(), record::SCHEMA)]
    Newer {
        /// The record.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
}

/// Who wants an environment active, and why.
#[derive(Debug, Clone)]
pub struct Request {
    /// What makes it active.
    pub cause: Cause,
    /// What was asked for.
    pub choice: Choice,
    /// The user; see [`user`].
    pub user: String,
}

/// What `.flambeau/current` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Noted {
    /// The number that was activated last.
    current: u64,
    /// The greatest number that was ever given away, so that nobody needs to list a long history to find it.
    newest: Option<u64>,
}

/// The profile of one project.
#[derive(Debug, Clone)]
pub struct Profile {
    project: PathBuf,
}

impl Profile {
    /// The profile of the project at `project`, an absolute path.
    #[must_use]
    pub fn new(project: &Path) -> Self {
        Self {
            project: project.to_owned(),
        }
    }

    /// The project's folder.
    #[must_use]
    pub fn project(&self) -> &Path {
        &self.project
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.project.join(".flambeau")
    }

    /// Keeps other processes from changing this profile.
    pub fn guard(&self, waiting: impl FnOnce()) -> Result<Guard, ProfileError> {
        self.prepare()?;
        let path = self.folder().join("guard");
        Ok(Guard::exclusive(&path, waiting).at("take the guard", &path)?)
    }

    /// The active environment and its state; none where nothing is active. A link that leads nowhere is an error.
    pub fn active(&self) -> Result<Option<(PathBuf, EnvironmentState)>, ProfileError> {
        let Some(path) = self.active_path()? else {
            return Ok(None);
        };
        let state = EnvironmentState::read(&path)?;
        Ok(Some((path, state)))
    }

    /// The generation that is active: the one activated last, if `.venv` still leads to its environment, else the
    /// newest one whose environment it leads to.
    pub fn current(&self) -> Result<Option<Generation>, ProfileError> {
        let Some(active) = self.active_path()? else {
            return Ok(None);
        };
        if let Some(noted) = self.noted()?
            && let Some(generation) = self.generation(noted.current)?
            && generation.path == active
        {
            return Ok(Some(generation));
        }
        for generation in self.newest_first()? {
            let generation = generation?;
            if generation.path == active {
                return Ok(Some(generation));
            }
        }
        Ok(None)
    }

    /// Makes the environment at `path` active. Returns its generation, and whether that is a new one: activating what
    /// is active adds none. The caller holds the guard.
    pub fn activate(
        &self,
        store: &Store,
        path: &Path,
        state: &EnvironmentState,
        request: Request,
    ) -> Result<(Generation, bool), ProfileError> {
        self.check_links()?;
        // Until the generation stands and the link has flipped, no collection takes the environment.
        let _gate = self.register(store, path)?;
        let current = self.current()?;
        if let Some(current) = current
            .as_ref()
            .filter(|current| current.path == path && current.key == state.environment_key)
        {
            // The same environment, perhaps for another reason: a plain build after a flag, for example.
            let changed = current.choice != request.choice;
            let generation = Generation {
                choice: request.choice,
                ..current.clone()
            };
            if changed {
                self.write_generation(&generation)?;
            }
            // Nothing flips, but a state link that somebody deleted is restored.
            self.flip(&generation)?;
            return Ok((generation, false));
        }
        if current.is_none()
            && let Some(unknown) = self.active_path()?.filter(|active| active != path)
        {
            self.adopt(&unknown)?;
        }
        let number = self.next_number(path)?;
        let generation = Generation {
            schema: record::SCHEMA,
            number,
            created: state::now(),
            user: request.user,
            path: path.to_owned(),
            key: state.environment_key,
            backend: state.installed_backend,
            channel: state.channel.clone(),
            lockfile: state.lockfile_digest,
            cause: request.cause,
            choice: request.choice,
            again: None,
        };
        let flipped = self.write_generation(&generation).map_err(ProfileError::from);
        checkpoint::reach("profile.recorded");
        if let Err(error) = flipped.and_then(|()| self.flip(&generation)) {
            // A generation that was never active has no place in the history.
            self.forget(number).ok();
            return Err(error);
        }
        Ok((generation, true))
    }

    /// Makes an existing generation active again. It was named, so it is an explicit choice from now on. The caller holds
    /// the guard and has found its environment usable.
    pub fn reactivate(
        &self,
        store: &Store,
        generation: Generation,
        request: Request,
    ) -> Result<Generation, ProfileError> {
        self.check_links()?;
        let _gate = self.register(store, &generation.path)?;
        let is_current = self
            .current()?
            .is_some_and(|current| current.number == generation.number);
        let again = Activation {
            at: state::now(),
            user: request.user,
            cause: request.cause,
        };
        let changed = !is_current || generation.choice != request.choice;
        let generation = Generation {
            choice: request.choice,
            again: if is_current { generation.again } else { Some(again) },
            ..generation
        };
        if changed {
            self.write_generation(&generation)?;
        }
        checkpoint::reach("profile.recorded");
        self.flip(&generation)?;
        Ok(generation)
    }

    /// The generation that `rollback` goes to: the given one, else the newest that is older than the current one.
    pub fn rollback_target(&self, to: Option<u64>) -> Result<Generation, ProfileError> {
        if let Some(number) = to {
            return self.generation(number)?.ok_or(ProfileError::NoGeneration(number));
        }
        let current = self.current()?.map(|current| current.number);
        let active = self.active_path()?;
        if active.is_none() {
            return Err(ProfileError::NothingActive(self.project.clone()));
        }
        let older = match current {
            Some(current) => self.older_than(current).next(),
            None => self.newest_first()?.next(),
        };
        older.unwrap_or(Err(ProfileError::NoOlder(current)))
    }

    /// The newest generation that is older than one.
    pub fn generation_before(&self, number: u64) -> Result<Generation, ProfileError> {
        let older = self.older_than(number).next();
        older.unwrap_or(Err(ProfileError::NoOlder(Some(number))))
    }

    /// The state link first: it is relative and never changes, so from the second time on one rename moves both.
    fn flip(&self, generation: &Generation) -> Result<(), ProfileError> {
        if let Occupant::Nothing = occupant_of_state(&self.state_link())? {
            fsx::flip_symlink(&Path::new(".venv").join(state::FILE_NAME), &self.state_link())?;
        }
        checkpoint::reach("profile.state_linked");
        let noted = self.noted()?;
        if noted.is_none_or(|noted| noted.current != generation.number || noted.newest.is_none()) {
            let newest = match noted.and_then(|noted| noted.newest) {
                Some(newest) => newest,
                None => self.numbers()?.into_iter().max().unwrap_or(0),
            };
            // Always as long, so that it may be written over; if it cannot be read, nothing is lost but time.
            let numbers = format!("{:<20} {:<20}\n", generation.number, newest.max(generation.number));
            if !fsx::write_over(&self.noted_path(), numbers.as_bytes())? {
                fsx::write_atomic(&self.noted_path(), numbers.as_bytes())?;
            }
        }
        checkpoint::reach("profile.noted");
        if self.active_path()?.as_deref() != Some(&generation.path) {
            fsx::flip_symlink(&generation.path, &self.link())?;
        }
        checkpoint::reach("profile.flipped");
        Ok(())
    }

    fn noted_path(&self) -> PathBuf {
        self.folder().join("current")
    }

    /// What was noted last, as far as it can be read.
    fn noted(&self) -> Result<Option<Noted>, PathError> {
        let bytes = fsx::read_if_exists(&self.noted_path())?.unwrap_or_default();
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let mut numbers = text.split_whitespace().map(str::parse);
        Ok(match numbers.next() {
            Some(Ok(current)) => Some(Noted {
                current,
                // One that nothing stands for may be anything.
                newest: numbers
                    .next()
                    .and_then(Result::ok)
                    .filter(|newest| self.is_given(*newest)),
            }),
            _ => None,
        })
    }

    /// Tells the store that this project exists and needs the environment, so that a collection keeps it. Returns the
    /// gate; while it is held, no collection runs. An environment that lies elsewhere, in a read-only lower store, needs
    /// no such word: it is not collected from here.
    fn register(&self, store: &Store, environment: &Path) -> Result<Option<Guard>, ProfileError> {
        if !environment.starts_with(store.root()) {
            return Ok(None);
        }
        let gate = store.gate()?;
        checkpoint::reach("activate.gate");
        if !environment.join(state::FILE_NAME).exists() {
            return Err(StateError::Missing(environment.join(state::FILE_NAME)).into());
        }
        store.register_project(&self.project)?;
        checkpoint::reach("profile.registered");
        crate::collect::remember(store, self, environment);
        Ok(gate)
    }
}
