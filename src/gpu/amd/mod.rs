//! AMD: the kernel's own topology of compute nodes, the device that torch opens, and `rocm-smi` where both are silent.
//!
//! The exit code of `rocm-smi` means nothing (it is 0 when its driver is missing); a GPU parsed from its stdout does.

use std::collections::BTreeMap;

use serde_json::Value;

use super::host::{CommandOutcome, Host, shown, text};
use super::{Inventory, Probe, ProbeOutcome, ids};

pub(super) mod judge;

const NODES: &str = "/sys/class/kfd/kfd/topology/nodes";
const KFD: &str = "/dev/kfd";
const ROCM_SMI: &[&str] = &["rocm-smi", "--showproductname", "--json"];
/// Every question that is asked of a tool.
pub(super) const COMMANDS: &[&[&str]] = &[ROCM_SMI];
/// More compute nodes than any machine has: what comes after them is not looked at.
const MOST: usize = 4096;

/// A compute node with a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KfdNode {
    /// Its number; ROCm counts GPUs in this order.
    pub node: u32,
    /// Its target, as the kernel tells it or as its PCI id implies.
    pub gfx: Option<String>,
    /// PCI device id; 0 where the kernel did not finish setting the GPU up.
    pub device: u16,
}

/// Whether `/dev/kfd` can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KfdAccess {
    /// It opens: what torch does first.
    Open,
    /// It does not exist.
    Absent,
    /// It exists and does not open; the error's name.
    Refused(String),
}

/// One GPU as `rocm-smi` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RocmCard {
    /// Product name, or whatever stands there.
    pub name: String,
    /// Its target, where the listing implies one.
    pub gfx: Option<String>,
}

/// Everything that was learnt about AMD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmdFacts {
    /// The GPU nodes, in ROCm's order.
    pub nodes: Vec<KfdNode>,
    /// Whether the kernel has compute nodes at all (the processor is one).
    pub topology: bool,
    /// GPU nodes that the kernel did not finish setting up; nothing can use them.
    pub unfinished: usize,
    /// Whether `/dev/kfd` can be used.
    pub kfd: KfdAccess,
    /// What `rocm-smi` lists.
    pub cards: Vec<RocmCard>,
    /// Whether variables stand in for the hardware.
    pub overridden: bool,
}

/// Looks for AMD's GPUs. `rocm-smi` takes a second to start, so it is asked only where the kernel does not tell and
/// `ask_tool` says that the answer matters.
pub(super) fn probe(host: &dyn Host, pci: &Inventory, ask_tool: bool, probes: &mut Vec<Probe>) -> AmdFacts {
    if let Some(value) = host.var("FLAMBEAU_AMD_GFX").filter(|value| !value.trim().is_empty()) {
        probes.push(Probe {
            name: "amd-override",
            command: None,
            file: None,
            exit: None,
            line: Some(format!("FLAMBEAU_AMD_GFX={}", shown(&value))),
            outcome: ProbeOutcome::Overridden,
        });
        let named = (1..).zip(value.split([',', ';']).take(MOST));
        let nodes = named.map(|(node, gfx)| KfdNode {
            node,
            gfx: Some(shown(gfx).to_ascii_lowercase()),
            device: 1,
        });
        return AmdFacts {
            nodes: nodes.collect(),
            topology: true,
            unfinished: 0,
            kfd: KfdAccess::Open,
            cards: Vec::new(),
            overridden: true,
        };
    }
    let (topology, mut nodes) = topology(host, probes);
    let all = nodes.len();
    nodes.retain(|node| node.device != 0 || node.gfx.is_some());
    let unfinished = all - nodes.len();
    let kfd = if nodes.is_empty() && pci.amd().next().is_none() && !ask_tool {
        KfdAccess::Absent
    } else {
        access(host, probes)
    };
    let cards = if nodes.is_empty() && ask_tool {
        rocm_smi(host, probes)
    } else {
        Vec::new()
    };
    AmdFacts {
        nodes,
        topology,
        unfinished,
        kfd,
        cards,
        overridden: false,
    }
}

fn topology(host: &dyn Host, probes: &mut Vec<Probe>) -> (bool, Vec<KfdNode>) {
    let names = host.list(NODES);
    let mut numbers: Vec<u32> = names.iter().flatten().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.truncate(MOST);
    let nodes: Vec<_> = numbers
        .iter()
        .filter_map(|node| gpu_node(*node, &text(host, &format!("{NODES}/{node}/properties"))?))
        .collect();
    probes.push(Probe {
        name: "kfd-topology",
        command: None,
        file: Some(NODES.to_owned()),
        exit: None,
        line: nodes.first().map(|node| {
            format!(
                "node {}: {}",
                node.node,
                node.gfx.as_deref().unwrap_or("unknown target")
            )
        }),
        outcome: match (names.is_ok(), nodes.is_empty()) {
            (false, _) => ProbeOutcome::Absent,
            (true, true) => ProbeOutcome::Nothing,
            (true, false) => ProbeOutcome::Found,
        },
    });
    (!numbers.is_empty(), nodes)
}

/// The node, where it has a GPU. A node may be processor and GPU at once; kernels before 5.14 tell no target.
fn gpu_node(node: u32, properties: &str) -> Option<KfdNode> {
    let values: BTreeMap<&str, u64> = properties
        .lines()
        .filter_map(|line| {
            let (name, value) = line.trim().split_once(char::is_whitespace)?;
            Some((name, value.trim().parse().ok()?))
        })
        .collect();
    let value = |name: &str| values.get(name).copied().unwrap_or(0);
    let device = u16::try_from(value("device_id")).unwrap_or(0);
    (value("simd_count") > 0).then(|| KfdNode {
        node,
        gfx: u32::try_from(value("gfx_target_version"))
            .ok()
            .and_then(ids::gfx_of_version)
            .or_else(|| ids::gfx_by_pci(device).map(str::to_owned)),
        device,
    })
}

fn access(host: &dyn Host, probes: &mut Vec<Probe>) -> KfdAccess {
    let access = match host.open_rw(KFD) {
        Ok(()) => KfdAccess::Open,
        Err(error) if error == "ENOENT" => KfdAccess::Absent,
        Err(error) => KfdAccess::Refused(shown(&error)),
    };
    probes.push(Probe {
        name: "kfd",
        command: None,
        file: Some(KFD.to_owned()),
        exit: None,
        line: if let KfdAccess::Refused(error) = &access {
            Some(error.clone())
        } else {
            None
        },
        outcome: match access {
            KfdAccess::Open => ProbeOutcome::Found,
            KfdAccess::Absent => ProbeOutcome::Absent,
            KfdAccess::Refused(_) => ProbeOutcome::Failed,
        },
    });
    access
}

fn rocm_smi(host: &dyn Host, probes: &mut Vec<Probe>) -> Vec<RocmCard> {
    let outcome = host.run(ROCM_SMI);
    let (exit, cards, line) = match &outcome {
        CommandOutcome::Finished { exit, stdout, stderr } => {
            let cards = parse_cards(stdout);
            let said = stdout
                .lines()
                .chain(stderr.lines())
                .map(str::trim)
                .find(|line| !line.is_empty());
            let line = cards.first().map(|card| card.name.clone()).or_else(|| said.map(shown));
            (Some(*exit), cards, line)
        }
        _ => (None, Vec::new(), None),
    };
    probes.push(Probe {
        name: "rocm-smi",
        command: Some(ROCM_SMI.join(" ")),
        file: None,
        exit,
        line,
        outcome: match outcome {
            CommandOutcome::NotFound => ProbeOutcome::Absent,
            CommandOutcome::TimedOut { abandoned: true } => ProbeOutcome::Unkillable,
            CommandOutcome::TimedOut { abandoned: false } => ProbeOutcome::TimedOut,
            _ if cards.is_empty() => ProbeOutcome::Failed,
            _ => ProbeOutcome::Found,
        },
    });
    cards
}

/// The cards of `rocm-smi --showproductname --json`. Warnings may stand before the document; the names of its members
/// change with every release, so they are compared without case and any that helps is taken.
fn parse_cards(stdout: &str) -> Vec<RocmCard> {
    let documents = stdout.match_indices('{').map(|(start, _)| &stdout[start..]);
    // The first brace that opens a document; more tries than a few only help hostile output.
    let Some(Value::Object(document)) = documents.take(8).find_map(|text| {
        serde_json::Deserializer::from_str(text)
            .into_iter::<Value>()
            .next()?
            .ok()
    }) else {
        return Vec::new();
    };
    let mut cards: Vec<(u32, RocmCard)> = document
        .iter()
        .filter_map(|(key, value)| {
            let number = key.to_ascii_lowercase().strip_prefix("card")?.parse().ok()?;
            let members: BTreeMap<String, &str> = value
                .as_object()?
                .iter()
                .filter_map(|(name, value)| Some((name.to_ascii_lowercase(), value.as_str()?.trim())))
                .filter(|(_, value)| !value.is_empty() && !value.eq_ignore_ascii_case("n/a"))
                .collect();
            (!members.is_empty()).then(|| (number, card(&members)))
        })
        .take(MOST)
        .collect();
    cards.sort_by_key(|(number, _)| *number);
    cards.into_iter().map(|(_, card)| card).collect()
}

fn card(members: &BTreeMap<String, &str>) -> RocmCard {
    let member = |names: &[&str]| names.iter().find_map(|name| members.get(*name).copied());
    let by_id = |text: &str| {
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
        ids::gfx_by_pci(u16::from_str_radix(digits, 16).ok()?)
    };
    // "Card model" is the subsystem's id on most releases, and the device's on some.
    let gfx = member(&["gfx version"])
        .and_then(ids::gfx_of_rocm_smi)
        .or_else(|| member(&["gpu id", "device id"]).and_then(by_id))
        .or_else(|| member(&["card series"]).and_then(by_id))
        .or_else(|| member(&["card model"]).and_then(by_id));
    let name = member(&["card series", "device name", "card model", "card sku", "gfx version"]).unwrap_or("AMD GPU");
    RocmCard {
        name: shown(name),
        gfx: gfx.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests;
