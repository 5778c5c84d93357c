//! `lock`: which targets a lockfile is for where nobody names them all, and what is left out.

use serde_json::Value;

use crate::steps::assert_error;
use crate::support::family::Shelf;
use crate::support::wheel::Wheel;
use crate::support::world::World;

const CPU: &str = "lockfiles/pylock.cpu.toml";
const LINUX: &str = "manylinux_2_28_x86_64";
const OTHERS: [(&str, &str); 3] = [
    ("manylinux_2_28_aarch64", "2.7.0+cpu"),
    ("macosx_11_0_arm64", "2.7.0"),
    ("win_amd64", "2.7.0+cpu"),
];

/// A world whose channel `cpu` has torch for two Pythons on every platform, as PyTorch's own has: with a local label on
/// Linux and Windows, without one on macOS.
fn everywhere() -> World {
    let world = World::new();
    for (platform, version) in OTHERS {
        for python in ["cp311", "cp312"] {
            let abi = if platform.starts_with("mac") { "none" } else { python };
            let torch = Wheel::new("torch", version)
                .tag(&format!("{python}-{abi}-{platform}"))
                .requires_python(">=3.9.0")
                .file("torch/version.py", "cuda = None\nhip = None\n")
                .requires_all(["filelock", "numpy"]);
            world.server().offer(Shelf::Channel("cpu"), torch);
        }
    }
    world
}

/// A numpy for these platforms and both Pythons.
fn numpy(world: &World, platforms: &[&str]) {
    for platform in platforms {
        for python in ["cp311", "cp312"] {
            let wheel = Wheel::new("numpy", "2.2.5").tag(&format!("{python}-{python}-{platform}"));
            world.server().offer(Shelf::Index, wheel.file("numpy/__init__.py", ""));
        }
    }
}

/// The targets of the lockfile in `document`, as written.
fn targets(world: &World, what: &str) -> Vec<String> {
    let document: toml::Table = world.read(CPU).parse().expect("TOML");
    let list = document["tool"]["flambeau"].get(what).and_then(toml::Value::as_array);
    let text = |one: &toml::Value| one.get("target").unwrap_or(one).as_str().expect("a text").to_owned();
    list.into_iter().flatten().map(text).collect()
}

#[test]
fn every_platform_that_has_torch_is_locked_by_default() {
    let world = everywhere();
    numpy(&world, &["manylinux2014_aarch64", "macosx_11_0_arm64", "win_amd64"]);
    let output = world.flambeau(&["lock", "--channel", "cpu", "torch==2.7.0"]).ok();
    assert!(!output.stderr.contains("left out"), "{output}");
    let mut expected: Vec<String> = ["39", "310", "311", "312", "313"]
        .map(|python| format!("cp{python}-{LINUX}"))
        .into();
    for python in ["cp311", "cp312"] {
        for platform in ["manylinux_2_28_aarch64", "macosx_14_0_arm64", "win_amd64"] {
            expected.push(format!("{python}-{platform}"));
        }
    }
    let mut found = targets(&world, "targets");
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    // One file holds both versions of torch, told apart by markers.
    let document: toml::Table = world.read(CPU).parse().expect("TOML");
    let packages = document["packages"].as_array().expect("packages");
    let torch: Vec<_> = packages
        .iter()
        .filter(|package| package["name"].as_str() == Some("torch"))
        .map(|package| {
            (
                package["version"].as_str().expect("text"),
                package["marker"].as_str().expect("text"),
            )
        })
        .collect();
    assert_eq!(
        torch,
        [
            ("2.7.0", "sys_platform == 'darwin'"),
            ("2.7.0+cpu", "sys_platform != 'darwin'")
        ]
    );
    let keys: Value = serde_json::from_str(&world.read("lockfiles/keys.json")).expect("JSON");
    assert_eq!(keys["keys"]["cpu"].as_object().map(serde_json::Map::len), Some(11));
    // Locking again keeps them, and the bytes.
    let before = world.read(CPU);
    world.flambeau(&["lock"]).ok();
    assert_eq!(world.read(CPU), before);
    world.flambeau(&["lock", "--check"]).ok();
}

#[test]
fn a_default_target_without_a_wheel_is_left_out_and_comes_back() {
    let world = everywhere();
    numpy(&world, &["macosx_11_0_arm64"]);
    let output = world
        .flambeau(&["lock", "--channel", "cpu", "--json", "torch==2.7.0"])
        .ok();
    let warnings = output.json()["warnings"].to_string();
    for part in [
        "left out",
        "cp311-win_amd64",
        "cp312-manylinux_2_28_aarch64",
        "numpy",
        "no wheel",
    ] {
        assert!(warnings.contains(part), "{part}: {output}");
    }
    let left_out = [
        "cp311-manylinux_2_28_aarch64",
        "cp311-win_amd64",
        "cp312-manylinux_2_28_aarch64",
        "cp312-win_amd64",
    ];
    assert_eq!(targets(&world, "left-out"), left_out);
    assert_eq!(targets(&world, "targets").len(), 7);
    world.flambeau(&["lock", "--check"]).ok();
    // What did not fit once is tried again.
    numpy(&world, &["win_amd64"]);
    world.flambeau(&["lock"]).ok();
    assert_eq!(targets(&world, "left-out"), [left_out[0], left_out[2]]);
    assert_eq!(targets(&world, "targets").len(), 9);
}

#[test]
fn a_named_target_without_a_wheel_is_an_error() {
    let world = everywhere();
    numpy(&world, &["macosx_11_0_arm64"]);
    let lock =
        |arguments: &[&str]| world.flambeau(&[&["lock", "--channel", "cpu", "torch==2.7.0"], arguments].concat());
    for arguments in [
        &["--python", "3.11", "--platform", "linux_x86_64,win_amd64"][..],
        // Its Python is chosen for it, and none fits.
        &["--platform", "linux_x86_64,win_amd64"],
        &["--platform", "win_amd64"],
    ] {
        assert_error(
            lock(arguments),
            1,
            &["-win_amd64", "numpy 2.2.5 has no wheel for this platform"],
        );
        assert!(!world.has(CPU));
    }
    assert_error(
        lock(&["--python", "3.14"]),
        1,
        &["cp314-", "cannot install torch ==2.7.0", "for Python 3.9"],
    );
    // A Python alone leaves the platforms free.
    let output = lock(&["--python", "3.11"]).ok();
    assert!(
        output
            .stderr
            .contains("left out cp311-manylinux_2_28_aarch64, cp311-win_amd64"),
        "{output}"
    );
    assert_eq!(
        targets(&world, "targets"),
        ["cp311-manylinux_2_28_x86_64", "cp311-macosx_14_0_arm64"]
    );
}

#[test]
fn the_project_s_own_lists_and_flags_keep_their_meaning() {
    let world = everywhere();
    numpy(&world, &["macosx_11_0_arm64", "win_amd64"]);
    world.write(
        "pyproject.toml",
        "[tool.flambeau]\nchannel = \"cpu\"\nrequirements = [\"torch==2.7.0\"]\nplatforms = [\"win_amd64\", \"linux_x86_64\"]\n\
         python-versions = [\"3.12\"]\n",
    );
    world.flambeau(&["lock"]).ok();
    let configured = ["cp312-manylinux_2_28_x86_64", "cp312-win_amd64"];
    assert_eq!(targets(&world, "targets"), configured);
    world.flambeau(&["lock", "--check"]).ok();
    world.flambeau(&["lock", "--platform", "macosx_14_0_arm64"]).ok();
    assert_eq!(targets(&world, "targets"), ["cp312-macosx_14_0_arm64"]);
    assert_error(
        world.flambeau(&["lock", "--check"]),
        1,
        &["cp312-win_amd64 is wanted", "cp312-macosx_14_0_arm64 is in it"],
    );
}

#[test]
fn the_backend_of_the_index_s_torch_is_found_out_once_for_each_target() {
    let world = World::new();
    for (platform, cuda) in [
        ("manylinux_2_28_aarch64", "None"),
        ("macosx_11_0_arm64", "'none of it'"),
        ("win_amd64", "None"),
    ] {
        let abi = if platform.starts_with("mac") { "none" } else { "cp311" };
        let torch = Wheel::new("torch", "2.7.0")
            .tag(&format!("cp311-{abi}-{platform}"))
            .file("torch/version.py", format!("cuda = {cuda}\nhip = None\n"));
        world.server().offer(Shelf::Index, torch);
    }
    let arguments = ["lock", "--channel", "pip", "--python", "3.11", "torch==2.7.0"];
    world.flambeau(&arguments).ok();
    let document: toml::Table = world.read("lockfiles/pylock.pip.toml").parse().expect("TOML");
    let found: Vec<_> = document["tool"]["flambeau"]["targets"]
        .as_array()
        .expect("targets")
        .iter()
        .map(|one| {
            (
                one["target"].as_str().expect("text"),
                one["backend"].as_str().expect("text"),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("cp311-manylinux_2_28_x86_64", "CUDA"),
            ("cp311-manylinux_2_28_aarch64", "CPU"),
            // Nothing is asked of a wheel for macOS.
            ("cp311-macosx_14_0_arm64", "CPU"),
            ("cp311-win_amd64", "CPU"),
        ]
    );
    world.server().clear_log();
    world.flambeau(&arguments).ok();
    assert!(
        world.server().requests_to(".whl").is_empty(),
        "{:?}",
        world.server().requests_to(".whl")
    );
}
