//! AMD's facts, as recorded.

use super::*;
use crate::gpu::tests::fixture;

#[test]
fn recorded_nodes() {
    for (name, expected) in [
        ("kfd_node_gpu_mi210_gfx90a.properties", Some((Some("gfx90a"), 0x740f))),
        (
            "kfd_node_gpu_mi300x-cpx_gfx942.properties",
            Some((Some("gfx942"), 0x74a1)),
        ),
        ("kfd_node_gpu_mi308x_gfx942.properties", Some((Some("gfx942"), 0x74a2))),
        (
            "kfd_node_gpu_vega10_old-kernel.properties",
            Some((Some("gfx900"), 0x6860)),
        ),
        (
            "kfd_node_apu_raven-ridge_shared-cpu-node.properties",
            Some((Some("gfx902"), 0x15dd)),
        ),
        ("kfd_node_gpu_fiji_not-initialised.properties", Some((None, 0))),
        ("kfd_node_cpu_epyc_mi210-host.properties", None),
    ] {
        let node = gpu_node(1, &fixture(name));
        let found = node.as_ref().map(|node| (node.gfx.as_deref(), node.device));
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(gpu_node(0, "simd_count\nx y z\n\u{0}"), None);
}

#[test]
fn cards_of_every_release() {
    let cards = |text: &str| {
        parse_cards(text)
            .into_iter()
            .map(|card| (card.name, card.gfx.unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    let one = |name: &str, gfx: &str| vec![(name.to_owned(), gfx.to_owned())];
    let mi250 = r#"{"card0": {"Card Series": "AMD INSTINCT MI250", "Card Model": "0x740c", "GFX Version": "gfx9010"}}"#;
    assert_eq!(cards(mi250), one("AMD INSTINCT MI250", "gfx90a"));
    let old = r#"{"card0": {"Card series": "0x738c", "Card model": "0xc34", "Card SKU": "D34314"}}"#;
    assert_eq!(cards(old), one("0x738c", "gfx908"));
    let noisy =
        "WARNING: AMD GPU device(s) is/are in a low-power state {x}\n{\"card1\": {\"Device ID\": \"0x744c\"}}\n\n";
    assert_eq!(cards(noisy), one("AMD GPU", "gfx1100"));
    for name in [
        "rocm-smi_fail_driver-not-initialized_mi50.txt",
        "rocm-smi_fail_no-amd-gpus-specified.txt",
        "rocm-smi_fail_no-initstate_container.txt",
    ] {
        assert!(cards(&fixture(name)).is_empty(), "{name}");
    }
    for text in [
        "",
        "{}",
        "{\"system\": {\"Driver version\": \"6\"}}",
        "{\"card0\": {}}",
        "{\"card0\": \"x\"}",
        "[1]",
        "{{{{",
    ] {
        assert!(cards(text).is_empty(), "{text}");
    }
}
