//! An index in memory, written as text: one version of one project a line.
//!
//! ```text
//! name version {wheels=TAG,TAG} {python=>=3.9} {meta-python=>=3.9} {extras=a,b} {yanked=why} {time=2025-05-01T00:00:00Z} : REQ | REQ
//! name sdist | oddity | nothing
//! ```
//!
//! `python` stands on the page, `meta-python` in the metadata only; without `wheels` there is one `py3-none-any`.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use super::{BoxError, PackageSource, Request, Resolution, ResolveError, Wanted, resolve};
use crate::digest::WheelDigest;
use crate::index::{CoreMetadata, IndexFile, ProjectPage};
use crate::pep::{PackageName, Requirement, Version};

#[derive(Default)]
pub(super) struct World {
    pages: BTreeMap<PackageName, ProjectPage>,
    metadata: BTreeMap<String, CoreMetadata>,
    /// Projects whose page, and files whose metadata, cannot be read.
    pub(super) broken: HashSet<String>,
    /// Files whose metadata cannot be understood.
    pub(super) unsound: HashSet<String>,
    /// Names whose place is `the channel cu118`.
    pub(super) channel: HashSet<String>,
    /// What was asked for, in order of asking.
    pub(super) asked: Mutex<Vec<String>>,
}

impl World {
    pub(super) fn new(text: &str) -> Self {
        let mut world = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            world.line(line);
        }
        world
    }

    fn line(&mut self, line: &str) {
        let (head, requires) = line.split_once(" :").unwrap_or((line, ""));
        let mut parts = head.split(['{', '}']).map(str::trim).filter(|part| !part.is_empty());
        let (name, version) = parts
            .next()
            .and_then(|part| part.split_once(' '))
            .expect("name and version");
        let options: BTreeMap<&str, &str> = parts.map(|option| option.split_once('=').expect("key=value")).collect();
        let page = self.pages.entry(name.parse().expect("a name")).or_default();
        if version == "nothing" {
            return;
        }
        if version == "oddity" {
            page.skipped.push(format!("{name}-x.whl: what is that"));
            return;
        }
        if version == "sdist" {
            page.not_wheels.push(format!("{name}-1.0.tar.gz"));
            return;
        }
        let tags = options.get("wheels").copied().unwrap_or("py3-none-any");
        for tag in tags.split(',').filter(|tag| !tag.is_empty()) {
            let file = format!("{}-{version}-{tag}.whl", name.replace('-', "_"));
            let url: url::Url = format!("https://index.example.org/files/{}", file.replace('+', "%2B"))
                .parse()
                .expect("a URL");
            page.wheels.push(IndexFile {
                filename: file.parse().expect("a wheel name"),
                digest: Some(WheelDigest::of(file.as_bytes())),
                file,
                url: url.clone(),
                size: Some(1000),
                requires_python: options.get("python").map(|text| text.parse().expect("specifiers")),
                yanked: options.get("yanked").map(|&why| why.to_owned()),
                metadata: None,
                upload_time: options.get("time").map(|&time| time.to_owned()),
            });
            let python = options.get("meta-python").or(options.get("python"));
            let metadata = CoreMetadata {
                name: name.parse().expect("a name"),
                version: version.parse().expect("a version"),
                requires_dist: requires
                    .split('|')
                    .map(str::trim)
                    .filter(|text| !text.is_empty())
                    .map(requirement)
                    .collect(),
                requires_python: python.map(|text| text.parse().expect("specifiers")),
                provides_extra: options
                    .get("extras")
                    .map(|text| text.split(',').map(|extra| extra.parse().expect("an extra")).collect())
                    .unwrap_or_default(),
            };
            self.metadata.insert(url.to_string(), metadata);
        }
    }

    /// The metadata of the first wheel of a project.
    pub(super) fn metadata_of(&self, name: &str) -> CoreMetadata {
        let url = self.pages[&name.parse().expect("a name")].wheels[0].url.to_string();
        self.metadata[&url].clone()
    }

    pub(super) fn put_metadata(&mut self, url: &str, metadata: CoreMetadata) {
        self.metadata.insert(url.to_owned(), metadata);
    }

    pub(super) fn page_mut(&mut self, name: &str) -> &mut ProjectPage {
        self.pages.get_mut(&name.parse().expect("a name")).expect("a page")
    }

    /// How often each thing was asked for, where more than once.
    pub(super) fn asked_twice(&self) -> Vec<String> {
        let asked = self.asked.lock().expect("no panic");
        let mut seen = HashSet::new();
        asked.iter().filter(|what| !seen.insert(*what)).cloned().collect()
    }
}

impl PackageSource for World {
    fn page(&self, name: &PackageName) -> Result<Option<Arc<ProjectPage>>, BoxError> {
        self.asked.lock().expect("no panic").push(name.to_string());
        if self.broken.contains(name.as_str()) {
            return Err("the connection was reset".into());
        }
        Ok(self.pages.get(name).cloned().map(Arc::new))
    }

    fn metadata(&self, file: &IndexFile) -> Result<Arc<CoreMetadata>, BoxError> {
        self.asked.lock().expect("no panic").push(file.file.clone());
        if self.broken.contains(&file.file) {
            return Err("the body ended early".into());
        }
        if self.unsound.contains(&file.file) {
            return Err("line 7 says nothing".into());
        }
        let metadata = self.metadata.get(file.url.as_str()).ok_or("no such file")?;
        Ok(Arc::new(metadata.clone()))
    }

    fn is_unsound(&self, error: &BoxError) -> Option<String> {
        let text = error.to_string();
        text.starts_with("line 7").then_some(text)
    }

    fn has_release_times(&self, name: &PackageName) -> bool {
        !self.channel.contains(name.as_str())
    }

    fn place(&self, name: &PackageName) -> String {
        if self.channel.contains(name.as_str()) {
            "the channel cu118".to_owned()
        } else {
            "the package index".to_owned()
        }
    }
}

pub(super) fn requirement(text: &str) -> Requirement {
    text.parse().expect("a requirement")
}

/// A target with the patch level 7.
pub(super) fn wanted(target: &str) -> Wanted {
    let target: crate::target::Target = target.parse().expect("a target");
    Wanted {
        target,
        python_full_version: Version::new([3, u64::from(target.python.minor), 7]),
        optional: false,
    }
}

pub(super) fn request(requirements: &[&str], targets: &[&str]) -> Request {
    Request {
        requirements: requirements.iter().map(|text| requirement(text)).collect(),
        targets: targets.iter().map(|target| wanted(target)).collect(),
        ..Request::default()
    }
}

/// `name version` of every package of a resolution.
pub(super) fn pins(resolution: &Resolution) -> Vec<String> {
    let pin = |package: &super::Resolved| format!("{} {}", package.name, package.version);
    resolution.packages.iter().map(pin).collect()
}

/// The pins for CPython 3.11 on Linux.
pub(super) fn solve(world: &World, requirements: &[&str]) -> Result<Vec<String>, ResolveError> {
    let resolutions = resolve(&request(requirements, &["cp311-linux_x86_64"]), world)?;
    Ok(pins(&resolutions.targets[0]))
}

/// The message of a resolution that fails.
pub(super) fn failure(world: &World, requirements: &[&str]) -> String {
    solve(world, requirements).expect_err("no answer").to_string()
}
