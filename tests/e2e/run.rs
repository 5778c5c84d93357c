//! `run`: the command sees the environment, and its exit code is its own.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::world::{World, hints, text, tree_snapshot};

#[test]
fn it_builds_first_and_passes_everything_through() {
    let mut world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.set("PYTHONHOME", "/nonexistent");
    let program = "import os, shutil, sys, torch\n\
                   print(torch.answer(), sys.argv[1:], os.environ['VIRTUAL_ENV'], os.environ['PATH'].split(':')[0], 'PYTHONHOME' in os.environ)\n\
                   print(shutil.which('torchrun'), os.getcwd(), sys.stdin.read())\n\
                   print('to stderr', file=sys.stderr)\n\
                   sys.exit(7)";
    let mut command = world.flambeau_command(&[
        "run",
        "--backend",
        "cuda",
        "--",
        "python",
        "-c",
        program,
        "--json",
        "-q",
        "x y",
    ]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    write!(child.stdin.take().expect("a pipe"), "input").expect("it listens");
    let output = child.wait_with_output().expect("it ends");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(7), "{stdout}\n{stderr}");
    // Names that programs write down are those that follow a flip.
    let venv = world.project().join(".venv");
    let venv = venv.display();
    assert_eq!(
        stdout,
        format!(
            "118 ['--json', '-q', 'x y'] {venv} {venv}/bin False\n{venv}/bin/torchrun {} input\n",
            world.project().display()
        )
    );
    assert!(stderr.contains("to stderr"), "{stderr}");
    assert_eq!(world.state()["InstalledBackend"], "CUDA");

    // Now that it is built, a run needs no network and says nothing of its own.
    world.unset("PYTHONHOME");
    world.server().clear_log();
    let output = world
        .flambeau(&["run", "--", "sh", "-c", "echo \"$VIRTUAL_ENV\"; exit 3"])
        .fails(3);
    assert_eq!((output.text(), output.stderr.as_str()), (&*venv.to_string(), ""));
    world.server().assert_no_requests();
    for code in [0, 1, 2, 70, 130, 255] {
        world
            .flambeau(&["run", "sh", "-c", &format!("exit {code}")])
            .fails(code);
    }
}

#[test]
fn signals_reach_the_command_and_nothing_stands_between() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.build(&["--backend", "cpu"]);
    let output = world.flambeau(&["run", "--", "sh", "-c", "kill -TERM $$"]);
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    assert_eq!(signal, Some(15), "{output}");
    // The command has the very process that was started.
    let mut command = world.flambeau_command(&["run", "--", "sh", "-c", "echo $$"]);
    command.stdout(Stdio::piped());
    let child = command.spawn().expect("it starts");
    let id = child.id();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), id.to_string());
}

#[test]
fn a_command_that_does_not_exist_and_a_build_that_fails() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let error = world.flambeau_error(
        4,
        &["run", "--backend", "cpu", "--offline", "--", "sh", "-c", "echo ran"],
    );
    assert_eq!(error["kind"], "network");
    world.flambeau_error(1, &["run", "--backend", "cpu", "--locked", "--", "true"]);
    world.build(&["--backend", "cpu"]);
    let error = world.flambeau_error(1, &["run", "--", "no-such-command"]);
    assert!(text(&error, "message").contains("no-such-command"), "{error:#}");
    assert!(hints(&error).contains("PATH"), "{error:#}");
    world.flambeau_error(2, &["run"]);
}

#[test]
fn pip_is_told_that_the_environment_is_immutable_and_may_look_at_it() {
    let world = World::new();
    // pip itself is in no environment; `pip --python .venv` starts this file with the environment's Python.
    world.write("__pip-runner__.py", "import sys\nprint('pip ran', *sys.argv[1:])\n");
    // How a Python tells its command line changed in 3.10.
    for python in ["3.9", "3.10", "3.13"]
        .into_iter()
        .filter_map(|version| world.python(version))
    {
        world.build(&["--backend", "cpu", "--python", &python.version]);
        pip_is_told(&world);
    }
}

fn pip_is_told(world: &World) {
    let before = tree_snapshot(&world.store());
    for refused in [
        &["-m", "pip", "install", "numpy"][..],
        &["-I", "-m", "pip", "uninstall", "-y", "torch"],
        &["__pip-runner__.py", "install", "-U", "torch"],
    ] {
        let output = world.venv_python(refused).fails(1);
        assert_eq!(output.stdout, "");
        assert!(
            output.stderr.starts_with("error: ") && output.stderr.contains("immutable"),
            "{output}"
        );
        assert!(
            output.stderr.contains("flambeau build") && output.stderr.contains("--overlay"),
            "{output}"
        );
    }
    for allowed in [
        &["list"][..],
        &["show", "install"],
        &["download", "numpy"],
        &["install", "--target", "x", "numpy"],
    ] {
        let output = world.venv_python(&[&["__pip-runner__.py"], allowed].concat()).ok();
        assert_eq!(output.text(), format!("pip ran {}", allowed.join(" ")));
    }
    // Another program with a word of that kind among its arguments.
    assert_eq!(
        world
            .venv_python(&["-c", "print('fine')", "pip", "install"])
            .ok()
            .text(),
        "fine"
    );
    before.assert_same(&tree_snapshot(&world.store()));
}

#[test]
fn ones_own_code_is_on_the_path_before_what_is_installed() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.write("overlay/filelock/__init__.py", "__version__ = 'mine'\n");
    world.write("overlay/extra.py", "X = 1\n");
    let program = "import filelock, subprocess, sys; print(filelock.__version__); sys.stdout.flush(); \
                   subprocess.run([sys.executable, '-c', 'import extra, filelock; print(extra.X, filelock.__version__)'])";
    let output = world
        .flambeau(&[
            "run",
            "--backend",
            "cpu",
            "--overlay",
            "overlay",
            "--",
            "python",
            "-c",
            program,
        ])
        .ok();
    assert_eq!(output.text(), "mine\n1 mine");
    let plain = "import filelock; print(filelock.__version__)";
    assert_eq!(
        world.flambeau(&["run", "--", "python", "-c", plain]).ok().text(),
        "3.18.0"
    );
    let error = world.flambeau_error(1, &["run", "--overlay", "nowhere", "--", "true"]);
    assert!(text(&error, "message").contains("nowhere"), "{error:#}");

    // `editable` does the same for every process, and is no part of the key.
    let key = world.build(&[])["key"].clone();
    world.write("src/mine/__init__.py", "WHO = 'me'\n");
    world.write("pyproject.toml", "[tool.flambeau]\neditable = ['.']\n");
    assert_eq!(world.build(&[])["key"], key);
    assert_eq!(
        world.python_says("import mine; print(mine.WHO, mine.__file__.endswith('project/src/mine/__init__.py'))"),
        "me True"
    );
    world.write("pyproject.toml", "");
    world.build(&[]);
    world.venv_python(&["-c", "import mine"]).fails(1);
}
