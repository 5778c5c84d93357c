//! What ran out: bytes, files (inodes), a quota, or the size that one file may have.
//!
//! Owns: telling these apart, and the words for each. The system is asked at the moment of the failure, about the very
//! path: what is cleaned up on the way out would make a full disk look empty, and the store need not be on the disk that
//! is full.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use crate::ui::human_bytes;

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    /// Bytes of the file system.
    Bytes,
    /// Files of the file system: it has bytes, and no inodes.
    Files,
    /// The user's, group's or project's quota.
    Quota,
    /// The size that one file may have, in bytes where the process is limited.
    FileSize(Option<u64>),
}

/// Too little of something, at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    place: PathBuf,
    lack: Lack,
    needed: Option<u64>,
    free: Option<u64>,
}

impl Shortage {
    /// What an error of the system means that came up while `path` was written; none where nothing ran out.
    #[must_use]
    pub fn of(error: &io::Error, path: &Path) -> Option<Self> {
        if let Some(known) = Self::in_io(error) {
            return Some(known.clone());
        }
        let room = Room::at(path);
        let lack = match error.kind() {
            io::ErrorKind::StorageFull => room.lack(),
            io::ErrorKind::QuotaExceeded => Lack::Quota,
            io::ErrorKind::FileTooLarge => Lack::FileSize(getrlimit(Resource::Fsize).current),
            _ => return None,
        };
        Some(Self {
            place: path.to_owned(),
            lack,
            needed: None,
            free: room.bytes,
        })
    }

    /// What was found out before anything was written.
    #[must_use]
    pub fn expected(place: &Path, needed: u64, free: u64) -> Self {
        Self {
            place: place.to_owned(),
            lack: Lack::Bytes,
            needed: Some(needed),
            free: Some(free),
        }
    }

    /// The same about a folder that `needed` bytes are to be written to. What was half done is gone since, so it is asked
    /// again what is free; where that would do, the estimate was wrong, and what was found at first stands.
    #[must_use]
    pub fn of_folder(&self, place: &Path, needed: u64) -> Self {
        match Room::at(place).bytes {
            Some(free) if free < needed => Self::expected(place, needed, free),
            _ => Self {
                place: place.to_owned(),
                ..self.clone()
            },
        }
    }

    /// Whether more bytes on the file system are what is needed.
    #[must_use]
    pub fn is_of_bytes(&self) -> bool {
        self.lack == Lack::Bytes
    }

    /// Whether it says how many.
    #[must_use]
    pub fn has_figures(&self) -> bool {
        self.needed.is_some()
    }

    /// Whether `other` is on the same file system.
    #[must_use]
    pub fn is_about(&self, other: &Path) -> bool {
        let device = |path: &Path| {
            use std::os::unix::fs::MetadataExt as _;
            existing(path).and_then(|path| Some(std::fs::metadata(path).ok()?.dev()))
        };
        device(&self.place).is_some_and(|own| device(other) == Some(own))
    }

    /// The shortage that an error was found to mean when it came up; see [`crate::fsx::PathContext`].
    #[must_use]
    pub fn in_io(error: &io::Error) -> Option<&Self> {
        Some(&error.get_ref()?.downcast_ref::<Told>()?.shortage)
    }

    /// The first shortage among an error and its causes.
    #[must_use]
    pub fn among<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            let found = error
                .downcast_ref::<Self>()
                .or_else(|| error.downcast_ref::<io::Error>().and_then(Self::in_io));
            if found.is_some() {
                return found;
            }
            next = error.source();
        }
        None
    }

    /// What to do; `elsewhere` says how to write to another file system.
    #[must_use]
    pub fn hint(&self, elsewhere: &str) -> String {
        match self.lack {
            Lack::Bytes => {
                let more = self
                    .needed
                    .zip(self.free)
                    .map(|(needed, free)| needed.saturating_sub(free));
                match more.filter(|more| *more > 0) {
                    Some(more) => format!("free {}, or {elsewhere}", human_bytes(more)),
                    None => format!("free some space, or {elsewhere}"),
                }
            }
            Lack::Files => format!("free some files (see `df -i`), or {elsewhere}"),
            Lack::Quota => format!("free some of your quota (see `quota`), or {elsewhere}"),
            Lack::FileSize(Some(_)) => {
                "raise the limit with `ulimit -f unlimited`, then run the same command again".to_owned()
            }
            Lack::FileSize(None) => elsewhere.to_owned(),
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.display();
        match (self.lack, self.needed, self.free) {
            (Lack::Bytes, Some(needed), Some(free)) => write!(
                formatter,
                "{} are needed in {place}, and {} are free",
                human_bytes(needed),
                human_bytes(free)
            ),
            (Lack::Bytes, _, Some(free)) => {
                write!(
                    formatter,
                    "there is no space left for {place} ({} are free)",
                    human_bytes(free)
                )
            }
            (Lack::Bytes, ..) => write!(formatter, "there is no space left for {place}"),
            (Lack::Files, _, Some(free)) => write!(
                formatter,
                "the file system of {place} can hold no more files (no inodes are free), though {} are free",
                human_bytes(free)
            ),
            (Lack::Files, ..) => write!(formatter, "the file system of {place} can hold no more files"),
            (Lack::Quota, ..) => write!(formatter, "the disk quota for {place} is used up"),
            (Lack::FileSize(Some(limit)), ..) => write!(
                formatter,
                "{place} is larger than this process may write ({}, see `ulimit -f`)",
                human_bytes(limit)
            ),
            (Lack::FileSize(None), ..) => write!(formatter, "{place} is larger than its file system can hold"),
        }
    }
}

impl StdError for Shortage {}

/// An error of the system with what it means: the words are the shortage's.
#[derive(Debug)]
struct Told {
    shortage: Shortage,
    source: io::Error,
}

impl fmt::Display for Told {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shortage.fmt(formatter)
    }
}

impl StdError for Told {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}

/// The same error, of the same kind; where something ran out, it says what.
#[must_use]
pub fn told(error: io::Error, path: &Path) -> io::Error {
    match Shortage::of(&error, path) {
        Some(shortage) if Shortage::in_io(&error).is_none() => io::Error::new(
            error.kind(),
            Told {
                shortage,
                source: error,
            },
        ),
        _ => error,
    }
}

/// What a file system has left for an unprivileged process.
#[derive(Debug, Clone, Copy, Default)]
struct Room {
    bytes: Option<u64>,
    /// Where the file system counts files.
    files: Option<u64>,
}

impl Room {
    fn at(path: &Path) -> Self {
        let Some(stat) = existing(path).and_then(|path| rustix::fs::statvfs(path).ok()) else {
            return Self::default();
        };
        Self {
            bytes: Some(stat.f_bavail.saturating_mul(stat.f_frsize)),
            files: (stat.f_files > 0).then_some(stat.f_favail),
        }
    }

    /// What lacks where the system says that there is no space. Another process, or this one, may have given back a
    /// little since, so few files count as none unless bytes are scarcer.
    fn lack(self) -> Lack {
        /// An environment has thousands of files.
        const FEW: u64 = 64;
        /// The smallest wheels take this much.
        const LITTLE: u64 = 64 << 10;
        let bytes = self.bytes.is_some_and(|bytes| bytes < LITTLE);
        match self.files {
            Some(0) => Lack::Files,
            Some(files) if files < FEW && !bytes => Lack::Files,
            _ => Lack::Bytes,
        }
    }
}

/// The nearest place on the way to `path` that is there.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn shortage(errno: Errno) -> Option<Shortage> {
        Shortage::of(&errno.into(), Path::new("/nonexistent/x"))
    }

    #[test]
    fn each_error_of_the_system_has_words_and_a_hint_of_its_own() {
        let quota = shortage(Errno::DQUOT).expect("a shortage");
        assert_eq!(quota.to_string(), "the disk quota for /nonexistent/x is used up");
        assert_eq!(
            quota.hint("write elsewhere"),
            "free some of your quota (see `quota`), or write elsewhere"
        );
        let size = shortage(Errno::FBIG).expect("a shortage");
        assert!(size.to_string().starts_with("/nonexistent/x is larger than"), "{size}");
        assert!(!size.hint("--store-dir").contains("free "));
        assert!(shortage(Errno::NOSPC).is_some() && shortage(Errno::IO).is_none() && shortage(Errno::ROFS).is_none());
    }

    #[test]
    fn bytes_are_told_from_files() {
        let room = |bytes, files| Room {
            bytes: Some(bytes),
            files,
        };
        for (room, lack) in [
            (room(0, Some(10)), Lack::Bytes),
            (room(1 << 30, Some(0)), Lack::Files),
            (room(0, Some(0)), Lack::Files),
            (room(1 << 30, Some(3)), Lack::Files),
            (room(1 << 30, Some(1 << 20)), Lack::Bytes),
            (room(0, None), Lack::Bytes),
            (Room::default(), Lack::Bytes),
        ] {
            assert_eq!(room.lack(), lack, "{room:?}");
        }
    }

    #[test]
    fn sizes_are_for_people() {
        let expected = Shortage::expected(Path::new("/store"), 6_100_000_000, 12_600_000);
        assert_eq!(expected.to_string(), "6.1 GB are needed in /store, and 13 MB are free");
        assert_eq!(expected.hint("write elsewhere"), "free 6.1 GB, or write elsewhere");
        let enough = Shortage::expected(Path::new("/store"), 1, 2);
        assert!(enough.hint("--store-dir").starts_with("free some space"));
    }

    #[test]
    fn a_told_error_keeps_its_kind_and_is_told_once() {
        let error = told(Errno::NOSPC.into(), Path::new("/nonexistent"));
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let again = told(error, Path::new("/elsewhere"));
        assert_eq!(Shortage::in_io(&again).expect("told").place, Path::new("/nonexistent"));
        let other = told(Errno::IO.into(), Path::new("/"));
        assert_eq!(other.raw_os_error(), Some(Errno::IO.raw_os_error()));
    }
}
