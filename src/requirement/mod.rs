//! Requirements as users write them: PEP 508, and wheels by URL or path.
//!
//! ```text
//! name[extra] @ https://…/x.whl#sha256=… ; marker    that wheel
//! name @ file:///…/x.whl, name @ ./dist/x.whl        a local wheel; relative paths start at the project's folder
//! ./dist/x.whl, ./dist/x.whl[extra], https://…/x.whl the same, called as the wheel's file name says
//! ```
//!
//! A relative path is a URI reference, which PEP 508 allows and its parsers do not; inside a [`Requirement`] it stands
//! as a `file:` URL of a host that cannot exist (RFC 2606), and [`text`] writes it back.
//!
//! Owns: those forms, and what of them can be locked ([`wheel_of`]). Refuses there: sources (archives, folders,
//! repositories), logins and environment variables in a URL (lockfiles are committed), digests that are no SHA-256,
//! a wheel of another name than the requirement's. Reading alone is lenient: a project may hold requirements that only
//! other tools use.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use url::Url;

use crate::digest::WheelDigest;
use crate::pep::{Requirement, VersionOrUrl, WheelFilename};

mod error;

pub use error::{ReferenceError, Sources, SyntaxError};

/// What a relative path starts with in a [`Requirement`]; the number of its `..` follows, then the rest of it.
const PROJECT: &str = "file://project.invalid/";

/// What a path may not hold in a URI reference.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// A wheel that a requirement names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The file name, parsed.
    pub filename: WheelFilename,
    /// The file name as it stands there, decoded.
    pub file: String,
    /// Where it is.
    pub location: Location,
    /// The digest that the requirement states.
    pub digest: Option<WheelDigest>,
}

/// Where a wheel is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// On a server; without fragment.
    Url(Url),
    /// On this machine, below or beside the project's folder.
    Project(String),
    /// On this machine.
    Absolute(PathBuf),
}

/// Reads a requirement in any of the forms.
pub fn parse(text: &str) -> Result<Requirement, SyntaxError> {
    let text = text.trim();
    let (head, marker) = split_marker(text);
    // Asked first: `demo-1.0-py3-none-any.whl` could be read as a name.
    if let Some(full) = named(head)? {
        return grammar(&format!("{full}{marker}"));
    }
    grammar(text).or_else(|error| match relative(head) {
        Some(full) => grammar(&format!("{full}{marker}")),
        None => Err(error),
    })
}

fn grammar(text: &str) -> Result<Requirement, SyntaxError> {
    text.parse().map_err(|error: <Requirement as std::str::FromStr>::Err| {
        // The parser's message spans several lines, with a caret; its first line says it.
        SyntaxError::Grammar(error.to_string().lines().next().unwrap_or_default().to_owned())
    })
}

/// Splits at the marker; after a URL or path it needs a space before the semicolon (PEP 508).
fn split_marker(text: &str) -> (&str, &str) {
    match text.find(" ;").or_else(|| text.find("\t;")) {
        Some(at) => (text[..at].trim_end(), &text[at..]),
        None => (text, ""),
    }
}

/// `name[extras] @ …` of a wheel's path or URL alone; none where `head` is something else.
fn named(head: &str) -> Result<Option<String>, SyntaxError> {
    let (place, extras) = match head.rfind('[').filter(|_| head.ends_with(']')) {
        Some(at) => (&head[..at], &head[at..]),
        None => (head, ""),
    };
    let (path, fragment) = place.split_once('#').unwrap_or((place, ""));
    let is_scheme = |scheme: &str| scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let is_url = path.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme)) || path.starts_with("file:");
    let is_wheel = path.split('?').next().unwrap_or(path).ends_with(".whl");
    let starts_as_path = path.starts_with(['.', '/']) || is_url;
    if path.contains(" @") || path.contains("]@") || !starts_as_path && !is_wheel {
        return Ok(None);
    }
    if !is_wheel {
        return Err(SyntaxError::Sources(Sources::of(&shown(place))));
    }
    // `name@./x.whl`: the name is there.
    if !starts_as_path && path.contains('@') {
        return Ok(None);
    }
    let file = file_of(path);
    let filename = file.parse::<WheelFilename>();
    let filename =
        filename.map_err(|error| SyntaxError::Grammar(format!("{file} is not how a wheel is called: {error}")))?;
    let place = if is_url {
        path.to_owned()
    } else {
        reference(Path::new(path)).into_owned()
    };
    let fragment = if fragment.is_empty() {
        String::new()
    } else {
        format!("#{fragment}")
    };
    Ok(Some(format!("{}{extras} @ {place}{fragment}", filename.name)))
}

/// `name @ path` with the path as a URL; none where `head` is something else.
fn relative(head: &str) -> Option<String> {
    let (name, place) = head.split_once('@')?;
    let place = place.trim();
    let is_name = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.[], \t".contains(c));
    if !is_name || place.is_empty() || place.contains("://") || place.contains(char::is_whitespace) {
        return None;
    }
    let (path, fragment) = place.split_at(place.find('#').unwrap_or(place.len()));
    // Already a URI reference: what is encoded stays so.
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    Some(format!("{name} @ {}{fragment}", reference(Path::new(&*decoded))))
}

/// A path as a URL: absolute ones as they are, others in the form of this module, without needless steps.
fn reference(path: &Path) -> Cow<'static, str> {
    if path.is_absolute() {
        return Url::from_file_path(path).map_or(Cow::Borrowed(""), |url| Cow::Owned(url.into()));
    }
    let mut parts: Vec<String> = Vec::new();
    for component in path.components() {
        match component {
            Component::ParentDir if parts.last().is_some_and(|part| part != "..") => drop(parts.pop()),
            Component::ParentDir => parts.push("..".to_owned()),
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    let up = parts.iter().take_while(|part| *part == "..").count();
    let rest = parts[up..].join("/");
    format!("{PROJECT}{up}/{}", utf8_percent_encode(&rest, IN_PATH)).into()
}

/// The relative path of a URL that [`reference`] made.
fn unreference(url: &str) -> Option<String> {
    let (up, rest) = url.strip_prefix(PROJECT)?.split_once('/')?;
    let up = "../".repeat(up.parse::<usize>().ok().filter(|up| *up < 256)?);
    Some(format!("{}{rest}", if up.is_empty() { "./" } else { &up }))
}

/// The requirement as text that [`parse`] reads: relative paths are written as such. Logins are not shown.
#[must_use]
pub fn text(requirement: &Requirement) -> String {
    plain(&requirement.to_string())
}

/// Text with relative paths as users write them.
fn plain(text: &str) -> String {
    let found = text.find(&format!(" @ {PROJECT}"));
    let whole = found.and_then(|at| Some(format!("{} @ {}", &text[..at], unreference(&text[at + 3..])?)));
    whole.unwrap_or_else(|| text.to_owned())
}

/// The canonical text of a URL or path, relative paths as users write them.
#[must_use]
pub fn place_text(requirement: &Requirement) -> Option<String> {
    match &requirement.version_or_url {
        Some(VersionOrUrl::Url(url)) => {
            let url = url.raw().as_str();
            Some(unreference(url).unwrap_or_else(|| url.to_owned()))
        }
        _ => None,
    }
}

/// Text for messages: without the login of a URL in it.
#[must_use]
pub fn shown(text: &str) -> String {
    let Some(start) = text.find("://").map(|at| at + 3) else {
        return text.to_owned();
    };
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    match text[start..end].rfind('@') {
        Some(at) if &text[start..start + at] != "git" => format!("{}****{}", &text[..start], &text[start + at..]),
        _ => text.to_owned(),
    }
}

/// Whether it names a URL or path.
#[must_use]
pub fn is_direct(requirement: &Requirement) -> bool {
    matches!(requirement.version_or_url, Some(VersionOrUrl::Url(_)))
}

/// Whether it names a path relative to the project, which other tools do not understand.
#[must_use]
pub fn is_relative(requirement: &Requirement) -> bool {
    matches!(&requirement.version_or_url, Some(VersionOrUrl::Url(url)) if url.raw().as_str().starts_with(PROJECT))
}

/// A requirement of the command line as the project holds it: paths relative to `cwd` become relative to `project`,
/// and absolute ones below it too. Other text stays as it is.
pub fn given(text: &str, cwd: &Path, project: &Path) -> Result<String, SyntaxError> {
    let requirement = parse(text)?;
    let Ok(Some(reference)) = wheel_of(&requirement) else {
        return Ok(text.trim().to_owned());
    };
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (cwd, project) = (real(cwd), real(project));
    let place = match &reference.location {
        Location::Url(_) => return Ok(self::text(&requirement)),
        Location::Project(path) => between(&project, &cwd.join(path)),
        Location::Absolute(path) => match path.strip_prefix(&project) {
            Ok(inside) => inside.to_owned(),
            Err(_) => return Ok(self::text(&requirement)),
        },
    };
    let digest = reference.digest.map(|digest| format!("#sha256={digest}"));
    let mut extras = String::new();
    if !requirement.extras.is_empty() {
        let names: Vec<&str> = requirement.extras.iter().map(AsRef::as_ref).collect();
        extras = format!("[{}]", names.join(","));
    }
    let marker = requirement.marker.try_to_string();
    let marker = marker.map_or_else(String::new, |marker| format!(" ; {marker}"));
    let (name, place, digest) = (&requirement.name, self::reference(&place), digest.unwrap_or_default());
    Ok(plain(&format!("{name}{extras} @ {place}{digest}{marker}")))
}

/// `to` as seen from `from`; both absolute.
#[must_use]
pub fn between(from: &Path, to: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in to.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    let same = from.components().zip(normal.components()).take_while(|(a, b)| a == b);
    let same = same.count();
    let up = from.components().skip(same).map(|_| Component::ParentDir);
    up.chain(normal.components().skip(same)).collect()
}

/// The wheel that a requirement names; none where it names versions.
pub fn wheel_of(requirement: &Requirement) -> Result<Option<Reference>, ReferenceError> {
    let Some(VersionOrUrl::Url(verbatim)) = &requirement.version_or_url else {
        return Ok(None);
    };
    let written = || text(requirement);
    let mut url = Url::from(verbatim.clone());
    let sources = |sources: Sources| ReferenceError::Sources {
        requirement: shown(&written()),
        sources,
    };
    let place = || shown(&place_text(requirement).unwrap_or_default());
    // `git@` in the URL of a repository is no secret, and not why it is refused.
    if url.scheme().contains('+') || url.path().ends_with(".git") {
        return Err(sources(Sources::Repository(place())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ReferenceError::Login {
            name: requirement.name.clone(),
        });
    }
    if verbatim.given().is_some_and(|given| given.contains("${")) {
        return Err(ReferenceError::Variable { requirement: written() });
    }
    let fragment = url.fragment().map(str::to_owned);
    url.set_fragment(None);
    let location = match url.scheme() {
        "http" | "https" => Location::Url(url.clone()),
        "file" if url.as_str().starts_with(PROJECT) => {
            let path = unreference(url.as_str()).unwrap_or_default();
            Location::Project(percent_decode_str(&path).decode_utf8_lossy().into_owned())
        }
        "file" => match url.to_file_path() {
            Ok(path) => Location::Absolute(path),
            Err(()) => {
                return Err(ReferenceError::Scheme {
                    requirement: written(),
                    scheme: "file with a host".to_owned(),
                });
            }
        },
        scheme => {
            return Err(ReferenceError::Scheme {
                requirement: written(),
                scheme: scheme.to_owned(),
            });
        }
    };
    let file = file_of(url.path());
    if !file.ends_with(".whl") {
        return Err(sources(Sources::of(&place())));
    }
    let filename: WheelFilename =
        file.parse().map_err(
            |source: <WheelFilename as std::str::FromStr>::Err| ReferenceError::FileName {
                requirement: written(),
                file: file.clone(),
                source: Box::new(source),
            },
        )?;
    if filename.name != requirement.name {
        return Err(ReferenceError::OtherName {
            requirement: written(),
            name: requirement.name.clone(),
            other: filename.name.clone(),
            file,
        });
    }
    let digest = fragment.as_deref().map(digest_of).transpose();
    let digest = digest.map_err(|fragment| ReferenceError::Fragment {
        requirement: written(),
        fragment,
    })?;
    Ok(Some(Reference {
        filename,
        file,
        location,
        digest,
    }))
}

/// The last part of a path or URL, decoded.
fn file_of(path: &str) -> String {
    let path = path.split('?').next().unwrap_or(path);
    let last = path.rsplit('/').next().unwrap_or(path);
    percent_decode_str(last).decode_utf8_lossy().into_owned()
}

fn digest_of(fragment: &str) -> Result<WheelDigest, String> {
    let digest = fragment.strip_prefix("sha256=").and_then(|digest| digest.parse().ok());
    digest.ok_or_else(|| fragment.to_owned())
}

#[cfg(test)]
mod tests;
