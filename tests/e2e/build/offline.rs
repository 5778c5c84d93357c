//! What is gone is made again from what is left, without a network.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::world::{World, hints, text};

fn same_environment(again: &Value, first: &Value) {
    for member in ["key", "path", "tree_digest", "packages"] {
        assert_eq!(again[member], first[member], "{member}");
    }
    assert_eq!(again["downloaded_bytes"], 0);
}

/// `(digest, file name)` of every wheel in the cache.
fn cached_wheels(cache: &Path) -> Vec<(String, String)> {
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder of the cache").flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    };
    let wheels = cache.join("wheels");
    let mut found: Vec<_> = names(&wheels)
        .into_iter()
        .flat_map(|digest| {
            names(&wheels.join(&digest))
                .into_iter()
                .map(move |file| (digest.clone(), file))
        })
        .collect();
    found.sort();
    found
}

#[test]
fn environment_then_trees_then_wheels_are_gone() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let first = world.build(&["--backend", "cuda"]);
    let wheels = cached_wheels(&world.cache());
    assert_eq!(wheels.len(), 25);
    world.server().clear_log();

    world.delete(&world.store().join("envs"));
    let trees = fs::read_dir(world.store().join("wheels")).expect("a shelf").count();
    let again = world.build(&["--offline"]);
    same_environment(&again, &first);
    assert_eq!(again["reused"], false);
    assert_eq!(world.python_says("import torch; print(torch.answer())"), "118");
    assert_eq!(
        fs::read_dir(world.store().join("wheels")).expect("a shelf").count(),
        trees
    );

    world.delete(&world.store().join("envs"));
    world.delete(&world.store().join("wheels"));
    let again = world.build(&["--offline"]);
    same_environment(&again, &first);
    assert_eq!(world.python_says("import torch; print(torch.answer())"), "118");

    world.delete(&world.store().join("envs"));
    world.delete(&world.store().join("wheels"));
    world.delete(&world.cache().join("wheels"));
    let error = world.flambeau_error(4, &["build", "--offline"]);
    assert_eq!(error["kind"], "network");
    let said = hints(&error);
    for (digest, file) in &wheels {
        assert!(said.contains(file) && said.contains(digest), "{file} {digest}:\n{said}");
    }
    assert!(said.contains("flambeau fetch"), "{said}");
    world.server().assert_no_requests();
    for shelf in ["envs", "wheels", "tmp"] {
        let left = fs::read_dir(world.store().join(shelf)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{shelf}");
    }

    // With a network it heals.
    let again = world.build(&[]);
    assert_eq!(
        (&again["key"], &again["tree_digest"]),
        (&first["key"], &first["tree_digest"])
    );
    assert_eq!(cached_wheels(&world.cache()), wheels);
}

#[test]
fn one_missing_wheel_is_named_alone_and_the_active_environment_stays() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.build(&["--backend", "cpu"]);
    world.flambeau_json("fetch", &["--backend", "rocm"]);
    let (digest, file) = cached_wheels(&world.cache())
        .into_iter()
        .find(|(_, file)| file.starts_with("pytorch_triton_rocm-"))
        .expect("ROCm needs it");
    world.delete(&world.cache().join("wheels").join(&digest));
    world.server().clear_log();
    let error = world.flambeau_error(4, &["build", "--backend", "rocm", "--offline"]);
    let said = hints(&error);
    let missing: Vec<_> = said.lines().filter(|line| line.contains(".whl")).collect();
    assert_eq!(missing.len(), 1, "{said}");
    assert!(missing[0].contains(&file) && missing[0].contains(&digest), "{said}");
    world.server().assert_no_requests();
    assert_eq!(world.state()["InstalledBackend"], "CPU");
    assert_eq!(text(&world.flambeau_json("status", &[]), "backend"), "CPU");
    assert_eq!(world.python_says("import torch; print(torch.answer())"), "0");
}
