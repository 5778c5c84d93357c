//! `flambeau list`

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::build::OwnPackage;
use super::{Context, VerbResult};
use crate::backend::{Backend, Channel};
use crate::digest::EnvironmentKey;
use crate::target::Target;
use crate::ui::human_bytes;

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {}

#[derive(Debug, Serialize)]
struct Row {
    key: EnvironmentKey,
    path: std::path::PathBuf,
    backend: Backend,
    channel: Channel,
    target: Target,
    python: String,
    created: String,
    size_bytes: u64,
    active: bool,
    roots: Vec<String>,
    /// The read-only lower store that it is in, where it is not in one's own.
    lower_store: Option<std::path::PathBuf>,
    /// The packages of the project that it is bound to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    editables: Vec<OwnPackage>,
}

#[derive(Debug, Serialize)]
struct Document {
    environments: Vec<Row>,
}

pub(super) fn run(_args: &ListArgs, context: &Context<'_>) -> VerbResult {
    let project = context.project();
    let active = project.profile().active_path()?;
    let roots = project.roots()?;
    for problem in &roots.problems {
        context.ui.warning(problem);
    }
    let (mut rows, mut damaged) = (Vec::new(), 0);
    for listed in project.environments()? {
        match listed.state {
            Ok(state) => rows.push(Row {
                editables: OwnPackage::all(&state),
                key: state.environment_key,
                backend: state.installed_backend,
                channel: state.channel,
                target: state.target,
                python: state.python_version,
                created: state.created_at,
                size_bytes: state.size_bytes,
                active: active.as_ref() == Some(&listed.path),
                roots: roots.of.get(&listed.path).cloned().unwrap_or_default(),
                lower_store: listed.lower,
                path: listed.path,
            }),
            Err(why) => {
                damaged += 1;
                context.ui.warning(&format!("{}: {why}", listed.name));
            }
        }
    }
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let lower = row
                .lower_store
                .as_ref()
                .map_or_else(String::new, |store| format!("  in {} (read-only)", store.display()));
            let own = row
                .editables
                .iter()
                .map(|own| format!("  {} {}", own.name, own.version));
            let own: String = own.collect();
            format!(
                "{} {}  {:4} {:9} Python {:8} {:>7}  {}{lower}{own}",
                if row.active { '*' } else { ' ' },
                &row.key.to_string()[..12],
                row.backend,
                row.channel.as_str(),
                row.python,
                human_bytes(row.size_bytes),
                row.created
            )
        })
        .collect();
    if lines.is_empty() {
        lines.push(match damaged {
            0 => "no environments are built".to_owned(),
            _ => format!("{damaged} environments are damaged; run `flambeau verify --all --repair` to mend them"),
        });
    }
    context.ui.result(&Document { environments: rows }, &lines);
    Ok(ExitCode::SUCCESS)
}
