//! Guards: locks on files, so that two processes do not do the same work twice, and a collection and a build do not
//! meet.
//!
//! A guard dies with its process, so a builder that was killed never blocks the next one. A guard file that is not held
//! may be removed: whoever waited on it finds that its file is gone from the folder and takes the new one.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::fsx;

/// A held guard; released on drop.
#[must_use]
#[derive(Debug)]
pub struct Guard {
    _file: File,
}

/// Opens the file of an exclusive guard and makes it where it is missing. Another user's file serves as well as ours:
/// only some network file systems want it writable.
fn open(path: &Path) -> io::Result<File> {
    match fsx::open_shared_lock(path) {
        Err(error) if is_unwritable(&error) => File::open(path).map_err(|_| error),
        opened => opened,
    }
}

/// Whether the open file is still the one that the path leads to.
fn is_current(file: &File, path: &Path) -> io::Result<bool> {
    let (ours, there) = (file.metadata()?, std::fs::metadata(path));
    match there {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Guard {
    /// Takes the exclusive guard at `path`; calls `waiting` once if another process holds it, and waits.
    ///
    /// A file system without locks (`ENOSYS`, `EOPNOTSUPP`: some network file systems) gives a guard that guards
    /// nothing: publication stays atomic by the rename, only work may be done twice.
    pub fn exclusive(path: &Path, waiting: impl FnOnce()) -> io::Result<Self> {
        let mut waiting = Some(waiting);
        loop {
            let file = open(path)?;
            let told = || {
                if let Some(waiting) = waiting.take() {
                    waiting();
                }
            };
            if !take(|| file.try_lock(), || file.lock(), told)? || is_current(&file, path)? {
                return Ok(Self { _file: file });
            }
        }
    }

    /// As [`Guard::exclusive`], but an error of the kind `Unsupported` where the file system has no locks: for whoever
    /// deletes, and so may not guard nothing.
    pub fn certain(path: &Path, waiting: impl FnOnce()) -> io::Result<Self> {
        let file = open(path)?;
        match file.try_lock() {
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => file.unlock()?,
            Err(TryLockError::WouldBlock) => {}
        }
        drop(file);
        Self::exclusive(path, waiting)
    }

    /// Takes a shared guard, and waits for whoever holds it exclusively. A file that cannot be made (the store is
    /// read-only) gives none, and one without locks guards nothing.
    pub fn shared(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let made = fsx::open_shared_lock(path);
                    match made {
                        Err(error) if is_unwritable(&error) => return Ok(None),
                        made => made?,
                    }
                }
                opened => opened?,
            };
            match retry_interrupted(|| file.lock_shared()) {
                Err(error) if fsx::has_no_locks(&error) => return Ok(None),
                locked => locked?,
            }
            if is_current(&file, path)? {
                return Ok(Some(Self { _file: file }));
            }
        }
    }

    /// Takes the exclusive guard of a file that exists, without waiting; none where somebody holds it.
    pub fn try_exclusive(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(is_current(&file, path)?.then_some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Whether the error says that this user, or anybody, cannot write here.
fn is_unwritable(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(
        error.kind(),
        NotFound | PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    )
}

/// Takes a lock by these two ways of asking for it. `false`: the file system has no locks.
fn take(
    mut try_lock: impl FnMut() -> Result<(), TryLockError>,
    lock: impl FnMut() -> io::Result<()>,
    waiting: impl FnOnce(),
) -> io::Result<bool> {
    loop {
        return match try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => {
                waiting();
                retry_interrupted(lock).map(|()| true)
            }
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(TryLockError::Error(error)) if fsx::has_no_locks(&error) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        };
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

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn failing(errno: Errno) -> TryLockError {
        TryLockError::Error(errno.into())
    }

    #[test]
    fn f06_file_systems_without_locks_and_signals_are_no_errors() {
        for errno in [Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOLCK] {
            let taken = take(
                || Err(failing(errno)),
                || panic!("it must not wait"),
                || panic!("nobody has it"),
            );
            assert!(!taken.expect("no error"), "there is no lock");
        }
        let mut answers = vec![Ok(()), Err(failing(Errno::INTR)), Err(failing(Errno::INTR))];
        take(|| answers.pop().expect("asked three times"), || Ok(()), || ()).expect("a guard");
        let mut waits = vec![Ok(()), Err(Errno::INTR.into())];
        let mut said = 0;
        let wait = || waits.pop().expect("waited twice");
        take(|| Err(TryLockError::WouldBlock), wait, || said += 1).expect("a guard");
        assert_eq!(said, 1);
        let error = take(|| Err(failing(Errno::IO)), || Ok(()), || ()).expect_err("a broken disk");
        assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
    }

    #[test]
    fn whoever_waited_on_a_removed_file_takes_the_new_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("guard");
        let first = Guard::exclusive(&path, || {}).expect("free");
        let waiter = {
            let path = path.clone();
            std::thread::spawn(move || Guard::exclusive(&path, || {}).expect("taken"))
        };
        std::fs::remove_file(&path).expect("it is there");
        drop(first);
        let second = waiter.join().expect("it ends");
        assert!(Guard::try_exclusive(&path).expect("there").is_none(), "two hold it");
        drop(second);
        assert!(Guard::try_exclusive(&path).expect("there").is_some());
    }

    #[test]
    fn shared_guards_keep_out_exclusive_ones_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gate");
        let one = Guard::shared(&path).expect("taken").expect("a file");
        let two = Guard::shared(&path).expect("taken").expect("a file");
        assert!(Guard::try_exclusive(&path).expect("there").is_none());
        drop((one, two));
        let _certain = Guard::certain(&path, || {}).expect("taken");
        assert!(Guard::try_exclusive(&path).expect("there").is_none());
        assert!(
            Guard::shared(&folder.path().join("none/gate"))
                .expect("no error")
                .is_none()
        );
    }
}
