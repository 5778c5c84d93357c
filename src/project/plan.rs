//! The plan: one lockfile, one interpreter, one target, and so one key and one list of wheels.

use super::Project;
use super::choice::Chosen;
use super::lockfiles::{ReadLockfile, from_bytes, requirement};
use super::relock::{LockRequest, RelockError};
use crate::backend::{Backend, Channel, Preference};
use crate::config::Origin;
use crate::digest::EnvironmentKey;
use crate::env::Python;
use crate::env::build::Identity;
use crate::env::bytecode::Modules;
use crate::key;
use crate::lockfile::staleness::{Difference, Wanted};
use crate::lockfile::{LockedTarget, Lockfile, SelectError, Selected};
use crate::pep::Version;
use crate::python::{self, Interpreter, Mismatch, PatchMismatch, RequiredPython, is_same};
use crate::target::{Platform, PythonMinor, Target};

/// Why nothing can be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Locking, or reading the lockfile.
    #[error(transparent)]
    Relock(#[from] RelockError),
    /// The lockfile is stale and may not be changed.
    #[error(
        "the lockfile {} is stale: {}",
        path.display(),
        differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    Stale {
        /// The file.
        path: std::path::PathBuf,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// There is no lockfile and none may be made.
    #[error("there is no lockfile {}", path.display())]
    NoLockfile {
        /// Where it would be.
        path: std::path::PathBuf,
    },
    /// No interpreter.
    #[error("no usable Python")]
    Python(#[from] python::Error),
    /// No interpreter of this machine is one that the lockfile is for.
    #[error("no Python of this machine fits the lockfile {}", path.display())]
    NoInterpreter {
        /// The lockfile.
        path: std::path::PathBuf,
        /// The Pythons that the lockfile has wheels for.
        pythons: Vec<PythonMinor>,
        /// What was found instead.
        #[source]
        source: Box<python::Error>,
    },
    /// The lockfile has nothing for this interpreter.
    #[error(
        "the lockfile {} has nothing for {} (Python {})",
        path.display(), program.display(), version
    )]
    NoTarget {
        /// The lockfile.
        path: std::path::PathBuf,
        /// The interpreter.
        program: std::path::PathBuf,
        /// Its version.
        version: String,
        /// The Pythons that the lockfile has wheels for.
        pythons: Vec<PythonMinor>,
        /// Why each target does not fit.
        #[source]
        source: Box<Mismatch>,
    },
    /// The lockfile was made by another tool, or edited: it does not say for which targets it was resolved.
    #[error("the lockfile {} does not say for which targets it was resolved", path.display())]
    NoTargets {
        /// The lockfile.
        path: std::path::PathBuf,
    },
    /// The interpreter's patch level would change what is installed.
    #[error("{} would need other packages than the lockfile has", program.display())]
    Patch {
        /// The interpreter.
        program: std::path::PathBuf,
        /// Which boundary lies between.
        #[source]
        source: PatchMismatch,
    },
    /// A package has no wheel.
    #[error("the lockfile {} does not install", path.display())]
    Select {
        /// The lockfile.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: SelectError,
    },
    /// The channel's torch is for another backend than the one asked for.
    #[error("the torch of the channel {channel} is built for {found}; {wanted} is asked for")]
    OtherBackend {
        /// The channel.
        channel: Channel,
        /// What the wheel is built for.
        found: Backend,
        /// What was asked for.
        wanted: Backend,
    },
}

/// How to plan.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanOptions {
    /// Never write the lockfile: a missing or stale one is an error.
    pub locked: bool,
}

/// What will be built.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The choice of the channel.
    pub chosen: Chosen,
    /// The lockfile.
    pub lockfile: ReadLockfile,
    /// The interpreter.
    pub interpreter: Interpreter,
    /// The target.
    pub locked: LockedTarget,
    /// The key.
    pub key: EnvironmentKey,
    /// Which modules are compiled.
    pub modules: Modules,
    /// What should be said.
    pub warnings: Vec<String>,
}

impl Plan {
    /// The wheels, sorted by package name.
    pub fn selected(&self) -> Result<Vec<Selected<'_>>, PlanError> {
        self.lockfile
            .lockfile
            .select(&self.locked.target)
            .map_err(|source| PlanError::Select {
                path: self.lockfile.path.clone(),
                source,
            })
    }

    /// The interpreter as environments know it.
    #[must_use]
    pub fn python(&self) -> Python {
        Python {
            program: self.interpreter.real_path.clone(),
            version: self.interpreter.version.to_string(),
            minor: self.interpreter.python,
            cache_tag: self.interpreter.cache_tag.clone(),
        }
    }

    /// What the environment is.
    pub fn identity(&self) -> Result<Identity, PlanError> {
        let packages = self
            .selected()?
            .iter()
            .map(|selected| (selected.package.name.to_string(), selected.package.version.to_string()))
            .collect();
        Ok(Identity {
            key: self.key,
            backend: self.locked.backend,
            channel: self.lockfile.lockfile.channel.clone(),
            target: self.locked.target,
            lockfile: self.lockfile.digest,
            packages,
        })
    }
}

/// The target that an interpreter gets from a lockfile: of those it satisfies, the one with the highest floor.
pub fn target_for<'a>(lockfile: &'a Lockfile, interpreter: &Interpreter) -> Result<&'a LockedTarget, Option<Mismatch>> {
    let mut mismatch = None;
    let mut best: Option<&LockedTarget> = None;
    for locked in &lockfile.targets {
        match interpreter.satisfies(&locked.target) {
            Ok(()) if best.is_none_or(|best| best.target < locked.target) => best = Some(locked),
            // The mismatch that says most: a wrong floor rather than a wrong Python.
            Err(error) if mismatch.is_none() || locked.target.python == interpreter.python => mismatch = Some(error),
            Ok(()) | Err(_) => {}
        }
    }
    best.ok_or(mismatch)
}

/// The Pythons that a lockfile has wheels for, each once.
fn pythons_of(lockfile: &ReadLockfile) -> Vec<PythonMinor> {
    let targets = lockfile.lockfile.targets.iter();
    let pythons: std::collections::BTreeSet<_> = targets.map(|locked| locked.target.python).collect();
    pythons.into_iter().collect()
}

impl Project<'_> {
    /// Plans the environment of the chosen channel, by a lockfile in memory where that is needed and allowed. Writes
    /// nothing.
    pub fn plan(&self, chosen: Chosen, options: PlanOptions) -> Result<Plan, PlanError> {
        let (lockfile, mut warnings) = self.wanted_lockfile(&chosen.channel, options)?;
        let interpreter = self.interpreter(&lockfile)?;
        let mut plan = self.finish_plan(chosen, lockfile, interpreter)?;
        let doubt = self.doubt(&plan.lockfile.lockfile.requirements);
        // A lockfile that was just resolved came with it.
        warnings.extend(doubt.filter(|doubt| !warnings.contains(doubt)));
        warnings.append(&mut plan.warnings);
        if let Some(decision) = &plan.chosen.decision {
            // Never silently CPU.
            warnings.extend(decision.fell_back().then(|| decision.message.clone()));
            warnings.extend(decision.warnings.iter().cloned());
        }
        plan.warnings = warnings;
        Ok(plan)
    }

    /// What is left of planning once lockfile and interpreter are known.
    pub(super) fn finish_plan(
        &self,
        chosen: Chosen,
        lockfile: ReadLockfile,
        interpreter: Interpreter,
    ) -> Result<Plan, PlanError> {
        let locked = locked_for(&lockfile, &interpreter)?;
        interpreter.check_patch(&locked).map_err(|source| PlanError::Patch {
            program: interpreter.path.clone(),
            source,
        })?;
        if let Preference::Backend(wanted) = self.config.backend.value
            && matches!(self.config.backend.origin, Origin::Flag(_))
            && wanted != locked.backend
        {
            return Err(PlanError::OtherBackend {
                channel: chosen.channel,
                found: locked.backend,
                wanted,
            });
        }
        let key = key::environment_key(&lockfile.lockfile, &locked.target).map_err(|source| PlanError::Select {
            path: lockfile.path.clone(),
            source,
        })?;
        Ok(Plan {
            warnings: lockfile.warnings.iter().map(ToString::to_string).collect(),
            chosen,
            lockfile,
            interpreter,
            locked,
            key,
            modules: self.config.compile_bytecode,
        })
    }

    /// The lockfile that a channel should have: the one on disk, or where that is missing or stale and may be written, a
    /// new one, in memory ([`Project::save`] writes it); and what should be said.
    pub fn wanted_lockfile(
        &self,
        channel: &Channel,
        options: PlanOptions,
    ) -> Result<(ReadLockfile, Vec<String>), PlanError> {
        let existing = self.read_lockfile(channel).map_err(RelockError::from)?;
        let path = self.lockfile_path(channel);
        let mut stale = Vec::new();
        if let Some(existing) = existing {
            stale = self.staleness(channel, &existing)?;
            if stale.is_empty() {
                return Ok((existing, Vec::new()));
            }
        }
        if stale.is_empty()
            && !options.locked
            && let Some(shipped) = self.shipped(channel)?
        {
            let said = self.defaulted(None, &shipped.lockfile.requirements);
            return Ok((shipped, said.into_iter().collect()));
        }
        match (options.locked, stale.is_empty()) {
            (true, true) => Err(PlanError::NoLockfile { path }),
            (true, false) => Err(PlanError::Stale {
                path,
                differences: stale,
            }),
            (false, _) => {
                let interpreter = self.finder().find(self.request(), &|_| true).ok();
                let resolved = self.resolve_lock(channel, &LockRequest::default(), interpreter.as_ref())?;
                let bytes = resolved.lockfile.to_text().into_bytes();
                let read = from_bytes(path, bytes, channel).map_err(RelockError::from)?;
                Ok((ReadLockfile { unsaved: true, ..read }, resolved.warnings))
            }
        }
    }

    /// What makes a lockfile stale, decided offline.
    pub fn staleness(&self, channel: &Channel, existing: &ReadLockfile) -> Result<Vec<Difference>, PlanError> {
        let held = self.held(Some(&existing.lockfile), &LockRequest::default())?;
        let requirements = held
            .requirements
            .iter()
            .map(|text| requirement(text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(RelockError::from)?;
        let mut differences = existing.lockfile.staleness(&Wanted {
            requirements: &requirements,
            channel: Some(channel),
            targets: self.wanted_targets(&existing.lockfile).as_deref(),
            requires_python: self
                .config
                .requires_python
                .as_ref()
                .map(|required| &required.specifiers),
            settings: Some(&held.settings),
        });
        for locked in &existing.lockfile.targets {
            let wanted = self.pinned_python(locked.target.python);
            let have = locked.python_pinned.then_some(&locked.python_full_version);
            if wanted.as_ref() != have {
                differences.push(Difference::PythonPin {
                    target: locked.target,
                    wanted,
                });
            }
        }
        Ok(differences)
    }

    /// The targets that the project's own lists ask for; none where it has no list and the lockfile's targets will do.
    /// Where it lists both Pythons and platforms, every pair is wanted; where it lists one of them, a Python without
    /// wheels for a platform was left out when the file was made, and is not missed.
    fn wanted_targets(&self, lockfile: &Lockfile) -> Option<Vec<Target>> {
        let (pythons, platforms) = (&self.config.python_versions, &self.config.platforms);
        let locked: Vec<Target> = lockfile.targets.iter().map(|locked| locked.target).collect();
        let pair = |platform: &Platform, python: &PythonMinor| Target {
            python: *python,
            platform: *platform,
        };
        let pairs = |platforms: &[Platform], pythons: &[PythonMinor]| -> Vec<Target> {
            platforms
                .iter()
                .flat_map(|platform| pythons.iter().map(|python| pair(platform, python)))
                .collect()
        };
        match (pythons.is_empty(), platforms.is_empty()) {
            (true, true) => None,
            (false, false) => Some(pairs(platforms, pythons)),
            (false, true) => {
                let mut wanted: Vec<Target> = locked
                    .iter()
                    .copied()
                    .filter(|target| pythons.contains(&target.python))
                    .collect();
                let has = |python: &PythonMinor| locked.iter().any(|target| target.python == *python);
                let of: Vec<Platform> = locked.iter().map(|target| target.platform).take(1).collect();
                let missing: Vec<PythonMinor> = pythons.iter().copied().filter(|python| !has(python)).collect();
                wanted.extend(pairs(&of, &missing));
                Some(wanted)
            }
            (true, false) => {
                let mut wanted: Vec<Target> = locked
                    .iter()
                    .copied()
                    .filter(|target| platforms.contains(&target.platform))
                    .collect();
                let has = |platform: &Platform| locked.iter().any(|target| target.platform == *platform);
                let of: Vec<PythonMinor> = locked.iter().map(|target| target.python).take(1).collect();
                let missing: Vec<Platform> = platforms.iter().copied().filter(|platform| !has(platform)).collect();
                wanted.extend(pairs(&missing, &of));
                Some(wanted)
            }
        }
    }

    /// The patch level that `[tool.flambeau] python` pins for a minor version. Other ways to ask for a Python choose an
    /// interpreter and leave keys alone.
    #[must_use]
    pub fn pinned_python(&self, python: PythonMinor) -> Option<Version> {
        match self.config.project_python.as_ref()? {
            python::Request::Version { version, freethreaded }
                if version.release().len() >= 3
                    && version.release()[1] == u64::from(python.minor)
                    && *freethreaded == python.freethreaded =>
            {
                Some(version.clone())
            }
            _ => None,
        }
    }

    pub(super) fn request(&self) -> Option<&python::Request> {
        self.config.python.as_ref().map(|request| &request.value)
    }

    /// The lockfile's own `requires-python`, where it says more than its targets and is not the project's.
    fn required_by(&self, lockfile: &ReadLockfile) -> Option<RequiredPython> {
        let own = lockfile.lockfile.requires_python.as_ref()?;
        let oldest = lockfile.lockfile.oldest_python();
        let of_project = self
            .config
            .requires_python
            .as_ref()
            .map(|required| &required.specifiers);
        let known = oldest.iter().chain(of_project).any(|known| is_same(own, known));
        (!known).then(|| RequiredPython {
            specifiers: own.clone(),
            path: lockfile.path.clone(),
        })
    }

    /// The target that the interpreter of this machine gets from a lockfile.
    pub fn locked_for_this_machine(&self, lockfile: &ReadLockfile) -> Result<LockedTarget, PlanError> {
        locked_for(lockfile, &self.interpreter(lockfile)?)
    }

    pub(super) fn interpreter(&self, lockfile: &ReadLockfile) -> Result<Interpreter, PlanError> {
        if lockfile.lockfile.targets.is_empty() {
            let path = lockfile.path.clone();
            return Err(PlanError::NoTargets { path });
        }
        let fits = |interpreter: &Interpreter| target_for(&lockfile.lockfile, interpreter).is_ok();
        let finder = self.finder().requiring(self.required_by(lockfile));
        finder.find(self.request(), &fits).map_err(|error| match error {
            // Whoever names no version is told which ones would do.
            python::Error::NotFound { wanted: None, .. } => PlanError::NoInterpreter {
                path: lockfile.path.clone(),
                pythons: pythons_of(lockfile),
                source: Box::new(error),
            },
            error => error.into(),
        })
    }
}

fn locked_for(lockfile: &ReadLockfile, interpreter: &Interpreter) -> Result<LockedTarget, PlanError> {
    target_for(&lockfile.lockfile, interpreter)
        .cloned()
        .map_err(|mismatch| no_target(lockfile, interpreter, mismatch))
}

fn no_target(lockfile: &ReadLockfile, interpreter: &Interpreter, mismatch: Option<Mismatch>) -> PlanError {
    match mismatch {
        Some(source) => PlanError::NoTarget {
            path: lockfile.path.clone(),
            program: interpreter.path.clone(),
            version: interpreter.version.to_string(),
            pythons: pythons_of(lockfile),
            source: Box::new(source),
        },
        None => PlanError::NoTargets {
            path: lockfile.path.clone(),
        },
    }
}
