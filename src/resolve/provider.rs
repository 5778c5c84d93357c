//! One target's view of the index, in the terms that `PubGrub` asks for.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use pubgrub::{Dependencies, DependencyConstraints, DependencyProvider, PackageResolutionStatistics, Ranges};

use super::candidates::{Candidates, Exclusion, Floor};
use super::demands::{Demand, Demands, DirectUrl, Node, Of, Rules, demands};
use super::memo::{Catalog, Memo};
use super::{Request, ResolveError, Wanted, versions};
use crate::index::{CoreMetadata, IndexFile};
use crate::pep::{
    MarkerEnvironment, PackageName, Requirement, Version, VersionOrUrl, VersionSpecifier, public_version,
};
use crate::policy::{PreReleases, Versions};

/// Conflicts after which a package is decided before others: deciding it late has cost enough.
const CONFLICTS: u32 = 8;

/// Versions to prefer, by package; earlier sets count more.
pub(super) type Preferred = BTreeMap<PackageName, Vec<BTreeSet<Version>>>;

/// The versions that an element of the solution may have, as written by whoever asked.
type Texts = HashMap<Node, Vec<(Ranges<Version>, String)>>;

pub(super) struct Provider<'a> {
    pub(super) memo: &'a Memo<'a>,
    pub(super) floor: Floor,
    pub(super) environment: MarkerEnvironment,
    request: &'a Request,
    preferred: Preferred,
    /// The wheels of packages that a requirement names by URL or path on this target.
    direct: BTreeMap<PackageName, Arc<Catalog>>,
    /// Packages of which a direct requirement names a pre-release.
    explicit: BTreeSet<PackageName>,
    /// Packages of which the lowest version is wanted.
    lowest: BTreeSet<PackageName>,
    candidates: RefCell<HashMap<PackageName, Option<Rc<Candidates>>>>,
    /// When each node was first heard of; decides ties, so that the answer does not depend on how a map is laid out.
    order: RefCell<HashMap<Node, usize>>,
    next: Cell<usize>,
    /// The version last chosen of each package, which its extras should have too.
    chosen: RefCell<HashMap<PackageName, Version>>,
    texts: RefCell<Texts>,
    /// Versions whose metadata cannot be understood, with why.
    pub(super) passed_over: RefCell<BTreeMap<(PackageName, Version), String>>,
}

impl<'a> Provider<'a> {
    pub(super) fn new(memo: &'a Memo<'a>, request: &'a Request, wanted: &Wanted, preferred: Preferred) -> Self {
        let environment = wanted.target.markers(&wanted.python_full_version);
        let names_pre_release = |requirement: &&Requirement| {
            requirement.evaluate_markers(&environment, &[])
                && matches!(&requirement.version_or_url, Some(VersionOrUrl::VersionSpecifier(specifiers))
                    if specifiers.iter().any(VersionSpecifier::any_prerelease))
        };
        let explicit = request
            .requirements
            .iter()
            .chain(&request.constraints)
            .filter(names_pre_release)
            .map(|requirement| requirement.name.clone())
            .collect();
        let direct = request
            .requirements
            .iter()
            .filter(|requirement| requirement.evaluate_markers(&environment, &[]))
            .map(|requirement| requirement.name.clone());
        let here = request.direct.iter().filter_map(|(name, wheels)| {
            let fits = wheels.iter().filter(|direct| direct.marker.evaluate(&environment, &[]));
            let files: Vec<IndexFile> = fits.map(|direct| direct.file.clone()).collect();
            (!files.is_empty()).then(|| (name.clone(), Arc::new(Catalog::of(name, files))))
        });
        let by_reference = here.collect();
        let lowest = match request.versions {
            Versions::Highest => BTreeSet::new(),
            Versions::LowestDirect => direct.collect(),
        };
        Self {
            memo,
            floor: Floor::new(wanted.target, &wanted.python_full_version),
            environment,
            request,
            preferred,
            direct: by_reference,
            explicit,
            lowest,
            candidates: RefCell::default(),
            order: RefCell::default(),
            next: Cell::new(0),
            chosen: RefCell::default(),
            texts: RefCell::default(),
            passed_over: RefCell::default(),
        }
    }

    /// The versions of `name` as this target sees them; none where the index does not know the project.
    pub(super) fn candidates(&self, name: &PackageName) -> Result<Option<Rc<Candidates>>, ResolveError> {
        if let Some(known) = self.candidates.borrow().get(name) {
            return Ok(known.clone());
        }
        let view = View::of(self);
        let catalog = match self.direct.get(name) {
            Some(catalog) => Some(Arc::clone(catalog)),
            None => self.memo.catalog(name)?,
        };
        let candidates = catalog.map(|catalog| Rc::new(view.candidates(name, catalog)));
        self.candidates.borrow_mut().insert(name.clone(), candidates.clone());
        Ok(candidates)
    }

    /// Where `name` is looked for, in words.
    pub(super) fn place(&self, name: &PackageName) -> String {
        let direct = self.request.direct.get(name).filter(|_| self.is_direct(name));
        match direct.and_then(|wheels| wheels.iter().find(|one| one.marker.evaluate(&self.environment, &[]))) {
            Some(direct) => format!("`{}`", direct.requirement),
            None => self.memo.place(name),
        }
    }

    /// Whether a requirement names the wheel of `name` by URL or path on this target.
    pub(super) fn is_direct(&self, name: &PackageName) -> bool {
        self.direct.contains_key(name)
    }

    /// The metadata of the wheel that this target installs of a version.
    pub(super) fn metadata(&self, name: &PackageName, version: &Version) -> Result<Arc<CoreMetadata>, ResolveError> {
        let candidates = self.candidates(name)?;
        let wheel = candidates.as_ref().and_then(|found| found.wheels(version).next());
        match wheel {
            Some(wheel) => self.memo.metadata(wheel),
            None => Err(ResolveError::Metadata {
                file: format!("{name} {version}"),
                source: "no wheel of this version was chosen".into(),
            }),
        }
    }

    /// What `node` at `version` demands, unless that version is unusable.
    pub(super) fn demands(&self, node: &Node, version: &Version) -> Result<Result<Demands, Exclusion>, ResolveError> {
        let rules = Rules {
            constraints: &self.request.constraints,
            overrides: &self.request.overrides,
            direct: &self.request.direct,
        };
        let (name, of) = match node {
            Node::Root => {
                let all = demands(&self.request.requirements, rules, &self.environment, Of::Root);
                return all
                    .map(Ok)
                    .map_err(|DirectUrl(requirement)| ResolveError::DirectUrl { requirement });
            }
            Node::Package(name) => (name, Of::Package(name, version)),
            Node::Extra(name, extra) => (name, Of::Extra(name, version, extra)),
        };
        let metadata = match self.metadata(name, version) {
            Ok(metadata) => metadata,
            Err(error) => return self.unreadable(name, version, error).map(Err),
        };
        if let Some(exclusion) = self.unusable(node, version, &metadata) {
            return Ok(Err(exclusion));
        }
        let found = demands(&metadata.requires_dist, rules, &self.environment, of);
        Ok(found.map_err(|DirectUrl(requirement)| Exclusion::DirectUrl(requirement)))
    }

    /// Metadata that cannot be understood excludes its version, as if it had no wheel; a source that fails does not.
    fn unreadable(
        &self,
        name: &PackageName,
        version: &Version,
        error: ResolveError,
    ) -> Result<Exclusion, ResolveError> {
        let ResolveError::Metadata { source, .. } = &error else {
            return Err(error);
        };
        let Some(why) = self.memo.is_unsound(source) else {
            return Err(error);
        };
        self.passed_over
            .borrow_mut()
            .insert((name.clone(), version.clone()), why.clone());
        Ok(Exclusion::BadMetadata(why))
    }

    fn unusable(&self, node: &Node, version: &Version, metadata: &CoreMetadata) -> Option<Exclusion> {
        // A wheel with a local label may have metadata without.
        let same_version = metadata.version == *version || metadata.version == public_version(version);
        if node.name() != Some(&metadata.name) || !same_version {
            return Some(Exclusion::OtherMetadata(format!(
                "{} {}",
                metadata.name, metadata.version
            )));
        }
        let python = metadata.requires_python.as_ref()?;
        (!python.contains(&self.floor.python)).then(|| Exclusion::RequiresPython(python.clone()))
    }

    /// The words in which someone asked for `set` of `node`.
    pub(super) fn text(&self, node: &Node, set: &Ranges<Version>) -> Option<String> {
        let texts = self.texts.borrow();
        let known = texts.get(node)?;
        known
            .iter()
            .find(|(asked, _)| asked == set)
            .map(|(_, text)| text.clone())
    }

    /// Remembers when and in which words each demand was first heard of, and asks early for what it needs.
    fn heard(&self, demands: &Demands) {
        let (mut order, mut texts) = (self.order.borrow_mut(), self.texts.borrow_mut());
        for (node, demand) in demands {
            order
                .entry(node.clone())
                .or_insert_with(|| self.next.replace(self.next.get() + 1));
            let known = texts.entry(node.clone()).or_default();
            if known.iter().all(|(set, _)| *set != demand.set) {
                known.push((demand.set.clone(), demand.text.clone()));
            }
        }
        drop((order, texts));
        let unseen: BTreeMap<&PackageName, &Demand> = demands
            .iter()
            .filter_map(|(node, demand)| Some((node.name()?, demand)))
            .filter(|(name, _)| !self.is_direct(name) && !self.candidates.borrow().contains_key(*name))
            .collect();
        let view = View::of(self);
        self.memo.prefetch(unseen.keys().copied(), |name, catalog| {
            view.likely(name, catalog, unseen[name])
        });
    }
}

/// The part of a [`Provider`] that several threads may look at.
struct View<'a> {
    floor: &'a Floor,
    request: &'a Request,
    preferred: &'a Preferred,
    direct: &'a BTreeMap<PackageName, Arc<Catalog>>,
    explicit: &'a BTreeSet<PackageName>,
    lowest: &'a BTreeSet<PackageName>,
}

impl<'a> View<'a> {
    fn of(provider: &'a Provider<'_>) -> Self {
        Self {
            floor: &provider.floor,
            request: provider.request,
            preferred: &provider.preferred,
            direct: &provider.direct,
            explicit: &provider.explicit,
            lowest: &provider.lowest,
        }
    }

    fn candidates(&self, name: &PackageName, catalog: Arc<Catalog>) -> Candidates {
        let pre_releases = match self.request.pre_releases {
            // Whoever names a file means that file.
            _ if self.direct.contains_key(name) => true,
            PreReleases::Allow => true,
            PreReleases::Refuse => false,
            PreReleases::IfNecessaryOrExplicit => !catalog.has_stable || self.explicit.contains(name),
        };
        Candidates::new(catalog, self.floor, pre_releases, self.lowest.contains(name))
    }

    fn preferred(&self, name: &PackageName) -> &'a [BTreeSet<Version>] {
        self.preferred.get(name).map_or(&[], Vec::as_slice)
    }

    /// The wheel whose metadata will be asked for next, if nothing else narrows the choice.
    fn likely(&self, name: &PackageName, catalog: &Arc<Catalog>, demand: &Demand) -> Vec<IndexFile> {
        let candidates = self.candidates(name, Arc::clone(catalog));
        let version = candidates.choose(&demand.set, self.preferred(name));
        version
            .and_then(|version| candidates.wheels(version).next().cloned())
            .into_iter()
            .collect()
    }
}

impl DependencyProvider for Provider<'_> {
    type P = Node;
    type V = Version;
    type VS = Ranges<Version>;
    type Priority = (bool, bool, bool, Reverse<usize>);
    type M = Exclusion;
    type Err = ResolveError;

    /// The requirements first, then what has caused many conflicts, then what is pinned, then in order of discovery.
    fn prioritize(
        &self,
        node: &Node,
        set: &Ranges<Version>,
        conflicts: &PackageResolutionStatistics,
    ) -> Self::Priority {
        let order = self.order.borrow().get(node).copied().unwrap_or(usize::MAX);
        (
            *node == Node::Root,
            conflicts.conflict_count() >= CONFLICTS,
            versions::is_pin(set),
            Reverse(order),
        )
    }

    fn choose_version(&self, node: &Node, set: &Ranges<Version>) -> Result<Option<Version>, ResolveError> {
        let Some(name) = node.name() else {
            return Ok(Some(root_version()));
        };
        let Some(candidates) = self.candidates(name)? else {
            return Ok(None);
        };
        let mut preferred = Vec::new();
        if matches!(node, Node::Extra(..)) {
            preferred.push(self.chosen.borrow().get(name).cloned().into_iter().collect());
        }
        preferred.extend_from_slice(View::of(self).preferred(name));
        let version = candidates.choose(set, &preferred).cloned();
        if let (Node::Package(name), Some(version)) = (node, &version) {
            self.chosen.borrow_mut().insert(name.clone(), version.clone());
        }
        Ok(version)
    }

    fn get_dependencies(
        &self,
        node: &Node,
        version: &Version,
    ) -> Result<Dependencies<Node, Ranges<Version>, Exclusion>, ResolveError> {
        Ok(match self.demands(node, version)? {
            Err(exclusion) => Dependencies::Unavailable(exclusion),
            Ok(demands) => {
                self.heard(&demands);
                let sets = demands.into_iter().map(|(node, demand)| (node, demand.set));
                Dependencies::Available(sets.collect::<DependencyConstraints<_, _>>())
            }
        })
    }
}

/// The version that stands for the requirements themselves.
pub(super) fn root_version() -> Version {
    Version::new([0])
}
