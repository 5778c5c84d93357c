//! Laying out a planned environment on disk: folders, hard links and symlinks.
//!
//! Everything is named relative to the descriptor of its folder, so no path is walked again for each of a thousand
//! names, and folders are filled on all cores. A folder is read-only once it is full, so that nothing has to be walked
//! again before the environment is published. Knows nothing of wheels: [`super::compose`] decides what lies where.
//!
//! Where a hard link is refused the file is reflinked, and where the file system cannot do that either, symlinked; on a
//! network file system on which links are slow, the rest is symlinked. Only [`LinkMode::Copy`] copies.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::compose::LinkMode;
use crate::fsx::{self, PathContext as _, PathError};
use crate::threads;

/// A folder to be made.
#[derive(Debug, Default)]
pub(super) struct Sketch {
    /// Files, by the folder they come from.
    pub(super) files: BTreeMap<PathBuf, Vec<File>>,
    /// Symlinks: name and target.
    pub(super) symlinks: Vec<(String, PathBuf)>,
    /// Folders.
    pub(super) folders: BTreeMap<String, Sketch>,
}

/// A file to be linked.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) executable: bool,
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Sketch {
    /// The folder at a path below this one; itself at the empty path.
    pub(super) fn folder_mut(&mut self, path: &str) -> &mut Self {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.fold(self, |folder, part| folder.folders.entry(part.to_owned()).or_default())
    }

    /// Fills the existing, empty folder at `path`. That one and its `bin` stay writable.
    pub(super) fn lay(&self, path: &Path, linker: &Linker<'_>) -> Result<(), PathError> {
        let folder = rustix::fs::open(path, FOLDER, Mode::empty()).at("open", path)?;
        self.fill(&folder, (path, ""), linker)?;
        if self.folders.contains_key("bin") {
            let bin = path.join("bin");
            rustix::fs::chmodat(&folder, "bin", Mode::from_raw_mode(0o755), AtFlags::empty())
                .at("set the mode of", &bin)?;
        }
        Ok(())
    }

    /// Fills the folder at a path, which is `inside` the environment.
    fn fill(&self, folder: &OwnedFd, (path, inside): (&Path, &str), linker: &Linker<'_>) -> Result<(), PathError> {
        for (source, files) in &self.files {
            linker.place(files, source, (folder, path, inside))?;
        }
        for (name, target) in &self.symlinks {
            rustix::fs::symlinkat(target, folder, name.as_str()).at("create the symlink", path.join(name))?;
        }
        threads::attempt(self.folders.iter().collect(), |(name, sketch)| {
            let path = path.join(name);
            rustix::fs::mkdirat(folder, name.as_str(), Mode::from_raw_mode(0o755)).at("create the folder", &path)?;
            let inner = rustix::fs::openat(folder, name.as_str(), FOLDER, Mode::empty()).at("open", &path)?;
            let inside = if inside.is_empty() {
                name.clone()
            } else {
                format!("{inside}/{name}")
            };
            sketch.fill(&inner, (&path, &inside), linker)?;
            // So that a folder shows whether anything was added to it.
            fsx::stamp(&inner).at("set the time of", &path)?;
            rustix::fs::fchmod(&inner, Mode::from_raw_mode(0o555)).at("set the mode of", &path)
        })
        .map(drop)
    }
}

/// So many links are timed.
const TIMED: usize = 64;

/// Links that take longer than this at the median are too slow for thousands of them.
const SLOW: Duration = Duration::from_micros(200);

/// Puts files into folders in the way that is asked for, or the next best.
pub(super) struct Linker<'a> {
    store: &'a Path,
    mode: LinkMode,
    /// How long the first links took, on a file system where that is worth knowing.
    times: Option<Mutex<Vec<Duration>>>,
    /// Whether links have proved slow.
    slow: AtomicBool,
    /// Why a hard link was refused first.
    refused: OnceLock<Errno>,
    /// Whether this file system was found not to share blocks.
    no_reflinks: AtomicBool,
    reflinked: AtomicU64,
    symlinked: AtomicU64,
}

impl<'a> Linker<'a> {
    /// For files of the store at `store`.
    pub(super) fn new(store: &'a Path, mode: LinkMode) -> Self {
        // Elsewhere a slow link says that the disk is busy now, and nothing of the links of tomorrow.
        let timed = mode == LinkMode::Rule && fsx::may_be_shared(store);
        Self {
            store,
            mode,
            times: timed.then(Mutex::default),
            slow: AtomicBool::new(false),
            refused: OnceLock::new(),
            no_reflinks: AtomicBool::new(false),
            reflinked: AtomicU64::new(0),
            symlinked: AtomicU64::new(0),
        }
    }

    /// What was used in place of the first choice, in one sentence; none where nothing was.
    pub(super) fn told(&self) -> Option<String> {
        let (reflinked, symlinked) = (
            self.reflinked.load(Ordering::Relaxed),
            self.symlinked.load(Ordering::Relaxed),
        );
        let why = match (self.refused.get(), self.mode) {
            (Some(error), _) => format!("hard links are refused there ({})", std::io::Error::from(*error)),
            (None, LinkMode::Reflink) => "the file system cannot share blocks".to_owned(),
            (None, _) => format!("a hard link takes longer than {} ms there", SLOW.as_secs_f64() * 1000.0),
        };
        let what = match (self.mode == LinkMode::Reflink, reflinked, symlinked) {
            (true, _, 0) | (false, 0, 0) => return None,
            (true, ..) | (false, 0, _) => format!("{} are symlinks into the store", files(symlinked)),
            (false, _, 0) => format!("{} share their blocks with the store's", files(reflinked)),
            (false, ..) => format!(
                "{} share their blocks with the store's, {} are symlinks into it",
                files(reflinked),
                files(symlinked)
            ),
        };
        Some(format!("{what}: {why}"))
    }

    /// Places files of one folder in another.
    fn place(&self, files: &[File], source: &Path, place: (&OwnedFd, &Path, &str)) -> Result<(), PathError> {
        let (folder, path, _) = place;
        match self.mode {
            LinkMode::Copy => files.iter().try_for_each(|file| {
                fsx::copy_store_file(&source.join(&file.name), &path.join(&file.name), file.executable)
            }),
            LinkMode::Reflink => files.iter().try_for_each(|file| self.share(file, source, place)),
            LinkMode::Symlink | LinkMode::Rule | LinkMode::Hardlink => {
                let from = rustix::fs::open(source, FOLDER, Mode::empty()).at("open", source)?;
                for file in files {
                    let name = file.name.as_str();
                    if self.slow.load(Ordering::Relaxed) {
                        self.symlink(file, source, place)?;
                        continue;
                    }
                    let started = Instant::now();
                    match rustix::fs::linkat(&from, name, folder, name, AtFlags::empty()) {
                        Ok(()) => self.took(started.elapsed()),
                        Err(error) if fsx::needs_another_way(error) => {
                            self.refused.get_or_init(|| error);
                            self.share(file, source, place)?;
                        }
                        Err(error) => return Err(error).at("link", path.join(name)),
                    }
                }
                Ok(())
            }
        }
    }

    fn took(&self, time: Duration) {
        let Some(times) = &self.times else { return };
        let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() < TIMED {
            times.push(time);
            if times.len() == TIMED {
                times.sort_unstable();
                self.slow.store(times[TIMED / 2] > SLOW, Ordering::Relaxed);
            }
        }
    }

    /// A file that shares its blocks, or a symlink where that cannot be.
    fn share(&self, file: &File, source: &Path, place: (&OwnedFd, &Path, &str)) -> Result<(), PathError> {
        let (from, to) = (source.join(&file.name), place.1.join(&file.name));
        if !self.no_reflinks.load(Ordering::Relaxed) {
            if fsx::reflink(&from, &to, file.executable)? {
                self.reflinked.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            self.no_reflinks.store(true, Ordering::Relaxed);
        }
        self.symlink(file, source, place)
    }

    fn symlink(
        &self,
        file: &File,
        source: &Path,
        (folder, path, inside): (&OwnedFd, &Path, &str),
    ) -> Result<(), PathError> {
        let target = link_text(self.store, &source.join(&file.name), &format!("{inside}/{}", file.name));
        rustix::fs::symlinkat(&target, folder, file.name.as_str()).at("create the symlink", path.join(&file.name))?;
        self.symlinked.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// `1 file`, `2 files`.
pub(super) fn files(count: u64) -> String {
    format!("{count} file{}", if count == 1 { "" } else { "s" })
}

/// The text of a symlink at a path of an environment: a relative one into the environment's own store, so that the store
/// can be moved as a whole; an absolute one into a lower store, which stays where it is. It holds two levels below the
/// store (in `envs/<name>` and in `tmp/<x>` alike).
pub(super) fn link_text(store: &Path, target: &Path, path: &str) -> PathBuf {
    match target.strip_prefix(store) {
        Ok(inside) => {
            let up = "../".repeat(path.trim_start_matches('/').matches('/').count() + 2);
            Path::new(&up).join(inside)
        }
        Err(_) => target.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn folders_are_filled_and_read_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let (source, prefix) = (folder.path().join("source"), folder.path().join("prefix"));
        std::fs::create_dir_all(&source).expect("a folder");
        std::fs::create_dir(&prefix).expect("a folder");
        std::fs::write(source.join("file"), "x").expect("a file");
        let mut sketch = Sketch::default();
        let inner = sketch.folder_mut("lib/inner");
        let file = File {
            name: "file".to_owned(),
            executable: false,
        };
        inner.files.insert(source.clone(), vec![file]);
        inner.symlinks.push(("link".to_owned(), "../elsewhere".into()));
        sketch.folder_mut("bin");
        sketch
            .lay(&prefix, &Linker::new(folder.path(), LinkMode::Rule))
            .expect("laid");
        let meta = |path: &str| std::fs::symlink_metadata(prefix.join(path)).expect("there");
        let mode = |path: &str| meta(path).permissions().mode() & 0o7777;
        assert_eq!((mode("lib"), mode("lib/inner"), mode("bin")), (0o555, 0o555, 0o755));
        assert_eq!(
            std::fs::read_link(prefix.join("lib/inner/link")).expect("a link"),
            Path::new("../elsewhere")
        );
        let origin = std::fs::metadata(source.join("file")).expect("there");
        assert_eq!(meta("lib/inner/file").ino(), origin.ino());
        // A second time, the first name is taken, and that is told with its path.
        let error = sketch
            .lay(&prefix, &Linker::new(folder.path(), LinkMode::Rule))
            .expect_err("taken");
        assert!(error.to_string().contains("/prefix/"), "{error}");
        fsx::remove_tree(&prefix).expect("removed");
    }

    fn one_file(folder: &Path, mode: LinkMode) -> Option<String> {
        let prefix = folder.join("tmp/prefix");
        std::fs::create_dir_all(&prefix).expect("a folder");
        let mut sketch = Sketch::default();
        let file = File {
            name: "file".to_owned(),
            executable: true,
        };
        let source = folder.join("wheels/w/root/lib");
        sketch.folder_mut("lib").files.insert(source, vec![file]);
        let linker = Linker::new(folder, mode);
        sketch.lay(&prefix, &linker).expect("laid");
        linker.told()
    }

    #[test]
    fn files_are_placed_as_asked_for_or_in_the_next_best_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("wheels/w/root/lib");
        std::fs::create_dir_all(&source).expect("folders");
        std::fs::write(source.join("file"), "x").expect("a file");
        let placed = folder.path().join("tmp/prefix/lib/file");
        assert_eq!(one_file(folder.path(), LinkMode::Copy), None);
        let copy = std::fs::symlink_metadata(&placed).expect("there");
        assert_eq!((copy.nlink(), copy.permissions().mode() & 0o777), (1, 0o555));
        fsx::remove_tree(&folder.path().join("tmp")).expect("removed");

        let told = one_file(folder.path(), LinkMode::Reflink);
        let meta = std::fs::symlink_metadata(&placed).expect("there");
        // Not every file system can share blocks; none of it is ever a copy without a word.
        match told {
            None => assert_eq!((meta.nlink(), meta.is_file()), (1, true)),
            Some(told) => {
                assert!(meta.is_symlink(), "{told}");
                assert!(told.starts_with("1 file") && told.contains("share blocks"), "{told}");
                assert_eq!(std::fs::read(&placed).expect("it leads there"), b"x");
            }
        }
    }

    #[test]
    fn slow_links_end_after_the_first_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut linker = Linker::new(folder.path(), LinkMode::Rule);
        linker.times = Some(Mutex::default());
        for _ in 1..TIMED {
            linker.took(SLOW * 2);
        }
        assert!(!linker.slow.load(Ordering::Relaxed));
        linker.took(SLOW * 2);
        assert!(linker.slow.load(Ordering::Relaxed));
    }

    #[test]
    fn links_are_relative_within_a_store_and_absolute_into_another() {
        let text = |target: &str| link_text(Path::new("/s"), Path::new(target), "lib/p/a.py");
        assert_eq!(
            text("/s/wheels/w/root/lib/p/a.py"),
            Path::new("../../../../wheels/w/root/lib/p/a.py")
        );
        assert_eq!(
            text("/lower/wheels/w/root/lib/p/a.py"),
            Path::new("/lower/wheels/w/root/lib/p/a.py")
        );
    }
}
