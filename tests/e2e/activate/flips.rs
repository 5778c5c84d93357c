//! F41: ten thousand flips beside four readers.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::world::{World, text};

const FLIPS: usize = 10_000;
/// Every so many flips the program itself makes one.
const REAL: usize = 500;

/// How often a reader saw each of the two environments.
#[derive(Default)]
struct Seen([usize; 2]);

#[test]
fn f41_no_reader_ever_misses_a_link() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let built = ["cuda", "cpu"].map(|backend| world.build(&["--backend", backend]));
    let paths = built.each_ref().map(|document| text(document, "path").to_owned());
    let states = paths
        .each_ref()
        .map(|path| fs::read(Path::new(path).join("environment_state.json")).expect("a state"));
    let interpreters = paths
        .each_ref()
        .map(|path| fs::read_link(Path::new(path).join("bin/python")).expect("a link"));
    assert_ne!(states[0], states[1]);
    assert_eq!(interpreters[0], interpreters[1]);
    let project = world.project();
    let link = project.join(".venv");
    let stop = AtomicBool::new(false);
    let read = || {
        let mut seen = Seen::default();
        while !stop.load(Ordering::Relaxed) {
            for file in ["environment_state.json", ".venv/environment_state.json"] {
                let state = fs::read(project.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
                let which = states.iter().position(|known| *known == state);
                seen.0[which.unwrap_or_else(|| panic!("{file} is of neither environment"))] += 1;
            }
            let python = fs::read_link(link.join("bin/python")).expect("the link and what it leads to are there");
            assert_eq!(python, interpreters[0]);
            let path = fs::read_link(&link).expect("the link is there");
            assert!(paths.iter().any(|known| Path::new(known) == path), "{}", path.display());
        }
        seen
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(read)).collect();
        let flipped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for flip in 0..FLIPS {
                if flip % REAL == 0 {
                    let name = ["cuda", "cpu"][flip / REAL % 2];
                    let document = world.flambeau_json("activate", &[name]);
                    assert_eq!(world.active().to_str(), document["path"].as_str());
                } else {
                    flambeau::fsx::flip_symlink(Path::new(&paths[flip % 2]), &link).expect("flipped");
                }
            }
        }));
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            let seen = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            assert!(
                seen.0.iter().all(|times| *times > 0),
                "a reader that saw both: {:?}",
                seen.0
            );
        }
        flipped.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let mut left: Vec<_> = fs::read_dir(&project)
        .expect("the project")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    left.sort();
    assert_eq!(left, [".flambeau", ".venv", "environment_state.json", "lockfiles"]);
    world.flambeau_json("activate", &["cuda"]);
    assert_eq!(world.python_says("import torch; print(torch.answer())"), "118");
}

#[test]
fn two_programs_that_activate_at_once_leave_one_true_profile() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    for backend in ["cuda", "cpu"] {
        world.build(&["--backend", backend]);
    }
    std::thread::scope(|scope| {
        for name in ["cuda", "cpu", "1", "2"] {
            let world = &world;
            scope.spawn(move || {
                for _ in 0..10 {
                    world.flambeau_json("activate", &[name]);
                }
            });
        }
    });
    let status = world.flambeau_json("status", &[]);
    assert_eq!(world.active().to_str(), status["path"].as_str());
    let number = status["generation"].as_u64().expect("a generation");
    let record = world.read(format!(".flambeau/generations/{number}.json"));
    assert!(record.contains(text(&status, "path")), "{record}");
    // Numbers are given once, without gaps.
    let count = fs::read_dir(world.project().join(".flambeau/generations"))
        .expect("the profile")
        .count();
    for number in 1..=count {
        assert!(
            world.has(format!(".flambeau/generations/{number}.json")),
            "{number} of {count}"
        );
    }
}
