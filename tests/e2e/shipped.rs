//! The lockfiles that come with flambeau: a build in an empty folder needs no resolution.

use crate::support::world::World;

const KEYS: &str = include_str!("../../lockfiles/keys.json");

#[test]
fn an_empty_folder_is_planned_by_the_shipped_lockfiles_and_their_keys() {
    let mut world = World::new();
    let Some(python) = world.any_python() else { return };
    world.unset("PIP_INDEX_URL");
    world.unset("FLAMBEAU_PYTORCH_MIRROR");
    let keys: serde_json::Value = serde_json::from_str(KEYS).expect("keys");
    for (channel, name) in [("cu118", "cuda"), ("rocm6.3", "rocm"), ("cpu", "cpu"), ("pip", "pip")] {
        let document = world
            .flambeau(&["build", "--channel", channel, "--dry-run", "--json"])
            .ok()
            .json();
        let target = document["target"].as_str().expect("a target");
        assert!(
            target.starts_with(&format!("cp{}-", python.version.replace('.', ""))),
            "{target}"
        );
        assert_eq!(document["key"], keys["keys"][name][target], "{channel}");
        // A dry run writes nothing; what a build saves is the shipped text (see the unit tests of shipped lockfiles).
        assert_eq!(document["would_lock"], true, "{document}");
        assert!(!world.has("lockfiles"), "{channel}");
    }
    world.server().assert_no_requests();
}

#[test]
fn another_index_or_other_requirements_are_resolved_anew() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let document = world
        .flambeau(&["build", "--channel", "cpu", "--dry-run", "--json"])
        .ok()
        .json();
    assert!(
        !KEYS.contains(document["key"].as_str().expect("a key")),
        "resolved from the index of this test"
    );

    let mut world = World::new();
    world.unset("PIP_INDEX_URL");
    world.unset("FLAMBEAU_PYTORCH_MIRROR");
    world.write(
        "pyproject.toml",
        "[project]\nname = \"x\"\nversion = \"1\"\ndependencies = [\"torch==2.6.0\"]\n",
    );
    // Offline there is nobody to resolve with, and the shipped file is not what is asked for.
    world
        .flambeau(&["build", "--channel", "cpu", "--offline", "--dry-run"])
        .fails(4);
    assert!(!world.has("lockfiles/pylock.cpu.toml"));
}
