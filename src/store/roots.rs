//! Roots: what keeps environments from being collected, beside leases and claims.
//!
//! ```text
//! roots/<digest of the project's path>   -> the project; its generations and its active link keep environments
//! roots/<digest>.json                    what the store remembers of that project, for when it cannot be found
//! roots/pins/<name>                      -> ../../envs/<environment>
//! roots/links/<digest of a path>         -> the path of an out-link, which itself leads to the environment
//! roots/links/<digest>.json              what the store remembers of that link
//! ```
//!
//! A pin belongs to the store, not to a project. An out-link is registered indirectly, as in Nix: the root lives as long
//! as the link outside the store is there and leads to the environment.
//! Refuses: names of pins that are no plain file names, pins and out-links of environments that are not there, and an
//! out-link in the place of something else. Anything but "not found" while roots are read is an error: a root that
//! cannot be read is not an absent one.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::times::Stamp;
use super::{Shelf, Store, StoreError};
use crate::digest::FileDigest;
use crate::fsx::{self, PathContext as _};

/// The form of a note.
const SCHEMA: u32 = 1;

/// A project that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectRoot {
    /// The root itself.
    pub root: PathBuf,
    /// The project's folder.
    pub project: PathBuf,
}

/// A pin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin {
    /// Its name.
    pub name: String,
    /// The environment's folder name.
    pub environment: String,
}

/// An out-link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutLink {
    /// The root itself.
    pub root: PathBuf,
    /// The link outside the store.
    pub link: PathBuf,
}

/// What the store remembers of what a root leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    schema: u32,
    /// The project's folder or the out-link, for people.
    pub path: String,
    /// The folder names of the environments that it was last seen to need.
    pub environments: BTreeSet<String>,
    /// When it was first not found; none while it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Stamp>,
    /// Whether nothing was known when it was first not found: then it may need anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

impl Note {
    /// A note of what `path` needs.
    #[must_use]
    pub fn new(path: &Path, environments: BTreeSet<String>, missing: Option<Stamp>) -> Self {
        Self {
            schema: SCHEMA,
            path: path.to_string_lossy().into_owned(),
            environments,
            missing,
            unknown: false,
        }
    }

    /// Whether it was made of something that was there, and names all that this needed.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.missing.is_none() && !self.unknown
    }
}

fn digest(path: &Path) -> String {
    FileDigest::of(path.as_os_str().as_bytes()).short()
}

/// Whether a pin may have this name: a letter or digit, then letters, digits, `.`, `_`, `-`; at most 100 characters.
fn is_pin_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    name.len() <= 100 && name.bytes().all(plain) && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// The symlinks in a folder with their targets, sorted; other entries are passed over.
fn links(folder: &Path) -> Result<Vec<(PathBuf, PathBuf)>, StoreError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.at("list", folder)?,
    };
    let mut links = Vec::new();
    for entry in entries {
        let entry = entry.at("list", folder)?;
        let (path, name) = (entry.path(), entry.file_name());
        // A link that is being replaced: its process died, or will rename it.
        if name.as_bytes().starts_with(b".") || !entry.file_type().at("look at", &path)?.is_symlink() {
            continue;
        }
        match std::fs::read_link(&path) {
            Ok(target) => links.push((path, target)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).at("read the symlink", &path).map_err(StoreError::from),
        }
    }
    links.sort();
    Ok(links)
}

impl Store {
    /// Registers a project, so that collections find its generations.
    pub fn register_project(&self, project: &Path) -> Result<(), StoreError> {
        let root = self.project_root(project);
        if std::fs::read_link(&root).is_ok_and(|target| target == project) {
            return Ok(());
        }
        fsx::create_shared_dir_all(self.root(), &self.roots_dir())?;
        Ok(fsx::flip_symlink(project, &root)?)
    }

    /// The projects that are registered.
    pub fn project_roots(&self) -> Result<Vec<ProjectRoot>, StoreError> {
        let links = links(&self.roots_dir())?.into_iter();
        Ok(links.map(|(root, project)| ProjectRoot { root, project }).collect())
    }

    /// The root of a project.
    #[must_use]
    pub fn project_root(&self, project: &Path) -> PathBuf {
        self.roots_dir().join(digest(project))
    }

    /// What is remembered beside a root. A garbled note is none.
    pub fn note(&self, root: &Path) -> Result<Option<Note>, StoreError> {
        let bytes = fsx::read_if_exists(&note_path(root))?.unwrap_or_default();
        let note: Option<Note> = serde_json::from_slice(&bytes).ok();
        Ok(note.filter(|note| note.schema == SCHEMA))
    }

    /// Writes a note beside a root, where it is a new one.
    pub fn write_note(&self, root: &Path, note: &Note) -> Result<(), StoreError> {
        if self.note(root)?.as_ref() == Some(note) {
            return Ok(());
        }
        let bytes = serde_json::to_vec_pretty(note).unwrap_or_default();
        Ok(fsx::write_shared(&note_path(root), &bytes)?)
    }

    /// Every pin, sorted by name.
    pub fn pins(&self) -> Result<Vec<Pin>, StoreError> {
        let links = links(&self.roots_dir().join("pins"))?;
        let mut pins: Vec<Pin> = links
            .into_iter()
            .filter_map(|(path, target)| {
                let name = path.file_name()?.to_str()?.to_owned();
                let environment = target.file_name()?.to_str()?.to_owned();
                Some(Pin { name, environment })
            })
            .collect();
        pins.sort();
        Ok(pins)
    }

    /// Pins an environment under a name. Returns the environment that the name stood for before, if another one.
    pub fn pin(&self, name: &str, environment: &str) -> Result<Option<String>, StoreError> {
        if !is_pin_name(name) {
            return Err(StoreError::PinName(name.to_owned()));
        }
        let folder = self.roots_dir().join("pins");
        fsx::create_shared_dir_all(self.root(), &folder)?;
        let _gate = self.gate()?;
        if !self.has(Shelf::Envs, environment) {
            return Err(StoreError::Gone(self.path(Shelf::Envs, environment)));
        }
        let pins = self.pins()?;
        let before = pins.into_iter().find(|pin| pin.name == name).map(|pin| pin.environment);
        let target = Path::new("../..").join(Shelf::Envs.folder()).join(environment);
        fsx::flip_symlink(&target, &folder.join(name))?;
        Ok(before.filter(|before| before != environment))
    }

    /// Removes a pin; returns the environment that it stood for.
    pub fn unpin(&self, name: &str) -> Result<String, StoreError> {
        let pin = self.pins()?.into_iter().find(|pin| pin.name == name);
        let pin = pin.ok_or_else(|| StoreError::NoPin(name.to_owned()))?;
        let path = self.roots_dir().join("pins").join(name);
        std::fs::remove_file(&path).at("remove", &path)?;
        // The grace period begins now.
        self.touch(Shelf::Envs, &pin.environment).ok();
        Ok(pin.environment)
    }

    /// Makes `link`, an absolute path outside the store, a link to an environment of this store, and registers it.
    pub fn out_link(&self, link: &Path, environment: &Path) -> Result<(), StoreError> {
        let folder = self.roots_dir().join("links");
        fsx::create_shared_dir_all(self.root(), &folder)?;
        match std::fs::read_link(link) {
            Ok(target) if environment_of_link(&target).is_some() => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(_) => return Err(StoreError::OutLinkInTheWay(link.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(StoreError::OutLinkInTheWay(link.to_owned()));
            }
            Err(error) => return Err(error).at("read the symlink", link).map_err(StoreError::from),
        }
        let _gate = self.gate()?;
        if !environment.is_dir() {
            return Err(StoreError::Gone(environment.to_owned()));
        }
        // The root first: one that leads nowhere is debris, a link without a root would not be kept.
        let root = folder.join(digest(link));
        fsx::flip_symlink(link, &root)?;
        let name = environment
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        self.write_note(&root, &Note::new(link, BTreeSet::from([name]), None))?;
        Ok(fsx::flip_symlink(environment, link)?)
    }

    /// The out-links that are registered.
    pub fn out_links(&self) -> Result<Vec<OutLink>, StoreError> {
        let links = links(&self.roots_dir().join("links"))?.into_iter();
        Ok(links.map(|(root, link)| OutLink { root, link }).collect())
    }
}

/// The note beside a root.
#[must_use]
pub fn note_path(root: &Path) -> PathBuf {
    root.with_extension("json")
}

/// The folder name of the environment that a link's target means, where it is one: `<store>/envs/<key40>-<rest>`.
#[must_use]
pub fn environment_of_link(target: &Path) -> Option<&str> {
    let name = target.file_name()?.to_str()?;
    let (key, _) = name.split_once('-')?;
    let shelved = target.parent()?.file_name()? == Shelf::Envs.folder();
    (shelved && key.len() == 40 && key.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path().join("store"));
        store.prepare().expect("prepared");
        let name = format!("{}-torch-2.7.0-cpu-00000000", "a".repeat(40));
        std::fs::create_dir(store.path(Shelf::Envs, &name)).expect("a folder");
        (folder, store, name)
    }

    #[test]
    fn pins_are_made_moved_listed_and_removed() {
        let (_folder, store, name) = store();
        let other = format!("{}-env-cpu-00000000", "b".repeat(40));
        assert!(matches!(store.pin("p", &other), Err(StoreError::Gone(_))));
        std::fs::create_dir(store.path(Shelf::Envs, &other)).expect("a folder");
        assert_eq!(store.pin("p", &name).expect("pinned"), None);
        assert_eq!(store.pin("p", &name).expect("pinned"), None);
        assert_eq!(store.pin("p", &other).expect("pinned"), Some(name.clone()));
        let pins = store.pins().expect("readable");
        assert_eq!((pins.len(), pins[0].environment.as_str()), (1, other.as_str()));
        assert!(store.roots_dir().join("pins/p").join("..").exists(), "it leads nowhere");
        assert_eq!(store.unpin("p").expect("removed"), other);
        assert!(matches!(store.unpin("p"), Err(StoreError::NoPin(_))));
        for wrong in ["", ".", "..", "a/b", ".hidden", "-x", "a b", "ü", &"x".repeat(101)] {
            assert!(
                matches!(store.pin(wrong, &name), Err(StoreError::PinName(_))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn out_links_replace_their_like_and_nothing_else() {
        let (folder, store, name) = store();
        let environment = store.path(Shelf::Envs, &name);
        let link = folder.path().join("result");
        store.out_link(&link, &environment).expect("linked");
        store.out_link(&link, &environment).expect("linked again");
        assert_eq!(std::fs::read_link(&link).expect("a link"), environment);
        let links = store.out_links().expect("readable");
        assert_eq!((links.len(), &links[0].link), (1, &link));
        let file = folder.path().join("file");
        std::fs::write(&file, "x").expect("written");
        let foreign = folder.path().join("foreign");
        std::os::unix::fs::symlink("/etc", &foreign).expect("linked");
        for wrong in [file, foreign] {
            assert!(matches!(
                store.out_link(&wrong, &environment),
                Err(StoreError::OutLinkInTheWay(_))
            ));
        }
        assert!(matches!(
            store.out_link(&folder.path().join("x"), Path::new("/nonexistent")),
            Err(StoreError::Gone(_))
        ));
    }

    #[test]
    fn a_note_is_kept_until_it_changes() {
        let (_folder, store, name) = store();
        let project = Path::new("/some/project");
        let root = store.project_root(project);
        assert_eq!(store.note(&root).expect("readable"), None);
        let note = Note::new(project, BTreeSet::from([name]), Some(Stamp::now()));
        store.write_note(&root, &note).expect("written");
        assert_eq!(store.note(&root).expect("readable"), Some(note));
        std::fs::write(note_path(&root), "garbage").expect("written");
        assert_eq!(store.note(&root).expect("readable"), None);
    }
}
