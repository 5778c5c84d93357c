//! `flambeau fetch`

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::options::{ChoiceArgs, FromArgs};
use super::{Context, VerbResult};
use crate::backend::Channel;
use crate::gpu::LiveHost;
use crate::project::plan::PlanOptions;
use crate::target::Target;
use crate::ui::human_bytes;

/// Arguments of `fetch`.
#[derive(Debug, Args)]
pub(super) struct FetchArgs {
    #[command(flatten)]
    pub(super) choice: ChoiceArgs,
    #[command(flatten)]
    pub(super) from: FromArgs,
    /// Every target of every lockfile
    #[arg(long, conflicts_with = "from")]
    all: bool,
    /// This target in place of this machine's, e.g. cp311-manylinux_2_28_x86_64
    #[arg(long, value_name = "TARGET", conflicts_with = "all")]
    target: Vec<Target>,
    /// Say what would be fetched, and stop
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Document {
    channel: Option<Channel>,
    wheels: usize,
    downloaded: usize,
    downloaded_bytes: u64,
    missing: Vec<String>,
    missing_bytes: u64,
}

pub(super) fn run(args: &FetchArgs, context: &Context<'_>) -> VerbResult {
    let project = context.project();
    let mut jobs = Vec::new();
    let mut channel = None;
    if args.all {
        for (_, read) in project.all_lockfiles()? {
            context.warn_of(&read);
            let targets = read.lockfile.targets.iter().map(|locked| locked.target).collect();
            jobs.push((read, targets));
        }
    } else if let Some(file) = args.from.file().filter(|_| !args.target.is_empty()) {
        for target in &args.target {
            let (read, warnings) = project.lockfile_from(&file, target)?;
            for warning in &warnings {
                context.ui.warning(warning);
            }
            channel = Some(read.lockfile.channel.clone());
            jobs.push((read, vec![*target]));
        }
    } else if args.target.is_empty() {
        let plan = match args.from.file() {
            Some(file) => super::build::plan_from(&file, context)?,
            None => super::build::plan(context, false)?,
        };
        channel = Some(plan.chosen.channel.clone());
        jobs.push((plan.lockfile, vec![plan.locked.target]));
    } else {
        // For another machine: no Python of this one is needed.
        let chosen = project.choose(&LiveHost::new(context.vars.clone()))?;
        let (lockfile, _, warnings) = project.current_lockfile(&chosen.channel, PlanOptions::default())?;
        for warning in &warnings {
            context.ui.warning(warning);
        }
        context.warn_of(&lockfile);
        channel = Some(chosen.channel);
        jobs.push((lockfile, args.target.clone()));
    }
    let mut document = Document {
        channel,
        wheels: 0,
        downloaded: 0,
        downloaded_bytes: 0,
        missing: Vec::new(),
        missing_bytes: 0,
    };
    for (read, targets) in &jobs {
        let fetched = project.fetch(read, targets, args.dry_run)?;
        document.wheels += fetched.wheels;
        document.downloaded += fetched.downloaded;
        document.downloaded_bytes += fetched.downloaded_bytes;
        document.missing_bytes += fetched.missing.iter().filter_map(|missing| missing.size).sum::<u64>();
        document
            .missing
            .extend(fetched.missing.into_iter().map(|missing| missing.file));
    }
    let text = if args.dry_run {
        let (count, bytes) = (document.missing.len(), human_bytes(document.missing_bytes));
        let mut lines = vec![format!("would fetch {count} of {} wheels ({bytes})", document.wheels)];
        lines.extend(document.missing.iter().map(|file| format!("  {file}")));
        lines.join(
            "
",
        )
    } else {
        let bytes = human_bytes(document.downloaded_bytes);
        format!(
            "{} wheels are in the cache; {} were fetched ({bytes})",
            document.wheels, document.downloaded
        )
    };
    context.ui.result(&document, &text);
    Ok(ExitCode::SUCCESS)
}
