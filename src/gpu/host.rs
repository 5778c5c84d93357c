//! The seam between detection and the machine: everything that a probe may ask.

use std::io;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandOutcome {
    /// There is no such tool.
    NotFound,
    /// It did not answer in time.
    TimedOut {
        /// Whether it did not even die when killed.
        abandoned: bool,
    },
    /// It ended by itself.
    Finished {
        /// Exit code.
        exit: i32,
        /// Bounded, lossy UTF-8.
        stdout: String,
        /// Bounded, lossy UTF-8.
        stderr: String,
    },
    /// It could not be started, and why.
    Failed(String),
}

/// A machine, real or recorded. Nothing here changes it.
pub trait Host {
    /// The content of a file.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// The names in a folder, in no particular order.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// What a symlink holds.
    fn link(&self, path: &str) -> io::Result<String>;

    /// Whether a device can be opened for reading and writing; if not, the name of the error, e.g. `EACCES`.
    fn open_rw(&self, path: &str) -> Result<(), String>;

    /// Runs a tool by its bare name with these arguments.
    fn run(&self, argv: &[&str]) -> CommandOutcome;

    /// An environment variable; an empty value is a value.
    fn var(&self, name: &str) -> Option<String>;

    /// `linux`, `macos`, `windows`.
    fn os(&self) -> &str;

    /// `x86_64`, `aarch64`, …
    fn arch(&self) -> &str;

    /// The kernel's release, e.g. `6.8.0-40-generic`.
    fn kernel(&self) -> &str;
}

/// The trimmed text of a file (lossy), where it can be read.
pub(super) fn text(host: &dyn Host, path: &str) -> Option<String> {
    let bytes = host.read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Text that tools and kernels wrote, fit to be shown: one line of bounded length, without control characters, which
/// could write anything to a terminal.
pub(super) fn shown(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let line: String = text.chars().map(clean).collect();
    // Cleaning may leave blanks at the ends, and so may cutting: what was shown once must stay as it is.
    let start: String = line.trim().chars().take(200).collect();
    start.trim_end().to_owned()
}
