//! `flambeau why`

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::tree::{OfArgs, graph};
use super::{Context, VerbResult};
use crate::error::Failure;
use crate::pep::PackageName;
use crate::project::graph::{Demand, GraphError};

/// Arguments of `why`.
#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// The package
    #[arg(value_name = "PKG")]
    package: PackageName,
    #[command(flatten)]
    of: OfArgs,
}

#[derive(Debug, Serialize)]
struct Document {
    package: String,
    version: String,
    /// The project's own requirement, where it asks for the package itself.
    requirement: Option<String>,
    /// Whether the project asks for it itself.
    required: bool,
    demanded_by: Vec<Demand>,
}

pub(super) fn run(args: &WhyArgs, context: &Context<'_>) -> VerbResult {
    let graph = graph(&args.of, context)?;
    let name = args.package.to_string();
    let Some(node) = graph.packages.get(&name) else {
        let error = GraphError::Absent {
            package: name,
            place: graph.place,
        };
        return Err(Failure::from(error));
    };
    let own = graph.roots.iter().find(|root| root.name == name);
    let demands = graph.demands(&name);
    let mut lines = vec![format!("{name} {}", node.version)];
    if let Some(root) = own {
        lines.push(match &root.requirement {
            Some(requirement) => format!("  the project asks for it: {requirement}"),
            None => "  nothing else needs it, so it was asked for".to_owned(),
        });
    }
    for demand in &demands {
        let requirement = demand
            .requirement
            .as_ref()
            .map_or_else(String::new, |text| format!(" needs {text}"));
        let way = match demand.path.as_slice() {
            [] | [_] => String::new(),
            way => format!("  ({})", way.join(" → ")),
        };
        lines.push(format!("  {} {}{requirement}{way}", demand.name, demand.version));
    }
    let document = Document {
        package: name,
        version: node.version.clone(),
        requirement: own.and_then(|root| root.requirement.clone()),
        required: own.is_some(),
        demanded_by: demands,
    };
    context.ui.result(&document, &lines);
    Ok(ExitCode::SUCCESS)
}
