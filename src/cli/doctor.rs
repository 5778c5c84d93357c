//! `flambeau doctor`

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::Context;
use super::options::ChoiceArgs;
use crate::gpu::{self, Decision, LiveHost};
use crate::project::health::{Check, Status};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub(super) choice: ChoiceArgs,
}

/// The document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    /// The worst of all lines.
    status: Status,
    checks: &'a [Check],
    detection: &'a Decision,
}

/// Exit code 1 where a line is a failure, 0 otherwise: a warning is something that works.
pub(super) fn run(context: &Context<'_>) -> ExitCode {
    let project = context.project();
    let host = LiveHost::new(context.vars.clone());
    let decision = gpu::decide(&project.gpu_wanted(), &host, true);
    let checks = project.health(&decision);
    let status = checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
    let document = Document {
        status,
        checks: &checks,
        detection: &decision,
    };
    let lines: Vec<String> = checks.iter().flat_map(lines).collect();
    context.ui.result(&document, &lines);
    ExitCode::from(u8::from(status == Status::Fail))
}

/// `warn  disk         3.2 GB free …` and below it what to do.
fn lines(check: &Check) -> impl Iterator<Item = String> {
    let status = match check.status {
        Status::Ok => "ok",
        Status::Warn => "warn",
        Status::Fail => "FAIL",
    };
    let remedy = check.remedy.as_ref().filter(|remedy| !remedy.is_empty());
    let below = remedy.map(|remedy| format!("{:19}-> {remedy}", ""));
    [format!("{status:<5} {:<12} {}", check.name, check.message)]
        .into_iter()
        .chain(below)
}
