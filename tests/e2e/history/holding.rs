//! What `run`, `shell` and a plain `build` do after a rollback: they keep it, until something is chosen or changes.

use serde_json::Value;

use super::going_back::is_active;
use crate::support::family::Shelf;
use crate::support::wheel::Wheel;
use crate::support::world::World;

/// Two generations of one channel, the newer one from a newer lockfile.
fn upgraded() -> Option<(World, [Value; 2])> {
    let world = World::new();
    world.any_python()?;
    world
        .server()
        .offer(Shelf::Index, Wheel::new("extra", "1.0").file("extra.py", "V = 1\n"));
    world.write(
        "pyproject.toml",
        "[tool.flambeau]\nrequirements = ['torch==2.7.0', 'extra']\n",
    );
    let old = world.build(&["--channel", "cpu"]);
    world
        .server()
        .offer(Shelf::Index, Wheel::new("extra", "2.0").file("extra.py", "V = 2\n"));
    world.flambeau_json("lock", &["--channel", "cpu", "--upgrade"]);
    let new = world.build(&["--channel", "cpu"]);
    assert_ne!(old["key"], new["key"]);
    Some((world, [old, new]))
}

fn runs(world: &World) -> String {
    let command = ["run", "--", "python", "-c", "import extra; print(extra.V)"];
    world.flambeau(&command).ok().text().to_owned()
}

#[test]
fn a_rollback_is_not_undone_by_run_shell_or_a_plain_build() {
    let Some((mut world, [old, new])) = upgraded() else {
        return;
    };
    assert_eq!(runs(&world), "2");
    world.flambeau_json("rollback", &[]);
    world.server().clear_log();
    assert_eq!(runs(&world), "1");
    world.set("SHELL", "/bin/sh");
    let mut shell = world.flambeau_command(&["shell"]);
    shell
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = shell.spawn().expect("it starts");
    let script = b"python -c 'import extra; print(extra.V)'; echo \"$VIRTUAL_ENV_PROMPT\"; exit 9\n";
    std::io::Write::write_all(child.stdin.as_mut().expect("a pipe"), script).expect("it listens");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        (output.status.code(), &*String::from_utf8_lossy(&output.stdout)),
        (Some(9), "1\nproject\n")
    );
    let built = world.build(&[]);
    assert_eq!((&built["key"], &built["generation"]), (&old["key"], &1.into()));
    let said = world.flambeau(&["build"]).ok();
    assert!(said.stderr.contains("generation 1 was chosen"), "{said}");
    is_active(&world, &old);
    world.server().assert_no_requests();
    // Whoever asks for the lockfile's environment gets that one.
    assert_eq!(world.build(&["--dry-run"])["key"], new["key"]);
    assert_eq!(world.build(&["--no-activate"])["key"], new["key"]);
    assert_eq!(world.build(&["--locked"])["key"], new["key"]);
    is_active(&world, &new);
}

#[test]
fn what_ends_it() {
    let Some((mut world, [old, new])) = upgraded() else {
        return;
    };
    let back = |world: &World| {
        world.flambeau_json("rollback", &["--to", "1"]);
        assert_eq!(world.build(&[])["key"], old["key"]);
    };
    // A flag.
    back(&world);
    assert_eq!(world.build(&["--channel", "cpu"])["key"], new["key"]);
    // Another configuration.
    back(&world);
    world.set("FLAMBEAU_BACKEND", "cpu");
    assert_eq!(world.build(&[])["key"], new["key"]);
    // A changed requirement.
    back(&world);
    world.write(
        "pyproject.toml",
        "[tool.flambeau]\nrequirements = ['torch==2.7.0', 'extra>1']\n",
    );
    assert_eq!(world.build(&[])["key"], new["key"]);
    // Another lockfile.
    back(&world);
    world
        .server()
        .offer(Shelf::Index, Wheel::new("extra", "3.0").file("extra.py", "V = 3\n"));
    world.flambeau_json("lock", &["--channel", "cpu", "--upgrade"]);
    let third = world.build(&[]);
    assert!(third["key"] != old["key"] && third["key"] != new["key"], "{third:#}");
    // What is not there any more cannot be kept, which is said.
    back(&world);
    world.delete(old["path"].as_str().expect("a path").as_ref());
    let output = world.flambeau(&["build"]).ok();
    assert!(output.stderr.contains("generation 1, which was chosen"), "{output}");
}

#[test]
fn a_key_and_a_generation_are_kept_and_a_backend_is_only_a_backend() {
    let Some((world, [old, new])) = upgraded() else { return };
    world.flambeau_json("activate", &[old["key"].as_str().expect("a key")]);
    assert_eq!(runs(&world), "1");
    world.flambeau_json("activate", &["2"]);
    assert_eq!(runs(&world), "2");
    world.flambeau_json("activate", &["1"]);
    assert_eq!(runs(&world), "1");
    world.flambeau_json("activate", &["cpu"]);
    assert_eq!(runs(&world), "2");
    is_active(&world, &new);
}
