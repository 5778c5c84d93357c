//! Every form of a bundle leads to the same environment.

use std::fs;

use super::{Elsewhere, arg, built, export, same_environment};
use crate::steps::names;
use crate::support::world::tree_snapshot;

#[test]
fn every_form_builds_the_same_environment_without_a_network() {
    let Some((world, first)) = built() else { return };
    world.server().clear_log();
    for (name, flags) in [
        ("folder", &[][..]),
        ("b.tar", &[]),
        ("b.tar.zst", &[]),
        ("cut.tar", &["--split", "20kB"]),
        ("cut.tar.zst", &["--split", "10kB"]),
    ] {
        let (path, document) = export(&world, name, flags);
        let elsewhere = Elsewhere::new(&world, &format!("to-{name}"));
        let digest = document["digest"].as_str().expect("a digest");
        let checked = elsewhere.json(&["import", arg(&path), "--check"]);
        assert_eq!(checked["digest"], document["digest"]);
        assert!(!elsewhere.path("cache/wheels").exists(), "a check imports nothing");
        let imported = elsewhere.json(&["import", arg(&path), "--expect", digest]);
        assert_eq!(imported["environments"][0]["key"], first["key"], "{name}");
        assert_eq!(imported["new_wheels"], imported["wheels"], "{name}");
        same_environment(&elsewhere.build("cpu"), &first);
        let python = elsewhere.path("project/.venv/bin/python");
        let mut command = world.command(python);
        command.args(["-c", "import torch; print(torch.answer())"]);
        assert_eq!(world.run(command).ok().text(), "0");
        // Again: nothing is left to do.
        let again = elsewhere.json(&["import", arg(&path)]);
        assert_eq!(
            (&again["new_wheels"], &again["lockfiles"]),
            (&0.into(), &serde_json::json!([]))
        );
    }
    assert!(
        names(&world.path(""))
            .iter()
            .filter(|name| name.starts_with("cut.tar.0"))
            .count()
            > 2
    );
    world.server().assert_no_requests();
}

#[test]
fn trees_come_with_their_bytecode_and_need_no_wheel() {
    let Some((world, first)) = built() else { return };
    let listed = crate::steps::shelf(&world, "wheels");
    for name in ["trees", "trees.tar", "trees.tar.zst"] {
        let (path, _) = export(&world, name, &["--trees"]);
        let elsewhere = Elsewhere::new(&world, &format!("to-{name}"));
        elsewhere.flambeau(&["import", arg(&path), "--check"]).ok();
        let imported = elsewhere.json(&["import", arg(&path)]);
        assert_eq!(
            (&imported["wheels"], &imported["new_trees"]),
            (&0.into(), &imported["trees"])
        );
        let trees = tree_snapshot(&elsewhere.path("store/wheels"));
        same_environment(&elsewhere.build("cpu"), &first);
        assert!(!elsewhere.path("cache/wheels").exists(), "{name}");
        let here = listed.lines();
        // Modes, files, bytecode and documents are those of the trees that were built here.
        assert!(
            trees.lines().len() > 50 && trees.lines().iter().all(|line| here.contains(line)),
            "{trees}"
        );
        let again = elsewhere.json(&["import", arg(&path)]);
        assert_eq!(again["new_trees"], 0);
    }
}

#[test]
fn f70_equal_inputs_give_equal_bytes_also_from_what_was_imported() {
    let Some((world, _)) = built() else { return };
    let (one, _) = export(&world, "one.tar", &[]);
    let (folder, _) = export(&world, "folder", &["--simple-index"]);
    let elsewhere = Elsewhere::new(&world, "elsewhere");
    elsewhere.flambeau(&["import", arg(&folder)]).ok();
    for (name, flags) in [
        ("plain", &[][..]),
        ("trees", &["--trees"]),
        ("pages", &["--simple-index"]),
    ] {
        let (here, _) = export(&world, &format!("{name}.tar.zst"), flags);
        let there = elsewhere.path(format!("{name}.tar.zst"));
        elsewhere
            .flambeau(&[&["export", arg(&there), "--channel", "cpu"], flags].concat())
            .ok();
        assert!(
            fs::read(&here).expect("written") == fs::read(&there).expect("written"),
            "{name}"
        );
    }
    let again = elsewhere.path("again");
    let pages = ["export", arg(&again), "--channel", "cpu", "--simple-index"];
    elsewhere.flambeau(&pages).ok();
    tree_snapshot(&folder).assert_same(&tree_snapshot(&again));

    let first = fs::read(&one).expect("written");
    let mut later = world.flambeau_command(&["export", arg(&one), "--channel", "cpu"]);
    later.env("SOURCE_DATE_EPOCH", "1700000000");
    world.run(later).ok();
    assert!(
        first != fs::read(&one).expect("written"),
        "the time is the one that is asked for"
    );
    let mut wrong = world.flambeau_command(&["export", arg(&one), "--channel", "cpu"]);
    wrong.env("SOURCE_DATE_EPOCH", "yesterday");
    world.run(wrong).fails(1);
}

#[test]
fn the_program_can_come_along() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some((world, first)) = built() else { return };
    let (path, _) = export(&world, "kit", &["--with-program"]);
    let program = path.join("bin/flambeau");
    assert_eq!(
        fs::metadata(&program).expect("there").permissions().mode() & 0o777,
        0o755
    );
    let elsewhere = Elsewhere::new(&world, "elsewhere");
    let mut command = std::process::Command::new(&program);
    let own = elsewhere.command(&["import", arg(&path)]);
    let set = own.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command
        .args(own.get_args())
        .env_clear()
        .envs(set)
        .current_dir(elsewhere.path("project"));
    world.run(command).ok();
    same_environment(&elsewhere.build("cpu"), &first);
}

#[test]
fn several_backends_and_pythons_go_into_one_bundle() {
    let world = crate::support::world::World::new();
    let Some(python) = world.any_python() else { return };
    world
        .flambeau(&["lock", "--backend", "cpu,cuda,rocm", "--python", "3.11,3.12,3.13"])
        .ok();
    let path = world.path("wide.tar");
    // From whatever machine: no GPU and no Python of that version is needed.
    let wide = [
        "export",
        arg(&path),
        "--backend",
        "cuda,rocm",
        "--python",
        "3.11,3.12",
        "--platform",
        "linux_x86_64",
    ];
    let document = world.flambeau(&[&["--json"][..], &wide].concat()).ok().json();
    assert_eq!(
        document["environments"].as_array().map(Vec::len),
        Some(4),
        "{document:#}"
    );
    let elsewhere = Elsewhere::new(&world, "elsewhere");
    elsewhere.flambeau(&["import", arg(&path)]).ok();
    assert_eq!(
        names(&elsewhere.path("project/lockfiles")),
        ["keys.json", "pylock.cuda.toml", "pylock.rocm.toml"]
    );
    let keys = |folder: std::path::PathBuf| -> serde_json::Value {
        let text = fs::read_to_string(folder.join("lockfiles/keys.json")).expect("keys");
        serde_json::from_str(&text).expect("JSON")
    };
    let (here, there) = (keys(world.project()), keys(elsewhere.path("project")));
    for name in ["cuda", "rocm"] {
        assert_eq!(here["keys"][name], there["keys"][name]);
    }
    if ["3.11", "3.12"].contains(&python.version.as_str()) {
        elsewhere.build("rocm6.3");
    }
}
