//! The end of an archive: where its central directory lies, said once.
//!
//! Refuses: more than one end record, comments that hold parts of another archive, a ZIP64 end record that is not
//! where its locator says or that carries further data, values of the two end records that differ, bytes that belong to
//! no part.

use crate::html;

use super::{ArchiveError, ReadAt, limits, read_vec, u16_at, u32_at, u64_at};

const END_SIGNATURE: u32 = 0x0605_4b50;
const END_LEN: u64 = 22;
const END64_SIGNATURE: u32 = 0x0606_4b50;
const END64_LEN: usize = 56;
const LOCATOR64_SIGNATURE: u32 = 0x0706_4b50;
const LOCATOR64_LEN: u64 = 20;

/// Where the central directory lies.
pub(super) struct Directory {
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) count: u64,
}

/// The plain end record (APPNOTE §4.3.16).
struct End {
    at: u64,
    count: u16,
    size: u32,
    offset: u32,
}

impl End {
    fn is_saturated(&self) -> bool {
        self.count == u16::MAX || self.size == u32::MAX || self.offset == u32::MAX
    }
}

/// Finds the central directory.
pub(super) fn locate(reader: &impl ReadAt) -> Result<Directory, ArchiveError> {
    let end = plain(reader).map_err(|error| if is_page(reader) { PAGE } else { error })?;
    let locator = end
        .at
        .checked_sub(LOCATOR64_LEN)
        .map(|offset| read_vec(reader, offset, 20))
        .transpose()?;
    let locator = locator.filter(|bytes| u32_at(bytes, 0) == LOCATOR64_SIGNATURE);
    let (directory, directory_end) = match locator {
        Some(locator) => zip64(reader, &end, &locator)?,
        None if end.is_saturated() => return Err(ArchiveError::Container("its ZIP64 end record is missing")),
        None => {
            let directory = Directory {
                offset: end.offset.into(),
                size: end.size.into(),
                count: end.count.into(),
            };
            (directory, end.at)
        }
    };
    if directory.offset.checked_add(directory.size) != Some(directory_end) {
        return Err(ArchiveError::Container(
            "there are bytes before, between or after its parts",
        ));
    }
    if directory.size > limits::DIRECTORY || directory.count > directory.size / super::central::LEN as u64 {
        return Err(ArchiveError::Container(
            "its central directory cannot have the stated size",
        ));
    }
    Ok(directory)
}

const PAGE: ArchiveError = ArchiveError::Container("it is an HTML page, not a wheel");

/// Whether somebody saved a login page under a wheel's name.
fn is_page(reader: &impl ReadAt) -> bool {
    let head = usize::try_from(reader.len()).map_or(html::HEAD, |len| len.min(html::HEAD));
    read_vec(reader, 0, head).is_ok_and(|head| html::is_page(&head, None))
}

fn plain(reader: &impl ReadAt) -> Result<End, ArchiveError> {
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
        "it has no end record (truncated, not a ZIP archive, or followed by other bytes)",
    ))?;
    if ends.next().is_some() {
        return Err(ArchiveError::Container("it has more than one end record"));
    }
    let end = &tail[at..];
    // Readers that search forwards, or for the last signature, would find another archive here.
    if end[22..].windows(4).any(is_signature) {
        return Err(ArchiveError::Container("its comment holds parts of another archive"));
    }
    if u16_at(end, 4) != 0 || u16_at(end, 6) != 0 || u16_at(end, 8) != u16_at(end, 10) {
        return Err(ArchiveError::Container("it is split over several disks"));
    }
    Ok(End {
        at: tail_offset + at as u64,
        count: u16_at(end, 10),
        size: u32_at(end, 12),
        offset: u32_at(end, 16),
    })
}

/// Whether four bytes begin a part of an archive: a header, a directory, an end record.
fn is_signature(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [b'P', b'K', 1, 2] | [b'P', b'K', 3, 4] | [b'P', b'K', 5, 5 | 6] | [b'P', b'K', 6, 6..=8] | [b'P', b'K', 7, 8]
    )
}

/// The ZIP64 end record (APPNOTE §4.3.14), which must lie right before its locator and be as long as version 1 is:
/// "extensible data" behind it is where another record can hide.
fn zip64(reader: &impl ReadAt, end: &End, locator: &[u8]) -> Result<(Directory, u64), ArchiveError> {
    let at = u64_at(locator, 8);
    if u32_at(locator, 4) != 0 || u32_at(locator, 16) > 1 {
        return Err(ArchiveError::Container("it is split over several disks"));
    }
    if at.checked_add(END64_LEN as u64) != end.at.checked_sub(LOCATOR64_LEN) {
        return Err(ArchiveError::Container(
            "its ZIP64 end record is not where its locator says, or carries further data",
        ));
    }
    let record = read_vec(reader, at, END64_LEN)?;
    if u32_at(&record, 0) != END64_SIGNATURE || u64_at(&record, 4) != END64_LEN as u64 - 12 {
        return Err(ArchiveError::Container(
            "its ZIP64 end record is not where its locator says, or carries further data",
        ));
    }
    if u32_at(&record, 16) != 0 || u32_at(&record, 20) != 0 {
        return Err(ArchiveError::Container("it is split over several disks"));
    }
    let directory = Directory {
        offset: u64_at(&record, 48),
        size: u64_at(&record, 40),
        count: u64_at(&record, 32),
    };
    let agrees = (end.count == u16::MAX || u64::from(end.count) == directory.count)
        && (end.size == u32::MAX || u64::from(end.size) == directory.size)
        && (end.offset == u32::MAX || u64::from(end.offset) == directory.offset);
    if !agrees || u64_at(&record, 24) != directory.count {
        return Err(ArchiveError::Container("its two end records disagree"));
    }
    Ok((directory, at))
}
