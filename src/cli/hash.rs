//! `flambeau hash`

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::options::{ChoiceArgs, FromArgs};
use super::{Context, VerbResult};
use crate::backend::Channel;
use crate::digest::EnvironmentKey;
use crate::error::{Failure, Kind};
use crate::gpu::LiveHost;
use crate::project::from::FromFile;
use crate::project::lockfiles::{ReadLockfile, keys_of};
use crate::project::pins::Explained;
use crate::project::plan::{Plan, PlanError, PlanOptions};
use crate::target::Target;

/// Arguments of `hash`.
#[derive(Debug, Args)]
pub(super) struct HashArgs {
    #[command(flatten)]
    pub(super) choice: ChoiceArgs,
    #[command(flatten)]
    pub(super) from: FromArgs,
    /// The keys of every lockfile and target
    #[arg(long, conflicts_with = "from")]
    all: bool,
    /// Compare the lockfiles with keys.json (exit 3 where they disagree)
    #[arg(long, conflicts_with = "from")]
    check: bool,
    /// The key for this target in place of this machine's, e.g. cp311-manylinux_2_28_x86_64
    #[arg(long, value_name = "TARGET")]
    target: Option<Target>,
}

#[derive(Debug, Serialize)]
struct One {
    key: EnvironmentKey,
    channel: Channel,
    target: Target,
}

#[derive(Debug, Serialize)]
struct All {
    keys: AllKeys,
}

/// By lockfile and target.
type AllKeys = BTreeMap<String, BTreeMap<String, EnvironmentKey>>;

/// By name.
type Lockfiles = BTreeMap<String, ReadLockfile>;

pub(super) fn run(args: &HashArgs, context: &Context<'_>) -> VerbResult {
    if args.all || args.check {
        let lockfiles = lockfiles(context)?;
        let all = all_keys(&lockfiles)?;
        if args.check {
            check(&lockfiles, &all, context)?;
        }
        let lines: Vec<String> = all
            .iter()
            .flat_map(|(name, keys)| keys.iter().map(move |(target, key)| format!("{key}  {name}  {target}")))
            .collect();
        context.ui.result(&All { keys: all }, &lines);
        return Ok(ExitCode::SUCCESS);
    }
    let one = match args.from.file() {
        Some(file) => from(&file, args.target, context)?,
        None => locked(args.target, context)?,
    };
    let text = one.key.to_string();
    context.ui.result(&one, &[text]);
    Ok(ExitCode::SUCCESS)
}

/// The key that the project's lockfile gives.
fn locked(target: Option<Target>, context: &Context<'_>) -> Result<One, Failure> {
    let project = context.project();
    let chosen = project.choose(&LiveHost::new(context.vars.clone()))?;
    let Some(target) = target else {
        let plan = project.plan(chosen, PlanOptions { locked: true })?;
        context.warn_of(&plan.lockfile);
        return Ok(One::of(&plan));
    };
    let channel = chosen.channel;
    let read = project.read_lockfile(&channel)?.ok_or_else(|| PlanError::NoLockfile {
        path: project.lockfile_path(&channel),
    })?;
    context.warn_of(&read);
    One::for_target(&read, target)
}

/// The key that a file of another tool gives.
fn from(file: &FromFile, target: Option<Target>, context: &Context<'_>) -> Result<One, Failure> {
    let Some(target) = target else {
        return Ok(One::of(&super::build::plan_from(file, context)?));
    };
    let (read, warnings) = context.project().lockfile_from(file, &target)?;
    for warning in &warnings {
        context.ui.warning(warning);
    }
    One::for_target(&read, target)
}

impl One {
    fn of(plan: &Plan) -> Self {
        Self {
            key: plan.key,
            channel: plan.chosen.channel.clone(),
            target: plan.locked.target,
        }
    }

    fn for_target(read: &ReadLockfile, target: Target) -> Result<Self, Failure> {
        let key = crate::key::environment_key(&read.lockfile, &target).map_err(|source| PlanError::Select {
            path: read.path.clone(),
            source,
        })?;
        Ok(Self {
            key,
            channel: read.lockfile.channel.clone(),
            target,
        })
    }
}

/// Every lockfile, by name.
fn lockfiles(context: &Context<'_>) -> Result<Lockfiles, Failure> {
    let project = context.project();
    let lockfiles: Lockfiles = project.all_lockfiles()?.into_iter().collect();
    if lockfiles.is_empty() {
        return Err(
            Failure::user(format!("there is no lockfile in {}", project.lockfiles_dir().display()))
                .hint("`flambeau lock` writes one"),
        );
    }
    for read in lockfiles.values() {
        context.warn_of(read);
    }
    Ok(lockfiles)
}

fn all_keys(lockfiles: &Lockfiles) -> Result<AllKeys, Failure> {
    let mut all = BTreeMap::new();
    for (name, read) in lockfiles {
        let keys = keys_of(read)?
            .into_iter()
            .map(|(target, key)| (target.to_string(), key))
            .collect();
        all.insert(name.clone(), keys);
    }
    Ok(all)
}

/// Compares with `keys.json`, and says what differs where it does.
fn check(lockfiles: &Lockfiles, all: &AllKeys, context: &Context<'_>) -> Result<(), Failure> {
    let project = context.project();
    let pinned = project.read_keys()?;
    let mut differences = Vec::new();
    for (name, keys) in all {
        for (target, key) in keys {
            match pinned.all().get(name).and_then(|keys| keys.get(target)) {
                Some(pinned) if pinned == key => {}
                Some(pinned) => {
                    let mut text = format!("{name} {target}: the lockfile gives {key}, pinned is {pinned}");
                    let explained = lockfiles.get(name).zip(target.parse().ok());
                    let explained = explained.and_then(|(read, target)| project.explain_key(*pinned, read, &target));
                    if let Some(explained) = explained.filter(|explained| !explained.changes.is_empty()) {
                        text = format!("{text} ({})", changes(&explained));
                    }
                    differences.push(text);
                }
                None => differences.push(format!("{name} {target}: the lockfile gives {key}, nothing is pinned")),
            }
        }
    }
    for (name, keys) in pinned.all() {
        for target in keys
            .keys()
            .filter(|target| all.get(name).is_none_or(|keys| !keys.contains_key(*target)))
        {
            differences.push(format!("{name} {target}: pinned, but no lockfile has it"));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} disagrees with the lockfiles: {}",
        project.keys_path().display(),
        differences.join("; ")
    );
    Err(Failure::new(Kind::Integrity, message)
        .hint("`flambeau lock` writes keys.json anew; version control has the lockfiles that were pinned"))
}

/// What differs, in one line.
pub(super) fn changes(explained: &Explained) -> String {
    let changes: Vec<String> = explained.changes.iter().map(ToString::to_string).collect();
    changes.join(", ")
}
