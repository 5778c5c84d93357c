//! What is in the store, and which environment a name means.

use std::path::PathBuf;

use super::Project;
use super::activate::ActivateError;
use crate::backend::{Backend, Channel, Preference};
use crate::env::state::EnvironmentState;
use crate::store::Shelf;
use crate::threads;

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
        self.environments_named("")
    }

    /// Those of them whose folder names begin so.
    fn environments_named(&self, beginning: &str) -> Result<Vec<Listed>, ActivateError> {
        let own = self.store()?;
        let mut found = Vec::new();
        for store in own.layers() {
            store.check_version()?;
            let lower = (store.root() != own.root()).then(|| store.root().to_owned());
            // A team's store has a thousand of them, and each is a file to be read.
            let mut names = store.names(Shelf::Envs)?;
            names.retain(|name| name.starts_with(beginning));
            found.extend(threads::map(names, |name| {
                let path = store.path(Shelf::Envs, &name);
                Listed {
                    state: EnvironmentState::read(&path).map_err(|error| error.to_string()),
                    lower: lower.clone(),
                    name,
                    path,
                }
            }));
        }
        Ok(found)
    }

    /// The environment that a key, a backend or a channel names; for the last two this project's own history comes first.
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
        // Few names are meant for anything else that look like the beginning of a key.
        let is_key = name.len() >= 6 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_key {
            let short = &name[..name.len().min(40)].to_ascii_lowercase();
            let mut found = self.environments_named(short)?;
            if name.len() > 40 {
                let is_whole = |state: &EnvironmentState| state.environment_key.to_string().eq_ignore_ascii_case(name);
                // A damaged one is named too: that it is damaged says more than that there is none.
                found.retain(|listed| listed.state.as_ref().map_or(true, is_whole));
            }
            if let Some(path) = self.one_of(name, &found)? {
                return Ok((path, true));
            }
        }
        let mut other = None;
        for generation in self.profile().newest_first()? {
            let generation = generation?;
            if !fits(generation.backend, &generation.channel) || !generation.is_there() {
                continue;
            }
            if channels.is_empty() || channels.contains(&generation.channel) {
                return Ok((generation.path, false));
            }
            other.get_or_insert(generation.path);
        }
        if let Some(path) = other {
            return Ok((path, false));
        }
        if is_key {
            return Err(nothing());
        }
        let all = self.environments()?;
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
    fn one_of(&self, name: &str, found: &[Listed]) -> Result<Option<PathBuf>, ActivateError> {
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
        let usable = |listed: &&Listed| {
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
