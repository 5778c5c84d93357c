//! What keeps an environment, and what does not any more.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};

use crate::gc::{SMALL, age, deleted, forget, paths, reasons, small, want};
use crate::steps::{held_to_modes, names, shelf, skip};
use crate::support::world::{World, hints, text};

fn path(document: &serde_json::Value) -> PathBuf {
    PathBuf::from(text(document, "path"))
}

#[test]
fn f30_what_is_needed_is_kept_and_the_reason_is_printed() {
    let Some(world) = small() else { return };
    let earlier = path(&world.build(&["--channel", "cpu"]));
    want(&world, &[SMALL, "filelock"]);
    let pinned = path(&world.build(&["--channel", "cpu", "--no-activate"]));
    world.flambeau(&["pin", "keep", &key(&pinned)]).ok();
    want(&world, &[SMALL, "jinja2"]);
    let linked = path(&world.build(&["--channel", "cpu", "--no-activate", "--out-link", "result"]));
    assert_eq!(fs::read_link(world.project().join("result")).expect("a link"), linked);
    want(&world, &["filelock"]);
    let young = path(&world.build(&["--channel", "cpu", "--no-activate"]));
    want(&world, &["filelock", "jinja2"]);
    let active = path(&world.build(&["--channel", "cpu"]));

    let project = world.project().display().to_string();
    let said = world.flambeau(&["gc", "--print-roots"]).ok();
    for (environment, why) in [
        (&earlier, format!("{project} generation 1")),
        (&active, format!("{project} generation 2 (active)")),
        (&pinned, "pin keep".to_owned()),
        (&linked, format!("out-link {project}/result")),
        (&young, "within the grace period of 7 days".to_owned()),
    ] {
        let name = environment.file_name().expect("a name").to_str().expect("UTF-8");
        let lines = said.stdout.lines().skip_while(|line| *line != name).skip(1);
        let own: Vec<_> = lines.take_while(|line| line.starts_with("  ")).collect();
        assert!(own.iter().any(|line| line.contains(&why)), "{why}: {own:?}\n{said}");
    }
    // Nothing goes while it is young; then what is only young goes, and nothing else.
    assert!(deleted(&world.flambeau_json("gc", &[])).is_empty());
    age(&world, 8);
    let document = world.flambeau_json("gc", &[]);
    assert_eq!(
        paths(&document, "environment"),
        std::slice::from_ref(&young),
        "{document:#}"
    );
    assert!(!young.exists());
    for kept in [&earlier, &pinned, &linked, &active] {
        assert!(kept.join("bin/python").exists(), "{}", kept.display());
    }
    // A pin ends with `unpin`, an out-link with the link; both have a grace period from then on, or none.
    world.flambeau(&["unpin", "keep"]).ok();
    fs::remove_file(world.project().join("result")).expect("a link");
    assert!(paths(&world.flambeau_json("gc", &[]), "environment").contains(&linked));
    assert!(pinned.exists());
    let document = world.flambeau_json("gc", &["--older-than", "0s"]);
    assert_eq!(paths(&document, "environment"), [pinned], "{document:#}");
    world.venv_python(&["-c", "import filelock, jinja2"]).ok();
    // Every tree that is left is one of a living environment.
    let document = world.flambeau_json("gc", &["--print-roots", "--older-than", "0s"]);
    for tree in document["trees"].as_array().expect("a list") {
        assert_eq!(tree["reasons"][0]["kind"], "environment", "{tree:#}");
    }
}

fn key(environment: &Path) -> String {
    let name = environment.file_name().expect("a name").to_string_lossy();
    name[..40].to_owned()
}

/// A child that has said its first line; killed when it is dropped, after its input has ended.
struct Running(Child, Option<ChildStdin>);

impl Running {
    fn start(world: &World, program: impl AsRef<Path>, script: &str) -> Self {
        let mut command = world.command(program.as_ref());
        command
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("it speaks");
        assert_eq!(line.trim(), "ready");
        // Waiting for a child would close it, and the grandchild reads from it too.
        let stdin = child.stdin.take();
        Self(child, stdin)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.1.take());
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn f31_a_running_python_process_keeps_its_environment_and_its_child_does_too() {
    const WAIT: &str = "import sys; print('ready', flush=True); sys.stdin.read()";
    const LEAVE_A_CHILD: &str = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', \
                                 'import sys; print(\"ready\", flush=True); sys.stdin.read()'])";
    let Some(world) = small() else { return };
    let environment = path(&world.build(&["--channel", "cpu"]));
    let python = world.project().join(".venv/bin/python");
    for (script, alive) in [(WAIT, true), (LEAVE_A_CHILD, false)] {
        let mut running = Running::start(&world, &python, script);
        if !alive {
            assert!(running.0.wait().expect("the parent ends").success());
        }
        // Nothing else keeps it: no generation, no link, no youth, and a pure-Python process maps nothing of it.
        forget(&world);
        age(&world, 400);
        assert_eq!(reasons(&world, &environment), ["lease"]);
        let document = world.flambeau_json("gc", &["--older-than", "0s"]);
        assert!(paths(&document, "environment").is_empty(), "{document:#}");
        assert!(paths(&document, "tree").is_empty(), "{document:#}");
        // It works: what was not imported yet can be.
        drop(running);
        world.build(&["--channel", "cpu"]);
        assert_eq!(world.active(), environment);
    }
    forget(&world);
    age(&world, 400);
    let mut gone = false;
    // The child's lease ends with the child, which ends when its input does.
    for _ in 0..200 {
        gone = !paths(&world.flambeau_json("gc", &[]), "environment").is_empty();
        if gone {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(gone && !environment.exists());
    assert!(names(&world.store().join("wheels")).is_empty());
}

#[test]
fn f32_claims_and_staging_of_dead_builds_go_and_those_of_living_ones_stay() {
    let Some(world) = small() else { return };
    world.build(&["--channel", "cpu"]);
    want(&world, &[SMALL, "filelock"]);
    let hold = world.path("hold");
    fs::create_dir(&hold).expect("the name is free");
    let mut command = world.flambeau_command(&["build", "--channel", "cpu"]);
    command.env("FLAMBEAU_CHECKPOINT", format!("build.trees=hold:{}", hold.display()));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    while !hold.join("build.trees.reached").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let claims = world.store().join("claims");
    assert_eq!(names(&claims).len(), 1);
    assert!(deleted(&world.flambeau_json("gc", &["--older-than", "0s", "--offline"])).is_empty());
    assert_eq!(names(&claims).len(), 1);
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    // Debris of a killed command, as it would be after any kill while an object was staged.
    fs::create_dir_all(world.store().join("tmp/stage-dead/root")).expect("a folder");
    fs::write(world.store().join("tmp/stage-dead/root/file"), "x").expect("a file");
    let document = world.flambeau_json("gc", &["--older-than", "0s"]);
    assert!(names(&claims).is_empty(), "{document:#}");
    assert!(names(&world.store().join("tmp")).is_empty(), "{document:#}");
    assert_eq!(paths(&document, "debris").len(), 1, "{document:#}");
    world.build(&["--channel", "cpu"]);
}

#[test]
fn f34_a_root_that_cannot_be_read_stops_everything() {
    let Some(world) = small() else { return };
    world.build(&["--channel", "cpu"]);
    want(&world, &["filelock"]);
    world.build(&["--channel", "cpu", "--no-activate"]);
    age(&world, 400);
    fs::create_dir_all(world.store().join("tmp/stage-dead")).expect("a folder");
    let before = [shelf(&world, "envs"), shelf(&world, "wheels"), shelf(&world, "tmp")];
    let generations = world.project().join(".flambeau/generations");
    for closed in [
        world.project().join(".flambeau"),
        generations,
        world.store().join("roots"),
        world.store().join("roots/pins"),
        world.store().join("claims"),
    ] {
        let mode = fs::metadata(&closed).expect("there").permissions().mode() & 0o7777;
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).expect("it is ours");
        let output = held_to_modes(&world, &["gc", "--older-than", "0s"]);
        fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).expect("it is ours");
        let Some(output) = output else {
            return skip("unreadable roots", "root cannot be held to modes of files");
        };
        let output = output.fails(1);
        assert!(output.stderr.contains("Permission denied"), "{output}");
        let after = [shelf(&world, "envs"), shelf(&world, "wheels"), shelf(&world, "tmp")];
        for (before, after) in before.iter().zip(&after) {
            before.assert_same(after);
        }
    }
    // One that is no folder, or of a newer flambeau, is not an absent one either.
    let record = world.project().join(".flambeau/generations/1.json");
    let good = fs::read_to_string(&record).expect("a record");
    fs::write(&record, good.replacen("\"schema\": 1", "\"schema\": 99", 1)).expect("it is ours");
    let error = world.flambeau_error(1, &["gc", "--older-than", "0s"]);
    assert!(hints(&error).contains("nothing was deleted"), "{error:#}");
    fs::write(&record, good).expect("it is ours");
    assert_eq!(paths(&world.flambeau_json("gc", &[]), "environment").len(), 1);
}

#[test]
fn f43_a_garbled_generation_keeps_what_was_known_of_it() {
    let Some(world) = small() else { return };
    let first = path(&world.build(&["--channel", "cpu"]));
    want(&world, &["filelock"]);
    world.build(&["--channel", "cpu"]);
    let record = world.project().join(".flambeau/generations/1.json");
    fs::write(&record, "{ garbage").expect("it is ours");
    age(&world, 400);
    assert_eq!(reasons(&world, &first), ["generation"], "its link still tells");
    fs::remove_file(world.project().join(".flambeau/links/1")).expect("it is ours");
    assert_eq!(reasons(&world, &first), ["remembered"]);
    assert!(paths(&world.flambeau_json("gc", &["--older-than", "0s"]), "environment").is_empty());
    fs::remove_file(&record).expect("it is ours");
    assert_eq!(paths(&world.flambeau_json("gc", &[]), "environment"), [first]);
}

#[test]
fn a_project_that_vanished_keeps_its_environments_for_thirty_days() {
    let Some(world) = small() else { return };
    let environment = path(&world.build(&["--channel", "cpu"]));
    let elsewhere = world.path("unmounted");
    let asking = world.path("asking");
    fs::create_dir(&asking).expect("the name is free");
    let asking = asking.display().to_string();
    let gc = |arguments: &[&str]| world.flambeau_json("gc", &[&["--project", &asking], arguments].concat());
    fs::rename(world.project(), &elsewhere).expect("the name is free");
    // Commands run in the project's folder; an empty one is what an unmounted disk leaves.
    fs::create_dir(world.project()).expect("the name is free");
    age(&world, 400);
    let document = gc(&["--older-than", "0s"]);
    assert!(paths(&document, "environment").is_empty(), "{document:#}");
    assert_eq!(reasons(&world, &environment), ["missing"]);
    // The disk is back: the time starts over.
    fs::remove_dir(world.project()).expect("it is empty");
    fs::rename(&elsewhere, world.project()).expect("the name is free");
    gc(&[]);
    assert_eq!(reasons(&world, &environment), ["generation"]);
    fs::rename(world.project(), &elsewhere).expect("the name is free");
    fs::create_dir(world.project()).expect("the name is free");
    gc(&[]);
    let roots = world.store().join("roots");
    let note = names(&roots).into_iter().find(|name| name.ends_with(".json"));
    let note = roots.join(note.expect("a note"));
    let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&note).expect("a note")).expect("JSON");
    let time = document["missing"]["time"].as_u64().expect("a time");
    document["missing"]["boot"] = "earlier".into();
    for (days, kept) in [(29, true), (31, false)] {
        document["missing"]["time"] = (time - days * 86_400).into();
        fs::write(&note, document.to_string()).expect("it is ours");
        let went = gc(&[]);
        assert_eq!(environment.exists(), kept, "{days} days: {went:#}");
    }
    assert!(!note.exists());
    assert_eq!(names(&roots), ["links", "pins"]);
}

#[test]
fn a_project_that_vanished_can_be_given_up_at_once() {
    let Some(world) = small() else { return };
    let environment = path(&world.build(&["--channel", "cpu"]));
    age(&world, 400);
    fs::remove_dir_all(world.project()).expect("our folder");
    fs::create_dir(world.project()).expect("the name is free");
    let document = world.flambeau_json("gc", &["--vanished-after", "0s"]);
    assert_eq!(
        paths(&document, "environment"),
        std::slice::from_ref(&environment),
        "{document:#}"
    );
    assert!(!environment.exists());
}

#[test]
fn out_links_that_lead_elsewhere_end_and_those_that_cannot_be_seen_wait() {
    let Some(world) = small() else { return };
    let folder = world.path("links");
    fs::create_dir(&folder).expect("the name is free");
    let link = folder.join("result").display().to_string();
    let environment = path(&world.build(&["--channel", "cpu", "--no-activate", "--out-link", &link]));
    age(&world, 400);
    assert_eq!(reasons(&world, &environment), ["out-link"]);
    let aside = world.path("aside");
    fs::rename(&folder, &aside).expect("the name is free");
    assert_eq!(reasons(&world, &environment), ["missing"]);
    fs::rename(&aside, &folder).expect("the name is free");
    fs::remove_file(&link).expect("a link");
    symlink("/etc", &link).expect("the name is free");
    assert!(reasons(&world, &environment).is_empty());
    world.flambeau_json("gc", &[]);
    assert!(!environment.exists());
    assert!(names(&world.store().join("roots/links")).is_empty());
    // What is somebody else's is never replaced.
    let error = world.flambeau_error(1, &["build", "--channel", "cpu", "--no-activate", "--out-link", &link]);
    assert!(
        text(&error, "message").contains("no link to an environment"),
        "{error:#}"
    );
}

#[test]
fn pins_are_listed_moved_and_refused() {
    let Some(world) = small() else { return };
    assert_eq!(world.flambeau(&["pin"]).ok().text(), "nothing is pinned");
    let error = world.flambeau_error(1, &["pin", "x"]);
    assert!(
        text(&error, "message").contains("no environment is active"),
        "{error:#}"
    );
    let first = world.build(&["--channel", "cpu"]);
    world.flambeau(&["pin", "release"]).ok();
    want(&world, &["filelock"]);
    let second = world.build(&["--channel", "cpu"]);
    assert_eq!(world.flambeau_json("pin", &[])["pins"][0]["path"], first["path"]);
    let moved = world.flambeau_json("pin", &["release", text(&second, "key")]);
    assert_eq!((&moved["path"], &moved["before"]), (&second["path"], &first["path"]));
    for wrong in ["../x", ".x", "a/b"] {
        let error = world.flambeau_error(1, &["pin", wrong]);
        assert!(text(&error, "message").contains("cannot be the name"), "{error:#}");
    }
    let error = world.flambeau_error(1, &["pin", "x", "abcdef0123"]);
    assert!(text(&error, "message").contains("nothing that is built"), "{error:#}");
    world.flambeau(&["unpin", "release"]).ok();
    let error = world.flambeau_error(1, &["unpin", "release"]);
    assert!(hints(&error).contains("flambeau pin"), "{error:#}");
}

#[test]
fn environments_of_an_older_flambeau_keep_every_tree_that_fits() {
    let Some(world) = small() else { return };
    let environment = path(&world.build(&["--channel", "cpu"]));
    let state = environment.join("environment_state.json");
    let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&state).expect("a state")).expect("JSON");
    assert_eq!(document["Trees"].as_array().map(Vec::len), Some(3), "{document:#}");
    document.as_object_mut().expect("an object").remove("Trees");
    fs::set_permissions(&environment, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::remove_file(&state).expect("it is ours");
    fs::write(&state, document.to_string()).expect("it is ours");
    // Its record has the same, and is another way to tell that a state was edited.
    let name = environment.file_name().expect("a name").to_string_lossy();
    let record = world.store().join(format!("records/envs-{name}.json"));
    let mut recorded: serde_json::Value = serde_json::from_slice(&fs::read(&record).expect("a record")).expect("JSON");
    recorded["contents"]["state"]
        .as_object_mut()
        .expect("an object")
        .remove("Trees");
    fs::write(&record, recorded.to_string()).expect("it is ours");
    want(&world, &["filelock"]);
    world.build(&["--channel", "cpu", "--no-activate"]);
    age(&world, 400);
    let went = world.flambeau_json("gc", &[]);
    let trees = paths(&went, "tree");
    assert_eq!(trees.len(), 1, "{went:#}");
    assert!(trees[0].display().to_string().contains("-filelock-"), "{went:#}");
    world.venv_python(&["-c", "import typing_extensions"]).ok();
}

#[test]
fn list_tells_pins_links_and_leases_too() {
    let Some(world) = small() else { return };
    world.build(&["--channel", "cpu", "--out-link", "result"]);
    world.flambeau(&["pin", "p"]).ok();
    let python = world.project().join(".venv/bin/python");
    let running = Running::start(
        &world,
        python,
        "import sys; print('ready', flush=True); sys.stdin.read()",
    );
    let document = world.flambeau_json("list", &[]);
    drop(running);
    let roots = document["environments"][0]["roots"].as_array().expect("a list").clone();
    let roots: Vec<_> = roots.iter().filter_map(|root| root.as_str()).collect();
    for part in ["generation 1 (active)", "pin p", "out-link ", "holds its lease"] {
        assert!(roots.iter().any(|root| root.contains(part)), "{part}: {roots:?}");
    }
}
