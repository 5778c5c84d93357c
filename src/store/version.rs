//! `VERSION`: which layout a store has, and how an older one becomes the present one.
//!
//! A newer store is refused by name. An older one is brought up to date step by step when something is about to be
//! written to it, under a guard; where it cannot be written (a lower store), it is read as it is from
//! [`READABLE_FROM`] on. A step may be killed and is then done again, so each must bear that.

use super::{FOLDERS, Guard, Shelf, Store, StoreError};
use crate::fsx::{self, PathContext as _};

/// The version of the layout that this program writes.
pub(super) const VERSION: u32 = 1;

/// The oldest version that can be read without bringing it up to date.
pub(super) const READABLE_FROM: u32 = 1;

/// Turns a store of one version into one of the next.
type Step = fn(&Store) -> Result<(), StoreError>;

/// The step at index `n - 1` turns version `n` into `n + 1`.
const STEPS: [Step; VERSION as usize - 1] = [];

impl Store {
    /// Refuses a store of a newer version, and one too old to be read; says nothing of one that does not exist yet.
    pub fn check_version(&self) -> Result<(), StoreError> {
        self.check(VERSION, READABLE_FROM)
    }

    fn check(&self, newest: u32, oldest: u32) -> Result<(), StoreError> {
        let path = self.root.clone();
        match self.version()? {
            Some(found) if found > newest => Err(StoreError::Newer { path, found }),
            Some(found) if found < oldest => Err(StoreError::Older { path, found }),
            _ => Ok(()),
        }
    }

    /// What VERSION says; none where there is none.
    fn version(&self) -> Result<Option<u32>, StoreError> {
        let path = self.root.join("VERSION");
        let Some(bytes) = fsx::read_if_exists(&path)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes).ok().map(str::trim);
        match text.and_then(|text| text.parse().ok()).filter(|found| *found > 0) {
            Some(found) => Ok(Some(found)),
            None => Err(StoreError::BadVersion {
                is_store: self.has_this_layout()?,
                path,
            }),
        }
    }

    /// Whether there is nothing in the folder but what a store of [`VERSION`] has there, all of its shelves included:
    /// neither somebody else's folder nor a layout to come.
    fn has_this_layout(&self) -> Result<bool, StoreError> {
        let root = &self.root;
        for entry in std::fs::read_dir(root).at("list", root)? {
            let name = entry.at("list", root)?.file_name();
            let name = name.to_string_lossy();
            let is_ours = FOLDERS.contains(&name.as_ref()) || name == "VERSION" || name.starts_with(".flambeau-");
            if !is_ours {
                return Ok(false);
            }
        }
        Ok(Shelf::ALL.iter().all(|shelf| root.join(shelf.folder()).is_dir()))
    }

    /// Writes VERSION again where a crash or a hand garbled it and everything beside it is of this version. Returns
    /// whether it did; what the objects hold is for the caller to verify.
    pub fn restore_version(&self) -> Result<bool, StoreError> {
        match self.version() {
            Err(StoreError::BadVersion { is_store: true, .. }) => {
                self.write_version(VERSION)?;
                Ok(true)
            }
            other => other.map(|_| false),
        }
    }

    /// Brings the store up to date; one without VERSION is new.
    pub(super) fn update(&self) -> Result<(), StoreError> {
        self.update_by(&STEPS)
    }

    fn update_by(&self, steps: &[Step]) -> Result<(), StoreError> {
        let newest = u32::try_from(steps.len()).unwrap_or(u32::MAX).saturating_add(1);
        if self.version()? == Some(newest) {
            return Ok(());
        }
        let guard = self.root.join("guards/.version");
        let _guard = Guard::exclusive(&guard, || {}).map_err(|source| StoreError::Guard { path: guard, source })?;
        // Another process may have done it while this one waited.
        let mut found = self.version()?.unwrap_or(newest);
        for step in steps.iter().skip(found as usize - 1) {
            step(self)?;
            found += 1;
            self.write_version(found)?;
        }
        if self.version()?.is_none() {
            self.write_version(newest)?;
        }
        Ok(())
    }

    fn write_version(&self, version: u32) -> Result<(), StoreError> {
        Ok(fsx::write_shared(
            &self.root.join("VERSION"),
            format!("{version}\n").as_bytes(),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path().join("store"));
        store.prepare().expect("prepared");
        (folder, store)
    }

    /// Writes down that it ran, and fails where `stop` is there.
    fn note(store: &Store, step: &str) -> Result<(), StoreError> {
        let log = store.root().join("log");
        let mut text = std::fs::read_to_string(&log).unwrap_or_default();
        text.push_str(step);
        std::fs::write(&log, text).at("write", &log)?;
        let stop = store.root().join(format!("stop{step}"));
        if stop.exists() {
            std::fs::read_dir(&stop).at("list", &stop)?;
        }
        Ok(())
    }

    const TWO: [Step; 2] = [|store| note(store, "1"), |store| note(store, "2")];

    #[test]
    fn a_newer_store_is_refused_by_name_and_a_garbled_one_too() {
        let (_folder, store) = store();
        let version = store.root().join("VERSION");
        assert_eq!(std::fs::read_to_string(&version).expect("a file"), "1\n");
        std::fs::write(&version, "99\n").expect("written");
        let error = store.prepare().expect_err("newer");
        let named = format!("the store {} has version 99", store.root().display());
        assert!(error.to_string().starts_with(&named), "{error}");
        for garbage in ["x", "", "0", "-1", "1.5"] {
            std::fs::write(&version, garbage).expect("written");
            assert!(
                matches!(
                    store.check_version(),
                    Err(StoreError::BadVersion { is_store: true, .. })
                ),
                "{garbage:?}"
            );
        }
    }

    #[test]
    fn a_garbled_version_is_restored_where_all_else_is_of_this_layout() {
        let (_folder, store) = store();
        let version = store.root().join("VERSION");
        assert!(!store.restore_version().expect("sound"));
        std::fs::write(&version, "2.1.0-dev\n").expect("written");
        let strange = store.root().join("src");
        std::fs::write(&strange, "").expect("written");
        for looked in [store.check_version(), store.restore_version().map(|_| ())] {
            assert!(matches!(looked, Err(StoreError::BadVersion { is_store: false, .. })));
        }
        std::fs::remove_file(&strange).expect("removed");
        assert!(store.restore_version().expect("restored"));
        assert_eq!(std::fs::read_to_string(&version).expect("a file"), "1\n");
        std::fs::write(&version, "99\n").expect("written");
        assert!(matches!(
            store.restore_version(),
            Err(StoreError::Newer { .. }) | Ok(false)
        ));
        assert_eq!(std::fs::read_to_string(&version).expect("a file"), "99\n");
    }

    #[test]
    fn an_older_store_is_brought_up_to_date_once_and_goes_on_where_a_step_failed() {
        let (_folder, store) = store();
        let log = || std::fs::read_to_string(store.root().join("log")).unwrap_or_default();
        let stop = store.root().join("stop2");
        std::fs::write(&stop, "").expect("a file, which cannot be listed");
        assert!(store.update_by(&TWO).is_err());
        assert_eq!((store.version().expect("a version"), log()), (Some(2), "12".to_owned()));
        std::fs::remove_file(&stop).expect("removed");
        store.update_by(&TWO).expect("updated");
        assert_eq!(
            (store.version().expect("a version"), log()),
            (Some(3), "122".to_owned())
        );
        store.update_by(&TWO).expect("nothing to do");
        assert_eq!(log(), "122");
    }

    #[test]
    fn an_older_store_that_cannot_be_written_is_read_from_a_version_on() {
        let (_folder, store) = store();
        assert!(store.check(3, 1).is_ok());
        assert!(matches!(store.check(3, 2), Err(StoreError::Older { found: 1, .. })));
    }

    #[test]
    fn a_new_store_needs_no_step_and_many_processes_take_each_step_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path().join("store"));
        fsx::create_dir_all(&store.root().join("guards")).expect("made");
        store.update_by(&TWO).expect("new");
        assert!(!store.root().join("log").exists());
        store.write_version(1).expect("written");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| store.update_by(&TWO).expect("updated"));
            }
        });
        assert_eq!(std::fs::read_to_string(store.root().join("log")).expect("a log"), "12");
    }
}
