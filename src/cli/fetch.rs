//! `flambeau fetch`

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::options::FromArgs;
use super::selection::{Jobs, SelectionArgs};
use super::{Context, VerbResult};
use crate::backend::Channel;
use crate::digest::WheelDigest;
use crate::error::{Failure, Kind};
use crate::fetch::{self, Missing};
use crate::project::realise::RealiseError;
use crate::project::warm::Damaged;
use crate::ui::human_bytes;

/// Arguments of `fetch`.
#[derive(Debug, Args)]
pub(super) struct FetchArgs {
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    #[command(flatten)]
    pub(super) from: FromArgs,
    /// Say what would be locked and fetched, and write nothing
    #[arg(long, conflicts_with = "repair")]
    pub(super) dry_run: bool,
    /// Compare the cached wheels with their digests, and write nothing (exit 3 if one is damaged, 1 if one is missing)
    #[arg(long)]
    pub(super) check: bool,
    /// Compare the cached wheels with their digests, and fetch damaged ones again
    #[arg(long, conflicts_with = "check")]
    repair: bool,
}

#[derive(Debug, Serialize)]
struct Document {
    channel: Option<Channel>,
    wheels: usize,
    downloaded: usize,
    downloaded_bytes: u64,
    /// File names of what is missing, with --dry-run and --check.
    missing: Vec<String>,
    missing_bytes: u64,
    /// The same with digests and sizes.
    files: Vec<Row>,
    /// Wheels that were compared with their digests.
    checked: usize,
    damaged: Vec<Damaged>,
    /// Lockfiles that a run without --dry-run and --check would write.
    would_lock: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Row {
    file: String,
    sha256: WheelDigest,
    size: Option<u64>,
    /// Bytes that an earlier run left.
    have: u64,
}

pub(super) fn run(args: &FetchArgs, context: &Context<'_>) -> VerbResult {
    let project = context.project();
    let jobs = jobs(args, context)?;
    let channels: BTreeSet<&Channel> = jobs.iter().map(|(read, _)| &read.lockfile.channel).collect();
    let channel = channels.first().filter(|_| channels.len() == 1 && !args.selection.all);
    let mut document = Document {
        channel: channel.copied().cloned(),
        wheels: project.wheels_of(&jobs)?.len(),
        downloaded: 0,
        downloaded_bytes: 0,
        missing: Vec::new(),
        missing_bytes: 0,
        files: Vec::new(),
        checked: 0,
        damaged: Vec::new(),
        would_lock: Vec::new(),
    };
    if args.check || args.repair {
        let (checked, damaged) = project.check_cached(&jobs)?;
        (document.checked, document.damaged) = (checked, damaged);
    }
    if args.dry_run || args.check {
        return look(args, &jobs, document, context);
    }
    replace_damaged(&document.damaged, context)?;
    fetch(&jobs, &mut document, context)?;
    for (read, _) in &jobs {
        super::build::save(read, context)?;
    }
    let mut lines = vec![format!(
        "{} wheels are in the cache; {} were fetched ({})",
        document.wheels,
        document.downloaded,
        human_bytes(document.downloaded_bytes)
    )];
    if args.repair {
        let (checked, damaged) = (document.checked, document.damaged.len());
        lines.push(format!(
            "{checked} were compared with their digests; {damaged} were damaged and fetched again"
        ));
    }
    context.ui.result(&document, &lines);
    Ok(ExitCode::SUCCESS)
}

/// The lockfiles and targets that the flags name.
fn jobs(args: &FetchArgs, context: &Context<'_>) -> Result<Jobs, Failure> {
    let Some(file) = args.from.file() else {
        return args.selection.jobs(context);
    };
    if args.selection.all {
        return Err(Failure::new(
            Kind::Usage,
            "--all is for the project's lockfiles, --from for another file",
        ));
    }
    if args.selection.target.is_empty() {
        let plan = super::build::plan_from(&file, context)?;
        return Ok(vec![(plan.lockfile, vec![plan.locked.target])]);
    }
    let mut jobs = Vec::new();
    for target in &args.selection.target {
        let (read, warnings) = context.project().lockfile_from(&file, target)?;
        for warning in &warnings {
            context.ui.warning(warning);
        }
        jobs.push((read, vec![*target]));
    }
    Ok(jobs)
}

/// Says what is damaged and missing, and what would be written. Whoever checks gets an exit code that tells.
fn look(args: &FetchArgs, jobs: &Jobs, mut document: Document, context: &Context<'_>) -> VerbResult {
    plan(jobs, &mut document, context)?;
    let unsaved = jobs.iter().filter(|(read, _)| read.unsaved);
    document.would_lock = unsaved.map(|(read, _)| read.path.clone()).collect();
    if args.check {
        whole(&document)?;
    }
    let would_lock = document.would_lock.iter();
    let mut lines: Vec<String> = would_lock
        .map(|path| format!("would lock {}", path.display()))
        .collect();
    if args.check {
        let checked = document.checked;
        lines.push(format!("all {checked} wheels are in the cache and have their digests"));
    } else {
        lines.push(format!(
            "would fetch {} of {} wheels ({})",
            document.files.len(),
            document.wheels,
            human_bytes(document.missing_bytes)
        ));
        lines.extend(document.files.iter().map(Row::text));
    }
    context.ui.result(&document, &lines);
    Ok(ExitCode::SUCCESS)
}

/// Fails where a wheel is damaged or missing.
fn whole(document: &Document) -> Result<(), Failure> {
    let damaged = &document.damaged;
    if !damaged.is_empty() {
        let files: Vec<&str> = damaged.iter().map(|one| one.file.as_str()).collect();
        let message = format!("{} cached wheels are damaged: {}", damaged.len(), files.join(", "));
        let mut failure = Failure::new(Kind::Integrity, message);
        for one in damaged {
            let (path, expected, actual) = (one.path.display(), one.expected, one.actual);
            failure = failure.hint(format!("{path} has the SHA-256 {actual}, expected {expected}"));
        }
        return Err(failure.hint("run `flambeau fetch --repair` with a network to fetch them again"));
    }
    if !document.files.is_empty() {
        let (missing, wheels) = (document.files.len(), document.wheels);
        let mut failure = Failure::user(format!("{missing} of {wheels} wheels are not in the cache"));
        for row in &document.files {
            failure = failure.hint(format!("missing:{}", row.text().replacen("  ", " ", 1)));
        }
        return Err(failure.hint("run `flambeau fetch` to fetch them"));
    }
    Ok(())
}

/// Takes damaged wheels away so that they are fetched again, or fails where that may not be.
fn replace_damaged(damaged: &[Damaged], context: &Context<'_>) -> Result<(), Failure> {
    if damaged.is_empty() {
        return Ok(());
    }
    if context.config.offline {
        let files: Vec<&str> = damaged.iter().map(|one| one.file.as_str()).collect();
        let message = format!("{} cached wheels are damaged: {}", damaged.len(), files.join(", "));
        return Err(Failure::new(Kind::Integrity, message)
            .hint("run `flambeau fetch --repair` with a network to fetch them again"));
    }
    for one in damaged {
        context.ui.warning(&format!(
            "{} is damaged (its SHA-256 is {}); fetching it again",
            one.path.display(),
            one.actual
        ));
    }
    Ok(context.project().drop_damaged(damaged)?)
}

/// What would be fetched, and how large it is.
fn plan(jobs: &Jobs, document: &mut Document, context: &Context<'_>) -> Result<(), Failure> {
    let project = context.project();
    for (read, targets) in jobs {
        let mut missing = project.fetch(read, targets, true)?.missing;
        missing.retain(|one| document.files.iter().all(|row| row.sha256 != one.digest));
        project.ask_sizes(read, &mut missing);
        for one in missing {
            let have = project.partial_bytes(&one);
            document.missing_bytes += one.size.unwrap_or(0).saturating_sub(have);
            document.missing.push(one.file.clone());
            document.files.push(Row {
                file: one.file,
                sha256: one.digest,
                size: one.size,
                have,
            });
        }
    }
    Ok(())
}

/// Fetches; what is missing without a network is named for all lockfiles at once.
fn fetch(jobs: &Jobs, document: &mut Document, context: &Context<'_>) -> Result<(), Failure> {
    let mut lost: Vec<Missing> = Vec::new();
    for (read, targets) in jobs {
        match context.project().fetch(read, targets, false) {
            Ok(fetched) => {
                document.downloaded += fetched.downloaded;
                document.downloaded_bytes += fetched.downloaded_bytes;
            }
            Err(RealiseError::Fetch(error)) => match *error {
                fetch::Error::Offline { missing } => {
                    lost.extend(
                        missing
                            .into_iter()
                            .filter(|one| !lost.contains(one))
                            .collect::<Vec<_>>(),
                    );
                }
                error => return Err(RealiseError::Fetch(Box::new(error)).into()),
            },
            Err(error) => return Err(error.into()),
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    let missing = lost;
    Err(RealiseError::Fetch(Box::new(fetch::Error::Offline { missing })).into())
}

impl Row {
    fn text(&self) -> String {
        let size = self.size.map_or_else(|| "size unknown".to_owned(), human_bytes);
        if self.have > 0 {
            format!(
                "  {} ({size}, {} of it arrived already)",
                self.file,
                human_bytes(self.have)
            )
        } else {
            format!("  {} ({size})", self.file)
        }
    }
}
