//! `flambeau detect`

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::options::ChoiceArgs;
use super::{Context, VerbResult};
use crate::error::Failure;
use crate::fsx::{PathError, write_atomic};
use crate::gpu::{self, Decision, LiveHost, Probe, Recorder, ReplayHost, Wanted};

/// Arguments of `detect`.
#[derive(Debug, Args)]
pub(super) struct DetectArgs {
    #[command(flatten)]
    pub(super) choice: ChoiceArgs,
    /// Decide from a recorded machine in place of this one
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Write everything that was seen to a file, without personal data
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    record: Option<PathBuf>,
    /// Fail (exit 1) where no GPU of this machine runs the chosen wheels
    #[arg(long)]
    require_gpu: bool,
}

/// A larger file is no recording: what a machine says fills a few hundred kilobytes.
const LARGEST: u64 = 64 << 20;

pub(super) fn run(args: &DetectArgs, context: &Context<'_>) -> VerbResult {
    let wanted = context.project().gpu_wanted();
    let decision = match &args.replay {
        Some(path) => gpu::decide(&wanted, &replayed(path)?, true),
        None => live(args.record.as_deref(), &wanted, context)?,
    };
    if args.require_gpu {
        require_gpu(&decision)?;
    }
    context.ui.result(&decision, &text(&decision));
    Ok(ExitCode::SUCCESS)
}

/// The machine of a recording.
fn replayed(path: &Path) -> Result<ReplayHost, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST).read_to_end(&mut bytes))
        .map_err(|source| {
            Failure::user(PathError {
                action: "read",
                path: path.to_owned(),
                source,
            })
            .hint("--replay takes the recording of a machine, as --record writes it")
        })?;
    Ok(ReplayHost::parse(&bytes)?)
}

/// Decides from this machine, and writes down what was seen where that is asked for.
fn live(record: Option<&Path>, wanted: &Wanted, context: &Context<'_>) -> Result<Decision, Failure> {
    let host = LiveHost::new(context.vars.clone());
    let Some(path) = record else {
        return Ok(gpu::decide(wanted, &host, true));
    };
    let names = ["USER", "LOGNAME", "HOSTNAME"].map(|name| context.vars.text(name));
    let recorder = Recorder::new(&host, names.into_iter().flatten().chain(host.name()));
    let decision = gpu::decide(wanted, &recorder, true);
    recorder.complete();
    write_atomic(path, format!("{:#}\n", recorder.document()).as_bytes()).map_err(|error| {
        Failure::user(error).hint("--record takes a file in a folder that exists and can be written")
    })?;
    context.ui.note(&format!(
        "wrote {}; it holds what the probes saw, and no names, serial numbers or addresses",
        path.display()
    ));
    Ok(decision)
}

/// An error where no GPU runs the chosen channel's wheels, whether that was noticed or a backend was forced.
pub(super) fn require_gpu(decision: &Decision) -> Result<(), Failure> {
    if decision.gpu_usable {
        return Ok(());
    }
    let forced = decision.reason == gpu::Reason::Forced;
    let told = forced.then(|| decision.warnings.first()).flatten();
    let message = told.unwrap_or(&decision.message).clone();
    Err(Failure::user(message).hint("leave out --require-gpu to go on without a GPU"))
}

fn text(decision: &Decision) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{} on channel {} ({})",
            decision.backend,
            decision.channel,
            decision.reason.as_str()
        ),
        format!("  {}", decision.message),
    ];
    for accelerator in &decision.accelerators {
        let usable = if accelerator.usable { "usable" } else { "not usable" };
        let note = accelerator
            .note
            .as_ref()
            .map(|note| format!(": {note}"))
            .unwrap_or_default();
        lines.push(format!(
            "  {} {} ({usable}{note})",
            accelerator.vendor, accelerator.model
        ));
    }
    for warning in &decision.warnings {
        lines.push(format!("  warning: {warning}"));
    }
    for (name, value) in &decision.env {
        lines.push(format!("  run with {name}={value}"));
    }
    for probe in &decision.probes {
        lines.push(probe_line(probe));
    }
    for change in &decision.would_change {
        lines.push(format!("  would change it: {change}"));
    }
    lines
}

/// `  probe nvidia-smi: not there (nvidia-smi --query-gpu=…)`
fn probe_line(probe: &Probe) -> String {
    let outcome = serde_json::to_value(probe.outcome).unwrap_or_default();
    let what = probe
        .command
        .as_ref()
        .or(probe.file.as_ref())
        .map(|what| format!(" ({what})"))
        .unwrap_or_default();
    let exit = probe.exit.map(|code| format!(", exit {code}")).unwrap_or_default();
    let line = probe.line.as_ref().map(|line| format!(": {line}")).unwrap_or_default();
    format!(
        "  probe {}: {}{exit}{what}{line}",
        probe.name,
        outcome.as_str().unwrap_or_default()
    )
}
