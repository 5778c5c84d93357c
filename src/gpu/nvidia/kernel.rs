//! What the kernel tells of NVIDIA's hardware. None of it proves that a GPU can be used: the module stays loaded when
//! a GPU is lost, reserved for virtual machines, or another container's. It explains why `nvidia-smi` lists nothing.

use std::collections::BTreeMap;

use super::DriverVersion;
use crate::gpu::host::{Host, shown, text};
use crate::gpu::{Probe, ProbeOutcome};

const SYS_VERSION: &str = "/sys/module/nvidia/version";
const PROC_VERSION: &str = "/proc/driver/nvidia/version";
const GPUS: &str = "/proc/driver/nvidia/gpus";
const TEGRA: &str = "/etc/nv_tegra_release";
const DEVICE_TREE: &str = "/proc/device-tree/compatible";

/// Every file that is looked at.
pub(in crate::gpu) const FILES: &[&str] = &[SYS_VERSION, PROC_VERSION, TEGRA, DEVICE_TREE];

/// The version of the loaded kernel module.
pub(super) fn module(host: &dyn Host, probes: &mut Vec<Probe>) -> Option<String> {
    let mut file = |path: &str, read: fn(&str) -> Option<String>| {
        let text = text(host, path);
        let version = text.as_deref().and_then(read);
        let outcome = match (&text, &version) {
            (None, _) => ProbeOutcome::Absent,
            (Some(_), None) => ProbeOutcome::Failed,
            (Some(_), Some(_)) => ProbeOutcome::Found,
        };
        let line = text.as_deref().and_then(|text| text.lines().next()).map(shown);
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
    file(SYS_VERSION, |text| {
        DriverVersion::parse(text).map(|version| version.to_string())
    })
    .or_else(|| file(PROC_VERSION, module_version))
}

/// The version in `/proc/driver/nvidia/version`: open and closed modules and every year's distribution write the rest
/// of the line differently.
pub(super) fn module_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version"))?;
    line.split_whitespace()
        .find_map(DriverVersion::parse)
        .map(|version| version.to_string())
}

pub(super) fn is_jetson(host: &dyn Host) -> bool {
    host.arch() == "aarch64"
        && (host.read(TEGRA).is_ok() || text(host, DEVICE_TREE).is_some_and(|names| names.contains("nvidia,tegra")))
}

/// Whether there are device files of GPUs.
pub(super) fn device_files(host: &dyn Host) -> bool {
    host.list("/dev").unwrap_or_default().iter().any(|name| {
        name.strip_prefix("nvidia")
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    })
}

/// Whether the nouveau module is loaded.
pub(super) fn nouveau(host: &dyn Host) -> bool {
    let listed = |names: Vec<String>| names.iter().any(|name| name == "nouveau");
    host.list("/sys/module").is_ok_and(listed)
}

/// The models that the kernel module knows, by PCI address; `Unknown` stands where a GPU did not start.
pub(super) fn models(host: &dyn Host, probes: &mut Vec<Probe>) -> BTreeMap<String, String> {
    let mut slots = host.list(GPUS).unwrap_or_default();
    slots.truncate(64);
    let mut found = BTreeMap::new();
    for slot in slots {
        let path = format!("{GPUS}/{slot}/information");
        let Some(text) = text(host, &path) else { continue };
        let model = text
            .lines()
            .find_map(|line| Some(shown(line.trim().strip_prefix("Model:")?)));
        probes.push(Probe {
            name: "nvidia-information",
            command: None,
            file: Some(path),
            exit: None,
            line: model.clone(),
            outcome: if model.is_some() {
                ProbeOutcome::Found
            } else {
                ProbeOutcome::Failed
            },
        });
        if let Some(model) = model.filter(|model| !model.is_empty() && model != "Unknown") {
            found.insert(slot, model);
        }
    }
    found
}
