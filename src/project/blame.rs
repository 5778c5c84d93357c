//! Who is wrong when a wheel is not what the lockfile says: the file, the lockfile, or the index that both came from.
//!
//! Nothing is decided by it: a wheel with another digest is never used. It only says what the index states by now.

use std::collections::BTreeSet;

use super::network::Network;
use crate::digest::WheelDigest;
use crate::fetch;
use crate::lockfile::Selected;
use crate::pep::PackageName;

/// What the index says about a wheel whose bytes are not those of the lockfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Blame {
    #[error("the index states the lockfile's digest, so the file on the server is not the one that the index lists")]
    File,
    #[error(
        "the index now states the digest of what arrived, so it stated another one, or had another file, when the \
         lockfile was made"
    )]
    Lockfile,
    #[error(
        "the index states no digest for it, so the lockfile's is that of an earlier download, and the file on the \
         server was replaced since"
    )]
    Replaced,
    #[error("the index states a third digest, {0}, so it is wrong about its own file")]
    Index(WheelDigest),
    #[error("the index does not list the file any more")]
    Gone,
}

/// The same error, with what the index says by now as its cause.
/// No index is asked about packages that a requirement names by URL or path.
pub(super) fn judged(
    error: fetch::Error,
    network: &Network,
    (selected, direct): (&[Selected<'_>], &BTreeSet<PackageName>),
) -> fetch::Error {
    match error {
        fetch::Error::Digest {
            file,
            url,
            expected,
            actual,
            kept,
            blame: None,
        } => {
            let indexed: Vec<Selected<'_>> = selected
                .iter()
                .filter(|selected| !direct.contains(&selected.package.name))
                .copied()
                .collect();
            let blame = blame(network, &indexed, &file, &expected, &actual);
            fetch::Error::Digest {
                file,
                url,
                expected,
                actual,
                kept,
                blame: blame.map(Into::into),
            }
        }
        other => other,
    }
}

/// None where the index cannot be asked: that is no answer.
fn blame(
    network: &Network,
    selected: &[Selected<'_>],
    file: &str,
    expected: &WheelDigest,
    actual: &WheelDigest,
) -> Option<Blame> {
    let package = selected
        .iter()
        .find(|selected| selected.wheel.digest == *expected)?
        .package;
    let Some(page) = network.sources.current_page(&package.name).ok()? else {
        return Some(Blame::Gone);
    };
    let Some(listed) = page.wheels.iter().find(|wheel| wheel.file == file) else {
        return Some(Blame::Gone);
    };
    Some(match listed.digest {
        Some(stated) if stated == *expected => Blame::File,
        Some(stated) if stated == *actual => Blame::Lockfile,
        Some(stated) => Blame::Index(stated),
        None => Blame::Replaced,
    })
}
