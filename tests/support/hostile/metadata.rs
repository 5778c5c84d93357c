//! The dist-info folder, METADATA and WHEEL against the file name.

use super::super::zip::Member;
use super::{Made, cases, demo, refused};
use crate::support::wheel::Wheel;

cases![
    no_dist_info,
    two_dist_infos,
    second_dist_info_is_an_empty_folder,
    two_dist_infos_that_differ_in_case,
    dist_info_of_another_name,
    dist_info_of_another_version,
    dist_info_in_upper_case,
    dist_info_only_deeper,
    data_folder_of_another_name,
    data_folder_in_another_case,
    no_metadata,
    metadata_of_another_name,
    metadata_of_another_version,
    metadata_with_two_names,
    metadata_with_a_name_behind_a_carriage_return,
    metadata_without_a_version,
    metadata_of_a_later_format,
    metadata_with_a_broken_requirement,
    no_wheel_file,
    wheel_version_2,
    wheel_version_missing,
    wheel_version_twice,
    wheel_file_of_another_python,
    wheel_file_of_another_platform,
    wheel_file_is_no_text,
];

const INFO: &str = "demo-1.0.dist-info";

fn no_dist_info() -> Made {
    let wheel = demo()
        .without("METADATA")
        .without("WHEEL")
        .without("top_level.txt")
        .without_record();
    refused(wheel, &["demo-1.0.dist-info", "none"])
}

fn two_dist_infos() -> Made {
    let wheel = demo().file(
        "evil-1.0.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n",
    );
    refused(wheel, &["evil-1.0.dist-info", INFO])
}

fn second_dist_info_is_an_empty_folder() -> Made {
    refused(
        demo().member(Member::directory("evil-1.0.dist-info/")),
        &["evil-1.0.dist-info", INFO],
    )
}

fn two_dist_infos_that_differ_in_case() -> Made {
    let wheel = demo().file(
        "Demo-1.0.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
    );
    refused(wheel, &["Demo-1.0.dist-info", INFO])
}

/// A wheel whose dist-info is `stem`, called `demo-1.0` all the same.
fn called_demo(wheel: Wheel, told: &[&str]) -> Made {
    let mut built = wheel.build();
    "demo-1.0-py3-none-any.whl".clone_into(&mut built.filename);
    "demo".clone_into(&mut built.name);
    "1.0".clone_into(&mut built.version);
    super::refused_bytes(built, told)
}

fn dist_info_of_another_name() -> Made {
    called_demo(
        Wheel::new("evil", "1.0").file("demo/__init__.py", ""),
        &["evil-1.0.dist-info", INFO],
    )
}

fn dist_info_of_another_version() -> Made {
    called_demo(
        Wheel::new("demo", "2.0").file("demo/__init__.py", ""),
        &["demo-2.0.dist-info", INFO],
    )
}

fn dist_info_in_upper_case() -> Made {
    let wheel = demo()
        .without("METADATA")
        .without("WHEEL")
        .without("top_level.txt")
        .without_record()
        .file(
            "demo-1.0.DIST-INFO/METADATA",
            "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
        );
    refused(wheel, &["demo-1.0.DIST-INFO"])
}

fn dist_info_only_deeper() -> Made {
    let wheel = demo()
        .without("METADATA")
        .without("WHEEL")
        .without("top_level.txt")
        .without_record()
        .file(
            "demo/demo-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
        );
    refused(wheel, &["demo-1.0.dist-info", "none"])
}

/// pip would install it below the prefix, uv in site-packages.
fn data_folder_of_another_name() -> Made {
    refused(
        demo().file("evil-1.0.data/scripts/evil", "#!/bin/sh\n"),
        &["evil-1.0.data", "demo-1.0.data"],
    )
}

fn data_folder_in_another_case() -> Made {
    refused(
        demo().file("Demo-1.0.data/scripts/evil", "#!/bin/sh\n"),
        &["Demo-1.0.data", "demo-1.0.data"],
    )
}

fn no_metadata() -> Made {
    refused(demo().without("METADATA"), &["demo-1.0.dist-info/METADATA", "missing"])
}

fn with_metadata(text: &str, told: &str) -> Made {
    refused(demo().text("METADATA", text), &["METADATA", told])
}

fn metadata_of_another_name() -> Made {
    with_metadata("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n", "that of evil 1.0")
}

fn metadata_of_another_version() -> Made {
    with_metadata(
        "Metadata-Version: 2.1\nName: demo\nVersion: 1.0+evil\n",
        "that of demo 1.0+evil",
    )
}

fn metadata_with_two_names() -> Made {
    with_metadata(
        "Metadata-Version: 2.1\nName: evil\nName: demo\nVersion: 1.0\n",
        "Name twice",
    )
}

fn metadata_with_a_name_behind_a_carriage_return() -> Made {
    with_metadata(
        "Metadata-Version: 2.1\nName: demo\nSummary: x\rName: evil\nVersion: 1.0\n",
        "Name twice",
    )
}

fn metadata_without_a_version() -> Made {
    with_metadata("Metadata-Version: 2.1\nName: demo\n\nVersion: 1.0\n", "no Version")
}

fn metadata_of_a_later_format() -> Made {
    with_metadata("Metadata-Version: 3.0\nName: demo\nVersion: 1.0\n", "version 3.0")
}

fn metadata_with_a_broken_requirement() -> Made {
    with_metadata(
        "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Dist: evil @ @\n",
        "cannot be understood",
    )
}

fn no_wheel_file() -> Made {
    refused(demo().without("WHEEL"), &["demo-1.0.dist-info/WHEEL", "missing"])
}

fn with_wheel_file(text: impl AsRef<[u8]>, told: &str) -> Made {
    refused(demo().text("WHEEL", text), &["WHEEL", told])
}

fn wheel_version_2() -> Made {
    with_wheel_file("Wheel-Version: 2.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", "2.0")
}

fn wheel_version_missing() -> Made {
    with_wheel_file("Root-Is-Purelib: true\nTag: py3-none-any\n", "no Wheel-Version")
}

fn wheel_version_twice() -> Made {
    with_wheel_file(
        "Wheel-Version: 1.0\nWheel-Version: 2.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "two values",
    )
}

fn wheel_file_of_another_python() -> Made {
    with_wheel_file(
        "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: cp27-none-any\n",
        "contradict the file name",
    )
}

fn wheel_file_of_another_platform() -> Made {
    let text = "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-win_amd64\n";
    refused(
        demo().tag("py3-none-manylinux_2_17_x86_64").text("WHEEL", text),
        &["WHEEL", "contradict the file name"],
    )
}

fn wheel_file_is_no_text() -> Made {
    with_wheel_file(b"Wheel-Version: 1.0\nGenerator: \xff\n", "not UTF-8")
}
