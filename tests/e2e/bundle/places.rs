//! Where bundles are written to, what they meet in a project, and who else can use them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::{Elsewhere, arg, built, export, same_environment};
use crate::steps::{assert_error, names, skip, tool};
use crate::support::world::World;

#[test]
fn a_folder_is_brought_up_to_date_and_a_strangers_is_refused() {
    let Some((world, _)) = built() else { return };
    let (folder, first) = export(&world, "folder", &["--simple-index", "--with-program"]);
    assert!(folder.join("simple/torch/index.html").exists());
    // Damage, and a file of the user's own: the one is mended, the other stays.
    let wheel = names(&folder)
        .into_iter()
        .find(|name| name.starts_with("torch-"))
        .expect("torch");
    fs::write(folder.join(&wheel), b"rot").expect("writable");
    fs::write(folder.join("NOTES"), b"mine").expect("writable");
    let (_, second) = export(&world, "folder", &[]);
    assert_ne!(first["digest"], second["digest"]);
    assert!(!folder.join("simple/torch/index.html").exists() && !folder.join("bin/flambeau").exists());
    assert!(folder.join("NOTES").exists());
    Elsewhere::new(&world, "a")
        .flambeau(&["import", arg(&folder), "--check"])
        .ok();

    let strange = world.path("strange");
    fs::create_dir(&strange).expect("a new folder");
    fs::write(strange.join("thesis.tex"), b"x").expect("writable");
    let output = world.flambeau(&["export", arg(&strange), "--channel", "cpu"]);
    assert_error(output, 1, &["is no bundle", "strange"]);
    assert_eq!(names(&strange), ["thesis.tex"]);
}

#[test]
fn wrong_command_lines_are_usage_errors() {
    let Some((world, _)) = built() else { return };
    for arguments in [
        &["export"][..],
        &["export", "x", "--format", "pylock"],
        &["export", "folder", "--split", "4G"],
        &["export", "x.tar", "--split", "0"],
        &["export", "x", "--trees", "--simple-index"],
        &["import", "x", "--no-lockfiles", "--replace-lockfiles"],
        &["import", "x", "--expect", "abc"],
    ] {
        world.flambeau(arguments).fails(2);
    }
    assert_error(world.flambeau(&["import", "nowhere.tar"]), 1, &["there is no bundle"]);
}

#[test]
fn missing_wheels_are_fetched_or_named() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version])
        .ok();
    let output = world.flambeau(&["export", arg(&world.path("b.tar")), "--channel", "cpu", "--offline"]);
    assert_error(
        output,
        4,
        &["torch-2.7.0", "filelock-3.18.0", "sha256", "`flambeau fetch`"],
    );
    assert!(!world.path("b.tar").exists());
    export(&world, "b.tar", &[]);
}

#[test]
fn another_lockfile_of_the_project_is_not_overwritten_unasked() {
    let Some((world, _)) = built() else { return };
    let (path, _) = export(&world, "b.tar", &[]);
    let elsewhere = Elsewhere::new(&world, "elsewhere");
    let lockfile = elsewhere.path("project/lockfiles/pylock.cpu.toml");
    fs::create_dir_all(lockfile.parent().expect("a folder")).expect("writable");
    let theirs = fs::read_to_string(world.project().join("lockfiles/pylock.cpu.toml")).expect("ours");
    fs::write(&lockfile, format!("# theirs\n{theirs}")).expect("writable");
    let output = elsewhere.flambeau(&["import", arg(&path)]);
    assert_error(
        output,
        1,
        &["another", "pylock.cpu.toml", "--replace-lockfiles", "--no-lockfiles"],
    );
    assert!(elsewhere.wheels().is_empty());
    elsewhere.flambeau(&["import", arg(&path), "--no-lockfiles"]).ok();
    assert!(fs::read_to_string(&lockfile).expect("there").starts_with("# theirs"));
    assert!(!elsewhere.wheels().is_empty());
    elsewhere.flambeau(&["import", arg(&path), "--replace-lockfiles"]).ok();
    assert_eq!(fs::read_to_string(&lockfile).expect("there"), theirs);
}

/// The requirements of the environment as pip reads them: versions, and hashes of the wheels.
fn requirements(world: &World) -> String {
    let output = world
        .flambeau(&["export", "--format", "requirements", "--channel", "cpu"])
        .ok();
    // Wheels of a channel are named by URL; from a wheelhouse they come by version.
    let lines = output.text().lines().map(|line| match line.split_once(" @ ") {
        Some((name, url)) => {
            let file = url.rsplit('/').next().unwrap_or_default();
            let version = file.split('-').nth(1).unwrap_or_default().replace("%2B", "+");
            format!("{name}=={version} \\")
        }
        None => line.to_owned(),
    });
    lines.map(|line| line + "\n").collect()
}

#[test]
fn pip_and_uv_install_from_the_folder() {
    let Some((world, _)) = built() else { return };
    let python = world.any_python().expect("it was built");
    let (folder, _) = export(&world, "folder", &[]);
    let file = world.path("requirements.txt");
    fs::write(&file, requirements(&world)).expect("writable");
    let target = world.path("by-pip");
    let mut pip = world.command(&python.path);
    pip.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-index",
        "--require-hashes",
    ]);
    pip.args(["--find-links", arg(&folder), "-r", arg(&file), "--target", arg(&target)]);
    let output = world.run(pip);
    if output.stderr.contains("No module named pip") {
        skip("pip and the folder", "this Python has no pip");
    } else {
        output.ok();
        assert!(target.join("torch/__init__.py").exists());
    }
    let Some(uv) = tool("uv") else {
        return skip("uv and the folder", "this machine has no uv");
    };
    let venv = world.path("by-uv");
    let run = |words: &[&str]| {
        let mut command = world.command(&uv);
        command.env_remove("PIP_INDEX_URL").env_remove("UV_PYTHON").args(words);
        world.run(command).ok();
    };
    run(&["venv", "--offline", "--python", arg(&python.path), arg(&venv)]);
    run(&[
        "pip",
        "sync",
        "--offline",
        "--no-index",
        "--find-links",
        arg(&folder),
        "--python",
        arg(&venv),
        arg(&file),
    ]);
    let mut command = world.command(venv.join("bin/python"));
    command.args(["-c", "import torch; print(torch.answer())"]);
    assert_eq!(world.run(command).ok().text(), "0");
}

/// A web server that only serves files, on a port of its own.
struct Static(Child, String);

impl Static {
    fn serve(world: &World, folder: &std::path::Path) -> Option<Self> {
        let python = world.any_python()?;
        let mut child = Command::new(&python.path)
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take()?).read_line(&mut line).ok()?;
        let port = line.split("port ").nth(1)?.split(' ').next()?.to_owned();
        Some(Self(child, format!("http://127.0.0.1:{port}")))
    }
}

impl Drop for Static {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_static_server_makes_the_folder_an_index() {
    let Some((world, first)) = built() else { return };
    let (folder, _) = export(&world, "folder", &["--simple-index"]);
    let Some(server) = Static::serve(&world, &folder) else {
        return skip("a static index", "this Python has no http.server");
    };
    // flambeau itself: the folder stands in for both indexes, also to resolve.
    let other = Elsewhere::new(&world, "elsewhere");
    let run = |arguments: &[&str]| {
        let mut command = other.command(arguments);
        command.env_remove("FLAMBEAU_OFFLINE");
        command.env("PIP_INDEX_URL", format!("{}/simple/", server.1));
        command.env("FLAMBEAU_PYTORCH_MIRROR", format!("{}/whl", server.1));
        world.run(command).ok()
    };
    let version = &world.any_python().expect("it was built").version;
    run(&[
        "lock",
        "--channel",
        "cpu",
        "--python",
        version,
        "--platform",
        "linux_x86_64",
    ]);
    let built = run(&["--json", "build", "--channel", "cpu"]).json();
    same_environment(&built, &first);
    // pip: by name alone, dependencies included.
    let python = world.any_python().expect("it was built");
    let target = world.path("by-pip");
    let mut pip = world.command(&python.path);
    pip.env("PIP_INDEX_URL", format!("{}/simple/", server.1));
    pip.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "torch==2.7.0+cpu",
    ]);
    let output = world.run({
        pip.args(["--target", arg(&target)]);
        pip
    });
    if !output.stderr.contains("No module named pip") {
        output.ok();
        assert!(target.join("torch/__init__.py").exists() && target.join("filelock").exists());
    }
}
