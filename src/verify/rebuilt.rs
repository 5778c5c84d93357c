//! Two builds of one environment beside each other.

use std::collections::BTreeMap;

use crate::digest::FileDigest;
use crate::env::bytecode::{BytecodeManifest, bytecode_name};
use crate::env::tree::Tree;
use crate::store::{Shelf, Store};
use crate::wheel::manifest::FileRow;

/// A file in which two builds differ.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The path below the prefix.
    pub path: String,
    /// `torch==2.7.0`, where it belongs to one package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Whether it is bytecode, which the tree digest does not cover.
    pub bytecode: bool,
}

/// The files of two sets of trees that differ in content or executable bits, or that only one of them has. Sorted.
#[must_use]
pub fn differences(
    (first, first_trees): (&Store, &[String]),
    (second, second_trees): (&Store, &[String]),
) -> Vec<Difference> {
    let mut differences = BTreeMap::new();
    let (first, second) = (rows(first, first_trees), rows(second, second_trees));
    for (path, row) in first.iter().chain(&second) {
        let content = |row: Option<&(String, FileRow)>| {
            row.map(|(_, row)| -> (FileDigest, bool) { (row.digest, row.executable) })
        };
        // Which modules are compiled is a matter of the configuration; that one is missing is for the verification.
        let one_sided = first.contains_key(path) != second.contains_key(path);
        if content(first.get(path)) != content(second.get(path)) && !(row.1.is_bytecode() && one_sided) {
            let difference = Difference {
                path: path.clone(),
                package: Some(row.0.clone()),
                bytecode: row.1.is_bytecode(),
            };
            differences.insert(path.clone(), difference);
        }
    }
    differences.into_values().collect()
}

/// Every file by path, with the package it belongs to.
fn rows(store: &Store, trees: &[String]) -> BTreeMap<String, (String, FileRow)> {
    let mut rows = BTreeMap::new();
    for name in trees {
        let (Ok(tree), Ok(manifest)) = (Tree::open(store, name), Tree::manifest_of(store, name)) else {
            continue;
        };
        let bytecode = store.path(Shelf::Bytecode, bytecode_name(name));
        let bytecode = BytecodeManifest::read(&bytecode).map_or(Vec::new(), |manifest| manifest.files);
        for row in manifest.files.into_iter().chain(bytecode) {
            let package = format!("{}=={}", tree.facts.name, tree.facts.version);
            rows.insert(row.path.to_string(), (package, row));
        }
    }
    rows
}
