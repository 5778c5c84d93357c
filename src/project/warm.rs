//! Warming the cache, and what the store and the cache are still missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Project;
use super::activate::ActivateError;
use super::lockfiles::ReadLockfile;
use super::plan::{Plan, PlanError};
use super::realise::{RealiseError, fetch_wheels, wheel_id};
use crate::cache::Cache;
use crate::env::tree::tree_name;
use crate::fetch::{Evidence, Missing};
use crate::fsx::PathError;
use crate::lockfile::Selected;
use crate::profile::Profile;
use crate::store::Shelf;
use crate::target::Target;

/// What warming the cache came to.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    /// How many different wheels the targets need.
    pub wheels: usize,
    /// How many of them were downloaded.
    pub downloaded: usize,
    /// Their bytes.
    pub downloaded_bytes: u64,
    /// What is missing and was not fetched, because only a plan was asked for.
    pub missing: Vec<Missing>,
}

/// What keeps environments.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// By the environment's path: the projects and generations that name it.
    pub of: BTreeMap<PathBuf, Vec<String>>,
    /// Projects that could not be read, and why.
    pub problems: Vec<String>,
}

impl Project<'_> {
    /// Brings the wheels of some targets of a lockfile into the cache, whether their trees are in the store or not.
    pub fn fetch(&self, read: &ReadLockfile, targets: &[Target], dry_run: bool) -> Result<Fetched, RealiseError> {
        let mut wheels: BTreeMap<_, Selected<'_>> = BTreeMap::new();
        for target in targets {
            let selected = read.lockfile.select(target);
            let selected = selected.map_err(|source| PlanError::Select {
                path: read.path.clone(),
                source,
            })?;
            wheels.extend(selected.into_iter().map(|selected| (selected.wheel.digest, selected)));
        }
        let selected: Vec<Selected<'_>> = wheels.into_values().collect();
        let missing = self.not_cached(&selected)?;
        let mut fetched = Fetched {
            wheels: selected.len(),
            ..Fetched::default()
        };
        if dry_run {
            fetched.missing = missing;
        } else if !missing.is_empty() {
            let network = self.network(&read.lockfile.channel, None)?;
            let homes = self.homes(read);
            selected
                .iter()
                .try_for_each(|wheel| homes.check(wheel, &network.cache))?;
            let arrived = fetch_wheels(&network, (&selected, &homes), &|_, _| {}, self.reporter)
                .map_err(|error| RealiseError::Fetch(Box::new(error)))?;
            let new = arrived.iter().filter(|wheel| wheel.evidence() == Evidence::Downloaded);
            for wheel in new {
                fetched.downloaded += 1;
                fetched.downloaded_bytes += wheel.size();
            }
        }
        Ok(fetched)
    }

    fn not_cached(&self, selected: &[Selected<'_>]) -> Result<Vec<Missing>, RealiseError> {
        let cache = Cache::new(self.config.cache_dir()?);
        let mut missing = Vec::new();
        for Selected { wheel, .. } in selected {
            let found = cache.find_wheel(&wheel.digest, &wheel.file, wheel.size);
            if found
                .map_err(|error| RealiseError::Fetch(Box::new(error.into())))?
                .is_none()
            {
                missing.push(Missing {
                    file: wheel.file.clone(),
                    digest: wheel.digest,
                    size: wheel.size,
                });
            }
        }
        Ok(missing)
    }

    /// The wheels that building a plan would fetch: those neither in the store as a tree nor in the cache.
    pub fn missing_wheels(&self, plan: &Plan) -> Result<Vec<Missing>, RealiseError> {
        let (store, python) = (self.store()?, plan.python());
        let without_tree: Vec<Selected<'_>> = plan
            .selected()?
            .into_iter()
            .filter(|selected| {
                let name = tree_name(&wheel_id(selected), &python);
                !store.layers().any(|layer| layer.has(Shelf::Wheels, &name))
            })
            .collect();
        self.not_cached(&without_tree)
    }

    /// Why each environment is kept: the projects and generations that name it. A project that cannot be read is told
    /// among the problems: it may hold roots that are not known here, so nothing may be collected on this answer alone.
    pub fn roots(&self) -> Result<Roots, ActivateError> {
        let mut roots = Roots::default();
        let folder = self.store()?.roots_dir();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(roots),
            Err(source) => return Err(ActivateError::from_path(folder, source)),
        };
        for entry in entries {
            let link = entry
                .map_err(|source| ActivateError::from_path(folder.clone(), source))?
                .path();
            let Ok(project) = std::fs::read_link(&link) else {
                continue;
            };
            if let Err(error) = roots_of(&project, &mut roots.of) {
                roots
                    .problems
                    .push(format!("the project {} cannot be read: {error}", project.display()));
            }
        }
        Ok(roots)
    }
}

fn roots_of(project: &Path, roots: &mut BTreeMap<PathBuf, Vec<String>>) -> Result<(), ActivateError> {
    let profile = Profile::new(project);
    let current = profile.current()?.map(|generation| generation.number);
    for generation in profile.generations()? {
        let active = if current == Some(generation.number) {
            " (active)"
        } else {
            ""
        };
        let text = format!("{} generation {}{active}", project.display(), generation.number);
        roots.entry(generation.path).or_default().push(text);
    }
    Ok(())
}

impl ActivateError {
    fn from_path(path: PathBuf, source: std::io::Error) -> Self {
        crate::profile::ProfileError::from(PathError {
            action: "list",
            path,
            source,
        })
        .into()
    }
}
