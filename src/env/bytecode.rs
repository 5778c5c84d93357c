//! Bytecode: unchecked-hash `.pyc` (PEP 552), compiled by persistent interpreter workers.
//!
//! A worker only parses: it gets the path of a source and sends bytecode back; flambeau writes the file. So nothing
//! of a package runs, and the modes and times of what is written are ours. Workers start in an empty environment with
//! a fixed hash seed; the name inside the bytecode is relative to site-packages, and Python replaces it by the real
//! one when it loads the module.
//!
//! The bytes are the same in every order and on every machine for CPython 3.11 and newer. On 3.9 and 3.10 marshal
//! writes references by what the worker happened to hold before, so there they are not covered by any promise.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::digest::{FileDigest, Hasher};
use crate::fsx::{self, PathContext as _, PathError};
use crate::relpath::RelPath;
use crate::threads;
use crate::wheel::manifest::FileRow;

/// The worker's program.
const PROGRAM: &str = include_str!("runtime/compile.py");

/// A module with more bytecode than this is not compiled.
const BYTECODE_MAX: u32 = 256 << 20;

/// The length that says that CPython gave up on a source; nothing comes after it.
const GIVEN_UP: u32 = 0xffff_fffe;

/// So many bytes of bytecode are received at a time.
const BLOCK: usize = 1 << 16;

/// How long a worker may take to say that it is there.
const STARTING: Duration = Duration::from_mins(1);
/// How long a worker may work on one module, however small. CPython needs milliseconds, but there are sources of a few
/// lines that it needs hours for.
const COMPILING: Duration = Duration::from_mins(2);
/// How much longer it may take for each mebibyte of source, a good hundred times what CPython needs.
const COMPILING_MEBIBYTE: Duration = Duration::from_mins(2);
/// How long a worker whose pipe has closed may take to end.
const ENDING: Duration = Duration::from_secs(1);

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
    #[error("the worker {} (process {process}) ended while it compiled {}: {status}", python.display(), source_file.display())]
    Died {
        /// The interpreter.
        python: PathBuf,
        /// Its process number.
        process: u32,
        /// What it compiled.
        source_file: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// A worker could not be talked to, and was killed.
    #[error("the worker {} (process {process}) failed while it compiled {}", python.display(), source_file.display())]
    Worker {
        /// The interpreter.
        python: PathBuf,
        /// Its process number.
        process: u32,
        /// What it compiled.
        source_file: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
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

/// Why a module stays without bytecode, beside a syntax error, which is common in test data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncompiled {
    /// The worker crashed on it: SIGSEGV, SIGBUS or SIGABRT, as where a source overflows the C stack.
    Crash,
    /// It took too long.
    Slow,
    /// Its bytecode is too large.
    Large,
    /// CPython's compiler gave up on it, as where it is nested too deep for its parser.
    GivenUp,
}

impl std::fmt::Display for Uncompiled {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Crash => formatter.write_str("Python crashed while compiling it"),
            Self::Slow => formatter.write_str("Python took too long to compile it"),
            Self::GivenUp => formatter.write_str("Python cannot compile it (nested too deep, or too little memory)"),
            Self::Large => write!(formatter, "its bytecode is larger than {} MiB", BYTECODE_MAX >> 20),
        }
    }
}

/// What compiling came to.
#[derive(Debug, Default)]
pub struct Compiled {
    /// The files written, sorted by path.
    pub files: Vec<FileRow>,
    /// Modules that have no bytecode and should be told of, sorted by path.
    pub uncompiled: Vec<(RelPath, Uncompiled)>,
}

/// A pool of worker processes. Dropped means stopped.
pub struct Compilers {
    compiler: Compiler,
    /// How many sources are compiled at a time by one caller.
    count: usize,
    pool: Mutex<Pool>,
    /// A worker, or the right to start one, came back.
    back: Condvar,
    /// How long a worker may work on one small module.
    patience: Duration,
}

struct Pool {
    idle: Vec<Worker>,
    /// How many workers are in use or being started.
    taken: usize,
    /// How many there may be.
    limit: usize,
}

/// A place in the pool, and the worker that is used in it, unless it was found to be broken.
struct Turn<'a> {
    compilers: &'a Compilers,
    worker: Option<Worker>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut pool = self.compilers.pool();
        pool.taken -= 1;
        pool.idle.extend(self.worker.take());
        drop(pool);
        self.compilers.back.notify_one();
    }
}

impl Compilers {
    /// A pool of at most `count` workers. Processes start when they are needed.
    #[must_use]
    pub fn new(compiler: &Compiler, count: usize) -> Self {
        let count = count.max(1);
        Self {
            compiler: compiler.clone(),
            count,
            pool: Mutex::new(Pool {
                idle: Vec::new(),
                taken: 0,
                limit: count,
            }),
            back: Condvar::new(),
            patience: COMPILING,
        }
    }

    /// Compiles sources below `root` (path below it, name inside the bytecode) and writes
    /// `__pycache__/<module>.<cache tag>.pyc` beside each. After a failure nothing new is begun.
    pub fn compile(&self, root: &Path, sources: Vec<(RelPath, String)>) -> Result<Compiled, BytecodeError> {
        let more = sources.len().clamp(1, self.count) - 1;
        let queue = Mutex::new(sources.into_iter());
        let done = Mutex::new(Ok(Compiled::default()));
        threads::share(more, || {
            loop {
                let next = lock(&queue).next();
                let Some((source, name)) = next.filter(|_| lock(&done).is_ok()) else {
                    return;
                };
                let outcome = self.compile_one(root, &source, &name);
                let mut done = lock(&done);
                match (outcome, done.as_mut()) {
                    (Ok(Outcome::Written(file)), Ok(compiled)) => compiled.files.push(file),
                    (Ok(Outcome::Uncompiled(why)), Ok(compiled)) => compiled.uncompiled.push((source, why)),
                    (Ok(Outcome::Nothing), _) | (_, Err(_)) => {}
                    (Err(error), Ok(_)) => *done = Err(error),
                }
            }
        });
        let mut compiled = done.into_inner().unwrap_or_else(PoisonError::into_inner)?;
        compiled.files.sort_by(|left, right| left.path.cmp(&right.path));
        compiled.uncompiled.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(compiled)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        lock(&self.pool)
    }

    /// A worker of one's own; waits for one where all are in use. Where the system refuses a further process, those
    /// that are there have to do.
    fn take(&self) -> Result<Turn<'_>, BytecodeError> {
        let mut pool = self.pool();
        loop {
            if let Some(worker) = pool.idle.pop() {
                pool.taken += 1;
                let worker = Some(worker);
                return Ok(Turn {
                    compilers: self,
                    worker,
                });
            }
            if pool.taken < pool.limit {
                pool.taken += 1;
                drop(pool);
                let mut turn = Turn {
                    compilers: self,
                    worker: None,
                };
                match Worker::start(&self.compiler) {
                    Ok(worker) => {
                        turn.worker = Some(worker);
                        return Ok(turn);
                    }
                    Err(source) => {
                        drop(turn);
                        pool = self.pool();
                        let others = pool.taken + pool.idle.len();
                        if others == 0 || !threads::is_refusal(&source) {
                            let python = self.compiler.python.clone();
                            return Err(BytecodeError::Start { python, source });
                        }
                        pool.limit = others;
                        continue;
                    }
                }
            }
            pool = self.back.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn compile_one(&self, root: &Path, source: &RelPath, name: &str) -> Result<Outcome, BytecodeError> {
        let Some(path) = bytecode_path(source, &self.compiler.cache_tag) else {
            return Ok(Outcome::Nothing);
        };
        let source = root.join(source);
        let mut turn = self.take()?;
        // Out of its place until it has answered well: a worker in any other state is killed, never used again.
        let Some(mut worker) = turn.worker.take() else {
            return Ok(Outcome::Nothing);
        };
        let outcome = match worker.ask(&source, name, self.patience) {
            Ok(0) => Outcome::Nothing,
            Ok(GIVEN_UP) => Outcome::Uncompiled(Uncompiled::GivenUp),
            Ok(length) => {
                let target = root.join(&path);
                let mut file = create(&target)?;
                match worker.receive(length, &mut file) {
                    Ok(digest) => {
                        fsx::stamp(&file).at("set the time of", &target)?;
                        Outcome::Written(FileRow {
                            path,
                            size: length.into(),
                            digest,
                            executable: false,
                            native: false,
                        })
                    }
                    Err(Broken::Disk(error)) => return Err(error).at("write", &target).map_err(Into::into),
                    Err(broken) => {
                        std::fs::remove_file(&target).ok();
                        return worker.broken(broken, source);
                    }
                }
            }
            Err(broken) => return worker.broken(broken, source),
        };
        turn.worker = Some(worker);
        Ok(outcome)
    }
}

/// What became of one source.
enum Outcome {
    Written(FileRow),
    /// It is no module, or has a syntax error.
    Nothing,
    Uncompiled(Uncompiled),
}

/// Why a worker is not used again.
#[derive(Debug)]
enum Broken {
    /// Its pipe was closed.
    Ended,
    Slow,
    Large,
    Pipe(io::Error),
    /// Its answer could not be written to disk.
    Disk(io::Error),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file for bytecode, in its `__pycache__`. A wheel may bring bytecode along; ours replaces it.
fn create(target: &Path) -> Result<File, PathError> {
    if let Some(folder) = target.parent() {
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).at("create the folder", folder);
            }
            _ => {}
        }
    }
    std::fs::remove_file(target).ok();
    fsx::create_store_file(target, false)
}

/// Where the bytecode of a source goes (PEP 3147); none where it is no module.
pub(super) fn bytecode_path(source: &RelPath, cache_tag: &str) -> Option<RelPath> {
    let (folder, file) = source.as_str().rsplit_once('/')?;
    let module = file.strip_suffix(".py")?;
    RelPath::new(&format!("{folder}/__pycache__/{module}.{cache_tag}.pyc")).ok()
}

struct Worker {
    python: PathBuf,
    child: Child,
    requests: ChildStdin,
    replies: ChildStdout,
    /// When the answer that is waited for has to be there.
    deadline: Instant,
}

impl Worker {
    fn start(compiler: &Compiler) -> io::Result<Self> {
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
    fn ask(&mut self, source: &Path, name: &str, patience: Duration) -> Result<u32, Broken> {
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

    /// Receives bytecode, block by block, into `file`.
    fn receive(&mut self, length: u32, file: &mut File) -> Result<FileDigest, Broken> {
        let mut hasher = Hasher::new();
        let mut block = vec![0; BLOCK.min(length as usize)];
        let mut left = length as usize;
        while left > 0 {
            let room = left.min(block.len());
            let part = &mut block[..room];
            self.read_exact(part)?;
            hasher.update(part);
            file.write_all(part).map_err(Broken::Disk)?;
            left -= room;
        }
        Ok(FileDigest::from_bytes(hasher.finish()))
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
    fn broken(mut self, broken: Broken, source_file: PathBuf) -> Result<Outcome, BytecodeError> {
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// What a worker does that says that it is there and then behaves as `script` has it, and whether it still lives.
    struct Fake {
        folder: tempfile::TempDir,
        compilers: Compilers,
    }

    impl Fake {
        fn new(count: usize, script: &str) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let python = folder.path().join("python");
            let text = format!(
                "#!/bin/sh\necho $$ >>'{}/processes'\n{script}\n",
                folder.path().display()
            );
            std::fs::write(&python, text).expect("written");
            std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).expect("ours");
            std::fs::create_dir(folder.path().join("p")).expect("a folder");
            for name in ["a", "b"] {
                std::fs::write(folder.path().join(format!("p/{name}.py")), "pass\n").expect("written");
            }
            let compiler = Compiler {
                python,
                cache_tag: "cpython-311".to_owned(),
            };
            let mut compilers = Compilers::new(&compiler, count);
            compilers.patience = Duration::from_millis(300);
            Self { folder, compilers }
        }

        fn compile(&self) -> Result<Compiled, BytecodeError> {
            let source = |name: &str| (RelPath::new(&format!("p/{name}.py")).expect("a path"), name.to_owned());
            let compiled = self
                .compilers
                .compile(self.folder.path(), vec![source("a"), source("b")]);
            let processes = std::fs::read_to_string(self.folder.path().join("processes")).unwrap_or_default();
            for process in processes.lines().take_while(|_| compiled.is_err()) {
                // The pool may keep a worker that never failed; all of these did.
                assert!(!Path::new("/proc").join(process).exists(), "{process} is left");
            }
            let cache = self.folder.path().join("p/__pycache__");
            let left = std::fs::read_dir(cache).map_or(0, Iterator::count);
            assert_eq!(left, compiled.as_ref().map_or(0, |compiled| compiled.files.len()));
            compiled
        }

        fn why(&self) -> Vec<(String, Uncompiled)> {
            let uncompiled = self.compile().expect("compiled").uncompiled;
            uncompiled
                .into_iter()
                .map(|(path, why)| (path.to_string(), why))
                .collect()
        }
    }

    /// Both modules for one reason.
    fn both(why: Uncompiled) -> Vec<(String, Uncompiled)> {
        ["p/a.py", "p/b.py"].map(|path| (path.to_owned(), why)).to_vec()
    }

    #[test]
    fn bytecode_is_received_and_written() {
        let fake = Fake::new(2, r"printf +; while read line; do printf '\003\000\000\000abc'; done");
        let compiled = fake.compile().expect("compiled");
        let paths: Vec<&str> = compiled.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(
            paths,
            ["p/__pycache__/a.cpython-311.pyc", "p/__pycache__/b.cpython-311.pyc"]
        );
        assert_eq!(
            (compiled.files[0].size, compiled.files[0].digest),
            (3, FileDigest::of(b"abc"))
        );
    }

    /// The worker lives on, with its pipes open.
    #[test]
    fn an_answer_that_is_too_large_leaves_one_module_uncompiled() {
        let fake = Fake::new(
            1,
            r"printf +; while read line; do printf '\001\000\000\020'; done; sleep 600",
        );
        assert_eq!(fake.why(), both(Uncompiled::Large));
        let fake = Fake::new(
            1,
            r"printf +; while read line; do printf '\377\377\377\377'; sleep 600; done",
        );
        assert_eq!(fake.why(), both(Uncompiled::Large));
    }

    #[test]
    fn a_worker_that_does_not_answer_is_killed() {
        for script in [
            "printf +; sleep 600",
            r"printf +; while read line; do printf '\003\000\000\000a'; sleep 600; done",
            r"printf +; while read line; do printf '\003'; sleep 600; done",
        ] {
            assert_eq!(Fake::new(2, script).why(), both(Uncompiled::Slow), "{script}");
        }
    }

    #[test]
    fn a_crash_is_told_from_an_end() {
        assert_eq!(
            Fake::new(1, "printf +; read line; kill -SEGV $$").why(),
            both(Uncompiled::Crash)
        );
        let error = Fake::new(1, "printf +; read line; exit 3")
            .compile()
            .expect_err("it ended");
        let text = error.to_string();
        assert!(text.contains("/p/a.py") && text.contains("exit status: 3"), "{text}");
        let error = Fake::new(1, "printf +; read line; kill -KILL $$").compile();
        assert!(matches!(error, Err(BytecodeError::Died { .. })), "{error:?}");
    }

    #[test]
    fn a_worker_that_closes_its_pipes_and_goes_on_is_killed() {
        for script in ["exec >&-", "exec <&-; exec >&-"] {
            let error = Fake::new(1, &format!("printf +; {script}; sleep 600")).compile();
            assert!(matches!(error, Err(BytecodeError::Worker { .. })), "{error:?}");
        }
    }

    #[test]
    fn one_that_does_not_start_is_told_with_its_reason() {
        for script in ["exit 4", "exec >&-; sleep 600", ":"] {
            let error = Fake::new(2, script).compile();
            assert!(matches!(error, Err(BytecodeError::Start { .. })), "{error:?}");
        }
    }
}
