//! Which wheels a version has, where none of them fits a target: what a message says in place of "no wheel".
//!
//! Owns: whether the Python, its ABI or the platform is the one that is missing.

use std::collections::BTreeSet;
use std::fmt;

use crate::pep::WheelFilename;
use crate::target::{PythonMinor, Target};

/// The wheels there are, by what keeps them from fitting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Available {
    /// Other Pythons have a wheel for the target's platform.
    Pythons(Vec<PythonMinor>),
    /// The wheels for the target's platform are for other implementations or ABIs: their tags, `pp310-pypy310_pp73`.
    Tags {
        /// The ABI that is missing: `cp311`.
        abi: String,
        /// Those there are.
        tags: Vec<String>,
    },
    /// No wheel is for the target's platform: the platform tags there are.
    Platforms(Vec<String>),
}

impl Available {
    /// What `wheels` are for, none of which fits `target`.
    pub fn of<'a>(wheels: impl Iterator<Item = &'a WheelFilename> + Clone, target: &Target) -> Self {
        let known = (7..=20).flat_map(|minor| [false, true].map(|freethreaded| PythonMinor { minor, freethreaded }));
        Self::among(wheels, target, known)
    }

    /// As [`Self::of`], where only some Pythons can be chosen.
    pub fn among<'a>(
        wheels: impl Iterator<Item = &'a WheelFilename> + Clone,
        target: &Target,
        pythons: impl Iterator<Item = PythonMinor>,
    ) -> Self {
        let platform = target.platform;
        let has_wheel = |python: &PythonMinor| {
            let python = *python;
            let tags = Target { python, platform }.tags();
            wheels.clone().any(|wheel| wheel.is_compatible(&tags))
        };
        let pythons: BTreeSet<PythonMinor> = pythons.filter(has_wheel).collect();
        if !pythons.is_empty() {
            return Self::Pythons(pythons.into_iter().collect());
        }
        let tags: BTreeSet<String> = wheels
            .clone()
            .filter(|wheel| is_for_platform(wheel, target))
            .map(|wheel| format!("{}-{}", joined(wheel.python_tags()), joined(wheel.abi_tags())))
            .collect();
        if !tags.is_empty() {
            return Self::Tags {
                abi: target.python.abi(),
                tags: tags.into_iter().collect(),
            };
        }
        let platforms: BTreeSet<String> = wheels
            .flat_map(|wheel| wheel.platform_tags().iter().map(ToString::to_string))
            .collect();
        Self::Platforms(platforms.into_iter().collect())
    }
}

/// Whether a wheel is for the target's platform, whichever Python it is for.
fn is_for_platform(wheel: &WheelFilename, target: &Target) -> bool {
    let tags = target.tags();
    wheel.platform_tags().iter().any(|platform| {
        let same = format!("x-1-py3-none-{platform}.whl").parse::<WheelFilename>();
        same.is_ok_and(|same| same.is_compatible(&tags))
    })
}

fn joined(tags: &[impl ToString]) -> String {
    tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

/// Continues "has no wheel for …".
impl fmt::Display for Available {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pythons(pythons) => {
                let pythons: Vec<String> = pythons.iter().map(ToString::to_string).collect();
                write!(
                    formatter,
                    "this Python; there are wheels for Python {}",
                    pythons.join(", ")
                )
            }
            Self::Tags { abi, tags } => write!(
                formatter,
                "this Python ({abi}); there are wheels with the tags {}",
                tags.join(", ")
            ),
            Self::Platforms(platforms) if platforms.is_empty() => formatter.write_str("this platform"),
            Self::Platforms(platforms) => write!(
                formatter,
                "this platform; there are wheels for {}",
                platforms.join(", ")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let linux = "manylinux_2_28_x86_64";
        for (target, wheels, told) in [
            (
                "cp311",
                &["cp310-cp310-L", "cp313-cp313t-L"][..],
                "this Python; there are wheels for Python 3.10, 3.13t",
            ),
            (
                "cp313t",
                &["cp313-cp313-L"],
                "this Python; there are wheels for Python 3.13",
            ),
            (
                "cp311",
                &["py2-none-any"],
                "this Python (cp311); there are wheels with the tags py2-none",
            ),
            (
                "cp311",
                &["pp310-pypy310_pp73-L", "cp311-cp311-win_amd64"],
                "this Python (cp311); there are wheels with the tags pp310-pypy310_pp73",
            ),
            (
                "cp311",
                &["cp36-cp36m-L"],
                "this Python (cp311); there are wheels with the tags cp36-cp36m",
            ),
            (
                "cp311",
                &["cp311-cp311-win_amd64", "py3-none-macosx_11_0_arm64"],
                "this platform; there are wheels for macosx_11_0_arm64, win_amd64",
            ),
        ] {
            let target: Target = format!("{target}-{linux}").parse().expect("a target");
            let wheels: Vec<WheelFilename> = wheels
                .iter()
                .map(|tags| format!("a-1-{}.whl", tags.replace('L', linux)))
                .map(|file| file.parse().expect("a wheel"))
                .collect();
            assert_eq!(Available::of(wheels.iter(), &target).to_string(), told);
        }
    }
}
