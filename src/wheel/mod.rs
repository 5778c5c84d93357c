//! Wheels: reading the archive strictly, checking it against its own RECORD, unpacking it into a tree.

pub mod archive;
pub mod entry_points;
pub mod layout;
pub mod manifest;
pub mod metadata;
pub mod plan;
pub mod record;
pub(crate) mod source;
pub mod unpack;
mod wheel_file;
