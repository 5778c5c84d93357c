//! `flambeau pin` and `flambeau unpin`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Context, VerbResult};
use crate::error::Failure;
use crate::store::Shelf;

/// Arguments of `pin`.
#[derive(Debug, Args)]
pub(super) struct PinArgs {
    /// The pin's name [default: list the pins]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// A key or its beginning, a backend or a channel [default: the active environment]
    #[arg(value_name = "KEY")]
    key: Option<String>,
}

/// Arguments of `unpin`.
#[derive(Debug, Args)]
pub(super) struct UnpinArgs {
    /// The pin's name
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Serialize)]
struct Pinned {
    name: String,
    path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct List {
    pins: Vec<Pinned>,
}

pub(super) fn pin(args: &PinArgs, context: &Context<'_>) -> VerbResult {
    let project = context.project();
    let store = project.store()?;
    let Some(name) = &args.name else {
        let pins = store.pins()?.into_iter().map(|pin| Pinned {
            path: store.path(Shelf::Envs, &pin.environment),
            name: pin.name,
            before: None,
        });
        let list = List { pins: pins.collect() };
        let mut lines: Vec<String> = list
            .pins
            .iter()
            .map(|pin| format!("{}  {}", pin.name, pin.path.display()))
            .collect();
        if lines.is_empty() {
            lines.push("nothing is pinned".to_owned());
        }
        context.ui.result(&list, &lines);
        return Ok(ExitCode::SUCCESS);
    };
    store.prepare()?;
    let path = match &args.key {
        Some(key) => project.named_environment(key)?.0,
        None => project.profile().active_path()?.ok_or_else(|| {
            Failure::user("no environment is active in this project").hint("name a key, or run `flambeau build` first")
        })?,
    };
    let environment = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let before = store.pin(name, environment)?;
    let pinned = Pinned {
        name: name.clone(),
        path,
        before: before.map(|before| store.path(Shelf::Envs, &before)),
    };
    if let Some(before) = &pinned.before {
        context.ui.note(&format!("{name} was {} before", before.display()));
    }
    let text = format!("pinned {name}: {}", pinned.path.display());
    context.ui.result(&pinned, &[text]);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn unpin(args: &UnpinArgs, context: &Context<'_>) -> VerbResult {
    let store = context.project().store()?;
    store.check_version()?;
    let environment = store.unpin(&args.name)?;
    let unpinned = Pinned {
        name: args.name.clone(),
        path: store.path(Shelf::Envs, &environment),
        before: None,
    };
    let text = format!("unpinned {}: {}", unpinned.name, unpinned.path.display());
    context.ui.result(&unpinned, &[text]);
    Ok(ExitCode::SUCCESS)
}
