//! Changing the project's requirements in `pyproject.toml`.
//!
//! Owns: where a requirement goes, and what the text looks like afterwards. Formatting and comments that are there
//! stay; an edit is a new text beside the old one, and nothing is written before somebody decides so.
//! Refuses: files that are no TOML, lists that another tool computes (`dynamic`).

use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, Value};

use super::Project;
use super::lockfiles::{DEFAULT_REQUIREMENTS, LockfileError, requirement};
use crate::fsx::{self, PathError};
use crate::pep::{MarkerTree, PackageName, Requirement};

/// Why the project's requirements cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A lockfile, or a requirement that is none.
    #[error(transparent)]
    Lockfile(#[from] LockfileError),
    /// It is no UTF-8 text.
    #[error("{} is not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// It is no TOML.
    #[error("{} is no TOML", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<toml_edit::TomlError>,
    },
    /// A project is there already.
    #[error("{} has a [project] table already", .0.display())]
    Exists(PathBuf),
    /// Another tool computes the requirements.
    #[error("{} says that `dependencies` are dynamic", .0.display())]
    Dynamic(PathBuf),
    /// A list that is none.
    #[error("`{key}` in {} is no list", path.display())]
    NoList {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
    /// A package that is not required.
    #[error("{name} is not among the project's requirements: {}", have.join(", "))]
    NotRequired {
        /// The package.
        name: PackageName,
        /// What is required.
        have: Vec<String>,
    },
}

/// A change of `pyproject.toml` that was not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The file.
    pub path: PathBuf,
    /// Its bytes; none where it does not exist.
    pub before: Option<Vec<u8>>,
    /// Its new text.
    pub after: String,
}

impl Edit {
    /// Writes the new text.
    pub fn apply(&self) -> Result<(), PathError> {
        if self.before.as_deref() == Some(self.after.as_bytes()) {
            return Ok(());
        }
        fsx::write_durable(&self.path, self.after.as_bytes())
    }

    /// Puts the file back as it was, byte for byte.
    pub fn undo(&self) -> Result<(), PathError> {
        match &self.before {
            Some(bytes) => fsx::write_durable(&self.path, bytes),
            None => std::fs::remove_file(&self.path).map_err(|source| PathError {
                action: "remove",
                path: self.path.clone(),
                source,
            }),
        }
    }
}

impl Project<'_> {
    /// A project with the default requirements.
    pub fn edit_init(&self) -> Result<Edit, ManifestError> {
        let (path, before, text) = self.manifest()?;
        if document(&path, &text)?.contains_key("project") {
            return Err(ManifestError::Exists(path));
        }
        let after = self.with_project(&text, &DEFAULT_REQUIREMENTS.map(str::to_owned));
        Ok(Edit { path, before, after })
    }

    /// Adds requirements; one for a package that is required already takes that one's place.
    pub fn edit_add(&self, requirements: &[String]) -> Result<Edit, ManifestError> {
        let wanted = requirements
            .iter()
            .map(|text| Ok((text.trim(), requirement(text)?)))
            .collect::<Result<Vec<_>, LockfileError>>()?;
        let (path, before, text) = self.manifest()?;
        let mut document = self.own_document(&path, &text)?;
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let list = list(&mut document, &path)?;
        for (text, requirement) in &wanted {
            add(list, text, requirement, newline);
        }
        let after = document.to_string();
        Ok(Edit { path, before, after })
    }

    /// Takes every requirement for these packages away.
    pub fn edit_remove(&self, names: &[PackageName]) -> Result<Edit, ManifestError> {
        let (path, before, text) = self.manifest()?;
        let mut document = self.own_document(&path, &text)?;
        for name in names {
            let mut have = Vec::new();
            let mut found = false;
            for key in [
                ["project", "dependencies"].as_slice(),
                &["tool", "flambeau", "requirements"],
            ] {
                let Some(list) = existing(&mut document, key) else {
                    continue;
                };
                have.extend(list.iter().filter_map(Value::as_str).map(str::to_owned));
                while let Some(position) = position(list, name) {
                    remove(list, position);
                    found = true;
                }
            }
            if !found {
                let name = name.clone();
                return Err(ManifestError::NotRequired { name, have });
            }
        }
        let after = document.to_string();
        Ok(Edit { path, before, after })
    }

    fn manifest(&self) -> Result<(PathBuf, Option<Vec<u8>>, String), ManifestError> {
        let path = self.config.project.join("pyproject.toml");
        // A link stays a link: what it points at is written.
        let path = std::fs::canonicalize(&path).unwrap_or(path);
        let before = fsx::read_if_exists(&path)?;
        let text =
            String::from_utf8(before.clone().unwrap_or_default()).map_err(|_| ManifestError::NotText(path.clone()))?;
        Ok((path, before, text))
    }

    /// The document, with a list of requirements of its own: where it has none, those that hold without one.
    fn own_document(&self, path: &Path, text: &str) -> Result<DocumentMut, ManifestError> {
        let mut found = document(path, text)?;
        let project = found.get("project").is_some();
        let listed = |document: &mut DocumentMut, key: &[&str]| existing(document, key).is_some();
        if listed(&mut found, &["project", "dependencies"]) || listed(&mut found, &["tool", "flambeau", "requirements"])
        {
            return Ok(found);
        }
        let lockfiles = self.all_lockfiles()?;
        let existing = lockfiles.iter().map(|(_, read)| &read.lockfile);
        let existing = existing.filter(|lockfile| !lockfile.requirements.is_empty()).next();
        let hold = self.requirements_for(existing, &[]);
        if !project {
            return document(path, &self.with_project(text, &hold));
        }
        if found["project"].get("dependencies").is_some() {
            let (path, key) = (path.to_owned(), "dependencies");
            return Err(ManifestError::NoList { path, key });
        }
        let dynamic = found["project"].get("dynamic").and_then(Item::as_array);
        if dynamic.is_some_and(|keys| keys.iter().any(|key| key.as_str() == Some("dependencies"))) {
            return Err(ManifestError::Dynamic(path.to_owned()));
        }
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let mut list = Array::new();
        list.set_trailing(newline);
        for text in hold {
            push(&mut list, &text, newline);
        }
        found["project"]["dependencies"] = Item::Value(list.into());
        Ok(found)
    }

    /// `text` with a minimal `[project]` behind it.
    fn with_project(&self, text: &str, requirements: &[String]) -> String {
        let folder = self.config.project.file_name().and_then(|name| name.to_str());
        let name = folder.and_then(|name| name.parse::<PackageName>().ok());
        let name = name.map_or_else(|| "project".to_owned(), |name| name.to_string());
        let list: Vec<String> = requirements
            .iter()
            .map(|text| format!("    {},\n", Value::from(text.as_str())))
            .collect();
        let own = format!(
            "[project]\nname = \"{name}\"\nversion = \"0.1.0\"\nrequires-python = \">=3.9\"\ndependencies = [\n{}]\n",
            list.concat()
        );
        let text = text.trim_end();
        if text.is_empty() {
            own
        } else {
            format!("{text}\n\n{own}")
        }
    }
}

fn document(path: &Path, text: &str) -> Result<DocumentMut, ManifestError> {
    text.parse().map_err(|source| ManifestError::Syntax {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn existing<'d>(document: &'d mut DocumentMut, key: &[&str]) -> Option<&'d mut Array> {
    let mut item = document.as_item_mut();
    for part in key {
        item = item.get_mut(part)?;
    }
    item.as_array_mut()
}

/// The list that requirements are added to.
fn list<'d>(document: &'d mut DocumentMut, path: &Path) -> Result<&'d mut Array, ManifestError> {
    let dependencies = ["project", "dependencies"];
    let key: &[&str] = if existing(document, &dependencies).is_some() {
        &dependencies
    } else {
        &["tool", "flambeau", "requirements"]
    };
    existing(document, key).ok_or_else(|| ManifestError::NoList {
        path: path.to_owned(),
        key: "dependencies",
    })
}

fn parsed(value: &Value) -> Option<Requirement> {
    value.as_str()?.parse().ok()
}

fn position(list: &Array, name: &PackageName) -> Option<usize> {
    list.iter()
        .position(|value| parsed(value).is_some_and(|other| other.name == *name))
}

/// Puts a requirement in the place of one for the same package under the same marker, else at the end. One without a
/// marker takes the place of all of them.
fn add(list: &mut Array, text: &str, requirement: &Requirement, newline: &str) {
    let same = |value: &Value| {
        parsed(value).is_some_and(|other| {
            other.name == requirement.name
                && (other.marker == requirement.marker || requirement.marker == MarkerTree::TRUE)
        })
    };
    let Some(first) = list.iter().position(same) else {
        push(list, text, newline);
        return;
    };
    let old = list.get(first).map(Value::decor).cloned().unwrap_or_default();
    let mut value = Value::from(text);
    *value.decor_mut() = old;
    list.replace_formatted(first, value);
    let others: Vec<usize> = (first + 1..list.len())
        .filter(|at| list.get(*at).is_some_and(same))
        .collect();
    for other in others.into_iter().rev() {
        remove(list, other);
    }
}

fn prefix(value: &Value) -> String {
    let text = value.decor().prefix().and_then(|text| text.as_str());
    text.unwrap_or_default().to_owned()
}

/// Takes what stands between the last value (its comma, if it has one) and the closing bracket.
fn take_tail(list: &mut Array) -> String {
    let mut tail = String::new();
    if let Some(last) = list.len().checked_sub(1).and_then(|last| list.get_mut(last)) {
        tail.push_str(last.decor().suffix().and_then(|text| text.as_str()).unwrap_or_default());
        last.decor_mut().set_suffix("");
    }
    tail.push_str(list.trailing().as_str().unwrap_or_default());
    tail
}

/// Appends in the manner of the values that are there: on a line of its own, or on the same line.
fn push(list: &mut Array, text: &str, newline: &str) {
    let tail = take_tail(list);
    let last = list.len().checked_sub(1).and_then(|last| list.get(last)).map(prefix);
    let lines = tail.contains('\n') || last.as_ref().is_some_and(|prefix| prefix.contains('\n'));
    let mut value = Value::from(text);
    if lines {
        let indent = last
            .as_ref()
            .and_then(|prefix| prefix.rsplit_once('\n'))
            .map_or("    ", |(_, indent)| indent);
        // A comment at the end of the last line stays there.
        value
            .decor_mut()
            .set_prefix(format!("{}{newline}{indent}", tail.trim_end()));
        let closing = tail.rsplit_once('\n').map_or("", |(_, closing)| closing);
        list.set_trailing(format!("{newline}{closing}"));
        list.set_trailing_comma(true);
    } else {
        value.decor_mut().set_prefix(if last.is_some() { " " } else { "" });
        list.set_trailing(tail);
    }
    list.push_formatted(value);
}

/// Removes a value and the comment at the end of its line; other comments stay.
fn remove(list: &mut Array, position: usize) {
    let tail = take_tail(list);
    let removed = prefix(&list.remove(position));
    let kept = removed.trim_end();
    let behind = |text: &str| text.find('\n').map(|at| text[at..].to_owned());
    match list.get_mut(position) {
        Some(next) => {
            let text = prefix(next);
            let text = match behind(&text) {
                Some(rest) => format!("{kept}{rest}"),
                None if position == 0 => removed,
                None => text,
            };
            next.decor_mut().set_prefix(text);
            list.set_trailing(tail);
        }
        None => {
            let rest = behind(&tail).unwrap_or_default();
            list.set_trailing(format!("{kept}{rest}"));
            if list.is_empty() {
                list.set_trailing_comma(false);
                if kept.is_empty() {
                    list.set_trailing("");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, change: impl FnOnce(&mut Array)) -> String {
        let mut document: DocumentMut = format!("dependencies = {text}\n").parse().expect("TOML");
        change(document["dependencies"].as_array_mut().expect("a list"));
        let text = document.to_string();
        text.parse::<DocumentMut>().expect("TOML still");
        text.trim_start_matches("dependencies = ").trim_end().to_owned()
    }

    #[test]
    fn additions_look_like_what_is_there() {
        let rows = [
            ("[]", "numpy", "[\"numpy\"]"),
            ("[\"a\", \"b\"]", "numpy", "[\"a\", \"b\", \"numpy\"]"),
            ("[\n  \"a\",\n]", "numpy", "[\n  \"a\",\n  \"numpy\",\n]"),
            ("[\n    \"a\"\n  ]", "numpy", "[\n    \"a\",\n    \"numpy\",\n  ]"),
            (
                "[\n    # first\n    \"a\", # why a\n    'b' # why b\n    # end\n]",
                "numpy",
                "[\n    # first\n    \"a\", # why a\n    'b', # why b\n    # end\n    \"numpy\",\n]",
            ),
            (
                "[\n    \"a\", # why\n]",
                "numpy",
                "[\n    \"a\", # why\n    \"numpy\",\n]",
            ),
            ("[\"NumPy<2\", \"b\"]", "numpy>=2", "[\"numpy>=2\", \"b\"]"),
            (
                "[\n    \"a\",\n    \"numpy<2\", # old\n]",
                "numpy",
                "[\n    \"a\",\n    \"numpy\", # old\n]",
            ),
            (
                "['x; os_name == \"nt\"', 'x==1; os_name != \"nt\"']",
                "x==2; os_name == 'nt'",
                "[\"x==2; os_name == 'nt'\", 'x==1; os_name != \"nt\"']",
            ),
            ("['x; os_name == \"nt\"', 'b', 'x==1']", "x==3", "[\"x==3\", 'b']"),
            ("[]", "x; os_name == \"nt\"", "['x; os_name == \"nt\"']"),
        ];
        for (before, text, after) in rows {
            let requirement = requirement(text).expect("a requirement");
            assert_eq!(
                edited(before, |list| add(list, text, &requirement, "\n")),
                after,
                "{before}"
            );
        }
    }

    #[test]
    fn removals_leave_other_comments() {
        let rows = [
            ("[\"a\", \"x\", \"b\"]", "[\"a\", \"b\"]"),
            ("[\"x\", \"b\"]", "[\"b\"]"),
            ("[\"a\", \"x\"]", "[\"a\"]"),
            ("[\"x\"]", "[]"),
            ("[\n    \"x\",\n]", "[]"),
            ("[\n    \"a\",\n    \"x\",\n]", "[\n    \"a\",\n]"),
            ("[\n    \"x\",\n    \"b\",\n]", "[\n    \"b\",\n]"),
            (
                "[\n    \"a\", # why a\n    \"x\", # why x\n    # about b\n    \"b\", # why b\n]",
                "[\n    \"a\", # why a\n    # about b\n    \"b\", # why b\n]",
            ),
            ("[\n    \"a\", # why a\n    \"x\" # why x\n]", "[\n    \"a\" # why a\n]"),
        ];
        for (before, after) in rows {
            let found = edited(before, |list| {
                let position = position(list, &"x".parse().expect("a name")).expect("there");
                remove(list, position);
            });
            assert_eq!(found, after, "{before}");
        }
    }
}
