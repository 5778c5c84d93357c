//! What the next command finds after a crash of the machine, a deleted link, or a start that Python does not normalise.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::family::Shelf;
use crate::support::wheel::Wheel;
use crate::support::world::World;

/// Lets every commit record say that it was written before this machine last started.
fn pretend_reboot(world: &World) {
    for entry in fs::read_dir(world.store().join("records")).expect("records") {
        let path = entry.expect("a record").path();
        let mut record: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).expect("readable")).expect("a document");
        record["boot"] = "an earlier boot".into();
        fs::write(&path, record.to_string()).expect("written");
    }
}

fn overwrite(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("writable");
    fs::write(path, text).expect("written");
}

#[test]
fn f02_what_was_not_on_disk_for_certain_is_verified_and_never_missing() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let before = world.build(&["--channel", "cpu"]);
    let active = world.active();
    pretend_reboot(&world);
    // A process that has run since the machine started keeps its environment while that is verified.
    let mut command = world.command(world.project().join(".venv/bin/python"));
    command.args([
        "-c",
        "import sys; print('up', flush=True); sys.stdin.read(); import torch.nn; print('late')",
    ]);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut service = command.spawn().expect("it starts");
    let after = world.build(&["--offline"]);
    assert_eq!(
        (&after["key"], &after["tree_digest"]),
        (&before["key"], &before["tree_digest"])
    );
    assert_eq!((after["reused"].as_bool(), world.active()), (Some(false), active));
    drop(service.stdin.take());
    let output = service.wait_with_output().expect("it ends");
    assert!(String::from_utf8_lossy(&output.stdout).contains("late"), "{output:?}");
    assert_eq!(world.build(&["--offline"])["reused"], true, "trusted again");
}

#[test]
fn f02_a_file_that_a_crash_emptied_is_made_again() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let before = world.build(&["--channel", "cpu"]);
    let torch = fs::read_dir(world.store().join("wheels")).expect("trees");
    let tree = torch
        .map(|entry| entry.expect("a tree").path())
        .find(|path| path.to_string_lossy().contains("-torch-"))
        .expect("torch's tree");
    let found = walk(&tree)
        .into_iter()
        .find(|path| path.ends_with("torch/__init__.py"))
        .expect("torch");
    overwrite(&found, "");
    pretend_reboot(&world);
    let after = world.build(&["--offline"]);
    assert_eq!(after["tree_digest"], before["tree_digest"]);
    assert_eq!(world.python_says("import torch; print(torch.answer())"), "0");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_deleted_state_link_comes_back() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.build(&["--channel", "cpu"]);
    fs::remove_file(world.project().join("environment_state.json")).expect("removed");
    let again = world.build(&[]);
    assert_eq!(
        (again["generation"].as_u64(), again["reused"].as_bool()),
        (Some(1), Some(true))
    );
    assert_eq!(world.state()["InstalledBackend"], "CPU");
}

#[test]
fn however_python_is_started_its_children_start_from_the_environment() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.build(&["--channel", "cpu"]);
    let expected = world.active().join("bin/python").display().to_string();
    fs::create_dir(world.project().join("sub")).expect("a folder");
    symlink(world.project().join(".venv"), world.path("elsewhere")).expect("a link");
    let starts = [
        "../.venv/bin/python",
        "../sub/../.venv/bin/python",
        "../../elsewhere/bin/python",
    ];
    for start in starts {
        let mut command = world.command(start);
        command
            .args(["-c", "import sys; print(sys.executable)"])
            .current_dir(world.project().join("sub"));
        assert_eq!(world.run(command).ok().text(), expected, "{start}");
    }
}

#[test]
fn scripts_of_wheels_keep_docstring_coding_and_future() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let body = b"#!python\n# -*- coding: latin-1 -*-\n\"\"\"What it does.\"\"\"\nfrom __future__ import annotations\n\
                 print(__doc__, len('\xe4'))\n";
    world.server().offer(
        Shelf::Index,
        Wheel::new("scripted", "1.0").data("scripts", "scripted", body),
    );
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version, "scripted"])
        .ok();
    world.build(&["--channel", "cpu"]);
    assert_eq!(world.venv_tool("scripted", &[]).ok().text(), "What it does. 1");
    // A link to the script in another folder finds the environment too.
    symlink(world.project().join(".venv/bin/scripted"), world.path("linked")).expect("a link");
    assert_eq!(
        world.run(world.command(world.path("linked"))).ok().text(),
        "What it does. 1"
    );
}

#[test]
fn no_wheel_takes_the_place_of_the_hook() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world.server().offer(
        Shelf::Index,
        Wheel::new("usurper", "1.0").file("_flambeau/__init__.py", "pin = print\n"),
    );
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version, "usurper"])
        .ok();
    let error = world.flambeau_error(3, &["build", "--channel", "cpu"]);
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.contains("usurper-1.0") && message.contains("_flambeau/__init__.py"),
        "{error}"
    );
    assert!(!world.has(".venv"));
}
