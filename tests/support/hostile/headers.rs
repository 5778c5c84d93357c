//! What a member's two headers, its data and its data descriptor say of each other.

use super::super::zip::{Lies, Member, Method, deflate, extra_field};
use super::{Made, cases, demo, refused, spoiled};

cases![
    local_flags_differ,
    local_method_differs,
    local_crc_differs,
    local_size_differs,
    local_compressed_size_differs,
    checksum_is_wrong,
    size_is_too_small,
    size_is_too_large,
    stored_sizes_differ,
    bytes_behind_the_deflated_ones,
    deflate_stream_is_cut,
    deflate_stream_is_garbage,
    descriptor_disagrees,
    encrypted,
    strongly_encrypted,
    masked_headers,
    patched_data,
    reserved_flag,
    method_implode,
    method_deflate64,
    method_bzip2,
    method_lzma,
    method_zstd,
    method_aes,
    comment_of_a_member,
    unicode_comment,
    on_another_disk,
    extra_of_three_bytes,
    extra_longer_than_its_field,
    zip64_extra_twice,
    zip64_extra_that_contradicts,
    zip64_extra_too_short,
    zip64_extra_in_the_local_header_alone,
    no_local_header,
];

fn local_flags_differ() -> Made {
    spoiled(
        Lies {
            local_flags: 1 << 3,
            ..Lies::default()
        },
        "other flags or another method",
    )
}

fn local_method_differs() -> Made {
    spoiled(
        Lies {
            local_method: Some(0),
            ..Lies::default()
        },
        "other flags or another method",
    )
}

fn local_crc_differs() -> Made {
    spoiled(
        Lies {
            local_crc32: Some(7),
            ..Lies::default()
        },
        "another size or CRC",
    )
}

fn local_size_differs() -> Made {
    spoiled(
        Lies {
            local_size: Some(7),
            ..Lies::default()
        },
        "another size or CRC",
    )
}

/// Readers of streams find the next member elsewhere than readers of the directory do.
fn local_compressed_size_differs() -> Made {
    spoiled(
        Lies {
            local_packed: Some(100),
            ..Lies::default()
        },
        "another size or CRC",
    )
}

/// `demo/evil.py` with the row of what is claimed, refused as damaged.
fn damaged(member: Member, told: &str) -> Made {
    let name = member.name.clone();
    refused(demo().listed(member), &[&name, told])
}

fn checksum_is_wrong() -> Made {
    let member = Member {
        crc32: Some(0),
        ..Member::file("demo/evil.py", b"y = 2\n")
    };
    damaged(member, "CRC does not match")
}

fn size_is_too_small() -> Made {
    let member = Member {
        size: Some(5),
        ..Member::file("demo/evil.py", b"y = 2\n")
    };
    // RECORD states the true size, which the directory contradicts.
    damaged(member, "does not match")
}

fn size_is_too_large() -> Made {
    let row = "demo/evil.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,7";
    let member = Member {
        size: Some(7),
        ..Member::file("demo/evil.py", b"y = 2\n")
    };
    refused(
        demo().member(member).record_line(row),
        &["demo/evil.py", "shorter than"],
    )
}

fn stored_sizes_differ() -> Made {
    let member = Member {
        method: Method::Stored,
        size: Some(5),
        ..Member::file("demo/evil.py", b"y = 2\n")
    };
    damaged(member, "two sizes differ")
}

fn bytes_behind_the_deflated_ones() -> Made {
    let member = Member {
        lies: Lies {
            data: Some([deflate(b"y = 2\n"), b"hidden".to_vec()].concat()),
            ..Lies::default()
        },
        ..Member::file("demo/evil.py", b"y = 2\n")
    };
    damaged(member, "ends before its compressed size")
}

fn deflate_stream_is_cut() -> Made {
    let body = b"y = 2\n".repeat(50);
    let mut data = deflate(&body);
    data.truncate(data.len() - 3);
    let member = Member {
        lies: Lies {
            data: Some(data),
            ..Lies::default()
        },
        ..Member::file("demo/evil.py", &body)
    };
    damaged(member, "damaged")
}

fn deflate_stream_is_garbage() -> Made {
    let member = Member {
        lies: Lies {
            data: Some(vec![0xff; 8]),
            ..Lies::default()
        },
        ..Member::file("demo/evil.py", b"y = 2\n")
    };
    damaged(member, "damaged")
}

fn descriptor_disagrees() -> Made {
    let member = Member {
        descriptor: true,
        lies: Lies {
            descriptor_crc32: Some(7),
            ..Lies::default()
        },
        ..Member::file("demo/evil.py", b"y = 2\n")
    };
    damaged(member, "data descriptor disagrees")
}

fn flagged(flags: u16, told: &str) -> Made {
    spoiled(
        Lies {
            flags,
            ..Lies::default()
        },
        told,
    )
}

fn encrypted() -> Made {
    flagged(1, "encrypted")
}

fn strongly_encrypted() -> Made {
    flagged(1 | 1 << 6, "encrypted")
}

fn masked_headers() -> Made {
    flagged(1 << 13, "a feature that no wheel has")
}

fn patched_data() -> Made {
    flagged(1 << 5, "a feature that no wheel has")
}

fn reserved_flag() -> Made {
    flagged(1 << 14, "a feature that no wheel has")
}

fn compressed_with(method: u16) -> Made {
    let lies = Lies {
        method: Some(method),
        ..Lies::default()
    };
    spoiled(lies, &format!("method {method};"))
}

fn method_implode() -> Made {
    compressed_with(6)
}

fn method_deflate64() -> Made {
    compressed_with(9)
}

fn method_bzip2() -> Made {
    compressed_with(12)
}

fn method_lzma() -> Made {
    compressed_with(14)
}

fn method_zstd() -> Made {
    compressed_with(93)
}

fn method_aes() -> Made {
    compressed_with(99)
}

fn comment_of_a_member() -> Made {
    spoiled(
        Lies {
            comment: b"PK\x01\x02".to_vec(),
            ..Lies::default()
        },
        "it has a comment",
    )
}

fn unicode_comment() -> Made {
    spoiled(
        Lies {
            extra: extra_field(0x6375, b"\x01\0\0\0\0hello"),
            ..Lies::default()
        },
        "it has a comment",
    )
}

fn on_another_disk() -> Made {
    spoiled(
        Lies {
            disk: 1,
            ..Lies::default()
        },
        "another disk",
    )
}

fn extra_of_three_bytes() -> Made {
    spoiled(
        Lies {
            local_extra: vec![0, 0, 0],
            ..Lies::default()
        },
        "bytes behind its extra fields",
    )
}

fn extra_longer_than_its_field() -> Made {
    spoiled(
        Lies {
            extra: vec![0x55, 0x54, 90, 0, 1],
            ..Lies::default()
        },
        "longer than its header says",
    )
}

fn zip64_field(values: &[u64]) -> Vec<u8> {
    let body: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    extra_field(1, &body)
}

fn zip64_extra_twice() -> Made {
    let member = Member {
        zip64: true,
        lies: Lies {
            extra: zip64_field(&[1, 1]),
            ..Lies::default()
        },
        ..Member::file("demo/evil.py", b"y = 2\n")
    };
    damaged(member, "two ZIP64 extra fields")
}

/// The sizes are in the header; some readers take those of the field all the same.
fn zip64_extra_that_contradicts() -> Made {
    spoiled(
        Lies {
            extra: zip64_field(&[1_000_000, 8]),
            ..Lies::default()
        },
        "values that its header has too",
    )
}

fn zip64_extra_too_short() -> Made {
    spoiled(
        Lies {
            extra: extra_field(1, &[0; 12]),
            ..Lies::default()
        },
        "ZIP64 extra field is too long",
    )
}

fn zip64_extra_in_the_local_header_alone() -> Made {
    spoiled(
        Lies {
            local_extra: zip64_field(&[9_999, 8]),
            ..Lies::default()
        },
        "values that its header has too",
    )
}

/// The directory leads into the middle of another member.
fn no_local_header() -> Made {
    spoiled(
        Lies {
            offset: Some(3),
            ..Lies::default()
        },
        "overlaps",
    )
}
