//! What to do next where a file of another tool (`--from`) cannot be installed from, or a file for other tools
//! (`export`) cannot be made.

use super::explain::{Advice, advice, files, lockfile, network, plan};
use crate::config::{Declared, ForeignDependencies};
use crate::error::Kind;
use crate::lockfile::foreign::{ForeignError, LineProblem, SourceForm};
use crate::project::direct::DirectError;
use crate::project::export::ExportError;
use crate::project::from::FromError;
use crate::project::lockfiles::LockfileError;
use crate::project::plan::PlanError;
use crate::requirement::{ReferenceError, Sources};

pub(super) fn export(error: &ExportError) -> Option<Advice> {
    match error {
        ExportError::Network(inner) => network(inner),
        ExportError::Unlisted { .. } => Some(advice(
            Kind::Network,
            ["the index may have dropped the file; `flambeau lock --upgrade` locks what it has now"],
        )),
        ExportError::Index { .. } | ExportError::Select { .. } => None,
    }
}

pub(super) fn from(error: &FromError) -> Option<Advice> {
    match error {
        // What can be done about the project's own lockfile is no advice for another tool's.
        FromError::Lockfile(LockfileError::Missing(_) | LockfileError::NotText(_))
        | FromError::Plan(PlanError::Stale { .. } | PlanError::NoTargets { .. }) => Some(advice(Kind::User, [])),
        FromError::Lockfile(inner) => lockfile(inner),
        FromError::Plan(inner) => plan(inner),
        FromError::Network(inner) => network(inner),
        FromError::NoWheel { .. } => Some(advice(
            Kind::User,
            ["choose another Python with --python, or let the tool that made the file lock for this one"],
        )),
        FromError::Unlisted { name, version, .. } => Some((
            Kind::User,
            vec![
                "the digests may be of a source distribution, or of files that another index has".to_owned(),
                format!("`pip wheel --no-deps {name}=={version}` makes a wheel of a source distribution"),
            ],
        )),
        FromError::OtherChannel { .. } => Some(advice(Kind::User, ["leave --channel out: the file says it"])),
        FromError::Backend(_) => Some(advice(Kind::Network, ["name the channel with --channel"])),
        FromError::Foreign { .. } | FromError::Index { .. } => None,
    }
}

/// What to do about a wheel that a requirement names by URL or path.
pub(super) fn direct(error: &DirectError) -> Option<Advice> {
    match error {
        DirectError::Reference(inner) => Some(reference(inner)),
        DirectError::TwoFiles { .. } => Some(advice(Kind::User, [])),
        DirectError::Outside { .. } => Some(advice(
            Kind::User,
            ["--allow-path allows wheels from anywhere on this machine, or move it into the project"],
        )),
        DirectError::Missing { .. } => Some(advice(
            Kind::User,
            ["relative paths are seen from the project's folder"],
        )),
        DirectError::Digest { .. } => Some(advice(
            Kind::Integrity,
            ["if the file is right, correct the digest in the requirement"],
        )),
        DirectError::Unusable { .. } => Some(advice(Kind::Integrity, ["name another wheel"])),
        DirectError::Index { .. } => None,
        DirectError::Family { .. } => Some(advice(
            Kind::User,
            [
                "name a version, so that the channel's own wheel is taken",
                "`--channel pip` takes builds of torch that are no channel's",
            ],
        )),
        DirectError::OtherChannel { found, .. } => Some((
            Kind::User,
            vec![format!(
                "lock it with `--channel {found}`, which takes all of torch from there"
            )],
        )),
        DirectError::Path(inner) => files(inner),
        DirectError::Fetch { .. } => Some(advice(Kind::Network, ["check the URL in the requirement"])),
    }
}

/// What to do about a requirement by URL or path that cannot be locked.
pub(super) fn reference(error: &ReferenceError) -> Advice {
    match error {
        ReferenceError::Sources { sources, .. } => (Kind::User, wheel_of_sources(sources)),
        ReferenceError::Login { .. } => advice(
            Kind::User,
            ["download the wheel and name its path, or serve it from an index of `[[tool.flambeau.index]]`"],
        ),
        ReferenceError::Variable { .. } => advice(
            Kind::User,
            ["a path that starts with `./` is seen from the project's folder"],
        ),
        _ => advice(
            Kind::User,
            ["write it as `name @ https://…/x.whl#sha256=…` or `name @ ./dist/x.whl`"],
        ),
    }
}

/// How to come by a wheel of sources.
pub(super) fn wheel_of_sources(sources: &Sources) -> Vec<String> {
    let mut place = sources.place();
    if let Sources::Archive(_) | Sources::Folder(_) = sources {
        place = place.split('#').next().unwrap_or(place);
    }
    let mut hints = vec![format!(
        "`pip wheel --no-deps -w dist \"{place}\"` makes a wheel of it, and `flambeau add ./dist/….whl` requires that"
    )];
    if let Sources::Folder(path) = sources {
        hints.push(format!(
            "or `[tool.flambeau] editable = [\"{path}\"]` installs it in place"
        ));
    }
    hints
}

pub(super) fn foreign(error: &ForeignError) -> Advice {
    let hints = match error {
        ForeignError::NotWheels {
            name,
            version,
            source_form,
        } => return (Kind::User, wheel_commands(name, version.as_deref(), source_form)),
        ForeignError::Line { problem, .. } => match problem {
            LineProblem::Unpinned(_) | LineProblem::Unhashed(_) | LineProblem::Include(_) => {
                vec!["`uv pip compile --generate-hashes` or `pip-compile --generate-hashes` writes such a file"]
            }
            LineProblem::Editable(_) => {
                vec!["`[tool.flambeau] editable = [\"…\"]` installs your own project in place"]
            }
            _ => Vec::new(),
        },
        ForeignError::RequiresPython { .. } | ForeignError::Environment { .. } => {
            vec!["choose another Python with --python"]
        }
        ForeignError::Outside { .. } => vec!["--allow-path allows wheels from anywhere on this machine"],
        ForeignError::Kind { .. } => {
            vec!["`uv export --format pylock.toml`, `pip lock` and `pdm export -f pylock` write lockfiles"]
        }
        ForeignError::Pylock(_) => {
            vec!["write the file again with the tool that made it, e.g. `uv export --format pylock.toml` or `pip lock`"]
        }
        ForeignError::UvVersion(_) => vec!["`uv export --format pylock.toml` writes one that is understood"],
        _ => Vec::new(),
    };
    (Kind::User, hints.into_iter().map(str::to_owned).collect())
}

/// How to name the requirements that a project declares in a way that is not read.
pub(super) fn unread(foreign: &ForeignDependencies) -> Vec<String> {
    let file = foreign.path.display();
    let own = match &foreign.declared {
        Declared::Lists => {
            Some("select a list with `flambeau lock --group NAME` or `flambeau lock --extra NAME`".to_owned())
        }
        Declared::Lockfile | Declared::Requirements { hashed: true } => {
            Some(format!("build what it pins with `flambeau build --from {file}`"))
        }
        Declared::Requirements { hashed: false } => Some(format!(
            "pin it with `uv pip compile --generate-hashes {file} -o locked.txt`, then run `flambeau build --from locked.txt`"
        )),
        Declared::Dynamic | Declared::Table(_) | Declared::Setup | Declared::Other => None,
    };
    let add = match &foreign.declared {
        // There the requirements come from elsewhere, so `add` has no list to add to.
        Declared::Dynamic => "list the requirements in `[tool.flambeau] requirements` in pyproject.toml",
        _ => "name the requirements with `flambeau add REQ…`, which writes them to pyproject.toml",
    };
    let lock = "name them for the lockfile alone with `flambeau lock REQ…`";
    own.into_iter().chain([add.to_owned(), lock.to_owned()]).collect()
}

/// How to come by a wheel of what is pinned as source code.
fn wheel_commands(name: &str, version: Option<&str>, form: &SourceForm) -> Vec<String> {
    let what = match form {
        SourceForm::Sdist => version.map_or_else(|| name.to_owned(), |version| format!("{name}=={version}")),
        SourceForm::Repository(url) => format!("\"{name} @ git+{url}\""),
        SourceForm::Archive(place) => place.clone(),
        SourceForm::Folder(path) => path.clone(),
    };
    let mut hints = vec![format!(
        "`pip wheel --no-deps {what}` makes a wheel, which a private index or the lockfile's folder can hold"
    )];
    if let SourceForm::Folder(path) = form {
        hints.push(format!(
            "or install it in place with `[tool.flambeau] editable = [\"{path}\"]`, and leave it out of the file \
             (`uv export --no-emit-project`)"
        ));
    }
    hints
}
