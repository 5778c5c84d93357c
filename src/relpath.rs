//! Relative paths that came from outside (archives, RECORD, lockfiles), validated before they touch a real path.
//!
//! Refuses: empty paths, absolute paths, drive letters, backslashes, NUL, other control characters and line separators,
//! components that are empty, `.` or `..`, components longer than a file name may be. Text is UTF-8 by construction.

use std::borrow::Borrow;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The longest file name that Linux and macOS take, in bytes.
const NAME_MAX: usize = 255;
/// The longest path in an archive, in bytes; leaves room for the folder it is put into (`PATH_MAX` is 4096).
const PATH_MAX: usize = 3072;

/// A path that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a safe relative path: {reason}", path.escape_debug())]
pub struct UnsafePath {
    /// The text as it came.
    pub path: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

/// A safe relative path with `/` between its components.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelPath(String);

impl RelPath {
    /// Checks `text`.
    pub fn new(text: &str) -> Result<Self, UnsafePath> {
        let refuse = |reason| {
            Err(UnsafePath {
                path: text.to_owned(),
                reason,
            })
        };
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > PATH_MAX {
            return refuse("it is too long");
        }
        if text.starts_with('/') {
            return refuse("it is absolute");
        }
        if text.contains('\\') {
            return refuse("it holds a backslash, which is a separator on Windows");
        }
        if text.chars().any(char::is_control) {
            return refuse("it holds a control character");
        }
        // They end a line for some readers of RECORD and entry points.
        if text.contains(['\u{2028}', '\u{2029}']) {
            return refuse("it holds a line separator");
        }
        for component in text.split('/') {
            match component {
                "" => return refuse("a component is empty"),
                "." | ".." => return refuse("a component is `.` or `..`"),
                name if name.len() > NAME_MAX => return refuse("a component is too long"),
                _ => {}
            }
        }
        let mut chars = text.chars();
        if chars.next().is_some_and(|first| first.is_ascii_alphabetic()) && chars.next() == Some(':') {
            return refuse("it starts with a drive letter");
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The components, first to last.
    #[must_use]
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// This path below another.
    #[must_use]
    pub fn under(&self, folder: &Self) -> Self {
        Self(format!("{}/{}", folder.0, self.0))
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl AsRef<Path> for RelPath {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl Borrow<str> for RelPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RelPath {
    type Error = UnsafePath;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<RelPath> for String {
    fn from(path: RelPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_pass() {
        for text in ["a", "torch/lib/libc10.so", "a b/ü.py", "..a/b..", "x/.hidden", "ab:c"] {
            assert_eq!(RelPath::new(text).expect("safe").as_str(), text);
        }
    }

    #[test]
    fn unsafe_paths_are_refused() {
        let long = "a".repeat(256);
        for text in [
            "",
            "/a",
            "a/",
            "a//b",
            "./a",
            "a/../b",
            "..",
            "a\\b",
            "C:/a",
            "c:",
            "a\0b",
            "a\nb",
            "a\u{85}b",
            "a\u{2028}b",
            &long,
        ] {
            assert!(RelPath::new(text).is_err(), "{text:?}");
        }
    }
}
