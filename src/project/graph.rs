//! Who needs whom: the dependency graph of a built environment, or of a lockfile.
//!
//! An environment tells it exactly: each package's own METADATA, its markers evaluated for the environment's target and
//! Python, extras followed from where they are asked for. A lockfile (PEP 751) has only names, of packages needed on some
//! target; those that this target installs are taken.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::Project;
use super::activate::ActivateError;
use super::changes::pins;
use super::lockfiles::ReadLockfile;
use super::plan::PlanError;
use crate::env::state::EnvironmentState;
use crate::fsx::{PathContext as _, PathError};
use crate::pep::{ExtraName, PackageName, Requirement, Version, WheelFilename};
use crate::target::Target;
use crate::wheel::metadata::{self, MetadataError};

/// Why there is no graph.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// What is active.
    #[error(transparent)]
    Activate(#[from] ActivateError),
    /// The lockfile.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A package's metadata.
    #[error("the metadata of {package} in {} cannot be used", path.display())]
    Metadata {
        /// The package.
        package: String,
        /// The environment.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: MetadataError,
    },
    /// The package is not there.
    #[error("{package} is not in {place}")]
    Absent {
        /// The package.
        package: String,
        /// The environment or lockfile.
        place: String,
    },
}

/// One dependency.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Need {
    /// The package that is needed.
    pub name: String,
    /// The requirement as its author wrote it, normalised; none where only the lockfile tells.
    pub requirement: Option<String>,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it needs here, sorted by name.
    pub requires: Vec<Need>,
}

/// The graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// What it is of, for people.
    pub place: String,
    /// What the project asks for, in its order; where nobody knows, what nobody needs.
    pub roots: Vec<Need>,
    /// Every package by name.
    pub packages: BTreeMap<String, Node>,
}

/// Why a package is there: one that needs it, and the way from the project to that one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Demand {
    /// The package that needs it.
    pub name: String,
    /// That package's version.
    pub version: String,
    /// The requirement, where it is known.
    pub requirement: Option<String>,
    /// Names from one that the project asks for to this one; a shortest way.
    pub path: Vec<String>,
}

impl Graph {
    /// Which packages need this one, sorted by name.
    #[must_use]
    pub fn demands(&self, name: &str) -> Vec<Demand> {
        let ways = self.ways();
        let needing = self.packages.values().flat_map(|node| {
            let needs = node.requires.iter().filter(|need| need.name == name);
            needs.map(move |need| (node, need))
        });
        needing
            .map(|(node, need)| Demand {
                name: node.name.clone(),
                version: node.version.clone(),
                requirement: need.requirement.clone(),
                path: ways.get(node.name.as_str()).cloned().unwrap_or_default(),
            })
            .collect()
    }

    /// A shortest way from a root to every package.
    fn ways(&self) -> BTreeMap<&str, Vec<String>> {
        let mut ways: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut reached: Vec<&str> = Vec::new();
        for root in &self.roots {
            if self.packages.contains_key(&root.name) && !ways.contains_key(root.name.as_str()) {
                ways.insert(&root.name, vec![root.name.clone()]);
                reached.push(&root.name);
            }
        }
        let mut at = 0;
        while let Some(name) = reached.get(at).copied() {
            at += 1;
            let way = ways.get(name).cloned().unwrap_or_default();
            for need in self.packages.get(name).into_iter().flat_map(|node| &node.requires) {
                if self.packages.contains_key(&need.name) && !ways.contains_key(need.name.as_str()) {
                    let mut further = way.clone();
                    further.push(need.name.clone());
                    ways.insert(&need.name, further);
                    reached.push(&need.name);
                }
            }
        }
        ways
    }

    /// Makes what nobody needs the roots, where nobody knows what was asked for.
    fn with_roots(mut self, roots: Vec<Need>) -> Self {
        self.roots = roots;
        if self.roots.is_empty() {
            let needed: BTreeSet<&str> = self
                .packages
                .values()
                .flat_map(|node| node.requires.iter().map(|need| need.name.as_str()))
                .collect();
            let free = self.packages.keys().filter(|name| !needed.contains(name.as_str()));
            self.roots = free
                .map(|name| Need {
                    name: name.clone(),
                    requirement: None,
                })
                .collect();
        }
        self
    }
}

impl Project<'_> {
    /// The graph of a built environment.
    pub fn graph_of_environment(&self, path: &Path, state: &EnvironmentState) -> Result<Graph, GraphError> {
        let requirements = self.requirements_of(state);
        let metadata = read_metadata(path, state)?;
        let full: Option<Version> = state.python_version.parse().ok();
        let markers = full.map(|full| state.target.markers(&full));
        let applies = |requirement: &Requirement, extras: &[ExtraName]| {
            let markers = markers.as_ref();
            markers.is_none_or(|markers| requirement.marker.evaluate(markers, extras))
        };
        let asked: Vec<&Requirement> = requirements.iter().filter(|asked| applies(asked, &[])).collect();
        // Extras that are asked for anywhere, until no more come to light.
        let mut extras: BTreeMap<PackageName, BTreeSet<ExtraName>> = BTreeMap::new();
        for asked in &asked {
            extras
                .entry(asked.name.clone())
                .or_default()
                .extend(asked.extras.iter().cloned());
        }
        let mut packages: BTreeMap<String, Node> = BTreeMap::new();
        loop {
            let before: usize = extras.values().map(BTreeSet::len).sum();
            for (name, core) in &metadata {
                let own: Vec<ExtraName> = extras.get(name).into_iter().flatten().cloned().collect();
                let mut needs = BTreeSet::new();
                for requirement in core.requires_dist.iter().filter(|one| applies(one, &own)) {
                    extras
                        .entry(requirement.name.clone())
                        .or_default()
                        .extend(requirement.extras.iter().cloned());
                    if requirement.name != *name {
                        needs.insert(need(requirement));
                    }
                }
                let node = Node {
                    name: name.to_string(),
                    version: core.version.to_string(),
                    requires: needs.into_iter().collect(),
                };
                packages.insert(node.name.clone(), node);
            }
            if extras.values().map(BTreeSet::len).sum::<usize>() == before {
                break;
            }
        }
        let graph = Graph {
            place: format!("the environment {}", path.display()),
            roots: Vec::new(),
            packages,
        };
        Ok(graph.with_roots(asked.into_iter().map(need).collect()))
    }

    /// What was asked for when an environment was locked; nothing where that lockfile is not at hand any more.
    fn requirements_of(&self, state: &EnvironmentState) -> Vec<Requirement> {
        let read = self.read_lockfile(&state.channel).ok().flatten();
        let texts = read
            .filter(|read| read.digest == state.lockfile_digest)
            .map(|read| read.lockfile.requirements);
        texts
            .into_iter()
            .flatten()
            .filter_map(|text| text.parse().ok())
            .collect()
    }
}

/// The graph of what one target installs from a lockfile.
pub fn graph_of_lockfile(read: &ReadLockfile, target: &Target) -> Result<Graph, GraphError> {
    let selected = read.lockfile.select(target).map_err(|source| PlanError::Select {
        path: read.path.clone(),
        source,
    })?;
    let names: BTreeSet<&PackageName> = selected.iter().map(|one| &one.package.name).collect();
    let bare = |name: &PackageName| Need {
        name: name.to_string(),
        requirement: None,
    };
    let packages = selected.iter().map(|one| {
        let needs = one.package.dependencies.iter().filter(|name| names.contains(name));
        let node = Node {
            name: one.package.name.to_string(),
            version: one.package.version.to_string(),
            requires: needs.map(bare).collect(),
        };
        (node.name.clone(), node)
    });
    let graph = Graph {
        place: format!("{} for {target}", read.path.display()),
        roots: Vec::new(),
        packages: packages.collect(),
    };
    let asked = read.lockfile.requirements.iter();
    let asked = asked.filter_map(|text| text.parse::<Requirement>().ok());
    let roots = asked
        .filter(|asked| names.contains(&asked.name))
        .map(|asked| need(&asked));
    let roots = roots.collect();
    Ok(graph.with_roots(roots))
}

fn need(requirement: &Requirement) -> Need {
    // The marker holds here, so it says nothing more.
    let mut plain = requirement.clone();
    plain.marker = crate::pep::MarkerTree::TRUE;
    Need {
        name: requirement.name.to_string(),
        requirement: Some(plain.to_string()),
    }
}

fn read_metadata(
    path: &Path,
    state: &EnvironmentState,
) -> Result<BTreeMap<PackageName, crate::index::CoreMetadata>, GraphError> {
    let wanted: BTreeSet<&str> = pins(state).map(|(name, _)| name).collect();
    let site = path
        .join("lib")
        .join(state.target.python.lib_folder())
        .join("site-packages");
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(&site).at("list", &site)? {
        let folder = entry.at("list", &site)?.path();
        let stem = folder
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".dist-info"));
        let Some(stem) = stem else { continue };
        // A wheel's name in which the folder's parts stand, so that its METADATA can be compared with them.
        let file = format!("{stem}-py3-none-any.whl");
        let Ok(filename) = file.parse::<WheelFilename>() else {
            continue;
        };
        if !wanted.contains(filename.name.as_ref()) {
            continue;
        }
        let document = folder.join("METADATA");
        let bytes = std::fs::read(&document).at("read", &document)?;
        let core = metadata::parse(&bytes, &file, &filename).map_err(|source| GraphError::Metadata {
            package: filename.name.to_string(),
            path: path.to_owned(),
            source,
        })?;
        found.insert(core.name.clone(), core);
    }
    Ok(found)
}
