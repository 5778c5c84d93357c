//! Projects whose dependencies stand where flambeau does not read them: no default pins in silence.

use crate::steps::{ACTIVE, assert_error};
use crate::support::world::{World, tree_snapshot};

const CPU: &str = "lockfiles/pylock.cpu.toml";

const POETRY: &str = "[tool.poetry]\nname = \"upscale\"\nversion = \"0.1.0\"\n[tool.poetry.dependencies]\n\
                      python = \">=3.11,<3.13\"\ntorch = { version = \"^2.7.0\", source = \"pytorch-cpu\" }\n\
                      accelerate = \"^1.2\"\n[[tool.poetry.source]]\nname = \"pytorch-cpu\"\n\
                      url = \"http://127.0.0.1:9/whl/cpu\"\npriority = \"explicit\"\n";

const SETUP: &str = "from setuptools import setup\nsetup(name='x', install_requires=['numpy'])\n";

/// A file, what the message says of it, and a command of the hints.
const DECLARATIONS: [(&str, &str, &str, &str); 17] = [
    ("pyproject.toml", POETRY, "[tool.poetry]", "flambeau add"),
    (
        "pyproject.toml",
        "[project]\nname = \"x\"\nversion = \"1\"\ndynamic = [\"readme\", \"dependencies\"]\n",
        "dynamic",
        "`[tool.flambeau] requirements`",
    ),
    (
        "pyproject.toml",
        "[tool.pdm.dependencies]\nnumpy = \"*\"\n",
        "[tool.pdm]",
        "flambeau add",
    ),
    (
        "pyproject.toml",
        "[tool.pdm.dev-dependencies]\nx = [\"numpy\"]\n",
        "[tool.pdm]",
        "flambeau add",
    ),
    (
        "pyproject.toml",
        "[tool.poetry.group.a.dependencies]\nnumpy = \"*\"\n",
        "[tool.poetry]",
        "flambeau add",
    ),
    (
        "pyproject.toml",
        "[tool.pixi.pypi-dependencies]\nnumpy = \"*\"\n",
        "[tool.pixi]",
        "flambeau add",
    ),
    (
        "pyproject.toml",
        "[tool.uv]\ndev-dependencies = [\"numpy\"]\n",
        "[tool.uv]",
        "flambeau add",
    ),
    (
        "pyproject.toml",
        "[tool.flit.metadata]\nrequires = [\"numpy\"]\n",
        "[tool.flit.metadata]",
        "flambeau add",
    ),
    ("setup.py", SETUP, "setup.py", "flambeau lock REQ…"),
    (
        "setup.cfg",
        "[options]\ninstall_requires =\n    numpy\n",
        "setup.cfg",
        "flambeau add",
    ),
    (
        "requirements.txt",
        "# ours\nnumpy\n",
        "requirements.txt",
        "uv pip compile --generate-hashes",
    ),
    (
        "requirements.txt",
        "numpy==1 --hash=sha256:00\n",
        "requirements.txt",
        "flambeau build --from",
    ),
    ("Pipfile", "[packages]\nnumpy = \"*\"\n", "Pipfile", "flambeau add"),
    (
        "environment.yml",
        "dependencies:\n  - numpy\n",
        "environment.yml",
        "flambeau add",
    ),
    (
        "environment.yaml",
        "dependencies:\n  - numpy\n",
        "environment.yaml",
        "flambeau add",
    ),
    (
        "pylock.toml",
        "lock-version = \"1.0\"\n",
        "pylock.toml",
        "flambeau build --from",
    ),
    (CPU, OTHERS, "pylock.cpu.toml", "flambeau build --from"),
];

/// A lockfile that another tool wrote where flambeau has its own.
const OTHERS: &str = "lock-version = \"1.0\"\ncreated-by = \"x\"\n[[packages]]\nname = \"a\"\nversion = \"1\"\nwheels = [{ \
                      url = \"https://index.example.org/a-1-py3-none-any.whl\", hashes = { sha256 = \
                      \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\" } }]\n";

fn world() -> Option<World> {
    let mut world = World::new();
    world.any_python()?;
    world.set("FLAMBEAU_BACKEND", "cpu");
    Some(world)
}

#[test]
fn what_is_not_read_is_named_and_nothing_is_built() {
    for shipped in [false, true] {
        for (file, text, named, hint) in DECLARATIONS {
            let Some(mut world) = world() else { return };
            if shipped {
                world.unset("PIP_INDEX_URL");
                world.unset("FLAMBEAU_PYTORCH_MIRROR");
            }
            world.write(file, text);
            let before = tree_snapshot(&world.project());
            for verb in ["build", "lock"] {
                assert_error(world.flambeau(&[verb]), 1, &[file, named, hint]);
            }
            // What only looks goes on.
            for verb in ["status", "list", "detect"] {
                let output = world.flambeau(&[verb]);
                assert!(!output.stderr.contains(named), "{file}: {verb}\n{output}");
            }
            before.assert_same(&tree_snapshot(&world.project()));
            world.server().assert_no_requests();
        }
    }
}

#[test]
fn whoever_names_requirements_is_not_asked() {
    for (file, text, ..) in DECLARATIONS {
        let Some(world) = world() else { return };
        world.write(file, text);
        let locked = world.flambeau(&["lock", "--channel", "cpu", ACTIVE]).ok();
        assert!(!locked.stderr.contains("warning"), "{file}\n{locked}");
        let built = world.flambeau(&["build"]).ok();
        assert!(!built.stderr.contains("declares"), "{file}\n{built}");
        assert!(!world.read(CPU).contains("torch=="), "{file}");
        std::fs::remove_dir_all(world.project().join("lockfiles")).expect("written");
        let manifest = if file == "pyproject.toml" { text } else { "" };
        world.write(
            "pyproject.toml",
            format!("{manifest}[tool.flambeau]\nrequirements = [\"{ACTIVE}\"]\n"),
        );
        world.flambeau(&["build"]).ok();
    }
}

#[test]
fn files_that_declare_nothing_do_not_matter() {
    let Some(world) = world() else { return };
    world.write("requirements.txt", "# nothing\n\n");
    world.write("setup.cfg", "[flake8]\nmax-line-length = 100\n");
    world.write(
        "pyproject.toml",
        "[tool.poetry.dependencies]\npython = \"^3.11\"\n[tool.uv]\npackage = false\n",
    );
    let output = world.flambeau(&["lock"]).ok();
    assert!(world.read(CPU).contains("\"torch==2.7.0\""), "{output}");
    // A lockfile with those pins may be what somebody wants, or what a build once took.
    world.write("pyproject.toml", POETRY);
    for verb in ["lock", "build"] {
        let output = world.flambeau(&[verb]).ok();
        assert!(
            output.stderr.contains("[tool.poetry]") && output.stderr.contains("torch==2.7.0"),
            "{output}"
        );
    }
}

#[test]
fn lists_alone_are_said_and_taken_where_they_are_selected() {
    let Some(world) = world() else { return };
    world.write("pyproject.toml", format!("[dependency-groups]\ndev = [\"{ACTIVE}\"]\n"));
    let output = world.flambeau(&["build", "--dry-run"]).ok();
    assert!(
        output
            .stderr
            .contains("none is selected; the lockfile is for torch==2.7.0"),
        "{output}"
    );
    std::fs::remove_dir_all(world.project().join("lockfiles")).ok();
    world.flambeau(&["lock", "--group", "dev"]).ok();
    assert!(!world.read(CPU).contains("torch"), "the group alone");
    let output = world.flambeau(&["build"]).ok();
    assert!(!output.stderr.contains("selected"), "{output}");
    world.flambeau(&["lock", "--check"]).ok();
}

#[test]
fn add_and_init_leave_another_tool_s_package_alone() {
    for (file, text) in [
        ("setup.py", SETUP),
        ("setup.cfg", "[metadata]\nname = x\n"),
        ("pyproject.toml", POETRY),
        ("pyproject.toml", "[tool.poetry]\nname = \"x\"\n"),
    ] {
        let Some(world) = world() else { return };
        world.write(file, text);
        let before = tree_snapshot(&world.project());
        assert_error(
            world.flambeau(&["init"]),
            1,
            &[file, "defines this project already", "flambeau add"],
        );
        before.assert_same(&tree_snapshot(&world.project()));
        world.flambeau(&["add", ACTIVE]).ok();
        let manifest = world.read("pyproject.toml");
        let own = format!("[tool.flambeau]\nrequirements = [\n    \"{ACTIVE}\",\n]\n");
        let kept = if file == "pyproject.toml" { text } else { "" };
        assert!(
            manifest.starts_with(kept) && manifest.trim_start_matches(kept).trim_start() == own,
            "{manifest}"
        );
        assert!(!world.read(CPU).contains("torch"));
        world.flambeau(&["add", "filelock"]).ok();
        world.flambeau(&["remove", "filelock"]).ok();
        assert_eq!(world.read("pyproject.toml"), manifest);
        world.flambeau(&["build"]).ok();
    }
    // A requirements file is no package; its requirements are not guessed either.
    let Some(world) = world() else { return };
    world.write("requirements.txt", "numpy\n");
    assert_error(world.flambeau(&["init"]), 1, &["requirements.txt"]);
    world.flambeau(&["add", ACTIVE]).ok();
    let manifest = world.read("pyproject.toml");
    assert!(
        manifest.contains("[project]") && !manifest.contains("torch"),
        "{manifest}"
    );
}
