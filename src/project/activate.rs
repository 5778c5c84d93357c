//! Making an environment active in this project, by plan or by what the user names.

use std::path::{Path, PathBuf};

use super::Project;
use super::changes::Changes;
use super::choice::Chosen;
use super::editable::BindError;
use super::realise::Realised;
use crate::config::ConfigError;
use crate::env::state::{EnvironmentState, StateError};
use crate::error::one_line;
use crate::profile::{Cause, Choice, Generation, Profile, ProfileError, Request, user};
use crate::progress::Event;
use crate::store::{Shelf, Store, StoreError, Trust};
use crate::verify::{Depth, Subject, Verifier, VerifyError};

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
    /// The environment did not survive a crash of this machine.
    #[error("{} did not survive a crash of this machine: {count} damaged", path.display())]
    Damaged {
        /// The environment.
        path: PathBuf,
        /// How many findings there are.
        count: usize,
    },
    /// Verifying the environment.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Binding it to the project's own packages.
    #[error(transparent)]
    Bind(#[from] BindError),
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
    /// What differs from the environment that was active before, where one was and another one is now.
    pub changes: Option<Changes>,
    /// Where somebody else's `.venv` and state file are now, if they were in the way.
    pub moved_aside: Vec<PathBuf>,
    /// Git's list of exceptions, where the links were added to it.
    pub excluded: Option<PathBuf>,
}

/// What was active before a flip.
struct Before {
    path: Option<PathBuf>,
    state: Option<EnvironmentState>,
}

impl Before {
    fn of(profile: &Profile) -> Result<Self, ProfileError> {
        let path = profile.active_path()?;
        // One that is gone or cannot be read is a good reason to leave it, and has nothing to be compared with.
        let state = path.as_ref().and_then(|path| EnvironmentState::read(path).ok());
        Ok(Self { path, state })
    }

    fn switched_to(self, state: EnvironmentState, generation: Generation, moved_aside: Vec<PathBuf>) -> Activated {
        let switched = self.path.as_ref() != Some(&generation.path);
        let before = self.state.filter(|_| switched);
        Activated {
            path: generation.path.clone(),
            changes: before.map(|before| Changes::between(&before, &state)),
            state,
            generation,
            switched,
            moved_aside,
            excluded: None,
        }
    }
}

/// What to do about a `.venv` that flambeau did not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InTheWay {
    /// Refuse, and change nothing.
    Refuse,
    /// Move it aside, once nothing else can fail but the flip.
    MoveAside,
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
    /// used), a channel, or a key or its beginning. A generation and a key name one very environment, which is held; see
    /// [`Project::held_environment`].
    pub fn activate_named(&self, name: &str, in_the_way: InTheWay) -> Result<Activated, ActivateError> {
        if let Ok(number) = name.parse::<u64>()
            && name.len() < 12
        {
            return self.reactivate(Some(number), Cause::Activate, in_the_way);
        }
        let (path, is_key) = self.named_environment(name)?;
        let state = self.usable_state(&path)?;
        let (path, state, _claim) = self.bound(&path, &state)?;
        let choice = self.explicit_choice(&state, is_key);
        self.flip(&path, &state, (Cause::Activate, choice), in_the_way)
    }

    /// Goes back to the newest generation that is older than the current one, or to the given one.
    pub fn rollback(&self, to: Option<u64>, in_the_way: InTheWay) -> Result<Activated, ActivateError> {
        self.reactivate(to, Cause::Rollback, in_the_way)
    }

    fn reactivate(&self, to: Option<u64>, cause: Cause, in_the_way: InTheWay) -> Result<Activated, ActivateError> {
        let (profile, store) = (self.profile(), self.writable_store()?);
        // Where there is nothing to go back to, nothing is written, not even the profile's folder.
        if !profile.folder().exists() {
            profile.rollback_target(to)?;
        }
        if in_the_way == InTheWay::Refuse {
            profile.check_links()?;
        }
        let _guard = profile.guard(|| self.waiting())?;
        let before = Before::of(&profile)?;
        let mut target = profile.rollback_target(to)?;
        let (path, state, _claim) = loop {
            let state = self.usable_state(&target.path).map_err(|error| match error {
                ActivateError::Profile(ProfileError::State(StateError::Missing(_))) => ProfileError::Vanished {
                    number: target.number,
                    path: target.path.clone(),
                }
                .into(),
                other => other,
            })?;
            let bound = self.bound(&target.path, &state)?;
            // With the project's own packages as they are now it is the active environment: there is nothing to go back to
            // in it.
            if to.is_some() || before.path.as_ref() != Some(&bound.0) || target.path == bound.0 {
                break bound;
            }
            target = profile.generation_before(target.number)?;
        };
        let moved_aside = make_way(&profile, in_the_way)?;
        let request = self.request_of(cause, self.explicit_choice(&state, true));
        let overlay = Profile::overlay_text(&self.overlay_folders())?;
        let generation = if path == target.path {
            profile.reactivate(&store, target, request)?
        } else {
            // Its packages, bound to the project's own as they are now: another environment than that generation had.
            profile.activate(&store, &path, &state, request)?.0
        };
        self.after_the_flip(&profile, &overlay, &state);
        Ok(before.switched_to(state, generation, moved_aside))
    }

    fn request_of(&self, cause: Cause, choice: Choice) -> Request {
        let session = self.vars.text("LOGNAME").or_else(|| self.vars.text("USER"));
        Request {
            cause,
            choice,
            user: user(session.as_deref()),
        }
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

    pub(super) fn flip(
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
        let before = Before::of(&profile)?;
        let moved_aside = make_way(&profile, in_the_way)?;
        let request = self.request_of(cause, choice);
        let overlay = Profile::overlay_text(&self.overlay_folders())?;
        let (generation, _) = profile.activate(&store, path, state, request)?;
        self.after_the_flip(&profile, &overlay, state);
        // Only the first activation makes new names; later ones need not start git.
        let excluded = before.path.is_none().then(|| self.excluded()).flatten();
        Ok(Activated {
            excluded,
            ..before.switched_to(state.clone(), generation, moved_aside)
        })
    }

    /// Keeps the new names from being committed, unless the project wants that.
    fn excluded(&self) -> Option<PathBuf> {
        if !self.config.git_exclude {
            return None;
        }
        self.exclude_from_git().unwrap_or_else(|error| {
            let message = format!(
                "`git add` would commit .venv and {}: {}; list them in .gitignore",
                crate::env::state::FILE_NAME,
                one_line(&error)
            );
            self.reporter.event(Event::Warning { message: &message });
            None
        })
    }

    /// Brings the project's own files up to the environment that is active now. That one is active whatever becomes of
    /// them, so a failure is said and is no failure of the flip.
    fn after_the_flip(&self, profile: &Profile, overlay: &str, state: &EnvironmentState) {
        for written in [profile.write_overlay(overlay), self.settle_gpu_env(&state.channel)] {
            if let Err(error) = written {
                let message = format!("the environment is active, but {}", one_line(&error));
                self.reporter.event(Event::Warning { message: &message });
            }
        }
    }

    /// The state of an environment whose interpreter is still the one it is bound to.
    pub fn usable_state(&self, path: &Path) -> Result<EnvironmentState, ActivateError> {
        self.check_survived(path)?;
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

    /// Verifies an environment of which it is not known that it survived a crash of this machine.
    fn check_survived(&self, path: &Path) -> Result<(), ActivateError> {
        let (Some(name), Some(root)) = (
            path.file_name().and_then(|name| name.to_str()),
            path.parent().and_then(Path::parent),
        ) else {
            return Ok(());
        };
        let store = Store::new(root.to_owned());
        if !store.has(Shelf::Envs, name) || store.trust(Shelf::Envs, name)? != Trust::Unknown {
            return Ok(());
        }
        let verifier = Verifier {
            store: &store,
            cache: None,
            reporter: self.reporter,
        };
        let report = verifier.verify(&[Subject::Environment(name.to_owned())], Depth::Full)?;
        if report.damaged.is_empty() {
            return Ok(());
        }
        Err(ActivateError::Damaged {
            path: path.to_owned(),
            count: report.damaged.len(),
        })
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
}
