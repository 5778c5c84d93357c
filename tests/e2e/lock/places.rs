//! Which place each name comes from, how its metadata is had, and which URLs end up in the file.

use std::collections::BTreeSet;

use super::{document, lock, pins, text};
use crate::support::family::{Shelf, wheel};
use crate::support::server::{Action, Fault, LoggedRequest};
use crate::support::world::World;

/// The first wheel of a package as the lockfile has it.
fn first_wheel(world: &World, lockfile: &str, name: &str) -> toml::Table {
    let document = document(world, lockfile);
    let mut packages = document["packages"].as_array().expect("packages").iter();
    let package = packages.find(|package| text(&package["name"]) == name);
    let package = package.unwrap_or_else(|| panic!("{name} is not in the lockfile"));
    package["wheels"][0].as_table().expect("a wheel").clone()
}

#[test]
fn channel_wheels_have_canonical_urls_and_index_wheels_have_none() {
    let world = World::new();
    lock(&world, &["--channel", "cu118,rocm6.3", "--python", "3.11"]).ok();
    for (lockfile, channel) in [("cuda", "cu118"), ("rocm", "rocm6.3")] {
        let file = format!("lockfiles/pylock.{lockfile}.toml");
        let all = world.read(&file);
        assert!(
            !all.contains("127.0.0.1") && !all.contains(world.server().url()),
            "{all}"
        );
        let torch = first_wheel(&world, lockfile, "torch");
        let expected = format!(
            "https://download.pytorch.org/whl/{channel}/torch-2.7.0%2B{channel}-cp311-cp311-manylinux_2_28_x86_64.whl"
        );
        assert_eq!(text(&torch["url"]), expected);
        assert!(!torch.contains_key("path"));
        // A wheel of the package index has a place in the cache and no host: any index may serve it.
        let numpy = first_wheel(&world, lockfile, "numpy");
        let path = text(&numpy["path"]);
        assert!(
            path.starts_with("../cache/wheels/") && path.ends_with(text(&numpy["name"])),
            "{path}"
        );
        assert!(!numpy.contains_key("url"));
        for line in all.lines().filter(|line| line.contains("url = ")) {
            assert!(line.contains("\"https://download.pytorch.org/whl/"), "{line}");
        }
    }
}

#[test]
fn family_packages_come_from_the_channel_alone_and_others_from_the_index_alone() {
    let world = World::new();
    lock(&world, &["--channel", "cu118,rocm6.3,cpu", "--python", "3.10"]).ok();
    // triton stands in the channel's root under the same file names, with other bytes.
    let triton = first_wheel(&world, "cuda", "triton");
    let (index, root) = (
        wheel(Shelf::Index, "triton", "cp310-cp310"),
        wheel(Shelf::Root, "triton", "cp310-cp310"),
    );
    assert_ne!(index.sha256, root.sha256);
    assert_eq!(text(&triton["hashes"]["sha256"]), index.sha256);
    assert!(triton.contains_key("path"));
    // pytorch-triton-rocm stands on the package index too, stale and for this very Python.
    assert!(pins(&world, "rocm").contains(&"pytorch-triton-rocm==3.3.0".to_owned()));
    let rocm = first_wheel(&world, "rocm", "pytorch-triton-rocm");
    assert!(
        text(&rocm["url"]).starts_with("https://download.pytorch.org/whl/pytorch_triton_rocm-3.3.0-"),
        "{rocm}"
    );
    let asked = |path: &str| world.server().requests_to(path).len();
    for name in ["torch", "torchvision", "pytorch-triton-rocm"] {
        assert_eq!(asked(&format!("/simple/{name}/")), 0, "{name}");
    }
    for name in ["triton", "numpy", "filelock", "nvidia-cudnn-cu11"] {
        for channel in ["cu118", "rocm6.3", "cpu"] {
            assert_eq!(asked(&format!("/whl/{channel}/{name}/")), 0, "{name}");
        }
    }
}

#[test]
fn the_channel_pip_takes_torch_itself_from_the_index() {
    let world = World::new();
    lock(&world, &["--channel", "pip", "--python", "3.11"]).ok();
    assert!(pins(&world, "pip").contains(&"torch==2.7.0".to_owned()));
    assert!(pins(&world, "pip").contains(&"nvidia-cudnn-cu12==9.5.1.17".to_owned()));
    let document = document(&world, "pip");
    assert_eq!(text(&document["tool"]["flambeau"]["targets"][0]["backend"]), "CUDA");
    assert!(!world.read("lockfiles/pylock.pip.toml").contains("url = "));
    assert!(world.server().requests_to("/whl/").is_empty());
}

/// Requests for wheels, metadata aside.
fn wheel_requests(world: &World) -> Vec<LoggedRequest> {
    let mut requests = world.server().requests_to(".whl");
    requests.retain(|request| request.path.ends_with(".whl"));
    requests
}

#[test]
fn metadata_comes_from_its_own_files_where_the_index_has_them() {
    let world = World::new();
    lock(&world, &["--channel", "cpu", "--python", "3.11"]).ok();
    assert!(wheel_requests(&world).is_empty());
    // One page and one metadata file for each of the twelve packages, and nothing else.
    let paths: Vec<_> = world
        .server()
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    let different: BTreeSet<_> = paths.iter().collect();
    assert_eq!(different.len(), paths.len(), "asked twice: {paths:?}");
    let (metadata, pages): (Vec<_>, Vec<_>) = paths.iter().partition(|path| path.ends_with(".whl.metadata"));
    assert_eq!((pages.len(), metadata.len()), (12, 12), "{paths:?}");
}

#[test]
fn metadata_is_read_from_the_wheel_s_tail_where_there_are_only_ranges() {
    let world = World::new();
    world.server().configure(|options| {
        options.index_core_metadata = false;
        options.channel_core_metadata = false;
    });
    lock(&world, &["--channel", "cpu", "--python", "3.11", "torch==2.7.0"]).ok();
    let requests = wheel_requests(&world);
    assert!(!requests.is_empty());
    for request in &requests {
        assert!(request.method == "HEAD" || request.range().is_some(), "{request}");
    }
    assert!(world.server().requests_to(".metadata").is_empty());
    // The same lockfile as with metadata files.
    let other = World::new();
    lock(&other, &["--channel", "cpu", "--python", "3.11", "torch==2.7.0"]).ok();
    assert_eq!(world.read(super::CPU), other.read(super::CPU));
}

#[test]
fn metadata_is_taken_from_whole_wheels_where_there_is_no_other_way() {
    let world = World::new();
    world.server().configure(|options| options.index_core_metadata = false);
    world.server().fault(Fault::on("/packages/", Action::IgnoreRange));
    lock(&world, &["--channel", "cpu", "--python", "3.11", "sympy"]).ok();
    assert_eq!(pins(&world, "cpu"), ["mpmath==1.3.0", "sympy==1.14.0"]);
    // What had to be downloaded is kept.
    let sympy = wheel(Shelf::Index, "sympy", "1.14.0");
    assert!(
        world
            .cache()
            .join("wheels")
            .join(&sympy.sha256)
            .join(&sympy.filename)
            .is_file()
    );
    world.server().clear_log();
    world.flambeau(&["fetch", "--channel", "cpu"]).ok();
    world.server().assert_no_requests();
}

#[test]
fn an_index_without_json_or_digests_gives_the_same_pins() {
    let world = World::new();
    let arguments = ["--channel", "cpu", "--python", "3.11", "sympy", "yanked"];
    lock(&world, &arguments).ok();
    let expected = world.read(super::CPU);
    let plain = World::new();
    plain.server().configure(|options| options.json = false);
    lock(&plain, &arguments).ok();
    assert_eq!(pins(&plain, "cpu"), pins(&world, "cpu"));
    let bare = World::new();
    bare.server().configure(|options| {
        options.json = false;
        options.digests = false;
        options.index_core_metadata = false;
    });
    let output = lock(&bare, &arguments).ok();
    assert!(output.stderr.contains("states no digest of sympy-1.14.0"), "{output}");
    // Hashed after a download, the file is that of an index that states them.
    let hashes = |text: &str| {
        text.lines()
            .filter(|line| line.contains("sha256"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(hashes(&bare.read(super::CPU)).len(), hashes(&expected).len());
    for digest in [
        wheel(Shelf::Index, "sympy", "1.14.0"),
        wheel(Shelf::Index, "mpmath", "1.3.0"),
    ] {
        assert!(bare.read(super::CPU).contains(&digest.sha256));
    }
}

#[test]
fn offline_locking_uses_the_pages_of_before() {
    let world = World::new();
    lock(&world, &["--channel", "cpu", "--python", "3.11", "sympy"]).ok();
    let before = world.read(super::CPU);
    std::fs::remove_file(world.project().join(super::CPU)).expect("it was written");
    world.server().clear_log();
    lock(&world, &["--channel", "cpu", "--python", "3.11", "sympy", "--offline"]).ok();
    assert_eq!(world.read(super::CPU), before);
    let output = lock(&world, &["--channel", "cpu", "filelock", "--offline"]);
    crate::steps::assert_error(output, 4, &["filelock", "offline"]);
    world.server().assert_no_requests();
}
