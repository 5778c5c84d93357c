//! `lock`: how versions are chosen (times, the lowest, overrides, extras, groups), and that the lockfile remembers it.

use crate::steps::assert_error;
use crate::support::family::{Shelf, wheel};
use crate::support::wheel::Wheel;
use crate::support::world::{Output, World};

const CPU: &str = "lockfiles/pylock.cpu.toml";
const TARGET: [&str; 6] = ["--channel", "cpu", "--python", "3.11", "--platform", "linux_x86_64"];

fn lock(world: &World, arguments: &[&str]) -> Output {
    world.flambeau(&[&["lock"], &TARGET[..], arguments].concat())
}

fn pins(world: &World) -> Vec<String> {
    let document: toml::Table = world.read(CPU).parse().expect("TOML");
    let packages = document["packages"].as_array().expect("packages");
    let text = |package: &toml::Value, key: &str| package[key].as_str().expect("a text").to_owned();
    packages
        .iter()
        .map(|package| format!("{}=={}", text(package, "name"), text(package, "version")))
        .collect()
}

fn has_line(world: &World, line: &str) -> bool {
    world.read(CPU).lines().any(|found| found == line)
}

#[test]
fn what_was_uploaded_later_is_left_out_and_that_is_remembered() {
    // The index says that everything was uploaded on 23 April 2025.
    let world = World::new();
    let output = lock(&world, &["--exclude-newer", "2025-04-22", "filelock"]);
    assert_error(
        output,
        1,
        &["filelock 3.18.0 was uploaded at 2025-04-23T14:32:01", "--exclude-newer"],
    );
    assert!(!world.has(CPU));
    lock(&world, &["--exclude-newer", "2025-04-23", "filelock"]).ok();
    let line = "exclude-newer = \"2025-04-24T00:00:00Z\"";
    assert!(has_line(&world, line), "{}", world.read(CPU));
    // It holds without the flag, until it is ended.
    lock(&world, &["fsspec"]).ok();
    assert!(has_line(&world, line));
    world.flambeau(&["lock", "--check"]).ok();
    lock(&world, &["--exclude-newer", "none"]).ok();
    assert!(!has_line(&world, line));
    // A project's word counts, and makes a lockfile without it stale.
    let project = "[tool.flambeau]\nchannel = \"cpu\"\nexclude-newer = 2025-04-22\nrequirements = [\"fsspec\"]\n";
    world.write("pyproject.toml", project);
    assert_error(
        world.flambeau(&["lock", "--check"]),
        1,
        &["`exclude-newer` is none in it, and 2025-04-23T00:00:00Z is wanted"],
    );
    assert_error(world.flambeau(&["lock"]), 1, &["fsspec", "was uploaded at"]);
    let output = lock(&world, &["--exclude-newer", "yesterday"]).fails(2);
    assert!(output.stderr.contains("`yesterday` is no date"), "{output}");
}

#[test]
fn times_of_a_channel_do_not_count_and_an_index_without_any_is_refused() {
    let world = World::new();
    let output = lock(&world, &["--exclude-newer", "2025-05-01", "torch==2.7.0"]).ok();
    assert!(
        output
            .stderr
            .contains("exclude-newer does not count for torch: the upload times of the channel's index"),
        "{output}"
    );
    let plain = World::new();
    plain.server().configure(|options| options.json = false);
    let output = lock(&plain, &["--exclude-newer", "2025-05-01", "filelock"]);
    assert_error(
        output,
        1,
        &[
            "the package index",
            "does not say when the files of filelock were uploaded",
            "leave out --exclude-newer",
        ],
    );
}

#[test]
fn the_lowest_of_direct_requirements_is_a_choice_that_holds() {
    let world = World::new();
    lock(&world, &["--resolution", "lowest-direct", "sympy>=1.13", "fsspec"]).ok();
    let lowest = ["fsspec==2024.6.1", "mpmath==1.3.0", "sympy==1.13.3"];
    assert_eq!(pins(&world), lowest);
    world.flambeau(&["lock", "--upgrade"]).ok();
    assert_eq!(pins(&world), lowest);
    lock(&world, &["--resolution", "highest", "--upgrade"]).ok();
    assert_eq!(pins(&world), ["fsspec==2025.3.2", "mpmath==1.3.0", "sympy==1.14.0"]);
}

#[test]
fn pre_releases_can_be_allowed_and_refused() {
    let world = World::new();
    lock(&world, &["--pre-releases", "allow", "pre-release"]).ok();
    assert_eq!(pins(&world), ["pre-release==2.0rc1"]);
    lock(&world, &["--pre-releases", "refuse", "--upgrade"]).ok();
    assert_eq!(pins(&world), ["pre-release==1.0"]);
    let output = lock(&world, &["pre-release>=2.0rc1"]);
    assert_error(output, 1, &["pre-release 2.0rc1 is a pre-release"]);
}

#[test]
fn overrides_and_constraints_of_the_project_hold_and_count_for_staleness() {
    let world = World::new();
    let project = |lines: &str| {
        let head =
            "[project]\nname = \"x\"\nversion = \"1\"\ndependencies = [\"torn\"]\n[tool.flambeau]\nchannel = \"cpu\"\n";
        world.write("pyproject.toml", format!("{head}{lines}"));
    };
    project("");
    assert_error(lock(&world, &[]), 1, &["torn", "mpmath", "sympy"]);
    project("overrides = [\"mpmath==1.3.0\"]\n");
    lock(&world, &[]).ok();
    assert_eq!(pins(&world), ["mpmath==1.3.0", "sympy==1.14.0", "torn==1.0"]);
    world.flambeau(&["lock", "--check"]).ok();
    project("overrides = [\"sympy\", \"mpmath==1.3.0\"]\nconstraints = [\"sympy<1.14\"]\n");
    assert_error(
        world.flambeau(&["build", "--locked"]),
        1,
        &[
            "`constraints` is none in it",
            "`overrides` is mpmath==1.3.0 in it, and mpmath==1.3.0, sympy is wanted",
        ],
    );
    lock(&world, &[]).ok();
    assert_eq!(pins(&world), ["mpmath==1.3.0", "sympy==1.13.3", "torn==1.0"]);
}

#[test]
fn extras_and_groups_are_part_of_what_holds() {
    let world = World::new();
    let project = "[project]\nname = \"My.Project\"\nversion = \"1\"\ndependencies = [\"filelock\"]\n\
                   [project.optional-dependencies]\nmaths = [\"mpmath<1.4\"]\nall = [\"my-project[maths]\", \"fsspec\"]\n\
                   a = [\"my-project[b]\"]\nb = [\"my-project[a]\"]\n\
                   [dependency-groups]\nTest = [{ include-group = \"base\" }, \"yanked\"]\nbase = [\"pre-release\"]\n\
                   one = [{ include-group = \"two\" }]\ntwo = [{ include-group = \"one\" }]\n\
                   [tool.flambeau]\nchannel = \"cpu\"\n";
    world.write("pyproject.toml", project);
    lock(&world, &[]).ok();
    assert_eq!(pins(&world), ["filelock==3.18.0"]);
    lock(&world, &["--extra", "all", "--group", "test"]).ok();
    let all = [
        "filelock==3.18.0",
        "fsspec==2025.3.2",
        "mpmath==1.3.0",
        "pre-release==1.0",
        "yanked==1.0",
    ];
    assert_eq!(pins(&world), all);
    let text = world.read(CPU);
    // Neither a plain lock nor a check forgets them.
    lock(&world, &[]).ok();
    world.flambeau(&["lock", "--check"]).ok();
    assert_eq!(world.read(CPU), text);
    world.write("pyproject.toml", project.replace("mpmath<1.4", "mpmath"));
    assert_error(
        world.flambeau(&["lock", "--check"]),
        1,
        &["`mpmath` is required, and not in it"],
    );
    // A list that is gone does not hold any more.
    world.write("pyproject.toml", project.replace("all = [", "everything = ["));
    lock(&world, &[]).ok();
    assert_eq!(pins(&world), ["filelock==3.18.0", "pre-release==1.0", "yanked==1.0"]);
    lock(&world, &["--no-extras"]).ok();
    assert_eq!(pins(&world), ["filelock==3.18.0"]);
    let before = world.read(CPU);
    assert_error(
        lock(&world, &["--extra", "nope"]),
        1,
        &["has no extra `nope`; it has a, b, everything, maths"],
    );
    assert_error(
        lock(&world, &["--extra", "a"]),
        1,
        &["extras include each other in a circle: a -> b -> a"],
    );
    assert_error(
        lock(&world, &["--group", "two"]),
        1,
        &["groups include each other in a circle: two -> one -> two"],
    );
    assert_eq!(world.read(CPU), before);
}

#[test]
fn digests_that_no_index_states_are_found_out_once_and_marked() {
    let world = World::new();
    world.server().configure(|options| {
        options.json = false;
        options.digests = false;
    });
    let output = lock(&world, &["filelock"]).ok();
    assert!(
        output
            .stderr
            .contains("states no digest of filelock-3.18.0-py3-none-any.whl"),
        "{output}"
    );
    let text = world.read(CPU);
    let marked = "hashed-by-download = [\n    \"filelock-3.18.0-py3-none-any.whl\",\n]\n";
    assert!(text.contains(marked), "{text}");
    let filelock = wheel(Shelf::Index, "filelock", "3.18.0");
    assert!(text.contains(&filelock.sha256));
    // It is in the cache, and is not downloaded for the next lock; an upgrade looks again.
    let whole = |world: &World| {
        let mut requests = world.server().requests_to("filelock-3.18.0-py3-none-any.whl");
        requests.retain(|request| request.path.ends_with(".whl") && request.range().is_none());
        requests.len()
    };
    world.server().clear_log();
    world.flambeau(&["fetch", "--channel", "cpu"]).ok();
    lock(&world, &[]).ok();
    assert_eq!((whole(&world), world.read(CPU) == text), (0, true));
    let other = Wheel::new("filelock", "3.18.0").file("filelock/__init__.py", "other = True\n");
    let other = world.server().offer(Shelf::Index, other);
    lock(&world, &["--upgrade-package", "filelock"]).ok();
    assert_eq!(whole(&world), 1);
    assert!(world.read(CPU).contains(&other.sha256));
    // An index that states digests needs no mark.
    world.server().configure(|options| options.digests = true);
    lock(&world, &["--upgrade"]).ok();
    assert!(!world.read(CPU).contains("hashed-by-download"));
}
