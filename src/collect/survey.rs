//! Who needs what: every reason why an environment, a wheel tree or bytecode lives.
//!
//! An environment lives by a generation or an active link of a registered project, a pin, an out-link, a lease, a claim
//! of a running build, a process that uses it, or its youth. A tree and its bytecode live by an environment that lives, a
//! claim, a process, or their youth. Reading changes nothing on disk; behind the closed gate the answer is exact, before it is an
//! estimate.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::processes;
use super::projects::{Reading, Rooted};
use super::{CollectError, Options};
use crate::env::bytecode::bytecode_name;
use crate::env::state::EnvironmentState;
use crate::store::roots::Note;
use crate::store::times::Now;
use crate::store::{Guard, Shelf, Store};

/// Why something lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Reason {
    /// A generation of a project.
    Generation {
        /// The project's folder.
        project: PathBuf,
        /// The generation.
        number: u64,
        /// Whether it is the current one.
        active: bool,
    },
    /// The active link of a project, without a generation.
    Active {
        /// The project's folder.
        project: PathBuf,
    },
    /// A project with generations that cannot be read was last seen to need it.
    Remembered {
        /// The project's folder.
        project: PathBuf,
    },
    /// A project or an out-link that cannot be found was last seen to need it.
    Missing {
        /// The project's folder, or the link.
        path: PathBuf,
        /// For how long it has been missing.
        days: u64,
        /// For how long it counts.
        counts_for_days: u64,
    },
    /// A pin.
    Pin {
        /// Its name.
        name: String,
    },
    /// A link outside the store.
    OutLink {
        /// Where.
        path: PathBuf,
    },
    /// A running process holds its lease.
    Lease,
    /// A running process has mapped a file of it, runs a program of it, or stands in it.
    Process {
        /// One such process.
        pid: u32,
    },
    /// A running build needs it.
    Build {
        /// The build's process.
        pid: u32,
        /// The build's machine.
        host: String,
    },
    /// It was built, or active, within the grace period.
    Young {
        /// How long ago.
        seconds: u64,
        /// The grace period.
        grace_seconds: u64,
    },
    /// A living environment is composed of it.
    Environment {
        /// The environment's folder name.
        name: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generation {
                project,
                number,
                active,
            } => {
                let active = if *active { " (active)" } else { "" };
                write!(formatter, "{} generation {number}{active}", project.display())
            }
            Self::Active { project } => write!(formatter, "{} (active)", project.display()),
            Self::Remembered { project } => {
                write!(formatter, "{}, of which a generation cannot be read", project.display())
            }
            Self::Missing {
                path,
                days,
                counts_for_days,
            } => write!(
                formatter,
                "{}, which has been missing for {days} of {counts_for_days} days",
                path.display()
            ),
            Self::Pin { name } => write!(formatter, "pin {name}"),
            Self::OutLink { path } => write!(formatter, "out-link {}", path.display()),
            Self::Lease => formatter.write_str("in use: a running process holds its lease"),
            Self::Process { pid } => write!(formatter, "in use by process {pid}"),
            Self::Build { pid, host } => write!(formatter, "needed by a running build (process {pid} on {host})"),
            Self::Young { seconds, grace_seconds } => write!(
                formatter,
                "built or active {} ago, within the grace period of {}",
                crate::amount::human_duration(Duration::from_secs(*seconds)),
                crate::amount::human_duration(Duration::from_secs(*grace_seconds))
            ),
            Self::Environment { name } => write!(formatter, "environment {name}"),
        }
    }
}

/// An object of the store and why it lives; dead without reasons.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// Why.
    pub reasons: Vec<Reason>,
    /// How long it has been neither built nor active.
    pub idle: Duration,
}

/// What a survey comes to.
#[derive(Debug, Default)]
pub struct Survey {
    /// By environment.
    pub envs: BTreeMap<String, Life>,
    /// By tree.
    pub trees: BTreeMap<String, Life>,
    /// By bytecode of a tree.
    pub bytecode: BTreeMap<String, Life>,
    /// The trees that each environment is composed of, and their bytecode, as far as they are visible.
    pub uses: BTreeMap<String, BTreeSet<(Shelf, String)>>,
    /// The projects that are there.
    pub projects: Vec<PathBuf>,
    /// Trees that running builds claim, visible or not.
    pub claimed: BTreeSet<(Shelf, String)>,
    /// What could not be read, for a tolerant survey.
    pub problems: Vec<CollectError>,
    pub(super) ended_roots: Vec<PathBuf>,
    pub(super) notes: Vec<(PathBuf, Note)>,
    pub(super) dead_claims: Vec<PathBuf>,
}

impl Survey {
    /// Looks at everything.
    pub fn of(store: &Store, options: &Options) -> Result<Self, CollectError> {
        let mut survey = Self::roots(store, options, false)?;
        let now = Now::read();
        for ((shelf, name), pids) in processes::used(store) {
            let reasons = pids.into_iter().map(|pid| Reason::Process { pid });
            survey.shelf_mut(shelf).entry(name).or_default().reasons.extend(reasons);
        }
        let grace = options.grace();
        for shelf in Shelf::ALL {
            let names: Vec<String> = survey.shelf(shelf).keys().cloned().collect();
            for name in names {
                let idle = store.idle(shelf, &name, &now)?;
                let life = survey.shelf_mut(shelf).entry(name).or_default();
                life.idle = idle;
                if idle < grace {
                    life.reasons.push(Reason::Young {
                        seconds: idle.as_secs(),
                        grace_seconds: grace.as_secs(),
                    });
                }
            }
        }
        survey.find_uses(store);
        Ok(survey)
    }

    /// Looks at what keeps environments, youth and processes aside. `tolerant` goes on after a root that cannot be read,
    /// for whoever only tells: nothing may be collected on that answer.
    pub fn roots(store: &Store, options: &Options, tolerant: bool) -> Result<Self, CollectError> {
        store.check_version()?;
        let mut survey = Self::default();
        for shelf in Shelf::ALL {
            for name in store.names(shelf)? {
                survey.shelf_mut(shelf).insert(name, Life::default());
            }
        }
        let claims = store.claims()?;
        survey.dead_claims = claims.dead;
        for build in claims.running {
            for object in build.names {
                let reason = Reason::Build {
                    pid: build.pid,
                    host: build.host.clone(),
                };
                survey.claimed.insert(object.clone());
                if let Some(life) = survey.shelf_mut(object.0).get_mut(&object.1) {
                    life.reasons.push(reason);
                }
            }
        }
        let reading = Reading {
            store,
            now: &Now::read(),
            vanished_after: options.vanished_after,
            tolerant,
        };
        survey.take_roots(reading.read()?);
        let names: Vec<String> = survey.envs.keys().cloned().collect();
        for name in names {
            if is_leased(store, &name)? {
                survey.envs.entry(name).or_default().reasons.push(Reason::Lease);
            }
        }
        Ok(survey)
    }

    fn take_roots(&mut self, rooted: Rooted) {
        for (name, reasons) in rooted.reasons {
            if let Some(life) = self.envs.get_mut(&name) {
                life.reasons.extend(reasons);
            }
        }
        for life in self.envs.values_mut() {
            life.reasons.extend(rooted.unknown.iter().cloned());
        }
        self.problems = rooted.problems;
        self.projects = rooted.projects;
        self.ended_roots = rooted.ended;
        self.notes = rooted.notes;
    }

    /// The objects of one sort.
    #[must_use]
    pub fn shelf(&self, shelf: Shelf) -> &BTreeMap<String, Life> {
        match shelf {
            Shelf::Wheels => &self.trees,
            Shelf::Bytecode => &self.bytecode,
            Shelf::Envs => &self.envs,
        }
    }

    fn shelf_mut(&mut self, shelf: Shelf) -> &mut BTreeMap<String, Life> {
        match shelf {
            Shelf::Wheels => &mut self.trees,
            Shelf::Bytecode => &mut self.bytecode,
            Shelf::Envs => &mut self.envs,
        }
    }

    /// Finds the trees and bytecode of every environment; those of living ones live.
    fn find_uses(&mut self, store: &Store) {
        let trees: Vec<String> = self.trees.keys().cloned().collect();
        let envs: Vec<(String, bool)> = self
            .envs
            .iter()
            .map(|(name, life)| (name.clone(), !life.reasons.is_empty()))
            .collect();
        for (env, lives) in envs {
            let mut used = BTreeSet::new();
            for tree in uses(store, &env, &trees) {
                let bytecode = bytecode_name(&tree);
                if bytecode != tree {
                    used.insert((Shelf::Bytecode, bytecode.to_owned()));
                }
                used.insert((Shelf::Wheels, tree));
            }
            for (shelf, name) in used.iter().filter(|_| lives) {
                if let Some(life) = self.shelf_mut(*shelf).get_mut(name) {
                    life.reasons.push(Reason::Environment { name: env.clone() });
                }
            }
            self.uses.insert(env, used);
        }
    }

    /// Every object that lives.
    pub fn living(&self) -> impl Iterator<Item = (Shelf, &str)> {
        let objects = Shelf::ALL
            .into_iter()
            .flat_map(|shelf| self.shelf(shelf).iter().map(move |(name, life)| (shelf, name, life)));
        objects
            .filter(|(_, _, life)| !life.reasons.is_empty())
            .map(|(shelf, name, _)| (shelf, name.as_str()))
    }

    /// Whether the object lives; what is not visible does not.
    #[must_use]
    pub fn lives(&self, shelf: Shelf, name: &str) -> bool {
        self.shelf(shelf).get(name).is_some_and(|life| !life.reasons.is_empty())
    }
}

/// Whether a process holds the lease of an environment. Where locks do not work, other reasons have to do.
fn is_leased(store: &Store, env: &str) -> Result<bool, CollectError> {
    let path = store.lease_path(env);
    match Guard::try_exclusive(&path) {
        Ok(guard) => Ok(guard.is_none()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Unsupported) => Ok(false),
        Err(error) => Err(CollectError::root(&path, error)),
    }
}

/// The trees of an environment: those that its state names. An environment of an older flambeau names none, and one
/// whose state is damaged tells nothing: then every tree counts that fits a package of it, or any tree at all.
fn uses(store: &Store, env: &str, trees: &[String]) -> BTreeSet<String> {
    let Ok(state) = EnvironmentState::read(&store.path(Shelf::Envs, env)) else {
        return trees.iter().cloned().collect();
    };
    if !state.trees.is_empty() {
        return state.trees.into_iter().collect();
    }
    // `torch==2.7.0+cu118` is in `<sha>-torch-2.7.0+cu118-<cache tag>`; names have `_` for `-` there.
    let parts = state.installed_packages.iter().filter_map(|package| {
        let (name, version) = package.split_once("==")?;
        Some(format!("-{}-{version}-", name.replace('-', "_")))
    });
    let mut parts: Vec<String> = parts.collect();
    parts.push("-flambeau_runtime-".to_owned());
    parts.push("-flambeau_pip-".to_owned());
    let fits = |tree: &&String| {
        parts
            .iter()
            .any(|part| tree.get(40..).is_some_and(|rest| rest.starts_with(part)))
    };
    trees.iter().filter(fits).cloned().collect()
}
