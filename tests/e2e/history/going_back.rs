//! `rollback` and `generations`: which one, what is said of each, and what is refused.

use serde_json::Value;

use crate::steps::shelf;
use crate::support::world::{World, hints, text, tree_snapshot};

/// A world with three environments, generations 1 to 3 of the project.
pub(super) fn three() -> Option<(World, [Value; 3])> {
    let world = World::new();
    world.any_python()?;
    let built = ["cuda", "rocm", "cpu"].map(|backend| world.build(&["--backend", backend]));
    Some((world, built))
}

pub(super) fn numbers(world: &World) -> Vec<u64> {
    let document = world.flambeau_json("generations", &[]);
    let rows = document["generations"].as_array().expect("a list");
    rows.iter().filter_map(|row| row["number"].as_u64()).collect()
}

#[track_caller]
pub(super) fn is_active(world: &World, built: &Value) {
    assert_eq!(world.active().to_str(), built["path"].as_str());
    assert_eq!(world.state()["EnvironmentKey"], built["key"]);
}

#[test]
fn it_goes_to_the_newest_older_generation_and_to_a_given_one() {
    let Some((world, built)) = three() else { return };
    world.server().clear_log();
    let objects = || [shelf(&world, "envs"), shelf(&world, "wheels")];
    let before = objects();
    let [cuda, rocm, cpu] = &built;
    for (arguments, number, wanted) in [
        (&[][..], 2, rocm),
        (&[], 1, cuda),
        (&["--to", "3"], 3, cpu),
        (&["--to", "1"], 1, cuda),
        (&["--to", "1"], 1, cuda),
        (&["--to", "3"], 3, cpu),
    ] {
        let document = world.flambeau_json("rollback", arguments);
        assert_eq!(document["generation"], number, "{arguments:?}");
        for member in ["key", "path", "backend", "channel", "target", "python", "packages"] {
            assert_eq!(document[member], wanted[member], "{arguments:?} {member}");
        }
        is_active(&world, wanted);
    }
    assert_eq!(numbers(&world), [1, 2, 3]);
    world.server().assert_no_requests();
    // Only when it was active last is noted in the store.
    for (before, after) in before.iter().zip(&objects()) {
        before.assert_same(after);
    }
    assert_eq!(world.python_says("import torch; print(torch.answer())"), "0");
}

#[test]
fn f42_what_cannot_be_gone_back_to_is_said_and_changes_nothing() {
    let empty = World::new();
    let error = empty.flambeau_error(1, &["rollback"]);
    assert!(
        text(&error, "message").contains("no environment is active"),
        "{error:#}"
    );
    empty.flambeau_error(1, &["rollback", "--to", "1"]);
    assert!(!empty.has(".flambeau"));

    let Some((world, built)) = three() else { return };
    world.delete(text(&built[1], "path").as_ref());
    let before = tree_snapshot(&world.project());
    // Its environment was deleted by hand.
    for arguments in [&["rollback"][..], &["rollback", "--to", "2"], &["activate", "2"]] {
        let error = world.flambeau_error(1, arguments);
        let message = text(&error, "message");
        assert!(message.contains("the environment of generation 2 is gone"), "{error:#}");
        assert!(message.contains(text(&built[1], "path")), "{error:#}");
        assert!(hints(&error).contains("--to"), "{error:#}");
    }
    // A number that was never given away.
    for number in ["0", "4", "99"] {
        let error = world.flambeau_error(1, &["rollback", "--to", number]);
        assert!(
            text(&error, "message").contains(&format!("there is no generation {number}")),
            "{error:#}"
        );
    }
    world.flambeau_error(2, &["rollback", "--to", "x"]);
    before.assert_same(&tree_snapshot(&world.project()));
    is_active(&world, &built[2]);
    // None is older.
    world.flambeau_json("rollback", &["--to", "1"]);
    let before = tree_snapshot(&world.project());
    let error = world.flambeau_error(1, &["rollback"]);
    assert!(
        text(&error, "message").contains("no generation older than the current one (1)"),
        "{error:#}"
    );
    assert!(hints(&error).contains("flambeau generations"), "{error:#}");
    before.assert_same(&tree_snapshot(&world.project()));
    is_active(&world, &built[0]);
    let listed = world.flambeau(&["generations"]).ok();
    assert!(listed.stdout.contains("not built any more"), "{listed}");
}

#[test]
fn each_generation_says_when_who_why_and_what() {
    let Some((world, built)) = three() else { return };
    world.flambeau_json("rollback", &["--to", "1"]);
    world.write("appsettings.json", r#"{"Upscaler": {"PreferredGpuBackend": "ROCm"}}"#);
    world.build(&[]);
    world.flambeau_json("activate", &["cpu"]);
    let document = world.flambeau_json("generations", &[]);
    assert_eq!(document["current"], 5);
    let rows = document["generations"].as_array().expect("a list");
    let expected = [
        (&built[0], "flag"),
        (&built[1], "flag"),
        (&built[2], "flag"),
        (&built[1], "config"),
        (&built[2], "activate"),
    ];
    assert_eq!(rows.len(), expected.len(), "{document:#}");
    for ((number, row), (built, from)) in (1..).zip(rows).zip(expected) {
        assert_eq!(
            (&row["number"], &row["from"]),
            (&number.into(), &from.into()),
            "{row:#}"
        );
        for member in ["key", "path", "backend", "channel"] {
            assert_eq!(row[member], built[member], "{number} {member}");
        }
        assert_eq!(row["current"], number == 5);
        assert_eq!(row["built"], true);
        assert!(
            !text(row, "user").is_empty() && text(row, "created").ends_with('Z'),
            "{row:#}"
        );
        assert_eq!(text(row, "lockfile_digest").len(), 64);
    }
    assert_eq!(rows[0]["again"]["cause"], "rollback");
    assert!(rows[1]["again"].is_null());
    let listed = world.flambeau(&["generations"]).ok();
    let marked: Vec<&str> = listed.stdout.lines().filter(|line| line.starts_with('*')).collect();
    assert!(marked.len() == 1 && marked[0].starts_with("*   5"), "{listed}");
    let status = world.flambeau_json("status", &[]);
    assert_eq!((&status["generation"], &status["history"][4]), (&5.into(), &rows[4]));
    assert!(world.flambeau(&["status"]).ok().stdout.contains("(activate)"));
}

#[test]
fn a_switch_says_which_packages_change_and_how_much_room() {
    let Some((world, built)) = three() else { return };
    let output = world.flambeau(&["rollback"]).ok();
    let line = "torch 2.7.0+cpu → 2.7.0+rocm6.3";
    assert!(output.stderr.contains(line), "{output}");
    assert!(output.stderr.contains("added:   pytorch-triton-rocm 3.3.0"), "{output}");
    assert!(!output.stdout.contains('→'), "{output}");
    let document = world.flambeau_json("activate", &["cpu"]);
    let changes = document["changes"].as_array().expect("a list");
    let change = |name: &str| changes.iter().find(|change| change["name"] == name).expect(name);
    assert_eq!(
        (&change("torch")["from"], &change("torch")["to"]),
        (&"2.7.0+rocm6.3".into(), &"2.7.0+cpu".into())
    );
    assert!(change("pytorch-triton-rocm")["to"].is_null());
    let size = |built: &Value| {
        let listed = world.flambeau_json("list", &[]);
        let rows = listed["environments"].as_array().expect("a list").clone();
        let row = rows
            .iter()
            .find(|row| row["key"] == built["key"])
            .expect("listed")
            .clone();
        row["size_bytes"].as_i64().expect("a size")
    };
    assert_eq!(document["size_change_bytes"], size(&built[2]) - size(&built[1]));
    // Nothing to say where nothing changes, nor about the first.
    let again = world.flambeau_json("activate", &["cpu"]);
    assert_eq!(
        (&again["changes"], &again["size_change_bytes"]),
        (&Value::Array(vec![]), &Value::Null)
    );
    assert_eq!(built[0]["changes"], Value::Array(vec![]));
    assert_eq!(built[1]["changes"].as_array().map(Vec::is_empty), Some(false));
    let output = world.flambeau(&["run", "--backend", "cuda", "--", "true"]).ok();
    assert!(output.stderr.contains("torch 2.7.0+cpu → 2.7.0+cu118"), "{output}");
}
