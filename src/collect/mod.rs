//! Collection: what in the store and the cache nobody needs any more, and taking it away.
//!
//! - [`survey`] reads who needs what: roots, leases, claims, processes, times;
//! - [`plan`] decides what goes, in which order and up to which limit, without changing anything;
//! - [`execute`] does exactly that: it looks again behind the closed gate, renames what is still dead into `tmp/`, opens
//!   the gate and then deletes.
//!
//! `docs/gc.md` has the rules, the protocol between collections and everybody else, and the form of the JSON document.
//! Refuses: to delete anything while a root cannot be read, and a store whose file system has no locks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::Cache;
use crate::fsx::PathError;
use crate::profile::{Profile, ProfileError};
use crate::progress::Reporter;
use crate::store::roots::Note;
use crate::store::{Shelf, Store, StoreError};

mod cached;
mod debris;
pub mod execute;
pub mod plan;
mod processes;
mod projects;
pub mod size;
pub mod survey;

#[cfg(test)]
mod model;

pub use debris::sweep;
pub use execute::{Collected, Failed};
pub use plan::{Item, Kind, Plan};
pub use survey::{Reason, Survey};

/// How long an object is kept after it was built or last active: a week.
pub const GRACE: Duration = Duration::from_hours(7 * 24);

/// How long the roots of a project, or an out-link, count that cannot be found: thirty days. It may be on a disk that
/// is not mounted.
pub const VANISHED: Duration = Duration::from_hours(30 * 24);

/// How long index pages and metadata are kept after they were last fetched: thirty days.
pub const PAGES: Duration = Duration::from_hours(30 * 24);

/// Why nothing was collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A root that cannot be read: what it keeps is not known.
    #[error("the root {} cannot be read, so nothing is collected", root.display())]
    Root {
        /// The root, or what it leads to.
        root: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl CollectError {
    fn root(root: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Root {
            root: root.to_owned(),
            source: source.into(),
        }
    }

    fn profile(project: &Path, source: ProfileError) -> Self {
        Self::root(project, source)
    }
}

/// What a collection is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The grace period, where not [`GRACE`].
    pub older_than: Option<Duration>,
    /// How long roots count that cannot be found.
    pub vanished_after: Duration,
    /// Stop once so many bytes are freed.
    pub max_freed: Option<u64>,
    /// Collect only until so many bytes are free on the store's file system.
    pub free: Option<u64>,
    /// Collect only until the store has no more than so many bytes.
    pub max_size: Option<u64>,
    /// Collect cached wheels too.
    pub wheels: bool,
    /// Leave index pages and partial downloads alone: they could not be fetched again.
    pub offline: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            older_than: None,
            vanished_after: VANISHED,
            max_freed: None,
            free: None,
            max_size: None,
            wheels: false,
            offline: false,
        }
    }
}

impl Options {
    /// How long an object is kept after it was built or last active.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.older_than.unwrap_or(GRACE)
    }
}

/// How many leftovers of killed processes a collection would delete from the store's `tmp/` now.
pub fn leftovers(store: &Store) -> Result<usize, CollectError> {
    Ok(debris::staged(store, &crate::store::times::Now::read())?.len())
}

/// Collects one store and, where there is one, a cache.
#[derive(Clone, Copy)]
pub struct Collector<'a> {
    /// The store.
    pub store: &'a Store,
    /// The cache.
    pub cache: Option<&'a Cache>,
    /// The project that asks: its lockfiles count even where it is not registered.
    pub project: &'a Path,
    /// Who watches.
    pub reporter: &'a dyn Reporter,
}

/// Notes beside a project's root what the project needs, `path` included; and that what was active is left now, and
/// `path` entered. Where the store cannot be written, the note is not needed either: nobody who may collect it belongs
/// to this user.
///
/// A note that is there grows; the history, as long as it may be, is read only where nothing is known. What the project
/// needs no more is dropped from the note by the next collection.
pub fn remember(store: &Store, profile: &Profile, path: &Path) {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let root = store.project_root(profile.project());
    let known = store.note(&root).ok().flatten().filter(Note::is_complete);
    let mut environments = if let Some(note) = &known {
        note.environments.clone()
    } else {
        let generations = profile.generations().unwrap_or_default();
        generations
            .iter()
            .filter_map(|generation| name(&generation.path))
            .collect()
    };
    let active = profile.active_path().ok().flatten();
    let (left, entered) = (
        active.filter(|active| active != path).and_then(|path| name(&path)),
        name(path),
    );
    if let Some(left) = left {
        if store.has(Shelf::Envs, &left) {
            store.touch(Shelf::Envs, &left).ok();
        }
        environments.insert(left);
    }
    if let Some(entered) = entered {
        if store.has(Shelf::Envs, &entered) {
            store.touch_roughly(Shelf::Envs, &entered).ok();
        }
        environments.insert(entered);
    }
    let note = Note::new(profile.project(), environments, None);
    if known.as_ref() != Some(&note) {
        store.write_note(&root, &note).ok();
    }
}
