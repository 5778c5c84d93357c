//! Members that are no regular files.

use super::super::zip::{Lies, Member, extra_field};
use super::{Made, cases, demo, refused, spoiled};

cases![
    symlink,
    symlink_to_a_parent,
    symlinked_folder,
    character_device,
    block_device,
    fifo,
    socket,
    unknown_kind,
    hard_link_by_unix_extra,
    link_by_asi_extra,
    volume_label,
    folder_by_dos_attribute,
    file_with_the_mode_of_a_folder,
    folder_with_the_mode_of_a_file,
    folder_with_content,
    folder_with_hidden_bytes,
];

fn of_mode(name: &str, mode: u32, told: &str) -> Made {
    let member = Member {
        mode,
        ..Member::file(name, b"")
    };
    refused(demo().listed(member), &[name, told])
}

fn symlink() -> Made {
    refused(
        demo().listed(Member::symlink("demo/evil", "/etc/passwd")),
        &["demo/evil", "symbolic link"],
    )
}

fn symlink_to_a_parent() -> Made {
    refused(
        demo().listed(Member::symlink("demo/evil", "../../../../..")),
        &["demo/evil", "symbolic link"],
    )
}

/// The classic: a link, then a member below it.
fn symlinked_folder() -> Made {
    let wheel = demo()
        .listed(Member::symlink("demo/evil", "/tmp"))
        .file("demo/evil/flambeau-evil.py", "y = 2\n");
    refused(wheel, &["demo/evil", "symbolic link"])
}

fn character_device() -> Made {
    of_mode("demo/evil", 0o020_666, "regular file")
}

fn block_device() -> Made {
    of_mode("demo/evil", 0o060_660, "regular file")
}

fn fifo() -> Made {
    of_mode("demo/evil", 0o010_644, "regular file")
}

fn socket() -> Made {
    of_mode("demo/evil", 0o140_755, "regular file")
}

fn unknown_kind() -> Made {
    of_mode("demo/evil", 0o170_644, "regular file")
}

fn with_extra(extra: Vec<u8>) -> Made {
    let local_extra = extra.clone();
    spoiled(
        Lies {
            extra,
            local_extra,
            ..Lies::default()
        },
        "a link or a device",
    )
}

/// PKWARE's Unix field: two times, owner, group, then the target.
fn hard_link_by_unix_extra() -> Made {
    with_extra(extra_field(0x000d, b"\0\0\0\0\0\0\0\0\0\0\0\0/etc/passwd"))
}

/// Info-ZIP's `ASi` field: CRC, mode, length of the target, owner, group, target.
fn link_by_asi_extra() -> Made {
    let mode = 0o120_777_u16.to_le_bytes();
    with_extra(extra_field(
        0x756e,
        &[&[0; 4], &mode[..], &[11, 0, 0, 0], &[0; 4], b"/etc/passwd"].concat(),
    ))
}

fn of_dos(dos: u16) -> Made {
    spoiled(Lies { dos, ..Lies::default() }, "regular file")
}

fn volume_label() -> Made {
    of_dos(0x08)
}

fn folder_by_dos_attribute() -> Made {
    of_dos(0x10)
}

fn file_with_the_mode_of_a_folder() -> Made {
    of_mode("demo/evil", 0o040_755, "regular file")
}

fn folder_with_the_mode_of_a_file() -> Made {
    refused(
        demo().member(Member::file("demo/evil/", b"")),
        &["demo/evil/", "regular file"],
    )
}

fn folder_with_content() -> Made {
    let member = Member {
        mode: 0o040_755,
        ..Member::file("demo/evil/", b"y = 2\n")
    };
    refused(demo().member(member), &["demo/evil/", "folder with content"])
}

fn folder_with_hidden_bytes() -> Made {
    let member = Member {
        mode: 0o040_755,
        lies: Lies {
            data: Some(b"hidden".to_vec()),
            ..Lies::default()
        },
        ..Member::file("demo/evil/", b"")
    };
    refused(demo().member(member), &["demo/evil/", "folder with content"])
}
