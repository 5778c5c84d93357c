//! Why nothing can be installed from a file.

use std::path::PathBuf;

use crate::backend::Channel;
use crate::lockfile::foreign::ForeignError;
use crate::pep::{PackageName, Version};
use crate::project::lockfiles::LockfileError;
use crate::project::network::NetworkError;
use crate::project::plan::PlanError;
use crate::resolve::BoxError;
use crate::target::Target;

/// How many file names a message lists.
const SHOWN: usize = 4;

/// Why nothing can be installed from a file.
#[derive(Debug, thiserror::Error)]
pub enum FromError {
    /// It cannot be read.
    #[error(transparent)]
    Lockfile(#[from] LockfileError),
    /// It cannot be used.
    #[error("cannot install from {}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ForeignError,
    },
    /// Planning.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A package has no wheel for the target.
    #[error(
        "{} pins {name} {version}, which has no wheel for {target}, only: {}",
        path.display(), shown(files)
    )]
    NoWheel {
        /// The file.
        path: PathBuf,
        /// The package.
        name: PackageName,
        /// Its version.
        version: Version,
        /// The target.
        target: Target,
        /// The wheels there are.
        files: Vec<String>,
    },
    /// An index did not answer.
    #[error("cannot ask for {name}")]
    Index {
        /// The package.
        name: PackageName,
        /// Why.
        #[source]
        source: Box<crate::index::Error>,
    },
    /// The index has no wheel with one of the digests.
    #[error("{place} has no wheel of {name} {version} with one of the {digests} digests that {} pins", path.display())]
    Unlisted {
        /// The file.
        path: PathBuf,
        /// The package.
        name: PackageName,
        /// Its version.
        version: Version,
        /// How many digests there are.
        digests: usize,
        /// Where was looked.
        place: String,
    },
    /// The file's torch is of another channel than the one asked for.
    #[error("{} pins torch of the channel {found}, and {wanted} is asked for", path.display())]
    OtherChannel {
        /// The file.
        path: PathBuf,
        /// The channel of its torch.
        found: Channel,
        /// The wanted one.
        wanted: Channel,
    },
    /// The torch wheel does not tell its backend.
    #[error("could not find out the backend of torch")]
    Backend(#[source] BoxError),
}

fn shown(files: &[String]) -> String {
    let mut text = files.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if files.len() > SHOWN {
        text = format!("{text} and {} more", files.len() - SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_list_a_few_files() {
        let files: Vec<String> = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).into();
        assert_eq!(shown(&files[..2]), "a, b");
        assert_eq!(shown(&files), "a, b, c, d and 2 more");
    }
}
