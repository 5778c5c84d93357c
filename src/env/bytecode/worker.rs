//! One interpreter that compiles sources, and how it is talked to.
//!
//! A request is the path of a source and the name that its bytecode carries; the answer is the bytecode, which is
//! brought into the one form that does not depend on the worker ([`marshal`]). A worker that does anything but answer
//! well is killed, whatever state it is in.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::{BytecodeError, Compiler, Outcome, Uncompiled, marshal};
use crate::digest::{FileDigest, Hasher};

/// The worker's program.
const PROGRAM: &str = include_str!("../runtime/compile.py");

/// A module with more bytecode than this is not compiled.
pub(super) const BYTECODE_MAX: u32 = 256 << 20;

/// The length that says that CPython gave up on a source; nothing comes after it.
pub(super) const GIVEN_UP: u32 = 0xffff_fffe;

/// Bytecode up to this size is received whole and brought into its one form, which takes many times the room. Modules
/// come nowhere near.
const WHOLE: u32 = 16 << 20;

/// So many bytes of larger bytecode are received at a time.
const BLOCK: usize = 1 << 16;

/// Bytes of a `.pyc` before the marshalled code: magic number, flags, hash of the source (PEP 552).
const HEAD: usize = 16;

/// How long a worker may take to say that it is there.
const STARTING: Duration = Duration::from_mins(1);
/// How long a worker may work on one module, however small. CPython needs milliseconds, but there are sources of a few
/// lines that it needs hours for.
pub(super) const COMPILING: Duration = Duration::from_mins(2);
/// How much longer it may take for each mebibyte of source, a good hundred times what CPython needs.
const COMPILING_MEBIBYTE: Duration = Duration::from_mins(2);
/// How long a worker whose pipe has closed may take to end.
const ENDING: Duration = Duration::from_secs(1);

/// Why a worker is not used again.
#[derive(Debug)]
pub(super) enum Broken {
    /// Its pipe was closed.
    Ended,
    Slow,
    Large,
    Pipe(io::Error),
    /// Its answer could not be written to disk.
    Disk(io::Error),
}

/// A process that compiles. Dropped means killed.
pub(super) struct Worker {
    python: PathBuf,
    /// The version of a CPython: what its code looks like.
    version: Option<(u8, u8)>,
    child: Child,
    requests: ChildStdin,
    replies: ChildStdout,
    /// When the answer that is waited for has to be there.
    deadline: Instant,
}

impl Worker {
    /// A worker that has said that it is there.
    pub(super) fn start(compiler: &Compiler) -> io::Result<Self> {
        let mut command = Command::new(&compiler.python);
        // Some interpreters find their own libraries only by these.
        let libraries = ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"];
        let libraries = libraries
            .into_iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut child = command
            .args(["-S", "-s", "-B", "-c", PROGRAM])
            .env_clear()
            .envs(libraries)
            .env("PYTHONHASHSEED", "0")
            .env("PYTHONSAFEPATH", "1")
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut worker = Self {
            python: compiler.python.clone(),
            version: version(&compiler.cache_tag),
            child,
            requests,
            replies,
            deadline: Instant::now() + STARTING,
        };
        // A worker that does not even say that it is there would leave an environment without bytecode, silently.
        match worker.read_exact(&mut [0]) {
            Ok(()) => Ok(worker),
            Err(Broken::Pipe(error)) => Err(error),
            Err(Broken::Ended) => Err(match worker.end() {
                Some(status) => io::Error::other(format!("it ended at once: {status}")),
                None => io::Error::other("it closed its output at once"),
            }),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Has a source compiled, and returns how long the bytecode is that comes next. 0: the source does not compile.
    pub(super) fn ask(&mut self, source: &Path, name: &str, patience: Duration) -> Result<u32, Broken> {
        use std::os::unix::ffi::OsStrExt as _;
        let mebibytes = std::fs::metadata(source).map_or(0, |meta| meta.len() >> 20);
        let more = COMPILING_MEBIBYTE.saturating_mul(u32::try_from(mebibytes).unwrap_or(u32::MAX));
        self.deadline = Instant::now() + patience.saturating_add(more).min(Duration::from_hours(24));
        let line = format!("{} {}\n", hex(source.as_os_str().as_bytes()), hex(name.as_bytes()));
        self.requests.write_all(line.as_bytes()).map_err(Broken::Pipe)?;
        let mut length = [0; 4];
        self.read_exact(&mut length)?;
        match u32::from_le_bytes(length) {
            GIVEN_UP => Ok(GIVEN_UP),
            length if length > BYTECODE_MAX => Err(Broken::Large),
            length => Ok(length),
        }
    }

    /// Receives bytecode into `file`, in its one form where it has one. Returns its digest and size.
    pub(super) fn receive(&mut self, length: u32, file: &mut File) -> Result<(FileDigest, u64), Broken> {
        let mut hasher = Hasher::new();
        let mut written = 0;
        let mut write = |part: &[u8]| {
            hasher.update(part);
            written += part.len() as u64;
            file.write_all(part).map_err(Broken::Disk)
        };
        if length <= WHOLE {
            let mut bytes = vec![0; length as usize];
            self.read_exact(&mut bytes)?;
            let (head, code) = bytes.split_at(HEAD.min(bytes.len()));
            let one_form = self.version.and_then(|version| marshal::canonical(version, code));
            write(head)?;
            write(one_form.as_deref().unwrap_or(code))?;
        } else {
            let mut block = vec![0; BLOCK];
            let mut left = length as usize;
            while left > 0 {
                let room = left.min(block.len());
                let part = &mut block[..room];
                self.read_exact(part)?;
                write(part)?;
                left -= room;
            }
        }
        Ok((FileDigest::from_bytes(hasher.finish()), written))
    }

    /// Fills `bytes` before the deadline.
    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), Broken> {
        let mut done = 0;
        while done < bytes.len() {
            self.wait()?;
            match self.replies.read(&mut bytes[done..]) {
                Ok(0) => return Err(Broken::Ended),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Broken::Pipe(error)),
            }
        }
        Ok(())
    }

    /// Waits until there is something to read.
    fn wait(&self) -> Result<(), Broken> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            // The longest time that fits is far longer than any deadline.
            let left = left.try_into().map_err(|_| Broken::Slow)?;
            match poll(&mut [PollFd::new(&self.replies, PollFlags::IN)], Some(&left)) {
                Ok(0) => return Err(Broken::Slow),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Broken::Pipe(error.into())),
            }
        }
    }

    /// What a broken worker means for the source that it was asked for. The worker is killed, whatever state it is in.
    pub(super) fn broken(mut self, broken: Broken, source_file: PathBuf) -> Result<Outcome, BytecodeError> {
        use std::os::unix::process::ExitStatusExt as _;
        // Only one that ends by itself says anything by the way it ends.
        let status = match broken {
            Broken::Ended => self.end(),
            // Its pipe to write to closes first.
            Broken::Pipe(ref error) if error.kind() == io::ErrorKind::BrokenPipe => self.end(),
            _ => None,
        };
        let (python, process) = (self.python.clone(), self.child.id());
        match (status, broken) {
            (Some(status), _) if matches!(status.signal(), Some(6 | 7 | 10 | 11)) => {
                Ok(Outcome::Uncompiled(Uncompiled::Crash))
            }
            (Some(status), _) => Err(BytecodeError::Died {
                python,
                process,
                source_file,
                status,
            }),
            (None, Broken::Slow) => Ok(Outcome::Uncompiled(Uncompiled::Slow)),
            (None, Broken::Large) => Ok(Outcome::Uncompiled(Uncompiled::Large)),
            (None, broken) => Err(BytecodeError::Worker {
                python,
                process,
                source_file,
                source: match broken {
                    Broken::Pipe(source) | Broken::Disk(source) => source,
                    _ => io::ErrorKind::UnexpectedEof.into(),
                },
            }),
        }
    }

    /// How it ended by itself; none where it goes on although its pipe is closed.
    fn end(&mut self) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(None) if start.elapsed() < ENDING => std::thread::sleep(Duration::from_millis(1)),
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// (3, 11) of `cpython-311`.
fn version(cache_tag: &str) -> Option<(u8, u8)> {
    let minor = cache_tag.strip_prefix("cpython-3")?.parse().ok()?;
    Some((3, minor))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String never fails.
            write!(text, "{byte:02x}").ok();
            text
        })
}
