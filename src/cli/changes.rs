//! The difference between two environments, in words and in documents.

use std::path::Path;

use super::Context;
use crate::project::activate::Activated;
use crate::project::changes::{Change, Changes};
use crate::ui::human_bytes;

/// `−4.1 GB`, with the sign that a minus has in print.
pub(super) fn signed_bytes(bytes: i64) -> String {
    let sign = if bytes < 0 { '−' } else { '+' };
    format!("{sign}{}", human_bytes(bytes.unsigned_abs()))
}

/// The lines that tell a difference: what changed its version and the room it takes, what was added, what was removed.
pub(super) fn lines(changes: &Changes) -> Vec<String> {
    let mut changed: Vec<String> = Vec::new();
    if let Some((before, after)) = &changes.python {
        changed.push(format!("Python {before} → {after}"));
    }
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for Change { name, from, to } in &changes.packages {
        match (from, to) {
            (Some(from), Some(to)) => changed.push(format!("{name} {from} → {to}")),
            (None, Some(to)) => added.push(format!("{name} {to}")),
            (Some(from), None) => removed.push(format!("{name} {from}")),
            (None, None) => {}
        }
    }
    if let Some(size) = changes.size.filter(|size| *size != 0) {
        changed.push(signed_bytes(size));
    }
    let mut lines = Vec::new();
    for (what, items) in [("changed: ", changed), ("added:   ", added), ("removed: ", removed)] {
        if !items.is_empty() {
            lines.push(format!("  {what}{}", items.join(", ")));
        }
    }
    lines
}

/// Says what a switch changed, and what it means for the shell that this was typed into.
pub(super) fn tell(activated: &Activated, context: &Context<'_>) {
    for line in activated.changes.as_ref().map(lines).unwrap_or_default() {
        context.ui.note(&line);
    }
    if let Some(line) = shell_line(activated, context) {
        context.ui.note(&line);
    }
}

/// Where the environment of this shell is one of this project's, what becomes of it after a switch.
fn shell_line(activated: &Activated, context: &Context<'_>) -> Option<String> {
    let shells = Path::new(context.vars.os("VIRTUAL_ENV").filter(|_| activated.switched)?);
    let link = context.config.project.join(".venv");
    let by_link = shells == link || (shells.is_symlink() && shells.canonicalize().ok() == link.canonicalize().ok());
    if by_link {
        return Some("  this shell's next command is in the new environment; what runs stays in its own".to_owned());
    }
    let store = activated.path.parent()?;
    let name = shells
        .file_name()
        .filter(|_| shells.parent() == Some(store) && shells != activated.path)?;
    Some(format!(
        "  this shell stays in {}; `exit` and `flambeau shell` go to the new environment",
        name.to_string_lossy()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_told_in_a_few_lines() {
        let before = [
            ("torch", "2.7.0+cu118"),
            ("triton", "3.3.0"),
            ("nvidia-cudnn-cu11", "9.1"),
        ];
        let after = [("torch", "2.7.0+cpu"), ("extra", "1")];
        let changes = Changes {
            size: Some(-4_100_000_000),
            python: Some(("3.11.7".to_owned(), "3.12.1".to_owned())),
            ..Changes::of_packages(before, after)
        };
        insta::assert_snapshot!(lines(&changes).join("\n"), @r"
          changed: Python 3.11.7 → 3.12.1, torch 2.7.0+cu118 → 2.7.0+cpu, −4.1 GB
          added:   extra 1
          removed: nvidia-cudnn-cu11 9.1, triton 3.3.0
        ");
        assert_eq!(signed_bytes(12), "+12 B");
        assert!(lines(&Changes::default()).is_empty());
    }
}
