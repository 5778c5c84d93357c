//! What can be wrong with a file of another tool.

use std::fmt;
use std::path::PathBuf;

use crate::document::DocumentError;
use crate::lockfile::text::ParseError;
use crate::pep::{PackageName, Version, VersionSpecifiers};
use crate::target::Target;

/// A file that cannot be installed from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignError {
    /// Nothing that is understood.
    #[error("it is neither a PEP 751 lockfile, a requirements file nor a uv.lock{}", said(*.looks_like))]
    Kind {
        /// What it looks like.
        looks_like: Option<&'static str>,
    },
    /// Not TOML, or a value has the wrong form.
    #[error("its text is not valid")]
    Toml(#[source] DocumentError),
    /// A PEP 751 lockfile that cannot be used.
    #[error(transparent)]
    Pylock(#[from] ParseError),
    /// A `uv.lock` of an unknown version.
    #[error("it is a uv.lock of version {0}; version 1 is known")]
    UvVersion(i64),
    /// Another Python is wanted.
    #[error("{} needs Python {wanted}, and this is {python}", package.as_ref().map_or_else(|| "it".to_owned(), ToString::to_string))]
    RequiresPython {
        /// The package; none where the file as a whole says so.
        package: Option<PackageName>,
        /// What is wanted.
        wanted: VersionSpecifiers,
        /// What there is.
        python: Version,
    },
    /// The file was made for other environments.
    #[error("it was not made for {target} (Python {python}), but for: {}", environments.join("; "))]
    Environment {
        /// The target.
        target: Target,
        /// The full version of Python.
        python: Version,
        /// The markers of the file.
        environments: Vec<String>,
    },
    /// An extra that the file does not have.
    #[error("it has no extra `{extra}`; it has {}", listed(have))]
    Extra {
        /// What was asked for.
        extra: String,
        /// What there is.
        have: Vec<String>,
    },
    /// A dependency group that the file does not have.
    #[error("it has no dependency group `{group}`; it has {}", listed(have))]
    Group {
        /// What was asked for.
        group: String,
        /// What there is.
        have: Vec<String>,
    },
    /// A package that is not pinned as wheels.
    #[error("{name} is pinned as {source_form}, and only wheels are installed")]
    NotWheels {
        /// The package.
        name: String,
        /// Its version, where one is said.
        version: Option<String>,
        /// What it is pinned as.
        source_form: SourceForm,
    },
    /// A local wheel outside the file's folder.
    #[error("{name}: `{path}` is outside the folder of the file")]
    Outside {
        /// The package.
        name: String,
        /// The path as written.
        path: String,
    },
    /// A local file that cannot be named by a URL.
    #[error("{name}: `{}` cannot be used as a path", path.display())]
    Path {
        /// The package.
        name: String,
        /// The path.
        path: PathBuf,
    },
    /// A URL that nothing is fetched from.
    #[error("{name}: nothing is fetched from `{scheme}:` URLs")]
    Scheme {
        /// The package.
        name: String,
        /// Its scheme.
        scheme: String,
    },
    /// A line of a requirements file that cannot be used.
    #[error("line {line}: {problem}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// A `uv.lock` names a package that it does not have.
    #[error("{wanted_by} needs {name}{}, which is not in it", version.as_ref().map(|version| format!(" {version}")).unwrap_or_default())]
    Dangling {
        /// The package.
        name: String,
        /// Its version, where one is named.
        version: Option<String>,
        /// Who needs it.
        wanted_by: String,
    },
    /// A `uv.lock` without a project.
    #[error("it has no project to start from")]
    NoRoot,
}

/// What a package is pinned as that is no wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceForm {
    /// Only a source distribution.
    Sdist,
    /// A repository: its URL with what was asked of it.
    Repository(String),
    /// A folder.
    Folder(String),
    /// An archive with sources: where it is.
    Archive(String),
}

impl fmt::Display for SourceForm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sdist => formatter.write_str("a source distribution"),
            Self::Repository(url) => write!(formatter, "a repository ({url})"),
            Self::Folder(path) => write!(formatter, "a folder ({path})"),
            Self::Archive(place) => write!(formatter, "a source archive ({place})"),
        }
    }
}

/// What is wrong with a line of a requirements file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// Not a requirement.
    #[error("`{0}` is no requirement")]
    Form(String),
    /// Not one exact version.
    #[error("{0} is not pinned to one version")]
    Unpinned(String),
    /// No SHA-256.
    #[error("{0} has no --hash=sha256:…, so it cannot be verified")]
    Unhashed(String),
    /// A hash that is none.
    #[error("`{0}` is no SHA-256")]
    Hash(String),
    /// A direct URL with several hashes.
    #[error("{0} has one URL and several hashes")]
    SeveralHashes(String),
    /// Another file.
    #[error("`{0}` reads another file")]
    Include(String),
    /// An editable requirement or a path.
    #[error("`{0}` is source code in a folder, and only wheels are installed")]
    Editable(String),
    /// An option that nothing is known of.
    #[error("the option `{0}` is not known")]
    Option(String),
}

fn said(looks_like: Option<&'static str>) -> String {
    looks_like.map_or_else(String::new, |what| format!(", but {what}"))
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
