//! `requires-python` is an input of the lockfile: of its staleness, its targets, and the interpreter.

use crate::steps::{ACTIVE, assert_error};
use crate::support::world::{Python, World, text};

const CPU: &str = "lockfiles/pylock.cpu.toml";

/// A world in which the program finds Pythons itself, and some of them.
fn world() -> Option<(World, Vec<Python>)> {
    let mut world = World::new();
    world.any_python()?;
    world.unset("UV_PYTHON");
    let versions = ["3.9", "3.10", "3.11", "3.12", "3.13"];
    let pythons = versions
        .into_iter()
        .filter_map(|version| world.python(version))
        .collect();
    Some((world, pythons))
}

fn project(world: &World, requires_python: Option<&str>) {
    let python = requires_python.map_or_else(String::new, |python| format!("requires-python = \"{python}\"\n"));
    world.write(
        "pyproject.toml",
        format!(
            "[project]\nname = \"x\"\nversion = \"1\"\n{python}dependencies = [\"{ACTIVE}\"]\n\
             [tool.flambeau]\nchannel = \"cpu\"\nplatforms = [\"linux_x86_64\"]\n"
        ),
    );
}

/// `3.9 3.10 …`: the Pythons of the lockfile's targets, and its `requires-python`.
fn locked(world: &World) -> (String, String) {
    let document: toml::Table = world.read(CPU).parse().expect("TOML");
    let targets = document["tool"]["flambeau"]["targets"]
        .as_array()
        .expect("targets")
        .iter();
    let pythons = targets.map(|target| {
        let target = target["target"].as_str().expect("a text");
        target.split('-').next().expect("a tag").replace("cp3", "3.")
    });
    let python = document["requires-python"].as_str().expect("a text").to_owned();
    (pythons.collect::<Vec<_>>().join(" "), python)
}

#[test]
fn a_change_makes_the_lockfile_stale_and_moves_its_targets() {
    let Some((world, _)) = world() else { return };
    project(&world, None);
    world.flambeau(&["lock"]).ok();
    let all = "3.9 3.10 3.11 3.12 3.13";
    assert_eq!(locked(&world), (all.to_owned(), ">=3.9".to_owned()));
    let plain = (world.read(CPU), world.read("lockfiles/keys.json"));
    for (required, pythons, recorded) in [
        ("<3.12", "3.9 3.10 3.11", "<3.12"),
        (">=3.12.5", "3.12 3.13", ">=3.12.5"),
        (">=3.11,<3.13", "3.11 3.12", ">=3.11, <3.13"),
        ("<3.12.5,>=3.12", "3.12", ">=3.12, <3.12.5"),
        (">=3.9", all, ">=3.9"),
    ] {
        project(&world, Some(required));
        // The last one is what a project without any has.
        if required != ">=3.9" {
            assert_error(
                world.flambeau(&["lock", "--check"]),
                1,
                &["stale", "`requires-python` is", recorded],
            );
            assert_error(
                world.flambeau(&["build", "--locked"]),
                1,
                &["stale", "`requires-python` is"],
            );
        }
        world.flambeau(&["lock"]).ok();
        assert_eq!(locked(&world), (pythons.to_owned(), recorded.to_owned()), "{required}");
        world.flambeau(&["lock", "--check"]).ok();
    }
    // One that goes is noticed too, also where it said no more than the targets do.
    for required in [">=3.9", ">=3.11", ">=3.11,<3.13"] {
        project(&world, Some(required));
        world.flambeau(&["lock"]).ok();
        project(&world, None);
        for verb in [&["lock", "--check"][..], &["build", "--locked"]] {
            assert_error(world.flambeau(verb), 1, &["`requires-python`", "none is wanted"]);
        }
        world.flambeau(&["lock"]).ok();
        let now = (world.read(CPU), world.read("lockfiles/keys.json"));
        assert_eq!(now, plain, "{required}: the same keys");
    }
    // A Python that was named stays named.
    world.flambeau(&["lock", "--python", "3.11"]).ok();
    project(&world, Some(">=3.10"));
    world.flambeau(&["lock"]).ok();
    assert_eq!(locked(&world), ("3.11".to_owned(), ">=3.10".to_owned()));
}

#[test]
fn a_python_that_is_named_and_excluded_is_an_error() {
    let Some((world, _)) = world() else { return };
    project(&world, Some(">=3.12"));
    let said = [
        "Python 3.11 is asked for",
        "`requires-python = \">=3.12\"`",
        "pyproject.toml excludes it",
    ];
    assert_error(world.flambeau(&["lock", "--python", "3.12,3.11"]), 1, &said);
    let manifest = world.read("pyproject.toml");
    world.write(
        "pyproject.toml",
        format!("{manifest}python-versions = [\"3.11\", \"3.12\"]\n"),
    );
    assert_error(world.flambeau(&["lock"]), 1, &said);
    world.write("pyproject.toml", format!("{manifest}python = \"3.11.7\"\n"));
    assert_error(
        world.flambeau(&["lock"]),
        1,
        &["Python 3.11.7 is asked for", "excludes it"],
    );
    project(&world, Some(">=3.99"));
    assert_error(
        world.flambeau(&["lock"]),
        1,
        &["`requires-python = \">=3.99\"`", "allows no CPython"],
    );
    assert!(!world.has(CPU));
}

#[test]
fn the_interpreter_meets_it_with_its_full_version() {
    let Some((mut world, pythons)) = world() else { return };
    project(&world, None);
    world.flambeau(&["lock"]).ok();
    let newest = pythons.last().expect("one at least");
    let built = world.build(&[]);
    assert_eq!(text(&built, "python"), newest.full_version);
    if pythons.len() > 1 {
        let second = &pythons[pythons.len() - 2];
        project(&world, Some(&format!("<{}", newest.version)));
        assert_eq!(text(&world.build(&[]), "python"), second.full_version);
    }
    // Another patch level of the only Python that is named.
    let required = format!("{}.*,!={}", newest.version, newest.full_version);
    project(&world, Some(&format!("=={required}")));
    let path = world
        .path("tools")
        .join(format!("python{}", newest.version))
        .display()
        .to_string();
    let said = [
        newest.full_version.as_str(),
        "`requires-python = \"",
        "pyproject.toml",
        "excludes",
        &format!("tools/python{}", newest.version),
    ];
    for named in [&["--python", newest.version.as_str()][..], &["--python", &path], &[]] {
        assert_error(world.flambeau(&[&["build"], named].concat()), 1, &said);
    }
    world.write(".python-version", &newest.full_version);
    assert_error(world.flambeau(&["build"]), 1, &said);
    std::fs::remove_file(world.project().join(".python-version")).expect("written");
    world.set("UV_PYTHON", &path);
    assert_error(world.flambeau(&["build"]), 1, &said);
    assert_error(world.flambeau(&["run", "true"]), 1, &said);
}

#[test]
fn a_lockfile_from_elsewhere_has_its_own() {
    let Some((world, pythons)) = world() else { return };
    let newest = pythons.last().expect("one at least");
    project(
        &world,
        Some(&format!("=={}.*,>={}", newest.version, newest.full_version)),
    );
    world.flambeau(&["lock"]).ok();
    let elsewhere = world
        .read(CPU)
        .replace(&newest.full_version, &format!("{}9", newest.full_version));
    world.write("elsewhere.toml", elsewhere);
    std::fs::remove_file(world.project().join("pyproject.toml")).expect("written");
    let output = world.flambeau(&["build", "--from", "elsewhere.toml", "--python", &newest.version]);
    assert_error(
        output,
        1,
        &["`requires-python = \"", "elsewhere.toml excludes", &newest.full_version],
    );
}
