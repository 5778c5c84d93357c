//! What an interpreter says of itself, asked once and remembered.
//!
//! On disk: `<cache>/interpreters/<40 hex digits of the real path's SHA-256>.json`, holding a stamp (path, size, time,
//! inode of the executable; size and time of the C library) beside the answer. A stamp that differs in anything is no
//! answer. Scripts that stand in for an interpreter are never remembered: what they start depends on more than they
//! are.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::FileDigest;
use crate::fsx;
use crate::process::{self, Limits, Outcome};

const SCRIPT: &str = include_str!("facts.py");
/// An interpreter on a cold network file system takes seconds to start.
const PATIENCE: Duration = Duration::from_secs(30);
const SCHEMA: u32 = 1;

/// Why an interpreter gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It does not exist, or it is no program.
    #[error("it is not there")]
    NotFound,
    /// It could not be started.
    #[error("it cannot be started")]
    Start(#[source] std::io::Error),
    /// It did not answer in time.
    #[error("it did not answer within {0} seconds")]
    TimedOut(u64),
    /// It ended with an error.
    #[error("it ended with exit code {exit}: {line}")]
    Exit {
        /// The exit code.
        exit: i32,
        /// The last line it wrote.
        line: String,
    },
    /// It answered something else.
    #[error("its answer cannot be understood: {0}")]
    Answer(String),
}

/// The raw answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) implementation: String,
    pub(super) version: String,
    pub(super) minor: (u64, u64),
    pub(super) bits: u8,
    pub(super) executable: PathBuf,
    pub(super) base_prefix: PathBuf,
    pub(super) stdlib: PathBuf,
    pub(super) cache_tag: Option<String>,
    pub(super) soabi: Option<String>,
    pub(super) gil_disabled: bool,
    pub(super) debug: bool,
    pub(super) system: String,
    pub(super) machine: String,
    pub(super) libc: Option<(String, String)>,
    pub(super) macos: Option<String>,
}

/// What tells one state of an executable from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    size: u64,
    mtime_ns: i128,
    inode: u64,
    libc: Option<(u64, i128)>,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    schema: u32,
    stamp: Stamp,
    facts: Facts,
}

impl Stamp {
    fn of(path: &Path) -> std::io::Result<Self> {
        let meta = fs::metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            size: meta.len(),
            mtime_ns: mtime_ns(&meta),
            inode: meta.ino(),
            libc: libc_stamp(),
        })
    }
}

fn mtime_ns(meta: &fs::Metadata) -> i128 {
    i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())
}

/// The C library is part of the answer and changes without the interpreter: by an upgrade, or because a home folder
/// is shared between machines.
fn libc_stamp() -> Option<(u64, i128)> {
    [
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib/aarch64-linux-gnu/libc.so.6",
        "/lib64/libc.so.6",
        "/usr/lib/libc.so.6",
        "/lib/ld-musl-x86_64.so.1",
        "/lib/ld-musl-aarch64.so.1",
    ]
    .iter()
    .find_map(|path| fs::metadata(path).ok())
    .map(|meta| (meta.len(), mtime_ns(&meta)))
}

/// The facts about the executable at the real path `real`; no process is started where they are remembered.
pub(super) fn facts(real: &Path, cache_dir: Option<&Path>, remembers: bool) -> Result<Facts, AskError> {
    let stamp = Stamp::of(real).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => AskError::NotFound,
        _ => AskError::Start(error),
    })?;
    let file = cache_dir
        .filter(|_| !is_script(real))
        .map(|cache| cache.join("interpreters").join(format!("{}.json", name_of(real))));
    if let Some(known) = file.as_deref().and_then(recall).filter(|known| known.stamp == stamp) {
        return Ok(known.facts);
    }
    let answer = ask(real, &["-I", "-S", "-c", SCRIPT], PATIENCE)?;
    let line = answer.lines().last().unwrap_or_default();
    let facts: Facts = serde_json::from_str(line).map_err(|_| AskError::Answer(shorten(line)))?;
    if let Some(file) = file.filter(|_| remembers) {
        // The cache is a convenience: where it cannot be written, the next command asks again.
        remember(
            &file,
            &Remembered {
                schema: SCHEMA,
                stamp,
                facts: facts.clone(),
            },
        )
        .ok();
    }
    Ok(facts)
}

fn name_of(real: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    FileDigest::of(real.as_os_str().as_bytes()).short()
}

fn is_script(path: &Path) -> bool {
    let mut head = [0u8; 2];
    File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == *b"#!"
}

fn recall(file: &Path) -> Option<Remembered> {
    let known: Remembered = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    (known.schema == SCHEMA).then_some(known)
}

fn remember(file: &Path, known: &Remembered) -> Result<(), Box<dyn std::error::Error>> {
    if let Some((folder, cache)) = file.parent().and_then(|folder| Some((folder, folder.parent()?))) {
        fsx::create_shared_dir_all(cache, folder)?;
    }
    fsx::write_shared(file, &serde_json::to_vec(known)?)?;
    Ok(())
}

/// Runs the interpreter with `arguments` and returns its stdout.
pub(super) fn ask(python: &Path, arguments: &[&str], time: Duration) -> Result<String, AskError> {
    let mut command = Command::new(python);
    command.args(arguments).env("LC_ALL", "C.UTF-8");
    // Tells macOS and virtual environments which Python started them; both would change the answer.
    command.env_remove("__PYVENV_LAUNCHER__").env_remove("VIRTUAL_ENV");
    match process::run(command, Limits { time, output: 1 << 20 }) {
        Outcome::Finished(finished) if finished.exit == 0 => Ok(finished.stdout),
        Outcome::Finished(finished) => {
            let said = [finished.stderr.trim(), finished.stdout.trim()].join("\n");
            let line = said.trim().lines().last().unwrap_or("it said nothing");
            Err(AskError::Exit {
                exit: finished.exit,
                line: shorten(line),
            })
        }
        Outcome::TimedOut { .. } => Err(AskError::TimedOut(time.as_secs())),
        Outcome::NotFound => Err(AskError::NotFound),
        Outcome::Failed(error) => Err(AskError::Start(error)),
    }
}

fn shorten(line: &str) -> String {
    line.chars().take(200).collect()
}

/// Remembers `facts` as the answer of the executable at `real`.
#[cfg(test)]
pub(super) fn remember_for_tests(real: &Path, cache_dir: &Path, facts: Facts) {
    let known = Remembered {
        schema: SCHEMA,
        stamp: Stamp::of(real).expect("there"),
        facts,
    };
    remember(
        &cache_dir.join("interpreters").join(format!("{}.json", name_of(real))),
        &known,
    )
    .expect("written");
}
