//! `flambeau run`

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::options::ChoiceArgs;
use super::{Context, VerbResult};
use crate::error::Failure;
use crate::project::activate::InTheWay;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) choice: ChoiceArgs,
    /// Put a folder on sys.path, before the environment's packages
    #[arg(long, value_name = "DIR")]
    overlay: Vec<PathBuf>,
    /// Never write the lockfile; a missing or stale one is an error
    #[arg(long)]
    locked: bool,
    /// The command and its arguments
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "CMD"
    )]
    command: Vec<OsString>,
}

pub(super) fn run(args: &RunArgs, context: &Context<'_>) -> VerbResult {
    let plan = super::build::plan(context, args.locked)?;
    let built = super::build::build(plan, context, Some(InTheWay::Refuse), false)?;
    let project = &context.config.project;
    let venv = project.join(".venv");
    let Some((program, rest)) = args.command.split_first() else {
        return Ok(std::process::ExitCode::SUCCESS);
    };
    let mut command = std::process::Command::new(in_environment(&venv, program));
    command
        .args(rest)
        .env("VIRTUAL_ENV", &venv)
        .env_remove("PYTHONHOME")
        .env("PATH", path_with(&venv, context));
    if !args.overlay.is_empty() {
        let name = built.realised.path.file_name().unwrap_or_default();
        command.env("FLAMBEAU_OVERLAY", overlay(name, &args.overlay)?);
    }
    // Replaces this process, so that signals, the terminal and the exit code are the command's own.
    let source = command.exec();
    Err(Failure::user(crate::fsx::PathError {
        action: "run",
        path: program.into(),
        source,
    })
    .hint("the command must be in the environment or on PATH"))
}

/// A bare name that the environment has is run from there; anything else is found as the shell would.
fn in_environment(venv: &Path, program: &OsStr) -> PathBuf {
    let inside = venv.join("bin").join(program);
    let bare = !program.as_encoded_bytes().contains(&b'/');
    if bare && inside.exists() {
        inside
    } else {
        PathBuf::from(program)
    }
}

fn path_with(venv: &Path, context: &Context<'_>) -> OsString {
    let mut path = venv.join("bin").into_os_string();
    if let Some(rest) = context.vars.os("PATH") {
        path.push(":");
        path.push(rest);
    }
    path
}

/// `<environment folder>|<path>:<path>`: the hook takes the paths only in that environment, so that they do not leak
/// into another project's Python that the command starts.
fn overlay(name: &OsStr, folders: &[PathBuf]) -> Result<OsString, Failure> {
    let mut value = name.to_owned();
    for (index, folder) in folders.iter().enumerate() {
        let absolute = folder.canonicalize().map_err(|source| {
            Failure::user(crate::fsx::PathError {
                action: "find the overlay",
                path: folder.clone(),
                source,
            })
            .hint("--overlay takes a folder that exists")
        })?;
        value.push(if index == 0 { "|" } else { ":" });
        value.push(absolute);
    }
    Ok(value)
}
