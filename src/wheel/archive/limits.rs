//! How large a wheel may claim to be, checked in the central directory before anything is inflated.
//!
//! The limits are far above what wheels are: of torch 2.7.0 for CUDA the largest member has 1.0 GB (2 GB with the
//! kernels of an older toolkit), the wheel 1.7 GB in 11,502 members, and its directory 1.4 MB. What they stop is a file
//! of a few megabytes that fills a disk. While a member is inflated `reading` holds it to the size that was
//! checked here.

use super::{ArchiveError, Entry};

/// The central directory, in bytes; at 120 bytes a member [`MEMBERS`] fit.
pub const DIRECTORY: u64 = 64 << 20;

/// Members, folders included. The largest wheels of the package index have some 50,000.
pub const MEMBERS: usize = 400_000;

/// One member's uncompressed size. Larger shared objects than 2 GB cannot be linked with the usual code model.
pub const MEMBER_SIZE: u64 = 16 << 30;

/// All members' uncompressed sizes together.
pub const TOTAL_SIZE: u64 = 64 << 30;

/// Up to this size a member may shrink as far as deflate can (1032 to 1): `libXau` in pillow's wheels, padded by
/// `patchelf`, has 2 MB and shrinks to a 223rd.
pub const ANY_RATIO_SIZE: u64 = 32 << 20;

/// How far a larger member may shrink. Device code shrinks to a half, unstripped objects to a tenth.
pub const RATIO: u64 = 200;

/// How far all members together may shrink, where they are larger than [`ANY_RATIO_SIZE`]; wheels shrink to a fifth.
pub const TOTAL_RATIO: u64 = 100;

/// Folders above a member. The deepest of known wheels (JavaScript packages inside others) have some thirty.
pub const DEPTH: usize = 100;

/// Refuses an archive whose directory claims more than that.
pub(super) fn check(entries: &[Entry]) -> Result<(), ArchiveError> {
    if entries.len() > MEMBERS {
        return Err(ArchiveError::Container("it has more than 400,000 members"));
    }
    let (mut size, mut compressed) = (0u64, 0u64);
    for entry in entries {
        if entry.size > MEMBER_SIZE {
            return Err(entry.refuse("it claims more than 16 GiB, the most a member may have"));
        }
        if entry.size > ANY_RATIO_SIZE && entry.size / RATIO > entry.compressed {
            return Err(entry.refuse("it claims to be more than 200 times as large as its compressed bytes"));
        }
        if entry.name.matches('/').count() > DEPTH {
            return Err(entry.refuse("it lies more than 100 folders deep"));
        }
        size = size.saturating_add(entry.size);
        compressed = compressed.saturating_add(entry.compressed);
        if size > TOTAL_SIZE {
            return Err(entry.refuse("with it the members claim more than 64 GiB together"));
        }
    }
    if size > ANY_RATIO_SIZE && size / TOTAL_RATIO > compressed {
        return Err(ArchiveError::Container(
            "its members claim to be more than 100 times as large as their compressed bytes",
        ));
    }
    Ok(())
}
