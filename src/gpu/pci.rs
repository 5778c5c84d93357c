//! The PCI inventory: which displays and accelerators sit in the machine, whoever drives them.
//!
//! Read from sysfs; without it from `lspci -Dnmm` (numbers only, made for programs), else from `lspci -nn`. Class and
//! vendor decide together: AMD's processors and bridges are no GPUs, Intel's class 1200 is no GPU, and AMD's largest
//! GPUs are of class 1200.

use super::host::{CommandOutcome, Host, shown, text};
use super::{Probe, ProbeOutcome, ids};

const DEVICES: &str = "/sys/bus/pci/devices";
/// The listings of `lspci` that are understood, best first.
pub(super) const COMMANDS: &[&[&str]] = &[&["lspci", "-Dnmm"], &["lspci", "-nn"]];
/// More devices than any machine has: what comes after them is not looked at.
const MOST: usize = 4096;

/// NVIDIA's vendor id.
const NVIDIA: u16 = 0x10de;
/// AMD's vendor id for graphics; its processors have another.
const AMD: u16 = 0x1002;
/// Intel's vendor id.
const INTEL: u16 = 0x8086;
/// The base class of displays: VGA, 3D, other.
const DISPLAY: u16 = 0x03;
/// Processing accelerators.
const ACCELERATOR: u16 = 0x1200;

/// One PCI function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciDevice {
    /// Its address, as the source writes it.
    pub slot: String,
    /// Base class and subclass, e.g. 0x0300.
    pub class: u16,
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Revision; 0xff where the device does not answer.
    pub revision: Option<u8>,
    /// The kernel driver bound to it; only sysfs tells.
    pub driver: Option<String>,
    /// The name; only `lspci -nn` tells.
    pub name: Option<String>,
}

impl PciDevice {
    /// An NVIDIA GPU.
    #[must_use]
    pub fn is_nvidia(&self) -> bool {
        self.vendor == NVIDIA && self.is_display()
    }

    /// An AMD GPU, integrated ones included.
    #[must_use]
    pub fn is_amd(&self) -> bool {
        self.vendor == AMD && (self.is_display() || self.class == ACCELERATOR)
    }

    /// An Intel GPU.
    #[must_use]
    pub fn is_intel(&self) -> bool {
        self.vendor == INTEL && self.is_display()
    }

    /// Any display controller.
    #[must_use]
    pub fn is_display(&self) -> bool {
        self.class >> 8 == DISPLAY
    }

    /// Whether every read comes back as ones: switched off, or fallen off the bus.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.revision == Some(0xff)
    }
}

/// Where an inventory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PciSource {
    /// `/sys/bus/pci/devices`.
    Sysfs,
    /// `lspci`.
    Lspci,
}

/// The displays and accelerators of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Where it comes from; none where the machine would not tell.
    pub source: Option<PciSource>,
    /// Functions of class 03xx and 1200, by address.
    pub devices: Vec<PciDevice>,
}

impl Inventory {
    /// NVIDIA's GPUs.
    pub fn nvidia(&self) -> impl Iterator<Item = &PciDevice> {
        self.devices.iter().filter(|device| device.is_nvidia())
    }

    /// AMD's GPUs.
    pub fn amd(&self) -> impl Iterator<Item = &PciDevice> {
        self.devices.iter().filter(|device| device.is_amd())
    }
}

/// Takes the inventory.
pub(super) fn probe(host: &dyn Host, probes: &mut Vec<Probe>) -> Inventory {
    if let Some(devices) = sysfs(host) {
        probes.push(Probe {
            name: "pci",
            command: None,
            file: Some(DEVICES.to_owned()),
            exit: None,
            line: devices.first().map(line),
            outcome: found(&devices),
        });
        return Inventory {
            source: Some(PciSource::Sysfs),
            devices,
        };
    }
    for (argv, parse) in COMMANDS.iter().zip([machine as fn(&str) -> Option<PciDevice>, human]) {
        let outcome = host.run(argv);
        let (exit, devices) = match &outcome {
            CommandOutcome::Finished { exit, stdout, .. } => (Some(*exit), parsed(stdout, parse)),
            _ => (None, None),
        };
        let displays: Vec<_> = devices
            .iter()
            .flatten()
            .filter(|device| counts(device))
            .cloned()
            .collect();
        probes.push(Probe {
            name: "pci",
            command: Some(argv.join(" ")),
            file: None,
            exit,
            line: displays.first().map(line),
            outcome: match outcome {
                CommandOutcome::NotFound => ProbeOutcome::Absent,
                CommandOutcome::TimedOut { .. } => ProbeOutcome::TimedOut,
                _ if devices.is_none() => ProbeOutcome::Failed,
                _ => found(&displays),
            },
        });
        if devices.is_some() {
            return Inventory {
                source: Some(PciSource::Lspci),
                devices: displays,
            };
        }
    }
    Inventory::default()
}

fn found(devices: &[PciDevice]) -> ProbeOutcome {
    if devices.is_empty() {
        ProbeOutcome::Nothing
    } else {
        ProbeOutcome::Found
    }
}

fn counts(device: &PciDevice) -> bool {
    is_graphics(device.class)
}

/// Displays and accelerators.
fn is_graphics(class: u16) -> bool {
    class >> 8 == DISPLAY || class == ACCELERATOR
}

fn line(device: &PciDevice) -> String {
    let PciDevice {
        slot,
        class,
        vendor,
        device,
        ..
    } = device;
    format!("{slot} {class:04x}: {vendor:04x}:{device:04x}")
}

/// `None` where there is no PCI bus to be seen. Of what is neither display nor accelerator only the class is read.
fn sysfs(host: &dyn Host) -> Option<Vec<PciDevice>> {
    let mut slots = host.list(DEVICES).ok()?;
    slots.sort();
    slots.truncate(MOST);
    let mut seen = false;
    let mut devices = Vec::new();
    for slot in slots {
        let file = |name: &str| text(host, &format!("{DEVICES}/{slot}/{name}"));
        let hex = |name: &str| u32::from_str_radix(file(name)?.strip_prefix("0x")?, 16).ok();
        let class = hex("class").and_then(|class| u16::try_from(class >> 8).ok());
        seen |= class.is_some();
        if class.is_some_and(|class| !is_graphics(class)) {
            continue;
        }
        let (Some(vendor), Some(device)) = (id(hex("vendor")), id(hex("device"))) else {
            continue;
        };
        // A recording made by hand may leave the class out; then the id must be known to be a GPU's.
        let Some(class) = class.or_else(|| class_by_id(&slot, vendor, device)) else {
            continue;
        };
        seen = true;
        let driver = host.link(&format!("{DEVICES}/{slot}/driver")).ok();
        let driver = driver.and_then(|link| Some(shown(link.trim_end_matches('/').rsplit('/').next()?)));
        devices.push(PciDevice {
            slot: shown(&slot),
            class,
            vendor,
            device,
            revision: hex("revision").and_then(|revision| u8::try_from(revision).ok()),
            driver,
            name: None,
        });
    }
    seen.then_some(devices)
}

fn class_by_id(slot: &str, vendor: u16, device: u16) -> Option<u16> {
    let known = match vendor {
        NVIDIA => ids::compute_by_pci(device).is_some(),
        AMD => ids::gfx_by_pci(device).is_some(),
        _ => false,
    };
    (known && slot.ends_with(".0")).then_some(0x0300)
}

fn id(value: Option<u32>) -> Option<u16> {
    value.and_then(|value| u16::try_from(value).ok())
}

/// The devices of a listing; `None` where no line is one.
fn parsed(listing: &str, parse: fn(&str) -> Option<PciDevice>) -> Option<Vec<PciDevice>> {
    let devices: Vec<_> = listing.lines().filter_map(parse).take(MOST).collect();
    (!devices.is_empty()).then_some(devices)
}

/// Whether a word is a PCI address: `01:00.0`, with or without a domain of four or more digits.
fn is_slot(word: &str) -> bool {
    let Some((bus, function)) = word.rsplit_once(':') else {
        return false;
    };
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bus = bus
        .rsplit_once(':')
        .map_or(Some(bus), |(domain, bus)| hex(domain).then_some(bus));
    bus.is_some_and(|bus| bus.len() == 2 && hex(bus))
        && function
            .split_once('.')
            .is_some_and(|(device, function)| device.len() == 2 && hex(device) && hex(function))
}

/// One line of `lspci -Dnmm`: `0000:01:00.0 "0300" "10de" "2684" -ra1 -p00 "1043" "88e2"`. Fields of `-nnmm`, a name
/// with the number in brackets behind it, are understood too.
fn machine(line: &str) -> Option<PciDevice> {
    let (slot, rest) = line.split_once(' ')?;
    let mut fields = Vec::new();
    let mut options = Vec::new();
    for (index, part) in rest.split('"').enumerate() {
        if index % 2 == 1 {
            fields.push(part);
        } else {
            options.extend(part.split_whitespace());
        }
    }
    let number = |index: usize| {
        let field: &str = fields.get(index)?;
        let field = field
            .strip_suffix(']')
            .and_then(|field| Some(field.rsplit_once('[')?.1))
            .unwrap_or(field);
        hex4(field)
    };
    let revision = options
        .iter()
        .find_map(|option| u8::from_str_radix(option.strip_prefix("-r")?, 16).ok());
    is_slot(slot).then_some(())?;
    Some(PciDevice {
        slot: slot.to_owned(),
        class: number(0)?,
        vendor: number(1)?,
        device: number(2)?,
        revision,
        driver: None,
        name: None,
    })
}

/// One line of `lspci -nn`: `01:00.0 VGA compatible controller [0300]: NVIDIA … [GeForce …] [10de:2684] (rev a1)`.
fn human(line: &str) -> Option<PciDevice> {
    let (slot, rest) = line.split_once(' ')?;
    is_slot(slot).then_some(())?;
    let (class, rest) = rest.split_once("]: ")?;
    let class = hex4(class.rsplit_once('[')?.1)?;
    let (name, ids, tail) = rest.match_indices('[').rev().find_map(|(start, _)| {
        let (ids, tail) = rest[start + 1..].split_once(']')?;
        let (vendor, device) = ids.split_once(':')?;
        Some((rest[..start].trim(), (hex4(vendor)?, hex4(device)?), tail))
    })?;
    let revision = tail
        .split_once("(rev ")
        .and_then(|(_, rest)| u8::from_str_radix(rest.split(')').next()?, 16).ok());
    Some(PciDevice {
        slot: slot.to_owned(),
        class,
        vendor: ids.0,
        device: ids.1,
        revision,
        driver: None,
        name: Some(shown(name)),
    })
}

fn hex4(text: &str) -> Option<u16> {
    if text.len() == 4 {
        u16::from_str_radix(text, 16).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_listings() {
        let found = machine("0000:01:00.0 \"0300\" \"10de\" \"26b1\" -ra1 -p00 \"10de\" \"16a1\"").expect("a device");
        assert!(found.is_nvidia() && found.revision == Some(0xa1));
        let line = "03:00.0 \"Display controller [0380]\" \"AMD [1002]\" \"Aldebaran [Instinct MI210] [740f]\" -r02 \"x [1002]\"";
        assert!(machine(line).expect("a device").is_amd());
        let line = "04:00.0 3D controller [0302]: NVIDIA Corporation GM108M [GeForce 840M] [10de:1341] (rev ff)";
        let found = human(line).expect("a device");
        assert!(found.is_nvidia() && found.is_silent());
        assert_eq!(found.name.as_deref(), Some("NVIDIA Corporation GM108M [GeForce 840M]"));
        let found = human("0002:00:00.0 Processing accelerators [1200]: AMD [1002:74a5]").expect("a device");
        assert!(found.is_amd() && !found.is_display());
        for line in [
            "",
            "pcilib: Error reading /sys/bus/pci/devices/0000:00:08.3/label: Operation not permitted",
            "\tSubsystem: Device [10de:1341]",
            "More PCI Classes at:",
            "04:00.0 VGA compatible controller: NVIDIA Corporation Device 26b1",
            "00:00.0 \"0300\" \"10de\"",
            "zz:00.0 \"0300\" \"10de\" \"26b1\"",
        ] {
            assert_eq!((machine(line), human(line)), (None, None), "{line}");
        }
    }

    #[test]
    fn only_graphics_by_class_and_vendor() {
        let is = |class, vendor| {
            let device = PciDevice {
                slot: String::new(),
                class,
                vendor,
                device: 1,
                revision: None,
                driver: None,
                name: None,
            };
            (device.is_nvidia(), device.is_amd(), device.is_intel())
        };
        assert_eq!(is(0x0302, NVIDIA), (true, false, false));
        assert_eq!(is(0x0403, NVIDIA), (false, false, false));
        assert_eq!(is(ACCELERATOR, AMD), (false, true, false));
        assert_eq!(is(0x0604, AMD), (false, false, false));
        assert_eq!(is(0x0300, 0x1022), (false, false, false));
        assert_eq!(is(ACCELERATOR, INTEL), (false, false, false));
    }
}
