//! F09 and F08: several users share one store and one cache.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failures::bounded;
use crate::steps::{is_root, names, skip, tool};
use crate::support::server::{Action, Fault};
use crate::support::world::World;

/// The group that the users share.
const GROUP: u32 = 42_042;
const USERS: [u32; 4] = [42_001, 42_002, 42_003, 42_004];

/// A user of one test alone: a limit on processes counts those of every test that runs as the same user.
const ALONE: u32 = 42_005;
/// Each user has another umask, and none may shut the others out.
const UMASKS: [&str; 4] = ["022", "077", "002", "000"];

struct Team {
    world: World,
    setpriv: PathBuf,
}

impl Team {
    /// A world whose store and cache belong to a group (mode 2775), with a locked project for each user. None, said on
    /// stderr, where the test cannot change to other users or they have no Python.
    fn new() -> Option<Self> {
        let mut world = World::new();
        let reason = match (is_root(), tool("setpriv")) {
            (false, _) => Err("only root can run programs as several users"),
            (true, None) => Err("there is no setpriv"),
            (true, Some(setpriv)) => Ok(setpriv),
        };
        let setpriv = match reason {
            Ok(setpriv) => setpriv,
            Err(why) => {
                skip("several users of one store", why);
                return None;
            }
        };
        let own = world.any_python()?.path;
        let can_run = |program: &Path| {
            let mut command = Command::new(&setpriv);
            command.args(["--reuid", "42001", "--regid", "42001", "--clear-groups"]);
            // By way of a shell: setpriv itself may still reach what the user may not.
            command.args(["/bin/sh", "-c", "exec \"$0\" -c 'import ssl, venv'"]);
            command.arg(program);
            command.output().is_ok_and(|output| output.status.success())
        };
        let pythons = [
            own,
            PathBuf::from("/usr/bin/python3"),
            PathBuf::from("/usr/local/bin/python3"),
        ];
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_flambeau"));
        let Some(python) = pythons.into_iter().find(|python| can_run(python)) else {
            skip("several users of one store", "no Python that other users may run");
            return None;
        };
        fs::copy(&binary, world.path("tools/flambeau")).expect("a writable world");
        fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).expect("ours");
        fs::set_permissions(world.path("tmp"), fs::Permissions::from_mode(0o1777)).expect("ours");
        for folder in [world.store(), world.cache()] {
            chown(&folder, None, Some(GROUP)).expect("root may");
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o2775)).expect("ours");
        }
        world.set("UV_PYTHON", python.display().to_string());
        for channel in ["cpu", "cu118"] {
            world.flambeau(&["lock", "--channel", channel]).ok();
        }
        // What root has cached meanwhile is not the users'.
        for name in names(&world.cache()) {
            fs::remove_dir_all(world.cache().join(&name))
                .or_else(|_| fs::remove_file(world.cache().join(&name)))
                .expect("ours");
        }
        for user in USERS.into_iter().chain([ALONE]) {
            let project = world.path(format!("user-{user}"));
            fs::create_dir_all(project.join("lockfiles")).expect("a new folder");
            for file in names(&world.project().join("lockfiles")) {
                let (from, to) = (
                    world.project().join("lockfiles").join(&file),
                    project.join("lockfiles").join(&file),
                );
                fs::copy(from, &to).expect("a new file");
                chown(&to, Some(user), Some(user)).expect("root may");
            }
            for folder in [project.join("lockfiles"), project] {
                chown(&folder, Some(user), Some(user)).expect("root may");
            }
        }
        world.server().clear_log();
        Some(Self { world, setpriv })
    }

    fn project(&self, user: u32) -> PathBuf {
        self.world.path(format!("user-{user}"))
    }

    /// A command of one of the users, in the own project.
    fn command(&self, user: u32, umask: &str, program: &Path, arguments: &[&str]) -> Command {
        let mut command = self.world.command(&self.setpriv);
        let (id, group) = (user.to_string(), GROUP.to_string());
        command.args(["--reuid", &id, "--regid", &id, "--groups", &group, "/bin/sh", "-c"]);
        command.args(["umask \"$1\"; shift; exec \"$@\"", "sh", umask]);
        command.arg(program).args(arguments);
        command.current_dir(self.project(user)).env("HOME", self.project(user));
        for variable in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"] {
            command.env_remove(variable);
        }
        command
    }

    fn flambeau(&self, user: u32, umask: &str, arguments: &[&str]) -> Command {
        self.command(user, umask, &self.world.path("tools/flambeau"), arguments)
    }

    fn torch_of(&self, user: u32) -> String {
        let python = self.project(user).join(".venv/bin/python");
        let program = "import torch, torchvision; print(torch.__version__)";
        let command = self.command(user, "022", &python, &["-c", program]);
        self.world.run(command).ok().text().to_owned()
    }
}

#[test]
fn f09_sixteen_builds_of_one_key_by_four_users() {
    let Some(team) = Team::new() else { return };
    let world = &team.world;
    world
        .server()
        .fault(Fault::on("/torch-2.7.0", Action::Slow(60_000)).method("GET"));
    let children: Vec<_> = (0..16)
        .map(|number| {
            let mut command = team.flambeau(USERS[number % 4], UMASKS[number % 4], &["build", "--channel", "cpu"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("it starts")
        })
        .collect();
    let mut said = Vec::new();
    for child in children {
        let output = child.wait_with_output().expect("it was started");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {stderr}", output.status);
        said.push((String::from_utf8_lossy(&output.stdout).into_owned(), stderr));
    }
    let built = said.iter().filter(|(stdout, _)| stdout.starts_with("built in "));
    assert_eq!(built.count(), 1, "one build, the others find it: {said:?}");
    assert!(
        said.iter().any(|(_, stderr)| stderr.contains("waiting")),
        "waiting is said"
    );
    let mut downloads: BTreeMap<String, usize> = BTreeMap::new();
    for request in world.server().requests_to(".whl") {
        if request.path.ends_with(".whl") && request.method == "GET" {
            *downloads.entry(request.path).or_default() += 1;
        }
    }
    assert!(
        downloads.len() > 5 && downloads.values().all(|count| *count == 1),
        "{downloads:?}"
    );
    assert_eq!(names(&world.store().join("envs")).len(), 1);
    assert!(names(&world.store().join("tmp")).is_empty());
    for user in USERS {
        assert_eq!(team.torch_of(user), "2.7.0+cpu");
        let record = fs::read_to_string(team.project(user).join(".flambeau/generations/1.json")).expect("a record");
        assert!(record.contains(&format!("\"user\": \"{user}\"")), "{record}");
    }
}

#[test]
fn f08_what_one_user_made_serves_the_others_whatever_the_umasks() {
    let Some(team) = Team::new() else { return };
    let world = &team.world;
    let build = |user: u32, umask: &str, arguments: &[&str]| {
        let arguments = [&["--json", "build"], arguments].concat();
        world.run(team.flambeau(user, umask, &arguments)).ok().json()
    };
    // The first has the narrowest umask; the second links to the first one's files, which the kernel may refuse
    // (fs.protected_hardlinks), and adds trees; the third switches and goes back.
    let first = build(USERS[0], "077", &["--channel", "cpu"]);
    let second = build(USERS[1], "077", &["--channel", "cu118"]);
    world.server().clear_log();
    let third = build(USERS[2], "022", &["--channel", "cpu"]);
    assert_eq!((&third["path"], &third["reused"]), (&first["path"], &true.into()));
    let again = build(USERS[2], "022", &["--channel", "cu118"]);
    assert_eq!((&again["path"], &again["reused"]), (&second["path"], &true.into()));
    world.run(team.flambeau(USERS[2], "077", &["rollback"])).ok();
    world.server().assert_no_requests();
    for (user, torch) in USERS.into_iter().zip(["2.7.0+cpu", "2.7.0+cu118", "2.7.0+cpu"]) {
        assert_eq!(team.torch_of(user), torch);
    }
    // Another store of one user alone gives the same trees.
    let own = team.project(USERS[3]).join("store").display().to_string();
    for (channel, shared) in [("cpu", &first), ("cu118", &second)] {
        let alone = build(USERS[3], "022", &["--channel", channel, "--store-dir", &own]);
        assert_eq!(
            (&alone["key"], &alone["tree_digest"], &alone["reused"]),
            (&shared["key"], &shared["tree_digest"], &false.into())
        );
    }
    // The root's rights are handed on: every folder of the layout is the group's, and what is written again is too.
    for folder in [world.store(), world.cache()] {
        for name in names(&folder) {
            let meta = fs::metadata(folder.join(&name)).expect("there");
            assert_eq!(meta.gid(), GROUP, "{name}");
            let expected = if meta.is_dir() { 0o2775 } else { 0o664 };
            assert_eq!(meta.mode() & 0o7777, expected, "{name}");
        }
    }
    for folder in ["guards", "records"] {
        for name in names(&world.store().join(folder)) {
            let mode = fs::metadata(world.store().join(folder).join(&name))
                .expect("there")
                .mode();
            assert_eq!(mode & 0o7777, 0o664, "{folder}/{name}");
        }
    }
    for name in names(&world.store().join("envs")) {
        let mode = fs::metadata(world.store().join("envs").join(&name))
            .expect("there")
            .mode();
        assert_eq!(mode & 0o7777, 0o555, "{name}");
    }
}

#[test]
fn f08_another_user_s_partial_download_is_not_gone_on_with() {
    let Some(team) = Team::new() else { return };
    let world = &team.world;
    world
        .server()
        .fault(Fault::on("/torch-2.7.0", Action::Truncate(500)).method("GET"));
    for umask in ["000", "077"] {
        let output = world.run(team.flambeau(USERS[0], umask, &["build", "--channel", "cpu"]));
        assert_eq!(output.status.code(), Some(4), "{output}");
    }
    world.server().clear_faults();
    world
        .run(team.flambeau(USERS[1], "022", &["build", "--channel", "cpu"]))
        .ok();
    assert_eq!(team.torch_of(USERS[1]), "2.7.0+cpu");
}

/// `ulimit -u` and a cgroup's `pids.max` refuse threads and processes alike.
#[test]
fn f80_few_processes_are_enough_or_it_is_said() {
    let Some(team) = Team::new() else { return };
    let world = &team.world;
    let Some(prlimit) = tool("prlimit") else {
        return skip("a limit on processes", "there is no prlimit");
    };
    let user = ALONE;
    let (mut built, mut refused) = (0, 0);
    for processes in (1..=16).chain([24, 64]) {
        let own = team.project(user);
        let (store, cache) = (own.join(format!("s{processes}")), own.join(format!("c{processes}")));
        let (store, cache) = (store.display().to_string(), cache.display().to_string());
        let arguments = [
            "build",
            "--channel",
            "cpu",
            "--store-dir",
            &store,
            "--cache-dir",
            &cache,
        ];
        let plain = team.flambeau(user, "022", &arguments);
        let mut limited = world.command(&prlimit);
        limited
            .arg(format!("--nproc={processes}"))
            .arg(plain.get_program())
            .args(plain.get_args());
        limited.current_dir(&own).env("HOME", &own);
        for variable in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"] {
            limited.env_remove(variable);
        }
        let Some(limited) = bounded(world, &limited) else {
            return skip("a limit on processes", "there is no timeout");
        };
        let output = world.run(limited);
        match output.status.code() {
            Some(0) => built += 1,
            Some(1) => {
                refused += 1;
                let said = output
                    .stderr
                    .contains("hint: raise the limit on processes and threads: `ulimit -u`");
                assert!(said && processes < 64, "{processes} processes: {output}");
                assert!(names(&own.join(format!("s{processes}/envs"))).is_empty(), "{output}");
            }
            _ => panic!("{processes} processes: {output}"),
        }
        assert!(!output.stderr.contains("panicked"), "{processes} processes: {output}");
    }
    assert!(built > 0 && refused > 0, "{built} built, {refused} refused");
}
