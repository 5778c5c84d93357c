//! Wheel trees: one wheel unpacked into the store, laid out for one Python minor version.
//!
//! `wheels/<sha256[..40]>-<name>-<version>-<cache tag>.<form>/` holds `root/` (in the shape of a prefix),
//! `manifest.json` and `facts.json`. A second Python version hard-links the files of the first tree and adds only RECORD.
//! Refuses: a wheel file whose bytes are not those of its digest, and whatever [`crate::wheel`] refuses.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bytecode::{BytecodeError, Compilers, Modules, bytecode_name};
use super::{FORM, Python, admission};
use crate::bulk;
use crate::checkpoint;
use crate::digest::{FileDigest, WheelDigest, hash_reader};
use crate::document::DocumentError;
use crate::fsx::{self, PathContext as _, PathError};
use crate::pep::WheelFilename;
use crate::progress::{Event, Reporter};
use crate::relpath::RelPath;
use crate::space::Shortage;
use crate::store::{Claim, Shelf, Staging, Store, StoreError, Sync, Trust};
use crate::target::PythonMinor;
use crate::threads;
use crate::wheel::archive::Archive;
use crate::wheel::layout::Layout;
use crate::wheel::manifest::{Facts, FileRow, Folder, Manifest, SCHEMA};
use crate::wheel::plan::plan;
use crate::wheel::source::WheelFile;
use crate::wheel::unpack::{UnpackError, Unpacked};

/// Why a tree could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The bytes are not those of the digest.
    #[error("{} has the digest {actual}; the lockfile has {expected}", path.display())]
    Digest {
        /// The wheel file.
        path: PathBuf,
        /// What the lockfile states.
        expected: WheelDigest,
        /// What the file has.
        actual: WheelDigest,
    },
    /// The wheel is refused.
    #[error("the wheel {file} is refused")]
    Refused {
        /// The wheel's file name.
        file: String,
        /// Why.
        #[source]
        source: Box<UnpackError>,
    },
    /// Too little space for the unpacked files.
    #[error("cannot unpack {file}")]
    NoSpace {
        /// The wheel's file name.
        file: String,
        /// What is needed, and what there is.
        #[source]
        source: Shortage,
    },
    /// Bytecode.
    #[error("cannot compile the bytecode of {file}")]
    Bytecode {
        /// The wheel's file name.
        file: String,
        /// Why.
        #[source]
        source: BytecodeError,
    },
    /// A tree whose manifest names no RECORD.
    #[error("the tree {} has no RECORD", path.display())]
    NoRecord {
        /// The tree.
        path: PathBuf,
    },
    /// A document of a tree cannot be read.
    #[error("{} is damaged", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: DocumentError,
    },
}

/// The wheel that a tree is made of.
#[derive(Debug, Clone, Copy)]
pub struct WheelId<'a> {
    /// The parsed file name.
    pub filename: &'a WheelFilename,
    /// The file name as the index wrote it.
    pub file: &'a str,
    /// SHA-256 of the file.
    pub digest: WheelDigest,
}

/// A visible tree.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The folder's name on the shelf `wheels/`.
    pub name: String,
    /// The folder: in the store, or in one of its lower stores.
    pub folder: PathBuf,
    /// What composing needs.
    pub facts: Facts,
    /// Where its bytecode is or would be; none where the tree holds it itself, as those of an earlier form do.
    pub bytecode: Option<PathBuf>,
}

impl Tree {
    /// This store's tree of this name.
    pub fn open(store: &Store, name: &str) -> Result<Self, TreeError> {
        Self::read(name.to_owned(), store.path(Shelf::Wheels, name))
    }

    /// Reads the full manifest.
    pub fn manifest(&self) -> Result<Manifest, TreeError> {
        read_document(&self.folder.join("manifest.json"))
    }

    /// Reads the full manifest of this store's tree of this name.
    pub fn manifest_of(store: &Store, name: &str) -> Result<Manifest, TreeError> {
        read_document(&store.path(Shelf::Wheels, name).join("manifest.json"))
    }

    /// The store that it is in, where that is not `store` but one below.
    #[must_use]
    pub fn lower(&self, store: &Store) -> Option<PathBuf> {
        let root = self.folder.parent().and_then(Path::parent)?;
        (root != store.root()).then(|| root.to_owned())
    }

    /// Whether its bytecode is, or would be, in this store.
    #[must_use]
    pub fn bytecode_is_in(&self, store: &Store) -> bool {
        self.bytecode
            .as_ref()
            .is_some_and(|bytecode| bytecode.starts_with(store.root()))
    }

    /// Looks for its bytecode in another store than its own.
    pub fn take_bytecode_from(&mut self, store: &Store) {
        if self.bytecode.is_some() {
            self.bytecode = Some(store.path(Shelf::Bytecode, bytecode_name(&self.name)));
        }
    }

    fn read(name: String, folder: PathBuf) -> Result<Self, TreeError> {
        let facts = read_document(&folder.join("facts.json"))?;
        Ok(Self::of(name, folder, facts))
    }

    /// A tree in a folder of a store; its bytecode is looked for in the same store.
    pub(super) fn of(name: String, folder: PathBuf, facts: Facts) -> Self {
        let store = folder.parent().and_then(Path::parent);
        let bytecode = store
            .filter(|_| facts.cache_tag.is_some())
            .map(|store| store.join(Shelf::Bytecode.folder()).join(bytecode_name(&name)));
        Self {
            name,
            folder,
            facts,
            bytecode,
        }
    }
}

/// Makes and finds trees for one interpreter.
pub struct Trees<'a> {
    /// Where they are.
    pub store: &'a Store,
    /// The interpreter that they are for.
    pub python: &'a Python,
    /// The workers that compile it.
    pub compilers: &'a Compilers,
    /// Which modules they compile.
    pub modules: Modules,
    /// Who watches.
    pub reporter: &'a dyn Reporter,
    /// When trees reach the disk.
    pub sync: Sync,
    /// What keeps the trees that are found or made from being collected, until it is dropped.
    pub claim: &'a Claim,
    /// Whether files that a wheel's RECORD does not vouch for are let in.
    pub allow_unrecorded: bool,
}

/// What a tree is of, for its facts.
pub(crate) struct Identity {
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) file: String,
    pub(crate) wheel: WheelDigest,
    pub(crate) unrecorded: Vec<RelPath>,
}

impl Identity {
    pub(crate) fn of(wheel: &WheelId<'_>, unpacked: &Unpacked) -> Self {
        Self {
            package: wheel.filename.name.to_string(),
            version: wheel.filename.version.to_string(),
            file: wheel.file.to_owned(),
            wheel: wheel.digest,
            unrecorded: unpacked.unrecorded.clone(),
        }
    }
}

/// The end of a tree's name: the cache tag, a `t` for builds without the GIL where the tag does not tell, and the form
/// where it is not the first.
pub(super) fn tag(python: &Python) -> String {
    let cache_tag = match &python.cache_tag {
        tag if python.minor.freethreaded && !tag.ends_with('t') => format!("{tag}t"),
        tag => tag.clone(),
    };
    if FORM == 1 {
        cache_tag
    } else {
        format!("{cache_tag}.{FORM}")
    }
}

/// The Python that a tree of this name is for, and its cache tag. Trees of the first form that hold no bytecode have a
/// mark of that in their name.
pub(crate) fn python_of(name: &str) -> Option<(PythonMinor, String)> {
    let tag = name.rsplit_once("-cpython-").map(|(_, rest)| rest)?;
    let tag = tag.split('.').next().unwrap_or(tag);
    let tag = tag.strip_suffix("-nopyc").unwrap_or(tag);
    let minor = tag.strip_prefix('3')?.trim_end_matches('t').parse().ok()?;
    let python = PythonMinor {
        freethreaded: tag.ends_with('t'),
        ..PythonMinor::new(minor)
    };
    Some((python, format!("cpython-{tag}")))
}

/// Whether the end of a tree's name is of this form or an earlier one.
fn is_known_form(tag: &str) -> bool {
    let form = tag.rsplit_once('.').map_or(Some(1), |(_, form)| form.parse().ok());
    form.is_some_and(|form: u32| form <= FORM)
}

/// The folder name of a wheel's tree.
#[must_use]
pub fn tree_name(wheel: &WheelId<'_>, python: &Python) -> String {
    let WheelFilename { name, version, .. } = wheel.filename;
    format!(
        "{}-{}-{version}-{}",
        wheel.digest.short(),
        name.as_dist_info_name(),
        tag(python)
    )
}

/// A file that cannot be written is no fault of the wheel.
pub(crate) fn refused(file: &str, error: UnpackError) -> TreeError {
    match error {
        UnpackError::Path(error) => TreeError::Path(error),
        error => TreeError::Refused {
            file: file.to_owned(),
            source: Box::new(error),
        },
    }
}

pub(super) fn read_document<T: DeserializeOwned>(path: &Path) -> Result<T, TreeError> {
    let bytes = std::fs::read(path).at("read", path)?;
    serde_json::from_slice(&bytes).map_err(|error| TreeError::Document {
        path: path.to_owned(),
        source: DocumentError::json(&bytes, &error),
    })
}

pub(super) fn write_document(folder: &Path, name: &str, document: &impl Serialize) -> Result<(), TreeError> {
    use std::io::Write as _;
    let path = folder.join(name);
    let bytes = serde_json::to_vec(document).map_err(|error| TreeError::Document {
        path: path.clone(),
        source: DocumentError::json(b"", &error),
    })?;
    let mut file = fsx::create_store_file(&path, false)?;
    file.write_all(&bytes).at("write", &path)?;
    fsx::stamp(&file).at("set the time of", &path)?;
    Ok(())
}

/// Compares every file below `root` with its row, on all cores. Returns the paths that differ.
#[must_use]
pub fn damaged_files(root: &Path, files: &[FileRow]) -> Vec<RelPath> {
    let intact = |row: &FileRow| {
        let read = File::open(root.join(&row.path)).and_then(hash_reader);
        read.is_ok_and(|(digest, size)| size == row.size && FileDigest::from_bytes(digest) == row.digest)
    };
    let damaged = |row: &FileRow| (!intact(row)).then(|| row.path.clone());
    threads::map(files.iter().collect(), damaged)
        .into_iter()
        .flatten()
        .collect()
}

impl Trees<'_> {
    /// Keeps the trees of wheels from being collected, in one step for all; each that is looked for later would be by
    /// itself.
    pub fn claim_all<'w>(&self, wheels: impl IntoIterator<Item = WheelId<'w>>) -> Result<(), TreeError> {
        let mut names = Vec::new();
        for wheel in wheels {
            let name = tree_name(&wheel, self.python);
            if self.store.find_lower(Shelf::Wheels, &name)?.is_none() {
                names.push(name);
            }
        }
        Ok(self.claim.hold_all(Shelf::Wheels, names.iter().map(String::as_str))?)
    }

    /// The visible tree of a wheel. One that a crash may have damaged is verified first, and taken away if it is.
    pub fn find(&self, wheel: &WheelId<'_>) -> Result<Option<Tree>, TreeError> {
        self.find_named(tree_name(wheel, self.python))
    }

    pub(crate) fn find_named(&self, name: String) -> Result<Option<Tree>, TreeError> {
        if let Some(lower) = self.store.find_lower(Shelf::Wheels, &name)? {
            match Tree::read(name.clone(), lower.path(Shelf::Wheels, &name)) {
                Ok(tree) => return Ok(Some(self.with_bytecode(tree))),
                Err(error) => {
                    let message = format!("passing over a tree of a lower store: {error}");
                    self.reporter.event(Event::Warning { message: &message });
                }
            }
        }
        // Before the look: what is seen afterwards stays.
        self.claim.hold(Shelf::Wheels, &name)?;
        crate::checkpoint::reach("tree.claimed");
        if !self.store.has(Shelf::Wheels, &name) {
            return Ok(None);
        }
        let folder = self.store.path(Shelf::Wheels, &name);
        if self.store.trust(Shelf::Wheels, &name)? == Trust::Unknown {
            let _guard = self.store.guard(&name, self.reporter)?;
            let manifest: Result<Manifest, _> = read_document(&folder.join("manifest.json"));
            if manifest.is_ok_and(|manifest| damaged_files(&folder.join("root"), &manifest.files).is_empty()) {
                self.store.mark_synced(Shelf::Wheels, &name)?;
            } else {
                let message = format!("{name} did not survive a crash of this machine and is made again");
                self.reporter.event(Event::Warning { message: &message });
                self.store.discard(Shelf::Wheels, &name)?;
                return Ok(None);
            }
        }
        self.accepted(Tree::read(name, folder)?).map(Some)
    }

    /// A visible tree, unless it was made with `allow_unrecorded` and this run does not allow that.
    fn accepted(&self, tree: Tree) -> Result<Tree, TreeError> {
        match tree.facts.unrecorded.first() {
            Some(first) if !self.allow_unrecorded => {
                let error = UnpackError::Unrecorded(first.to_string());
                Err(refused(&tree.facts.file, error))
            }
            _ => Ok(tree),
        }
    }

    /// A tree of a lower store. Where its bytecode is not there, this store has it.
    fn with_bytecode(&self, mut tree: Tree) -> Tree {
        let is_there = tree.bytecode.as_ref().is_some_and(|bytecode| bytecode.is_dir());
        if !is_there {
            tree.take_bytecode_from(self.store);
        }
        tree
    }

    /// Unpacks the wheel at `path` into a tree, where that is not visible yet. `hashed` says that this run has already
    /// compared the file with its digest.
    pub fn unpack_for(&self, wheel: &WheelId<'_>, path: &Path, hashed: bool) -> Result<Tree, TreeError> {
        let name = tree_name(wheel, self.python);
        self.claim.hold(Shelf::Wheels, &name)?;
        let _guard = self.store.guard(&name, self.reporter)?;
        // Another process may have made it while this one waited.
        if let Some(tree) = self.find_unguarded(&name)? {
            return Ok(tree);
        }
        if !hashed {
            check_digest(path, wheel.digest)?;
        }
        self.reporter.event(Event::UnpackStarted { file: wheel.file });
        // Only what was received a moment ago was hashed while it came.
        let file = WheelFile::open(path, hashed).at("open", path)?;
        let (staging, unpacked) = self.unpack(wheel, file, None)?;
        checkpoint::reach("tree.unpacked");
        self.publish(name, wheel, staging, unpacked)
    }

    /// The tree of a wheel, made from the tree that another Python version already has: no wheel file is needed.
    pub fn adopt(&self, wheel: &WheelId<'_>) -> Result<Option<Tree>, TreeError> {
        let name = tree_name(wheel, self.python);
        let Some(donor) = self.donor(wheel, &name)? else {
            return Ok(None);
        };
        self.claim.hold(Shelf::Wheels, &name)?;
        let _guard = self.store.guard(&name, self.reporter)?;
        if let Some(tree) = self.find_unguarded(&name)? {
            return Ok(Some(tree));
        }
        let staging = self.store.stage()?;
        let unpacked = self.link_from(&donor, &staging)?;
        checkpoint::reach("tree.adopted");
        self.publish(name, wheel, staging, unpacked).map(Some)
    }

    fn find_unguarded(&self, name: &str) -> Result<Option<Tree>, TreeError> {
        if !self.store.has(Shelf::Wheels, name) {
            return Ok(None);
        }
        self.accepted(Tree::open(self.store, name)?).map(Some)
    }

    /// The folder of a tree of the same wheel for another Python version, or of an earlier form: what differs, RECORD,
    /// is made again and bytecode left out.
    fn donor(&self, wheel: &WheelId<'_>, own_name: &str) -> Result<Option<PathBuf>, TreeError> {
        let stem = own_name.strip_suffix(&tag(self.python)).unwrap_or(own_name);
        let prefix = format!("{}-", wheel.digest.short());
        for store in self.store.layers() {
            let own_store = store.root() == self.store.root();
            let names = store.names(Shelf::Wheels)?;
            let fits = |name: &&String| {
                name.starts_with(&prefix)
                    && name.starts_with(stem)
                    && *name != own_name
                    && is_known_form(&name[stem.len()..])
            };
            for donor in names.iter().filter(fits) {
                if own_store {
                    // Before the look, as in `find_named`. Nothing here collects what is in a lower store.
                    self.claim.hold(Shelf::Wheels, donor)?;
                }
                let trusted = store
                    .trust(Shelf::Wheels, donor)
                    .is_ok_and(|trust| trust != Trust::Unknown);
                if trusted && store.has(Shelf::Wheels, donor) {
                    return Ok(Some(store.path(Shelf::Wheels, donor)));
                }
            }
        }
        Ok(None)
    }

    fn layout(&self) -> Layout {
        Layout::new(self.python.minor)
    }

    /// Checks a wheel and unpacks it: all, or the files at wanted paths. A refused one leaves not even a staging folder.
    pub(crate) fn unpack(
        &self,
        wheel: &WheelId<'_>,
        file: WheelFile,
        wanted: Option<&dyn Fn(&RelPath) -> bool>,
    ) -> Result<(Staging, Unpacked), TreeError> {
        let refused = |error| refused(wheel.file, error);
        let archive = Archive::open(file).map_err(|error| refused(error.into()))?;
        let rules = admission::rules(self.python.minor, self.allow_unrecorded);
        let mut plan = plan(&archive, wheel.filename, rules).map_err(refused)?;
        if let Some(message) = admission::unrecorded_warning(wheel.file, &plan.unrecorded) {
            self.reporter.event(Event::Warning { message: &message });
        }
        if let Some(wanted) = wanted {
            plan.keep_only(wanted);
        }
        let free = fsx::free_bytes(self.store.root())?;
        if plan.bytes() > free {
            return Err(TreeError::NoSpace {
                file: wheel.file.to_owned(),
                source: Shortage::expected(self.store.root(), plan.bytes(), free),
            });
        }
        let staging = self.store.stage()?;
        let root = staging.path().join("root");
        std::fs::create_dir(&root).at("create the folder", &root)?;
        let unpacked = plan.write(&root).map_err(refused)?;
        Ok((staging, unpacked))
    }

    fn link_from(&self, folder: &Path, staging: &Staging) -> Result<Unpacked, TreeError> {
        let manifest: Manifest = read_document(&folder.join("manifest.json"))?;
        let root = staging.path().join("root");
        let damaged = || TreeError::NoRecord {
            path: folder.to_owned(),
        };
        let record = manifest
            .files
            .iter()
            .map(|row| row.path.as_str())
            .find(|path| is_top_level_record(path));
        let record = record.ok_or_else(damaged)?.to_owned();
        let old = record.split('/').nth(1).unwrap_or_default();
        let new = self.python.minor.lib_folder();
        let mut files = Vec::with_capacity(manifest.files.len());
        let mut made = std::collections::BTreeSet::new();
        for row in manifest
            .files
            .into_iter()
            .filter(|row| !row.is_bytecode() && row.path.as_str() != record)
        {
            let path = relocate(&row.path, old, &new);
            if let Some((parent, _)) = path.as_str().rsplit_once('/')
                && made.insert(parent.to_owned())
            {
                fsx::create_dir_all(&root.join(parent))?;
            }
            let (source, target) = (folder.join("root").join(&row.path), root.join(&path));
            fsx::link_or_copy(&source, &target, row.executable)?;
            files.push(FileRow { path, ..row });
        }
        let dist_info = record
            .rsplit_once('/')
            .and_then(|(dist_info, _)| RelPath::new(dist_info).ok());
        let dist_info = relocate(&dist_info.ok_or_else(damaged)?, old, &new);
        let facts: Facts = read_document(&folder.join("facts.json"))?;
        let mut unpacked = Unpacked::new(files, dist_info, self.layout());
        unpacked.unrecorded = facts.unrecorded;
        Ok(unpacked)
    }

    /// Writes RECORD and the documents, and commits.
    fn publish(
        &self,
        name: String,
        wheel: &WheelId<'_>,
        staging: Staging,
        unpacked: Unpacked,
    ) -> Result<Tree, TreeError> {
        let identity = Identity::of(wheel, &unpacked);
        let files = unpacked.finish(&staging.path().join("root"));
        let files = files.map_err(|error| refused(wheel.file, error))?;
        let tree = self.commit(name, staging, files, identity)?;
        self.reporter.event(Event::Unpacked { file: wheel.file });
        Ok(tree)
    }

    /// Writes the documents of a staged tree and makes it visible.
    pub(super) fn commit(
        &self,
        name: String,
        staging: Staging,
        files: Vec<FileRow>,
        identity: Identity,
    ) -> Result<Tree, TreeError> {
        let facts = document(&staging, files, identity, self.python.cache_tag.clone())?;
        checkpoint::reach("tree.documented");
        self.store.commit(staging, Shelf::Wheels, &name, self.sync)?;
        let folder = self.store.path(Shelf::Wheels, &name);
        Ok(Tree::of(name, folder, facts))
    }
}

/// Writes the documents of a staged tree.
pub(crate) fn document(
    staging: &Staging,
    files: Vec<FileRow>,
    identity: Identity,
    cache_tag: String,
) -> Result<Facts, TreeError> {
    let mut root = Folder::of_files(&files);
    root.fold();
    let Identity {
        package,
        version,
        file,
        wheel,
        unrecorded,
    } = identity;
    let facts = Facts {
        schema: SCHEMA,
        name: package,
        version,
        file,
        wheel,
        cache_tag: Some(cache_tag),
        unrecorded,
        root,
    };
    write_document(staging.path(), "manifest.json", &Manifest { schema: SCHEMA, files })?;
    write_document(staging.path(), "facts.json", &facts)?;
    Ok(facts)
}

/// `lib/python3.11/site-packages/<name>.dist-info/RECORD`.
pub(crate) fn is_top_level_record(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts.as_slice(), ["lib", _, "site-packages", folder, "RECORD"] if folder.ends_with(".dist-info"))
}

/// The same path for another Python version: only the folder `python3.X` of the layout differs.
fn relocate(path: &RelPath, old: &str, new: &str) -> RelPath {
    let mut parts: Vec<&str> = path.components().collect();
    let at = match parts.as_slice() {
        ["lib", folder, "site-packages", ..] if *folder == old => 1,
        ["include", "site", folder, ..] if *folder == old => 2,
        _ => return path.clone(),
    };
    parts[at] = new;
    RelPath::new(&parts.join("/")).unwrap_or_else(|_| path.clone())
}

fn check_digest(path: &Path, expected: WheelDigest) -> Result<(), TreeError> {
    let (bytes, _) = bulk::Reader::open(path).and_then(hash_reader).at("read", path)?;
    let actual = WheelDigest::from_bytes(bytes);
    if actual == expected {
        Ok(())
    } else {
        Err(TreeError::Digest {
            path: path.to_owned(),
            expected,
            actual,
        })
    }
}
