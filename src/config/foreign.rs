//! Dependencies and packages that other tools' files declare, and that flambeau does not read.
//!
//! Owns: which files and tables those are. They matter only where nothing else names requirements: then the default
//! ones would be a guess beside what the project says.
//! A table or file that declares nothing (`requirements.txt` with comments alone, `[tool.poetry]` with settings) counts
//! for nothing.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Value;

use super::Config;
use crate::fsx::{PathError, read_if_exists};

/// A declaration of dependencies that flambeau does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {declared}", path.display())]
pub struct ForeignDependencies {
    /// The file.
    pub path: PathBuf,
    /// How it declares them.
    pub declared: Declared,
}

/// How dependencies are declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declared {
    /// `[project] dynamic` has `dependencies`: the build backend computes them.
    Dynamic,
    /// A table of another tool, e.g. `tool.poetry`.
    Table(&'static str),
    /// Extras and dependency groups alone.
    Lists,
    /// `setup.py` or `setup.cfg`.
    Setup,
    /// A requirements file.
    Requirements {
        /// Whether it has hashes, so that `--from` reads it.
        hashed: bool,
    },
    /// A lockfile that `--from` reads.
    Lockfile,
    /// A file that no command reads.
    Other,
}

impl std::fmt::Display for Declared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dynamic => formatter.write_str("declares `dependencies` as dynamic, so flambeau cannot read them"),
            Self::Table(table) => write!(
                formatter,
                "declares dependencies in [{table}], which flambeau does not read"
            ),
            Self::Lists => formatter.write_str("declares extras or dependency groups alone, and none is selected"),
            Self::Lockfile => formatter.write_str("pins dependencies, and flambeau reads it only with --from"),
            Self::Setup | Self::Requirements { .. } | Self::Other => {
                formatter.write_str("declares dependencies, and flambeau does not read it")
            }
        }
    }
}

/// The tables of `pyproject.toml` in which other tools have dependencies.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Tools {
    poetry: Option<Value>,
    pdm: Option<Value>,
    pixi: Option<Value>,
    rye: Option<Value>,
    uv: Option<Value>,
    flit: Option<Value>,
}

/// What `pyproject.toml` declares in ways that flambeau does not read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Dependencies.
    pub(super) dependencies: Option<Declared>,
    /// The table that makes it another tool's package.
    pub(super) package: Option<&'static str>,
}

impl Manifest {
    pub(super) fn of(dynamic: Option<&Value>, tools: &Tools, has_lists: bool) -> Self {
        let dynamic = dynamic.and_then(Value::as_array).into_iter().flatten();
        let is_dynamic = dynamic.filter_map(Value::as_str).any(|key| key == "dependencies");
        let table = tools.with_dependencies();
        let lists = has_lists.then_some(Declared::Lists);
        Self {
            dependencies: is_dynamic
                .then_some(Declared::Dynamic)
                .or(table.map(Declared::Table))
                .or(lists),
            package: tools.poetry.as_ref().map(|_| "tool.poetry").or(table),
        }
    }
}

impl Tools {
    /// The first table that names a dependency.
    fn with_dependencies(&self) -> Option<&'static str> {
        let tables = [
            ("tool.poetry", &self.poetry),
            ("tool.pdm", &self.pdm),
            ("tool.pixi", &self.pixi),
            ("tool.rye", &self.rye),
            ("tool.uv", &self.uv),
        ];
        let found = tables.into_iter().find(|(_, tool)| {
            let keys = [
                "dependencies",
                "dev-dependencies",
                "pypi-dependencies",
                "group",
                "feature",
            ];
            let tool = tool.as_ref();
            keys.into_iter()
                .any(|key| tool.and_then(|tool| tool.get(key)).is_some_and(names_any))
        });
        let flit = || {
            let requires = self.flit.as_ref()?.get("metadata")?.get("requires")?;
            names_any(requires).then_some("tool.flit.metadata")
        };
        found.map(|(name, _)| name).or_else(flit)
    }
}

/// Whether a list or table has an entry; Python itself is none.
fn names_any(dependencies: &Value) -> bool {
    match dependencies {
        Value::Array(list) => !list.is_empty(),
        Value::Table(table) => table.keys().any(|key| key != "python"),
        _ => false,
    }
}

/// The files that declare dependencies, those of packages first.
const FILES: [(&str, Kind); 14] = [
    ("setup.py", Kind::Setup),
    ("setup.cfg", Kind::SetupCfg),
    ("pylock.toml", Kind::Lockfile),
    ("uv.lock", Kind::Lockfile),
    ("requirements.txt", Kind::Requirements),
    ("requirements.in", Kind::Requirements),
    ("Pipfile", Kind::Other),
    ("environment.yml", Kind::Other),
    ("environment.yaml", Kind::Other),
    ("pixi.toml", Kind::Other),
    ("poetry.lock", Kind::Other),
    ("pdm.lock", Kind::Other),
    ("Pipfile.lock", Kind::Other),
    ("conda-lock.yml", Kind::Other),
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    Setup,
    SetupCfg,
    Lockfile,
    Requirements,
    Other,
}

/// The first file of a folder that declares dependencies.
pub(super) fn in_folder(folder: &Path) -> Result<Option<ForeignDependencies>, PathError> {
    for (name, kind) in FILES {
        let path = folder.join(name);
        if !path.is_file() {
            continue;
        }
        let text = read_if_exists(&path)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let declared = match kind {
            Kind::Setup => lines.next().map(|_| Declared::Setup),
            Kind::SetupCfg => lines
                .find(|line| line.starts_with("install_requires"))
                .map(|_| Declared::Setup),
            Kind::Lockfile => lines.next().map(|_| Declared::Lockfile),
            Kind::Requirements => lines.next().map(|_| Declared::Requirements {
                hashed: text.contains("--hash"),
            }),
            Kind::Other => lines.next().map(|_| Declared::Other),
        };
        if let Some(declared) = declared {
            return Ok(Some(ForeignDependencies { path, declared }));
        }
    }
    Ok(None)
}

/// The file of a folder that makes it a package of setuptools.
pub(super) fn package_in_folder(folder: &Path) -> Result<Option<PathBuf>, PathError> {
    let script = folder.join("setup.py");
    if script.is_file() {
        return Ok(Some(script));
    }
    let settings = folder.join("setup.cfg");
    let text = read_if_exists(&settings)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let is_package = text
        .lines()
        .any(|line| matches!(line.trim(), "[metadata]" | "[options]"));
    Ok(is_package.then_some(settings))
}

/// Whether a table of lists names a dependency.
pub(super) fn has_list(lists: Option<&Value>) -> bool {
    let lists = lists.and_then(Value::as_table);
    lists.is_some_and(|lists| lists.values().any(names_any))
}

impl Config {
    /// The dependencies that the project's files declare and flambeau does not read. They matter where nothing else
    /// names requirements.
    pub fn foreign_dependencies(&self) -> Result<Option<ForeignDependencies>, PathError> {
        let Some(declared) = self.foreign.dependencies.clone() else {
            return in_folder(&self.project);
        };
        let path = self.project.join("pyproject.toml");
        Ok(Some(ForeignDependencies { path, declared }))
    }

    /// What makes the project another tool's package, to which a `[project]` table would give another name and other
    /// requirements.
    pub fn foreign_package(&self) -> Result<Option<String>, PathError> {
        if let Some(table) = self.foreign.package {
            return Ok(Some(format!(
                "[{table}] in {}",
                self.project.join("pyproject.toml").display()
            )));
        }
        Ok(package_in_folder(&self.project)?.map(|path| path.display().to_string()))
    }
}
