//! `status`: what is active, and when nothing is.

use std::fs;

use crate::support::world::{World, hints, text, tree_snapshot};

#[test]
fn it_says_what_is_active_and_changes_nothing() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let error = world.flambeau_error(1, &["status"]);
    assert!(hints(&error).contains("flambeau build"), "{error:#}");
    assert!(!world.has(".flambeau"));

    let built = world.build(&["--backend", "rocm"]);
    world.server().clear_log();
    let before = ["project", "store", "cache"].map(|folder| tree_snapshot(&world.path(folder)));
    let status = world.flambeau_json("status", &[]);
    for member in [
        "key",
        "path",
        "backend",
        "channel",
        "target",
        "python",
        "packages",
        "generation",
        "tree_digest",
    ] {
        assert_eq!(status[member], built[member], "{member}");
    }
    assert_eq!(
        (&status["activated"], &status["downloaded_bytes"]),
        (&true.into(), &0.into())
    );
    let said = world.flambeau(&["status"]).ok();
    for part in [
        "ROCm",
        "rocm6.3",
        "generation 1",
        text(&built, "key"),
        text(&built, "path"),
    ] {
        assert!(said.stdout.contains(part), "{part}: {said}");
    }
    assert_eq!(said.stderr, "");
    for (before, folder) in before.iter().zip(["project", "store", "cache"]) {
        before.assert_same(&tree_snapshot(&world.path(folder)));
    }
    world.server().assert_no_requests();
    // From elsewhere, too.
    let mut command = world.flambeau_command(&["status", "--json", "--project"]);
    command.arg(world.project()).current_dir("/");
    assert_eq!(world.run(command).ok().json()["key"], built["key"]);
}

#[test]
fn an_environment_that_was_deleted_by_hand_is_said_to_be_gone() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let built = world.build(&["--backend", "cpu"]);
    world.delete(&world.active());
    let error = world.flambeau_error(1, &["status"]);
    assert!(text(&error, "message").contains(text(&built, "path")), "{error:#}");
    assert!(hints(&error).contains("flambeau build"), "{error:#}");
    let again = world.build(&[]);
    assert_eq!((&again["path"], &again["generation"]), (&built["path"], &1.into()));
    assert_eq!(world.flambeau_json("status", &[])["key"], built["key"]);
    // The history is only history: without it the link still says what is active.
    fs::remove_dir_all(world.project().join(".flambeau")).expect("the profile");
    let status = world.flambeau_json("status", &[]);
    assert_eq!((&status["key"], &status["generation"]), (&built["key"], &().into()));
}
