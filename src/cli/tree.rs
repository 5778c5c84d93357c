//! `flambeau tree`

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Context, VerbResult};
use crate::error::Failure;
use crate::gpu::LiveHost;
use crate::project::graph::{Graph, Need, Node};

/// What `tree` and `why` look at.
#[derive(Debug, Args)]
pub(super) struct OfArgs {
    /// A generation's number, a lockfile by its name, channel or backend, or a key [default: what is active, else the
    /// wanted lockfile]
    #[arg(long, value_name = "WHAT")]
    of: Option<String>,
}

/// Arguments of `tree`.
#[derive(Debug, Args)]
pub(super) struct TreeArgs {
    #[command(flatten)]
    of: OfArgs,
}

#[derive(Debug, Serialize)]
struct Document {
    roots: Vec<Need>,
    packages: Vec<Node>,
}

/// The graph of what is asked about.
pub(super) fn graph(args: &OfArgs, context: &Context<'_>) -> Result<Graph, Failure> {
    let project = context.project();
    let subject = match &args.of {
        Some(word) => project.subject(word, None)?,
        None => {
            if let Some(active) = project.active_subject()? {
                active
            } else {
                let chosen = project.choose(&LiveHost::new(context.vars.clone()))?;
                project.locked_subject(&chosen.channel)?
            }
        }
    };
    Ok(project.graph(&subject)?)
}

pub(super) fn run(args: &TreeArgs, context: &Context<'_>) -> VerbResult {
    let graph = graph(&args.of, context)?;
    let mut lines = Vec::new();
    let mut shown = BTreeSet::new();
    for root in &graph.roots {
        draw(&graph, root, "", &mut shown, &mut lines);
    }
    let document = Document {
        roots: graph.roots,
        packages: graph.packages.into_values().collect(),
    };
    context.ui.result(&document, &lines);
    Ok(ExitCode::SUCCESS)
}

/// A package below its parent; what was drawn before is only named again, so that circles end.
fn draw<'a>(graph: &'a Graph, need: &'a Need, indent: &str, shown: &mut BTreeSet<&'a str>, lines: &mut Vec<String>) {
    let Some(node) = graph.packages.get(&need.name) else {
        lines.push(format!("{indent}{} (not in the lockfile)", need.name));
        return;
    };
    let again = !shown.insert(&node.name) && !node.requires.is_empty();
    let requirement = need
        .requirement
        .as_deref()
        .filter(|text| *text != node.name)
        .map_or_else(String::new, |text| format!("  ({text})"));
    let mark = if again { " (*)" } else { "" };
    lines.push(format!("{indent}{} {}{requirement}{mark}", node.name, node.version));
    if !again {
        let deeper = format!("{indent}  ");
        for need in &node.requires {
            draw(graph, need, &deeper, shown, lines);
        }
    }
}
