//! Mending: damaged objects are made again beside the damaged ones and exchanged with them in one step.
//!
//! Nothing is written through a shared inode: what is damaged gets a new one, and every environment that had the old
//! one is composed again. So an environment is never missing while it is mended, and what runs in it goes on. A file
//! comes from the cached wheel of its tree, else from an intact copy in another tree or environment, and only else from
//! the network. Guards are held one at a time, each while its object is examined again and exchanged.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::environment::{composition, trees};
use super::{Damage, Depth, Kind, Subject, Verifier, VerifyError};
use crate::digest::WheelDigest;
use crate::env::Python;
use crate::env::build::{BuildError, recompose};
use crate::env::bytecode::{BytecodeManifest, Compiler, Compilers, Modules, bytecode_name};
use crate::env::tree::{Tree, TreeError, Trees, python_of};
use crate::fsx::{PathContext as _, PathError};
use crate::store::{Shelf, Store, StoreError, Sync};
use crate::target::PythonMinor;
use crate::threads;

/// A wheel that nothing on this machine has intact.
#[derive(Debug, Clone)]
pub struct Lost {
    /// The first 40 digits of its digest, which a tree's folder name has.
    pub short: String,
    /// The whole digest, where it is known.
    pub digest: Option<WheelDigest>,
    /// Its file name, where it is known.
    pub file: Option<String>,
}

/// Fetches a wheel into the cache, in the place of a damaged one if there is one; an error says why it cannot be had,
/// and then a damaged one is still there, so that it goes on being told.
pub type Bring<'a> = dyn Fn(&Lost) -> Result<PathBuf, String> + 'a;

/// Why something could not be mended.
#[derive(Debug, thiserror::Error)]
pub enum MendError {
    /// Examining it again.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Making a tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Composing an environment.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// No intact copy of a file is to be had.
    #[error("no intact copy of {0} is to be had")]
    NoCopy(String),
    /// Nothing tells what an environment was made of.
    #[error("nothing tells what it was made of")]
    Unknown,
    /// A tree of an environment is not there.
    #[error("one of its wheel trees is damaged or missing")]
    Trees,
    /// A tree of an earlier form.
    #[error("an earlier flambeau made it in another form; `flambeau build` makes its environments anew, without it")]
    Earlier,
    /// No interpreter can compile the bytecode.
    #[error("no Python {0} of this machine can compile its bytecode")]
    NoPython(String),
    /// A wheel is nowhere to be had.
    #[error("the wheel is not to be had: {0}")]
    NoWheel(String),
}

/// Mends what a verification found.
#[derive(Clone, Copy)]
pub struct Mender<'a> {
    /// Examines again what is to be mended.
    pub verifier: Verifier<'a>,
    /// An interpreter of a minor version, for compiling.
    pub python: &'a dyn Fn(PythonMinor) -> Option<Python>,
    /// The network.
    pub bring: &'a Bring<'a>,
}

/// What mending came to.
#[derive(Debug, Default)]
pub struct Mended {
    /// What was made again.
    pub subjects: BTreeSet<Subject>,
    /// What could not be, and why.
    pub failures: Vec<(Subject, MendError)>,
}

impl Mender<'_> {
    /// Mends everything that is damaged: wheels first, for trees are made from them, then trees, their bytecode, and the
    /// environments that had the damaged files.
    pub fn mend(&self, damaged: &[Damage]) -> Result<Mended, MendError> {
        let mut mended = Mended::default();
        let subjects: BTreeSet<&Subject> = damaged.iter().map(|damage| &damage.subject).collect();
        let affected = self.affected(damaged);
        let of = |wanted: &Subject| {
            damaged
                .iter()
                .filter(|damage| damage.subject == *wanted)
                .collect::<Vec<_>>()
        };
        // Environments sort before bytecode, that before trees, and trees before wheels.
        let order = subjects
            .iter()
            .rev()
            .filter(|subject| !matches!(subject, Subject::Environment(_)));
        for subject in order {
            let result = match subject {
                Subject::Wheel(digest) => self.mend_wheel(digest, &of(subject)),
                Subject::Tree(name) => self.mend_tree(name),
                Subject::Bytecode(name) => self.mend_bytecode(name),
                Subject::Environment(_) => Ok(()),
            };
            mended.note((*subject).clone(), result);
        }
        for name in affected {
            let result = self.mend_environment(&name);
            mended.note(Subject::Environment(name), result);
        }
        Ok(mended)
    }

    /// The environments whose own folders hold what is damaged, by hard links for example; those that only lead into a
    /// damaged tree are right again when the tree is.
    fn affected(&self, damaged: &[Damage]) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for damage in damaged {
            match &damage.subject {
                Subject::Environment(name) => {
                    names.insert(name.clone());
                }
                Subject::Tree(_) => {
                    let inside = damage.inside.strip_prefix("root/");
                    names.extend(
                        damage
                            .environments
                            .iter()
                            .filter(|name| match inside {
                                Some(inside) => self.holds(name, inside),
                                // A document or the whole tree: new inodes for all of it.
                                None => true,
                            })
                            .cloned(),
                    );
                }
                // Environments only lead into it.
                Subject::Bytecode(_) | Subject::Wheel(_) => {}
            }
            if matches!(damage.subject, Subject::Environment(_) | Subject::Tree(_)) {
                // Other environments that share the inode, told by the finding of one of them.
                names.extend(
                    damage
                        .environments
                        .iter()
                        .filter(|name| {
                            let inside = damage.inside.strip_prefix("root/").unwrap_or(&damage.inside);
                            self.holds(name, inside)
                        })
                        .cloned(),
                );
            }
        }
        names
    }

    /// Whether a path of an environment is in its own folder, not behind a link into a tree.
    fn holds(&self, name: &str, inside: &str) -> bool {
        let folder = self.verifier.store.path(Shelf::Envs, name);
        let lib_folder = composition(self.verifier.store, name)
            .ok()
            .flatten()
            .map(|it| it.state.target.python.lib_folder());
        let inside = match lib_folder {
            Some(lib_folder) => super::sharing::for_python(inside, &lib_folder),
            None => inside.to_owned(),
        };
        let parent = folder.join(inside).parent().map(Path::to_owned).unwrap_or_default();
        match (parent.canonicalize(), folder.canonicalize()) {
            (Ok(parent), Ok(folder)) => parent.starts_with(folder),
            _ => true,
        }
    }

    fn mend_environment(&self, name: &str) -> Result<(), MendError> {
        let store = self.verifier.store;
        let _guard = store.guard(name, self.verifier.reporter)?;
        let composition = composition(store, name)?.ok_or(MendError::Unknown)?;
        let trees = trees(store, &composition).ok_or(MendError::Trees)?;
        recompose(store, name, &composition, &trees)?;
        Ok(())
    }

    /// Compiles the modules of a tree again and exchanges the object. One whose tree is gone is of no use.
    fn mend_bytecode(&self, name: &str) -> Result<(), MendError> {
        let store = self.verifier.store;
        let _guard = store.guard(&Store::guard_name(Shelf::Bytecode, name), self.verifier.reporter)?;
        let damaged = self.again(&Subject::Bytecode(name.to_owned()))?;
        store.close_top(Shelf::Bytecode, name);
        if damaged.is_empty() {
            return Ok(());
        }
        let folder = store.path(Shelf::Bytecode, name);
        let manifest = BytecodeManifest::read(&folder).ok();
        let names = store.names(Shelf::Wheels)?;
        let tree = names.iter().find(|tree| bytecode_name(tree) == name && *tree != name);
        let Some(tree) = tree.map(|tree| Tree::open(store, tree)).transpose()? else {
            if !store.has(Shelf::Bytecode, name) {
                return Err(MendError::Unknown);
            }
            store.discard(Shelf::Bytecode, name)?;
            return Ok(());
        };
        let (minor, _) = python_of(&tree.name).ok_or(MendError::Unknown)?;
        let python = (self.python)(minor).ok_or_else(|| MendError::NoPython(minor.version()))?;
        let compilers = Compilers::new(&Compiler::of(&python), threads::processors());
        let claim = store.claim()?;
        claim.hold(Shelf::Bytecode, name)?;
        let trees = Trees {
            store,
            claim: &claim,
            python: &python,
            compilers: &compilers,
            modules: Modules::Imported,
            reporter: self.verifier.reporter,
            sync: Sync::Lazy,
            allow_unrecorded: true,
        };
        // As much as was there, where that can be told.
        let modules = manifest.map_or(Modules::Imported, |manifest| manifest.modules);
        let staging = trees.stage_bytecode(&tree, modules)?;
        store.publish(staging, Shelf::Bytecode, name, Sync::Lazy)?;
        Ok(())
    }

    fn mend_wheel(&self, digest: &WheelDigest, damaged: &[&Damage]) -> Result<(), MendError> {
        use std::os::unix::fs::PermissionsExt as _;
        for damage in damaged {
            match damage.kind {
                Kind::Added => remove(&damage.path)?,
                Kind::Mode => {
                    // The bytes were compared with the digest in the same run.
                    let read_only = std::fs::Permissions::from_mode(0o444);
                    std::fs::set_permissions(&damage.path, read_only).at("make read-only", &damage.path)?;
                }
                _ => {
                    let lost = Lost {
                        short: digest.short(),
                        digest: Some(*digest),
                        file: Some(damage.inside.clone()).filter(|file| !file.is_empty()),
                    };
                    let brought = (self.bring)(&lost);
                    brought.map_err(MendError::NoWheel)?;
                }
            }
        }
        Ok(())
    }

    /// What is wrong with an object now, under its guard: another process may have mended it meanwhile.
    pub(super) fn again(&self, subject: &Subject) -> Result<Vec<Damage>, MendError> {
        let subjects = std::slice::from_ref(subject);
        Ok(self.verifier.verify(subjects, Depth::Full)?.damaged)
    }
}

impl Mended {
    fn note(&mut self, subject: Subject, result: Result<(), MendError>) {
        match result {
            Ok(()) => {
                self.subjects.insert(subject);
            }
            Err(error) => self.failures.push((subject, error)),
        }
    }
}

fn remove(path: &Path) -> Result<(), PathError> {
    crate::fsx::remove_tree(path)
}
