//! `environment_state.json`: what an environment is, for people and for programs that embed it.
//!
//! The seed's four fields come first, in pascal case and a stable order, two spaces of indentation, one newline at the
//! end. Unknown fields are ignored when it is read, so that an older flambeau reads a newer one's environments.
//!
//! The file lies where people can edit it, and programs act on what it says. So what is read is compared with what lies
//! elsewhere: the folder's name, which begins with the key, and the commit record, which holds a copy.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::compose::Conflict;
use super::editable::Editable;
use crate::backend::{Backend, Channel};
use crate::digest::{EnvironmentKey, LockfileDigest, TreeDigest};
use crate::document::DocumentError;
use crate::fsx::{self, PathError};
use crate::store::{Shelf, Store};
use crate::target::Target;

/// The file's name, in the environment and as the project's link to it.
pub const FILE_NAME: &str = "environment_state.json";

/// A state file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading it.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It is not there.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// It is not what flambeau writes.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: DocumentError,
    },
    /// It says something else than the environment was built with.
    #[error("{} was changed: {field} is not what the environment was built with", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The first field that differs.
        field: String,
    },
}

impl StateError {
    /// Whether the environment is there and its state file is damaged.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Changed { .. })
    }
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EnvironmentState {
    /// `CUDA`, `ROCm` or `CPU`.
    pub installed_backend: Backend,
    /// When it was composed, RFC 3339 in UTC with seconds.
    pub created_at: String,
    /// Full version of the Python it is bound to.
    pub python_version: String,
    /// `torch==2.7.0+cu118`, sorted by name.
    pub installed_packages: Vec<String>,
    /// The channel that the PyTorch family came from.
    pub channel: Channel,
    /// The environment key.
    pub environment_key: EnvironmentKey,
    /// Digest of the logical tree.
    pub tree_digest: TreeDigest,
    /// Digest of the lockfile it was built from.
    pub lockfile_digest: LockfileDigest,
    /// The target.
    pub target: Target,
    /// Real path of the Python it is bound to.
    pub interpreter: PathBuf,
    /// Version of the flambeau that composed it.
    pub flambeau_version: String,
    /// Bytes of all its files, shared or not.
    pub size_bytes: u64,
    /// Paths that two packages wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<StateConflict>,
    /// The folder names of the wheel trees that it is composed of, sorted; empty where an older flambeau composed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trees: Vec<String>,
    /// Stores of others that its links lead into, by absolute paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lower_stores: Vec<PathBuf>,
    /// The project's own packages, where it has some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub editables: Vec<Editable>,
}

/// A path that two packages wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StateConflict {
    /// The path below the environment.
    pub path: String,
    /// Whose file is there.
    pub winner: String,
    /// Whose file is not.
    pub loser: String,
}

impl From<Conflict> for StateConflict {
    fn from(Conflict { path, winner, loser }: Conflict) -> Self {
        Self { path, winner, loser }
    }
}

impl EnvironmentState {
    /// The bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Every field is text, a number or a list of them, so that serialising never fails.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads the state of the environment at `env`, a folder of a store's shelf.
    pub fn read(env: &Path) -> Result<Self, StateError> {
        let path = env.join(FILE_NAME);
        let bytes = fsx::read_if_exists(&path)?.ok_or_else(|| StateError::Missing(path.clone()))?;
        let state: Self = match serde_json::from_slice(&bytes) {
            Ok(state) => state,
            Err(error) => {
                let source = DocumentError::json(&bytes, &error);
                return Err(StateError::Damaged { path, source });
            }
        };
        match state.contradiction(env) {
            Some(field) => Err(StateError::Changed { path, field }),
            None => Ok(state),
        }
    }

    /// The first field that contradicts the folder's name or the commit record.
    fn contradiction(&self, env: &Path) -> Option<String> {
        let name = env.file_name()?.to_str()?;
        if !name.starts_with(&self.environment_key.short()) {
            return Some("EnvironmentKey".to_owned());
        }
        let store = Store::new(env.parent()?.parent()?.to_owned());
        // Without a record the environment is verified before it is used.
        let contents = store.contents(Shelf::Envs, name).ok().flatten()?;
        let recorded: Self = serde_json::from_value(contents.get("state")?.clone()).ok()?;
        if recorded == *self || !name.starts_with(&recorded.environment_key.short()) {
            return None;
        }
        let (own, recorded) = (serde_json::to_value(self).ok()?, serde_json::to_value(recorded).ok()?);
        let fields = own.as_object()?.iter();
        let mut differing = fields.filter(|(field, value)| recorded.get(field.as_str()) != Some(*value));
        // A list that is empty on one side is not written there.
        let field = differing.next().map_or("a list", |(field, _)| field);
        Some(field.to_owned())
    }
}

/// The time now, RFC 3339 in UTC, to the second. `SOURCE_DATE_EPOCH` is for images and archives, not for this.
#[must_use]
pub fn now() -> String {
    time(crate::checkpoint::now())
}

/// A time in the form of [`now`]; one that no calendar has is written as the first moment there is.
#[must_use]
pub fn time(time: std::time::SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::MIN);
    time.round(jiff::Unit::Second).unwrap_or(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_form() {
        let state = EnvironmentState {
            installed_backend: Backend::Rocm,
            created_at: "2025-05-01T12:00:00Z".to_owned(),
            python_version: "3.11.7".to_owned(),
            installed_packages: vec!["torch==2.7.0+rocm6.3".to_owned()],
            channel: "rocm6.3".parse().expect("a channel"),
            environment_key: EnvironmentKey::from_bytes([1; 32]),
            tree_digest: TreeDigest::from_bytes([2; 32]),
            lockfile_digest: LockfileDigest::from_bytes([3; 32]),
            target: "cp311-manylinux_2_28_x86_64".parse().expect("a target"),
            interpreter: "/usr/bin/python3.11".into(),
            flambeau_version: "0.1.0".to_owned(),
            size_bytes: 12,
            conflicts: Vec::new(),
            trees: Vec::new(),
            lower_stores: Vec::new(),
            editables: Vec::new(),
        };
        let one = "01".repeat(32);
        let (two, three) = ("02".repeat(32), "03".repeat(32));
        let expected = format!(
            r#"{{
  "InstalledBackend": "ROCm",
  "CreatedAt": "2025-05-01T12:00:00Z",
  "PythonVersion": "3.11.7",
  "InstalledPackages": [
    "torch==2.7.0+rocm6.3"
  ],
  "Channel": "rocm6.3",
  "EnvironmentKey": "{one}",
  "TreeDigest": "{two}",
  "LockfileDigest": "{three}",
  "Target": "cp311-manylinux_2_28_x86_64",
  "Interpreter": "/usr/bin/python3.11",
  "FlambeauVersion": "0.1.0",
  "SizeBytes": 12
}}
"#
        );
        assert_eq!(String::from_utf8(state.to_bytes()).expect("text"), expected);
        let store = tempfile::tempdir().expect("a folder");
        let env = store.path().join(format!("envs/{}-env-rocm6.3-00000000", &one[..40]));
        std::fs::create_dir_all(&env).expect("a folder");
        assert!(matches!(EnvironmentState::read(&env), Err(StateError::Missing(_))));
        std::fs::write(env.join(FILE_NAME), &expected).expect("written");
        assert_eq!(EnvironmentState::read(&env).expect("read"), state);
        std::fs::write(env.join(FILE_NAME), &expected[..80]).expect("written");
        assert!(EnvironmentState::read(&env).expect_err("damaged").is_damage());
    }

    #[test]
    fn times_are_utc_to_the_second() {
        let text = now();
        assert!(
            text.ends_with('Z') && text.len() == "2025-05-01T12:00:00Z".len(),
            "{text}"
        );
    }
}
