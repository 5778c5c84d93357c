//! What the next command finds after a crash of the machine, a deleted link, or a start that Python does not normalise.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::family::Shelf;
use crate::support::wheel::Wheel;
use crate::support::world::World;

/// Lets every commit record say that it was written before this machine last started.
fn pretend_reboot(world: &World) {
    for entry in fs::read_dir(world.store().join("records")).expect("records") {
        let path = entry.expect("a record").path();
        let mut record: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).expect("readable")).expect("a document");
        record["boot"] = "an earlier boot".into();
        fs::write(&path, record.to_string()).expect("written");
    }
}

fn overwrite(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("writable");
    fs::write(path, text).expect("written");
}

#[test]
fn f02_what_was_not_on_disk_for_certain_is_verified_and_never_missing() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let before = world.build(&["--channel", "cpu"]);
    let active = world.active();
    pretend_reboot(&world);
    // A process that has run since the machine started keeps its environment while that is verified.
    let mut command = world.command(world.project().join(".venv/bin/python"));
    command.args([
        "-c",
        "import sys; print('up', flush=True); sys.stdin.read(); import torch.nn; print('late')",
    ]);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut service = command.spawn().expect("it starts");
    let after = world.build(&["--offline"]);
    assert_eq!(
        (&after["key"], &after["tree_digest"]),
        (&before["key"], &before["tree_digest"])
    );
    assert_eq!((after["reused"].as_bool(), world.active()), (Some(false), active));
    drop(service.stdin.take());
    let output = service.wait_with_output().expect("it ends");
    assert!(String::from_utf8_lossy(&output.stdout).contains("late"), "{output:?}");
    assert_eq!(world.build(&["--offline"])["reused"], true, "trusted again");
}

#[test]
fn f02_a_file_that_a_crash_emptied_is_made_again() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let before = world.build(&["--channel", "cpu"]);
    let torch = fs::read_dir(world.store().join("wheels")).expect("trees");
    let tree = torch
        .map(|entry| entry.expect("a tree").path())
        .find(|path| path.to_string_lossy().contains("-torch-"))
        .expect("torch's tree");
    let found = walk(&tree)
        .into_iter()
        .find(|path| path.ends_with("torch/__init__.py"))
        .expect("torch");
    overwrite(&found, "");
    pretend_reboot(&world);
    let after = world.build(&["--offline"]);
    assert_eq!(after["tree_digest"], before["tree_digest"]);
    assert_eq!(world.python_says("import torch; print(torch.answer())"), "0");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_deleted_state_link_comes_back() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.build(&["--channel", "cpu"]);
    fs::remove_file(world.project().join("environment_state.json")).expect("removed");
    let again = world.build(&[]);
    assert_eq!(
        (again["generation"].as_u64(), again["reused"].as_bool()),
        (Some(1), Some(true))
    );
    assert_eq!(world.state()["InstalledBackend"], "CPU");
}

#[test]
fn however_python_is_started_its_children_start_by_the_link() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.build(&["--channel", "cpu"]);
    fs::create_dir(world.project().join("sub")).expect("a folder");
    symlink(world.project().join(".venv"), world.path("elsewhere")).expect("a link");
    let (link, elsewhere) = (world.project().join(".venv"), world.path("elsewhere"));
    let starts = [
        ("../.venv/bin/python", &link),
        ("../sub/../.venv/bin/python", &link),
        ("../../elsewhere/bin/python", &elsewhere),
    ];
    for (start, prefix) in starts {
        let expected = prefix.join("bin/python").display().to_string();
        let mut command = world.command(start);
        command
            .args(["-c", "import sys; print(sys.executable)"])
            .current_dir(world.project().join("sub"));
        assert_eq!(world.run(command).ok().text(), expected, "{start}");
    }
}

#[test]
fn scripts_of_wheels_keep_docstring_coding_and_future() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let body = b"#!python\n# -*- coding: latin-1 -*-\n\"\"\"What it does.\"\"\"\nfrom __future__ import annotations\n\
                 print(__doc__, len('\xe4'))\n";
    world.server().offer(
        Shelf::Index,
        Wheel::new("scripted", "1.0").data("scripts", "scripted", body),
    );
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version, "scripted"])
        .ok();
    world.build(&["--channel", "cpu"]);
    assert_eq!(world.venv_tool("scripted", &[]).ok().text(), "What it does. 1");
    // A link to the script in another folder finds the environment too.
    symlink(world.project().join(".venv/bin/scripted"), world.path("linked")).expect("a link");
    assert_eq!(
        world.run(world.command(world.path("linked"))).ok().text(),
        "What it does. 1"
    );
}

#[test]
fn no_wheel_takes_the_place_of_the_hook() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world.server().offer(
        Shelf::Index,
        Wheel::new("usurper", "1.0").file("_flambeau/__init__.py", "pin = print\n"),
    );
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version, "usurper"])
        .ok();
    let error = world.flambeau_error(3, &["build", "--channel", "cpu"]);
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.contains("usurper-1.0") && message.contains("_flambeau/__init__.py"),
        "{error}"
    );
    assert!(!world.has(".venv"));
}

/// Another value of the same length, of the same form where that matters.
fn another(value: &str) -> String {
    let last = value.chars().last().expect("not empty");
    let other = match last {
        '0' => '1',
        '0'..='9' => '0',
        'a' => 'b',
        'A'..='F' => 'G',
        'Z' => 'z',
        _ => 'a',
    };
    let shortened: String = value.chars().take(value.chars().count() - 1).collect();
    format!("{shortened}{other}")
}

/// Rot and editors may leave size and time as they were; what the file says is compared all the same.
#[test]
fn f20_no_field_of_an_edited_state_file_is_believed() {
    use std::time::{Duration, SystemTime};
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let other = world.build(&["--channel", "cu118"]);
    let built = world.build(&["--channel", "cpu"]);
    let key = built["key"].as_str().expect("a key").to_owned();
    let path = world.active();
    let file = path.join("environment_state.json");
    let right = fs::read_to_string(&file).expect("readable");
    let document: serde_json::Value = serde_json::from_str(&right).expect("a document");
    let strings = document
        .as_object()
        .expect("an object")
        .iter()
        .filter_map(|(field, value)| {
            let value = value.as_str().or_else(|| value.as_array()?.first()?.as_str())?;
            Some((field.clone(), value.to_owned()))
        });
    let mut edits: Vec<(String, String)> = strings
        .map(|(field, value)| {
            let edited = right.replacen(&format!("\"{value}\""), &format!("\"{}\"", another(&value)), 1);
            (field, edited)
        })
        .collect();
    edits.push(("InstalledBackend".to_owned(), right.replacen("\"CPU\"", "\"ROCm\"", 1)));
    let size = format!("\"SizeBytes\": {}", document["SizeBytes"]);
    edits.push(("SizeBytes".to_owned(), right.replacen(&size, &another(&size), 1)));
    // The end of the key, which the folder's name does not have, and its beginning.
    let begun = format!("{}{}", if key.starts_with('0') { '1' } else { '0' }, &key[1..]);
    edits.push(("EnvironmentKey".to_owned(), right.replacen(&key, &begun, 1)));
    assert!(edits.len() > 10, "{edits:?}");
    let time = SystemTime::UNIX_EPOCH + Duration::from_hours(87_648);
    for (field, edited) in &edits {
        assert_ne!(*edited, right, "{field}");
        let edit = || {
            overwrite(&file, edited);
            let opened = fs::File::options().append(true).open(&file).expect("ours");
            opened.set_modified(time).expect("ours");
        };
        edit();
        for verb in [&["status"][..], &["activate", "cpu"], &["activate", &key]] {
            let output = world.flambeau(verb).fails(3);
            assert!(
                output.stderr.contains("environment_state.json") && output.stderr.contains("flambeau build"),
                "{field} {verb:?}: {output}"
            );
        }
        let listed = world.flambeau(&["list"]).ok();
        assert!(!listed.stdout.contains(&begun), "{listed}");
        world.flambeau(&["verify"]).fails(3);
        world.flambeau(&["verify", "--quick"]).fails(3);
        for arguments in [
            &["--channel", "cpu", "--expect", &key][..],
            &["--channel", "cpu", "--offline"],
        ] {
            edit();
            let again = world.build(arguments);
            assert_eq!(
                (again["key"].as_str(), &again["path"]),
                (Some(&*key), &built["path"]),
                "{field}"
            );
            assert_eq!(again["reused"], false, "{field}");
            assert_eq!(world.state()["InstalledPackages"], document["InstalledPackages"]);
            world.flambeau(&["verify"]).ok();
        }
        let mut record = world.read(".flambeau/generations/2.json");
        record.push_str(&world.flambeau(&["status", "--json"]).ok().stdout);
        assert!(record.contains(&key), "{record}");
    }
    // What runs elsewhere was never touched.
    assert_eq!(world.build(&["--channel", "cu118"])["key"], other["key"]);
}
