//! Bytecode: unchecked-hash `.pyc` (PEP 552), compiled by persistent interpreter workers.
//!
//! A worker only parses: it gets the path of a source and sends bytecode back; flambeau writes the file. So nothing
//! of a package runs, and the modes and times of what is written are ours. Workers start in an empty environment with
//! a fixed hash seed; the name inside the bytecode is relative to site-packages, and Python replaces it by the real
//! one when it loads the module.
//!
//! The bytes are the same in every order and on every machine for CPython 3.11 and newer. On 3.9 and 3.10 marshal
//! writes references by what the worker happened to hold before, so there they are not covered by any promise.

use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::digest::FileDigest;
use crate::fsx::{self, PathContext as _, PathError};
use crate::relpath::RelPath;
use crate::wheel::manifest::FileRow;

/// The worker's program.
const PROGRAM: &str = include_str!("runtime/compile.py");

/// Bytecode larger than this is taken for a broken worker.
const BYTECODE_MAX: u32 = 256 << 20;

/// Why sources could not be compiled. That a source has a syntax error is no failure: it gets no bytecode.
#[derive(Debug, thiserror::Error)]
pub enum BytecodeError {
    /// The interpreter does not start.
    #[error("cannot start {} to compile bytecode", python.display())]
    Start {
        /// The interpreter.
        python: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A worker ended, for lack of memory most likely.
    #[error("the worker that compiled {} ended", source_file.display())]
    Died {
        /// What it compiled.
        source_file: PathBuf,
    },
    /// Writing the bytecode.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// The interpreter that compiles.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The interpreter's program.
    pub python: PathBuf,
    /// `cpython-311`: the part of the file name (PEP 3147).
    pub cache_tag: String,
}

struct Job {
    root: PathBuf,
    source: RelPath,
    name: String,
    reply: Sender<Result<Option<FileRow>, BytecodeError>>,
}

/// A pool of workers, one thread and one process each. Dropped means stopped.
pub struct Compilers {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Compilers {
    /// A pool of `count` workers. Processes start with their first source.
    #[must_use]
    pub fn new(compiler: &Compiler, count: usize) -> Self {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..count.max(1))
            .map(|_| {
                let (compiler, queue) = (compiler.clone(), Arc::clone(&queue));
                std::thread::spawn(move || serve(&compiler, &queue))
            })
            .collect();
        Self {
            jobs: Some(jobs),
            threads,
        }
    }

    /// Compiles sources below `root` (path below it, name inside the bytecode) and writes
    /// `__pycache__/<module>.<cache tag>.pyc` beside each. Returns the files written, sorted by path.
    pub fn compile(&self, root: &Path, sources: Vec<(RelPath, String)>) -> Result<Vec<FileRow>, BytecodeError> {
        let (reply, replies) = channel();
        if let Some(jobs) = &self.jobs {
            for (source, name) in sources {
                let job = Job {
                    root: root.to_owned(),
                    source,
                    name,
                    reply: reply.clone(),
                };
                // The queue only closes when the pool is dropped.
                jobs.send(job).ok();
            }
        }
        drop(reply);
        let mut files = Vec::new();
        let mut failure = None;
        for result in replies {
            match result {
                Ok(file) => files.extend(file),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        files.sort_by(|left: &FileRow, right| left.path.cmp(&right.path));
        failure.map_or(Ok(files), Err)
    }
}

impl Drop for Compilers {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn serve(compiler: &Compiler, queue: &Mutex<Receiver<Job>>) {
    let mut worker = None;
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let result = compile_one(compiler, &mut worker, &job);
        job.reply.send(result).ok();
    }
}

/// Where the bytecode of a source goes (PEP 3147); none where it is no module.
pub(super) fn bytecode_path(source: &RelPath, cache_tag: &str) -> Option<RelPath> {
    let (folder, file) = source.as_str().rsplit_once('/')?;
    let module = file.strip_suffix(".py")?;
    RelPath::new(&format!("{folder}/__pycache__/{module}.{cache_tag}.pyc")).ok()
}

fn compile_one(compiler: &Compiler, worker: &mut Option<Worker>, job: &Job) -> Result<Option<FileRow>, BytecodeError> {
    let Some(path) = bytecode_path(&job.source, &compiler.cache_tag) else {
        return Ok(None);
    };
    let source = job.root.join(&job.source);
    let running = match worker {
        Some(running) => running,
        None => worker.insert(Worker::start(compiler)?),
    };
    let Ok(body) = running.ask(&source, &job.name) else {
        let crashed = running.crashed();
        *worker = None;
        // A source that overflows the C stack gets no bytecode; any other death must not look like that.
        return if crashed {
            Ok(None)
        } else {
            Err(BytecodeError::Died { source_file: source })
        };
    };
    if body.is_empty() {
        return Ok(None);
    }
    let target = job.root.join(&path);
    if let Some(folder) = target.parent() {
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).at("create the folder", folder).map_err(BytecodeError::from);
            }
            _ => {}
        }
    }
    // A wheel may bring bytecode along; ours replaces it.
    std::fs::remove_file(&target).ok();
    let mut file = fsx::create_store_file(&target, false)?;
    file.write_all(&body).at("write", &target)?;
    fsx::stamp(&file).at("set the time of", &target)?;
    let digest = FileDigest::of(&body);
    Ok(Some(FileRow {
        path,
        size: body.len() as u64,
        digest,
        executable: false,
        native: false,
    }))
}

struct Worker {
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Worker {
    fn start(compiler: &Compiler) -> Result<Self, BytecodeError> {
        let failed = |source| BytecodeError::Start {
            python: compiler.python.clone(),
            source,
        };
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
            .spawn()
            .map_err(failed)?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let mut worker = Self {
            child,
            requests,
            replies: BufReader::new(replies),
        };
        // A worker that does not even say that it is there would leave an environment without bytecode, silently.
        let mut ready = [0];
        worker.replies.read_exact(&mut ready).map_err(failed)?;
        Ok(worker)
    }

    fn ask(&mut self, source: &Path, name: &str) -> io::Result<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt as _;
        let line = format!("{} {}\n", hex(source.as_os_str().as_bytes()), hex(name.as_bytes()));
        self.requests.write_all(line.as_bytes())?;
        let mut length = [0; 4];
        self.replies.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > BYTECODE_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; usize::try_from(length).unwrap_or(0)];
        self.replies.read_exact(&mut body)?;
        Ok(body)
    }
}

impl Worker {
    /// Whether it crashed on what it was asked: SIGSEGV, SIGBUS or SIGABRT.
    fn crashed(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt as _;
        self.child
            .wait()
            .is_ok_and(|status| matches!(status.signal(), Some(6 | 7 | 10 | 11)))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
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
