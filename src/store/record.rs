//! Commit records: what is known of an object's way to the disk.
//!
//! A record lies outside the object, in `records/<shelf>-<name>.json`, and names the machine and its boot. An object
//! that was not synced before a crash of that machine must be verified before it is used again; one of the same boot,
//! or of another machine (whose boot is not ours to judge), is taken as it is.
//!
//! A record may also keep what the object was made of, in the words of the module that made it: the store only stores
//! it. So an object of which everything else is lost can be made again.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Shelf, Store, StoreError};
use crate::fsx::{self, PathContext as _};

/// The form of a record.
const SCHEMA: u32 = 1;

/// One object's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommitRecord {
    schema: u32,
    /// `/etc/machine-id`, or empty.
    machine: String,
    /// The kernel's boot id, or empty.
    boot: String,
    /// Whether the object is known to be on disk.
    synced: bool,
    /// What the object was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contents: Option<serde_json::Value>,
}

/// How far an object can be trusted without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Known to be on disk.
    Synced,
    /// Written since this boot: what the kernel has is complete.
    SameBoot,
    /// Written on another machine.
    Elsewhere,
    /// Not synced before this machine went down, or without a readable record.
    Unknown,
}

fn one_line(path: &str) -> String {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// The kernel's boot id; empty where there is none. It does not change while a process lives, and every object of a
/// build is compared with it.
pub(super) fn boot_id() -> &'static str {
    static BOOT: LazyLock<String> = LazyLock::new(|| one_line("/proc/sys/kernel/random/boot_id"));
    &BOOT
}

impl CommitRecord {
    fn now(synced: bool, contents: Option<serde_json::Value>) -> Self {
        static MACHINE: LazyLock<String> = LazyLock::new(|| one_line("/etc/machine-id"));
        Self {
            schema: SCHEMA,
            machine: MACHINE.clone(),
            boot: boot_id().to_owned(),
            synced,
            contents,
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        // Text and a truth value: serialising never fails.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    fn trust(&self, here: &Self) -> Trust {
        if self.synced {
            Trust::Synced
        } else if self.machine != here.machine {
            Trust::Elsewhere
        } else if self.boot == here.boot && !self.boot.is_empty() {
            Trust::SameBoot
        } else {
            Trust::Unknown
        }
    }
}

/// Older than the kernel's usual time for writing back dirty pages (30 s), with a margin.
fn is_old(path: &Path) -> bool {
    let age = std::fs::metadata(path)
        .and_then(|meta| meta.modified())
        .ok()
        .and_then(|time| time.elapsed().ok());
    age.is_some_and(|age| age >= Duration::from_mins(1))
}

fn read_record(path: &Path) -> Result<Option<CommitRecord>, fsx::PathError> {
    let record: Option<CommitRecord> = fsx::read_if_exists(path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(record.filter(|record| record.schema == SCHEMA))
}

impl Store {
    fn record_path(&self, shelf: Shelf, name: &str) -> PathBuf {
        self.root()
            .join("records")
            .join(format!("{}-{name}.json", shelf.folder()))
    }

    /// Writes the record of an object that is about to become visible, or was synced since.
    pub(super) fn write_record(
        &self,
        shelf: Shelf,
        name: &str,
        synced: bool,
        contents: Option<serde_json::Value>,
    ) -> Result<(), StoreError> {
        let (path, record) = (self.record_path(shelf, name), CommitRecord::now(synced, contents));
        if !synced && read_record(&path)?.is_some_and(|earlier| earlier.synced) {
            // The mark of an earlier object of this name must not outlive the crash that the new one may not survive.
            // Only then: syncing may wait for everything else that a build has written.
            return Ok(fsx::write_shared_durable(&path, &record.to_bytes())?);
        }
        Ok(fsx::write_shared(&path, &record.to_bytes())?)
    }

    /// The record of an object, where it is there and readable.
    fn record(&self, shelf: Shelf, name: &str) -> Result<Option<CommitRecord>, StoreError> {
        Ok(read_record(&self.record_path(shelf, name))?)
    }

    /// What the record of an object says. A record that is absent or garbled is no reason to stop: the object is
    /// verified instead.
    pub fn trust(&self, shelf: Shelf, name: &str) -> Result<Trust, StoreError> {
        let record = self.record(shelf, name)?;
        Ok(record.map_or(Trust::Unknown, |record| record.trust(&CommitRecord::now(false, None))))
    }

    /// What an object was made of, where its record is there and says so.
    pub fn contents(&self, shelf: Shelf, name: &str) -> Result<Option<serde_json::Value>, StoreError> {
        Ok(self.record(shelf, name)?.and_then(|record| record.contents))
    }

    /// Whether [`Store::settle`] would find this object worth a sync: written in this boot, not marked, and old enough
    /// that the kernel has written it back by itself.
    #[must_use]
    pub fn wants_settling(&self, shelf: Shelf, name: &str) -> bool {
        let path = self.record_path(shelf, name);
        is_old(&path) && self.trust(shelf, name).is_ok_and(|trust| trust == Trust::SameBoot)
    }

    /// Syncs the store's file system once and marks every object of this boot that is old enough. By then the kernel
    /// has written them back, so the sync costs little; without the mark they would be verified after a reboot.
    /// Returns how many were marked. Where the records cannot be written, nothing is lost but the mark.
    pub fn settle(&self) -> Result<usize, StoreError> {
        let folder = self.root().join("records");
        let here = CommitRecord::now(false, None);
        let mut ready = Vec::new();
        for entry in std::fs::read_dir(&folder).at("list", &folder)? {
            let path = entry.at("list", &folder)?.path();
            let record = read_record(&path)?.filter(|record| record.trust(&here) == Trust::SameBoot);
            if let Some(record) = record.filter(|_| is_old(&path)) {
                ready.push((path, record));
            }
        }
        if ready.is_empty() {
            return Ok(0);
        }
        self.sync_file_system()?;
        for (path, record) in &ready {
            // One that was written anew meanwhile is of another object, which this sync did not cover.
            if is_old(path) {
                let record = CommitRecord::now(true, record.contents.clone());
                fsx::write_shared(path, &record.to_bytes())?;
            }
        }
        Ok(ready.len())
    }

    /// Marks an object that was verified, or synced, as being on disk.
    pub fn mark_synced(&self, shelf: Shelf, name: &str) -> Result<(), StoreError> {
        let contents = self.contents(shelf, name)?;
        self.write_record(shelf, name, true, contents)
    }

    /// Marks objects that were found intact although nothing was known of their way to the disk: one sync for all.
    /// Where the store cannot be written nothing is lost but the mark.
    pub fn mark_all_synced<'a>(&self, objects: impl IntoIterator<Item = (Shelf, &'a str)>) -> Result<(), StoreError> {
        let mut objects = objects.into_iter().peekable();
        if objects.peek().is_some() {
            self.sync_file_system()?;
        }
        objects.try_for_each(|(shelf, name)| self.mark_synced(shelf, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Sync;

    #[test]
    fn objects_are_marked_once_they_are_old_enough() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path().join("store"));
        store.prepare().expect("prepared");
        let staging = store.stage().expect("a staging");
        store
            .commit(staging, Shelf::Wheels, "a", Sync::Lazy)
            .expect("committed");
        assert!(!store.wants_settling(Shelf::Wheels, "a"));
        assert_eq!(store.settle().expect("settled"), 0, "too young");
        let record = std::fs::File::options()
            .append(true)
            .open(store.record_path(Shelf::Wheels, "a"))
            .expect("a record");
        record
            .set_modified(std::time::SystemTime::now() - Duration::from_secs(61))
            .expect("made older");
        assert!(store.wants_settling(Shelf::Wheels, "a"));
        assert_eq!(store.settle().expect("settled"), 1);
        assert_eq!(store.trust(Shelf::Wheels, "a").expect("a record"), Trust::Synced);
        assert!(!store.wants_settling(Shelf::Wheels, "a"));
    }

    #[test]
    fn only_an_unsynced_object_of_an_earlier_boot_is_distrusted() {
        let record = |machine: &str, boot: &str, synced| CommitRecord {
            schema: SCHEMA,
            machine: machine.to_owned(),
            boot: boot.to_owned(),
            synced,
            contents: None,
        };
        let here = record("m", "b2", false);
        assert_eq!(record("m", "b1", true).trust(&here), Trust::Synced);
        assert_eq!(record("m", "b2", false).trust(&here), Trust::SameBoot);
        assert_eq!(record("m", "b1", false).trust(&here), Trust::Unknown);
        assert_eq!(record("other", "b1", false).trust(&here), Trust::Elsewhere);
        assert_eq!(record("m", "", false).trust(&record("m", "", false)), Trust::Unknown);
    }
}
