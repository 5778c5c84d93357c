//! The same command again: nothing is fetched, started or written.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::world::{World, tree_snapshot};

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
