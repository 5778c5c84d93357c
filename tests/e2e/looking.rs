//! F81: a verb that only looks changes nothing, in whatever state the project is: no byte of project, store and cache.
//! And a command that fails before it has built anything leaves no lockfile behind.

use std::collections::BTreeSet;
use std::fs;

use crate::support::family::{Shelf, wheel};
use crate::support::wheel::Wheel;
use crate::support::world::{Output, TreeSnapshot, World, tree_snapshot};

/// Every command line that only looks. `BUNDLE` is replaced.
const LOOKS: [&[&str]; 35] = [
    &["detect"],
    &["doctor"],
    &["lock", "--check"],
    &["lock", "--check", "--channel", "cpu"],
    &["hash"],
    &["hash", "--all"],
    &["hash", "--check"],
    &["hash", "--from", "pinned.txt", "--python", "3"],
    &["fetch", "--dry-run"],
    &["fetch", "--check"],
    &["fetch", "--check", "--dry-run"],
    &["fetch", "--dry-run", "--all"],
    &["fetch", "--check", "--all"],
    &["fetch", "--dry-run", "--channel", "cu118,cpu"],
    &["fetch", "--check", "--channel", "cu118,cpu"],
    &["fetch", "--dry-run", "--platform", "linux_x86_64"],
    &["build", "--dry-run"],
    &["build", "--dry-run", "--channel", "cu118"],
    &["build", "--dry-run", "--locked"],
    &["build", "--dry-run", "--offline"],
    &["build", "--dry-run", "--from", "pinned.txt", "--python", "3"],
    &["status"],
    &["list"],
    &["generations"],
    &["generations", "--delete", "old", "--dry-run"],
    &["diff", "1", "2"],
    &["diff", "cpu", "cu118"],
    &["why", "torch"],
    &["tree"],
    &["verify"],
    &["verify", "--quick"],
    &["verify", "--all"],
    &["gc", "--dry-run", "--older-than", "0s"],
    &["gc", "--print-roots"],
    &["import", "BUNDLE", "--check"],
];

/// Every flag of every verb that promises to change nothing.
const PROMISES: [&str; 3] = ["--dry-run", "--check", "--print-roots"];

struct Everything([TreeSnapshot; 3]);

impl Everything {
    fn of(world: &World) -> Self {
        Self([world.project(), world.store(), world.cache()].map(|folder| tree_snapshot(&folder)))
    }
}

/// Runs every line, and fails if one changed anything. Returns what was said.
fn look(world: &World, state: &str) -> Vec<Output> {
    let bundle = world.path("bundle").display().to_string();
    let mut said = Vec::new();
    for line in LOOKS {
        let words: Vec<String> = line.iter().map(|word| word.replace("BUNDLE", &bundle)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let before = Everything::of(world);
        let output = world.flambeau(&words);
        for (before, after) in before.0.iter().zip(&Everything::of(world).0) {
            assert_eq!(before, after, "{state}: {words:?} changed something: {output}");
        }
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1 | 3 | 4)), "{state}: {words:?}: {output}");
        said.push(output);
    }
    said
}

#[test]
fn f81_looking_changes_nothing_in_any_state_of_the_project() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    // A channel's wheel and an index's, neither with a digest that anybody states, and one without metadata beside it.
    let plain = wheel(Shelf::Index, "mpmath", "1.3.0");
    world.write("pinned.txt", format!("mpmath==1.3.0 --hash=sha256:{}\n", plain.sha256));
    let bundle = world.path("bundle").display().to_string();
    let elsewhere = World::new();
    elsewhere
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version, "mpmath"])
        .ok();
    elsewhere.flambeau(&["export", &bundle, "--channel", "cpu"]).ok();

    let said = look(&world, "an empty folder, nothing cached");
    assert!(
        said.iter().any(|output| output.stdout.contains("would lock ")),
        "what a build would lock is said"
    );
    assert!(!world.store().exists() || !world.has("lockfiles"), "nothing at all");
    world.write(
        "pyproject.toml",
        "[project]\nname = \"p\"\nversion = \"1\"\ndependencies = [\"torch==2.7.0\", \"mpmath\"]\n",
    );
    look(&world, "requirements without lockfiles");
    world
        .flambeau(&["lock", "--channel", "cpu,cu118", "--python", &python.version])
        .ok();
    look(&world, "lockfiles, nothing fetched");
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    world.flambeau(&["build", "--channel", "cu118"]).ok();
    look(&world, "two environments");
    let current = fs::read_to_string(world.project().join("lockfiles/pylock.cpu.toml")).expect("a lockfile");
    world.write(
        "pyproject.toml",
        "[project]\nname = \"p\"\nversion = \"1\"\ndependencies = [\"torch==2.7.0\", \"filelock\"]\n",
    );
    look(&world, "stale lockfiles");
    world.write("lockfiles/pylock.cpu.toml", &current[..current.len() / 2]);
    world.write("lockfiles/keys.json", "garbage");
    look(&world, "damaged documents");
    fs::remove_file(world.project().join("lockfiles/keys.json")).expect("ours");
    fs::remove_file(world.project().join("lockfiles/pylock.cpu.toml")).expect("ours");
    world.flambeau(&["lock", "--channel", "cpu"]).ok();
    fs::remove_file(world.project().join("lockfiles/keys.json")).expect("ours");
    world.delete(&world.cache().join("pages"));
    world.delete(&world.cache().join("interpreters"));
    look(&world, "without keys, pages and facts");
    world.delete(&world.cache());
    world.delete(&world.store());
    look(&world, "without store and cache");
}

/// Dry runs find out what they must, in memory, or in a folder that is gone afterwards.
#[test]
fn f81_a_dry_run_resolves_what_can_only_be_downloaded() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let bare = Wheel::new("bare", "1.0").file("bare/__init__.py", "");
    world.server().offer(Shelf::Index, bare);
    world.server().configure(|options| {
        options.digests = false;
        options.index_core_metadata = false;
    });
    world.write("pyproject.toml", "[tool.flambeau]\nrequirements = [\"bare\"]\n");
    let before = Everything::of(&world);
    let output = world
        .flambeau(&["build", "--dry-run", "--channel", "cpu", "--python", &python.version])
        .ok();
    assert!(output.stdout.contains("would lock "), "{output}");
    for (before, after) in before.0.iter().zip(&Everything::of(&world).0) {
        before.assert_same(after);
    }
    assert_eq!(
        fs::read_dir(world.path("tmp")).expect("a folder").count(),
        0,
        "nothing stays"
    );
}

#[test]
fn every_flag_that_promises_to_change_nothing_is_tried() {
    let world = World::new();
    let help = world.flambeau(&["--help"]).ok().stdout;
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = verbs.take_while(|line| !line.is_empty());
    let verbs: BTreeSet<&str> = verbs
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|verb| !verb.is_empty() && *verb != "help")
        .collect();
    assert!(verbs.len() > 20, "{verbs:?}");
    for verb in verbs {
        let help = world.flambeau(&[verb, "--help"]).ok().stdout;
        for promise in PROMISES {
            let has = help.lines().any(|line| {
                line.trim_start().split([' ', ',']).any(|word| word == promise) && line.trim_start().starts_with('-')
            });
            let tried = LOOKS.iter().any(|line| line[0] == verb && line.contains(&promise));
            assert!(!has || tried, "`{verb} {promise}` needs a line in the table");
        }
    }
}

#[test]
fn a_build_that_fails_leaves_the_project_as_it_was() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let empty = tree_snapshot(&world.project());
    let lines: [(&[&str], i32); 5] = [
        // No such Python; nothing cached and no network; a lockfile of the family and no wheels.
        (&["build", "--channel", "cpu", "--python", "3.8"], 1),
        (&["build", "--channel", "cpu", "--offline"], 4),
        (&["run", "--channel", "cpu", "--offline", "--", "true"], 4),
        (&["fetch", "--channel", "cpu", "--offline"], 4),
        (&["export", "bundle.tar", "--channel", "cpu", "--offline"], 4),
    ];
    for (line, code) in lines {
        world.flambeau(line).fails(code);
        empty.assert_same(&tree_snapshot(&world.project()));
    }
    // With lockfiles that are to be written and wheels that do not come.
    world.write("pyproject.toml", "[tool.flambeau]\nrequirements = [\"torch==2.7.0\"]\n");
    let before = tree_snapshot(&world.project());
    let gone = crate::support::server::Fault::on("/torch-2.7.0", crate::support::server::Action::Status(404, &[]));
    world.server().fault(gone.method("GET"));
    world
        .flambeau(&["build", "--channel", "cpu", "--python", &python.version])
        .fails(4);
    before.assert_same(&tree_snapshot(&world.project()));
    world.server().clear_faults();
    world
        .flambeau(&["build", "--channel", "cpu", "--python", &python.version])
        .ok();
    assert!(world.has("lockfiles/pylock.cpu.toml") && world.has("lockfiles/keys.json"));
}
