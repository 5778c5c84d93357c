//! What deleting objects frees: the blocks of inodes whose last link goes.
//!
//! Environments share inodes with wheel trees and with each other, so sizes cannot be added up. Here links are counted:
//! an inode's blocks are free once as many of its links were taken away as it has. Blocks that copies share on file
//! systems with reflinks are counted as if they were not shared; no call tells.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::fsx::{PathContext as _, PathError};

/// One entry of a tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    inode: (u64, u64),
    links: u64,
    bytes: u64,
}

/// Every entry below `path`, itself included. What vanishes meanwhile is left out.
pub(super) fn links(path: &Path) -> Result<Vec<Link>, PathError> {
    let mut links = Vec::new();
    if let Some(meta) = there(std::fs::symlink_metadata(path)).at("look at", path)? {
        links.push(Link::of(&meta));
        if meta.is_dir() {
            collect(path, &mut links)?;
        }
    }
    Ok(links)
}

fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

impl Link {
    fn of(meta: &Metadata) -> Self {
        Self {
            inode: (meta.dev(), meta.ino()),
            // A folder's links are its children; it goes as a whole.
            links: if meta.is_dir() { 1 } else { meta.nlink() },
            bytes: meta.blocks() * 512,
        }
    }
}

fn collect(folder: &Path, links: &mut Vec<Link>) -> Result<(), PathError> {
    let Some(entries) = there(std::fs::read_dir(folder)).at("list", folder)? else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry.at("list", folder)?;
        // Asked relative to the open folder, which saves the kernel most of its work.
        if let Some(meta) = there(entry.metadata()).at("look at", folder)? {
            links.push(Link::of(&meta));
            if meta.is_dir() {
                collect(&entry.path(), links)?;
            }
        }
    }
    Ok(())
}

/// Counts links that are taken away.
#[derive(Debug, Default)]
pub(super) struct Account {
    gone: HashMap<(u64, u64), u64>,
}

impl Account {
    /// Takes these links away too; returns the bytes that this frees.
    pub(super) fn take(&mut self, links: &[Link]) -> u64 {
        let mut freed = 0;
        for link in links {
            if link.links <= 1 {
                freed += link.bytes;
                continue;
            }
            let gone = self.gone.entry(link.inode).or_default();
            *gone += 1;
            if *gone == link.links {
                freed += link.bytes;
            }
        }
        freed
    }
}

/// The bytes of a set of trees, each inode once.
pub(super) fn unique<'a>(trees: impl Iterator<Item = &'a Vec<Link>>) -> u64 {
    let mut seen = std::collections::HashSet::new();
    trees
        .flatten()
        .filter(|link| link.links <= 1 || seen.insert(link.inode))
        .map(|link| link.bytes)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_is_free_when_its_last_link_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["tree", "one", "two"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let file = folder.path().join("tree/file");
        std::fs::write(&file, vec![7; 100_000]).expect("written");
        for name in ["one/file", "two/file"] {
            std::fs::hard_link(&file, folder.path().join(name)).expect("linked");
        }
        let of = |name: &str| links(&folder.path().join(name)).expect("readable");
        let blocks = std::fs::metadata(&file).expect("there").blocks() * 512;
        let mut account = Account::default();
        assert!(account.take(&of("one")) < blocks);
        assert!(account.take(&of("tree")) < blocks);
        assert!(account.take(&of("two")) >= blocks);
        let all = [of("one"), of("two"), of("tree")];
        assert!((blocks..2 * blocks).contains(&unique(all.iter())));
        assert!(links(&folder.path().join("none")).expect("absent is fine").is_empty());
    }
}
