//! `fetch`: what is there is compared where that is asked for, and what an earlier run left is counted.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::server::{Action, Fault};
use crate::support::world::World;

const WHEEL: &str = "filelock-";

/// A project whose wheels are in the cache.
fn warmed() -> Option<World> {
    let world = World::new();
    world.any_python()?;
    world.flambeau(&["fetch", "--channel", "cpu"]).ok();
    Some(world)
}

fn cached(world: &World) -> PathBuf {
    let folders = fs::read_dir(world.cache().join("wheels"))
        .expect("a warm cache")
        .flatten();
    let mut files = folders.flat_map(|folder| fs::read_dir(folder.path()).expect("a folder").flatten());
    let is_it = |name: &str| name.starts_with(WHEEL);
    let found = files.find(|file| file.file_name().to_str().is_some_and(is_it));
    found.expect("the family needs it").path()
}

fn rewrite(path: &std::path::Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("readable");
    change(&mut bytes);
    let mode = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    mode(0o644);
    fs::write(path, bytes).expect("writable");
    mode(0o444);
}

#[test]
fn f05_damaged_wheels_are_named_and_with_a_network_fetched_again() {
    let Some(world) = warmed() else { return };
    let sound = world.flambeau_json("fetch", &["--channel", "cpu", "--check"]);
    assert_eq!((&sound["damaged"], &sound["downloaded"]), (&json!([]), &json!(0)));
    assert_eq!(sound["checked"], sound["wheels"]);
    let path = cached(&world);
    let flip: fn(&mut Vec<u8>) = |bytes| bytes[9] ^= 1;
    let cut: fn(&mut Vec<u8>) = |bytes| bytes.truncate(20);
    for change in [flip, cut] {
        rewrite(&path, change);
        for way in [
            &["--check"][..],
            &["--check", "--dry-run"],
            &["--check", "--offline"],
            &["--repair", "--offline"],
        ] {
            let error = world.flambeau_error(3, &[&["fetch", "--channel", "cpu"], way].concat());
            let message = error["message"].as_str().expect("a message");
            assert!(message.contains(WHEEL), "{error}");
        }
        let mended = world.flambeau_json("fetch", &["--channel", "cpu", "--repair"]);
        assert_eq!(mended["downloaded"], 1, "{mended}");
        let damaged = mended["damaged"].as_array().expect("a list");
        assert_eq!(damaged.len(), 1, "{mended}");
        assert_ne!(damaged[0]["actual"], damaged[0]["expected"]);
        let again = world.flambeau_json("fetch", &["--channel", "cpu", "--check", "--offline"]);
        assert_eq!(again["damaged"], json!([]));
    }
    world.delete(path.parent().expect("its folder"));
    let error = world.flambeau_error(1, &["fetch", "--channel", "cpu", "--check"]);
    assert!(
        error["hints"][0].as_str().is_some_and(|hint| hint.contains(WHEEL)),
        "{error}"
    );
    assert!(!path.exists(), "checking fetches nothing");
}

#[test]
fn a_dry_run_counts_what_an_interrupted_run_left() {
    let Some(world) = warmed() else { return };
    let path = cached(&world);
    world.delete(path.parent().expect("its folder"));
    let on_wheel = "filelock-3";
    world
        .server()
        .fault(Fault::on(on_wheel, Action::Truncate(300)).times(1));
    world
        .server()
        .fault(Fault::on(on_wheel, Action::Status(404, &[])).after(1));
    world.flambeau(&["fetch", "--channel", "cpu"]).fails(4);
    world.server().clear_faults();
    let planned = world.flambeau_json("fetch", &["--channel", "cpu", "--dry-run"]);
    let rows: Vec<&Value> = planned["files"].as_array().expect("a list").iter().collect();
    assert_eq!(rows.len(), 1, "{planned}");
    assert_eq!(rows[0]["have"], 300, "{planned}");
    assert!(rows[0]["size"].as_u64().is_some_and(|size| size > 300), "{planned}");
    let done = world.flambeau_json("fetch", &["--channel", "cpu"]);
    assert_eq!(done["downloaded"], 1);
}
