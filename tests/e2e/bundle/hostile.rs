//! Bundles that are damaged or lie.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::{Elsewhere, arg, built, export};
use crate::steps::{assert_error, names};
use crate::support::encoding::sha256;
use crate::support::world::World;

/// Imports where nothing was; fails unless it is refused with this code, naming every part, and shows nothing.
#[track_caller]
fn refused(world: &World, bundle: &Path, code: i32, parts: &[&str]) {
    let elsewhere = Elsewhere::new(world, "victim");
    let before = (elsewhere.wheels(), names(&elsewhere.path("store/wheels")));
    assert_error(elsewhere.flambeau(&["import", arg(bundle)]), code, parts);
    assert!(names(&elsewhere.path("project")).is_empty());
    assert_eq!((elsewhere.wheels(), names(&elsewhere.path("store/wheels"))), before);
    assert_error(elsewhere.flambeau(&["import", arg(bundle), "--check"]), code, parts);
}

/// Every entry of a plain archive: its path and bytes.
fn entries(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(fs::File::open(path).expect("written"));
    let entries = archive.entries().expect("an archive");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("readable");
            (entry.path().expect("a path").display().to_string(), bytes)
        })
        .collect()
}

fn pack(path: PathBuf, entries: &[(String, Vec<u8>)]) -> PathBuf {
    let mut builder = tar::Builder::new(fs::File::create(&path).expect("writable"));
    for (name, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, bytes.as_slice())
            .expect("written");
    }
    builder.into_inner().expect("written").flush().expect("written");
    path
}

/// Replaces text in the document, which stands first.
fn with_document(entries: &[(String, Vec<u8>)], from: &str, to: &str) -> Vec<(String, Vec<u8>)> {
    let mut entries = entries.to_vec();
    let document = String::from_utf8(entries[0].1.clone()).expect("text");
    assert!(document.contains(from), "{from}");
    entries[0].1 = document.replace(from, to).into_bytes();
    entries
}

#[test]
fn damaged_files_are_named_and_never_visible() {
    let Some((world, _)) = built() else { return };
    let (folder, document) = export(&world, "folder", &[]);
    // The first wheel, so that nothing is imported before it.
    let wheel = names(&folder)
        .into_iter()
        .find(|name| name.ends_with(".whl"))
        .expect("a wheel");
    let whole = fs::read(folder.join(&wheel)).expect("there");
    let mut flipped = whole.clone();
    flipped[100] ^= 1;
    fs::write(folder.join(&wheel), &flipped).expect("writable");
    refused(&world, &folder, 3, &[&wheel, &sha256(&whole), &sha256(&flipped)]);
    fs::write(folder.join(&wheel), &whole[1..]).expect("writable");
    refused(&world, &folder, 3, &[&wheel, "bytes"]);
    fs::remove_file(folder.join(&wheel)).expect("there");
    std::os::unix::fs::symlink("/etc/passwd", folder.join(&wheel)).expect("free");
    refused(&world, &folder, 3, &[&wheel, "symbolic link"]);
    fs::remove_file(folder.join(&wheel)).expect("there");
    fs::write(folder.join(&wheel), &whole).expect("writable");

    let elsewhere = Elsewhere::new(&world, "expecting");
    let output = elsewhere.flambeau(&["import", arg(&folder), "--expect", &"0".repeat(64)]);
    assert_error(
        output,
        3,
        &[document["digest"].as_str().expect("text"), &"0".repeat(64)],
    );
    assert!(elsewhere.wheels().is_empty());

    let keys = fs::read_to_string(folder.join("lockfiles/pylock.cpu.toml")).expect("there");
    fs::write(folder.join("lockfiles/pylock.cpu.toml"), format!("{keys}\n")).expect("writable");
    refused(&world, &folder, 3, &["lockfiles/pylock.cpu.toml"]);
}

#[test]
fn archives_that_lie_are_refused() {
    let Some((world, first)) = built() else { return };
    let (path, _) = export(&world, "b.tar", &[]);
    let good = entries(&path);
    let make = |name: &str, entries: &[(String, Vec<u8>)]| pack(world.path(name), entries);
    // Repacked as it is, it is still a bundle.
    let same = make("same.tar", &good);
    Elsewhere::new(&world, "same").flambeau(&["import", arg(&same)]).ok();

    let mut extra = good.clone();
    extra.insert(3, ("evil.pth".to_owned(), b"import os".to_vec()));
    refused(&world, &make("extra.tar", &extra), 3, &["evil.pth", "should be"]);
    let mut late = good.clone();
    late.swap(0, 1);
    refused(&world, &make("late.tar", &late), 1, &["is no bundle"]);
    let key = first["key"].as_str().expect("text");
    let lied = with_document(&good, key, &"a".repeat(64));
    refused(
        &world,
        &make("key.tar", &lied),
        3,
        &["contradicts itself", key, &"a".repeat(64)],
    );
    let escaping = with_document(&good, "\"lockfiles/pylock.cpu.toml\"", "\"../pylock.cpu.toml\"");
    refused(&world, &make("escaping.tar", &escaping), 3, &["document"]);
    let newer = with_document(&good, "\"schema\": 1", "\"schema\": 9");
    refused(&world, &make("newer.tar", &newer), 1, &["schema 9"]);
    refused(&world, &make("empty.tar", &[]), 1, &["is no bundle"]);
    fs::write(world.path("text.tar"), "hello").expect("writable");
    refused(&world, &world.path("text.tar"), 1, &["is no bundle"]);

    // One wheel less than its environment needs.
    let (name, _) = good.iter().find(|(name, _)| name.starts_with("torch-")).expect("torch");
    let mut document: serde_json::Value = serde_json::from_slice(&good[0].1).expect("JSON");
    let files = document["files"].as_array_mut().expect("rows");
    files.retain(|row| row["path"] != name.as_str());
    let mut less = good.clone();
    less[0].1 = serde_json::to_vec(&document).expect("JSON");
    less.retain(|(other, _)| other != name);
    refused(&world, &make("less.tar", &less), 3, &["contradicts itself", name]);
}

#[test]
fn archives_that_end_early_say_what_is_missing() {
    let Some((world, _)) = built() else { return };
    let (path, _) = export(&world, "b.tar", &[]);
    let bytes = fs::read(&path).expect("written");
    let elsewhere = Elsewhere::new(&world, "elsewhere");
    for end in [513, bytes.len() / 2, bytes.len() - 2000] {
        fs::write(&path, &bytes[..end]).expect("writable");
        assert_error(elsewhere.flambeau(&["import", arg(&path)]), 3, &["ends too early"]);
        assert!(names(&elsewhere.path("project/lockfiles")).is_empty());
    }
    let (cut, _) = export(&world, "cut.tar", &["--split", "30kB"]);
    let second = world.path("cut.tar.002");
    let aside = world.path("aside");
    fs::rename(&second, &aside).expect("there");
    assert_error(
        elsewhere.flambeau(&["import", arg(&cut)]),
        1,
        &["there is no", "cut.tar.002", "goes on"],
    );
    fs::rename(&aside, &second).expect("free");
    elsewhere.flambeau(&["import", arg(&world.path("cut.tar.001"))]).ok();
}

#[test]
fn trees_that_lie_are_refused() {
    let Some((world, _)) = built() else { return };
    let (path, _) = export(&world, "trees.tar", &["--trees"]);
    let good = entries(&path);
    let swap = |at: usize, from: &str, to: &str| {
        let old = String::from_utf8(good[at].1.clone()).expect("text");
        assert!(old.contains(from));
        let new = old.replacen(from, to, 1);
        let mut entries = with_document(&good, &sha256(old.as_bytes()), &sha256(new.as_bytes()));
        let sizes = (
            format!(
                "\"size\": {},\n      \"sha256\": \"{}\"",
                old.len(),
                sha256(new.as_bytes())
            ),
            new.len(),
        );
        entries = with_document(
            &entries,
            &sizes.0,
            &format!(
                "\"size\": {},\n      \"sha256\": \"{}\"",
                sizes.1,
                sha256(new.as_bytes())
            ),
        );
        entries[at].1 = new.into_bytes();
        pack(world.path("lying.tar"), &entries)
    };
    let at = |end: &str| good.iter().position(|(name, _)| name.ends_with(end)).expect("there");
    let facts = at("/facts.json");
    refused(
        &world,
        &swap(facts, "\"count\":", "\"bytes\":1,\"count\":"),
        3,
        &["is refused"],
    );
    refused(
        &world,
        &swap(facts, "\"version\":\"", "\"version\":\"9"),
        3,
        &["its name is not that of its wheel"],
    );
    let manifest = at("/manifest.json");
    refused(
        &world,
        &swap(manifest, "\"path\":\"lib/", "\"path\":\"../lib/"),
        3,
        &["is refused"],
    );
    refused(
        &world,
        &swap(manifest, "\"size\":", "\"executable\":true,\"size\":"),
        3,
        &["is refused"],
    );
    // A file that is not what the manifest says.
    let mut entries = good.clone();
    let file = at(".py");
    let mut bytes = entries[file].1.clone();
    for byte in &mut bytes {
        *byte ^= 1;
    }
    entries[file].1 = bytes;
    let name = entries[file].0.clone();
    let path = pack(world.path("changed.tar"), &entries);
    if !entries[file].1.is_empty() {
        assert_error(
            Elsewhere::new(&world, "v2").flambeau(&["import", arg(&path)]),
            3,
            &[&name],
        );
    }
}
