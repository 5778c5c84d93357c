//! F08: clock, zone, locale, umask, home, current folder and the store's path change nothing that counts.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::family::Shelf;
use crate::support::wheel::Wheel;
use crate::support::world::World;

/// What surrounds one build.
struct Row {
    what: &'static str,
    variables: &'static [(&'static str, &'static str)],
    unset: &'static [&'static str],
    /// A shell script before the program starts.
    before: &'static str,
    /// The store's folder below the world.
    store: String,
}

fn row(what: &'static str) -> Row {
    Row {
        what,
        variables: &[],
        unset: &[],
        before: "",
        store: format!("stores/{}", what.replace(' ', "-")),
    }
}

const TEN_YEARS: &str = "315576000";
const TEN_YEARS_AGO: &str = "-315576000";

fn rows() -> Vec<Row> {
    let before = |what, before| Row { before, ..row(what) };
    let variables = |what, variables| Row { variables, ..row(what) };
    let store = |what, store: &str| Row {
        store: store.to_owned(),
        ..row(what)
    };
    vec![
        row("plain"),
        before("umask 000", "umask 000"),
        before("umask 077", "umask 077"),
        before("umask 027", "umask 027"),
        variables("ten years ahead", &[("FLAMBEAU_CLOCK_SHIFT", TEN_YEARS)]),
        variables("ten years behind", &[("FLAMBEAU_CLOCK_SHIFT", TEN_YEARS_AGO)]),
        variables("a far zone", &[("TZ", "Pacific/Kiritimati")]),
        variables("a zone that is none", &[("TZ", ":/nonexistent/zone")]),
        variables(
            "Turkish",
            &[("LANG", "tr_TR.UTF-8"), ("LC_ALL", "tr_TR.UTF-8"), ("LANGUAGE", "tr")],
        ),
        variables("no locale", &[("LANG", "C"), ("LC_ALL", "C")]),
        before("the current folder is gone", "mkdir gone; cd gone; rmdir ../gone"),
        Row {
            unset: &[
                "HOME",
                "XDG_CACHE_HOME",
                "XDG_CONFIG_HOME",
                "XDG_DATA_HOME",
                "XDG_STATE_HOME",
            ],
            ..row("no home")
        },
        Row {
            // Nobody can write there, root neither.
            variables: &[("HOME", "/proc")],
            unset: &["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"],
            ..row("a read-only home")
        },
        variables(
            "another source date",
            &[("SOURCE_DATE_EPOCH", "1"), ("PYTHONHASHSEED", "7")],
        ),
        store(
            "a very long store",
            &format!("stores/{}", vec!["long-folder-name".repeat(12); 4].join("/")),
        ),
        store("a store that is no ASCII", "stores/mağaza-été-日本-🔥"),
        store("spaces and quotes", "stores/it's \"a\" $HOME `x` store; #1"),
        store("a percent sign and a backslash", "stores/100%s\\n"),
    ]
}

/// Builds under these surroundings and lets what was built speak.
fn built(world: &World, row: &Row) -> (Value, String) {
    let project = world.project().display().to_string();
    let store = world.path(&row.store);
    fs::create_dir_all(store.parent().expect("below the world")).expect("a writable world");
    let surround = |mut command: std::process::Command| {
        command.envs(row.variables.iter().copied());
        for name in row.unset {
            command.env_remove(name);
        }
        command
    };
    let script = format!("{}\nexec \"$@\"", row.before);
    let mut command = world.command(world.path("tools/sh"));
    command.args([
        "-c",
        &script,
        "sh",
        env!("CARGO_BIN_EXE_flambeau"),
        "--json",
        "build",
        "--offline",
    ]);
    command
        .args(["--channel", "cpu", "--project", &project])
        .arg("--store-dir")
        .arg(&store);
    let mut command = surround(command);
    command.env("PATH", format!("{}:/usr/bin:/bin", world.path("tools").display()));
    let document = world.run(command).fails(0).json();
    assert_eq!(document["reused"], false, "{}", row.what);
    let venv = world.project().join(".venv/bin");
    let speak = |program: &Path, arguments: &[&str]| {
        let mut command = world.command(program);
        command.args(arguments);
        world.run(surround(command)).ok().text().to_owned()
    };
    let said = [
        speak(&venv.join("speak"), &["one two"]),
        speak(
            &PathBuf::from(document["path"].as_str().expect("a path")).join("bin/speak"),
            &["x"],
        ),
        speak(&venv.join("python"), &["-c", "import speaking; print(speaking.WHAT)"]),
    ];
    (document, said.join("|"))
}

#[test]
fn f08_surroundings_change_neither_key_nor_digest_and_scripts_work() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let code = "import sys\nWHAT = 'spoken'\ndef main():\n    print('says', *sys.argv[1:])\n";
    let wheel = Wheel::new("speaking", "1.0").file("speaking.py", code).entry_point(
        "console_scripts",
        "speak",
        "speaking:main",
    );
    world.server().offer(Shelf::Index, wheel);
    let lock = [
        "lock",
        "--channel",
        "cpu",
        "--python",
        &python.version,
        "typing-extensions==4.13.2",
        "speaking",
    ];
    world.flambeau(&lock).ok();
    world.flambeau(&["fetch", "--channel", "cpu"]).ok();
    let mut first: Option<(Value, String)> = None;
    for row in rows() {
        let (document, said) = built(&world, &row);
        assert_eq!(said, "says one two|says x|spoken", "{}", row.what);
        let (expected, _) = first.get_or_insert_with(|| (document.clone(), said));
        for member in ["key", "tree_digest", "target", "packages"] {
            assert_eq!(document[member], expected[member], "{}: {member}", row.what);
        }
        let mode = |path: &str| {
            let meta = fs::metadata(Path::new(document["path"].as_str().expect("a path")).join(path)).expect("there");
            std::os::unix::fs::MetadataExt::mode(&meta) & 0o7777
        };
        assert_eq!(
            (mode(""), mode("bin"), mode("environment_state.json")),
            (0o555, 0o555, 0o444),
            "{}",
            row.what
        );
        assert_eq!(mode("bin/speak"), 0o555, "{}", row.what);
    }
    // A project whose own path is awkward works as well.
    let awkward = world.path("proj'e\"kt ö $x");
    fs::create_dir_all(awkward.join("lockfiles")).expect("a new folder");
    for file in ["pylock.cpu.toml", "keys.json"] {
        fs::copy(
            world.project().join("lockfiles").join(file),
            awkward.join("lockfiles").join(file),
        )
        .expect("copied");
    }
    let arguments = [
        "build",
        "--offline",
        "--channel",
        "cpu",
        "--project",
        awkward.to_str().expect("UTF-8"),
    ];
    world.flambeau(&arguments).ok();
    let mut command = world.command(awkward.join(".venv/bin/speak"));
    command.arg("up");
    assert_eq!(world.run(command).ok().text(), "says up");
}

#[test]
fn f08_a_wrong_clock_deletes_no_generation_that_is_needed() {
    let mut world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let deleted = |world: &World, which: &str| {
        let document = world.flambeau_json("generations", &["--dry-run", "--delete", which]);
        document["deleted"].as_array().expect("a list").len()
    };
    for (backend, shift) in [("cuda", TEN_YEARS), ("rocm", "0"), ("cpu", TEN_YEARS_AGO)] {
        world.set("FLAMBEAU_CLOCK_SHIFT", shift);
        world.build(&["--backend", backend]);
    }
    // The current one is ten years old by its record, one is of the future: neither goes.
    world.unset("FLAMBEAU_CLOCK_SHIFT");
    assert_eq!(deleted(&world, "30d"), 0);
    world.set("FLAMBEAU_CLOCK_SHIFT", TEN_YEARS_AGO);
    assert_eq!(deleted(&world, "30d"), 0);
    // Ten years on, the two that are older than all but one may go.
    world.set("FLAMBEAU_CLOCK_SHIFT", "631152000");
    assert_eq!(deleted(&world, "30d"), 1);
}
