//! Python interpreters: which are here, what they are, and which of them an environment is for.
//!
//! Owns: discovery, facts, and the check of an interpreter against a target.
//! Refuses: everything but 64-bit CPython of at least 3.9, and virtual environments as the base of an environment:
//! those are followed to the interpreter they were made from, so that no environment hangs off another.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::lockfile::LockedTarget;
use crate::pep::Version;
use crate::target::{Machine, Platform, PythonMinor, Target};

mod base;
mod facts;
mod find;
mod request;
mod required;

pub use facts::AskError;
pub use find::{Finder, Passed};
pub use request::{ParseRequestError, Request};
pub use required::{RequiredPython, allows, is_same};

use facts::Facts;

/// The oldest minor version that flambeau builds environments for.
const OLDEST: u8 = 9;

/// One CPython on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The executable as it was found, or as the virtual environment it was found through names it; absolute.
    pub path: PathBuf,
    /// The executable without symlinks.
    pub real_path: PathBuf,
    /// `cpython`.
    pub implementation: String,
    /// The full version, e.g. `3.11.7`.
    pub version: Version,
    /// Minor version and ABI variant.
    pub python: PythonMinor,
    /// The tag in the names of bytecode files, e.g. `cpython-311`.
    pub cache_tag: String,
    /// The tag in the names of extension modules, e.g. `cpython-311-x86_64-linux-gnu`.
    pub soabi: Option<String>,
    /// The platform, with the C library's (or macOS's) version on this machine as the floor.
    pub platform: Platform,
    /// The installation's prefix.
    pub base_prefix: PathBuf,
    /// The folder of the standard library.
    pub stdlib: PathBuf,
    /// Whether it is a debug build, whose extension modules are not those of wheels.
    pub debug: bool,
}

/// Why no interpreter can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path leads to no executable.
    #[error("there is no Python at {}", .0.display())]
    Missing(PathBuf),
    /// An interpreter gave no facts.
    #[error("{} did not say what it is", path.display())]
    Ask {
        /// The interpreter.
        path: PathBuf,
        /// Why.
        #[source]
        source: AskError,
    },
    /// An interpreter that flambeau cannot build for.
    #[error("{} cannot be used", path.display())]
    Unsupported {
        /// The interpreter.
        path: PathBuf,
        /// Why.
        #[source]
        source: Unsupported,
    },
    /// The one that is asked for is excluded.
    #[error("{} is Python {version}, which {required} excludes", path.display())]
    Excluded {
        /// The interpreter.
        path: PathBuf,
        /// Its version.
        version: Version,
        /// What excludes it.
        required: RequiredPython,
    },
    /// Nothing fits.
    #[error("found no Python {}{}", wanted.as_deref().unwrap_or("that fits"), find::passed_over(passed))]
    NotFound {
        /// What was asked for, as text.
        wanted: Option<String>,
        /// What was found, and why each was passed over.
        passed: Vec<Passed>,
    },
}

impl Error {
    /// Whether the system refused a process.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Ask { source: AskError::Start(source), .. } if crate::threads::is_refusal(source))
    }
}

/// What makes an interpreter unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// Another implementation.
    #[error("it is {0}, and PyTorch's wheels are for CPython")]
    Implementation(String),
    /// A version before 3.9, or of another major version.
    #[error("it is Python {0}, and 3.{OLDEST} is the oldest that is supported")]
    Version(String),
    /// A 32-bit process.
    #[error("it is a 32-bit build")]
    Bits,
    /// A system, a machine or a C library without PyTorch wheels.
    #[error("PyTorch has no wheels for its platform ({0})")]
    Platform(String),
}

/// What of a target an interpreter does not meet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another minor version or ABI variant.
    #[error("it is Python {have}, and the target is for {need}")]
    Python {
        /// The interpreter's.
        have: PythonMinor,
        /// The target's.
        need: PythonMinor,
    },
    /// A debug build.
    #[error("it is a debug build, whose ABI no wheel has")]
    Debug,
    /// Another operating system, C library or machine.
    #[error("it runs on {have}, and the target is for {need}")]
    Platform {
        /// The interpreter's.
        have: Platform,
        /// The target's.
        need: Platform,
    },
    /// The right platform in an older version.
    #[error("this machine has {have}, older than the {need} of the target")]
    Floor {
        /// The interpreter's.
        have: Platform,
        /// The target's.
        need: Platform,
    },
}

/// A patch level that would need other packages than those locked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the lockfile was made for Python {locked}; from {boundary} on other packages are needed, and this is {host}")]
pub struct PatchMismatch {
    /// The version that markers were evaluated with.
    pub locked: Version,
    /// The first version on the later side.
    pub boundary: Version,
    /// The interpreter's version.
    pub host: Version,
}

impl Interpreter {
    fn new(path: PathBuf, real: &Path, facts: Facts) -> Result<Self, Unsupported> {
        if facts.implementation != "cpython" {
            return Err(Unsupported::Implementation(facts.implementation));
        }
        let minor = u8::try_from(facts.minor.1).unwrap_or(u8::MAX);
        if facts.minor.0 != 3 || minor < OLDEST {
            return Err(Unsupported::Version(facts.version));
        }
        if facts.bits != 64 {
            return Err(Unsupported::Bits);
        }
        let platform = platform(&facts)?;
        let version = facts
            .version
            .parse()
            .map_err(|_| Unsupported::Version(facts.version.clone()))?;
        // A wrapper script starts something else; that is what the environment needs.
        let real_path = facts.executable.canonicalize().unwrap_or_else(|_| real.to_owned());
        Ok(Self {
            path: if real_path == real { path } else { facts.executable },
            real_path,
            version,
            python: PythonMinor {
                minor,
                freethreaded: facts.gil_disabled,
            },
            cache_tag: facts.cache_tag.unwrap_or_else(|| format!("cpython-3{minor}")),
            implementation: facts.implementation,
            soabi: facts.soabi,
            platform,
            base_prefix: facts.base_prefix,
            stdlib: facts.stdlib,
            debug: facts.debug,
        })
    }

    /// The target of this very machine: the interpreter's ABI on a platform whose floor is the host's. Lockfiles are
    /// made for lower floors; see [`Self::satisfies`].
    #[must_use]
    pub const fn target(&self) -> Target {
        Target {
            python: self.python,
            platform: self.platform,
        }
    }

    /// Whether an environment for `target` runs on this interpreter and this machine.
    pub fn satisfies(&self, target: &Target) -> Result<(), Mismatch> {
        if self.python != target.python {
            return Err(Mismatch::Python {
                have: self.python,
                need: target.python,
            });
        }
        if self.debug {
            return Err(Mismatch::Debug);
        }
        let (have, need) = (self.platform, target.platform);
        let floors = match (have, need) {
            (Platform::Manylinux(a, b, _), Platform::Manylinux(c, d, _))
            | (Platform::Musllinux(a, b, _), Platform::Musllinux(c, d, _))
            | (Platform::MacOs(a, b, _), Platform::MacOs(c, d, _)) => Some(((a, b), (c, d))),
            (Platform::Windows(_), Platform::Windows(_)) => Some(((0, 0), (0, 0))),
            _ => None,
        };
        match floors {
            Some((host, floor)) if have.machine() == need.machine() => {
                if host >= floor {
                    Ok(())
                } else {
                    Err(Mismatch::Floor { have, need })
                }
            }
            _ => Err(Mismatch::Platform { have, need }),
        }
    }

    /// Whether the locked packages are those that this patch level needs: no boundary lies between it and the
    /// version that the lockfile's markers were evaluated with, and it is that version where the project pins it. A boundary is the first version of its later side.
    pub fn check_patch(&self, locked: &LockedTarget) -> Result<(), PatchMismatch> {
        let crossed = |boundary: &&Version| (self.version >= **boundary) != (locked.python_full_version >= **boundary);
        let pinned =
            (locked.python_pinned && self.version != locked.python_full_version).then_some(&locked.python_full_version);
        match pinned.or_else(|| locked.python_boundaries.iter().find(crossed)) {
            None => Ok(()),
            Some(boundary) => Err(PatchMismatch {
                locked: locked.python_full_version.clone(),
                boundary: boundary.clone(),
                host: self.version.clone(),
            }),
        }
    }

    /// Runs a script with the base interpreter, isolated from the user's settings (`-I -c`), and returns its stdout.
    pub fn ask(&self, script: &str, time: Duration) -> Result<String, Error> {
        facts::ask(&self.real_path, &["-I", "-c", script], time).map_err(|source| Error::Ask {
            path: self.real_path.clone(),
            source,
        })
    }
}

fn platform(facts: &Facts) -> Result<Platform, Unsupported> {
    let unsupported = || {
        let libc = facts
            .libc
            .as_ref()
            .map_or_else(String::new, |(name, version)| format!(" with {name} {version}"));
        Unsupported::Platform(format!("{} on {}{libc}", facts.system, facts.machine))
    };
    let machine = match facts.machine.as_str() {
        "x86_64" | "amd64" | "AMD64" => Machine::X86_64,
        "aarch64" | "arm64" | "ARM64" => Machine::Aarch64,
        _ => return Err(unsupported()),
    };
    let numbers = |version: &str| -> Option<(u16, u16)> {
        let mut parts = version.split('.').map(|part| part.parse().ok());
        Some((parts.next()??, parts.next().flatten().unwrap_or(0)))
    };
    match (facts.system.as_str(), &facts.libc, &facts.macos) {
        ("linux", Some((name, version)), _) if name == "glibc" => {
            numbers(version).map(|(major, minor)| Platform::Manylinux(major, minor, machine))
        }
        ("linux", Some((name, version)), _) if name == "musl" => {
            numbers(version).map(|(major, minor)| Platform::Musllinux(major, minor, machine))
        }
        ("darwin", _, Some(version)) => numbers(version).map(|(major, minor)| Platform::MacOs(major, minor, machine)),
        _ => None,
    }
    .ok_or_else(unsupported)
}

#[cfg(test)]
mod tests;
