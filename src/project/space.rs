//! A disk that turns out to be full while it is written to: how much would have been needed, and how much is there.

use std::error::Error as StdError;

use super::Project;
use super::plan::Plan;
use super::realise::{RealiseError, wheel_id};
use crate::env::admission::rules;
use crate::env::tree::tree_name;
use crate::fsx;
use crate::store::Shelf;
use crate::wheel::archive::{Archive, LocalFile};
use crate::wheel::plan::plan as plan_wheel;

/// What an environment takes beside its trees: its folders, links and state.
const SKELETON: u64 = 1 << 20;

/// Whether the system said so, anywhere on the way.
fn is_full(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<std::io::Error>().is_some_and(fsx::is_full) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Adds figures to an error that says that the store's disk is full.
pub(super) fn explain_full(project: &Project<'_>, plan: &Plan, error: RealiseError) -> RealiseError {
    // Fetching has figures of its own.
    if matches!(error, RealiseError::Fetch(_)) || !is_full(&error) {
        return error;
    }
    let Ok(store) = project.store() else { return error };
    let Some((free, files)) = fsx::free_space(store.root()) else {
        return error;
    };
    RealiseError::Full {
        needed: needed(project, plan).unwrap_or(SKELETON),
        store: store.root().to_owned(),
        free,
        files,
        source: Box::new(error),
    }
}

/// The unpacked size of every wheel that is no tree yet.
fn needed(project: &Project<'_>, plan: &Plan) -> Option<u64> {
    let (store, python) = (project.store().ok()?, plan.python());
    let cache = project.cache().ok()?;
    let selected = plan.selected().ok()?;
    let mut bytes = SKELETON;
    for selected in &selected {
        let id = wheel_id(selected);
        if store.has(Shelf::Wheels, &tree_name(&id, &python)) {
            continue;
        }
        let path = cache.wheel_path(&id.digest, id.file);
        let unpacked = std::fs::File::open(path)
            .and_then(LocalFile::new)
            .ok()
            .and_then(|file| Archive::open(file).ok())
            .and_then(|archive| {
                let plan = plan_wheel(&archive, id.filename, rules(python.minor, true)).ok()?;
                Some(plan.bytes())
            });
        bytes += unpacked.or(selected.wheel.size).unwrap_or(0);
    }
    Some(bytes)
}
