//! Members that are there twice, or once too few: in the directory, in the archive, under one name.

use super::super::zip::{Lies, Member};
use super::{Made, accepted, cases, demo, edited, lying, put, refused, refused_bytes, spoiled};

cases![
    one_name_twice,
    one_name_twice_same_bytes,
    init_replaced,
    folder_twice,
    file_and_folder,
    file_below_a_file,
    names_that_differ_in_case,
    names_that_differ_in_normal_form,
    member_that_only_streams_see,
    member_that_only_the_directory_has,
    overlapping_members,
    nested_overlap,
    counts_too_few,
    counts_too_many,
    directory_size_too_small,
    directory_offset_off_by_one,
    bytes_between_members,
    bytes_after_the_last_member,
    bytes_inside_the_directory,
];

fn one_name_twice() -> Made {
    let wheel = demo()
        .file("demo/evil.py", "y = 2\n")
        .raw_member("demo/evil.py", "y = 3\n");
    refused(wheel, &["demo/evil.py", "same name"])
}

fn one_name_twice_same_bytes() -> Made {
    let wheel = demo()
        .file("demo/evil.py", "y = 2\n")
        .raw_member("demo/evil.py", "y = 2\n");
    refused(wheel, &["demo/evil.py", "same name"])
}

fn init_replaced() -> Made {
    refused(
        demo().raw_member("demo/__init__.py", "import os\n"),
        &["demo/__init__.py", "same name"],
    )
}

fn folder_twice() -> Made {
    let wheel = demo()
        .member(Member::directory("demo/sub/"))
        .member(Member::directory("demo/sub/"));
    refused(wheel, &["demo/sub/", "same name"])
}

fn file_and_folder() -> Made {
    let wheel = demo().file("demo/evil", "y").member(Member::directory("demo/evil/"));
    refused(wheel, &["demo/evil", "same name"])
}

fn file_below_a_file() -> Made {
    let wheel = demo().file("demo/evil", "y").file("demo/evil/x.py", "y = 2\n");
    refused(wheel, &["demo/evil/x.py", "needs a folder"])
}

/// Two files where names have a case; Linux headers in the wheels of zig have such names. Where the store's file
/// system makes them one, the second is refused when it is written.
fn names_that_differ_in_case() -> Made {
    accepted(
        demo()
            .file("demo/xt_MARK.h", "upper\n")
            .file("demo/xt_mark.h", "lower\n"),
    )
}

fn names_that_differ_in_normal_form() -> Made {
    accepted(
        demo()
            .file("demo/\u{e9}.py", "a = 1\n")
            .file("demo/e\u{301}.py", "a = 2\n"),
    )
}

fn member_that_only_streams_see() -> Made {
    let lies = Lies {
        hidden: true,
        ..Lies::default()
    };
    refused(demo().member(lying("sitecustomize.py", lies)), &["belong to no member"])
}

/// The directory has two members where the archive has one.
fn member_that_only_the_directory_has() -> Made {
    let evil = lying(
        "demo/evil.py",
        Lies {
            offset: Some(0),
            ..Lies::default()
        },
    );
    let told = ["demo/", "overlaps"];
    refused(demo().listed(evil), &told)
}

fn overlapping_members() -> Made {
    // The first member claims the bytes of the second too.
    let first = Member {
        method: super::super::zip::Method::Stored,
        size: Some(60),
        lies: Lies {
            packed: Some(60),
            ..Lies::default()
        },
        ..Member::file("demo/a.py", b"y = 2\n")
    };
    refused(demo().member(first), &["overlaps"])
}

/// Many members that inflate the same bytes: the bomb of Fifield (2019) in small.
fn nested_overlap() -> Made {
    let mut wheel = demo();
    for at in 0..4 {
        wheel = wheel.member(lying(
            &format!("demo/evil{at}.py"),
            Lies {
                offset: Some(0),
                ..Lies::default()
            },
        ));
    }
    refused(wheel, &["overlaps"])
}

/// Changes the two counts of the end record.
fn counting(difference: i16) -> super::BuiltWheel {
    edited(demo(), |bytes| {
        let end = bytes.len() - 22;
        let count = u16::from_le_bytes([bytes[end + 8], bytes[end + 9]]).wrapping_add_signed(difference);
        put(bytes, end + 8, &count.to_le_bytes());
        put(bytes, end + 10, &count.to_le_bytes());
    })
}

fn counts_too_few() -> Made {
    refused_bytes(counting(-1), &["more members than it counts"])
}

fn counts_too_many() -> Made {
    refused_bytes(counting(1), &["central directory is truncated"])
}

fn shifted(at: usize, difference: i32) -> Made {
    let built = edited(demo(), |bytes| {
        let at = bytes.len() - 22 + at;
        let value = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        put(bytes, at, &value.wrapping_add_signed(difference).to_le_bytes());
    });
    refused_bytes(built, &["bytes before, between or after"])
}

fn directory_size_too_small() -> Made {
    shifted(12, -46)
}

fn directory_offset_off_by_one() -> Made {
    shifted(16, -1)
}

fn bytes_between_members() -> Made {
    spoiled(
        Lies {
            before: b"#!/bin/sh\n".to_vec(),
            ..Lies::default()
        },
        "belong to no member",
    )
}

/// Inserts bytes where the central directory begins and moves its offset.
fn bytes_after_the_last_member() -> Made {
    let built = edited(demo(), |bytes| {
        let end = bytes.len() - 22;
        let start = u32::from_le_bytes([bytes[end + 16], bytes[end + 17], bytes[end + 18], bytes[end + 19]]);
        put(bytes, end + 16, &(start + 6).to_le_bytes());
        let at = start as usize;
        bytes.splice(at..at, *b"hidden");
    });
    refused_bytes(built, &["between its last member and its central directory"])
}

/// A digital signature record (APPNOTE §4.3.13), which no wheel has.
fn bytes_inside_the_directory() -> Made {
    let built = edited(demo(), |bytes| {
        let end = bytes.len() - 22;
        let size = u32::from_le_bytes([bytes[end + 12], bytes[end + 13], bytes[end + 14], bytes[end + 15]]);
        put(bytes, end + 12, &(size + 6).to_le_bytes());
        bytes.splice(end..end, *b"PK\x05\x05\0\0");
    });
    refused_bytes(built, &["more members than it counts"])
}
