//! The ZIP container, read strictly: the central directory alone is believed.
//!
//! A general reader forgives what an attacker needs: bytes before the archive, a second end record, names that occur
//! twice, local headers that tell another story. This one reads the end record and the central directory, checks both
//! against [`limits`] before a byte is inflated, and refuses every disagreement of a local header with them.
//! Refuses: encrypted members, compression other than stored and deflate, members that are no regular files or
//! folders, two members of one name, overlapping members, bytes that belong to no member, comments of members.
//! Source: APPNOTE.TXT 6.3.10 (PKWARE); PEP 427 for what wheels use of it; the advisories GHSA-8qf3-x8v5-2pj8 and
//! GHSA-pqhf-p39g-3x64 of uv for what readers disagree about.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

mod central;
mod end;
mod extra;
pub mod limits;
mod members;
mod reading;
#[cfg(test)]
mod tests;

/// Bytes that can be read at any offset: a file, or a remote file by range requests.
pub trait ReadAt {
    /// The length in bytes.
    fn len(&self) -> u64;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` from `offset` on; too few bytes are `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// A local file of a length that was asked once.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    len: u64,
}

impl LocalFile {
    /// Wraps an open file.
    pub fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }
}

impl ReadAt for LocalFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

impl ReadAt for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let end = start.and_then(|start| start.checked_add(buffer.len()));
        let bytes = start.zip(end).and_then(|(start, end)| self.get(start..end));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl<R: ReadAt> ReadAt for &R {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bytes could not be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The container as a whole is wrong.
    #[error("not a valid wheel archive: {0}")]
    Container(&'static str),
    /// One member is wrong.
    #[error("member `{}`: {reason}", name.escape_debug())]
    Member {
        /// The member's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A member uses a compression that wheels do not.
    #[error("member `{}` is compressed with method {method}; wheels use stored (0) or deflate (8)", name.escape_debug())]
    Method {
        /// The member's name.
        name: String,
        /// The method's number in APPNOTE.TXT §4.4.5.
        method: u16,
    },
    /// A member's bytes could not be inflated or do not match its CRC or size.
    #[error("member `{}` is damaged", name.escape_debug())]
    Damaged {
        /// The member's name.
        name: String,
        /// What was noticed.
        #[source]
        source: io::Error,
    },
}

impl ArchiveError {
    /// Whether the bytes themselves are wrong, rather than that they could not be read (a failing disk or network).
    #[must_use]
    pub fn is_of_content(&self) -> bool {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match self {
            Self::Read(source) | Self::Damaged { source, .. } => {
                let refused = matches!(source.kind(), InvalidData | InvalidInput | UnexpectedEof);
                refused && source.raw_os_error().is_none()
            }
            Self::Container(_) | Self::Member { .. } | Self::Method { .. } => true,
        }
    }
}

/// How a member is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Stored,
    Deflate,
}

/// One member, as the central directory describes it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name: UTF-8, `/` between components; folders end with `/`. Not yet checked for safety.
    pub name: String,
    /// Uncompressed size in bytes.
    pub size: u64,
    /// Whether the Unix mode has an executable bit.
    pub executable: bool,
    compressed: u64,
    crc32: u32,
    method: Method,
    raw_method: u16,
    flags: u16,
    header_offset: u64,
}

impl Entry {
    /// Whether this is a folder entry.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.name.ends_with('/')
    }

    /// Compressed size in bytes.
    #[must_use]
    pub fn packed(&self) -> u64 {
        self.compressed
    }

    /// Where the member starts in the archive, in bytes.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.header_offset
    }

    fn refuse(&self, reason: &'static str) -> ArchiveError {
        ArchiveError::Member {
            name: self.name.clone(),
            reason,
        }
    }
}

/// An open archive.
#[derive(Debug)]
pub struct Archive<R> {
    reader: R,
    entries: Vec<Entry>,
    central_offset: u64,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn read_vec(reader: &impl ReadAt, offset: u64, len: usize) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = vec![0; len];
    reader.read_exact_at(&mut bytes, offset).map_err(ArchiveError::Read)?;
    Ok(bytes)
}

impl<R: ReadAt> Archive<R> {
    /// Reads the end record and the central directory, and checks what they say: names, sizes, [`limits`]. The members
    /// themselves are compared with that by [`Archive::check_members`] and while they are read.
    pub fn open(reader: R) -> Result<Self, ArchiveError> {
        let directory = end::locate(&reader)?;
        let size = usize::try_from(directory.size).unwrap_or(usize::MAX);
        let entries = central::parse(&read_vec(&reader, directory.offset, size)?, directory.count)?;
        limits::check(&entries)?;
        check_names(&entries)?;
        Ok(Self {
            reader,
            entries,
            central_offset: directory.offset,
        })
    }

    /// The members in the order of the central directory.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The member called `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// A reader of the member's uncompressed bytes. It yields exactly [`Entry::size`] bytes whose CRC matches, or an
    /// error of kind `InvalidData`.
    pub fn reader(&self, entry: &Entry) -> Result<impl Read + '_, ArchiveError> {
        let start = self.data_offset(entry)?;
        let end = start
            .checked_add(entry.compressed)
            .filter(|end| *end <= self.central_offset);
        let end = end.ok_or_else(|| entry.refuse("it reaches beyond the members"))?;
        Ok(reading::checked(&self.reader, entry, start..end))
    }

    /// Reads a whole member of at most `limit` bytes.
    pub fn read(&self, entry: &Entry, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        if entry.size > limit {
            return Err(entry.refuse("it is larger than such a file may be"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(entry.size).unwrap_or(0));
        self.reader(entry)?
            .read_to_end(&mut bytes)
            .map_err(|source| ArchiveError::Damaged {
                name: entry.name.clone(),
                source,
            })?;
        Ok(bytes)
    }
}

/// No name twice, and no file where another member needs a folder.
fn check_names(entries: &[Entry]) -> Result<(), ArchiveError> {
    let mut names = BTreeSet::new();
    let mut files = BTreeSet::new();
    for entry in entries {
        let place = entry.name.strip_suffix('/').unwrap_or(&entry.name);
        if !names.insert(place) {
            return Err(entry.refuse("another member has the same name"));
        }
        if !entry.is_dir() {
            files.insert(place);
        }
    }
    let above = |name: &str| name.match_indices('/').map(|(at, _)| at).collect::<Vec<_>>();
    for entry in entries {
        let place = entry.name.strip_suffix('/').unwrap_or(&entry.name);
        if above(place).into_iter().any(|at| files.contains(&place[..at])) {
            return Err(entry.refuse("another member is a file where this one needs a folder"));
        }
    }
    Ok(())
}
