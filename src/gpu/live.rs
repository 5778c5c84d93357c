//! The machine that flambeau runs on.
//!
//! Tools are resolved to absolute paths: from the absolute entries of PATH and from the folders where drivers put
//! them, never from the current folder, where anybody may have planted one. They run in `/` under a time limit,
//! with `LC_ALL=C` and without the variables that hide GPUs.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::host::{CommandOutcome, Host};
use crate::config::Vars;
use crate::process::{self, Limits, Outcome};

/// A healthy `nvidia-smi` may need seconds on a busy machine, and one failing device of the GPU's firmware 6 seconds
/// a try; 2 seconds were found to be too few in the field.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(15),
    output: 1 << 20,
};
/// Kernel files are small; whatever is not is not one of them.
const FILE_LIMIT: u64 = 1 << 20;

/// Where drivers put their tools without telling PATH.
const FOLDERS: &[&str] = &[
    "/usr/bin",
    "/usr/sbin",
    "/bin",
    "/sbin",
    "/usr/local/bin",
    "/usr/lib/wsl/lib",
    "/opt/bin",
    "/run/nvidia/driver/usr/bin",
    "/run/current-system/sw/bin",
    "/opt/rocm/bin",
];

/// Variables that hide or renumber GPUs.
const VISIBILITY: &[&str] = &[
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
];

/// This machine.
#[derive(Debug, Clone)]
pub struct LiveHost {
    vars: Vars,
    kernel: String,
}

impl LiveHost {
    /// This machine, as a process with these variables sees it.
    #[must_use]
    pub fn new(vars: Vars) -> Self {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        Self { vars, kernel }
    }

    /// The machine's name on the network.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        (!name.is_empty()).then_some(name)
    }

    fn resolve(&self, tool: &str) -> Option<PathBuf> {
        let current = std::env::current_dir().and_then(|folder| folder.canonicalize()).ok();
        let foreign =
            |folder: &PathBuf| folder.is_absolute() && (current.is_none() || folder.canonicalize().ok() != current);
        let path = self.vars.os("PATH").unwrap_or(OsStr::new(""));
        std::env::split_paths(path)
            .filter(foreign)
            .chain(FOLDERS.iter().map(PathBuf::from))
            .chain(versioned_rocm())
            .map(|folder| folder.join(tool))
            .find(|path| is_program(path))
    }
}

/// `/opt/rocm-*/bin`, newest first by name.
fn versioned_rocm() -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir("/opt")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("rocm-"))
        })
        .map(|path| path.join("bin"))
        .collect();
    found.sort_by(|left, right| right.cmp(left));
    found
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

impl Host for LiveHost {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_LIMIT).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        std::fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn link(&self, path: &str) -> io::Result<String> {
        Ok(std::fs::read_link(path)?.to_string_lossy().into_owned())
    }

    fn open_rw(&self, path: &str) -> Result<(), String> {
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nonblocking)
            .open(path)
            .map(drop)
            .map_err(|error| errno_name(&error))
    }

    fn run(&self, argv: &[&str]) -> CommandOutcome {
        let Some(tool) = argv.first().and_then(|tool| self.resolve(tool)) else {
            return CommandOutcome::NotFound;
        };
        let mut command = Command::new(tool);
        command.args(&argv[1..]).env("LC_ALL", "C").current_dir("/");
        for name in VISIBILITY {
            command.env_remove(name);
        }
        match process::run(command, LIMITS) {
            Outcome::NotFound => CommandOutcome::NotFound,
            Outcome::TimedOut { abandoned } => CommandOutcome::TimedOut { abandoned },
            Outcome::Finished(finished) => CommandOutcome::Finished {
                exit: finished.exit,
                stdout: finished.stdout,
                stderr: finished.stderr,
            },
            Outcome::Failed(error) => CommandOutcome::Failed(error.to_string()),
        }
    }

    fn var(&self, name: &str) -> Option<String> {
        // An empty CUDA_VISIBLE_DEVICES hides every GPU, so empty is not unset here.
        self.vars.raw(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn os(&self) -> &str {
        std::env::consts::OS
    }

    fn arch(&self) -> &str {
        std::env::consts::ARCH
    }

    fn kernel(&self) -> &str {
        &self.kernel
    }
}

/// The symbolic name of an error; what recordings hold.
fn errno_name(error: &io::Error) -> String {
    use rustix::io::Errno;

    let names = [
        (Errno::ACCESS, "EACCES"),
        (Errno::PERM, "EPERM"),
        (Errno::NOENT, "ENOENT"),
        (Errno::NOTDIR, "ENOTDIR"),
        (Errno::INVAL, "EINVAL"),
        (Errno::NOMEM, "ENOMEM"),
        (Errno::NODEV, "ENODEV"),
        (Errno::NXIO, "ENXIO"),
        (Errno::BUSY, "EBUSY"),
        (Errno::IO, "EIO"),
        (Errno::ROFS, "EROFS"),
        (Errno::ISDIR, "EISDIR"),
    ];
    let code = error.raw_os_error();
    names
        .iter()
        .find(|(errno, _)| Some(errno.raw_os_error()) == code)
        .map_or_else(
            || format!("errno {}", code.unwrap_or_default()),
            |(_, name)| (*name).to_owned(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_come_from_absolute_entries_of_path_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let tool = folder.path().join("flambeau-test-tool");
        std::fs::write(
            &tool,
            "#!/bin/sh\necho \"$0 $1 $LC_ALL ${CUDA_VISIBLE_DEVICES-none} $PWD\"\nexit 3\n",
        )
        .expect("written");
        let host = |path: &str| LiveHost::new([("PATH", path), ("CUDA_VISIBLE_DEVICES", "")].into_iter().collect());
        let path = folder.path().display().to_string();
        let run = |path: &str| host(path).run(&["flambeau-test-tool", "x"]);
        assert_eq!(run(&path), CommandOutcome::NotFound, "not executable");
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("a program");
        let expected = format!("{} x C none /\n", tool.display());
        let CommandOutcome::Finished { exit, stdout, .. } = run(&format!(":.:relative:{path}")) else {
            panic!("finished")
        };
        // The variables of this test's own process reach the child, less those that hide GPUs.
        assert_eq!((exit, stdout.as_str()), (3, expected.as_str()));
        assert_eq!(run("relative:."), CommandOutcome::NotFound);
        assert_eq!(host("").var("CUDA_VISIBLE_DEVICES").as_deref(), Some(""));
        assert_eq!(host("").open_rw("/nonexistent"), Err("ENOENT".to_owned()));
        assert!(host("").read("/nonexistent").is_err());
    }
}
