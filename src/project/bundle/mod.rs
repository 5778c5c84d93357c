//! Bundles of a project: which files go into one, and what a bundle brings to a project.
//!
//! An export brings the wheels into the cache first, where the network may be used. An import believes the bundle's
//! lockfiles only as far as their keys are those that the document states, and writes none over another one unless it
//! is told to.

mod error;
mod export;
mod import;

pub use error::Error;
pub use export::ExportOptions;
pub use import::{ImportOptions, ImportedBundle};
