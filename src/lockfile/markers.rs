//! Markers that are true on some targets of a lockfile and false on the others.
//!
//! A target's marker names the Python minor version, the system and the machine. Markers know neither libc floors nor
//! the free-threaded ABI, so two targets may have the same one; who needs them apart is refused by
//! [`covering`]'s caller.

use std::str::FromStr as _;

use crate::pep::{MarkerTree, Version};
use crate::target::Target;

/// The marker of `target` as PEP 751 `environments` lists it.
pub(crate) fn environment(target: &Target) -> String {
    // Any full version of the minor version gives the same system and machine.
    let environment = target.markers(&Version::new([3, u64::from(target.python.minor), 0]));
    format!(
        "python_version == '{}' and sys_platform == '{}' and platform_machine == '{}'",
        target.python.version(),
        environment.sys_platform(),
        environment.platform_machine()
    )
}

fn tree(target: &Target) -> MarkerTree {
    // A text that this module wrote always parses; should it not, "never" makes the check of the caller fail.
    MarkerTree::from_str(&environment(target)).unwrap_or(MarkerTree::FALSE)
}

fn any_of<'a>(targets: impl Iterator<Item = &'a Target>) -> MarkerTree {
    targets.fold(MarkerTree::FALSE, |all, target| all.or(tree(target)))
}

/// The simplest marker found that is true on `here` and false on the rest of `all`; true where `here` is all of `all`.
///
/// Its value elsewhere is undefined: `environments` keeps other tools from asking.
pub(crate) fn covering(here: &[Target], all: &[Target]) -> MarkerTree {
    let rest: Vec<Target> = all.iter().filter(|target| !here.contains(target)).copied().collect();
    if rest.is_empty() {
        return MarkerTree::TRUE;
    }
    let everywhere = any_of(all.iter());
    let wanted = any_of(here.iter());
    let positive = wanted.restrict(everywhere);
    let negative = any_of(rest.iter()).restrict(everywhere).negate();
    let length = |marker: MarkerTree| marker.try_to_string().map_or(0, |text| text.len());
    // A restricted marker may mention more than it needs; the shorter of the two ways to say it is easier to review.
    if length(negative) < length(positive) {
        negative
    } else {
        positive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(texts: &[&str]) -> Vec<Target> {
        texts.iter().map(|text| text.parse().expect("a target")).collect()
    }

    #[test]
    fn covering_marker_is_true_exactly_there() {
        let mut all = Vec::new();
        for python in ["cp39", "cp310", "cp311", "cp312", "cp313"] {
            for platform in [
                "manylinux_2_28_x86_64",
                "manylinux_2_28_aarch64",
                "macosx_14_0_arm64",
                "win_amd64",
            ] {
                all.push(format!("{python}-{platform}").parse::<Target>().expect("a target"));
            }
        }
        // Each mask picks every n-th target from the k-th on.
        for step in 1..=all.len() {
            for start in 0..step.min(6) {
                let here: Vec<Target> = all.iter().skip(start).step_by(step).copied().collect();
                let marker = covering(&here, &all);
                for target in &all {
                    let full = Version::new([3, u64::from(target.python.minor), 7]);
                    assert_eq!(
                        marker.evaluate(&target.markers(&full), &[]),
                        here.contains(target),
                        "{target} with step {step} from {start}: {:?}",
                        marker.try_to_string()
                    );
                }
            }
        }
    }

    #[test]
    fn markers_stay_simple() {
        let all = targets(&["cp39-linux_x86_64", "cp310-linux_x86_64", "cp311-linux_x86_64"]);
        let text = |here: &[Target], all: &[Target]| covering(here, all).try_to_string();
        assert_eq!(text(&all, &all), None);
        assert_eq!(text(&all[..1], &all).as_deref(), Some("python_full_version < '3.10'"));
        assert_eq!(text(&all[1..], &all).as_deref(), Some("python_full_version >= '3.10'"));
        let platforms = targets(&[
            "cp311-linux_x86_64",
            "cp311-linux_aarch64",
            "cp311-win_amd64",
            "cp311-macosx_14_0_arm64",
        ]);
        assert_eq!(
            text(&platforms[..3], &platforms).as_deref(),
            Some("sys_platform != 'darwin'")
        );
    }
}
