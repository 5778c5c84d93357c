//! Passwords of indexes: where they are found, to whom they are sent, and that nothing else ever holds them.

use std::fs;
use std::path::Path;

use crate::support::encoding::basic_login;
use crate::support::server::{Action, Fault, LoggedRequest, Server};
use crate::support::world::{Output, World, hints, text};

const USER: &str = "corp-user";
const SECRET: &str = "hunter2-S3CRET";
const WANTED: &str = "filelock==3.18.0";
const ON_WHEEL: &str = "/filelock-3.18.0-py3-none-any.whl$";

/// A world whose package index wants [`USER`] and [`SECRET`], and whose variables name it by `login`, which is empty or
/// ends in `@`.
fn world(login: &str) -> Option<World> {
    let mut world = World::new();
    world.any_python()?;
    world.server().require_login(USER, SECRET);
    let index = world
        .server()
        .index_url()
        .replace("http://", &format!("http://{login}"));
    world.set("PIP_INDEX_URL", index);
    Some(world)
}

/// Locks and builds one package of the package index, as talkative as it gets.
fn install(world: &World) -> Vec<Output> {
    let python = world.any_python().expect("the test has asked for it");
    [
        &["lock", "-v", "--channel", "pip", "--python", &python.version, WANTED][..],
        &[
            "lock",
            "-v",
            "--urls",
            "--channel",
            "pip",
            "--python",
            &python.version,
            WANTED,
        ],
        &["build", "-v", "--json", "--progress", "json", "--channel", "pip"],
        &["export", "--channel", "pip", "--format", "requirements"],
        &["export", "--channel", "pip", "--format", "pylock"],
        &["status", "-v"],
    ]
    .map(|arguments| world.flambeau(arguments))
    .into()
}

/// Fails where an output or a file of the world, those under `except` aside, holds the secret in clear, percent-encoded
/// or as it is sent.
#[track_caller]
fn assert_kept(world: &World, outputs: &[Output], except: &[&str]) {
    let sent = basic_login(USER, SECRET);
    let forms = [SECRET, sent.trim_start_matches("Basic ")];
    for output in outputs {
        let shown = output.to_string();
        assert!(forms.iter().all(|form| !shown.contains(form)), "{shown}");
    }
    let except: Vec<_> = except.iter().map(|path| world.path(path)).collect();
    let mut files = 0;
    search(&world.path(""), &mut |path, bytes| {
        files += 1;
        let holds = |form: &&str| bytes.windows(form.len()).any(|window| window == form.as_bytes());
        assert!(
            except.iter().any(|kept| path == kept) || !forms.iter().any(holds),
            "{}",
            path.display()
        );
    });
    assert!(files > except.len(), "only {files} files were searched");
}

fn search(folder: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().expect("it is there");
        if kind.is_dir() {
            search(&entry.path(), look);
        } else if kind.is_file() {
            look(&entry.path(), &fs::read(entry.path()).unwrap_or_default());
        }
    }
}

fn authorization(request: &LoggedRequest) -> Option<&str> {
    request.header("authorization")
}

#[track_caller]
fn assert_installed(world: &World, outputs: Vec<Output>, except: &[&str]) {
    let outputs: Vec<Output> = outputs.into_iter().map(Output::ok).collect();
    world.venv_python(&["-c", "import filelock"]).ok();
    assert_kept(world, &outputs, except);
}

#[test]
fn a_login_in_the_url_serves_and_is_written_nowhere() {
    let Some(world) = world(&format!("{USER}:{SECRET}@")) else {
        return;
    };
    assert_installed(&world, install(&world), &[]);
    let requests = world.server().requests();
    assert!(requests.iter().any(|request| request.path.ends_with(".whl")));
    let sent = basic_login(USER, SECRET);
    assert!(requests.iter().all(|request| authorization(request) == Some(&sent)));
}

#[test]
fn netrc_serves_in_the_home_folder_and_where_a_variable_says() {
    let entry = format!("machine 127.0.0.1 login {USER} password {SECRET}\n");
    for (place, variable) in [("home/.netrc", false), ("tmp/my netrc", true)] {
        let Some(mut world) = world("") else { return };
        fs::write(world.path(place), &entry).expect("a writable world");
        if variable {
            let path = world.path(place).display().to_string();
            world.set("NETRC", path);
        }
        assert_installed(&world, install(&world), &[place]);
    }
}

/// A `keyring` that notes what it is asked.
fn keyring(world: &World) {
    let notes = world.path("tmp/asked");
    let script = format!(
        "#!/bin/sh\necho \"$*\" >> '{}'\n[ \"$3\" = {USER} ] && echo '{SECRET}'\n",
        notes.display()
    );
    world.fake_script("keyring", &script);
}

fn asked(world: &World) -> Vec<String> {
    let notes = fs::read_to_string(world.path("tmp/asked")).unwrap_or_default();
    notes.lines().map(str::to_owned).collect()
}

#[test]
fn the_keyring_is_asked_where_a_server_wants_a_login() {
    let Some(world) = world(&format!("{USER}@")) else {
        return;
    };
    keyring(&world);
    let python = world.any_python().expect("it is there");
    let lock = world.flambeau(&["lock", "--channel", "pip", "--python", &python.version, WANTED]);
    let service = world.server().index_url();
    assert_eq!(asked(&world), [format!("get {service} {USER}")], "{lock}");
    let mut outputs = install(&world);
    outputs.push(lock);
    assert_installed(&world, outputs, &["bin/keyring"]);
}

#[test]
fn the_keyring_is_asked_first_where_that_is_wanted_and_never_where_not() {
    for variable in ["PIP_KEYRING_PROVIDER", "UV_KEYRING_PROVIDER"] {
        let Some(mut world) = world(&format!("{USER}@")) else {
            return;
        };
        keyring(&world);
        world.set(variable, "subprocess");
        assert_installed(&world, install(&world), &["bin/keyring"]);
        assert!(world.server().requests().iter().all(|request| request.status != 401));
    }
    let Some(mut world) = world(&format!("{USER}@")) else {
        return;
    };
    keyring(&world);
    world.set("PIP_KEYRING_PROVIDER", "disabled");
    let error = world.flambeau_error(4, &["lock", "--channel", "pip", WANTED]);
    assert!(text(&error, "message").contains("401"), "{error:#}");
    assert!(hints(&error).contains("keyring"), "{error:#}");
    assert_eq!(asked(&world), Vec::<String>::new());
    world.set("PIP_KEYRING_PROVIDER", "elsewhere");
    let error = world.flambeau_error(1, &["lock", "--channel", "pip", WANTED]);
    assert!(text(&error, "message").contains("elsewhere"), "{error:#}");
}

#[test]
fn a_refused_login_is_told_without_it() {
    let Some(world) = world(&format!("{USER}:{SECRET}@")) else {
        return;
    };
    world.server().require_login(USER, "another");
    let mut outputs = install(&world);
    assert_eq!(outputs[0].status.code(), Some(4), "{}", outputs[0]);
    assert!(outputs[0].stderr.contains("401"), "{}", outputs[0]);
    // Neither in what is said of a URL that is no URL, nor of one that is refused.
    for (url, code) in [("http//", 1), ("http://index.invalid/simple/", 4)] {
        let url = url.replace("//", &format!("//{USER}:{SECRET}@"));
        let output = world.flambeau(&["lock", "-v", "--channel", "pip", "--index-url", &url, WANTED]);
        assert!(
            [code, 2].contains(&output.status.code().unwrap_or_default()),
            "{output}"
        );
        outputs.push(output);
    }
    world.write(
        "pyproject.toml",
        format!("[tool.flambeau]\nindex-url = 'http//{USER}:{SECRET}@x'\n"),
    );
    outputs.push(world.flambeau(&["lock", "-v"]).fails(1));
    for line in [
        "--index-url http://u:P@127.0.0.1:9/",
        "filelock @ http://u:P@127.0.0.1:9/x.zip",
    ] {
        world.write("requirements.txt", line.replace("u:P", &format!("{USER}:{SECRET}")));
        outputs.push(world.flambeau(&["build", "-v", "--from", "requirements.txt"]));
    }
    assert_kept(
        &world,
        &outputs,
        &["project/pyproject.toml", "project/requirements.txt"],
    );
}

#[test]
fn a_redirect_takes_no_login_to_another_port() {
    let entry = format!("machine 127.0.0.1 login {USER} password {SECRET}\n");
    for (login, netrc, with_keyring) in [
        (format!("{USER}:{SECRET}@"), false, false),
        (String::new(), true, false),
        (format!("{USER}@"), false, true),
    ] {
        let Some(mut world) = world(&login) else { return };
        let mut except = vec![];
        if netrc {
            fs::write(world.path("home/.netrc"), &entry).expect("a writable world");
            except.push("home/.netrc");
        }
        if with_keyring {
            keyring(&world);
            world.set("PIP_KEYRING_PROVIDER", "subprocess");
            except.push("bin/keyring");
        }
        let other = Server::start();
        let target = format!("{}{{path}}", other.url());
        world.server().fault(Fault::on(ON_WHEEL, Action::Redirect(302, target)));
        assert_installed(&world, install(&world), &except);
        let strayed = other.requests();
        assert!(!strayed.is_empty());
        assert!(
            strayed.iter().all(|request| authorization(request).is_none()),
            "{strayed:?}"
        );
    }
}

#[test]
fn a_redirect_takes_no_login_to_another_name_of_the_same_machine() {
    let Some(world) = world(&format!("{USER}:{SECRET}@")) else {
        return;
    };
    let target = world.server().url().replace("127.0.0.1", "localhost") + "{path}";
    world
        .server()
        .fault(Fault::on(ON_WHEEL, Action::Redirect(302, target)).times(1));
    let python = world.any_python().expect("it is there");
    let lock = world.flambeau(&["lock", "--channel", "pip", "--python", &python.version, WANTED]);
    let build = world.flambeau(&["build", "--channel", "pip"]);
    let strayed: Vec<_> = world
        .server()
        .requests()
        .into_iter()
        .filter(|request| request.header("host").is_some_and(|host| host.starts_with("localhost")))
        .collect();
    assert!(!strayed.is_empty(), "{lock}{build}");
    assert!(
        strayed.iter().all(|request| authorization(request).is_none()),
        "{strayed:?}"
    );
    assert_kept(&world, &[lock, build], &[]);
}

#[test]
fn a_redirects_target_gets_its_own_entry_of_netrc() {
    let Some(world) = world("") else { return };
    let entries = format!(
        "machine 127.0.0.1 login {USER} password {SECRET}\nmachine localhost login other password its-own\n\
         default login {USER} password {SECRET}\n"
    );
    fs::write(world.path("home/.netrc"), entries).expect("a writable world");
    let other = Server::start();
    other.require_login("other", "its-own");
    let target = other.url().replace("127.0.0.1", "localhost") + "{path}";
    world.server().fault(Fault::on(ON_WHEEL, Action::Redirect(302, target)));
    assert_installed(&world, install(&world), &["home/.netrc"]);
    assert!(other.requests().iter().any(|request| request.status == 200));
}
