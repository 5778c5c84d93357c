//! What flambeau itself puts into environments: the start-up hook, the activate scripts, and what answers for pip.
//!
//! They are trees of the store like any wheel's, made once for each Python minor version, so an environment links to
//! them and their bytecode is compiled once. They have no dist-info: no tool lists them as packages.

use super::tree::{Identity, Tree, TreeError, Trees, refused, tag};
use crate::digest::{Hasher, WheelDigest};
use crate::fsx::PathContext as _;
use crate::relpath::RelPath;
use crate::store::Staging;
use crate::wheel::entry_points::{self, Script};
use crate::wheel::layout::Layout;
use crate::wheel::manifest::FileRow;
use crate::wheel::unpack::write_new;

/// The line that Python runs at every start. Its name sorts before those of packages, whose lines then already see the
/// resolved environment.
///
/// Root may write where modes forbid it, and bytecode of another optimisation level would get into the wheel trees; the
/// hook sees to that for every module but itself.
const HOOK_LINE: &str = "import sys; _ = sys.dont_write_bytecode; sys.dont_write_bytecode = True; import _flambeau; \
                         sys.dont_write_bytecode = _; del _; _flambeau.pin()\n";

/// The same for CPython 3.15 and later, which then passes over the line (PEP 829).
const HOOK_START: &str = "_flambeau:pin\n";

/// Path below the prefix and contents; `{site}` is site-packages.
const HOOK: &[(&str, &str)] = &[
    ("{site}/00-flambeau.pth", HOOK_LINE),
    ("{site}/00-flambeau.start", HOOK_START),
    ("{site}/_flambeau.py", include_str!("runtime/_flambeau.py")),
    ("bin/activate", include_str!("runtime/activate")),
    ("bin/activate.csh", include_str!("runtime/activate.csh")),
    ("bin/activate.fish", include_str!("runtime/activate.fish")),
    ("bin/activate.nu", include_str!("runtime/activate.nu")),
    ("bin/activate.ps1", include_str!("runtime/activate.ps1")),
    ("share/flambeau/zsh/.zshenv", include_str!("runtime/zshenv")),
];

const PIP: &[(&str, &str)] = &[
    ("{site}/pip/__init__.py", include_str!("runtime/pip/__init__.py")),
    ("{site}/pip/__main__.py", include_str!("runtime/pip/__main__.py")),
];

/// Launchers of `pip.__main__:main`, below `bin`.
const PIP_LAUNCHERS: [&str; 2] = ["pip", "pip3"];

/// A tree of flambeau's own files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// The start-up hook and the activate scripts.
    Hook,
    /// What answers for pip in environments that have none.
    Pip,
}

/// One file of such a tree.
struct OwnFile {
    path: String,
    contents: Vec<u8>,
    executable: bool,
}

impl Own {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Hook, Self::Pip];

    /// The package name that stands in the facts of the tree.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hook => "flambeau-runtime",
            Self::Pip => "flambeau-pip",
        }
    }

    /// Whether an environment of packages with these names gets the tree.
    #[must_use]
    pub fn belongs<'a>(self, mut packages: impl Iterator<Item = &'a str>) -> bool {
        self == Self::Hook || packages.all(|name| name != "pip")
    }

    fn files(self, layout: Layout) -> Vec<OwnFile> {
        let (files, launchers): (_, &[&str]) = match self {
            Self::Hook => (HOOK, &[]),
            Self::Pip => (PIP, &PIP_LAUNCHERS),
        };
        let file = |(pattern, contents): &(&str, &str)| OwnFile {
            path: pattern.replace("{site}", &layout.site_packages()),
            contents: contents.as_bytes().to_vec(),
            executable: false,
        };
        let launcher = |name: &&str| OwnFile {
            path: format!("bin/{name}"),
            contents: Script::of(name, "pip.__main__", "main").contents(),
            executable: true,
        };
        files.iter().map(file).chain(launchers.iter().map(launcher)).collect()
    }
}

/// Whether a tree with this name in its facts is flambeau's own.
#[must_use]
pub fn is_own(name: &str) -> bool {
    Own::ALL.iter().any(|own| own.name() == name)
}

/// Whether a path below the prefix belongs to flambeau or to what binds an environment to its interpreter: no wheel may
/// bring it. Of the hook every form that Python could import in its place is reserved.
#[must_use]
pub fn owns(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let is_hook = |name: &str| name == "_flambeau" || name.starts_with("_flambeau.");
    match parts.as_slice() {
        ["pyvenv.cfg" | "environment_state.json" | "lib64"] | ["lib64", ..] | ["share", "flambeau", ..] => true,
        ["bin", name] => {
            let ours = HOOK.iter().any(|(path, _)| *path == format!("bin/{name}"));
            ours || entry_points::check_name(name).is_err()
        }
        ["lib", _, "site-packages", name, ..] if is_hook(name) => true,
        ["lib", _, "site-packages", "__pycache__", name] => is_hook(name),
        ["lib", _, "site-packages", name] => matches!(*name, "00-flambeau.pth" | "00-flambeau.start"),
        _ => false,
    }
}

/// What the facts of such a tree say it is.
pub(crate) fn own_identity(own: Own, digest: WheelDigest) -> Identity {
    Identity {
        package: own.name().to_owned(),
        version: super::FORM.to_string(),
        file: own.name().to_owned(),
        wheel: digest,
        unrecorded: Vec::new(),
    }
}

impl Trees<'_> {
    /// Flambeau's own trees for an environment of packages with these names.
    pub fn own_trees(&self, packages: &[&str]) -> Result<Vec<Tree>, TreeError> {
        let wanted = Own::ALL.into_iter().filter(|own| own.belongs(packages.iter().copied()));
        wanted.map(|own| self.own_tree(own)).collect()
    }

    /// One of flambeau's own trees, made where it is not visible yet.
    fn own_tree(&self, own: Own) -> Result<Tree, TreeError> {
        let (name, digest) = self.own_name(own);
        let tree = match self.find_named(name.clone())? {
            Some(tree) => tree,
            None => self.make_own(own, name, digest)?,
        };
        self.compile(&tree)?;
        Ok(tree)
    }

    fn make_own(&self, own: Own, name: String, digest: WheelDigest) -> Result<Tree, TreeError> {
        let _guard = self.store.guard(&name, self.reporter)?;
        if let Some(tree) = self.find_named(name.clone())? {
            return Ok(tree);
        }
        let staging = self.store.stage()?;
        let files = self.write_own(own, &staging)?;
        self.commit(name, staging, files, own_identity(own, digest))
    }

    /// Which of flambeau's own trees has this folder name, and the digest that it starts with.
    pub(crate) fn own_named(&self, name: &str) -> Option<(Own, WheelDigest)> {
        Own::ALL.into_iter().find_map(|own| {
            let (own_name, digest) = self.own_name(own);
            (own_name == name).then_some((own, digest))
        })
    }

    /// The folder name of one of flambeau's own trees, and the digest that it starts with.
    fn own_name(&self, own: Own) -> (String, WheelDigest) {
        let mut hasher = Hasher::new();
        for file in own.files(Layout::new(self.python.minor)) {
            hasher.update(file.path.as_bytes());
            hasher.update(&[0]);
            hasher.update(&file.contents);
            hasher.update(&[0]);
        }
        let digest = WheelDigest::from_bytes(hasher.finish());
        let name = format!(
            "{}-{}-{}-{}",
            digest.short(),
            own.name().replace('-', "_"),
            super::FORM,
            tag(self.python)
        );
        (name, digest)
    }

    /// Writes the files of one of flambeau's own trees below a staging folder's `root`.
    pub(crate) fn write_own(&self, own: Own, staging: &Staging) -> Result<Vec<FileRow>, TreeError> {
        let layout = Layout::new(self.python.minor);
        let root = staging.path().join("root");
        let mut files: Vec<FileRow> = Vec::new();
        for file in own.files(layout) {
            let refused = |error| refused(own.name(), error);
            let path = RelPath::new(&file.path);
            let path = path.map_err(|error| refused(crate::wheel::unpack::UnpackError::Name(error)))?;
            let target = root.join(&path);
            if let Some(folder) = target.parent() {
                std::fs::create_dir_all(folder).at("create the folder", folder)?;
            }
            files.push(write_new(&root, path, &file.contents, file.executable).map_err(refused)?);
        }
        files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_environment_is_reserved() {
        for path in [
            "pyvenv.cfg",
            "lib64/x.so",
            "bin/python3",
            "bin/activate",
            "share/flambeau/x",
            "lib/python3.11/site-packages/_flambeau/__init__.py",
            "lib/python3.11/site-packages/_flambeau.cpython-311-x86_64-linux-gnu.so",
            "lib/python3.11/site-packages/__pycache__/_flambeau.cpython-311.pyc",
            "lib/python3.11/site-packages/00-flambeau.pth",
            "lib/python3.11/site-packages/00-flambeau.start",
        ] {
            assert!(owns(path), "{path}");
        }
        for path in [
            "bin/torchrun",
            "lib/python3.11/site-packages/torch/_flambeau.py",
            "share/pyvenv.cfg",
            "lib/x.so",
        ] {
            assert!(!owns(path), "{path}");
        }
        for (pattern, _) in HOOK {
            assert!(
                owns(&pattern.replace("{site}", "lib/python3.11/site-packages")),
                "{pattern}"
            );
        }
    }
}
