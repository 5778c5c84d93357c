//! What killed processes left in the store, and small files of objects that are gone.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::plan::{Item, Kind};
use super::{CollectError, GRACE, Survey};
use crate::fsx::{self, PathContext as _};
use crate::store::staging::{Tenant, tenant};
use crate::store::times::{Now, wall_age};
use crate::store::{Guard, Shelf, Store};

/// How old a temporary file of an atomic write has to be: such a write takes milliseconds.
const TEMPORARY: Duration = Duration::from_hours(24);

/// The entries of a folder; none where it does not exist.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, CollectError> {
    let list = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        list => list.at("list", folder)?,
    };
    let mut paths = Vec::new();
    for entry in list {
        paths.push(entry.at("list", folder)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// How long ago a file was written or changed; nothing for a time in the future.
pub(super) fn age(meta: &Metadata, now: &Now) -> Duration {
    let modified = meta.modified().unwrap_or_else(|_| SystemTime::now());
    let changed = Duration::from_secs(now.unix.saturating_sub(u64::try_from(meta.ctime()).unwrap_or(0)));
    wall_age(now, modified).min(changed)
}

/// The record, time and guard of an object.
pub(super) fn files_of(store: &Store, shelf: Shelf, name: &str) -> [PathBuf; 3] {
    let record = format!("{}-{name}.json", shelf.folder());
    [
        store.root().join("records").join(record),
        store.stamp_path(shelf, name),
        guard_path(store, shelf, name),
    ]
}

/// The guard of an object.
pub(super) fn guard_path(store: &Store, shelf: Shelf, name: &str) -> PathBuf {
    store.root().join("guards").join(Store::guard_name(shelf, name))
}

/// What nobody works in any more, of `tmp/`.
pub(super) fn staged(store: &Store, now: &Now) -> Result<Vec<PathBuf>, CollectError> {
    let mut found = Vec::new();
    for path in entries(&store.root().join("tmp"))? {
        if is_debris(&path, now)? {
            found.push(path);
        }
    }
    Ok(found)
}

/// Everything of this sort.
pub(super) fn units(store: &Store, survey: &Survey) -> Result<Vec<Item>, CollectError> {
    let now = Now::read();
    let debris = staged(store, &now)?.into_iter();
    let mut items: Vec<Item> = debris.map(|path| Item::new(Kind::Debris, path)).collect();
    let leftover = |path: PathBuf| Item::new(Kind::Leftover, path);
    items.extend(survey.dead_claims.iter().cloned().map(leftover));
    let known: BTreeSet<String> = Shelf::ALL
        .into_iter()
        .flat_map(|shelf| {
            let names = survey.shelf(shelf);
            let claimed = survey.claimed.iter().filter(move |(of, _)| *of == shelf);
            let names = names.keys().chain(claimed.map(|(_, name)| name));
            names.flat_map(move |name| {
                [
                    name.clone(),
                    format!("{}-{name}", shelf.folder()),
                    format!("{}-{name}.json", shelf.folder()),
                ]
            })
        })
        .collect();
    for folder in [
        "records",
        "times",
        "guards",
        "leases",
        "roots",
        "roots/pins",
        "roots/links",
        "",
    ] {
        for path in entries(&store.root().join(folder))? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            let is_left = if name.starts_with(".flambeau-") {
                age_of(&path, &now)?.is_some_and(|age| age >= TEMPORARY)
            } else {
                match folder {
                    "records" | "times" => !known.contains(name),
                    "guards" => !name.starts_with('.') && !known.contains(name) && is_free(&path)?,
                    // A process may have opened it before its environment went, and lock it only now: see docs/gc.md.
                    "leases" => {
                        !known.contains(name) && age_of(&path, &now)?.is_some_and(|age| age >= GRACE) && is_free(&path)?
                    }
                    _ => false,
                }
            };
            if is_left {
                items.push(leftover(path));
            }
        }
    }
    Ok(items)
}

fn age_of(path: &Path, now: &Now) -> Result<Option<Duration>, CollectError> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(age(&meta, now))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("look at", path).map_err(CollectError::from),
    }
}

/// Whether nobody holds a guard or lease.
pub(super) fn is_free(path: &Path) -> Result<bool, CollectError> {
    match Guard::try_exclusive(path) {
        Ok(guard) => Ok(guard.is_some()),
        // Another user's, or gone, or not to be told: left alone.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error).at("lock", path).map_err(CollectError::from),
    }
}

/// Deletes the folders under `tmp/` that killed or interrupted commands left: every build does it before it needs the
/// space. What cannot be told or deleted here stays for a collection, which says why.
pub fn sweep(store: &Store) {
    let now = Now::read();
    let dead = |path: &PathBuf| path.is_dir() && is_debris(path, &now).unwrap_or(false);
    let left = || -> Vec<PathBuf> {
        let all = entries(&store.root().join("tmp")).unwrap_or_default();
        all.into_iter().filter(dead).collect()
    };
    // A folder that a builder has made and not locked yet looks the same; the answer counts behind the gate alone.
    let dead_claims = || store.claims().map(|claims| claims.dead).unwrap_or_default();
    if left().is_empty() && dead_claims().is_empty() {
        return;
    }
    // A collection that runs deletes them too, and would find them gone.
    let Ok(Some(_only)) = Guard::try_exclusive(&store.collector_path()) else {
        return;
    };
    let Ok(gate) = store.close_gate() else { return };
    let left = left();
    for claim in dead_claims() {
        std::fs::remove_file(claim).ok();
    }
    drop(gate);
    for path in left {
        fsx::remove_tree(&path).ok();
    }
}

/// Whether nobody works in an entry of `tmp/`. Exact behind the closed gate.
pub(super) fn is_debris(path: &Path, now: &Now) -> Result<bool, CollectError> {
    let meta = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        meta => meta.at("look at", path)?,
    };
    if !meta.is_dir() {
        return Ok(age(&meta, now) >= TEMPORARY);
    }
    match tenant(path) {
        Ok(Tenant::Nobody) => Ok(true),
        Ok(Tenant::Living) => Ok(false),
        Ok(Tenant::Unknown) => Ok(age(&meta, now) >= GRACE),
        // What cannot be opened is another user's.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(false),
        Err(error) => Err(error).at("open", path).map_err(CollectError::from),
    }
}
