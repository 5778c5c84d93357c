//! What a lockfile holds, and for how long.

use super::{CPU, document, held, lock, pins, text};
use crate::steps::assert_error;
use crate::support::family::Shelf;
use crate::support::wheel::Wheel;
use crate::support::world::World;

#[test]
fn requirements_given_as_arguments_hold_afterwards() {
    let world = World::new();
    let arguments = [
        "--channel",
        "cpu",
        "--python",
        "3.11",
        "--platform",
        "linux_x86_64",
        "sympy<1.14",
        "MarkupSafe",
    ];
    lock(&world, &arguments).ok();
    let (requirements, targets) = held(&world, "cpu");
    assert_eq!(requirements, ["sympy<1.14", "MarkupSafe"]);
    assert_eq!(targets, ["cp311-manylinux_2_28_x86_64"]);
    let first = world.read(CPU);
    assert_eq!(
        pins(&world, "cpu"),
        ["markupsafe==3.0.2", "mpmath==1.3.0", "sympy==1.13.3"]
    );
    // Neither a plain lock nor an upgrade forgets them.
    for again in [&["--channel", "cpu"][..], &["--channel", "cpu", "--upgrade"], &[]] {
        lock(&world, again).ok();
        assert_eq!(world.read(CPU), first, "{again:?}");
    }
    // Others replace them; the target stays.
    lock(&world, &["--channel", "cpu", "filelock"]).ok();
    assert_eq!(held(&world, "cpu"), (vec!["filelock".to_owned()], targets));
    assert_eq!(pins(&world, "cpu"), ["filelock==3.18.0"]);
}

#[test]
fn the_default_is_the_pins_of_the_seed() {
    let world = World::new();
    lock(&world, &["--backend", "cpu", "--python", "3.11"]).ok();
    assert_eq!(held(&world, "cpu").0, ["torch==2.7.0", "torchvision==0.22.0"]);
    let pins = pins(&world, "cpu");
    for pin in ["torch==2.7.0+cpu", "torchvision==0.22.0+cpu", "numpy==2.2.5"] {
        assert!(pins.contains(&pin.to_owned()), "{pins:?}");
    }
}

#[test]
fn without_a_target_every_python_that_the_channel_has_is_locked() {
    let world = World::new();
    lock(&world, &["--backend", "cpu"]).ok();
    let targets = ["39", "310", "311", "312", "313"].map(|python| format!("cp{python}-manylinux_2_28_x86_64"));
    assert_eq!(held(&world, "cpu").1, targets);
    // One numpy does not fit them all, so two versions are locked side by side.
    let pins = pins(&world, "cpu");
    assert!(
        pins.contains(&"numpy==2.0.2".to_owned()) && pins.contains(&"numpy==2.2.5".to_owned()),
        "{pins:?}"
    );
}

#[test]
fn the_project_s_dependencies_and_our_own_are_locked_together() {
    let world = World::new();
    world.write(
        "pyproject.toml",
        "[project]\nname = \"mine\"\nversion = \"1\"\nrequires-python = \">=3.11,<3.13\"\n\
         dependencies = [\"sympy\", \"filelock ; python_version < '3.12'\"]\n\n\
         [tool.flambeau]\nrequirements = [\"torch==2.6.0\"]\nbackend = \"cpu\"\nconstraints = [\"sympy<1.14\"]\n",
    );
    lock(&world, &[]).ok();
    let (_, targets) = held(&world, "cpu");
    assert_eq!(targets, ["cp311-manylinux_2_28_x86_64", "cp312-manylinux_2_28_x86_64"]);
    let pins = pins(&world, "cpu");
    for pin in ["torch==2.6.0+cpu", "sympy==1.13.3", "filelock==3.18.0"] {
        assert!(pins.contains(&pin.to_owned()), "{pins:?}");
    }
    world.flambeau(&["lock", "--check"]).ok();
    // What the project names now makes the lockfile stale, and says what.
    let text = world.read("pyproject.toml");
    world.write("pyproject.toml", text.replace("\"sympy\"", "\"sympy\", \"fsspec\""));
    assert_error(
        world.flambeau(&["lock", "--check"]),
        1,
        &["pylock.cpu.toml", "stale", "fsspec", "`flambeau lock`"],
    );
    assert_error(
        world.flambeau(&["build", "--locked"]),
        1,
        &["pylock.cpu.toml", "stale", "fsspec"],
    );
    lock(&world, &[]).ok();
    world.flambeau(&["lock", "--check"]).ok();
}

#[test]
fn two_channels_are_locked_at_once() {
    let world = World::new();
    let document = lock(&world, &["--channel", "cu118,cpu", "--python", "3.11", "--json"])
        .ok()
        .json();
    let channels: Vec<_> = document["lockfiles"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| &row["channel"])
        .collect();
    assert_eq!(channels, ["cpu", "cu118"]);
    assert!(world.has("lockfiles/pylock.cuda.toml") && world.has(CPU));
    assert!(pins(&world, "cuda").contains(&"torch==2.7.0+cu118".to_owned()));
    assert!(pins(&world, "cuda").contains(&"nvidia-cudnn-cu11==9.1.0.70".to_owned()));
    assert!(!pins(&world, "cpu").iter().any(|pin| pin.starts_with("nvidia-")));
    // keys.json and `hash --all` tell one key for each.
    let keys: serde_json::Value = serde_json::from_str(&world.read("lockfiles/keys.json")).expect("JSON");
    let hashed = world.flambeau(&["hash", "--all", "--json"]).ok().json();
    for name in ["cuda", "cpu"] {
        let key = &keys["keys"][name]["cp311-manylinux_2_28_x86_64"];
        assert_eq!(key.as_str().map(str::len), Some(64), "{keys}");
        assert_eq!(&hashed["keys"][name]["cp311-manylinux_2_28_x86_64"], key);
    }
    assert_ne!(keys["keys"]["cuda"], keys["keys"]["cpu"]);
}

#[test]
fn several_pythons_and_platforms_are_targets_of_one_file() {
    let world = World::new();
    lock(&world, &["--channel", "cpu", "--python", "3.11,3.12", "torch==2.7.0"]).ok();
    let targets = ["cp311-manylinux_2_28_x86_64", "cp312-manylinux_2_28_x86_64"];
    assert_eq!(held(&world, "cpu").1, targets);
    let document = document(&world, "cpu");
    let torch = document["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .find(|one| text(&one["name"]) == "torch");
    let wheels = torch.expect("torch")["wheels"].as_array().expect("wheels").clone();
    let names: Vec<_> = wheels.iter().map(|wheel| text(&wheel["name"]).to_owned()).collect();
    assert_eq!(
        names,
        ["cp311-cp311", "cp312-cp312"].map(|tag| format!("torch-2.7.0+cpu-{tag}-manylinux_2_28_x86_64.whl"))
    );
    // setuptools is for 3.12 and newer alone.
    let setuptools = document["packages"].as_array().expect("packages").iter();
    let setuptools = setuptools
        .clone()
        .find(|one| text(&one["name"]) == "setuptools")
        .expect("setuptools");
    assert!(text(&setuptools["marker"]).contains("3.1"), "{setuptools}");
    assert_ne!(
        world
            .flambeau(&["hash", "--channel", "cpu", "--target", targets[0]])
            .ok()
            .text(),
        world
            .flambeau(&["hash", "--channel", "cpu", "--target", targets[1]])
            .ok()
            .text()
    );
}

#[test]
fn locking_again_gives_the_same_bytes_anywhere() {
    let world = World::new();
    let arguments = ["--channel", "cu118", "--python", "3.10,3.11"];
    lock(&world, &arguments).ok();
    let (lockfile, keys) = (
        world.read("lockfiles/pylock.cuda.toml"),
        world.read("lockfiles/keys.json"),
    );
    let output = lock(&world, &["--channel", "cu118", "--upgrade"]).ok();
    assert!(output.stdout.starts_with("unchanged: "), "{output}");
    let other = World::new();
    lock(&other, &arguments).ok();
    for world in [&world, &other] {
        assert_eq!(world.read("lockfiles/pylock.cuda.toml"), lockfile);
        assert_eq!(world.read("lockfiles/keys.json"), keys);
    }
}

#[test]
fn pins_hold_until_an_upgrade_is_asked_for() {
    let world = World::new();
    lock(&world, &["--channel", "cpu", "--python", "3.11", "fsspec", "filelock"]).ok();
    for name in ["fsspec", "filelock"] {
        let wheel = Wheel::new(name, "9999.1").file(&format!("{name}/__init__.py"), "");
        world.server().offer(Shelf::Index, wheel);
    }
    lock(&world, &[]).ok();
    assert_eq!(pins(&world, "cpu"), ["filelock==3.18.0", "fsspec==2025.3.2"]);
    lock(&world, &["--upgrade-package", "fsspec"]).ok();
    assert_eq!(pins(&world, "cpu"), ["filelock==3.18.0", "fsspec==9999.1"]);
    lock(&world, &["--upgrade"]).ok();
    assert_eq!(pins(&world, "cpu"), ["filelock==9999.1", "fsspec==9999.1"]);
}

#[test]
fn a_check_asks_nobody_and_writes_nothing() {
    let world = World::new();
    assert_error(
        world.flambeau(&["lock", "--check", "--channel", "cpu"]),
        1,
        &["no lockfile", "pylock.cpu.toml"],
    );
    lock(&world, &["--channel", "cpu", "--python", "3.11", "filelock"]).ok();
    world.server().clear_log();
    let before = crate::support::world::tree_snapshot(&world.project());
    world.flambeau(&["lock", "--check"]).ok();
    world.write(
        "pyproject.toml",
        "[project]\nname = \"x\"\nversion = \"1\"\ndependencies = [\"fsspec\"]\n",
    );
    let output = world.flambeau(&["lock", "--check", "--json"]).fails(1);
    assert!(
        output.json()["error"]["message"].to_string().contains("fsspec"),
        "{output}"
    );
    std::fs::remove_file(world.project().join("pyproject.toml")).expect("it was written");
    before.assert_same(&crate::support::world::tree_snapshot(&world.project()));
    world.server().assert_no_requests();
}

#[test]
fn comments_at_the_head_survive() {
    let world = World::new();
    lock(&world, &["--channel", "cpu", "--python", "3.11", "filelock"]).ok();
    let head = "# Pinned for the release; ask Ada before you change it.\n# SPDX-License-Identifier: MIT\n\n";
    world.write(CPU, head.to_owned() + &world.read(CPU));
    let commented = world.read(CPU);
    lock(&world, &[]).ok();
    assert_eq!(world.read(CPU), commented);
    lock(&world, &["--channel", "cpu", "fsspec"]).ok();
    let text = world.read(CPU);
    assert!(
        text.starts_with(head) && text.contains("fsspec") && !text.contains("filelock"),
        "{text}"
    );
}

#[test]
fn a_newer_minor_version_is_read_with_a_warning_and_a_major_one_is_left_alone() {
    let world = World::new();
    lock(&world, &["--channel", "cpu", "--python", "3.11", "filelock"]).ok();
    let ours = world.read(CPU);
    let version = |version: &str| ours.replace("lock-version = \"1.0\"", &format!("lock-version = \"{version}\""));
    let said = "lock-version is 1.9, newer than 1.0";
    world.write(CPU, version("1.9"));
    for verb in [["lock", "--check"], ["hash", "--all"], ["fetch", "--all"]] {
        let output = world.flambeau(&verb).ok();
        assert!(output.stderr.contains(said), "{verb:?}\n{output}");
    }
    let output = lock(&world, &["--channel", "cpu"]).ok();
    assert!(
        output.stderr.contains(said) && output.stderr.contains("not written again"),
        "{output}"
    );
    assert_eq!(world.read(CPU), ours);
    world.write(CPU, version("2.0"));
    for verb in [["lock", "--check"], ["hash", "--all"], ["lock", "--upgrade"]] {
        assert_error(world.flambeau(&verb), 1, &["lock-version is 2.0; only 1.x can be read"]);
    }
    assert_eq!(world.read(CPU), version("2.0"));
}

#[test]
fn contradictions_are_explained_by_what_one_can_change() {
    let world = World::new();
    lock(&world, &["--channel", "cpu", "--python", "3.11", "filelock"]).ok();
    let before = world.read(CPU);
    let output = lock(&world, &["--channel", "cpu", "torn"]);
    assert_error(output, 1, &["torn", "sympy", "mpmath"]);
    let output = lock(&world, &["--channel", "cpu", "torch==2.7.0", "sympy<1.13"]);
    assert_error(output, 1, &["torch", "sympy", "1.13"]);
    let output = lock(&world, &["--channel", "cpu", "needs-new-python==2.0"]);
    assert_error(output, 1, &["needs-new-python", "3.99"]);
    let output = lock(&world, &["--channel", "cpu", "not a requirement"]);
    assert_error(output, 1, &["`not a requirement`"]);
    let output = lock(&world, &["--channel", "cpu", "x @ https://example.org/x-1.tar.gz"]);
    assert_error(output, 1, &["https://example.org/"]);
    assert_eq!(world.read(CPU), before);
}

#[test]
fn pre_releases_and_yanked_versions_are_not_chosen_unasked() {
    let world = World::new();
    lock(
        &world,
        &[
            "--channel",
            "cpu",
            "--python",
            "3.11",
            "pre-release",
            "yanked",
            "needs-new-python",
        ],
    )
    .ok();
    assert_eq!(
        pins(&world, "cpu"),
        ["needs-new-python==1.0", "pre-release==1.0", "yanked==1.0"]
    );
    let output = lock(&world, &["--channel", "cpu", "pre-release>=2.0rc1", "yanked==1.1"]).ok();
    assert_eq!(pins(&world, "cpu"), ["pre-release==2.0rc1", "yanked==1.1"]);
    assert!(output.stderr.contains("breaks & burns"), "{output}");
}

#[test]
fn a_backend_and_a_channel_of_another_contradict_each_other() {
    let world = World::new();
    let output = lock(&world, &["--backend", "rocm", "--channel", "cpu"]);
    assert_error(output, 1, &["cpu", "ROCm"]);
    assert!(!world.has("lockfiles"));
    world.server().assert_no_requests();
}
