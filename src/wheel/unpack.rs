//! A checked plan becomes a tree in the shape of an environment's prefix.
//!
//! Owns: writing the members, each checked against RECORD and its CRC as its bytes go by, and the RECORD of the tree.
//! Refuses: content that is not what the archive and RECORD say of it. Nothing is written outside the given folder, and
//! the caller publishes that folder only after everything succeeded.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::LazyLock;

use rayon::ThreadPool;

use crate::bulk;
use crate::digest::FileDigest;
use crate::fsx::{self, PathContext as _, PathError};
use crate::relpath::{RelPath, UnsafePath};
use crate::threads::try_map;
use crate::wheel::archive::{ArchiveError, ReadAt};
use crate::wheel::entry_points::{self, EntryPointError};
use crate::wheel::layout::Layout;
use crate::wheel::manifest::FileRow;
use crate::wheel::metadata::MetadataError;
use crate::wheel::plan::{METADATA_MAX, Placement, Plan};
use crate::wheel::record::{self, RecordError, RowHasher};

/// The threads that write members. There are more than processors, because past the page cache a good part of their
/// time is waiting for the disk.
static WRITERS: LazyLock<Option<ThreadPool>> = LazyLock::new(|| crate::threads::pool(threads()));

/// So many compressed bytes of small members are written in one go.
const BATCH: u64 = 1 << 20;

/// So many bytes of a member are inflated, hashed and written at a time.
const BUFFER: usize = 1 << 17;

/// How many threads write members.
pub(super) fn threads() -> usize {
    crate::threads::processors() + 2
}

/// Why a wheel is refused or could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The container.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A member's name.
    #[error("a member's name is refused")]
    Name(#[source] UnsafePath),
    /// Two members for one place.
    #[error("two members want the place `{0}`")]
    Collision(String),
    /// Not exactly one `*.dist-info` of the right name.
    #[error("expected one folder `{expected}` at the top, found {found}")]
    DistInfo {
        /// What the file name asks for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A file that PEP 427 requires.
    #[error("`{0}` is missing")]
    Missing(String),
    /// A file that is text is none.
    #[error("`{0}` is not UTF-8")]
    Text(String),
    /// A `*.data` folder that is not beside the dist-info of its name.
    #[error("`{found}` is not this wheel's data folder, which would be `{expected}`")]
    DataFolder {
        /// What goes with the dist-info.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The WHEEL file.
    #[error("the WHEEL file is refused: {0}")]
    Wheel(String),
    /// METADATA cannot be read or contradicts the file name.
    #[error("METADATA is refused")]
    Metadata(#[from] MetadataError),
    /// RECORD cannot be read.
    #[error("RECORD is refused")]
    Record(#[from] RecordError),
    /// A member without a row.
    #[error("`{0}` is not in RECORD")]
    Unrecorded(String),
    /// A member whose row has no digest.
    #[error("`{0}` has no digest in RECORD")]
    NoDigest(String),
    /// A row without a member.
    #[error("RECORD names `{0}`, which is not in the wheel")]
    Phantom(String),
    /// Content that contradicts RECORD.
    #[error("`{0}` does not match its digest or size in RECORD")]
    Mismatch(String),
    /// An entry point.
    #[error("entry_points.txt is refused")]
    EntryPoint(#[from] EntryPointError),
    /// A `.data` folder with a key that PEP 427 does not know.
    #[error("`{0}` is in no known scheme (purelib, platlib, scripts, data, headers)")]
    Scheme(String),
    /// A place that belongs to the environment itself or to the wheel's checked metadata.
    #[error("`{0}` would take the place of a file that belongs to the environment")]
    Reserved(String),
    /// More folders than any wheel has.
    #[error("its members need {0} folders")]
    Folders(usize),
    /// Writing.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A wheel whose members are written, before RECORD is.
#[derive(Debug)]
pub struct Unpacked {
    /// What was written so far.
    pub files: Vec<FileRow>,
    /// `lib/python3.11/site-packages/<name>-<version>.dist-info`.
    pub dist_info: RelPath,
    /// Files that RECORD does not vouch for, where those are allowed.
    pub unrecorded: Vec<RelPath>,
    layout: Layout,
}

impl<R: ReadAt + Sync> Plan<'_, R> {
    /// Writes every member below `root`, which must exist and be empty.
    ///
    /// Large members first and several at a time; the mode is 0444 or 0555 and the time 1 January 1980.
    pub fn write(self, root: &Path) -> Result<Unpacked, UnpackError> {
        for folder in self.folders() {
            let path = root.join(folder);
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(same_file(folder)),
                result => result.at("create the folder", path)?,
            }
        }
        let mut files = self.each_member(|placement, buffer| self.write_member(placement, root, buffer))?;
        for (path, contents) in &self.scripts {
            files.push(write_new(root, path.clone(), contents, true)?);
        }
        let installer = RelPath::new("INSTALLER")
            .map_err(UnpackError::Name)?
            .under(&self.dist_info);
        files.push(write_new(root, installer, b"flambeau\n", false)?);
        Ok(Unpacked {
            files,
            dist_info: self.dist_info,
            unrecorded: self.unrecorded,
            layout: self.layout,
        })
    }

    /// Reads every member as [`Plan::write`] does and writes nothing: whatever is refused only for a member's bytes is
    /// refused here too.
    pub fn check(&self) -> Result<(), UnpackError> {
        self.each_member(|placement, buffer| match self.python_script(placement)? {
            Some(_) => Ok(()),
            None => self.pour(placement, buffer, |_| Ok(())).map(drop),
        })?;
        Ok(())
    }

    /// Calls `work` for every member that is written, several at a time; those that are replaced are compared first.
    fn each_member<T: Send>(
        &self,
        work: impl Fn(&Placement<'_>, &mut [u8]) -> Result<T, UnpackError> + Sync,
    ) -> Result<Vec<T>, UnpackError> {
        for placement in &self.replaced {
            self.pour(placement, &mut vec![0; BUFFER], |_| Ok(()))?;
        }
        let batch = |buffer: &mut Vec<u8>, batch: Vec<&Placement<'_>>| {
            let done = batch.into_iter().map(|placement| work(placement, buffer));
            done.collect::<Result<Vec<_>, _>>()
        };
        let done = try_map(WRITERS.as_ref(), batches(&self.placements), || vec![0; BUFFER], batch)?;
        Ok(done.into_iter().flatten().collect())
    }

    /// The bytes of a script that Python runs, compared with its row; none where the member is no such script.
    fn python_script(&self, placement: &Placement<'_>) -> Result<Option<Vec<u8>>, UnpackError> {
        if !placement.script || !self.is_python_script(placement)? {
            return Ok(None);
        }
        let contents = self.archive.read(placement.entry, METADATA_MAX)?;
        let row = self.record.get(&placement.source);
        let mut hasher = RowHasher::new(row);
        hasher.update(&contents);
        if hasher.finish(row).1 {
            Ok(Some(contents))
        } else {
            Err(UnpackError::Mismatch(placement.source.to_string()))
        }
    }

    fn is_python_script(&self, placement: &Placement<'_>) -> Result<bool, UnpackError> {
        let mut start = Vec::with_capacity(entry_points::SCRIPT_START);
        self.archive
            .reader(placement.entry)?
            .take(entry_points::SCRIPT_START as u64)
            .read_to_end(&mut start)
            .map_err(|source| ArchiveError::Damaged {
                name: placement.entry.name.clone(),
                source,
            })?;
        Ok(entry_points::is_python_script(&start))
    }

    fn write_member(&self, placement: &Placement<'_>, root: &Path, buffer: &mut [u8]) -> Result<FileRow, UnpackError> {
        if let Some(contents) = self.python_script(placement)? {
            let script = entry_points::rewrite_script(&contents);
            return write_new(root, placement.path.clone(), &script, true);
        }
        let target = root.join(&placement.path);
        let executable = placement.script || placement.entry.executable;
        let file = create(&target, &placement.path, executable)?;
        let mut file = bulk::Writer::new(file, placement.entry.size);
        let mut native = None;
        let digest = self.pour(placement, buffer, |bytes| {
            native.get_or_insert_with(|| is_native(bytes));
            Ok(file.write_all(bytes).at("write", &target)?)
        })?;
        let file = file.finish().at("write", &target)?;
        fsx::stamp(&file).at("set the time of", &target)?;
        let path = placement.path.clone();
        Ok(FileRow {
            path,
            size: placement.entry.size,
            digest,
            executable,
            native: native.unwrap_or(false),
        })
    }

    /// Gives a member's bytes to `sink`, by way of `buffer`, and compares them with its row. Returns their digest.
    fn pour(
        &self,
        placement: &Placement<'_>,
        buffer: &mut [u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), UnpackError>,
    ) -> Result<FileDigest, UnpackError> {
        let row = self.record.get(&placement.source);
        let mut reader = self.archive.reader(placement.entry)?;
        let mut hasher = RowHasher::new(row);
        loop {
            match reader.read(buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    sink(&buffer[..count])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let name = placement.entry.name.clone();
                    return Err(ArchiveError::Damaged { name, source }.into());
                }
            }
        }
        match hasher.finish(row) {
            (digest, true) => Ok(digest),
            (_, false) => Err(UnpackError::Mismatch(placement.source.to_string())),
        }
    }
}

/// What one thread writes in one go: a large member, the largest first, or small ones that lie beside each other in the
/// archive. The archive is read in windows, so small members in any other order would read most of it for each.
fn batches<'p, 'a>(placements: &'p [Placement<'a>]) -> Vec<Vec<&'p Placement<'a>>> {
    let (mut large, mut small): (Vec<_>, Vec<_>) = placements
        .iter()
        .partition(|placement| placement.entry.packed() >= BATCH / 2);
    large.sort_by_key(|placement| std::cmp::Reverse(placement.entry.size));
    small.sort_by_key(|placement| placement.entry.position());
    let mut batches: Vec<Vec<_>> = large.into_iter().map(|placement| vec![placement]).collect();
    let mut room = 0;
    for placement in small {
        match batches.last_mut() {
            Some(batch) if room > placement.entry.packed() => batch.push(placement),
            _ => {
                batches.push(vec![placement]);
                room = BATCH;
            }
        }
        room = room.saturating_sub(placement.entry.packed());
    }
    batches
}

/// The folder was empty, so what is there already came from the same wheel: the file system takes two names for one,
/// without regard to case or to Unicode's normal forms.
fn same_file(place: &str) -> UnpackError {
    UnpackError::Collision(place.to_owned())
}

fn create(target: &Path, place: &RelPath, executable: bool) -> Result<File, UnpackError> {
    fsx::create_store_file(target, executable).map_err(|error| match error.source.kind() {
        io::ErrorKind::AlreadyExists => same_file(place.as_str()),
        _ => error.into(),
    })
}

/// ELF, or Mach-O in any of its forms (a universal file shares its magic with Java classes; a false hit only makes a
/// folder real).
fn is_native(head: &[u8]) -> bool {
    const MAGICS: [[u8; 4]; 6] = [
        *b"\x7fELF",
        [0xfe, 0xed, 0xfa, 0xce],
        [0xfe, 0xed, 0xfa, 0xcf],
        [0xce, 0xfa, 0xed, 0xfe],
        [0xcf, 0xfa, 0xed, 0xfe],
        [0xca, 0xfe, 0xba, 0xbe],
    ];
    MAGICS.iter().any(|magic| head.starts_with(magic))
}

/// Writes one file that flambeau itself makes.
pub(crate) fn write_new(root: &Path, path: RelPath, contents: &[u8], executable: bool) -> Result<FileRow, UnpackError> {
    let target = root.join(&path);
    let mut file = create(&target, &path, executable)?;
    file.write_all(contents).at("write", &target)?;
    fsx::stamp(&file).at("set the time of", &target)?;
    let digest = FileDigest::of(contents);
    Ok(FileRow {
        path,
        size: contents.len() as u64,
        digest,
        executable,
        native: is_native(contents),
    })
}

impl Unpacked {
    /// A tree whose files are already in place, e.g. linked from another tree of the same wheel.
    pub(crate) fn new(files: Vec<FileRow>, dist_info: RelPath, layout: Layout) -> Self {
        Self {
            files,
            dist_info,
            unrecorded: Vec::new(),
            layout,
        }
    }

    /// Writes RECORD and returns all files sorted by path. Like uv's, it lists no bytecode: which modules are compiled, and
    /// when, changes neither it nor the tree.
    pub fn finish(mut self, root: &Path) -> Result<Vec<FileRow>, UnpackError> {
        let record_path = RelPath::new("RECORD")
            .map_err(UnpackError::Name)?
            .under(&self.dist_info);
        let mut rows: BTreeMap<String, Option<(FileDigest, u64)>> = BTreeMap::new();
        for file in &self.files {
            rows.insert(
                self.layout.record_path(file.path.as_str()),
                Some((file.digest, file.size)),
            );
        }
        rows.insert(self.layout.record_path(record_path.as_str()), None);
        self.files
            .push(write_new(root, record_path, &record::write(&rows), false)?);
        self.files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(self.files)
    }
}

/// The Python sources below site-packages: path below the prefix, and the name that bytecode carries inside, which is
/// relative so that no place of a build gets into it.
pub(crate) fn sources(files: &[FileRow], layout: Layout) -> Vec<(RelPath, String)> {
    let site = format!("{}/", layout.site_packages());
    let inside = |file: &FileRow| file.path.as_str().strip_prefix(&site).map(str::to_owned);
    files
        .iter()
        .filter(|file| file.path.as_str().ends_with(".py"))
        .filter_map(|file| inside(file).map(|name| (file.path.clone(), name)))
        .collect()
}
