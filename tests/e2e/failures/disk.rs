//! Disks that are full, read-only or somebody else's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::steps::{Standing, active, assert_error, held_to_modes, in_own_mounts, names, skip};
use crate::support::family::Shelf;
use crate::support::wheel::Wheel;
use crate::support::world::World;

/// Bytes that do not compress.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// A small tmpfs over a folder, as a line for [`in_own_mounts`].
fn small(folder: &Path, options: &str) -> String {
    format!(
        "mkdir -p '{0}'; \"$MOUNT\" -t tmpfs -o {options} tmpfs '{0}'",
        folder.display()
    )
}

#[test]
fn f04_a_cache_without_space_is_refused_before_the_first_byte() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let wheel = Wheel::new("bulky", "1.0")
        .stored()
        .file("bulky/data.bin", noise(3 << 20));
    world.server().offer(Shelf::Index, wheel);
    standing.lock(&["bulky"]);
    let Some(output) = in_own_mounts(world, &small(&world.cache(), "size=1m"), &["build"]) else {
        return skip("a full cache", "no file system can be mounted");
    };
    let cache = world.cache().display().to_string();
    standing.assert_refused(
        output,
        1,
        &[
            "3.1 MB are needed in",
            &cache,
            "1.0 MB are free",
            "hint: free 2.1 MB, or",
            "--cache-dir",
        ],
    );
    assert!(world.server().requests_to("bulky-1.0-py3-none-any.whl").is_empty());
}

/// The pages of a channel state no sizes, so these wheels are found too large while they arrive.
#[test]
fn f04_a_cache_that_fills_up_on_the_way() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    for name in ["torchaudio", "torchtext"] {
        let wheel = Wheel::new(name, "1.0+cpu").stored();
        let wheel = wheel.file(&format!("{name}/data.bin"), noise(700 << 10));
        world.server().offer(Shelf::Channel("cpu"), wheel);
    }
    standing.lock(&["torchaudio", "torchtext"]);
    let Some(output) = in_own_mounts(world, &small(&world.cache(), "size=1m"), &["build"]) else {
        return skip("a cache that fills up", "no file system can be mounted");
    };
    let cache = world.cache().display().to_string();
    let output = output.fails(1);
    assert!(output.stderr.contains("kB are needed in"), "{output}");
    assert!(
        output.stderr.contains(&cache) && output.stderr.contains("hint: free "),
        "{output}"
    );
    standing.assert_active();
}

#[test]
fn f04_a_store_without_space_for_a_wheel() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    // Small to download, large to unpack.
    let wheel = Wheel::new("airy", "1.0").file("airy/data.bin", vec![0; 4 << 20]);
    world.server().offer(Shelf::Index, wheel);
    standing.lock(&["airy"]);
    let store = world.path("small");
    let arguments = ["build", "--store-dir", &store.display().to_string()];
    let Some(output) = in_own_mounts(world, &small(&store, "size=1m"), &arguments) else {
        return skip("a full store", "no file system can be mounted");
    };
    let shown = store.display().to_string();
    standing.assert_refused(
        output,
        1,
        &["airy-1.0", "4.2 MB are needed in", &shown, "hint: free ", "--store-dir"],
    );
}

/// Builds on stores of growing size until one is large enough: each failure is clean, and with space the next run
/// succeeds on what the failed one left.
fn sweep(options: impl Fn(usize) -> String, told: &str, hint: &str) {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version])
        .ok();
    world.flambeau(&["fetch", "--channel", "cpu"]).ok();
    let store = world.path("small");
    let report = world.path("report");
    let shown = store.display().to_string();
    let arguments = ["build", "--channel", "cpu", "--offline", "--store-dir", &shown];
    let mut failures = 0;
    for step in 1.. {
        let script = format!(
            "{mount}\n\
             if \"$@\" >'{report}.out' 2>'{report}.err'; then echo fits; exit 0; else code=$?; fi\n\
             [ ! -e .venv ] && [ ! -L .venv ] || {{ echo 'there is a .venv'; exit 99; }}\n\
             [ -z \"$(ls '{shown}/envs' 2>/dev/null)\" ] || {{ echo 'there is an environment'; exit 98; }}\n\
             for tree in '{shown}'/wheels/*/; do\n\
               [ ! -d \"$tree\" ] || [ -s \"$tree/facts.json\" ] || {{ echo \"$tree is torn\"; exit 97; }}\n\
             done\n\
             cat '{report}.err' >&2; echo \"$code\"\n\
             \"$MOUNT\" -o remount,size=64m,nr_inodes=100k '{shown}'\n\
             \"$@\" >&2\n\
             .venv/bin/python -c 'import torch, torchvision' >&2; exit 0",
            mount = small(&store, &options(step)),
            report = report.display(),
        );
        let Some(output) = in_own_mounts(&world, &script, &arguments) else {
            return skip("full stores", "no file system can be mounted");
        };
        let output = output.ok();
        // The link leads into a file system that is gone.
        fs::remove_file(world.project().join(".venv")).expect("it was activated");
        fs::remove_dir_all(world.project().join(".flambeau")).expect("it was activated");
        fs::remove_file(world.project().join("environment_state.json")).expect("it was activated");
        if output.text() == "fits" {
            break;
        }
        assert_eq!(output.text(), "1", "{output}");
        let message = &output.stderr;
        assert!(
            message.contains("error: ") && message.contains(told) && message.contains(hint),
            "{output}"
        );
        assert_eq!(message.matches("hint: ").count(), 1, "{output}");
        // Figures are for people.
        let is_long = |word: &str| word.len() > 4 && word.bytes().all(|byte| byte.is_ascii_digit());
        assert!(!message.split_whitespace().any(is_long), "{output}");
        assert!(message.contains(&shown), "{output}");
        failures += 1;
    }
    assert!(failures >= 3, "only {failures} builds failed: the steps are too large");
}

#[test]
fn f04_a_store_that_fills_up_at_any_point() {
    sweep(|step| format!("size={}k", 4 + 160 * step), " are free", "--store-dir");
}

#[test]
fn f04_a_store_without_free_inodes() {
    // One by one where the store and its first guards are made.
    sweep(
        |step| format!("size=64m,nr_inodes={}", 8 + step + 90 * step.saturating_sub(32)),
        "no inodes are free",
        "hint: free some files",
    );
}

/// The process may write no file of more than a megabyte: that is no full disk.
#[test]
fn a_limit_on_the_size_of_files_is_told_as_one() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let wheel = Wheel::new("bulky", "1.0")
        .stored()
        .file("bulky/data.bin", noise(3 << 20));
    world.server().offer(Shelf::Index, wheel);
    standing.lock(&["bulky"]);
    let mut command = world.command("/bin/sh");
    // In blocks of 512 bytes.
    command.args([
        "-c",
        "ulimit -f 2048; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_flambeau"),
        "build",
    ]);
    let output = world.run(command);
    standing.assert_refused(
        output,
        1,
        &["cannot write", "1.0 MB, see `ulimit -f`", "ulimit -f unlimited"],
    );
    world.flambeau(&["fetch"]).ok();
    let mut command = world.command("/bin/sh");
    command.args([
        "-c",
        "ulimit -f 2048; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_flambeau"),
        "build",
        "--offline",
    ]);
    let output = world.run(command);
    assert!(
        !output.stderr.contains("no space") && !output.stderr.contains("hint: free"),
        "{output}"
    );
    standing.assert_refused(output, 1, &["bulky/data.bin", "see `ulimit -f`"]);
    world.flambeau(&["build"]).ok();
}

/// What comes after the flip does not make it undone.
#[test]
fn a_flip_is_done_whatever_becomes_of_the_files_beside_it() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    standing.lock(&["filelock"]);
    // Files that are to go, and cannot be removed as files.
    for name in ["gpu.env", "overlay.pth"] {
        fs::create_dir_all(world.project().join(".flambeau").join(name).join("x")).expect("a writable project");
    }
    let before = active(world);
    let output = world.flambeau(&["build"]).ok();
    assert_ne!(active(world), before);
    for part in [
        "warning: the environment is active, but cannot",
        "gpu.env",
        "overlay.pth",
    ] {
        assert!(output.stderr.contains(part), "{part}: {output}");
    }
    let output = world.flambeau(&["rollback"]).ok();
    assert_eq!(active(world), before);
    assert!(
        output.stderr.contains("warning: the environment is active, but"),
        "{output}"
    );
    world.flambeau(&["activate", "2"]).ok();
    assert_ne!(active(world), before);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn a_store_that_may_not_be_written() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    standing.lock(&["filelock"]);
    for folder in ["wheels", "envs", "guards", "tmp", "records", "roots", "leases", ""] {
        set_mode(&world.store().join(folder), 0o555);
    }
    let Some(output) = held_to_modes(world, &["build"]) else {
        return skip("an unwritable store", "root cannot be held to modes of files");
    };
    let store = world.store().display().to_string();
    standing.assert_refused(output, 1, &[&store, "Permission denied", "--store-dir"]);
    // What is built can still be used.
    standing
        .world
        .flambeau(&["lock", "--channel", "cpu", crate::steps::ACTIVE])
        .ok();
    let output = held_to_modes(world, &["run", "--", "python", "-c", "import typing_extensions"]);
    output.expect("it worked before").ok();
}

#[test]
fn a_store_that_cannot_be_made() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let closed = world.path("closed");
    fs::create_dir(&closed).expect("a new folder");
    set_mode(&closed, 0o555);
    let store = closed.join("store").display().to_string();
    let Some(output) = held_to_modes(world, &["build", "--store-dir", &store]) else {
        return skip("an unwritable folder", "root cannot be held to modes of files");
    };
    standing.assert_refused(output, 1, &[&store, "Permission denied", "--store-dir"]);
}

#[test]
fn f06_a_store_on_a_read_only_file_system() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    standing.lock(&["filelock"]);
    let store = world.store().display().to_string();
    let script = format!("\"$MOUNT\" --bind '{store}' '{store}'; \"$MOUNT\" -o remount,bind,ro '{store}'");
    let Some(output) = in_own_mounts(world, &script, &["build"]) else {
        return skip("a read-only store", "no file system can be mounted");
    };
    standing.assert_refused(output, 1, &[&store, "Read-only file system", "--store-dir"]);
}

#[test]
fn a_cache_that_may_not_be_written() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    standing.lock(&["filelock"]);
    for folder in names(&world.cache()) {
        let folder = world.cache().join(folder);
        if folder.is_dir() {
            set_mode(&folder, 0o555);
        }
    }
    let Some(output) = held_to_modes(world, &["build"]) else {
        return skip("an unwritable cache", "root cannot be held to modes of files");
    };
    let cache = world.cache().display().to_string();
    standing.assert_refused(output, 1, &[&cache, "Permission denied", "--cache-dir"]);
}

#[test]
fn a_project_that_may_not_be_written() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    standing.lock(&["filelock"]);
    let (link, generations) = (active(world), names(&world.project().join(".flambeau/generations")));
    set_mode(&world.project(), 0o555);
    let Some(output) = held_to_modes(world, &["build"]) else {
        return skip("an unwritable project", "root cannot be held to modes of files");
    };
    let project = world.project().display().to_string();
    assert_error(output, 1, &[&project, "Permission denied", "--project"]);
    assert_eq!(active(world), link);
    assert_eq!(names(&world.project().join(".flambeau/generations")), generations);
    assert!(
        world
            .read("environment_state.json")
            .contains("\"typing-extensions==4.13.2\"\n")
    );
    world.venv_python(&["-c", "import typing_extensions"]).ok();
    set_mode(&world.project(), 0o755);
    let document = world.flambeau(&["build", "--json"]).ok().json();
    assert_eq!(document["generation"], 2);
}

#[test]
fn lockfiles_that_may_not_be_written() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let before = world.read("lockfiles/pylock.cpu.toml");
    set_mode(&world.project().join("lockfiles"), 0o555);
    let Some(output) = held_to_modes(world, &["lock", "filelock"]) else {
        return skip("an unwritable lockfile", "root cannot be held to modes of files");
    };
    standing.assert_refused(output, 1, &["lockfiles", "Permission denied"]);
    assert_eq!(world.read("lockfiles/pylock.cpu.toml"), before);
}
