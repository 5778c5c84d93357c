//! Which backend this machine can run, and why.
//!
//! Owns: probing, which only reads ([`probe`]); the facts it brings home ([`Facts`]); choosing, which only decides
//! ([`choose`]), with a reason code, a sentence, the evidence and what would change the answer; and the compatibility
//! table ([`compat`]). Everything that touches the machine goes through [`Host`], so that a recorded machine decides
//! like a real one.
//! Refuses: to answer CUDA or ROCm without evidence of use. A kernel module, a PCI card or an exit code is none; a
//! parsed row of `nvidia-smi` or a `/dev/kfd` that opens is.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::backend::{Backend, Channel};
use crate::pep::Version;

mod amd;
mod choose;
pub mod compat;
mod hardware;
mod host;
mod ids;
mod live;
mod nvidia;
mod pci;
mod probe;
mod record;
mod replay;
mod scrub;

pub use amd::{AmdFacts, KfdAccess, KfdNode, RocmCard};
pub use choose::{Channels, Wanted, choose, obey};
pub use host::{CommandOutcome, Host};
pub use live::LiveHost;
pub use nvidia::{ComputeCapability, DriverVersion, Mig, NvidiaFacts, Smi, SmiFailure, SmiRow};
pub use pci::{Inventory, PciDevice, PciSource};
pub use probe::{Facts, probe};
pub use record::Recorder;
pub use replay::{ReplayError, ReplayHost};

/// Why the answer is what it is. The codes are part of the interface and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A preference or a channel was obeyed, whatever the hardware.
    Forced,
    /// An NVIDIA GPU runs the channel's wheels.
    NvidiaUsable,
    /// An AMD GPU runs the channel's wheels.
    AmdUsable,
    /// NVIDIA hardware without a working driver.
    NvidiaNoDriver,
    /// NVIDIA hardware bound to the nouveau driver, which has no CUDA.
    NvidiaNouveau,
    /// NVIDIA hardware reserved for virtual machines.
    NvidiaVfio,
    /// The loaded kernel module and the driver's libraries differ in version.
    NvidiaDriverMismatch,
    /// The driver works and sees no device.
    NvidiaNoDevices,
    /// A device does not answer any more.
    NvidiaGpuLost,
    /// `nvidia-smi` did not answer in time.
    NvidiaProbeHung,
    /// The driver is older than the channel's floor.
    NvidiaDriverTooOld,
    /// The channel's wheels hold no kernels for the GPU.
    NvidiaArchUnsupported,
    /// The channel's wheels hold no kernels for the GPU.
    AmdGfxUnsupported,
    /// AMD hardware without a working kernel driver.
    AmdNoDriver,
    /// `/dev/kfd` cannot be opened.
    AmdKfdDenied,
    /// Only Intel GPUs.
    IntelOnly,
    /// Only displays of virtual machines or management controllers.
    VirtualDisplayOnly,
    /// No GPU at all.
    NoGpu,
    /// There are no GPU wheels for this operating system or processor.
    PlatformUnsupported,
}

impl Reason {
    /// Every code.
    pub const ALL: [Self; 19] = [
        Self::Forced,
        Self::NvidiaUsable,
        Self::AmdUsable,
        Self::NvidiaNoDriver,
        Self::NvidiaNouveau,
        Self::NvidiaVfio,
        Self::NvidiaDriverMismatch,
        Self::NvidiaNoDevices,
        Self::NvidiaGpuLost,
        Self::NvidiaProbeHung,
        Self::NvidiaDriverTooOld,
        Self::NvidiaArchUnsupported,
        Self::AmdGfxUnsupported,
        Self::AmdNoDriver,
        Self::AmdKfdDenied,
        Self::IntelOnly,
        Self::VirtualDisplayOnly,
        Self::NoGpu,
        Self::PlatformUnsupported,
    ];

    /// The code that programs compare.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forced => "forced",
            Self::NvidiaUsable => "nvidia_usable",
            Self::AmdUsable => "amd_usable",
            Self::NvidiaNoDriver => "nvidia_no_driver",
            Self::NvidiaNouveau => "nvidia_nouveau",
            Self::NvidiaVfio => "nvidia_vfio",
            Self::NvidiaDriverMismatch => "nvidia_driver_mismatch",
            Self::NvidiaNoDevices => "nvidia_no_devices",
            Self::NvidiaGpuLost => "nvidia_gpu_lost",
            Self::NvidiaProbeHung => "nvidia_probe_hung",
            Self::NvidiaDriverTooOld => "nvidia_driver_too_old",
            Self::NvidiaArchUnsupported => "nvidia_arch_unsupported",
            Self::AmdGfxUnsupported => "amd_gfx_unsupported",
            Self::AmdNoDriver => "amd_no_driver",
            Self::AmdKfdDenied => "amd_kfd_denied",
            Self::IntelOnly => "intel_only",
            Self::VirtualDisplayOnly => "virtual_display_only",
            Self::NoGpu => "no_gpu",
            Self::PlatformUnsupported => "platform_unsupported",
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What one look at the machine brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// What was looked for, e.g. `nvidia-smi`.
    pub name: &'static str,
    /// The command that was run, as it is typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The file or folder that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The command's exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// The line that counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// What it means.
    pub outcome: ProbeOutcome,
}

/// What a look at the machine means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeOutcome {
    /// It showed something.
    Found,
    /// It worked and showed nothing.
    Nothing,
    /// There is no such command or file.
    Absent,
    /// It failed, or its answer made no sense.
    Failed,
    /// It did not answer in time.
    TimedOut,
    /// It did not answer in time and could not even be killed.
    Unkillable,
    /// A variable answered in its place.
    Overridden,
}

/// Hardware that a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accelerator {
    /// `NVIDIA`, `AMD` or `Intel`.
    pub vendor: &'static str,
    /// The model's name, as far as anything told it.
    pub model: String,
    /// PCI address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// Kernel driver or driver version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// CUDA compute capability, e.g. `8.9`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<String>,
    /// AMD's target, e.g. `gfx1100`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gfx: Option<String>,
    /// Memory in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// Whether the chosen channel's wheels run on it.
    pub usable: bool,
    /// Why not, or what is unsure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The answer, with everything that led to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The backend.
    pub backend: Backend,
    /// The channel.
    pub channel: Channel,
    /// The code.
    pub reason: Reason,
    /// One sentence, with the remedy where there is one.
    pub message: String,
    /// Whether a GPU was seen that runs the chosen channel's wheels. A backend that is forced needs none.
    pub gpu_usable: bool,
    /// The hardware.
    pub accelerators: Vec<Accelerator>,
    /// The evidence.
    pub probes: Vec<Probe>,
    /// What should be known besides.
    pub warnings: Vec<String>,
    /// Variables that programs should run with on this machine.
    pub env: BTreeMap<String, String>,
    /// What would change the answer, one sentence each.
    pub would_change: Vec<String>,
}

impl Decision {
    /// Whether there is hardware that the CPU is used in spite of: then the message must be seen.
    #[must_use]
    pub fn fell_back(&self) -> bool {
        let nothing = [
            Reason::Forced,
            Reason::NoGpu,
            Reason::VirtualDisplayOnly,
            Reason::IntelOnly,
        ];
        self.backend == Backend::Cpu && !nothing.contains(&self.reason)
    }

    /// Whether the backend is one for GPUs.
    #[must_use]
    pub fn uses_gpu(&self) -> bool {
        self.backend != Backend::Cpu
    }
}

/// What a vendor's hardware is judged against.
struct Ask<'a> {
    /// The channels that may be taken, best first.
    channels: &'a [Channel],
    /// Those that are listed and have no lockfile.
    unlocked: &'a [Channel],
    /// The torch that will be installed, where it is known.
    torch: Option<&'a Version>,
}

/// What one vendor's hardware amounts to.
enum Verdict {
    /// There is none.
    Absent,
    /// It runs the wheels of `channel`.
    Usable(Usable),
    /// It does not.
    Unusable {
        reason: Reason,
        message: String,
        would_change: Vec<String>,
    },
}

/// A vendor's hardware that can be used.
struct Usable {
    channel: Channel,
    message: String,
    warnings: Vec<String>,
    env: BTreeMap<String, String>,
}

/// Probes `host` where the answer depends on it (or `diagnose` asks), and decides.
#[must_use]
pub fn decide(wanted: &Wanted, host: &dyn Host, diagnose: bool) -> Decision {
    if !diagnose && let Some(decision) = obey(wanted) {
        return decision;
    }
    choose(wanted, &probe(host))
}

#[cfg(test)]
mod tests;
