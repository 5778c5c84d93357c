//! Documents that cannot be read: garbled, or of a newer version.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::steps::{Standing, active, assert_error};

const LOCKFILE: &str = "lockfiles/pylock.cpu.toml";

#[test]
fn a_garbled_lockfile_is_refused_and_lock_writes_it_anew() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let good = world.read(LOCKFILE);
    for garbled in [
        "lock-version = \"1.0\"\n[[packages\n",
        &good[..good.find("[[packages]]").expect("packages")],
        &good.replacen("created-by = \"flambeau\"\n", "", 1),
        "",
        "\u{fffd}\0",
        "{\"json\": true}",
    ] {
        world.write(LOCKFILE, garbled);
        for verb in ["build", "hash", "fetch"] {
            let output = world.flambeau(&[verb]);
            standing.assert_refused(output, 1, &["pylock.cpu.toml", "`flambeau lock`"]);
        }
        assert_eq!(world.read(LOCKFILE), garbled);
    }
    world.server().assert_no_requests();
    world.write(LOCKFILE, "lock-version = \"1.0\"\n[[packages\n");
    let arguments = [
        "lock",
        "--channel",
        "cpu",
        "--python",
        &standing.python.version,
        crate::steps::ACTIVE,
    ];
    let output = world.flambeau(&arguments).ok();
    assert!(
        output.stderr.contains("warning: ") && output.stderr.contains("made anew"),
        "{output}"
    );
    assert_eq!(world.read(LOCKFILE), good);
}

#[test]
fn a_lockfile_that_is_no_text_is_refused() {
    let Some(standing) = Standing::new() else { return };
    standing.world.write(LOCKFILE, b"lock-version = \"1.0\"\n\xff\xfe");
    let output = standing.world.flambeau(&["build"]);
    standing.assert_refused(output, 1, &["pylock.cpu.toml", "UTF-8"]);
}

#[test]
fn a_lockfile_whose_digest_was_edited_fetches_nothing_else() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    standing.lock(&["filelock"]);
    let text = world.read(LOCKFILE);
    let digest = crate::support::family::wheel(crate::support::family::Shelf::Index, "filelock", "3.18.0")
        .sha256
        .clone();
    world.write(LOCKFILE, text.replace(&digest, &"0".repeat(64)));
    let output = world.flambeau(&["build"]);
    // The index lists the file under another digest: it is not even asked for.
    standing.assert_refused(output, 4, &["filelock-3.18.0", &"0".repeat(64)]);
    assert!(
        world
            .server()
            .requests_to("filelock-3.18.0-py3-none-any.whl")
            .is_empty()
    );
}

#[test]
fn a_lockfile_of_a_newer_major_version_is_refused_by_its_version() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let text = world.read(LOCKFILE);
    for (from, to, told) in [
        ("lock-version = \"1.0\"", "lock-version = \"2.0\"", "2.0"),
        ("schema = 1", "schema = 7", "schema 7"),
    ] {
        let newer = text.replace(from, to);
        assert_ne!(newer, text);
        world.write(LOCKFILE, &newer);
        for verb in [&["build"][..], &["lock", "--channel", "cpu", "--upgrade"]] {
            let output = world.flambeau(verb);
            standing.assert_refused(output, 1, &["pylock.cpu.toml", told, "remove the file"]);
            assert_eq!(world.read(LOCKFILE), newer);
        }
    }
}

#[test]
fn a_garbled_keys_json_is_refused_where_it_counts_and_written_anew_by_lock() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let good = world.read("lockfiles/keys.json");
    world.write("lockfiles/keys.json", "{\"schema\": 1, \"keys\":");
    let output = world.flambeau(&["hash", "--check"]);
    standing.assert_refused(output, 1, &["keys.json", "`flambeau lock`"]);
    // Everything in it follows from the lockfiles: what needs no pin goes on.
    world.flambeau(&["build"]).ok();
    world.flambeau(&["lock"]).ok();
    assert_eq!(world.read("lockfiles/keys.json"), good);
    world.flambeau(&["hash", "--check"]).ok();
}

#[test]
fn keys_that_disagree_with_the_lockfile_are_an_integrity_failure() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let good = world.read("lockfiles/keys.json");
    let key = world.flambeau(&["hash"]).ok().text().to_owned();
    assert!(good.contains(&key), "{good}");
    world.write("lockfiles/keys.json", good.replace(&key, &"0".repeat(64)));
    let output = world.flambeau(&["hash", "--check"]);
    standing.assert_refused(output, 3, &["keys.json", &key, &"0".repeat(64)]);
    let output = world.flambeau(&["build", "--expect", &"0".repeat(64)]);
    standing.assert_refused(output, 3, &[&key, &"0".repeat(64)]);
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    standing.lock(&["filelock"]);
    fs::write(world.store().join("VERSION"), "99\n").expect("a writable store");
    let before = crate::support::world::tree_snapshot(&world.store());
    let store = world.store().display().to_string();
    for verb in [&["build"][..], &["list"], &["activate", "cpu"]] {
        let output = world.flambeau(verb);
        standing.assert_refused(output, 1, &[&store, "version 99", "--store-dir"]);
    }
    before.assert_same(&crate::support::world::tree_snapshot(&world.store()));
    world.server().assert_no_requests();
}

#[test]
fn a_folder_that_is_no_store_is_left_alone() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    standing.lock(&["filelock"]);
    fs::write(world.store().join("VERSION"), "somebody else's\n").expect("a writable store");
    fs::write(world.store().join("Makefile"), "").expect("a writable store");
    let output = world.flambeau(&["build"]);
    standing.assert_refused(output, 1, &["VERSION", "--store-dir"]);
}

#[test]
fn f05_a_cached_wheel_that_rotted_is_fetched_again_or_refused() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    standing.lock(&["filelock"]);
    let whole = crate::support::family::wheel(crate::support::family::Shelf::Index, "filelock", "3.18.0");
    let path = world.cache().join("wheels").join(&whole.sha256).join(&whole.filename);
    world.flambeau(&["fetch"]).ok();
    assert_eq!(fs::read(&path).expect("it was fetched"), whole.bytes);
    let mut rotten = whole.bytes.clone();
    rotten[700] ^= 1;
    replace(&path, &rotten);
    world.server().clear_log();

    let output = world.flambeau(&["build", "--offline"]);
    standing.assert_refused(
        output,
        3,
        &[
            &whole.filename,
            &whole.sha256,
            &crate::support::encoding::sha256(&rotten),
        ],
    );
    world.server().assert_no_requests();

    let output = world.flambeau(&["build"]).ok();
    assert!(
        output.stderr.contains("warning: ") && output.stderr.contains("damaged"),
        "{output}"
    );
    assert!(output.stderr.contains(&whole.filename), "{output}");
    assert_eq!(fs::read(&path).expect("it was fetched again"), whole.bytes);
    assert_eq!(world.server().requests_to(&whole.filename).len(), 1);
    world.venv_python(&["-c", "import filelock"]).ok();
}

#[test]
fn f05_a_cached_wheel_that_was_cut_short_is_no_wheel() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    standing.lock(&["filelock"]);
    let whole = crate::support::family::wheel(crate::support::family::Shelf::Index, "filelock", "3.18.0");
    let path = world.cache().join("wheels").join(&whole.sha256).join(&whole.filename);
    world.flambeau(&["fetch"]).ok();
    replace(&path, &whole.bytes[..600]);
    let output = world.flambeau(&["build", "--offline"]);
    standing.assert_refused(output, 4, &[&whole.filename]);
    world.flambeau(&["build"]).ok();
    assert_eq!(fs::read(&path).expect("it was fetched again"), whole.bytes);
}

/// Puts other bytes in a file's place; its folder may be a read-only one of the store.
fn replace(path: &std::path::Path, bytes: &[u8]) {
    let folder = path.parent().expect("a file has a folder");
    let mode = fs::metadata(folder).expect("it is there").permissions();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::remove_file(path).expect("a writable folder");
    fs::write(path, bytes).expect("a writable folder");
    fs::set_permissions(folder, mode).expect("it is ours");
}

#[test]
fn f43_an_environment_whose_state_is_garbled_is_made_again() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let state = active(world).join("environment_state.json");
    let before = world.read("environment_state.json");
    replace(&state, b"{\"InstalledBackend\": ");
    assert_error(world.flambeau(&["status"]), 3, &["environment_state.json"]);
    let output = world.flambeau(&["build", "--offline"]).ok();
    assert!(output.stderr.contains("damaged"), "{output}");
    let without_time = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.contains("CreatedAt"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(
        without_time(&world.read("environment_state.json")),
        without_time(&before)
    );
    world.flambeau(&["status"]).ok();
}
