//! Odd wheels that must be installed: each has something that real ones have.

use super::super::zip::{Lies, Member, Method, extra_field};
use super::{Made, Verdict, accepted, cases, demo, edited, lying, put};
use crate::support::encoding::urlsafe_base64;
use crate::support::wheel::Wheel;
use sha2::Digest as _;

cases![
    plain,
    stored,
    data_descriptors,
    zip64,
    zip64_with_descriptors,
    folder_entries,
    empty_folder,
    every_scheme,
    digests_by_sha512,
    record_with_crlf,
    record_with_a_byte_order_mark,
    record_with_quoted_commas,
    signatures_of_record,
    name_not_normalised,
    version_only_equal,
    local_version,
    build_tag,
    mode_zero,
    dos_archive_attribute,
    vendored_dist_info,
    archive_in_an_archive,
    archive_comment,
    bytecode_of_its_own,
    entry_points_of_all_kinds,
    script_beside_its_entry_point,
    python_scripts,
    names_in_other_alphabets,
    unicode_extra_that_agrees,
    time_stamps_in_extra_fields,
    several_tags,
    wheel_file_of_the_build_machine,
    member_that_shrinks_much,
    metadata_in_latin_1,
];

fn plain() -> Made {
    accepted(demo())
}

fn stored() -> Made {
    accepted(demo().stored())
}

fn data_descriptors() -> Made {
    accepted(demo().data_descriptors())
}

fn zip64() -> Made {
    accepted(demo().zip64())
}

fn zip64_with_descriptors() -> Made {
    accepted(demo().zip64().data_descriptors())
}

fn folder_entries() -> Made {
    accepted(demo().directories())
}

fn empty_folder() -> Made {
    accepted(demo().member(Member::directory("demo/empty/")))
}

fn every_scheme() -> Made {
    let wheel = demo()
        .data("purelib", "demo/pure.py", "a = 1\n")
        .data("platlib", "demo/plat.py", "a = 1\n")
        .data("scripts", "demo-tool", "#!/bin/sh\nexit 0\n")
        .data("data", "share/demo/x.txt", "x\n")
        .data("headers", "demo.h", "int x;\n");
    accepted(wheel)
}

fn digests_by_sha512() -> Made {
    let digest = urlsafe_base64(&sha2::Sha512::digest(b"y = 2\n"));
    let row = format!("demo/b.py,sha512={digest},6");
    accepted(demo().raw_member("demo/b.py", "y = 2\n").record_line(&row))
}

/// The RECORD of `demo`, changed as text.
fn with_record(change: impl FnOnce(String) -> String) -> Made {
    let built = demo().build();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(built.bytes)).expect("a sound archive");
    let mut member = archive.by_name("demo-1.0.dist-info/RECORD").expect("RECORD");
    let text = std::io::read_to_string(&mut member).expect("text");
    drop(member);
    accepted(demo().text("RECORD", change(text)))
}

fn record_with_crlf() -> Made {
    with_record(|text| text.replace('\n', "\r\n"))
}

fn record_with_a_byte_order_mark() -> Made {
    with_record(|text| format!("\u{feff}{text}"))
}

fn record_with_quoted_commas() -> Made {
    let row = format!(
        "\"demo/a,b.txt\",sha256={},6",
        urlsafe_base64(&sha2::Sha256::digest(b"y = 2\n"))
    );
    accepted(demo().raw_member("demo/a,b.txt", "y = 2\n").record_line(&row))
}

fn signatures_of_record() -> Made {
    let wheel = demo()
        .raw_member("demo-1.0.dist-info/RECORD.jws", "{}")
        .raw_member("demo-1.0.dist-info/RECORD.p7s", "x");
    accepted(wheel)
}

fn name_not_normalised() -> Made {
    let mut built = Wheel::new("Demo.Pack", "1.0").file("demo/__init__.py", "").build();
    "demo_pack-1.0-py3-none-any.whl".clone_into(&mut built.filename);
    (built, Verdict::Accepted)
}

fn version_only_equal() -> Made {
    let mut built = demo().build();
    "demo-1.0.0-py3-none-any.whl".clone_into(&mut built.filename);
    "1.0.0".clone_into(&mut built.version);
    (built, Verdict::Accepted)
}

fn local_version() -> Made {
    accepted(Wheel::new("demo", "1.0+cu118").file("demo/__init__.py", ""))
}

fn build_tag() -> Made {
    let mut built = demo().build();
    "demo-1.0-2-py3-none-any.whl".clone_into(&mut built.filename);
    (built, Verdict::Accepted)
}

fn mode_zero() -> Made {
    let member = Member {
        mode: 0,
        ..Member::file("demo/b.py", b"y = 2\n")
    };
    accepted(demo().listed(member))
}

fn dos_archive_attribute() -> Made {
    accepted(demo().listed(lying(
        "demo/b.py",
        Lies {
            dos: 0x20,
            ..Lies::default()
        },
    )))
}

/// As setuptools carries its dependencies.
fn vendored_dist_info() -> Made {
    accepted(demo().file("demo/_vendor/other-2.0.dist-info/METADATA", "Name: other\n"))
}

fn archive_in_an_archive() -> Made {
    let inner = Member {
        method: Method::Stored,
        ..Member::file("demo/inner.zip", &demo().build().bytes)
    };
    accepted(demo().listed(inner))
}

fn archive_comment() -> Made {
    let built = edited(demo(), |bytes| {
        let at = bytes.len() - 2;
        put(bytes, at, &[9, 0]);
        bytes.extend_from_slice(b"a comment");
    });
    (built, Verdict::Accepted)
}

fn bytecode_of_its_own() -> Made {
    accepted(
        demo()
            .file("demo/__pycache__/__init__.cpython-311.pyc", "not ours\n")
            .file("demo/__pycache__/other.cpython-39.pyc", "not ours\n"),
    )
}

fn entry_points_of_all_kinds() -> Made {
    let text = "# comment\n[console_scripts]\ndemo-tool = demo:x\ndemo.tool2=demo:x.y [extra]\n\n[gui_scripts]\ndemo-gui = \
                demo : x\n[other]\nanything goes\n";
    accepted(demo().text("entry_points.txt", text))
}

/// Older builds bring the script that the entry point makes, too; installers write their own.
fn script_beside_its_entry_point() -> Made {
    let wheel = demo()
        .entry_point("console_scripts", "demo-tool", "demo:x")
        .data("scripts", "demo-tool", "#!python\n");
    accepted(wheel)
}

fn python_scripts() -> Made {
    let wheel = demo()
        .data("scripts", "demo-a", "#!python\nprint(1)\n")
        .data("scripts", "demo-b", "#!pythonw\nprint(1)\n")
        .data("scripts", "python-demo-check", "#!/bin/sh\n");
    accepted(wheel)
}

fn names_in_other_alphabets() -> Made {
    accepted(
        demo()
            .file("demo/größe.py", "x = 1\n")
            .file("demo/数据/файл.txt", "x\n"),
    )
}

fn unicode_extra_that_agrees() -> Made {
    let name = "demo/größe.py";
    let body = [
        &[1],
        &crc32fast::hash(name.as_bytes()).to_le_bytes()[..],
        name.as_bytes(),
    ]
    .concat();
    let extra = extra_field(0x7075, &body);
    let local_extra = extra.clone();
    accepted(demo().listed(lying(
        name,
        Lies {
            extra,
            local_extra,
            ..Lies::default()
        },
    )))
}

fn time_stamps_in_extra_fields() -> Made {
    accepted(demo().listed(lying(
        "demo/b.py",
        Lies {
            extra: extra_field(0x5455, &[3, 0, 0, 0, 0]),
            local_extra: extra_field(0x5455, &[3, 0, 0, 0, 0, 0, 0, 0, 0]),
            ..Lies::default()
        },
    )))
}

fn several_tags() -> Made {
    accepted(demo().tag("py2.py3-none-any"))
}

/// `linux_x86_64` became `manylinux_2_28_x86_64` after the build, in the file name alone.
fn wheel_file_of_the_build_machine() -> Made {
    let text = "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-linux_x86_64\n";
    accepted(demo().tag("py3-none-manylinux_2_28_x86_64").text("WHEEL", text))
}

/// As the padded libraries in pillow's wheels, which shrink to a 223rd.
fn member_that_shrinks_much() -> Made {
    accepted(demo().file("demo/padded.bin", vec![0; 2 << 20]))
}

fn metadata_in_latin_1() -> Made {
    let text = b"Metadata-Version: 1.1\nName: demo\nVersion: 1.0\nAuthor: Ren\xe9\n";
    accepted(demo().text("METADATA", text))
}
