//! Which wheels may become trees: one set of rules, for building and for locking.
//!
//! Refuses: whatever [`crate::wheel::plan`] refuses, files of the environment's own among it, and members whose bytes are
//! not those of their rows. What is refused can depend on the Python, whose version is part of the places.

use std::path::Path;

use super::runtime;
use super::tree::{TreeError, refused};
use crate::fsx::PathContext as _;
use crate::pep::WheelFilename;
use crate::relpath::RelPath;
use crate::target::PythonMinor;
use crate::wheel::archive::Archive;
use crate::wheel::layout::Layout;
use crate::wheel::plan::{Rules, plan};
use crate::wheel::source::WheelFile;

/// What a wheel is measured by before it becomes a tree for `python`.
pub(crate) fn rules(python: PythonMinor, allow_unrecorded: bool) -> Rules {
    Rules {
        layout: Layout::new(python),
        // A file in the place of the folder that holds the interpreter.
        reserved: |path| path == "bin" || runtime::owns(path),
        allow_unrecorded,
    }
}

/// Checks the wheel at `path`, called `file`, as unpacking it for each of `pythons` would, and writes nothing. Returns
/// the files that its RECORD does not vouch for, where those are allowed.
pub(crate) fn check(
    (file, filename): (&str, &WheelFilename),
    path: &Path,
    pythons: impl IntoIterator<Item = PythonMinor>,
    allow_unrecorded: bool,
) -> Result<Vec<RelPath>, TreeError> {
    let refused = |error| refused(file, error);
    // Whoever asks has just read it to hash it.
    let bytes = WheelFile::open(path, true).at("open", path)?;
    let archive = Archive::open(bytes).map_err(|error| refused(error.into()))?;
    let mut last = None;
    for python in pythons {
        last = Some(plan(&archive, filename, rules(python, allow_unrecorded)).map_err(refused)?);
    }
    // The members' bytes are the same for each.
    let Some(plan) = last else { return Ok(Vec::new()) };
    plan.check().map_err(refused)?;
    Ok(plan.unrecorded)
}

/// What to say about files that RECORD does not vouch for and that are allowed.
pub(crate) fn unrecorded_warning(file: &str, unrecorded: &[RelPath]) -> Option<String> {
    let first = unrecorded.first()?;
    let further = match unrecorded.len() {
        1 => String::new(),
        count => format!(" and for {} further files", count - 1),
    };
    Some(format!("the RECORD of {file} does not vouch for `{first}`{further}"))
}
