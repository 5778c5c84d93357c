//! The project's own packages in an environment: the files that `pip install -e` writes for them.
//!
//! They name the project's folders, so an environment that has some is bound to these, as it is to its interpreter: its
//! folder's name ends with eight hex digits of them. Key and tree digest say what is installed from wheels and stay free
//! of them; the commit record holds every file's text, so that a verification compares and mends them like
//! `pyvenv.cfg`. A wheel whose package is the project's own too is left out of what is laid, as pip would uninstall it
//! first; its tree still counts in the digest.
//!
//! Refuses: a file that a package brings too, but for scripts, where the project's own wins and the conflict is told.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::compose::{ComposeError, Conflict, Layout, Place};
use super::runtime;
use super::tree::Tree;
use crate::digest::FileDigest;
use crate::fsx::{self, PathContext as _, PathError};
use crate::relpath::RelPath;
use crate::store::set_mode;

/// A package of the project's own, as `environment_state.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Editable {
    /// Its normalised name.
    pub name: String,
    /// Its version; `0+editable` where only its build backend knows it.
    pub version: String,
    /// Its folder.
    pub path: PathBuf,
}

/// A file that is written for such a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundFile {
    /// The normalised name of the package.
    pub package: String,
    /// Below the prefix.
    pub path: RelPath,
    /// Its content.
    pub text: String,
    /// Whether it may be run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// All packages of the project's own that one environment has, in the order of their folders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Editables {
    /// The packages.
    pub packages: Vec<Editable>,
    /// Their files.
    pub files: Vec<BoundFile>,
}

/// How many hex digits of the digest stand in a folder's name.
const TAG: usize = 8;

impl Editables {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.files.is_empty()
    }

    /// What the folder's name ends with: `-<p8>`, the beginning of SHA-256 over everything here; nothing where there is
    /// none.
    #[must_use]
    pub fn suffix(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        // Text and paths of UTF-8: turning them into JSON never fails.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        format!("-{}", &FileDigest::of(&bytes).to_string()[..TAG])
    }

    /// The trees without those of packages that the project has itself.
    pub(crate) fn without_replaced<'t>(&self, trees: &'t [Tree]) -> Cow<'t, [Tree]> {
        let is_own = |name: &str| self.packages.iter().any(|own| own.name == name);
        let replaced = |tree: &&Tree| is_own(&tree.facts.name) && !runtime::is_own(&tree.facts.name);
        if trees.iter().any(|tree| replaced(&tree)) {
            Cow::Owned(trees.iter().filter(|tree| !replaced(tree)).cloned().collect())
        } else {
            Cow::Borrowed(trees)
        }
    }

    /// The folders that hold nothing but files of these packages: `…/<name>-<version>.dist-info`.
    pub(crate) fn folders(&self) -> BTreeSet<&str> {
        let parents = self
            .files
            .iter()
            .filter_map(|file| Some(file.path.as_str().rsplit_once('/')?.0));
        parents.filter(|parent| parent.ends_with(".dist-info")).collect()
    }

    /// Compares the files with what the trees bring: scripts that both have.
    pub(crate) fn conflicts(&self, layout: &Layout, trees: &[Tree]) -> Result<Vec<Conflict>, ComposeError> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let places: BTreeMap<&str, &Place> = layout
            .places
            .iter()
            .map(|(path, place)| (path.as_str(), place))
            .collect();
        // Nothing is written below a folder of others, which may be a link into a tree.
        if let Some(folder) = self.folders().into_iter().find(|folder| places.contains_key(folder)) {
            return Err(ComposeError::Own(folder.to_owned()));
        }
        let mut conflicts = Vec::new();
        for file in &self.files {
            let path = file.path.as_str();
            match places.get(path) {
                None => {}
                // A symlink where the tree is in a lower store; whose it is follows from what the trees bring.
                Some(Place::File { .. } | Place::Link(_)) if path.starts_with("bin/") => conflicts.push(Conflict {
                    path: path.to_owned(),
                    winner: file.package.clone(),
                    loser: owner_of_script(trees, &path["bin/".len()..]).unwrap_or_default(),
                }),
                Some(_) => return Err(ComposeError::Own(path.to_owned())),
            }
        }
        Ok(conflicts)
    }

    /// Writes the files into a composed prefix whose `bin` is still writable; a script of a package gives way.
    pub(crate) fn write(&self, prefix: &Path) -> Result<(), PathError> {
        let folders = self.folders();
        // Their parent is site-packages, which composing has left read-only.
        let sites: BTreeSet<PathBuf> = folders
            .iter()
            .filter_map(|folder| Some(prefix.join(folder).parent()?.to_owned()))
            .collect();
        for site in &sites {
            set_mode(site, 0o755)?;
        }
        for folder in &folders {
            let path = prefix.join(folder);
            std::fs::create_dir(&path).at("create the folder", &path)?;
        }
        for file in &self.files {
            let path = prefix.join(&file.path);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).at("replace", &path),
                _ => {}
            }
            write(&path, file)?;
        }
        // As composing leaves folders: what is put into one later makes it newer.
        let folders = folders.iter().map(|folder| prefix.join(folder));
        folders.chain(sites).try_for_each(|folder| {
            let open = std::fs::File::open(&folder).at("open", &folder)?;
            fsx::stamp(&open).at("set the time of", &folder)?;
            set_mode(&folder, 0o555)
        })
    }
}

/// The package whose script of this name is laid: the last in the order of their names.
fn owner_of_script(trees: &[Tree], script: &str) -> Option<String> {
    let has = |tree: &&Tree| {
        let bin = tree.facts.root.folders.get("bin");
        bin.is_some_and(|bin| bin.files.contains_key(script))
    };
    trees.iter().filter(has).map(|tree| tree.facts.name.clone()).max()
}

fn write(path: &Path, bound: &BoundFile) -> Result<(), PathError> {
    use std::io::Write as _;
    let mut file = fsx::create_store_file(path, bound.executable)?;
    file.write_all(bound.text.as_bytes()).at("write", path)?;
    fsx::stamp(&file).at("set the time of", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn editables(text: &str) -> Editables {
        Editables {
            packages: vec![Editable {
                name: "own".to_owned(),
                version: "1".to_owned(),
                path: "/p".into(),
            }],
            files: vec![BoundFile {
                package: "own".to_owned(),
                path: RelPath::new("lib/python3.11/site-packages/own-1.dist-info/METADATA").expect("a path"),
                text: text.to_owned(),
                executable: false,
            }],
        }
    }

    #[test]
    fn the_suffix_covers_every_byte() {
        assert_eq!(Editables::default().suffix(), "");
        let suffix = editables("x").suffix();
        assert!(suffix.len() == 9 && suffix.starts_with('-'), "{suffix}");
        assert_eq!(suffix, editables("x").suffix());
        assert_ne!(suffix, editables("y").suffix());
        let mut moved = editables("x");
        moved.packages[0].path = "/q".into();
        assert_ne!(suffix, moved.suffix());
    }

    #[test]
    fn a_record_cannot_lead_a_file_elsewhere() {
        let text = serde_json::to_string(&editables("x")).expect("text");
        assert!(serde_json::from_str::<Editables>(&text).is_ok());
        for path in ["../x", "/etc/x", "a\\nb"] {
            let changed = text.replace("lib/python3.11/site-packages/own-1.dist-info/METADATA", path);
            assert!(serde_json::from_str::<Editables>(&changed).is_err(), "{path}");
        }
    }

    #[test]
    fn files_are_read_only_and_only_dist_info_is_made() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let site = folder.path().join("lib/python3.11/site-packages");
        std::fs::create_dir_all(&site).expect("a folder");
        set_mode(&site, 0o555).expect("ours");
        editables("x").write(folder.path()).expect("written");
        let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o7777;
        let dist = site.join("own-1.dist-info");
        assert_eq!(
            (mode(&site), mode(&dist), mode(&dist.join("METADATA"))),
            (0o555, 0o555, 0o444)
        );
        fsx::remove_tree(&site).expect("removed");
    }
}
