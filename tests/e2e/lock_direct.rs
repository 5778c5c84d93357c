//! Wheels that requirements name by URL or path: what is locked, what is opened, and what is refused.

use std::fs;

use crate::steps::assert_error;
use crate::support::family::Shelf;
use crate::support::server::{Action, Fault};
use crate::support::wheel::{BuiltWheel, Wheel};
use crate::support::world::{Python, World, text, tree_snapshot};

const LOCKFILE: &str = "lockfiles/pylock.pip.toml";

/// A wheel that needs `MarkupSafe`, which the package index has.
fn demo(version: &str) -> BuiltWheel {
    Wheel::new("demo", version)
        .file("demo/__init__.py", format!("version = \"{version}\"\n"))
        .requires("MarkupSafe")
        .build()
}

/// A world with `dist/demo-1.0-py3-none-any.whl` in its project; none without a Python.
fn world() -> Option<(World, Python, BuiltWheel)> {
    let world = World::new();
    let python = world.any_python()?;
    let wheel = demo("1.0");
    world.write(format!("dist/{}", wheel.filename), &wheel.bytes);
    Some((world, python, wheel))
}

fn flags<'a>(python: &'a Python, more: &[&'a str]) -> Vec<&'a str> {
    let own = [
        "lock",
        "--channel",
        "pip",
        "--platform",
        "linux_x86_64",
        "--python",
        &python.version,
    ];
    [own.as_slice(), more].concat()
}

#[test]
fn a_local_wheel_is_pinned_by_path_and_built_from_the_cache() {
    let Some((world, python, wheel)) = world() else { return };
    world
        .flambeau(&flags(&python, &["./dist/demo-1.0-py3-none-any.whl"]))
        .ok();
    let locked = world.read(LOCKFILE);
    let row = format!(
        "path = \"../dist/{}\", size = {}, hashes = {{ sha256 = \"{}\" }}",
        wheel.filename,
        wheel.bytes.len(),
        wheel.sha256
    );
    for part in [
        row.as_str(),
        "\"demo @ ./dist/demo-1.0-py3-none-any.whl\"",
        "name = \"markupsafe\"",
    ] {
        assert!(locked.contains(part), "{part}\n{locked}");
    }
    assert!(world.server().requests_to("demo").is_empty(), "no index hears of it");
    // The same again, from another folder, is the same file.
    world.write("sub/x", "");
    let mut again = world.flambeau_command(&flags(
        &python,
        &["--project", "..", "../dist/demo-1.0-py3-none-any.whl"],
    ));
    again.current_dir(world.project().join("sub"));
    world.run(again).ok();
    assert_eq!(world.read(LOCKFILE), locked);
    world.flambeau(&["lock", "--channel", "pip"]).ok();
    assert_eq!(world.read(LOCKFILE), locked);

    // Its bytes are in the cache, so the file itself is not needed.
    fs::remove_file(world.project().join("dist").join(&wheel.filename)).expect("it is there");
    world.server().clear_log();
    world.flambeau(&["lock", "--channel", "pip", "--check"]).ok();
    world.server().assert_no_requests();
    world.build(&["--channel", "pip", "--locked"]);
    assert_eq!(world.python_says("import demo, markupsafe; print(demo.version)"), "1.0");
    assert!(world.server().requests_to("demo").is_empty());
}

#[test]
fn other_packages_get_exactly_the_wheel_that_is_named() {
    let Some((world, python, _)) = world() else { return };
    // The index has a newer one, which nobody may get.
    world.server().offer(Shelf::Index, Wheel::new("demo", "9.0"));
    world
        .server()
        .offer(Shelf::Index, Wheel::new("user", "1.0").requires("demo>=0.5"));
    world
        .server()
        .offer(Shelf::Index, Wheel::new("wants-more", "1.0").requires("demo>=2"));
    world
        .flambeau(&flags(&python, &["user", "./dist/demo-1.0-py3-none-any.whl"]))
        .ok();
    let locked = world.read(LOCKFILE);
    assert!(
        locked.contains("version = \"1.0\"") && !locked.contains("9.0"),
        "{locked}"
    );
    assert!(world.server().requests_to("/simple/demo").is_empty());
    let before = tree_snapshot(&world.project());
    assert_error(
        world.flambeau(&flags(&python, &["wants-more", "./dist/demo-1.0-py3-none-any.whl"])),
        1,
        &["wants-more 1.0", "demo >=2", "demo ==1.0"],
    );
    before.assert_same(&tree_snapshot(&world.project()));
}

#[test]
fn a_url_is_pinned_with_its_digest_and_size() {
    let Some((world, python, wheel)) = world() else { return };
    let path = format!("/files/{}", wheel.filename);
    world.server().serve_file(&path, wheel.bytes.clone());
    let url = format!("{}{path}", world.server().url());
    let stated = format!("demo @ {url}#sha256={}", wheel.sha256);
    let output = world.flambeau(&flags(&python, &[&stated])).ok();
    assert!(!output.stderr.contains("states no digest"), "{output}");
    let row = format!(
        "url = \"{url}\", size = {}, hashes = {{ sha256 = \"{}\" }}",
        wheel.bytes.len(),
        wheel.sha256
    );
    let locked = world.read(LOCKFILE);
    assert!(
        locked.contains(&row) && !locked.contains("hashed-by-download"),
        "{locked}"
    );
    assert!(
        locked.contains("path = \"../cache/wheels/"),
        "the URL is no reason to write others\n{locked}"
    );
    world.flambeau(&["lock", "--channel", "pip"]).ok();
    assert_eq!(world.read(LOCKFILE), locked);

    // Without a digest it is downloaded once, and the lockfile says so.
    let output = world.flambeau(&flags(&python, &[&format!("demo @ {url}")])).ok();
    assert!(
        output
            .stderr
            .contains("the URL of demo-1.0-py3-none-any.whl states no digest"),
        "{output}"
    );
    let hashed = world.read(LOCKFILE);
    assert!(
        hashed.contains(&row) && hashed.contains("hashed-by-download = [\n    \"demo-1.0-py3-none-any.whl\",\n]"),
        "{hashed}"
    );
    world.server().clear_log();
    world.flambeau(&["lock", "--channel", "pip"]).ok();
    assert_eq!(world.read(LOCKFILE), hashed);
    assert!(world.server().requests_to("/files/demo").is_empty());
    world.build(&["--channel", "pip", "--locked"]);
    assert_eq!(world.python_says("import demo; print(demo.version)"), "1.0");
    let requirements = world
        .flambeau(&["export", "--channel", "pip", "--format", "requirements"])
        .ok();
    assert!(
        requirements
            .stdout
            .contains(&format!("demo @ {url} \\\n    --hash=sha256:{}", wheel.sha256)),
        "{requirements}"
    );
}

#[test]
fn a_url_whose_bytes_are_others_is_refused() {
    let Some((world, python, wheel)) = world() else { return };
    let path = format!("/files/{}", wheel.filename);
    world.server().serve_file(&path, demo("1.0").bytes);
    let url = format!("{}{path}#sha256={}", world.server().url(), "0".repeat(64));
    let output = world.flambeau(&flags(&python, &[&format!("demo @ {url}")]));
    assert_error(output, 3, &["demo-1.0-py3-none-any.whl has the SHA-256", &wheel.sha256]);
    assert_error(
        world.flambeau(&flags(
            &python,
            &[&format!(
                "demo @ {}/gone/demo-1.0-py3-none-any.whl",
                world.server().url()
            )],
        )),
        4,
        &["cannot fetch demo-1.0-py3-none-any.whl", "404"],
    );
    assert!(!world.has("lockfiles"));
}

#[test]
fn what_a_wheel_says_of_itself_counts() {
    let Some((world, python, _)) = world() else { return };
    let write = |wheel: BuiltWheel| world.write(format!("dist/{}", wheel.filename), wheel.bytes);
    write(Wheel::new("future", "1.0").requires_python(">=3.99").build());
    write(Wheel::new("windows", "1.0").tag("py3-none-win_amd64").build());
    let liar = Wheel::new("liar", "1.0").build();
    world.write("dist/liar-2.0-py3-none-any.whl", liar.bytes);
    world.write("dist/broken-1.0-py3-none-any.whl", "no archive");
    let page = format!("<!doctype html>{}", "x".repeat(2000));
    world.write("dist/page-1.0-py3-none-any.whl", &page);
    let offered = world.server().offer(Shelf::Index, Wheel::new("portal", "1.0"));
    let place = format!("{}/packages/{}", world.server().url(), &offered.sha256[..16]);
    let portal = Fault::on("portal-1.0", Action::Body(page.into_bytes()));
    world.server().fault(portal);
    let portal = format!("portal @ {place}/portal-1.0-py3-none-any.whl");
    let rows: [(&str, i32, &[&str]); 7] = [
        (
            "./dist/page-1.0-py3-none-any.whl",
            3,
            &["cannot be used", "it is an HTML page, not a wheel"],
        ),
        (&portal, 4, &["127.0.0.1", "an HTML page, not a wheel", "hint: "]),
        (
            "./dist/future-1.0-py3-none-any.whl",
            1,
            &["future 1.0 requires Python >=3.99"],
        ),
        (
            "./dist/windows-1.0-py3-none-win_amd64.whl",
            1,
            &["has no wheel for this platform", "win_amd64"],
        ),
        (
            "./dist/liar-2.0-py3-none-any.whl",
            3,
            &["cannot be used", "found liar-1.0.dist-info"],
        ),
        (
            "./dist/broken-1.0-py3-none-any.whl",
            3,
            &["cannot be used", "broken-1.0-py3-none-any.whl"],
        ),
        ("other @ ./dist/demo-1.0-py3-none-any.whl", 1, &["asks for other"]),
    ];
    for (requirement, code, said) in rows {
        let output = world.flambeau(&flags(&python, &[requirement])).fails(code);
        for part in said {
            assert!(output.stderr.contains(part), "{requirement}: {part}\n{output}");
        }
    }
    assert!(!world.has("lockfiles"));
}

#[test]
fn paths_outside_the_project_need_permission() {
    let Some((world, python, wheel)) = world() else { return };
    let outside = world.path("outside");
    fs::create_dir(&outside).expect("new");
    let path = wheel.write_to(&outside).display().to_string();
    let lock = flags(&python, &["../outside/demo-1.0-py3-none-any.whl"]);
    assert_error(
        world.flambeau(&lock),
        1,
        &["is outside the project's folder", "--allow-path"],
    );
    assert_error(world.flambeau(&flags(&python, &[&path])), 1, &["--allow-path"]);
    // A link in the project leads out of it all the same.
    std::os::unix::fs::symlink(&outside, world.project().join("link")).expect("new");
    assert_error(
        world.flambeau(&flags(&python, &["./link/demo-1.0-py3-none-any.whl"])),
        1,
        &["--allow-path"],
    );
    world.flambeau(&[lock.as_slice(), &["--allow-path"]].concat()).ok();
    let locked = world.read(LOCKFILE);
    assert!(
        locked.contains("path = \"../../outside/demo-1.0-py3-none-any.whl\""),
        "{locked}"
    );

    // What the lockfile says is no permission either.
    fs::remove_dir_all(world.cache().join("wheels")).expect("it is there");
    assert_error(
        world.flambeau(&["build", "--channel", "pip", "--locked"]),
        1,
        &["is to be read from", "--allow-path"],
    );
    world.build(&["--channel", "pip", "--locked", "--allow-path"]);
    assert_eq!(world.python_says("import demo; print(demo.version)"), "1.0");
}

#[test]
fn sources_are_refused_with_the_command_that_makes_a_wheel() {
    let Some((world, python, _)) = world() else { return };
    for (requirement, command) in [
        ("./demo", "pip wheel --no-deps -w dist \"./demo\""),
        ("./demo-1.0.tar.gz", "pip wheel --no-deps -w dist \"./demo-1.0.tar.gz\""),
        (
            "demo @ git+https://example.org/demo@main",
            "\"git+https://example.org/demo@main\"",
        ),
        (
            "demo @ https://example.org/demo-1.0.tar.gz",
            "\"https://example.org/demo-1.0.tar.gz\"",
        ),
    ] {
        assert_error(
            world.flambeau(&flags(&python, &[requirement])),
            1,
            &["nothing is ever built from sources", command],
        );
    }
    let login = "demo @ https://me:secret@example.org/demo-1.0-py3-none-any.whl";
    world.flambeau(&["init", "--no-lock"]).ok();
    let before = tree_snapshot(&world.project());
    for command in [
        flags(&python, &[login]),
        vec!["add", "--no-lock", login],
        vec!["add", "--no-lock", &login[7..]],
    ] {
        let output = world.flambeau(&command).fails(1);
        assert!(
            output.stderr.contains("holds a login") && !output.text().contains("secret"),
            "{output}"
        );
    }
    before.assert_same(&tree_snapshot(&world.project()));
    world.server().assert_no_requests();
}

#[test]
fn a_torch_from_two_channels_is_refused() {
    let Some((world, python, _)) = world() else { return };
    let file = format!("torch-2.7.0%2Bcpu-{0}-{0}-manylinux_2_28_x86_64.whl", python.tag());
    let of_channel = format!("torch @ https://download.pytorch.org/whl/cpu/{file}");
    assert_error(
        world.flambeau(&flags(&python, &[&of_channel])),
        1,
        &["is of the channel cpu", "--channel cpu"],
    );
    let own = [
        "lock",
        "--channel",
        "cpu",
        "--platform",
        "linux_x86_64",
        "--python",
        &python.version,
        "torchvision",
    ];
    // The channel's own file is fetched from the mirror and pinned by its canonical URL.
    world.flambeau(&[own.as_slice(), &[&of_channel]].concat()).ok();
    let locked = world.read("lockfiles/pylock.cpu.toml");
    assert!(
        locked.contains("url = \"https://download.pytorch.org/whl/cpu/torch-2.7.0%2Bcpu-"),
        "{locked}"
    );
    let elsewhere = format!("torch @ https://example.org/{file}");
    assert_error(
        world.flambeau(&[own.as_slice(), &[&elsewhere]].concat()),
        1,
        &["torch comes from the channel cpu, whose index does not list that file"],
    );
    assert_eq!(world.read("lockfiles/pylock.cpu.toml"), locked);
}

#[test]
fn add_and_remove_keep_other_tools_out_of_it() {
    let Some((world, python, _)) = world() else { return };
    let before =
        "[project]\nname = \"app\"\nversion = \"1\"\ndependencies = [\n    \"MarkupSafe\",\n    \"demo>=0.5\",\n]\n";
    world.write("pyproject.toml", before);
    world.server().offer(Shelf::Index, Wheel::new("demo", "9.0"));
    world.flambeau(&flags(&python, &[])).ok();
    world.flambeau(&["add", "dist/demo-1.0-py3-none-any.whl"]).ok();
    assert_eq!(
        world.read("pyproject.toml"),
        "[project]\nname = \"app\"\nversion = \"1\"\ndependencies = [\n    \"MarkupSafe\",\n]\n\n[tool.flambeau]\nrequirements = [\n    \
         \"demo @ ./dist/demo-1.0-py3-none-any.whl\",\n]\n"
    );
    assert!(
        world
            .read(LOCKFILE)
            .contains("path = \"../dist/demo-1.0-py3-none-any.whl\"")
    );
    world.flambeau(&["lock", "--channel", "pip", "--check"]).ok();
    // The other way round, and out again.
    world.flambeau(&["add", "demo>=2"]).ok();
    assert!(world.read(LOCKFILE).contains("demo-9.0-py3-none-any.whl"));
    assert!(
        !world.read("pyproject.toml").contains("./dist"),
        "{}",
        world.read("pyproject.toml")
    );
    world.flambeau(&["add", "./dist/demo-1.0-py3-none-any.whl"]).ok();
    world.flambeau(&["remove", "demo"]).ok();
    assert!(
        !world.read("pyproject.toml").contains("demo"),
        "{}",
        world.read("pyproject.toml")
    );
    assert!(!world.read(LOCKFILE).contains("demo"));

    // A path in `dependencies` is understood all the same, bare or named.
    world.write(
        "pyproject.toml",
        "[project]\nname = \"app\"\nversion = \"1\"\ndependencies = [\"./dist/demo-1.0-py3-none-any.whl\"]\n",
    );
    let output = world.flambeau(&["lock", "--channel", "pip", "--check"]).fails(1);
    assert!(
        output
            .stderr
            .contains("`demo @ ./dist/demo-1.0-py3-none-any.whl` is required"),
        "{output}"
    );
    world.flambeau(&["lock", "--channel", "pip"]).ok();
    assert!(world.read(LOCKFILE).contains("../dist/demo-1.0-py3-none-any.whl"));
}

#[test]
fn a_rebuilt_wheel_is_another_wheel() {
    let Some((world, python, wheel)) = world() else { return };
    world
        .flambeau(&flags(&python, &["./dist/demo-1.0-py3-none-any.whl"]))
        .ok();
    let before = world.flambeau_json("hash", &["--channel", "pip"]);
    let rebuilt = Wheel::new("demo", "1.0")
        .file("demo/__init__.py", "version = \"rebuilt\"\n")
        .build();
    world.write(format!("dist/{}", wheel.filename), &rebuilt.bytes);
    // The lockfile pins bytes: it stays what it is until somebody locks.
    assert_eq!(world.flambeau_json("hash", &["--channel", "pip"])["key"], before["key"]);
    world.flambeau(&["lock", "--channel", "pip"]).ok();
    let after = world.flambeau_json("hash", &["--channel", "pip"]);
    assert_ne!(text(&after, "key"), text(&before, "key"));
    assert!(world.read(LOCKFILE).contains(&rebuilt.sha256));
    assert!(world.read("lockfiles/keys.json").contains(text(&after, "key")));
}

#[test]
fn an_export_leads_to_the_same_local_wheel() {
    let Some((world, python, wheel)) = world() else { return };
    world
        .flambeau(&flags(&python, &["./dist/demo-1.0-py3-none-any.whl"]))
        .ok();
    world.write("out/x", "");
    world
        .flambeau(&[
            "export",
            "--channel",
            "pip",
            "--format",
            "pylock",
            "-o",
            "out/deep.toml",
        ])
        .ok();
    assert!(
        world
            .read("out/deep.toml")
            .contains(&format!("path = \"../dist/{}\"", wheel.filename))
    );
    world
        .flambeau(&["export", "--channel", "pip", "--format", "pylock", "-o", "pylock.toml"])
        .ok();
    assert!(
        world
            .read("pylock.toml")
            .contains(&format!("path = \"./dist/{}\"", wheel.filename))
    );
    let requirements = world
        .flambeau(&["export", "--channel", "pip", "--format", "requirements"])
        .ok();
    assert!(
        requirements.stdout.contains(&format!("./dist/{} \\\n", wheel.filename)),
        "{requirements}"
    );
    let own = world.flambeau_json("hash", &["--channel", "pip"]);
    let exported = world.flambeau_json("hash", &["--from", "pylock.toml", "--channel", "pip"]);
    assert_eq!(exported["key"], own["key"]);
}
