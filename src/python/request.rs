//! What a user asks for when naming a Python.
//!
//! Refuses: implementations other than CPython, Python 2, text that is neither a version, a range, a path nor a name.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::pep::{Version, VersionSpecifiers};

/// Which Python is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `3`, `3.11`, `3.11.7`, `3.13t`: the given parts must be equal.
    Version {
        /// The parts that were given.
        version: Version,
        /// Whether the build without the GIL is wanted; builds with it are meant otherwise.
        freethreaded: bool,
    },
    /// `>=3.10,<3.13`.
    Range(VersionSpecifiers),
    /// An executable, or the folder of an installation or a virtual environment.
    Path(PathBuf),
    /// A command on PATH, or the name of a pyenv version.
    Name(String),
}

/// Text that asks for no Python.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseRequestError {
    /// Another implementation.
    #[error("`{0}` is no CPython, the only implementation that PyTorch's wheels are built for")]
    Implementation(String),
    /// Nothing that is understood.
    #[error(
        "`{0}` is no Python; expected a version (`3.11`, `3.11.7`, `3.13t`), a range (`>=3.10,<3.13`), a path or a command"
    )]
    Form(String),
}

impl Request {
    /// Reads `text`; a relative path is one under `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ParseRequestError> {
        let text = text.trim();
        let form = || ParseRequestError::Form(text.to_owned());
        if text.contains('/') || text == "." || text == ".." {
            return Ok(Self::Path(base.join(text).components().collect()));
        }
        if text.starts_with(['<', '>', '=', '!', '~']) {
            return text.parse().map(Self::Range).map_err(|_| form());
        }
        let lower = text.to_ascii_lowercase();
        if ["pypy", "graalpy", "ironpython", "jython", "pyston"]
            .iter()
            .any(|name| lower.starts_with(name))
        {
            return Err(ParseRequestError::Implementation(text.to_owned()));
        }
        let number = lower
            .strip_prefix("cpython")
            .map_or(lower.as_str(), |rest| rest.trim_start_matches(['@', '-']));
        if number.starts_with(|first: char| first.is_ascii_digit()) {
            let (number, freethreaded) = number
                .strip_suffix("+freethreaded")
                .or_else(|| number.strip_suffix('t'))
                .map_or((number, false), |number| (number, true));
            let version: Version = number.parse().map_err(|_| form())?;
            let plain = version.release().len() <= 3 && version.release().first() == Some(&3) && !version.is_local();
            return if plain {
                Ok(Self::Version { version, freethreaded })
            } else {
                Err(form())
            };
        }
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
        if !text.is_empty() && !text.starts_with('-') && text.chars().all(named) {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(form())
        }
    }

    /// Whether an interpreter of this version and build is meant; paths and names mean whatever is found there.
    #[must_use]
    pub fn matches(&self, found: &Version, found_freethreaded: bool) -> bool {
        match self {
            Self::Version { version, freethreaded } => {
                // `3.13.0rc1` means exactly that; `3.13` means every 3.13, release candidates included.
                let parts = version.release().len();
                *freethreaded == found_freethreaded
                    && if version.any_prerelease() {
                        found == version
                    } else {
                        found.release().get(..parts) == Some(&*version.release())
                    }
            }
            Self::Range(specifiers) => !found_freethreaded && specifiers.contains(found),
            Self::Path(_) | Self::Name(_) => true,
        }
    }

    /// Whether a Python whose minor version is known from its name can be meant; saves asking it.
    #[must_use]
    pub fn may_match_minor(&self, minor: u8, freethreaded: bool) -> bool {
        match self {
            Self::Version {
                version,
                freethreaded: wanted,
            } => *wanted == freethreaded && version.release().get(1).is_none_or(|given| *given == u64::from(minor)),
            _ => true,
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { version, freethreaded } => {
                write!(formatter, "{version}{}", if *freethreaded { "t" } else { "" })
            }
            Self::Range(specifiers) => specifiers.fmt(formatter),
            Self::Path(path) => path.display().fmt(formatter),
            Self::Name(name) => formatter.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request {
        Request::parse(text, Path::new("/base")).expect(text)
    }

    #[test]
    fn forms_are_told_apart() {
        for (text, shown) in [
            ("3.11", "3.11"),
            (" cpython3.11 ", "3.11"),
            ("CPython@3.12.1", "3.12.1"),
            ("3.13t", "3.13t"),
            ("3.13+freethreaded", "3.13t"),
            (">=3.10,<3.13", ">=3.10, <3.13"),
            ("/usr/bin/python3", "/usr/bin/python3"),
            ("./venv/bin/python", "/base/venv/bin/python"),
            (".", "/base"),
            ("python3.11", "python3.11"),
            ("my-env", "my-env"),
        ] {
            assert_eq!(request(text).to_string(), shown, "{text}");
        }
        for text in ["", "2.7", "3.11.7.1", ">=x", "a b", "-x", "3.11+cu118"] {
            assert!(
                matches!(Request::parse(text, Path::new("/")), Err(ParseRequestError::Form(_))),
                "{text}"
            );
        }
        assert!(matches!(
            Request::parse("pypy@3.10", Path::new("/")),
            Err(ParseRequestError::Implementation(_))
        ));
    }

    #[test]
    fn matching_is_by_the_given_parts() {
        let rows = [
            ("3.11", "3.11.7", false, true),
            ("3.11", "3.1.1", false, false),
            ("3.11.7", "3.11.8", false, false),
            ("3.11.7", "3.11.7", false, true),
            ("3", "3.12.0", false, true),
            ("3.13", "3.13.0", true, false),
            ("3.13t", "3.13.0", true, true),
            ("3.14", "3.14.0rc1", false, true),
            ("3.14.0rc2", "3.14.0rc1", false, false),
            (">=3.10,<3.13", "3.12.9", false, true),
            (">=3.10,<3.13", "3.13.0", false, false),
            (">=3.10", "3.13.0", true, false),
        ];
        for (text, version, freethreaded, expected) in rows {
            let version = version.parse().expect("a version");
            assert_eq!(
                request(text).matches(&version, freethreaded),
                expected,
                "{text} {version}"
            );
        }
        assert!(request("3.11").may_match_minor(11, false) && !request("3.11").may_match_minor(12, false));
        assert!(request("3").may_match_minor(12, false) && !request("3").may_match_minor(13, true));
    }
}
