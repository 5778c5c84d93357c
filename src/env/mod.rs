//! Environments: wheel trees, their bytecode, and their composition into a virtual environment.
//!
//! `env` knows Python and the store, never HTTP. A tree has the shape of an environment's prefix, so composing is
//! laying trees over each other; everything that belongs to one wheel (scripts, RECORD) was made when it was unpacked.
//! Bytecode is an object beside the tree, which environments lead to whether it is there yet or not.

use std::path::PathBuf;

use crate::target::PythonMinor;

pub(crate) mod admission;
pub mod build;
pub mod bytecode;
pub mod compose;
mod cuda;
pub mod editable;
pub mod foreign;
mod lay;
mod overlay;
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
}
