//! What CI asks for: `--expect` and `--locked`.

use std::fs;

use crate::support::world::{World, hints, text, tree_snapshot};

#[test]
fn an_expected_key_is_compared_before_anything_is_done() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.flambeau_json("lock", &["--backend", "cpu"]);
    let key = text(&world.flambeau_json("hash", &["--backend", "cpu"]), "key").to_owned();
    world.server().clear_log();
    let wrong = "0".repeat(64);
    let before = tree_snapshot(&world.path("store"));
    let error = world.flambeau_error(3, &["build", "--backend", "cpu", "--expect", &wrong]);
    assert_eq!(error["kind"], "integrity");
    let message = text(&error, "message");
    assert!(message.contains(&key) && message.contains(&wrong), "{message}");
    assert!(hints(&error).contains("pylock.cpu.toml"), "{error:#}");
    before.assert_same(&tree_snapshot(&world.path("store")));
    assert!(!world.has(".venv"));
    world.server().assert_no_requests();

    let built = world.build(&["--backend", "cpu", "--expect", &key]);
    assert_eq!(text(&built, "key"), key);
    // A key hit is compared too.
    world.flambeau_error(3, &["build", "--backend", "cpu", "--expect", &wrong]);
    assert_eq!(world.build(&["--expect", &key.to_uppercase()])["reused"], true);
    for nonsense in ["", "abc", &key[..40], &"g".repeat(64)] {
        world.flambeau_error(2, &["build", "--expect", nonsense]);
    }
}

#[test]
fn locked_refuses_a_missing_and_a_stale_lockfile() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let error = world.flambeau_error(1, &["build", "--backend", "cpu", "--locked"]);
    assert!(text(&error, "message").contains("pylock.cpu.toml"), "{error:#}");
    assert!(hints(&error).contains("flambeau lock"), "{error:#}");
    assert!(!world.has("lockfiles"));
    world.server().assert_no_requests();

    world.flambeau_json("lock", &["--backend", "cpu"]);
    let built = world.build(&["--backend", "cpu", "--locked"]);
    assert_eq!(built["relocked"], false);
    let lockfile = world.read("lockfiles/pylock.cpu.toml");
    world.write(
        "pyproject.toml",
        "[project]\nname = 'x'\nversion = '1'\ndependencies = ['torch==2.7.0', 'corp-alpha']\n",
    );
    world.server().clear_log();
    let error = world.flambeau_error(1, &["build", "--backend", "cpu", "--locked"]);
    let message = text(&error, "message");
    assert!(message.contains("stale") && message.contains("corp-alpha"), "{message}");
    assert!(hints(&error).contains("flambeau lock"), "{error:#}");
    assert_eq!(world.read("lockfiles/pylock.cpu.toml"), lockfile);
    world.server().assert_no_requests();
    assert_eq!(world.active().to_str(), built["path"].as_str());

    // Without the flag the lockfile follows the project.
    let again = world.build(&["--backend", "cpu"]);
    assert_eq!(again["relocked"], true);
    assert_ne!(again["key"], built["key"]);
    assert_eq!(
        world.python_says("import torch, corp.alpha; print(corp.alpha.NAME)"),
        "corp-alpha"
    );
    assert_ne!(world.read("lockfiles/pylock.cpu.toml"), lockfile);
    world.build(&["--backend", "cpu", "--locked"]);
}

#[test]
fn a_dry_run_tells_and_touches_nothing() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.flambeau_json("lock", &["--backend", "cuda"]);
    let plan = world.build(&["--backend", "cuda", "--dry-run"]);
    assert_eq!(plan["reused"], false);
    assert_eq!(plan["download_files"].as_array().map(Vec::len), Some(25));
    assert_eq!(fs::read_dir(world.store()).expect("the world's own").count(), 0);
    assert!(!world.has(".venv") && !world.cache().join("wheels").exists());
    let built = world.build(&["--backend", "cuda"]);
    assert_eq!((&built["key"], &built["path"]), (&plan["key"], &plan["path"]));
    let plan = world.build(&["--backend", "cuda", "--dry-run"]);
    assert_eq!((&plan["reused"], &plan["download_bytes"]), (&true.into(), &0.into()));
}
