//! `generations --delete`: Nix's selections, planned and executed.

use serde_json::Value;

use super::going_back::{is_active, numbers, three};
use crate::support::world::{World, hints, text, tree_snapshot};

/// Lets a generation have been made so many days ago.
fn age(world: &World, number: u64, days: i64) {
    let path = format!(".flambeau/generations/{number}.json");
    let mut record: Value = serde_json::from_str(&world.read(&path)).expect("a record");
    let time = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
    record["created"] = time.to_string().into();
    record["again"] = Value::Null;
    world.write(&path, record.to_string());
}

fn deleted(document: &Value) -> Vec<u64> {
    let rows = document["deleted"].as_array().expect("a list");
    rows.iter().filter_map(|row| row["number"].as_u64()).collect()
}

#[test]
fn a_plan_deletes_nothing_and_the_real_run_deletes_just_that() {
    let Some((world, built)) = three() else { return };
    for (number, days) in [(1, 90), (2, 60), (3, 45)] {
        age(&world, number, days);
    }
    world.flambeau_json("activate", &["cuda"]);
    world.flambeau_json("activate", &["rocm"]);
    for (words, goes) in [
        (&["30d"][..], vec![1, 2]),
        (&["50d"], vec![1]),
        (&["100d"], vec![]),
        (&["+5"], vec![]),
        (&["+2"], vec![1, 2, 3]),
        (&["old"], vec![1, 2, 3, 4]),
        (&["1", "4"], vec![1, 4]),
    ] {
        let before = tree_snapshot(&world.project());
        let arguments = [&["--dry-run", "--delete"], words].concat();
        let document = world.flambeau_json("generations", &arguments);
        assert_eq!(
            (deleted(&document), &document["dry_run"]),
            (goes, &true.into()),
            "{words:?}"
        );
        before.assert_same(&tree_snapshot(&world.project()));
    }
    let said = world.flambeau(&["generations", "--delete", "30d", "--dry-run"]).ok();
    assert!(said.stdout.starts_with("would delete\n"), "{said}");
    let stored = tree_snapshot(&world.store());
    let document = world.flambeau_json("generations", &["--delete", "30d"]);
    assert_eq!((deleted(&document), &document["dry_run"]), (vec![1, 2], &false.into()));
    assert_eq!(numbers(&world), [3, 4, 5]);
    // What is in the store is the collection's business.
    stored.assert_same(&tree_snapshot(&world.store()));
    is_active(&world, &built[1]);
    world.flambeau_error(1, &["rollback", "--to", "1"]);
    // Going back to the older one and forgetting all others.
    world.flambeau_json("rollback", &["--to", "3"]);
    assert_eq!(
        deleted(&world.flambeau_json("generations", &["--delete", "old"])),
        [4, 5]
    );
    assert_eq!(numbers(&world), [3]);
    assert_eq!(
        deleted(&world.flambeau_json("generations", &["--delete", "old"])),
        Vec::<u64>::new()
    );
    is_active(&world, &built[2]);
    world.flambeau_json("status", &[]);
}

#[test]
fn the_current_one_is_never_deleted() {
    let Some((world, built)) = three() else { return };
    let before = tree_snapshot(&world.project());
    let error = world.flambeau_error(1, &["generations", "--delete", "1", "3"]);
    assert!(
        text(&error, "message").contains("generation 3 is the current one"),
        "{error:#}"
    );
    let error = world.flambeau_error(1, &["generations", "--delete", "1", "9"]);
    assert!(
        text(&error, "message").contains("there is no generation 9"),
        "{error:#}"
    );
    for wrong in [&["+0"][..], &["new"], &["1", "old"], &["30h"]] {
        let error = world.flambeau_error(2, &[&["generations", "--delete"], wrong].concat());
        assert!(!hints(&error).is_empty(), "{error:#}");
    }
    world.flambeau_error(2, &["generations", "--dry-run"]);
    world.flambeau_error(2, &["generations", "--delete"]);
    before.assert_same(&tree_snapshot(&world.project()));
    // Not even where somebody removed the link.
    std::fs::remove_file(world.project().join(".venv")).expect("a link");
    assert_eq!(
        deleted(&world.flambeau_json("generations", &["--delete", "old"])),
        [1, 2]
    );
    world.flambeau_json("rollback", &["--to", "3"]);
    is_active(&world, &built[2]);
}
