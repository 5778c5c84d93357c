//! What AMD's hardware amounts to. Pure.

use std::collections::BTreeMap;

use super::KfdAccess;
use crate::backend::Channel;
use crate::gpu::compat::{self, Wheels};
use crate::gpu::{Ask, Facts, PciSource, Reason, Usable, Verdict, ids};

/// Variables that already choose among AMD's GPUs, the first of them first.
const VISIBILITY: [&str; 3] = ["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"];

/// One GPU, from whichever source knows it best.
#[derive(Debug, Clone)]
pub(in crate::gpu) struct Gpu {
    pub(in crate::gpu) name: String,
    pub(in crate::gpu) slot: Option<String>,
    pub(in crate::gpu) driver: Option<String>,
    /// What counts: the override's target, where the user has set one.
    pub(in crate::gpu) gfx: Option<String>,
}

/// The GPUs: compute nodes, else what PCI shows, else what `rocm-smi` lists.
pub(in crate::gpu) fn gpus(facts: &Facts) -> Vec<Gpu> {
    let amd = &facts.amd;
    let mut gpus: Vec<Gpu> = if !amd.nodes.is_empty() {
        let named = |device: u16| facts.pci.amd().find(|found| found.device == device);
        let node = |node: &super::KfdNode| Gpu {
            name: named(node.device)
                .and_then(|found| found.name.clone())
                .unwrap_or_else(|| label(node.gfx.as_deref(), node.device)),
            slot: named(node.device).map(|found| found.slot.clone()),
            driver: Some("amdgpu".to_owned()),
            gfx: node.gfx.clone(),
        };
        amd.nodes.iter().map(node).collect()
    } else if facts.pci.amd().next().is_some() {
        let device = |device: &crate::gpu::PciDevice| {
            let gfx = ids::gfx_by_pci(device.device);
            Gpu {
                name: device.name.clone().unwrap_or_else(|| label(gfx, device.device)),
                slot: Some(device.slot.clone()),
                driver: device.driver.clone(),
                gfx: gfx.map(str::to_owned),
            }
        };
        facts.pci.amd().map(device).collect()
    } else {
        let card = |card: &super::RocmCard| Gpu {
            name: card.name.clone(),
            slot: None,
            driver: None,
            gfx: card.gfx.clone(),
        };
        amd.cards.iter().map(card).collect()
    };
    if let Some(gfx) = override_gfx(facts) {
        for gpu in &mut gpus {
            gpu.gfx = Some(gfx.clone());
        }
    }
    gpus
}

fn label(gfx: Option<&str>, device: u16) -> String {
    format!(
        "AMD GPU 1002:{device:04x}{}",
        gfx.map_or_else(String::new, |gfx| format!(" ({gfx})"))
    )
}

/// The target that `HSA_OVERRIDE_GFX_VERSION` makes ROCm believe in: `10.3.0` is gfx1030.
pub(in crate::gpu) fn override_gfx(facts: &Facts) -> Option<String> {
    let value = facts.variables.get("HSA_OVERRIDE_GFX_VERSION")?;
    let parts: Vec<u32> = value
        .trim()
        .split('.')
        .map(|part| part.parse().ok().filter(|part| *part < 100))
        .collect::<Option<_>>()?;
    let [major, minor, stepping] = parts[..] else {
        return None;
    };
    ids::gfx_of_version(major * 10_000 + minor * 100 + stepping)
}

/// Whether the wheels of a channel hold code for `gpu`; where nothing is known of them, any target will do.
pub(in crate::gpu) fn runs(gpu: &Gpu, channel: &Channel, ask: &Ask<'_>, facts: &Facts) -> bool {
    match compat::wheels(channel, ask.torch, &facts.os, &facts.arch) {
        Wheels::Known(row) => gpu.gfx.as_deref().is_some_and(|gfx| row.runs_gfx(gfx)),
        Wheels::Unknown => gpu.gfx.is_some(),
        Wheels::None => false,
    }
}

/// Judges AMD's hardware against the channels, best first.
pub(in crate::gpu) fn judge(facts: &Facts, ask: &Ask<'_>) -> Verdict {
    let gpus = gpus(facts);
    if gpus.is_empty() {
        return Verdict::Absent;
    }
    let wheels = |channel: &Channel| compat::wheels(channel, ask.torch, &facts.os, &facts.arch);
    let here = |channel: &&Channel| !matches!(wheels(channel), Wheels::None);
    let Some(first) = ask.channels.iter().find(here) else {
        let remedy = "use the CPU here, or Linux on x86_64";
        return Verdict::Unusable {
            reason: Reason::PlatformUnsupported,
            message: format!("there are no ROCm wheels for {} on {}; {remedy}", facts.os, facts.arch),
            would_change: vec![remedy.to_owned()],
        };
    };
    let runs = |channel: &Channel, gpu: &Gpu| runs(gpu, channel, ask, facts);
    let candidates = || ask.channels.iter().filter(here);
    let all = candidates().find(|channel| gpus.iter().all(|gpu| runs(channel, gpu)));
    let any = || candidates().find(|channel| gpus.iter().any(|gpu| runs(channel, gpu)));
    let Some(channel) = all.or_else(any) else {
        return unsupported(&gpus, first);
    };
    if let Some(verdict) = refused(facts) {
        return verdict;
    }
    let good: Vec<bool> = gpus.iter().map(|gpu| runs(channel, gpu)).collect();
    let known = !matches!(wheels(channel), Wheels::Unknown);
    Verdict::Usable(usable(facts, &gpus, &good, channel, known))
}

fn unsupported(gpus: &[Gpu], channel: &Channel) -> Verdict {
    let targets: Vec<String> = gpus
        .iter()
        .map(|gpu| {
            format!(
                "{} is {}",
                gpu.name,
                gpu.gfx.as_deref().unwrap_or("of an unknown target")
            )
        })
        .collect();
    Verdict::Unusable {
        reason: Reason::AmdGfxUnsupported,
        message: format!(
            "{}, for which the wheels of {channel} hold no kernels; use the CPU, or a GPU that ROCm's wheels are built for",
            targets.join(" and ")
        ),
        would_change: vec!["an AMD GPU that the wheels hold kernels for".to_owned()],
    }
}

/// Why ROCm cannot be used although the GPU could: nothing that torch would open works.
fn refused(facts: &Facts) -> Option<Verdict> {
    let amd = &facts.amd;
    let unusable = |reason, problem: String, remedy: &str| {
        Some(Verdict::Unusable {
            reason,
            message: format!("{problem}; {remedy}"),
            would_change: vec![remedy.to_owned()],
        })
    };
    match &amd.kfd {
        KfdAccess::Open if amd.nodes.is_empty() && amd.cards.is_empty() && (amd.topology || amd.unfinished > 0) => {
            unusable(
                Reason::AmdNoDriver,
                "there is an AMD GPU, and the kernel's compute driver did not take it".to_owned(),
                "look for amdgpu's complaint in `dmesg`",
            )
        }
        KfdAccess::Open => None,
        KfdAccess::Refused(error) => {
            let remedy = match error.as_str() {
                "EACCES" | "EPERM" => {
                    "add the user to the group that owns it (`render`, on older systems `video`) and log in again"
                }
                _ => "pass /dev/kfd and /dev/dri into the container with the rights to use them",
            };
            unusable(
                Reason::AmdKfdDenied,
                format!("there is an AMD GPU, and /dev/kfd cannot be opened ({error})"),
                remedy,
            )
        }
        // Where sysfs shows no AMD card at all it is not this machine's, and the driver's tool alone can tell.
        KfdAccess::Absent if amd.nodes.is_empty() && !amd.cards.is_empty() && !(in_sysfs(facts) || facts.wsl) => None,
        KfdAccess::Absent if !(facts.wsl || amd.nodes.is_empty() && amd.cards.is_empty()) => unusable(
            Reason::AmdKfdDenied,
            "there is an AMD GPU, and /dev/kfd is missing here".to_owned(),
            "pass /dev/kfd and /dev/dri into the container",
        ),
        KfdAccess::Absent => {
            let vfio = facts.pci.amd().next().is_some()
                && facts
                    .pci
                    .amd()
                    .all(|device| device.driver.as_deref() == Some("vfio-pci"));
            let (problem, remedy) = if vfio {
                (
                    "the AMD GPU is reserved for virtual machines (vfio-pci)",
                    "bind it to the amdgpu driver",
                )
            } else if facts.wsl {
                (
                    "WSL has no /dev/kfd, which the ROCm wheels need",
                    "use AMD's own wheels for WSL",
                )
            } else {
                (
                    "there is an AMD GPU, and its compute driver is not running",
                    "load it (`modprobe amdgpu`)",
                )
            };
            unusable(Reason::AmdNoDriver, problem.to_owned(), remedy)
        }
    }
}

fn in_sysfs(facts: &Facts) -> bool {
    facts.pci.source == Some(PciSource::Sysfs) && facts.pci.amd().next().is_some()
}

fn usable(facts: &Facts, gpus: &[Gpu], good: &[bool], channel: &Channel, known: bool) -> Usable {
    let mut warnings = Vec::new();
    let mut env = BTreeMap::new();
    for (gpu, _) in gpus.iter().zip(good).filter(|(_, good)| !**good) {
        let gfx = gpu.gfx.as_deref().unwrap_or("an unknown target");
        warnings.push(format!(
            "{} is left out: the wheels of {channel} hold no kernels for {gfx}",
            gpu.name
        ));
    }
    if !known {
        warnings.push(format!(
            "which GPUs the wheels of {channel} hold kernels for is not known"
        ));
    }
    if facts.amd.kfd == KfdAccess::Absent {
        warnings.push("only rocm-smi was seen to work; /dev/kfd, which torch opens, was not seen".to_owned());
    }
    // A GPU without kernels beside a good one makes torch fail even if it is never used. ROCm counts compute nodes.
    let from_nodes = gpus.len() == facts.amd.nodes.len();
    if good.contains(&false) && from_nodes {
        if let Some(name) = VISIBILITY.iter().find(|name| facts.variables.contains_key(**name)) {
            warnings.push(format!("{name} is set; it should leave out the GPUs named above"));
        } else {
            let chosen: Vec<_> = (0..gpus.len())
                .filter(|index| good[*index])
                .map(|index| index.to_string())
                .collect();
            env.insert("HIP_VISIBLE_DEVICES".to_owned(), chosen.join(","));
        }
    }
    let chosen = gpus
        .iter()
        .zip(good)
        .find(|(_, good)| **good)
        .map_or(&gpus[0], |(gpu, _)| gpu);
    Usable {
        channel: channel.clone(),
        message: format!(
            "{} ({}) runs the wheels of {channel}",
            chosen.name,
            chosen.gfx.as_deref().unwrap_or("unknown target")
        ),
        warnings,
        env,
    }
}
