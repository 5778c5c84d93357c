//! One's own code beside an environment that never changes, and pip against it.

use std::fs;
use std::os::unix::fs::symlink;

use crate::steps::{ACTIVE, active, assert_error, shelf, skip, tool};
use crate::support::world::{Output, Python, World, tree_snapshot};

/// A project with a lockfile for one Python; nothing is built yet.
fn project(requirements: &[&str]) -> Option<(World, Python)> {
    let world = World::new();
    let python = world.any_python()?;
    let arguments = [
        &["lock", "--channel", "cpu", "--python", &python.version, ACTIVE],
        requirements,
    ]
    .concat();
    world.flambeau(&arguments).ok();
    Some((world, python))
}

fn configure(world: &World, editable: &str) {
    world.write(
        "pyproject.toml",
        format!("[tool.flambeau]\nbackend = \"cpu\"\neditable = {editable}\n"),
    );
}

/// Runs a script with the environment's Python, from a folder that is not the project.
fn python(world: &World, script: &str) -> Output {
    let mut command = world.command(world.project().join(".venv/bin/python"));
    command.args(["-c", script]).current_dir(world.path("tmp"));
    world.run(command)
}

#[test]
fn the_project_s_own_code_is_importable_wherever_the_environment_runs() {
    let Some((world, _)) = project(&["kitchen-sink"]) else {
        return;
    };
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    let (key, tree) = (world.flambeau(&["hash"]).ok(), shelf(&world, "envs"));
    assert!(!python(&world, "import mine").status.success());

    world.write("mine/__init__.py", "WHERE = __file__\n");
    world.write("libs/x/xlib.py", "NAME = 'x'\n");
    world.write("libs/y/src/ylib/__init__.py", "NAME = 'y'\n");
    configure(&world, "[\".\", \"libs/x\", \"libs/y\"]");
    world.flambeau(&["build"]).ok();
    assert_eq!(world.flambeau(&["hash"]).ok().text(), key.text());
    tree.assert_same(&shelf(&world, "envs"));

    let script = "import mine, xlib, ylib; print(mine.WHERE, xlib.NAME, ylib.NAME)";
    let expected = format!("{} x y", world.project().join("mine/__init__.py").display());
    assert_eq!(python(&world, script).ok().text(), expected);
    // A child finds it too, however it is started.
    let child = format!("import subprocess, sys; subprocess.run([sys.executable, '-c', '{script}'], check=True)");
    assert_eq!(python(&world, &child).ok().text(), expected);
    world.write("where.py", "def where(_):\n    import mine\n    return mine.WHERE\n");
    let spawning = "import multiprocessing as m, where\n\
                    if __name__ == '__main__':\n    \
                    m.set_start_method('spawn')\n    \
                    with m.Pool(1) as pool: print(pool.map(where.where, [0])[0])\n";
    world.write("spawn.py", spawning);
    let mut command = world.command(world.project().join(".venv/bin/python"));
    command
        .arg(world.project().join("spawn.py"))
        .current_dir(world.path("tmp"));
    assert_eq!(
        world.run(command).ok().text(),
        world.project().join("mine/__init__.py").display().to_string()
    );
    // The code is live: no build is needed after an edit.
    world.write("mine/__init__.py", "WHERE = 'edited since'\n");
    assert_eq!(
        python(&world, "import mine; print(mine.WHERE)").ok().text(),
        "edited since"
    );
}

#[test]
fn console_scripts_see_the_project_s_own_code() {
    let Some((world, _)) = project(&["kitchen-sink"]) else {
        return;
    };
    // Own code wins over an installed module of the same name.
    world.write("kitchen/__init__.py", "");
    world.write("kitchen/cli.py", "def main():\n    print('own kitchen')\n");
    configure(&world, "[\".\"]");
    world.flambeau(&["build"]).ok();
    let mut command = world.command(world.project().join(".venv/bin/kitchen"));
    command.current_dir(world.path("tmp"));
    assert_eq!(world.run(command).ok().text(), "own kitchen");
    configure(&world, "[]");
    world.flambeau(&["build"]).ok();
    let mut command = world.command(world.project().join(".venv/bin/kitchen"));
    command.current_dir(world.path("tmp"));
    assert!(!world.run(command).stdout.contains("own kitchen"));
}

#[test]
fn own_code_does_not_leak_into_other_projects() {
    let Some((world, _)) = project(&[]) else { return };
    world.write("mine.py", "WHERE = __file__\n");
    configure(&world, "[\".\"]");
    world.flambeau(&["build"]).ok();
    // Another project, the same environment in the same store.
    let other = world.path("other");
    fs::create_dir_all(other.join("lockfiles")).expect("a new folder");
    fs::copy(
        world.project().join("lockfiles/pylock.cpu.toml"),
        other.join("lockfiles/pylock.cpu.toml"),
    )
    .expect("copied");
    let shown = other.display().to_string();
    world.flambeau(&["build", "--channel", "cpu", "--project", &shown]).ok();
    assert_eq!(fs::read_link(other.join(".venv")).expect("a link"), active(&world));
    let foreign = other.join(".venv/bin/python").display().to_string();
    let mut command = world.command(&foreign);
    command.args(["-c", "import mine"]).current_dir(world.path("tmp"));
    let output = world.run(command).fails(1);
    assert!(output.stderr.contains("No module named 'mine'"), "{output}");

    // A third project with an environment of its own, started from within this one's.
    world
        .flambeau(&["lock", "--channel", "cpu", "--project", &shown, "filelock"])
        .ok();
    world.flambeau(&["build", "--channel", "cpu", "--project", &shown]).ok();
    assert_ne!(fs::read_link(other.join(".venv")).expect("a link"), active(&world));
    let script =
        format!("import mine, subprocess; subprocess.run(['{foreign}', '-c', 'import filelock, mine'], check=True)");
    let output = python(&world, &script).fails(1);
    assert!(output.stderr.contains("No module named 'mine'"), "{output}");
}

#[test]
fn run_puts_an_overlay_on_the_path_for_one_command() {
    let Some((world, _)) = project(&[]) else { return };
    world.write("extra/addon.py", "NAME = 'addon'\n");
    configure(&world, "[]");
    let script = "import addon, typing_extensions; print(addon.NAME)";
    let with = |arguments: &[&str]| world.flambeau(&[&["run"], arguments, &["--", "python", "-c", script]].concat());
    assert_eq!(with(&["--overlay", "extra"]).ok().text(), "addon");
    let absolute = world.project().join("extra").display().to_string();
    assert_eq!(with(&["--overlay", &absolute]).ok().text(), "addon");
    // Children of the command have it, later commands do not.
    let child = format!("import subprocess, sys; subprocess.run([sys.executable, '-c', '{script}'], check=True)");
    let output = world
        .flambeau(&["run", "--overlay", "extra", "--", "python", "-c", &child])
        .ok();
    assert_eq!(output.text(), "addon");
    with(&[]).fails(1);
    assert!(!world.has(".flambeau/overlay.pth"));
    assert_error(with(&["--overlay", "nowhere"]), 1, &["nowhere"]);
    assert_eq!(
        world
            .flambeau(&["run", "--overlay", "extra", "--", "sh", "-c", "exit 7"])
            .status
            .code(),
        Some(7)
    );
}

/// pip, where a Python of this machine has it, run against the project's environment.
fn pip(world: &World, python: &Python, arguments: &[&str]) -> Option<Output> {
    let mut command = world.command(&python.path);
    command
        .args(["-m", "pip", "--disable-pip-version-check", "--python", ".venv"])
        .args(arguments);
    let mut probe = world.command(&python.path);
    probe.args(["-c", "import pip; assert int(pip.__version__.split('.')[0]) >= 23"]);
    if !world.run(probe).status.success() {
        skip(
            "pip against an environment",
            "this machine's Python has no pip of at least 23",
        );
        return None;
    }
    Some(world.run(command))
}

#[test]
fn pip_install_is_answered_and_changes_nothing() {
    let Some((world, interpreter)) = project(&[]) else {
        return;
    };
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    world.server().clear_log();
    let before = [tree_snapshot(&world.store()), tree_snapshot(&world.project())];
    let refused = |output: Output, what: &str| {
        let environment = active(&world).display().to_string();
        let output = output.fails(1);
        for part in [
            "immutable",
            environment.as_str(),
            "flambeau build",
            "editable",
            "--overlay",
        ] {
            assert!(output.stderr.contains(part), "{what}: `{part}` is missing: {output}");
        }
    };
    for words in [
        &["install", "six"][..],
        &["install", "-e", "."],
        &["uninstall", "-y", "typing-extensions"],
    ] {
        // The environment has no pip, and even so the answer is ours.
        refused(world.venv_python(&[&["-m", "pip"], words].concat()), "python -m pip");
        refused(
            world.venv_python(&[&["-I", "-m", "pip", "--quiet"], words].concat()),
            "python -I -m pip",
        );
        if let Some(output) = pip(&world, &interpreter, words) {
            refused(output, "pip --python");
        }
    }
    world.server().assert_no_requests();
    for (before, folder) in before.iter().zip([world.store(), world.project()]) {
        before.assert_same(&tree_snapshot(&folder));
    }
}

#[test]
fn pip_lists_what_is_installed() {
    let Some((world, interpreter)) = project(&["kitchen-sink", "corp-alpha"]) else {
        return;
    };
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    let Some(output) = pip(&world, &interpreter, &["list", "--format", "freeze"]) else {
        return;
    };
    let list: Vec<_> = output
        .ok()
        .stdout
        .lines()
        .map(|line| line.to_ascii_lowercase().replace('_', "-"))
        .collect();
    assert_eq!(
        list,
        ["corp-alpha==1.0", "kitchen-sink==1.0", "typing-extensions==4.13.2"]
    );
    pip(&world, &interpreter, &["check"]).expect("it listed").ok();
    let shown = pip(&world, &interpreter, &["show", "--files", "kitchen-sink"])
        .expect("it listed")
        .ok();
    assert!(shown.stdout.contains("kitchen/cli.py"), "{shown}");
}

#[test]
fn uv_lists_what_is_installed() {
    let Some((world, _)) = project(&["kitchen-sink"]) else {
        return;
    };
    let Some(uv) = tool("uv") else {
        return skip("uv against an environment", "this machine has no uv");
    };
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    symlink(uv, world.path("tools/uv")).expect("the name is free");
    let mut command = world.command(world.path("tools/uv"));
    command.args(["pip", "list", "--offline", "--format", "freeze", "-p", ".venv"]);
    let output = world.run(command).ok();
    assert_eq!(output.stdout.lines().count(), 2, "{output}");
}

/// A script whose arguments hold the words is no pip.
#[test]
fn other_programs_may_install_what_they_like() {
    let Some((world, _)) = project(&[]) else { return };
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    world.write("setup_things.py", "import sys; print(sys.argv[1:])\n");
    let output = world.venv_python(&["setup_things.py", "install", "pip"]).ok();
    assert_eq!(output.text(), "['install', 'pip']");
    let output = world
        .venv_python(&["-c", "import sys; print(sys.argv[1:])", "pip", "install"])
        .ok();
    assert_eq!(output.text(), "['pip', 'install']");
}
