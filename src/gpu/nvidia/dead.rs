//! Why NVIDIA's driver lists nothing that answers, and what to do about it. Pure.

use super::{Mig, Smi, SmiFailure};
use crate::gpu::{Facts, PciDevice, Reason, Verdict};

/// There is NVIDIA hardware, and nothing of it can be used.
pub(super) fn verdict(facts: &Facts) -> Verdict {
    let reason = reason(facts);
    let said = match &facts.nvidia.smi {
        Smi::Failed { line, .. } => format!(" (nvidia-smi: {line})"),
        _ => String::new(),
    };
    let (problem, remedy) = explain(reason, facts);
    Verdict::Unusable {
        reason,
        message: format!("{problem}{said}; {remedy}"),
        would_change: vec![remedy.to_owned()],
    }
}

fn reason(facts: &Facts) -> Reason {
    let nvidia = &facts.nvidia;
    let failure = match &nvidia.smi {
        Smi::Hung { .. } => return Reason::NvidiaProbeHung,
        Smi::Rows(_) if nvidia.mig == Mig::Empty => return Reason::NvidiaNoDevices,
        Smi::Rows(_) => return Reason::NvidiaGpuLost,
        Smi::Failed { failure, .. } => Some(*failure),
        Smi::NotFound => None,
    };
    let drivers: Vec<Option<&str>> = facts.pci.nvidia().map(|device| device.driver.as_deref()).collect();
    let bound = |name: &str| drivers.contains(&Some(name));
    let all_for_machines = bound("vfio-pci") && drivers.iter().all(|driver| *driver == Some("vfio-pci"));
    let silent = facts.pci.nvidia().next().is_some() && facts.pci.nvidia().all(PciDevice::is_silent);
    let loaded = nvidia.module.is_some();
    match failure {
        Some(SmiFailure::Mismatch) => Reason::NvidiaDriverMismatch,
        Some(SmiFailure::Lost) => Reason::NvidiaGpuLost,
        _ if all_for_machines => Reason::NvidiaVfio,
        _ if (bound("nouveau") || nvidia.nouveau) && !bound("nvidia") => Reason::NvidiaNouveau,
        _ if silent => Reason::NvidiaGpuLost,
        Some(SmiFailure::NoDevices | SmiFailure::NoSupported) => Reason::NvidiaNoDevices,
        // The kernel driver runs, and this container got no device of it or may not use it.
        Some(SmiFailure::Unknown | SmiFailure::Denied) if loaded => Reason::NvidiaNoDevices,
        None if loaded && !nvidia.device_files => Reason::NvidiaNoDevices,
        _ => Reason::NvidiaNoDriver,
    }
}

fn explain(reason: Reason, facts: &Facts) -> (&'static str, &'static str) {
    let missing_tool = facts.nvidia.smi == Smi::NotFound && facts.nvidia.module.is_some();
    match reason {
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
        Reason::NvidiaNoDevices if facts.nvidia.mig == Mig::Empty => (
            "MIG is on for every NVIDIA GPU and none has an instance, so CUDA sees no device",
            "make one (`nvidia-smi mig -cgi … -C`), or switch MIG off (`nvidia-smi -mig 0`)",
        ),
        Reason::NvidiaNoDevices => (
            "the NVIDIA driver sees no GPU here",
            "pass the GPU into the container (`--gpus all`), or look for the driver's complaint in `dmesg`",
        ),
        _ if facts.wsl => (
            "NVIDIA's driver does not work inside WSL",
            "install or update NVIDIA's driver in Windows",
        ),
        _ if missing_tool => (
            "the NVIDIA kernel driver is loaded, and nvidia-smi, which would prove that it works, is not here",
            "install the driver's tools; in a container, allow them (NVIDIA_DRIVER_CAPABILITIES=compute,utility)",
        ),
        _ => (
            "there is an NVIDIA GPU, and its driver is not running",
            "install NVIDIA's driver, or load it (`modprobe nvidia`)",
        ),
    }
}
