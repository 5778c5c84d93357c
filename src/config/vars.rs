//! A snapshot of environment variables, so that configuration is a function of values.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::{ConfigError, Origin};

/// Environment variables at one moment, ordered by name. Names are case-sensitive; an empty value counts as unset
/// everywhere in the configuration.
#[derive(Debug, Clone, Default)]
pub struct Vars(BTreeMap<String, OsString>);

impl Vars {
    /// The variables of this process; those whose names are no UTF-8 text are left out.
    #[must_use]
    pub fn current() -> Self {
        std::env::vars_os().collect()
    }

    /// A variable as it is, where it is set, be it empty.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str)
    }

    /// A variable as it is, where it is set and not empty.
    #[must_use]
    pub fn os(&self, name: &str) -> Option<&OsStr> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// A variable as text (lossy), where it is set and not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.os(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// A variable as a path, where it is set and not empty.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.os(name).map(PathBuf::from)
    }

    /// The last variable whose name satisfies `matches`, with its name.
    pub(super) fn find_text(&self, matches: impl Fn(&str) -> bool) -> Option<(String, String)> {
        let name = self.0.keys().rfind(|name| matches(name) && self.os(name).is_some())?;
        Some((name.clone(), self.text(name)?))
    }

    /// The user's home folder.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.path("HOME").filter(|home| home.is_absolute())
    }

    /// `<XDG folder>/flambeau`; the XDG specification has relative values ignored.
    pub(super) fn user_folder(&self, variable: &str, under_home: &str) -> Option<PathBuf> {
        self.path(variable)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(self.home()?.join(under_home)))
            .map(|folder| folder.join("flambeau"))
    }

    /// `~/x` with the home folder in place of `~`; any other path as it is.
    pub(super) fn expand_home(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), self.home()) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path.to_owned(),
        }
    }

    /// A switch: `1`, `true`, `yes`, `on` or `0`, `false`, `no`, `off`, without regard to case.
    pub(super) fn switch(&self, name: &str) -> Result<bool, ConfigError> {
        let Some(value) = self.text(name) else {
            return Ok(false);
        };
        match value.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" | "y" | "t" => Ok(true),
            "0" | "false" | "no" | "off" | "n" | "f" | "" => Ok(false),
            _ => Err(ConfigError::Value {
                origin: Origin::Variable(name.to_owned()),
                value,
                expected: "`1` or `0`",
            }),
        }
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Vars {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(items: I) -> Self {
        Self(
            items
                .into_iter()
                .filter_map(|(name, value)| Some((name.into().into_string().ok()?, value.into())))
                .collect(),
        )
    }
}
