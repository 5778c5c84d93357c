//! `flambeau gc`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{Context, VerbResult};
use crate::amount::{human_duration, parse_duration, parse_size};
use crate::cache::Cache;
use crate::collect::survey::Life;
use crate::collect::{Collected, Collector, Failed, Item, Kind, Options, Plan, Reason, Survey, VANISHED};
use crate::store::{Shelf, Store};
use crate::ui::human_bytes;

/// Arguments of `gc`.
#[derive(Debug, Args)]
pub(super) struct GcArgs {
    /// Say what would be deleted, and stop
    #[arg(long)]
    dry_run: bool,
    /// Say why each environment and wheel tree is kept, and stop
    #[arg(long, conflicts_with = "dry_run")]
    print_roots: bool,
    /// Keep only what was built or active within this time [default: 7d]; 0s keeps only what something needs
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    older_than: Option<Duration>,
    /// Stop once so much is freed
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_freed: Option<u64>,
    /// Delete only until so much is free on the store's file system
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    free: Option<u64>,
    /// Delete only until the store is no larger than this
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,
    /// Delete cached wheels too that no environment and no lockfile needs
    #[arg(long)]
    wheels: bool,
    /// How long a project that cannot be found still keeps its environments [default: 30d]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    vanished_after: Option<Duration>,
}

impl GcArgs {
    fn options(&self, offline: bool) -> Options {
        Options {
            older_than: self.older_than,
            vanished_after: self.vanished_after.unwrap_or(VANISHED),
            max_freed: self.max_freed,
            free: self.free,
            max_size: self.max_size,
            wheels: self.wheels,
            offline,
        }
    }
}

/// The document of `gc`.
impl GcArgs {
    /// Whether nothing is deleted.
    pub(super) const fn only_looks(&self) -> bool {
        self.dry_run || self.print_roots
    }
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    dry_run: bool,
    freed_bytes: u64,
    deleted: &'a [Item],
    failed: &'a [Failed],
    /// By which a limit is missed.
    missing_bytes: u64,
    kept: Kept,
}

#[derive(Debug, Serialize)]
struct Kept {
    environments: usize,
    trees: usize,
    /// Environments that only the grace period keeps.
    young_environments: usize,
}

impl Kept {
    fn of(survey: &Survey) -> Self {
        let living = |lives: &BTreeMap<String, Life>| lives.values().filter(|life| !life.reasons.is_empty()).count();
        let only_young = |life: &&Life| matches!(life.reasons[..], [Reason::Young { .. }]);
        Self {
            environments: living(&survey.envs),
            trees: living(&survey.trees),
            young_environments: survey.envs.values().filter(only_young).count(),
        }
    }
}

pub(super) fn run(args: &GcArgs, context: &Context<'_>) -> VerbResult {
    let project = context.project();
    let store = project.store()?;
    let cache = context.config.cache_dir().ok().map(Cache::new);
    let collector = Collector {
        store: &store,
        cache: cache.as_ref(),
        project: &context.config.project,
        reporter: context.ui,
    };
    let options = args.options(context.config.offline);
    if args.print_roots {
        let survey = Survey::of(&store, &options)?;
        print_roots(&store, &survey, context);
        return Ok(ExitCode::SUCCESS);
    }
    let (plan, collected) = if args.dry_run {
        let plan = Plan::of(&collector, &options)?;
        let collected = Collected {
            items: plan.items.clone(),
            freed_bytes: plan.freed_bytes,
            ..Collected::default()
        };
        (plan, collected)
    } else {
        collector.collect(&options)?
    };
    report(args, &plan, &collected, context);
    Ok(ExitCode::SUCCESS)
}

fn report(args: &GcArgs, plan: &Plan, collected: &Collected, context: &Context<'_>) {
    for Failed { path, reason } in &collected.failed {
        context.ui.warning(&format!("{} stays: {reason}", path.display()));
    }
    let document = Document {
        dry_run: args.dry_run,
        freed_bytes: collected.freed_bytes,
        deleted: &collected.items,
        failed: &collected.failed,
        missing_bytes: plan.missing_bytes,
        kept: Kept::of(&plan.survey),
    };
    let text = table(args.dry_run, collected);
    if plan.missing_bytes > 0 {
        let message = format!(
            "{} more would have to go; everything else is needed (`flambeau gc --print-roots` says by what)",
            human_bytes(plan.missing_bytes)
        );
        context.ui.warning(&message);
    }
    if document.kept.young_environments > 0 && args.older_than.is_none() {
        let number = document.kept.young_environments;
        context.ui.note(&format!(
            "{number} environment{} kept only because {} built or active in the last 7 days; --older-than 0s deletes {} too",
            if number == 1 { " is" } else { "s are" },
            if number == 1 { "it was" } else { "they were" },
            if number == 1 { "it" } else { "them" },
        ));
    }
    context.ui.result(&document, &text);
}

/// A line for each environment, tree and wheel; the rest by its sort.
fn table(dry_run: bool, collected: &Collected) -> Vec<String> {
    let mut lines = Vec::new();
    let mut small: BTreeMap<Kind, (usize, u64)> = BTreeMap::new();
    for item in &collected.items {
        let word = match item.kind {
            Kind::Environment => "environment",
            Kind::Tree => "wheel tree",
            Kind::Wheel => "cached wheel",
            _ => {
                let (count, bytes) = small.entry(item.kind).or_default();
                *count += 1;
                *bytes += item.bytes;
                continue;
            }
        };
        let idle = item.idle_seconds.map(|seconds| {
            let idle = human_duration(Duration::from_secs(seconds));
            format!("  unused for {idle}")
        });
        let name = item.path.file_name().unwrap_or_default().to_string_lossy();
        let idle = idle.unwrap_or_default();
        lines.push(format!("{word:12} {:>7}  {name}{idle}", human_bytes(item.bytes)));
    }
    for (kind, (count, bytes)) in small {
        let (one, many) = match kind {
            Kind::Debris => ("leftover of a killed command", "leftovers of killed commands"),
            Kind::Root => ("root that leads nowhere", "roots that lead nowhere"),
            Kind::Partial => ("partial download", "partial downloads"),
            Kind::Page => ("old index page", "old index pages"),
            _ => ("record of something that is gone", "records of things that are gone"),
        };
        let what = if count == 1 { one } else { many };
        lines.push(format!("{:12} {:>7}  {count} {what}", "", human_bytes(bytes)));
    }
    let verb = if dry_run { "would free" } else { "freed" };
    lines.push(format!("{verb} {}", human_bytes(collected.freed_bytes)));
    lines
}

#[derive(Debug, Serialize)]
struct Roots {
    environments: Vec<Living>,
    trees: Vec<Living>,
}

#[derive(Debug, Serialize)]
struct Living {
    name: String,
    path: PathBuf,
    live: bool,
    idle_seconds: u64,
    reasons: Vec<Reasoned>,
}

#[derive(Debug, Serialize)]
struct Reasoned {
    #[serde(flatten)]
    reason: Reason,
    message: String,
}

fn print_roots(store: &Store, survey: &Survey, context: &Context<'_>) {
    let living = |shelf: Shelf, lives: &BTreeMap<String, Life>| -> Vec<Living> {
        let one = |(name, life): (&String, &Life)| Living {
            name: name.clone(),
            path: store.path(shelf, name),
            live: !life.reasons.is_empty(),
            idle_seconds: life.idle.as_secs(),
            reasons: life
                .reasons
                .iter()
                .map(|reason| Reasoned {
                    reason: reason.clone(),
                    message: reason.to_string(),
                })
                .collect(),
        };
        lives.iter().map(one).collect()
    };
    let document = Roots {
        environments: living(Shelf::Envs, &survey.envs),
        trees: living(Shelf::Wheels, &survey.trees),
    };
    let mut lines = Vec::new();
    for living in document.environments.iter().chain(&document.trees) {
        lines.push(living.name.clone());
        if !living.live {
            lines.push("  nothing needs it".to_owned());
        }
        lines.extend(living.reasons.iter().map(|reason| format!("  {}", reason.message)));
    }
    if lines.is_empty() {
        lines.push("the store is empty".to_owned());
    }
    context.ui.result(&document, &lines);
}

/// After a build: collects where `min-free` is configured and less is free. Whatever goes wrong here is said, and the
/// build stays what it was.
pub(super) fn automatic(context: &Context<'_>) {
    let Some(wanted) = context.config.min_free else { return };
    let project = context.project();
    let Ok(store) = project.store() else { return };
    if crate::collect::execute::free_bytes(&store).is_ok_and(|free| free >= wanted) {
        return;
    }
    let cache = context.config.cache_dir().ok().map(Cache::new);
    let collector = Collector {
        store: &store,
        cache: cache.as_ref(),
        project: &context.config.project,
        reporter: context.ui,
    };
    let options = Options {
        free: Some(wanted),
        offline: context.config.offline,
        ..Options::default()
    };
    match collector.collect(&options) {
        Ok((plan, collected)) => {
            let freed = human_bytes(collected.freed_bytes);
            let wanted = human_bytes(wanted);
            context
                .ui
                .note(&format!("less than {wanted} were free (min-free): collected {freed}"));
            if plan.missing_bytes > 0 {
                let missing = human_bytes(plan.missing_bytes);
                context.ui.warning(&format!(
                    "{missing} are missing; everything else is needed or younger than 7 days"
                ));
            }
        }
        Err(error) => {
            let failure = crate::error::Failure::from(error);
            let message = failure.chain().join(": ");
            context
                .ui
                .warning(&format!("the automatic collection failed: {message}"));
        }
    }
}
