//! A folder's whole state as text, to show that nothing in it has changed.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::support::encoding::sha256;

/// One line for each entry: mode, path, then the digest of a file or the target of a link. Sorted by path.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TreeSnapshot(Vec<String>);

impl TreeSnapshot {
    /// The lines.
    pub(crate) fn lines(&self) -> &[String] {
        &self.0
    }

    /// Fails the test, naming what differs, unless the other is the same.
    #[track_caller]
    pub(crate) fn assert_same(&self, other: &Self) {
        let only = |these: &Self, those: &Self, sign: &str| {
            let lines = these.0.iter().filter(|line| !those.0.contains(line));
            lines.flat_map(|line| [sign, line, "\n"]).collect::<String>()
        };
        let difference = only(self, other, "- ") + &only(other, self, "+ ");
        assert!(difference.is_empty(), "the folder has changed:\n{difference}");
    }
}

impl fmt::Display for TreeSnapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(formatter, "{line}"))
    }
}

impl fmt::Debug for TreeSnapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Takes the state of a folder. Times are left out: what is read may change them.
pub(crate) fn tree_snapshot(folder: &Path) -> TreeSnapshot {
    let mut lines = Vec::new();
    collect(folder, "", &mut lines);
    lines.sort();
    TreeSnapshot(lines.into_iter().map(|(_, line)| line).collect())
}

fn collect(folder: &Path, prefix: &str, lines: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else {
        lines.push((prefix.to_owned(), format!("unreadable {prefix}")));
        return;
    };
    for entry in entries.flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let Ok(metadata) = entry.metadata() else { continue };
        let mode = metadata.mode() & 0o7777;
        let line = if metadata.is_dir() {
            collect(&entry.path(), &format!("{name}/"), lines);
            format!("{mode:04o} {name}/")
        } else if metadata.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            format!("link {name} -> {}", target.display())
        } else if metadata.is_file() {
            let digest = fs::read(entry.path()).map_or_else(|error| error.to_string(), |bytes| sha256(&bytes));
            format!("{mode:04o} {name} {digest}")
        } else {
            format!("special {name}")
        };
        lines.push((name, line));
    }
}
