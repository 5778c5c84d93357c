//! Servers that send wrong bytes, too few, none, or ask for patience.

use std::time::{Duration, Instant};

use crate::steps::{Standing, assert_error, names, shelf};
use crate::support::family::{Shelf, wheel};
use crate::support::server::{Action, Fault};
use crate::support::world::World;

const FILE: &str = "filelock-3.18.0-py3-none-any.whl";
const ON_FILE: &str = "/filelock-3.18.0-py3-none-any.whl$";
const WANTED: &str = "filelock==3.18.0";

/// A project whose next build has one wheel to fetch: filelock.
fn standing() -> Option<Standing> {
    let standing = Standing::new()?;
    standing.lock(&[WANTED]);
    Some(standing)
}

/// The next build succeeds without help, and what it built works.
#[track_caller]
fn assert_recovers(standing: &Standing) {
    standing.world.server().clear_faults();
    standing.world.flambeau(&["build"]).ok();
    standing
        .world
        .venv_python(&["-c", "import filelock, typing_extensions"])
        .ok();
}

fn sha256() -> String {
    wheel(Shelf::Index, "filelock", "3.18.0").sha256.clone()
}

#[test]
fn f50_a_wheel_with_another_digest_is_refused_and_kept_aside() {
    let Some(standing) = standing() else { return };
    let world = &standing.world;
    world.server().fault(Fault::on(ON_FILE, Action::Flip(700)));
    let output = world.flambeau(&["build"]);
    let mut bytes = wheel(Shelf::Index, "filelock", "3.18.0").bytes.clone();
    bytes[700] ^= 0x20;
    let actual = crate::support::encoding::sha256(&bytes);
    standing.assert_refused(output, 3, &[FILE, "127.0.0.1", &sha256(), &actual]);
    assert!(!world.cache().join("wheels").join(sha256()).exists());
    let kept = world.cache().join("partial").join(format!("{actual}.bad"));
    assert_eq!(std::fs::read(kept).expect("the bytes are kept"), bytes);
    assert_recovers(&standing);
}

/// A login page, a captive portal: told as what it is, also where it is as long as the wheel.
#[test]
fn a_page_in_place_of_a_wheel_is_told_as_one_and_leaves_what_arrived() {
    let Some(standing) = standing() else { return };
    let world = &standing.world;
    let length = wheel(Shelf::Index, "filelock", "3.18.0").bytes.len();
    let mut long = b"\n<!DOCTYPE html><title>Log in</title>".to_vec();
    long.resize(length, b' ');
    for page in [b"<html><title>Log in</title>".to_vec(), long] {
        world.server().fault(Fault::on(ON_FILE, Action::Body(page)));
        let output = world.flambeau(&["build"]);
        standing.assert_refused(
            output,
            4,
            &["127.0.0.1", "an HTML page, not a wheel", FILE, "login page"],
        );
        assert!(
            names(&world.cache().join("partial"))
                .iter()
                .all(|name| !name.ends_with(".bad"))
        );
        world.server().clear_faults();
    }
    // Half of the wheel arrives, then the network asks for a login: the half is continued later.
    let half = length / 2;
    world
        .server()
        .fault(Fault::on(ON_FILE, Action::Truncate(half)).times(1));
    world
        .server()
        .fault(Fault::on(ON_FILE, Action::Body(b"<html>".to_vec())));
    let output = world.flambeau(&["build"]);
    standing.assert_refused(output, 4, &["an HTML page, not a wheel"]);
    assert_recovers(&standing);
}

#[test]
fn f50_one_bad_wheel_of_many_leaves_whole_trees_alone() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version])
        .ok();
    world
        .server()
        .fault(Fault::on("/numpy-", Action::Flip(900)).method("GET"));
    let output = world.flambeau(&["build", "--channel", "cpu"]);
    assert_error(output, 3, &["numpy-", "127.0.0.1"]);
    assert!(shelf(&world, "envs").lines().is_empty(), "{}", shelf(&world, "envs"));
    assert!(!world.has(".venv") && !world.has("environment_state.json"));
    let trees = names(&world.store().join("wheels"));
    assert!(!trees.iter().any(|tree| tree.contains("-numpy-")), "{trees:?}");
    for tree in &trees {
        let folder = world.store().join("wheels").join(tree);
        assert!(
            folder.join("manifest.json").is_file() && folder.join("facts.json").is_file(),
            "{tree}"
        );
    }
    world.server().clear_faults();
    world.server().clear_log();
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    // What had arrived is not asked for again.
    let again: Vec<_> = world
        .server()
        .requests_to(".whl")
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert_eq!(
        again.iter().filter(|path| path.contains("/numpy-")).count(),
        1,
        "{again:?}"
    );
    for tree in &trees {
        let name = tree.split('-').nth(1).expect("<digest>-<name>-<version>-<tag>");
        assert!(
            !again.iter().any(|path| path.contains(&format!("/{name}-"))),
            "{again:?}"
        );
    }
    world.venv_python(&["-c", "import torch, torchvision, numpy"]).ok();
}

#[test]
fn f53_a_body_that_is_always_short_ends_in_a_network_error() {
    let Some(standing) = standing() else { return };
    standing.world.server().fault(Fault::on(ON_FILE, Action::Truncate(0)));
    let output = standing.world.flambeau(&["build"]);
    standing.assert_refused(output, 4, &[FILE, "127.0.0.1", "broke off after 0 bytes"]);
    let tries = standing.world.server().requests_to(FILE).len();
    assert!((2..=10).contains(&tries), "{tries} tries");
    assert_recovers(&standing);
}

#[test]
fn f54_a_body_that_was_short_once_is_resumed() {
    let Some(standing) = standing() else { return };
    let world = &standing.world;
    world.server().fault(Fault::on(ON_FILE, Action::Truncate(500)).times(1));
    world.flambeau(&["build"]).ok();
    assert_resumed(world, 500);
    world.venv_python(&["-c", "import filelock"]).ok();
}

#[track_caller]
fn assert_resumed(world: &World, at: usize) {
    let requests = world.server().requests_to(FILE);
    let shown: Vec<_> = requests.iter().map(ToString::to_string).collect();
    let ranges: Vec<_> = requests
        .iter()
        .map(|request| (request.range().map(str::to_owned), request.status))
        .collect();
    assert_eq!(ranges, [(None, 200), (Some(format!("bytes={at}-")), 206)], "{shown:?}");
}

#[test]
fn f54_a_connection_that_is_reset_once_is_resumed() {
    let Some(standing) = standing() else { return };
    let world = &standing.world;
    world.server().fault(Fault::on(ON_FILE, Action::Reset(300)).times(1));
    world.flambeau(&["build"]).ok();
    assert_resumed(world, 300);
}

#[test]
fn f54_connections_that_are_always_reset_end_in_a_network_error() {
    let Some(standing) = standing() else { return };
    standing.world.server().fault(Fault::on(ON_FILE, Action::Reset(0)));
    let output = standing.world.flambeau(&["build"]);
    standing.assert_refused(output, 4, &[FILE, "127.0.0.1"]);
    assert_recovers(&standing);
}

#[test]
fn f07_what_arrived_in_a_failed_run_is_resumed_in_the_next() {
    let Some(standing) = standing() else { return };
    let world = &standing.world;
    world.server().fault(Fault::on(ON_FILE, Action::Truncate(400)).times(1));
    world
        .server()
        .fault(Fault::on(ON_FILE, Action::Status(404, &[])).after(1));
    let output = world.flambeau(&["build"]);
    standing.assert_refused(output, 4, &[FILE, "404"]);
    world.server().clear_faults();
    world.server().clear_log();
    world.flambeau(&["build"]).ok();
    let requests = world.server().requests_to(FILE);
    let ranges: Vec<_> = requests
        .iter()
        .map(crate::support::server::LoggedRequest::range)
        .collect();
    assert_eq!(ranges, [Some("bytes=400-")]);
}

#[test]
fn f54_a_server_that_asks_for_patience_gets_it() {
    let Some(standing) = standing() else { return };
    let world = &standing.world;
    let busy = Action::Status(503, &[("Retry-After", "1")]);
    world.server().fault(Fault::on(ON_FILE, busy).times(1));
    let started = Instant::now();
    world.flambeau(&["build"]).ok();
    assert!(
        started.elapsed() >= Duration::from_secs(1),
        "it came back before it was asked to"
    );
    let statuses: Vec<_> = world
        .server()
        .requests_to(FILE)
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(statuses, [503, 200]);
}

#[test]
fn f54_a_server_without_ranges_is_asked_for_the_whole_file_again() {
    let Some(standing) = standing() else { return };
    let world = &standing.world;
    world.server().fault(Fault::on(ON_FILE, Action::Truncate(500)).times(1));
    world.server().fault(Fault::on(ON_FILE, Action::IgnoreRange));
    world.flambeau(&["build"]).ok();
    let statuses: Vec<_> = world
        .server()
        .requests_to(FILE)
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(statuses, [200, 200]);
    world.venv_python(&["-c", "import filelock"]).ok();
}

#[test]
fn f54_a_server_that_is_not_there_is_named() {
    let Some(mut standing) = standing() else { return };
    // Port 9 (discard) of the loopback interface: nothing listens there.
    standing.world.set("PIP_INDEX_URL", "http://127.0.0.1:9/simple/");
    let output = standing.world.flambeau(&["build"]);
    standing.assert_refused(output, 4, &[FILE, "127.0.0.1:9", "refused"]);
    let address = standing.world.server().index_url();
    standing.world.set("PIP_INDEX_URL", address);
    assert_recovers(&standing);
}
