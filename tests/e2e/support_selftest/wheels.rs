//! Wheels: an independent ZIP reader opens them, RECORD is right, the shared objects find one another.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::encoding::{sha256_in_record, urlsafe_base64};
use crate::support::family::{self, Shelf};
use crate::support::wheel::{BuiltWheel, Wheel};
use crate::support::world::World;
use crate::support::zip::Member;

/// Every member's bytes and mode, read by the `zip` crate, which also checks the checksums.
fn members(wheel: &BuiltWheel) -> BTreeMap<String, (Vec<u8>, u32)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(&wheel.bytes)).expect("a ZIP archive");
    let mut members = BTreeMap::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).expect("a member");
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).expect("a right checksum");
        let mode = member.unix_mode().expect("a Unix mode");
        members.insert(member.name().expect("UTF-8").into_owned(), (bytes, mode));
    }
    members
}

/// What RECORD says, against what is there.
fn record_faults(wheel: &BuiltWheel) -> Vec<String> {
    let mut members = members(wheel);
    members.retain(|name, _| !name.ends_with('/'));
    let record = members
        .keys()
        .find(|name| name.ends_with(".dist-info/RECORD"))
        .cloned()
        .expect("a RECORD");
    let (text, _) = members.remove(&record).expect("it was just found");
    let mut faults = Vec::new();
    for line in String::from_utf8(text).expect("UTF-8").lines() {
        let mut fields = line.rsplitn(3, ',');
        let (size, digest, path) = (fields.next(), fields.next(), fields.next().expect("three fields"));
        if path == record {
            continue;
        }
        match members.remove(path) {
            None => faults.push(format!("missing {path}")),
            Some((bytes, _)) => {
                let wanted = sha256_in_record(&bytes);
                if digest != Some(&wanted) || size != Some(&bytes.len().to_string()) {
                    faults.push(format!("differs {path}"));
                }
            }
        }
    }
    faults.extend(members.keys().map(|path| format!("unrecorded {path}")));
    faults
}

#[test]
fn base64_is_that_of_the_rfc() {
    let table: [(&[u8], &str); 5] = [
        (b"", ""),
        (b"f", "Zg"),
        (b"fo", "Zm8"),
        (b"foo", "Zm9v"),
        (&[0xfb, 0xff, 0xfe], "-__-"),
    ];
    for (bytes, text) in table {
        assert_eq!(urlsafe_base64(bytes), text);
    }
}

#[test]
fn every_family_wheel_has_a_right_record_and_its_own_name() {
    let mut count = 0;
    let mut shelves = vec![Shelf::Index, Shelf::Root];
    shelves.extend(family::CHANNELS.map(Shelf::Channel));
    for shelf in shelves {
        for project in family::projects(shelf) {
            for wheel in family::wheels(shelf, project) {
                assert_eq!(wheel.project(), project);
                assert_eq!(record_faults(wheel), Vec::<String>::new(), "{}", wheel.filename);
                count += 1;
            }
        }
    }
    assert!(count > 150, "only {count} wheels");
}

#[test]
fn the_cu118_wheel_says_what_the_real_one_says() {
    let torch = family::wheel(Shelf::Channel("cu118"), "torch", "2.7.0+cu118-cp311");
    assert_eq!(
        torch.filename,
        "torch-2.7.0+cu118-cp311-cp311-manylinux_2_28_x86_64.whl"
    );
    let requires: Vec<_> = torch
        .metadata
        .lines()
        .filter_map(|line| line.strip_prefix("Requires-Dist: "))
        .collect();
    assert_eq!(requires.len(), 21);
    assert_eq!(requires[2], "setuptools; python_version >= \"3.12\"");
    assert_eq!(
        requires[10],
        "nvidia-cudnn-cu11==9.1.0.70; platform_system == \"Linux\" and platform_machine == \"x86_64\""
    );
    let members = members(&torch);
    let text = |name: &str| String::from_utf8(members[name].0.clone()).expect("UTF-8");
    assert_eq!(
        text("torch-2.7.0+cu118.dist-info/WHEEL"),
        "Wheel-Version: 1.0\nGenerator: flambeau-tests (1)\nRoot-Is-Purelib: false\nTag: cp311-cp311-manylinux_2_28_x86_64\n\n"
    );
    assert_eq!(
        text("torch-2.7.0+cu118.dist-info/top_level.txt"),
        "functorch\ntorch\ntorchgen\n"
    );
    assert!(text("torch/version.py").contains("cuda: Optional[str] = '11.8'"));
    assert_eq!(members["torch/bin/torch_shm_manager"].1 & 0o7777, 0o755);
    assert_eq!(members["torch/lib/"].1, 0o040_755);
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    let make = || Wheel::new("a", "1").file("a.py", "1").executable("b", "2").build();
    assert_eq!(make().bytes, make().bytes);
    assert_eq!(make().filename, "a-1-py3-none-any.whl");
}

#[test]
fn other_zip_forms_read_the_same() {
    let wheel = || {
        Wheel::new("forms", "1")
            .file("forms.py", "x = 1\n".repeat(100))
            .file("empty", "")
            .directories()
    };
    let plain = members(&wheel().build());
    for built in [
        wheel().stored().build(),
        wheel().zip64().build(),
        wheel().data_descriptors().build(),
        wheel().zip64().data_descriptors().build(),
    ] {
        assert_eq!(members(&built), plain);
        assert_ne!(built.bytes, wheel().build().bytes);
    }
}

#[test]
fn broken_wheels_are_broken_as_asked() {
    let wheel = || Wheel::new("broken", "1").file("one.py", "1").file("two.py", "2");
    assert_eq!(
        record_faults(&wheel().record_line("three.py,sha256=x,1").build()),
        ["missing three.py"]
    );
    assert_eq!(
        record_faults(&wheel().record_replace("one.py", "one.py,sha256=x,1").build()),
        ["differs one.py"]
    );
    assert_eq!(
        record_faults(&wheel().record_replace("one.py", "").build()),
        ["unrecorded one.py"]
    );
    assert_eq!(
        record_faults(&wheel().raw_member("../evil", "e").build()),
        ["unrecorded ../evil"]
    );
    assert!(
        !members(&wheel().without_record().build())
            .keys()
            .any(|name| name.ends_with("RECORD"))
    );

    let wrong_checksum = Member {
        crc32: Some(1),
        ..Member::file("three.py", b"3")
    };
    let built = wheel().member(wrong_checksum).build();
    let mut archive = zip::ZipArchive::new(Cursor::new(&built.bytes)).expect("the directory is right");
    let mut text = String::new();
    assert!(
        archive
            .by_name("three.py")
            .expect("a member")
            .read_to_string(&mut text)
            .is_err()
    );

    // A name that stands twice: both are in the bytes, whatever a reader makes of them.
    let twice = wheel().raw_member("one.py", "other").build();
    let names = twice.bytes.windows(6).filter(|window| *window == b"one.py").count();
    assert_eq!(names, 4, "two local headers and two central ones");
}

/// Unpacks wheels over one another, as pip does, so far as these wheels need it.
fn unpack(wheels: &[&BuiltWheel], folder: &Path) {
    for wheel in wheels {
        for (name, (bytes, mode)) in members(wheel) {
            let path = folder.join(&name);
            if name.ends_with('/') {
                continue;
            }
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
            std::fs::write(&path, bytes).expect("a writable folder");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode & 0o777)).expect("our file");
        }
    }
}

#[test]
fn shared_objects_find_one_another_by_where_they_lie() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let version = format!("2.7.0+cu118-{}", python.tag());
    let torch = family::wheel(Shelf::Channel("cu118"), "torch", &version);
    let cublas = family::wheel(Shelf::Index, "nvidia-cublas-cu11", "manylinux2014");
    let cudnn = family::wheel(Shelf::Index, "nvidia-cudnn-cu11", "manylinux2014");
    let site = world.path("site");
    unpack(&[&torch, &cublas, &cudnn], &site);
    let ask = |program: &str| {
        let mut command = world.command(&python.path);
        command.args(["-c", program]).env("PYTHONPATH", &site);
        world.run(command)
    };
    let answer = ask("import torch; print(torch.answer(), torch.backends.cudnn.version(), torch.version.cuda)").ok();
    assert_eq!(answer.text(), "118 90100 11.8");
    let late = ask("import torch; print(torch.nn.STAMP, (torch.ones(2, 3) @ torch.ones(3, 2)).sum().item())").ok();
    assert_eq!(late.text(), "2.7.0+cu118 12.0");
    let program = world.run(world.command(site.join("torch/bin/torch_shm_manager"))).ok();
    assert_eq!(program.text(), "118");

    std::fs::remove_dir_all(site.join("nvidia/cublas")).expect("it was unpacked");
    assert!(ask("import torch").fails(1).stderr.contains("libcublas.so.11"));
}
