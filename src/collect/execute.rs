//! Taking away what a plan names: behind the closed gate out of sight, and deleted with the gate open.
//!
//! One collection runs at a time (`guards/.collector`). Behind the gate everything is looked at again, because a plan
//! is an estimate: what lives by now stays, and nothing goes that was not planned. An environment goes before its trees,
//! so that nothing visible ever lacks a part, and its lease is held from before the last look until it is out of sight.
//! A collection that is killed leaves either untouched objects or trash under `tmp/`, which the next one deletes.
//! What cannot be taken away (another user's, a read-only mount) stays and is reported.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::plan::{Item, Kind, Plan};
use super::{CollectError, Collector, Options, Survey, cached, debris};
use crate::checkpoint;
use crate::fsx::{self, PathContext as _, PathError};
use crate::progress::Event;
use crate::store::times::Now;
use crate::store::{Guard, Shelf, Store, StoreError, set_mode};

/// Something that was planned and stayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// What a collection came to.
#[derive(Debug, Default)]
pub struct Collected {
    /// What went, with the bytes that it really freed.
    pub items: Vec<Item>,
    /// What stayed, and why.
    pub failed: Vec<Failed>,
    /// The bytes that are free now and were not before.
    pub freed_bytes: u64,
}

/// What waits to be deleted: the item and where it is by now.
struct Trash {
    item: Item,
    path: PathBuf,
}

impl Collected {
    fn failed(&mut self, path: &Path, error: &dyn std::error::Error) {
        let mut reason = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            reason = format!("{reason}: {cause}");
            next = cause.source();
        }
        self.failed.push(Failed {
            path: path.to_owned(),
            reason,
        });
    }

    fn stays(&mut self, path: &Path, reason: &str) {
        self.failed.push(Failed {
            path: path.to_owned(),
            reason: reason.to_owned(),
        });
    }
}

impl Collector<'_> {
    /// Plans and collects.
    pub fn collect(&self, options: &Options) -> Result<(Plan, Collected), CollectError> {
        let store = self.store;
        // A folder without guards is no store yet.
        if !store.collector_path().parent().is_some_and(Path::is_dir) {
            let plan = Plan::of(self, options)?;
            return Ok((plan, Collected::default()));
        }
        store.check_version()?;
        let path = store.collector_path();
        let waiting = || {
            self.reporter.event(Event::Waiting {
                what: "another collection",
            });
        };
        let _only = Guard::certain(&path, waiting).map_err(|source| StoreError::Guard { path, source })?;
        let plan = Plan::of(self, options)?;
        checkpoint::reach("gc.planned");
        let mut collected = Collected::default();
        let trash = self.take_away(&plan, options, &mut collected)?;
        checkpoint::reach("gc.opened");
        for Trash { mut item, path } in trash {
            match reclaim(&path) {
                Ok(bytes) => {
                    item.bytes = bytes;
                    collected.freed_bytes += bytes;
                    collected.items.push(item);
                }
                Err((bytes, error)) => {
                    collected.freed_bytes += bytes;
                    collected.failed(&path, &error);
                }
            }
            checkpoint::reach("gc.deleted");
        }
        Ok((plan, collected))
    }

    /// Takes what is still dead out of sight, behind the gate.
    fn take_away(&self, plan: &Plan, options: &Options, collected: &mut Collected) -> Result<Vec<Trash>, CollectError> {
        let store = self.store;
        let gate = store.close_gate()?;
        checkpoint::reach("gc.closed");
        // Whatever was read before the gate closed may have changed since.
        let survey = Survey::of(store, options)?;
        checkpoint::reach("gc.surveyed");
        let now = Now::read();
        let mut behind = Behind {
            store,
            survey: &survey,
            gone: BTreeSet::new(),
            collected,
            now: &now,
        };
        let mut trash = Vec::new();
        for item in &plan.items {
            trash.extend(behind.take(item));
        }
        for (root, note) in &survey.notes {
            // Without it, a project that vanishes next is kept by what was known before.
            store.write_note(root, note).ok();
        }
        for (shelf, name) in survey.living() {
            if store.is_from_the_future(shelf, name, &now) {
                // Its age begins now; else it would be young until the wrong clock's time has come.
                store.touch(shelf, name).ok();
            }
        }
        drop(gate);
        Ok(trash)
    }
}

/// The work behind the closed gate.
struct Behind<'a> {
    store: &'a Store,
    survey: &'a Survey,
    /// Objects that are out of sight by now.
    gone: BTreeSet<(Shelf, String)>,
    collected: &'a mut Collected,
    now: &'a Now,
}

impl Behind<'_> {
    /// Takes one item out of sight, unless it is needed by now.
    fn take(&mut self, item: &Item) -> Option<Trash> {
        let here = |item: &Item| Trash {
            item: item.clone(),
            path: item.path.clone(),
        };
        match item.kind {
            Kind::Environment | Kind::Tree | Kind::Bytecode => self.object(item),
            Kind::Debris => debris::is_debris(&item.path, self.now)
                .unwrap_or(false)
                .then(|| here(item)),
            Kind::Leftover => self.leftover(item),
            Kind::Root => {
                let root = item.path.with_extension("");
                let ended = self.survey.ended_roots.contains(&root) || self.survey.ended_roots.contains(&item.path);
                if ended { self.small(item) } else { None }
            }
            Kind::Wheel => {
                let digest = item.path.file_name().and_then(|name| name.to_str());
                let claimed = |short: &str| {
                    let mut names = self.survey.claimed.iter();
                    names.any(|(shelf, name)| *shelf == Shelf::Wheels && name.starts_with(short))
                };
                let claimed = digest.and_then(|digest| digest.get(..40)).is_some_and(claimed);
                (!claimed).then(|| here(item))
            }
            Kind::Partial => self.partial(item),
            Kind::Page => Some(here(item)),
        }
    }

    /// A small file that goes in one step: deleted at once.
    fn small(&mut self, item: &Item) -> Option<Trash> {
        match reclaim(&item.path) {
            Ok(bytes) => {
                self.collected.freed_bytes += bytes;
                let item = Item { bytes, ..item.clone() };
                self.collected.items.push(item);
            }
            Err((_, error)) => self.collected.failed(&item.path, &error),
        }
        None
    }

    fn leftover(&mut self, item: &Item) -> Option<Trash> {
        let name = item.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let bare = name.strip_suffix(".json").unwrap_or(name);
        for shelf in Shelf::ALL {
            let prefixed = format!("{}-", shelf.folder());
            for object in [bare.strip_prefix(&prefixed).unwrap_or(bare), bare] {
                let object = (shelf, object.to_owned());
                let there = self.store.has(object.0, &object.1) && !self.gone.contains(&object);
                if there || self.survey.claimed.contains(&object) {
                    return None;
                }
            }
        }
        let folder = item.path.parent().and_then(Path::file_name).unwrap_or_default();
        if folder == "claims" && !self.survey.dead_claims.contains(&item.path) {
            return None;
        }
        // Held until the file is gone: whoever waits for it then takes a new one.
        let _held = if folder == "guards" || folder == "leases" {
            match Guard::try_exclusive(&item.path) {
                Ok(Some(guard)) => Some(guard),
                _ => return None,
            }
        } else {
            None
        };
        self.small(item)
    }

    /// A partial download, under its guard.
    fn partial(&mut self, item: &Item) -> Option<Trash> {
        let guard = cached::guard_of(&item.path)?;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&guard);
        drop(file.ok()?);
        let held = Guard::try_exclusive(&guard).ok().flatten()?;
        self.small(item);
        std::fs::remove_file(&guard).ok();
        drop(held);
        None
    }

    /// An environment, a tree or bytecode.
    fn object(&mut self, item: &Item) -> Option<Trash> {
        let object = item.object.clone()?;
        let (shelf, name) = (object.0, object.1.as_str());
        if !self.store.has(shelf, name) {
            return None;
        }
        if self.survey.lives(shelf, name) {
            self.collected.stays(&item.path, "it is needed by now");
            return None;
        }
        if shelf != Shelf::Envs {
            let user =
                self.survey.uses.iter().find(|(env, parts)| {
                    parts.contains(&object) && !self.gone.contains(&(Shelf::Envs, (*env).clone()))
                });
            if let Some((env, _)) = user {
                self.collected
                    .stays(&item.path, &format!("the environment {env} needs it"));
                return None;
            }
        }
        // Whoever repairs or rebuilds it holds its guard.
        let guard = debris::guard_path(self.store, shelf, name);
        let guarded = match Guard::try_exclusive(&guard) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Ok(Some(guard)) => Some(guard),
            Ok(None) => {
                self.collected.stays(&item.path, "another process works on it");
                return None;
            }
            Err(error) => {
                self.collected.failed(&guard, &error);
                return None;
            }
        };
        // From here on no process gets a lease; one that waits for it looks again, and finds the environment gone.
        let lease = self.store.lease_path(name);
        let leased = match (shelf, Guard::try_exclusive(&lease)) {
            (Shelf::Wheels | Shelf::Bytecode, _) => None,
            (_, Ok(Some(guard))) => Some(guard),
            (_, Ok(None)) => {
                self.collected.stays(&item.path, "a process runs in it by now");
                return None;
            }
            (_, Err(error)) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Unsupported) => None,
            (_, Err(error)) => {
                self.collected.failed(&lease, &error);
                return None;
            }
        };
        checkpoint::reach("gc.leased");
        let moved = rename_away(self.store, shelf, name);
        if moved.is_ok() && shelf == Shelf::Envs {
            // The lease file stays for a while; its time begins now.
            let file = std::fs::OpenOptions::new().append(true).open(&lease);
            file.and_then(|file| file.set_modified(std::time::SystemTime::now()))
                .ok();
        }
        drop((leased, guarded));
        match moved {
            Ok(path) => {
                checkpoint::reach("gc.renamed");
                self.gone.insert(object);
                let item = item.clone();
                Some(Trash { item, path })
            }
            Err(error) => {
                self.collected.failed(&item.path, &error);
                None
            }
        }
    }
}

/// Moves an object into `tmp/` in one step; needs no space. Returns where it is.
fn rename_away(store: &Store, shelf: Shelf, name: &str) -> Result<PathBuf, PathError> {
    let path = store.path(shelf, name);
    // A read-only folder cannot be moved elsewhere by anybody but root.
    set_mode(&path, 0o755)?;
    let mut number = 0u32;
    loop {
        let trash = store.root().join("tmp").join(format!("trash-{number}-{name}"));
        match std::fs::rename(&path, &trash) {
            Ok(()) => return Ok(trash),
            Err(error)
                if number < 1000
                    && matches!(
                        error.kind(),
                        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                    ) =>
            {
                number += 1;
            }
            Err(error) => {
                set_mode(&path, 0o555).ok();
                return Err(error).at("take away", &path);
            }
        }
    }
}

/// Deletes whatever is at `path`, and returns the bytes of those inodes whose last link went. Goes on after an error
/// and returns the first one, so that as little as possible stays.
fn reclaim(path: &Path) -> Result<u64, (u64, PathError)> {
    let mut state = Reclaim { bytes: 0, error: None };
    state.remove(path);
    match state.error {
        Some(error) => Err((state.bytes, error)),
        None => Ok(state.bytes),
    }
}

struct Reclaim {
    bytes: u64,
    error: Option<PathError>,
}

impl Reclaim {
    fn remove(&mut self, path: &Path) {
        let meta = match std::fs::symlink_metadata(path) {
            Ok(meta) => meta,
            Err(error) => return self.failed(error, "look at", path),
        };
        let bytes = meta.blocks() * 512;
        if !meta.is_dir() {
            return match std::fs::remove_file(path) {
                Ok(()) if meta.nlink() <= 1 => self.bytes += bytes,
                Ok(()) => {}
                Err(error) => self.failed(error, "remove", path),
            };
        }
        if meta.mode() & 0o700 != 0o700 {
            // Where this fails, so does what follows, and says so.
            set_mode(path, 0o755).ok();
        }
        match std::fs::read_dir(path) {
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => self.remove(&entry.path()),
                        Err(error) => self.failed(error, "list", path),
                    }
                }
            }
            Err(error) => return self.failed(error, "list", path),
        }
        match std::fs::remove_dir(path) {
            Ok(()) => self.bytes += bytes,
            Err(error) => self.failed(error, "remove", path),
        }
    }

    fn failed(&mut self, error: io::Error, action: &'static str, path: &Path) {
        // What is gone already is what was wanted.
        if error.kind() != io::ErrorKind::NotFound && self.error.is_none() {
            self.error = Err::<(), _>(error).at(action, path).err();
        }
    }
}

/// The bytes that are free for this user on the store's file system.
pub fn free_bytes(store: &Store) -> Result<u64, PathError> {
    fsx::free_bytes(store.root())
}
