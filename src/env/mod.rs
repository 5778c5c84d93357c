//! Environments: wheel trees with bytecode, and their composition into a virtual environment.
//!
//! `env` knows Python and the store, never HTTP. A tree has the shape of an environment's prefix, so composing is
//! laying trees over each other; everything that belongs to one wheel (scripts, RECORD, bytecode) was made when it was
//! unpacked.

use std::path::PathBuf;

use crate::target::PythonMinor;

pub(crate) mod admission;
pub mod build;
pub mod bytecode;
pub mod compose;
mod lay;
pub mod runtime;
pub mod state;
pub mod tree;

/// The number of what flambeau itself writes into an environment (launchers, hook, link rule). It is part of every
/// key and changes only when the tree would.
pub const FORM: u32 = 2;

/// The interpreter that an environment is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// The real path of the program, links resolved.
    pub program: PathBuf,
    /// `3.11.7`.
    pub version: String,
    /// `3.11`, and whether it is free-threaded.
    pub minor: PythonMinor,
    /// `cpython-311` (`sys.implementation.cache_tag`).
    pub cache_tag: String,
    /// Whether wheel trees hold bytecode for it. Those without have names of their own, and so have environments of them;
    /// keys and tree digests are the same, since neither covers bytecode.
    pub bytecode: bool,
}
