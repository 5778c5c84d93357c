//! A ZIP writer that writes what it is told, right or wrong.
//!
//! Owns: local headers, data descriptors, zip64 fields, the central directory and its end record, byte for byte and
//! without any clock. The `zip` crate refuses what hostile archives hold (a name twice, a local name that differs
//! from the central one, a wrong checksum); it serves the self tests as an independent reader instead.

use std::io::Write as _;

/// How the bytes of a member are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Method {
    Stored,
    #[default]
    Deflated,
}

/// One member, with every field that a hostile archive may lie about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// Unix mode with the file type, as the upper half of the external attributes has it.
    pub(crate) mode: u32,
    pub(crate) method: Method,
    /// Sizes and checksum follow the data and are zero in the local header.
    pub(crate) descriptor: bool,
    /// Sizes are written in a zip64 extra field, whatever they are.
    pub(crate) zip64: bool,
    /// The name in the local header, where it is another.
    pub(crate) local_name: Option<String>,
    /// The checksum to claim, where it is another.
    pub(crate) crc32: Option<u32>,
    /// The uncompressed size to claim, where it is another.
    pub(crate) size: Option<u64>,
    /// What only hostile archives do.
    pub(crate) lies: Lies,
}

/// What a member says that is not so, or that no wheel says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lies {
    /// The name in both headers where it is no text.
    pub(crate) raw_name: Option<Vec<u8>>,
    /// Keeps a name that is not ASCII from being marked as UTF-8.
    pub(crate) no_utf8_flag: bool,
    /// Further general purpose flags, in both headers.
    pub(crate) flags: u16,
    /// Flags that only the local header has.
    pub(crate) local_flags: u16,
    /// The number of a compression method, in both headers.
    pub(crate) method: Option<u16>,
    /// That of the local header, where it is another.
    pub(crate) local_method: Option<u16>,
    /// The local header's checksum.
    pub(crate) local_crc32: Option<u32>,
    /// The local header's uncompressed size.
    pub(crate) local_size: Option<u32>,
    /// The compressed size to claim.
    pub(crate) packed: Option<u64>,
    /// Bytes that are written in place of the compressed ones.
    pub(crate) data: Option<Vec<u8>>,
    /// The local header's compressed size.
    pub(crate) local_packed: Option<u32>,
    /// The checksum in the data descriptor.
    pub(crate) descriptor_crc32: Option<u32>,
    /// The lower half of the external attributes.
    pub(crate) dos: u16,
    /// Further extra fields of the central directory.
    pub(crate) extra: Vec<u8>,
    /// Further extra fields of the local header.
    pub(crate) local_extra: Vec<u8>,
    pub(crate) comment: Vec<u8>,
    /// The disk it is said to be on.
    pub(crate) disk: u16,
    /// Bytes in front of the local header.
    pub(crate) before: Vec<u8>,
    /// The offset to claim.
    pub(crate) offset: Option<usize>,
    /// Left out of the central directory.
    pub(crate) hidden: bool,
}

/// An extra field.
pub(crate) fn extra_field(id: u16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put16(&mut out, id);
    put_len(&mut out, body.len());
    out.extend_from_slice(body);
    out
}

impl Member {
    /// A deflated file, mode 0644.
    pub(crate) fn file(name: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            bytes: bytes.to_vec(),
            mode: 0o100_644,
            ..Self::default()
        }
    }

    /// A directory entry, as some build back ends write one for each folder; `name` ends in `/`.
    pub(crate) fn directory(name: &str) -> Self {
        Self {
            mode: 0o040_755,
            method: Method::Stored,
            ..Self::file(name, b"")
        }
    }

    /// A symbolic link: its bytes are the target.
    pub(crate) fn symlink(name: &str, target: &str) -> Self {
        Self {
            mode: 0o120_777,
            method: Method::Stored,
            ..Self::file(name, target.as_bytes())
        }
    }
}

struct Placed<'a> {
    member: &'a Member,
    offset: usize,
    packed: u64,
    size: u64,
    crc32: u32,
}

/// Writes the members in their order; the same members give the same bytes.
pub(crate) fn archive(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    let placed: Vec<_> = members.iter().map(|member| write_member(&mut out, member)).collect();
    let start = out.len();
    let listed: Vec<_> = placed.iter().filter(|entry| !entry.member.lies.hidden).collect();
    for entry in &listed {
        write_central(&mut out, entry);
    }
    write_end(&mut out, listed.len(), start, members.iter().any(|member| member.zip64));
    out
}

fn write_member<'a>(out: &mut Vec<u8>, member: &'a Member) -> Placed<'a> {
    let lies = &member.lies;
    let data = lies.data.clone().unwrap_or_else(|| match member.method {
        Method::Stored => member.bytes.clone(),
        Method::Deflated => deflate(&member.bytes),
    });
    out.extend_from_slice(&lies.before);
    let placed = Placed {
        member,
        offset: lies.offset.unwrap_or(out.len()),
        packed: lies.packed.unwrap_or(data.len() as u64),
        size: member.size.unwrap_or(member.bytes.len() as u64),
        crc32: member.crc32.unwrap_or_else(|| crc32fast::hash(&member.bytes)),
    };
    let (crc32, packed, size) = if member.descriptor {
        (0, 0, 0)
    } else {
        (placed.crc32, placed.packed, placed.size)
    };
    let name = match (&member.local_name, &lies.raw_name) {
        (Some(name), _) => name.as_bytes(),
        (None, Some(raw)) => raw,
        (None, None) => member.name.as_bytes(),
    };
    let zip64 = if member.zip64 {
        zip64_extra(size, packed)
    } else {
        Vec::new()
    };
    put32(out, 0x0403_4b50);
    write_common(out, member, lies.local_flags, lies.local_method);
    put32(out, lies.local_crc32.unwrap_or(crc32));
    put32(
        out,
        lies.local_packed.unwrap_or_else(|| narrow_size(packed, member.zip64)),
    );
    put32(out, lies.local_size.unwrap_or_else(|| narrow_size(size, member.zip64)));
    put_len(out, name.len());
    put_len(out, zip64.len() + lies.local_extra.len());
    out.extend_from_slice(name);
    out.extend_from_slice(&zip64);
    out.extend_from_slice(&lies.local_extra);
    out.extend_from_slice(&data);
    if member.descriptor {
        put32(out, 0x0807_4b50);
        put32(out, lies.descriptor_crc32.unwrap_or(placed.crc32));
        for value in [placed.packed, placed.size] {
            if member.zip64 {
                put64(out, value);
            } else {
                put32(out, narrow(value));
            }
        }
    }
    placed
}

fn write_central(out: &mut Vec<u8>, placed: &Placed<'_>) {
    let member = placed.member;
    let lies = &member.lies;
    let name = lies.raw_name.as_deref().unwrap_or(member.name.as_bytes());
    let zip64 = if member.zip64 {
        zip64_extra(placed.size, placed.packed)
    } else {
        Vec::new()
    };
    put32(out, 0x0201_4b50);
    put16(out, 0x0314); // made by Unix, so that the mode counts
    write_common(out, member, 0, None);
    put32(out, placed.crc32);
    put_size(out, placed.packed, member.zip64);
    put_size(out, placed.size, member.zip64);
    put_len(out, name.len());
    put_len(out, zip64.len() + lies.extra.len());
    put_len(out, lies.comment.len());
    put16(out, lies.disk);
    put16(out, 0); // internal attributes
    put32(out, member.mode << 16 | u32::from(lies.dos));
    put32(out, narrow(placed.offset as u64));
    out.extend_from_slice(name);
    out.extend_from_slice(&zip64);
    out.extend_from_slice(&lies.extra);
    out.extend_from_slice(&lies.comment);
}

fn write_end(out: &mut Vec<u8>, count: usize, start: usize, zip64: bool) {
    let (count, start, end) = (count as u64, start as u64, out.len() as u64);
    if zip64 {
        put32(out, 0x0606_4b50);
        put64(out, 44);
        put16(out, 0x032d);
        put16(out, 45);
        put32(out, 0);
        put32(out, 0);
        for value in [count, count, end - start, start] {
            put64(out, value);
        }
        put32(out, 0x0706_4b50);
        put32(out, 0);
        put64(out, end);
        put32(out, 1);
    }
    put32(out, 0x0605_4b50);
    put32(out, 0); // both disk numbers
    for _ in 0..2 {
        put16(
            out,
            if zip64 {
                0xffff
            } else {
                u16::try_from(count).expect("few members")
            },
        );
    }
    put_size(out, end - start, zip64);
    put_size(out, start, zip64);
    put16(out, 0);
}

/// Version needed, flags, method and time, which both headers share. The time is 1 January 1980, the oldest there is.
fn write_common(out: &mut Vec<u8>, member: &Member, flags: u16, method: Option<u16>) {
    put16(out, if member.zip64 { 45 } else { 20 });
    let name_is_utf8 = if member.name.is_ascii() || member.lies.no_utf8_flag {
        0
    } else {
        1 << 11
    };
    let descriptor = if member.descriptor { 1 << 3 } else { 0 };
    put16(out, name_is_utf8 | descriptor | member.lies.flags | flags);
    let own = match member.method {
        Method::Stored => 0,
        Method::Deflated => 8,
    };
    put16(out, method.or(member.lies.method).unwrap_or(own));
    put16(out, 0);
    put16(out, 0x0021);
}

pub(crate) fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

fn zip64_extra(size: u64, packed: u64) -> Vec<u8> {
    extra_field(1, &[size.to_le_bytes(), packed.to_le_bytes()].concat())
}

fn put_size(out: &mut Vec<u8>, value: u64, zip64: bool) {
    put32(out, narrow_size(value, zip64));
}

fn narrow_size(value: u64, zip64: bool) -> u32 {
    if zip64 { u32::MAX } else { narrow(value) }
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    put16(out, u16::try_from(len).expect("test names are short"));
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).expect("test archives are small")
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}
