//! The project's own folders, which the start-up hook puts on the path: `.flambeau/overlay.pth`, one a line.

use std::path::PathBuf;

use super::{Profile, ProfileError};
use crate::fsx::{self, PathContext as _};

impl Profile {
    /// Writes the folders that the start-up hook puts on the path, relative to the project; no file where there are
    /// none.
    pub fn write_overlay(&self, folders: &[PathBuf]) -> Result<(), ProfileError> {
        let path = self.folder().join("overlay.pth");
        let mut text = String::new();
        for folder in folders {
            let line = folder.to_str().filter(|line| !line.contains(['\n', '\r']));
            let line = line.ok_or_else(|| ProfileError::InTheWay {
                path: folder.clone(),
                what: "a path with line breaks",
            })?;
            text.push_str(line);
            text.push('\n');
        }
        let existing = fsx::read_if_exists(&path)?;
        if folders.is_empty() {
            if existing.is_some() {
                std::fs::remove_file(&path).at("remove", &path)?;
            }
        } else if existing.as_deref() != Some(text.as_bytes()) {
            self.prepare()?;
            fsx::write_atomic(&path, text.as_bytes())?;
        }
        Ok(())
    }
}
