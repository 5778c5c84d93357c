//! The archive as a whole: what is around it, its end records, its comment.

use super::super::wheel::BuiltWheel;
use super::{Made, cases, demo, edited, put, refused_bytes};

cases![
    bytes_before,
    bytes_after,
    newline_after,
    two_archives,
    archive_before,
    empty_file,
    no_archive,
    truncated,
    second_end_record,
    comment_with_an_archive,
    comment_with_a_directory,
    comment_is_cut,
    several_disks,
    zip64_end_is_missing,
    zip64_end_is_elsewhere,
    zip64_end_with_further_data,
    zip64_end_twice,
    zip64_end_contradicts,
    zip64_end_on_another_disk,
    zip64_end_without_locator,
];

fn changed(edit: impl FnOnce(&mut Vec<u8>), told: &str) -> Made {
    refused_bytes(edited(demo(), edit), &[told])
}

fn bytes_before() -> Made {
    changed(
        |bytes| drop(bytes.splice(0..0, *b"#!/bin/sh\nexit\n")),
        "before, between or after",
    )
}

fn bytes_after() -> Made {
    changed(|bytes| bytes.extend_from_slice(b"hidden"), "no end record")
}

fn newline_after() -> Made {
    changed(|bytes| bytes.push(b'\n'), "no end record")
}

fn other() -> BuiltWheel {
    demo().file("demo/evil.py", "y = 2\n").build()
}

fn two_archives() -> Made {
    changed(
        |bytes| bytes.extend_from_slice(&other().bytes),
        "before, between or after",
    )
}

/// As self-extracting archives have it, with all offsets right.
fn archive_before() -> Made {
    changed(
        |bytes| drop(bytes.splice(0..0, other().bytes)),
        "before, between or after",
    )
}

fn empty_file() -> Made {
    changed(Vec::clear, "too short")
}

fn no_archive() -> Made {
    changed(|bytes| *bytes = b"not an archive\n".repeat(40), "no end record")
}

fn truncated() -> Made {
    changed(|bytes| bytes.truncate(bytes.len() / 2), "no end record")
}

/// Appends a comment and states its length.
fn comment(bytes: &mut Vec<u8>, comment: &[u8]) {
    let at = bytes.len() - 2;
    let len = u16::try_from(comment.len()).expect("short");
    put(bytes, at, &len.to_le_bytes());
    bytes.extend_from_slice(comment);
}

/// Both records reach to the end of the file, and each points to a directory.
fn second_end_record() -> Made {
    changed(
        |bytes| {
            let end = bytes[bytes.len() - 22..].to_vec();
            comment(bytes, &end);
        },
        "more than one end record",
    )
}

fn comment_with_an_archive() -> Made {
    changed(
        |bytes| {
            let mut inner = other().bytes;
            inner.extend_from_slice(b"....");
            comment(bytes, &inner);
        },
        "its comment holds parts of another archive",
    )
}

fn comment_with_a_directory() -> Made {
    changed(
        |bytes| comment(bytes, b"see PK\x01\x02 here"),
        "its comment holds parts of another archive",
    )
}

fn comment_is_cut() -> Made {
    changed(
        |bytes| {
            comment(bytes, b"a comment");
            bytes.truncate(bytes.len() - 4);
        },
        "no end record",
    )
}

fn several_disks() -> Made {
    changed(
        |bytes| {
            let end = bytes.len() - 22;
            put(bytes, end + 4, &[1, 0]);
        },
        "several disks",
    )
}

fn zip64_end_is_missing() -> Made {
    changed(
        |bytes| {
            let end = bytes.len() - 22;
            put(bytes, end + 16, &[0xff; 4]);
        },
        "ZIP64 end record is missing",
    )
}

/// With zip64 the end of an archive is a record of 56 bytes, a locator of 20 and the plain record of 22.
fn zip64(edit: impl FnOnce(&mut Vec<u8>, usize), told: &str) -> Made {
    let built = edited(demo().zip64(), |bytes| {
        let at = bytes.len() - 98;
        edit(bytes, at);
    });
    refused_bytes(built, &[told])
}

fn zip64_end_is_elsewhere() -> Made {
    zip64(
        |bytes, at| put(bytes, at + 56 + 8, &[1, 0, 0, 0]),
        "not where its locator says",
    )
}

/// Readers that find the record by its locator see it, others the bytes right before the locator.
fn zip64_end_with_further_data() -> Made {
    zip64(
        |bytes, at| {
            put(bytes, at + 4, &(44u64 + 8).to_le_bytes());
            bytes.splice(at + 56..at + 56, [0; 8]);
        },
        "carries further data",
    )
}

fn zip64_end_twice() -> Made {
    zip64(
        |bytes, at| {
            let record = bytes[at..at + 56].to_vec();
            bytes.splice(at..at, record);
            let moved = (at as u64 + 56).to_le_bytes();
            put(bytes, at + 56 + 56 + 8, &moved);
        },
        "before, between or after",
    )
}

fn zip64_end_contradicts() -> Made {
    zip64(
        |bytes, at| put(bytes, at + 56 + 20 + 8, &[1, 0, 1, 0]),
        "two end records disagree",
    )
}

fn zip64_end_on_another_disk() -> Made {
    zip64(|bytes, at| put(bytes, at + 16, &[1, 0, 0, 0]), "several disks")
}

fn zip64_end_without_locator() -> Made {
    zip64(
        |bytes, at| drop(bytes.drain(at + 56..at + 76)),
        "ZIP64 end record is missing",
    )
}
