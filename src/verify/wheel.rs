//! Cached wheels: the bytes beside the digest that they lie under.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::inspect::Content;
use super::{Depth, Examined, Kind, Subject, Verifier};
use crate::digest::{FileDigest, WheelDigest};

/// Whether the end of a wheel is there: the record that every ZIP archive ends with (APPNOTE §4.3.16).
fn has_end(path: &Path) -> bool {
    const RECORD: u64 = 22 + u16::MAX as u64;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(RECORD)))?;
        let mut end = Vec::new();
        file.take(RECORD).read_to_end(&mut end)?;
        Ok(end)
    };
    read().is_ok_and(|end| end.windows(4).any(|four| four == b"PK\x05\x06"))
}

impl Verifier<'_> {
    pub(super) fn wheel(&self, number: usize, digest: &WheelDigest, depth: Depth) -> Examined {
        let subject = Subject::Wheel(*digest);
        let folder = self.folder(&subject);
        let mut examined = Examined::default();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            // The whole folder may go at any time: a cache can be emptied.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return examined,
            Err(_) => {
                examined.tell(&subject, &folder, "", Kind::Unreadable);
                return examined;
            }
        };
        let mut wheels = 0;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(meta) = entry.metadata() else {
                examined.tell(&subject, &folder, &name, Kind::Unreadable);
                continue;
            };
            if !name.ends_with(".whl") {
                examined.tell(&subject, &folder, &name, Kind::Added);
                continue;
            }
            wheels += 1;
            if !meta.is_file() {
                examined.tell(&subject, &folder, &name, Kind::Replaced);
                continue;
            }
            examined.files += 1;
            examined.bytes += meta.len();
            if meta.mode() & 0o7777 != 0o444 {
                examined.tell(&subject, &folder, &name, Kind::Mode);
            }
            if depth == Depth::Full {
                examined.contents.push(Content {
                    subject: number,
                    path: entry.path(),
                    inside: name,
                    size: meta.len(),
                    inode: (meta.dev(), meta.ino()),
                    expected: FileDigest::from_bytes(*digest.as_bytes()),
                });
            } else if !has_end(&entry.path()) {
                examined.tell(&subject, &folder, &name, Kind::Truncated);
            }
        }
        if wheels == 0 {
            examined.tell(&subject, &folder, "", Kind::Missing);
        }
        for damage in &mut examined.damaged {
            if !damage.inside.is_empty() {
                damage.owner.clone_from(&damage.inside);
            }
        }
        examined
    }

    /// A wheel's size is not known, so only its missing end tells that it is short.
    pub(super) fn kind_of_wheel(subject: &Subject, path: &Path, kind: Kind) -> Kind {
        match (subject, kind) {
            (Subject::Wheel(_), Kind::Changed) if !has_end(path) => Kind::Truncated,
            (_, kind) => kind,
        }
    }
}
