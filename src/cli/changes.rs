//! The difference between two environments, in words and in documents.

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

/// Says what a switch changed.
pub(super) fn tell(activated: &Activated, context: &Context<'_>) {
    let Some(changes) = activated.changes.as_ref().filter(|changes| !changes.is_empty()) else {
        return;
    };
    for line in lines(changes) {
        context.ui.note(&line);
    }
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
