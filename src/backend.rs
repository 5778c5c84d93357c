//! Backends and the channel table: the only place where either is spelled.
//!
//! A *backend* is what the user prefers and gets (`CUDA`, `ROCm`, `CPU`); a *channel* is one PyTorch wheel index for
//! one backend (`cu118`, `rocm6.3`, `cpu`, …). The special channel `pip` takes torch from the package index; its
//! backend is what the chosen torch wheel says of itself, so the table has none for it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::pep::PackageName;

/// What an environment's torch computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Backend {
    /// NVIDIA GPUs.
    #[serde(rename = "CUDA")]
    Cuda,
    /// AMD GPUs.
    #[serde(rename = "ROCm")]
    Rocm,
    /// No GPU.
    #[serde(rename = "CPU")]
    Cpu,
}

impl Backend {
    /// Every backend, in the order in which messages list them.
    pub const ALL: [Self; 3] = [Self::Cuda, Self::Rocm, Self::Cpu];

    /// The name that state files and messages use: `CUDA`, `ROCm` or `CPU`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cuda => "CUDA",
            Self::Rocm => "ROCm",
            Self::Cpu => "CPU",
        }
    }

    /// The channel that this backend uses where the project names none.
    #[must_use]
    pub fn default_channel(self) -> Channel {
        Channel(
            match self {
                Self::Cuda => "cu118",
                Self::Rocm => "rocm6.3",
                Self::Cpu => "cpu",
            }
            .to_owned(),
        )
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A value that names no backend preference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no GPU backend; expected one of Auto, CUDA, ROCm, CPU")]
pub struct UnknownBackend(pub String);

/// What was asked for: a backend, or whatever the machine can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// The detector decides.
    Auto,
    /// Obeyed even without hardware.
    Backend(Backend),
}

impl Preference {
    /// `Auto`, `CUDA`, `ROCm` or `CPU`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::Backend(backend) => backend.as_str(),
        }
    }
}

impl FromStr for Preference {
    type Err = UnknownBackend;

    /// Reads one of the four values without regard to case, as .NET binds an enum.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value = text.trim();
        if value.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        Backend::ALL
            .into_iter()
            .find(|backend| value.eq_ignore_ascii_case(backend.as_str()))
            .map(Self::Backend)
            .ok_or_else(|| UnknownBackend(text.to_owned()))
    }
}

/// The index that PyTorch's own channels live under, without a trailing slash.
pub const PYTORCH_INDEX: &str = "https://download.pytorch.org/whl";

/// The tag of the channel that takes torch from the package index.
pub const PIP: &str = "pip";

/// The tag of a channel: lower-case ASCII letters, digits, `.`, `-` and `_`, starting with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Channel(String);

/// Text that cannot name a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot name a channel (lower-case letters, digits, `.`, `-` and `_`, starting with a letter)")]
pub struct InvalidChannel(pub String);

impl Channel {
    /// The channel `pip`.
    #[must_use]
    pub fn pip() -> Self {
        Self(PIP.to_owned())
    }

    /// The tag, e.g. `cu118`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether torch comes from the package index.
    #[must_use]
    pub fn is_pip(&self) -> bool {
        self.0 == PIP
    }

    /// The backend that the tag implies; none for `pip` and for tags the table does not know (`xpu`, private ones).
    #[must_use]
    pub fn backend(&self) -> Option<Backend> {
        let tag = self.as_str();
        let numbered = |prefix: &str| {
            tag.strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        };
        if tag == "cpu" {
            Some(Backend::Cpu)
        } else if numbered("cu") {
            Some(Backend::Cuda)
        } else if numbered("rocm") {
            Some(Backend::Rocm)
        } else {
            None
        }
    }

    /// `<name>` of `lockfiles/pylock.<name>.toml`: the three default channels are named after their backend, any
    /// other channel after its tag with `.` replaced, since PEP 751 allows no further dot there.
    #[must_use]
    pub fn lockfile_name(&self) -> String {
        match self.as_str() {
            "cu118" => "cuda".to_owned(),
            "rocm6.3" => "rocm".to_owned(),
            tag => tag.replace('.', "-"),
        }
    }

    /// The canonical index of a PyTorch channel, without a trailing slash; none for `pip`.
    #[must_use]
    pub fn canonical_index(&self) -> Option<String> {
        (!self.is_pip()).then(|| format!("{PYTORCH_INDEX}/{}", self.0))
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Channel {
    type Err = InvalidChannel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
        if text.starts_with(|first: char| first.is_ascii_lowercase()) && text.len() <= 64 && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidChannel(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Channel {
    type Error = InvalidChannel;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Channel> for String {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

/// The PyTorch family: packages that come from the channel and from nowhere else. Every other name (`triton` and
/// `nvidia-*` included) comes from the package index and from nowhere else, so that no name is ever taken from two
/// places (dependency confusion).
const FAMILY: &[&str] = &[
    "executorch",
    "fbgemm-gpu",
    "fbgemm-gpu-genai",
    "pytorch-triton",
    "pytorch-triton-rocm",
    "pytorch-triton-xpu",
    "torch",
    "torch-tensorrt",
    "torchao",
    "torchaudio",
    "torchcodec",
    "torchdata",
    "torchrec",
    "torchtext",
    "torchtune",
    "torchvision",
    "triton-rocm",
    "triton-xpu",
];

/// Whether `name` belongs to the PyTorch family.
#[must_use]
pub fn is_family(name: &PackageName) -> bool {
    FAMILY.binary_search(&name.as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preference_ignores_case_and_names_the_four_values() {
        assert_eq!("cuda".parse(), Ok(Preference::Backend(Backend::Cuda)));
        assert_eq!(" ROCM ".parse(), Ok(Preference::Backend(Backend::Rocm)));
        assert_eq!("auto".parse(), Ok(Preference::Auto));
        let error = "vulkan".parse::<Preference>().expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "`vulkan` is no GPU backend; expected one of Auto, CUDA, ROCm, CPU"
        );
    }

    #[test]
    fn channels_know_their_backend_and_file() {
        let rows = [
            ("cu118", Some(Backend::Cuda), "cuda"),
            ("cu126", Some(Backend::Cuda), "cu126"),
            ("rocm6.3", Some(Backend::Rocm), "rocm"),
            ("rocm6.2.4", Some(Backend::Rocm), "rocm6-2-4"),
            ("cpu", Some(Backend::Cpu), "cpu"),
            ("pip", None, "pip"),
            ("xpu", None, "xpu"),
            ("custom", None, "custom"),
        ];
        for (tag, backend, name) in rows {
            let channel: Channel = tag.parse().expect("valid");
            assert_eq!(
                (channel.backend(), channel.lockfile_name().as_str()),
                (backend, name),
                "{tag}"
            );
        }
        for tag in ["", "CU118", "../x", "1cu", "a b"] {
            assert!(tag.parse::<Channel>().is_err(), "{tag}");
        }
    }

    #[test]
    fn family_table_is_sorted() {
        assert!(FAMILY.is_sorted());
        let named = |name: &str| is_family(&name.parse().expect("a name"));
        assert!(named("torch") && named("Pytorch_Triton_ROCm"));
        assert!(!named("triton") && !named("nvidia-cublas-cu11"));
    }
}
