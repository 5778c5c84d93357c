//! What holds for every index and every set of requirements.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::testing::{World, pins, request, requirement, solve};
use super::{ResolveError, Versions, resolve};

/// Small indexes in which conflicts are common: five projects of four versions with random demands on each other.
fn worlds() -> impl Strategy<Value = String> {
    let names = ["a", "b", "c", "d", "e"];
    let demand = (
        0..names.len(),
        prop_oneof![Just(">="), Just("<="), Just("=="), Just("!=")],
        1..5u8,
    );
    let version = proptest::collection::vec(demand, 0..3);
    proptest::collection::vec(version, names.len() * 4).prop_map(move |versions| {
        let lines = versions.iter().enumerate().map(|(position, demands)| {
            let requires: Vec<String> = demands
                .iter()
                .map(|(name, operator, version)| format!("{}{operator}{version}", names[*name]))
                .collect();
            format!(
                "{} {} : {}",
                names[position / 4],
                position % 4 + 1,
                requires.join(" | ")
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn order_of_requirements_and_rows_decides_nothing(index in worlds(), seed in any::<u64>()) {
        let requirements = ["a", "b>=2", "c<4", "d!=3"];
        let mut shuffled = requirements.to_vec();
        shuffled.rotate_left(usize::try_from(seed % 4).expect("small"));
        if seed & 4 != 0 {
            shuffled.reverse();
        }
        let mut rows: Vec<&str> = index.lines().collect();
        rows.rotate_left(usize::try_from(seed % 20).expect("small"));
        let answer = |index: &str, requirements: &[&str]| {
            solve(&World::new(index), requirements).map_err(|error| error.to_string())
        };
        prop_assert_eq!(answer(&index, &requirements), answer(&rows.join("\n"), &shuffled));
    }

    #[test]
    fn order_of_rules_and_targets_decides_nothing(index in worlds(), seed in any::<u64>(), lowest in any::<bool>()) {
        let world = World::new(&index);
        let answer = |turn: u64| {
            let turned = |texts: &[&'static str]| {
                let mut texts = texts.to_vec();
                let count = texts.len();
                texts.rotate_left(usize::try_from(turn).expect("small") % count);
                if turn & 8 != 0 {
                    texts.reverse();
                }
                texts
            };
            let rules = |texts: &[&'static str]| turned(texts).into_iter().map(requirement).collect::<Vec<_>>();
            let mut request = request(
                &turned(&["a", "b>=2; python_version < '3.12'", "c; sys_platform == 'linux'"]),
                &turned(&["cp311-linux_x86_64", "cp312-linux_x86_64", "cp311-win_amd64", "cp310-macosx_14_0_arm64"]),
            );
            request.constraints = rules(&["c<4", "d!=3", "e<=3; sys_platform == 'win32'"]);
            request.overrides = rules(&["d>=2", "e; python_version >= '3.11'", "d<4; sys_platform != 'linux'"]);
            request.versions = if lowest { Versions::LowestDirect } else { Versions::Highest };
            for wanted in &mut request.targets {
                wanted.optional = true;
            }
            resolve(&request, &world).map_err(|error| error.to_string()).map(|resolutions| {
                let left_out: Vec<String> = resolutions.left_out.iter().map(|(_, error)| error.to_string()).collect();
                (resolutions.targets.iter().map(pins).collect::<Vec<_>>(), left_out)
            })
        };
        prop_assert_eq!(answer(0), answer(seed % 16));
    }

    #[test]
    fn an_answer_meets_every_demand_and_a_refusal_is_right(index in worlds()) {
        let world = World::new(&index);
        let demands = |name: &str, version: u8| -> Vec<(String, String, u8)> {
            let line = index.lines().find(|line| line.starts_with(&format!("{name} {version} "))).expect("a line");
            let (_, requires) = line.split_once(" : ").expect("demands");
            requires.split('|').map(str::trim).filter(|text| !text.is_empty())
                .map(|text| (text[..1].to_owned(), text[1..3].to_owned(), text[3..].parse().expect("a number")))
                .collect()
        };
        let meets = |version: u8, operator: &str, wanted: u8| match operator {
            ">=" => version >= wanted,
            "<=" => version <= wanted,
            "==" => version == wanted,
            _ => version != wanted,
        };
        // Each project at one of its versions, or absent.
        let valid = |choice: &BTreeMap<String, u8>| choice.contains_key("a") && choice.contains_key("b")
            && choice.iter().all(|(name, version)| demands(name, *version).iter()
                .all(|(other, operator, wanted)| choice.get(other).is_some_and(|version| meets(*version, operator, *wanted))));
        match solve(&world, &["a", "b"]) {
            Ok(pins) => {
                let choice = pins.iter().map(|pin| (pin[..1].to_owned(), pin[2..].parse().expect("a number"))).collect();
                prop_assert!(valid(&choice), "{pins:?}");
            }
            Err(error) => {
                prop_assert!(matches!(error, ResolveError::Unsatisfiable { .. } | ResolveError::Excluded { .. } | ResolveError::NoVersion { .. }), "{error}");
                for code in 0..3125u32 {
                    let choice = ["a", "b", "c", "d", "e"].iter().enumerate().filter_map(|(position, name)| {
                        let digit = code / 5u32.pow(u32::try_from(position).expect("small")) % 5;
                        (digit > 0).then(|| ((*name).to_owned(), u8::try_from(digit).expect("small")))
                    }).collect();
                    prop_assert!(!valid(&choice), "{choice:?} would do: {error}");
                }
            }
        }
    }
}
