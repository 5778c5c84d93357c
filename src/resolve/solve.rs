//! The loop over targets: solve one, remember what it chose, go on.

use std::collections::{BTreeMap, BTreeSet};

use pubgrub::PubGrubError;

use super::boundaries;
use super::candidates::{self, Exclusion, Floor};
use super::demands::Node;
use super::memo::Memo;
use super::provider::{Preferred, Provider, root_version};
use super::{PackageSource, Request, Resolution, Resolutions, ResolveError, Resolved, Wanted, Warning, explain};
use crate::index::IndexFile;
use crate::pep::{ExtraName, PackageName, Version, VersionOrUrl};
use crate::policy::Versions;

/// The request with its rules in one order, whatever order they were given in: they are told in it.
fn in_order(request: &Request) -> Request {
    let mut request = request.clone();
    for rules in [&mut request.constraints, &mut request.overrides] {
        rules.sort_by_cached_key(ToString::to_string);
    }
    request
}

/// Resolves the requirements for every target.
///
/// The first target that has no answer fails the whole, unless it is optional: then it is left out, as long as some
/// target has an answer.
pub fn resolve(request: &Request, source: &dyn PackageSource) -> Result<Resolutions, ResolveError> {
    let request = &in_order(request);
    let targets = ordered(&request.targets)?;
    let named = request.requirements.iter().chain(&request.constraints);
    for requirement in named.chain(&request.overrides) {
        if let Some(VersionOrUrl::Url(_)) = requirement.version_or_url {
            return Err(ResolveError::DirectUrl {
                requirement: requirement.to_string(),
            });
        }
    }
    let memo = Memo::new(source, request.exclude_newer);
    // What the lockfile knows need not be discovered page by page.
    let known = request.preferences.closure(&request.requirements).into_iter();
    // An index need not hear of what it is not asked for.
    memo.prefetch(known.filter(|name| !request.direct.contains_key(*name)), |_, _| {
        Vec::new()
    });
    let mut chosen: BTreeMap<PackageName, BTreeSet<Version>> = BTreeMap::new();
    let mut resolutions: Vec<Resolution> = Vec::new();
    let mut left_out = Vec::new();
    for (position, wanted) in targets.iter().enumerate() {
        let provider = Provider::new(&memo, request, wanted, preferred(request, wanted, &chosen));
        let resolution = match solve(&provider, request, wanted) {
            Ok(resolution) => resolution,
            Err(error) if wanted.optional && error.is_verdict() => {
                left_out.push((wanted.target, error));
                continue;
            }
            Err(error) => return Err(error),
        };
        for package in &resolution.packages {
            chosen
                .entry(package.name.clone())
                .or_default()
                .insert(package.version.clone());
        }
        if resolutions.is_empty() {
            // The other targets will mostly take these versions, each with wheels of its own.
            let indexed = chosen.iter().filter(|(name, _)| !request.direct.contains_key(*name));
            memo.prefetch_metadata(&expected(&memo, &indexed, &targets[position + 1..])?);
        }
        resolutions.push(resolution);
    }
    if resolutions.is_empty() {
        // The target that was tried first stands for all of them.
        let first = left_out.into_iter().next();
        return Err(first.map_or(ResolveError::NoTargets, |(_, error)| error));
    }
    resolutions.sort_by_key(|resolution| resolution.target);
    left_out.sort_by_key(|(target, _)| *target);
    Ok(Resolutions {
        targets: resolutions,
        left_out,
    })
}

/// The targets, newest Python first.
fn ordered(targets: &[Wanted]) -> Result<Vec<Wanted>, ResolveError> {
    let mut ordered = targets.to_vec();
    ordered.sort_by(|left, right| {
        let newest_first = right.target.python.minor.cmp(&left.target.python.minor);
        newest_first
            .then_with(|| left.target.cmp(&right.target))
            .then_with(|| left.python_full_version.cmp(&right.python_full_version))
    });
    ordered.dedup();
    if let Some([first, second]) = ordered
        .array_windows()
        .find(|[first, second]| first.target == second.target)
    {
        return Err(ResolveError::TwoPythons {
            target: first.target,
            first: first.python_full_version.clone(),
            second: second.python_full_version.clone(),
        });
    }
    if ordered.is_empty() {
        return Err(ResolveError::NoTargets);
    }
    Ok(ordered)
}

/// What `wanted` should prefer: the lockfile's pins for it, what other targets chose, the lockfile's other pins.
fn preferred(request: &Request, wanted: &Wanted, chosen: &BTreeMap<PackageName, BTreeSet<Version>>) -> Preferred {
    let environment = wanted.target.markers(&wanted.python_full_version);
    let mut preferred = Preferred::new();
    let add_pins = |preferred: &mut Preferred, applies: bool| {
        for (name, pins) in &request.preferences.pins {
            let versions: BTreeSet<Version> = pins
                .iter()
                .filter(|(_, marker)| marker.evaluate(&environment, &[]) == applies)
                .map(|(version, _)| version.clone())
                .collect();
            preferred.entry(name.clone()).or_default().push(versions);
        }
    };
    add_pins(&mut preferred, true);
    // A lowest version is each target's own: what another one had to take says nothing about it.
    let own = |name: &PackageName| {
        request.versions == Versions::LowestDirect && request.requirements.iter().any(|direct| direct.name == *name)
    };
    for (name, versions) in chosen.iter().filter(|(name, _)| !own(name)) {
        preferred.entry(name.clone()).or_default().push(versions.clone());
    }
    add_pins(&mut preferred, false);
    preferred
}

/// The wheels of the `chosen` versions that `targets` would install.
fn expected<'c>(
    memo: &Memo<'_>,
    chosen: &(impl Iterator<Item = (&'c PackageName, &'c BTreeSet<Version>)> + Clone),
    targets: &[Wanted],
) -> Result<Vec<IndexFile>, ResolveError> {
    let mut files: BTreeMap<String, IndexFile> = BTreeMap::new();
    for wanted in targets {
        let floor = Floor::new(wanted.target, &wanted.python_full_version);
        for (name, versions) in chosen.clone() {
            let Some(catalog) = memo.catalog(name)? else { continue };
            for version in versions {
                if let Some(wheel) = candidates::first_wheel(&catalog, version, &floor) {
                    files.insert(wheel.url.to_string(), wheel.clone());
                }
            }
        }
    }
    Ok(files.into_values().collect())
}

fn solve(provider: &Provider<'_>, request: &Request, wanted: &Wanted) -> Result<Resolution, ResolveError> {
    let solution = match pubgrub::resolve(provider, Node::Root, root_version()) {
        Ok(solution) => solution,
        Err(PubGrubError::NoSolution(tree)) => return Err(explain::failure(provider, &tree)?),
        Err(
            PubGrubError::ErrorRetrievingDependencies { source, .. }
            | PubGrubError::ErrorChoosingVersion { source, .. }
            | PubGrubError::ErrorInShouldCancel(source),
        ) => return Err(source),
    };
    let mut pins: BTreeMap<PackageName, (Version, Vec<ExtraName>)> = BTreeMap::new();
    for (node, version) in solution {
        match node {
            Node::Root => {}
            // An extra has the version of its package.
            Node::Package(name) => drop(pins.entry(name).or_insert_with(|| (version, Vec::new()))),
            Node::Extra(name, extra) => pins.entry(name).or_insert_with(|| (version, Vec::new())).1.push(extra),
        }
    }
    let mut boundaries = BTreeSet::new();
    for requirement in request.requirements.iter().chain(&request.overrides) {
        boundaries::collect(&mut boundaries, requirement.marker, &[], &wanted.target);
    }
    let mut packages = Vec::new();
    let mut warnings = BTreeSet::new();
    for (name, (version, mut extras)) in pins {
        extras.sort();
        let package = resolved(provider, name, version, extras, &mut warnings)?;
        let metadata = provider.metadata(&package.name, &package.version)?;
        for requirement in &metadata.requires_dist {
            boundaries::collect(&mut boundaries, requirement.marker, &package.extras, &wanted.target);
        }
        if let Some(python) = &metadata.requires_python {
            boundaries::collect_python(&mut boundaries, python, &wanted.target);
        }
        packages.push(package);
    }
    warnings.extend(passed_over(provider, &packages));
    Ok(Resolution {
        target: wanted.target,
        python_full_version: wanted.python_full_version.clone(),
        python_boundaries: boundaries.into_iter().collect(),
        packages,
        warnings: warnings.into_iter().collect(),
    })
}

/// The versions newer than the chosen ones that were passed over because of their metadata.
fn passed_over(provider: &Provider<'_>, packages: &[Resolved]) -> Vec<Warning> {
    let passed_over = provider.passed_over.borrow();
    let newer = |(name, version): &(PackageName, Version)| {
        let chosen = packages.iter().find(|package| package.name == *name);
        chosen.is_some_and(|package| package.version < *version)
    };
    let said = passed_over.iter().filter(|(key, _)| newer(key));
    said.map(|((name, version), why)| Warning::PassedOver {
        name: name.clone(),
        version: version.clone(),
        why: Exclusion::BadMetadata(why.clone()).to_string(),
    })
    .collect()
}

fn resolved(
    provider: &Provider<'_>,
    name: PackageName,
    version: Version,
    extras: Vec<ExtraName>,
    warnings: &mut BTreeSet<Warning>,
) -> Result<Resolved, ResolveError> {
    let metadata = provider.metadata(&name, &version)?;
    let mut dependencies = BTreeSet::new();
    let nodes = std::iter::once(Node::Package(name.clone()))
        .chain(extras.iter().map(|extra| Node::Extra(name.clone(), extra.clone())));
    for node in nodes {
        if let Ok(demands) = provider.demands(&node, &version)? {
            dependencies.extend(demands.keys().filter_map(Node::name).cloned());
        }
    }
    dependencies.remove(&name);
    for extra in &extras {
        if !metadata.provides_extra.contains(extra) {
            warnings.insert(Warning::UnknownExtra {
                name: name.clone(),
                version: version.clone(),
                extra: extra.clone(),
            });
        }
    }
    let candidates = provider.candidates(&name)?;
    if let Some(reason) = candidates
        .as_ref()
        .and_then(|candidates| candidates.get(&version)?.yanked.clone())
    {
        warnings.insert(Warning::Yanked {
            name: name.clone(),
            version: version.clone(),
            reason,
        });
    }
    if !provider.is_direct(&name) && provider.memo.ignores_times(&name) {
        warnings.insert(Warning::NoReleaseTimes {
            name: name.clone(),
            place: provider.memo.place(&name),
        });
    }
    let wheels = candidates.map_or_else(Vec::new, |candidates| candidates.wheels(&version).cloned().collect());
    Ok(Resolved {
        name,
        version,
        extras,
        requires_python: metadata.requires_python.clone(),
        dependencies: dependencies.into_iter().collect(),
        wheels,
    })
}
