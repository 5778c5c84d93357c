//! Taking a bundle in: wheels into a cache, trees into a store, lockfiles to whoever asks for them.
//!
//! A wheel is written beside its place, compared with its digest, and renamed; a tree is staged and committed. What is
//! there already is left out, so an interrupted import goes on where it ended, and several machines may import into one
//! store and cache at once: whoever is second finds what it would have written.

use std::path::{Path, PathBuf};

use super::BundleError;
use super::document::{Document, FileEntry, FileKind};
use super::read::Source;
use super::tree::{BundledTree, Shelves};
use crate::cache::Cache;
use crate::digest::FileDigest;
use crate::fsx::{self, PathContext as _};
use crate::progress::{Event, Reporter};
use crate::space::Shortage;
use crate::store::{Claim, Store, Sync};

/// A bundle that is being read.
pub struct Opened {
    bundle: PathBuf,
    source: Source,
    document: Document,
    digest: FileDigest,
    /// The row that comes next.
    next: usize,
}

/// Takes bundles in.
#[derive(Clone, Copy)]
pub struct Importer<'a> {
    /// Where wheels go.
    pub cache: &'a Cache,
    /// Where trees go.
    pub store: &'a Store,
    /// When trees reach the disk.
    pub sync: Sync,
    /// Who watches.
    pub reporter: &'a dyn Reporter,
}

/// What an import came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Wheels in the bundle.
    pub wheels: usize,
    /// Trees in the bundle.
    pub trees: usize,
    /// Wheels that were not in the cache.
    pub new_wheels: usize,
    /// Trees that were not in the store.
    pub new_trees: usize,
    /// Bytes of the new wheels.
    pub bytes: u64,
}

impl Opened {
    /// Opens a folder, an archive, or the first part of one. Where `expected` names a digest, any other bundle is
    /// refused.
    pub fn open(bundle: &Path, expected: Option<FileDigest>) -> Result<Self, BundleError> {
        let mut source = Source::open(bundle)?;
        let bytes = source.document()?;
        let digest = FileDigest::of(&bytes);
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(BundleError::Unexpected {
                bundle: bundle.to_owned(),
                expected,
                actual: digest,
            });
        }
        Ok(Self {
            bundle: bundle.to_owned(),
            document: Document::parse(&bytes, bundle)?,
            source,
            digest,
            next: 0,
        })
    }

    /// What the bundle says of itself.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The bundle's digest.
    #[must_use]
    pub fn digest(&self) -> FileDigest {
        self.digest
    }

    /// Says that the bundle contradicts itself.
    #[must_use]
    pub fn contradiction(&self, reason: String) -> BundleError {
        BundleError::Contradiction {
            bundle: self.bundle.clone(),
            reason,
        }
    }

    /// The lockfiles by name. They come first, so that they are read before anything is taken in.
    pub fn lockfiles(&mut self) -> Result<Vec<(String, Vec<u8>)>, BundleError> {
        let mut lockfiles = Vec::new();
        while let Some(row) = self.document.files.get(self.next) {
            let Some(name) = row.lockfile_name() else { break };
            let bytes = self.source.read(&row.path, row.size, row.sha256)?;
            lockfiles.push((name.to_owned(), bytes));
            self.next += 1;
        }
        Ok(lockfiles)
    }

    /// The wheels of the bundle.
    fn wheels(&self) -> impl Iterator<Item = &FileEntry> {
        self.document.files.iter().filter(|row| row.kind == FileKind::Wheel)
    }

    /// Compares everything that is left with its digest, and takes nothing in.
    pub fn check(mut self, reporter: &dyn Reporter) -> Result<Imported, BundleError> {
        let mut seen = Imported::default();
        plan(self.wheels(), reporter);
        while let Some(row) = self.document.files.get(self.next).cloned() {
            self.next += 1;
            if row.kind == FileKind::Tree {
                self.tree(&row)?.check(&mut self.source)?;
                seen.trees += 1;
                continue;
            }
            if row.kind == FileKind::Bytecode {
                BundledTree::read_bytecode(&mut self.source, &row)?.check(&mut self.source)?;
                continue;
            }
            let wheel = row.kind == FileKind::Wheel;
            let watch = |bytes| {
                if wheel {
                    advanced(&row, bytes, reporter);
                }
            };
            let nowhere = Path::new("/dev/null");
            let what = (&row.path, row.size, row.sha256);
            self.source.copy(what, std::io::sink(), nowhere, watch)?;
            if wheel {
                finished(&row, reporter);
                seen.wheels += 1;
            }
        }
        Ok(seen)
    }

    /// The tree whose manifest is `row`; its facts are the next row.
    fn tree(&mut self, row: &FileEntry) -> Result<BundledTree, BundleError> {
        let lost = || self.contradiction("a tree lacks its facts".to_owned());
        let facts = self.document.files.get(self.next).cloned().ok_or_else(lost)?;
        self.next += 1;
        BundledTree::read(&mut self.source, row, &facts)
    }
}

fn plan<'a>(wheels: impl Iterator<Item = &'a FileEntry>, reporter: &dyn Reporter) {
    let sizes: Vec<u64> = wheels.map(|row| row.size).collect();
    if !sizes.is_empty() {
        reporter.event(Event::CopyPlanned {
            files: sizes.len(),
            bytes: sizes.iter().sum(),
        });
    }
}

fn advanced(row: &FileEntry, bytes: u64, reporter: &dyn Reporter) {
    let file = row.path.file_name();
    reporter.event(Event::FetchAdvanced { file, bytes });
}

fn finished(row: &FileEntry, reporter: &dyn Reporter) {
    let file = row.path.file_name();
    reporter.event(Event::FetchFinished { file });
}

impl Importer<'_> {
    fn has(&self, row: &FileEntry) -> Result<bool, BundleError> {
        let found = self
            .cache
            .find_wheel(&row.wheel_digest(), row.path.file_name(), Some(row.size))?;
        Ok(found.is_some())
    }

    /// Takes in every wheel and tree that is not there yet.
    pub fn import(&self, mut opened: Opened) -> Result<Imported, BundleError> {
        let mut imported = Imported::default();
        let mut missing = Vec::new();
        for row in opened.wheels() {
            if !self.has(row)? {
                missing.push(row);
            }
        }
        let needed: u64 = missing.iter().map(|row| row.size).sum();
        if !missing.is_empty() {
            let path = self.cache.partial_folder()?;
            let free = fsx::free_bytes(&path)?;
            if free < needed {
                return Err(BundleError::NoSpace(Shortage::expected(&path, needed, free)));
            }
        }
        plan(missing.into_iter(), self.reporter);
        let mut claim: Option<Claim> = None;
        while let Some(row) = opened.document.files.get(opened.next).cloned() {
            opened.next += 1;
            match row.kind {
                FileKind::Wheel => {
                    imported.wheels += 1;
                    if self.has(&row)? {
                        opened.source.skip(&row.path, row.size)?;
                        continue;
                    }
                    self.wheel(&mut opened.source, &row)?;
                    imported.new_wheels += 1;
                    imported.bytes += row.size;
                }
                FileKind::Tree | FileKind::Bytecode => {
                    let is_tree = row.kind == FileKind::Tree;
                    let object = if is_tree {
                        opened.tree(&row)?
                    } else {
                        BundledTree::read_bytecode(&mut opened.source, &row)?
                    };
                    if claim.is_none() {
                        self.store.prepare()?;
                        claim = Some(self.store.claim()?);
                    }
                    let Some(claim) = &claim else { continue };
                    let shelves = Shelves {
                        store: self.store,
                        claim,
                        sync: self.sync,
                        reporter: self.reporter,
                    };
                    let is_new = object.import(&mut opened.source, &shelves)?;
                    imported.trees += usize::from(is_tree);
                    imported.new_trees += usize::from(is_tree && is_new);
                }
                FileKind::Lockfile | FileKind::Keys | FileKind::Program | FileKind::Page => {
                    opened.source.skip(&row.path, row.size)?;
                }
            }
        }
        Ok(imported)
    }

    /// Copies one wheel beside its place, compares it, and makes it visible.
    fn wheel(&self, source: &mut Source, row: &FileEntry) -> Result<(), BundleError> {
        let folder = self.cache.partial_folder()?;
        let file = row.path.file_name();
        self.reporter.event(Event::FetchStarted {
            file,
            size: Some(row.size),
            have: 0,
        });
        let mut temporary = tempfile::Builder::new()
            .prefix("import-")
            .suffix(".part")
            .tempfile_in(&folder)
            .at("create a file in", &folder)?;
        let shown = temporary.path().to_owned();
        let what = (&row.path, row.size, row.sha256);
        source.copy(what, temporary.as_file_mut(), &shown, |bytes| {
            advanced(row, bytes, self.reporter);
        })?;
        let path = temporary.into_temp_path();
        crate::checkpoint::reach("import.wheel");
        self.cache.admit_wheel(&path, &row.wheel_digest(), file)?;
        // Renamed away: nothing is left to delete.
        path.keep().ok();
        finished(row, self.reporter);
        Ok(())
    }
}
