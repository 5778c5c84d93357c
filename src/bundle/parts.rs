//! One long file, or the parts that it was cut into: `<file>.001`, `<file>.002`, …
//!
//! Parts are written under hidden names and renamed when all are complete, the first one last: it is the one that is
//! asked for. Whoever reads needs no list of them: the next part is the next number.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::BundleError;
use crate::fsx::PathContext as _;

/// `<file>.<number>`.
fn numbered(file: &Path, number: u32) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{number:03}"));
    file.with_file_name(name)
}

/// Where a file is written before it is complete.
fn hidden(file: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".partial");
    file.with_file_name(name)
}

/// Writes one file, or parts of at most so many bytes.
#[derive(Debug)]
pub(super) struct PartsWriter {
    file: PathBuf,
    limit: Option<u64>,
    current: File,
    /// Bytes in the current part.
    written: u64,
    /// The number of the current part.
    number: u32,
    /// The first part: its lock keeps other writers out.
    _lock: File,
}

impl PartsWriter {
    /// Starts to write `file`.
    pub(super) fn create(file: &Path, limit: Option<u64>) -> Result<Self, BundleError> {
        let first = hidden(&if limit.is_some() {
            numbered(file, 1)
        } else {
            file.to_owned()
        });
        let options = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .clone();
        let current = options.open(&first).at("create", &first)?;
        match current.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) => return Err(BundleError::Busy(file.to_owned())),
            // Without guards the last one wins.
            Ok(()) | Err(std::fs::TryLockError::Error(_)) => {}
        }
        current.set_len(0).at("empty", &first)?;
        let lock = current.try_clone().at("open", &first)?;
        Ok(Self {
            file: file.to_owned(),
            limit,
            current,
            written: 0,
            number: 1,
            _lock: lock,
        })
    }

    /// Makes the file, or its parts, visible; returns their paths. Parts of an earlier, longer file go.
    pub(super) fn finish(self) -> Result<Vec<PathBuf>, BundleError> {
        self.current.sync_all().at("sync", &self.file)?;
        let paths: Vec<PathBuf> = match self.limit {
            None => vec![self.file.clone()],
            Some(_) => (1..=self.number).map(|number| numbered(&self.file, number)).collect(),
        };
        for path in paths.iter().rev() {
            std::fs::rename(hidden(path), path).at("move a part to", path)?;
        }
        let later = if self.limit.is_some() { self.number + 1 } else { 1 };
        for number in later.. {
            if std::fs::remove_file(numbered(&self.file, number)).is_err() {
                break;
            }
        }
        if self.limit.is_some() {
            std::fs::remove_file(&self.file).ok();
        }
        Ok(paths)
    }

    /// Takes away what was written.
    pub(super) fn discard(self) {
        let paths = match self.limit {
            None => vec![self.file.clone()],
            Some(_) => (1..=self.number).map(|number| numbered(&self.file, number)).collect(),
        };
        for path in paths {
            std::fs::remove_file(hidden(&path)).ok();
        }
    }
}

impl Write for PartsWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut room = bytes.len();
        if let Some(limit) = self.limit {
            if self.written >= limit {
                self.current.sync_all()?;
                self.number += 1;
                self.current = File::create(hidden(&numbered(&self.file, self.number)))?;
                self.written = 0;
            }
            room = room.min(usize::try_from(limit - self.written).unwrap_or(usize::MAX));
        }
        let count = self.current.write(&bytes[..room])?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.current.flush()
    }
}

/// Reads one file, or its parts one after the other.
#[derive(Debug)]
pub(super) struct PartsReader {
    current: File,
    path: PathBuf,
    /// The file that was cut, and the number of the next part.
    next: Option<(PathBuf, u32)>,
}

impl PartsReader {
    /// Opens `path`: a file, the first part of one, or the name that its parts have in common.
    pub(super) fn open(path: &Path) -> Result<Self, BundleError> {
        let first = numbered(path, 1);
        let whole = path
            .extension()
            .is_some_and(|end| end == "001")
            .then(|| path.with_extension(""));
        let (path, next) = match whole {
            Some(whole) if path.is_file() => (path.to_owned(), Some((whole, 2))),
            None if !path.exists() && first.is_file() => (first, Some((path.to_owned(), 2))),
            _ => (path.to_owned(), None),
        };
        let current = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BundleError::Missing(path)),
            other => other.at("open", &path)?,
        };
        Ok(Self { current, path, next })
    }

    /// The part that is being read, and the one that would follow.
    pub(super) fn place(&self) -> (PathBuf, Option<PathBuf>) {
        let next = self.next.as_ref().map(|(whole, number)| numbered(whole, *number));
        (self.path.clone(), next)
    }

    fn turn(&mut self) -> io::Result<bool> {
        let Some((whole, number)) = &mut self.next else {
            return Ok(false);
        };
        let path = numbered(whole, *number);
        match File::open(&path) {
            Ok(file) => {
                (self.current, self.path) = (file, path);
                *number += 1;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Leaves out so many bytes without reading them.
    pub(super) fn skip(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let at = self.current.stream_position()?;
            let rest = self.current.metadata()?.len().saturating_sub(at);
            let step = rest.min(count);
            self.current.seek(SeekFrom::Start(at + step))?;
            count -= step;
            if count > 0 && !self.turn()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

impl Read for PartsReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.current.read(buffer)?;
            if count > 0 || buffer.is_empty() || !self.turn()? {
                return Ok(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &Path, limit: Option<u64>, bytes: &[u8]) -> Vec<PathBuf> {
        let mut writer = PartsWriter::create(file, limit).expect("created");
        writer.write_all(bytes).expect("written");
        writer.finish().expect("finished")
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("a folder").flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn parts_join_to_the_file_and_old_ones_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("b.tar");
        let bytes: Vec<u8> = (0..=99).collect();
        for (limit, expected) in [(7, 15), (50, 2), (100, 1), (101, 1)] {
            assert_eq!(write(&file, Some(limit), &bytes).len(), expected);
            assert_eq!(names(folder.path()).len(), expected, "{limit}");
            for path in [file.clone(), numbered(&file, 1)] {
                let mut read = Vec::new();
                PartsReader::open(&path)
                    .expect("opened")
                    .read_to_end(&mut read)
                    .expect("read");
                assert_eq!(read, bytes, "{limit}");
            }
            let mut reader = PartsReader::open(&file).expect("opened");
            reader.skip(60).expect("skipped");
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).expect("read");
            assert_eq!(rest, bytes[60..], "{limit}");
        }
        write(&file, None, &bytes);
        assert_eq!(names(folder.path()), ["b.tar"]);
    }

    #[test]
    fn two_writers_of_one_file_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("b.tar");
        let first = PartsWriter::create(&file, None).expect("created");
        assert!(matches!(PartsWriter::create(&file, None), Err(BundleError::Busy(_))));
        first.discard();
        assert!(names(folder.path()).is_empty());
        assert!(matches!(PartsReader::open(&file), Err(BundleError::Missing(_))));
    }
}
