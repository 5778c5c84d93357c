//! `flambeau status`

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::build::EnvironmentDocument;
use super::generations::Row;
use super::{Context, VerbResult};
use crate::error::Failure;
use crate::project::processes::Former;
use crate::project::realise::told_changes;
use crate::shown;

/// How many generations `status` shows.
const SHOWN: usize = 5;

#[derive(Debug, Serialize)]
struct Document {
    #[serde(flatten)]
    environment: EnvironmentDocument,
    /// The newest generations, oldest first.
    history: Vec<Row>,
    /// Processes that run in environments that were active before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    former_processes: Vec<Former>,
}

fn processes(count: usize) -> String {
    if count == 1 {
        "1 process runs".to_owned()
    } else {
        format!("{count} processes run")
    }
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {}

pub(super) fn run(_args: &StatusArgs, context: &Context<'_>) -> VerbResult {
    let started = Instant::now();
    let project = context.project();
    let profile = project.profile();
    profile.check_links()?;
    let Some((path, state)) = profile.active()? else {
        return Err(Failure::user(format!(
            "no environment is active in {}",
            context.config.project.display()
        ))
        .hint("`flambeau build` builds and activates one"));
    };
    let current = profile.current()?;
    let generation = current.as_ref().map(|generation| generation.number);
    let mut warnings = Vec::new();
    if let Some(what) = project.interpreter_problem(&state) {
        warnings.push(format!(
            "the environment is bound to {}, {what}; `flambeau build` binds it to a Python that is there",
            state.interpreter.display()
        ));
    }
    warnings.extend(project.bound_otherwise(&path, &state));
    // Whatever keeps it from being looked at, `status` has more to say.
    let changed = project.glance().unwrap_or_default();
    warnings.extend(told_changes(&changed));
    for warning in &warnings {
        context.ui.warning(warning);
    }
    let mut history = profile.generations()?;
    history.drain(..history.len().saturating_sub(SHOWN));
    let history: Vec<Row> = history.into_iter().map(|one| Row::of(one, generation)).collect();
    let since = current.as_ref().map(|current| {
        format!(
            "  active  since {} ({})",
            current.last_active(),
            current.last_cause().as_str()
        )
    });
    let mut lines = vec![
        format!(
            "{} on channel {}, Python {} ({} packages){}",
            state.installed_backend,
            state.channel,
            state.python_version,
            state.installed_packages.len(),
            generation
                .map(|number| format!(", generation {number}"))
                .unwrap_or_default(),
        ),
        format!("  key     {}", state.environment_key),
        format!("  path    {}", path.display()),
        format!("  target  {}", state.target),
        format!("  python  {}", state.interpreter.display()),
        format!("  created {}", state.created_at),
    ];
    let own = state.editables.iter();
    lines.extend(own.map(|own| format!("  own     {} {} ({})", own.name, own.version, own.path.display())));
    lines.extend(since);
    lines.extend(history.iter().map(Row::line));
    let former = project.processes_in_former()?;
    if !former.is_empty() {
        lines.push(format!(
            "{} in environments that were active before:",
            processes(former.len())
        ));
        lines.extend(former.iter().map(|one| {
            let name = one.environment.file_name().unwrap_or_default().to_string_lossy();
            format!("  {:>7}  {name}  {}", one.pid, shown::line(&one.command))
        }));
    }
    let environment = EnvironmentDocument {
        activated: true,
        generation,
        warnings,
        ..EnvironmentDocument::of(&path, &state, started)
    };
    let document = Document {
        environment,
        history,
        former_processes: former,
    };
    context.ui.result(&document, &lines);
    Ok(ExitCode::SUCCESS)
}
