//! The one file of a wheel that resolution needs, read from anything that reads at offsets.

use crate::pep::{PackageName, WheelFilename};
use crate::wheel::archive::{Archive, ArchiveError, ReadAt};

/// The largest METADATA that is read.
pub(super) const LIMIT: u64 = 32 << 20;

/// The bytes of `<name>-<version>.dist-info/METADATA`. Of the archive only the directory and that member are read and
/// checked; the rest is checked when the wheel is unpacked.
pub(crate) fn read_metadata(reader: &impl ReadAt, wheel: &WheelFilename) -> Result<Vec<u8>, ArchiveError> {
    let archive = Archive::open(reader)?;
    let mut found = archive.entries().iter().filter(|entry| is_metadata(&entry.name, wheel));
    match (found.next(), found.next()) {
        (Some(entry), None) => archive.read(entry, LIMIT),
        (None, _) => Err(ArchiveError::Container("it has no METADATA of its own")),
        (Some(_), Some(_)) => Err(ArchiveError::Container("it has more than one METADATA of its own")),
    }
}

/// Whether `path` is the wheel's own METADATA, and not that of a package that it carries along.
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
