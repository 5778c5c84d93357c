//! Holding on to one very environment: what `rollback`, and `activate` with a generation or a key, ask for.
//!
//! A rollback that the next `run` undoes would be none. So a named environment is kept by `run`, `shell` and a plain
//! `build`, whatever the lockfile would build, until a flag chooses, or the configuration, the requirements or the
//! lockfile of its channel change. What those were is recorded as a digest beside the generation.

use std::path::PathBuf;

use super::Project;
use super::activate::{ActivateError, Activated, InTheWay};
use crate::backend::Channel;
use crate::digest::FileDigest;
use crate::env::state::EnvironmentState;
use crate::profile::{Choice, Generation};
use crate::progress::Event;
use crate::store::{Shelf, Trust};

/// An environment that is kept because it was named.
#[derive(Debug, Clone)]
pub struct HeldEnvironment {
    /// Its generation, which is the current one.
    pub generation: Generation,
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub state: EnvironmentState,
}

impl Project<'_> {
    /// The choice that naming an environment makes: its channel, and where `held`, itself.
    pub(super) fn explicit_choice(&self, state: &EnvironmentState, held: bool) -> Choice {
        Choice {
            explicit: Some(state.channel.clone()),
            configured: self.configured(),
            held: held.then(|| self.wants(&state.channel)),
        }
    }

    /// Digest of what an environment of a channel depends on here: the lockfile, the requirements and settings that it is
    /// resolved from, and the Python that is asked for.
    pub(super) fn wants(&self, channel: &Channel) -> FileDigest {
        let config = self.config;
        // A lockfile that cannot be read is another one than any that can.
        let lockfile = std::fs::read(self.lockfile_path(channel))
            .ok()
            .map(|bytes| FileDigest::of(&bytes));
        let wants = format!(
            "{lockfile:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            config.lists,
            config.requirements,
            config.constraints,
            config.overrides,
            config
                .requires_python
                .as_ref()
                .map(|required| required.specifiers.to_string()),
            config.python.as_ref().map(|python| python.value.to_string()),
            config.exclude_newer,
            config.versions,
            config.pre_releases,
        );
        FileDigest::of(wants.as_bytes())
    }

    /// The active environment, where it was named and nothing has changed since. The caller has seen that no flag
    /// chooses.
    pub fn held_environment(&self) -> Result<Option<HeldEnvironment>, ActivateError> {
        let Some(generation) = self.profile().current()? else {
            return Ok(None);
        };
        let choice = &generation.choice;
        if choice.held != Some(self.wants(&generation.channel)) || choice.configured != self.configured() {
            return Ok(None);
        }
        let path = generation.path.clone();
        let state = match self.usable_state(&path) {
            Ok(state) if Self::can_be_trusted(&path) => state,
            other => {
                let why = other.err().map_or_else(
                    || "was not on disk for certain when this machine went down".to_owned(),
                    |error| format!("cannot be used: {error}"),
                );
                let message = format!(
                    "the environment of generation {}, which was chosen, {why}; taking what the lockfile says",
                    generation.number
                );
                self.reporter.event(Event::Warning { message: &message });
                return Ok(None);
            }
        };
        Ok(Some(HeldEnvironment {
            generation,
            path,
            state,
        }))
    }

    /// Keeps the held environment, where there is one, and restores what somebody deleted around it.
    pub fn keep_held(&self, in_the_way: InTheWay) -> Result<Option<Activated>, ActivateError> {
        let Some(HeldEnvironment {
            generation,
            path,
            state,
        }) = self.held_environment()?
        else {
            return Ok(None);
        };
        let (path, state, _claim) = self.bound(&path, &state)?;
        self.flip(&path, &state, (generation.cause, generation.choice), in_the_way)
            .map(Some)
    }

    /// Whether a visible environment can be used without reading it.
    fn can_be_trusted(path: &std::path::Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        let store = path.parent().and_then(std::path::Path::parent);
        let (Some(name), Some(store)) = (name, store) else {
            return false;
        };
        let store = crate::store::Store::new(store.to_owned());
        store
            .trust(Shelf::Envs, name)
            .is_ok_and(|trust| trust != Trust::Unknown)
    }
}
