//! Wheels that want more than they may have: refused, and nothing of them is anywhere.

use crate::steps::{Standing, assert_error};
use crate::support::family::Shelf;
use crate::support::wheel::Wheel;
use crate::support::world::{World, tree_snapshot};
use crate::support::zip::Member;

/// What is hostile, how a wheel becomes so, and what the message says of it.
type Row = (&'static str, fn(Wheel) -> Wheel, &'static str);

/// Everything that a wheel could reach, but for what a build may change: the cache and the workshop of the store.
fn outside(world: &World) -> Vec<crate::support::world::TreeSnapshot> {
    [
        "project",
        "home",
        "bin",
        "tools",
        "store/wheels",
        "store/envs",
        "store/roots",
    ]
    .map(|folder| tree_snapshot(&world.path(folder)))
    .into()
}

#[test]
fn f50_hostile_wheels_are_refused_and_leave_nothing() {
    let rows: [Row; 7] = [
        (
            "climbs",
            |wheel| wheel.raw_member("../../../../escaped.txt", "escaped\n"),
            "../../../../escaped.txt",
        ),
        (
            "absolute",
            |wheel| wheel.raw_member("/tmp/flambeau-escaped.txt", "escaped\n"),
            "/tmp/flambeau-escaped.txt",
        ),
        (
            "data",
            |wheel| wheel.data("data", "../../../escaped.txt", "escaped\n"),
            "escaped.txt",
        ),
        (
            "linked",
            |wheel| wheel.member(Member::symlink("hostile/link", "/etc/passwd")),
            "hostile/link",
        ),
        (
            "unlisted",
            |wheel| wheel.raw_member("hostile/unlisted.py", "x = 1\n"),
            "hostile/unlisted.py",
        ),
        (
            "mismatch",
            |wheel| wheel.record_replace("hostile/__init__.py", "hostile/__init__.py,sha256=AAAA,5"),
            "RECORD",
        ),
        (
            "twice",
            |wheel| wheel.raw_member("hostile/__init__.py", "x = 2\n"),
            "hostile/__init__.py",
        ),
    ];
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    for (version, (what, change, told)) in rows.into_iter().enumerate() {
        let version = format!("{version}.0");
        let wheel = Wheel::new("hostile", &version).file("hostile/__init__.py", "x = 1\n");
        world.server().offer(Shelf::Index, change(wheel));
        standing.lock(&[&format!("hostile=={version}")]);
        let before = outside(world);
        let output = world.flambeau(&["build"]);
        let told = [&format!("hostile-{version}"), told];
        assert!(output.status.code() == Some(3), "{what}:\n{output}");
        standing.assert_refused(output, 3, &told);
        for (before, after) in before.iter().zip(outside(world)) {
            before.assert_same(&after);
        }
        assert!(!std::path::Path::new("/tmp/flambeau-escaped.txt").exists(), "{what}");
    }
}

/// Metadata that the index tells apart from the wheel cannot bring in what the wheel does not have.
#[test]
fn f50_metadata_that_is_not_what_the_page_promises_is_refused() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let other = b"Metadata-Version: 2.1\nName: filelock\nVersion: 3.18.0\nRequires-Dist: mpmath\n\n".to_vec();
    let fault = crate::support::server::Action::Body(other);
    world.server().fault(crate::support::server::Fault::on(
        "/filelock-3.18.0-py3-none-any.whl.metadata$",
        fault,
    ));
    let output = world.flambeau(&["lock", "--channel", "cpu", "filelock"]);
    standing.assert_refused(output, 3, &["filelock-3.18.0-py3-none-any.whl", "metadata"]);
    assert!(!world.read("lockfiles/pylock.cpu.toml").contains("filelock"));
}

/// The wheel itself is in order, so its tree may stay; no environment comes of it.
#[test]
fn files_that_belong_to_flambeau_are_brought_by_no_wheel() {
    let Some(standing) = Standing::new() else { return };
    let world = &standing.world;
    let wheel = Wheel::new("hostile", "1.0").file("00-flambeau.pth", "import os\n");
    world.server().offer(Shelf::Index, wheel);
    standing.lock(&["hostile"]);
    assert_error(
        world.flambeau(&["build"]),
        3,
        &["hostile", "00-flambeau.pth", "belongs to the environment"],
    );
    standing.assert_active();
}
