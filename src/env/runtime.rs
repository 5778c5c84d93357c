//! What flambeau itself puts into every environment: the start-up hook and the activate scripts.
//!
//! They are a tree of the store like any wheel's, made once for each Python minor version, so an environment links to
//! them and its bytecode is compiled once. The tree has no dist-info: no tool lists it as a package.

use super::tree::{Identity, Tree, TreeError, Trees, refused};
use crate::digest::{Hasher, WheelDigest};
use crate::fsx::PathContext as _;
use crate::relpath::RelPath;
use crate::store::{Shelf, Staging};
use crate::wheel::entry_points;
use crate::wheel::layout::Layout;
use crate::wheel::manifest::FileRow;
use crate::wheel::unpack::{sources, write_new};

/// The package name that stands in the facts of the tree.
pub const NAME: &str = "flambeau-runtime";

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
const FILES: &[(&str, &str)] = &[
    ("{site}/00-flambeau.pth", HOOK_LINE),
    ("{site}/00-flambeau.start", HOOK_START),
    ("{site}/_flambeau.py", include_str!("runtime/_flambeau.py")),
    ("bin/activate", include_str!("runtime/activate")),
    ("bin/activate.csh", include_str!("runtime/activate.csh")),
    ("bin/activate.fish", include_str!("runtime/activate.fish")),
    ("bin/activate.nu", include_str!("runtime/activate.nu")),
    ("bin/activate.ps1", include_str!("runtime/activate.ps1")),
];

/// Whether a path below the prefix belongs to flambeau or to what binds an environment to its interpreter: no wheel may
/// bring it. Of the hook every form that Python could import in its place is reserved.
#[must_use]
pub fn owns(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let is_hook = |name: &str| name == "_flambeau" || name.starts_with("_flambeau.");
    match parts.as_slice() {
        ["pyvenv.cfg" | "environment_state.json" | "lib64"] | ["lib64", ..] => true,
        ["bin", name] => {
            let ours = FILES.iter().any(|(path, _)| *path == format!("bin/{name}"));
            ours || entry_points::check_name(name).is_err()
        }
        ["lib", _, "site-packages", name, ..] if is_hook(name) => true,
        ["lib", _, "site-packages", "__pycache__", name] => is_hook(name),
        ["lib", _, "site-packages", name] => matches!(*name, "00-flambeau.pth" | "00-flambeau.start"),
        _ => false,
    }
}

/// What the facts of the runtime's tree say it is.
pub(crate) fn runtime_identity(digest: WheelDigest) -> Identity {
    Identity {
        package: NAME.to_owned(),
        version: super::FORM.to_string(),
        file: NAME.to_owned(),
        wheel: digest,
        unrecorded: Vec::new(),
    }
}

impl Trees<'_> {
    /// The runtime's tree, made where it is not visible yet.
    pub fn runtime(&self) -> Result<Tree, TreeError> {
        let (name, digest) = self.runtime_name();
        if let Some(tree) = self.find_named(name.clone())? {
            return Ok(tree);
        }
        let _guard = self.store.guard(&name, self.reporter)?;
        if let Some(tree) = self.find_named(name.clone())? {
            return Ok(tree);
        }
        let staging = self.store.stage()?;
        let files = self.write_runtime(&staging)?;
        let facts = self.commit(&name, staging, files, runtime_identity(digest))?;
        let folder = self.store.path(Shelf::Wheels, &name);
        Ok(Tree { name, folder, facts })
    }

    /// The folder name of the runtime's tree, and the digest that it starts with.
    pub(crate) fn runtime_name(&self) -> (String, WheelDigest) {
        let mut hasher = Hasher::new();
        for (path, contents) in FILES {
            hasher.update(path.as_bytes());
            hasher.update(&[0]);
            hasher.update(contents.as_bytes());
            hasher.update(&[0]);
        }
        let digest = WheelDigest::from_bytes(hasher.finish());
        let version = super::FORM;
        let name = format!(
            "{}-flambeau_runtime-{version}-{}",
            digest.short(),
            self.python.cache_tag
        );
        (name, digest)
    }

    /// Writes and compiles the runtime's files below a staging folder's `root`.
    pub(crate) fn write_runtime(&self, staging: &Staging) -> Result<Vec<FileRow>, TreeError> {
        let layout = Layout::new(self.python.minor);
        let root = staging.path().join("root");
        let mut files: Vec<FileRow> = Vec::new();
        for (pattern, contents) in FILES {
            let refused = |error| refused(NAME, error);
            let path = pattern.replace("{site}", &layout.site_packages());
            let path = RelPath::new(&path).map_err(|error| refused(crate::wheel::unpack::UnpackError::Name(error)))?;
            let target = root.join(&path);
            if let Some(folder) = target.parent() {
                std::fs::create_dir_all(folder).at("create the folder", folder)?;
            }
            files.push(write_new(&root, path, contents.as_bytes(), false).map_err(refused)?);
        }
        let compiled = self.compilers.compile(&root, sources(&files, layout));
        let compiled = compiled.map_err(|source| TreeError::Bytecode {
            file: NAME.to_owned(),
            source,
        })?;
        files.extend(compiled.files);
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
            "lib/python3.11/site-packages/_flambeau/__init__.py",
            "lib/python3.11/site-packages/_flambeau.cpython-311-x86_64-linux-gnu.so",
            "lib/python3.11/site-packages/__pycache__/_flambeau.cpython-311.pyc",
            "lib/python3.11/site-packages/00-flambeau.pth",
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
        for (pattern, _) in FILES {
            assert!(
                owns(&pattern.replace("{site}", "lib/python3.11/site-packages")),
                "{pattern}"
            );
        }
    }
}
