//! `flambeau activate`

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::build::EnvironmentDocument;
use super::{Context, VerbResult};
use crate::error::Failure;
use crate::gpu::LiveHost;
use crate::project::activate::Activated;
use crate::project::plan::PlanOptions;

/// Arguments of `activate`.
#[derive(Debug, Args)]
pub(super) struct ActivateArgs {
    /// A backend (cuda, rocm, cpu), a channel, a key or its beginning, or a generation's number [default: what the
    /// configuration asks for]
    #[arg(value_name = "BACKEND|KEY|GENERATION")]
    name: Option<String>,
    /// Move a .venv aside that flambeau did not make
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &ActivateArgs, context: &Context<'_>) -> VerbResult {
    let started = Instant::now();
    let project = context.project();
    let in_the_way = super::build::in_the_way(args.force);
    let activated = if let Some(name) = &args.name {
        project.activate_named(name, in_the_way)?
    } else {
        let chosen = project.choose(&LiveHost::new(context.vars.clone()))?;
        let plan = project.plan(chosen, PlanOptions { locked: true })?;
        let found = match project.find_environment(&plan)? {
            Some(found) => Some(found),
            None => project.rebound(&plan)?,
        };
        let realised = found.ok_or_else(|| {
            Failure::user(format!("the environment {} is not built", plan.key))
                .hint("`flambeau build` builds and activates it")
        })?;
        project.activate_realised(&realised, &plan.chosen, in_the_way)?
    };
    report(&activated, "activated", started, context);
    Ok(ExitCode::SUCCESS)
}

/// Says what became active; `verb` is for where `.venv` led elsewhere before.
pub(super) fn report(activated: &Activated, verb: &str, started: Instant, context: &Context<'_>) {
    super::build::tell_moved(activated, context);
    super::changes::tell(activated, context);
    let document = EnvironmentDocument::of_activated(activated, started);
    let verb = if activated.switched { verb } else { "already active:" };
    let state = &activated.state;
    let lines = [
        format!(
            "{verb} {} on channel {}, Python {} (generation {})",
            state.installed_backend, state.channel, state.python_version, activated.generation.number,
        ),
        format!("  key  {}", state.environment_key),
        format!("  path {}", activated.path.display()),
    ];
    context.ui.result(&document, &lines);
}
