//! The cache folder: wheels under their digests, partial downloads, index pages, metadata.
//!
//! ```text
//! wheels/<sha256>/<filename>   complete wheels, mode 0444; only bytes with that digest are ever renamed here
//! partial/<sha256>.part        bytes of a wheel so far; <sha256>.json says where they came from
//! partial/<sha256>.guard       held while somebody downloads that wheel
//! partial/url_<hash>.…         the same of a wheel whose digest nobody states, under a hash of its place
//! partial/<sha256>.bad         what a server sent under another wheel's name, under its true digest
//! pages/<sha256 of the URL>    index pages with their validators
//! metadata/<wheel's sha256>    METADATA of wheels that were not downloaded
//! answers/<sha256 of a question>   what asking an interpreter told; which wheel a place had whose digest nobody states
//! ```
//!
//! Owns: that layout, and the one step that makes a wheel visible. Refuses: file names that are no plain names.
//! Everything here can be deleted at any time; it is fetched again.
//!
//! A command that only looks gets a cache that reads and never changes: what it would keep is dropped, and files that it
//! has to download all the same go to a temporary folder.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tempfile::TempDir;

use crate::checkpoint;
use crate::digest::{FileDigest, WheelDigest};
use crate::fsx::{self, PathContext as _, PathError, create_shared_dir_all, read_if_exists, write_shared};

const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
                   # This folder is a cache of flambeau; its contents can be fetched again.\n";

/// A cache folder. Folders are made when something is written.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
    /// For who only looks: the folder for what is downloaded, made when it is needed and deleted with the last clone.
    scratch: Option<Arc<OnceLock<TempDir>>>,
}

impl Cache {
    /// The cache at `root`, which need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            scratch: None,
        }
    }

    /// The same cache for a command that only looks.
    #[must_use]
    pub fn unchanged(self) -> Self {
        Self {
            scratch: Some(Arc::default()),
            ..self
        }
    }

    /// Where files are downloaded to.
    fn downloads(&self) -> Result<&Path, PathError> {
        let Some(scratch) = &self.scratch else {
            return Ok(&self.root);
        };
        if scratch.get().is_none() {
            let folder = tempfile::Builder::new().prefix("flambeau-").tempdir();
            // Where another thread was first, this one is deleted again.
            scratch.set(folder.at("create a folder in", std::env::temp_dir())?).ok();
        }
        Ok(scratch.get().map_or(&*self.root, TempDir::path))
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The digests under which wheels stand, or stood, sorted. A name that is no digest is passed over.
    pub fn wheel_digests(&self) -> Result<Vec<WheelDigest>, PathError> {
        let folder = self.root.join("wheels");
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).at("list", &folder),
        };
        let mut digests = Vec::new();
        for entry in entries {
            let name = entry.at("list", &folder)?.file_name();
            digests.extend(name.to_str().and_then(|name| name.parse::<WheelDigest>().ok()));
        }
        digests.sort_unstable();
        Ok(digests)
    }

    /// The folder of the wheel with `digest`.
    #[must_use]
    pub fn wheel_folder(&self, digest: &WheelDigest) -> PathBuf {
        wheel_in(&self.root, digest)
    }

    /// Where the wheel `file` with `digest` stands, or would stand.
    #[must_use]
    pub fn wheel_path(&self, digest: &WheelDigest, file: &str) -> PathBuf {
        self.wheel_folder(digest).join(file)
    }

    /// The wheel `file` with `digest`, if a regular file of that name and, where known, that size stands there.
    ///
    /// Its bytes were checked when it arrived, and are not read now: whoever unpacks it hashes it again.
    pub fn find_wheel(
        &self,
        digest: &WheelDigest,
        file: &str,
        size: Option<u64>,
    ) -> Result<Option<(PathBuf, u64)>, PathError> {
        let scratch = self.scratch.as_ref().and_then(|scratch| scratch.get());
        for root in std::iter::once(&*self.root).chain(scratch.map(TempDir::path)) {
            let path = wheel_in(root, digest).join(file);
            match std::fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_file() && size.is_none_or(|size| size == meta.len()) => {
                    return Ok(Some((path, meta.len())));
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("look at", path),
            }
        }
        Ok(None)
    }

    /// The name of a wheel that stands under `digest`; the first by name where there are several.
    pub(crate) fn wheel_name(&self, digest: &WheelDigest) -> Option<String> {
        let folder = self.root.join("wheels").join(digest.to_string());
        let entries = std::fs::read_dir(folder).ok()?;
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(".whl"))
            .min()
    }

    /// Makes a complete, hashed file visible as the wheel `file`: synced, read-only, renamed into place.
    pub(crate) fn admit_wheel(&self, complete: &Path, digest: &WheelDigest, file: &str) -> Result<PathBuf, PathError> {
        let folder = wheel_in(self.downloads()?, digest);
        let path = folder.join(file);
        std::fs::File::open(complete)
            .and_then(|file| file.sync_all())
            .at("sync", complete)?;
        std::fs::set_permissions(complete, std::fs::Permissions::from_mode(0o444)).at("make read-only", complete)?;
        checkpoint::reach("cache.ready");
        if folder.is_dir() {
            std::fs::rename(complete, &path).at("move a wheel to", &path)?;
        } else {
            self.admit_first(complete, &folder, &path)?;
        }
        checkpoint::reach("cache.admitted");
        Ok(path)
    }

    /// The folder appears with the wheel in it, so that one without a wheel always is one whose wheel was taken away.
    fn admit_first(&self, complete: &Path, wheel: &Path, path: &Path) -> Result<(), PathError> {
        self.make_folder(wheel.parent().unwrap_or(wheel))?;
        let beside = self.partial_folder()?;
        let folder = tempfile::Builder::new()
            .prefix("admit-")
            .tempdir_in(&beside)
            .at("create a folder in", &beside)?;
        fsx::share_folder(folder.path())?;
        let inside = folder.path().join(path.file_name().unwrap_or_default());
        std::fs::rename(complete, &inside).at("move a wheel to", &inside)?;
        checkpoint::reach("cache.boxed");
        match std::fs::rename(folder.path(), wheel) {
            Ok(()) => Ok(()),
            // Another process was first, without a guard that would have kept it out.
            Err(_) if wheel.is_dir() => std::fs::rename(&inside, path).at("move a wheel to", path),
            Err(error) => Err(error).at("move a wheel to", path),
        }
    }

    /// Takes a wheel out of the cache, and its folder with it where no other wheel is there.
    pub fn remove_wheel(&self, digest: &WheelDigest, file: &str) -> Result<(), PathError> {
        let (path, folder) = (self.wheel_path(digest, file), self.wheel_folder(digest));
        let alone = std::fs::read_dir(&folder).is_ok_and(|entries| entries.count() <= 1);
        if !alone {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", &path),
                _ => Ok(()),
            };
        }
        let aside = self.partial_folder()?.join(format!("{digest}.removed"));
        fsx::remove_tree(&aside)?;
        match std::fs::rename(&folder, &aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).at("remove", &folder),
            _ => {}
        }
        fsx::remove_tree(&aside)
    }

    /// The folder of partial downloads, made if needed.
    pub(crate) fn partial_folder(&self) -> Result<PathBuf, PathError> {
        let folder = self.downloads()?.join("partial");
        self.make_folder(&folder)?;
        Ok(folder)
    }

    /// A stored index page; its name is a hash of the URL.
    pub(crate) fn page_path(&self, url: &url::Url) -> PathBuf {
        self.root
            .join("pages")
            .join(FileDigest::of(url.as_str().as_bytes()).to_string())
    }

    /// Stored METADATA of the wheel with `digest`.
    pub(crate) fn metadata_path(&self, digest: &WheelDigest) -> PathBuf {
        self.root.join("metadata").join(digest.to_string())
    }

    /// A stored answer of an interpreter; its name is a hash of the question.
    pub(crate) fn answer_path(&self, question: &str) -> PathBuf {
        self.root
            .join("answers")
            .join(FileDigest::of(question.as_bytes()).to_string())
    }

    /// Reads a stored document; a missing one is `None`.
    pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, PathError> {
        read_if_exists(path)
    }

    /// Stores a document in one step.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), PathError> {
        if self.scratch.is_some() {
            return Ok(());
        }
        if let Some(folder) = path.parent() {
            self.make_folder(folder)?;
        }
        write_shared(path, bytes)
    }

    /// Deletes a stored document, where there is one.
    pub(crate) fn forget(&self, path: &Path) -> Result<(), PathError> {
        if self.scratch.is_some() {
            return Ok(());
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", path),
            _ => Ok(()),
        }
    }

    /// Makes a folder of the cache, and marks the cache as one (so that backups leave it out) when it is new.
    fn make_folder(&self, folder: &Path) -> Result<(), PathError> {
        if folder.is_dir() {
            return Ok(());
        }
        let root = self.downloads()?;
        let new = !root.is_dir();
        create_shared_dir_all(root, folder)?;
        if new {
            write_shared(&root.join("CACHEDIR.TAG"), TAG.as_bytes())?;
        }
        Ok(())
    }
}

fn wheel_in(root: &Path, digest: &WheelDigest) -> PathBuf {
    root.join("wheels").join(digest.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admitted_wheel_is_found_by_digest_name_and_size() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::new(folder.path().join("cache"));
        let digest = WheelDigest::of(b"wheel");
        let file = "a-1-py3-none-any.whl";
        assert_eq!(cache.find_wheel(&digest, file, None).expect("readable"), None);

        let part = cache.partial_folder().expect("made").join("x.part");
        std::fs::write(&part, b"wheel").expect("written");
        let path = cache.admit_wheel(&part, &digest, file).expect("admitted");
        assert!(!part.exists() && cache.root().join("CACHEDIR.TAG").exists());
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o444);

        assert_eq!(
            cache.find_wheel(&digest, file, Some(5)).expect("readable"),
            Some((path, 5))
        );
        assert_eq!(cache.find_wheel(&digest, file, Some(6)).expect("readable"), None);
        assert_eq!(
            cache
                .find_wheel(&digest, "b-1-py3-none-any.whl", None)
                .expect("readable"),
            None
        );
    }
}
