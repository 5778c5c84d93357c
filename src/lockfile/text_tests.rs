//! The bytes that are written, what is read back, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::backend::{Backend, Channel};
use crate::lockfile::Settings;
use crate::pep::MarkerTree;

const SHA: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn read(text: &str) -> Result<Parsed, ParseError> {
    parse(text, &Channel::pip())
}

fn wheel_of(file: &str, origin: Origin) -> LockedWheel {
    LockedWheel {
        filename: file.parse().expect("a wheel name"),
        file: file.to_owned(),
        origin,
        size: None,
        digest: WheelDigest::of(file.as_bytes()),
    }
}

fn package_of(name: &str, version: &str, marker: &str, wheels: Vec<LockedWheel>) -> LockedPackage {
    LockedPackage {
        name: name.parse().expect("a name"),
        version: version.parse().expect("a version"),
        marker: if marker.is_empty() {
            MarkerTree::TRUE
        } else {
            marker.parse().expect("a marker")
        },
        requires_python: None,
        dependencies: Vec::new(),
        wheels,
    }
}

fn target_of(target: &str, full: &str) -> LockedTarget {
    LockedTarget {
        target: target.parse().expect("a target"),
        python_full_version: full.parse().expect("a version"),
        python_boundaries: Vec::new(),
        backend: Backend::Cuda,
        python_pinned: full.ends_with(".7"),
    }
}

fn small() -> Lockfile {
    let url = "https://download.pytorch.org/whl/cu118/torch-2.7.0%2Bcu118-cp312-cp312-manylinux_2_28_x86_64.whl";
    let torch = wheel_of(
        "torch-2.7.0+cu118-cp312-cp312-manylinux_2_28_x86_64.whl",
        Origin::Url(url.parse().expect("a URL")),
    );
    let mut numpy = wheel_of("numpy-2.0.2-cp39-cp39-manylinux2014_x86_64.whl", Origin::Index);
    numpy.size = Some(19_000_000);
    let newer = wheel_of("numpy-2.2.5-cp312-cp312-manylinux2014_x86_64.whl", Origin::Index);
    let mut first = package_of("torch", "2.7.0+cu118", "", vec![torch]);
    first.dependencies = vec!["jinja2".parse().expect("a name"), "numpy".parse().expect("a name")];
    first.requires_python = Some(">=3.9.0".parse().expect("specifiers"));
    let mut old = target_of("cp39-linux_x86_64", "3.9.21");
    old.python_boundaries = vec!["3.9.2".parse().expect("a version")];
    Lockfile {
        head: "# Made for \"the demo\".\n#\n# Do not edit.".to_owned(),
        channel: "cu118".parse().expect("a channel"),
        requirements: vec!["torch==2.7.0".to_owned(), "numpy; python_version >= \"3.9\"".to_owned()],
        targets: vec![
            old,
            target_of("cp312-linux_x86_64", "3.12.9"),
            target_of("cp312-manylinux_2_34_x86_64", "3.12.9"),
        ],
        packages: vec![
            package_of("numpy", "2.0.2", "python_full_version < '3.10'", vec![numpy]),
            package_of("numpy", "2.2.5", "python_full_version >= '3.10'", vec![newer]),
            first,
        ],
        requires_python: Some(">=3.9".parse().expect("specifiers")),
        settings: Settings::default(),
    }
}

#[test]
fn text_is_canonical() {
    insta::assert_snapshot!(small().to_text(), @r#"
    # Made for "the demo".
    #
    # Do not edit.

    lock-version = "1.0"
    environments = [
        "python_version == '3.9' and sys_platform == 'linux' and platform_machine == 'x86_64'",
        "python_version == '3.12' and sys_platform == 'linux' and platform_machine == 'x86_64'",
    ]
    requires-python = ">=3.9"
    created-by = "flambeau"

    [[packages]]
    name = "numpy"
    version = "2.0.2"
    marker = "python_full_version < '3.10'"
    wheels = [
        { name = "numpy-2.0.2-cp39-cp39-manylinux2014_x86_64.whl", path = "../cache/wheels/f16b6edc0436dd618a6cd8e9628839e5981efdb8d6c3134c2b5082d77c74c9f5/numpy-2.0.2-cp39-cp39-manylinux2014_x86_64.whl", size = 19000000, hashes = { sha256 = "f16b6edc0436dd618a6cd8e9628839e5981efdb8d6c3134c2b5082d77c74c9f5" } },
    ]

    [[packages]]
    name = "numpy"
    version = "2.2.5"
    marker = "python_full_version >= '3.10'"
    wheels = [
        { name = "numpy-2.2.5-cp312-cp312-manylinux2014_x86_64.whl", path = "../cache/wheels/b82f00d1f2c253ec9a26b3893f765dee4fd10273c76c572a4201d51075c95750/numpy-2.2.5-cp312-cp312-manylinux2014_x86_64.whl", hashes = { sha256 = "b82f00d1f2c253ec9a26b3893f765dee4fd10273c76c572a4201d51075c95750" } },
    ]

    [[packages]]
    name = "torch"
    version = "2.7.0+cu118"
    requires-python = ">=3.9.0"
    dependencies = [
        { name = "jinja2" },
        { name = "numpy", version = "2.0.2" },
        { name = "numpy", version = "2.2.5" },
    ]
    wheels = [
        { name = "torch-2.7.0+cu118-cp312-cp312-manylinux_2_28_x86_64.whl", url = "https://download.pytorch.org/whl/cu118/torch-2.7.0%2Bcu118-cp312-cp312-manylinux_2_28_x86_64.whl", hashes = { sha256 = "a53668085d06ee7e46a9646132677d84a2dac5308cc9a43da922b207da017038" } },
    ]

    [tool.flambeau]
    schema = 1
    channel = "cu118"
    requirements = [
        "torch==2.7.0",
        "numpy; python_version >= \"3.9\"",
    ]
    requirements-digest = "340564f6873815ae6ff1ad5a0f3a0ee3389a4e6639c43144b6c2ba7374a71f46"

    [[tool.flambeau.targets]]
    target = "cp39-manylinux_2_28_x86_64"
    python-full-version = "3.9.21"
    python-boundaries = [
        "3.9.2",
    ]
    backend = "CUDA"

    [[tool.flambeau.targets]]
    target = "cp312-manylinux_2_28_x86_64"
    python-full-version = "3.12.9"
    python-boundaries = []
    backend = "CUDA"

    [[tool.flambeau.targets]]
    target = "cp312-manylinux_2_34_x86_64"
    python-full-version = "3.12.9"
    python-boundaries = []
    backend = "CUDA"
    "#);
}

#[test]
fn reading_gives_back_what_was_written() {
    let parsed = read(&small().to_text()).expect("a lockfile");
    assert_eq!(parsed.lockfile, small());
    assert_eq!(parsed.warnings, []);
    let empty = Lockfile {
        head: String::new(),
        channel: Channel::pip(),
        requirements: Vec::new(),
        targets: Vec::new(),
        packages: Vec::new(),
        requires_python: None,
        settings: Settings::default(),
    };
    assert_eq!(read(&empty.to_text()).expect("a lockfile").lockfile, empty);
}

#[test]
fn line_ends_of_another_system_do_not_matter() {
    let parsed = read(&small().to_text().replace('\n', "\r\n")).expect("a lockfile");
    assert_eq!(parsed.lockfile.to_text(), small().to_text());
}

#[test]
fn versions_of_the_standard() {
    let with = |version: &str| {
        read(&format!(
            "lock-version = \"{version}\"\ncreated-by = \"x\"\npackages = []"
        ))
    };
    assert_eq!(with("1.0").expect("a lockfile").warnings, []);
    assert_eq!(
        with("1.7").expect("a lockfile").warnings,
        [ReadWarning::NewerMinor("1.7".to_owned())]
    );
    for version in ["2.0", "1", "0.9", "1.x", "10.0", ""] {
        let error = with(version).expect_err("refused");
        assert_eq!(
            error.to_string(),
            format!("lock-version is {version}; only 1.x can be read")
        );
    }
    let newer = small().to_text().replace("schema = 1", "schema = 2");
    assert!(matches!(read(&newer), Err(ParseError::Schema(2))));
}

#[test]
fn requirements_edited_by_hand_are_noticed() {
    let edited = small().to_text().replace("\"torch==2.7.0\"", "\"torch==2.7.1\"");
    assert_eq!(
        read(&edited).expect("a lockfile").warnings,
        [ReadWarning::RequirementsEdited]
    );
}

/// A file as another tool writes it, with keys that are not needed here and one that nobody knows.
const FOREIGN: &str = r#"# This file was autogenerated by a tool via the following command:
#    tool lock
lock-version = "1.0"
created-by = "tool"
extras = []
dependency-groups = []
default-groups = []

[[packages]]
name = "zlib-ng"
version = "0.5.1"
marker = "sys_platform == 'linux'"
index = "https://index.example.org/simple"
dependencies = [{ name = "attrs", version = "25.3.0" }, { name = "attrs" }]
sdist = { url = "https://index.example.org/z-0.5.1.tar.gz", hashes = { sha256 = "0000000000000000000000000000000000000000000000000000000000000000" } }
wheels = [
    { url = "https://index.example.org/zlib_ng-0.5.1-cp311-cp311-win_amd64.whl", upload-time = 2024-07-04T15:35:00Z, size = 3, hashes = { md5 = "x", sha256 = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855" } },
    { name = "zlib_ng-0.5.1-1-cp311-cp311-linux_x86_64.whl", path = "./wheels/zlib_ng-0.5.1-1-cp311-cp311-linux_x86_64.whl", hashes = { sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" } },
]
[[packages.attestation-identities]]
kind = "GitHub"
repository = "x/y"
workflow = "release.yml"

[[packages]]
name = "attrs"
version = "25.3.0+l.1"
wheels = [{ url = "https://index.example.org/attrs-25.3.0%2Bl.1-py3-none-any.whl?x=1#y", hashes = { sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" } }]

[tool.other]
anything = [1, 2]
"#;

#[test]
fn files_of_other_tools_are_read() {
    let parsed = read(FOREIGN).expect("a lockfile");
    assert_eq!(parsed.warnings, []);
    let lockfile = parsed.lockfile;
    assert!(lockfile.head.ends_with("#    tool lock") && lockfile.head.starts_with("# This file"));
    assert!(lockfile.channel.is_pip() && lockfile.targets.is_empty() && lockfile.requirements.is_empty());
    let names: Vec<&str> = lockfile.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["attrs", "zlib-ng"]);
    assert_eq!(lockfile.packages[0].wheels[0].file, "attrs-25.3.0+l.1-py3-none-any.whl");
    let zlib = &lockfile.packages[1];
    assert_eq!(zlib.dependencies.len(), 1);
    assert_eq!(
        zlib.wheels[0].origin,
        Origin::Path(format!("./wheels/{}", zlib.wheels[0].file))
    );
    assert_eq!(
        (zlib.wheels[1].size, zlib.wheels[1].digest.to_string().as_str()),
        (Some(3), SHA)
    );
    assert_eq!(read(&lockfile.to_text()).expect("a lockfile").lockfile, lockfile);
}

#[test]
fn real_files_of_other_tools_survive_being_written() {
    macro_rules! fixture {
        ($file:literal) => {
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/fixtures/foreign/",
                $file
            ))
        };
    }
    for text in [
        fixture!("pylock.uv-export.toml"),
        fixture!("pylock.uv-compile.toml"),
        fixture!("pylock.pip.toml"),
        fixture!("pylock.pdm.toml"),
    ] {
        let lockfile = read(text).expect("a lockfile").lockfile;
        let written = lockfile.to_text();
        let back = read(&written).expect("a lockfile").lockfile;
        assert_eq!(back, lockfile);
        assert_eq!(back.to_text(), written);
    }
}

#[test]
fn what_cannot_be_verified_or_installed_is_refused() {
    let file = "a-1.0-py3-none-any.whl";
    let url = format!("url = \"https://index.example.org/{file}\"");
    let hashes = format!("hashes = {{ sha256 = \"{SHA}\" }}");
    let wheels = |row: &str| format!("version = \"1.0\"\nwheels = [{{ {row} }}]");
    let path = |path: &str| wheels(&format!("path = {path:?}, {hashes}"));
    let outside = |path: &str| format!("a: {file} has the path `{path}`, where it cannot be");
    let wrong = SHA.replace("e3b0", "0000");
    let cases = [
        (wheels(&url), format!("a: {file} has no hashes, which PEP 751 requires")),
        (
            wheels(&format!("{url}, hashes = {{ md5 = \"x\" }}")),
            format!("a: {file} has no sha256, so it cannot be verified"),
        ),
        (
            wheels(&format!("{url}, hashes = {{ sha256 = \"12\" }}")),
            format!("a: {file}: `12` cannot be used as sha256"),
        ),
        (wheels(&hashes), "a: a wheel has neither url nor path".to_owned()),
        (
            wheels(&format!("name = \"{file}\", {hashes}")),
            format!("a: {file} has neither url nor path"),
        ),
        (
            wheels(&format!("url = \"/{file}\", {hashes}")),
            format!("a: {file}: `/{file}` cannot be used as url"),
        ),
        (
            wheels(&format!("{url}, {hashes}")).replace("a-1.0", "b-1.0"),
            "b-1.0-py3-none-any.whl is listed under a 1.0, which it is no wheel of".to_owned(),
        ),
        (
            wheels(&format!("{url}, {hashes}")).replace("a-1.0", "a-1.0+l"),
            "a-1.0+l-py3-none-any.whl is listed under a 1.0, which it is no wheel of".to_owned(),
        ),
        (
            wheels(&format!("{url}, {hashes}")).replace("-any.whl", ".whl"),
            "a: a-1.0-py3-none.whl: `a-1.0-py3-none.whl` cannot be used as the name of a wheel".to_owned(),
        ),
        (
            format!("wheels = [{{ {url}, {hashes} }}]"),
            "a has no version".to_owned(),
        ),
        (
            "version = \"1.0\"".to_owned(),
            "a has no wheels and no other source".to_owned(),
        ),
        (
            "version = \"1.0\"\nsdist = { url = \"u\", hashes = { md5 = \"1\" } }".to_owned(),
            "a is locked as a source distribution; only packages with wheels can be installed".to_owned(),
        ),
        (
            "vcs = { type = \"git\", url = \"u\", commit-id = \"x\" }".to_owned(),
            "a is locked as a repository; only packages with wheels can be installed".to_owned(),
        ),
        (
            "directory = { path = \".\" }".to_owned(),
            "a is locked as a directory; only packages with wheels can be installed".to_owned(),
        ),
        (
            "archive = { path = \"x.zip\", hashes = { md5 = \"1\" } }".to_owned(),
            "a is locked as an archive; only packages with wheels can be installed".to_owned(),
        ),
        (
            format!("marker = \"what\"\n{}", wheels(&format!("{url}, {hashes}"))),
            "a: `what` cannot be used as marker".to_owned(),
        ),
        (path("w/b-1.0-py3-none-any.whl"), {
            let said = "b-1.0-py3-none-any.whl is listed under a 1.0, which it is no wheel of";
            said.to_owned()
        }),
        (path(&format!("C:/w/{file}")), outside(&format!("C:/w/{file}"))),
        (
            path(&format!("../cache/wheels/{wrong}/{file}")),
            outside(&format!("../cache/wheels/{wrong}/{file}")),
        ),
        (
            path(&format!("../cache/wheels/{SHA}/../{file}")),
            outside(&format!("../cache/wheels/{SHA}/../{file}")),
        ),
    ];
    for (body, said) in cases {
        let text = format!("lock-version = \"1.0\"\ncreated-by = \"x\"\n[[packages]]\nname = \"a\"\n{body}\n");
        let error = read(&text).expect_err("refused");
        assert_eq!(error.to_string(), said, "{text}");
    }
    assert!(matches!(read("lock-version = 1"), Err(ParseError::Syntax(_))));
    assert!(matches!(read("<html>"), Err(ParseError::Syntax(_))));
}

/// What PEP 751 requires, each key left out or of another type, whoever wrote the file.
#[test]
fn required_keys_are_required() {
    let whole = "lock-version = \"1.0\"\ncreated-by = \"x\"\npackages = []\n";
    let foreign = |text: &str| crate::lockfile::foreign::Foreign::read("pylock.toml".as_ref(), text, false);
    assert!(read(whole).is_ok() && foreign(whole).is_ok());
    for (text, said) in [
        (whole.replace("packages = []\n", ""), "`packages` is missing"),
        (whole.replace("[]", "{}"), "packages: expected an array, found a table"),
        (
            whole.replace("[]", "[1]"),
            "packages[0]: expected a table, found the integer `1`",
        ),
        (whole.replace("created-by = \"x\"\n", ""), "`created-by` is missing"),
        (
            whole.replace("\"x\"", "1"),
            "created-by: expected a string, found the integer `1`",
        ),
        (
            whole.replace("lock-version = \"1.0\"\n", ""),
            "`lock-version` is missing",
        ),
        (
            whole.replace("\"1.0\"", "1.0"),
            "lock-version: expected a string, found the number `1.0`",
        ),
    ] {
        for error in [read(&text).err(), foreign(&text).err().and_then(parse_error)] {
            match error {
                Some(ParseError::Syntax(error)) => assert!(error.reason().contains(said), "{text}{error}"),
                other => panic!("{text}{other:?}"),
            }
        }
    }
    // A newer file may have other keys; it is not to be mistaken for a damaged one.
    let newer = whole.replace("packages = []", "").replace("1.0", "2.0");
    assert!(matches!(read(&newer), Err(ParseError::LockVersion(_))));
    let newer = whole.replace("packages = []", "[tool.flambeau]\nschema = 2");
    assert!(matches!(read(&newer), Err(ParseError::Schema(2))));
}

fn parse_error(error: crate::lockfile::foreign::ForeignError) -> Option<ParseError> {
    match error {
        crate::lockfile::foreign::ForeignError::Pylock(error) => Some(error),
        _ => None,
    }
}

#[test]
fn required_keys_of_packages_are_required() {
    let wheel =
        "wheels = [{ url = \"https://index.example.org/a-1.0-py3-none-any.whl\", hashes = { sha256 = \"0\" } }]";
    let hashes = "hashes = { md5 = \"0\" }";
    let several = "a has several sources (directory, wheels), of which PEP 751 allows one";
    for (body, said) in [
        (wheel.to_owned(), "`name` is missing"),
        (format!("name = 1\n{wheel}"), "found the integer `1`"),
        (
            format!("name = \"A_b\"\n{wheel}"),
            "A_b is not a normalised name; PEP 751 requires `a-b`",
        ),
        (format!("name = \"-\"\n{wheel}"), "-: `-` cannot be used as name"),
        ("name = \"a\"".to_owned(), "a has no wheels and no other source"),
        (
            "name = \"a\"\nwheels = []".to_owned(),
            "a has no wheels and no other source",
        ),
        ("name = \"a\"\nwheels = {}".to_owned(), "found a table"),
        (
            format!("name = \"a\"\n{wheel}\ndirectory = {{ path = \".\" }}"),
            several,
        ),
        ("name = \"a\"\ndirectory = {}".to_owned(), "`path` is missing"),
        (
            "name = \"a\"\nvcs = { url = \"u\", commit-id = \"1\" }".to_owned(),
            "`type` is missing",
        ),
        (
            "name = \"a\"\nvcs = { url = \"u\", type = \"git\" }".to_owned(),
            "`commit-id` is missing",
        ),
        (
            "name = \"a\"\nvcs = { type = \"git\", commit-id = \"1\" }".to_owned(),
            "a: the repository has neither url nor path",
        ),
        (
            format!("name = \"a\"\narchive = {{ {hashes} }}"),
            "a: the archive has neither url nor path",
        ),
        (
            "name = \"a\"\narchive = { path = \"a.zip\" }".to_owned(),
            "a: a.zip has no hashes",
        ),
        (
            format!("name = \"a\"\nsdist = {{ {hashes} }}"),
            "a: the sdist has neither url nor path",
        ),
        (
            "name = \"a\"\nsdist = { url = \"u/a-1.zip\", hashes = {} }".to_owned(),
            "a: a-1.zip has no hashes",
        ),
        (
            "name = \"a\"\nsdist = { url = \"u\", hashes = [] }".to_owned(),
            "found an array",
        ),
        (
            "name = \"a\"\nsdist = { url = \"u\", hashes = { md5 = 1 } }".to_owned(),
            "found the integer",
        ),
        (
            format!("name = \"a\"\n{wheel}\nattestation-identities = [{{}}]"),
            "`kind` is missing",
        ),
        (
            format!("name = \"a\"\n{wheel}\ndependencies = [\"b\"]"),
            "found the string",
        ),
    ] {
        // Also where a marker leaves the package out.
        for marker in ["", "marker = \"python_version == '2.7'\"\n"] {
            let text = format!("lock-version = \"1.0\"\ncreated-by = \"x\"\n[[packages]]\n{marker}{body}\n");
            let foreign = crate::lockfile::foreign::Foreign::read("pylock.toml".as_ref(), &text, false);
            for error in [read(&text).err(), foreign.err().and_then(parse_error)] {
                let error = error.unwrap_or_else(|| panic!("{text}"));
                let text = match &error {
                    ParseError::Syntax(error) => error.reason(),
                    other => other.to_string(),
                };
                assert!(text.contains(said), "{body}: {text}");
            }
        }
    }
}

#[test]
fn values_of_the_wrong_form_are_named_by_line_and_key() {
    let head = "lock-version = \"1.0\"\ncreated-by = \"x\"\n";
    let ours = "packages = []\n[tool.flambeau]\nschema = 1\nchannel = \"cu118\"\n";
    for (rest, told) in [
        (
            "packages = 5",
            "line 3: packages: expected an array, found the integer `5`",
        ),
        (
            "[[packages]]\nversion = \"1\"",
            "line 3: packages[0]: `name` is missing",
        ),
        (
            "[[packages]]\nname = \"a\"\n[[packages.wheels]]\nsize = \"1\"",
            "line 6: packages[0].wheels[0].size: expected a non-negative integer, found the string \"1\"",
        ),
        (
            &format!("{ours}constraints = 5"),
            "line 7: tool.flambeau.constraints: expected an array, found the integer `5`",
        ),
        (&format!("{ours}left-out = [\"x\"]"), "line 7: tool.flambeau.left-out: "),
        (
            &format!("{ours}[[tool.flambeau.targets]]\ntarget = 1"),
            "line 8: tool.flambeau.targets[0].target: expected a string, found the integer `1`",
        ),
    ] {
        let error = read(&format!("{head}{rest}")).expect_err(rest);
        let cause = std::error::Error::source(&error).expect("a cause").to_string();
        assert!(cause.starts_with(told), "{rest}\n{cause}");
    }
}

#[test]
fn names_that_need_quoting_survive() {
    let mut lockfile = small();
    lockfile.requirements = vec!["a; python_version >= \"3.9\" and platform_version != 'x\\y'".to_owned()];
    assert_eq!(read(&lockfile.to_text()).expect("a lockfile").lockfile, lockfile);
    for text in ["", "\u{7f}\u{0}\u{1b}", "\"\\\n\r\t", "é漢😀", "'''"] {
        let document: toml::Table = toml::from_str(&format!("key = {}", quoted(text))).expect("TOML");
        assert_eq!(document["key"].as_str(), Some(text));
    }
}

fn lockfiles() -> impl Strategy<Value = Lockfile> {
    let tag = prop_oneof![
        Just("py3-none-any"),
        Just("cp39-cp39-manylinux_2_28_x86_64"),
        Just("cp38-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64"),
        Just("cp313-cp313t-win_amd64"),
    ];
    let origin = prop_oneof![Just(0u8), Just(1), Just(2)];
    let wheel = (tag, origin, proptest::option::of(any::<u32>()), any::<u64>());
    let marker = prop_oneof![
        Just(""),
        Just("python_full_version < '3.10'"),
        Just("sys_platform == 'linux' and platform_machine == 'x86_64'"),
        Just("python_version in '3.9 3.11' or implementation_name != 'cpython'"),
    ];
    let version = prop_oneof![Just("1.0"), Just("2.7.0+cu118"), Just("1!2.0.post1.dev3"), Just("0rc1")];
    let names = || prop_oneof![Just("a"), Just("b-c"), Just("torch"), Just("zope-interface")];
    let wheels = proptest::collection::vec(wheel, 1..4);
    let dependencies = proptest::collection::btree_set(names(), 0..3);
    let package = (names(), version, marker, dependencies, wheels);
    let head = prop_oneof![Just(""), Just("# one"), Just("# one\n\n#two  x")];
    (proptest::collection::vec(package, 0..6), head, settings()).prop_map(|(packages, head, settings)| {
        let mut lockfile = small();
        lockfile.head = head.to_owned();
        lockfile.settings = settings;
        lockfile.packages = packages
            .into_iter()
            .map(|(name, version, marker, dependencies, wheels)| {
                let mut wheels: Vec<LockedWheel> = wheels
                    .into_iter()
                    .map(|(tag, origin, size, seed)| {
                        let file = format!("{}-{version}-{tag}.whl", name.replace('-', "_"));
                        let mut wheel = wheel_of(
                            &file,
                            match origin {
                                0 => Origin::Index,
                                1 => Origin::Path(format!("w/{file}")),
                                _ => Origin::Url(format!("https://example.org/{file}").parse().expect("a URL")),
                            },
                        );
                        wheel.size = size.map(u64::from);
                        wheel.digest = WheelDigest::of(&seed.to_le_bytes());
                        wheel
                    })
                    .collect();
                wheels.sort_by(|left, right| left.file.cmp(&right.file));
                let mut package = package_of(name, version, marker, wheels);
                package.dependencies = dependencies
                    .into_iter()
                    .map(|name| name.parse().expect("a name"))
                    .collect();
                package
            })
            .collect();
        lockfile
            .packages
            .sort_by(|left, right| (&left.name, &left.version).cmp(&(&right.name, &right.version)));
        lockfile
    })
}

/// Every key of `[tool.flambeau]` that may be left out, there or not.
fn settings() -> impl Strategy<Value = Settings> {
    fn some<T: std::fmt::Debug + std::str::FromStr>(texts: &'static [&'static str]) -> impl Strategy<Value = Vec<T>> {
        proptest::sample::subsequence(texts, 0..=texts.len())
            .prop_map(|texts| texts.iter().filter_map(|text| text.parse().ok()).collect())
    }
    let words = (
        prop_oneof![Just("highest"), Just("lowest-direct")],
        prop_oneof![Just("if-necessary-or-explicit"), Just("allow"), Just("refuse")],
        proptest::option::of(prop_oneof![Just("2025-05-01"), Just("2025-05-01T12:00:00.25Z")]),
        any::<bool>(),
        any::<bool>(),
    );
    let lists = (
        some(&["dev", "gpu-extra"]),
        some(&["docs", "test"]),
        some(&["numpy<2", "a; sys_platform == \"win32\""]),
        some(&["b==1.0+x", "c[d]>=2"]),
        some(&["cp39-win_amd64", "cp313-macosx_14_0_arm64"]),
        some(&["x-1-py3-none-any.whl", "y-1+z-cp39-cp39-linux_x86_64.whl"]),
    );
    (words, lists).prop_map(|(words, lists)| Settings {
        extras: lists.0.into_iter().collect(),
        groups: lists.1.into_iter().collect(),
        constraints: lists.2,
        overrides: lists.3,
        versions: words.0.parse().expect("a word"),
        pre_releases: words.1.parse().expect("a word"),
        exclude_newer: words.2.map(|text| text.parse().expect("a moment")),
        optional_targets: words.3,
        python_is_stated: words.4,
        left_out: lists.4.into_iter().collect(),
        hashed_by_download: lists.5.into_iter().collect(),
    })
}

proptest! {
    #[test]
    fn writing_then_reading_is_the_identity(lockfile in lockfiles()) {
        let text = lockfile.to_text();
        let parsed = read(&text).expect("a lockfile");
        // Entries of one name that exclude each other may not be listed as dependencies; all else comes back.
        prop_assert_eq!(&parsed.lockfile.to_text(), &text);
        let mut expected = lockfile;
        for (package, back) in expected.packages.iter_mut().zip(&parsed.lockfile.packages) {
            package.dependencies.retain(|name| back.dependencies.contains(name));
        }
        prop_assert_eq!(parsed.lockfile, expected);
    }

    #[test]
    fn no_text_makes_the_reader_panic(position in any::<prop::sample::Index>(), junk in "[\"\\[\\]{}=.%a-z0-9\n]{0,4}", length in 0..6usize) {
        let text = FOREIGN.to_owned() + &small().to_text();
        for text in [FOREIGN.to_owned(), text] {
            let at = position.index(text.len());
            let mut bytes = text.into_bytes();
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, junk.bytes());
            drop(read(&String::from_utf8_lossy(&bytes)));
        }
    }
}
