//! F44: a `.venv` or state file that flambeau did not make is refused, never clobbered.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::world::{World, hints, text, tree_snapshot};

/// A world in which CPU is built and not active.
fn built_elsewhere() -> Option<World> {
    let world = World::new();
    world.any_python()?;
    world.build(&["--backend", "cpu", "--no-activate"]);
    assert!(!world.has(".venv"));
    world.server().clear_log();
    Some(world)
}

/// `build` and `activate` refuse and touch nothing.
fn refused(world: &World, what: &str) {
    let before = tree_snapshot(&world.project());
    for arguments in [
        &["activate", "cpu"][..],
        &["build", "--backend", "cpu"],
        &["run", "--backend", "cpu", "--", "true"],
    ] {
        let error = world.flambeau_error(1, arguments);
        assert!(text(&error, "message").contains(what), "{error:#}");
        assert!(hints(&error).contains("--force"), "{error:#}");
        before.assert_same(&tree_snapshot(&world.project()));
    }
    world.flambeau_error(1, &["status"]);
    before.assert_same(&tree_snapshot(&world.project()));
}

#[test]
fn f44_a_real_folder() {
    let Some(world) = built_elsewhere() else { return };
    world.write(".venv/bin/python", "somebody's");
    world.write(".venv/pyvenv.cfg", "home = /usr/bin\n");
    refused(&world, ".venv");
    world.server().assert_no_requests();
    // Nothing that may fail comes after the folder is moved.
    let before = tree_snapshot(&world.project());
    world.flambeau_error(1, &["activate", "--force", "nonsense"]);
    world.flambeau_error(
        3,
        &["build", "--force", "--backend", "cpu", "--expect", &"0".repeat(64)],
    );
    world.flambeau_error(4, &["build", "--force", "--backend", "cuda", "--offline"]);
    world.build(&["--force", "--backend", "cpu", "--dry-run"]);
    before.assert_same(&tree_snapshot(&world.project()));

    world.flambeau_json("activate", &["cpu", "--force"]);
    assert_eq!(world.read(".venv.aside-1/bin/python"), "somebody's");
    assert_eq!(world.state()["InstalledBackend"], "CPU");
    assert_eq!(world.python_says("import torch; print(torch.answer())"), "0");
}

#[test]
fn f44_somebody_else_s_link() {
    let Some(world) = built_elsewhere() else { return };
    world.write("their/venv/pyvenv.cfg", "home = /usr/bin\n");
    symlink("their/venv", world.project().join(".venv")).expect("the name is free");
    refused(&world, ".venv");
    // A name that is taken is not overwritten either.
    world.write(".venv.aside-1", "taken");
    let document = world.build(&["--backend", "cpu", "--force"]);
    assert_eq!(document["activated"], true);
    assert_eq!(world.read(".venv.aside-1"), "taken");
    let aside = fs::read_link(world.project().join(".venv.aside-2")).expect("their link");
    assert_eq!(aside.to_str(), Some("their/venv"));
    assert_eq!(world.read("their/venv/pyvenv.cfg"), "home = /usr/bin\n");
    assert_eq!(world.active().to_str(), document["path"].as_str());
}

#[test]
fn f44_a_state_file_of_their_own() {
    let Some(world) = built_elsewhere() else { return };
    world.write("environment_state.json", "{\"InstalledBackend\": \"CUDA\"}");
    refused(&world, "environment_state.json");
    world.flambeau_json("activate", &["cpu", "--force"]);
    assert_eq!(
        world.read("environment_state.json.aside-1"),
        "{\"InstalledBackend\": \"CUDA\"}"
    );
    assert_eq!(world.state()["InstalledBackend"], "CPU");
}

#[test]
fn a_refused_build_fetches_nothing() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.write(".venv/pyvenv.cfg", "home = /usr/bin\n");
    world.flambeau_error(1, &["build", "--backend", "cpu"]);
    assert!(
        world
            .server()
            .requests_to(".whl")
            .iter()
            .all(|request| request.path.ends_with(".metadata") || request.range().is_some())
    );
    assert!(!world.store().join("envs").exists());
    // An environment can be built all the same.
    let document = world.build(&["--backend", "cpu", "--no-activate"]);
    assert_eq!(
        (&document["activated"], &document["generation"]),
        (&false.into(), &().into())
    );
    assert_eq!(world.read(".venv/pyvenv.cfg"), "home = /usr/bin\n");
}

#[test]
fn links_of_flambeau_s_own_that_lead_nowhere_are_replaced() {
    let Some(world) = built_elsewhere() else { return };
    let gone = world
        .store()
        .join(format!("envs/{}-torch-2.6.0-cu118-00000000", "a".repeat(40)));
    symlink(&gone, world.project().join(".venv")).expect("the name is free");
    symlink(
        ".venv/environment_state.json",
        world.project().join("environment_state.json"),
    )
    .expect("free");
    world.flambeau_json("activate", &["cpu"]);
    assert_eq!(world.state()["InstalledBackend"], "CPU");
    assert!(!world.has(".venv.aside-1"));
}
