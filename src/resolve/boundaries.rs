//! At which patch levels of a Python minor version a marker changes its value, or a package stops being allowed.

use std::collections::BTreeSet;

use crate::pep::{CanonicalMarkerValueVersion, ExtraName, MarkerTree, MarkerTreeKind, Version, VersionSpecifiers};
use crate::target::Target;

/// Adds to `found` every patch level of `target`'s Python at which `marker` changes its value, given that the extras
/// asked for are `extras` (each alone, and none). A boundary `3.11.3` means that 3.11.2 and 3.11.3 disagree.
pub(super) fn collect(found: &mut BTreeSet<Version>, marker: MarkerTree, extras: &[ExtraName], target: &Target) {
    let mut patches = BTreeSet::new();
    mentioned(marker, target.python.minor, &mut patches);
    for patch in patches {
        let value = |patch: u64| {
            let full = Version::new([3, u64::from(target.python.minor), patch]);
            let environment = target.markers(&full);
            let mut values = vec![marker.evaluate(&environment, &[])];
            values.extend(
                extras
                    .iter()
                    .map(|extra| marker.evaluate(&environment, std::slice::from_ref(extra))),
            );
            values
        };
        if value(patch - 1) != value(patch) {
            found.insert(Version::new([3, u64::from(target.python.minor), patch]));
        }
    }
}

/// Adds to `found` every patch level of `target`'s Python at which a `Requires-Python` starts or ceases to allow it: a
/// host on the other side of it must not install what was chosen.
pub(super) fn collect_python(found: &mut BTreeSet<Version>, python: &VersionSpecifiers, target: &Target) {
    let minor = target.python.minor;
    let patches: BTreeSet<u64> = python
        .iter()
        .flat_map(|specifier| separated(std::ops::Bound::Included(specifier.version()), minor))
        .collect();
    let full = |patch: u64| Version::new([3, u64::from(minor), patch]);
    let changes = |patch: &u64| python.contains(&full(patch - 1)) != python.contains(&full(*patch));
    found.extend(patches.into_iter().filter(changes).map(full));
}

/// The patch levels (from 1 on) that a comparison in `marker` may separate from the one below.
fn mentioned(marker: MarkerTree, minor: u8, patches: &mut BTreeSet<u64>) {
    match marker.kind() {
        MarkerTreeKind::True | MarkerTreeKind::False => {}
        MarkerTreeKind::Version(tree) => {
            for (range, child) in tree.edges() {
                let python = matches!(
                    tree.key(),
                    CanonicalMarkerValueVersion::PythonFullVersion | CanonicalMarkerValueVersion::ImplementationVersion
                );
                if python {
                    for (low, high) in range.iter() {
                        for bound in [low, high] {
                            patches.extend(separated(bound, minor));
                        }
                    }
                }
                mentioned(child, minor, patches);
            }
        }
        MarkerTreeKind::String(tree) => tree.children().for_each(|(_, child)| mentioned(child, minor, patches)),
        MarkerTreeKind::In(tree) => tree.children().for_each(|(_, child)| mentioned(child, minor, patches)),
        MarkerTreeKind::Contains(tree) => tree.children().for_each(|(_, child)| mentioned(child, minor, patches)),
        MarkerTreeKind::List(tree) => tree.children().for_each(|(_, child)| mentioned(child, minor, patches)),
        MarkerTreeKind::Extra(tree) => tree.children().for_each(|(_, child)| mentioned(child, minor, patches)),
    }
}

/// `>= 3.11.3` separates at 3, `> 3.11.3` at 4: both are offered, evaluation decides.
fn separated(bound: std::ops::Bound<&Version>, minor: u8) -> impl Iterator<Item = u64> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let patch = match bound {
        Included(version) | Excluded(version) => match *version.release() {
            [3, of, patch, ..] if of == u64::from(minor) => Some(patch),
            _ => None,
        },
        Unbounded => None,
    };
    patch
        .into_iter()
        .flat_map(|patch| [patch, patch.saturating_add(1)])
        .filter(|patch| *patch > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_that_a_package_does_not_allow_is_a_boundary() {
        let rows: [(&str, &[&str]); 8] = [
            (">=3.11.5", &["3.11.5"]),
            (">3.11.5", &["3.11.6"]),
            (">=3.9, !=3.11.2", &["3.11.2", "3.11.3"]),
            (">=3.9, <3.11.4", &["3.11.4"]),
            ("~=3.11.4", &["3.11.4"]),
            (">=3.11", &[]),
            (">=3.9.0", &[]),
            (">=3.9, !=3.10.2", &[]),
        ];
        let target: Target = "cp311-linux_x86_64".parse().expect("a target");
        for (python, expected) in rows {
            let mut found = BTreeSet::new();
            collect_python(&mut found, &python.parse().expect("specifiers"), &target);
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{python}");
        }
    }

    #[test]
    fn only_patch_levels_that_change_a_value_count() {
        let rows: [(&str, &[&str]); 11] = [
            ("python_full_version < '3.11.3'", &["3.11.3"]),
            ("python_full_version <= '3.11.2'", &["3.11.3"]),
            ("python_full_version == '3.11.4'", &["3.11.4", "3.11.5"]),
            ("implementation_version >= '3.11.9'", &["3.11.9"]),
            ("python_full_version >= '3.11.0'", &[]),
            ("python_version < '3.12'", &[]),
            ("python_full_version < '3.12.1'", &[]),
            ("python_full_version < '3.11.3' and sys_platform == 'win32'", &[]),
            ("python_full_version < '3.11.3' or sys_platform == 'linux'", &[]),
            ("python_full_version < '3.11.3' and extra == 'fast'", &["3.11.3"]),
            ("python_full_version < '3.11.3' and extra == 'slow'", &[]),
        ];
        let target: Target = "cp311-linux_x86_64".parse().expect("a target");
        for (marker, expected) in rows {
            let mut found = BTreeSet::new();
            let extras = ["fast".parse().expect("an extra")];
            collect(&mut found, marker.parse().expect("a marker"), &extras, &target);
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{marker}");
        }
    }
}
