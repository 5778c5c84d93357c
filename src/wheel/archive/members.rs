//! The members against the central directory: where each begins and ends, and what its local header says.

use super::{Archive, ArchiveError, Entry, ReadAt, extra, read_vec, u16_at, u32_at, u64_at};

const SIGNATURE: u32 = 0x0403_4b50;
/// The length of a local header without name and extra fields.
const LEN: usize = 30;
const DESCRIPTOR_SIGNATURE: u32 = 0x0807_4b50;
const FLAG_DESCRIPTOR: u16 = 1 << 3;

impl<R: ReadAt> Archive<R> {
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
    pub(super) fn data_offset(&self, entry: &Entry) -> Result<u64, ArchiveError> {
        let room = self.central_offset.saturating_sub(entry.header_offset);
        if room < LEN as u64 {
            return Err(entry.refuse("it reaches beyond the members"));
        }
        let header = read_vec(&self.reader, entry.header_offset, LEN)?;
        if u32_at(&header, 0) != SIGNATURE {
            return Err(entry.refuse("it has no local header"));
        }
        let (name_len, extra_len) = (usize::from(u16_at(&header, 26)), usize::from(u16_at(&header, 28)));
        if room < (LEN + name_len + extra_len) as u64 {
            return Err(entry.refuse("it reaches beyond the members"));
        }
        let tail = read_vec(&self.reader, entry.header_offset + LEN as u64, name_len + extra_len)?;
        let (name, extra) = tail.split_at(name_len);
        if name != entry.name.as_bytes() {
            return Err(entry.refuse("its local header has another name"));
        }
        if u16_at(&header, 6) != entry.flags || u16_at(&header, 8) != entry.raw_method {
            return Err(entry.refuse("its local header has other flags or another method"));
        }
        let [size, compressed] = extra::Fields::parse(extra, name)
            .and_then(|fields| fields.zip64([u32_at(&header, 22), u32_at(&header, 18)]))
            .map_err(|reason| entry.refuse(reason))?;
        let crc32 = u32_at(&header, 14);
        let descriptor = entry.flags & FLAG_DESCRIPTOR != 0;
        let same = |local: u64, central: u64| local == central || (descriptor && local == 0);
        if !same(crc32.into(), entry.crc32.into()) || !same(size, entry.size) || !same(compressed, entry.compressed) {
            return Err(entry.refuse("its local header has another size or CRC"));
        }
        Ok(entry.header_offset + (LEN + name_len + extra_len) as u64)
    }

    /// The length of the data descriptor behind a member (APPNOTE §4.3.9): with or without signature, 4- or 8-byte
    /// sizes; the values must agree with the central directory.
    fn descriptor_len(&self, entry: &Entry, at: u64) -> Result<u64, ArchiveError> {
        if entry.flags & FLAG_DESCRIPTOR == 0 {
            return Ok(0);
        }
        let room = usize::try_from((self.central_offset - at).min(24)).unwrap_or(0);
        let bytes = read_vec(&self.reader, at, room)?;
        let signed = room >= 4 && u32_at(&bytes, 0) == DESCRIPTOR_SIGNATURE;
        let bytes = if signed { &bytes[4..] } else { &bytes[..] };
        let agrees = |compressed: u64, size: u64| {
            u32_at(bytes, 0) == entry.crc32 && compressed == entry.compressed && size == entry.size
        };
        let len = if bytes.len() >= 20 && agrees(u64_at(bytes, 4), u64_at(bytes, 12)) {
            20
        } else if bytes.len() >= 12 && agrees(u32_at(bytes, 4).into(), u32_at(bytes, 8).into()) {
            12
        } else {
            return Err(entry.refuse("its data descriptor disagrees with the central directory"));
        };
        Ok(len + if signed { 4 } else { 0 })
    }
}
