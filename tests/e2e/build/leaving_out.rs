//! Builds that leave something out: bytecode, or the wheels once they are unpacked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::world::{World, text};

/// Names of all files below a folder that end so. Links are followed, as Python follows them; one that leads nowhere is
/// no file.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) && path.exists() {
            found.push(path);
        }
    }
    found
}

/// Bytecode of packages; flambeau's own modules are compiled always.
fn bytecode(environment: &Value) -> Vec<PathBuf> {
    let mut found = files(&Path::new(text(environment, "path")).join("lib"), ".pyc");
    found.retain(|path| {
        !["_flambeau", "/site-packages/pip/"]
            .iter()
            .any(|own| path.to_string_lossy().contains(own))
    });
    found
}

#[test]
fn an_environment_is_complete_without_bytecode_and_gets_it_later() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let plain = world.build(&["--backend", "cuda", "--no-compile-bytecode"]);
    assert_eq!(bytecode(&plain), Vec::<PathBuf>::new());
    assert_eq!(
        world.python_says("import torch, torchvision; print(torch.__version__)"),
        "2.7.0+cu118"
    );
    assert_eq!(bytecode(&plain), Vec::<PathBuf>::new(), "Python wrote into the store");
    // Whoever copies or packs a package follows its links.
    let site = super::reproducible::site_packages(Path::new(text(&plain, "path")));
    assert!(site.join("torch/__pycache__").is_dir() && site.join("torch/nn/__pycache__").is_dir());
    world.flambeau(&["verify"]).ok();
    let again = world.build(&["--backend", "cuda", "--no-compile-bytecode"]);
    assert_eq!((&again["reused"], &again["path"]), (&Value::Bool(true), &plain["path"]));

    // The default adds it to the environment that is there; nothing is fetched, unpacked or composed again.
    world.server().clear_log();
    world.delete(&world.cache().join("wheels"));
    let compiled = world.build(&["--backend", "cuda"]);
    world.server().assert_no_requests();
    for member in ["key", "tree_digest", "path"] {
        assert_eq!(compiled[member], plain[member], "{member}");
    }
    assert_eq!(compiled["reused"], true);
    assert!(!bytecode(&compiled).is_empty());
    world.flambeau(&["verify", "--all"]).ok();
    // Which modules are compiled makes no difference between two builds.
    world.write("pyproject.toml", "[tool.flambeau]\ncompile-bytecode = false\n");
    world.flambeau(&["build", "--backend", "cuda", "--rebuild"]).ok();

    // One with bytecode serves as well.
    let reused = world.build(&["--backend", "cuda", "--no-compile-bytecode"]);
    assert_eq!(
        (&reused["reused"], &reused["path"]),
        (&Value::Bool(true), &compiled["path"])
    );
}

#[test]
fn a_project_may_do_without_bytecode_and_damage_is_mended_without_it() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.write("pyproject.toml", "[tool.flambeau]\ncompile-bytecode = false\n");
    let plain = world.build(&["--backend", "cpu"]);
    assert_eq!(bytecode(&plain), Vec::<PathBuf>::new());
    let source = files(&world.store().join("wheels"), "torch/__init__.py").remove(0);
    let folder = source.parent().expect("a folder").to_owned();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("our folder");
    fs::remove_file(&source).expect("our file");
    world.flambeau(&["verify"]).fails(3);
    world.flambeau(&["verify", "--repair"]).ok();
    assert!(folder.join("__init__.py").exists());
    assert!(!folder.join("__pycache__").exists());
    world.flambeau(&["verify", "--all"]).ok();
    let status = world.flambeau_json("status", &[]);
    assert_eq!(text(&status, "key"), text(&plain, "key"));
}

#[test]
fn wheels_that_are_not_kept_are_gone_after_the_build_and_the_environment_is_whole() {
    for (flags, settings) in [
        (&["--backend", "cuda", "--no-keep-wheels"][..], ""),
        (&["--backend", "cuda"], "keep-wheels = false\n"),
    ] {
        let world = World::new();
        if world.any_python().is_none() {
            return;
        }
        world.write("pyproject.toml", format!("[tool.flambeau]\n{settings}"));
        let built = world.build(flags);
        assert_eq!(files(&world.cache(), ".whl"), Vec::<PathBuf>::new(), "{flags:?}");
        assert_eq!(files(&world.cache(), ".part"), Vec::<PathBuf>::new(), "{flags:?}");
        world.flambeau(&["verify", "--all"]).ok();
        // Trees are what environments are made of; no wheel is missed.
        world.delete(Path::new(text(&built, "path")));
        world.server().clear_log();
        let again = world.build(flags);
        world.server().assert_no_requests();
        assert_eq!(again["tree_digest"], built["tree_digest"]);
    }
}
