//! What each channel's wheels run on: drivers, kernel architectures, platforms.
//!
//! The table is data, `compat.toml`, with a source for each row; it is compiled in. What it does not name is *unknown*
//! and never refused: a private channel or a newer torch gets the benefit of the doubt, and a warning.

use std::sync::LazyLock;

use serde::Deserialize;

use super::nvidia::{ComputeCapability, DriverVersion};
use crate::backend::Channel;
use crate::pep::Version;

const TABLE: &str = include_str!("compat.toml");

/// The minor version of torch that counts where none is named.
const DEFAULT_TORCH: &str = "2.7";

/// What the wheels of one channel hold, for one minor version of torch and some platforms.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The channel's tag.
    pub channel: Channel,
    /// Major and minor version of torch, e.g. `2.7`.
    pub torch: String,
    /// `<operating system>-<processor>`; empty means any.
    pub platforms: Vec<String>,
    /// CUDA machine code: runs on the same major version with the same or a higher minor one.
    #[serde(default)]
    pub sm: Vec<ComputeCapability>,
    /// CUDA portable code: runs on every later capability.
    #[serde(default)]
    pub ptx: Vec<ComputeCapability>,
    /// ROCm code: runs on exactly these targets.
    #[serde(default)]
    pub gfx: Vec<String>,
    /// Where this is from.
    pub source: String,
}

/// The oldest driver for the wheels of one CUDA major version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriverFloor {
    /// CUDA's major version.
    pub cuda: String,
    /// On Linux.
    pub linux: DriverVersion,
    /// On Windows, and so under WSL.
    pub windows: DriverVersion,
    /// Where this is from.
    pub source: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    driver: Vec<DriverFloor>,
    wheels: Vec<Row>,
}

// The text is a constant, and a test reads it: it is never refused here.
static PARSED: LazyLock<Table> = LazyLock::new(|| toml::from_str(TABLE).unwrap_or_default());

/// What is known of a channel's wheels on a platform.
#[derive(Debug, Clone, Copy)]
pub enum Wheels {
    /// This.
    Known(&'static Row),
    /// There are none for this platform.
    None,
    /// Nothing.
    Unknown,
}

impl Row {
    /// Whether the wheels hold code for an NVIDIA GPU of this capability.
    #[must_use]
    pub fn runs_compute(&self, capability: ComputeCapability) -> bool {
        self.sm
            .iter()
            .any(|sm| sm.major == capability.major && sm.minor <= capability.minor)
            || self.ptx.iter().any(|from| *from <= capability)
    }

    /// Whether the wheels hold code for an AMD GPU of this target.
    #[must_use]
    pub fn runs_gfx(&self, gfx: &str) -> bool {
        self.gfx.iter().any(|target| target == gfx)
    }

    fn is_for(&self, os: &str, arch: &str) -> bool {
        let names = |platform: &str| platform.split_once('-') == Some((os, arch));
        self.platforms.is_empty() || self.platforms.iter().any(|platform| names(platform))
    }
}

/// The rows about wheels.
#[must_use]
pub fn rows() -> &'static [Row] {
    &PARSED.wheels
}

/// The rows about drivers.
#[must_use]
pub fn drivers() -> &'static [DriverFloor] {
    &PARSED.driver
}

/// What is known of a channel's wheels of this torch (2.7 where none is named).
#[must_use]
pub fn wheels(channel: &Channel, torch: Option<&Version>, os: &str, arch: &str) -> Wheels {
    let named = torch.map(|version| {
        let number = |index: usize| version.release().get(index).copied().unwrap_or(0);
        format!("{}.{}", number(0), number(1))
    });
    let minor = named.as_deref().unwrap_or(DEFAULT_TORCH);
    let mut of_channel = rows()
        .iter()
        .filter(|row| row.channel == *channel && row.torch == minor)
        .peekable();
    if of_channel.peek().is_none() {
        return Wheels::Unknown;
    }
    of_channel
        .find(|row| row.is_for(os, arch))
        .map_or(Wheels::None, Wheels::Known)
}

/// The oldest driver for a channel: its CUDA major version decides, so that it is known for every torch.
#[must_use]
pub fn driver_floor(channel: &Channel, windows: bool) -> Option<&'static DriverVersion> {
    // The package index has had torch for CUDA 12 since 2.1.
    let tag = if channel.is_pip() { "cu12" } else { channel.as_str() };
    let version = tag.strip_prefix("cu")?;
    let floor = drivers().iter().find(|floor| version.starts_with(&floor.cuda))?;
    Some(if windows { &floor.windows } else { &floor.linux })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;

    fn known(channel: &str, os: &str, arch: &str) -> Option<&'static Row> {
        match wheels(&channel.parse().expect("a channel"), None, os, arch) {
            Wheels::Known(row) => Some(row),
            Wheels::None | Wheels::Unknown => None,
        }
    }

    fn runs(channel: &str) -> impl Fn(u8, u8) -> bool {
        let row = known(channel, "linux", "x86_64").expect("a row");
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
    fn the_table_reads_and_is_consistent() {
        let table: Table = toml::from_str(TABLE).expect("a table");
        assert!(!table.wheels.is_empty() && !table.driver.is_empty());
        for row in rows() {
            let kinds = (!row.sm.is_empty(), !row.gfx.is_empty());
            let expected = match row.channel.backend() {
                Some(Backend::Cuda) => (true, false),
                Some(Backend::Rocm) => (false, true),
                Some(Backend::Cpu) => (false, false),
                None => (row.channel.is_pip(), false),
            };
            assert_eq!(kinds, expected, "{}", row.channel);
            assert!(row.source.len() > 20 && row.torch.split('.').count() == 2, "{row:?}");
            assert!(row.platforms.iter().all(|platform| platform.contains('-')), "{row:?}");
            let for_cuda = row.channel.is_pip() || row.channel.backend() == Some(Backend::Cuda);
            assert_eq!(driver_floor(&row.channel, false).is_some(), for_cuda);
            // No two rows are about the same wheels.
            let same = |other: &&Row| {
                other.channel == row.channel
                    && other.torch == row.torch
                    && (row.platforms.is_empty() || other.platforms.iter().any(|it| row.platforms.contains(it)))
            };
            assert_eq!(rows().iter().filter(same).count(), 1, "{row:?}");
        }
        for floor in drivers() {
            assert!(floor.source.len() > 20 && !floor.linux.is_older_than(&floor.linux));
        }
        for channel in ["cu118", "cu126", "cu128", "rocm6.3", "cpu"] {
            assert!(known(channel, "linux", "x86_64").is_some(), "{channel}");
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_unknown() {
        let of = |channel: &str, torch: &str, os: &str, arch: &str| {
            let torch = torch.parse().expect("a version");
            wheels(&channel.parse().expect("a channel"), Some(&torch), os, arch)
        };
        assert!(matches!(
            of("cu118", "2.7.1+cu118", "linux", "x86_64"),
            Wheels::Known(_)
        ));
        assert!(matches!(of("cu118", "2.7.0", "linux", "aarch64"), Wheels::None));
        assert!(matches!(of("rocm6.3", "2.7.0", "windows", "x86_64"), Wheels::None));
        assert!(matches!(of("cu128", "2.7.0", "linux", "aarch64"), Wheels::Known(_)));
        assert!(matches!(of("cpu", "2.7.0", "macos", "aarch64"), Wheels::Known(_)));
        assert!(matches!(of("cu118", "3.8.0", "linux", "x86_64"), Wheels::Unknown));
        assert!(matches!(of("mine", "2.7.0", "linux", "x86_64"), Wheels::Unknown));
        let floor = |channel: &str, windows| driver_floor(&channel.parse().expect("a channel"), windows);
        assert_eq!(floor("cu126", true).map(ToString::to_string).as_deref(), Some("528.33"));
        assert!(floor("cu999", false).is_none() && floor("cpu", false).is_none());
    }
}
