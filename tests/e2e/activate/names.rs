//! What can be activated: a backend, a channel, a key's beginning, a generation's number, what the configuration says.

use std::fs;

use serde_json::Value;

use crate::support::world::{World, hints, text, tree_snapshot};

/// CUDA (generation 1), ROCm (2), CPU (3).
fn three() -> Option<(World, [Value; 3])> {
    let world = World::new();
    world.any_python()?;
    let built = ["cuda", "rocm", "cpu"].map(|backend| world.build(&["--backend", backend]));
    Some((world, built))
}

fn generations(world: &World) -> usize {
    let folder = world.project().join(".flambeau/generations");
    fs::read_dir(folder).expect("the profile").count()
}

#[track_caller]
fn is_active(world: &World, wanted: &Value) {
    assert_eq!(world.active().to_str(), wanted["path"].as_str());
    let state = world.state();
    assert_eq!(state["EnvironmentKey"], wanted["key"]);
    assert_eq!(state["InstalledBackend"], wanted["backend"]);
    assert_eq!(
        world.read(".venv/environment_state.json"),
        world.read("environment_state.json")
    );
}

#[test]
fn every_way_to_name_an_environment() {
    let Some((world, built)) = three() else { return };
    world.server().clear_log();
    let before = tree_snapshot(&world.store().join("envs"));
    let [cuda, rocm, cpu] = &built;
    let prefix = |document: &Value| text(document, "key")[..12].to_owned();
    for (name, wanted) in [
        ("cuda".to_owned(), cuda),
        ("CPU".to_owned(), cpu),
        ("RoCm".to_owned(), rocm),
        ("cu118".to_owned(), cuda),
        ("rocm6.3".to_owned(), rocm),
        ("3".to_owned(), cpu),
        ("1".to_owned(), cuda),
        (prefix(rocm), rocm),
        (prefix(cpu).to_uppercase(), cpu),
        (text(cuda, "key").to_owned(), cuda),
    ] {
        let document = world.flambeau_json("activate", &[&name]);
        for member in ["key", "path", "backend", "channel", "target", "python", "packages"] {
            assert_eq!(document[member], wanted[member], "{name} {member}");
        }
        assert_eq!(
            (&document["activated"], &document["reused"]),
            (&true.into(), &true.into())
        );
        assert!(
            document["elapsed_ms"].is_u64() && document["downloaded_bytes"] == 0,
            "{document:#}"
        );
        is_active(&world, wanted);
        let status = world.flambeau_json("status", &[]);
        assert_eq!(
            (&status["generation"], &status["key"]),
            (&document["generation"], &wanted["key"])
        );
    }
    assert_eq!(world.python_says("import torch; print(torch.answer())"), "118");
    world.server().assert_no_requests();
    before.assert_same(&tree_snapshot(&world.store().join("envs")));
}

#[test]
fn what_is_active_already_adds_no_generation() {
    let Some((world, built)) = three() else { return };
    assert_eq!(generations(&world), 3);
    for name in ["cpu", "3", text(&built[2], "key")] {
        let document = world.flambeau_json("activate", &[name]);
        assert_eq!(document["generation"], 3, "{name}");
    }
    assert_eq!(world.build(&["--backend", "cpu"])["generation"], 3);
    assert_eq!(generations(&world), 3);
    // A number goes back to that generation; a name makes a new one.
    assert_eq!(world.flambeau_json("activate", &["1"])["generation"], 1);
    assert_eq!(generations(&world), 3);
    assert_eq!(world.flambeau_json("activate", &["rocm"])["generation"], 4);
    assert_eq!(generations(&world), 4);
    is_active(&world, &built[1]);
}

#[test]
fn without_a_name_it_is_what_the_configuration_asks_for() {
    let Some((world, built)) = three() else { return };
    for (value, wanted) in [("CUDA", &built[0]), ("ROCm", &built[1]), ("CPU", &built[2])] {
        world.write(
            "appsettings.json",
            format!("{{\"Upscaler\": {{\"PreferredGpuBackend\": \"{value}\"}}}}"),
        );
        world.flambeau_json("activate", &[]);
        is_active(&world, wanted);
    }
    // Locked, but not built.
    world.flambeau_json("lock", &["--channel", "pip"]);
    world.write("pyproject.toml", "[tool.flambeau]\nchannel = 'pip'\n");
    world.write("appsettings.json", "{}");
    world.server().clear_log();
    let error = world.flambeau_error(1, &["activate"]);
    assert!(hints(&error).contains("flambeau build"), "{error:#}");
    is_active(&world, &built[2]);
    world.server().assert_no_requests();
}

#[test]
fn what_fits_nothing_is_refused_and_changes_nothing() {
    let Some((world, built)) = three() else { return };
    let twin = text(&built[0], "key")[..12].to_owned();
    let other = format!("{twin}{}-torch-2.7.0-cu118-00000000", "0".repeat(28));
    fs::create_dir(world.store().join("envs").join(other)).expect("the name is free");
    let before = tree_snapshot(&world.project());
    for (name, said) in [
        ("nonsense", "nonsense"),
        ("cu126", "cu126"),
        ("pip", "pip"),
        ("deadbeef0000", "deadbeef0000"),
        ("99", "99"),
        ("0", "0"),
        ("auto", "auto"),
        ("../../etc", "../../etc"),
        ("", ""),
        (twin.as_str(), "2 keys"),
    ] {
        let error = world.flambeau_error(1, &["activate", name]);
        assert_eq!(error["kind"], "user");
        assert!(text(&error, "message").contains(said), "{error:#}");
        assert!(!hints(&error).is_empty(), "{error:#}");
    }
    before.assert_same(&tree_snapshot(&world.project()));
    // One digit more tells them apart, where they differ there; the whole key always does.
    world.flambeau_json("activate", &[text(&built[0], "key")]);
    is_active(&world, &built[0]);
}

#[test]
fn nothing_built_and_generations_whose_environment_is_gone() {
    let world = World::new();
    world.flambeau_error(1, &["activate", "cuda"]);
    world.flambeau_error(1, &["activate", "1"]);
    assert!(!world.has(".venv") && !world.has("environment_state.json"));

    let Some((world, built)) = three() else { return };
    world.delete(text(&built[0], "path").as_ref());
    let error = world.flambeau_error(1, &["activate", "1"]);
    assert!(text(&error, "message").contains("generation 1 is gone"), "{error:#}");
    world.flambeau_error(1, &["activate", "cuda"]);
    is_active(&world, &built[2]);
}
