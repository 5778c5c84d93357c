//! Generation records: what was active, since when, by whom and why.
//!
//! `generations/<n>.json` is the record; `links/<n>` is a symlink to its environment, made first, which gives the number
//! away and outlives a record that a crash emptied: such a record is told again from the environment's own state.
//! Refuses: a record of a newer schema, by its version. A garbled one without a link that leads somewhere is passed over.

use std::io;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Profile, ProfileError};
use crate::backend::{Backend, Channel};
use crate::digest::{EnvironmentKey, FileDigest, LockfileDigest};
use crate::env::state::{self, EnvironmentState};
use crate::fsx::{self, PathContext as _, PathError};

/// The form of a generation record.
pub(super) const SCHEMA: u32 = 1;

/// What made a generation active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// `--backend` or `--channel`.
    Flag,
    /// The configuration, or what the detector found.
    #[serde(rename = "config", alias = "configuration")]
    Configuration,
    /// `activate`.
    Activate,
    /// `rollback`.
    Rollback,
    /// Nobody knows any more: the record was lost and told again from its link.
    Recovered,
}

impl Cause {
    /// The word in records and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Configuration => "config",
            Self::Activate => "activate",
            Self::Rollback => "rollback",
            Self::Recovered => "recovered",
        }
    }
}

/// What was asked for when a generation was made. A later plain `build` or `run` keeps an explicit choice until a flag
/// or the configuration changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The channel that a flag or `activate` chose; none where the configuration decided.
    pub explicit: Option<Channel>,
    /// What the configuration asked for at that time, as text: a change of it ends the explicit choice.
    pub configured: String,
    /// Where this very environment was named (by `rollback`, a generation or a key): digest of the lockfile and the
    /// requirements at that time. It is kept until they change, whatever the lockfile would build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<FileDigest>,
}

/// One moment at which a generation became active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// The user.
    pub user: String,
    /// What made it active.
    pub cause: Cause,
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    pub(super) schema: u32,
    /// Its number, from 1.
    pub number: u64,
    /// When it became active first, RFC 3339 in UTC.
    pub created: String,
    /// The user who made it.
    #[serde(default)]
    pub user: String,
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
    /// What made it active first.
    pub cause: Cause,
    /// What was asked for.
    pub choice: Choice,
    /// When it became active again last, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Activation>,
}

impl Generation {
    /// When it became active last.
    #[must_use]
    pub fn last_active(&self) -> &str {
        self.again.as_ref().map_or(&self.created, |again| &again.at)
    }

    /// What made it active last.
    #[must_use]
    pub fn last_cause(&self) -> Cause {
        self.again.as_ref().map_or(self.cause, |again| again.cause)
    }

    /// Whether its environment is there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.path.join(state::FILE_NAME).exists()
    }

    fn recovered(number: u64, path: &Path, created: String) -> Option<Self> {
        let state = EnvironmentState::read(path).ok()?;
        Some(Self {
            schema: SCHEMA,
            number,
            created,
            user: String::new(),
            path: path.to_owned(),
            key: state.environment_key,
            backend: state.installed_backend,
            channel: state.channel,
            lockfile: state.lockfile_digest,
            cause: Cause::Recovered,
            choice: Choice {
                explicit: None,
                configured: String::new(),
                held: None,
            },
            again: None,
        })
    }
}

/// The last few numbers up to one.
const fn few_up_to(newest: u64) -> Range<u64> {
    const FEW: u64 = 16;
    let first = newest.saturating_sub(FEW - 1);
    (if first == 0 { 1 } else { first })..newest.saturating_add(1)
}

fn numbered(folder: &Path, ending: &str) -> Result<Vec<u64>, PathError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("list", folder),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.at("list", folder)?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(ending)?.parse::<u64>().ok());
        numbers.extend(number);
    }
    Ok(numbers)
}

impl Profile {
    fn records(&self) -> PathBuf {
        self.folder().join("generations")
    }

    fn links(&self) -> PathBuf {
        self.folder().join("links")
    }

    fn record_path(&self, number: u64) -> PathBuf {
        self.records().join(format!("{number}.json"))
    }

    /// Creates `.flambeau`, which git ignores without being told to.
    pub(super) fn prepare(&self) -> Result<(), PathError> {
        fsx::create_dir_all(&self.records())?;
        fsx::create_dir_all(&self.links())?;
        let ignore = self.folder().join(".gitignore");
        if !ignore.exists() {
            fsx::write_atomic(&ignore, b"*\n")?;
        }
        Ok(())
    }

    /// Whether a number is given away.
    pub(super) fn is_given(&self, number: u64) -> bool {
        let link = self.links().join(number.to_string());
        std::fs::symlink_metadata(link).is_ok()
    }

    /// The numbers that are given away, ascending; what they stand for may be unreadable.
    pub(super) fn numbers(&self) -> Result<Vec<u64>, PathError> {
        let mut numbers = numbered(&self.records(), ".json")?;
        numbers.extend(numbered(&self.links(), "")?);
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// One generation; none where there is no such number, or nothing readable under it.
    pub fn generation(&self, number: u64) -> Result<Option<Generation>, ProfileError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let path = self.record_path(number);
        let bytes = fsx::read_if_exists(&path)?.unwrap_or_default();
        if let Ok(Version { schema: found }) = serde_json::from_slice::<Version>(&bytes)
            && found > SCHEMA
        {
            return Err(ProfileError::Newer { path, found });
        }
        let record = serde_json::from_slice::<Generation>(&bytes).ok();
        Ok(record
            .filter(|record| record.number == number)
            .or_else(|| self.recover(number)))
    }

    /// A generation whose record is lost, from its link and the environment's own state.
    fn recover(&self, number: u64) -> Option<Generation> {
        let link = self.links().join(number.to_string());
        let path = std::fs::read_link(&link).ok()?;
        let made = std::fs::symlink_metadata(&link).and_then(|meta| meta.modified()).ok()?;
        Generation::recovered(number, &path, state::time(made))
    }

    /// Every readable generation, oldest first. One of a newer schema is an error.
    pub fn generations(&self) -> Result<Vec<Generation>, ProfileError> {
        let mut generations = Vec::new();
        for number in self.numbers()? {
            generations.extend(self.generation(number)?);
        }
        Ok(generations)
    }

    /// The readable generations, newest first. A history may be long: each is read when its turn comes, and the folders
    /// are listed only for who wants more than the first few.
    pub fn newest_first(&self) -> Result<impl Iterator<Item = Result<Generation, ProfileError>> + '_, ProfileError> {
        let newest = self.noted()?.and_then(|noted| noted.newest);
        Ok(self.backwards(newest.map_or(1..1, few_up_to), u64::MAX))
    }

    /// The readable generations with a smaller number, newest first; see [`Profile::newest_first`].
    pub(super) fn older_than(&self, number: u64) -> impl Iterator<Item = Result<Generation, ProfileError>> + '_ {
        self.backwards(few_up_to(number.saturating_sub(1)), number)
    }

    /// The numbers of `first`, then all others below `end`.
    fn backwards(&self, first: Range<u64>, end: u64) -> impl Iterator<Item = Result<Generation, ProfileError>> + '_ {
        let few = first.clone();
        let others = std::iter::once_with(|| self.numbers()).flat_map(move |numbers| {
            let (numbers, error) = match numbers {
                Ok(numbers) => (numbers, None),
                Err(error) => (Vec::new(), Some(Err(ProfileError::from(error)))),
            };
            let few = few.clone();
            let others = numbers.into_iter().rev().map(Ok);
            let others = others.filter(move |number| !number.as_ref().is_ok_and(|it| few.contains(it) || *it >= end));
            error.into_iter().chain(others)
        });
        let numbers = first.rev().map(Ok).chain(others);
        numbers.filter_map(|number: Result<u64, ProfileError>| number.and_then(|it| self.generation(it)).transpose())
    }

    /// Every environment that the history names, with the generation's number: also where a record cannot be read, as
    /// long as its link can. What lies there may be needed and must not be collected.
    pub fn environments(&self) -> Result<Vec<(u64, PathBuf)>, ProfileError> {
        let mut found = Vec::new();
        for number in self.numbers()? {
            let path = match self.generation(number)? {
                Some(generation) => Some(generation.path),
                None => std::fs::read_link(self.links().join(number.to_string())).ok(),
            };
            found.extend(path.map(|path| (number, path)));
        }
        Ok(found)
    }

    /// Gives the next number away to an environment. The link is made exclusively, so that a number never has two
    /// environments, not even after records were lost.
    pub(super) fn next_number(&self, path: &Path) -> Result<u64, PathError> {
        let newest = match self.noted()?.and_then(|noted| noted.newest) {
            Some(newest) => newest,
            None => self.numbers()?.into_iter().max().unwrap_or(0),
        };
        let mut number = newest + 1;
        loop {
            let link = self.links().join(number.to_string());
            match symlink(path, &link) {
                Ok(()) => return Ok(number),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error).at("create the symlink", link),
            }
        }
    }

    /// Gives a number to the environment that `.venv` leads to, where the history that knew it is lost: it must be
    /// possible to go back to it.
    pub(super) fn adopt(&self, path: &Path) -> Result<(), PathError> {
        if EnvironmentState::read(path).is_err() {
            return Ok(());
        }
        let number = self.next_number(path)?;
        match self.recover(number) {
            Some(generation) => self.write_generation(&generation),
            None => Ok(()),
        }
    }

    pub(super) fn write_generation(&self, generation: &Generation) -> Result<(), PathError> {
        let mut bytes = serde_json::to_vec_pretty(generation).unwrap_or_default();
        bytes.push(b'\n');
        fsx::write_atomic(&self.record_path(generation.number), &bytes)
    }

    /// Forgets a generation. The link goes first: a record without one is still whole.
    pub(super) fn forget(&self, number: u64) -> Result<(), PathError> {
        for path in [self.links().join(number.to_string()), self.record_path(number)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).at("remove", path),
                _ => {}
            }
        }
        Ok(())
    }
}
