//! Steps that several end-to-end tests share: a project with an active environment, what must not change when a later
//! command fails, and tools of the machine that a test may use.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::support::server::Server;
use crate::support::world::{Output, Python, TreeSnapshot, World, tree_snapshot};

/// The requirement of the environment that is active in a [`Standing`].
pub(crate) const ACTIVE: &str = "typing-extensions==4.13.2";

/// A world with an active environment of one small package, on the channel `cpu`.
pub(crate) struct Standing {
    pub(crate) world: World,
    pub(crate) python: Python,
    wheels: TreeSnapshot,
    envs: TreeSnapshot,
    link: PathBuf,
    state: String,
}

impl Standing {
    /// Locks for one Python, builds and activates. None, said on stderr, where the machine has no Python.
    pub(crate) fn new() -> Option<Self> {
        Self::with_server(Server::start())
    }

    /// As [`Standing::new`], with a server of the test's own making that offers the family.
    pub(crate) fn with_server(server: Server) -> Option<Self> {
        let world = World::with_server(server);
        let python = world.any_python()?;
        world
            .flambeau(&["lock", "--channel", "cpu", "--python", &python.version, ACTIVE])
            .ok();
        world.flambeau(&["build", "--channel", "cpu"]).ok();
        world.server().clear_log();
        let (wheels, envs) = (shelf(&world, "wheels"), shelf(&world, "envs"));
        let link = active(&world);
        let state = world.read("environment_state.json");
        Some(Self {
            world,
            python,
            wheels,
            envs,
            link,
            state,
        })
    }

    /// Locks further requirements beside [`ACTIVE`], so that the next build has exactly their wheels to fetch.
    pub(crate) fn lock(&self, requirements: &[&str]) {
        let arguments = [&["lock", "--channel", "cpu", ACTIVE], requirements].concat();
        self.world.flambeau(&arguments).ok();
        self.world.server().clear_log();
    }

    /// Fails unless the store holds what it held, and the environment that was active still is and works.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        self.wheels.assert_same(&shelf(&self.world, "wheels"));
        self.assert_active();
    }

    /// Fails unless the environment that was active still is, is the only one, and works.
    #[track_caller]
    pub(crate) fn assert_active(&self) {
        self.envs.assert_same(&shelf(&self.world, "envs"));
        assert_eq!(active(&self.world), self.link);
        assert_eq!(self.world.read("environment_state.json"), self.state);
        let script = "import typing_extensions; print(typing_extensions.__version__)";
        assert_eq!(self.world.venv_python(&["-c", script]).ok().text(), "4.13.2");
    }

    /// Fails unless a command failed as it should: with this exit code, a message that holds every part, and a hint;
    /// and unless everything is as it was.
    #[track_caller]
    pub(crate) fn assert_refused(&self, output: Output, code: i32, parts: &[&str]) {
        assert_error(output, code, parts);
        self.assert_untouched();
    }
}

/// Fails unless a command failed with this exit code, a message that holds every part, and a hint.
#[track_caller]
pub(crate) fn assert_error(output: Output, code: i32, parts: &[&str]) {
    let output = output.fails(code);
    assert_eq!(output.stdout, "", "a failure prints no result:\n{output}");
    let message = output.stderr.lines().skip_while(|line| !line.starts_with("error: "));
    let message = message.collect::<Vec<_>>().join("\n");
    for part in parts {
        assert!(message.contains(part), "`{part}` is missing:\n{output}");
    }
    assert!(message.contains("\nhint: "), "there is no hint:\n{output}");
    assert!(!message.contains("panicked"), "{output}");
}

/// The state of `store/<name>`.
pub(crate) fn shelf(world: &World, name: &str) -> TreeSnapshot {
    tree_snapshot(&world.store().join(name))
}

/// Where `.venv` leads.
#[track_caller]
pub(crate) fn active(world: &World) -> PathBuf {
    fs::read_link(world.project().join(".venv")).expect(".venv is a link")
}

/// The names in a folder, sorted; none where it does not exist.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Says on stderr that a part of a test cannot run on this machine.
pub(crate) fn skip(what: &str, why: &str) {
    let _written = writeln!(std::io::stderr(), "SKIPPED: {what}: {why}");
}

/// A program of the machine, found on the `PATH` of the test itself or in the usual folders. The shims of pyenv are
/// passed over: they are scripts that need a `PATH`, which a world does not have.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .filter(|folder| !folder.ends_with("shims"))
        .chain(usual)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Copies an interpreter into an installation of its own below `prefix`, which shares the standard library, and
/// returns its executable.
pub(crate) fn copy_python(python: &Python, prefix: &Path) -> PathBuf {
    let executable = prefix.join("bin").join(format!("python{}", python.version));
    let real = python.path.parent().and_then(Path::parent).expect("an installation");
    fs::create_dir_all(prefix.join("bin")).expect("a new folder");
    fs::copy(&python.path, &executable).expect("the interpreter is readable");
    symlink(real.join("lib"), prefix.join("lib")).expect("the name is free");
    executable
}

/// As [`copy_python`], without pip, without the copy of it that `ensurepip` has, and without site-packages.
pub(crate) fn bare_python(python: &Python, prefix: &Path) -> PathBuf {
    let executable = prefix.join("bin").join(format!("python{}", python.version));
    let real = python.path.parent().and_then(Path::parent).expect("an installation");
    let library = Path::new("lib").join(format!("python{}", python.version));
    fs::create_dir_all(prefix.join("bin")).expect("a new folder");
    fs::create_dir_all(prefix.join(&library)).expect("a new folder");
    fs::copy(&python.path, &executable).expect("the interpreter is readable");
    for name in names(&real.join(&library)) {
        if !["ensurepip", "site-packages", "dist-packages"].contains(&name.as_str()) {
            let (target, link) = (real.join(&library).join(&name), prefix.join(&library).join(&name));
            symlink(target, link).expect("the name is free");
        }
    }
    executable
}

/// Runs flambeau in a mount namespace of its own, after `script` has changed the mounts there (`$MOUNT` is the
/// program). The machine's mounts stay as they are. None where that is not permitted.
pub(crate) fn in_own_mounts(world: &World, script: &str, arguments: &[&str]) -> Option<Output> {
    let (unshare, mount) = (tool("unshare")?, tool("mount")?);
    let command = |words: &[&str]| {
        let mut command = world.command(&unshare);
        if !is_root() {
            command.arg("--map-root-user");
        }
        command
            .env("MOUNT", &mount)
            .args(["--mount", "/bin/sh", "-c"])
            .args(words);
        command
    };
    let folder = world.path("mount-probe");
    fs::create_dir_all(&folder).expect("a writable world");
    let probe = format!("exec \"$MOUNT\" -t tmpfs tmpfs '{}'", folder.display());
    if !command(&[&probe]).output().is_ok_and(|output| output.status.success()) {
        return None;
    }
    let script = format!("set -e\n{script}\nexec \"$@\"\n");
    let words = [&[script.as_str(), "sh", env!("CARGO_BIN_EXE_flambeau")], arguments].concat();
    Some(world.run(command(&words)))
}

/// Runs flambeau in a network namespace of its own, where not even the loopback interface is up. None where that is not
/// permitted.
pub(crate) fn in_own_network(world: &World, arguments: &[&str]) -> Option<Output> {
    let unshare = tool("unshare")?;
    let command = |program: &str| {
        let mut command = world.command(&unshare);
        if !is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--net", program]);
        command
    };
    if !command("/bin/true")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return None;
    }
    let mut command = command(env!("CARGO_BIN_EXE_flambeau"));
    command.args(arguments).env("SHELL", world.path("tools/true"));
    Some(world.run(command))
}

/// Runs flambeau so that modes of files count for it, also where the tests run as root. None where root cannot be
/// held to them.
pub(crate) fn held_to_modes(world: &World, arguments: &[&str]) -> Option<Output> {
    if !is_root() {
        return Some(world.flambeau(arguments));
    }
    let mut command = world.command(tool("setpriv")?);
    command.args([
        "--bounding-set",
        "-all",
        "--inh-caps",
        "-all",
        env!("CARGO_BIN_EXE_flambeau"),
    ]);
    command.args(arguments);
    Some(world.run(command))
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Removes a folder of the store, whose folders are read-only: all but root must open them first.
pub(crate) fn remove_sealed(folder: &Path) {
    fn open(folder: &Path) {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("it is ours");
        for entry in fs::read_dir(folder).expect("it is a folder").flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open(&entry.path());
            }
        }
    }
    open(folder);
    fs::remove_dir_all(folder).expect("it is open now");
}
