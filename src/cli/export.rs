//! `flambeau export`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::options::ChoiceArgs;
use super::{Context, VerbResult};
use crate::backend::Channel;
use crate::fsx;
use crate::gpu::LiveHost;
use crate::lockfile::Origin;
use crate::project::export::{moved, requirements};
use crate::project::plan::{PlanOptions, target_for};
use crate::target::Target;

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    pub(super) choice: ChoiceArgs,
    /// What to write
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Format,
    /// Write this file [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// With --format requirements: for this target in place of this machine's, e.g. cp311-manylinux_2_28_x86_64
    #[arg(long, value_name = "TARGET")]
    target: Option<Target>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Format {
    /// The lockfile with the complete URL of every wheel (PEP 751), for uv and pip
    Pylock,
    /// A requirements file with hashes, for one target
    Requirements,
}

#[derive(Debug, Serialize)]
struct Document {
    format: Format,
    channel: Channel,
    target: Option<Target>,
    path: Option<PathBuf>,
    packages: usize,
    text: Option<String>,
}

pub(super) fn run(args: &ExportArgs, context: &Context<'_>) -> VerbResult {
    let project = context.project();
    let chosen = project.choose(&LiveHost::new(context.vars.clone()))?;
    let channel = chosen.channel;
    let (mut read, _, warnings) = project.current_lockfile(&channel, PlanOptions { locked: true })?;
    context.warn_of(&read);
    for warning in &warnings {
        context.ui.warning(warning);
    }
    let folder = args.output.as_deref().and_then(std::path::Path::parent);
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    read.lockfile = moved(&read, folder.unwrap_or(std::path::Path::new(".")));
    let wanted = context.config.python.as_ref().map(|python| &python.value);
    let fits = |interpreter: &crate::python::Interpreter| target_for(&read.lockfile, interpreter).is_ok();
    let (target, text, packages) = match args.format {
        Format::Pylock => {
            // Only its pip is asked, and only where nothing else names an index.
            let interpreter = project.finder().find(wanted, &fits).ok();
            read.lockfile = project.with_urls(&read.lockfile, interpreter.as_ref())?;
            warn_of_local_wheels(&read.lockfile, context);
            (None, read.lockfile.to_text(), read.lockfile.packages.len())
        }
        Format::Requirements => {
            let target = match args.target {
                Some(target) => target,
                None => project.locked_for_this_machine(&read)?.target,
            };
            let text = requirements(&read, &target)?;
            let packages = text.lines().filter(|line| line.ends_with('\\')).count();
            (Some(target), text, packages)
        }
    };
    let document = Document {
        format: args.format,
        channel,
        target,
        path: args.output.clone(),
        packages,
        text: args.output.is_none().then(|| text.clone()),
    };
    match &args.output {
        Some(path) => {
            fsx::write_durable(path, text.as_bytes())?;
            let said = format!("wrote {} ({packages} packages)", path.display());
            context.ui.result(&document, &said);
        }
        None => context.ui.result(&document, text.trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

fn warn_of_local_wheels(lockfile: &crate::lockfile::Lockfile, context: &Context<'_>) {
    for wheel in lockfile.packages.iter().flat_map(|package| &package.wheels) {
        if let Origin::Path(path) = &wheel.origin {
            let file = &wheel.file;
            context.ui.warning(&format!(
                "{file} is a local wheel: other tools look for it at {path}, seen from the file's folder"
            ));
        }
    }
}
