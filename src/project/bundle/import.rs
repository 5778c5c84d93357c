//! What a bundle brings to a project.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Error;
use crate::backend::Channel;
use crate::bundle::{BundledEnvironment, FileEntry, FileKind, Imported, Importer, Opened};
use crate::config;
use crate::digest::{FileDigest, WheelDigest};
use crate::fsx;
use crate::key;
use crate::lockfile::Selected;
use crate::project::Project;
use crate::project::lockfiles::{LockfileError, ReadLockfile, from_bytes};
use crate::store::Sync;

/// How to take a bundle in.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImportOptions {
    /// Refuse any other bundle than this.
    pub expect: Option<FileDigest>,
    /// Leave the project's lockfiles alone.
    pub no_lockfiles: bool,
    /// Write the bundle's lockfiles over others.
    pub replace_lockfiles: bool,
    /// Only compare every file with its digest.
    pub check: bool,
}

/// What taking a bundle in came to.
#[derive(Debug, Clone)]
pub struct ImportedBundle {
    /// The bundle's digest.
    pub digest: FileDigest,
    /// What can be built now.
    pub environments: Vec<BundledEnvironment>,
    /// Wheels and trees.
    pub imported: Imported,
    /// Lockfiles that were written.
    pub lockfiles: Vec<PathBuf>,
}

/// A bundle's lockfiles by name, as they are read here, with their bytes.
type Lockfiles = BTreeMap<String, (ReadLockfile, Vec<u8>)>;

impl Project<'_> {
    /// Reads the lockfiles of a bundle as if they stood in this project.
    fn lockfiles_of(&self, opened: &mut Opened) -> Result<Lockfiles, Error> {
        let mut lockfiles = BTreeMap::new();
        for (name, bytes) in opened.lockfiles()? {
            // The file names its own channel; this one is for files that other tools wrote.
            let channel: Channel = name.parse().unwrap_or_else(|_| Channel::pip());
            let path = self.lockfiles_dir().join(format!("pylock.{name}.toml"));
            let read = from_bytes(path, bytes.clone(), &channel)?;
            if read.lockfile.channel.lockfile_name() != name {
                let reason = format!("its lockfile `{name}` is one of channel {}", read.lockfile.channel);
                return Err(opened.contradiction(reason).into());
            }
            lockfiles.insert(name, (read, bytes));
        }
        Ok(lockfiles)
    }

    /// Takes a bundle in: its wheels into the cache, its trees into the store, its lockfiles into the project.
    pub fn import_bundle(&self, bundle: &Path, options: ImportOptions) -> Result<ImportedBundle, Error> {
        let mut opened = Opened::open(bundle, options.expect)?;
        let digest = opened.digest();
        let environments = opened.document().environments.clone();
        let lockfiles = self.lockfiles_of(&mut opened)?;
        check_environments(&opened, &lockfiles)?;
        if options.check {
            let imported = opened.check(self.reporter)?;
            return Ok(ImportedBundle {
                digest,
                environments,
                imported,
                lockfiles: Vec::new(),
            });
        }
        let to_write = to_write(&lockfiles, options)?;
        let (cache, store) = (self.cache()?, self.store()?);
        let importer = Importer {
            cache: &cache,
            store: &store,
            sync: match self.config.sync {
                config::Sync::Deferred => Sync::Lazy,
                config::Sync::Full => Sync::Full,
            },
            reporter: self.reporter,
        };
        let imported = importer.import(opened)?;
        let mut written = Vec::new();
        for (read, bytes) in to_write {
            let text = String::from_utf8(bytes.clone()).map_err(|_| LockfileError::NotText(read.path.clone()))?;
            self.save_text(&read.lockfile.channel, &text)?;
            written.push(read.path.clone());
        }
        Ok(ImportedBundle {
            digest,
            environments,
            imported,
            lockfiles: written,
        })
    }
}

/// The lockfiles that the project lacks; one that it has otherwise is only written where that is asked for.
fn to_write(lockfiles: &Lockfiles, options: ImportOptions) -> Result<Vec<&(ReadLockfile, Vec<u8>)>, Error> {
    let mut to_write = Vec::new();
    for lockfile in lockfiles.values().filter(|_| !options.no_lockfiles) {
        let (read, bytes) = lockfile;
        match fsx::read_if_exists(&read.path)? {
            Some(old) if old == *bytes => {}
            Some(_) if !options.replace_lockfiles => return Err(Error::OtherLockfile(read.path.clone())),
            _ => to_write.push(lockfile),
        }
    }
    Ok(to_write)
}

/// Refuses a bundle whose lockfiles give other keys than its document, or that has not all wheels or trees of an
/// environment that it names.
fn check_environments(opened: &Opened, lockfiles: &Lockfiles) -> Result<(), Error> {
    let rows = &opened.document().files;
    let wheels: BTreeSet<WheelDigest> = rows
        .iter()
        .filter(|row| row.kind == FileKind::Wheel)
        .map(FileEntry::wheel_digest)
        .collect();
    let trees: Vec<&str> = rows
        .iter()
        .filter_map(FileEntry::of_tree)
        .map(|(tree, _)| tree)
        .collect();
    for one in &opened.document().environments {
        let Some((read, _)) = lockfiles.get(&one.lockfile) else {
            continue;
        };
        let select = |source| LockfileError::Select {
            path: read.path.clone(),
            source,
        };
        let selected = read.lockfile.select(&one.target).map_err(select)?;
        let key = key::of_selection(&read.lockfile, &one.target, &selected).map_err(select)?;
        if key != one.key || read.lockfile.channel != one.channel {
            let (lockfile, target) = (&one.lockfile, one.target);
            let reason = format!(
                "its lockfile `{lockfile}` gives {target} the key {key}, it says {}",
                one.key
            );
            return Err(opened.contradiction(reason).into());
        }
        for Selected { wheel, .. } in &selected {
            let stem = format!("{}-", wheel.digest.short());
            let there = wheels.contains(&wheel.digest) || trees.iter().any(|tree| tree.starts_with(&stem));
            if !there {
                let reason = format!("it has neither {} nor a tree of it", wheel.file);
                return Err(opened.contradiction(reason).into());
            }
        }
    }
    Ok(())
}
