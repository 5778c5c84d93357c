//! What a resolution chooses, and what it says when it cannot.

use super::testing::{World, failure, pins, request, requirement, solve};
use super::{PreReleases, ResolveError, Warning, resolve};

/// What is tried, what the index has, what is asked for, what is chosen.
type Row = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

fn check(rows: &[Row]) {
    for (what, index, requirements, expected) in rows {
        let found = solve(&World::new(index), requirements);
        let expected: Vec<String> = expected.iter().map(|&pin| pin.to_owned()).collect();
        assert_eq!(found.map_err(|error| error.to_string()), Ok(expected), "{what}");
    }
}

#[test]
fn one_target_gets_the_newest_that_fits() {
    let rows: &[Row] = &[
        ("newest", "a 1.0\na 1.10\na 1.9", &["a"], &["a 1.10"]),
        (
            "local label accepted",
            "a 2.7.0+cu118\na 2.8.0",
            &["a==2.7.0"],
            &["a 2.7.0+cu118"],
        ),
        (
            "higher local label",
            "a 2.7.0\na 2.7.0+cpu\na 2.7.0+cu118",
            &["a==2.7.0"],
            &["a 2.7.0+cu118"],
        ),
        (
            "exact local label",
            "a 2.7.0\na 2.7.0+cpu\na 2.7.0+cu118",
            &["a==2.7.0+cpu"],
            &["a 2.7.0+cpu"],
        ),
        (
            "arbitrary equality",
            "a 2.7.0\na 2.7.0+cpu",
            &["a===2.7.0"],
            &["a 2.7.0"],
        ),
        (
            "local label only where a wheel fits",
            "a 2.7.0+cpu {wheels=cp311-cp311-win_amd64}\na 2.7.0 {wheels=cp311-cp311-manylinux_2_28_x86_64}",
            &["a==2.7.0"],
            &["a 2.7.0"],
        ),
        (
            "foreign files on a channel's page",
            "a 2.7.0+rocm6.3\na 2.0.1 {wheels=cp310-cp310-manylinux2014_aarch64}",
            &["a"],
            &["a 2.7.0+rocm6.3"],
        ),
        ("stable before pre-release", "a 1.0\na 2.0rc1", &["a"], &["a 1.0"]),
        ("explicit pre-release", "a 1.0\na 2.0rc1", &["a>=2.0rc1"], &["a 2.0rc1"]),
        ("nothing but pre-releases", "a 2.0a1\na 2.0rc1", &["a"], &["a 2.0rc1"]),
        (
            "pre-release of another package",
            "a 1.0\na 2.0rc1\nb 1.0 : a>=1.0rc1",
            &["b"],
            &["a 1.0", "b 1.0"],
        ),
        ("yanked is skipped", "a 1.0\na 1.1 {yanked=broken}", &["a"], &["a 1.0"]),
        (
            "yanked but pinned",
            "a 1.0\na 1.1 {yanked=broken}",
            &["a==1.1"],
            &["a 1.1"],
        ),
        (
            "yanked but pinned by another",
            "a 1.1 {yanked=}\nb 1.0 : a==1.1",
            &["b"],
            &["a 1.1", "b 1.0"],
        ),
        (
            "Requires-Python on the page",
            "a 1.0 {python=>=3.8}\na 2.0 {python=>=3.12}",
            &["a"],
            &["a 1.0"],
        ),
        (
            "Requires-Python in metadata",
            "a 1.0\na 2.0 {meta-python=>=3.12}",
            &["a"],
            &["a 1.0"],
        ),
        (
            "patch level of Requires-Python",
            "a 1.0\na 2.0 {python=>=3.11.8}\na 1.5 {python=>=3.11.7}",
            &["a"],
            &["a 1.5"],
        ),
        (
            "abi3",
            "a 1.0 {wheels=cp38-abi3-manylinux2014_x86_64}\na 1.1 {wheels=cp312-abi3-manylinux2014_x86_64}",
            &["a"],
            &["a 1.0"],
        ),
        (
            "libc floor",
            "a 1.0\na 1.1 {wheels=cp311-cp311-manylinux_2_34_x86_64}\na 1.2 {wheels=cp311-cp311-musllinux_1_2_x86_64}",
            &["a"],
            &["a 1.0"],
        ),
    ];
    check(rows);
}

#[test]
fn demands_of_packages_are_followed() {
    let rows: &[Row] = &[
        (
            "marker of a requirement",
            "a 1.0\nb 1.0",
            &["a", "b; sys_platform == 'win32'"],
            &["a 1.0"],
        ),
        (
            "marker of a dependency",
            "a 1.0 : b; python_version >= '3.12' | c; platform_machine == 'x86_64'\nb 1.0\nc 1.0",
            &["a"],
            &["a 1.0", "c 1.0"],
        ),
        (
            "extras",
            "a 1.0 {extras=x,y} : b; extra == 'x' | c; extra == 'y' | d\nb 1.0\nc 1.0\nd 1.0",
            &["a[x]"],
            &["a 1.0", "b 1.0", "d 1.0"],
        ),
        (
            "extras that refer to each other",
            "a 1.0 {extras=all,x,y} : a[x,y]; extra == 'all' | a[all]; extra == 'x' | b; extra == 'y'\nb 1.0",
            &["a[all]"],
            &["a 1.0", "b 1.0"],
        ),
        (
            "an extra has its package's version",
            "a 2.0 {extras=x}\na 1.0 {extras=x} : b; extra == 'x'\nb 1.0\nc 1.0 : a<2",
            &["a[x]", "c"],
            &["a 1.0", "b 1.0", "c 1.0"],
        ),
        ("cycles", "a 1.0 : b\nb 1.0 : a", &["a"], &["a 1.0", "b 1.0"]),
        ("a package that needs itself", "a 1.0 : a>=1", &["a"], &["a 1.0"]),
        (
            "a package that contradicts itself",
            "a 1.0\na 2.0 : a<2",
            &["a"],
            &["a 1.0"],
        ),
        (
            "backtracking",
            "a 1.0 : c<2\na 2.0 : c>=2\nb 1.0 : c<2\nc 1.0\nc 2.0",
            &["a", "b==1.0"],
            &["a 1.0", "b 1.0", "c 1.0"],
        ),
        (
            "backtracking past a project that does not exist",
            "a 1.0\na 2.0 : nowhere",
            &["a"],
            &["a 1.0"],
        ),
        (
            "backtracking past a requirement by URL",
            "a 1.0\na 2.0 : b @ https://example.org/b-1.0-py3-none-any.whl",
            &["a"],
            &["a 1.0"],
        ),
        ("names are normalised", "a-b 1.0", &["A_b", "a.B>=1"], &["a-b 1.0"]),
    ];
    check(rows);
}

#[test]
fn policy_for_pre_releases_is_obeyed() {
    let world = World::new("a 1.0\na 2.0rc1");
    for (policy, expected) in [(PreReleases::Allow, "a 2.0rc1"), (PreReleases::Refuse, "a 1.0")] {
        let mut request = request(&["a>=1.0rc1"], &["cp311-linux_x86_64"]);
        request.pre_releases = policy;
        assert_eq!(
            pins(&resolve(&request, &world).expect("an answer").targets[0]),
            [expected]
        );
    }
}

#[test]
fn constraints_narrow_but_ask_for_nothing() {
    let world = World::new("a 1.0\na 2.0\nb 1.0");
    let mut request = request(&["a"], &["cp311-linux_x86_64"]);
    request.constraints = vec![requirement("a<2"), requirement("b==9")];
    assert_eq!(
        pins(&resolve(&request, &world).expect("an answer").targets[0]),
        ["a 1.0"]
    );
}

#[test]
fn the_wheel_of_the_best_tag_is_first_and_all_that_fit_are_there() {
    let world = World::new(
        "a 1.0 {wheels=py3-none-any,cp311-cp311-manylinux2014_x86_64,cp311-cp311-manylinux_2_28_x86_64,\
         cp312-cp312-manylinux_2_28_x86_64,cp311-cp311-win_amd64}\n\
         b 1.0 {wheels=1-py3-none-any,2-py3-none-any}",
    );
    let resolutions = resolve(&request(&["a", "b"], &["cp311-linux_x86_64"]), &world)
        .expect("an answer")
        .targets;
    let files = |position: usize| -> Vec<&str> {
        let wheels = &resolutions[0].packages[position].wheels;
        wheels.iter().map(|wheel| wheel.file.as_str()).collect()
    };
    assert_eq!(
        files(0),
        [
            "a-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
            "a-1.0-cp311-cp311-manylinux2014_x86_64.whl",
            "a-1.0-py3-none-any.whl"
        ]
    );
    assert_eq!(files(1), ["b-1.0-2-py3-none-any.whl", "b-1.0-1-py3-none-any.whl"]);
}

#[test]
fn warnings_name_what_is_odd() {
    let world = World::new("a 1.0 {yanked=it burns}");
    let resolutions = resolve(&request(&["a[nope]==1.0"], &["cp311-linux_x86_64"]), &world)
        .expect("an answer")
        .targets;
    let said: Vec<String> = resolutions[0].warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        said,
        ["a 1.0 has no extra `nope`", "a 1.0 was yanked by its authors: it burns"]
    );
}

#[test]
fn one_missing_thing_is_named_with_who_wants_it() {
    insta::assert_snapshot!(failure(&World::new("a 1.0 : nowhere"), &["a"]),
        @"the package index has no project nowhere (wanted by a 1.0)");
    insta::assert_snapshot!(failure(&World::new("a 1.0\na 1.2"), &["a>=2"]),
        @"the package index has no a >=2 (wanted by your requirements); the newest version there is 1.2");
    insta::assert_snapshot!(failure(&World::new("a sdist"), &["a"]),
        @"the package index has no wheels of a (wanted by your requirements), and nothing is ever built from sources");
    insta::assert_snapshot!(failure(&World::new("a oddity"), &["a"]),
        @"the package index has no wheel of a (wanted by your requirements) that can be understood: a-x.whl: what is that");
    insta::assert_snapshot!(failure(&World::new("a nothing"), &["a"]),
        @"the page of a (wanted by your requirements) on the package index lists no files");
    insta::assert_snapshot!(failure(&World::new("a 1.0 {yanked=broken}"), &["a"]),
        @"cp311-manylinux_2_28_x86_64 cannot install a (wanted by your requirements): a 1.0 was yanked (broken)");
    insta::assert_snapshot!(failure(&World::new("a 1.0\na 2.0rc1\nb 1.0 : a>=2.0rc1"), &["b"]),
        @"cp311-manylinux_2_28_x86_64 cannot install a >=2.0rc1 (wanted by b 1.0): a 2.0rc1 is a pre-release, which your requirements do not ask for");
    insta::assert_snapshot!(failure(&World::new("a 1.0 {python=>=3.12}\na 0.9 {python=>=3.12}"), &["a"]),
        @"cp311-manylinux_2_28_x86_64 cannot install a (wanted by your requirements): a 1.0 requires Python >=3.12");
    insta::assert_snapshot!(failure(&World::new("a 1.0 {meta-python=>=3.12}\na 0.9 {meta-python=>=3.12}"), &["a"]),
        @"cp311-manylinux_2_28_x86_64 cannot install a (wanted by your requirements): a 1.0 requires Python >=3.12");
    insta::assert_snapshot!(failure(&World::new("a 1.0 : b @ https://example.org/b-1-py3-none-any.whl"), &["a"]),
        @"cp311-manylinux_2_28_x86_64 cannot install a (wanted by your requirements): a 1.0 needs `b @ https://example.org/b-1-py3-none-any.whl`, and only your own requirements may name a wheel by URL or path");
}

#[test]
fn the_channel_is_named_where_it_was_asked() {
    let mut world = World::new("b 1.0");
    world.channel.insert("torch".to_owned());
    insta::assert_snapshot!(failure(&world, &["torch==2.7.0"]),
        @"the channel cu118 has no project torch (wanted by your requirements)");
}

#[test]
fn pythons_and_platforms_that_have_a_wheel_are_listed() {
    let tags = |python: &str| format!("{python}-{python}-manylinux_2_28_x86_64");
    let wheels = [
        tags("cp39"),
        tags("cp310"),
        "cp313-cp313t-manylinux_2_28_x86_64".to_owned(),
    ]
    .join(",");
    insta::assert_snapshot!(failure(&World::new(&format!("a 1.0 {{wheels={wheels}}}")), &["a==1.0"]),
        @"cp311-manylinux_2_28_x86_64 cannot install a ==1.0 (wanted by your requirements): a 1.0 has no wheel for this Python; there are wheels for Python 3.9, 3.10, 3.13t");
    insta::assert_snapshot!(failure(&World::new("a 1.0 {wheels=cp311-cp311-win_amd64,cp311-cp311-macosx_11_0_arm64}"), &["a"]),
        @"cp311-manylinux_2_28_x86_64 cannot install a (wanted by your requirements): a 1.0 has no wheel for this platform; there are wheels for macosx_11_0_arm64, win_amd64");
}

#[test]
fn contradictions_are_told_outward_from_the_requirements() {
    let torch = "torch 2.6.0+cu118\ntorch 2.7.0+cu118\ntorchvision 0.22.0+cu118 : torch==2.7.0 | numpy\nnumpy 2.2.5";
    insta::assert_snapshot!(failure(&World::new(torch), &["torchvision==0.22.0", "torch==2.6.0"]),
        @"the requirements cannot all be met for cp311-manylinux_2_28_x86_64: because your requirements ask for torch ==2.6.0 and torchvision ==0.22.0, and torchvision 0.22.0+cu118 depends on torch ==2.7.0, no choice of versions fits");
    let diamond = "a 1.0 : c<2\nb 1.0 : c>=2\nb 1.1 : c>=2\nc 1.0\nc 2.0";
    insta::assert_snapshot!(failure(&World::new(diamond), &["a", "b"]),
        @"the requirements cannot all be met for cp311-manylinux_2_28_x86_64: because your requirements ask for a and b, and a 1.0 depends on c <2, and every version of b depends on c >=2, no choice of versions fits");
    let long = "a 1.0 : c<2\nb 1.0 : d\nb 1.1 : e\nd 1.0 : c>=2\ne 1.0 : c>=3\nc 1.0\nc 2.0 {meta-python=>=3.12}";
    insta::assert_snapshot!(failure(&World::new(long), &["a", "b"]), @r"
    the requirements cannot all be met for cp311-manylinux_2_28_x86_64: no choice of versions fits, because
      - your requirements ask for b
      - b 1.0 depends on d
      - b 1.1 depends on e
      - d 1.0 depends on c >=2
      - e 1.0 depends on c >=3
      - c 2.0 requires Python >=3.12
    ");
    insta::assert_snapshot!(failure(&World::new("a 1.0\na 2.0\nb 1.0 : a<1.8\nc 1.0 : a>=1.5"), &["b", "c"]), @r"
    the requirements cannot all be met for cp311-manylinux_2_28_x86_64: no choice of versions fits, because
      - your requirements ask for b and c
      - b 1.0 depends on a <1.8
      - c 1.0 depends on a >=1.5
      - the package index has no a >=1.5, <1.8
    ");
    let extra = "a 1.0 {extras=x} : b<2; extra == 'x'\nb 1.0\nb 2.0";
    insta::assert_snapshot!(failure(&World::new(extra), &["a[x]", "b==2.0"]),
        @"the requirements cannot all be met for cp311-manylinux_2_28_x86_64: because your requirements ask for a[x] and b ==2.0, and a[x] 1.0 depends on b <2, no choice of versions fits");
}

#[test]
fn a_failing_index_aborts_with_its_error() {
    let index = "a 1.0 : b\na 0.9\nb 1.0";
    let mut world = World::new(index);
    world.broken.insert("b".to_owned());
    let error = solve(&world, &["a"]).expect_err("no answer");
    assert!(
        matches!(&error, ResolveError::Page { name, .. } if name.as_str() == "b"),
        "{error}"
    );
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert_eq!(
        (error.to_string().as_str(), cause.as_str()),
        (
            "could not read the page of b on the package index",
            "the connection was reset"
        )
    );

    let mut world = World::new(index);
    world.broken.insert("b-1.0-py3-none-any.whl".to_owned());
    let error = solve(&world, &["a"]).expect_err("no answer");
    assert_eq!(
        error.to_string(),
        "could not read the metadata of b-1.0-py3-none-any.whl"
    );
}

#[test]
fn requirements_by_url_are_refused() {
    let error = failure(
        &World::new("a 1.0"),
        &["a @ https://example.org/a-1.0-py3-none-any.whl"],
    );
    insta::assert_snapshot!(error,
        @"`a @ https://example.org/a-1.0-py3-none-any.whl` names a URL or path, which only requirements can");
}

#[test]
fn metadata_of_another_package_is_not_believed() {
    let mut world = World::new("a 1.0\na 2.0\nb 2.0");
    let other = world.page_mut("b").wheels[0].url.clone();
    world.page_mut("a").wheels[1].url = other;
    assert_eq!(solve(&world, &["a"]).expect("an answer"), ["a 1.0"]);
}

#[test]
fn boundaries_are_those_of_the_chosen_packages() {
    let world = World::new(
        "a 1.0 : b; python_full_version < '3.11.4' | c; python_full_version >= '3.10.2'\nb 1.0\nc 1.0\n\
         d 1.0 : b; python_full_version < '3.11.5'",
    );
    let requirements = ["a", "c; python_full_version != '3.11.2'"];
    let resolutions = resolve(&request(&requirements, &["cp311-linux_x86_64"]), &world)
        .expect("an answer")
        .targets;
    let found: Vec<String> = resolutions[0]
        .python_boundaries
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found, ["3.11.2", "3.11.3", "3.11.4"]);
}

#[test]
fn later_targets_prefer_what_earlier_ones_chose_and_ask_nothing_twice() {
    let world = World::new(
        "a 3.0 {python=>=3.12}\na 2.0 {python=>=3.10}\na 1.0\n\
         b 1.0 {wheels=cp310-none-any,cp311-none-any,cp313-none-any} : c\nc 1.0",
    );
    let targets = ["cp310-linux_x86_64", "cp313-linux_x86_64", "cp311-linux_x86_64"];
    let resolutions = resolve(&request(&["a", "b"], &targets), &world)
        .expect("an answer")
        .targets;
    let found: Vec<(String, Vec<String>)> = resolutions
        .iter()
        .map(|one| (one.target.python.to_string(), pins(one)))
        .collect();
    let row = |python: &str, a: &str| {
        (
            python.to_owned(),
            vec![format!("a {a}"), "b 1.0".to_owned(), "c 1.0".to_owned()],
        )
    };
    assert_eq!(found, [row("3.10", "2.0"), row("3.11", "2.0"), row("3.13", "3.0")]);
    assert_eq!(world.asked_twice(), Vec::<String>::new());
}

#[test]
fn targets_are_checked() {
    let world = World::new("a 1.0");
    assert!(matches!(
        resolve(&request(&["a"], &[]), &world),
        Err(ResolveError::NoTargets)
    ));
    let mut twice = request(&["a"], &["cp311-linux_x86_64", "cp311-linux_x86_64"]);
    assert_eq!(resolve(&twice, &world).expect("an answer").targets.len(), 1);
    twice.targets[1].python_full_version = "3.11.9".parse().expect("a version");
    assert!(matches!(resolve(&twice, &world), Err(ResolveError::TwoPythons { .. })));
}
