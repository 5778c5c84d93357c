//! NVIDIA: what the driver's own tool says, and the kernel facts that explain it when it says nothing.
//!
//! The table that `nvidia-smi` prints for people is never read: its header changed in driver 610. Its exit code alone
//! means nothing either; one parsed row of its query does.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::host::Host;
use super::{Inventory, Probe, ProbeOutcome};

mod dead;
pub(super) mod judge;
mod kernel;
mod overrides;
mod smi;

pub(super) use kernel::FILES;
pub(super) use smi::COMMANDS;

/// A CUDA compute capability, e.g. 8.9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
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

impl TryFrom<String> for ComputeCapability {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is no compute capability"))
    }
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// A driver's version: two or three numbers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
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

impl TryFrom<String> for DriverVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is no driver version"))
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
    /// This user may not ask.
    Denied,
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
#[expect(clippy::struct_excessive_bools, reason = "independent observations, no states")]
pub struct NvidiaFacts {
    /// What `nvidia-smi` says.
    pub smi: Smi,
    /// The loaded kernel module's version.
    pub module: Option<String>,
    /// Whether the nouveau module is loaded in its place, as far as the kernel tells.
    pub nouveau: bool,
    /// Whether there are device files (`/dev/nvidia0`, …).
    pub device_files: bool,
    /// Models by PCI address, as the kernel module names them; asked only where `nvidia-smi` names none.
    pub models: BTreeMap<String, String>,
    /// Whether this is a Jetson board.
    pub jetson: bool,
    /// Whether the GPUs are cut up by MIG, where that was asked.
    pub mig: Mig,
    /// Whether variables stand in for the hardware.
    pub overridden: bool,
}

/// What MIG does to the GPUs (NVIDIA's partitioning of data-centre GPUs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mig {
    /// Nothing, as far as is known.
    Off,
    /// At least one GPU is cut into instances; CUDA gives a process one of them.
    Instances,
    /// It is on for every GPU, and there is no instance: CUDA sees no device.
    Empty,
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
    let (smi, overridden) = overrides::or_ask(host, probes, notes);
    let mut facts = NvidiaFacts {
        smi,
        module: None,
        nouveau: false,
        device_files: false,
        models: BTreeMap::new(),
        jetson: kernel::is_jetson(host),
        mig: Mig::Off,
        overridden,
    };
    let alive = facts.rows().iter().any(|row| !row.lost);
    if pci.nvidia().next().is_some() || facts.smi != Smi::NotFound {
        facts.module = kernel::module(host, probes);
        facts.device_files = kernel::device_files(host);
        facts.nouveau = facts.module.is_none() && kernel::nouveau(host);
    }
    if !alive && facts.module.is_some() {
        facts.models = kernel::models(host, probes);
    }
    if alive && !overridden {
        facts.mig = smi::mig(host, facts.rows(), probes);
    }
    if facts.smi == (Smi::Hung { abandoned: true }) {
        notes.push("nvidia-smi hangs inside the driver, could not be killed and was left behind".to_owned());
    }
    facts
}

#[cfg(test)]
mod tests;
