//! A wheel file that is read to be unpacked.
//!
//! One that has just arrived is in the page cache and is read from there. One that lay on disk for long is needed once,
//! and filling fresh page cache with it costs more than reading it, so it is read past the cache, in windows. Members
//! are read front to back by several threads at once, so each thread has a window of its own.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::archive::ReadAt;
use super::unpack;
use crate::bulk::{ALIGN, Block, BulkFile, LARGE};

/// So much is read at once.
const WINDOW: usize = 1 << 20;

/// A wheel file.
pub(crate) struct WheelFile {
    file: BulkFile,
    len: u64,
    /// One for each thread that writes members, and one for all others. None for files that are small or in the page
    /// cache, which are read as asked.
    windows: Vec<Mutex<Window>>,
}

/// Bytes of the file from `start` on.
#[derive(Default)]
struct Window {
    block: Option<Block>,
    start: u64,
    len: usize,
}

impl WheelFile {
    /// Opens the file at `path`; `fresh` says that it was written a moment ago.
    pub(crate) fn open(path: &Path, fresh: bool) -> io::Result<Self> {
        let plain = File::open(path)?;
        let len = plain.metadata()?.len();
        if len < LARGE || fresh {
            let file = BulkFile::plain_only(plain);
            return Ok(Self {
                file,
                len,
                windows: Vec::new(),
            });
        }
        Ok(Self {
            file: BulkFile::new(plain, path),
            len,
            windows: (0..=unpack::threads()).map(|_| Mutex::default()).collect(),
        })
    }
}

impl Window {
    /// The bytes from `offset` on, as far as they are here.
    fn at(&self, offset: u64) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let bytes = self.block.as_ref()?.bytes().get(from..self.len)?;
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Reads the bytes around `offset`, which is before the file's end.
    fn load(&mut self, file: &WheelFile, offset: u64) -> io::Result<()> {
        let start = offset - offset % ALIGN as u64;
        let len = usize::try_from(file.len - start).unwrap_or(WINDOW).min(WINDOW);
        let block = self.block.get_or_insert_with(|| Block::new(WINDOW));
        self.len = 0;
        file.file.read_exact_at(&mut block.bytes_mut()[..len], start)?;
        (self.start, self.len) = (start, len);
        Ok(())
    }
}

impl ReadAt for WheelFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let own = rayon::current_thread_index().map_or(0, |index| index + 1);
        let Some(window) = self.windows.get(own).or(self.windows.first()) else {
            use std::os::unix::fs::FileExt as _;
            return self.file.plain().read_exact_at(buffer, offset);
        };
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            if window.at(at).is_none() {
                window.load(self, at)?;
            }
            let bytes = window.at(at).ok_or(io::ErrorKind::UnexpectedEof)?;
            let count = bytes.len().min(buffer.len() - done);
            buffer[done..done + count].copy_from_slice(&bytes[..count]);
            done += count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_is_read_and_none_beyond_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        for (len, fresh) in [
            (10_usize, false),
            (5 << 20, false),
            ((5 << 20) + 17, false),
            (5 << 20, true),
        ] {
            let path = folder.path().join(len.to_string());
            let bytes: Vec<u8> = (0..len).map(|n| u8::try_from(n * 7 % 251).expect("small")).collect();
            std::fs::write(&path, &bytes).expect("written");
            let file = WheelFile::open(&path, fresh).expect("opened");
            assert_eq!(ReadAt::len(&file), len as u64);
            for (offset, count) in [(0, 10), (len - 7, 7), (len / 2 + 1, len / 3), (0, len), (len, 0)] {
                let mut read = vec![0; count];
                file.read_exact_at(&mut read, offset as u64).expect("read");
                assert!(read == bytes[offset..offset + count], "{len} {offset} {count}");
            }
            for (offset, count) in [(len as u64, 1), (u64::MAX, 2), (len as u64 - 3, 4)] {
                let read = file.read_exact_at(&mut vec![0; count], offset);
                assert_eq!(read.expect_err("too far").kind(), io::ErrorKind::UnexpectedEof);
            }
        }
    }
}
