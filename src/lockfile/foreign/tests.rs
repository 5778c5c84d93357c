//! What real files of uv, pip and pdm give, and what is refused.

use std::fmt::Write as _;

use super::*;

/// A file of `tests/fixtures/foreign`.
macro_rules! fixture {
    ($file:literal) => {
        (
            $file,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/foreign/", $file)),
        )
    };
}

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct Ask {
    target: &'static str,
    python: &'static str,
    extras: &'static [&'static str],
    groups: &'static [&'static str],
}

const LINUX: Ask = Ask {
    target: "cp311-linux_x86_64",
    python: "3.11.7",
    extras: &[],
    groups: &[],
};

fn pins_of((file, text): (&str, &str), ask: &Ask) -> Result<Vec<Pinned>, ForeignError> {
    let names = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| text.parse().expect("a name"))
            .collect::<Vec<_>>()
    };
    let groups: Vec<GroupName> = ask.groups.iter().map(|text| text.parse().expect("a name")).collect();
    Foreign::read(Path::new(file), text, false)?.pins(&Asked {
        target: &ask.target.parse().expect("a target"),
        python: &ask.python.parse().expect("a version"),
        extras: &names(ask.extras),
        groups: &groups,
    })
}

/// One line a package: name, version, how many files, the host of the first.
fn shown(file: (&str, &str), ask: &Ask) -> String {
    let mut text = String::new();
    for pin in pins_of(file, ask).unwrap_or_else(|error| panic!("{}: {error}", file.0)) {
        let files = match &pin.files {
            Files::Digests(digests) => format!("{} digests", digests.len()),
            Files::Wheels(wheels) => {
                let place = match &wheels[0].origin {
                    Origin::Url(url) => url.host_str().unwrap_or(url.path()).to_owned(),
                    other => format!("{other:?}"),
                };
                format!("{} wheels, {place}", wheels.len())
            }
        };
        writeln!(text, "{}=={} ({files})", pin.name, pin.version).expect("a string grows");
    }
    text
}

fn refused(name: &str, text: &str) -> String {
    let error = pins_of((name, text), &LINUX).expect_err("refused");
    let mut said = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source.filter(|_| !matches!(error, ForeignError::Toml(_))) {
        said = format!("{said}: {cause}");
        source = cause.source();
    }
    said
}

#[test]
fn lockfiles_of_uv() {
    insta::assert_snapshot!(shown(fixture!("pylock.uv-export.toml"), &LINUX), @r"
    iniconfig==2.1.0 (1 wheels, files.example.org)
    jinja2==3.1.6 (1 wheels, files.example.org)
    markupsafe==3.0.4 (30 wheels, files.example.org)
    networkx==3.4.2 (1 wheels, files.example.org)
    ");
    insta::assert_snapshot!(shown(fixture!("pylock.uv-compile.toml"), &LINUX), @r"
    jinja2==3.1.6 (1 wheels, files.example.org)
    markupsafe==3.0.4 (15 wheels, files.example.org)
    ");
    let windows = Ask {
        target: "cp311-win_amd64",
        ..LINUX
    };
    insta::assert_snapshot!(shown(fixture!("pylock.uv-compile.toml"), &windows), @r"
    colorama==0.4.6 (1 wheels, files.example.org)
    jinja2==3.1.6 (1 wheels, files.example.org)
    markupsafe==3.0.4 (15 wheels, files.example.org)
    ");
}

#[test]
fn lockfiles_of_pip() {
    insta::assert_snapshot!(shown(fixture!("pylock.pip.toml"), &LINUX), @r"
    jinja2==3.1.6 (1 wheels, files.example.org)
    markupsafe==3.0.4 (1 wheels, files.example.org)
    ");
}

#[test]
fn lockfiles_of_pdm_with_extras_and_groups() {
    let file = fixture!("pylock.pdm.toml");
    insta::assert_snapshot!(shown(file, &LINUX), @r"
    jinja2==3.1.6 (1 wheels, files.example.org)
    markupsafe==3.0.4 (30 wheels, files.example.org)
    ");
    let more = Ask {
        extras: &["links"],
        groups: &["dev"],
        ..LINUX
    };
    insta::assert_snapshot!(shown(file, &more), @r"
    iniconfig==2.1.0 (1 wheels, files.example.org)
    jinja2==3.1.6 (1 wheels, files.example.org)
    networkx==3.4.2 (1 wheels, files.example.org)
    markupsafe==3.0.4 (30 wheels, files.example.org)
    ");
    let windows = Ask {
        target: "cp312-win_amd64",
        python: "3.12.1",
        ..LINUX
    };
    insta::assert_snapshot!(shown(file, &windows), @r"
    colorama==0.4.6 (1 wheels, files.example.org)
    jinja2==3.1.6 (1 wheels, files.example.org)
    markupsafe==3.0.4 (30 wheels, files.example.org)
    ");
}

#[test]
fn requirements_with_hashes() {
    insta::assert_snapshot!(shown(fixture!("requirements.uv-export.txt"), &LINUX), @r"
    iniconfig==2.1.0 (2 digests)
    jinja2==3.1.6 (2 digests)
    markupsafe==3.0.4 (31 digests)
    ");
    insta::assert_snapshot!(shown(fixture!("requirements.uv.txt"), &LINUX), @r"
    jinja2==3.1.6 (2 digests)
    markupsafe==3.0.4 (151 digests)
    ");
}

#[test]
fn lockfiles_of_uv_projects() {
    let file = fixture!("uv.lock");
    insta::assert_snapshot!(shown(file, &LINUX), @r"
    jinja2==3.1.6 (1 wheels, files.example.org)
    markupsafe==3.0.4 (30 wheels, files.example.org)
    ");
    let more = Ask {
        extras: &["links"],
        groups: &["dev"],
        ..LINUX
    };
    insta::assert_snapshot!(shown(file, &more), @r"
    iniconfig==2.1.0 (1 wheels, files.example.org)
    jinja2==3.1.6 (1 wheels, files.example.org)
    markupsafe==3.0.4 (30 wheels, files.example.org)
    networkx==3.4.2 (1 wheels, files.example.org)
    ");
    let windows = Ask {
        target: "cp312-win_amd64",
        python: "3.12.1",
        ..LINUX
    };
    insta::assert_snapshot!(shown(file, &windows), @r"
    colorama==0.4.6 (1 wheels, files.example.org)
    jinja2==3.1.6 (1 wheels, files.example.org)
    markupsafe==3.0.4 (30 wheels, files.example.org)
    ");
}

#[test]
fn extras_of_a_uv_project_that_conflict_are_told_apart() {
    let file = fixture!("conflicts.uv.lock");
    insta::assert_snapshot!(shown(file, &LINUX), @r"
    jinja2==3.1.6 (1 wheels, files.example.org)
    markupsafe==3.0.2 (3 wheels, files.example.org)
    ");
    insta::assert_snapshot!(shown(file, &Ask { extras: &["old"], ..LINUX }), @r"
    jinja2==3.1.6 (1 wheels, files.example.org)
    markupsafe==2.1.5 (3 wheels, files.example.org)
    ");
    insta::assert_snapshot!(shown(file, &Ask { extras: &["new"], ..LINUX }), @r"
    jinja2==3.1.6 (1 wheels, files.example.org)
    markupsafe==3.0.2 (3 wheels, files.example.org)
    ");
}

#[test]
fn what_was_not_locked_for_is_refused() {
    let said = |file, ask: &Ask| pins_of(file, ask).expect_err("refused").to_string();
    let new = Ask {
        target: "cp313-linux_x86_64",
        python: "3.13.0",
        ..LINUX
    };
    for file in [
        fixture!("pylock.uv-export.toml"),
        fixture!("uv.lock"),
        fixture!("pylock.pdm.toml"),
    ] {
        let said = said(file, &new);
        assert!(
            said.starts_with("it needs Python ") && said.ends_with(", and this is 3.13.0"),
            "{said}"
        );
    }
    let (name, text) = fixture!("pylock.pdm.toml");
    let without = text.replace("requires-python = \"<3.13,>=3.11\"\n", "");
    assert_eq!(
        said((name, &without), &new),
        "it was not made for cp313-manylinux_2_28_x86_64 (Python 3.13.0), but for: python_version >= \"3.11\" and \
         python_version < \"3.13\""
    );
    for file in [fixture!("uv.lock"), fixture!("pylock.pdm.toml")] {
        assert_eq!(
            said(
                file,
                &Ask {
                    extras: &["x"],
                    ..LINUX
                }
            ),
            "it has no extra `x`; it has links"
        );
    }
    assert_eq!(
        said(
            fixture!("uv.lock"),
            &Ask {
                groups: &["x"],
                ..LINUX
            }
        ),
        "it has no dependency group `x`; it has dev"
    );
    assert_eq!(
        said(
            fixture!("requirements.uv.txt"),
            &Ask {
                extras: &["x"],
                ..LINUX
            }
        ),
        "it has no extra `x`; it has none"
    );
}

fn pylock(package: &str) -> String {
    format!("lock-version = \"1.0\"\ncreated-by = \"x\"\n[[packages]]\nname = \"a\"\n{package}\n")
}

#[test]
fn source_code_is_refused_in_every_form() {
    let rows = [
        (
            "version = \"1\"\nsdist = { url = \"https://example.org/a-1.tar.gz\", hashes = { md5 = \"0\" } }",
            "a is pinned as a source distribution, and only wheels are installed",
        ),
        (
            "vcs = { type = \"git\", url = \"https://example.org/a\", requested-revision = \"main\", commit-id = \"12\" }",
            "a is pinned as a repository (https://example.org/a@main), and only wheels are installed",
        ),
        (
            "directory = { path = \"a\", editable = true }",
            "a is pinned as a folder (a), and only wheels are installed",
        ),
        (
            "archive = { url = \"https://example.org/a.zip\", hashes = { md5 = \"0\" } }",
            "a is pinned as a source archive (https://example.org/a.zip), and only wheels are installed",
        ),
    ];
    for (package, said) in rows {
        assert_eq!(refused("pylock.toml", &pylock(package)), said);
        // Where the marker is false it does not matter.
        let elsewhere = pylock(&format!("marker = \"sys_platform == 'win32'\"\n{package}"));
        assert_eq!(shown(("pylock.toml", &elsewhere), &LINUX), "");
    }
    let uv = |source: &str| {
        format!(
            "version = 1\n[[package]]\nname = \"demo\"\nsource = {{ virtual = \".\" }}\ndependencies = [{{ name = \"a\" }}]\n\
             [[package]]\nname = \"a\"\nversion = \"1\"\nsource = {source}\n"
        )
    };
    for (source, said) in [
        (
            "{ registry = \"https://example.org/simple\" }",
            "a is pinned as a source distribution",
        ),
        (
            "{ git = \"https://example.org/a?rev=1#12\" }",
            "a is pinned as a repository (https://example.org/a@12)",
        ),
        ("{ editable = \"../a\" }", "a is pinned as a folder (../a)"),
        (
            "{ url = \"https://example.org/a.zip\" }",
            "a is pinned as a source archive (https://example.org/a.zip)",
        ),
    ] {
        assert_eq!(
            refused("uv.lock", &uv(source)),
            format!("{said}, and only wheels are installed")
        );
    }
    // A virtual member has no files of its own.
    assert_eq!(shown(("uv.lock", &uv("{ virtual = \"../a\" }")), &LINUX), "");
    assert_eq!(
        refused(
            "uv.lock",
            &uv("{ virtual = \".\" }").replace("name = \"a\" }", "name = \"b\" }")
        ),
        "demo needs b, which is not in it"
    );
    assert_eq!(
        refused("uv.lock", "version = 2"),
        "it is a uv.lock of version 2; version 1 is known"
    );
    assert_eq!(refused("uv.lock", "version = 1"), "it has no project to start from");
}

#[test]
fn an_archive_may_be_a_wheel_and_names_the_version() {
    let text = pylock(&format!(
        "archive = {{ url = \"https://example.org/a-1.5%2Bl-py3-none-any.whl#x\", hashes = {{ sha256 = \"{DIGEST}\" }} }}"
    ));
    assert_eq!(
        shown(("pylock.toml", &text), &LINUX),
        "a==1.5+l (1 wheels, example.org)\n"
    );
}

#[test]
fn other_files_are_refused_by_name() {
    for (name, text, said) in [
        ("pylock.toml", "<html>", "its text is not valid"),
        (
            "pylock.toml",
            "",
            "it is neither a PEP 751 lockfile, a requirements file nor a uv.lock",
        ),
        (
            "pyproject.toml",
            "[project]\nname = \"x\"",
            "it is neither a PEP 751 lockfile, a requirements file nor a uv.lock, but a pyproject.toml",
        ),
        (
            "poetry.lock",
            "[[package]]\nname = \"x\"\n[metadata]\n",
            "it is neither a PEP 751 lockfile, a requirements file nor a uv.lock, but a lockfile of Poetry or an old one \
             of PDM",
        ),
        (
            "pylock.toml",
            "lock-version = \"2.0\"",
            "lock-version is 2.0; only 1.x can be read",
        ),
    ] {
        assert_eq!(refused(name, text), said);
    }
    let newer = Foreign::read(
        Path::new("pylock.toml"),
        "lock-version = \"1.9\"\ncreated-by = \"x\"\npackages = []",
        false,
    );
    assert_eq!(
        newer.expect("readable").warnings,
        ["lock-version is 1.9, newer than 1.0; what is new in it is passed over"]
    );
}

#[test]
fn lines_are_read_as_pip_reads_them() {
    let text = format!(
        "# a comment\n--index-url https://example.org/simple\n--require-hashes\n\
         a==1.0 ; python_version >= '3.9' \\\n  --hash=sha256:{DIGEST} \\\n    # via b\n\
         a==1.0 --hash=sha256:{} --hash=md5:12 # again\n\
         b[x] === 2.0+cu118 --hash sha256:{DIGEST}\n\
         c==1;sys_platform=='win32' --hash=sha256:{DIGEST}\n\
         d @ https://example.org/d-1-py3-none-any.whl#x --hash=sha256:{DIGEST}\n\
         ./w/e-1-py3-none-any.whl ; python_version > '3' --hash=sha256:{DIGEST}\n",
        DIGEST.replace("e3b0", "0000")
    );
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("w")).expect("made");
    let file = folder.path().join("requirements.txt");
    let foreign = Foreign::read(&file, &text, false).expect("readable");
    assert_eq!(
        foreign.warnings,
        ["--index-url passed over: wheels come from this machine's package index, by name and digest"]
    );
    let said = shown((file.to_str().expect("text"), &text), &LINUX);
    let said = said.replace(&folder.path().display().to_string(), "[FOLDER]");
    insta::assert_snapshot!(said, @r"
    a==1.0 (2 digests)
    b==2.0+cu118 (1 digests)
    d==1 (1 wheels, example.org)
    e==1 (1 wheels, [FOLDER]/w/e-1-py3-none-any.whl)
    ");
}

#[test]
fn lines_that_pin_nothing_are_refused() {
    let hash = format!("--hash=sha256:{DIGEST}");
    for (line, said) in [
        ("a".to_owned(), "line 2: a is not pinned to one version"),
        (format!("a>=1 {hash}"), "line 2: a>=1 is not pinned to one version"),
        (format!("a==1.* {hash}"), "line 2: a==1.* is not pinned to one version"),
        (
            "a==1".to_owned(),
            "line 2: a==1 has no --hash=sha256:…, so it cannot be verified",
        ),
        (
            "a==1 --hash=md5:12".to_owned(),
            "line 2: a==1 has no --hash=sha256:…, so it cannot be verified",
        ),
        ("a==1 --hash=sha256:12".to_owned(), "line 2: `12` is no SHA-256"),
        (
            "a==1 --config-settings=x".to_owned(),
            "line 2: the option `--config-settings=x` is not known",
        ),
        ("-r other.txt".to_owned(), "line 2: `-r other.txt` reads another file"),
        (
            "-e .".to_owned(),
            "line 2: `-e .` is source code in a folder, and only wheels are installed",
        ),
        (
            "./a".to_owned(),
            "line 2: `./a` is source code in a folder, and only wheels are installed",
        ),
        ("--what".to_owned(), "line 2: the option `--what` is not known"),
        ("a b".to_owned(), "line 2: `a b` is no requirement"),
        (
            format!("a @ https://example.org/a.zip {hash}"),
            "a is pinned as a source archive (https://example.org/a.zip), and only wheels are installed",
        ),
    ] {
        assert_eq!(refused("requirements.txt", &format!("\n{line}\n")), said);
    }
}

#[test]
fn local_wheels_stay_inside_the_folder_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (inner, outer) = (folder.path().join("in"), folder.path().join("out"));
    for folder in [&inner, &outer] {
        std::fs::create_dir(folder).expect("made");
        std::fs::write(folder.join("a-1-py3-none-any.whl"), b"").expect("written");
    }
    std::os::unix::fs::symlink(&outer, inner.join("link")).expect("made");
    let file = inner.join("pylock.toml");
    let place = |path: &str, anywhere: bool| {
        let text = pylock(&format!(
            "version = \"1\"\nwheels = [{{ path = {path:?}, hashes = {{ sha256 = \"{DIGEST}\" }} }}]"
        ));
        let foreign = Foreign::read(&file, &text, anywhere).expect("readable");
        let asked = Asked {
            target: &LINUX.target.parse().expect("a target"),
            python: &LINUX.python.parse().expect("a version"),
            extras: &[],
            groups: &[],
        };
        foreign.pins(&asked).map(|pins| match &pins[0].files {
            Files::Wheels(wheels) => match &wheels[0].origin {
                Origin::Url(url) => url.to_file_path().expect("a path").canonicalize().expect("it is there"),
                other => panic!("{other:?}"),
            },
            Files::Digests(_) => panic!("wheels"),
        })
    };
    let real = |path: &Path| path.canonicalize().expect("it is there").join("a-1-py3-none-any.whl");
    for path in [
        "a-1-py3-none-any.whl",
        "./a-1-py3-none-any.whl",
        "../in/a-1-py3-none-any.whl",
    ] {
        assert_eq!(place(path, false).expect("inside"), real(&inner), "{path}");
    }
    let absolute = outer.join("a-1-py3-none-any.whl").display().to_string();
    for path in [
        "../out/a-1-py3-none-any.whl",
        "link/a-1-py3-none-any.whl",
        "..\\out\\a-1-py3-none-any.whl",
        &absolute,
    ] {
        let error = place(path, false).expect_err("outside");
        assert_eq!(
            error.to_string(),
            format!("a: `{path}` is outside the folder of the file")
        );
        assert_eq!(place(path, true).expect("allowed"), real(&outer), "{path}");
    }
    // flambeau's own paths name digest and file and are never opened.
    let own = pylock(&format!(
        "version = \"1\"\nwheels = [{{ name = \"a-1-py3-none-any.whl\", path = \"../cache/wheels/{DIGEST}/a-1-py3-none-any.whl\", \
         hashes = {{ sha256 = \"{DIGEST}\" }} }}]"
    ));
    assert_eq!(shown(("pylock.toml", &own), &LINUX), "a==1 (1 wheels, Index)\n");
    for (url, said) in [
        (
            "ftp://example.org/a-1-py3-none-any.whl",
            "a: nothing is fetched from `ftp:` URLs",
        ),
        (
            "file:///x/a-1-py3-none-any.whl",
            "a: `/x/a-1-py3-none-any.whl` is outside the folder of the file",
        ),
        (
            "a-1-py3-none-any.whl",
            "a: `a-1-py3-none-any.whl` cannot be used as a path",
        ),
    ] {
        let text = pylock(&format!(
            "version = \"1\"\nwheels = [{{ url = \"{url}\", hashes = {{ sha256 = \"{DIGEST}\" }} }}]"
        ));
        assert_eq!(refused("pylock.toml", &text), said);
    }
}
