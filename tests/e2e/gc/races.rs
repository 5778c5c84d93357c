//! Collections beside builds, and collections that are killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::gc::{age, forget, small};
use crate::steps::{names, remove_sealed};
use crate::support::world::{World, text};

/// Moments of a build, and of a collection, at which it is held.
const BUILD: [&str; 8] = [
    "build.hit",
    "claim.made",
    "tree.claimed",
    "tree.claimed#2",
    "build.trees",
    "build.committed",
    "activate.gate",
    "none",
];
const COLLECTION: [&str; 8] = [
    "gc.planned",
    "gc.closed",
    "gc.surveyed",
    "gc.leased",
    "gc.renamed",
    "gc.opened",
    "gc.deleted",
    "none",
];

/// xorshift64*: the same histories on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).expect("31 bits") % limit
    }
}

struct Held {
    child: Child,
    folder: PathBuf,
    moment: String,
}

impl Held {
    fn start(mut command: Command, folder: &Path, moment: &str) -> Self {
        fs::create_dir_all(folder).expect("writable");
        command.env("FLAMBEAU_CHECKPOINT", format!("{moment}=hold:{}", folder.display()));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self {
            child: command.spawn().expect("it starts"),
            folder: folder.to_owned(),
            moment: moment.split('#').next().expect("a name").to_owned(),
        }
    }

    /// Waits until it is held, has ended, or is blocked by the other, which shows as nothing happening.
    fn settle(&mut self, patience: Duration) {
        let reached = self.folder.join(format!("{}.reached", self.moment));
        let start = Instant::now();
        while !reached.exists() && start.elapsed() < patience && self.child.try_wait().expect("ours").is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn release(&self) {
        fs::write(self.folder.join(format!("{}.go", self.moment)), "").expect("writable");
    }

    /// Lets it end, which it must do well; returns what it said.
    #[track_caller]
    fn finish(self, history: &str) -> String {
        self.release();
        let output = self.child.wait_with_output().expect("it was started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{history}: {}: {stderr}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Whatever is visible is whole.
#[track_caller]
fn assert_whole(world: &World, history: &str) {
    for name in names(&world.store().join("envs")) {
        let environment = world.store().join("envs").join(&name);
        let state = fs::read(environment.join("environment_state.json")).unwrap_or_else(|error| {
            panic!("{history}: {name} has no state: {error}");
        });
        let state: serde_json::Value = serde_json::from_slice(&state).expect("JSON");
        for tree in state["Trees"].as_array().expect("a list") {
            let tree = world.store().join("wheels").join(tree.as_str().expect("a name"));
            assert!(
                tree.join("facts.json").exists(),
                "{history}: {} is gone",
                tree.display()
            );
        }
    }
    for name in names(&world.store().join("wheels")) {
        let tree = world.store().join("wheels").join(&name);
        assert!(
            tree.join("manifest.json").exists() && tree.join("root").exists(),
            "{history}: {name}"
        );
    }
}

/// How many histories: 1,000 in the long run (`FLAMBEAU_TEST_INTERLEAVINGS=1000`).
fn rounds() -> u32 {
    let given = std::env::var("FLAMBEAU_TEST_INTERLEAVINGS").ok();
    given.map_or(24, |text| {
        text.parse().expect("FLAMBEAU_TEST_INTERLEAVINGS is a number")
    })
}

#[test]
fn f10_a_build_beside_a_collection_keeps_its_inputs_and_its_output() {
    let Some(world) = small() else { return };
    let environment = PathBuf::from(text(&world.build(&["--channel", "cpu"]), "path"));
    let mut random = Random(0x00f1_a3be_a05e_ed10);
    let (mut collected, mut kept) = (0, 0);
    for round in 0..rounds() {
        // Everything is dead at the beginning; sometimes the environment is missing, or everything.
        forget(&world);
        age(&world, 400);
        let before = random.below(4);
        if before >= 2 && environment.exists() {
            remove_sealed(&environment);
        }
        if before == 3 {
            remove_sealed(&world.store().join("wheels"));
        }
        let (at, of) = (
            BUILD[random.below(BUILD.len())],
            COLLECTION[random.below(COLLECTION.len())],
        );
        let (build_first, build_goes_first) = (random.below(2) == 0, random.below(2) == 0);
        let history = format!("round {round}: {at} beside {of}, {before}, {build_first}, {build_goes_first}");
        let folder = world.path(format!("hold/{round}"));
        let start_build = || {
            let command = world.flambeau_command(&["build", "--channel", "cpu", "--offline"]);
            Held::start(command, &folder.join("build"), at)
        };
        let start_gc = || {
            let command = world.flambeau_command(&["gc", "--older-than", "0s"]);
            Held::start(command, &folder.join("gc"), of)
        };
        let patience = Duration::from_millis(1500);
        let (mut build, mut gc);
        if build_first {
            build = start_build();
            build.settle(patience * 4);
            gc = start_gc();
            gc.settle(patience);
        } else {
            gc = start_gc();
            gc.settle(patience * 4);
            build = start_build();
            build.settle(patience);
        }
        if build_goes_first {
            build.release();
            build.moment = "none".to_owned();
            build.settle(patience / 10);
        } else {
            gc.release();
            gc.moment = "none".to_owned();
            gc.settle(patience / 10);
        }
        gc.release();
        build.finish(&history);
        let said = gc.finish(&history);
        let went = said
            .lines()
            .any(|line| line.starts_with("environment ") || line.starts_with("wheel tree "));
        *(if went { &mut collected } else { &mut kept }) += 1;
        assert_eq!(world.active(), environment, "{history}");
        assert_whole(&world, &history);
        world.venv_python(&["-c", "import typing_extensions"]).ok();
        assert!(names(&world.store().join("claims")).is_empty(), "{history}");
        fs::remove_dir_all(&folder).expect("ours");
    }
    assert!(
        collected > 0 && kept > 0,
        "{collected} collections took something, {kept} did not"
    );
}

#[test]
fn f33_a_collection_that_is_killed_leaves_nothing_half_deleted() {
    let Some(world) = small() else { return };
    let mut killed = 0;
    for moment in [
        "gc.planned",
        "gc.closed",
        "gc.surveyed",
        "gc.leased",
        "gc.renamed",
        "gc.renamed#2",
        "gc.renamed#3",
        "gc.opened",
        "gc.deleted",
        "gc.deleted#2",
    ] {
        world.build(&["--channel", "cpu"]);
        forget(&world);
        age(&world, 400);
        let mut command = world.flambeau_command(&["gc"]);
        command.env("FLAMBEAU_CHECKPOINT", format!("{moment}=kill"));
        let output = command.output().expect("it starts");
        killed += u32::from(output.status.code().is_none());
        assert_whole(&world, moment);
        if moment == "gc.renamed" {
            assert!(!names(&world.store().join("tmp")).is_empty(), "nothing was renamed");
        }
        // The next one waits for nobody and finishes.
        let document = world.flambeau_json("gc", &["--older-than", "0s"]);
        for folder in ["envs", "wheels", "tmp", "claims"] {
            assert_eq!(
                names(&world.store().join(folder)),
                Vec::<String>::new(),
                "{moment}: {folder}: {document:#}"
            );
        }
    }
    assert_eq!(killed, 10);
    world.build(&["--channel", "cpu", "--offline"]);
    world.venv_python(&["-c", "import typing_extensions"]).ok();
}

#[test]
fn a_killed_build_blocks_no_collection() {
    let Some(world) = small() else { return };
    for moment in [
        "claim.made",
        "tree.claimed",
        "build.trees",
        "build.committed",
        "activate.gate",
    ] {
        age(&world, 400);
        let mut command = world.flambeau_command(&["build", "--channel", "cpu"]);
        command.env("FLAMBEAU_CHECKPOINT", format!("{moment}=kill"));
        let status = command.output().expect("it starts").status;
        assert_eq!(status.code(), None, "{moment}");
        forget(&world);
        world.flambeau_json("gc", &["--older-than", "0s"]);
        for folder in ["envs", "wheels", "tmp", "claims"] {
            assert_eq!(
                names(&world.store().join(folder)),
                Vec::<String>::new(),
                "{moment}: {folder}"
            );
        }
    }
}
