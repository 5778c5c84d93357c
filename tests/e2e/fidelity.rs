//! Wheels of every kind are installed as pip and uv install them, and other tools see a normal environment.
//!
//! What is compared with pip and uv themselves, on wheels of a real index, is `tests/compare/differential.py`; here is
//! one made wheel for each kind, so that no network is needed.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::Digest as _;

use crate::support::encoding::urlsafe_base64;
use crate::support::family::Shelf;
use crate::support::wheel::Wheel;
use crate::support::world::{World, text};

/// Offers the wheels, locks exactly them and builds; returns the prefix.
fn install(world: &World, wheels: Vec<Wheel>) -> Option<PathBuf> {
    let python = world.any_python()?;
    let mut wanted = Vec::new();
    for wheel in wheels {
        let built = world.server().offer(Shelf::Index, wheel);
        wanted.push(format!("{}=={}", built.project(), built.version));
    }
    let mut arguments = vec!["lock", "--channel", "pip", "--python", &python.version];
    arguments.extend(wanted.iter().map(String::as_str));
    world.flambeau(&arguments).ok();
    let built = world.build(&["--channel", "pip"]);
    assert_no_row_is_wrong(world);
    Some(PathBuf::from(text(&built, "path")))
}

/// Every row of every RECORD has its file, with the digest and the size that it states.
#[track_caller]
fn assert_no_row_is_wrong(world: &World) {
    const CHECK: &str = "
import base64, hashlib, importlib.metadata as m
for d in m.distributions():
    for f in d.files:
        data = f.locate().read_bytes()
        if f.hash:
            digest = hashlib.new(f.hash.mode, data).digest()
            assert base64.urlsafe_b64encode(digest).rstrip(b'=').decode() == f.hash.value, f
            assert f.size == len(data), f
        else:
            assert f.suffix == '.pyc' or f.name == 'RECORD', f
print('true')";
    assert_eq!(world.python_says(CHECK), "true");
}

fn site(world: &World, prefix: &Path) -> PathBuf {
    let python = world.any_python().expect("it was used");
    prefix.join(format!("lib/python{}/site-packages", python.version))
}

#[track_caller]
fn assert_text(path: &Path, expected: &str) {
    let found = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(found, expected, "{}", path.display());
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o111 == 0o111
}

#[test]
fn every_scheme_has_its_place() {
    let world = World::new();
    // The name as nobody would normalise it; headers go under the normalised one, as with pip and uv.
    let wheel = Wheel::new("Made.Headers_X", "1.0")
        .filed_as("Made_Headers_X")
        .data("purelib", "made_pure.py", "P = 1\n")
        .data("platlib", "made_plat/__init__.py", "Q = 2\n")
        .data("data", "share/made/a b.txt", "data\n")
        .data("data", "etc/made.conf", "conf\n")
        .data_executable("data", "bin/from-data", "#!/bin/sh\necho data\n")
        .data("headers", "made.h", "#define MADE\n")
        .data("headers", "deep/er.h", "#define ER\n");
    let platlib = Wheel::new("made-platlib", "1.0")
        .purelib(false)
        .file("made_platlib.py", "");
    let Some(prefix) = install(&world, vec![wheel, platlib]) else {
        return;
    };
    let python = world.any_python().expect("it was used");
    let include = prefix.join(format!("include/site/python{}/made-headers-x", python.version));
    assert_text(&include.join("made.h"), "#define MADE\n");
    assert_text(&include.join("deep/er.h"), "#define ER\n");
    assert_text(&prefix.join("share/made/a b.txt"), "data\n");
    assert_text(&prefix.join("etc/made.conf"), "conf\n");
    assert!(is_executable(&prefix.join("bin/from-data")));
    assert_eq!(
        world.python_says("import made_pure, made_plat, made_platlib, sys; print(made_pure.P, made_plat.Q)"),
        "1 2"
    );
    assert!(!site(&world, &prefix).join("Made_Headers_X-1.0.data").exists());
}

#[test]
fn scripts_and_entry_points_start() {
    let world = World::new();
    let main = "import sys\n\ndef main():\n    print('ran', *sys.argv[1:])\n    return 3\n\nclass Tool:\n    \
                @classmethod\n    def go(cls):\n        print('went')\n";
    let wheel = Wheel::new("made-scripts", "1.0")
        .file("made_scripts/__init__.py", main)
        .data_executable(
            "scripts",
            "made-python",
            "#!python\nimport made_scripts\nmade_scripts.main()\n",
        )
        .data("scripts", "made-pythonw", "#!pythonw\nprint('w')\n")
        .data_executable("scripts", "made-args", "#!python -E\nprint('args')\n")
        .data_executable("scripts", "made-crlf", "#!python\r\nprint('crlf')\r\n")
        .data_executable(
            "scripts",
            "made-coding",
            b"#!python\n# -*- coding: latin-1 -*-\nprint(ascii('\xfc'))\n",
        )
        .data_executable("scripts", "made-shell", "#!/bin/sh\necho \"shell $1\"\n")
        .data_executable("scripts", "made-binary", [0x7f, 0xff, 0, 1])
        .entry_point("console_scripts", "made-plain", "made_scripts:main")
        .entry_point("console_scripts", "made-extra", "made_scripts:main [fast,slow]")
        .entry_point("console_scripts", "made.dotted", "made_scripts:Tool.go")
        .entry_point("gui_scripts", "made-gui", "made_scripts:Tool.go")
        .entry_point("made.plugins", "one", "made_scripts:Tool [fast]")
        .extra("fast", &[]);
    let Some(prefix) = install(&world, vec![wheel]) else {
        return;
    };
    for (name, arguments, code, expected) in [
        ("made-python", &["a b"][..], 0, "ran a b"),
        ("made-pythonw", &[], 0, "w"),
        ("made-args", &[], 0, "args"),
        ("made-crlf", &[], 0, "crlf"),
        ("made-coding", &[], 0, r"'\xfc'"),
        ("made-shell", &["x"], 0, "shell x"),
        ("made-plain", &["--help", "*"], 3, "ran --help *"),
        ("made-extra", &[], 3, "ran"),
        ("made.dotted", &[], 0, "went"),
        ("made-gui", &[], 0, "went"),
    ] {
        let output = world.venv_tool(name, arguments).fails(code);
        assert_eq!(output.text(), expected, "{name}: {output}");
        assert!(is_executable(&prefix.join("bin").join(name)), "{name}");
    }
    let binary = fs::read(prefix.join("bin/made-binary")).expect("it is there");
    assert_eq!(binary, [0x7f, 0xff, 0, 1]);
    assert_text(&prefix.join("bin/made-shell"), "#!/bin/sh\necho \"shell $1\"\n");
    let points = "import importlib.metadata as m; d = m.distribution('made-scripts'); \
                  print(sorted((e.group, e.name, e.value) for e in d.entry_points if e.group == 'made.plugins'))";
    assert_eq!(
        world.python_says(points),
        "[('made.plugins', 'one', 'made_scripts:Tool [fast]')]"
    );
}

#[test]
fn namespaces_of_every_kind_merge() {
    const PKGUTIL: &str = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n";
    // As setuptools wrote it for pkg_resources namespaces, in short.
    const NSPKG: &str = "import sys, types, os; p = os.path.join(sys._getframe(1).f_locals['sitedir'], 'made_old'); \
                         m = sys.modules.setdefault('made_old', types.ModuleType('made_old')); \
                         mp = m.__dict__.setdefault('__path__', []); (p not in mp) and mp.append(p)\n";
    let world = World::new();
    let mut wheels = Vec::new();
    for part in ["one", "two"] {
        let here = format!("N = '{part}'\n");
        wheels.push(
            Wheel::new(&format!("made-implicit-{part}"), "1.0")
                .file(&format!("made_ns/{part}/__init__.py"), &here)
                .file(&format!("made_ns/{part}/deep/x.py"), &here),
        );
        wheels.push(
            Wheel::new(&format!("made-pkgutil-{part}"), "1.0")
                .file("made_pkgutil/__init__.py", PKGUTIL)
                .file(&format!("made_pkgutil/{part}.py"), &here),
        );
        let stem = format!("made_old_{part}-1.0");
        wheels.push(
            Wheel::new(&format!("made-old-{part}"), "1.0")
                .file(&format!("{stem}-nspkg.pth"), NSPKG)
                .file(&format!("made_old/{part}/__init__.py"), &here)
                .file(&format!("{stem}.dist-info/namespace_packages.txt"), "made_old\n"),
        );
    }
    wheels.push(
        Wheel::new("made-pth", "1.0")
            .file("made.pth", "made_extra\nimport made_pth_ran\n")
            .file("made_pth_ran.py", "")
            .file("made_extra/made_found.py", "FOUND = 1\n"),
    );
    if install(&world, wheels).is_none() {
        return;
    }
    let program = "
import sys
assert 'made_pth_ran' in sys.modules
from made_ns import one, two
from made_ns.two.deep import x
from made_pkgutil import one as p, two as q
import made_old.one, made_old.two, made_found
print(one.N, two.N, x.N, p.N, q.N, made_old.one.N, made_old.two.N, made_found.FOUND)";
    assert_eq!(world.python_says(program), "one two two one two one two 1");
}

#[test]
fn archives_of_every_form_give_the_same_files() {
    let world = World::new();
    let digest = |algorithm: &str, bytes: &[u8]| match algorithm {
        "sha384" => urlsafe_base64(&sha2::Sha384::digest(bytes)),
        _ => urlsafe_base64(&sha2::Sha512::digest(bytes)),
    };
    let body = "X = 1\n".repeat(99);
    let simple = |name: &str| {
        let module = name.replace('-', "_");
        Wheel::new(name, "1.0")
            .file(&format!("{module}.py"), &body)
            .file(&format!("{module}/größe.txt"), "ü")
            .file(&format!("{module}/日本語.txt"), "")
            .file(&format!("{module}/e\u{301}, \".txt"), "decomposed")
            .file(&format!("{module}/{}", "n".repeat(250)), "long")
            .file(
                &format!("{module}/{}/x.txt", ["d".repeat(60).as_str(); 9].join("/")),
                "deep",
            )
    };
    let hashed = |name: &str, algorithm: &str| {
        let module = name.replace('-', "_");
        let line = format!(
            "{module}.py,{algorithm}={},{}",
            digest(algorithm, body.as_bytes()),
            body.len()
        );
        simple(name).record_replace(&format!("{module}.py"), &line)
    };
    let names = [
        "made-plain",
        "made-stored",
        "made-stream",
        "made-zip64",
        "made-folders",
        "made-both",
    ];
    let mut wheels = vec![
        simple(names[0]).build_tag("7local"),
        simple(names[1]).stored(),
        simple(names[2]).data_descriptors(),
        simple(names[3]).zip64(),
        simple(names[4]).directories(),
        simple(names[5]).zip64().data_descriptors().directories(),
        hashed("made-sha384", "sha384"),
        hashed("made-sha512", "sha512"),
    ];
    wheels.push(
        simple("made-signed")
            .raw_member("made_signed-1.0.dist-info/RECORD.jws", "{}")
            .raw_member("made_signed-1.0.dist-info/RECORD.p7s", "p7s"),
    );
    let Some(prefix) = install(&world, wheels) else { return };
    let site = site(&world, &prefix);
    for name in names.iter().chain(&["made-sha384", "made-sha512", "made-signed"]) {
        let module = name.replace('-', "_");
        assert_text(&site.join(format!("{module}.py")), &body);
        let folder = site.join(&module);
        assert_text(&folder.join("größe.txt"), "ü");
        assert_text(&folder.join("e\u{301}, \".txt"), "decomposed");
        assert_text(&folder.join("n".repeat(250)), "long");
        assert_text(
            &folder.join(["d".repeat(60).as_str(); 9].join("/")).join("x.txt"),
            "deep",
        );
    }
    let info = site.join("made_signed-1.0.dist-info");
    assert_text(&info.join("RECORD.jws"), "{}");
    assert_text(&info.join("RECORD.p7s"), "p7s");
    let record = fs::read_to_string(info.join("RECORD")).expect("a RECORD");
    assert!(
        record.contains("RECORD.jws,sha256=") && record.contains("RECORD.p7s,sha256="),
        "{record}"
    );
    assert!(site.join("made_plain-1.0.dist-info").is_dir());
}

#[test]
fn other_tools_see_a_normal_environment() {
    let mut world = World::new();
    let wheel = Wheel::new("made-tools", "1.0")
        .file("made_tools/__init__.py", "")
        .data("data", "share/jupyter/kernels/made/kernel.json", "{}")
        .data("data", "share/pkgconfig/made.pc", "Name: made\n")
        .requires("made-missing>=2");
    let missing = Wheel::new("made-missing", "2.0").file("made_missing.py", "");
    let Some(prefix) = install(&world, vec![wheel, missing]) else {
        return;
    };
    let facts = "
import glob, os, site, sys, sysconfig
paths = sysconfig.get_paths()
assert sys.prefix == sys.exec_prefix != sys.base_prefix, sys.prefix
assert paths['purelib'] == paths['platlib'] == site.getsitepackages()[0], paths
assert paths['scripts'] == sys.prefix + '/bin' == os.path.dirname(sys.executable), paths
assert paths['data'] == sys.prefix and paths['stdlib'].startswith(sys.base_prefix), paths
assert os.path.isfile(paths['include'] + '/Python.h') or not os.path.isdir(sys.base_prefix + '/include/python3')
assert not site.ENABLE_USER_SITE
found = glob.glob(sys.prefix + '/share/jupyter/kernels/*/kernel.json') + glob.glob(sys.prefix + '/share/*/*.pc')
print(len(found), sys.prefix)";
    let link = world.project().join(".venv");
    assert_eq!(world.python_says(facts), format!("2 {}", link.display()));

    let python = world.any_python().expect("it was used");
    world.set("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    let interpreter = prefix.join("bin/python").display().to_string();
    let mut asked = 0;
    for (tool, arguments) in [
        (Some(python.path.clone()), vec!["-m", "pip", "--python", &interpreter]),
        (on_path("uv"), vec!["--offline", "--no-config", "pip"]),
    ] {
        let Some(tool) = tool else { continue };
        let ask = |verb: &[&str]| {
            let mut command = world.command(&tool);
            command.args(&arguments).args(verb);
            if arguments.contains(&"--no-config") {
                command.args(["--python", &interpreter]);
            }
            world.run(command)
        };
        if !ask(&["list"]).status.success() {
            continue;
        }
        asked += 1;
        let listed = ask(&["list", "--format", "freeze"]).ok();
        assert_eq!(listed.stdout, "made-missing==2.0\nmade-tools==1.0\n", "{listed}");
        ask(&["check"]).ok();
        let shown = ask(&["show", "made-tools"]).ok();
        assert!(shown.stdout.contains("Requires: made-missing"), "{shown}");
    }
    if asked == 0 {
        let _written = writeln!(
            std::io::stderr(),
            "SKIPPED: neither pip nor uv is here to look at an environment"
        );
    }
}

fn on_path(tool: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(tool))
        .find(|path| path.is_file())
}
