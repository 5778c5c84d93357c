//! `flambeau status`

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::build::EnvironmentDocument;
use super::{Context, VerbResult};
use crate::error::Failure;

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
    let generation = profile.current()?.map(|generation| generation.number);
    let mut warnings = Vec::new();
    if let Some(what) = project.interpreter_problem(&state) {
        warnings.push(format!(
            "the environment is bound to {}, {what}; `flambeau build` binds it to a Python that is there",
            state.interpreter.display()
        ));
    }
    for warning in &warnings {
        context.ui.warning(warning);
    }
    let text = format!(
        "{} on channel {}, Python {} ({} packages){}\n  key     {}\n  path    {}\n  target  {}\n  python  {}\n  created {}",
        state.installed_backend,
        state.channel,
        state.python_version,
        state.installed_packages.len(),
        generation
            .map(|number| format!(", generation {number}"))
            .unwrap_or_default(),
        state.environment_key,
        path.display(),
        state.target,
        state.interpreter.display(),
        state.created_at,
    );
    let document = EnvironmentDocument {
        activated: true,
        generation,
        warnings,
        ..EnvironmentDocument::of(&path, &state, started)
    };
    context.ui.result(&document, &text);
    Ok(ExitCode::SUCCESS)
}
