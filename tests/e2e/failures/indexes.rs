//! Indexes that do not have what is wanted, and no index at all.

use crate::steps::{ACTIVE, Standing, bare_python, in_own_mounts, names, skip};
use crate::support::family::Shelf;
use crate::support::wheel::Wheel;

#[test]
fn a_project_that_the_package_index_does_not_know() {
    let Some(standing) = Standing::new() else { return };
    let output = standing
        .world
        .flambeau(&["lock", "--channel", "cpu", "no-such-project"]);
    let index = standing.world.server().url().trim_start_matches("http://").to_owned();
    standing.assert_refused(output, 1, &["no-such-project", &index]);
    assert!(
        !standing
            .world
            .read("lockfiles/pylock.cpu.toml")
            .contains("no-such-project")
    );
}

#[test]
fn a_project_that_the_channel_does_not_know() {
    let Some(standing) = Standing::new() else { return };
    let output = standing
        .world
        .flambeau(&["lock", "--channel", "cpu", "torchaudio==2.7.0"]);
    standing.assert_refused(output, 1, &["torchaudio", "/whl/cpu"]);
    // Family packages come from the channel alone, so the package index was not even asked.
    assert!(standing.world.server().requests_to("/simple/torchaudio").is_empty());
}

#[test]
fn a_version_that_does_not_exist() {
    let Some(standing) = Standing::new() else { return };
    let output = standing.world.flambeau(&["lock", "--channel", "cpu", "filelock==99"]);
    standing.assert_refused(output, 1, &["filelock", "99", "3.18.0"]);
}

#[test]
fn no_wheel_for_this_python_names_the_pythons_that_have_one() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let others: Vec<_> = ["3.9", "3.10", "3.13"]
        .into_iter()
        .filter(|version| *version != standing.python.version)
        .collect();
    for version in &others {
        let tag = format!("cp{}", version.replace('.', ""));
        let wheel = Wheel::new("picky", "1.0").tag(&format!("{tag}-{tag}-manylinux_2_28_x86_64"));
        world.server().offer(Shelf::Index, wheel.file("picky.py", ""));
    }
    let output = world.flambeau(&["lock", "--channel", "cpu", ACTIVE, "picky"]);
    let own = standing.python.tag();
    let parts: Vec<_> = ["picky", own.as_str()].into_iter().chain(others.clone()).collect();
    standing.assert_refused(output, 1, &parts);
}

#[test]
fn a_lockfile_without_this_python_names_those_it_has() {
    let Some(standing) = Standing::new() else { return };
    let others: Vec<_> = ["3.9", "3.10", "3.13"]
        .into_iter()
        .filter(|version| *version != standing.python.version)
        .collect();
    standing
        .world
        .flambeau(&["lock", "--channel", "cpu", "--python", &others.join(","), ACTIVE])
        .ok();
    let output = standing.world.flambeau(&["build"]);
    let own = standing.python.path.display().to_string();
    let parts: Vec<_> = ["pylock.cpu.toml", own.as_str()].into_iter().chain(others).collect();
    standing.assert_refused(output, 1, &parts);
}

#[test]
fn no_index_by_configuration() {
    let Some(mut standing) = Standing::new() else { return };
    standing.world.unset("PIP_INDEX_URL");
    standing.world.set("PIP_NO_INDEX", "1");
    let output = standing.world.flambeau(&["lock", "--channel", "cpu", "filelock"]);
    standing.assert_refused(
        output,
        1,
        &[
            "filelock",
            "`no-index` of pip's configuration",
            "PIP_NO_INDEX",
            "find-links",
        ],
    );
    standing.world.server().assert_no_requests();
}

/// Where nothing names an index, pip itself is asked; here there is none to ask.
#[test]
fn no_index_and_no_pip() {
    let Some(mut standing) = Standing::new() else { return };
    let python = bare_python(&standing.python, &standing.world.path("no-pip"));
    standing.world.unset("PIP_INDEX_URL");
    standing.world.set("UV_PYTHON", python.display().to_string());
    let tools = standing.world.path("tools");
    for name in names(&tools).iter().filter(|name| name.starts_with("python")) {
        std::fs::remove_file(tools.join(name)).expect("it is there");
    }
    // The Pythons of the system's folders are out of sight as well; `mount` itself goes last.
    let hide = "for folder in /usr/local/bin /opt/python /usr/bin; do\n\
                if [ -d $folder ]; then \"$MOUNT\" -t tmpfs tmpfs $folder; fi\ndone";
    let Some(output) = in_own_mounts(&standing.world, hide, &["lock", "--channel", "cpu", "filelock"]) else {
        skip("no index and no pip", "the system's folders cannot be hidden");
        return;
    };
    standing.assert_refused(output, 1, &["filelock", "no package index", "PIP_INDEX_URL"]);
    standing.world.server().assert_no_requests();
}

#[test]
fn a_machine_without_a_python_of_the_lockfile_is_told_which_ones_would_do() {
    let Some(mut standing) = Standing::new() else { return };
    standing.world.unset("UV_PYTHON");
    standing
        .world
        .flambeau(&["lock", "--channel", "cpu", "--python", "3.18,3.19", ACTIVE])
        .ok();
    let output = standing.world.flambeau(&["build"]);
    standing.assert_refused(output, 1, &["pylock.cpu.toml", "3.18, 3.19", "passed over", "--python"]);
}
