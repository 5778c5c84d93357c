//! Laying out a planned environment on disk: folders, hard links and symlinks.
//!
//! Everything is named relative to the descriptor of its folder, so no path is walked again for each of a thousand
//! names, and folders are filled on all cores. A folder is read-only once it is full, so that nothing has to be walked
//! again before the environment is published. Knows nothing of wheels: [`super::compose`] decides what lies where.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

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
    pub(super) fn lay(&self, path: &Path, mode: LinkMode) -> Result<(), PathError> {
        let folder = rustix::fs::open(path, FOLDER, Mode::empty()).at("open", path)?;
        self.fill(&folder, path, mode)?;
        if self.folders.contains_key("bin") {
            let bin = path.join("bin");
            rustix::fs::chmodat(&folder, "bin", Mode::from_raw_mode(0o755), AtFlags::empty())
                .at("set the mode of", &bin)?;
        }
        Ok(())
    }

    fn fill(&self, folder: &OwnedFd, path: &Path, mode: LinkMode) -> Result<(), PathError> {
        for (source, files) in &self.files {
            place(files, source, (folder, path), mode)?;
        }
        for (name, target) in &self.symlinks {
            rustix::fs::symlinkat(target, folder, name.as_str()).at("create the symlink", path.join(name))?;
        }
        threads::attempt(self.folders.iter().collect(), |(name, sketch)| {
            let path = path.join(name);
            rustix::fs::mkdirat(folder, name.as_str(), Mode::from_raw_mode(0o755)).at("create the folder", &path)?;
            let inner = rustix::fs::openat(folder, name.as_str(), FOLDER, Mode::empty()).at("open", &path)?;
            sketch.fill(&inner, &path, mode)?;
            rustix::fs::fchmod(&inner, Mode::from_raw_mode(0o555)).at("set the mode of", &path)
        })
        .map(drop)
    }
}

/// Places files of one folder in another. Where hard links are refused (another file system, another user's file under
/// `fs.protected_hardlinks`, too many links) each file is reflinked or copied.
fn place(files: &[File], source: &Path, (folder, path): (&OwnedFd, &Path), mode: LinkMode) -> Result<(), PathError> {
    let copy = |file: &File, copy: fn(&Path, &Path, bool) -> Result<(), PathError>| {
        copy(&source.join(&file.name), &path.join(&file.name), file.executable)
    };
    match mode {
        LinkMode::Copy => files.iter().try_for_each(|file| copy(file, fsx::copy_store_file)),
        LinkMode::Reflink => files.iter().try_for_each(|file| copy(file, fsx::reflink_or_copy)),
        LinkMode::Symlink | LinkMode::Hardlink => {
            let from = rustix::fs::open(source, FOLDER, Mode::empty()).at("open", source)?;
            for file in files {
                let name = file.name.as_str();
                match rustix::fs::linkat(&from, name, folder, name, AtFlags::empty()) {
                    Ok(()) => {}
                    Err(Errno::XDEV | Errno::PERM | Errno::ACCESS | Errno::MLINK | Errno::OPNOTSUPP) => {
                        copy(file, fsx::reflink_or_copy)?;
                    }
                    Err(error) => return Err(error).at("link", path.join(name)),
                }
            }
            Ok(())
        }
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
        sketch.lay(&prefix, LinkMode::Symlink).expect("laid");
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
        let error = sketch.lay(&prefix, LinkMode::Symlink).expect_err("taken");
        assert!(error.to_string().contains("/prefix/"), "{error}");
        fsx::remove_tree(&prefix).expect("removed");
    }

    #[test]
    fn copies_are_files_of_their_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let (source, prefix) = (folder.path().join("source"), folder.path().join("prefix"));
        std::fs::create_dir_all(&source).expect("a folder");
        std::fs::write(source.join("file"), "x").expect("a file");
        for mode in [LinkMode::Copy, LinkMode::Reflink] {
            std::fs::create_dir(&prefix).expect("a folder");
            let mut sketch = Sketch::default();
            let file = File {
                name: "file".to_owned(),
                executable: true,
            };
            sketch.folder_mut("lib").files.insert(source.clone(), vec![file]);
            sketch.lay(&prefix, mode).expect("laid");
            let copy = std::fs::metadata(prefix.join("lib/file")).expect("there");
            assert_eq!((copy.nlink(), copy.permissions().mode() & 0o777), (1, 0o555));
            fsx::remove_tree(&prefix).expect("removed");
        }
    }
}
