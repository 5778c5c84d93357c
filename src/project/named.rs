//! What is in the store, and which environment a name means.

use std::path::PathBuf;

use rayon::prelude::*;

use super::Project;
use super::activate::ActivateError;
use crate::backend::{Backend, Channel, Preference};
use crate::env::state::EnvironmentState;
use crate::profile::Generation;
use crate::store::Shelf;

/// An environment of the store.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The folder's name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// The lower store that it is in, where it is not in one's own.
    pub lower: Option<PathBuf>,
    /// Its state, or why it cannot be read.
    pub state: Result<EnvironmentState, String>,
}

impl Project<'_> {
    /// Every environment of the lower stores and of one's own, in this order and sorted by name in each.
    pub fn environments(&self) -> Result<Vec<Listed>, ActivateError> {
        let own = self.store()?;
        let mut found = Vec::new();
        for store in own.layers() {
            store.check_version()?;
            let lower = (store.root() != own.root()).then(|| store.root().to_owned());
            // A team's store has a thousand of them, and each is a file to be read.
            let names = store.names(Shelf::Envs)?;
            let listed = names.into_par_iter().map(|name| {
                let path = store.path(Shelf::Envs, &name);
                Listed {
                    state: EnvironmentState::read(&path).map_err(|error| error.to_string()),
                    lower: lower.clone(),
                    name,
                    path,
                }
            });
            found.par_extend(listed);
        }
        Ok(found)
    }

    /// The environment that a backend, a channel or a key names. This project's own history comes first.
    ///
    /// Returns whether it was named by its key.
    pub fn named_environment(&self, name: &str) -> Result<(PathBuf, bool), ActivateError> {
        let nothing = || ActivateError::NothingFits(name.to_owned());
        let backend = match name.parse::<Preference>() {
            Ok(Preference::Backend(backend)) => Some(backend),
            _ => None,
        };
        // The configured channels of a backend come before others that happen to be newer.
        let channels = backend.map(|backend| self.config.channels(backend)).unwrap_or_default();
        let fits = |of: Backend, channel: &Channel| match backend {
            Some(backend) => of == backend,
            None => channel.as_str() == name,
        };
        let mut own: Vec<Generation> = self.profile().generations()?;
        own.retain(|generation| fits(generation.backend, &generation.channel));
        own.reverse();
        own.sort_by_key(|generation| !channels.contains(&generation.channel));
        if let Some(generation) = own.into_iter().find(Generation::is_there) {
            return Ok((generation.path, false));
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
            return Ok((self.one_of(name, &found)?.ok_or_else(nothing)?, true));
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
            .filter(|(_, state)| {
                fits(state.installed_backend, &state.channel) && keys.contains(&state.environment_key.to_string())
            })
            .filter(|(_, state)| self.interpreter_problem(state).is_none())
            .collect();
        found.sort_by(|(_, left), (_, right)| {
            let rank = |state: &EnvironmentState| !channels.contains(&state.channel);
            rank(left)
                .cmp(&rank(right))
                .then_with(|| right.created_at.cmp(&left.created_at))
        });
        let path = found.first().map(|(listed, _)| listed.path.clone());
        Ok((path.ok_or_else(nothing)?, false))
    }

    /// One of the environments of one key: several differ only in their interpreter, and the active one's comes first.
    fn one_of(&self, name: &str, found: &[&Listed]) -> Result<Option<PathBuf>, ActivateError> {
        let mut keys: Vec<String> = found
            .iter()
            .filter_map(|listed| listed.name.get(..40).map(str::to_owned))
            .collect();
        keys.sort();
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
