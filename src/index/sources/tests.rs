//! Routing against servers that have everything.

use super::*;
use crate::http::testing::{Reply, Server, http};

fn name(text: &str) -> PackageName {
    text.parse().expect("a name")
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("a URL")
}

fn options(channel: &str, package: Option<&Server>) -> SourcesOptions {
    SourcesOptions::new(
        channel.parse().expect("a channel"),
        package.map(|server| server.at("simple")),
    )
}

fn sources(options: SourcesOptions, folder: &tempfile::TempDir) -> Sources {
    Sources::new(&Arc::new(http()), &Cache::new(folder.path()), options)
}

/// An index that has every project, with one wheel of version 1.
fn everything() -> Server {
    Server::start(|seen| {
        let name = seen.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let file = name.replace('-', "_");
        let digest = WheelDigest::of(name.as_bytes());
        Reply::new(
            200,
            format!("<a href='/whl/cpu/{file}-1-py3-none-any.whl#sha256={digest}'>x</a>"),
        )
        .with("content-type", "text/html")
    })
}

#[test]
fn every_name_has_one_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let [package, mirror, corp] = [everything(), everything(), everything()];
    let sources = sources(
        SourcesOptions {
            mirror: Some(mirror.at("whl")),
            private: vec![PrivateIndex {
                name: "corp".to_owned(),
                url: corp.at("corp/simple/"),
                packages: ["corp-*", "Secret_Sauce", "torch*"]
                    .map(|text| text.parse().expect("a pattern"))
                    .into(),
            }],
            ..options("cpu", Some(&package))
        },
        &folder,
    );
    for asked in [
        "torch",
        "torchvision",
        "numpy",
        "triton",
        "corp-utils",
        "secret-sauce",
        "corp",
    ] {
        sources.page(&name(asked)).expect("answered").expect("there");
    }
    assert_eq!(mirror.paths(), ["/whl/cpu/torch/", "/whl/cpu/torchvision/"]);
    assert_eq!(package.paths(), ["/simple/numpy/", "/simple/triton/", "/simple/corp/"]);
    assert_eq!(corp.paths(), ["/corp/simple/corp-utils/", "/corp/simple/secret-sauce/"]);
    let torch = sources.page(&name("torch")).expect("answered").expect("there");
    assert_eq!(
        sources.canonical_url(&torch.wheels[0].url).as_str(),
        "https://download.pytorch.org/whl/cpu/torch-1-py3-none-any.whl"
    );
}

#[test]
fn on_the_channel_pip_everything_comes_from_the_package_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let package = everything();
    let sources = sources(options("pip", Some(&package)), &folder);
    sources.page(&name("torch")).expect("answered").expect("there");
    assert_eq!(package.paths(), ["/simple/torch/"]);
    assert_eq!(
        sources.place(&name("torch")).expect("one"),
        Place::Package(package.at("simple/"))
    );
}

#[test]
fn without_a_package_index_only_names_that_need_it_fail() {
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = everything();
    let sources = sources(
        SourcesOptions {
            mirror: Some(mirror.url.clone()),
            ..options("cu118", None)
        },
        &folder,
    );
    sources.page(&name("torch")).expect("answered").expect("there");
    let error = sources.page(&name("numpy")).expect_err("nowhere");
    assert!(matches!(error, Error::NoIndex { .. }), "{error:?}");
    assert_eq!(sources.place(&name("numpy")).expect("one"), Place::Nowhere);
}

#[test]
fn two_claims_of_one_name_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let private = |name: &str, pattern: &str| PrivateIndex {
        name: name.to_owned(),
        url: url("https://example.org/simple"),
        packages: vec![pattern.parse().expect("a pattern")],
    };
    let sources = sources(
        SourcesOptions {
            private: vec![private("one", "corp-*"), private("two", "*-utils")],
            ..options("cpu", None)
        },
        &folder,
    );
    let error = sources.page(&name("corp-utils")).expect_err("claimed twice");
    assert_eq!(error.to_string(), "corp-utils is claimed by several indexes: one, two");
}

#[test]
fn find_links_join_the_package_index_and_replace_it_without_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let wheels = tempfile::tempdir().expect("a folder");
    for file in [
        "numpy-1-py3-none-any.whl",
        "numpy-2-py3-none-any.whl",
        "torch-9-py3-none-any.whl",
    ] {
        std::fs::write(wheels.path().join(file), file).expect("written");
    }
    let package = everything();
    let with = |no_index| SourcesOptions {
        find_links: vec![wheels.path().display().to_string()],
        no_index,
        mirror: Some(package.url.clone()),
        ..options("cpu", Some(&package))
    };
    let versions = |sources: &Sources, asked: &str| -> Vec<String> {
        let page = sources.page(&name(asked)).expect("answered");
        page.map(|page| {
            page.wheels
                .iter()
                .map(|wheel| wheel.url.scheme().to_owned() + &wheel.file)
                .collect()
        })
        .unwrap_or_default()
    };
    let merged = sources(with(false), &folder);
    assert_eq!(
        versions(&merged, "numpy"),
        ["filenumpy-1-py3-none-any.whl", "filenumpy-2-py3-none-any.whl"]
    );
    assert_eq!(versions(&merged, "sympy"), ["httpsympy-1-py3-none-any.whl"]);
    assert_eq!(
        versions(&merged, "torch"),
        ["httptorch-1-py3-none-any.whl"],
        "the family has its own place"
    );
    let alone = sources(with(true), &folder);
    assert_eq!(versions(&alone, "numpy").len(), 2);
    assert_eq!(versions(&alone, "sympy"), [""; 0]);
    let digest = WheelDigest::of(b"numpy-2-py3-none-any.whl");
    let located = alone
        .locate(&name("numpy"), "numpy-2-py3-none-any.whl", &digest)
        .expect("answered");
    assert_eq!(located.expect("found").url.scheme(), "file");
}

#[test]
fn a_wheel_is_located_by_name_and_digest_on_a_page_that_may_be_old() {
    let folder = tempfile::tempdir().expect("a folder");
    let answers = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |_| {
        let version = answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let digest = WheelDigest::of(&[u8::try_from(version).expect("few")]);
        Reply::new(
            200,
            format!("<a href='a-{version}-py3-none-any.whl#sha256={digest}'>x</a>"),
        )
        .with("content-type", "text/html")
        .with("cache-control", "max-age=600")
    });
    let sources = sources(options("cpu", Some(&server)), &folder);
    sources.page(&name("a")).expect("answered");
    let digest = WheelDigest::of(&[1]);
    let found = sources
        .locate(&name("a"), "a-1-py3-none-any.whl", &digest)
        .expect("answered");
    assert_eq!(
        found.expect("on the newer page").url,
        server.at("simple/a/a-1-py3-none-any.whl")
    );
    let other = sources
        .locate(&name("a"), "a-1-py3-none-any.whl", &WheelDigest::of(&[7]))
        .expect("answered");
    assert_eq!(other, None);
}

#[test]
fn a_mirror_stands_in_for_the_official_hosts_altogether() {
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = Server::start(|_| {
        Reply::new(
            200,
            "<a href='https://download-r2.pytorch.org/whl/cpu/torch-1%2Bcpu-py3-none-any.whl'>x</a>",
        )
        .with("content-type", "text/html")
    });
    let sources = sources(
        SourcesOptions {
            mirror: Some(mirror.at("a/whl")),
            ..options("cpu", None)
        },
        &folder,
    );
    let page = sources.page(&name("torch")).expect("answered").expect("there");
    assert_eq!(
        page.wheels[0].url,
        mirror.at("a/whl/cpu/torch-1%2Bcpu-py3-none-any.whl")
    );
}
