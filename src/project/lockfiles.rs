//! The project's lockfiles on disk: reading them, what is wanted of them, and `keys.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Project;
use crate::backend::Channel;
use crate::config::{Declared, ForeignDependencies};
use crate::digest::LockfileDigest;
use crate::fsx::{self, PathContext as _, PathError};
use crate::key;
use crate::lockfile::inputs::Inputs;
use crate::lockfile::keys::{Keys, ParseKeysError};
use crate::lockfile::text::{ParseError, ReadWarning, parse};
use crate::lockfile::{Lockfile, SelectError};
use crate::pep::Requirement;
use crate::requirement;

/// The seed's pins: what a project installs that names nothing.
pub const DEFAULT_REQUIREMENTS: [&str; 2] = ["torch==2.7.0", "torchvision==0.22.0"];

/// Why a lockfile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockfileError {
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It is not there.
    #[error("there is no lockfile {}", .0.display())]
    Missing(PathBuf),
    /// It is no UTF-8 text.
    #[error("{} is not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// It cannot be read.
    #[error("the lockfile {} cannot be used", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ParseError,
    },
    /// `keys.json` cannot be read.
    #[error("{} cannot be used", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ParseKeysError,
    },
    /// A target of it cannot be installed.
    #[error("the lockfile {} does not install", path.display())]
    Select {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SelectError,
    },
    /// Nothing that is read names requirements, and the project declares some.
    #[error(transparent)]
    Foreign(#[from] ForeignDependencies),
    /// A requirement that is not PEP 508.
    #[error("`{text}` is no requirement")]
    Requirement {
        /// The text.
        text: String,
        /// Why.
        #[source]
        source: requirement::SyntaxError,
    },
}

impl LockfileError {
    /// Whether the document is sound, but follows a version that this program does not know.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(
            self,
            Self::Parse {
                source: ParseError::LockVersion(_) | ParseError::Schema(_),
                ..
            }
        )
    }
}

/// A lockfile as it was read, or as it would be written.
#[derive(Debug, Clone)]
pub struct ReadLockfile {
    /// Where it is.
    pub path: PathBuf,
    /// Digest of its bytes.
    pub digest: LockfileDigest,
    /// What it says.
    pub lockfile: Lockfile,
    /// What should be said about it.
    pub warnings: Vec<ReadWarning>,
    /// Whether these bytes are to be written to the file, which is missing or stale, once the verb has done its work.
    pub unsaved: bool,
}

impl ReadLockfile {
    /// The folder that its local wheels are in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

/// Reads a requirement.
pub fn requirement(text: &str) -> Result<Requirement, LockfileError> {
    requirement::parse(text).map_err(|source| LockfileError::Requirement {
        text: requirement::shown(text),
        source,
    })
}

impl Project<'_> {
    /// Where the lockfile of a channel is or would be.
    #[must_use]
    pub fn lockfile_path(&self, channel: &Channel) -> PathBuf {
        self.lockfiles_dir()
            .join(format!("pylock.{}.toml", channel.lockfile_name()))
    }

    /// Where `keys.json` is or would be.
    #[must_use]
    pub fn keys_path(&self) -> PathBuf {
        self.lockfiles_dir().join("keys.json")
    }

    /// The lockfile of a channel; none where there is no such file.
    pub fn read_lockfile(&self, channel: &Channel) -> Result<Option<ReadLockfile>, LockfileError> {
        read(self.lockfile_path(channel), channel)
    }

    /// The `<name>`s of `lockfiles/pylock.<name>.toml`, sorted.
    fn lockfile_names(&self) -> Result<Vec<String>, LockfileError> {
        let folder = self.lockfiles_dir();
        let mut names: Vec<String> = match std::fs::read_dir(&folder) {
            Ok(entries) => entries
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .filter_map(|name| Some(name.strip_prefix("pylock.")?.strip_suffix(".toml")?.to_owned()))
                .filter(|name| !name.is_empty() && !name.contains('.'))
                .collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => {
                return Err(PathError {
                    action: "list",
                    path: folder,
                    source,
                }
                .into());
            }
        };
        names.sort();
        Ok(names)
    }

    fn read_named(&self, name: &str) -> Result<Option<ReadLockfile>, LockfileError> {
        // The file names its own channel; this one is for files that other tools wrote.
        let channel = name.parse().unwrap_or_else(|_| Channel::pip());
        read(self.lockfiles_dir().join(format!("pylock.{name}.toml")), &channel)
    }

    /// Every lockfile of the project with its name, sorted by name.
    pub fn all_lockfiles(&self) -> Result<Vec<(String, ReadLockfile)>, LockfileError> {
        let mut found = Vec::new();
        for name in self.lockfile_names()? {
            if let Some(lockfile) = self.read_named(&name)? {
                found.push((name, lockfile));
            }
        }
        Ok(found)
    }

    /// The requirements that somebody names for a lockfile: those given as arguments, else the project's, else those
    /// that the existing lockfile was resolved for.
    #[must_use]
    pub fn named_requirements(&self, existing: Option<&Lockfile>, given: &[String]) -> Option<Vec<String>> {
        if !given.is_empty() {
            return Some(given.to_vec());
        }
        if let Some(requirements) = &self.config.requirements {
            return Some(requirements.clone());
        }
        let existing = existing.filter(|existing| !existing.requirements.is_empty())?;
        Some(existing.requirements.clone())
    }

    /// The requirements where nobody names any: the default pins. An error where the project declares some that are not
    /// read: those pins would be a guess. Lists that nobody selects are a warning elsewhere.
    pub fn default_requirements(&self) -> Result<Vec<String>, LockfileError> {
        match self.config.foreign_dependencies()? {
            Some(foreign) if foreign.declared != Declared::Lists => Err(foreign.into()),
            _ => Ok(DEFAULT_REQUIREMENTS.map(str::to_owned).to_vec()),
        }
    }

    /// What to say of a first lockfile for the default pins, which nobody asked for by name.
    pub(super) fn defaulted(&self, existing: Option<&Lockfile>, requirements: &[String]) -> Option<String> {
        let unnamed = self.config.requirements.is_none() && self.named_requirements(existing, &[]).is_none();
        (unnamed && requirements == DEFAULT_REQUIREMENTS).then(|| {
            let default = DEFAULT_REQUIREMENTS.join(", ");
            format!("no requirements are named, so the defaults are used: {default}; `flambeau add REQ` names others")
        })
    }

    /// What to say of a lockfile with the default pins, in a project that declares other dependencies: nobody may have
    /// asked for those pins.
    pub(super) fn doubt(&self, requirements: &[String]) -> Option<String> {
        if self.config.requirements.is_some() || requirements != DEFAULT_REQUIREMENTS {
            return None;
        }
        let foreign = self.config.foreign_dependencies().ok().flatten()?;
        let default = DEFAULT_REQUIREMENTS.join(", ");
        Some(format!(
            "{foreign}; the lockfile is for {default}; list the requirements in `[tool.flambeau] requirements`"
        ))
    }

    /// `keys.json`; empty where it does not exist.
    pub fn read_keys(&self) -> Result<Keys, LockfileError> {
        let path = self.keys_path();
        let Some(bytes) = fsx::read_if_exists(&path)? else {
            return Ok(Keys::default());
        };
        let text = String::from_utf8(bytes).map_err(|_| LockfileError::NotText(path.clone()))?;
        Keys::parse(&text).map_err(|source| LockfileError::Keys { path, source })
    }

    /// Writes a lockfile that is not on disk yet, and `keys.json`; returns whether it was one. For verbs that have done
    /// what they were asked for: one that fails leaves the project as it was.
    pub fn save(&self, read: &ReadLockfile) -> Result<bool, LockfileError> {
        if read.unsaved {
            self.save_lockfile(&read.lockfile.channel, &read.lockfile)?;
        }
        Ok(read.unsaved)
    }

    /// Writes a lockfile and the keys of all lockfiles, where they change; returns whether the lockfile did. One process
    /// at a time: `keys.json` holds the keys of all of them.
    pub fn save_lockfile(&self, channel: &Channel, lockfile: &Lockfile) -> Result<(ReadLockfile, bool), LockfileError> {
        self.save_text(channel, &lockfile.to_text())
    }

    /// As [`Project::save_lockfile`], with the text as it is.
    pub(super) fn save_text(&self, channel: &Channel, text: &str) -> Result<(ReadLockfile, bool), LockfileError> {
        let folder = self.lockfiles_dir();
        fsx::create_dir_all(&folder)?;
        // The folder itself is guarded, so that no file of ours lies among those that are committed. Where the file
        // system cannot do that, each file is still whole.
        let guard = std::fs::File::open(&folder).at("open", &folder)?;
        guard.lock().ok();
        let (read, changed) = write(&self.lockfile_path(channel), text, channel)?;
        self.write_keys()?;
        Ok((read, changed))
    }

    /// Writes `keys.json` from all lockfiles that can be read, where it changes. Entries of a lockfile that cannot be read
    /// stay as they are; those of one that is gone go.
    fn write_keys(&self) -> Result<(), LockfileError> {
        let path = self.keys_path();
        // A garbled file is replaced: all that it says can be computed from the lockfiles.
        let old = match self.read_keys() {
            Err(
                error @ (LockfileError::Path(_)
                | LockfileError::Keys {
                    source: ParseKeysError::Schema(_),
                    ..
                }),
            ) => {
                return Err(error);
            }
            other => other.unwrap_or_default(),
        };
        let mut keys = Keys::default();
        for name in self.lockfile_names()? {
            let read = self.read_named(&name);
            match read.and_then(|read| read.map(|read| described(&read)).transpose()) {
                Ok(Some((found, inputs))) => {
                    keys.set(&name, found);
                    keys.describe(&name, &inputs);
                }
                Ok(None) => {}
                Err(error @ LockfileError::Path(_)) => return Err(error),
                Err(_) => keys.keep(&name, &old),
            }
        }
        let text = keys.to_text();
        if fsx::read_if_exists(&path)?.as_deref() != Some(text.as_bytes()) {
            fsx::write_durable(&path, text.as_bytes())?;
        }
        Ok(())
    }
}

/// The environment keys of every target of a lockfile.
pub fn keys_of(
    read: &ReadLockfile,
) -> Result<Vec<(crate::target::Target, crate::digest::EnvironmentKey)>, LockfileError> {
    read.lockfile
        .targets
        .iter()
        .map(|locked| Ok((locked.target, key::environment_key(&read.lockfile, &locked.target)?)))
        .collect::<Result<_, SelectError>>()
        .map_err(|source| LockfileError::Select {
            path: read.path.clone(),
            source,
        })
}

/// The keys of a lockfile, and what each of them covers.
pub(super) fn described(read: &ReadLockfile) -> Result<Described, LockfileError> {
    let keys = keys_of(read)?;
    let inputs = keys
        .iter()
        .map(|(target, _)| Ok((*target, Inputs::of_lockfile(&read.lockfile, target)?)))
        .collect::<Result<_, SelectError>>()
        .map_err(|source| LockfileError::Select {
            path: read.path.clone(),
            source,
        })?;
    Ok((keys, inputs))
}

/// See [`described`].
type Described = (
    Vec<(crate::target::Target, crate::digest::EnvironmentKey)>,
    BTreeMap<crate::target::Target, Inputs>,
);

/// Reads one lockfile; `channel` counts where the file names none.
pub fn read(path: PathBuf, channel: &Channel) -> Result<Option<ReadLockfile>, LockfileError> {
    let Some(bytes) = fsx::read_if_exists(&path)? else {
        return Ok(None);
    };
    from_bytes(path, bytes, channel).map(Some)
}

pub(super) fn from_bytes(path: PathBuf, bytes: Vec<u8>, channel: &Channel) -> Result<ReadLockfile, LockfileError> {
    let digest = LockfileDigest::of(&bytes);
    let text = String::from_utf8(bytes).map_err(|_| LockfileError::NotText(path.clone()))?;
    let parsed = parse(&text, channel).map_err(|source| LockfileError::Parse {
        path: path.clone(),
        source,
    })?;
    Ok(ReadLockfile {
        path,
        digest,
        lockfile: parsed.lockfile,
        warnings: parsed.warnings,
        unsaved: false,
    })
}

/// Writes a lockfile's text, where it changes, and reads it back. Returns whether it was written.
fn write(path: &Path, text: &str, channel: &Channel) -> Result<(ReadLockfile, bool), LockfileError> {
    let changed = fsx::read_if_exists(path)?.as_deref() != Some(text.as_bytes());
    if changed {
        fsx::write_durable(path, text.as_bytes())?;
    }
    Ok((from_bytes(path.to_owned(), text.as_bytes().to_vec(), channel)?, changed))
}
