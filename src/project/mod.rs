//! What the verbs share: from a configuration to a lockfile, a plan, and an environment.
//!
//! ```text
//! choice:   preference, channel, what is active        -> which channel
//! lockfiles: requirements x targets, index             -> lockfiles/pylock.<name>.toml, keys.json
//! plan:     lockfile x interpreter                     -> target, wheels, KEY
//! realise:  in the store? else fetch, unpack, compose  -> environment
//! activate: one flip
//! ```
//!
//! Every step is a plan that can be shown before the next one acts. Nothing here prints.

use std::path::PathBuf;

use crate::cache::Cache;
use crate::config::{Config, ConfigError, Vars};
use crate::profile::Profile;
use crate::progress::Reporter;
use crate::python::Finder;
use crate::store::Store;

pub mod activate;
mod blame;
pub mod bundle;
pub mod changes;
pub mod choice;
pub mod direct;
pub mod editable;
pub mod export;
pub mod from;
mod full_versions;
mod git;
pub mod graph;
mod hashing;
pub mod health;
pub mod held;
pub mod hold;
mod homes;
pub mod lockfiles;
pub mod machine;
pub mod manifest;
pub mod named;
pub mod network;
pub mod pins;
mod pipeline;
pub mod plan;
pub mod processes;
pub mod realise;
pub mod rebuild;
pub mod relock;
mod shipped;
mod space;
pub mod subject;
mod targets;
mod torch_backend;
pub mod verify;
pub mod warm;

/// A project on this machine: where everything is found.
#[derive(Clone, Copy)]
pub struct Project<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The environment variables it was read from.
    pub vars: &'a Vars,
    /// Who watches.
    pub reporter: &'a dyn Reporter,
}

impl Project<'_> {
    /// The store, above the lower stores that are configured.
    pub fn store(&self) -> Result<Store, ConfigError> {
        Ok(Store::new(self.config.store_dir()?.to_owned()).with_lower(&self.config.lower_stores))
    }

    /// The cache, which a command that only looks leaves as it is.
    pub fn cache(&self) -> Result<Cache, ConfigError> {
        let cache = Cache::new(self.config.cache_dir()?);
        Ok(if self.config.only_looks {
            cache.unchanged()
        } else {
            cache
        })
    }

    /// The profile.
    #[must_use]
    pub fn profile(&self) -> Profile {
        Profile::new(&self.config.project)
    }

    /// Finds interpreters that the project allows; their facts are remembered in the cache where there is one.
    #[must_use]
    pub fn finder(&self) -> Finder {
        let finder = Finder::new(self.vars, self.config.cache_dir().ok());
        let finder = finder.requiring(self.config.requires_python.clone());
        if self.config.only_looks {
            finder.forgetful()
        } else {
            finder
        }
    }

    /// The folder of the lockfiles.
    #[must_use]
    pub fn lockfiles_dir(&self) -> PathBuf {
        self.config.project.join("lockfiles")
    }
}
