//! Several builds at once, builds that are killed, and builds that are interrupted.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::failures::noise;
use crate::steps::{names, remove_sealed};
use crate::support::family::Shelf;
use crate::support::server::{Action, Fault};
use crate::support::wheel::Wheel;
use crate::support::world::World;

/// A world with the default pins locked for one Python and the channel `cpu`.
fn locked() -> Option<World> {
    let world = World::new();
    let python = world.any_python()?;
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version])
        .ok();
    world.server().clear_log();
    Some(world)
}

/// Another project with the same lockfile.
fn copy_project(world: &World, name: &str) -> String {
    let project = world.path(name);
    fs::create_dir_all(project.join("lockfiles")).expect("a new folder");
    for file in names(&world.project().join("lockfiles")) {
        let from = world.project().join("lockfiles").join(&file);
        fs::copy(from, project.join("lockfiles").join(&file)).expect("a new file");
    }
    project.display().to_string()
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

#[track_caller]
fn finish(child: Child) -> Output {
    let output = child.wait_with_output().expect("it was started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    output
}

/// How often each wheel was asked for as a whole.
fn downloads(world: &World) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in world.server().requests_to(".whl") {
        if request.path.ends_with(".whl") && request.method == "GET" {
            *counts.entry(request.path).or_default() += 1;
        }
    }
    counts
}

#[test]
fn f09_eight_builds_of_one_key_at_once_fetch_and_build_once() {
    let Some(world) = locked() else { return };
    let other = copy_project(&world, "other");
    let own = world.project().display().to_string();
    // While torch trickles in, every other build has to wait.
    world
        .server()
        .fault(Fault::on("/torch-2.7.0", Action::Slow(40_000)).method("GET"));
    let children: Vec<_> = (0..8)
        .map(|number| {
            let project = if number % 2 == 0 { &own } else { &other };
            start(world.flambeau_command(&["build", "--channel", "cpu", "--project", project]))
        })
        .collect();
    let outputs: Vec<_> = children.into_iter().map(finish).collect();
    let downloads = downloads(&world);
    assert_eq!(downloads.len(), 12, "{downloads:?}");
    assert!(downloads.values().all(|count| *count == 1), "{downloads:?}");
    let said = |output: &&Output, text: &str| String::from_utf8_lossy(&output.stdout).starts_with(text);
    assert_eq!(outputs.iter().filter(|output| said(output, "built in ")).count(), 1);
    assert_eq!(
        outputs
            .iter()
            .filter(|output| said(output, "already built in "))
            .count(),
        7
    );
    let waited = outputs
        .iter()
        .filter(|output| String::from_utf8_lossy(&output.stderr).contains("waiting"));
    assert!(waited.count() >= 1, "nobody said that it waits");
    assert_eq!(names(&world.store().join("envs")).len(), 1);
    assert!(names(&world.store().join("tmp")).is_empty());
    for project in [&own, &other] {
        assert_eq!(
            names(&Path::new(project).join(".flambeau/generations")),
            ["1.json"],
            "{project}"
        );
        let mut command = world.command(Path::new(project).join(".venv/bin/python"));
        command.args(["-c", "import torch, torchvision"]);
        world.run(command).ok();
    }
}

#[test]
fn two_projects_with_different_environments_build_at_once() {
    let Some(world) = locked() else { return };
    let python = world.any_python().expect("it locked");
    let other = copy_project(&world, "other");
    let arguments = [
        "lock",
        "--channel",
        "cu118",
        "--python",
        &python.version,
        "--project",
        &other,
    ];
    world.flambeau(&arguments).ok();
    world.server().clear_log();
    let children = [
        start(world.flambeau_command(&["build", "--channel", "cpu"])),
        start(world.flambeau_command(&["build", "--channel", "cu118", "--project", &other])),
    ];
    for child in children {
        finish(child);
    }
    // numpy and the rest are in both, and come once.
    let downloads = downloads(&world);
    assert!(downloads.values().all(|count| *count == 1), "{downloads:?}");
    assert_eq!(names(&world.store().join("envs")).len(), 2);
    let version = |python: &Path| {
        let mut command = world.command(python);
        command.args(["-c", "import torch, torchvision; print(torch.__version__)"]);
        world.run(command).ok().text().to_owned()
    };
    assert_eq!(version(&world.project().join(".venv/bin/python")), "2.7.0+cpu");
    assert_eq!(version(&Path::new(&other).join(".venv/bin/python")), "2.7.0+cu118");
}

#[test]
fn locks_of_one_project_at_once_leave_whole_files() {
    let Some(world) = locked() else { return };
    let python = world.any_python().expect("it locked");
    let children: Vec<_> = ["cpu", "cu118", "rocm6.3", "cpu"]
        .iter()
        .map(|channel| start(world.flambeau_command(&["lock", "--channel", channel, "--python", &python.version])))
        .collect();
    for child in children {
        finish(child);
    }
    world.flambeau(&["hash", "--check"]).ok();
    let keys = world.flambeau(&["hash", "--all", "--json"]).ok().json();
    assert_eq!(keys["keys"].as_object().map(serde_json::Map::len), Some(3), "{keys}");
}

/// Whatever is visible is whole.
#[track_caller]
fn assert_whole(world: &World) {
    for tree in names(&world.store().join("wheels")) {
        let folder = world.store().join("wheels").join(&tree);
        for file in ["facts.json", "manifest.json"] {
            let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
            assert!(
                serde_json::from_str::<serde_json::Value>(&text).is_ok(),
                "{tree}/{file}: {text:?}"
            );
        }
    }
    for environment in names(&world.store().join("envs")) {
        let folder = world.store().join("envs").join(&environment);
        for file in ["environment_state.json", "pyvenv.cfg", "bin/python", "bin/activate"] {
            assert!(folder.join(file).exists(), "{environment}/{file}");
        }
    }
    for digest in names(&world.cache().join("wheels")) {
        let folder = world.cache().join("wheels").join(&digest);
        for file in names(&folder) {
            let bytes = fs::read(folder.join(&file)).expect("readable");
            assert_eq!(crate::support::encoding::sha256(&bytes), digest, "{file}");
        }
    }
    if world.has(".venv") {
        // Through the link: a state that cannot be read would be a link that leads nowhere.
        let state = world.read("environment_state.json");
        assert!(state.contains("\"TreeDigest\""), "{state}");
    }
}

#[test]
fn f01_a_build_that_is_killed_at_any_moment_leaves_nothing_half_done() {
    const ROUNDS: u32 = 20;
    let Some(world) = locked() else { return };
    let expected = world.flambeau(&["build", "--channel", "cpu", "--json"]).ok().json()["tree_digest"].clone();
    let clean = |round: u32| {
        remove_sealed(&world.store());
        for file in [".venv", "environment_state.json"] {
            // Not every round comes so far.
            let _absent = fs::remove_file(world.project().join(file));
        }
        let _absent = fs::remove_dir_all(world.project().join(".flambeau"));
        if round.is_multiple_of(2) {
            fs::remove_dir_all(world.cache().join("wheels")).expect("it was filled");
        }
    };
    clean(0);
    // How long a build takes here and now.
    let started = Instant::now();
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    let mut length = started.elapsed();
    let mut killed = 0;
    for round in 0..ROUNDS {
        clean(round);
        let mut child = start(world.flambeau_command(&["build", "--channel", "cpu"]));
        // Spread over the build's whole length, in an order that mixes early and late.
        std::thread::sleep(length.mul_f64(f64::from(round * 7 % ROUNDS) / f64::from(ROUNDS)));
        child.kill().expect("it is ours");
        let output = child.wait_with_output().expect("it was started");
        if output.status.signal() == Some(9) {
            killed += 1;
        } else {
            // The first build was a slow one: the rest of the rounds aim earlier.
            length = length.mul_f64(0.7);
        }
        assert_whole(&world);
        let document = world.flambeau(&["build", "--channel", "cpu", "--json"]).ok().json();
        assert_eq!(document["tree_digest"], expected, "round {round}");
        assert_eq!(names(&world.store().join("envs")).len(), 1);
        world.venv_python(&["-c", "import torch, torchvision"]).ok();
    }
    assert!(
        killed >= ROUNDS / 4,
        "only {killed} builds were still running when they were to be killed"
    );
}

/// A world whose next build fetches one large wheel, slowly.
fn trickling() -> Option<(World, String)> {
    let world = World::new();
    let python = world.any_python()?;
    let wheel = Wheel::new("bulky", "1.0")
        .stored()
        .file("bulky/data.bin", noise(1 << 20));
    let wheel = world.server().offer(Shelf::Index, wheel.file("bulky/__init__.py", ""));
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version, "bulky"])
        .ok();
    world.server().clear_log();
    world
        .server()
        .fault(Fault::on(&wheel.filename, Action::Slow(200_000)).times(1));
    Some((world, wheel.sha256.clone()))
}

/// Waits until some of the wheel has arrived.
fn await_part(world: &World, sha256: &str) -> u64 {
    let part = world.cache().join("partial").join(format!("{sha256}.part"));
    loop {
        match fs::metadata(&part).map(|meta| meta.len()) {
            Ok(length) if length > 0 => return length,
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// The second request for the wheel continues where the first broke off.
#[track_caller]
fn assert_continued(world: &World, at_least: u64) {
    let requests = world.server().requests_to("bulky-1.0-py3-none-any.whl");
    let ranges: Vec<_> = requests
        .iter()
        .map(|request| request.range().map(str::to_owned))
        .collect();
    let [None, Some(range)] = &ranges[..] else {
        panic!("{ranges:?}");
    };
    let start = range.trim_start_matches("bytes=").trim_end_matches('-').parse::<u64>();
    assert!(start.is_ok_and(|start| start >= at_least), "{range}");
    world.venv_python(&["-c", "import bulky"]).ok();
}

#[test]
fn f07_a_download_that_is_interrupted_is_resumed() {
    for signal in [Signal::INT, Signal::TERM] {
        let Some((world, sha256)) = trickling() else { return };
        let child = start(world.flambeau_command(&["build", "--channel", "cpu"]));
        let arrived = await_part(&world, &sha256);
        kill_process(Pid::from_child(&child), signal).expect("it is ours");
        let status = child.wait_with_output().expect("it was started").status;
        assert_eq!(status.code(), Some(130), "{signal:?}: {status}");
        assert!(names(&world.store().join("wheels")).is_empty() && !world.has(".venv"));
        world.flambeau(&["build", "--channel", "cpu"]).ok();
        assert_continued(&world, arrived);
    }
}

#[test]
fn f11_a_build_that_waits_goes_on_at_once_when_the_other_dies() {
    let Some((world, sha256)) = trickling() else { return };
    let first = start(world.flambeau_command(&["build", "--channel", "cpu"]));
    let arrived = await_part(&world, &sha256);
    let mut second = start(world.flambeau_command(&["build", "--channel", "cpu"]));
    std::thread::sleep(Duration::from_millis(300));
    assert!(second.try_wait().expect("it is ours").is_none(), "it did not wait");
    kill_process(Pid::from_child(&first), Signal::KILL).expect("it is ours");
    first.wait_with_output().expect("it was started");
    finish(second);
    assert_continued(&world, arrived);
}
