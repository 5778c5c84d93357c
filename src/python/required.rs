//! `requires-python`: which full versions of Python a project, or a lockfile, allows.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use crate::pep::{Version, VersionSpecifiers};

/// `requires-python`, and the file that says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredPython {
    /// What is allowed.
    pub specifiers: VersionSpecifiers,
    /// Who says so.
    pub path: PathBuf,
}

impl fmt::Display for RequiredPython {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "`requires-python = \"{}\"` in {}",
            self.specifiers,
            self.path.display()
        )
    }
}

impl RequiredPython {
    /// Whether a Python of this full version may be used.
    #[must_use]
    pub fn allows(&self, version: &Version) -> bool {
        allows(&self.specifiers, version)
    }
}

/// Whether `requires-python` allows a full version. As with pip, a pre-release counts as its release: 3.14.0rc1 is
/// allowed by `>=3.14`.
#[must_use]
pub fn allows(specifiers: &VersionSpecifiers, version: &Version) -> bool {
    specifiers.contains(&version.only_release())
}

/// Whether two `requires-python` say the same, in whatever order.
#[must_use]
pub fn is_same(one: &VersionSpecifiers, other: &VersionSpecifiers) -> bool {
    let parts =
        |specifiers: &VersionSpecifiers| -> BTreeSet<String> { specifiers.iter().map(ToString::to_string).collect() };
    parts(one) == parts(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_versions_count_and_pre_releases_as_their_release() {
        for (specifiers, version, expected) in [
            (">=3.12.5", "3.12.1", false),
            (">=3.12.5", "3.12.5", true),
            ("<3.12", "3.12.0", false),
            ("<3.12", "3.11.14", true),
            ("<=3.12", "3.12.0", true),
            ("<=3.12", "3.12.1", false),
            ("==3.12.*", "3.12.9", true),
            ("~=3.11.2", "3.12.0", false),
            ("!=3.12.1", "3.12.1", false),
            (">=3.14", "3.14.0rc1", true),
            ("<3.14", "3.14.0rc1", false),
            (">=3.12", "3.12.1+", true),
        ] {
            let Ok(version) = version.parse() else { continue };
            assert_eq!(
                allows(&specifiers.parse().expect("specifiers"), &version),
                expected,
                "{specifiers} {version}"
            );
        }
        let read = |text: &str| -> VersionSpecifiers { text.parse().expect("specifiers") };
        assert!(is_same(&read(">=3.9,<4"), &read("<4, >=3.9")));
        assert!(!is_same(&read(">=3.9"), &read(">=3.9,<4")));
    }
}
