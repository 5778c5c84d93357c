//! F40: a process stays in the environment it started in, children too; and while it runs it holds a lease.

use std::fs::{self, File, TryLockError};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::world::{World, text};

const STAY: &str = include_str!("../../fixtures/python/stay.py");

/// A process of the active environment that waits for a line; killed when it is dropped.
struct Waiting {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Waiting {
    /// Starts it and waits until it says that it is ready.
    fn start(world: &World, program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let mut command = world.command(program.as_ref());
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut waiting = Self { child, stdin, stdout };
        assert_eq!(waiting.line(), "ready");
        waiting
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it speaks");
        line.trim_end().to_owned()
    }

    fn go_on(&mut self) {
        writeln!(self.stdin.as_mut().expect("it listens"), "go on").expect("it listens");
    }

    fn end(mut self) {
        self.stdin = None;
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.stdin = None;
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn lease(world: &World, environment: &Path) -> PathBuf {
    world
        .store()
        .join("leases")
        .join(environment.file_name().expect("a name"))
}

/// Whether a collector would get this lease.
fn is_free(lease: &Path) -> bool {
    match File::open(lease).expect("the lease is there").try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(error) => panic!("{}: {error}", lease.display()),
    }
}

fn becomes_free(lease: &Path) -> bool {
    let start = Instant::now();
    while !is_free(lease) {
        if start.elapsed() > Duration::from_mins(1) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// `prefix` is how the process calls its environment: by `.venv` where it was started by that name, and by the
/// environment's own path where it stays in one that `.venv` leads to no more.
fn stayed(who: &str, report: &Value, prefix: &Path, label: &str, answer: u64) {
    let shown = prefix.display().to_string();
    let stamps = ["2.7.0", "0.22.0"].map(|version| format!("{version}+{label}"));
    assert_eq!(report["stamps"], Value::from(stamps.to_vec()), "{who}: {report:#}");
    assert_eq!(report["answer"], answer, "{who}");
    assert_eq!(report["prefix"], Value::from(vec![shown.as_str(), &shown]), "{who}");
    assert!(
        text(report, "executable").starts_with(&format!("{shown}/bin/python")),
        "{who}: {report:#}"
    );
    for empty in ["twice", "unresolved", "files"] {
        assert_eq!(report[empty], Value::Array(Vec::new()), "{who} {empty}: {report:#}");
    }
}

#[test]
fn f40_a_running_process_stays_and_its_children_too() {
    let world = World::new();
    world.write("stay.py", STAY);
    for version in ["3.9", "3.10", "3.11", "3.12", "3.13"] {
        let Some(python) = world.python(version) else { continue };
        let built = ["cpu", "cuda"].map(|backend| world.build(&["--backend", backend, "--python", &python.version]));
        let [cpu, cuda] = built.each_ref().map(|document| PathBuf::from(text(document, "path")));

        let mut process = Waiting::start(&world, world.project().join(".venv/bin/python"), &["stay.py"]);
        assert_eq!(
            (is_free(&lease(&world, &cuda)), is_free(&lease(&world, &cpu))),
            (false, true),
            "{version}"
        );
        world.flambeau_json("activate", &[text(&built[0], "key")]);
        assert_eq!(world.active(), cpu);
        assert_eq!(world.python_says("import torch; print(torch.answer())"), "0");
        process.go_on();
        let answers: Value = serde_json::from_str(&process.line()).expect("one line of JSON");
        let link = world.project().join(".venv");
        for (who, prefix) in [
            ("own", &link),
            ("spawned", &cuda),
            ("child", &cuda),
            ("torchrun", &cuda),
        ] {
            let who_said = format!("{who} on Python {version}");
            stayed(&who_said, &answers[who], prefix, "cu118", 118);
        }
        process.end();
        assert!(becomes_free(&lease(&world, &cuda)), "{version}");

        // Who starts after the flip is in the other one.
        let mut process = Waiting::start(&world, world.project().join(".venv/bin/python3"), &["stay.py"]);
        assert_eq!(
            (is_free(&lease(&world, &cuda)), is_free(&lease(&world, &cpu))),
            (true, false),
            "{version}"
        );
        process.go_on();
        let answers: Value = serde_json::from_str(&process.line()).expect("one line of JSON");
        stayed(version, &answers["own"], &link, "cpu", 0);
        stayed(version, &answers["spawned"], &link, "cpu", 0);
    }
}

#[test]
fn a_child_holds_the_lease_when_its_parent_is_gone() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.build(&["--backend", "cpu"]);
    let lease = lease(&world, &world.active());
    assert!(is_free(&lease));
    // The parent ends at once; its child waits for the end of its input.
    let program = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', \
                   'import sys; print(\"ready\", flush=True); sys.stdin.read()'])";
    let mut process = Waiting::start(&world, world.project().join(".venv/bin/python"), &["-c", program]);
    assert!(process.child.wait().expect("the parent ends").success());
    assert!(!is_free(&lease), "the child runs without a lease");
    process.stdin = None;
    assert!(becomes_free(&lease));
}

#[test]
fn a_script_and_the_plain_path_hold_the_lease_too() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let built = world.build(&["--backend", "cpu"]);
    let lease = lease(&world, &world.active());
    world.write(
        "wait.py",
        "import sys\nprint('ready', flush=True)\nsys.stdin.readline()\n",
    );
    let environment = Path::new(text(&built, "path"));
    for (program, arguments) in [
        (world.project().join(".venv/bin/torchrun"), vec!["wait.py"]),
        (environment.join("bin/python"), vec!["wait.py"]),
        (environment.join("bin/python"), vec!["-I", "wait.py"]),
    ] {
        let shown = format!("{} {arguments:?}", program.display());
        let mut process = Waiting::start(&world, program, &arguments);
        assert!(!is_free(&lease), "{shown}");
        process.go_on();
        process.end();
        assert!(becomes_free(&lease), "{shown}");
    }
    // Processes of any user may take it, and nobody's is the tree's.
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&lease).expect("a file")) & 0o7777;
    assert_eq!(mode, 0o644);
}
