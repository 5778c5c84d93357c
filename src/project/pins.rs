//! What an expected key stands for, and so what differs when another one is found.
//!
//! A key is a digest. What it was made from is looked up, nearest first: what `keys.json` says of it, the lockfiles
//! (a key of another target or backend), the environments of the store, and the history of the lockfiles where the
//! project is a git repository. git only reads objects here, runs no hook, and may not use the network.

use super::Project;
use super::git::git;
use super::lockfiles::{ReadLockfile, from_bytes};
use crate::backend::Channel;
use crate::digest::EnvironmentKey;
use crate::env::state::EnvironmentState;
use crate::key;
use crate::lockfile::inputs::{InputChange, Inputs};
use crate::store::Shelf;
use crate::target::Target;

/// How many versions of a lockfile are looked at.
const REVISIONS: &str = "50";

/// What is known of an expected key.
#[derive(Debug, Clone)]
pub struct Known {
    /// What it covers.
    pub inputs: Inputs,
    /// Where that is known from, for people.
    pub from: String,
}

/// What differs from an expected key.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The differences.
    pub changes: Vec<InputChange>,
    /// Where the expected key is known from.
    pub from: String,
}

impl Project<'_> {
    /// What differs between an expected key and what a lockfile gives a target; none where nothing here knows the key.
    /// This explains a failure that is certain already, so whatever cannot be read is passed over.
    #[must_use]
    pub fn explain_key(&self, expected: EnvironmentKey, read: &ReadLockfile, target: &Target) -> Option<Explained> {
        let found = Inputs::of_lockfile(&read.lockfile, target).ok()?;
        let Known { inputs, from } = self.known_key(expected, read, target)?;
        Some(Explained {
            changes: inputs.changes(&found),
            from,
        })
    }

    fn known_key(&self, key: EnvironmentKey, read: &ReadLockfile, target: &Target) -> Option<Known> {
        self.pinned_inputs(key)
            .or_else(|| self.locked_inputs(key))
            .or_else(|| self.built_inputs(key))
            .or_else(|| recorded_inputs(key, read, target))
    }

    /// From `keys.json`.
    fn pinned_inputs(&self, key: EnvironmentKey) -> Option<Known> {
        let pinned = self.read_keys().ok()?;
        let mut all = pinned
            .all()
            .iter()
            .flat_map(|(name, keys)| keys.iter().map(move |row| (name, row)));
        let (name, (target, _)) = all.find(|(_, (_, pinned))| **pinned == key)?;
        Some(Known {
            inputs: pinned.inputs(name, &target.parse().ok()?)?,
            from: format!("keys.json has it for {name} {target}"),
        })
    }

    /// From another target of a lockfile.
    fn locked_inputs(&self, key: EnvironmentKey) -> Option<Known> {
        for (name, read) in self.all_lockfiles().ok()? {
            if let Some(target) = target_of(&read, key) {
                return Some(Known {
                    inputs: Inputs::of_lockfile(&read.lockfile, &target).ok()?,
                    from: format!("the lockfile `{name}` gives it for {target}"),
                });
            }
        }
        None
    }

    /// From an environment of the store.
    fn built_inputs(&self, key: EnvironmentKey) -> Option<Known> {
        let store = self.store().ok()?;
        for layer in store.layers() {
            for name in layer.names(Shelf::Envs).ok()? {
                if !name.starts_with(&key.short()) {
                    continue;
                }
                let path = layer.path(Shelf::Envs, &name);
                let state = EnvironmentState::read(&path)
                    .ok()
                    .filter(|state| state.environment_key == key);
                if let Some(state) = state {
                    return Some(Known {
                        inputs: Inputs::of_state(&state),
                        from: format!("it is built at {}", path.display()),
                    });
                }
            }
        }
        None
    }
}

/// From an earlier version of a lockfile.
fn recorded_inputs(key: EnvironmentKey, read: &ReadLockfile, target: &Target) -> Option<Known> {
    let name = read.path.file_name()?.to_str()?;
    let folder = read.folder();
    let revisions = git(folder, &["rev-list", "-n", REVISIONS, "HEAD", "--", name])?;
    for revision in revisions.lines() {
        let Some(text) = git(folder, &["cat-file", "blob", &format!("{revision}:./{name}")]) else {
            continue;
        };
        let Ok(old) = from_bytes(read.path.clone(), text.into_bytes(), &Channel::pip()) else {
            continue;
        };
        let own = key::environment_key(&old.lockfile, target).is_ok_and(|own| own == key);
        let target = if own { Some(*target) } else { target_of(&old, key) };
        if let Some(target) = target {
            return Some(Known {
                inputs: Inputs::of_lockfile(&old.lockfile, &target).ok()?,
                from: format!("{name} of commit {} gives it for {target}", revision.get(..12)?),
            });
        }
    }
    None
}

/// The target that gets this key from a lockfile.
fn target_of(read: &ReadLockfile, key: EnvironmentKey) -> Option<Target> {
    let mut targets = read.lockfile.targets.iter().map(|locked| locked.target);
    targets.find(|target| key::environment_key(&read.lockfile, target).is_ok_and(|own| own == key))
}
