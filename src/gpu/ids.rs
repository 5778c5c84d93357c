//! Ids and names that tell a GPU's architecture where its driver does not. Data, with its sources.

use super::nvidia::ComputeCapability;

/// Compute capabilities by ranges of PCI device ids: NVIDIA gives each chip a block of ids (the PCI ID database,
/// pci-ids.ucw.cz, and NVIDIA's list of supported chips in the driver's README).
const COMPUTE_BY_PCI: &[(u16, u16, (u8, u8))] = &[
    (0x0fc0, 0x0fff, (3, 0)),
    (0x1001, 0x103f, (3, 5)),
    (0x1180, 0x11ff, (3, 0)),
    (0x1280, 0x12bf, (3, 5)),
    (0x1340, 0x137f, (5, 0)),
    (0x1380, 0x13bf, (5, 0)),
    (0x13c0, 0x143f, (5, 2)),
    (0x15f0, 0x15ff, (6, 0)),
    (0x1610, 0x167f, (5, 2)),
    (0x174d, 0x174e, (5, 0)),
    (0x17c0, 0x17ff, (5, 2)),
    (0x1b00, 0x1d7f, (6, 1)),
    (0x1d80, 0x1dff, (7, 0)),
    (0x1e00, 0x1fff, (7, 5)),
    (0x2080, 0x20ff, (8, 0)),
    (0x2180, 0x21ff, (7, 5)),
    (0x2200, 0x22ff, (8, 6)),
    (0x2300, 0x237f, (9, 0)),
    (0x2400, 0x25ff, (8, 6)),
    (0x2600, 0x28ff, (8, 9)),
    (0x2900, 0x29ff, (10, 0)),
    (0x2b80, 0x2f7f, (12, 0)),
];

/// The compute capability of an NVIDIA GPU by its PCI device id.
pub(super) fn compute_by_pci(device: u16) -> Option<ComputeCapability> {
    // One chip of the Kepler block that has its own capability: GK210 (Tesla K80).
    if device == 0x102d {
        return Some(ComputeCapability::new(3, 7));
    }
    COMPUTE_BY_PCI
        .iter()
        .find(|(first, last, _)| (*first..=*last).contains(&device))
        .map(|(_, _, (major, minor))| ComputeCapability::new(*major, *minor))
}

/// Compute capabilities by words of the product name (developer.nvidia.com/cuda-gpus); the first row that fits.
const COMPUTE_BY_NAME: &[(&str, (u8, u8))] = &[
    ("RTX 50", (12, 0)),
    ("RTX PRO", (12, 0)),
    ("GB200", (10, 0)),
    ("B200", (10, 0)),
    ("B100", (10, 0)),
    ("GH200", (9, 0)),
    ("H200", (9, 0)),
    ("H100", (9, 0)),
    ("H800", (9, 0)),
    ("H20", (9, 0)),
    ("Ada", (8, 9)),
    ("RTX 40", (8, 9)),
    ("L40S", (8, 9)),
    ("L40", (8, 9)),
    ("L4", (8, 9)),
    ("Orin", (8, 7)),
    ("A100", (8, 0)),
    ("A800", (8, 0)),
    ("A30", (8, 0)),
    ("RTX 30", (8, 6)),
    ("RTX A", (8, 6)),
    ("A40", (8, 6)),
    ("A10", (8, 6)),
    ("A16", (8, 6)),
    ("A2", (8, 6)),
    ("RTX 20", (7, 5)),
    ("GTX 16", (7, 5)),
    ("TITAN RTX", (7, 5)),
    ("Quadro RTX", (7, 5)),
    ("T4", (7, 5)),
    ("V100", (7, 0)),
    ("TITAN V", (7, 0)),
    ("P100", (6, 0)),
    ("GTX 10", (6, 1)),
    ("GT 10", (6, 1)),
    ("TITAN Xp", (6, 1)),
    ("P40", (6, 1)),
    ("P4", (6, 1)),
    ("GTX 9", (5, 2)),
    ("GTX TITAN X", (5, 2)),
    ("M60", (5, 2)),
    ("M40", (5, 2)),
    ("GTX 75", (5, 0)),
    ("M10", (5, 0)),
    ("K80", (3, 7)),
    ("K40", (3, 5)),
    ("GT 710", (3, 5)),
    ("GT 730", (3, 5)),
    ("K520", (3, 0)),
    ("GTX 6", (3, 0)),
];

/// The compute capability of an NVIDIA GPU by its product name.
pub(super) fn compute_by_name(name: &str) -> Option<ComputeCapability> {
    let fits = |words: &str| {
        name.match_indices(words).any(|(start, _)| {
            let before = name[..start].chars().next_back();
            let after = name[start + words.len()..].chars().next();
            // `RTX 40` begins `RTX 4090`, but `A2` is not in `A2000` and `L4` not in `L40`.
            let open = words.contains(' ') && words.ends_with(|last: char| last.is_ascii_digit() || last == 'A');
            before.is_none_or(|before| !before.is_alphanumeric())
                && after.is_none_or(|after| {
                    if open {
                        after.is_ascii_digit()
                    } else {
                        !after.is_ascii_alphanumeric()
                    }
                })
        })
    };
    COMPUTE_BY_NAME
        .iter()
        .find(|(words, _)| fits(words))
        .map(|(_, (major, minor))| ComputeCapability::new(*major, *minor))
}

/// Targets by PCI device id: the kernel's amdgpu and KFD tables, and the PCI ID database for the code names.
const GFX_BY_PCI: &[(&str, &[u16])] = &[
    (
        "gfx803",
        &[
            0x67c0, 0x67c4, 0x67c7, 0x67d0, 0x67df, 0x67e0, 0x67e3, 0x67e8, 0x67eb, 0x67ef, 0x67ff, 0x6981, 0x6985,
            0x6987, 0x6995, 0x699f, 0x6fdf, 0x7300,
        ],
    ),
    (
        "gfx900",
        &[
            0x6860, 0x6861, 0x6862, 0x6863, 0x6864, 0x6867, 0x6868, 0x6869, 0x686a, 0x686b, 0x686c, 0x686d, 0x686e,
            0x686f, 0x687f,
        ],
    ),
    ("gfx902", &[0x15dd, 0x15d8]),
    ("gfx906", &[0x66a0, 0x66a1, 0x66a2, 0x66a3, 0x66a4, 0x66a7, 0x66af]),
    ("gfx908", &[0x7388, 0x738c, 0x738e, 0x7390]),
    ("gfx90a", &[0x7408, 0x740c, 0x740f, 0x7410]),
    ("gfx90c", &[0x1636, 0x1638, 0x164c, 0x15e7]),
    ("gfx942", &[0x74a0, 0x74a1, 0x74a2, 0x74a5, 0x74a9, 0x74b5, 0x74bd]),
    (
        "gfx1010",
        &[0x7310, 0x7312, 0x7318, 0x7319, 0x731a, 0x731b, 0x731e, 0x731f],
    ),
    ("gfx1012", &[0x7340, 0x7341, 0x7347, 0x734f]),
    (
        "gfx1030",
        &[
            0x73a0, 0x73a1, 0x73a2, 0x73a3, 0x73a5, 0x73ab, 0x73ad, 0x73ae, 0x73af, 0x73bf,
        ],
    ),
    (
        "gfx1031",
        &[0x73c0, 0x73c1, 0x73c3, 0x73da, 0x73db, 0x73dc, 0x73dd, 0x73de, 0x73df],
    ),
    (
        "gfx1032",
        &[
            0x73e0, 0x73e1, 0x73e2, 0x73e3, 0x73e8, 0x73e9, 0x73ea, 0x73eb, 0x73ec, 0x73ed, 0x73ef, 0x73ff,
        ],
    ),
    ("gfx1033", &[0x163f, 0x1435]),
    ("gfx1034", &[0x7420, 0x7421, 0x7422, 0x7423, 0x7424, 0x743f]),
    ("gfx1035", &[0x164d, 0x1681]),
    ("gfx1036", &[0x164e, 0x1506, 0x13c0]),
    ("gfx1100", &[0x7448, 0x7449, 0x744a, 0x744b, 0x744c, 0x745e]),
    ("gfx1101", &[0x7460, 0x7461, 0x7470, 0x747e]),
    (
        "gfx1102",
        &[0x7480, 0x7481, 0x7483, 0x7487, 0x7489, 0x748b, 0x7499, 0x749f],
    ),
    ("gfx1103", &[0x15bf, 0x15c8, 0x1900, 0x1901]),
    ("gfx1150", &[0x150e]),
    ("gfx1151", &[0x1586]),
    ("gfx1152", &[0x1114]),
    ("gfx1200", &[0x7590]),
    ("gfx1201", &[0x7550, 0x7551]),
];

/// The target of an AMD GPU by its PCI device id.
pub(super) fn gfx_by_pci(device: u16) -> Option<&'static str> {
    GFX_BY_PCI
        .iter()
        .find(|(_, devices)| devices.contains(&device))
        .map(|(gfx, _)| *gfx)
}

/// The target whose number KFD gives as `version`: major × 10000 + minor × 100 + stepping, the last in hexadecimal.
pub(super) fn gfx_of_version(version: u32) -> Option<String> {
    let (major, minor, stepping) = (version / 10_000, version / 100 % 100, version % 100);
    (3..=99)
        .contains(&major)
        .then(|| format!("gfx{major}{minor:x}{stepping:x}"))
}

/// The target that `rocm-smi` means by its own spelling: it prints `gfx9010` for gfx90a and `gfx11002` for gfx1102,
/// the number of [`gfx_of_version`] without the zeros that stand before other digits.
pub(super) fn gfx_of_rocm_smi(text: &str) -> Option<&'static str> {
    let digits = text.trim().strip_prefix("gfx")?;
    GFX_BY_PCI.iter().map(|(gfx, _)| *gfx).find(|gfx| {
        let plain = gfx.strip_prefix("gfx") == Some(digits);
        plain || number_of(gfx).is_some_and(|number| squeezed(&number.to_string()) == digits)
    })
}

/// The inverse of [`gfx_of_version`].
fn number_of(gfx: &str) -> Option<u32> {
    let text = gfx.strip_prefix("gfx")?;
    let (major, rest) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let mut parts = rest.chars().map(|digit| digit.to_digit(16));
    Some(major.parse::<u32>().ok()? * 10_000 + parts.next()?? * 100 + parts.next()??)
}

fn squeezed(number: &str) -> String {
    let digits: Vec<char> = number.chars().collect();
    let kept = |index: &usize| digits[*index] != '0' || digits.get(index + 1).is_none_or(|next| *next == '0');
    (0..digits.len()).filter(kept).map(|index| digits[index]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_sorted_and_apart() {
        assert!(COMPUTE_BY_PCI.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }

    #[test]
    fn names_tell_the_capability() {
        for (name, expected) in [
            ("NVIDIA GeForce RTX 5090", Some("12.0")),
            ("NVIDIA GeForce RTX 4090 Laptop GPU", Some("8.9")),
            ("NVIDIA RTX 6000 Ada Generation", Some("8.9")),
            ("NVIDIA L4", Some("8.9")),
            ("NVIDIA L40S", Some("8.9")),
            ("NVIDIA A100-PCIE-40GB", Some("8.0")),
            ("NVIDIA RTX A2000", Some("8.6")),
            ("NVIDIA A2", Some("8.6")),
            ("NVIDIA GeForce RTX 2080 SUPER", Some("7.5")),
            ("Tesla V100-SXM2-32GB", Some("7.0")),
            ("NVIDIA H100 80GB HBM3", Some("9.0")),
            ("GRID K520", Some("3.0")),
            ("TITAN Xp", Some("6.1")),
            ("NVIDIA GeForce GT 1030", Some("6.1")),
            ("Something else", None),
        ] {
            assert_eq!(
                compute_by_name(name).map(|found| found.to_string()).as_deref(),
                expected,
                "{name}"
            );
        }
        for (device, expected) in [
            (0x1f91, "7.5"),
            (0x26b1, "8.9"),
            (0x2c02, "12.0"),
            (0x118a, "3.0"),
            (0x102d, "3.7"),
        ] {
            assert_eq!(compute_by_pci(device).expect("known").to_string(), expected);
        }
    }

    #[test]
    fn targets_in_every_spelling() {
        for (version, gfx) in [
            (90_010, "gfx90a"),
            (90_402, "gfx942"),
            (100_300, "gfx1030"),
            (110_001, "gfx1101"),
        ] {
            assert_eq!(gfx_of_version(version).as_deref(), Some(gfx));
        }
        assert_eq!(gfx_of_version(0), None);
        for (text, gfx) in [
            ("gfx9010", "gfx90a"),
            ("gfx11002", "gfx1102"),
            ("gfx1036", "gfx1036"),
            ("gfx942", "gfx942"),
            ("gfx90a", "gfx90a"),
        ] {
            assert_eq!(gfx_of_rocm_smi(text), Some(gfx), "{text}");
        }
        for (gfx, devices) in GFX_BY_PCI {
            let number = number_of(gfx).expect("a number");
            assert_eq!(gfx_of_version(number).as_deref(), Some(*gfx));
            assert_eq!(
                gfx_of_rocm_smi(&format!("gfx{}", squeezed(&number.to_string()))),
                Some(*gfx)
            );
            assert!(devices.iter().all(|device| gfx_by_pci(*device) == Some(*gfx)));
        }
    }
}
