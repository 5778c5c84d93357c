//! `verify`: what it finds, whom it names, and that it changes nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::steps::names;
use crate::support::world::{World, text, tree_snapshot};

mod repair;

/// A world with the default environment of the channel `cpu`, built.
pub(crate) fn built() -> Option<World> {
    let world = World::new();
    let python = world.any_python()?;
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version])
        .ok();
    world.build(&["--channel", "cpu"]);
    Some(world)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// Changes a folder of the store, whose folders are read-only, and closes it again.
pub(crate) fn inside(folder: &Path, change: impl FnOnce()) {
    mode(folder, 0o755);
    change();
    mode(folder, 0o555);
}

/// How a file is damaged, and the kind that is to be told.
pub(crate) const WAYS: [(&str, &str); 7] = [
    ("flip", "changed"),
    ("edit", "changed"),
    ("truncate", "truncated"),
    ("mode", "mode"),
    ("add", "added"),
    ("remove", "missing"),
    ("link", "replaced"),
];

/// Damages `path` in one of [`WAYS`]; returns the path that is to be told.
pub(crate) fn damage(path: &Path, way: &str) -> PathBuf {
    let folder = path.parent().expect("a file is in a folder");
    let folder_mode = fs::metadata(folder).expect("a folder").permissions().mode();
    let write = |change: &dyn Fn(&mut Vec<u8>)| {
        let before = fs::metadata(path).expect("a file").permissions().mode();
        let mut bytes = fs::read(path).expect("readable");
        change(&mut bytes);
        mode(path, 0o644);
        // In place, so that every name of the inode sees it.
        fs::write(path, bytes).expect("writable");
        mode(path, before & 0o777);
    };
    mode(folder, 0o755);
    let mut told = path.to_owned();
    match way {
        "flip" => write(&|bytes| bytes[0] ^= 1),
        // As long as before, and its two ends too.
        "edit" => write(&|bytes| {
            let (quarter, len) = (bytes.len() / 4, bytes.len());
            bytes[quarter..len - quarter].iter_mut().for_each(|byte| *byte ^= 0x15);
        }),
        "truncate" => write(&|bytes| bytes.truncate(bytes.len() / 2)),
        "mode" => mode(path, 0o666),
        "add" => {
            told = path.with_file_name("stranger.txt");
            fs::write(&told, "hello").expect("writable");
        }
        "remove" => fs::remove_file(path).expect("it is there"),
        "link" => {
            let copy = folder.join("../copy");
            fs::copy(path, &copy).ok();
            fs::remove_file(path).expect("it is there");
            symlink("/etc/hostname", path).expect("the name is free");
            fs::remove_file(copy).ok();
        }
        other => panic!("{other}"),
    }
    mode(folder, folder_mode & 0o777);
    told
}

/// Runs `verify` with exit code 3 and returns its document.
#[track_caller]
pub(crate) fn damaged(world: &World, arguments: &[&str]) -> Value {
    let document = world
        .flambeau(&[&["--json", "verify"], arguments].concat())
        .fails(3)
        .json();
    assert_eq!(document["intact"], false, "{document:#}");
    document
}

/// Fails unless a document lists this path as damaged in this way; returns the row.
#[track_caller]
pub(crate) fn assert_told<'a>(document: &'a Value, path: &Path, kind: &str) -> &'a Value {
    let rows = document["damaged"].as_array().expect("a list");
    let found = rows
        .iter()
        .find(|row| row["path"] == path.display().to_string() && row["kind"] == kind);
    found.unwrap_or_else(|| panic!("{} ({kind}) is not told: {document:#}", path.display()))
}

/// The tree of a package.
pub(crate) fn tree(world: &World, package: &str) -> PathBuf {
    let trees = names(&world.store().join("wheels"));
    let name = trees.iter().find(|name| name.contains(&format!("-{package}-")));
    world.store().join("wheels").join(name.expect("the package is there"))
}

/// A file below a folder by the end of its path.
pub(crate) fn file(folder: &Path, end: &str) -> PathBuf {
    fn search(folder: &Path, end: &str) -> Option<PathBuf> {
        let mut entries: Vec<_> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
        entries.sort();
        entries.into_iter().find_map(|path| {
            if path.is_symlink() {
                None
            } else if path.is_dir() {
                search(&path, end)
            } else {
                path.ends_with(end).then_some(path)
            }
        })
    }
    search(folder, end).unwrap_or_else(|| panic!("no {end} below {}", folder.display()))
}

/// The cached wheel of a package.
pub(crate) fn wheel(world: &World, start: &str) -> PathBuf {
    let folder = world.cache().join("wheels");
    let all = names(&folder).into_iter().flat_map(|digest| {
        let folder = folder.join(digest);
        names(&folder).into_iter().map(move |name| folder.join(name))
    });
    all.into_iter()
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(start))
        })
        .expect("it is cached")
}

#[test]
fn what_is_intact_is_said_to_be_and_nothing_changes() {
    let Some(world) = built() else { return };
    world.server().clear_log();
    let folders = ["project", "store", "cache"];
    let before = folders.map(|folder| tree_snapshot(&world.path(folder)));
    let document = world.flambeau_json("verify", &[]);
    assert_eq!(document["damaged"], serde_json::json!([]));
    assert_eq!((&document["environments"], &document["trees"]), (&1.into(), &14.into()));
    let all = world.flambeau_json("verify", &["--all"]);
    assert_eq!((&all["trees"], &all["wheels"]), (&14.into(), &12.into()));
    assert_eq!(world.flambeau_json("verify", &["--quick"])["quick"], true);
    let said = world.flambeau(&["verify"]).ok();
    assert!(
        said.stdout.starts_with("verified 1 environment, 14 wheel trees (") && said.stdout.ends_with(": intact\n"),
        "{said}"
    );
    for (before, folder) in before.iter().zip(folders) {
        before.assert_same(&tree_snapshot(&world.path(folder)));
    }
    world.server().assert_no_requests();
}

#[test]
fn each_thing_can_be_named() {
    let Some(world) = built() else { return };
    let state = world.state();
    let key = text(&state, "EnvironmentKey");
    let tree = tree(&world, "torch");
    let wheel = wheel(&world, "torch-");
    let env = world
        .active()
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    for name in [
        key,
        &key[..8],
        "1",
        "cpu",
        &env,
        ".venv",
        &world.active().display().to_string(),
    ] {
        let document = world.flambeau_json("verify", &[name]);
        assert_eq!(
            (&document["environments"], &document["trees"]),
            (&1.into(), &14.into()),
            "{name}"
        );
    }
    for name in [
        tree.file_name().expect("a name").to_str().expect("text"),
        tree.to_str().expect("text"),
    ] {
        let document = world.flambeau_json("verify", &[name]);
        assert_eq!(
            (&document["environments"], &document["trees"]),
            (&0.into(), &1.into()),
            "{name}"
        );
    }
    for name in [
        wheel.file_name().expect("a name").to_str().expect("text"),
        wheel.to_str().expect("text"),
    ] {
        let document = world.flambeau_json("verify", &[name]);
        assert_eq!(
            (&document["trees"], &document["wheels"]),
            (&0.into(), &1.into()),
            "{name}"
        );
    }
    world.flambeau_error(1, &["verify", "nothing-of-the-sort"]);
    world.flambeau_error(1, &["verify", "7"]);
}

#[test]
fn without_an_active_environment_there_is_nothing_to_verify_but_everything() {
    let world = World::new();
    let error = world.flambeau_error(1, &["verify"]);
    assert!(crate::support::world::hints(&error).contains("--all"), "{error:#}");
    assert_eq!(
        world.flambeau_json("verify", &["--all"])["damaged"],
        serde_json::json!([])
    );
}

#[test]
fn a_quick_look_finds_what_was_written_to_after_it_was_published() {
    let Some(world) = built() else { return };
    let module = file(&tree(&world, "torch"), "torch/_tensor.py");
    for (way, kind) in WAYS {
        let told = damage(&module, way);
        assert_told(&damaged(&world, &["--quick"]), &told, kind);
        world.flambeau_json("verify", &["--quick", "--repair", "--offline"]);
    }
    world.flambeau_json("verify", &[]);
}

#[test]
fn f21_an_edit_of_a_shared_inode_names_every_environment() {
    let Some(world) = built() else { return };
    let python = world.any_python().expect("it was built");
    let other = world.path("other");
    fs::create_dir(&other).expect("a new folder");
    let other = other.display().to_string();
    let lock = [
        "lock",
        "--channel",
        "cpu",
        "--python",
        &python.version,
        "--project",
        &other,
    ];
    world
        .flambeau(&[&lock[..], &["torch==2.7.0", "typing-extensions"]].concat())
        .ok();
    world.flambeau(&["build", "--channel", "cpu", "--project", &other]).ok();
    let both = names(&world.store().join("envs"));
    assert_eq!(both.len(), 2);
    let library = file(&world.active(), "torch/lib/libtorch_fake.so");
    damage(&library, "flip");
    for arguments in [&[][..], &["--all"], &["--project", &other]] {
        let document = damaged(&world, arguments);
        for row in document["damaged"].as_array().expect("a list") {
            assert_eq!(row["environments"], serde_json::json!(both), "{row:#}");
        }
        assert_eq!(document["damaged"][0]["kind"], "changed");
    }
    let said = world.flambeau(&["verify"]).fails(3);
    assert!(both.iter().all(|name| said.stdout.contains(name)), "{said}");
    // One repair mends both, also the one that nobody asked about.
    world.flambeau_json("verify", &["--repair", "--offline"]);
    world.flambeau_json("verify", &["--all"]);
    for project in [world.project(), PathBuf::from(&other)] {
        let mut command = world.command(project.join(".venv/bin/python"));
        command.args(["-c", "import torch; print(torch.answer())"]);
        assert_eq!(world.run(command).ok().text(), "0");
    }
}

/// Root too: modes do not keep it from writing bytecode of another optimisation level beside the modules, nor its
/// programs from writing there by themselves, as pytest and numba do.
#[test]
fn f23_importing_everything_leaves_everything_as_it_was() {
    let Some(world) = built() else { return };
    let program = "import pkgutil, sysconfig, importlib, tempfile, pathlib, sys\n\
                   for module in pkgutil.walk_packages([sysconfig.get_paths()['purelib']], onerror=lambda name: None):\n\
                   \x20   try: importlib.import_module(module.name)\n\
                   \x20   except Exception: pass\n\
                   import torch, torchvision, filelock, os\n\
                   for folder in [os.path.dirname(torch.__file__), sysconfig.get_paths()['purelib']]:\n\
                   \x20   try: open(folder + '/__pycache__/own.pyc', 'wb')\n\
                   \x20   except OSError: pass\n\
                   \x20   else: print('written', folder)\n\
                   own = pathlib.Path(tempfile.mkdtemp(), 'own.py'); own.write_text('')\n\
                   sys.path.insert(0, str(own.parent)); import own\n\
                   print(torch.answer(), sys.flags.isolated or os.path.exists(own.__cached__))";
    for options in [&[][..], &["-O"], &["-OO"], &["-I"]] {
        let output = world.venv_python(&[options, &["-c", program]].concat()).ok();
        let answer = if options == ["-I"] { "0 1" } else { "0 True" };
        assert_eq!(output.text(), answer, "{options:?}");
        world.flambeau(&["verify"]).ok();
    }
    assert_eq!(world.flambeau_json("verify", &["--all"])["intact"], true);
}

#[test]
fn f22_what_pip_puts_into_an_environment_is_found_and_status_says_so() {
    let Some(world) = built() else { return };
    assert_eq!(world.flambeau(&["status"]).ok().stderr, "");
    let site = file(&world.active(), "00-flambeau.pth")
        .parent()
        .expect("site-packages")
        .to_owned();
    inside(&site, || {
        for (folder, name) in [("intruder", "__init__.py"), ("intruder-1.0.dist-info", "METADATA")] {
            fs::create_dir(site.join(folder)).expect("a new folder");
            fs::write(site.join(folder).join(name), "").expect("a new file");
        }
    });
    let bin = world.active().join("bin");
    inside(&bin, || {
        fs::write(bin.join("intruder"), "#!/bin/sh\n").expect("a new file");
    });
    let document = damaged(&world, &[]);
    for path in [
        site.join("intruder"),
        site.join("intruder-1.0.dist-info"),
        bin.join("intruder"),
    ] {
        let row = assert_told(&document, &path, "added");
        assert_eq!(
            row["owner"],
            world.active().file_name().expect("a name").to_str().expect("text")
        );
    }
    let status = world.flambeau(&["status"]).ok();
    assert!(
        status.stderr.contains("3 foreign files") && status.stderr.contains("flambeau verify --repair"),
        "{status}"
    );
    // So do the commands that people type most, without being asked.
    for command in [
        &["build", "--channel", "cpu"][..],
        &["run", "--channel", "cpu", "--", "true"],
    ] {
        let told = world.flambeau(command).ok();
        assert!(told.stderr.contains("3 foreign files"), "{command:?}: {told}");
    }
    world.flambeau_json("verify", &["--repair", "--offline"]);
    assert_eq!(world.flambeau(&["status"]).ok().stderr, "");
    assert!(
        !world
            .flambeau(&["build", "--channel", "cpu"])
            .ok()
            .stderr
            .contains("foreign")
    );
    assert!(!site.join("intruder").exists());
    world.flambeau_json("verify", &["--all"]);
}

#[test]
fn records_that_are_lost_are_made_good_by_reading_everything() {
    let Some(world) = built() else { return };
    fs::remove_dir_all(world.store().join("records")).expect("it was filled");
    fs::create_dir(world.store().join("records")).expect("it is gone");
    let document = world.flambeau_json("verify", &["--quick"]);
    assert_eq!(
        (&document["trees"], &document["damaged"]),
        (&14.into(), &serde_json::json!([]))
    );
    // What a crash may have damaged is read in full even then.
    let module = file(&tree(&world, "torch"), "torch/_tensor.py");
    let modified = fs::metadata(&module).and_then(|meta| meta.modified()).expect("a time");
    damage(&module, "flip");
    let open = fs::File::open(&module).expect("readable");
    open.set_modified(modified).expect("it is ours");
    world.flambeau_json("verify", &["--quick"]);
    for record in names(&world.store().join("records")) {
        fs::write(world.store().join("records").join(record), "").expect("it is ours");
    }
    assert_told(&damaged(&world, &["--quick"]), &module, "changed");
    world.flambeau_json("verify", &["--repair", "--offline"]);
    assert_eq!(world.build(&["--offline"])["reused"], true);
}

#[test]
fn rebuilding_gives_the_same_and_names_what_is_not() {
    let Some(world) = built() else { return };
    let before = ["envs", "wheels", "tmp"].map(|folder| tree_snapshot(&world.store().join(folder)));
    let document = world.build(&["--rebuild", "--offline"]);
    assert_eq!(document["reproducible"], true, "{document:#}");
    assert_eq!(document["tree_digest"], document["rebuilt_tree_digest"]);
    for (before, folder) in before.iter().zip(["envs", "wheels", "tmp"]) {
        before.assert_same(&tree_snapshot(&world.store().join(folder)));
    }
    // Somebody changed a file and every document that tells of it.
    let torch = tree(&world, "torch");
    let module = file(&torch, "torch/_tensor.py");
    let was = crate::support::encoding::sha256(&fs::read(&module).expect("readable"));
    damage(&module, "flip");
    let is = crate::support::encoding::sha256(&fs::read(&module).expect("readable"));
    let manifest = torch.join("manifest.json");
    let text = fs::read_to_string(&manifest).expect("text").replace(&was, &is);
    mode(&manifest, 0o644);
    fs::write(&manifest, text).expect("it is ours");
    let document = world
        .flambeau(&["build", "--rebuild", "--offline", "--json"])
        .fails(3)
        .json();
    assert_eq!(document["reproducible"], false);
    let difference = document["differences"][0]["path"].as_str().expect("a path");
    assert!(difference.ends_with("torch/_tensor.py"), "{document:#}");
    let error = world.flambeau_error(1, &["build", "--rebuild", "--channel", "cu118"]);
    assert!(text_of(&error).contains("nothing to compare"), "{error:#}");
}

fn text_of(error: &Value) -> &str {
    error["message"].as_str().expect("a message")
}
