//! Reading PEP 751 text, flambeau's own and that of other tools.
//!
//! Refuses what cannot be installed from verified wheels: packages without a version or without wheels, wheels without
//! a SHA-256, with a name that is not theirs, or with a path that leaves the lockfile's folder. Keys that are not
//! needed, known to PEP 751 or not, are passed over, as the standard allows.

use std::collections::BTreeSet;

use super::raw::{RawLockfile, RawPackage, RawTool, RawWheel};
use super::read_error::{Cause, ParseError, Place, ReadWarning};
use super::staleness::requirements_digest;
use super::text::{SCHEMA, index_path, is_index_path};
use super::{LockedPackage, LockedTarget, LockedWheel, Lockfile, Origin, Settings};
use crate::backend::Channel;
use crate::digest::{RequirementsDigest, WheelDigest};
use crate::pep::{MarkerTree, PackageName, Requirement, Version, WheelFilename};
use crate::requirement;
use crate::target::Target;

/// A lockfile, and what is worth saying about its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The lockfile.
    pub lockfile: Lockfile,
    /// What to tell the user.
    pub warnings: Vec<ReadWarning>,
}

/// Reads the text of a lockfile. `channel` is that of files without `[tool.flambeau]`, which other tools made; they
/// have no targets and no requirements.
pub fn parse(text: &str, channel: &Channel) -> Result<Parsed, ParseError> {
    let mut warnings = Vec::new();
    let raw = RawLockfile::read(text, &mut warnings)?;
    let mut packages = raw
        .packages
        .iter()
        .map(package)
        .collect::<Result<Vec<LockedPackage>, ParseError>>()?;
    packages.sort_by(|left, right| (&left.name, &left.version).cmp(&(&right.name, &right.version)));
    let requires_python = optional(raw.requires_python.as_deref(), || Place::Top, "requires-python")?;
    let mut lockfile = Lockfile {
        head: head(text),
        channel: channel.clone(),
        requirements: Vec::new(),
        targets: Vec::new(),
        packages,
        requires_python,
        settings: Settings::default(),
    };
    if let Some(tool) = raw.tool.flambeau {
        read_tool(&mut lockfile, tool, &mut warnings)?;
    }
    Ok(Parsed { lockfile, warnings })
}

/// The comment lines before anything else, without blank lines around them.
fn head(text: &str) -> String {
    let comments: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .take_while(|line| line.is_empty() || line.starts_with('#'))
        .collect();
    comments.join("\n").trim_matches('\n').to_owned()
}

fn read_tool(lockfile: &mut Lockfile, tool: RawTool, warnings: &mut Vec<ReadWarning>) -> Result<(), ParseError> {
    if tool.schema != SCHEMA {
        return Err(ParseError::Schema(tool.schema));
    }
    let place = || Place::Tool;
    lockfile.channel = value(&tool.channel, place, "channel")?;
    for text in &tool.requirements {
        requirement::parse(text).map_err(|source| ParseError::Value {
            place: place(),
            key: "a requirement",
            value: text.clone(),
            source: source.into(),
        })?;
    }
    for requirement in tool.settings.constraints.iter().chain(&tool.settings.overrides) {
        value::<Requirement>(requirement, place, "a constraint or override")?;
    }
    lockfile.settings = tool.settings;
    lockfile.requirements = tool.requirements;
    if let Some(digest) = tool.requirements_digest
        && value::<RequirementsDigest>(&digest, place, "requirements-digest")?
            != requirements_digest(&lockfile.requirements)
    {
        warnings.push(ReadWarning::RequirementsEdited);
    }
    for raw in &tool.targets {
        let boundaries: Result<Vec<Version>, ParseError> = raw
            .python_boundaries
            .iter()
            .map(|version| value(version, place, "python-boundaries"))
            .collect();
        lockfile.targets.push(LockedTarget {
            target: value::<Target>(&raw.target, place, "target")?,
            python_full_version: value(&raw.python_full_version, place, "python-full-version")?,
            python_boundaries: boundaries?,
            backend: raw.backend,
            python_pinned: raw.python_pinned,
        });
    }
    lockfile.targets.sort_by_key(|locked| locked.target);
    Ok(())
}

fn package(raw: &RawPackage) -> Result<LockedPackage, ParseError> {
    let place = || Place::Package(raw.name.clone());
    let name: PackageName = value(&raw.name, place, "name")?;
    let wheels = match &raw.wheels {
        Some(wheels) if !wheels.is_empty() => wheels,
        _ => {
            return Err(ParseError::NotWheels {
                name: raw.name.clone(),
                kind: kind(raw),
            });
        }
    };
    let Some(version) = &raw.version else {
        return Err(ParseError::NoVersion { name: raw.name.clone() });
    };
    let version: Version = value(version, place, "version")?;
    let marker: Option<MarkerTree> = optional(raw.marker.as_deref(), place, "marker")?;
    let dependencies: BTreeSet<PackageName> = raw
        .dependencies
        .iter()
        .filter_map(|dependency| dependency.name.as_deref())
        .map(|name| value(name, place, "dependencies"))
        .collect::<Result<_, ParseError>>()?;
    let mut wheels = wheels
        .iter()
        .enumerate()
        .map(|(position, raw)| wheel(raw, position, &name, &version))
        .collect::<Result<Vec<LockedWheel>, ParseError>>()?;
    wheels.sort_by(|left, right| left.file.cmp(&right.file));
    Ok(LockedPackage {
        requires_python: optional(raw.requires_python.as_deref(), place, "requires-python")?,
        name,
        version,
        marker: marker.unwrap_or(MarkerTree::TRUE),
        dependencies: dependencies.into_iter().collect(),
        wheels,
    })
}

fn kind(raw: &RawPackage) -> &'static str {
    if raw.vcs.is_some() {
        "a repository"
    } else if raw.directory.is_some() {
        "a directory"
    } else if raw.archive.is_some() {
        "an archive"
    } else {
        "a source distribution"
    }
}

/// What a wheel's entry says of the wheel itself.
pub(super) struct Identity {
    pub(super) filename: WheelFilename,
    pub(super) file: String,
    pub(super) digest: WheelDigest,
}

/// Reads what identifies a wheel of `name`, and of `version` where that is known.
pub(super) fn identify(
    raw: &RawWheel,
    position: usize,
    name: &PackageName,
    version: Option<&Version>,
) -> Result<Identity, ParseError> {
    let derived = raw
        .url
        .as_deref()
        .map(file_of_url)
        .or_else(|| raw.path.as_deref().map(last));
    let Some(file) = raw.name.clone().or(derived) else {
        return Err(ParseError::NoOrigin {
            name: name.clone(),
            file: format!("wheel {}", position + 1),
        });
    };
    let place = || Place::Wheel(name.to_string(), file.clone());
    let filename: WheelFilename = value(&file, place, "the name of a wheel")?;
    let version = version.unwrap_or(&filename.version);
    if filename.name != *name || filename.version != *version {
        return Err(ParseError::OtherWheel {
            name: name.clone(),
            version: version.clone(),
            file,
        });
    }
    let Some(digest) = raw.hashes.get("sha256") else {
        return Err(ParseError::NoDigest {
            name: name.clone(),
            file,
        });
    };
    let digest = value(digest, place, "sha256")?;
    Ok(Identity { filename, file, digest })
}

fn wheel(raw: &RawWheel, position: usize, name: &PackageName, version: &Version) -> Result<LockedWheel, ParseError> {
    let Identity { filename, file, digest } = identify(raw, position, name, Some(version))?;
    let place = || Place::Wheel(name.to_string(), file.clone());
    // With both, a tool may choose; the URL says the same on every machine.
    let origin = match (&raw.url, &raw.path) {
        (Some(url), _) => Origin::Url(value(url, place, "url")?),
        (None, Some(path)) => local(path, &digest, &file).ok_or_else(|| ParseError::Path {
            name: name.clone(),
            file: file.clone(),
            path: path.clone(),
        })?,
        (None, None) => {
            return Err(ParseError::NoOrigin {
                name: name.clone(),
                file,
            });
        }
    };
    Ok(LockedWheel {
        filename,
        file,
        origin,
        size: raw.size,
        digest,
    })
}

/// What a path means: the package index, or a file on this machine; none where it is neither. Whether that file may be
/// opened is decided when somebody wants to.
fn local(path: &str, digest: &WheelDigest, file: &str) -> Option<Origin> {
    if is_index_path(path) {
        return (path == index_path(digest, file)).then_some(Origin::Index);
    }
    // PEP 751 paths may have either separator.
    (!path.contains([':', '\0']) && last(path) == file).then(|| Origin::Path(path.to_owned()))
}

pub(super) fn last(path: &str) -> String {
    path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned()
}

/// The file name at the end of a URL, decoded.
pub(super) fn file_of_url(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let mut bytes = Vec::new();
    let mut rest = last(path).into_bytes().into_iter();
    while let Some(byte) = rest.next() {
        let digits: Vec<u8> = rest.clone().take(2).collect();
        let decoded = std::str::from_utf8(&digits)
            .ok()
            .filter(|digits| byte == b'%' && digits.len() == 2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if decoded.is_some() {
            rest.nth(1);
        }
        bytes.push(decoded.unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn value<T: std::str::FromStr<Err: Into<Cause>>>(
    text: &str,
    place: impl Fn() -> Place,
    key: &'static str,
) -> Result<T, ParseError> {
    text.parse().map_err(|source: T::Err| ParseError::Value {
        place: place(),
        key,
        value: text.to_owned(),
        source: source.into(),
    })
}

pub(super) fn optional<T: std::str::FromStr<Err: Into<Cause>>>(
    text: Option<&str>,
    place: impl Fn() -> Place,
    key: &'static str,
) -> Result<Option<T>, ParseError> {
    text.map(|text| value(text, place, key)).transpose()
}
