//! Version specifiers as the version sets that PubGrub calculates with, and such sets in words.
//!
//! PubGrub treats versions as a continuous line. PEP 440 is not: `==2.7.0` accepts `2.7.0+cu118`, `>2.7` refuses
//! `2.7.post1`. The conversion (done by the PEP 440 crate) expresses that with bounds that no release ever has, such as
//! `<2.7.0.post0.dev0`; [`describe`] turns them back before a person reads them.

use std::ops::Bound;

use pubgrub::Ranges;

use crate::pep::{Version, VersionSpecifiers, canonicalize_version_ranges, public_version};

/// The set of versions that PEP 440 lets `specifiers` accept.
pub(super) fn ranges(specifiers: &VersionSpecifiers) -> Ranges<Version> {
    let raw = specifiers.clone().into();
    let canonical = canonicalize_version_ranges(&raw);
    canonical
        .as_ref()
        .unwrap_or(&raw)
        .iter()
        .map(|(low, high)| (low.cloned(), high.cloned()))
        .collect()
}

/// The set of `==version`: the public version with any local label, or exactly that label.
fn exactly(version: &Version) -> Ranges<Version> {
    ranges(&VersionSpecifiers::from(crate::pep::VersionSpecifier::equals_version(
        version.clone(),
    )))
}

/// Whether `set` lies within what one `==` or `===` accepts.
pub(super) fn is_pin(set: &Ranges<Version>) -> bool {
    match set.bounding_range() {
        Some((Bound::Included(low) | Bound::Excluded(low), _)) => set.subset_of(&exactly(&public_version(low))),
        _ => false,
    }
}

/// The set as version specifiers: `>=1.0, <2.0`; empty text for the set of all versions.
pub(super) fn describe(set: &Ranges<Version>) -> String {
    if let Some(version) = set.as_singleton() {
        return version.to_string();
    }
    let segments: Vec<String> = set.iter().map(|(low, high)| segment(low, high)).collect();
    if segments.is_empty() {
        "(no version)".to_owned()
    } else {
        segments.join(" or ")
    }
}

fn segment(low: &Bound<Version>, high: &Bound<Version>) -> String {
    if let (Bound::Included(from), Bound::Excluded(_)) = (low, high)
        && exactly(from) == Ranges::from_range_bounds::<_, Version>((low.clone(), high.clone()))
    {
        return format!("=={from}");
    }
    let low = match low {
        Bound::Unbounded => None,
        Bound::Included(version) => Some(match boundary(version) {
            // `>2.7.0` starts at 2.7.0.post0.dev0.
            Boundary::After(version) => format!(">{version}"),
            Boundary::At(version) => format!(">={version}"),
        }),
        Bound::Excluded(version) => Some(format!(">{version}")),
    };
    let high = match high {
        Bound::Unbounded => None,
        Bound::Included(version) => Some(format!("<={version}")),
        Bound::Excluded(version) => Some(match boundary(version) {
            Boundary::After(version) => format!("<={version}"),
            Boundary::At(version) => format!("<{version}"),
        }),
    };
    [low, high].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Where a bound that no release has really lies.
enum Boundary {
    /// Just above this version and all its local labels.
    After(Version),
    /// Just below this version and its pre-releases.
    At(Version),
}

fn boundary(version: &Version) -> Boundary {
    let Some(release) = version
        .to_string()
        .strip_suffix(".dev0")
        .and_then(|text| text.parse::<Version>().ok())
    else {
        return Boundary::At(version.clone());
    };
    match release.post() {
        None => Boundary::At(release),
        Some(0) => Boundary::After(release.with_post(None)),
        Some(post) => Boundary::After(release.with_post(Some(post - 1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Ranges<Version> {
        ranges(&text.parse().expect("specifiers"))
    }

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    #[test]
    fn local_labels_follow_pep_440() {
        let rows = [
            ("==2.7.0", "2.7.0+cu118", true),
            ("==2.7.0", "2.7.0", true),
            ("==2.7.0", "2.7.0.post1", false),
            ("==2.7.0+cu118", "2.7.0", false),
            ("==2.7.0+cu118", "2.7.0+cu118", true),
            ("===2.7.0", "2.7.0+cu118", false),
            (">=2.7.0", "2.7.0+cu118", true),
            ("<=2.7.0", "2.7.0+cu118", true),
            (">2.7.0", "2.7.0+cu118", false),
            ("<2.7.0", "2.7.0+cu118", false),
            ("!=2.7.0", "2.7.0+cu118", false),
            ("==2.7.*", "2.7.9+cpu", true),
            ("~=2.7.0", "2.8.0", false),
            ("<2.7", "2.7rc1", false),
            (">=2.7rc1,<2.8", "2.7rc2", true),
        ];
        for (specifiers, candidate, accepted) in rows {
            assert_eq!(
                set(specifiers).contains(&version(candidate)),
                accepted,
                "{specifiers} {candidate}"
            );
        }
    }

    #[test]
    fn pins_are_recognised() {
        for text in ["==2.7.0", "===2.7.0", "==2.7.0+cu118", ">=1,==2.7.0"] {
            assert!(is_pin(&set(text)), "{text}");
        }
        for text in [">=2.7.0", "==2.7.*", "<=2.7.0", "~=2.7.0", ""] {
            assert!(!is_pin(&set(text)), "{text}");
        }
    }

    #[test]
    fn sets_read_like_specifiers() {
        for (specifiers, words) in [
            ("==2.7.0", "==2.7.0"),
            (">=1.0,<2.0", ">=1.0, <2.0"),
            (">1.0,<=2.0", ">1.0, <=2.0"),
            ("~=1.4.2", ">=1.4.2, <1.5"),
            ("!=1.5", "<1.5 or >1.5"),
            ("==2.7.0+cu118", "2.7.0+cu118"),
            ("", ""),
        ] {
            assert_eq!(describe(&set(specifiers)), words, "{specifiers}");
        }
    }
}
