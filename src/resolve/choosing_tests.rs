//! Which versions count and which of them is taken: times, the lowest, overrides, optional targets, bad metadata.

use super::testing::{World, failure, pins, request, requirement, solve};
use super::{PreReleases, Preferences, Request, ResolveError, Upgrade, Versions, Warning, resolve};

fn answer(world: &World, request: &Request) -> Result<Vec<String>, String> {
    let resolutions = resolve(request, world).map_err(|error| {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        format!("{error}{}", source.unwrap_or_default())
    })?;
    Ok(pins(&resolutions.targets[0]))
}

fn linux(requirements: &[&str]) -> Request {
    request(requirements, &["cp311-linux_x86_64"])
}

#[test]
fn what_was_uploaded_too_late_does_not_exist() {
    let index = "a 1.0 {time=2025-01-01T00:00:00Z} : b\na 2.0 {time=2025-05-02T00:00:00Z} : b\n\
                 b 1.0rc1 {time=2025-01-01T00:00:00Z}\nb 1.0 {time=2025-06-01T00:00:00Z}\n\
                 c 1.0 {time=2025-06-01T00:00:00.5Z}\nd 1.0\ne 1.0 {time=2025-01-01T00:00:00Z}\ne 1.1";
    let world = World::new(index);
    let until = |requirements: &[&str], cutoff: &str| {
        let request = Request {
            exclude_newer: Some(cutoff.parse().expect("a moment")),
            ..linux(requirements)
        };
        answer(&world, &request)
    };
    // The pre-release of b is all there is of it by then.
    assert_eq!(until(&["a"], "2025-05-01"), Ok(vec!["a 1.0".into(), "b 1.0rc1".into()]));
    assert_eq!(until(&["a"], "2025-05-02"), Ok(vec!["a 2.0".into(), "b 1.0rc1".into()]));
    assert_eq!(until(&["a"], "2026-01-01"), Ok(vec!["a 2.0".into(), "b 1.0".into()]));
    // A file without a time beside others that have one cannot be shown to be old enough.
    assert_eq!(until(&["e"], "2026-01-01"), Ok(vec!["e 1.0".into()]));
    assert_eq!(
        until(&["c"], "2025-05-01"),
        Err(
            "cp311-manylinux_2_28_x86_64 cannot install c (wanted by your requirements): c 1.0 was uploaded at \
             2025-06-01T00:00:00.5Z, which exclude-newer leaves out"
                .into()
        )
    );
    assert_eq!(
        until(&["d"], "2025-05-01"),
        Err(
            "could not read the page of d on the package index: the package index does not say when the files of d \
             were uploaded, so exclude-newer cannot be obeyed"
                .into()
        )
    );
}

#[test]
fn times_of_a_channel_are_no_release_times() {
    let mut world = World::new("torch 2.7.0 {time=2025-06-01T00:00:00Z} : a\na 1.0 {time=2025-01-01T00:00:00Z}");
    world.channel.insert("torch".to_owned());
    let request = Request {
        exclude_newer: Some("2025-05-01".parse().expect("a day")),
        ..linux(&["torch"])
    };
    let resolutions = resolve(&request, &world).expect("an answer");
    assert_eq!(pins(&resolutions.targets[0]), ["a 1.0", "torch 2.7.0"]);
    assert_eq!(
        resolutions.targets[0].warnings,
        [Warning::NoReleaseTimes {
            name: "torch".parse().expect("a name"),
            place: "the channel cu118".to_owned(),
        }]
    );
}

#[test]
fn the_lowest_of_what_is_asked_for_directly() {
    let world = World::new(
        "a 1.0 {wheels=cp39-cp39-win_amd64}\na 1.1 : b\na 1.2+x : b\na 1.2+y : b\na 2.0\nb 1.0\nb 2.0\n\
         c 0.9 {yanked=bad}\nc 1.0\nc 2.0a1\nd 1.0 : a>=1.2",
    );
    let lowest = |requirements: &[&str]| {
        let request = Request {
            versions: Versions::LowestDirect,
            ..linux(requirements)
        };
        answer(&world, &request).expect("an answer")
    };
    assert_eq!(lowest(&["a"]), ["a 1.1", "b 2.0"]);
    assert_eq!(lowest(&["a>=1.2"]), ["a 1.2+y", "b 2.0"]);
    assert_eq!(lowest(&["a", "b"]), ["a 1.1", "b 1.0"]);
    assert_eq!(lowest(&["c"]), ["c 1.0"]);
    assert_eq!(lowest(&["a", "d"]), ["a 1.2+y", "b 2.0", "d 1.0"]);
    assert_eq!(lowest(&["d"]), ["a 2.0", "d 1.0"]);
}

#[test]
fn each_target_has_its_own_lowest() {
    let world = World::new("a 1.0 {wheels=cp311-cp311-manylinux_2_28_x86_64}\na 2.0");
    let request = Request {
        versions: Versions::LowestDirect,
        ..request(&["a"], &["cp311-linux_x86_64", "cp312-linux_x86_64"])
    };
    let resolutions = resolve(&request, &world).expect("an answer").targets;
    assert_eq!(
        (pins(&resolutions[0]), pins(&resolutions[1])),
        (vec!["a 1.0".into()], vec!["a 2.0".into()])
    );
}

#[test]
fn pre_releases_are_a_matter_of_choice() {
    let world = World::new("a 1.0 : b\na 2.0rc1 : b\nb 1.0rc1");
    let with = |pre_releases| {
        answer(
            &world,
            &Request {
                pre_releases,
                ..linux(&["a"])
            },
        )
    };
    assert_eq!(
        with(PreReleases::IfNecessaryOrExplicit),
        Ok(vec!["a 1.0".into(), "b 1.0rc1".into()])
    );
    assert_eq!(with(PreReleases::Allow), Ok(vec!["a 2.0rc1".into(), "b 1.0rc1".into()]));
    let error = with(PreReleases::Refuse).expect_err("b has nothing else");
    assert!(error.contains("b 1.0rc1 is a pre-release"), "{error}");
}

#[test]
fn overrides_replace_what_packages_ask_for() {
    let world = World::new(
        "a 1.0 {extras=x} : b<2 | c[y] ; extra=='x' | a[z] ; extra=='x' | d ; extra=='z'\nb 1.0\nb 2.0 : c\n\
         c 1.0 {extras=y} : d ; extra=='y'\nc 2.0 {extras=y}\nd 1.0\nd 3.0",
    );
    let with = |requirements: &[&str], overrides: &[&str]| {
        let overrides = overrides.iter().map(|text| requirement(text)).collect();
        answer(
            &world,
            &Request {
                overrides,
                ..linux(requirements)
            },
        )
    };
    assert_eq!(
        with(&["a"], &["b>=2"]),
        Ok(vec!["a 1.0".into(), "b 2.0".into(), "c 2.0".into()])
    );
    // One that does not count here takes the demand away.
    assert_eq!(with(&["a"], &["b; sys_platform == 'win32'"]), Ok(vec!["a 1.0".into()]));
    assert_eq!(
        with(
            &["a"],
            &["b==1.0; sys_platform == 'win32'", "b==2.0; sys_platform == 'linux'"]
        ),
        Ok(vec!["a 1.0".into(), "b 2.0".into(), "c 2.0".into()])
    );
    // It asks for nobody that nobody asks for, and leaves a package's own extras alone.
    assert_eq!(with(&["d"], &["b==1.0", "d==1.0"]), Ok(vec!["d 3.0".into()]));
    assert_eq!(
        with(&["a[x]"], &["c==1.0", "a==9"]),
        Ok(vec!["a 1.0".into(), "b 1.0".into(), "c 1.0".into(), "d 3.0".into()])
    );
    let error = with(&["a", "b<2"], &["b>=2"]).expect_err("what the user asks for stays");
    assert!(error.contains("a 1.0 depends on b >=2"), "{error}");
}

#[test]
fn an_optional_target_without_an_answer_is_left_out() {
    let world = World::new("a 1.0 : b\nb 1.0 {wheels=cp311-cp311-manylinux_2_28_x86_64,cp312-cp312-win_amd64}");
    let mut request = request(&["a"], &["cp311-linux_x86_64", "cp311-win_amd64", "cp312-win_amd64"]);
    for wanted in &mut request.targets {
        wanted.optional = true;
    }
    let resolutions = resolve(&request, &world).expect("an answer");
    let targets: Vec<String> = resolutions.targets.iter().map(|one| one.target.to_string()).collect();
    assert_eq!(targets, ["cp311-manylinux_2_28_x86_64", "cp312-win_amd64"]);
    let left_out: Vec<String> = resolutions
        .left_out
        .iter()
        .map(|(_, error)| error.to_string())
        .collect();
    assert_eq!(
        left_out,
        [
            "cp311-win_amd64 cannot install b (wanted by a 1.0): b 1.0 has no wheel for this Python; there are wheels \
             for Python 3.12"
        ]
    );
    // Nothing is left out of nothing, a failed index is no verdict, and what is not optional stays an error.
    request.requirements = vec![requirement("nope")];
    assert!(matches!(
        resolve(&request, &world),
        Err(ResolveError::UnknownProject { .. })
    ));
    request.requirements = vec![requirement("a")];
    let mut broken = World::new("a 1.0");
    broken.broken.insert("a".to_owned());
    assert!(matches!(resolve(&request, &broken), Err(ResolveError::Page { .. })));
    request.targets[1].optional = false;
    assert!(matches!(resolve(&request, &world), Err(ResolveError::Excluded { .. })));
}

#[test]
fn metadata_that_cannot_be_understood_excludes_its_version() {
    let mut world = World::new("a 1.0\na 2.0\nb 1.0");
    world.unsound.insert("a-2.0-py3-none-any.whl".to_owned());
    world.unsound.insert("b-1.0-py3-none-any.whl".to_owned());
    let resolutions = resolve(&linux(&["a"]), &world).expect("an answer");
    assert_eq!(pins(&resolutions.targets[0]), ["a 1.0"]);
    let said: Vec<String> = resolutions.targets[0]
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        said,
        ["a 2.0 was passed over: it has metadata that cannot be understood (line 7 says nothing)"]
    );
    assert_eq!(
        failure(&world, &["a==2.0"]),
        "cp311-manylinux_2_28_x86_64 cannot install a ==2.0 (wanted by your requirements): a 2.0 has metadata that \
         cannot be understood (line 7 says nothing)"
    );
    assert!(failure(&world, &["b"]).contains("b 1.0 has metadata that cannot be understood"));
    assert_eq!(solve(&world, &["a==1.0"]).expect("an answer"), ["a 1.0"]);
}

#[test]
fn what_a_lockfile_needed_is_asked_for_early_and_nothing_else() {
    let text = "lock-version = \"1.0\"\ncreated-by = \"x\"\n\
                [[packages]]\nname = \"a\"\nversion = \"1.0\"\ndependencies = [{ name = \"b\" }]\nwheels = []\n\
                [[packages]]\nname = \"b\"\nversion = \"1.0\"\nwheels = []\n\
                [[packages]]\nname = \"z\"\nversion = \"1.0\"\nwheels = []\n";
    // An entry without wheels is no lockfile; these have one each.
    let wheel = |name: &str| {
        format!(
            "wheels = [{{ name = \"{name}-1.0-py3-none-any.whl\", url = \"https://example.org/{name}-1.0-py3-none-any.whl\", \
             hashes = {{ sha256 = \"{}\" }} }}]",
            "0".repeat(64)
        )
    };
    let text = ["a", "b", "z"].iter().fold(text.to_owned(), |text, name| {
        text.replacen("wheels = []", &wheel(name), 1)
    });
    let lockfile = crate::lockfile::text::parse(&text, &crate::backend::Channel::pip())
        .expect("a lockfile")
        .lockfile;
    let world = World::new("a 1.0 : b\na 2.0 : b\nb 1.0\nz 1.0");
    for (upgrade, expected) in [(Upgrade::None, "a 1.0"), (Upgrade::All, "a 2.0")] {
        world.asked.lock().expect("no panic").clear();
        let request = Request {
            preferences: Preferences::from_lockfile(&lockfile, &upgrade),
            ..linux(&["a"])
        };
        assert_eq!(answer(&world, &request), Ok(vec![expected.into(), "b 1.0".into()]));
        let asked = world.asked.lock().expect("no panic").clone();
        assert!(!asked.contains(&"z".to_owned()), "{asked:?}");
        // Both pages were asked for before any metadata was.
        let pages = asked.iter().take(2).cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(pages, ["a".to_owned(), "b".to_owned()].into());
        assert_eq!(world.asked_twice(), [""; 0]);
    }
}

/// A request in which a requirement names `file` by URL where `marker` fits.
fn with_direct(mut request: super::Request, file: &str, marker: &str) -> super::Request {
    let url: url::Url = format!("https://files.example.org/{file}").parse().expect("a URL");
    let filename: crate::pep::WheelFilename = file.parse().expect("a wheel name");
    let (name, version) = (filename.name.clone(), filename.version.clone());
    request
        .requirements
        .push(requirement(&format!("{name}=={version} ; {marker}")));
    request.direct.entry(name).or_default().push(super::Direct {
        marker: marker.parse().expect("a marker"),
        requirement: format!("{file} by URL"),
        url: url.clone(),
        file: crate::index::IndexFile {
            filename,
            file: file.to_owned(),
            url,
            digest: Some(crate::digest::WheelDigest::of(file.as_bytes())),
            size: Some(1),
            requires_python: None,
            yanked: None,
            metadata: None,
            upload_time: None,
        },
    });
    request
}

#[test]
fn a_wheel_that_a_requirement_names_is_the_only_one_where_it_counts() {
    let mut world = World::new(
        "b 3.0
         user 1.0 : b>=1
         url-user 1.0 : b @ https://files.example.org/b-2.0rc1-py3-none-any.whl
         stranger 1.0 : b @ https://evil.example.org/b-2.0rc1-py3-none-any.whl",
    );
    let file = "b-2.0rc1-py3-none-any.whl";
    let at = format!("https://files.example.org/{file}");
    let metadata = world.metadata_of("user");
    world.put_metadata(
        &at,
        crate::index::CoreMetadata {
            name: "b".parse().expect("a name"),
            version: "2.0rc1".parse().expect("a version"),
            requires_dist: Vec::new(),
            ..metadata
        },
    );
    let targets = ["cp311-linux_x86_64", "cp311-win_amd64"];
    // On Windows the name is the index's.
    let request = with_direct(
        request(&["user", "url-user; sys_platform == 'linux'"], &targets),
        file,
        "sys_platform == 'linux'",
    );
    let found = resolve(&request, &world).expect("an answer");
    assert_eq!(pins(&found.targets[0]), ["b 2.0rc1", "url-user 1.0", "user 1.0"]);
    assert_eq!(pins(&found.targets[1]), ["b 3.0", "user 1.0"]);

    let other = with_direct(
        super::testing::request(&["stranger"], &targets[..1]),
        file,
        "sys_platform == 'linux'",
    );
    let error = resolve(&other, &world).expect_err("another URL").to_string();
    assert!(error.contains("only your own requirements may name a wheel"), "{error}");
    let other = with_direct(
        super::testing::request(&["user", "b>=3"], &targets[..1]),
        file,
        "sys_platform == 'linux'",
    );
    let before = world
        .asked
        .lock()
        .expect("no panic")
        .iter()
        .filter(|what| *what == "b")
        .count();
    let error = resolve(&other, &world).expect_err("a contradiction").to_string();
    assert!(error.contains("b >=3, ==2.0rc1"), "{error}");
    let after = world
        .asked
        .lock()
        .expect("no panic")
        .iter()
        .filter(|what| *what == "b")
        .count();
    assert_eq!(before, after, "no index hears of it");
}
