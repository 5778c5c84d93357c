//! `keys.json`: the environment keys of lockfiles × targets, for CI to pin.
//!
//! ```json
//! {
//!   "schema": 1,
//!   "keys": {
//!     "cuda": {
//!       "cp311-manylinux_2_28_x86_64": "<64 hex digits>"
//!     }
//!   },
//!   "inputs": {
//!     "cuda": {
//!       "backend": "CUDA",
//!       "channel": "cu118",
//!       "packages": {
//!         "filelock": "3.18.0 c401f4f8377c4464",
//!         "torch": { "cp311": "2.7.0+cu118 e78a7e4fcb4e1b41" }
//!       }
//!     }
//!   }
//! }
//! ```
//!
//! The keys are what counts. The inputs are there for people: in a review they show what a changed key comes from, and
//! when a key is not the pinned one, what differs. A value that all targets share is written once, one that all
//! of a platform or of a Python share once under its name (`cp311`). Names are sorted as text, so that other tools sort them alike. Keys are computed elsewhere; this is their file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::inputs::{Inputs, Pin, SHORT};
use crate::digest::EnvironmentKey;
use crate::document::DocumentError;
use crate::target::{ParseTargetError, Target};

/// The version of the file that is read and written.
const SCHEMA: u32 = 1;

/// The keys of several lockfiles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    by_lockfile: BTreeMap<String, BTreeMap<String, EnvironmentKey>>,
    inputs: BTreeMap<String, LockfileInputs>,
}

/// Text that is no `keys.json`.
#[derive(Debug, thiserror::Error)]
pub enum ParseKeysError {
    /// Not JSON, or not of the right shape.
    #[error("not a file of environment keys")]
    Syntax(#[source] DocumentError),
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
    /// Files of older flambeaus have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    inputs: BTreeMap<String, LockfileInputs>,
}

/// What the keys of one lockfile cover.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LockfileInputs {
    backend: Shared,
    channel: Shared,
    /// Full versions, where the project pins them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    python: BTreeMap<String, String>,
    packages: BTreeMap<String, Shared>,
}

/// A text that all targets of a lockfile have in common, or one for each that has any; what all
/// targets of a platform or of a Python (`cp311`) have in common stands under that name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Shared {
    All(String),
    Each(BTreeMap<String, String>),
}

impl Default for Shared {
    fn default() -> Self {
        Self::Each(BTreeMap::new())
    }
}

impl Shared {
    fn of(each: &BTreeMap<Target, String>, targets: &[Target]) -> Self {
        let shared = |targets: &[Target]| {
            let first = each.get(targets.first()?)?;
            let same = targets.iter().all(|target| each.get(target) == Some(first));
            same.then(|| first.clone())
        };
        if let Some(text) = shared(targets) {
            return Self::All(text);
        }
        let like = |fits: &dyn Fn(&Target) -> bool| -> Vec<Target> { targets.iter().copied().filter(fits).collect() };
        let mut rows = BTreeMap::new();
        for (target, text) in each {
            let name = if shared(&like(&|other| other.platform == target.platform)).is_some() {
                target.platform.to_string()
            } else if shared(&like(&|other| other.python == target.python)).is_some() {
                target.python.abi()
            } else {
                target.to_string()
            };
            rows.insert(name, text.clone());
        }
        Self::Each(rows)
    }

    fn get(&self, target: &Target) -> Option<&str> {
        match self {
            Self::All(text) => Some(text),
            Self::Each(each) => {
                let names = [target.to_string(), target.platform.to_string(), target.python.abi()];
                names.iter().find_map(|name| each.get(name)).map(String::as_str)
            }
        }
    }
}

impl LockfileInputs {
    fn of(inputs: &BTreeMap<Target, Inputs>) -> Self {
        let targets: Vec<Target> = inputs.keys().copied().collect();
        let shared = |part: &dyn Fn(&Inputs) -> Option<String>| {
            let each = inputs
                .iter()
                .filter_map(|(target, inputs)| Some((*target, part(inputs)?)));
            Shared::of(&each.collect(), &targets)
        };
        let names: std::collections::BTreeSet<&String> =
            inputs.values().flat_map(|inputs| inputs.packages.keys()).collect();
        let pin = |inputs: &Inputs, name: &str| {
            let pin = inputs.packages.get(name)?;
            let digits = pin.sha256.get(..SHORT).unwrap_or(&pin.sha256);
            Some(format!("{} {digits}", pin.version))
        };
        let pinned = inputs
            .iter()
            .filter(|(target, inputs)| inputs.python != target.python.to_string());
        Self {
            backend: shared(&|inputs| Some(inputs.backend.clone())),
            channel: shared(&|inputs| Some(inputs.channel.clone())),
            python: pinned
                .map(|(target, inputs)| (target.to_string(), inputs.python.clone()))
                .collect(),
            packages: names
                .into_iter()
                .map(|name| (name.clone(), shared(&|inputs| pin(inputs, name))))
                .collect(),
        }
    }

    fn get(&self, target: &Target) -> Option<Inputs> {
        let text = target.to_string();
        let packages = self.packages.iter().filter_map(|(name, pin)| {
            let (version, sha256) = pin.get(target)?.split_once(' ')?;
            let (version, sha256) = (version.to_owned(), sha256.to_owned());
            Some((name.clone(), Pin { version, sha256 }))
        });
        Some(Inputs {
            backend: self.backend.get(target)?.to_owned(),
            channel: self.channel.get(target)?.to_owned(),
            platform: target.platform.to_string(),
            python: self
                .python
                .get(&text)
                .cloned()
                .unwrap_or_else(|| target.python.to_string()),
            packages: packages.collect(),
        })
    }
}

impl Keys {
    /// Reads the text of `keys.json`.
    pub fn parse(text: &str) -> Result<Self, ParseKeysError> {
        // The schema first: what else a newer file holds is not known.
        let syntax = |error| ParseKeysError::Syntax(DocumentError::json(text.as_bytes(), &error));
        let Head { schema } = serde_json::from_str(text).map_err(syntax)?;
        if schema != SCHEMA {
            return Err(ParseKeysError::Schema(schema));
        }
        let document: Document = serde_json::from_str(text).map_err(syntax)?;
        for target in document.keys.values().flat_map(BTreeMap::keys) {
            target.parse::<Target>()?;
        }
        Ok(Self {
            by_lockfile: document.keys,
            inputs: document.inputs,
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
            inputs: self.inputs.clone(),
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

    /// Says what the keys of one lockfile cover.
    pub fn describe(&mut self, lockfile: &str, inputs: &BTreeMap<Target, Inputs>) {
        if inputs.is_empty() {
            self.inputs.remove(lockfile);
        } else {
            self.inputs.insert(lockfile.to_owned(), LockfileInputs::of(inputs));
        }
    }

    /// What the pinned key of a lockfile's target covers, where the file says so.
    #[must_use]
    pub fn inputs(&self, lockfile: &str, target: &Target) -> Option<Inputs> {
        self.inputs.get(lockfile)?.get(target)
    }

    /// Takes over what `other` says of one lockfile.
    pub fn keep(&mut self, lockfile: &str, other: &Self) {
        if let Some(keys) = other.by_lockfile.get(lockfile) {
            self.by_lockfile.insert(lockfile.to_owned(), keys.clone());
        }
        if let Some(inputs) = other.inputs.get(lockfile) {
            self.inputs.insert(lockfile.to_owned(), inputs.clone());
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
    fn inputs_are_written_once_where_all_targets_share_them() {
        let inputs = |python: &str, torch: &str| Inputs {
            backend: "CUDA".to_owned(),
            channel: "cu118".to_owned(),
            platform: "manylinux_2_28_x86_64".to_owned(),
            python: python.to_owned(),
            packages: [("filelock", "3.18.0", "01"), ("torch", "2.7.0+cu118", torch)]
                .map(|(name, version, digit)| {
                    let (version, sha256) = (version.to_owned(), digit.repeat(32));
                    (name.to_owned(), Pin { version, sha256 })
                })
                .into(),
        };
        let (one, two) = (target("cp310-linux_x86_64"), target("cp311-linux_x86_64"));
        let mut keys = Keys::default();
        keys.set(
            "cuda",
            [(one, EnvironmentKey::of(b"1")), (two, EnvironmentKey::of(b"2"))],
        );
        let map = BTreeMap::from([(one, inputs("3.10", "aa")), (two, inputs("3.11.7", "bb"))]);
        keys.describe("cuda", &map);
        let text = keys.to_text();
        let (_, shown) = text.split_once("\"inputs\"").expect("inputs");
        insta::assert_snapshot!(shown, @r#"
        : {
            "cuda": {
              "backend": "CUDA",
              "channel": "cu118",
              "python": {
                "cp311-manylinux_2_28_x86_64": "3.11.7"
              },
              "packages": {
                "filelock": "3.18.0 0101010101010101",
                "torch": {
                  "cp310": "2.7.0+cu118 aaaaaaaaaaaaaaaa",
                  "cp311": "2.7.0+cu118 bbbbbbbbbbbbbbbb"
                }
              }
            }
          }
        }
        "#);
        let read = Keys::parse(&text).expect("keys");
        assert_eq!(read, keys);
        let back = read.inputs("cuda", &two).expect("described");
        assert!(back.changes(&inputs("3.11.7", "bb")).is_empty());
        assert_eq!(back.changes(&inputs("3.11.7", "aa")).len(), 1);
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
