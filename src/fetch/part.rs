//! The bytes of one wheel so far: `<digest>.part`, and `<digest>.json` that says where they came from.
//!
//! A part is written front to back, and its digest runs along; a part of an earlier run is read once to catch up. The
//! sidecar lists finished ranges as `[first, end]`; the one range of a part that is written front to back is open
//! (`[0, null]`): it ends where the file ends. A sidecar with other ranges was written by a version that fetches
//! ranges in parallel, and this one starts over.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::digest::{Hasher, WheelDigest};
use crate::fsx::{PathContext as _, PathError, read_if_exists, write_shared};

/// Where a part's bytes came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    schema: u32,
    /// Without query: it may hold a signature that is short-lived and secret.
    pub(super) url: Url,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    /// The length of the whole file.
    pub(super) length: Option<u64>,
    ranges: Vec<(u64, Option<u64>)>,
}

impl Origin {
    pub(super) fn new(url: Url, etag: Option<&str>, last_modified: Option<&str>, length: Option<u64>) -> Self {
        Self {
            schema: 1,
            url,
            etag: etag.map(str::to_owned),
            last_modified: last_modified.map(str::to_owned),
            length,
            ranges: vec![(0, None)],
        }
    }

    /// What `If-Range` may hold: a strong entity tag, else the date.
    pub(super) fn validator(&self) -> Option<&str> {
        self.etag
            .as_deref()
            .filter(|etag| !etag.starts_with("W/"))
            .or(self.last_modified.as_deref())
    }

    fn is_front_to_back(&self) -> bool {
        self.schema == 1 && self.ranges == [(0, None)]
    }
}

/// A part that is being written.
pub(super) struct Part {
    data: PathBuf,
    sidecar: PathBuf,
    file: File,
    have: u64,
    hasher: Hasher,
    origin: Option<Origin>,
    /// Whether some of the bytes are an earlier run's or another source's.
    inherited: bool,
}

impl Part {
    /// Opens or creates the part `stem` in `folder` and reads what is there; more than `size` bytes, or bytes of
    /// unknown origin, are dropped.
    pub(super) fn open(folder: &Path, stem: &str, size: Option<u64>) -> Result<Self, PathError> {
        let data = folder.join(format!("{stem}.part"));
        let sidecar = folder.join(format!("{stem}.json"));
        // Another user's bytes are not gone on with: they could change them after they were hashed.
        if std::fs::symlink_metadata(&data).is_ok_and(|meta| meta.uid() != rustix::process::geteuid().as_raw()) {
            remove_if_there(&data)?;
            remove_if_there(&sidecar)?;
        }
        let origin = read_if_exists(&sidecar)?
            .and_then(|bytes| serde_json::from_slice::<Origin>(&bytes).ok())
            .filter(Origin::is_front_to_back);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&data)
            .at("open", &data)?;
        let length = file.metadata().at("look at", &data)?.len();
        let mut part = Self {
            data,
            sidecar,
            file,
            have: 0,
            hasher: Hasher::new(),
            origin,
            inherited: false,
        };
        let limit = size.or_else(|| part.origin.as_ref().and_then(|origin| origin.length));
        if part.origin.is_none() || limit.is_some_and(|limit| length > limit) {
            part.restart()?;
        } else {
            part.catch_up().at("read", &part.data)?;
        }
        Ok(part)
    }

    /// Hashes the bytes that are there.
    fn catch_up(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 18];
        self.file.rewind()?;
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    self.hasher.update(&buffer[..count]);
                    self.have += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.inherited = self.have > 0;
        Ok(())
    }

    /// How many bytes are there.
    pub(super) fn have(&self) -> u64 {
        self.have
    }

    /// Whether some bytes are an earlier run's or another source's.
    pub(super) fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// Notes that the bytes that are there came from elsewhere than what follows.
    pub(super) fn inherit(&mut self) {
        self.inherited = self.have > 0;
    }

    /// Where the bytes came from.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// The part's path.
    pub(super) fn path(&self) -> &Path {
        &self.data
    }

    /// Drops every byte.
    pub(super) fn restart(&mut self) -> Result<(), PathError> {
        self.file.set_len(0).at("empty", &self.data)?;
        self.file.rewind().at("rewind", &self.data)?;
        self.have = 0;
        self.hasher = Hasher::new();
        self.origin = None;
        self.inherited = false;
        remove_if_there(&self.sidecar)
    }

    /// Notes where the bytes come from. Written before the first of them, so that a killed run can be continued.
    pub(super) fn set_origin(&mut self, origin: Origin) -> Result<(), PathError> {
        if self.origin.as_ref() == Some(&origin) {
            return Ok(());
        }
        let text = serde_json::to_vec(&origin).unwrap_or_default();
        write_shared(&self.sidecar, &text)?;
        self.origin = Some(origin);
        Ok(())
    }

    /// Adds bytes at the end.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), PathError> {
        if let Err(error) = self.file.write_all(bytes) {
            // Some of the bytes may have been written. They are not counted, so they must not stay.
            self.file.set_len(self.have).ok();
            self.file.seek(SeekFrom::Start(self.have)).ok();
            return Err(error).at("write", &self.data);
        }
        self.hasher.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }

    /// The digest of the bytes so far.
    pub(super) fn digest(&self) -> WheelDigest {
        WheelDigest::from_bytes(self.hasher.clone().finish())
    }

    /// Moves the bytes aside under their true digest and starts over.
    pub(super) fn set_aside(&mut self) -> Result<PathBuf, PathError> {
        let kept = self.data.with_file_name(format!("{}.bad", self.digest()));
        std::fs::rename(&self.data, &kept).at("move aside to", &kept)?;
        self.file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&self.data)
            .at("open", &self.data)?;
        std::fs::set_permissions(&kept, Permissions::from_mode(0o444)).at("make read-only", &kept)?;
        self.restart()?;
        Ok(kept)
    }

    /// Forgets the sidecar after the data was renamed away.
    pub(super) fn finish(self) -> Result<(), PathError> {
        remove_if_there(&self.sidecar)
    }
}

fn remove_if_there(path: &Path) -> Result<(), PathError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(length: Option<u64>) -> Origin {
        let url = Url::parse("https://example.org/a.whl").expect("a URL");
        Origin::new(url, Some("\"e\""), None, length)
    }

    #[test]
    fn a_part_is_continued_with_its_digest() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Part::open(folder.path(), "x", Some(10)).expect("opened");
        let mut part = open();
        part.set_origin(origin(Some(10))).expect("noted");
        part.append(b"01234").expect("written");
        drop(part);
        let mut part = open();
        assert_eq!((part.have(), part.is_inherited()), (5, true));
        assert_eq!(part.origin(), Some(&origin(Some(10))));
        part.append(b"56789").expect("written");
        assert_eq!(part.digest(), WheelDigest::of(b"0123456789"));
        let kept = part.set_aside().expect("moved");
        assert_eq!(std::fs::read(kept).expect("kept"), b"0123456789");
        assert_eq!((part.have(), part.is_inherited()), (0, false));
        part.append(b"again").expect("written");
        assert_eq!(std::fs::read(part.path()).expect("there"), b"again");
    }

    #[test]
    fn bytes_of_unknown_origin_or_too_many_are_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.part");
        std::fs::write(&path, b"01234").expect("written");
        assert_eq!(Part::open(folder.path(), "x", None).expect("opened").have(), 0);

        for (sidecar, size, have) in [
            (serde_json::to_string(&origin(None)).expect("text"), None, 5),
            (serde_json::to_string(&origin(None)).expect("text"), Some(4), 0),
            (serde_json::to_string(&origin(Some(4))).expect("text"), None, 0),
            (
                serde_json::to_string(&origin(None))
                    .expect("text")
                    .replace(":1,", ":2,"),
                None,
                0,
            ),
            (
                serde_json::to_string(&origin(None))
                    .expect("text")
                    .replace("[0,null]", "[0,2],[3,5]"),
                None,
                0,
            ),
            ("garbage".to_owned(), None, 0),
        ] {
            std::fs::write(&path, b"01234").expect("written");
            std::fs::write(folder.path().join("x.json"), &sidecar).expect("written");
            let part = Part::open(folder.path(), "x", size).expect("opened");
            assert_eq!(part.have(), have, "{sidecar} {size:?}");
        }
    }

    #[test]
    fn only_strong_validators_are_sent_back() {
        let url = Url::parse("https://example.org/a.whl").expect("a URL");
        let with = |etag, date| {
            Origin::new(url.clone(), etag, date, None)
                .validator()
                .map(str::to_owned)
        };
        assert_eq!(with(Some("\"e\""), Some("date")).as_deref(), Some("\"e\""));
        assert_eq!(with(Some("W/\"e\""), Some("date")).as_deref(), Some("date"));
        assert_eq!(with(Some("W/\"e\""), None), None);
    }
}
