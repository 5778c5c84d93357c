//! The text form of a lockfile: canonical TOML.
//!
//! Writing is a pure function of the model, so a lockfile that did not change is written with the same bytes; one
//! wheel, dependency or requirement a line keeps differences small. Reading is [`parse`].
//!
//! ```toml
//! lock-version = "1.0"
//! environments = ["python_version == '3.11' and …"]
//! requires-python = ">=3.11"
//! created-by = "flambeau"
//!
//! [[packages]]
//! name = "torch"
//! version = "2.7.0+cu118"
//! dependencies = [{ name = "filelock" }]
//! wheels = [{ name = "…whl", url = "https://…", hashes = { sha256 = "…" } }]
//!
//! [tool.flambeau]
//! schema = 1
//! channel = "cu118"
//! requirements = ["torch==2.7.0"]
//! requirements-digest = "…"
//!
//! [[tool.flambeau.targets]]
//! target = "cp311-manylinux_2_28_x86_64"
//! python-full-version = "3.11.14"
//! python-boundaries = []
//! backend = "CUDA"
//! ```

use std::fmt::Write as _;

use super::staleness::requirements_digest;
use super::{LockedPackage, LockedTarget, LockedWheel, Lockfile, Origin, markers};
use crate::digest::WheelDigest;

pub use super::read::{Parsed, parse};
pub use super::read_error::{ParseError, Place, ReadWarning};

/// The version of PEP 751 that is written.
pub(super) const LOCK_VERSION: &str = "1.0";

/// The version of `[tool.flambeau]` that is written.
pub(super) const SCHEMA: u32 = 1;

/// Where the `path` of a wheel of the package index starts. It is never opened; it names digest and file.
const CACHE: &str = "../cache/wheels/";

/// The `path` of a wheel that is fetched from the package index by name and digest.
pub(super) fn index_path(digest: &WheelDigest, file: &str) -> String {
    format!("{CACHE}{digest}/{file}")
}

/// The `path` of a local wheel, given as seen from the lockfile's folder: never mistaken for one of the package index
/// (a project may have a folder called `cache`), nor by pip for a name.
pub(crate) fn local_path(seen: &str) -> String {
    if is_index_path(seen) || !seen.starts_with(['.', '/']) {
        format!("./{seen}")
    } else {
        seen.to_owned()
    }
}

/// Whether `path` looks like the path of a wheel of the package index.
pub(super) fn is_index_path(path: &str) -> bool {
    path.starts_with(CACHE)
}

impl Lockfile {
    /// The text of this lockfile.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if !self.head.is_empty() {
            text.push_str(&self.head);
            text.push_str("\n\n");
        }
        line(&mut text, "lock-version", &quoted(LOCK_VERSION));
        let mut environments: Vec<String> = Vec::new();
        for locked in &self.targets {
            let environment = quoted(&markers::environment(&locked.target));
            // Targets that differ in what markers cannot tell have one environment.
            if !environments.contains(&environment) {
                environments.push(environment);
            }
        }
        if !environments.is_empty() {
            line(&mut text, "environments", &array(&environments));
        }
        if let Some(python) = &self.requires_python {
            line(&mut text, "requires-python", &quoted(&python.to_string()));
        }
        line(&mut text, "created-by", &quoted("flambeau"));
        if self.packages.is_empty() {
            line(&mut text, "packages", "[]");
        }
        for package in &self.packages {
            self.write_package(&mut text, package);
        }
        self.write_tool(&mut text);
        text
    }

    fn write_package(&self, text: &mut String, package: &LockedPackage) {
        text.push_str("\n[[packages]]\n");
        line(text, "name", &quoted(package.name.as_str()));
        line(text, "version", &quoted(&package.version.to_string()));
        if let Some(marker) = package.marker.try_to_string() {
            line(text, "marker", &quoted(&marker));
        }
        if let Some(python) = &package.requires_python {
            line(text, "requires-python", &quoted(&python.to_string()));
        }
        let dependencies = self.dependencies(package);
        if !dependencies.is_empty() {
            line(text, "dependencies", &array(&dependencies));
        }
        let wheels: Vec<String> = package.wheels.iter().map(wheel).collect();
        line(text, "wheels", &array(&wheels));
    }

    /// References to other entries; with the version where the name alone means several of them (PEP 751).
    fn dependencies(&self, package: &LockedPackage) -> Vec<String> {
        let mut references = Vec::new();
        for name in &package.dependencies {
            let entries: Vec<&LockedPackage> = self.packages.iter().filter(|other| other.name == *name).collect();
            let name = quoted(name.as_str());
            if entries.len() < 2 {
                references.push(format!("{{ name = {name} }}"));
                continue;
            }
            let met = entries.iter().filter(|other| !other.marker.is_disjoint(package.marker));
            references.extend(
                met.map(|other| format!("{{ name = {name}, version = {} }}", quoted(&other.version.to_string()))),
            );
        }
        references
    }

    fn write_tool(&self, text: &mut String) {
        text.push_str("\n[tool.flambeau]\n");
        line(text, "schema", &SCHEMA.to_string());
        line(text, "channel", &quoted(self.channel.as_str()));
        let requirements: Vec<String> = self.requirements.iter().map(|text| quoted(text)).collect();
        line(text, "requirements", &array(&requirements));
        let digest = requirements_digest(&self.requirements);
        line(text, "requirements-digest", &quoted(&digest.to_string()));
        self.settings.write(text);
        for locked in &self.targets {
            write_target(text, locked);
        }
    }
}

fn write_target(text: &mut String, locked: &LockedTarget) {
    text.push_str("\n[[tool.flambeau.targets]]\n");
    line(text, "target", &quoted(&locked.target.to_string()));
    line(
        text,
        "python-full-version",
        &quoted(&locked.python_full_version.to_string()),
    );
    let boundaries: Vec<String> = locked
        .python_boundaries
        .iter()
        .map(|version| quoted(&version.to_string()))
        .collect();
    line(text, "python-boundaries", &array(&boundaries));
    if locked.python_pinned {
        line(text, "python-pinned", "true");
    }
    line(text, "backend", &quoted(locked.backend.as_str()));
}

fn wheel(wheel: &LockedWheel) -> String {
    let mut text = format!("{{ name = {}", quoted(&wheel.file));
    let (key, value) = match &wheel.origin {
        Origin::Url(url) => ("url", url.to_string()),
        Origin::Index => ("path", index_path(&wheel.digest, &wheel.file)),
        Origin::Path(path) => ("path", path.clone()),
    };
    // Writing to a string cannot fail.
    let _ = write!(text, ", {key} = {}", quoted(&value));
    if let Some(size) = wheel.size {
        let _ = write!(text, ", size = {size}");
    }
    let _ = write!(text, ", hashes = {{ sha256 = \"{}\" }} }}", wheel.digest);
    text
}

pub(super) fn line(text: &mut String, key: &str, value: &str) {
    text.push_str(key);
    text.push_str(" = ");
    text.push_str(value);
    text.push('\n');
}

/// One item a line.
pub(super) fn array(items: &[String]) -> String {
    if items.is_empty() {
        return "[]".to_owned();
    }
    format!("[\n    {},\n]", items.join(",\n    "))
}

/// A TOML basic string.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            control if control.is_ascii_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
