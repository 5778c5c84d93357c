//! `--from FILE`: what another tool pinned, as a lockfile model that is written nowhere.
//!
//! ```text
//! file -> target (of the interpreter that fits) -> pins -> channel -> wheels -> backend
//! ```
//!
//! A file of flambeau's own is used as it is. Any other is reduced to one target: the interpreter's, on the common
//! floor (`manylinux_2_28`, `musllinux_1_2`) where every package has a wheel for it, so that machines with different C
//! libraries get one key; else on this machine's own floor.
//! The channel is the one that is asked for, else the one in torch's version or URL, else `pip`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Project;
use super::choice::Chosen;
use super::full_versions;
use super::lockfiles::{LockfileError, ReadLockfile};
use super::network::Network;
use super::plan::{Plan, PlanError};
use super::torch_backend;
use crate::backend::{Backend, Channel};
use crate::config::Origin as ConfigOrigin;
use crate::digest::LockfileDigest;
use crate::fsx;
use crate::lockfile::Lockfile;
use crate::lockfile::foreign::{Asked, Files, Foreign, ForeignError, Pinned};
use crate::pep::{ExtraName, GroupName, Version};
use crate::profile::{Cause, Choice};
use crate::python::Interpreter;
use crate::target::{PythonMinor, Target};

mod error;
mod wheels;

pub use error::FromError;
pub(in crate::project) use wheels::channel_of_wheel;
use wheels::{channel_of, lockfile_of, look_up, misfit, targets_of};

/// A file to install from.
#[derive(Debug, Clone, Default)]
pub struct FromFile {
    /// Where it is.
    pub path: PathBuf,
    /// Extras of it.
    pub extras: Vec<ExtraName>,
    /// Dependency groups of it, beside its default groups.
    pub groups: Vec<GroupName>,
    /// Whether local wheels outside its folder may be read.
    pub anywhere: bool,
}

/// A file that was read.
struct Read {
    path: PathBuf,
    digest: LockfileDigest,
    foreign: Foreign,
}

impl Read {
    fn error(&self, source: ForeignError) -> FromError {
        FromError::Foreign {
            path: self.path.clone(),
            source,
        }
    }

    fn pins(&self, from: &FromFile, target: &Target, python: &Version) -> Result<Vec<Pinned>, FromError> {
        let asked = Asked {
            target,
            python,
            extras: &from.extras,
            groups: &from.groups,
        };
        self.foreign.pins(&asked).map_err(|source| self.error(source))
    }

    fn finish(self, lockfile: Lockfile) -> (ReadLockfile, Vec<String>) {
        let read = ReadLockfile {
            unsaved: false,
            path: self.path,
            digest: self.digest,
            lockfile,
            warnings: Vec::new(),
        };
        let mut warnings = self.foreign.warnings;
        if read.lockfile.packages.is_empty() {
            warnings.push(format!(
                "{} pins no package, so the environment is empty",
                read.path.display()
            ));
        }
        (read, warnings)
    }
}

impl Project<'_> {
    /// Plans the environment that a file describes for an interpreter of this machine.
    pub fn plan_from(&self, from: &FromFile) -> Result<Plan, FromError> {
        let read = Self::read_from(from)?;
        if read.foreign.ours().is_some() {
            return self.plan_ours(read);
        }
        // Which wheels a file of digests means only its index tells: then the next interpreter may fit better.
        let mut tried: BTreeSet<PythonMinor> = BTreeSet::new();
        let mut first: Option<FromError> = None;
        let (lockfile, interpreter) = loop {
            let interpreter = self.interpreter_for(&read, from, &tried)?;
            if !tried.insert(interpreter.python)
                && let Some(error) = first
            {
                return Err(error);
            }
            let targets = targets_of(&interpreter);
            match self.reduce(&read, from, &targets, &interpreter.version, Some(&interpreter)) {
                Err(error @ FromError::NoWheel { .. }) => first = first.or(Some(error)),
                other => break (other?, interpreter),
            }
        };
        let (lockfile, warnings) = read.finish(lockfile);
        self.plan_of(lockfile, interpreter, warnings)
    }

    /// The lockfile that a file describes for `target`, whatever runs on this machine.
    pub fn lockfile_from(&self, from: &FromFile, target: &Target) -> Result<(ReadLockfile, Vec<String>), FromError> {
        let read = Self::read_from(from)?;
        if let Some(ours) = read.foreign.ours() {
            let lockfile = ours.lockfile.clone();
            self.check_channel(&read, Some(&lockfile.channel))?;
            return Ok(read.finish(lockfile));
        }
        let required = read.foreign.requires_python().map_err(|source| read.error(source))?;
        // Where the file allows none, reading it says so.
        let python = self
            .pinned_python(target.python)
            .or_else(|| full_versions::allowed(target.python, required.as_ref(), None))
            .unwrap_or_else(|| full_versions::usual(target.python, None));
        let lockfile = self.reduce(&read, from, &[*target], &python, None)?;
        Ok(read.finish(lockfile))
    }

    fn read_from(from: &FromFile) -> Result<Read, FromError> {
        let path = from.path.clone();
        let bytes = fsx::read_if_exists(&path)
            .map_err(LockfileError::from)?
            .ok_or_else(|| LockfileError::Missing(path.clone()))?;
        let digest = LockfileDigest::of(&bytes);
        let text = String::from_utf8(bytes).map_err(|_| LockfileError::NotText(path.clone()))?;
        let foreign = Foreign::read(&path, &text, from.anywhere).and_then(|foreign| {
            foreign.check_choices(&from.extras, &from.groups)?;
            Ok(foreign)
        });
        match foreign {
            Ok(foreign) => Ok(Read { path, digest, foreign }),
            Err(source) => Err(FromError::Foreign { path, source }),
        }
    }

    /// A lockfile of flambeau's own, from wherever: it names its targets and its channel.
    fn plan_ours(&self, read: Read) -> Result<Plan, FromError> {
        let lockfile = read.foreign.ours().map(|parsed| parsed.lockfile.clone());
        let lockfile = lockfile.ok_or_else(|| PlanError::NoTargets {
            path: read.path.clone(),
        })?;
        self.check_channel(&read, Some(&lockfile.channel))?;
        let (lockfile, warnings) = read.finish(lockfile);
        let interpreter = self.interpreter(&lockfile)?;
        self.plan_of(lockfile, interpreter, warnings)
    }

    /// The best interpreter that the file was made for; where none is, the best one, whose trouble can be told.
    fn interpreter_for(
        &self,
        read: &Read,
        from: &FromFile,
        tried: &BTreeSet<PythonMinor>,
    ) -> Result<Interpreter, FromError> {
        let fits = |interpreter: &Interpreter| {
            let mut targets = targets_of(interpreter)
                .into_iter()
                .filter(|target| !tried.contains(&target.python));
            targets.any(|target| {
                let pins = read.pins(from, &target, &interpreter.version);
                pins.is_ok_and(|pins| misfit(&pins, &target).is_none())
            })
        };
        let finder = self.finder();
        let found = finder
            .find(self.request(), &fits)
            .or_else(|_| finder.find(self.request(), &|_| true));
        Ok(found.map_err(PlanError::from)?)
    }

    /// The lockfile that the file describes for the first of `targets` that it has wheels for.
    fn reduce(
        &self,
        read: &Read,
        from: &FromFile,
        targets: &[Target],
        python: &Version,
        interpreter: Option<&Interpreter>,
    ) -> Result<Lockfile, FromError> {
        let mut unfit = None;
        for target in targets {
            let mut pins = read.pins(from, target, python)?;
            let channel = self.check_channel(read, channel_of(&pins).as_ref())?;
            let mut network = None;
            if pins.iter().any(|pin| matches!(pin.files, Files::Digests(_))) {
                let network = network.insert(self.network(&channel, interpreter)?);
                look_up(&read.path, &mut pins, network, &channel)?;
            }
            if let Some((pin, wheels)) = misfit(&pins, target) {
                unfit = Some(FromError::NoWheel {
                    path: read.path.clone(),
                    name: pin.name.clone(),
                    version: pin.version.clone(),
                    target: *target,
                    files: wheels.iter().map(|wheel| wheel.file.clone()).collect(),
                });
                continue;
            }
            let mut lockfile = lockfile_of(pins, &channel, target, python);
            lockfile.requires_python = read.foreign.requires_python().map_err(|source| read.error(source))?;
            let backend = self.backend_of((&read.path, &lockfile), target, network.as_ref(), interpreter)?;
            for locked in &mut lockfile.targets {
                locked.backend = backend;
                locked.python_pinned = self.pinned_python(target.python).is_some();
            }
            return Ok(lockfile);
        }
        // There is at least one target.
        Err(unfit.unwrap_or_else(|| {
            PlanError::NoTargets {
                path: read.path.clone(),
            }
            .into()
        }))
    }

    /// The channel: what `--channel` says, unless torch is of another one of PyTorch's; else torch's; else `pip`.
    fn check_channel(&self, read: &Read, found: Option<&Channel>) -> Result<Channel, FromError> {
        let flag = self.config.channel.as_ref();
        let flag = flag.filter(|channel| matches!(channel.origin, ConfigOrigin::Flag(_)));
        match (flag.map(|channel| &channel.value), found) {
            // A channel of one's own may hold anybody's torch, but a lockfile of flambeau's names its channel.
            (Some(wanted), Some(found))
                if wanted != found
                    && (read.foreign.ours().is_some() || wanted.backend().is_some() || wanted.is_pip()) =>
            {
                Err(FromError::OtherChannel {
                    path: read.path.clone(),
                    found: found.clone(),
                    wanted: wanted.clone(),
                })
            }
            (Some(wanted), _) => Ok(wanted.clone()),
            (None, found) => Ok(found.cloned().unwrap_or_else(Channel::pip)),
        }
    }

    /// The channel's backend, else what the torch wheel says of itself; without torch it is CPU.
    fn backend_of(
        &self,
        (path, lockfile): (&Path, &Lockfile),
        target: &Target,
        network: Option<&Network>,
        interpreter: Option<&Interpreter>,
    ) -> Result<Backend, FromError> {
        if let Some(backend) = self.config.channel_backend(&lockfile.channel) {
            return Ok(backend);
        }
        let selected = lockfile.select(target).map_err(|source| PlanError::Select {
            path: path.to_owned(),
            source,
        })?;
        let Some(torch) = selected
            .into_iter()
            .find(|selected| selected.package.name.as_str() == "torch")
        else {
            return Ok(Backend::Cpu);
        };
        let made;
        let network = if let Some(network) = network {
            network
        } else {
            made = self.network(&lockfile.channel, interpreter)?;
            &made
        };
        torch_backend::of_locked(network, &torch).map_err(FromError::Backend)
    }

    fn plan_of(
        &self,
        lockfile: ReadLockfile,
        interpreter: Interpreter,
        mut warnings: Vec<String>,
    ) -> Result<Plan, FromError> {
        let channel = lockfile.lockfile.channel.clone();
        let flagged = self.config.channel.as_ref();
        let explicit = flagged
            .filter(|channel| matches!(channel.origin, ConfigOrigin::Flag(_)))
            .map(|channel| channel.value.clone());
        // What the file pins was named, and no later command knows the file: `run` keeps to it.
        let held = Some(self.wants(&channel));
        let chosen = Chosen {
            channel,
            choice: Choice {
                explicit,
                configured: self.configured(),
                held,
            },
            cause: Cause::Flag,
            decision: None,
        };
        let mut plan = self.finish_plan(chosen, lockfile, interpreter)?;
        warnings.append(&mut plan.warnings);
        plan.warnings = warnings;
        Ok(plan)
    }
}
