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
use std::path::PathBuf;

use super::Project;
use super::choice::Chosen;
use super::lockfiles::{LockfileError, ReadLockfile};
use super::network::{Network, NetworkError};
use super::plan::{Plan, PlanError};
use super::relock::full_version;
use super::torch_backend;
use crate::backend::{Backend, Channel, PYTORCH_INDEX, is_family};
use crate::config::Origin as ConfigOrigin;
use crate::digest::{LockfileDigest, WheelDigest};
use crate::fsx;
use crate::lockfile::foreign::{Asked, Files, Foreign, ForeignError, Pinned};
use crate::lockfile::{LockedPackage, LockedTarget, LockedWheel, Lockfile, Origin, Settings};
use crate::pep::{ExtraName, GroupName, MarkerTree, PackageName, Version, WheelFilename};
use crate::profile::{Cause, Choice};
use crate::python::Interpreter;
use crate::resolve::BoxError;
use crate::target::{Platform, PythonMinor, Target};

/// How many file names a message lists.
const SHOWN: usize = 4;

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

/// Why nothing can be installed from a file.
#[derive(Debug, thiserror::Error)]
pub enum FromError {
    /// It cannot be read.
    #[error(transparent)]
    Lockfile(#[from] LockfileError),
    /// It cannot be used.
    #[error("cannot install from {}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ForeignError,
    },
    /// Planning.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A package has no wheel for the target.
    #[error(
        "{} pins {name} {version}, which has no wheel for {target}, only: {}",
        path.display(), shown(files)
    )]
    NoWheel {
        /// The file.
        path: PathBuf,
        /// The package.
        name: PackageName,
        /// Its version.
        version: Version,
        /// The target.
        target: Target,
        /// The wheels there are.
        files: Vec<String>,
    },
    /// An index did not answer.
    #[error("cannot ask for {name}")]
    Index {
        /// The package.
        name: PackageName,
        /// Why.
        #[source]
        source: Box<crate::index::Error>,
    },
    /// The index has no wheel with one of the digests.
    #[error("{place} has no wheel of {name} {version} with one of the {digests} digests that {} pins", path.display())]
    Unlisted {
        /// The file.
        path: PathBuf,
        /// The package.
        name: PackageName,
        /// Its version.
        version: Version,
        /// How many digests there are.
        digests: usize,
        /// Where was looked.
        place: String,
    },
    /// The file's torch is of another channel than the one asked for.
    #[error("{} pins torch of the channel {found}, and {wanted} is asked for", path.display())]
    OtherChannel {
        /// The file.
        path: PathBuf,
        /// The channel of its torch.
        found: Channel,
        /// The wanted one.
        wanted: Channel,
    },
    /// The torch wheel does not tell its backend.
    #[error("could not find out the backend of torch")]
    Backend(#[source] BoxError),
}

fn shown(files: &[String]) -> String {
    let mut text = files.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if files.len() > SHOWN {
        text = format!("{text} and {} more", files.len() - SHOWN);
    }
    text
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
            path: self.path,
            digest: self.digest,
            lockfile,
            warnings: Vec::new(),
        };
        (read, self.foreign.warnings)
    }
}

/// The floors that an interpreter's environment may be built for, the preferred one first.
fn targets_of(interpreter: &Interpreter) -> Vec<Target> {
    let own = interpreter.target();
    let common = match own.platform {
        Platform::Manylinux(major, minor, machine) if (major, minor) > (2, 28) => Platform::Manylinux(2, 28, machine),
        Platform::Musllinux(major, minor, machine) if (major, minor) > (1, 2) => Platform::Musllinux(1, 2, machine),
        other => other,
    };
    let mut targets = vec![Target {
        platform: common,
        ..own
    }];
    if common != own.platform {
        targets.push(own);
    }
    targets
}

/// The first package whose wheels are known and do not fit `target`.
fn misfit<'a>(pins: &'a [Pinned], target: &Target) -> Option<(&'a Pinned, &'a [LockedWheel])> {
    let tags = target.tags();
    pins.iter().find_map(|pin| match &pin.files {
        Files::Wheels(wheels) if !wheels.iter().any(|wheel| wheel.filename.is_compatible(&tags)) => {
            Some((pin, wheels.as_slice()))
        }
        _ => None,
    })
}

/// The channel that a torch comes from: its version's local label (`2.7.0+cu118`), else the place of its wheels.
fn channel_of(pins: &[Pinned]) -> Option<Channel> {
    let torch = pins.iter().find(|pin| pin.name.as_str() == "torch")?;
    let label = torch.version.to_string();
    if let Some((_, label)) = label.split_once('+') {
        return known_label(label);
    }
    let Files::Wheels(wheels) = &torch.files else {
        return None;
    };
    wheels.iter().find_map(|wheel| match &wheel.origin {
        Origin::Url(url) => {
            let rest = url.as_str().strip_prefix(PYTORCH_INDEX)?.strip_prefix('/')?;
            known_label(rest.split_once('/')?.0)
        }
        _ => None,
    })
}

/// `cu118`, `rocm6.3`, `cpu`, `xpu`: a label that one of PyTorch's channels has. Other labels are other people's.
fn known_label(label: &str) -> Option<Channel> {
    let channel: Channel = label.parse().ok()?;
    let numbers = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let known = match label {
        "cpu" | "xpu" => true,
        label => label
            .strip_prefix("cu")
            .or_else(|| label.strip_prefix("rocm"))
            .is_some_and(|rest| !rest.is_empty() && numbers(rest)),
    };
    known.then_some(channel)
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
        let (lockfile, interpreter) = loop {
            let interpreter = self.interpreter_for(&read, from, &tried)?;
            let targets = targets_of(&interpreter);
            match self.reduce(&read, from, &targets, &interpreter.version, Some(&interpreter)) {
                Err(error @ FromError::NoWheel { .. }) => {
                    let again = tried.insert(interpreter.python)
                        && self
                            .interpreter_for(&read, from, &tried)
                            .is_ok_and(|next| !tried.contains(&next.python));
                    if !again {
                        return Err(error);
                    }
                }
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
        let python = self
            .pinned_python(target.python)
            .unwrap_or_else(|| full_version(target.python, None));
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
        match Foreign::read(&path, &text, from.anywhere) {
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
                look_up(read, &mut pins, network, &channel)?;
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
            let backend = self.backend_of(&lockfile, target, network.as_ref(), interpreter)?;
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
            (Some(wanted), Some(found)) if wanted != found && (wanted.backend().is_some() || wanted.is_pip()) => {
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
        lockfile: &Lockfile,
        target: &Target,
        network: Option<&Network>,
        interpreter: Option<&Interpreter>,
    ) -> Result<Backend, FromError> {
        if let Some(backend) = self.config.channel_backend(&lockfile.channel) {
            return Ok(backend);
        }
        let selected = lockfile.select(target).map_err(|source| PlanError::Select {
            path: PathBuf::new(),
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
        let chosen = Chosen {
            channel,
            choice: Choice {
                explicit,
                configured: self.configured(),
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

/// Finds the wheels of packages that are pinned by digest alone: on the one index that their name comes from, and,
/// where that cannot be asked, in the cache.
fn look_up(read: &Read, pins: &mut [Pinned], network: &Network, channel: &Channel) -> Result<(), FromError> {
    for pin in pins {
        let Files::Digests(digests) = &pin.files else { continue };
        let mut wheels: Vec<LockedWheel> = Vec::new();
        let page = network.sources.page(&pin.name);
        for file in page.iter().flatten().flat_map(|page| &page.wheels) {
            let Some(digest) = file.digest.filter(|digest| digests.contains(digest)) else {
                continue;
            };
            if file.filename.version != pin.version || wheels.iter().any(|known| known.file == file.file) {
                continue;
            }
            wheels.push(LockedWheel {
                filename: file.filename.clone(),
                file: file.file.clone(),
                origin: if is_family(&pin.name) && !channel.is_pip() {
                    Origin::Url(network.sources.canonical_url(&file.url))
                } else {
                    Origin::Index
                },
                size: file.size,
                digest,
            });
        }
        if wheels.is_empty() {
            wheels = in_cache(pin, digests, network);
        }
        match (wheels.is_empty(), page) {
            (false, _) => {}
            (true, Err(source)) => {
                return Err(FromError::Index {
                    name: pin.name.clone(),
                    source: Box::new(source),
                });
            }
            (true, Ok(_)) => {
                let place = network.sources.place(&pin.name);
                return Err(FromError::Unlisted {
                    path: read.path.clone(),
                    name: pin.name.clone(),
                    version: pin.version.clone(),
                    digests: digests.len(),
                    place: place.map_or_else(|_| "the package index".to_owned(), |place| place.to_string()),
                });
            }
        }
        wheels.sort_by(|left, right| left.file.cmp(&right.file));
        pin.files = Files::Wheels(wheels);
    }
    Ok(())
}

/// The wheels of a package that stand in the cache under one of the digests.
fn in_cache(pin: &Pinned, digests: &[WheelDigest], network: &Network) -> Vec<LockedWheel> {
    let cached = |digest: &WheelDigest| {
        let file = network.cache.wheel_name(digest)?;
        let filename: WheelFilename = file.parse().ok()?;
        (filename.name == pin.name && filename.version == pin.version).then_some(LockedWheel {
            filename,
            file,
            origin: Origin::Index,
            size: None,
            digest: *digest,
        })
    };
    digests.iter().filter_map(cached).collect()
}

/// A lockfile with one target, whose backend is not known yet.
fn lockfile_of(pins: Vec<Pinned>, channel: &Channel, target: &Target, python: &Version) -> Lockfile {
    let mut packages: Vec<LockedPackage> = pins
        .into_iter()
        .map(|pin| LockedPackage {
            name: pin.name,
            version: pin.version,
            marker: MarkerTree::TRUE,
            requires_python: None,
            dependencies: Vec::new(),
            wheels: match pin.files {
                Files::Wheels(wheels) => wheels,
                Files::Digests(_) => Vec::new(),
            },
        })
        .collect();
    packages.sort_by(|left, right| (&left.name, &left.version).cmp(&(&right.name, &right.version)));
    Lockfile {
        head: String::new(),
        channel: channel.clone(),
        requirements: Vec::new(),
        targets: vec![LockedTarget {
            target: *target,
            python_full_version: python.clone(),
            python_boundaries: Vec::new(),
            backend: Backend::Cpu,
            python_pinned: false,
        }],
        packages,
        requires_python: None,
        settings: Settings::default(),
    }
}
