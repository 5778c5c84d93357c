//! Files of other tools that pin packages: PEP 751 lockfiles, requirements files with hashes, `uv.lock`.
//!
//! Owns: what such a file installs for one target. Nothing is resolved: a file either says which wheels a target gets,
//! each with its SHA-256, or it is refused.
//! Refuses: source code in every form (a repository, a folder, a source distribution), packages without a SHA-256,
//! local wheels outside the file's folder unless they are allowed, URLs of any scheme but https, http and file.
//! (Plain http is left to [`crate::http`], which only speaks it to this machine and to hosts that pip trusts.)

use std::path::{Path, PathBuf};

use url::Url;

use super::raw::RawLockfile;
use super::read::Identity;
use super::text::{Parsed, index_path, is_index_path, parse};
use super::{LockedWheel, Origin};
use crate::backend::Channel;
use crate::digest::WheelDigest;
use crate::document::DocumentError;
use crate::pep::{ExtraName, GroupName, PackageName, Version, VersionSpecifiers};
use crate::python::allows;
use crate::target::Target;

mod error;
mod pylock;
mod requirements;
mod uv_lock;

pub use error::{ForeignError, LineProblem, SourceForm};

/// What a file is asked to install.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// For which target.
    pub target: &'a Target,
    /// The full version of Python that markers are evaluated with.
    pub python: &'a Version,
    /// Extras; none by default (PEP 751).
    pub extras: &'a [ExtraName],
    /// Dependency groups, beside those that the file names as its default.
    pub groups: &'a [GroupName],
}

/// One package of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// Its files.
    pub files: Files,
}

/// What a file says about a package's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    /// The wheels themselves, sorted by file name.
    Wheels(Vec<LockedWheel>),
    /// Digests alone: an index knows which wheels have them. Some belong to source distributions.
    Digests(Vec<WheelDigest>),
}

/// A file of another tool (or of flambeau itself).
#[derive(Debug)]
pub struct Foreign {
    form: Form,
    locals: Locals,
    /// What is odd about it.
    pub warnings: Vec<String>,
}

#[derive(Debug)]
enum Form {
    Ours(Box<Parsed>),
    Pylock(Box<RawLockfile>),
    Requirements(Vec<requirements::Line>),
    Uv(Box<uv_lock::UvLock>),
}

impl Foreign {
    /// Reads the text of the file at `path`, whose folder local wheels are taken from; `anywhere` allows others too.
    pub fn read(path: &Path, text: &str, anywhere: bool) -> Result<Self, ForeignError> {
        let mut warnings = Vec::new();
        let form = Form::read(path, text, &mut warnings)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let locals = Locals { folder, anywhere };
        Ok(Self { form, locals, warnings })
    }

    /// The lockfile, where flambeau wrote it: it names its targets.
    #[must_use]
    pub fn ours(&self) -> Option<&Parsed> {
        match &self.form {
            Form::Ours(parsed) => Some(parsed),
            _ => None,
        }
    }

    /// Refuses extras and groups of files that have none: those of flambeau itself, and requirements files.
    pub(crate) fn check_choices(&self, extras: &[ExtraName], groups: &[GroupName]) -> Result<(), ForeignError> {
        match &self.form {
            Form::Ours(_) | Form::Requirements(_) => unknown((extras, groups), &[], &[]),
            Form::Pylock(_) | Form::Uv(_) => Ok(()),
        }
    }

    /// The Pythons that the file was made for, where it says so.
    pub fn requires_python(&self) -> Result<Option<VersionSpecifiers>, ForeignError> {
        match &self.form {
            Form::Ours(parsed) => Ok(parsed.lockfile.requires_python.clone()),
            Form::Pylock(raw) => pylock::requires_python(raw),
            Form::Uv(lock) => lock.requires_python(),
            Form::Requirements(_) => Ok(None),
        }
    }

    /// What the file installs for `asked`, in the order of the file.
    pub fn pins(&self, asked: &Asked<'_>) -> Result<Vec<Pinned>, ForeignError> {
        if let Some(wanted) = self.requires_python()?.filter(|wanted| !allows(wanted, asked.python)) {
            return Err(ForeignError::RequiresPython {
                package: None,
                wanted,
                python: asked.python.clone(),
            });
        }
        self.check_choices(asked.extras, asked.groups)?;
        match &self.form {
            // A lockfile of ours is not reduced: it is used as it is.
            Form::Ours(_) => Ok(Vec::new()),
            Form::Pylock(raw) => pylock::pins(raw, asked, &self.locals),
            Form::Requirements(lines) => requirements::pins(lines, asked, &self.locals),
            Form::Uv(lock) => lock.pins(asked, &self.locals),
        }
    }
}

impl Form {
    fn read(path: &Path, text: &str, warnings: &mut Vec<String>) -> Result<Self, ForeignError> {
        let named = |ending: &str| {
            path.extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case(ending))
        };
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) if named("toml") || named("lock") => {
                return Err(ForeignError::Toml(DocumentError::toml(text, &error)));
            }
            Err(_) => return Ok(Self::Requirements(requirements::read(text, warnings)?)),
        };
        if ["lock-version", "created-by", "packages"]
            .iter()
            .any(|key| table.contains_key(*key))
        {
            let mut said = Vec::new();
            let raw = RawLockfile::read(text, &mut said)?;
            warnings.extend(said.iter().map(ToString::to_string));
            if raw.is_ours() {
                return Ok(Self::Ours(Box::new(parse(text, &Channel::pip())?)));
            }
            return Ok(Self::Pylock(Box::new(raw)));
        }
        if let Some(version) = table.get("version").and_then(toml::Value::as_integer) {
            return Ok(Self::Uv(Box::new(uv_lock::UvLock::read(text, version, warnings)?)));
        }
        if table.is_empty() && !named("toml") && !named("lock") {
            // Nothing but comments.
            return Ok(Self::Requirements(Vec::new()));
        }
        let has = |table: &str| text.lines().any(|line| line.trim() == table);
        Err(ForeignError::Kind {
            looks_like: if has("[project]") || has("[build-system]") {
                Some("a pyproject.toml")
            } else if has("[[package]]") && has("[metadata]") {
                Some("a lockfile of Poetry or an old one of PDM")
            } else {
                None
            },
        })
    }
}

/// Where local wheels may be.
#[derive(Debug)]
struct Locals {
    folder: PathBuf,
    anywhere: bool,
}

impl Locals {
    /// A wheel with what its file says of its place.
    fn wheel(
        &self,
        name: &PackageName,
        identity: Identity,
        (url, path): (Option<&str>, Option<&str>),
        size: Option<u64>,
    ) -> Result<LockedWheel, ForeignError> {
        let Identity { filename, file, digest } = identity;
        // With both, the URL says the same on every machine.
        let origin = match (url, path) {
            (Some(url), _) => self.url(name, url)?,
            (None, Some(path)) if is_index_path(path) && path == index_path(&digest, &file) => Origin::Index,
            (None, Some(path)) => self.local(name, path)?,
            // A name and a digest: the index knows where it is.
            (None, None) => Origin::Index,
        };
        Ok(LockedWheel {
            filename,
            file,
            origin,
            size,
            digest,
        })
    }

    fn url(&self, name: &PackageName, text: &str) -> Result<Origin, ForeignError> {
        let mut url = Url::parse(text).map_err(|_| ForeignError::Path {
            name: name.to_string(),
            path: text.into(),
        })?;
        url.set_fragment(None);
        match url.scheme() {
            "https" | "http" => Ok(Origin::Url(url)),
            "file" => match url.to_file_path() {
                Ok(path) => self.local(name, &path.to_string_lossy()),
                Err(()) => Err(ForeignError::Path {
                    name: name.to_string(),
                    path: text.into(),
                }),
            },
            scheme => Err(ForeignError::Scheme {
                name: name.to_string(),
                scheme: scheme.to_owned(),
            }),
        }
    }

    /// A local file. Symlinks are followed before it is asked whether the file is inside.
    fn local(&self, name: &PackageName, text: &str) -> Result<Origin, ForeignError> {
        // PEP 751: either separator.
        let path = self.folder.join(text.replace('\\', "/"));
        let unusable = |path: &Path| ForeignError::Path {
            name: name.to_string(),
            path: path.to_owned(),
        };
        let absolute = std::path::absolute(&path).map_err(|_| unusable(&path))?;
        if !self.anywhere && !inside(&self.folder, &absolute) {
            return Err(ForeignError::Outside {
                name: name.to_string(),
                path: text.to_owned(),
            });
        }
        Url::from_file_path(&absolute)
            .map(Origin::Url)
            .map_err(|()| unusable(&path))
    }
}

/// Whether `path` leads to a file below `folder`. A file that does not exist is judged by its folder and never by its
/// text alone.
pub(crate) fn inside(folder: &Path, path: &Path) -> bool {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let Ok(folder) = folder.canonicalize() else {
        return false;
    };
    let real = path.canonicalize().or_else(|_| {
        let parent = path.parent().unwrap_or(path).canonicalize()?;
        Ok::<_, std::io::Error>(parent.join(path.file_name().unwrap_or_default()))
    });
    real.is_ok_and(|real| real.starts_with(&folder) && real.file_name().is_some())
}

/// Refuses extras and groups that a file does not have.
fn unknown(
    (asked_extras, asked_groups): (&[ExtraName], &[GroupName]),
    extras: &[String],
    groups: &[String],
) -> Result<(), ForeignError> {
    let same = |have: &str, asked: &str| have == asked || have.replace(['_', '.'], "-").eq_ignore_ascii_case(asked);
    if let Some(extra) = asked_extras
        .iter()
        .find(|extra| !extras.iter().any(|have| same(have, extra.as_str())))
    {
        return Err(ForeignError::Extra {
            extra: extra.to_string(),
            have: extras.to_vec(),
        });
    }
    if let Some(group) = asked_groups
        .iter()
        .find(|group| !groups.iter().any(|have| same(have, group.as_str())))
    {
        return Err(ForeignError::Group {
            group: group.to_string(),
            have: groups.to_vec(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
