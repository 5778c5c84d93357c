//! pip's configuration on machines that are folders.

use std::collections::HashMap;

use super::*;

/// A machine: a root folder with `etc`, `home` and `prefix`, and variables.
struct Machine {
    root: tempfile::TempDir,
    variables: HashMap<String, String>,
}

impl Machine {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().expect("a folder"),
            variables: HashMap::new(),
        }
    }

    fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    fn path(&self, path: &str) -> String {
        self.root.path().join(path).display().to_string()
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("written");
        self
    }

    fn with<T>(&self, use_it: impl FnOnce(Surroundings<'_>) -> T) -> T {
        let variable = |name: &str| self.variables.get(name).cloned();
        let [home, etc, prefix] = ["home", "etc", "prefix"].map(|folder| self.root.path().join(folder));
        use_it(Surroundings {
            variable: &variable,
            home: Some(&home),
            etc: &etc,
            prefix: Some(&prefix),
        })
    }

    fn settings(&self) -> Result<PipSettings, PipError> {
        self.with(PipSettings::read)
    }

    /// The index that is found, or who is to blame that there is none.
    fn index(&self, asked: &[&str], builtin: Option<&str>) -> Result<Option<(String, String)>, PipError> {
        let asked: Vec<_> = asked
            .iter()
            .map(|value| Given {
                value: (*value).to_owned(),
                origin: "--index-url".to_owned(),
            })
            .collect();
        let settings = self.settings()?;
        let found = package_index(&asked, &settings, || Ok::<_, PipError>(builtin.map(str::to_owned)))?;
        Ok(found.map(|index| (index.url.into(), index.origin)))
    }

    fn url(&self) -> String {
        self.index(&[], Some("https://builtin.example.org/simple"))
            .expect("sound")
            .expect("there")
            .0
    }
}

fn conf(url: &str) -> String {
    format!("[global]\nindex-url = https://{url}/\n")
}

#[test]
fn the_strongest_source_wins() {
    let machine = Machine::new();
    assert_eq!(machine.url(), "https://builtin.example.org/simple");
    assert_eq!(machine.index(&[], None).expect("sound"), None);
    // Each step adds a stronger one.
    let machine = machine.file("etc/xdg/pip/pip.conf", &conf("xdg"));
    assert_eq!(machine.url(), "https://xdg/");
    let machine = machine.file("etc/pip.conf", &conf("etc"));
    assert_eq!(machine.url(), "https://etc/");
    let machine = machine.file("home/.pip/pip.conf", &conf("legacy"));
    assert_eq!(machine.url(), "https://legacy/");
    let machine = machine.file("home/.config/pip/pip.conf", &conf("user"));
    assert_eq!(machine.url(), "https://user/");
    let machine = machine.file("prefix/pip.conf", &conf("site"));
    assert_eq!(machine.url(), "https://site/");
    let named = machine.path("named.conf");
    let machine = machine.file("named.conf", &conf("named")).set("PIP_CONFIG_FILE", named);
    assert_eq!(machine.url(), "https://named/");
    let machine = machine.file("etc/pip.conf", "[install]\nindex-url = https://install/\n");
    assert_eq!(
        machine.url(),
        "https://install/",
        "a section for the command beats [global] of any file"
    );
    let machine = machine.set("PIP_INDEX_URL", "https://pip/");
    assert_eq!(machine.url(), "https://pip/");
    let machine = machine.set("UV_DEFAULT_INDEX", "corp=https://uv/?a=b");
    assert_eq!(machine.url(), "https://uv/?a=b");
    let (url, origin) = machine
        .index(&["https://asked/", "https://project/"], None)
        .expect("sound")
        .expect("there");
    assert_eq!((url.as_str(), origin.as_str()), ("https://asked/", "--index-url"));
}

#[test]
fn a_named_file_replaces_the_users_and_dev_null_all_of_them() {
    let machine = Machine::new()
        .file("etc/pip.conf", "[global]\nproxy = http://etc\n")
        .file("home/.config/pip/pip.conf", &conf("user"))
        .file("named.conf", "[global]\ntimeout = 3\n");
    let named = machine.path("named.conf");
    let machine = machine.set("PIP_CONFIG_FILE", named);
    let settings = machine.settings().expect("sound");
    assert_eq!(
        (settings.index_url, settings.proxy.as_deref()),
        (None, Some("http://etc"))
    );
    assert_eq!(settings.timeout, Some(Duration::from_secs(3)));
    let machine = machine.set("PIP_CONFIG_FILE", "/dev/null");
    assert_eq!(machine.settings().expect("sound"), PipSettings::default());
    let absent = machine.path("absent.conf");
    let machine = machine.set("PIP_CONFIG_FILE", absent);
    assert_eq!(machine.url(), "https://user/");
}

#[test]
fn xdg_folders_are_where_the_variables_say() {
    let machine = Machine::new()
        .file("one/pip/pip.conf", &conf("one"))
        .file("two/pip/pip.conf", "[global]\nno-index = yes\n")
        .file("mine/pip/pip.conf", &conf("mine"))
        .file("home/.config/pip/pip.conf", &conf("not-read"));
    let folders = format!("{}:{}", machine.path("one"), machine.path("two"));
    let machine = machine.set("XDG_CONFIG_DIRS", folders);
    assert!(machine.settings().expect("sound").no_index);
    let mine = machine.path("mine");
    assert_eq!(machine.set("XDG_CONFIG_HOME", mine).url(), "https://mine/");
}

#[test]
fn the_other_settings_are_read() {
    let machine = Machine::new()
        .file(
            "etc/pip.conf",
            "[global]\nfind-links =\n    https://example.org/wheels/\n    ~/wheels\n\
             trusted-host = a.example.org\n    b.example.org:8080\ncert = ~/ca.pem\n",
        )
        .set("PIP_PROXY", "http://user:secret@proxy.example.org:3128")
        .set("PIP_NO_INDEX", "")
        .set("PIP_INDEX_URL", "https://u:secret@example.org/")
        .set("REQUESTS_CA_BUNDLE", "/not/used.pem");
    let settings = machine.settings().expect("sound");
    assert_eq!(
        settings.find_links,
        ["https://example.org/wheels/".to_owned(), machine.path("home/wheels")]
    );
    assert_eq!(settings.trusted_hosts, ["a.example.org", "b.example.org:8080"]);
    assert_eq!(settings.cert, Some(machine.path("home/ca.pem").into()));
    assert!(!settings.no_index && settings.proxy.is_some());
    assert!(!format!("{settings:?}").contains("secret"));

    let machine = machine.set("PIP_FIND_LINKS", "/a /b").set("PIP_NO_INDEX", "1");
    let settings = machine.settings().expect("sound");
    assert_eq!(
        (settings.find_links, settings.no_index),
        (vec!["/a".to_owned(), "/b".to_owned()], true)
    );
    let bundle = Machine::new()
        .set("CURL_CA_BUNDLE", "/ca.pem")
        .settings()
        .expect("sound");
    assert_eq!(bundle.cert, Some("/ca.pem".into()));
}

#[test]
fn a_second_index_is_refused_with_the_table_to_write() {
    let machine = Machine::new().set(
        "PIP_EXTRA_INDEX_URL",
        "https://u:secret@corp.example.org/simple/ https://other.example.org/simple",
    );
    let settings = machine.settings().expect("sound");
    let error = settings.check_extra(&[]).expect_err("two places").to_string();
    assert!(error.contains("PIP_EXTRA_INDEX_URL"), "{error}");
    assert!(
        error.contains(
            "    [[tool.flambeau.index]]\n    name = \"private\"\n    url = \"https://corp.example.org/simple\"\n    packages = ["
        ),
        "{error}"
    );
    assert!(
        error.contains("name = \"private2\"") && !error.contains("secret"),
        "{error}"
    );

    let declared = ["https://corp.example.org/simple", "https://other.example.org/simple/"]
        .map(|url| Url::parse(url).expect("a URL"));
    settings.check_extra(&declared).expect("accounted for");
    assert!(settings.check_extra(&declared[..1]).is_err());
}

#[test]
fn unusable_values_name_who_gave_them_and_hide_what() {
    let error = Machine::new()
        .set("PIP_INDEX_URL", "u:secret@example.org")
        .index(&[], None)
        .expect_err("no URL");
    assert_eq!(
        error.to_string(),
        "the index URL given by PIP_INDEX_URL is no https or http URL"
    );
    let error = Machine::new()
        .set("PIP_NO_INDEX", "maybe")
        .settings()
        .expect_err("no switch");
    assert_eq!(
        error.to_string(),
        "`no-index` (PIP_NO_INDEX) must be true or false, not `maybe`"
    );
    let error = Machine::new()
        .file("etc/pip.conf", "index-url = x")
        .settings()
        .expect_err("no section");
    assert!(matches!(error, PipError::Ini { .. }), "{error:?}");
    let error = Machine::new()
        .file("etc/pip.conf/x", "")
        .settings()
        .expect_err("a folder");
    assert!(matches!(error, PipError::Read(_)), "{error:?}");
}

#[test]
fn names_in_front_of_urls_are_dropped() {
    assert_eq!(
        chosen::unnamed("corp=https://example.org/?a=b"),
        "https://example.org/?a=b"
    );
    assert_eq!(chosen::unnamed("https://example.org/?a=b"), "https://example.org/?a=b");
}

#[test]
fn whatever_adds_or_replaces_an_index_counts_and_the_built_in_one_does_not() {
    const BUILTIN: &str = "https://builtin.example.org/simple";
    let by = |machine: &Machine, asked: Option<&str>| {
        let asked = asked.map(|value| Given {
            value: value.to_owned(),
            origin: "--index-url".to_owned(),
        });
        let declared = [Url::parse("https://declared.example.org/simple").expect("a URL")];
        let settings = machine.settings().expect("sound");
        let builtin = || Ok::<_, PipError>(Some(BUILTIN.to_owned()));
        replacement(asked.as_slice(), &settings, &declared, builtin).expect("sound")
    };
    assert_eq!(by(&Machine::new(), None), None);
    let other = "https://other.example.org/simple";
    let wheels = tempfile::tempdir().expect("a folder");
    let empty = wheels.path().join("empty");
    std::fs::create_dir(&empty).expect("new");
    std::fs::write(wheels.path().join("a-1-py3-none-any.whl"), "").expect("written");
    for (machine, origin) in [
        (Machine::new().set("PIP_INDEX_URL", other), "PIP_INDEX_URL"),
        (Machine::new().set("UV_DEFAULT_INDEX", other), "UV_DEFAULT_INDEX"),
        (Machine::new().set("PIP_NO_INDEX", "1"), "`no-index`"),
        (
            Machine::new().set("PIP_FIND_LINKS", wheels.path().display().to_string()),
            "`find-links`",
        ),
        (Machine::new().set("PIP_EXTRA_INDEX_URL", other), "`extra-index-url`"),
        (
            Machine::new().file("etc/pip.conf", "[global]\nno-index = yes\n"),
            "`no-index`",
        ),
        (
            Machine::new().file(
                "home/.config/pip/pip.conf",
                "[install]\nfind-links = /none https://example.org/wheels\n",
            ),
            "`find-links`",
        ),
        (
            Machine::new().file("prefix/pip.conf", &format!("[global]\nextra-index-url = {other}\n")),
            "`extra-index-url`",
        ),
        (Machine::new().set("PIP_INDEX_URL", "not a URL"), "PIP_INDEX_URL"),
        // A login makes it another one: what its owner lets through is not known.
        (
            Machine::new().set("PIP_INDEX_URL", "https://me:pw@builtin.example.org/simple"),
            "PIP_INDEX_URL",
        ),
    ] {
        assert_eq!(by(&machine, None).as_deref(), Some(origin));
    }
    for (file, key) in [("etc/pip.conf", "index-url"), ("home/.pip/pip.conf", "index_url")] {
        let machine = Machine::new().file(file, &format!("[global]\n{key} = {other}\n"));
        assert_eq!(by(&machine, None), Some(machine.path(file)));
    }
    let machine = Machine::new().file("mine.conf", &format!("[global]\nindex-url = {other}\n"));
    let mine = machine.path("mine.conf");
    assert_eq!(by(&machine.set("PIP_CONFIG_FILE", &mine), None), Some(mine));
    assert_eq!(by(&Machine::new(), Some(other)).as_deref(), Some("--index-url"));
    for same in [
        BUILTIN,
        "https://builtin.example.org/simple/",
        " https://BUILTIN.example.org:443/simple\n",
    ] {
        assert_eq!(by(&Machine::new().set("PIP_INDEX_URL", same), None), None, "{same}");
    }
    for nothing in [
        Machine::new().set("PIP_INDEX_URL", ""),
        Machine::new().set("PIP_NO_INDEX", "0"),
        // There is nothing that could differ.
        Machine::new().set("PIP_FIND_LINKS", format!("/does/not/exist {}", empty.display())),
        Machine::new().set("PIP_EXTRA_INDEX_URL", "https://declared.example.org/simple/"),
        Machine::new().file("etc/pip.conf", "[global]\ntimeout = 60\n"),
    ] {
        assert_eq!(by(&nothing, None), None);
    }
}
