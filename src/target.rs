//! Targets: the interpreter ABI × platform that an environment is for, e.g. `cp311-manylinux_2_28_x86_64`.
//!
//! Tags are ranked as on exactly the target's floor, whatever the host: a `manylinux_2_28` target never takes a
//! `manylinux_2_34` wheel, even on a newer system. Markers are evaluated against the target, not against the host, so
//! a laptop of any kind computes the same keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::pep::{Arch, MarkerEnvironment, MarkerEnvironmentBuilder, Os, TagPlatform, Tags, TagsOptions, Version};

/// Text that names no target, Python or platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTargetError {
    /// Neither `cp311-…` nor a known form.
    #[error("`{0}` is no target; expected a form such as `cp311-manylinux_2_28_x86_64`")]
    Target(String),
    /// Not `3.11` or `3.13t`.
    #[error("`{0}` is no Python minor version; expected a form such as `3.11` (or `3.13t` for free-threaded builds)")]
    Python(String),
    /// Not a platform tag that flambeau knows.
    #[error(
        "`{0}` is no platform; expected a form such as `manylinux_2_28_x86_64`, `linux_aarch64`, \
         `musllinux_1_2_x86_64`, `macosx_14_0_arm64` or `win_amd64`"
    )]
    Platform(String),
}

/// A CPython minor version and ABI variant: `3.11`, or `3.13t` for the free-threaded build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PythonMinor {
    /// The minor version; the major version is 3.
    pub minor: u8,
    /// Whether the build runs without the GIL (ABI `cp313t`).
    pub freethreaded: bool,
}

impl PythonMinor {
    /// `3.<minor>` with the ordinary ABI.
    #[must_use]
    pub const fn new(minor: u8) -> Self {
        Self {
            minor,
            freethreaded: false,
        }
    }

    /// The ABI part of a target: `cp311`, `cp313t`.
    #[must_use]
    pub fn abi(self) -> String {
        format!("cp3{}{}", self.minor, if self.freethreaded { "t" } else { "" })
    }

    /// `3.11`, without the ABI variant.
    #[must_use]
    pub fn version(self) -> String {
        format!("3.{}", self.minor)
    }

    /// The name of the folder under `lib/`: `python3.11`, `python3.13t`.
    #[must_use]
    pub fn lib_folder(self) -> String {
        format!("python{self}")
    }

    fn from_abi(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("cp3")?;
        let (digits, freethreaded) = digits
            .strip_suffix('t')
            .map_or((digits, false), |digits| (digits, true));
        Some(Self {
            minor: parse_minor(digits)?,
            freethreaded,
        })
    }
}

/// Reads a minor version without leading zeros or signs.
fn parse_minor(digits: &str) -> Option<u8> {
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    if canonical { digits.parse().ok() } else { None }
}

impl fmt::Display for PythonMinor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "3.{}{}",
            self.minor,
            if self.freethreaded { "t" } else { "" }
        )
    }
}

impl FromStr for PythonMinor {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseTargetError::Python(text.to_owned());
        let digits = text.strip_prefix("3.").ok_or_else(error)?;
        let (digits, freethreaded) = digits
            .strip_suffix('t')
            .map_or((digits, false), |digits| (digits, true));
        Ok(Self {
            minor: parse_minor(digits).ok_or_else(error)?,
            freethreaded,
        })
    }
}

impl TryFrom<String> for PythonMinor {
    type Error = ParseTargetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PythonMinor> for String {
    fn from(python: PythonMinor) -> Self {
        python.to_string()
    }
}

/// A processor architecture that PyTorch builds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Machine {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM (`aarch64`; `arm64` on macOS and Windows).
    Aarch64,
}

/// A platform with its floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Platform {
    /// Linux with at least this glibc (PEP 600).
    Manylinux(u16, u16, Machine),
    /// Linux with at least this musl (PEP 656).
    Musllinux(u16, u16, Machine),
    /// macOS of at least this version.
    MacOs(u16, u16, Machine),
    /// Windows.
    Windows(Machine),
}

impl Platform {
    /// `manylinux_2_28_x86_64`: what `linux_x86_64` means on the command line.
    pub const LINUX_X86_64: Self = Self::Manylinux(2, 28, Machine::X86_64);

    /// The architecture.
    #[must_use]
    pub const fn machine(self) -> Machine {
        match self {
            Self::Manylinux(_, _, machine)
            | Self::Musllinux(_, _, machine)
            | Self::MacOs(_, _, machine)
            | Self::Windows(machine) => machine,
        }
    }

    fn tag_platform(self) -> TagPlatform {
        let os = match self {
            Self::Manylinux(major, minor, _) => Os::Manylinux { major, minor },
            Self::Musllinux(major, minor, _) => Os::Musllinux { major, minor },
            Self::MacOs(major, minor, _) => Os::Macos { major, minor },
            Self::Windows(_) => Os::Windows,
        };
        let arch = match self.machine() {
            Machine::X86_64 => Arch::X86_64,
            Machine::Aarch64 => Arch::Aarch64,
        };
        TagPlatform::new(os, arch)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let linux = |machine: &Machine| match machine {
            Machine::X86_64 => "x86_64",
            Machine::Aarch64 => "aarch64",
        };
        match self {
            Self::Manylinux(major, minor, machine) => write!(formatter, "manylinux_{major}_{minor}_{}", linux(machine)),
            Self::Musllinux(major, minor, machine) => write!(formatter, "musllinux_{major}_{minor}_{}", linux(machine)),
            Self::MacOs(major, minor, Machine::X86_64) => write!(formatter, "macosx_{major}_{minor}_x86_64"),
            Self::MacOs(major, minor, Machine::Aarch64) => write!(formatter, "macosx_{major}_{minor}_arm64"),
            Self::Windows(Machine::X86_64) => formatter.write_str("win_amd64"),
            Self::Windows(Machine::Aarch64) => formatter.write_str("win_arm64"),
        }
    }
}

impl FromStr for Platform {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let floor = |rest: &str| -> Option<(u16, u16, Machine)> {
            let mut parts = rest.splitn(3, '_');
            let mut number = || {
                parts
                    .next()
                    .filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?
                    .parse()
                    .ok()
            };
            let (major, minor) = (number()?, number()?);
            let machine = match parts.next()? {
                "x86_64" => Machine::X86_64,
                "aarch64" | "arm64" => Machine::Aarch64,
                _ => return None,
            };
            Some((major, minor, machine))
        };
        let parsed = match text {
            "linux_x86_64" => Some(Self::LINUX_X86_64),
            "linux_aarch64" => Some(Self::Manylinux(2, 28, Machine::Aarch64)),
            "win_amd64" => Some(Self::Windows(Machine::X86_64)),
            "win_arm64" => Some(Self::Windows(Machine::Aarch64)),
            _ => {
                if let Some(rest) = text.strip_prefix("manylinux_") {
                    floor(rest).map(|(major, minor, machine)| Self::Manylinux(major, minor, machine))
                } else if let Some(rest) = text.strip_prefix("musllinux_") {
                    floor(rest).map(|(major, minor, machine)| Self::Musllinux(major, minor, machine))
                } else if let Some(rest) = text.strip_prefix("macosx_") {
                    floor(rest).map(|(major, minor, machine)| Self::MacOs(major, minor, machine))
                } else {
                    None
                }
            }
        };
        parsed.ok_or_else(|| ParseTargetError::Platform(text.to_owned()))
    }
}

impl TryFrom<String> for Platform {
    type Error = ParseTargetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

/// Interpreter ABI × platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target {
    /// CPython minor version and ABI variant.
    pub python: PythonMinor,
    /// Platform and floor.
    pub platform: Platform,
}

impl Target {
    /// The compatible tags, ranked as pip and uv rank them on exactly this floor.
    ///
    /// # Panics
    /// Never: every platform that [`Platform`] can hold has tags.
    #[must_use]
    pub fn tags(&self) -> Tags {
        let version = (3, self.python.minor);
        let options = TagsOptions {
            manylinux_compatible: true,
            gil_disabled: self.python.freethreaded,
            debug_enabled: false,
            is_cross: false,
        };
        Tags::from_env(self.platform.tag_platform(), version, "cpython", version, options)
            .expect("CPython on a known platform always has tags")
    }

    /// The marker environment (PEP 508) of this target under the full Python version `full`, e.g. `3.11.7`.
    ///
    /// `platform_release` and `platform_version` are facts of one host, not of a target; they are empty.
    ///
    /// # Panics
    /// Never: the values are fixed texts and a parsed version.
    #[must_use]
    pub fn markers(&self, full: &Version) -> MarkerEnvironment {
        let full = full.to_string();
        let (os_name, platform_system, sys_platform) = match self.platform {
            Platform::Manylinux(..) | Platform::Musllinux(..) => ("posix", "Linux", "linux"),
            Platform::MacOs(..) => ("posix", "Darwin", "darwin"),
            Platform::Windows(_) => ("nt", "Windows", "win32"),
        };
        let platform_machine = match (self.platform, self.platform.machine()) {
            (Platform::Windows(_), Machine::X86_64) => "AMD64",
            (Platform::Windows(_), Machine::Aarch64) => "ARM64",
            (Platform::MacOs(..), Machine::Aarch64) => "arm64",
            (_, Machine::X86_64) => "x86_64",
            (_, Machine::Aarch64) => "aarch64",
        };
        MarkerEnvironmentBuilder {
            implementation_name: "cpython",
            implementation_version: &full,
            os_name,
            platform_machine,
            platform_python_implementation: "CPython",
            platform_release: "",
            platform_system,
            platform_version: "",
            python_full_version: &full,
            python_version: &self.python.version(),
            sys_platform,
        }
        .try_into()
        .expect("the values of a target are well formed")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.python.abi(), self.platform)
    }
}

impl FromStr for Target {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseTargetError::Target(text.to_owned());
        let (abi, platform) = text.split_once('-').ok_or_else(error)?;
        Ok(Self {
            python: PythonMinor::from_abi(abi).ok_or_else(error)?,
            platform: platform.parse()?,
        })
    }
}

impl TryFrom<String> for Target {
    type Error = ParseTargetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pep::WheelFilename;

    fn target(text: &str) -> Target {
        text.parse().expect("a target")
    }

    #[test]
    fn text_forms_round_trip() {
        for text in [
            "cp39-manylinux_2_28_x86_64",
            "cp311-manylinux_2_34_aarch64",
            "cp313t-musllinux_1_2_x86_64",
            "cp312-macosx_14_0_arm64",
            "cp310-win_amd64",
        ] {
            assert_eq!(target(text).to_string(), text);
        }
        assert_eq!(target("cp311-linux_x86_64").to_string(), "cp311-manylinux_2_28_x86_64");
        for text in [
            "cp311",
            "py3-any",
            "cp2-win_amd64x",
            "cp311-manylinux_2_x86_64",
            "cp3011-win_amd64",
            "cp3-win_amd64",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
        assert!("3".parse::<PythonMinor>().is_err() && "3.011".parse::<PythonMinor>().is_err());
    }

    #[test]
    fn tags_stop_at_the_floor() {
        let fits = |target_text: &str, file: &str| {
            file.parse::<WheelFilename>()
                .expect("a wheel name")
                .is_compatible(&target(target_text).tags())
        };
        assert!(fits(
            "cp311-manylinux_2_28_x86_64",
            "a-1-cp311-cp311-manylinux_2_28_x86_64.whl"
        ));
        assert!(fits(
            "cp311-manylinux_2_28_x86_64",
            "a-1-cp311-cp311-manylinux1_x86_64.whl"
        ));
        assert!(fits("cp311-manylinux_2_28_x86_64", "a-1-cp311-cp311-linux_x86_64.whl"));
        assert!(fits(
            "cp311-manylinux_2_28_x86_64",
            "a-1-cp38-abi3-manylinux2014_x86_64.whl"
        ));
        assert!(!fits(
            "cp311-manylinux_2_28_x86_64",
            "a-1-cp311-cp311-manylinux_2_34_x86_64.whl"
        ));
        assert!(!fits(
            "cp313t-manylinux_2_28_x86_64",
            "a-1-cp38-abi3-manylinux2014_x86_64.whl"
        ));
        assert!(fits(
            "cp313t-manylinux_2_28_x86_64",
            "a-1-cp313-cp313t-manylinux2014_x86_64.whl"
        ));
        assert!(fits("cp311-macosx_14_0_arm64", "a-1-cp311-none-macosx_11_0_arm64.whl"));
    }

    #[test]
    fn markers_are_those_of_the_target() {
        let env = target("cp311-linux_x86_64").markers(&"3.11.7".parse().expect("a version"));
        assert_eq!(env.platform_machine(), "x86_64");
        assert_eq!(env.python_version().to_string(), "3.11");
        assert_eq!(env.python_full_version().to_string(), "3.11.7");
        assert_eq!(
            target("cp312-win_amd64")
                .markers(&"3.12.1".parse().expect("a version"))
                .platform_machine(),
            "AMD64"
        );
    }
}
