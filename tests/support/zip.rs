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
    for entry in &placed {
        write_central(&mut out, entry);
    }
    write_end(&mut out, placed.len(), start, members.iter().any(|member| member.zip64));
    out
}

fn write_member<'a>(out: &mut Vec<u8>, member: &'a Member) -> Placed<'a> {
    let data = match member.method {
        Method::Stored => member.bytes.clone(),
        Method::Deflated => deflate(&member.bytes),
    };
    let placed = Placed {
        member,
        offset: out.len(),
        packed: data.len() as u64,
        size: member.size.unwrap_or(member.bytes.len() as u64),
        crc32: member.crc32.unwrap_or_else(|| crc32fast::hash(&member.bytes)),
    };
    let (crc32, packed, size) = if member.descriptor {
        (0, 0, 0)
    } else {
        (placed.crc32, placed.packed, placed.size)
    };
    let name = member.local_name.as_ref().unwrap_or(&member.name);
    put32(out, 0x0403_4b50);
    write_common(out, member);
    put32(out, crc32);
    put_size(out, packed, member.zip64);
    put_size(out, size, member.zip64);
    put_len(out, name.len());
    put_len(out, if member.zip64 { 20 } else { 0 });
    out.extend_from_slice(name.as_bytes());
    if member.zip64 {
        put_zip64_extra(out, size, packed);
    }
    out.extend_from_slice(&data);
    if member.descriptor {
        put32(out, 0x0807_4b50);
        put32(out, placed.crc32);
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
    put32(out, 0x0201_4b50);
    put16(out, 0x0314); // made by Unix, so that the mode counts
    write_common(out, member);
    put32(out, placed.crc32);
    put_size(out, placed.packed, member.zip64);
    put_size(out, placed.size, member.zip64);
    put_len(out, member.name.len());
    put_len(out, if member.zip64 { 20 } else { 0 });
    put16(out, 0); // comment
    put16(out, 0); // disk
    put16(out, 0); // internal attributes
    put32(out, member.mode << 16);
    put32(out, narrow(placed.offset as u64));
    out.extend_from_slice(member.name.as_bytes());
    if member.zip64 {
        put_zip64_extra(out, placed.size, placed.packed);
    }
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
fn write_common(out: &mut Vec<u8>, member: &Member) {
    put16(out, if member.zip64 { 45 } else { 20 });
    let name_is_utf8 = if member.name.is_ascii() { 0 } else { 1 << 11 };
    put16(out, name_is_utf8 | if member.descriptor { 1 << 3 } else { 0 });
    put16(
        out,
        match member.method {
            Method::Stored => 0,
            Method::Deflated => 8,
        },
    );
    put16(out, 0);
    put16(out, 0x0021);
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

fn put_zip64_extra(out: &mut Vec<u8>, size: u64, packed: u64) {
    put16(out, 1);
    put16(out, 16);
    put64(out, size);
    put64(out, packed);
}

fn put_size(out: &mut Vec<u8>, value: u64, zip64: bool) {
    put32(out, if zip64 { u32::MAX } else { narrow(value) });
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
