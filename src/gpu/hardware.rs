//! What an answer says of the hardware and of the user's variables, beside what was chosen.

use super::host::shown;
use super::{Accelerator, Ask, Decision, Facts, PciDevice, amd, nvidia};
use crate::backend::Backend;

/// Variables of the user's that change what torch will see.
pub(super) fn variables(facts: &Facts, backend: Backend) -> Vec<String> {
    let names: &[&str] = match backend {
        Backend::Cuda => &["CUDA_VISIBLE_DEVICES"],
        Backend::Rocm => &["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"],
        Backend::Cpu => &[],
    };
    let hides = |name: &&&str| {
        facts
            .variables
            .get(**name)
            .is_some_and(|value| matches!(value.trim(), "" | "-1"))
    };
    let mut warnings: Vec<_> = names
        .iter()
        .filter(hides)
        .map(|name| format!("{name} is set so that it hides every GPU from torch"))
        .collect();
    let amd = !amd::judge::gpus(facts).is_empty();
    if let Some(value) = facts.variables.get("HSA_OVERRIDE_GFX_VERSION").filter(|_| amd) {
        let value = shown(value);
        warnings.push(if amd::judge::override_gfx(facts).is_some() {
            format!("HSA_OVERRIDE_GFX_VERSION={value} is set, and was taken as the GPU's target; kernels for another target may fail or compute wrongly")
        } else {
            format!("HSA_OVERRIDE_GFX_VERSION={value} is set, and is no version of three numbers")
        });
    }
    warnings
}

/// The hardware, with what the chosen channel makes of it.
pub(super) fn accelerators(facts: &Facts, decision: &Decision, ask: &Ask<'_>) -> Vec<Accelerator> {
    let mut found = of_nvidia(facts, decision, ask);
    for gpu in amd::judge::gpus(facts) {
        let runs = amd::judge::runs(&gpu, &decision.channel, ask, facts);
        found.push(Accelerator {
            vendor: "AMD",
            model: gpu.name,
            slot: gpu.slot,
            driver: gpu.driver,
            compute_capability: None,
            gfx: gpu.gfx,
            memory_mib: None,
            usable: decision.backend == Backend::Rocm && decision.gpu_usable && runs,
            note: None,
        });
    }
    found.extend(
        facts
            .pci
            .devices
            .iter()
            .filter(|device| device.is_intel())
            .map(|device| plain("Intel", device)),
    );
    found
}

fn of_nvidia(facts: &Facts, decision: &Decision, ask: &Ask<'_>) -> Vec<Accelerator> {
    let gpus = nvidia::judge::gpus(facts);
    if gpus.is_empty() {
        return facts.pci.nvidia().map(|device| dead(device, facts)).collect();
    }
    let slots: Vec<_> = facts.pci.nvidia().map(|device| device.slot.clone()).collect();
    let of = |(index, gpu): (usize, &nvidia::judge::Gpu<'_>)| {
        let fit = (decision.backend == Backend::Cuda).then(|| nvidia::judge::fit(gpu, &decision.channel, ask, facts));
        Accelerator {
            vendor: "NVIDIA",
            model: gpu.row.name.clone(),
            slot: slots.get(index).filter(|_| slots.len() == gpus.len()).cloned(),
            driver: gpu.row.driver.as_ref().map(ToString::to_string),
            compute_capability: gpu.compute.map(|compute| compute.to_string()),
            gfx: None,
            memory_mib: gpu.row.memory_mib,
            usable: decision.gpu_usable && fit.as_ref().is_some_and(nvidia::judge::Fit::ok),
            note: fit.and_then(|fit| fit.note(&decision.channel)),
        }
    };
    gpus.iter().enumerate().map(of).collect()
}

/// An NVIDIA GPU that its driver does not list; the kernel module may still know its model.
fn dead(device: &PciDevice, facts: &Facts) -> Accelerator {
    let model = facts.nvidia.models.get(&device.slot).cloned();
    let compute = super::ids::compute_by_pci(device.device)
        .or_else(|| super::ids::compute_by_name(model.as_deref().or(device.name.as_deref())?));
    let plain = plain("NVIDIA", device);
    Accelerator {
        model: model.unwrap_or_else(|| plain.model.clone()),
        compute_capability: compute.map(|compute| compute.to_string()),
        ..plain
    }
}

fn plain(vendor: &'static str, device: &PciDevice) -> Accelerator {
    Accelerator {
        vendor,
        model: device
            .name
            .clone()
            .unwrap_or_else(|| format!("{vendor} GPU {:04x}:{:04x}", device.vendor, device.device)),
        slot: Some(device.slot.clone()),
        driver: device.driver.clone(),
        compute_capability: None,
        gfx: None,
        memory_mib: None,
        usable: false,
        note: device.is_silent().then(|| "the device does not answer".to_owned()),
    }
}
