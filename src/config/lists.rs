//! The project's own lists of requirements beside `dependencies`: extras (`[project.optional-dependencies]`) and
//! dependency groups (PEP 735).
//!
//! They belong to whoever owns the rest of `pyproject.toml`, so they are read only when one is asked for: a list that
//! nobody asks for may hold anything.
//! Refuses: names that are not there, two spellings of one name, lists that include each other in a circle.

use std::path::PathBuf;

use toml::{Table, Value};

use crate::pep::{ExtraName, GroupName, PackageName, Requirement};
use crate::requirement;

/// Why a list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// There is no such list.
    #[error("{} has no {what} `{name}`; it has {}", path.display(), none_or(known))]
    Unknown {
        /// The file.
        path: PathBuf,
        /// `extra` or `dependency group`.
        what: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names that are there.
        known: Vec<String>,
    },
    /// Two names are the same after normalisation.
    #[error("{} has the {what} `{first}` and `{second}`, which are one name", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// `extra` or `dependency group`.
        what: &'static str,
        /// One spelling.
        first: String,
        /// The other.
        second: String,
    },
    /// Lists include each other.
    #[error("{}: the {what}s include each other in a circle: {}", path.display(), names.join(" -> "))]
    Circle {
        /// The file.
        path: PathBuf,
        /// `extra` or `dependency group`.
        what: &'static str,
        /// The circle, its first name again at the end.
        names: Vec<String>,
    },
    /// An entry that is neither a requirement nor an inclusion.
    #[error("{}: in the {what} `{name}`, {entry} is no requirement: {reason}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// `extra` or `dependency group`.
        what: &'static str,
        /// The list.
        name: String,
        /// The entry as written.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn none_or(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// The lists of one `pyproject.toml`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lists {
    pub(super) path: PathBuf,
    pub(super) project: Option<PackageName>,
    pub(super) extras: Option<Table>,
    pub(super) groups: Option<Table>,
}

/// Which kind of list; they differ in how one includes another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Extra,
    Group,
}

impl Kind {
    const fn what(self) -> &'static str {
        match self {
            Self::Extra => "extra",
            Self::Group => "dependency group",
        }
    }
}

impl Lists {
    /// Whether there is an extra of this name.
    #[must_use]
    pub fn has_extra(&self, name: &ExtraName) -> bool {
        matches!(self.find(Kind::Extra, name.as_ref()), Ok((..)))
    }

    /// Whether there is a group of this name.
    #[must_use]
    pub fn has_group(&self, name: &GroupName) -> bool {
        matches!(self.find(Kind::Group, name.as_ref()), Ok((..)))
    }

    /// Whether the project has neither extras nor groups.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.extras.is_none() && self.groups.is_none()
    }

    /// The requirements of an extra, those of the project's other extras that it names included.
    pub fn extra(&self, name: &ExtraName) -> Result<Vec<String>, ListError> {
        let mut found = Vec::new();
        self.collect(Kind::Extra, name.as_ref(), &mut Vec::new(), &mut found)?;
        Ok(found)
    }

    /// The requirements of a group, those of the groups that it includes in their place.
    pub fn group(&self, name: &GroupName) -> Result<Vec<String>, ListError> {
        let mut found = Vec::new();
        self.collect(Kind::Group, name.as_ref(), &mut Vec::new(), &mut found)?;
        Ok(found)
    }

    /// The list called `name` however it is spelled.
    fn find(&self, kind: Kind, name: &str) -> Result<(&str, &Value), ListError> {
        let table = match kind {
            Kind::Extra => &self.extras,
            Kind::Group => &self.groups,
        };
        let spelled = || table.iter().flat_map(Table::iter);
        let mut same = spelled().filter(|(key, _)| normal(key).as_deref() == Some(name));
        let (path, what) = (self.path.clone(), kind.what());
        match (same.next(), same.next()) {
            (Some((key, value)), None) => Ok((key, value)),
            (Some((first, _)), Some((second, _))) => Err(ListError::Twice {
                path,
                what,
                first: first.clone(),
                second: second.clone(),
            }),
            (None, _) => Err(ListError::Unknown {
                path,
                what,
                name: name.to_owned(),
                known: {
                    let names: std::collections::BTreeSet<&String> = spelled().map(|(key, _)| key).collect();
                    names.into_iter().cloned().collect()
                },
            }),
        }
    }

    fn collect(
        &self,
        kind: Kind,
        name: &str,
        open: &mut Vec<String>,
        found: &mut Vec<String>,
    ) -> Result<(), ListError> {
        if let Some(start) = open.iter().position(|other| other == name) {
            let mut names = open[start..].to_vec();
            names.push(name.to_owned());
            return Err(ListError::Circle {
                path: self.path.clone(),
                what: kind.what(),
                names,
            });
        }
        let (_, value) = self.find(kind, name)?;
        let bad = |entry: &Value, reason: String| ListError::Entry {
            path: self.path.clone(),
            what: kind.what(),
            name: name.to_owned(),
            entry: entry.to_string(),
            reason,
        };
        let entries = value
            .as_array()
            .ok_or_else(|| bad(value, "a list is expected".to_owned()))?;
        open.push(name.to_owned());
        for entry in entries {
            match (entry, kind) {
                (Value::String(text), _) => {
                    let read = requirement::parse(text).map_err(|error| bad(entry, error.to_string()))?;
                    let text = if requirement::is_relative(&read) {
                        requirement::text(&read)
                    } else {
                        text.clone()
                    };
                    self.take(kind, &read, &text, open, found)?;
                }
                (Value::Table(table), Kind::Group) => match included(table) {
                    Some(other) => self.collect(kind, &other, open, found)?,
                    None => return Err(bad(entry, "expected { include-group = \"NAME\" }".to_owned())),
                },
                _ => return Err(bad(entry, "a text is expected".to_owned())),
            }
        }
        open.pop();
        Ok(())
    }

    /// Takes a requirement; one that names the project itself stands for its extras.
    fn take(
        &self,
        kind: Kind,
        requirement: &Requirement,
        text: &str,
        open: &mut Vec<String>,
        found: &mut Vec<String>,
    ) -> Result<(), ListError> {
        if self.project.as_ref() != Some(&requirement.name) {
            if !found.iter().any(|other| other == text) {
                found.push(text.to_owned());
            }
            return Ok(());
        }
        for extra in &requirement.extras {
            // A group may name the project's extras; whatever it includes then are extras alone.
            if kind == Kind::Extra {
                self.collect(Kind::Extra, extra.as_ref(), open, found)?;
            } else {
                self.collect(Kind::Extra, extra.as_ref(), &mut Vec::new(), found)?;
            }
        }
        Ok(())
    }
}

fn included(table: &Table) -> Option<String> {
    match (table.len(), table.get("include-group")) {
        (1, Some(Value::String(name))) => normal(name),
        _ => None,
    }
}

fn normal(name: &str) -> Option<String> {
    name.parse::<GroupName>().ok().map(|name| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists() -> Lists {
        let document: Table = toml::from_str(
            r#"
            [project.optional-dependencies]
            gpu = ["triton", "numpy<2"]
            Docs_Extra = ["sphinx"]
            all = ["my.project[gpu,docs-extra]", "numpy<2"]
            a = ["my-project[b]"]
            b = ["my-project[a]"]
            wrong = ["numpy ==== 1"]
            [dependency-groups]
            test = ["pytest", {include-group = "Base_Line"}]
            "base.line" = ["coverage[toml]"]
            with-extra = ["my-project[gpu]"]
            one = [{include-group = "two"}]
            two = ["x", {include-group = "one"}]
            twin-s = []
            Twin_S = []
            odd = [{include = "x"}]
            "#,
        )
        .expect("TOML");
        Lists {
            path: "pyproject.toml".into(),
            project: "My_Project".parse().ok(),
            extras: document["project"]["optional-dependencies"].as_table().cloned(),
            groups: document["dependency-groups"].as_table().cloned(),
        }
    }

    #[test]
    fn lists_include_others_in_place() {
        let extra = |name: &str| lists().extra(&name.parse().expect("a name"));
        let group = |name: &str| lists().group(&name.parse().expect("a name"));
        assert_eq!(extra("all").expect("a list"), ["triton", "numpy<2", "sphinx"]);
        assert_eq!(extra("docs.EXTRA").expect("a list"), ["sphinx"]);
        assert_eq!(group("test").expect("a list"), ["pytest", "coverage[toml]"]);
        assert_eq!(group("with_extra").expect("a list"), ["triton", "numpy<2"]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let extra = |name: &str| {
            lists()
                .extra(&name.parse().expect("a name"))
                .expect_err(name)
                .to_string()
        };
        let group = |name: &str| {
            lists()
                .group(&name.parse().expect("a name"))
                .expect_err(name)
                .to_string()
        };
        let rows = [
            (
                extra("nope"),
                "pyproject.toml has no extra `nope`; it has Docs_Extra, a, all, b, gpu, wrong",
            ),
            (
                extra("a"),
                "pyproject.toml: the extras include each other in a circle: a -> b -> a",
            ),
            (
                extra("wrong"),
                "pyproject.toml: in the extra `wrong`, \"numpy ==== 1\" is no requirement: ",
            ),
            (
                group("two"),
                "pyproject.toml: the dependency groups include each other in a circle: two -> one -> two",
            ),
            (
                group("twin-s"),
                "pyproject.toml has the dependency group `Twin_S` and `twin-s`, which are one name",
            ),
            (
                group("odd"),
                "pyproject.toml: in the dependency group `odd`, { include = \"x\" } is no requirement: ",
            ),
        ];
        for (found, expected) in rows {
            assert!(found.starts_with(expected), "{found}\n{expected}");
        }
    }
}
