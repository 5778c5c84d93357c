//! What a collection would take away: decided by reading alone, so that `--dry-run` can print it.
//!
//! Things go in units: an environment with its records and with the trees and bytecode that nothing else needs then.
//! Units go in this order: debris, what roots and records are left over, partial downloads and pages, orphaned trees and
//! bytecode, environments;
//! the longest unused first. A limit ends the plan before the first unit that is not needed to meet it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::size::{Account, Link, links, unique};
use super::{CollectError, Collector, Options, Survey, cached, debris};
use crate::fsx;
use crate::store::roots::note_path;
use crate::store::{Shelf, Store};
use crate::threads;

/// What sort of thing is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An environment.
    Environment,
    /// A wheel tree.
    Tree,
    /// The bytecode of a wheel tree.
    Bytecode,
    /// Staging of a dead process, or the rest of a collection that was killed.
    Debris,
    /// A record, time, guard, claim, lease or temporary file of something that is gone.
    Leftover,
    /// A root that leads nowhere.
    Root,
    /// A cached wheel.
    Wheel,
    /// A partial download.
    Partial,
    /// An index page, or metadata of a wheel, in the cache.
    Page,
}

/// One thing that is taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Where.
    pub path: PathBuf,
    /// The bytes that this frees, with what stands before it in the plan.
    pub bytes: u64,
    /// How long it has not been used, in seconds, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<u64>,
    #[serde(skip)]
    pub(super) object: Option<(Shelf, String)>,
}

impl Item {
    pub(super) fn new(kind: Kind, path: PathBuf) -> Self {
        Self {
            kind,
            path,
            bytes: 0,
            idle_seconds: None,
            object: None,
        }
    }

    fn of_object(store: &Store, shelf: Shelf, name: &str, idle: Duration) -> Self {
        let kind = match shelf {
            Shelf::Wheels => Kind::Tree,
            Shelf::Bytecode => Kind::Bytecode,
            Shelf::Envs => Kind::Environment,
        };
        Self {
            idle_seconds: Some(idle.as_secs()),
            object: Some((shelf, name.to_owned())),
            ..Self::new(kind, store.path(shelf, name))
        }
    }
}

/// What a collection would do.
#[derive(Debug)]
pub struct Plan {
    /// What goes, in order.
    pub items: Vec<Item>,
    /// The bytes that this frees.
    pub freed_bytes: u64,
    /// The bytes by which a limit (`free`, `max-size`) is missed, because everything else is needed.
    pub missing_bytes: u64,
    /// Who needs what.
    pub survey: Survey,
}

/// Things that go together.
#[derive(Debug, Default)]
struct Unit {
    items: Vec<Item>,
}

/// When to stop.
struct Limit {
    max_freed: Option<u64>,
    /// Bytes of the store that have to go.
    needed: Option<u64>,
}

impl Limit {
    fn of(store: &Store, options: &Options) -> Result<Self, CollectError> {
        let mut needed = None;
        if let Some(free) = options.free {
            let now = match fsx::free_bytes(store.root()) {
                Ok(now) => now,
                Err(_) if !store.root().exists() => free,
                Err(error) => return Err(error.into()),
            };
            needed = Some(free.saturating_sub(now));
        }
        if let Some(size) = options.max_size {
            let all = links(store.root())?;
            let over = unique(std::iter::once(&all)).saturating_sub(size);
            needed = Some(needed.unwrap_or(0).max(over));
        }
        Ok(Self {
            max_freed: options.max_freed,
            needed,
        })
    }

    /// Whether nothing more has to go, or may go.
    fn is_met(&self, freed: u64, freed_in_store: u64) -> bool {
        self.max_freed.is_some_and(|max| freed >= max) || self.needed.is_some_and(|needed| freed_in_store >= needed)
    }
}

impl Plan {
    /// Decides what goes.
    pub fn of(collector: &Collector<'_>, options: &Options) -> Result<Self, CollectError> {
        let store = collector.store;
        let survey = Survey::of(store, options)?;
        let mut units = debris::units(store, &survey)?;
        units.extend(ended_roots(&survey));
        if let Some(cache) = collector.cache {
            units.extend(cached::units(collector, cache, options, &survey)?);
        }
        let mut units: Vec<Unit> = units.into_iter().map(|item| Unit { items: vec![item] }).collect();
        units.extend(objects(store, &survey));
        let mut plan = Self {
            items: Vec::new(),
            freed_bytes: 0,
            missing_bytes: 0,
            survey,
        };
        plan.take(store, units, &Limit::of(store, options)?)?;
        Ok(plan)
    }

    /// Takes units until the limit is met.
    fn take(&mut self, store: &Store, units: Vec<Unit>, limit: &Limit) -> Result<(), CollectError> {
        let mut account = Account::default();
        let mut in_store = 0;
        // Walking is most of the work; done for a few units at once where a limit may end it early.
        let limited = limit.max_freed.is_some() || limit.needed.is_some();
        let chunk = if limited { 16 } else { units.len().max(1) };
        let mut units = units.into_iter().peekable();
        'all: while units.peek().is_some() {
            let some: Vec<Unit> = units.by_ref().take(chunk).collect();
            let walk = |unit: &Unit| unit.items.iter().map(|item| links(&item.path)).collect();
            let walked: Vec<Vec<Vec<Link>>> = threads::attempt(some.iter().collect(), walk)?;
            for (unit, walked) in some.into_iter().zip(walked) {
                if limit.is_met(self.freed_bytes, in_store) {
                    break 'all;
                }
                for (mut item, links) in unit.items.into_iter().zip(walked) {
                    item.bytes = account.take(&links);
                    self.freed_bytes += item.bytes;
                    if item.path.starts_with(store.root()) {
                        in_store += item.bytes;
                    }
                    self.items.push(item);
                }
            }
        }
        self.missing_bytes = limit.needed.unwrap_or(0).saturating_sub(in_store);
        if limit.max_freed.is_some_and(|max| self.freed_bytes >= max) {
            self.missing_bytes = 0;
        }
        Ok(())
    }
}

/// Roots that lead nowhere, and what was noted of them.
fn ended_roots(survey: &Survey) -> Vec<Item> {
    let mut items = Vec::new();
    for root in &survey.ended_roots {
        items.push(Item::new(Kind::Root, root.clone()));
        let note = note_path(root);
        if note.exists() {
            items.push(Item::new(Kind::Root, note));
        }
    }
    items
}

/// The records, times and guards of an object that goes.
fn records(store: &Store, shelf: Shelf, name: &str) -> Vec<Item> {
    debris::files_of(store, shelf, name)
        .into_iter()
        .filter(|path| path.exists())
        .map(|path| Item::new(Kind::Leftover, path))
        .collect()
}

/// Dead trees and bytecode that no environment needs, then dead environments with those that nothing else needs by then.
fn objects(store: &Store, survey: &Survey) -> Vec<Unit> {
    let with_records = |shelf, name: &str, idle| {
        let mut items = vec![Item::of_object(store, shelf, name, idle)];
        items.extend(records(store, shelf, name));
        items
    };
    // How many environments that are still there need each of them.
    let mut users: BTreeMap<&(Shelf, String), usize> = BTreeMap::new();
    for part in survey.uses.values().flatten() {
        *users.entry(part).or_default() += 1;
    }
    let is_dead = |(shelf, name): &(Shelf, String)| {
        let life = survey.shelf(*shelf).get(name);
        life.is_some_and(|life| life.reasons.is_empty())
    };
    let mut orphans: Vec<(Shelf, &String, Duration)> = Vec::new();
    for shelf in [Shelf::Wheels, Shelf::Bytecode] {
        for (name, life) in survey.shelf(shelf) {
            if life.reasons.is_empty() && !users.contains_key(&(shelf, name.clone())) {
                orphans.push((shelf, name, life.idle));
            }
        }
    }
    orphans.sort_by_key(|(.., idle)| std::cmp::Reverse(*idle));
    let mut units: Vec<Unit> = orphans
        .into_iter()
        .map(|(shelf, name, idle)| Unit {
            items: with_records(shelf, name, idle),
        })
        .collect();
    let mut dead: Vec<(&String, Duration)> = survey
        .envs
        .iter()
        .filter(|(_, life)| life.reasons.is_empty())
        .map(|(name, life)| (name, life.idle))
        .collect();
    dead.sort_by_key(|(_, idle)| std::cmp::Reverse(*idle));
    let none = BTreeSet::new();
    for (name, idle) in dead {
        let mut items = with_records(Shelf::Envs, name, idle);
        for part in survey.uses.get(name).unwrap_or(&none) {
            let left = users.get_mut(part).map_or(0, |left| {
                *left -= 1;
                *left
            });
            if left == 0 && is_dead(part) {
                let (shelf, name) = part;
                let idle = survey.shelf(*shelf).get(name).map_or(Duration::ZERO, |life| life.idle);
                items.extend(with_records(*shelf, name, idle));
            }
        }
        units.push(Unit { items });
    }
    units
}
