//! The bytes of one wheel so far: `<digest>.part`, and `<digest>.json` that says where they came from. A wheel whose digest
//! nobody states has a hash of its place in the name (`url_<hash>.part`).
//!
//! A part is written front to back, or by several connections at several places; its digest runs along the bytes that
//! are there without a gap, and bytes ahead of it are read back once it reaches them. A part of an earlier run is read
//! once to catch up. The sidecar lists finished ranges as `[first, end]`; a part that is written front to back has one
//! open range (`[0, null]`), which ends where the file ends.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use super::extents::Extents;
use crate::digest::{Hasher, WheelDigest};
use crate::fsx::{PathContext as _, PathError, read_if_exists, write_shared};
use crate::http::Response;

/// Bytes are read back in pieces of this size.
const PIECE: usize = 1 << 20;

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

    /// Whether an answer is about another file: another tag, or where neither has one another date.
    pub(super) fn differs(&self, response: &Response) -> bool {
        let other = |then: Option<&str>, now: Option<&str>| then.zip(now).map(|(then, now)| then != now);
        let by_tag = other(self.etag.as_deref(), response.header("etag"));
        let by_date = || other(self.last_modified.as_deref(), response.header("last-modified"));
        by_tag.or_else(by_date).unwrap_or(false)
    }

    /// The ranges that are finished in a file of `length` bytes; none where the sidecar makes no sense.
    fn extents(&self, length: u64) -> Option<Extents> {
        if self.schema != 1 {
            return None;
        }
        let ranges: Vec<(u64, u64)> = match self.ranges.as_slice() {
            [(0, None)] => vec![(0, length)],
            ranges => ranges
                .iter()
                .map(|&(first, end)| Some((first, end?)))
                .collect::<Option<_>>()?,
        };
        let mut extents =
            Extents::from_ranges(&ranges.into_iter().filter(|range| *range != (0, 0)).collect::<Vec<_>>())?;
        extents.clip(length);
        Some(extents)
    }
}

/// How many bytes of a file an earlier run left in `folder` under `stem`, in finished ranges.
#[must_use]
pub fn arrived_earlier(folder: &Path, stem: &str) -> u64 {
    let length = std::fs::metadata(folder.join(format!("{stem}.part"))).map_or(0, |meta| meta.len());
    let origin = read_if_exists(&folder.join(format!("{stem}.json"))).ok().flatten();
    let origin = origin.and_then(|bytes| serde_json::from_slice::<Origin>(&bytes).ok());
    let extents = origin.and_then(|origin| origin.extents(length));
    extents.map_or(0, |extents| extents.total())
}

/// A part that is being written.
pub(super) struct Part {
    data: PathBuf,
    sidecar: PathBuf,
    file: File,
    extents: Extents,
    /// Over the first `hashed` bytes.
    hasher: Hasher,
    hashed: u64,
    origin: Option<Origin>,
    /// Whether some of the bytes are an earlier run's or another source's.
    inherited: bool,
}

impl Part {
    /// Opens or creates the part `stem` in `folder` and reads what is there; more than `size` bytes, or bytes of
    /// unknown origin, are dropped.
    ///
    /// Without a digest to come (`unstated`) only the server can say that the bytes are still the file's: bytes that it
    /// cannot be asked about are dropped, and of a complete part the last byte is, so that it is asked.
    pub(super) fn open(folder: &Path, stem: &str, size: Option<u64>, unstated: bool) -> Result<Self, PathError> {
        let data = folder.join(format!("{stem}.part"));
        let sidecar = folder.join(format!("{stem}.json"));
        // Another user's bytes are not gone on with: they could change them after they were hashed.
        if std::fs::symlink_metadata(&data).is_ok_and(|meta| meta.uid() != rustix::process::geteuid().as_raw()) {
            remove_if_there(&data)?;
            remove_if_there(&sidecar)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&data)
            .at("open for writing", &data)?;
        let length = file.metadata().at("look at", &data)?.len();
        let origin = read_if_exists(&sidecar)?.and_then(|bytes| serde_json::from_slice::<Origin>(&bytes).ok());
        let origin = origin.filter(|origin| !unstated || origin.validator().is_some());
        let known = origin.and_then(|origin| Some((origin.extents(length)?, origin)));
        let limit = size.or_else(|| known.as_ref().and_then(|(_, origin)| origin.length));
        let fits = limit.is_none_or(|limit| length <= limit);
        let (extents, origin) = known.filter(|_| fits).unzip();
        let mut part = Self {
            data,
            sidecar,
            file,
            extents: extents.unwrap_or_default(),
            hasher: Hasher::new(),
            hashed: 0,
            origin,
            inherited: false,
        };
        let whole = part.origin.as_ref().and_then(|origin| origin.length);
        if let Some(whole) = whole.filter(|whole| unstated && part.extents.prefix() == *whole) {
            part.extents.clip(whole.saturating_sub(1));
        }
        if part.origin.is_none() {
            part.restart()?;
        } else {
            part.catch_up()?;
            part.inherit();
        }
        Ok(part)
    }

    /// Hashes the bytes that are there without a gap.
    fn catch_up(&mut self) -> Result<(), PathError> {
        if self.hashed == self.extents.prefix() {
            return Ok(());
        }
        let mut piece = vec![0; PIECE];
        while self.hashed < self.extents.prefix() {
            let count = self.extents.prefix() - self.hashed;
            let bytes = &mut piece[..usize::try_from(count).unwrap_or(PIECE).min(PIECE)];
            self.file.read_exact_at(bytes, self.hashed).at("read", &self.data)?;
            self.hasher.update(bytes);
            self.hashed += bytes.len() as u64;
        }
        Ok(())
    }

    /// A second handle, for those who write at several places.
    pub(super) fn handle(&self) -> Result<File, PathError> {
        self.file.try_clone().at("open", &self.data)
    }

    /// How many bytes are there from the start on, without a gap.
    pub(super) fn have(&self) -> u64 {
        self.extents.prefix()
    }

    /// How many bytes are there altogether.
    pub(super) fn total(&self) -> u64 {
        self.extents.total()
    }

    /// What is missing of a file of `length` bytes, in pieces that end at multiples of `segment`.
    pub(super) fn missing(&self, length: u64, segment: u64) -> Vec<(u64, u64)> {
        self.extents.missing(length, segment)
    }

    /// Whether some bytes are an earlier run's or another source's.
    pub(super) fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// Notes that the bytes that are there came from elsewhere than what follows.
    pub(super) fn inherit(&mut self) {
        self.inherited = self.total() > 0;
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
        self.extents = Extents::default();
        self.hasher = Hasher::new();
        self.hashed = 0;
        self.origin = None;
        self.inherited = false;
        remove_if_there(&self.sidecar)
    }

    /// Drops the bytes after the first gap, so that the part can be continued front to back.
    pub(super) fn keep_prefix(&mut self) -> Result<(), PathError> {
        let have = self.have();
        if self.total() > have {
            self.extents.clip(have);
            self.file.set_len(have).at("shorten", &self.data)?;
        }
        Ok(())
    }

    /// Notes where the bytes come from, before the first of them, so that a killed run can be continued. From here on
    /// the part is written front to back by [`Part::append`].
    pub(super) fn set_origin(&mut self, origin: Origin) -> Result<(), PathError> {
        self.keep_prefix()?;
        self.note(origin)
    }

    /// As [`Part::set_origin`], but the part is written at several places, and each is told by [`Part::arrived`].
    pub(super) fn set_origin_of_ranges(&mut self, origin: Origin) -> Result<(), PathError> {
        let ranges = self.closed_ranges();
        self.note(Origin { ranges, ..origin })
    }

    fn closed_ranges(&self) -> Vec<(u64, Option<u64>)> {
        let ranges = self.extents.ranges().iter().map(|&(first, end)| (first, Some(end)));
        // Never the open range: the file's length says nothing while it has gaps.
        std::iter::once((0, Some(0)))
            .filter(|_| self.total() == 0)
            .chain(ranges)
            .collect()
    }

    fn note(&mut self, origin: Origin) -> Result<(), PathError> {
        if self.origin.as_ref() == Some(&origin) {
            return Ok(());
        }
        let text = serde_json::to_vec(&origin).unwrap_or_default();
        write_shared(&self.sidecar, &text)?;
        self.origin = Some(origin);
        Ok(())
    }

    /// Adds bytes at the end of a part without gaps.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), PathError> {
        let have = self.have();
        if let Err(error) = self.file.write_all_at(bytes, have) {
            // Some of the bytes may have been written. They are not counted, so they must not stay.
            self.file.set_len(have).ok();
            return Err(error).at("write", &self.data);
        }
        self.arrived(have, bytes)
    }

    /// Counts bytes that were written at `offset`.
    pub(super) fn arrived(&mut self, offset: u64, bytes: &[u8]) -> Result<(), PathError> {
        let end = offset + bytes.len() as u64;
        if offset == self.hashed {
            self.hasher.update(bytes);
            self.hashed = end;
        }
        self.extents.add(offset, end);
        self.catch_up()
    }

    /// Writes the ranges that are finished into the sidecar.
    pub(super) fn note_ranges(&mut self) -> Result<(), PathError> {
        match self.origin.clone() {
            Some(origin) => self.set_origin_of_ranges(origin),
            None => Ok(()),
        }
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
            .at("open for writing", &self.data)?;
        std::fs::set_permissions(&kept, Permissions::from_mode(0o444)).at("make read-only", &kept)?;
        self.restart()?;
        Ok(kept)
    }

    /// Removes a part that is not needed after all.
    pub(super) fn discard(self) -> Result<(), PathError> {
        remove_if_there(&self.data)?;
        remove_if_there(&self.sidecar)
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
        let open = || Part::open(folder.path(), "x", Some(10), false).expect("opened");
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
        assert_eq!(Part::open(folder.path(), "x", None, false).expect("opened").have(), 0);

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
                2,
            ),
            (
                serde_json::to_string(&origin(None))
                    .expect("text")
                    .replace("[0,null]", "[3,5],[0,2]"),
                None,
                0,
            ),
            ("garbage".to_owned(), None, 0),
        ] {
            std::fs::write(&path, b"01234").expect("written");
            std::fs::write(folder.path().join("x.json"), &sidecar).expect("written");
            let part = Part::open(folder.path(), "x", size, false).expect("opened");
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
