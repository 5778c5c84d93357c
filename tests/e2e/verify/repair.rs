//! `verify --repair`: what is damaged is made again, offline first, and never missing meanwhile.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use super::{WAYS, assert_told, built, damage, damaged, file, inside, tree, wheel};
use crate::steps::names;
use crate::support::world::{World, tree_snapshot};

/// Damages a file in every way; each is told, mended without a network, and gone.
#[track_caller]
fn every_way(world: &World, path: &Path, scope: &[&str]) {
    for (way, kind) in WAYS {
        let before = ["envs", "wheels", "bytecode"].map(|shelf| tree_snapshot(&world.store().join(shelf)));
        let told = damage(path, way);
        assert_told(&damaged(world, scope), &told, kind);
        let repaired = world.flambeau_json("verify", &[scope, &["--repair", "--offline"]].concat());
        assert_eq!(assert_told(&repaired, &told, kind)["repaired"], true);
        world.flambeau_json("verify", scope);
        for (before, shelf) in before.iter().zip(["envs", "wheels", "bytecode"]) {
            before.assert_same(&tree_snapshot(&world.store().join(shelf)));
        }
        assert!(names(&world.store().join("tmp")).is_empty());
    }
    assert_eq!(
        world.python_says("import torch, torchvision; print(torch.answer())"),
        "0"
    );
}

#[test]
fn f20_a_module_of_a_tree() {
    let Some(world) = built() else { return };
    every_way(&world, &file(&tree(&world, "torch"), "torch/_tensor.py"), &[]);
}

#[test]
fn f20_a_library_that_tree_and_environment_share() {
    let Some(world) = built() else { return };
    every_way(
        &world,
        &file(&tree(&world, "torch"), "torch/lib/libtorch_fake.so"),
        &["--all"],
    );
    every_way(&world, &file(&world.active(), "torch/lib/libtorch_fake.so"), &[]);
}

#[test]
fn f20_what_flambeau_writes_itself() {
    let Some(world) = built() else { return };
    for end in ["bin/activate", "_flambeau.py", "pyvenv.cfg", "environment_state.json"] {
        every_way(&world, &file(&world.active(), end), &[]);
    }
    let torch = tree(&world, "torch");
    every_way(&world, &file(&torch, "RECORD"), &[]);
    let bytecode = world.store().join("bytecode");
    let name = names(&bytecode).into_iter().find(|name| name.contains("-torch-"));
    let object = bytecode.join(name.expect("it is compiled"));
    let tag = object
        .to_string_lossy()
        .rsplit_once("cpython-")
        .map(|(_, tag)| tag.to_owned());
    let module = format!("torch/__pycache__/_tensor.cpython-{}.pyc", tag.expect("a tag"));
    every_way(&world, &file(&object, &module), &[]);
    // Without its manifest nothing of it can be believed.
    for way in ["truncate", "remove"] {
        damage(&object.join("manifest.json"), way);
        damaged(&world, &[]);
        world.flambeau_json("verify", &["--repair", "--offline"]);
        world.flambeau_json("verify", &["--all"]);
    }
}

#[test]
fn f20_the_documents_of_a_tree() {
    let Some(world) = built() else { return };
    for end in ["facts.json", "manifest.json"] {
        for way in ["truncate", "mode", "remove", "link"] {
            let before = ["envs", "wheels"].map(|shelf| tree_snapshot(&world.store().join(shelf)));
            damage(&tree(&world, "torch").join(end), way);
            damaged(&world, &[]);
            world.flambeau_json("verify", &["--repair", "--offline"]);
            world.flambeau_json("verify", &["--all"]);
            for (before, shelf) in before.iter().zip(["envs", "wheels"]) {
                before.assert_same(&tree_snapshot(&world.store().join(shelf)));
            }
        }
    }
}

#[test]
fn f20_links_and_folders_of_an_environment() {
    let Some(world) = built() else { return };
    let links = |folder: &Path| -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(folder)
            .expect("a folder")
            .flatten()
            .map(|entry| entry.path());
        entries.filter(|path| path.is_symlink()).collect()
    };
    let site = file(&world.active(), "00-flambeau.pth")
        .parent()
        .expect("site-packages")
        .to_owned();
    let package = site.join("torch");
    let link = links(&package)
        .first()
        .expect("bytecode that only one wheel has")
        .clone();
    let target = fs::read_link(&link).expect("a link");
    for (change, kind) in [("elsewhere", "link"), ("gone", "missing"), ("folder", "replaced")] {
        inside(&package, || {
            fs::remove_file(&link).expect("it is there");
            match change {
                "elsewhere" => std::os::unix::fs::symlink("../other", &link).expect("the name is free"),
                "folder" => fs::create_dir(&link).expect("the name is free"),
                _ => {}
            }
        });
        assert_told(&damaged(&world, &["--quick"]), &link, kind);
        world.flambeau_json("verify", &["--repair", "--offline"]);
        assert_eq!(fs::read_link(&link).expect("a link"), target);
    }
    let python = world.active().join("bin/python");
    inside(&world.active().join("bin"), || {
        fs::remove_file(&python).expect("it is there");
        std::os::unix::fs::symlink("/bin/true", &python).expect("the name is free");
    });
    assert_told(&damaged(&world, &[]), &python, "link");
    world.flambeau_json("verify", &["--repair", "--offline"]);
    assert_eq!(world.python_says("import torch; print(torch.answer())"), "0");
}

#[test]
fn f20_a_cached_wheel() {
    let Some(world) = built() else { return };
    for (way, kind) in WAYS {
        let path = wheel(&world, "torch-");
        let told = damage(&path, way);
        let told = if way == "remove" {
            told.parent().expect("its folder").to_owned()
        } else {
            told
        };
        let found = damaged(&world, &["--all"]);
        assert_told(&found, &told, kind);
        // The active environment has nothing to do with it.
        world.flambeau_json("verify", &[]);
        if !["mode", "add"].contains(&way) {
            let offline = damaged(&world, &["--all", "--repair", "--offline"]);
            assert_eq!(assert_told(&offline, &told, kind)["repaired"], false);
            assert!(
                offline["unrepaired"][0]["why"]
                    .as_str()
                    .expect("a reason")
                    .contains("offline")
            );
        }
        world.flambeau_json("verify", &["--all", "--repair"]);
        world.flambeau_json("verify", &["--all"]);
        assert!(path.is_file() && !path.is_symlink());
    }
}

#[test]
fn without_a_cached_wheel_intact_copies_serve_and_then_the_network() {
    let Some(world) = built() else { return };
    world.delete(&world.cache().join("wheels"));
    // Gone from the tree's folder alone: the environment has a name of the same inode.
    let library = file(&tree(&world, "torch"), "torch/lib/libtorch_fake.so");
    damage(&library, "remove");
    world.flambeau_json("verify", &["--repair", "--offline"]);
    // Nobody else has this one.
    let module = file(&tree(&world, "torch"), "torch/_tensor.py");
    damage(&module, "flip");
    let offline = damaged(&world, &["--repair", "--offline"]);
    assert_eq!(assert_told(&offline, &module, "changed")["repaired"], false);
    world.server().clear_log();
    world.flambeau_json("verify", &["--repair"]);
    assert!(!world.server().requests_to("torch-2.7.0").is_empty());
    world.flambeau_json("verify", &["--all"]);
}

#[test]
fn a_deleted_tree_and_a_deleted_environment_come_back() {
    let Some(world) = built() else { return };
    let before = ["envs", "wheels"].map(|shelf| tree_snapshot(&world.store().join(shelf)));
    for folder in [tree(&world, "torch"), world.active()] {
        world.delete(&folder);
        assert_told(&damaged(&world, &[]), &folder, "missing");
        world.flambeau_json("verify", &["--repair", "--offline"]);
        world.flambeau_json("verify", &["--all"]);
    }
    for (before, shelf) in before.iter().zip(["envs", "wheels"]) {
        before.assert_same(&tree_snapshot(&world.store().join(shelf)));
    }
    assert_eq!(
        world.python_says("import torch, torchvision; print(torch.answer())"),
        "0"
    );
}

#[test]
fn what_runs_goes_on_while_its_environment_is_mended() {
    let Some(world) = built() else { return };
    let mut command = world.command(world.project().join(".venv/bin/python"));
    command.args([
        "-c",
        "import sys, torch; print('up', flush=True); sys.stdin.read(); import torch.nn, torchvision; print('late')",
    ]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut service = command.spawn().expect("it starts");
    damage(&file(&tree(&world, "torch"), "torch/lib/libtorch_fake.so"), "remove");
    damage(&file(&world.active(), "bin/activate"), "flip");
    let active = world.active();
    world.flambeau_json("verify", &["--repair", "--offline"]);
    assert_eq!(world.active(), active);
    drop(service.stdin.take());
    let output = service.wait_with_output().expect("it ends");
    assert!(
        String::from_utf8_lossy(&output.stdout).ends_with("late\n"),
        "{output:?}"
    );
}

#[test]
fn a_copied_environment_is_mended_as_a_copy() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version])
        .ok();
    world.build(&["--channel", "cpu", "--link-mode", "copy"]);
    for (mode, said) in [("copy", false), ("symlink", true)] {
        let again = world.flambeau(&["build", "--channel", "cpu", "--link-mode", mode]).ok();
        let told = again
            .stderr
            .contains("built with the link mode `copy` and stays so; `symlink` counts");
        assert_eq!(told, said, "{again}");
    }
    let before = tree_snapshot(&world.store().join("envs"));
    damage(&file(&world.active(), "torch/_tensor.py"), "flip");
    let document = damaged(&world, &[]);
    assert_eq!(document["damaged"].as_array().map(Vec::len), Some(1), "{document:#}");
    world.flambeau_json("verify", &["--repair", "--offline"]);
    before.assert_same(&tree_snapshot(&world.store().join("envs")));
}
