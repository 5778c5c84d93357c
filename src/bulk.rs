//! Large files past the page cache.
//!
//! Filling fresh page cache costs processor time, on virtual machines above all: 2 s of system time for 1 GB, where the
//! same with `O_DIRECT` takes 0.2 s (ext4, Linux 6.18). But who writes past the cache waits for the disk. So the
//! large members of wheels, which are written once and read much later, go past it as long as few are written at a
//! time, and through it beside those; and what is read once, in order, is read past it.
//!
//! Owns: aligned memory, reading and writing front to back of which the aligned part goes directly and the rest through
//! the cache. Where the file system refuses `O_DIRECT`, everything goes through the cache and nothing else changes.
//! Source: open(2) on `O_DIRECT`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Offsets, lengths and memory of direct operations are multiples of this: no disk has larger logical blocks.
pub const ALIGN: usize = 4096;

/// Files below this size gain nothing: opening them twice costs more than the copy.
pub const LARGE: u64 = 4 << 20;

/// Sequential files are written and read in blocks of this size.
const BLOCK: usize = 1 << 20;

/// Memory of a fixed length that starts at a multiple of [`ALIGN`].
#[derive(Debug)]
pub struct Block {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Block {
    /// `len` zero bytes.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let memory = vec![0; len + ALIGN];
        // `align_offset` may decline; unaligned memory is only slower, since the kernel refuses it and we fall back.
        let start = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { memory, start, len }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    /// The bytes, to be filled.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

/// An open file with a second, direct way to its bytes.
#[derive(Debug)]
pub struct BulkFile {
    plain: File,
    direct: Option<File>,
    /// Whether the direct way has failed, so that it is not tried for every block.
    refused: AtomicBool,
}

impl BulkFile {
    /// Adds the direct way to the file that is open for reading as `plain` and stands at `path`. Where `path` leads
    /// elsewhere by now, or cannot be opened so, there is only the plain way.
    #[must_use]
    pub fn new(plain: File, path: &Path) -> Self {
        let direct = open_direct(path).filter(|direct| is_same(&plain, direct));
        Self {
            plain,
            direct,
            refused: AtomicBool::new(false),
        }
    }

    /// The file without a direct way.
    #[must_use]
    pub fn plain_only(plain: File) -> Self {
        Self {
            plain,
            direct: None,
            refused: AtomicBool::new(false),
        }
    }

    /// The plain way.
    #[must_use]
    pub fn plain(&self) -> &File {
        &self.plain
    }

    fn direct(&self) -> Option<&File> {
        self.direct.as_ref().filter(|_| !self.refused.load(Ordering::Relaxed))
    }

    /// Fills `bytes` from `offset` on. Directly as far as memory, offset and length are aligned.
    pub fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let done = self.read_directly(bytes, offset)?;
        self.plain.read_exact_at(&mut bytes[done..], offset + done as u64)
    }

    /// Reads whole blocks directly and returns how many bytes that were: none where memory, offset or file system are
    /// not fit for it.
    fn read_directly(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        let Some(direct) = self.direct().filter(|_| offset.is_multiple_of(ALIGN as u64)) else {
            return Ok(done);
        };
        let whole = bytes.len() - bytes.len() % ALIGN;
        while done < whole {
            match direct.read_at(&mut bytes[done..whole], offset + done as u64) {
                Ok(count) if count > 0 && count.is_multiple_of(ALIGN) => done += count,
                // It ended in the middle of a block: the rest goes the plain way.
                Ok(count) => return Ok(done + count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.refused.store(true, Ordering::Relaxed);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// The files that are written directly at this time.
static DIRECT: AtomicUsize = AtomicUsize::new(0);

/// The right to write one file directly, given back when dropped.
#[derive(Debug)]
struct Turn;

impl Turn {
    /// There are as many turns as processors: with more, all threads wait for the disk while processors have nothing to
    /// do.
    fn take() -> Option<Self> {
        let turns = crate::threads::processors();
        let more = |taken: usize| (taken < turns).then_some(taken + 1);
        DIRECT
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .ok()
            .map(|_| Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        DIRECT.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Writes a new file front to back, directly as far as it can be. What is written counts once [`Writer::finish`] was
/// called.
#[derive(Debug)]
pub struct Writer {
    file: File,
    /// None where the file is written the plain way, from the start or since the file system refused.
    block: Option<(Block, Turn)>,
    filled: usize,
}

impl Writer {
    /// Wraps an empty file that nobody else writes. Files that will be smaller than [`LARGE`] are written the plain
    /// way, and so are large ones while there are others enough that are written directly.
    #[must_use]
    pub fn new(file: File, size: u64) -> Self {
        let turn = (size >= LARGE).then(Turn::take).flatten();
        let turn = turn.filter(|_| set_direct(&file, true));
        let block = turn.map(|turn| (Block::new(BLOCK), turn));
        Self { file, block, filled: 0 }
    }

    /// Writes what is left and returns the file, for its time to be set.
    pub fn finish(mut self) -> io::Result<File> {
        if let Some((block, _turn)) = self.block.take() {
            // No more than a block, of which the end is hardly ever aligned.
            set_direct(&self.file, false);
            self.file.write_all(&block.bytes()[..self.filled])?;
        }
        Ok(self.file)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some((block, _)) = &mut self.block else {
            return self.file.write(bytes);
        };
        let count = bytes.len().min(BLOCK - self.filled);
        block.bytes_mut()[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        if self.filled == BLOCK {
            let mut written = 0;
            while written < BLOCK {
                match self.file.write(&block.bytes()[written..]) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(more) => written += more,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // The file system took the flag and refuses the deed.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput && set_direct(&self.file, false) => {
                        self.file.write_all(&block.bytes()[written..])?;
                        self.block = None;
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            self.filled = 0;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a file front to back for [`Read`], directly as far as it can be.
#[derive(Debug)]
pub struct Reader {
    file: BulkFile,
    len: u64,
    at: u64,
    block: Block,
    filled: std::ops::Range<usize>,
}

impl Reader {
    /// Opens `path`. Small files are read the plain way.
    pub fn open(path: &Path) -> io::Result<Self> {
        let plain = File::open(path)?;
        let len = plain.metadata()?.len();
        let (file, block) = if len >= LARGE {
            (BulkFile::new(plain, path), Block::new(BLOCK))
        } else {
            (BulkFile::plain_only(plain), Block::new(1 << 16))
        };
        Ok(Self {
            file,
            len,
            at: 0,
            block,
            filled: 0..0,
        })
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.filled.is_empty() {
            let room = self.block.bytes().len() as u64;
            let count = usize::try_from(room.min(self.len - self.at)).unwrap_or(0);
            self.file.read_exact_at(&mut self.block.bytes_mut()[..count], self.at)?;
            self.at += count as u64;
            self.filled = 0..count;
        }
        let count = buffer.len().min(self.filled.len());
        let start = self.filled.start;
        buffer[..count].copy_from_slice(&self.block.bytes()[start..start + count]);
        self.filled.start += count;
        Ok(count)
    }
}

/// Turns the direct way of an open file on or off; says whether that worked.
#[cfg(target_os = "linux")]
fn set_direct(file: &File, on: bool) -> bool {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    fcntl_getfl(file)
        .map(|flags| {
            if on {
                flags | OFlags::DIRECT
            } else {
                flags - OFlags::DIRECT
            }
        })
        .is_ok_and(|flags| fcntl_setfl(file, flags).is_ok())
}

#[cfg(not(target_os = "linux"))]
fn set_direct(_file: &File, _on: bool) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> Option<File> {
    let flags = rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::NOFOLLOW;
    let mut options = OpenOptions::new();
    options.read(true);
    options.custom_flags(i32::try_from(flags.bits()).ok()?).open(path).ok()
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path) -> Option<File> {
    None
}

fn is_same(one: &File, other: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    identity(one).is_some() && identity(one) == identity(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_and_unaligned_places_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let contents: Vec<u8> = (0..10 * ALIGN).map(|n| u8::try_from(n % 251).expect("small")).collect();
        std::fs::write(&path, &contents).expect("written");
        let file = BulkFile::new(File::open(&path).expect("opened"), &path);
        let mut block = Block::new(3 * ALIGN);
        assert!((block.bytes().as_ptr() as usize).is_multiple_of(ALIGN));
        for (offset, len) in [(0, 3 * ALIGN), (ALIGN, 100), (7, 3 * ALIGN - 7), (8 * ALIGN, 2 * ALIGN)] {
            let bytes = &mut block.bytes_mut()[..len];
            file.read_exact_at(bytes, offset as u64).expect("read");
            assert_eq!(bytes, &contents[offset..offset + len], "{offset}");
        }
        let beyond = file.read_exact_at(&mut block.bytes_mut()[..ALIGN], 10 * ALIGN as u64);
        assert_eq!(beyond.expect_err("too few").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn sequential_files_have_what_was_written_whatever_their_length() {
        let folder = tempfile::tempdir().expect("a folder");
        let contents: Vec<u8> = (0..3 * BLOCK + 17)
            .map(|n| u8::try_from(n % 253).expect("small"))
            .collect();
        for len in [0, 1, ALIGN, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 17] {
            // Both ways, whatever the length: what is announced is only a hint.
            for announced in [0, LARGE] {
                let path = folder.path().join(format!("{len}-{announced}"));
                let mut writer = Writer::new(File::create(&path).expect("created"), announced);
                for piece in contents[..len].chunks(70_001) {
                    writer.write_all(piece).expect("written");
                }
                drop(writer.finish().expect("finished"));
                assert_eq!(std::fs::read(&path).expect("readable"), &contents[..len], "{len}");
            }
        }
        let path = folder.path().join("large");
        let large = contents.repeat(2);
        std::fs::write(&path, &large).expect("written");
        let mut read = Vec::new();
        Reader::open(&path)
            .expect("opened")
            .read_to_end(&mut read)
            .expect("read");
        assert_eq!(read, large);
    }

    #[test]
    fn another_file_at_the_path_is_never_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, moved) = (folder.path().join("file"), folder.path().join("moved"));
        std::fs::write(&path, vec![1; ALIGN]).expect("written");
        let open = File::open(&path).expect("opened");
        std::fs::rename(&path, &moved).expect("moved");
        std::fs::write(&path, vec![2; ALIGN]).expect("written");
        let mut block = Block::new(ALIGN);
        let file = BulkFile::new(open, &path);
        file.read_exact_at(block.bytes_mut(), 0).expect("read");
        assert_eq!(block.bytes(), vec![1; ALIGN]);
    }

    #[test]
    fn so_many_files_are_written_directly_and_the_others_have_their_bytes_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |name: usize| {
            let file = File::create(folder.path().join(name.to_string())).expect("created");
            Writer::new(file, LARGE)
        };
        let mut writers: Vec<Writer> = (0..2 * threads() + 2).map(open).collect();
        assert!(writers.iter().filter(|writer| writer.block.is_some()).count() <= threads());
        for writer in &mut writers {
            writer.write_all(&vec![7; BLOCK + 5]).expect("written");
        }
        for (name, writer) in writers.into_iter().enumerate() {
            drop(writer.finish().expect("finished"));
            let read = std::fs::read(folder.path().join(name.to_string())).expect("readable");
            assert!(read == vec![7; BLOCK + 5], "{name}");
        }
    }

    fn threads() -> usize {
        std::thread::available_parallelism().map_or(2, usize::from)
    }
}
