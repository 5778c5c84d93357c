//! `hash`, `hash --all`, `hash --check` and keys.json.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::support::encoding::{normalized, sha256};
use crate::support::world::{World, hints, text};

#[test]
fn keys_are_those_of_builds_and_of_keys_json() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world.flambeau_json("lock", &["--backend", "cuda,rocm,cpu"]);
    world.server().clear_log();
    let all = world.flambeau_json("hash", &["--all"]);
    let pinned: Value = serde_json::from_str(&world.read("lockfiles/keys.json")).expect("JSON");
    assert_eq!(pinned["schema"], 1);
    assert_eq!(pinned["keys"], all["keys"]);
    let mut every: Vec<&str> = Vec::new();
    for name in ["cuda", "rocm", "cpu"] {
        let keys = all["keys"][name].as_object().expect("a lockfile's keys");
        assert_eq!(keys.len(), 5, "{name}: five Pythons");
        every.extend(keys.values().filter_map(Value::as_str));
    }
    let count = every.len();
    every.sort_unstable();
    every.dedup();
    assert_eq!((count, every.len()), (15, 15));
    world.flambeau_json("hash", &["--check"]);
    let target = format!("{}-manylinux_2_28_x86_64", python.tag());
    for (backend, name) in [("cuda", "cuda"), ("rocm", "rocm"), ("cpu", "cpu")] {
        let one = world.flambeau_json("hash", &["--backend", backend]);
        assert_eq!(one["key"], all["keys"][name][&target]);
        assert_eq!(text(&one, "target"), target);
        let printed = world.flambeau(&["hash", "--backend", backend]).ok();
        assert_eq!(printed.stdout, format!("{}\n", text(&one, "key")));
        for version in ["39", "313"] {
            let other = format!("cp{version}-manylinux_2_28_x86_64");
            let one = world.flambeau_json("hash", &["--backend", backend, "--target", &other]);
            assert_eq!(one["key"], all["keys"][name][&other]);
        }
    }
    // Nothing above needs a network, a store, or writes anything.
    world.server().assert_no_requests();
    assert_eq!(fs::read_dir(world.store()).expect("the world's").count(), 0);
    let built = world.build(&["--backend", "rocm"]);
    assert_eq!(built["key"], all["keys"]["rocm"][&target]);
}

#[test]
fn the_key_is_what_the_design_says_it_is() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let built = world.build(&["--backend", "cpu"]);
    // The cache holds this environment's wheels and no others.
    let mut packages = BTreeMap::new();
    for folder in fs::read_dir(world.cache().join("wheels")).expect("the cache").flatten() {
        let digest = folder.file_name().to_string_lossy().into_owned();
        for file in fs::read_dir(folder.path()).expect("a wheel's folder").flatten() {
            assert_eq!(sha256(&fs::read(file.path()).expect("a wheel")), digest);
            let name = file.file_name().to_string_lossy().into_owned();
            let mut fields = name.split('-');
            let (name, version) = (fields.next().expect("a name"), fields.next().expect("a version"));
            let name = normalized(name);
            let package = json!({"name": name, "sha256": digest, "version": version});
            packages.insert(name, package);
        }
    }
    assert_eq!(Some(packages.len() as u64), built["packages"].as_u64());
    // serde_json sorts the members and leaves no white space, which for these texts is RFC 8785.
    let hashed = json!({
        "backend": "CPU",
        "channel": "cpu",
        "form": 1,
        "packages": packages.into_values().collect::<Vec<_>>(),
        "platform": "manylinux_2_28_x86_64",
        "python": {"implementation": "cpython", "version": python.version},
        "schema": 1,
    });
    assert!(
        hashed
            .to_string()
            .starts_with(r#"{"backend":"CPU","channel":"cpu","form":1,"packages":[{"name":"#)
    );
    assert_eq!(text(&built, "key"), sha256(hashed.to_string().as_bytes()));
}

#[test]
fn a_pin_that_disagrees_is_named() {
    let world = World::new();
    let error = world.flambeau_error(1, &["hash", "--all"]);
    assert!(hints(&error).contains("flambeau lock"), "{error:#}");
    world.flambeau_json("lock", &["--backend", "cuda,cpu", "--python", "3.11,3.12"]);
    let right = world.read("lockfiles/keys.json");
    let keys: Value = serde_json::from_str(&right).expect("JSON");
    let key = keys["keys"]["cpu"]["cp312-manylinux_2_28_x86_64"]
        .as_str()
        .expect("a key");
    let wrong = "a".repeat(64);

    world.write("lockfiles/keys.json", right.replace(key, &wrong));
    let error = world.flambeau_error(3, &["hash", "--check"]);
    assert_eq!(error["kind"], "integrity");
    let message = text(&error, "message");
    for part in ["cpu", "cp312-manylinux_2_28_x86_64", key, &wrong] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("cp311"), "{message}");

    let mut fewer = keys.clone();
    fewer["keys"].as_object_mut().expect("an object").remove("cuda");
    world.write("lockfiles/keys.json", fewer.to_string());
    let error = world.flambeau_error(3, &["hash", "--check"]);
    assert!(
        text(&error, "message").contains("cuda cp311-manylinux_2_28_x86_64"),
        "{error:#}"
    );

    let mut more = keys.clone();
    more["keys"]["rocm"] = json!({"cp311-manylinux_2_28_x86_64": wrong});
    world.write("lockfiles/keys.json", more.to_string());
    let error = world.flambeau_error(3, &["hash", "--check"]);
    assert!(text(&error, "message").contains("rocm cp311"), "{error:#}");

    // A lockfile that was edited by hand no longer gives the pinned keys.
    world.write("lockfiles/keys.json", &right);
    world.flambeau_json("hash", &["--check"]);
    let lockfile = world.read("lockfiles/pylock.cpu.toml");
    let digest = lockfile.split("sha256 = \"").nth(1).expect("a digest")[..64].to_owned();
    world.write("lockfiles/pylock.cpu.toml", lockfile.replace(&digest, &"b".repeat(64)));
    let error = world.flambeau_error(3, &["hash", "--check"]);
    assert!(text(&error, "message").contains("cpu cp311"), "{error:#}");

    fs::remove_file(world.project().join("lockfiles/keys.json")).expect("it is there");
    world.flambeau_error(3, &["hash", "--check"]);
    world.write("lockfiles/keys.json", "{\"schema\": 2}");
    let error = world.flambeau_error(1, &["hash", "--check"]);
    assert!(text(&error, "message").contains("schema 2"), "{error:#}");
}
