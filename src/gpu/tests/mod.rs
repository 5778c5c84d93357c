//! Machines: recorded ones, made-up ones, broken ones.

use serde_json::{Value, json};

use super::*;
use crate::backend::Preference;

mod captures;
mod choosing;
mod compared;
mod properties;
mod recording;

fn fixtures() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpu")
}

/// A recorded output under `tests/fixtures/gpu`.
pub(super) fn fixture(name: &str) -> String {
    let path = fixtures().join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

const SMI: &str = "--query-gpu=name,driver_version,compute_cap,memory.total";
const OLD_SMI: &str = "--query-gpu=name,driver_version,memory.total";
const CSV: &str = "--format=csv,noheader";
const NODES: &str = "/sys/class/kfd/kfd/topology/nodes";

/// A recording under construction.
#[derive(Clone)]
struct Machine(Value);

impl Machine {
    fn new() -> Self {
        Self(
            json!({"schema": 1, "os": "linux", "arch": "x86_64", "kernel": "6.8.0", "commands": [], "files": {}, "links": {}, "open": {}, "env": {}}),
        )
    }

    fn set(mut self, section: &str, key: &str, value: impl Into<Value>) -> Self {
        self.0[section][key] = value.into();
        self
    }

    fn is(mut self, key: &str, value: &str) -> Self {
        self.0[key] = value.into();
        self
    }

    fn command(mut self, argv: &[&str], exit: i32, stdout: &str) -> Self {
        let command = json!({"argv": argv, "exit": exit, "stdout": stdout, "stderr": ""});
        self.0["commands"].as_array_mut().expect("a list").push(command);
        self
    }

    fn hangs(mut self, argv: &[&str]) -> Self {
        self.0["commands"]
            .as_array_mut()
            .expect("a list")
            .push(json!({"argv": argv, "timeout": true}));
        self
    }

    /// A PCI function in sysfs: `class vendor:device`, its driver (or `-`) and its revision.
    fn pci(self, slot: &str, class: &str, ids: &str, driver: &str) -> Self {
        let (vendor, device) = ids.split_once(':').expect("ids");
        let folder = format!("/sys/bus/pci/devices/{slot}");
        let machine = self
            .set("files", &format!("{folder}/class"), format!("0x{class}00\n"))
            .set("files", &format!("{folder}/vendor"), format!("0x{vendor}\n"))
            .set("files", &format!("{folder}/device"), format!("0x{device}\n"));
        if driver == "-" {
            machine
        } else {
            machine.set(
                "links",
                &format!("{folder}/driver"),
                format!("../../../bus/pci/drivers/{driver}"),
            )
        }
    }

    /// Every row of a recorded inventory.
    fn sysfs(mut self, name: &str) -> Self {
        for line in fixture(name).lines() {
            let fields: Vec<_> = line.split('\t').collect();
            let folder = format!("/sys/bus/pci/devices/{}", fields[0]);
            for (file, value) in ["class", "vendor", "device", "revision"].iter().zip(&fields[1..]) {
                self = self.set("files", &format!("{folder}/{file}"), format!("{value}\n"));
            }
        }
        self
    }

    fn lspci(self, option: &str, name: &str) -> Self {
        self.command(&["lspci", option], 0, &fixture(name))
    }

    fn smi(self, exit: i32, stdout: &str) -> Self {
        self.command(&["nvidia-smi", SMI, CSV], exit, stdout)
    }

    fn kfd(self, node: u32, properties: &str) -> Self {
        self.set("files", &format!("{NODES}/{node}/properties"), properties)
    }

    fn opens(self, result: &str) -> Self {
        self.set("open", "/dev/kfd", result)
    }

    fn host(&self) -> ReplayHost {
        ReplayHost::parse(self.0.to_string().as_bytes()).expect("a recording")
    }

    fn decide(&self, wanted: &Wanted) -> Decision {
        decide(wanted, &self.host(), true)
    }
}

fn gpu_node(version: u32, device: u32) -> String {
    format!("cpu_cores_count 0\nsimd_count 64\ngfx_target_version {version}\nvendor_id 4098\ndevice_id {device}\n")
}

fn auto() -> Wanted {
    Wanted {
        preference: Preference::Auto,
        channel: None,
        channels: Channels::default(),
        torch: None,
    }
}

fn cuda(tags: &[&str]) -> Wanted {
    let cuda = tags.iter().map(|tag| tag.parse().expect("a channel")).collect();
    Wanted {
        channels: Channels {
            cuda,
            ..Channels::default()
        },
        ..auto()
    }
}

fn answer(decision: &Decision) -> String {
    format!("{} {}", decision.channel, decision.reason.as_str())
}

const RTX5090: &str = "NVIDIA GeForce RTX 5090, 570.86.10, 12.0, 32607 MiB\n";
const RTX4090: &str = "NVIDIA GeForce RTX 4090, 550.54.14, 8.9, 24564 MiB\n";
