use super::*;

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const WHEEL: &str = "demo-1.0+local-py3-none-any.whl";

fn read(text: &str) -> Requirement {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_form_has_one_text() {
    let rows = [
        (
            "torch == 2.7.0 ; python_version < '3.12'",
            "torch==2.7.0 ; python_full_version < '3.12'",
        ),
        (
            "Demo[b,a] @ https://example.org/demo-1.0-py3-none-any.whl#sha256=X ; os_name == 'nt'",
            "demo[b,a] @ https://example.org/demo-1.0-py3-none-any.whl#sha256=X ; os_name == 'nt'",
        ),
        (
            "demo @ ./dist/demo-1.0-py3-none-any.whl",
            "demo @ ./dist/demo-1.0-py3-none-any.whl",
        ),
        (
            "demo@dist/../dist/demo-1.0-py3-none-any.whl",
            "demo @ ./dist/demo-1.0-py3-none-any.whl",
        ),
        (
            "dist/demo-1.0-py3-none-any.whl[a]",
            "demo[a] @ ./dist/demo-1.0-py3-none-any.whl",
        ),
        ("demo-1.0-py3-none-any.whl", "demo @ ./demo-1.0-py3-none-any.whl"),
        (
            "../w/demo-1.0-py3-none-any.whl ; os_name == 'nt'",
            "demo @ ../w/demo-1.0-py3-none-any.whl ; os_name == 'nt'",
        ),
        (
            "./my wheels/demo-1.0-py3-none-any.whl",
            "demo @ ./my%20wheels/demo-1.0-py3-none-any.whl",
        ),
        (
            "/w/demo-1.0-py3-none-any.whl",
            "demo @ file:///w/demo-1.0-py3-none-any.whl",
        ),
        (
            "demo @ /w/demo-1.0-py3-none-any.whl",
            "demo @ file:///w/demo-1.0-py3-none-any.whl",
        ),
        (
            "https://example.org/demo-1.0-py3-none-any.whl",
            "demo @ https://example.org/demo-1.0-py3-none-any.whl",
        ),
        ("demo @ ./folder", "demo @ ./folder"),
    ];
    for (written, expected) in rows {
        let found = text(&read(written));
        assert_eq!(found, expected, "{written}");
        assert_eq!(text(&read(&found)), expected, "twice: {written}");
    }
}

#[test]
fn a_wheel_is_found_in_a_requirement() {
    let reference = |text: &str| wheel_of(&read(text)).expect("a wheel").expect("a wheel");
    let url = reference(&format!(
        "demo @ https://example.org/a%20b/demo-1.0%2Blocal-py3-none-any.whl?x=1#sha256={DIGEST}"
    ));
    assert_eq!(
        (url.file.as_str(), url.filename.version.to_string().as_str()),
        (WHEEL, "1.0+local")
    );
    assert_eq!(url.digest.expect("stated").to_string(), DIGEST);
    assert!(
        matches!(&url.location, Location::Url(url) if url.fragment().is_none()),
        "{url:?}"
    );
    let local = reference(&format!("./my wheels/{WHEEL}"));
    assert_eq!(local.location, Location::Project(format!("./my wheels/{WHEEL}")));
    let absolute = reference(&format!("demo @ file:///w/{WHEEL}"));
    assert_eq!(absolute.location, Location::Absolute(format!("/w/{WHEEL}").into()));
    assert_eq!(wheel_of(&read("demo==1.0")).expect("fine"), None);
}

#[test]
fn what_cannot_be_locked_is_refused() {
    let rows = [
        (
            "demo @ git+ssh://git@example.org/demo.git",
            "`demo @ git+ssh://git@example.org/demo.git` names no wheel",
        ),
        (
            "demo @ git+https://secret@example.org/demo",
            "`demo @ git+https://****@example.org/demo` names no wheel",
        ),
        ("demo @ git+https://example.org/demo.git@main", "names no wheel"),
        ("demo @ https://example.org/demo-1.0.tar.gz", "names no wheel"),
        ("demo @ ./folder", "names no wheel"),
        (
            "demo @ https://user:secret@example.org/demo-1.0-py3-none-any.whl",
            "holds a login",
        ),
        (
            "demo @ https://example.org/${HOME}/demo-1.0-py3-none-any.whl",
            "environment variable",
        ),
        (
            "demo @ https://example.org/demo-1.0-py3-none-any.whl#md5=1",
            "ends with `#md5=1`",
        ),
        (
            "demo @ https://example.org/demo-1.0-py3-none-any.whl#sha256=12",
            "ends with `#sha256=12`",
        ),
        (
            "demo @ https://example.org/other-1.0-py3-none-any.whl",
            "is a wheel of other",
        ),
        ("demo @ https://example.org/demo.whl", "not how a wheel is called"),
        (
            "demo @ file://server/w/demo-1.0-py3-none-any.whl",
            "not by file with a host",
        ),
    ];
    for (written, expected) in rows {
        let error = wheel_of(&read(written)).expect_err(written).to_string();
        assert!(
            error.contains(expected) && !error.contains("secret"),
            "{written}: {error}"
        );
    }
    let bare = [
        ("./folder", Sources::Folder("./folder".to_owned())),
        (".", Sources::Folder(".".to_owned())),
        ("./demo-1.0.tar.gz", Sources::Archive("./demo-1.0.tar.gz".to_owned())),
        (
            "git+https://example.org/demo",
            Sources::Repository("git+https://example.org/demo".to_owned()),
        ),
        (
            "https://example.org/demo-1.0.zip",
            Sources::Archive("https://example.org/demo-1.0.zip".to_owned()),
        ),
    ];
    for (written, expected) in bare {
        assert_eq!(
            parse(written).expect_err(written),
            SyntaxError::Sources(expected),
            "{written}"
        );
    }
    assert!(matches!(parse("a ==== 1"), Err(SyntaxError::Grammar(_))));
    assert!(matches!(parse("demo-1.whl"), Err(SyntaxError::Grammar(_))));
}

#[test]
fn arguments_are_seen_from_the_project() {
    let (cwd, project) = (Path::new("/p/sub"), Path::new("/p"));
    let rows = [
        ("x.whl==1", "x.whl==1"),
        ("torch == 2.7", "torch == 2.7"),
        ("demo-1.0-py3-none-any.whl", "demo @ ./sub/demo-1.0-py3-none-any.whl"),
        (
            "../dist/demo-1.0-py3-none-any.whl[a]",
            "demo[a] @ ./dist/demo-1.0-py3-none-any.whl",
        ),
        (
            "../../w/demo-1.0-py3-none-any.whl",
            "demo @ ../w/demo-1.0-py3-none-any.whl",
        ),
        (
            "/p/dist/demo-1.0-py3-none-any.whl",
            "demo @ ./dist/demo-1.0-py3-none-any.whl",
        ),
        (
            "/w/demo-1.0-py3-none-any.whl",
            "demo @ file:///w/demo-1.0-py3-none-any.whl",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(given(text, cwd, project).expect(text), expected, "{text}");
    }
}
