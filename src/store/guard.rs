//! Guards: exclusive locks on files, so that two processes do not do the same work twice.
//!
//! A guard dies with its process, so a builder that was killed never blocks the next one. Guard files stay where they
//! are: removing one while another process waits on it would let two processes hold "the same" guard.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use crate::fsx;

/// A held guard; released on drop.
#[must_use]
#[derive(Debug)]
pub struct Guard {
    _file: File,
}

impl Guard {
    /// Takes the exclusive guard at `path`; calls `waiting` once if another process holds it, and waits.
    ///
    /// A file system without locks (`ENOSYS`, `EOPNOTSUPP`: some network file systems) gives a guard that guards
    /// nothing: publication stays atomic by the rename, only work may be done twice.
    pub fn exclusive(path: &Path, waiting: impl FnOnce()) -> io::Result<Self> {
        let file = fsx::open_shared_lock(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                retry_interrupted(|| file.lock())?;
            }
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Self { _file: file })
    }
}

fn retry_interrupted(mut operation: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
