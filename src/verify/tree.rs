//! One wheel tree: its files beside its manifest, and manifest, facts and RECORD beside each other.

use std::collections::BTreeMap;
use std::path::Path;

use super::inspect::{Entries, Expected, look};
use super::{Depth, Examined, Kind, Subject, Verifier};
use crate::digest::FileDigest;
use crate::env::bytecode::{BytecodeManifest, bytecode_name};
use crate::env::tree::{Tree, is_top_level_record};
use crate::relpath::RelPath;
use crate::store::{Shelf, Store};
use crate::wheel::manifest::{FileRow, Manifest, is_bytecode_path};
use crate::wheel::record;

/// What is below the folder of a tree, or of its bytecode, according to the manifest.
fn entries(documents: &[&str], files: &[FileRow], empty: &[RelPath]) -> Entries {
    let documents = documents.iter().map(|name| ((*name).to_owned(), Expected::Document));
    let mut entries: Entries = documents.collect();
    entries.insert("root".to_owned(), Expected::Folder);
    let folders = empty.iter().map(|folder| format!("root/{folder}/"));
    let paths = files.iter().map(|row| format!("root/{}", row.path)).chain(folders);
    for path in paths {
        for (at, _) in path.match_indices('/') {
            if !entries.contains_key(&path[..at]) {
                entries.insert(path[..at].to_owned(), Expected::Folder);
            }
        }
    }
    for row in files {
        let path = format!("root/{}", row.path.as_str());
        let expected = Expected::File {
            size: row.size,
            digest: row.digest,
            executable: row.executable,
            or_link: None,
        };
        entries.insert(path, expected);
    }
    entries
}

/// Which of a tree's documents contradicts the others; none where they agree. RECORD is an independent witness: it
/// says the same of every file but bytecode.
pub(super) fn contradiction(store: &Store, tree: &Tree, manifest: &Manifest) -> Option<&'static str> {
    let root = store.path(Shelf::Wheels, &tree.name).join("root");
    let agrees = tree.facts.root.is_folded_of(&manifest.files);
    let digest_in_name = tree.name.starts_with(&format!("{}-", tree.facts.wheel.short()));
    if agrees && digest_in_name {
        return (recorded(&root, manifest) == Some(false)).then_some("manifest.json");
    }
    Some(if digest_in_name && recorded(&root, manifest) == Some(false) {
        "manifest.json"
    } else {
        "facts.json"
    })
}

/// Whether the manifest agrees with RECORD; none where there is no RECORD that could be read (its own row tells).
fn recorded(root: &Path, manifest: &Manifest) -> Option<bool> {
    let row = manifest
        .files
        .iter()
        .find(|row| is_top_level_record(row.path.as_str()))?;
    let bytes = std::fs::read(root.join(&row.path)).ok()?;
    if FileDigest::of(&bytes) != row.digest {
        return None;
    }
    let site = row.path.as_str().rsplitn(3, '/').nth(2)?;
    let rows = record::installed(&bytes, site)?;
    let files: BTreeMap<&str, (FileDigest, u64)> = manifest
        .files
        .iter()
        .map(|row| (row.path.as_str(), (row.digest, row.size)))
        .collect();
    // In an earlier form RECORD names bytecode, also where that was left out.
    let agrees = rows.iter().all(|(path, content)| match files.get(path.as_str()) {
        Some(file) => content.is_none_or(|it| it == *file),
        None => content.is_none() && is_bytecode_path(path),
    });
    Some(
        agrees
            && manifest
                .files
                .iter()
                .all(|row| row.is_bytecode() || rows.contains_key(row.path.as_str())),
    )
}

/// What is wrong with a document that cannot be read.
fn document(path: &Path) -> Kind {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.is_file() => Kind::Replaced,
        Ok(meta) if meta.len() == 0 => Kind::Truncated,
        Ok(_) => Kind::Changed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kind::Missing,
        Err(_) => Kind::Unreadable,
    }
}

impl Verifier<'_> {
    /// The bytecode of a tree beside its manifest.
    pub(super) fn bytecode(&self, number: usize, name: &str, depth: Depth) -> Examined {
        let subject = Subject::Bytecode(name.to_owned());
        let folder = self.store.path(Shelf::Bytecode, name);
        let mut examined = Examined::default();
        if let Some(kind) = self.absent(Shelf::Bytecode, name) {
            examined.tell(&subject, &folder, "", kind);
            return examined;
        }
        match BytecodeManifest::read(&folder) {
            Ok(manifest) if bytecode_name(&manifest.tree) == name => {
                let expected = entries(&["manifest.json"], &manifest.files, &manifest.empty);
                examined.take(&subject, &folder, look(number, &folder, &expected, depth));
            }
            _ => examined.tell(
                &subject,
                &folder,
                "manifest.json",
                document(&folder.join("manifest.json")),
            ),
        }
        examined
    }

    pub(super) fn tree(&self, number: usize, name: &str, depth: Depth) -> Examined {
        let subject = Subject::Tree(name.to_owned());
        let folder = self.store.path(Shelf::Wheels, name);
        let mut examined = Examined::default();
        if let Some(kind) = self.absent(Shelf::Wheels, name) {
            examined.tell(&subject, &folder, "", kind);
            return examined;
        }
        let document = |name: &str| document(&folder.join(name));
        let tree = Tree::open(self.store, name);
        if tree.is_err() {
            examined.tell(&subject, &folder, "facts.json", document("facts.json"));
        }
        let Ok(manifest) = Tree::manifest_of(self.store, name) else {
            examined.tell(&subject, &folder, "manifest.json", document("manifest.json"));
            return examined;
        };
        let expected = entries(&["manifest.json", "facts.json"], &manifest.files, &[]);
        let seen = look(number, &folder, &expected, depth);
        examined.take(&subject, &folder, seen);
        let whole = |document: &str| !examined.damaged.iter().any(|damage| damage.inside == document);
        if let Ok(tree) = tree
            && depth == Depth::Full
            && whole("manifest.json")
            && whole("facts.json")
            && let Some(document) = contradiction(self.store, &tree, &manifest)
        {
            examined.tell(&subject, &folder, document, Kind::Changed);
        }
        examined
    }
}
