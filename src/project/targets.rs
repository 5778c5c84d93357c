//! Which targets a lockfile is for: those that are named, those of the existing file, else the default ones for which
//! the channel has the PyTorch packages that are asked for. `requires-python` leaves Pythons out of all of them.
//! Refuses: a Python that somebody names and `requires-python` excludes.

use std::collections::{BTreeMap, BTreeSet};

use super::direct::Directs;
use super::network::Network;
use super::relock::{LockRequest, RelockError};
use super::{Project, full_versions};
use crate::backend::{Channel, is_family};
use crate::index::IndexFile;
use crate::lockfile::Lockfile;
use crate::pep::{MarkerTree, Requirement, Version, VersionOrUrl, VersionSpecifiers, public_version};
use crate::python::{Interpreter, Request, is_same};
use crate::resolve::{Resolution, ResolveError};
use crate::target::{Machine, Platform, PythonMinor, Target};

/// The CPython minor versions that a project locks for where it names none.
const PYTHONS: [u8; 5] = [9, 10, 11, 12, 13];

/// The platforms that a project locks for where it names none: the floors of PyTorch's own wheels.
const PLATFORMS: [Platform; 4] = [
    Platform::LINUX_X86_64,
    Platform::Manylinux(2, 28, Machine::Aarch64),
    Platform::MacOs(14, 0, Machine::Aarch64),
    Platform::Windows(Machine::X86_64),
];

/// What is asked for, and who can tell what there is of it.
pub(super) struct Asked<'a> {
    pub(super) requirements: &'a [Requirement],
    pub(super) network: &'a Network,
    pub(super) directs: &'a Directs,
}

/// The targets to try.
#[derive(Debug)]
pub(super) struct Candidates {
    pub(super) targets: Vec<Target>,
    /// Whether one without an answer is left out rather than an error.
    pub(super) optional: bool,
    /// Named Pythons and platforms: each keeps at least one target.
    pythons: Vec<PythonMinor>,
    platforms: Vec<Platform>,
}

/// The targets that were left out, and what to say about them.
#[derive(Debug)]
pub(super) struct LeftOut {
    pub(super) targets: BTreeSet<Target>,
    pub(super) warnings: Vec<String>,
}

impl Candidates {
    /// Accepts that targets were left out, unless somebody named them.
    pub(super) fn judge(
        &self,
        resolved: &[Resolution],
        left_out: Vec<(Target, ResolveError)>,
    ) -> Result<LeftOut, ResolveError> {
        let kept = |fits: &dyn Fn(&Target) -> bool| resolved.iter().any(|resolution| fits(&resolution.target));
        let lost = left_out.iter().position(|(target, _)| {
            let (python, platform) = (target.python, target.platform);
            self.pythons.contains(&python) && !kept(&|target| target.python == python)
                || self.platforms.contains(&platform) && !kept(&|target| target.platform == platform)
        });
        let mut left_out = left_out;
        if let Some(position) = lost {
            return Err(left_out.swap_remove(position).1);
        }
        let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (target, error) in &left_out {
            // Most of them have the same reason.
            let reason = error.to_string().replace(&target.to_string(), "this target");
            reasons.entry(reason).or_default().push(target.to_string());
        }
        let warning = |(reason, targets): (String, Vec<String>)| format!("left out {}: {reason}", targets.join(", "));
        Ok(LeftOut {
            targets: left_out.iter().map(|(target, _)| *target).collect(),
            warnings: reasons.into_iter().map(warning).collect(),
        })
    }
}

impl Project<'_> {
    /// The Pythons and platforms that flags or the project name.
    fn named_targets(&self, request: &LockRequest) -> (Vec<PythonMinor>, Vec<Platform>) {
        let (mut pythons, mut platforms) = (request.pythons.clone(), request.platforms.clone());
        if pythons.is_empty() {
            pythons.clone_from(&self.config.python_versions);
        }
        if platforms.is_empty() {
            platforms.clone_from(&self.config.platforms);
        }
        (pythons, platforms)
    }

    /// Every target that a lock may be for, before anybody asks what an index has for it.
    pub(super) fn possible_targets(
        &self,
        request: &LockRequest,
        existing: Option<&Lockfile>,
    ) -> Result<Vec<Target>, RelockError> {
        let (pythons, platforms) = self.named_targets(request);
        self.check_pythons(&pythons)?;
        let kept = existing.map(|existing| self.kept(existing)).unwrap_or_default();
        if pythons.is_empty() && platforms.is_empty() && !kept.is_empty() {
            return Ok(kept.into_iter().collect());
        }
        self.products(&pythons, &platforms, (&kept, existing))
    }

    /// The targets to lock for.
    pub(super) fn candidates(
        &self,
        channel: &Channel,
        request: &LockRequest,
        existing: Option<&Lockfile>,
        asked: &Asked<'_>,
    ) -> Result<Candidates, RelockError> {
        let (pythons, platforms) = self.named_targets(request);
        let mut targets = self.possible_targets(request, existing)?;
        let default = pythons.is_empty() && platforms.is_empty();
        let kept = existing.map(|existing| self.kept(existing)).unwrap_or_default();
        if default
            && let Some(existing) = existing
            && !kept.is_empty()
        {
            return Ok(Candidates {
                targets,
                optional: existing.settings.optional_targets,
                pythons,
                platforms,
            });
        }
        let optional = pythons.is_empty() || platforms.is_empty();
        if optional {
            let all = targets.clone();
            let missing = available(&mut targets, asked)?;
            if let Some(wanted) = missing.filter(|_| targets.is_empty() && default) {
                return Err(no_target(wanted, channel, &all));
            }
            // The resolver says best what is wrong with a Python or platform that somebody named.
            let lost = |target: &&Target| {
                pythons.contains(&target.python) && targets.iter().all(|kept| kept.python != target.python)
                    || platforms.contains(&target.platform)
                        && targets.iter().all(|kept| kept.platform != target.platform)
            };
            let lost: Vec<Target> = all.iter().filter(lost).copied().collect();
            targets.extend(lost);
            targets.sort();
        }
        Ok(Candidates {
            targets,
            optional,
            pythons,
            platforms,
        })
    }

    /// Every Python × every platform; a list that is not named is the existing lockfile's, else the default one.
    fn products(
        &self,
        pythons: &[PythonMinor],
        platforms: &[Platform],
        (kept, existing): (&BTreeSet<Target>, Option<&Lockfile>),
    ) -> Result<Vec<Target>, RelockError> {
        let mut pythons = pythons.to_vec();
        if pythons.is_empty() {
            pythons = kept.iter().map(|target| target.python).collect();
        }
        if pythons.is_empty() {
            let required = self.config.requires_python.as_ref();
            pythons = default_pythons(required.map(|required| &required.specifiers));
            if let (true, Some(specifiers)) = (pythons.is_empty(), &self.config.requires_python) {
                return Err(RelockError::NoPython(specifiers.clone()));
            }
        }
        let mut platforms = platforms.to_vec();
        if platforms.is_empty() {
            let locked = existing.map(tried).unwrap_or_default();
            platforms = locked.iter().map(|target| target.platform).collect();
        }
        if platforms.is_empty() {
            platforms = PLATFORMS.to_vec();
        }
        let pairs = platforms.iter().flat_map(|platform| {
            pythons.iter().map(|python| Target {
                python: *python,
                platform: *platform,
            })
        });
        Ok(pairs.collect::<BTreeSet<Target>>().into_iter().collect())
    }

    /// The full version that markers are evaluated with: the pinned one, else one that the project allows, if any.
    pub(super) fn full_version(&self, python: PythonMinor, interpreter: Option<&Interpreter>) -> Option<Version> {
        let required = self.config.requires_python.as_ref();
        match self.pinned_python(python) {
            Some(pinned) => Some(pinned).filter(|pinned| required.is_none_or(|required| required.allows(pinned))),
            None => full_versions::allowed(python, required.map(|required| &required.specifiers), interpreter),
        }
    }

    /// Refuses Pythons that somebody names and the project excludes.
    fn check_pythons(&self, named: &[PythonMinor]) -> Result<(), RelockError> {
        let Some(required) = &self.config.requires_python else {
            return Ok(());
        };
        let excluded = named.iter().find(|python| self.full_version(**python, None).is_none());
        let pinned = match &self.config.project_python {
            Some(Request::Version { version, .. }) if version.release().len() >= 3 => Some(version),
            _ => None,
        };
        let pinned = pinned
            .filter(|pinned| !required.allows(pinned))
            .map(ToString::to_string);
        match excluded.map(ToString::to_string).or(pinned) {
            None => Ok(()),
            Some(python) => Err(RelockError::Excluded {
                python,
                required: required.clone(),
            }),
        }
    }

    /// The targets of a lockfile that are tried again: those that the project allows. None where its Pythons are just
    /// the default ones that another `requires-python` allowed: then the default ones of today's count.
    fn kept(&self, existing: &Lockfile) -> BTreeSet<Target> {
        let tried = tried(existing);
        let required = self
            .config
            .requires_python
            .as_ref()
            .map(|required| required.specifiers.clone());
        let (before, now) = (existing.requires_python.as_ref(), required.or(existing.oldest_python()));
        let lost = existing.lost_requires_python(
            self.config
                .requires_python
                .as_ref()
                .map(|required| &required.specifiers),
        );
        let other = before
            .zip(now.as_ref())
            .is_some_and(|(before, now)| !is_same(before, now));
        let changed = lost || other;
        let pythons: BTreeSet<PythonMinor> = tried.iter().map(|target| target.python).collect();
        if changed && pythons.into_iter().eq(default_pythons(before)) {
            return BTreeSet::new();
        }
        let allowed = |target: &Target| self.full_version(target.python, None).is_some();
        tried.into_iter().filter(allowed).collect()
    }
}

/// The Pythons to lock for where nobody names any.
fn default_pythons(required: Option<&VersionSpecifiers>) -> Vec<PythonMinor> {
    let pythons = PYTHONS.map(PythonMinor::new).into_iter();
    pythons
        .filter(|python| full_versions::allowed(*python, required, None).is_some())
        .collect()
}

/// The targets of a lockfile, and those that were tried and left out: what did not fit once may fit now.
fn tried(existing: &Lockfile) -> BTreeSet<Target> {
    let locked = existing.targets.iter().map(|locked| locked.target);
    locked.chain(existing.settings.left_out.iter().copied()).collect()
}

fn no_target(wanted: &Requirement, channel: &Channel, all: &[Target]) -> RelockError {
    let texts = |texts: BTreeSet<String>| texts.into_iter().collect::<Vec<_>>().join(", ");
    let pythons: BTreeSet<PythonMinor> = all.iter().map(|target| target.python).collect();
    let pythons: Vec<String> = pythons.iter().map(ToString::to_string).collect();
    let platforms = texts(all.iter().map(|target| target.platform.to_string()).collect());
    RelockError::NoTarget {
        name: wanted.name.clone(),
        specifiers: wanted
            .version_or_url
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        channel: channel.clone(),
        targets: format!("CPython {} on {platforms}", pythons.join(", ")),
    }
}

/// Keeps the targets for which the family packages that are asked for have a wheel. Returns the requirement that left
/// none, if one did.
fn available<'r>(targets: &mut Vec<Target>, asked: &Asked<'r>) -> Result<Option<&'r Requirement>, RelockError> {
    for wanted in asked.requirements.iter().filter(|wanted| is_family(&wanted.name)) {
        if let Some(direct) = asked.directs.wheels.get(&wanted.name) {
            // A marker may leave the name to the index on other targets.
            if direct.iter().all(|direct| direct.marker == MarkerTree::TRUE) {
                targets.retain(|target| {
                    let tags = target.tags();
                    direct.iter().any(|direct| direct.file.filename.is_compatible(&tags))
                });
            }
            if targets.is_empty() {
                return Ok(Some(wanted));
            }
            continue;
        }
        let page = asked
            .network
            .sources
            .page(&wanted.name)
            .map_err(|source| RelockError::Index {
                name: wanted.name.clone(),
                source: Box::new(source),
            })?;
        let fits = |version: &Version| match &wanted.version_or_url {
            Some(VersionOrUrl::VersionSpecifier(specifiers)) => {
                specifiers.contains(version) || specifiers.contains(&public_version(version))
            }
            _ => true,
        };
        // A project or a version that the index does not know is the resolver's to explain.
        let Some(page) = page else { return Ok(None) };
        let files: Vec<&IndexFile> = page.wheels.iter().filter(|file| fits(&file.filename.version)).collect();
        if files.is_empty() {
            return Ok(None);
        }
        targets.retain(|target| {
            let tags = target.tags();
            files.iter().any(|file| file.filename.is_compatible(&tags))
        });
        if targets.is_empty() {
            return Ok(Some(wanted));
        }
    }
    Ok(None)
}
