//! `build`, `hash` and `fetch --from FILE`: files of other tools.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use serde_json::Value;

use crate::support::family::{Shelf, wheel};
use crate::support::wheel::BuiltWheel;
use crate::support::world::{World, hints, text};

fn jinja2() -> Arc<BuiltWheel> {
    wheel(Shelf::Index, "jinja2", "3.1.6")
}

/// `{ url = …, hashes = … }` of a wheel at `place`.
fn row(place: &str, wheel: &BuiltWheel) -> String {
    format!(
        "{{ {place}, size = {}, hashes = {{ sha256 = \"{}\" }} }}",
        wheel.bytes.len(),
        wheel.sha256
    )
}

/// A lockfile with one wheel a package, as uv writes it.
fn pylock(packages: &[(&str, &str, String)]) -> String {
    let mut text = "lock-version = \"1.0\"\ncreated-by = \"uv\"\nrequires-python = \">=3.9\"\n".to_owned();
    for (name, version, row) in packages {
        write!(
            text,
            "\n[[packages]]\nname = \"{name}\"\nversion = \"{version}\"\nwheels = [{row}]\n"
        )
        .expect("a string grows");
    }
    text
}

/// `markupsafe` of the world's Python, from the package index.
fn markupsafe(tag: &str) -> Arc<BuiltWheel> {
    wheel(Shelf::Index, "markupsafe", &format!("3.0.2-{tag}-{tag}-manylinux"))
}

fn installed(world: &World) -> Vec<String> {
    let state = world.state();
    let packages = state["InstalledPackages"].as_array().expect("packages").iter();
    packages.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn version_of(wheel: &BuiltWheel) -> &str {
    wheel.filename.split('-').nth(1).expect("a version")
}

#[test]
fn a_lockfile_of_another_tool_builds_from_its_urls() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let (jinja2, markupsafe) = (jinja2(), markupsafe(&python.tag()));
    // Not where an index has them: only the URL leads there.
    for wheel in [&jinja2, &markupsafe] {
        world
            .server()
            .serve_file(&format!("/files/{}", wheel.filename), wheel.bytes.clone());
    }
    let url = |wheel: &BuiltWheel| format!("url = \"{}/files/{}\"", world.server().url(), wheel.filename);
    let elsewhere =
        "{ url = \"https://example.org/colorama-0.4.6-py2.py3-none-any.whl\", hashes = { sha256 = \"00\" } }";
    let mut file = pylock(&[
        ("jinja2", "3.1.6", row(&url(&jinja2), &jinja2)),
        (
            "markupsafe",
            version_of(&markupsafe),
            row(&url(&markupsafe), &markupsafe),
        ),
        ("colorama", "0.4.6", elsewhere.to_owned()),
    ]);
    file = file.replace(
        "version = \"0.4.6\"",
        "version = \"0.4.6\"\nmarker = \"sys_platform == 'win32'\"",
    );
    world.write("sub/pylock.other.toml", file);
    let built = world.build(&["--from", "sub/pylock.other.toml"]);
    assert_eq!(text(&built, "channel"), "pip");
    assert_eq!(text(&built, "backend"), "CPU");
    assert_eq!(
        text(&built, "target"),
        format!("{}-manylinux_2_28_x86_64", python.tag())
    );
    assert!(text(&built, "path").contains("-env-pip-"), "{built:#}");
    assert_eq!(
        installed(&world),
        [
            "jinja2==3.1.6".to_owned(),
            format!("markupsafe=={}", version_of(&markupsafe))
        ]
    );
    assert_eq!(
        world.python_says("import jinja2, markupsafe; print(jinja2.__version__)"),
        "3.1.6"
    );
    assert!(!world.has("lockfiles"), "nothing is written");
    assert!(world.server().requests_to("/simple/").is_empty(), "no index is asked");

    // The same again is a key hit, and hash and fetch agree without a network.
    world.server().clear_log();
    let again = world.build(&["--from", "sub/pylock.other.toml", "--offline"]);
    assert_eq!((&again["key"], &again["reused"]), (&built["key"], &Value::Bool(true)));
    assert_eq!(
        world.flambeau_json("hash", &["--from", "sub/pylock.other.toml"])["key"],
        built["key"]
    );
    assert_eq!(
        world.flambeau_json("fetch", &["--from", "sub/pylock.other.toml"])["downloaded"],
        0
    );
    world.server().assert_no_requests();
}

#[test]
fn a_wheel_that_is_not_what_the_file_pins_is_refused() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let jinja2 = jinja2();
    world
        .server()
        .serve_file(&format!("/files/{}", jinja2.filename), jinja2.bytes.clone());
    let url = format!("url = \"{}/files/{}\"", world.server().url(), jinja2.filename);
    let file = pylock(&[("jinja2", "3.1.6", row(&url, &jinja2))]).replace(&jinja2.sha256[..8], "00000000");
    world.write("pylock.toml", file);
    let error = world.flambeau_error(3, &["build", "--from", "pylock.toml"]);
    assert!(error["causes"].to_string().contains(&jinja2.sha256), "{error:#}");
    assert!(!world.has(".venv"));
}

#[test]
fn a_url_that_leads_nowhere_is_replaced_by_the_index() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let jinja2 = jinja2();
    let url = format!("url = \"{}/gone/{}\"", world.server().url(), jinja2.filename);
    world.write("pylock.toml", pylock(&[("jinja2", "3.1.6", row(&url, &jinja2))]));
    world.build(&["--from", "pylock.toml"]);
    assert_eq!(installed(&world), ["jinja2==3.1.6"]);
}

#[test]
fn local_wheels_are_taken_from_the_folder_of_the_file() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let jinja2 = jinja2();
    world.write(format!("sub/wheels/{}", jinja2.filename), &jinja2.bytes);
    world.write(format!("other/{}", jinja2.filename), &jinja2.bytes);
    let place = |folder: &str| format!("path = \"{folder}/{}\"", jinja2.filename);
    world.write(
        "sub/pylock.toml",
        pylock(&[("jinja2", "3.1.6", row(&place("wheels"), &jinja2))]),
    );
    world.write(
        "sub/pylock.out.toml",
        pylock(&[("jinja2", "3.1.6", row(&place("../other"), &jinja2))]),
    );
    let error = world.flambeau_error(1, &["build", "--from", "sub/pylock.out.toml"]);
    assert!(hints(&error).contains("--allow-path"), "{error:#}");
    let built = world.build(&["--from", "sub/pylock.toml", "--offline"]);
    let cached = world.cache().join("wheels").join(&jinja2.sha256).join(&jinja2.filename);
    assert_eq!(fs::read(&cached).expect("copied into the cache"), jinja2.bytes);
    fs::remove_file(&cached).expect("it is there");
    world.delete(&world.store());
    fs::create_dir(world.store()).expect("deleted");
    let other = world.build(&["--from", "sub/pylock.out.toml", "--allow-path", "--offline"]);
    assert_eq!(other["key"], built["key"]);
    assert!(cached.is_file());
    world.server().assert_no_requests();

    // Wrong bytes under the right name never get in.
    fs::remove_file(&cached).expect("it is there");
    world.delete(&world.store());
    fs::create_dir(world.store()).expect("deleted");
    world.write(format!("sub/wheels/{}", jinja2.filename), b"not a wheel");
    world
        .flambeau(&["build", "--from", "sub/pylock.toml", "--offline"])
        .fails(3);
    assert!(!cached.exists());
}

#[test]
fn requirements_are_found_on_the_index_by_digest() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let (jinja2, markupsafe) = (jinja2(), markupsafe(&python.tag()));
    let file = format!(
        "--index-url https://example.org/simple\njinja2==3.1.6 \\\n    --hash=sha256:{} \\\n    --hash=sha256:{}\n    # via x\n\
         markupsafe=={} ; python_version >= '3.9' --hash=sha256:{}\ncolorama==0.4.6 ; sys_platform == 'win32' \
         --hash=sha256:{}\n",
        jinja2.sha256,
        "0".repeat(64),
        version_of(&markupsafe),
        markupsafe.sha256,
        "1".repeat(64),
    );
    world.write("requirements.txt", &file);
    let built = world.build(&["--from", "requirements.txt"]);
    assert!(built["warnings"].to_string().contains("--index-url"), "{built:#}");
    assert_eq!(installed(&world).len(), 2);
    // Without the index the cache knows the names.
    world.server().clear_log();
    fs::remove_dir_all(world.cache().join("pages")).expect("pages were stored");
    let again = world.build(&["--from", "requirements.txt", "--offline"]);
    assert_eq!(again["key"], built["key"]);
    world.server().assert_no_requests();

    world.write("requirements.txt", file.replace(&jinja2.sha256, &"2".repeat(64)));
    let error = world.flambeau_error(1, &["build", "--from", "requirements.txt"]);
    assert!(
        text(&error, "message").contains("has no wheel of jinja2 3.1.6"),
        "{error:#}"
    );
    assert!(hints(&error).contains("pip wheel --no-deps jinja2==3.1.6"), "{error:#}");
}

#[test]
fn the_channel_comes_from_the_torch_that_is_pinned() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let locked = world.flambeau_json("lock", &["--backend", "cuda,cpu", "--python", &python.version]);
    assert_eq!(locked["lockfiles"].as_array().map(Vec::len), Some(2));
    for (channel, backend) in [("cu118", "CUDA"), ("cpu", "CPU")] {
        let native = world.flambeau_json("hash", &["--channel", channel]);
        let exported = format!("{channel}.txt");
        world.flambeau_json(
            "export",
            &["--channel", channel, "--format", "requirements", "-o", &exported],
        );
        let hashed = world.flambeau_json("hash", &["--from", &exported]);
        assert_eq!(text(&hashed, "channel"), channel);
        assert_eq!(hashed["key"], native["key"], "the same wheels, the same key");
        let dry = world.build(&["--from", &exported, "--dry-run"]);
        assert_eq!(text(&dry, "backend"), backend);
        // flambeau's own file is used as it is.
        let name = if channel == "cu118" { "cuda" } else { channel };
        let own = world.flambeau_json("hash", &["--from", &format!("lockfiles/pylock.{name}.toml")]);
        assert_eq!(own["key"], native["key"]);
    }
    let error = world.flambeau_error(1, &["build", "--from", "cu118.txt", "--channel", "cpu"]);
    assert_eq!(
        text(&error, "message"),
        "cu118.txt pins torch of the channel cu118, and cpu is asked for"
    );
    let error = world.flambeau_error(1, &["build", "--from", "cu118.txt", "--backend", "cpu"]);
    assert!(
        text(&error, "message").contains("is built for CUDA; CPU is asked for"),
        "{error:#}"
    );
}

#[test]
fn torch_of_the_package_index_says_its_backend() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let torch = wheel(
        Shelf::Index,
        "torch",
        &format!("2.7.0-{0}-{0}-manylinux_2_28_x86_64", python.tag()),
    );
    let file = format!("torch==2.7.0 --hash=sha256:{}\n", torch.sha256);
    world.write("requirements.txt", file);
    let dry = world.build(&["--from", "requirements.txt", "--dry-run"]);
    assert_eq!((text(&dry, "channel"), text(&dry, "backend")), ("pip", "CUDA"));
    let url = format!("url = \"{}/files/{}\"", world.server().url(), torch.filename);
    world
        .server()
        .serve_file(&format!("/files/{}", torch.filename), torch.bytes.clone());
    world.write("pylock.toml", pylock(&[("torch", "2.7.0", row(&url, &torch))]));
    let other = world.build(&["--from", "pylock.toml", "--dry-run"]);
    assert_eq!(other["key"], dry["key"]);
}

#[test]
fn uv_lock_is_walked_from_the_project() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let (jinja2, markupsafe) = (jinja2(), markupsafe(&python.tag()));
    let entry = |name: &str, wheel: &BuiltWheel, dependencies: &str| {
        let url = format!("{}/files/{}", world.server().url(), wheel.filename);
        world
            .server()
            .serve_file(&format!("/files/{}", wheel.filename), wheel.bytes.clone());
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{}\"\nsource = {{ registry = \"https://example.org/simple\" }}\n\
             dependencies = [{dependencies}]\nwheels = [{{ url = \"{url}\", hash = \"sha256:{}\", size = {} }}]\n",
            version_of(wheel),
            wheel.sha256,
            wheel.bytes.len()
        )
    };
    let file = format!(
        "version = 1\nrevision = 3\nrequires-python = \">=3.9\"\n{}{}\n[[package]]\nname = \"demo\"\nversion = \"0\"\n\
         source = {{ editable = \".\" }}\ndependencies = []\n[package.optional-dependencies]\nweb = [{{ name = \"jinja2\" }}]\n",
        entry("jinja2", &jinja2, "{ name = \"markupsafe\" }"),
        entry("markupsafe", &markupsafe, ""),
    );
    world.write("uv.lock", file);
    let built = world.build(&["--from", "uv.lock", "--extra", "web"]);
    assert_eq!(installed(&world).len(), 2);
    assert!(
        built["warnings"].to_string().contains("demo itself is not installed"),
        "{built:#}"
    );
    let error = world.flambeau_error(1, &["hash", "--from", "uv.lock", "--extra", "wep"]);
    assert_eq!(error["causes"][1], "it has no extra `wep`; it has web");
    world.flambeau(&["hash", "--extra", "web"]).fails(2);
}

#[test]
fn another_machines_target_needs_no_python_of_it() {
    let world = World::new();
    let wheels: Vec<String> = ["cp39", "cp313"]
        .map(|tag| {
            let wheel = markupsafe(tag);
            row(
                &format!("url = \"{}/files/{}\"", world.server().url(), wheel.filename),
                &wheel,
            )
        })
        .into();
    let version = version_of(&markupsafe("cp39")).to_owned();
    world.write("pylock.toml", pylock(&[("markupsafe", &version, wheels.join(", "))]));
    let key = |target: &str| {
        let document = world.flambeau_json("hash", &["--from", "pylock.toml", "--target", target]);
        text(&document, "key").to_owned()
    };
    assert_ne!(key("cp39-linux_x86_64"), key("cp313-linux_x86_64"));
    let error = world.flambeau_error(1, &["hash", "--from", "pylock.toml", "--target", "cp311-linux_x86_64"]);
    assert!(
        text(&error, "message").contains("which has no wheel for cp311-manylinux_2_28_x86_64, only: "),
        "{error:#}"
    );
    for wheel in [markupsafe("cp39"), markupsafe("cp313")] {
        world
            .server()
            .serve_file(&format!("/files/{}", wheel.filename), wheel.bytes.clone());
    }
    let fetched = world.flambeau_json(
        "fetch",
        &[
            "--from",
            "pylock.toml",
            "--target",
            "cp39-linux_x86_64",
            "--target",
            "cp313-linux_x86_64",
        ],
    );
    assert_eq!(fetched["downloaded"], 2);
}

#[test]
fn source_code_and_broken_files_say_what_to_do() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let refused = |name: &str, file: &str, cause: &str, hint: &str| {
        world.write(name, file);
        let error = world.flambeau_error(1, &["build", "--from", name]);
        assert!(error["causes"].to_string().contains(cause), "{error:#}");
        assert!(hints(&error).contains(hint), "{error:#}");
        assert!(!world.has(".venv"));
    };
    let package =
        |body: &str| format!("lock-version = \"1.0\"\ncreated-by = \"x\"\n[[packages]]\nname = \"a\"\n{body}\n");
    refused(
        "pylock.toml",
        &package("directory = { path = \".\", editable = true }"),
        "a is pinned as a folder (.)",
        "editable = [\".\"]",
    );
    refused(
        "pylock.toml",
        &package("version = \"1\"\nsdist = { url = \"https://example.org/a-1.tar.gz\", hashes = { sha256 = \"0\" } }"),
        "a is pinned as a source distribution",
        "`pip wheel --no-deps a==1` makes a wheel",
    );
    refused(
        "pylock.toml",
        &package("version = \"1\"\nwheels = [{ url = \"https://example.org/a-1-py3-none-any.whl\", hashes = {} }]"),
        "a: a-1-py3-none-any.whl has no hashes",
        "",
    );
    refused(
        "pylock.toml",
        "lock-version = \"2.0\"",
        "lock-version is 2.0; only 1.x can be read",
        "",
    );
    refused(
        "requirements.txt",
        "a==1\n",
        "line 1: a==1 has no --hash",
        "--generate-hashes",
    );
    refused(
        "requirements.txt",
        "-r more.txt\n",
        "line 1: `-r more.txt` reads another file",
        "--generate-hashes",
    );
    refused(
        "uv.lock",
        "version = 7\n",
        "it is a uv.lock of version 7",
        "uv export --format pylock.toml",
    );
    for (key, line) in [("packages", "packages = []\n"), ("created-by", "created-by = \"x\"\n")] {
        let whole = "lock-version = \"1.0\"\ncreated-by = \"x\"\npackages = []\n";
        let missing = format!("`{key}` is missing");
        refused("pylock.toml", &whole.replace(line, ""), &missing, "`uv export");
    }
    let mut file = package("version = \"1\"\ndirectory = { path = \".\" }");
    file = file.replace("created-by", "requires-python = \"<3.9\"\ncreated-by");
    refused("pylock.toml", &file, "it needs Python <3.9, and this is", "--python");
    let newer = package("")
        .replace("\"1.0\"", "\"1.5\"")
        .replace("[[packages]]\nname = \"a\"\n", "packages = []");
    world.write("pylock.toml", newer);
    let built = world.build(&["--from", "pylock.toml", "--dry-run", "--python", &python.version]);
    assert_eq!(built["packages"].as_array().map(Vec::len), Some(0));
    let warned = world.flambeau(&["hash", "--from", "pylock.toml"]).ok();
    assert!(
        warned.stderr.contains("lock-version is 1.5, newer than 1.0"),
        "{warned}"
    );
    let error = world.flambeau_error(1, &["build", "--from", "absent.toml"]);
    assert!(text(&error, "message").contains("absent.toml"), "{error:#}");
}

#[test]
fn local_wheels_of_the_projects_own_lockfile_stay_inside_the_project() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let jinja2 = jinja2();
    let pinned = world.flambeau_json(
        "lock",
        &["--channel", "pip", "--python", &python.version, "jinja2==3.1.6"],
    );
    let lockfile = world.read("lockfiles/pylock.pip.toml");
    let ours = format!("path = \"../cache/wheels/{0}/{1}\"", jinja2.sha256, jinja2.filename);
    assert!(lockfile.contains(&ours), "{pinned:#}\n{lockfile}");
    let local = lockfile.replace(&ours, &format!("path = \"wheels/{}\"", jinja2.filename));
    world.write("lockfiles/pylock.pip.toml", &local);
    let outside = world.path("outside");
    fs::create_dir(&outside).expect("new");
    jinja2.write_to(&outside);
    std::os::unix::fs::symlink(&outside, world.project().join("lockfiles/wheels")).expect("the name is free");
    let error = world.flambeau_error(1, &["build", "--locked", "--channel", "pip"]);
    assert!(text(&error, "message").contains("which is outside"), "{error:#}");
    assert!(hints(&error).contains("--allow-path"), "{error:#}");
    fs::remove_file(world.project().join("lockfiles/wheels")).expect("a link");
    world.write(format!("lockfiles/wheels/{}", jinja2.filename), &jinja2.bytes);
    let key = text(&world.flambeau_json("hash", &["--channel", "pip"]), "key").to_owned();
    assert_eq!(text(&world.build(&["--locked", "--channel", "pip"]), "key"), key);
}
