//! Read-only lower stores: looked in first, linked to by absolute paths, never written.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::steps::names;
use crate::support::world::{TreeSnapshot, World, hints, text, tree_snapshot};

/// A world with a store of somebody else's that has the environment of the channel `cpu`.
struct Below {
    world: World,
    shared: PathBuf,
    built: Value,
    before: TreeSnapshot,
}

fn below() -> Option<Below> {
    let world = World::new();
    world.any_python()?;
    let shared = world.path("shared/flambeau");
    let built = world.build(&[
        "--channel",
        "cpu",
        "--no-activate",
        "--store-dir",
        &shared.display().to_string(),
    ]);
    let before = tree_snapshot(&shared);
    world.server().clear_log();
    Some(Below {
        world,
        shared,
        built,
        before,
    })
}

impl Below {
    fn configure(&mut self) {
        let folders = format!("/nowhere/at/all:{}", self.shared.display());
        self.world.set("FLAMBEAU_STORE_DIRS", folders);
    }

    fn untouched(&self) {
        self.before.assert_same(&tree_snapshot(&self.shared));
    }
}

/// Every symlink below a folder that leads to an absolute path.
fn absolute_links(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let kind = entry.file_type().expect("a kind");
        if kind.is_symlink() {
            found.extend(fs::read_link(entry.path()).ok().filter(|target| target.is_absolute()));
        } else if kind.is_dir() {
            absolute_links(&entry.path(), found);
        }
    }
}

#[test]
fn an_environment_of_a_lower_store_is_activated_where_it_is() {
    let Some(mut below) = below() else { return };
    below.configure();
    let world = &below.world;
    let document = world.build(&["--channel", "cpu"]);
    assert_eq!(
        (&document["path"], &document["reused"], &document["activated"]),
        (&below.built["path"], &true.into(), &true.into())
    );
    world.server().assert_no_requests();
    assert_eq!(
        names(&world.store()),
        Vec::<String>::new(),
        "one's own store is not needed"
    );
    assert_eq!(
        world.python_says("import torch, torchvision; print(torch.answer())"),
        "0"
    );
    let listed = world.flambeau_json("list", &[]);
    let row = &listed["environments"][0];
    assert_eq!(
        (&row["lower_store"], &row["active"]),
        (&below.shared.display().to_string().into(), &true.into())
    );
    assert!(world.flambeau(&["list"]).ok().stdout.contains("(read-only)"));
    world.flambeau(&["run", "--", "true"]).ok();
    let again = world.flambeau_json("activate", &[&text(&below.built, "key")[..12]]);
    assert_eq!(again["path"], below.built["path"]);
    below.untouched();
}

#[test]
fn a_process_leases_what_the_lower_store_offers_and_runs_without() {
    let Some(mut below) = below() else { return };
    below.configure();
    let world = &below.world;
    world.build(&["--channel", "cpu"]);
    let name = world.active().file_name().expect("a name").to_owned();
    let lease = below.shared.join("leases").join(name);
    let run = || {
        let mut command = world.command(world.project().join(".venv/bin/python"));
        command.args([
            "-c",
            "print('up', flush=True); import sys; sys.stdin.read(); import torch.nn",
        ]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("it speaks");
        assert_eq!(line, "up\n");
        child
    };
    // The file is there and may be read: a lock on it is no change of the store, and its owner's collection sees it.
    let mut child = run();
    let file = fs::File::open(&lease).expect("made by the build");
    assert!(file.try_lock().is_err());
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
    below.untouched();
    // It is not there: none is made, and the process runs all the same.
    fs::remove_file(&lease).expect("ours");
    let mut child = run();
    assert!(!lease.exists());
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn trees_of_a_lower_store_are_linked_by_absolute_paths_and_the_digest_is_the_same() {
    let Some(mut below) = below() else { return };
    let alone = below.world.path("alone").display().to_string();
    let expected = below
        .world
        .build(&["--channel", "cu118", "--no-activate", "--store-dir", &alone]);
    below.world.delete(&below.world.cache());
    below.world.server().clear_log();
    below.configure();
    let world = &below.world;
    let built = world.build(&["--channel", "cu118"]);
    assert_eq!(
        (&built["key"], &built["tree_digest"], &built["reused"]),
        (&expected["key"], &expected["tree_digest"], &false.into())
    );
    let fetched = world.server().requests_to(".whl");
    let fetched = |name: &str| {
        fetched
            .iter()
            .any(|request| request.path.ends_with(".whl") && request.path.contains(name))
    };
    assert!(
        fetched("/torch-2.7.0") && !fetched("/numpy-") && !fetched("/sympy-"),
        "only what is missing"
    );
    let own = world.active();
    assert!(own.starts_with(world.store()), "{}", own.display());
    let mut links = Vec::new();
    absolute_links(&own, &mut links);
    let into = links.iter().filter(|target| target.starts_with(&below.shared));
    assert!(into.count() > 3, "{links:?}");
    assert_eq!(
        world.state()["LowerStores"],
        Value::from(vec![below.shared.display().to_string()])
    );
    assert_eq!(
        world.python_says("import torch, torchvision, sympy, numpy; print(torch.answer())"),
        "118"
    );
    // Back and forth between the two.
    assert_eq!(world.build(&["--channel", "cpu"])["path"], below.built["path"]);
    assert_eq!(world.flambeau_json("rollback", &[])["key"], built["key"]);
    below.untouched();
}

#[test]
fn another_python_adopts_the_trees_of_a_lower_store() {
    let Some(mut below) = below() else { return };
    let used = text(&below.built, "python").to_owned();
    let other = ["3.12", "3.11", "3.13"]
        .into_iter()
        .find(|version| !used.starts_with(version));
    let Some(python) = other.and_then(|version| below.world.python(version)) else {
        return;
    };
    below.world.delete(&below.world.cache());
    below.world.server().clear_log();
    below.configure();
    let world = &below.world;
    world.build(&["--channel", "cpu", "--python", &python.version]);
    let fetched = world.server().requests_to(".whl");
    // Only some Pythons need setuptools, so the first may not have had it.
    let pure = fetched
        .iter()
        .filter(|request| request.path.ends_with("-py3-none-any.whl") && !request.path.contains("setuptools"));
    assert_eq!(pure.count(), 0, "{fetched:?}");
    assert_eq!(world.python_says("import torch, sympy; print(torch.answer())"), "0");
    below.untouched();
}

#[test]
fn what_cannot_be_trusted_or_read_is_passed_over_or_refused_by_name() {
    let Some(mut below) = below() else { return };
    // The project can name them too, relative to itself.
    below.world.write(
        "pyproject.toml",
        "[tool.flambeau]\nstore-dirs = ['../shared/flambeau']\n",
    );
    assert_eq!(below.world.build(&["--channel", "cpu"])["reused"], true);
    below.world.write("pyproject.toml", "");
    below.configure();
    let world = &below.world;
    // A newer flambeau's.
    let version = below.shared.join("VERSION");
    fs::write(&version, "7\n").expect("ours");
    for arguments in [&["build", "--channel", "cpu"][..], &["list"]] {
        let error = world.flambeau_error(1, arguments);
        let message = text(&error, "message");
        assert!(
            message.contains(&below.shared.display().to_string()) && message.contains("version 7"),
            "{error:#}"
        );
        assert!(!hints(&error).is_empty());
    }
    fs::write(&version, "1\n").expect("ours");
    // Not known to be on disk.
    fs::remove_dir_all(below.shared.join("records")).expect("ours");
    let built = world.build(&["--channel", "cpu"]);
    assert_eq!((&built["reused"], &built["key"]), (&false.into(), &below.built["key"]));
    assert!(text(&built, "path").starts_with(&world.store().display().to_string()));
    assert_eq!(built["tree_digest"], below.built["tree_digest"]);
}

/// The paths of all regular files below a folder, relative to it; nothing is followed.
fn regular_files(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let kind = entry.file_type().expect("a kind");
            let path = entry.path();
            if kind.is_dir() {
                walk(&path, root, found);
            } else if kind.is_file() {
                let inside = path.strip_prefix(root).expect("below it");
                found.push(inside.to_string_lossy().into_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

/// What every environment has of its own.
const OWN: [&str; 2] = ["environment_state.json", "pyvenv.cfg"];

/// Makes the project ask for less than the lower store's environment has: another key of the same trees.
fn ask_for_less(world: &World) {
    world.write("pyproject.toml", "[tool.flambeau]\nrequirements = ['sympy', 'numpy']\n");
}

#[test]
fn nothing_is_copied_out_of_a_lower_store_on_another_file_system() {
    let memory = tempfile::tempdir_in("/dev/shm").ok();
    let Some(mut below) = below() else { return };
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    let other = memory.filter(|folder| device(folder.path()) != device(&below.shared));
    let Some(folder) = other else {
        let why = "/dev/shm is no file system of its own that can be written to";
        return crate::steps::skip("a lower store on another file system", why);
    };
    let shared = folder.path().join("store").display().to_string();
    let world = &below.world;
    world.build(&["--channel", "cpu", "--no-activate", "--store-dir", &shared]);
    below.shared = shared.into();
    below.before = tree_snapshot(&below.shared);
    below.configure();
    let world = &below.world;
    ask_for_less(world);
    world.delete(&world.cache().join("wheels"));
    let built = world.build(&["--channel", "cpu"]);
    assert_eq!(built["reused"], false);
    assert_eq!(regular_files(&world.active()), OWN);
    assert_eq!(names(&world.store().join("wheels")), Vec::<String>::new());
    assert_eq!(names(&world.store().join("bytecode")), Vec::<String>::new());
    assert_eq!(world.python_says("import numpy, sympy; print(sympy.__name__)"), "sympy");
    // Launchers find the Python of the environment that they are started from, not that of the tree.
    let script = world.active().join("bin/isympy");
    assert!(script.is_symlink());
    world.run(world.command(&script)).ok();
    world.flambeau(&["verify"]).ok();
    let copy = world.path("copied").display().to_string();
    world.build(&["--channel", "cpu", "--link-mode", "copy", "--store-dir", &copy]);
    assert!(regular_files(&world.active()).len() > 20);
    below.untouched();
}

#[test]
fn a_store_in_a_lower_layer_of_an_overlay_is_not_copied_up() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let [low, upper, work] = ["low", "upper", "work"].map(|name| world.path(name));
    let at = ["--store-dir", low.to_str().expect("UTF-8")];
    world.build(&[&["--channel", "cpu", "--no-activate"], &at[..]].concat());
    let before = tree_snapshot(&low);
    for folder in [&upper, &work, &world.store()] {
        fs::create_dir_all(folder).expect("a folder");
    }
    ask_for_less(&world);
    let script = format!(
        "\"$MOUNT\" -t overlay overlay -o 'lowerdir={},upperdir={},workdir={}' '{}'",
        low.display(),
        upper.display(),
        work.display(),
        world.store().display()
    );
    let build = crate::steps::in_own_mounts(&world, &script, &["build", "--channel", "cpu"]);
    let Some(built) = build.filter(|output| !output.stderr.contains("mount:")) else {
        return crate::steps::skip("an overlay", "it cannot be mounted here");
    };
    let built = built.ok();
    assert!(
        built.stderr.contains("symlinks into the store") && built.stderr.contains("overlay"),
        "{built}"
    );
    for shelf in ["wheels", "bytecode"] {
        assert_eq!(regular_files(&upper.join(shelf)), Vec::<String>::new(), "{shelf}");
    }
    let environments = names(&upper.join("envs"));
    let [environment] = environments.as_slice() else {
        panic!("{environments:?}")
    };
    assert_eq!(regular_files(&upper.join("envs").join(environment)), OWN);
    before.assert_same(&tree_snapshot(&low));
}
