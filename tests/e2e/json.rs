//! `--json`: exactly one document on stdout with `"schema": 1`, from every verb, on failure too.

use serde_json::Value;

use crate::support::world::World;

/// What `build`, `activate` and `status` promise.
const ENVIRONMENT: [&str; 12] = [
    "key",
    "path",
    "backend",
    "channel",
    "target",
    "python",
    "reused",
    "activated",
    "generation",
    "packages",
    "downloaded_bytes",
    "elapsed_ms",
];

fn has(document: &Value, members: &[&str]) {
    for member in members {
        assert!(document.get(member).is_some(), "no `{member}` in {document:#}");
    }
}

#[test]
fn every_verb_prints_one_document_with_the_promised_members() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let locked = world.flambeau_json("lock", &["--backend", "cpu,cuda"]);
    has(&locked, &["lockfiles", "warnings"]);
    let fetched = world.flambeau_json("fetch", &["--backend", "cpu"]);
    assert!(fetched["downloaded_bytes"].as_u64() > Some(0), "{fetched:#}");
    let built = world.build(&["--backend", "cpu"]);
    has(&built, &ENVIRONMENT);
    assert!(built["packages"].is_u64() && built["generation"].is_u64() && built["elapsed_ms"].is_u64());
    has(&world.build(&["--backend", "cpu", "--no-activate"]), &ENVIRONMENT);
    has(&world.flambeau_json("activate", &["cpu"]), &ENVIRONMENT);
    has(&world.flambeau_json("status", &[]), &ENVIRONMENT);
    let detected = world.flambeau_json("detect", &[]);
    has(
        &detected,
        &[
            "backend",
            "channel",
            "reason",
            "message",
            "accelerators",
            "probes",
            "warnings",
            "env",
        ],
    );
    let listed = world.flambeau_json("list", &[]);
    has(
        &listed["environments"][0],
        &["key", "path", "backend", "channel", "size_bytes", "active", "roots"],
    );
    let hashed = world.flambeau_json("hash", &["--all"]);
    let target = built["target"].as_str().expect("a target");
    assert_eq!(hashed["keys"]["cpu"][target], built["key"]);
    // Wherever the flag stands, and whatever else is said meanwhile.
    for arguments in [
        &["--json", "build"][..],
        &["build", "--json", "-v"],
        &["build", "--json", "--quiet"],
        &["build", "--json", "--progress", "json"],
    ] {
        assert_eq!(world.flambeau(arguments).ok().json()["schema"], 1, "{arguments:?}");
    }
    let text = world.flambeau(&["build"]).ok();
    assert!(serde_json::from_str::<Value>(&text.stdout).is_err(), "{text}");
}

#[test]
fn failures_of_every_kind_are_one_document_and_the_right_exit_code() {
    let mut world = World::new();
    let kind = |world: &World, code: i32, arguments: &[&str]| {
        let error = world.flambeau_error(code, arguments);
        error["kind"].as_str().expect("a kind").to_owned()
    };
    assert_eq!(kind(&world, 1, &["status"]), "user");
    assert_eq!(kind(&world, 1, &["activate", "cuda"]), "user");
    assert_eq!(kind(&world, 1, &["hash", "--all"]), "user");
    assert_eq!(kind(&world, 1, &["detect", "--replay", "/nonexistent"]), "user");
    assert_eq!(kind(&world, 2, &["build", "--nonsense"]), "usage");
    assert_eq!(kind(&world, 2, &["nonsense"]), "usage");
    assert_eq!(kind(&world, 2, &["build", "--channel", "../x"]), "usage");
    assert_eq!(kind(&world, 1, &["lock", "no such requirement"]), "user");
    assert_eq!(
        kind(&world, 1, &["lock", "--backend", "cpu", "no-such-project"]),
        "user"
    );
    if world.any_python().is_some() {
        assert_eq!(kind(&world, 4, &["build", "--backend", "cpu", "--offline"]), "network");
        let wrong = "0".repeat(64);
        assert_eq!(
            kind(&world, 3, &["build", "--backend", "cpu", "--expect", &wrong]),
            "integrity"
        );
    }
    world.set("FLAMBEAU_OFFLINE", "maybe");
    assert_eq!(kind(&world, 1, &["status"]), "user");
    world.unset("FLAMBEAU_OFFLINE");
    world.write("pyproject.toml", "[tool.flambeau\n");
    assert_eq!(kind(&world, 1, &["build"]), "user");
    // For people the same goes to stderr, and stdout stays empty.
    let output = world.flambeau(&["build"]).fails(1);
    assert_eq!(output.stdout, "");
    assert!(output.stderr.starts_with("error: "), "{output}");
}

#[test]
fn progress_as_json_is_one_event_a_line_on_stderr() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let output = world
        .flambeau(&["build", "--backend", "cpu", "--progress", "json", "--json"])
        .ok();
    assert_eq!(output.json()["backend"], "CPU");
    let events: Vec<Value> = output
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    assert!(events.len() > 12 && events.iter().all(Value::is_object), "{output}");
}
