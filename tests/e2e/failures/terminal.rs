//! Names from outside on a terminal: nothing that they hold moves the cursor, hides what follows or forges a line.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use serde_json::Value;

use crate::steps::{Standing, active};
use crate::support::family::Shelf;
use crate::support::server::{Action, Fault};
use crate::support::wheel::Wheel;
use crate::support::world::{Output, World};
use crate::verify::inside;

/// Colours, a cursor, a C1 control, text that runs backwards, separators, and lines that look like ours.
const EVIL: &str = "x\u{1b}[31m\u{7}\u{9b}2J\u{202e}y\u{2066}\r\u{2028}\u{7f}\nerror: forged\n  hint: forged\nz";

/// The same without line breaks, for where those end a value.
const FLAT: &str = "x\u{1b}[31m\u{7}\u{9b}2J\u{202e}y\u{2066}\u{2028}\u{7f}z";

#[track_caller]
fn assert_clean(output: &Output, what: &str) {
    for text in [&output.stdout, &output.stderr] {
        let acts = |one: &char| {
            (one.is_control() && *one != '\n')
                || matches!(one, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
        };
        if let Some(one) = text.chars().find(acts) {
            panic!("{what}: {one:?} in {output}");
        }
        let forged = |line: &&str| {
            let line = line.trim_start();
            line.starts_with("error: forged") || line.starts_with("hint: forged")
        };
        assert_eq!(text.lines().find(forged), None, "{what}: {output}");
    }
    assert!(!output.stderr.contains("panicked"), "{what}: {output}");
}

/// Runs a verb as it is, with `--json` and with progress as events; documents keep the true values.
#[track_caller]
fn every_way(world: &World, arguments: &[&str]) -> Output {
    let what = format!("{arguments:?}");
    let (options, rest) = arguments.split_at(
        arguments
            .iter()
            .position(|word| *word == "--")
            .unwrap_or(arguments.len()),
    );
    let json = world.flambeau(&[options, &["--json"], rest].concat());
    assert_clean(&json, &what);
    if !json.stdout.is_empty() {
        serde_json::from_str::<Value>(&json.stdout).unwrap_or_else(|error| panic!("{what}: {error}: {json}"));
    }
    let events = world.flambeau(&[options, &["--progress", "json", "-v"], rest].concat());
    assert_clean(&events, &what);
    let output = world.flambeau(arguments);
    assert_clean(&output, &what);
    output
}

#[test]
fn words_of_the_command_line() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let long = format!("--{EVIL}");
    let below = format!("{EVIL}/x");
    for arguments in [
        &[EVIL][..],
        &[&long],
        &["build", &long],
        &["build", EVIL],
        &["build", "--backend", EVIL],
        &["build", "--channel", EVIL],
        &["build", "--python", EVIL],
        &["build", "--index-url", EVIL],
        &["build", "--expect", EVIL],
        &["build", "--link-mode", EVIL],
        &["build", "--from", EVIL],
        &["build", "--project", EVIL],
        &["build", "--store-dir", &below, "--cache-dir", &below, "--dry-run"],
        &["build", "--config", EVIL],
        &["build", "--progress", EVIL],
        &["lock", EVIL],
        &["lock", "--extra", EVIL],
        &["lock", "--exclude-newer", EVIL],
        &["lock", "--platform", EVIL],
        &["add", EVIL],
        &["remove", EVIL],
        &["hash", "--target", EVIL],
        &["activate", EVIL],
        &["rollback", "--to", EVIL],
        &["generations", "--delete", EVIL],
        &["diff", EVIL, "cpu"],
        &["why", EVIL],
        &["tree", "--of", EVIL],
        &["verify", EVIL],
        &["gc", "--older-than", EVIL, "--dry-run"],
        &["gc", "--max-size", EVIL, "--dry-run"],
        &["pin", EVIL],
        &["unpin", EVIL],
        &["import", EVIL],
        &["import", "--expect", EVIL, "x"],
        &["detect", "--replay", EVIL],
        &["detect", "--record", &below],
        &["run", "--", EVIL],
        &["run", "--overlay", EVIL, "--", "true"],
    ] {
        every_way(world, arguments);
    }
}

#[test]
fn colours_are_ours_alone() {
    let world = World::new();
    let mut output = world.flambeau(&["diff", EVIL, EVIL, "--color", "always"]);
    for label in ["error:", "  caused by:", "hint:"] {
        for colour in ["31", "33", "36"] {
            let coloured = format!("\u{1b}[1;{colour}m{label}\u{1b}[0m");
            output.stderr = output.stderr.replace(&coloured, label);
        }
    }
    assert!(output.stderr.starts_with("error: "), "{output}");
    assert_clean(&output, "diff");
}

#[test]
fn what_a_command_prints_passes_through_run() {
    let Some(standing) = Standing::new() else { return };
    let bytes: Vec<String> = EVIL.bytes().map(|byte| byte.to_string()).collect();
    let program = format!("import sys; sys.stdout.buffer.write(bytes([{}]))", bytes.join(","));
    let output = standing.world.flambeau(&["run", "--", "python", "-c", &program]).ok();
    assert_eq!(output.stdout, EVIL);
}

#[test]
fn values_of_variables() {
    let mut world = World::new();
    if world.any_python().is_none() {
        return;
    }
    for name in [
        "FLAMBEAU_BACKEND",
        "FLAMBEAU_CHANNEL",
        "FLAMBEAU_OFFLINE",
        "FLAMBEAU_MIN_FREE",
        "FLAMBEAU_PYTORCH_MIRROR",
        "FLAMBEAU_STORE_DIR",
        "FLAMBEAU_CACHE_DIR",
        "FLAMBEAU_STORE_DIRS",
        "Ingest_Upscaler__PreferredGpuBackend",
        "UV_PYTHON",
        "UV_DEFAULT_INDEX",
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_CERT",
        "PIP_PROXY",
        "PIP_CONFIG_FILE",
        "CUDA_VISIBLE_DEVICES",
        "SSL_CERT_FILE",
    ] {
        let before = world.variables().get(name).cloned();
        world.set(name, EVIL);
        for verb in [
            &["detect"][..],
            &["doctor"],
            &["lock", "--channel", "cpu", "filelock"],
            &["list"],
        ] {
            every_way(&world, verb);
        }
        match before {
            Some(before) => world.set(name, before),
            None => world.unset(name),
        }
    }
}

#[test]
fn values_of_the_projects_files() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let evil = serde_json::to_string(EVIL).expect("text").replace('\u{7f}', "\\u007F");
    for text in [
        format!("[project]\nname = {evil}\ndependencies = [{evil}]"),
        format!("[project]\nrequires-python = {evil}"),
        format!("[project.optional-dependencies]\n{evil} = [{evil}]"),
        format!("[tool.flambeau]\nbackend = {evil}"),
        format!("[tool.flambeau]\nchannel = {evil}"),
        format!("[tool.flambeau]\npython = {evil}"),
        format!("[tool.flambeau]\nindex-url = {evil}"),
        format!("[tool.flambeau]\nsync = {evil}"),
        format!("[tool.flambeau]\nkeep-wheels = {evil}"),
        format!("[tool.flambeau]\n{evil} = 1"),
        format!("[tool.flambeau]\nrequirements = [{evil}]"),
        format!("[tool.flambeau]\nconstraints = [{evil}]"),
        format!("[tool.flambeau]\npython-versions = [{evil}]"),
        format!("[tool.flambeau]\nmin-free = {evil}"),
        format!("[tool.flambeau]\nstore-dir = {evil}\ncache-dir = {evil}"),
        format!("[tool.flambeau]\nstore-dirs = [{evil}]\neditable = [{evil}]"),
        format!("[tool.flambeau.channels.{evil}]\nindex = {evil}"),
        format!("[tool.flambeau.channels.cpu]\nindex = {evil}"),
        format!(
            "[[tool.flambeau.index]]\nname = {evil}\nurl = \"http://127.0.0.1:1/\"\npackages = [{evil}, \"filelock\"]"
        ),
        format!("x = {FLAT}"),
        format!("[{evil}"),
    ] {
        world.write("pyproject.toml", &text);
        for verb in [
            &["status"][..],
            &["build", "--dry-run"],
            &["lock", "--extra", "a", "filelock"],
            &["add", "filelock"],
        ] {
            every_way(world, verb);
        }
    }
    fs::remove_file(world.project().join("pyproject.toml")).expect("it was written");
    for text in [
        format!("{{\"Upscaler\": {{\"PreferredGpuBackend\": {evil}}}}}"),
        format!("{{\"Upscaler\": {FLAT}}}"),
    ] {
        world.write("appsettings.json", text);
        every_way(world, &["detect"]);
    }
    fs::remove_file(world.project().join("appsettings.json")).expect("it was written");
    world.write(".python-version", FLAT);
    every_way(world, &["build"]);
    fs::remove_file(world.project().join(".python-version")).expect("it was written");
    for name in [format!("pylock.{FLAT}.toml"), "keys.json".to_owned()] {
        let path = format!("lockfiles/{name}");
        let text = if name == "keys.json" {
            format!("{{\"schema\": 1, \"keys\": {{{evil}: {{{evil}: {evil}}}}}}}")
        } else {
            world.read("lockfiles/pylock.cpu.toml")
        };
        world.write(&path, text);
        for verb in [&["hash", "--all"][..], &["hash", "--check"]] {
            every_way(world, verb);
        }
    }
}

#[test]
fn strings_of_a_lockfile_and_of_states() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let path = "lockfiles/pylock.cpu.toml";
    let good = world.read(path);
    let evil = serde_json::to_string(EVIL).expect("text").replace('\u{7f}', "\\u007F");
    let quoted: Vec<String> = good.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    for value in quoted {
        world.write(path, good.replacen(&format!("\"{value}\""), &evil, 1));
        for verb in [&["hash"][..], &["build", "--locked", "--offline"]] {
            every_way(world, verb);
        }
    }
    for (from, to) in [
        ("[[packages]]", format!("[[packages]]\n{evil} = 1")),
        ("lock-version", format!("# {FLAT}\nlock-version")),
        ("name = ", format!("marker = {evil}\nname = ")),
    ] {
        world.write(path, good.replacen(from, &to, 1));
        for verb in [
            &["hash"][..],
            &["tree"],
            &["why", "typing-extensions"],
            &["diff", "cpu", "cpu"],
            &["fetch", "--dry-run"],
            &["export", "--format", "pylock", "--output", "out.toml"],
        ] {
            every_way(world, verb);
        }
    }
    world.write(path, &good);
    let environment = active(world);
    let state = environment.join("environment_state.json");
    let text = fs::read_to_string(&state).expect("a state");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    for name in document.as_object().expect("an object").keys() {
        let mut changed = document.clone();
        changed[name] = match &changed[name] {
            Value::Array(_) => Value::from(vec![EVIL]),
            _ => Value::from(EVIL),
        };
        inside(&environment, || {
            fs::remove_file(&state).expect("there");
            fs::write(&state, changed.to_string()).expect("writable");
        });
        for verb in [
            &["status"][..],
            &["list"],
            &["tree"],
            &["verify", "--quick"],
            &["doctor", "--offline"],
            &["diff", "1", "cpu"],
        ] {
            every_way(world, verb);
        }
    }
}

#[test]
fn what_servers_and_wheels_say() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let evil = serde_json::to_string(EVIL).expect("text");
    let json = |file: &str| {
        format!(
            "{{\"meta\": {{\"api-version\": \"1.0\"}}, \"name\": {evil}, \"files\": [{{\"filename\": {file}, \"url\": {file}, \
             \"hashes\": {{\"sha256\": {evil}}}, \"requires-python\": {evil}, \"yanked\": {evil}}}]}}"
        )
    };
    let wheel = serde_json::to_string(&format!("filelock-9.0-py3-none-{FLAT}.whl")).expect("text");
    for body in [
        format!("<html><title>{EVIL}</title>"),
        format!("<!DOCTYPE html><a href=\"{EVIL}\">{EVIL}</a>"),
        json(&evil),
        json(&wheel),
        format!("{{\"meta\": {{\"api-version\": {evil}}}, \"files\": {evil}}}"),
        FLAT.to_owned(),
    ] {
        for page in ["/simple/filelock/", "/whl/cpu/torch/"] {
            world
                .server()
                .fault(Fault::on(page, Action::Body(body.clone().into_bytes())));
        }
        for wanted in ["filelock", "torch"] {
            every_way(world, &["lock", "--channel", "cpu", wanted]);
        }
        world.server().clear_faults();
    }
    let place = format!("http://127.0.0.1:1/{FLAT}");
    let place: &'static str = Box::leak(place.into_boxed_str());
    let headers: &'static [(&'static str, &'static str)] = Box::leak(Box::new([("Location", place)]));
    for action in [Action::Status(302, headers), Action::Status(503, &[])] {
        world.server().fault(Fault::on("/simple/filelock/", action));
        every_way(world, &["lock", "--channel", "cpu", "filelock"]);
        world.server().clear_faults();
    }
    for (name, wheel) in [
        (
            "evil-names",
            Wheel::new("evil-names", "1.0").file(&format!("evil/{FLAT}.py"), "x"),
        ),
        (
            "evil-record",
            Wheel::new("evil-record", "1.0").record_line(&format!("{FLAT},sha256={FLAT},1")),
        ),
        ("evil-needs", Wheel::new("evil-needs", "1.0").requires(FLAT)),
        ("evil-python", Wheel::new("evil-python", "1.0").requires_python(FLAT)),
        (
            "evil-version",
            Wheel::new("evil-version", "1.0").header(&format!("Name: {FLAT}")),
        ),
        (
            "evil-entry",
            Wheel::new("evil-entry", "1.0").entry_point("console_scripts", FLAT, FLAT),
        ),
        ("evil-yanked", Wheel::new("evil-yanked", "1.0").yanked(FLAT)),
    ] {
        world.server().offer(Shelf::Index, wheel);
        every_way(world, &["lock", "--channel", "cpu", name]);
        every_way(world, &["build", "--channel", "cpu", "--timings=page.html"]);
        every_way(world, &["tree"]);
    }
    let page = world.read("page.html");
    assert!(!page.chars().any(|one| one.is_control() && one != '\n'), "{page}");
}

#[test]
fn paths_of_projects_stores_and_recordings() {
    let mut world = World::new();
    let Some(python) = world.any_python() else { return };
    let project = world.path(std::ffi::OsStr::from_bytes(EVIL.replace('/', "").as_bytes()));
    fs::create_dir(&project).expect("a name like any other");
    let project = project.display().to_string();
    for folder in ["store", "cache"] {
        let variable = format!("FLAMBEAU_{}_DIR", folder.to_uppercase());
        world.set(&variable, format!("{project}/{folder}"));
    }
    for words in [
        &["init"][..],
        &[
            "lock",
            "--channel",
            "cpu",
            "--python",
            &python.version,
            "typing-extensions==4.13.2",
        ],
        &["build", "--channel", "cpu", "--no-activate"],
        &["build", "--channel", "cpu"],
        &["status"],
        &["list"],
        &["generations"],
        &["tree"],
        &["why", "typing-extensions"],
        &["diff", "cpu", "1"],
        &["hash", "--all"],
        &["pin", "kept"],
        &["pin"],
        &["gc", "--dry-run"],
        &["gc", "--print-roots"],
        &["verify", "--all"],
        &["doctor"],
        &["detect"],
        &["fetch", "--check"],
        &["export", "bundle.tar"],
        &["lock", "--check"],
        &["run", "--", "true"],
        &["build", "--rebuild"],
    ] {
        every_way(&world, &[&["--project", &project], words].concat());
    }
    let recording = serde_json::json!({
        "schema": 1, "os": "linux", "arch": "x86_64", "kernel": EVIL,
        "env": { "CUDA_VISIBLE_DEVICES": EVIL },
        "commands": [{ "program": "nvidia-smi", "args": [], "exit": 0, "stdout": EVIL, "stderr": EVIL }],
        "files": { "/proc/driver/nvidia/version": EVIL, "/proc/version": EVIL },
    });
    world.write("machine.json", recording.to_string());
    every_way(&world, &["detect", "--replay", "machine.json"]);
    world.fake_tool("nvidia-smi", EVIL, 0);
    every_way(&world, &["detect"]);
    every_way(&world, &["doctor", "--offline"]);
}
