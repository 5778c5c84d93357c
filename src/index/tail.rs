//! The one file of a wheel that resolution needs, read from anything that reads at offsets.

use std::io::{self, Read as _};

use crate::pep::{PackageName, WheelFilename};
use crate::wheel::archive::ReadAt;

/// The largest METADATA that is read.
pub(super) const LIMIT: u64 = 32 << 20;

const END: usize = 22;

/// The bytes of `<name>-<version>.dist-info/METADATA`.
///
/// A stand-in until `wheel::archive::Archive` can be used here: only what an honest wheel below 4 GiB needs.
pub(super) fn read_metadata(reader: &impl ReadAt, wheel: &WheelFilename) -> io::Result<Vec<u8>> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let length = reader.len();
    let window = usize::try_from(length.min(END as u64 + 0xffff)).map_err(io::Error::other)?;
    let mut tail = vec![0; window];
    reader.read_exact_at(&mut tail, length - window as u64)?;
    let end = (0..window.saturating_sub(END - 1))
        .rev()
        .find(|&at| tail[at..].starts_with(b"PK\x05\x06"))
        .ok_or_else(|| bad("no end record"))?;
    let (size, start) = (u32_at(&tail, end + 12), u32_at(&tail, end + 16));
    if start == u32::MAX {
        return Err(bad("an archive of more than 4 GiB"));
    }
    if u64::from(size) + u64::from(start) > length {
        return Err(bad("the directory lies outside of the file"));
    }
    let mut directory = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    reader.read_exact_at(&mut directory, start.into())?;

    let mut rest = directory.as_slice();
    while rest.len() >= 46 && rest.starts_with(b"PK\x01\x02") {
        let lengths = [28, 30, 32].map(|at| usize::from(u16_at(rest, at)));
        let total = 46 + lengths.iter().sum::<usize>();
        if rest.len() < total {
            break;
        }
        let name = String::from_utf8_lossy(&rest[46..46 + lengths[0]]);
        if is_metadata(&name, wheel) {
            return member(reader, rest);
        }
        rest = &rest[total..];
    }
    Err(bad("no METADATA"))
}

fn is_metadata(path: &str, wheel: &WheelFilename) -> bool {
    let Some(stem) = path.strip_suffix(".dist-info/METADATA") else {
        return false;
    };
    !stem.contains('/')
        && stem
            .split_once('-')
            .and_then(|(name, _)| name.parse::<PackageName>().ok())
            .is_some_and(|name| name == wheel.name)
}

fn member(reader: &impl ReadAt, entry: &[u8]) -> io::Result<Vec<u8>> {
    let (method, packed, plain) = (u16_at(entry, 10), u32_at(entry, 20), u32_at(entry, 24));
    if u64::from(plain.max(packed)) > LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "METADATA is too large"));
    }
    let offset = u64::from(u32_at(entry, 42));
    let mut local = [0; 30];
    reader.read_exact_at(&mut local, offset)?;
    let data = offset + 30 + u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
    let mut bytes = vec![0; usize::try_from(packed).map_err(io::Error::other)?];
    reader.read_exact_at(&mut bytes, data)?;
    if method == 0 {
        return Ok(bytes);
    }
    let mut text = Vec::new();
    flate2::read::DeflateDecoder::new(bytes.as_slice())
        .take(u64::from(plain))
        .read_to_end(&mut text)?;
    Ok(text)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
