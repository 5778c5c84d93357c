//! Where files go in an environment of one Python minor version.

use crate::target::PythonMinor;

/// Where members go for one Python minor version.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    python: PythonMinor,
}

impl Layout {
    /// The layout of an environment for `python`.
    #[must_use]
    pub const fn new(python: PythonMinor) -> Self {
        Self { python }
    }

    /// `python3.11`.
    #[must_use]
    pub fn lib_folder(self) -> String {
        self.python.lib_folder()
    }

    /// `lib/python3.11/site-packages`.
    #[must_use]
    pub fn site_packages(self) -> String {
        format!("lib/{}/site-packages", self.python.lib_folder())
    }

    /// A path relative to the prefix, as RECORD writes it: relative to site-packages.
    #[must_use]
    pub fn record_path(self, path: &str) -> String {
        match path
            .strip_prefix(&self.site_packages())
            .and_then(|rest| rest.strip_prefix('/'))
        {
            Some(inside) => inside.to_owned(),
            None => format!("../../../{path}"),
        }
    }
}
