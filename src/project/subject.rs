//! What `diff`, `why` and `tree` look at: a built environment, or what a lockfile would build.

use std::path::PathBuf;

use super::Project;
use super::activate::ActivateError;
use super::changes::{Changes, pins};
use super::graph::{Graph, GraphError, graph_of_lockfile};
use super::lockfiles::ReadLockfile;
use super::plan::PlanError;
use super::relock::RelockError;
use crate::backend::{Channel, Preference};
use crate::digest::EnvironmentKey;
use crate::env::state::{EnvironmentState, StateError};
use crate::key;
use crate::profile::ProfileError;
use crate::target::Target;

/// One side of a comparison.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A built environment.
    Environment {
        /// Its generation, where it was named by that.
        generation: Option<u64>,
        /// Where it is.
        path: PathBuf,
        /// What it is.
        state: Box<EnvironmentState>,
    },
    /// What a lockfile installs for one target.
    Lockfile {
        /// The lockfile.
        read: Box<ReadLockfile>,
        /// The target.
        target: Target,
        /// The environment's key.
        key: EnvironmentKey,
    },
}

impl Subject {
    /// The environment's key.
    #[must_use]
    pub fn key(&self) -> EnvironmentKey {
        match self {
            Self::Environment { state, .. } => state.environment_key,
            Self::Lockfile { key, .. } => *key,
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Environment { generation, state, .. } => {
                let key = state.environment_key.to_string();
                let number = generation.map_or_else(String::new, |number| format!("generation {number}, "));
                format!(
                    "{number}{} on channel {}, key {}",
                    state.installed_backend,
                    state.channel,
                    &key[..12]
                )
            }
            Self::Lockfile { read, target, .. } => {
                let name = read.path.file_name().unwrap_or_default().to_string_lossy();
                format!("{name} for {target}")
            }
        }
    }

    fn target(&self) -> Target {
        match self {
            Self::Environment { state, .. } => state.target,
            Self::Lockfile { target, .. } => *target,
        }
    }

    /// Name and version of every package.
    fn packages(&self) -> Result<Vec<(String, String)>, PlanError> {
        let owned = |(name, version): (&str, &str)| (name.to_owned(), version.to_owned());
        match self {
            Self::Environment { state, .. } => Ok(pins(state).map(owned).collect()),
            Self::Lockfile { read, target, .. } => {
                let selected = read.lockfile.select(target).map_err(|source| PlanError::Select {
                    path: read.path.clone(),
                    source,
                })?;
                let pin = |one: &crate::lockfile::Selected<'_>| {
                    (one.package.name.to_string(), one.package.version.to_string())
                };
                Ok(selected.iter().map(pin).collect())
            }
        }
    }
}

impl Project<'_> {
    /// What a word means: a generation's number, a lockfile by its name, channel or backend, or a key or its beginning.
    /// A lockfile is taken for the target of `like`, else of what is active, else of this machine's Python.
    pub fn subject(&self, word: &str, like: Option<&Subject>) -> Result<Subject, GraphError> {
        if let Ok(number) = word.parse::<u64>()
            && word.len() < 12
        {
            let generation = self.profile().generation(number).map_err(ActivateError::from)?;
            let generation = generation.ok_or(ActivateError::from(ProfileError::NoGeneration(number)))?;
            let state = EnvironmentState::read(&generation.path).map_err(|error| match error {
                StateError::Missing(_) => ProfileError::Vanished {
                    number,
                    path: generation.path.clone(),
                },
                other => other.into(),
            });
            return Ok(Subject::Environment {
                generation: Some(number),
                state: Box::new(state.map_err(ActivateError::from)?),
                path: generation.path,
            });
        }
        let channel = match word.parse::<Preference>() {
            Ok(Preference::Backend(backend)) => self.config.channels(backend).into_iter().next(),
            _ => word.parse::<Channel>().ok(),
        };
        let read = match channel {
            Some(channel) => self.read_lockfile(&channel).map_err(lockfile_error)?,
            None => None,
        };
        if let Some(read) = read {
            return self.locked(read, like);
        }
        let (path, _) = self.named_environment(word)?;
        let state = EnvironmentState::read(&path).map_err(|error| ActivateError::from(ProfileError::from(error)))?;
        Ok(Subject::Environment {
            generation: None,
            state: Box::new(state),
            path,
        })
    }

    /// The active environment; none where nothing is active.
    pub fn active_subject(&self) -> Result<Option<Subject>, GraphError> {
        let profile = self.profile();
        let Some((path, state)) = profile.active().map_err(ActivateError::from)? else {
            return Ok(None);
        };
        let current = profile.current().map_err(ActivateError::from)?;
        Ok(Some(Subject::Environment {
            generation: current.map(|current| current.number),
            state: Box::new(state),
            path,
        }))
    }

    /// What the lockfile of a channel would build.
    pub fn locked_subject(&self, channel: &Channel) -> Result<Subject, GraphError> {
        let path = self.lockfile_path(channel);
        let read = self.read_lockfile(channel).map_err(lockfile_error)?;
        self.locked(read.ok_or(PlanError::NoLockfile { path })?, None)
    }

    fn locked(&self, read: ReadLockfile, like: Option<&Subject>) -> Result<Subject, GraphError> {
        let active = || Some(self.active_subject().ok()??.target());
        let target = like.map(Subject::target).or_else(active);
        let target = match target.filter(|target| read.lockfile.target(target).is_some()) {
            Some(target) => target,
            None => self.locked_for_this_machine(&read)?.target,
        };
        let key = key::environment_key(&read.lockfile, &target).map_err(|source| PlanError::Select {
            path: read.path.clone(),
            source,
        })?;
        Ok(Subject::Lockfile {
            read: Box::new(read),
            target,
            key,
        })
    }

    /// What turns one into the other.
    pub fn difference(&self, before: &Subject, after: &Subject) -> Result<Changes, GraphError> {
        if let (Subject::Environment { state: before, .. }, Subject::Environment { state: after, .. }) = (before, after)
        {
            return Ok(Changes::between(before, after));
        }
        let (before, after) = (before.packages()?, after.packages()?);
        Ok(Changes::of_packages(
            before.iter().map(|(name, version)| (name.as_str(), version.as_str())),
            after.iter().map(|(name, version)| (name.as_str(), version.as_str())),
        ))
    }

    /// The dependency graph of a subject.
    pub fn graph(&self, subject: &Subject) -> Result<Graph, GraphError> {
        match subject {
            Subject::Environment { path, state, .. } => self.graph_of_environment(path, state),
            Subject::Lockfile { read, target, .. } => graph_of_lockfile(read, target),
        }
    }
}

fn lockfile_error(error: super::lockfiles::LockfileError) -> GraphError {
    PlanError::from(RelockError::from(error)).into()
}
