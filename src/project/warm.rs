//! Warming the cache, and what the store and the cache are still missing.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use serde::Serialize;
use url::Url;

use super::Project;
use super::activate::ActivateError;
use super::lockfiles::ReadLockfile;
use super::plan::{Plan, PlanError};
use super::realise::{RealiseError, fetch_wheels, wheel_id};
use crate::collect::{CollectError, Options, Survey};
use crate::digest::{WheelDigest, hash_reader};
use crate::env::tree::tree_name;
use crate::fetch::{Evidence, Missing};
use crate::fsx::{PathContext as _, PathError};
use crate::http::Response;
use crate::lockfile::{LockedWheel, Origin, Selected};
use crate::store::Shelf;
use crate::target::Target;
use crate::threads;

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
    /// By the environment's path: what keeps it, a sentence each.
    pub of: BTreeMap<PathBuf, Vec<String>>,
    /// Roots that could not be read, and why.
    pub problems: Vec<String>,
}

/// A wheel in the cache whose bytes are not those of its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// Its file name.
    pub file: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its digest.
    pub expected: WheelDigest,
    /// What its bytes have.
    pub actual: WheelDigest,
}

impl Project<'_> {
    /// The wheels that some targets of some lockfiles need, each once.
    pub fn wheels_of<'j>(
        &self,
        jobs: &'j [(ReadLockfile, Vec<Target>)],
    ) -> Result<BTreeMap<WheelDigest, Selected<'j>>, RealiseError> {
        let mut wheels = BTreeMap::new();
        for (read, targets) in jobs {
            for target in targets {
                let selected = read.lockfile.select(target).map_err(|source| PlanError::Select {
                    path: read.path.clone(),
                    source,
                })?;
                wheels.extend(selected.into_iter().map(|selected| (selected.wheel.digest, selected)));
            }
        }
        Ok(wheels)
    }

    /// Compares the wheels that are in the cache with their digests, on all cores. Returns how many there are, and which
    /// of them are damaged.
    pub fn check_cached(&self, jobs: &[(ReadLockfile, Vec<Target>)]) -> Result<(usize, Vec<Damaged>), RealiseError> {
        let cache = self.cache()?;
        let mut there = Vec::new();
        for Selected { wheel, .. } in self.wheels_of(jobs)?.into_values() {
            // Whatever its size: a truncated wheel is damaged, not absent.
            let path = cache.wheel_path(&wheel.digest, &wheel.file);
            if path.is_file() {
                there.push((wheel, path));
            }
        }
        let look = |(wheel, path): &(&LockedWheel, PathBuf)| -> Result<Option<Damaged>, PathError> {
            let (bytes, _) = File::open(path).and_then(hash_reader).at("read", path)?;
            let actual = WheelDigest::from_bytes(bytes);
            Ok((actual != wheel.digest).then(|| Damaged {
                file: wheel.file.clone(),
                path: path.clone(),
                expected: wheel.digest,
                actual,
            }))
        };
        let looked = threads::attempt(there.iter().collect(), look);
        let looked = looked.map_err(|error| RealiseError::Fetch(Box::new(error.into())))?;
        Ok((there.len(), looked.into_iter().flatten().collect()))
    }

    /// Takes damaged wheels out of the cache, so that they are fetched again. One that another process took away already
    /// is as good.
    pub fn drop_damaged(&self, damaged: &[Damaged]) -> Result<(), PathError> {
        for one in damaged {
            match std::fs::remove_file(&one.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).at("remove", &one.path);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Asks the servers for sizes that a lockfile does not know; without an answer, or a network, they stay unknown.
    pub fn ask_sizes(&self, read: &ReadLockfile, missing: &mut [Missing]) {
        if self.config.offline || missing.iter().all(|one| one.size.is_some()) {
            return;
        }
        let Ok(network) = self.network(&read.lockfile.channel, None) else {
            return;
        };
        let urls: BTreeMap<WheelDigest, Url> = read
            .lockfile
            .packages
            .iter()
            .flat_map(|package| &package.wheels)
            .filter_map(|wheel| match &wheel.origin {
                Origin::Url(url) if url.scheme() != "file" => Some((wheel.digest, network.sources.fetch_url(url))),
                _ => None,
            })
            .collect();
        let unknown = missing.iter_mut().filter(|one| one.size.is_none());
        threads::map(unknown.collect(), |one| {
            let Some(url) = urls.get(&one.digest) else { return };
            let answer = network.http.get(url).range(0, Some(0)).send_once();
            let size = |answer: &Response| answer.content_range().map_or(answer.length(), |range| range.total);
            one.size = answer.ok().and_then(|answer| size(&answer));
        });
    }

    /// The bytes of a missing wheel that an earlier run left in the cache.
    #[must_use]
    pub fn partial_bytes(&self, missing: &Missing) -> u64 {
        let Ok(cache) = self.config.cache_dir() else { return 0 };
        crate::fetch::arrived_earlier(&cache.join("partial"), &missing.digest.to_string())
    }

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
        let cache = self.cache()?;
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

    /// Why each environment is kept, its youth and what `/proc` tells aside: roots, leases and running builds. Roots that
    /// cannot be read are told among the problems: then the answer is not complete.
    pub fn roots(&self) -> Result<Roots, ActivateError> {
        let mut roots = Roots::default();
        let store = self.store()?;
        let survey = match Survey::roots(&store, &Options::default(), true) {
            Ok(survey) => survey,
            Err(CollectError::Store(error)) => return Err(error.into()),
            Err(error) => {
                let mut survey = Survey::default();
                survey.problems.push(error);
                survey
            }
        };
        for (name, life) in survey.envs {
            let reasons = life.reasons.iter().map(ToString::to_string).collect();
            roots.of.insert(store.path(Shelf::Envs, &name), reasons);
        }
        for problem in survey.problems {
            let message = match &problem {
                CollectError::Root { root, source } => format!("the root {} cannot be read: {source}", root.display()),
                other => other.to_string(),
            };
            roots.problems.push(message);
        }
        Ok(roots)
    }
}
