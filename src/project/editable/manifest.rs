//! The `pyproject.toml` of a folder of the project's own code: what an installer would be told of it.
//!
//! Owns: the keys of `[project]` that become metadata, as the specification has them. They are read strictly, since
//! they become names of files and lines of documents. What says how a backend works is read leniently elsewhere.
//! Refuses: names, versions, requirements and entry points that are none; each is named by line and key.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::Value;

use super::EditableError;
use crate::document::DocumentError;
use crate::fsx::read_if_exists;
use crate::pep::{ExtraName, PackageName, Requirement, Version, VersionSpecifiers};
use crate::requirement;
use crate::wheel::entry_points;

/// The document.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Manifest {
    pub(super) project: Option<ProjectTable>,
    build_system: Option<Value>,
    tool: Option<Value>,
}

/// `[project]`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ProjectTable {
    #[serde(default, deserialize_with = "name")]
    pub(super) name: Option<Named>,
    #[serde(default, deserialize_with = "version")]
    pub(super) version: Option<Version>,
    #[serde(default)]
    pub(super) dynamic: Vec<String>,
    pub(super) description: Option<String>,
    pub(super) requires_python: Option<VersionSpecifiers>,
    #[serde(default, deserialize_with = "requirements")]
    pub(super) dependencies: Vec<Requirement>,
    #[serde(default, deserialize_with = "extras")]
    pub(super) optional_dependencies: BTreeMap<ExtraName, Vec<Requirement>>,
    #[serde(default, deserialize_with = "scripts")]
    pub(super) scripts: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "scripts")]
    pub(super) gui_scripts: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "groups")]
    pub(super) entry_points: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) license: Option<Value>,
    pub(super) keywords: Option<Value>,
    pub(super) authors: Option<Value>,
    pub(super) maintainers: Option<Value>,
    pub(super) classifiers: Option<Value>,
    pub(super) urls: Option<Value>,
}

/// A package's name as it is written, and as it is compared.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) written: String,
    pub(super) normal: PackageName,
}

impl Manifest {
    /// Reads `<folder>/pyproject.toml`; an absent file is an empty one.
    pub(super) fn read(folder: &Path) -> Result<Self, EditableError> {
        let path = folder.join("pyproject.toml");
        let Some(bytes) = read_if_exists(&path)? else {
            return Ok(Self::default());
        };
        let text = String::from_utf8(bytes).map_err(|_| EditableError::Encoding(path.clone()))?;
        toml::from_str(&text).map_err(|error| EditableError::Syntax {
            path,
            problem: DocumentError::toml(&text, &error),
        })
    }

    /// What the package imports as, where its name says so.
    pub(super) fn module(&self) -> Option<String> {
        let name = self.project.as_ref()?.name.as_ref()?;
        Some(name.normal.to_string().replace('-', "_"))
    }

    /// What stands at a path of keys below `[tool]`.
    pub(super) fn tool(&self, keys: &[&str]) -> Option<&Value> {
        let start = self.tool.as_ref()?;
        keys.iter().try_fold(start, |value, key| value.get(key))
    }

    /// `build-system.build-backend`; setuptools where none is named, as the specification has it.
    pub(super) fn backend(&self) -> &str {
        let named = self.build_system.as_ref().and_then(|table| table.get("build-backend"));
        named.and_then(Value::as_str).unwrap_or("setuptools")
    }

    /// The names of the packages in `build-system.requires`.
    pub(super) fn build_requires(&self) -> Vec<PackageName> {
        let listed = self.build_system.as_ref().and_then(|table| table.get("requires"));
        let listed = listed.and_then(Value::as_array).into_iter().flatten();
        let named = listed.filter_map(|text| text.as_str()?.parse::<Requirement>().ok());
        named.map(|requirement| requirement.name).collect()
    }
}

/// Reads a text as something else; the error names the text.
fn parsed<T: FromStr, E: serde::de::Error>(text: &str, what: &str) -> Result<T, E>
where
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| {
        E::custom(format_args!(
            "`{}` is not a valid {what}: {}",
            text.escape_debug(),
            first_line(&error)
        ))
    })
}

fn first_line(error: &impl Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Named>, D::Error> {
    let written = String::deserialize(deserializer)?;
    let normal = parsed(&written, "package name")?;
    Ok(Some(Named { written, normal }))
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Version>, D::Error> {
    parsed(&String::deserialize(deserializer)?, "version").map(Some)
}

fn requirement_of<E: serde::de::Error>(text: &str) -> Result<Requirement, E> {
    let read = requirement::parse(text);
    let mut read = read.map_err(|error| {
        let shown = requirement::shown(text);
        E::custom(format_args!(
            "`{}` is not a valid requirement: {error}",
            shown.escape_debug()
        ))
    })?;
    // A path below the project means nothing to whoever reads the metadata.
    if requirement::is_relative(&read) {
        read.version_or_url = None;
    }
    Ok(read)
}

fn requirements<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Requirement>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| requirement_of(text)).collect()
}

fn extras<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<ExtraName, Vec<Requirement>>, D::Error> {
    let lists = BTreeMap::<String, Vec<String>>::deserialize(deserializer)?;
    let read = |(extra, texts): (String, Vec<String>)| {
        let list = texts
            .iter()
            .map(|text| requirement_of(text))
            .collect::<Result<_, _>>()?;
        Ok((parsed(&extra, "name of an extra")?, list))
    };
    lists.into_iter().map(read).collect()
}

/// Scripts: what [`entry_points`] lets a wheel have.
fn scripts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let scripts = BTreeMap::<String, String>::deserialize(deserializer)?;
    for (name, reference) in &scripts {
        check_entry(name, reference)?;
        let line = format!("[console_scripts]\n{name} = {reference}\n");
        entry_points::parse(&line).map_err(D::Error::custom)?;
        if crate::env::runtime::owns(&format!("bin/{name}")) {
            let name = name.escape_debug();
            return Err(D::Error::custom(format_args!(
                "the script `{name}` would replace one of the environment itself"
            )));
        }
    }
    Ok(scripts)
}

fn groups<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, BTreeMap<String, String>>, D::Error> {
    let groups = BTreeMap::<String, BTreeMap<String, String>>::deserialize(deserializer)?;
    for (group, entries) in &groups {
        let is_part =
            |part: &str| !part.is_empty() && part.chars().all(|one| one.is_alphanumeric() || "_-".contains(one));
        if matches!(group.as_str(), "console_scripts" | "gui_scripts") {
            return Err(D::Error::custom(format_args!(
                "the group `{group}` is written as `project.scripts` or `project.gui-scripts`"
            )));
        }
        if !group.split('.').all(is_part) {
            let group = group.escape_debug();
            return Err(D::Error::custom(format_args!(
                "`{group}` is not a valid group of entry points"
            )));
        }
        for (name, reference) in entries {
            check_entry(name, reference)?;
        }
    }
    Ok(groups)
}

/// Whether `name = reference` is one line of `entry_points.txt` that reads as just that.
fn check_entry<E: serde::de::Error>(name: &str, reference: &str) -> Result<(), E> {
    let breaks = |text: &str| {
        text.chars()
            .any(|one| one.is_control() || matches!(one, '\u{2028}' | '\u{2029}'))
    };
    let shown = name.escape_debug();
    if name.is_empty() || name.trim() != name || name.contains('=') || name.starts_with(['[', '#', ';']) || breaks(name)
    {
        return Err(E::custom(format_args!(
            "`{shown}` is not a valid name of an entry point"
        )));
    }
    let object = reference.split_once('[').map_or(reference, |(object, _)| object).trim();
    let (module, attribute) = object.split_once(':').unwrap_or((object, "x"));
    let dotted = |text: &str| text.trim().split('.').all(entry_points::is_identifier);
    if breaks(reference) || !dotted(module) || !dotted(attribute) {
        return Err(E::custom(format_args!(
            "the entry point `{shown}` refers to `{}`, which is not `module` or `module:attribute`",
            reference.escape_debug()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Manifest, String> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("pyproject.toml"), text).expect("written");
        Manifest::read(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_would_write_elsewhere_is_refused_by_line_and_key() {
        for (text, expected) in [
            ("name = '../x'", ":2: project.name: `../x` is not a valid package name"),
            (
                "name = \"a\\nb\"",
                ":2: project.name: `a\\nb` is not a valid package name",
            ),
            (
                "version = '1/../2'",
                ":2: project.version: `1/../2` is not a valid version",
            ),
            (
                "scripts = { '../x' = 'a:b' }",
                ":2: project.scripts: entry point `../x` cannot be a script",
            ),
            (
                "scripts = { \"a\\nb\" = 'a:b' }",
                ":2: project.scripts: `a\\nb` is not a valid name",
            ),
            (
                "scripts = { python = 'a:b' }",
                ":2: project.scripts: entry point `python` cannot be a script",
            ),
            (
                "scripts = { activate = 'a:b' }",
                ":2: project.scripts: the script `activate` would replace",
            ),
            (
                "scripts = { x = 'a' }",
                ":2: project.scripts: entry point `x` refers to `a`",
            ),
            (
                "gui-scripts = { x = \"a:b\\n[x]\" }",
                ":2: project.gui-scripts: the entry point `x` refers to",
            ),
            (
                "entry-points = { \"a]\\n[b\" = {} }",
                ":2: project.entry-points: `a]\\n[b` is not a valid group",
            ),
            (
                "entry-points = { a = { \"[x]\" = 'a' } }",
                ":2: project.entry-points: `[x]` is not a valid name",
            ),
            (
                "entry-points = { console_scripts = {} }",
                ":2: project.entry-points: the group `console_scripts`",
            ),
            (
                "dependencies = ['x ==== 1']",
                ":2: project.dependencies: `x ==== 1` is not a valid requirement",
            ),
        ] {
            let error = read(&format!("[project]\n{text}\n")).expect_err(text);
            assert!(error.contains(expected), "{error}\n{expected}");
        }
    }

    #[test]
    fn what_others_own_may_hold_anything() {
        let manifest =
            read("tool = 1\nbuild-system = []\n[project]\nlicense = 5\nkeywords = 1\nreadme = []\n").expect("read");
        assert!(manifest.tool(&["setuptools"]).is_none());
        assert_eq!(manifest.backend(), "setuptools");
    }
}
