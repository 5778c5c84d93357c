//! The project's own folders, which the start-up hook puts on the path: `.flambeau/overlay.pth`, one a line.

use std::path::PathBuf;

use super::{Profile, ProfileError};
use crate::fsx::{self, PathContext as _, PathError};

impl Profile {
    /// The text that names folders to the start-up hook. Refuses a path that cannot stand in it.
    pub fn overlay_text(folders: &[PathBuf]) -> Result<String, ProfileError> {
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
        Ok(text)
    }

    /// Writes what [`Profile::overlay_text`] gave; no file where that is empty.
    pub fn write_overlay(&self, text: &str) -> Result<(), PathError> {
        let path = self.folder().join("overlay.pth");
        let existing = fsx::read_if_exists(&path)?;
        if text.is_empty() {
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
