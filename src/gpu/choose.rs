//! The decision: a function of what is wanted and what was found.

use std::collections::{BTreeMap, BTreeSet};

use super::hardware::{accelerators, variables};
use super::{Ask, Decision, Facts, PciDevice, Reason, Smi, Verdict, amd, nvidia};
use crate::backend::{Backend, Channel, Preference};
use crate::config::Config;
use crate::pep::Version;

/// The channels of each backend, best first; no list is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channels {
    /// CUDA's.
    pub cuda: Vec<Channel>,
    /// ROCm's.
    pub rocm: Vec<Channel>,
    /// CPU's.
    pub cpu: Vec<Channel>,
    /// Those without a lockfile, in a project that has lockfiles; they are passed over where another one is locked.
    pub unlocked: BTreeSet<Channel>,
}

impl Default for Channels {
    fn default() -> Self {
        let list = |backend: Backend| vec![backend.default_channel()];
        Self {
            cuda: list(Backend::Cuda),
            rocm: list(Backend::Rocm),
            cpu: list(Backend::Cpu),
            unlocked: BTreeSet::new(),
        }
    }
}

impl Channels {
    /// The channels of `backend` that may be taken.
    fn of(&self, backend: Backend) -> Vec<Channel> {
        let listed = match backend {
            Backend::Cuda => &self.cuda,
            Backend::Rocm => &self.rocm,
            Backend::Cpu => &self.cpu,
        };
        let locked: Vec<_> = listed
            .iter()
            .filter(|channel| !self.unlocked.contains(*channel))
            .cloned()
            .collect();
        match (locked.is_empty(), listed.is_empty()) {
            (false, _) => locked,
            (true, false) => listed.clone(),
            (true, true) => vec![backend.default_channel()],
        }
    }
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The preferred backend.
    pub preference: Preference,
    /// A channel that was named outright, with its backend; `pip` has none, and then the backend in the answer is
    /// only what this machine could run.
    pub channel: Option<(Channel, Option<Backend>)>,
    /// The channels to choose from otherwise.
    pub channels: Channels,
    /// The torch that will be installed, where it is known.
    pub torch: Option<Version>,
}

impl Wanted {
    /// What `config` asks for. `unlocked` are the channels without a lockfile, in a project that has lockfiles;
    /// `torch` is the version that will be installed, where it is known.
    #[must_use]
    pub fn new(config: &Config, unlocked: BTreeSet<Channel>, torch: Option<Version>) -> Self {
        let named = config.channel.as_ref().map(|named| &named.value);
        Self {
            preference: config.backend.value,
            channel: named.map(|channel| (channel.clone(), config.channel_backend(channel))),
            channels: Channels {
                cuda: config.channels(Backend::Cuda),
                rocm: config.channels(Backend::Rocm),
                cpu: config.channels(Backend::Cpu),
                unlocked,
            },
            torch,
        }
    }

    /// The backend that must be obeyed, hardware or not.
    fn forced(&self) -> Option<Backend> {
        match (self.preference, &self.channel) {
            (Preference::Backend(backend), _) => Some(backend),
            (Preference::Auto, Some((_, backend))) => *backend,
            (Preference::Auto, None) => None,
        }
    }

    fn candidates(&self, backend: Backend) -> Vec<Channel> {
        match &self.channel {
            Some((channel, of)) if of.is_none_or(|of| of == backend) => vec![channel.clone()],
            _ => self.channels.of(backend),
        }
    }
}

/// The answer that needs no look at the machine: a backend (or a channel) is named, and only one channel can be meant.
#[must_use]
pub fn obey(wanted: &Wanted) -> Option<Decision> {
    let backend = wanted.forced()?;
    let [channel] = &wanted.candidates(backend)[..] else {
        return None;
    };
    Some(Decision {
        backend,
        channel: channel.clone(),
        reason: Reason::Forced,
        message: asked(wanted, backend, channel),
        gpu_usable: false,
        accelerators: Vec::new(),
        probes: Vec::new(),
        warnings: Vec::new(),
        env: BTreeMap::new(),
        would_change: vec![AUTO.to_owned()],
    })
}

const AUTO: &str = "the preference Auto, which lets the hardware decide";

fn asked(wanted: &Wanted, backend: Backend, channel: &Channel) -> String {
    match wanted.preference {
        Preference::Backend(_) => format!("{backend} is asked for; the channel is {channel}"),
        Preference::Auto => format!("the channel {channel} is asked for, which is for {backend}"),
    }
}

/// Decides from the facts.
#[must_use]
pub fn choose(wanted: &Wanted, facts: &Facts) -> Decision {
    let [for_cuda, for_rocm] = [Backend::Cuda, Backend::Rocm].map(|backend| wanted.candidates(backend));
    let unlocked: Vec<Channel> = wanted.channels.unlocked.iter().cloned().collect();
    let ask = |channels| Ask {
        channels,
        unlocked: &unlocked,
        torch: wanted.torch.as_ref(),
    };
    let on_nvidia = nvidia::judge::judge(facts, &ask(&for_cuda));
    let on_amd = amd::judge::judge(facts, &ask(&for_rocm));
    let without_nvidia = matches!(on_nvidia, Verdict::Absent);
    let mut decision = match wanted.forced() {
        Some(backend) => forced(wanted, facts, backend, on_nvidia, on_amd),
        None => auto(wanted, facts, on_nvidia, on_amd),
    };
    decision.accelerators = accelerators(facts, &decision, &ask(&[]));
    decision.probes.clone_from(&facts.probes);
    decision.warnings.extend(facts.notes.iter().cloned());
    decision.warnings.extend(variables(facts, decision.backend));
    if let (Smi::Failed { line, .. }, true) = (&facts.nvidia.smi, without_nvidia) {
        decision.warnings.push(format!(
            "nvidia-smi is here, there is no NVIDIA GPU on the PCI bus, and it says: {line}"
        ));
    }
    decision
}

fn auto(wanted: &Wanted, facts: &Facts, on_nvidia: Verdict, on_amd: Verdict) -> Decision {
    let mut warnings = Vec::new();
    match (on_nvidia, on_amd) {
        (Verdict::Usable(usable), _) => answer(Backend::Cuda, Reason::NvidiaUsable, usable),
        (other, Verdict::Usable(mut usable)) => {
            if let Verdict::Unusable { message, .. } = other {
                usable.warnings.push(message);
            }
            answer(Backend::Rocm, Reason::AmdUsable, usable)
        }
        (
            Verdict::Unusable {
                reason,
                message,
                would_change,
            },
            other,
        ) => {
            if let Verdict::Unusable { message, .. } = other {
                warnings.push(message);
            }
            cpu(wanted, reason, message, warnings, would_change)
        }
        (
            Verdict::Absent,
            Verdict::Unusable {
                reason,
                message,
                would_change,
            },
        ) => cpu(wanted, reason, message, warnings, would_change),
        (Verdict::Absent, Verdict::Absent) => {
            let (reason, message) = nothing(facts);
            let change = "an NVIDIA or AMD GPU with its driver".to_owned();
            cpu(wanted, reason, message, warnings, vec![change])
        }
    }
}

fn answer(backend: Backend, reason: Reason, usable: super::Usable) -> Decision {
    Decision {
        backend,
        channel: usable.channel,
        reason,
        message: usable.message,
        gpu_usable: true,
        accelerators: Vec::new(),
        probes: Vec::new(),
        warnings: usable.warnings,
        env: usable.env,
        would_change: vec!["an explicit backend or channel".to_owned()],
    }
}

fn cpu(wanted: &Wanted, reason: Reason, message: String, warnings: Vec<String>, would_change: Vec<String>) -> Decision {
    let channel = wanted.candidates(Backend::Cpu).swap_remove(0);
    Decision {
        backend: Backend::Cpu,
        channel,
        reason,
        message,
        gpu_usable: false,
        accelerators: Vec::new(),
        probes: Vec::new(),
        warnings,
        env: BTreeMap::new(),
        would_change,
    }
}

/// There is neither an NVIDIA nor an AMD GPU: what there is instead.
fn nothing(facts: &Facts) -> (Reason, String) {
    let displays = || facts.pci.devices.iter().filter(|device| device.is_display());
    if facts.os == "macos" {
        let message = "macOS has neither CUDA nor ROCm; the CPU channel's wheel brings Metal (MPS)";
        (Reason::PlatformUnsupported, message.to_owned())
    } else if facts.wsl && displays().all(|device| device.vendor == MICROSOFT) {
        let message = "this is WSL, and no nvidia-smi answers; install NVIDIA's driver in Windows if it has such a GPU";
        let reason = if displays().next().is_some() {
            Reason::VirtualDisplayOnly
        } else {
            Reason::NoGpu
        };
        (reason, message.to_owned())
    } else if displays().any(PciDevice::is_intel) {
        let message = "only Intel GPUs were found, for which neither CUDA nor ROCm is made; the CPU is used";
        (Reason::IntelOnly, message.to_owned())
    } else if displays().next().is_some() {
        let message = "only a display of a virtual machine or a management controller was found; the CPU is used";
        (Reason::VirtualDisplayOnly, message.to_owned())
    } else {
        let message = match facts.pci.source {
            Some(_) => "no GPU was found; the CPU is used",
            None => "no GPU was found, and neither sysfs nor lspci shows the PCI bus; the CPU is used",
        };
        (Reason::NoGpu, message.to_owned())
    }
}

/// The vendor id of Hyper-V's and WSL's displays.
const MICROSOFT: u16 = 0x1414;

/// A named backend is obeyed; what the machine says becomes a warning.
fn forced(wanted: &Wanted, facts: &Facts, backend: Backend, on_nvidia: Verdict, on_amd: Verdict) -> Decision {
    let verdict = match backend {
        Backend::Cuda => Some(on_nvidia),
        Backend::Rocm => Some(on_amd),
        Backend::Cpu => None,
    };
    let mut decision = cpu(wanted, Reason::Forced, String::new(), Vec::new(), vec![AUTO.to_owned()]);
    decision.backend = backend;
    decision.channel = wanted.candidates(backend).swap_remove(0);
    match verdict {
        None => {}
        Some(Verdict::Usable(usable)) => {
            decision.gpu_usable = true;
            decision.channel = usable.channel;
            decision.warnings = usable.warnings;
            decision.env = usable.env;
        }
        Some(Verdict::Unusable { message, .. }) => decision.warnings.push(message),
        Some(Verdict::Absent) => {
            let (_, message) = nothing(facts);
            let vendor = if backend == Backend::Cuda { "NVIDIA" } else { "AMD" };
            let found = message.split([',', ';']).next().unwrap_or_default();
            decision
                .warnings
                .push(format!("this machine has no {vendor} GPU: {found}"));
        }
    }
    decision.message = asked(wanted, backend, &decision.channel);
    decision
}
