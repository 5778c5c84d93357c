//! Everything that is configured, gathered once, before a verb decides anything.
//!
//! Owns: where a setting may stand (flags, environment variables, `appsettings.json`, `pyproject.toml`,
//! `.python-version`) and which of two wins. Reads files of the project folder and nothing else; flags and variables
//! come in as values, so that a test needs no process of its own.
//! Refuses: values that it does not understand, naming where they stand, and a channel that contradicts the backend.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use url::Url;

mod appsettings;
mod error;
mod foreign;
mod lists;
mod pyproject;
mod sources;
mod vars;

pub use appsettings::AppSettingsError;
pub use error::{ConfigError, Origin};
pub use foreign::{Declared, ForeignDependencies};
pub use lists::{ListError, Lists};
pub use pyproject::{PrivateIndex, PyprojectError};
pub use vars::Vars;

use crate::backend::{Backend, Channel, PYTORCH_INDEX, Preference};
use crate::env::bytecode::Modules;
use crate::pep::VersionSpecifiers;
use crate::policy::{Cutoff, PreReleases, Versions};
use crate::python::{Request, RequiredPython};
use crate::target::{Platform, PythonMinor};
use sources::{channel, lower_stores, min_free, mirror, normal, preference, project_python, python, read_settings};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub origin: Origin,
}

/// How files get into an environment where the composition rule alone does not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkMode {
    /// Symlinks to the wheel tree.
    Symlink,
    /// Hard links.
    Hardlink,
    /// Copies that share their blocks, where the file system can.
    Reflink,
    /// Plain copies: a tree that depends on nothing else.
    Copy,
}

impl LinkMode {
    /// The word on the command line and in `pyproject.toml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Symlink => "symlink",
            Self::Hardlink => "hardlink",
            Self::Reflink => "reflink",
            Self::Copy => "copy",
        }
    }
}

impl FromStr for LinkMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Symlink, Self::Hardlink, Self::Reflink, Self::Copy]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no link mode; expected one of symlink, hardlink, reflink, copy"))
    }
}

/// When a build is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sync {
    /// A later command of the same boot syncs; until then a commit record makes a crash harmless.
    #[default]
    Deferred,
    /// Before the build ends.
    Full,
}

/// What the command line says; everything is optional.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Overrides {
    /// `--project`: the project folder.
    pub project: Option<PathBuf>,
    /// `--config`: replaces `<project>/appsettings.json` and must exist.
    pub config: Option<PathBuf>,
    /// `--store-dir`.
    pub store_dir: Option<PathBuf>,
    /// `--cache-dir`.
    pub cache_dir: Option<PathBuf>,
    /// `--offline`.
    pub offline: bool,
    /// `--allow-insecure-host`.
    pub insecure_hosts: Vec<String>,
    /// `--backend`.
    pub backend: Option<Preference>,
    /// `--channel`.
    pub channel: Option<Channel>,
    /// `--python`.
    pub python: Option<String>,
    /// `--index-url`.
    pub index_url: Option<Url>,
    /// `--link-mode`.
    pub link_mode: Option<LinkMode>,
    /// `--allow-path`.
    pub allow_path: bool,
    /// `--allow-unrecorded`.
    pub allow_unrecorded: bool,
    /// `--no-compile-bytecode`.
    pub no_bytecode: bool,
    /// `--no-keep-wheels`.
    pub no_wheels: bool,
    /// Whether the verb, with its flags, only looks.
    pub only_looks: bool,
}

/// Everything configured. Paths are absolute.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent settings, no states")]
pub struct Config {
    /// The project folder.
    pub project: PathBuf,
    store_dir: Option<PathBuf>,
    cache_dir: Option<PathBuf>,
    /// Read-only stores of others, looked in before one's own: the first of them first.
    pub lower_stores: Vec<PathBuf>,
    /// Whether the network may not be used.
    pub offline: bool,
    /// Whether the command only looks: project, store and cache stay as they are, byte for byte.
    pub only_looks: bool,
    /// Hosts, `name` or `name:port`, that may be asked by `http:` or without a valid certificate, beside pip's
    /// `trusted-host`.
    pub insecure_hosts: Vec<String>,
    /// Which backend is preferred.
    pub backend: Sourced<Preference>,
    /// The channel, where one is named.
    pub channel: Option<Sourced<Channel>>,
    /// The backend that is preferred where flags are left out of account.
    pub configured_backend: Sourced<Preference>,
    /// The channel that is named where flags are left out of account.
    pub configured_channel: Option<Sourced<Channel>>,
    /// Which Python is asked for.
    pub python: Option<Sourced<Request>>,
    /// The Python that `[tool.flambeau] python` asks for, whatever is stronger: a patch level there pins the key.
    pub project_python: Option<Request>,
    /// `[project] requires-python`.
    pub requires_python: Option<RequiredPython>,
    /// What the project needs, as valid PEP 508 text: `[project] dependencies`, then `[tool.flambeau] requirements`;
    /// none where neither exists.
    pub requirements: Option<Vec<String>>,
    /// Limits on versions that do not make a package wanted, as PEP 508 text.
    pub constraints: Vec<String>,
    /// Requirements that replace what packages say about these names, as PEP 508 text.
    pub overrides: Vec<String>,
    /// The project's extras and dependency groups.
    pub lists: Lists,
    /// From when on uploads do not count.
    pub exclude_newer: Option<Cutoff>,
    /// Whether direct requirements get their newest or their lowest version.
    pub versions: Option<Versions>,
    /// When a pre-release may be chosen.
    pub pre_releases: Option<PreReleases>,
    /// The Pythons to lock for; empty means the interpreter in use.
    pub python_versions: Vec<PythonMinor>,
    /// The platforms to lock for; empty means the default.
    pub platforms: Vec<Platform>,
    /// The package index, where a flag or the project names one.
    pub index_url: Option<Sourced<Url>>,
    /// Private indexes.
    pub indexes: Vec<PrivateIndex>,
    /// Replaces `https://download.pytorch.org/whl`; without a trailing slash.
    pub pytorch_mirror: Option<String>,
    /// Folders with one's own code.
    pub editable: Vec<PathBuf>,
    /// Whether wheels stay in the cache after unpacking.
    pub keep_wheels: bool,
    /// Which modules of wheels are compiled when they are unpacked.
    pub compile_bytecode: Modules,
    /// Whether git is told to pass over `.venv` and `environment_state.json`.
    pub git_exclude: bool,
    /// After a build that leaves fewer bytes free on the store's file system, what nothing needs is collected.
    pub min_free: Option<u64>,
    /// How to link, where it is not the composition rule's choice.
    pub link_mode: Option<LinkMode>,
    /// Whether local wheels may be read from outside the project's folder.
    pub allow_path: bool,
    /// Whether files that a wheel's RECORD does not vouch for are let in and reported.
    pub allow_unrecorded: bool,
    /// When a build is durable.
    pub sync: Sync,
    backends: [Vec<Channel>; 3],
    channels: BTreeMap<Channel, pyproject::ChannelTable>,
    foreign: foreign::Manifest,
}

impl Config {
    /// Gathers the configuration of the project at `overrides.project`, else at `cwd`.
    pub fn load(overrides: &Overrides, vars: &Vars, cwd: &Path) -> Result<Self, ConfigError> {
        let project = normal(&cwd.join(overrides.project.as_deref().unwrap_or(Path::new(""))));
        let manifest = project.join("pyproject.toml");
        let document = pyproject::read(&manifest)?;
        let foreign = document.foreign();
        let (head, ours, lists) = document.parts(&manifest);
        let key = |name: &str| Origin::File(manifest.clone(), format!(" [tool.flambeau] {name}"));
        let settings = match &overrides.config {
            Some(file) => read_settings(&cwd.join(file), true)?,
            None => read_settings(&project.join("appsettings.json"), false)?,
        };
        let in_project = |path: &PathBuf| normal(&project.join(vars.expand_home(path)));
        let folder = |flag: &Option<PathBuf>, variable: &str, ours: &Option<PathBuf>| {
            flag.as_ref()
                .map(|path| normal(&cwd.join(path)))
                .or_else(|| vars.path(variable).map(|path| normal(&cwd.join(path))))
                .or_else(|| ours.as_ref().map(in_project))
        };
        let project_request = ours.python.clone();
        let configured_backend = preference(vars, settings, ours.backend.map(|value| (value, key("backend"))))?;
        let configured_channel = channel(vars, ours.channel.map(|value| (value, key("channel"))))?;
        let config = Self {
            store_dir: folder(&overrides.store_dir, "FLAMBEAU_STORE_DIR", &ours.store_dir)
                .or_else(|| vars.user_folder("XDG_DATA_HOME", ".local/share")),
            cache_dir: folder(&overrides.cache_dir, "FLAMBEAU_CACHE_DIR", &ours.cache_dir)
                .or_else(|| Some(project.join("cache")).filter(|cache| cache.join("CACHEDIR.TAG").is_file()))
                .or_else(|| vars.user_folder("XDG_CACHE_HOME", ".cache")),
            lower_stores: lower_stores(vars, cwd).unwrap_or_else(|| ours.store_dirs.iter().map(in_project).collect()),
            offline: overrides.offline || vars.switch("FLAMBEAU_OFFLINE")?,
            only_looks: overrides.only_looks,
            insecure_hosts: overrides.insecure_hosts.clone(),
            backend: overrides.backend.map_or_else(
                || configured_backend.clone(),
                |value| Sourced {
                    value,
                    origin: Origin::Flag("--backend"),
                },
            ),
            channel: overrides
                .channel
                .clone()
                .map(|value| Sourced {
                    value,
                    origin: Origin::Flag("--channel"),
                })
                .or_else(|| configured_channel.clone()),
            configured_backend,
            configured_channel,
            python: python(
                overrides,
                vars,
                cwd,
                &project,
                ours.python.map(|text| (text, key("python"))),
            )?,
            project_python: project_python(&project, project_request, &key("python"))?,
            requires_python: required_python(head.requires_python, &manifest),
            requirements: both(head.dependencies, ours.requirements),
            constraints: ours.constraints,
            overrides: ours.overrides,
            lists,
            exclude_newer: ours.exclude_newer,
            versions: ours.resolution,
            pre_releases: ours.pre_releases,
            python_versions: ours.python_versions,
            platforms: ours.platforms,
            index_url: overrides
                .index_url
                .clone()
                .map(|value| Sourced {
                    value,
                    origin: Origin::Flag("--index-url"),
                })
                .or_else(|| {
                    ours.index_url.map(|value| Sourced {
                        value,
                        origin: key("index-url"),
                    })
                }),
            indexes: ours.index,
            pytorch_mirror: mirror(vars)?,
            editable: ours.editable.iter().map(in_project).collect(),
            keep_wheels: !overrides.no_wheels && ours.keep_wheels.unwrap_or(true),
            git_exclude: ours.git_exclude.unwrap_or(true),
            compile_bytecode: if overrides.no_bytecode {
                Modules::None
            } else {
                ours.compile_bytecode.unwrap_or_default()
            },
            min_free: min_free(vars)?.or(ours.min_free),
            link_mode: overrides.link_mode.or(ours.link_mode),
            allow_path: overrides.allow_path,
            allow_unrecorded: overrides.allow_unrecorded,
            sync: ours.sync.unwrap_or_default(),
            backends: [ours.backends.cuda, ours.backends.rocm, ours.backends.cpu],
            channels: ours.channels,
            foreign,
            project,
        };
        config.check()?;
        Ok(config)
    }

    /// The same configuration, had `pyproject.toml` this text: what it says of requirements is read again.
    pub fn with_manifest(&self, text: &str) -> Result<Self, ConfigError> {
        let manifest = self.project.join("pyproject.toml");
        let document = pyproject::parse(text, &manifest)?;
        let foreign = document.foreign();
        let (head, ours, lists) = document.parts(&manifest);
        Ok(Self {
            requires_python: required_python(head.requires_python, &manifest),
            requirements: both(head.dependencies, ours.requirements),
            lists,
            foreign,
            ..self.clone()
        })
    }

    /// The store's folder.
    pub fn store_dir(&self) -> Result<&Path, ConfigError> {
        self.store_dir.as_deref().ok_or(ConfigError::NoHome {
            what: "store",
            flag: "--store-dir",
            variable: "FLAMBEAU_STORE_DIR",
        })
    }

    /// The cache's folder.
    pub fn cache_dir(&self) -> Result<&Path, ConfigError> {
        self.cache_dir.as_deref().ok_or(ConfigError::NoHome {
            what: "cache",
            flag: "--cache-dir",
            variable: "FLAMBEAU_CACHE_DIR",
        })
    }

    /// The channels of a backend, best first: what `[tool.flambeau.backends]` lists, else the default one.
    #[must_use]
    pub fn channels(&self, backend: Backend) -> Vec<Channel> {
        let listed = &self.backends[backend as usize];
        if listed.is_empty() {
            vec![backend.default_channel()]
        } else {
            listed.clone()
        }
    }

    /// The backend of a channel: what its table says, else what its tag implies.
    #[must_use]
    pub fn channel_backend(&self, channel: &Channel) -> Option<Backend> {
        self.channels
            .get(channel)
            .and_then(|table| table.backend)
            .or_else(|| channel.backend())
    }

    /// The index that the project gives a channel in place of its own, if it does.
    #[must_use]
    pub fn replaced_channel_index(&self, channel: &Channel) -> Option<String> {
        Some(self.channels.get(channel)?.index.as_ref()?.to_string())
    }

    /// The index of a channel, without a trailing slash: what its table says, else the mirror's, else the canonical
    /// one; none for `pip`.
    #[must_use]
    pub fn channel_index(&self, channel: &Channel) -> Option<String> {
        let table = self.channels.get(channel).and_then(|table| table.index.as_ref());
        if let Some(url) = table {
            return Some(url.as_str().trim_end_matches('/').to_owned());
        }
        let canonical = channel.canonical_index()?;
        Some(match (&self.pytorch_mirror, canonical.strip_prefix(PYTORCH_INDEX)) {
            (Some(mirror), Some(rest)) => format!("{mirror}{rest}"),
            _ => canonical,
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        for listed in Backend::ALL {
            for channel in &self.backends[listed as usize] {
                if let Some(actual) = self.channel_backend(channel).filter(|actual| *actual != listed) {
                    return Err(ConfigError::Misplaced {
                        channel: channel.clone(),
                        listed,
                        actual,
                    });
                }
            }
        }
        if let (Some(channel), Preference::Backend(wanted)) = (&self.channel, self.backend.value)
            && let Some(actual) = self.channel_backend(&channel.value).filter(|actual| *actual != wanted)
            // A channel on the command line is stronger than a backend in a file or a variable.
            && (matches!(self.backend.origin, Origin::Flag(_)) || !matches!(channel.origin, Origin::Flag(_)))
        {
            return Err(ConfigError::Contradiction {
                channel: channel.value.clone(),
                channel_origin: channel.origin.clone(),
                actual,
                wanted,
                backend_origin: self.backend.origin.clone(),
            });
        }
        Ok(())
    }
}

/// `requires-python`, where it excludes anything.
fn required_python(specifiers: Option<VersionSpecifiers>, manifest: &Path) -> Option<RequiredPython> {
    let specifiers = specifiers.filter(|specifiers| !specifiers.is_empty())?;
    let path = manifest.to_owned();
    Some(RequiredPython { specifiers, path })
}

/// The project's requirements from both places; none where neither exists.
fn both(dependencies: Option<Vec<String>>, ours: Option<Vec<String>>) -> Option<Vec<String>> {
    match (dependencies, ours) {
        (None, None) => None,
        (first, second) => Some([first, second].into_iter().flatten().flatten().collect()),
    }
}

#[cfg(test)]
mod tests;
