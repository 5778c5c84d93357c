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
    /// Whether flambeau compiled it (PEP 3147 `__pycache__/*.pyc`).
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
    /// Whether it is bytecode, which no digest covers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bytecode: bool,
}

/// One folder of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Whether it must be a real folder in an environment: it is a `*.dist-info`, or it holds a native or executable
    /// file at any depth.
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
    /// Normalised name of the package; of flambeau's own files `flambeau-runtime`.
    pub name: String,
    /// Version.
    pub version: String,
    /// File name of the wheel.
    pub file: String,
    /// Digest of the wheel.
    pub wheel: WheelDigest,
    /// Full version of the Python that compiled the bytecode.
    pub compiled_by: String,
    /// Files that the wheel's RECORD does not vouch for, let in because the user allowed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unrecorded: Vec<RelPath>,
    /// The environment's prefix.
    pub root: Folder,
}

impl Folder {
    /// The folders of a tree with these files, nothing folded.
    #[must_use]
    pub fn of_files<'a>(rows: impl IntoIterator<Item = &'a FileRow>) -> Self {
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

    /// Drops the content of folders that may become one symlink. Those of an environment's root, and the bytecode of
    /// modules and packages at the top, keep it: several wheels often share them, and small as they are, reading them
    /// here is cheaper than reading a whole manifest then.
    pub fn fold(&mut self) {
        // lib/python3.11/site-packages/<package>/__pycache__
        self.fold_unless(0, &|depth, name| depth == 0 || (name == "__pycache__" && depth <= 4));
    }

    /// Whether this is what `files` give, folded: what facts must say of their tree. Trees that were made before
    /// [`Folder::fold`] kept some folders have them folded too.
    #[must_use]
    pub fn is_folded_of(&self, files: &[FileRow]) -> bool {
        let whole = Self::of_files(files);
        [Self::fold, Self::fold_entirely].into_iter().any(|fold| {
            let mut folded = whole.clone();
            fold(&mut folded);
            folded == *self
        })
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

    #[test]
    fn real_folders_are_those_above_native_files() {
        let mut root = Folder::of_files(&sample());
        root.fold();
        let packages = &root.folders["lib"].folders["p"];
        let torch = &packages.folders["torch"];
        assert!(root.real && torch.real && torch.folders["lib"].real && packages.folders["torch-1.dist-info"].real);
        assert!(torch.folders["nn"].folded && torch.folders["nn"].folders.is_empty());
        assert_eq!(
            (torch.folders["nn"].count, torch.folders["nn"].bytes, root.count),
            (1, 4, 5)
        );
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
    fn what_wheels_share_stays_unfolded() {
        let rows = [
            row("bin/activate", b"", false, false),
            row("share/man/x.1", b"", false, false),
            row("lib/p/site-packages/__pycache__/six.cpython-311.pyc", b"", false, false),
            row(
                "lib/p/site-packages/nvidia/__pycache__/__init__.cpython-311.pyc",
                b"",
                false,
                false,
            ),
            row(
                "lib/p/site-packages/nvidia/cublas/__pycache__/__init__.cpython-311.pyc",
                b"",
                false,
                false,
            ),
            row(
                "lib/p/site-packages/nvidia/cublas/lib/libcublas.so.12",
                b"\x7fELF",
                false,
                true,
            ),
        ];
        let folded = |fold: fn(&mut Folder), path: &str| {
            let mut root = Folder::of_files(&rows);
            fold(&mut root);
            path.split('/').fold(&root, |folder, name| &folder.folders[name]).folded
        };
        for (path, now, before) in [
            ("bin", false, true),
            ("lib/p/site-packages/__pycache__", false, true),
            ("lib/p/site-packages/nvidia/__pycache__", false, true),
            ("lib/p/site-packages/nvidia/cublas/__pycache__", true, true),
            ("lib/p/site-packages/nvidia/cublas/lib", false, false),
        ] {
            assert_eq!(
                (folded(Folder::fold, path), folded(Folder::fold_entirely, path)),
                (now, before),
                "{path}"
            );
        }
        assert!(folded(Folder::fold, "share/man"));
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
