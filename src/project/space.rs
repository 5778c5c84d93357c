//! A store that turns out to be full while it is written to: how much would have been needed.

use super::Project;
use super::plan::Plan;
use super::realise::{RealiseError, wheel_id};
use crate::env::admission::rules;
use crate::env::tree::tree_name;
use crate::space::Shortage;
use crate::store::Shelf;
use crate::wheel::archive::{Archive, LocalFile};
use crate::wheel::plan::plan as plan_wheel;

/// What an environment takes beside its trees: its folders, links and state.
const SKELETON: u64 = 1 << 20;

/// Adds figures to an error that says that the store's disk is full.
pub(super) fn explain_full(project: &Project<'_>, plan: &Plan, error: RealiseError) -> RealiseError {
    // Fetching has figures of its own.
    let found = Shortage::among(&error).filter(|_| !matches!(error, RealiseError::Fetch(_)));
    let (Some(found), Ok(store)) = (found, project.store()) else {
        return error;
    };
    // Another disk (of temporary files, of the cache), or something else than bytes: no figures of the store help.
    if !found.is_of_bytes() || found.has_figures() || !found.is_about(store.root()) {
        return error;
    }
    let needed = needed(project, plan).unwrap_or(SKELETON);
    RealiseError::Full(found.of_folder(store.root(), needed))
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
