//! Staging folders: where an object is written before it becomes visible.
//!
//! A staging folder is `tmp/stage-<random>`, and its process holds a lock on the folder itself for as long as it needs
//! it. So a collection tells a living builder's staging from debris without knowing any process, and debris is free the
//! moment its process dies. The folder is made and locked under the gate, so that no collection comes in between.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Store, StoreError};
use crate::fsx::{self, PathContext as _};

/// A folder under `tmp/`; dropped means deleted.
#[must_use]
#[derive(Debug)]
pub struct Staging {
    path: Option<PathBuf>,
    sealed: bool,
    /// What the object is made of, for its commit record.
    pub(super) contents: Option<serde_json::Value>,
    /// Held until the end. After a publication by exchange it is the published folder that is locked, which harms
    /// nobody, and what was replaced is debris already.
    _lock: File,
}

/// How the lock of a folder under `tmp/` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tenant {
    /// Some process works in it.
    Living,
    /// Nobody does.
    Nobody,
    /// The file system cannot tell.
    Unknown,
}

impl Store {
    /// A new staging folder.
    pub fn stage(&self) -> Result<Staging, StoreError> {
        let tmp = self.root().join("tmp");
        let _gate = self.gate()?;
        let folder = tempfile::Builder::new()
            .prefix("stage-")
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir_in(&tmp)
            .at("create a folder in", &tmp)?;
        let lock = File::open(folder.path()).at("open", folder.path())?;
        match lock.try_lock() {
            // Some network file systems lock no folders; a collection then goes by age.
            Ok(()) | Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
        crate::checkpoint::reach("store.staged");
        Ok(Staging {
            path: Some(folder.keep()),
            sealed: false,
            contents: None,
            _lock: lock,
        })
    }
}

/// Whether somebody works in a folder (or on a file) under `tmp/`.
pub(crate) fn tenant(path: &Path) -> io::Result<Tenant> {
    match File::open(path)?.try_lock() {
        Ok(()) => Ok(Tenant::Nobody),
        Err(TryLockError::WouldBlock) => Ok(Tenant::Living),
        Err(TryLockError::Error(_)) => Ok(Tenant::Unknown),
    }
}

impl Staging {
    /// Says what the object is made of; its commit record keeps that.
    pub fn describe(&mut self, contents: serde_json::Value) {
        self.contents = Some(contents);
    }

    /// The folder.
    ///
    /// # Panics
    /// Never: the path is only taken by the commit, which consumes the staging.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.path
            .as_deref()
            .expect("a staging has its folder until it is committed")
    }

    /// Says that every folder below is read-only already, so that committing need not walk them.
    pub fn mark_sealed(&mut self) {
        self.sealed = true;
    }

    /// Makes every folder below read-only; the folder itself stays writable for the rename.
    pub(super) fn seal(&self) -> Result<(), StoreError> {
        if self.sealed {
            return Ok(());
        }
        Ok(super::seal_below(self.path())?)
    }

    /// The folder has become visible under another name.
    pub(super) fn published(&mut self) {
        self.path = None;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What cannot be removed is debris under tmp/, which a later collection takes.
            fsx::remove_tree(path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_a_staging_is_locked_while_it_lives_and_free_when_it_is_debris() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path().to_owned());
        store.prepare().expect("prepared");
        let staging = store.stage().expect("a staging");
        assert_eq!(tenant(staging.path()).expect("there"), Tenant::Living);
        let path = staging.path().to_owned();
        drop(staging);
        assert!(!path.exists());
        std::fs::create_dir(&path).expect("a folder");
        assert_eq!(tenant(&path).expect("there"), Tenant::Nobody);
    }
}
