//! NVIDIA's answers, as recorded.

use super::kernel::module_version;
use super::smi::{failure, row};
use super::*;
use crate::gpu::tests::fixture;

fn rows(name: &str) -> Vec<String> {
    let shown = |row: &SmiRow| {
        let text = |value: Option<String>| value.unwrap_or_else(|| "?".to_owned());
        let (driver, compute) = (
            row.driver.as_ref().map(ToString::to_string),
            row.compute.map(|it| it.to_string()),
        );
        format!(
            "{} | {} | {} | {}",
            row.name,
            text(driver),
            text(compute),
            text(row.memory_mib.map(|it| it.to_string()))
        )
    };
    fixture(name)
        .lines()
        .filter_map(|line| row(line, true))
        .map(|row| shown(&row))
        .collect()
}

#[test]
fn recorded_queries_are_rows() {
    for (name, expected) in [
        (
            "nvidia-smi_query_h100-mig_linux_590.48.01.csv",
            "NVIDIA H100 80GB HBM3 | 590.48.01 | 9.0 | 81559",
        ),
        (
            "nvidia-smi_query_h100_linux_590.48.01.csv",
            "NVIDIA H100 80GB HBM3 | 590.48.01 | 9.0 | 81559",
        ),
        (
            "nvidia-smi_query_h200-mig_linux_590.48.01.csv",
            "NVIDIA H200 | 590.48.01 | 9.0 | 143771",
        ),
        (
            "nvidia-smi_query_l40s_linux_595.80.csv",
            "NVIDIA L40S | 595.80 | 8.9 | 46068",
        ),
        (
            "nvidia-smi_query_rtx2080s_linux_610.57.04.csv",
            "NVIDIA GeForce RTX 2080 SUPER | 610.57.04 | 7.5 | 8192",
        ),
        (
            "nvidia-smi_query_rtx2080s_windows_591.86.csv",
            "NVIDIA GeForce RTX 2080 SUPER | 591.86 | 7.5 | 8192",
        ),
        (
            "nvidia-smi_query_rtx2080s_windows_610.62.csv",
            "NVIDIA GeForce RTX 2080 SUPER | 610.62 | 7.5 | 8192",
        ),
    ] {
        assert_eq!(rows(name), [expected], "{name}");
    }
    // Answers to other questions are no evidence.
    for name in [
        "nvidia-smi_query_driver-version_wsl_2gpu.csv",
        "nvidia-smi_query_index-name_rtx3060-laptop.csv",
    ] {
        assert!(rows(name).is_empty(), "{name}");
    }
}

#[test]
fn values_that_are_not_known_and_devices_that_are_lost() {
    let read = |line: &str, with_compute: bool| row(line, with_compute);
    let orin = read("Orin (nvgpu), 540.4.0, 8.7, [N/A]", true).expect("a row");
    assert_eq!((orin.name.as_str(), orin.memory_mib), ("Orin (nvgpu)", None));
    assert_eq!(
        read("A, B and C, 470.256.02, 24576 MiB", false).expect("a row").name,
        "A, B and C"
    );
    assert_eq!(
        read("Tesla V100, 535.1.2, [N/A], 16384 MiB", true)
            .expect("a row")
            .compute,
        None
    );
    for line in [
        "NVIDIA X, [Unknown Error], [Unknown Error], [Unknown Error]",
        "NVIDIA X, 535.1.2, 8.6, [GPU is lost]",
    ] {
        assert!(read(line, true).expect("a row").lost, "{line}");
    }
    for line in [
        "",
        ",,,",
        "name, driver_version, compute_cap, memory.total [MiB]",
        "x, 535, 8.6, 1 MiB",
        "x, 535.1, eight, 1 MiB",
        "x, 535.1, 8.6, lots",
        ", 535.1, 8.6, 1 MiB",
        "No devices were found",
        "x, 535.1.2.3, 8.6, 1 MiB",
    ] {
        assert_eq!(read(line, true), None, "{line}");
    }
}

#[test]
fn recorded_failures_are_understood() {
    for (name, exit, expected) in [
        ("nvidia-smi_fail_cannot-communicate.txt", 9, SmiFailure::NotLoaded),
        (
            "nvidia-smi_fail_cannot-communicate_2013-wording.txt",
            9,
            SmiFailure::NotLoaded,
        ),
        ("nvidia-smi_fail_device-handle-unknown-error.txt", 255, SmiFailure::Lost),
        ("nvidia-smi_fail_mismatch_535.txt", 18, SmiFailure::Mismatch),
        ("nvidia-smi_fail_mismatch_truenas_580.txt", 1, SmiFailure::Mismatch),
        (
            "nvidia-smi_fail_no-supported-gpus_vfio.txt",
            255,
            SmiFailure::NoSupported,
        ),
    ] {
        assert_eq!(failure(&fixture(name), exit).0, expected, "{name}");
    }
    assert_eq!(
        failure("No devices were found\n", 6),
        (SmiFailure::NoDevices, "No devices were found".to_owned())
    );
    assert_eq!(failure("", 15), (SmiFailure::Lost, "nothing, exit code 15".to_owned()));
    assert_eq!(failure("garbage", 1).0, SmiFailure::Unknown);
}

#[test]
fn recorded_module_versions() {
    for (name, expected) in [
        ("proc-driver-nvidia-version_closed_384_2017.txt", "384.98"),
        ("proc-driver-nvidia-version_closed_396.24.txt", "396.24"),
        ("proc-driver-nvidia-version_closed_515.65.01_mismatch.txt", "515.65.01"),
        ("proc-driver-nvidia-version_closed_535.154.05.txt", "535.154.05"),
        ("proc-driver-nvidia-version_closed_560.35.03.txt", "560.35.03"),
        ("proc-driver-nvidia-version_open_525_arch_no-date.txt", "525.60.11"),
        ("proc-driver-nvidia-version_open_555_locale-date.txt", "555.58"),
        ("proc-driver-nvidia-version_open_565_ubuntu.txt", "565.57.01"),
        ("proc-driver-nvidia-version_open_575.64.03.txt", "575.64.03"),
    ] {
        assert_eq!(module_version(&fixture(name)).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(module_version("nonsense 535.1\n"), None);
}

#[test]
fn versions_compare_by_number() {
    let version = |text: &str| DriverVersion::parse(text).expect("a version");
    assert!(version("384.66").is_older_than(&version("450.80.02")));
    assert!(version("450.80.1").is_older_than(&version("450.80.02")));
    assert!(!version("450.80.02").is_older_than(&version("450.80.2")));
    assert!(!version("1000.1").is_older_than(&version("610.57.04")));
    for text in ["", "535", "5.1", "535.", "535.x", "-1.2", "535.1.2.3", "9999999.1"] {
        assert_eq!(DriverVersion::parse(text), None, "{text}");
    }
    for (text, expected) in [("8.9", "8.9"), ("sm_90", "9.0"), ("120", "12.0"), (" 7.5", "7.5")] {
        assert_eq!(
            ComputeCapability::parse(text).expect("a capability").to_string(),
            expected
        );
    }
    for text in ["", "8", "8.x", "x", "0.1", "sm_", "8.10", "+8.6", "é"] {
        assert_eq!(ComputeCapability::parse(text), None, "{text}");
    }
}
