//! The ZIP container, read strictly: the central directory alone is believed.
//!
//! A general reader forgives what an attacker needs: bytes before the archive, a second end record, names that occur
//! twice, local headers that tell another story. This one reads the end record, the central directory and, before a
//! member's bytes are used, its local header, and refuses every disagreement.
//! Refuses: encrypted members, compression other than stored and deflate, members that are no regular files or
//! folders, overlapping members, bytes that belong to no member.
//! Source: APPNOTE.TXT 6.3.10 (PKWARE); PEP 427 for what wheels use of it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use flate2::read::DeflateDecoder;

const END_SIGNATURE: u32 = 0x0605_4b50;
const END_LEN: u64 = 22;
const END64_SIGNATURE: u32 = 0x0606_4b50;
const LOCATOR64_SIGNATURE: u32 = 0x0706_4b50;
const LOCATOR64_LEN: u64 = 20;
const CENTRAL_SIGNATURE: u32 = 0x0201_4b50;
const CENTRAL_LEN: usize = 46;
const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
const LOCAL_LEN: usize = 30;

const FLAG_ENCRYPTED: u16 = 1;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// Strong encryption, patched data, masked headers: nothing that a wheel has.
const FLAGS_REFUSED: u16 = FLAG_ENCRYPTED | 1 << 5 | 1 << 6 | 1 << 13;

/// A central directory larger than this is refused: torch's has 12,000 members and 1.4 MB.
const CENTRAL_MAX: u64 = 256 << 20;

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

/// Where the central directory lies.
struct Directory {
    offset: u64,
    size: u64,
    count: u64,
}

fn read_vec(reader: &impl ReadAt, offset: u64, len: usize) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = vec![0; len];
    reader.read_exact_at(&mut bytes, offset).map_err(ArchiveError::Read)?;
    Ok(bytes)
}

fn locate(reader: &impl ReadAt) -> Result<Directory, ArchiveError> {
    let len = reader.len();
    if len < END_LEN {
        return Err(ArchiveError::Container("it is too short for a ZIP archive"));
    }
    // One read serves the end record, the ZIP64 locator and, for small wheels, a remote reader's first block.
    let tail_len = len.min(END_LEN + u64::from(u16::MAX) + LOCATOR64_LEN);
    let tail_offset = len - tail_len;
    let tail = read_vec(reader, tail_offset, usize::try_from(tail_len).unwrap_or(usize::MAX))?;
    let mut ends = (0..=tail.len().saturating_sub(22)).rev().filter(|&at| {
        u32_at(&tail, at) == END_SIGNATURE && at + 22 + usize::from(u16_at(&tail, at + 20)) == tail.len()
    });
    let at = ends.next().ok_or(ArchiveError::Container(
        "it has no end record (truncated, or not a ZIP archive)",
    ))?;
    if ends.next().is_some() || memmem(&tail[at + 4..], &END_SIGNATURE.to_le_bytes()) {
        return Err(ArchiveError::Container("it has more than one end record"));
    }
    let end = &tail[at..];
    if u16_at(end, 4) != 0 || u16_at(end, 6) != 0 || u16_at(end, 8) != u16_at(end, 10) {
        return Err(ArchiveError::Container("it is split over several disks"));
    }
    let (count, size, offset) = (u16_at(end, 10), u32_at(end, 12), u32_at(end, 16));
    let end_offset = tail_offset + at as u64;
    let locator = end_offset
        .checked_sub(LOCATOR64_LEN)
        .map(|offset| read_vec(reader, offset, 20))
        .transpose()?;
    let locator = locator.filter(|bytes| u32_at(bytes, 0) == LOCATOR64_SIGNATURE);
    let saturated = count == u16::MAX || size == u32::MAX || offset == u32::MAX;
    let (directory, directory_end) = match locator {
        Some(locator) => {
            let at = u64_at(&locator, 8);
            let record = read_vec(reader, at, 56)?;
            let record_end = at
                .checked_add(12)
                .and_then(|start| start.checked_add(u64_at(&record, 4)));
            if u32_at(&record, 0) != END64_SIGNATURE || record_end != Some(end_offset - LOCATOR64_LEN) {
                return Err(ArchiveError::Container(
                    "its ZIP64 end record is not where its locator says",
                ));
            }
            let directory = Directory {
                offset: u64_at(&record, 48),
                size: u64_at(&record, 40),
                count: u64_at(&record, 32),
            };
            let agrees = (count == u16::MAX || u64::from(count) == directory.count)
                && (size == u32::MAX || u64::from(size) == directory.size)
                && (offset == u32::MAX || u64::from(offset) == directory.offset);
            if !agrees || u64_at(&record, 24) != directory.count {
                return Err(ArchiveError::Container("its two end records disagree"));
            }
            (directory, at)
        }
        None if saturated => return Err(ArchiveError::Container("its ZIP64 end record is missing")),
        None => (
            Directory {
                offset: offset.into(),
                size: size.into(),
                count: count.into(),
            },
            end_offset,
        ),
    };
    if directory.offset.checked_add(directory.size) != Some(directory_end) {
        return Err(ArchiveError::Container(
            "there are bytes before, between or after its parts",
        ));
    }
    if directory.size > CENTRAL_MAX || directory.count > directory.size / CENTRAL_LEN as u64 {
        return Err(ArchiveError::Container(
            "its central directory cannot have the stated size",
        ));
    }
    Ok(directory)
}

fn memmem(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Reads the ZIP64 extra field (APPNOTE §4.5.3): only the values that are saturated in the header are in it.
fn zip64_values(extra: &[u8], mut wanted: [Option<&mut u64>; 3]) -> Result<(), &'static str> {
    let mut rest = extra;
    let mut seen = false;
    while rest.len() >= 4 {
        let (id, len) = (u16_at(rest, 0), usize::from(u16_at(rest, 2)));
        let body = rest
            .get(4..4 + len)
            .ok_or("an extra field is longer than its header says")?;
        if id == 1 {
            if seen {
                return Err("it has two ZIP64 extra fields");
            }
            seen = true;
            let mut values = body.chunks_exact(8).map(|chunk| u64_at(chunk, 0));
            for slot in wanted.iter_mut().filter_map(Option::as_mut) {
                **slot = values.next().ok_or("its ZIP64 extra field is too short")?;
            }
        }
        rest = &rest[4 + len..];
    }
    if !seen && wanted.iter().any(Option::is_some) {
        return Err("its ZIP64 extra field is missing");
    }
    Ok(())
}

fn parse_central(bytes: &[u8], count: u64) -> Result<Vec<Entry>, ArchiveError> {
    let truncated = ArchiveError::Container("its central directory is truncated");
    let mut entries = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    let mut rest = bytes;
    for _ in 0..count {
        if rest.len() < CENTRAL_LEN || u32_at(rest, 0) != CENTRAL_SIGNATURE {
            return Err(truncated);
        }
        let name_len = usize::from(u16_at(rest, 28));
        let extra_len = usize::from(u16_at(rest, 30));
        let total = CENTRAL_LEN + name_len + extra_len + usize::from(u16_at(rest, 32));
        let (Some(record), Some(tail)) = (rest.get(..total), rest.get(total..)) else {
            return Err(truncated);
        };
        entries.push(parse_central_record(record, name_len, extra_len)?);
        rest = tail;
    }
    if rest.is_empty() {
        Ok(entries)
    } else {
        Err(ArchiveError::Container(
            "its central directory holds more members than it counts",
        ))
    }
}

fn parse_central_record(record: &[u8], name_len: usize, extra_len: usize) -> Result<Entry, ArchiveError> {
    let raw_name = &record[CENTRAL_LEN..CENTRAL_LEN + name_len];
    let name = std::str::from_utf8(raw_name)
        .map(str::to_owned)
        .map_err(|_| ArchiveError::Member {
            name: String::from_utf8_lossy(raw_name).into_owned(),
            reason: "its name is not UTF-8",
        })?;
    let refuse = |reason| ArchiveError::Member {
        name: name.clone(),
        reason,
    };
    let raw_method = u16_at(record, 10);
    let method = match raw_method {
        0 => Method::Stored,
        8 => Method::Deflate,
        method => return Err(ArchiveError::Method { name, method }),
    };
    let flags = u16_at(record, 8);
    if flags & FLAGS_REFUSED != 0 {
        return Err(refuse("it is encrypted or uses a feature that no wheel has"));
    }
    let (mut compressed, mut size, mut header_offset) = (
        u64::from(u32_at(record, 20)),
        u64::from(u32_at(record, 24)),
        u64::from(u32_at(record, 42)),
    );
    let saturated = |value: u64| value == u64::from(u32::MAX);
    let wanted = [&mut size, &mut compressed, &mut header_offset].map(|slot| saturated(*slot).then_some(slot));
    zip64_values(
        &record[CENTRAL_LEN + name_len..CENTRAL_LEN + name_len + extra_len],
        wanted,
    )
    .map_err(refuse)?;
    let mode = u32_at(record, 38) >> 16;
    let is_dir = name.ends_with('/');
    match mode & 0o170_000 {
        0 => {}
        0o100_000 if !is_dir => {}
        0o040_000 if is_dir => {}
        0o120_000 => return Err(refuse("it is a symbolic link")),
        _ => return Err(refuse("it is neither a regular file nor a folder")),
    }
    if is_dir && size != 0 {
        return Err(refuse("it is a folder with content"));
    }
    if method == Method::Stored && compressed != size {
        return Err(refuse("it is stored, but its two sizes differ"));
    }
    let executable = !is_dir && mode & 0o111 != 0;
    Ok(Entry {
        size,
        executable,
        compressed,
        crc32: u32_at(record, 16),
        method,
        raw_method,
        flags,
        header_offset,
        name,
    })
}

impl<R: ReadAt> Archive<R> {
    /// Reads the end record and the central directory. Members are checked when they are read, and all of them
    /// against each other by [`Archive::check_members`].
    pub fn open(reader: R) -> Result<Self, ArchiveError> {
        let directory = locate(&reader)?;
        let size = usize::try_from(directory.size).unwrap_or(usize::MAX);
        let entries = parse_central(&read_vec(&reader, directory.offset, size)?, directory.count)?;
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

    /// Checks every local header against the central directory, and that the members fill the archive from its first
    /// byte to the central directory without overlap and without bytes that belong to none.
    pub fn check_members(&self) -> Result<(), ArchiveError> {
        let mut by_offset: Vec<&Entry> = self.entries.iter().collect();
        by_offset.sort_by_key(|entry| entry.header_offset);
        let mut end = 0u64;
        for entry in by_offset {
            if entry.header_offset < end {
                return Err(entry.refuse("it overlaps another member"));
            }
            if entry.header_offset != end {
                return Err(entry.refuse("there are bytes before it that belong to no member"));
            }
            let data = self.data_offset(entry)?;
            let stop = data
                .checked_add(entry.compressed)
                .filter(|stop| *stop <= self.central_offset);
            end = stop.ok_or_else(|| entry.refuse("it reaches beyond the members"))?;
            end += self.descriptor_len(entry, end)?;
        }
        if end == self.central_offset {
            Ok(())
        } else {
            Err(ArchiveError::Container(
                "there are bytes between its last member and its central directory",
            ))
        }
    }

    /// Reads the local header, compares it with the central directory, and returns where the member's bytes start.
    fn data_offset(&self, entry: &Entry) -> Result<u64, ArchiveError> {
        let header = read_vec(&self.reader, entry.header_offset, LOCAL_LEN)?;
        if u32_at(&header, 0) != LOCAL_SIGNATURE {
            return Err(entry.refuse("it has no local header"));
        }
        let (name_len, extra_len) = (usize::from(u16_at(&header, 26)), usize::from(u16_at(&header, 28)));
        let tail = read_vec(
            &self.reader,
            entry.header_offset + LOCAL_LEN as u64,
            name_len + extra_len,
        )?;
        if &tail[..name_len] != entry.name.as_bytes() {
            return Err(entry.refuse("its local header has another name"));
        }
        if u16_at(&header, 6) != entry.flags || u16_at(&header, 8) != entry.raw_method {
            return Err(entry.refuse("its local header has other flags or another method"));
        }
        let (mut compressed, mut size) = (u64::from(u32_at(&header, 18)), u64::from(u32_at(&header, 22)));
        let saturated = |value: u64| value == u64::from(u32::MAX);
        let wanted = [
            saturated(size).then_some(&mut size),
            saturated(compressed).then_some(&mut compressed),
            None,
        ];
        zip64_values(&tail[name_len..], wanted).map_err(|reason| entry.refuse(reason))?;
        let crc32 = u32_at(&header, 14);
        let descriptor = entry.flags & FLAG_DESCRIPTOR != 0;
        let same = |local: u64, central: u64| local == central || (descriptor && local == 0);
        if !same(crc32.into(), entry.crc32.into()) || !same(size, entry.size) || !same(compressed, entry.compressed) {
            return Err(entry.refuse("its local header has another size or CRC"));
        }
        Ok(entry.header_offset + (LOCAL_LEN + name_len + extra_len) as u64)
    }

    /// The length of the data descriptor behind a member (APPNOTE §4.3.9): with or without signature, 4- or 8-byte
    /// sizes; the values must agree with the central directory.
    fn descriptor_len(&self, entry: &Entry, at: u64) -> Result<u64, ArchiveError> {
        if entry.flags & FLAG_DESCRIPTOR == 0 {
            return Ok(0);
        }
        let room = usize::try_from((self.central_offset - at).min(24)).unwrap_or(0);
        let bytes = read_vec(&self.reader, at, room)?;
        let start = if room >= 4 && u32_at(&bytes, 0) == 0x0807_4b50 {
            4
        } else {
            0
        };
        let fits = |len: usize, compressed: u64, size: u64| {
            room >= start + len
                && u32_at(&bytes, start) == entry.crc32
                && compressed == entry.compressed
                && size == entry.size
        };
        let at32 = |offset: usize| {
            if room >= start + offset + 4 {
                u64::from(u32_at(&bytes, start + offset))
            } else {
                u64::MAX
            }
        };
        let at64 = |offset: usize| {
            if room >= start + offset + 8 {
                u64_at(&bytes, start + offset)
            } else {
                u64::MAX
            }
        };
        for (len, compressed, size) in [(20, at64(4), at64(12)), (12, at32(4), at32(8))] {
            if fits(len, compressed, size) {
                return Ok((start + len) as u64);
            }
        }
        Err(entry.refuse("its data descriptor disagrees with the central directory"))
    }

    /// A reader of the member's uncompressed bytes. It yields exactly [`Entry::size`] bytes whose CRC matches, or an
    /// error of kind `InvalidData`.
    pub fn reader(&self, entry: &Entry) -> Result<impl Read + '_, ArchiveError> {
        let start = self.data_offset(entry)?;
        let end = start
            .checked_add(entry.compressed)
            .filter(|end| *end <= self.central_offset);
        let end = end.ok_or_else(|| entry.refuse("it reaches beyond the members"))?;
        let raw = Segment {
            reader: &self.reader,
            at: start,
            end,
        };
        let inner = match entry.method {
            Method::Stored => Inner::Stored(raw),
            Method::Deflate => Inner::Deflate(Box::new(DeflateDecoder::new_with_buf(raw, vec![0; 1 << 16]))),
        };
        Ok(Checked {
            inner,
            left: entry.size,
            compressed: entry.compressed,
            crc: crc32fast::Hasher::new(),
            expected: entry.crc32,
        })
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

/// The compressed bytes of one member.
struct Segment<'a, R> {
    reader: &'a R,
    at: u64,
    end: u64,
}

impl<R: ReadAt> Read for Segment<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = usize::try_from(self.end - self.at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        self.reader.read_exact_at(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

enum Inner<R> {
    Stored(R),
    Deflate(Box<DeflateDecoder<R>>),
}

/// Enforces size and CRC while the bytes go by, so that a bomb stops at the size that the central directory states.
struct Checked<R> {
    inner: Inner<R>,
    left: u64,
    compressed: u64,
    crc: crc32fast::Hasher,
    expected: u32,
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = match &mut self.inner {
            Inner::Stored(reader) => reader.read(buffer)?,
            Inner::Deflate(reader) => reader.read(buffer)?,
        };
        if count == 0 {
            if self.left != 0 {
                return Err(invalid("it is shorter than the central directory says"));
            }
            if let Inner::Deflate(reader) = &self.inner
                && reader.total_in() != self.compressed
            {
                return Err(invalid("its compressed data ends before its compressed size"));
            }
            return if self.crc.clone().finalize() == self.expected {
                Ok(0)
            } else {
                Err(invalid("its CRC does not match"))
            };
        }
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or(invalid("it is longer than the central directory says"))?;
        self.crc.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::write::SimpleFileOptions;

    use super::*;

    fn sample(stored: bool) -> Vec<u8> {
        let method = if stored {
            zip::CompressionMethod::Stored
        } else {
            zip::CompressionMethod::Deflated
        };
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .unix_permissions(0o644);
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, body) in [("a/b.py", b"print('b')\n".repeat(50)), ("a/ü.txt", b"text".to_vec())] {
            writer.start_file(name, options).expect("a member");
            writer.write_all(&body).expect("written");
        }
        writer
            .start_file("a/tool", options.unix_permissions(0o755))
            .expect("a member");
        writer.finish().expect("finished").into_inner()
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
        let archive = Archive::open(bytes)?;
        archive.check_members()?;
        archive
            .entries()
            .iter()
            .map(|entry| Ok((entry.name.clone(), archive.read(entry, 1 << 20)?)))
            .collect()
    }

    #[test]
    fn members_come_back_whole() {
        for stored in [true, false] {
            let bytes = sample(stored);
            let members = read_all(&bytes).expect("a good archive");
            assert_eq!(members[0].1, b"print('b')\n".repeat(50));
            assert_eq!(members[1], ("a/ü.txt".to_owned(), b"text".to_vec()));
            let archive = Archive::open(bytes.as_slice()).expect("a good archive");
            assert_eq!(
                archive
                    .entries()
                    .iter()
                    .map(|entry| entry.executable)
                    .collect::<Vec<_>>(),
                [false, false, true]
            );
        }
    }

    /// Whatever single byte is changed and wherever the archive is cut: an error, or the same members.
    #[test]
    fn damage_is_found() {
        let good = sample(false);
        let members = read_all(&good).expect("a good archive");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            if let Ok(other) = read_all(&bad) {
                assert_eq!(other, members, "byte {at}");
            }
            assert!(read_all(&good[..at]).is_err(), "cut at {at}");
        }
        assert!(read_all(&[b"x", good.as_slice()].concat()).is_err(), "bytes before");
        assert!(read_all(&[good.as_slice(), b"x"].concat()).is_err(), "bytes after");
        assert!(
            read_all(&[good.as_slice(), good.as_slice()].concat()).is_err(),
            "two archives"
        );
    }
}
