//! From the library's errors to exit codes and hints: the only place that knows both.
//!
//! A failure's chain of causes is walked from the outside in. The innermost cause that is known decides the kind (a
//! fetch that fails for lack of space is the user's to fix, one that fails for lack of a network is not), and every
//! known cause may add a hint.

use std::error::Error as StdError;

use super::explain_bundle::{bundle, bundling};
use super::explain_from::{direct, export, foreign, from, reference, unread, wheel_of_sources};
use super::explain_wheel::{archive, wheel};
use crate::bundle::BundleError;
use crate::collect::CollectError;
use crate::config::{AppSettingsError, ConfigError, ListError, PyprojectError};
use crate::env::build::BuildError;
use crate::env::bytecode::BytecodeError;
use crate::env::compose::ComposeError;
use crate::env::tree::TreeError;
use crate::error::{Failure, Kind};
use crate::fetch;
use crate::fit::Available;
use crate::fsx::PathError;
use crate::http;
use crate::index;
use crate::index::pip::PipError;
use crate::lockfile::SelectError;
use crate::lockfile::foreign::ForeignError;
use crate::lockfile::keys::ParseKeysError;
use crate::profile::ProfileError;
use crate::project::activate::ActivateError;
use crate::project::bundle::Error as BundlingError;
use crate::project::editable::{BindError, EditableError};
use crate::project::export::ExportError;
use crate::project::from::FromError;
use crate::project::graph::GraphError;
use crate::project::lockfiles::LockfileError;
use crate::project::manifest::ManifestError;
use crate::project::network::NetworkError;
use crate::project::plan::PlanError;
use crate::project::realise::RealiseError;
use crate::project::relock::RelockError;
use crate::project::verify::VerifyingError;
use crate::python;
use crate::requirement::SyntaxError;
use crate::resolve::{Exclusion, MergeError, NoUploadTimes, ResolveError};
use crate::space::Shortage;
use crate::store::StoreError;
use crate::threads;
use crate::ui::human_bytes;
use crate::verify::{MendError, VerifyError};
use crate::wheel::unpack::UnpackError;

/// A kind, and what to do next.
pub(super) type Advice = (Kind, Vec<String>);

pub(super) fn advice<const N: usize>(kind: Kind, hints: [&str; N]) -> Advice {
    (kind, hints.map(str::to_owned).to_vec())
}

/// Errors that a verb may end with.
macro_rules! failures {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                explain(error)
            }
        })*
    };
}

failures!(
    ActivateError,
    BundlingError,
    CollectError,
    ConfigError,
    ExportError,
    FromError,
    GraphError,
    LockfileError,
    ManifestError,
    PathError,
    PlanError,
    ProfileError,
    RealiseError,
    RelockError,
    StoreError,
    VerifyingError,
    crate::gpu::ReplayError,
);

fn explain(error: impl StdError + Send + Sync + 'static) -> Failure {
    let mut kind = Kind::User;
    let mut hints: Vec<String> = Vec::new();
    let mut next: Option<&(dyn StdError + 'static)> = Some(&error);
    if let Some(shortage) = Shortage::among(&error) {
        // Whatever else is known of it, this is what has to change.
        return Failure {
            kind,
            hints: vec![shortage.hint(elsewhere(&error))],
            source: Box::new(error),
        };
    }
    while let Some(cause) = next {
        if let Some((known, more)) = known(cause) {
            kind = known;
            for hint in more {
                if !hints.contains(&hint) {
                    hints.push(hint);
                }
            }
        }
        next = cause.source();
    }
    Failure {
        kind,
        source: Box::new(error),
        hints,
    }
}

/// How what did not fit is written to another file system.
fn elsewhere(error: &(dyn StdError + 'static)) -> &'static str {
    const STORE: &str = "choose another file system with --store-dir";
    const CACHE: &str = "choose another file system with --cache-dir";
    let mut next = Some(error);
    while let Some(cause) = next {
        match find::<RealiseError>(cause) {
            Some(RealiseError::Fetch(_)) => return CACHE,
            Some(RealiseError::Store(_) | RealiseError::Tree(_) | RealiseError::Build(_) | RealiseError::Full(_)) => {
                return STORE;
            }
            _ => {}
        }
        if find::<fetch::Error>(cause).is_some() {
            return CACHE;
        }
        if find::<TreeError>(cause).is_some() || find::<StoreError>(cause).is_some() {
            return STORE;
        }
        if find::<BundlingError>(cause).is_some() || find::<BundleError>(cause).is_some() {
            return "choose another file system for what is written";
        }
        next = cause.source();
    }
    "choose another file system (--project, --store-dir, --cache-dir)"
}

/// An error of type `T`, however it was boxed on its way.
pub(super) fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    error
        .downcast_ref::<T>()
        .or_else(|| error.downcast_ref::<Box<T>>().map(|boxed| &**boxed))
}

/// What is known of one cause. A transparent variant hides the error inside from the chain, so it is looked into here.
fn known(error: &(dyn StdError + 'static)) -> Option<Advice> {
    None.or_else(|| find::<BundlingError>(error).and_then(bundling))
        .or_else(|| find::<BundleError>(error).and_then(bundle))
        .or_else(|| find::<RealiseError>(error).and_then(realise))
        .or_else(|| find::<PlanError>(error).and_then(plan))
        .or_else(|| find::<ExportError>(error).and_then(export))
        .or_else(|| find::<FromError>(error).and_then(from))
        .or_else(|| find::<ForeignError>(error).map(foreign))
        .or_else(|| find::<RelockError>(error).and_then(relock))
        .or_else(|| find::<VerifyingError>(error).and_then(verifying))
        .or_else(|| find::<GraphError>(error).and_then(graph))
        .or_else(|| find::<ActivateError>(error).and_then(activate))
        .or_else(|| find::<ProfileError>(error).and_then(profile))
        .or_else(|| find::<NetworkError>(error).and_then(network))
        .or_else(|| find::<ManifestError>(error).and_then(manifest))
        .or_else(|| find::<LockfileError>(error).and_then(lockfile))
        .or_else(|| find::<ConfigError>(error).and_then(config))
        .or_else(|| find::<CollectError>(error).and_then(collection))
        .or_else(|| find::<StoreError>(error).and_then(store))
        .or_else(|| find::<BuildError>(error).and_then(build))
        .or_else(|| find::<ComposeError>(error).and_then(compose))
        .or_else(|| find::<TreeError>(error).and_then(tree))
        .or_else(|| find::<UnpackError>(error).and_then(unpack))
        .or_else(|| wheel(error))
        .or_else(|| find::<fetch::Error>(error).and_then(fetching))
        .or_else(|| find::<index::Error>(error).and_then(indexing))
        .or_else(|| find::<http::Error>(error).map(requests))
        .or_else(|| find::<ResolveError>(error).map(resolving))
        .or_else(|| {
            let hint = ["leave out --exclude-newer, or name an index that gives upload times"];
            find::<NoUploadTimes>(error).map(|_| advice(Kind::User, hint))
        })
        .or_else(|| find::<MergeError>(error).map(merging))
        .or_else(|| find::<SelectError>(error).map(selecting))
        .or_else(|| find::<python::Error>(error).map(interpreters))
        .or_else(|| find::<PathError>(error).and_then(files))
        .or_else(|| find::<std::io::Error>(error).and_then(refused))
}

pub(super) fn realise(error: &RealiseError) -> Option<Advice> {
    match error {
        RealiseError::Plan(inner) => plan(inner),
        RealiseError::Config(inner) => config(inner),
        RealiseError::Store(inner) => store(inner),
        RealiseError::Outside { .. } => Some(advice(
            Kind::User,
            ["--allow-path allows wheels from anywhere on this machine"],
        )),
        RealiseError::Network(inner) => network(inner),
        RealiseError::Tree(inner) => tree(inner),
        RealiseError::Build(inner) => build(inner),
        RealiseError::Bind(inner) => bind(inner),
        RealiseError::Full(_) | RealiseError::State { .. } | RealiseError::Fetch(_) => None,
    }
}

pub(super) fn plan(error: &PlanError) -> Option<Advice> {
    match error {
        PlanError::Relock(inner) => relock(inner),
        PlanError::Stale { .. } | PlanError::NoTargets { .. } => {
            Some(advice(Kind::User, ["run `flambeau lock` to update the lockfile"]))
        }
        PlanError::NoLockfile { .. } => Some(advice(
            Kind::User,
            ["`flambeau lock` (or `flambeau build` without --locked) writes it"],
        )),
        PlanError::NoTarget { pythons, .. } | PlanError::NoInterpreter { pythons, .. } => {
            let versions: Vec<String> = pythons.iter().map(ToString::to_string).collect();
            let have = format!("it has wheels for Python {}", versions.join(", "));
            let choose = "choose one with --python, or lock for yours with `flambeau lock --python VERSION`".to_owned();
            Some((Kind::User, vec![have, choose]))
        }
        PlanError::Patch { .. } => Some(advice(
            Kind::User,
            ["choose another Python with --python, or pin its full version in `[tool.flambeau] python` and lock again"],
        )),
        PlanError::OtherBackend { .. } => Some(advice(Kind::User, ["name a channel of that backend with --channel"])),
        PlanError::Python(_) | PlanError::Select { .. } => None,
    }
}

fn relock(error: &RelockError) -> Option<Advice> {
    match error {
        RelockError::Network(inner) => network(inner),
        RelockError::Lockfile(inner) => lockfile(inner),
        RelockError::NoTarget { .. } => Some(advice(
            Kind::User,
            ["name a Python and a platform that it has wheels for: --python, --platform"],
        )),
        RelockError::NoPython(_) | RelockError::Excluded { .. } => Some(advice(
            Kind::User,
            ["name a Python that it allows with --python, or change `requires-python`"],
        )),
        RelockError::List(ListError::Unknown { .. }) => Some(advice(
            Kind::User,
            ["name one that is there, or leave them all out with --no-extras"],
        )),
        RelockError::List(_) => Some(advice(Kind::User, ["correct it in pyproject.toml"])),
        RelockError::Direct { source, .. } => direct(source),
        RelockError::Resolve { .. }
        | RelockError::Unstated(_)
        | RelockError::Refused(_)
        | RelockError::Merge(_)
        | RelockError::Index { .. } => None,
    }
}

fn activate(error: &ActivateError) -> Option<Advice> {
    match error {
        ActivateError::Profile(inner) => profile(inner),
        ActivateError::Config(inner) => config(inner),
        ActivateError::Store(inner) | ActivateError::Verify(VerifyError::Store(inner)) => store(inner),
        ActivateError::NothingFits(_) => Some(advice(
            Kind::User,
            [
                "`flambeau list` shows what is built",
                "`flambeau build --backend …` builds and activates",
            ],
        )),
        ActivateError::Damaged { .. } => Some(advice(Kind::Integrity, ["`flambeau verify --repair` mends it"])),
        ActivateError::Verify(VerifyError::Path(inner)) => files(inner),
        ActivateError::Bind(inner) => bind(inner),
        ActivateError::Ambiguous { .. } => Some(advice(Kind::User, ["give more of the key"])),
        ActivateError::Interpreter { .. } => Some(advice(
            Kind::User,
            ["`flambeau build` binds it to a Python that is there, without building anew"],
        )),
    }
}

fn bind(error: &BindError) -> Option<Advice> {
    match error {
        BindError::Editable(inner) => Some(editable(inner)),
        BindError::Config(inner) => config(inner),
        BindError::Store(inner) | BindError::Verify(VerifyError::Store(inner)) => store(inner),
        BindError::Verify(VerifyError::Path(inner)) => files(inner),
        BindError::Build(inner) => build(inner),
        BindError::Incomplete(_) => Some(advice(
            Kind::Integrity,
            ["`flambeau build` composes it from what the lockfile says"],
        )),
    }
}

fn editable(error: &EditableError) -> Advice {
    match error {
        EditableError::Path(inner) => files(inner).unwrap_or_else(|| advice(Kind::User, [])),
        EditableError::Encoding(_) | EditableError::Syntax { .. } | EditableError::Value { .. } => advice(
            Kind::User,
            ["correct it, or take the folder out of `[tool.flambeau] editable`"],
        ),
        EditableError::Compiled { folder, .. } => {
            let folder = folder.display();
            let hints = vec![
                format!(
                    "make a wheel of it with `pip wheel --no-deps -w dist \"{folder}\"`, require that with \
                     `flambeau add ./dist/….whl`, and take the folder out of `[tool.flambeau] editable`"
                ),
                "list the wheel in `[tool.flambeau] requirements` if it is that of this project itself".to_owned(),
                format!("use modules that you built in the folder with `flambeau run --overlay \"{folder}\" -- …`"),
            ];
            (Kind::User, hints)
        }
        EditableError::Missing(_) => advice(
            Kind::User,
            ["name a folder that is there, or take it out of `editable` in pyproject.toml"],
        ),
        EditableError::Twice { .. } => advice(Kind::User, ["leave one of them in `[tool.flambeau] editable`"]),
        EditableError::Script { .. } => advice(Kind::User, ["rename one of the scripts in `[project.scripts]`"]),
        EditableError::Folder(_) => advice(Kind::User, ["rename the folder"]),
    }
}

fn verifying(error: &VerifyingError) -> Option<Advice> {
    match error {
        VerifyingError::Activate(inner) => activate(inner),
        VerifyingError::Config(inner) => config(inner),
        VerifyingError::Store(inner)
        | VerifyingError::Verify(VerifyError::Store(inner))
        | VerifyingError::Mend(MendError::Store(inner) | MendError::Verify(VerifyError::Store(inner))) => store(inner),
        VerifyingError::Verify(VerifyError::Path(inner))
        | VerifyingError::Mend(MendError::Path(inner) | MendError::Verify(VerifyError::Path(inner))) => files(inner),
        VerifyingError::Mend(MendError::Tree(inner)) => tree(inner),
        VerifyingError::Mend(MendError::Build(inner)) => build(inner),
        VerifyingError::Mend(_) => Some(advice(Kind::Integrity, [])),
        VerifyingError::NothingActive(_) => Some(advice(
            Kind::User,
            ["name what to verify, or verify everything with --all"],
        )),
    }
}

fn graph(error: &GraphError) -> Option<Advice> {
    match error {
        GraphError::Path(inner) => files(inner),
        GraphError::Activate(inner) => activate(inner),
        GraphError::Plan(inner) => plan(inner),
        GraphError::Metadata { .. } => Some(advice(Kind::Integrity, ["`flambeau verify` says what is damaged"])),
        GraphError::Absent { .. } => Some(advice(Kind::User, ["`flambeau tree` shows what is there"])),
    }
}

fn profile(error: &ProfileError) -> Option<Advice> {
    match error {
        ProfileError::Path(inner) => files(inner),
        ProfileError::Store(inner) => store(inner),
        ProfileError::State(error) if error.is_damage() => Some(advice(
            Kind::Integrity,
            ["`flambeau build` makes the environment again from what is in the store and the cache"],
        )),
        ProfileError::State(_) => Some(advice(Kind::User, ["`flambeau build` builds the environment again"])),
        ProfileError::InTheWay { .. } => Some(advice(Kind::User, ["move it away, or let --force move it aside"])),
        ProfileError::NoGeneration(_) => Some(advice(Kind::User, ["`flambeau generations` lists those there are"])),
        ProfileError::Vanished { .. } => Some(advice(
            Kind::User,
            [
                "`flambeau rollback --to N` goes to another generation; `flambeau generations` lists them",
                "`flambeau build` builds what the lockfile says",
            ],
        )),
        ProfileError::NoOlder(_) => Some(advice(
            Kind::User,
            ["`flambeau generations` lists those there are; `flambeau activate N` goes to any of them"],
        )),
        ProfileError::NothingActive(_) => Some(advice(
            Kind::User,
            ["`flambeau rollback --to N` or `flambeau activate N` goes to a generation; `flambeau build` makes one"],
        )),
        ProfileError::DeletesCurrent(_) => Some(advice(Kind::User, ["activate another one first, or leave it out"])),
        ProfileError::Newer { .. } => Some(advice(Kind::User, ["use the newer flambeau that wrote it"])),
    }
}

pub(super) fn network(error: &NetworkError) -> Option<Advice> {
    match error {
        NetworkError::Config(inner) => config(inner),
        NetworkError::Path(inner) => files(inner),
        NetworkError::Ask(_) => None,
        NetworkError::Pip(PipError::Read(_) | PipError::Ini { .. }) => Some(advice(
            Kind::User,
            ["correct that file, or leave pip's configuration out with PIP_CONFIG_FILE=/dev/null"],
        )),
        NetworkError::Pip(_) | NetworkError::ChannelUrl { .. } => Some(advice(Kind::User, [])),
    }
}

pub(super) fn lockfile(error: &LockfileError) -> Option<Advice> {
    match error {
        LockfileError::Path(inner) => files(inner),
        LockfileError::Missing(_) => Some(advice(Kind::User, ["`flambeau lock` writes it"])),
        newer if newer.is_newer() => Some(advice(
            Kind::User,
            ["use the program that wrote it, or remove the file and run `flambeau lock`"],
        )),
        LockfileError::Parse { .. } | LockfileError::NotText(_) => Some(advice(
            Kind::User,
            ["run `flambeau lock` to write it again, or restore it from version control"],
        )),
        LockfileError::Keys {
            source: ParseKeysError::Schema(_),
            ..
        } => Some(advice(Kind::User, ["use the newer flambeau that wrote it"])),
        LockfileError::Keys { .. } => Some(advice(Kind::User, ["run `flambeau lock` to write it again"])),
        LockfileError::Foreign(foreign) => Some((Kind::User, unread(foreign))),
        LockfileError::Select { .. } => None,
        LockfileError::Requirement {
            source: SyntaxError::Sources(sources),
            ..
        } => Some((Kind::User, wheel_of_sources(sources))),
        LockfileError::Requirement { .. } => Some(advice(
            Kind::User,
            ["requirements are written as PEP 508 has it, e.g. `torch==2.7.0`"],
        )),
    }
}

fn manifest(error: &ManifestError) -> Option<Advice> {
    match error {
        ManifestError::Path(inner) => files(inner),
        ManifestError::Lockfile(inner) => lockfile(inner),
        ManifestError::Reference(inner) => Some(reference(inner)),
        ManifestError::Exists(_) => Some(advice(Kind::User, ["`flambeau add REQ` adds requirements to it"])),
        ManifestError::Foreign(_) => Some(advice(
            Kind::User,
            ["name requirements with `flambeau add REQ…`, which writes them to `[tool.flambeau] requirements`"],
        )),
        ManifestError::Dynamic(_) => Some(advice(
            Kind::User,
            ["add the requirement where they come from, or to `[tool.flambeau] requirements`"],
        )),
        ManifestError::NotRequired { have, .. } if have.is_empty() => None,
        ManifestError::NotRequired { .. } => Some(advice(Kind::User, ["name one of those"])),
        ManifestError::NotText(_) | ManifestError::Syntax { .. } | ManifestError::NoList { .. } => {
            Some(advice(Kind::User, ["correct pyproject.toml"]))
        }
    }
}

pub(super) fn config(error: &ConfigError) -> Option<Advice> {
    match error {
        ConfigError::Read(inner)
        | ConfigError::Pyproject(PyprojectError::Read(inner))
        | ConfigError::AppSettings(AppSettingsError::Read(inner)) => files(inner),
        ConfigError::NoHome { flag, variable, .. } => Some((Kind::User, vec![format!("set {flag} or {variable}")])),
        ConfigError::Python { .. } => Some(advice(
            Kind::User,
            ["name a CPython by version (`3.11`), range (`>=3.10,<3.13`) or path"],
        )),
        ConfigError::Contradiction { .. } | ConfigError::Misplaced { .. } => Some(advice(
            Kind::User,
            ["name only one of them, or a channel of that backend"],
        )),
        _ => Some(advice(Kind::User, [])),
    }
}

pub(super) fn store(error: &StoreError) -> Option<Advice> {
    match error {
        StoreError::Path(inner) => files(inner),
        StoreError::Newer { .. } => Some(advice(
            Kind::User,
            ["use the newer flambeau, or another store with --store-dir"],
        )),
        StoreError::Older { .. } => Some(advice(
            Kind::User,
            ["let a `flambeau build` of somebody who may write to it bring it up to date"],
        )),
        StoreError::BadVersion { is_store: true, .. } => Some(advice(
            Kind::Integrity,
            ["run `flambeau verify --all --repair` to check the store and write the file again"],
        )),
        StoreError::BadVersion { .. } => Some(advice(
            Kind::User,
            ["choose a new or empty folder, or another store, with --store-dir"],
        )),
        StoreError::Guard { .. } => Some(advice(
            Kind::User,
            ["choose a store that you can write to with --store-dir"],
        )),
        StoreError::PinName(_) => Some(advice(
            Kind::User,
            ["a name begins with a letter or digit and holds letters, digits, `.`, `_` and `-`"],
        )),
        StoreError::NoPin(_) => Some(advice(Kind::User, ["`flambeau pin` lists the pins"])),
        StoreError::Gone(_) => Some(advice(Kind::User, ["`flambeau build` builds it again"])),
        StoreError::OutLinkInTheWay(_) => Some(advice(Kind::User, ["move it away, or name another path"])),
    }
}

fn collection(error: &CollectError) -> Option<Advice> {
    match error {
        CollectError::Store(inner) => store(inner),
        CollectError::Path(inner) => files(inner),
        CollectError::Root { .. } => Some(advice(
            Kind::User,
            ["make it readable, or run `flambeau gc` as a user who can read it; nothing was deleted"],
        )),
    }
}

fn build(error: &BuildError) -> Option<Advice> {
    match error {
        BuildError::Store(inner) => store(inner),
        BuildError::Path(inner) => files(inner),
        BuildError::Compose(_) => None,
        BuildError::Interpreter(_) => Some(advice(Kind::User, ["choose another Python with --python"])),
    }
}

fn compose(error: &ComposeError) -> Option<Advice> {
    match error {
        ComposeError::Path(inner) => files(inner),
        ComposeError::Tree(inner) => tree(inner),
        ComposeError::Reserved { .. } | ComposeError::Kinds { .. } | ComposeError::Own(_) => Some(advice(
            Kind::Integrity,
            ["one of the packages has to go from the requirements"],
        )),
    }
}

pub(super) fn tree(error: &TreeError) -> Option<Advice> {
    match error {
        TreeError::Store(inner) => store(inner),
        TreeError::Path(inner)
        | TreeError::Bytecode {
            source: BytecodeError::Path(inner),
            ..
        } => files(inner),
        TreeError::Digest { .. } => Some(advice(
            Kind::Integrity,
            ["run `flambeau fetch --check` with a network to fetch it again"],
        )),
        TreeError::Refused { .. } => Some(advice(
            Kind::Integrity,
            ["nothing of it was installed; tell the package's authors"],
        )),
        TreeError::NoSpace { .. } => None,
        TreeError::Bytecode {
            source: BytecodeError::Died { .. },
            ..
        } => Some(advice(
            Kind::User,
            ["free some memory, then run the same command again"],
        )),
        TreeError::Bytecode {
            source: BytecodeError::Worker { .. },
            ..
        } => Some(advice(
            Kind::User,
            ["run the same command again, or choose another Python with --python"],
        )),
        // What to do about a refused process is said with its cause.
        TreeError::Bytecode {
            source: BytecodeError::Start { source, .. },
            ..
        } if threads::is_refusal(source) => None,
        TreeError::Bytecode {
            source: BytecodeError::Start { .. },
            ..
        } => Some(advice(Kind::User, ["choose another Python with --python"])),
        TreeError::Document { .. } | TreeError::NoRecord { .. } => Some(advice(
            Kind::Integrity,
            ["run `flambeau verify --all --repair` to repair it"],
        )),
    }
}

fn unpack(error: &UnpackError) -> Option<Advice> {
    match error {
        UnpackError::Path(inner) => files(inner),
        UnpackError::Archive(inner) => Some(archive(inner)),
        UnpackError::Unrecorded(_) | UnpackError::NoDigest(_) => Some(advice(
            Kind::Integrity,
            ["if you trust the wheel, pass --allow-unrecorded to `flambeau lock` or `flambeau build`"],
        )),
        _ => Some(advice(Kind::Integrity, [])),
    }
}

fn fetching(error: &fetch::Error) -> Option<Advice> {
    match error {
        fetch::Error::Offline { missing } => {
            let mut hints: Vec<String> = missing
                .iter()
                .map(|one| {
                    let size = one.size.map_or_else(|| "size unknown".to_owned(), human_bytes);
                    format!("missing: {} (sha256 {}, {size})", one.file, one.digest)
                })
                .collect();
            hints.push(
                "on a machine with a network, `flambeau fetch` brings them into the cache; `flambeau export` there and \
                 `flambeau import` here carry them over"
                    .to_owned(),
            );
            Some((Kind::Network, hints))
        }
        fetch::Error::Digest { .. } | fetch::Error::Size { .. } => Some(advice(
            Kind::Integrity,
            ["the lockfile and the server disagree; if the server is right, `flambeau lock --upgrade` locks its files"],
        )),
        fetch::Error::Nowhere { .. } => Some(advice(
            Kind::Network,
            ["the index may have dropped the file; `flambeau lock --upgrade` locks what it has now"],
        )),
        fetch::Error::Path(inner) => files(inner),
        fetch::Error::Local { .. } | fetch::Error::Stopped { .. } => Some(advice(Kind::User, [])),
        fetch::Error::NoSpace(_)
        | fetch::Error::Http {
            source: http::Error::HtmlPage { .. },
            ..
        } => None,
        fetch::Error::WrongRange { .. } | fetch::Error::Http { .. } | fetch::Error::Locate { .. } => Some(advice(
            Kind::Network,
            ["what arrived is kept; the same command resumes"],
        )),
    }
}

fn indexing(error: &index::Error) -> Option<Advice> {
    match error {
        index::Error::NoIndex { .. } => Some(advice(
            Kind::User,
            ["name a package index: --index-url, PIP_INDEX_URL, pip's configuration, or `[tool.flambeau] index-url`"],
        )),
        index::Error::NoIndexAllowed { .. } => Some(advice(
            Kind::User,
            [
                "unset PIP_NO_INDEX or remove `no-index` from pip's configuration, or name a folder of wheels in `find-links`",
            ],
        )),
        index::Error::Offline { .. } => Some(advice(Kind::Network, ["leave out --offline (or FLAMBEAU_OFFLINE)"])),
        index::Error::Ambiguous { .. } => Some(advice(Kind::User, ["let only one index claim the name"])),
        index::Error::Unusable(_) => Some(advice(Kind::Integrity, [])),
        index::Error::MetadataDigest { .. } | index::Error::WheelDigest { .. } | index::Error::WheelSize { .. } => {
            Some(advice(
                Kind::Integrity,
                ["the index contradicts itself: tell whoever runs it, or name another one with --index-url"],
            ))
        }
        index::Error::Path(inner) => files(inner),
        index::Error::Page { .. } => Some(advice(
            Kind::Network,
            [
                "check the index's URL (--index-url, PIP_INDEX_URL), and whether a proxy or a login page answers in its place",
            ],
        )),
        _ => Some(advice(Kind::Network, [])),
    }
}

fn requests(error: &http::Error) -> Advice {
    match error {
        http::Error::Offline { .. } => advice(Kind::Network, ["leave out --offline (or FLAMBEAU_OFFLINE)"]),
        http::Error::HtmlPage { .. } => advice(
            Kind::Network,
            ["open the address in a browser: a login page, a captive portal or a proxy may answer there"],
        ),
        http::Error::TooManyRedirects { .. } => advice(
            Kind::Network,
            ["the server sends its clients in a circle: check the index's URL, or tell whoever runs it"],
        ),
        http::Error::CertificateFile(_) => advice(Kind::User, ["correct pip's `cert`"]),
        http::Error::Status { .. } if matches!(error.status(), Some(401 | 403)) => advice(
            Kind::Network,
            ["the server wants credentials, or others: put them into the index's URL, ~/.netrc or the keyring"],
        ),
        http::Error::Refused { reason, .. } | http::Error::RedirectRefused { reason, .. }
            if *reason == http::PLAIN_HTTP =>
        {
            advice(
                Kind::Network,
                ["use its https address, or trust the host by name: --allow-insecure-host HOST, pip's `trusted-host`"],
            )
        }
        http::Error::Tls { .. } => advice(
            Kind::Network,
            ["where the certificate is your own authority's, name its file in SSL_CERT_FILE or pip's `cert`"],
        ),
        _ => advice(Kind::Network, []),
    }
}

fn resolving(error: &ResolveError) -> Advice {
    match error {
        ResolveError::DirectUrl { .. } => {
            advice(Kind::User, ["require it instead, or name the package and its version"])
        }
        ResolveError::NoWheels { .. } => advice(
            Kind::User,
            ["`pip wheel PACKAGE` makes a wheel of it, which a private index can serve"],
        ),
        ResolveError::NotUnderstood { .. } => {
            advice(Kind::User, ["leave it out, or name an index that has other files"])
        }
        ResolveError::NoFiles { .. } => advice(
            Kind::User,
            ["check the name, and whether a login page answers in place of the index (--index-url, PIP_INDEX_URL)"],
        ),
        ResolveError::NoVersion { .. } => advice(Kind::User, ["ask for a version that is there"]),
        ResolveError::Excluded { why, .. } => excluding(why),
        ResolveError::Unsatisfiable { .. } => advice(
            Kind::User,
            ["loosen or remove one of the requirements that contradict each other"],
        ),
        ResolveError::UnknownProject { .. } => advice(Kind::User, ["check the name, and which index it comes from"]),
        _ => advice(Kind::User, []),
    }
}

fn merging(error: &MergeError) -> Advice {
    match error {
        MergeError::TwoDigests { .. } => advice(Kind::Integrity, []),
        _ => advice(Kind::User, []),
    }
}

fn excluding(why: &Exclusion) -> Advice {
    match why {
        Exclusion::NoWheel(_) | Exclusion::RequiresPython(_) => advice(
            Kind::User,
            ["lock for another Python or platform (--python, --platform), or ask for another version"],
        ),
        Exclusion::PreRelease => advice(Kind::User, ["name the pre-release in the requirement, e.g. `>=2.0rc1`"]),
        Exclusion::Yanked(_) => advice(Kind::User, ["pin the version with `==` to use it all the same"]),
        Exclusion::TooNew(_) => advice(
            Kind::User,
            ["name a later moment with --exclude-newer, or end it with `--exclude-newer none`"],
        ),
        Exclusion::DirectUrl(_) => advice(
            Kind::User,
            ["require the very same URL yourself, or ask for another version"],
        ),
        Exclusion::OtherMetadata(_) | Exclusion::BadMetadata(_) => advice(Kind::Integrity, ["ask for another version"]),
    }
}

fn selecting(error: &SelectError) -> Advice {
    match error {
        SelectError::UnknownTarget { .. } => {
            advice(Kind::User, ["lock for it: `flambeau lock --python … --platform …`"])
        }
        SelectError::NoWheel {
            available: Available::Pythons(_),
            ..
        } => advice(Kind::User, ["choose one of these Pythons with --python"]),
        SelectError::NoWheel { .. } => advice(
            Kind::User,
            ["run `flambeau lock --python VERSION --platform PLATFORM` to lock for others"],
        ),
        SelectError::TwoVersions { .. } => advice(Kind::User, ["run `flambeau lock` to update the lockfile"]),
    }
}

fn interpreters(error: &python::Error) -> Advice {
    match error {
        refused if refused.is_refusal() => advice(Kind::User, []),
        python::Error::NotFound { .. } => advice(
            Kind::User,
            ["install such a CPython, or name one with --python (a version or a path)"],
        ),
        python::Error::Excluded { .. } => advice(
            Kind::User,
            ["choose another Python with --python, or change `requires-python`"],
        ),
        _ => advice(Kind::User, ["name another one with --python (a version or a path)"]),
    }
}

/// A thread or a process that the system refuses: nothing else here ends in this error.
fn refused(error: &std::io::Error) -> Option<Advice> {
    threads::is_refusal(error).then(|| advice(Kind::User, [threads::REFUSED_HINT]))
}

/// Advice by the system's error number.
pub(super) fn files(error: &PathError) -> Option<Advice> {
    use std::io::ErrorKind;
    let hint = match error.source.kind() {
        ErrorKind::PermissionDenied if error.is_reading() => "make it readable for your user",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "choose a folder that you can write to: --store-dir, --cache-dir, --project"
        }
        _ => return None,
    };
    Some(advice(Kind::User, [hint]))
}
