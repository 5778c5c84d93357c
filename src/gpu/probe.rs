//! Looking at the machine. Reads, runs the vendors' own tools, and decides nothing.

use std::collections::BTreeMap;

use super::amd::{self, AmdFacts};
use super::host::Host;
use super::nvidia::{self, NvidiaFacts};
use super::pci::{self, Inventory};
use super::{Probe, Smi};

/// Variables that change what programs see of the GPUs.
const VARIABLES: [&str; 5] = [
    "CUDA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "HIP_VISIBLE_DEVICES",
    "HSA_OVERRIDE_GFX_VERSION",
    "ROCR_VISIBLE_DEVICES",
];

/// What a machine is, as far as the choice of a backend goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `linux`, `macos`, `windows`.
    pub os: String,
    /// `x86_64`, `aarch64`, …
    pub arch: String,
    /// Whether this is Linux inside Windows.
    pub wsl: bool,
    /// Displays and accelerators on the PCI bus.
    pub pci: Inventory,
    /// NVIDIA's side.
    pub nvidia: NvidiaFacts,
    /// AMD's side.
    pub amd: AmdFacts,
    /// The variables of `VARIABLES` that are set; empty values included, since they hide every GPU.
    pub variables: BTreeMap<&'static str, String>,
    /// What the looking itself has to report.
    pub notes: Vec<String>,
    /// Every look, in order.
    pub probes: Vec<Probe>,
}

/// Looks at `host`.
#[must_use]
pub fn probe(host: &dyn Host) -> Facts {
    let mut probes = Vec::new();
    let mut notes = Vec::new();
    let pci = pci::probe(host, &mut probes);
    let nvidia = nvidia::probe(host, &pci, &mut probes, &mut notes);
    let dead = |smi: &Smi| !matches!(smi, Smi::Rows(rows) if rows.iter().any(|row| !row.lost));
    let amd = amd::probe(host, &pci, dead(&nvidia.smi), &mut probes);
    Facts {
        os: host.os().to_owned(),
        arch: host.arch().to_owned(),
        wsl: is_wsl(host),
        pci,
        nvidia,
        amd,
        variables: VARIABLES
            .iter()
            .filter_map(|name| Some((*name, host.var(name)?)))
            .collect(),
        notes,
        probes,
    }
}

/// WSL's kernel says so; `/dev/dxg` is its way to the GPU, where a kernel of one's own runs under it.
fn is_wsl(host: &dyn Host) -> bool {
    host.kernel().to_ascii_lowercase().contains("microsoft")
        || host
            .list("/dev")
            .is_ok_and(|names| names.iter().any(|name| name == "dxg"))
}
