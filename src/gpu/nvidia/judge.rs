//! What NVIDIA's hardware amounts to. Pure.

use std::collections::BTreeMap;

use super::{ComputeCapability, DriverVersion, Mig, Smi, SmiRow, dead};
use crate::backend::Channel;
use crate::gpu::compat::{self, Wheels};
use crate::gpu::ids;
use crate::gpu::{Ask, Facts, Reason, Usable, Verdict};

/// One GPU that the driver lists and that answers.
pub(in crate::gpu) struct Gpu<'a> {
    pub(in crate::gpu) row: &'a SmiRow,
    /// Its place among the rows, which is its place in PCI order.
    pub(in crate::gpu) index: usize,
    pub(in crate::gpu) compute: Option<ComputeCapability>,
}

impl Gpu<'_> {
    fn compute_text(&self) -> String {
        self.compute
            .map_or_else(|| "unknown".to_owned(), |compute| compute.to_string())
    }

    fn driver_text(&self) -> String {
        self.row
            .driver
            .as_ref()
            .map_or_else(String::new, |driver| format!(" {driver}"))
    }
}

/// Whether a GPU runs a channel's wheels.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::gpu) enum Fit {
    Yes,
    /// Nothing speaks against it, and something is not known.
    Unsure(String),
    DriverTooOld(&'static DriverVersion),
    NoKernels(ComputeCapability),
    /// There are no wheels for this machine.
    NoWheels,
}

impl Fit {
    pub(in crate::gpu) fn ok(&self) -> bool {
        matches!(self, Self::Yes | Self::Unsure(_))
    }

    /// What stands beside the GPU in the list of accelerators.
    pub(in crate::gpu) fn note(&self, channel: &Channel) -> Option<String> {
        match self {
            Self::Yes => None,
            Self::Unsure(why) => Some(why.clone()),
            Self::NoKernels(_) => Some(format!("the wheels of {channel} hold no kernels for it")),
            Self::DriverTooOld(floor) => Some(format!("its driver is older than {floor}")),
            Self::NoWheels => Some(format!("{channel} has no wheels for this machine")),
        }
    }
}

/// The GPUs that answer, each with its capability: as the driver tells it, else by PCI id, else by name.
pub(in crate::gpu) fn gpus(facts: &Facts) -> Vec<Gpu<'_>> {
    let rows = facts.nvidia.rows();
    // What other drivers hold, nvidia-smi does not list.
    let ours = |driver: Option<&str>| driver.is_none_or(|driver| driver == "nvidia");
    let by_pci: Vec<_> = facts
        .pci
        .nvidia()
        .filter(|device| ours(device.driver.as_deref()))
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
                index,
                compute: row.compute.or(pci).or_else(|| ids::compute_by_name(&row.name)),
            }
        })
        .collect()
}

/// Whether `gpu` runs the wheels of `channel`.
pub(in crate::gpu) fn fit(gpu: &Gpu<'_>, channel: &Channel, ask: &Ask<'_>, facts: &Facts) -> Fit {
    let known = compat::wheels(channel, ask.torch, &facts.os, &facts.arch);
    if matches!(known, Wheels::None) {
        return Fit::NoWheels;
    }
    // Under WSL the driver is the one of Windows and has its numbers.
    let windows = facts.wsl || facts.os == "windows";
    if let Some(floor) = compat::driver_floor(channel, windows)
        && let Some(driver) = &gpu.row.driver
        && driver.is_older_than(floor)
    {
        return Fit::DriverTooOld(floor);
    }
    let name = &gpu.row.name;
    match (known, gpu.compute) {
        (Wheels::Known(row), Some(compute)) if row.runs_compute(compute) => Fit::Yes,
        (Wheels::Known(_), Some(compute)) => Fit::NoKernels(compute),
        (Wheels::Known(_), None) => Fit::Unsure(format!(
            "the compute capability of {name} is not known; if the wheels of {channel} hold no kernels for it, torch will fail on first use"
        )),
        (_, _) => Fit::Unsure(format!(
            "which GPUs the wheels of {channel} hold kernels for is not known"
        )),
    }
}

/// Judges NVIDIA's hardware against the channels, best first.
pub(in crate::gpu) fn judge(facts: &Facts, ask: &Ask<'_>) -> Verdict {
    if !present(facts) {
        return Verdict::Absent;
    }
    if let Some(verdict) = platform(facts, ask) {
        return verdict;
    }
    let gpus = gpus(facts);
    if gpus.is_empty() || facts.nvidia.mig == Mig::Empty {
        dead::verdict(facts)
    } else {
        alive(facts, &gpus, ask)
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

fn platform(facts: &Facts, ask: &Ask<'_>) -> Option<Verdict> {
    let jetson = facts.nvidia.jetson || facts.nvidia.rows().iter().any(|row| row.name.contains("(nvgpu)"));
    let has_wheels =
        |channel: &Channel| !matches!(compat::wheels(channel, ask.torch, &facts.os, &facts.arch), Wheels::None);
    if ask.channels.iter().any(has_wheels) && !(jetson && facts.arch == "aarch64") {
        return None;
    }
    let (message, would_change) = if jetson {
        let remedy = "take NVIDIA's own wheels for Jetson";
        let text = format!(
            "this is a Jetson board, for which {} has no CUDA wheels; {remedy}",
            names(ask.channels)
        );
        (text, remedy.to_owned())
    } else {
        let remedy = match better(facts, &gpus(facts), ask) {
            Some(channel) => format!("the channel {channel} has them: `--channel {channel}`"),
            None => "use the CPU here, or a machine of another kind".to_owned(),
        };
        let (names, os, arch) = (names(ask.channels), &facts.os, &facts.arch);
        (
            format!("{names} has no CUDA wheels for {os} on {arch}; {remedy}"),
            remedy,
        )
    };
    Some(Verdict::Unusable {
        reason: Reason::PlatformUnsupported,
        message,
        would_change: vec![would_change],
    })
}

fn names(channels: &[Channel]) -> String {
    channels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The driver answers: the first channel that all GPUs run, else the first that one of them runs.
fn alive(facts: &Facts, gpus: &[Gpu<'_>], ask: &Ask<'_>) -> Verdict {
    let fits = |channel: &Channel| gpus.iter().map(|gpu| fit(gpu, channel, ask, facts)).collect::<Vec<_>>();
    let judged: Vec<_> = ask.channels.iter().map(|channel| (channel, fits(channel))).collect();
    let all = judged.iter().find(|(_, fits)| fits.iter().all(Fit::ok));
    let any = || judged.iter().find(|(_, fits)| fits.iter().any(Fit::ok));
    if let Some((channel, fits)) = all.or_else(any) {
        return Verdict::Usable(usable(facts, gpus, channel, fits));
    }
    let each = || {
        judged
            .iter()
            .flat_map(|(channel, fits)| fits.iter().map(move |fit| (channel, fit)))
    };
    let no_kernels = each().any(|(_, fit)| matches!(fit, Fit::NoKernels(_)));
    let too_old = each().find_map(|(channel, fit)| match fit {
        Fit::DriverTooOld(floor) => Some((*channel, *floor)),
        _ => None,
    });
    match too_old {
        Some((channel, floor)) if !no_kernels => old_driver(facts, gpus, channel, floor, ask),
        _ => unsupported(facts, gpus, ask),
    }
}

fn old_driver(facts: &Facts, gpus: &[Gpu<'_>], channel: &Channel, floor: &DriverVersion, ask: &Ask<'_>) -> Verdict {
    let whose = if facts.wsl { " of Windows" } else { "" };
    // A GPU that no newer driver helps is told so.
    let hopeless = match compat::wheels(channel, ask.torch, &facts.os, &facts.arch) {
        Wheels::Known(row) => gpus
            .iter()
            .all(|gpu| gpu.compute.is_some_and(|compute| !row.runs_compute(compute))),
        Wheels::None | Wheels::Unknown => false,
    };
    let remedy = if hopeless {
        format!(
            "its wheels hold no kernels for compute capability {} either",
            gpus[0].compute_text()
        )
    } else {
        format!("update the driver{whose}")
    };
    Verdict::Unusable {
        reason: Reason::NvidiaDriverTooOld,
        message: format!(
            "the NVIDIA driver{} is older than {floor}, which {channel} needs; {remedy}",
            gpus[0].driver_text()
        ),
        would_change: vec![format!("a driver of at least {floor}")],
    }
}

/// The first channel of the table that runs one of the GPUs; listed ones without a lockfile before all others.
fn better(facts: &Facts, gpus: &[Gpu<'_>], ask: &Ask<'_>) -> Option<Channel> {
    let runs = |channel: &&Channel| {
        gpus.iter()
            .any(|gpu| gpu.compute.is_some() && fit(gpu, channel, ask, facts) == Fit::Yes)
    };
    let known = compat::rows().iter().map(|row| &row.channel);
    ask.unlocked.iter().chain(known).find(runs).cloned()
}

/// No channel of the list has kernels for any of the GPUs: say which one would.
fn unsupported(facts: &Facts, gpus: &[Gpu<'_>], ask: &Ask<'_>) -> Verdict {
    let gpu = gpus.iter().find(|gpu| gpu.compute.is_some()).unwrap_or(&gpus[0]);
    let subject = format!(
        "{} has compute capability {}, for which the wheels of {} hold no kernels",
        gpu.row.name,
        gpu.compute_text(),
        names(ask.channels)
    );
    let (remedy, would_change) = match better(facts, gpus, ask) {
        Some(channel) if ask.unlocked.contains(&channel) => (
            format!(
                "the channel {channel} has them and is listed, but has no lockfile: `flambeau lock --channel {channel}`"
            ),
            format!("a lockfile for the channel {channel}"),
        ),
        Some(channel) => (
            format!(
                "the channel {channel} has them: `--channel {channel}`, or list it in [tool.flambeau.backends] cuda"
            ),
            format!("the channel {channel}"),
        ),
        None => (
            "no channel of this torch has them".to_owned(),
            "a GPU that the wheels hold kernels for".to_owned(),
        ),
    };
    Verdict::Unusable {
        reason: Reason::NvidiaArchUnsupported,
        message: format!("{subject}; {remedy}"),
        would_change: vec![would_change],
    }
}

fn usable(facts: &Facts, gpus: &[Gpu<'_>], channel: &Channel, fits: &[Fit]) -> Usable {
    let mut usable = Usable {
        channel: channel.clone(),
        message: String::new(),
        warnings: Vec::new(),
        env: BTreeMap::new(),
    };
    let mut good = Vec::new();
    for (gpu, fit) in gpus.iter().zip(fits) {
        let name = &gpu.row.name;
        let warning = match fit {
            Fit::Yes | Fit::NoWheels => None,
            Fit::Unsure(why) => Some(why.clone()),
            Fit::NoKernels(compute) => Some(format!(
                "{name} is left out: the wheels of {channel} hold no kernels for its compute capability {compute}"
            )),
            Fit::DriverTooOld(floor) => Some(format!("{name} is left out: its driver is older than {floor}")),
        };
        good.extend(fit.ok().then_some(gpu));
        usable.warnings.extend(warning);
    }
    usable.warnings.extend(missing(facts));
    if good.len() < gpus.len() {
        mask(facts, &good, &mut usable);
    }
    if let Some(gpu) = good.first() {
        let driver = if gpu.row.driver.is_some() {
            format!("driver{}, ", gpu.driver_text())
        } else {
            String::new()
        };
        usable.message = format!(
            "{} ({driver}compute capability {}) runs the wheels of {channel}",
            gpu.row.name,
            gpu.compute_text()
        );
    }
    usable.warnings.dedup();
    usable
}

/// What is wrong beside the GPUs that work.
fn missing(facts: &Facts) -> Vec<String> {
    let mut warnings = Vec::new();
    let nvidia = &facts.nvidia;
    let lost = nvidia.rows().iter().filter(|row| row.lost).count();
    if lost > 0 {
        warnings.push(format!(
            "{lost} NVIDIA GPU(s) do not answer any more; a reboot may bring them back"
        ));
    }
    let (listed, hardware) = (nvidia.rows().len(), facts.pci.nvidia().count());
    if !nvidia.overridden && hardware > listed {
        warnings.push(format!(
            "{} of {hardware} NVIDIA GPUs are not listed by the driver",
            hardware - listed
        ));
    }
    if nvidia.mig == Mig::Instances {
        warnings.push("a GPU is cut up by MIG: CUDA gives each process one instance, not the whole GPU".to_owned());
    }
    warnings
}

/// Hides the GPUs that the wheels do not run on: CUDA would put the fastest first, which is often one of those. In PCI
/// order CUDA's numbers are those of `nvidia-smi`.
fn mask(facts: &Facts, good: &[&Gpu<'_>], usable: &mut Usable) {
    if facts.variables.contains_key("CUDA_VISIBLE_DEVICES") {
        usable
            .warnings
            .push("CUDA_VISIBLE_DEVICES is set; it should leave out the GPUs named above".to_owned());
        return;
    }
    // A lost GPU is not counted by CUDA, and where it stood among the others decides about all numbers after it.
    if facts.nvidia.overridden || facts.nvidia.rows().iter().any(|row| row.lost) {
        return;
    }
    let chosen: Vec<String> = good.iter().map(|gpu| gpu.index.to_string()).collect();
    usable
        .env
        .insert("CUDA_DEVICE_ORDER".to_owned(), "PCI_BUS_ID".to_owned());
    usable.env.insert("CUDA_VISIBLE_DEVICES".to_owned(), chosen.join(","));
}
