//! The same command again: nothing is fetched, started or written.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::steps::{skip, tool};
use crate::support::world::{World, text, tree_snapshot};

#[test]
fn the_second_build_does_nothing_at_all() {
    let mut world = World::new();
    let Some(python) = world.private_python("base") else {
        return;
    };
    world.set("UV_PYTHON", python.display().to_string());
    let first = world.build(&["--backend", "cuda"]);
    assert_eq!(first["reused"], false);
    // Not `records`: what is older than a minute is marked as being on disk by the next command, once.
    let folders = || {
        [
            "store/envs",
            "store/wheels",
            "store/leases",
            "store/guards",
            "store/tmp",
            "store/roots",
            "cache",
            "project",
        ]
        .map(|folder| tree_snapshot(&world.path(folder)))
    };
    let before = folders();
    world.server().clear_log();
    // A process that may not be started: what is known of the interpreter must be enough. Its mode is no part of
    // what tells one interpreter from another.
    fs::set_permissions(&python, fs::Permissions::from_mode(0o644)).expect("our file");

    for flags in [&["--backend", "cuda"][..], &[], &["--locked"], &["--offline"]] {
        let second = world.build(flags);
        assert_eq!(second["reused"], true, "{second:#}");
        assert_eq!(second["downloaded_bytes"], 0);
        assert!(second["elapsed_ms"].is_u64(), "{second:#}");
        for member in [
            "key",
            "path",
            "tree_digest",
            "generation",
            "packages",
            "target",
            "python",
        ] {
            assert_eq!(second[member], first[member], "{member}");
        }
    }
    world.server().assert_no_requests();
    for (before, after) in before.iter().zip(folders()) {
        before.assert_same(&after);
    }
    // The trap is real: an interpreter that nothing is known of is asked, and cannot answer.
    world.delete(&world.cache().join("interpreters"));
    world.flambeau(&["build"]).fails(1);
}

/// Watched by strace where the machine has it. The bounds are far above what was counted and far below what would be
/// needed to look at each file of an environment, or to ask an interpreter.
#[test]
fn a_key_hit_and_a_flip_start_no_program_and_need_few_system_calls() {
    let Some(strace) = tool("strace") else {
        return skip("system calls of a key hit", "this machine has no strace");
    };
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world.offer_python(&python);
    let first = world.build(&["--backend", "cuda"]);
    symlink(strace, world.path("tools/strace")).expect("the name is free");
    let log = world.path("strace.log");
    let traced = |arguments: &[&str]| {
        let mut command = world.command(world.path("tools/strace"));
        command.args(["-f", "-qq", "-o"]).arg(&log);
        command.arg(env!("CARGO_BIN_EXE_flambeau")).args(arguments);
        let output = world.run(command);
        (output, fs::read_to_string(&log).unwrap_or_default())
    };
    if !traced(&["--version"]).0.status.success() {
        return skip("system calls of a key hit", "strace cannot trace here");
    }
    // A history of two years of switching, of which only the newest entries matter.
    let other = world.build(&["--backend", "cpu"]);
    let profile = world.project().join(".flambeau");
    let record = fs::read_to_string(profile.join("generations/2.json")).expect("written");
    for number in 3..1000 {
        let record = record.replace("\"number\": 2", &format!("\"number\": {number}"));
        fs::write(profile.join(format!("generations/{number}.json")), record).expect("ours");
        symlink(text(&other, "path"), profile.join(format!("links/{number}"))).expect("ours");
    }
    world.flambeau(&["activate", "cuda"]).ok();
    for (arguments, verb) in [
        (&["activate", "cpu"][..], "activated CPU"),
        (&["rollback"], "rolled back to CUDA"),
        (&["activate", "cuda"], "already active: CUDA"),
    ] {
        let (output, calls) = traced(arguments);
        assert!(output.ok().stdout.starts_with(verb), "{arguments:?}");
        assert!(
            !calls.contains("getdents"),
            "{arguments:?}: the history was listed\n{calls}"
        );
        assert!(calls.lines().count() < 500, "{arguments:?}: {}", calls.lines().count());
    }
    for arguments in [&["build", "--backend", "cuda"][..], &["activate", text(&first, "key")]] {
        let (output, calls) = traced(arguments);
        output.ok();
        let count = |name: &str| calls.lines().filter(|line| line.contains(name)).count();
        assert_eq!(count(" execve("), 1, "{arguments:?}: flambeau itself\n{calls}");
        assert_eq!(
            (count("AF_INET"), count("sync(") + count("syncfs(")),
            (0, 0),
            "{arguments:?}\n{calls}"
        );
        assert!(calls.lines().count() < 1500, "{arguments:?}: {}", calls.lines().count());
    }
}
