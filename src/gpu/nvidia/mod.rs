//! NVIDIA: what the driver's own tool says, and the kernel facts that explain it when it says nothing.
//!
//! The table that `nvidia-smi` prints for people is never read: its header changed in driver 610. Its exit code alone
//! means nothing either; one parsed row of its query does.

use std::fmt;

use super::host::{Host, text};
use super::{Inventory, Probe, ProbeOutcome};

pub(super) mod judge;
mod smi;

/// A CUDA compute capability, e.g. 8.9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComputeCapability {
    /// Major version.
    pub major: u8,
    /// Minor version.
    pub minor: u8,
}

impl ComputeCapability {
    /// `major.minor`.
    #[must_use]
    pub const fn new(major: u8, minor: u8) -> Self {
        Self { major, minor }
    }

    /// Reads `8.9`; also `89` and `sm_89`, as compilers write it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| text.parse().ok())
                .flatten()
        };
        let text = text.trim();
        let (major, minor) = if let Some(parts) = text.split_once('.') {
            parts
        } else {
            let digits = text.strip_prefix("sm_").unwrap_or(text);
            digits.split_at_checked(digits.len().checked_sub(1)?)?
        };
        let (major, minor) = (number(major)?, number(minor)?);
        ((1..=99).contains(&major) && minor <= 9).then_some(Self { major, minor })
    }
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// A driver's version: two or three numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverVersion {
    numbers: [u32; 3],
    text: String,
}

impl DriverVersion {
    /// Reads `535.154.05` or `572.60`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut numbers = [0; 3];
        let parts: Vec<&str> = text.split('.').collect();
        if !(2..=3).contains(&parts.len()) {
            return None;
        }
        for (number, part) in numbers.iter_mut().zip(&parts) {
            let digits = !part.is_empty() && part.len() <= 5 && part.bytes().all(|byte| byte.is_ascii_digit());
            *number = digits.then(|| part.parse().ok()).flatten()?;
        }
        // There never was a driver with a one-digit version that had CUDA.
        (numbers[0] >= 10).then(|| Self {
            numbers,
            text: text.to_owned(),
        })
    }

    /// Whether it is older than `other`.
    #[must_use]
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.numbers < other.numbers
    }
}

impl fmt::Display for DriverVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// One GPU as `nvidia-smi` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmiRow {
    /// Product name.
    pub name: String,
    /// The driver; none where only an override speaks.
    pub driver: Option<DriverVersion>,
    /// Compute capability, where the driver tells it.
    pub compute: Option<ComputeCapability>,
    /// Memory in MiB, where the driver tells it.
    pub memory_mib: Option<u64>,
    /// Whether the driver says that the device is lost.
    pub lost: bool,
}

/// What `nvidia-smi` says when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmiFailure {
    /// Kernel module and libraries differ in version.
    Mismatch,
    /// No devices were found.
    NoDevices,
    /// No device that this driver supports: all reserved for virtual machines, or too old.
    NoSupported,
    /// A device does not answer.
    Lost,
    /// The kernel module is not loaded.
    NotLoaded,
    /// The driver's library is missing.
    NoLibrary,
    /// Something else.
    Unknown,
}

/// How the question to `nvidia-smi` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Smi {
    /// There is no `nvidia-smi`.
    NotFound,
    /// It did not answer in time.
    Hung {
        /// Whether it could not even be killed.
        abandoned: bool,
    },
    /// It listed GPUs; at least one row.
    Rows(Vec<SmiRow>),
    /// It listed none.
    Failed {
        /// Why, as far as its words tell.
        failure: SmiFailure,
        /// The line that says it.
        line: String,
    },
}

/// Everything that was learnt about NVIDIA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvidiaFacts {
    /// What `nvidia-smi` says.
    pub smi: Smi,
    /// The loaded kernel module's version.
    pub module: Option<String>,
    /// Whether there are device files (`/dev/nvidia0`, …).
    pub device_files: bool,
    /// Whether this is a Jetson board.
    pub jetson: bool,
    /// UUIDs in the order of the rows, where they were needed and told.
    pub uuids: Vec<String>,
    /// Whether variables stand in for the hardware.
    pub overridden: bool,
}

impl NvidiaFacts {
    /// The rows, where there are any.
    #[must_use]
    pub fn rows(&self) -> &[SmiRow] {
        match &self.smi {
            Smi::Rows(rows) => rows,
            _ => &[],
        }
    }
}

/// Looks for NVIDIA's driver and asks it.
pub(super) fn probe(host: &dyn Host, pci: &Inventory, probes: &mut Vec<Probe>, notes: &mut Vec<String>) -> NvidiaFacts {
    let (smi, overridden) = overrides(host, probes, notes);
    let mut facts = NvidiaFacts {
        smi,
        module: None,
        device_files: false,
        jetson: is_jetson(host),
        uuids: Vec::new(),
        overridden,
    };
    if pci.nvidia().next().is_some() || facts.smi != Smi::NotFound {
        facts.module = module(host, probes);
        let devices = host.list("/dev").unwrap_or_default();
        facts.device_files = devices.iter().any(|name| {
            name.strip_prefix("nvidia")
                .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        });
    }
    let rows = facts.rows();
    if !overridden && rows.windows(2).any(|pair| pair[0].compute != pair[1].compute) {
        facts.uuids = smi::uuids(host, rows.len());
    }
    if facts.smi == (Smi::Hung { abandoned: true }) {
        notes.push("nvidia-smi hangs inside the driver, could not be killed and was left behind".to_owned());
    }
    facts
}

/// `FLAMBEAU_CUDA_DRIVER` and `FLAMBEAU_CUDA_ARCH` stand in for what they name; the rest is asked.
fn overrides(host: &dyn Host, probes: &mut Vec<Probe>, notes: &mut Vec<String>) -> (Smi, bool) {
    let value = |name: &str| host.var(name).filter(|value| !value.trim().is_empty());
    let mut refuse = |name: &str, value: &str| notes.push(format!("{name} holds `{value}`, which is ignored"));
    let driver = value("FLAMBEAU_CUDA_DRIVER").and_then(|text| {
        let parsed = DriverVersion::parse(&text).or_else(|| DriverVersion::parse(&format!("{}.0", text.trim())));
        if parsed.is_none() {
            refuse("FLAMBEAU_CUDA_DRIVER", &text);
        }
        parsed
    });
    let compute: Vec<ComputeCapability> = value("FLAMBEAU_CUDA_ARCH")
        .and_then(|text| {
            let parsed: Option<Vec<_>> = text.split([',', ';']).map(ComputeCapability::parse).collect();
            if parsed.is_none() {
                refuse("FLAMBEAU_CUDA_ARCH", &text);
            }
            parsed
        })
        .unwrap_or_default();
    if driver.is_none() && compute.is_empty() {
        return (smi::ask(host, probes), false);
    }
    let row = |compute| SmiRow {
        name: "NVIDIA GPU named by FLAMBEAU_CUDA_*".to_owned(),
        driver: driver.clone(),
        compute,
        memory_mib: None,
        lost: false,
    };
    let rows = if compute.is_empty() {
        match smi::ask(host, probes) {
            Smi::Rows(rows) => rows
                .into_iter()
                .map(|found| SmiRow {
                    driver: driver.clone(),
                    ..found
                })
                .collect(),
            _ => vec![row(None)],
        }
    } else {
        compute.into_iter().map(|compute| row(Some(compute))).collect()
    };
    probes.push(Probe {
        name: "nvidia-override",
        command: None,
        file: None,
        exit: None,
        line: Some("FLAMBEAU_CUDA_DRIVER, FLAMBEAU_CUDA_ARCH".to_owned()),
        outcome: ProbeOutcome::Overridden,
    });
    (Smi::Rows(rows), true)
}

/// The version of the loaded kernel module.
fn module(host: &dyn Host, probes: &mut Vec<Probe>) -> Option<String> {
    let mut file = |path: &str, read: fn(&str) -> Option<String>| {
        let text = text(host, path);
        let version = text.as_deref().and_then(read);
        let outcome = match (&text, &version) {
            (None, _) => ProbeOutcome::Absent,
            (Some(_), None) => ProbeOutcome::Failed,
            (Some(_), Some(_)) => ProbeOutcome::Found,
        };
        let line = text.as_deref().and_then(|text| text.lines().next()).map(str::to_owned);
        probes.push(Probe {
            name: "nvidia-module",
            command: None,
            file: Some(path.to_owned()),
            exit: None,
            line,
            outcome,
        });
        version
    };
    file("/sys/module/nvidia/version", |text| {
        DriverVersion::parse(text).map(|version| version.to_string())
    })
    .or_else(|| file("/proc/driver/nvidia/version", module_version))
}

/// The version in `/proc/driver/nvidia/version`: open and closed modules and every year's distribution write the rest
/// of the line differently.
fn module_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version"))?;
    line.split_whitespace()
        .find_map(DriverVersion::parse)
        .map(|version| version.to_string())
}

fn is_jetson(host: &dyn Host) -> bool {
    host.arch() == "aarch64"
        && (host.read("/etc/nv_tegra_release").is_ok()
            || text(host, "/proc/device-tree/compatible").is_some_and(|names| names.contains("nvidia,tegra")))
}

#[cfg(test)]
mod tests;
