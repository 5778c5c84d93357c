//! The store: where everything is, and how something becomes visible in it.
//!
//! ```text
//! VERSION            "1\n"
//! wheels/<name>/     wheel trees: root/, manifest.json, facts.json
//! bytecode/<name>/   bytecode of wheel trees: root/, manifest.json
//! envs/<name>/       environments
//! roots/             one file a project that uses the store; pins, out-links (see [`roots`])
//! leases/<env name>  files that running processes hold a shared flock on
//! claims/            what running builds need (see [`claim`])
//! records/<name>     commit records
//! times/<name>       when objects were built or last active (see [`times`])
//! guards/<name>      files that builders hold an exclusive flock on; `.gate` and `.collector` are a collection's
//! tmp/               staging, whose folders are locked while their process lives; trash; debris of killed processes
//! ```
//!
//! The store knows bytes and names, never Python. Visible means complete: an object is written in `tmp/`, made
//! read-only below its top folder and renamed into place; then the top folder is made read-only too. There is no
//! database: the rename is the registration.
//! Several users may share one store: what is made in it takes over its root's rights to write.
//! Refuses: a store whose VERSION is newer than this program understands.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::checkpoint;
use crate::fsx::{self, PathContext as _, PathError};
use crate::progress::{Event, Reporter};

pub mod claim;
mod guard;
mod lower;
mod record;
pub mod roots;
pub(crate) mod staging;
pub mod times;
mod version;

pub use claim::Claim;
pub use guard::Guard;
pub use record::{CommitRecord, Trust};
pub use staging::Staging;

/// The folders of a store.
const FOLDERS: [&str; 12] = [
    "wheels",
    "bytecode",
    "envs",
    "roots",
    "roots/pins",
    "roots/links",
    "leases",
    "claims",
    "records",
    "times",
    "guards",
    "tmp",
];

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Written by a newer flambeau.
    #[error("the store {} has version {found}; this flambeau understands up to {}", path.display(), version::VERSION)]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Written by a flambeau that is too old, where it cannot be brought up to date.
    #[error("the store {} has version {found}; this flambeau reads {} and newer", path.display(), version::READABLE_FROM)]
    Older {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// VERSION is no number.
    #[error("{} does not hold a store version", path.display())]
    BadVersion {
        /// The file.
        path: PathBuf,
        /// Whether everything beside it is of a store of this version.
        is_store: bool,
    },
    /// The file system cannot take a guard.
    #[error("cannot take the guard {}", path.display())]
    Guard {
        /// The guard file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A name that cannot be a pin's.
    #[error("`{0}` cannot be the name of a pin")]
    PinName(String),
    /// A pin that does not exist.
    #[error("there is no pin `{0}`")]
    NoPin(String),
    /// An environment that went away.
    #[error("the environment {} is not there any more", .0.display())]
    Gone(PathBuf),
    /// Something that is no out-link of flambeau's is where one should be.
    #[error("{} exists and is no link to an environment", .0.display())]
    OutLinkInTheWay(PathBuf),
}

/// What sort of object a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    /// `wheels/`: wheel trees.
    Wheels,
    /// `bytecode/`: bytecode of wheel trees.
    Bytecode,
    /// `envs/`: environments.
    Envs,
}

impl Shelf {
    /// All shelves.
    pub const ALL: [Self; 3] = [Self::Wheels, Self::Bytecode, Self::Envs];

    /// The folder's name in the store.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Wheels => "wheels",
            Self::Bytecode => "bytecode",
            Self::Envs => "envs",
        }
    }
}

/// A store folder. Cheap to make; touches the disk only when something is asked of it.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    lower: Vec<PathBuf>,
}

impl Store {
    /// The store at `root`, which need not exist yet.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            lower: Vec::new(),
        }
    }

    /// The store's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an object of this name is or would be.
    #[must_use]
    pub fn path(&self, shelf: Shelf, name: &str) -> PathBuf {
        self.root.join(shelf.folder()).join(name)
    }

    /// Whether the object is visible, and so complete.
    #[must_use]
    pub fn has(&self, shelf: Shelf, name: &str) -> bool {
        std::fs::symlink_metadata(self.path(shelf, name)).is_ok_and(|meta| meta.is_dir())
    }

    /// The file that processes of an environment hold a lease on.
    #[must_use]
    pub fn lease_path(&self, env: &str) -> PathBuf {
        self.root.join("leases").join(env)
    }

    /// The folder of the projects' registrations.
    #[must_use]
    pub fn roots_dir(&self) -> PathBuf {
        self.root.join("roots")
    }

    /// The names on a shelf, sorted; none where the store does not exist yet.
    pub fn names(&self, shelf: Shelf) -> Result<Vec<String>, StoreError> {
        let folder = self.root.join(shelf.folder());
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).at("list", &folder).map_err(StoreError::from),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.at("list", &folder)?;
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Creates what is missing of the layout, and brings an older layout up to date. Every verb that writes calls it
    /// first.
    pub fn prepare(&self) -> Result<(), StoreError> {
        self.check_version()?;
        for folder in FOLDERS {
            fsx::create_shared_dir_all(&self.root, &self.root.join(folder))?;
        }
        // Made now, because a collection may have to work where nothing more can be made.
        for path in [self.gate_path(), self.collector_path()] {
            drop(fsx::open_shared_lock(&path).at("create", &path)?);
        }
        self.update()
    }

    /// Waits for the exclusive guard of one object; other builders of the same object wait for this one.
    pub fn guard(&self, name: &str, reporter: &dyn Reporter) -> Result<Guard, StoreError> {
        let path = self.root.join("guards").join(name);
        Guard::exclusive(&path, || reporter.event(Event::Waiting { what: name }))
            .map_err(|source| StoreError::Guard { path, source })
    }

    /// The name of the guard of an object. Bytecode may have the name of its tree.
    pub(crate) fn guard_name(shelf: Shelf, name: &str) -> String {
        match shelf {
            Shelf::Bytecode => format!("{}-{name}", shelf.folder()),
            Shelf::Wheels | Shelf::Envs => name.to_owned(),
        }
    }

    pub(crate) fn gate_path(&self) -> PathBuf {
        self.root.join("guards").join(".gate")
    }

    pub(crate) fn collector_path(&self) -> PathBuf {
        self.root.join("guards").join(".collector")
    }

    /// Keeps collections out for a moment: whoever holds the gate may look whether something is there and register
    /// that it is needed, as one step. Held for milliseconds only; none where the store is read-only.
    pub fn gate(&self) -> Result<Option<Guard>, StoreError> {
        open_gate(&self.gate_path())
    }

    /// Keeps everybody else from claiming, staging and activating; waits until nobody does. For a collection.
    pub(crate) fn close_gate(&self) -> Result<Guard, StoreError> {
        let path = self.gate_path();
        Guard::certain(&path, || {}).map_err(|source| StoreError::Guard { path, source })
    }

    /// Publishes a staged object under `name`. Returns whether this call made it visible; where another process was
    /// first, its object stays and this one is dropped: both were made from the same inputs.
    pub fn commit(&self, mut staging: Staging, shelf: Shelf, name: &str, sync: Sync) -> Result<bool, StoreError> {
        staging.seal()?;
        checkpoint::reach("store.sealed");
        self.touch(shelf, name)?;
        if sync == Sync::Full {
            self.sync_file_system()?;
        }
        self.write_record(shelf, name, sync == Sync::Full, staging.contents.take())?;
        checkpoint::reach("store.recorded");
        let target = self.path(shelf, name);
        match std::fs::rename(staging.path(), &target) {
            Ok(()) => staging.published(),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error).at("publish", &target).map_err(StoreError::from),
        }
        checkpoint::reach("store.renamed");
        // It is visible and whole; a top folder that stays writable is closed by whoever repairs the store.
        set_mode(&target, 0o555).ok();
        if sync == Sync::Full {
            self.sync_file_system()?;
        }
        checkpoint::reach("store.committed");
        Ok(true)
    }

    /// Publishes a staged object in the place of a visible one, which is never missing in between and is in the
    /// staging folder afterwards. For an object that is damaged, while processes run in it; the caller holds its guard.
    pub fn replace(&self, staging: &mut Staging, shelf: Shelf, name: &str, sync: Sync) -> Result<(), StoreError> {
        staging.seal()?;
        checkpoint::reach("store.sealed");
        if sync == Sync::Full {
            self.sync_file_system()?;
        }
        // Before the exchange: a crash between the two must not leave the new object under the old one's mark.
        let contents = staging.contents.take();
        self.write_record(shelf, name, false, contents.clone())?;
        let target = self.path(shelf, name);
        // Both folders change their parent, which is refused for a read-only one. A link in the place of a folder
        // leads to something that is not ours.
        if std::fs::symlink_metadata(&target).at("look at", &target)?.is_dir() {
            set_mode(&target, 0o755)?;
        }
        checkpoint::reach("store.opened");
        exchange(staging.path(), &target)?;
        checkpoint::reach("store.exchanged");
        set_mode(&target, 0o555).ok();
        if sync == Sync::Full {
            self.sync_file_system()?;
            self.write_record(shelf, name, true, contents)?;
        }
        checkpoint::reach("store.replaced");
        Ok(())
    }

    /// Publishes a staged object, in the place of a visible one where there is one.
    pub fn publish(&self, mut staging: Staging, shelf: Shelf, name: &str, sync: Sync) -> Result<(), StoreError> {
        if std::fs::symlink_metadata(self.path(shelf, name)).is_ok() {
            self.replace(&mut staging, shelf, name, sync)
        } else {
            self.commit(staging, shelf, name, sync).map(|_| ())
        }
    }

    /// Makes the top folder of an object read-only, which a crash between publishing and that may have left writable.
    /// The caller holds the object's guard. Where it is not ours to change, it stays.
    pub fn close_top(&self, shelf: Shelf, name: &str) {
        let path = self.path(shelf, name);
        if std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir() && meta.permissions().mode() & 0o222 != 0) {
            set_mode(&path, 0o555).ok();
        }
    }

    /// Takes an object out of sight and deletes it. Only for objects found damaged, under their guard.
    pub fn discard(&self, shelf: Shelf, name: &str) -> Result<(), StoreError> {
        let path = self.path(shelf, name);
        let trash = self.stage()?;
        set_mode(&path, 0o755)?;
        std::fs::rename(&path, trash.path().join("discarded")).at("take away", &path)?;
        Ok(())
    }

    /// One `syncfs` for everything written to the store's file system.
    pub fn sync_file_system(&self) -> Result<(), StoreError> {
        let folder = std::fs::File::open(&self.root).at("open", &self.root)?;
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&folder).at("sync the file system of", &self.root)?;
        #[cfg(not(target_os = "linux"))]
        folder.sync_all().at("sync", &self.root)?;
        Ok(())
    }
}

/// When what was written reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// When the kernel sees fit; after a crash of the machine, objects are verified before they are used again.
    #[default]
    Lazy,
    /// Before the object becomes visible.
    Full,
}

fn open_gate(path: &Path) -> Result<Option<Guard>, StoreError> {
    Guard::shared(path).map_err(|source| StoreError::Guard {
        path: path.to_owned(),
        source,
    })
}

/// Swaps two folders in one step; where the file system cannot, in two.
fn exchange(new: &Path, old: &Path) -> Result<(), PathError> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        if renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
    }
    let aside = new.with_extension("aside");
    std::fs::rename(old, &aside).at("take away", old)?;
    std::fs::rename(new, old).at("publish", old)?;
    std::fs::rename(&aside, new).at("take away", &aside)
}

pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), PathError> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).at("set the mode of", path)
}

/// Makes every folder below `top` read-only; `top` itself stays writable for the rename.
fn seal_below(top: &Path) -> Result<(), PathError> {
    for entry in std::fs::read_dir(top).at("list", top)? {
        let entry = entry.at("list", top)?;
        if entry.file_type().at("look at", entry.path())?.is_dir() {
            seal_below(&entry.path())?;
            set_mode(&entry.path(), 0o555)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path().join("store"));
        store.prepare().expect("prepared");
        (folder, store)
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("there").permissions().mode() & 0o7777
    }

    #[test]
    fn commit_makes_visible_and_read_only() {
        let (_folder, store) = store();
        let staging = store.stage().expect("a staging");
        std::fs::create_dir(staging.path().join("root")).expect("a folder");
        std::fs::write(staging.path().join("root/file"), b"x").expect("a file");
        assert!(!store.has(Shelf::Wheels, "a"));
        assert!(
            store
                .commit(staging, Shelf::Wheels, "a", Sync::Lazy)
                .expect("committed")
        );
        let path = store.path(Shelf::Wheels, "a");
        assert_eq!((mode(&path), mode(&path.join("root"))), (0o555, 0o555));
        assert_eq!(store.names(Shelf::Wheels).expect("names"), ["a"]);
        assert_eq!(store.trust(Shelf::Wheels, "a").expect("a record"), Trust::SameBoot);
        assert_eq!(std::fs::read_dir(store.root().join("tmp")).expect("tmp").count(), 0);
    }

    #[test]
    fn the_second_of_two_builders_keeps_the_first_one_s_object() {
        let (_folder, store) = store();
        for (body, first) in [("1", true), ("2", false)] {
            let staging = store.stage().expect("a staging");
            std::fs::write(staging.path().join("file"), body).expect("a file");
            assert_eq!(
                store.commit(staging, Shelf::Envs, "e", Sync::Full).expect("committed"),
                first
            );
        }
        assert_eq!(
            std::fs::read(store.path(Shelf::Envs, "e").join("file")).expect("there"),
            b"1"
        );
        assert_eq!(std::fs::read_dir(store.root().join("tmp")).expect("tmp").count(), 0);
        assert_eq!(store.trust(Shelf::Envs, "e").expect("a record"), Trust::Synced);
    }

    #[test]
    fn a_replaced_object_is_new_and_the_old_one_is_gone() {
        let (_folder, store) = store();
        for body in ["1", "2"] {
            let mut staging = store.stage().expect("a staging");
            std::fs::write(staging.path().join("file"), body).expect("a file");
            staging.describe(body.into());
            if body == "1" {
                store.commit(staging, Shelf::Envs, "e", Sync::Lazy).expect("committed");
            } else {
                store
                    .replace(&mut staging, Shelf::Envs, "e", Sync::Full)
                    .expect("replaced");
                drop(staging);
            }
        }
        let path = store.path(Shelf::Envs, "e");
        assert_eq!(std::fs::read(path.join("file")).expect("there"), b"2");
        assert_eq!(mode(&path), 0o555);
        assert_eq!(store.trust(Shelf::Envs, "e").expect("a record"), Trust::Synced);
        assert_eq!(
            store.contents(Shelf::Envs, "e").expect("a record"),
            Some(serde_json::json!("2"))
        );
        assert_eq!(std::fs::read_dir(store.root().join("tmp")).expect("tmp").count(), 0);
    }

    #[test]
    fn dropped_staging_and_discarded_objects_leave_nothing() {
        let (_folder, store) = store();
        let staging = store.stage().expect("a staging");
        std::fs::create_dir(staging.path().join("x")).expect("a folder");
        drop(staging);
        let staging = store.stage().expect("a staging");
        std::fs::create_dir(staging.path().join("x")).expect("a folder");
        store
            .commit(staging, Shelf::Wheels, "a", Sync::Lazy)
            .expect("committed");
        store.discard(Shelf::Wheels, "a").expect("discarded");
        assert!(!store.has(Shelf::Wheels, "a"));
        assert_eq!(std::fs::read_dir(store.root().join("tmp")).expect("tmp").count(), 0);
    }

    #[test]
    fn a_guard_keeps_others_waiting() {
        let (_folder, store) = store();
        let guard = store.guard("thing", &Silent).expect("a guard");
        let path = store.root().join("guards/thing");
        let other = std::fs::File::open(&path).expect("the guard file");
        assert!(other.try_lock().is_err());
        drop(guard);
        assert!(other.try_lock().is_ok());
    }
}
