//! What nobody named: an index that is not known, requirements that are not there, a lockfile that was cut.

use crate::steps::{Standing, assert_error};
use crate::support::world::World;

const SAID: &str = "no requirements are named, so the defaults are used: torch==2.7.0, torchvision==0.22.0";

#[test]
fn an_index_that_is_not_found_out_offline_is_not_called_unconfigured() {
    let mut world = World::new();
    world.unset("PIP_INDEX_URL");
    let lock = ["lock", "--channel", "cpu", "filelock"];
    let offline = [&lock[..], &["--offline"]].concat();
    assert_error(
        world.flambeau(&offline),
        4,
        &["the network may not be used", "--offline"],
    );
    world.set("PIP_NO_INDEX", "1");
    assert_error(
        world.flambeau(&lock),
        1,
        &["`no-index` of pip's configuration", "PIP_NO_INDEX"],
    );
}

#[test]
fn the_default_pins_are_never_locked_in_silence() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    for project in ["", "[project]\nname = \"p\"\nversion = \"1\"\n"] {
        world.write("pyproject.toml", project);
        let arguments = ["--channel", "cpu", "--python", &python.version];
        let planned = world.flambeau(&[&["build", "--dry-run"], &arguments[..]].concat()).ok();
        assert!(planned.stderr.contains(SAID), "{planned}");
    }
    let first = world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version])
        .ok();
    assert!(first.stderr.contains(SAID), "{first}");
    let again = world.flambeau(&["lock", "--channel", "cpu"]).ok();
    assert!(
        !again.stderr.contains(SAID),
        "once they are locked they are the project's: {again}"
    );
}

#[test]
fn a_lockfile_that_lost_a_package_is_stale() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    standing.lock(&["filelock"]);
    let good = world.read("lockfiles/pylock.cpu.toml");
    let at = good.find("[[packages]]\nname = \"filelock\"").expect("it is locked");
    let rest = good[at + 1..].find("\n[").map(|end| at + 1 + end + 1);
    let mut end = rest.expect("more follows");
    while !(good[end..].starts_with("[[packages]]\n") || good[end..].starts_with("[tool")) {
        end += good[end + 1..].find("\n[").map(|next| next + 2).expect("more follows");
    }
    world.write("lockfiles/pylock.cpu.toml", format!("{}{}", &good[..at], &good[end..]));
    for verb in [&["lock", "--check"][..], &["build", "--locked"]] {
        let output = world.flambeau(verb);
        standing.assert_refused(output, 1, &["filelock", "no package in it is for that"]);
    }
    world.flambeau(&["build"]).ok();
    assert_eq!(world.read("lockfiles/pylock.cpu.toml"), good);
}
