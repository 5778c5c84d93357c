//! Variables that stand in for NVIDIA's hardware: builds on machines without one, and tests.

use super::{ComputeCapability, DriverVersion, Smi, SmiRow, smi};
use crate::gpu::host::{Host, shown};
use crate::gpu::{Probe, ProbeOutcome};

/// `FLAMBEAU_CUDA_DRIVER` and `FLAMBEAU_CUDA_ARCH` stand in for what they name; the rest is asked.
pub(super) fn or_ask(host: &dyn Host, probes: &mut Vec<Probe>, notes: &mut Vec<String>) -> (Smi, bool) {
    let value = |name: &str| host.var(name).filter(|value| !value.trim().is_empty());
    let mut refuse = |name: &str, value: &str| notes.push(format!("{name} holds `{}`, which is ignored", shown(value)));
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
