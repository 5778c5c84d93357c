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

/// Where the shipped lockfile does not stand in there is nobody to resolve with.
const OFFLINE: &[&str] = &["--offline"];

/// Whether a dry run in an empty folder takes the shipped lockfile.
fn takes_the_shipped_one(world: &World, channel: &str, more: &[&str]) -> bool {
    let arguments = [&["build", "--channel", channel, "--dry-run", "--json"], more].concat();
    let output = world.flambeau(&arguments);
    std::fs::remove_dir_all(world.project().join("lockfiles")).ok();
    output.stdout.contains("\"key\"") && KEYS.contains(output.json()["key"].as_str().expect("a key"))
}

#[test]
fn whatever_pip_s_configuration_says_of_indexes_counts() {
    let mut world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.unset("FLAMBEAU_PYTORCH_MIRROR");
    world.unset("PIP_INDEX_URL");
    world.unset("PIP_CONFIG_FILE");
    let index = world.server().index_url();
    let user = world.path("home/.config/pip/pip.conf");
    std::fs::create_dir_all(user.parent().expect("a folder")).expect("writable");
    for folder in ["tmp", "project"] {
        std::fs::write(world.path(folder).join("a-1-py3-none-any.whl"), "").expect("writable");
    }
    let elsewhere = world.path("home/elsewhere.conf");
    for channel in ["cpu", "pip"] {
        assert!(takes_the_shipped_one(&world, channel, OFFLINE), "nothing is configured");
        for conf in [
            format!("[global]\nindex-url = {index}\n"),
            format!("[install]\nindex_url: {index}\n"),
            "[global]\nno-index = true\n".to_owned(),
            format!("[global]\nfind-links = {}\n", world.path("tmp").display()),
            format!("[global]\nextra-index-url = {index}\n"),
        ] {
            std::fs::write(&user, &conf).expect("writable");
            assert!(!takes_the_shipped_one(&world, channel, OFFLINE), "{channel} {conf}");
            std::fs::rename(&user, &elsewhere).expect("writable");
            world.set("PIP_CONFIG_FILE", elsewhere.display().to_string());
            assert!(!takes_the_shipped_one(&world, channel, OFFLINE), "{channel} {conf}");
            world.unset("PIP_CONFIG_FILE");
        }
        std::fs::write(&user, "[global]\ntimeout = 20\nno-index = false\n").expect("writable");
        assert!(takes_the_shipped_one(&world, channel, OFFLINE), "nothing about indexes");
        std::fs::remove_file(&user).expect("there");
        for (name, value) in [
            ("PIP_NO_INDEX", "1"),
            ("PIP_FIND_LINKS", "."),
            ("UV_DEFAULT_INDEX", &index),
        ] {
            world.set(name, value);
            assert!(!takes_the_shipped_one(&world, channel, OFFLINE), "{channel} {name}");
            world.unset(name);
        }
    }
    // A private index counts where it claims a name of the file.
    for (pattern, taken) in [("corp-*", true), ("filelock", false), ("torch", true)] {
        world.write(
            "pyproject.toml",
            format!("[[tool.flambeau.index]]\nname = \"a\"\nurl = \"{index}\"\npackages = [\"{pattern}\"]\n"),
        );
        assert_eq!(takes_the_shipped_one(&world, "cpu", OFFLINE), taken, "{pattern}");
    }
    std::fs::remove_file(world.project().join("pyproject.toml")).expect("there");
    std::fs::write(&user, "index-url = x\n").expect("writable");
    let error = world.flambeau_error(1, &["build", "--channel", "cpu", "--dry-run"]);
    let said = error.to_string();
    assert!(
        said.contains("pip.conf cannot be understood") && said.contains("line 1"),
        "{error:#}"
    );
    assert!(
        crate::support::world::hints(&error).contains("PIP_CONFIG_FILE=/dev/null"),
        "{error:#}"
    );
}

#[test]
fn the_index_that_is_built_into_pip_is_no_other_index() {
    let mut world = World::new();
    let Some(python) = world.any_python() else { return };
    world.unset("FLAMBEAU_PYTORCH_MIRROR");
    let mut ask = world.command(&python.path);
    ask.args([
        "-I",
        "-c",
        "from pip._internal.models.index import PyPI; print(PyPI.simple_url)",
    ]);
    let answer = world.run(ask);
    if !answer.status.success() {
        return;
    }
    // Should it be resolved after all, nobody is asked.
    world.set("HTTPS_PROXY", "http://127.0.0.1:9");
    world.set("PIP_INDEX_URL", format!("{}/", answer.text()));
    assert!(takes_the_shipped_one(&world, "cpu", &[]));
    world.set("FLAMBEAU_PYTORCH_MIRROR", "https://download.pytorch.org/whl/");
    assert!(takes_the_shipped_one(&world, "cpu", &[]));
    world.server().assert_no_requests();
}
