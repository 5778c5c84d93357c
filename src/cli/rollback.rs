//! `flambeau rollback`

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::{Context, VerbResult};

/// Arguments of `rollback`.
#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// The generation to go to [default: the newest that is older than the current one]
    #[arg(long, value_name = "GENERATION")]
    to: Option<u64>,
    /// Move a .venv aside that flambeau did not make
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &RollbackArgs, context: &Context<'_>) -> VerbResult {
    let started = Instant::now();
    let activated = context
        .project()
        .rollback(args.to, super::build::in_the_way(args.force))?;
    super::activate::report(&activated, "rolled back to", started, context);
    Ok(ExitCode::SUCCESS)
}
