//! `flambeau export`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::selection::SelectionArgs;
use super::{Context, VerbResult};
use crate::amount::parse_size;
use crate::backend::Channel;
use crate::bundle::{BundledEnvironment, Output};
use crate::digest::FileDigest;
use crate::error::{Failure, Kind};
use crate::fsx;
use crate::gpu::LiveHost;
use crate::lockfile::Origin;
use crate::project::bundle::ExportOptions;
use crate::project::export::{moved, requirements};
use crate::project::plan::{PlanOptions, target_for};
use crate::target::Target;
use crate::ui::human_bytes;

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["to", "format"]))]
pub(super) struct ExportArgs {
    /// Write a bundle: a folder, or an archive where the name ends with .tar or .tar.zst
    #[arg(value_name = "DIR|FILE.tar[.zst]")]
    to: Option<PathBuf>,
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    /// Put built trees with bytecode into the bundle, in place of wheels; they are made where they are not there yet
    #[arg(long, requires = "to")]
    trees: bool,
    /// Put pages into the bundle that make its folder a package index behind any web server (PEP 503, 658, 691)
    #[arg(long, requires = "to", conflicts_with = "trees")]
    simple_index: bool,
    /// Put this program into the bundle, as bin/flambeau
    #[arg(long, requires = "to")]
    with_program: bool,
    /// Cut the archive into parts of at most this size, FILE.tar.001 and so on, e.g. 4G
    #[arg(long, value_name = "SIZE", value_parser = parse_size, requires = "to")]
    split: Option<u64>,
    /// Write a lockfile in this format
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// With --format: write this file [default: stdout]
    #[arg(short, long, value_name = "FILE", requires = "format")]
    output: Option<PathBuf>,
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

#[derive(Debug, Serialize)]
struct BundleDocument {
    digest: FileDigest,
    paths: Vec<PathBuf>,
    files: usize,
    size_bytes: u64,
    environments: Vec<BundledEnvironment>,
}

pub(super) fn run(args: &ExportArgs, context: &Context<'_>) -> VerbResult {
    match (&args.to, args.format) {
        (Some(to), None) => bundle(args, to, context),
        (None, Some(format)) => lockfile(args, format, context),
        _ => Err(usage(
            "name a folder or an archive for a bundle, or a --format, not both",
        )),
    }
}

fn usage(message: &'static str) -> Failure {
    Failure::new(Kind::Usage, message)
}

/// Writes a bundle.
fn bundle(args: &ExportArgs, to: &Path, context: &Context<'_>) -> VerbResult {
    let output = Output::of(to, args.split);
    if args.split == Some(0) || (args.split.is_some() && matches!(output, Output::Folder(_))) {
        return Err(usage(
            "--split cuts archives: name a file that ends with .tar or .tar.zst, and a size above 0",
        ));
    }
    let jobs = args.selection.jobs(context)?;
    let program = args.with_program.then(std::env::current_exe).transpose();
    let program = program.map_err(|source| fsx::PathError {
        action: "find",
        path: "this program".into(),
        source,
    })?;
    let options = ExportOptions {
        trees: args.trees,
        simple_index: args.simple_index,
        program,
        time: source_date(context)?,
    };
    let (written, environments) = context.project().export_bundle(&jobs, &output, &options)?;
    for (read, _) in &jobs {
        super::build::save(read, context)?;
    }
    let (files, bytes) = (written.files, human_bytes(written.bytes));
    let mut lines = vec![format!("exported {files} files ({bytes})")];
    lines.extend(written.paths.iter().map(|path| format!("  {}", path.display())));
    lines.push(format!("  bundle {}", written.digest));
    for one in &environments {
        let (channel, target, key) = (&one.channel, one.target, one.key);
        lines.push(format!("  {key}  channel {channel}, {target}"));
    }
    let document = BundleDocument {
        digest: written.digest,
        paths: written.paths,
        files: written.files,
        size_bytes: written.bytes,
        environments,
    };
    context.ui.result(&document, &lines);
    Ok(ExitCode::SUCCESS)
}

/// <https://reproducible-builds.org/specs/source-date-epoch/>: a malformed value must not be ignored.
fn source_date(context: &Context<'_>) -> Result<Option<u64>, Failure> {
    let Some(text) = context.vars.text("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    let seconds = text.parse();
    seconds.map(Some).map_err(|_| {
        Failure::user(format!("SOURCE_DATE_EPOCH is `{text}`, which is no number of seconds"))
            .hint("correct or unset it")
    })
}

/// Writes a lockfile in another tool's form.
fn lockfile(args: &ExportArgs, format: Format, context: &Context<'_>) -> VerbResult {
    let choice = &args.selection;
    if choice.all || choice.target.len() > 1 {
        return Err(usage("--format writes one lockfile, for one target"));
    }
    let project = context.project();
    let chosen = project.choose(&LiveHost::new(context.vars.clone()))?;
    let channel = chosen.channel;
    let (mut read, warnings) = project.wanted_lockfile(&channel, PlanOptions { locked: true })?;
    context.warn_of(&read);
    for warning in &warnings {
        context.ui.warning(warning);
    }
    let folder = args.output.as_deref().and_then(Path::parent);
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    read.lockfile = moved(&read, folder.unwrap_or(Path::new(".")));
    let wanted = context.config.python.as_ref().map(|python| &python.value);
    let fits = |interpreter: &crate::python::Interpreter| target_for(&read.lockfile, interpreter).is_ok();
    let (target, text, packages) = match format {
        Format::Pylock => {
            // Only its pip is asked, and only where nothing else names an index.
            let interpreter = project.finder().find(wanted, &fits).ok();
            read.lockfile = project.with_urls(&read.lockfile, interpreter.as_ref())?;
            warn_of_local_wheels(&read.lockfile, context);
            (None, read.lockfile.to_text(), read.lockfile.packages.len())
        }
        Format::Requirements => {
            let target = match choice.target.first() {
                Some(target) => *target,
                None => project.locked_for_this_machine(&read)?.target,
            };
            let text = requirements(&read, &target)?;
            let packages = text.lines().filter(|line| line.ends_with('\\')).count();
            (Some(target), text, packages)
        }
    };
    let document = Document {
        format,
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
            context.ui.result(&document, &[said]);
        }
        None => context.ui.file(&document, &text),
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
