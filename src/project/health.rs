//! Whether everything that a build needs is well: the lines of `flambeau doctor`.
//!
//! Only looks; nothing is mended, locked or fetched. A line is *ok*, a *warning* (things work, perhaps not as wished)
//! or a *failure* (something that is asked for cannot work), each of the last two with what to do.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Project;
use super::activate::ActivateError;
use super::lockfiles::LockfileError;
use super::network::Network;
use super::plan::PlanError;
use crate::amount::human_duration;
use crate::backend::Channel;
use crate::collect;
use crate::fsx;
use crate::gpu::{Decision, Reason};
use crate::index::Place;
use crate::pep::PackageName;
use crate::store::{Shelf, StoreError, Trust};
use crate::ui::human_bytes;

mod torch;

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, perhaps not as wished.
    Warn,
    /// Something that is asked for cannot work.
    Fail,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub status: Status,
    /// What was found.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            status: Status::Ok,
            message: message.into(),
            remedy: None,
        }
    }

    fn warn(name: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            status: Status::Warn,
            remedy: Some(remedy.into()),
            ..Self::ok(name, message)
        }
    }

    fn fail(name: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            status: Status::Fail,
            remedy: Some(remedy.into()),
            ..Self::ok(name, message)
        }
    }
}

/// Less than this is not enough for any build with torch: its wheel alone is nearly as large.
const LEAST_SPACE: u64 = 1 << 30;
/// A build for CUDA fetches 3 GB and unpacks 6.
const GOOD_SPACE: u64 = 10 << 30;

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

impl Project<'_> {
    /// Looks at everything. `decision` is what the detector says of this machine, probes and all.
    #[must_use]
    pub fn health(&self, decision: &Decision) -> Vec<Check> {
        let active = self.profile().active();
        let channel = match &active {
            Ok(Some((_, state))) => state.channel.clone(),
            _ => decision.channel.clone(),
        };
        let mut checks = vec![gpu(decision)];
        checks.push(self.interpreter_health(&channel));
        checks.extend(self.index_health(&channel));
        checks.extend(self.disk_health());
        checks.push(self.store_health());
        checks.push(self.cache_health());
        match active {
            Ok(Some((path, state))) => {
                checks.push(match self.interpreter_problem(&state) {
                    None => Check::ok(
                        "environment",
                        format!(
                            "{} on channel {}, Python {}",
                            state.installed_backend, state.channel, state.python_version
                        ),
                    ),
                    Some(problem) => Check::fail(
                        "environment",
                        format!("it is bound to {}, {problem}", state.interpreter.display()),
                        "`flambeau build` binds it to a Python that is there",
                    ),
                });
                if checks.last().is_some_and(|check| check.status == Status::Ok) {
                    checks.push(torch::check(&path, &state, decision, &self.gpu_env()));
                }
            }
            Ok(None) => checks.push(Check::ok(
                "environment",
                "none is active; `flambeau build` builds and activates one",
            )),
            Err(error) => checks.push(Check::fail(
                "environment",
                chain(&error),
                "`flambeau build` builds and activates one; `--force` moves aside what is in the way",
            )),
        }
        checks
    }

    fn interpreter_health(&self, channel: &Channel) -> Check {
        let name = "interpreter";
        let found = match self.read_lockfile(channel) {
            Ok(Some(lockfile)) => match self.interpreter(&lockfile) {
                Err(error @ PlanError::NoTargets { .. }) => {
                    return Check::fail("lockfile", chain(&error), "run `flambeau lock` to update the lockfile");
                }
                found => found.map_err(|error| chain(&error)),
            },
            Ok(None) => {
                let request = self.config.python.as_ref().map(|request| &request.value);
                self.finder().find(request, &|_| true).map_err(|error| chain(&error))
            }
            Err(error) => {
                let remedy = match &error {
                    LockfileError::Path(_) => "make it readable for your user",
                    newer if newer.is_newer() => "use the newer flambeau that wrote it",
                    _ => "run `flambeau lock` to write it again",
                };
                return Check::fail("lockfile", chain(&error), remedy);
            }
        };
        match found {
            Ok(found) => Check::ok(name, format!("CPython {} at {}", found.version, found.path.display())),
            Err(message) => Check::fail(
                name,
                message,
                "install a CPython of 3.9 to 3.13, name one with --python, or lock for yours with `flambeau lock --python VERSION`",
            ),
        }
    }

    /// Whether the places that torch and its dependencies come from answer.
    fn index_health(&self, channel: &Channel) -> Vec<Check> {
        if self.config.offline {
            return vec![Check::ok(
                "index",
                "not asked, because the network may not be used (--offline)",
            )];
        }
        let interpreter = self.finder().find(None, &|_| true).ok();
        let network = match self.network(channel, interpreter.as_ref()) {
            Ok(network) => network,
            Err(error) => {
                return vec![Check::fail(
                    "index",
                    chain(&error),
                    "correct the configuration that it names",
                )];
            }
        };
        let names = [("channel", "torch"), ("index", "filelock")];
        let mut checks: Vec<Check> = names
            .into_iter()
            .filter_map(|(name, package)| reach(&network, name, &package.parse().ok()?))
            .collect();
        checks.dedup_by(|second, first| second.message == first.message);
        checks
    }

    fn disk_health(&self) -> Vec<Check> {
        let folders = [("store", self.config.store_dir()), ("cache", self.config.cache_dir())];
        let one = |(what, folder): (&str, Result<&Path, crate::config::ConfigError>)| {
            let folder = match folder {
                Ok(folder) => existing(folder),
                Err(error) => return Check::fail("disk", chain(&error), "set HOME, or name the folder"),
            };
            let remedy = format!(
                "free some space, or move the {what} with FLAMBEAU_{}_DIR",
                what.to_uppercase()
            );
            match fsx::free_bytes(&folder) {
                Err(error) => Check::fail("disk", chain(&error), remedy),
                Ok(free) => {
                    let message = format!("{} free for the {what} ({})", human_bytes(free), folder.display());
                    match free {
                        ..LEAST_SPACE => Check::fail("disk", message, remedy),
                        LEAST_SPACE..GOOD_SPACE => Check::warn("disk", message, remedy),
                        GOOD_SPACE.. => Check::ok("disk", message),
                    }
                }
            }
        };
        folders.into_iter().map(one).collect()
    }

    fn store_health(&self) -> Check {
        let name = "store";
        let Ok(store) = self.store() else {
            return Check::fail(
                name,
                "there is no place for it",
                "set HOME, or name it with --store-dir",
            );
        };
        if !store.root().exists() {
            let place = store.root().display();
            return if writable(&existing(store.root())) {
                Check::ok(name, format!("{place} will be made when something is built"))
            } else {
                let remedy = "name another folder with --store-dir";
                Check::fail(name, format!("{place} cannot be made"), remedy)
            };
        }
        let (environments, trees) = match (self.environments(), store.names(Shelf::Wheels)) {
            (Ok(environments), Ok(trees)) => (environments, trees),
            (Err(ActivateError::Store(error)), _) | (_, Err(error)) => {
                return Check::fail(name, chain(&error), store_remedy(&error));
            }
            (Err(error), _) => return Check::fail(name, chain(&error), "make the folder readable for your user"),
        };
        let damaged: Vec<&str> = environments
            .iter()
            .filter(|found| found.state.is_err())
            .map(|found| found.name.as_str())
            .collect();
        if !damaged.is_empty() {
            let message = format!("the state of {} cannot be read", damaged.join(", "));
            return Check::fail(name, message, "run `flambeau verify --all --repair` to repair it");
        }
        let distrusted = |shelf, names: &mut dyn Iterator<Item = &str>| {
            names
                .filter(|one| store.trust(shelf, one).is_ok_and(|trust| trust == Trust::Unknown))
                .count()
        };
        let unsure = distrusted(Shelf::Envs, &mut environments.iter().map(|found| found.name.as_str()))
            + distrusted(Shelf::Wheels, &mut trees.iter().map(String::as_str));
        let message = format!(
            "{} environments and {} wheel trees in {}",
            environments.len(),
            trees.len(),
            store.root().display()
        );
        // Judged as a collection judges them. Where it cannot be told, nothing is there to advise.
        let debris = collect::leftovers(&store).unwrap_or_default();
        if !writable(store.root()) {
            Check::warn(
                name,
                format!("{message}; it cannot be written"),
                "nothing new can be built in it by this user",
            )
        } else if unsure > 0 {
            let message = format!("{message}; {unsure} were not on disk for certain when this machine went down");
            Check::warn(name, message, "nothing: they are verified before they are used again")
        } else if debris > 0 {
            let message = format!("{message}; {debris} leftovers of builds that were killed");
            Check::warn(name, message, "run `flambeau gc` to delete them")
        } else {
            Check::ok(name, message)
        }
    }

    fn cache_health(&self) -> Check {
        let name = "cache";
        let folder = match self.config.cache_dir() {
            Ok(folder) => folder,
            Err(error) => return Check::fail(name, chain(&error), "set HOME, or name it with --cache-dir"),
        };
        if !writable(&existing(folder)) {
            let message = format!("{} cannot be written", folder.display());
            return Check::fail(
                name,
                message,
                "make it writable, or name another folder with --cache-dir",
            );
        }
        let files = |sub: &str| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(folder.join(sub)).into_iter().flatten();
            entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
        };
        let wheels: Vec<u64> = files("wheels")
            .iter()
            .flat_map(|digest| std::fs::read_dir(digest).into_iter().flatten())
            .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
            .collect();
        let bad = files("partial")
            .iter()
            .filter(|path| path.extension().is_some_and(|it| it == "bad"))
            .count();
        let message = format!(
            "{} wheels, {}, in {}",
            wheels.len(),
            human_bytes(wheels.iter().sum()),
            folder.display()
        );
        if bad > 0 {
            let message = format!("{message}; {bad} files had other bytes than the lockfile says");
            Check::warn(
                name,
                message,
                format!(
                    "ask the operator of the index about them; `flambeau gc` deletes them after {}",
                    human_duration(collect::GRACE)
                ),
            )
        } else {
            Check::ok(name, message)
        }
    }
}

fn gpu(decision: &Decision) -> Check {
    let message = format!(
        "{} on channel {}: {}",
        decision.backend, decision.channel, decision.message
    );
    let remedy = decision.would_change.first().cloned().unwrap_or_default();
    if decision.fell_back() {
        return Check::warn("gpu", message, remedy);
    }
    let worried = decision.uses_gpu() && (!decision.gpu_usable || !decision.warnings.is_empty());
    let told = decision.warnings.join("; ");
    if worried {
        let remedy = if decision.reason == Reason::Forced && !decision.gpu_usable {
            "leave the choice to the hardware (Auto), or build where the GPU is".to_owned()
        } else {
            "`flambeau detect` has the details".to_owned()
        };
        return Check::warn("gpu", format!("{message}; {told}"), remedy);
    }
    Check::ok("gpu", message)
}

/// Asks the place of a package for its page, once.
fn reach(network: &Network, name: &'static str, package: &PackageName) -> Option<Check> {
    let base = match network.sources.place(package) {
        Ok(Place::Channel(url) | Place::Package(url) | Place::Private(_, url)) => url,
        Ok(Place::Links) => return None,
        Ok(Place::Nowhere) => {
            let message = format!("no index is configured that has {package}");
            return Some(Check::fail(
                name,
                message,
                "name one with --index-url, or in pip's configuration",
            ));
        }
        Err(error) => return Some(Check::fail(name, chain(&error), "correct `[[tool.flambeau.index]]`")),
    };
    let page = base.join(&format!("{package}/")).ok()?;
    Some(match network.http.get(&page).send_once() {
        Ok(_) => Check::ok(name, format!("{base} answers")),
        Err(error) => Check::fail(
            name,
            chain(&error),
            "look at the connection, the proxy and the address; --offline builds from the cache",
        ),
    })
}

fn store_remedy(error: &StoreError) -> &'static str {
    match error {
        StoreError::Newer { .. } | StoreError::Older { .. } => {
            "use the flambeau that wrote it, or choose another store with --store-dir"
        }
        StoreError::BadVersion { is_store: true, .. } => {
            "run `flambeau verify --all --repair` to check the store and write the file again"
        }
        StoreError::Path(_) => "make the folder readable for your user",
        _ => "choose another store with --store-dir",
    }
}

/// The nearest folder on the way to `path` that is there.
fn existing(path: &Path) -> PathBuf {
    let found = path.ancestors().find(|ancestor| ancestor.is_dir());
    found.unwrap_or(Path::new("/")).to_owned()
}

fn writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}
