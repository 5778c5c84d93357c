//! A wheel maker: small wheels that real installers accept, and broken ones.
//!
//! Owns: METADATA, WHEEL, RECORD, `entry_points.txt` and `top_level.txt` as build back ends write them, and hooks to get
//! each of them wrong. Deterministic: the same calls give the same bytes on every machine.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::encoding::{normalized, sha256, sha256_in_record};
use super::zip::{Member, Method, archive};

/// A finished wheel.
#[derive(Debug)]
pub(crate) struct BuiltWheel {
    /// As in METADATA, not normalised.
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) filename: String,
    pub(crate) bytes: Vec<u8>,
    /// Of `bytes`, in hexadecimal.
    pub(crate) sha256: String,
    /// The text of METADATA.
    pub(crate) metadata: String,
    pub(crate) requires_python: Option<String>,
    /// The reason, where an index lists it as yanked (PEP 592).
    pub(crate) yanked: Option<String>,
}

impl BuiltWheel {
    /// The project name as indexes spell it (PEP 503).
    pub(crate) fn project(&self) -> String {
        normalized(&self.name)
    }

    /// Writes the wheel into a folder under its file name.
    pub(crate) fn write_to(&self, folder: &Path) -> PathBuf {
        let path = folder.join(&self.filename);
        std::fs::write(&path, &self.bytes).expect("the folder is there and writable");
        path
    }
}

/// A wheel in the making: members in the order they were named, `.dist-info` last, RECORD very last.
#[derive(Debug, Clone)]
#[must_use]
pub(crate) struct Wheel {
    name: String,
    /// How the file name spells the name.
    stem: String,
    version: String,
    build: Option<String>,
    tag: String,
    purelib: Option<bool>,
    members: Vec<Member>,
    raw: Vec<Member>,
    headers: Vec<String>,
    metadata_version: &'static str,
    requires_python: Option<String>,
    entry_points: Vec<(String, String)>,
    record_lines: Vec<String>,
    record_replacements: Vec<(String, String)>,
    omitted: BTreeSet<&'static str>,
    texts: Vec<(&'static str, Vec<u8>)>,
    method: Method,
    directories: bool,
    descriptors: bool,
    zip64: bool,
    yanked: Option<String>,
}

impl Wheel {
    /// A pure wheel (`py3-none-any`) without content.
    pub(crate) fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            stem: name.replace(['-', '.'], "_"),
            version: version.to_owned(),
            build: None,
            tag: "py3-none-any".to_owned(),
            purelib: None,
            members: Vec::new(),
            raw: Vec::new(),
            headers: Vec::new(),
            metadata_version: "2.1",
            requires_python: None,
            entry_points: Vec::new(),
            record_lines: Vec::new(),
            record_replacements: Vec::new(),
            omitted: BTreeSet::new(),
            texts: Vec::new(),
            method: Method::Deflated,
            directories: false,
            descriptors: false,
            zip64: false,
            yanked: None,
        }
    }

    /// The tag of the file name; a compressed set (`cp311-cp311-a.b`) becomes several `Tag` lines.
    pub(crate) fn tag(mut self, tag: &str) -> Self {
        tag.clone_into(&mut self.tag);
        self
    }

    /// The build tag, which stands in the file name and in WHEEL.
    pub(crate) fn build_tag(mut self, build: &str) -> Self {
        self.build = Some(build.to_owned());
        self
    }

    /// Spells the name in the file name differently from METADATA (`jinja2-….whl` is of `Jinja2`).
    pub(crate) fn filed_as(mut self, name: &str) -> Self {
        name.clone_into(&mut self.stem);
        self
    }

    /// Root-Is-Purelib, where it does not follow from the tag (the NVIDIA wheels say `true` on a platform tag).
    pub(crate) fn purelib(mut self, purelib: bool) -> Self {
        self.purelib = Some(purelib);
        self
    }

    pub(crate) fn file(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.members.push(Member::file(path, bytes.as_ref()));
        self
    }

    pub(crate) fn executable(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.members.push(Member {
            mode: 0o100_755,
            ..Member::file(path, bytes.as_ref())
        });
        self
    }

    /// A file under `<dist>.data/<kind>/`, kind being scripts, data, headers, purelib or platlib.
    pub(crate) fn data(self, kind: &str, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = format!("{}.data/{kind}/{path}", self.stem());
        self.file(&path, bytes)
    }

    /// As [`Wheel::data`], with the executable bit.
    pub(crate) fn data_executable(self, kind: &str, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = format!("{}.data/{kind}/{path}", self.stem());
        self.executable(&path, bytes)
    }

    pub(crate) fn metadata_version(mut self, version: &'static str) -> Self {
        self.metadata_version = version;
        self
    }

    pub(crate) fn requires(self, requirement: &str) -> Self {
        self.header(&format!("Requires-Dist: {requirement}"))
    }

    pub(crate) fn requires_all<'a>(self, requirements: impl IntoIterator<Item = &'a str>) -> Self {
        requirements.into_iter().fold(self, Self::requires)
    }

    pub(crate) fn requires_python(mut self, specifier: &str) -> Self {
        self.requires_python = Some(specifier.to_owned());
        self
    }

    /// An extra and what it adds.
    pub(crate) fn extra(self, name: &str, requirements: &[&str]) -> Self {
        let with_extra = self.header(&format!("Provides-Extra: {name}"));
        requirements.iter().fold(with_extra, |wheel, requirement| {
            wheel.requires(&format!("{requirement}; extra == \"{name}\""))
        })
    }

    /// Any further line of METADATA, in its place among the dependencies.
    pub(crate) fn header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    pub(crate) fn entry_point(mut self, group: &str, name: &str, target: &str) -> Self {
        self.entry_points.push((group.to_owned(), format!("{name} = {target}")));
        self
    }

    /// Has indexes list it as yanked.
    pub(crate) fn yanked(mut self, reason: &str) -> Self {
        self.yanked = Some(reason.to_owned());
        self
    }

    /// Keeps members uncompressed.
    pub(crate) fn stored(mut self) -> Self {
        self.method = Method::Stored;
        self
    }

    /// Writes sizes and checksums behind the data, as streaming writers do.
    pub(crate) fn data_descriptors(mut self) -> Self {
        self.descriptors = true;
        self
    }

    /// Writes every size in zip64 form.
    pub(crate) fn zip64(mut self) -> Self {
        self.zip64 = true;
        self
    }

    /// Writes an entry for each folder, as torch's own wheels have them.
    pub(crate) fn directories(mut self) -> Self {
        self.directories = true;
        self
    }

    /// Breaks: appends a line to RECORD as it stands.
    pub(crate) fn record_line(mut self, line: &str) -> Self {
        self.record_lines.push(line.to_owned());
        self
    }

    /// Breaks: replaces the RECORD line of a path (by nothing where `line` is empty).
    pub(crate) fn record_replace(mut self, path: &str, line: &str) -> Self {
        self.record_replacements.push((path.to_owned(), line.to_owned()));
        self
    }

    /// Breaks: a member that RECORD does not know; its name may be hostile or there already.
    pub(crate) fn raw_member(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        let member = Member::file(name, bytes.as_ref());
        self.member(member)
    }

    /// Breaks: a member with every field chosen by hand.
    pub(crate) fn member(mut self, member: Member) -> Self {
        self.raw.push(member);
        self
    }

    /// As [`Wheel::member`], but with a true row in RECORD.
    pub(crate) fn listed(mut self, member: Member) -> Self {
        self.members.push(member);
        self
    }

    /// Another content for a file of `.dist-info`: METADATA, WHEEL, RECORD, `entry_points.txt`. Its row stays true.
    pub(crate) fn text(mut self, file: &'static str, text: impl AsRef<[u8]>) -> Self {
        self.texts.push((file, text.as_ref().to_vec()));
        self
    }

    pub(crate) fn without_record(self) -> Self {
        self.without("RECORD")
    }

    /// Breaks: leaves out a file of `.dist-info` that would be written otherwise.
    pub(crate) fn without(mut self, file: &'static str) -> Self {
        self.omitted.insert(file);
        self
    }

    /// `name-version` as the file name and the special folders spell it.
    fn stem(&self) -> String {
        format!("{}-{}", self.stem, self.version)
    }

    pub(crate) fn build(self) -> BuiltWheel {
        let stem = self.stem();
        let metadata = self.metadata();
        let mut members = self.members.clone();
        let other = |file: &str| self.texts.iter().find(|(of, _)| *of == file).map(|(_, text)| text);
        let mut describe = |file: &'static str, text: &str| {
            if !self.omitted.contains(file) {
                let bytes = other(file).map_or(text.as_bytes(), Vec::as_slice);
                members.push(Member::file(&format!("{stem}.dist-info/{file}"), bytes));
            }
        };
        describe("METADATA", &metadata);
        describe("WHEEL", &self.wheel_file());
        if !self.entry_points.is_empty() || other("entry_points.txt").is_some() {
            describe("entry_points.txt", &self.entry_points_file());
        }
        describe("top_level.txt", &self.top_level_file());
        let record = self.record(&members, &stem);
        let record = other("RECORD").map_or(record.as_bytes(), Vec::as_slice);
        let record = Member::file(&format!("{stem}.dist-info/RECORD"), record);
        members.extend(self.raw.iter().cloned());
        if !self.omitted.contains("RECORD") {
            members.push(record);
        }
        for member in &mut members {
            member.method = if self.method == Method::Stored {
                Method::Stored
            } else {
                member.method
            };
            member.descriptor |= self.descriptors;
            member.zip64 |= self.zip64;
        }
        if self.directories {
            members = with_directories(members);
        }
        let bytes = archive(&members);
        let build = self.build.map(|build| format!("-{build}")).unwrap_or_default();
        BuiltWheel {
            filename: format!("{stem}{build}-{}.whl", self.tag),
            sha256: sha256(&bytes),
            name: self.name,
            version: self.version,
            bytes,
            metadata,
            requires_python: self.requires_python,
            yanked: self.yanked,
        }
    }

    fn metadata(&self) -> String {
        let Self {
            metadata_version,
            name,
            version,
            ..
        } = self;
        let mut text = format!("Metadata-Version: {metadata_version}\nName: {name}\nVersion: {version}\n");
        let _ = writeln!(text, "Summary: A stand-in for {name}, for tests");
        if let Some(specifier) = &self.requires_python {
            let _ = writeln!(text, "Requires-Python: {specifier}");
        }
        for line in &self.headers {
            let _ = writeln!(text, "{line}");
        }
        let _ = write!(text, "\n# {name}\n\nName: a line of the description, not a field\n");
        text
    }

    fn wheel_file(&self) -> String {
        let purelib = self.purelib.unwrap_or_else(|| self.tag.ends_with("-none-any"));
        let mut text = format!("Wheel-Version: 1.0\nGenerator: flambeau-tests (1)\nRoot-Is-Purelib: {purelib}\n");
        if let Some(build) = &self.build {
            let _ = writeln!(text, "Build: {build}");
        }
        let mut parts = self.tag.splitn(3, '-').map(|part| part.split('.').collect::<Vec<_>>());
        let (Some(pythons), Some(abis), Some(platforms)) = (parts.next(), parts.next(), parts.next()) else {
            panic!("`{}` is no wheel tag", self.tag);
        };
        for python in &pythons {
            for abi in &abis {
                for platform in &platforms {
                    let _ = writeln!(text, "Tag: {python}-{abi}-{platform}");
                }
            }
        }
        text + "\n"
    }

    fn entry_points_file(&self) -> String {
        let mut text = String::new();
        let groups: BTreeSet<_> = self.entry_points.iter().map(|(group, _)| group).collect();
        for group in groups {
            let _ = writeln!(text, "[{group}]");
            for (_, line) in self.entry_points.iter().filter(|(of, _)| of == group) {
                let _ = writeln!(text, "{line}");
            }
            text.push('\n');
        }
        text
    }

    fn top_level_file(&self) -> String {
        let names = self
            .members
            .iter()
            .filter_map(|member| match member.name.split_once('/') {
                Some((folder, _)) => (!folder.contains('.')).then(|| folder.to_owned()),
                None => member.name.strip_suffix(".py").map(str::to_owned),
            });
        let names: BTreeSet<_> = names.collect();
        names.into_iter().fold(String::new(), |text, name| text + &name + "\n")
    }

    fn record(&self, members: &[Member], stem: &str) -> String {
        let mut text = String::new();
        for member in members {
            let replacement = self.record_replacements.iter().find(|(path, _)| *path == member.name);
            let line = replacement.map_or_else(
                || {
                    format!(
                        "{},{},{}",
                        csv_field(&member.name),
                        sha256_in_record(&member.bytes),
                        member.bytes.len()
                    )
                },
                |(_, line)| line.clone(),
            );
            if !line.is_empty() {
                let _ = writeln!(text, "{line}");
            }
        }
        for line in &self.record_lines {
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(text, "{stem}.dist-info/RECORD,,");
        text
    }
}

/// A field of RECORD, in quotes where it must be.
fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Puts an entry for each folder in front of the first member below it.
fn with_directories(members: Vec<Member>) -> Vec<Member> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for member in members {
        for (at, _) in member.name.match_indices('/') {
            let folder = &member.name[..=at];
            if seen.insert(folder.to_owned()) {
                all.push(Member::directory(folder));
            }
        }
        all.push(member);
    }
    all
}
