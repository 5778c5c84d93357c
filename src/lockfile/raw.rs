//! The keys of a PEP 751 file as TOML has them, before anything is made of their values.
//!
//! Refuses: files and entries without the keys that the standard requires, values of another type, entries that name no
//! source or several, names that are not normalised. All entries are checked, also those that a marker leaves out.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Settings;
use super::read::{file_of_url, last, value};
use super::read_error::{ParseError, Place, ReadWarning};
use super::text::{LOCK_VERSION, SCHEMA};
use crate::backend::Backend;
use crate::document::DocumentError;
use crate::pep::PackageName;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RawLockfile {
    pub(super) lock_version: String,
    pub(super) requires_python: Option<String>,
    #[serde(default)]
    pub(super) environments: Vec<String>,
    #[serde(default)]
    pub(super) extras: Vec<String>,
    #[serde(default)]
    pub(super) dependency_groups: Vec<String>,
    #[serde(default)]
    pub(super) default_groups: Vec<String>,
    #[serde(rename = "created-by")]
    _created_by: String,
    pub(super) packages: Vec<RawPackage>,
    #[serde(default)]
    pub(super) tool: RawTools,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RawPackage {
    pub(super) name: String,
    pub(super) version: Option<String>,
    pub(super) marker: Option<String>,
    pub(super) requires_python: Option<String>,
    #[serde(default)]
    pub(super) dependencies: Vec<RawDependency>,
    pub(super) wheels: Option<Vec<RawWheel>>,
    pub(super) sdist: Option<RawWheel>,
    pub(super) vcs: Option<RawRepository>,
    pub(super) directory: Option<RawDirectory>,
    /// An archive may be a wheel.
    pub(super) archive: Option<RawWheel>,
    #[serde(rename = "attestation-identities", default)]
    _attestation_identities: Vec<RawIdentity>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawDependency {
    pub(super) name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RawIdentity {
    #[serde(rename = "kind")]
    _kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RawRepository {
    #[serde(rename = "type")]
    _type: String,
    pub(super) url: Option<String>,
    pub(super) path: Option<String>,
    pub(super) requested_revision: Option<String>,
    pub(super) commit_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawDirectory {
    pub(super) path: String,
}

/// A wheel; a source distribution or an archive has the same keys.
#[derive(Debug, Deserialize)]
pub(super) struct RawWheel {
    pub(super) name: Option<String>,
    pub(super) url: Option<String>,
    pub(super) path: Option<String>,
    pub(super) size: Option<u64>,
    #[serde(default)]
    pub(super) hashes: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, Default)]
pub(super) struct RawTools {
    pub(super) flambeau: Option<RawTool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RawTool {
    pub(super) schema: u32,
    pub(super) channel: String,
    #[serde(default)]
    pub(super) requirements: Vec<String>,
    pub(super) requirements_digest: Option<String>,
    #[serde(default)]
    pub(super) targets: Vec<RawTarget>,
    #[serde(flatten)]
    pub(super) settings: Settings,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RawTarget {
    pub(super) target: String,
    pub(super) python_full_version: String,
    #[serde(default)]
    pub(super) python_boundaries: Vec<String>,
    #[serde(default)]
    pub(super) python_pinned: bool,
    pub(super) backend: Backend,
}

impl RawLockfile {
    /// Reads the text as far as every tool's file has it.
    pub(super) fn read(text: &str, warnings: &mut Vec<ReadWarning>) -> Result<Self, ParseError> {
        let raw: Self = toml::from_str(text).map_err(|error| newer(text).unwrap_or_else(|| malformed(text, error)))?;
        if let Some(warning) = check_version(&raw.lock_version)? {
            warnings.push(warning);
        }
        raw.packages.iter().try_for_each(RawPackage::check)?;
        Ok(raw)
    }

    /// Whether flambeau wrote it, and says for which targets.
    pub(super) fn is_ours(&self) -> bool {
        self.tool.flambeau.as_ref().is_some_and(|tool| !tool.targets.is_empty())
    }
}

/// The settings alone, in which an error has its place.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only its errors are looked at")]
struct SettingsOnly {
    tool: Option<SettingsTools>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its errors are looked at")]
struct SettingsTools {
    flambeau: Option<Settings>,
}

fn malformed(text: &str, error: toml::de::Error) -> ParseError {
    // What is flattened is read without its place: it is read again by itself.
    let error = toml::from_str::<SettingsOnly>(text).err().unwrap_or(error);
    ParseError::Syntax(DocumentError::toml(text, &error))
}

/// Why the text has another shape, where it says that it follows a version that this program does not know.
fn newer(text: &str) -> Option<ParseError> {
    let table: toml::Table = text.parse().ok()?;
    if let Err(error) = check_version(table.get("lock-version")?.as_str()?) {
        return Some(error);
    }
    let schema = table.get("tool")?.get("flambeau")?.get("schema")?.as_integer()?;
    let schema = u32::try_from(schema).ok().filter(|schema| *schema != SCHEMA)?;
    Some(ParseError::Schema(schema))
}

fn check_version(version: &str) -> Result<Option<ReadWarning>, ParseError> {
    if version == LOCK_VERSION {
        return Ok(None);
    }
    match version.strip_prefix("1.").map(str::parse::<u32>) {
        Some(Ok(_)) => Ok(Some(ReadWarning::NewerMinor(version.to_owned()))),
        _ => Err(ParseError::LockVersion(version.to_owned())),
    }
}

impl RawPackage {
    /// What the types above cannot say.
    fn check(&self) -> Result<(), ParseError> {
        let place = || Place::Package(self.name.clone());
        let name: PackageName = value(&self.name, place, "name")?;
        if name.as_str() != self.name {
            return Err(ParseError::NotNormalised {
                written: self.name.clone(),
                name,
            });
        }
        self.check_sources()?;
        let files = self.wheels.iter().flatten().map(|wheel| ("a wheel", wheel));
        let sdist = self.sdist.iter().map(|sdist| ("the sdist", sdist));
        let archive = self.archive.iter().map(|archive| ("the archive", archive));
        for (what, file) in files.chain(sdist).chain(archive) {
            let (url, path) = (file.url.as_deref(), file.path.as_deref());
            let named = || {
                file.name
                    .clone()
                    .or_else(|| url.map(file_of_url))
                    .or_else(|| path.map(last))
            };
            let file_name = || named().unwrap_or_else(|| what.to_owned());
            if lacks_place(url, path) {
                return Err(ParseError::NoOrigin {
                    name,
                    file: file_name(),
                });
            }
            if file.hashes.is_empty() {
                return Err(ParseError::NoHash {
                    name,
                    file: file_name(),
                });
            }
        }
        match &self.vcs {
            Some(vcs) if lacks_place(vcs.url.as_deref(), vcs.path.as_deref()) => Err(ParseError::NoOrigin {
                name,
                file: "the repository".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// One direct source, or else files of an index.
    fn check_sources(&self) -> Result<(), ParseError> {
        let named = [
            ("vcs", self.vcs.is_some()),
            ("directory", self.directory.is_some()),
            ("archive", self.archive.is_some()),
            ("sdist", self.sdist.is_some()),
            ("wheels", self.wheels.as_ref().is_some_and(|wheels| !wheels.is_empty())),
        ];
        let keys: Vec<&'static str> = named.into_iter().filter(|(_, is)| *is).map(|(key, _)| key).collect();
        match keys[..] {
            [] => Err(ParseError::NoSource(self.name.clone())),
            [_] | ["sdist", "wheels"] => Ok(()),
            _ => Err(ParseError::Sources {
                name: self.name.clone(),
                keys,
            }),
        }
    }
}

fn lacks_place(url: Option<&str>, path: Option<&str>) -> bool {
    url.is_none_or(str::is_empty) && path.is_none_or(str::is_empty)
}
