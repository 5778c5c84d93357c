//! The same key and the same tree whoever builds, where, when and how.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::Value;

use crate::support::world::{World, text, tree_snapshot};

/// Builds in a shell with this umask.
fn build_with_umask(world: &World, umask: &str, arguments: &[&str]) -> Value {
    let script = format!("umask {umask}; exec \"$@\"");
    world.flambeau_in_shell(&script, arguments).ok().json()
}

/// Everything of an environment and its trees but what names a time.
fn content(world: &World, shelf: &str) -> String {
    let snapshot = tree_snapshot(&world.store().join(shelf));
    let lines = snapshot.lines().iter();
    let kept = lines.filter(|line| !line.contains("environment_state.json"));
    kept.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn f70_two_people_two_places_two_umasks_two_locales() {
    let here = World::new();
    let Some(python) = here.any_python() else { return };
    let first = build_with_umask(&here, "000", &["build", "--backend", "cuda", "--json"]);

    let mut there = World::new();
    for (name, value) in [
        ("LC_ALL", "tr_TR.UTF-8"),
        ("LANG", "tr_TR.UTF-8"),
        ("LANGUAGE", "tr"),
        ("TZ", "Asia/Kathmandu"),
        ("USER", "somebody"),
        ("LOGNAME", "somebody"),
        ("PYTHONHASHSEED", "123"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONOPTIMIZE", "2"),
        ("SOURCE_DATE_EPOCH", "1"),
    ] {
        there.set(name, value);
    }
    there.write("deep er/und größer/x", "");
    let project = there.project().join("deep er/und größer");
    let arguments = ["build", "--backend", "cuda", "--json", "--project"];
    let arguments = [&arguments[..], &[project.to_str().expect("UTF-8")]].concat();
    let second = build_with_umask(&there, "077", &arguments);

    for member in ["key", "tree_digest", "target", "packages", "python"] {
        assert_eq!(second[member], first[member], "{member}");
    }
    assert_ne!(second["path"], first["path"]);
    let name = |document: &Value| text(document, "path").rsplit_once('/').map(|(_, name)| name.to_owned());
    assert_eq!(name(&second), name(&first));
    let lockfile = |folder: &Path| fs::read(folder.join("lockfiles/pylock.cuda.toml")).expect("a lockfile");
    assert_eq!(lockfile(&project), lockfile(&here.project()));
    // Not only the digest: every name, mode, link and byte, bytecode included where Python allows it.
    if !["3.9", "3.10"].contains(&python.version.as_str()) {
        for shelf in ["envs", "wheels", "bytecode"] {
            assert_eq!(content(&there, shelf), content(&here, shelf), "{shelf}");
        }
    }
}

#[test]
fn f70_every_link_mode_gives_the_same_tree_and_works() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let first = world.build(&["--backend", "cuda"]);
    world.server().clear_log();
    for mode in ["hardlink", "reflink", "copy"] {
        let store = world.path(format!("store-{mode}"));
        let at = ["--store-dir", store.to_str().expect("UTF-8"), "--link-mode", mode];
        let built = world.build(&[&["--backend", "cuda"], &at[..]].concat());
        assert_eq!(built["reused"], false);
        for member in ["key", "tree_digest"] {
            assert_eq!(built[member], first[member], "{mode} {member}");
        }
        let site = site_packages(Path::new(text(&built, "path")));
        assert!(
            fs::symlink_metadata(site.join("filelock")).expect("a package").is_dir(),
            "{mode}"
        );
        let file = fs::symlink_metadata(site.join("filelock/__init__.py")).expect("a file");
        // Where the file system shares no blocks; that is said.
        if mode == "reflink" && file.is_symlink() {
            continue;
        }
        let links = file.nlink();
        assert_eq!(links > 1, mode == "hardlink", "{mode}: {links} links");
        // Nothing of it hangs on the trees.
        world.delete(&store.join("wheels"));
        world.delete(&store.join("bytecode"));
        assert_eq!(
            world.python_says(
                "import torch, torchvision, jinja2, sympy; print(torch.answer(), torch.backends.cudnn.version())"
            ),
            "118 90100",
            "{mode}"
        );
    }
    world.server().assert_no_requests();
}

#[test]
fn f70_another_file_system_gives_the_same_tree() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let memory = Path::new("/dev/shm");
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    let Some(folder) = (device(memory) != device(&world.path("")))
        .then(|| tempfile::tempdir_in(memory).ok())
        .flatten()
    else {
        let why = "/dev/shm is no file system of its own that can be written to";
        return crate::steps::skip("another file system", why);
    };
    let first = world.build(&["--backend", "cuda"]);
    let (store, cache) = (folder.path().join("store"), folder.path().join("cache"));
    let [store, cache] = [&store, &cache].map(|path| path.to_str().expect("UTF-8"));
    for places in [
        &["--store-dir", store][..],
        &["--store-dir", store, "--cache-dir", cache],
    ] {
        let built = world.build(&[&["--backend", "cuda"], places].concat());
        for member in ["key", "tree_digest"] {
            assert_eq!(built[member], first[member], "{places:?} {member}");
        }
        world.flambeau(&[places, &["verify", "--all"]].concat()).ok();
    }
}

/// The one `lib/python3.X/site-packages` of an environment.
pub(super) fn site_packages(environment: &Path) -> std::path::PathBuf {
    let mut folders = fs::read_dir(environment.join("lib")).expect("an environment").flatten();
    let folder = folders.next().expect("a folder of a Python");
    folder.path().join("site-packages")
}
