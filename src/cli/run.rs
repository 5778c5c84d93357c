//! `flambeau run` and `flambeau shell`

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use super::options::ChoiceArgs;
use super::{Context, VerbResult};
use crate::error::Failure;
use crate::project::activate::InTheWay;

/// What both verbs take: the arguments of `shell`.
#[derive(Debug, Args)]
pub(super) struct InsideArgs {
    #[command(flatten)]
    pub(super) choice: ChoiceArgs,
    /// Put a folder on sys.path, before the environment's packages
    #[arg(long, value_name = "DIR")]
    overlay: Vec<PathBuf>,
    /// Never write the lockfile; a missing or stale one is an error
    #[arg(long)]
    locked: bool,
    /// Leave out the variables that hide GPUs the wheels do not run on [env: FLAMBEAU_NO_GPU_ENV]
    #[arg(long)]
    no_gpu_env: bool,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) inside: InsideArgs,
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
    let environment = wanted(&args.inside, context)?;
    let Some((program, rest)) = args.command.split_first() else {
        return Ok(std::process::ExitCode::SUCCESS);
    };
    let mut command = command_in(&environment, program, &args.inside, context)?;
    command.args(rest);
    replace_with(command, program, "the command must be in the environment or on PATH")
}

pub(super) fn shell(args: &InsideArgs, context: &Context<'_>) -> VerbResult {
    let environment = wanted(args, context)?;
    let shell = context.vars.os("SHELL").unwrap_or(OsStr::new("/bin/sh"));
    let mut command = command_in(&environment, shell, args, context)?;
    enter_last(&mut command, shell, context);
    let name = context.config.project.file_name().unwrap_or_default();
    let mut prompt = OsString::from("(");
    prompt.push(name);
    prompt.push(") ");
    // For shells that take it over, and for prompts that ask the variable.
    let before = context.vars.raw("PS1").unwrap_or(OsStr::new("$ "));
    command.env("PS1", [prompt.as_os_str(), before].into_iter().collect::<OsString>());
    command.env("VIRTUAL_ENV_PROMPT", name);
    context.ui.note(&format!(
        "in the environment {}; `exit` leaves it",
        environment.file_name().unwrap_or_default().to_string_lossy()
    ));
    replace_with(command, shell, "set SHELL to the shell that you want")
}

/// Lets a shell enter the environment once it has read its own files, which may set `PATH` and the prompt: the
/// environment comes first on the path again, and its mark stands before the prompt.
fn enter_last(command: &mut Command, shell: &OsStr, context: &Context<'_>) {
    let venv = command.get_envs().find(|(name, _)| *name == "VIRTUAL_ENV");
    let Some(venv) = venv.and_then(|(_, value)| value).map(OsStr::to_owned) else {
        return;
    };
    match Path::new(shell).file_name().and_then(OsStr::to_str) {
        // Run before the first prompt. The user's files may add to the variable, so nothing but our own code goes.
        Some("bash") => {
            let mut prompt_command = OsString::from("eval \"${_FLAMBEAU_ENTER-}\"");
            let given = context.vars.os("PROMPT_COMMAND");
            if let Some(given) = given {
                prompt_command.push("; ");
                prompt_command.push(given);
            }
            let kept = if given.is_some() {
                ""
            } else {
                "; export -n PROMPT_COMMAND"
            };
            command
                .env("_FLAMBEAU_VENV", venv)
                .env("_FLAMBEAU_ENTER", format!("{BASH_ENTERS}{kept}"))
                .env("PROMPT_COMMAND", prompt_command);
        }
        // It reads its files from ZDOTDIR; ours gives that back and reads the user's.
        Some("zsh") => {
            let own = context.config.project.join(".venv/share/flambeau/zsh");
            if own.is_dir() {
                if let Some(before) = context.vars.raw("ZDOTDIR") {
                    command.env("_FLAMBEAU_ZDOTDIR", before);
                }
                command.env("_FLAMBEAU_VENV", venv).env("ZDOTDIR", own);
            }
        }
        Some("fish") => {
            command
                .env("_FLAMBEAU_VENV", venv)
                .args(["--init-command", FISH_ENTERS]);
        }
        _ => {}
    }
}

const BASH_ENTERS: &str = "VIRTUAL_ENV=$_FLAMBEAU_VENV PATH=$_FLAMBEAU_VENV/bin:$PATH; export VIRTUAL_ENV PATH; \
    [ -n \"${VIRTUAL_ENV_DISABLE_PROMPT-}\" ] || PS1=\"($VIRTUAL_ENV_PROMPT) $PS1\"; \
    unset _FLAMBEAU_ENTER _FLAMBEAU_VENV";

const FISH_ENTERS: &str = "set -gx VIRTUAL_ENV $_FLAMBEAU_VENV; set -gx PATH $VIRTUAL_ENV/bin $PATH; \
    set -e _FLAMBEAU_VENV; if test -z \"$VIRTUAL_ENV_DISABLE_PROMPT\"; \
    functions -q fish_prompt; and functions -c fish_prompt _flambeau_fish_prompt; \
    function fish_prompt; printf '(%s) ' $VIRTUAL_ENV_PROMPT; \
    functions -q _flambeau_fish_prompt; and _flambeau_fish_prompt; end; end";

/// The wanted environment, built and activated first where that is needed.
fn wanted(args: &InsideArgs, context: &Context<'_>) -> Result<PathBuf, Failure> {
    if !args.locked
        && let Some(kept) = super::build::kept(&args.choice, context, InTheWay::Refuse)?
    {
        return Ok(kept.path);
    }
    let plan = super::build::plan(context, args.locked)?;
    let options = super::build::BuildOptions {
        activate: Some(InTheWay::Refuse),
        ..Default::default()
    };
    let built = super::build::build(plan, context, options)?;
    Ok(built.realised.path)
}

fn command_in(
    environment: &Path,
    program: &OsStr,
    args: &InsideArgs,
    context: &Context<'_>,
) -> Result<Command, Failure> {
    // What programs write down of these names is to follow a flip; what they import is pinned by the start-up hook.
    let link = context.config.project.join(".venv");
    let leads_there = context.project().profile().active_path()?.as_deref() == Some(environment);
    let named = if leads_there { &link } else { environment };
    let mut command = Command::new(in_environment(named, program));
    command
        .env("VIRTUAL_ENV", named)
        .env_remove("PYTHONHOME")
        .env("PATH", path_with(named, context))
        // This process becomes the command: it is to follow the link, whatever environment its ancestors are in.
        .env("FLAMBEAU_FOLLOW", std::process::id().to_string());
    if !args.no_gpu_env {
        command.envs(gpu_variables(context));
    }
    let mut folders = args.overlay.clone();
    folders.extend(context.project().overlay_folders());
    if !folders.is_empty() {
        command.env(
            "FLAMBEAU_OVERLAY",
            overlay(environment, &context.config.project, &folders)?,
        );
    }
    Ok(command)
}

/// Replaces this process, so that signals, the terminal and the exit code are the command's own.
fn replace_with(mut command: Command, program: &OsStr, hint: &str) -> VerbResult {
    let source = command.exec();
    Err(Failure::user(crate::fsx::PathError {
        action: "run",
        path: program.into(),
        source,
    })
    .hint(hint))
}

/// The variables that this machine's GPUs need. What the user has set stays, and may be nothing.
fn gpu_variables(context: &Context<'_>) -> impl Iterator<Item = (String, String)> {
    let wanted = context.vars.os("FLAMBEAU_NO_GPU_ENV").is_none();
    let suggested = if wanted {
        context.project().gpu_env()
    } else {
        BTreeMap::new()
    };
    suggested
        .into_iter()
        .filter(|(name, _)| context.vars.raw(name).is_none())
}

/// A bare name that the environment has is run from there; anything else is found as the shell would.
fn in_environment(environment: &Path, program: &OsStr) -> PathBuf {
    let inside = environment.join("bin").join(program);
    let bare = !program.as_encoded_bytes().contains(&b'/');
    if bare && inside.exists() {
        inside
    } else {
        PathBuf::from(program)
    }
}

fn path_with(environment: &Path, context: &Context<'_>) -> OsString {
    let mut path = environment.join("bin").into_os_string();
    if let Some(rest) = context.vars.os("PATH") {
        path.push(":");
        path.push(rest);
    }
    path
}

/// `<environment's folder>|<project>|<path>:<path>`: the hook takes the paths only in that environment and for that
/// project, so that they do not leak into another project's Python that the command starts.
fn overlay(environment: &Path, project: &Path, folders: &[PathBuf]) -> Result<OsString, Failure> {
    let find = |path: &Path| {
        path.canonicalize().map_err(|source| {
            Failure::user(crate::fsx::PathError {
                action: "find the overlay",
                path: path.to_owned(),
                source,
            })
            .hint("name a folder that exists")
        })
    };
    let mut value = environment.file_name().unwrap_or_default().to_owned();
    value.push("|");
    value.push(find(project)?);
    for (index, folder) in folders.iter().enumerate() {
        value.push(if index == 0 { "|" } else { ":" });
        value.push(find(folder)?);
    }
    Ok(value)
}
