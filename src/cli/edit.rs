//! `flambeau init`, `add` and `remove`: the project's requirements in `pyproject.toml`, and the lockfiles for them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use url::Url;

use super::lock::{self, Document};
use super::{Context, VerbResult};
use crate::fsx;
use crate::pep::PackageName;
use crate::project::manifest::Edit;
use crate::project::relock::LockRequest;

/// Arguments of all three.
#[derive(Debug, Args)]
struct Shared {
    /// Only write pyproject.toml
    #[arg(long)]
    no_lock: bool,
    /// The package index to use in place of the one that pip uses
    #[arg(long, value_name = "URL")]
    index_url: Option<Url>,
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    #[command(flatten)]
    shared: Shared,
}

/// Arguments of `add`.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Requirements (PEP 508, or the path or URL of a wheel); one for a package that is required already takes that one's place
    #[arg(value_name = "REQ", required = true)]
    requirements: Vec<String>,
    /// Local wheels outside the project's folder may be read
    #[arg(long)]
    pub(super) allow_path: bool,
    /// Report files that a wheel brings without listing them in its RECORD, instead of refusing the wheel
    #[arg(long)]
    pub(super) allow_unrecorded: bool,
    #[command(flatten)]
    shared: Shared,
}

/// Arguments of `remove`.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// Packages
    #[arg(value_name = "PKG", required = true)]
    packages: Vec<PackageName>,
    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Serialize)]
struct Edited {
    path: PathBuf,
    changed: bool,
    #[serde(flatten)]
    locked: Document,
}

pub(super) fn init(args: &InitArgs, context: &Context<'_>) -> VerbResult {
    let code = run(&args.shared, &context.project().edit_init()?, context)?;
    let path = context.config.project.join(".gitignore");
    if !path.exists() {
        fsx::write_atomic(&path, GITIGNORE.as_bytes())?;
        context.ui.note(&format!("wrote {}", path.display()));
    }
    Ok(code)
}

/// What a project does not commit.
const GITIGNORE: &str = "/.venv\n/environment_state.json\n/.flambeau\n__pycache__/\n";

pub(super) fn add(args: &AddArgs, context: &Context<'_>) -> VerbResult {
    run(
        &args.shared,
        &context.project().edit_add(&lock::given(&args.requirements, context)?)?,
        context,
    )
}

pub(super) fn remove(args: &RemoveArgs, context: &Context<'_>) -> VerbResult {
    run(&args.shared, &context.project().edit_remove(&args.packages)?, context)
}

/// Locks as if the edit were written, and writes it and the lockfiles when all of that went well.
fn run(shared: &Shared, edit: &Edit, context: &Context<'_>) -> VerbResult {
    let config = lock::with_index(context.config, shared.index_url.as_ref()).with_manifest(&edit.after)?;
    let context = &Context {
        config: &config,
        ..*context
    };
    let resolved = if shared.no_lock {
        Vec::new()
    } else {
        let channels = lock::channels(&[], &[], context)?;
        lock::resolve_all(&channels, &LockRequest::default(), context)?
    };
    edit.apply()?;
    let written = lock::write_all(resolved, context).inspect_err(|_| {
        // A project whose lockfiles could not be written is as it was; should even that fail, the first error counts.
        edit.undo().ok();
    });
    let (locked, wrote) = written?;
    let changed = edit.before.as_deref() != Some(edit.after.as_bytes());
    let verb = match (&edit.before, changed) {
        (None, _) => "wrote",
        (Some(_), true) => "changed",
        (Some(_), false) => "unchanged:",
    };
    let mut lines = vec![format!("{verb} {}", edit.path.display())];
    lines.extend(wrote);
    let document = Edited {
        path: edit.path.clone(),
        changed,
        locked,
    };
    context.ui.result(&document, &lines);
    Ok(ExitCode::SUCCESS)
}
