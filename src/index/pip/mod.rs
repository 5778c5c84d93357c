//! The package index that this machine's pip uses, and the rest of pip's configuration that concerns networks.
//!
//! flambeau names no package index of its own. In this order: what the user or the project says, `UV_DEFAULT_INDEX`,
//! `PIP_INDEX_URL`, pip's configuration files, and last the default that is built into the interpreter's pip
//! ([`builtin`]). Configuration files and their precedence are pip's: global, user, site, then `PIP_CONFIG_FILE`, each
//! over the one before; `[install]` over `[download]` over `[global]`; variables over files.
//!
//! Everything that is read is passed in as [`Surroundings`], so nothing here looks at the machine on its own.
//! Refuses: `extra-index-url`, which gives one name two places.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use crate::fsx::{PathError, read_if_exists};
use crate::http::{Keyring, without_userinfo};

pub mod builtin;
mod chosen;
mod ini;

pub use chosen::{PackageIndex, package_index, replacement};
pub use ini::IniError;

/// What cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PipError {
    /// A configuration file cannot be read.
    #[error("cannot read pip's configuration")]
    Read(#[source] PathError),
    /// A configuration file is no INI file.
    #[error("pip's configuration file {} cannot be understood", path.display())]
    Ini {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: IniError,
    },
    /// An index's address is no URL.
    #[error("the index URL given by {origin} is no https or http URL")]
    Url {
        /// Who gave it. The text itself may hold a password and is not repeated.
        origin: String,
    },
    /// A switch has a value that is neither yes nor no.
    #[error("{origin} must be true or false, not `{value}`")]
    Switch {
        /// Who gave it.
        origin: String,
        /// The value.
        value: String,
    },
    /// A keyring provider that is not known.
    #[error("{origin} cannot be used: {problem}")]
    Keyring {
        /// Who gave it.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Two indexes for every name.
    #[error(
        "{origin} names a second index for every package, so that anyone who can publish a name on either decides what \
         is installed; say in pyproject.toml which packages come from it:\n{table}"
    )]
    ExtraIndex {
        /// Who gave it.
        origin: String,
        /// The tables to write, without credentials.
        table: String,
    },
}

/// What pip's configuration depends on.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Environment variables.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The user's home folder, where there is one.
    pub home: Option<&'a Path>,
    /// `/etc`.
    pub etc: &'a Path,
    /// `sys.prefix` of the interpreter, where one is known.
    pub prefix: Option<&'a Path>,
}

/// A value and who gave it, as messages say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given<T> {
    /// The value.
    pub value: T,
    /// `PIP_INDEX_URL`, or a configuration file's path.
    pub origin: String,
}

/// What pip's variables and files say about networks.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PipSettings {
    /// `UV_DEFAULT_INDEX`, else `index-url`; possibly with credentials.
    pub index_url: Option<Given<String>>,
    /// `extra-index-url`.
    pub extra_index_urls: Vec<Given<String>>,
    /// `no-index`.
    pub no_index: bool,
    /// `find-links`, with `~` resolved.
    pub find_links: Vec<String>,
    /// `cert`, else `REQUESTS_CA_BUNDLE` or `CURL_CA_BUNDLE`, which pip obeys too.
    pub cert: Option<PathBuf>,
    /// `proxy`.
    pub proxy: Option<String>,
    /// `trusted-host`.
    pub trusted_hosts: Vec<String>,
    /// `timeout`.
    pub timeout: Option<Duration>,
    /// `keyring-provider`, else `UV_KEYRING_PROVIDER`.
    pub keyring: Keyring,
}

impl std::fmt::Debug for PipSettings {
    /// Leaves out what may hold passwords.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PipSettings")
            .field("index_url", &self.index_url.as_ref().map(|given| &given.origin))
            .field("no_index", &self.no_index)
            .field("cert", &self.cert)
            .field("trusted_hosts", &self.trusted_hosts)
            .finish_non_exhaustive()
    }
}

/// The files and variables together.
struct Layers<'a> {
    around: Surroundings<'a>,
    /// Lowest first.
    files: Vec<(PathBuf, ini::Ini)>,
}

impl PipSettings {
    /// Reads variables and files.
    pub fn read(around: Surroundings<'_>) -> Result<Self, PipError> {
        let mut files = Vec::new();
        // As pip: what cannot even be looked at is not there.
        for path in config_files(around).into_iter().filter(|path| path.exists()) {
            let Some(bytes) = read_if_exists(&path).map_err(PipError::Read)? else {
                continue;
            };
            let ini = ini::parse(&String::from_utf8_lossy(&bytes)).map_err(|source| PipError::Ini {
                path: path.clone(),
                source,
            })?;
            files.push((path, ini));
        }
        let layers = Layers { around, files };
        let bundle = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
            .into_iter()
            .find_map(|name| (around.variable)(name).filter(|value| !value.is_empty()));
        let expand = |text: &str| tilde(text, around.home);
        Ok(Self {
            index_url: chosen::of_uv(around).or_else(|| layers.one("index-url")),
            extra_index_urls: layers.many("extra-index-url"),
            no_index: layers.switch("no-index")?,
            find_links: layers.texts("find-links").iter().map(|text| expand(text)).collect(),
            cert: layers
                .one("cert")
                .map(|given| given.value)
                .or(bundle)
                .map(|text| PathBuf::from(expand(&text))),
            proxy: layers.one("proxy").map(|given| given.value),
            trusted_hosts: layers.texts("trusted-host"),
            keyring: layers.keyring()?,
            timeout: layers
                .one("timeout")
                .or_else(|| layers.one("default-timeout"))
                .and_then(|given| Duration::try_from_secs_f64(given.value.trim().parse().ok()?).ok()),
        })
    }

    /// Refuses `extra-index-url`s that no `[[tool.flambeau.index]]` (whose URLs are `declared`) accounts for.
    pub fn check_extra(&self, declared: &[Url]) -> Result<(), PipError> {
        let plain = |text: &str| {
            let url = without_userinfo(Url::parse(text).ok()?);
            Some(url.as_str().trim_end_matches('/').to_owned())
        };
        let declared: Vec<_> = declared.iter().filter_map(|url| plain(url.as_str())).collect();
        let unaccounted: Vec<&Given<String>> = self
            .extra_index_urls
            .iter()
            .filter(|given| plain(&given.value).is_none_or(|url| !declared.contains(&url)))
            .collect();
        let Some(first) = unaccounted.first() else {
            return Ok(());
        };
        let tables: Vec<String> = unaccounted
            .iter()
            .enumerate()
            .map(|(number, given)| {
                format!(
                    "    [[tool.flambeau.index]]\n    name = \"private{}\"\n    url = \"{}\"\n    packages = [\"corp-*\"]",
                    if number == 0 {
                        String::new()
                    } else {
                        (number + 1).to_string()
                    },
                    plain(&given.value).unwrap_or_else(|| "https://example.org/simple".to_owned()),
                )
            })
            .collect();
        Err(PipError::ExtraIndex {
            origin: format!("`extra-index-url` ({})", first.origin),
            table: tables.join("\n"),
        })
    }
}

impl Layers<'_> {
    /// The strongest value of a setting: the variable, else the highest file of the strongest section. Empty values
    /// count as absent, as with pip.
    fn one(&self, key: &str) -> Option<Given<String>> {
        let variable = format!("PIP_{}", key.to_uppercase().replace('-', "_"));
        if let Some(value) = (self.around.variable)(&variable).filter(|value| !value.is_empty()) {
            return Some(Given {
                value,
                origin: variable,
            });
        }
        ["install", "download", "global"].into_iter().find_map(|section| {
            self.files.iter().rev().find_map(|(path, ini)| {
                let value = ini.get(&(section.to_owned(), key.to_owned()))?;
                (!value.is_empty()).then(|| Given {
                    value: value.clone(),
                    origin: path.display().to_string(),
                })
            })
        })
    }

    /// A setting that takes several values, separated by white space.
    fn many(&self, key: &str) -> Vec<Given<String>> {
        let Some(given) = self.one(key) else { return Vec::new() };
        given
            .value
            .split_whitespace()
            .map(|value| Given {
                value: value.to_owned(),
                origin: given.origin.clone(),
            })
            .collect()
    }

    fn texts(&self, key: &str) -> Vec<String> {
        self.many(key).into_iter().map(|given| given.value).collect()
    }

    fn keyring(&self) -> Result<Keyring, PipError> {
        const UV: &str = "UV_KEYRING_PROVIDER";
        let uv = || {
            let value = (self.around.variable)(UV).filter(|value| !value.is_empty())?;
            let origin = UV.to_owned();
            Some(Given { value, origin })
        };
        let Some(Given { value, origin }) = self.one("keyring-provider").or_else(uv) else {
            return Ok(Keyring::default());
        };
        value.trim().parse().map_err(|problem| PipError::Keyring {
            origin: format!("`keyring-provider` ({origin})"),
            problem,
        })
    }

    fn switch(&self, key: &str) -> Result<bool, PipError> {
        let Some(given) = self.one(key) else { return Ok(false) };
        match given.value.trim().to_lowercase().as_str() {
            "y" | "yes" | "t" | "true" | "on" | "1" => Ok(true),
            "n" | "no" | "f" | "false" | "off" | "0" => Ok(false),
            value => Err(PipError::Switch {
                origin: format!("`{key}` ({})", given.origin),
                value: value.to_owned(),
            }),
        }
    }
}

/// pip's configuration files, lowest first.
fn config_files(around: Surroundings<'_>) -> Vec<PathBuf> {
    let variable = |name: &str| (around.variable)(name).filter(|value| !value.is_empty());
    let named = variable("PIP_CONFIG_FILE");
    if named.as_deref() == Some("/dev/null") {
        return Vec::new();
    }
    let mut files = Vec::new();
    match variable("XDG_CONFIG_DIRS") {
        Some(folders) => files.extend(folders.split(':').map(|folder| Path::new(folder).join("pip/pip.conf"))),
        None => files.push(around.etc.join("xdg/pip/pip.conf")),
    }
    files.push(around.etc.join("pip.conf"));
    // A named file that exists replaces the user's own.
    if named.as_ref().is_none_or(|path| !Path::new(path).exists()) {
        files.extend(around.home.map(|home| home.join(".pip/pip.conf")));
        let config = variable("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| around.home.map(|home| home.join(".config")));
        files.extend(config.map(|folder| folder.join("pip/pip.conf")));
    }
    files.extend(around.prefix.map(|prefix| prefix.join("pip.conf")));
    files.extend(named.map(PathBuf::from));
    files
}

fn tilde(text: &str, home: Option<&Path>) -> String {
    match (text.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest).display().to_string(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
