//! The project's history of active environments, and the flip that makes one active.
//!
//! ```text
//! .venv                    -> <store>/envs/<name>            the symlink that flips
//! environment_state.json   -> .venv/environment_state.json   so that one flip moves both
//! .flambeau/generations/<n>.json                             one record a generation
//! .flambeau/current                                          the number that was activated last
//! .flambeau/overlay.pth                                      the project's own folders, for the start-up hook
//! .flambeau/guard
//! ```
//!
//! What is active is what `.venv` leads to; the records only tell its history, and one that is lost or garbled costs
//! history, never the environment. Activating writes the record first and flips last.
//! Refuses: replacing a `.venv` or `environment_state.json` that is not flambeau's.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backend::{Backend, Channel};
use crate::digest::{EnvironmentKey, FileDigest, LockfileDigest};
use crate::env::state::{self, EnvironmentState, StateError};
use crate::fsx::{self, PathContext as _, PathError};
use crate::store::{Guard, Shelf, Store};

/// The form of a generation record.
const SCHEMA: u32 = 1;

/// Why the profile cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The environment's state.
    #[error(transparent)]
    State(#[from] StateError),
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
    /// A record of a newer flambeau.
    #[error("{} has schema {found}; this flambeau understands {SCHEMA}", path.display())]
    Newer {
        /// The record.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
}

/// What made a generation active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// `--backend` or `--channel`.
    Flag,
    /// The configuration, or what the detector found.
    Configuration,
    /// `activate`.
    Activate,
}

/// What was asked for when a generation was made. A later plain `build` or `run` keeps an explicit choice until a flag
/// or the configuration changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The channel that a flag or `activate` chose; none where the configuration decided.
    pub explicit: Option<Channel>,
    /// What the configuration asked for at that time, as text: a change of it ends the explicit choice.
    pub configured: String,
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    schema: u32,
    /// Its number, from 1.
    pub number: u64,
    /// When it became active, RFC 3339 in UTC.
    pub created: String,
    /// The environment's path.
    pub path: PathBuf,
    /// The environment's key.
    pub key: EnvironmentKey,
    /// Its backend.
    pub backend: Backend,
    /// Its channel.
    pub channel: Channel,
    /// The lockfile it came from.
    pub lockfile: LockfileDigest,
    /// What made it active.
    pub cause: Cause,
    /// What was asked for.
    pub choice: Choice,
}

/// The profile of one project.
#[derive(Debug, Clone)]
pub struct Profile {
    project: PathBuf,
}

/// What is at a place that flambeau wants to link.
enum Occupant {
    Nothing,
    Ours(PathBuf),
    Foreign(&'static str),
}

impl Profile {
    /// The profile of the project at `project`, an absolute path.
    #[must_use]
    pub fn new(project: &Path) -> Self {
        Self {
            project: project.to_owned(),
        }
    }

    /// The link that flips.
    #[must_use]
    pub fn link(&self) -> PathBuf {
        self.project.join(".venv")
    }

    fn state_link(&self) -> PathBuf {
        self.project.join(state::FILE_NAME)
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.project.join(".flambeau")
    }

    fn record_path(&self, number: u64) -> PathBuf {
        self.folder().join("generations").join(format!("{number}.json"))
    }

    /// Creates `.flambeau`, which git ignores without being told to.
    fn prepare(&self) -> Result<(), PathError> {
        fsx::create_dir_all(&self.folder().join("generations"))?;
        let ignore = self.folder().join(".gitignore");
        if fsx::read_if_exists(&ignore)?.is_none() {
            fsx::write_atomic(&ignore, b"*\n")?;
        }
        Ok(())
    }

    /// Keeps other processes from changing this profile.
    pub fn guard(&self, waiting: impl FnOnce()) -> Result<Guard, ProfileError> {
        self.prepare()?;
        let path = self.folder().join("guard");
        Ok(Guard::exclusive(&path, waiting).at("take the guard", &path)?)
    }

    /// Where `.venv` leads, if it is a link of flambeau's (or nothing at all).
    pub fn active_path(&self) -> Result<Option<PathBuf>, ProfileError> {
        match occupant_of_venv(&self.link())? {
            Occupant::Nothing | Occupant::Foreign(_) => Ok(None),
            Occupant::Ours(target) => Ok(Some(target)),
        }
    }

    /// The active environment and its state; none where nothing is active. A link that leads nowhere is an error.
    pub fn active(&self) -> Result<Option<(PathBuf, EnvironmentState)>, ProfileError> {
        let Some(path) = self.active_path()? else {
            return Ok(None);
        };
        let state = EnvironmentState::read(&path)?;
        Ok(Some((path, state)))
    }

    /// Every readable generation, oldest first. A garbled record is passed over; one of a newer schema is an error.
    pub fn generations(&self) -> Result<Vec<Generation>, ProfileError> {
        let folder = self.folder().join("generations");
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).at("list", &folder).map_err(Into::into),
        };
        let mut generations = Vec::new();
        for entry in entries {
            let path = entry.at("list", &folder)?.path();
            let number = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_suffix(".json")?.parse::<u64>().ok());
            if number.is_some() {
                generations.extend(read_generation(&path)?);
            }
        }
        generations.sort_by_key(|generation: &Generation| generation.number);
        Ok(generations)
    }

    /// The generation that is active: the one activated last, if `.venv` still leads to its environment, else the
    /// newest one whose environment it leads to.
    pub fn current(&self) -> Result<Option<Generation>, ProfileError> {
        let Some(active) = self.active_path()? else {
            return Ok(None);
        };
        let noted = fsx::read_if_exists(&self.folder().join("current"))?
            .and_then(|bytes| std::str::from_utf8(&bytes).ok()?.trim().parse::<u64>().ok());
        if let Some(number) = noted
            && let Some(generation) = read_generation(&self.record_path(number))?
            && generation.path == active
        {
            return Ok(Some(generation));
        }
        Ok(self
            .generations()?
            .into_iter()
            .rev()
            .find(|generation| generation.path == active))
    }

    /// Refuses, before any work is done, what activation would refuse at the end.
    pub fn check_links(&self) -> Result<(), ProfileError> {
        for (path, occupant) in self.occupants()? {
            if let Occupant::Foreign(what) = occupant {
                return Err(ProfileError::InTheWay { path, what });
            }
        }
        Ok(())
    }

    /// Refuses, before any work is done, a project in which no link can be written.
    pub fn check_writable(&self) -> Result<(), ProfileError> {
        use rustix::fs::{Access, access};
        Ok(access(&self.project, Access::WRITE_OK | Access::EXEC_OK).at("write to the folder", &self.project)?)
    }

    fn occupants(&self) -> Result<[(PathBuf, Occupant); 2], ProfileError> {
        Ok([
            (self.link(), occupant_of_venv(&self.link())?),
            (self.state_link(), occupant_of_state(&self.state_link())?),
        ])
    }

    /// Moves somebody else's `.venv` and state file aside, to the same name with `.aside-<n>`.
    pub fn move_aside(&self) -> Result<Vec<PathBuf>, ProfileError> {
        let mut moved = Vec::new();
        for (path, occupant) in self.occupants()? {
            if matches!(occupant, Occupant::Foreign(_)) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let free = (1u32..).map(|n| path.with_file_name(format!("{name}.aside-{n}")));
                let target = free
                    .into_iter()
                    .find(|target| std::fs::symlink_metadata(target).is_err());
                let target = target.unwrap_or_else(|| path.with_file_name(format!("{name}.aside")));
                std::fs::rename(&path, &target).at("move aside", &path)?;
                moved.push(target);
            }
        }
        Ok(moved)
    }

    /// Makes the environment at `path` active. Returns its generation, and whether that is a new one: activating what
    /// is active adds none. The caller holds the guard.
    pub fn activate(
        &self,
        store: &Store,
        path: &Path,
        state: &EnvironmentState,
        cause: Cause,
        choice: Choice,
    ) -> Result<(Generation, bool), ProfileError> {
        self.check_links()?;
        self.register(store)?;
        let current = self.current()?;
        if let Some(current) = current.filter(|current| current.path == path && current.key == state.environment_key) {
            // The same environment, perhaps for another reason: a plain build after a flag, for example.
            let changed = current.choice != choice;
            let generation = Generation { choice, ..current };
            if changed {
                self.write_generation(&generation)?;
            }
            // Nothing flips, but a state link that somebody deleted is restored.
            self.flip(&generation)?;
            return Ok((generation, false));
        }
        let number = self.generations()?.last().map_or(1, |last| last.number + 1);
        let generation = Generation {
            schema: SCHEMA,
            number,
            created: state::now(),
            path: path.to_owned(),
            key: state.environment_key,
            backend: state.installed_backend,
            channel: state.channel.clone(),
            lockfile: state.lockfile_digest,
            cause,
            choice,
        };
        self.write_generation(&generation)?;
        if let Err(error) = self.flip(&generation) {
            // A generation that was never active has no place in the history.
            std::fs::remove_file(self.record_path(number)).ok();
            return Err(error);
        }
        Ok((generation, true))
    }

    /// Makes an existing generation active again. It was named, so it is an explicit choice from now on.
    pub fn reactivate(&self, store: &Store, number: u64, choice: Choice) -> Result<Generation, ProfileError> {
        self.check_links()?;
        self.register(store)?;
        let generation = read_generation(&self.record_path(number))?.ok_or(ProfileError::NoGeneration(number))?;
        if !generation.path.join(state::FILE_NAME).exists() {
            return Err(ProfileError::Vanished {
                number,
                path: generation.path,
            });
        }
        let generation = Generation { choice, ..generation };
        self.write_generation(&generation)?;
        self.flip(&generation)?;
        Ok(generation)
    }

    /// The state link first: it is relative and never changes, so from the second time on one rename moves both.
    fn flip(&self, generation: &Generation) -> Result<(), ProfileError> {
        if let Occupant::Nothing = occupant_of_state(&self.state_link())? {
            fsx::flip_symlink(&Path::new(".venv").join(state::FILE_NAME), &self.state_link())?;
        }
        let (current, number) = (self.folder().join("current"), format!("{}\n", generation.number));
        if fsx::read_if_exists(&current)?.as_deref() != Some(number.as_bytes()) {
            fsx::write_atomic(&current, number.as_bytes())?;
        }
        if self.active_path()?.as_deref() != Some(&generation.path) {
            fsx::flip_symlink(&generation.path, &self.link())?;
        }
        Ok(())
    }

    fn write_generation(&self, generation: &Generation) -> Result<(), PathError> {
        let mut bytes = serde_json::to_vec_pretty(generation).unwrap_or_default();
        bytes.push(b'\n');
        fsx::write_atomic(&self.record_path(generation.number), &bytes)
    }

    /// Tells the store that this project exists, so that a collection finds its generations.
    fn register(&self, store: &Store) -> Result<(), PathError> {
        use std::os::unix::ffi::OsStrExt as _;
        let name = FileDigest::of(self.project.as_os_str().as_bytes()).short();
        let link = store.roots_dir().join(name);
        if std::fs::read_link(&link).is_ok_and(|target| target == self.project) {
            return Ok(());
        }
        fsx::create_dir_all(&store.roots_dir())?;
        fsx::flip_symlink(&self.project, &link)
    }

    /// Writes the folders that the start-up hook puts on the path, relative to the project; no file where there are
    /// none.
    pub fn write_overlay(&self, folders: &[PathBuf]) -> Result<(), ProfileError> {
        let path = self.folder().join("overlay.pth");
        let mut text = String::new();
        for folder in folders {
            let line = folder.to_str().filter(|line| !line.contains(['\n', '\r']));
            let line = line.ok_or_else(|| ProfileError::InTheWay {
                path: folder.clone(),
                what: "a path with line breaks",
            })?;
            text.push_str(line);
            text.push('\n');
        }
        let existing = fsx::read_if_exists(&path)?;
        if folders.is_empty() {
            if existing.is_some() {
                std::fs::remove_file(&path).at("remove", &path)?;
            }
        } else if existing.as_deref() != Some(text.as_bytes()) {
            self.prepare()?;
            fsx::write_atomic(&path, text.as_bytes())?;
        }
        Ok(())
    }
}

fn read_generation(path: &Path) -> Result<Option<Generation>, ProfileError> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let Some(bytes) = fsx::read_if_exists(path)? else {
        return Ok(None);
    };
    match serde_json::from_slice::<Version>(&bytes) {
        Ok(Version { schema }) if schema > SCHEMA => Err(ProfileError::Newer {
            path: path.to_owned(),
            found: schema,
        }),
        _ => Ok(serde_json::from_slice(&bytes).ok()),
    }
}

fn occupant_of_venv(link: &Path) -> Result<Occupant, PathError> {
    let meta = match std::fs::symlink_metadata(link) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nothing),
        Err(error) => return Err(error).at("look at", link),
    };
    if meta.is_dir() {
        return Ok(Occupant::Foreign("a folder"));
    }
    if !meta.is_symlink() {
        return Ok(Occupant::Foreign("a file"));
    }
    let target = std::fs::read_link(link).at("read the symlink", link)?;
    // A link of ours leads to `<store>/envs/<40 hex digits>-…`, also where that environment is gone by now.
    let named = target.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
        name.split_once('-')
            .is_some_and(|(key, _)| key.len() == 40 && key.bytes().all(|byte| byte.is_ascii_hexdigit()))
    });
    let shelved = target
        .parent()
        .and_then(Path::file_name)
        .is_some_and(|folder| folder == Shelf::Envs.folder());
    Ok(if named && shelved {
        Occupant::Ours(target)
    } else {
        Occupant::Foreign("a symlink to somewhere else")
    })
}

fn occupant_of_state(link: &Path) -> Result<Occupant, PathError> {
    match std::fs::symlink_metadata(link) {
        Ok(meta) if meta.is_symlink() => {
            let target = std::fs::read_link(link).at("read the symlink", link)?;
            let ours = target == Path::new(".venv").join(state::FILE_NAME);
            Ok(if ours {
                Occupant::Ours(target)
            } else {
                Occupant::Foreign("a symlink to somewhere else")
            })
        }
        Ok(_) => Ok(Occupant::Foreign("a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Occupant::Nothing),
        Err(error) => Err(error).at("look at", link),
    }
}
