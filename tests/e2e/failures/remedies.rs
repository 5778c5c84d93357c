//! What a message advises is what mends the state that it speaks of, and never to delete by hand what a command
//! deletes safely.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::steps::{Standing, active, assert_error, held_to_modes, skip};
use crate::support::world::World;
use crate::verify::{inside, tree};

const LOCKFILE: &str = "lockfiles/pylock.cpu.toml";

fn check(world: &World, name: &str) -> Value {
    let output = world.flambeau(&["doctor", "--offline", "--channel", "cpu", "--json"]);
    let document = output.json();
    let checks = document["checks"].as_array().expect("checks").clone();
    checks
        .into_iter()
        .find(|check| check["name"] == name)
        .expect("the check")
}

fn assert_remedy(world: &World, name: &str, remedy: &str) {
    let found = check(world, name);
    let told = found["remedy"].as_str().unwrap_or_default();
    assert!(told.contains(remedy), "{found}");
    assert!(!told.contains("remove") && !told.contains("rm "), "{found}");
}

#[test]
fn a_garbled_store_version_is_restored_by_verify() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let version = world.store().join("VERSION");
    standing.lock(&["filelock"]);
    for garbage in ["", "one\n", "\0\0"] {
        fs::write(&version, garbage).expect("a writable store");
        let refused = world.flambeau(&["build"]);
        standing.assert_refused(refused, 3, &["VERSION", "run `flambeau verify --all --repair`"]);
        assert_remedy(world, "store", "flambeau verify --all --repair");
        let output = world.flambeau(&["verify", "--all", "--repair"]).ok();
        assert!(output.stderr.contains("is written again"), "{output}");
        assert_eq!(fs::read_to_string(&version).expect("a file"), "1\n");
        assert_eq!(check(world, "store")["status"], "ok");
    }
    world.flambeau(&["build"]).ok();
}

#[test]
fn a_lockfile_without_targets_is_told_so_and_locked_again() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let good = world.read(LOCKFILE);
    let without = good.split("\n[[tool.flambeau.targets]]").next().expect("a part");
    let foreign = good.split("\n[tool.flambeau]").next().expect("a part");
    for text in [without, foreign] {
        world.write(LOCKFILE, format!("{text}\n"));
        for verb in [
            &["hash"][..],
            &["build", "--locked"],
            &["fetch", "--dry-run", "--offline"],
            &["status"],
        ] {
            let output = world.flambeau(verb);
            let told = format!("{}{}", output.stdout, output.stderr);
            assert!(!told.contains("Python \n") && !told.contains("stale: \n"), "{output}");
            assert!(!told.contains("wheels for Python none"), "{output}");
        }
        let output = world.flambeau(&["hash"]);
        // What another tool pins, and says no requirements for, is never taken for this program's.
        let told = if text == without {
            ["for which targets it was resolved", "run `flambeau lock`"]
        } else {
            ["flambeau reads it only with --from", "`flambeau lock REQ…`"]
        };
        assert_error(output, 1, &told);
        assert_remedy(world, "lockfile", "run `flambeau lock`");
        let version = &standing.python.version;
        world
            .flambeau(&["lock", "--channel", "cpu", "--python", version, crate::steps::ACTIVE])
            .ok();
        assert_eq!(world.read(LOCKFILE), good);
    }
}

#[test]
fn what_cannot_be_read_is_not_answered_with_where_to_write() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let lockfile = world.project().join(LOCKFILE);
    let pyproject = world.project().join("pyproject.toml");
    world.write("pyproject.toml", "");
    let version = world.store().join("VERSION");
    for (path, verb) in [(&lockfile, "hash"), (&pyproject, "status"), (&version, "build")] {
        let mode = fs::metadata(path).expect("a file").permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("ours");
        let Some(output) = held_to_modes(world, &[verb]) else {
            return skip("an unreadable file", "root cannot be held to modes of files");
        };
        fs::set_permissions(path, mode).expect("ours");
        assert!(!output.stderr.contains("write to"), "{output}");
        let named = path.display().to_string();
        assert_error(
            output,
            1,
            &[&named, "Permission denied", "make it readable for your user"],
        );
    }
}

#[test]
fn what_doctor_finds_in_the_store_is_mended_by_what_it_names() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    // A build that was killed: nobody holds its folder.
    let debris = world.store().join("tmp/killed");
    fs::create_dir_all(&debris).expect("a writable store");
    assert_remedy(world, "store", "flambeau gc");
    world.flambeau(&["gc"]).ok();
    assert!(!debris.exists());
    assert_eq!(check(world, "store")["status"], "ok");

    let environment = active(world);
    let state = environment.join("environment_state.json");
    inside(&environment, || {
        fs::remove_file(&state).expect("there");
        fs::write(&state, "{").expect("writable");
    });
    assert_remedy(world, "store", "flambeau verify --all --repair");
    world.flambeau(&["verify", "--all", "--repair"]).ok();
    assert_eq!(check(world, "store")["status"], "ok");

    let bad = world.cache().join("partial/0000.bad");
    fs::write(&bad, "x").expect("a writable cache");
    assert_remedy(world, "cache", "flambeau gc");
}

#[test]
fn a_damaged_document_of_a_tree_is_mended_by_what_the_message_names() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    standing.lock(&["filelock"]);
    for document in ["facts.json", "manifest.json"] {
        let tree = tree(world, "typing_extensions");
        let path = tree.join(document);
        inside(&tree, || {
            fs::remove_file(&path).expect("there");
            fs::write(&path, "{\"schema\": true}").expect("writable");
        });
        let output = world.flambeau(&["build"]);
        if !output.status.success() {
            assert_error(
                output,
                3,
                &[
                    document,
                    "line 1: schema: expected",
                    "run `flambeau verify --all --repair`",
                ],
            );
        }
        world.flambeau(&["verify", "--all", "--repair"]).ok();
        world.flambeau(&["build"]).ok();
    }
}
