//! `export`, and `lock --urls`: lockfiles that other tools install from.

use serde_json::Value;

use crate::support::world::{World, text};

#[test]
fn an_exported_lockfile_has_every_url_and_the_same_key() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world.flambeau_json("lock", &["--backend", "cuda", "--python", &python.version]);
    let lockfile = world.read("lockfiles/pylock.cuda.toml");
    assert!(lockfile.contains("path = \"../cache/wheels/"));
    let printed = world
        .flambeau(&["export", "--channel", "cu118", "--format", "pylock"])
        .ok();
    assert!(!printed.stdout.contains("path = "), "{printed}");
    assert!(
        printed.stdout.contains(&format!("url = \"{}/", world.server().url())),
        "{printed}"
    );
    // The channel's URLs stay canonical.
    assert!(
        printed
            .stdout
            .contains("url = \"https://download.pytorch.org/whl/cu118/torch-2.7.0%2Bcu118-")
    );
    let document = world.flambeau_json(
        "export",
        &["--channel", "cu118", "--format", "pylock", "-o", "out.toml"],
    );
    assert_eq!(document["text"], Value::Null);
    assert_eq!(world.read("out.toml"), printed.stdout);
    let native = world.flambeau_json("hash", &["--channel", "cu118"]);
    assert_eq!(
        world.flambeau_json("hash", &["--from", "out.toml"])["key"],
        native["key"]
    );
    assert_eq!(
        world.read("lockfiles/pylock.cuda.toml"),
        lockfile,
        "export writes nothing else"
    );
}

#[test]
fn urls_stay_until_they_are_taken_back() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let lock = |flags: &[&str]| {
        let document = world.flambeau_json("lock", &[&["--backend", "cpu"], flags].concat());
        (
            document["lockfiles"][0]["changed"].clone(),
            world.read("lockfiles/pylock.cpu.toml"),
        )
    };
    let (_, without) = lock(&["--python", &python.version]);
    let (changed, with) = lock(&["--urls"]);
    assert_eq!(changed, true);
    assert!(!with.contains("path = ") && without.contains("path = "), "{with}");
    let exported = world
        .flambeau(&["export", "--channel", "cpu", "--format", "pylock"])
        .ok();
    assert_eq!(exported.stdout, with);
    assert_eq!(lock(&[]), (false.into(), with.clone()));
    let built = world.build(&["--backend", "cpu", "--locked"]);
    assert_eq!(lock(&["--no-urls"]), (true.into(), without));
    assert_eq!(world.flambeau_json("hash", &["--backend", "cpu"])["key"], built["key"]);
    assert_eq!(lock(&[]).0, false);
    world.flambeau(&["lock", "--check", "--urls"]).fails(2);
}

#[test]
fn requirements_are_of_one_target() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world.flambeau_json("lock", &["--backend", "rocm", "--python", "3.9,3.11,3.13"]);
    let other = world
        .flambeau(&[
            "export",
            "--backend",
            "rocm",
            "--format",
            "requirements",
            "--target",
            "cp39-linux_x86_64",
        ])
        .ok();
    assert!(
        other.stdout.starts_with(
            "# Made by `flambeau export --format requirements --channel rocm6.3 --target cp39-manylinux_2_28_x86_64`.\n"
        ),
        "{other}"
    );
    let torch = "torch @ https://download.pytorch.org/whl/rocm6.3/torch-2.7.0%2Brocm6.3-cp39-cp39-manylinux_2_28_x86_64.whl \\\n";
    assert!(other.stdout.contains(torch), "{other}");
    assert!(
        other.stdout.contains("networkx==3.2.1 \\\n    --hash=sha256:"),
        "{other}"
    );
    let packages = other.stdout.matches("--hash=sha256:").count();
    let document = world.flambeau_json(
        "export",
        &[
            "--backend",
            "rocm",
            "--format",
            "requirements",
            "--target",
            "cp39-linux_x86_64",
        ],
    );
    assert_eq!(
        (text(&document, "text"), document["packages"].as_u64()),
        (&*other.stdout, Some(packages as u64))
    );
    if ["3.9", "3.11", "3.13"].contains(&python.version.as_str()) {
        let own = world
            .flambeau(&["export", "--backend", "rocm", "--format", "requirements"])
            .ok();
        assert!(own.stdout.contains(&format!("-{0}-{0}-", python.tag())), "{own}");
    }
}

#[test]
fn what_the_index_no_longer_has_is_named() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world.flambeau_json("lock", &["--backend", "cpu", "--python", &python.version]);
    let lockfile = world.read("lockfiles/pylock.cpu.toml");
    let line = lockfile
        .lines()
        .find(|line| line.contains("name = \"filelock-"))
        .expect("filelock");
    let digest = line
        .split("sha256 = \"")
        .nth(1)
        .and_then(|rest| rest.get(..64))
        .expect("a digest");
    world.write("lockfiles/pylock.cpu.toml", lockfile.replace(digest, &"0".repeat(64)));
    let error = world.flambeau_error(
        4,
        &["export", "--backend", "cpu", "--format", "pylock", "-o", "out.toml"],
    );
    assert!(
        text(&error, "message").contains("does not list filelock-3.18.0-py3-none-any.whl with the digest"),
        "{error:#}"
    );
    assert!(!world.has("out.toml"));
    let world = World::new();
    world
        .flambeau(&["export", "--backend", "cpu", "--format", "pylock"])
        .fails(1);
}
