//! RECORD against the files.

use super::{Made, cases, demo, refused};

cases![
    no_record,
    digest_is_wrong,
    size_is_wrong,
    file_without_a_row,
    hook_without_a_row,
    file_without_a_digest,
    metadata_without_a_row,
    row_without_a_file,
    row_twice,
    row_to_a_parent,
    row_to_an_absolute_path,
    row_with_backslashes,
    row_with_a_dot_component,
    row_of_a_folder,
    row_of_two_fields,
    row_of_four_fields,
    digest_by_md5,
    digest_by_sha1,
    digest_by_an_unknown_algorithm,
    digest_that_is_cut,
    digest_in_hexadecimal,
    size_that_is_no_number,
    not_utf8,
    script_with_another_digest,
    signature_with_a_wrong_row,
];

/// Of the empty file.
const NOTHING: &str = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

fn no_record() -> Made {
    refused(demo().without_record(), &["demo-1.0.dist-info/RECORD", "missing"])
}

fn replaced(row: &str, told: &str) -> Made {
    let wheel = demo()
        .file("demo/evil.py", "y = 2\n")
        .record_replace("demo/evil.py", row);
    refused(wheel, &["demo/evil.py", told])
}

fn digest_is_wrong() -> Made {
    replaced(&format!("demo/evil.py,{NOTHING},6"), "does not match its digest")
}

fn size_is_wrong() -> Made {
    replaced(
        "demo/evil.py,sha256=hTAJk55QDShTrH1ZaaqkbXgJq6UXNvYmc1x8Z1C6cLY,7",
        "does not match its digest or size",
    )
}

fn file_without_a_row() -> Made {
    refused(
        demo().raw_member("demo/evil.py", "y = 2\n"),
        &["demo/evil.py", "not in RECORD"],
    )
}

/// What an attacker adds to a wheel whose RECORD is signed or compared elsewhere.
fn hook_without_a_row() -> Made {
    refused(
        demo().raw_member("evil.pth", "import os\n"),
        &["evil.pth", "not in RECORD"],
    )
}

fn file_without_a_digest() -> Made {
    replaced("demo/evil.py,,", "no digest in RECORD")
}

fn metadata_without_a_row() -> Made {
    refused(
        demo().record_replace("demo-1.0.dist-info/METADATA", ""),
        &["demo-1.0.dist-info/METADATA", "not in RECORD"],
    )
}

fn with_row(row: &str, told: &[&str]) -> Made {
    refused(demo().record_line(row), told)
}

fn row_without_a_file() -> Made {
    with_row(
        &format!("demo/evil.py,{NOTHING},0"),
        &["demo/evil.py", "not in the wheel"],
    )
}

fn row_twice() -> Made {
    with_row(&format!("demo/__init__.py,{NOTHING},0"), &["demo/__init__.py", "twice"])
}

/// uv before 0.11.6 deleted what such a row names when it uninstalled (GHSA-pjjw-68hj-v9mw).
fn row_to_a_parent() -> Made {
    with_row("../../../../victim.txt,,", &["../../../../victim.txt", "`.` or `..`"])
}

fn row_to_an_absolute_path() -> Made {
    with_row("/etc/passwd,,", &["/etc/passwd", "absolute"])
}

fn row_with_backslashes() -> Made {
    with_row("..\\..\\victim.txt,,", &["victim.txt", "backslash"])
}

fn row_with_a_dot_component() -> Made {
    with_row("./demo/__init__.py,,", &["./demo/__init__.py", "`.` or `..`"])
}

fn row_of_a_folder() -> Made {
    with_row("demo/,,", &["demo/", "empty"])
}

fn row_of_two_fields() -> Made {
    with_row("demo/evil.py,", &["2 fields"])
}

fn row_of_four_fields() -> Made {
    with_row("demo/evil.py,,,", &["4 fields"])
}

fn digest_by_md5() -> Made {
    replaced("demo/evil.py,md5=1B2M2Y8AsgTpgAmY7PhCfg,6", "md5=")
}

fn digest_by_sha1() -> Made {
    replaced("demo/evil.py,sha1=2jmj7l5rSw0yVb_vlWAYkK_YBwk,6", "sha1=")
}

fn digest_by_an_unknown_algorithm() -> Made {
    replaced("demo/evil.py,rot13=abcd,6", "rot13=")
}

fn digest_that_is_cut() -> Made {
    replaced("demo/evil.py,sha256=47DEQpj8HBSa,6", "sha256=47DEQpj8HBSa")
}

fn digest_in_hexadecimal() -> Made {
    let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    replaced(&format!("demo/evil.py,sha256={hex},6"), hex)
}

fn size_that_is_no_number() -> Made {
    replaced(&format!("demo/evil.py,{NOTHING},many"), "size `many`")
}

fn not_utf8() -> Made {
    refused(
        demo().text("RECORD", b"demo/\xff.py,,\n"),
        &["RECORD", "comma-separated"],
    )
}

/// Python scripts are rewritten, and checked before that.
fn script_with_another_digest() -> Made {
    let path = "demo-1.0.data/scripts/evil";
    let wheel = demo()
        .data("scripts", "evil", "#!python\nprint(1)\n")
        .record_replace(path, &format!("{path},{NOTHING},18"));
    refused(wheel, &[path, "does not match its digest"])
}

/// Signatures need no row, but a row must be true.
fn signature_with_a_wrong_row() -> Made {
    let path = "demo-1.0.dist-info/RECORD.jws";
    let wheel = demo()
        .raw_member(path, "{}")
        .record_line(&format!("{path},{NOTHING},2"));
    refused(wheel, &[path, "does not match its digest"])
}
