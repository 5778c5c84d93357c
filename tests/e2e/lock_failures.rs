//! `lock`: bad requirements and bad indexes. Each is a clear error, and the old lockfile stays as it is.

use crate::steps::assert_error;
use crate::support::family::Shelf;
use crate::support::server::{Action, Fault};
use crate::support::wheel::Wheel;
use crate::support::world::{Output, World, tree_snapshot};

const TARGET: [&str; 6] = ["--channel", "cpu", "--python", "3.11", "--platform", "linux_x86_64"];

fn lock(world: &World, arguments: &[&str]) -> Output {
    world.flambeau(&[&["lock"], &TARGET[..], arguments].concat())
}

/// Fails unless locking `requirement` ends so, with the files of the project as they were.
#[track_caller]
fn refused(world: &World, requirement: &str, code: i32, parts: &[&str]) {
    let before = tree_snapshot(&world.project());
    assert_error(lock(world, &[requirement]), code, parts);
    before.assert_same(&tree_snapshot(&world.project()));
}

fn standing() -> World {
    let world = World::new();
    lock(&world, &["filelock"]).ok();
    world
}

#[test]
fn requirements_that_cannot_be_met() {
    let world = standing();
    let offer = |wheel: Wheel| drop(world.server().offer(Shelf::Index, wheel));
    offer(Wheel::new("only-windows", "1.0").tag("cp311-cp311-win_amd64"));
    offer(Wheel::new("needs-windows", "1.0").requires("only-windows"));
    offer(Wheel::new("withdrawn", "1.0").yanked("eats disks"));
    offer(Wheel::new("needs-withdrawn", "1.0").requires("withdrawn>=1"));
    offer(Wheel::new("needs-nothing-there", "1.0").requires("never-heard-of"));
    offer(Wheel::new("needs-git", "1.0").requires("x @ git+https://example.org/x.git"));
    refused(
        &world,
        "torn",
        1,
        &[
            "sympy 1.14.0 depends on mpmath >=1.1.0, <1.4",
            "torn 1.0 depends on mpmath >=1.4 and sympy ==1.14.0",
        ],
    );
    refused(
        &world,
        "filelock>9999",
        1,
        &["has no filelock >9999", "the newest version there is 3.18.0"],
    );
    refused(
        &world,
        "needs-windows",
        1,
        &[
            "cannot install only-windows (wanted by needs-windows 1.0)",
            "there are wheels for win_amd64",
            "--platform",
        ],
    );
    refused(
        &world,
        "needs-withdrawn",
        1,
        &["withdrawn 1.0 was yanked (eats disks)", "pin the version with `==`"],
    );
    refused(
        &world,
        "needs-nothing-there",
        1,
        &["has no project never-heard-of (wanted by needs-nothing-there 1.0)"],
    );
    refused(
        &world,
        "needs-git",
        1,
        &[
            "needs `x @ git+https://example.org/x.git`",
            "only your own requirements may name a wheel",
        ],
    );
    refused(
        &world,
        "filelock==1.x",
        1,
        &["`filelock==1.x` is no requirement", "PEP 508"],
    );
    // Loops are no failure: two projects that need each other, extras that name each other.
    offer(
        Wheel::new("knot", "1.0")
            .extra("a", &["knot[b]"])
            .extra("b", &["knot[a]", "loop-a"]),
    );
    lock(&world, &["knot[a]"]).ok();
}

#[test]
fn metadata_and_names_that_cannot_be_understood() {
    let world = standing();
    let offer = |wheel: Wheel| drop(world.server().offer(Shelf::Index, wheel));
    offer(Wheel::new("garbled", "1.0").requires("a ==== 1"));
    offer(Wheel::new("half-garbled", "1.0").file("half.py", ""));
    offer(Wheel::new("half-garbled", "1.1").requires("a ==== 1"));
    offer(Wheel::new("odd-version", "not.a.version"));
    refused(
        &world,
        "garbled",
        3,
        &[
            "garbled 1.0 has metadata that cannot be understood",
            "Requires-Dist: a ==== 1",
        ],
    );
    refused(
        &world,
        "half-garbled==1.1",
        3,
        &["half-garbled 1.1 has metadata that cannot be understood"],
    );
    refused(
        &world,
        "odd-version",
        1,
        &["no wheel of odd-version", "that can be understood"],
    );
    // An older version that can be understood is taken, and that is said.
    let output = lock(&world, &["half-garbled"]).ok();
    assert!(output.stderr.contains("half-garbled 1.1 was passed over"), "{output}");
}

#[test]
fn indexes_that_do_not_answer_as_indexes_do() {
    let world = standing();
    let page = "/simple/sympy/";
    let rows: [(Action, i32, &[&str]); 6] = [
        (
            Action::Body(b"<html><title>Log in</title>".to_vec()),
            4,
            &[
                "cannot read the index page",
                "/simple/sympy/",
                "is not a sound JSON index page",
            ],
        ),
        (
            Action::Body(b"{\"files\": 7}".to_vec()),
            4,
            &["is not a sound JSON index page"],
        ),
        (
            Action::Body(b"{\"meta\": {\"api-version\": \"2.0\"}, \"files\": []}".to_vec()),
            4,
            &["of version 2.0"],
        ),
        (
            Action::Status(401, &[]),
            4,
            &["cannot fetch the index page", "401", "credentials"],
        ),
        (Action::Status(403, &[]), 4, &["cannot fetch the index page", "403"]),
        (
            Action::Redirect(302, "{base}{path}".to_owned()),
            4,
            &["cannot fetch the index page", "redirect"],
        ),
    ];
    for (action, code, parts) in rows {
        world.server().fault(Fault::on(page, action));
        refused(&world, "sympy", code, parts);
        world.server().clear_faults();
    }
    lock(&world, &["sympy"]).ok();
}

#[test]
fn an_index_that_contradicts_its_own_digests() {
    let world = standing();
    // The metadata is not what the page promises.
    world.server().fault(Fault::on(
        "sympy-1.14.0-py3-none-any.whl.metadata",
        Action::Body(b"Name: sympy\n".to_vec()),
    ));
    refused(
        &world,
        "sympy",
        3,
        &[
            "the metadata of sympy-1.14.0-py3-none-any.whl has the SHA-256",
            "index page states",
        ],
    );
    world.server().clear_faults();
    // Nor is the wheel, where it has to be read as a whole.
    world.server().configure(|options| options.index_core_metadata = false);
    world
        .server()
        .fault(Fault::on("sympy-1.14.0-py3-none-any.whl", Action::IgnoreRange));
    world
        .server()
        .fault(Fault::on("sympy-1.14.0-py3-none-any.whl", Action::Flip(40)));
    refused(
        &world,
        "sympy",
        3,
        &["sympy-1.14.0-py3-none-any.whl has the SHA-256", "index page states"],
    );
}

#[test]
fn a_wheel_that_is_not_the_locked_one_is_blamed_on_whoever_is_wrong() {
    let torch = |text: &str| {
        Wheel::new("torch", "2.7.0+cpu")
            .tag("cp311-cp311-manylinux_2_28_x86_64")
            .file("torch/version.py", text)
    };
    let world = World::new();
    let first = world.server().offer(Shelf::Channel("cpu"), torch("a = 1\n"));
    lock(&world, &["torch==2.7.0"]).ok();
    let fetch = |parts: &[&str]| {
        let parts = [
            &[
                "torch-2.7.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",
                first.sha256.as_str(),
            ],
            parts,
        ]
        .concat();
        assert_error(world.flambeau(&["fetch", "--channel", "cpu"]), 3, &parts);
    };
    // The index stands by what it said.
    let file = "torch-2.7.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl$";
    world.server().fault(Fault::on(file, Action::Flip(40)));
    fetch(&["the file on the server is not the one that the index lists"]);
    world.server().clear_faults();
    // The file was replaced, and the index says so.
    let second = world.server().offer(Shelf::Channel("cpu"), torch("a = 2\n"));
    fetch(&[
        "the index now states the digest of what arrived",
        "flambeau lock --upgrade",
    ]);
    // It says nothing.
    world.server().configure(|options| options.digests = false);
    fetch(&["the index states no digest for it"]);
    world.server().configure(|options| options.digests = true);
    // It is wrong about what it has.
    world.server().fault(Fault::on(file, Action::Flip(40)));
    fetch(&[
        "the index states a third digest",
        second.sha256.as_str(),
        "it is wrong about its own file",
    ]);
}
