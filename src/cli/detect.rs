//! `flambeau detect`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::options::ChoiceArgs;
use super::{Context, VerbResult};
use crate::error::Failure;
use crate::gpu::{self, Decision, LiveHost, Probe, ReplayHost};

/// Arguments of `detect`.
#[derive(Debug, Args)]
pub(super) struct DetectArgs {
    #[command(flatten)]
    pub(super) choice: ChoiceArgs,
    /// Decide from a recorded machine in place of this one
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Fail (exit 1) where no GPU will be used
    #[arg(long)]
    require_gpu: bool,
}

pub(super) fn run(args: &DetectArgs, context: &Context<'_>) -> VerbResult {
    let wanted = context.project().gpu_wanted();
    let decision = match &args.replay {
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|source| {
                Failure::user(crate::fsx::PathError {
                    action: "read",
                    path: path.clone(),
                    source,
                })
                .hint("--replay takes the recording of a machine")
            })?;
            let host = ReplayHost::parse(&bytes)?;
            gpu::decide(&wanted, &host, true)
        }
        None => gpu::decide(&wanted, &LiveHost::new(context.vars.clone()), true),
    };
    if args.require_gpu && !decision.uses_gpu() {
        return Err(Failure::user(decision.message).hint("leave out --require-gpu to use the CPU"));
    }
    context.ui.result(&decision, &text(&decision));
    Ok(ExitCode::SUCCESS)
}

fn text(decision: &Decision) -> String {
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
    lines.join("\n")
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
