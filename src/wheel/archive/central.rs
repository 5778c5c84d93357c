//! The central directory: what every member is.
//!
//! Refuses: names that are not UTF-8 or not marked as such, features that no wheel has, comments of members, folders
//! with content, whatever is neither a regular file nor a folder.

use super::{ArchiveError, Entry, Method, extra, u16_at, u32_at};

const SIGNATURE: u32 = 0x0201_4b50;
/// The length of a record without name, extra fields and comment.
pub(super) const LEN: usize = 46;

const FLAG_ENCRYPTED: u16 = 1;
const FLAG_UTF8: u16 = 1 << 11;
/// The flags that wheels have: how hard deflate tried (1, 2), sizes behind the data (3), UTF-8 (11). Of the others some
/// mean encryption, patches or masked headers, and some nothing that is defined.
const FLAGS_KNOWN: u16 = 1 << 1 | 1 << 2 | 1 << 3 | FLAG_UTF8;

/// In the lower half of the external attributes, MS-DOS: a volume label, a folder.
const DOS_LABEL: u32 = 0x08;
const DOS_FOLDER: u32 = 0x10;

/// Parses `count` records, which must be all there is.
pub(super) fn parse(bytes: &[u8], count: u64) -> Result<Vec<Entry>, ArchiveError> {
    let truncated = ArchiveError::Container("its central directory is truncated");
    let mut entries = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    let mut rest = bytes;
    for _ in 0..count {
        if rest.len() < LEN || u32_at(rest, 0) != SIGNATURE {
            return Err(truncated);
        }
        let name_len = usize::from(u16_at(rest, 28));
        let extra_len = usize::from(u16_at(rest, 30));
        let total = LEN + name_len + extra_len + usize::from(u16_at(rest, 32));
        let (Some(record), Some(tail)) = (rest.get(..total), rest.get(total..)) else {
            return Err(truncated);
        };
        let (record, extra) = (&record[..LEN + name_len], &record[LEN + name_len..]);
        entries.push(parse_record(record, &extra[..extra_len])?);
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

/// `record` ends with the name.
fn parse_record(record: &[u8], extra: &[u8]) -> Result<Entry, ArchiveError> {
    let raw_name = &record[LEN..];
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
    if flags & FLAG_ENCRYPTED != 0 {
        return Err(refuse("it is encrypted"));
    }
    if flags & !FLAGS_KNOWN != 0 {
        return Err(refuse("it uses a feature that no wheel has"));
    }
    // Without the mark a name is in code page 437 (APPNOTE appendix D), and readers differ in whether they care.
    if !name.is_ascii() && flags & FLAG_UTF8 == 0 {
        return Err(refuse("its name is not ASCII and not marked as UTF-8"));
    }
    if u16_at(record, 32) != 0 {
        return Err(refuse("it has a comment"));
    }
    if u16_at(record, 34) != 0 {
        return Err(refuse("it is on another disk"));
    }
    let fields = extra::Fields::parse(extra, raw_name).map_err(refuse)?;
    let [size, compressed, header_offset] = fields
        .zip64([u32_at(record, 24), u32_at(record, 20), u32_at(record, 42)])
        .map_err(refuse)?;
    let entry = Entry {
        size,
        executable: !name.ends_with('/') && u32_at(record, 38) >> 16 & 0o111 != 0,
        compressed,
        crc32: u32_at(record, 16),
        method,
        raw_method,
        flags,
        header_offset,
        name,
    };
    check_kind(&entry, u32_at(record, 38))?;
    Ok(entry)
}

/// A regular file, or a folder without content; `attributes` are the external ones, whose upper half is the Unix mode.
fn check_kind(entry: &Entry, attributes: u32) -> Result<(), ArchiveError> {
    match (attributes >> 16) & 0o170_000 {
        0 => {}
        0o100_000 if !entry.is_dir() => {}
        0o040_000 if entry.is_dir() => {}
        0o120_000 => return Err(entry.refuse("it is a symbolic link")),
        _ => return Err(entry.refuse("it is neither a regular file nor a folder")),
    }
    if attributes & DOS_LABEL != 0 || (attributes & DOS_FOLDER != 0 && !entry.is_dir()) {
        return Err(entry.refuse("it is neither a regular file nor a folder"));
    }
    // Deflate needs two bytes to say nothing.
    if entry.is_dir() && (entry.size != 0 || entry.crc32 != 0 || entry.compressed > 2) {
        return Err(entry.refuse("it is a folder with content"));
    }
    if entry.method == Method::Stored && entry.compressed != entry.size {
        return Err(entry.refuse("it is stored, but its two sizes differ"));
    }
    Ok(())
}
