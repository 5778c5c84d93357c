//! `doctor`: a line for everything that a build needs.

use serde_json::Value;

use crate::steps::names;
use crate::support::world::World;

fn check<'a>(document: &'a Value, name: &str) -> &'a Value {
    let checks = document["checks"].as_array().expect("a list");
    checks.iter().find(|check| check["name"] == name).expect("the check")
}

#[test]
fn a_well_machine_is_told_so_and_nothing_is_made() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let output = world.flambeau(&["doctor", "--channel", "cpu", "--json"]).ok();
    let document = output.json();
    assert_eq!(document["schema"], 1);
    for name in [
        "gpu",
        "interpreter",
        "channel",
        "index",
        "disk",
        "store",
        "cache",
        "environment",
    ] {
        assert_ne!(check(&document, name)["status"], "fail", "{name}: {output}");
    }
    assert!(document["detection"]["probes"].is_array(), "{output}");
    assert!(names(&world.store()).is_empty(), "doctor only looks");
    let text = world.flambeau(&["doctor", "--channel", "cpu"]).ok();
    assert!(text.stdout.contains("interpreter"), "{text}");
}

#[test]
fn offline_asks_no_index() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let output = world.flambeau(&["doctor", "--offline", "--json"]).ok();
    assert!(
        check(&output.json(), "index")["message"]
            .to_string()
            .contains("not asked"),
        "{output}"
    );
    world.server().assert_no_requests();
}

#[test]
fn an_index_that_does_not_answer_is_a_failure_with_a_remedy() {
    let mut world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.set("FLAMBEAU_PYTORCH_MIRROR", "http://127.0.0.1:1/whl");
    let output = world.flambeau(&["doctor", "--channel", "cpu", "--json"]).fails(1);
    let document = output.json();
    assert_eq!(document["status"], "fail");
    let failed: Vec<&Value> = document["checks"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|check| check["status"] == "fail")
        .collect();
    assert_eq!(failed.len(), 1, "{output}");
    assert_eq!(failed[0]["name"], "channel", "{output}");
    assert!(
        failed[0]["remedy"].as_str().is_some_and(|text| !text.is_empty()),
        "{output}"
    );
}

#[test]
fn the_active_torch_computes_and_a_broken_one_fails() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version, "torch==2.7.0"])
        .ok();
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    let output = world.flambeau(&["doctor", "--json"]).ok();
    let torch = check(&output.json(), "torch").clone();
    assert_eq!(torch["status"], "ok", "{output}");
    assert!(torch["message"].to_string().contains("2.7.0+cpu"), "{output}");
    // The environment is deleted by hand.
    let active = std::fs::read_link(world.project().join(".venv")).expect("a link");
    std::fs::rename(&active, active.with_extension("gone")).expect("moved");
    let output = world.flambeau(&["doctor", "--json"]).fails(1);
    assert_eq!(check(&output.json(), "environment")["status"], "fail", "{output}");
}
