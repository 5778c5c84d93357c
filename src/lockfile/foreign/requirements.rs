//! Requirements files in pip's `--require-hashes` form: every line one version and its SHA-256 digests.
//!
//! ```text
//! jinja2==3.1.6 ; python_version >= "3.9" \
//!     --hash=sha256:85ec… \
//!     --hash=sha256:0137…
//! torch @ https://download.pytorch.org/whl/cu118/torch-2.7.0%2Bcu118-….whl --hash=sha256:…
//! ./wheels/mine-1.0-py3-none-any.whl --hash=sha256:…
//! ```
//!
//! Such a file says no names of files: an index knows which wheels have the digests. Refuses: lines without a digest or
//! without one exact version, other files (`-r`, `-c`), editable requirements. Options that choose an index are passed
//! over with a warning, because the machine's own index is used.

use std::str::FromStr as _;

use super::super::raw::RawWheel;
use super::super::read::{Identity, file_of_url, identify, last};
use super::{Asked, Files, ForeignError, LineProblem, Locals, Pinned};
use crate::digest::WheelDigest;
use crate::pep::{MarkerTree, Operator, PackageName, Requirement, Version, VersionOrUrl, WheelFilename};

/// Options that choose where packages come from.
const INDEX: [&str; 7] = [
    "--index-url",
    "-i",
    "--extra-index-url",
    "--find-links",
    "-f",
    "--no-index",
    "--trusted-host",
];

/// Options that ask for what is done anyway, or that nothing here depends on.
const NEEDLESS: [&str; 6] = [
    "--require-hashes",
    "--only-binary",
    "--prefer-binary",
    "--pre",
    "--use-feature",
    "--index-strategy",
];

/// One requirement of a file.
#[derive(Debug)]
pub(super) struct Line {
    name: PackageName,
    marker: MarkerTree,
    what: What,
    digests: Vec<WheelDigest>,
}

#[derive(Debug)]
enum What {
    /// One version, whose files an index knows.
    Version(Version),
    /// One wheel: where it is, as written.
    Wheel(String),
    /// Something else that an URL leads to.
    Source(String),
}

/// Reads the text; `warnings` get the options that are passed over.
pub(super) fn read(text: &str, warnings: &mut Vec<String>) -> Result<Vec<Line>, ForeignError> {
    let mut lines = Vec::new();
    let mut ignored: Vec<String> = Vec::new();
    for (number, logical) in logical_lines(text) {
        let problem = |problem| ForeignError::Line { line: number, problem };
        if logical.starts_with('-') {
            let option = logical
                .split(|c: char| c == '=' || c.is_whitespace())
                .next()
                .unwrap_or_default();
            let owned = || logical.clone();
            match option {
                "-r" | "--requirement" | "-c" | "--constraint" => return Err(problem(LineProblem::Include(owned()))),
                "-e" | "--editable" => return Err(problem(LineProblem::Editable(owned()))),
                _ if INDEX.contains(&option) => ignored.push(option.to_owned()),
                _ if NEEDLESS.contains(&option) => {}
                _ => return Err(problem(LineProblem::Option(option.to_owned()))),
            }
            continue;
        }
        lines.push(line(&logical).map_err(problem)?);
    }
    if !ignored.is_empty() {
        ignored.sort();
        ignored.dedup();
        warnings.push(format!(
            "{} passed over: wheels come from this machine's package index, by name and digest",
            ignored.join(", ")
        ));
    }
    Ok(lines)
}

/// Lines with their continuations joined and their comments removed, and the number of the first of each; as pip joins
/// them, a comment line ends what it continues.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut pending: Option<(usize, String)> = None;
    for (position, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let comment = line.trim_start().starts_with('#');
        let (number, mut joined) = pending.take().unwrap_or((position + 1, String::new()));
        if let Some(continued) = line.trim_end().strip_suffix('\\').filter(|_| !comment) {
            joined.push_str(continued);
            joined.push(' ');
            pending = Some((number, joined));
            continue;
        }
        joined.push(' ');
        joined.push_str(line);
        lines.push((number, joined));
    }
    lines.extend(pending);
    lines
        .into_iter()
        .map(|(number, line)| (number, without_comment(&line).trim().to_owned()))
        .filter(|(_, line)| !line.is_empty())
        .collect()
}

/// A comment starts with a `#` that begins the line or follows white space: URLs may hold others.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if c == '#' && before.is_whitespace() {
            return &line[..at];
        }
        before = c;
    }
    line
}

fn line(text: &str) -> Result<Line, LineProblem> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let options = words
        .iter()
        .position(|word| word.starts_with("--"))
        .unwrap_or(words.len());
    let (requirement, options) = words.split_at(options);
    let requirement = requirement.join(" ");
    let digests = digests(options)?;
    let line = if is_place(&requirement) {
        place(&requirement, digests)?
    } else {
        pinned(&requirement, digests)?
    };
    if line.digests.is_empty() && !matches!(line.what, What::Source(_)) {
        return Err(LineProblem::Unhashed(requirement));
    }
    if line.digests.len() > 1 && matches!(line.what, What::Wheel(_)) {
        return Err(LineProblem::SeveralHashes(requirement));
    }
    Ok(line)
}

/// `--hash=sha256:…` and `--hash sha256:…`; digests of other kinds are passed over.
fn digests(options: &[&str]) -> Result<Vec<WheelDigest>, LineProblem> {
    let mut digests = Vec::new();
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let value = match word.split_once('=') {
            Some(("--hash", value)) => value,
            None if *word == "--hash" => words.next().copied().unwrap_or_default(),
            _ => return Err(LineProblem::Option((*word).to_owned())),
        };
        if let Some(digest) = value.strip_prefix("sha256:") {
            let digest = digest.parse().map_err(|_| LineProblem::Hash(digest.to_owned()))?;
            if !digests.contains(&digest) {
                digests.push(digest);
            }
        }
    }
    Ok(digests)
}

/// Whether a requirement is a bare path or URL.
fn is_place(requirement: &str) -> bool {
    let first = requirement.split_whitespace().next().unwrap_or_default();
    !requirement.contains(" @ ") && !first.contains('@') && (first.contains('/') || first.ends_with(".whl"))
        || first.contains("://") && !first.contains('@')
}

fn place(text: &str, digests: Vec<WheelDigest>) -> Result<Line, LineProblem> {
    let (place, marker) = text
        .split_once(" ;")
        .map_or((text, None), |(place, marker)| (place, Some(marker)));
    let file = file_of_url(place);
    let Ok(filename) = WheelFilename::from_str(&file) else {
        return Err(LineProblem::Editable(text.to_owned()));
    };
    let marker = marker
        .map_or(Ok(MarkerTree::TRUE), |marker| marker.trim().parse())
        .map_err(|_| LineProblem::Form(text.to_owned()))?;
    Ok(Line {
        name: filename.name,
        marker,
        what: What::Wheel(place.trim().to_owned()),
        digests,
    })
}

fn pinned(text: &str, digests: Vec<WheelDigest>) -> Result<Line, LineProblem> {
    let requirement: Requirement = text.parse().map_err(|_| LineProblem::Form(text.to_owned()))?;
    let what = match &requirement.version_or_url {
        Some(VersionOrUrl::Url(url)) => {
            let raw = url.raw().as_str();
            if last(raw.split(['?', '#']).next().unwrap_or(raw)).ends_with(".whl") {
                What::Wheel(raw.to_owned())
            } else {
                What::Source(raw.to_owned())
            }
        }
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => match specifiers.iter().collect::<Vec<_>>()[..] {
            [one] if matches!(one.operator(), Operator::Equal | Operator::ExactEqual) => {
                What::Version(one.version().clone())
            }
            _ => return Err(LineProblem::Unpinned(text.to_owned())),
        },
        None => return Err(LineProblem::Unpinned(text.to_owned())),
    };
    Ok(Line {
        name: requirement.name,
        marker: requirement.marker,
        what,
        digests,
    })
}

/// The lines that hold for `asked`.
pub(super) fn pins(lines: &[Line], asked: &Asked<'_>, locals: &Locals) -> Result<Vec<Pinned>, ForeignError> {
    let environment = asked.target.markers(asked.python);
    let mut pins: Vec<Pinned> = Vec::new();
    for line in lines.iter().filter(|line| line.marker.evaluate(&environment, &[])) {
        let pin = match &line.what {
            What::Version(version) => Pinned {
                name: line.name.clone(),
                version: version.clone(),
                files: Files::Digests(line.digests.clone()),
            },
            What::Wheel(place) => wheel(line, place, locals)?,
            What::Source(place) => {
                return Err(ForeignError::NotWheels {
                    name: line.name.to_string(),
                    version: None,
                    source_form: super::SourceForm::Archive(place.clone()),
                });
            }
        };
        // One package may stand on two lines whose markers both hold.
        let twin = pins
            .iter_mut()
            .find(|other| other.name == pin.name && other.version == pin.version);
        match (twin.map(|twin| &mut twin.files), pin.files) {
            (Some(Files::Digests(known)), Files::Digests(more)) => known.extend(more),
            (_, files) => pins.push(Pinned { files, ..pin }),
        }
    }
    Ok(pins)
}

fn wheel(line: &Line, place: &str, locals: &Locals) -> Result<Pinned, ForeignError> {
    let (url, path) = if place.contains("://") {
        (Some(place.to_owned()), None)
    } else {
        (None, Some(place.trim_start_matches("file:").to_owned()))
    };
    let hash = line.digests.first().map(ToString::to_string).unwrap_or_default();
    let raw = RawWheel {
        name: None,
        url,
        path,
        size: None,
        hashes: [("sha256".to_owned(), hash)].into(),
    };
    let identity: Identity = identify(&raw, 0, &line.name, None)?;
    let version = identity.filename.version.clone();
    let wheel = locals.wheel(&line.name, identity, (raw.url.as_deref(), raw.path.as_deref()), None)?;
    Ok(Pinned {
        name: line.name.clone(),
        version,
        files: Files::Wheels(vec![wheel]),
    })
}
