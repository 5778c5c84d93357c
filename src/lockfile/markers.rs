//! Markers that are true on some targets of a lockfile and false on the others.
//!
//! A target's marker names the Python minor version, the system and the machine. Markers know neither libc floors nor
//! the free-threaded ABI, so two targets may have the same one; who needs them apart is refused by
//! [`covering`]'s caller.

use std::collections::{BTreeMap, BTreeSet};
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

/// What markers can tell of a platform: `sys_platform` and `platform_machine`.
type Place = (String, String);

/// The places of some targets, by Python minor version.
type Places = BTreeMap<u8, BTreeSet<Place>>;

fn places(targets: &[Target]) -> Places {
    let mut places = Places::new();
    for target in targets {
        let environment = target.markers(&Version::new([3, u64::from(target.python.minor), 0]));
        let place = (
            environment.sys_platform().to_owned(),
            environment.platform_machine().to_owned(),
        );
        places.entry(target.python.minor).or_default().insert(place);
    }
    places
}

/// A simple marker that is true on `here` and false on the rest of `all`; true where `here` is all of `all`.
///
/// Its value elsewhere is undefined: `environments` keeps other tools from asking. Targets with the same marker must
/// all be in `here`, or none of them.
pub(crate) fn covering(here: &[Target], all: &[Target]) -> MarkerTree {
    let (here, all) = (places(here), places(all));
    let text = if here == all { None } else { Some(text(&here, &all)) };
    // A text that this module wrote always parses; should it not, "never" is found out when the lockfile is checked.
    text.map_or(MarkerTree::TRUE, |text| {
        MarkerTree::from_str(&text).unwrap_or(MarkerTree::FALSE)
    })
}

fn text(here: &Places, all: &Places) -> String {
    let minors: Vec<u8> = all.keys().copied().collect();
    if here.iter().all(|(minor, places)| all.get(minor) == Some(places)) {
        return pythons(&here.keys().copied().collect(), &minors);
    }
    let inside: BTreeSet<&Place> = here.values().flatten().collect();
    let outside: BTreeSet<&Place> = all
        .iter()
        .flat_map(|(minor, places)| places.iter().filter(|place| !has(here, *minor, place)))
        .collect();
    if inside.is_disjoint(&outside) {
        return platforms(&inside, &outside);
    }
    let mut groups: BTreeMap<&BTreeSet<Place>, BTreeSet<u8>> = BTreeMap::new();
    for (minor, places) in here {
        groups.entry(places).or_default().insert(*minor);
    }
    let group = |(places, of): (&BTreeSet<Place>, BTreeSet<u8>)| {
        let declared: BTreeSet<&Place> = of.iter().filter_map(|minor| all.get(minor)).flatten().collect();
        let outside: BTreeSet<&Place> = declared.into_iter().filter(|place| !places.contains(*place)).collect();
        let python = pythons(&of, &minors);
        if outside.is_empty() {
            python
        } else {
            all_of(&[python, platforms(&places.iter().collect(), &outside)])
        }
    };
    any_of(&groups.into_iter().map(group).collect::<Vec<_>>())
}

fn has(places: &Places, minor: u8, place: &Place) -> bool {
    places.get(&minor).is_some_and(|places| places.contains(place))
}

/// The minor versions `here`, told from the rest of `all` (sorted) by as few comparisons as possible.
fn pythons(here: &BTreeSet<u8>, all: &[u8]) -> String {
    let mut runs = Vec::new();
    let mut start = None;
    for (position, minor) in all.iter().enumerate() {
        let last = all.get(position + 1).is_none_or(|next| !here.contains(next));
        match (here.contains(minor), start) {
            (false, _) => {}
            (true, None) if !last => start = Some(position),
            (true, _) if !last => {}
            (true, _) => {
                let from = start.take().unwrap_or(position);
                let low = (from > 0).then(|| format!("python_version >= '3.{}'", all[from]));
                let high = all.get(position + 1).map(|next| format!("python_version < '3.{next}'"));
                runs.push(all_of(&[low, high].into_iter().flatten().collect::<Vec<_>>()));
            }
        }
    }
    any_of(&runs)
}

/// The places `inside`, told from those `outside` by system or machine alone where one of them will do.
fn platforms(inside: &BTreeSet<&Place>, outside: &BTreeSet<&Place>) -> String {
    let systems = |places: &BTreeSet<&Place>| places.iter().map(|place| place.0.clone()).collect::<BTreeSet<_>>();
    let machines = |places: &BTreeSet<&Place>| places.iter().map(|place| place.1.clone()).collect::<BTreeSet<_>>();
    if systems(inside).is_disjoint(&systems(outside)) {
        return one_of("sys_platform", &systems(inside), &systems(outside));
    }
    if machines(inside).is_disjoint(&machines(outside)) {
        return one_of("platform_machine", &machines(inside), &machines(outside));
    }
    let system = |system: &String| {
        let of = |places: &BTreeSet<&Place>| {
            let here = places.iter().filter(|place| place.0 == *system);
            here.map(|place| place.1.clone()).collect::<BTreeSet<_>>()
        };
        let name = format!("sys_platform == '{system}'");
        if of(outside).is_empty() {
            name
        } else {
            all_of(&[name, one_of("platform_machine", &of(inside), &of(outside))])
        }
    };
    any_of(&systems(inside).iter().map(system).collect::<Vec<_>>())
}

fn one_of(variable: &str, inside: &BTreeSet<String>, outside: &BTreeSet<String>) -> String {
    let compare = |operator: &str, values: &BTreeSet<String>| -> Vec<String> {
        values
            .iter()
            .map(|value| format!("{variable} {operator} '{value}'"))
            .collect()
    };
    if inside.len() <= outside.len() {
        any_of(&compare("==", inside))
    } else {
        all_of(&compare("!=", outside))
    }
}

fn any_of(terms: &[String]) -> String {
    joined(terms, " or ")
}

fn all_of(terms: &[String]) -> String {
    joined(terms, " and ")
}

fn joined(terms: &[String], word: &str) -> String {
    match terms {
        [term] => term.clone(),
        terms => terms
            .iter()
            .map(|term| format!("({term})"))
            .collect::<Vec<_>>()
            .join(word),
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
        assert_eq!(
            text(&all[1..2], &all).as_deref(),
            Some("python_full_version == '3.10.*'")
        );
        assert_eq!(
            text(&[all[0], all[2]], &all).as_deref(),
            Some("python_full_version != '3.10.*'")
        );
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
        assert_eq!(
            text(&[platforms[1], platforms[3]], &platforms).as_deref(),
            Some("platform_machine == 'aarch64' or platform_machine == 'arm64'")
        );
    }
}
