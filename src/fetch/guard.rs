//! The guard of one download: whoever holds it may write the wheel's part; everybody else waits and then finds the
//! wheel.
//!
//! The file is deleted while the guard is still held, so that none pile up. A waiter may therefore win a file that has
//! just been deleted; it notices, because the path then leads to another file or to none, and starts over.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fsx::{self, PathContext as _, PathError};

/// How often a waiter looks again. Waiting in the kernel could not be given up when another wheel fails.
const POLL: Duration = Duration::from_millis(50);

/// Held until dropped; a process that dies releases it.
#[derive(Debug)]
pub(super) struct Guard {
    path: PathBuf,
    /// `None` where the file system has no guards.
    file: Option<File>,
}

impl Guard {
    /// Takes the guard at `path`. `waiting` is called before each look at a guard that somebody holds, with whether it
    /// is the first; it says whether to go on waiting, and `None` comes back where it does not.
    pub(super) fn take(path: &Path, mut waiting: impl FnMut(bool) -> bool) -> Result<Option<Self>, PathError> {
        let mut first = true;
        loop {
            let file = fsx::open_shared_lock(path).at("open for writing", path)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, path)? => {
                    return Ok(Some(Self {
                        path: path.to_owned(),
                        file: Some(file),
                    }));
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    if !waiting(first) {
                        return Ok(None);
                    }
                    first = false;
                    std::thread::sleep(POLL);
                }
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(TryLockError::Error(error)) if fsx::has_no_locks(&error) => {
                    return Ok(Some(Self {
                        path: path.to_owned(),
                        file: None,
                    }));
                }
                Err(TryLockError::Error(error)) => return Err(error).at("lock", path),
            }
        }
    }

    /// Whether others are kept out. Where not, nobody may rely on a name that others use too.
    pub(super) fn is_exclusive(&self) -> bool {
        self.file.is_some()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A leftover file is only debris, and held by nobody.
        std::fs::remove_file(&self.path).ok();
    }
}

/// Whether `path` still leads to the open file.
fn is_at(file: &File, path: &Path) -> Result<bool, PathError> {
    let open = file.metadata().at("look at", path)?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("look at", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_waits_for_the_first_and_nothing_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.guard");
        let held = Guard::take(&path, |_| true).expect("taken").expect("free");
        assert!(held.is_exclusive());
        let given_up = Guard::take(&path, |_| false).expect("looked");
        assert!(given_up.is_none());

        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (said, heard) = std::sync::mpsc::channel();
            for _ in 0..8 {
                let (inside, path, said) = (&inside, &path, said.clone());
                scope.spawn(move || {
                    let guard = Guard::take(path, |first| {
                        if first {
                            said.send(()).expect("heard");
                        }
                        true
                    });
                    let _guard = guard.expect("taken").expect("waited");
                    assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    std::thread::yield_now();
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                });
            }
            for _ in 0..8 {
                heard.recv().expect("a waiter says so");
            }
            drop(held);
        });
        assert!(!path.exists());
    }
}
