//! A world for one test: folders, environment variables, fake tools, an index server, and the built program in it.
//!
//! ```text
//! <temp>/project  store  cache  home  tmp  bin/ (fake tools)  tools/ (links to the few real ones)
//! ```
//!
//! Owns: everything the program under test can see. Its environment is empty but for what [`World::variables`] lists;
//! `PATH` leads to fake tools and to links to a shell, the core utilities and one Python, so that no `nvidia-smi` and
//! no pip configuration of the machine is found. Folders that the program made read-only are removed all the same.

mod environment;
mod output;
mod python;
mod snapshot;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use self::environment::{hints, text};
pub(crate) use self::output::Output;
pub(crate) use self::python::Python;
pub(crate) use self::snapshot::{TreeSnapshot, tree_snapshot};
use super::server::Server;

/// Real tools that scripts and launchers may call.
const TOOLS: [&str; 22] = [
    "sh", "env", "cat", "chmod", "cp", "dirname", "basename", "echo", "head", "ls", "ln", "mkdir", "mv", "printf",
    "pwd", "readlink", "realpath", "rm", "sleep", "touch", "true", "uname",
];

/// See the module.
pub(crate) struct World {
    root: tempfile::TempDir,
    server: Server,
    variables: BTreeMap<String, Option<String>>,
}

impl World {
    /// A world with an empty project, an empty store and an index that offers the whole family.
    pub(crate) fn new() -> Self {
        Self::with_server(Server::start())
    }

    /// A world with a server of the test's own making.
    pub(crate) fn with_server(server: Server) -> Self {
        let root = tempfile::Builder::new()
            .prefix("flambeau-test-")
            .tempdir()
            .expect("a temporary folder");
        let world = Self {
            root,
            server,
            variables: BTreeMap::new(),
        };
        for folder in ["project", "store", "cache", "home", "tmp", "bin", "tools"] {
            fs::create_dir(world.path(folder)).expect("the world is empty");
        }
        for tool in TOOLS {
            if let Some(real) = python::on_path(tool) {
                symlink(real, world.path("tools").join(tool)).expect("the folder is empty");
            }
        }
        if let Some(python) = python::any() {
            world.offer_python(&python);
        }
        world
    }

    /// The index server.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// A path below the world's root.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(relative)
    }

    /// The project directory.
    pub(crate) fn project(&self) -> PathBuf {
        self.path("project")
    }

    /// The store.
    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// The cache.
    pub(crate) fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// Writes a file of the project, with the folders above it.
    pub(crate) fn write(&self, relative: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let path = self.project().join(relative);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the project is writable");
        fs::write(path, text).expect("the project is writable");
    }

    /// Reads a text file of the project.
    pub(crate) fn read(&self, relative: impl AsRef<Path>) -> String {
        let path = self.project().join(relative);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Whether something (a broken link too) is there in the project.
    pub(crate) fn has(&self, relative: impl AsRef<Path>) -> bool {
        fs::symlink_metadata(self.project().join(relative)).is_ok()
    }

    /// Puts a tool on the `PATH` that prints a text and exits.
    pub(crate) fn fake_tool(&self, name: &str, stdout: &str, exit: u8) {
        let script = format!("#!/bin/sh\ncat <<'END_OF_FAKE_OUTPUT'\n{stdout}\nEND_OF_FAKE_OUTPUT\nexit {exit}\n");
        self.fake_script(name, &script);
    }

    /// Puts a script on the `PATH`.
    pub(crate) fn fake_script(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, script).expect("the folder is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    }

    /// Takes a fake tool away again.
    pub(crate) fn remove_tool(&self, name: &str) {
        fs::remove_file(self.path("bin").join(name)).expect("the tool was there");
    }

    /// Sets an environment variable for every later command of this world.
    pub(crate) fn set(&mut self, name: &str, value: impl AsRef<str>) {
        self.variables.insert(name.to_owned(), Some(value.as_ref().to_owned()));
    }

    /// Takes an environment variable away from every later command of this world.
    pub(crate) fn unset(&mut self, name: &str) {
        self.variables.insert(name.to_owned(), None);
    }

    /// The whole environment of a command.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        let folder = |name: &str| self.path(name).display().to_string();
        let mut variables: BTreeMap<String, String> = [
            ("HOME", folder("home")),
            ("XDG_CACHE_HOME", folder("home/.cache")),
            ("XDG_CONFIG_HOME", folder("home/.config")),
            ("XDG_DATA_HOME", folder("home/.local/share")),
            ("XDG_STATE_HOME", folder("home/.local/state")),
            ("XDG_RUNTIME_DIR", folder("tmp")),
            ("TMPDIR", folder("tmp")),
            ("PATH", format!("{}:{}", folder("bin"), folder("tools"))),
            ("LANG", "C.UTF-8".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("FLAMBEAU_STORE_DIR", folder("store")),
            ("FLAMBEAU_CACHE_DIR", folder("cache")),
            ("FLAMBEAU_PYTORCH_MIRROR", self.server.pytorch_url()),
            ("PIP_INDEX_URL", self.server.index_url()),
            ("PIP_CONFIG_FILE", "/dev/null".to_owned()),
            ("NO_PROXY", "127.0.0.1,localhost".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(python) = python::any() {
            variables.insert("UV_PYTHON".to_owned(), python.path.display().to_string());
        }
        // Coverage tools find their output by this one.
        if let Ok(profile) = std::env::var("LLVM_PROFILE_FILE") {
            variables.insert("LLVM_PROFILE_FILE".to_owned(), profile);
        }
        for (name, value) in &self.variables {
            match value {
                Some(value) => variables.insert(name.clone(), value.clone()),
                None => variables.remove(name),
            };
        }
        variables
    }

    /// A command in this world, in the project directory.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.variables()).current_dir(self.project());
        command
    }

    /// The built program, for a test that wants to change the command before it runs.
    pub(crate) fn flambeau_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_flambeau"));
        command.args(arguments);
        command
    }

    /// Runs the built program.
    pub(crate) fn flambeau(&self, arguments: &[&str]) -> Output {
        self.run(self.flambeau_command(arguments))
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, mut command: Command) -> Output {
        let shown = format!("{command:?}");
        let finished = command.output().unwrap_or_else(|error| panic!("{shown}: {error}"));
        Output::new(&finished, self.filters())
    }

    /// Runs `.venv/bin/python` of the project.
    pub(crate) fn venv_python(&self, arguments: &[&str]) -> Output {
        self.venv_tool("python", arguments)
    }

    /// Runs a program of `.venv/bin`.
    pub(crate) fn venv_tool(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(self.project().join(".venv/bin").join(name));
        command.args(arguments);
        self.run(command)
    }

    /// A CPython of this minor version, where the machine has one. It is on this world's `PATH` from then on.
    pub(crate) fn python(&self, version: &str) -> Option<Python> {
        let python = python::of_version(version)?;
        self.offer_python(&python);
        Some(python)
    }

    /// Some CPython of 3.9 to 3.13. Where there is none it says so on stderr: the caller returns and is not tested.
    pub(crate) fn any_python(&self) -> Option<Python> {
        let python = python::any();
        match &python {
            Some(python) => self.offer_python(python),
            None => {
                let _written = writeln!(std::io::stderr(), "SKIPPED: this machine has no CPython of 3.9 to 3.13");
            }
        }
        python
    }

    /// Puts a Python on this world's `PATH`, as `python3.X` (and `python3`, where that name is free).
    pub(crate) fn offer_python(&self, python: &Python) {
        let tools = self.path("tools");
        for name in [format!("python{}", python.version), "python3".to_owned()] {
            if fs::symlink_metadata(tools.join(&name)).is_err() {
                symlink(&python.path, tools.join(&name)).expect("the name is free");
            }
        }
    }

    /// What differs from run to run and from machine to machine, and what stands for it in snapshots.
    fn filters(&self) -> Vec<(String, &'static str)> {
        let mut filters = vec![
            (self.root.path().display().to_string(), "[WORLD]"),
            (self.server.url().to_owned(), "[SERVER]"),
            (self.server.url().trim_start_matches("http://").to_owned(), "[HOST]"),
        ];
        if let Ok(real) = self.root.path().canonicalize() {
            filters.push((real.display().to_string(), "[WORLD]"));
        }
        for python in python::known() {
            filters.push((python.path.display().to_string(), "[PYTHON]"));
            filters.push((python.full_version, "[PYTHON_VERSION]"));
        }
        filters
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Trees of the store are read-only; nobody but root may delete from them as they stand.
        make_removable(self.root.path());
    }
}

fn make_removable(folder: &Path) {
    let Ok(()) = fs::set_permissions(folder, fs::Permissions::from_mode(0o700)) else {
        return;
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_removable(&entry.path());
        }
    }
}
