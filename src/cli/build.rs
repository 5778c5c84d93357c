//! `flambeau build`

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::options::{ChoiceArgs, FromArgs};
use super::{Context, VerbResult};
use crate::backend::{Backend, Channel};
use crate::digest::EnvironmentKey;
use crate::error::{Failure, Kind};
use crate::fsx;
use crate::gpu::LiveHost;
use crate::project::activate::{Activated, InTheWay};
use crate::project::changes::Change;
use crate::project::choice::Chosen;
use crate::project::from::FromFile;
use crate::project::lockfiles::ReadLockfile;
use crate::project::plan::{Plan, PlanOptions};
use crate::project::realise::Realised;
use crate::target::Target;
use crate::timings::Recorder;
use crate::ui::human_bytes;

/// Arguments of `build`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct BuildArgs {
    #[command(flatten)]
    pub(super) choice: ChoiceArgs,
    #[command(flatten)]
    pub(super) from: FromArgs,
    /// Leave .venv as it is
    #[arg(long)]
    no_activate: bool,
    /// Never write the lockfile; a missing or stale one is an error
    #[arg(long)]
    locked: bool,
    /// Refuse unless the environment has this key (exit 3)
    #[arg(long, value_name = "KEY")]
    expect: Option<EnvironmentKey>,
    /// Build again beside what is there, compare both, and discard the second (exit 3 where they differ)
    #[arg(long, conflicts_with_all = ["dry_run", "force"])]
    rebuild: bool,
    /// Say what would be locked, built and fetched, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Refuse an environment in which two packages bring different files for one path
    #[arg(long)]
    strict: bool,
    /// Report files that a wheel brings without listing them in its RECORD, instead of refusing the wheel
    #[arg(long)]
    pub(super) allow_unrecorded: bool,
    /// Compile no modules: quicker to build and smaller, and slower at every start of Python
    #[arg(long, conflicts_with = "rebuild")]
    pub(super) no_compile_bytecode: bool,
    /// Delete each wheel from the cache once it is unpacked
    #[arg(long, conflicts_with = "rebuild")]
    pub(super) no_keep_wheels: bool,
    /// Move a .venv aside that flambeau did not make
    #[arg(long)]
    force: bool,
    /// Make PATH a link to the environment too, which keeps it for as long as the link is there
    #[arg(long, value_name = "PATH", conflicts_with = "dry_run")]
    out_link: Option<std::path::PathBuf>,
    /// Write a page with what each wheel took the time for [default: flambeau-timings.html]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "flambeau-timings.html", conflicts_with = "dry_run")]
    timings: Option<std::path::PathBuf>,
    /// Refuse (exit 1) where no GPU of this machine runs the environment's torch
    #[arg(long)]
    require_gpu: bool,
}

/// The document of `build`, `activate` and `status`.
#[derive(Debug, Serialize)]
pub(super) struct EnvironmentDocument {
    pub(super) key: EnvironmentKey,
    pub(super) path: std::path::PathBuf,
    pub(super) backend: Backend,
    pub(super) channel: Channel,
    pub(super) target: Target,
    pub(super) python: String,
    pub(super) reused: bool,
    pub(super) activated: bool,
    pub(super) generation: Option<u64>,
    pub(super) packages: usize,
    pub(super) downloaded_bytes: u64,
    pub(super) elapsed_ms: u64,
    pub(super) tree_digest: crate::digest::TreeDigest,
    pub(super) lockfile: Option<std::path::PathBuf>,
    pub(super) relocked: bool,
    pub(super) warnings: Vec<String>,
    /// What differs from the environment that was active before; empty where that is this one, or none was.
    pub(super) changes: Vec<Change>,
    /// Bytes that this environment takes more than that one, where both are known.
    pub(super) size_change_bytes: Option<i64>,
    /// The project's own packages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) editables: Vec<OwnPackage>,
}

/// A package of the project's own.
#[derive(Debug, Serialize)]
pub(super) struct OwnPackage {
    pub(super) name: String,
    pub(super) version: String,
    path: std::path::PathBuf,
}

impl OwnPackage {
    pub(super) fn all(state: &crate::env::state::EnvironmentState) -> Vec<Self> {
        let of = |own: &crate::env::editable::Editable| Self {
            name: own.name.clone(),
            version: own.version.clone(),
            path: own.path.clone(),
        };
        state.editables.iter().map(of).collect()
    }
}

impl EnvironmentDocument {
    /// The document of what was activated.
    pub(super) fn of_activated(activated: &Activated, started: Instant) -> Self {
        let changes = activated.changes.clone().unwrap_or_default();
        Self {
            activated: true,
            generation: Some(activated.generation.number),
            changes: changes.packages,
            size_change_bytes: changes.size,
            ..Self::of(&activated.path, &activated.state, started)
        }
    }

    /// The document of an environment with nothing said about how it came about.
    pub(super) fn of(path: &std::path::Path, state: &crate::env::state::EnvironmentState, started: Instant) -> Self {
        Self {
            key: state.environment_key,
            path: path.to_owned(),
            backend: state.installed_backend,
            channel: state.channel.clone(),
            target: state.target,
            python: state.python_version.clone(),
            reused: true,
            activated: false,
            generation: None,
            packages: state.installed_packages.len(),
            downloaded_bytes: 0,
            elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            tree_digest: state.tree_digest,
            lockfile: None,
            relocked: false,
            warnings: Vec::new(),
            changes: Vec::new(),
            size_change_bytes: None,
            editables: OwnPackage::all(state),
        }
    }
}

/// What building and activating came to.
pub(super) struct Built {
    pub(super) plan: Plan,
    pub(super) realised: Realised,
    pub(super) activated: Option<Activated>,
}

pub(super) fn run(args: &BuildArgs, context: &Context<'_>) -> VerbResult {
    let Some(path) = &args.timings else {
        return run_watched(args, context);
    };
    let recorder = Recorder::new(context.reporter);
    let result = run_watched(
        args,
        &Context {
            reporter: &recorder,
            ..*context
        },
    );
    // A build that failed took its time too.
    let written = fsx::write_atomic(path, recorder.page("flambeau build").as_bytes());
    if written.is_ok() {
        context.ui.note(&format!("timings: {}", path.display()));
    }
    let code = result?;
    written?;
    Ok(code)
}

fn run_watched(args: &BuildArgs, context: &Context<'_>) -> VerbResult {
    let started = Instant::now();
    if args.is_plain()
        && let Some(kept) = kept(&args.choice, context, in_the_way(args.force))?
    {
        report_kept(&kept, started, context);
        return Ok(ExitCode::SUCCESS);
    }
    let mut plan = match args.from.file() {
        Some(file) => plan_from(&file, context)?,
        None => plan(context, args.locked)?,
    };
    if let Some(expected) = args.expect.filter(|expected| *expected != plan.key) {
        return Err(unexpected_key(&plan, expected, context));
    }
    if args.require_gpu {
        require_gpu(&mut plan, context)?;
    }
    if args.dry_run {
        return dry_run(&plan, context);
    }
    if args.rebuild {
        return super::rebuild::run(&plan, context);
    }
    let options = BuildOptions {
        activate: (!args.no_activate).then(|| in_the_way(args.force)),
        strict: args.strict,
    };
    let built = build(plan, context, options)?;
    if let Some(link) = &args.out_link {
        let absolute = std::path::absolute(link).map_err(|source| crate::fsx::PathError {
            action: "find",
            path: link.clone(),
            source,
        })?;
        context.project().store()?.out_link(&absolute, &built.realised.path)?;
    }
    report(&built, started, context);
    context.project().settle(&built.realised.path);
    Ok(ExitCode::SUCCESS)
}

impl BuildArgs {
    /// Whether nothing but `build` is asked for; what asks about the lockfile's environment is answered by that one.
    fn is_plain(&self) -> bool {
        !(self.no_activate || self.locked || self.dry_run || self.strict || self.require_gpu)
            && self.expect.is_none()
            && self.out_link.is_none()
            && self.from.file().is_none()
    }
}

/// The environment that was named by `rollback` or `activate`, where it is kept because nothing chooses another one.
pub(super) fn kept(
    choice: &ChoiceArgs,
    context: &Context<'_>,
    in_the_way: InTheWay,
) -> Result<Option<Activated>, Failure> {
    if choice.chooses() {
        return Ok(None);
    }
    let project = context.project();
    if in_the_way == InTheWay::Refuse {
        project.profile().check_links()?;
    }
    let kept = project.keep_held(in_the_way)?;
    if let Some(kept) = &kept {
        // The same packages, but perhaps with the project's own as they are now.
        super::changes::tell(kept, context);
    }
    Ok(kept)
}

/// What an environment is, for people, behind what was done with it.
fn about(done: &str, state: &crate::env::state::EnvironmentState, path: &std::path::Path) -> Vec<String> {
    vec![
        format!(
            "{done}: {} packages, {}, Python {} ({} on channel {})",
            state.installed_packages.len(),
            human_bytes(state.size_bytes),
            state.python_version,
            state.installed_backend,
            state.channel,
        ),
        format!("  key  {}", state.environment_key),
        format!("  path {}", path.display()),
    ]
}

fn report_kept(kept: &Activated, started: Instant, context: &Context<'_>) {
    let (state, number) = (&kept.state, kept.generation.number);
    context.ui.note(&format!(
        "generation {number} was chosen and is kept until a flag, the requirements or the lockfile change"
    ));
    let mut lines = about("already built", state, &kept.path);
    lines.push(format!("active as .venv (generation {number})"));
    context
        .ui
        .result(&EnvironmentDocument::of_activated(kept, started), &lines);
}

/// Chooses and plans, and says what the plan should be known for.
pub(super) fn plan(context: &Context<'_>, locked: bool) -> Result<Plan, Failure> {
    let project = context.project();
    let host = LiveHost::new(context.vars.clone());
    let chosen: Chosen = project.choose(&host)?;
    let explained = chosen
        .decision
        .as_ref()
        .filter(|decision| !decision.uses_gpu())
        .map(|decision| decision.message.clone());
    if let Some(message) = explained {
        context.ui.detail(&message);
    }
    let mut plan = project.plan(chosen, PlanOptions { locked })?;
    project.diagnose(&mut plan, &host, false)?;
    say_warnings(&plan, context);
    Ok(plan)
}

/// Ends here, before a byte is fetched, where no GPU would run what is planned.
fn require_gpu(plan: &mut Plan, context: &Context<'_>) -> Result<(), Failure> {
    let host = LiveHost::new(context.vars.clone());
    context.project().diagnose(plan, &host, true)?;
    match &plan.chosen.decision {
        Some(decision) => super::detect::require_gpu(decision),
        None => Ok(()),
    }
}

/// Plans what a file of another tool pins.
pub(super) fn plan_from(file: &FromFile, context: &Context<'_>) -> Result<Plan, Failure> {
    let plan = context.project().plan_from(file)?;
    say_warnings(&plan, context);
    Ok(plan)
}

fn say_warnings(plan: &Plan, context: &Context<'_>) {
    for warning in &plan.warnings {
        context.ui.warning(warning);
    }
    if let Some(message) = context.project().rebinding(plan) {
        context.ui.warning(&message);
    }
}

/// What `--force` means.
pub(super) fn in_the_way(force: bool) -> InTheWay {
    if force { InTheWay::MoveAside } else { InTheWay::Refuse }
}

/// Says what `--force` has moved.
pub(super) fn tell_moved(activated: &Activated, context: &Context<'_>) {
    for moved in &activated.moved_aside {
        context.ui.note(&format!("moved aside: {}", moved.display()));
    }
    if let Some(list) = &activated.excluded {
        context.ui.note(&format!(
            "added .venv and environment_state.json to {}, so that git passes over them",
            list.display()
        ));
    }
}

/// How to build.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BuildOptions {
    /// Whether to activate, and what to do with what is in the way.
    pub(super) activate: Option<InTheWay>,
    /// Whether two packages with different files for one path are refused.
    pub(super) strict: bool,
}

/// Writes the lockfile of what was done, where it is not on disk yet, and says so.
pub(super) fn save(read: &ReadLockfile, context: &Context<'_>) -> Result<(), Failure> {
    if context.project().save(read)? {
        context.ui.note(&format!("locked {}", read.path.display()));
    }
    Ok(())
}

/// Realises a plan and activates what it gives, where that is asked for.
pub(super) fn build(plan: Plan, context: &Context<'_>, options: BuildOptions) -> Result<Built, Failure> {
    let BuildOptions { activate, strict } = options;
    let project = context.project();
    if activate == Some(InTheWay::Refuse) {
        project.profile().check_links()?;
    }
    if activate.is_some() {
        project.profile().check_writable()?;
    }
    let realised = project.realise(&plan)?;
    for conflict in &realised.conflicts {
        let message = format!(
            "{} comes from {} and from {}; the former is used",
            conflict.path, conflict.winner, conflict.loser
        );
        context.ui.warning(&message);
    }
    if strict && !realised.state.conflicts.is_empty() {
        let paths: Vec<&str> = realised
            .state
            .conflicts
            .iter()
            .map(|conflict| conflict.path.as_str())
            .collect();
        let message = format!("two packages bring different files for {}", paths.join(", "));
        return Err(
            Failure::new(Kind::Integrity, message).hint("build without --strict to use the later package's file")
        );
    }
    if let Some(message) = project.other_link_mode(&realised) {
        context.ui.warning(&message);
    }
    save(&plan.lockfile, context)?;
    let activated = activate
        .map(|in_the_way| project.activate_realised(&realised, &plan.chosen, in_the_way))
        .transpose()?;
    if let Some(activated) = &activated {
        tell_moved(activated, context);
        super::changes::tell(activated, context);
    }
    if !realised.reused {
        super::gc::automatic(context);
    }
    Ok(Built {
        plan,
        realised,
        activated,
    })
}

fn report(built: &Built, started: Instant, context: &Context<'_>) {
    let Built {
        plan,
        realised,
        activated,
    } = built;
    let state = &realised.state;
    let document = EnvironmentDocument {
        reused: realised.reused,
        downloaded_bytes: realised.downloaded,
        lockfile: Some(plan.lockfile.path.clone()),
        relocked: plan.lockfile.unsaved,
        warnings: plan.warnings.clone(),
        ..match activated {
            Some(activated) => EnvironmentDocument::of_activated(activated, started),
            None => EnvironmentDocument::of(&realised.path, state, started),
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let verb = if realised.reused { "already built" } else { "built" };
    let activation = match activated {
        Some(activated) if activated.switched => {
            format!("activated as .venv (generation {})", activated.generation.number)
        }
        Some(activated) => format!("active as .venv (generation {})", activated.generation.number),
        None => "not activated".to_owned(),
    };
    let mut lines = about(&format!("{verb} in {seconds:.2} s"), state, &realised.path);
    lines.push(activation);
    context.ui.result(&document, &lines);
}

fn unexpected_key(plan: &Plan, expected: EnvironmentKey, context: &Context<'_>) -> Failure {
    let explained = context
        .project()
        .explain_key(expected, &plan.lockfile, &plan.locked.target);
    let (what, from) = match &explained {
        Some(explained) if !explained.changes.is_empty() => (
            format!("; what differs: {}", super::hash::changes(explained)),
            format!("what was expected is known because {}", explained.from),
        ),
        _ => (
            String::new(),
            "what was expected is not known here: not from keys.json, the lockfiles, the store, or git".to_owned(),
        ),
    };
    let message = format!("the environment's key is {}; {expected} was expected{what}", plan.key);
    Failure::new(Kind::Integrity, message)
        .hint(format!(
            "the key comes from {} for {}",
            plan.lockfile.path.display(),
            plan.locked.target
        ))
        .hint(from)
        .hint("`flambeau hash --all` prints the keys of every backend and target")
}

#[derive(Debug, Serialize)]
struct DryRun {
    key: EnvironmentKey,
    path: std::path::PathBuf,
    backend: Backend,
    channel: Channel,
    target: Target,
    python: String,
    reused: bool,
    packages: Vec<String>,
    download_bytes: u64,
    download_files: Vec<String>,
    lockfile: std::path::PathBuf,
    /// Whether the build would write the lockfile.
    would_lock: bool,
}

fn dry_run(plan: &Plan, context: &Context<'_>) -> VerbResult {
    let project = context.project();
    let path = project.environment_path(plan)?;
    let reused = project.find_environment(plan)?.is_some();
    let missing = if reused {
        Vec::new()
    } else {
        project.missing_wheels(plan)?
    };
    let document = DryRun {
        key: plan.key,
        path: path.clone(),
        backend: plan.locked.backend,
        channel: plan.chosen.channel.clone(),
        target: plan.locked.target,
        python: plan.interpreter.version.to_string(),
        reused,
        packages: plan
            .identity()?
            .packages
            .iter()
            .map(|(name, version)| format!("{name}=={version}"))
            .collect(),
        download_bytes: missing.iter().filter_map(|wheel| wheel.size).sum(),
        download_files: missing.iter().map(|wheel| wheel.file.clone()).collect(),
        lockfile: plan.lockfile.path.clone(),
        would_lock: plan.lockfile.unsaved,
    };
    let mut lines = vec![format!("key  {}", plan.key), format!("path {}", path.display())];
    if plan.lockfile.unsaved {
        lines.push(format!("would lock {}", plan.lockfile.path.display()));
    }
    if reused {
        lines.push("the environment is already built".to_owned());
    } else {
        lines.push(format!(
            "would build {} packages; {} wheels to fetch ({})",
            document.packages.len(),
            missing.len(),
            human_bytes(document.download_bytes)
        ));
        lines.extend(missing.iter().map(|wheel| {
            format!(
                "  {} ({})",
                wheel.file,
                wheel.size.map_or_else(|| "size unknown".to_owned(), human_bytes)
            )
        }));
    }
    context.ui.result(&document, &lines);
    Ok(ExitCode::SUCCESS)
}
