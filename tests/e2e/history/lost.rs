//! F43 and F03: records that a crash, or somebody, emptied, garbled or took from a newer flambeau; and a process that
//! dies while it flips.

use std::fs;
use std::path::PathBuf;

use super::going_back::{is_active, numbers, three};
use crate::support::world::{World, hints, text, tree_snapshot};

fn record(world: &World, number: u64) -> PathBuf {
    world.project().join(format!(".flambeau/generations/{number}.json"))
}

#[test]
fn f43_a_record_that_is_lost_is_told_again_from_its_link() {
    let Some((world, built)) = three() else { return };
    for garbage in [&b""[..], b"{", b"null", b"{\"schema\": 1}", b"\xff\0\xff", b"[1,2]"] {
        for number in [1, 2, 3] {
            fs::write(record(&world, number), garbage).expect("written");
        }
        fs::write(world.project().join(".flambeau/current"), garbage).expect("written");
        let status = world.flambeau_json("status", &[]);
        assert_eq!((&status["generation"], &status["key"]), (&3.into(), &built[2]["key"]));
        let listed = world.flambeau_json("generations", &[]);
        for (row, built) in listed["generations"].as_array().expect("a list").iter().zip(&built) {
            assert_eq!(row["from"], "recovered");
            for member in ["key", "path", "backend", "channel"] {
                assert_eq!(row[member], built[member], "{member}");
            }
        }
        assert_eq!(numbers(&world), [1, 2, 3]);
    }
    assert_eq!(world.flambeau_json("rollback", &[])["generation"], 2);
    is_active(&world, &built[1]);
    // The links are lost as well: then the records tell, and without both there is no such number.
    fs::remove_dir_all(world.project().join(".flambeau/links")).expect("removed");
    assert_eq!(world.flambeau_json("rollback", &["--to", "2"])["generation"], 2);
    world.flambeau_error(1, &["rollback", "--to", "3"]);
    is_active(&world, &built[1]);
}

/// `.flambeau/current` spares a listing, and is believed no further than the history bears it out.
#[test]
fn f43_numbers_go_on_where_the_history_ends_whatever_was_noted() {
    let Some((world, built)) = three() else { return };
    let mut next = 4;
    for noted in [
        "1 1\n",
        "3 18446744073709551615\n",
        "3 999999\n",
        "3\n",
        "999 2\n",
        "x y\n",
    ] {
        fs::write(world.project().join(".flambeau/current"), noted).expect("written");
        for key in [text(&built[0], "key"), text(&built[1], "key")] {
            assert_eq!(world.flambeau_json("activate", &[key])["generation"], next, "{noted:?}");
            next += 1;
        }
        assert_eq!(
            world.flambeau_json("rollback", &[])["generation"],
            next - 2,
            "{noted:?}"
        );
        is_active(&world, &built[0]);
        world.flambeau(&["activate", text(&built[2], "key")]).ok();
        next += 1;
    }
    assert_eq!(numbers(&world), (1..next).collect::<Vec<_>>());
}

#[test]
fn f43_a_lost_history_loses_no_environment() {
    let Some((world, built)) = three() else { return };
    fs::remove_dir_all(world.project().join(".flambeau")).expect("removed");
    let status = world.flambeau_json("status", &[]);
    assert_eq!((&status["key"], &status["generation"]), (&built[2]["key"], &().into()));
    // What was active gets a number of its own, so that it can be gone back to.
    assert_eq!(
        world.flambeau_json("activate", &[text(&built[0], "key")])["generation"],
        2
    );
    let rows = world.flambeau_json("generations", &[]);
    assert_eq!(
        (&rows["generations"][0]["key"], &rows["generations"][0]["from"]),
        (&built[2]["key"], &"recovered".into())
    );
    assert_eq!(world.flambeau_json("rollback", &[])["key"], built[2]["key"]);
    is_active(&world, &built[2]);
}

#[test]
fn f43_a_record_of_a_newer_flambeau_is_refused_by_its_version() {
    let Some((world, built)) = three() else { return };
    fs::write(
        record(&world, 2),
        r#"{"schema": 7, "number": 2, "what": ["is", "this"]}"#,
    )
    .expect("written");
    let before = tree_snapshot(&world.project());
    for arguments in [
        &["rollback"][..],
        &["rollback", "--to", "2"],
        &["activate", "2"],
        &["generations"],
        &["generations", "--delete", "old"],
    ] {
        let error = world.flambeau_error(1, arguments);
        assert!(
            text(&error, "message").contains("2.json has schema 7; this flambeau understands 1"),
            "{error:#}"
        );
        assert!(hints(&error).contains("newer flambeau"), "{error:#}");
    }
    before.assert_same(&tree_snapshot(&world.project()));
    is_active(&world, &built[2]);
    // What does not need that record works on.
    world.flambeau(&["run", "--", "true"]).ok();
    assert_eq!(world.flambeau_json("rollback", &["--to", "1"])["generation"], 1);
}

#[test]
fn f43_a_state_that_is_damaged_is_said_to_be_and_made_again() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some((world, built)) = three() else { return };
    let state = world.active().join("environment_state.json");
    let whole = fs::read(&state).expect("a state");
    for garbage in [&whole[..40], b"", b"{}"] {
        for path in [&world.active(), &state] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
        }
        fs::write(&state, garbage).expect("written");
        let error = world.flambeau_error(3, &["status"]);
        assert!(
            text(&error, "message").contains("environment_state.json is damaged"),
            "{error:#}"
        );
        // The link is as it was, and the program runs on.
        assert_eq!(world.python_says("import torch; print(torch.answer())"), "0");
        let again = world.build(&["--offline"]);
        assert_eq!(
            (&again["key"], &again["tree_digest"], &again["generation"]),
            (&built[2]["key"], &built[2]["tree_digest"], &3.into())
        );
        is_active(&world, &built[2]);
    }
}

/// Every moment of an activation at which the process may die.
const MOMENTS: [&str; 4] = [
    "profile.recorded",
    "profile.state_linked",
    "profile.noted",
    "profile.flipped",
];

#[test]
fn f03_a_process_that_dies_while_it_flips_leaves_the_old_or_the_new() {
    let Some((mut world, built)) = three() else { return };
    let [cuda, rocm, cpu] = &built;
    for moment in MOMENTS {
        for arguments in [
            &["activate", "rocm"][..],
            &["rollback", "--to", "1"],
            &["build", "--backend", "cuda"],
        ] {
            world.flambeau_json("activate", &["cpu"]);
            world.set("FLAMBEAU_CHECKPOINT", format!("{moment}=kill"));
            let output = world.flambeau(arguments);
            let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
            assert_eq!(signal, Some(9), "{moment} {arguments:?}: {output}");
            world.unset("FLAMBEAU_CHECKPOINT");
            let new = if arguments.contains(&"rocm") { rocm } else { cuda };
            // The state file moves with the link, whenever that was.
            is_active(&world, if moment == "profile.flipped" { new } else { cpu });
            let status = world.flambeau_json("status", &[]);
            assert_eq!(world.active().to_str(), status["path"].as_str());
            let number = status["generation"].as_u64().expect("a generation");
            let rows = world.flambeau_json("generations", &[]);
            let row = rows["generations"]
                .as_array()
                .expect("a list")
                .iter()
                .find(|row| row["number"] == number);
            assert_eq!(
                row.expect("it is there")["path"],
                status["path"],
                "{moment} {arguments:?}"
            );
            // The next one goes through without help.
            world.flambeau_json(arguments[0], &arguments[1..]);
            is_active(&world, new);
        }
    }
    let debris: Vec<_> = fs::read_dir(world.project())
        .expect("the project")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(".flambeau-"))
        .collect();
    assert_eq!(debris, Vec::<String>::new());
}
