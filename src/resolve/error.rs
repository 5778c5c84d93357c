//! Why a resolution has no answer.

use super::{BoxError, Exclusion};
use crate::pep::{PackageName, Version};
use crate::target::Target;

/// A resolution that found no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// No target was asked for.
    #[error("there is no target to resolve for")]
    NoTargets,
    /// One target was asked for with two Python versions.
    #[error("{target} is asked for with Python {first} and with Python {second}")]
    TwoPythons {
        /// The target.
        target: Target,
        /// One full version.
        first: Version,
        /// The other.
        second: Version,
    },
    /// A constraint or override names a URL or path.
    #[error("`{requirement}` names a URL or path, which only requirements can")]
    DirectUrl {
        /// The requirement as written.
        requirement: String,
    },
    /// The page of a project could not be read.
    #[error("could not read the page of {name} on {place}")]
    Page {
        /// The project.
        name: PackageName,
        /// Where it was looked for.
        place: String,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// The metadata of a wheel could not be read.
    #[error("could not read the metadata of {file}")]
    Metadata {
        /// The file name.
        file: String,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// The index does not know a project.
    #[error("{place} has no project {name} (wanted by {wanted_by})")]
    UnknownProject {
        /// The project.
        name: PackageName,
        /// Where it was looked for.
        place: String,
        /// Who asks for it.
        wanted_by: String,
    },
    /// A project has no version that a requirement accepts.
    #[error("{place} has no {name} {specifiers} (wanted by {wanted_by}); the newest version there is {newest}")]
    NoVersion {
        /// The project.
        name: PackageName,
        /// What was asked for.
        specifiers: String,
        /// Who asks for it.
        wanted_by: String,
        /// Where it was looked for.
        place: String,
        /// The newest version that has a wheel.
        newest: Version,
    },
    /// A project has files, but no wheels.
    #[error("{place} has no wheels of {name} (wanted by {wanted_by}), and nothing is ever built from sources")]
    NoWheels {
        /// The project.
        name: PackageName,
        /// Where it was looked for.
        place: String,
        /// Who asks for it.
        wanted_by: String,
    },
    /// No file of a project can be understood.
    #[error("{place} has no wheel of {name} (wanted by {wanted_by}) that can be understood: {first}")]
    NotUnderstood {
        /// The project.
        name: PackageName,
        /// Where it was looked for.
        place: String,
        /// Who asks for it.
        wanted_by: String,
        /// What is wrong with the first of them.
        first: String,
    },
    /// A project's page lists nothing at all.
    #[error("the page of {name} (wanted by {wanted_by}) on {place} lists no files")]
    NoFiles {
        /// The project.
        name: PackageName,
        /// Where it was looked for.
        place: String,
        /// Who asks for it.
        wanted_by: String,
    },
    /// The versions that a requirement accepts exist, but the target can install none of them.
    #[error("{target} cannot install {name}{} (wanted by {wanted_by}): {name} {version} {why}", spaced(.specifiers))]
    Excluded {
        /// The target.
        target: Target,
        /// The project.
        name: PackageName,
        /// What was asked for; empty where any version would do.
        specifiers: String,
        /// Who asks for it.
        wanted_by: String,
        /// The newest version that was asked for.
        version: Version,
        /// Why it cannot be chosen.
        why: Box<Exclusion>,
    },
    /// The requirements contradict each other.
    #[error("the requirements cannot all be met for {target}: {explanation}")]
    Unsatisfiable {
        /// The target.
        target: Target,
        /// Which facts contradict each other, in words.
        explanation: String,
    },
}

impl ResolveError {
    /// Whether it says that the requirements have no answer, rather than that the answer could not be found out.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        match self {
            Self::UnknownProject { .. }
            | Self::NoVersion { .. }
            | Self::NoWheels { .. }
            | Self::NotUnderstood { .. }
            | Self::NoFiles { .. }
            | Self::Excluded { .. }
            | Self::Unsatisfiable { .. } => true,
            Self::NoTargets
            | Self::TwoPythons { .. }
            | Self::DirectUrl { .. }
            | Self::Page { .. }
            | Self::Metadata { .. } => false,
        }
    }
}

fn spaced(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(" {text}")
    }
}
