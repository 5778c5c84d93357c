//! The full Python version that stands for a minor one where markers are evaluated.
//!
//! It comes from a fixed table, so that a lockfile does not depend on the machine that wrote it; hosts on the other side
//! of a marker's boundary are refused with a hint. Where `requires-python` excludes the table's version, the nearest
//! patch level that it allows is taken: the newest below, else the oldest above.

use crate::pep::{Version, VersionSpecifiers};
use crate::python::{Interpreter, allows};
use crate::target::PythonMinor;

const FULL_VERSIONS: [(u8, &str); 6] = [
    (9, "3.9.25"),
    (10, "3.10.19"),
    (11, "3.11.14"),
    (12, "3.12.12"),
    (13, "3.13.9"),
    (14, "3.14.0"),
];

/// No patch level is greater; what asks for one is a mistake.
const LAST_PATCH: u64 = 99;

/// The full version for a minor version: what the interpreter of this machine has where the table knows nothing.
pub(super) fn usual(python: PythonMinor, interpreter: Option<&Interpreter>) -> Version {
    let known = FULL_VERSIONS
        .iter()
        .find(|(minor, _)| *minor == python.minor)
        .and_then(|(_, full)| full.parse().ok());
    let own = || {
        interpreter
            .filter(|own| own.python.minor == python.minor)
            .map(|own| own.version.clone())
    };
    known
        .or_else(own)
        .unwrap_or_else(|| Version::new([3, u64::from(python.minor), 0]))
}

/// The one that `requires-python` allows; none where it excludes every patch level.
pub(super) fn allowed(
    python: PythonMinor,
    required: Option<&VersionSpecifiers>,
    interpreter: Option<&Interpreter>,
) -> Option<Version> {
    let usual = usual(python, interpreter);
    let Some(required) = required else {
        return Some(usual);
    };
    if allows(required, &usual) {
        return Some(usual);
    }
    let patch = usual.release().get(2).copied().unwrap_or_default();
    let of = |patch| Version::new([3, u64::from(python.minor), patch]);
    let mut nearest = (0..patch).rev().chain(patch + 1..=LAST_PATCH).map(of);
    nearest.find(|version| allows(required, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_versions_are_of_their_minor() {
        for (minor, full) in FULL_VERSIONS {
            let full: Version = full.parse().expect("a version");
            assert_eq!(full.release()[..2], [3, u64::from(minor)]);
        }
    }

    #[test]
    fn the_nearest_patch_level_that_is_allowed_is_taken() {
        for (required, expected) in [
            (">=3.9", Some("3.12.12")),
            (">=3.12.5", Some("3.12.12")),
            ("<3.12.5", Some("3.12.4")),
            ("<=3.12", Some("3.12.0")),
            ("!=3.12.12", Some("3.12.11")),
            (">=3.12.20", Some("3.12.20")),
            ("<3.12", None),
            (">=3.13", None),
            ("==3.11.*", None),
        ] {
            let specifiers = required.parse().expect("specifiers");
            let found = allowed(PythonMinor::new(12), Some(&specifiers), None);
            assert_eq!(
                found.map(|version| version.to_string()).as_deref(),
                expected,
                "{required}"
            );
        }
    }
}
