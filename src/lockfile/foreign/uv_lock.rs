//! `uv.lock`: the wheels that one target of a uv project gets.
//!
//! uv's own file is no list of what to install but a graph: it is walked from the project (or from the requirements of
//! a script), over the dependencies whose markers hold. Extras and groups that conflict with each other are told apart
//! by markers with encoded names (`extra == 'extra-4-demo-cu118'`), which hold when that extra is asked for.
//! The project itself is not installed from it: that is what `[tool.flambeau] editable` is for. No dependency
//! group is installed unless it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::super::raw::RawWheel;
use super::super::read::{identify, optional, value};
use super::super::read_error::Place;
use super::{Asked, Files, ForeignError, Locals, Pinned, SourceForm, unknown};
use crate::document::DocumentError;
use crate::lockfile::text::ParseError;
use crate::pep::{ExtraName, MarkerEnvironment, MarkerTree, PackageName, Version, VersionSpecifiers};

/// The version of the format that is known; its revisions only add.
const VERSION: i64 = 1;

/// A `uv.lock`, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct UvLock {
    requires_python: Option<String>,
    #[serde(default)]
    supported_markers: Vec<String>,
    #[serde(default)]
    manifest: Manifest,
    #[serde(default, rename = "package")]
    packages: Vec<Package>,
}

#[derive(Debug, Default, Deserialize)]
struct Manifest {
    #[serde(default)]
    members: Vec<String>,
    /// What a script asks for.
    #[serde(default)]
    requirements: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Package {
    name: String,
    version: Option<String>,
    source: Source,
    #[serde(default)]
    dependencies: Vec<Dependency>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<Dependency>>,
    #[serde(default)]
    dev_dependencies: BTreeMap<String, Vec<Dependency>>,
    #[serde(default)]
    wheels: Vec<Wheel>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
struct Source {
    registry: Option<String>,
    url: Option<String>,
    path: Option<String>,
    git: Option<String>,
    directory: Option<String>,
    editable: Option<String>,
    #[serde(rename = "virtual")]
    virtual_: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    version: Option<String>,
    source: Option<Source>,
    marker: Option<String>,
    #[serde(default)]
    extra: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Wheel {
    url: Option<String>,
    path: Option<String>,
    filename: Option<String>,
    hash: Option<String>,
    size: Option<u64>,
}

impl Source {
    /// Where the code of a project is that belongs to the workspace.
    fn member(&self) -> Option<&str> {
        let folder = self.editable.as_deref().or(self.virtual_.as_deref());
        folder.or(self.directory.as_deref())
    }
}

/// A walk over the graph.
struct Walk<'a> {
    lock: &'a UvLock,
    environment: MarkerEnvironment,
    /// The encoded names of the extras and groups that were asked for.
    encoded: Vec<ExtraName>,
    /// Packages by their position, and the extras (none for the package itself) that were walked.
    seen: BTreeSet<(usize, Option<&'a str>)>,
    queue: Vec<(usize, Option<&'a str>)>,
}

impl UvLock {
    pub(super) fn read(text: &str, version: i64, warnings: &mut Vec<String>) -> Result<Self, ForeignError> {
        if version != VERSION {
            return Err(ForeignError::UvVersion(version));
        }
        let lock: Self = toml::from_str(text).map_err(|error| ForeignError::Toml(DocumentError::toml(text, &error)))?;
        let own = lock.roots().into_iter().map(|position| &lock.packages[position]);
        for root in own.filter(|root| root.source.virtual_.is_none()) {
            warnings.push(format!(
                "{} itself is not installed from this file; `[tool.flambeau] editable = [\"{}\"]` installs it in place",
                root.name,
                root.source.member().unwrap_or(".")
            ));
        }
        Ok(lock)
    }

    pub(super) fn requires_python(&self) -> Result<Option<VersionSpecifiers>, ForeignError> {
        let text = self.requires_python.as_deref();
        Ok(optional(text, || Place::Top, "requires-python")?)
    }

    /// The project in the file's own folder; where there is none, every member of the workspace.
    fn roots(&self) -> Vec<usize> {
        let positions = |wanted: &dyn Fn(&Package) -> bool| -> Vec<usize> {
            let found = self.packages.iter().enumerate().filter(|(_, package)| wanted(package));
            found.map(|(position, _)| position).collect()
        };
        let own = positions(&|package| package.source.member() == Some("."));
        if own.is_empty() {
            positions(&|package| self.manifest.members.contains(&package.name))
        } else {
            own
        }
    }

    pub(super) fn pins(&self, asked: &Asked<'_>, locals: &Locals) -> Result<Vec<Pinned>, ForeignError> {
        let environment = asked.target.markers(asked.python);
        self.check_environments(asked, &environment)?;
        let mut walk = Walk {
            lock: self,
            environment,
            encoded: Vec::new(),
            seen: BTreeSet::new(),
            queue: Vec::new(),
        };
        walk.start(asked)?;
        while let Some((position, extra)) = walk.queue.pop() {
            walk.visit(position, extra)?;
        }
        let found: BTreeSet<usize> = walk.seen.iter().map(|(position, _)| *position).collect();
        let roots = self.roots();
        let mut pins = Vec::new();
        for position in found.into_iter().filter(|position| !roots.contains(position)) {
            pins.extend(pinned(&self.packages[position], locals)?);
        }
        Ok(pins)
    }

    fn check_environments(&self, asked: &Asked<'_>, environment: &MarkerEnvironment) -> Result<(), ForeignError> {
        let markers = self
            .supported_markers
            .iter()
            .map(|marker| value::<MarkerTree>(marker, || Place::Top, "supported-markers"))
            .collect::<Result<Vec<_>, ParseError>>()?;
        if markers.is_empty() || markers.iter().any(|marker| marker.evaluate(environment, &[])) {
            return Ok(());
        }
        Err(ForeignError::Environment {
            target: *asked.target,
            python: asked.python.clone(),
            environments: self.supported_markers.clone(),
        })
    }
}

impl<'a> Walk<'a> {
    fn start(&mut self, asked: &Asked<'_>) -> Result<(), ForeignError> {
        let lock = self.lock;
        let roots = lock.roots();
        if roots.is_empty() && lock.manifest.requirements.is_empty() {
            return Err(ForeignError::NoRoot);
        }
        let of = |names: fn(&Package) -> Vec<String>| -> Vec<String> {
            let mut all: Vec<String> = roots.iter().flat_map(|root| names(&lock.packages[*root])).collect();
            all.sort();
            all.dedup();
            all
        };
        let extras = of(|package| package.optional_dependencies.keys().cloned().collect());
        let groups = of(|package| package.dev_dependencies.keys().cloned().collect());
        unknown((asked.extras, asked.groups), &extras, &groups)?;
        for root in &roots {
            let package = &lock.packages[*root];
            let (name, length) = (&package.name, package.name.len());
            let extras = asked
                .extras
                .iter()
                .map(|extra| format!("extra-{length}-{name}-{extra}"));
            let groups = asked
                .groups
                .iter()
                .map(|group| format!("group-{length}-{name}-{group}"));
            let encoded = extras.chain(groups).chain([format!("project-{length}-{name}")]);
            self.encoded.extend(encoded.filter_map(|name| name.parse().ok()));
        }
        for root in &roots {
            let package = &lock.packages[*root];
            self.enter(*root, None);
            for extra in package.optional_dependencies.keys() {
                if asked.extras.iter().any(|asked| asked.as_str() == extra) {
                    self.enter(*root, Some(extra));
                }
            }
            for (group, dependencies) in &package.dev_dependencies {
                if asked.groups.iter().any(|asked| asked.as_str() == group) {
                    self.follow(dependencies, &package.name)?;
                }
            }
        }
        self.follow(&lock.manifest.requirements, "the script")
    }

    fn enter(&mut self, position: usize, extra: Option<&'a str>) {
        if self.seen.insert((position, extra)) {
            self.queue.push((position, extra));
        }
    }

    fn visit(&mut self, position: usize, extra: Option<&'a str>) -> Result<(), ForeignError> {
        let package = &self.lock.packages[position];
        let dependencies = match extra {
            None => Some(&package.dependencies),
            Some(extra) => package.optional_dependencies.get(extra),
        };
        // An extra that a package does not have asks for nothing.
        self.follow(dependencies.map_or(&[], Vec::as_slice), &package.name)
    }

    fn follow(&mut self, dependencies: &'a [Dependency], wanted_by: &str) -> Result<(), ForeignError> {
        for dependency in dependencies {
            let place = || Place::Package(wanted_by.to_owned());
            let marker: Option<MarkerTree> = optional(dependency.marker.as_deref(), place, "marker")?;
            if marker.is_some_and(|marker| !marker.evaluate(&self.environment, &self.encoded)) {
                continue;
            }
            let is_meant = |package: &Package| {
                package.name == dependency.name
                    && (dependency.version.is_none() || package.version == dependency.version)
                    && dependency
                        .source
                        .as_ref()
                        .is_none_or(|source| *source == package.source)
            };
            let lock = self.lock;
            let Some(position) = lock.packages.iter().position(is_meant) else {
                return Err(ForeignError::Dangling {
                    name: dependency.name.clone(),
                    version: dependency.version.clone(),
                    wanted_by: wanted_by.to_owned(),
                });
            };
            self.enter(position, None);
            for extra in &dependency.extra {
                self.enter(position, Some(extra));
            }
        }
        Ok(())
    }
}

/// What is installed of a package; nothing of a virtual one.
fn pinned(package: &Package, locals: &Locals) -> Result<Option<Pinned>, ForeignError> {
    if package.source.virtual_.is_some() {
        return Ok(None);
    }
    if package.wheels.is_empty() {
        return Err(ForeignError::NotWheels {
            name: package.name.clone(),
            version: package.version.clone(),
            source_form: form(&package.source),
        });
    }
    let place = || Place::Package(package.name.clone());
    let name: PackageName = value(&package.name, place, "name")?;
    let stated: Option<Version> = optional(package.version.as_deref(), place, "version")?;
    let mut version = stated;
    let mut wheels = Vec::with_capacity(package.wheels.len());
    for (position, wheel) in package.wheels.iter().enumerate() {
        let hash = wheel.hash.as_deref().and_then(|hash| hash.split_once(':'));
        let raw = RawWheel {
            name: wheel.filename.clone(),
            // A package with a direct URL or path of its own names only the file.
            url: wheel.url.clone().or_else(|| package.source.url.clone()),
            path: wheel.path.clone().or_else(|| package.source.path.clone()),
            size: wheel.size,
            hashes: hash
                .map(|(kind, hash)| (kind.to_owned(), hash.to_owned()))
                .into_iter()
                .collect(),
        };
        let identity = identify(&raw, position, &name, version.as_ref())?;
        version = version.or_else(|| Some(identity.filename.version.clone()));
        // The wheels of a folder that stands for an index are named relative to that folder.
        let registry = package
            .source
            .registry
            .as_deref()
            .filter(|place| !place.contains("://"));
        let path = match (registry, &wheel.path) {
            (Some(folder), Some(path)) => Some(format!("{folder}/{path}")),
            _ => raw.path,
        };
        wheels.push(locals.wheel(&name, identity, (raw.url.as_deref(), path.as_deref()), wheel.size)?);
    }
    wheels.sort_by(|left, right| left.file.cmp(&right.file));
    let files = Files::Wheels(wheels);
    Ok(version.map(|version| Pinned { name, version, files }))
}

fn form(source: &Source) -> SourceForm {
    if let Some(git) = &source.git {
        // `https://…?rev=main#<commit>`: the commit is what was locked.
        let place = git.split(['?', '#']).next().unwrap_or(git);
        SourceForm::Repository(match git.split_once('#') {
            Some((_, commit)) => format!("{place}@{commit}"),
            None => place.to_owned(),
        })
    } else if let Some(folder) = source.member() {
        SourceForm::Folder(folder.to_owned())
    } else if let Some(place) = source.url.as_ref().or(source.path.as_ref()) {
        SourceForm::Archive(place.clone())
    } else {
        SourceForm::Sdist
    }
}
