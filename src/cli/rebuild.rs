//! `flambeau build --rebuild`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;

use super::{Context, VerbResult};
use crate::digest::{EnvironmentKey, TreeDigest};
use crate::error::{Failure, Kind};
use crate::project::plan::Plan;
use crate::verify::{Damage, Difference};

/// So many differing files are named for people; JSON has all.
const NAMED: usize = 20;

#[derive(Debug, Serialize)]
struct Document {
    key: EnvironmentKey,
    path: PathBuf,
    reproducible: bool,
    tree_digest: TreeDigest,
    rebuilt_tree_digest: TreeDigest,
    bytecode_covered: bool,
    differences: Vec<Difference>,
    damaged: Vec<Damage>,
    elapsed_ms: u64,
}

pub(super) fn run(plan: &Plan, context: &Context<'_>) -> VerbResult {
    let started = Instant::now();
    let rebuilt = context.project().rebuild(plan)?.ok_or_else(|| {
        Failure::user(format!(
            "the environment {} is not built, so there is nothing to compare with",
            plan.key
        ))
        .hint("`flambeau build` builds it")
    })?;
    let same = rebuilt.is_same();
    let mut lines = Vec::new();
    for damage in rebuilt.damaged.iter().take(NAMED) {
        lines.push(format!("{:12} {}", damage.kind.as_str(), damage.path.display()));
    }
    for difference in rebuilt.differences.iter().take(NAMED) {
        let package = difference.package.as_deref().unwrap_or_default();
        lines.push(format!("{:12} {} ({package})", "differs", difference.path));
    }
    let found = rebuilt.damaged.len() + rebuilt.differences.len();
    let verdict = if same {
        "the same".to_owned()
    } else {
        format!("{found} files differ")
    };
    lines.extend([
        format!("built again in {:.2} s: {verdict}", started.elapsed().as_secs_f64()),
        format!("  key           {}", plan.key),
        format!("  tree digest   {}", rebuilt.recorded),
        format!("  built again   {}", rebuilt.rebuilt),
    ]);
    let document = Document {
        key: plan.key,
        path: rebuilt.path,
        reproducible: same,
        tree_digest: rebuilt.recorded,
        rebuilt_tree_digest: rebuilt.rebuilt,
        bytecode_covered: rebuilt.bytecode_is_covered,
        differences: rebuilt.differences,
        damaged: rebuilt.damaged,
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    context.ui.result(&document, &lines);
    Ok(if same {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Kind::Integrity.exit_code())
    })
}
