//! `init`, `add` and `remove`: what happens to pyproject.toml, and that a failed lock leaves everything as it was.

use crate::steps::assert_error;
use crate::support::world::{World, tree_snapshot};

const CPU: &str = "lockfiles/pylock.cpu.toml";

fn world() -> World {
    let mut world = World::new();
    world.set("FLAMBEAU_BACKEND", "cpu");
    world
}

#[test]
fn init_starts_a_project_that_is_locked() {
    let world = world();
    let output = world.flambeau(&["init"]).ok();
    assert!(output.stdout.starts_with("wrote "), "{output}");
    assert_eq!(
        world.read("pyproject.toml"),
        "[project]\nname = \"project\"\nversion = \"0.1.0\"\nrequires-python = \">=3.9\"\ndependencies = [\n    \
         \"torch==2.7.0\",\n    \"torchvision==0.22.0\",\n]\n"
    );
    assert!(world.read(CPU).contains("2.7.0+cpu"));
    assert!(world.read(".gitignore").contains("/.venv\n/environment_state.json\n"));
    world.flambeau(&["lock", "--check"]).ok();
    let before = tree_snapshot(&world.project());
    assert_error(
        world.flambeau(&["init"]),
        1,
        &["pyproject.toml has a [project] table already", "flambeau add"],
    );
    before.assert_same(&tree_snapshot(&world.project()));
}

#[test]
fn init_leaves_what_others_own() {
    let world = world();
    let others = "# Ours.\n[tool.ruff]\nline-length = 100 # wide\n";
    world.write("pyproject.toml", others);
    world.flambeau(&["init", "--no-lock"]).ok();
    let text = world.read("pyproject.toml");
    assert!(text.starts_with(&format!("{others}\n[project]\nname = ")), "{text}");
    assert!(!world.has("lockfiles"));
    world.server().assert_no_requests();
}

#[test]
fn add_and_remove_edit_the_list_and_lock_anew() {
    let world = world();
    let before = "# The demo.\n[project]\nname = \"demo\"\nversion = \"1\"\ndependencies = [\n  # the network\n  \
                  \"fsspec\", # any\n  'sympy<1.14',\n]\n\n[tool.other]\nx = { y = 1 } # kept\n";
    world.write("pyproject.toml", before);
    world
        .flambeau(&[
            "lock",
            "--channel",
            "cpu",
            "--python",
            "3.11",
            "--platform",
            "linux_x86_64",
        ])
        .ok();
    let output = world.flambeau(&["add", "MarkupSafe>=3", "sympy", "--json"]).ok();
    assert_eq!(output.json()["changed"], true, "{output}");
    assert_eq!(output.json()["lockfiles"][0]["channel"], "cpu", "{output}");
    let after = before.replace("'sympy<1.14',\n", "\"sympy\",\n  \"MarkupSafe>=3\",\n");
    assert_eq!(world.read("pyproject.toml"), after);
    let lockfile = world.read(CPU);
    // The pin of sympy still fits, so it stays.
    for part in ["\"MarkupSafe>=3\"", "name = \"markupsafe\"", "version = \"1.13.3\""] {
        assert!(lockfile.contains(part), "{part}\n{lockfile}");
    }
    world.flambeau(&["lock", "--check"]).ok();
    world.flambeau(&["remove", "MARKUPSAFE", "fsspec"]).ok();
    assert_eq!(
        world.read("pyproject.toml"),
        "# The demo.\n[project]\nname = \"demo\"\nversion = \"1\"\ndependencies = [\n  # the network\n  \"sympy\",\n]\n\n\
         [tool.other]\nx = { y = 1 } # kept\n"
    );
    assert!(!world.read(CPU).contains("fsspec"));
    world.flambeau(&["lock", "--check"]).ok();
    let before = tree_snapshot(&world.project());
    assert_error(
        world.flambeau(&["remove", "fsspec"]),
        1,
        &["fsspec is not among the project's requirements: sympy"],
    );
    assert_error(
        world.flambeau(&["add", "a ==== 1"]),
        1,
        &["`a ==== 1` is no requirement"],
    );
    before.assert_same(&tree_snapshot(&world.project()));
}

#[test]
fn what_held_without_a_project_holds_on_in_it() {
    let world = world();
    world
        .flambeau(&[
            "lock",
            "--channel",
            "cpu",
            "--python",
            "3.11",
            "--platform",
            "linux_x86_64",
            "sympy",
        ])
        .ok();
    world.flambeau(&["add", "filelock"]).ok();
    assert!(
        world
            .read("pyproject.toml")
            .ends_with("dependencies = [\n    \"sympy\",\n    \"filelock\",\n]\n"),
        "{}",
        world.read("pyproject.toml")
    );
    assert!(world.read(CPU).contains("name = \"mpmath\""));
    // In a folder with nothing at all these are the default pins.
    let empty = self::world();
    empty.flambeau(&["remove", "torchvision", "--no-lock"]).ok();
    assert!(
        empty
            .read("pyproject.toml")
            .ends_with("dependencies = [\n    \"torch==2.7.0\",\n]\n"),
        "{}",
        empty.read("pyproject.toml")
    );
}

#[test]
fn our_own_list_is_edited_where_there_is_no_other() {
    let world = world();
    world.write("pyproject.toml", "[tool.flambeau]\nrequirements = [\"sympy\"]\n");
    world.flambeau(&["add", "--no-lock", "fsspec"]).ok();
    assert_eq!(
        world.read("pyproject.toml"),
        "[tool.flambeau]\nrequirements = [\"sympy\", \"fsspec\"]\n"
    );
    world.write(
        "pyproject.toml",
        "[project]\nname = \"x\"\ndynamic = [\"version\", \"dependencies\"]\n",
    );
    assert_error(
        world.flambeau(&["add", "fsspec"]),
        1,
        &["`dependencies` are dynamic", "[tool.flambeau] requirements"],
    );
}

#[test]
fn a_failed_lock_leaves_every_byte_as_it_was() {
    let world = world();
    world.write(
        "pyproject.toml",
        "[project]\r\nname = \"demo\"\r\nversion=\"1\"\r\ndependencies = [ \"sympy==1.14.0\" ]   # odd  \r\n",
    );
    world
        .flambeau(&[
            "lock",
            "--channel",
            "cpu,cu118",
            "--python",
            "3.11",
            "--platform",
            "linux_x86_64",
        ])
        .ok();
    let before = tree_snapshot(&world.project());
    for (requirement, parts) in [
        ("mpmath>=1.4", &["sympy", "mpmath"][..]),
        ("no-such-project", &["has no project no-such-project"]),
        // Only one of the two channels lacks it: neither lockfile changes.
        ("torch==2.7.0+cu118", &["torch"]),
    ] {
        assert_error(world.flambeau(&["add", requirement]), 1, parts);
        before.assert_same(&tree_snapshot(&world.project()));
    }
    assert_error(
        world.flambeau(&["add", "jinja2", "--offline"]),
        4,
        &["jinja2", "offline"],
    );
    before.assert_same(&tree_snapshot(&world.project()));
    // In an empty folder nothing is left behind.
    let empty = self::world();
    assert_error(empty.flambeau(&["add", "no-such-project"]), 1, &["no-such-project"]);
    assert!(!empty.has("pyproject.toml") && !empty.has("lockfiles"));
    // And what works keeps the line ends of the file.
    world.flambeau(&["add", "filelock"]).ok();
    assert_eq!(
        world.read("pyproject.toml"),
        "[project]\r\nname = \"demo\"\r\nversion=\"1\"\r\ndependencies = [ \"sympy==1.14.0\", \"filelock\" ]   # odd  \r\n"
    );
}
