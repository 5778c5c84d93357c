//! The guarantee, for every verb: with `--offline` or `FLAMBEAU_OFFLINE=1` neither flambeau nor a child of it makes a
//! socket of an internet family, whether the verb succeeds or finds something missing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use crate::steps::{ACTIVE, Standing, in_own_network, skip, tool};
use crate::support::world::{Output, World};

/// A command line of every verb, in an order in which each can do its work, with its exit code. `BUNDLE` and `WHEEL` are
/// replaced.
const LINES: [(&[&str], i32); 44] = [
    (&["detect"], 0),
    (&["doctor"], 0),
    (&["lock"], 0),
    (&["lock", "--check"], 0),
    (&["hash"], 0),
    (&["hash", "--all"], 0),
    (&["hash", "--check"], 0),
    (&["fetch", "--dry-run"], 0),
    (&["fetch"], 0),
    (&["fetch", "--all"], 0),
    (&["fetch", "--check"], 0),
    (&["build", "--dry-run"], 0),
    (&["build"], 0),
    (&["build", "--rebuild"], 0),
    (&["build", "--locked", "--no-activate"], 0),
    (&["status"], 0),
    (&["list"], 0),
    (&["generations"], 0),
    (&["activate", "1"], 0),
    (&["rollback", "--to", "2"], 0),
    (&["diff", "1", "2"], 0),
    (&["why", "filelock"], 0),
    (&["tree"], 0),
    (&["verify"], 0),
    (&["verify", "--all", "--quick"], 0),
    (&["verify", "--repair"], 0),
    (&["run", "--", "python", "-c", "import filelock"], 0),
    (&["shell"], 0),
    (&["pin", "kept"], 0),
    (&["unpin", "kept"], 0),
    (&["export", "--format", "requirements"], 0),
    (&["export", "BUNDLE"], 0),
    (&["export", "BUNDLE.tar.zst", "--trees"], 0),
    (&["import", "BUNDLE"], 0),
    (&["import", "BUNDLE.tar.zst"], 0),
    (&["import", "BUNDLE", "--check"], 0),
    (&["gc", "--dry-run"], 0),
    (&["gc"], 0),
    (&["add", "WHEEL"], 0),
    (&["remove", "mpmath"], 0),
    // What is missing is said, not fetched.
    (&["lock", "numpy"], 4),
    (&["add", "numpy"], 4),
    (&["init", "--project", "BUNDLE"], 4),
    (&["fetch", "--platform", "musllinux_1_2_x86_64"], 1),
];

/// Commands that do nothing with the network by their nature.
const EXEMPT: [&str; 2] = ["help", "completions"];

/// The verbs that `--help` lists.
fn verbs(world: &World) -> BTreeSet<String> {
    let help = world.flambeau(&["--help"]).ok().stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|verb| !verb.is_empty() && !EXEMPT.contains(verb))
        .map(str::to_owned)
        .collect()
}

/// A world in which every line of the table can do its work: two generations, warm pages and wheels.
fn warmed() -> Option<(Standing, String)> {
    let standing = Standing::new()?;
    let world = &standing.world;
    standing.lock(&["filelock"]);
    world.flambeau(&["build"]).ok();
    let wheel = crate::support::family::wheel(crate::support::family::Shelf::Index, "mpmath", "1.3.0");
    world.write(&wheel.filename, &wheel.bytes);
    world.server().clear_log();
    let file = format!("./{}", wheel.filename);
    Some((standing, file))
}

fn words(line: &[&str], world: &World, wheel: &str) -> Vec<String> {
    let bundle = world.path("bundle").display().to_string();
    let replaced = |word: &&str| word.replace("BUNDLE", &bundle).replace("WHEEL", wheel);
    line.iter().map(replaced).collect()
}

/// What ended otherwise than the table says.
fn surprise(output: &Output, line: &[&str], code: i32) -> Option<String> {
    (output.status.code() != Some(code)).then(|| format!("{line:?} should end with {code}:\n{output}\n"))
}

#[test]
fn f57_no_verb_makes_a_socket() {
    let Some((standing, wheel)) = warmed() else { return };
    let world = &standing.world;
    let covered: BTreeSet<String> = LINES.iter().map(|(line, _)| line[0].to_owned()).collect();
    let all = verbs(world);
    let lost: Vec<_> = all.difference(&covered).collect();
    assert!(lost.is_empty(), "these verbs need a line in the table: {lost:?}");

    let Some(strace) = tool("strace") else {
        return skip("no socket of any verb", "this machine has no strace");
    };
    symlink(strace, world.path("tools/strace")).expect("the name is free");
    let log = world.path("strace.log");
    let traced = |arguments: &[String], offline: bool| {
        let mut command = world.command(world.path("tools/strace"));
        command.args(["-f", "-qq", "-e", "trace=network", "-o"]).arg(&log);
        command.arg(env!("CARGO_BIN_EXE_flambeau")).args(arguments);
        if offline {
            command.env("FLAMBEAU_OFFLINE", "1");
        }
        command.env("SHELL", world.path("tools/true"));
        let output = world.run(command);
        (output, fs::read_to_string(&log).unwrap_or_default())
    };
    let online = ["lock", "--channel", "cpu", "--upgrade"].map(str::to_owned);
    let (output, sockets) = traced(&online, false);
    if !output.status.success() || !sockets.contains("AF_INET") {
        return skip("no socket of any verb", "strace cannot trace here");
    }
    standing.lock(&["filelock"]);
    let mut surprises = Vec::new();
    for (number, (line, code)) in LINES.iter().enumerate() {
        let mut arguments = words(line, world, &wheel);
        // The variable and the flag mean the same; a child's command line is left alone.
        let by_flag = number % 2 == 0 && !line.contains(&"--");
        if by_flag {
            arguments.push("--offline".to_owned());
        }
        let (output, sockets) = traced(&arguments, !by_flag);
        surprises.extend(surprise(&output, line, *code));
        if sockets.contains("AF_INET") {
            surprises.push(format!("{line:?} makes a socket: {sockets}"));
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.concat());
    world.server().assert_no_requests();
}

#[test]
fn f57_every_verb_works_in_a_namespace_without_interfaces() {
    let Some((standing, wheel)) = warmed() else { return };
    let world = &standing.world;
    let mut surprises = Vec::new();
    for (line, code) in LINES {
        let mut arguments = words(line, world, &wheel);
        arguments.insert(0, "--offline".to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let Some(output) = in_own_network(world, &arguments) else {
            return skip("every verb without interfaces", "no network namespace can be made here");
        };
        surprises.extend(surprise(&output, line, code));
    }
    assert!(surprises.is_empty(), "{}", surprises.concat());
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let lock = [
        "lock",
        "--channel",
        "cpu,cu118",
        "--python",
        &python.version,
        ACTIVE,
        "filelock",
    ];
    world.flambeau(&lock).ok();
    let lock = ["lock", "--channel", "cpu", ACTIVE, "filelock", "fsspec"];
    world.flambeau(&lock).ok();
    let error = world.flambeau_error(4, &["fetch", "--all", "--offline"]);
    let said = crate::support::world::hints(&error);
    // Over all lockfiles, each once, with digest and size.
    for name in ["typing_extensions-4.13.2", "filelock-3.18.0", "fsspec-2025.3.2"] {
        assert_eq!(said.matches(&format!("missing: {name}")).count(), 1, "{said}");
    }
    assert_eq!(said.matches("sha256 ").count(), 3, "{said}");
    assert!(said.contains("kB)") || said.contains(" B)"), "{said}");
    assert!(
        said.contains("`flambeau fetch`") && said.contains("`flambeau export`"),
        "{said}"
    );
}
