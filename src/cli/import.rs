//! `flambeau import`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Context, VerbResult};
use crate::bundle::BundledEnvironment;
use crate::digest::FileDigest;
use crate::project::bundle::{ImportOptions, ImportedBundle};
use crate::ui::human_bytes;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The folder or archive that `export` wrote; of an archive in parts, the first or the name without the number
    #[arg(value_name = "DIR|FILE")]
    bundle: PathBuf,
    /// Refuse any bundle but the one with this digest, which `export` printed (exit 3)
    #[arg(long, value_name = "DIGEST")]
    expect: Option<FileDigest>,
    /// Compare every file of the bundle with its digest, and import nothing
    #[arg(long)]
    pub(super) check: bool,
    /// Take wheels and trees only; the project's lockfiles stay as they are
    #[arg(long)]
    no_lockfiles: bool,
    /// Write the bundle's lockfiles over the project's where they differ
    #[arg(long, conflicts_with = "no_lockfiles")]
    replace_lockfiles: bool,
}

#[derive(Debug, Serialize)]
struct Document {
    digest: FileDigest,
    environments: Vec<BundledEnvironment>,
    wheels: usize,
    new_wheels: usize,
    trees: usize,
    new_trees: usize,
    copied_bytes: u64,
    lockfiles: Vec<PathBuf>,
}

pub(super) fn run(args: &ImportArgs, context: &Context<'_>) -> VerbResult {
    let options = ImportOptions {
        expect: args.expect,
        no_lockfiles: args.no_lockfiles,
        replace_lockfiles: args.replace_lockfiles,
        check: args.check,
    };
    let ImportedBundle {
        digest,
        environments,
        imported,
        lockfiles,
    } = context.project().import_bundle(&args.bundle, options)?;
    let mut lines = if args.check {
        let (wheels, trees) = (imported.wheels, imported.trees);
        vec![format!("the bundle is whole: {wheels} wheels, {trees} trees")]
    } else {
        let (new, all, bytes) = (imported.new_wheels, imported.wheels, human_bytes(imported.bytes));
        let mut lines = vec![format!(
            "imported {new} of {all} wheels ({bytes}); the others were there"
        )];
        if imported.trees > 0 {
            let (new, all) = (imported.new_trees, imported.trees);
            lines.push(format!("imported {new} of {all} trees; the others were there"));
        }
        lines.extend(lockfiles.iter().map(|path| format!("wrote {}", path.display())));
        lines
    };
    lines.push(format!("  bundle {digest}"));
    for one in &environments {
        let (channel, target, key) = (&one.channel, one.target, one.key);
        lines.push(format!("  {key}  channel {channel}, {target}"));
    }
    if !args.check
        && let Some(channel) = one_channel(&environments)
    {
        lines.push(format!("next: flambeau build --offline --locked --channel {channel}"));
    }
    let document = Document {
        digest,
        environments,
        wheels: imported.wheels,
        new_wheels: imported.new_wheels,
        trees: imported.trees,
        new_trees: imported.new_trees,
        copied_bytes: imported.bytes,
        lockfiles,
    };
    context.ui.result(&document, &lines);
    Ok(ExitCode::SUCCESS)
}

/// The channel of all environments, where they have one in common.
fn one_channel(environments: &[BundledEnvironment]) -> Option<&crate::backend::Channel> {
    let first = &environments.first()?.channel;
    environments.iter().all(|one| one.channel == *first).then_some(first)
}
