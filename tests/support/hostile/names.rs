//! Names of members that lead elsewhere, or that readers take for different things.

use super::super::zip::{Lies, Member, extra_field};
use super::{Made, cases, demo, lying, refused, spoiled};

cases![
    parent_folder,
    parent_folder_inside,
    absolute,
    absolute_double_slash,
    backslash,
    backslash_parent,
    drive_letter,
    drive_letter_backslash,
    nul,
    newline,
    next_line_control,
    line_separator,
    dot_component,
    dot_component_inside,
    empty_component,
    empty_name,
    lone_surrogate,
    not_utf8,
    not_marked_as_utf8,
    long_component,
    long_path,
    deep_path,
    folder_entry_parent,
    folder_entry_absolute,
    data_parent,
    data_absolute,
    data_drive_letter,
    data_scripts_parent,
    data_scripts_subfolder,
    data_headers_parent,
    unicode_extra_of_another_name,
    unicode_extra_twice,
    unicode_extra_short,
    local_name_differs,
    local_name_is_shorter,
];

fn named(name: &str, told: &[&str]) -> Made {
    refused(demo().file(name, "y = 2\n"), told)
}

fn parent_folder() -> Made {
    named("../evil.py", &["`../evil.py`", "`.` or `..`"])
}

fn parent_folder_inside() -> Made {
    named("demo/../../../evil.py", &["demo/../../../evil.py", "`.` or `..`"])
}

fn absolute() -> Made {
    named("/tmp/flambeau-evil.py", &["/tmp/flambeau-evil.py", "absolute"])
}

fn absolute_double_slash() -> Made {
    named("//server/share/evil.py", &["//server/share/evil.py", "absolute"])
}

fn backslash() -> Made {
    named("demo\\evil.py", &["evil.py", "backslash"])
}

fn backslash_parent() -> Made {
    named("..\\..\\evil.py", &["evil.py", "backslash"])
}

fn drive_letter() -> Made {
    named("C:/evil.py", &["C:/evil.py", "drive letter"])
}

fn drive_letter_backslash() -> Made {
    named("C:\\evil.py", &["evil.py", "backslash"])
}

fn nul() -> Made {
    named("demo/evil.py\0.txt", &["evil.py", "control character"])
}

fn newline() -> Made {
    refused(
        demo().raw_member("demo/evil\n.py", "y = 2\n"),
        &["demo/evil", "control character"],
    )
}

fn next_line_control() -> Made {
    named("demo/evil\u{85}.py", &["demo/evil", "control character"])
}

fn line_separator() -> Made {
    named("demo/evil\u{2028}.py", &["demo/evil", "line separator"])
}

fn dot_component() -> Made {
    named("./demo/evil.py", &["./demo/evil.py", "`.` or `..`"])
}

fn dot_component_inside() -> Made {
    named("demo/./evil.py", &["demo/./evil.py", "`.` or `..`"])
}

fn empty_component() -> Made {
    named("demo//evil.py", &["demo//evil.py", "empty"])
}

fn empty_name() -> Made {
    refused(demo().raw_member("", "y = 2\n"), &["empty"])
}

fn raw_named(name: &[u8], told: &str) -> Made {
    let lies = Lies {
        raw_name: Some(name.to_vec()),
        ..Lies::default()
    };
    refused(demo().member(lying("demo/é.py", lies)), &["demo/", told])
}

/// U+D800 in what would be UTF-8: file names that Python cannot encode again.
fn lone_surrogate() -> Made {
    raw_named(b"demo/\xed\xa0\x80.py", "not UTF-8")
}

fn not_utf8() -> Made {
    raw_named(b"demo/\xfc.py", "not UTF-8")
}

/// Code page 437 by the letter of the standard, UTF-8 for readers that do not care.
fn not_marked_as_utf8() -> Made {
    let lies = Lies {
        no_utf8_flag: true,
        ..Lies::default()
    };
    refused(
        demo().listed(lying("demo/ü.py", lies)),
        &["demo/ü.py", "not marked as UTF-8"],
    )
}

fn long_component() -> Made {
    named(&format!("demo/{}.py", "a".repeat(253)), &["too long"])
}

fn long_path() -> Made {
    named(
        &format!("demo/{}x.py", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/".repeat(90)),
        &["too long"],
    )
}

fn deep_path() -> Made {
    named(&format!("demo/{}x.py", "a/".repeat(120)), &["folders deep"])
}

fn folder_entry_parent() -> Made {
    refused(
        demo().member(Member::directory("../evil/")),
        &["../evil/", "`.` or `..`"],
    )
}

fn folder_entry_absolute() -> Made {
    refused(
        demo().member(Member::directory("/tmp/flambeau-evil/")),
        &["/tmp/flambeau-evil/", "absolute"],
    )
}

fn data_parent() -> Made {
    named(
        "demo-1.0.data/data/../../evil.py",
        &["demo-1.0.data/data/../../evil.py", "`.` or `..`"],
    )
}

fn data_absolute() -> Made {
    named(
        "demo-1.0.data/data//tmp/flambeau-evil.py",
        &["demo-1.0.data/data//tmp/flambeau-evil.py", "empty"],
    )
}

fn data_drive_letter() -> Made {
    named("demo-1.0.data/purelib/C:/evil.py", &["C:/evil.py", "drive letter"])
}

fn data_scripts_parent() -> Made {
    named(
        "demo-1.0.data/scripts/../../evil",
        &["demo-1.0.data/scripts/../../evil", "`.` or `..`"],
    )
}

fn data_scripts_subfolder() -> Made {
    named("demo-1.0.data/scripts/sub/evil", &["sub/evil", "no file name"])
}

fn data_headers_parent() -> Made {
    named(
        "demo-1.0.data/headers/../../../evil.h",
        &["demo-1.0.data/headers/../../../evil.h", "`.` or `..`"],
    )
}

/// Info-ZIP's field 0x7075: version, CRC of the name in the header, the name to use in its place.
fn unicode_name(of: &[u8], name: &[u8]) -> Vec<u8> {
    extra_field(0x7075, &[&[1], &crc32fast::hash(of).to_le_bytes()[..], name].concat())
}

fn unicode_extra(extra: Vec<u8>, told: &str) -> Made {
    let local_extra = extra.clone();
    let lies = Lies {
        extra,
        local_extra,
        ..Lies::default()
    };
    spoiled(lies, told)
}

fn unicode_extra_of_another_name() -> Made {
    unicode_extra(unicode_name(b"demo/evil.py", b"sitecustomize.py"), "another name")
}

fn unicode_extra_twice() -> Made {
    let same = unicode_name(b"demo/evil.py", b"demo/evil.py");
    unicode_extra([same.clone(), same].concat(), "two Unicode names")
}

fn unicode_extra_short() -> Made {
    unicode_extra(extra_field(0x7075, &[1, 0, 0]), "another name")
}

fn local_name(name: &str) -> Made {
    let member = Member {
        local_name: Some(name.to_owned()),
        ..Member::file("demo/evil.py", b"y = 2\n")
    };
    refused(demo().listed(member), &["demo/evil.py", "another name"])
}

fn local_name_differs() -> Made {
    local_name("demo/good.py")
}

fn local_name_is_shorter() -> Made {
    local_name("demo/evil.p")
}
