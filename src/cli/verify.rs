//! `flambeau verify`

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::{Context, VerbResult};
use crate::error::{Kind, one_line};
use crate::project::verify::Outcome;
use crate::ui::human_bytes;
use crate::verify::{Damage, Depth, Report, Subject};

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// What to verify: an environment (key or its beginning, generation, backend, channel, path), a wheel tree (path or
    /// folder name) or a cached wheel (path, file name or digest) [default: the active environment]
    #[arg(value_name = "WHAT")]
    what: Vec<String>,
    /// Verify every environment, wheel tree and cached wheel
    #[arg(long, conflicts_with = "what")]
    all: bool,
    /// Look at sizes, modes, links and commit records only; read what was written to since it was published
    #[arg(long)]
    quick: bool,
    /// Mend what is damaged: from cached wheels, then from intact copies, then (unless --offline) from the network
    #[arg(long)]
    pub(super) repair: bool,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    damage: &'a Damage,
    repaired: bool,
}

#[derive(Debug, Serialize)]
struct Unrepaired {
    owner: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    intact: bool,
    quick: bool,
    environments: usize,
    trees: usize,
    wheels: usize,
    files: u64,
    bytes: u64,
    elapsed_ms: u64,
    damaged: Vec<Row<'a>>,
    unrepaired: Vec<Unrepaired>,
}

pub(super) fn run(args: &VerifyArgs, context: &Context<'_>) -> VerbResult {
    let started = Instant::now();
    let project = context.project();
    if args.repair
        && let Some(file) = project.restore_store_version()?
    {
        context
            .ui
            .warning(&format!("{} was damaged and is written again", file.display()));
    }
    let scope = if args.all {
        project.whole_scope()?
    } else if args.what.is_empty() {
        project.active_scope()?
    } else {
        project.named_scope(&args.what)?
    };
    let depth = if args.quick { Depth::Quick } else { Depth::Full };
    let mut report = project.verify(&scope, depth)?;
    let outcome = if args.repair && !report.damaged.is_empty() {
        Some(project.mend(&scope, &report.damaged)?)
    } else {
        None
    };
    if let Some(outcome) = &outcome {
        // What only reading everything brought to light.
        for damage in &outcome.remaining {
            if !report.damaged.contains(damage) {
                report.damaged.push(damage.clone());
            }
        }
    }
    let remaining = |damage: &Damage| outcome.as_ref().is_none_or(|it| it.remaining.contains(damage));
    let left = report.damaged.iter().filter(|damage| remaining(damage)).count();
    let document = Document {
        intact: left == 0,
        quick: args.quick,
        environments: report.environments,
        trees: report.trees,
        wheels: report.wheels,
        files: report.files,
        bytes: report.bytes,
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        damaged: report
            .damaged
            .iter()
            .map(|damage| Row {
                damage,
                repaired: !remaining(damage),
            })
            .collect(),
        unrepaired: unrepaired(outcome.as_ref()),
    };
    let text = text(&report, &document, started);
    context.ui.result(&document, &text);
    if left == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    if !context.ui.is_json() {
        context.ui.note(if args.repair {
            "hint: what is left needs the network, or a build: `flambeau build` makes what is missing"
        } else {
            "hint: `flambeau verify --repair` mends it"
        });
    }
    Ok(ExitCode::from(Kind::Integrity.exit_code()))
}

fn unrepaired(outcome: Option<&Outcome>) -> Vec<Unrepaired> {
    let failures = outcome.map(|outcome| outcome.failures.as_slice()).unwrap_or_default();
    failures
        .iter()
        .map(|(subject, error)| Unrepaired {
            owner: match subject {
                Subject::Environment(name) | Subject::Bytecode(name) | Subject::Tree(name) => name.clone(),
                Subject::Wheel(digest) => digest.to_string(),
            },
            why: one_line(error),
        })
        .collect()
}

fn count(number: usize, one: &str, many: &str) -> Option<String> {
    match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        number => Some(format!("{number} {many}")),
    }
}

fn text(report: &Report, document: &Document<'_>, started: Instant) -> Vec<String> {
    let mut lines = Vec::new();
    for Row { damage, repaired } in &document.damaged {
        let mended = if *repaired { "  (mended)" } else { "" };
        lines.push(format!("{:12} {}{mended}", damage.kind.as_str(), damage.path.display()));
        let mut about = Vec::new();
        about.extend(damage.package.as_ref().map(|package| format!("of {package}")));
        match damage.environments.as_slice() {
            [] => {}
            [only] => about.push(format!("in the environment {only}")),
            several => about.push(format!("in {} environments: {}", several.len(), several.join(", "))),
        }
        if !about.is_empty() {
            lines.push(format!("{:12}   {}", "", about.join(", ")));
        }
    }
    for Unrepaired { owner, why } in &document.unrepaired {
        lines.push(format!("not mended   {owner}: {why}"));
    }
    let parts = [
        count(report.environments, "environment", "environments"),
        count(report.trees, "wheel tree", "wheel trees"),
        count(report.wheels, "cached wheel", "cached wheels"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let mended = document.damaged.iter().filter(|row| row.repaired).count();
    let verdict = match (document.damaged.len() - mended, mended) {
        (0, 0) => "intact".to_owned(),
        (0, mended) => format!("{mended} damaged, all mended"),
        (left, 0) => format!("{left} damaged"),
        (left, mended) => format!("{left} damaged, {mended} mended"),
    };
    let what = if parts.is_empty() {
        "nothing".to_owned()
    } else {
        parts.join(", ")
    };
    lines.push(format!(
        "{} {what} ({} files, {}) in {:.2} s: {verdict}",
        if document.quick { "looked at" } else { "verified" },
        report.files,
        human_bytes(report.bytes),
        started.elapsed().as_secs_f64(),
    ));
    lines
}
