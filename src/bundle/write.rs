//! Writing a bundle: as a folder, which is resumed and brought up to date, or as an archive in one pass.
//!
//! Every file is compared with its digest while it is copied: what rotted here is not passed on. In a folder the
//! document is written last and taken away first, so a folder with a document is complete.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::document::{BundledEnvironment, DOCUMENT, Document, FileEntry, FileKind};
use super::parts::PartsWriter;
use super::{BundleError, EPOCH};
use crate::digest::{FileDigest, Hasher, hash_reader};
use crate::fsx::{self, PathContext as _};
use crate::progress::{Event, Reporter};
use crate::relpath::RelPath;
use crate::space::Shortage;

/// The level of Zstandard: wheels are compressed already, trees are not.
const LEVEL: i32 = 3;

/// What a file of a bundle is made of.
#[derive(Debug, Clone)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// That file's.
    File(PathBuf),
}

/// One file to write.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its row.
    pub entry: FileEntry,
    /// Whether the document has the row; a tree's manifest vouches for the others.
    pub listed: bool,
    /// Whether it is executable.
    pub executable: bool,
    /// Its bytes.
    pub content: Content,
}

impl Item {
    /// A file whose bytes are in memory.
    #[must_use]
    pub fn of_bytes(kind: FileKind, path: RelPath, bytes: Vec<u8>) -> Self {
        let entry = FileEntry {
            kind,
            path,
            size: bytes.len() as u64,
            sha256: FileDigest::of(&bytes),
        };
        Self {
            entry,
            listed: true,
            executable: false,
            content: Content::Bytes(bytes),
        }
    }

    fn open(&self) -> Result<Box<dyn Read + '_>, BundleError> {
        Ok(match &self.content {
            Content::Bytes(bytes) => Box::new(bytes.as_slice()),
            Content::File(path) => Box::new(File::open(path).at("open", path)?),
        })
    }

    fn origin(&self) -> PathBuf {
        match &self.content {
            Content::Bytes(_) => PathBuf::from(self.entry.path.as_str()),
            Content::File(path) => path.clone(),
        }
    }

    /// After a copy: whether its bytes were what they should be.
    fn check(&self, hasher: Hasher) -> Result<(), BundleError> {
        let actual = FileDigest::from_bytes(hasher.finish());
        if actual == self.entry.sha256 {
            return Ok(());
        }
        Err(BundleError::Damaged {
            path: self.origin(),
            expected: self.entry.sha256,
            actual,
        })
    }
}

/// Where a bundle is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A folder.
    Folder(PathBuf),
    /// An archive.
    Archive {
        /// Its path.
        path: PathBuf,
        /// Whether it is compressed with Zstandard.
        zstd: bool,
        /// Bytes of each part, where it is to be cut.
        split: Option<u64>,
    },
}

impl Output {
    /// `.tar` and `.tar.zst` are archives, everything else is a folder.
    #[must_use]
    pub fn of(path: &Path, split: Option<u64>) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let zstd = name.ends_with(".tar.zst");
        if zstd || name.ends_with(".tar") {
            let path = path.to_owned();
            Self::Archive { path, zstd, split }
        } else {
            Self::Folder(path.to_owned())
        }
    }
}

/// How to write.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The time of every file, in seconds since 1970.
    pub time: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { time: EPOCH }
    }
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// The bundle's digest.
    pub digest: FileDigest,
    /// The folder, the file, or its parts.
    pub paths: Vec<PathBuf>,
    /// Files in it, its document aside.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Writes a bundle; `items` stand in the order of their kinds.
pub fn write(
    output: &Output,
    environments: Vec<BundledEnvironment>,
    items: &[Item],
    options: Options,
    reporter: &dyn Reporter,
) -> Result<Written, BundleError> {
    let listed = items.iter().filter(|item| item.listed).map(|item| item.entry.clone());
    let document = Document::new(environments, listed.collect());
    let bytes = document.to_bytes();
    let wheels = || items.iter().filter(|item| item.entry.kind == FileKind::Wheel);
    reporter.event(Event::CopyPlanned {
        files: wheels().count(),
        bytes: wheels().map(|item| item.entry.size).sum(),
    });
    let paths = match output {
        Output::Folder(folder) => {
            write_folder(folder, (&document, &bytes), items, options, reporter)?;
            vec![folder.clone()]
        }
        Output::Archive { path, zstd, split } => {
            check_space(path.parent().unwrap_or(Path::new(".")), items.iter())?;
            let mut parts = PartsWriter::create(path, *split)?;
            match write_archive(&mut parts, *zstd, &bytes, items, (options, reporter)) {
                Ok(()) => parts.finish()?,
                Err(error) => {
                    parts.discard();
                    return Err(error);
                }
            }
        }
    };
    Ok(Written {
        digest: FileDigest::of(&bytes),
        paths,
        files: items.len(),
        bytes: items.iter().map(|item| item.entry.size).sum(),
    })
}

/// Refuses to start what does not fit.
fn check_space<'a>(folder: &Path, items: impl Iterator<Item = &'a Item>) -> Result<(), BundleError> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let needed = items.map(|item| item.entry.size).sum();
    let free = fsx::free_bytes(folder)?;
    if free < needed {
        return Err(BundleError::NoSpace(Shortage::expected(folder, needed, free)));
    }
    Ok(())
}

/// Hashes what passes, and tells of a wheel's bytes.
struct Tee<'a, R> {
    inner: R,
    hasher: Hasher,
    item: &'a Item,
    reporter: &'a dyn Reporter,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        if self.item.entry.kind == FileKind::Wheel {
            self.reporter.event(Event::FetchAdvanced {
                file: self.item.entry.path.file_name(),
                bytes: count as u64,
            });
        }
        Ok(count)
    }
}

fn begin(item: &Item, reporter: &dyn Reporter) {
    if item.entry.kind == FileKind::Wheel {
        reporter.event(Event::FetchStarted {
            file: item.entry.path.file_name(),
            size: Some(item.entry.size),
            have: 0,
        });
    }
}

fn end(item: &Item, reporter: &dyn Reporter) {
    if item.entry.kind == FileKind::Wheel {
        let file = item.entry.path.file_name();
        reporter.event(Event::FetchFinished { file });
    }
}

fn write_archive(
    parts: &mut PartsWriter,
    zstd: bool,
    document: &[u8],
    items: &[Item],
    (options, reporter): (Options, &dyn Reporter),
) -> Result<(), BundleError> {
    let path = Path::new("the bundle");
    let buffered = io::BufWriter::with_capacity(1 << 20, parts);
    if zstd {
        let mut encoder = zstd::Encoder::new(buffered, LEVEL).at("compress", path)?;
        encoder.include_checksum(true).at("compress", path)?;
        let encoder = append_all(encoder, document, items, (options, reporter))?;
        let mut buffered = encoder.finish().at("write", path)?;
        buffered.flush().at("write", path)?;
    } else {
        let mut buffered = append_all(buffered, document, items, (options, reporter))?;
        buffered.flush().at("write", path)?;
    }
    Ok(())
}

fn append_all<W: Write>(
    writer: W,
    document: &[u8],
    items: &[Item],
    (options, reporter): (Options, &dyn Reporter),
) -> Result<W, BundleError> {
    let mut builder = tar::Builder::new(writer);
    let header = |size: u64, executable: bool| {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(if executable { 0o755 } else { 0o644 });
        header.set_mtime(options.time);
        header.set_uid(0);
        header.set_gid(0);
        header
    };
    let first = &mut header(document.len() as u64, false);
    builder.append_data(first, DOCUMENT, document).at("write", DOCUMENT)?;
    for item in items {
        begin(item, reporter);
        let mut tee = Tee {
            inner: item.open()?.take(item.entry.size),
            hasher: Hasher::new(),
            item,
            reporter,
        };
        let header = &mut header(item.entry.size, item.executable);
        let path = item.entry.path.as_str();
        builder.append_data(header, path, &mut tee).at("write", path)?;
        item.check(tee.hasher)?;
        end(item, reporter);
    }
    builder
        .into_inner()
        .at("write", "the bundle")
        .map_err(BundleError::from)
}

fn write_folder(
    folder: &Path,
    (document, bytes): (&Document, &[u8]),
    items: &[Item],
    options: Options,
    reporter: &dyn Reporter,
) -> Result<(), BundleError> {
    fsx::create_dir_all(folder)?;
    let guard = File::open(folder).at("open", folder)?;
    if matches!(guard.try_lock(), Err(std::fs::TryLockError::WouldBlock)) {
        return Err(BundleError::Busy(folder.to_owned()));
    }
    let path = folder.join(DOCUMENT);
    let old = fsx::read_if_exists(&path)?;
    let marker = folder.join(format!(".{DOCUMENT}.partial"));
    if old.is_none() && !marker.exists() && std::fs::read_dir(folder).at("list", folder)?.next().is_some() {
        return Err(BundleError::InTheWay(folder.to_owned()));
    }
    if let Some(old) = old.as_deref().filter(|old| *old != bytes) {
        // What an interrupted run leaves is told from a stranger's folder by this file.
        fsx::write_atomic(&marker, bytes)?;
        std::fs::remove_file(&path).at("remove", &path)?;
        remove_old(folder, old, document)?;
    } else if old.is_none() {
        fsx::write_atomic(&marker, bytes)?;
    }
    let there: Vec<bool> = items.iter().map(|item| is_there(folder, item)).collect();
    let missing = || {
        items
            .iter()
            .zip(&there)
            .filter(|(_, there)| !**there)
            .map(|(item, _)| item)
    };
    check_space(folder, missing())?;
    for item in missing() {
        begin(item, reporter);
        write_file(folder, item, options, reporter)?;
        end(item, reporter);
    }
    fsx::write_durable(&path, bytes)?;
    set_time(&File::open(&path).at("open", &path)?, options).at("set the time of", &path)?;
    if marker.exists() {
        std::fs::remove_file(&marker).at("remove", &marker)?;
    }
    Ok(())
}

/// Whether an earlier run wrote this file already.
fn is_there(folder: &Path, item: &Item) -> bool {
    let path = folder.join(&item.entry.path);
    let fits = std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() == item.entry.size);
    let same = |(digest, _): ([u8; 32], u64)| FileDigest::from_bytes(digest) == item.entry.sha256;
    fits && File::open(&path).and_then(hash_reader).is_ok_and(same)
}

/// Removes what an earlier bundle in this folder had and this one has not.
fn remove_old(folder: &Path, old: &[u8], new: &Document) -> Result<(), BundleError> {
    let Ok(old) = Document::parse(old, folder) else {
        return Ok(());
    };
    let kept: std::collections::BTreeSet<&RelPath> = new.files.iter().map(|row| &row.path).collect();
    for row in old.files.iter().filter(|row| !kept.contains(&row.path)) {
        match row.of_tree() {
            Some((tree, _)) => fsx::remove_tree(&folder.join("trees").join(tree))?,
            None => fsx::remove_tree(&folder.join(&row.path))?,
        }
    }
    Ok(())
}

fn set_time(file: &File, options: Options) -> io::Result<()> {
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(options.time))
}

fn write_file(folder: &Path, item: &Item, options: Options, reporter: &dyn Reporter) -> Result<(), BundleError> {
    let path = folder.join(&item.entry.path);
    let parent = path.parent().unwrap_or(folder);
    fsx::create_dir_all(parent)?;
    let hidden = parent.join(format!(".{}.partial", item.entry.path.file_name()));
    let mut file = File::create(&hidden).at("create", &hidden)?;
    let mut tee = Tee {
        inner: item.open()?.take(item.entry.size),
        hasher: Hasher::new(),
        item,
        reporter,
    };
    let copied = io::copy(&mut tee, &mut file).at("write", &hidden);
    let checked = copied.map_err(BundleError::from).and_then(|_| item.check(tee.hasher));
    if let Err(error) = checked {
        std::fs::remove_file(&hidden).ok();
        return Err(error);
    }
    let mode = if item.executable { 0o755 } else { 0o644 };
    file.set_permissions(Permissions::from_mode(mode))
        .at("set the mode of", &hidden)?;
    set_time(&file, options).at("set the time of", &hidden)?;
    std::fs::rename(&hidden, &path).at("move a file to", &path)?;
    Ok(())
}
