//! Processes that die at every step of their way: what is visible is whole, what was active works, and the next run
//! needs no help.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::steps::{ACTIVE, names, skip};
use crate::support::world::World;
use crate::verify::{damage, file, tree};

/// Every moment of a build from an empty cache, in order.
const BUILD: [&str; 25] = [
    "fetch.opened",
    "fetch.received",
    "cache.ready",
    "cache.boxed",
    "cache.admitted",
    "fetch.finished",
    "store.staged",
    "tree.unpacked",
    "bytecode.compiled",
    "tree.documented",
    "store.sealed",
    "store.recorded",
    "store.renamed",
    "store.committed",
    "store.staged#5",
    "env.composed",
    "env.bound",
    "env.leased",
    "store.sealed#5",
    "store.recorded#5",
    "store.renamed#5",
    "store.committed#5",
    "profile.recorded",
    "profile.noted",
    "profile.flipped",
];

/// A world in which one environment is active and another one is locked, whose every wheel is still to be fetched.
fn waiting() -> Option<World> {
    let world = World::new();
    let python = world.any_python()?;
    let lock = ["lock", "--channel", "cpu", "--python", &python.version];
    world.flambeau(&[&lock[..], &[ACTIVE]].concat()).ok();
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    world.flambeau(&[&lock[..], &["filelock", "fsspec"]].concat()).ok();
    Some(world)
}

/// Runs the program with this checkpoint armed; fails the test unless it died there.
#[track_caller]
fn killed_at(world: &World, moment: &str, arguments: &[&str]) {
    let mut command = world.flambeau_command(arguments);
    command.env("FLAMBEAU_CHECKPOINT", format!("{moment}=kill"));
    let output = command.output().expect("it starts");
    assert_eq!(output.status.signal(), Some(9), "{moment} was not reached: {output:?}");
}

/// Fails unless everything visible is whole and what is active works.
#[track_caller]
fn assert_whole(world: &World, moment: &str, module: &str) {
    let output = world.flambeau(&["verify", "--all"]);
    assert!(output.status.success(), "{moment}: {output}");
    let state: serde_json::Value = serde_json::from_str(&world.read("environment_state.json")).expect("a state");
    let active = world.active();
    let name = active.file_name().expect("a name").to_string_lossy().into_owned();
    let key = state["EnvironmentKey"].as_str().expect("a key");
    assert!(
        name.starts_with(&key[..40]),
        "{moment}: the state of {key} is in {name}"
    );
    let output = world.venv_python(&["-c", &format!("import {module}")]);
    assert!(output.status.success(), "{moment}: {output}");
}

#[test]
fn f01_f11_a_build_that_dies_at_any_checkpoint() {
    for moment in BUILD {
        let Some(world) = waiting() else { return };
        killed_at(&world, moment, &["build", "--channel", "cpu"]);
        let module = if moment == "profile.flipped" {
            "filelock"
        } else {
            "typing_extensions"
        };
        assert_whole(&world, moment, module);
        // Whoever died held guards; nobody waits for them.
        let output = world.flambeau(&["build", "--channel", "cpu"]).ok();
        assert!(!output.stderr.contains("waiting"), "{moment}: {output}");
        assert_whole(&world, moment, "filelock, fsspec");
        assert_eq!(names(&world.store().join("envs")).len(), 2, "{moment}");
    }
}

#[test]
fn f03_an_activation_that_dies_at_any_checkpoint() {
    let Some(world) = waiting() else { return };
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    let (first, second) = ("typing_extensions", "filelock");
    for moment in ["profile.noted", "profile.flipped"] {
        world.flambeau(&["activate", "2"]).ok();
        killed_at(&world, moment, &["activate", "1"]);
        assert_whole(&world, moment, if moment == "profile.flipped" { first } else { second });
        world.flambeau(&["activate", "1"]).ok();
        assert_whole(&world, moment, first);
    }
    // The very first activation has more to link.
    for moment in [
        "profile.registered",
        "profile.recorded",
        "profile.state_linked",
        "profile.noted",
    ] {
        for name in [".venv", "environment_state.json"] {
            fs::remove_file(world.project().join(name)).expect("it is active");
        }
        fs::remove_dir_all(world.project().join(".flambeau")).expect("it is active");
        for root in names(&world.store().join("roots")) {
            let root = world.store().join("roots").join(root);
            // Pins and out-links are folders beside them.
            if !root.is_dir() || root.is_symlink() {
                fs::remove_file(root).expect("it is ours");
            }
        }
        killed_at(&world, moment, &["build", "--channel", "cpu"]);
        assert!(!world.has(".venv"), "{moment}");
        world.flambeau(&["build", "--channel", "cpu"]).ok();
        assert_whole(&world, moment, second);
    }
}

#[test]
fn f01_adopting_the_tree_of_another_python() {
    let world = World::new();
    let (Some(first), Some(second)) = (world.python("3.11"), world.python("3.12")) else {
        return skip("trees of two Pythons", "this machine has no CPython 3.11 and 3.12");
    };
    let pythons = format!("{},{}", first.version, second.version);
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &pythons, "filelock"])
        .ok();
    world
        .flambeau(&["build", "--channel", "cpu", "--python", &first.version])
        .ok();
    killed_at(
        &world,
        "tree.adopted",
        &["build", "--channel", "cpu", "--python", &second.version],
    );
    assert_whole(&world, "tree.adopted", "filelock");
    world
        .flambeau(&["build", "--channel", "cpu", "--python", &second.version])
        .ok();
    assert_whole(&world, "tree.adopted", "filelock");
}

#[test]
fn f01_a_repair_that_dies_at_any_checkpoint() {
    let Some(world) = waiting() else { return };
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    let moments = ["store.staged", "mend.staged", "store.sealed"];
    let exchanges = ["store.opened", "store.exchanged", "store.replaced"];
    let twice = ["store.opened#2", "store.exchanged#2", "store.replaced#2"];
    for moment in moments.iter().chain(&exchanges).chain(&twice) {
        // In the tree, and in the environment's own folder.
        damage(&file(&tree(&world, "filelock"), "filelock/__init__.py"), "remove");
        damage(&file(&world.active(), "bin/activate"), "flip");
        killed_at(&world, moment, &["verify", "--repair", "--offline"]);
        let output = world.venv_python(&["-c", "import fsspec"]);
        assert!(output.status.success(), "{moment}: {output}");
        world.flambeau(&["verify", "--repair", "--offline"]).ok();
        assert_whole(&world, moment, "filelock, fsspec");
    }
}

/// The command lines of processes that carry this world in their environment.
fn processes_of(world: &World) -> Vec<String> {
    let mark = world.path("").display().to_string();
    let mark = mark.trim_end_matches('/');
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let variables = String::from_utf8_lossy(&read("environ")).into_owned();
        if line.contains(mark) || variables.contains(mark) {
            found.push(line);
        }
    }
    found
}

#[test]
fn f07_children_are_gone_when_a_build_is_interrupted() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let Some(world) = waiting() else { return };
        let hold = world.path("hold");
        fs::create_dir(&hold).expect("a new folder");
        let mut command = world.flambeau_command(&["build", "--channel", "cpu"]);
        command
            .env(
                "FLAMBEAU_CHECKPOINT",
                format!("bytecode.compiled=hold:{}", hold.display()),
            )
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        while !hold.join("bytecode.compiled.reached").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        kill_process(Pid::from_child(&child), signal).expect("it is ours");
        let status = child.wait().expect("it ends");
        assert!(
            status.code() == Some(130) || status.signal() == Some(9),
            "{signal:?}: {status}"
        );
        // A worker ends when it reads that its pipe is closed.
        for _ in 0..500 {
            if processes_of(&world).is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(processes_of(&world), Vec::<String>::new(), "{signal:?}");
        world.flambeau(&["build", "--channel", "cpu"]).ok();
        assert_whole(&world, "interrupted", "filelock");
    }
}

/// Runs the program with at most so many open files.
fn with_few_files(world: &World, limit: u32, arguments: &[&str]) -> crate::support::world::Output {
    let mut command: Command = world.command("/bin/sh");
    command.args(["-c", "ulimit -n \"$1\"; shift; exec \"$@\"", "sh", &limit.to_string()]);
    command.arg(env!("CARGO_BIN_EXE_flambeau")).args(arguments);
    world.run(command)
}

#[test]
fn f06_too_few_open_files_are_a_clear_error_or_none() {
    let Some(world) = waiting() else { return };
    world.flambeau(&["fetch", "--channel", "cpu"]).ok();
    let mut failed = 0;
    for limit in [6, 8, 10, 12, 14, 16, 20, 24, 32, 64] {
        let output = with_few_files(
            &world,
            limit,
            &["build", "--channel", "cpu", "--offline", "--no-activate"],
        );
        if output.status.success() {
            break;
        }
        failed += 1;
        assert_eq!(output.status.code(), Some(1), "{limit}: {output}");
        assert!(output.stderr.contains("error: "), "{limit}: {output}");
        assert_whole(&world, "few files", "typing_extensions");
    }
    assert!(failed > 0, "six open files were enough");
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    assert_whole(&world, "few files", "filelock");
}

#[test]
fn f06_an_inode_with_all_the_links_it_can_have() {
    let Some(world) = waiting() else { return };
    world.flambeau(&["build", "--channel", "cpu", "--no-activate"]).ok();
    let links = world.path("links");
    fs::create_dir(&links).expect("a new folder");
    let exhaust = |path: &Path| {
        for number in 0..70_000_u32 {
            match fs::hard_link(path, links.join(number.to_string())) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::TooManyLinks => return true,
                Err(error) => panic!("{error}"),
            }
        }
        false
    };
    if !exhaust(&file(&tree(&world, "filelock"), "METADATA")) {
        return skip(
            "an inode with too many links",
            "this file system has no limit below 70,000",
        );
    }
    for name in names(&world.store().join("envs")) {
        if name != world.active().file_name().expect("a name").to_string_lossy() {
            world.delete(&world.store().join("envs").join(name));
        }
    }
    world.flambeau(&["build", "--channel", "cpu", "--offline"]).ok();
    assert_whole(&world, "too many links", "filelock");
    let says = "from importlib.metadata import version; print(bool(version('filelock')))";
    assert_eq!(world.python_says(says), "True");
}

#[test]
fn f06_trees_on_another_file_system_are_copied() {
    let Some(world) = waiting() else { return };
    world.flambeau(&["build", "--channel", "cpu", "--no-activate"]).ok();
    for name in names(&world.store().join("envs")) {
        if name != world.active().file_name().expect("a name").to_string_lossy() {
            world.delete(&world.store().join("envs").join(name));
        }
    }
    // A mount of its own: hard links across it are refused (EXDEV), even of one file system.
    let wheels = world.store().join("wheels").display().to_string();
    let script = format!("\"$MOUNT\" --bind '{wheels}' '{wheels}'");
    let Some(output) = crate::steps::in_own_mounts(&world, &script, &["build", "--channel", "cpu", "--offline"]) else {
        return skip("trees across a mount", "no file system can be mounted");
    };
    output.ok();
    assert_whole(&world, "another file system", "filelock");
}

/// A build that is interrupted leaves what it was writing under `tmp/`; the next one clears it, and nothing of one that
/// runs.
#[test]
fn f11_the_next_build_clears_what_interrupted_ones_left() {
    let Some(world) = waiting() else { return };
    for moment in ["tree.unpacked", "bytecode.compiled", "env.bound"] {
        killed_at(&world, moment, &["build", "--channel", "cpu"]);
    }
    let tmp = world.store().join("tmp");
    assert!(!names(&tmp).is_empty());
    // One that runs, held in the middle of its work.
    let hold = world.path("hold");
    fs::create_dir(&hold).expect("a new folder");
    let mut running = world.flambeau_command(&["build", "--channel", "cpu", "--rebuild"]);
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    assert!(names(&tmp).is_empty(), "{:?}", names(&tmp));
    let moment = format!("bytecode.compiled=hold:{}", hold.display());
    running
        .env("FLAMBEAU_CHECKPOINT", moment)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut running = running.spawn().expect("it starts");
    while !hold.join("bytecode.compiled.reached").exists() {
        assert!(running.try_wait().expect("ours").is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    let held = names(&tmp);
    assert!(!held.is_empty(), "it works in a folder");
    killed_at(&world, "tree.unpacked", &["build", "--channel", "cpu", "--rebuild"]);
    assert!(names(&tmp).len() > held.len());
    let lock = ["lock", "--channel", "cpu", "mpmath"];
    world.flambeau(&lock).ok();
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    assert_eq!(names(&tmp), held);
    fs::write(hold.join("bytecode.compiled.go"), "").expect("ours");
    assert!(running.wait().expect("it was started").success());
    assert!(names(&tmp).is_empty(), "{:?}", names(&tmp));
}
