//! `list`: every environment of the store, which is active, and who needs it.

use std::fs;

use serde_json::Value;

use crate::support::world::{World, text};

fn environments(world: &World, arguments: &[&str]) -> Vec<Value> {
    let document = world.flambeau_json("list", arguments);
    document["environments"].as_array().expect("a list").clone()
}

#[test]
fn it_lists_environments_of_every_project_with_their_roots() {
    let world = World::new();
    assert_eq!(environments(&world, &[]).len(), 0);
    assert_eq!(world.flambeau(&["list"]).ok().text(), "no environments are built");
    if world.any_python().is_none() {
        return;
    }
    let built = ["cuda", "cpu"].map(|backend| world.build(&["--backend", backend]));
    let rocm = world.build(&["--backend", "rocm", "--no-activate"]);
    fs::create_dir(world.path("other")).expect("the name is free");
    let other = world.path("other");
    let at_other = ["--project", other.to_str().expect("UTF-8")];
    world.build(&[&["--backend", "cpu"], &at_other[..]].concat());

    let project = world.project().display().to_string();
    let listed = environments(&world, &[]);
    assert_eq!(listed.len(), 3);
    for (wanted, active, roots) in [
        (&built[0], false, vec![format!("{project} generation 1")]),
        (
            &built[1],
            true,
            vec![
                format!("{} generation 1 (active)", other.display()),
                format!("{project} generation 2 (active)"),
            ],
        ),
        (&rocm, false, vec![]),
    ] {
        let row = listed
            .iter()
            .find(|row| row["key"] == wanted["key"])
            .expect("it is listed");
        for member in ["path", "backend", "channel", "target", "python"] {
            assert_eq!(row[member], wanted[member], "{member}");
        }
        assert_eq!(row["active"], active);
        assert!(row["size_bytes"].as_u64() > Some(10_000), "{row:#}");
        let mut found: Vec<_> = row["roots"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        found.sort_unstable();
        assert_eq!(found, roots);
    }
    // Active is what the asking project uses.
    let active = |arguments: &[&str]| -> Vec<String> {
        let rows = environments(&world, arguments);
        let active = rows.iter().filter(|row| row["active"] == true);
        active.map(|row| text(row, "backend").to_owned()).collect()
    };
    world.flambeau_json("activate", &["cuda"]);
    assert_eq!(
        (active(&[]), active(&at_other)),
        (vec!["CUDA".to_owned()], vec!["CPU".to_owned()])
    );
    let said = world.flambeau(&["list"]).ok();
    let marked: Vec<_> = said.stdout.lines().filter(|line| line.starts_with('*')).collect();
    assert_eq!(marked.len(), 1, "{said}");
    assert!(marked[0].contains(&text(&built[0], "key")[..12]), "{said}");

    // A project that was deleted may be on a disk that is not mounted, which is said, and no error.
    fs::remove_dir_all(&other).expect("our folder");
    let listed = environments(&world, &[]);
    let row = listed
        .iter()
        .find(|row| row["key"] == built[1]["key"])
        .expect("it is listed");
    let missing = format!("{}, which has been missing for 0 of 30 days", other.display());
    let roots = row["roots"].as_array().expect("a list");
    assert!(roots.iter().any(|root| *root == missing), "{row:#}");
    assert_eq!(roots.len(), 2, "{row:#}");
}

#[test]
fn an_environment_without_a_readable_state_is_named_and_the_rest_is_listed() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let built = world.build(&["--backend", "cpu"]);
    let broken = format!("{}-torch-2.7.0-cu118-00000000", "0".repeat(40));
    fs::create_dir(world.store().join("envs").join(&broken)).expect("the name is free");
    let output = world.flambeau(&["list", "--json"]).ok();
    assert_eq!(output.json()["environments"][0]["key"], built["key"]);
    assert!(output.stderr.contains(&broken), "{output}");
}

#[test]
fn a_reader_that_stops_early_is_nobody_s_failure() {
    let world = World::new();
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["detect"],
        &["--help"],
        &["status", "--json"],
    ] {
        // The pipe has no reader by the time anything is written.
        let output = world.flambeau_in_shell("{ sleep 0.2; \"$@\"; echo \"exit $?\" >&2; } | true", arguments);
        assert!(!output.stderr.contains("panicked"), "{arguments:?}: {output}");
        let code = if arguments[0] == "status" { "exit 1" } else { "exit 0" };
        assert!(output.stderr.contains(code), "{arguments:?}: {output}");
    }
    let output = world.flambeau_in_shell("{ sleep 0.2; \"$@\"; echo $? >code; } 2>&1 | true", &["status"]);
    assert!(output.stderr.is_empty(), "{output}");
    assert_eq!(world.read("code").trim(), "1");
}
