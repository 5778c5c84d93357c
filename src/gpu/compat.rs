//! What each channel's wheels run on: drivers, kernel architectures, platforms. Data, a source a row.

use super::nvidia::{ComputeCapability, DriverVersion};
use crate::backend::{Backend, Channel};
use crate::pep::Version;

/// What the wheels of one channel run on, for one minor version of torch.
#[derive(Debug)]
pub struct Row {
    /// The channel's tag.
    pub channel: &'static str,
    /// Major and minor version of torch.
    pub torch: (u64, u64),
    /// The backend.
    pub backend: Backend,
    /// Operating systems and processors that there are wheels for; empty means any.
    pub platforms: &'static [(&'static str, &'static str)],
    /// Oldest driver on Linux and on Windows (whose numbers WSL shows too).
    pub driver: Option<(&'static str, &'static str)>,
    /// The GPUs that the wheels hold code for.
    pub kernels: Kernels,
    /// Where this is from.
    pub source: &'static str,
}

/// GPU code in wheels.
#[derive(Debug)]
pub enum Kernels {
    /// None is needed.
    None,
    /// CUDA: machine code for these capabilities, and portable code from these on.
    Sm {
        /// Runs on the same major version with the same or a higher minor version.
        code: &'static [(u8, u8)],
        /// Runs on every later capability.
        portable: &'static [(u8, u8)],
    },
    /// ROCm: exactly these targets.
    Gfx(&'static [&'static str]),
}

const CUDA_11_DRIVER: Option<(&str, &str)> = Some(("450.80.02", "452.39"));
const CUDA_12_DRIVER: Option<(&str, &str)> = Some(("525.60.13", "528.33"));

/// Drivers: CUDA's minor-version compatibility, docs.nvidia.com/deploy/cuda-compatibility (11.x from 450, 12.x from
/// 525), and the release notes of CUDA 11.8 and 12.x.
const ROWS: &[Row] = &[
    Row {
        channel: "cu118",
        torch: (2, 7),
        backend: Backend::Cuda,
        platforms: &[("linux", "x86_64"), ("windows", "x86_64")],
        driver: CUDA_11_DRIVER,
        kernels: Kernels::Sm {
            code: &[(3, 7), (5, 0), (6, 0), (7, 0), (7, 5), (8, 0), (8, 6), (9, 0)],
            portable: &[],
        },
        source: "torch.cuda.get_arch_list() of 2.7.1+cu118 on Linux, as users quote torch's own message; \
                 TORCH_CUDA_ARCH_LIST in pytorch/pytorch release/2.7 .ci/manywheel/build_cuda.sh",
    },
    Row {
        channel: "cu126",
        torch: (2, 7),
        backend: Backend::Cuda,
        platforms: &[("linux", "x86_64"), ("windows", "x86_64")],
        driver: CUDA_12_DRIVER,
        kernels: Kernels::Sm {
            code: &[(5, 0), (6, 0), (7, 0), (7, 5), (8, 0), (8, 6), (9, 0)],
            portable: &[],
        },
        source: "the architecture list inside libtorch_python.so of the published wheel 2.7.0+cu126",
    },
    Row {
        channel: "cu128",
        torch: (2, 7),
        backend: Backend::Cuda,
        platforms: &[("linux", "x86_64"), ("windows", "x86_64")],
        driver: CUDA_12_DRIVER,
        kernels: Kernels::Sm {
            code: &[(7, 5), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0)],
            portable: &[(12, 0)],
        },
        source: "TORCH_CUDA_ARCH_LIST \"7.5;8.0;8.6;9.0;10.0;12.0+PTX\" in pytorch/pytorch release/2.7 \
                 .ci/manywheel/build_cuda.sh",
    },
    Row {
        channel: "rocm6.3",
        torch: (2, 7),
        backend: Backend::Rocm,
        platforms: &[("linux", "x86_64")],
        driver: None,
        kernels: Kernels::Gfx(&[
            "gfx900", "gfx906", "gfx908", "gfx90a", "gfx942", "gfx1030", "gfx1100", "gfx1101", "gfx1102", "gfx1200",
            "gfx1201",
        ]),
        source: "torch.cuda.get_arch_list() of 2.7.1+rocm6.3, quoted in astral-sh/uv#14086",
    },
    Row {
        channel: "cpu",
        torch: (2, 7),
        backend: Backend::Cpu,
        platforms: &[],
        driver: None,
        kernels: Kernels::None,
        source: "wheel tags of torch 2.7.0+cpu",
    },
];

impl Row {
    /// Whether there are wheels for this system.
    #[must_use]
    pub fn has_wheels_for(&self, os: &str, arch: &str) -> bool {
        self.platforms.is_empty() || self.platforms.contains(&(os, arch))
    }

    /// Whether the wheels hold code for an NVIDIA GPU of this capability.
    #[must_use]
    pub fn runs_compute(&self, capability: ComputeCapability) -> bool {
        match &self.kernels {
            Kernels::Sm { code, portable } => {
                code.iter()
                    .any(|(major, minor)| *major == capability.major && *minor <= capability.minor)
                    || portable
                        .iter()
                        .any(|from| *from <= (capability.major, capability.minor))
            }
            Kernels::None | Kernels::Gfx(_) => false,
        }
    }

    /// Whether the wheels hold code for an AMD GPU of this target.
    #[must_use]
    pub fn runs_gfx(&self, gfx: &str) -> bool {
        matches!(&self.kernels, Kernels::Gfx(targets) if targets.contains(&gfx))
    }
}

/// The whole table.
#[must_use]
pub const fn rows() -> &'static [Row] {
    ROWS
}

/// What is known of a channel's wheels of this torch (2.7 where none is named).
#[must_use]
pub fn row(channel: &Channel, torch: Option<&Version>) -> Option<&'static Row> {
    let wanted = torch.map_or(Some((2, 7)), |version| {
        Some((
            *version.release().first()?,
            version.release().get(1).copied().unwrap_or(0),
        ))
    })?;
    ROWS.iter()
        .find(|row| row.channel == channel.as_str() && row.torch == wanted)
}

/// The oldest driver for a channel: its CUDA major version decides, so that it is known for every torch.
#[must_use]
pub fn driver_floor(channel: &Channel, windows: bool) -> Option<DriverVersion> {
    let floors = match channel.as_str().strip_prefix("cu") {
        Some(version) if version.starts_with("11") => CUDA_11_DRIVER,
        Some(version) if version.starts_with("12") => CUDA_12_DRIVER,
        _ => None,
    };
    let (linux, on_windows) = floors?;
    DriverVersion::parse(if windows { on_windows } else { linux })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(channel: &str) -> impl Fn(u8, u8) -> bool {
        let row = row(&channel.parse().expect("a channel"), None).expect("a row");
        move |major, minor| row.runs_compute(ComputeCapability::new(major, minor))
    }

    #[test]
    fn kernels_run_where_torch_says_they_do() {
        let cu118 = runs("cu118");
        for (major, minor) in [(3, 7), (5, 2), (6, 1), (7, 0), (7, 5), (8, 6), (8, 9), (9, 0)] {
            assert!(cu118(major, minor), "{major}.{minor}");
        }
        for (major, minor) in [(3, 0), (3, 5), (10, 0), (11, 0), (12, 0)] {
            assert!(!cu118(major, minor), "{major}.{minor}");
        }
        let cu128 = runs("cu128");
        assert!(cu128(12, 0) && cu128(10, 3) && cu128(12, 1) && cu128(7, 5));
        assert!(!cu128(7, 0) && !cu128(6, 1) && !cu128(11, 0));
        assert!(!runs("cu126")(3, 7) && !runs("cu126")(12, 0));
    }

    #[test]
    fn the_table_is_consistent() {
        for row in rows() {
            let channel: Channel = row.channel.parse().expect("a channel");
            assert_eq!(channel.backend(), Some(row.backend));
            assert!(!row.source.is_empty());
            assert_eq!(
                driver_floor(&channel, false),
                row.driver.and_then(|(linux, _)| DriverVersion::parse(linux)),
                "{channel}"
            );
        }
        let torch = |text: &str| text.parse().expect("a version");
        let cu118 = "cu118".parse().expect("a channel");
        assert!(row(&cu118, Some(&torch("2.7.1+cu118"))).is_some());
        assert!(row(&cu118, Some(&torch("2.8.0"))).is_none());
    }
}
