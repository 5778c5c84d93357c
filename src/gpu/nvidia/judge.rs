//! What NVIDIA's hardware amounts to. Pure.

use super::{ComputeCapability, DriverVersion, Smi, SmiFailure, SmiRow};
use crate::backend::Channel;
use crate::gpu::compat::{self, Row};
use crate::gpu::ids;
use crate::gpu::{Facts, Reason, Usable, Verdict};
use crate::pep::Version;

/// One GPU that the driver lists and that answers.
pub(in crate::gpu) struct Gpu<'a> {
    pub(in crate::gpu) row: &'a SmiRow,
    pub(in crate::gpu) compute: Option<ComputeCapability>,
}

/// Whether a GPU runs a channel's wheels.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::gpu) enum Fit {
    Yes,
    /// Nothing speaks against it, and something is not known.
    Unsure(String),
    DriverTooOld(DriverVersion),
    NoKernels(ComputeCapability),
}

impl Fit {
    fn ok(&self) -> bool {
        matches!(self, Self::Yes | Self::Unsure(_))
    }
}

/// The GPUs that answer, each with its capability: as the driver tells it, else by PCI id, else by name.
pub(in crate::gpu) fn gpus(facts: &Facts) -> Vec<Gpu<'_>> {
    let rows = facts.nvidia.rows();
    let by_pci: Vec<_> = facts
        .pci
        .nvidia()
        .map(|device| ids::compute_by_pci(device.device))
        .collect();
    // nvidia-smi lists by PCI address; without addresses in its rows, positions count only if nothing is missing.
    let aligned = by_pci.len() == rows.len();
    let same = by_pci
        .first()
        .copied()
        .flatten()
        .filter(|first| by_pci.iter().all(|other| *other == Some(*first)));
    rows.iter()
        .enumerate()
        .filter(|(_, row)| !row.lost)
        .map(|(index, row)| {
            let pci = if aligned { by_pci[index] } else { same };
            Gpu {
                row,
                compute: row.compute.or(pci).or_else(|| ids::compute_by_name(&row.name)),
            }
        })
        .collect()
}

/// Whether `gpu` runs the wheels of `channel`.
pub(in crate::gpu) fn fit(gpu: &Gpu<'_>, channel: &Channel, torch: Option<&Version>, facts: &Facts) -> Fit {
    // Under WSL the driver is the one of Windows and has its numbers.
    let windows = facts.wsl || facts.os == "windows";
    if let Some(floor) = compat::driver_floor(channel, windows)
        && gpu
            .row
            .driver
            .as_ref()
            .is_some_and(|driver| driver.is_older_than(&floor))
    {
        return Fit::DriverTooOld(floor);
    }
    let name = &gpu.row.name;
    match (compat::row(channel, torch), gpu.compute) {
        (Some(row), Some(compute)) if row.runs_compute(compute) => Fit::Yes,
        (Some(_), Some(compute)) => Fit::NoKernels(compute),
        (Some(_), None) => Fit::Unsure(format!(
            "the compute capability of {name} is not known; if the wheels of {channel} hold no kernels for it, torch will fail on first use"
        )),
        (None, _) => Fit::Unsure(format!(
            "which GPUs the wheels of {channel} hold kernels for is not known"
        )),
    }
}

/// Judges NVIDIA's hardware against `channels`, best first.
pub(in crate::gpu) fn judge(facts: &Facts, channels: &[Channel], torch: Option<&Version>) -> Verdict {
    if !present(facts) {
        return Verdict::Absent;
    }
    if let Some(verdict) = platform(facts, channels, torch) {
        return verdict;
    }
    let gpus = gpus(facts);
    if gpus.is_empty() {
        dead(facts)
    } else {
        alive(facts, &gpus, channels, torch)
    }
}

/// Whether there is NVIDIA hardware, or the only tool that could tell fails where nothing else can tell.
fn present(facts: &Facts) -> bool {
    facts.pci.nvidia().next().is_some()
        || !facts.nvidia.rows().is_empty()
        || facts.nvidia.jetson
        || matches!(facts.nvidia.smi, Smi::Hung { .. })
        || ((facts.pci.source.is_none() || facts.wsl) && facts.nvidia.smi != Smi::NotFound)
}

fn platform(facts: &Facts, channels: &[Channel], torch: Option<&Version>) -> Option<Verdict> {
    let jetson = facts.nvidia.jetson || facts.nvidia.rows().iter().any(|row| row.name.contains("(nvgpu)"));
    let fits = |row: &Row| row.has_wheels_for(&facts.os, &facts.arch);
    let any = channels
        .iter()
        .any(|channel| compat::row(channel, torch).is_none_or(fits));
    if any && !(jetson && facts.arch == "aarch64") {
        return None;
    }
    let message = if jetson {
        "this is a Jetson board, for which only NVIDIA builds CUDA wheels of torch; take them from NVIDIA's own index"
            .to_owned()
    } else {
        format!(
            "{} has no CUDA wheels for {} on {}",
            names(channels),
            facts.os,
            facts.arch
        )
    };
    Some(Verdict::Unusable {
        reason: Reason::PlatformUnsupported,
        message,
        would_change: Vec::new(),
    })
}

fn names(channels: &[Channel]) -> String {
    channels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The driver answers: the first channel that all GPUs run, else the first that one of them runs.
fn alive(facts: &Facts, gpus: &[Gpu<'_>], channels: &[Channel], torch: Option<&Version>) -> Verdict {
    let fits = |channel: &Channel| {
        gpus.iter()
            .map(|gpu| fit(gpu, channel, torch, facts))
            .collect::<Vec<_>>()
    };
    let judged: Vec<_> = channels.iter().map(|channel| (channel, fits(channel))).collect();
    let all = judged.iter().find(|(_, fits)| fits.iter().all(Fit::ok));
    let any = || judged.iter().find(|(_, fits)| fits.iter().any(Fit::ok));
    if let Some((channel, fits)) = all.or_else(any) {
        return Verdict::Usable(usable(facts, gpus, channel, fits));
    }
    let old = judged
        .iter()
        .flat_map(|(channel, fits)| fits.iter().map(move |fit| (channel, fit)));
    let no_kernels = judged
        .iter()
        .flat_map(|(_, fits)| fits)
        .any(|fit| matches!(fit, Fit::NoKernels(_)));
    if !no_kernels && let Some((channel, Fit::DriverTooOld(floor))) = old.into_iter().next() {
        let driver = gpus[0]
            .row
            .driver
            .as_ref()
            .map_or_else(String::new, |driver| format!(" {driver}"));
        let message = format!(
            "the NVIDIA driver{driver} is older than {floor}, which {channel} needs; update the driver{}",
            if facts.wsl { " of Windows" } else { "" }
        );
        let change = format!("a driver of at least {floor}");
        return Verdict::Unusable {
            reason: Reason::NvidiaDriverTooOld,
            message,
            would_change: vec![change],
        };
    }
    unsupported(facts, gpus, channels, torch)
}

/// No channel of the list has kernels for any of the GPUs: say which one would.
fn unsupported(facts: &Facts, gpus: &[Gpu<'_>], channels: &[Channel], torch: Option<&Version>) -> Verdict {
    let gpu = gpus.iter().find(|gpu| gpu.compute.is_some()).unwrap_or(&gpus[0]);
    let compute = gpu
        .compute
        .map_or_else(|| "unknown".to_owned(), |compute| compute.to_string());
    let subject = format!(
        "{} has compute capability {compute}, for which the wheels of {} hold no kernels",
        gpu.row.name,
        names(channels)
    );
    let better = compat::rows()
        .iter()
        .filter_map(|row| row.channel.parse::<Channel>().ok())
        .find(|channel| {
            compat::row(channel, torch).is_some_and(|row| row.has_wheels_for(&facts.os, &facts.arch))
                && gpus
                    .iter()
                    .any(|gpu| gpu.compute.is_some() && fit(gpu, channel, torch, facts) == Fit::Yes)
        });
    let (remedy, would_change) = match better {
        Some(channel) => (
            format!(
                "the channel {channel} has them: `--channel {channel}`, or list it in [tool.flambeau.backends] cuda"
            ),
            vec![format!("the channel {channel}")],
        ),
        None => ("no channel of this torch has them".to_owned(), Vec::new()),
    };
    Verdict::Unusable {
        reason: Reason::NvidiaArchUnsupported,
        message: format!("{subject}; {remedy}"),
        would_change,
    }
}

fn usable(facts: &Facts, gpus: &[Gpu<'_>], channel: &Channel, fits: &[Fit]) -> Usable {
    let mut usable = Usable {
        channel: channel.clone(),
        message: String::new(),
        warnings: Vec::new(),
        env: std::collections::BTreeMap::new(),
    };
    let mut good = Vec::new();
    for (gpu, fit) in gpus.iter().zip(fits) {
        match fit {
            Fit::Yes => good.push(gpu),
            Fit::Unsure(why) => {
                good.push(gpu);
                usable.warnings.push(why.clone());
            }
            Fit::NoKernels(compute) => usable.warnings.push(format!(
                "{} is left out: the wheels of {channel} hold no kernels for its compute capability {compute}",
                gpu.row.name
            )),
            Fit::DriverTooOld(floor) => usable.warnings.push(format!(
                "{} is left out: its driver is older than {floor}",
                gpu.row.name
            )),
        }
    }
    let lost = facts.nvidia.rows().iter().filter(|row| row.lost).count();
    if lost > 0 {
        usable.warnings.push(format!(
            "{lost} NVIDIA GPU(s) do not answer any more; a reboot may bring them back"
        ));
    }
    let listed = facts.nvidia.rows().len();
    let hardware = facts.pci.nvidia().count();
    if !facts.nvidia.overridden && hardware > listed {
        usable.warnings.push(format!(
            "{} of {hardware} NVIDIA GPUs are not listed by the driver",
            hardware - listed
        ));
    }
    if good.len() < gpus.len() {
        mask(facts, &good, &mut usable);
    }
    if let Some(gpu) = good.first() {
        let driver = gpu
            .row
            .driver
            .as_ref()
            .map_or_else(String::new, |driver| format!("driver {driver}, "));
        let compute = gpu
            .compute
            .map_or_else(|| "unknown".to_owned(), |compute| compute.to_string());
        usable.message = format!(
            "{} ({driver}compute capability {compute}) runs the wheels of {channel}",
            gpu.row.name
        );
    }
    usable
}

/// Hides the GPUs that the wheels do not run on: CUDA would put the fastest first, which is often one of those.
fn mask(facts: &Facts, good: &[&Gpu<'_>], usable: &mut Usable) {
    if facts.variables.contains_key("CUDA_VISIBLE_DEVICES") {
        return;
    }
    let index = |gpu: &&Gpu<'_>| facts.nvidia.rows().iter().position(|row| std::ptr::eq(row, gpu.row));
    let chosen: Option<Vec<_>> = good
        .iter()
        .map(|gpu| facts.nvidia.uuids.get(index(gpu)?).cloned())
        .collect();
    if let Some(chosen) = chosen {
        usable.env.insert("CUDA_VISIBLE_DEVICES".to_owned(), chosen.join(","));
    }
}

/// The driver lists nothing that answers: why not.
fn dead(facts: &Facts) -> Verdict {
    let drivers: Vec<Option<&str>> = facts.pci.nvidia().map(|device| device.driver.as_deref()).collect();
    let bound = |name: &str| !drivers.is_empty() && drivers.iter().all(|driver| *driver == Some(name));
    let silent = facts.pci.nvidia().next().is_some() && facts.pci.nvidia().all(super::super::PciDevice::is_silent);
    let vfio = bound("vfio-pci");
    let hidden = facts.nvidia.module.is_some() && !facts.nvidia.device_files;
    let reason = match &facts.nvidia.smi {
        Smi::Hung { .. } => Reason::NvidiaProbeHung,
        Smi::Failed {
            failure: SmiFailure::Mismatch,
            ..
        } => Reason::NvidiaDriverMismatch,
        Smi::Rows(_)
        | Smi::Failed {
            failure: SmiFailure::Lost,
            ..
        } => Reason::NvidiaGpuLost,
        _ if vfio => Reason::NvidiaVfio,
        _ if bound("nouveau") => Reason::NvidiaNouveau,
        _ if silent => Reason::NvidiaGpuLost,
        Smi::Failed {
            failure: SmiFailure::NoDevices | SmiFailure::NoSupported,
            ..
        } => Reason::NvidiaNoDevices,
        // The kernel driver is the host's, and this container got no device of it.
        Smi::NotFound
        | Smi::Failed {
            failure: SmiFailure::Unknown,
            ..
        } if hidden => Reason::NvidiaNoDevices,
        Smi::NotFound | Smi::Failed { .. } => Reason::NvidiaNoDriver,
    };
    let said = match &facts.nvidia.smi {
        Smi::Failed { line, .. } => format!(" (nvidia-smi: {line})"),
        _ => String::new(),
    };
    let (problem, remedy) = explain(reason, facts);
    Verdict::Unusable {
        reason,
        message: format!("{problem}{said}; {remedy}"),
        would_change: vec![remedy],
    }
}

fn explain(reason: Reason, facts: &Facts) -> (String, String) {
    let (problem, remedy) = match reason {
        Reason::NvidiaGpuLost => ("an NVIDIA GPU does not answer any more", "switch it on or reboot"),
        Reason::NvidiaProbeHung => ("nvidia-smi does not answer: the NVIDIA driver hangs", "reboot"),
        Reason::NvidiaDriverMismatch => (
            "the loaded NVIDIA kernel module and the driver's libraries differ in version",
            "reboot, or reload the module",
        ),
        Reason::NvidiaVfio => (
            "the NVIDIA GPUs are reserved for virtual machines (vfio-pci)",
            "bind them to the nvidia driver",
        ),
        Reason::NvidiaNouveau => (
            "the NVIDIA GPU runs on the nouveau driver, which has no CUDA",
            "install NVIDIA's driver",
        ),
        Reason::NvidiaNoDevices => (
            "the NVIDIA driver sees no GPU here",
            "pass the GPU into the container (`--gpus all`), or look for the driver's complaint in `dmesg`",
        ),
        _ if facts.wsl => (
            "NVIDIA's driver does not work inside WSL",
            "install or update NVIDIA's driver in Windows",
        ),
        _ => (
            "there is an NVIDIA GPU, and its driver is not running",
            "install NVIDIA's driver, or load it (`modprobe nvidia`)",
        ),
    };
    (problem.to_owned(), remedy.to_owned())
}
