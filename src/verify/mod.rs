//! Is everything still what it was when it was published? And if not: what exactly, and who is affected.
//!
//! An environment is compared with what composing its trees gives, a tree with its manifest, the manifest with RECORD
//! and with the digests that the environment's state carries, and a cached wheel with the digest it lies under. So
//! every byte is led back to the environment key. Verifying changes nothing but the marks of commit records;
//! [`Mender`] mends, and needs no network for what a cached wheel or an intact copy can give.
//! Refuses nothing: what cannot be read is damage, with its path.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cache::Cache;
use crate::digest::WheelDigest;
use crate::env::bytecode::bytecode_name;
use crate::fsx::PathError;
use crate::progress::Reporter;
use crate::store::{Shelf, Store, StoreError, Trust};
use crate::threads;

mod environment;
mod inspect;
mod mend;
mod mend_tree;
mod rebuilt;
mod sharing;
mod tree;
mod wheel;

pub use environment::composition;
pub use mend::{Bring, Lost, MendError, Mended, Mender};
pub use rebuilt::{Difference, differences};

use inspect::{Content, compare};

/// Why nothing could be said.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Kinds, sizes, modes, links, commit records. What was written to after it was published is read.
    Quick,
    /// Every byte.
    Full,
}

/// What is wrong at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Other bytes than those that were published.
    Changed,
    /// Fewer bytes.
    Truncated,
    /// Other permissions.
    Mode,
    /// It is not there.
    Missing,
    /// It does not belong there.
    Added,
    /// Something else is there: a link in place of a file, a folder in place of a link.
    Replaced,
    /// A link that leads elsewhere.
    Link,
    /// It cannot be read.
    Unreadable,
    /// The parts are intact, but together they are not what the environment's state or key says.
    Inconsistent,
}

impl Kind {
    /// The word that people read.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Truncated => "truncated",
            Self::Mode => "mode",
            Self::Missing => "missing",
            Self::Added => "added",
            Self::Replaced => "replaced",
            Self::Link => "link",
            Self::Unreadable => "unreadable",
            Self::Inconsistent => "inconsistent",
        }
    }
}

/// Something that can be verified.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// An environment, by the name of its folder. Its trees and their bytecode are verified with it.
    Environment(String),
    /// The bytecode of a wheel tree, by the name of its folder.
    Bytecode(String),
    /// A wheel tree, by the name of its folder.
    Tree(String),
    /// Everything that the cache holds under one wheel's digest.
    Wheel(WheelDigest),
}

impl Subject {
    fn owner(&self) -> String {
        match self {
            Self::Environment(name) | Self::Bytecode(name) | Self::Tree(name) => name.clone(),
            Self::Wheel(digest) => digest.to_string(),
        }
    }

    fn shelved(&self) -> Option<(Shelf, &str)> {
        match self {
            Self::Environment(name) => Some((Shelf::Envs, name)),
            Self::Bytecode(name) => Some((Shelf::Bytecode, name)),
            Self::Tree(name) => Some((Shelf::Wheels, name)),
            Self::Wheel(_) => None,
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub kind: Kind,
    /// Whose it is: the folder name of an environment or a tree, or the file name of a cached wheel.
    pub owner: String,
    /// `torch==2.7.0+cu118`, where it belongs to one package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The folder names of all environments that have this file, sorted.
    pub environments: Vec<String>,
    /// What it was found in.
    #[serde(skip)]
    pub subject: Subject,
    /// The path relative to the subject's folder; empty for the folder itself.
    #[serde(skip)]
    pub inside: String,
}

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Sorted by path.
    pub damaged: Vec<Damage>,
    /// How many environments were looked at.
    pub environments: usize,
    /// How many wheel trees.
    pub trees: usize,
    /// Of how many wheel trees the bytecode.
    pub bytecode: usize,
    /// How many cached wheels.
    pub wheels: usize,
    /// How many files.
    pub files: u64,
    /// Their bytes, each name counted.
    pub bytes: u64,
}

/// Verifies a store and a cache.
#[derive(Clone, Copy)]
pub struct Verifier<'a> {
    /// The store.
    pub store: &'a Store,
    /// The cache; none where the configuration names none.
    pub cache: Option<&'a Cache>,
    /// Who watches.
    pub reporter: &'a dyn Reporter,
}

/// What one subject's examination gave.
#[derive(Default)]
struct Examined {
    damaged: Vec<Damage>,
    contents: Vec<Content>,
    files: u64,
    bytes: u64,
}

impl Examined {
    /// Whether something is told of a path already.
    fn tells(&self, inside: &str) -> bool {
        self.damaged.iter().any(|damage| damage.inside == inside)
    }

    fn tell(&mut self, subject: &Subject, folder: &Path, inside: &str, kind: Kind) {
        self.damaged.push(Damage {
            path: if inside.is_empty() {
                folder.to_owned()
            } else {
                folder.join(inside)
            },
            kind,
            owner: subject.owner(),
            package: None,
            environments: Vec::new(),
            subject: subject.clone(),
            inside: inside.to_owned(),
        });
    }

    fn take(&mut self, subject: &Subject, folder: &Path, seen: inspect::Seen) {
        for (inside, kind) in seen.found {
            self.tell(subject, folder, &inside, kind);
        }
        self.contents.extend(seen.contents);
        self.files += seen.files;
        self.bytes += seen.bytes;
    }
}

impl Verifier<'_> {
    /// Everything that the store and the cache hold.
    pub fn everything(&self) -> Result<Vec<Subject>, VerifyError> {
        let environments = self.store.names(Shelf::Envs)?.into_iter().map(Subject::Environment);
        let trees = self.store.names(Shelf::Wheels)?.into_iter().map(Subject::Tree);
        let bytecode = self.store.names(Shelf::Bytecode)?.into_iter().map(Subject::Bytecode);
        let mut all: Vec<Subject> = environments.chain(trees).chain(bytecode).collect();
        if let Some(cache) = self.cache {
            all.extend(cache.wheel_digests()?.into_iter().map(Subject::Wheel));
        }
        Ok(all)
    }

    /// Verifies the subjects, and with each environment the trees it is made of. An object of which it is not known
    /// that it survived a crash of this machine is read in full, and marked where it is intact.
    pub fn verify(&self, subjects: &[Subject], depth: Depth) -> Result<Report, VerifyError> {
        let subjects = self.with_trees(subjects)?;
        let mut unknown = Vec::new();
        let mut depths = Vec::with_capacity(subjects.len());
        for subject in &subjects {
            let unsure = match subject.shelved() {
                Some((shelf, name)) => self.store.trust(shelf, name)? == Trust::Unknown,
                None => false,
            };
            if unsure {
                unknown.push(subject);
            }
            depths.push(if unsure { Depth::Full } else { depth });
        }
        let numbered = subjects.iter().enumerate().collect();
        let examined: Vec<Examined> = threads::map(numbered, |(number, subject)| match subject {
            Subject::Environment(name) => self.environment(number, name, depths[number]),
            Subject::Bytecode(name) => self.bytecode(number, name, depths[number]),
            Subject::Tree(name) => self.tree(number, name, depths[number]),
            Subject::Wheel(digest) => self.wheel(number, digest, depths[number]),
        });
        let mut report = Report::default();
        for subject in &subjects {
            match subject {
                Subject::Environment(_) => report.environments += 1,
                Subject::Bytecode(_) => report.bytecode += 1,
                Subject::Tree(_) => report.trees += 1,
                Subject::Wheel(_) => report.wheels += 1,
            }
        }
        let mut contents = Vec::new();
        for one in examined {
            report.damaged.extend(one.damaged);
            contents.extend(one.contents);
            report.files += one.files;
            report.bytes += one.bytes;
        }
        for (content, kind) in compare(contents, self.reporter) {
            let mut one = Examined::default();
            let subject = &subjects[content.subject];
            let folder = self.folder(subject);
            one.tell(
                subject,
                &folder,
                &content.inside,
                Self::kind_of_wheel(subject, &content.path, kind),
            );
            report.damaged.extend(one.damaged);
        }
        report
            .damaged
            .dedup_by(|left, right| left.path == right.path && left.kind == right.kind);
        self.name_all(&mut report.damaged)?;
        report
            .damaged
            .sort_by(|left, right| (&left.path, left.kind).cmp(&(&right.path, right.kind)));
        let intact = unknown
            .into_iter()
            .filter(|subject| !report.damaged.iter().any(|damage| damage.subject == **subject));
        // A store of somebody else's is verified again next time.
        self.store.mark_all_synced(intact.filter_map(Subject::shelved)).ok();
        Ok(report)
    }

    /// Looks only at what the environment itself holds, not into its trees: a few hundred names, for `status`.
    pub fn glance(&self, name: &str) -> Result<Vec<Damage>, VerifyError> {
        let examined = self.environment(0, name, Depth::Quick);
        let mut damaged = examined.damaged;
        for (content, kind) in compare(examined.contents, &crate::progress::Silent) {
            let mut one = Examined::default();
            let subject = Subject::Environment(name.to_owned());
            one.tell(&subject, &self.folder(&subject), &content.inside, kind);
            damaged.extend(one.damaged);
        }
        damaged.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(damaged)
    }

    fn with_trees(&self, subjects: &[Subject]) -> Result<Vec<Subject>, VerifyError> {
        let mut all: std::collections::BTreeSet<Subject> = subjects.iter().cloned().collect();
        for subject in subjects {
            if let Subject::Environment(name) = subject
                && let Some(composition) = composition(self.store, name)?
            {
                let lower = environment::lower_stores(&composition);
                for tree in composition.trees {
                    // What is in a lower store is verified there.
                    if lower.iter().any(|lower| lower.has(Shelf::Wheels, &tree)) {
                        continue;
                    }
                    // Bytecode need not be there.
                    let bytecode = bytecode_name(&tree);
                    if bytecode != tree && self.store.has(Shelf::Bytecode, bytecode) {
                        all.insert(Subject::Bytecode(bytecode.to_owned()));
                    }
                    all.insert(Subject::Tree(tree));
                }
            }
        }
        Ok(all.into_iter().collect())
    }

    /// What is wrong with the place of an object that is not there.
    fn absent(&self, shelf: Shelf, name: &str) -> Option<Kind> {
        if self.store.has(shelf, name) {
            return None;
        }
        let folder = self.store.path(shelf, name);
        Some(match folder.symlink_metadata() {
            Ok(_) => Kind::Replaced,
            Err(_) => Kind::Missing,
        })
    }

    fn folder(&self, subject: &Subject) -> PathBuf {
        match subject {
            Subject::Environment(name) => self.store.path(Shelf::Envs, name),
            Subject::Bytecode(name) => self.store.path(Shelf::Bytecode, name),
            Subject::Tree(name) => self.store.path(Shelf::Wheels, name),
            Subject::Wheel(digest) => self.cache.map(|cache| cache.wheel_folder(digest)).unwrap_or_default(),
        }
    }
}
