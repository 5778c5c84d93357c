//! What git knows of the project's folder, and what it is told: that `.venv` and `environment_state.json` are not to be
//! committed.
//!
//! Git is asked itself, so that worktrees, submodules and `GIT_DIR` are found as it finds them. Where there is no git, or
//! it does not answer for this folder, nothing is told.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Project;
use crate::env::state;
use crate::fsx::{self, PathError};
use crate::process::{self, Limits, Outcome};

/// Git answers at once, unless its repository is on a disk that does not.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many bytes of an answer are kept; a lockfile of an earlier commit has less.
const LARGEST: usize = 16 << 20;

/// What git prints; none where it fails, is not there, or takes too long.
pub(super) fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // A partial clone would fetch what it lacks.
    command.args([
        "--no-pager",
        "-c",
        "protocol.allow=never",
        "-c",
        "core.fsmonitor=false",
        "-C",
    ]);
    command.arg(folder).args(arguments);
    command
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0");
    let limits = Limits {
        time: PATIENCE,
        output: LARGEST,
    };
    match process::run(command, limits) {
        Outcome::Finished(finished) if finished.exit == 0 => Some(finished.stdout),
        _ => None,
    }
}

impl Project<'_> {
    /// Tells git to pass over the links, by its own list of a clone's exceptions, unless it passes over them already.
    /// Returns the list that was written.
    pub(super) fn exclude_from_git(&self) -> Result<Option<PathBuf>, PathError> {
        let folder = &self.config.project;
        // One question each: a path may have line breaks.
        let answer = |question: &[&str]| {
            let printed = git(folder, &[&["rev-parse"], question].concat())?;
            printed.strip_suffix('\n').map(str::to_owned)
        };
        let (Some(prefix), Some(list)) = (answer(&["--show-prefix"]), answer(&["--git-path", "info/exclude"])) else {
            return Ok(None);
        };
        let is_shown = |name: &&str| git(folder, &["check-ignore", "--quiet", "--", name]).is_none();
        let shown: Vec<&str> = [".venv", state::FILE_NAME].into_iter().filter(is_shown).collect();
        if shown.is_empty() {
            return Ok(None);
        }
        let list = folder.join(list);
        // A list that is kept elsewhere and linked stays a link.
        let list = std::fs::canonicalize(&list).unwrap_or(list);
        let mut text = fsx::read_if_exists(&list)?.unwrap_or_default();
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        for name in shown {
            text.extend_from_slice(format!("/{}{name}\n", escaped(&prefix)).as_bytes());
        }
        if let Some(parent) = list.parent() {
            fsx::create_dir_all(parent)?;
        }
        fsx::write_atomic(&list, &text)?;
        Ok(Some(list))
    }
}

/// A path as git's patterns write it.
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for one in path.chars() {
        // A pattern is one line.
        if one == '\n' {
            escaped.push('?');
            continue;
        }
        if matches!(one, '*' | '?' | '[' | '\\' | ' ') {
            escaped.push('\\');
        }
        escaped.push(one);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_odd_folders_match_themselves_alone() {
        assert_eq!(escaped("a/b [1]*/"), r"a/b\ \[1]\*/");
        assert_eq!(escaped("a\nb/"), "a?b/");
    }
}
