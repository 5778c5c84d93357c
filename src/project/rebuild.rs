//! `build --rebuild`: the same environment once more, from the wheels, beside the one that is there.

use super::Project;
use super::plan::Plan;
use super::realise::RealiseError;
use crate::digest::TreeDigest;
use crate::env::bytecode::{Compiler, Compilers};
use crate::env::compose::{LinkMode, layout};
use crate::env::tree::{Tree, Trees};
use crate::store::{Shelf, Store, Sync};
use crate::target::PythonMinor;
use crate::threads;
use crate::verify::{Damage, Depth, Difference, Subject, Verifier, VerifyError, composition, differences};

/// What building again gave.
#[derive(Debug)]
pub struct Rebuilt {
    /// Where the environment is.
    pub path: std::path::PathBuf,
    /// The tree digest that it records.
    pub recorded: TreeDigest,
    /// The tree digest of the second build.
    pub rebuilt: TreeDigest,
    /// Files in which the builds differ.
    pub differences: Vec<Difference>,
    /// What is not on disk as it was built.
    pub damaged: Vec<Damage>,
    /// Whether bytecode of this Python is the same every time; where not, differences in it mean nothing.
    pub bytecode_is_covered: bool,
}

impl Rebuilt {
    /// Whether both builds are the same, and what is on disk is what was built.
    #[must_use]
    pub fn is_same(&self) -> bool {
        let counts = |difference: &Difference| self.bytecode_is_covered || !difference.bytecode;
        self.recorded == self.rebuilt && self.damaged.is_empty() && !self.differences.iter().any(counts)
    }
}

/// Whether bytecode of this Python has one form (see [`crate::env::bytecode`]).
fn is_covered(python: PythonMinor) -> bool {
    (9..=15).contains(&python.minor) && !python.freethreaded
}

impl Project<'_> {
    /// Unpacks and compiles every wheel of a plan anew into a store of its own below `tmp/`, which is deleted at the
    /// end, and compares. None where the environment is not built.
    pub fn rebuild(&self, plan: &Plan) -> Result<Option<Rebuilt>, RealiseError> {
        let Some(built) = self.find_environment(plan)? else {
            return Ok(None);
        };
        let store = self.store()?;
        store.prepare()?;
        let staging = store.stage()?;
        let beside = Store::new(staging.path().to_owned());
        beside.prepare()?;
        let python = plan.python();
        let workers = threads::processors();
        let compilers = Compilers::new(&Compiler::of(&python), workers);
        // Nobody collects in there; the trees that are made only want to be claimed.
        let claim = beside.claim()?;
        let trees = Trees {
            store: &beside,
            claim: &claim,
            python: &python,
            compilers: &compilers,
            modules: plan.modules,
            reporter: self.reporter,
            sync: Sync::Lazy,
            // What is built again was let in before.
            allow_unrecorded: true,
        };
        let (mut members, _) = self.trees(plan, &trees, workers)?;
        let identity = plan.identity()?;
        let names: Vec<&str> = identity.packages.iter().map(|(name, _)| name.as_str()).collect();
        members.extend(trees.own_trees(&names)?);
        drop(compilers);
        let again = layout(&beside, &members, LinkMode::Rule).map_err(crate::env::build::BuildError::from)?;
        let name = built
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let new: Vec<String> = members.into_iter().map(|Tree { name, .. }| name).collect();
        let old = composition(&store, &name)?.map(|it| it.trees).unwrap_or_default();
        let verifier = Verifier {
            store: &store,
            cache: None,
            reporter: self.reporter,
        };
        let subject = Subject::Environment(name.clone());
        Ok(Some(Rebuilt {
            path: store.path(Shelf::Envs, &name),
            recorded: built.state.tree_digest,
            rebuilt: again.digest,
            differences: differences((&store, &old), (&beside, &new)),
            damaged: verifier.verify(&[subject], Depth::Full)?.damaged,
            bytecode_is_covered: is_covered(python.minor),
        }))
    }
}

impl From<VerifyError> for RealiseError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Store(error) => error.into(),
            VerifyError::Path(error) => crate::store::StoreError::from(error).into(),
        }
    }
}
