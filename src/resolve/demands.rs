//! Requirements as demands on packages: which versions of what, in one environment.

use std::collections::BTreeMap;
use std::fmt;

use pubgrub::Ranges;

use super::DirectWheels;
use super::versions::ranges;
use crate::pep::{ExtraName, MarkerEnvironment, PackageName, Requirement, Version, VersionOrUrl};

/// What `PubGrub` chooses a version for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Node {
    /// The requirements themselves.
    Root,
    /// A package.
    Package(PackageName),
    /// A package with one of its extras; always of the package's own version.
    Extra(PackageName, ExtraName),
}

impl Node {
    /// The package; none for the requirements themselves.
    pub(super) fn name(&self) -> Option<&PackageName> {
        match self {
            Self::Root => None,
            Self::Package(name) | Self::Extra(name, _) => Some(name),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => formatter.write_str("your requirements"),
            Self::Package(name) => write!(formatter, "{name}"),
            Self::Extra(name, extra) => write!(formatter, "{name}[{extra}]"),
        }
    }
}

/// The versions that are acceptable of one node.
#[derive(Debug, Clone)]
pub(super) struct Demand {
    pub(super) set: Ranges<Version>,
    /// The specifiers as written; empty for any version.
    pub(super) text: String,
}

impl Demand {
    fn any() -> Self {
        Self {
            set: Ranges::full(),
            text: String::new(),
        }
    }

    fn and(&mut self, set: &Ranges<Version>, text: &str) {
        self.set = self.set.intersection(set);
        if !text.is_empty() && self.text != text {
            if !self.text.is_empty() {
                self.text.push_str(", ");
            }
            self.text.push_str(text);
        }
    }
}

/// Demands by node, in a fixed order.
pub(super) type Demands = BTreeMap<Node, Demand>;

/// A requirement by URL, which nothing here can meet.
#[derive(Debug)]
pub(super) struct DirectUrl(pub(super) String);

/// Whose requirements they are.
#[derive(Clone, Copy)]
pub(super) enum Of<'a> {
    /// The user's.
    Root,
    /// Those of a package at a version, without extras.
    Package(&'a PackageName, &'a Version),
    /// Those that one extra adds to it.
    Extra(&'a PackageName, &'a Version, &'a ExtraName),
}

/// What the user says about the requirements of others.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    /// Narrow what is asked for.
    pub(super) constraints: &'a [Requirement],
    /// Replace what packages ask of the names in them.
    pub(super) overrides: &'a [Requirement],
    /// The wheels that the user's requirements name by URL or path.
    pub(super) direct: &'a DirectWheels,
}

/// The requirements that count in `environment`, as demands under `rules`.
pub(super) fn demands(
    requirements: &[Requirement],
    rules: Rules<'_>,
    environment: &MarkerEnvironment,
    of: Of<'_>,
) -> Result<Demands, DirectUrl> {
    let mut demands = Demands::new();
    if let Of::Extra(name, version, _) = of {
        let own = Demand {
            set: Ranges::singleton(version.clone()),
            text: format!("=={version}"),
        };
        demands.insert(Node::Package(name.clone()), own);
    }
    for requirement in effective(requirements, rules.overrides, environment, of) {
        let (mut set, mut text) = accepted(requirement, rules.direct)?;
        if let Of::Package(name, version) | Of::Extra(name, version, _) = of
            && *name == requirement.name
        {
            // `all = ["self[a,b]"]`: the same version as itself, whatever else it says.
            set = set.intersection(&Ranges::singleton(version.clone()));
            text = format!("=={version}");
        }
        let base = Node::Package(requirement.name.clone());
        let extras = requirement
            .extras
            .iter()
            .map(|extra| Node::Extra(requirement.name.clone(), extra.clone()));
        for node in std::iter::once(base).chain(extras) {
            demands.entry(node).or_insert_with(Demand::any).and(&set, &text);
        }
    }
    for constraint in rules.constraints {
        if constraint.marker.evaluate(environment, &[])
            && let Some(demand) = demands.get_mut(&Node::Package(constraint.name.clone()))
        {
            let (set, text) = accepted(constraint, rules.direct)?;
            demand.and(&set, &text);
        }
    }
    if let Of::Package(name, version) = of {
        let own = Node::Package(name.clone());
        // A package that needs itself needs nothing.
        if demands.get(&own).is_some_and(|demand| demand.set.contains(version)) {
            demands.remove(&own);
        }
    }
    Ok(demands)
}

/// The requirements that count, those of overridden names replaced by the overrides that fit.
fn effective<'r>(
    requirements: &'r [Requirement],
    overrides: &'r [Requirement],
    environment: &MarkerEnvironment,
    of: Of<'_>,
) -> Vec<&'r Requirement> {
    let mut effective = Vec::new();
    for requirement in requirements.iter().filter(|one| counts(one, environment, of)) {
        let own = match of {
            Of::Root => true,
            // Its own extras are no demand on another package.
            Of::Package(name, _) | Of::Extra(name, ..) => *name == requirement.name,
        };
        let mut replacing = overrides.iter().filter(|one| one.name == requirement.name).peekable();
        if own || replacing.peek().is_none() {
            effective.push(requirement);
        } else {
            effective.extend(replacing.filter(|one| one.evaluate_markers(environment, &[])));
        }
    }
    effective
}

fn counts(requirement: &Requirement, environment: &MarkerEnvironment, of: Of<'_>) -> bool {
    let always = requirement.evaluate_markers(environment, &[]);
    match of {
        Of::Root | Of::Package(..) => always,
        Of::Extra(_, _, extra) => !always && requirement.evaluate_markers(environment, std::slice::from_ref(extra)),
    }
}

/// A URL is accepted where the user's own requirements name the same one: then there is no other wheel to choose.
fn accepted(requirement: &Requirement, direct: &DirectWheels) -> Result<(Ranges<Version>, String), DirectUrl> {
    match &requirement.version_or_url {
        None => Ok((Ranges::full(), String::new())),
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => Ok((ranges(specifiers), specifiers.to_string())),
        Some(VersionOrUrl::Url(url)) => {
            let mut url = url::Url::from(url.clone());
            url.set_fragment(None);
            let mut known = direct.get(&requirement.name).into_iter().flatten();
            if known.any(|one| one.url == url) {
                return Ok((Ranges::full(), String::new()));
            }
            Err(DirectUrl(crate::requirement::text(requirement)))
        }
    }
}
