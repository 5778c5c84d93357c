//! Wheels that a lock has to download whole: those whose digest nobody states, and those without metadata of their own.
//! They arrive as every download does, with progress, and an interrupted one goes on where it ended.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::failures::noise;
use crate::steps::names;
use crate::support::family::Shelf;
use crate::support::server::{Action, Fault, LoggedRequest};
use crate::support::wheel::{BuiltWheel, Wheel};
use crate::support::world::{Python, World};

const FILE: &str = "bulky-1.0-py3-none-any.whl";
const LOCKFILE: &str = "lockfiles/pylock.pip.toml";

/// Who names the wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// An index that states no digests.
    Index,
    /// An index that states no digests and serves no metadata.
    IndexAlone,
    /// A requirement.
    Url,
}

const PLACES: [Place; 3] = [Place::Index, Place::IndexAlone, Place::Url];

struct Unstated {
    world: World,
    python: Python,
    place: Place,
}

fn bulky(version: &str) -> Wheel {
    Wheel::new("bulky", "1.0")
        .stored()
        .file("bulky/__init__.py", format!("version = \"{version}\"\n"))
        .file("bulky/data.bin", noise(1 << 20))
}

impl Unstated {
    fn at(place: Place) -> Option<Self> {
        let world = World::new();
        let python = world.any_python()?;
        world.server().configure(|options| {
            options.digests = false;
            options.index_core_metadata = place == Place::Index;
        });
        let unstated = Self { world, python, place };
        unstated.offer("one");
        Some(unstated)
    }

    fn offer(&self, version: &str) -> BuiltWheel {
        let wheel = bulky(version);
        let built = wheel.clone().build();
        match self.place {
            Place::Url => self
                .world
                .server()
                .serve_file(&format!("/files/{FILE}"), built.bytes.clone()),
            Place::Index | Place::IndexAlone => drop(self.world.server().offer(Shelf::Index, wheel)),
        }
        built
    }

    fn arguments<'a>(&'a self, requirement: &'a str) -> Vec<&'a str> {
        let target = [
            "--channel",
            "pip",
            "--platform",
            "linux_x86_64",
            "--python",
            &self.python.version,
        ];
        [&["lock"], &target[..], &[requirement]].concat()
    }

    fn requirement(&self) -> String {
        match self.place {
            Place::Url => format!("bulky @ {}/files/{FILE}", self.world.server().url()),
            Place::Index | Place::IndexAlone => "bulky".to_owned(),
        }
    }

    fn fault(&self, action: Action, times: usize) {
        // Not those that look for metadata by range.
        let fault = Fault::on(&format!("{FILE}$"), action).ranged(false);
        self.world.server().fault(fault.times(times));
    }

    fn lock(&self) -> crate::support::world::Output {
        self.world.flambeau(&self.arguments(&self.requirement()))
    }

    /// Starts a lock and ends it by a signal while the wheel arrives. Returns how much of it had arrived.
    fn interrupted(&self, signal: Signal) -> (u64, Child) {
        self.fault(Action::Slow(200_000), 1);
        let mut command = self.world.flambeau_command(&self.arguments(&self.requirement()));
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let partial = self.world.cache().join("partial");
        let arrived = loop {
            let parts = names(&partial).into_iter().filter(|name| name.ends_with(".part"));
            let length = parts
                .filter_map(|name| fs::metadata(partial.join(name)).ok())
                .map(|meta| meta.len())
                .max();
            match length {
                Some(length) if length > 0 => break length,
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        kill_process(Pid::from_child(&child), signal).expect("it is ours");
        (arrived, child)
    }

    /// The requests for the wheel's bytes, those for its tail aside.
    fn downloads(&self) -> Vec<LoggedRequest> {
        let mut requests = self.world.server().requests_to(FILE);
        requests.retain(|request| request.path.ends_with(".whl"));
        // A tail, or a piece of the archive's end.
        requests.retain(|request| request.range().is_none_or(|range| range.ends_with('-')));
        requests
    }

    #[track_caller]
    fn assert_builds(&self, version: &str) {
        self.world.server().clear_log();
        self.world.build(&["--channel", "pip", "--locked"]);
        assert_eq!(self.world.python_says("import bulky; print(bulky.version)"), version);
        assert!(self.downloads().is_empty(), "the wheel is in the cache");
        let left = names(&self.world.cache().join("partial"));
        // What is left of another place is for `gc`.
        assert!(
            left.is_empty() || version == "two" && self.place != Place::Url,
            "{left:?}"
        );
    }
}

#[test]
fn it_is_downloaded_once_for_metadata_digest_and_build() {
    for place in PLACES {
        let Some(unstated) = Unstated::at(place) else { return };
        // No ranges: the wheel is needed whole for its metadata too.
        let no_ranges = Fault::on(&format!("{FILE}$"), Action::IgnoreRange);
        unstated.world.server().fault(no_ranges);
        let output = unstated.lock().ok();
        assert!(output.stderr.contains("states no digest"), "{output}");
        let whole = unstated.downloads();
        assert_eq!(whole.len(), 1, "{place:?}: {whole:?}");
        assert!(unstated.world.read(LOCKFILE).contains(&unstated.offer("one").sha256));
        unstated.assert_builds("one");
    }
}

#[test]
fn progress_is_reported() {
    for place in PLACES {
        let Some(unstated) = Unstated::at(place) else { return };
        let requirement = unstated.requirement();
        let output = unstated
            .world
            .flambeau(&[&unstated.arguments(&requirement)[..], &["--progress", "json"]].concat())
            .ok();
        let events: Vec<serde_json::Value> = output
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let of =
            |kind: &str| -> Vec<&serde_json::Value> { events.iter().filter(|event| event["event"] == kind).collect() };
        for kind in ["fetch-planned", "fetch-started", "fetch-advanced", "fetch-finished"] {
            assert!(!of(kind).is_empty(), "{place:?}: {kind}\n{output}");
        }
        let bytes: u64 = of("fetch-advanced")
            .iter()
            .filter_map(|event| event["bytes"].as_u64())
            .sum();
        assert_eq!(bytes, bulky("one").build().bytes.len() as u64, "{place:?}");
    }
}

#[test]
fn f54_a_connection_that_breaks_is_gone_on_with() {
    for place in PLACES {
        let Some(unstated) = Unstated::at(place) else { return };
        unstated.fault(Action::Reset(700_000), 1);
        unstated.lock().ok();
        let ranges: Vec<_> = unstated
            .downloads()
            .iter()
            .map(|request| request.range().map(str::to_owned))
            .collect();
        assert_eq!(ranges, [None, Some("bytes=700000-".to_owned())], "{place:?}");
        unstated.assert_builds("one");
    }
}

#[test]
fn f53_a_connection_that_always_breaks_ends_in_a_network_error() {
    for place in PLACES {
        let Some(unstated) = Unstated::at(place) else { return };
        unstated.fault(Action::Reset(0), usize::MAX);
        let output = unstated.lock().fails(4);
        assert!(
            output.stderr.contains(FILE) && output.stderr.contains("127.0.0.1"),
            "{output}"
        );
        assert!(output.stderr.contains("hint: what arrived is kept"), "{output}");
        assert!(unstated.downloads().len() <= 10, "bounded");
        assert!(!unstated.world.has("lockfiles"));
    }
}

#[test]
fn f07_an_interrupted_download_is_gone_on_with_by_the_same_command() {
    for (place, signal) in PLACES
        .into_iter()
        .flat_map(|place| [(place, Signal::INT), (place, Signal::KILL)])
    {
        let Some(unstated) = Unstated::at(place) else { return };
        let (arrived, child) = unstated.interrupted(signal);
        let output = child.wait_with_output().expect("it was started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        if signal == Signal::INT {
            assert_eq!(output.status.code(), Some(130), "{stderr}");
            assert!(stderr.contains("hint: run the same command again"), "{stderr}");
        }
        unstated.world.server().clear_log();
        unstated.lock().ok();
        let asked = unstated.downloads();
        let [request] = &asked[..] else {
            panic!("{place:?}: {asked:?}")
        };
        let from = request
            .range()
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<u64>().ok());
        assert!(from.is_some_and(|from| from >= arrived), "{place:?}: {request}");
        assert!(
            request.header("if-range").is_some() && request.status == 206,
            "{place:?}: {request}"
        );
        unstated.assert_builds("one");
    }
}

#[test]
fn f54_a_file_that_changed_since_is_fetched_from_the_front() {
    for place in PLACES {
        let Some(unstated) = Unstated::at(place) else { return };
        let (_, child) = unstated.interrupted(Signal::KILL);
        child.wait_with_output().expect("it was started");
        let other = unstated.offer("two");
        unstated.lock().ok();
        assert!(unstated.world.read(LOCKFILE).contains(&other.sha256), "{place:?}");
        unstated.assert_builds("two");
    }
}

#[test]
fn f54_without_ranges_or_validators_it_comes_from_the_front() {
    for (place, action) in [
        (Place::Index, Action::IgnoreRange),
        (Place::Url, Action::IgnoreRange),
        (Place::Index, Action::NoValidators),
        (Place::Url, Action::NoValidators),
    ] {
        let Some(unstated) = Unstated::at(place) else { return };
        unstated
            .world
            .server()
            .fault(Fault::on(&format!("{FILE}$"), action.clone()));
        let (_, child) = unstated.interrupted(Signal::INT);
        child.wait_with_output().expect("it was started");
        unstated.lock().ok();
        let last = unstated.downloads().pop().expect("asked for");
        assert_eq!(last.status, 200, "{place:?} {action:?}: {last}");
        unstated.assert_builds("one");
    }
}

#[test]
fn f09_several_locks_at_once_get_the_same_bytes() {
    for place in PLACES {
        let Some(unstated) = Unstated::at(place) else { return };
        unstated.fault(Action::Slow(1_000_000), 1);
        let requirement = unstated.requirement();
        let children: Vec<Child> = (0..3)
            .map(|number| {
                let project = unstated.world.path(format!("project-{number}"));
                fs::create_dir(&project).expect("new");
                let mut command = unstated.world.flambeau_command(&unstated.arguments(&requirement));
                command.arg("--project").arg(project);
                command
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("it starts")
            })
            .collect();
        let sha256 = bulky("one").build().sha256;
        for (number, child) in children.into_iter().enumerate() {
            let output = child.wait_with_output().expect("it was started");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let locked = unstated.world.path(format!("project-{number}")).join(LOCKFILE);
            assert!(
                fs::read_to_string(locked).expect("written").contains(&sha256),
                "{place:?}"
            );
        }
        assert_eq!(names(&unstated.world.cache().join("partial")), [""; 0]);
        let whole = unstated.downloads();
        let whole = whole.iter().filter(|request| request.status == 200);
        assert_eq!(whole.count(), 1, "{place:?}: the others are told that it is the same");
    }
}

#[test]
fn a_wheel_that_is_needed_for_its_metadata_is_checked_and_kept() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world.server().configure(|options| options.index_core_metadata = false);
    let wheel = world.server().offer(Shelf::Index, bulky("one"));
    world
        .server()
        .fault(Fault::on(&format!("{FILE}$"), Action::IgnoreRange));
    let lock = [
        "lock",
        "--channel",
        "pip",
        "--platform",
        "linux_x86_64",
        "--python",
        &python.version,
        "bulky",
    ];
    let wrong = Fault::on(&format!("{FILE}$"), Action::Flip(500_000)).times(3);
    world.server().fault(wrong);
    let output = world.flambeau(&lock).fails(3);
    assert!(output.stderr.contains("but the index page states"), "{output}");
    world.server().clear_faults();
    world
        .server()
        .fault(Fault::on(&format!("{FILE}$"), Action::IgnoreRange));
    world.flambeau(&lock).ok();
    let cached = world.cache().join("wheels").join(&wheel.sha256).join(FILE);
    assert!(cached.is_file());
    world.server().clear_log();
    world.build(&["--channel", "pip", "--locked"]);
    assert!(world.server().requests_to(".whl").is_empty(), "it is in the cache");
}
