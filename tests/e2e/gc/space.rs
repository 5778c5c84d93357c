//! What a collection frees, and where it stops.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::gc::{SMALL, age, deleted, forget, paths, small, want};
use crate::steps::{held_to_modes, in_own_mounts, is_root, names, skip};
use crate::support::world::{World, text};

/// The bytes of a folder, each inode once.
fn used(folder: &Path) -> u64 {
    fn walk(path: &Path, seen: &mut BTreeSet<(u64, u64)>) -> u64 {
        let meta = fs::symlink_metadata(path).expect("it is there");
        let mut bytes = if seen.insert((meta.dev(), meta.ino())) {
            meta.blocks() * 512
        } else {
            0
        };
        if meta.is_dir() {
            for entry in fs::read_dir(path).expect("readable").flatten() {
                bytes += walk(&entry.path(), seen);
            }
        }
        bytes
    }
    walk(folder, &mut BTreeSet::new())
}

/// Three dead environments, the oldest first, that share trees with each other.
fn three_dead(world: &World) -> [PathBuf; 3] {
    let wanted = [&[SMALL][..], &[SMALL, "filelock"], &[SMALL, "filelock", "jinja2"]];
    let built = wanted.map(|requirements| {
        want(world, requirements);
        PathBuf::from(text(&world.build(&["--channel", "cpu"]), "path"))
    });
    forget(world);
    age(world, 100);
    for (at, environment) in built.iter().enumerate() {
        let name = environment.file_name().expect("a name").to_string_lossy();
        let stamp = world.store().join("times").join(format!("envs-{name}"));
        let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&stamp).expect("a time")).expect("JSON");
        let time = document["time"].as_u64().expect("a time");
        document["time"] = (time - 86_400 * (10 - at as u64)).into();
        fs::write(stamp, document.to_string()).expect("it is ours");
    }
    built
}

#[test]
fn f35_a_dry_run_names_what_the_real_run_deletes_and_what_it_frees() {
    let Some(world) = small() else { return };
    three_dead(&world);
    want(&world, &["filelock"]);
    world.build(&["--channel", "cpu"]);
    fs::create_dir_all(world.store().join("tmp/stage-dead")).expect("a folder");
    fs::write(world.store().join("tmp/stage-dead/file"), vec![1; 50_000]).expect("a file");
    fs::write(world.store().join("claims/7-dead"), "{}\n").expect("a file");
    for arguments in [
        &["--max-freed", "1"][..],
        &["--max-freed", "8kB"],
        &["--free", "900PB", "--max-freed", "1"],
        &[],
    ] {
        let before = used(&world.store());
        let planned = world.flambeau_json("gc", &[&["--dry-run"], arguments].concat());
        assert_eq!(used(&world.store()), before, "a dry run changes nothing");
        let real = world.flambeau_json("gc", arguments);
        assert_eq!(deleted(&planned), deleted(&real), "{planned:#} {real:#}");
        assert!(!deleted(&real).is_empty(), "{arguments:?}");
        assert_eq!(planned["freed_bytes"], real["freed_bytes"], "{planned:#} {real:#}");
        assert_eq!((&planned["dry_run"], &real["dry_run"]), (&true.into(), &false.into()));
        // Folders may shrink or grow by themselves; the rest is exact.
        let freed = real["freed_bytes"].as_u64().expect("a number");
        let difference = before.abs_diff(used(&world.store()) + freed);
        assert!(difference <= 64_000, "{arguments:?}: {freed} are off by {difference}");
    }
    assert_eq!(names(&world.store().join("envs")).len(), 1);
    world.venv_python(&["-c", "import filelock"]).ok();
}

#[test]
fn f35_limits_end_a_collection_and_the_longest_unused_goes_first() {
    let Some(world) = small() else { return };
    let [first, second, third] = three_dead(&world);
    // As much is free as is wanted, and the store is small enough: nothing goes.
    for arguments in [["--free", "1"], ["--max-size", "1TB"], ["--max-freed", "0"]] {
        let document = world.flambeau_json("gc", &arguments);
        assert!(deleted(&document).is_empty(), "{arguments:?}: {document:#}");
        assert_eq!(document["missing_bytes"], 0);
    }
    let document = world.flambeau_json("gc", &["--max-freed", "1"]);
    assert_eq!(paths(&document, "environment"), [first], "{document:#}");
    // Its trees are the others' too.
    assert!(paths(&document, "tree").is_empty(), "{document:#}");
    let size = used(&world.store());
    let document = world.flambeau_json("gc", &["--max-size", &(size - 1).to_string()]);
    assert_eq!(paths(&document, "environment"), [second], "{document:#}");
    let document = world.flambeau_json("gc", &["--max-size", "0"]);
    assert_eq!(paths(&document, "environment"), [third], "{document:#}");
    assert!(paths(&document, "tree").len() >= 4, "{document:#}");
    // Folders and records of the store itself stay, so that nothing can meet this.
    assert!(document["missing_bytes"].as_u64() > Some(0), "{document:#}");
}

#[test]
fn f35_times_in_the_future_are_young_and_older_than_counts_exactly() {
    let Some(world) = small() else { return };
    let environment = PathBuf::from(text(&world.build(&["--channel", "cpu", "--no-activate"]), "path"));
    age(&world, 30);
    for (days, goes) in [("31d", false), ("29d", true)] {
        let document = world.flambeau_json("gc", &["--dry-run", "--older-than", days]);
        assert_eq!(
            !paths(&document, "environment").is_empty(),
            goes,
            "{days}: {document:#}"
        );
    }
    // Written under a clock that was ten years ahead.
    let folder = world.store().join("times");
    for name in names(&folder) {
        let stamp = "{\"schema\":1,\"time\":9999999999,\"boot\":\"earlier\",\"uptime\":5}";
        fs::write(folder.join(name), stamp).expect("it is ours");
    }
    assert!(paths(&world.flambeau_json("gc", &["--older-than", "1s"]), "environment").is_empty());
    assert!(environment.exists());
    // From now on its age is right.
    let name = environment.file_name().expect("a name").to_string_lossy();
    let stamp = fs::read_to_string(folder.join(format!("envs-{name}"))).expect("a time");
    assert!(!stamp.contains("9999999999"), "{stamp}");
    // The clock goes forward ten years within a boot: the uptime tells the truth.
    let mut document: serde_json::Value = serde_json::from_str(&stamp).expect("JSON");
    document["time"] = 1.into();
    fs::write(folder.join(format!("envs-{name}")), document.to_string()).expect("it is ours");
    assert!(paths(&world.flambeau_json("gc", &[]), "environment").is_empty());
    assert_eq!(
        paths(&world.flambeau_json("gc", &["--older-than", "0s"]), "environment"),
        [environment]
    );
}

#[test]
fn f04_a_collection_works_without_a_free_byte() {
    let Some(world) = small() else { return };
    let store = world.path("full");
    let shown = store.display().to_string();
    world.flambeau(&["fetch", "--channel", "cpu"]).ok();
    let script = format!(
        "mkdir -p '{shown}'; \"$MOUNT\" -t tmpfs -o size=8m tmpfs '{shown}'\n\
         \"$@\" >&2 || exit 90\n\
         cat /dev/zero >'{shown}/ballast' 2>/dev/null || true\n\
         if (echo x >'{shown}/more') 2>/dev/null && [ -s '{shown}/more' ]; then exit 91; fi\n\
         \"$1\" gc --older-than 0s --json --store-dir '{shown}' || exit 92\n\
         [ -z \"$(ls '{shown}/envs')\" ] && [ -z \"$(ls '{shown}/wheels')\" ] || exit 93\n\
         [ -z \"$(ls '{shown}/tmp')\" ] || exit 94\n\
         exit 0"
    );
    let arguments = [
        "build",
        "--channel",
        "cpu",
        "--offline",
        "--no-activate",
        "--store-dir",
        &shown,
    ];
    let Some(output) = in_own_mounts(&world, &script, &arguments) else {
        return skip("a full store", "no file system can be mounted");
    };
    let output = output.fails(0);
    let document: serde_json::Value = serde_json::from_str(output.stdout.trim()).expect("one document");
    assert!(document["freed_bytes"].as_u64() > Some(10_000), "{document:#}");
}

#[test]
fn read_only_folders_go_and_what_is_another_user_s_is_reported() {
    let Some(world) = small() else { return };
    let environment = PathBuf::from(text(&world.build(&["--channel", "cpu"]), "path"));
    forget(&world);
    age(&world, 400);
    if is_root() {
        std::os::unix::fs::chown(&environment, Some(65_534), Some(65_534)).expect("root may");
        let Some(output) = held_to_modes(&world, &["gc", "--json"]) else {
            return skip("another user's environment", "root cannot be held to modes of files");
        };
        let document = output.fails(0).json();
        let failed = document["failed"].as_array().expect("a list");
        assert!(
            failed
                .iter()
                .any(|failed| Path::new(text(failed, "path")) == environment),
            "{document:#}"
        );
        assert!(environment.join("bin/python").exists());
        // Its trees stay with it.
        assert_eq!(names(&world.store().join("wheels")).len(), 3, "{document:#}");
        std::os::unix::fs::chown(&environment, Some(0), Some(0)).expect("root may");
    }
    let Some(output) = held_to_modes(&world, &["gc"]) else {
        return skip("read-only folders", "root cannot be held to modes of files");
    };
    output.fails(0);
    assert!(!environment.exists());
    for folder in ["envs", "wheels", "tmp", "records", "times"] {
        assert!(names(&world.store().join(folder)).is_empty(), "{folder}");
    }
}

#[test]
fn partial_downloads_and_pages_go_unless_somebody_uses_them() {
    let Some(world) = small() else { return };
    world.build(&["--channel", "cpu"]);
    let partial = world.cache().join("partial");
    fs::create_dir_all(&partial).expect("a folder");
    // One that is called by its digest, and one by its place.
    let [one, two] = ["1".repeat(64), format!("url_{}", "2".repeat(64))];
    for digest in [&one, &two] {
        fs::write(partial.join(format!("{digest}.part")), vec![0; 10_000]).expect("a file");
        fs::write(partial.join(format!("{digest}.json")), "{}").expect("a file");
    }
    let guard = fs::File::create(partial.join(format!("{two}.guard"))).expect("a file");
    guard.lock().expect("it is free");
    assert!(paths(&world.flambeau_json("gc", &[]), "partial").is_empty(), "young");
    let kept = world.flambeau_json("gc", &["--older-than", "0s", "--offline"]);
    assert!(deleted(&kept).is_empty(), "{kept:#}");
    let document = world.flambeau_json("gc", &["--older-than", "0s"]);
    assert_eq!(paths(&document, "partial").len(), 2, "{document:#}");
    assert!(!paths(&document, "page").is_empty(), "{document:#}");
    let left = [format!("{two}.guard"), format!("{two}.json"), format!("{two}.part")];
    assert_eq!(names(&partial), left);
    drop(guard);
    world.flambeau_json("gc", &["--older-than", "0s"]);
    assert!(names(&partial).iter().all(|name| !name.ends_with(".part")));
    // Wheels stay unless they are asked for.
    assert!(!names(&world.cache().join("wheels")).is_empty());
}

#[test]
fn cached_wheels_go_when_asked_for_and_nothing_needs_them() {
    let Some(world) = small() else { return };
    world.build(&["--channel", "cpu"]);
    want(&world, &["filelock"]);
    world.build(&["--channel", "cpu", "--no-activate"]);
    want(&world, &["jinja2"]);
    world.flambeau(&["fetch", "--channel", "cpu"]).ok();
    let cached = |world: &World| -> String {
        let wheels = world.cache().join("wheels");
        let folders = names(&wheels).into_iter();
        folders
            .flat_map(|digest| names(&wheels.join(digest)))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert!(cached(&world).contains("filelock"));
    // filelock is only young; typing-extensions is active; jinja2 and what it needs are in the lockfile.
    assert!(paths(&world.flambeau_json("gc", &["--wheels"]), "wheel").is_empty());
    let document = world.flambeau_json("gc", &["--wheels", "--older-than", "0s"]);
    assert_eq!(paths(&document, "environment").len(), 1, "{document:#}");
    let left = cached(&world);
    assert!(!left.contains("filelock"), "{left}");
    for needed in ["typing_extensions", "jinja2"] {
        assert!(left.contains(needed), "{needed}: {left}");
    }
    world.flambeau(&["build", "--channel", "cpu", "--offline"]).ok();
}

#[test]
fn a_build_that_leaves_too_little_space_collects_where_that_is_configured() {
    let Some(mut world) = small() else { return };
    let dead = PathBuf::from(text(&world.build(&["--channel", "cpu", "--no-activate"]), "path"));
    age(&world, 400);
    want(&world, &["filelock"]);
    world.flambeau(&["build", "--channel", "cpu", "--no-activate"]).ok();
    assert!(dead.exists(), "nothing is collected unasked");
    want(&world, &["filelock", "jinja2"]);
    world.set("FLAMBEAU_MIN_FREE", "100PB");
    let output = world.flambeau(&["build", "--channel", "cpu"]).ok();
    assert!(output.stderr.contains("min-free"), "{output}");
    assert!(!dead.exists());
    assert_eq!(names(&world.store().join("envs")).len(), 2, "the young one stays");
    world.set("FLAMBEAU_MIN_FREE", "much");
    let error = world.flambeau_error(1, &["build"]);
    assert!(text(&error, "message").contains("FLAMBEAU_MIN_FREE"), "{error:#}");
}

#[test]
fn a_store_that_does_not_exist_has_nothing_to_collect() {
    let world = World::new();
    let store = world.path("none").display().to_string();
    let document = world.flambeau_json("gc", &["--store-dir", &store, "--max-size", "0", "--free", "1PB"]);
    assert!(deleted(&document).is_empty());
    assert!(!Path::new(&store).exists());
    assert_eq!(world.flambeau(&["gc", "--store-dir", &store]).ok().text(), "freed 0 B");
    let output = world.flambeau(&["gc", "--older-than", "x"]).fails(2);
    assert!(output.stderr.contains("no duration"), "{output}");
    fs::set_permissions(world.store(), fs::Permissions::from_mode(0o755)).expect("ours");
}
