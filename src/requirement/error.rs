//! Why a requirement cannot be read, or its wheel not be locked.

use crate::pep::PackageName;

/// Text that is no requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// It is not what PEP 508 has; why not, on one line.
    #[error("{0}")]
    Grammar(String),
    /// Sources without a name.
    #[error("it names no wheel, and nothing is ever built from sources")]
    Sources(Sources),
}

/// What a requirement names in place of a wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// A repository.
    Repository(String),
    /// A source archive, by URL or path.
    Archive(String),
    /// A folder.
    Folder(String),
}

impl Sources {
    pub(super) fn of(place: &str) -> Self {
        let file = place.split(['#', '?']).next().unwrap_or(place).trim_end_matches('/');
        let is_archive = [".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz", ".tar"];
        if ["git+", "hg+", "svn+", "bzr+"].iter().any(|vcs| place.starts_with(vcs)) || file.ends_with(".git") {
            Self::Repository(place.to_owned())
        } else if is_archive.iter().any(|ending| file.ends_with(ending)) || file.contains("://") {
            Self::Archive(place.to_owned())
        } else {
            Self::Folder(place.to_owned())
        }
    }

    /// What `pip wheel` is given to make a wheel of it.
    #[must_use]
    pub fn place(&self) -> &str {
        match self {
            Self::Repository(place) | Self::Archive(place) | Self::Folder(place) => place,
        }
    }
}

/// Why a requirement by URL or path cannot be locked. No message holds a login.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// It names sources.
    #[error("`{requirement}` names no wheel, and nothing is ever built from sources")]
    Sources {
        /// As written.
        requirement: String,
        /// What it names.
        sources: Sources,
    },
    /// It holds a login.
    #[error("the URL of {name} holds a login, which would stand in the lockfile")]
    Login {
        /// The package.
        name: PackageName,
    },
    /// It names an environment variable, whose value would stand in the lockfile.
    #[error("`{requirement}` names an environment variable, whose value would stand in the lockfile")]
    Variable {
        /// As written.
        requirement: String,
    },
    /// The part after `#`.
    #[error("`{requirement}` ends with `#{fragment}`; only `#sha256=…` (64 hexadecimal digits) can be checked")]
    Fragment {
        /// As written.
        requirement: String,
        /// The part.
        fragment: String,
    },
    /// A wheel of another package.
    #[error("`{requirement}` asks for {name}, and {file} is a wheel of {other}")]
    OtherName {
        /// As written.
        requirement: String,
        /// What is asked for.
        name: PackageName,
        /// The wheel.
        file: String,
        /// Whose wheel it is.
        other: PackageName,
    },
    /// A file name that is none of a wheel.
    #[error("`{requirement}`: {file} is not how a wheel is called")]
    FileName {
        /// As written.
        requirement: String,
        /// The file name.
        file: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A scheme that wheels do not come by.
    #[error("`{requirement}`: wheels come by https, http or from this machine (file), not by {scheme}")]
    Scheme {
        /// As written.
        requirement: String,
        /// The scheme.
        scheme: String,
    },
}
