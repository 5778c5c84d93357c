//! The files that `pip install -e` gives a project: its dist-info, its launchers and the line that puts it on the path.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use toml::Value;
use url::Url;

use super::EditableError;
use super::manifest::{Named, ProjectTable};
use crate::digest::FileDigest;
use crate::env::editable::BoundFile;
use crate::pep::{Requirement, Version};
use crate::relpath::RelPath;
use crate::wheel::entry_points;
use crate::wheel::layout::Layout;
use crate::wheel::record;

/// uv takes a dist-info without it for a broken one.
const WHEEL: &str = "Wheel-Version: 1.0\nGenerator: flambeau\nRoot-Is-Purelib: true\nTag: py3-none-any\n";

/// One package of the project's own.
pub(super) struct Package<'a> {
    pub(super) name: &'a Named,
    pub(super) version: &'a Version,
    pub(super) folder: &'a Path,
    pub(super) roots: &'a [PathBuf],
    pub(super) table: &'a ProjectTable,
}

impl Package<'_> {
    /// Every file, by path.
    pub(super) fn files(&self, layout: Layout) -> Result<Vec<BoundFile>, EditableError> {
        let site = layout.site_packages();
        // As the specification of wheels spells both in the names of folders.
        let stem = format!(
            "{}-{}",
            self.name.normal.to_string().replace('-', "_"),
            self.version.to_string().replace('-', "_")
        );
        let inside = |name: &str| format!("{site}/{stem}.dist-info/{name}");
        let entries = self.entry_points();
        let mut texts = vec![
            (format!("{site}/__editable__.{stem}.pth"), self.path_lines()?, false),
            (inside("INSTALLER"), "flambeau\n".to_owned(), false),
            (inside("METADATA"), self.metadata(), false),
            (inside("WHEEL"), WHEEL.to_owned(), false),
            (inside("direct_url.json"), self.direct_url()?, false),
        ];
        // The names and references are checked, so that this reads what was written.
        for script in entry_points::parse(&entries).map_err(|error| self.refused(error.to_string()))? {
            let text = String::from_utf8_lossy(&script.contents()).into_owned();
            texts.push((format!("bin/{}", script.name), text, true));
        }
        if !entries.is_empty() {
            texts.push((inside("entry_points.txt"), entries, false));
        }
        let mut rows: BTreeMap<String, Option<(FileDigest, u64)>> = BTreeMap::new();
        for (path, text, _) in &texts {
            let digest = FileDigest::of(text.as_bytes());
            rows.insert(layout.record_path(path), Some((digest, text.len() as u64)));
        }
        let own = inside("RECORD");
        rows.insert(layout.record_path(&own), None);
        texts.push((own, String::from_utf8_lossy(&record::write(&rows)).into_owned(), false));
        texts.sort();
        let package = self.name.normal.to_string();
        let bound = |(path, text, executable): (String, String, bool)| {
            Ok(BoundFile {
                package: package.clone(),
                path: RelPath::new(&path).map_err(|error| self.refused(error.to_string()))?,
                text,
                executable,
            })
        };
        texts.into_iter().map(bound).collect()
    }

    fn refused(&self, reason: String) -> EditableError {
        EditableError::Value {
            path: self.folder.join("pyproject.toml"),
            reason,
        }
    }

    fn metadata(&self) -> String {
        let table = self.table;
        let mut text = String::from("Metadata-Version: 2.1\n");
        let mut field = |name: &str, value: &str| {
            let value = one_line(value);
            if !value.is_empty() {
                // Writing into memory never fails.
                writeln!(text, "{name}: {value}").ok();
            }
        };
        field("Name", &self.name.written);
        field("Version", &self.version.to_string());
        field("Summary", table.description.as_deref().unwrap_or_default());
        field("Keywords", &list(table.keywords.as_ref()).join(","));
        for (people, name, email) in [
            (&table.authors, "Author", "Author-email"),
            (&table.maintainers, "Maintainer", "Maintainer-email"),
        ] {
            let (names, emails) = persons(people.as_ref());
            field(name, &names.join(", "));
            field(email, &emails.join(", "));
        }
        let license = table.license.as_ref();
        let license = license.and_then(|license| license.as_str().or_else(|| license.get("text")?.as_str()));
        field("License", license.unwrap_or_default());
        for classifier in list(table.classifiers.as_ref()) {
            field("Classifier", classifier);
        }
        for (label, url) in table.urls.as_ref().and_then(Value::as_table).into_iter().flatten() {
            if let Some(url) = url.as_str() {
                field("Project-URL", &format!("{label}, {url}"));
            }
        }
        if let Some(required) = &table.requires_python {
            field("Requires-Python", &required.to_string());
        }
        for requirement in &table.dependencies {
            field("Requires-Dist", &requirement.to_string());
        }
        for (extra, requirements) in &table.optional_dependencies {
            field("Provides-Extra", extra.as_ref());
            for requirement in requirements {
                let conditional: Requirement = requirement.clone().with_extra_marker(extra.clone());
                field("Requires-Dist", &conditional.to_string());
            }
        }
        text
    }

    /// `entry_points.txt`; empty where there are none.
    fn entry_points(&self) -> String {
        let table = self.table;
        let scripts = [("console_scripts", &table.scripts), ("gui_scripts", &table.gui_scripts)];
        let others = table
            .entry_points
            .iter()
            .map(|(group, entries)| (group.as_str(), entries));
        let mut text = String::new();
        for (group, entries) in scripts
            .into_iter()
            .chain(others)
            .filter(|(_, entries)| !entries.is_empty())
        {
            let gap = if text.is_empty() { "" } else { "\n" };
            writeln!(text, "{gap}[{group}]").ok();
            for (name, reference) in entries {
                writeln!(text, "{name} = {}", reference.trim()).ok();
            }
        }
        text
    }

    fn direct_url(&self) -> Result<String, EditableError> {
        let url = Url::from_file_path(self.folder).map_err(|()| EditableError::Folder(self.folder.to_owned()))?;
        let document = serde_json::json!({ "dir_info": { "editable": true }, "url": url.as_str() });
        Ok(format!("{document}\n"))
    }

    /// The import roots, a line each, for whoever reads `.pth` files and runs no Python.
    fn path_lines(&self) -> Result<String, EditableError> {
        let mut text = String::new();
        for root in self.roots {
            let breaks = |one: char| one.is_control() || matches!(one, '\u{2028}' | '\u{2029}');
            // `site` takes trailing spaces for the end of the line.
            let line = root
                .to_str()
                .filter(|line| !line.contains(breaks) && line.trim_end() == *line);
            let line = line.ok_or_else(|| EditableError::Folder(root.clone()))?;
            writeln!(text, "{line}").ok();
        }
        Ok(text)
    }
}

/// Text that cannot begin another header.
fn one_line(text: &str) -> String {
    let breaks = |one: char| one.is_control() || matches!(one, '\u{2028}' | '\u{2029}');
    text.replace(breaks, " ").trim().to_owned()
}

fn list(value: Option<&Value>) -> Vec<&str> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).collect()
}

/// Those with a name alone, and those with an address.
fn persons(value: Option<&Value>) -> (Vec<String>, Vec<String>) {
    let (mut names, mut emails) = (Vec::new(), Vec::new());
    for person in value.and_then(Value::as_array).into_iter().flatten() {
        let at = |key: &str| person.get(key).and_then(Value::as_str);
        match (at("name"), at("email")) {
            (Some(name), Some(email)) => emails.push(format!("{name} <{email}>")),
            (None, Some(email)) => emails.push(email.to_owned()),
            (Some(name), None) => names.push(name.to_owned()),
            (None, None) => {}
        }
    }
    (names, emails)
}
