//! `pyproject.toml`: the parts of `[project]` that flambeau reads, and `[tool.flambeau]`.
//!
//! Owns: the spelling of every key of `[tool.flambeau]`.
//! Refuses: keys that it does not know there (the message lists those it knows), values of the wrong form. What other
//! tools own, `[project]` included, may hold anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use url::Url;

use super::lists::Lists;
use super::{LinkMode, Sync, foreign};
use crate::backend::{Backend, Channel, Preference};
use crate::document::DocumentError;
use crate::env::bytecode::Modules;
use crate::fsx::{PathError, read_if_exists};
use crate::index::NamePattern;
use crate::pep::VersionSpecifiers;
use crate::policy::{Cutoff, PreReleases, Versions};
use crate::requirement;
use crate::target::{Platform, PythonMinor};

/// Why `pyproject.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PyprojectError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] PathError),
    /// It is no UTF-8 text.
    #[error("{} is not UTF-8 text", .0.display())]
    Encoding(PathBuf),
    /// It is no TOML, or a value has the wrong form.
    #[error("{}:{}: {}", path.display(), problem.line(), problem.reason())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: DocumentError,
    },
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) project: Project,
    #[serde(default)]
    tool: ToolTable,
    #[serde(rename = "dependency-groups")]
    dependency_groups: Option<toml::Value>,
}

impl Document {
    /// What it declares in ways that are not read.
    pub(super) fn foreign(&self) -> foreign::Manifest {
        let has_lists = [&self.project.optional_dependencies, &self.dependency_groups];
        let has_lists = has_lists.into_iter().any(|lists| foreign::has_list(lists.as_ref()));
        foreign::Manifest::of(self.project.dynamic.as_ref(), &self.tool.others, has_lists)
    }

    /// Splits into what others own and what is ours. `path` is where it stands, for messages.
    pub(super) fn parts(mut self, path: &Path) -> (Project, Flambeau, Lists) {
        let table = |value: Option<toml::Value>| match value {
            Some(toml::Value::Table(table)) => Some(table),
            _ => None,
        };
        let name = self.project.name.take();
        let lists = Lists {
            path: path.to_owned(),
            project: name.and_then(|name| name.as_str()?.parse().ok()),
            extras: table(self.project.optional_dependencies.take()),
            groups: table(self.dependency_groups),
        };
        (self.project, self.tool.flambeau, lists)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Project {
    #[serde(default, deserialize_with = "some_requirements")]
    pub(super) dependencies: Option<Vec<String>>,
    pub(super) requires_python: Option<VersionSpecifiers>,
    name: Option<toml::Value>,
    optional_dependencies: Option<toml::Value>,
    dynamic: Option<toml::Value>,
}

#[derive(Debug, Default, Deserialize)]
struct ToolTable {
    #[serde(default)]
    flambeau: Flambeau,
    #[serde(flatten)]
    others: foreign::Tools,
}

/// `[tool.flambeau]`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Flambeau {
    #[serde(default, deserialize_with = "some_preference")]
    pub(super) backend: Option<Preference>,
    #[serde(default)]
    pub(super) backends: Backends,
    pub(super) cache_dir: Option<PathBuf>,
    pub(super) channel: Option<Channel>,
    #[serde(default)]
    pub(super) channels: BTreeMap<Channel, ChannelTable>,
    #[serde(default, deserialize_with = "some_modules")]
    pub(super) compile_bytecode: Option<Modules>,
    pub(super) git_exclude: Option<bool>,
    #[serde(default, deserialize_with = "requirements")]
    pub(super) constraints: Vec<String>,
    #[serde(default)]
    pub(super) editable: Vec<PathBuf>,
    #[serde(default, deserialize_with = "some_cutoff")]
    pub(super) exclude_newer: Option<Cutoff>,
    #[serde(default)]
    pub(super) index: Vec<PrivateIndex>,
    #[serde(default, deserialize_with = "some_word")]
    pub(super) index_url: Option<Url>,
    pub(super) keep_wheels: Option<bool>,
    #[serde(default, deserialize_with = "some_link_mode")]
    pub(super) link_mode: Option<LinkMode>,
    #[serde(default, deserialize_with = "some_size")]
    pub(super) min_free: Option<u64>,
    #[serde(default, deserialize_with = "requirements")]
    pub(super) overrides: Vec<String>,
    #[serde(default)]
    pub(super) platforms: Vec<Platform>,
    #[serde(default, deserialize_with = "some_word")]
    pub(super) pre_releases: Option<PreReleases>,
    pub(super) python: Option<String>,
    #[serde(default)]
    pub(super) python_versions: Vec<PythonMinor>,
    #[serde(default, deserialize_with = "some_requirements")]
    pub(super) requirements: Option<Vec<String>>,
    #[serde(default, deserialize_with = "some_word")]
    pub(super) resolution: Option<Versions>,
    pub(super) store_dir: Option<PathBuf>,
    #[serde(default)]
    pub(super) store_dirs: Vec<PathBuf>,
    #[serde(default)]
    pub(super) sync: Option<Sync>,
}

/// `[tool.flambeau.backends]`: the channels of each backend, in order.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backends {
    #[serde(default)]
    pub(super) cuda: Vec<Channel>,
    #[serde(default)]
    pub(super) rocm: Vec<Channel>,
    #[serde(default)]
    pub(super) cpu: Vec<Channel>,
}

/// `[tool.flambeau.channels.<tag>]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelTable {
    #[serde(default, deserialize_with = "some_word")]
    pub(super) index: Option<Url>,
    #[serde(default, deserialize_with = "some_backend")]
    pub(super) backend: Option<Backend>,
}

/// `[[tool.flambeau.index]]`: a private index and the names that come from it and from nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateIndex {
    /// What messages call it.
    pub name: String,
    /// Its root.
    #[serde(deserialize_with = "url")]
    pub url: Url,
    /// Package names, `*` standing for any characters; at least one.
    #[serde(deserialize_with = "patterns")]
    pub packages: Vec<NamePattern>,
}

/// Reads `<project>/pyproject.toml`; an absent file is an empty one.
pub(super) fn read(path: &Path) -> Result<Document, PyprojectError> {
    let Some(bytes) = read_if_exists(path)? else {
        return Ok(Document::default());
    };
    let text = String::from_utf8(bytes).map_err(|_| PyprojectError::Encoding(path.to_owned()))?;
    parse(&text, path)
}

pub(super) fn parse(text: &str, path: &Path) -> Result<Document, PyprojectError> {
    toml::from_str(text).map_err(|error| PyprojectError::Syntax {
        path: path.to_owned(),
        problem: DocumentError::toml(text, &error),
    })
}

fn requirements<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let items = Vec::<String>::deserialize(deserializer)?;
    let read = |item: String| match requirement::parse(&item) {
        // Other tools read the lockfile too: it says what is meant.
        Ok(found) if requirement::is_relative(&found) => Ok(requirement::text(&found)),
        Ok(found) if requirement::is_direct(&found) && !item.contains('@') => Ok(requirement::text(&found)),
        Ok(_) => Ok(item),
        Err(why) => Err(serde::de::Error::custom(format_args!(
            "`{}` is no requirement: {why}",
            requirement::shown(&item)
        ))),
    };
    items.into_iter().map(read).collect()
}

fn some_requirements<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    requirements(deserializer).map(Some)
}

fn some_preference<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Preference>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn some_backend<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Backend>, D::Error> {
    match some_preference(deserializer)? {
        Some(Preference::Backend(backend)) => Ok(Some(backend)),
        _ => Err(serde::de::Error::custom(
            "a channel's backend is one of CUDA, ROCm, CPU",
        )),
    }
}

fn some_link_mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LinkMode>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// `true`, `false` or `"all"`.
fn some_modules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Modules>, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::Boolean(true) => Ok(Some(Modules::Imported)),
        toml::Value::Boolean(false) => Ok(Some(Modules::None)),
        toml::Value::String(text) if text == "all" => Ok(Some(Modules::All)),
        other => Err(serde::de::Error::custom(format!(
            "{other} is none of true, false, \"all\""
        ))),
    }
}

fn some_word<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// The names that an index claims. One that claims none protects nothing.
fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NamePattern>, D::Error> {
    use serde::de::Error as _;
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.is_empty() {
        return Err(D::Error::custom(
            "the list is empty; name the packages that come from this index, e.g. `corp-*`",
        ));
    }
    let read = |text: &String| text.parse().map_err(D::Error::custom);
    texts.iter().map(read).collect()
}

/// A URL; what is said of one that is none holds nothing of it, since it may have a password.
fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = Url::parse(&text).map_err(serde::de::Error::custom)?;
    if !matches!(url.scheme(), "https" | "http") {
        let scheme = url.scheme();
        return Err(serde::de::Error::custom(format_args!(
            "expected an https or http URL, found one of the scheme `{scheme}`"
        )));
    }
    Ok(url)
}

/// A day or time, as text or as TOML has them.
fn some_cutoff<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cutoff>, D::Error> {
    let text = match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => text,
        other => other.to_string(),
    };
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// A number of bytes, as a number or as text with a unit.
fn some_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => text,
        other => other.to_string(),
    };
    crate::amount::parse_size(&text)
        .map(Some)
        .map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_line_and_the_known_keys() {
        let rows = [
            (
                "[tool.flambeau]\nbakend = \"cpu\"\n",
                "pyproject.toml:2: tool.flambeau.bakend: `bakend` is not a known key; expected one of `backend`, `backends`",
            ),
            ("a = 1\n[x\n", "pyproject.toml:2: "),
            (
                "\n\n[tool.flambeau]\nbackend = \"vulkan\"",
                "pyproject.toml:4: tool.flambeau.backend: `vulkan` is no GPU backend; expected one of Auto, CUDA, ROCm, CPU",
            ),
            (
                "[tool.flambeau]\nchannel = \"CU118\"",
                "pyproject.toml:2: tool.flambeau.channel: `CU118` cannot name a channel",
            ),
            (
                "[tool.flambeau]\nrequirements = [\n \"torch\",\n \"torch ==== 1\"]",
                "pyproject.toml:2: tool.flambeau.requirements: `torch ==== 1` is no requirement",
            ),
            (
                "[tool.flambeau.channels.custom]\nbackend = \"auto\"",
                "pyproject.toml:2: tool.flambeau.channels.custom.backend: a channel's backend is one of",
            ),
            (
                "[tool.flambeau]\nexclude-newer = 2025-05-01T12:00:00",
                "pyproject.toml:2: tool.flambeau.exclude-newer: `2025-05-01T12:00:00` is no date",
            ),
            (
                "[tool.flambeau]\nresolution = \"lowest\"",
                "pyproject.toml:2: tool.flambeau.resolution: `lowest` is not understood; expected one of highest, lowest-direct",
            ),
            (
                "[[tool.flambeau.index]]\nname = \"a\"\nurl = \"https://example.org\"\npackages = []",
                "pyproject.toml:4: tool.flambeau.index[0].packages: the list is empty",
            ),
            (
                "[[tool.flambeau.index]]\nname = \"a\"\nurl = \"https://example.org\"\npackages = [\"corp-*\", \"\"]",
                "pyproject.toml:4: tool.flambeau.index[0].packages: `` matches no valid package name; expected a name",
            ),
            (
                "[[tool.flambeau.index]]\nname = \"a\"\nurl = \"https://example.org\"\npackages = [\"-\"]",
                "pyproject.toml:4: tool.flambeau.index[0].packages: `-` matches no valid package name; expected a name",
            ),
            (
                "[[tool.flambeau.index]]\nname = \"a\"\nurl = \"https://example.org\"",
                "pyproject.toml:1: tool.flambeau.index[0]: `packages` is missing",
            ),
            (
                "[tool.flambeau]\npython-versions = [\"4.1\"]",
                "pyproject.toml:2: tool.flambeau.python-versions: `4.1` is no Python minor version",
            ),
            (
                "[tool.flambeau.channels]\ncu118 = \"https://u:secret@host/\"",
                "pyproject.toml:2: tool.flambeau.channels.cu118: expected a table, found a string",
            ),
            (
                "[tool.flambeau.channels.cu118]\nindex = \"simple\"",
                "pyproject.toml:2: tool.flambeau.channels.cu118.index: expected an absolute URL",
            ),
            (
                "[[tool.flambeau.index]]\nname = \"corp\"",
                "pyproject.toml:1: tool.flambeau.index[0]: `url` is missing",
            ),
            (
                "[tool]\nflambeau = \"cpu\"",
                "pyproject.toml:2: tool.flambeau: expected a table, found the string \"cpu\"",
            ),
            (
                "[[tool.flambeau.index]]\nname = \"a\"\nurl = \"ftp://x/\"\npackages = [\"a\"]",
                "pyproject.toml:3: tool.flambeau.index[0].url: expected an https or http URL, found one of the scheme `ftp`",
            ),
            (
                "[tool.flambeau]\nkeep-wheels = \"no\"",
                "pyproject.toml:2: tool.flambeau.keep-wheels: expected `true` or `false`, found the string \"no\"",
            ),
            (
                "[tool.flambeau]\nsync = \"later\"",
                "pyproject.toml:2: tool.flambeau.sync: `later` is not a known value; expected `deferred` or `full`",
            ),
            (
                "[tool.flambeau]\nchannels = { cu118 = { index = 5 } }",
                "pyproject.toml:2: tool.flambeau.channels.cu118.index: expected a string, found the integer `5`",
            ),
            (
                "[project]\ndependencies = \"torch\"",
                "pyproject.toml:2: project.dependencies: expected an array, found the string \"torch\"",
            ),
            (
                "[project]\nrequires-python = 3",
                "pyproject.toml:2: project.requires-python: expected a string, found the integer `3`",
            ),
            (
                "project = 1",
                "pyproject.toml:1: project: expected a table, found the integer `1`",
            ),
        ];
        for (text, expected) in rows {
            let error = parse(text, Path::new("pyproject.toml")).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text}\n{error}");
            assert!(!error.trim_end().contains('\n'), "{error}");
        }
    }

    #[test]
    fn what_others_own_may_hold_anything() {
        let text =
            "[build-system]\nrequires = []\n[project]\nname = \"x\"\ndynamic = [\"version\"]\n[tool.ruff]\na = 1\n";
        let path = Path::new("pyproject.toml");
        let (project, ours, _) = parse(text, path).expect("fine").parts(path);
        assert!(project.dependencies.is_none() && ours.requirements.is_none());
    }
}
