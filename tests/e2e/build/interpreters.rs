//! One key, several interpreters: each has a folder of its own, and what they can share they share.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::support::world::{World, hints, text};

#[test]
fn an_interpreter_that_vanished_is_named_and_the_environment_is_bound_anew() {
    let mut world = World::new();
    let Some(first) = world.private_python("one") else {
        return;
    };
    let second = world.private_python("two").expect("as the first");
    let use_python = |world: &mut World, path: &std::path::Path| world.set("UV_PYTHON", path.display().to_string());
    use_python(&mut world, &first);
    let built = world.build(&["--backend", "cpu"]);
    world.server().clear_log();

    use_python(&mut world, &second);
    let bound = world.build(&["--backend", "cpu"]);
    assert_eq!(
        (&bound["key"], &bound["tree_digest"]),
        (&built["key"], &built["tree_digest"])
    );
    assert_ne!(bound["path"], built["path"]);
    assert_eq!((&bound["reused"], &bound["generation"]), (&false.into(), &2.into()));
    assert_eq!(text(&world.state(), "Interpreter"), second.display().to_string());
    world.server().assert_no_requests();

    world.flambeau_json("activate", &["1"]);
    assert_eq!(
        world.flambeau_json("status", &[])["warnings"].as_array().map(Vec::len),
        Some(0)
    );
    fs::rename(world.path("one"), world.path("moved")).expect("our folder");
    let status = world.flambeau_json("status", &[]);
    let warning = status["warnings"][0].as_str().unwrap_or_default();
    assert!(
        warning.contains(&first.display().to_string()) && warning.contains("gone"),
        "{status:#}"
    );
    assert!(warning.contains("flambeau build"), "{status:#}");
    // The same name, and not the broken environment.
    let again = world.build(&["--backend", "cpu"]);
    assert_eq!((&again["path"], &again["reused"]), (&bound["path"], &true.into()));
    assert_eq!(world.python_says("import torch; print(torch.answer())"), "0");
    let error = world.flambeau_error(1, &["activate", "1"]);
    assert!(
        text(&error, "message").contains(&first.display().to_string()),
        "{error:#}"
    );
    assert!(hints(&error).contains("flambeau build"), "{error:#}");
    assert_eq!(world.active().to_str(), bound["path"].as_str());
}

#[test]
fn every_python_that_is_here_gets_a_working_environment_from_shared_trees() {
    let world = World::new();
    let pythons: Vec<_> = ["3.9", "3.10", "3.11", "3.12", "3.13"]
        .into_iter()
        .filter_map(|version| world.python(version))
        .collect();
    let mut keys = Vec::new();
    for python in &pythons {
        let built = world.build(&["--backend", "cuda", "--python", &python.version]);
        assert_eq!(built["python"], python.full_version.as_str());
        assert_eq!(
            text(&built, "target"),
            format!("{}-manylinux_2_28_x86_64", python.tag())
        );
        keys.push(text(&built, "key").to_owned());
        assert_eq!(
            world.python_says("import torch, torchvision, sys; print(torch.answer(), torch.backends.cudnn.version(), '%d.%d' % sys.version_info[:2])"),
            format!("118 90100 {}", python.version)
        );
        assert_eq!(
            world.python_says("import sys; print(len(sys.path) - len(set(sys.path)))"),
            "0"
        );
        // Bytecode is used as it is: unchecked, compiled for this Python, never written again.
        let cached = world.python_says("import jinja2, importlib.util as u; print(jinja2.__cached__, open(jinja2.__cached__, 'rb').read(8)[4], u.MAGIC_NUMBER == open(jinja2.__cached__, 'rb').read(4))");
        assert!(cached.ends_with(".pyc 1 True"), "{cached}");
    }
    keys.dedup();
    assert_eq!(keys.len(), pythons.len(), "a key for each Python");
    if pythons.len() > 1 {
        // A wheel for every Python is unpacked once; the second tree links the files of the first.
        let library = "nvidia/cublas/lib/libcublas.so.11";
        let inodes: Vec<_> = pythons
            .iter()
            .map(|python| {
                let path = format!("lib/python{}/site-packages/{library}", python.version);
                let envs = fs::read_dir(world.store().join("envs")).expect("a shelf").flatten();
                let found = envs.map(|env| env.path().join(&path)).find(|path| path.exists());
                fs::metadata(found.expect("each has it")).expect("a file").ino()
            })
            .collect();
        assert!(inodes.windows(2).all(|pair| pair[0] == pair[1]), "{inodes:?}");
    }
}

#[test]
fn a_python_without_wheels_is_refused_by_name_with_those_that_have_some() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let (Some(old), Some(_)) = (world.python("3.9"), world.python("3.11")) else {
        return;
    };
    world.flambeau_json("lock", &["--backend", "cpu", "--python", "3.11"]);
    let error = world.flambeau_error(1, &["build", "--backend", "cpu", "--python", "3.9"]);
    let message = text(&error, "message");
    assert!(
        message.contains("pylock.cpu.toml") && message.contains(&old.full_version),
        "{message}"
    );
    assert!(hints(&error).contains("3.11"), "{error:#}");
    assert!(!world.has(".venv"));
}
