//! `flambeau lock`

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::options::parse_backend;
use super::{Context, VerbResult};
use crate::backend::{Backend, Channel, Preference};
use crate::config::Config;
use crate::error::Failure;
use crate::gpu::LiveHost;
use crate::pep::{ExtraName, GroupName, PackageName};
use crate::policy::{Cutoff, InvalidCutoff, PreReleases, Versions};
use crate::project::Project;
use crate::project::lockfiles::{LockfileError, ReadLockfile, keys_of};
use crate::project::plan::PlanError;
use crate::project::relock::{LockRequest, RelockError, ResolvedLock};
use crate::requirement;
use crate::resolve::Upgrade;
use crate::target::{Platform, PythonMinor};
use url::Url;

/// Arguments of `lock`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct LockArgs {
    /// Requirements (PEP 508, or the path or URL of a wheel), which hold from now on [default: the project's, else those of the lockfile, else
    /// torch==2.7.0 and torchvision==0.22.0]
    #[arg(value_name = "REQ")]
    requirements: Vec<String>,
    /// Backends to lock for, separated by commas: auto, cuda, rocm, cpu
    #[arg(long, value_name = "BACKEND", value_delimiter = ',', value_parser = parse_backend)]
    backend: Vec<Preference>,
    /// Channels to lock for, separated by commas
    #[arg(long, value_name = "CHANNEL", value_delimiter = ',')]
    channel: Vec<Channel>,
    /// Pythons to lock for, separated by commas [default: those of the lockfile, else 3.9 to 3.13 where the channel
    /// has wheels]
    #[arg(long, value_name = "PYTHON", value_delimiter = ',')]
    python: Vec<PythonMinor>,
    /// Platforms to lock for, separated by commas, e.g. linux_x86_64
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    platform: Vec<Platform>,
    /// Lock for the requirements of this extra of the project too, from now on
    #[arg(long, value_name = "EXTRA")]
    extra: Vec<ExtraName>,
    /// Lock for the requirements of this dependency group (PEP 735) too, from now on
    #[arg(long, value_name = "GROUP")]
    group: Vec<GroupName>,
    /// Lock without the extras and groups that were named before
    #[arg(long, conflicts_with_all = ["extra", "group"])]
    no_extras: bool,
    /// Which version of a direct requirement to take: highest or lowest-direct
    #[arg(long, value_name = "WHICH")]
    resolution: Option<Versions>,
    /// Whether pre-releases may be chosen: if-necessary-or-explicit, allow or refuse
    #[arg(long, value_name = "WHEN")]
    pre_releases: Option<PreReleases>,
    /// Leave out what was uploaded later than this day or time (2025-05-01, 2025-05-01T12:00:00Z; UTC); `none` ends it
    #[arg(long, value_name = "DATE")]
    exclude_newer: Option<Until>,
    /// Choose every version anew
    #[arg(long)]
    upgrade: bool,
    /// Choose the version of this package anew
    #[arg(long, value_name = "P")]
    upgrade_package: Vec<PackageName>,
    /// Write complete URLs for wheels of the package index too, so that uv and pip can install from the lockfile; it
    /// stays so until --no-urls
    #[arg(long, overrides_with = "no_urls", conflicts_with = "check")]
    urls: bool,
    /// Write no URLs for wheels of the package index, so that the lockfile is the same behind every mirror
    #[arg(long, overrides_with = "urls", conflicts_with = "check")]
    no_urls: bool,
    /// Only say whether the lockfiles are current (exit 1 where not)
    #[arg(long, conflicts_with_all = [
        "requirements", "upgrade", "upgrade_package", "extra", "group", "no_extras", "resolution", "pre_releases",
        "exclude_newer",
    ])]
    pub(super) check: bool,
    /// Local wheels outside the project's folder may be read
    #[arg(long)]
    pub(super) allow_path: bool,
    /// Report files that a wheel brings without listing them in its RECORD, instead of refusing the wheel
    #[arg(long)]
    pub(super) allow_unrecorded: bool,
    /// The package index to use in place of the one that pip uses
    #[arg(long, value_name = "URL")]
    index_url: Option<Url>,
}

/// A moment, or `none`.
#[derive(Debug, Clone, Copy)]
struct Until(Option<Cutoff>);

impl std::str::FromStr for Until {
    type Err = InvalidCutoff;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|cutoff| Self(Some(cutoff)))
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Row {
    channel: Channel,
    path: std::path::PathBuf,
    changed: bool,
    packages: usize,
    targets: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Document {
    lockfiles: Vec<Row>,
    warnings: Vec<String>,
}

pub(super) fn run(args: &LockArgs, context: &Context<'_>) -> VerbResult {
    let config = with_index(context.config, args.index_url.as_ref());
    let context = &Context {
        config: &config,
        ..*context
    };
    let project = context.project();
    let channels = channels(&args.backend, &args.channel, context)?;
    if args.check {
        return check(&channels, &project, context);
    }
    let upgrade = match (args.upgrade, args.upgrade_package.is_empty()) {
        (true, _) => Upgrade::All,
        (false, true) => Upgrade::None,
        (false, false) => Upgrade::Packages(args.upgrade_package.iter().cloned().collect::<BTreeSet<_>>()),
    };
    let lists = (args.no_extras || !args.extra.is_empty() || !args.group.is_empty()).then(|| {
        (
            args.extra.iter().cloned().collect(),
            args.group.iter().cloned().collect(),
        )
    });
    let request = LockRequest {
        requirements: given(&args.requirements, context)?,
        pythons: args.python.clone(),
        platforms: args.platform.clone(),
        upgrade,
        lists,
        versions: args.resolution,
        pre_releases: args.pre_releases,
        exclude_newer: args.exclude_newer.map(|until| until.0),
        urls: (args.urls || args.no_urls).then_some(args.urls),
    };
    let resolved = resolve_all(&channels, &request, context)?;
    let (document, lines) = write_all(resolved, context)?;
    context.ui.result(&document, &lines);
    Ok(ExitCode::SUCCESS)
}

/// Requirements of the command line as the project holds them: local wheels are seen from its folder.
pub(super) fn given(requirements: &[String], context: &Context<'_>) -> Result<Vec<String>, LockfileError> {
    // A current folder that is gone has no wheels.
    let cwd = std::env::current_dir().unwrap_or_else(|_| context.config.project.clone());
    let given = |text: &String| {
        requirement::given(text, &cwd, &context.config.project).map_err(|source| LockfileError::Requirement {
            text: requirement::shown(text),
            source,
        })
    };
    requirements.iter().map(given).collect()
}

/// Resolves the lockfiles of all channels; nothing is written yet, so that one failure leaves every file as it is.
pub(super) fn resolve_all(
    channels: &[Channel],
    request: &LockRequest,
    context: &Context<'_>,
) -> Result<Vec<ResolvedLock>, RelockError> {
    let project = context.project();
    // Only its pip is asked, and only where nothing else names an index.
    let wanted = context.config.python.as_ref().map(|python| &python.value);
    let interpreter = project.finder().find(wanted, &|_| true).ok();
    channels
        .iter()
        .map(|channel| project.resolve_lock(channel, request, interpreter.as_ref()))
        .collect()
}

/// Writes resolved lockfiles and says so.
pub(super) fn write_all(
    resolved: Vec<ResolvedLock>,
    context: &Context<'_>,
) -> Result<(Document, Vec<String>), RelockError> {
    let project = context.project();
    let mut document = Document::default();
    let mut lines = Vec::new();
    for resolved in resolved {
        let relocked = project.write_lock(resolved)?;
        for warning in relocked.warnings {
            context.ui.warning(&warning);
            document.warnings.push(warning);
        }
        let lockfile = &relocked.read.lockfile;
        let verb = if relocked.changed { "wrote" } else { "unchanged:" };
        lines.push(format!(
            "{verb} {} ({} packages, {} targets)",
            relocked.read.path.display(),
            lockfile.packages.len(),
            lockfile.targets.len()
        ));
        for (target, key) in keys_of(&relocked.read)? {
            lines.push(format!("  {key}  {target}"));
        }
        document.lockfiles.push(row(&relocked.read, relocked.changed));
    }
    Ok((document, lines))
}

fn row(read: &ReadLockfile, changed: bool) -> Row {
    Row {
        channel: read.lockfile.channel.clone(),
        path: read.path.clone(),
        changed,
        packages: read.lockfile.packages.len(),
        targets: read
            .lockfile
            .targets
            .iter()
            .map(|locked| locked.target.to_string())
            .collect(),
    }
}

pub(super) fn with_index(config: &Config, index_url: Option<&Url>) -> Config {
    let mut config = config.clone();
    if let Some(url) = index_url {
        let origin = crate::config::Origin::Flag("--index-url");
        config.index_url = Some(crate::config::Sourced {
            value: url.clone(),
            origin,
        });
    }
    config
}

/// The channels that flags name; else the channels of the project's lockfiles; else what a build would use.
pub(super) fn channels(
    backends: &[Preference],
    named: &[Channel],
    context: &Context<'_>,
) -> Result<Vec<Channel>, Failure> {
    let project = context.project();
    let config = context.config;
    let mut channels = named.to_vec();
    for preference in backends {
        let of = |backend: Backend| {
            config
                .channels(backend)
                .into_iter()
                .next()
                .unwrap_or(backend.default_channel())
        };
        match preference {
            Preference::Backend(backend) if named.is_empty() => channels.push(of(*backend)),
            Preference::Backend(backend) => {
                let contradicting = named
                    .iter()
                    .find(|channel| config.channel_backend(channel).is_some_and(|own| own != *backend));
                if let Some(channel) = contradicting {
                    let message = format!("the channel {channel} is not for {backend}, which --backend asks for");
                    return Err(Failure::user(message).hint("name only one of them"));
                }
            }
            Preference::Auto => {
                channels.push(
                    crate::gpu::decide(&project.gpu_wanted(), &LiveHost::new(context.vars.clone()), false).channel,
                );
            }
        }
    }
    if channels.is_empty() {
        channels = project
            .all_lockfiles()?
            .into_iter()
            .map(|(_, read)| read.lockfile.channel)
            .collect();
    }
    if channels.is_empty() {
        channels.push(project.choose(&LiveHost::new(context.vars.clone()))?.channel);
    }
    channels.sort();
    channels.dedup();
    Ok(channels)
}

fn check(channels: &[Channel], project: &Project<'_>, context: &Context<'_>) -> VerbResult {
    let mut rows = Vec::new();
    for channel in channels {
        let path = project.lockfile_path(channel);
        let read = project.read_lockfile(channel).map_err(RelockError::from)?;
        let Some(read) = read else {
            return Err(PlanError::NoLockfile { path }.into());
        };
        context.warn_of(&read);
        let differences = project.staleness(channel, &read)?;
        if !differences.is_empty() {
            return Err(PlanError::Stale { path, differences }.into());
        }
        rows.push(row(&read, false));
    }
    let text: Vec<String> = rows
        .iter()
        .map(|row| format!("current: {}", row.path.display()))
        .collect();
    context.ui.result(
        &Document {
            lockfiles: rows,
            warnings: Vec::new(),
        },
        &text,
    );
    Ok(ExitCode::SUCCESS)
}
