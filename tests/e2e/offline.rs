//! Without the network: what is there is enough, what is missing is named, and no socket is made.

mod verbs;

use std::fs;
use std::os::unix::fs::symlink;

use crate::steps::{ACTIVE, Standing, assert_error, names, remove_sealed, shelf, skip, tool};
use crate::support::family::{Shelf, wheel};
use crate::support::world::World;

#[test]
fn f57_missing_wheels_are_named_with_their_digests() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    standing.lock(&["filelock", "fsspec"]);
    let (one, two) = (
        wheel(Shelf::Index, "filelock", "3.18.0"),
        wheel(Shelf::Index, "fsspec", "2025.3.2"),
    );
    for arguments in [
        &["build", "--offline"][..],
        &["fetch", "--offline"],
        &["run", "--offline", "--", "python", "-V"],
    ] {
        let output = world.flambeau(arguments);
        let parts = [
            &one.filename,
            &two.filename,
            &one.sha256,
            &two.sha256,
            "2 wheels",
            "`flambeau fetch`",
        ];
        standing.assert_refused(output, 4, &parts);
    }
    let document = world.flambeau(&["build", "--offline", "--json"]).fails(4).json();
    assert_eq!(
        document["error"]["hints"].as_array().map(Vec::len),
        Some(3),
        "{document}"
    );
    world.server().assert_no_requests();
}

#[test]
fn a_warm_cache_builds_without_a_server() {
    let mut world = World::new();
    let Some(python) = world.any_python() else { return };
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version])
        .ok();
    world.flambeau(&["fetch", "--channel", "cpu"]).ok();
    assert!(names(&world.store().join("envs")).is_empty());
    world.server().clear_log();
    // Neither index is even configured.
    for name in ["PIP_INDEX_URL", "FLAMBEAU_PYTORCH_MIRROR"] {
        world.unset(name);
    }
    world.set("FLAMBEAU_OFFLINE", "1");
    let document = world.flambeau(&["build", "--channel", "cpu", "--json"]).ok().json();
    assert_eq!(
        (&document["reused"], &document["downloaded_bytes"]),
        (&false.into(), &0.into())
    );
    world.venv_python(&["-c", "import torch, torchvision"]).ok();
    world.server().assert_no_requests();
}

#[test]
fn environments_and_trees_that_were_deleted_come_back_without_network() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let before = world.flambeau(&["status", "--json"]).ok().json();
    let envs = shelf(world, "envs");
    for shelves in [&["envs"][..], &["envs", "wheels"]] {
        for name in shelves {
            remove_sealed(&world.store().join(name));
        }
        assert_error(world.flambeau(&["status"]), 1, &["`flambeau build`"]);
        let built = world.flambeau(&["build", "--offline", "--json"]).ok().json();
        for field in ["key", "path", "tree_digest"] {
            assert_eq!(built[field], before[field], "{field}");
        }
        assert_eq!(built["reused"], false);
        assert_eq!(shelf(world, "envs").lines().len(), envs.lines().len());
        world.venv_python(&["-c", "import typing_extensions"]).ok();
    }
    world.server().assert_no_requests();
}

#[test]
fn a_key_hit_needs_neither_network_nor_cache() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    fs::remove_dir_all(world.cache()).expect("a writable cache");
    let document = world.flambeau(&["build", "--json"]).ok().json();
    assert_eq!(
        (&document["reused"], &document["activated"]),
        (&true.into(), &true.into())
    );
    world.server().assert_no_requests();
    standing.assert_untouched();
}

#[test]
fn locking_offline_without_pages_is_a_network_failure() {
    let world = World::new();
    let output = world.flambeau(&["lock", "--channel", "cpu", "--python", "3.11", ACTIVE, "--offline"]);
    assert_error(output, 4, &["typing-extensions", "offline"]);
    assert_error(
        world.flambeau(&["build", "--backend", "cpu", "--offline"]),
        4,
        &["offline"],
    );
    assert!(!world.has("lockfiles") && names(&world.store()).is_empty());
    world.server().assert_no_requests();
}

/// Watched by strace where the machine has it: no socket of the internet families, in children neither.
#[test]
fn f57_offline_makes_no_socket() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let Some(strace) = tool("strace") else {
        return skip("no socket offline", "this machine has no strace");
    };
    standing.lock(&["filelock"]);
    world.flambeau(&["fetch"]).ok();
    symlink(strace, world.path("tools/strace")).expect("the name is free");
    let log = world.path("strace.log");
    let traced = |arguments: &[&str]| {
        let mut command = world.command(world.path("tools/strace"));
        command
            .args(["-f", "-qq", "-e", "trace=socket", "-o"])
            .arg(&log)
            .arg(env!("CARGO_BIN_EXE_flambeau"));
        command.args(arguments);
        let output = world.run(command);
        (output, fs::read_to_string(&log).unwrap_or_default())
    };
    let (output, online) = traced(&["lock", "--channel", "cpu", ACTIVE, "fsspec"]);
    if !output.status.success() || !online.contains("AF_INET") {
        return skip("no socket offline", "strace cannot trace here");
    }
    standing.lock(&["filelock"]);
    for arguments in [
        &["build", "--offline", "--no-activate"][..],
        &["run", "--offline", "--", "python", "-c", "import filelock"],
        &["lock", "--offline"],
        &["detect", "--offline"],
        &["status", "--offline"],
    ] {
        let (output, sockets) = traced(arguments);
        output.ok();
        assert!(!sockets.contains("AF_INET"), "{arguments:?}: {sockets}");
    }
}
