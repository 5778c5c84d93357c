//! A failed resolution in words.
//!
//! `PubGrub` derives a contradiction from facts: who asks for what, what does not exist, what cannot be used. The
//! facts are what a person can check and change, so the explanation states them, outward from the user's own
//! requirements, and leaves the derivation out. Where one missing thing is the whole reason, the error says just that.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use pubgrub::{DerivationTree, External, Ranges};

use super::candidates::{Candidates, Exclusion};
use super::demands::Node;
use super::provider::Provider;
use super::{ResolveError, versions};
use crate::pep::{PackageName, Version};

type Set = Ranges<Version>;
type Tree = DerivationTree<Node, Set, Exclusion>;

/// How many facts fit on one line.
const ONE_LINE: usize = 3;

/// The facts of a contradiction.
#[derive(Default)]
struct Facts {
    /// Versions of the first node ask for versions of the second.
    asks: Vec<(Node, Set, Node, Set)>,
    /// There is nothing to choose for these versions.
    lacks: Vec<(PackageName, Set)>,
    /// These versions cannot be used.
    unusable: Vec<(PackageName, Set, Exclusion)>,
}

/// The error for a contradiction.
pub(super) fn failure(provider: &Provider<'_>, tree: &Tree) -> Result<ResolveError, ResolveError> {
    let mut facts = Facts::collect(tree);
    let words = Words { provider };
    facts.drop_completions(&words)?;
    if let Some(simple) = words.single_cause(&facts)? {
        return Ok(simple);
    }
    Ok(ResolveError::Unsatisfiable {
        target: provider.floor.target,
        explanation: words.explanation(&facts)?,
    })
}

impl Facts {
    fn collect(tree: &Tree) -> Self {
        let mut facts = Self::default();
        // Parts of the tree are shared; walking each once keeps this linear.
        let mut seen: HashSet<*const Tree> = HashSet::new();
        let mut open = vec![tree];
        while let Some(tree) = open.pop() {
            if !seen.insert(std::ptr::from_ref(tree)) {
                continue;
            }
            match tree {
                DerivationTree::Derived(derived) => open.extend([&*derived.cause2, &*derived.cause1]),
                DerivationTree::External(External::FromDependencyOf(who, which, what, set)) => {
                    facts.ask(who, which, what, set);
                }
                DerivationTree::External(External::NoVersions(node, set)) => {
                    let fact = node.name().map(|name| (name.clone(), set.clone()));
                    facts.lacks.extend(fact.filter(|fact| !facts.lacks.contains(fact)));
                }
                DerivationTree::External(External::Custom(node, set, why)) => {
                    let fact = node.name().map(|name| (name.clone(), set.clone(), why.clone()));
                    facts
                        .unusable
                        .extend(fact.filter(|fact| !facts.unusable.contains(fact)));
                }
                DerivationTree::External(External::NotRoot(..)) => {}
            }
        }
        facts
    }

    fn ask(&mut self, who: &Node, which: &Set, what: &Node, set: &Set) {
        // That an extra goes with the same version of its package is no news to anyone.
        if matches!(who, Node::Extra(..)) && who.name() == what.name() {
            return;
        }
        let known = self
            .asks
            .iter_mut()
            .find(|(other, _, asked, range)| other == who && asked == what && range == set);
        match known {
            Some((_, versions, ..)) => *versions = versions.union(which),
            None => self.asks.push((who.clone(), which.clone(), what.clone(), set.clone())),
        }
    }

    /// Drops the facts that only say that a project has no versions beside those that other facts speak of.
    fn drop_completions(&mut self, words: &Words<'_, '_>) -> Result<(), ResolveError> {
        let spoken_of = |name: &PackageName| {
            self.asks.iter().any(|(who, ..)| who.name() == Some(name))
                || self.unusable.iter().any(|(other, ..)| other == name)
        };
        let mut kept = Vec::new();
        for (name, set) in &self.lacks {
            let candidates = words.provider.candidates(name)?;
            let excluded = candidates.is_some_and(|found| found.why_not(set, &words.provider.floor).is_some());
            if excluded || !spoken_of(name) {
                kept.push((name.clone(), set.clone()));
            }
        }
        self.lacks = kept;
        Ok(())
    }

    /// Everyone who asks for `name`, each once.
    fn askers(&self, name: &PackageName) -> Vec<&(Node, Set, Node, Set)> {
        let mut askers: Vec<&(Node, Set, Node, Set)> = self
            .asks
            .iter()
            .filter(|(_, _, what, _)| what.name() == Some(name))
            .collect();
        // A requirement with extras asks for the package too.
        askers.sort_by(|left, right| (&left.0, &left.2).cmp(&(&right.0, &right.2)));
        askers.dedup_by(|right, left| right.0.name() == left.0.name() && right.3 == left.3);
        askers
    }
}

struct Words<'p, 'a> {
    provider: &'p Provider<'a>,
}

impl Words<'_, '_> {
    /// The error where a single missing or unusable thing is the whole reason.
    fn single_cause(&self, facts: &Facts) -> Result<Option<ResolveError>, ResolveError> {
        for (name, _) in &facts.lacks {
            let Some(candidates) = self.candidates(name)? else {
                return Ok(Some(ResolveError::UnknownProject {
                    name: name.clone(),
                    place: self.provider.place(name),
                    wanted_by: self.wanted_by(facts, name)?,
                }));
            };
            if candidates.catalog.page.wheels.is_empty() {
                let page = &candidates.catalog.page;
                let (name, place) = (name.clone(), self.provider.place(name));
                let wanted_by = self.wanted_by(facts, &name)?;
                return Ok(Some(match page.skipped.first() {
                    Some(first) => ResolveError::NotUnderstood {
                        name,
                        place,
                        wanted_by,
                        first: first.clone(),
                    },
                    None if page.not_wheels.is_empty() => ResolveError::NoFiles { name, place, wanted_by },
                    None => ResolveError::NoWheels { name, place, wanted_by },
                }));
            }
        }
        let culprits: BTreeSet<&PackageName> = facts
            .lacks
            .iter()
            .map(|(name, _)| name)
            .chain(facts.unusable.iter().map(|(name, ..)| name))
            .collect();
        let asked: BTreeSet<&PackageName> = facts.asks.iter().filter_map(|(_, _, what, _)| what.name()).collect();
        let agreed = asked.iter().all(|name| facts.askers(name).len() == 1);
        match culprits.first() {
            Some(name) if culprits.len() == 1 && agreed => self.culprit(facts, name),
            _ => Ok(None),
        }
    }

    fn culprit(&self, facts: &Facts, name: &PackageName) -> Result<Option<ResolveError>, ResolveError> {
        let asker = facts.askers(name).into_iter().next();
        let (specifiers, wanted) = asker.map_or_else(
            || (String::new(), Ranges::full()),
            |(_, _, what, set)| (self.specifiers(what, set), set.clone()),
        );
        let wanted_by = self.wanted_by(facts, name)?;
        let candidates = self.candidates(name)?;
        let page = candidates
            .as_ref()
            .and_then(|found| found.why_not(&wanted, &self.provider.floor));
        // The metadata of a version may exclude it although its page does not.
        let unusable = facts.unusable.iter().filter(|(other, ..)| other == name);
        let metadata = unusable.filter_map(|(_, set, why)| Some((set.as_singleton()?, why.clone())));
        let worst = page
            .into_iter()
            .chain(metadata)
            .max_by(|left, right| left.0.cmp(right.0));
        if let Some((version, why)) = worst {
            return Ok(Some(ResolveError::Excluded {
                target: self.provider.floor.target,
                name: name.clone(),
                specifiers,
                wanted_by,
                version: version.clone(),
                why: Box::new(why),
            }));
        }
        let newest = candidates
            .as_ref()
            .and_then(|found| found.catalog.versions.keys().next_back());
        Ok(newest.map(|newest| ResolveError::NoVersion {
            name: name.clone(),
            specifiers,
            wanted_by,
            place: self.provider.place(name),
            newest: newest.clone(),
        }))
    }

    fn wanted_by(&self, facts: &Facts, name: &PackageName) -> Result<String, ResolveError> {
        let askers = facts.askers(name);
        let words: Result<Vec<String>, ResolveError> =
            askers.iter().map(|(who, which, ..)| self.subject(who, which)).collect();
        Ok(join(&words?))
    }

    /// All facts, outward from the requirements.
    fn explanation(&self, facts: &Facts) -> Result<String, ResolveError> {
        let mut by_subject: BTreeMap<&Node, Vec<&(Node, Set, Node, Set)>> = BTreeMap::new();
        for ask in &facts.asks {
            by_subject.entry(&ask.0).or_default().push(ask);
        }
        let mut order = vec![&Node::Root];
        let mut next = 0;
        while let Some(node) = order.get(next).copied() {
            next += 1;
            let mut reached: Vec<&Node> = by_subject.get(node).into_iter().flatten().map(|ask| &ask.2).collect();
            reached.sort();
            order.extend(
                reached
                    .into_iter()
                    .filter(|node| !order.contains(node))
                    .collect::<Vec<_>>(),
            );
        }
        order.extend(
            by_subject
                .keys()
                .filter(|node| !order.contains(node))
                .copied()
                .collect::<Vec<_>>(),
        );
        let mut sentences = Vec::new();
        for node in order {
            if let Some(asks) = by_subject.get(node) {
                sentences.extend(self.asks(node, asks)?);
            }
        }
        for (name, set) in &facts.lacks {
            sentences.push(self.lack(name, set)?);
        }
        for (name, set, why) in &facts.unusable {
            sentences.push(format!("{} {why}", self.subject(&Node::Package(name.clone()), set)?));
        }
        sentences.dedup();
        Ok(if sentences.len() <= ONE_LINE {
            format!("because {}, no choice of versions fits", sentences.join(", and "))
        } else {
            let lines: Vec<String> = sentences.iter().map(|sentence| format!("\n  - {sentence}")).collect();
            format!("no choice of versions fits, because{}", lines.concat())
        })
    }

    /// `a 1.0 depends on b >=2 and c`, one sentence for each set of versions of the subject.
    fn asks(&self, node: &Node, asks: &[&(Node, Set, Node, Set)]) -> Result<Vec<String>, ResolveError> {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (_, which, what, set) in asks {
            let specifiers = self.specifiers(what, set);
            let space = if specifiers.is_empty() { "" } else { " " };
            groups
                .entry(self.subject(node, which)?)
                .or_default()
                .push(format!("{what}{space}{specifiers}"));
        }
        let verb = if *node == Node::Root { "ask for" } else { "depends on" };
        let sentence = |(subject, mut objects): (String, Vec<String>)| {
            objects.sort();
            objects.dedup();
            format!("{subject} {verb} {}", join(&objects))
        };
        Ok(groups.into_iter().map(sentence).collect())
    }

    fn lack(&self, name: &PackageName, set: &Set) -> Result<String, ResolveError> {
        let place = self.provider.place(name);
        let Some(candidates) = self.candidates(name)? else {
            return Ok(format!("{place} has no project {name}"));
        };
        Ok(match candidates.why_not(set, &self.provider.floor) {
            Some((version, why)) => format!("{name} {version} {why}"),
            None => format!("{place} has no {name} {}", versions::describe(set)),
        })
    }

    /// A node at some versions: `torch 2.7.0`, `every version of torch`, `torch >=2.0, <2.5`.
    fn subject(&self, node: &Node, set: &Set) -> Result<String, ResolveError> {
        let Some(name) = node.name() else {
            return Ok(node.to_string());
        };
        let candidates = self.candidates(name)?;
        let known = candidates.iter().flat_map(|found| found.catalog.versions.keys());
        let (inside, outside): (Vec<&Version>, Vec<&Version>) = known.partition(|version| set.contains(*version));
        Ok(match inside.as_slice() {
            [version] => format!("{node} {version}"),
            [_, _, ..] if outside.is_empty() => format!("every version of {node}"),
            _ => format!("{node} {}", self.specifiers(node, set)),
        })
    }

    fn specifiers(&self, node: &Node, set: &Set) -> String {
        self.provider.text(node, set).unwrap_or_else(|| versions::describe(set))
    }

    fn candidates(&self, name: &PackageName) -> Result<Option<Rc<Candidates>>, ResolveError> {
        self.provider.candidates(name)
    }
}

/// `a, b and c`.
fn join(items: &[String]) -> String {
    match items {
        [] => "your requirements".to_owned(),
        [item] => item.clone(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}
