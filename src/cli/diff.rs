//! `flambeau diff`

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Context, VerbResult};
use crate::digest::EnvironmentKey;
use crate::error::Failure;
use crate::project::changes::Change;
use crate::project::subject::Subject;

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// A generation's number, a lockfile by its name, channel or backend (cuda, cu126, pip), or a key or its beginning
    #[arg(value_name = "A")]
    before: String,
    /// The same [default: what is active]
    #[arg(value_name = "B")]
    after: Option<String>,
}

#[derive(Debug, Serialize)]
struct Side {
    key: EnvironmentKey,
    description: String,
}

#[derive(Debug, Serialize)]
struct Document {
    from: Side,
    to: Side,
    same: bool,
    changes: Vec<Change>,
    python: Option<(String, String)>,
    size_change_bytes: Option<i64>,
}

impl Side {
    fn of(subject: &Subject) -> Self {
        Self {
            key: subject.key(),
            description: subject.describe(),
        }
    }
}

pub(super) fn run(args: &DiffArgs, context: &Context<'_>) -> VerbResult {
    let project = context.project();
    let before = project.subject(&args.before, None)?;
    let after = match &args.after {
        Some(word) => project.subject(word, Some(&before))?,
        None => project.active_subject()?.ok_or_else(|| {
            Failure::user("nothing is active that it could be compared with")
                .hint("name a second one: `flambeau diff A B`")
        })?,
    };
    let changes = project.difference(&before, &after)?;
    let (from, to) = (Side::of(&before), Side::of(&after));
    let mut lines = vec![format!("from {}", from.description), format!("  to {}", to.description)];
    if changes.is_empty() {
        lines.push("  the same packages".to_owned());
    } else {
        lines.extend(super::changes::lines(&changes));
    }
    let document = Document {
        same: from.key == to.key,
        from,
        to,
        changes: changes.packages,
        python: changes.python,
        size_change_bytes: changes.size,
    };
    context.ui.result(&document, &lines);
    Ok(ExitCode::SUCCESS)
}
