//! torch 2.7.0 and torchvision 0.22.0 from recorded pages: the pins that the channels must give.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::merge::{Hooks, MergeError, Merged, merge};
use super::testing::{World, pins, request};
use super::{BoxError, PackageSource, Preferences, Resolution, Upgrade, resolve};
use crate::backend::{Backend, Channel, PYTORCH_INDEX, is_family};
use crate::index::{CoreMetadata, IndexFile, ProjectPage};
use crate::lockfile::{LockedPackage, Origin};
use crate::pep::{PackageName, Requirement};

const WHEELS: &str = include_str!("../../tests/fixtures/torch-2.7.0/wheels.tsv");
const METADATA: &str = include_str!("../../tests/fixtures/torch-2.7.0/metadata.txt");
const MARKER: &str = "; platform_system == \"Linux\" and platform_machine == \"x86_64\"";

/// The pages of one channel and of the package index.
struct Replica {
    pages: BTreeMap<PackageName, Arc<ProjectPage>>,
    requires: BTreeMap<String, Vec<Requirement>>,
}

impl Replica {
    fn new(channel: &str) -> Self {
        let mut pages: BTreeMap<PackageName, ProjectPage> = BTreeMap::new();
        for line in rows(WHEELS) {
            let [place, path, sha256, size, python] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            if place != channel && place != "index" {
                continue;
            }
            let file = path.rsplit('/').next().expect("a name").replace("%2B", "+");
            let url = if place == "index" {
                format!("https://index.example.org/files/{file}")
            } else {
                format!("{}{path}", PYTORCH_INDEX.trim_end_matches("/whl"))
            };
            let filename: crate::pep::WheelFilename = file.parse().expect("a wheel name");
            pages.entry(filename.name.clone()).or_default().wheels.push(IndexFile {
                filename,
                file,
                url: url.parse().expect("a URL"),
                digest: Some(sha256.parse().expect("a digest")),
                size: size.parse().ok(),
                requires_python: (python != "-").then(|| python.parse().expect("specifiers")),
                yanked: None,
                metadata: None,
                upload_time: None,
            });
        }
        let requires = rows(METADATA).filter_map(|line| {
            let (head, requirements) = line.split_once(" : ")?;
            let (project, place) = head.split_once(" @ ")?;
            let parse = |text: &str| text.replace(" MARKER", MARKER).parse().expect("a requirement");
            let found = requirements.split('|').map(str::trim).map(parse).collect();
            (place == channel || place == "index").then(|| (project.to_owned(), found))
        });
        Self {
            requires: requires.collect(),
            pages: pages.into_iter().map(|(name, page)| (name, Arc::new(page))).collect(),
        }
    }
}

fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

impl PackageSource for Replica {
    fn page(&self, name: &PackageName) -> Result<Option<Arc<ProjectPage>>, BoxError> {
        Ok(self.pages.get(name).cloned())
    }

    fn metadata(&self, file: &IndexFile) -> Result<Arc<CoreMetadata>, BoxError> {
        let name = &file.filename.name;
        let python = if name.as_str().starts_with("torch") {
            Some(">=3.9")
        } else {
            None
        };
        Ok(Arc::new(CoreMetadata {
            name: name.clone(),
            version: file.filename.version.clone(),
            requires_dist: self.requires.get(name.as_str()).cloned().unwrap_or_default(),
            requires_python: python.map(|text| text.parse().expect("specifiers")),
            provides_extra: Vec::new(),
        }))
    }
}

fn merged(channel: &str, resolutions: &[Resolution]) -> Result<Merged, MergeError> {
    let channel: Channel = channel.parse().expect("a channel");
    let origin = |name: &PackageName, file: &IndexFile| {
        if is_family(name) {
            Origin::Url(file.url.clone())
        } else {
            Origin::Index
        }
    };
    let hooks = Hooks {
        origin: &origin,
        digest: &|file| Ok((crate::digest::WheelDigest::of(file.url.as_str().as_bytes()), 5)),
        backend: &|_, _| Ok(channel.backend().unwrap_or(Backend::Cpu)),
    };
    merge(resolutions, channel.clone(), vec!["torch==2.7.0".to_owned()], &hooks)
}

fn lock(channel: &str, targets: &[&str]) -> Vec<LockedPackage> {
    let request = request(&["torch==2.7.0", "torchvision==0.22.0"], targets);
    let resolutions = resolve(&request, &Replica::new(channel)).expect("an answer").targets;
    merged(channel, &resolutions).expect("a lockfile").lockfile.packages
}

/// `name version [number of wheels] marker`, one a line.
fn summary(packages: &[LockedPackage]) -> String {
    let line = |package: &LockedPackage| {
        let marker = package
            .marker
            .try_to_string()
            .map_or_else(String::new, |text| format!(" ; {text}"));
        format!(
            "{} {} [{}]{marker}\n",
            package.name,
            package.version,
            package.wheels.len()
        )
    };
    packages.iter().map(line).collect()
}

const LINUX: [&str; 5] = [
    "cp39-linux_x86_64",
    "cp310-linux_x86_64",
    "cp311-linux_x86_64",
    "cp312-linux_x86_64",
    "cp313-linux_x86_64",
];

#[test]
fn cu118_gives_eleven_nvidia_packages_and_triton() {
    insta::assert_snapshot!(summary(&lock("cu118", &LINUX)), @r#"
    filelock 3.18.0 [1]
    fsspec 2025.3.2 [1]
    jinja2 3.1.6 [1]
    markupsafe 3.0.2 [5]
    mpmath 1.3.0 [1]
    networkx 3.2.1 [1] ; python_full_version < '3.10'
    networkx 3.4.2 [1] ; python_full_version >= '3.10'
    numpy 2.0.2 [1] ; python_full_version < '3.10'
    numpy 2.2.5 [4] ; python_full_version >= '3.10'
    nvidia-cublas-cu11 11.11.3.6 [2]
    nvidia-cuda-cupti-cu11 11.8.87 [2]
    nvidia-cuda-nvrtc-cu11 11.8.89 [2]
    nvidia-cuda-runtime-cu11 11.8.89 [2]
    nvidia-cudnn-cu11 9.1.0.70 [1]
    nvidia-cufft-cu11 10.9.0.58 [2]
    nvidia-curand-cu11 10.3.0.86 [2]
    nvidia-cusolver-cu11 11.4.1.48 [2]
    nvidia-cusparse-cu11 11.7.5.86 [2]
    nvidia-nccl-cu11 2.21.5 [1]
    nvidia-nvtx-cu11 11.8.86 [2]
    pillow 11.2.1 [10]
    setuptools 80.1.0 [1]
    sympy 1.14.0 [1]
    torch 2.7.0+cu118 [5]
    torchvision 0.22.0+cu118 [5]
    triton 3.3.0 [5]
    typing-extensions 4.13.2 [1]
    "#);
}

#[test]
fn rocm_gives_its_own_triton() {
    insta::assert_snapshot!(summary(&lock("rocm6.3", &LINUX)), @r#"
    filelock 3.18.0 [1]
    fsspec 2025.3.2 [1]
    jinja2 3.1.6 [1]
    markupsafe 3.0.2 [5]
    mpmath 1.3.0 [1]
    networkx 3.2.1 [1] ; python_full_version < '3.10'
    networkx 3.4.2 [1] ; python_full_version >= '3.10'
    numpy 2.0.2 [1] ; python_full_version < '3.10'
    numpy 2.2.5 [4] ; python_full_version >= '3.10'
    pillow 11.2.1 [10]
    pytorch-triton-rocm 3.3.0 [5]
    setuptools 80.1.0 [1]
    sympy 1.14.0 [1]
    torch 2.7.0+rocm6.3 [5]
    torchvision 0.22.0+rocm6.3 [10]
    typing-extensions 4.13.2 [1]
    "#);
}

#[test]
fn cpu_gives_local_and_plain_versions_by_platform() {
    let targets: Vec<String> = ["cp39", "cp311", "cp312"]
        .iter()
        .flat_map(|python| {
            ["linux_x86_64", "linux_aarch64", "macosx_14_0_arm64", "win_amd64"]
                .map(|platform| format!("{python}-{platform}"))
        })
        .collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    insta::assert_snapshot!(summary(&lock("cpu", &targets)), @r#"
    filelock 3.18.0 [1]
    fsspec 2025.3.2 [1]
    jinja2 3.1.6 [1]
    markupsafe 3.0.2 [15]
    mpmath 1.3.0 [1]
    networkx 3.2.1 [1] ; python_full_version < '3.11'
    networkx 3.4.2 [1] ; python_full_version >= '3.11'
    numpy 2.0.2 [5] ; python_full_version < '3.11'
    numpy 2.2.5 [10] ; python_full_version >= '3.11'
    pillow 11.2.1 [18]
    setuptools 80.1.0 [1] ; python_full_version >= '3.12'
    sympy 1.14.0 [1]
    torch 2.7.0 [3] ; sys_platform == 'darwin'
    torch 2.7.0+cpu [9] ; sys_platform != 'darwin'
    torchvision 0.22.0 [6] ; platform_machine == 'aarch64' or platform_machine == 'arm64'
    torchvision 0.22.0+cpu [6] ; platform_machine == 'AMD64' or platform_machine == 'x86_64'
    typing-extensions 4.13.2 [1]
    "#);
}

#[test]
fn the_file_does_not_depend_on_the_order_of_anything_and_survives_reading() {
    let replica = Replica::new("cu118");
    let mut forwards = request(&["torch==2.7.0", "torchvision==0.22.0"], &LINUX);
    let resolutions = resolve(&forwards, &replica).expect("an answer").targets;
    let lockfile = merged("cu118", &resolutions).expect("a lockfile").lockfile;
    forwards.requirements.reverse();
    forwards.targets.reverse();
    let mut resolutions = resolve(&forwards, &replica).expect("an answer").targets;
    resolutions.reverse();
    let text = lockfile.to_text();
    assert_eq!(
        merged("cu118", &resolutions).expect("a lockfile").lockfile.to_text(),
        text
    );
    let parsed = crate::lockfile::text::parse(&text, &Channel::pip()).expect("a lockfile");
    assert_eq!(parsed.lockfile, lockfile);
    assert_eq!(
        lockfile
            .select(&LINUX[4].parse().expect("a target"))
            .expect("wheels")
            .len(),
        25
    );
}

#[test]
fn pins_of_an_existing_lockfile_are_kept_until_upgraded() {
    let replica = Replica::new("cu118");
    let older = request(&["torch==2.7.0", "fsspec<2025", "numpy<2.2"], &LINUX);
    let resolutions = resolve(&older, &replica).expect("an answer").targets;
    let lockfile = merged("cu118", &resolutions).expect("a lockfile").lockfile;
    let mut again = request(&["torch==2.7.0", "numpy", "pillow"], &LINUX);
    let mut pinned = |upgrade: &Upgrade| -> Vec<String> {
        again.preferences = Preferences::from_lockfile(&lockfile, upgrade);
        let resolutions = resolve(&again, &replica).expect("an answer").targets;
        let all: BTreeSet<String> = resolutions.iter().flat_map(pins).collect();
        all.into_iter()
            .filter(|pin| pin.starts_with("numpy") || pin.starts_with("fsspec"))
            .collect()
    };
    assert_eq!(
        pinned(&Upgrade::None),
        ["fsspec 2024.6.1", "numpy 2.0.2", "numpy 2.1.2"]
    );
    let numpy = BTreeSet::from(["numpy".parse().expect("a name")]);
    assert_eq!(
        pinned(&Upgrade::Packages(numpy)),
        ["fsspec 2024.6.1", "numpy 2.0.2", "numpy 2.2.5"]
    );
    assert_eq!(pinned(&Upgrade::All), ["fsspec 2025.3.2", "numpy 2.0.2", "numpy 2.2.5"]);
}

#[test]
fn both_kinds_of_linux_wheel_are_listed_with_their_digests() {
    let packages = lock("rocm6.3", &LINUX[..1]);
    let vision = packages
        .iter()
        .find(|package| package.name.as_str() == "torchvision")
        .expect("torchvision");
    let files: BTreeSet<&str> = vision.wheels.iter().map(|wheel| wheel.file.as_str()).collect();
    assert_eq!(
        files.into_iter().collect::<Vec<_>>(),
        [
            "torchvision-0.22.0+rocm6.3-cp39-cp39-linux_x86_64.whl",
            "torchvision-0.22.0+rocm6.3-cp39-cp39-manylinux_2_28_x86_64.whl"
        ]
    );
    assert_ne!(vision.wheels[0].digest, vision.wheels[1].digest);
    assert!(matches!(&vision.wheels[0].origin, Origin::Url(url) if url.as_str().contains("%2Brocm6.3")));
}

#[test]
fn targets_that_markers_cannot_tell_apart_must_agree() {
    let world =
        World::new("a 2.0 {wheels=cp313-cp313-manylinux2014_x86_64}\na 1.0 {wheels=cp313-cp313t-manylinux2014_x86_64}");
    let targets = ["cp313-linux_x86_64", "cp313t-linux_x86_64"];
    let resolutions = resolve(&request(&["a"], &targets), &world).expect("an answer").targets;
    let error = merged("cu118", &resolutions).expect_err("no lockfile").to_string();
    insta::assert_snapshot!(error, @"cp313t-manylinux_2_28_x86_64 and cp313-manylinux_2_28_x86_64 need different versions of a, and the markers of a lockfile cannot tell them apart; lock them into two files");

    let world = World::new("a 2.0 {wheels=cp313-cp313-manylinux2014_x86_64,cp313-cp313t-manylinux2014_x86_64}");
    let resolutions = resolve(&request(&["a"], &targets), &world).expect("an answer").targets;
    assert_eq!(
        merged("cu118", &resolutions).expect("a lockfile").lockfile.packages[0]
            .wheels
            .len(),
        2
    );
}

#[test]
fn wheels_without_a_digest_are_hashed_and_named() {
    let mut world = World::new("a 2.0");
    world.page_mut("a").wheels[0].digest = None;
    world.page_mut("a").wheels[0].size = None;
    let resolutions = resolve(&request(&["a"], &LINUX), &world).expect("an answer").targets;
    let merged = merged("cu118", &resolutions).expect("a lockfile");
    assert_eq!(merged.missing_digest, ["a-2.0-py3-none-any.whl"]);
    assert_eq!(merged.lockfile.packages[0].wheels[0].size, Some(5));
}

#[test]
fn one_file_with_two_digests_is_refused() {
    let mut world = World::new("a 2.0 {wheels=py3-none-any,py3-none-any}");
    world.page_mut("a").wheels[1].digest = Some(crate::digest::WheelDigest::of(b"other"));
    let resolutions = resolve(&request(&["a"], &LINUX), &world).expect("an answer").targets;
    assert!(matches!(
        merged("cu118", &resolutions),
        Err(MergeError::TwoDigests { .. })
    ));
}
