//! What a wheel tree holds: the manifest (every file) and the facts (what composing an environment needs).
//!
//! On disk both stand beside the tree's `root/` as canonical JSON: `manifest.json` with one row a file, and
//! `facts.json` with the folders, in which a folder that may become one symlink is folded to its digest and counts.
//! So composing reads a few hundred rows for torch, not sixteen thousand.
//!
//! The digest of a folder is SHA-256 over its entries in byte order of their names, each written as one kind byte
//! (`f` file, `x` executable file, `d` folder), the name, a zero byte and the 32 bytes of its content digest.
//! Bytecode has no part in it, and a folder without other content has none either. How files are linked, their times
//! and owners do not count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{FileDigest, Hasher, TreeDigest, WheelDigest};
use crate::relpath::RelPath;

/// The form of both documents.
pub const SCHEMA: u32 = 1;

/// One file of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRow {
    /// Path relative to the environment's prefix, e.g. `lib/python3.11/site-packages/torch/__init__.py`.
    pub path: RelPath,
    /// Bytes.
    pub size: u64,
    /// Content.
    pub digest: FileDigest,
    /// Whether it has executable bits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// Whether it is an ELF or Mach-O file, which may look for others relative to its real place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub native: bool,
}

impl FileRow {
    /// Whether it is bytecode (PEP 3147 `__pycache__/*.pyc`), which only trees of an earlier form hold.
    #[must_use]
    pub fn is_bytecode(&self) -> bool {
        is_bytecode_path(self.path.as_str())
    }
}

/// Whether a path is where bytecode goes (PEP 3147 `__pycache__/*.pyc`).
pub(crate) fn is_bytecode_path(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    parts.next().is_some_and(|name| name.ends_with(".pyc")) && parts.next() == Some("__pycache__")
}

/// Every file of a tree, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The files.
    pub files: Vec<FileRow>,
}

/// One file in [`Folder`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFact {
    /// Bytes.
    pub size: u64,
    /// Content.
    pub digest: FileDigest,
    /// Whether it has executable bits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// Whether it is bytecode of an earlier form's tree, which no digest covers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bytecode: bool,
}

/// One folder of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Whether it must be a real folder in an environment; see [`Rule`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub real: bool,
    /// Digest of its content; none where all of it is bytecode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<TreeDigest>,
    /// Bytes of all files below, bytecode included.
    pub bytes: u64,
    /// Number of all files below, bytecode included.
    pub count: u64,
    /// Whether `files` and `folders` were left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub folded: bool,
    /// Files by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileFact>,
    /// Folders by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub folders: BTreeMap<String, Folder>,
}

/// What composing needs to know of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Normalised name of the package; of flambeau's own files see [`crate::env::runtime::Own`].
    pub name: String,
    /// Version.
    pub version: String,
    /// File name of the wheel.
    pub file: String,
    /// Digest of the wheel.
    pub wheel: WheelDigest,
    /// The cache tag of the Python that the tree is laid out for (`cpython-311`). Trees of an earlier form, which hold
    /// their bytecode themselves, have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_tag: Option<String>,
    /// Files that the wheel's RECORD does not vouch for, let in because the user allowed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unrecorded: Vec<RelPath>,
    /// The environment's prefix.
    pub root: Folder,
}

/// Which folders of a tree an environment may have as one symlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Today's. Folders inside a package in which every file at every depth is a C or C++ header.
    /// Everything else is real: coverage and debuggers compare the real paths of modules with site-packages,
    /// `os.walk` and `rglob` do not follow links, and servers of static files answer 404 below one.
    Headers,
    /// That of form 1: every folder but `*.dist-info` and those that hold a native or executable file at any depth.
    Code,
}

/// Where a folder is.
#[derive(Debug, Clone, Copy)]
enum Inside {
    /// So many folders below the prefix, on the way to site-packages or elsewhere.
    Prefix(usize),
    /// In site-packages.
    SitePackages,
    /// A package's own folder.
    Top,
    /// A folder in a package.
    Package,
    /// In a `*.dist-info`.
    DistInfo,
}

impl Inside {
    fn of(self, name: &str) -> Self {
        match self {
            // lib/python3.11/site-packages
            Self::Prefix(2) if name == "site-packages" => Self::SitePackages,
            Self::Prefix(depth) => Self::Prefix(depth + 1),
            Self::SitePackages if name.ends_with(".dist-info") => Self::DistInfo,
            Self::SitePackages => Self::Top,
            Self::Top => Self::Package,
            inner => inner,
        }
    }
}

/// Whether a file is a C or C++ header by its name: no program imports or serves those.
fn is_header(name: &str) -> bool {
    const HEADERS: [&str; 9] = ["h", "hh", "hpp", "hxx", "cuh", "inl", "ipp", "tcc", "tpp"];
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| HEADERS.contains(&extension))
}

impl Folder {
    /// The folders of a tree with these files, nothing folded.
    #[must_use]
    pub fn of_files<'a>(rows: impl IntoIterator<Item = &'a FileRow>) -> Self {
        Self::by_rule(rows, Rule::Headers)
    }

    /// As [`Folder::of_files`], by the rule of another form.
    fn by_rule<'a>(rows: impl IntoIterator<Item = &'a FileRow>, rule: Rule) -> Self {
        let mut root = Self::default();
        for row in rows {
            let mut folder = &mut root;
            let mut parts: Vec<&str> = row.path.components().collect();
            let name = parts.pop().unwrap_or_default();
            for part in parts {
                folder = folder.folders.entry(part.to_owned()).or_default();
            }
            let bytecode = row.is_bytecode();
            let fact = FileFact {
                size: row.size,
                digest: row.digest,
                executable: row.executable,
                bytecode,
            };
            folder.files.insert(name.to_owned(), fact);
            folder.real |= row.native || row.executable;
        }
        root.settle();
        if rule == Rule::Headers {
            root.settle_real(Inside::Prefix(0));
        }
        root
    }

    /// Computes what depends on the content, from the leaves up.
    fn settle(&mut self) {
        self.bytes = self.files.values().map(|file| file.size).sum();
        self.count = self.files.len() as u64;
        for (name, folder) in &mut self.folders {
            folder.real |= name.ends_with(".dist-info");
            folder.settle();
            self.real |= folder.real;
            self.bytes += folder.bytes;
            self.count += folder.count;
        }
        self.digest = self.content_digest();
    }

    /// Sets `real` by [`Rule::Headers`]. Returns whether every file at every depth is a header.
    fn settle_real(&mut self, inside: Inside) -> bool {
        // A native or executable file is none, whatever its name.
        let mut headers = !self.real && self.files.keys().all(|name| is_header(name));
        for (name, folder) in &mut self.folders {
            headers &= folder.settle_real(inside.of(name));
            // Bytecode is laid into it.
            folder.real |= name == "__pycache__";
        }
        self.real = !(headers && matches!(inside, Inside::Package));
        headers
    }

    /// The digest over `files` and `folders`; `None` where nothing but bytecode is left. Must not be asked of a folded
    /// folder, whose content is not here.
    #[must_use]
    pub fn content_digest(&self) -> Option<TreeDigest> {
        let mut entries: BTreeMap<&str, (u8, [u8; 32])> = BTreeMap::new();
        for (name, file) in self.files.iter().filter(|(_, file)| !file.bytecode) {
            entries.insert(
                name,
                (if file.executable { b'x' } else { b'f' }, *file.digest.as_bytes()),
            );
        }
        for (name, folder) in &self.folders {
            if let Some(digest) = folder.digest {
                entries.insert(name, (b'd', *digest.as_bytes()));
            }
        }
        if entries.is_empty() {
            return None;
        }
        let mut hasher = Hasher::new();
        for (name, (kind, digest)) in entries {
            hasher.update(&[kind]);
            hasher.update(name.as_bytes());
            hasher.update(&[0]);
            hasher.update(&digest);
        }
        Some(TreeDigest::from_bytes(hasher.finish()))
    }

    /// Drops the content of folders that may become one symlink. Those of an environment's root, and in trees of form 1
    /// the bytecode of modules and packages at the top, keep it: several wheels often share them, and small as they are,
    /// reading them here is cheaper than reading a whole manifest then.
    pub fn fold(&mut self) {
        // lib/python3.11/site-packages/<package>/__pycache__
        self.fold_unless(0, &|depth, name| depth == 0 || (name == "__pycache__" && depth <= 4));
    }

    /// Whether this is what `files` give, folded: what facts must say of their tree. Trees of form 1 have more folders
    /// folded, and the oldest of them even those that [`Folder::fold`] keeps.
    #[must_use]
    pub fn is_folded_of(&self, files: &[FileRow]) -> bool {
        let is = |rule, fold: fn(&mut Self)| {
            let mut folded = Self::by_rule(files, rule);
            fold(&mut folded);
            folded == *self
        };
        is(Rule::Headers, Self::fold) || is(Rule::Code, Self::fold) || is(Rule::Code, Self::fold_entirely)
    }

    /// Drops the content of every folder that may become one symlink.
    fn fold_entirely(&mut self) {
        self.fold_unless(0, &|_, _| false);
    }

    fn fold_unless(&mut self, depth: usize, stays: &dyn Fn(usize, &str) -> bool) {
        for (name, folder) in &mut self.folders {
            if folder.real || stays(depth, name) {
                folder.fold_unless(depth + 1, stays);
            } else {
                folder.folded = true;
                folder.files.clear();
                folder.folders.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: &str, body: &[u8], executable: bool, native: bool) -> FileRow {
        let path = RelPath::new(path).expect("safe");
        FileRow {
            path,
            size: body.len() as u64,
            digest: FileDigest::of(body),
            executable,
            native,
        }
    }

    fn sample() -> Vec<FileRow> {
        vec![
            row("lib/p/torch/__init__.py", b"import x", false, false),
            row(
                "lib/p/torch/__pycache__/__init__.cpython-311.pyc",
                b"code",
                false,
                false,
            ),
            row("lib/p/torch/lib/libc10.so", b"\x7fELF", false, true),
            row("lib/p/torch/nn/modules/linear.py", b"pass", false, false),
            row("lib/p/torch-1.dist-info/METADATA", b"Name: torch", false, false),
        ]
    }

    /// What is folded of a tree with these files, by path, after folding by a rule.
    fn folded(rows: &[FileRow], rule: Rule, fold: fn(&mut Folder)) -> Vec<String> {
        fn collect(folder: &Folder, path: &str, found: &mut Vec<String>) {
            for (name, folder) in &folder.folders {
                let path = format!("{path}/{name}");
                found.extend(folder.folded.then(|| path[1..].to_owned()));
                assert!(!folder.folded || (folder.folders.is_empty() && folder.files.is_empty()));
                collect(folder, &path, found);
            }
        }
        let mut root = Folder::by_rule(rows, rule);
        let before = (root.count, root.bytes, root.digest);
        fold(&mut root);
        assert_eq!((root.count, root.bytes, root.digest), before);
        let mut found = Vec::new();
        collect(&root, "", &mut found);
        found
    }

    #[test]
    fn folders_of_headers_in_packages_may_be_links_and_nothing_else() {
        let site = |path: &str| row(&format!("lib/p/site-packages/{path}"), b"", false, false);
        let rows = [
            row("include/site/p/greenlet/greenlet.h", b"", false, false),
            row("share/headers/deep/a.h", b"", false, false),
            site("torch/__init__.py"),
            site("torch/nn/__init__.py"),
            site("torch/data/only/one.txt"),
            site("torch/include/ATen/a.h"),
            site("torch/include/ATen/cuda/b.cuh"),
            site("torch/include/c10/c.hpp"),
            site("torch/share/cmake/T.cmake"),
            site("torch/share/x.h"),
            row("lib/p/site-packages/torch/run/tool.h", b"", true, false),
            row("lib/p/site-packages/torch/native/tool.h", b"", false, true),
            site("headers/a.h"),
            site("torch-1.dist-info/licenses/a.h"),
        ];
        assert_eq!(
            folded(&rows, Rule::Headers, Folder::fold),
            ["lib/p/site-packages/torch/include"]
        );
    }

    #[test]
    fn form_1_folded_what_holds_no_code() {
        let sample = sample();
        assert_eq!(
            folded(&sample, Rule::Code, Folder::fold_entirely),
            ["lib/p/torch/__pycache__", "lib/p/torch/nn"]
        );
        for (rule, fold) in [
            (Rule::Headers, Folder::fold as fn(&mut Folder)),
            (Rule::Code, Folder::fold),
            (Rule::Code, Folder::fold_entirely),
        ] {
            let mut root = Folder::by_rule(&sample, rule);
            fold(&mut root);
            assert!(root.is_folded_of(&sample), "{rule:?}");
            root.count += 1;
            assert!(!root.is_folded_of(&sample), "{rule:?}");
        }
    }

    #[test]
    fn digest_covers_names_content_and_executable_bits_only() {
        let digest = |rows: &[FileRow]| Folder::of_files(rows).digest;
        let base = digest(&sample());
        let mut reversed = sample();
        reversed.reverse();
        assert_eq!(digest(&reversed), base, "order");
        let mut bytecode = sample();
        bytecode.remove(1);
        assert_eq!(digest(&bytecode), base, "bytecode");
        for change in 0..4 {
            let mut rows = sample();
            match change {
                0 => rows[0] = row("lib/p/torch/__init__.py", b"import y", false, false),
                1 => rows[0].executable = true,
                2 => rows[0] = row("lib/p/torch/__main__.py", b"import x", false, false),
                _ => drop(rows.remove(3)),
            }
            assert_ne!(digest(&rows), base, "change {change}");
        }
    }

    #[test]
    fn folding_keeps_the_digest() {
        for fold in [Folder::fold, Folder::fold_entirely] {
            let mut root = Folder::of_files(&sample());
            let before = root.digest;
            fold(&mut root);
            assert_eq!(root.digest, before);
            assert_eq!(root.content_digest(), before, "computed from folded children");
        }
    }

    #[test]
    fn bytecode_that_wheels_share_stays_unfolded() {
        let rows = [
            "__pycache__/six.cpython-311.pyc",
            "nvidia/__pycache__/__init__.cpython-311.pyc",
            "nvidia/cublas/__pycache__/__init__.cpython-311.pyc",
        ];
        let native = ["six.so", "nvidia/a.so", "nvidia/cublas/b.so"];
        let rows: Vec<FileRow> = rows
            .into_iter()
            .chain(native)
            .map(|path| {
                let native = path.ends_with(".so");
                row(&format!("lib/p/site-packages/{path}"), b"", false, native)
            })
            .collect();
        let shared = [
            "lib/p/site-packages/__pycache__",
            "lib/p/site-packages/nvidia/__pycache__",
        ];
        let all = folded(&rows, Rule::Code, Folder::fold_entirely);
        assert!(!all.is_empty());
        let kept = folded(&rows, Rule::Code, Folder::fold);
        assert_eq!(kept, ["lib/p/site-packages/nvidia/cublas/__pycache__"]);
        assert!(shared.iter().all(|path| !kept.contains(&(*path).to_owned())));
    }

    /// The exact bytes hashed, so that another program can compute the digest.
    #[test]
    fn golden_digest() {
        let rows = [row("a/run", b"1", true, false), row("b", b"", false, false)];
        let inner = [b"xrun\0".as_slice(), FileDigest::of(b"1").as_bytes()].concat();
        let outer = [
            b"da\0".as_slice(),
            TreeDigest::of(&inner).as_bytes(),
            b"fb\0".as_slice(),
            FileDigest::of(b"").as_bytes(),
        ]
        .concat();
        assert_eq!(Folder::of_files(&rows).digest, Some(TreeDigest::of(&outer)));
    }
}
