//! Archives that claim, or turn into, far more than they are.

use super::super::zip::{Lies, Member};
use super::{Made, cases, demo, edited, put, refused, refused_bytes};

cases![
    member_of_a_terabyte,
    members_of_many_gigabytes,
    ratio_of_one_member,
    ratio_of_all_members,
    inflates_beyond_its_size,
    metadata_of_many_megabytes,
    count_without_members,
    directory_of_gigabytes,
];

/// A member that claims `size` bytes.
fn claiming(name: &str, size: u64, packed: Option<u64>) -> Member {
    Member {
        size: Some(size),
        zip64: true,
        lies: Lies {
            packed,
            ..Lies::default()
        },
        ..Member::file(name, b"y = 2\n")
    }
}

fn member_of_a_terabyte() -> Made {
    refused(
        demo().member(claiming("demo/evil.bin", 1 << 40, Some(1 << 39))),
        &["demo/evil.bin", "16 GiB"],
    )
}

fn members_of_many_gigabytes() -> Made {
    let mut wheel = demo();
    for at in 0..6 {
        wheel = wheel.member(claiming(&format!("demo/evil{at}.bin"), 15 << 30, Some(14 << 30)));
    }
    refused(wheel, &["demo/evil", "64 GiB"])
}

fn ratio_of_one_member() -> Made {
    refused(
        demo().member(claiming("demo/evil.bin", 1 << 30, Some(1 << 20))),
        &["demo/evil.bin", "200 times"],
    )
}

fn ratio_of_all_members() -> Made {
    let mut wheel = demo();
    for at in 0..40 {
        wheel = wheel.member(claiming(&format!("demo/evil{at}.bin"), 31 << 20, Some(31 << 10)));
    }
    refused(wheel, &["100 times"])
}

/// The directory claims little, the data are more: stopped while it inflates.
fn inflates_beyond_its_size() -> Made {
    let row = "demo/evil.bin,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,10";
    let member = Member {
        size: Some(10),
        ..Member::file("demo/evil.bin", &vec![0; 4 << 20])
    };
    refused(
        demo().member(member).record_line(row),
        &["demo/evil.bin", "longer than the central directory says"],
    )
}

fn metadata_of_many_megabytes() -> Made {
    let member = claiming("demo-1.0.dist-info/METADATA", 65 << 20, Some(1 << 20));
    // It claims more bytes than there are, which is found first.
    refused(
        demo().without("METADATA").member(member),
        &["demo-1.0.dist-info/METADATA", "reaches beyond the members"],
    )
}

fn count_without_members() -> Made {
    let built = edited(demo(), |bytes| {
        let end = bytes.len() - 22;
        put(bytes, end + 8, &[0xfe, 0xff, 0xfe, 0xff]);
    });
    refused_bytes(built, &["cannot have the stated size"])
}

fn directory_of_gigabytes() -> Made {
    let built = edited(demo(), |bytes| {
        let end = bytes.len() - 22;
        put(bytes, end + 12, &[0, 0, 0, 0xf0]);
    });
    refused_bytes(built, &["before, between or after"])
}
