//! The whole way of a wheel: container, checks, unpacking into a folder.
//!
//! Half of the inputs are raw bytes (the corpus begins with sound wheels), half are wheels built from what the fuzzer
//! chooses, with true checksums and a true RECORD, so that it gets past those. Whatever comes out: nothing beside the
//! folder was touched, and below it are nothing but regular files and folders.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use arbitrary::Arbitrary;
use flambeau::digest::FileDigest;
use flambeau::pep::WheelFilename;
use flambeau::target::PythonMinor;
use flambeau::wheel::archive::Archive;
use flambeau::wheel::record;
use flambeau::wheel::layout::Layout;
use flambeau::wheel::plan::{Rules, plan};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/zip.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod zip;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Raw(&'a [u8]),
    Built { members: Vec<Chosen>, entry_points: Option<String>, edits: Vec<(u16, u8)> },
}

#[derive(Arbitrary, Debug)]
struct Chosen {
    place: u8,
    name: String,
    bytes: Vec<u8>,
    mode: u16,
    stored: bool,
    descriptor: bool,
    zip64: bool,
    unlisted: bool,
}

const PLACES: [&str; 12] = [
    "",
    "demo/",
    "demo/__init__.py",
    "demo-1.0.data/",
    "demo-1.0.data/data/",
    "demo-1.0.data/scripts/",
    "demo-1.0.data/purelib/",
    "demo-1.0.data/headers/",
    "demo-1.0.dist-info/",
    "demo-1.0.dist-info/RECORD.jws",
    "demo-1.0.data/data/lib/python3.11/site-packages/",
    "demo-1.0.data/data/bin/",
];

fn build(chosen: Vec<Chosen>, entry_points: Option<String>, edits: &[(u16, u8)]) -> Vec<u8> {
    let mut rows = BTreeMap::from([("demo-1.0.dist-info/RECORD".to_owned(), None)]);
    let mut members = Vec::new();
    let mut add = |member: zip::Member, listed: bool| {
        if listed && !member.name.ends_with('/') {
            rows.insert(member.name.clone(), Some((FileDigest::of(&member.bytes), member.bytes.len() as u64)));
        }
        members.push(member);
    };
    for one in chosen {
        let name = format!("{}{}", PLACES[usize::from(one.place) % PLACES.len()], one.name);
        if name.len() > usize::from(u16::MAX) {
            continue;
        }
        let mode = if one.mode & 7 == 0 { u32::from(one.mode) } else { 0o100_644 | u32::from(one.mode & 0o111) };
        let method = if one.stored { zip::Method::Stored } else { zip::Method::Deflated };
        let member = zip::Member {
            mode,
            method,
            descriptor: one.descriptor,
            zip64: one.zip64,
            ..zip::Member::file(&name, &one.bytes)
        };
        add(member, !one.unlisted);
    }
    let mut describe = |file: &str, text: &str| {
        add(zip::Member::file(&format!("demo-1.0.dist-info/{file}"), text.as_bytes()), true);
    };
    describe("METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n");
    describe("WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n");
    if let Some(text) = entry_points {
        describe("entry_points.txt", &text);
    }
    members.push(zip::Member::file("demo-1.0.dist-info/RECORD", &record::write(&rows)));
    let mut bytes = zip::archive(&members);
    for (at, value) in edits.iter().take(4) {
        let at = usize::from(*at) % bytes.len();
        bytes[at] = *value;
    }
    bytes
}

fn check_below(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let kind = entry.file_type().expect("its kind");
        assert!(kind.is_file() || kind.is_dir(), "{entry:?}");
        if kind.is_dir() {
            check_below(&entry.path());
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let built;
    let bytes = match input {
        Input::Raw(bytes) => bytes,
        Input::Built { members, entry_points, edits } => {
            built = build(members, entry_points, &edits);
            built.as_slice()
        }
    };
    let filename: WheelFilename = "demo-1.0-py3-none-any.whl".parse().expect("a wheel name");
    let rules = Rules {
        reserved: flambeau::env::runtime::owns,
        ..Rules::new(Layout::new(PythonMinor::new(11)))
    };
    let Ok(archive) = Archive::open(bytes) else { return };
    let Ok(plan) = plan(&archive, &filename, rules) else { return };
    if plan.bytes() > 1 << 24 {
        return;
    }
    let outer = tempfile::tempdir().expect("a scratch folder");
    let root = outer.path().join("root");
    std::fs::create_dir(&root).expect("a folder");
    let count = match plan.write(&root) {
        Ok(unpacked) => Some(unpacked.finish(&root, Vec::new()).expect("a RECORD").len()),
        Err(_) => None,
    };
    check_below(&root);
    assert_eq!(std::fs::read_dir(outer.path()).expect("a folder").count(), 1);
    assert!(count.is_none_or(|count| count >= 3));
});
