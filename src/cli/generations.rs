//! `flambeau generations`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Context, VerbResult};
use crate::backend::{Backend, Channel};
use crate::digest::{EnvironmentKey, LockfileDigest};
use crate::error::{Failure, Kind};
use crate::profile::{Activation, Cause, Generation, Selection};
use crate::progress::{Event, Reporter as _};

/// Arguments of `generations`.
#[derive(Debug, Args)]
pub(super) struct GenerationsArgs {
    /// Forget generations: numbers, `old` (all but the current one), `30d` (not active within 30 days), `+5` (all but the
    /// last 5). The current one always stays
    #[arg(long, value_name = "WHICH", num_args = 1..)]
    delete: Option<Vec<String>>,
    /// Say what --delete would forget, and stop
    #[arg(long, requires = "delete")]
    dry_run: bool,
}

impl GenerationsArgs {
    /// Whether nothing is forgotten.
    pub(super) const fn only_looks(&self) -> bool {
        self.dry_run || self.delete.is_none()
    }
}

/// One generation as documents tell it.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    number: u64,
    current: bool,
    created: String,
    user: String,
    from: Cause,
    again: Option<Activation>,
    key: EnvironmentKey,
    path: PathBuf,
    backend: Backend,
    channel: Channel,
    lockfile_digest: LockfileDigest,
    /// Whether the environment is there.
    built: bool,
}

#[derive(Debug, Serialize)]
struct Document {
    current: Option<u64>,
    generations: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<Vec<Row>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
}

impl Row {
    pub(super) fn of(generation: Generation, current: Option<u64>) -> Self {
        Self {
            number: generation.number,
            current: Some(generation.number) == current,
            built: generation.is_there(),
            created: generation.created,
            user: generation.user,
            from: generation.cause,
            again: generation.again,
            key: generation.key,
            path: generation.path,
            backend: generation.backend,
            channel: generation.channel,
            lockfile_digest: generation.lockfile,
        }
    }

    /// The line for people; a star marks the current one.
    pub(super) fn line(&self) -> String {
        let key = self.key.to_string();
        let by = if self.user.is_empty() {
            String::new()
        } else {
            format!(" by {}", self.user)
        };
        let again = self.again.as_ref().map_or_else(String::new, |again| {
            format!(", again {} by {} ({})", again.at, again.user, again.cause.as_str())
        });
        let gone = if self.built { "" } else { "  not built any more" };
        format!(
            "{} {:>3}  {}  {:4} {:9} {}{by} ({}){again}{gone}",
            if self.current { '*' } else { ' ' },
            self.number,
            &key[..12],
            self.backend,
            self.channel.as_str(),
            self.created,
            self.from.as_str(),
        )
    }
}

pub(super) fn run(args: &GenerationsArgs, context: &Context<'_>) -> VerbResult {
    let profile = context.project().profile();
    let mut deleted = None;
    if let Some(words) = &args.delete {
        let selection = Selection::parse(words).map_err(|error| {
            Failure::new(Kind::Usage, error).hint("`flambeau generations` lists the numbers; see --help for the rest")
        })?;
        // Who only looks takes no guard and writes nothing.
        let guard = (!args.dry_run).then(|| {
            let what = "this project's profile";
            profile.guard(|| context.ui.event(Event::Waiting { what }))
        });
        let _guard = guard.transpose()?;
        let planned = profile.plan_deletion(&selection)?;
        if !args.dry_run {
            profile.delete(&planned)?;
        }
        deleted = Some(planned);
    }
    let current = profile.current()?.map(|generation| generation.number);
    let rows = |generations: Vec<Generation>| -> Vec<Row> {
        let rows = generations.into_iter();
        rows.map(|generation| Row::of(generation, current)).collect()
    };
    let deleted = deleted.map(rows);
    let generations = rows(profile.generations()?);
    let lines = match &deleted {
        None if generations.is_empty() => vec!["there are no generations yet".to_owned()],
        None => generations.iter().map(Row::line).collect(),
        Some(deleted) if deleted.is_empty() => vec!["nothing to delete".to_owned()],
        Some(deleted) => {
            let verb = if args.dry_run { "would delete" } else { "deleted" };
            let rows = deleted.iter().map(Row::line);
            [verb.to_owned()].into_iter().chain(rows).collect()
        }
    };
    let document = Document {
        current,
        generations,
        dry_run: deleted.is_some().then_some(args.dry_run),
        deleted,
    };
    context.ui.result(&document, &lines);
    Ok(ExitCode::SUCCESS)
}
