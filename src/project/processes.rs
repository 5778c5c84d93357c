//! Processes that run on in an environment that `.venv` led to before.
//!
//! A process keeps the environment it started with, for as long as it runs, and that environment is not collected. The
//! start-up hook (`env/runtime/_flambeau.py`) holds a lease on it whose file offset says by which `.venv` the process was
//! started.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Project;
use crate::profile::ProfileError;

/// A process in a former environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Former {
    /// Its number.
    pub pid: u32,
    /// Its command line, as far as it is text.
    pub command: String,
    /// The environment that it runs in.
    pub environment: PathBuf,
}

/// The hook holds its lease at one of these descriptors.
const DESCRIPTORS: std::ops::Range<u32> = 64..68;

/// What the offset of a lease says: 40 bits of the `.venv` by which its process was started. The hook computes the same.
fn mark(link: &Path) -> Option<u64> {
    let folder = std::fs::metadata(link.parent()?).ok()?;
    let start = folder
        .dev()
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(folder.ino().wrapping_mul(0xC2B2_AE3D_27D4_EB4F));
    let name = link.file_name()?.as_bytes();
    let mark = name.iter().fold(start, |mark, byte| {
        (mark ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3)
    });
    Some((mark >> 24) | 1)
}

impl Project<'_> {
    /// The processes of this user that were started by this project's `.venv` and run in another environment than it
    /// leads to now. None where there is no `/proc`.
    pub fn processes_in_former(&self) -> Result<Vec<Former>, ProfileError> {
        let profile = self.profile();
        let (Some(active), Some(mark)) = (profile.active_path()?, mark(&profile.link())) else {
            return Ok(Vec::new());
        };
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let mut found: Vec<Former> = numbers
            .filter_map(|pid| {
                let environment = held(pid, mark)?;
                (environment != active).then(|| Former {
                    pid,
                    command: command_line(pid),
                    environment,
                })
            })
            .collect();
        found.sort_by_key(|former| former.pid);
        Ok(found)
    }
}

/// The environment that a process holds for the `.venv` with this mark.
fn held(pid: u32, mark: u64) -> Option<PathBuf> {
    DESCRIPTORS.into_iter().find_map(|number| {
        let lease = std::fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()?;
        let leases = lease.parent().filter(|folder| folder.ends_with("leases"))?;
        let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
        let position: u64 = info
            .lines()
            .find_map(|line| line.strip_prefix("pos:"))?
            .trim()
            .parse()
            .ok()?;
        let environment = leases.parent()?.join("envs").join(lease.file_name()?);
        (position == mark && environment.join("pyvenv.cfg").exists()).then_some(environment)
    })
}

fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> = bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    words.join(" ")
}
