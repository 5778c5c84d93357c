//! Where a setting stands, and what is wrong with it there.

use std::fmt;
use std::path::PathBuf;

use super::{AppSettingsError, PyprojectError};
use crate::backend::{Backend, Channel, UnknownBackend};
use crate::fsx::PathError;
use crate::python::ParseRequestError;

/// What cannot be used as configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `appsettings.json` is unusable.
    #[error(transparent)]
    AppSettings(#[from] AppSettingsError),
    /// `pyproject.toml` is unusable.
    #[error(transparent)]
    Pyproject(#[from] PyprojectError),
    /// A file of the project cannot be read.
    #[error(transparent)]
    Read(#[from] PathError),
    /// A value that names no backend.
    #[error("{origin} names no backend")]
    Backend {
        /// Where it stands.
        origin: Origin,
        /// The value, and the four that are known.
        #[source]
        source: UnknownBackend,
    },
    /// A value of a form that its place does not allow.
    #[error("{origin} holds `{value}`; expected {expected}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The value.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A Python request that cannot be understood.
    #[error("{origin} asks for no Python that can be understood")]
    Python {
        /// Where it stands.
        origin: Origin,
        /// The value.
        #[source]
        source: ParseRequestError,
    },
    /// A channel and a backend exclude each other.
    #[error(
        "the channel {channel} ({channel_origin}) is for {actual}, but the backend {wanted} is asked for ({backend_origin})"
    )]
    Contradiction {
        /// The channel.
        channel: Channel,
        /// Where it stands.
        channel_origin: Origin,
        /// The channel's backend.
        actual: Backend,
        /// The wanted backend.
        wanted: Backend,
        /// Where that stands.
        backend_origin: Origin,
    },
    /// `[tool.flambeau.backends]` lists a channel of another backend.
    #[error("[tool.flambeau.backends] lists the channel {channel} under {listed}, but it is for {actual}")]
    Misplaced {
        /// The channel.
        channel: Channel,
        /// The backend that it is listed under.
        listed: Backend,
        /// The channel's backend.
        actual: Backend,
    },
    /// There is no place for the store or the cache.
    #[error("HOME is not set, so the {what} folder has no place; name one with {flag} or {variable}")]
    NoHome {
        /// `store` or `cache`.
        what: &'static str,
        /// The flag that names it.
        flag: &'static str,
        /// The variable that names it.
        variable: &'static str,
    },
}

/// Where a setting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line, with its dashes.
    Flag(&'static str),
    /// An environment variable, as it is spelled there.
    Variable(String),
    /// A file: its path, and the line or the key.
    File(PathBuf, String),
    /// Nowhere: flambeau's own default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => formatter.write_str(flag),
            Self::Variable(name) => write!(formatter, "the variable {name}"),
            Self::File(path, place) => write!(formatter, "{}:{place}", path.display()),
            Self::Default => formatter.write_str("the default"),
        }
    }
}
