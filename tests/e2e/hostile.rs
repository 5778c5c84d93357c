//! Hostile wheels: the whole corpus through the library and through the built program.
//!
//! A refusal names the file and the entry, exits with 3, and leaves nothing: no tree, no environment, no staging
//! folder, nothing beside the store. The wheel itself stays in the cache under its digest: its bytes are what the
//! lockfile asked for, and the next run refuses them again without fetching.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use flambeau::target::PythonMinor;
use flambeau::wheel::archive::Archive;
use flambeau::wheel::layout::Layout;
use flambeau::wheel::plan::{Rules, plan};

use crate::support::family::Shelf;
use crate::support::hostile::{self, Case, Verdict};
use crate::support::server::{Action, Fault};
use crate::support::wheel::{BuiltWheel, Wheel};
use crate::support::world::{World, tree_snapshot};

/// Everything below a folder, links not followed.
fn below(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a kind").is_dir() {
            found.extend(below(&entry.path()));
        }
        found.insert(entry.path());
    }
    found
}

/// Checks and unpacks below a folder, as the store does. Errors come with their causes.
fn unpack(wheel: &BuiltWheel, folder: &Path) -> Result<usize, String> {
    let filename = wheel.filename.parse().expect("a wheel name");
    let rules = Rules {
        reserved: |path| path == "bin" || flambeau::env::runtime::owns(path),
        ..Rules::new(Layout::new(PythonMinor::new(11)))
    };
    let told = |error: &dyn std::error::Error| {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    };
    let archive = Archive::open(wheel.bytes.as_slice()).map_err(|error| told(&error))?;
    let plan = plan(&archive, &filename, rules).map_err(|error| told(&error))?;
    let root = folder.join("root");
    fs::create_dir_all(&root).expect("a folder");
    let unpacked = plan.write(&root).map_err(|error| told(&error))?;
    let files = unpacked.finish(&root).map_err(|error| told(&error))?;
    Ok(files.len())
}

/// A file system that takes two names for one answers as if the file were there already, and so does this one.
#[test]
fn names_that_the_file_system_takes_for_one_are_refused() {
    let wheel = Wheel::new("demo", "1.0").file("demo/Module.py", "x = 1\n").build();
    let scratch = tempfile::tempdir().expect("a scratch folder");
    fs::create_dir_all(scratch.path().join("root/lib")).expect("folders");
    let error = unpack(&wheel, scratch.path()).expect_err("there is something already");
    assert!(error.contains("two members want the place `lib`"), "{error}");
}

#[test]
fn every_case_has_its_verdict() {
    let cases = hostile::all();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "one name a case");
    let mut wrong = Vec::new();
    for case in &cases {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let result = unpack(&case.wheel, scratch.path());
        let beside = fs::read_dir(scratch.path()).expect("a folder").count();
        assert!(beside <= 1, "{}: files beside the folder", case.name);
        match (&case.verdict, result) {
            (Verdict::Accepted, Ok(files)) => assert!(files > 3, "{}", case.name),
            (Verdict::Accepted, Err(error)) => wrong.push(format!("{} is refused: {error}", case.name)),
            (Verdict::Refused(_), Ok(_)) => wrong.push(format!("{} is accepted", case.name)),
            (Verdict::Refused(told), Err(error)) => {
                let missing = told.iter().find(|part| !error.contains(part.as_str()));
                wrong.extend(missing.map(|part| format!("{} does not tell `{part}`: {error}", case.name)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A lockfile with one wheel beside it.
fn pylock(wheel: &BuiltWheel) -> String {
    format!(
        "lock-version = \"1.0\"\ncreated-by = \"tests\"\n\n[[packages]]\nname = \"{}\"\nversion = \"{}\"\nwheels = [{{ \
         path = \"{}\", size = {}, hashes = {{ sha256 = \"{}\" }} }}]\n",
        wheel.project(),
        wheel.version,
        wheel.filename,
        wheel.bytes.len(),
        wheel.sha256
    )
}

/// Builds a case in a world of its own; `None` where it went as it must.
fn built(world: &World, case: &Case) -> Option<String> {
    let folder = case.name.replace('/', "-");
    world.write(format!("{folder}/pylock.toml"), pylock(&case.wheel));
    world.write(format!("{folder}/{}", case.wheel.filename), &case.wheel.bytes);
    let visible = || {
        let shelves = ["wheels", "envs", "tmp"].map(|name| below(&world.store().join(name)));
        shelves.into_iter().flatten().collect::<BTreeSet<_>>()
    };
    let outside = || {
        let store_and_cache = [world.store(), world.cache()];
        let mut all = below(&world.path("."));
        all.retain(|path| !store_and_cache.iter().any(|own| path.starts_with(own)));
        all
    };
    let (before, around) = (visible(), outside());
    let from = format!("{folder}/pylock.toml");
    let output = world.flambeau(&["build", "--from", &from, "--no-activate", "--offline"]);
    let code = output.status.code();
    let text = format!("{}{}", output.stdout, output.stderr);
    match &case.verdict {
        Verdict::Accepted if code == Some(0) => None,
        Verdict::Accepted => Some(format!("{} is refused: {text}", case.name)),
        Verdict::Refused(told) => {
            let leftover: Vec<_> = visible().difference(&before).cloned().collect();
            let escaped: Vec<_> = outside().difference(&around).cloned().collect();
            let told = told.iter().all(|part| text.contains(part.as_str()));
            let good = code == Some(3) && told && text.contains(&case.wheel.filename);
            (!good || !leftover.is_empty() || !escaped.is_empty()).then(|| {
                format!(
                    "{}: exit {code:?}, left {leftover:?}, outside {escaped:?}\n{text}",
                    case.name
                )
            })
        }
    }
}

/// The families are independent, so each may have a process of its own.
fn family_is_judged(families: &[&str]) {
    let world = World::new();
    let Some(_) = world.any_python() else { return };
    let wrong: Vec<String> = hostile::all()
        .iter()
        .filter(|case| {
            families
                .iter()
                .any(|family| case.name.starts_with(&format!("{family}/")))
        })
        .filter_map(|case| built(&world, case))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for escaped in ["/tmp/flambeau-evil.py", "/tmp/flambeau-evil"] {
        assert!(!Path::new(escaped).exists(), "{escaped}");
    }
}

#[test]
fn f50_wheels_with_hostile_names_are_refused() {
    family_is_judged(&["names", "kinds"]);
}

#[test]
fn f50_wheels_in_hostile_containers_are_refused() {
    family_is_judged(&["directory", "container", "bombs"]);
}

#[test]
fn f50_wheels_with_lying_headers_are_refused() {
    family_is_judged(&["headers"]);
}

#[test]
fn f50_wheels_with_hostile_metadata_are_refused() {
    family_is_judged(&["metadata", "record", "entry_points"]);
}

#[test]
fn f50_wheels_with_hostile_places_are_refused_and_odd_ones_built() {
    family_is_judged(&["places", "good"]);
}

#[test]
fn unrecorded_files_are_reported_where_they_are_allowed() {
    let world = World::new();
    let Some(_) = world.any_python() else { return };
    let wheel = Wheel::new("demo", "1.0")
        .file("demo/__init__.py", "x = 1\n")
        .raw_member("demo/extra.py", "y = 2\n")
        .build();
    world.write("pylock.toml", pylock(&wheel));
    wheel.write_to(&world.project());
    let from = ["build", "--from", "pylock.toml", "--no-activate", "--offline"];
    let strict = world.flambeau(&from).fails(3);
    assert!(strict.stderr.contains("demo/extra.py"), "{strict}");
    assert!(strict.stderr.contains("--allow-unrecorded"), "{strict}");
    let built = world.flambeau(&[&from[..], &["--allow-unrecorded"]].concat()).ok();
    assert!(built.stderr.contains("does not vouch for `demo/extra.py`"), "{built}");
    // The tree is there now, and still not good enough for a build that does not allow it.
    let folders: Vec<_> = fs::read_dir(world.store().join("envs")).expect("envs").collect();
    for folder in folders {
        world.delete(&folder.expect("an environment").path());
    }
    let again = world.flambeau(&from).fails(3);
    assert!(again.stderr.contains("demo/extra.py"), "{again}");
    world.flambeau(&[&from[..], &["--allow-unrecorded"]].concat()).ok();
}

#[test]
fn a_refused_wheel_stays_in_the_cache_and_is_refused_again() {
    let world = World::new();
    let Some(_) = world.any_python() else { return };
    let wheel = Wheel::new("demo", "1.0").file("../evil.py", "x = 1\n").build();
    world
        .server()
        .serve_file(&format!("/files/{}", wheel.filename), wheel.bytes.clone());
    let url = format!("url = \"{}/files/{}\"", world.server().url(), wheel.filename);
    let text = pylock(&wheel).replace(&format!("path = \"{}\"", wheel.filename), &url);
    world.write("pylock.toml", text);
    let from = ["build", "--from", "pylock.toml", "--no-activate"];
    let first = world.flambeau(&from).fails(3);
    assert!(first.stderr.contains("../evil.py"), "{first}");
    let cached = world.cache().join("wheels").join(&wheel.sha256).join(&wheel.filename);
    assert!(cached.is_file());
    world.flambeau(&[&from[..], &["--offline"]].concat()).fails(3);
}

/// What `lock` makes of a case; `None` where it went as it must.
fn locked(world: &World, lock: &[&str], case: &Case) -> Option<String> {
    let path = format!("dist/{}", case.wheel.filename);
    world.write(&path, &case.wheel.bytes);
    let state = || {
        (
            tree_snapshot(&world.project()),
            tree_snapshot(&world.cache().join("wheels")),
        )
    };
    let before = state();
    let output = world.flambeau(&[lock, &[&format!("./{path}")]].concat());
    let code = output.status.code();
    match &case.verdict {
        Verdict::Accepted => {
            let wrote = world.has("lockfiles/pylock.pip.toml");
            world.delete(&world.project().join("lockfiles"));
            (code != Some(0) || !wrote).then(|| format!("{} is refused: {output}", case.name))
        }
        Verdict::Refused(told) => {
            let text = &output.stderr;
            let untold = told.iter().find(|part| !text.contains(part.as_str()));
            let good = code == Some(3) && untold.is_none() && before == state();
            (!good).then(|| format!("{}: exit {code:?}, {untold:?} is not told\n{output}", case.name))
        }
    }
}

#[test]
fn f50_lock_refuses_what_build_would() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let lock = [
        "lock",
        "--channel",
        "pip",
        "--platform",
        "linux_x86_64",
        "--python",
        &python.version,
    ];
    let wrong: Vec<String> = hostile::all()
        .iter()
        .filter_map(|case| locked(&world, &lock, case))
        .collect();
    assert!(wrong.is_empty(), "{} of the cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(below(&world.store()).is_empty(), "{:?}", below(&world.store()));
}

/// Writes the corpus for `tests/compare/hostile.py`.
#[test]
#[ignore = "a tool: FLAMBEAU_CORPUS=<folder> cargo nextest run --run-ignored only write_the_corpus"]
fn write_the_corpus() {
    let folder = PathBuf::from(std::env::var_os("FLAMBEAU_CORPUS").expect("FLAMBEAU_CORPUS names a folder"));
    let mut verdicts = serde_json::Map::new();
    for case in hostile::all() {
        let place = folder.join(&case.name);
        fs::create_dir_all(&place).expect("a folder");
        case.wheel.write_to(&place);
        let verdict = match case.verdict {
            Verdict::Accepted => serde_json::json!({"file": case.wheel.filename, "accepted": true}),
            Verdict::Refused(told) => {
                serde_json::json!({"file": case.wheel.filename, "accepted": false, "told": told})
            }
        };
        verdicts.insert(case.name, verdict);
    }
    let text = serde_json::to_string_pretty(&verdicts).expect("JSON");
    fs::write(folder.join("verdicts.json"), text).expect("written");
}

/// Unpacks real wheels, none of which may be refused.
#[test]
#[ignore = "a tool: FLAMBEAU_WHEELS=<folder> cargo nextest run --run-ignored only real_wheels_are_accepted"]
fn real_wheels_are_accepted() {
    let folder = PathBuf::from(std::env::var_os("FLAMBEAU_WHEELS").expect("FLAMBEAU_WHEELS names a folder"));
    let wheels: Vec<_> = below(&folder)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "whl"))
        .collect();
    let mut wrong = Vec::new();
    for path in &wheels {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let bytes = fs::read(path).expect("readable");
        let wheel = BuiltWheel {
            filename: name.to_owned(),
            bytes,
            ..Wheel::new("real", "1").build()
        };
        if let Err(error) = unpack(&wheel, scratch.path()) {
            wrong.push(format!("{name}: {error}"));
        }
    }
    assert!(
        wrong.is_empty() && !wheels.is_empty(),
        "{} of {} are refused:\n{}",
        wrong.len(),
        wheels.len(),
        wrong.join("\n")
    );
}

/// One wheel for each part that can be wrong, from every place that a lock takes wheels from, by every verb that locks.
#[test]
fn f50_a_wheel_refused_for_its_content_is_3_wherever_it_comes_from() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let target = [
        "--channel",
        "pip",
        "--platform",
        "linux_x86_64",
        "--python",
        &python.version,
    ];
    let demo = || Wheel::new("demo", "1.0").file("demo/__init__.py", "x = 1\n");
    let broken = BuiltWheel {
        bytes: b"not an archive".to_vec(),
        sha256: crate::support::encoding::sha256(b"not an archive"),
        ..demo().build()
    };
    let rows = [
        ("archive", broken),
        ("METADATA", demo().requires("a ==== 1").build()),
        ("RECORD", demo().raw_member("demo/evil.py", "y = 2\n").build()),
        (
            "entry points",
            demo()
                .text("entry_points.txt", "[console_scripts]\na/b = demo:x\n")
                .build(),
        ),
    ];
    for (what, wheel) in rows {
        let path = format!("/files/{what}/{}", wheel.filename).replace(' ', "-");
        world.server().serve_file(&path, wheel.bytes.clone());
        world.write(format!("dist/{}", wheel.filename), &wheel.bytes);
        let url = format!("{}{path}", world.server().url());
        let requirements = [
            format!("./dist/{}", wheel.filename),
            format!("demo @ {url}"),
            format!("demo @ {url}#sha256={}", wheel.sha256),
        ];
        for requirement in &requirements {
            // The second time its bytes may be in the cache.
            for _ in 0..2 {
                let output = world.flambeau(&[&["lock"], &target[..], &[requirement]].concat());
                assert_eq!(output.status.code(), Some(3), "{what}: {requirement}\n{output}");
                assert!(output.stderr.contains(&wheel.filename), "{output}");
            }
            world.flambeau(&["init", "--no-lock"]).ok();
            world.flambeau(&["add", requirement]).fails(3);
            world.flambeau(&["add", "--no-lock", requirement]).ok();
            for verb in [&["build", "--channel", "pip"][..], &["run", "--channel", "pip", "true"]] {
                let output = world.flambeau(verb);
                assert_eq!(output.status.code(), Some(3), "{what}: {verb:?}\n{output}");
            }
            fs::remove_file(world.project().join("pyproject.toml")).expect("it is there");
        }
        assert!(!world.has("lockfiles") && !world.has(".venv"), "{what}");
    }
}

#[test]
fn f50_wheels_of_an_index_are_3_too() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let target = [
        "--channel",
        "pip",
        "--platform",
        "linux_x86_64",
        "--python",
        &python.version,
    ];
    let offer = |wheel: Wheel| drop(world.server().offer(Shelf::Index, wheel));
    offer(Wheel::new("unrecorded", "1.0").raw_member("x/evil.py", "y = 2\n"));
    offer(Wheel::new("garbled", "1.0").requires("a ==== 1"));
    // No digest: the whole wheel is downloaded to hash it, so the whole wheel is checked.
    world.server().configure(|options| options.digests = false);
    for (name, told) in [("unrecorded", "`x/evil.py` is not in RECORD"), ("garbled", "a ==== 1")] {
        let output = world.flambeau(&[&["lock"], &target[..], &[name]].concat()).fails(3);
        assert!(output.stderr.contains(told), "{output}");
    }
    // No archive at all, where neither METADATA nor ranges are served.
    world.server().configure(|options| {
        options.index_core_metadata = false;
        options.json = false;
    });
    let page = "/garbled-1.0-py3-none-any.whl";
    world
        .server()
        .fault(Fault::on(page, Action::Body(b"not an archive".to_vec())));
    let output = world
        .flambeau(&[&["lock"], &target[..], &["garbled"]].concat())
        .fails(3);
    assert!(output.stderr.contains("not a valid wheel archive"), "{output}");
    assert!(!world.has("lockfiles"));
}

/// What is refused may depend on the Python: a member of `.data/data` can lie in site-packages of one of them.
#[test]
fn a_wheel_is_locked_for_the_pythons_that_can_install_it() {
    let world = World::new();
    let wheel = Wheel::new("demo", "1.0")
        .file("demo/__init__.py", "x = 1\n")
        .data("data", "lib/python3.11/site-packages/demo/__init__.py", "x = 2\n")
        .build();
    world.write(format!("dist/{}", wheel.filename), &wheel.bytes);
    let lock = |python: &str| {
        let target = [
            "lock",
            "--channel",
            "pip",
            "--platform",
            "linux_x86_64",
            "--python",
            python,
        ];
        world.flambeau(&[&target[..], &["./dist/demo-1.0-py3-none-any.whl"]].concat())
    };
    for pythons in ["3.11", "3.12,3.11"] {
        let output = lock(pythons).fails(3);
        assert!(output.stderr.contains("two members want the place"), "{output}");
    }
    lock("3.12").ok();
}

#[test]
fn lock_lets_unrecorded_files_in_where_it_is_told_to() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let wheel = Wheel::new("demo", "1.0").raw_member("demo/extra.py", "y = 2\n").build();
    world.write(format!("dist/{}", wheel.filename), &wheel.bytes);
    let path = format!("./dist/{}", wheel.filename);
    let lock = [
        "lock",
        "--channel",
        "pip",
        "--platform",
        "linux_x86_64",
        "--python",
        &python.version,
        &path,
    ];
    let strict = world.flambeau(&lock).fails(3);
    assert!(strict.stderr.contains("--allow-unrecorded"), "{strict}");
    let allowed = world.flambeau(&[&lock[..], &["--allow-unrecorded"]].concat()).ok();
    assert!(
        allowed.stderr.contains("does not vouch for `demo/extra.py`"),
        "{allowed}"
    );
    world.flambeau(&["build", "--channel", "pip", "--locked"]).fails(3);
    world
        .flambeau(&["build", "--channel", "pip", "--locked", "--allow-unrecorded"])
        .ok();
}
