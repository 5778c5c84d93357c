//! Which Python an environment is for, and what happens when that Python changes or goes.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::Value;

use crate::steps::{ACTIVE, active, assert_error, copy_python, names, shelf, skip};
use crate::support::world::{Python, World};

/// A world with a lockfile for several Pythons, and two Pythons of this machine, the better one first.
fn world_of_two() -> Option<(World, [Python; 2])> {
    let mut world = World::new();
    world.unset("UV_PYTHON");
    let found: Vec<_> = ["3.13", "3.12", "3.11", "3.10", "3.9"]
        .iter()
        .filter_map(|version| world.python(version))
        .collect();
    let [newest, next, ..] = &found[..] else {
        skip("the choice between Pythons", "this machine has fewer than two");
        return None;
    };
    let pair = [newest.clone(), next.clone()];
    let versions = "3.9,3.10,3.11,3.12,3.13";
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", versions, ACTIVE])
        .ok();
    Some((world, pair))
}

/// The interpreter's version that a plain build would use, with further arguments.
fn chosen(world: &World, arguments: &[&str]) -> String {
    let command = [&["build", "--channel", "cpu", "--dry-run", "--json"], arguments].concat();
    let document = world.flambeau(&command).ok().json();
    document["python"].as_str().expect("a version").to_owned()
}

#[test]
fn the_strongest_wish_for_a_python_wins() {
    let Some((mut world, [newest, next])) = world_of_two() else {
        return;
    };
    // Without any wish, the newest that the lockfile has wheels for.
    let unasked = chosen(&world, &[]);
    assert!(unasked.starts_with(&newest.version), "{unasked}");
    world.write(".python-version", format!("{}\n", next.version));
    assert_eq!(chosen(&world, &[]), next.full_version);
    world.write(
        "pyproject.toml",
        format!("[tool.flambeau]\npython = \"{}\"\n", newest.full_version),
    );
    assert_eq!(chosen(&world, &[]), newest.full_version);
    world.set("UV_PYTHON", &next.version);
    let by_variable = chosen(&world, &[]);
    let by_flag = chosen(&world, &["--python", &newest.version]);
    assert!(by_flag.starts_with(&newest.version), "{by_flag}");
    assert_eq!(
        chosen(&world, &["--python", &next.path.display().to_string()]),
        next.full_version
    );
    // DESIGN's order: the flag, then the project's own word, then `.python-version`, then the variable.
    assert_eq!(by_variable, newest.full_version);
    fs::remove_file(world.project().join("pyproject.toml")).expect("it was written");
    fs::remove_file(world.project().join(".python-version")).expect("it was written");
    assert_eq!(chosen(&world, &[]), next.full_version);
}

#[test]
fn a_python_that_is_not_there_is_told_with_those_that_are() {
    let Some((mut world, [newest, _])) = world_of_two() else {
        return;
    };
    let output = world.flambeau(&["build", "--channel", "cpu", "--python", "3.18"]);
    assert_error(output, 1, &["3.18", "passed over", &newest.full_version, "--python"]);
    let output = world.flambeau(&["build", "--channel", "cpu", "--python", "/nowhere/python3"]);
    assert_error(output, 1, &["/nowhere/python3"]);
    let other_patch = format!("{}.99", newest.version);
    let output = world.flambeau(&["build", "--channel", "cpu", "--python", &other_patch]);
    assert_error(output, 1, &[&other_patch, "passed over", &newest.full_version]);
    world.set("UV_PYTHON", "pypy3.10");
    assert_error(
        world.flambeau(&["build", "--channel", "cpu"]),
        1,
        &["pypy3.10", "CPython"],
    );
    world.set("UV_PYTHON", "three point eleven");
    assert_error(
        world.flambeau(&["build", "--channel", "cpu"]),
        1,
        &["three point eleven", "UV_PYTHON"],
    );
    // Something that is no Python at all.
    world.fake_script("python-like", "#!/bin/sh\necho 'not me'\n");
    let path = world.path("bin/python-like").display().to_string();
    assert_error(
        world.flambeau(&["build", "--channel", "cpu", "--python", &path]),
        1,
        &[&path, "not me"],
    );
    assert!(names(&world.store()).is_empty());
}

#[test]
fn a_virtual_environment_stands_for_the_python_it_was_made_from() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let venv = world.path("some-venv");
    let mut command = world.command(&python.path);
    command.args(["-m", "venv", "--without-pip"]).arg(&venv);
    world.run(command).ok();
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version, ACTIVE])
        .ok();
    for path in [venv.clone(), venv.join("bin/python")] {
        let path = path.display().to_string();
        world.flambeau(&["build", "--channel", "cpu", "--python", &path]).ok();
        let state: Value = serde_json::from_str(&world.read("environment_state.json")).expect("JSON");
        assert_eq!(state["Interpreter"], python.path.display().to_string());
    }
    assert_eq!(names(&world.store().join("envs")).len(), 1);
}

/// An active environment on a copy of an interpreter, which the test may change.
struct Bound {
    world: World,
    python: Python,
    copy: std::path::PathBuf,
    built: Value,
}

fn bound() -> Option<Bound> {
    let mut world = World::new();
    let python = world.any_python()?;
    let copy = copy_python(&python, &world.path("own-python"));
    world.set("UV_PYTHON", copy.display().to_string());
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version, ACTIVE])
        .ok();
    let built = world.flambeau(&["build", "--channel", "cpu", "--json"]).ok().json();
    let script = "import sys, typing_extensions; print(sys.base_prefix)";
    let prefix = world.venv_python(&["-c", script]).ok();
    assert_eq!(Path::new(prefix.text()), world.path("own-python"));
    world.server().clear_log();
    Some(Bound {
        world,
        python,
        copy,
        built,
    })
}

/// The next build binds the environment anew: same key, another folder, nothing fetched, nothing unpacked.
#[track_caller]
fn assert_rebinds(bound: &Bound, interpreter: &str, version: &str) {
    let world = &bound.world;
    let trees = shelf(world, "wheels");
    let document = world.flambeau(&["build", "--json"]).ok().json();
    assert_eq!(document["key"], bound.built["key"]);
    assert_eq!(document["tree_digest"], bound.built["tree_digest"]);
    assert_ne!(document["path"], bound.built["path"]);
    assert_eq!(document["python"], version);
    assert_eq!(
        (&document["downloaded_bytes"], &document["activated"]),
        (&Value::from(0), &Value::from(true))
    );
    trees.assert_same(&shelf(world, "wheels"));
    world.server().assert_no_requests();
    assert_eq!(
        active(world).display().to_string(),
        document["path"].as_str().expect("a path")
    );
    let state: Value = serde_json::from_str(&world.read("environment_state.json")).expect("JSON");
    assert_eq!(
        (&state["Interpreter"], &state["PythonVersion"]),
        (&interpreter.into(), &version.into())
    );
    let status = world.flambeau(&["status"]).ok();
    assert!(!status.stderr.contains("warning"), "{status}");
}

#[test]
fn an_interpreter_that_vanished_is_noticed_and_replaced() {
    let Some(mut bound) = bound() else { return };
    fs::remove_file(&bound.copy).expect("it is ours");
    let copy = bound.copy.display().to_string();
    let status = bound.world.flambeau(&["status"]).ok();
    for part in ["warning: ", copy.as_str(), "gone", "`flambeau build`"] {
        assert!(status.stderr.contains(part), "{part}: {status}");
    }
    let warnings = bound.world.flambeau(&["status", "--json"]).ok().json()["warnings"].clone();
    assert!(
        warnings[0].as_str().is_some_and(|text| text.contains("gone")),
        "{warnings}"
    );
    for name in ["1", "cpu", bound.built["key"].as_str().expect("a key")] {
        let output = bound.world.flambeau(&["activate", name]);
        assert_error(output, 1, &[&copy, "gone", "`flambeau build`"]);
    }
    // Asked for by its path, nothing stands in for it.
    for verb in [&["run", "--", "python", "-V"][..], &["build"]] {
        assert_error(bound.world.flambeau(verb), 1, &[&copy, "--python"]);
    }
    bound.world.set("UV_PYTHON", &bound.python.version);
    let output = bound
        .world
        .flambeau(&["run", "--", "python", "-c", "import typing_extensions; print('runs')"])
        .ok();
    assert_eq!(output.text(), "runs");
    let (interpreter, version) = (
        bound.python.path.display().to_string(),
        bound.python.full_version.clone(),
    );
    // What `run` has bound, `build` finds.
    assert_rebinds(&bound, &interpreter, &version);
}

#[test]
fn an_interpreter_that_was_moved_is_replaced_by_build() {
    let Some(mut bound) = bound() else { return };
    let moved = bound.world.path("moved-python");
    fs::rename(bound.world.path("own-python"), &moved).expect("it is ours");
    let executable = moved
        .join("bin")
        .join(bound.copy.file_name().expect("a name"))
        .display()
        .to_string();
    bound.world.set("UV_PYTHON", &executable);
    let version = bound.python.full_version.clone();
    assert_rebinds(&bound, &executable, &version);
    bound.world.venv_python(&["-c", "import typing_extensions"]).ok();
}

/// An upgrade in place: the same path says another patch level from now on.
fn upgrade(bound: &Bound) -> String {
    let (minor, patch) = bound.python.full_version.rsplit_once('.').expect("three parts");
    let patch: u32 = patch.parse().expect("a number");
    let version = format!("{minor}.{}", patch + 1);
    let real = bound.copy.with_extension("real");
    fs::rename(&bound.copy, &real).expect("it is ours");
    // Only the question for its facts is answered otherwise; everything else the real one does.
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n  *cache_tag*) \"{real}\" \"$@\" | sed 's/\"{old}\"/\"{version}\"/; s#{real}#{copy}#' ;;\n\
         *) exec \"{real}\" \"$@\" ;;\nesac\n",
        real = real.display(),
        copy = bound.copy.display(),
        old = bound.python.full_version,
    );
    fs::write(&bound.copy, script).expect("a writable folder");
    fs::set_permissions(&bound.copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
    version
}

#[test]
fn an_interpreter_that_was_upgraded_in_place_is_noticed_and_bound_anew() {
    let Some(bound) = bound() else { return };
    let Some(sed) = crate::steps::tool("sed") else {
        return skip("an upgraded interpreter", "there is no sed");
    };
    symlink(sed, bound.world.path("tools/sed")).expect("the name is free");
    let version = upgrade(&bound);
    let copy = bound.copy.display().to_string();
    let status = bound.world.flambeau(&["status"]).ok();
    for part in [
        "warning: ",
        copy.as_str(),
        version.as_str(),
        bound.python.full_version.as_str(),
        "`flambeau build`",
    ] {
        assert!(status.stderr.contains(part), "{part}: {status}");
    }
    let output = bound.world.flambeau(&["activate", "cpu"]);
    assert_error(
        output,
        1,
        &[&copy, &version, &bound.python.full_version, "`flambeau build`"],
    );
    assert_rebinds(&bound, &copy, &version);
}

#[test]
fn another_python_version_shares_what_is_unpacked() {
    let Some((world, [newest, next])) = world_of_two() else {
        return;
    };
    let build = |python: &Python| {
        let path = python.path.display().to_string();
        world
            .flambeau(&["build", "--channel", "cpu", "--python", &path, "--json"])
            .ok()
            .json()
    };
    let first = build(&newest);
    world.server().clear_log();
    let second = build(&next);
    assert_ne!(first["key"], second["key"]);
    assert_eq!(second["downloaded_bytes"], 0);
    world.server().assert_no_requests();
    let script = "import sys, typing_extensions as t; print('%d.%d' % sys.version_info[:2], t.__cached__)";
    let output = world.venv_python(&["-c", script]).ok();
    assert!(output.text().starts_with(&next.version), "{output}");
    assert!(
        output
            .text()
            .ends_with(&format!("cpython-{}.pyc", next.version.replace('.', ""))),
        "{output}"
    );
}
