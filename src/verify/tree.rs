//! One wheel tree: its files beside its manifest, and manifest, facts and RECORD beside each other.

use std::collections::BTreeMap;
use std::path::Path;

use super::inspect::{Entries, Expected, look};
use super::{Depth, Examined, Kind, Subject, Verifier};
use crate::digest::FileDigest;
use crate::env::tree::{Tree, is_top_level_record, python_of};
use crate::store::{Shelf, Store};
use crate::wheel::manifest::{Manifest, is_bytecode_path};
use crate::wheel::record;

/// What is below a tree's folder according to its manifest.
pub(super) fn entries(manifest: &Manifest) -> Entries {
    let mut entries = Entries::from([
        ("root".to_owned(), Expected::Folder),
        ("manifest.json".to_owned(), Expected::Document),
        ("facts.json".to_owned(), Expected::Document),
    ]);
    for row in &manifest.files {
        let path = format!("root/{}", row.path.as_str());
        for (at, _) in path.match_indices('/') {
            if !entries.contains_key(&path[..at]) {
                entries.insert(path[..at].to_owned(), Expected::Folder);
            }
        }
        let expected = Expected::File {
            size: row.size,
            digest: row.digest,
            executable: row.executable,
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
        return (recorded(&tree.name, &root, manifest) == Some(false)).then_some("manifest.json");
    }
    Some(
        if digest_in_name && recorded(&tree.name, &root, manifest) == Some(false) {
            "manifest.json"
        } else {
            "facts.json"
        },
    )
}

/// Whether the manifest agrees with RECORD; none where there is no RECORD that could be read (its own row tells).
fn recorded(tree: &str, root: &Path, manifest: &Manifest) -> Option<bool> {
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
    // RECORD names bytecode that was left out too.
    let plain = python_of(tree).is_some_and(|(.., bytecode)| !bytecode);
    let agrees = rows.iter().all(|(path, content)| match files.get(path.as_str()) {
        Some(file) => content.is_none_or(|it| it == *file),
        None => plain && content.is_none() && is_bytecode_path(path),
    });
    Some(
        agrees
            && manifest
                .files
                .iter()
                .all(|row| row.is_bytecode() || rows.contains_key(row.path.as_str())),
    )
}

impl Verifier<'_> {
    pub(super) fn tree(&self, number: usize, name: &str, depth: Depth) -> Examined {
        let subject = Subject::Tree(name.to_owned());
        let folder = self.store.path(Shelf::Wheels, name);
        let mut examined = Examined::default();
        if let Some(kind) = self.absent(Shelf::Wheels, name) {
            examined.tell(&subject, &folder, "", kind);
            return examined;
        }
        let document = |name: &str| match std::fs::symlink_metadata(folder.join(name)) {
            Ok(meta) if !meta.is_file() => Kind::Replaced,
            Ok(meta) if meta.len() == 0 => Kind::Truncated,
            Ok(_) => Kind::Changed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kind::Missing,
            Err(_) => Kind::Unreadable,
        };
        let tree = Tree::open(self.store, name);
        if tree.is_err() {
            examined.tell(&subject, &folder, "facts.json", document("facts.json"));
        }
        let Ok(manifest) = Tree::manifest_of(self.store, name) else {
            examined.tell(&subject, &folder, "manifest.json", document("manifest.json"));
            return examined;
        };
        let seen = look(number, &folder, &entries(&manifest), depth);
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
