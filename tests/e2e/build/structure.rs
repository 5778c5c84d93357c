//! How an environment is put together, by DESIGN's rule: what is a link, what is real, and that RECORD is true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use super::reproducible::site_packages;
use crate::support::encoding::sha256_in_record;
use crate::support::world::{World, text};

/// Every path below a folder with what it is, links not followed.
fn walk(folder: &Path, found: &mut Vec<(PathBuf, fs::Metadata)>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let metadata = entry.metadata().expect("it is there");
        if metadata.is_dir() {
            walk(&entry.path(), found);
        }
        found.push((entry.path(), metadata));
    }
}

fn walked(folder: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let mut found = Vec::new();
    walk(folder, &mut found);
    found
}

/// Every file below a folder, through links too, by its path relative to the folder.
fn files_through_links(folder: &Path, prefix: &str, found: &mut BTreeMap<String, PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files_through_links(&entry.path(), &format!("{name}/"), found);
        } else {
            found.insert(name, entry.path());
        }
    }
}

fn is_real_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).expect("it is there").is_dir()
}

#[test]
fn folders_are_real_but_for_bytecode_and_headers() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.write(
        "pyproject.toml",
        "[tool.flambeau]\nrequirements = ['torch==2.7.0', 'torchvision==0.22.0', 'corp-alpha', 'corp-beta', 'corp-hidden']\n",
    );
    let built = world.build(&["--backend", "cuda"]);
    let environment = PathBuf::from(text(&built, "path"));
    let site = site_packages(&environment);

    for folder in [
        "filelock",
        "sympy",
        "nvidia",
        "nvidia/cublas/lib",
        "torch",
        "torch/lib",
        "torch/bin",
        "torch/nn",
        "torchvision.libs",
        "numpy/_core",
        // Two wheels share the namespace.
        "corp",
        "corp/shared",
        "corp/alpha",
        "corp/hidden/data/one/two",
        "corp/hidden/text",
        // Modules of several wheels.
        "__pycache__",
    ] {
        assert!(is_real_folder(&site.join(folder)), "{folder}");
    }
    for (folder, shelf) in [
        ("filelock/__pycache__", "bytecode"),
        ("torch/nn/__pycache__", "bytecode"),
        ("nvidia/cublas/include", "wheels"),
    ] {
        let link = fs::read_link(site.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        assert!(link.is_relative(), "{}", link.display());
        let target = site.join(folder).canonicalize().expect("it leads somewhere");
        assert!(target.starts_with(world.store().join(shelf)), "{}", target.display());
    }
    // No module, no data file and nothing outside packages is anywhere but in the environment.
    for (path, metadata) in walked(&environment) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        assert!(path.exists(), "{} leads nowhere", path.display());
        let bytecode = path.parent().is_some_and(|parent| parent.ends_with("__pycache__"));
        let headers = path.starts_with(&site) && ["include", "headers"].contains(&&*name);
        let own = path.parent() == Some(&*environment.join("bin")) || name == "lib64";
        assert!(
            !metadata.is_symlink() || name == "__pycache__" || bytecode || headers || own,
            "{}",
            path.display()
        );
    }
    let shared: BTreeSet<_> = fs::read_dir(site.join("nvidia"))
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(shared.len(), 11, "{shared:?}");
    let infos: Vec<_> = fs::read_dir(&site)
        .expect("site-packages")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".dist-info"))
        .collect();
    assert_eq!(Some(infos.len() as u64), built["packages"].as_u64());
    for info in infos {
        assert!(is_real_folder(&info.path()), "{}", info.path().display());
    }
    assert_eq!(
        world.python_says(
            "import corp.alpha, corp.beta.deep.er.module as m, corp.hidden; print(corp.alpha.NAME, m.NAME)"
        ),
        "corp-alpha corp-beta"
    );
}

#[test]
fn two_packages_that_disagree_about_a_file_are_named_and_strict_refuses() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.write(
        "pyproject.toml",
        "[tool.flambeau]\nrequirements = ['torch==2.7.0', 'corp-alpha', 'corp-beta', 'corp-clash']\n",
    );
    let python = world.any_python().expect("it is there");
    let path = format!("lib/python{}/site-packages/corp/shared/notice.txt", python.version);
    let output = world.flambeau(&["build", "--backend", "cpu"]).ok();
    // alpha and beta bring the same bytes, which is no conflict; of the others the later name wins.
    let warnings: Vec<_> = output.stderr.lines().filter(|line| line.contains(&path)).collect();
    assert!(
        !warnings.is_empty() && warnings.iter().all(|line| line.starts_with("warning: ")),
        "{output}"
    );
    assert!(warnings.iter().all(|line| line.contains("corp-clash")), "{output}");
    assert_eq!(world.read(format!(".venv/{path}")), "another text\n");
    let conflicts = world.state()["Conflicts"].clone();
    assert_eq!(
        (&conflicts[0]["Path"], &conflicts[0]["Winner"]),
        (&path.as_str().into(), &"corp-clash".into())
    );

    let error = world.flambeau_error(3, &["build", "--strict"]);
    assert!(text(&error, "message").contains(&path), "{error:#}");
    world.write(
        "pyproject.toml",
        "[tool.flambeau]\nrequirements = ['torch==2.7.0', 'corp-alpha', 'corp-beta']\n",
    );
    world.build(&["--strict"]);
    assert_eq!(world.state().get("Conflicts"), None);
}

#[test]
fn files_are_shared_read_only_old_and_free_of_paths() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let built = world.build(&["--backend", "cuda"]);
    let environment = PathBuf::from(text(&built, "path"));
    let folder_mode = fs::metadata(&environment).expect("an environment").mode();
    assert_eq!(folder_mode & 0o7777, 0o555);
    let own = ["pyvenv.cfg", "environment_state.json"].map(|name| environment.join(name));
    let world_root = world.path("").canonicalize().expect("the world");
    let world_root = world_root
        .to_str()
        .expect("UTF-8")
        .trim_end_matches('/')
        .as_bytes()
        .to_owned();
    let mut executables = 0;
    let mut seen = 0;
    for (path, metadata) in walked(&environment)
        .into_iter()
        .chain(walked(&world.store().join("wheels")))
    {
        let shown = path.display();
        if metadata.is_symlink() {
            let target = fs::read_link(&path).expect("a link");
            assert!(
                target.is_relative() || path == environment.join("bin/python"),
                "{shown}"
            );
            assert!(path.exists(), "{shown} leads nowhere");
            continue;
        }
        let mode = metadata.mode() & 0o7777;
        if metadata.is_dir() {
            assert_eq!(mode, 0o555, "{shown}");
            continue;
        }
        assert!([0o444, 0o555].contains(&mode), "{shown} has {mode:o}");
        executables += usize::from(mode == 0o555);
        assert_eq!(metadata.mtime(), 315_532_800, "{shown} is not of 1980");
        let bytes = fs::read(&path).expect("readable");
        let names_the_world = bytes.windows(world_root.len()).any(|window| window == world_root);
        assert!(!names_the_world, "{shown} holds the path of the build");
        if path.starts_with(&environment) {
            let links = metadata.nlink();
            assert_eq!(links > 1, !own.contains(&path), "{shown} has {links} links");
            seen += 1;
        }
    }
    assert!(seen > 100 && executables > 10, "{seen} files, {executables} executable");
    // What a wheel marks as executable stays so, what it does not mark is not made so.
    let site = site_packages(&environment);
    for (path, mode) in [
        ("torch/bin/torch_shm_manager", 0o555),
        ("torch/lib/libtorch_fake.so", 0o555),
        ("nvidia/cublas/lib/libcublas.so.11", 0o444),
        ("torch/__init__.py", 0o444),
        ("../../../bin/torchrun", 0o555),
    ] {
        assert_eq!(
            fs::metadata(site.join(path)).expect(path).mode() & 0o7777,
            mode,
            "{path}"
        );
    }
}

#[test]
fn every_record_is_complete_and_true() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.write(
        "pyproject.toml",
        "[tool.flambeau]\nrequirements = ['torch==2.7.0', 'torchvision==0.22.0', 'kitchen-sink', 'corp-alpha', 'corp-beta', 'pth-carrier']\n",
    );
    let built = world.build(&["--backend", "cuda"]);
    let environment = PathBuf::from(text(&built, "path"));
    let site = site_packages(&environment);
    let mut listed = BTreeSet::new();
    let mut records = 0;
    for entry in fs::read_dir(&site).expect("site-packages").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".dist-info") {
            continue;
        }
        records += 1;
        assert!(!entry.path().join("REQUESTED").exists(), "{name}");
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_path(entry.path().join("RECORD"))
            .expect("a RECORD");
        for row in reader.records() {
            let row = row.expect("a row of three fields");
            let (path, digest, size) = (&row[0], &row[1], &row[2]);
            let bytes = fs::read(site.join(path)).unwrap_or_else(|error| panic!("{name} lists {path}: {error}"));
            assert!(!path.ends_with(".pyc"), "{name}: {path}");
            if path == format!("{name}/RECORD") {
                assert_eq!((digest, size), ("", ""), "{name}: {path}");
            } else {
                assert_eq!(digest, sha256_in_record(&bytes), "{name}: {path}");
                assert_eq!(size, bytes.len().to_string(), "{name}: {path}");
            }
            listed.insert(normal(&site.join(path)));
        }
    }
    assert_eq!(Some(records), built["packages"].as_u64());
    let mut present = BTreeMap::new();
    files_through_links(&site, "", &mut present);
    let unlisted: Vec<_> = present
        .into_iter()
        .filter(|(_, path)| !listed.contains(path))
        .map(|(name, _)| name)
        .filter(|name| !name.ends_with(".pyc"))
        .collect();
    let own = [
        "00-flambeau.pth",
        "00-flambeau.start",
        "_flambeau.py",
        "pip/__init__.py",
        "pip/__main__.py",
    ];
    assert_eq!(unlisted, own);
    let scripts: BTreeSet<_> = fs::read_dir(environment.join("bin"))
        .expect("bin")
        .flatten()
        .filter(|entry| !listed.contains(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let python = world.any_python().expect("it has just been used");
    let own = [
        "activate",
        "activate.csh",
        "activate.fish",
        "activate.nu",
        "activate.ps1",
        "pip",
        "pip3",
        "python",
        "python3",
        &format!("python{}", python.version),
    ];
    assert_eq!(scripts, own.map(str::to_owned).into_iter().collect());
    // `.data` has gone where it belongs.
    for path in [
        "share/kitchen/recipe.txt",
        "etc/kitchen.conf",
        "bin/kitchen-script",
        "bin/kitchen",
    ] {
        assert!(listed.contains(&environment.join(path)), "{path}");
    }
}

/// The path with its `..` taken literally, as RECORD means them.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            normal.pop();
        } else {
            normal.push(part);
        }
    }
    normal
}

#[test]
fn a_store_can_be_moved_as_a_whole() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let built = world.build(&["--backend", "cuda"]);
    let moved = world.path("else where");
    fs::rename(world.store(), &moved).expect("our folder");
    fs::create_dir(world.store()).expect("the name is free");
    let environment = moved.join("envs").join(world.active().file_name().expect("a name"));
    fs::remove_file(world.project().join(".venv")).expect("a link");
    symlink(&environment, world.project().join(".venv")).expect("the name is free");

    assert_eq!(
        world.python_says(
            "import torch, torchvision, jinja2, sys; print(torch.answer(), torch.backends.cudnn.version(), sys.prefix)"
        ),
        format!("118 90100 {}", world.project().join(".venv").display())
    );
    assert!(
        world
            .venv_tool("torchrun", &["--help"])
            .ok()
            .stdout
            .starts_with("usage: torchrun")
    );
    let isympy = world.venv_tool("isympy", &[]).ok();
    assert_eq!(isympy.text(), "isympy");
    assert_eq!(world.state()["EnvironmentKey"], built["key"]);
    world.server().clear_log();
    let again = world.build(&["--backend", "cuda", "--store-dir", moved.to_str().expect("UTF-8")]);
    assert_eq!((&again["reused"], &again["key"]), (&true.into(), &built["key"]));
    world.server().assert_no_requests();
}
