//! The files of a bundle, one after the other, whether it is a folder or an archive.
//!
//! Whoever reads says which file comes next; an archive that has another one there is refused. The archive's headers
//! are read here, not by a general reader: those follow links, extensions and sparse maps, which no bundle has, and
//! take names of any length into memory.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::BundleError;
use super::document::{DOCUMENT, LARGEST};
use super::parts::PartsReader;
use crate::digest::{FileDigest, Hasher};
use crate::fsx::PathContext as _;
use crate::relpath::RelPath;

/// A tar block.
const BLOCK: usize = 512;
/// The longest name in an extension header.
const LONGEST_NAME: u64 = 4096;
/// The first bytes of Zstandard data (RFC 8878).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Where the files come from.
pub(super) enum Source {
    /// A folder.
    Folder(PathBuf),
    /// An archive, read in one pass.
    Archive(Archive),
}

/// See [`Source`].
pub(super) struct Archive {
    bundle: PathBuf,
    stream: Stream,
    /// Bytes of the current entry that were not read yet, and the padding behind them.
    left: u64,
    padding: u64,
}

enum Stream {
    Plain(PartsReader),
    Zstd(Box<zstd::Decoder<'static, BufReader<PartsReader>>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(parts) => parts.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

impl Stream {
    fn open(bundle: &Path) -> Result<Self, BundleError> {
        let mut head = Vec::new();
        let mut parts = PartsReader::open(bundle)?;
        let read = |source| BundleError::Read {
            bundle: bundle.to_owned(),
            source,
        };
        (&mut parts).take(4).read_to_end(&mut head).map_err(read)?;
        let parts = PartsReader::open(bundle)?;
        if head == ZSTD {
            return Ok(Self::Zstd(Box::new(zstd::Decoder::new(parts).map_err(read)?)));
        }
        Ok(Self::Plain(parts))
    }

    fn place(&self) -> (PathBuf, Option<PathBuf>) {
        match self {
            Self::Plain(parts) => parts.place(),
            Self::Zstd(decoder) => decoder.get_ref().get_ref().place(),
        }
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        match self {
            Self::Plain(parts) => parts.skip(count),
            Self::Zstd(decoder) => {
                let skipped = io::copy(&mut decoder.take(count), &mut io::sink())?;
                if skipped == count {
                    Ok(())
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                }
            }
        }
    }
}

/// One file that is being read.
pub(super) enum Entry<'a> {
    File(File),
    Archive(&'a mut Archive),
}

impl Read for Entry<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Archive(archive) => {
                let room = usize::try_from(archive.left).unwrap_or(usize::MAX).min(buffer.len());
                if room == 0 {
                    return Ok(0);
                }
                let count = archive.stream.read(&mut buffer[..room])?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                archive.left -= count as u64;
                Ok(count)
            }
        }
    }
}

impl Source {
    /// Opens a folder, an archive, or the first of an archive's parts.
    pub(super) fn open(bundle: &Path) -> Result<Self, BundleError> {
        if bundle.is_dir() {
            return Ok(Self::Folder(bundle.to_owned()));
        }
        Ok(Self::Archive(Archive {
            bundle: bundle.to_owned(),
            stream: Stream::open(bundle)?,
            left: 0,
            padding: 0,
        }))
    }

    /// The bytes of the document; an archive has it first.
    pub(super) fn document(&mut self) -> Result<Vec<u8>, BundleError> {
        let mut bytes = Vec::new();
        match self {
            Self::Folder(folder) => {
                let path = folder.join(DOCUMENT);
                let file = match File::open(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Err(BundleError::NoBundle(folder.clone()));
                    }
                    other => other.at("open", &path)?,
                };
                file.take(LARGEST).read_to_end(&mut bytes).at("read", &path)?;
            }
            Self::Archive(archive) => {
                let none = BundleError::NoBundle(archive.bundle.clone());
                let (name, size) = match archive.header() {
                    Ok(Some(header)) => header,
                    Ok(None) | Err(BundleError::Entry { .. } | BundleError::Truncated { .. }) => return Err(none),
                    Err(error) => return Err(error),
                };
                if name != DOCUMENT || size > LARGEST {
                    return Err(none);
                }
                let read = Entry::Archive(archive).read_to_end(&mut bytes);
                read.map_err(|error| archive.failed(error))?;
            }
        }
        Ok(bytes)
    }

    /// The next file, which must be `path` and have `size` bytes.
    pub(super) fn entry(&mut self, path: &RelPath, size: u64) -> Result<Entry<'_>, BundleError> {
        match self {
            Self::Folder(folder) => {
                let real = open_below(folder, path)?;
                let actual = real.metadata().at("look at", folder.join(path))?.len();
                if actual != size {
                    return Err(size_differs(path, size, actual));
                }
                Ok(Entry::File(real))
            }
            Self::Archive(archive) => {
                archive.expect(path, size)?;
                Ok(Entry::Archive(archive))
            }
        }
    }

    /// Leaves a file out.
    pub(super) fn skip(&mut self, path: &RelPath, size: u64) -> Result<(), BundleError> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Archive(archive) => archive.expect(path, size),
        }
    }

    /// What a read error means: an archive may have ended.
    pub(super) fn failed(&self, path: &RelPath, error: io::Error) -> BundleError {
        match self {
            Self::Folder(folder) => BundleError::Path(crate::fsx::PathError {
                action: "read",
                path: folder.join(path),
                source: error,
            }),
            Self::Archive(archive) => archive.failed(error),
        }
    }

    /// Reads a small file into memory and compares it with its digest.
    pub(super) fn read(&mut self, path: &RelPath, size: u64, digest: FileDigest) -> Result<Vec<u8>, BundleError> {
        let mut bytes = Vec::new();
        if size > LARGEST {
            return Err(size_differs(path, LARGEST, size));
        }
        let read = self.entry(path, size)?.read_to_end(&mut bytes);
        read.map_err(|error| self.failed(path, error))?;
        let actual = FileDigest::of(&bytes);
        if actual != digest {
            return Err(digest_differs(path, digest, actual));
        }
        Ok(bytes)
    }

    /// Copies a file to `target` and compares it with its digest.
    pub(super) fn copy(
        &mut self,
        (path, size, digest): (&RelPath, u64, FileDigest),
        mut target: impl io::Write,
        written: &Path,
        mut advanced: impl FnMut(u64),
    ) -> Result<(), BundleError> {
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        let mut left = size;
        {
            let mut entry = self.entry(path, size)?;
            while left > 0 {
                let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                let count = match entry.read(&mut buffer[..room]) {
                    Ok(0) => return Err(size_differs(path, size, size - left)),
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(self.failed(path, error)),
                };
                hasher.update(&buffer[..count]);
                target.write_all(&buffer[..count]).at("write", written)?;
                left -= count as u64;
                advanced(count as u64);
            }
        }
        let actual = FileDigest::from_bytes(hasher.finish());
        if actual == digest {
            Ok(())
        } else {
            Err(digest_differs(path, digest, actual))
        }
    }
}

/// Opens a regular file below a folder. A link on the way would lead to files that nobody exported.
fn open_below(folder: &Path, path: &RelPath) -> Result<File, BundleError> {
    let mut real = folder.to_owned();
    for part in path.components() {
        real.push(part);
        let meta = std::fs::symlink_metadata(&real).at("look at", &real)?;
        if meta.is_symlink() {
            return Err(BundleError::Entry {
                bundle: folder.to_owned(),
                reason: format!("{path} is, or lies behind, a symbolic link"),
            });
        }
    }
    Ok(File::open(&real).at("open", &real)?)
}

fn size_differs(path: &RelPath, expected: u64, actual: u64) -> BundleError {
    BundleError::Size {
        file: path.to_string(),
        expected,
        actual,
    }
}

fn digest_differs(path: &RelPath, expected: FileDigest, actual: FileDigest) -> BundleError {
    BundleError::Digest {
        file: path.to_string(),
        expected,
        actual,
    }
}

impl Archive {
    fn failed(&self, source: io::Error) -> BundleError {
        let (bundle, next) = self.stream.place();
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return BundleError::Truncated { bundle, next };
        }
        BundleError::Read { bundle, source }
    }

    fn refuse(&self, reason: impl Into<String>) -> BundleError {
        BundleError::Entry {
            bundle: self.bundle.clone(),
            reason: reason.into(),
        }
    }

    /// Goes to the next entry, which must be this one.
    fn expect(&mut self, path: &RelPath, size: u64) -> Result<(), BundleError> {
        let Some((name, actual)) = self.header()? else {
            let (bundle, next) = self.stream.place();
            return Err(BundleError::Truncated { bundle, next });
        };
        if name != path.as_str() {
            return Err(BundleError::Order {
                bundle: self.bundle.clone(),
                found: name.escape_debug().to_string(),
                expected: path.to_string(),
            });
        }
        if actual != size {
            return Err(size_differs(path, size, actual));
        }
        Ok(())
    }

    /// Name and size of the next entry; none at the end mark.
    fn header(&mut self) -> Result<Option<(String, u64)>, BundleError> {
        let mut long: Option<String> = None;
        loop {
            let rest = std::mem::take(&mut self.left) + std::mem::take(&mut self.padding);
            self.stream.skip(rest).map_err(|error| self.failed(error))?;
            let mut header = tar::Header::new_old();
            let block = self.stream.read_exact(header.as_mut_bytes());
            block.map_err(|error| self.failed(error))?;
            if header.as_bytes().iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let sum = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) };
            let sum: u32 = header.as_bytes().iter().enumerate().map(sum).sum();
            if header.cksum().ok() != Some(sum) {
                return Err(self.refuse("a header's checksum does not match"));
            }
            let size = header
                .entry_size()
                .map_err(|_| self.refuse("an entry's size is no number"))?;
            self.left = size;
            self.padding = size.next_multiple_of(BLOCK as u64).saturating_sub(size);
            if header.entry_type().is_gnu_longname() && long.is_none() && size <= LONGEST_NAME {
                let mut name = Vec::new();
                let read = Entry::Archive(self).read_to_end(&mut name);
                read.map_err(|error| self.failed(error))?;
                while name.last() == Some(&0) {
                    name.pop();
                }
                long = Some(String::from_utf8(name).map_err(|_| self.refuse("a name is not UTF-8"))?);
                continue;
            }
            if !header.entry_type().is_file() {
                let name = String::from_utf8_lossy(&header.path_bytes()).escape_debug().to_string();
                return Err(self.refuse(format!("{name} is no regular file")));
            }
            let name = match long {
                Some(name) => name,
                None => String::from_utf8(header.path_bytes().into_owned())
                    .map_err(|_| self.refuse("a name is not UTF-8"))?,
            };
            return Ok(Some((name, size)));
        }
    }
}
