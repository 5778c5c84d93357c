//! Bytecode: unchecked-hash `.pyc` (PEP 552), compiled by persistent interpreter workers into a store object of its own.
//!
//! An environment's `__pycache__` folders are links into that object (the module `object`), laid whether it is there yet or not.
//! So an environment is complete without bytecode and becomes fast when the object is renamed into place.
//!
//! A worker only parses: it gets the path of a source and sends bytecode back; flambeau writes the file. So nothing
//! of a package runs, and the modes and times of what is written are ours. Workers start in an empty environment with
//! a fixed hash seed; the name inside the bytecode is relative to site-packages, and Python replaces it by the real
//! one when it loads the module.
//!
//! What marshal writes depends on what the worker compiled before, so it is brought into one form (the module `marshal`): the
//! bytes are the same in every order and on every machine, for CPython 3.9 to 3.15.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Python;
use crate::fsx::{self, PathContext as _, PathError};
use crate::relpath::RelPath;
use crate::threads;
use crate::wheel::manifest::FileRow;

mod imports;
mod marshal;
mod object;
mod worker;

pub(crate) use object::is_there;
pub use object::{BytecodeManifest, Modules, bytecode_name};
use worker::{BYTECODE_MAX, Broken, COMPILING, GIVEN_UP, Worker};

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

impl Compiler {
    /// The compiler that an interpreter is.
    #[must_use]
    pub fn of(python: &Python) -> Self {
        Self {
            python: python.program.clone(),
            cache_tag: python.cache_tag.clone(),
        }
    }
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
    /// `__pycache__/<module>.<cache tag>.pyc` for each below `target`. After a failure nothing new is begun.
    pub fn compile(
        &self,
        root: &Path,
        target: &Path,
        sources: Vec<(RelPath, String)>,
    ) -> Result<Compiled, BytecodeError> {
        let more = sources.len().clamp(1, self.count) - 1;
        let queue = Mutex::new(sources.into_iter());
        let done = Mutex::new(Ok(Compiled::default()));
        threads::share(more, || {
            loop {
                let next = lock(&queue).next();
                let Some((source, name)) = next.filter(|_| lock(&done).is_ok()) else {
                    return;
                };
                let outcome = self.compile_one((root, target), &source, &name);
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

    fn compile_one(
        &self,
        (root, target): (&Path, &Path),
        source: &RelPath,
        name: &str,
    ) -> Result<Outcome, BytecodeError> {
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
                let target = target.join(&path);
                let mut file = create(&target)?;
                match worker.receive(length, &mut file) {
                    Ok((digest, size)) => {
                        fsx::stamp(&file).at("set the time of", &target)?;
                        Outcome::Written(FileRow {
                            path,
                            size,
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file for bytecode, in its `__pycache__`.
fn create(target: &Path) -> Result<File, PathError> {
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder).at("create the folder", folder)?;
    }
    fsx::create_store_file(target, false)
}

/// Where the bytecode of a source goes (PEP 3147); none where it is no module.
pub(super) fn bytecode_path(source: &RelPath, cache_tag: &str) -> Option<RelPath> {
    let (folder, file) = source.as_str().rsplit_once('/')?;
    let module = file.strip_suffix(".py")?;
    RelPath::new(&format!("{folder}/__pycache__/{module}.{cache_tag}.pyc")).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::digest::FileDigest;

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
            let compiled =
                self.compilers
                    .compile(self.folder.path(), self.folder.path(), vec![source("a"), source("b")]);
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

    /// Every CPython here that flambeau builds for: those of pyenv, and the one on the `PATH`. There may be none.
    fn pythons() -> Vec<(PathBuf, String)> {
        let home = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")));
        let versions = home
            .map(|home| home.join("versions"))
            .and_then(|folder| folder.read_dir().ok());
        let managed = versions.into_iter().flatten().flatten();
        let managed = managed.map(|entry| entry.path().join("bin/python3"));
        let mut found: Vec<(PathBuf, String)> = Vec::new();
        for program in managed.chain(["python3".into()]) {
            let told = std::process::Command::new(&program)
                .args(["-c", "import sys; print(sys.implementation.cache_tag)"])
                .output();
            let tag = told.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned());
            if let Ok(tag) = tag
                && tag
                    .strip_prefix("cpython-3")
                    .and_then(|minor| minor.parse::<u8>().ok())
                    .is_some_and(|minor| (9..=15).contains(&minor))
                && found.iter().all(|(_, other)| *other != tag)
            {
                found.push((program, tag));
            }
        }
        found
    }

    /// Two sources that one worker compiles to other bytes in the other order, without the one form; and modules of the
    /// standard library.
    #[test]
    fn bytes_depend_on_neither_order_nor_worker() {
        for (python, cache_tag) in pythons() {
            let folder = tempfile::tempdir().expect("a folder");
            let root = folder.path().join("root");
            std::fs::create_dir_all(root.join("p")).expect("folders");
            std::fs::write(root.join("p/a.py"), "import foo\n").expect("written");
            let text = "a = {\"foo\", 2, 3}\n\ndef f():\n    b = {\"foo\", 2, 3}\n";
            std::fs::write(root.join("p/b.py"), text).expect("written");
            let library = std::process::Command::new(&python)
                .args(["-c", "import sysconfig; print(sysconfig.get_paths()['stdlib'])"])
                .output()
                .expect("it runs");
            let library = PathBuf::from(String::from_utf8_lossy(&library.stdout).trim().to_owned());
            let mut names: Vec<String> = ["a", "b"].map(str::to_owned).to_vec();
            for name in [
                "argparse",
                "ast",
                "configparser",
                "enum",
                "html/entities",
                "inspect",
                "json/decoder",
                "typing",
            ] {
                let name = name.replace('/', "_");
                let source = library.join(format!("{}.py", name.replace('_', "/")));
                if std::fs::copy(source, root.join(format!("p/{name}.py"))).is_ok() {
                    names.push(name);
                }
            }
            let compiled = |number: usize, workers: usize, order: &[String]| {
                let compiler = Compiler {
                    python: python.clone(),
                    cache_tag: cache_tag.clone(),
                };
                let source = |name: &String| (RelPath::new(&format!("p/{name}.py")).expect("a path"), name.clone());
                let target = folder.path().join(number.to_string());
                let compilers = Compilers::new(&compiler, workers);
                let sources = order.iter().map(source).collect();
                compilers.compile(&root, &target, sources).expect("compiled").files
            };
            let first = compiled(0, 1, &names);
            assert!(first.len() >= 2, "{cache_tag}");
            names.reverse();
            assert_eq!(compiled(1, 1, &names), first, "{cache_tag}");
            names.rotate_left(3);
            assert_eq!(compiled(2, 2, &names), first, "{cache_tag}");
        }
    }
}
