//! One damaged tree is made again: its intact files are linked, each damaged one comes from where it can be had.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use super::mend::{Lost, MendError, Mender};
use super::sharing::for_python;
use super::tree::contradiction;
use super::{Damage, Kind, Subject};
use crate::checkpoint;
use crate::digest::{FileDigest, WheelDigest, hash_reader};
use crate::env::bytecode::{Compiler, Compilers, Modules};
use crate::env::runtime::own_identity;
use crate::env::tree::{Identity, Tree, Trees, WheelId, document, is_top_level_record, python_of, refused};
use crate::env::{FORM, Python};
use crate::fsx::{self, PathContext as _, PathError};
use crate::pep::WheelFilename;
use crate::relpath::RelPath;
use crate::store::{Shelf, Staging, Sync};
use crate::wheel::layout::Layout;
use crate::wheel::manifest::{FileRow, Manifest};
use crate::wheel::source::WheelFile;
use crate::wheel::unpack::Unpacked;

/// A wheel file whose bytes have the right digest.
struct Source {
    filename: WheelFilename,
    file: String,
    digest: WheelDigest,
    path: PathBuf,
}

impl Source {
    fn id(&self) -> WheelId<'_> {
        WheelId {
            filename: &self.filename,
            file: &self.file,
            digest: self.digest,
        }
    }

    fn open(&self) -> Result<WheelFile, PathError> {
        WheelFile::open(&self.path, false).at("open", &self.path)
    }
}

/// A tree that is being made again.
struct Job<'a> {
    name: &'a str,
    trees: &'a Trees<'a>,
    staging: Staging,
    /// Rows that are still to be had.
    lacking: BTreeMap<RelPath, FileRow>,
}

fn is_intact(path: &Path, row: &FileRow) -> bool {
    let is_file = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == row.size);
    is_file
        && File::open(path)
            .and_then(hash_reader)
            .is_ok_and(|(digest, _)| FileDigest::from_bytes(digest) == row.digest)
}

impl Mender<'_> {
    /// Makes a tree again and exchanges it. The damaged one is deleted once nothing leads to it.
    pub(super) fn mend_tree(&self, name: &str) -> Result<(), MendError> {
        let store = self.verifier.store;
        let _guard = store.guard(name, self.verifier.reporter)?;
        let damaged = self.again(&Subject::Tree(name.to_owned()))?;
        store.close_top(Shelf::Wheels, name);
        if damaged.is_empty() {
            return Ok(());
        }
        // What an earlier form wrote into a tree is not written any more.
        if !name.ends_with(&format!(".{FORM}")) {
            return Err(MendError::Earlier);
        }
        let (minor, cache_tag) = python_of(name).ok_or(MendError::Unknown)?;
        let python = (self.python)(minor).unwrap_or_else(|| Python {
            program: PathBuf::new(),
            version: minor.version(),
            minor,
            cache_tag,
        });
        // Nothing is compiled here; bytecode is an object of its own.
        let compilers = Compilers::new(&Compiler::of(&python), 1);
        let claim = store.claim()?;
        claim.hold(Shelf::Wheels, name)?;
        let trees = Trees {
            store,
            claim: &claim,
            python: &python,
            compilers: &compilers,
            modules: Modules::None,
            reporter: self.verifier.reporter,
            sync: Sync::Lazy,
            // What is mended was let in before.
            allow_unrecorded: true,
        };
        let staging = match self.trusted(name, &damaged) {
            Some((tree, manifest)) => self.file_by_file(&trees, &tree, manifest, &damaged)?,
            None => self.whole(&trees, name)?,
        };
        checkpoint::reach("mend.staged");
        store.publish(staging, Shelf::Wheels, name, Sync::Lazy)?;
        Ok(())
    }

    /// The documents of a tree, where they agree with each other.
    fn trusted(&self, name: &str, damaged: &[Damage]) -> Option<(Tree, Manifest)> {
        let documents = ["", "manifest.json", "facts.json"];
        if damaged
            .iter()
            .any(|damage| documents.contains(&damage.inside.as_str()) && damage.kind != Kind::Mode)
        {
            return None;
        }
        let tree = Tree::open(self.verifier.store, name).ok()?;
        let manifest = tree.manifest().ok()?;
        contradiction(self.verifier.store, &tree, &manifest)
            .is_none()
            .then_some((tree, manifest))
    }

    /// A whole tree from its wheel: nothing of what is there can be believed.
    fn whole(&self, trees: &Trees<'_>, name: &str) -> Result<Staging, MendError> {
        let (staging, files, identity) = if let Some((own, digest)) = trees.own_named(name) {
            let staging = self.verifier.store.stage()?;
            let files = trees.write_own(own, &staging)?;
            (staging, files, own_identity(own, digest))
        } else {
            let lost = Lost {
                short: name.split('-').next().unwrap_or_default().to_owned(),
                digest: None,
                file: None,
            };
            let source = self
                .source(&lost, true)?
                .ok_or_else(|| MendError::NoCopy(name.to_owned()))?;
            let (staging, unpacked) = trees.unpack(&source.id(), source.open()?, None)?;
            let identity = Identity::of(&source.id(), &unpacked);
            let files = unpacked.finish(&staging.path().join("root"));
            let files = files.map_err(|error| refused(&source.file, error))?;
            (staging, files, identity)
        };
        document(&staging, files, identity, trees.python.cache_tag.clone())?;
        Ok(staging)
    }

    /// The wheel of a tree: in the cache with the right bytes, or from the network where that is asked for.
    fn source(&self, lost: &Lost, bring: bool) -> Result<Option<Source>, MendError> {
        let read = |path: PathBuf, digest: WheelDigest| -> Option<Source> {
            let file = path.file_name()?.to_str()?.to_owned();
            let filename: WheelFilename = file.parse().ok()?;
            let (bytes, _) = File::open(&path).and_then(hash_reader).ok()?;
            (WheelDigest::from_bytes(bytes) == digest).then_some(Source {
                filename,
                file,
                digest,
                path,
            })
        };
        let in_cache = || -> Result<Option<Source>, MendError> {
            let Some(cache) = self.verifier.cache else {
                return Ok(None);
            };
            let digests = cache.wheel_digests().map_err(MendError::Path)?;
            for digest in digests.into_iter().filter(|digest| digest.short() == lost.short) {
                let mut entries = std::fs::read_dir(cache.wheel_folder(&digest))
                    .into_iter()
                    .flatten()
                    .flatten();
                if let Some(source) = entries.find_map(|entry| read(entry.path(), digest)) {
                    return Ok(Some(source));
                }
            }
            Ok(None)
        };
        if let Some(source) = in_cache()? {
            return Ok(Some(source));
        }
        if !bring {
            return Ok(None);
        }
        (self.bring)(lost).map_err(MendError::NoWheel)?;
        in_cache()
    }

    fn file_by_file(
        &self,
        trees: &Trees<'_>,
        tree: &Tree,
        manifest: Manifest,
        damaged: &[Damage],
    ) -> Result<Staging, MendError> {
        let store = self.verifier.store;
        let old = store.path(Shelf::Wheels, &tree.name).join("root");
        let bad: BTreeSet<&str> = damaged
            .iter()
            .filter_map(|damage| damage.inside.strip_prefix("root/"))
            .collect();
        // What was in a folder that is gone is gone with it.
        let is_bad = |path: &str| {
            let above = path.match_indices('/').map(|(at, _)| &path[..at]);
            let folder_gone = |folder: &&str| !old.join(folder).symlink_metadata().is_ok_and(|meta| meta.is_dir());
            bad.contains(path)
                || above
                    .into_iter()
                    .any(|folder| bad.contains(folder) && folder_gone(&folder))
        };
        let mut job = Job {
            name: &tree.name,
            trees,
            staging: store.stage()?,
            lacking: BTreeMap::new(),
        };
        let root = job.root();
        std::fs::create_dir(&root).at("create the folder", &root)?;
        let mut made = BTreeSet::new();
        for row in &manifest.files {
            let target = root.join(&row.path);
            if let Some(parent) = target.parent()
                && made.insert(parent.to_owned())
            {
                fsx::create_dir_all(parent)?;
            }
            let source = old.join(&row.path);
            if !is_bad(row.path.as_str()) {
                fsx::link_or_copy(&source, &target, row.executable)?;
            } else if is_intact(&source, row) {
                // Only its mode is wrong: the inode is shared, so it gets one of its own.
                fsx::copy_store_file(&source, &target, row.executable)?;
            } else {
                job.lacking.insert(row.path.clone(), row.clone());
            }
        }
        let lost = Lost {
            short: tree.facts.wheel.short(),
            digest: Some(tree.facts.wheel),
            file: Some(tree.facts.file.clone()),
        };
        job.write_own(&manifest)?;
        job.take_runtime()?;
        if !job.lacking.is_empty()
            && let Some(source) = self.source(&lost, false)?
        {
            job.take_wheel(&source)?;
        }
        self.take_copies(&mut job)?;
        if !job.lacking.is_empty()
            && let Some(source) = self.source(&lost, true)?
        {
            job.take_wheel(&source)?;
        }
        if let Some(path) = job.lacking.keys().next() {
            return Err(MendError::NoCopy(path.to_string()));
        }
        let facts = &tree.facts;
        let identity = Identity {
            package: facts.name.clone(),
            version: facts.version.clone(),
            file: facts.file.clone(),
            wheel: facts.wheel,
            unrecorded: facts.unrecorded.clone(),
        };
        let cache_tag = facts.cache_tag.clone();
        let cache_tag = cache_tag.unwrap_or_else(|| trees.python.cache_tag.clone());
        document(&job.staging, manifest.files, identity, cache_tag)?;
        Ok(job.staging)
    }

    /// Intact copies in environments, and in the trees that other Python versions have of the same wheel.
    fn take_copies(&self, job: &mut Job<'_>) -> Result<(), MendError> {
        let store = self.verifier.store;
        let mut places: Vec<(PathBuf, Option<String>)> = Vec::new();
        for name in store.names(Shelf::Envs)? {
            places.push((store.path(Shelf::Envs, &name), None));
        }
        let prefix = format!("{}-", job.name.split('-').next().unwrap_or_default());
        for name in store.names(Shelf::Wheels)? {
            if name.starts_with(&prefix) && name != job.name {
                let lib_folder = python_of(&name).map(|(python, _)| python.lib_folder());
                places.push((store.path(Shelf::Wheels, &name).join("root"), lib_folder));
            }
        }
        let root = job.root();
        let mut found = Vec::new();
        for row in job.lacking.values() {
            let copy = places.iter().find_map(|(place, lib_folder)| {
                let inside = match lib_folder {
                    Some(lib_folder) => for_python(row.path.as_str(), lib_folder),
                    None => row.path.to_string(),
                };
                Some(place.join(inside)).filter(|path| is_intact(path, row))
            });
            if let Some(copy) = copy {
                fsx::copy_store_file(&copy, &root.join(&row.path), row.executable)?;
                found.push(row.path.clone());
            }
        }
        job.lacking.retain(|path, _| !found.contains(path));
        Ok(())
    }
}

impl Job<'_> {
    fn root(&self) -> PathBuf {
        self.staging.path().join("root")
    }

    /// RECORD, which follows from the manifest.
    fn write_own(&mut self, manifest: &Manifest) -> Result<(), MendError> {
        let record = self
            .lacking
            .keys()
            .find(|path| is_top_level_record(path.as_str()))
            .cloned();
        let Some(record) = record else { return Ok(()) };
        let dist_info = record
            .as_str()
            .rsplit_once('/')
            .and_then(|(folder, _)| RelPath::new(folder).ok());
        let Some(dist_info) = dist_info else { return Ok(()) };
        let rest = manifest.files.iter().filter(|row| row.path != record);
        let unpacked = Unpacked::new(rest.cloned().collect(), dist_info, Layout::new(self.trees.python.minor));
        unpacked
            .finish(&self.root())
            .map_err(|error| refused(self.name, error))?;
        self.settle(&record)
    }

    /// Takes a file that was just written for what it should be, or away again.
    fn settle(&mut self, path: &RelPath) -> Result<(), MendError> {
        let target = self.root().join(path);
        if self.lacking.get(path).is_some_and(|row| is_intact(&target, row)) {
            self.lacking.remove(path);
        } else if target.exists() {
            std::fs::remove_file(&target).at("remove", &target)?;
        }
        Ok(())
    }

    /// Moves lacking files out of a scratch folder.
    fn take_from(&mut self, scratch: &Staging) -> Result<(), MendError> {
        for path in self.lacking.keys().cloned().collect::<Vec<_>>() {
            let (source, target) = (scratch.path().join("root").join(&path), self.root().join(&path));
            if source.exists() {
                std::fs::rename(&source, &target).at("publish", &target)?;
                self.settle(&path)?;
            }
        }
        Ok(())
    }

    /// flambeau's own files stand in the program.
    fn take_runtime(&mut self) -> Result<(), MendError> {
        let Some((own, _)) = self.trees.own_named(self.name).filter(|_| !self.lacking.is_empty()) else {
            return Ok(());
        };
        let scratch = self.trees.store.stage()?;
        self.trees.write_own(own, &scratch)?;
        self.take_from(&scratch)
    }

    fn take_wheel(&mut self, source: &Source) -> Result<(), MendError> {
        let wanted = |path: &RelPath| self.lacking.contains_key(path);
        let (scratch, _) = self.trees.unpack(&source.id(), source.open()?, Some(&wanted))?;
        self.take_from(&scratch)
    }
}
