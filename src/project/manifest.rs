//! Changing the project's requirements in `pyproject.toml`.
//!
//! Owns: where a requirement goes, and what the text looks like afterwards. Formatting and comments that are there
//! stay; an edit is a new text beside the old one, and nothing is written before somebody decides so.
//! Refuses: files that are no TOML, lists that another tool computes (`dynamic`). Beside the package of another tool
//! (`setup.py`, `[tool.poetry]`) no `[project]` table is written: requirements go to `[tool.flambeau]`.

use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, Table, Value};

use super::Project;
use super::lockfiles::{LockfileError, requirement};
use crate::document::DocumentError;
use crate::fsx::{self, PathError};
use crate::pep::{MarkerTree, PackageName, Requirement};
use crate::requirement::{self, ReferenceError};

/// Where requirements stand that other tools read too.
const DEPENDENCIES: [&str; 2] = ["project", "dependencies"];

/// Where flambeau's own stand.
const OURS: [&str; 3] = ["tool", "flambeau", "requirements"];

/// Why the project's requirements cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A requirement that may not be written down.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
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
        source: DocumentError,
    },
    /// A project is there already.
    #[error("{} has a [project] table already", .0.display())]
    Exists(PathBuf),
    /// Another tool's package, whose name and requirements a `[project]` table would replace.
    #[error("{0} defines this project already; a [project] table would replace its name and requirements")]
    Foreign(String),
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
    #[error("{name} is not among the project's requirements{}", listed(have))]
    NotRequired {
        /// The package.
        name: PackageName,
        /// What is required.
        have: Vec<String>,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        ", which are none".to_owned()
    } else {
        format!(": {}", names.join(", "))
    }
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
        if let Some(package) = self.config.foreign_package()? {
            return Err(ManifestError::Foreign(package));
        }
        let after = self.with_project(&text, &self.default_requirements()?);
        Ok(Edit { path, before, after })
    }

    /// Adds requirements; one for a package that is required already takes that one's place.
    pub fn edit_add(&self, requirements: &[String]) -> Result<Edit, ManifestError> {
        let wanted = requirements
            .iter()
            .map(|text| {
                let read = requirement(text)?;
                let is_reference = requirement::is_direct(&read);
                // The file is committed as well.
                if let Err(error @ ReferenceError::Login { .. }) = requirement::wheel_of(&read) {
                    return Err(error.into());
                }
                let text = if is_reference {
                    requirement::text(&read)
                } else {
                    text.trim().to_owned()
                };
                Ok((text, read))
            })
            .collect::<Result<Vec<_>, ManifestError>>()?;
        let (path, before, text) = self.manifest()?;
        let mut document = self.own_document(&path, &text)?;
        for (text, requirement) in &wanted {
            // Other tools read `dependencies`, and a path relative to the project is nothing to them.
            let relative = requirement::is_relative(requirement);
            let (here, elsewhere) = match (relative, existing(&mut document, &DEPENDENCIES).is_some()) {
                (false, true) => (DEPENDENCIES.as_slice(), OURS.as_slice()),
                _ => (OURS.as_slice(), DEPENDENCIES.as_slice()),
            };
            if relative && existing(&mut document, here).is_none() {
                own_list(&mut document, &path)?;
            }
            if let Some(list) = existing(&mut document, elsewhere) {
                drop_same(list, requirement);
            }
            let list = existing(&mut document, here).ok_or_else(|| ManifestError::NoList {
                path: path.clone(),
                key: "dependencies",
            })?;
            add(list, text, requirement);
        }
        let after = rendered(&document, &text);
        Ok(Edit { path, before, after })
    }

    /// Takes every requirement for these packages away.
    pub fn edit_remove(&self, names: &[PackageName]) -> Result<Edit, ManifestError> {
        let (path, before, text) = self.manifest()?;
        let mut document = self.own_document(&path, &text)?;
        for name in names {
            let mut have = Vec::new();
            let mut found = false;
            for key in [DEPENDENCIES.as_slice(), &OURS] {
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
        let after = rendered(&document, &text);
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
        if listed(&mut found, &DEPENDENCIES) || listed(&mut found, &OURS) {
            return Ok(found);
        }
        let lockfiles = self.all_lockfiles()?;
        let mut existing = lockfiles.iter().map(|(_, read)| &read.lockfile);
        let existing = existing.find(|lockfile| !lockfile.requirements.is_empty());
        let named = self.named_requirements(existing, &[]);
        if !is_dynamic(&found) && self.config.foreign_package()?.is_some() {
            own_list(&mut found, path)?;
            let list = existing_list(&mut found, path)?;
            named.iter().flatten().for_each(|text| push(list, text));
            return Ok(found);
        }
        let hold = match named.map_or_else(|| self.default_requirements(), Ok) {
            // What the project declares elsewhere is not known, and the default pins are not it.
            Err(LockfileError::Foreign(_)) => Vec::new(),
            hold => hold?,
        };
        if !project {
            return document(path, &self.with_project(text, &hold));
        }
        if found["project"].get("dependencies").is_some() {
            let (path, key) = (path.to_owned(), "dependencies");
            return Err(ManifestError::NoList { path, key });
        }
        if is_dynamic(&found) {
            return Err(ManifestError::Dynamic(path.to_owned()));
        }
        let mut list = Array::new();
        list.set_trailing("\n");
        for text in hold {
            push(&mut list, &text);
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
        source: DocumentError::toml_syntax(text, &source),
    })
}

/// Whether another tool computes the requirements of `[project]`.
fn is_dynamic(document: &DocumentMut) -> bool {
    let dynamic = document.get("project").and_then(|project| project.get("dynamic"));
    let mut keys = dynamic.and_then(Item::as_array).into_iter().flatten();
    keys.any(|key| key.as_str() == Some("dependencies"))
}

/// flambeau's own list, which must be there.
fn existing_list<'d>(document: &'d mut DocumentMut, path: &Path) -> Result<&'d mut Array, ManifestError> {
    existing(document, &OURS).ok_or_else(|| ManifestError::NoList {
        path: path.to_owned(),
        key: "requirements",
    })
}

fn existing<'d>(document: &'d mut DocumentMut, key: &[&str]) -> Option<&'d mut Array> {
    // Asking a document for something to change makes what is not there.
    let found = key.iter().try_fold(document.as_item(), |item, part| item.get(part));
    found.and_then(Item::as_array)?;
    let item = key
        .iter()
        .try_fold(document.as_item_mut(), |item, part| item.get_mut(part))?;
    item.as_array_mut()
}

/// The text of a changed document with the line ends of the old one, which the document does not keep.
fn rendered(document: &DocumentMut, old: &str) -> String {
    let text = document.to_string();
    let other_system = old.contains("\r\n") && old.matches('\n').count() == old.matches("\r\n").count();
    if other_system {
        text.replace("\r\n", "\n").replace('\n', "\r\n")
    } else {
        text
    }
}

/// Makes the list of flambeau's own, on lines of its own.
fn own_list(document: &mut DocumentMut, path: &Path) -> Result<(), ManifestError> {
    let table = || {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    };
    let tool = document.entry("tool").or_insert_with(table);
    let ours = tool
        .as_table_like_mut()
        .map(|tool| tool.entry("flambeau").or_insert_with(|| Item::Table(Table::new())));
    let ours = ours.and_then(Item::as_table_like_mut);
    let ours = ours.filter(|ours| !ours.contains_key("requirements"));
    let ours = ours.ok_or_else(|| ManifestError::NoList {
        path: path.to_owned(),
        key: "requirements",
    })?;
    let mut list = Array::new();
    list.set_trailing("\n");
    ours.insert("requirements", Item::Value(list.into()));
    Ok(())
}

/// Takes what [`add`] would replace out of the other list.
fn drop_same(list: &mut Array, requirement: &Requirement) {
    let same = list.iter().enumerate().filter(|(_, value)| is_same(value, requirement));
    let same: Vec<usize> = same.map(|(position, _)| position).collect();
    for position in same.into_iter().rev() {
        remove(list, position);
    }
}

fn parsed(value: &Value) -> Option<Requirement> {
    requirement::parse(value.as_str()?).ok()
}

/// Whether `requirement` takes the place of `value`: the same package under the same marker, or under any.
fn is_same(value: &Value, requirement: &Requirement) -> bool {
    parsed(value).is_some_and(|other| {
        other.name == requirement.name && (other.marker == requirement.marker || requirement.marker == MarkerTree::TRUE)
    })
}

fn position(list: &Array, name: &PackageName) -> Option<usize> {
    list.iter()
        .position(|value| parsed(value).is_some_and(|other| other.name == *name))
}

/// Puts a requirement in the place of one for the same package under the same marker, else at the end. One without a
/// marker takes the place of all of them.
fn add(list: &mut Array, text: &str, requirement: &Requirement) {
    let same = |value: &Value| is_same(value, requirement);
    let Some(first) = list.iter().position(same) else {
        push(list, text);
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
fn push(list: &mut Array, text: &str) {
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
        value.decor_mut().set_prefix(format!("{}\n{indent}", tail.trim_end()));
        let closing = tail.rsplit_once('\n').map_or("", |(_, closing)| closing);
        list.set_trailing(format!("\n{closing}"));
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
    if let Some(next) = list.get_mut(position) {
        let text = prefix(next);
        let text = match behind(&text) {
            Some(rest) => format!("{kept}{rest}"),
            None if position == 0 => removed,
            None => text,
        };
        next.decor_mut().set_prefix(text);
        list.set_trailing(tail);
        return;
    }
    let rest = behind(&tail).unwrap_or_default();
    list.set_trailing(format!("{kept}{rest}"));
    if list.is_empty() {
        list.set_trailing_comma(false);
        if kept.is_empty() {
            list.set_trailing("");
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
            assert_eq!(edited(before, |list| add(list, text, &requirement)), after, "{before}");
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
