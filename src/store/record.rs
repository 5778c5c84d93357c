//! Commit records: what is known of an object's way to the disk.
//!
//! A record lies outside the object, in `records/<shelf>-<name>.json`, and names the machine and its boot. An object
//! that was not synced before a crash of that machine must be verified before it is used again; one of the same boot,
//! or of another machine (whose boot is not ours to judge), is taken as it is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Shelf, Store, StoreError};
use crate::fsx;

/// The form of a record.
const SCHEMA: u32 = 1;

/// One object's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    schema: u32,
    /// `/etc/machine-id`, or empty.
    machine: String,
    /// The kernel's boot id, or empty.
    boot: String,
    /// Whether the object is known to be on disk.
    synced: bool,
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

impl CommitRecord {
    fn now(synced: bool) -> Self {
        Self {
            schema: SCHEMA,
            machine: one_line("/etc/machine-id"),
            boot: one_line("/proc/sys/kernel/random/boot_id"),
            synced,
        }
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

impl Store {
    fn record_path(&self, shelf: Shelf, name: &str) -> PathBuf {
        self.root()
            .join("records")
            .join(format!("{}-{name}.json", shelf.folder()))
    }

    pub(super) fn write_record(&self, shelf: Shelf, name: &str, synced: bool) -> Result<(), StoreError> {
        let mut bytes = serde_json::to_vec(&CommitRecord::now(synced)).unwrap_or_default();
        bytes.push(b'\n');
        Ok(fsx::write_atomic(&self.record_path(shelf, name), &bytes)?)
    }

    /// What the record of an object says. A record that is absent or garbled is no reason to stop: the object is
    /// verified instead.
    pub fn trust(&self, shelf: Shelf, name: &str) -> Result<Trust, StoreError> {
        let bytes = fsx::read_if_exists(&self.record_path(shelf, name))?.unwrap_or_default();
        let record: Option<CommitRecord> = serde_json::from_slice(&bytes).ok();
        Ok(match record {
            Some(record) if record.schema == SCHEMA => record.trust(&CommitRecord::now(false)),
            _ => Trust::Unknown,
        })
    }

    /// Marks an object that was verified, or synced, as being on disk.
    pub fn mark_synced(&self, shelf: Shelf, name: &str) -> Result<(), StoreError> {
        self.write_record(shelf, name, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unsynced_object_of_an_earlier_boot_is_distrusted() {
        let record = |machine: &str, boot: &str, synced| CommitRecord {
            schema: SCHEMA,
            machine: machine.to_owned(),
            boot: boot.to_owned(),
            synced,
        };
        let here = record("m", "b2", false);
        assert_eq!(record("m", "b1", true).trust(&here), Trust::Synced);
        assert_eq!(record("m", "b2", false).trust(&here), Trust::SameBoot);
        assert_eq!(record("m", "b1", false).trust(&here), Trust::Unknown);
        assert_eq!(record("other", "b1", false).trust(&here), Trust::Elsewhere);
        assert_eq!(record("m", "", false).trust(&record("m", "", false)), Trust::Unknown);
    }
}
