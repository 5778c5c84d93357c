//! Discovery among fake interpreters (scripts that print facts), and the checks against targets.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::*;
use crate::backend::Backend;
use crate::config::Vars;

/// A folder that stands for a machine.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().expect("a folder"),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().canonicalize().expect("real").join(path)
    }

    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
        path
    }

    /// A fake interpreter; `more` are JSON members that replace the usual ones.
    fn python(&self, path: &str, version: &str, more: &str) -> PathBuf {
        let real = self.at(path);
        let mut facts = facts(version, &real);
        let more: serde_json::Value = serde_json::from_str(more).expect("JSON");
        for (key, value) in more.as_object().expect("an object") {
            facts[key] = value.clone();
        }
        self.file(path, &format!("#!/bin/sh\necho '{facts}'\n"))
    }

    fn link(&self, target: &str, path: &str) {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        symlink(target, path).expect("a link");
    }

    fn finder(&self, path: &[&str]) -> Finder {
        let path: Vec<_> = path
            .iter()
            .map(|folder| self.at(folder).display().to_string())
            .collect();
        let vars: Vars = [
            ("PATH", path.join(":")),
            ("HOME", self.at("home").display().to_string()),
        ]
        .into_iter()
        .collect();
        let mut finder = Finder::new(&vars, Some(&self.at("cache")));
        finder.without_system();
        finder
    }

    fn find(&self, finder: &Finder, request: &str) -> Result<String, String> {
        let request = (!request.is_empty()).then(|| Request::parse(request, &self.at("")).expect("a request"));
        let root = self.at("").display().to_string();
        finder
            .find(request.as_ref(), &|_| true)
            .map(|found| format!("{} {}", found.path.display(), found.version).replace(&root, ""))
            .map_err(|error| crate::error::Failure::user(error).chain().join(": ").replace(&root, ""))
    }
}

fn facts(version: &str, executable: &Path) -> serde_json::Value {
    let parts: Vec<u64> = version.split(['.', 'r']).filter_map(|part| part.parse().ok()).collect();
    serde_json::json!({
        "implementation": "cpython", "version": version, "minor": [parts[0], parts[1]], "bits": 64,
        "executable": executable, "base_prefix": "/p", "stdlib": "/p/lib", "cache_tag": format!("cpython-3{}", parts[1]),
        "soabi": null, "gil_disabled": false, "debug": false, "system": "linux", "machine": "x86_64",
        "libc": ["glibc", "2.36"], "macos": null,
    })
}

#[test]
fn the_newest_that_fits_is_taken() {
    let machine = Machine::new();
    machine.python("usr/python3.11", "3.11.2", "{}");
    machine.python("other/python3.11", "3.11.9", "{}");
    machine.python("other/python3.13", "3.13.1", "{}");
    machine.python("other/python3.14", "3.14.0rc1", "{}");
    machine.python("other/python3.13t", "3.13.5", r#"{"gil_disabled": true}"#);
    machine.python("home/.pyenv/versions/3.12.1/bin/python3.12", "3.12.1", "{}");
    machine.python("home/.pyenv/versions/3.12.4/bin/python3.12", "3.12.4", "{}");
    machine.python(
        "home/.local/share/uv/python/cpython-3.10/bin/python3.10",
        "3.10.5",
        "{}",
    );
    machine.link("python3.11", "usr/python3");
    let finder = machine.finder(&["usr", "relative-is-below", "other"]);
    let rows = [
        ("3.11", "other/python3.11 3.11.9"),
        ("3.11.2", "usr/python3.11 3.11.2"),
        ("3.12", "home/.pyenv/versions/3.12.4/bin/python3.12 3.12.4"),
        ("3.10", "home/.local/share/uv/python/cpython-3.10/bin/python3.10 3.10.5"),
        ("3.13", "other/python3.13 3.13.1"),
        ("3.13t", "other/python3.13t 3.13.5"),
        (">=3.10,<3.12", "other/python3.11 3.11.9"),
        ("", "other/python3.13 3.13.1"),
        ("python3", "usr/python3 3.11.2"),
        ("3.12.1", "home/.pyenv/versions/3.12.1/bin/python3.12 3.12.1"),
        ("usr/python3.11", "usr/python3.11 3.11.2"),
    ];
    for (request, expected) in rows {
        let request = if request.contains('/') {
            format!("./{request}")
        } else {
            request.to_owned()
        };
        assert_eq!(machine.find(&finder, &request).as_deref(), Ok(expected), "{request}");
    }
    assert_eq!(
        machine.find(&finder, "3.11.5").expect_err("none"),
        "found no Python 3.11.5; passed over: usr/python3.11 (Python 3.11.2), other/python3.11 (Python 3.11.9)"
    );
    let locked = finder.find(None, &|found| found.python.minor == 12).expect("found");
    assert_eq!(locked.version.to_string(), "3.12.4");
    let none = finder.find(None, &|_| false).expect_err("none").to_string();
    assert!(none.contains("(nothing is locked for Python 3.13t)"), "{none}");
    assert_eq!(finder.list().len(), 8);
}

#[test]
fn what_requires_python_excludes_is_passed_over_and_refused_where_it_is_named() {
    let machine = Machine::new();
    for (path, version) in [
        ("a/python3.12", "3.12.1"),
        ("b/python3.12", "3.12.9"),
        ("b/python3.13", "3.13.0"),
    ] {
        machine.python(path, version, "{}");
    }
    let finder = |specifiers: &str| {
        machine.finder(&["a", "b"]).requiring(Some(RequiredPython {
            specifiers: specifiers.parse().expect("specifiers"),
            path: "pyproject.toml".into(),
        }))
    };
    for (specifiers, request, expected) in [
        ("<3.13", "", "b/python3.12 3.12.9"),
        ("<3.12.5", "", "a/python3.12 3.12.1"),
        ("<3.12.5", "3.12", "a/python3.12 3.12.1"),
        ("<3.12.5", ">=3.9", "a/python3.12 3.12.1"),
        (">=3.13", "", "b/python3.13 3.13.0"),
    ] {
        assert_eq!(
            machine.find(&finder(specifiers), request).as_deref(),
            Ok(expected),
            "{specifiers} {request}"
        );
    }
    let excludes = "`requires-python = \"<3.12\"` in pyproject.toml excludes";
    assert_eq!(
        machine.find(&finder("<3.12"), "").expect_err("none"),
        format!(
            "found no Python that fits; passed over: a/python3.12 ({excludes} 3.12.1), b/python3.13 ({excludes} 3.13.0), \
             b/python3.12 ({excludes} 3.12.9)"
        )
    );
    for (request, found) in [
        ("3.13", "b/python3.13 is Python 3.13.0"),
        ("./a/python3.12", "a/python3.12 is Python 3.12.1"),
    ] {
        assert_eq!(
            machine.find(&finder("<3.12"), request).expect_err("excluded"),
            format!("{found}, which `requires-python = \"<3.12\"` in pyproject.toml excludes")
        );
    }
}

#[test]
fn shims_are_not_asked() {
    let machine = Machine::new();
    let shim = "#!/bin/sh\ntouch \"$0.was-asked\"\nexit 127\n";
    machine.file("home/.pyenv/shims/python3.11", shim);
    machine.file("home/.pyenv/shims/python3", shim);
    machine.python("usr/python3.11", "3.11.2", "{}");
    let finder = machine.finder(&["home/.pyenv/shims", "usr"]);
    assert_eq!(machine.find(&finder, "3.11").as_deref(), Ok("usr/python3.11 3.11.2"));
    assert_eq!(
        machine.find(&finder, "python3.11").as_deref(),
        Ok("usr/python3.11 3.11.2")
    );
    assert!(!machine.at("home/.pyenv/shims/python3.11.was-asked").exists());
    // Named outright it is asked, and what it says is not remembered.
    let error = machine
        .find(&finder, "./home/.pyenv/shims/python3.11")
        .expect_err("fails");
    assert!(
        error.ends_with("it ended with exit code 127: it said nothing"),
        "{error}"
    );
}

#[test]
fn virtual_environments_lead_to_their_base() {
    let machine = Machine::new();
    machine.python("usr/python3.11", "3.11.2", "{}");
    machine.link("python3.11", "usr/python3");
    let home = machine.at("usr").display().to_string();
    machine.file("venv/pyvenv.cfg", &format!("HOME = {home}\nversion = 3.11.2\n"));
    machine.link(&format!("{home}/python3"), "venv/bin/python");
    // One made with --copies, from the first.
    let inner = machine.at("venv/bin").display().to_string();
    machine.file(
        "copied/pyvenv.cfg",
        &format!("home = {inner}\nversion_info = 3.11.2.final.0\n"),
    );
    machine.python("copied/bin/python3", "3.11.2", "{}");
    machine.link(&machine.at("copied/bin/python3").display().to_string(), "bin/mypython");
    let finder = machine.finder(&["copied/bin"]);
    for request in ["./venv", "./venv/bin/python", "./copied", "./bin/mypython", ""] {
        assert_eq!(
            machine.find(&finder, request).as_deref(),
            Ok("usr/python3.11 3.11.2"),
            "{request}"
        );
    }
    machine.file("gone/pyvenv.cfg", "home = /nonexistent/bin\nversion = 3.11.2\n");
    machine.file("gone/bin/python", "");
    assert_eq!(
        machine.find(&finder, "./gone"),
        Err("there is no Python at /nonexistent/bin/python3".to_owned())
    );
    machine.link("loop", "loop");
    assert!(machine.find(&finder, "./loop").is_err());
}

#[test]
fn what_cannot_be_used_says_why() {
    let machine = Machine::new();
    machine.python("a/python3.8", "3.8.18", "{}");
    machine.python("b/python3.11", "3.11.0", r#"{"implementation": "pypy"}"#);
    machine.python("c/python3.11", "3.11.0", r#"{"bits": 32}"#);
    machine.python("d/python3.11", "3.11.0", r#"{"machine": "riscv64"}"#);
    machine.python("e/python3.11", "3.11.0", r#"{"debug": true}"#);
    machine.file("f/python3.11", "#!/bin/sh\necho hello\n");
    let finder = machine.finder(&["a", "b", "c", "d", "e", "f"]);
    assert_eq!(
        machine.find(&finder, "").expect_err("none"),
        "found no Python that fits; passed over: \
         a/python3.8 (it is Python 3.8.18, and 3.9 is the oldest that is supported), \
         b/python3.11 (it is pypy, and PyTorch's wheels are for CPython), c/python3.11 (it is a 32-bit build), \
         d/python3.11 (PyTorch has no wheels for its platform (linux on riscv64 with glibc 2.36)), \
         e/python3.11 (a debug build of 3.11.0), f/python3.11 (its answer cannot be understood: hello)"
    );
    assert_eq!(
        machine.find(&finder, "./c/python3.11").expect_err("refused"),
        "c/python3.11 cannot be used: it is a 32-bit build"
    );
    assert_eq!(
        machine.find(&finder, "./z").expect_err("absent"),
        "there is no Python at z"
    );
    assert_eq!(
        machine.find(&finder, "nothing").expect_err("absent"),
        "found no Python nothing; passed over: e/python3.11 (Python 3.11.0)"
    );
}

#[test]
fn a_wrapper_stands_for_what_it_starts() {
    let machine = Machine::new();
    let real = machine.python("opt/python3.12", "3.12.3", "{}");
    let wrapper = machine.file("bin/python3", &format!("#!/bin/sh\nexec '{}' \"$@\"\n", real.display()));
    let found = machine.finder(&[]).at(&wrapper).expect("found");
    assert_eq!((&found.path, &found.real_path), (&real, &real));
    assert!(!machine.at("cache").exists(), "scripts are not remembered");
}

#[test]
fn remembered_facts_start_no_process() {
    let machine = Machine::new();
    // Neither a script nor a program: starting it would fail.
    let binary = machine.file("usr/python3.11", "\u{7f}not a program");
    let answer: facts::Facts = serde_json::from_value(facts("3.11.2", &binary)).expect("facts");
    facts::remember_for_tests(&binary, &machine.at("cache"), answer);
    let finder = machine.finder(&["usr"]);
    assert_eq!(machine.find(&finder, "3.11").as_deref(), Ok("usr/python3.11 3.11.2"));
    // A changed executable is asked again.
    machine.file("usr/python3.11", "\u{7f}not a program, longer");
    assert!(machine.find(&finder, "./usr/python3.11").is_err());
}

fn interpreter(version: &str, platform: &str) -> Interpreter {
    let platform: Platform = platform.parse().expect("a platform");
    let facts = serde_json::from_value(facts(version, Path::new("/usr/bin/python3"))).expect("facts");
    let mut found =
        Interpreter::new("/usr/bin/python3".into(), Path::new("/usr/bin/python3.11"), facts).expect("usable");
    found.platform = platform;
    found
}

#[test]
fn targets_are_checked_part_by_part() {
    let found = interpreter("3.11.7", "manylinux_2_36_x86_64");
    assert_eq!(found.target().to_string(), "cp311-manylinux_2_36_x86_64");
    let rows = [
        ("cp311-manylinux_2_28_x86_64", ""),
        ("cp311-manylinux_2_36_x86_64", ""),
        (
            "cp311-manylinux_2_39_x86_64",
            "this machine has manylinux_2_36_x86_64, older than the manylinux_2_39_x86_64 of the target",
        ),
        (
            "cp312-manylinux_2_28_x86_64",
            "it is Python 3.11, and the target is for 3.12",
        ),
        (
            "cp311-manylinux_2_28_aarch64",
            "it runs on manylinux_2_36_x86_64, and the target is for manylinux_2_28_aarch64",
        ),
        (
            "cp311-musllinux_1_2_x86_64",
            "it runs on manylinux_2_36_x86_64, and the target is for musllinux_1_2_x86_64",
        ),
    ];
    for (target, expected) in rows {
        let said = found.satisfies(&target.parse().expect("a target")).err();
        assert_eq!(
            said.map(|error| error.to_string()).unwrap_or_default(),
            expected,
            "{target}"
        );
    }
}

#[test]
fn patch_levels_must_not_cross_a_boundary() {
    let version = |text: &str| text.parse::<Version>().expect("a version");
    let locked = |full: &str| LockedTarget {
        target: "cp311-linux_x86_64".parse().expect("a target"),
        python_full_version: version(full),
        python_boundaries: vec![version("3.11.3"), version("3.11.9")],
        backend: Backend::Cpu,
        python_pinned: false,
    };
    let found = interpreter("3.11.7", "manylinux_2_36_x86_64");
    for (full, ok) in [("3.11.3", true), ("3.11.8", true), ("3.11.2", false), ("3.11.9", false)] {
        assert_eq!(found.check_patch(&locked(full)).is_ok(), ok, "{full}");
    }
    assert_eq!(
        found.check_patch(&locked("3.11.14")).expect_err("crossed").to_string(),
        "the lockfile was made for Python 3.11.14; from 3.11.9 on other packages are needed, and this is 3.11.7"
    );
}
