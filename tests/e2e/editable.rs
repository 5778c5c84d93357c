//! The project's own packages in an environment: what `pip install -e` gives, and what it is bound to.

mod changes;
mod refused;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::steps::{ACTIVE, active, names, shelf};
use crate::support::world::{Output, World, text};

/// A locked project that is a package with a script and entry points, in a flat layout. Nothing is built yet.
pub(crate) fn project(requirements: &[&str]) -> Option<World> {
    let world = World::new();
    let python = world.any_python()?;
    manifest(&world, "version = \"1.2.3\"", requirements);
    world.write(
        "own/__init__.py",
        "from importlib.metadata import version\n__version__ = version('own')\n\
         def main():\n    import sys\n    print('own', *sys.argv[1:])\n",
    );
    world.flambeau(&["lock", "--python", &python.version]).ok();
    Some(world)
}

/// The project's `pyproject.toml`: `version` is a line of `[project]`, and more may follow it.
pub(crate) fn manifest(world: &World, version: &str, requirements: &[&str]) {
    let dependencies = [&[ACTIVE], requirements].concat();
    world.write(
        "pyproject.toml",
        format!(
            "[project]\nname = \"Own\"\n{version}\ndescription = \"Mine\\nX-Injected: yes\"\n\
             requires-python = \">=3.9\"\ndependencies = {dependencies:?}\n\
             optional-dependencies = {{ more = [\"attrs>=1; python_version>='3'\"] }}\n\
             scripts = {{ own-run = \"own:main\" }}\ngui-scripts = {{ own-show = \"own:main\" }}\n\
             entry-points = {{ pytest11 = {{ mine = \"own\" }}, \"a.b\" = {{ \"x y\" = \"own:main [z]\" }} }}\n\
             [tool.flambeau]\nchannel = \"cpu\"\neditable = [\".\"]\n"
        ),
    );
}

/// Runs a program of the environment from a folder that is not the project.
pub(crate) fn program(world: &World, name: &str, arguments: &[&str]) -> Output {
    let mut command = world.command(world.project().join(".venv/bin").join(name));
    command.args(arguments).current_dir(world.path("tmp"));
    world.run(command)
}

pub(crate) fn says(world: &World, script: &str) -> String {
    program(world, "python", &["-c", script]).ok().text().to_owned()
}

/// The version that `importlib.metadata` tells.
pub(crate) fn version(world: &World) -> String {
    says(world, "import importlib.metadata as m; print(m.version('own'))")
}

pub(crate) fn site(world: &World) -> PathBuf {
    let lib = active(world).join("lib");
    let python = names(&lib).into_iter().next().expect("a Python");
    lib.join(python).join("site-packages")
}

fn key_and_digest(world: &World) -> (String, String) {
    let state = world.state();
    (
        text(&state, "EnvironmentKey").to_owned(),
        text(&state, "TreeDigest").to_owned(),
    )
}

#[test]
fn the_project_is_installed_as_pip_would_install_it() {
    let Some(world) = project(&[]) else { return };
    let mut bare = world.read("pyproject.toml");
    bare = bare.replace("editable = [\".\"]\n", "");
    let whole = world.read("pyproject.toml");
    world.write("pyproject.toml", &bare);
    world.flambeau(&["build"]).ok();
    let (plain, before) = (active(&world), key_and_digest(&world));
    assert!(!world.read("environment_state.json").contains("Editables"));
    let trees = shelf(&world, "wheels");
    world.write("pyproject.toml", &whole);
    world.server().clear_log();
    let output = world.flambeau(&["build"]).ok();
    assert!(!output.stderr.contains("warning"), "{output}");
    world.server().assert_no_requests();

    // A folder of its own beside the same key, digest and trees.
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let suffix = name(&active(&world)).strip_prefix(&name(&plain)).map(str::to_owned);
    assert_eq!(suffix.expect("the same beginning").len(), 9);
    assert_eq!(key_and_digest(&world), before);
    trees.assert_same(&shelf(&world, "wheels"));
    let own = &world.state()["Editables"][0];
    let folder = world.project().canonicalize().expect("there");
    assert_eq!(
        (text(own, "Name"), text(own, "Version"), Path::new(text(own, "Path"))),
        ("own", "1.2.3", folder.as_path())
    );

    assert_eq!(version(&world), "1.2.3");
    assert_eq!(says(&world, "import own; print(own.__version__)"), "1.2.3");
    assert_eq!(program(&world, "own-run", &["a", "b c"]).ok().text(), "own a b c");
    assert_eq!(program(&world, "own-show", &[]).ok().text(), "own");
    assert_eq!(world.flambeau(&["run", "--", "own-run", "x"]).ok().stdout, "own x\n");
    let script = "import importlib.metadata as m\n\
        d = m.distribution('own')\n\
        for e in sorted(d.entry_points, key=lambda e: e.group): print(e.group, '|', e.name, '|', e.value)\n\
        print(d.metadata['Name'], d.metadata['Summary'], d.metadata['X-Injected'], d.metadata['Requires-Python'])\n\
        print(d.requires, d.metadata.get_all('Provides-Extra'))\n\
        loaded = [e for e in d.entry_points if e.group == 'pytest11']\n\
        print(loaded[0].load().__name__, d.read_text('INSTALLER').strip())\n\
        print(all(f.locate().is_file() for f in d.files), len(d.files))\n\
        import json; print(json.loads(d.read_text('direct_url.json')))";
    let expected = format!(
        "a.b | x y | own:main [z]\nconsole_scripts | own-run | own:main\ngui_scripts | own-show | own:main\n\
         pytest11 | mine | own\nOwn Mine X-Injected: yes None >=3.9\n\
         ['{ACTIVE}', \"attrs>=1 ; extra == 'more'\"] ['more']\nown flambeau\nTrue 9\n\
         {{'dir_info': {{'editable': True}}, 'url': 'file://{}'}}",
        folder.display()
    );
    let python_marker = says(&world, script).replace("python_full_version >= '3' and ", "");
    assert_eq!(python_marker.replace("python_version >= '3' and ", ""), expected);

    // Read-only like everything else, in files of their own, and what pip and verify say of it.
    for file in ["METADATA", "RECORD", "entry_points.txt", "direct_url.json"] {
        let meta = fs::symlink_metadata(site(&world).join("own-1.2.3.dist-info").join(file)).expect("there");
        assert_eq!((meta.permissions().mode() & 0o7777, meta.nlink()), (0o444, 1), "{file}");
    }
    for (path, mode) in [("bin/own-run", 0o555), ("bin", 0o555)] {
        let meta = fs::metadata(active(&world).join(path)).expect("there");
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "{path}");
    }
    assert_eq!(
        fs::metadata(site(&world)).expect("there").permissions().mode() & 0o7777,
        0o555
    );
    let list = program(&world, "pip", &["list"]).ok();
    assert!(list.stdout.contains(&folder.display().to_string()), "{list}");
    program(&world, "pip", &["check"]).ok();
    world.flambeau(&["verify", "--all"]).ok();
    let status = world.flambeau(&["status"]).ok();
    assert!(status.stdout.contains("own     own 1.2.3 ("), "{status}");

    // A key hit, and back.
    let (here, hit) = (active(&world), world.build(&[]));
    assert_eq!((hit["reused"].as_bool(), active(&world)), (Some(true), here));
    world.write("pyproject.toml", &bare);
    world.flambeau(&["build"]).ok();
    assert_eq!(active(&world), plain);
    let list = world.flambeau(&["list"]).ok();
    assert_eq!(list.stdout.matches("  own 1.2.3").count(), 1, "{list}");
    let document = world.flambeau_json("list", &[]);
    let rows = document["environments"].as_array().expect("a list");
    assert_eq!(
        rows.iter().filter(|row| row["editables"][0]["name"] == "own").count(),
        1
    );
}

#[test]
fn import_roots_are_on_the_path_once_and_first() {
    let Some(world) = project(&[]) else { return };
    world.flambeau(&["build"]).ok();
    let folder = world.project().canonicalize().expect("there");
    let pth = |world: &World| fs::read_to_string(site(world).join("__editable__.own-1.2.3.pth")).expect("there");
    assert_eq!(pth(&world), format!("{}\n", folder.display()));
    let paths = format!(
        "import sys; own = [p for p in sys.path if p.startswith({:?})]; print(own, sys.path.index(own[0]) < \
         next(i for i, p in enumerate(sys.path) if 'site-packages' in p))",
        folder.display().to_string()
    );
    assert_eq!(says(&world, &paths), format!("['{}'] True", folder.display()));
    // A process that is started by the environment's own path knows no project, but the line.
    let mut command = world.command(active(&world).join("bin/own-run"));
    command.current_dir(world.path("tmp"));
    assert_eq!(world.run(command).ok().text(), "own");

    fs::create_dir(world.project().join("src")).expect("a new folder");
    fs::rename(world.project().join("own"), world.project().join("src/own")).expect("moved");
    world.flambeau(&["build"]).ok();
    assert_eq!(pth(&world), format!("{}/src\n", folder.display()));
    assert_eq!(says(&world, "import own; print(own.__version__)"), "1.2.3");
    assert_eq!(
        says(&world, &paths),
        format!("['{0}/src', '{0}'] True", folder.display())
    );
    let mut whole = world.read("pyproject.toml");
    whole.push_str("[tool.setuptools.package-dir]\n'' = 'python'\n");
    world.write("pyproject.toml", whole);
    fs::rename(world.project().join("src"), world.project().join("python")).expect("moved");
    world.flambeau(&["build"]).ok();
    assert_eq!(pth(&world), format!("{}/python\n", folder.display()));
    assert_eq!(says(&world, "import own; print(own.__version__)"), "1.2.3");
}

#[test]
fn several_folders_and_folders_without_a_project_table() {
    let Some(world) = project(&[]) else { return };
    let whole = world.read("pyproject.toml");
    let editable = "editable = [\".\", \"libs/two\", \"libs/plain\", \"./libs/two\"]";
    world.write(
        "pyproject.toml",
        whole.replace("editable = [\".\"]", "editable = [\"missing\"]"),
    );
    let missing = world.flambeau(&["build", "--channel", "cpu"]).fails(1);
    assert!(
        missing.stderr.contains("missing of `[tool.flambeau] editable`"),
        "{missing}"
    );
    world.write("pyproject.toml", whole.replace("editable = [\".\"]", editable));
    world.write(
        "libs/two/pyproject.toml",
        "[build-system]\nbuild-backend = \"hatchling.build\"\n[project]\nname = \"two-x\"\nversion = \"2.0.0\"\n\
         [project.scripts]\ntwo = \"two_x:main\"\n",
    );
    world.write(
        "libs/two/src/two_x.py",
        "def main():\n    import own, plain\n    print('two')\n",
    );
    world.write("libs/plain/plain.py", "");
    world.flambeau(&["build"]).ok();
    assert_eq!(program(&world, "two", &[]).ok().text(), "two");
    let script =
        "import importlib.metadata as m; print(sorted((d.metadata['Name'], d.version) for d in m.distributions()))";
    assert_eq!(
        says(&world, script),
        "[('Own', '1.2.3'), ('two-x', '2.0.0'), ('typing_extensions', '4.13.2')]"
    );
    world.flambeau(&["verify"]).ok();

    // Folders alone bind nothing: the environment is everybody's.
    world.write(
        "pyproject.toml",
        whole.replace("editable = [\".\"]", "editable = [\"libs/plain\"]"),
    );
    world.flambeau(&["build"]).ok();
    assert!(world.state()["Editables"].is_null());
    assert_eq!(says(&world, "import plain; print('found')"), "found");
    let nameless = "[project]\ndependencies = []\n";
    world.write("libs/plain/pyproject.toml", nameless);
    let here = active(&world);
    world.flambeau(&["build"]).ok();
    assert_eq!(active(&world), here);
}

#[test]
fn what_nobody_executes_is_said_once() {
    let Some(world) = project(&[]) else { return };
    manifest(&world, "dynamic = [\"version\", \"readme\"]", &[]);
    let said = |output: &Output, part: &str| output.stderr.lines().filter(|line| line.contains(part)).count();
    let output = world.flambeau(&["build"]).ok();
    assert_eq!(said(&output, "the version is dynamic"), 1, "{output}");
    assert_eq!(said(&output, "warning"), 1, "{output}");
    assert_eq!(version(&world), "0+editable");
    assert_eq!(program(&world, "own-run", &[]).ok().text(), "own");
    program(&world, "pip", &["list"]).ok();
    world.flambeau(&["verify"]).ok();
    let output = world.flambeau(&["build"]).ok();
    assert_eq!(said(&output, "dynamic"), 0, "{output}");

    // A script would run if it were run.
    world.write(
        "setup.py",
        "open('executed', 'w')\nfrom setuptools import setup\nsetup()\n",
    );
    world.write("own.egg-info/PKG-INFO", "Name: own\nVersion: 0.1\n");
    let mut text = world.read("pyproject.toml");
    text = text
        .replace("dynamic = [", "dynamic = [\"entry-points\", ")
        .replace("entry-points = {", "urls = {");
    text = text.replace(
        "urls = { pytest11 = { mine = \"own\" }, \"a.b\" = { \"x y\" = \"own:main [z]\" } }",
        "",
    );
    text.push_str("[tool.setuptools_scm]\nversion_file = \"own/_version.py\"\n");
    text.push_str("[tool.setuptools.packages.find]\nwhere = [\"../elsewhere\"]\n");
    world.write("pyproject.toml", text);
    let output = world.flambeau(&["build"]).ok();
    for part in [
        "entry-points are dynamic",
        "`tool.setuptools_scm.version_file`",
        "`../elsewhere` is outside the project",
        "own.egg-info is metadata of an earlier installation",
    ] {
        assert_eq!(said(&output, part), 1, "{part}: {output}");
    }
    assert!(!world.has("executed") && !world.has("own/_version.py"));
}

#[test]
fn the_project_s_own_package_takes_the_place_of_a_locked_one() {
    let Some(world) = project(&["kitchen-sink"]) else {
        return;
    };
    let whole = world.read("pyproject.toml");
    world.write("pyproject.toml", whole.replace("editable = [\".\"]\n", ""));
    world.flambeau(&["build"]).ok();
    let before = key_and_digest(&world);
    world.write(
        "pyproject.toml",
        whole.replace("editable = [\".\"]", "editable = [\"fork\"]"),
    );
    world.write(
        "fork/pyproject.toml",
        "[project]\nname = \"Kitchen_Sink\"\nversion = \"9\"\nscripts = { kitchen = \"kitchen:main\" }\n",
    );
    world.write("fork/kitchen/__init__.py", "def main():\n    print('fork')\n");
    let output = world.flambeau(&["build"]).ok();
    assert!(
        output.stderr.contains("kitchen-sink 1.0 of the lockfile is left out"),
        "{output}"
    );
    assert_eq!(key_and_digest(&world), before);
    assert_eq!(program(&world, "kitchen", &[]).ok().text(), "fork");
    // Nothing of the other one is left, as after `pip uninstall`.
    assert!(!active(&world).join("bin/kitchen-plain").exists());
    let script = "import importlib.metadata as m; print([(d.metadata['Name'], d.version) for d in m.distributions() \
                  if 'itchen' in d.metadata['Name']])";
    assert_eq!(says(&world, script), "[('Kitchen_Sink', '9')]");
    let listed = program(&world, "pip", &["list", "--format", "freeze"]).ok();
    assert_eq!(listed.stdout.to_lowercase().matches("kitchen").count(), 1, "{listed}");
    world.flambeau(&["verify", "--all"]).ok();
    world.flambeau(&["tree"]).ok();
    world.flambeau(&["build", "--rebuild"]).ok();

    // A script of another name's package gives way too, and that is a conflict like others.
    world.write(
        "fork/pyproject.toml",
        "[project]\nname = \"cook\"\nversion = \"9\"\nscripts = { kitchen = \"kitchen:main\" }\n",
    );
    let output = world.flambeau(&["build"]).ok();
    assert!(
        output
            .stderr
            .contains("bin/kitchen comes from cook and from kitchen-sink; the former is used"),
        "{output}"
    );
    assert_eq!(program(&world, "kitchen", &[]).ok().text(), "fork");
    assert!(active(&world).join("bin/kitchen-plain").exists());
    assert_eq!(key_and_digest(&world), before);
    world.flambeau(&["verify", "--all"]).ok();
    world.flambeau(&["build", "--strict"]).fails(3);
}

#[test]
fn projects_with_one_lockfile_share_trees_and_nothing_else() {
    let Some(world) = project(&[]) else { return };
    world.flambeau(&["build"]).ok();
    let trees = shelf(&world, "wheels");
    let other = world.path("other");
    fs::create_dir_all(other.join("lockfiles")).expect("a new folder");
    let lockfile = "lockfiles/pylock.cpu.toml";
    fs::copy(world.project().join(lockfile), other.join(lockfile)).expect("copied");
    let whole = world.read("pyproject.toml").replace("1.2.3", "4.5.6");
    fs::write(other.join("pyproject.toml"), whole.replace("own-run", "other-run")).expect("written");
    fs::create_dir(other.join("own")).expect("a new folder");
    fs::write(other.join("own/__init__.py"), "def main():\n    print(__file__)\n").expect("written");
    world
        .flambeau(&["build", "--project", &other.display().to_string()])
        .ok();
    trees.assert_same(&shelf(&world, "wheels"));
    let mut command = world.command(other.join(".venv/bin/other-run"));
    command.current_dir(world.path("tmp"));
    let expected = other.canonicalize().expect("there").join("own/__init__.py");
    assert_eq!(world.run(command).ok().text(), expected.display().to_string());
    assert!(!other.join(".venv/bin/own-run").exists());
    assert_eq!(version(&world), "1.2.3");
    // The other one's environment is taken by its key, and bound to this project.
    let key = text(&world.state(), "EnvironmentKey").to_owned();
    world.write("pyproject.toml", world.read("pyproject.toml").replace("1.2.3", "1.2.4"));
    world.flambeau(&["activate", &key]).ok();
    assert_eq!(version(&world), "1.2.4");
}
