//! `keys.json`: the environment keys of lockfiles × targets, for CI to pin.
//!
//! ```json
//! {
//!   "schema": 1,
//!   "keys": {
//!     "cuda": {
//!       "cp311-manylinux_2_28_x86_64": "<64 hex digits>"
//!     }
//!   }
//! }
//! ```
//!
//! Names are sorted as text, so that other tools sort them alike. Keys are computed elsewhere; this is their file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::EnvironmentKey;
use crate::target::{ParseTargetError, Target};

/// The version of the file that is read and written.
const SCHEMA: u32 = 1;

/// The keys of several lockfiles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    by_lockfile: BTreeMap<String, BTreeMap<String, EnvironmentKey>>,
}

/// Text that is no `keys.json`.
#[derive(Debug, thiserror::Error)]
pub enum ParseKeysError {
    /// Not JSON, or not of the right shape.
    #[error("not a file of environment keys")]
    Syntax(#[from] serde_json::Error),
    /// A newer form.
    #[error("the file of environment keys has schema {0}; this flambeau reads schema {SCHEMA}")]
    Schema(u32),
    /// A name that is no target.
    #[error("the file of environment keys names a target that is none")]
    Target(#[from] ParseTargetError),
}

#[derive(Deserialize)]
struct Head {
    schema: u32,
}

#[derive(Serialize, Deserialize)]
struct Document {
    schema: u32,
    keys: BTreeMap<String, BTreeMap<String, EnvironmentKey>>,
}

impl Keys {
    /// Reads the text of `keys.json`.
    pub fn parse(text: &str) -> Result<Self, ParseKeysError> {
        // The schema first: what else a newer file holds is not known.
        let Head { schema } = serde_json::from_str(text)?;
        if schema != SCHEMA {
            return Err(ParseKeysError::Schema(schema));
        }
        let document: Document = serde_json::from_str(text)?;
        for target in document.keys.values().flat_map(BTreeMap::keys) {
            target.parse::<Target>()?;
        }
        Ok(Self {
            by_lockfile: document.keys,
        })
    }

    /// The text of `keys.json`.
    ///
    /// # Panics
    /// Never: maps of text to text can always be written as JSON.
    #[must_use]
    pub fn to_text(&self) -> String {
        let document = Document {
            schema: SCHEMA,
            keys: self.by_lockfile.clone(),
        };
        let mut text = serde_json::to_string_pretty(&document).expect("text keys and values");
        text.push('\n');
        text
    }

    /// The key of a lockfile (by its name, e.g. `cuda`) for a target.
    #[must_use]
    pub fn get(&self, lockfile: &str, target: &Target) -> Option<EnvironmentKey> {
        self.by_lockfile.get(lockfile)?.get(&target.to_string()).copied()
    }

    /// Replaces the keys of one lockfile; without any, the lockfile is forgotten.
    pub fn set(&mut self, lockfile: &str, keys: impl IntoIterator<Item = (Target, EnvironmentKey)>) {
        let keys: BTreeMap<String, EnvironmentKey> = keys
            .into_iter()
            .map(|(target, key)| (target.to_string(), key))
            .collect();
        if keys.is_empty() {
            self.by_lockfile.remove(lockfile);
        } else {
            self.by_lockfile.insert(lockfile.to_owned(), keys);
        }
    }

    /// Takes over what `other` says of one lockfile.
    pub fn keep(&mut self, lockfile: &str, other: &Self) {
        if let Some(keys) = other.by_lockfile.get(lockfile) {
            self.by_lockfile.insert(lockfile.to_owned(), keys.clone());
        }
    }

    /// Every lockfile's name with its keys by target, sorted.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<String, BTreeMap<String, EnvironmentKey>> {
        &self.by_lockfile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().expect("a target")
    }

    #[test]
    fn text_is_sorted_and_survives() {
        let mut keys = Keys::default();
        let key = EnvironmentKey::of(b"");
        keys.set(
            "rocm",
            [(target("cp39-linux_x86_64"), key), (target("cp310-linux_x86_64"), key)],
        );
        keys.set("cuda", [(target("cp311-linux_x86_64"), EnvironmentKey::of(b"x"))]);
        keys.set("gone", []);
        insta::assert_snapshot!(keys.to_text(), @r#"
    {
      "schema": 1,
      "keys": {
        "cuda": {
          "cp311-manylinux_2_28_x86_64": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
        },
        "rocm": {
          "cp310-manylinux_2_28_x86_64": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
          "cp39-manylinux_2_28_x86_64": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        }
      }
    }
    "#);
        assert_eq!(Keys::parse(&keys.to_text()).expect("keys"), keys);
        assert!(keys.to_text().ends_with("}\n"));
        assert_eq!(keys.get("rocm", &target("cp39-linux_x86_64")), Some(key));
        assert_eq!(keys.get("cuda", &target("cp39-linux_x86_64")), None);
        keys.set("rocm", []);
        assert_eq!(keys.all().len(), 1);
    }

    #[test]
    fn other_files_are_refused() {
        for (text, said) in [
            ("{", "not a file of environment keys"),
            (
                "{\"schema\": 2, \"new\": []}",
                "the file of environment keys has schema 2; this flambeau reads schema 1",
            ),
            (
                "{\"schema\": 1, \"keys\": {\"cuda\": {\"py3\": \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}}}",
                "the file of environment keys names a target that is none",
            ),
            (
                "{\"schema\": 1, \"keys\": {\"cuda\": {\"cp311-win_amd64\": \"e3b0\"}}}",
                "not a file of environment keys",
            ),
        ] {
            assert_eq!(Keys::parse(text).expect_err("no keys").to_string(), said, "{text}");
        }
    }
}
