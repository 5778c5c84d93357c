//! Exit codes and hints of bundles; see [`super::explain`].

use super::explain::{Advice, advice, config, files, lockfile, plan, realise, store, tree};
use crate::bundle::BundleError;
use crate::error::Kind;
use crate::project::bundle::Error as BundlingError;

pub(super) fn bundling(error: &BundlingError) -> Option<Advice> {
    match error {
        BundlingError::Bundle(inner) => bundle(inner),
        BundlingError::Config(inner) => config(inner),
        BundlingError::Path(inner) => files(inner),
        BundlingError::Lockfile(inner) => lockfile(inner),
        BundlingError::Plan(inner) => plan(inner),
        BundlingError::Realise(inner) => realise(inner),
        BundlingError::Tree(inner) => tree(inner),
        BundlingError::Unsafe(_) => Some(advice(Kind::Integrity, [])),
        BundlingError::NoPython { .. } => Some(advice(
            Kind::User,
            [
                "leave out --trees: wheels can be exported for every target",
                "or export on a machine that has such a Python and system",
            ],
        )),
        BundlingError::NoTree(_) => Some(advice(Kind::User, ["run the same command again"])),
        BundlingError::Archive { .. } => Some(advice(
            Kind::Integrity,
            ["run `flambeau fetch --repair` to fetch damaged wheels again"],
        )),
        BundlingError::Metadata { .. } => Some(advice(Kind::Integrity, ["leave out --simple-index"])),
        BundlingError::OtherLockfile(_) => Some(advice(
            Kind::User,
            [
                "--replace-lockfiles takes the bundle's; --no-lockfiles keeps the project's and takes wheels and trees only",
                "nothing was imported",
            ],
        )),
    }
}

pub(super) fn bundle(error: &BundleError) -> Option<Advice> {
    const AGAIN: &str = "copy the bundle again; `flambeau import --check` compares every file";
    match error {
        BundleError::Path(inner) => files(inner),
        BundleError::Store(inner) => store(inner),
        BundleError::NoBundle(_) => Some(advice(
            Kind::User,
            [
                "name the folder or the archive that `flambeau export` wrote",
                "an archive that another program packed is unpacked first, and the folder imported",
            ],
        )),
        BundleError::Missing(_) => Some(advice(
            Kind::User,
            ["name the folder, the archive or its first part (FILE.tar.001)"],
        )),
        BundleError::Newer { .. } => Some(advice(Kind::User, ["use the flambeau that wrote it, or a newer one"])),
        BundleError::Truncated { next: Some(_), .. } => Some(advice(
            Kind::User,
            ["put all parts into one folder, then run the same command again: it goes on where it ended"],
        )),
        BundleError::Document { .. }
        | BundleError::Contradiction { .. }
        | BundleError::Digest { .. }
        | BundleError::Size { .. }
        | BundleError::Order { .. }
        | BundleError::Entry { .. }
        | BundleError::Unsafe(_)
        | BundleError::Truncated { next: None, .. }
        | BundleError::Tree { .. }
        | BundleError::Read { .. } => Some(advice(Kind::Integrity, [AGAIN])),
        BundleError::Unexpected { .. } => Some(advice(
            Kind::Integrity,
            ["ask whoever exported it for the digest that `flambeau export` printed; nothing was imported"],
        )),
        BundleError::Damaged { .. } => Some(advice(
            Kind::Integrity,
            ["run `flambeau fetch --repair` to fetch damaged wheels again"],
        )),
        BundleError::InTheWay(_) => Some(advice(Kind::User, ["name a new or an empty folder"])),
        BundleError::Busy(_) => Some(advice(Kind::User, ["wait until it has ended"])),
        BundleError::NoSpace(_) => None,
    }
}
