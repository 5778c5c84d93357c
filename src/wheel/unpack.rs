//! A wheel becomes a tree in the shape of an environment's prefix.
//!
//! Owns: where each member goes (PEP 427, the layout of a virtual environment), and the checks that come before the
//! first write: safe names, one dist-info that agrees with the file name, RECORD complete in both directions. Every
//! member is checked against RECORD and its CRC while it is written.
//! Refuses: whatever is not exactly so. Nothing is written outside the given folder, and the caller publishes that
//! folder only after everything succeeded.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use rayon::prelude::*;

use crate::digest::FileDigest;
use crate::fsx::{self, PathContext as _, PathError};
use crate::pep::WheelFilename;
use crate::relpath::{RelPath, UnsafePath};
use crate::target::PythonMinor;
use crate::wheel::archive::{Archive, ArchiveError, Entry, ReadAt};
use crate::wheel::entry_points::{self, EntryPointError};
use crate::wheel::manifest::FileRow;
use crate::wheel::metadata::{self, MetadataError};
use crate::wheel::record::{self, Record, RecordError, RowHasher};

/// Metadata files larger than this are refused before they are read into memory.
const METADATA_MAX: u64 = 64 << 20;

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
    /// Writing.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Where members go for one Python minor version.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    python: PythonMinor,
}

impl Layout {
    /// The layout of an environment for `python`.
    #[must_use]
    pub const fn new(python: PythonMinor) -> Self {
        Self { python }
    }

    /// `lib/python3.11/site-packages`.
    #[must_use]
    pub fn site_packages(self) -> String {
        format!("lib/{}/site-packages", self.python.lib_folder())
    }

    /// A path relative to the prefix, as RECORD writes it: relative to site-packages.
    #[must_use]
    pub fn record_path(self, path: &str) -> String {
        match path
            .strip_prefix(&self.site_packages())
            .and_then(|rest| rest.strip_prefix('/'))
        {
            Some(inside) => inside.to_owned(),
            None => format!("../../../{path}"),
        }
    }
}

/// What happens to one member.
struct Placement<'a> {
    entry: &'a Entry,
    /// The name in the archive, for RECORD.
    source: RelPath,
    /// The place below the prefix.
    path: RelPath,
    /// A script from `.data/scripts`: executable, and its first line may be rewritten.
    script: bool,
}

/// A wheel whose members are written, before RECORD is.
#[derive(Debug)]
pub struct Unpacked {
    /// What was written so far.
    pub files: Vec<FileRow>,
    /// `lib/python3.11/site-packages/<name>-<version>.dist-info`.
    pub dist_info: RelPath,
    layout: Layout,
}

/// The checked plan of a wheel: everything that can be refused without inflating the members has been.
pub struct Plan<'a, R> {
    archive: &'a Archive<R>,
    record: Record,
    placements: Vec<Placement<'a>>,
    scripts: Vec<(RelPath, Vec<u8>)>,
    dist_info: RelPath,
    layout: Layout,
}

/// Checks the archive and decides where everything goes.
pub fn plan<'a, R: ReadAt>(
    archive: &'a Archive<R>,
    filename: &WheelFilename,
    layout: Layout,
) -> Result<Plan<'a, R>, UnpackError> {
    archive.check_members()?;
    let mut members: BTreeMap<RelPath, &Entry> = BTreeMap::new();
    for entry in archive.entries().iter().filter(|entry| !entry.is_dir()) {
        let name = RelPath::new(&entry.name).map_err(UnpackError::Name)?;
        if members.insert(name, entry).is_some() {
            return Err(UnpackError::Collision(entry.name.clone()));
        }
    }
    let dist_info = dist_info_folder(&members, filename)?;
    let stem = dist_info.strip_suffix(".dist-info").unwrap_or(&dist_info).to_owned();
    check_wheel_file(&read_text(archive, &members, &format!("{dist_info}/WHEEL"))?)?;
    let metadata = read_bytes(archive, &members, &format!("{dist_info}/METADATA"))?;
    metadata::parse(&metadata, &filename.to_string(), filename)?;
    let record_name = format!("{dist_info}/RECORD");
    let record = Record::parse(&read_bytes(archive, &members, &record_name)?)?;
    check_record_is_complete(&record, &members, &record_name)?;
    let mut scripts = Vec::new();
    if members.contains_key(format!("{dist_info}/entry_points.txt").as_str()) {
        let text = read_text(archive, &members, &format!("{dist_info}/entry_points.txt"))?;
        for script in entry_points::parse(&text)? {
            let path = RelPath::new(&format!("bin/{}", script.name)).map_err(UnpackError::Name)?;
            scripts.push((path, script.contents()));
        }
    }
    let site = layout.site_packages();
    let mut placements = Vec::with_capacity(members.len());
    for (source, entry) in members {
        // RECORD and INSTALLER are written anew; the signatures of RECORD would no longer match.
        let rest = source
            .as_str()
            .strip_prefix(&dist_info)
            .and_then(|rest| rest.strip_prefix('/'));
        if rest.is_some_and(|rest| matches!(rest, "RECORD" | "RECORD.jws" | "RECORD.p7s" | "INSTALLER")) {
            continue;
        }
        let (place, script) = place(source.as_str(), &stem, &site, layout)?;
        let path = RelPath::new(&place).map_err(UnpackError::Name)?;
        placements.push(Placement {
            entry,
            source,
            path,
            script,
        });
    }
    let dist_info = RelPath::new(&format!("{site}/{dist_info}")).map_err(UnpackError::Name)?;
    let plan = Plan {
        archive,
        record,
        placements,
        scripts,
        dist_info,
        layout,
    };
    plan.check_collisions()?;
    Ok(plan)
}

/// The one `*.dist-info` at the top, which must be of this wheel's name and version (however spelled).
fn dist_info_folder(members: &BTreeMap<RelPath, &Entry>, filename: &WheelFilename) -> Result<String, UnpackError> {
    let found: BTreeSet<&str> = members
        .keys()
        .filter_map(|path| path.as_str().split_once('/'))
        .map(|(top, _)| top)
        .filter(|top| top.to_ascii_lowercase().ends_with(".dist-info"))
        .collect();
    let error = |found: String| UnpackError::DistInfo {
        expected: format!("{}-{}.dist-info", filename.name.as_dist_info_name(), filename.version),
        found,
    };
    let mut tops = found.iter();
    let (Some(top), None) = (tops.next(), tops.next()) else {
        return Err(error(if found.is_empty() {
            "none".to_owned()
        } else {
            Vec::from_iter(found).join(", ")
        }));
    };
    let parsed = top.strip_suffix(".dist-info").and_then(|stem| stem.split_once('-'));
    let agrees = parsed.is_some_and(|(name, version)| {
        name.parse()
            .is_ok_and(|name: crate::pep::PackageName| name == filename.name)
            && version
                .replace('_', "+")
                .parse()
                .is_ok_and(|version: crate::pep::Version| version == filename.version)
    });
    if agrees {
        Ok((*top).to_owned())
    } else {
        Err(error((*top).to_owned()))
    }
}

fn read_bytes<R: ReadAt>(
    archive: &Archive<R>,
    members: &BTreeMap<RelPath, &Entry>,
    name: &str,
) -> Result<Vec<u8>, UnpackError> {
    let entry = members.get(name).ok_or_else(|| UnpackError::Missing(name.to_owned()))?;
    Ok(archive.read(entry, METADATA_MAX)?)
}

fn read_text<R: ReadAt>(
    archive: &Archive<R>,
    members: &BTreeMap<RelPath, &Entry>,
    name: &str,
) -> Result<String, UnpackError> {
    Ok(String::from_utf8_lossy(&read_bytes(archive, members, name)?).into_owned())
}

/// PEP 427: an installer must refuse a greater major Wheel-Version.
fn check_wheel_file(text: &str) -> Result<(), UnpackError> {
    let field = |wanted: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
        })
    };
    let version = field("Wheel-Version").ok_or_else(|| UnpackError::Wheel("it has no Wheel-Version".to_owned()))?;
    if version.split('.').next() != Some("1") {
        return Err(UnpackError::Wheel(format!(
            "Wheel-Version is {version}; 1.x is understood"
        )));
    }
    match field("Root-Is-Purelib")
        .map(|value| value.to_ascii_lowercase())
        .as_deref()
    {
        Some("true" | "false") => Ok(()),
        _ => Err(UnpackError::Wheel(
            "Root-Is-Purelib is neither true nor false".to_owned(),
        )),
    }
}

fn check_record_is_complete(
    record: &Record,
    members: &BTreeMap<RelPath, &Entry>,
    record_name: &str,
) -> Result<(), UnpackError> {
    for (path, entry) in members {
        let text = path.as_str();
        // RECORD cannot hold its own digest, and its signatures are made after it (PEP 427).
        let exempt = text == record_name
            || text
                .strip_prefix(record_name)
                .is_some_and(|rest| matches!(rest, ".jws" | ".p7s"));
        match record.get(path) {
            Some(row) if row.size.is_some_and(|size| size != entry.size) => {
                return Err(UnpackError::Mismatch(text.to_owned()));
            }
            Some(row) if row.digest.is_none() && !exempt => return Err(UnpackError::Unrecorded(text.to_owned())),
            None if !exempt => return Err(UnpackError::Unrecorded(text.to_owned())),
            _ => {}
        }
    }
    match record.paths().find(|path| !members.contains_key(*path)) {
        Some(phantom) if phantom.as_str() != record_name => Err(UnpackError::Phantom(phantom.to_string())),
        _ => Ok(()),
    }
}

/// The place below the prefix, and whether it is a script.
fn place(source: &str, stem: &str, site: &str, layout: Layout) -> Result<(String, bool), UnpackError> {
    let inside = source.strip_prefix(stem).and_then(|rest| rest.strip_prefix(".data/"));
    let Some(inside) = inside else {
        return Ok((format!("{site}/{source}"), false));
    };
    let (scheme, rest) = inside
        .split_once('/')
        .ok_or_else(|| UnpackError::Scheme(source.to_owned()))?;
    match scheme {
        "purelib" | "platlib" => Ok((format!("{site}/{rest}"), false)),
        "data" => Ok((rest.to_owned(), false)),
        "headers" => {
            let name = stem.split_once('-').map_or(stem, |(name, _)| name);
            Ok((
                format!("include/site/{}/{name}/{rest}", layout.python.lib_folder()),
                false,
            ))
        }
        "scripts" => {
            entry_points::check_name(rest)?;
            Ok((format!("bin/{rest}"), true))
        }
        _ => Err(UnpackError::Scheme(source.to_owned())),
    }
}

impl<R: ReadAt + Sync> Plan<'_, R> {
    /// Writes every member below `root`, which must exist and be empty.
    ///
    /// Large members first and several at a time; the mode is 0444 or 0555 and the time 1 January 1980.
    pub fn write(self, root: &Path) -> Result<Unpacked, UnpackError> {
        let folders: BTreeSet<&str> = self
            .paths()
            .flat_map(ancestors)
            .chain([self.dist_info.as_str()])
            .collect();
        for folder in folders {
            std::fs::create_dir(root.join(folder)).at("create the folder", root.join(folder))?;
        }
        let mut order: Vec<&Placement<'_>> = self.placements.iter().collect();
        order.sort_by_key(|placement| std::cmp::Reverse(placement.entry.size));
        let mut files: Vec<FileRow> = order
            .par_iter()
            .with_max_len(1)
            .map(|placement| self.write_member(placement, root))
            .collect::<Result<_, _>>()?;
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
            layout: self.layout,
        })
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

    fn write_member(&self, placement: &Placement<'_>, root: &Path) -> Result<FileRow, UnpackError> {
        let row = self.record.get(&placement.source);
        let mismatch = || UnpackError::Mismatch(placement.source.to_string());
        if placement.script && self.is_python_script(placement)? {
            let contents = self.archive.read(placement.entry, METADATA_MAX)?;
            let mut hasher = RowHasher::new(row);
            hasher.update(&contents);
            if !hasher.finish(row).1 {
                return Err(mismatch());
            }
            return write_new(
                root,
                placement.path.clone(),
                &entry_points::rewrite_script(&contents),
                true,
            );
        }
        let target = root.join(&placement.path);
        let executable = placement.script || placement.entry.executable;
        let mut file = fsx::create_store_file(&target, executable)?;
        let mut reader = self.archive.reader(placement.entry)?;
        let mut hasher = RowHasher::new(row);
        let mut buffer = vec![0u8; 1 << 17];
        let mut native = None;
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(ArchiveError::Damaged {
                        name: placement.entry.name.clone(),
                        source,
                    }
                    .into());
                }
            };
            let bytes = &buffer[..count];
            native.get_or_insert_with(|| is_native(bytes));
            hasher.update(bytes);
            file.write_all(bytes).at("write", &target)?;
        }
        fsx::stamp(&file).at("set the time of", &target)?;
        let (digest, agrees) = hasher.finish(row);
        if !agrees {
            return Err(mismatch());
        }
        let path = placement.path.clone();
        Ok(FileRow {
            path,
            size: placement.entry.size,
            digest,
            executable,
            native: native.unwrap_or(false),
        })
    }
}

impl<R> Plan<'_, R> {
    /// Leaves out what stands at other paths than those wanted: for mending a tree, most of which is intact.
    pub(crate) fn keep_only(&mut self, wanted: &dyn Fn(&RelPath) -> bool) {
        self.placements.retain(|placement| wanted(&placement.path));
        self.scripts.retain(|(path, _)| wanted(path));
    }

    /// The bytes that unpacking will write, bytecode aside.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.placements.iter().map(|placement| placement.entry.size).sum()
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        let own = std::iter::once(&self.dist_info);
        let scripts = self.scripts.iter().map(|(path, _)| path);
        // The dist-info folder itself counts as a parent of what is written into it later.
        self.placements
            .iter()
            .map(|placement| &placement.path)
            .chain(scripts)
            .map(RelPath::as_str)
            .chain(own.map(RelPath::as_str))
    }

    /// Two members may be one file after placement (`.data/purelib/a` beside `a`), a script may stand in the way of
    /// an entry point, and a file may stand where a folder is needed.
    fn check_collisions(&self) -> Result<(), UnpackError> {
        let mut files = BTreeSet::new();
        let scripts = self.scripts.iter().map(|(path, _)| path.as_str());
        for path in self
            .placements
            .iter()
            .map(|placement| placement.path.as_str())
            .chain(scripts)
        {
            if !files.insert(path) {
                return Err(UnpackError::Collision(path.to_owned()));
            }
        }
        match files
            .iter()
            .flat_map(|path| ancestors(path))
            .find(|folder| files.contains(folder))
        {
            Some(folder) => Err(UnpackError::Collision(folder.to_owned())),
            None => Ok(()),
        }
    }
}

/// The folders above a path, outermost first.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
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
    let mut file = fsx::create_store_file(&target, executable)?;
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
            layout,
        }
    }

    /// The Python sources below site-packages: path below the prefix, and the name that bytecode carries inside,
    /// which is relative so that no place of a build gets into it.
    #[must_use]
    pub fn sources(&self) -> Vec<(RelPath, String)> {
        sources(&self.files, self.layout)
    }

    /// Writes RECORD, now that it is known which bytecode there is, and returns all files sorted by path.
    pub fn finish(mut self, root: &Path, bytecode: Vec<FileRow>) -> Result<Vec<FileRow>, UnpackError> {
        let record_path = RelPath::new("RECORD")
            .map_err(UnpackError::Name)?
            .under(&self.dist_info);
        let mut rows: BTreeMap<String, Option<(FileDigest, u64)>> = BTreeMap::new();
        for file in self.files.iter().filter(|file| !file.is_bytecode()) {
            rows.insert(
                self.layout.record_path(file.path.as_str()),
                Some((file.digest, file.size)),
            );
        }
        for file in &bytecode {
            rows.insert(self.layout.record_path(file.path.as_str()), None);
        }
        rows.insert(self.layout.record_path(record_path.as_str()), None);
        // Bytecode that the wheel brought along was replaced by ours.
        let compiled: BTreeSet<RelPath> = bytecode.iter().map(|file| file.path.clone()).collect();
        self.files.retain(|file| !compiled.contains(&file.path));
        self.files.extend(bytecode);
        self.files
            .push(write_new(root, record_path, &record::write(&rows), false)?);
        self.files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(self.files)
    }
}

/// See [`Unpacked::sources`].
pub(crate) fn sources(files: &[FileRow], layout: Layout) -> Vec<(RelPath, String)> {
    let site = format!("{}/", layout.site_packages());
    let inside = |file: &FileRow| file.path.as_str().strip_prefix(&site).map(str::to_owned);
    files
        .iter()
        .filter(|file| file.path.as_str().ends_with(".py"))
        .filter_map(|file| inside(file).map(|name| (file.path.clone(), name)))
        .collect()
}
