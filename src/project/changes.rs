//! What differs between two environments: packages, their versions, and the room they take.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::env::state::EnvironmentState;

/// One package that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// The version before; none where it was not there.
    pub from: Option<String>,
    /// The version after; none where it is not there.
    pub to: Option<String>,
}

/// The difference between two environments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The packages that differ, sorted by name.
    pub packages: Vec<Change>,
    /// The Python before and after, where that differs.
    pub python: Option<(String, String)>,
    /// Bytes after less bytes before, where both are known.
    pub size: Option<i64>,
}

impl Changes {
    /// What turns the packages `before` into those `after`: names with versions.
    pub fn of_packages<'a>(
        before: impl IntoIterator<Item = (&'a str, &'a str)>,
        after: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut both: BTreeMap<&str, (Option<&str>, Option<&str>)> = BTreeMap::new();
        for (name, version) in before {
            both.entry(name).or_default().0 = Some(version);
        }
        for (name, version) in after {
            both.entry(name).or_default().1 = Some(version);
        }
        let packages = both
            .into_iter()
            .filter(|(_, (from, to))| from != to)
            .map(|(name, (from, to))| Change {
                name: name.to_owned(),
                from: from.map(str::to_owned),
                to: to.map(str::to_owned),
            })
            .collect();
        Self {
            packages,
            ..Self::default()
        }
    }

    /// What turns one environment into another.
    #[must_use]
    pub fn between(before: &EnvironmentState, after: &EnvironmentState) -> Self {
        let size = |state: &EnvironmentState| i64::try_from(state.size_bytes).ok();
        let pythons = (before.python_version.clone(), after.python_version.clone());
        Self {
            python: (pythons.0 != pythons.1).then_some(pythons),
            size: size(after)
                .zip(size(before))
                .map(|(after, before)| after.saturating_sub(before)),
            ..Self::of_packages(pins(before).chain(own(before)), pins(after).chain(own(after)))
        }
    }

    /// Whether nothing differs that people would call a difference.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.python.is_none()
    }
}

/// Name and version of every package of an environment.
pub fn pins(state: &EnvironmentState) -> impl Iterator<Item = (&str, &str)> {
    state.installed_packages.iter().filter_map(|pin| pin.split_once("=="))
}

/// The project's own packages, which take the place of locked ones.
fn own(state: &EnvironmentState) -> impl Iterator<Item = (&str, &str)> {
    state
        .editables
        .iter()
        .map(|own| (own.name.as_str(), own.version.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_added_removed_or_changed() {
        let before = [("torch", "2.7.0+cu118"), ("numpy", "2.2.6"), ("triton", "3.3.0")];
        let after = [("numpy", "2.2.6"), ("torch", "2.7.0+cpu"), ("extra", "1")];
        let changes = Changes::of_packages(before, after);
        let shown: Vec<_> = changes
            .packages
            .iter()
            .map(|change| (change.name.as_str(), change.from.as_deref(), change.to.as_deref()))
            .collect();
        assert_eq!(
            shown,
            [
                ("extra", None, Some("1")),
                ("torch", Some("2.7.0+cu118"), Some("2.7.0+cpu")),
                ("triton", Some("3.3.0"), None),
            ]
        );
        assert!(Changes::of_packages(before, before).is_empty());
    }
}
