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
        "form": 2,
        "packages": packages.into_values().collect::<Vec<_>>(),
        "platform": "manylinux_2_28_x86_64",
        "python": {"implementation": "cpython", "version": python.version},
        "schema": 1,
    });
    assert!(
        hashed
            .to_string()
            .starts_with(r#"{"backend":"CPU","channel":"cpu","form":2,"packages":[{"name":"#)
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

/// A world whose `cpu` lockfile pins filelock and fsspec, and its parts of `keys.json`.
fn pinned() -> Option<(World, String, String)> {
    let world = World::new();
    let python = world.any_python()?;
    let lock = [
        "lock",
        "--channel",
        "cpu",
        "--python",
        &python.version,
        "filelock",
        "fsspec",
    ];
    world.flambeau(&lock).ok();
    let target = format!("{}-manylinux_2_28_x86_64", python.tag());
    let keys: Value = serde_json::from_str(&world.read("lockfiles/keys.json")).expect("JSON");
    let key = text(&keys["keys"]["cpu"], &target).to_owned();
    Some((world, target, key))
}

#[track_caller]
fn refused(world: &World, arguments: &[&str], parts: &[&str]) {
    let error = world.flambeau_error(3, arguments);
    assert_eq!(error["kind"], "integrity");
    let said = format!("{}\n{}", text(&error, "message"), hints(&error));
    for part in parts {
        assert!(said.contains(part), "`{part}` is missing:\n{said}");
    }
}

#[test]
fn a_key_that_is_not_the_pinned_one_says_what_differs() {
    let Some((world, target, key)) = pinned() else { return };
    let keys = world.read("lockfiles/keys.json");
    world
        .flambeau(&["build", "--locked", "--expect", &key, "--channel", "cpu"])
        .ok();
    // A version, as a merge leaves it: the lockfile has moved, the pins have not.
    world
        .flambeau(&["lock", "--channel", "cpu", "filelock==3.13.1", "fsspec"])
        .ok();
    let now = world.flambeau(&["hash", "--channel", "cpu"]).ok().text().to_owned();
    world.write("lockfiles/keys.json", &keys);
    refused(
        &world,
        &["hash", "--check"],
        &[&key, &now, &target, "filelock 3.18.0 -> 3.13.1"],
    );
    let build = ["build", "--locked", "--channel", "cpu", "--expect", &key];
    refused(
        &world,
        &build,
        &[&key, &now, "filelock 3.18.0 -> 3.13.1", "keys.json has it"],
    );
    // The pins have moved too: the store knows what was expected.
    world.flambeau(&["lock", "--channel", "cpu"]).ok();
    refused(
        &world,
        &build,
        &[&key, &now, "filelock 3.18.0 -> 3.13.1", "it is built at"],
    );
    // Nothing knows it.
    let nowhere = ["build", "--locked", "--channel", "cpu", "--expect", &"a".repeat(64)];
    refused(&world, &nowhere, &[&now, "is not known here"]);
    // A package more, and one less.
    world
        .flambeau(&["lock", "--channel", "cpu", "mpmath==1.3.0", "fsspec"])
        .ok();
    refused(&world, &build, &["filelock 3.18.0 -> none", "mpmath none -> 1.3.0"]);
}

#[test]
fn digests_pythons_and_channels_that_differ_are_named() {
    let Some((world, target, key)) = pinned() else { return };
    let lockfile = world.read("lockfiles/pylock.cpu.toml");
    let digest = lockfile.split("sha256 = \"").nth(1).expect("a digest")[..64].to_owned();
    let other = "b".repeat(64);
    world.write("lockfiles/pylock.cpu.toml", lockfile.replace(&digest, &other));
    let differs = format!("sha256 of filelock {} -> {other}", &digest[..16]);
    refused(&world, &["hash", "--check"], &[&key, &target, &differs]);
    refused(
        &world,
        &["build", "--locked", "--channel", "cpu", "--expect", &key],
        &[&differs],
    );
    world.write("lockfiles/pylock.cpu.toml", lockfile);

    world
        .flambeau(&["lock", "--channel", "cpu,cu118", "--python", "3.9,3.10,3.11,3.12,3.13"])
        .ok();
    let keys: Value = serde_json::from_str(&world.read("lockfiles/keys.json")).expect("JSON");
    let python = target.split('-').next().expect("an ABI");
    let far = if python == "cp39" { "cp310" } else { "cp39" };
    let far = text(&keys["keys"]["cpu"], &format!("{far}-manylinux_2_28_x86_64")).to_owned();
    refused(
        &world,
        &["build", "--locked", "--channel", "cpu", "--expect", &far],
        &["python 3."],
    );
    let cuda = text(&keys["keys"]["cuda"], &target).to_owned();
    let parts = ["backend CUDA -> CPU", "channel cu118 -> cpu"];
    refused(
        &world,
        &["build", "--locked", "--channel", "cpu", "--expect", &cuda],
        &parts,
    );
}

#[test]
fn the_history_of_the_lockfile_knows_an_older_key() {
    let Some((mut world, _, key)) = pinned() else { return };
    let Some(git) = crate::steps::tool("git") else {
        return crate::steps::skip("keys from git", "this machine has no git");
    };
    std::os::unix::fs::symlink(&git, world.path("tools/git")).expect("the name is free");
    for (name, value) in [("NAME", "A"), ("EMAIL", "a@example.org")] {
        world.set(&format!("GIT_AUTHOR_{name}"), value);
        world.set(&format!("GIT_COMMITTER_{name}"), value);
    }
    world.set("GIT_CONFIG_GLOBAL", "/dev/null");
    let git = |arguments: &[&str]| {
        let mut command = world.command(world.path("tools/git"));
        command.args(arguments);
        world.run(command).ok();
    };
    git(&["init", "-q", "."]);
    git(&["add", "lockfiles"]);
    git(&["commit", "-q", "-m", "one"]);
    world
        .flambeau(&["lock", "--channel", "cpu", "filelock==3.13.1", "fsspec"])
        .ok();
    git(&["commit", "-q", "-a", "-m", "two"]);
    refused(
        &world,
        &["build", "--locked", "--channel", "cpu", "--expect", &key, "--offline"],
        &["filelock 3.18.0 -> 3.13.1", "pylock.cpu.toml of commit "],
    );
}
